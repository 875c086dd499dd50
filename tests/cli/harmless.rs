//! What a terminal is shown: nothing that plans, files, people or documents say can drive it, or look like a line of ours.

use host_tests::repo;
use serde_json::{Value, json};
use skillhost::harmless::is_hidden;

use crate::program::{Ended, Program};

/// Sets the clipboard, clears the screen, forges an end and a hint, turns text around, hides some.
const HOSTILE: &str = "\u{1b}]52;c;eA==\u{7}\u{1b}[2J\u{9b}31m\r\nerror: forged\nhint: forged\u{202e}\u{2066}\u{200b}\u{2028}\u{e0041}\t\u{7f}";

/// Nothing of it is left in what a person sees, and no line of theirs looks like one of ours.
fn is_harmless(what: &str, ended: &Ended) {
    for text in [&ended.stdout, &ended.stderr] {
        assert!(!text.chars().any(|c| is_hidden(c) && c != '\n'), "{what}: {text:?}");
        assert!(
            !text.lines().any(|line| line.contains("forged")
                && !line.contains("\\u{1b}")
                && !line.contains("\\u001b")
                && !line.starts_with(['+', '-', ' '])),
            "{what}: {text}"
        );
    }
}

fn program() -> Program {
    let program = Program::new();
    program.write("policies/default.toml", repo::text("policies/default.toml")).write("workspace/kept.txt", HOSTILE);
    program
}

fn plan(name: &str, steps: &Value) -> String {
    json!({ "schema": "skillhost.plan/1", "name": name, "tags": [format!("{HOSTILE}tag")], "steps": steps }).to_string()
}

#[test]
fn what_a_person_is_shown_cannot_drive_a_terminal() {
    let program = program();
    // A name of a file may hold all but a slash and a zero.
    let path = format!("/workspace/{HOSTILE}.txt");
    let steps = json!([
        {"id": "write", "tool": "files.write-text", "input": {"path": path, "text": HOSTILE}},
        {"id": "list", "tool": "files.list", "depends_on": ["write"], "input": {"path": "/workspace"}},
        {"id": "read", "tool": "files.read-text", "depends_on": ["list"], "input": {"path": format!("{path}{HOSTILE}")}},
    ]);
    program.write("refused.json", plan(HOSTILE, &steps)).write("plan.json", plan("turned\u{202e}\u{2066}", &steps));
    program.write(
        "asks.json",
        json!({ "schema": "skillhost.plan/1", "name": "asks\u{202e}", "steps": [
            {"id": "ask", "approve": {"message": HOSTILE, "context": {"note": HOSTILE}}},
        ] })
        .to_string(),
    );
    let folder = format!("bundle{HOSTILE}");
    let call = json!({"path": "/workspace/kept.txt"}).to_string();
    let removal = json!({"path": path}).to_string();
    let (out, tag) = (format!("--out=x{HOSTILE}"), format!("{HOSTILE}tag"));
    let nonsense = format!("--{HOSTILE}");
    let commands: &[&[&str]] = &[
        &["run", "refused.json"],
        &["check", "refused.json"],
        &["run", "plan.json", "--dry-run"],
        &["run", "plan.json", "--color", "never"],
        &["run", "plan.json", "-v"],
        &["run", HOSTILE],
        &["call", "files.read-text", "--input", &call],
        &["call", "files.read-text", "--input", &removal],
        &["call", HOSTILE],
        &["inspect", HOSTILE],
        &["run", "asks.json"],
        &["reject", "last", "ask", "--by", "ann", "--reason", HOSTILE],
        &["reject", "last", "ask", "--by", "ann"],
        &["runs"],
        &["runs", "--tag", &tag],
        &["dashboard"],
        &["history"],
        &["trace", "show", "last", "--full"],
        &["trace", "diff", "last", "last"],
        &["audit", "export"],
        &["audit", "export", "--format", "html"],
        &["audit", "accesses"],
        &["bundle", "init", &folder],
        &["bundle", "id", &folder, "--files"],
        &["bundle", "verify", &folder],
        &["bundle", "verify", "nowhere\u{9b}"],
        &["policy", "suggest", "last"],
        &["policy", "check", HOSTILE],
        &["plan", "import", "plan.json", &out],
        &["undo", "--force"],
        &["rollback", HOSTILE],
        &["gc", "--dry-run", "--older-than", "0s"],
        &["run", &nonsense],
        &["gc", "--keep", HOSTILE],
        &["call", "files.read-text", "--input", HOSTILE],
        &[HOSTILE],
    ];
    for command in commands {
        is_harmless(&command.join(" "), &program.run(command));
    }
    // A table for spreadsheets has line ends of its own.
    let csv = program.run(&["audit", "export", "--format", "csv"]).stdout;
    assert!(csv.split("\r\n").all(|row| !row.chars().any(is_hidden)), "{csv:?}");
}

#[test]
fn programs_are_told_the_very_text() {
    let program = program();
    let call = json!({"path": "/workspace/kept.txt"}).to_string();
    let ended = program.run(&["call", "files.read-text", "--input", &call, "--json"]);
    is_harmless("--json", &ended);
    let value: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(value["result"]["output"], HOSTILE);
    let ended = program.run(&["call", "files.read-text", "--input", &call]);
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).expect("JSON"), HOSTILE);
}
