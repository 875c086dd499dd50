//! What an approver sees and what that binds, and that a run which waits never stays where nobody can end it.

use std::fs;

use host_tests::{repo, tree};
use serde_json::{Value, json};

use crate::program::Program;

/// A step that needs approval behind one that changes a file.
fn plan(on_failure: &str, text: &str) -> String {
    json!({"schema": "skillhost.plan/1", "name": "post", "on_failure": on_failure, "steps": [
        {"id": "over", "tool": "files.write-text", "input": {"path": "/workspace/log.txt", "text": "over\n"}},
        {"id": "wipe", "tool": "files.remove", "depends_on": ["over"], "input": {"path": format!("/workspace/{text}")}},
    ]})
    .to_string()
}

/// One that waits for an hour or a second.
fn question(on_failure: &str, expires_in_s: u64) -> String {
    json!({"schema": "skillhost.plan/1", "name": "ask", "on_failure": on_failure, "steps": [
        {"id": "over", "tool": "files.write-text", "input": {"path": "/workspace/log.txt", "text": "over\n"}},
        {"id": "ask", "approve": {"message": "is it right?", "expires_in_s": expires_in_s}, "depends_on": ["over"]},
        {"id": "by", "tool": "files.append", "input": {"path": "/workspace/log.txt", "text": "{{steps.ask.by}}\n"}},
    ]})
    .to_string()
}

fn program() -> Program {
    let program = Program::new();
    let policy = repo::text("policies/default.toml").replace("approval = \"never\"", "");
    program
        .write("policies/default.toml", policy)
        .write("workspace/log.txt", "begin\n")
        .write("workspace/old.txt", "old\n");
    program.write("plan.json", plan("stop", "old.txt")).write("ask.json", question("rollback", 3_600));
    program
}

fn log(program: &Program) -> String {
    fs::read_to_string(program.path("workspace/log.txt")).unwrap()
}

fn run_id(program: &Program) -> String {
    let run = fs::read_dir(program.state("runs")).unwrap().next().unwrap().unwrap();
    run.file_name().into_string().unwrap()
}

fn waiting(program: &Program) -> usize {
    let (_, value) = program.json(&["dashboard"]);
    value["result"]["waiting"].as_array().unwrap().len()
}

#[test]
fn the_whole_subject_is_shown_and_an_approval_names_it() {
    let program = program();
    let name = format!("{}/end-of-it", "long".repeat(60));
    program.write("plan.json", plan("stop", &name)).write(&format!("workspace/{name}"), "x");
    let (code, paused) = program.json(&["run", "plan.json"]);
    assert_eq!(code, 30, "{paused:#}");
    let shown = program.run(&["approve", "last", "--show"]);
    assert_eq!(shown.code, 0, "{}", shown.all());
    for what in [
        "end-of-it",
        "files.remove",
        "built in",
        "folder /workspace = $DIR/workspace (read-write)",
        "no network",
        "policies/default.toml",
        "removed file",
        "subject: $SUBJECT\n",
    ] {
        assert!(shown.stdout.contains(what), "{what}: {}", shown.all());
    }
    let subject = program.subject("last");
    assert_eq!(paused["result"]["pending"]["subject"], subject.as_str());
    assert_eq!(paused["error"]["details"]["subject"], subject.as_str());
    // Nobody has seen it.
    let blind = program.run(&["approve", "last", "--by", "ann"]);
    assert!(blind.code == 2 && blind.stderr.contains("--show"), "{}", blind.all());
    let other = program.run(&["approve", "last", "--by", "ann", "--subject", &"0".repeat(64)]);
    assert!(other.code == 2 && other.stderr.contains("--show"), "{}", other.all());
    for by in ["", " ", "\t", "\u{200b}", "a\nb", "\u{1b}[1mann"] {
        for verb in ["approve", "reject"] {
            let ended = program.run(&[verb, "last", "--by", by, "--subject", &subject]);
            assert_eq!(ended.code, 2, "{by:?}: {}", ended.all());
        }
    }
    assert_eq!(waiting(&program), 1);
    assert!(program.path(&format!("workspace/{name}")).exists());
    let ended = program.run(&["approve", "last", "--by", "ann", "--subject", &subject]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(!program.path(&format!("workspace/{name}")).exists());
    assert_eq!(program.run(&["replay", "last"]).code, 0);
}

#[test]
fn on_a_terminal_it_is_shown_and_asked() {
    let program = program();
    assert_eq!(program.run(&["run", "plan.json"]).code, 30);
    let ended = program.on_terminal(&["approve", "last", "--by", "ann"], "n\n");
    assert_eq!(ended.code, 30, "{}", ended.all());
    assert!(
        ended.stdout.contains("may it run? [y/N]") && ended.stdout.contains("/workspace/old.txt"),
        "{}",
        ended.all()
    );
    assert_eq!(waiting(&program), 1);
    let ended = program.on_terminal(&["approve", "last", "--by", "ann"], "y\n");
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(!program.path("workspace/old.txt").exists());
}

#[test]
fn an_answer_is_bound_to_the_place() {
    let program = program();
    program.write("other/old.txt", "other\n").write("other/log.txt", "");
    assert_eq!(program.run(&["run", "plan.json"]).code, 30);
    let subject = program.subject("last");
    // In another folder it is another question, which nobody has seen.
    let ended = program.run(&["approve", "last", "--by", "ann", "--subject", &subject, "--workspace", "other"]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    // The same path, another folder: what was seen is not there any more.
    assert_eq!(program.approve("last", &["--no-continue"]).code, 0);
    fs::rename(program.path("workspace"), program.path("moved")).unwrap();
    fs::rename(program.path("other"), program.path("workspace")).unwrap();
    let ended = program.run(&["recover"]);
    assert_ne!(ended.code, 0, "{}", ended.all());
    assert!(program.path("workspace/old.txt").exists() && program.path("moved/old.txt").exists());
}

/// Something that keeps a run from going on.
type Change = fn(&Program, &str);

#[test]
fn a_run_that_waits_can_always_be_rejected() {
    let changes: [(&str, Change); 5] = [
        ("policy", |program, _| {
            let policy = fs::read_to_string(program.path("policies/default.toml")).unwrap();
            program.write("policies/default.toml", format!("{policy}\n# changed\n"));
        }),
        ("no policy", |program, _| fs::remove_file(program.path("policies/default.toml")).unwrap()),
        ("plan", |program, run| program.write_state(&format!("runs/{run}/plan.json"), "{}")),
        ("components", |program, run| fs::remove_dir_all(program.state(&format!("runs/{run}/components"))).unwrap()),
        ("workspace", |program, _| fs::rename(program.path("workspace"), program.path("moved")).unwrap()),
    ];
    for (what, change) in changes {
        let program = program();
        assert_eq!(program.run(&["run", "ask.json"]).code, 30);
        let run = run_id(&program);
        change(&program, &run);
        // A question has no folders: what it is about is the plan alone.
        let refused = program.run(&["approve", &run, "--show"]);
        assert!(refused.code != 0 || what == "workspace", "{what}: {}", refused.all());
        let ended = program.run(&["reject", &run, "--by", "bob", "--reason", "no"]);
        // What cannot be put back because it is not there is said.
        assert_eq!(ended.code, if what == "workspace" { 21 } else { 14 }, "{what}: {}", ended.all());
        assert_eq!(waiting(&program), 0, "{what}");
        let (_, runs) = program.json(&["runs"]);
        // The other one, where there is one, took it back.
        let status = runs["result"]["runs"].as_array().unwrap().last().unwrap();
        assert!(
            ["denied", "rolled-back", "rollback-incomplete"].contains(&status["status"].as_str().unwrap()),
            "{what}: {status}"
        );
        assert_eq!(program.run(&["trace", "verify", &run]).code, 0, "{what}");
        let again = program.run(&["reject", &run, "--by", "bob"]);
        assert!(again.code == 2 && again.stderr.contains("host trace show"), "{what}: {}", again.all());
        let recovered = program.run(&["recover"]);
        assert!(recovered.stdout.contains("no run was stopped"), "{what}: {}", recovered.all());
        if what.contains("policy") {
            // Its record is whole, so it replays.
            assert_eq!(program.run(&["replay", &run]).code, 0, "{what}");
        }
    }
}

#[test]
fn after_the_plan_was_edited_nothing_is_recorded() {
    let program = program();
    assert_eq!(program.run(&["run", "plan.json"]).code, 30);
    let (run, subject) = (run_id(&program), program.subject("last"));
    let file = program.state(&format!("runs/{run}/plan.json"));
    let kept = fs::read(&file).unwrap();
    fs::write(&file, String::from_utf8_lossy(&kept).replace("old.txt", "log.txt")).unwrap();
    let ended = program.run(&["approve", &run, "--by", "ann", "--subject", &subject]);
    assert_ne!(ended.code, 0, "{}", ended.all());
    assert_eq!(waiting(&program), 1);
    fs::write(&file, kept).unwrap();
    let ended = program.run(&["approve", &run, "--by", "ann", "--subject", &subject]);
    assert_eq!(ended.code, 0, "{}", ended.all());
}

#[test]
fn what_was_taken_back_waits_no_more_and_what_waits_is_not_resumed() {
    let program = program();
    let before = tree::read(&program.path("workspace"));
    assert_eq!(program.run(&["run", "ask.json"]).code, 30);
    let run = run_id(&program);
    let resumed = program.run(&["resume", &run]);
    assert!(resumed.code == 2 && resumed.stderr.contains("host approve"), "{}", resumed.all());
    assert_eq!(program.run(&["rollback", &run]).code, 0);
    assert_eq!((waiting(&program), tree::read(&program.path("workspace")) == before), (0, true));
    for verb in ["approve", "reject"] {
        let ended = program.run(&[verb, &run, "--by", "ann", "--subject", &"0".repeat(64)]);
        assert!(ended.code == 2 && ended.stderr.contains(&format!("host trace show {}", "$RUN")), "{}", ended.all());
    }
    assert_eq!(program.run(&["trace", "show", &run]).code, 0);
    assert!(program.run(&["recover"]).stdout.contains("no run was stopped"));
}

#[test]
fn who_is_late_ends_the_run_with_the_next_command() {
    let program = program();
    let before = tree::read(&program.path("workspace"));
    program.write("ask.json", question("rollback", 1));
    assert_eq!(program.run(&["run", "ask.json"]).code, 30);
    let run = run_id(&program);
    // Each of these is the next command; until it is too late they change nothing.
    while waiting(&program) > 0 {
        assert_eq!(log(&program), "over\n");
    }
    assert!(tree::read(&program.path("workspace")) == before, "{}", log(&program));
    let (_, runs) = program.json(&["runs"]);
    assert_eq!(runs["result"]["runs"][0]["status"], "rolled-back", "{runs:#}");
    for verb in ["approve", "reject"] {
        let ended = program.run(&[verb, &run, "--by", "ann", "--subject", &"0".repeat(64)]);
        assert_eq!(ended.code, 2, "{}", ended.all());
    }
    assert_eq!(program.run(&["replay", &run]).code, 0);
}

#[test]
fn of_decisions_at_once_one_counts_and_the_others_are_told() {
    let program = program();
    assert_eq!(program.run(&["run", "plan.json"]).code, 30);
    let subject = program.subject("last");
    let children: Vec<_> = (0..6)
        .map(|number| {
            let verb = if number % 2 == 0 { "approve" } else { "reject" };
            let by = format!("p{number}");
            let mut command = program.command(&[verb, "last", "--by", &by, "--subject", &subject]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ended: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let codes: Vec<Option<i32>> = ended.iter().map(|output| output.status.code()).collect();
    let decided = codes.iter().filter(|code| matches!(code, Some(0 | 14))).count();
    let said: Vec<_> = ended.iter().map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).collect();
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 2 | 14))), "{codes:?} {said:#?}");
    assert_eq!(
        said.iter()
            .filter(|text| text.contains("step `wipe` of run"))
            .filter(|text| text.contains("d by p") && text.contains("note:"))
            .count(),
        1,
        "{codes:?} {said:#?}"
    );
    assert!(decided >= 1, "{codes:?} {said:#?}");
    let (_, log): (i32, Value) = program.json(&["trace", "show", "last"]);
    let answers =
        log["result"]["events"].as_array().unwrap().iter().filter(|event| event["kind"] == "approval").count();
    assert_eq!(answers, 1);
}

#[test]
fn hints_work_on_the_state_that_was_named() {
    let program = program();
    let ended = program.run(&["run", "ask.json", "--state", "kept here"]);
    assert_eq!(ended.code, 30, "{}", ended.all());
    assert!(ended.stderr.contains("`host --state 'kept here' approve"), "{}", ended.all());
    let run = fs::read_dir(program.path("kept here/runs")).unwrap().next().unwrap().unwrap().file_name();
    let line = format!("$HOST --state 'kept here' reject {} --by ann --reason no", run.to_str().unwrap());
    assert_eq!(program.shell(&line).code, 14);
}
