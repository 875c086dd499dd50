//! Whether a step runs at all, how often it is tried, and what its output has to be: all of it in the trace, and the same in a replay.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use host_tests::plan::READ_WRITE;
use host_tests::{Guest, Run, TestHost, plan, policy, step, tree};
use serde_json::{Value, json};
use skillhost::clock::Stopwatch;
use skillhost::flow::backoff::wait_ms;
use skillhost::limits::LimitKind;
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::plan::{Retry, RetryOn};
use skillhost::policy::Why;
use skillhost::sandbox::CancelToken;
use skillhost::{HostEvent, RunOptions};

/// Steps may be tried so often.
fn tries(attempts: u32, limits: &str) -> String {
    policy(limits, READ_WRITE).replace("[limits]", &format!("[run]\nattempts = {attempts}\n[limits]"))
}

fn with(mut step: Value, key: &str, value: Value) -> Value {
    step[key] = value;
    step
}

fn retry(step: Value, attempts: u32, on: &[&str]) -> Value {
    with(step, "retry", json!({"attempts": attempts, "backoff_ms": 10, "on": on}))
}

fn attempts(run: &Run) -> Vec<u64> {
    run.trace.of_kind("step-begin").map(|begin| begin["attempt"].as_u64().unwrap()).collect()
}

fn whats<'r>(run: &'r Run, kind: &'r str) -> Vec<&'r Value> {
    run.trace.of_kind(kind).map(|event| &event["what"]).collect()
}

/// A step that writes what `in` holds to `out` and is satisfied with three bytes. After each of its attempts `in` is one byte longer.
/// Gives whether `out` was there then.
fn grows(attempts: u32) -> (TestHost, Value, Arc<Mutex<Vec<bool>>>) {
    let (workspace, seen): (Arc<OnceLock<PathBuf>>, Arc<Mutex<Vec<bool>>>) = Default::default();
    let (at, sees) = (Arc::clone(&workspace), Arc::clone(&seen));
    let host = TestHost::configured(&tries(attempts, ""), &[], |builder| {
        builder.observer(move |event: &HostEvent<'_>| {
            if let HostEvent::StepEnd { .. } = event {
                let folder = at.get().unwrap();
                sees.lock().unwrap().push(folder.join("out").exists());
                let grown = std::fs::read_to_string(folder.join("in")).unwrap() + "x";
                std::fs::write(folder.join("in"), grown).unwrap();
            }
        })
    });
    host.write("in", "x");
    workspace.set(host.workspace()).unwrap();
    let copies = json!({"sources": ["/workspace/in"], "output": "/workspace/out"});
    let three = json!({"properties": {"bytes": {"minimum": 3}}});
    let step = with(step("grows", "files.concat", copies), "expect", json!({"kind": "json", "schema": three}));
    (host, with(plan([retry(step, 3, &["failed"])]), "seed", json!(5)), seen)
}

#[test]
fn a_step_that_fails_twice_and_then_completes_has_completed() {
    let watch = Stopwatch::start();
    let (host, plan, seen) = grows(3);
    let run = host.run(&plan).completed();
    let took = watch.elapsed();
    assert_eq!(attempts(&run), [1, 2, 3]);
    assert_eq!((run.report.steps[0].attempts, run.output()["bytes"].clone()), (3, json!(3)));
    assert_eq!(std::fs::read_to_string(host.workspace().join("out")).unwrap(), "xxx");
    // What an attempt that failed has written is there for nobody.
    assert_eq!(*seen.lock().unwrap(), [false, false, true]);
    assert_eq!(run.trace.of_kind("undone").count(), 2);
    let plan_says = Retry { attempts: 3, backoff_ms: 10, on: vec![RetryOn::Failed] };
    let waits = [2, 3].map(|attempt| wait_ms(&plan_says, 5, &"grows".parse().unwrap(), attempt));
    assert!((10..=15).contains(&waits[0]) && (20..=30).contains(&waits[1]), "{waits:?}");
    let retries = whats(&run, "retry");
    let noted = |at: usize| json!({"attempt": at + 2, "because": "failed", "wait_ms": waits[at]});
    assert_eq!(retries, [&noted(0), &noted(1)]);
    assert!(took >= Duration::from_millis(waits.iter().sum()), "{took:?}");
    host.replay_equals(&run);
    // When it ran is nowhere in the trace.
    let (host, plan, _) = grows(3);
    assert_eq!(host.run(&plan).completed().bytes(), run.bytes());
}

#[test]
fn no_step_is_tried_more_often_than_plan_and_policy_say() {
    let none = step("none", "files.read-text", json!({"path": "/workspace/none"}));
    let host = TestHost::new(&tries(3, ""));
    let run = host.run(&plan([retry(none.clone(), 2, &["failed"])]));
    assert_eq!((run.report.outcome, attempts(&run)), (RunOutcome::Failed, vec![1, 2]), "{:#?}", run.report);
    host.replay_equals(&run);
    let host = TestHost::new(&tries(2, ""));
    let denied = host.run(&plan([
        step("first", "files.exists", json!({"path": "/workspace"})),
        retry(none.clone(), 3, &["failed"]),
    ]));
    assert_eq!((denied.report.outcome, attempts(&denied).len()), (RunOutcome::Denied, 0));
    let [denial] = &denied.report.denials[..] else { panic!("{:#?}", denied.report) };
    assert_eq!((denial.step.as_str(), denial.why), ("none", Why::Budget));
    assert_eq!(denial.reason, "the step asks for 3 attempts, and the policy lets a step have 2");
    host.replay_equals(&denied);
    // A policy that says nothing of it lets nothing be tried again.
    let silent = TestHost::new(&policy("", READ_WRITE)).run(&plan([retry(none, 2, &["failed"])]));
    assert_eq!(silent.report.outcome, RunOutcome::Denied);
}

/// A tool that traps, one that computes for ever, one that fails.
fn ends() -> Vec<u8> {
    let core = r#"
        (func (export "traps") unreachable)
        (func (export "spins") (loop (br 0)))"#;
    Guest { imports: &[], exports: "export traps: func(); export spins: func();", core }.build()
}

#[test]
fn only_the_kinds_that_a_plan_lists_are_tried_again() {
    let ends = ends();
    for (tool, limits, on, times) in [
        ("files.read-text", "", &["failed"][..], 2),
        ("files.read-text", "", &["trapped", "deadline"], 1),
        ("ends.traps", "", &["trapped"], 2),
        ("ends.traps", "", &["failed", "deadline"], 1),
        ("ends.spins", "deadline_ms = 30\nfuel = 9_007_199_254_740_991", &["deadline"], 2),
        ("ends.spins", "deadline_ms = 30\nfuel = 9_007_199_254_740_991", &["failed", "trapped"], 1),
        // That would end in the same way.
        ("ends.spins", "fuel = 100_000", &["failed", "trapped", "deadline"], 1),
    ] {
        let host = TestHost::with(&tries(5, limits), &[("ends", &ends)]);
        let input = if tool == "files.read-text" { json!({"path": "/workspace/none"}) } else { json!({}) };
        let run = host.run(&plan([retry(step("it", tool, input), 2, on)]));
        assert_eq!((run.report.outcome, attempts(&run).len()), (RunOutcome::Failed, times), "{tool} {on:?}");
        if let (2, Some(retry)) = (times, whats(&run, "retry").first()) {
            assert_eq!(retry["because"], on[0]);
        }
        if limits.starts_with("fuel") {
            assert!(matches!(run.outcome(), Outcome::LimitExceeded { limit: LimitKind::Fuel, .. }));
        }
        host.replay_equals(&run);
    }
}

#[test]
fn what_is_taken_back_has_been_tried_as_often_as_the_plan_says() {
    let host = TestHost::new(&tries(3, ""));
    host.write("a", "a");
    let before = tree::read(&host.workspace());
    let writes = step("writes", "files.write-text", json!({"path": "/workspace/a", "text": "b"}));
    let none = step("none", "files.read-text", json!({"path": "/workspace/none"}));
    let run = host.run(&with(plan([writes, retry(none, 3, &["failed"])]), "on_failure", json!("rollback")));
    assert_eq!((run.report.outcome, attempts(&run)), (RunOutcome::RolledBack, vec![1, 1, 2, 3]));
    assert_eq!(tree::read(&host.workspace()), before);
    host.replay_equals(&run);
}

#[test]
fn a_run_that_is_cancelled_is_taken_back_and_its_replay_is_the_same() {
    let cancel = CancelToken::new();
    let cancels = cancel.clone();
    let host = TestHost::configured(&policy("", READ_WRITE), &[], |builder| {
        builder.observer(move |event: &HostEvent<'_>| {
            if matches!(event, HostEvent::StepEnd { .. }) {
                cancels.cancel();
            }
        })
    });
    let write = |id: &str| step(id, "files.write-text", json!({"path": format!("/workspace/{id}"), "text": "b"}));
    let plan = with(plan([write("first"), write("second")]), "on_failure", json!("rollback"));
    let run = host.run_with(&plan, &RunOptions { cancel, ..RunOptions::default() });
    assert_eq!(run.report.outcome, RunOutcome::RolledBack, "{:#?}", run.report);
    assert_eq!(run.report.rollback.as_ref().unwrap().because, "the run was cancelled");
    assert!(tree::read(&host.workspace()).is_empty());
    host.replay_equals(&run);
}

#[test]
fn a_step_whose_condition_does_not_hold_is_skipped_with_its_reason() {
    let host = TestHost::new(&policy("", READ_WRITE));
    let write =
        |id: &str, text: &str| step(id, "files.write-text", json!({"path": format!("/workspace/{id}"), "text": text}));
    let count = step("count", "text.split", json!({"text": "a b c", "pattern": " "}));
    let condition = |op: &str, to: Value| {
        let mut condition = json!({"value": "{{steps.size.bytes}}"});
        condition[op] = to;
        condition
    };
    let run = host
        .run(&with(
            plan([
                count,
                write("size", "four"),
                with(write("more", "1"), "when", condition("more_than", json!(4))),
                with(
                    write("exact", "2"),
                    "when",
                    json!([condition("at_least", json!(4)), condition("is", json!(4.0))]),
                ),
                with(
                    write("other", "3"),
                    "when",
                    json!([condition("at_most", json!(4)), condition("is_not", json!(4))]),
                ),
                write("refers", "{{steps.more.path}}"),
                with(write("after", "4"), "depends_on", json!(["more"])),
            ]),
            "output",
            json!({"more": "{{steps.more}}", "exact": "{{steps.exact.bytes}}"}),
        ))
        .completed();
    let skipped: Vec<_> = run.report.steps.iter().map(|step| step.skipped.as_deref()).collect();
    assert_eq!(
        skipped,
        [
            None,
            None,
            Some("`steps.size.bytes` is 4, and `more_than` 4 is asked"),
            None,
            Some("`steps.size.bytes` is 4, and `is_not` 4 is asked"),
            Some("it refers to `steps.more`, which was skipped"),
            None
        ]
    );
    let noted: Vec<_> = run.trace.of_kind("skipped").map(|event| event["what"]["reason"].as_str()).collect();
    assert_eq!(noted, skipped.iter().filter(|reason| reason.is_some()).copied().collect::<Vec<_>>());
    assert!(run.report.steps.iter().all(|step| step.outcome.is_some() != step.skipped.is_some()));
    assert_eq!(run.report.output, json!({"more": null, "exact": 1}));
    assert_eq!(tree::read(&host.workspace()).into_keys().collect::<Vec<_>>(), ["after", "exact", "size"]);
    host.replay_equals(&run);
}

/// What is expected, of what, and the drift.
fn drifts() -> Vec<(&'static str, Value, Value)> {
    let json = |schema: Value| json!({"kind": "json", "schema": schema});
    vec![
        ("output-kind-mismatch", json!({"kind": "json"}), json!("/workspace/prose.json")),
        ("invalid-json", json!({"kind": "json"}), json!("/workspace/broken.json")),
        ("schema-mismatch", json(json!({"additionalProperties": false})), json!("/workspace/value.json")),
        ("missing-required-fields", json(json!({"required": ["a", "b"]})), json!("/workspace/value.json")),
        (
            "type-constraint-violation",
            json(json!({"properties": {"a": {"type": "string"}}})),
            json!("/workspace/value.json"),
        ),
    ]
}

#[test]
fn an_output_that_is_not_what_is_expected_fails_or_warns() {
    for (kind, expect, path) in drifts() {
        let host = TestHost::new(&policy("", READ_WRITE));
        host.write("value.json", "{\"a\": 1}");
        host.write("broken.json", "{\"a\": ");
        host.write("prose.json", "nothing but words");
        let plan_of = |expect: &Value, mode: &str, path: &Value| {
            let step = with(step("it", "files.read-text", json!({"path": path})), "expect", expect.clone());
            let mut plan = plan([step]);
            plan["steps"][0]["expect"]["mode"] = json!(mode);
            plan
        };
        let strict = host.run(&plan_of(&expect, "strict", &path));
        assert_eq!(strict.report.outcome, RunOutcome::Failed, "{kind}: {:#?}", strict.report);
        assert_eq!(strict.error()["code"], "output-drift");
        let warned = host.run(&plan_of(&expect, "warn", &path)).completed();
        for (run, decision) in [(&strict, "block"), (&warned, "warn")] {
            let [contract] = whats(run, "contract")[..] else { panic!("{kind}: {:#?}", run.trace.events) };
            assert_eq!((&contract["drift"], &contract["decision"]), (&json!(kind), &json!(decision)));
            assert!(contract["excerpt"].as_str().is_some_and(|excerpt| !excerpt.is_empty()), "{contract}");
            let missing = if kind == "missing-required-fields" { json!(["/b"]) } else { Value::Null };
            assert_eq!(contract["missing"], missing);
            assert_eq!(contract.get("parse_error").is_some(), kind == "invalid-json");
            host.replay_equals(run);
        }
        let met = host.run(&plan_of(&json!({"kind": "json"}), "strict", &json!("/workspace/value.json")));
        assert_eq!((met.report.outcome, met.trace.of_kind("contract").count()), (RunOutcome::Completed, 0));
    }
}

#[test]
fn files_of_a_step_stay_where_its_output_only_warns() {
    for (mode, is_there) in [("strict", false), ("warn", true)] {
        let host = TestHost::new(&policy("", READ_WRITE));
        let writes = step("writes", "files.write-text", json!({"path": "/workspace/a", "text": "b"}));
        let run = host.run(&plan([with(
            writes,
            "expect",
            json!({"kind": "json", "schema": {"required": ["none"]}, "mode": mode}),
        )]));
        assert_eq!(
            (run.report.outcome == RunOutcome::Completed, host.workspace().join("a").exists()),
            (is_there, is_there)
        );
        host.replay_equals(&run);
    }
}
