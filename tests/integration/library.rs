//! The library inside of another program.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use host_tests::plan::READ_WRITE;
use host_tests::{Guest, TestHost, plan, policy, repo, step};
use serde_json::{Value, json};
use skillhost::clock::Stopwatch;
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::{HostEvent, PlanDocument, PlanFormat, RunOptions, SkillHost};

fn two_steps() -> Value {
    plan([
        step("write", "files.write-text", json!({"path": "/workspace/a", "text": "a"})),
        step("read", "files.read-text", json!({"path": "/workspace/a"})),
    ])
}

#[test]
fn one_component_may_be_two_skills_of_a_plan() {
    let bytes = repo::component("probe");
    let host = TestHost::with(&policy("", ""), &[("one", &bytes), ("two", &bytes)]);
    let run = host.run(&plan([
        step("first", "one.run", json!({"args": ["args"]})),
        step("second", "two.run", json!({"args": ["args"]})),
    ]));
    assert_eq!(run.report.outcome, RunOutcome::Completed, "{:#?}", run.report);
    host.replay_equals(&run);
}

#[test]
fn making_a_host_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("deep/state");
    let host = SkillHost::builder().state(&state).workspace(folder.path().join("workspace")).build();
    assert_eq!(host.store().list(usize::MAX).unwrap(), []);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // A denied run keeps its record and makes no workspace.
    let document = PlanDocument::new(two_steps().to_string(), PlanFormat::Json, folder.path());
    let report = host.run(&document, &RunOptions::default()).unwrap();
    assert_eq!(report.outcome, RunOutcome::Denied);
    assert!(state.is_dir() && !folder.path().join("workspace").exists());
}

#[test]
fn observers_see_the_run_and_change_nothing() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&seen);
    let observe = move |event: &HostEvent<'_>| {
        let note = match event {
            HostEvent::RunBegin { .. } => "run-begin".to_owned(),
            HostEvent::PlanReady { steps } => format!("ready {steps}"),
            HostEvent::StepBegin { step, .. } => format!("begin {step}"),
            HostEvent::StepEnd { step, outcome, .. } => format!("end {step} {}", outcome.name()),
            HostEvent::RunEnd { outcome } => format!("run-end {}", outcome.name()),
            other => format!("{other:?}"),
        };
        notes.lock().unwrap().push(note);
    };
    let panicking = |_: &HostEvent<'_>| panic!("an observer that panics");
    let watched = TestHost::configured(&policy("", READ_WRITE), &[], |builder| {
        builder.observer(panicking).observer(observe).observer(panicking)
    });
    let plain = TestHost::new(&policy("", READ_WRITE));
    let (with, without) = (watched.run(&two_steps()).completed(), plain.run(&two_steps()).completed());
    assert_eq!(with.bytes(), without.bytes());
    assert_eq!(with.report.output, without.report.output);
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "run-begin",
            "ready 2",
            "begin write",
            "end write completed",
            "begin read",
            "end read completed",
            "run-end completed"
        ]
    );
}

/// A host whose guest spins, with limits that would let it spin for a day.
fn spinning() -> TestHost {
    let core = r#"(func (export "go") (loop $l (br $l)))"#;
    let guest = Guest { imports: &[], exports: "export go: func();", core }.build();
    let limits = "fuel = 9_000_000_000_000_000\ndeadline_ms = 86_400_000";
    TestHost::with(&policy(limits, READ_WRITE), &[("guest", &guest)])
}

fn write_then_spin() -> Value {
    plan([
        step("write", "files.write-text", json!({"path": "/workspace/a", "text": "a"})),
        step("spin", "guest.go", json!({})),
        step("after", "files.read-text", json!({"path": "/workspace/a"})),
    ])
}

#[test]
fn a_spinning_guest_is_cancelled_at_once() {
    // The observer starts the cancelling thread when the step begins, so that the guest is certainly running.
    let options = RunOptions::default();
    let cancel = options.cancel.clone();
    let cancelled_at: Arc<Mutex<Option<Stopwatch>>> = Arc::default();
    let at = Arc::clone(&cancelled_at);
    let core = r#"(import "wasi:clocks/monotonic-clock@0.2.12" "now" (func $now (result i64)))
        (func (export "go") (drop (call $now)) (loop $l (br $l)))"#;
    let guest = Guest { imports: &["wasi:clocks/monotonic-clock@0.2.12"], exports: "export go: func();", core }.build();
    let limits = "fuel = 9_000_000_000_000_000\ndeadline_ms = 86_400_000";
    let host = TestHost::configured(&policy(limits, READ_WRITE), &[("guest", &guest)], |builder| {
        builder.observer(move |event: &HostEvent<'_>| {
            if let HostEvent::StepBegin { step, .. } = event
                && step.as_str() == "spin"
            {
                let (cancel, at) = (cancel.clone(), Arc::clone(&at));
                drop(std::thread::spawn(move || {
                    *at.lock().unwrap() = Some(Stopwatch::start());
                    cancel.cancel();
                }));
            }
        })
    });
    let run = host.run_with(&write_then_spin(), &options);
    let late = cancelled_at.lock().unwrap().expect("it was cancelled").elapsed();
    // The guest has fuel for months.
    assert!(late < Duration::from_secs(300), "{late:?}");
    assert_eq!(run.report.outcome, RunOutcome::Cancelled);
    let outcomes: Vec<Option<&str>> =
        run.report.steps.iter().map(|step| step.outcome.as_ref().map(Outcome::name)).collect();
    assert_eq!(outcomes, [Some("completed"), Some("cancelled"), None]);
    assert!(host.workspace().join("a").exists());
    // A replay ends where the record ends, without a token and without a deadline of a day: the guest makes no call after its last.
    let steps = run.trace.steps();
    assert_eq!(steps[1].end["fuel"], Value::Null);
}

#[test]
fn a_step_that_is_cancelled_in_a_host_call_replays_to_the_same_place() {
    let core = r#"(import "wasi:clocks/monotonic-clock@0.2.12" "now" (func $now (result i64)))
        (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $in (param i64) (result i32)))
        (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
        (func (export "go") (drop (call $now)) (call $block (call $in (i64.const 3_600_000_000_000))))"#;
    let imports = &["wasi:clocks/monotonic-clock@0.2.12", "wasi:io/poll@0.2.12"];
    let guest = Guest { imports, exports: "export go: func();", core }.build();
    let options = RunOptions::default();
    let cancel = options.cancel.clone();
    let host = TestHost::configured(&policy("", "clocks = \"real\""), &[("guest", &guest)], |builder| {
        builder.observer(move |event: &HostEvent<'_>| {
            if let HostEvent::StepBegin { .. } = event {
                let cancel = cancel.clone();
                drop(std::thread::spawn(move || cancel.cancel()));
            }
        })
    });
    let run = host.run_with(&plan([step("it", "guest.go", json!({}))]), &options);
    assert_eq!(run.outcome(), &Outcome::Cancelled);
    assert!(
        !run.trace.called().contains(&"wasi:io/poll#[method]pollable.block"),
        "a call that did not end is not recorded"
    );
    let watch = Stopwatch::start();
    host.replay_equals(&run);
    // The guest waited for an hour.
    assert!(watch.elapsed() < Duration::from_secs(300), "a replay does not wait");
}

#[test]
fn a_run_that_is_cancelled_before_it_begins_runs_nothing() {
    let host = spinning();
    let options = RunOptions::default();
    options.cancel.cancel();
    let run = host.run_with(&write_then_spin(), &options);
    assert_eq!(run.report.outcome, RunOutcome::Cancelled);
    assert!(!host.workspace().join("a").exists());
    host.replay_equals(&run);
}

#[test]
fn a_host_runs_inside_of_an_async_program() {
    for threads in [1, 2] {
        let mut builder = if threads == 1 {
            tokio::runtime::Builder::new_current_thread()
        } else {
            tokio::runtime::Builder::new_multi_thread()
        };
        let runtime = builder.enable_all().build().unwrap();
        let host = TestHost::new(&policy("", READ_WRITE));
        let run = runtime.block_on(async { host.run(&two_steps()).completed() });
        runtime.block_on(async { host.replay_equals(&run) });
    }
}

#[test]
fn one_host_and_two_hosts_run_in_parallel() {
    let expected = TestHost::new(&policy("", READ_WRITE)).run(&two_steps()).completed().bytes();
    let (one, two) = (TestHost::new(&policy("", READ_WRITE)), TestHost::new(&policy("", READ_WRITE)));
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for host in [&one, &two, &one, &two, &one] {
            threads.push(scope.spawn(|| {
                let plan = plan([step("text", "text.split", json!({"text": "a b", "pattern": " "}))]);
                let head = host.run(&plan).completed().report.head;
                (0..5).for_each(|_| assert_eq!(host.run(&plan).completed().report.head, head));
                head
            }));
        }
        let heads: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(heads.windows(2).all(|pair| pair[0] == pair[1]));
    });
    assert_eq!(one.run(&two_steps()).completed().bytes(), expected);
    assert_eq!(one.host.store().list(usize::MAX).unwrap().len(), 3 * 6 + 1);
}

#[test]
fn inputs_can_be_given_with_the_run() {
    let host = TestHost::new(&policy("", READ_WRITE));
    let mut plan = plan([step("split", "text.split", json!({"text": "{{inputs.text}}", "pattern": " "}))]);
    plan["inputs"] = json!({"text": "a b"});
    plan["output"] = json!("{{steps.split}}");
    assert_eq!(host.run(&plan).completed().report.output, json!(["a", "b"]));
    let mut options = RunOptions::default();
    options.inputs.insert("text".to_owned(), json!("c"));
    let run = host.run_with(&plan, &options).completed();
    assert_eq!(run.report.output, json!(["c"]));
    assert_eq!(run.trace.events[0]["inputs"], json!({"text": "c"}));
    host.replay_equals(&run);
    options.inputs.insert("txt".to_owned(), json!("c"));
    assert_eq!(host.run_with(&plan, &options).problem_codes(), ["unknown-input"]);
}

#[test]
fn a_skill_that_is_given_comes_before_one_that_is_built_in() {
    let host = TestHost::with(&policy("", ""), &[("text", &repo::component("csv"))]);
    let run = host.call("text.parse", json!({"text": "a\n1"})).completed();
    assert_eq!(run.output(), &json!({"header": ["a"], "rows": [["1"]]}));
}
