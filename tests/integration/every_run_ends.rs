//! Whatever the host cannot do once a run has begun is how a step or the run ends: `on_failure` applies, the trace has its end, a replay ends in
//! the same way, and nothing is left to recover.

use std::time::Duration;

use host_tests::plan::READ_WRITE;
use host_tests::{Run, TestHost, plan, policy, step};
use serde_json::{Value, json};
use skillhost::Durability;
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::store::Index;
use skillhost::store::index::Answer;
use skillhost::trace::verify::verify;

/// A host of which somebody can be asked later.
fn files(grant: &str) -> TestHost {
    let host = TestHost::configured(&policy("", grant), &[], |builder| builder.pauses(true));
    host.write("a", "as it was");
    host
}

fn with(mut value: Value, key: &str, to: Value) -> Value {
    value[key] = to;
    value
}

/// A plan whose first step changes a file, whose second gives a list of two, and that is taken back where it fails.
fn back(more: impl IntoIterator<Item = Value>) -> Value {
    let write = step("w", "files.write-text", json!({"path": "/workspace/a", "text": "changed"}));
    let split = with(step("s", "text.split", json!({"text": "a,b", "pattern": ","})), "depends_on", json!(["w"]));
    with(plan([write, split].into_iter().chain(more)), "on_failure", json!("rollback"))
}

/// The run has ended and is what its trace says, which a replay finds again; nothing of it is left.
fn has_ended(host: &TestHost, run: &Run, outcome: RunOutcome) {
    assert_eq!(run.report.outcome, outcome, "{:#?}", run.report);
    verify(run.folder()).unwrap_or_else(|error| panic!("{error}: {}", run.bytes()));
    assert!(run.bytes().lines().next_back().unwrap().contains("\"kind\":\"run-end\""), "{}", run.bytes());
    let replayed = host.replay(run);
    assert_eq!(replayed.divergence, None, "{}", run.bytes());
    assert!(host.host.store().stopped().unwrap().is_empty());
}

fn is_as_it_was(host: &TestHost) {
    assert_eq!(std::fs::read_to_string(host.workspace().join("a")).unwrap(), "as it was");
    let names: Vec<_> = std::fs::read_dir(host.workspace()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a"]);
}

/// The code of the failure that the trace has.
fn recorded(run: &Run) -> Vec<String> {
    run.trace.of_kind("failed").map(|event| event["what"]["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_reference_leads_to_at_run_time_may_not_be_there() {
    let nowhere = "{{steps.s.7}}";
    let split = |text: &str| step("r", "text.split", json!({"text": text, "pattern": ","}));
    let ask = json!({"id": "r", "approve": {"message": nowhere}});
    let when = with(split("x"), "when", json!({"value": nowhere, "is": "b"}));
    let context = json!({"id": "r", "approve": {"message": "may it?", "context": {"of": nowhere}}});
    for (place, last) in [
        ("/steps/2/input/text", split(nowhere)),
        ("/steps/2/input/text", split("in {{steps.s.7}} text")),
        ("/steps/2/when/value", when),
        ("/steps/2/approve/message", ask),
        ("/steps/2/approve/context/of", context),
    ] {
        let host = files(READ_WRITE);
        let run = host.run(&back([last]));
        has_ended(&host, &run, RunOutcome::RolledBack);
        is_as_it_was(&host);
        let failure = run.report.failure.as_ref().unwrap();
        assert_eq!((failure.pointer.as_str(), failure.is_of_host), (place, false), "{failure:?}");
        assert_eq!(recorded(&run), [failure.code.as_str()]);
        let Some(Outcome::Failed { error }) = &run.report.steps[2].outcome else { panic!("{:#?}", run.report) };
        assert_eq!((&error["code"], &error["pointer"]), (&json!(failure.code), &json!(place)));
    }
}

#[test]
fn without_on_failure_what_completed_stays_and_the_run_fails() {
    let host = files(READ_WRITE);
    let last = step("r", "text.split", json!({"text": "{{steps.s.7}}", "pattern": ","}));
    let run = host.run(&with(back([last]), "on_failure", json!("stop")));
    has_ended(&host, &run, RunOutcome::Failed);
    assert_eq!(std::fs::read_to_string(host.workspace().join("a")).unwrap(), "changed");
}

#[test]
fn the_output_of_a_plan_may_not_be_there() {
    let host = files(READ_WRITE);
    let run = host.run(&with(back([]), "output", json!({"last": "{{steps.s.7}}"})));
    has_ended(&host, &run, RunOutcome::RolledBack);
    is_as_it_was(&host);
    assert_eq!(run.report.failure.as_ref().unwrap().pointer, "/output/last");
    assert!(run.report.rollback.as_ref().unwrap().because.starts_with("the plan's output"), "{:#?}", run.report);
}

#[test]
fn a_rollback_goes_on_where_a_compensation_cannot_be_made() {
    let host = files(READ_WRITE);
    let compensate = json!({"tool": "files.write-text", "input": {"path": "/workspace/{{steps.s.7}}", "text": "x"}});
    let fails = with(step("fails", "files.read-text", json!({"path": "/workspace/none"})), "depends_on", json!(["s"]));
    let mut plan = back([fails]);
    plan["steps"][1]["compensate"] = compensate;
    let run = host.run(&plan);
    has_ended(&host, &run, RunOutcome::RollbackIncomplete);
    is_as_it_was(&host);
    let left = &run.report.rollback.as_ref().unwrap().left;
    assert!(left.len() == 1 && left[0].contains("its compensation files.write-text cannot be made"), "{left:?}");
}

#[test]
fn resolved_text_may_be_too_long() {
    let host = files(READ_WRITE);
    host.write("long", "x".repeat(1 << 20));
    let read = with(step("long", "files.read-text", json!({"path": "/workspace/long"})), "depends_on", json!(["s"]));
    let last = step("r", "text.split", json!({"text": "{{steps.long}}".repeat(65), "pattern": ","}));
    let run = host.run(&back([read, last]));
    has_ended(&host, &run, RunOutcome::RolledBack);
    assert_eq!(recorded(&run), ["template-too-large"]);
}

#[test]
fn a_question_may_be_too_long_to_be_asked() {
    let host = files(READ_WRITE);
    host.write("long", "x".repeat(300 << 10));
    let read = with(step("long", "files.read-text", json!({"path": "/workspace/long"})), "depends_on", json!(["s"]));
    let run = host.run(&back([read.clone(), json!({"id": "r", "approve": {"message": "{{steps.long}}"}})]));
    has_ended(&host, &run, RunOutcome::RolledBack);
    assert_eq!(recorded(&run), ["too-long"]);
    // The same where it is the policy that asks.
    let policy = policy("", READ_WRITE).replace("approval = \"never\"", "approval = \"required\"");
    let host = TestHost::configured(&policy, &[], |builder| builder.pauses(true));
    let text = "x".repeat(300 << 10);
    let run = host.run(&plan([step("w", "files.write-text", json!({"path": "/workspace/a", "text": text}))]));
    has_ended(&host, &run, RunOutcome::Failed);
    assert!(run.trace.of_kind("approval-request").next().is_none());
}

#[test]
fn a_granted_folder_may_not_be_there() {
    let grant = r#"filesystem = [{ host = "{workspace}/none", guest = "/workspace", access = "read-write" }]"#;
    for on_failure in ["stop", "rollback"] {
        let host = files(grant);
        let ends = if on_failure == "stop" { RunOutcome::Failed } else { RunOutcome::RolledBack };
        let run = host.run(&with(back([]), "on_failure", json!(on_failure)));
        has_ended(&host, &run, ends);
        is_as_it_was(&host);
        let failure = run.report.failure.as_ref().unwrap();
        assert_eq!((failure.code.as_str(), failure.is_of_host), ("directory", true));
        assert!(failure.told().contains("workspace/none") && failure.hint.is_some(), "{failure:?}");
        let folder = host.folder().display().to_string();
        assert!(!run.bytes().contains(&folder), "a trace says nothing of the machine: {}", run.bytes());
    }
}

#[test]
fn a_run_that_waits_may_lose_its_folder() {
    let host = files(&READ_WRITE.replace("{workspace}", "{workspace}/sub"));
    host.write("sub/a", "as it was");
    let run = host.run(&back([json!({"id": "ask", "depends_on": ["s"], "approve": {"message": "may it?"}})]));
    assert_eq!(run.report.outcome, RunOutcome::Paused);
    let answer = Answer { approved: true, by: "alice".to_owned(), reason: String::new() };
    let mut index = Index::open(&host.state(), Durability::Full).unwrap();
    index.decide_approval(&run.report.run, "ask", &answer, Duration::from_secs(1)).unwrap();
    std::fs::remove_dir_all(host.workspace().join("sub")).unwrap();
    let options = skillhost::GoOnOptions::default();
    let report = host.host.go_on(run.recorded(), &options).unwrap();
    assert_eq!(report.outcome, RunOutcome::RollbackIncomplete, "{report:#?}");
    let left = &report.rollback.as_ref().unwrap().left;
    assert!(!left.is_empty() && left.iter().all(|left| left.contains("cannot be opened")), "{left:?}");
    assert!(host.host.store().stopped().unwrap().is_empty());
    verify(&report.folder).unwrap();
}
