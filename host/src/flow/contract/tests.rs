//! Tests of holding outputs against contracts.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::plan::ExpectMode;

fn expect(kind: ExpectKind, schema: Option<Value>) -> Expect {
    let schema = schema.map(|schema| OutputSchema::compile(&schema, "").unwrap());
    Expect { kind, schema, mode: ExpectMode::Strict }
}

fn found_in(expect: &Expect, output: &Value) -> Option<Drift> {
    check(expect, output).expect("it is little")
}

fn report() -> Expect {
    expect(
        ExpectKind::Json,
        Some(json!({
            "type": "object", "required": ["title", "rows"], "additionalProperties": false,
            "properties": {
                "title": {"type": "string", "maxLength": 5},
                "rows": {"type": "array", "items": {"type": "object", "required": ["n"], "properties": {"n": {"minimum": 0}}}}}})),
    )
}

#[test]
fn of_a_value_a_string_is_a_string() {
    for schema in [json!({"type": "string"}), json!({}), json!(true)] {
        assert_eq!(check(&expect(ExpectKind::Value, Some(schema)), &json!("{\"a\": 1}")), Ok(None));
    }
    let drift = found_in(&expect(ExpectKind::Value, Some(json!({"type": "object"}))), &json!("{\"a\": 1}"));
    assert_eq!(drift.map(|drift| drift.kind), Some(DriftKind::TypeConstraintViolation));
}

#[test]
fn each_drift_has_its_kind_and_place() {
    let (text, any) = (expect(ExpectKind::Text, None), expect(ExpectKind::Json, None));
    let report = report();
    for (expect, output, kind, pointer) in [
        (&text, json!({"a": 1}), DriftKind::OutputKindMismatch, ""),
        (&text, json!(null), DriftKind::OutputKindMismatch, ""),
        (&any, json!("Here it is."), DriftKind::OutputKindMismatch, ""),
        (&any, json!(""), DriftKind::OutputKindMismatch, ""),
        (&any, json!("{\"a\": 1"), DriftKind::InvalidJson, ""),
        (&any, json!("Here it is: {\"a\": 1}"), DriftKind::InvalidJson, ""),
        (&any, json!("```json\n{\"a\": 1}\n```"), DriftKind::InvalidJson, ""),
        (&any, json!("{\"a\": 1} and so on"), DriftKind::InvalidJson, ""),
        (&any, json!("{\"a\": 1, \"a\": 2}"), DriftKind::InvalidJson, ""),
        (&report, json!({}), DriftKind::MissingRequiredFields, ""),
        (&report, json!({"title": 1}), DriftKind::MissingRequiredFields, ""),
        (&report, json!({"title": "t", "rows": [{"n": 1}, {}]}), DriftKind::MissingRequiredFields, "/rows/1"),
        (&report, json!({"title": 5, "rows": []}), DriftKind::TypeConstraintViolation, "/title"),
        (&report, json!({"title": "longer", "rows": []}), DriftKind::TypeConstraintViolation, "/title"),
        (&report, json!({"title": "t", "rows": [{"n": -1}]}), DriftKind::TypeConstraintViolation, "/rows/0/n"),
        (&report, json!({"title": "t", "rows": [], "more": 1}), DriftKind::SchemaMismatch, ""),
        (&report, json!("{\"title\": \"t\", \"rows\": 5}"), DriftKind::TypeConstraintViolation, "/rows"),
        (&report, json!([]), DriftKind::TypeConstraintViolation, ""),
    ] {
        let drift = found_in(expect, &output).unwrap_or_else(|| panic!("{output}"));
        assert_eq!((drift.kind, drift.pointer.as_str()), (kind, pointer), "{output}: {drift}");
        assert_eq!(drift.parse_error.is_some(), kind == DriftKind::InvalidJson, "{drift}");
        assert!(!drift.message.ends_with('.'), "{drift}");
        assert_eq!(DriftKind::from_name(drift.kind.name()), Some(drift.kind));
    }
    for (expect, output) in [
        (&text, json!("{")),
        (&any, json!(5)),
        (&any, json!(" {\"a\": [1]}\n")),
        (&any, json!("5")),
        (&report, json!({"title": "t", "rows": [{"n": 0, "m": 1}]})),
        (&report, json!("{\"title\": \"t\", \"rows\": []}")),
    ] {
        assert_eq!(check(expect, &output), Ok(None), "{output}");
    }
}

#[test]
fn all_missing_fields_are_named() {
    let drift = found_in(&report(), &json!({"rows": [{}, {"n": 1}, {}]})).unwrap();
    assert_eq!(drift.missing, ["/rows/0/n", "/rows/2/n", "/title"]);
    assert_eq!(drift.message, "the field `title` is missing");
    assert_eq!(drift.excerpt, "{\"rows\":[{},{\"n\":1},{}]}");
    let many = vec![json!({}); 500];
    assert_eq!(found_in(&report(), &json!({"rows": many})).unwrap().missing.len(), limits::DRIFT_FIELDS_MAX);
}

#[test]
fn what_is_said_of_an_output_is_bounded() {
    let many = json!({"title": "t", "rows": vec![json!({"n": -1}); 200_000]});
    let drift = found_in(&report(), &many).unwrap();
    assert_eq!(drift.message, "the schema does not allow it; it is too large to say where");
    let text = format!("{{ {}", "ä\n".repeat(10_000));
    let drift = found_in(&expect(ExpectKind::Json, None), &json!(text)).unwrap();
    assert_eq!(drift.excerpt.chars().count(), limits::DRIFT_EXCERPT_CHARS_MAX);
    assert!(drift.excerpt.ends_with('…') && !drift.excerpt.contains('\n'));
    let choices: Vec<String> = (0..1000).map(|n| format!("choice {n}")).collect();
    let drift = found_in(&expect(ExpectKind::Json, Some(json!({"enum": choices}))), &json!(5)).unwrap();
    assert!(drift.message.chars().count() < 300, "{drift}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("title|rows|n|x", inner, 0..4).prop_map(|map| map.into_iter().collect())
        ]
    })
}

proptest! {
    #[test]
    fn drift_is_what_the_schema_does_not_allow(value in any_json()) {
        let report = report();
        let is_valid = report.schema.as_ref().unwrap().validator().is_valid(&value);
        // As JSON in a text the same value is judged in the same way.
        let text = Value::String(canonical::to_string(&value));
        let found = found_in(&report, &text);
        prop_assert_eq!(found.is_none(), is_valid);
        if !value.is_string() {
            let direct = found_in(&report, &value);
            prop_assert_eq!(direct.as_ref().map(|drift| (&drift.kind, &drift.message)), found.as_ref().map(|drift| (&drift.kind, &drift.message)));
        }
        prop_assert!(found_in(&expect(ExpectKind::Json, None), &text).is_none());
    }

    #[test]
    fn any_text_has_an_answer(text in ".{0,300}") {
        if let Some(drift) = found_in(&report(), &json!(text)) {
            prop_assert!(drift.excerpt.chars().count() <= limits::DRIFT_EXCERPT_CHARS_MAX);
            prop_assert!(!drift.message.is_empty());
        }
    }
}
