//! The directories that a run's grants name, opened once before its first step: a missing one is said before anything ran, and a step
//! that touches no file opens none.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use wasmtime_wasi::filesystem::FsPerms;

use crate::policy::{Access, Grant, Preopen};
use crate::sandbox::SandboxError;
use crate::sandbox::interfaces::Directory;

/// Opened directories by their path on the host. A replay has none. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Directories(BTreeMap<PathBuf, Arc<Dir>>);

impl Directories {
    /// Opens what `grants` name; `workspace` is what `{workspace}` means in them.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Directory`] for the first that cannot be opened.
    pub fn open<'g>(grants: impl IntoIterator<Item = &'g Grant>, workspace: &Path) -> Result<Self, SandboxError> {
        Self::open_at(grants.into_iter().flat_map(|grant| &grant.filesystem), workspace, &|_| None)
    }

    /// The same, with another directory where `place` names one for a path.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`]; what is named is the path as the grants say it.
    pub(crate) fn open_at<'g>(
        preopens: impl Iterator<Item = &'g Preopen>,
        workspace: &Path,
        place: &dyn Fn(&Path) -> Option<PathBuf>,
    ) -> Result<Self, SandboxError> {
        let mut opened = BTreeMap::new();
        for preopen in preopens {
            let path = preopen.resolve_host(workspace);
            if let Entry::Vacant(vacant) = opened.entry(path) {
                let path = place(vacant.key()).unwrap_or_else(|| vacant.key().clone());
                let handle = Dir::open_ambient_dir(path, ambient_authority());
                let handle = handle.map_err(|source| SandboxError::Directory { path: vacant.key().clone(), source })?;
                vacant.insert(Arc::new(handle));
            }
        }
        Ok(Self(opened))
    }

    /// Which directory was opened, as device and inode; `None` where none was.
    pub(crate) fn identity(&self, preopen: &Preopen, workspace: &Path) -> Option<(u64, u64)> {
        use cap_std::fs::MetadataExt as _;

        let found = self.0.get(&preopen.resolve_host(workspace))?.dir_metadata().ok()?;
        Some((found.dev(), found.ino()))
    }

    /// The directories of one grant, by where a guest sees them.
    pub(crate) fn handles(&self, grant: &Grant, workspace: &Path) -> Vec<(String, Arc<Dir>)> {
        let handle = |preopen: &crate::policy::Preopen| {
            Some((preopen.guest.clone(), Arc::clone(self.0.get(&preopen.resolve_host(workspace))?)))
        };
        grant.filesystem.iter().filter_map(handle).collect()
    }

    /// What one grant gives a guest.
    pub(super) fn of(&self, grant: &Grant, workspace: &Path) -> Vec<Directory> {
        let directory = |preopen: &Preopen| {
            let handle = Arc::clone(self.0.get(&preopen.resolve_host(workspace))?);
            let perms = match preopen.access {
                Access::ReadOnly => FsPerms::ReadOnly,
                Access::ReadWrite => FsPerms::ReadWrite,
            };
            Some(Directory { guest: preopen.guest.clone(), handle, perms })
        };
        grant.filesystem.iter().filter_map(directory).collect()
    }
}
