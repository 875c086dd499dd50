//! What a plan asks of an output, made to cost the host what the guest may not: the bound is a function of schema and output, so that a replay ends as the run did.

use serde_json::{Value, json};
use skillhost::limits::LimitKind;

use super::case::{Case, Expect, Family, case};
use super::wat;

/// The pattern that every place of a text is a beginning of, nine hundred deep.
const BOMB: &str = "(?:a|b)*a(?:a|b){900}c0";

/// A tool gives this text, and the plan asks this of it.
fn asks(name: &'static str, what: &'static str, output: String, expect: Value) -> Case {
    let component = || wat::body("nop");
    case(Family::Contracts, name, what, component, Expect::Limit(LimitKind::Contract))
        .call("text.render", json!({ "template": output, "data": "{}" }))
        .limits("fuel = 2_000_000_000\ndeadline_ms = 600_000")
        .contract(expect)
        .growth_mib(384)
        .seconds(300)
}

/// Letters in an order that no machine has a state for.
fn letters(count: usize) -> String {
    let mut state = 88_172_645_463_325_252_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state & 1 == 0 { 'a' } else { 'b' }
    };
    (0..count).map(letter).collect()
}

/// An object with long keys.
fn keys() -> Value {
    let key = letters(4_000);
    (0..200).map(|at| (format!("{at}{key}"), json!(at))).collect::<serde_json::Map<_, _>>().into()
}

/// So many different arrays of arrays in which nothing is.
fn nested(count: usize) -> Value {
    let mut found = vec![json!([])];
    for at in 0..count {
        let inner = found[at / 2].clone();
        let items = if at % 2 == 0 { vec![inner] } else { vec![inner, json!([])] };
        found.push(Value::Array(items));
    }
    Value::Array(found)
}

pub(super) fn cases() -> Vec<Case> {
    let of_value = |schema: Value| json!({ "kind": "value", "schema": schema });
    let of_json = |schema: Value| json!({ "kind": "json", "schema": schema });
    vec![
        asks(
            "a pattern",
            "gives a megabyte that a pattern of nine hundred places is held against",
            letters(1_000_000),
            of_value(json!({ "pattern": BOMB })),
        ),
        asks(
            "patterns of keys",
            "gives an object whose keys are long, held against patterns",
            keys().to_string(),
            of_json(json!({ "patternProperties": { BOMB: true }, "additionalProperties": true })),
        ),
        asks(
            "names of keys",
            "gives an object whose keys are long, each held against a schema",
            keys().to_string(),
            of_json(json!({ "propertyNames": { "not": { "pattern": BOMB } } })),
        ),
        asks(
            "alternatives",
            "gives three hundred thousand numbers, each held against fifteen hundred alternatives",
            json!(vec![0; 300_000]).to_string(),
            of_json(json!({ "items": { "anyOf": vec![json!({ "const": 1 }); 1_500] } })),
        ),
        asks(
            "parts of parts",
            "gives an object in objects, of which what was not evaluated is asked at every level",
            json!(vec![json!({"a": {"a": {"a": {"a": 1}}}}); 30_000]).to_string(),
            of_json({
                let mut schema = json!({ "type": "integer" });
                for _ in 0..8 {
                    schema = json!({ "allOf": [schema], "properties": { "a": true }, "unevaluatedProperties": { "enum": (0..200).collect::<Vec<_>>() } });
                }
                json!({ "items": schema })
            }),
        ),
        asks(
            "different items",
            "gives ten thousand arrays of nothing, of which no two may be equal",
            nested(10_000).to_string(),
            of_json(json!({ "uniqueItems": true })),
        ),
    ]
}
