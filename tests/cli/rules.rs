//! Policies with rules from the command line: `--as`, `policy explain`, approval, and what is wrong with a file of rules.

use insta::assert_snapshot;
use serde_json::json;

use crate::program::{Ended, Program};

const POLICY: &str = r#"schema = "skillhost.policy/1"
rules = "rules/access.cedar"

[roles]
"agent:reporter" = ["reader"]

[[grant]]
skills = ["files"]
tools = ["*"]
filesystem = [{ host = "{workspace}", guest = "/workspace", access = "read-write" }]
"#;

const RULES: &str = r#"// Readers read; everybody may remove what is temporary.
@id("readers")
@reason("readers may read")
permit(principal in Role::"reader", action == Action::"call", resource in Skill::"files") when { resource.read_only };

@id("temporary")
permit(principal, action, resource == Tool::"files.remove") when { context.input.path like "/workspace/tmp/*" };

@id("copies")
permit(principal is Agent, action, resource == Tool::"files.write-text") when { context.input.text != "" };
"#;

const PLAN: &str = r#"{"schema": "skillhost.plan/1", "name": "copy", "steps": [
  {"id": "read", "tool": "files.read-text", "input": {"path": "/workspace/in.txt"}},
  {"id": "write", "tool": "files.write-text", "input": {"path": "/workspace/out.txt", "text": "{{steps.read}}"}},
  {"id": "wipe", "tool": "files.remove", "input": {"path": "/workspace/tmp/in.txt"}}
]}"#;

fn program() -> Program {
    let program = Program::new();
    program.write("policies/default.toml", POLICY).write("policies/rules/access.cedar", RULES).write("plan.json", PLAN);
    program.write("workspace/in.txt", "alpha").write("workspace/tmp/in.txt", "beta");
    program
}

fn code(ended: &Ended) -> i32 {
    ended.code
}

#[test]
fn a_plan_is_explained_for_who_would_run_it() {
    let program = program();
    let ended = program.run(&["policy", "explain", "plan.json", "--as", "agent:reporter"]);
    assert_eq!(code(&ended), 0, "{}", ended.all());
    assert_snapshot!("rules_explain", ended.all());
    let ended = program.run(&["policy", "explain", "plan.json"]);
    assert_eq!(code(&ended), 11);
    assert_snapshot!("rules_explain_local", ended.all());
    let (_, value) = program.json(&["policy", "explain", "plan.json", "--as", "agent:reporter"]);
    let steps = &value["result"]["steps"];
    assert_eq!((&steps[0]["rules"], &steps[0]["needs_approval"]), (&json!(["readers"]), &json!([])));
    assert_eq!(steps[1]["rules"], json!(null), "decided when the input is known");
    assert_eq!(steps[2]["needs_approval"], json!(["risk high"]));
}

#[test]
fn what_somebody_has_to_be_asked_about_waits() {
    let program = program();
    let ended = program.run(&["run", "plan.json", "--as", "agent:reporter"]);
    assert_eq!(code(&ended), 30, "{}", ended.all());
    assert_snapshot!("rules_run_unasked", ended.all());
    // Stdin of the tests is no terminal.
    let ended = program.run(&["run", "plan.json", "--as", "agent:reporter", "--interactive"]);
    assert_eq!(code(&ended), 30);
    assert!(ended.stderr.contains("`--interactive` has no terminal to ask on"), "{}", ended.all());
    assert!(program.path("workspace/tmp/in.txt").exists(), "what has to be approved did not run");
    let ended =
        program.run(&["call", "files.stat", "--input", r#"{"path": "/workspace/in.txt"}"#, "--as", "agent:reporter"]);
    assert_eq!(code(&ended), 0, "{}", ended.all());
    assert_eq!(code(&program.run(&["replay", "last"])), 0);
    let (exit, value) = program.json(&["call", "files.stat", "--input", r#"{"path": "/workspace/in.txt"}"#]);
    assert_eq!((exit, &value["error"]["details"]["denials"][0]["why"]), (11, &json!("not-permitted")));
}

#[test]
fn mistakes_of_rules_are_told_with_their_place() {
    let program = program();
    program.write(
        "policies/rules/access.cedar",
        "@id(\"a\") permit(principal, action, resource) when { resource.rsk == \"low\" };\n\npermit(principal, action, resource);\n",
    );
    let ended = program.run(&["policy", "check", "policies/default.toml"]);
    assert_eq!(code(&ended), 2);
    assert_snapshot!("rules_bad", ended.all());
    program.write(
        "policies/rules/access.cedar",
        "@id(\"a\") permit(principal, action, resource) when { resource.rsk == \"low\" };\n",
    );
    let ended = program.run(&["policy", "check", "policies/default.toml"]);
    assert_snapshot!("rules_bad_type", ended.all());
    std::fs::remove_file(program.path("policies/rules/access.cedar")).unwrap();
    let ended = program.run(&["run", "plan.json"]);
    assert_eq!(code(&ended), 2);
    assert_snapshot!("rules_missing", ended.all());
    let ended = program.run(&["run", "plan.json", "--as", "reporter"]);
    assert!(code(&ended) == 2 && ended.stderr.contains("it must be `agent:NAME` or `user:NAME`"), "{}", ended.all());
}

#[test]
fn a_policy_with_rules_is_checked_as_a_whole() {
    let (code, value) = program().json(&["policy", "check", "policies/default.toml"]);
    assert_eq!((code, &value["result"]["rules"], &value["result"]["grants"]), (0, &json!(3), &json!(1)));
}
