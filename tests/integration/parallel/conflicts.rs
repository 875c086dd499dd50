//! Steps that share a path and do not depend on each other: the later one in the plan ends with a conflict, whatever was faster.

use std::time::Duration;

use host_tests::plan::{READ_WRITE, policy};
use host_tests::{TestHost, plan, repo, step};
use serde_json::{Value, json};
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::store::Index;
use skillhost::store::index::Answer;
use skillhost::{Durability, GoOnOptions};

use super::{after, before, gate, gate_as, host, in_parallel, left, on, outcome, probe, pure, same_every_time, write};

/// Two steps that may not run at one time, with the later one first, last, and as it happens.
fn conflicts(earlier: &Value, later: &Value, path: &str) {
    let host = host();
    let (earlier_id, later_id) = (earlier["id"].as_str().unwrap(), later["id"].as_str().unwrap());
    let conflict = Outcome::Conflict { path: format!("/workspace/{path}"), with: earlier_id.to_owned() };
    let orders = [
        vec![gate(&host, &[later_id]), after(earlier.clone(), &["gate"]), later.clone()],
        vec![earlier.clone(), gate(&host, &[]), after(later.clone(), &["gate"])],
        vec![earlier.clone(), later.clone()],
    ];
    let mut ends: Vec<Value> = Vec::new();
    for steps in orders {
        let (run, tree) = same_every_time(&host, &in_parallel(steps, 2));
        assert_eq!(outcome(&run, later_id), Some(&conflict), "{:#?}", run.report);
        assert_eq!(run.report.outcome, RunOutcome::Failed);
        before(&host);
        host.run(&plan([earlier.clone()])).completed();
        assert_eq!(tree, left(&host), "the earlier one alone has done something");
        let calls = run.trace.steps().iter().find(|step| step.begin["step"] == later_id).unwrap().calls.clone();
        let calls = calls.into_iter().map(|call| json!([call["name"], call["params"], call["result"]])).collect();
        ends.push(calls);
    }
    assert!(ends.iter().all(|calls| *calls == ends[0]), "{ends:#?}");
}

#[test]
fn two_that_write_one_path() {
    conflicts(&write("e", "both", "e"), &write("l", "both", "later"), "both");
    conflicts(&write("e", "log", "e"), &probe("l", &["append", "/workspace/log", "l"]), "log");
}

#[test]
fn one_that_reads_what_the_other_writes() {
    conflicts(&write("e", "log", "e"), &on("l", "read-text", "log"), "log");
    conflicts(&on("e", "read-text", "log"), &write("l", "log", "l"), "log");
}

#[test]
fn one_that_looks_for_what_the_other_makes() {
    // Where it is faster it finds nothing and fails: it does not end so.
    conflicts(&write("e", "new", "e"), &on("l", "read-text", "new"), "new");
    conflicts(&write("e", "new", "e"), &on("l", "exists", "new"), "new");
}

#[test]
fn one_that_lists_a_folder_in_which_the_other_makes_something() {
    conflicts(&write("e", "dir/new", "e"), &on("l", "list", "dir"), "dir");
    conflicts(&on("e", "list", "dir"), &write("l", "dir/new", "l"), "dir");
}

#[test]
fn one_that_works_below_what_the_other_renames() {
    let renames = step("e", "files.move", json!({"source": "/workspace/dir", "target": "/workspace/moved"}));
    conflicts(&renames, &write("l", "dir/one", "l"), "dir");
    let below = step("l", "files.make-dir", json!({"path": "/workspace/dir/new"}));
    conflicts(&renames, &below, "dir");
}

#[test]
fn one_that_had_completed_gives_way_with_what_was_built_on_it() {
    let host = host();
    let steps = [
        gate_as(&host, "gate1", &["l1"]),
        after(pure("pause1"), &["gate1"]),
        after(gate_as(&host, "gate2", &["l2"]), &["pause1"]),
        after(pure("pause2"), &["gate2"]),
        after(gate(&host, &["l3"]), &["pause2"]),
        after(write("e", "log", "e"), &["gate"]),
        write("l1", "log", "one"),
        after(write("l2", "dir/one", "changed by l2"), &["l1"]),
        after(probe("l3", &["append", "/workspace/log", "three"]), &["l2"]),
        after(probe("l4", &["spin"]), &["l3"]),
    ];
    let (run, tree) = same_every_time(&host, &in_parallel(steps, 4));
    let conflict = Outcome::Conflict { path: "/workspace/log".to_owned(), with: "e".to_owned() };
    assert_eq!(outcome(&run, "l1"), Some(&conflict), "{:#?}", run.report);
    before(&host);
    host.write("log", "e");
    assert_eq!(tree, left(&host));
}

#[test]
fn what_steps_claimed_is_known_when_a_run_goes_on() {
    let pairs = [
        (write("e", "log", "e"), on("l", "read-text", "log")),
        (on("e", "list", "dir"), write("l", "dir/new", "l")),
        // That changes no entry of the folder.
        (
            step("e", "files.append", json!({"path": "/workspace/dir/one", "text": "e"})),
            probe("l", &["list", "/workspace/dir"]),
        ),
    ];
    for (earlier, later) in pairs {
        let ask = json!({"id": "gate", "approve": {"message": "go on?", "context": {"runs": "", "until": []}}});
        let plan = in_parallel([earlier, ask, after(later, &["gate"])], 2);
        let asked = host();
        let never_stopped = asked.run(&plan);
        let probe = [("probe", &repo::component("probe")[..])];
        let waits = TestHost::configured(&policy("", READ_WRITE), &probe, |builder| builder.pauses(true));
        before(&waits);
        let run = waits.run(&plan);
        let mut index = Index::open(&waits.state(), Durability::Full).unwrap();
        let answer = Answer { approved: true, by: "test".to_owned(), reason: String::new() };
        index.decide_approval(&run.report.run, "gate", &answer, Duration::from_secs(1)).unwrap();
        drop(index);
        let report = waits.host.go_on(run.recorded(), &GoOnOptions::default()).unwrap();
        assert_eq!(report.steps[2].outcome.as_ref(), outcome(&never_stopped, "l"), "{plan:#}");
        // Nor does it matter where the result of the earlier one is from.
        let resumed = waits.host.resume(&run.recorded(), &GoOnOptions::default()).unwrap();
        assert!(resumed.steps[0].reused.is_some(), "{resumed:#?}");
        assert_eq!(resumed.steps[2].outcome.as_ref(), outcome(&never_stopped, "l"), "{plan:#}");
    }
}
