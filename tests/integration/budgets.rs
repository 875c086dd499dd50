//! What a run may use in all: exact where it is deterministic, and denied before the step that has nothing left.

use std::time::Duration;

use host_tests::{TestHost, plan, repo, step};
use serde_json::{Value, json};
use skillhost::HostEvent;
use skillhost::clock::Stopwatch;
use skillhost::limits::LimitKind;
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::policy::Why;

fn host(run: &str) -> TestHost {
    let policy =
        format!("schema = \"skillhost.policy/1\"\n[run]\n{run}\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n");
    TestHost::with(&policy, &[("probe", &repo::component("probe"))])
}

/// Three steps of which each makes the same host calls.
fn three() -> Value {
    plan(["a", "b", "c"].map(|id| step(id, "probe.run", json!({"args": ["calls", "10"]}))))
}

#[test]
fn a_plan_with_more_steps_is_denied_before_anything_runs() {
    let enough = host("steps = 3").run(&three());
    assert_eq!(enough.report.outcome, RunOutcome::Completed);
    let few = host("steps = 2");
    let run = few.run(&three());
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    let [denial] = &run.report.denials[..] else { panic!("{:?}", run.report.denials) };
    assert_eq!((denial.step.as_str(), denial.why), ("c", Why::Budget));
    assert_eq!(denial.reason, "the run's budget of `steps`, which is 2, is used up");
    assert_eq!(run.trace.of_kind("step-begin").count(), 0);
    few.replay_equals(&run);
}

#[test]
fn host_calls_are_exact_at_the_border() {
    let whole = host("").run(&three()).completed();
    let calls: Vec<u64> = whole.report.steps.iter().map(|step| step.calls).collect();
    let all: u64 = calls.iter().sum();
    let exact = host(&format!("host_calls = {all}"));
    let run = exact.run(&three());
    assert_eq!(run.report.outcome, RunOutcome::Completed, "{:#?}", run.report);
    // The last step may use what the others left, and says so in its limits.
    let limits: Vec<u64> =
        run.trace.of_kind("step-begin").map(|begin| begin["limits"]["host_calls"].as_u64().unwrap()).collect();
    assert_eq!(limits, [all, all - calls[0], calls[2]]);
    exact.replay_equals(&run);

    let one_less = host(&format!("host_calls = {}", all - 1));
    let run = one_less.run(&three());
    let last = run.report.steps[2].outcome.clone().unwrap();
    assert!(
        matches!(last, Outcome::LimitExceeded { limit: LimitKind::HostCalls, allowed, .. } if allowed == calls[2] - 1)
    );
    one_less.replay_equals(&run);

    let two_steps = host(&format!("host_calls = {}", calls[0] + calls[1]));
    let run = two_steps.run(&three());
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    assert_eq!((run.report.denials[0].step.as_str(), run.report.denials[0].why), ("c", Why::Budget));
    assert_eq!(run.trace.of_kind("step-end").count(), 2);
    assert!(run.report.steps[2].outcome.is_none(), "no fuel was used for it");
    two_steps.replay_equals(&run);
}

#[test]
fn fuel_of_all_steps_is_one_budget() {
    let whole = host("").run(&three()).completed();
    let fuel: Vec<u64> = whole.report.steps.iter().map(|step| step.fuel.unwrap()).collect();
    let exact = host(&format!("fuel = {}", fuel.iter().sum::<u64>()));
    let run = exact.run(&three()).completed();
    exact.replay_equals(&run);
    let two_steps = host(&format!("fuel = {}", fuel[0] + fuel[1]));
    let run = two_steps.run(&three());
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    assert_eq!(
        run.report.denials[0].reason,
        format!("the run's budget of `fuel`, which is {}, is used up", fuel[0] + fuel[1])
    );
    two_steps.replay_equals(&run);
    let half = host(&format!("fuel = {}", fuel[0] + fuel[1] / 2));
    let run = half.run(&three());
    assert!(
        matches!(&run.report.steps[1].outcome, Some(Outcome::LimitExceeded { limit: LimitKind::Fuel, allowed, .. }) if *allowed == fuel[1] / 2),
        "{:#?}",
        run.report
    );
    half.replay_equals(&run);
}

#[test]
fn the_time_of_a_run_ends_a_step_and_is_no_part_of_the_trace_before() {
    let spin =
        plan([step("a", "probe.run", json!({"args": ["spin"]})), step("b", "probe.run", json!({"args": ["env"]}))]);
    let host = host("deadline_ms = 1000\n[limits]\nfuel = 9_007_199_254_740_991");
    let run = host.run(&spin);
    assert_eq!(run.report.outcome, RunOutcome::Failed);
    let ended = run.report.steps[0].outcome.clone().unwrap();
    assert!(matches!(ended, Outcome::LimitExceeded { limit: LimitKind::RunDeadline, allowed: 1000, .. }), "{ended:?}");
    let begin = run.trace.of_kind("step-begin").next().unwrap();
    assert_eq!(begin["limits"]["deadline_ms"], 30_000, "what is left of the time is not in the trace");
    assert_eq!(host.replay(&run).divergence, None);
}

#[test]
fn a_step_whose_turn_comes_after_the_time_is_denied() {
    const DEADLINE_MS: u64 = 3_000;
    let policy = format!(
        "schema = \"skillhost.policy/1\"\n[run]\ndeadline_ms = {DEADLINE_MS}\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n"
    );
    // The run waits for its observers: this one takes all of its time once.
    let slow = |event: &HostEvent<'_>| {
        if matches!(event, HostEvent::StepEnd { .. }) {
            let watch = Stopwatch::start();
            while watch.elapsed() < Duration::from_millis(DEADLINE_MS) {
                std::thread::yield_now();
            }
        }
    };
    let host = TestHost::configured(&policy, &[], |builder| builder.observer(slow));
    let split = |id| step(id, "text.split", json!({"text": "a", "pattern": "b"}));
    let run = host.run(&plan([split("a"), split("b")]));
    assert_eq!(run.report.outcome, RunOutcome::Denied, "{:#?}", run.report);
    assert_eq!(run.report.denials[0].reason, "the run's budget of `deadline_ms`, which is 3000, is used up");
    assert_eq!(run.trace.of_kind("step-end").count(), 1);
    // The clock of a replay says nothing: the record does.
    let quick = TestHost::new(&policy);
    assert_eq!(quick.replay(&run).divergence, None);
}
