//! Rules, principals and approval in whole runs: what is denied runs nothing, what is asked about is recorded, and a replay needs nobody.

use std::sync::{Arc, Mutex};

use host_tests::plan::READ_WRITE;
use host_tests::{Run, TestHost, plan, step, tree};
use serde_json::{Value, json};
use skillhost::outcome::RunOutcome;
use skillhost::policy::{ApprovalAnswer, ApprovalRequest, Principal, Why};
use skillhost::{PolicyDocument, RunOptions, SkillHostBuilder};

const ALL: &str = "@id(\"all\") permit(principal, action, resource);\n";

/// A policy that grants every tool, with these further keys of the grant.
fn policy(grant: &str) -> String {
    format!(
        "schema = \"skillhost.policy/1\"\nrules = \"access.cedar\"\n[roles]\n\"agent:reporter\" = [\"reader\"]\n[[grant]]\n\
         skills = [\"*\"]\ntools = [\"*\"]\n{grant}\n"
    )
}

fn host_with(grant: &str, rules: &str, configure: impl FnOnce(SkillHostBuilder) -> SkillHostBuilder) -> TestHost {
    let document = PolicyDocument::parse_with_rules(&policy(grant), rules);
    let document = document.unwrap_or_else(|problems| panic!("{rules}\n{problems:#?}"));
    let host =
        TestHost::configured("schema = \"skillhost.policy/1\"", &[], |builder| configure(builder.policy(document)));
    host.write("in.txt", "alpha beta");
    host
}

fn host(rules: &str) -> TestHost {
    host_with(READ_WRITE, rules, |builder| builder)
}

/// As an agent with the role `reader`.
fn reporter() -> RunOptions {
    RunOptions { principal: Some("agent:reporter".parse().unwrap()), ..RunOptions::default() }
}

fn why(run: &Run) -> Vec<(&str, Why, Vec<&str>)> {
    let denials = run.report.denials.iter();
    denials.map(|one| (one.step.as_str(), one.why, one.rules.iter().map(String::as_str).collect())).collect()
}

/// Reads a text and writes it to another file: the input of the second step comes from the first.
fn copy() -> Value {
    let mut after = step("after", "files.exists", json!({"path": "/workspace/out.txt"}));
    after["depends_on"] = json!(["write"]);
    plan([
        step("read", "files.read-text", json!({"path": "/workspace/in.txt"})),
        step("write", "files.write-text", json!({"path": "/workspace/out.txt", "text": "{{steps.read}}"})),
        after,
    ])
}

#[test]
fn without_a_rule_that_permits_it_nothing_of_a_plan_runs() {
    let rules = "@id(\"reads\") permit(principal in Role::\"reader\", action, resource) when { resource.read_only };\n";
    let host = host(rules);
    let before = tree::read(&host.workspace());
    let run = host.run_with(&copy(), &reporter());
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    assert_eq!(why(&run), [("write", Why::NotPermitted, vec![])]);
    assert_eq!(run.trace.of_kind("step-begin").count(), 0);
    assert_eq!(tree::read(&host.workspace()), before);
    host.replay_equals(&run);
    // Nobody in particular has no role, so that not even reading is permitted.
    let nobody = host.run(&copy());
    assert_eq!(nobody.report.denials.len(), 3);
    let denied: Vec<&Value> = nobody.trace.of_kind("denied").collect();
    assert_eq!(denied[0]["why"], "not-permitted");
    assert_eq!(denied[0]["policy"].as_str().map(str::len), Some(64));
    host.replay_equals(&nobody);
}

#[test]
fn what_permits_a_step_is_in_its_event() {
    let rules = format!(
        "{ALL}@id(\"reads\") @reason(\"r\") permit(principal, action, resource) when {{ resource.read_only }};\n"
    );
    let host = host(&rules);
    let run = host.run_with(&copy(), &reporter()).completed();
    let header = run.trace.of_kind("header").next().unwrap();
    assert_eq!(header["principal"], "agent:reporter");
    assert_eq!(header["rules"], json!(skillhost::id::Digest::of(rules.as_bytes()).to_string()));
    let begun: Vec<&Value> = run.trace.of_kind("step-begin").map(|event| &event["rules"]).collect();
    assert_eq!(begun, [&json!(["all", "reads"]), &json!(["all"]), &json!(["all", "reads"])]);
    std::fs::remove_dir_all(host.workspace()).unwrap();
    host.replay_equals(&run);
    // The run has all that a replay needs, also where the host's own policy is another by now.
    let elsewhere = TestHost::new("schema = \"skillhost.policy/1\"");
    elsewhere.replay_equals(&run);
}

#[test]
fn forbid_wins_and_says_why() {
    let rules = format!(
        "{ALL}@id(\"frozen\") @reason(\"the books are closed\") forbid(principal, action, resource == Tool::\"files.write-text\");"
    );
    let run = host(&rules).run(&copy());
    assert_eq!(why(&run), [("write", Why::Forbidden, vec!["frozen"])]);
    assert_eq!(run.report.denials[0].reason, "rule `frozen` forbids it: the books are closed");
    let denied = run.trace.of_kind("denied").next().unwrap();
    assert_eq!((&denied["rules"], &denied["why"]), (&json!(["frozen"]), &json!("forbidden")));
    assert_eq!(run.trace.of_kind("step-begin").count(), 0);
}

#[test]
fn a_rule_that_cannot_be_evaluated_denies() {
    // Fits the types, and overflows all the same; that another rule permits the call does not help.
    let rules = format!(
        "{ALL}@id(\"sum\") forbid(principal, action, resource) when {{ context.attempt + 9223372036854775807 > 0 }};"
    );
    let run = host(&rules).run(&copy());
    assert_eq!(
        why(&run).iter().map(|one| (one.1, one.2.clone())).collect::<Vec<_>>(),
        vec![(Why::RuleError, vec!["sum"]); 3]
    );
    assert!(run.report.denials[0].reason.contains("overflow"), "{}", run.report.denials[0].reason);
    assert_eq!(run.trace.of_kind("step-begin").count(), 0);
}

#[test]
fn a_rule_on_a_literal_input_is_decided_before_anything_runs() {
    let rules = "@id(\"here\") permit(principal, action, resource in Skill::\"files\") when { context.input.path like \"/workspace/*\" };";
    let host = host(rules);
    let good = host.run(&copy()).completed();
    assert_eq!(good.report.steps.len(), 3);
    let mut elsewhere = copy();
    elsewhere["steps"][2]["input"]["path"] = json!("/etc/passwd");
    let before = tree::read(&host.workspace());
    let run = host.run(&elsewhere);
    assert_eq!(why(&run), [("after", Why::NotPermitted, vec![])]);
    assert_eq!(run.trace.of_kind("step-begin").count(), 0);
    assert_eq!(tree::read(&host.workspace()), before);
    // Also where the value comes from the plan's inputs.
    let mut given = copy();
    given["inputs"] = json!({"file": "/etc/passwd"});
    given["steps"][2]["input"]["path"] = json!("{{inputs.file}}");
    assert_eq!(host.run(&given).trace.of_kind("step-begin").count(), 0);
}

#[test]
fn a_rule_on_a_resolved_input_is_decided_right_before_the_step() {
    let rules = format!(
        "{ALL}@id(\"secret\") forbid(principal, action, resource == Tool::\"files.write-text\") when {{ context.input.text like \
         \"*beta*\" }};"
    );
    let host = host(&rules);
    let run = host.run(&copy());
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    assert_eq!(why(&run), [("write", Why::Forbidden, vec!["secret"])]);
    let outcomes: Vec<bool> = run.report.steps.iter().map(|step| step.outcome.is_some()).collect();
    assert_eq!(outcomes, [true, false, false]);
    assert_eq!((run.trace.of_kind("step-begin").count(), run.trace.of_kind("denied").count()), (1, 1));
    assert!(!host.workspace().join("out.txt").exists());
    skillhost::trace::verify::verify(run.folder()).unwrap();
    host.replay_equals(&run);
    host.write("in.txt", "alpha");
    let run = host.run(&copy()).completed();
    host.replay_equals(&run);
}

#[test]
fn a_rule_that_does_not_fit_a_tool_of_the_plan_denies_it_up_front() {
    let rules =
        format!("{ALL}@id(\"amounts\") forbid(principal, action, resource) when {{ context.input.amount > 5 }};");
    let run = host(&rules).run(&copy());
    assert!(run.report.denials.iter().all(|denial| denial.why == Why::RuleError && denial.rules == ["amounts"]));
    assert!(run.report.denials[0].reason.contains("`input.amount`"), "{}", run.report.denials[0].reason);
    assert_eq!((run.report.denials.len(), run.trace.of_kind("step-begin").count()), (3, 0));
}

/// What an approver saw.
type Seen = Arc<Mutex<Vec<String>>>;

fn approving(builder: SkillHostBuilder, seen: &Seen, approves: bool) -> SkillHostBuilder {
    let seen = Arc::clone(seen);
    builder.approver(move |request: &ApprovalRequest<'_>| {
        let needed = request.needed_by.join(", ");
        seen.lock().unwrap().push(format!("{} {} {} {needed}", request.principal, request.tool, request.input));
        if approves {
            ApprovalAnswer::approve("user:ann", "fine")
        } else {
            ApprovalAnswer::reject("user:ann", "not today")
        }
    })
}

fn remove() -> Value {
    plan([
        step("look", "files.exists", json!({"path": "/workspace/in.txt"})),
        step("remove", "files.remove", json!({"path": "/workspace/in.txt"})),
        step("after", "files.exists", json!({"path": "/workspace/in.txt"})),
    ])
}

#[test]
fn a_declared_high_risk_needs_approval_with_and_without_rules() {
    let plain =
        format!("schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n{READ_WRITE}\n");
    let without = TestHost::new(&plain);
    without.write("in.txt", "x");
    for host in [without, host(ALL)] {
        let run = host.run(&remove());
        assert_eq!(why(&run).iter().map(|one| (one.0, one.1)).collect::<Vec<_>>(), [("remove", Why::ApprovalRequired)]);
        assert_eq!(run.report.denials[0].needs_approval, ["risk high"]);
        assert_eq!(run.trace.of_kind("step-begin").count(), 0, "nothing runs where nobody can be asked");
        assert!(host.workspace().join("in.txt").exists());
        host.replay_equals(&run);
    }
    for (grant, rules) in [
        (format!("{READ_WRITE}\napproval = \"never\""), ALL.to_owned()),
        (READ_WRITE.to_owned(), format!("{ALL}@id(\"n\") @approval(\"never\") permit(principal, action, resource);")),
    ] {
        host_with(&grant, &rules, |builder| builder).run(&remove()).completed();
    }
}

#[test]
fn an_approver_is_asked_once_and_its_answer_is_recorded() {
    let seen = Seen::default();
    let host = host_with(READ_WRITE, ALL, |builder| approving(builder, &seen, true));
    let run = host.run_with(&remove(), &reporter()).completed();
    let asked = "agent:reporter files.remove {\"path\":\"/workspace/in.txt\"} risk high";
    assert_eq!(*seen.lock().unwrap(), [asked]);
    let approval = run.trace.of_kind("approval").next().unwrap();
    assert_eq!(
        (&approval["outcome"], &approval["who"], &approval["reason"], &approval["needs_approval"]),
        (&json!("approved"), &json!("user:ann"), &json!("fine"), &json!(["risk high"]))
    );
    skillhost::trace::verify::verify(run.folder()).unwrap();
    host.replay_equals(&run);
    // Nobody is asked in a replay, and nobody has to be there.
    TestHost::new("schema = \"skillhost.policy/1\"").replay_equals(&run);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn a_rejection_ends_the_run_before_the_step() {
    let seen = Seen::default();
    let host = host_with(READ_WRITE, ALL, |builder| approving(builder, &seen, false));
    let run = host.run(&remove());
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    assert_eq!(why(&run), [("remove", Why::Rejected, vec!["all"])]);
    assert_eq!(run.report.denials[0].reason, "rejected by user:ann: not today");
    assert!(host.workspace().join("in.txt").exists());
    assert_eq!((run.trace.of_kind("step-begin").count(), seen.lock().unwrap().len()), (1, 1));
    skillhost::trace::verify::verify(run.folder()).unwrap();
    host.replay_equals(&run);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn rules_and_grants_ask_for_approval_whatever_the_risk() {
    let call = plan([step("look", "files.exists", json!({"path": "/workspace/in.txt"}))]);
    let rule = "@id(\"look\") @approval(\"required\") permit(principal, action, resource);";
    for (grant, rules, needed) in [
        (READ_WRITE.to_owned(), rule, "rule `look`"),
        (format!("{READ_WRITE}\napproval = \"never\""), rule, "rule `look`"),
        (format!("{READ_WRITE}\napproval = \"required\""), ALL, "grant 0"),
    ] {
        let run = host_with(&grant, rules, |builder| builder).run(&call);
        assert_eq!(run.report.denials[0].needs_approval, [needed]);
        let seen = Seen::default();
        host_with(&grant, rules, |builder| approving(builder, &seen, true)).run(&call).completed();
        assert_eq!(seen.lock().unwrap().len(), 1);
    }
}

#[test]
fn a_changed_answer_is_found() {
    let seen = Seen::default();
    let host = host_with(READ_WRITE, ALL, |builder| approving(builder, &seen, true));
    let run = host.run(&remove()).completed();
    let path = run.folder().join("trace.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"who\":\"user:ann\"", "\"who\":\"user:bob\"")).unwrap();
    assert!(skillhost::trace::verify::verify(run.folder()).is_err());
}

#[test]
fn the_policy_changes_no_input_and_decides_the_same_twice() {
    let rules = format!(
        "{ALL}@id(\"n\") forbid(principal, action, resource) when {{ context.input has path && context.input.path == \"x\" }};"
    );
    let host = host(&rules);
    let document = host.document(&copy());
    let bytes = document.bytes().to_vec();
    let once = host.host.explain(&document).unwrap().unwrap();
    assert_eq!(once, host.host.explain(&document).unwrap().unwrap());
    assert_eq!(document.bytes(), bytes);
    let (one, two) = (host.run(&copy()), host.run(&copy()));
    assert_eq!(one.bytes(), two.bytes());
    let input = &one.trace.of_kind("step-begin").next().unwrap()["input"];
    assert_eq!(input, &json!({"path": "/workspace/in.txt"}));
    assert_eq!(Principal::default().to_string(), "user:local");
}
