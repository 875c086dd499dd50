//! The JSON protocol over the library: every row of the table of errors is provoked, and what a request says reaches the guest.

use std::collections::BTreeMap;

use host_tests::plan::READ_WRITE;
use host_tests::{Guest, TestHost, guest, policy};
use serde_json::{Value, json};
use skillhost::CancelToken;
use skillhost::limits;
use skillhost::policy::{ApprovalAnswer, ApprovalRequest, Approve};
use skillhost::protocol::{Detail, Session, Settings};
use skillhost::skills::SkillBytes;

/// Does what its functions are called.
fn bad() -> Vec<u8> {
    let log = r#"(import "skillhost:skill/context@0.1.0" "remaining-time-ms" (func $time (result i64)))"#;
    let exports = "export spin: func(); export trap: func(); export recurse: func(); export call: func(); export echo: func(a: u32) -> u32;";
    let core = format!(
        r#"{log}
        (func (export "spin") (loop $l (br $l)))
        (func (export "trap") unreachable)
        (func $recurse (export "recurse") (call $recurse))
        (func (export "call") (loop $l (drop (call $time)) (br $l)))
        (func (export "echo") (param i32) (result i32) (local.get 0))"#
    );
    Guest { imports: &["skillhost:skill/context@0.1.0"], exports, core: &core }.build()
}

const GRAPHS: &str = r#"(component
  (import "wasi:nn/graph@0.2.0" (instance (export "graph" (type (sub resource)))))
  (core module $m (func (export "run")))
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))"#;

const SOCKETS: &str = r#"(component
  (import "wasi:sockets/network@0.2.0" (instance (export "network" (type (sub resource)))))
  (core module $m (func (export "run")))
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))"#;

fn host(policy: &str) -> TestHost {
    let [graphs, sockets] = [GRAPHS, SOCKETS].map(guest::component);
    TestHost::with(policy, &[("bad", &bad()), ("graphs", &graphs), ("sockets", &sockets), ("junk", b"not wasm")])
}

fn ask(host: &TestHost, request: &Value) -> Value {
    Session::new(&host.host, Settings::default()).answer(request.to_string().as_bytes()).to_json()
}

fn invoke(handler: &str, event: Value) -> Value {
    json!({ "action": "invoke", "handler": handler, "event": event })
}

struct No;

impl Approve for No {
    fn approve(&self, _: &ApprovalRequest<'_>) -> ApprovalAnswer {
        ApprovalAnswer::reject("somebody", "not today")
    }
}

fn anything() -> String {
    policy("", "")
}

/// One answer for each row that a request can provoke here. `INTERNAL` needs a machine on which the engine cannot start: see `cli`.
fn provoked() -> Vec<Value> {
    let open = host(&anything());
    let limited = |line: &str| host(&policy(line, ""));
    let good = TestHost::new(&anything());
    let mut twice = Session::new(&good.host, Settings::default());
    let described = json!({ "action": "describe", "kind": "flow", "meta": { "request_id": "r1" } }).to_string();
    assert_eq!(twice.answer(described.as_bytes()).to_json()["ok"], true);
    let cancelled = CancelToken::new();
    cancelled.cancel();
    let mut cancelled = Session::new(&open.host, Settings { cancel: cancelled, ..Settings::default() });
    let asking = policy("", "").replace("\"never\"", "\"required\"");
    let secret = "schema = \"skillhost.policy/1\"\n[secrets]\nkey = { env = \"NOT_THERE\" }\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\nenv = { KEY = { secret = \"key\" } }\n";
    let no_state = TestHost::configured(&policy("", READ_WRITE), &[], |builder| builder.state("/dev/null/state"));
    let rejecting = TestHost::configured(&asking, &[], |builder| builder.approver(No));
    let pausing = TestHost::configured(&asking, &[], |builder| builder.pauses(true));
    let split = || invoke("text.split", json!({ "text": "a,b", "pattern": "," }));
    let spin = json!({ "action": "invoke", "handler": "bad.spin", "meta": { "timeout_ms": 100 } });
    let signal = json!({ "action": "invoke", "handler": "text.split", "meta": { "capabilities": { "signal": true } } });
    vec![
        Session::new(&open.host, Settings::default()).answer(br#"{"action":"inv"#).to_json(),
        twice.answer(described.as_bytes()).to_json(),
        ask(&TestHost::new(secret), &split()),
        ask(&open, &invoke("junk.run", json!({}))),
        ask(&open, &invoke("graphs.run", json!({}))),
        ask(&limited("fuel = 9_000_000_000_000"), &spin),
        ask(&limited("fuel = 100_000"), &invoke("bad.spin", json!({}))),
        ask(&open, &invoke("texts.split", json!({}))),
        ask(&open, &invoke("text.spilt", json!({}))),
        ask(&open, &invoke("text.split", json!({ "text": 5 }))),
        ask(&open, &invoke("bad.trap", json!({}))),
        ask(&open, &invoke("text.split", json!({ "text": "a", "pattern": "(" }))),
        ask(&limited("memory_bytes = 65_536"), &split()),
        ask(&limited("output_bytes = 2"), &split()),
        ask(&limited("host_calls = 100"), &invoke("bad.call", json!({}))),
        ask(&open, &invoke("bad.recurse", json!({}))),
        ask(&host("schema = \"skillhost.policy/1\"\n"), &split()),
        ask(&open, &signal),
        ask(&rejecting, &split()),
        cancelled.answer(split().to_string().as_bytes()).to_json(),
        ask(&no_state, &split()),
        ask(&pausing, &split()),
    ]
    .into_iter()
    .chain(crate::keyed::provoked())
    .collect()
}

#[test]
fn every_row_of_the_table_is_provoked() {
    let mut rows = BTreeMap::new();
    let schema = jsonschema::validator_for(&skillhost::protocol::schema::schema("response").unwrap()).unwrap();
    for answer in
        provoked().into_iter().chain(crate::protocol_bundle::provoked()).chain(crate::protocol_exports::provoked())
    {
        assert!(schema.is_valid(&answer), "{:?}\n{answer:#}", schema.iter_errors(&answer).next());
        let error = &answer["error"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let code = text(&error["details"]["code"]);
        assert!(!text(&error["hint"]).is_empty() && !text(&error["message"]).is_empty(), "{answer:#}");
        assert!(answer["result"].is_null() && answer["ok"] == false, "{answer:#}");
        for id in ["request_id", "trace_id"] {
            assert!(answer["meta"][id].is_string(), "{answer:#}");
        }
        let row = format!(
            "| {code} | {} | {} | {} | {} |",
            text(&error["code"]),
            answer["http_status"],
            answer["meta"]["exit_code"],
            text(&error["details"]["legacy_code"])
        );
        assert_eq!(rows.insert(code, row), None, "{answer:#}");
    }
    let table = skillhost::protocol::code::table();
    for detail in Detail::ALL.iter().filter(|detail| **detail != Detail::Internal) {
        let row = rows.remove(detail.name()).unwrap_or_else(|| panic!("{detail:?} was not provoked"));
        assert!(table.lines().any(|line| line == row), "{row}\n{table}");
    }
    assert!(rows.is_empty(), "{rows:?}");
}

/// Either way it is a violation: of what there is, or of what is granted.
#[test]
fn imports_that_are_not_there_and_sockets_that_are_not_granted_are_violations() {
    let host = host(&anything());
    for (tool, detail, exit) in [("graphs.run", "IMPORT_NOT_PROVIDED", 3), ("sockets.run", "POLICY_DENIED", 11)] {
        let answer = ask(&host, &invoke(tool, json!({})));
        let error = &answer["error"];
        assert_eq!((&error["code"], &answer["http_status"]), (&json!("SECURITY_VIOLATION"), &json!(403)), "{answer:#}");
        assert_eq!((&error["details"]["code"], &answer["meta"]["exit_code"]), (&json!(detail), &json!(exit)));
    }
    let denied = ask(&host, &invoke("sockets.run", json!({})));
    assert!(denied["error"]["hint"].as_str().unwrap().contains("`sockets = \"closed\"`"), "{denied:#}");
    let closed = self::host(&policy("", "sockets = \"closed\""));
    assert_eq!(ask(&closed, &invoke("sockets.run", json!({})))["ok"], true);
}

#[test]
fn the_hint_of_a_denial_names_the_grant_that_is_missing() {
    let answer =
        ask(&host("schema = \"skillhost.policy/1\"\n"), &invoke("text.split", json!({"text": "a", "pattern": "b"})));
    assert!(answer["error"]["hint"].as_str().unwrap().contains("[[grant]]"), "{answer:#}");
    assert!(answer["meta"]["run"].is_string(), "a denial is kept");
}

#[test]
fn what_can_have_no_effect_is_not_kept_and_gives_the_head_of_the_same_trace() {
    let host = host(&anything());
    let request = invoke("bad.echo", json!({ "a": 7 }));
    let (one, two) = (ask(&host, &request), ask(&host, &request));
    assert_eq!(one["result"], 7);
    assert!(one["meta"].get("run").is_none() && one["meta"]["trace_head"].is_string(), "{one:#}");
    assert_eq!(one["meta"]["trace_head"], two["meta"]["trace_head"]);
    assert_ne!(one["meta"]["request_id"], two["meta"]["request_id"]);
    assert!(!host.state().join("runs").exists());
    let kept = Settings { record_all: true, ..Settings::default() };
    let kept = Session::new(&host.host, kept).answer(request.to_string().as_bytes()).to_json();
    assert_eq!(kept["meta"]["trace_head"], one["meta"]["trace_head"]);
    let run = host.host.store().find(kept["meta"]["run"].as_str().unwrap()).unwrap();
    assert_eq!(host.host.replay(&run, &Default::default()).unwrap().divergence, None);
}

#[test]
fn what_may_have_an_effect_is_a_run() {
    let host = TestHost::new(&policy("", READ_WRITE));
    let answer = ask(&host, &invoke("files.write-text", json!({ "path": "/workspace/a", "text": "x" })));
    assert_eq!(answer["ok"], true, "{answer:#}");
    assert_eq!(std::fs::read_to_string(host.workspace().join("a")).unwrap(), "x");
    assert!(host.host.store().find(answer["meta"]["run"].as_str().unwrap()).is_ok());
}

/// A guest that gives what it is told of the request and of the host, and logs.
fn curious() -> Vec<u8> {
    let exports = "import skillhost:skill/request@0.1.0; import skillhost:skill/log@0.1.0; export tenant: func() -> string; export sdk: func() -> string;";
    // The record is at 1024: seven optional texts of 12 bytes, the time at 88, the version at 104. The tenant is the third.
    let core = r#"
        (import "skillhost:skill/request@0.1.0" "current" (func $current (param i32)))
        (import "skillhost:skill/request@0.1.0" "sdk-version" (func $sdk (param i32)))
        (import "skillhost:skill/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))
        (func (export "sdk") (result i32) (call $sdk (i32.const 512)) (i32.const 512))
        (data (i32.const 16) "asked")
        (func (export "tenant") (result i32)
          (call $current (i32.const 1024))
          (call $log (i32.const 3) (i32.const 16) (i32.const 5) (i32.const 0) (i32.const 0))
          (i32.store (i32.const 512) (i32.load (i32.const 1052)))
          (i32.store (i32.const 516) (i32.load (i32.const 1056)))
          (i32.const 512))"#;
    Guest { imports: &[], exports, core }.build()
}

#[test]
fn who_asks_reaches_the_guest_and_its_logs_the_answer() {
    let host = TestHost::with(&policy("", ""), &[("curious", &curious())]);
    let request = json!({
        "action": "invoke", "handler": "curious.tenant",
        "ctx": { "tenant_id": "acme", "user_id": "u1" }, "meta": { "request_id": "r-1", "trace_id": "t-1" },
    });
    let kept = Settings { record_all: true, ..Settings::default() };
    let answer = Session::new(&host.host, kept).answer(request.to_string().as_bytes()).to_json();
    assert_eq!(answer["result"], "acme", "{answer:#}");
    let meta = &answer["meta"];
    assert_eq!(
        (&meta["request_id"], &meta["tenant_id"], &meta["user_id"]),
        (&json!("r-1"), &json!("acme"), &json!("u1"))
    );
    let mut log = meta["logs"][0].clone();
    assert!(log["ts_ms"].as_u64().unwrap() > 0);
    log["ts_ms"] = json!(0);
    assert_eq!(
        log,
        json!({
            "ts_ms": 0, "level": "warn", "event": "asked", "request_id": "r-1", "trace_id": "t-1", "snapshot_id": null,
            "resource_kind": "tool", "resource_name": "curious.tenant", "fields": {},
        })
    );
    let run = host.host.store().find(meta["run"].as_str().unwrap()).unwrap();
    assert_eq!(host.host.replay(&run, &Default::default()).unwrap().divergence, None);
    let sdk =
        Session::new(&host.host, Settings::default()).answer(invoke("curious.sdk", json!({})).to_string().as_bytes());
    let sdk = sdk.to_json();
    assert_eq!((&sdk["result"], sdk["result"].is_string()), (&sdk["meta"]["sdk_version"], true), "{sdk:#}");
    // A legacy payload may say it as well.
    let legacy = json!({ "action": "invoke", "kind": "tool", "name": "curious.tenant", "payload": { "ctx": { "tenant_id": "old" } } });
    assert_eq!(ask(&host, &legacy)["result"], "old");
    // Nobody asked: nothing is known.
    let run = host.call("curious.tenant", json!({})).completed();
    assert_eq!(run.output(), "");
}

/// The schemas in the documentation are those that are made of what requests are read by.
#[test]
fn the_schemas_in_the_documentation_are_these() {
    for name in skillhost::protocol::schema::NAMES {
        let made = format!("{:#}\n", skillhost::protocol::schema::schema(name).unwrap());
        let path = host_tests::repo::root().join(format!("docs/schemas/{name}.json"));
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept == made, "docs/schemas/{name}.json is not what `host schema {name}` prints: set UPDATE_SCHEMAS=1");
    }
}

#[test]
fn requests_are_read_strictly() {
    let host = host(&anything());
    let schema = jsonschema::validator_for(&skillhost::protocol::schema::schema("request").unwrap()).unwrap();
    let message = |request: &str| {
        let answer = Session::new(&host.host, Settings::default()).answer(request.as_bytes()).to_json();
        assert_eq!(answer["error"]["details"]["code"], "REQUEST_INVALID", "{request}: {answer:#}");
        assert_eq!(answer["meta"]["exit_code"], 2);
        answer["error"]["details"]["problems"][0]["code"].as_str().unwrap_or_default().to_owned()
    };
    for (request, code) in [
        ("", "bad-json"),
        ("[]", "wrong-type"),
        (r#"{"action":"describe"} {}"#, "trailing-data"),
        (r#"{"action":"describe","action":"invoke"}"#, "duplicate-key"),
        (r#"{"action":"describe","schema_version":"v2"}"#, "wrong-version"),
        (r#"{"action":"describe","schema_version":1}"#, "wrong-version"),
        (r#"{"action":"destroy"}"#, "unknown-value"),
        (r#"{"kind":"tool"}"#, "missing-key"),
        (r#"{"action":"invoke","kind":"tol"}"#, "unknown-value"),
        (r#"{"action":"invoke","handler":"a.b","name":"a.b"}"#, "ambiguous-request"),
        (r#"{"action":"invoke","meta":{"time":1}}"#, "unknown-key"),
        (r#"{"action":"invoke","meta":{"timeout_ms":0}}"#, "wrong-type"),
        (r#"{"action":"invoke","meta":{"env":{"A":1}}}"#, "wrong-type"),
        (r#"{"action":"invoke","meta":{"capabilities":{"gpu":true}}}"#, "unknown-key"),
        (r#"{"action":"invoke","http":{"method":"GET","path":"/","cookies":1}}"#, "unknown-key"),
        (r#"{"action":"invoke","ctx":{"user_id":""}}"#, "wrong-type"),
    ] {
        assert_eq!(message(request), code, "{request}");
        // What the schema can say it says as well.
        if let (Ok(request), false) = (serde_json::from_str::<Value>(request), code == "duplicate-key") {
            assert!(!schema.is_valid(&request), "{request}");
        }
    }
    // What the schema cannot say.
    for (env, code) in [
        (json!({ "A=B": "c" }), "bad-env"),
        (json!({ "": "c" }), "bad-env"),
        (json!({ "A": "b\0" }), "bad-env"),
        (json!({ "A": "b".repeat(limits::REQUEST_ENV_BYTES_MAX) }), "env-too-large"),
    ] {
        assert_eq!(message(&json!({ "action": "invoke", "meta": { "env": env } }).to_string()), code);
    }
    let long = format!(r#"{{"action":"describe","x":"{}"}}"#, "x".repeat(limits::EXEC_REQUEST_BYTES_MAX));
    assert_eq!(message(&long), "request-too-large");
    // What is not forbidden is let through, and the ids of a request that is wrong are in its answer.
    let open =
        json!({ "action": "invoke", "handler": "bad.echo", "event": { "a": 1 }, "more": 1, "ctx": { "more": 1 } });
    assert_eq!(ask(&host, &open)["ok"], true);
    assert!(schema.is_valid(&open));
    let wrong = json!({ "action": "destroy", "meta": { "request_id": "r9" } });
    assert_eq!(ask(&host, &wrong)["meta"]["request_id"], "r9");
}

#[test]
fn describe_runs_no_guest_and_is_sorted() {
    let host = TestHost::with(&policy("", ""), &[("bad", &bad())]);
    let answer = ask(&host, &json!({ "action": "describe" }));
    let (meta, result) = (&answer["meta"], &answer["result"]);
    assert_eq!((&meta["fuel"], &meta["host_calls"]), (&json!(0), &json!(0)));
    let tools: Vec<&str> = result["tools"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(tools.is_sorted() && tools.contains(&"bad.echo") && tools.contains(&"text.split"), "{tools:?}");
    let echo = result["exports"].as_array().unwrap().iter().find(|export| export["name"] == "bad.echo").unwrap();
    assert_eq!(echo["input_schema"]["properties"]["a"]["type"], "integer");
    assert_eq!(result, &ask(&host, &json!({ "action": "describe" }))["result"]);
}

#[test]
fn a_warm_skill_is_loaded_again_when_its_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.wasm");
    let answering = |number: i32| {
        let core = format!("(func (export \"number\") (result i32) (i32.const {number}))");
        Guest { imports: &[], exports: "export number: func() -> u32;", core: &core }.build()
    };
    std::fs::write(&file, answering(1)).unwrap();
    let host = TestHost::configured(&policy("", ""), &[], |builder| {
        builder.keep_warm(true).skill("it".parse().unwrap(), SkillBytes::File(file.clone()))
    });
    let mut session = Session::new(&host.host, Settings::default());
    let request = invoke("it.number", json!({})).to_string();
    let mut number = || session.answer(request.as_bytes()).to_json()["result"].clone();
    assert_eq!((number(), number()), (json!(1), json!(1)));
    std::fs::write(&file, answering(2)).unwrap();
    assert_eq!(number(), 2);
}

#[test]
fn a_component_that_is_not_ready_in_time_is_a_timeout_and_ready_for_the_next_request() {
    // Compiled anew, which takes longer than a millisecond on any machine.
    let host = TestHost::configured(&anything(), &[], |builder| {
        builder.compiled_code(skillhost::CompiledCode::nowhere()).keep_warm(true)
    });
    let mut session = Session::new(&host.host, Settings::default());
    let mut request = invoke("text.split", json!({ "text": "a,b", "pattern": "," }));
    let mut ask = |timeout_ms: u64| {
        request["meta"] = json!({ "timeout_ms": timeout_ms });
        session.answer(request.to_string().as_bytes()).to_json()
    };
    for _ in 0..2 {
        let late = ask(1);
        assert_eq!(late["error"]["details"]["code"], "DEADLINE", "{late:#}");
        assert_eq!((&late["meta"]["exit_code"], &late["meta"]["fuel"]), (&json!(4), &json!(0)));
    }
    let answer = ask(300_000);
    assert_eq!(answer["result"], json!(["a", "b"]), "{answer:#}");
}
