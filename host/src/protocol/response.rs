//! An answer: the same members whatever happened, as one JSON document.

use std::path::Path;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value, json};

use crate::context::RequestContext;
use crate::id::Digest;
use crate::problem::Problem;
use crate::protocol::code::Detail;
use crate::protocol::{SCHEMA_VERSION, SDK_VERSION};
use crate::sandbox::LogRecord;

/// What went wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Which row of the table it is.
    pub detail: Detail,
    /// What happened: lower case, no final period.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// More of it, for programs.
    pub details: Map<String, Value>,
}

impl Failure {
    /// A failure with the hint of its row.
    pub fn new(detail: Detail, message: impl Into<String>) -> Self {
        let hint = detail.meaning().hint.to_owned();
        Self { detail, message: message.into(), hint, details: Map::new() }
    }

    /// The same with another hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same with one more detail.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// What is wrong with a document.
    #[must_use]
    pub fn of_problems(detail: Detail, problems: &[Problem]) -> Self {
        let message = match problems {
            [] => "it is not valid".to_owned(),
            [only] => only.to_string(),
            [first, more @ ..] => format!("{first} (and {} more)", more.len()),
        };
        let failure = Self::new(detail, message).with("problems", json!(problems));
        match problems.iter().find_map(|problem| problem.hint.clone()) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// That a file cannot be read as what it should be: said with its name, since a line is no place without it.
    #[must_use]
    pub fn of_file(detail: Detail, file: &Path, problem: Problem) -> Self {
        Self::of_problems(detail, &[problem.in_file(file)]).with("document", file.display().to_string())
    }

    /// The same without what tells where in the guest it happened.
    #[must_use]
    pub fn without_traceback(mut self) -> Self {
        self.details.remove("traceback");
        if let Some(Value::Object(place)) = self.details.get_mut("location") {
            place.insert("function".to_owned(), Value::Null);
        }
        self
    }

    fn to_json(&self) -> Value {
        let meaning = self.detail.meaning();
        let mut details = self.details.clone();
        details.insert("code".to_owned(), json!(meaning.name));
        if let Some(legacy) = meaning.legacy {
            details.insert("legacy_code".to_owned(), json!(legacy));
        }
        json!({ "code": meaning.code.name(), "message": self.message, "hint": self.hint, "details": details })
    }
}

/// What is told beside the result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Fuel of all that ran.
    pub fuel: u64,
    /// Its host calls.
    pub host_calls: u64,
    /// What guests logged and wrote.
    pub logs: Vec<LogRecord>,
    /// The kind and the name of what was called.
    pub resource: Option<(&'static str, String)>,
    /// The hash of the last event of the trace.
    pub trace_head: Option<Digest>,
    /// The run, where it was kept.
    pub run: Option<String>,
    /// What a person may want to know.
    pub warnings: Vec<String>,
    /// Whether a guest has acted.
    pub acted: Acted,
    /// The idempotency key, where the request has one.
    pub keyed: Option<Keyed>,
    /// Where the time went, where that is to be told.
    pub timings: Vec<(&'static str, Duration)>,
    /// The time that it could take, in milliseconds, where there was something to call.
    pub timeout_ms: Option<u64>,
}

/// Whether a guest has acted, so that to answer the request again would be to do it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acted {
    /// Nothing has run, and nothing waits to.
    #[default]
    No,
    /// Something has, or waits for somebody.
    Yes,
    /// The host failed in the middle.
    Maybe,
}

/// What is said of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// The key.
    pub key: String,
    /// Whether the answer is one that was given before: nothing ran for this one.
    pub from_record: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The result, or why there is none.
    pub result: Result<Value, Box<Failure>>,
    /// Who asked: its ids are always there.
    pub context: RequestContext,
    /// What is told beside it.
    pub facts: Facts,
    /// Whether this was the first answer of its session: what it needs had to be loaded.
    pub cold_start: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
}

impl Response {
    /// `http_status`: that of the error, or what a result says of itself in a member `http_status` or `status_code`, or 200.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match &self.result {
            Ok(result) => explicit_status(result).unwrap_or(200),
            Err(failure) => {
                let said = failure.details.get("error").filter(|_| failure.detail == Detail::SkillError);
                said.and_then(explicit_status).unwrap_or(failure.detail.meaning().http_status)
            }
        }
    }

    /// The exit code of a program that gives only this answer.
    #[must_use]
    pub fn exit(&self) -> u8 {
        self.result.as_ref().err().map_or(0, |failure| failure.detail.meaning().exit)
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Strings, numbers and values: writing them as a value cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }

    fn log(&self, record: &LogRecord) -> Value {
        let LogRecord { ts_ms, level, event, fields } = record;
        let fields: Map<String, Value> = fields.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        json!({
            "ts_ms": ts_ms,
            "level": level,
            "event": event,
            "request_id": self.context.request_id,
            "trace_id": self.context.trace_id,
            "snapshot_id": self.context.snapshot_id,
            "resource_kind": self.facts.resource.as_ref().map(|(kind, _)| kind),
            "resource_name": self.facts.resource.as_ref().map(|(_, name)| name),
            "fields": fields,
        })
    }
}

/// As one JSON object, its members always in the same order.
impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("schema_version", SCHEMA_VERSION)?;
        members.serialize_entry("ok", &self.result.is_ok())?;
        members.serialize_entry("http_status", &self.http_status())?;
        members.serialize_entry("result", &self.result.as_ref().ok())?;
        members.serialize_entry("error", &self.result.as_ref().err().map(|failure| failure.to_json()))?;
        members.serialize_entry("meta", &Meta(self))?;
        members.end()
    }
}

/// What is told beside the result.
struct Meta<'a>(&'a Response);

impl Serialize for Meta<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Response { context, facts, .. } = self.0;
        let mut members = serializer.serialize_map(None)?;
        let ids = [
            ("tenant_id", &context.tenant_id),
            ("workspace_id", &context.workspace_id),
            ("project_id", &context.project_id),
            ("user_id", &context.user_id),
            ("run", &facts.run),
        ];
        for (key, id) in ids {
            if let Some(id) = id {
                members.serialize_entry(key, id)?;
            }
        }
        members.serialize_entry("request_id", &context.request_id)?;
        members.serialize_entry("trace_id", &context.trace_id)?;
        members.serialize_entry("snapshot_id", &context.snapshot_id)?;
        members.serialize_entry("duration_ms", &self.0.duration_ms)?;
        if let Some(timeout_ms) = facts.timeout_ms {
            members.serialize_entry("timeout_ms", &timeout_ms)?;
        }
        members.serialize_entry("cold_start", &self.0.cold_start)?;
        members.serialize_entry("exit_code", &self.0.exit())?;
        members.serialize_entry("sdk_version", SDK_VERSION)?;
        members.serialize_entry("runtime_version", env!("CARGO_PKG_VERSION"))?;
        members.serialize_entry("fuel", &facts.fuel)?;
        members.serialize_entry("host_calls", &facts.host_calls)?;
        members.serialize_entry("trace_head", &facts.trace_head)?;
        members.serialize_entry("logs", &facts.logs.iter().map(|record| self.0.log(record)).collect::<Vec<_>>())?;
        if let Some(Keyed { key, from_record }) = &facts.keyed {
            members.serialize_entry("idempotency_key", key)?;
            members.serialize_entry("from_record", from_record)?;
        }
        if !facts.timings.is_empty() {
            let timings = facts.timings.iter().map(|(name, time)| (format!("{name}_ms"), json!(millis(*time))));
            members.serialize_entry("timings", &timings.collect::<Map<String, Value>>())?;
        }
        if !facts.warnings.is_empty() {
            members.serialize_entry("warnings", &facts.warnings)?;
        }
        members.end()
    }
}

/// Milliseconds with three decimals.
pub(super) fn millis(time: Duration) -> f64 {
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1_000.0
}

/// A status that a value says in a member of its own, never in a text.
fn explicit_status(value: &Value) -> Option<u16> {
    let status =
        ["http_status", "http-status", "status_code", "status-code"].into_iter().find_map(|key| value.get(key))?;
    status.as_u64().and_then(|status| u16::try_from(status).ok()).filter(|status| (100..=599).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_taken_from_a_member_and_from_nothing_else() {
        assert_eq!(explicit_status(&json!({"http_status": 201})), Some(201));
        assert_eq!(explicit_status(&json!({"status-code": 599})), Some(599));
        for none in [
            json!({"http_status": 99}),
            json!({"http_status": "201"}),
            json!("failed (409)"),
            json!({"http_status": 600}),
        ] {
            assert_eq!(explicit_status(&none), None, "{none}");
        }
    }
}
