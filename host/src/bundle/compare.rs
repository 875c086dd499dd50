//! What is different between two bundles: the paths of their files. Pure.

use crate::bundle::snapshot::{Entry, Snapshot};

/// What is different from one snapshot to another, each path once, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// What only the second has.
    pub added: Vec<String>,
    /// What only the first has.
    pub removed: Vec<String>,
    /// What both have, not the same.
    pub changed: Vec<Changed>,
}

/// A path that both have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The path.
    pub path: String,
    /// What it was.
    pub from: Entry,
    /// What it is.
    pub to: Entry,
}

impl Difference {
    /// From `from` to `to`.
    #[must_use]
    pub fn between(from: &Snapshot, to: &Snapshot) -> Self {
        let only_in = |one: &Snapshot, other: &Snapshot| {
            let paths = one.entries.keys().filter(|path| !other.entries.contains_key(*path));
            paths.cloned().collect::<Vec<_>>()
        };
        let both = from.entries.iter().filter_map(|(path, entry)| {
            let now = to.entries.get(path).filter(|now| *now != entry)?;
            Some(Changed { path: path.clone(), from: *entry, to: *now })
        });
        Self { added: only_in(to, from), removed: only_in(from, to), changed: both.collect() }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}
