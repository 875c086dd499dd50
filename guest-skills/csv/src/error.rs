//! How this skill's errors are made.

use crate::bindings::{Error, ErrorCode};
use crate::limits::MAX_OUTPUT_BYTES;

/// An error that has no line.
pub(crate) fn fail(code: ErrorCode, message: impl Into<String>) -> Error {
    Error { code, message: message.into(), line: None }
}

/// An error at a line of the text.
pub(crate) fn fail_at(code: ErrorCode, line: u64, message: impl Into<String>) -> Error {
    Error { code, message: message.into(), line: Some(line) }
}

/// Refuses a result beyond the limit.
pub(crate) fn check_output(bytes: usize) -> Result<(), Error> {
    if bytes > MAX_OUTPUT_BYTES {
        let message = format!("the result has more than {MAX_OUTPUT_BYTES} bytes: convert the table in parts");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    Ok(())
}
