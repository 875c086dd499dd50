//! Whether a step's output is what the plan expects of it, beyond its tool's type, and what is wrong where it is not.
//!
//! What a schema may cost is counted before it is looked at: the end is the same on every machine.
//!
//! Never mends an output: prose around JSON, or a fence of code, is drift, and what is drift is said and kept.

mod work;

use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use crate::canonical;
use crate::limits;
use crate::plan::{Expect, ExpectKind, OutputSchema};
use crate::problem::shown;

/// What kind of difference there is between an output and what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftKind {
    /// A text was expected and something else came, or JSON was and a text came.
    OutputKindMismatch,
    /// A text that is to be JSON, and is not.
    InvalidJson,
    /// JSON that the schema does not allow.
    SchemaMismatch,
    /// JSON that lacks fields which the schema requires.
    MissingRequiredFields,
    /// JSON with a value of a type, or outside of a range, that the schema does not allow at its place.
    TypeConstraintViolation,
}

impl DriftKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::OutputKindMismatch,
        Self::InvalidJson,
        Self::SchemaMismatch,
        Self::MissingRequiredFields,
        Self::TypeConstraintViolation,
    ];

    /// Its name in traces and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OutputKindMismatch => "output-kind-mismatch",
            Self::InvalidJson => "invalid-json",
            Self::SchemaMismatch => "schema-mismatch",
            Self::MissingRequiredFields => "missing-required-fields",
            Self::TypeConstraintViolation => "type-constraint-violation",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How an output differs from what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The kind.
    pub kind: DriftKind,
    /// What is wrong: lower case, no final period.
    pub message: String,
    /// Where in the output, as a JSON pointer; empty for all of it.
    pub pointer: String,
    /// Fields that are missing, as JSON pointers, sorted; at most [`limits::DRIFT_FIELDS_MAX`].
    pub missing: Vec<String>,
    /// Why the text is not JSON, where that is what is wrong.
    pub parse_error: Option<String>,
    /// How the output begins: at most [`limits::DRIFT_EXCERPT_CHARS_MAX`] characters.
    pub excerpt: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

/// Holding an output against its schema would take more than [`limits::CONTRACT_WORK_MAX`] steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("holding the output against its schema takes more than {} steps", limits::CONTRACT_WORK_MAX)]
pub struct TooMuch;

/// Whether [`check`] is done before anybody could ask for its end.
pub(crate) fn is_little(expect: &Expect, output: &Value) -> bool {
    let Some(schema) = &expect.schema else { return true };
    match (expect.kind, output) {
        (ExpectKind::Json, Value::String(text)) => work::is_little_of_text(schema, text, limits::CONTRACT_FREE),
        (_, value) => work::is_little(schema, value, limits::CONTRACT_FREE),
    }
}

/// Holds `output` against what is expected of it: `None` where it is that.
///
/// # Errors
///
/// [`TooMuch`], which depends on schema and output alone.
pub fn check(expect: &Expect, output: &Value) -> Result<Option<Drift>, TooMuch> {
    let drift = |kind, message: String| Drift {
        kind,
        message,
        pointer: String::new(),
        missing: Vec::new(),
        parse_error: None,
        excerpt: excerpt(output),
    };
    let parsed;
    let value = match (expect.kind, output) {
        (ExpectKind::Text, Value::String(_)) => return Ok(None),
        (ExpectKind::Text, other) => {
            let message = format!("a text was expected, got {}", kind(other));
            return Ok(Some(drift(DriftKind::OutputKindMismatch, message)));
        }
        (ExpectKind::Json, Value::String(text)) => match crate::json::parse(text.as_bytes()) {
            Ok(value) => {
                parsed = value;
                &parsed
            }
            Err(_) if !is_meant_as_json(text) => {
                let message = "JSON was expected, got a text".to_owned();
                return Ok(Some(drift(DriftKind::OutputKindMismatch, message)));
            }
            Err(problem) => {
                let place = problem.position.map(|at| format!(" (line {}, column {})", at.line, at.column));
                let error = format!("{}{}", problem.message, place.unwrap_or_default());
                let what = if begins_as_json(text.trim_start()) {
                    "the text is not JSON"
                } else {
                    "the text is not JSON alone"
                };
                let message = format!("{what}: {error}");
                return Ok(Some(Drift { parse_error: Some(error), ..drift(DriftKind::InvalidJson, message) }));
            }
        },
        (ExpectKind::Json | ExpectKind::Value, value) => value,
    };
    let Some(schema) = &expect.schema else { return Ok(None) };
    let is_little = work::is_little(schema, value, limits::CONTRACT_FREE);
    if !is_little && work::count(schema, value, limits::CONTRACT_WORK_MAX).is_err() {
        return Err(TooMuch);
    }
    let Some(Unmet { kind, pointer, message, missing }) = unmet(schema, value) else { return Ok(None) };
    let message = if pointer.is_empty() { message } else { format!("`{}`: {message}", shown(&pointer)) };
    Ok(Some(Drift { pointer, missing, ..drift(kind, message) }))
}

/// What a schema does not allow.
struct Unmet {
    kind: DriftKind,
    pointer: String,
    message: String,
    missing: Vec<String>,
}

fn unmet(schema: &OutputSchema, value: &Value) -> Option<Unmet> {
    if schema.validator().is_valid(value) {
        return None;
    }
    // Each part of the schema may have something to say of each value, and all of it is held in memory before the first is looked at.
    let most = limits::DRIFT_FINDINGS_MAX / schema.parts().max(1);
    if !has_fewer_values(value, most) {
        let message = "the schema does not allow it; it is too large to say where".to_owned();
        return Some(Unmet { kind: DriftKind::SchemaMismatch, pointer: String::new(), message, missing: Vec::new() });
    }
    let mut found: Vec<Unmet> = schema.validator().iter_errors(value).map(|error| unmet_of(&error)).collect();
    // Missing fields first, then wrong values: what was found does not depend on the order in which the schema was gone through.
    found.sort_by(|one, other| {
        let key = |unmet: &Unmet| (rank(unmet.kind), unmet.pointer.clone(), unmet.message.clone());
        key(one).cmp(&key(other))
    });
    let mut missing: Vec<String> = found.iter_mut().flat_map(|unmet| std::mem::take(&mut unmet.missing)).collect();
    missing.sort();
    missing.dedup();
    missing.truncate(limits::DRIFT_FIELDS_MAX);
    let first = found.into_iter().next().unwrap_or_else(|| Unmet {
        kind: DriftKind::SchemaMismatch,
        pointer: String::new(),
        message: "the schema does not allow it".to_owned(),
        missing: Vec::new(),
    });
    Some(Unmet { missing, ..first })
}

const fn rank(kind: DriftKind) -> u8 {
    match kind {
        DriftKind::MissingRequiredFields => 0,
        DriftKind::TypeConstraintViolation => 1,
        _ => 2,
    }
}

fn unmet_of(error: &ValidationError<'_>) -> Unmet {
    use ValidationErrorKind as Kind;
    let pointer = error.instance_path().as_str().to_owned();
    if let Kind::Required { property } = error.kind() {
        let name = property.as_str().unwrap_or_default();
        let message = format!("the field `{}` is missing", shown(name));
        let missing = vec![crate::problem::pointer_to(&pointer, name)];
        return Unmet { kind: DriftKind::MissingRequiredFields, pointer, message, missing };
    }
    let kind = match error.kind() {
        Kind::Type { .. }
        | Kind::Constant { .. }
        | Kind::Enum { .. }
        | Kind::ExclusiveMaximum { .. }
        | Kind::ExclusiveMinimum { .. }
        | Kind::Maximum { .. }
        | Kind::Minimum { .. }
        | Kind::MultipleOf { .. }
        | Kind::MaxLength { .. }
        | Kind::MinLength { .. }
        | Kind::MaxItems { .. }
        | Kind::MinItems { .. }
        | Kind::Pattern { .. } => DriftKind::TypeConstraintViolation,
        _ => DriftKind::SchemaMismatch,
    };
    // Without the value itself, which may be anything: the excerpt shows how it begins.
    let text = error.masked_with("the value").to_string();
    let message = format!("`{}` does not hold: {}", error.kind().keyword(), cut(&text));
    Unmet { kind, pointer, message, missing: Vec::new() }
}

/// Whether there are fewer than `most` values in `value`; looks at no more.
fn has_fewer_values(value: &Value, most: usize) -> bool {
    fn count(value: &Value, left: &mut usize) -> bool {
        let Some(fewer) = left.checked_sub(1) else { return false };
        *left = fewer;
        match value {
            Value::Array(items) => items.iter().all(|item| count(item, left)),
            Value::Object(members) => members.values().all(|member| count(member, left)),
            _ => true,
        }
    }
    let mut left = most;
    count(value, &mut left)
}

/// Whether a text that is not JSON was meant to be, or holds some: a planner's prose is neither.
fn is_meant_as_json(text: &str) -> bool {
    begins_as_json(text.trim_start()) || text.contains(['{', '['])
}

fn begins_as_json(text: &str) -> bool {
    text.starts_with(|c: char| matches!(c, '{' | '[' | '"' | '-' | '0'..='9'))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// How an output begins.
fn excerpt(output: &Value) -> String {
    match output {
        Value::String(text) => cut(text),
        other => cut(&canonical::to_string(other)),
    }
}

/// The beginning of a text, on one line.
fn cut(text: &str) -> String {
    let mut out = String::new();
    for (index, c) in text.chars().enumerate() {
        if index + 1 == limits::DRIFT_EXCERPT_CHARS_MAX && text.chars().nth(index + 1).is_some() {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests;
