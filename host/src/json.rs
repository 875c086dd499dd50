//! Strict reading of JSON and YAML text: one value or one problem with its place.

use serde_json::Value;

use crate::problem::Problem;

/// Reads one JSON document. Refused with line and column: a byte order mark, bytes that are not UTF-8, duplicate keys, `NaN` and
/// infinities, numbers out of range, anything after the value, nesting beyond [`crate::limits::DOCUMENT_DEPTH_MAX`], more than
/// [`crate::limits::DOCUMENT_BYTES_MAX`] bytes.
///
/// # Errors
///
/// The first mistake in the text.
pub fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::new("bad-json", "", error.to_string()))
}
