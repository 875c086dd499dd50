//! The undo journal.

/// How much a run does so that it survives a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Everything that a step means is on the disk before the next begins.
    #[default]
    Full,
    /// Everything is with the operating system: a killed process loses nothing, a power failure may.
    Buffered,
}
