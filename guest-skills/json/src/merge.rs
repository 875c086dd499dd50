//! Deep merging. Documents nest at most as deep as the parser allows, so the recursion is bounded.

use serde_json::Value;

use crate::bindings::{Error, ErrorCode};
use crate::document::{check_size, read, write};
use crate::error::fail;
use crate::limits::{MAX_DOCUMENTS, MAX_TEXT_BYTES};

/// The documents merged from first to last.
pub(crate) fn merge(documents: &[String]) -> Result<String, Error> {
    if documents.len() > MAX_DOCUMENTS {
        let message = format!("there are more than {MAX_DOCUMENTS} documents: merge them in several steps");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    if documents.iter().map(String::len).sum::<usize>() > MAX_TEXT_BYTES {
        let message =
            format!("the documents together have more than {MAX_TEXT_BYTES} bytes: merge them in several steps");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    let mut result: Option<Value> = None;
    for (index, text) in documents.iter().enumerate() {
        let name = format!("documents[{index}]");
        check_size(&name, text)?;
        let value = read(&name, text)?;
        match &mut result {
            Some(result) => merge_into(result, value),
            None => result = Some(value),
        }
    }
    match result {
        Some(value) => write(&value),
        None => Err(fail(ErrorCode::InvalidInput, "there are no documents: give at least one")),
    }
}

fn merge_into(target: &mut Value, source: Value) {
    match (target, source) {
        (Value::Object(target), Value::Object(source)) => {
            for (name, value) in source {
                match target.get_mut(&name) {
                    Some(place) => merge_into(place, value),
                    None => {
                        target.insert(name, value);
                    }
                }
            }
        }
        (target, source) => *target = source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(documents: &[&str]) -> Result<String, Error> {
        merge(&documents.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn later_ones_win_member_by_member() {
        let text = merged(&[r#"{"a":{"x":1,"y":[1,2]},"b":1}"#, r#"{"a":{"y":[3],"z":null}}"#, r#"{"b":{"c":2}}"#]);
        assert_eq!(text.unwrap(), r#"{"a":{"x":1,"y":[3],"z":null},"b":{"c":2}}"#);
        assert_eq!(merged(&["{\"a\":1}", "[]"]).unwrap(), "[]");
    }

    #[test]
    fn names_the_document_that_is_wrong() {
        let error = merged(&["{}", "{"]).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidJson);
        assert!(error.message.starts_with("documents[1] "), "{}", error.message);
        assert_eq!(merged(&[]).unwrap_err().code, ErrorCode::InvalidInput);
    }
}
