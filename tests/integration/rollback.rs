//! Everything that completed is taken back, the last one first: files by their journal, the rest by what the plan says, and what somebody
//! else has changed since is left alone and listed.

mod later;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use host_tests::plan::READ_WRITE;
use host_tests::server::{Request, ok, response};
use host_tests::trace::TraceFiles;
use host_tests::{Run, Server, TestHost, plan, policy, step, tree};
use serde_json::{Value, json};
use skillhost::outcome::RunOutcome;
use skillhost::trace::verify::verify;
use skillhost::{GoOnOptions, Report};

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
