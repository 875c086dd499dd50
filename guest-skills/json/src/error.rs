//! How this skill's errors are made.

use crate::bindings::{Error, ErrorCode};
use crate::limits::MAX_MESSAGE_CHARS;

/// An error that has no place in a document.
pub(crate) fn fail(code: ErrorCode, message: impl Into<String>) -> Error {
    Error { code, message: message.into(), pointer: None }
}

/// A message that quotes a document, cut to its bound.
pub(crate) fn shorten(message: String) -> String {
    if message.chars().nth(MAX_MESSAGE_CHARS).is_none() {
        return message;
    }
    message.chars().take(MAX_MESSAGE_CHARS).chain(['…']).collect()
}
