use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::form::mutate::{Mutation, mutated, with};
use crate::policy::{Policy, RunBudget};

/// What the reader refuses and a schema does not: what entries have to do with each other, and the texts of URLs and addresses.
const BEYOND: [&str; 19] = [
    "unknown-secret",
    "unused-secret",
    "unreachable-grant",
    "unreachable-rule",
    "ambiguous-guest-path",
    "limit-above-ceiling",
    "too-many-roles",
    "host-tool",
    "bad-url",
    "bad-dns",
    "bad-address",
    "address-not-public",
    "bad-header",
    "duplicate",
    "bad-rules",
    "missing-rules",
    "rule-error",
    "bad-principal",
    "bad-rule",
];

fn full() -> Value {
    json!({
        "schema": "skillhost.policy/1",
        "limits": { "fuel": 1000, "deadline_ms": 2000, "call_depth": 2 },
        "run": { "steps": 5, "fuel": 10, "host_calls": 6, "deadline_ms": 7, "attempts": 2 },
        "rules": "access.cedar",
        "roles": { "agent:reporter": ["reader", "writer"] },
        "network": { "dns": "127.0.0.1:53", "roots": { "file": "/etc/roots.pem" } },
        "approval": {
            "webhook": "https://hooks.test/a", "expires_in_s": 60,
            "network": [{ "url": "https://plans.test/*", "methods": ["POST"] }],
        },
        "audit": { "level": "DETAILED", "retention_days": 90, "tags": ["soc2", "pci"] },
        "secrets": { "TOKEN": { "env": "TOKEN" }, "KEY": { "file": "/run/key" } },
        "grant": [
            {
                "skills": ["csv", "te*"], "tools": ["parse", "a.b", "re*"],
                "filesystem": [{ "host": "{workspace}/in", "guest": "/in", "access": "read-only" }],
                "network": [{
                    "url": "https://api.test/v1/*", "methods": ["GET", "PUT"], "addresses": ["10.0.0.0/8"],
                    "headers": { "x-client": "a b", "authorization": { "secret": "TOKEN", "prefix": "Bearer " } },
                    "secrets": ["KEY"],
                }],
                "sockets": "closed", "clocks": "real", "random": "seeded", "env": { "A": "b", "B": { "secret": "KEY" } }, "config": { "c": "d", "e": { "request": "E", "default": "f" } },
                "calls": ["json.query", "text.*"], "approval": "never", "limits": { "fuel": 10 },
            },
            { "skills": ["*"], "tools": ["*"] },
        ],
    })
}

fn validator() -> jsonschema::Validator {
    jsonschema::meta::validate(&schema()).unwrap();
    jsonschema::validator_for(&schema()).unwrap()
}

/// What the reader says of it; `None` where TOML cannot say it.
fn read(document: &Value) -> Option<Result<(), Vec<crate::problem::Problem>>> {
    let text = toml::to_string(document).ok()?;
    let rules = "@id(\"all\") permit(principal, action, resource);";
    // What is null is left out by the writer.
    let written: Value = serde_json::to_value(text.parse::<toml::Table>().ok()?).ok()?;
    (written == *document).then(|| Policy::parse_with(&text, |_| Ok(rules.to_owned())).map(|_| ()))
}

#[test]
fn ranges_are_those_of_the_types() {
    let ranges =
        |shape: &Shape| shape.keys.iter().map(|key| (key.name, shape.range(key.name).unwrap().1)).collect::<Vec<_>>();
    assert_eq!(ranges(&LIMITS), limits::StepLimits::MAX.entries());
    assert_eq!(ranges(&RUN), RunBudget::KEYS);
}

#[test]
fn what_is_wrong_is_wrong_to_reader_and_schema() {
    let validator = validator();
    assert_eq!(read(&full()), Some(Ok(())));
    assert!(validator.is_valid(&full()));
    for (pointer, value) in [
        ("/schema", json!("skillhost.policy/2")),
        ("/grants", json!([])),
        ("/limits/fuel", json!(0)),
        ("/limits/feul", json!(1)),
        ("/limits/call_depth", json!(4)),
        ("/run/steps", json!("5")),
        ("/run/memory_bytes", json!(1)),
        ("/rules", json!("../access.cedar")),
        ("/rules", json!("/access.cedar")),
        ("/roles/agent:reporter", json!("reader")),
        ("/roles/agent:reporter", json!(["reader", "reader"])),
        ("/roles/reporter", json!(["reader"])),
        ("/network/roots", json!("system")),
        ("/network/roots/file", json!("roots.pem")),
        ("/network/proxy", json!("x")),
        ("/approval/webhok", json!("x")),
        ("/approval/network/0/methods", json!(["GET"])),
        ("/audit/level", json!("none")),
        ("/audit/retention_days", json!(0)),
        ("/audit/tags", json!(["soc 2"])),
        ("/audit/tags", json!(["soc2", "soc2"])),
        ("/audit/levels", json!("full")),
        ("/secrets/TOKEN", json!("hunter2")),
        ("/secrets/TOKEN", json!({})),
        ("/secrets/TOKEN/file", json!("/a")),
        ("/secrets/KEY/file", json!("/a/../b")),
        ("/grant", json!({})),
        ("/grant/0/skill", json!(["csv"])),
        ("/grant/0/skills", json!([])),
        ("/grant/0/skills", json!(["c*v"])),
        ("/grant/0/tools", json!(["a.b.c"])),
        ("/grant/0/tools", json!("parse")),
        ("/grant/0/filesystem/0/host", json!("in")),
        ("/grant/0/filesystem/0/host", json!("{home}/in")),
        ("/grant/0/filesystem/0/host", json!("/a/..")),
        ("/grant/0/filesystem/0/guest", json!("/in/")),
        ("/grant/0/filesystem/0/guest", json!("a/./b")),
        ("/grant/0/filesystem/0/access", json!("write")),
        ("/grant/0/filesystem/0", json!({ "host": "/a", "guest": "/a" })),
        ("/grant/0/network/0/methods", json!(["*"])),
        ("/grant/0/network/0/methods", json!(["get"])),
        ("/grant/0/network/0/methods", json!(["GET", "GET"])),
        ("/grant/0/network/0/method", json!(["GET"])),
        ("/grant/0/network/0/headers/x-client", json!(" a")),
        ("/grant/0/network/0/headers/authorization/name", json!("x")),
        ("/grant/0/sockets", json!("open")),
        ("/grant/0/clocks", json!("fake")),
        ("/grant/0/random", json!(1)),
        ("/grant/0/env/A=B", json!("c")),
        ("/grant/0/env/B/secret", json!("1")),
        ("/grant/0/config/c", json!(1)),
        ("/grant/0/config/e/request", json!("A=B")),
        ("/grant/0/config/e", json!({ "default": "f" })),
        ("/grant/0/env/B/default", json!("f")),
        ("/grant/0/calls", json!(["*"])),
        ("/grant/0/approval", json!("always")),
        ("/grant/0/limits/call_depth", json!(1)),
    ] {
        let document = with(full(), pointer, &value);
        assert!(read(&document).unwrap().is_err(), "{pointer}: {value}");
        assert!(!validator.is_valid(&document), "{pointer}: {value}");
    }
}

proptest! {
    #[test]
    fn policies_are_read_as_the_schema_says(mutation in Mutation::any()) {
        thread_local! { static VALIDATOR: jsonschema::Validator = validator(); }
        let document = mutated(&full(), &mutation);
        let valid = VALIDATOR.with(|validator| validator.is_valid(&document));
        match read(&document) {
            None => {}
            Some(Ok(())) => prop_assert!(valid, "the schema refuses {document}"),
            Some(Err(problems)) if valid => {
                let beyond = problems.iter().all(|problem| BEYOND.contains(&problem.code.as_str()));
                prop_assert!(beyond, "the schema accepts {document}: {problems:?}");
            }
            Some(Err(_)) => {}
        }
    }
}
