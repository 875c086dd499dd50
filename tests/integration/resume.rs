//! A run that failed is resumed, and a run takes results of others: what is still what it was is not done again, what is not is, and says why.

use std::path::Path;
use std::sync::{Arc, Mutex};

use host_tests::plan::READ_WRITE;
use host_tests::test_host::{compiled_code, memory};
use host_tests::trace::TraceFiles;
use host_tests::{Run, TestHost, plan, policy, repo, step};
use serde_json::{Value, json};
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::report::Saved;
use skillhost::trace::verify::verify;
use skillhost::{CompiledCode, GoOnOptions, HostEvent, PolicyDocument, Report, RunOptions, SkillHost};

type Told = Arc<Mutex<Vec<String>>>;

/// A host that notes which steps' guests run.
fn host() -> (TestHost, Told) {
    let told = Told::default();
    let tells = Arc::clone(&told);
    let host = TestHost::configured(&policy("", READ_WRITE), &[("probe", &repo::component("probe"))], |builder| {
        builder.observer(move |event: &HostEvent<'_>| {
            if let HostEvent::StepBegin { step, .. } = event {
                tells.lock().unwrap().push(step.to_string());
            }
        })
    });
    (host, told)
}

/// Another host in the same place.
fn other(host: &TestHost, policy: &str, probe: &[u8]) -> SkillHost {
    let builder = SkillHost::builder().policy(PolicyDocument::parse(policy).unwrap());
    let builder = builder.workspace(host.workspace()).state(host.state());
    let builder = builder.compiled_code(CompiledCode::in_folder(compiled_code()));
    builder.skill("probe".parse().unwrap(), memory(probe)).build()
}

fn resume(host: &SkillHost, run: &Run) -> Run {
    let report = host.resume(&run.recorded(), &GoOnOptions::default()).unwrap();
    Run { trace: TraceFiles::read(&report.folder), report }
}

fn reuse(host: &TestHost, plan: &Value) -> Run {
    host.run_with(plan, &RunOptions { reuse: true, ..RunOptions::default() })
}

fn took(told: &Told) -> Vec<String> {
    std::mem::take(&mut *told.lock().unwrap())
}

fn read(host: &TestHost, name: &str) -> String {
    std::fs::read_to_string(host.workspace().join(name)).unwrap()
}

fn append(id: &str, path: &str, text: &str) -> Value {
    step(id, "files.append", json!({"path": path, "text": text}))
}

/// A file with another content, which the clock of the file system may not tell from the old one.
fn change(host: &TestHost, name: &str, content: &str) {
    std::fs::remove_file(host.workspace().join(name)).unwrap();
    host.write(name, content);
}

/// For each step: `reused`, why it ran again, or `ran`.
fn became(report: &Report) -> Vec<String> {
    let steps = report.steps.iter().map(|step| match (&step.reused, &step.ran_again, &step.outcome) {
        (Some(_), None, _) => "reused".to_owned(),
        (None, Some(why), _) => why.clone(),
        (None, None, Some(_)) => "ran".to_owned(),
        other => format!("{other:?}"),
    });
    steps.collect()
}

/// Ten steps, each of which counts itself in a file; the ninth needs a file that is not there.
fn ten() -> Value {
    let mut steps: Vec<Value> =
        (1..=8).map(|number| append(&format!("s{number}"), "/workspace/count", &format!("{number}\n"))).collect();
    let sources = ["/workspace/count", "/workspace/nine"];
    steps.push(step("s9", "files.concat", json!({"sources": sources, "output": "/workspace/all", "separator": ""})));
    steps.push(append("s10", "/workspace/all", "10\n"));
    plan(steps)
}

/// Runs the ten steps, mends what the ninth failed for, and resumes.
fn mended() -> (TestHost, Told, Run, Run) {
    let (host, told) = host();
    let failed = host.run(&ten());
    assert_eq!(failed.report.outcome, RunOutcome::Failed, "{:#?}", failed.report);
    assert!(matches!(failed.report.steps[8].outcome, Some(Outcome::Failed { .. })));
    assert_eq!((took(&told).len(), failed.report.steps[9].outcome.as_ref()), (9, None));
    host.write("nine", "9\n");
    let resumed = resume(&host.host, &failed).completed();
    (host, told, failed, resumed)
}

#[test]
fn of_ten_steps_the_ninth_fails_and_only_it_and_the_tenth_run_again() {
    let (host, told, failed, resumed) = mended();
    assert_eq!(took(&told), ["s9", "s10"]);
    assert_eq!(read(&host, "count"), "1\n2\n3\n4\n5\n6\n7\n8\n");
    assert_eq!(read(&host, "all"), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
    let begun: Vec<&Value> = resumed.trace.of_kind("step-begin").map(|begin| &begin["step"]).collect();
    assert_eq!(begun, ["s9", "s10"]);
    for (then, now) in failed.report.steps.iter().zip(&resumed.report.steps).take(8) {
        let saved = Saved { fuel: then.fuel.unwrap(), calls: then.calls };
        assert!(saved.fuel > 0 && saved.calls > 0);
        assert_eq!((now.reused, now.fuel, now.calls, now.attempts), (Some(saved), Some(0), 0, 0));
        assert_eq!(now.outcome, then.outcome);
    }
    assert!(resumed.report.steps[8..].iter().all(|step| step.reused.is_none() && step.fuel > Some(0)));
    let reused: Vec<&Value> = resumed.trace.of_kind("reused").collect();
    let ends: Vec<&Value> = failed.trace.of_kind("step-end").take(8).collect();
    assert_eq!(reused.len(), 8);
    for (reused, end) in reused.iter().zip(&ends) {
        assert_eq!(reused["what"]["source"], end["hash"], "{reused}");
    }
    let continues = resumed.trace.of_kind("continues").next().unwrap();
    assert_eq!(continues["what"]["head"], failed.report.head.to_string());
}

#[test]
fn a_resumed_run_is_a_run_like_any_other() {
    let (host, told, failed, resumed) = mended();
    host.replay_equals(&resumed);
    took(&told);
    for run in [&failed, &resumed] {
        verify(run.folder()).unwrap();
    }
    // Nothing of it depends on when and where it ran.
    let (_elsewhere, _, failed_too, resumed_too) = mended();
    assert_eq!((failed.bytes(), resumed.bytes()), (failed_too.bytes(), resumed_too.bytes()));
    // What has completed is reused wholly, also what was reused before.
    let again = resume(&host.host, &resumed).completed();
    assert_eq!(became(&again.report), ["reused"; 10]);
    assert!(took(&told).is_empty());
    assert_eq!(read(&host, "all").lines().count(), 10);
    host.replay_equals(&again);
}

/// What a step looks like that reads `in`, one that uses what it gave, one that writes `out`, and one that fails.
fn four() -> Value {
    plan([
        step("read", "probe.run", json!({"args": ["cat", "/workspace/in"]})),
        step("use", "text.split", json!({"text": "{{steps.read.stdout}}", "pattern": " "})),
        step("write", "files.write-text", json!({"path": "/workspace/out", "text": "out"})),
        step("fails", "files.read-text", json!({"path": "/workspace/none"})),
    ])
}

fn failed_four() -> (TestHost, Run) {
    let (host, _) = host();
    host.write("in", "one two");
    let run = host.run(&four());
    assert_eq!(run.report.outcome, RunOutcome::Failed, "{:#?}", run.report);
    assert_eq!(run.report.steps[3].attempts, 1, "{:#?}", run.report);
    (host, run)
}

#[test]
fn a_changed_component_runs_again() {
    let (host, run) = failed_four();
    let mut changed = repo::component("probe");
    // A section that says nothing: id 0, its length, its name.
    changed.extend([0, 2, 1, b'x']);
    let changed = other(&host, &policy("", READ_WRITE), &changed);
    let resumed = resume(&changed, &run);
    assert_eq!(became(&resumed.report), ["its component has changed", "reused", "reused", "ran"]);
    host.replay_equals(&resumed);
}

#[test]
fn a_changed_grant_runs_again() {
    let (host, run) = failed_four();
    let grant = "[[grant]]\nskills = [\"probe\"]\ntools = [\"*\"]\nenv = { A = \"b\" }\n";
    let changed = policy("", READ_WRITE).replace("[[grant]]", &format!("{grant}{READ_WRITE}\n[[grant]]"));
    let changed = other(&host, &changed, &repo::component("probe"));
    let resumed = resume(&changed, &run);
    let why = "its grant, or the plan's seed or start time, has changed";
    assert_eq!(became(&resumed.report), [why, "reused", "reused", "ran"]);
    host.replay_equals(&resumed);
    // What only bounds it does not change what it gives.
    let bounded = other(&host, &policy("fuel = 1_000_000_000", READ_WRITE), &repo::component("probe"));
    assert_eq!(became(&resume(&bounded, &run).report), ["reused", "reused", "reused", "ran"]);
}

#[test]
fn what_read_a_changed_file_runs_again_and_so_does_what_uses_its_result() {
    let (host, run) = failed_four();
    change(&host, "in", "one 2wo");
    let resumed = resume(&host.host, &run);
    let why = "`/workspace/in` is not what the step saw";
    assert_eq!(became(&resumed.report), [why, "its input has changed", "reused", "ran"]);
    let Some(Outcome::Completed { output }) = &resumed.report.steps[1].outcome else { panic!("{resumed:#?}") };
    assert_eq!(*output, json!(["one", "2wo"]));
    host.replay_equals(&resumed);
    // The same content is the same file, whenever it was written.
    change(&host, "in", "one two");
    assert_eq!(became(&resume(&host.host, &run).report), ["reused", "reused", "reused", "ran"]);
}

#[test]
fn what_wrote_a_file_that_is_not_as_it_left_it_runs_again() {
    let (host, run) = failed_four();
    let why = "`/workspace/out` is not what the step left";
    // What somebody else has written is not written over.
    change(&host, "out", "0ut");
    let resumed = resume(&host.host, &run);
    assert_eq!(became(&resumed.report)[..3], ["reused", "reused", why]);
    assert_eq!((resumed.report.outcome, read(&host, "out").as_str()), (RunOutcome::Failed, "0ut"));
    host.replay_equals(&resumed);
    // What is gone is made again.
    std::fs::remove_file(host.workspace().join("out")).unwrap();
    let resumed = resume(&host.host, &run);
    assert_eq!(became(&resumed.report), ["reused", "reused", why, "ran"]);
    assert_eq!(read(&host, "out"), "out");
    host.replay_equals(&resumed);
}

#[test]
fn a_missing_file_that_a_step_did_not_find_is_an_input() {
    let (host, _) = host();
    let plan = plan([
        step("is-there", "files.exists", json!({"path": "/workspace/new"})),
        step("list", "files.list", json!({"path": "/workspace"})),
        step("fails", "files.read-text", json!({"path": "/workspace/none"})),
    ]);
    let run = host.run(&plan);
    assert_eq!(became(&resume(&host.host, &run).report), ["reused", "reused", "ran"]);
    host.write("new", "");
    let resumed = resume(&host.host, &run);
    let why = became(&resumed.report);
    assert_eq!(why[0], "`/workspace/new` is not what the step saw");
    assert_eq!(why[1], "`/workspace` is not what the step saw");
}

#[test]
fn a_later_step_that_rewrote_a_file_does_not_spoil_an_earlier_one() {
    let (host, told) = host();
    host.write("a", "one");
    let plan = plan([
        step("look", "files.read-text", json!({"path": "/workspace/a"})),
        step("first", "files.write-text", json!({"path": "/workspace/a", "text": "two"})),
        step("second", "files.write-text", json!({"path": "/workspace/a", "text": "three"})),
        step("away", "files.move", json!({"source": "/workspace/a", "target": "/workspace/b"})),
        step("fails", "files.read-text", json!({"path": "/workspace/none"})),
    ]);
    let run = host.run(&plan);
    took(&told);
    let resumed = resume(&host.host, &run);
    assert_eq!(became(&resumed.report), ["reused", "reused", "reused", "reused", "ran"]);
    assert_eq!(took(&told), ["fails"]);
}

/// `make` writes `b` as `a` is, `look` reads it, `over` writes over it: what `look` gave depends on what `make` wrote.
#[test]
fn what_a_step_that_runs_again_has_rewritten_is_not_what_later_ones_saw() {
    let (host, _) = host();
    host.write("a", "old");
    let copy = json!({"sources": ["/workspace/a"], "output": "/workspace/b"});
    let plan = plan([
        step("make", "files.concat", copy),
        step("look", "files.read-text", json!({"path": "/workspace/b"})),
        step("over", "files.write-text", json!({"path": "/workspace/b", "text": "over"})),
        step("fails", "files.read-text", json!({"path": "/workspace/none"})),
    ]);
    let run = host.run(&plan);
    change(&host, "a", "new");
    let resumed = resume(&host.host, &run);
    assert_eq!(resumed.report.steps[1].outcome, Some(Outcome::Completed { output: json!("new") }));
    assert_eq!(
        became(&resumed.report),
        [
            "`/workspace/a` is not what the step saw",
            "`/workspace/b` is not what the step saw",
            "`/workspace/b` is not what the step left",
            "ran"
        ]
    );
    assert_eq!(read(&host, "b"), "over");
    host.replay_equals(&resumed);
}

#[test]
fn results_of_other_runs_are_taken_where_that_is_safe() {
    let (host, told) = host();
    host.write("a", "a");
    let plan = plan([
        step("reads", "files.read-text", json!({"path": "/workspace/a"})),
        step("idempotent", "files.write-text", json!({"path": "/workspace/b", "text": "b"})),
        append("neither", "/workspace/c", "c\n"),
        json!({"id": "asked-for", "tool": "files.append", "input": {"path": "/workspace/d", "text": "d\n"}, "reuse": true}),
    ]);
    let first = host.run(&plan).completed();
    took(&told);
    // Without being asked nothing is taken; what was appended since is then what it has to be.
    let second = reuse(&host, &plan).completed();
    assert_eq!(became(&second.report), ["reused", "reused", "ran", "reused"]);
    assert_eq!(took(&told), ["neither"]);
    assert_eq!((read(&host, "c").as_str(), read(&host, "d").as_str()), ("c\nc\n", "d\n"));
    let saved = Saved { fuel: first.report.steps[0].fuel.unwrap(), calls: first.report.steps[0].calls };
    assert_eq!(second.report.steps[0].reused, Some(saved));
    host.replay_equals(&second);
    verify(second.folder()).unwrap();
    let third = host.run(&plan).completed();
    assert_eq!(became(&third.report), ["ran"; 4]);
}

#[test]
fn a_result_of_another_run_counts_only_while_input_and_files_are_the_same() {
    let (host, _) = host();
    host.write("a", "a");
    host.write("b", "b");
    let reads = |path: &str| {
        let steps = [step("reads", "files.read-text", json!({"path": "{{inputs.path}}"}))];
        let mut plan = plan(steps);
        plan["inputs"] = json!({"path": path});
        plan
    };
    host.run(&reads("/workspace/a")).completed();
    assert_eq!(became(&reuse(&host, &reads("/workspace/b")).completed().report), ["ran"]);
    let inputs = json!({"path": "/workspace/a"}).as_object().unwrap().clone();
    let given = RunOptions { reuse: true, inputs, ..RunOptions::default() };
    assert_eq!(became(&host.run_with(&reads("/workspace/b"), &given).completed().report), ["reused"]);
    change(&host, "a", "A");
    let changed = reuse(&host, &reads("/workspace/a")).completed();
    assert_eq!(became(&changed.report), ["`/workspace/a` is not what the step saw"]);
    // The newest result that still holds is taken; any of them would do.
    change(&host, "a", "a");
    let back = reuse(&host, &reads("/workspace/a")).completed();
    assert_eq!(became(&back.report), ["reused"]);
    assert_eq!(*back.output(), json!("a"));
}

#[test]
fn a_result_that_is_not_what_this_plan_expects_is_not_taken() {
    let (host, _) = host();
    let split = step("split", "text.split", json!({"text": "a b", "pattern": " "}));
    host.run(&plan([split.clone()])).completed();
    assert_eq!(became(&reuse(&host, &plan([split.clone()])).completed().report), ["reused"]);
    let mut strict = split;
    strict["expect"] = json!({"kind": "json", "schema": {"maxItems": 1}});
    let run = reuse(&host, &plan([strict]));
    assert_eq!(run.report.outcome, RunOutcome::Failed, "{:#?}", run.report);
    assert_eq!(run.error()["code"], "output-drift");
    assert_eq!(run.trace.of_kind("contract").count(), 1);
    host.replay_equals(&run);
}

#[test]
fn what_failed_and_what_was_taken_back_is_not_reused() {
    let (host, _) = host();
    let mut back = plan([
        step("write", "files.write-text", json!({"path": "/workspace/b", "text": "b"})),
        step("fails", "files.read-text", json!({"path": "/workspace/none"})),
    ]);
    back["on_failure"] = json!("rollback");
    let run = host.run(&back);
    assert_eq!(run.report.outcome, RunOutcome::RolledBack, "{:#?}", run.report);
    let again = reuse(&host, &back);
    assert_eq!(again.report.steps.iter().map(|step| step.reused).collect::<Vec<_>>(), [None, None]);
    let resumed = resume(&host.host, &run);
    assert_eq!(became(&resumed.report), ["ran", "ran"]);
    assert!(!Path::new(&host.workspace().join("b")).exists());
}

/// Three steps that append to one file, the second of which reads an input, and one that fails until `/workspace/nine` is there.
fn appends() -> Value {
    let sources = ["/workspace/count", "/workspace/nine"];
    plan([
        append("one", "/workspace/count", "1\n"),
        step("look", "files.read-text", json!({"path": "/workspace/seen"})),
        append("two", "/workspace/count", "{{steps.look}}"),
        append("other", "/workspace/elsewhere", "x\n"),
        append("three", "/workspace/count", "3\n"),
        step("fails", "files.concat", json!({"sources": sources, "output": "/workspace/all", "separator": ""})),
    ])
}

#[test]
fn a_step_that_runs_again_begins_where_it_began_before() {
    let (host, told) = host();
    host.write("seen", "2\n");
    let failed = host.run(&appends());
    assert_eq!((failed.report.outcome, read(&host, "count").as_str()), (RunOutcome::Failed, "1\n2\n3\n"));
    took(&told);
    host.write("nine", "9\n");
    change(&host, "seen", "zwei\n");
    let resumed = resume(&host.host, &failed).completed();
    // What was appended is not there twice, and what was built on it is made again.
    assert_eq!(took(&told), ["look", "two", "three", "fails"]);
    assert_eq!((read(&host, "count").as_str(), read(&host, "elsewhere").as_str()), ("1\nzwei\n3\n", "x\n"));
    assert_eq!(read(&host, "all"), "1\nzwei\n3\n9\n");
    let undone: Vec<&Value> = resumed.trace.of_kind("undone").map(|event| &event["step"]).collect();
    assert_eq!(undone, ["three", "two"]);
    host.replay_equals(&resumed);
    verify(resumed.folder()).unwrap();
    // What was taken back is not undone once more: what is left are the steps that count.
    let steps: Vec<String> = host.host.undo(5, false).unwrap().into_iter().map(|step| step.step).collect();
    assert_eq!(steps, ["fails", "three", "two", "other", "one"]);
    assert!(!host.workspace().join("count").exists());
}

#[test]
fn a_step_does_not_run_again_over_what_somebody_else_has_changed() {
    let (host, told) = host();
    host.write("seen", "2\n");
    let failed = host.run(&appends());
    took(&told);
    host.write("nine", "9\n");
    change(&host, "seen", "zwei\n");
    change(&host, "count", "1\n2\n3\nsomebody else\n");
    let resumed = resume(&host.host, &failed);
    assert_eq!(resumed.report.outcome, RunOutcome::Failed, "{:#?}", resumed.report);
    // Of the file the last one of those that wrote it decides; the first one would not run again.
    let Some(Outcome::Failed { error }) = &resumed.report.steps[2].outcome else { panic!("{:#?}", resumed.report) };
    assert_eq!((&error["code"], &error["paths"]), (&json!("conflict"), &json!(["/workspace/count"])), "{error}");
    assert_eq!((took(&told), read(&host, "count").as_str()), (vec!["look".to_owned()], "1\n2\n3\nsomebody else\n"));
    let conflicts: Vec<&Value> = resumed.trace.of_kind("undone").map(|event| &event["what"]["conflicts"]).collect();
    assert_eq!(conflicts, [&json!(["/workspace/count"])]);
    host.replay_equals(&resumed);
    // As it was left, it goes on.
    change(&host, "count", "1\n2\n3\n");
    let resumed = resume(&host.host, &failed).completed();
    assert_eq!(read(&host, "all"), "1\nzwei\n3\n9\n");
    host.replay_equals(&resumed);
}
