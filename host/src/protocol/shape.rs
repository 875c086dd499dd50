//! The form of JSON objects as data: one table that the reader of requests checks by and that the schemas are made of.

use serde_json::{Map, Value, json};

use crate::problem::{Problem, Problems, pointer_to, shown, suggestion};
use crate::types::one_of;

/// An object.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Its members.
    pub fields: &'static [Field],
    /// Whether other members are let through, and mean nothing.
    pub open: bool,
}

/// A member.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its key.
    pub key: &'static str,
    /// What it may be. `null` is as good as not there, unless it is anything.
    pub form: Form,
    /// Whether it has to be there.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

/// What a member may be.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// Anything.
    Any,
    /// A string of at most so many bytes, not empty and without control characters.
    Text(usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// An integer in this range.
    Integer(u64, u64),
    /// An object of any members.
    Members,
    /// An object of strings.
    Texts,
    /// An object of this shape.
    Object(&'static Shape),
}

impl Field {
    /// A member that may be left out.
    #[must_use]
    pub const fn new(key: &'static str, form: Form, doc: &'static str) -> Self {
        Self { key, form, required: false, doc }
    }

    /// One that has to be there.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

impl Shape {
    /// Reports everything in which `value` is not of this shape. `what` names it in messages.
    pub fn check(&self, value: &Value, pointer: &str, what: &str, problems: &mut Problems) {
        let Value::Object(members) = value else {
            let message = format!("{what} must be an object");
            problems.push(Problem::new("wrong-type", pointer, message).with_hint("give an object: `{…}`"));
            return;
        };
        if !self.open {
            let keys = || self.fields.iter().map(|field| field.key);
            for key in members.keys().filter(|key| !keys().any(|known| known == key.as_str())) {
                let hint = suggestion(key, keys()).unwrap_or_else(|| match self.fields {
                    [] => "leave it empty".to_owned(),
                    _ => one_of("known are", keys()),
                });
                let message = format!("{what} has no key `{}`", shown(key));
                problems.push(Problem::new("unknown-key", pointer_to(pointer, key), message).with_hint(hint));
            }
        }
        for field in self.fields {
            match members.get(field.key) {
                None if field.required => {
                    let message = format!("{what} lacks the key `{}`", field.key);
                    let problem = Problem::new("missing-key", pointer_to(pointer, field.key), message);
                    problems.push(problem.with_hint(format!("add `{}`", field.key)));
                }
                None | Some(Value::Null) => {}
                Some(value) => field.check(value, pointer, problems),
            }
        }
    }

    /// The JSON Schema of the shape.
    #[must_use]
    pub fn schema(&self) -> Value {
        let properties: Map<String, Value> = self
            .fields
            .iter()
            .map(|field| {
                let mut schema = field.form.schema(field.required);
                if let Value::Object(members) = &mut schema {
                    members.insert("description".to_owned(), json!(field.doc));
                }
                (field.key.to_owned(), schema)
            })
            .collect();
        let required: Vec<&str> = self.fields.iter().filter(|field| field.required).map(|field| field.key).collect();
        let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": self.open });
        if let (Value::Object(members), false) = (&mut schema, required.is_empty()) {
            members.insert("required".to_owned(), json!(required));
        }
        schema
    }
}

impl Field {
    /// `parent` is the place of the object that has the member.
    fn check(&self, value: &Value, parent: &str, problems: &mut Problems) {
        let key = self.key;
        let place = || pointer_to(parent, key);
        let mut wrong = |expected: &str| {
            let message = format!("`{key}` must be {expected}");
            let or_not = if self.required { String::new() } else { format!(", or leave `{key}` out") };
            problems.push(Problem::new("wrong-type", place(), message).with_hint(format!("give {expected}{or_not}")));
        };
        match self.form {
            Form::Any => {}
            Form::Text(max) => {
                let fits = |text: &str| !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
                if !value.as_str().is_some_and(fits) {
                    wrong(&format!("a string of 1 to {max} bytes without control characters"));
                }
            }
            Form::Word(words) => {
                let text = value.as_str().unwrap_or_default();
                if !words.contains(&text) {
                    let known = words.iter().copied();
                    let hint = suggestion(text, known.clone()).unwrap_or_else(|| one_of("known are", known));
                    let message = if value.is_string() {
                        format!("`{key}` cannot be `{}`", shown(text))
                    } else {
                        format!("`{key}` must be a string")
                    };
                    problems.push(Problem::new("unknown-value", place(), message).with_hint(hint));
                }
            }
            Form::Flag => {
                if !value.is_boolean() {
                    wrong("`true` or `false`");
                }
            }
            Form::Integer(min, max) => {
                if !value.as_u64().is_some_and(|number| (min..=max).contains(&number)) {
                    wrong(&format!("an integer from {min} to {max}"));
                }
            }
            Form::Members => {
                if !value.is_object() {
                    wrong("an object");
                }
            }
            Form::Texts => {
                if !value.as_object().is_some_and(|members| members.values().all(Value::is_string)) {
                    wrong("an object of strings");
                }
            }
            Form::Object(shape) => shape.check(value, &place(), &format!("`{key}`"), problems),
        }
    }
}

impl Form {
    fn schema(self, required: bool) -> Value {
        let kind = |name: &str| if required { json!(name) } else { json!([name, "null"]) };
        match self {
            Self::Any => json!({}),
            Self::Text(max) => {
                json!({ "type": kind("string"), "minLength": 1, "maxLength": max, "pattern": "^[^\\u0000-\\u001f\\u007f]*$" })
            }
            Self::Word(words) => {
                let words: Vec<Value> =
                    words.iter().map(|word| json!(word)).chain((!required).then_some(Value::Null)).collect();
                json!({ "enum": words })
            }
            Self::Flag => json!({ "type": kind("boolean") }),
            Self::Integer(min, max) => json!({ "type": kind("integer"), "minimum": min, "maximum": max }),
            Self::Members => json!({ "type": kind("object") }),
            Self::Texts => json!({ "type": kind("object"), "additionalProperties": { "type": "string" } }),
            Self::Object(shape) => {
                let mut schema = shape.schema();
                if let Value::Object(members) = &mut schema {
                    members.insert("type".to_owned(), kind("object"));
                }
                schema
            }
        }
    }
}
