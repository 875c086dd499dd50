//! `host run --dry-run`.

use host_tests::{repo, tree};
use insta::assert_snapshot;
use serde_json::json;

use crate::program::{Ended, Program};

const PLAN: &str = r#"{"schema": "skillhost.plan/1", "name": "tidy", "steps": [
  {"id": "read", "tool": "files.read-text", "input": {"path": "/workspace/in.txt"}},
  {"id": "write", "tool": "files.write-text", "input": {"path": "/workspace/in.txt", "text": "{{steps.read}}gamma\n"}},
  {"id": "make", "tool": "files.make-dir", "input": {"path": "/workspace/new"}},
  {"id": "wipe", "tool": "files.remove", "input": {"path": "/workspace/old.txt"}}
]}"#;

fn program() -> Program {
    let program = Program::new();
    let policy = repo::text("policies/default.toml").replace("approval = \"never\"", "");
    program.write("policies/default.toml", policy).write("plan.json", PLAN);
    program.write("workspace/in.txt", "alpha\nbeta\n").write("workspace/old.txt", "\u{1b}[31mred");
    program
}

#[test]
fn a_dry_run_shows_what_would_change_and_changes_nothing() {
    let program = program();
    let before = tree::read(&program.path("workspace"));
    let ended = program.run(&["run", "plan.json", "--dry-run"]);
    assert_snapshot!("dry_run", ended.all());
    assert_eq!(tree::read(&program.path("workspace")), before);
    let runs = program.run(&["runs"]);
    assert!(!runs.stdout.contains("tidy"), "{}", runs.all());
    let (code, value) = program.json(&["run", "plan.json", "--dry-run"]);
    assert_eq!(code, 0, "{value:#}");
    let result = &value["result"];
    assert_eq!((&result["dry_run"], result["changes"].as_array().map(Vec::len)), (&json!(true), Some(3)));
    assert_eq!(result["needs_approval"], json!([{"step": "wipe", "needs_approval": ["risk high"]}]));
    assert_eq!((value["meta"].get("run_id"), result.get("run")), (None, None));
    assert_eq!(tree::read(&program.path("workspace")), before);
}

#[test]
fn it_exits_as_the_run_would() {
    let program = program();
    program.write("bad.json", PLAN.replace("/workspace/in.txt", "/workspace/none.txt"));
    let (dry, run) = (program.run(&["run", "bad.json", "--dry-run"]), program.run(&["run", "bad.json"]));
    assert_eq!((dry.code, run.code), (7, 7), "{}", dry.all());
    program.write(
        "denied.json",
        PLAN.replace("files.make-dir", "http.get")
            .replace("\"path\": \"/workspace/new\"", "\"url\": \"http://a.example/\""),
    );
    let (dry, run) = (program.run(&["run", "denied.json", "--dry-run"]), program.run(&["run", "denied.json"]));
    assert_eq!((dry.code, run.code), (11, 11), "{}", dry.all());
    let usage = program.run(&["run", "plan.json", "--dry-run", "--interactive"]);
    assert_eq!(usage.code, 2, "{}", usage.all());
}

/// `plan.json` with a person who answers so to every question.
fn answered(program: &Program, answers: &str) -> Ended {
    program.on_terminal(&["run", "plan.json", "--interactive"], answers)
}

/// What a person is asked.
fn question(ended: &Ended) -> String {
    let from = ended.stdout.find("step `wipe` of plan").unwrap_or_else(|| panic!("{}", ended.all()));
    let to = ended.stdout.find("[y/N]").unwrap_or_else(|| panic!("{}", ended.all()));
    // What the plan, the policy and the component are is not what this is about.
    let is_digest = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = ended.stdout[from..to].split_inclusive([' ', ',', '\n']).map(|word| {
        let plain = word.trim_end_matches([' ', ',', '\n']);
        if is_digest(plain) { word.replace(plain, "$SHA256") } else { word.to_owned() }
    });
    words.collect()
}

#[test]
fn who_is_asked_on_a_terminal_sees_the_diff() {
    let program = program();
    let no = answered(&program, "n\n");
    assert_eq!(no.code, 14, "{}", no.all());
    assert_snapshot!("dry_run_question", question(&no));
    assert!(program.path("workspace/old.txt").exists());
    // The step before it ran.
    assert_eq!(std::fs::read_to_string(program.path("workspace/in.txt")).unwrap(), "alpha\nbeta\ngamma\n");
    std::fs::remove_dir(program.path("workspace/new")).unwrap();
    let yes = answered(&program, "y\n");
    assert_eq!(yes.code, 0, "{}", yes.all());
    assert_eq!(question(&yes), question(&no));
    assert!(!program.path("workspace/old.txt").exists());
}
