//! What holding an output against a schema costs at the most, counted before it is done: a function of schema and output alone, so that a replay and another
//! machine come to the same end.
//!
//! A unit is about one step of the checker: a keyword that is looked at for a value, a state of a pattern that is looked at for a character. The count follows the
//! schema as the checker does and never does what it counts.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Map, Value};

use crate::plan::OutputSchema;
use crate::plan::schema::Cache;

/// Keywords of one part of a schema, for the quick bound: more are made of more parts, or list what is in them.
const KEYWORDS: u64 = 64;
/// Units of comparing two items of few parts.
const PAIR: u64 = 4;

/// Counts down what is left.
struct Meter<'s> {
    schema: &'s OutputSchema,
    left: u64,
    /// Of each pattern, what was found of it by now.
    caches: BTreeMap<String, Option<Cache>>,
}

/// More than there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Over;

type Counted = Result<(), Over>;

/// Whether `value` can be held against `schema` in `most` units.
pub(super) fn count(schema: &OutputSchema, value: &Value, most: u64) -> Counted {
    Meter { schema, left: most, caches: BTreeMap::new() }.part(schema.document(), value)
}

/// Whether it takes at most so many units by a bound that is found by looking at the value once: parts of the schema times values, and every pattern over
/// every character.
pub(super) fn is_little(schema: &OutputSchema, value: &Value, most: u64) -> bool {
    is_within(schema, size(value), most)
}

/// The same for JSON that is not read yet: it has fewer values than characters.
pub(super) fn is_little_of_text(schema: &OutputSchema, text: &str, most: u64) -> bool {
    is_within(schema, Size { values: text.len() as u64, bytes: text.len() as u64 }, most)
}

fn is_within(schema: &OutputSchema, Size { values, bytes }: Size, most: u64) -> bool {
    let parts = (schema.parts() as u64).saturating_mul(values.saturating_add(bytes / 16)).saturating_mul(KEYWORDS);
    let texts = schema.pattern_states().saturating_mul(bytes.saturating_add(values));
    let pairs = if schema.compares() { values.saturating_mul(values).saturating_mul(PAIR) } else { 0 };
    parts.saturating_add(texts).saturating_add(pairs) <= most
}

#[derive(Default, Clone, Copy)]
struct Size {
    values: u64,
    bytes: u64,
}

fn size(value: &Value) -> Size {
    let mut total = Size { values: 1, bytes: 0 };
    let mut add = |inner: Size| {
        total.values += inner.values;
        total.bytes += inner.bytes;
    };
    match value {
        Value::String(text) => add(Size { values: 0, bytes: text.len() as u64 }),
        Value::Array(items) => items.iter().for_each(|item| add(size(item))),
        Value::Object(members) => members.iter().for_each(|(key, member)| {
            add(Size { values: 1, bytes: key.len() as u64 });
            add(size(member));
        }),
        _ => {}
    }
    total
}

impl Meter<'_> {
    fn spend(&mut self, units: u64) -> Counted {
        self.left = self.left.checked_sub(units).ok_or(Over)?;
        Ok(())
    }

    fn part(&mut self, part: &Value, value: &Value) -> Counted {
        self.spend(1)?;
        let Value::Object(keywords) = part else { return Ok(()) };
        self.keywords(keywords, value, true)?;
        // To know what was not evaluated, what stands beside it is evaluated again.
        if keywords.keys().any(|keyword| keyword.starts_with("unevaluated")) {
            self.keywords(keywords, value, false)?;
        }
        Ok(())
    }

    fn keywords(&mut self, keywords: &Map<String, Value>, value: &Value, with_unevaluated: bool) -> Counted {
        self.spend(keywords.len() as u64)?;
        for (keyword, given) in keywords {
            if with_unevaluated || !keyword.starts_with("unevaluated") {
                self.keyword(keyword, given, value)?;
            }
        }
        Ok(())
    }

    fn keyword(&mut self, keyword: &str, given: &Value, value: &Value) -> Counted {
        match (keyword, value) {
            ("$ref", _) => {
                let target = given.as_str().and_then(|name| name.strip_prefix('#'));
                let schema = self.schema;
                match target.and_then(|pointer| schema.document().pointer(pointer)) {
                    Some(target) => self.part(target, value),
                    None => Ok(()),
                }
            }
            ("allOf" | "anyOf" | "oneOf", _) => {
                given.as_array().into_iter().flatten().try_for_each(|part| self.part(part, value))
            }
            ("not" | "if" | "then" | "else" | "contentSchema", _) => self.part(given, value),
            ("dependentSchemas", Value::Object(_)) => {
                given.as_object().into_iter().flatten().try_for_each(|(_, part)| self.part(part, value))
            }
            ("properties", Value::Object(members)) => {
                given.as_object().into_iter().flatten().try_for_each(|(name, part)| {
                    self.spend(1)?;
                    members.get(name).map_or(Ok(()), |member| self.part(part, member))
                })
            }
            ("patternProperties", Value::Object(members)) => {
                for (pattern, part) in given.as_object().into_iter().flatten() {
                    for (name, member) in members {
                        self.pattern(pattern, name)?;
                        self.part(part, member)?;
                    }
                }
                Ok(())
            }
            ("additionalProperties" | "unevaluatedProperties", Value::Object(members)) => {
                members.values().try_for_each(|member| self.part(given, member))
            }
            ("propertyNames", Value::Object(members)) => {
                members.keys().try_for_each(|name| self.part(given, &Value::String(name.clone())))
            }
            ("items" | "contains" | "unevaluatedItems", Value::Array(items)) => {
                items.iter().try_for_each(|item| self.part(given, item))
            }
            ("prefixItems", Value::Array(items)) => {
                let pairs = given.as_array().into_iter().flatten().zip(items);
                pairs.into_iter().try_for_each(|(part, item)| self.part(part, item))
            }
            ("pattern", Value::String(text)) => given.as_str().map_or(Ok(()), |pattern| self.pattern(pattern, text)),
            ("minLength" | "maxLength", Value::String(text)) => self.spend(text.len() as u64 / 16),
            ("enum" | "const", _) => {
                let Size { values, bytes } = size(given);
                self.spend(values.saturating_add(bytes / 16))
            }
            ("required" | "dependentRequired", Value::Object(_)) => self.spend(size(given).values),
            ("uniqueItems", Value::Array(items)) if given.as_bool() == Some(true) => self.unique(items),
            _ => Ok(()),
        }
    }

    /// Whoever compares all items takes those alike that have the same leaves in the same order: of such ones each is compared with each.
    fn unique(&mut self, items: &[Value]) -> Counted {
        let mut alike: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for item in items {
            let mut hasher = DefaultHasher::new();
            let values = self.leaves(item, &mut hasher)?;
            let (count, largest) = alike.entry(hasher.finish()).or_default();
            *count += 1;
            *largest = values.max(*largest);
        }
        if items.len() <= 16 {
            // Few are compared without being hashed.
            let all: u64 =
                alike.values().map(|(count, largest)| count.saturating_mul(*largest)).fold(0, u64::saturating_add);
            return self.spend(all.saturating_mul(16));
        }
        for (count, largest) in alike.into_values() {
            self.spend(count.saturating_mul(count.saturating_sub(1)).saturating_mul(largest))?;
        }
        Ok(())
    }

    fn leaves(&mut self, value: &Value, hasher: &mut DefaultHasher) -> Result<u64, Over> {
        self.spend(1)?;
        let mut values = 1_u64;
        match value {
            Value::Null => 0_u8.hash(hasher),
            Value::Bool(is) => is.hash(hasher),
            // Integers beyond 2^53 are hashed by the float that is nearest.
            Value::Number(number) => number.as_f64().unwrap_or_default().to_bits().hash(hasher),
            Value::String(text) => {
                self.spend(text.len() as u64 / 16)?;
                values += text.len() as u64 / 16;
                text.hash(hasher);
            }
            Value::Array(items) => {
                for item in items {
                    values += self.leaves(item, hasher)?;
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    key.hash(hasher);
                    values += self.leaves(member, hasher)?;
                }
            }
        }
        Ok(values)
    }

    fn pattern(&mut self, pattern: &str, text: &str) -> Counted {
        self.spend(1 + text.len() as u64 / 16)?;
        let left = self.left;
        let Some(machine) = self.schema.pattern(pattern) else { return Ok(()) };
        let units = match self.caches.get_mut(pattern) {
            Some(cache) => machine.units(text, left, cache),
            None => machine.units(text, left, self.caches.entry(pattern.to_owned()).or_default()),
        };
        self.spend(units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn units(schema: &Value, value: &Value) -> u64 {
        let schema = OutputSchema::compile(schema, "").unwrap();
        let most = 10_000_000_000;
        let mut meter = Meter { schema: &schema, left: most, caches: BTreeMap::new() };
        meter.part(schema.document(), value).map_or(u64::MAX, |()| most - meter.left)
    }

    #[test]
    fn what_is_usual_costs_about_its_size() {
        let rows: Vec<Value> =
            (0..10_000).map(|row| json!({"id": row, "name": format!("row {row}"), "on": true})).collect();
        let schema = json!({"type": "array", "uniqueItems": true, "items": {"type": "object", "required": ["id", "name"],
            "additionalProperties": false, "properties": {"id": {"type": "integer", "minimum": 0},
            "name": {"type": "string", "pattern": "^row [0-9]+$", "maxLength": 20}, "on": {"type": "boolean"}}}});
        let units = units(&schema, &Value::Array(rows));
        assert!(units < 2_000_000, "{units}");
        let text = "a line of a long text, with words in it\n".repeat(100_000);
        let text_units = super::tests::units(&json!({"type": "string", "pattern": "^[\\w ,\\n]*$"}), &json!(text));
        assert!(text_units < 40_000_000, "{text_units}");
    }

    #[test]
    fn what_multiplies_costs_the_product() {
        let text = json!(crate::plan::schema::letters(500_000));
        let pattern = json!({"pattern": "(?:a|b)*a(?:a|b){900}c0"});
        assert!(units(&pattern, &text) > 400_000_000);
        let alternatives = json!({"items": {"anyOf": vec![json!({"const": 1}); 1_000]}});
        assert!(units(&alternatives, &json!(vec![0; 10_000])) > 10_000_000);
        // Arrays in arrays without leaves are hashed alike.
        let mut nested = vec![json!([])];
        for at in 0..2_000 {
            let one = nested[at / 2].clone();
            nested.push(if at % 2 == 0 { json!([one]) } else { json!([one, []]) });
        }
        assert!(units(&json!({"uniqueItems": true}), &Value::Array(nested)) > 4_000_000);
        let large: Vec<u64> = (0..2_000).map(|at| u64::MAX - at).collect();
        assert!(units(&json!({"uniqueItems": true}), &json!(large)) > 500_000);
    }

    #[test]
    fn the_quick_bound_is_never_below_the_count() {
        for (schema, value) in [
            (
                json!({"items": {"anyOf": [{"pattern": "a+b"}, {"type": "object", "propertyNames": {"pattern": "^x"}}]}}),
                json!(["aab", {"xyz": "q"}, "text"]),
            ),
            (
                json!({"patternProperties": {"^a": {"uniqueItems": true}}, "unevaluatedProperties": {"enum": [1, 2]}}),
                json!({"ab": [1, 2, [3]], "b": 2}),
            ),
        ] {
            let counted = units(&schema, &value);
            let schema = OutputSchema::compile(&schema, "").unwrap();
            assert!(!is_little(&schema, &value, counted / 2), "{counted}");
        }
    }
}
