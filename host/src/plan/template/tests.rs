//! Tests of the template grammar and of resolving.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(text: &str) -> Result<Template, Vec<Problem>> {
    let mut problems = Problems::default();
    let template = Template::parse(&json!(text), "/x", &mut problems);
    if problems.is_empty() { Ok(template) } else { Err(problems.into_vec()) }
}

fn resolve(value: &Value) -> Result<Value, Problem> {
    let mut problems = Problems::default();
    let template = Template::parse(value, "/x", &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    let Value::Object(inputs) = json!({
        "month": "2026-10", "n": 5, "half": 0.5, "big": u64::MAX, "yes": true, "nothing": null, "list": [1, {"a": "b"}],
        "odd key": {"}}": "found", "0": "zero"}, "braces": "{{inputs.month}}",
    }) else {
        unreachable!()
    };
    let outputs =
        Outputs::from([(StepId::new("sum").unwrap(), Arc::new(json!({"total": 12.0, "rows": [[1, 2], [3]]})))]);
    template.resolve(&Scope { inputs: &inputs, outputs: &outputs })
}

#[test]
fn whole_references_keep_their_type_and_embedded_ones_are_text() {
    for (text, expected) in [
        ("plain", json!("plain")),
        ("", json!("")),
        ("{{inputs.n}}", json!(5)),
        ("{{ inputs.n }}", json!(5)),
        (" {{inputs.n}}", json!(" 5")),
        ("{{inputs.n}}{{inputs.half}}", json!("50.5")),
        ("{{inputs.big}}!", json!("18446744073709551615!")),
        ("{{inputs.yes}}/{{inputs.nothing}}/{{inputs.list}}", json!("true/null/[1,{\"a\":\"b\"}]")),
        ("{{inputs.nothing}}", json!(null)),
        ("{{inputs.list.1.a}}", json!("b")),
        ("{{inputs[\"odd key\"][\"}}\"]}}", json!("found")),
        ("{{inputs[\"odd key\"].0}}", json!("zero")),
        ("{{steps.sum.total}}", json!(12.0)),
        ("total {{steps.sum.total}}", json!("total 12")),
        ("{{steps.sum.rows.1.0}}", json!(3)),
        ("{{steps[\"sum\"].rows.0}}", json!([1, 2])),
        // What a value contains is not a template.
        ("{{inputs.braces}}", json!("{{inputs.month}}")),
        ("{{inputs.braces}}.csv", json!("{{inputs.month}}.csv")),
        // Escapes.
        ("{{\"{{\"}}inputs.n}}", json!("{{inputs.n}}")),
        ("{{\"{\"}}{{inputs.n}}}", json!("{5}")),
        ("{\"a\":{\"b\":{{inputs.n}}}}", json!("{\"a\":{\"b\":5}}")),
        ("}} {", json!("}} {")),
        ("{{\"\\u0041\"}}", json!("A")),
    ] {
        assert_eq!(resolve(&json!(text)).unwrap(), expected, "{text}");
    }
    let value = json!({"{{inputs.n}}": [{"a": "{{inputs.n}}"}, 1, null]});
    assert_eq!(resolve(&value).unwrap(), json!({"{{inputs.n}}": [{"a": 5}, 1, null]}));
}

#[test]
fn mistakes_name_the_character() {
    for (text, message, character) in [
        ("ab {{", "`{{` without `}}`", 6),
        ("ä {{inputs.a", "`{{` without `}}`", 13),
        ("{{}}", "the reference is empty", 3),
        ("{{ }}", "the reference is empty", 4),
        ("{{input.a}}", "`input` is not `inputs` or `steps`", 3),
        ("{{.a}}", "a reference begins with `inputs` or `steps`", 3),
        ("{{inputs.}}", "a key is missing after the dot", 10),
        ("{{inputs..a}}", "a key is missing after the dot", 10),
        ("{{inputs}}", "`inputs` lacks the name of an input", 3),
        ("{{steps}}", "`steps` lacks the id of a step", 3),
        ("{{inputs.a b}}", "`b` does not belong into a reference", 12),
        ("{{inputs.a}", "`}` does not belong into a reference", 11),
        ("{{inputs[a]}}", "a key in square brackets is in double quotes", 10),
        ("{{inputs[\"a]}}", "a quoted text has no closing quote", 10),
        ("{{inputs[\"a\"}}", "`[` without `]`", 13),
        ("{{inputs[\"\\x\"]}}", "a quoted text is not a JSON string", 10),
        ("{{{inputs.a}}}", "a reference begins with `inputs` or `steps`", 3),
        ("{{inputs.a | upper}}", "`|` does not belong into a reference", 12),
        ("{{inputs.é}}", "a key is missing after the dot", 10),
    ] {
        let problems = parse(text).unwrap_err();
        assert_eq!(problems.len(), 1, "{text}");
        assert_eq!(problems[0].message, format!("{message} (character {character} of the string)"), "{text}");
        assert_eq!((problems[0].code.as_str(), problems[0].pointer.as_str()), ("bad-template", "/x"));
        assert!(problems[0].hint.is_some());
    }
    assert!(parse("{{steps.9.a}}").is_err(), "no step has such an id");
}

#[test]
fn what_does_not_exist_is_named() {
    for (text, message, hint) in [
        ("{{inputs.moth}}", "there is no input `moth`", "did you mean `month`?"),
        ("{{inputs.list.2}}", "an array of 2 elements has no `2`", ""),
        ("{{inputs.list.01}}", "an array of 2 elements has no `01`", ""),
        ("{{inputs.n.a}}", "a value that is neither object nor array has no `a`", ""),
        ("{{steps.sum.totl}}", "the object has no `totl`", "did you mean `total`?"),
        ("{{steps.other}}", "the step `other` has given no output", ""),
    ] {
        let problem = resolve(&json!([{"a": text}])).unwrap_err();
        assert_eq!(problem.pointer, "/x/0/a");
        assert!(problem.message.ends_with(message), "{problem}");
        assert_eq!(problem.hint.unwrap_or_default(), hint);
    }
}

#[test]
fn references_do_not_multiply_without_bound() {
    let inputs = Map::from_iter([("big".to_owned(), json!("x".repeat(1 << 20)))]);
    let outputs = Outputs::new();
    for text in ["{{inputs.big}}".to_owned(), "{{inputs.big}}".repeat(100)] {
        let value = Value::Array(vec![json!(text); 100]);
        let template = Template::parse(&value, "", &mut Problems::default());
        let problem = template.resolve(&Scope { inputs: &inputs, outputs: &outputs }).unwrap_err();
        assert_eq!(problem.code, "template-too-large");
    }
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9_-]{1,5}", "[a-z .{}\"\\\\\\[\\]é\n]{0,6}"]
}

fn part() -> impl Strategy<Value = Part> {
    let root = prop_oneof![
        segment().prop_map(Root::Input),
        "[a-z][a-z0-9-]{0,4}".prop_map(|id| Root::Step(StepId::new(id).unwrap()))
    ];
    prop_oneof![
        "[ab{}\" ]{1,6}".prop_map(Part::Literal),
        (root, prop::collection::vec(segment(), 0..4))
            .prop_map(|(root, path)| Part::Reference(Reference { root, path })),
    ]
}

proptest! {
    #[test]
    fn a_template_reads_back_what_it_writes(parts in prop::collection::vec(part(), 0..6)) {
        let text: String = parts.iter().map(Part::to_string).collect();
        let template = parse(&text).unwrap();
        // The same references in the same order, and nothing else was taken for one.
        let expected: Vec<_> = parts.iter().filter_map(|part| match part {
            Part::Reference(reference) => Some(reference),
            Part::Literal(_) => None,
        }).collect();
        let found: Vec<_> = template.references().into_iter().map(|located| located.reference).collect();
        prop_assert_eq!(found, expected);
        let mut problems = Problems::default();
        prop_assert_eq!(&Template::parse(&template.to_document(), "/x", &mut problems), &template);
        prop_assert!(problems.is_empty());
    }

    #[test]
    fn any_text_is_a_template_or_a_problem(text in "[{}\"\\\\ .a\\[\\]é]{0,24}|.{0,20}|\\{\\{(inputs|steps)[.\\[\"a-z\\]}]{0,10}") {
        if let Ok(template) = parse(&text) {
            if template.references().is_empty() && !text.contains("{{") {
                prop_assert_eq!(template.to_document(), json!(text));
            }
            let mut problems = Problems::default();
            prop_assert_eq!(&Template::parse(&template.to_document(), "/x", &mut problems), &template);
        }
    }
}
