//! Commands over many runs: the list, what can be undone, the audit, what is deleted.

use std::fs;

use host_tests::repo;
use insta::assert_snapshot;
use serde_json::Value;

use crate::program::Program;

/// A folder with a run that completed and one that was denied.
fn program() -> Program {
    let program = Program::new();
    program.write("policies/default.toml", repo::text("policies/default.toml"));
    program.write("workspace/a.txt", "a<b>");
    program.write("good.json", plan("good", "/workspace/a.txt"));
    program.write("none.toml", "schema = \"skillhost.policy/1\"\n");
    assert_eq!(program.run(&["run", "good.json"]).code, 0);
    assert_eq!(program.run(&["run", "good.json", "--policy", "none.toml", "--as", "agent:a"]).code, 11);
    program
}

fn plan(name: &str, path: &str) -> String {
    format!(
        r#"{{ "schema": "skillhost.plan/1", "name": "{name}",
           "steps": [ {{ "id": "read", "tool": "files.read-text", "input": {{ "path": "{path}" }} }} ] }}"#
    )
}

fn runs(program: &Program, args: &[&str]) -> Vec<Value> {
    let (code, document) = program.json(&[&["runs"], args].concat());
    assert_eq!(code, 0);
    document["result"]["runs"].as_array().unwrap().clone()
}

#[test]
fn runs_are_listed_by_status_with_and_without_an_index() {
    let program = program();
    for _ in 0..2 {
        let all = runs(&program, &[]);
        assert_eq!(all.iter().map(|run| run["status"].as_str().unwrap()).collect::<Vec<_>>(), ["denied", "completed"]);
        assert_eq!(all[1]["outcome"], "completed");
        assert_eq!(runs(&program, &["--status", "completed"]), all[1..]);
        let none = program.run(&["runs", "--status", "paused"]);
        assert_eq!((none.code, none.stdout.as_str()), (0, ""));
        assert_eq!(program.run(&["runs", "--status", "gone"]).code, 2);
        // The second time there is an index.
        let history = program.run(&["history"]);
        assert_eq!((history.code, history.stdout.as_str()), (0, ""), "{}", history.all());
        assert!(program.path(".skillhost/host.db").is_file());
    }
    // A damaged index is said, and the list is there all the same.
    fs::remove_file(program.path(".skillhost/host.db-wal")).unwrap();
    program.write(".skillhost/host.db", "x".repeat(5_000));
    let ended = program.run(&["runs"]);
    assert!(ended.stderr.contains("recover --reindex") && ended.stdout.contains("completed"), "{}", ended.all());
    let ended = program.run(&["history"]);
    assert_eq!(ended.code, 20, "{}", ended.all());
}

#[test]
fn history_of_nothing_makes_nothing() {
    let program = Program::new();
    assert_snapshot!("history_empty", program.run(&["--state", "elsewhere", "history", "--count", "3"]).all());
    assert!(!program.path("elsewhere").exists());
}

#[test]
fn an_audit_has_every_step_and_decision() {
    let program = program();
    assert_snapshot!("audit_csv", columns(&program.run(&["audit", "export", "--format", "csv"]).stdout));
    let lines = program.run(&["audit", "export", "--principal", "agent:a"]).stdout;
    let actions: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        actions.iter().map(|entry| entry["action"].as_str().unwrap()).collect::<Vec<_>>(),
        ["header", "denied", "run-end"]
    );
    let page = program.run(&["audit", "export", "--format", "html", "--limit", "2"]);
    assert!(page.stdout.starts_with("<!DOCTYPE html>") && page.stderr.contains("--limit"), "{}", page.all());
    let (code, document) = program.json(&["audit", "export", "--run", "last"]);
    assert_eq!((code, document["result"]["entries"].as_array().unwrap().len()), (0, 3));
    assert_eq!(document["result"]["runs"][0]["ended"], true);
}

/// The columns of an export that are the same in every run.
fn columns(csv: &str) -> String {
    let line = |line: &str| line.split(',').skip(3).take(7).collect::<Vec<_>>().join(",");
    csv.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_changed_trace_is_in_the_audit_as_such() {
    let program = program();
    let path = program.path(&format!(".skillhost/runs/{}/trace.jsonl", first_run(&program)));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("a<b>", "a<c>")).unwrap();
    let ended = program.run(&["audit", "export"]);
    assert_eq!(ended.code, 9, "{}", ended.all());
    assert!(
        ended.stderr.contains("is damaged") && ended.stdout.contains("\"action\":\"step-begin\""),
        "{}",
        ended.all()
    );
}

/// The name of the first run's folder; the program's output has `$RUN` in its place.
fn first_run(program: &Program) -> String {
    let mut names: Vec<String> = fs::read_dir(program.path(".skillhost/runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.remove(0)
}

#[test]
fn gc_deletes_what_is_asked_for() {
    let program = program();
    assert_eq!(program.run(&["history"]).code, 0);
    let (_, old) = program.json(&["gc"]);
    assert_eq!(old["result"]["runs"], serde_json::json!([]), "nothing is thirty days old");
    let (_, dry) = program.json(&["gc", "--keep", "1", "--dry-run"]);
    assert_eq!(dry["result"]["runs"].as_array().unwrap().len(), 1);
    assert_eq!(runs(&program, &[]).len(), 2);
    let ended = program.run(&["gc", "--keep", "1"]);
    assert!(ended.code == 0 && ended.stdout.contains("deleted: 1 run, "), "{}", ended.all());
    assert_eq!(runs(&program, &[])[0]["status"], "denied");
    let (code, all) = program.json(&["gc", "--older-than", "0s"]);
    assert_eq!((code, all["result"]["runs"].as_array().unwrap().len()), (0, 1));
    assert!(all["result"]["components"].as_u64().unwrap() <= 1);
    assert_eq!(runs(&program, &[]).len(), 0);
    assert_eq!(program.run(&["gc", "--older-than", "soon"]).code, 2);
    // The program runs on with what is left.
    assert_eq!(program.run(&["run", "good.json"]).code, 0);
}
