//! Closed sockets: who asks for one, or for the addresses of a name, is told `access-denied`, live and in a replay, and nothing is reached.

use host_tests::{Guest, Run, TestHost, plan, policy, step, tree};
use serde_json::{Value, json};
use skillhost::lab::Recorded;
use skillhost::lab::replay::compare;
use skillhost::lab::suggest::suggest;
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::policy::{Policy, Why};
use skillhost::{PolicyDocument, RunOptions};
use wasmtime::component::Component;

use crate::verifier;

const CLOSED: &str = "sockets = \"closed\"";

/// Each tool asks for one thing and gives the error code's place in `error-code`, or 1000 where there is none.
fn asking() -> Vec<u8> {
    let core = r#"
        (import "wasi:sockets/instance-network@0.2.12" "instance-network" (func $network (result i32)))
        (import "wasi:sockets/network@0.2.12" "[resource-drop]network" (func $drop (param i32)))
        (import "wasi:sockets/tcp-create-socket@0.2.12" "create-tcp-socket" (func $tcp (param i32 i32)))
        (import "wasi:sockets/udp-create-socket@0.2.12" "create-udp-socket" (func $udp (param i32 i32)))
        (import "wasi:sockets/ip-name-lookup@0.2.12" "resolve-addresses" (func $resolve (param i32 i32 i32 i32)))
        (func $code (result i32)
          (select (i32.load8_u (i32.const 4)) (i32.const 1000) (i32.load8_u (i32.const 0))))
        (func (export "tcp") (result i32) (call $tcp (i32.const 0) (i32.const 0)) (call $code))
        (func (export "udp") (result i32) (call $udp (i32.const 1) (i32.const 0)) (call $code))
        (func (export "names") (result i32) (local $at i32)
          (local.set $at (call $network))
          (call $resolve (local.get $at) (i32.const 16) (i32.const 9) (i32.const 0))
          (call $drop (local.get $at))
          (call $code))
        (data (i32.const 16) "localhost")"#;
    Guest {
        imports: &[
            "wasi:sockets/network@0.2.12",
            "wasi:sockets/instance-network@0.2.12",
            "wasi:sockets/tcp-create-socket@0.2.12",
            "wasi:sockets/udp-create-socket@0.2.12",
            "wasi:sockets/ip-name-lookup@0.2.12",
        ],
        exports: "export tcp: func() -> u32; export udp: func() -> u32; export names: func() -> u32;",
        core,
    }
    .build()
}

fn all() -> Value {
    plan(["tcp", "udp", "names"].map(|tool| step(tool, &format!("guest.{tool}"), json!({}))))
}

fn asked() -> (TestHost, Run) {
    let host = TestHost::with(&policy("", CLOSED), &[("guest", &asking())]);
    let run = host.run(&all()).completed();
    (host, run)
}

#[test]
fn everything_is_refused_to_the_guest_recorded_and_replayed() {
    let (host, run) = asked();
    // The second of the error codes.
    let one = Outcome::Completed { output: json!(1) };
    assert!(run.report.steps.iter().all(|step| step.outcome.as_ref() == Some(&one)), "{:#?}", run.report);
    let calls: Vec<Value> =
        run.trace.of_kind("call").map(|call| json!([call["name"], call["params"], call["result"]])).collect();
    let denied = json!({"err": "access-denied"});
    assert_eq!(
        calls,
        [
            json!(["wasi:sockets/tcp-create-socket#create-tcp-socket", {"address-family": "ipv4"}, denied]),
            json!(["wasi:sockets/udp-create-socket#create-udp-socket", {"address-family": "ipv6"}, denied]),
            json!(["wasi:sockets/instance-network#instance-network", {}, {"ok": 0}]),
            json!(["wasi:sockets/ip-name-lookup#resolve-addresses", {"name": "localhost", "network": 0}, denied]),
            json!(["wasi:sockets/network#[resource-drop]network", {"self": 0}, {"ok": null}]),
        ]
    );
    host.replay_equals(&run);
    skillhost::trace::verify::verify(run.folder()).expect("the trace holds");
    let component = Component::new(&verifier::engine(), asking()).expect("it compiles");
    for step in run.trace.steps() {
        verifier::verify_compiled(&component, &run.trace, &step).unwrap_or_else(|error| panic!("{error:?}"));
    }
}

#[test]
fn two_runs_are_one_trace() {
    let ((_one, first), (_two, second)) = (asked(), asked());
    assert_eq!(first.bytes(), second.bytes());
}

#[test]
fn without_the_key_nothing_is_instantiated() {
    // A network is not a socket: it does not give them.
    let network = "network = [{ url = \"https://example.com/*\", methods = [\"GET\"] }]";
    for grant in ["", network] {
        let host = TestHost::with(&policy("", grant), &[("guest", &asking())]);
        // Nor does a run that only records denials: there is nothing to link the component with.
        for options in [RunOptions::default(), RunOptions { log_only: true, ..RunOptions::default() }] {
            let run = host.run_with(&all(), &options);
            assert_eq!(run.report.outcome, RunOutcome::Denied, "{:#?}", run.report);
            assert_eq!(run.trace.of_kind("step-begin").count() + run.trace.of_kind("call").count(), 0);
            assert!(tree::read(&host.workspace()).is_empty());
            let denial = &run.report.denials[0];
            assert_eq!((denial.why, denial.missing.len()), (Why::NeedsMissing, 1));
            assert_eq!((denial.missing[0].key, denial.missing[0].line.as_str()), ("sockets", CLOSED));
            assert!(denial.missing[0].because.starts_with("`guest` imports `wasi:sockets/"), "{denial:?}");
            assert!(denial.hint.contains(&format!("write `{CLOSED}` into grant 0")), "{denial:?}");
            host.replay_equals(&run);
        }
    }
}

/// A rule may still refuse what imports sockets: what a component is does not depend on its grant.
#[test]
fn rules_see_the_import_and_that_nothing_is_granted() {
    let named = policy("", CLOSED).replace("[limits]", "rules = \"r.cedar\"\n[limits]");
    for (condition, expected) in [
        ("resource.open_world", RunOutcome::Completed),
        ("!resource.open_world", RunOutcome::Denied),
        ("!context.granted.network", RunOutcome::Completed),
    ] {
        let rules =
            format!("@id(\"one\") permit (principal, action == Action::\"call\", resource) when {{ {condition} }};");
        let document = PolicyDocument::parse_with_rules(&named, &rules).expect("a policy");
        let host = TestHost::configured(&policy("", ""), &[("guest", &asking())], |builder| builder.policy(document));
        assert_eq!(host.run(&all()).report.outcome, expected, "{condition}");
    }
}

#[test]
fn the_lab_keeps_what_a_component_imports() {
    let (host, run) = asked();
    let recorded = Recorded::read(&host.host, &run.recorded()).expect("it is read");
    let suggestion = suggest(std::slice::from_ref(&recorded)).expect("a policy");
    assert!(suggestion.text.contains("\nsockets = \"closed\"\n"), "{}", suggestion.text);
    let without = Policy::parse(&policy("", "")).expect("a policy");
    assert_eq!(compare([&recorded], &without).denies, 3);
    // What imports none needs none, whatever it was granted.
    let host = TestHost::new(&policy("", CLOSED));
    let run = host.call("text.split", json!({"text": "a,b", "pattern": ","})).completed();
    let recorded = Recorded::read(&host.host, &run.recorded()).expect("it is read");
    assert!(!suggest(&[recorded]).expect("a policy").text.contains("sockets"));
}
