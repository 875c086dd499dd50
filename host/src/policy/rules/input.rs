//! Inputs in Cedar's terms: the schema of a tool's parameters, and an input as values of that schema.
//!
//! Both follow the same WIT types, so that a rule which fits the schema finds what the schema promises. What Cedar has no exact value for
//! is an error and never a near value: a rule must not decide on a number that the tool does not get.

use cedar_policy::RestrictedExpression;
use serde_json::Value;

use super::reads::Parts;
use crate::limits;
use crate::types::Ty;

/// Why an input cannot be put before rules: lower case, no final period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit(pub(super) String);

/// The parameters as the inner part of a Cedar record type: `"a": Long, "b"?: String`. Those without a Cedar type are left out.
pub(super) fn schema(params: &[(String, Ty)]) -> String {
    fields(params.iter().map(|(name, ty)| (name.as_str(), ty)))
}

fn fields<'t>(fields: impl Iterator<Item = (&'t str, &'t Ty)>) -> String {
    let typed = fields.filter_map(|(name, ty)| {
        let (mark, ty) = match ty {
            Ty::Option(some) => ("?", &**some),
            ty => ("", ty),
        };
        cedar_type(ty).map(|ty| format!("{name:?}{mark}: {ty}"))
    });
    typed.collect::<Vec<_>>().join(", ")
}

/// The Cedar type of a WIT type; `None` where there is none that says the same.
fn cedar_type(ty: &Ty) -> Option<String> {
    Some(match ty {
        Ty::Bool => "Bool".to_owned(),
        Ty::S8 | Ty::U8 | Ty::S16 | Ty::U16 | Ty::S32 | Ty::U32 | Ty::S64 | Ty::U64 => "Long".to_owned(),
        Ty::F32 | Ty::F64 => "decimal".to_owned(),
        Ty::Char | Ty::String | Ty::Bytes | Ty::Enum(_) => "String".to_owned(),
        Ty::Flags(_) => "Set<String>".to_owned(),
        Ty::List(item) | Ty::FixedList(item, _) => format!("Set<{}>", cedar_type(item)?),
        Ty::Tuple(items) => {
            let names: Vec<String> = (0..items.len()).map(|index| index.to_string()).collect();
            format!("{{{}}}", fields(names.iter().map(String::as_str).zip(items)))
        }
        Ty::Record(members) => format!("{{{}}}", fields(members.iter().map(|(name, ty)| (name.as_str(), ty)))),
        Ty::Variant(_) => match payload(ty).and_then(cedar_type) {
            Some(payload) => format!("{{\"tag\": String, \"val\"?: {payload}}}"),
            None => "{\"tag\": String}".to_owned(),
        },
        // Which keys a map has is not in its type; an option inside of a list has no place to be absent from.
        Ty::Map(..) | Ty::Option(_) | Ty::Result(..) => return None,
    })
}

/// The type of all payloads of a variant, where they have one in common.
fn payload(variant: &Ty) -> Option<&Ty> {
    let Ty::Variant(cases) = variant else { return None };
    let mut payloads = cases.iter().filter_map(|(_, payload)| payload.as_ref());
    let first = payloads.next()?;
    payloads.all(|payload| payload == first).then_some(first)
}

/// The input as a Cedar record of those parameters that are read. Its form is that of `params`: it was checked against them. `weight` is what
/// the rules do with each character of it.
pub(super) fn record(
    input: &Value,
    params: &[(String, Ty)],
    (read, weight): (&Parts, u64),
) -> Result<RestrictedExpression, Unfit> {
    let texts = params.iter().filter(|(name, _)| read.has(name)).filter_map(|(name, _)| input.get(name));
    if texts.map(text_bytes).fold(0, u64::saturating_add).saturating_mul(weight) > limits::RULE_WORK_MAX {
        let max = limits::RULE_WORK_MAX;
        return Err(Unfit(format!("comparing its text with the patterns of the rules takes more than {max} steps")));
    }
    let mut parts = 0;
    let read = params.iter().filter(|(name, _)| read.has(name)).map(|(name, ty)| (name.as_str(), ty, input.get(name)));
    members(read, &mut parts, "")
}

fn text_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(text_bytes).fold(0, u64::saturating_add),
        Value::Object(members) => members.values().map(text_bytes).fold(0, u64::saturating_add),
        _ => 0,
    }
}

fn members<'v>(
    members: impl Iterator<Item = (&'v str, &'v Ty, Option<&'v Value>)>,
    parts: &mut usize,
    path: &str,
) -> Result<RestrictedExpression, Unfit> {
    let mut found = Vec::new();
    for (name, ty, value) in members {
        let ty = match ty {
            Ty::Option(some) => some,
            ty => ty,
        };
        let Some(value) = value.filter(|value| !value.is_null()) else { continue };
        if cedar_type(ty).is_some() {
            found.push((name.to_owned(), expression(value, ty, parts, &format!("{path}/{name}"))?));
        }
    }
    RestrictedExpression::new_record(found).map_err(|error| Unfit(format!("`{path}`: {error}")))
}

fn expression(value: &Value, ty: &Ty, parts: &mut usize, path: &str) -> Result<RestrictedExpression, Unfit> {
    *parts += 1;
    if *parts > limits::RULE_INPUT_PARTS_MAX {
        let max = limits::RULE_INPUT_PARTS_MAX;
        return Err(Unfit(format!("what rules read of the input has more than {max} parts")));
    }
    let unfit = |what: &str| Unfit(format!("`{path}` is {value:.40}, {what}"));
    let other = || Unfit(format!("`{path}` is not of the type that the tool declares"));
    Ok(match ty {
        Ty::Bool => RestrictedExpression::new_bool(value.as_bool().ok_or_else(other)?),
        Ty::S8 | Ty::U8 | Ty::S16 | Ty::U16 | Ty::S32 | Ty::U32 | Ty::S64 | Ty::U64 => {
            RestrictedExpression::new_long(long(value).ok_or_else(|| unfit("beyond the integers of rules (2^63 - 1)"))?)
        }
        Ty::F32 | Ty::F64 => RestrictedExpression::new_decimal(
            decimal(value)
                .ok_or_else(|| unfit("which rules cannot hold exactly: a decimal has at most four places"))?,
        ),
        Ty::Char | Ty::String | Ty::Bytes | Ty::Enum(_) => {
            RestrictedExpression::new_string(value.as_str().ok_or_else(other)?.to_owned())
        }
        Ty::Flags(_) => set(value, &Ty::String, parts, path)?,
        Ty::List(item) | Ty::FixedList(item, _) => set(value, item, parts, path)?,
        Ty::Tuple(items) => {
            let names: Vec<String> = (0..items.len()).map(|index| index.to_string()).collect();
            let zipped = names.iter().zip(items).enumerate();
            members(zipped.map(|(index, (name, ty))| (name.as_str(), ty, value.get(index))), parts, path)?
        }
        Ty::Record(fields) => {
            members(fields.iter().map(|(name, ty)| (name.as_str(), ty, value.get(name))), parts, path)?
        }
        Ty::Variant(_) => {
            let tag = ("tag", &Ty::String, value.get("tag"));
            let val = payload(ty).map(|payload| ("val", payload, value.get("val")));
            members([tag].into_iter().chain(val), parts, path)?
        }
        Ty::Map(..) | Ty::Option(_) | Ty::Result(..) => return Err(other()),
    })
}

fn set(value: &Value, item: &Ty, parts: &mut usize, path: &str) -> Result<RestrictedExpression, Unfit> {
    let mut items = Vec::new();
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        items.push(expression(value, item, parts, &format!("{path}/{index}"))?);
    }
    Ok(RestrictedExpression::new_set(items))
}

/// An integer, also where it is spelled `5.0`.
fn long(value: &Value) -> Option<i64> {
    // 2^53: up to here every integer that a float holds is itself.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.is_i64() || value.is_u64() {
        return value.as_i64();
    }
    let float = value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "an integer within ±2^53")]
    Some(float as i64)
}

/// A number as Cedar's decimals are written: digits, a point, one to four digits.
fn decimal(value: &Value) -> Option<String> {
    let text = crate::canonical::to_string(value);
    let (whole, places) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let sound =
        value.is_number() && digits(whole.strip_prefix('-').unwrap_or(whole)) && digits(places) && places.len() <= 4;
    // In units of 1/10000 it has to fit 64 bits.
    let units: i128 = format!("{whole}{places:0<4}").parse().ok()?;
    (sound && i64::try_from(units).is_ok()).then(|| format!("{whole}.{places}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(ty: &Ty, value: &Value) -> Result<String, String> {
        let params = [("p".to_owned(), ty.clone())];
        let context = record(&json!({ "p": value }), &params, (&Parts::All, 1)).map_err(|unfit| unfit.0)?;
        let context = cedar_policy::Context::from_pairs([("input".to_owned(), context)]).map_err(|e| e.to_string())?;
        Ok(context.get("input").unwrap().to_string())
    }

    #[test]
    fn each_json_value_has_one_cedar_value_or_none() {
        let record = Ty::Record(vec![
            ("a".to_owned(), Ty::U8),
            ("b".to_owned(), Ty::Option(Box::new(Ty::String))),
            ("c".to_owned(), Ty::Map(Box::new(Ty::String), Box::new(Ty::Bool))),
        ]);
        let variant = Ty::Variant(vec![("x".to_owned(), Some(Ty::U8)), ("y".to_owned(), None)]);
        let mixed = Ty::Variant(vec![("x".to_owned(), Some(Ty::U8)), ("y".to_owned(), Some(Ty::Bool))]);
        let option = Ty::Option(Box::new(Ty::U8));
        let table: &[(Ty, Value, &str)] = &[
            (Ty::Bool, json!(true), "{\"p\": true}"),
            (Ty::U8, json!(5), "{\"p\": 5}"),
            (Ty::U8, json!(5.0), "{\"p\": 5}"),
            (Ty::S64, json!(i64::MIN), "{\"p\": -9223372036854775808}"),
            (Ty::U64, json!(i64::MAX), "{\"p\": 9223372036854775807}"),
            (Ty::F64, json!(3), "{\"p\": decimal(\"3.0\")}"),
            (Ty::F64, json!(0.1), "{\"p\": decimal(\"0.1\")}"),
            (Ty::F64, json!(-12.3456), "{\"p\": decimal(\"-12.3456\")}"),
            (Ty::F64, json!(-0.5), "{\"p\": decimal(\"-0.5\")}"),
            (Ty::String, json!("a\"b"), "{\"p\": \"a\\\"b\"}"),
            (Ty::Bytes, json!("AAE="), "{\"p\": \"AAE=\"}"),
            (Ty::Enum(vec!["red".to_owned()]), json!("red"), "{\"p\": \"red\"}"),
            (Ty::Flags(vec!["r".to_owned(), "w".to_owned()]), json!(["r"]), "{\"p\": [\"r\"]}"),
            (Ty::List(Box::new(Ty::U8)), json!([2, 2]), "{\"p\": [2]}"),
            (Ty::Tuple(vec![Ty::U8, Ty::Bool]), json!([1, false]), "{\"p\": {\"0\": 1, \"1\": false}}"),
            (record.clone(), json!({"a": 1, "b": "x", "c": {"k": true}}), "{\"p\": {\"a\": 1, \"b\": \"x\"}}"),
            (record, json!({"a": 1, "b": null, "c": {}}), "{\"p\": {\"a\": 1}}"),
            (variant.clone(), json!({"tag": "x", "val": 1}), "{\"p\": {\"tag\": \"x\", \"val\": 1}}"),
            (variant, json!({"tag": "y"}), "{\"p\": {\"tag\": \"y\"}}"),
            (mixed, json!({"tag": "x", "val": 1}), "{\"p\": {\"tag\": \"x\"}}"),
            (option.clone(), json!(1), "{\"p\": 1}"),
            (option.clone(), json!(null), "{}"),
            (Ty::List(Box::new(option)), json!([1, null]), "{}"),
            (Ty::Map(Box::new(Ty::String), Box::new(Ty::U8)), json!({"a": 1}), "{}"),
        ];
        for (ty, value, expected) in table {
            assert_eq!(shown(ty, value).as_deref(), Ok(*expected), "{ty} {value}");
        }
    }

    #[test]
    fn what_cedar_cannot_hold_exactly_is_refused() {
        for (ty, value) in [
            (Ty::U64, json!(u64::MAX)),
            (Ty::U64, json!(i64::MAX as u64 + 1)),
            (Ty::F64, json!(0.12345)),
            (Ty::F64, json!(1e-7)),
            (Ty::F64, json!(1e300)),
            (Ty::F64, json!(922_337_203_685_478.0)),
            (Ty::F64, json!("NaN")),
            (Ty::List(Box::new(Ty::U64)), json!([u64::MAX])),
        ] {
            assert!(shown(&ty, &value).unwrap_err().starts_with("`/p"), "{ty} {value}");
        }
        let large = json!(vec![1; limits::RULE_INPUT_PARTS_MAX]);
        assert!(shown(&Ty::List(Box::new(Ty::U8)), &large).unwrap_err().contains("parts"));
    }

    #[test]
    fn only_what_is_read_is_converted() {
        let params = [("big".to_owned(), Ty::U64), ("small".to_owned(), Ty::U64)];
        let read = Parts::Some(["small".to_owned()].into_iter().collect());
        assert!(record(&json!({"big": u64::MAX, "small": 1}), &params, (&read, 1)).is_ok());
        assert!(record(&json!({"big": u64::MAX, "small": 1}), &params, (&Parts::All, 1)).is_err());
    }

    #[test]
    fn the_schema_says_what_the_values_are() {
        let params = [
            ("group-by".to_owned(), Ty::Option(Box::new(Ty::String))),
            ("rows".to_owned(), Ty::List(Box::new(Ty::Record(vec![("n".to_owned(), Ty::F32)])))),
            ("map".to_owned(), Ty::Map(Box::new(Ty::String), Box::new(Ty::U8))),
        ];
        assert_eq!(schema(&params), "\"group-by\"?: String, \"rows\": Set<{\"n\": decimal}>");
    }
}
