//! JSON Schema 2020-12 of a type: accepts exactly the JSON values that [`super::check`] accepts.

use serde_json::{Map, Value, json};

use super::Ty;
use super::check::{FLOAT_NAMES, integer_range};

/// The dialect that the derived schemas name.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The least number that rounds to no `f32`: half a step above the largest (IEEE 754, ties to even).
const BEYOND_F32: f64 = 3.402_823_567_797_336_6e38;

/// Standard base64, padded, with zero bits in the padding.
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// The schema of `ty`.
#[must_use]
pub fn schema(ty: &Ty) -> Value {
    with_dialect(derive(ty))
}

/// The schema of a tool's input: an object with a member for each parameter.
#[must_use]
pub fn params_schema(params: &[(String, Ty)]) -> Value {
    with_dialect(object(params))
}

/// The schema of a tool's output; null where it has none.
#[must_use]
pub fn output_schema(output: Option<&Ty>) -> Value {
    with_dialect(payload(output))
}

fn with_dialect(mut schema: Value) -> Value {
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".to_owned(), Value::from(DIALECT));
    }
    schema
}

fn payload(ty: Option<&Ty>) -> Value {
    ty.map_or_else(|| json!({"type": "null"}), derive)
}

fn object(members: &[(String, Ty)]) -> Value {
    let properties: Map<String, Value> = members.iter().map(|(name, ty)| (name.clone(), derive(ty))).collect();
    let required: Vec<&str> =
        members.iter().filter(|(_, ty)| !ty.is_nullable()).map(|(name, _)| name.as_str()).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn only(members: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        members.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn array_of(items: &[Value]) -> Value {
    if items.is_empty() {
        return json!({"type": "array", "maxItems": 0});
    }
    json!({"type": "array", "prefixItems": items, "items": false, "minItems": items.len(), "maxItems": items.len()})
}

fn derive(ty: &Ty) -> Value {
    if let Some((min, max)) = integer_range(ty) {
        let minimum = i64::try_from(min).unwrap_or(i64::MIN);
        let maximum = u64::try_from(max).unwrap_or(u64::MAX);
        return json!({"type": "integer", "minimum": minimum, "maximum": maximum});
    }
    match ty {
        Ty::Bool => json!({"type": "boolean"}),
        Ty::F32 => json!({"anyOf": [
            {"type": "number", "exclusiveMinimum": -BEYOND_F32, "exclusiveMaximum": BEYOND_F32},
            {"enum": FLOAT_NAMES},
        ]}),
        Ty::F64 => json!({"anyOf": [{"type": "number"}, {"enum": FLOAT_NAMES}]}),
        Ty::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
        Ty::Bytes => json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64}),
        Ty::List(item) => json!({"type": "array", "items": derive(item)}),
        Ty::FixedList(item, length) => {
            json!({"type": "array", "items": derive(item), "minItems": length, "maxItems": length})
        }
        Ty::Map(key, value) if **key == Ty::String => json!({"type": "object", "additionalProperties": derive(value)}),
        Ty::Map(key, value) => json!({"type": "array", "items": array_of(&[derive(key), derive(value)])}),
        Ty::Tuple(items) => array_of(&items.iter().map(derive).collect::<Vec<_>>()),
        Ty::Record(fields) => object(fields),
        Ty::Variant(cases) => {
            let cases = cases.iter().map(|(name, payload)| {
                let tag = ("tag", json!({"const": name}));
                match payload {
                    Some(payload) => only(&[tag, ("val", derive(payload))]),
                    None => only(&[tag]),
                }
            });
            json!({"oneOf": cases.collect::<Vec<_>>()})
        }
        Ty::Enum(names) => json!({"enum": names}),
        Ty::Flags(names) => json!({"type": "array", "items": {"enum": names}, "uniqueItems": true}),
        Ty::Option(some) if some.is_nullable() => json!({"anyOf": [{"type": "null"}, only(&[("some", derive(some))])]}),
        Ty::Option(some) => json!({"anyOf": [{"type": "null"}, derive(some)]}),
        Ty::Result(ok, err) => json!({"oneOf": [
            only(&[("ok", payload(ok.as_deref()))]),
            only(&[("err", payload(err.as_deref()))]),
        ]}),
        // The integers are above.
        _ => json!({"type": "string"}),
    }
}
