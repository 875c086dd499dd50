//! `skill.toml`: what a skill's author says of it. Annotations inform people and planners; no permission follows from them.

use std::collections::{BTreeMap, BTreeSet};

use super::needs::{self, Needs};
use super::{Import, Tool};
use crate::id::{SkillName, is_name};
use crate::limits;
use crate::problem::{Problem, Problems, pointer_to, shown, suggestion};
use crate::toml_text::{self, Fields, Node, Reader};

/// The schema name of the manifests that this version reads.
pub const SCHEMA: &str = "skillhost.skill/1";

/// What `skill.toml` says of the skill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `name`.
    pub name: Option<String>,
    /// `version`.
    pub version: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// `author`: who answers for it, as they say themselves.
    pub author: Option<String>,
    /// `needs`: what every tool of the skill cannot do without; `None` where it does not say.
    pub needs: Option<Needs>,
    /// `[tools.<tool>]`.
    pub tools: BTreeMap<String, Annotations>,
}

impl Metadata {
    /// Reads the text of a `skill.toml`.
    ///
    /// # Errors
    ///
    /// All mistakes in it, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let document = toml_text::parse(text)?;
        let mut reader = Reader::new(text);
        let root = reader.root(&document, &["schema", "name", "version", "description", "author", "needs", "tools"]);
        reader.schema(&root, SCHEMA);
        let name = root.get("name").and_then(|node| read_name(&mut reader, &node));
        let version = root.get("version").and_then(|node| reader.string(&node).map(str::to_owned));
        for (key, missing) in [("name", root.get("name").is_none()), ("version", root.get("version").is_none())] {
            if missing {
                reader.report(&root.place, "missing-key", format!("the key `{key}` is missing"), None);
            }
        }
        let description = root.get("description").and_then(|node| reader.string(&node).map(str::to_owned));
        let author = root.get("author").and_then(|node| read_review(&mut reader, &node));
        let needs = root.get("needs").and_then(|node| needs::read(&mut reader, &node));
        let tools = root.get("tools").map(|node| read_tools(&mut reader, &node)).unwrap_or_default();
        let problems = reader.finish();
        if problems.is_empty() { Ok(Self { name, version, description, author, needs, tools }) } else { Err(problems) }
    }

    /// Holds the metadata against the component: every tool named must be exported, every need must have an import that could use it.
    #[must_use]
    pub fn check(&self, tools: &BTreeMap<String, Tool>, imports: &[Import]) -> Vec<Problem> {
        let mut problems = Problems::default();
        let own = self.needs.iter().flat_map(|needs| needs.unimported(imports, "/needs"));
        own.for_each(|problem| problems.push(problem));
        let hint = |name: &str| {
            let known: Vec<&str> = tools.keys().map(String::as_str).collect();
            suggestion(name, known.iter().copied()).unwrap_or_else(|| match known.as_slice() {
                [] => "the component exports no tools".to_owned(),
                known => format!("its tools are {}", known.join(", ")),
            })
        };
        let mut known_aliases = BTreeSet::new();
        for (name, annotations) in &self.tools {
            let pointer = pointer_to("/tools", name);
            if !tools.contains_key(name) {
                let message = format!("the component exports no tool `{name}`");
                problems.push(Problem::new("unknown-tool", pointer.clone(), message).with_hint(hint(name)));
            }
            if let Some(compensation) = &annotations.compensation
                && !tools.contains_key(compensation)
            {
                let message = format!("the compensation `{compensation}` is no tool of the component");
                let problem = Problem::new("unknown-tool", pointer_to(&pointer, "compensation"), message);
                problems.push(problem.with_hint(hint(compensation)));
            }
            for (index, alias) in annotations.aliases.iter().enumerate() {
                let pointer = pointer_to(&pointer_to(&pointer, "aliases"), &index.to_string());
                let taken = if tools.contains_key(alias) {
                    format!("the alias `{alias}` is a tool of the component")
                } else if !known_aliases.insert(alias.as_str()) {
                    format!("the alias `{alias}` is there twice")
                } else {
                    continue;
                };
                let hint = "a name means one tool: take it out, or write another";
                problems.push(Problem::new("duplicate-alias", pointer, taken).with_hint(hint));
            }
            let needs = annotations.needs.iter();
            let unimported = needs.flat_map(|needs| needs.unimported(imports, &pointer_to(&pointer, "needs")));
            unimported.for_each(|problem| problems.push(problem));
        }
        problems.into_vec()
    }
}

fn read_name<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<String> {
    let text = reader.string(node)?;
    match SkillName::new(text) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(error) => {
            reader.report(&node.place, "bad-name", error.to_string(), None);
            None
        }
    }
}

fn read_tools<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> BTreeMap<String, Annotations> {
    let Some(tables) = reader.open_table(node) else { return BTreeMap::new() };
    let mut tools = BTreeMap::new();
    for (name, node) in tables.entries() {
        if let Some(annotations) = read_tool(reader, name, &node) {
            tools.insert(name.to_owned(), annotations);
        }
    }
    tools
}

fn read_tool<'t>(reader: &mut Reader<'t>, name: &str, node: &Node<'_, 't>) -> Option<Annotations> {
    let fields = reader.table(node, &TOOL_KEYS)?;
    let mut flag = |key| fields.get(key).and_then(|node| reader.boolean(&node)).unwrap_or_default();
    let (read_only, idempotent, destructive) = (flag("read_only"), flag("idempotent"), flag("destructive"));
    let annotations = Annotations {
        description: fields.get("description").and_then(|node| reader.string(&node).map(str::to_owned)),
        risk: fields.get("risk").and_then(|node| reader.one_of(&node, &RISKS)),
        read_only,
        idempotent,
        destructive,
        compensation: fields.get("compensation").and_then(|node| reader.string(&node).map(str::to_owned)),
        output: fields.get("output").and_then(|node| reader.one_of(&node, &OUTPUTS)),
        needs: fields.get("needs").and_then(|node| needs::read(reader, &node)),
        aliases: fields.get("aliases").map(|node| read_aliases(reader, &node)).unwrap_or_default(),
        risk_reason: fields.get("risk_reason").and_then(|node| read_review(reader, &node)),
        side_effects: fields.get("side_effects").and_then(|node| read_side_effects(reader, &node)),
    };
    check_review(reader, (name, &fields), &annotations);
    if read_only && destructive {
        let message = format!("the tool `{name}` cannot be both read-only and destructive");
        let hint = "remove `read_only` or `destructive`".to_owned();
        reader.report(&fields.place, "contradiction", message, Some(hint));
    }
    if annotations.compensation.as_deref() == Some(name) {
        let message = format!("the tool `{name}` cannot be its own compensation");
        reader.report(&fields.place, "contradiction", message, None);
    }
    Some(annotations)
}

/// A text for a reviewer.
fn read_review<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<String> {
    let text = reader.string(node)?.trim();
    let most = limits::REVIEW_TEXT_BYTES_MAX;
    if text.is_empty() {
        let hint = "write what a reviewer should know, or leave it out".to_owned();
        reader.report(&node.place, "empty-text", "the text is empty", Some(hint));
    } else if text.len() > most {
        let message = format!("the text has {} bytes; at most {most} are read", text.len());
        reader.report(&node.place, "text-too-long", message, None);
    } else {
        return Some(text.to_owned());
    }
    None
}

fn read_side_effects<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<SideEffects> {
    let fields = reader.table(node, &["reversible", "scope", "description"])?;
    let mut text = |key| fields.get(key).and_then(|node| read_review(reader, &node));
    let (scope, description) = (text("scope"), text("description"));
    let reversible = fields.get("reversible").and_then(|node| reader.boolean(&node));
    Some(SideEffects { reversible, scope, description })
}

/// What is said for a reviewer may not contradict what is said for programs.
fn check_review<'t>(reader: &mut Reader<'t>, (name, fields): (&str, &Fields<'_, 't>), says: &Annotations) {
    if says.risk_reason.is_some() && says.risk.is_none() {
        let message = format!("the tool `{name}` gives a reason for its risk and does not say the risk");
        reader.report(&fields.place, "missing-key", message, Some("add `risk`, or remove `risk_reason`".to_owned()));
    }
    let Some(effects) = &says.side_effects else { return };
    let contradiction = if says.read_only {
        ("read-only and have side effects", "`read_only` or `side_effects`")
    } else if says.destructive && effects.reversible == Some(true) {
        ("destructive and reversible", "`destructive` or `reversible`")
    } else {
        return;
    };
    let message = format!("the tool `{name}` cannot be both {}", contradiction.0);
    reader.report(&fields.place, "contradiction", message, Some(format!("remove {}", contradiction.1)));
}

fn read_aliases<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Vec<String> {
    let Some(items) = reader.array(node, "names of a tool") else { return Vec::new() };
    if items.len() > limits::ALIASES_MAX {
        let message = format!("there are {} aliases; at most {} are read", items.len(), limits::ALIASES_MAX);
        reader.report(&node.place, "too-many-aliases", message, None);
        return Vec::new();
    }
    let mut aliases = Vec::new();
    for item in &items {
        let Some(text) = reader.string(item) else { continue };
        if text.split('.').count() <= 2 && text.split('.').all(is_name) {
            aliases.push(text.to_owned());
        } else {
            let message = format!("`{}` cannot be the name of a tool", shown(text));
            let hint = "write `function` or `interface.function`, without the skill".to_owned();
            reader.report(&item.place, "bad-name", message, Some(hint));
        }
    }
    aliases
}

/// The keys of a tool.
const TOOL_KEYS: [&str; 11] = [
    "description",
    "risk",
    "risk_reason",
    "read_only",
    "idempotent",
    "destructive",
    "side_effects",
    "compensation",
    "output",
    "needs",
    "aliases",
];

const RISKS: [(&str, Risk); 4] =
    [("low", Risk::Low), ("medium", Risk::Medium), ("high", Risk::High), ("critical", Risk::Critical)];

const OUTPUTS: [(&str, OutputKind); 4] =
    [("text", OutputKind::Text), ("json", OutputKind::Json), ("bytes", OutputKind::Bytes), ("none", OutputKind::None)];

/// What `skill.toml` says of one tool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotations {
    /// `description`.
    pub description: Option<String>,
    /// `risk`; `None` counts as high.
    pub risk: Option<Risk>,
    /// `read_only`.
    pub read_only: bool,
    /// `idempotent`.
    pub idempotent: bool,
    /// `destructive`.
    pub destructive: bool,
    /// `compensation`: a tool of the same skill.
    pub compensation: Option<String>,
    /// `output`.
    pub output: Option<OutputKind>,
    /// `needs`, beside those of the skill.
    pub needs: Option<Needs>,
    /// `aliases`: other names under which plans may call it.
    pub aliases: Vec<String>,
    /// `risk_reason`: why the risk is what it is, for a reviewer.
    pub risk_reason: Option<String>,
    /// `side_effects`, for a reviewer.
    pub side_effects: Option<SideEffects>,
}

/// What a tool says that it changes, for a reviewer: nothing is enforced by it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SideEffects {
    /// `reversible`: whether what it did can be taken back.
    pub reversible: Option<bool>,
    /// `scope`: what it reaches.
    pub scope: Option<String>,
    /// `description`: what it does there.
    pub description: Option<String>,
}

/// How much harm a tool can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// `low`.
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
    /// `critical`.
    Critical,
}

impl Risk {
    /// The risk as manifests write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// From 1, low, to 4, critical.
    #[must_use]
    pub const fn level(self) -> i64 {
        match self {
            Self::Low => 1,
            Self::Medium => 2,
            Self::High => 3,
            Self::Critical => 4,
        }
    }
}

/// What kind of output a tool says it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// `text`.
    Text,
    /// `json`.
    Json,
    /// `bytes`.
    Bytes,
    /// `none`.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "schema = \"skillhost.skill/1\"\nname = \"csv\"\nversion = \"1.2.0\"\n";

    fn problems(text: &str) -> Vec<String> {
        Metadata::parse(text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_key_is_read() {
        let text = format!(
            "{HEAD}description = \"d\"\n[tools.read]\ndescription = \"r\"\nrisk = \"low\"\nread_only = true\nidempotent = true\n\
             output = \"bytes\"\n[tools.\"api.write\"]\nrisk = \"critical\"\ndestructive = true\ncompensation = \"read\"\n"
        );
        let metadata = Metadata::parse(&text).unwrap();
        assert_eq!((metadata.name.as_deref(), metadata.version.as_deref()), (Some("csv"), Some("1.2.0")));
        let read = &metadata.tools["read"];
        assert_eq!(
            (read.risk, read.read_only, read.idempotent, read.output),
            (Some(Risk::Low), true, true, Some(OutputKind::Bytes))
        );
        let write = &metadata.tools["api.write"];
        assert_eq!(
            (write.risk, write.destructive, write.compensation.as_deref()),
            (Some(Risk::Critical), true, Some("read"))
        );
    }

    #[test]
    fn the_example_of_the_documentation_is_a_manifest() {
        let docs = include_str!("../../../docs/skill-format.md");
        let example = docs.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(Metadata::parse(example).unwrap().tools.len(), 2);
    }

    #[test]
    fn all_mistakes_are_reported_with_their_lines() {
        let text = "schema = \"skillhost.skill/2\"\nname = \"1x\"\nmaker = \"me\"\n[tools.a]\nrisk = \"hgh\"\nread_only = 1\n\
                    [tools.b]\nread_only = true\ndestructive = true\n[tools.c]\ncompensation = \"c\"\n";
        assert_eq!(
            problems(text),
            [
                "line 1, column 1: the key `version` is missing",
                "/schema (line 1, column 10): the schema `skillhost.skill/2` is not `skillhost.skill/1`",
                "/name (line 2, column 8): `1x` is not a skill name: it must start with a letter and hold only letters, digits, `-` and `_`, at most 128 bytes",
                "/maker (line 3, column 1): there is no key `maker`",
                "/tools/a/risk (line 5, column 8): `hgh` is no value of `risk`",
                "/tools/a/read_only (line 6, column 13): expected true or false, found an integer",
                "/tools/b (line 7, column 1): the tool `b` cannot be both read-only and destructive",
                "/tools/c (line 10, column 1): the tool `c` cannot be its own compensation",
            ]
        );
        assert_eq!(Metadata::parse(text).unwrap_err()[4].hint.as_deref(), Some("did you mean `high`?"));
    }

    #[test]
    fn what_is_for_a_reviewer_is_read_strictly() {
        let text = format!(
            "{HEAD}author = \"Ada\"\n[tools.wipe]\nrisk = \"high\"\nrisk_reason = \"it empties a folder\"\n\
             side_effects = {{ reversible = false, scope = \"the folder\", description = \"all in it is gone\" }}\n"
        );
        let metadata = Metadata::parse(&text).unwrap();
        let wipe = &metadata.tools["wipe"];
        assert_eq!(
            (metadata.author.as_deref(), wipe.risk_reason.as_deref()),
            (Some("Ada"), Some("it empties a folder"))
        );
        let effects = wipe.side_effects.as_ref().unwrap();
        assert_eq!((effects.reversible, effects.scope.as_deref()), (Some(false), Some("the folder")));
        assert_eq!(effects.description.as_deref(), Some("all in it is gone"));
        let longest = "x".repeat(limits::REVIEW_TEXT_BYTES_MAX);
        assert!(Metadata::parse(&format!("{HEAD}author = \"{longest}\"\n")).is_ok());
        for (text, says) in [
            (
                format!("author = \"{longest}x\"\n"),
                "/author (line 4, column 10): the text has 1001 bytes; at most 1000 are read",
            ),
            ("author = \" \"\n".to_owned(), "/author (line 4, column 10): the text is empty"),
            ("author = [\"a\"]\n".to_owned(), "/author (line 4, column 10): expected a string, found an array"),
            (
                "[tools.a]\nrisk_reason = \"r\"\n".to_owned(),
                "/tools/a (line 4, column 1): the tool `a` gives a reason for its risk and does not say the risk",
            ),
            (
                "[tools.a]\nside_effects = { reversable = true }\n".to_owned(),
                "/tools/a/side_effects/reversable (line 5, column 18): there is no key `reversable`",
            ),
            (
                "[tools.a]\nread_only = true\nside_effects = {}\n".to_owned(),
                "/tools/a (line 4, column 1): the tool `a` cannot be both read-only and have side effects",
            ),
            (
                "[tools.a]\ndestructive = true\nside_effects = { reversible = true }\n".to_owned(),
                "/tools/a (line 4, column 1): the tool `a` cannot be both destructive and reversible",
            ),
        ] {
            assert_eq!(problems(&format!("{HEAD}{text}")), [says]);
        }
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let found = problems("schema = \n[tools\n");
        assert!(found[0].starts_with("line 1, column "), "{found:?}");
        assert!(found.iter().all(|problem| !problem.contains('\n')));
        assert!(problems(&format!("{HEAD}name = \"again\"\n"))[0].contains("duplicate key"));
    }

    #[test]
    fn tools_that_do_not_exist_are_told() {
        let metadata = Metadata::parse(&format!("{HEAD}[tools.raed]\ncompensation = \"undo\"\n")).unwrap();
        let found = metadata.check(&BTreeMap::new(), &[]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].to_string(), "/tools/raed: the component exports no tool `raed`");
        assert_eq!(found[1].hint.as_deref(), Some("the component exports no tools"));
    }

    #[test]
    fn a_name_means_one_tool() {
        let problems = |text: &str| Metadata::parse(&format!("{HEAD}{text}")).unwrap_err()[0].code.clone();
        let metadata = Metadata::parse(&format!("{HEAD}[tools.read]\naliases = [\"load\", \"api.get\"]\n")).unwrap();
        assert_eq!(metadata.tools["read"].aliases, ["load", "api.get"]);
        assert_eq!(problems("[tools.read]\naliases = \"load\"\n"), "wrong-type");
        assert_eq!(problems("[tools.read]\naliases = [\"csv.api.get\"]\n"), "bad-name");
        let many: Vec<String> = (0..=limits::ALIASES_MAX).map(|n| format!("\"a{n}\"")).collect();
        assert_eq!(problems(&format!("[tools.read]\naliases = [{}]\n", many.join(", "))), "too-many-aliases");
        let tool = |name: &str| Tool {
            name: format!("csv.{name}").parse().unwrap(),
            export: crate::skill::Export::Function { interface: None, function: name.to_owned() },
            params: Vec::new(),
            result: crate::skill::ToolResult { ok: None, err: None, fallible: false },
            annotations: Annotations::default(),
        };
        let tools: BTreeMap<String, Tool> =
            ["read", "write"].map(|name| (name.to_owned(), tool(name))).into_iter().collect();
        let check = |text: &str| {
            let problems = Metadata::parse(&format!("{HEAD}{text}")).unwrap().check(&tools, &[]);
            problems.iter().map(|problem| format!("{} {}", problem.pointer, problem.message)).collect::<Vec<_>>()
        };
        assert_eq!(
            check("[tools.read]\naliases = [\"load\"]\n[tools.write]\naliases = [\"save\"]\n"),
            Vec::<String>::new()
        );
        assert_eq!(
            check("[tools.read]\naliases = [\"write\", \"load\"]\n[tools.write]\naliases = [\"load\"]\n"),
            [
                "/tools/read/aliases/0 the alias `write` is a tool of the component",
                "/tools/write/aliases/0 the alias `load` is there twice",
            ]
        );
    }
}
