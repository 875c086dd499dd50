//! Plans of other systems as plans of ours: the import behind `host plan import`.
//!
//! Two notations are read: workflows with capabilities and compensations (`ai-first`), and plans of skills with parameters (`avatar`). What
//! is written means the same here or is refused with its place; everything that was changed, moved or left out on the way is listed. Never
//! guesses: a name that could mean two things is refused.

mod ai_first;
mod avatar;
mod call;
mod capabilities;
mod condition;
mod graph;
mod references;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::id::{NAME_FORM, ToolName, is_name};
use crate::limits;
use crate::problem::{Problem, Problems, pointer_to, shown, suggestion};

/// A notation that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Workflows: `steps` with `capability`, `inputs`, `compensation`, `step_type`.
    AiFirst,
    /// Plans: `steps` with `skill_name` and `params`.
    Avatar,
}

impl Dialect {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AiFirst => "ai-first",
            Self::Avatar => "avatar",
        }
    }
}

/// What is said beside the document.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The notation; `None` is found out from the document.
    pub dialect: Option<Dialect>,
    /// The plan's name where the document has none.
    pub name: String,
    /// Tools for capabilities that are not known here, or in place of those that are.
    pub map: BTreeMap<String, ToolName>,
    /// The keys of what mapped capabilities give; only with them flat references to it are known.
    pub gives: BTreeMap<String, BTreeSet<String>>,
    /// Leaves a workflow's `policy` out. Otherwise it is refused: a plan never chooses what it may do.
    pub drop_policy: bool,
}

/// A plan, and how it differs from what it was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The notation that was read.
    pub dialect: Dialect,
    /// The plan as a document.
    pub plan: Value,
    /// In the order in which they were made, which is near that of the document.
    pub changes: Vec<Change>,
}

impl Imported {
    /// The plan as indented JSON with the keys in the order in which people write them.
    #[must_use]
    pub fn text(&self) -> String {
        text::write(&self.plan)
    }
}

/// Something that is not in the plan as it was in the document.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Change {
    /// JSON pointer into the document that was imported.
    pub pointer: String,
    /// What stood there; null where nothing did.
    pub was: Value,
    /// What stands for it in the plan; null where nothing does.
    pub now: Value,
    /// Why: lower case, no final period.
    pub why: String,
}

/// Makes a plan of a document.
///
/// # Errors
///
/// All that has no meaning here, with its place and a hint: unknown keys, wrong types, capabilities without a tool, references that name
/// nothing or more than one thing, steps that wait for each other.
pub fn import(document: &Value, options: &ImportOptions) -> Result<Imported, Vec<Problem>> {
    let dialect = match options.dialect {
        Some(dialect) => dialect,
        None => detect(document).map_err(|problem| vec![problem])?,
    };
    let mut reader = Reader { options, problems: Problems::default(), changes: Vec::new() };
    let plan = match dialect {
        Dialect::AiFirst => ai_first::read(&mut reader, document),
        Dialect::Avatar => avatar::read(&mut reader, document),
    };
    match plan {
        Some(plan) if reader.problems.is_empty() => {
            Ok(Imported { dialect, plan: Value::Object(plan), changes: reader.changes })
        }
        _ => Err(reader.problems.into_vec()),
    }
}

/// The notation by the keys that only one of them has.
fn detect(document: &Value) -> Result<Dialect, Problem> {
    if document.get("schema").is_some() {
        let problem = Problem::new("not-foreign", "/schema", "the document has a schema, as plans of this host do");
        return Err(problem.with_hint("run it as it is, or remove `schema` if it is of another system"));
    }
    let steps = document.get("steps").and_then(Value::as_array);
    let any = |keys: &[&str]| {
        steps.is_some_and(|steps| steps.iter().any(|step| keys.iter().any(|key| step.get(key).is_some())))
    };
    let workflow = any(&["capability", "capability_name", "step_type", "inputs"]);
    match (workflow, any(&["skill_name", "params"])) {
        (true, false) => Ok(Dialect::AiFirst),
        (false, true) => Ok(Dialect::Avatar),
        (both, _) => {
            let message = if both { "the document has keys of two notations" } else { "the notation is not known" };
            let hint =
                "say which it is with `--dialect`: in `ai-first` steps have a `capability`, in `avatar` a `skill_name`";
            Err(Problem::new("unknown-dialect", "/steps", message).with_hint(hint))
        }
    }
}

/// Gathers what is wrong and what is changed.
struct Reader<'o> {
    options: &'o ImportOptions,
    problems: Problems,
    changes: Vec<Change>,
}

/// An object of the document with its place.
#[derive(Clone, Copy)]
struct Members<'d, 'p> {
    map: &'d Map<String, Value>,
    pointer: &'p str,
}

impl<'d> Members<'d, '_> {
    /// The value of `key`; null is as good as absent, because these notations write out what is not set.
    fn get(self, key: &str) -> Option<&'d Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn at(self, key: &str) -> String {
        pointer_to(self.pointer, key)
    }
}

impl Reader<'_> {
    fn report(&mut self, code: &str, pointer: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem::new(code, pointer, message).with_hint(hint));
    }

    fn changed(&mut self, pointer: impl Into<String>, was: Value, now: Value, why: impl Into<String>) {
        self.changes.push(Change { pointer: pointer.into(), was, now, why: why.into() });
    }

    /// Notes that a value is not in the plan.
    fn dropped(&mut self, pointer: impl Into<String>, was: &Value, why: impl Into<String>) {
        self.changed(pointer, was.clone(), Value::Null, why);
    }

    fn wrong_type(&mut self, pointer: &str, expected: &str, value: &Value) {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "keys and values",
        };
        let hint = match (expected, value) {
            ("a string", Value::Number(_) | Value::Bool(_)) => "put it in quotes",
            _ => "see the description of the import",
        };
        self.report("wrong-type", pointer, format!("expected {expected}, found {found}"), hint);
    }

    /// An object. Keys other than `known` are reported.
    fn object<'d, 'p>(&mut self, value: &'d Value, pointer: &'p str, known: &[&str]) -> Option<Members<'d, 'p>> {
        let Some(map) = value.as_object() else {
            self.wrong_type(pointer, "keys and values", value);
            return None;
        };
        let members = Members { map, pointer };
        self.unknown_keys(members, known);
        Some(members)
    }

    /// Reports keys other than `known`.
    fn unknown_keys(&mut self, members: Members<'_, '_>, known: &[&str]) {
        for key in members.map.keys().filter(|key| !known.contains(&key.as_str())) {
            let hint = suggestion(key, known.iter().copied())
                .unwrap_or_else(|| "it has no meaning here: remove it, or write it otherwise".to_owned());
            self.report("unknown-key", &members.at(key), format!("there is no key `{}`", shown(key)), hint);
        }
    }

    fn string<'d>(&mut self, members: Members<'d, '_>, key: &str) -> Option<&'d str> {
        let value = members.get(key)?;
        if value.as_str().is_none() {
            self.wrong_type(&members.at(key), "a string", value);
        }
        value.as_str()
    }

    fn list<'d>(&mut self, members: Members<'d, '_>, key: &str) -> &'d [Value] {
        match members.get(key) {
            None => &[],
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.wrong_type(&members.at(key), "a list", other);
                &[]
            }
        }
    }

    /// The list of steps: at least one, at most as many as are compared with each other.
    fn steps<'d>(&mut self, members: Members<'d, '_>) -> Option<&'d [Value]> {
        let steps = self.list(members, "steps");
        if steps.is_empty() {
            self.report("no-steps", &members.at("steps"), "there are no steps", "write at least one");
            return None;
        }
        if steps.len() > limits::STEPS_IMPORTED_MAX {
            let message = format!("there are {} steps; at most {} are read", steps.len(), limits::STEPS_IMPORTED_MAX);
            self.report("too-many-steps", &members.at("steps"), message, "split it into several");
            return None;
        }
        Some(steps)
    }

    /// The names in a list of names, with their places.
    fn names<'d>(&mut self, members: Members<'d, '_>, key: &str) -> Vec<(&'d str, String)> {
        let mut names: Vec<(&str, String)> = Vec::new();
        for (index, item) in self.list(members, key).iter().enumerate() {
            let at = pointer_to(&members.at(key), &index.to_string());
            match item.as_str() {
                None => self.wrong_type(&at, "a string", item),
                Some(name) if names.iter().any(|(known, _)| *known == name) => {
                    self.dropped(at, item, "it is named twice");
                }
                Some(name) => names.push((name, at)),
            }
        }
        names
    }

    /// Ids for names, each of its own.
    fn ids(&mut self, names: &[(String, String)]) -> Option<Vec<String>> {
        let mut ids: Vec<String> = Vec::with_capacity(names.len());
        for (index, (name, pointer)) in names.iter().enumerate() {
            let id = id_of(name);
            if names.iter().take(index).any(|(other, _)| other == name) {
                let message = format!("two steps are called `{}`", shown(name));
                self.report("duplicate-step", pointer, message, "give each step a name of its own");
                return None;
            }
            if ids.contains(&id) {
                let message = format!("`{}` and another step would both have the id `{id}`", shown(name));
                self.report("duplicate-step", pointer, message, format!("rename one: {NAME_FORM}"));
                return None;
            }
            if id != *name {
                let why = format!("an id: {NAME_FORM}");
                self.changed(pointer.clone(), name.as_str().into(), id.as_str().into(), why);
            }
            ids.push(id);
        }
        Some(ids)
    }
}

/// The id that a name amounts to.
fn id_of(name: &str) -> String {
    if is_name(name) {
        return name.to_owned();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let parts: String = name.chars().map(plain).collect();
    let joined: Vec<&str> = parts.split('-').filter(|part| !part.is_empty()).collect();
    let mut id = joined.join("-");
    if !id.starts_with(|c: char| c.is_ascii_alphabetic()) {
        id = format!("step-{id}");
    }
    // All of it is ASCII.
    id.truncate(limits::NAME_BYTES_MAX);
    id
}

#[cfg(test)]
mod tests;
