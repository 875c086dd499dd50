//! `wasi:config/store`: what the grant's `config` lists, recorded like any other call, replayed, and seen by the policy lab.

use host_tests::test_host::Run;
use host_tests::{Guest, TestHost, policy};
use serde_json::{Value, json};
use skillhost::lab::Recorded;
use skillhost::lab::replay::compare;
use skillhost::lab::suggest::suggest;
use skillhost::policy::{Policy, Verdict};

const GRANT: &str = r#"config = { city = "Turin", api_key = { secret = "API_KEY" }, unused = "x" }"#;
const SECRET: &str = "[secrets]\nAPI_KEY = { env = \"API_KEY\" }";

/// A guest that hands out what it is told.
fn guest(version: &str) -> Vec<u8> {
    let store = format!("wasi:config/store@{version}");
    let core = format!(
        r#"(import "{store}" "get" (func $get (param i32 i32 i32)))
           (import "{store}" "get-all" (func $all (param i32)))
           (func (export "one") (param i32 i32) (result i32) (call $get (local.get 0) (local.get 1) (i32.const 16)) (i32.const 16))
           (func (export "all") (result i32) (call $all (i32.const 16)) (i32.const 16))"#
    );
    let exports = format!(
        "use {store}.{{error}};
         export one: func(key: string) -> result<option<string>, error>;
         export all: func() -> result<list<tuple<string, string>>, error>;"
    );
    Guest { imports: &[&store], exports: &exports, core: &core }.build()
}

fn host(version: &str, grant: &str) -> TestHost {
    TestHost::with(&policy("", grant), &[("guest", &guest(version))])
}

fn one(host: &TestHost, key: &str) -> Value {
    let run = host.call("guest.one", json!({"key": key})).completed();
    host.replay_equals(&run);
    run.output().clone()
}

#[test]
fn a_guest_is_told_what_the_grant_lists() {
    for version in ["0.2.0-draft", "0.2.0-rc.1"] {
        let grant = "config = { city = \"Turin\", \"Ort\" = \"\" }";
        let host = host(version, grant);
        assert_eq!(one(&host, "city"), json!("Turin"));
        assert_eq!(one(&host, "Ort"), json!(""));
        assert_eq!(one(&host, "CITY"), Value::Null);
        let run = host.call("guest.all", json!({})).completed();
        assert_eq!(run.output(), &json!([["Ort", ""], ["city", "Turin"]]));
        assert_eq!(run.trace.called(), ["wasi:config/store#get-all"]);
        host.replay_equals(&run);
    }
}

#[test]
fn without_a_grant_no_setting_is_there() {
    let host = host("0.2.0-draft", "");
    assert_eq!(one(&host, "PATH"), Value::Null);
    assert_eq!(host.call("guest.all", json!({})).completed().output(), &json!([]));
}

fn recorded(host: &TestHost, run: &Run) -> Recorded {
    Recorded::read(&host.host, &run.recorded()).expect("it is read")
}

#[test]
fn a_secret_is_a_placeholder_and_the_lab_sees_what_was_used() {
    let text = policy("", GRANT).replacen("[limits]", &format!("{SECRET}\n[limits]"), 1);
    let host = TestHost::configured(&text, &[("guest", &guest("0.2.0-draft"))], |builder| {
        let policy = Policy::parse(&text).expect("a policy");
        builder.secrets(skillhost::Secrets::read(&policy, |_| Some("topsecret".into())).expect("secrets"))
    });
    let run = host.call("guest.one", json!({"key": "api_key"})).completed();
    assert_eq!(run.output(), &json!("skillhost-secret-API_KEY"));
    assert!(!run.bytes().contains("topsecret"));
    let recorded = recorded(&host, &run);
    let suggestion = suggest(std::slice::from_ref(&recorded)).expect("a policy").text;
    assert!(suggestion.contains("config = { api_key = { secret = \"API_KEY\" } }\n"), "{suggestion}");
    let comparison = compare([&recorded], &Policy::parse(&suggestion).expect("a policy"));
    assert_eq!(comparison.denies, 0, "{:#?}", comparison.findings);
    let comparison = compare([&recorded], &Policy::parse(&policy("", "")).expect("a policy"));
    assert_eq!(comparison.findings.len(), 1);
    assert_eq!(comparison.findings[0].what, "the setting `api_key`");
}

#[test]
fn what_a_grant_tells_is_explained() {
    let host = host("0.2.0-draft", "config = { city = \"Turin\" }");
    let plan = host_tests::plan([host_tests::step("it", "guest.one", json!({"key": "city"}))]);
    let explained = host.host.explain(&host.document(&plan)).expect("it is read").expect("a plan");
    let Verdict::Allowed(allowed) = &explained[0].verdict else { panic!("{explained:?}") };
    assert_eq!((&allowed.config[..], &allowed.notes[..]), (&["city".to_owned()][..], &[][..]));
    assert!(explained[0].to_string().contains("  config: city\n"));
}
