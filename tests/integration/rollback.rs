//! Everything that completed is taken back, the last one first: files by their journal, the rest by what the plan says, and what somebody
//! else has changed since is left alone and listed.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use host_tests::plan::READ_WRITE;
use host_tests::server::{Request, ok, response};
use host_tests::trace::TraceFiles;
use host_tests::{Run, Server, TestHost, plan, policy, step, tree};
use serde_json::{Value, json};
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::policy::{ApprovalAnswer, ApprovalRequest};
use skillhost::store::RunDir;
use skillhost::trace::verify::verify;
use skillhost::{Error, GoOnOptions, Report, RunOptions};

/// Contents, kinds, modes and times of last change.
fn digest(folder: &Path) -> Vec<String> {
    let entry = |(name, content): (String, String)| {
        let meta = std::fs::symlink_metadata(folder.join(&name)).unwrap();
        format!("{name} {:o} {}.{} {content}", meta.mode(), meta.mtime(), meta.mtime_nsec())
    };
    tree::read(folder).into_iter().map(entry).collect()
}

fn files() -> TestHost {
    let host = TestHost::new(&policy("", READ_WRITE));
    host.write("a", "a\n");
    host.write("old/deep/file", "deep\n");
    host
}

fn write(id: &str, path: &str, text: &str) -> Value {
    step(id, "files.write-text", json!({"path": format!("/workspace/{path}"), "text": text}))
}

fn fails() -> Value {
    step("fails", "files.read-text", json!({"path": "/workspace/none"}))
}

fn with(mut step: Value, key: &str, value: Value) -> Value {
    step[key] = value;
    step
}

/// A plan that is taken back where it fails.
fn back(steps: impl IntoIterator<Item = Value>) -> Value {
    with(plan(steps), "on_failure", json!("rollback"))
}

/// Three steps that change files in different ways, then `last`.
fn changes(last: Option<Value>) -> Vec<Value> {
    let mut steps = vec![
        write("over", "a", "another\n"),
        step("away", "files.move", json!({"source": "/workspace/old/deep/file", "target": "/workspace/moved"})),
        step("gone", "files.remove", json!({"path": "/workspace/old", "recursive": true})),
    ];
    steps.extend(last);
    steps
}

/// The steps of the events of a kind, in order.
fn steps_of<'t>(trace: &'t TraceFiles, kind: &'t str) -> Vec<&'t str> {
    trace.of_kind(kind).map(|event| event["step"].as_str().unwrap()).collect()
}

fn left(report: &Report) -> &[String] {
    &report.rollback.as_ref().unwrap_or_else(|| panic!("{report:#?}")).left
}

fn roll_back(host: &TestHost, run: &Run) -> Run {
    let report = host.host.roll_back(&run.recorded(), &GoOnOptions::default()).unwrap();
    Run { trace: TraceFiles::read(&report.folder), report }
}

fn undone(report: &Report) -> Vec<bool> {
    report.steps.iter().map(|step| step.undone).collect()
}

#[test]
fn a_failure_takes_back_everything_the_last_one_first() {
    let host = files();
    let before = digest(&host.workspace());
    let run = host.run(&back(changes(Some(fails()))));
    assert_eq!((run.report.outcome, left(&run.report).len()), (RunOutcome::RolledBack, 0), "{:#?}", run.report);
    assert_eq!(digest(&host.workspace()), before);
    assert_eq!(steps_of(&run.trace, "undone"), ["gone", "away", "over"]);
    assert_eq!(undone(&run.report), [true, true, true, false]);
    assert_eq!(run.report.rollback.as_ref().unwrap().because, "step `fails` ended as failed");
    host.replay_equals(&run);
    verify(run.folder()).unwrap();
    // A plan that does not ask for it keeps what it has.
    let kept = host.run(&plan(changes(Some(fails()))));
    assert_eq!((kept.report.outcome, kept.report.rollback.as_ref()), (RunOutcome::Failed, None));
    assert_eq!(std::fs::read_to_string(host.workspace().join("a")).unwrap(), "another\n");
}

fn answer(request: &Request) -> Vec<u8> {
    match request.target.as_str() {
        "/refuses" if request.method == "DELETE" => response("500 Internal Server Error", &[], "no"),
        _ => ok(format!("{}-{}", request.target, String::from_utf8_lossy(&request.body))),
    }
}

/// `files` may write, `http` may send.
fn sends(server: &Server) -> TestHost {
    let network = server.granted("/*", &["GET", "POST", "PUT", "DELETE"]);
    let text = policy("", READ_WRITE).replace(r#"["*"]"#, r#"["files", "text"]"#).replacen(
        r#"tools = ["files", "text"]"#,
        r#"tools = ["*"]"#,
        1,
    );
    let http = format!("[[grant]]\nskills = [\"http\"]\ntools = [\"*\"]\napproval = \"never\"\n{network}\n");
    let host = TestHost::new(&format!("{text}{http}"));
    host.write("a", "a\n");
    host
}

fn post(server: &Server, id: &str, path: &str, text: &str) -> Value {
    step(id, "http.post", json!({"url": server.url(path), "text": text}))
}

fn deletes(server: &Server, path: &str) -> Value {
    json!({"tool": "http.delete", "input": {"url": server.url(path), "expect-success": true}})
}

fn asked(server: &Server) -> Vec<String> {
    let requests = server.requests();
    let lines = requests
        .iter()
        .map(|request| format!("{} {} {}", request.method, request.target, String::from_utf8_lossy(&request.body)));
    lines.map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn what_was_sent_is_compensated_with_what_it_was_then_and_files_are_not_compensated() {
    let server = Server::new(answer);
    let host = sends(&server);
    let before = digest(&host.workspace());
    let never = json!({"tool": "files.append", "input": {"path": "/workspace/never", "text": "x"}});
    let restores =
        json!({"tool": "http.put", "input": {"url": server.url("/was"), "text": "{{steps.read}}{{steps.send.body}}"}});
    let run = host.run(&back([
        step("read", "files.read-text", json!({"path": "/workspace/a"})),
        with(post(&server, "send", "/one", "{{steps.read}}"), "compensate", restores),
        with(write("over", "a", "later\n"), "compensate", never),
        with(post(&server, "again", "/two", "2"), "compensate", deletes(&server, "/two")),
        fails(),
    ]));
    assert_eq!((run.report.outcome, left(&run.report).len()), (RunOutcome::RolledBack, 0), "{:#?}", run.report);
    assert_eq!(asked(&server), ["POST /one a", "POST /two 2", "DELETE /two", "PUT /was a\n/one-a"]);
    assert_eq!(digest(&host.workspace()), before);
    assert_eq!(steps_of(&run.trace, "undone"), ["over"]);
    let compensates: Vec<&Value> =
        run.trace.of_kind("step-begin").filter(|begin| begin["role"] == "compensation").collect();
    assert_eq!(compensates.iter().map(|begin| &begin["step"]).collect::<Vec<_>>(), ["again", "send"]);
    drop(server);
    host.replay_equals(&run);
    verify(run.folder()).unwrap();
}

#[test]
fn a_compensation_that_fails_stops_nothing_and_is_listed() {
    let server = Server::new(answer);
    let host = sends(&server);
    let before = digest(&host.workspace());
    let steps = [
        with(post(&server, "first", "/first", "1"), "compensate", deletes(&server, "/first")),
        write("over", "a", "later\n"),
        with(post(&server, "second", "/second", "2"), "compensate", deletes(&server, "/refuses")),
        fails(),
    ];
    let last =
        json!([deletes(&server, "/refuses"), {"tool": "http.put", "input": {"url": server.url("/last"), "text": ""}}]);
    let run = host.run(&with(back(steps), "compensate", last));
    assert_eq!(run.report.outcome, RunOutcome::RollbackIncomplete, "{:#?}", run.report);
    assert_eq!(
        left(&run.report),
        [
            "step `second`: its compensation http.delete ended as failed",
            "the plan's compensation 0 (http.delete) ended as failed"
        ]
    );
    let sent = asked(&server);
    assert_eq!(sent[2..], ["DELETE /refuses", "DELETE /first", "DELETE /refuses", "PUT /last"]);
    assert_eq!(digest(&host.workspace()), before);
    assert_eq!(undone(&run.report), [true, true, false, false]);
    host.replay_equals(&run);
}

#[test]
fn what_was_sent_and_cannot_be_taken_back_is_said() {
    let server = Server::new(answer);
    let host = sends(&server);
    let completed = host.run(&plan([post(&server, "send", "/one", "1"), write("over", "a", "later\n")])).completed();
    let rolled = roll_back(&host, &completed);
    assert_eq!(rolled.report.outcome, RunOutcome::RollbackIncomplete, "{:#?}", rolled.report);
    assert_eq!(left(&rolled.report), ["step `send` (http.post): what it may have sent cannot be taken back"]);
    assert_eq!(undone(&rolled.report), [false, true]);
    host.replay_equals(&rolled);
    // Its author says that it may stay.
    let stays = with(post(&server, "send", "/one", "1"), "irreversible", json!(true));
    let run = host.run(&back([stays, fails()]));
    assert_eq!((run.report.outcome, undone(&run.report)), (RunOutcome::RolledBack, vec![false, false]));
    // What only fetched has changed nothing.
    let get = step("get", "http.get", json!({"url": server.url("/one")}));
    let host = TestHost::new(&policy("", &server.granted("/*", &["GET"])));
    let run = host.run(&back([get, step("none", "http.post", json!({"url": server.url("/one"), "text": ""}))]));
    assert_eq!((run.report.outcome, left(&run.report).len()), (RunOutcome::RolledBack, 0), "{:#?}", run.report);
}

#[test]
fn what_somebody_else_has_changed_since_is_listed_and_left_alone() {
    let host = files();
    let destroys = json!({"tool": "files.remove", "input": {"path": "/workspace/new"}});
    let run = host
        .run(&plan([
            write("over", "a", "another\n"),
            with(write("new", "new", "mine\n"), "compensate", destroys),
            write("more", "more", "more\n"),
        ]))
        .completed();
    host.write("new", "somebody's\n");
    let rolled = roll_back(&host, &run);
    assert_eq!(rolled.report.outcome, RunOutcome::RollbackIncomplete, "{:#?}", rolled.report);
    let line = "step `new` (files.write-text): somebody else has changed /workspace/new since";
    assert_eq!(left(&rolled.report), [line]);
    assert_eq!(std::fs::read_to_string(host.workspace().join("new")).unwrap(), "somebody's\n");
    assert_eq!(std::fs::read_to_string(host.workspace().join("a")).unwrap(), "a\n");
    assert!(!host.workspace().join("more").exists());
    assert_eq!(undone(&rolled.report), [true, false, true]);
    let conflicts: Vec<&Value> = rolled.trace.of_kind("undone").map(|event| &event["what"]["conflicts"]).collect();
    assert_eq!(conflicts, [&Value::Null, &json!(["/workspace/new"]), &Value::Null]);
    host.replay_equals(&rolled);
}

#[test]
fn a_completed_and_a_failed_run_are_taken_back_afterwards() {
    for last in [None, Some(fails())] {
        let host = files();
        let before = digest(&host.workspace());
        let run = host.run(&plan(changes(last)));
        assert_ne!(digest(&host.workspace()), before);
        let rolled = roll_back(&host, &run);
        assert_eq!(rolled.report.outcome, RunOutcome::RolledBack, "{:#?}", rolled.report);
        assert_eq!(rolled.report.rollback.as_ref().unwrap().because, "it was asked for");
        assert_eq!(digest(&host.workspace()), before);
        assert_eq!(steps_of(&rolled.trace, "undone"), ["gone", "away", "over"]);
        assert_eq!(rolled.trace.of_kind("step-begin").count(), 0);
        host.replay_equals(&rolled);
        verify(rolled.folder()).unwrap();
        // All of it is undone: there is nothing more, neither of the one run nor of the other.
        assert!(matches!(host.host.undo(1, false), Err(Error::NothingToUndo { there: 0, .. })));
        let twice = host.host.roll_back(&run.recorded(), &GoOnOptions::default());
        assert!(matches!(twice, Err(Error::TakenBack { .. })), "{twice:?}");
        assert_eq!(digest(&host.workspace()), before);
    }
}

#[test]
fn what_was_skipped_or_only_asked_for_does_not_end_a_rollback() {
    let host = TestHost::configured(&policy("", READ_WRITE), &[], |builder| {
        builder.approver(|_: &ApprovalRequest<'_>| ApprovalAnswer::approve("test", "fine"))
    });
    let before = digest(&host.workspace());
    let never = json!({"value": "{{steps.first.bytes}}", "is": 2});
    let run = host.run(&plan([
        write("first", "first", "1"),
        with(write("skipped", "skipped", "2"), "when", never),
        json!({"id": "ask", "approve": {"message": "go on?"}}),
        write("last", "last", "{{steps.ask.by}}"),
        fails(),
        write("not", "not", "run"),
    ]));
    assert_eq!(run.report.outcome, RunOutcome::Failed, "{:#?}", run.report);
    assert_eq!(std::fs::read_to_string(host.workspace().join("last")).unwrap(), "test");
    let rolled = roll_back(&host, &run);
    assert_eq!(rolled.report.outcome, RunOutcome::RolledBack, "{:#?}", rolled.report);
    assert_eq!(steps_of(&rolled.trace, "undone"), ["last", "first"]);
    // Nobody is asked again, and nothing runs.
    assert_eq!((rolled.trace.of_kind("approval").count(), rolled.trace.of_kind("step-begin").count()), (0, 0));
    assert_eq!(tree::read(&host.workspace()).len(), before.len());
    host.replay_equals(&rolled);
}

/// Cuts the trace of a run off as a crash would: the first `whole` events, and half of the next.
fn cut(folder: &Path, whole: usize) {
    let path = folder.join("trace.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let half = &lines[whole][..lines[whole].len() / 2];
    std::fs::write(&path, lines[..whole].concat() + half).unwrap();
}

#[test]
fn a_crashed_run_is_taken_back_wherever_its_trace_ends() {
    let whole = files().run(&plan(changes(None))).completed();
    let end = whole.trace.events.len();
    let mut taken_back = Vec::new();
    for at in 1..end {
        let host = files();
        let before = digest(&host.workspace());
        let run = host.run(&plan(changes(None))).completed();
        cut(run.folder(), at);
        let rolled = roll_back(&host, &run);
        assert_eq!(rolled.report.outcome, RunOutcome::RolledBack, "{at}: {:#?}", rolled.report);
        assert_eq!(digest(&host.workspace()), before, "{at}");
        taken_back.push(steps_of(&rolled.trace, "undone").len());
        host.replay_equals(&rolled);
        // Nobody goes on with it.
        let gone_on = host.host.go_on(RunDir::open(run.folder()).unwrap(), &GoOnOptions::default());
        assert!(matches!(gone_on, Err(Error::TakenBack { .. })), "{gone_on:?}");
        assert!(host.host.store().stopped().unwrap().is_empty());
    }
    assert!(taken_back.is_sorted() && taken_back.contains(&1) && taken_back.ends_with(&[3]), "{taken_back:?}");
}

#[test]
fn a_rollback_that_crashed_goes_on_to_the_same_end() {
    let compensation =
        json!({"tool": "files.append", "input": {"path": "/workspace/log", "text": "{{steps.look.size}}\n"}});
    let look = step("look", "files.stat", json!({"path": "/workspace/a"}));
    let mut steps = changes(None);
    steps.insert(1, with(look, "compensate", compensation));
    let last = json!([{"tool": "files.append", "input": {"path": "/workspace/log", "text": "all\n"}}]);
    let plan = with(plan(steps), "compensate", last);
    let rolled = || {
        let host = files();
        let run = host.run(&plan).completed();
        let rolled = roll_back(&host, &run);
        assert_eq!(rolled.report.outcome, RunOutcome::RolledBack, "{:#?}", rolled.report);
        (host, rolled)
    };
    let (host, whole) = rolled();
    let (bytes, after) = (whole.bytes(), tree::read(&host.workspace()));
    assert_eq!(after["log"], "file \"8\\nall\\n\"");
    for at in 1..whole.trace.events.len() {
        let (host, rolled) = rolled();
        cut(rolled.folder(), at);
        let report = host.host.go_on(RunDir::open(rolled.folder()).unwrap(), &GoOnOptions::default()).unwrap();
        assert_eq!(report.outcome, RunOutcome::RolledBack, "{at}: {report:#?}");
        assert_eq!(host_tests::trace::text(rolled.folder()), bytes, "{at}");
        let log = tree::read(&host.workspace())["log"].clone();
        assert_eq!(log, after["log"], "{at}");
    }
}

#[test]
fn a_rollback_that_is_cancelled_before_it_begins_takes_back_nothing() {
    let host = files();
    let run = host.run(&back(changes(None))).completed();
    let after = digest(&host.workspace());
    let options = GoOnOptions::default();
    options.cancel.cancel();
    let report = host.host.roll_back(&run.recorded(), &options).unwrap();
    assert_eq!((report.outcome, report.rollback.as_ref()), (RunOutcome::Cancelled, None), "{report:#?}");
    assert_eq!(digest(&host.workspace()), after);
    host.replay_equals(&Run { trace: TraceFiles::read(&report.folder), report });
    assert_eq!(roll_back(&host, &run).report.outcome, RunOutcome::RolledBack);
}

#[test]
fn what_another_run_did_is_not_taken_back() {
    let host = files();
    let steps = || vec![write("over", "a", "another\n"), write("new", "new", "new")];
    host.run(&plan(steps())).completed();
    let after = digest(&host.workspace());
    let mut failing = steps();
    failing.extend([write("more", "more", "more"), fails()]);
    let run = host.run_with(&back(failing), &RunOptions { reuse: true, ..RunOptions::default() });
    assert_eq!(run.report.outcome, RunOutcome::RolledBack, "{:#?}", run.report);
    assert_eq!(undone(&run.report), [false, false, true, false]);
    assert_eq!(digest(&host.workspace()), after);
    host.replay_equals(&run);
}

#[test]
fn what_a_resumed_run_took_over_is_taken_back_with_the_rest() {
    let host = files();
    let before = digest(&host.workspace());
    let mut steps = changes(None);
    steps.extend([fails(), step("too", "files.read-text", json!({"path": "/workspace/too"}))]);
    // The first run keeps what it has; it is the second whose failure takes everything back.
    let failed = host.run(&plan(steps));
    assert_eq!(failed.report.outcome, RunOutcome::Failed);
    host.write("none", "is there");
    let resumed = host.host.resume(&failed.recorded(), &GoOnOptions::default()).unwrap();
    assert_eq!(resumed.steps[3].outcome, Some(Outcome::Completed { output: json!("is there") }), "{resumed:#?}");
    let resumed = Run { trace: TraceFiles::read(&resumed.folder), report: resumed };
    let rolled = roll_back(&host, &resumed);
    assert_eq!(steps_of(&rolled.trace, "undone"), ["gone", "away", "over"]);
    std::fs::remove_file(host.workspace().join("none")).unwrap();
    let names = |lines: Vec<String>| {
        lines.into_iter().map(|line| line.split_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(digest(&host.workspace())), names(before));
    host.replay_equals(&rolled);
}

#[test]
fn a_run_whose_denials_stop_nothing_is_taken_back_in_the_same_way() {
    let asks = policy("", READ_WRITE).replace("\"never\"", "\"required\"");
    let host = TestHost::new(&asks);
    let options = RunOptions { log_only: true, ..RunOptions::default() };
    let run = host.run_with(&plan([write("new", "new", "new")]), &options).completed();
    assert!(host.workspace().join("new").exists());
    let rolled = roll_back(&host, &run);
    assert_eq!(rolled.report.outcome, RunOutcome::RolledBack, "{:#?}", rolled.report);
    assert!(!host.workspace().join("new").exists());
    host.replay_equals(&rolled);
}

#[test]
fn a_step_that_ended_by_itself_is_not_what_is_taken_back_later() {
    let host = files();
    let over = with(write("over", "a", "x"), "expect", json!({"kind": "json", "schema": {"required": ["none"]}}));
    let before = digest(&host.workspace());
    let run = host.run(&plan([write("first", "first", "1"), over]));
    assert!(matches!(run.report.steps[1].outcome, Some(Outcome::Failed { .. })));
    assert_eq!(steps_of(&run.trace, "undone"), ["over"]);
    let rolled = roll_back(&host, &run);
    assert_eq!(steps_of(&rolled.trace, "undone"), ["first"]);
    assert_eq!(digest(&host.workspace()), before);
}
