//! Steps that run at one time: the run is that of one step after the other, whatever was faster.

mod conflicts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use host_tests::crash::scenario;
use host_tests::plan::{READ_WRITE, policy};
use host_tests::{Run, TestHost, plan, repo, step, tree};
use serde_json::{Value, json};
use skillhost::limits::LimitKind;
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::policy::{ApprovalAnswer, ApprovalRequest};
use skillhost::{GoOnOptions, HostEvent, RunOptions};

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
    let records = std::fs::read(journal).unwrap_or_default();
    journal.with_file_name(format!("{}.claimed.json", journal.file_name().unwrap().to_str().unwrap())).exists()
        || records.windows(8).any(|word| word == b"reverted")
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
    // What is beside them goes on otherwise.
    journals.retain(|name| name.rsplit_once('.').is_some_and(|(_, attempt)| attempt.parse::<u32>().is_ok()));
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
    // What changed nothing and did not complete has left nothing.
    assert_eq!(journals(&run), ["first.1", "pause1.1", "pause2.1"]);
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
fn what_is_known_is_not_done_ahead() {
    let host = host();
    let count = |id: &str| step(id, "files.append", json!({"path": format!("/workspace/count-{id}"), "text": "x"}));
    let fails = on("fails", "read-text", "in");
    let steps = [count("a"), count("b"), after(count("c"), &["a"]), after(fails, &["b"]), count("d")];
    let plan = in_parallel(steps, 4);
    let run = host.run(&plan);
    let counted =
        |names: [&str; 4]| names.map(|name| tree::read(&host.workspace()).get(&format!("count-{name}")).cloned());
    let once = Some("file \"x\"".to_owned());
    let names = ["a", "b", "c", "d"];
    assert_eq!(counted(names), [once.clone(), once.clone(), once.clone(), None]);
    host.write("in", "in");
    let resumed = host.host.host.resume(&run.recorded(), &GoOnOptions::default()).unwrap();
    assert_eq!(resumed.outcome, RunOutcome::Completed, "{resumed:#?}");
    let reused: Vec<bool> = resumed.steps.iter().map(|step| step.reused.is_some()).collect();
    assert_eq!((counted(names), reused), ([(); 4].map(|()| once.clone()), vec![true, true, true, false, false]));
    // Nothing is done to take back what was.
    let back = host.host.host.roll_back(&run.recorded(), &GoOnOptions::default());
    assert!(back.is_ok_and(|back| back.steps.iter().all(|step| step.attempts == 0)));
}

#[test]
fn results_of_other_runs_are_taken_beside_each_other() {
    let host = host();
    let steps = (0..4).map(|at| write(&format!("s{at}"), &format!("out-{at}"), "x"));
    let plan = in_parallel(steps, 4);
    let options = RunOptions { reuse: true, ..RunOptions::default() };
    let first = host.run_with(&plan, &options).completed();
    assert_eq!(first.trace.steps().len(), 4);
    let second = host.run_with(&plan, &options).completed();
    assert!(second.report.steps.iter().all(|step| step.reused.is_some()), "{:#?}", second.report);
    assert!(second.trace.steps().is_empty());
    host.replay_equals(&second);
}
