//! JSON Patch (RFC 6902).

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::bindings::{Error, ErrorCode};
use crate::document::{read, write};
use crate::error::fail;
use crate::limits::{MAX_DEPTH, MAX_OPERATIONS, MAX_VALUES};

/// The document after all operations of the patch.
pub(crate) fn patch(text: &str, patch: &str) -> Result<String, Error> {
    let mut document = read("text", text)?;
    let patch: Patch = serde_json::from_value(read("patch", patch)?).map_err(|error| {
        let message =
            format!("patch is not a JSON Patch: {error}; give an array of objects with op, path and what it needs");
        fail(ErrorCode::InvalidPatch, message)
    })?;
    if patch.len() > MAX_OPERATIONS {
        let message = format!("the patch has more than {MAX_OPERATIONS} operations: apply it in several steps");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    // One by one, since `copy` can double the document each time; on failure the half-patched value is dropped.
    for (index, operation) in patch.iter().enumerate() {
        json_patch::patch(&mut document, std::slice::from_ref(operation)).map_err(|error| Error {
            code: ErrorCode::PatchFailed,
            message: format!("operation {index} of the patch failed: {}", error.kind),
            pointer: Some(operation.path().to_string()),
        })?;
        if matches!(operation, PatchOperation::Copy(_) | PatchOperation::Move(_) | PatchOperation::Add(_)) {
            check_shape(&document)?;
        }
    }
    write(&document)
}

/// Refuses a document that has grown beyond the limits. The walk keeps its own stack: every operation can nest it deeper.
fn check_shape(document: &Value) -> Result<(), Error> {
    let mut values = 0;
    let mut pending = vec![(document, 0)];
    while let Some((value, depth)) = pending.pop() {
        values += 1;
        if values > MAX_VALUES || depth > MAX_DEPTH {
            let message =
                format!("the patched document has more than {MAX_VALUES} values or {MAX_DEPTH} levels: patch less");
            return Err(fail(ErrorCode::TooLarge, message));
        }
        match value {
            Value::Array(items) => pending.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(members) => pending.extend(members.values().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applies_all_operations() {
        let text = r#"{"a":[1,2],"b":{"c":3}}"#;
        let operations = r#"[{"op":"test","path":"/a/0","value":1},{"op":"add","path":"/a/-","value":"x"},
            {"op":"remove","path":"/a/0"},{"op":"move","from":"/b/c","path":"/d"},{"op":"copy","from":"/d","path":"/e~1f"},
            {"op":"replace","path":"/b","value":null}]"#;
        assert_eq!(patch(text, operations).unwrap(), r#"{"a":[2,"x"],"b":null,"d":3,"e/f":3}"#);
        assert_eq!(patch("1", "[]").unwrap(), "1");
    }

    #[test]
    fn names_the_operation_and_path_that_failed() {
        let error =
            patch("{\"a\":1}", r#"[{"op":"test","path":"/a","value":1},{"op":"remove","path":"/x/y"}]"#).unwrap_err();
        assert_eq!((error.code, error.pointer.as_deref()), (ErrorCode::PatchFailed, Some("/x/y")));
        assert!(error.message.starts_with("operation 1 "), "{}", error.message);
        let error = patch("{\"a\":1}", r#"[{"op":"test","path":"/a","value":2}]"#).unwrap_err();
        assert_eq!(error.code, ErrorCode::PatchFailed);
        for path in ["/9", "/-", "/01", "/x", "/18446744073709551616"] {
            let error = patch("[1]", &format!(r#"[{{"op":"replace","path":"{path}","value":0}}]"#)).unwrap_err();
            assert_eq!(error.code, ErrorCode::PatchFailed, "{path}");
        }
    }

    #[test]
    fn refuses_what_is_no_patch() {
        for text in [
            "{}",
            "[1]",
            r#"[{"op":"jump","path":"/a"}]"#,
            r#"[{"op":"remove","path":"a"}]"#,
            r#"[{"op":"add","path":"/a"}]"#,
        ] {
            assert_eq!(patch("{}", text).unwrap_err().code, ErrorCode::InvalidPatch, "{text}");
        }
    }

    #[test]
    fn growth_is_bounded() {
        let double = r#"{"op":"copy","from":"","path":"/a"}"#;
        let text = format!("[{}]", vec![double; 500].join(","));
        assert_eq!(patch("{}", &text).unwrap_err().code, ErrorCode::TooLarge);
        let wide = r#"{"op":"copy","from":"/0","path":"/0/-"}"#;
        let text = format!("[{}]", vec![wide; 60].join(","));
        assert_eq!(patch("[[1]]", &text).unwrap_err().code, ErrorCode::TooLarge);
    }
}
