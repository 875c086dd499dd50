//! Steps that run at one time: the run is that of one step after the other, whatever was faster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use host_tests::crash::scenario;
use host_tests::plan::{READ_WRITE, policy};
use host_tests::{Run, TestHost, plan, repo, step, tree};
use serde_json::{Value, json};
use skillhost::limits::LimitKind;
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::policy::{ApprovalAnswer, ApprovalRequest};
use skillhost::store::Index;
use skillhost::store::index::Answer;
use skillhost::{Durability, GoOnOptions, HostEvent, RunOptions};

/// Runs of what has to be the same every time.
const RUNS: usize = 20;

/// How often it is looked whether steps have ended.
const PATIENCE: usize = 300_000;

/// A host whose approver waits, in the turn of step `gate`, until steps that the question names have ended ahead of theirs.
struct Lab {
    host: TestHost,
    /// What the run is doing: its folder, and whether steps run ahead in it.
    now: Arc<Mutex<(PathBuf, bool)>>,
}

impl std::ops::Deref for Lab {
    type Target = TestHost;

    fn deref(&self) -> &TestHost {
        &self.host
    }
}

fn lab(policy: &str) -> Lab {
    let now: Arc<Mutex<(PathBuf, bool)>> = Arc::default();
    let (begun, asked) = (Arc::clone(&now), Arc::clone(&now));
    let host = TestHost::configured(policy, &[("probe", &repo::component("probe"))], |builder| {
        builder
            .observer(move |event: &HostEvent<'_>| {
                if let HostEvent::RunBegin { run } = event {
                    begun.lock().unwrap().0 = PathBuf::from(run);
                }
            })
            .approver(move |request: &ApprovalRequest<'_>| {
                let context = &request.input["context"];
                let (run, is_parallel) = asked.lock().unwrap().clone();
                let runs = PathBuf::from(context["runs"].as_str().unwrap());
                for step in context["until"].as_array().unwrap().iter().filter(|_| is_parallel) {
                    let journal = runs.join(&run).join(format!("journal/{}.1", step.as_str().unwrap()));
                    // In whatever order things happen, the run has to end in the same way: this only makes one of them likely.
                    for _ in (0..PATIENCE).take_while(|_| !has_ended(&journal)) {
                        std::thread::yield_now();
                    }
                }
                ApprovalAnswer::approve("test", "")
            })
    });
    before(&host);
    Lab { host, now }
}

/// Whether the step of a journal has ended: it has completed, or was undone.
fn has_ended(journal: &Path) -> bool {
    let records = std::fs::read(journal.join("records")).unwrap_or_default();
    journal.join("claimed.json").exists() || records.windows(8).any(|word| word == b"reverted")
}

fn host() -> Lab {
    lab(&policy("", READ_WRITE).replace("[limits]", "[run]\nattempts = 5\n[limits]"))
}

/// What is in the workspace before each run.
fn before(host: &TestHost) {
    let dir = std::fs::read_dir(host.workspace()).unwrap();
    for entry in dir.map(|entry| entry.unwrap().path()) {
        let gone = if entry.is_dir() { std::fs::remove_dir_all(&entry) } else { std::fs::remove_file(&entry) };
        gone.unwrap();
    }
    host.write("log", "begin\n");
    host.write("dir/one", "1");
    host.write("dir/two", "22");
    host.write("other/three", "333");
}

/// Asks until these steps have completed ahead.
fn gate(host: &TestHost, until: &[&str]) -> Value {
    gate_as(host, "gate", until)
}

fn gate_as(host: &TestHost, id: &str, until: &[&str]) -> Value {
    let runs = host.state().join("runs").display().to_string();
    json!({"id": id, "approve": {"message": "go", "context": {"runs": runs, "until": until}}})
}

fn write(id: &str, path: &str, text: &str) -> Value {
    step(id, "files.write-text", json!({"path": format!("/workspace/{path}"), "text": text}))
}

fn on(id: &str, tool: &str, path: &str) -> Value {
    step(id, &format!("files.{tool}"), json!({"path": format!("/workspace/{path}")}))
}

fn pure(id: &str) -> Value {
    step(id, "text.split", json!({"text": "a b", "pattern": " "}))
}

fn probe(id: &str, args: &[&str]) -> Value {
    step(id, "probe.run", json!({"args": args}))
}

fn after(mut step: Value, needs: &[&str]) -> Value {
    step["depends_on"] = json!(needs);
    step
}

fn in_parallel(steps: impl IntoIterator<Item = Value>, parallel: u64) -> Value {
    let mut plan = plan(steps);
    plan["parallel"] = json!(parallel);
    plan
}

/// All events but the header, without their chain.
fn behind_the_header(run: &Run) -> Vec<Value> {
    let events = run.trace.events.iter().skip(1).cloned();
    events
        .map(|mut event| {
            let members = event.as_object_mut().unwrap();
            assert!(members.remove("hash").is_some() && members.remove("prev").is_some());
            // Bound to the plan, which says how many steps run at one time.
            members.remove("subject");
            event
        })
        .collect()
}

fn outcome<'a>(run: &'a Run, id: &str) -> Option<&'a Outcome> {
    run.report.steps.iter().find(|step| step.id.as_str() == id).unwrap().outcome.as_ref()
}

/// The attempts that a run has journals of.
fn journals(run: &Run) -> Vec<String> {
    let journals = std::fs::read_dir(run.folder().join("journal")).unwrap();
    let mut journals: Vec<String> = journals.map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
    journals.sort();
    journals
}

/// What a run leaves.
fn left(host: &TestHost) -> BTreeMap<String, String> {
    tree::read(&host.workspace())
}

/// Runs a plan again and again from the same begin: equal to the last byte, and replayed. Gives the last run and what it left.
fn same_every_time(host: &Lab, plan: &Value) -> (Run, BTreeMap<String, String>) {
    host.now.lock().unwrap().1 = true;
    let mut first: Option<(Run, BTreeMap<String, String>)> = None;
    for _ in 0..RUNS {
        before(host);
        let run = host.run(plan);
        let left = left(host);
        match &first {
            Some((same, tree)) => assert_eq!((run.bytes(), &left), (same.bytes(), tree)),
            None => {
                host.replay_equals(&run);
                first = Some((run, left));
            }
        }
    }
    first.unwrap()
}

/// Runs it one step after the other, too: the same events and files.
fn as_in_order(host: &Lab, plan: &Value) -> Run {
    let (run, tree) = same_every_time(host, plan);
    host.now.lock().unwrap().1 = false;
    let mut alone = plan.clone();
    alone["parallel"] = json!(1);
    before(host);
    let alone = host.run(&alone);
    assert_eq!(behind_the_header(&run), behind_the_header(&alone));
    assert_eq!((tree, run.report.outcome), (left(host), alone.report.outcome));
    run
}

#[test]
fn independent_steps_leave_the_trace_of_one_after_the_other() {
    let host = host();
    let steps = (0..8).map(|at| write(&format!("s{at}"), &format!("out-{at}"), &"x".repeat(at * 1_000)));
    let run = as_in_order(&host, &in_parallel(steps, 4)).completed();
    assert_eq!(run.trace.steps().len(), 8);
}

#[test]
fn chains_beside_each_other_do_as_well() {
    let host = host();
    let chain = |name: &str| {
        let (one, two, three) = (format!("{name}1"), format!("{name}2"), format!("{name}3"));
        let path = format!("chain/{name}");
        let text = format!("{{{{steps.{two}.bytes}}}} bytes");
        let append = step(&two, "files.append", json!({"path": format!("/workspace/{path}"), "text": "more"}));
        [write(&one, &path, name), after(append, &[&one]), write(&three, &format!("{path}-size"), &text)]
    };
    let mut steps = vec![on("make", "make-dir", "chain")];
    steps.extend(["a", "b", "c"].iter().flat_map(|name| chain(name)).map(|step| match step["depends_on"].is_null() {
        true => after(step, &["make"]),
        false => step,
    }));
    let run = as_in_order(&host, &in_parallel(steps, 3)).completed();
    assert_eq!(run.trace.steps().len(), 10);
    assert_eq!(std::fs::read_to_string(host.workspace().join("chain/c")).unwrap(), "cmore");
}

#[test]
fn what_was_done_ahead_of_a_failure_is_undone() {
    let host = host();
    let ahead = ["later1", "later2", "later3", "later4", "later5"];
    let steps = [
        write("first", "log", "first\n"),
        gate_as(&host, "gate1", &ahead[..3]),
        // What depends on others is begun when the next turn comes.
        after(pure("pause1"), &["gate1"]),
        after(gate_as(&host, "gate2", &ahead[3..4]), &["pause1"]),
        after(pure("pause2"), &["gate2"]),
        after(gate_as(&host, "gate", &ahead[4..]), &["pause2"]),
        after(on("fails", "read-text", "none"), &["gate"]),
        write("later1", "dir/file", "x"),
        on("later2", "remove", "dir/one"),
        step("later3", "files.move", json!({"source": "/workspace/other", "target": "/workspace/moved"})),
        after(write("later4", "moved/four", "4"), &["later3"]),
        after(on("later5", "remove", "moved/three"), &["later4"]),
    ];
    let run = as_in_order(&host, &in_parallel(steps, 4));
    assert_eq!(run.report.outcome, RunOutcome::Failed);
    let expected = [
        ("dir", "folder"),
        ("dir/one", "file \"1\""),
        ("dir/two", "file \"22\""),
        ("log", "file \"first\\n\""),
        ("other", "folder"),
        ("other/three", "file \"333\""),
    ];
    let expected = expected.into_iter().map(|(path, what)| (path.to_owned(), what.to_owned())).collect();
    assert_eq!(left(&host), expected);
    assert!(ahead.iter().all(|id| outcome(&run, id).is_none()), "{:#?}", run.report);
    assert_eq!(journals(&run), ["fails.1", "first.1", "pause1.1", "pause2.1"]);
}

#[test]
fn what_runs_ahead_of_a_failure_is_cancelled() {
    // Long enough that it would be noticed if they were waited for.
    let host = lab(&policy(&format!("fuel = {}\ndeadline_ms = 3_600_000", 1_u64 << 52), READ_WRITE));
    let steps = [
        write("first", "new", "x"),
        on("fails", "read-text", "none"),
        probe("spins", &["spin"]),
        probe("too", &["spin"]),
    ];
    let run = host.run(&in_parallel(steps, 4));
    assert_eq!((run.report.outcome, outcome(&run, "spins")), (RunOutcome::Failed, None));
    assert!(host.workspace().join("new").exists());
    host.replay_equals(&run);
    // A run that is cancelled does not wait either.
    let (options, steps) = (RunOptions::default(), [probe("spins", &["spin"]), probe("too", &["spin"])]);
    let cancel = options.cancel.clone();
    let cancels = std::thread::spawn(move || cancel.cancel());
    let run = host.run_with(&in_parallel(steps, 2), &options);
    cancels.join().unwrap();
    assert_eq!(run.report.outcome, RunOutcome::Cancelled);
    host.replay_equals(&run);
}

#[test]
fn the_time_of_a_run_ends_steps_that_run_ahead() {
    let host = lab(&policy(&format!("fuel = {}\ndeadline_ms = 3_600_000", 1_u64 << 52), READ_WRITE));
    let mut plan = in_parallel([probe("spins", &["spin"]), probe("too", &["spin"])], 2);
    plan["deadline_ms"] = json!(300);
    let run = host.run(&plan);
    let Some(Outcome::LimitExceeded { limit, allowed, .. }) = outcome(&run, "spins") else {
        panic!("{:#?}", run.report)
    };
    assert_eq!((*limit, *allowed), (LimitKind::RunDeadline, 300));
    host.replay_equals(&run);
}

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
fn nobody_waits_for_ever_beside_questions_and_repetition() {
    let host = host();
    let scenario = scenario::named("parallel").unwrap();
    let mut retried = on("fails", "read-text", "none");
    retried["retry"] = json!({"attempts": 3, "backoff_ms": 1, "on": ["failed"]});
    let mut steps = scenario.plan["steps"].as_array().unwrap().clone();
    steps.insert(1, gate(&host, &[]));
    steps.insert(4, write("extra", "extra", "x"));
    let mut plan = in_parallel(steps.clone(), 3);
    let run = as_in_order(&host, &plan).completed();
    assert_eq!(run.trace.of_kind("approval").count(), 1);
    steps.insert(6, retried);
    plan["steps"] = json!(steps);
    let run = as_in_order(&host, &plan);
    assert_eq!((run.report.outcome, run.trace.of_kind("retry").count()), (RunOutcome::Failed, 2));
}

#[test]
fn a_run_that_waits_has_nothing_of_what_comes_later() {
    let host = TestHost::configured(&policy("", READ_WRITE), &[], |builder| builder.pauses(true));
    before(&host);
    let ask = json!({"id": "ask", "approve": {"message": "go on?"}});
    let steps = [write("one", "one", "1"), ask, write("two", "two", "2"), write("three", "three", "3")];
    let run = host.run(&in_parallel(steps, 4));
    assert_eq!(run.report.outcome, RunOutcome::Paused);
    assert!(exists(&host, "one") && !exists(&host, "two") && !exists(&host, "three"));
    assert_eq!(journals(&run), ["one.1"]);
}

fn exists(host: &TestHost, path: &str) -> bool {
    host.workspace().join(path).exists()
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
