//! Idempotency keys: one answer for one key, whatever happens in between.

use std::fs;

use host_tests::plan::READ_WRITE;
use host_tests::{Guest, TestHost, policy};
use serde_json::{Value, json};
use skillhost::protocol::{Session, Settings};
use skillhost::store::RunStore;
use skillhost::store::gc::{GcOptions, collect};
use skillhost::store::index::reindex;
use skillhost::{CancelToken, Durability, clock};

fn host(grant: &str) -> TestHost {
    let exports = "export spin: func(); export trap: func();";
    let core = r#"(func (export "spin") (loop $l (br $l))) (func (export "trap") unreachable)"#;
    let bad = Guest { imports: &[], exports, core }.build();
    TestHost::with(&policy("fuel = 9_000_000_000_000", grant), &[("bad", &bad)])
}

/// Asks in a session of its own.
fn ask(host: &TestHost, request: &Value) -> Value {
    ask_with(host, request, Settings::default())
}

fn ask_with(host: &TestHost, request: &Value, settings: Settings) -> Value {
    Session::new(&host.host, settings).answer(request.to_string().as_bytes()).to_json()
}

fn keyed(handler: &str, event: Value) -> Value {
    json!({ "action": "invoke", "handler": handler, "event": event, "meta": { "idempotency_key": "k1" } })
}

fn write(text: &str) -> Value {
    keyed("files.write-text", json!({ "path": "/workspace/a", "text": text }))
}

fn code(answer: &Value) -> &str {
    answer["error"]["details"]["code"].as_str().unwrap_or("ok")
}

/// An answer for each row of the table of errors that keys have.
pub(crate) fn provoked() -> Vec<Value> {
    let used = host(READ_WRITE);
    assert_eq!(ask(&used, &write("x"))["ok"], true);
    let reused = ask(&used, &write("y"));
    for file in ["host.db", "host.db-wal", "host.db-shm"] {
        fs::remove_file(used.state().join(file)).ok();
    }
    let built = reindex(&RunStore::at(used.state()), Durability::Buffered, &|_| Vec::new()).unwrap();
    assert_eq!(built.len(), 1);
    let lost = ask(&used, &write("x"));
    assert_eq!(lost["error"]["details"]["run"], built[0].run, "{lost:#}");
    vec![reused, lost, under_way()]
}

/// The answer to a request while another session answers one with its key.
fn under_way() -> Value {
    let host = host("");
    let spin = json!({ "action": "invoke", "handler": "bad.spin", "meta": { "idempotency_key": "k1", "timeout_ms": 600_000 } });
    let first = CancelToken::new();
    let settings = Settings { record_all: true, cancel: first.clone(), ..Settings::default() };
    std::thread::scope(|scope| {
        let answering = scope.spawn(|| ask_with(&host, &spin, settings));
        // It has the key before it has a run.
        while !host.state().join("runs").exists() {
            std::thread::yield_now();
        }
        let answer = ask(&host, &spin);
        first.cancel();
        assert_eq!(code(&answering.join().unwrap()), "CANCELLED");
        answer
    })
}

#[test]
fn of_two_requests_with_one_key_one_runs() {
    let host = host(READ_WRITE);
    let first = ask(&host, &write("x"));
    assert_eq!((&first["ok"], &first["meta"]["from_record"]), (&json!(true), &json!(false)), "{first:#}");
    fs::remove_file(host.workspace().join("a")).unwrap();
    let mut again = write("x");
    again["meta"]["request_id"] = json!("r2");
    again["meta"]["timeout_ms"] = json!(5);
    let second = ask(&host, &again);
    assert!(!host.workspace().join("a").exists(), "it was not done again");
    let (meta, of_first) = (&second["meta"], &first["meta"]);
    assert_eq!((&meta["from_record"], &meta["idempotency_key"]), (&json!(true), &json!("k1")), "{second:#}");
    assert_eq!((&meta["request_id"], &meta["fuel"]), (&json!("r2"), &json!(0)));
    assert_eq!(second["result"], first["result"]);
    assert_eq!((&meta["run"], &meta["trace_head"]), (&of_first["run"], &of_first["trace_head"]));
    let mut of_another = write("x");
    of_another["ctx"] = json!({ "tenant_id": "another" });
    for other in [write("y"), of_another] {
        let refused = ask(&host, &other);
        assert_eq!((code(&refused), &refused["http_status"]), ("IDEMPOTENCY_KEY_REUSED", &json!(409)), "{refused:#}");
    }
    assert_eq!(host.host.store().ids().unwrap().len(), 1);
}

#[test]
fn a_failure_of_the_guest_is_an_answer_as_well() {
    let host = host("");
    let (first, second) = (ask(&host, &keyed("bad.trap", json!({}))), ask(&host, &keyed("bad.trap", json!({}))));
    assert_eq!((code(&first), &first["meta"]["from_record"]), ("TRAP", &json!(false)));
    assert_eq!((&second["error"], &second["meta"]["from_record"]), (&first["error"], &json!(true)));
    assert_eq!(second["meta"]["exit_code"], 7);
}

#[test]
fn a_request_that_came_to_nothing_leaves_its_key_free() {
    let host = host(READ_WRITE);
    assert_eq!(code(&ask(&host, &keyed("files.write-text", json!({ "path": 5 })))), "PARAM_INVALID");
    assert_eq!(code(&ask(&host, &keyed("files.writes", json!({})))), "HANDLER_NOT_FOUND");
    let written = ask(&host, &write("x"));
    assert_eq!((&written["ok"], &written["meta"]["from_record"]), (&json!(true), &json!(false)), "{written:#}");
}

#[test]
fn a_description_takes_no_key() {
    let refused = ask(&host(""), &json!({ "action": "describe", "meta": { "idempotency_key": "k" } }));
    assert_eq!(refused["error"]["details"]["problems"][0]["code"], "key-without-effect", "{refused:#}");
}

#[test]
fn old_keys_are_forgotten_and_the_request_is_done_again() {
    let host = host("");
    let request = keyed("text.split", json!({ "text": "a", "pattern": "," }));
    ask(&host, &request);
    let store = RunStore::at(host.state());
    let age = |hours| GcOptions { older_than: Some(std::time::Duration::from_hours(hours)), ..GcOptions::default() };
    assert_eq!(collect(&store, &age(1), clock::since_epoch()).unwrap().keys, 0);
    assert_eq!(ask(&host, &request)["meta"]["from_record"], true);
    let would = collect(&store, &GcOptions { dry_run: true, ..age(0) }, clock::since_epoch()).unwrap();
    assert_eq!((would.keys, collect(&store, &age(0), clock::since_epoch()).unwrap().keys), (1, 1));
    assert_eq!(ask(&host, &request)["meta"]["from_record"], false);
}
