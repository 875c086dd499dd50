//! A skill that calls others, as a user sees it.

use host_tests::repo;

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
