//! A skill that calls others, as a user sees it.

use host_tests::repo;
use serde_json::Value;

use crate::program::Program;

/// The example in a folder of its own.
fn example() -> Program {
    let program = Program::new();
    let folder = repo::root().join("examples/delegation");
    for name in ["plan.json", "policy.toml", "data/expenses.csv", "brief.wasm"] {
        program.write(name, std::fs::read(folder.join(name)).expect("the example has it"));
    }
    program
}

#[test]
fn the_example_runs_is_shown_and_replays() {
    let program = example();
    let run = program.run(&["run", "plan.json", "--policy", "policy.toml", "--workspace", "."]);
    assert_eq!(run.code, 0, "{}", run.all());
    insta::assert_snapshot!("delegation_run", run.all());
    let shown = program.run(&["trace", "show", "last", "--kind", "delegate-begin"]);
    insta::assert_snapshot!("delegation_trace_begin", shown.all());
    let shown = program.run(&["trace", "show", "last", "--kind", "delegate-end"]);
    insta::assert_snapshot!("delegation_trace_end", shown.all());
    assert_eq!(program.run(&["trace", "verify", "last"]).code, 0);
    assert_eq!(program.run(&["replay", "last"]).code, 0);
}

#[test]
fn the_policy_says_what_may_be_called() {
    let program = example();
    let explained = program.run(&["policy", "explain", "plan.json", "--policy", "policy.toml"]);
    assert_eq!(explained.code, 0, "{}", explained.all());
    insta::assert_snapshot!("delegation_explain", explained.all());
    let inspected = program.run(&["inspect", "brief.wasm"]);
    assert!(inspected.stdout.contains("calls the tools that a grant lists in `calls`"), "{}", inspected.all());
    let policy = repo::text("examples/delegation/policy.toml").replace("csv.summarise", "csv.sumarise");
    program.write("policy.toml", policy);
    let refused = program.run(&["run", "plan.json", "--policy", "policy.toml", "--workspace", "."]);
    assert!(refused.stderr.contains("did you mean `summarise`?"), "{}", refused.all());
    insta::assert_snapshot!("delegation_refused", refused.all());
}

#[test]
fn an_audit_says_what_a_skill_called() {
    let program = example();
    assert_eq!(program.run(&["run", "plan.json", "--policy", "policy.toml", "--workspace", "."]).code, 0);
    let exported = program.run(&["audit", "export"]);
    assert_eq!(exported.code, 0, "{}", exported.all());
    let entries: Vec<Value> = exported.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |action: &str| -> Vec<&Value> { entries.iter().filter(|entry| entry["action"] == action).collect() };
    let (begun, ended, steps) = (of("delegate-begin"), of("delegate-end"), of("step-begin"));
    assert!(!begun.is_empty() && begun.len() == ended.len(), "{}", exported.all());
    for (begun, ended) in begun.iter().zip(&ended) {
        assert_eq!((&begun["step"], &ended["step"]), (&steps[0]["step"], &steps[0]["step"]));
        assert!(begun["tool"].is_string() && begun["tool"] != steps[0]["tool"], "{begun:#}");
        assert_eq!((&ended["status"], ended["fuel"].is_u64()), (&Value::from("completed"), true), "{ended:#}");
    }
}
