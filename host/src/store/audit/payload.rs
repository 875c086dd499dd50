//! What an audit shows of an event at a level: payloads themselves, what they are like, or nothing. Pure.
//!
//! Payloads are what tools got and gave and what people were shown; who did what, when, how it ended and who decided are none.

use serde_json::{Map, Value, json};

use super::AuditEntry;
use crate::canonical;
use crate::id::Digest;
use crate::policy::AuditLevel;
use crate::trace::event::Kind;

/// Members of events that are payloads.
const PAYLOADS: [&str; 3] = ["input", "inputs", "output"];
/// Those in `what`.
const INNER: [&str; 6] = ["context", "excerpt", "message", "output", "parse_error", "reason"];
/// Outcomes whose content is a payload.
const OUTCOMES: [&str; 3] = ["completed", "failed", "trapped"];
/// Kinds of events whose reason is made of payloads: the words of a tool, or the values of a condition.
const TOLD_BY_TOOLS: [Kind; 3] = [Kind::StepEnd, Kind::Skipped, Kind::Contract];

/// Takes from an entry what is beyond the level.
pub(super) fn lower(entry: &mut AuditEntry, level: AuditLevel) {
    if level == AuditLevel::Full {
        return;
    }
    if TOLD_BY_TOOLS.iter().any(|kind| kind.name() == entry.action) {
        entry.reason = None;
    }
    let event = entry.json.take().filter(|_| level == AuditLevel::Summary);
    // The line of an event is an object.
    if let Some(Value::Object(mut event)) = event.and_then(|event| serde_json::from_str(&event).ok()) {
        summarise(&mut event, &PAYLOADS);
        if let Some(Value::Object(outcome)) = event.get_mut("outcome") {
            summarise(outcome, &OUTCOMES);
        }
        if let Some(Value::Object(what)) = event.get_mut("what") {
            summarise(what, &INNER);
        }
        entry.json = Some(canonical::to_string(&Value::Object(event)));
    }
}

fn summarise(members: &mut Map<String, Value>, keys: &[&str]) {
    for key in keys {
        if let Some(value) = members.get_mut(*key) {
            *value = summary(value);
        }
    }
}

/// What stands for a payload.
fn summary(value: &Value) -> Value {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let bytes = canonical::to_vec(value);
    json!({ "bytes": bytes.len(), "kind": kind, "sha256": Digest::of(&bytes) })
}
