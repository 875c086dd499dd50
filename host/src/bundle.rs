//! Bundles: folders with skills, plans and a policy that are one thing with one id.
//!
//! Owns what `bundle.toml` says and whether the folder is still what it was. Never writes into a bundle, and never runs guest code.

pub mod compare;
mod create;
pub mod error;
pub mod export;
mod manifest;
pub mod snapshot;
pub mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::document;
use crate::id::{Digest, SkillName, SnapshotId};
use crate::problem::Position;
use crate::skills::pins::Pins;
use crate::skills::{SkillBytes, builtin};
pub use compare::Difference;
pub use create::create;
pub use error::BundleError;
pub use export::{Claims, Export, Kind, Operation, Route, Target};
pub use snapshot::Snapshot;
pub use verify::{Verified, verify};

/// The file that makes a folder a bundle.
pub const MANIFEST: &str = "bundle.toml";
/// The schema name of the manifests that this version reads.
pub const SCHEMA: &str = "skillhost.bundle/1";
/// Where a bundle's components are.
const SKILLS: &str = "skills";

/// A bundle as it was when it was opened. All paths begin with its root.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The folder.
    pub root: PathBuf,
    /// The id of all that is in it.
    pub id: SnapshotId,
    /// `name`.
    pub name: String,
    /// `version`.
    pub version: String,
    /// `description`.
    pub description: Option<String>,
    /// The component files, by the name of their skill.
    pub skills: BTreeMap<SkillName, PathBuf>,
    /// What it offers, by kind and name.
    pub exports: BTreeMap<(Kind, String), Export>,
    /// The file of its policy. It applies only where the bundle is named by whoever runs it.
    pub policy: Option<PathBuf>,
    /// What `execute` calls where a request names nothing.
    pub handler: Option<String>,
    /// The components that it may have, where it says so: each by its digest.
    pub requires: Option<BTreeMap<SkillName, Digest>>,
    /// What was found in the folder.
    pub snapshot: Snapshot,
    /// Where in the manifest each export stands.
    places: BTreeMap<(Kind, String), (String, Position)>,
}

impl Bundle {
    /// Opens the bundle in the folder `root`: reads all of it for its id, and what `bundle.toml` says. Loads no component.
    ///
    /// # Errors
    ///
    /// [`BundleError`]: each has a code and a hint.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, BundleError> {
        let root = root.into();
        let file = root.join(MANIFEST);
        if !file.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(BundleError::NotFound { root });
        }
        let snapshot = Snapshot::take(&root)?;
        let bytes = document::read_limited(&file);
        let bytes = bytes.map_err(|problem| BundleError::Manifest { problems: vec![problem] })?;
        if snapshot.entries.get(MANIFEST).is_none_or(|entry| entry.digest != Digest::of(&bytes)) {
            return Err(BundleError::Unsteady { root });
        }
        manifest::read(root, snapshot, &bytes)
    }

    /// Where the bundle is: what was said on the command line, else in the environment, else the current folder.
    #[must_use]
    pub fn root_from(flag: Option<&Path>, env: Option<&str>, cwd: &Path) -> PathBuf {
        let said = flag.map(Path::to_owned).or_else(|| env.filter(|path| !path.is_empty()).map(PathBuf::from));
        said.map_or_else(|| cwd.to_owned(), |path| cwd.join(path))
    }

    /// The bundle's skills as a host takes them.
    pub fn skill_bytes(&self) -> impl Iterator<Item = (SkillName, SkillBytes)> {
        // Under a built-in name there is a copy of that skill or nothing.
        let bytes = |name: &SkillName, path: &PathBuf| {
            builtin::find(name.as_str()).unwrap_or_else(|| SkillBytes::File(path.clone()))
        };
        self.skills.iter().map(move |(name, path)| (name.clone(), bytes(name, path)))
    }

    /// The export of that kind and name.
    #[must_use]
    pub fn export(&self, kind: Kind, name: &str) -> Option<&Export> {
        self.exports.get(&(kind, name.to_owned()))
    }

    /// The exports of a kind, sorted by name.
    pub fn exports_of(&self, kind: Kind) -> impl Iterator<Item = &Export> {
        self.exports.values().filter(move |export| export.kind == kind)
    }

    /// The components beside which no other one runs, where the bundle says what these are.
    pub(crate) fn pins(&self) -> Option<Pins<'_>> {
        self.requires.as_ref().map(|skills| Pins { bundle: &self.name, skills })
    }

    /// Refuses a bundle that is not what it was when it was opened. Where the file system says the same of every file none is read.
    ///
    /// # Errors
    ///
    /// [`BundleError::Changed`], or why it cannot be read any more.
    pub fn check_unchanged(&self) -> Result<(), BundleError> {
        let gone = |error: BundleError| {
            let is_there = self.root.join(MANIFEST).symlink_metadata().is_ok();
            match error {
                _ if !is_there => BundleError::NotFound { root: self.root.clone() },
                // It was there a moment ago.
                BundleError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                    BundleError::Unsteady { root: self.root.clone() }
                }
                error => error,
            }
        };
        if self.snapshot.is_untouched(&self.root).map_err(gone)? {
            return Ok(());
        }
        let now = Snapshot::take(&self.root).map_err(gone)?.id;
        if now == self.id {
            return Ok(());
        }
        Err(BundleError::Changed { root: self.root.clone(), was: self.id, now })
    }
}

#[cfg(test)]
mod tests;
