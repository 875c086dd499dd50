//! `bundle.toml`: read strictly, every mistake with its line, held against the files of the bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::bundle::export::{Claims, Export, Kind, Operation, Route, Target};
use crate::bundle::snapshot::{EntryKind, Snapshot};
use crate::bundle::{Bundle, BundleError, SCHEMA, SKILLS};
use crate::id::{Digest, NAME_FORM, SkillName, ToolName, is_name};
use crate::plan::OutputSchema;
use crate::problem::{Position, Problem, suggestion};
use crate::skill::{OWN_PACKAGE, OWN_VERSION, Risk, is_own_version, own};
use crate::skills::{SkillBytes, builtin};
use crate::toml_text::{self, Fields, Node, Reader};
use crate::{document, json, limits};

const KEYS: [&str; 9] =
    ["schema", "name", "version", "description", "package", "policy", "handler", "requires", "export"];

const EXPORT_KEYS: [&str; 21] = [
    "kind",
    "name",
    "tool",
    "plan",
    "tools",
    "route",
    "description",
    "version",
    "tags",
    "output_schema",
    "allowed_actions",
    "domain",
    "capabilities",
    "operation",
    "risk",
    "reversible",
    "compensation",
    "permissions",
    "examples",
    "file_extensions",
    "deprecated",
];

const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

const CAPABILITIES: [&str; 8] = ["create", "delete", "execute", "modify", "navigate", "read", "search", "write"];

const OPERATIONS: [(&str, Operation); 5] = [
    ("read", Operation::Read),
    ("write", Operation::Write),
    ("delete", Operation::Delete),
    ("execute", Operation::Execute),
    ("network", Operation::Network),
];

const RISKS: [(&str, Risk); 4] =
    [("low", Risk::Low), ("medium", Risk::Medium), ("high", Risk::High), ("critical", Risk::Critical)];

/// Reads the manifest of the bundle in `root`.
pub(crate) fn read(root: PathBuf, snapshot: Snapshot, bytes: &[u8]) -> Result<Bundle, BundleError> {
    let wrong = |problems| BundleError::Manifest { problems };
    let not_utf8 = |_| wrong(vec![Problem::new("not-utf8", "", "it is not UTF-8")]);
    let text = std::str::from_utf8(bytes).map_err(not_utf8)?;
    let document = toml_text::parse(text).map_err(wrong)?;
    let mut reader = Reader::new(text);
    let fields = reader.root(&document, &KEYS);
    reader.schema(&fields, SCHEMA);
    for key in ["name", "version", "package"] {
        if fields.get(key).is_none() {
            reader.report(&fields.place, "missing-key", format!("the key `{key}` is missing"), hint_of(key));
        }
    }
    let mut manifest = Manifest { root, snapshot, reader, skills: BTreeMap::new() };
    manifest.find_skills();
    let name = fields.get("name").and_then(|node| manifest.name(&node)).unwrap_or_default();
    let version = manifest.text(&fields, "version").unwrap_or_default();
    let description = manifest.text(&fields, "description");
    if let Some(node) = fields.get("package") {
        manifest.package(&node);
    }
    let policy = fields.get("policy").and_then(|node| manifest.file(&node));
    let requires = fields.get("requires").and_then(|node| manifest.requires(&node));
    let (exports, places) = fields.get("export").map(|node| manifest.exports(&node)).unwrap_or_default();
    let handler = fields.get("handler").and_then(|node| manifest.tool(&node)).map(|tool| tool.to_string());
    let Manifest { root, snapshot, reader, skills } = manifest;
    let problems = reader.finish();
    if !problems.is_empty() {
        return Err(wrong(problems));
    }
    let id = snapshot.id;
    Ok(Bundle { root, id, name, version, description, skills, exports, policy, handler, requires, snapshot, places })
}

fn hint_of(key: &str) -> Option<String> {
    (key == "package").then(|| format!("say what it was built for: `package = \"{OWN_PACKAGE}@{OWN_VERSION}\"`"))
}

type Exports = BTreeMap<(Kind, String), Export>;
type Places = BTreeMap<(Kind, String), (String, Position)>;

struct Manifest<'t> {
    root: PathBuf,
    snapshot: Snapshot,
    reader: Reader<'t>,
    skills: BTreeMap<SkillName, PathBuf>,
}

impl<'t> Manifest<'t> {
    /// Adds a problem at a value.
    fn report(&mut self, node: &Node<'_, 't>, code: &str, message: impl Into<String>, hint: Option<String>) {
        self.reader.report(&node.place, code, message, hint);
    }

    /// The components: `skills/NAME.wasm`.
    fn find_skills(&mut self) {
        let start = toml_text::Place::start();
        let paths: Vec<String> = self.snapshot.entries.keys().cloned().collect();
        for path in paths {
            let inside = path.strip_prefix(SKILLS).and_then(|rest| rest.strip_prefix('/'));
            let Some(stem) = inside.and_then(|file| file.strip_suffix(".wasm")) else { continue };
            match SkillName::new(stem) {
                Ok(_) if !self.is_file(&path) => {
                    let message = format!("the component `{path}` is a link");
                    let hint = "a component is a file of the bundle".to_owned();
                    self.reader.report(&start, "not-a-file", message, Some(hint));
                }
                Ok(name) if own::is_own(&name) => {
                    let hint = "`sys` is the host itself: name the component otherwise".to_owned();
                    self.reader.report(&start, "bad-name", format!("no skill can be called `{name}`"), Some(hint));
                }
                Ok(name) if builtin::is_one(&name) && !self.is_copy_of_builtin(&name, &path) => {
                    let message = format!("`{path}` takes the name of a built-in skill and is another component");
                    let hint = "name it otherwise: what a policy grants to a built-in name is not for it".to_owned();
                    self.reader.report(&start, "reserved-skill", message, Some(hint));
                }
                Ok(name) => drop(self.skills.insert(name, self.root.join(&path))),
                Err(_) => {
                    let message = format!("the component `{path}` cannot be a skill: its name is no skill's name");
                    let hint = Some(format!("name it `{SKILLS}/NAME.wasm`; {NAME_FORM}"));
                    self.reader.report(&start, "bad-name", message, hint);
                }
            }
        }
    }

    /// Whether component and metadata under a built-in name are those that are built in.
    fn is_copy_of_builtin(&self, name: &SkillName, path: &str) -> bool {
        let Some(SkillBytes::Memory { component, manifest }) = builtin::find(name.as_str()) else { return false };
        let is = |path: &str, bytes: &[u8]| {
            self.snapshot.entries.get(path).is_none_or(|entry| entry.digest == Digest::of(bytes))
        };
        let about = format!("{SKILLS}/{name}.toml");
        is(path, &component) && manifest.is_none_or(|manifest| is(&about, manifest.as_bytes()))
    }

    fn is_file(&self, path: &str) -> bool {
        self.snapshot.entries.get(path).is_some_and(|entry| entry.kind != EntryKind::Link)
    }

    fn text(&mut self, fields: &Fields<'_, 't>, key: &str) -> Option<String> {
        fields.get(key).and_then(|node| self.reader.string(&node).map(str::to_owned))
    }

    fn texts(&mut self, fields: &Fields<'_, 't>, key: &str) -> Vec<String> {
        let Some(node) = fields.get(key) else { return Vec::new() };
        let items = self.reader.array(&node, "strings").unwrap_or_default();
        if items.len() > limits::BUNDLE_LIST_MAX {
            let message = format!("`{key}` has {} entries; at most {} are read", items.len(), limits::BUNDLE_LIST_MAX);
            self.report(&node, "too-many", message, None);
        }
        let items = items.iter().take(limits::BUNDLE_LIST_MAX);
        items.filter_map(|item| self.reader.string(item).map(str::to_owned)).collect()
    }

    fn name(&mut self, node: &Node<'_, 't>) -> Option<String> {
        let text = self.reader.string(node)?;
        if is_name(text) {
            return Some(text.to_owned());
        }
        self.report(node, "bad-name", format!("`{text}` is not a name"), Some(NAME_FORM.to_owned()));
        None
    }

    /// `skillhost:skill@0.1.0`.
    fn package(&mut self, node: &Node<'_, 't>) {
        let Some(text) = self.reader.string(node) else { return };
        let hint = Some(format!("this host has `{OWN_PACKAGE}@{OWN_VERSION}`"));
        match text.split_once('@') {
            Some((OWN_PACKAGE, version)) if is_own_version(version) => {}
            Some((OWN_PACKAGE, version)) => {
                let message = format!("the bundle was built for `{text}`; this host has `{OWN_PACKAGE}@{OWN_VERSION}`");
                let hint = format!("build its skills for {OWN_VERSION}, or run it with a host for {version}");
                self.report(node, "package-version", message, Some(hint));
            }
            _ => self.report(node, "package-version", format!("`{text}` is no version of `{OWN_PACKAGE}`"), hint),
        }
    }

    /// The path of a file of the bundle, from its root.
    fn path(&mut self, node: &Node<'_, 't>) -> Option<String> {
        let text = self.reader.string(node)?;
        if self.is_file(text) {
            return Some(text.to_owned());
        }
        let files = self.snapshot.entries.keys().map(String::as_str);
        let hint = suggestion(text, files)
            .unwrap_or_else(|| "write its path from the bundle's folder on, with `/` between names".to_owned());
        self.report(node, "no-such-file", format!("the bundle has no file `{text}`"), Some(hint));
        None
    }

    fn file(&mut self, node: &Node<'_, 't>) -> Option<PathBuf> {
        self.path(node).map(|path| self.root.join(path))
    }

    /// A tool of one of the bundle's skills. Whether the skill has it is known once it is loaded.
    fn tool(&mut self, node: &Node<'_, 't>) -> Option<ToolName> {
        let text = self.reader.string(node)?;
        match text.parse::<ToolName>() {
            Ok(tool) if self.skills.contains_key(tool.skill()) => Some(tool),
            Ok(tool) => {
                let names: Vec<&str> = self.skills.keys().map(SkillName::as_str).collect();
                let hint = suggestion(tool.skill().as_str(), names.iter().copied())
                    .unwrap_or_else(|| format!("put its component at `{SKILLS}/{}.wasm`", tool.skill()));
                let message = format!("the bundle has no skill `{}`", tool.skill());
                self.report(node, "unknown-skill", message, Some(hint));
                None
            }
            Err(error) => {
                self.report(node, "bad-name", error.to_string(), None);
                None
            }
        }
    }

    /// `[requires]`: every component with its digest, and no other.
    fn requires(&mut self, node: &Node<'_, 't>) -> Option<BTreeMap<SkillName, Digest>> {
        let fields = self.reader.open_table(node)?;
        let mut pins = BTreeMap::new();
        for (key, value) in fields.entries() {
            let Some(text) = self.reader.string(&value) else { continue };
            let (name, digest) = match (SkillName::new(key), text.parse::<Digest>()) {
                (Ok(name), Ok(digest)) => (name, digest),
                (Err(error), _) | (_, Err(error)) => {
                    self.report(&value, "bad-pin", error.to_string(), None);
                    continue;
                }
            };
            let path = format!("{SKILLS}/{name}.wasm");
            match self.snapshot.entries.get(&path) {
                None => self.report(&value, "unknown-skill", format!("the bundle has no skill `{name}`"), None),
                Some(entry) if entry.digest != digest => {
                    let message = format!("`{path}` is not what is required: it has the sha256 {}", entry.digest);
                    let hint = "put back the component that was pinned, or pin this one after looking at it".to_owned();
                    self.report(&value, "wrong-digest", message, Some(hint));
                }
                Some(_) => {}
            }
            pins.insert(name, digest);
        }
        let unpinned: Vec<SkillName> = self.skills.keys().filter(|name| !pins.contains_key(*name)).cloned().collect();
        for name in unpinned {
            let digest = self.snapshot.entries.get(&format!("{SKILLS}/{name}.wasm")).map(|entry| entry.digest);
            let hint = digest.map(|digest| format!("if it belongs here: `{name} = \"{digest}\"`"));
            self.report(node, "unpinned", format!("the component `{name}` is not among those that are required"), hint);
        }
        Some(pins)
    }

    fn exports(&mut self, node: &Node<'_, 't>) -> (Exports, Places) {
        let items = self.reader.array(node, "tables").unwrap_or_default();
        if items.len() > limits::BUNDLE_EXPORTS_MAX {
            let message = format!("{} exports; at most {} are read", items.len(), limits::BUNDLE_EXPORTS_MAX);
            self.report(node, "too-many", message, None);
        }
        let (mut exports, mut places) = (Exports::new(), Places::new());
        let mut routes = BTreeMap::new();
        for item in items.iter().take(limits::BUNDLE_EXPORTS_MAX) {
            let Some(export) = self.export(item) else { continue };
            let key = (export.kind, export.name.clone());
            if exports.contains_key(&key) {
                let message = format!("the {} `{}` is exported twice", export.kind, export.name);
                self.report(item, "duplicate", message, Some("rename one of them".to_owned()));
                continue;
            }
            if let Some(route) = &export.route
                && let Some(first) = routes.insert(route.clone(), export.name.clone())
            {
                let message = format!("`{route}` is answered twice: by `{first}` and by `{}`", export.name);
                self.report(item, "duplicate", message, None);
            }
            places.insert(key.clone(), (item.place.pointer.clone(), self.reader.position_of(&item.place)));
            exports.insert(key, export);
        }
        self.references(node, &exports);
        (exports, places)
    }

    /// The exports that exports name.
    fn references(&mut self, node: &Node<'_, 't>, exports: &Exports) {
        let tools: BTreeSet<&str> =
            exports.values().filter(|export| export.kind == Kind::Tool).map(|export| export.name.as_str()).collect();
        for export in exports.values() {
            for name in export.tools.iter().chain(&export.claims.compensation) {
                if !tools.contains(name.as_str()) {
                    let message =
                        format!("the {} `{}` names the tool `{name}`, which is no export", export.kind, export.name);
                    let hint = suggestion(name, tools.iter().copied())
                        .unwrap_or_else(|| "export it with `kind = \"tool\"`".to_owned());
                    self.report(node, "unknown-export", message, Some(hint));
                }
            }
        }
    }

    fn export(&mut self, node: &Node<'_, 't>) -> Option<Export> {
        let fields = self.reader.table(node, &EXPORT_KEYS)?;
        for key in ["kind", "name"] {
            if fields.get(key).is_none() {
                self.report(node, "missing-key", format!("the key `{key}` is missing"), None);
            }
        }
        let kind = fields.get("kind").and_then(|node| self.kind(&node));
        let name = fields.get("name").and_then(|node| self.name(&node));
        let claims = self.claims(&fields);
        let description = self.text(&fields, "description").unwrap_or_default();
        let version = self.text(&fields, "version");
        let tags = self.texts(&fields, "tags");
        let allowed_actions = self.texts(&fields, "allowed_actions");
        let output_schema = fields.get("output_schema").and_then(|node| self.schema(&node));
        let tools = self.texts(&fields, "tools");
        let route = fields.get("route").and_then(|node| self.route(&node));
        let (kind, name) = (kind?, name?);
        let target = self.target(node, &fields, kind);
        self.belongs(node, &fields, kind, "route", &[Kind::Http]);
        self.belongs(node, &fields, kind, "tools", &[Kind::Mcp]);
        self.consistent(node, &claims);
        Some(Export {
            kind,
            name,
            target: target?,
            description,
            version,
            tags,
            output_schema,
            allowed_actions,
            route,
            tools,
            claims,
        })
    }

    fn kind(&mut self, node: &Node<'_, 't>) -> Option<Kind> {
        self.reader.one_of(node, &Kind::ALL.map(|kind| (kind.name(), kind)))
    }

    /// What stands behind an export of this kind.
    fn target(&mut self, node: &Node<'_, 't>, fields: &Fields<'_, 't>, kind: Kind) -> Option<Target> {
        let tool = fields.get("tool");
        let plan = fields.get("plan");
        self.belongs_to(node, fields, kind, "tool", &[Kind::Tool, Kind::Agent, Kind::Router, Kind::Http]);
        self.belongs_to(node, fields, kind, "plan", &[Kind::Agent, Kind::Flow, Kind::Router, Kind::Http]);
        match (kind, tool, plan) {
            (Kind::Mcp, ..) => Some(Target::Server),
            (_, Some(_), Some(_)) => {
                self.report(node, "contradiction", "either `tool` or `plan` stands behind an export", None);
                None
            }
            (Kind::Flow, _, None) => {
                self.report(node, "missing-key", "the key `plan` is missing", None);
                None
            }
            (_, Some(tool), None) => self.tool(&tool).map(Target::Tool),
            (_, None, Some(plan)) => self.file(&plan).map(Target::Plan),
            (_, None, None) => {
                let key = if kind == Kind::Tool { "`tool` is" } else { "`tool` or `plan` is" };
                self.report(node, "missing-key", format!("the key {key} missing"), None);
                None
            }
        }
    }

    /// A key that has to be there for these kinds and may not be there for others.
    fn belongs(&mut self, node: &Node<'_, 't>, fields: &Fields<'_, 't>, kind: Kind, key: &str, kinds: &[Kind]) {
        if kinds.contains(&kind) && fields.get(key).is_none() {
            self.report(node, "missing-key", format!("the key `{key}` is missing"), None);
        }
        self.belongs_to(node, fields, kind, key, kinds);
    }

    /// A key that may not be there for other kinds.
    fn belongs_to(&mut self, _: &Node<'_, 't>, fields: &Fields<'_, 't>, kind: Kind, key: &str, kinds: &[Kind]) {
        if let Some(node) = fields.get(key)
            && !kinds.contains(&kind)
        {
            self.report(&node, "contradiction", format!("an export of the kind `{kind}` has no `{key}`"), None);
        }
    }

    /// `POST /orders`.
    fn route(&mut self, node: &Node<'_, 't>) -> Option<Route> {
        let text = self.reader.string(node)?;
        if let Some((method, path)) = text.split_once(' ')
            && METHODS.contains(&method)
            && path.starts_with('/')
            && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\".contains(&byte))
        {
            return Some(Route { method: method.to_owned(), path: path.to_owned() });
        }
        let hint = format!("write method and path, such as `POST /orders`; the methods are {}", METHODS.join(", "));
        self.report(node, "bad-route", format!("`{text}` is no route"), Some(hint));
        None
    }

    /// The JSON Schema in a file of the bundle.
    fn schema(&mut self, node: &Node<'_, 't>) -> Option<Value> {
        let file = self.file(node)?;
        let parsed = document::read_bounded(&file, limits::SCHEMA_BYTES_MAX as u64)
            .and_then(|bytes| json::parse(&bytes))
            .and_then(|schema| OutputSchema::compile(&schema, "").map(|_| schema));
        match parsed {
            Ok(schema) => Some(schema),
            Err(problem) => {
                let message = format!("`{}`: {problem}", file.display());
                self.report(node, &problem.code, message, problem.hint.clone());
                None
            }
        }
    }

    fn claims(&mut self, fields: &Fields<'_, 't>) -> Claims {
        let capabilities = fields.get("capabilities").map(|node| self.capabilities(&node)).unwrap_or_default();
        Claims {
            domain: self.text(fields, "domain"),
            capabilities,
            operation: fields.get("operation").and_then(|node| self.reader.one_of(&node, &OPERATIONS)),
            risk: fields.get("risk").and_then(|node| self.reader.one_of(&node, &RISKS)),
            reversible: fields.get("reversible").and_then(|node| self.reader.boolean(&node)),
            compensation: self.text(fields, "compensation"),
            permissions: self.texts(fields, "permissions"),
            examples: self.texts(fields, "examples"),
            file_extensions: self.texts(fields, "file_extensions"),
            deprecated: fields.get("deprecated").and_then(|node| self.reader.boolean(&node)).unwrap_or_default(),
        }
    }

    fn capabilities(&mut self, node: &Node<'_, 't>) -> Vec<&'static str> {
        let items = self.reader.array(node, "words").unwrap_or_default();
        let choices = CAPABILITIES.map(|word| (word, word));
        let words = items.iter().filter_map(|item| self.reader.one_of(item, &choices));
        words.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The three rules of what a risk has to be; where no risk is said it is the tool's, which `verify` looks at.
    fn consistent(&mut self, node: &Node<'_, 't>, claims: &Claims) {
        let Some(risk) = claims.risk else { return };
        let irreversible = claims.reversible == Some(false);
        for message in broken_rules(risk, irreversible, claims.operation, claims.compensation.is_some()) {
            self.report(
                node,
                "risk-inconsistent",
                message,
                Some("raise `risk`, or correct what it follows from".to_owned()),
            );
        }
    }
}

/// Which rules a risk breaks.
pub(crate) fn broken_rules(
    risk: Risk,
    irreversible: bool,
    operation: Option<Operation>,
    compensated: bool,
) -> Vec<String> {
    let mut broken = Vec::new();
    let is = risk.name();
    if irreversible && risk < Risk::High {
        broken.push(format!("rule 1: what cannot be taken back has at least the risk `high`, not `{is}`"));
    }
    if operation == Some(Operation::Delete) && risk < Risk::High {
        broken.push(format!("rule 2: what deletes has at least the risk `high`, not `{is}`"));
    }
    if irreversible && !compensated && risk < Risk::Critical {
        broken.push(format!(
            "rule 3: what cannot be taken back and has no compensation has the risk `critical`, not `{is}`"
        ));
    }
    broken
}
