//! Why a folder cannot be used as a bundle.

use std::path::PathBuf;

use crate::bundle::MANIFEST;
use crate::id::SnapshotId;
use crate::problem::{Problem, shown};

/// Why a bundle cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// There is no `bundle.toml`.
    #[error("there is no `{MANIFEST}` in `{}`", root.display())]
    NotFound {
        /// The folder.
        root: PathBuf,
    },
    /// Something of it cannot be read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// A name that is not UTF-8 would not be the same on every machine.
    #[error("the name of `{}` is not UTF-8", shown(&path.display().to_string()))]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// Neither file, folder nor link.
    #[error("`{}` is neither a file nor a folder", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A link that leads out of the bundle, or to what does not count for its id.
    #[error("the link `{}` leads out of the bundle, to `{}`", path.display(), shown(&target.display().to_string()))]
    LeavesBundle {
        /// The link.
        path: PathBuf,
        /// Its text.
        target: PathBuf,
    },
    /// More than a bundle may have.
    #[error("the bundle `{}` has more than {max} {what}", root.display())]
    TooLarge {
        /// The folder.
        root: PathBuf,
        /// Of what.
        what: &'static str,
        /// How many it may have.
        max: u64,
    },
    /// Somebody wrote into it while it was read.
    #[error("the bundle `{}` changed while it was read", root.display())]
    Unsteady {
        /// The folder.
        root: PathBuf,
    },
    /// It is not what it was when it was opened.
    #[error("the bundle `{}` has changed: its id was {was} and is {now}", root.display())]
    Changed {
        /// The folder.
        root: PathBuf,
        /// The id when it was opened.
        was: SnapshotId,
        /// The id now.
        now: SnapshotId,
    },
    /// `bundle.toml` has mistakes.
    #[error("`{MANIFEST}` is wrong: {}", summary(problems))]
    Manifest {
        /// All that were found.
        problems: Vec<Problem>,
    },
}

fn summary(problems: &[Problem]) -> String {
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    match problems.len().saturating_sub(1) {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}

impl BundleError {
    /// Stable kebab-case name of the kind.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "bundle-not-found",
            Self::Io { .. } => "bundle-unreadable",
            Self::NotUtf8 { .. } => "bundle-path-not-utf8",
            Self::NotAFile { .. } => "bundle-special-file",
            Self::LeavesBundle { .. } => "bundle-link-leaves",
            Self::TooLarge { .. } => "bundle-too-large",
            Self::Unsteady { .. } | Self::Changed { .. } => "bundle-changed",
            Self::Manifest { .. } => "bundle-manifest",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotFound { .. } => {
                "name the bundle's folder with `--bundle DIR` or HOST_BUNDLE_ROOT; `host bundle new DIR` makes one"
            }
            Self::Io { .. } => "check that it is there, its owner and its mode",
            Self::NotUtf8 { .. } => "rename it",
            Self::NotAFile { .. } => "remove it: a bundle has files, folders and links alone",
            Self::LeavesBundle { .. } => "copy what it means into the bundle",
            Self::TooLarge { .. } => "keep data and sources out of the bundle",
            Self::Unsteady { .. } => "try again when nothing writes into it",
            Self::Changed { .. } => "open it again: a bundle is not changed while it is used",
            Self::Manifest { problems } => {
                return problems
                    .iter()
                    .find_map(|problem| problem.hint.clone())
                    .unwrap_or_else(|| "see `docs/bundle-format.md`".to_owned());
            }
        }
        .to_owned()
    }

    /// As problems of a report.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Manifest { problems } => problems.clone(),
            Self::Io { source, .. } => {
                vec![Problem::new(self.code(), "", format!("{self}: {source}")).with_hint(self.hint())]
            }
            _ => vec![Problem::new(self.code(), "", self.to_string()).with_hint(self.hint())],
        }
    }
}
