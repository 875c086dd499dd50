//! `host recover` goes on with every run that was stopped, whatever becomes of the others.

use std::fs;

use serde_json::{Value, json};

use crate::program::Program;

const POLICY: &str = r#"schema = "skillhost.policy/1"
[[grant]]
skills = ["text"]
tools = ["*"]
"#;

/// A run that was killed right before its end was recorded.
fn stopped(program: &Program, policy: &str) {
    let split = json!({"id": "s", "tool": "text.split", "input": {"text": "a,b", "pattern": ","}});
    let plan = json!({"schema": "skillhost.plan/1", "name": "p", "steps": [split]});
    program.write("plan.json", plan.to_string()).write(policy, POLICY);
    let (code, reply) = program.json(&["run", "plan.json", "--policy", policy]);
    assert_eq!(code, 0, "{reply}");
    let runs = fs::read_dir(program.state("runs")).expect("runs").map(|run| run.expect("a run").path());
    let trace = runs.max().expect("the newest").join("trace.jsonl");
    let text = fs::read_to_string(&trace).expect("a trace");
    let kept = text.trim_end().rfind('\n').expect("several lines") + 1;
    fs::write(&trace, &text[..kept]).expect("written");
}

#[test]
fn one_that_cannot_go_on_is_in_nobodys_way() {
    let program = Program::new();
    for policy in ["first.toml", "second.toml", "third.toml"] {
        stopped(&program, policy);
    }
    // Each of the runs before has gone on as the next one began.
    let runs: Vec<_> =
        fs::read_dir(program.state("runs")).expect("runs").map(|run| run.expect("a run").path()).collect();
    for run in &runs {
        let text = fs::read_to_string(run.join("trace.jsonl")).expect("a trace");
        let whole: String = text.split_inclusive('\n').filter(|line| !line.contains("\"kind\":\"run-end\"")).collect();
        fs::write(run.join("trace.jsonl"), whole).expect("written");
    }
    program.write("first.toml", format!("{POLICY}env = {{ CHANGED = \"1\" }}\n"));
    fs::remove_file(program.path("third.toml")).expect("it is there");
    let (code, reply) = program.json(&["recover"]);
    let done = reply["result"]["runs"].as_array().map(Vec::len);
    assert_eq!((code, done), (11, Some(1)), "{reply:#}");
    let failed: &Vec<Value> = reply["error"]["details"]["runs"].as_array().expect("each of those that did not");
    let codes: Vec<&str> = failed.iter().map(|run| run["code"].as_str().expect("a code")).collect();
    assert_eq!(codes, ["SECURITY_VIOLATION", "REQUEST_INVALID"], "{reply:#}");
    // What was done is done; the others are told of again.
    let ended = program.run(&["recover"]);
    assert_eq!(ended.code, 11, "{}", ended.all());
    assert!(
        ended.stderr.contains("began under another policy") && ended.stderr.contains("third.toml"),
        "{}",
        ended.all()
    );
    // The same at the start of the next command.
    program.run(&["recover", "--reindex"]);
    let ended = program.run(&["run", "plan.json", "--policy", "second.toml"]);
    assert_eq!((ended.code, ended.stderr.matches("cannot go on").count()), (0, 2), "{}", ended.all());
}
