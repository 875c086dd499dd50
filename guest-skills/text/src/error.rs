//! How this skill's errors are made.

use crate::bindings::{Error, ErrorCode};
use crate::limits::MAX_TEXT_BYTES;

/// An error that has no line.
pub(crate) fn fail(code: ErrorCode, message: impl Into<String>) -> Error {
    Error { code, message: message.into(), line: None }
}

/// Refuses a text argument beyond the limit; `name` is the argument's.
pub(crate) fn check_size(name: &str, text: &str) -> Result<(), Error> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("{name} has more than {MAX_TEXT_BYTES} bytes: give it in parts");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    Ok(())
}

/// A count as the interface has it; beyond its range, the largest value.
pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
