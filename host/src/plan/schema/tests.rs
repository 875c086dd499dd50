//! Tests of reading schemas.

use serde_json::json;

use super::*;

fn refused(document: &Value) -> (String, String) {
    let problem = OutputSchema::compile(document, "/s").unwrap_err();
    assert_eq!(problem.code, "bad-schema", "{problem}");
    assert!(problem.hint.is_some(), "{problem}");
    (problem.pointer, problem.message)
}

#[test]
fn schemas_hold_values() {
    let schema = json!({
        "$schema": DIALECT, "$id": "https://example.com/report", "type": "object", "required": ["rows"],
        "properties": {"rows": {"type": "array", "items": {"$ref": "#/$defs/row"}}, "more": true},
        "$defs": {"row": {"type": "object", "properties": {"n": {"type": "integer"}, "t": {"pattern": "^a+$"}}}}});
    let schema = OutputSchema::compile(&schema, "").unwrap();
    for (value, is_valid) in [
        (json!({"rows": [{"n": 1}, {"n": 2.0, "t": "aa"}]}), true),
        (json!({"rows": [{"n": "1"}]}), false),
        (json!({"rows": [{"t": "b"}]}), false),
        (json!({}), false),
        (json!([]), false),
    ] {
        assert_eq!(schema.validator().is_valid(&value), is_valid, "{value}");
    }
    assert!(OutputSchema::compile(&json!(true), "").is_ok());
}

#[test]
fn what_is_no_schema_or_leads_elsewhere_is_refused() {
    for (document, pointer) in [
        (json!({"type": "strin"}), "/s/type"),
        (json!({"properties": {"a": 5}}), "/s/properties/a"),
        (json!({"pattern": "("}), "/s/pattern"),
        (json!({"pattern": "(?=a)"}), "/s/pattern"),
        (json!({"$schema": "http://json-schema.org/draft-07/schema#"}), "/s/$schema"),
        (json!({"$ref": "https://example.com/schema"}), "/s/$ref"),
        (json!({"$ref": "file:///etc/passwd"}), "/s/$ref"),
        (json!({"$ref": "#/$defs/no"}), "/s/$ref"),
        (json!({"$ref": "#"}), "/s/$ref"),
        (json!({"$ref": "#name"}), "/s/$ref"),
        (json!({"$dynamicRef": "#a"}), "/s/$dynamicRef"),
        (json!({"properties": {"a": {"$id": "b"}}}), "/s/properties/a/$id"),
        (json!({"$defs": {"a": {"$anchor": "b"}}}), "/s/$defs/a/$anchor"),
    ] {
        assert_eq!(refused(&document).0, pointer, "{document}");
    }
}

#[test]
fn a_schema_without_end_is_refused() {
    let tree = json!({"properties": {"left": {"$ref": "#/$defs/tree"}}, "$defs": {"tree": {
        "properties": {"child": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}}}}});
    let (pointer, message) = refused(&tree);
    assert_eq!(pointer, "/s/$defs/tree/properties/child/anyOf/0/$ref");
    assert_eq!(message, "`#/$defs/tree` leads to itself");
}

#[test]
fn a_schema_that_doubles_is_refused() {
    let mut defs = Map::new();
    for n in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        defs.insert(format!("d{n}"), json!({"anyOf": [next, next]}));
    }
    defs.insert("d40".to_owned(), json!(true));
    assert!(refused(&json!({"$ref": "#/$defs/d0", "$defs": defs})).1.contains("more than 2000 parts"));
    let mut nested = json!({"type": "object"});
    for _ in 0..20 {
        nested = json!({"allOf": [nested], "unevaluatedProperties": false});
    }
    assert!(refused(&nested).1.contains("parts"));
    assert!(refused(&json!({"const": "x".repeat(limits::SCHEMA_BYTES_MAX)})).1.contains("bytes"));
}
