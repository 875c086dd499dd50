//! A plan is checked as a whole before anything runs: every mistake is reported, nothing is filled in, nothing is touched.

use std::collections::BTreeSet;

use host_tests::plan::READ_WRITE;
use host_tests::{Run, TestHost, plan, policy, step, tree};
use serde_json::{Value, json};
use skillhost::outcome::RunOutcome;
use skillhost::{PlanDocument, PlanFormat, RunOptions};

fn host() -> TestHost {
    let host = TestHost::new(&policy("", READ_WRITE));
    host.write("a.txt", "a");
    host
}

fn write(id: &str) -> Value {
    step(id, "files.write-text", json!({"path": format!("/workspace/{id}"), "text": "text"}))
}

/// Refused, and nothing happened.
fn refused(host: &TestHost, plan: &Value) -> Run {
    refused_text(host, &plan.to_string())
}

fn refused_text(host: &TestHost, text: &str) -> Run {
    let before = tree::read(&host.workspace());
    let document = PlanDocument::new(text, PlanFormat::Json, host.folder());
    let report = host.host.run(&document, &RunOptions::default()).unwrap();
    let run = Run { trace: host_tests::trace::TraceFiles::read(&report.folder), report };
    assert_eq!(run.report.outcome, RunOutcome::Refused, "{text}: {:#?}", run.report);
    assert_eq!(tree::read(&host.workspace()), before);
    assert!(!run.report.problems.is_empty());
    let kinds: BTreeSet<&str> = run.trace.events.iter().filter_map(|event| event["kind"].as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["header", "refused", "run-end"]), "{text}");
    assert!(run.report.steps.iter().all(|step| step.outcome.is_none() && step.fuel.is_none()));
    host.replay_equals(&run);
    run
}

/// Code and pointer of each problem.
fn problems(run: &Run) -> Vec<(&str, &str)> {
    run.report.problems.iter().map(|problem| (problem.code.as_str(), problem.pointer.as_str())).collect()
}

/// AV-2: a missing parameter in the second step stops the first.
#[test]
fn a_missing_parameter_is_found_before_the_first_step() {
    let host = host();
    let run = refused(&host, &plan([write("one"), step("two", "files.write-text", json!({"text": "b"}))]));
    assert_eq!(problems(&run), [("missing-param", "/steps/1/input/path")]);
    let message = &run.report.problems[0].message;
    assert!(message.contains("`path`") && message.contains("`two`"), "{message}");
}

/// AV-3: wrong type, unknown parameter, no object.
#[test]
fn malformed_inputs_are_refused_at_their_place() {
    let host = host();
    for (input, expected) in [
        (json!({"path": 5, "text": "a"}), ("wrong-type", "/steps/1/input/path")),
        (json!({"path": "/workspace/a", "text": "a", "mode": "x"}), ("unknown-param", "/steps/1/input/mode")),
        (json!(["/workspace/a", "a"]), ("wrong-type", "/steps/1/input")),
        (json!("text"), ("wrong-type", "/steps/1/input")),
        (json!({"path": "/workspace/a", "text": "a", "overwrite": "yes"}), ("wrong-type", "/steps/1/input/overwrite")),
    ] {
        let run = refused(&host, &plan([write("one"), step("two", "files.write-text", input.clone())]));
        assert_eq!(problems(&run), [expected], "{input}");
    }
}

/// Mistakes of the document, of its skills and of its meaning, in the order of the document; a replay finds the same.
#[test]
fn all_mistakes_are_in_one_report() {
    let host = host();
    host.write("broken.wasm", "no component");
    let mut document = plan([
        step("one", "files.raed-text", json!({"path": "/workspace/a.txt"})),
        step("two", "broken.tool", json!({"anything": "{{inputs.none}}"})),
        step("three", "files.write-text", json!({"path": "{{steps.two.anything}}"})),
        json!({"id": "four", "tool": 4}),
    ]);
    document["seed"] = json!(-1);
    document["skills"] = json!({"broken": {"path": host.workspace().join("broken.wasm")}});
    let run = refused(&host, &document);
    let expected = [
        ("out-of-range", "/seed"),
        ("component-not-wasm", "/skills/broken"),
        ("unknown-tool", "/steps/0/tool"),
        ("unresolvable-reference", "/steps/1/input/anything"),
        ("missing-param", "/steps/2/input/text"),
        ("wrong-type", "/steps/3/tool"),
    ];
    assert_eq!(problems(&run), expected);
}

#[test]
fn skills_that_cannot_be_loaded_fill_a_report_and_it_replays() {
    let host = host();
    host.write("broken.wasm", "no component");
    for (count, last) in [(99, "unknown-tool"), (100, "more-problems"), (120, "more-problems")] {
        let mut document = plan([step("one", "files.raed-text", json!({"path": "/workspace/a.txt"}))]);
        let entry = |n: usize| (format!("s{n}"), json!({"path": host.workspace().join("broken.wasm")}));
        document["skills"] = Value::Object((0..count).map(entry).collect());
        let run = refused(&host, &document);
        assert_eq!(run.problem_codes().last(), Some(&last), "{count}");
    }
}

#[test]
fn an_undeclared_input_is_reported_with_the_rest_and_replayed() {
    let host = host();
    let document = plan([step("one", "files.raed-text", json!({"path": "/workspace/a.txt"}))]).to_string();
    let document = PlanDocument::new(document, PlanFormat::Json, host.folder());
    let inputs = serde_json::Map::from_iter([("month".to_owned(), json!(1))]);
    let report = host.host.run(&document, &RunOptions { inputs, ..RunOptions::default() }).unwrap();
    let run = Run { trace: host_tests::trace::TraceFiles::read(&report.folder), report };
    assert_eq!(problems(&run), [("unknown-input", "/inputs/month"), ("unknown-tool", "/steps/0/tool")]);
    host.replay_equals(&run);
}

/// AV-4: what is incomplete or ambiguous.
#[test]
fn incomplete_and_ambiguous_plans_are_refused() {
    let host = host();
    let with = |key: &str, value: Value| {
        let mut plan = plan([write("one")]);
        plan[key] = value;
        plan
    };
    let depending = |id: &str, on: &[&str]| {
        let mut step = write(id);
        step["depends_on"] = json!(on);
        step
    };
    let cases: Vec<(Value, &str)> = vec![
        (plan([write("one"), write("one")]), "duplicate-id"),
        (plan([depending("one", &["none"])]), "unknown-step"),
        (plan([depending("one", &["two"]), depending("two", &["one"])]), "cycle"),
        (plan([depending("one", &["one"])]), "self-dependency"),
        (plan([step("one", "nothing.run", json!({}))]), "unknown-tool"),
        (plan([step("one", "files.reed-text", json!({"path": "/workspace/a.txt"}))]), "unknown-tool"),
        (with("stepz", json!([])), "unknown-key"),
        (with("steps", json!([])), "no-steps"),
        (with("steps", json!({})), "wrong-type"),
        (with("schema", json!("skillhost.plan/9")), "wrong-schema"),
        (with("output", json!("{{steps.none}}")), "unknown-step"),
        (with("output", json!("{{inputs.none}}")), "unresolvable-reference"),
        (with("seed", json!(-1)), "out-of-range"),
        (with("start_time", json!("yesterday")), "bad-time"),
    ];
    for (plan, code) in cases {
        let run = refused(&host, &plan);
        assert!(run.problem_codes().contains(&code), "{plan}: {:?}", run.problem_codes());
        assert!(run.problem_codes().len() <= 2, "{plan}: {:?}", run.problem_codes());
    }
    for (text, code) in [
        ("", "bad-json"),
        ("{", "bad-json"),
        ("{\"schema\": \"skillhost.plan/1\",}", "bad-json"),
        ("{\"name\": \"a\", \"name\": \"b\"}", "duplicate-key"),
        ("\u{feff}{}", "byte-order-mark"),
        ("{\"seed\": NaN}", "not-a-number"),
        ("{\"seed\": Infinity}", "not-a-number"),
        ("{} {}", "trailing-data"),
        ("{\"seed\": 01}", "bad-json"),
    ] {
        let run = refused_text(&host, text);
        assert_eq!(run.problem_codes(), [code], "{text}: {:?}", run.report.problems);
        assert!(run.report.problems[0].position.is_some() || code == "byte-order-mark", "{:?}", run.report.problems);
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(refused_text(&host, &deep).problem_codes(), ["too-deep"]);
}

/// A near miss gets a suggestion and nothing else.
#[test]
fn nothing_is_accepted_that_is_merely_close() {
    let host = host();
    let run = refused(&host, &plan([step("one", "files.raed-text", json!({"path": "/workspace/a.txt"}))]));
    assert_eq!(run.report.problems[0].hint.as_deref(), Some("did you mean `files.read-text`?"));
    for tool in ["Files.read-text", "files.Read-text", "files.make_dir", " files.read-text", "files.read-text "] {
        refused(&host, &plan([step("one", tool, json!({"path": "/workspace/a.txt"}))]));
    }
}

/// AV-5: nothing is coerced, and what is recorded is what the plan says.
#[test]
fn nothing_is_coerced_or_filled_in() {
    let host = host();
    for (limit, code) in [
        (json!("5"), "wrong-type"),
        (json!(5.5), "wrong-type"),
        (json!(-1), "out-of-range"),
        (json!(1e300), "out-of-range"),
    ] {
        let input = json!({"text": "a", "pattern": "b", "limit": limit});
        let run = refused(&host, &plan([step("one", "text.split", input)]));
        let found = problems(&run);
        assert_eq!(found[0].1, "/steps/0/input/limit");
        assert!(found[0].0 == code || found[0].0 == "out-of-range" || found[0].0 == "wrong-type", "{limit}: {found:?}");
    }
    let input = json!({"text": "a,b", "pattern": ",", "literal": true, "limit": null});
    let run = host.call("text.split", input.clone()).completed();
    assert_eq!(run.trace.steps()[0].begin["input"], input);
    let input = json!({"text": "a,b", "pattern": ","});
    let run = host.call("text.split", input.clone()).completed();
    assert_eq!(run.trace.steps()[0].begin["input"], input);
}

/// References are checked by type before anything runs.
#[test]
fn references_are_checked_by_type() {
    let host = host();
    for (value, code) in [
        (json!("{{steps.sum.totl}}"), None),
        (json!("{{steps.summ}}"), Some("unknown-step")),
        (json!("{{steps.sum}}"), Some("type-mismatch")),
        (json!("{{steps.sum.rows}}"), Some("type-mismatch")),
        (json!("{{steps.read"), Some("bad-template")),
        (json!("{{inputs.none}}"), Some("unresolvable-reference")),
    ] {
        let run = refused(
            &host,
            &plan([
                step("read", "files.read-text", json!({"path": "/workspace/a.txt"})),
                step("sum", "csv.summarise", json!({"text": "{{steps.read}}"})),
                step("write", "files.write-text", json!({"path": "/workspace/out", "text": value})),
            ]),
        );
        let found = problems(&run);
        assert!(found.len() == 1 && found[0].1.starts_with("/steps/2/input/text"), "{value}: {found:?}");
        if let Some(code) = code {
            assert_eq!(found[0].0, code, "{value}");
        }
    }
}

/// AV-13: the order follows `depends_on` and references, otherwise the plan.
#[test]
fn steps_run_after_what_they_need() {
    let host = host();
    let mut last = write("last");
    last["depends_on"] = json!(["first"]);
    let run = host.run(&plan([
        last,
        step("joined", "text.split", json!({"text": "{{steps.read}}", "pattern": "-"})),
        write("free"),
        step("read", "files.read-text", json!({"path": "/workspace/a.txt"})),
        write("first"),
    ]));
    let order: Vec<&str> = run.trace.of_kind("step-begin").map(|event| event["step"].as_str().unwrap()).collect();
    assert_eq!(order, ["free", "read", "joined", "first", "last"], "{:#?}", run.report.problems);
    assert_eq!(run.report.outcome, RunOutcome::Completed);
}

/// AV-14: validation is before policy, and both before any effect.
#[test]
fn an_invalid_plan_is_refused_before_the_policy_is_asked() {
    let host =
        TestHost::configured(&policy("", ""), &[], |builder| builder.policy(skillhost::PolicyDocument::deny_all()));
    refused(&host, &plan([write("one"), step("two", "files.write-text", json!({}))]));
    let run = host.run(&plan([write("one")]));
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    assert!(tree::read(&host.workspace()).is_empty());
}

/// AV-24: the first failure ends the run.
#[test]
fn steps_after_a_failure_do_not_run() {
    let host = host();
    let run = host.run(&plan([
        write("one"),
        step("two", "files.read-text", json!({"path": "/workspace/none"})),
        write("three"),
    ]));
    assert_eq!(run.report.outcome, RunOutcome::Failed);
    let ran: Vec<bool> = run.report.steps.iter().map(|step| step.outcome.is_some()).collect();
    assert_eq!(ran, [true, true, false]);
    assert!(host.workspace().join("one").exists() && !host.workspace().join("three").exists());
    assert_eq!(run.trace.of_kind("step-begin").count(), 2);
    host.replay_equals(&run);
}

/// Many mistakes of many kinds are all in one report.
#[test]
fn every_mistake_is_reported_at_once() {
    let host = host();
    let mut plan = plan([
        write("one"),
        step("one", "files.write-text", json!({"path": "/workspace/b"})),
        step("two", "files.write-txt", json!({})),
        step("three", "text.split", json!({"text": 5, "pattern": ",", "colour": "red"})),
        step("four", "text.split", json!({"text": "{{steps.none}}", "pattern": "{{inputs.none}}"})),
    ]);
    plan["steps"][0]["depends_on"] = json!(["three", "nobody"]);
    plan["output"] = json!("{{steps.ghost}}");
    let run = refused(&host, &plan);
    let found: BTreeSet<(&str, &str)> = problems(&run).into_iter().collect();
    for expected in [
        ("duplicate-id", "/steps/1/id"),
        ("missing-param", "/steps/1/input/text"),
        ("unknown-tool", "/steps/2/tool"),
        ("wrong-type", "/steps/3/input/text"),
        ("unknown-param", "/steps/3/input/colour"),
        ("unknown-step", "/steps/4/input/text"),
        ("unresolvable-reference", "/steps/4/input/pattern"),
        ("unknown-step", "/steps/0/depends_on/1"),
        ("unknown-step", "/output"),
    ] {
        assert!(found.contains(&expected), "{expected:?} is not in {found:#?}");
    }
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[test]
fn a_report_of_very_many_mistakes_is_bounded() {
    let host = host();
    let run = refused(&host, &plan((0..5000).map(|at| step(&format!("s{at}"), "no.tool", json!({})))));
    assert_eq!(run.report.problems.len(), skillhost::limits::PROBLEMS_MAX + 1);
    let last = run.report.problems.last().unwrap();
    assert_eq!((last.code.as_str(), last.message.as_str()), ("more-problems", "4900 more problems are not listed"));
}

#[test]
fn a_plan_of_ten_thousand_steps_is_valid() {
    let host = host();
    let steps = (0..10_000).map(|at| {
        let text = if at == 0 { "{}".to_owned() } else { format!("{{{{steps.s{}}}}}", at - 1) };
        step(&format!("s{at}"), "json.parse", json!({"text": text}))
    });
    let checked = host.host.check(&host.document(&plan(steps))).unwrap().unwrap();
    assert_eq!(checked.plan.steps().len(), 10_000);
}

#[test]
fn checking_writes_nothing() {
    let host = host();
    let before = (tree::read(&host.workspace()), host.state().join("runs").exists());
    host.host.check(&host.document(&plan([write("one")]))).unwrap().unwrap();
    host.host.explain(&host.document(&plan([write("one")]))).unwrap().unwrap();
    assert_eq!((tree::read(&host.workspace()), host.state().join("runs").exists()), before);
}
