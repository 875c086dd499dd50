//! The directories that a run's grants name, opened once before its first step: a missing one is said before anything ran, and a step
//! that touches no file opens none.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::Dir;
use wasmtime_wasi::filesystem::FsPerms;

use crate::folder_id::FolderId;
use crate::journal::Meta;
use crate::policy::{Access, Grant, Preopen};
use crate::regular;
use crate::sandbox::SandboxError;
use crate::sandbox::ground::{self, Ground};
use crate::sandbox::interfaces::Directory;
use crate::sandbox::own_files::{Guard, OwnFiles};

/// Opened directories by their path on the host, and what is kept off in them. A replay has none. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Directories {
    opened: BTreeMap<PathBuf, Arc<Dir>>,
    guard: Guard,
}

impl Directories {
    /// Opens what `grants` name; `workspace` is what `{workspace}` means in them.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] for the first that cannot be opened, or may not be.
    pub fn open<'g>(
        grants: impl IntoIterator<Item = &'g Grant> + Clone,
        workspace: &Path,
    ) -> Result<Self, SandboxError> {
        let ground = Ground::of(grants.clone(), workspace, true);
        let ground = ground.map_err(|source| SandboxError::Directory { path: workspace.to_owned(), source })?;
        let preopens = grants.into_iter().flat_map(|grant| &grant.filesystem);
        Self::open_on(&ground, OwnFiles::default(), preopens, &|_| None)
    }

    /// The same on a ground that is known, with another directory where `place` names one for a path. What is the host's own is kept off.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`]; what is named is the path as the grants say it.
    pub(crate) fn open_on<'g>(
        ground: &Ground<'_>,
        own: OwnFiles,
        preopens: impl Iterator<Item = &'g Preopen>,
        place: &dyn Fn(&Path) -> Option<PathBuf>,
    ) -> Result<Self, SandboxError> {
        let mut opened = BTreeMap::new();
        let mut roots = BTreeSet::new();
        for preopen in preopens {
            let path = preopen.resolve_host(ground.workspace());
            let Entry::Vacant(vacant) = opened.entry(path) else { continue };
            let failed = |source: std::io::Error| SandboxError::Directory { path: vacant.key().clone(), source };
            let folder = match place(vacant.key()) {
                // Of the host's own making.
                Some(place) => regular::open_folder(&place).map_err(failed)?,
                None => {
                    let folder = ground.open(vacant.key())?.folder;
                    ground::check(&own, vacant.key(), &folder)?;
                    folder
                }
            };
            roots.insert(Meta::of(&folder).map_err(|error| failed(error.into()))?.inode);
            vacant.insert(Arc::new(Dir::from_std_file(folder)));
        }
        Ok(Self { opened, guard: Guard::new(own, roots) })
    }

    /// Which folders they are, by their path on the host.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(crate) fn ids(&self) -> std::io::Result<BTreeMap<PathBuf, FolderId>> {
        let id = |handle: &Dir| FolderId::of(&handle.try_clone()?.into_std_file());
        self.opened.iter().map(|(path, handle)| Ok((path.clone(), id(handle)?))).collect()
    }

    /// What is kept off in them.
    pub(super) fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Which directory was opened, as device and inode; `None` where none was.
    pub(crate) fn identity(&self, preopen: &Preopen, workspace: &Path) -> Option<(u64, u64)> {
        use cap_std::fs::MetadataExt as _;

        let found = self.opened.get(&preopen.resolve_host(workspace))?.dir_metadata().ok()?;
        Some((found.dev(), found.ino()))
    }

    /// The directories of one grant, by where a guest sees them.
    pub(crate) fn handles(&self, grant: &Grant, workspace: &Path) -> Vec<(String, Arc<Dir>)> {
        let handle = |preopen: &crate::policy::Preopen| {
            Some((preopen.guest.clone(), Arc::clone(self.opened.get(&preopen.resolve_host(workspace))?)))
        };
        grant.filesystem.iter().filter_map(handle).collect()
    }

    /// What one grant gives a guest.
    pub(super) fn of(&self, grant: &Grant, workspace: &Path) -> Vec<Directory> {
        let directory = |preopen: &Preopen| {
            let handle = Arc::clone(self.opened.get(&preopen.resolve_host(workspace))?);
            let perms = match preopen.access {
                Access::ReadOnly => FsPerms::ReadOnly,
                Access::ReadWrite => FsPerms::ReadWrite,
            };
            Some(Directory { guest: preopen.guest.clone(), handle, perms })
        };
        grant.filesystem.iter().filter_map(directory).collect()
    }
}
