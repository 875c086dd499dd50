//! `--events ndjson`: what happens in a run, one JSON object a line on stderr.

use host_tests::repo;
use serde_json::{Value, json};

use crate::program::{Ended, Program};

fn program() -> Program {
    let program = Program::new();
    program.write("policy.toml", repo::text("policies/default.toml"));
    program.write("workspace/old.txt", "old").write("workspace/gone.txt", "gone").write("workspace/from.txt", "moves");
    program.write("plan.json", plan("/workspace/old.txt"));
    program
}

/// Makes, changes, removes and renames a file, skips a step, and reads a file that may not be there.
fn plan(last: &str) -> String {
    let write = |id: &str, path: &str| json!({ "id": id, "tool": "files.write-text", "input": { "path": path, "text": "new" } });
    json!({
        "schema": "skillhost.plan/1", "name": "p", "inputs": { "go": false },
        "steps": [
            write("make", "/workspace/new.txt"),
            write("change", "/workspace/old.txt"),
            { "id": "wipe", "tool": "files.remove", "input": { "path": "/workspace/gone.txt" } },
            { "id": "move", "tool": "files.move", "input": { "source": "/workspace/from.txt", "target": "/workspace/to.txt" } },
            { "id": "not", "tool": "files.read-text", "input": { "path": "/workspace/old.txt" }, "when": { "value": "{{inputs.go}}", "is": true } },
            { "id": "last", "tool": "files.read-text", "input": { "path": last } },
        ],
    })
    .to_string()
}

/// The lines, each of which has to be an object, without what differs between two runs.
fn events(ended: &Ended) -> Vec<Value> {
    let event = |line: &str| {
        let mut event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let members = event.as_object_mut().expect("an object");
        for (key, is_there) in [("run", "run.start"), ("duration_us", "step.end"), ("duration_us", "step.failed")] {
            if members["event"] == is_there {
                assert!(members.remove(key).is_some(), "{line}");
            }
        }
        event
    };
    ended.stderr.lines().map(event).collect()
}

fn names(events: &[Value]) -> Vec<String> {
    let name = |event: &Value| {
        let of = ["step", "path", "from", "outcome"].map(|key| event[key].as_str().map(|text| format!(" {text}")));
        of.into_iter().flatten().fold(event["event"].as_str().expect("a name").to_owned(), |name, of| name + &of)
    };
    events.iter().map(name).collect()
}

const RUN: [&str; 6] = ["run", "plan.json", "--policy", "policy.toml", "--events", "ndjson"];

#[test]
fn a_run_tells_what_happens_and_which_files_it_changes() {
    let program = program();
    let ended = program.run(&RUN);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.starts_with("plan `p` completed\n"), "{}", ended.all());
    let told = events(&ended);
    assert_eq!(
        names(&told),
        [
            "run.start",
            "plan.ready",
            "step.start make",
            "file.created make /workspace/new.txt",
            "step.end make completed",
            "step.start change",
            "file.modified change /workspace/old.txt",
            "step.end change completed",
            "step.start wipe",
            "file.deleted wipe /workspace/gone.txt",
            "step.end wipe completed",
            "step.start move",
            "file.renamed move /workspace/to.txt /workspace/from.txt",
            "step.end move completed",
            "step.skipped not",
            "step.start last",
            "step.end last completed",
            "run.end completed",
        ]
    );
    assert_eq!(
        told[2],
        json!({ "event": "step.start", "step": "make", "tool": "files.write-text", "attempt": 1, "compensates": false })
    );
    let document = repo::text("docs/events.md");
    for event in &told {
        for word in event.as_object().unwrap().keys().chain([&event["event"].as_str().unwrap().to_owned()]) {
            assert!(document.contains(&format!("`{word}`")), "docs/events.md says nothing of `{word}`");
        }
    }
}

#[test]
fn what_goes_wrong_is_told_and_two_runs_tell_the_same() {
    let program = program();
    program.write(
        "plan.json",
        r#"{"schema": "skillhost.plan/1", "name": "p", "steps": [
        {"id": "last", "tool": "files.read-text", "input": {"path": "/workspace/none.txt"}}]}"#,
    );
    let (first, second) = (program.run(&RUN), program.run(&RUN));
    assert_eq!((first.code, first.stdout.as_str()), (7, program.run(&RUN[..4]).stdout.as_str()), "{}", first.all());
    let told = events(&first);
    assert_eq!(told, events(&second));
    assert_eq!(
        names(&told),
        ["run.start", "plan.ready", "step.start last", "step.failed last failed", "run.end failed", "error"]
    );
    assert_eq!(told[3]["error"]["code"], "not-found");
    assert_eq!((&told[5]["exit_code"], &told[5]["error"]["code"]), (&json!(7), &json!("USER_CODE_ERROR")));
    // Once more what did not complete, by another command.
    program.write("workspace/none.txt", "now");
    let resumed = program.run(&["resume", "last", "--events", "ndjson"]);
    assert_eq!(resumed.code, 0, "{}", resumed.all());
    assert_eq!(
        names(&events(&resumed)),
        ["run.start", "plan.ready", "step.start last", "step.end last completed", "run.end completed"]
    );
    // Denied, and refused.
    program.write("deny.toml", repo::text("policies/deny-all.toml"));
    let denied = program.run(&["run", "plan.json", "--policy", "deny.toml", "--events", "ndjson"]);
    assert_eq!(names(&events(&denied)), ["run.start", "step.denied last", "run.end denied", "error"]);
    program.write("plan.json", plan("x").replace("remove", "removed"));
    let refused = program.run(&["run", "plan.json", "--events", "ndjson", "--json"]);
    let told = events(&refused);
    assert_eq!(names(&told), ["note", "run.start", "plan.refused", "run.end refused", "error"]);
    assert_eq!(told[2]["problems"][0]["code"], "unknown-tool");
    for quiet in
        [&["-q", "run", "plan.json", "--events", "ndjson"][..], &["run", "plan.json", "--events", "ndjson", "-q"]]
    {
        let told = names(&events(&program.run(quiet)));
        assert_eq!(told, ["run.start", "plan.refused", "run.end refused", "error"]);
    }
    let document: Value = serde_json::from_str(&refused.stdout).expect("one document");
    assert_eq!(document["ok"], false);
    assert_eq!(program.run(&[&RUN[..], &["--interactive"]].concat()).code, 2);
}

#[test]
fn a_rehearsal_changes_no_file() {
    let program = program();
    program.write(
        "plan.json",
        r#"{"schema": "skillhost.plan/1", "name": "p", "steps": [
        {"id": "make", "tool": "files.write-text", "input": {"path": "/workspace/new.txt", "text": "new"}}]}"#,
    );
    let told = events(&program.run(&[&RUN[..], &["--dry-run"]].concat()));
    assert_eq!(
        names(&told),
        ["run.start", "plan.ready", "step.start make", "step.end make completed", "run.end completed", "note"]
    );
}
