//! A run is taken back by another one: after it has ended, after it was cut off, once, and to the end although that one is cut off as well.

use std::path::Path;

use host_tests::plan::READ_WRITE;
use host_tests::trace::TraceFiles;
use host_tests::{Run, TestHost, plan, policy, step, tree};
use serde_json::json;
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::policy::{ApprovalAnswer, ApprovalRequest};
use skillhost::store::index::{RunFilter, RunStatus, reindex};
use skillhost::store::{Index, RunDir};
use skillhost::trace::verify::verify;
use skillhost::{Durability, Error, GoOnOptions, RunOptions};

use super::{back, changes, digest, fails, files, left, roll_back, steps_of, undone, with, write};

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

#[test]
fn a_rollback_that_was_incomplete_is_begun_again_and_does_what_was_left() {
    let compensation = |text: &str| json!({"tool": "files.append", "input": {"path": "/workspace/log", "text": text}});
    let look = step("look", "files.stat", json!({"path": "/workspace/a"}));
    let look = with(look, "compensate", compensation("look\n"));
    let steps = plan([write("over", "a", "another\n"), look, write("new", "new", "new\n")]);
    let steps = with(steps, "compensate", json!([compensation("all\n")]));
    let host = files();
    let run = host.run(&steps).completed();
    host.write("a", "somebody else\n");
    let first = roll_back(&host, &run);
    assert_eq!(first.report.outcome, RunOutcome::RollbackIncomplete, "{:#?}", first.report);
    assert_eq!(undone(&first.report), [false, true, true]);
    // What is in the way still is.
    let second = roll_back(&host, &run);
    assert_eq!(second.report.outcome, RunOutcome::RollbackIncomplete, "{:#?}", second.report);
    host.write("a", "another\n");
    // Whichever of the runs is named, the first one is meant.
    let third = roll_back(&host, &second);
    assert_eq!((third.report.outcome, left(&third.report).len()), (RunOutcome::RolledBack, 0), "{:#?}", third.report);
    assert_eq!(undone(&third.report), [true, true, true]);
    assert_eq!(std::fs::read_to_string(host.workspace().join("a")).unwrap(), "a\n");
    assert!(!host.workspace().join("new").exists());
    // What was compensated is not compensated again.
    assert_eq!(std::fs::read_to_string(host.workspace().join("log")).unwrap(), "look\nall\n");
    for rolled in [&first, &second, &third] {
        host.replay_equals(rolled);
        verify(rolled.folder()).unwrap();
    }
    assert_eq!(run.recorded().takers().unwrap().len(), 3);
    assert_eq!(status(&host, &run), RunStatus::RolledBack);
    let again = host.host.roll_back(&run.recorded(), &GoOnOptions::default());
    assert!(matches!(again, Err(Error::TakenBack { .. })), "{again:?}");
}

fn status(host: &TestHost, run: &Run) -> RunStatus {
    let index = Index::existing(&host.state(), Durability::Buffered).unwrap().unwrap();
    let runs = index.runs(&RunFilter::default()).unwrap();
    runs.into_iter().find(|row| row.id == run.report.run).unwrap().status
}

#[test]
fn a_run_that_waits_or_was_denied_and_is_taken_back_is_so_in_every_list() {
    let host = TestHost::configured(&policy("", READ_WRITE), &[], |builder| builder.pauses(true));
    let ask = json!({"id": "ask", "approve": {"message": "go on?"}, "depends_on": ["new"]});
    let run = host.run(&plan([write("new", "new", "new"), ask.clone()]));
    assert_eq!((run.report.outcome, status(&host, &run)), (RunOutcome::Paused, RunStatus::Paused));
    assert_eq!(roll_back(&host, &run).report.outcome, RunOutcome::RolledBack);
    assert_eq!(status(&host, &run), RunStatus::RolledBack);
    let of = |status| host.host.store().overview(None, status, None, 9).unwrap().len();
    let index = Index::existing(&host.state(), Durability::Buffered).unwrap();
    let listed = host.host.store().overview(index.as_ref(), Some(RunStatus::Paused), None, 9).unwrap();
    assert_eq!((listed.len(), of(None)), (0, 2));
    assert!(host.host.store().stopped().unwrap().is_empty());
    // An index that is built again says so as well.
    reindex(host.host.store(), Durability::Buffered, &|_| Vec::new()).unwrap();
    assert_eq!(status(&host, &run), RunStatus::RolledBack);
    let rejects = |_: &ApprovalRequest<'_>| ApprovalAnswer::reject("test", "no");
    let host = TestHost::configured(&policy("", READ_WRITE), &[], |builder| builder.approver(rejects));
    let run = host.run(&plan([write("new", "new", "new"), ask]));
    assert_eq!((run.report.outcome, status(&host, &run)), (RunOutcome::Denied, RunStatus::Denied));
    assert_eq!(roll_back(&host, &run).report.outcome, RunOutcome::RolledBack);
    assert_eq!(status(&host, &run), RunStatus::RolledBack);
}
