//! Every bound of this skill, with its reason. Nesting is bounded to 128 levels by the parser itself.

/// Bytes of a document. As values it takes several times as much, which must stay inside the default memory limit of a step.
pub(crate) const MAX_TEXT_BYTES: usize = 8 * 1024 * 1024;

/// Levels that a document nests where the parser at work has no bound of its own; the same as serde_json's.
pub(crate) const MAX_DEPTH: usize = 128;

/// Spaces a level.
pub(crate) const MAX_INDENT: u8 = 16;

/// Bytes of a filter.
pub(crate) const MAX_FILTER_BYTES: usize = 16 * 1024;

/// Brackets, operators and words in a filter that may open a level. The filter's parser recurses, so this bounds the call stack.
pub(crate) const MAX_FILTER_LEVELS: usize = 200;

/// Results of a query: `repeat(1)` has no end.
pub(crate) const MAX_RESULTS: usize = 10_000;

/// Bytes of all results of a query or of a patched or merged document.
pub(crate) const MAX_OUTPUT_BYTES: usize = 16 * 1024 * 1024;

/// Documents that `merge` takes.
pub(crate) const MAX_DOCUMENTS: usize = 1000;

/// Operations of a patch. A `copy` can double the document, so its shape is checked after each one.
pub(crate) const MAX_OPERATIONS: usize = 1000;

/// Values in a patched document: a few bytes of text may stand for many of them.
pub(crate) const MAX_VALUES: usize = 500_000;

/// Problems that `validate` reports.
pub(crate) const MAX_PROBLEMS: usize = 100;

/// Characters of a problem's message: messages quote the document.
pub(crate) const MAX_MESSAGE_CHARS: usize = 500;

/// Bytes of a compiled pattern in a schema.
pub(crate) const MAX_PATTERN_BYTES: usize = 1024 * 1024;
