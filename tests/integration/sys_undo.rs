//! `sys.undo`: a step that takes back what steps before it have changed, and is a step as every other.

use host_tests::plan::{READ_ONLY, READ_WRITE};
use host_tests::trace::TraceFiles;
use host_tests::{Run, TestHost, plan, policy, repo, step, tree};
use serde_json::{Value, json};
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::trace::verify::verify;
use skillhost::{GoOnOptions, Report, RunOptions, SkillHost};

fn host() -> TestHost {
    let host = TestHost::with(&policy("", READ_WRITE), &[("probe", &repo::component("probe"))]);
    host.write("a", "0\n");
    host
}

fn append(id: &str, text: &str) -> Value {
    step(id, "files.append", json!({"path": "/workspace/a", "text": text}))
}

fn undo(id: &str, steps: u32) -> Value {
    step(id, "sys.undo", json!({ "steps": steps }))
}

fn fails() -> Value {
    step("fails", "files.read-text", json!({"path": "/workspace/none"}))
}

fn with(mut step: Value, key: &str, value: Value) -> Value {
    step[key] = value;
    step
}

fn read(host: &TestHost, name: &str) -> String {
    std::fs::read_to_string(host.workspace().join(name)).unwrap()
}

fn output<'r>(report: &'r Report, step: &str) -> &'r Value {
    let step = report.steps.iter().find(|report| report.id.as_str() == step).unwrap();
    match step.outcome.as_ref() {
        Some(Outcome::Completed { output }) => output,
        other => panic!("{other:#?}"),
    }
}

fn error<'r>(report: &'r Report, step: &str) -> &'r Value {
    let step = report.steps.iter().find(|report| report.id.as_str() == step).unwrap();
    match step.outcome.as_ref() {
        Some(Outcome::Failed { error }) => error,
        other => panic!("{other:#?}"),
    }
}

/// The steps that the output says were taken back: `run/step`, the run only where it is another one.
fn taken(output: &Value) -> Vec<String> {
    let steps = output["undone"].as_array().unwrap().iter().map(|taken| {
        let run = taken["run"].as_str().map(|run| format!("{run}/")).unwrap_or_default();
        format!("{run}{}", taken["step"].as_str().unwrap())
    });
    steps.collect()
}

/// Kind and step of every event of a step, host calls apart.
fn events(run: &Run) -> Vec<String> {
    let kinds = ["step-begin", "step-end", "undone", "rollback"];
    let events = kinds.iter().flat_map(|kind| run.trace.of_kind(kind));
    let mut events: Vec<(u64, String)> = events
        .map(|event| {
            let text = format!("{} {}", event["kind"].as_str().unwrap(), event["step"].as_str().unwrap_or_default());
            (event["seq"].as_u64().unwrap(), text)
        })
        .collect();
    events.sort();
    events.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn the_last_steps_that_changed_files_are_taken_back_and_the_run_goes_on() {
    let host = host();
    let look = step("look", "files.read-text", json!({"path": "/workspace/a"}));
    let after = with(step("after", "files.read-text", json!({"path": "/workspace/a"})), "depends_on", json!(["undo"]));
    let tail = with(append("tail", "{{steps.undo.undone.0.step}}\n"), "depends_on", json!(["after"]));
    let run = host
        .run(&plan([
            append("one", "1\n"),
            append("two", "2\n"),
            append("three", "3\n"),
            look,
            undo("undo", 2),
            after,
            tail,
        ]))
        .completed();
    assert_eq!(taken(output(&run.report, "undo")), ["three", "two"]);
    let change = json!([{"change": "modified", "path": "/workspace/a"}]);
    assert_eq!(output(&run.report, "undo")["undone"][0]["changes"], change);
    assert_eq!((output(&run.report, "after"), read(&host, "a").as_str()), (&json!("0\n1\n"), "0\n1\nthree\n"));
    let of_undo: Vec<String> =
        events(&run).into_iter().skip_while(|event| event != "step-begin undo").take(4).collect();
    assert_eq!(of_undo, ["step-begin undo", "step-end undo", "undone three", "undone two"]);
    let undone: Vec<bool> = run.report.steps.iter().map(|step| step.undone).collect();
    assert_eq!(undone, [false, true, true, false, false, false, false]);
    verify(run.folder()).unwrap();
    // A replay takes it from the record and touches nothing.
    let before = tree::read(&host.workspace());
    host.replay_equals(&run);
    assert_eq!(tree::read(&host.workspace()), before);
    // Neither the undone steps nor the undo are counted by who undoes later.
    let later = host.host.undo(2, false).unwrap();
    assert_eq!(later.iter().map(|step| step.step.as_str()).collect::<Vec<_>>(), ["tail", "one"]);
    assert_eq!(read(&host, "a"), "0\n");
}

#[test]
fn one_step_is_the_default_and_nothing_is_undone_twice() {
    let host = host();
    let steps = [append("one", "1\n"), append("two", "2\n"), step("first", "sys.undo", json!({})), undo("second", 1)];
    let run = host.run(&plan(steps)).completed();
    assert_eq!(
        (taken(output(&run.report, "first")), taken(output(&run.report, "second"))),
        (vec!["two".to_owned()], vec!["one".to_owned()])
    );
    assert_eq!(read(&host, "a"), "0\n");
    host.replay_equals(&run);
}

#[test]
fn what_this_run_has_not_is_taken_back_of_earlier_ones() {
    let host = host();
    let earlier = host.run(&plan([append("one", "1\n"), append("two", "2\n")])).completed().report.run;
    let run = host.run(&plan([append("three", "3\n"), undo("undo", 2)])).completed();
    assert_eq!(taken(output(&run.report, "undo")), ["three".to_owned(), format!("{earlier}/two")]);
    assert_eq!(read(&host, "a"), "0\n1\n");
    host.replay_equals(&run);
    // More than there is takes back nothing.
    let run = host.run(&plan([append("three", "3\n"), undo("undo", 3)]));
    assert_eq!(
        (error(&run.report, "undo")["code"].as_str(), read(&host, "a").as_str()),
        (Some("nothing-to-undo"), "0\n1\n3\n")
    );
    assert_eq!(error(&run.report, "undo")["message"], "2 of the 3 steps can be undone");
    host.replay_equals(&run);
    assert_eq!(host.host.undo(2, false).unwrap().len(), 2);
}

#[test]
fn it_is_denied_unless_a_grant_names_it_and_a_folder_that_may_be_written() {
    let only_files = policy("", READ_WRITE).replacen("\"*\"", "\"files\"", 1);
    for (text, reason) in [
        (only_files.clone(), "no grant of the policy names the skill `sys`"),
        (policy("", ""), "lacks `filesystem` that `sys.undo` needs"),
        (policy("", READ_ONLY), "lacks `filesystem` that `sys.undo` needs"),
    ] {
        let host = TestHost::new(&text);
        let run = host.run(&plan([undo("undo", 1)]));
        assert_eq!(run.report.outcome, RunOutcome::Denied, "{:#?}", run.report);
        let said = &run.report.denials[0].reason;
        assert!(said.contains(reason), "{said}");
        host.replay_equals(&run);
    }
    // What it restores lies in its own folders.
    let elsewhere = r#"[[grant]]
skills = ["sys"]
tools = ["undo"]
filesystem = [{ host = "{workspace}/sub", guest = "/workspace/sub", access = "read-write" }]
"#;
    let host = TestHost::new(&format!("{only_files}{elsewhere}"));
    host.write("sub/b", "0\n");
    host.write("a", "0\n");
    let inside = step("in", "files.write-text", json!({"path": "/workspace/sub/b", "text": "1\n"}));
    let run = host.run(&plan([append("out", "1\n"), inside.clone(), undo("undo", 1)])).completed();
    assert_eq!((taken(output(&run.report, "undo")), read(&host, "sub/b").as_str()), (vec!["in".to_owned()], "0\n"));
    let run = host.run(&plan([inside, append("out", "2\n"), undo("undo", 2)]));
    let refused = error(&run.report, "undo");
    assert_eq!((&refused["code"], &refused["paths"]), (&json!("not-granted"), &json!(["/workspace/a"])), "{refused}");
    assert_eq!((read(&host, "a").as_str(), read(&host, "sub/b").as_str()), ("0\n1\n2\n", "1\n"));
}

#[test]
fn its_name_is_taken() {
    let host = host();
    let document = with(plan([undo("undo", 1)]), "skills", json!({"sys": {"path": "sys.wasm"}}));
    let run = host.run(&document);
    assert_eq!(run.problem_codes(), ["reserved-skill"]);
    assert!(run.report.problems[0].hint.is_some());
    host.replay_equals(&run);
    let given = TestHost::with(&policy("", READ_WRITE), &[("sys", &repo::component("probe"))]);
    let run = given.run(&plan([step("look", "files.list", json!({"path": "/workspace"}))]));
    assert_eq!(run.problem_codes(), ["reserved-skill"]);
    given.replay_equals(&run);
}

#[test]
fn what_it_cannot_do_is_refused_before_anything_runs() {
    let host = host();
    let one = || append("one", "1\n");
    let call = json!({"tool": "sys.undo", "input": {}});
    let whole = |steps: Vec<Value>| plan([one()].into_iter().chain(steps));
    for (plan, pointer, code) in [
        (whole(vec![undo("undo", 0)]), "/steps/1/input/steps", "wrong-value"),
        (whole(vec![undo("undo", 101)]), "/steps/1/input/steps", "wrong-value"),
        (whole(vec![step("undo", "sys.undo", json!({"steps": "1"}))]), "/steps/1/input/steps", "wrong-type"),
        (whole(vec![step("undo", "sys.undo", json!({"step": 1}))]), "/steps/1/input/step", "unknown-param"),
        (whole(vec![step("undo", "sys.redo", json!({}))]), "/steps/1/tool", "unknown-tool"),
        (whole(vec![with(undo("undo", 1), "expect", json!({"kind": "json"}))]), "/steps/1/expect", "host-tool"),
        (whole(vec![with(undo("undo", 1), "reuse", json!(true))]), "/steps/1/reuse", "host-tool"),
        (whole(vec![with(append("two", "2\n"), "compensate", call.clone())]), "/steps/1/compensate/tool", "host-tool"),
        (with(whole(vec![undo("undo", 1)]), "compensate", json!([call])), "/compensate/0/tool", "host-tool"),
        // Its output has a type: a template that does not fit is found.
        (
            whole(vec![undo("undo", 1), append("tail", "{{steps.undo.undone.0.steps}}")]),
            "/steps/2/input/text",
            "unresolvable-reference",
        ),
    ] {
        let run = host.run(&plan);
        let found: Vec<(&str, &str)> =
            run.report.problems.iter().map(|problem| (problem.pointer.as_str(), problem.code.as_str())).collect();
        assert_eq!(found, [(pointer, code)], "{:#?}", run.report.problems);
        host.replay_equals(&run);
    }
    assert_eq!(read(&host, "a"), "0\n");
    // What is known only later fails the step.
    let size = step("size", "files.stat", json!({"path": "/workspace/empty"}));
    host.write("empty", "");
    let run = host.run(&plan([one(), size, step("undo", "sys.undo", json!({"steps": "{{steps.size.size}}"}))]));
    assert_eq!(run.report.outcome, RunOutcome::Refused, "a 64-bit length fits no 32-bit number: {:#?}", run.report);
}

#[test]
fn what_somebody_has_changed_since_is_refused_and_nothing_is_undone() {
    let host = host();
    host.run(&plan([append("one", "1\n")])).completed();
    host.run(&plan([step("b", "files.write-text", json!({"path": "/workspace/b", "text": "b\n"}))])).completed();
    host.write("a", "somebody else\n");
    let run = host.run(&plan([undo("undo", 2)]));
    let refused = error(&run.report, "undo");
    assert_eq!((&refused["code"], &refused["paths"]), (&json!("conflict"), &json!(["/workspace/a"])), "{refused}");
    assert_eq!((read(&host, "a").as_str(), read(&host, "b").as_str()), ("somebody else\n", "b\n"));
    assert_eq!(run.trace.of_kind("undone").count(), 0);
    host.replay_equals(&run);
    verify(run.folder()).unwrap();
}

fn back(steps: impl IntoIterator<Item = Value>) -> Value {
    with(plan(steps), "on_failure", json!("rollback"))
}

#[test]
fn a_rollback_takes_back_what_is_left() {
    let host = host();
    let run =
        host.run(&back([append("one", "1\n"), append("two", "2\n"), undo("undo", 1), append("three", "3\n"), fails()]));
    assert_eq!((run.report.outcome, read(&host, "a").as_str()), (RunOutcome::RolledBack, "0\n"), "{:#?}", run.report);
    let rolled: Vec<String> = events(&run).into_iter().skip_while(|event| event != "rollback ").collect();
    assert_eq!(rolled, ["rollback ", "undone three", "undone one"]);
    host.replay_equals(&run);
    // What it took back of another run is not done again by a rollback, and that is said.
    host.run(&plan([append("one", "1\n")])).completed();
    let run = host.run(&back([undo("undo", 1), fails()]));
    assert_eq!(run.report.outcome, RunOutcome::RollbackIncomplete, "{:#?}", run.report);
    let left = &run.report.rollback.as_ref().unwrap().left;
    assert_eq!(left[..], ["step `undo` (sys.undo): what it took back of earlier runs is not put there again"]);
    host.replay_equals(&run);
    host.run(&plan([append("one", "1\n")])).completed();
    let run = host.run(&back([with(undo("undo", 1), "irreversible", json!(true)), fails()]));
    assert_eq!(run.report.outcome, RunOutcome::RolledBack, "{:#?}", run.report);
}

fn go_on(host: &SkillHost, run: &Run, how: fn(&SkillHost, &Run) -> Report) -> Run {
    let report = how(host, run);
    Run { trace: TraceFiles::read(&report.folder), report }
}

#[test]
fn a_run_with_an_undo_is_taken_back_later() {
    let host = host();
    let run = host
        .run(&plan([append("one", "1\n"), append("two", "2\n"), undo("undo", 1), append("three", "3\n")]))
        .completed();
    let back = go_on(&host.host, &run, |host, run| host.roll_back(&run.recorded(), &GoOnOptions::default()).unwrap());
    assert_eq!((back.report.outcome, read(&host, "a").as_str()), (RunOutcome::RolledBack, "0\n"), "{:#?}", back.report);
    let undone: Vec<&Value> = back.trace.of_kind("undone").map(|event| &event["step"]).collect();
    assert_eq!(undone, ["three", "one"]);
    host.replay_equals(&back);
}

#[test]
fn a_resumed_run_takes_an_undo_from_the_record_as_long_as_what_it_undid_is_from_there() {
    let resume: fn(&SkillHost, &Run) -> Report =
        |host, run| host.resume(&run.recorded(), &GoOnOptions::default()).unwrap();
    let steps = || [append("one", "1\n"), append("bad", "bad\n"), undo("undo", 1), append("good", "good\n"), fails()];
    let host = host();
    let failed = host.run(&plan(steps()));
    host.write("none", "");
    let resumed = go_on(&host.host, &failed, resume).completed();
    let reused: Vec<bool> = resumed.report.steps.iter().map(|step| step.reused.is_some()).collect();
    assert_eq!((reused, read(&host, "a").as_str()), (vec![true, true, true, true, false], "0\n1\ngood\n"));
    host.replay_equals(&resumed);
    // A plain run behind it counts what is there.
    assert_eq!(host.host.undo(1, false).unwrap()[0].step, "good");
}

#[test]
fn beside_other_steps_it_runs_alone() {
    let write = |id: &str| step(id, "files.write-text", json!({"path": format!("/workspace/{id}"), "text": "1\n"}));
    let both = |id: &str| step(id, "files.write-text", json!({"path": "/workspace/both", "text": format!("{id}\n")}));
    let steps = [write("one"), write("two"), both("three"), undo("undo", 2), both("four"), write("five"), write("six")];
    let mut traces = Vec::new();
    for parallel in [1, 4, 4, 4] {
        let host = host();
        let run = host.run(&with(plan(steps.clone()), "parallel", json!(parallel))).completed();
        assert_eq!(taken(output(&run.report, "undo")), ["three", "two"]);
        let files: Vec<String> = tree::read(&host.workspace()).into_keys().collect();
        assert_eq!(
            (files, read(&host, "both").as_str()),
            (["a", "both", "five", "one", "six"].map(str::to_owned).to_vec(), "four\n")
        );
        host.replay_equals(&run);
        traces.push(events(&run));
    }
    assert!(traces.iter().all(|trace| *trace == traces[0]), "{traces:#?}");
}

#[test]
fn a_dry_run_undoes_in_its_copies() {
    let host = host();
    let before = tree::read(&host.workspace());
    let options = RunOptions { dry_run: true, ..RunOptions::default() };
    let document = host.document(&plan([append("one", "1\n"), append("two", "2\n"), undo("undo", 1)]));
    let report = host.host.run(&document, &options).unwrap();
    assert_eq!((report.outcome, taken(output(&report, "undo"))), (RunOutcome::Completed, vec!["two".to_owned()]));
    let changes = format!("{:?}", report.dry_run.unwrap().changes);
    assert!(changes.contains("+1") && !changes.contains("+2"), "{changes}");
    assert_eq!(tree::read(&host.workspace()), before);
}

#[test]
fn somebody_may_have_to_approve_of_it() {
    let text = policy("", READ_WRITE).replace("approval = \"never\"", "approval = \"required\"");
    let host = TestHost::configured(&text, &[("probe", &repo::component("probe"))], |builder| builder.pauses(true));
    let run = host.run(&plan([undo("undo", 1)]));
    let pending = run.report.pending.as_ref().unwrap();
    assert_eq!((pending.tool.to_string().as_str(), run.report.outcome), ("sys.undo", RunOutcome::Paused));
}
