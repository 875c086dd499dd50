//! Where the program keeps what is the user's, and what it does with the state of older versions.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use host_tests::tree;
use serde_json::Value;

use crate::program::Program;

/// A plan that is refused: it is recorded as every other, and nothing has to be compiled.
const PLAN: &str = r#"{"schema": "skillhost.plan/1", "name": "a", "steps": [{"id": "a", "tool": "no.such"}]}"#;
const RUN: [&str; 2] = ["run", "plan.json"];
const REFUSED: i32 = 5;

fn program() -> Program {
    let program = Program::new();
    program.write("plan.json", PLAN).write("policies/default.toml", "schema = \"skillhost.policy/1\"\n");
    program
}

#[test]
fn state_is_the_users_and_nothing_is_left_in_the_current_folder() {
    let program = program();
    let before = tree::read(&program.path(""));
    fs::remove_dir_all(program.state("")).unwrap();
    let ended = program.run(&RUN);
    assert!(ended.code == REFUSED && ended.stdout.contains("trace  $STATE/runs/"), "{}", ended.all());
    assert_eq!(tree::read(&program.path("")), before);
    assert_eq!(fs::read_dir(program.state("runs")).unwrap().count(), 1);
    for folder in ["", "runs"] {
        let mode = fs::metadata(program.state(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{folder:?} is for others too: {mode:o}");
    }
    // What is named comes first, and is relative to the current folder as ever.
    assert_eq!(program.run(&[&["--state", ".skillhost"], &RUN[..]].concat()).code, REFUSED);
    assert_eq!(program.run_with(&[("HOST_STATE", "elsewhere")], &RUN).code, REFUSED);
    for named in [".skillhost/runs", "elsewhere/runs"] {
        assert_eq!(fs::read_dir(program.path(named)).unwrap().count(), 1, "{named}");
    }
    assert_eq!(fs::read_dir(program.state("runs")).unwrap().count(), 1);
    // Another folder has another state.
    fs::create_dir(program.path("inner")).unwrap();
    let runs = program.command(&["runs", "--json"]).current_dir(program.path("inner")).output().unwrap();
    let runs: Value = serde_json::from_slice(&runs.stdout).unwrap();
    assert_eq!(runs["result"]["runs"], serde_json::json!([]), "{runs:#}");
}

#[test]
fn one_folder_has_one_state_whatever_it_is_called() {
    let program = program();
    assert_eq!(program.run(&RUN).code, REFUSED);
    let link = program.home("link");
    std::os::unix::fs::symlink(program.path(""), &link).unwrap();
    let runs = program.command(&["runs", "--json"]).current_dir(&link).env("PWD", &link).output().unwrap();
    let runs: Value = serde_json::from_slice(&runs.stdout).unwrap();
    assert_eq!(runs["result"]["runs"].as_array().unwrap().len(), 1, "{runs:#}");
}

#[test]
fn a_state_in_the_current_folder_is_not_used_by_itself() {
    let program = program();
    assert_eq!(program.run(&[&["--state", ".skillhost"], &RUN[..]].concat()).code, REFUSED);
    fs::remove_dir_all(program.state("")).unwrap();
    let ended = program.run(&["runs"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{}", ended.all());
    let note = "note: `./.skillhost` is not used: state is in `$STATE`; `--state .skillhost` reads what is there, if it is yours";
    assert!(ended.stderr.contains(note), "{}", ended.all());
    let (_, old) = program.json(&["--state", ".skillhost", "runs"]);
    assert_eq!(old["result"]["runs"].as_array().unwrap().len(), 1, "{old:#}");
    // Once there are runs it is no news any more.
    assert!(program.run(&RUN).stderr.contains(note));
    assert_eq!(program.run(&["runs"]).stderr, "");
    assert!(program.run(&["runs", "-v"]).stderr.contains(note));
}

#[test]
fn without_a_home_a_state_folder_has_to_be_named() {
    let program = program();
    let without = |args: &[&str]| {
        let mut command = program.command(args);
        for variable in ["XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
            command.env_remove(variable);
        }
        let output = command.env("HOME", "relative").output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, _, said) = without(&RUN);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("hint: name a state folder with `--state DIR` or HOST_STATE, or set HOME"), "{said}");
    let (code, answer, _) = without(&["exec", "--action", "describe"]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((code, &answer["ok"]), (Some(2), &Value::Bool(false)), "{answer:#}");
    assert!(answer["error"]["hint"].as_str().unwrap().contains("--state DIR"), "{answer:#}");
    let (code, ..) = without(&[&["--state", "s"], &RUN[..]].concat());
    assert_eq!(code, Some(REFUSED));
    assert!(!program.path("relative").exists() && program.path("s/runs").is_dir());
}
