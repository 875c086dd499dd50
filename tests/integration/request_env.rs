//! `meta.env` of a request: told where a grant takes it from the request, denied where none does, the same in a replay.

use host_tests::{Guest, TestHost, guest, policy};
use serde_json::{Value, json};
use skillhost::protocol::{Session, Settings};

/// A guest that gives what `get-all` of its settings says, and one that gives its environment.
fn teller() -> Vec<u8> {
    let (store, environment) = ("wasi:config/store@0.2.0-rc.1", format!("wasi:cli/environment@{}", guest::WASI));
    let core = format!(
        r#"(import "{store}" "get-all" (func $all (param i32)))
           (import "{environment}" "get-environment" (func $env (param i32)))
           (func (export "settings") (result i32) (call $all (i32.const 16)) (i32.const 16))
           (func (export "variables") (result i32) (call $env (i32.const 16)) (i32.const 16))"#
    );
    let exports = format!(
        "use {store}.{{error}};
         export settings: func() -> result<list<tuple<string, string>>, error>;
         export variables: func() -> list<tuple<string, string>>;"
    );
    Guest { imports: &[store, &environment], exports: &exports, core: &core }.build()
}

const GRANT: &str = r#"env = { CITY = { request = "CITY" }, LANG = { request = "LANG", default = "C" }, TZ = "UTC" }
config = { city = { request = "CITY", default = "nowhere" } }"#;

fn ask(host: &TestHost, tool: &str, env: &Value, more: &Value) -> Value {
    let mut meta = json!({ "env": env });
    meta.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let request = json!({ "action": "invoke", "handler": format!("guest.{tool}"), "event": {}, "meta": meta });
    let settings = Settings { record_all: true, ..Settings::default() };
    Session::new(&host.host, settings).answer(request.to_string().as_bytes()).to_json()
}

#[test]
fn a_guest_is_told_what_the_request_says_where_its_grant_takes_it() {
    let host = TestHost::with(&policy("", GRANT), &[("guest", &teller())]);
    for (tool, env, result) in [
        ("variables", json!({}), json!([["LANG", "C"], ["TZ", "UTC"]])),
        ("variables", json!({ "CITY": "Turin" }), json!([["CITY", "Turin"], ["LANG", "C"], ["TZ", "UTC"]])),
        ("variables", json!({ "LANG": "" }), json!([["LANG", ""], ["TZ", "UTC"]])),
        ("settings", json!({}), json!([["city", "nowhere"]])),
        ("settings", json!({ "CITY": "Turin", "LANG": "it" }), json!([["city", "Turin"]])),
    ] {
        let answer = ask(&host, tool, &env, &Value::Null);
        assert_eq!(answer["result"], result, "{answer:#}");
        let run = host.host.store().find(answer["meta"]["run"].as_str().unwrap()).unwrap();
        assert_eq!(host.host.replay(&run, &Default::default()).unwrap().divergence, None, "nobody says it there");
    }
}

#[test]
fn what_no_grant_takes_is_denied() {
    let host = TestHost::with(&policy("", GRANT), &[("guest", &teller())]);
    let refused = |host: &TestHost, name: &str| {
        let answer = ask(host, "variables", &json!({ name: "x" }), &Value::Null);
        assert_eq!(answer["meta"]["exit_code"], 11, "{answer:#}");
        let details = &answer["error"]["details"];
        assert_eq!(
            (&details["code"], &details["pointer"]),
            (&json!("CAPABILITY_DENIED"), &json!(format!("/meta/env/{name}")))
        );
        answer["error"]["hint"].as_str().unwrap().to_owned()
    };
    // What the policy says itself is no request's affair.
    assert_eq!(refused(&host, "TZ"), "taken are `CITY`, `LANG`");
    assert!(refused(&host, "CITTY").contains("`CITY`"));
    let host = TestHost::with(&policy("", ""), &[("guest", &teller())]);
    assert!(refused(&host, "CITY").contains(r#"env = { NAME = { request = "NAME" } }"#));
}

#[test]
fn a_request_with_another_environment_is_another_request() {
    let host = TestHost::with(&policy("", GRANT), &[("guest", &teller())]);
    let key = json!({ "idempotency_key": "k" });
    let asked = |city: &str| ask(&host, "variables", &json!({ "CITY": city }), &key);
    let first = asked("Turin");
    assert_eq!(first["ok"], true, "{first:#}");
    assert_eq!(asked("Turin")["meta"]["from_record"], true);
    assert_eq!(asked("Rome")["error"]["details"]["code"], "IDEMPOTENCY_KEY_REUSED");
}
