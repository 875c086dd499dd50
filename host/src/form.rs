//! The form of documents as data: the tables of keys that the readers of plans, policies and traces read by, and the JSON Schemas made of
//! them. Owns what can be said of one value by itself; what values have to do with each other is said by [`Rule`] or by the readers alone.
//! Reads no document.

use serde_json::{Map, Value, json};

use crate::limits;

/// The dialect of every schema.
pub(crate) const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What a name looks like: [`crate::id::is_name`].
pub(crate) const NAME: Form = Form::Text { max: limits::NAME_BYTES_MAX, pattern: "^[A-Za-z][A-Za-z0-9_-]*$" };
/// What a digest looks like: [`crate::id::Digest`].
pub(crate) const DIGEST: Form = Form::Text { max: 64, pattern: "^[0-9a-f]{64}$" };
/// Any string.
pub(crate) const TEXT: Form = Form::Text { max: usize::MAX, pattern: "" };
/// Labels of a run.
pub(crate) const TAGS: Form = Form::List { of: &NAME, min: 0, max: limits::TAGS_MAX, unique: true };
/// Any object.
pub(crate) const MEMBERS: Form = Form::Map { names: "", max: usize::MAX, of: &Form::Any };
/// A number of something, zero included.
pub(crate) const COUNT: Form = Form::Integer(0, u64::MAX);

/// The limits of a policy for every step.
pub(crate) const CEILINGS: Shape = Shape::of(&[
    Key::new("fuel", Form::Integer(1, limits::FUEL_MAX), "Fuel."),
    Key::new("deadline_ms", Form::Integer(1, limits::DEADLINE_MS_MAX), "Milliseconds."),
    Key::new("memory_bytes", Form::Integer(1, limits::MEMORY_BYTES_MAX), "Bytes of linear memory."),
    Key::new("output_bytes", Form::Integer(1, limits::OUTPUT_BYTES_MAX), "Bytes of the output."),
    Key::new("stdio_bytes", Form::Integer(1, limits::STDIO_BYTES_MAX), "Bytes to each of stdout and stderr."),
    Key::new("host_calls", Form::Integer(1, limits::HOST_CALLS_MAX), "Host calls."),
    Key::new("trace_bytes", Form::Integer(1, limits::TRACE_BYTES_MAX), "Bytes of trace."),
    Key::new("call_depth", Form::Integer(1, limits::CALL_DEPTH_MAX), "How deep skills may call each other."),
]);

/// The limits of one step or grant: the same, but how deep skills call each other is for the policy alone.
pub(crate) const LIMITS: Shape = Shape::of(CEILINGS.keys.split_at(CEILINGS.keys.len() - 1).0);

/// An object: its keys and what holds between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Its keys; there are no others.
    pub(crate) keys: &'static [Key],
    /// What holds between them.
    pub(crate) rules: &'static [Rule],
}

/// A key of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// As it is written.
    pub(crate) name: &'static str,
    /// What its value may be.
    pub(crate) form: Form,
    /// Whether it has to be there.
    pub(crate) required: bool,
    /// What it means.
    pub(crate) doc: &'static str,
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// Anything.
    Any,
    /// A string of so many characters at the most, of this form (a regular expression of ECMA-262; empty where any will do).
    Text { max: usize, pattern: &'static str },
    /// One of these strings.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// `true`.
    True,
    /// An integer in this range.
    Integer(u64, u64),
    /// An array.
    List { of: &'static Self, min: usize, max: usize, unique: bool },
    /// An object whose keys are names of the document's own, of this form.
    Map { names: &'static str, max: usize, of: &'static Self },
    /// An object with at least one member.
    Some,
    /// An object of this shape.
    Object(&'static Shape),
    /// One of these.
    AnyOf(&'static [Self]),
}

/// What holds between the keys of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// Exactly one of them is there.
    One(&'static [&'static str]),
    /// Where the first is there, none of the others is.
    Without(&'static str, &'static [&'static str]),
    /// Where the first is there, so is the second.
    With(&'static str, &'static str),
    /// Where the first has this word, the second is not there.
    WordWithout(&'static str, &'static str, &'static str),
}

impl Key {
    /// A key that may be left out.
    pub(crate) const fn new(name: &'static str, form: Form, doc: &'static str) -> Self {
        Self { name, form, required: false, doc }
    }

    /// One that has to be there.
    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

impl Shape {
    /// An object of these keys.
    pub(crate) const fn of(keys: &'static [Key]) -> Self {
        Self { keys, rules: &[] }
    }

    /// The names of its keys, in the order of the table.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.keys.iter().map(|key| key.name)
    }

    /// The range of an integer; `None` where the key is none of these.
    pub(crate) fn range(&self, name: &str) -> Option<(u64, u64)> {
        self.keys.iter().find(|key| key.name == name).and_then(|key| match key.form {
            Form::Integer(min, max) => Some((min, max)),
            _ => None,
        })
    }

    /// The JSON Schema of the whole document.
    pub(crate) fn document(&self, title: &str) -> Value {
        titled(self.schema(), title)
    }

    /// The JSON Schema of the object.
    pub(crate) fn schema(&self) -> Value {
        let described = |key: &Key| {
            let mut schema = key.form.schema();
            if let Value::Object(members) = &mut schema {
                members.insert("description".to_owned(), json!(key.doc));
            }
            (key.name.to_owned(), schema)
        };
        let properties: Map<String, Value> = self.keys.iter().map(described).collect();
        let required: Vec<&str> = self.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
        let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if let Value::Object(members) = &mut schema {
            if !required.is_empty() {
                members.insert("required".to_owned(), json!(required));
            }
            if !self.rules.is_empty() {
                let rules: Vec<Value> = self.rules.iter().map(|rule| rule.schema()).collect();
                members.insert("allOf".to_owned(), json!(rules));
            }
        }
        schema
    }
}

/// A schema with its dialect and a title.
pub(crate) fn titled(mut schema: Value, title: &str) -> Value {
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".to_owned(), json!(DIALECT));
        members.insert("title".to_owned(), json!(title));
    }
    schema
}

impl Rule {
    fn schema(&self) -> Value {
        let has = |name: &str| json!({ "required": [name] });
        match self {
            Self::One(names) => json!({ "oneOf": names.iter().map(|name| has(name)).collect::<Vec<_>>() }),
            Self::Without(name, others) => {
                let others: Vec<Value> = others.iter().map(|other| has(other)).collect();
                json!({ "if": has(name), "then": { "not": { "anyOf": others } } })
            }
            Self::With(name, other) => json!({ "if": has(name), "then": has(other) }),
            Self::WordWithout(name, word, other) => {
                let word = json!({ "properties": { *name: { "const": word } }, "required": [name] });
                json!({ "if": word, "then": { "not": has(other) } })
            }
        }
    }
}

impl Form {
    /// Its JSON Schema.
    pub(crate) fn schema(&self) -> Value {
        match self {
            Self::Any => json!({}),
            Self::Text { max, pattern } => {
                let mut schema = Map::from_iter([("type".to_owned(), json!("string"))]);
                if *max < usize::MAX {
                    schema.insert("maxLength".to_owned(), json!(max));
                }
                if !pattern.is_empty() {
                    schema.insert("pattern".to_owned(), json!(pattern));
                }
                Value::Object(schema)
            }
            Self::Word(words) => json!({ "enum": words }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::True => json!({ "const": true }),
            Self::Integer(min, u64::MAX) => json!({ "type": "integer", "minimum": min }),
            Self::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Self::List { of, min, max, unique } => {
                let mut schema =
                    Map::from_iter([("type".to_owned(), json!("array")), ("items".to_owned(), of.schema())]);
                if *min > 0 {
                    schema.insert("minItems".to_owned(), json!(min));
                }
                if *max < usize::MAX {
                    schema.insert("maxItems".to_owned(), json!(max));
                }
                if *unique {
                    schema.insert("uniqueItems".to_owned(), json!(true));
                }
                Value::Object(schema)
            }
            Self::Map { names, max, of } => {
                let mut schema = Map::from_iter([("type".to_owned(), json!("object"))]);
                if !matches!(of, Self::Any) {
                    schema.insert("additionalProperties".to_owned(), of.schema());
                }
                if *max < usize::MAX {
                    schema.insert("maxProperties".to_owned(), json!(max));
                }
                if !names.is_empty() {
                    schema.insert("propertyNames".to_owned(), json!({ "pattern": names }));
                }
                Value::Object(schema)
            }
            Self::Some => json!({ "type": "object", "minProperties": 1 }),
            Self::Object(shape) => shape.schema(),
            Self::AnyOf(forms) => json!({ "anyOf": forms.iter().map(Self::schema).collect::<Vec<_>>() }),
        }
    }
}

#[cfg(test)]
pub(crate) mod mutate;
