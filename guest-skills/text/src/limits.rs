//! Every bound of this skill, with its reason.

/// Bytes of a text argument. The value is held several times at once (caller's JSON, host value, guest memory, result), so this keeps a
/// call inside the default memory limit of a step.
pub(crate) const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of a result, for tools that can make much out of little.
pub(crate) const MAX_OUTPUT_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of a pattern.
pub(crate) const MAX_PATTERN_BYTES: usize = 64 * 1024;

/// Bytes of a compiled pattern: `x{1000}{1000}` is eleven characters that would become gigabytes.
pub(crate) const MAX_COMPILED_BYTES: usize = 4 * 1024 * 1024;

/// Nested groups and repetitions in a pattern; compiling one level takes one call frame.
pub(crate) const MAX_PATTERN_DEPTH: u32 = 100;

/// Matches that `search` returns where the caller gives no limit.
pub(crate) const DEFAULT_MATCHES: u32 = 1000;

/// Matches that `search` returns at most.
pub(crate) const MAX_MATCHES: u32 = 10_000;

/// Parts that `split` returns.
pub(crate) const MAX_PARTS: usize = 100_000;

/// Bytes of a template.
pub(crate) const MAX_TEMPLATE_BYTES: usize = 1024 * 1024;

/// Instructions of the template engine: a loop within a loop ends here, long before the step's own fuel does.
pub(crate) const MAX_TEMPLATE_STEPS: u64 = 5_000_000;

/// Words and signs in one tag of a template. Each may be a level of the expression, which the engine walks recursively.
pub(crate) const MAX_TAG_OPERATORS: usize = 1000;

/// Branches (`elif`) in a template. The engine nests each in the one before.
pub(crate) const MAX_BRANCHES: usize = 1000;

/// Nested calls of macros in a template; one takes several call frames.
pub(crate) const MAX_TEMPLATE_DEPTH: usize = 100;

/// Lines of each text that `diff` compares. The time grows with lines times differences.
pub(crate) const MAX_DIFF_LINES: usize = 50_000;

/// Lines of context that `diff` shows.
pub(crate) const MAX_DIFF_CONTEXT: u32 = 1000;
