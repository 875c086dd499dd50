//! Runs that record what the policy would have denied, and go on.

use host_tests::{TestHost, plan, policy, repo, step, tree};
use serde_json::{Value, json};
use skillhost::RunOptions;
use skillhost::lab::Recorded;
use skillhost::lab::suggest::suggest;
use skillhost::outcome::RunOutcome;
use skillhost::policy::Why;

fn options() -> RunOptions {
    RunOptions { log_only: true, ..RunOptions::default() }
}

fn two() -> Value {
    plan([
        step("split", "text.split", json!({"text": "a b", "pattern": " "})),
        step("probe", "probe.run", json!({"args": ["list", "/workspace"], "exit_codes": [0, 1]})),
    ])
}

#[test]
fn a_denied_step_runs_with_nothing_and_the_denial_is_recorded() {
    let host = TestHost::with(&repo::text("policies/default.toml"), &[("probe", &repo::component("probe"))]);
    host.write("secret.txt", "x");
    assert_eq!(host.run(&two()).report.outcome, RunOutcome::Denied);
    let run = host.run_with(&two(), &options()).completed();
    assert!(run.report.log_only);
    let [denial] = &run.report.would_deny[..] else { panic!("{:?}", run.report.would_deny) };
    assert_eq!((denial.step.as_str(), denial.why), ("probe", Why::NotGranted));
    // It saw no folder.
    let probed = run.trace.steps()[1].end["outcome"]["completed"].clone();
    assert_eq!((&probed["exit_code"], &probed["stdout"]), (&json!(1), &json!("")));
    let events: Vec<&Value> = run.trace.of_kind("would-deny").collect();
    assert_eq!((events.len(), &events[0]["step"], &events[0]["why"]), (1, &json!("probe"), &json!("not-granted")));
    assert_eq!(run.trace.of_kind("header").next().unwrap()["log_only"], json!(true));
    host.replay_equals(&run);
    skillhost::trace::verify::verify(run.folder()).expect("the trace holds");

    // Nothing denied is nothing said, but for the header.
    let allowed = host.run_with(&plan([step("a", "text.split", json!({"text": "a", "pattern": "b"}))]), &options());
    assert_eq!(allowed.report.would_deny, []);
    assert!(allowed.report.log_only && allowed.trace.events[0]["log_only"] == json!(true));
    host.replay_equals(&allowed);
}

#[test]
fn missing_needs_are_recorded_and_folders_hold() {
    let host = TestHost::new(&repo::text("policies/read-only.toml"));
    host.write("in.txt", "x");
    let before = tree::read(&host.workspace());
    let write = plan([step("w", "files.write-text", json!({"path": "/workspace/in.txt", "text": "y"}))]);
    let run = host.run_with(&write, &options());
    assert_eq!(run.report.outcome, RunOutcome::Failed, "the folder is read-only all the same");
    assert_eq!(run.report.would_deny[0].why, Why::NeedsMissing);
    assert_eq!(run.error()["code"], "denied");
    assert_eq!(tree::read(&host.workspace()), before);
    host.replay_equals(&run);
}

#[test]
fn approval_is_recorded_and_asked_of_nobody() {
    let read_write = "filesystem = [{ host = \"{workspace}\", guest = \"/workspace\", access = \"read-write\" }]";
    let asks = policy("", read_write).replace("approval = \"never\"", "approval = \"required\"");
    let host = TestHost::new(&asks);
    host.write("in.txt", "x");
    let run = host.run_with(&plan([step("r", "files.read-text", json!({"path": "/workspace/in.txt"}))]), &options());
    assert_eq!(run.report.outcome, RunOutcome::Completed, "{:#?}", run.report);
    assert_eq!(run.report.would_deny[0].why, Why::ApprovalRequired);
    assert_eq!(run.trace.of_kind("approval").count(), 0);
    host.replay_equals(&run);
}

#[test]
fn budgets_are_not_lifted() {
    let text = policy("", "").replace("[limits]", "[run]\nsteps = 1\n[limits]");
    let host = TestHost::with(&text, &[("probe", &repo::component("probe"))]);
    let run = host.run_with(&two(), &options());
    assert_eq!((run.report.outcome, run.report.denials[0].why), (RunOutcome::Denied, Why::Budget));
}

#[test]
fn a_policy_is_made_from_what_ran_without_one() {
    let host = TestHost::new("schema = \"skillhost.policy/1\"\n");
    let pure = plan([step("split", "text.split", json!({"text": "a b", "pattern": " "}))]);
    let run = host.run_with(&pure, &options()).completed();
    let recorded = Recorded::read(&host.host, &run.recorded()).expect("it is read");
    let suggestion = suggest(&[recorded]).expect("a policy");
    let again = TestHost::new(&suggestion.text).run(&pure);
    assert_eq!(again.report.outcome, RunOutcome::Completed, "{}", suggestion.text);
}
