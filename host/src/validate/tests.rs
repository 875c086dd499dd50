//! Tests of validation: plans against a small catalog.

mod flow;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::id::{Digest, SkillName};
use crate::skill::{Annotations, Export, Metadata, ToolResult};

fn tool(skill: &str, function: &str, params: &[(&str, Ty)], ok: Option<Ty>) -> (String, Tool) {
    let tool = Tool {
        name: format!("{skill}.{function}").parse().unwrap(),
        export: Export::Function { interface: None, function: function.to_owned() },
        params: params.iter().map(|(name, ty)| ((*name).to_owned(), ty.clone())).collect(),
        result: ToolResult { ok, err: None, fallible: true },
        annotations: Annotations::default(),
    };
    (function.to_owned(), tool)
}

pub(crate) fn catalog() -> Catalog {
    let name = SkillName::new("csv").unwrap();
    let option = |ty: Ty| Ty::Option(Box::new(ty));
    let summary = Ty::Record(vec![
        ("total".into(), Ty::U32),
        ("rows".into(), Ty::List(Box::new(Ty::String))),
        ("note".into(), option(Ty::String)),
    ]);
    let tools = [
        tool("csv", "read", &[("path", Ty::String), ("limit", option(Ty::U8))], Some(Ty::String)),
        tool("csv", "sum", &[("text", Ty::String)], Some(summary)),
        tool("csv", "add", &[("a", Ty::U32), ("b", Ty::U64)], Some(Ty::U64)),
        tool("csv", "log", &[("what", Ty::List(Box::new(option(Ty::String))))], None),
        tool("csv", "mode", &[("mode", Ty::Enum(vec!["fast".into(), "slow".into()]))], None),
    ];
    let skill = Skill {
        name: name.clone(),
        digest: Digest::of(b"csv"),
        size_bytes: 3,
        tools: tools.into_iter().map(|(name, tool)| (name, Arc::new(tool))).collect(),
        not_tools: vec![("watch".into(), "it returns a stream".into())],
        imports: Vec::new(),
        metadata: Metadata::default(),
    };
    Catalog::from([(name, Arc::new(skill))])
}

pub(crate) fn plan(document: &Value) -> Plan {
    let mut document = document.clone();
    document["schema"] = json!(crate::plan::SCHEMA);
    document["name"] = json!("p");
    Plan::from_value(&document).unwrap()
}

fn problems(document: &Value) -> Vec<Problem> {
    validate(plan(document), &catalog()).err().unwrap_or_default()
}

pub(crate) fn id(text: &str) -> StepId {
    StepId::new(text).unwrap()
}

#[test]
fn a_valid_plan_runs_in_order_and_resolves() {
    let valid = plan(&json!({
        "inputs": {"month": "2026-10", "n": 5},
        "skills": {"csv": {"path": "x.wasm", "sha256": Digest::of(b"csv").to_string()}},
        "steps": [
            {"id": "log", "tool": "csv.log", "input": {"what": ["{{steps.sum.rows.0}}", "{{steps.sum.note}}", "t {{steps.sum.total}}"]}},
            {"id": "sum", "tool": "csv.sum", "input": {"text": "{{steps.read}}"}, "limits": {"fuel": 5}},
            {"id": "read", "tool": "csv.read", "input": {"path": "/w/{{inputs.month}}.csv", "limit": "{{inputs.n}}"}},
            {"id": "add", "tool": "csv.add", "depends_on": ["log"], "input": {"a": "{{steps.sum.total}}", "b": "{{steps.sum.total}}"}}],
        "output": {"total": "{{steps.add}}", "note": "{{steps.sum.note}}"}}));
    let valid = validate(valid, &catalog()).unwrap();
    let order: Vec<&str> = valid.steps().map(|step| step.id.as_str()).collect();
    assert_eq!(order, ["read", "sum", "log", "add"]);
    let step = valid.step_by_id(&id("add")).unwrap();
    assert_eq!(
        (step.index, step.dependencies, step.call().unwrap().tool.name.to_string()),
        (3, &[0, 1][..], "csv.add".to_owned())
    );

    let mut outputs = Outputs::new();
    let read = valid.step_by_id(&id("read")).unwrap();
    let input = valid.resolve_input(&read, &outputs).unwrap();
    assert_eq!(input, json!({"path": "/w/2026-10.csv", "limit": 5}));
    outputs.insert(id("read"), Arc::new(json!("text")));
    outputs.insert(id("sum"), Arc::new(json!({"total": 7, "rows": ["r"]})));
    let log = valid.step_by_id(&id("log")).unwrap();
    // `note` is an option that the record leaves out.
    assert_eq!(valid.resolve_input(&log, &outputs).unwrap(), json!({"what": ["r", null, "t 7"]}));
    outputs.insert(id("add"), Arc::new(json!(14)));
    assert_eq!(valid.resolve_output(&outputs).unwrap(), json!({"total": 14, "note": null}));

    // What types cannot promise.
    outputs.insert(id("sum"), Arc::new(json!({"total": 7, "rows": []})));
    let problem = valid.resolve_input(&log, &outputs).unwrap_err();
    assert_eq!((problem.code.as_str(), problem.pointer.as_str()), ("unresolvable-reference", "/steps/0/input/what/0"));
    // A step that gave something else than its tool's type is caught before it is passed on.
    outputs.insert(id("sum"), Arc::new(json!({"total": "7", "rows": ["r"]})));
    let add = valid.step_by_id(&id("add")).unwrap();
    assert_eq!(valid.resolve_input(&add, &outputs).unwrap_err().code, "wrong-type");
}

#[test]
fn each_mistake_has_a_code_a_place_and_a_hint() {
    let read = json!({"id": "read", "tool": "csv.read", "input": {"path": "x"}});
    let sum = json!({"id": "sum", "tool": "csv.sum", "input": {"text": "{{steps.read}}"}});
    let input = |tool: &str, input: Value| json!({"steps": [read, sum, {"id": "it", "tool": tool, "input": input}], "inputs": {"n": 300, "mode": "fast", "s": "x"}});
    let step = |step: Value| json!({"steps": [read, step]});
    for (document, code, pointer, hint) in [
        (
            step(json!({"id": "a", "tool": "csv.raed", "input": {}})),
            "unknown-tool",
            "/steps/1/tool",
            "did you mean `csv.read`?",
        ),
        (
            step(json!({"id": "a", "tool": "cvs.read", "input": {}})),
            "unknown-tool",
            "/steps/1/tool",
            "did you mean `csv.read`?",
        ),
        (step(json!({"id": "a", "tool": "read"})), "unknown-tool", "/steps/1/tool", "a tool is named `skill.function`"),
        (
            step(json!({"id": "a", "tool": "other.thing"})),
            "unknown-tool",
            "/steps/1/tool",
            "the skills of this run are `csv`",
        ),
        (
            step(json!({"id": "a", "tool": "csv.watch"})),
            "unknown-tool",
            "/steps/1/tool",
            "it is exported but not a tool: it returns a stream",
        ),
        (
            step(json!({"id": "a", "tool": "CSV.READ"})),
            "unknown-tool",
            "/steps/1/tool",
            "the skills of this run are `csv`",
        ),
        (step(read.clone()), "duplicate-id", "/steps/1/id", "each step has an id of its own"),
        (
            step(json!({"id": "a", "tool": "csv.read", "input": {"path": "x"}, "depends_on": ["reed"]})),
            "unknown-step",
            "/steps/1/depends_on/0",
            "did you mean `read`?",
        ),
        (
            step(json!({"id": "a", "tool": "csv.read", "input": {"path": "x"}, "depends_on": ["a"]})),
            "self-dependency",
            "/steps/1/depends_on/0",
            "take it out",
        ),
        (
            step(json!({"id": "a", "tool": "csv.read", "input": {"path": "{{steps.a}}"}})),
            "self-reference",
            "/steps/1/input/path",
            "a step can use outputs of other steps only",
        ),
        (
            json!({"steps": [read], "skills": {"other": {"path": "o.wasm"}}}),
            "unknown-skill",
            "/skills/other",
            "check `o.wasm`",
        ),
        (
            json!({"steps": [read], "skills": {"csv": {"path": "o.wasm", "sha256": "ab".repeat(32)}}}),
            "digest-mismatch",
            "/skills/csv/sha256",
            "use the component that the plan was written for, or pin this one after looking at it",
        ),
        (
            json!({"steps": [read], "output": "{{steps.read.x}}"}),
            "unresolvable-reference",
            "/output",
            "only records, lists, tuples and maps with string keys have parts",
        ),
        (
            json!({"steps": [read], "output": {"a": "{{steps.reda}}"}}),
            "unknown-step",
            "/output/a",
            "did you mean `read`?",
        ),
        (
            input("csv.read", json!({"path": "{{inputs.moed}}"})),
            "unresolvable-reference",
            "/steps/2/input/path",
            "did you mean `mode`?",
        ),
        (
            input("csv.read", json!({"path": "x {{steps.sum.totl}}"})),
            "unresolvable-reference",
            "/steps/2/input/path",
            "did you mean `total`?",
        ),
        (
            input("csv.read", json!({"path": "x", "paht": "x"})),
            "unknown-param",
            "/steps/2/input/paht",
            "did you mean `path`?",
        ),
        (input("csv.add", json!({"a": 1})), "missing-param", "/steps/2/input/b", "add `b` to its input"),
        (
            input("csv.add", json!({"a": "5", "b": 1})),
            "wrong-type",
            "/steps/2/input/a",
            "write it without quotes: nothing is coerced",
        ),
        (
            input("csv.add", json!({"a": "{{steps.read}}", "b": 1})),
            "type-mismatch",
            "/steps/2/input/a",
            "a text is never read as a number; use a tool that parses it",
        ),
        (
            input("csv.add", json!({"a": "{{steps.sum.total}} ", "b": 1})),
            "type-mismatch",
            "/steps/2/input/a",
            "a string that is one reference and nothing else keeps the type of its value",
        ),
        (input("csv.add", json!({"a": "{{inputs.s}}", "b": 1})), "wrong-type", "/steps/2/input/a", ""),
        (input("csv.read", json!({"path": "x", "limit": "{{inputs.n}}"})), "out-of-range", "/steps/2/input/limit", ""),
        (
            input("csv.read", json!({"path": "{{steps.sum.note}}"})),
            "type-mismatch",
            "/steps/2/input/path",
            "the value may be null, which is not accepted here: use a tool that gives a value in any case",
        ),
        (input("csv.read", json!({"path": {"a": "{{steps.read}}"}})), "wrong-type", "/steps/2/input/path", ""),
        (input("csv.mode", json!({"mode": "{{steps.read}}"})), "type-mismatch", "/steps/2/input/mode", ""),
        (
            input("csv.mode", json!({"mode": "{{inputs.mode}}st"})),
            "unknown-case",
            "/steps/2/input/mode",
            "did you mean `fast`?",
        ),
        (
            json!({"steps": [{"id": "l", "tool": "csv.log", "input": {"what": []}}, {"id": "r", "tool": "csv.read", "input": {"path": "{{steps.l}}"}}]}),
            "type-mismatch",
            "/steps/1/input/path",
            "use `depends_on` to run after it",
        ),
    ] {
        let found = problems(&document);
        assert_eq!(found.len(), 1, "{document}: {found:?}");
        let problem = &found[0];
        let place = (problem.code.as_str(), problem.pointer.as_str(), problem.hint.as_deref().unwrap_or_default());
        assert_eq!(place, (code, pointer, hint), "{problem}");
    }
    for document in [
        input("csv.mode", json!({"mode": "{{inputs.mode}}"})),
        input(
            "csv.log",
            json!({"what": ["{{steps.sum.note}}", "{{steps.read}}", null, "{{steps.read}} {{inputs.n}}"]}),
        ),
        input("csv.add", json!({"a": 1.0, "b": "{{steps.sum.total}}"})),
    ] {
        assert_eq!(problems(&document), [], "{document}");
    }
}

#[test]
fn messages_name_the_step_and_the_parameter() {
    let found = problems(&json!({"steps": [{"id": "a", "tool": "csv.add", "input": {"a": 1}}]}));
    assert_eq!(found[0].message, "step `a` (`csv.add`) lacks the parameter `b` (`u64`)");
}

#[test]
fn cycles_are_named() {
    let read = |id: &str, path: &str, depends_on: &[&str]| json!({"id": id, "tool": "csv.read", "input": {"path": path}, "depends_on": depends_on});
    let found = problems(&json!({"steps": [
        read("a", "{{steps.c}}", &[]), read("b", "x", &["a"]), read("c", "{{steps.b}}!", &[]), read("d", "x", &["a"])]}));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].code.as_str(), found[0].pointer.as_str()), ("cycle", "/steps/0"));
    assert_eq!(found[0].message, "the steps depend on each other in a circle: `a -> c -> b -> a`");
}

#[test]
fn all_mistakes_are_in_one_report() {
    let found = problems(&json!({"steps": [
        {"id": "a", "tool": "csv.raed", "input": {"path": "{{inputs.x}}"}},
        {"id": "b", "tool": "csv.add", "input": {"a": "{{steps.z}}", "b": -1, "c": 1}},
        {"id": "c", "tool": "csv.read", "input": {"path": "{{steps.a.anything}}"}, "depends_on": ["y"]}], "output": "{{steps.z}}"}));
    let found: Vec<(&str, &str)> =
        found.iter().map(|problem| (problem.code.as_str(), problem.pointer.as_str())).collect();
    assert_eq!(
        found,
        [
            ("unknown-tool", "/steps/0/tool"),
            ("unresolvable-reference", "/steps/0/input/path"),
            ("unknown-step", "/steps/1/input/a"),
            ("unknown-param", "/steps/1/input/c"),
            ("out-of-range", "/steps/1/input/b"),
            ("unknown-step", "/steps/2/depends_on/0"),
            ("unknown-step", "/output"),
        ]
    );
}

/// Code and pointer of all problems of a document, its own mistakes and those of its meaning.
fn all(document: &Value, unusable: &[&str]) -> Vec<(String, String)> {
    let mut document = document.clone();
    document["schema"] = json!(crate::plan::SCHEMA);
    document["name"] = json!("p");
    let document = crate::PlanDocument::new(document.to_string(), crate::PlanFormat::Json, "");
    let draft = document.draft().unwrap();
    let unusable = unusable.iter().map(|name| SkillName::new(*name).unwrap()).collect();
    let found = all_problems(&draft.outline(), &catalog(), &unusable, draft.problems().clone());
    found.into_iter().map(|problem| (problem.code, problem.pointer)).collect()
}

#[test]
fn mistakes_of_the_document_do_not_hide_mistakes_of_meaning() {
    let found = all(
        &json!({"stepz": 1, "seed": -1, "steps": [
            {"id": "a", "tool": "csv.raed", "limits": {"fuel": 0}, "input": {"path": "{{inputs.x}}"}},
            {"id": "b", "tool": 5, "input": {"path": "{{inputs.y}}"}, "depends_on": [7, "nobody"]},
            {"tool": "csv.add", "input": {"a": -1}}], "output": "{{inputs.z}}"}),
        &[],
    );
    let expected = [
        ("unknown-key", "/stepz"),
        ("out-of-range", "/seed"),
        ("out-of-range", "/steps/0/limits/fuel"),
        ("unknown-tool", "/steps/0/tool"),
        ("unresolvable-reference", "/steps/0/input/path"),
        ("wrong-type", "/steps/1/tool"),
        ("wrong-type", "/steps/1/depends_on/0"),
        ("unresolvable-reference", "/steps/1/input/path"),
        ("missing-key", "/steps/2/id"),
        ("out-of-range", "/steps/2/input/a"),
        ("missing-param", "/steps/2/input/b"),
        ("unresolvable-reference", "/output"),
    ];
    let found: Vec<(&str, &str)> = found.iter().map(|(code, pointer)| (code.as_str(), pointer.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_only_follows_from_a_mistake_is_not_reported() {
    let read = |id: &str, path: &str| json!({"id": id, "tool": "csv.read", "input": {"path": path}});
    for (document, expected) in [
        // The output of a step without a readable tool may be anything.
        (json!({"steps": [{"id": "a", "tol": "csv.sum"}, read("b", "{{steps.a.x.y}}")]}), "/steps/0/tol /steps/0/tool"),
        // A step whose id cannot be read may be any step, one whose id is wrong is that one alone.
        (json!({"steps": [{"tool": "csv.read", "input": {"path": ""}}, read("b", "{{steps.a}}")]}), "/steps/0/id"),
        (json!({"steps": ["csv.read", read("b", "{{steps.a}}")], "output": "{{steps.c}}"}), "/steps/0"),
        (
            json!({"steps": [read("1 a", "x"), {"id": "b", "tool": "csv.read", "input": {"path": ""}, "depends_on": ["1 a", "c"]}]}),
            "/steps/0/id /steps/1/depends_on/1",
        ),
        (json!({"steps": {"a": 1}, "output": "{{steps.a}}"}), "/steps"),
        // Inputs and an input that cannot be read.
        (json!({"inputs": [], "steps": [read("a", "{{inputs.x}} {{inputs.y}}")]}), "/inputs"),
        (json!({"inptus": {"x": 1}, "steps": [read("a", "{{inputs.x}}")]}), "/inptus"),
        (json!({"steps": [{"id": "a", "tool": "csv.read", "input": "x"}]}), "/steps/0/input"),
        (json!({"steps": [{"id": "a", "tool": "csv.read", "inptu": {"path": "x"}}]}), "/steps/0/inptu"),
        (
            json!({"steps": [{"id": "a", "tool": "csv.add", "input": {"a": "{{steps.", "b": "x"}}]}),
            "/steps/0/input/a /steps/0/input/b",
        ),
        // Skills.
        (
            json!({"skills": {"mine": {"paht": "x"}}, "steps": [{"id": "a", "tool": "mine.f"}]}),
            "/skills/mine/paht /skills/mine/path",
        ),
        (json!({"skills": {"my own": {"path": "x"}}, "steps": [{"id": "a", "tool": "my own.f"}]}), "/skills/my own"),
        (
            json!({"skills": ["mine"], "steps": [{"id": "a", "tool": "mine.f"}, {"id": "b", "tool": "csv.no"}]}),
            "/skills /steps/1/tool",
        ),
        (
            json!({"skills": {"gone": {"path": "x"}}, "seed": -1, "steps": [{"id": "a", "tool": "gone.f"}, read("b", "{{steps.a.x}}")]}),
            "/seed",
        ),
    ] {
        let found: Vec<String> = all(&document, &["gone"]).into_iter().map(|(_, pointer)| pointer).collect();
        assert_eq!(found.join(" "), expected, "{document}");
    }
}

#[test]
fn ten_thousand_steps_are_quick() {
    let chain = |n: usize| {
        let input = if n == 0 { "x".to_owned() } else { format!("{{{{steps.s{}}}}}", n - 1) };
        json!({"id": format!("s{n}"), "tool": "csv.read", "input": {"path": input}})
    };
    let steps: Vec<Value> = (0..10_000).rev().map(chain).collect();
    let valid = validate(plan(&json!({"steps": steps})), &catalog()).unwrap();
    assert_eq!(valid.steps().next().unwrap().id.as_str(), "s0");
    assert_eq!(valid.steps().len(), 10_000);

    // One circle, and mistakes everywhere.
    let mut steps: Vec<Value> = (0..10_000).map(chain).collect();
    steps[0]["input"]["path"] = json!("{{steps.s9999}}");
    assert_eq!(problems(&json!({"steps": steps}))[0].code, "cycle");
    let wrong = |n: usize| json!({"id": format!("s{n}"), "tool": format!("csv.raed{n}"), "depends_on": [format!("x{n}")], "input": {"path": format!("{{{{steps.z{n}}}}}")}});
    let steps: Vec<Value> = (0..10_000).map(wrong).collect();
    assert_eq!(problems(&json!({"steps": steps})).len(), crate::limits::PROBLEMS_MAX + 1);
}

#[test]
fn mistakes_by_the_ten_thousand_are_quick() {
    let name = |n: usize| format!("{}{n:06}", "n".repeat(58));
    let inputs: Map<String, Value> = (0..200).map(|n| (name(n), json!(n))).collect();
    let many = |value: &dyn Fn(usize) -> Value| Value::Array((0..20_000).map(value).collect());
    let keys = |from: usize| Value::Object((from..from + 20_000).map(|n| (name(n), json!(n))).collect());
    let what = many(&|n| json!(format!("{{{{inputs.{}}}}}", name(500_000 + n))));
    let document = json!({"inputs": inputs, "steps": [
        {"id": "a", "tool": "csv.log", "input": {"what": what}},
        {"id": "b", "tool": "csv.log", "input": keys(0)},
        {"id": "c", "tool": "csv.log", "input": {"what": many(&|n| json!(n))}},
        {"id": "d", "tool": "csv.log", "depends_on": many(&|n| json!(name(n)))}]});
    let found = problems(&document);
    assert_eq!(found.len(), crate::limits::PROBLEMS_MAX + 1);
    assert!(found.last().unwrap().message.contains("more problems"));
    let plan = plan(&json!({"steps": [{"id": "a", "tool": "csv.read"}], "inputs": inputs}));
    let Value::Object(overrides) = keys(500_000) else { unreachable!() };
    assert_eq!(plan.with_inputs(overrides).unwrap_err().len(), crate::limits::PROBLEMS_MAX + 1);
}

#[test]
fn a_large_input_is_not_checked_again_and_again() {
    let list = Value::Array(vec![json!("x"); 10_000]);
    let what = vec![json!({"id": "x", "tool": "csv.log", "input": {"what": "{{inputs.list}}"}}); 2_000];
    let steps: Vec<Value> = what
        .into_iter()
        .enumerate()
        .map(|(n, mut step)| {
            step["id"] = json!(format!("s{n}"));
            step
        })
        .collect();
    assert_eq!(problems(&json!({"inputs": {"list": list}, "steps": steps})), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn dependencies_run_before_their_dependents(
        depends_on in (1..10_usize).prop_flat_map(|count| {
            prop::collection::vec(prop::collection::btree_set(0..count, 0..3), count)
        })
    ) {
        let steps: Vec<Value> = depends_on.iter().enumerate().map(|(n, needed)| {
            let (by_name, by_reference): (Vec<usize>, Vec<usize>) = needed.iter().partition(|needed| *needed % 2 == 0);
            let text: String = by_reference.iter().map(|needed| format!("{{{{steps.s{needed}}}}}")).collect();
            let names: Vec<String> = by_name.iter().map(|needed| format!("s{needed}")).collect();
            json!({"id": format!("s{n}"), "tool": "csv.read", "depends_on": names, "input": {"path": text}})
        }).collect();
        match validate(plan(&json!({"steps": steps})), &catalog()) {
            Ok(valid) => {
                let order: Vec<usize> = valid.steps().map(|step| step.index).collect();
                for step in valid.steps() {
                    let expected: Vec<usize> = depends_on[step.index].iter().copied().collect();
                    prop_assert_eq!(step.dependencies, &expected[..]);
                    let place = |step: usize| order.iter().position(|other| *other == step).unwrap();
                    prop_assert!(step.dependencies.iter().all(|needed| place(*needed) < place(step.index)));
                }
            }
            Err(problems) => {
                let codes = ["cycle", "self-dependency", "self-reference"];
                prop_assert!(problems.iter().all(|problem| codes.contains(&problem.code.as_str())), "{:?}", problems);
            }
        }
    }
}
