//! The JSON Schemas of documents: of requests, made of the table that they are read by, and of answers; those of plans, policies and traces
//! are made where these are read.

use serde_json::{Value, json};

use crate::form::DIALECT;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::protocol::SCHEMA_VERSION;
use crate::protocol::code::{Code, Detail};
use crate::protocol::request;
use crate::trace;

/// The documents that have a schema.
pub const NAMES: [&str; 5] = ["request", "response", "plan", "policy", "trace-event"];

/// The schema of that name.
#[must_use]
pub fn schema(name: &str) -> Option<Value> {
    let (mut schema, title) = match name {
        "request" => (request_schema(), "A request to `host exec`"),
        "response" => (response(), "An answer of `host exec`"),
        "plan" => return Some(Plan::json_schema()),
        "policy" => return Some(Policy::json_schema()),
        "trace-event" => return Some(trace::event_schema()),
        _ => return None,
    };
    if let Some(members) = schema.as_object_mut() {
        members.insert("$schema".to_owned(), json!(DIALECT));
        members.insert("title".to_owned(), json!(title));
    }
    Some(schema)
}

fn request_schema() -> Value {
    let mut schema = request::SHAPE.schema();
    if let Some(version) = schema.pointer_mut("/properties/schema_version").and_then(Value::as_object_mut) {
        version.insert("enum".to_owned(), json!([SCHEMA_VERSION, null]));
    }
    if let Some(members) = schema.as_object_mut() {
        // Two names of one thing.
        let both = |one: &str, other: &str| json!({ "not": { "required": [one, other] } });
        members.insert("allOf".to_owned(), json!([both("handler", "name"), both("event", "payload")]));
    }
    schema
}

fn response() -> Value {
    let mut codes: Vec<Code> = Detail::ALL.iter().map(|detail| detail.meaning().code).collect();
    codes.sort();
    codes.dedup();
    let codes: Vec<&str> = codes.into_iter().map(Code::name).collect();
    let details: Vec<&str> = Detail::ALL.iter().map(|detail| detail.name()).collect();
    let mut exits: Vec<u8> = Detail::ALL.iter().map(|detail| detail.meaning().exit).chain([0]).collect();
    exits.sort_unstable();
    exits.dedup();
    let text = json!({ "type": "string" });
    let count = json!({ "type": "integer", "minimum": 0 });
    let id = json!({ "type": ["string", "null"] });
    let log = json!({
        "type": "object",
        "properties": {
            "ts_ms": count,
            "level": { "enum": ["trace", "debug", "info", "warn", "error"] },
            "event": text,
            "request_id": text,
            "trace_id": text,
            "snapshot_id": id,
            "resource_kind": id,
            "resource_name": id,
            "fields": { "type": "object", "additionalProperties": text },
        },
        "required": ["ts_ms", "level", "event", "request_id", "trace_id", "snapshot_id", "resource_kind", "resource_name", "fields"],
        "additionalProperties": false,
    });
    let error = json!({
        "type": ["object", "null"],
        "properties": {
            "code": { "enum": codes },
            "message": { "type": "string", "minLength": 1 },
            "hint": { "type": "string", "minLength": 1 },
            "details": {
                "type": "object",
                "properties": { "code": { "enum": details }, "legacy_code": text },
                "required": ["code"],
            },
        },
        "required": ["code", "message", "hint", "details"],
        "additionalProperties": false,
    });
    let meta = json!({
        "type": "object",
        "properties": {
            "request_id": text,
            "trace_id": text,
            "tenant_id": text,
            "workspace_id": text,
            "project_id": text,
            "user_id": text,
            "snapshot_id": id,
            "run": text,
            "idempotency_key": text,
            "from_record": { "type": "boolean" },
            "duration_ms": { "type": "number", "minimum": 0 },
            "timeout_ms": count,
            "timings": { "type": "object", "additionalProperties": { "type": "number", "minimum": 0 } },
            "cold_start": { "type": "boolean" },
            "exit_code": { "enum": exits },
            "sdk_version": text,
            "runtime_version": text,
            "fuel": count,
            "host_calls": count,
            "trace_head": { "type": ["string", "null"], "pattern": "^[0-9a-f]{64}$" },
            "logs": { "type": "array", "items": log },
            "warnings": { "type": "array", "items": text },
        },
        "required": [
            "request_id", "trace_id", "snapshot_id", "duration_ms", "cold_start", "exit_code", "sdk_version", "runtime_version", "fuel",
            "host_calls", "trace_head", "logs",
        ],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {
            "schema_version": { "const": SCHEMA_VERSION },
            "ok": { "type": "boolean" },
            "http_status": { "type": "integer", "minimum": 100, "maximum": 599 },
            "result": {},
            "error": error,
            "meta": meta,
        },
        "required": ["schema_version", "ok", "http_status", "result", "error", "meta"],
        "additionalProperties": false,
        "if": { "properties": { "ok": { "const": true } } },
        "then": { "properties": { "error": { "type": "null" } } },
        "else": { "properties": { "error": { "type": "object" }, "result": { "type": "null" } } },
    })
}
