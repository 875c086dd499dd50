//! Tests of what a plan says about the course of its run.

use serde_json::json;

use super::*;

fn steps() -> Vec<Value> {
    vec![
        json!({"id": "read", "tool": "csv.read", "input": {"path": "x"}}),
        json!({"id": "sum", "tool": "csv.sum", "input": {"text": "{{steps.read}}"}}),
        json!({"id": "ask", "approve": {"message": "go on with {{steps.sum.total}}?"}}),
        json!({"id": "log", "tool": "csv.log", "input": {"what": []}}),
    ]
}

/// [`steps`] and one more.
fn and(step: Value) -> Value {
    let mut all = steps();
    all.push(step);
    json!({"steps": all, "inputs": {"n": 5, "s": "x", "none": null, "list": [1]}})
}

fn when(condition: &Value) -> Value {
    and(json!({"id": "it", "tool": "csv.read", "input": {"path": "x"}, "when": condition}))
}

fn compensated(input: &Value) -> Value {
    and(json!({"id": "it", "tool": "csv.add", "input": {"a": 1, "b": 2},
        "compensate": {"tool": "csv.add", "input": input}}))
}

#[test]
fn each_mistake_has_a_code_and_a_place() {
    let expecting =
        |tool: &str, input: Value| and(json!({"id": "it", "tool": tool, "input": input, "expect": {"kind": "text"}}));
    let last = |compensate: Value| json!({"steps": steps(), "inputs": {"n": 5}, "compensate": [compensate]});
    let condition = |value: &str, operator: &str, operand: Value| {
        let mut condition = json!({"value": value});
        condition[operator] = operand;
        when(&condition)
    };
    for (document, code, pointer) in [
        (condition("steps.sum.total", "is", json!(5)), "constant-condition", "/steps/4/when/value"),
        (condition("{{steps.sum.totl}}", "is", json!(5)), "unresolvable-reference", "/steps/4/when/value"),
        (condition("{{steps.smu}}", "is", json!(5)), "unknown-step", "/steps/4/when/value"),
        (condition("{{steps.it}}", "is", json!("x")), "self-reference", "/steps/4/when/value"),
        (condition("{{inputs.m}}", "is", json!(5)), "unresolvable-reference", "/steps/4/when/value"),
        (condition("{{steps.sum.total}}", "is", json!("5")), "wrong-type", "/steps/4/when/is"),
        (condition("{{steps.sum.total}}", "is", json!(-1)), "out-of-range", "/steps/4/when/is"),
        (condition("{{steps.sum.total}}", "is", json!(null)), "wrong-type", "/steps/4/when/is"),
        (condition("{{steps.sum.total}}", "is_not", json!("{{steps.read}}")), "type-mismatch", "/steps/4/when/is_not"),
        (condition("{{steps.sum.rows}}", "is", json!(["{{steps.sum.total}}"])), "type-mismatch", "/steps/4/when/is/0"),
        (condition("{{steps.sum.rows}}", "is", json!([5])), "wrong-type", "/steps/4/when/is/0"),
        (condition("n {{steps.sum.total}}", "is", json!(5)), "wrong-type", "/steps/4/when/is"),
        (condition("{{inputs.n}}", "is", json!("5")), "type-mismatch", "/steps/4/when/is"),
        (condition("{{inputs.s}}", "less_than", json!(5)), "type-mismatch", "/steps/4/when/value"),
        (condition("{{steps.sum.total}}", "less_than", json!("5")), "type-mismatch", "/steps/4/when/less_than"),
        (condition("{{steps.read}}", "at_least", json!(5)), "type-mismatch", "/steps/4/when/value"),
        (condition("{{steps.log}}", "more_than", json!(5)), "type-mismatch", "/steps/4/when/value"),
        (condition("{{inputs.n}}", "at_most", json!(["{{inputs.n}}"])), "type-mismatch", "/steps/4/when/at_most"),
        (condition("{{steps.ask.because}}", "is", json!("x")), "unresolvable-reference", "/steps/4/when/value"),
        (expecting("csv.add", json!({"a": 1, "b": 1})), "type-mismatch", "/steps/4/expect/kind"),
        (expecting("csv.log", json!({"what": []})), "type-mismatch", "/steps/4/expect/kind"),
        (compensated(&json!({"a": 1})), "missing-param", "/steps/4/compensate/input/b"),
        (compensated(&json!({"a": "x", "b": 1})), "wrong-type", "/steps/4/compensate/input/a"),
        (compensated(&json!({"a": "{{steps.it}}", "b": 1})), "type-mismatch", "/steps/4/compensate/input/a"),
        (compensated(&json!({"a": "{{steps.no}}", "b": 1})), "unknown-step", "/steps/4/compensate/input/a"),
        (
            and(json!({"id": "it", "tool": "csv.log", "input": {"what": []}, "compensate": {"tool": "csv.lgo"}})),
            "unknown-tool",
            "/steps/4/compensate/tool",
        ),
        (
            and(json!({"id": "it", "approve": {"message": "{{steps.it}}"}})),
            "self-reference",
            "/steps/4/approve/message",
        ),
        (
            and(json!({"id": "it", "approve": {"message": "m", "context": {"a": "{{steps.sum.no}}"}}})),
            "unresolvable-reference",
            "/steps/4/approve/context/a",
        ),
        (last(json!({"tool": "csv.raed"})), "unknown-tool", "/compensate/0/tool"),
        (last(json!({"tool": "csv.add", "input": {"a": 1}})), "missing-param", "/compensate/0/input/b"),
        (
            last(json!({"tool": "csv.read", "input": {"path": "{{steps.read}}"}})),
            "unresolvable-reference",
            "/compensate/0/input/path",
        ),
        (
            last(json!({"tool": "csv.read", "input": {"path": "{{inputs.x}}"}})),
            "unresolvable-reference",
            "/compensate/0/input/path",
        ),
    ] {
        let found = problems(&document);
        let places: Vec<(&str, &str)> =
            found.iter().map(|problem| (problem.code.as_str(), problem.pointer.as_str())).collect();
        assert_eq!(places, [(code, pointer)], "{document}: {found:?}");
    }
}

#[test]
fn what_can_be_compared_is_accepted() {
    let mut conditions = vec![
        json!({"value": "{{steps.sum.total}}", "more_than": 5}),
        json!({"value": "{{steps.sum.total}}", "at_most": "{{inputs.n}}"}),
        json!({"value": "{{steps.sum.total}}", "is": 1.0}),
        json!({"value": "{{steps.sum.note}}", "is": null}),
        json!({"value": "{{steps.sum.note}}", "is_not": "{{steps.read}}"}),
        json!({"value": "{{steps.sum.rows}}", "is": ["a", "{{steps.read}}"]}),
        json!({"value": "{{steps.ask.by}}", "is": "alice"}),
        json!({"value": "{{steps.log}}", "is": null}),
        json!({"value": "{{inputs.none}}", "is_not": 5}),
        json!({"value": "{{inputs.list}}", "is": ["{{inputs.n}}"]}),
        json!({"value": "{{inputs.s}}{{steps.read}}", "is": "xy"}),
    ];
    for condition in &conditions {
        assert_eq!(problems(&when(condition)), [], "{condition}");
    }
    conditions.truncate(5);
    assert_eq!(problems(&when(&Value::Array(conditions))), []);
}

#[test]
fn references_anywhere_in_a_step_are_dependencies() {
    let valid = validate(
        plan(&and(json!({"id": "it", "tool": "csv.add", "input": {"a": 1, "b": 2}, "depends_on": ["log"],
            "when": {"value": "{{steps.ask.by}}", "is_not": "{{steps.read}}"},
            "compensate": {"tool": "csv.sum", "input": {"text": "{{steps.it}} {{steps.sum.total}}"}}}))),
        &catalog(),
    );
    let valid = valid.unwrap();
    let step = valid.step_by_id(&id("it")).unwrap();
    assert_eq!((step.dependencies, step.references), (&[0, 1, 2, 3][..], &[0, 1, 2][..]));
    assert_eq!(valid.step_by_id(&id("ask")).unwrap().references, [1]);
    assert_eq!(step.compensation.unwrap().tool.name.to_string(), "csv.sum");
    assert!(valid.known_compensation(&step).is_none());

    let mut outputs = Outputs::new();
    outputs.insert(id("it"), Arc::new(json!(7)));
    outputs.insert(id("sum"), Arc::new(json!({"total": 3, "rows": []})));
    assert_eq!(valid.resolve_compensation(&step, &outputs).unwrap(), Some(json!({"text": "7 3"})));
    let ask = valid.step_by_id(&id("ask")).unwrap();
    let question = valid.resolve_question(ask.approve().unwrap(), &outputs).unwrap();
    assert_eq!((question.message.as_str(), question.context.len()), ("go on with 3?", 0));
    let input = valid.resolve_input(&ask, &outputs).unwrap();
    assert_eq!(input, json!({"message": "go on with 3?", "context": {}}));
}

#[test]
fn what_may_run_at_one_time_does_not_depend_on_each_other() {
    for parallel in [1, 4] {
        let mut document = and(json!({"id": "it", "tool": "csv.read", "input": {"path": "x"}, "depends_on": ["ask"]}));
        document["parallel"] = json!(parallel);
        let valid = validate(plan(&document), &catalog()).unwrap();
        let concurrent: Vec<(usize, usize)> = (0..5)
            .flat_map(|one| (0..5).map(move |other| (one, other)))
            .filter(|(one, other)| one < other && valid.concurrent(*one, *other))
            .collect();
        assert_eq!(concurrent, [(0, 3), (1, 3), (2, 3), (3, 4)]);
        assert!((0..5).all(|step| !valid.concurrent(step, step)) && valid.concurrent(3, 0));
    }
}

#[test]
fn calls_that_end_a_rollback_are_bound_and_resolved() {
    let document = json!({"steps": steps(), "inputs": {"n": 5}, "compensate": [
        {"tool": "csv.log", "input": {"what": ["n {{inputs.n}}"]}}, {"tool": "csv.read", "input": {"path": "x"}}]});
    let valid = validate(plan(&document), &catalog()).unwrap();
    let tools: Vec<String> = valid.compensations().map(|call| call.tool.name.to_string()).collect();
    assert_eq!(tools, ["csv.log", "csv.read"]);
    assert_eq!(valid.resolve_last(0).unwrap(), Some(json!({"what": ["n 5"]})));
    assert_eq!(valid.resolve_last(2).unwrap(), None);
}
