//! Events to canonical lines. Writes bytes into a buffer that the caller reuses; the hot path, host calls, allocates nothing.
//!
//! INVARIANT: every member whose name sorts before `hash` is a number (`attempt`, `calls`, `depth`, `fuel`, `grant`), so the first `"hash":"` of
//! a line is the chain's. The chain's hash covers the line without that member and its comma.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Call;
use super::event::{
    ApprovalEvent, DelegateBegin, DelegateEnd, DeniedEvent, Event, FlowEvent, Header, StepBegin, StepEnd,
};
use crate::canonical::{Members, write_object, write_string, write_u64, write_value};
use crate::id::Digest;
use crate::outcome::Outcome;

/// `"hash":"`.
const HASH_NAME_BYTES: usize = 8;
/// `"hash":"<64 hex>",`.
pub(super) const HASH_MEMBER_BYTES: usize = HASH_NAME_BYTES + 64 + 2;
/// Stands for the policy of a denial in traces that do not name it.
pub(super) const NO_DIGEST: Digest = Digest::from_bytes([0; 32]);
/// The `role` of what takes a step back.
pub(super) const COMPENSATION: &str = "compensation";
/// `prev` of the first event.
pub(super) const FIRST_PREV: [u8; 64] = [b'0'; 64];

/// A line that has been written at the end of a buffer, except for its hash and its newline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unsealed {
    line_at: usize,
    hash_at: usize,
}

impl Unsealed {
    /// Computes the hash, puts it in place and returns it.
    pub(super) fn seal(self, out: &mut [u8]) -> Digest {
        let mut hasher = Sha256::new();
        hasher.update(out.get(self.line_at..self.hash_at).unwrap_or_default());
        hasher.update(out.get(self.hash_at + HASH_MEMBER_BYTES..).unwrap_or_default());
        let digest = Digest::from_bytes(hasher.finalize().into());
        let hex_at = self.hash_at + HASH_NAME_BYTES;
        if let Some(place) = out.get_mut(hex_at..hex_at + 64) {
            place.copy_from_slice(&digest.to_hex());
        }
        digest
    }
}

/// Appends a host call.
pub(super) fn call(out: &mut Vec<u8>, seq: u64, prev: &[u8; 64], call: Call<'_>) -> Unsealed {
    let line = begin(out, &[], "call");
    member(out, "name");
    write_string(out, call.function);
    member(out, "params");
    out.extend_from_slice(call.params);
    previous(out, prev);
    member(out, "result");
    out.extend_from_slice(call.result);
    end(out, seq);
    line
}

/// Appends any event.
pub(super) fn event(out: &mut Vec<u8>, seq: u64, prev: &[u8; 64], event: &Event) -> Unsealed {
    match event {
        Event::Header(content) => header(out, seq, prev, content),
        Event::Refused { problems } => {
            let line = begin(out, &[], "refused");
            previous(out, prev);
            member(out, "problems");
            // A problem is strings and numbers; writing it to a value cannot fail.
            write_value(out, &serde_json::to_value(problems).unwrap_or_default());
            end(out, seq);
            line
        }
        Event::Denied(content) => denied(out, seq, prev, "denied", content),
        Event::WouldDeny(content) => denied(out, seq, prev, "would-deny", content),
        Event::Approval(content) => approval(out, seq, prev, content),
        Event::StepBegin(content) => step_begin(out, seq, prev, content),
        Event::Call(content) => {
            let line = begin(out, &[], "call");
            text(out, "name", &content.function);
            value(out, "params", &content.params);
            previous(out, prev);
            value(out, "result", &content.result);
            end(out, seq);
            line
        }
        Event::DelegateBegin(content) => delegate_begin(out, seq, prev, content),
        Event::DelegateEnd(content) => delegate_end(out, seq, prev, content),
        Event::StepEnd(content) => step_end(out, seq, prev, content),
        Event::Flow(FlowEvent { step, flow }) => {
            let line = begin(out, &[], flow.kind().name());
            previous(out, prev);
            number(out, "seq", seq);
            if let Some(step) = step {
                text(out, "step", step.as_str());
            }
            value(out, "what", &flow.what());
            out.push(b'}');
            line
        }
        Event::RunEnd { outcome, output, steps } => {
            let line = begin(out, &[], "run-end");
            text(out, "outcome", outcome.name());
            value(out, "output", output);
            previous(out, prev);
            number(out, "seq", seq);
            number(out, "steps", *steps);
            out.push(b'}');
            line
        }
    }
}

fn denied(out: &mut Vec<u8>, seq: u64, prev: &[u8; 64], kind: &'static str, denied: &DeniedEvent) -> Unsealed {
    let line = begin(out, &[], kind);
    texts(out, "needs_approval", &denied.needs_approval);
    if denied.policy != NO_DIGEST {
        digest(out, "policy", denied.policy);
    }
    previous(out, prev);
    text(out, "reason", &denied.reason);
    texts(out, "rules", &denied.rules);
    number(out, "seq", seq);
    text(out, "step", denied.step.as_str());
    member(out, "tool");
    quoted(out, &denied.tool);
    if denied.policy != NO_DIGEST {
        text(out, "why", denied.why.name());
    }
    out.push(b'}');
    line
}

fn approval(out: &mut Vec<u8>, seq: u64, prev: &[u8; 64], approval: &ApprovalEvent) -> Unsealed {
    let line = begin(out, &[], "approval");
    member(out, "needs_approval");
    list(out, &approval.needs_approval);
    text(out, "outcome", if approval.answer.approved { "approved" } else { "rejected" });
    previous(out, prev);
    text(out, "reason", &approval.answer.reason);
    number(out, "seq", seq);
    text(out, "step", approval.step.as_str());
    member(out, "tool");
    quoted(out, &approval.tool);
    text(out, "who", &approval.answer.by);
    out.push(b'}');
    line
}

/// A list of strings, which is absent where it is empty.
fn texts(out: &mut Vec<u8>, name: &'static str, texts: &[String]) {
    if !texts.is_empty() {
        member(out, name);
        list(out, texts);
    }
}

fn list(out: &mut Vec<u8>, texts: &[String]) {
    for (index, text) in texts.iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        write_string(out, text);
    }
    out.extend_from_slice(if texts.is_empty() { b"[]" } else { b"]" });
}

fn header(out: &mut Vec<u8>, seq: u64, prev: &[u8; 64], header: &Header) -> Unsealed {
    let line = begin(out, &[], "header");
    // `host` and `inputs` sort before `kind`: the header is the one event that writes its kind late.
    out.truncate(line.hash_at + HASH_MEMBER_BYTES);
    out.extend_from_slice(b"\"host\":");
    write_string(out, &header.host);
    member(out, "inputs");
    write_object(out, &header.inputs);
    text(out, "kind", "header");
    if header.log_only {
        member(out, "log_only");
        out.extend_from_slice(b"true");
    }
    digest(out, "plan", header.plan);
    if !header.plan_name.is_empty() {
        text(out, "plan_name", &header.plan_name);
    }
    digest(out, "policy", header.policy);
    previous(out, prev);
    if !header.principal.is_default() {
        text(out, "principal", &header.principal.to_string());
    }
    if let Some(rules) = header.rules {
        digest(out, "rules", rules);
    }
    text(out, "runtime", &header.engine);
    text(out, "schema", super::SCHEMA);
    number(out, "seed", header.seed);
    number(out, "seq", seq);
    member(out, "skills");
    let skills = header.skills.iter().map(|(name, digest)| (name.to_string(), Value::String(digest.to_string())));
    write_value(out, &Value::Object(skills.collect()));
    if let Some(snapshot) = header.snapshot {
        digest(out, "snapshot", *snapshot.digest());
    }
    number(out, "start_time", header.start_time);
    texts(out, "tags", &header.tags);
    out.push(b'}');
    line
}

fn step_begin(out: &mut Vec<u8>, seq: u64, prev: &[u8; 64], begun: &StepBegin) -> Unsealed {
    let numbers = [("attempt", u64::from(begun.attempt)), ("grant", begun.grant)];
    let line = begin(out, &numbers, "step-begin");
    // `input` sorts before `kind`.
    out.truncate(line.hash_at + HASH_MEMBER_BYTES);
    out.extend_from_slice(b"\"input\":");
    write_value(out, &begun.input);
    if let Some(key) = begun.key {
        digest(out, "key", key);
    }
    text(out, "kind", "step-begin");
    member(out, "limits");
    let mut limits = begun.limits.entries();
    limits.sort_unstable();
    let mut members = Members::begin(out);
    limits.into_iter().for_each(|(name, limit)| members.number(name, limit));
    members.end();
    previous(out, prev);
    if let Some(alias) = &begun.resolved_from {
        member(out, "resolved_from");
        quoted(out, alias);
    }
    if begun.compensates {
        text(out, "role", COMPENSATION);
    }
    texts(out, "rules", &begun.rules);
    number(out, "seq", seq);
    digest(out, "skill", begun.skill);
    text(out, "step", begun.step.as_str());
    member(out, "tool");
    quoted(out, &begun.tool);
    out.push(b'}');
    line
}

fn step_end(out: &mut Vec<u8>, seq: u64, prev: &[u8; 64], ended: &StepEnd) -> Unsealed {
    let calls = ("calls", ended.calls);
    let line = match ended.fuel {
        Some(fuel) => begin(out, &[calls, ("fuel", fuel)], "step-end"),
        None => begin(out, &[calls], "step-end"),
    };
    member(out, "outcome");
    write_outcome(out, &ended.outcome);
    previous(out, prev);
    number(out, "seq", seq);
    text(out, "step", ended.step.as_str());
    out.push(b'}');
    line
}

fn delegate_begin(out: &mut Vec<u8>, seq: u64, prev: &[u8; 64], begun: &DelegateBegin) -> Unsealed {
    let line = begin(out, &[("depth", begun.depth), ("grant", begun.grant)], "delegate-begin");
    // `input` sorts before `kind`.
    out.truncate(line.hash_at + HASH_MEMBER_BYTES);
    out.extend_from_slice(b"\"input\":");
    write_value(out, &begun.input);
    text(out, "kind", "delegate-begin");
    previous(out, prev);
    texts(out, "rules", &begun.rules);
    number(out, "seq", seq);
    digest(out, "skill", begun.skill);
    member(out, "tool");
    quoted(out, &begun.tool);
    out.push(b'}');
    line
}

fn delegate_end(out: &mut Vec<u8>, seq: u64, prev: &[u8; 64], ended: &DelegateEnd) -> Unsealed {
    let numbers = [("calls", ended.calls), ("depth", ended.depth), ("fuel", ended.fuel)];
    let line = begin(out, &numbers, "delegate-end");
    member(out, "outcome");
    write_outcome(out, &ended.outcome);
    previous(out, prev);
    number(out, "seq", seq);
    member(out, "tool");
    quoted(out, &ended.tool);
    out.push(b'}');
    line
}

/// Writes an outcome in its traced form. An output may be large, so it is not copied for it.
fn write_outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Outcome::Completed { output: content } | Outcome::Failed { error: content } => {
            let mut members = Members::begin(out);
            members.value(outcome.name(), content);
            members.end();
        }
        _ => write_value(out, &outcome_value(outcome)),
    }
}

/// An outcome in its traced form: an object whose one member is the outcome's name.
pub(super) fn outcome_value(outcome: &Outcome) -> Value {
    let content = match outcome {
        Outcome::Completed { output } => output.clone(),
        Outcome::Failed { error } => error.clone(),
        Outcome::Trapped { message, backtrace } => serde_json::json!({"backtrace": backtrace, "message": message}),
        Outcome::LimitExceeded { limit, allowed, backtrace } => {
            serde_json::json!({"allowed": allowed, "backtrace": backtrace, "limit": limit.name()})
        }
        Outcome::Cancelled => Value::Null,
        Outcome::Conflict { path, with } => serde_json::json!({"path": path, "with": with}),
    };
    Value::Object([(outcome.name().to_owned(), content)].into_iter().collect())
}

/// Starts a line with the members that sort before `hash`, the place of the hash, and the kind.
fn begin(out: &mut Vec<u8>, numbers: &[(&'static str, u64)], kind: &'static str) -> Unsealed {
    let line_at = out.len();
    out.push(b'{');
    for (name, value) in numbers {
        debug_assert!(*name < "hash", "`{name}` must sort before `hash`");
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write_u64(out, *value);
        out.push(b',');
    }
    let hash_at = out.len();
    out.extend_from_slice(b"\"hash\":\"");
    out.extend_from_slice(&FIRST_PREV);
    out.extend_from_slice(b"\",\"kind\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    Unsealed { line_at, hash_at }
}

/// Ends a line whose last member is `seq`.
fn end(out: &mut Vec<u8>, seq: u64) {
    number(out, "seq", seq);
    out.push(b'}');
}

fn member(out: &mut Vec<u8>, name: &'static str) {
    debug_assert!(name > "hash", "`{name}` must sort after `hash`");
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn previous(out: &mut Vec<u8>, prev: &[u8; 64]) {
    out.extend_from_slice(b",\"prev\":\"");
    out.extend_from_slice(prev);
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, name: &'static str, value: u64) {
    member(out, name);
    write_u64(out, value);
}

fn text(out: &mut Vec<u8>, name: &'static str, value: &str) {
    member(out, name);
    write_string(out, value);
}

fn value(out: &mut Vec<u8>, name: &'static str, value: &Value) {
    member(out, name);
    write_value(out, value);
}

fn digest(out: &mut Vec<u8>, name: &'static str, digest: Digest) {
    member(out, name);
    out.push(b'"');
    out.extend_from_slice(&digest.to_hex());
    out.push(b'"');
}

/// A name that holds nothing to escape.
fn quoted(out: &mut Vec<u8>, name: &impl std::fmt::Display) {
    write_string(out, &name.to_string());
}
