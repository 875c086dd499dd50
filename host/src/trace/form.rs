//! The JSON Schema of one line of a trace, made of the table of members by which lines are read.
//!
//! Owns what the value of each member may be. What holds between lines (the chain, the order, that calls belong to their step) and that a
//! line is canonical is not said by a schema; `verify` says it.

use serde_json::{Map, Value, json};

use super::SCHEMA;
use super::encode::COMPENSATION;
use super::event::Kind;
use super::line::{Member, REQUEST, members_of};
use crate::form::{COUNT, DIGEST, Form, Key, MEMBERS, NAME, Shape, TEXT, titled};
use crate::limits::{LimitKind, StepLimits};
use crate::outcome::RunOutcome;
use crate::policy::Why;

const TOOL: Form =
    Form::Text { max: usize::MAX, pattern: "^[A-Za-z][A-Za-z0-9_-]{0,127}(\\.[A-Za-z][A-Za-z0-9_-]{0,127}){1,2}$" };
const ATTEMPT: Form = Form::Integer(0, u32::MAX as u64);
const TEXTS: Form = Form::List { of: &TEXT, min: 0, max: usize::MAX, unique: false };

/// What is absent where it is empty.
const SAID: Form = Form::Text { max: usize::MAX, pattern: "[\\s\\S]" };
const SOME_TEXTS: Form = Form::List { of: &TEXT, min: 1, max: usize::MAX, unique: false };
const SOME_MEMBERS: Form = Form::Some;

const CONTINUES: Shape = Shape::of(&[
    Key::new("head", DIGEST, "The hash of the last event of the trace that is continued.").required(),
    Key::new("why", TEXT, "`resume`, `reuse` or `rollback`.").required(),
]);
const SKIPPED: Shape = Shape::of(&[Key::new("reason", TEXT, "Why.").required()]);
const REUSED: Shape = Shape::of(&[
    Key::new("tool", TOOL, "The step's tool.").required(),
    Key::new("fingerprint", DIGEST, "What the step is made of: component, tool, input, grant.").required(),
    Key::new("source", DIGEST, "The hash of the event with which the step ended when it ran.").required(),
    Key::new("output", Form::Any, "What it gave.").required(),
    Key::new("calls", COUNT, "Host calls that were not made again.").required(),
    Key::new("fuel", COUNT, "Fuel that was not used again.").required(),
]);
const RETRY: Shape = Shape::of(&[
    Key::new("attempt", ATTEMPT, "The attempt that comes.").required(),
    Key::new("wait_ms", COUNT, "How long the host waits before it.").required(),
    Key::new("because", TEXT, "The kind of failure that the plan lists.").required(),
]);
const CONTRACT: Shape = Shape::of(&[
    Key::new("drift", TEXT, "The kind of drift.").required(),
    Key::new("decision", TEXT, "`block` or `warn`.").required(),
    Key::new("expected", TEXT, "What the plan expects.").required(),
    Key::new("reason", TEXT, "What is wrong.").required(),
    Key::new("pointer", SAID, "The place in the output."),
    Key::new("parse_error", TEXT, "Why the output is not JSON."),
    Key::new("excerpt", TEXT, "The beginning of the output.").required(),
    Key::new("missing", SOME_TEXTS, "The members that it lacks."),
]);
const CHANGE: Shape = Shape::of(&[
    Key::new("change", TEXT, "What the step had done.").required(),
    Key::new("path", TEXT, "The path as the guest saw it.").required(),
]);
const UNDONE: Shape = Shape::of(&[
    Key::new(
        "changes",
        Form::List { of: &Form::Object(&CHANGE), min: 0, max: usize::MAX, unique: false },
        "What was restored.",
    )
    .required(),
    Key::new("conflicts", SOME_TEXTS, "What somebody else has changed since, and was left as it is."),
    Key::new("failed", SOME_TEXTS, "What could not be put back, and why."),
]);
const APPROVAL_REQUEST: Shape = Shape::of(&[
    Key::new("tool", TOOL, "The step's tool; absent for a step that only asks."),
    Key::new("needs_approval", TEXTS, "Why approval is needed.").required(),
    Key::new("subject", DIGEST, "What an answer is bound to.").required(),
    Key::new("message", SAID, "What the plan says to whoever is asked."),
    Key::new("context", SOME_MEMBERS, "What the plan shows to whoever is asked."),
]);
const ROLLBACK: Shape = Shape::of(&[Key::new("because", TEXT, "Why.").required()]);
const FAILED: Shape = Shape::of(&[
    Key::new(
        "attempt",
        ATTEMPT,
        "The attempt that ended with it; absent where the step, or the run, did not come to its next attempt.",
    ),
    Key::new("code", TEXT, "The kind of failure.").required(),
    Key::new("message", TEXT, "What happened.").required(),
    Key::new("pointer", SAID, "The place in the plan."),
    Key::new("host", Form::True, "Present where it came from the surroundings and not from what the plan says."),
]);

const TRAPPED: Shape = Shape::of(&[
    Key::new("message", TEXT, "What happened.").required(),
    Key::new("backtrace", TEXTS, "The guest's frames, innermost first.").required(),
]);
const CONFLICT: Shape = Shape::of(&[
    Key::new("path", TEXT, "The path as the guest saw it.").required(),
    Key::new("with", TEXT, "The other step.").required(),
]);

/// The JSON Schema of an event, as one line of a trace has it.
#[must_use]
pub fn schema() -> Value {
    let kinds: Vec<Value> = Kind::ALL.into_iter().map(event).collect();
    titled(json!({ "type": "object", "oneOf": kinds }), "An event of a trace: one line of `trace.jsonl`")
}

fn event(kind: Kind) -> Value {
    let (required, optional) = members_of(kind);
    let members = required.iter().chain(optional);
    let properties: Map<String, Value> = members.map(|of| (of.name().to_owned(), member(kind, *of))).collect();
    let required: Vec<&str> = required.iter().map(|member| member.name()).collect();
    let mut schema = json!({
        "title": kind.name(), "properties": properties, "required": required, "additionalProperties": false,
    });
    if let (Kind::Call, Value::Object(schema)) = (kind, &mut schema) {
        // What is asked of a server has notes beside its answer.
        schema.insert("if".to_owned(), json!({ "properties": { "name": { "const": REQUEST } } }));
        schema
            .insert("then".to_owned(), json!({ "properties": { "result": { "anyOf": [answer(), noted_answer()] } } }));
        schema.insert("else".to_owned(), json!({ "properties": { "result": answer() } }));
    }
    schema
}

/// What a member may be in events of `kind`.
fn member(kind: Kind, member: Member) -> Value {
    use Member as M;
    let form = match member {
        M::Kind => return json!({ "const": kind.name() }),
        M::Schema => return json!({ "const": SCHEMA }),
        M::Role => return json!({ "const": COMPENSATION }),
        M::Why => return json!({ "enum": Why::ALL.map(Why::name) }),
        M::Limits => return limits(),
        M::Problems => return json!({ "type": "array", "items": problem() }),
        M::Outcome => return outcome(kind),
        M::Principal => return json!({ "type": "string", "pattern": "^(agent|user):[A-Za-z][A-Za-z0-9_-]{0,127}$" }),
        // Names of functions have nothing to escape.
        M::Name => return json!({ "type": "string", "pattern": "^[^\\u0000-\\u001f\"\\\\]+$" }),
        M::What => return what(kind),
        M::Result => return json!({ "type": "object" }),
        M::Attempt => ATTEMPT,
        M::Calls | M::Depth | M::Fuel | M::Grant | M::Seed | M::Seq | M::StartTime | M::Steps => COUNT,
        M::Hash | M::Prev | M::Key | M::Plan | M::Policy | M::Skill | M::Snapshot => DIGEST,
        M::Host | M::PlanName | M::Reason | M::Runtime | M::Who => TEXT,
        M::Input | M::Output => Form::Any,
        M::Inputs | M::Params => MEMBERS,
        M::LogOnly => Form::True,
        M::NeedsApproval | M::Tags => TEXTS,
        // In the header the digest of the policy's rules, else the ids of those that decided.
        M::Rules => {
            if kind == Kind::Header {
                DIGEST
            } else {
                TEXTS
            }
        }
        M::Skills => Form::Map { names: "^[A-Za-z][A-Za-z0-9_-]{0,127}$", max: usize::MAX, of: &DIGEST },
        M::Step => NAME,
        M::Tool | M::ResolvedFrom => TOOL,
    };
    form.schema()
}

fn what(kind: Kind) -> Value {
    let shape = match kind {
        Kind::Continues => &CONTINUES,
        Kind::Skipped => &SKIPPED,
        Kind::Reused => &REUSED,
        Kind::Retry => &RETRY,
        Kind::Contract => &CONTRACT,
        Kind::Undone => &UNDONE,
        Kind::ApprovalRequest => &APPROVAL_REQUEST,
        Kind::Rollback => &ROLLBACK,
        Kind::Failed => &FAILED,
        _ => return json!({}),
    };
    shape.schema()
}

fn limits() -> Value {
    let names = StepLimits::MAX.entries().map(|(name, _)| name);
    let properties: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), COUNT.schema())).collect();
    json!({ "type": "object", "properties": properties, "required": names, "additionalProperties": false })
}

fn problem() -> Value {
    let text = TEXT.schema();
    let position = json!({
        "type": ["object", "null"],
        "properties": { "line": COUNT.schema(), "column": COUNT.schema() },
        "required": ["line", "column"],
    });
    json!({
        "type": "object",
        "properties": {
            "code": text, "pointer": text, "message": text, "hint": { "type": ["string", "null"] }, "position": position,
        },
        "required": ["code", "pointer", "message"],
    })
}

/// How an event of `kind` says that something ended.
fn outcome(kind: Kind) -> Value {
    match kind {
        Kind::RunEnd => json!({ "enum": RunOutcome::ALL.map(RunOutcome::name) }),
        Kind::Approval => json!({ "enum": ["approved", "rejected"] }),
        _ => {
            let limit = json!({
                "type": "object",
                "properties": {
                    "limit": { "enum": LimitKind::ALL.map(LimitKind::name) },
                    "allowed": COUNT.schema(),
                    "backtrace": TEXTS.schema(),
                },
                "required": ["limit", "allowed", "backtrace"],
                "additionalProperties": false,
            });
            json!({
                "type": "object",
                "properties": {
                    "completed": {},
                    "failed": {},
                    "trapped": TRAPPED.schema(),
                    "limit-exceeded": limit,
                    "cancelled": { "type": "null" },
                    "conflict": CONFLICT.schema(),
                },
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
            })
        }
    }
}

fn answer() -> Value {
    json!({
        "properties": { "ok": {}, "err": {}, "trap": {} },
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
    })
}

fn noted_answer() -> Value {
    let text = TEXT.schema();
    json!({
        "properties": { "ok": {}, "err": {}, "denied": text, "method": text, "url": text, "rule": COUNT.schema() },
        "additionalProperties": false,
        "oneOf": [{ "required": ["ok"] }, { "required": ["err"] }],
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::canonical;
    use crate::form::mutate::{Mutation, mutated};
    use crate::trace::line::{Index, Line};
    use crate::trace::samples;

    fn is_read(value: &Value) -> bool {
        let bytes = canonical::to_vec(value);
        let line = std::str::from_utf8(&bytes).unwrap();
        Index::of(line).is_ok_and(|index| Line::new(line, &index).event().is_ok())
    }

    fn lines() -> Vec<Value> {
        let mut runs = samples::nothing_ran().to_vec();
        runs.extend([
            samples::every_outcome(),
            samples::asked(),
            samples::log_only(),
            samples::delegated(),
            samples::flow(),
        ]);
        let lines = |events: &Vec<super::super::event::Event>| {
            let bytes = samples::recorded(events);
            let text = String::from_utf8(bytes).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        };
        let mut lines: Vec<Value> = runs.iter().flat_map(lines).collect();
        let asked = |result: Value| {
            let mut line = lines.iter().find(|line| line["kind"] == "call").unwrap().clone();
            (line["name"], line["result"]) = (json!(REQUEST), result);
            line
        };
        let more =
            [json!({"ok": 9, "method": "GET", "url": "u", "rule": 0}), json!({"err": {"tag": "x"}, "denied": "y"})];
        let more: Vec<Value> = more.into_iter().map(asked).collect();
        lines.extend(more);
        lines
    }

    #[test]
    fn samples_have_every_kind_and_are_of_the_form() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        jsonschema::meta::validate(&schema()).unwrap();
        let lines = lines();
        for kind in Kind::ALL {
            assert!(lines.iter().any(|line| line["kind"] == kind.name()), "no sample of `{}`", kind.name());
        }
        for line in lines {
            assert!(is_read(&line), "{line}");
            assert!(validator.is_valid(&line), "{line}");
        }
    }

    proptest! {
        #[test]
        fn lines_are_read_as_the_schema_says(pick in any::<prop::sample::Index>(), mutation in Mutation::any()) {
            thread_local! {
                static SAMPLES: (Vec<Value>, jsonschema::Validator) =
                    (lines(), jsonschema::validator_for(&schema()).unwrap());
            }
            SAMPLES.with(|(lines, validator)| {
                let line = mutated(pick.get(lines), &mutation);
                prop_assert_eq!(is_read(&line), validator.is_valid(&line), "{}", line);
                Ok(())
            })?;
        }
    }
}
