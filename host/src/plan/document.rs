//! From a document's value to a draft of a plan: every key is checked, every mistake is in the report, and what is around it is read on.

mod flow;
pub(super) mod keys;
pub(super) mod plan;
mod step;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::draft::{Draft, Gaps};
use crate::form::Shape;
use crate::problem::{Problem, Problems, pointer_to, shown, suggestion};
use crate::types::check::integer;
use crate::types::one_of;

/// Reads on after mistakes: the draft has them beside what could be read.
///
/// # Errors
///
/// What is wrong with a document of which nothing can be read.
pub(super) fn read(document: &Value) -> Result<Draft, Vec<Problem>> {
    let mut problems = Problems::default();
    match (Reader { problems: &mut problems, gaps: Gaps::default(), schema_bytes: 0 }).plan(document) {
        Some(draft) => Ok(Draft { problems, ..draft }),
        None => Err(problems.into_vec()),
    }
}

/// An object of the document and its place.
#[derive(Clone, Copy)]
struct Members<'d> {
    map: &'d Map<String, Value>,
    pointer: &'d str,
    /// What it is, for messages.
    what: &'d str,
}

struct Reader<'p> {
    problems: &'p mut Problems,
    gaps: Gaps,
    /// Bytes of the schemas read so far.
    schema_bytes: usize,
}

impl Reader<'_> {
    fn push(&mut self, code: &str, pointer: String, message: String, hint: impl Into<String>) {
        self.problems.push(Problem::new(code, pointer, message).with_hint(hint));
    }

    fn object<'d>(&mut self, value: &'d Value, pointer: &'d str, what: &'d str) -> Option<Members<'d>> {
        let Value::Object(map) = value else {
            let message = format!("{what} must be an object, got {}", kind(value));
            self.problems.push(Problem::new("wrong-type", pointer, message));
            return None;
        };
        Some(Members { map, pointer, what })
    }

    /// Reports other keys. Gives the absent keys that they may have been meant for: what these say is not known then.
    fn known_keys(&mut self, members: Members<'_>, shape: &Shape) -> BTreeSet<&'static str> {
        let absent = || shape.names().filter(|known| !members.map.contains_key(*known));
        let mut meant = BTreeSet::new();
        for key in members.map.keys().filter(|key| !shape.names().any(|known| known == key.as_str())) {
            if self.problems.is_full() {
                self.problems.skip();
                break;
            }
            meant.extend(absent().filter(|known| suggestion(key, [*known]).is_some()));
            let hint = suggestion(key, shape.names()).unwrap_or_else(|| one_of("known are", shape.names()));
            let message = format!("{} has no key `{}`", members.what, shown(key));
            self.push("unknown-key", pointer_to(members.pointer, key), message, hint);
        }
        meant
    }

    fn required<'d>(&mut self, members: Members<'d>, key: &str) -> Option<&'d Value> {
        let value = members.map.get(key);
        if value.is_none() {
            let message = format!("{} lacks the key `{key}`", members.what);
            self.push("missing-key", pointer_to(members.pointer, key), message, format!("add `{key}`"));
        }
        value
    }

    fn wrong_type(&mut self, pointer: String, key: &str, expected: &str, value: &Value) {
        self.problems.push(Problem::new(
            "wrong-type",
            pointer,
            format!("`{key}` must be {expected}, got {}", kind(value)),
        ));
    }

    fn string<'d>(&mut self, members: Members<'d>, key: &str, value: &'d Value) -> Option<&'d str> {
        if value.as_str().is_none() {
            self.wrong_type(pointer_to(members.pointer, key), key, "a string", value);
        }
        value.as_str()
    }

    fn optional_string<'d>(&mut self, members: Members<'d>, key: &str) -> Option<&'d str> {
        members.map.get(key).and_then(|value| self.string(members, key, value))
    }

    fn required_string<'d>(&mut self, members: Members<'d>, key: &str) -> Option<&'d str> {
        self.required(members, key).and_then(|value| self.string(members, key, value))
    }

    /// An integer in the range that `shape` gives it.
    fn bounded(&mut self, members: Members<'_>, shape: &Shape, key: &str) -> Option<u64> {
        let value = members.map.get(key)?;
        let (min, max) = shape.range(key)?;
        let pointer = || pointer_to(members.pointer, key);
        let Some(number) = value.as_number() else {
            self.wrong_type(pointer(), key, "an integer", value);
            return None;
        };
        match integer(number).map(u64::try_from) {
            Some(Ok(integer)) if (min..=max).contains(&integer) => Some(integer),
            _ => {
                let message = format!("`{key}` must be an integer from {min} to {max}, got `{number}`");
                self.problems.push(Problem::new("out-of-range", pointer(), message));
                None
            }
        }
    }

    /// A boolean that is false where it is not given.
    fn flag(&mut self, members: Members<'_>, key: &str) -> bool {
        match members.map.get(key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.wrong_type(pointer_to(members.pointer, key), key, "`true` or `false`", other);
                false
            }
        }
    }

    /// One of few words.
    fn one_of<T: Copy>(&mut self, pointer: String, key: &str, text: &str, known: &[(&str, T)]) -> Option<T> {
        let found = known.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names = known.iter().map(|(name, _)| *name);
            let hint = suggestion(text, names.clone()).unwrap_or_else(|| one_of("known are", names));
            self.push("unknown-value", pointer, format!("`{key}` cannot be `{}`", shown(text)), hint);
        }
        found.map(|(_, value)| *value)
    }

    fn optional_one_of<T: Copy>(&mut self, members: Members<'_>, key: &str, known: &[(&str, T)]) -> Option<T> {
        let text = self.optional_string(members, key)?;
        self.one_of(pointer_to(members.pointer, key), key, text, known)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
