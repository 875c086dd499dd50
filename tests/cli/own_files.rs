//! The current folder as the workspace, with the stock policy in it and nothing configured: what a plan may do there, and what it may not.

use std::fs;
use std::os::unix::fs::symlink;

use host_tests::{repo, tree};
use serde_json::{Value, json};

use crate::program::Program;

/// A project with the stock policy.
fn project() -> Program {
    let program = Program::new();
    program.write("policies/default.toml", repo::text("policies/default.toml"));
    program.write("src/main.rs", "fn main() {}\n").write(
        "plan.json",
        plan(&[("files.write-text", json!({"path": "/workspace/src/main.rs", "text": "fn main() { run() }\n"}))]),
    );
    program
}

fn plan(calls: &[(&str, Value)]) -> String {
    let steps: Vec<Value> = calls
        .iter()
        .enumerate()
        .map(|(at, (tool, input))| json!({"id": format!("s{at}"), "tool": tool, "input": input}))
        .collect();
    json!({"schema": "skillhost.plan/1", "name": "edit", "steps": steps}).to_string()
}

#[test]
fn a_plan_works_in_the_current_folder_and_is_taken_back() {
    let program = project();
    let before = tree::read(&program.path(""));
    let ended = program.run(&["run", "plan.json", "--workspace", "."]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(fs::read_to_string(program.path("src/main.rs")).unwrap(), "fn main() { run() }\n");
    let ended = program.run(&["undo"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(tree::read(&program.path("")), before, "nothing is left, not even what git would call untracked");
}

#[test]
fn the_policy_and_the_state_are_not_there_for_a_tool() {
    // Also where somebody keeps the state inside.
    for state in [&[][..], &["--state", ".skillhost"]] {
        let program = project();
        fs::create_dir_all(program.path(".skillhost/cache")).unwrap();
        fs::write(program.path(".skillhost/cache/x.cwasm"), "code").unwrap();
        let before = fs::read_to_string(program.path("policies/default.toml")).unwrap();
        let mut calls = vec![
            ("files.read-text", json!({"path": "/workspace/policies/default.toml"})),
            ("files.write-text", json!({"path": "/workspace/policies/default.toml", "text": "x"})),
            ("files.append", json!({"path": "/workspace/./policies//default.toml", "text": "x"})),
            ("files.remove", json!({"path": "/workspace/policies/default.toml"})),
            ("files.move", json!({"source": "/workspace/policies", "target": "/workspace/p"})),
            ("files.move", json!({"source": "/workspace/plan.json", "target": "/workspace/policies/default.toml"})),
            ("files.copy", json!({"source": "/workspace/policies/default.toml", "target": "/workspace/copy"})),
        ];
        if !state.is_empty() {
            calls.extend([
                ("files.write-text", json!({"path": "/workspace/.skillhost/cache/x.cwasm", "text": "x"})),
                ("files.list", json!({"path": "/workspace/.skillhost"})),
                ("files.move", json!({"source": "/workspace/.skillhost", "target": "/workspace/s"})),
            ]);
        }
        for (tool, input) in calls {
            program.write("attack.json", plan(&[(tool, input.clone())]));
            let ended = program.run(&[state, &["run", "attack.json", "--workspace", "."]].concat());
            assert!(ended.code == 7 && ended.stderr.contains("denied"), "{tool} {input}: {}", ended.all());
            assert_eq!(fs::read_to_string(program.path("policies/default.toml")).unwrap(), before, "{tool} {input}");
            assert_eq!(fs::read_to_string(program.path(".skillhost/cache/x.cwasm")).unwrap(), "code", "{tool} {input}");
        }
        let list = ["call", "files.list", "--input", r#"{"path": "/workspace/policies"}"#, "--workspace", "."];
        let listed = program.run(&[state, &list[..]].concat());
        assert!(listed.code == 0 && !listed.stdout.contains("default.toml"), "{}", listed.all());
    }
}

#[test]
fn a_home_as_the_workspace_has_no_state_and_no_configuration() {
    let program = project();
    assert_eq!(program.run(&["run", "plan.json", "--workspace", "."]).code, 0);
    let home = program.home("").display().to_string();
    for (tool, input) in [
        ("files.list", json!({"path": "/workspace/state/skillhost"})),
        ("files.write-text", json!({"path": "/workspace/state/skillhost/x", "text": "x"})),
        ("files.make-dir", json!({"path": "/workspace/config/skillhost"})),
        ("files.write-text", json!({"path": "/workspace/config", "text": "x"})),
        ("files.move", json!({"source": "/workspace/state", "target": "/workspace/s"})),
    ] {
        program.write("attack.json", plan(&[(tool, input.clone())]));
        let ended = program.run(&["run", "attack.json", "--workspace", &home]);
        assert!(ended.code == 7 && ended.stderr.contains("denied"), "{tool} {input}: {}", ended.all());
    }
    assert!(!program.home("config").exists() && program.state("runs").is_dir());
}

#[test]
fn a_default_workspace_that_is_a_link_is_refused() {
    let program = project();
    fs::create_dir(program.home("theirs")).unwrap();
    symlink(program.home("theirs"), program.path("workspace")).unwrap();
    program.write("plan.json", plan(&[("files.write-text", json!({"path": "/workspace/x", "text": "x"}))]));
    for args in [&["run", "plan.json"][..], &["run", "plan.json", "--dry-run"]] {
        let ended = program.run(args);
        assert!(ended.code != 0 && ended.stderr.contains("is a link, and nobody has named it"), "{}", ended.all());
        assert!(
            ended.stderr.contains("hint: look where it leads; `--workspace workspace` takes it all the same"),
            "{}",
            ended.all()
        );
        assert!(!program.home("theirs/x").exists());
    }
    let ended = program.run(&["demo"]);
    assert!(ended.code == 11 && ended.stderr.contains("is a link, and the demo writes there"), "{}", ended.all());
    assert_eq!(fs::read_dir(program.home("theirs")).unwrap().count(), 0);
    let ended = program.run(&["run", "plan.json", "--workspace", "workspace"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(program.home("theirs/x").exists());
}
