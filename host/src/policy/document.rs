//! The policy document (`schema = "skillhost.policy/1"`): from TOML text to a [`Policy`], or all mistakes at once.

mod approval;
pub(super) mod keys;
mod network;
mod secrets;

pub(crate) use network::places;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::form;
use crate::id::{Digest, is_name};
use crate::limits::{self, LimitsDocument, StepLimits};
use crate::policy::audit::{self, AuditSettings};
use crate::policy::{
    Access, Approval, ApprovalSettings, CallPattern, Clocks, Grant, NetworkSettings, Pattern, Policy, Preopen,
    Principal, Random, RuleSet, RunBudget, SCHEMA, Sockets, WORKSPACE,
};
use crate::problem::Problem;
use crate::skill::{SkillOrigin, own};
use crate::toml_text::{self, Fields, Node, Place, Reader};

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    ///
    /// All mistakes, in the order of the text, each with its line: syntax, unknown keys, wrong types, values out of range, paths and
    /// names that are not of their form, grants that no tool can ever reach, secrets that are not declared or not used. A document that
    /// names `rules` is refused: see [`Self::parse_with_rules`].
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        Self::parse_with(text, |name| {
            let message =
                format!("the rules `{name}` are not given: without them the policy would say less than it means");
            Err(Problem::new("missing-rules", "/rules", message))
        })
    }

    /// The JSON Schema of policies, for the JSON of what their TOML says (`docs/policy-format.md` says what it cannot express).
    #[must_use]
    pub fn json_schema() -> Value {
        keys::schema()
    }

    /// Reads a policy document whose `rules` have this text, whatever they are called.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`], and all mistakes of the rules. Rules that the document does not name are refused.
    pub fn parse_with_rules(text: &str, rules: &str) -> Result<Self, Vec<Problem>> {
        let policy = Self::parse_with(text, |_| Ok(rules.to_owned()))?;
        if policy.rules.is_some() {
            return Ok(policy);
        }
        let hint = "write `rules = \"access.cedar\"` above its first table";
        Err(vec![
            Problem::new("unexpected-rules", "", "the policy names no `rules`, but some are given").with_hint(hint),
        ])
    }

    /// Reads a policy document. Where it names `rules`, `load` gives their text; it gets the name as it is written, which is a relative
    /// path without `..`.
    ///
    /// # Errors
    ///
    /// As [`Self::parse_with_rules`], and what `load` says.
    pub fn parse_with(text: &str, load: impl FnOnce(&str) -> Result<String, Problem>) -> Result<Self, Vec<Problem>> {
        let document = toml_text::parse(text)?;
        let mut reader = Reader::new(text);
        let root = reader.root(&document, &keys::POLICY.names().collect::<Vec<_>>());
        reader.schema(&root, SCHEMA);
        let ceilings = root.get("limits").map(|node| read_limits(&mut reader, &node, None));
        let call_depth = root.get("limits").and_then(|node| read_call_depth(&mut reader, &node));
        let call_depth = call_depth.unwrap_or(limits::CALL_DEPTH_MAX);
        let limits = over_defaults(&ceilings.unwrap_or_default());
        let run = root.get("run").map(|node| read_run(&mut reader, &node)).unwrap_or_default();
        let network = root.get("network").map(|node| network::read_settings(&mut reader, &node)).unwrap_or_default();
        let declared = root.get("secrets").map(|node| secrets::read_declarations(&mut reader, &node));
        let mut used = secrets::References::default();
        let approval =
            root.get("approval").map(|node| approval::read(&mut reader, &node, &mut used)).unwrap_or_default();
        let audit = root.get("audit").map(|node| audit::read(&mut reader, &node)).unwrap_or_default();
        let grants = root.get("grant").map(|node| read_grants(&mut reader, &node, limits, &mut used));
        let secrets = used.check(&mut reader, declared.unwrap_or_default());
        let named = root.get("rules").and_then(|node| read_rules_name(&mut reader, &node));
        let roles = root.get("roles").map(|node| read_roles(&mut reader, &node)).unwrap_or_default();
        if let (Some(node), None) = (root.get("roles"), root.get("rules")) {
            let hint = Some("name a file of rules with `rules`, or remove `[roles]`".to_owned());
            reader.report(&node.place, "roles-without-rules", "only rules know roles, and there are none", hint);
        }
        let mut problems = reader.finish();
        let rules = match named
            .map(|name| load(name).map_err(|problem| vec![problem]).and_then(|text| RuleSet::parse(&text)))
        {
            None => None,
            Some(Ok(rules)) => Some(Arc::new(rules)),
            Some(Err(found)) => {
                let name = named.unwrap_or_default();
                problems.extend(found.into_iter().map(|problem| {
                    let message = match &problem.position {
                        Some(_) => format!("in `{name}`: {}", problem.message),
                        None => problem.message.clone(),
                    };
                    Problem { message, ..problem }
                }));
                None
            }
        };
        if problems.is_empty() {
            let grants = grants.unwrap_or_default();
            let digest = Digest::of(text.as_bytes());
            Ok(Self {
                limits,
                call_depth,
                run,
                grants,
                rules,
                roles,
                secrets,
                network,
                approval,
                audit,
                ceiling: None,
                digest,
            })
        } else {
            Err(problems)
        }
    }

    /// The policy where there is no document: it grants nothing.
    #[must_use]
    pub fn deny_all() -> Self {
        Self {
            limits: StepLimits::DEFAULT,
            call_depth: limits::CALL_DEPTH_MAX,
            run: RunBudget::default(),
            grants: Vec::new(),
            secrets: BTreeMap::new(),
            network: NetworkSettings::default(),
            approval: ApprovalSettings::default(),
            audit: AuditSettings::default(),
            rules: None,
            roles: BTreeMap::new(),
            ceiling: None,
            digest: Digest::of(b""),
        }
    }

    /// Whether there is a document; `false` for [`Self::deny_all`].
    #[must_use]
    pub fn has_document(&self) -> bool {
        // No document is empty: it names its schema.
        self.digest != Digest::of(b"")
    }
}

/// The name of the file of rules: below the policy's own folder, so that a policy and its rules move together.
fn read_rules_name<'d, 't>(reader: &mut Reader<'t>, node: &Node<'d, 't>) -> Option<&'d str> {
    let name = reader.string(node)?;
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0', ':']);
    if name.split('/').all(plain) {
        return Some(name);
    }
    let message = format!("`{}` is no file below the policy's folder", name.escape_debug());
    let hint = "write its path from there, such as `access.cedar`".to_owned();
    reader.report(&node.place, "bad-path", message, Some(hint));
    None
}

/// Reads `[roles]`: for each principal a list of names.
fn read_roles<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> BTreeMap<Principal, Vec<String>> {
    let Some(fields) = reader.open_table(node) else { return BTreeMap::new() };
    let mut roles: BTreeMap<Principal, Vec<String>> = BTreeMap::new();
    let mut count = 0;
    for (name, node) in fields.entries() {
        let principal = name
            .parse::<Principal>()
            .map_err(|error| reader.report(&node.place, "bad-principal", error.to_string(), None));
        let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
        for item in reader.array(&node, "names of roles").unwrap_or_default() {
            let Some(role) = reader.string(&item) else { continue };
            count += 1;
            if !is_name(role) {
                let message = format!("`{}` is no name of a role", role.escape_debug());
                let hint = "a name starts with a letter and holds only letters, digits, `-` and `_`".to_owned();
                reader.report(&item.place, "bad-name", message, Some(hint));
            } else if !seen.insert(role) {
                reader.report(&item.place, "duplicate-role", format!("the role `{role}` is there twice"), None);
            } else {
                names.push(role.to_owned());
            }
        }
        if let Ok(principal) = principal {
            roles.insert(principal, names);
        }
    }
    if count > limits::ROLES_MAX {
        let message = format!("there are {count} roles; at most {} are read", limits::ROLES_MAX);
        reader.report(&node.place, "too-many-roles", message, None);
    }
    roles
}

/// What the document says, in both directions: a policy's limit may be above or below the default.
fn over_defaults(document: &LimitsDocument) -> StepLimits {
    let default = StepLimits::DEFAULT;
    StepLimits {
        fuel: document.fuel.unwrap_or(default.fuel),
        deadline_ms: document.deadline_ms.unwrap_or(default.deadline_ms),
        memory_bytes: document.memory_bytes.unwrap_or(default.memory_bytes),
        output_bytes: document.output_bytes.unwrap_or(default.output_bytes),
        stdio_bytes: document.stdio_bytes.unwrap_or(default.stdio_bytes),
        host_calls: document.host_calls.unwrap_or(default.host_calls),
        trace_bytes: document.trace_bytes.unwrap_or(default.trace_bytes),
    }
}

/// Reads `[run]`.
fn read_run<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> RunBudget {
    let mut budget = RunBudget::default();
    let Some(fields) = reader.shaped(node, &keys::RUN) else { return budget };
    for key in keys::RUN.names() {
        let amount = reader.ranged(&fields, &keys::RUN, key);
        if let Some(slot) = budget.slot(key) {
            *slot = amount;
        }
    }
    budget
}

/// Reads a `limits` table. `ceiling` is what `[limits]` says, for the table of a grant: a grant cannot raise it.
fn read_limits<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>, ceiling: Option<&StepLimits>) -> LimitsDocument {
    let shape = if ceiling.is_none() { &form::CEILINGS } else { &form::LIMITS };
    let mut document = LimitsDocument::default();
    let Some(fields) = reader.shaped(node, shape) else { return document };
    let ceilings = ceiling.map(StepLimits::entries);
    for (index, key) in form::LIMITS.names().enumerate() {
        let Some(node) = fields.get(key) else { continue };
        let value = reader.ranged(&fields, shape, key);
        let highest = ceilings.and_then(|entries| entries.get(index).map(|(_, highest)| *highest));
        if let (Some(value), Some(highest)) = (value, highest)
            && value > highest
        {
            let message = format!("`{key}` of a grant is above the policy's own, which is {highest}");
            let hint = format!("raise `{key}` in `[limits]` and lower it in the other grants, or lower it here");
            reader.report(&node.place, "limit-above-ceiling", message, Some(hint));
        }
        let slot = match key {
            "fuel" => &mut document.fuel,
            "deadline_ms" => &mut document.deadline_ms,
            "memory_bytes" => &mut document.memory_bytes,
            "output_bytes" => &mut document.output_bytes,
            "stdio_bytes" => &mut document.stdio_bytes,
            "host_calls" => &mut document.host_calls,
            _ => &mut document.trace_bytes,
        };
        *slot = value;
    }
    document
}

fn read_grants<'t>(
    reader: &mut Reader<'t>,
    node: &Node<'_, 't>,
    ceilings: StepLimits,
    used: &mut secrets::References,
) -> Vec<Arc<Grant>> {
    let Some(nodes) = reader.array(node, "tables, each written as `[[grant]]`") else { return Vec::new() };
    if nodes.len() > limits::GRANTS_MAX {
        let message = format!("there are {} grants; at most {} are read", nodes.len(), limits::GRANTS_MAX);
        reader.report(&node.place, "too-many-grants", message, None);
        return Vec::new();
    }
    let mut grants: Vec<Arc<Grant>> = Vec::with_capacity(nodes.len());
    // Where the grant of this index was not readable, those after it are not held against it.
    let mut indices: Vec<usize> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let Some(grant) = read_grant(reader, node, ceilings, used) else { continue };
        if let Some(earlier) = covered_by(&grants, &grant) {
            let mut earlier: Vec<usize> = earlier.iter().filter_map(|at| indices.get(*at).copied()).collect();
            earlier.sort_unstable();
            earlier.dedup();
            let names: Vec<String> = earlier.iter().map(ToString::to_string).collect();
            let message =
                format!("grant {index} never applies: grant {} names all its tools first", names.join(" and "));
            let hint = "the first grant that names a tool applies alone: move this one up or remove it".to_owned();
            reader.report(&node.place, "unreachable-grant", message, Some(hint));
        }
        grants.push(Arc::new(grant));
        indices.push(index);
    }
    grants
}

/// The grants that together name everything that `grant` names; `None` where something is left for it.
fn covered_by(earlier: &[Arc<Grant>], grant: &Grant) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    for skill in &grant.skills {
        for tool in &grant.tools {
            let covers = |other: &Arc<Grant>| {
                other.skills.iter().any(|pattern| pattern.covers(skill))
                    && other.tools.iter().any(|pattern| pattern.covers(tool))
            };
            found.push(earlier.iter().position(covers)?);
        }
    }
    if found.is_empty() { None } else { Some(found) }
}

fn read_grant<'t>(
    reader: &mut Reader<'t>,
    node: &Node<'_, 't>,
    ceilings: StepLimits,
    used: &mut secrets::References,
) -> Option<Grant> {
    let fields = reader.shaped(node, &keys::GRANT)?;
    let skills = read_patterns(reader, &fields, "skills", 0);
    let tools = read_patterns(reader, &fields, "tools", 1);
    let origins = SkillOrigin::GRANTED.map(|origin| (origin.name(), origin));
    let origin = fields.get("origin").and_then(|node| reader.one_of(&node, &origins));
    let sha256 = fields.get("sha256").and_then(|node| read_digest(reader, &node));
    let filesystem = fields.get("filesystem").map(|node| read_filesystem(reader, &node)).unwrap_or_default();
    let clocks = fields.get("clocks");
    let clocks = clocks.and_then(|node| reader.one_of(&node, &[("virtual", Clocks::Virtual), ("real", Clocks::Real)]));
    let random = fields.get("random");
    let random = random.and_then(|node| reader.one_of(&node, &[("seeded", Random::Seeded), ("real", Random::Real)]));
    let network = fields.get("network").map(|node| network::read_rules(reader, &node, used)).unwrap_or_default();
    let sockets = fields.get("sockets").and_then(|node| read_sockets(reader, &node));
    let env = fields.get("env").map(|node| secrets::read_env(reader, &node, used)).unwrap_or_default();
    let config = fields.get("config").map(|node| secrets::read_config(reader, &node, used)).unwrap_or_default();
    let calls = fields.get("calls").map(|node| read_calls(reader, &node)).unwrap_or_default();
    let approval = fields.get("approval");
    let approval =
        approval.and_then(|node| reader.one_of(&node, &[("never", Approval::Never), ("required", Approval::Required)]));
    let own = fields.get("limits").map(|node| read_limits(reader, &node, Some(&ceilings)));
    Some(Grant {
        skills: skills?,
        tools: tools?,
        origin,
        sha256,
        filesystem,
        network,
        sockets,
        clocks: clocks.unwrap_or_default(),
        random: random.unwrap_or_default(),
        env,
        config,
        calls,
        approval,
        limits: ceilings.tightened(&own.unwrap_or_default()),
    })
}

/// Reads `sha256`.
fn read_digest<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<Digest> {
    let text = reader.string(node)?;
    let digest = text.parse::<Digest>();
    let hint = || Some("`host inspect FILE` and `sha256sum` print it".to_owned());
    digest.map_err(|error| reader.report(&node.place, "bad-digest", error.to_string(), hint())).ok()
}

/// Reads `sockets`, whose hint is for whoever wants open ones.
fn read_sockets<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<Sockets> {
    let text = reader.string(node)?;
    if text == Sockets::Closed.name() {
        return Some(Sockets::Closed);
    }
    let message = format!("`{}` is no value of `sockets`", text.escape_debug());
    let hint = "write `closed`: open sockets are not provided, and requests go through `network`".to_owned();
    reader.report(&node.place, "unknown-value", message, Some(hint));
    None
}

/// The key of [`Policy::call_depth`].
const CALL_DEPTH: &str = "call_depth";

/// Reads `call_depth` of `[limits]`; that there are no other keys is [`read_limits`]' business.
fn read_call_depth<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<u64> {
    let fields = if Reader::is_table(node) { reader.open_table(node)? } else { return None };
    let node = fields.get(CALL_DEPTH)?;
    let (_, max) = form::CEILINGS.range(CALL_DEPTH)?;
    reader.integer(&node, max)
}

/// Reads `calls`: names of tools with their skill, of which the last part may end in a star.
fn read_calls<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Vec<CallPattern> {
    let Some(items) = reader.array(node, "names of tools") else { return Vec::new() };
    if items.len() > limits::CALLS_MAX {
        let message = format!("there are {} entries; at most {} are read", items.len(), limits::CALLS_MAX);
        reader.report(&node.place, "too-many-calls", message, None);
        return Vec::new();
    }
    let mut calls: Vec<CallPattern> = Vec::with_capacity(items.len());
    for item in &items {
        let Some(text) = reader.string(item) else { continue };
        let parts = text.split_once('.');
        let read = parts.and_then(|(skill, tools)| {
            Some(CallPattern { skill: skill.parse().ok()?, tools: Pattern::read(tools, 1)? })
        });
        match read {
            Some(pattern) if own::is_own(&pattern.skill) => {
                let message = format!("`{pattern}` is the host itself, which only steps of a plan call");
                reader.report(&item.place, "host-tool", message, Some("take it out of `calls`".to_owned()));
            }
            Some(pattern) if calls.contains(&pattern) => {
                reader.report(&item.place, "duplicate-call", format!("`{text}` is there twice"), None);
            }
            Some(pattern) => calls.push(pattern),
            None => {
                let hint = "write a tool with its skill (`json.query`), or a skill with a star (`text.*`): the skill is always named";
                let message = format!("`{}` names no tools for `calls`", text.escape_debug());
                reader.report(&item.place, "bad-pattern", message, Some(hint.to_owned()));
            }
        }
    }
    calls
}

/// Reads `skills` or `tools`; a name may have `dots` dots.
fn read_patterns<'t>(reader: &mut Reader<'t>, fields: &Fields<'_, 't>, key: &str, dots: usize) -> Option<Vec<Pattern>> {
    let Some(node) = fields.get(key) else {
        let hint = Some(format!("write `{key} = [\"*\"]` for all of them"));
        reader.report(&fields.place, "missing-key", format!("the grant has no `{key}`"), hint);
        return None;
    };
    let items = reader.array(&node, "names")?;
    if items.is_empty() {
        reader.report(&node.place, "empty-list", format!("`{key}` names nothing, so the grant never applies"), None);
        return None;
    }
    let mut patterns = Vec::with_capacity(items.len());
    for item in &items {
        let text = reader.string(item)?;
        match Pattern::read(text, dots) {
            Some(pattern) => patterns.push(pattern),
            None => {
                let hint = "write a name, the beginning of names with a star (`read-*`), or `*`".to_owned();
                reader.report(&item.place, "bad-pattern", format!("`{text}` is no pattern for `{key}`"), Some(hint));
                return None;
            }
        }
    }
    Some(patterns)
}

impl Pattern {
    fn read(text: &str, dots: usize) -> Option<Self> {
        let (name, prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        let parts: Vec<&str> = name.split('.').collect();
        let plain = |part: &&str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        let starts = |part: &str| part.starts_with(|first: char| first.is_ascii_alphabetic());
        // Only the last part of a prefix may be cut before its first letter.
        let whole = if prefix { parts.len() - 1 } else { parts.len() };
        let sound = parts.iter().all(plain)
            && parts.iter().take(whole).all(|part| starts(part))
            && parts.last().is_none_or(|last| last.is_empty() || starts(last));
        if !sound || parts.len() > dots + 1 || name.len() > limits::NAME_BYTES_MAX * 2 {
            return None;
        }
        Some(if prefix { Self::Prefix(name.to_owned()) } else { Self::Exact(name.to_owned()) })
    }

    /// Whether this pattern names everything that `other` names.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix(prefix), Self::Exact(name) | Self::Prefix(name)) => name.starts_with(prefix.as_str()),
            (Self::Exact(name), Self::Exact(other)) => name == other,
            (Self::Exact(_), Self::Prefix(_)) => false,
        }
    }
}

fn read_filesystem<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Vec<Preopen> {
    let Some(items) = reader.array(node, "tables") else { return Vec::new() };
    let mut preopens: Vec<Preopen> = Vec::with_capacity(items.len());
    for item in &items {
        let Some((preopen, place)) = read_preopen(reader, item) else { continue };
        if let Some(other) = preopens.iter().find(|other| is_same_or_below(&other.guest, &preopen.guest)) {
            let (message, hint) = if other.guest == preopen.guest {
                (
                    format!("the guest path `{}` is given twice", preopen.guest),
                    "give each folder a guest path of its own",
                )
            } else {
                let (one, two) = (&preopen.guest, &other.guest);
                let message = format!("the guest paths `{one}` and `{two}` lie inside each other");
                (message, "put them side by side: which of the two a path would mean depends on the guest's libc")
            };
            reader.report(&place, "ambiguous-guest-path", message, Some(hint.to_owned()));
        }
        preopens.push(preopen);
    }
    preopens
}

/// Whether one of two paths is the other or leads to it. To a guest's libc a relative path begins in its own folder, which is `/` at the
/// start: there, `data` and `/data` are the same, and so are `.` and `/`.
fn is_same_or_below(one: &str, other: &str) -> bool {
    let names = |path: &str| match path.trim_start_matches('/') {
        "" | "." => String::new(),
        names => format!("/{names}"),
    };
    let below = |path: &str, folder: &str| {
        path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let (one, other) = (names(one), names(other));
    below(&one, &other) || below(&other, &one)
}

fn read_preopen<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<(Preopen, Place)> {
    let fields = reader.shaped(node, &keys::PREOPEN)?;
    for key in keys::PREOPEN.names() {
        if fields.get(key).is_none() {
            let hint =
                (key == "access").then(|| "write `access = \"read-only\"` or `access = \"read-write\"`".to_owned());
            reader.report(&fields.place, "missing-key", format!("the folder has no `{key}`"), hint);
        }
    }
    let host = fields.get("host").and_then(|node| {
        let text = reader.string(&node)?;
        check_host(text).map_err(|(message, hint)| reader.report(&node.place, "bad-host-path", message, hint)).ok()?;
        Some(text.to_owned())
    });
    let guest_node = fields.get("guest");
    let guest = guest_node.as_ref().and_then(|node| {
        let text = reader.string(node)?;
        check_guest(text)
            .map_err(|(message, hint)| reader.report(&node.place, "bad-guest-path", message, hint))
            .ok()?;
        Some(text.to_owned())
    });
    let choices = [("read-only", Access::ReadOnly), ("read-write", Access::ReadWrite)];
    let access = fields.get("access").and_then(|node| reader.one_of(&node, &choices));
    Some((Preopen { host: host?, guest: guest?, access: access? }, guest_node?.place))
}

type Refusal = (String, Option<String>);

fn check_host(text: &str) -> Result<(), Refusal> {
    let hint = |hint: &str| Some(hint.to_owned());
    if text.contains('\0') {
        return Err(("a host path holds no NUL".to_owned(), None));
    }
    let path = if let Some(below) = text.strip_prefix(WORKSPACE) {
        if !below.is_empty() && !below.starts_with('/') {
            return Err((format!("`{text}` must go on with `/` after `{WORKSPACE}`"), None));
        }
        below
    } else if text.starts_with('/') {
        text
    } else if text.starts_with('{') {
        return Err((
            format!("`{text}` starts with no known placeholder"),
            hint("the only placeholder is `{workspace}`"),
        ));
    } else {
        let message = format!("the host path `{text}` is relative");
        return Err((message, hint("write an absolute path, or `{workspace}/…` for one in the workspace")));
    };
    if path.contains(['{', '}']) {
        return Err((format!("`{text}` has braces inside"), hint("`{workspace}` may stand at the beginning alone")));
    }
    if path.split('/').any(|part| part == "..") {
        return Err((format!("the host path `{text}` has `..` in it"), hint("write the path without `..`")));
    }
    Ok(())
}

/// `/`, `.`, or names with single slashes between, with or without one in front. Programs that expect relative folders look for `.` or for
/// the name that they are started with.
fn check_guest(text: &str) -> Result<(), Refusal> {
    if text.starts_with('{') {
        let hint = Some("write a path such as `/workspace`".to_owned());
        return Err((format!("the guest path `{text}` starts with a placeholder, and guest paths have none"), hint));
    }
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    let names = text.strip_prefix('/').unwrap_or(text);
    if !matches!(text, "/" | ".") && !names.split('/').all(plain) {
        let hint = Some("write it without `.`, `..`, double or final slashes; `.` alone may be".to_owned());
        return Err((format!("the guest path `{}` is not in its simplest form", text.escape_debug()), hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
