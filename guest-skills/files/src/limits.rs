//! Every bound of this skill, with its reason.

/// Bytes that `read-text` and `read-bytes` return. The value is held several times at once on its way to the caller (guest memory,
/// host value, JSON), so this keeps a read well inside the default memory limit of a step.
pub(crate) const MAX_READ_BYTES: u64 = 16 * 1024 * 1024;

/// Entries that `list` and `find` return: a result is meant to be read by a planner, not to mirror a disk.
pub(crate) const MAX_RESULTS: usize = 10_000;

/// Entries that `find` and a recursive `remove` visit. The walk keeps its pending folders in memory.
pub(crate) const MAX_VISITED: usize = 100_000;

/// Folders below each other that a walk enters. Deeper trees are a mistake or an attack.
pub(crate) const MAX_DEPTH: usize = 64;

/// Bytes of a glob pattern. Matching takes time in proportion to pattern and path.
pub(crate) const MAX_PATTERN_BYTES: usize = 1024;

/// Files that `concat` joins.
pub(crate) const MAX_SOURCES: usize = 1000;

/// Bytes moved at once by the tools that stream.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;
