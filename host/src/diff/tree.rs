//! Two listings of a tree compared. What a listing does not say, whether a file's content is the same, is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::limits;

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Symlink {
        /// What it holds.
        target: PathBuf,
    },
    /// Anything else: a socket, a device.
    Special,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::File => "file",
            Self::Symlink { .. } => "symlink",
            Self::Special => "special file",
        }
    }

    /// Whether its mode means anything: that of a symbolic link does not.
    #[must_use]
    pub const fn has_mode(&self) -> bool {
        !matches!(self, Self::Symlink { .. })
    }
}

/// What a listing says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its permission bits.
    pub mode: u32,
}

/// Everything below a folder, by the path relative to it.
pub type Tree = BTreeMap<PathBuf, Node>;

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Created,
    /// Its content is another one, or what a symbolic link holds.
    Modified,
    /// It is gone.
    Removed,
    /// It is something else now: a folder where a file was.
    Replaced,
    /// Only its permissions are others.
    Mode,
}

impl What {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Modified => "modified",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
            Self::Mode => "mode",
        }
    }
}

/// One path that is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeChange {
    /// The path, relative to the folder.
    pub path: PathBuf,
    /// What happened to it.
    pub what: What,
    /// What it was.
    pub before: Option<Node>,
    /// What it is.
    pub after: Option<Node>,
}

/// What is different between two trees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeDiff {
    /// By path: at the most [`limits::DIFF_CHANGES_MAX`].
    pub changes: Vec<TreeChange>,
    /// How many more there are.
    pub more: u64,
}

impl TreeDiff {
    /// Compares two trees. `is_same` says of a file that is in both whether its content is.
    ///
    /// # Errors
    ///
    /// The first of `is_same`.
    pub fn between<E>(
        before: &Tree,
        after: &Tree,
        mut is_same: impl FnMut(&Path) -> Result<bool, E>,
    ) -> Result<Self, E> {
        let mut diff = Self::default();
        let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
        for path in paths {
            let (was, is) = (before.get(path), after.get(path));
            let what = match (was, is) {
                (None, None) => continue,
                (None, Some(_)) => What::Created,
                (Some(_), None) => What::Removed,
                (Some(was), Some(is)) => match (&was.kind, &is.kind) {
                    (Kind::File, Kind::File) if !is_same(path)? => What::Modified,
                    (Kind::Symlink { target: a }, Kind::Symlink { target: b }) if a != b => What::Modified,
                    (a, b) if std::mem::discriminant(a) != std::mem::discriminant(b) => What::Replaced,
                    (kind, _) if kind.has_mode() && was.mode != is.mode => What::Mode,
                    _ => continue,
                },
            };
            if diff.changes.len() < limits::DIFF_CHANGES_MAX {
                let (before, after) = (was.cloned(), is.cloned());
                diff.changes.push(TreeChange { path: path.clone(), what, before, after });
            } else {
                diff.more += 1;
            }
        }
        Ok(diff)
    }
}
