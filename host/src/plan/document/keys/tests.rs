use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::form::mutate::{Mutation, mutated, with};
use crate::plan::Plan;
use crate::plan::flow::Comparison;

/// What the reader refuses and a schema does not: the text of a template, a URL or a schema, days that are not in the calendar.
const BEYOND: [&str; 6] = ["bad-template", "bad-url", "bad-schema", "bad-time", "too-many-steps", "bad-reference"];

fn full() -> Value {
    json!({
        "schema": "skillhost.plan/1", "name": "all of it", "version": "1.2.3-rc.1+5", "description": "d", "tags": ["soc2", "pci"],
        "inputs": { "month": "may" }, "skills": { "csv": { "path": "csv.wasm", "sha256": "ab".repeat(32) } },
        "seed": 7, "start_time": "2026-01-01T00:00:00+02:00", "on_failure": "rollback", "parallel": 2, "deadline_ms": 1000,
        "steps": [
            {
                "id": "read", "tool": "csv.parse", "description": "d", "input": { "text": "{{inputs.month}}" },
                "depends_on": [], "when": { "value": "{{inputs.month}}", "is": "may" }, "limits": { "fuel": 5, "deadline_ms": 6 },
                "retry": { "attempts": 3, "backoff_ms": 0, "on": ["failed", "deadline"] },
                "expect": { "kind": "json", "schema": true, "mode": "warn" },
                "compensate": { "tool": "csv.drop", "input": {} }, "reuse": true, "irreversible": false,
            },
            { "id": "plain", "tool": "csv.parse", "depends_on": ["read"], "when": [{ "value": 1, "less_than": 2 }] },
            { "id": "text", "tool": "a.b.c", "expect": { "kind": "text" } },
            { "id": "ask", "approve": { "message": "may it?", "context": { "a": 1 }, "webhook_url": "https://a.test/", "expires_in_s": 9 } },
        ],
        "compensate": [{ "tool": "csv.end", "input": { "a": 1 } }, { "tool": "csv.end" }],
        "output": ["{{steps.read}}"],
    })
}

fn validator() -> jsonschema::Validator {
    jsonschema::meta::validate(&schema()).unwrap();
    jsonschema::validator_for(&schema()).unwrap()
}

#[test]
fn words_are_those_of_the_types() {
    let compared: Vec<&str> = CONDITION.names().skip(1).collect();
    assert_eq!(compared, Comparison::ALL.map(Comparison::name));
    assert!(
        LIMITS
            .keys
            .iter()
            .map(|key| (key.name, LIMITS.range(key.name).unwrap()))
            .eq(limits::StepLimits::MAX.entries().map(|(name, max)| (name, (1, max))))
    );
    assert!(CALL_KEYS.iter().all(|key| STEP.names().any(|name| name == *key)));
}

#[test]
fn what_is_wrong_is_wrong_to_reader_and_schema() {
    let validator = validator();
    assert_eq!(Plan::from_value(&full()).map(|_| ()), Ok(()));
    assert!(validator.is_valid(&full()));
    for (pointer, value) in [
        ("", json!([])),
        ("/schema", json!("skillhost.plan/2")),
        ("/name", json!(" ")),
        ("/name", json!("a\nb")),
        ("/version", json!("1.0")),
        ("/version", json!("01.0.0")),
        ("/tags", json!("soc2")),
        ("/tags", json!(["soc2", "soc2"])),
        ("/tags", json!(["soc 2"])),
        ("/tag", json!(["soc2"])),
        ("/inputs", json!([])),
        ("/skills/csv", json!("csv.wasm")),
        ("/skills/csv/path", json!("")),
        ("/skills/csv/sha256", json!("AB")),
        ("/skills/csv/sha265", json!("ab")),
        ("/seed", json!(-1)),
        ("/seed", json!(1.5)),
        ("/start_time", json!("yesterday")),
        ("/on_failure", json!("ignore")),
        ("/parallel", json!(17)),
        ("/deadline_ms", json!(0)),
        ("/steps", json!([])),
        ("/steps", json!({})),
        ("/step", json!([])),
        ("/compensate/0/tol", json!("x")),
        ("/compensate/0", json!({})),
        ("/steps/0", json!({})),
        ("/steps/0/id", json!("1")),
        ("/steps/0/input", json!([])),
        ("/steps/0/depends_on", json!(["a", "a"])),
        ("/steps/0/depends_on", json!("a")),
        ("/steps/0/when", json!([])),
        ("/steps/0/when", json!({ "value": 1 })),
        ("/steps/0/when", json!({ "value": 1, "is": 1, "is_not": 2 })),
        ("/steps/0/when", json!({ "is": 1 })),
        ("/steps/0/limits/fuel", json!(0)),
        ("/steps/0/limits/feul", json!(1)),
        ("/steps/0/retry", json!({ "attempts": 2 })),
        ("/steps/0/retry/attempts", json!(1)),
        ("/steps/0/retry/on", json!(["fuel"])),
        ("/steps/0/retry/on", json!(["failed", "failed"])),
        ("/steps/0/retry/on", json!([])),
        ("/steps/0/expect", json!({})),
        ("/steps/0/expect/kind", json!("xml")),
        ("/steps/0/expect/kind", json!("text")),
        ("/steps/0/expect/schema", json!([])),
        ("/steps/0/expect/mode", json!("lax")),
        ("/steps/0/reuse", json!("yes")),
        ("/steps/0/approve", json!({ "message": "m" })),
        ("/steps/3/approve", json!({})),
        ("/steps/3/approve/message", json!("")),
        ("/steps/3/approve/expires_in_s", json!(0)),
        ("/steps/3/input", json!({})),
        ("/steps/3/retry", json!({ "attempts": 2, "on": ["failed"] })),
    ] {
        let document = with(full(), pointer, &value);
        assert!(Plan::from_value(&document).is_err(), "{pointer}: {value}");
        assert!(!validator.is_valid(&document), "{pointer}: {value}");
    }
}

proptest! {
    #[test]
    fn plans_are_read_as_the_schema_says(mutation in Mutation::any()) {
        thread_local! { static VALIDATOR: jsonschema::Validator = validator(); }
        let document = mutated(&full(), &mutation);
        let valid = VALIDATOR.with(|validator| validator.is_valid(&document));
        match Plan::from_value(&document) {
            Ok(_) => prop_assert!(valid, "the schema refuses {document}"),
            Err(problems) if valid => {
                let beyond = problems.iter().all(|problem| BEYOND.contains(&problem.code.as_str()));
                prop_assert!(beyond, "the schema accepts {document}: {problems:?}");
            }
            Err(_) => {}
        }
    }
}
