//! Documents with one mistake, for the tests that hold readers and schemas together.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// What is done to a document, and where.
#[derive(Debug, Clone)]
pub(crate) struct Mutation {
    place: prop::sample::Index,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    Replace(Value),
    Remove,
    Rename,
    Add,
    Repeat,
}

impl Mutation {
    /// Any of them.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let values = [
            json!(null),
            json!(true),
            json!(false),
            json!(0),
            json!(1),
            json!(-1),
            json!(1.5),
            json!(u64::MAX),
            json!(9_007_199_254_740_992_u64),
            json!(""),
            json!("x"),
            json!("a b"),
            json!("real"),
            json!("a/../b"),
            json!("x\u{0}"),
            json!([]),
            json!({}),
            json!(["x"]),
            json!(["x", "x"]),
            json!([1]),
            json!({ "x": 1 }),
        ];
        let action = prop_oneof![
            4 => prop::sample::select(values.to_vec()).prop_map(Action::Replace),
            2 => Just(Action::Remove),
            1 => Just(Action::Rename),
            1 => Just(Action::Add),
            1 => Just(Action::Repeat),
        ];
        (any::<prop::sample::Index>(), action).prop_map(|(place, action)| Self { place, action })
    }
}

/// The document with that value at that place, which is there or is a key that its object does not have yet.
pub(crate) fn with(mut document: Value, pointer: &str, value: &Value) -> Value {
    match document.pointer_mut(pointer) {
        Some(place) => *place = value.clone(),
        None => {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            document.pointer_mut(parent).unwrap()[key] = value.clone();
        }
    }
    document
}

/// The document with that mistake, if it is one.
pub(crate) fn mutated(document: &Value, mutation: &Mutation) -> Value {
    let mut pointers = Vec::new();
    collect(document, String::new(), &mut pointers);
    let pointer = mutation.place.get(&pointers);
    let mut document = document.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", ""));
    let key = key.replace("~1", "/").replace("~0", "~");
    match (&mutation.action, document.pointer_mut(parent)) {
        (Action::Replace(value), _) => *document.pointer_mut(pointer).unwrap() = value.clone(),
        (Action::Remove, Some(Value::Object(members))) => drop(members.remove(&key)),
        (Action::Remove, Some(Value::Array(items))) if !pointer.is_empty() => drop(items.remove(key.parse().unwrap())),
        (Action::Rename, Some(Value::Object(members))) if !pointer.is_empty() => {
            let value = members.remove(&key).unwrap();
            members.insert(format!("{key}x"), value);
        }
        (Action::Repeat, Some(Value::Array(items))) if !pointer.is_empty() => {
            items.push(items[key.parse::<usize>().unwrap()].clone());
        }
        _ => match document.pointer_mut(pointer) {
            Some(Value::Object(members)) => drop(members.insert("zz".to_owned(), json!(1))),
            Some(Value::Array(items)) => items.push(json!("zz")),
            Some(other) => *other = Value::Object(Map::new()),
            None => {}
        },
    }
    document
}

fn collect(value: &Value, pointer: String, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                collect(value, crate::problem::pointer_to(&pointer, key), into);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, format!("{pointer}/{index}"), into);
            }
        }
        _ => {}
    }
    into.push(pointer);
}
