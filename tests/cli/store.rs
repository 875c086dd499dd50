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
        assert!(program.state("host.db").is_file());
    }
    // A damaged index is said, and the list is there all the same.
    fs::remove_file(program.state("host.db-wal")).unwrap();
    program.write_state("host.db", "x".repeat(5_000));
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
    let path = program.state(&format!("runs/{}/trace.jsonl", first_run(&program)));
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
    let mut names: Vec<String> = fs::read_dir(program.state("runs"))
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

#[test]
fn tags_of_policy_and_plan_are_in_report_lists_and_audit() {
    let program = program();
    let policy = format!("{}\n[audit]\ntags = [\"soc2\"]\n", repo::text("policies/default.toml"));
    program.write("policies/default.toml", policy);
    program.write(
        "tagged.json",
        plan("tagged", "/workspace/a.txt").replace("\"steps\"", "\"tags\": [\"pci\", \"soc2\"], \"steps\""),
    );
    let (code, report) = program.json(&["run", "tagged.json"]);
    assert_eq!((code, &report["result"]["tags"]), (0, &serde_json::json!(["soc2", "pci"])));
    assert!(program.run(&["run", "tagged.json"]).stdout.contains("tags: soc2, pci\n"));
    // From the headers, then from an index that was built of them.
    for _ in 0..2 {
        let of = |tag: &str| runs(&program, &["--tag", tag]).len();
        assert_eq!((of("soc2"), of("pci"), of("hipaa")), (2, 2, 0));
        assert_eq!(runs(&program, &["--tag", "pci", "--status", "completed", "--limit", "1"])[0]["tags"][1], "pci");
        assert_eq!(program.run(&["history"]).code, 0);
    }
    assert_eq!(program.run(&["recover", "--reindex"]).code, 0);
    assert_eq!(runs(&program, &["--tag", "pci"]).len(), 2);
    let (_, audit) = program.json(&["audit", "export", "--tag", "pci"]);
    let entries = audit["result"]["entries"].as_array().unwrap();
    assert!(entries.len() >= 8 && entries.iter().all(|entry| entry["tags"] == serde_json::json!(["soc2", "pci"])));
    assert_eq!(program.run(&["replay", "last"]).code, 0, "the tags are in the trace");
}

#[test]
fn the_level_of_an_audit_is_asked_for_and_bounded_by_the_policy() {
    let program = program();
    let shown = |args: &[&str]| program.run(&[&["audit", "export"], args].concat());
    assert!(shown(&[]).stdout.contains("a<b>"));
    let summary = shown(&["--level", "DETAILED"]);
    assert!(!summary.stdout.contains("a<b>") && summary.stdout.contains("\"sha256\":"), "{}", summary.all());
    let none = shown(&["--level", "minimal"]).stdout;
    assert!(!none.contains("sha256") && none.contains("\"action\":\"step-end\""), "{none}");
    let wrong = shown(&["--level", "verbose"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("forensic"), "{}", wrong.all());
    let policy = format!("{}\n[audit]\nlevel = \"BASIC\"\n", repo::text("policies/default.toml"));
    program.write("basic.toml", policy);
    assert_eq!(program.run(&["run", "good.json", "--policy", "basic.toml"]).code, 0);
    let capped = shown(&["--run", "last", "--level", "forensic"]);
    assert!(
        !capped.stdout.contains("a<b>") && capped.stderr.contains("their policies allow no more"),
        "{}",
        capped.all()
    );
    assert_eq!(program.run(&["replay", "last"]).code, 0, "what is recorded stays what it was");
}

#[test]
fn accesses_are_noted() {
    let program = program();
    let accesses = || {
        let (code, document) = program.json(&["audit", "accesses"]);
        assert_eq!(code, 0);
        document["result"]["accesses"].as_array().unwrap().clone()
    };
    assert_eq!(accesses(), Vec::<Value>::new());
    assert_eq!(program.run(&["audit", "export", "--level", "basic", "--principal", "agent:a"]).code, 0);
    let noted = accesses();
    assert_eq!(noted[0]["action"], "export");
    assert_eq!(noted[0]["detail"], "level=none principal=agent:a");
    assert!(noted[0]["who"].as_str().unwrap().starts_with("uid:"), "{noted:?}");
    program.write(
        "write.json",
        plan("write", "/workspace/a.txt")
            .replace("read-text", "write-text")
            .replace("a.txt\"", "a.txt\", \"text\": \"b\""),
    );
    assert_eq!(program.run(&["run", "write.json"]).code, 0, "{}", program.run(&["run", "write.json"]).all());
    assert_eq!(program.run(&["undo"]).code, 0);
    program.write(
        "ask.json",
        r#"{ "schema": "skillhost.plan/1", "name": "ask", "steps": [ { "id": "ok", "approve": { "message": "may it?" } } ] }"#,
    );
    for verb in ["approve", "reject"] {
        assert_eq!(program.run(&["run", "ask.json"]).code, 30);
        let screen = program.run(&["dashboard"]);
        assert!(
            screen.stdout.contains("waits for approval") && screen.stdout.contains("step `ok`"),
            "{}",
            screen.all()
        );
        let subject = program.subject("last");
        program.run(&[verb, "last", "--by", "ann", "--reason", "so it is", "--subject", &subject]);
    }
    assert_eq!(program.run(&["gc", "--keep", "1"]).code, 0);
    let noted = accesses();
    let actions: Vec<&str> = noted.iter().map(|access| access["action"].as_str().unwrap()).collect();
    assert!(actions.starts_with(&["export", "undo", "approve", "reject", "gc"]), "{actions:?}");
    assert_eq!(
        (&noted[2]["who"], &noted[2]["step"], &noted[2]["detail"]),
        (&"ann".into(), &"ok".into(), &"so it is".into())
    );
    assert!(program.run(&["audit", "accesses"]).stdout.contains("approve"));
}

#[test]
fn the_dashboard_is_one_screen() {
    let program = program();
    let screen = program.run(&["dashboard"]);
    assert_eq!(screen.code, 0, "{}", screen.all());
    for part in ["1 completed, 1 denied", "last failures", "storage", "host trace show RUN"] {
        assert!(screen.stdout.contains(part), "{}", screen.all());
    }
    assert!(!screen.stdout.contains("waits for approval") && !screen.stdout.contains("stopped by a crash"));
    let (code, document) = program.json(&["dashboard", "--failures", "0"]);
    let result = &document["result"];
    assert_eq!((code, &result["runs"]), (0, &serde_json::json!({ "completed": 1, "denied": 1 })));
    assert_eq!(result["failures"], serde_json::json!([]));
    assert!(result["bytes"]["runs"].as_u64().unwrap() > 1_000, "{result}");
    // A trace without an end is what a crash leaves.
    let path = program.state(&format!("runs/{}/trace.jsonl", first_run(&program)));
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&path, format!("{}\n", lines[..lines.len() - 1].join("\n"))).unwrap();
    fs::remove_file(program.state("host.db")).ok();
    let screen = program.run(&["dashboard"]);
    assert!(screen.stdout.contains("stopped by a crash") && screen.stdout.contains("host recover"), "{}", screen.all());
    let empty = program.run(&["--state", "elsewhere", "dashboard"]);
    assert!(empty.code == 0 && empty.stdout.contains("none"), "{}", empty.all());
    assert!(!program.path("elsewhere").exists(), "looking makes nothing");
}
