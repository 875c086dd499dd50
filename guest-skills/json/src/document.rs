//! Documents: text to value and back.

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::bindings::{Error, ErrorCode};
use crate::error::fail;
use crate::limits::{MAX_INDENT, MAX_OUTPUT_BYTES, MAX_TEXT_BYTES};

/// The value of a JSON text; `name` is the argument's. Of members with the same name the last one counts.
pub(crate) fn read(name: &str, text: &str) -> Result<Value, Error> {
    check_size(name, text)?;
    serde_json::from_str(text)
        .map_err(|error| fail(ErrorCode::InvalidJson, format!("{name} is not JSON: {error}; check the text there")))
}

/// Refuses a text beyond the limit.
pub(crate) fn check_size(name: &str, text: &str) -> Result<(), Error> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("{name} has more than {MAX_TEXT_BYTES} bytes: give it in parts");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    Ok(())
}

/// The compact text of a value.
pub(crate) fn write(value: &Value) -> Result<String, Error> {
    let text = value.to_string();
    if text.len() > MAX_OUTPUT_BYTES {
        return Err(fail(
            ErrorCode::TooLarge,
            format!("the result has more than {MAX_OUTPUT_BYTES} bytes: ask for less"),
        ));
    }
    Ok(text)
}

/// Compact, members sorted by name.
pub(crate) fn normalise(text: &str) -> Result<String, Error> {
    let mut value = read("text", text)?;
    value.sort_all_objects();
    write(&value)
}

/// Over several lines.
pub(crate) fn pretty(text: &str, indent: Option<u8>, sort_keys: bool) -> Result<String, Error> {
    let indent = indent.unwrap_or(2);
    if indent > MAX_INDENT {
        return Err(fail(ErrorCode::InvalidInput, format!("indent is more than {MAX_INDENT}: give a smaller one")));
    }
    let mut value = read("text", text)?;
    if sort_keys {
        value.sort_all_objects();
    }
    let spaces = " ".repeat(usize::from(indent));
    let mut bytes = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(spaces.as_bytes())))
        .map_err(|error| fail(ErrorCode::InvalidJson, format!("the value cannot be written: {error}")))?;
    if bytes.len() > MAX_OUTPUT_BYTES {
        let message = format!("the result has more than {MAX_OUTPUT_BYTES} bytes: give a smaller indent");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    String::from_utf8(bytes).map_err(|_| fail(ErrorCode::InvalidJson, "the value is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_equal_documents() {
        let text = normalise(" {\"b\": [1, 2.50, 1e2], \"a\": {\"d\": null, \"c\": \"\\u00e4\\u0000\"}} ").unwrap();
        assert_eq!(text, r#"{"a":{"c":"ä\u0000","d":null},"b":[1,2.5,100.0]}"#);
        assert_eq!(normalise(&text).unwrap(), text);
        assert_eq!(normalise("18446744073709551615").unwrap(), "18446744073709551615");
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in ["", " ", "{", "[1,]", "{'a':1}", "1 2", "NaN", "\u{feff}1", "\"\\ud800\""] {
            assert_eq!(read("text", text).unwrap_err().code, ErrorCode::InvalidJson, "{text:?}");
        }
        let error = read("patch", "[1,\n x]").unwrap_err();
        assert!(error.message.starts_with("patch is not JSON: expected value at line 2 column 2"), "{}", error.message);
    }

    #[test]
    fn deep_and_large_documents_are_refused() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(normalise(&deep).unwrap_err().code, ErrorCode::InvalidJson);
        assert_eq!(normalise(&"[".repeat(1_000_000)).unwrap_err().code, ErrorCode::InvalidJson);
        assert_eq!(normalise(&" ".repeat(MAX_TEXT_BYTES + 1)).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn pretty_keeps_the_order_unless_asked() {
        assert_eq!(pretty(r#"{"b":1,"a":[]}"#, None, false).unwrap(), "{\n  \"b\": 1,\n  \"a\": []\n}");
        assert_eq!(pretty(r#"{"b":1,"a":2}"#, Some(0), true).unwrap(), "{\n\"a\": 2,\n\"b\": 1\n}");
        assert_eq!(pretty("1", Some(17), true).unwrap_err().code, ErrorCode::InvalidInput);
    }
}
