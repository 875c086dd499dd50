//! Tests of reading plans.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn minimal() -> Value {
    json!({"schema": SCHEMA, "name": "p", "steps": [{"id": "a", "tool": "s.f"}]})
}

/// [`minimal`] with one member of the plan set.
fn with(key: &str, value: Value) -> Value {
    let mut plan = minimal();
    plan[key] = value;
    plan
}

/// [`minimal`] with one member of its step set.
fn with_step(key: &str, value: Value) -> Value {
    let mut plan = minimal();
    plan["steps"][0][key] = value;
    plan
}

/// A plan of one step that approves.
fn approving(approve: &Value) -> Value {
    with("steps", json!([{"id": "a", "approve": approve}]))
}

fn problems(document: &Value) -> Vec<(String, String)> {
    let problems = Plan::from_value(document).err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.code, problem.pointer)).collect()
}

#[test]
fn a_plan_with_every_key() {
    let digest = "ab".repeat(32);
    let document = json!({
        "schema": "skillhost.plan/1", "name": "monthly report", "version": "1.0.0-rc.1+5", "description": "d",
        "inputs": {"month": "2026-10"}, "skills": {"csv": {"path": "skills/csv.wasm", "sha256": digest}},
        "seed": 9007199254740991_u64, "start_time": "2026-01-01T02:00:00+02:00", "on_failure": "stop",
        "steps": [
            {"id": "read", "tool": "files.read-text", "description": "d", "input": {"path": "/w/{{inputs.month}}.csv"},
             "limits": {"fuel": 1000, "deadline_ms": 5}},
            {"id": "sum", "tool": "csv.summarise", "depends_on": ["read"], "input": {"text": "{{steps.read}}"}}],
        "output": {"total": "{{steps.sum.total}}"}});
    let plan = Plan::from_json(document.to_string().as_bytes()).unwrap();
    assert_eq!((plan.seed, plan.start_time), ((1 << 53) - 1, START_TIME_DEFAULT));
    assert_eq!(plan.steps[0].limits.fuel, Some(1000));
    assert_eq!(plan.steps[1].depends_on, ["read"]);
    assert_eq!(plan.steps[0].call().unwrap().input.references().len(), 1);
    assert_eq!(plan.skills.len(), 1);
    assert_eq!(plan.digest, Digest::of(crate::canonical::to_string(&document).as_bytes()));

    let yaml = "\
schema: skillhost.plan/1
name: p
steps:
  - id: a     # comments are fine
    tool: s.f
";
    let from_yaml = Plan::from_yaml(yaml.as_bytes()).unwrap();
    assert_eq!(from_yaml.digest, Plan::from_value(&minimal()).unwrap().digest);
    assert_eq!((from_yaml.seed, from_yaml.start_time), (0, START_TIME_DEFAULT));
}

#[test]
fn the_documented_plans_are_plans() {
    let page = include_str!("../../../docs/plan-format.md");
    let examples = page.split("```json").skip(1).filter_map(|rest| rest.split("```").next());
    let steps = examples.map(|example| Plan::from_json(example.as_bytes()).unwrap().steps.len());
    assert_eq!(steps.collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn each_mistake_has_a_code_and_a_place() {
    let unnamed = json!({"schema": SCHEMA, "steps": [{"id": "a", "tool": "s.f"}]});
    for (document, code, pointer) in [
        (json!([]), "wrong-type", ""),
        (unnamed, "missing-key", "/name"),
        (with("schema", json!("skillhost.plan/2")), "wrong-schema", "/schema"),
        (with("schema", json!("other")), "wrong-schema", "/schema"),
        (with("schema", json!(1)), "wrong-type", "/schema"),
        (with("nmae", json!("x")), "unknown-key", "/nmae"),
        (with("a/b", json!("x")), "unknown-key", "/a~1b"),
        (with("name", json!("")), "bad-name", "/name"),
        (with("name", json!("a\nb")), "bad-name", "/name"),
        (with("name", json!(5)), "wrong-type", "/name"),
        (with("version", json!("1.0")), "bad-version", "/version"),
        (with("version", json!(null)), "wrong-type", "/version"),
        (with("version", json!("01.0.0")), "bad-version", "/version"),
        (with("inputs", json!([])), "wrong-type", "/inputs"),
        (with("skills", json!({"1": {"path": "a"}})), "bad-name", "/skills/1"),
        (with("skills", json!({"a": {}})), "missing-key", "/skills/a/path"),
        (with("skills", json!({"a": "x.wasm"})), "wrong-type", "/skills/a"),
        (with("skills", json!({"a": {"path": ""}})), "bad-path", "/skills/a/path"),
        (with("skills", json!({"a": {"path": "x", "sha256": "AB"}})), "bad-digest", "/skills/a/sha256"),
        (with("skills", json!({"a": {"path": "x", "url": "y"}})), "unknown-key", "/skills/a/url"),
        (with("seed", json!(-1)), "out-of-range", "/seed"),
        (with("seed", json!(1.5)), "out-of-range", "/seed"),
        (with("seed", json!(9007199254740992_u64)), "out-of-range", "/seed"),
        (with("seed", json!("1")), "wrong-type", "/seed"),
        (with("start_time", json!("1969-12-31T23:59:59Z")), "bad-time", "/start_time"),
        (with("start_time", json!("2026-01-01")), "bad-time", "/start_time"),
        (with("start_time", json!("2026-02-30T00:00:00Z")), "bad-time", "/start_time"),
        (with("start_time", json!("2026-01-01T00:00:60Z")), "bad-time", "/start_time"),
        (with("start_time", json!("2026-01-01T00:00:00.5Z")), "bad-time", "/start_time"),
        (with("start_time", json!("2026-01-01T00:00:00Z[UTC]")), "bad-time", "/start_time"),
        (with("start_time", json!(0)), "wrong-type", "/start_time"),
        (with("on_failure", json!(true)), "wrong-type", "/on_failure"),
        (with("parallel", json!(0)), "out-of-range", "/parallel"),
        (with("parallel", json!(17)), "out-of-range", "/parallel"),
        (with("deadline_ms", json!(0)), "out-of-range", "/deadline_ms"),
        (with("deadline_ms", json!(604_800_001)), "out-of-range", "/deadline_ms"),
        (with("compensate", json!({})), "wrong-type", "/compensate"),
        (with("compensate", json!([1])), "wrong-type", "/compensate/0"),
        (with("compensate", json!([{"tool": 1}])), "wrong-type", "/compensate/0/tool"),
        (with("compensate", json!([{"input": {}}])), "missing-key", "/compensate/0/tool"),
        (with("compensate", json!([{"tool": "s.f", "input": []}])), "wrong-type", "/compensate/0/input"),
        (with("compensate", json!([{"tool": "s.f", "id": "a"}])), "unknown-key", "/compensate/0/id"),
        (with("compensate", json!(vec![json!(1); 1_001])), "too-many-compensations", "/compensate"),
        (with("on_failure", json!("ignore")), "unknown-value", "/on_failure"),
        (with("steps", json!([])), "no-steps", "/steps"),
        (with("steps", json!({})), "wrong-type", "/steps"),
        (with("steps", json!([5])), "wrong-type", "/steps/0"),
        (with("output", json!({"a": "{{"})), "bad-template", "/output/a"),
        (with_step("id", json!("9")), "bad-name", "/steps/0/id"),
        (with_step("id", json!(9)), "wrong-type", "/steps/0/id"),
        (with_step("tool", json!(null)), "wrong-type", "/steps/0/tool"),
        (with_step("input", json!([])), "wrong-type", "/steps/0/input"),
        (with_step("input", json!({"a": ["{{x}}"]})), "bad-template", "/steps/0/input/a/0"),
        (with_step("depends_on", json!("a")), "wrong-type", "/steps/0/depends_on"),
        (with_step("depends_on", json!([1])), "wrong-type", "/steps/0/depends_on/0"),
        (with_step("depends_on", json!(["b", "b"])), "duplicate-dependency", "/steps/0/depends_on/1"),
        (with_step("limits", json!({"fuel": 0})), "out-of-range", "/steps/0/limits/fuel"),
        (with_step("limits", json!({"deadline_ms": 86_400_001})), "out-of-range", "/steps/0/limits/deadline_ms"),
        (with_step("limits", json!({"fule": 1})), "unknown-key", "/steps/0/limits/fule"),
        (with_step("limits", json!(1)), "wrong-type", "/steps/0/limits"),
        (with_step("compensate", json!("s.f")), "wrong-type", "/steps/0/compensate"),
        (with_step("compensate", json!({})), "missing-key", "/steps/0/compensate/tool"),
        (with_step("compensate", json!({"tool": "s.f", "limits": {}})), "unknown-key", "/steps/0/compensate/limits"),
        (with_step("reuse", json!(1)), "wrong-type", "/steps/0/reuse"),
        (with_step("irreversible", json!("yes")), "wrong-type", "/steps/0/irreversible"),
        (with_step("retry", json!(3)), "wrong-type", "/steps/0/retry"),
        (with_step("retry", json!({"on": ["failed"]})), "missing-key", "/steps/0/retry/attempts"),
        (with_step("retry", json!({"attempts": 2})), "missing-key", "/steps/0/retry/on"),
        (with_step("retry", json!({"attempts": 1, "on": ["failed"]})), "out-of-range", "/steps/0/retry/attempts"),
        (with_step("retry", json!({"attempts": 11, "on": ["failed"]})), "out-of-range", "/steps/0/retry/attempts"),
        (with_step("retry", json!({"attempts": 2, "on": []})), "no-retry", "/steps/0/retry/on"),
        (with_step("retry", json!({"attempts": 2, "on": "failed"})), "wrong-type", "/steps/0/retry/on"),
        (with_step("retry", json!({"attempts": 2, "on": [1]})), "wrong-type", "/steps/0/retry/on/0"),
        (with_step("retry", json!({"attempts": 2, "on": ["fuel"]})), "unknown-value", "/steps/0/retry/on/0"),
        (with_step("retry", json!({"attempts": 2, "on": ["faild"]})), "unknown-value", "/steps/0/retry/on/0"),
        (
            with_step("retry", json!({"attempts": 2, "on": ["failed", "failed"]})),
            "duplicate-value",
            "/steps/0/retry/on/1",
        ),
        (
            with_step("retry", json!({"attempts": 2, "on": ["failed"], "backoff_ms": 60_001})),
            "out-of-range",
            "/steps/0/retry/backoff_ms",
        ),
        (with_step("when", json!("x")), "wrong-type", "/steps/0/when"),
        (with_step("when", json!([])), "no-conditions", "/steps/0/when"),
        (with_step("when", json!([1])), "wrong-type", "/steps/0/when/0"),
        (with_step("when", json!(vec![json!(1); 101])), "too-many-conditions", "/steps/0/when"),
        (with_step("when", json!({"is": 1})), "missing-key", "/steps/0/when/value"),
        (with_step("when", json!({"value": "x"})), "missing-key", "/steps/0/when"),
        (with_step("when", json!({"value": "x", "is": 1, "is_not": 2})), "ambiguous-condition", "/steps/0/when/is_not"),
        (with_step("when", json!({"value": "x", "is": 1, "equals": 2})), "unknown-key", "/steps/0/when/equals"),
        (with_step("when", json!([{"value": "{{x}}", "is": 1}])), "bad-template", "/steps/0/when/0/value"),
        (with_step("when", json!({"value": "x", "is": "{{"})), "bad-template", "/steps/0/when/is"),
        (with_step("expect", json!("json")), "wrong-type", "/steps/0/expect"),
        (with_step("expect", json!({})), "missing-key", "/steps/0/expect/kind"),
        (with_step("expect", json!({"kind": "xml"})), "unknown-value", "/steps/0/expect/kind"),
        (with_step("expect", json!({"kind": "json", "mode": "stict"})), "unknown-value", "/steps/0/expect/mode"),
        (with_step("expect", json!({"kind": "text", "schema": {}})), "misplaced-key", "/steps/0/expect/schema"),
        (with_step("expect", json!({"kind": "json", "schema": []})), "wrong-type", "/steps/0/expect/schema"),
        (
            with_step("expect", json!({"kind": "json", "schema": {"type": "strin"}})),
            "bad-schema",
            "/steps/0/expect/schema/type",
        ),
        (
            with_step("expect", json!({"kind": "json", "schema": {"$ref": "https://a.example/"}})),
            "bad-schema",
            "/steps/0/expect/schema/$ref",
        ),
        (with_step("approve", json!({"message": "m"})), "ambiguous-step", "/steps/0/approve"),
        (approving(&json!("m")), "wrong-type", "/steps/0/approve"),
        (approving(&json!({})), "missing-key", "/steps/0/approve/message"),
        (approving(&json!({"message": 1})), "wrong-type", "/steps/0/approve/message"),
        (approving(&json!({"message": " "})), "empty-message", "/steps/0/approve/message"),
        (approving(&json!({"message": "{{x}}"})), "bad-template", "/steps/0/approve/message"),
        (approving(&json!({"message": "m", "context": "x"})), "wrong-type", "/steps/0/approve/context"),
        (approving(&json!({"message": "m", "by": "x"})), "unknown-key", "/steps/0/approve/by"),
        (approving(&json!({"message": "m", "expires_in_s": 0})), "out-of-range", "/steps/0/approve/expires_in_s"),
        (
            approving(&json!({"message": "m", "expires_in_s": 2_592_001})),
            "out-of-range",
            "/steps/0/approve/expires_in_s",
        ),
        (approving(&json!({"message": "m", "webhook_url": "hooks"})), "bad-url", "/steps/0/approve/webhook_url"),
        (approving(&json!({"message": "m", "webhook_url": "file:///x"})), "bad-url", "/steps/0/approve/webhook_url"),
        (approving(&json!({"message": "m", "webhook_url": "http://u@h/"})), "bad-url", "/steps/0/approve/webhook_url"),
    ] {
        assert_eq!(problems(&document), [(code.to_owned(), pointer.to_owned())], "{document}");
    }
}

#[test]
fn a_step_that_approves_has_nothing_of_a_call() {
    let call = json!({"tool": "s.f"});
    for (key, value) in [
        ("input", json!({})),
        ("limits", json!({})),
        ("retry", json!({"attempts": 2, "on": ["failed"]})),
        ("expect", json!({"kind": "text"})),
        ("compensate", call),
        ("reuse", json!(true)),
        ("irreversible", json!(false)),
    ] {
        let mut document = approving(&json!({"message": "go on?"}));
        document["steps"][0][key] = value;
        assert_eq!(problems(&document), [("misplaced-key".to_owned(), format!("/steps/0/{key}"))]);
    }
}

#[test]
fn the_course_of_a_run_is_read() {
    let schema = json!({"type": "object", "required": ["total"]});
    let plan = Plan::from_value(&json!({
        "schema": SCHEMA, "name": "p", "on_failure": "rollback", "parallel": 4, "deadline_ms": 60_000,
        "steps": [
            {"id": "ask", "approve": {"message": "pay {{inputs.sum}}?", "context": {"sum": "{{inputs.sum}}"},
                "webhook_url": "https://hooks.example/a", "expires_in_s": 60}},
            {"id": "pay", "tool": "pay.send", "when": {"value": "{{steps.ask.by}}", "is_not": "nobody"},
                "retry": {"attempts": 3, "on": ["deadline", "failed"]},
                "expect": {"kind": "json", "schema": schema, "mode": "warn"},
                "compensate": {"tool": "pay.refund", "input": {"id": "{{steps.pay.id}}"}},
                "reuse": true, "irreversible": true}],
        "compensate": [{"tool": "log.note"}], "inputs": {"sum": 5}}));
    let plan = plan.unwrap();
    assert_eq!((plan.on_failure, plan.parallel, plan.deadline_ms), (OnFailure::Rollback, 4, Some(60_000)));
    assert_eq!(plan.compensate[0].tool, "log.note");
    let Action::Approve(approve) = &plan.steps[0].action else { panic!("{plan:?}") };
    assert_eq!((approve.expires_in_s, approve.context.is_some()), (Some(60), true));
    let step = &plan.steps[1];
    assert_eq!(step.when[0].comparison, Comparison::IsNot);
    let on = vec![RetryOn::Deadline, RetryOn::Failed];
    assert_eq!(step.retry, Some(Retry { attempts: 3, backoff_ms: 100, on }));
    let expect = step.expect.as_ref().unwrap();
    assert_eq!((expect.kind, expect.mode), (ExpectKind::Json, ExpectMode::Warn));
    assert_eq!(expect.schema.as_ref().unwrap().document(), &schema);
    assert_eq!(step.compensate.as_ref().unwrap().input.references().len(), 1);
    assert!(step.reuse && step.irreversible);

    let plain = Plan::from_value(&minimal()).unwrap();
    assert_eq!((plain.on_failure, plain.parallel, plain.deadline_ms), (OnFailure::Stop, 1, None));
    assert!(plain.steps[0].when.is_empty() && !plain.steps[0].reuse && !plain.steps[0].irreversible);
}

#[test]
fn schemas_are_bounded_together() {
    let expect = json!({"kind": "json", "schema": {"const": "x".repeat(200 << 10)}});
    let step = |n: usize| json!({"id": format!("s{n}"), "tool": "s.f", "expect": expect});
    let plan = |count: usize| with("steps", (0..count).map(step).collect());
    assert_eq!(problems(&plan(20)), []);
    assert_eq!(problems(&plan(22)), [("bad-schema".to_owned(), "/steps/20/expect/schema".to_owned())]);
}

#[test]
fn steps_at_one_time_are_bounded() {
    let steps = (0..10_001).map(|n| json!({"id": format!("s{n}"), "tool": "s.f"})).collect();
    let mut document = with("steps", steps);
    assert_eq!(problems(&document), []);
    document["parallel"] = json!(2);
    assert_eq!(problems(&document), [("too-many-steps".to_owned(), "/parallel".to_owned())]);
}

#[test]
fn all_mistakes_are_in_one_report() {
    let document = json!({
        "schema": SCHEMA, "nmae": "x", "seed": -1,
        "steps": [{"tool": 5, "inptu": {}}, {"id": "a", "tool": "s.f", "limits": {"fuel": 0}, "input": {"x": "{{"}}]});
    let found: Vec<String> = problems(&document).into_iter().map(|(_, pointer)| pointer).collect();
    let expected = [
        "/nmae",
        "/name",
        "/seed",
        "/steps/0/inptu",
        "/steps/0/id",
        "/steps/0/tool",
        "/steps/1/input/x",
        "/steps/1/limits/fuel",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_report_is_bounded() {
    let document = with("steps", Value::Array(vec![json!(0); 1000]));
    let found = Plan::from_value(&document).unwrap_err();
    assert_eq!(found.len(), crate::limits::PROBLEMS_MAX + 1);
    assert_eq!(found.last().unwrap().code, "more-problems");
    assert_eq!(problems(&with("steps", Value::Array(vec![json!(0); 100_001])))[0].0, "too-many-steps");
}

#[test]
fn only_declared_inputs_can_be_given() {
    let plan = Plan::from_value(&with("inputs", json!({"month": "a", "n": 1}))).unwrap();
    let digest = plan.digest;
    let given = plan.clone().with_inputs(Map::from_iter([("month".to_owned(), json!("b"))])).unwrap();
    assert_eq!((Value::Object(given.inputs), given.digest), (json!({"month": "b", "n": 1}), digest));
    let found = plan.with_inputs(Map::from_iter([("moth".to_owned(), json!("b"))])).unwrap_err();
    assert_eq!((found[0].code.as_str(), found[0].hint.as_deref()), ("unknown-input", Some("did you mean `month`?")));
}

proptest! {
    #[test]
    fn a_mutated_plan_is_read_or_refused(at in 0..300_usize, byte in any::<u8>()) {
        let mut bytes = with_step("input", json!({"a": "{{inputs.b}} {{steps.a[\"x\"]}}"})).to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        for found in [Plan::from_json(&bytes), Plan::from_yaml(&bytes)] {
            if let Err(problems) = found { prop_assert!(!problems.is_empty()); }
        }
    }
}
