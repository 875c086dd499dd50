//! The JSON protocol over a bundle: each kind of export is invoked, and what a bundle can do wrong is an answer.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use host_tests::{Guest, TestHost, policy, repo};
use serde_json::{Value, json};
use skillhost::RequestContext;
use skillhost::bundle::Bundle;
use skillhost::clock::Stopwatch;
use skillhost::protocol::{Failure, Session, Settings};

const MANIFEST: &str = r#"
schema = "skillhost.bundle/1"
name = "demo"
version = "1.0.0"
package = "skillhost:skill@0.1.0"
handler = "web.handle"
[[export]]
kind = "tool"
name = "split"
tool = "text.split"
tags = ["text"]
[[export]]
kind = "tool"
name = "drift"
tool = "text.split"
output_schema = "five.json"
[[export]]
kind = "agent"
name = "sum"
tool = "csv.summarise"
[[export]]
kind = "agent"
name = "list"
tool = "text.split"
[[export]]
kind = "router"
name = "route"
tool = "csv.summarise"
[[export]]
kind = "flow"
name = "twice"
plan = "plans/twice.json"
[[export]]
kind = "flow"
name = "bad"
plan = "plans/bad.json"
[[export]]
kind = "http"
name = "echo"
route = "GET /echo"
tool = "web.echo"
[[export]]
kind = "http"
name = "make"
route = "POST /things"
tool = "web.make"
[[export]]
kind = "mcp"
name = "texts"
tools = ["split"]
"#;

fn web() -> Vec<u8> {
    let exports = "record reply { http-status: u32 }
        export echo: func(request: string) -> string; export make: func(body: string) -> reply;
        export handle: func(event: string, context: string) -> string;";
    let core = r#"
        (func $text (param i32 i32) (result i32)
          (i32.store (i32.const 512) (local.get 0)) (i32.store (i32.const 516) (local.get 1)) (i32.const 512))
        (func (export "echo") (param i32 i32) (result i32) (call $text (local.get 0) (local.get 1)))
        (func (export "make") (param i32 i32) (result i32) (i32.const 201))
        (func (export "handle") (param i32 i32 i32 i32) (result i32) (call $text (local.get 2) (local.get 3)))"#;
    Guest { imports: &[], exports, core }.build()
}

fn make(root: &Path) {
    for folder in ["skills", "plans"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("bundle.toml"), MANIFEST).unwrap();
    fs::write(root.join("five.json"), r#"{"type":"array","minItems":5}"#).unwrap();
    fs::write(root.join("skills/web.wasm"), web()).unwrap();
    for skill in ["text", "csv"] {
        fs::write(root.join(format!("skills/{skill}.wasm")), repo::component(skill)).unwrap();
    }
    let split =
        |id: &str, text: &str| json!({ "id": id, "tool": "text.split", "input": { "text": text, "pattern": "," } });
    let twice = json!({
        "schema": "skillhost.plan/1", "name": "twice", "inputs": { "text": "a,b" },
        "steps": [split("one", "{{inputs.text}}"), split("two", "x")], "output": { "parts": "{{steps.one}}" },
    });
    fs::write(root.join("plans/twice.json"), twice.to_string()).unwrap();
    let bad = json!({ "schema": "skillhost.plan/1", "name": "bad", "steps": [{ "id": "a", "tool": "text.split", "when": 5 }] });
    fs::write(root.join("plans/bad.json"), bad.to_string()).unwrap();
}

struct Demo {
    folder: tempfile::TempDir,
    host: TestHost,
    bundle: Arc<Bundle>,
}

impl Demo {
    fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path());
        let bundle = Arc::new(Bundle::open(folder.path()).unwrap());
        let host = TestHost::configured(policy, &[], |builder| builder.keep_warm(true).bundle(Arc::clone(&bundle)));
        Self { folder, host, bundle }
    }

    fn ask(&self, request: &Value) -> Value {
        Session::new(&self.host.host, Settings::default()).answer(request.to_string().as_bytes()).to_json()
    }

    fn invoke(&self, kind: &str, handler: &str, event: &Value) -> Value {
        self.ask(&json!({ "action": "invoke", "kind": kind, "handler": handler, "event": event }))
    }
}

/// One answer for each row of the table of errors that needs a bundle.
pub(crate) fn provoked() -> Vec<Value> {
    let demo = Demo::new(&policy("", ""));
    let refused = |root: &Path| {
        let failure = Failure::of_bundle(&Bundle::open(root).unwrap_err());
        let mut session = Session::new(&demo.host.host, Settings::default());
        session.answer_read(Err(Box::new((failure, RequestContext::default()))), Stopwatch::start()).to_json()
    };
    let wrong = tempfile::tempdir().unwrap();
    let none = refused(wrong.path());
    fs::write(wrong.path().join("bundle.toml"), "schema = 1").unwrap();
    let split = json!({ "text": "a,b", "pattern": "," });
    let short = format!("{}[run]\nsteps = 1\n", policy("", ""));
    let mut answers = vec![
        none,
        refused(wrong.path()),
        demo.invoke("flow", "bad", &json!({})),
        demo.invoke("agent", "list", &split),
        demo.invoke("tool", "drift", &split),
        demo.ask(&json!({ "action": "invoke", "kind": "mcp", "mcp": { "server": "texts", "tool": "drift" } })),
        Demo::new(&short).invoke("flow", "twice", &json!({})),
    ];
    fs::write(demo.folder.path().join("more"), "x").unwrap();
    answers.push(demo.invoke("tool", "split", &split));
    assert_eq!(demo.ask(&json!({ "action": "describe" }))["error"]["details"]["code"], "BUNDLE_CHANGED");
    answers
}

#[test]
fn each_kind_of_export_is_invoked() {
    let demo = Demo::new(&policy("", ""));
    let split = json!({ "text": "a,b", "pattern": "," });
    let parts = demo.invoke("tool", "split", &split);
    assert_eq!(
        (&parts["result"], &parts["meta"]["snapshot_id"]),
        (&json!(["a", "b"]), &json!(demo.bundle.id.to_string()))
    );
    let table = json!({ "text": "n,v\na,1\na,2\n", "value": "v", "group-by": "n" });
    for kind in [("agent", "sum"), ("router", "route")] {
        assert_eq!(demo.invoke(kind.0, kind.1, &table)["result"]["rows"], 2);
    }
    let flow = demo.invoke("flow", "twice", &json!({ "text": "1,2,3" }));
    assert_eq!(flow["result"], json!({ "parts": ["1", "2", "3"] }), "{flow:#}");
    assert_eq!(demo.invoke("flow", "twice", &json!({ "texts": "" }))["error"]["details"]["code"], "PARAM_INVALID");
    let http = |method: &str, path: &str| {
        demo.ask(
            &json!({ "action": "invoke", "kind": "http", "http": { "method": method, "path": path, "body": "x" } }),
        )
    };
    let seen: Value = serde_json::from_str(http("GET", "/echo")["result"].as_str().unwrap()).unwrap();
    assert_eq!(seen, json!({ "method": "GET", "path": "/echo", "body": "x" }));
    let made = http("POST", "/things");
    assert_eq!((&made["ok"], &made["http_status"]), (&json!(true), &json!(201)), "{made:#}");
    assert_eq!(http("POST", "/echo")["error"]["code"], "NOT_FOUND");
    let mcp =
        json!({ "action": "invoke", "kind": "mcp", "mcp": { "server": "texts", "tool": "split", "args": split } });
    assert_eq!(demo.ask(&mcp)["result"], json!(["a", "b"]));
    // The default handler is given the event and who asks.
    let executed = demo.ask(&json!({ "action": "execute", "event": { "a": 1 }, "ctx": { "user_id": "u1" } }));
    let context: Value = serde_json::from_str(executed["result"].as_str().unwrap()).unwrap();
    assert_eq!(context["user_id"], "u1", "{executed:#}");
    // What is no export is not there for `invoke`.
    assert_eq!(demo.invoke("tool", "text.split", &split)["error"]["code"], "NOT_FOUND");
}

#[test]
fn describe_lists_what_the_bundle_offers() {
    let demo = Demo::new(&policy("", ""));
    let result = demo.ask(&json!({ "action": "describe" }))["result"].clone();
    assert_eq!(result["tools"], json!(["drift", "split"]));
    assert_eq!((&result["agents"], &result["flows"]), (&json!(["list", "sum"]), &json!(["bad", "twice"])));
    assert_eq!(result["routers"], json!(["route"]));
    assert_eq!(
        result["http_handlers"],
        json!([{ "method": "GET", "path": "/echo" }, { "method": "POST", "path": "/things" }])
    );
    assert_eq!(result["mcp_servers"], json!([{ "name": "texts", "tools": ["split"] }]));
    let one = demo.ask(&json!({ "action": "describe", "kind": "tool", "handler": "drift" }))["result"].clone();
    assert_eq!(one["exports"][0]["output_schema"]["minItems"], 5);
}

#[test]
fn whatever_a_session_is_given_it_serves_the_next() {
    let demo = Demo::new(&policy("", ""));
    let mut session = Session::new(&demo.host.host, Settings::default());
    let invoke = |kind: &str, handler: &str, id: &str| {
        let event = json!({ "text": "a,b", "pattern": "," });
        let meta = json!({ "request_id": id });
        json!({ "action": "invoke", "kind": kind, "handler": handler, "event": event, "meta": meta }).to_string()
    };
    let good = |session: &mut Session<'_>, id: &str| {
        let answer = session.answer(invoke("tool", "split", id).as_bytes()).to_json();
        assert_eq!((&answer["ok"], &answer["meta"]["exit_code"]), (&json!(true), &json!(0)), "{answer:#}");
    };
    let bad = |session: &mut Session<'_>, bytes: &[u8], code: &str, status: u16, exit: u8| {
        let answer = session.answer(bytes).to_json();
        let (error, meta) = (&answer["error"], &answer["meta"]);
        assert_eq!(error["details"]["code"], code, "{answer:#}");
        assert_eq!((&answer["http_status"], &meta["exit_code"]), (&json!(status), &json!(exit)), "{answer:#}");
        assert!(meta["request_id"].is_string() && !error["hint"].as_str().unwrap().is_empty(), "{answer:#}");
    };
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(skillhost::limits::EXEC_REQUEST_BYTES_MAX));
    let cases = [
        (r#"{"action":"invoke","handler":"spl"#, "REQUEST_INVALID", 400, 2),
        ("", "REQUEST_INVALID", 400, 2),
        ("\u{0}", "REQUEST_INVALID", 400, 2),
        (r#"{"action":"describe"} {"action":"describe"}"#, "REQUEST_INVALID", 400, 2),
        (r#"{"action":"dance"}"#, "REQUEST_INVALID", 400, 2),
        (r#"{"schema_version":"v2","action":"describe"}"#, "REQUEST_INVALID", 400, 2),
        (&large, "REQUEST_INVALID", 400, 2),
        (&invoke("tool", "split", "good-0"), "DUPLICATE_REQUEST", 409, 2),
        (&invoke("agent", "list", "a"), "OUTPUT_INVALID", 400, 6),
        (&invoke("tool", "drift", "b"), "OUTPUT_DRIFT", 500, 7),
    ];
    good(&mut session, "good-0");
    for (number, (bytes, code, status, exit)) in cases.into_iter().enumerate() {
        bad(&mut session, bytes.as_bytes(), code, status, exit);
        good(&mut session, &format!("good-{}", number + 1));
    }
    // A bundle that changes is refused until it is what it was.
    let file = demo.folder.path().join("skills/more");
    fs::write(&file, "x").unwrap();
    bad(&mut session, invoke("tool", "split", "c").as_bytes(), "BUNDLE_CHANGED", 409, 3);
    bad(&mut session, br#"{"action":"describe"}"#, "BUNDLE_CHANGED", 409, 3);
    fs::remove_file(&file).unwrap();
    good(&mut session, "last");
}

#[test]
fn the_components_of_a_flow_are_ready_in_time_or_it_is_a_timeout() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let bundle = Arc::new(Bundle::open(folder.path()).unwrap());
    // Compiled anew, which takes longer than a millisecond on any machine.
    let host = TestHost::configured(&policy("", ""), &[], |builder| {
        builder.compiled_code(skillhost::CompiledCode::nowhere()).keep_warm(true).bundle(bundle)
    });
    let mut session = Session::new(&host.host, Settings::default());
    let mut ask = |timeout_ms: u64| {
        let request = json!({ "action": "invoke", "kind": "flow", "handler": "twice", "event": {}, "meta": { "timeout_ms": timeout_ms } });
        session.answer(request.to_string().as_bytes()).to_json()
    };
    let late = ask(1);
    assert_eq!(late["error"]["details"]["code"], "DEADLINE", "{late:#}");
    assert!(late["error"]["message"].as_str().unwrap().contains("`text` was not ready"), "{late:#}");
    assert_eq!((&late["meta"]["exit_code"], &late["meta"]["fuel"]), (&json!(4), &json!(0)));
    let answer = ask(300_000);
    assert_eq!(answer["result"], json!({ "parts": ["a", "b"] }), "{answer:#}");
}
