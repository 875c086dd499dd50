//! The JSON protocol over what a bundle exports: names and aliases, what an export gives, whose fault it is where something fails, and a folder
//! that is not where it was.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use host_tests::{Guest, TestHost, policy, repo};
use serde_json::{Value, json};
use skillhost::bundle::{Bundle, verify};
use skillhost::protocol::{Session, Settings};

const MANIFEST: &str = r#"
schema = "skillhost.bundle/1"
name = "demo"
version = "1.0.0"
package = "skillhost:skill@0.1.0"
"#;

const EXPORTS: [(&str, &str, &str, &str); 13] = [
    ("tool", "who", "tool = \"web.who\"", "{\"type\":\"string\"}"),
    ("tool", "any", "tool = \"web.name\"", "{}"),
    ("tool", "always", "tool = \"web.name\"", "true"),
    ("tool", "long", "tool = \"web.name\"", "{\"minLength\":100}"),
    ("tool", "lost", "tool = \"web.nothing\"", ""),
    ("tool", "junk", "tool = \"junk.run\"", ""),
    ("router", "route", "tool = \"web.who\"", "{\"enum\":[\"billing\"]}"),
    ("flow", "hello", "plan = \"plans/hello.json\"\nrisk = \"low\"", ""),
    ("flow", "narrow", "plan = \"plans/hello.json\"", "{\"required\":[\"parting\"]}"),
    ("flow", "undo", "plan = \"plans/undo.json\"", ""),
    ("flow", "trap", "plan = \"plans/trap.json\"", ""),
    ("flow", "outside", "plan = \"plans/outside.json\"", ""),
    ("flow", "broken", "plan = \"plans/broken.json\"", ""),
];

/// Gives a name, or traps.
fn web() -> Vec<u8> {
    let core = r#"
        (data (i32.const 16) "billing")
        (func (export "name") (result i32)
          (i32.store (i32.const 512) (i32.const 16)) (i32.store (i32.const 516) (i32.const 7)) (i32.const 512))
        (func (export "trap") unreachable)"#;
    Guest { imports: &[], exports: "export name: func() -> string; export trap: func();", core }.build()
}

fn make(root: &Path) {
    for folder in ["skills", "plans", "schemas"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let mut manifest = MANIFEST.to_owned();
    for (kind, name, rest, schema) in EXPORTS {
        manifest = format!("{manifest}[[export]]\nkind = \"{kind}\"\nname = \"{name}\"\n{rest}\n");
        if !schema.is_empty() {
            let file = format!("schemas/{name}.json");
            manifest = format!("{manifest}output_schema = \"{file}\"\n");
            fs::write(root.join(file), schema).unwrap();
        }
    }
    fs::write(root.join("bundle.toml"), manifest).unwrap();
    fs::write(root.join("skills/web.wasm"), web()).unwrap();
    fs::write(root.join("skills/junk.wasm"), "not wasm").unwrap();
    fs::write(root.join("skills/text.wasm"), repo::component("text")).unwrap();
    let about = "schema = \"skillhost.skill/1\"\nname = \"web\"\nversion = \"1.0.0\"\n[tools.name]\naliases = [\"who\"]\nrisk = \"low\"\n";
    fs::write(root.join("skills/web.toml"), about).unwrap();
    let replace =
        json!({ "text": "Hello, NAME!", "pattern": "NAME", "replacement": "{{inputs.name}}", "literal": true });
    let plan = |name: &str, more: Value| {
        let mut plan = json!({ "schema": "skillhost.plan/1", "name": name });
        plan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fs::write(root.join(format!("plans/{name}.json")), plan.to_string()).unwrap();
    };
    plan(
        "hello",
        json!({
            "inputs": { "name": "world" }, "steps": [{ "id": "greet", "tool": "text.replace", "input": replace }],
            "output": { "greeting": "{{steps.greet.text}}" },
        }),
    );
    let trap = json!({ "id": "b", "tool": "web.trap", "input": {} });
    let undone =
        json!({ "id": "a", "tool": "web.name", "input": {}, "compensate": { "tool": "web.trap", "input": {} } });
    plan("undo", json!({ "on_failure": "rollback", "steps": [undone, trap], "output": {} }));
    plan("trap", json!({ "steps": [trap], "output": {} }));
    let query = json!({ "id": "a", "tool": "json.query", "input": { "text": "1", "filter": "." } });
    plan("outside", json!({ "steps": [query], "output": {} }));
    fs::write(root.join("plans/broken.json"), "{ \"schema\": }").unwrap();
}

struct Demo {
    folder: tempfile::TempDir,
    host: TestHost,
}

impl Demo {
    fn new() -> Self {
        Self::with("")
    }

    /// With more lines of its manifest.
    fn with(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("demo");
        make(&root);
        let manifest = fs::read_to_string(root.join("bundle.toml")).unwrap();
        fs::write(root.join("bundle.toml"), manifest + lines).unwrap();
        let bundle = Arc::new(Bundle::open(root).unwrap());
        let host = TestHost::configured(&policy("", ""), &[], |builder| builder.keep_warm(true).bundle(bundle));
        Self { folder, host }
    }

    fn ask(&self, request: &Value) -> Value {
        Session::new(&self.host.host, Settings::default()).answer(request.to_string().as_bytes()).to_json()
    }

    fn invoke(&self, kind: &str, handler: &str, event: &Value) -> Value {
        self.ask(&json!({ "action": "invoke", "kind": kind, "handler": handler, "event": event }))
    }
}

fn code(answer: &Value) -> (&str, u64) {
    let exit = answer["meta"]["exit_code"].as_u64().unwrap();
    (answer["error"]["details"]["code"].as_str().unwrap_or("ok"), exit)
}

/// The answer of a run that failed and could not be taken back.
pub(crate) fn provoked() -> Vec<Value> {
    vec![Demo::new().invoke("flow", "undo", &json!({}))]
}

#[test]
fn an_alias_is_a_name_of_its_tool() {
    let demo = Demo::new();
    assert_eq!(demo.invoke("tool", "who", &json!({}))["result"], "billing");
    let executed = demo.ask(&json!({ "action": "execute", "handler": "web.who", "event": {} }));
    assert_eq!(executed["result"], "billing", "{executed:#}");
    // The trace says how it was named, and the policy is asked for the tool.
    let about =
        "schema = \"skillhost.skill/1\"\nname = \"web\"\nversion = \"1.0.0\"\n[tools.name]\naliases = [\"who\"]\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.wasm"), web()).unwrap();
    fs::write(folder.path().join("web.toml"), about).unwrap();
    let granted =
        "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"web\"]\ntools = [\"name\"]\napproval = \"never\"\n";
    let host = TestHost::configured(granted, &[], |builder| {
        builder.skill("web".parse().unwrap(), skillhost::skills::SkillBytes::File(folder.path().join("web.wasm")))
    });
    let kept = Settings { record_all: true, ..Settings::default() };
    let request = json!({ "action": "invoke", "handler": "web.who", "meta": { "capabilities": { "network": false } } });
    let answer = Session::new(&host.host, kept).answer(request.to_string().as_bytes()).to_json();
    assert_eq!(answer["result"], "billing", "{answer:#}");
    let run = host.host.store().find(answer["meta"]["run"].as_str().unwrap()).unwrap();
    let trace = fs::read_to_string(run.path().join("trace.jsonl")).unwrap();
    assert!(trace.contains("\"resolved_from\":\"web.who\""), "{trace}");
}

#[test]
fn an_output_schema_is_held_against_the_value_that_is_given() {
    let demo = Demo::new();
    for name in ["who", "any", "always"] {
        assert_eq!(demo.invoke("tool", name, &json!({}))["result"], "billing", "{name}");
    }
    assert_eq!(code(&demo.invoke("tool", "long", &json!({}))), ("OUTPUT_DRIFT", 7));
    let narrow = demo.invoke("flow", "narrow", &json!({}));
    assert_eq!(code(&narrow), ("OUTPUT_DRIFT", 7));
    assert!(narrow["error"]["message"].as_str().unwrap().contains("`parting`"), "{narrow:#}");
}

#[test]
fn a_router_may_give_the_bare_name() {
    let demo = Demo::new();
    assert_eq!(demo.invoke("router", "route", &json!({}))["result"], json!({ "route": "billing" }));
    let bundle = Bundle::open(demo.folder.path().join("demo")).unwrap();
    let verified = verify(&bundle, &demo.host.host).unwrap();
    assert!(verified.problems.iter().all(|problem| problem.code != "not-an-object"), "{:?}", verified.problems);
    // What is not pinned is told, with the lines that pin it.
    let pin = format!("web = \"{}\"", bundle.snapshot.entries["skills/web.wasm"].digest);
    assert!(verified.warnings.contains(&pin) && verified.warnings.contains(&"[requires]".to_owned()), "{verified:?}");
}

#[test]
fn what_is_not_pinned_is_not_run_where_pins_are() {
    let open = Demo::new();
    assert_eq!(code(&open.invoke("flow", "outside", &json!({}))), ("ok", 0));
    let bundle = Bundle::open(open.folder.path().join("demo")).unwrap();
    let pins = verify(&bundle, &open.host.host).unwrap().warnings.split_off(1).join("\n");
    let pinned = Demo::with(&pins);
    assert_eq!(code(&pinned.invoke("flow", "hello", &json!({}))), ("ok", 0));
    let outside = pinned.invoke("flow", "outside", &json!({}));
    assert_eq!(code(&outside), ("BUNDLE_INVALID", 3), "{outside:#}");
    assert!(outside["error"]["message"].as_str().unwrap().contains("does not list the skill `json`"), "{outside:#}");
}

#[test]
fn a_skill_that_cannot_be_read_is_told_with_its_file() {
    let demo = Demo::new();
    let junk = demo.invoke("tool", "junk", &json!({}));
    assert_eq!(code(&junk), ("SKILL_INVALID", 3));
    assert!(junk["error"]["message"].as_str().unwrap().contains("skills/junk.wasm"), "{junk:#}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.wasm"), web()).unwrap();
    fs::write(folder.path().join("skill.toml"), "x = ").unwrap();
    let host = TestHost::configured(&policy("", ""), &[], |builder| {
        builder.skill("web".parse().unwrap(), skillhost::skills::SkillBytes::File(folder.path().join("web.wasm")))
    });
    let request = json!({ "action": "invoke", "handler": "web.name" }).to_string();
    let answer = Session::new(&host.host, Settings::default()).answer(request.as_bytes()).to_json();
    assert!(answer["error"]["message"].as_str().unwrap().contains("/skill.toml`: "), "{answer:#}");
}

#[test]
fn a_run_that_is_not_taken_back_says_what_is_left() {
    let answer = provoked().remove(0);
    assert_eq!((code(&answer), &answer["http_status"]), (("ROLLBACK_INCOMPLETE", 21), &json!(500)));
    let details = &answer["error"]["details"];
    assert_eq!((&answer["error"]["code"], &details["exception_type"]), (&json!("INTERNAL"), &json!("trap")));
    assert_eq!(details["rollback"]["left"].as_array().map(Vec::len), Some(1), "{answer:#}");
}

#[test]
fn a_bad_event_of_a_flow_is_no_fault_of_its_plan() {
    let demo = Demo::new();
    assert_eq!(demo.invoke("flow", "hello", &json!({ "name": "you" }))["result"]["greeting"], "Hello, you!");
    let wrong = demo.invoke("flow", "hello", &json!({ "name": 5 }));
    assert_eq!(code(&wrong), ("PARAM_INVALID", 6), "{wrong:#}");
    assert_eq!(wrong["error"]["details"]["problems"][0]["pointer"], "/inputs/name");
    let broken = demo.invoke("flow", "broken", &json!({ "name": 5 }));
    assert_eq!(code(&broken), ("PLAN_INVALID", 2), "{broken:#}");
    // A line is no place without its file.
    assert!(broken["error"]["message"].as_str().unwrap().contains("plans/broken.json"), "{broken:#}");
}

#[test]
fn where_in_a_flow_it_failed_is_told_with_the_component() {
    let demo = Demo::new();
    let answer = demo.invoke("flow", "trap", &json!({}));
    let location = &answer["error"]["details"]["location"];
    assert_eq!(location["component"], skillhost::id::Digest::of(&web()).to_string(), "{answer:#}");
    assert_eq!(location["step"], "b");
}

#[test]
fn a_folder_that_is_not_what_it_was_is_told_as_that_until_it_is() {
    let demo = Demo::new();
    let root = demo.folder.path().join("demo");
    let mut session = Session::new(&demo.host.host, Settings::default());
    let mut ask = |expected: &str| {
        let request = json!({ "action": "invoke", "kind": "tool", "handler": "who" }).to_string();
        let answer = session.answer(request.as_bytes()).to_json();
        assert_eq!(code(&answer).0, expected, "{answer:#}");
        let flow = json!({ "action": "invoke", "kind": "flow", "handler": "hello" }).to_string();
        assert_eq!(code(&session.answer(flow.as_bytes()).to_json()).0, expected);
        assert_eq!(code(&session.answer(br#"{"action":"describe"}"#).to_json()).0, expected);
    };
    ask("ok");
    let (component, away) = (root.join("skills/web.wasm"), root.join("skills/other.wasm"));
    fs::rename(&component, &away).unwrap();
    ask("BUNDLE_CHANGED");
    fs::rename(&away, &component).unwrap();
    ask("ok");
    let elsewhere = demo.folder.path().join("elsewhere");
    fs::rename(&root, &elsewhere).unwrap();
    ask("BUNDLE_NOT_FOUND");
    fs::rename(&elsewhere, &root).unwrap();
    ask("ok");
}

#[test]
fn describe_tells_what_cannot_be_called_and_why() {
    let demo = Demo::new();
    let described = demo.ask(&json!({ "action": "describe" }));
    let exports = described["result"]["exports"].as_array().unwrap();
    let export = |name: &str| exports.iter().find(|export| export["name"] == name).unwrap();
    for (name, said) in [("lost", "no tool `nothing`"), ("junk", "junk"), ("broken", "plans/broken.json")] {
        assert_eq!(export(name)["granted"], false, "{name}");
        assert!(export(name)["problem"]["message"].as_str().unwrap().contains(said), "{:#}", export(name));
    }
    let who = export("who");
    assert_eq!((&who["risk"], &who["aliases"], &who["needs"]), (&json!("low"), &json!(["web.who"]), &Value::Null));
    assert_eq!((who["granted"].clone(), who.get("problem")), (json!(true), None));
    let hello = export("hello");
    assert_eq!(hello["input_schema"]["properties"], json!({ "name": { "default": "world" } }));
    assert_eq!((&hello["risk"], &hello["granted"]), (&json!("low"), &json!(true)));
}

#[test]
fn without_a_bundle_a_skill_that_cannot_be_loaded_hides_no_other() {
    let odd = host_tests::guest::component(
        r#"(component
        (import "wasi:nn/graph@0.2.0" (instance (export "graph" (type (sub resource)))))
        (core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func (export "run") (canon lift (core func $i "run"))))"#,
    );
    let host = TestHost::with(&policy("", ""), &[("junk", b"not wasm"), ("odd", &odd)]);
    let ask =
        |request: Value| Session::new(&host.host, Settings::default()).answer(request.to_string().as_bytes()).to_json();
    let described = ask(json!({ "action": "describe" }));
    let exports = described["result"]["exports"].as_array().unwrap();
    let export = |name: &str| exports.iter().find(|export| export["name"] == name).unwrap();
    for (name, code) in [("junk", "component-"), ("odd.run", "import-not-provided")] {
        assert_eq!(export(name)["granted"], false, "{:#}", export(name));
        assert!(export(name)["problem"]["code"].as_str().unwrap().starts_with(code), "{:#}", export(name));
    }
    let tools = described["result"]["tools"].as_array().unwrap();
    assert!(tools.contains(&json!("text.split")) && !tools.contains(&json!("junk")));
    assert!(export("files.write-text")["needs"]["filesystem"].is_string(), "{:#}", export("files.write-text"));
    let one = ask(json!({ "action": "describe", "handler": "junk.run" }));
    assert_eq!(one["result"]["exports"][0]["name"], "junk", "{one:#}");
}

#[test]
fn a_near_miss_is_told_and_not_taken() {
    let demo = Demo::new();
    let plain = TestHost::new(&policy("", ""));
    let invoke = |handler: &str| {
        let request = json!({ "action": "invoke", "handler": handler, "event": {} }).to_string();
        Session::new(&plain.host, Settings::default()).answer(request.as_bytes()).to_json()
    };
    for (answer, expected, hint) in [
        (invoke("text.splitt"), "HANDLER_NOT_FOUND", "did you mean `text.split`?"),
        (invoke("texts.split"), "SKILL_NOT_FOUND", "did you mean `text`?"),
        (demo.invoke("tool", "whoo", &json!({})), "HANDLER_NOT_FOUND", "did you mean `who`?"),
        (
            demo.invoke("tool", "hello", &json!({})),
            "HANDLER_NOT_FOUND",
            "it is of the kind `flow`: send `\"kind\": \"flow\"`",
        ),
    ] {
        assert_eq!((code(&answer), &answer["error"]["hint"]), ((expected, 5), &json!(hint)), "{answer:#}");
    }
    // Without a handler `execute` looks for the default one.
    for answer in [
        demo.ask(&json!({ "action": "execute" })),
        Session::new(&plain.host, Settings::default()).answer(br#"{"action":"execute"}"#).to_json(),
        Session::new(&plain.host, Settings::default()).answer(br#"{"action":"invoke","kind":"http"}"#).to_json(),
    ] {
        assert_eq!((code(&answer), &answer["http_status"]), (("HANDLER_NOT_FOUND", 5), &json!(404)), "{answer:#}");
    }
}

#[test]
fn the_time_that_a_call_can_take_is_told() {
    let limited = TestHost::new(&policy("deadline_ms = 1_500", ""));
    let asked = |ms: u64| {
        let request = json!({ "action": "invoke", "handler": "text.split", "event": { "text": "a", "pattern": "," }, "meta": { "timeout_ms": ms } });
        let answer = Session::new(&limited.host, Settings::default()).answer(request.to_string().as_bytes()).to_json();
        assert_eq!(answer["ok"], true, "{answer:#}");
        answer["meta"]["timeout_ms"].clone()
    };
    assert_eq!((asked(1_000), asked(20_000)), (json!(1_000), json!(1_500)));
    let demo = Demo::new();
    assert_eq!(demo.invoke("flow", "hello", &json!({}))["meta"]["timeout_ms"], 30_000);
    assert_eq!(demo.ask(&json!({ "action": "describe" }))["meta"].get("timeout_ms"), None);
}
