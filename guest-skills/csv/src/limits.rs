//! Every bound of this skill, with its reason.

/// Bytes of a text argument. As a table it takes several times as much (a string of its own for each field), which must stay inside
/// the default memory limit of a step.
pub(crate) const MAX_TEXT_BYTES: usize = 8 * 1024 * 1024;

/// Fields of a table. An empty field takes one byte of text and two dozen as a value.
pub(crate) const MAX_FIELDS: usize = 1_000_000;

/// Columns of a table.
pub(crate) const MAX_COLUMNS: usize = 1000;

/// Groups that `summarise` gives: more are a list, not a summary.
pub(crate) const MAX_GROUPS: usize = 10_000;

/// Bytes of a result: `to-json` repeats the header for each row.
pub(crate) const MAX_OUTPUT_BYTES: usize = 16 * 1024 * 1024;
