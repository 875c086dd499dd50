//! JSON Schema of an output: draft 2020-12 without what would make checking unbounded or lead out of the plan.
//!
//! Never fetches anything: a `$ref` names a part of the same schema. Never recurses without end: a schema that leads to itself is refused,
//! and so is one that is too large with its references written out, for an output is checked once for each part of that.

mod pattern;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

use crate::canonical;
use crate::limits;
use crate::problem::{Problem, pointer_to, shown};
pub(crate) use pattern::Pattern;
#[cfg(test)]
pub(crate) use pattern::letters;
pub(crate) use regex_automata::hybrid::dfa::Cache;

/// The dialect that schemas are written in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Keywords whose value is one schema.
const ONE: [&str; 10] = [
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
];
/// Keywords whose value is an array of schemas.
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is an object of schemas.
const NAMED: [&str; 3] = ["dependentSchemas", "patternProperties", "properties"];
/// Keywords that give a part of a schema an identity of its own, or lead to one by name. They are refused wherever they stand, so that
/// what a `$ref` means is seen from its text.
const IDENTITY: [&str; 8] =
    ["$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef", "$schema", "$vocabulary"];

/// A compiled schema. Clones share it.
#[derive(Clone)]
pub struct OutputSchema(Arc<Compiled>);

struct Compiled {
    document: Value,
    validator: Validator,
    parts: usize,
    patterns: BTreeMap<String, Pattern>,
    /// Whether items are compared with each other.
    compares: bool,
}

impl fmt::Debug for OutputSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OutputSchema").field(&self.0.document).finish()
    }
}

impl OutputSchema {
    /// Compiles `document`, which is at `pointer`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn compile(document: &Value, pointer: &str) -> Result<Self, Problem> {
        let wrong = |place: String, message: String, hint: &str| {
            Problem::new("bad-schema", format!("{pointer}{place}"), message).with_hint(hint)
        };
        let bytes = canonical::to_vec(document).len();
        if bytes > limits::SCHEMA_BYTES_MAX {
            let message = format!("the schema has {bytes} bytes, more than {}", limits::SCHEMA_BYTES_MAX);
            return Err(wrong(String::new(), message, "check large data in a step of its own"));
        }
        if let Some(dialect) = document.get("$schema").filter(|dialect| dialect.as_str() != Some(DIALECT)) {
            let message = format!("the schema is written in `{}`", shown(&canonical::to_string(dialect)));
            return Err(wrong(
                "/$schema".to_owned(),
                message,
                "only JSON Schema 2020-12 is known; leave `$schema` out",
            ));
        }
        let mut walk =
            Walk { document, parts: 0, open: BTreeSet::new(), patterns: Patterns::default(), compares: false };
        let sound = refuse_identity(document, "").and_then(|()| walk.schema(document, ""));
        let Walk { parts, patterns: machines, compares, .. } = walk;
        sound.map_err(|Fault { at, message, hint }| wrong(at, message, hint))?;
        let patterns = PatternOptions::regex().size_limit(limits::SCHEMA_PATTERN_BYTES_MAX);
        let built = jsonschema::options().with_draft(Draft::Draft202012).with_pattern_options(patterns).build(document);
        match built {
            Ok(validator) => match machines.refused {
                None => {
                    let (document, patterns) = (document.clone(), machines.known);
                    Ok(Self(Arc::new(Compiled { document, validator, parts, patterns, compares })))
                }
                Some(at) => {
                    let message = format!(
                        "the patterns of the schema take more than {} bytes, one of them more than {}, or this one cannot be read",
                        limits::SCHEMA_PATTERNS_BYTES_MAX,
                        limits::SCHEMA_PATTERN_BYTES_MAX
                    );
                    Err(wrong(at, message, "count less in patterns: `{1000}` makes a thousand copies"))
                }
            },
            Err(error) => {
                let message = format!("it is not a JSON Schema: {}", shown(&error.to_string()));
                let at = error.instance_path().as_str().to_owned();
                Err(wrong(
                    at,
                    message,
                    "see JSON Schema 2020-12; patterns have neither look-around nor back-references",
                ))
            }
        }
    }

    /// The schema as the plan writes it.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.0.document
    }

    /// Its parts, with references written out.
    pub(crate) fn parts(&self) -> usize {
        self.0.parts
    }

    /// A pattern that the schema has.
    pub(crate) fn pattern(&self, pattern: &str) -> Option<&Pattern> {
        self.0.patterns.get(pattern)
    }

    /// What a byte of text costs at the worst where every pattern looks at it.
    pub(crate) fn pattern_states(&self) -> u64 {
        self.0.patterns.values().map(Pattern::states).fold(0, u64::saturating_add)
    }

    /// The memory of its patterns.
    pub(crate) fn pattern_bytes(&self) -> usize {
        self.0.patterns.values().map(|pattern| pattern.bytes).fold(0, usize::saturating_add)
    }

    /// Whether it compares items with each other.
    pub(crate) fn compares(&self) -> bool {
        self.0.compares
    }

    pub(crate) fn validator(&self) -> &Validator {
        &self.0.validator
    }
}

/// Refuses [`IDENTITY`] below the root; at the root `$id` and `$schema` name the whole and lead nowhere.
fn refuse_identity(value: &Value, at: &str) -> Result<(), Fault> {
    match value {
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(index, item)| refuse_identity(item, &format!("{at}/{index}")))
        }
        Value::Object(members) => members.iter().try_for_each(|(key, member)| {
            let place = pointer_to(at, key);
            let names_the_whole = at.is_empty() && matches!(key.as_str(), "$id" | "$schema");
            if IDENTITY.contains(&key.as_str()) && !names_the_whole {
                let hint = "name parts of the schema by `$ref` with a pointer, such as `#/$defs/row`";
                return Err(Fault { at: place, message: format!("`{key}` is not read"), hint });
            }
            refuse_identity(member, &place)
        }),
        _ => Ok(()),
    }
}

struct Fault {
    /// A pointer into the schema.
    at: String,
    message: String,
    hint: &'static str,
}

/// Follows a schema as a check of a value would.
struct Walk<'s> {
    document: &'s Value,
    /// Parts met so far, references written out.
    parts: usize,
    /// References that are being followed.
    open: BTreeSet<String>,
    patterns: Patterns,
    compares: bool,
}

/// The patterns of a schema.
#[derive(Default)]
struct Patterns {
    known: BTreeMap<String, Pattern>,
    bytes: usize,
    /// Where the first is that has no room.
    refused: Option<String>,
}

impl Patterns {
    fn add(&mut self, pattern: &str, at: &str) {
        if self.refused.is_some() || self.known.contains_key(pattern) {
            return;
        }
        let room = limits::SCHEMA_PATTERNS_BYTES_MAX.saturating_sub(self.bytes).min(limits::SCHEMA_PATTERN_BYTES_MAX);
        match Pattern::new(pattern, room) {
            Some(read) => {
                self.bytes = self.bytes.saturating_add(read.bytes);
                self.known.insert(pattern.to_owned(), read);
            }
            None => self.refused = Some(at.to_owned()),
        }
    }
}

impl Walk<'_> {
    fn schema(&mut self, schema: &Value, at: &str) -> Result<(), Fault> {
        self.parts += 1;
        if self.parts > limits::SCHEMA_PARTS_MAX {
            let message =
                format!("with its references written out the schema has more than {} parts", limits::SCHEMA_PARTS_MAX);
            return Err(Fault { at: at.to_owned(), message, hint: "describe less of the output" });
        }
        // What is neither an object nor a boolean is found when it is compiled.
        let Value::Object(keywords) = schema else { return Ok(()) };
        for (keyword, value) in keywords {
            let at = pointer_to(at, keyword);
            if ONE.contains(&keyword.as_str()) {
                self.schema(value, &at)?;
            } else if LIST.contains(&keyword.as_str()) {
                for (index, schema) in value.as_array().into_iter().flatten().enumerate() {
                    self.schema(schema, &format!("{at}/{index}"))?;
                }
            } else if NAMED.contains(&keyword.as_str()) {
                for (name, schema) in value.as_object().into_iter().flatten() {
                    self.schema(schema, &pointer_to(&at, name))?;
                }
                if keyword == "patternProperties" {
                    value.as_object().into_iter().flatten().for_each(|(name, _)| self.patterns.add(name, &at));
                }
            } else if keyword == "pattern" {
                value.as_str().into_iter().for_each(|pattern| self.patterns.add(pattern, &at));
            } else if keyword == "uniqueItems" {
                self.compares = true;
            } else if keyword == "unevaluatedProperties" {
                self.schema(value, &at)?;
            } else if keyword == "$ref" {
                self.reference(value, &at)?;
            }
        }
        // To know what was not evaluated, what stands beside it is evaluated again.
        if keywords.contains_key("unevaluatedProperties") || keywords.contains_key("unevaluatedItems") {
            let others = keywords.iter().filter(|(keyword, _)| !keyword.starts_with("unevaluated"));
            let others: Map<String, Value> = others.map(|(keyword, value)| (keyword.clone(), value.clone())).collect();
            self.schema(&Value::Object(others), at)?;
        }
        Ok(())
    }

    fn reference(&mut self, value: &Value, at: &str) -> Result<(), Fault> {
        const FORM: &str = "a `$ref` names a part of the same schema, such as `#/$defs/row`";
        let fault = |message: String, hint| Fault { at: at.to_owned(), message, hint };
        let Some(name) = value.as_str() else { return Ok(()) };
        let target = name.strip_prefix('#').and_then(|pointer| self.document.pointer(pointer));
        let Some(target) = target else {
            return Err(fault(format!("`{}` is no part of the schema", shown(name)), FORM));
        };
        if !self.open.insert(name.to_owned()) {
            let hint = "write the levels out that are wanted: a schema without end could be checked without end";
            return Err(fault(format!("`{}` leads to itself", shown(name)), hint));
        }
        self.schema(target, name.trim_start_matches('#'))?;
        self.open.remove(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
