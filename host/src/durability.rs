//! How much is done so that what was recorded survives.

/// What survives a power failure. A killed process loses nothing either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Everything that a step means is on the disk before the next begins.
    #[default]
    Full,
    /// A state as it was some time before: what is recorded is with the operating system.
    Buffered,
}

impl Durability {
    /// As the command line writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Buffered => "buffered",
        }
    }
}
