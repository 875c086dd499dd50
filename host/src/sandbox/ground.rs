//! How granted folders are opened: so that nobody who may write one of them moves the ground under another one.
//!
//! A path is followed entry by entry. From the first folder on into which guests may write, a symbolic link on it is refused: a guest may
//! have made it. Links before that are the policy's author's affair.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::journal::{Inode, Meta};
use crate::policy::{Access, Grant};
use crate::regular;
use crate::sandbox::SandboxError;
use crate::sandbox::own_files::OwnFiles;
use crate::sandbox::walk::{self, Met};

/// What folders are opened by.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    workspace: &'a Path,
    /// The real path that the workspace has where nobody named it: no link is followed there.
    unnamed: Option<PathBuf>,
    /// The folders into which guests may write.
    written: BTreeSet<Inode>,
}

/// Why a folder is not opened.
#[derive(Debug)]
enum Refused {
    System(Errno),
    Link(PathBuf),
    Workspace(PathBuf),
}

impl From<Errno> for Refused {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

/// A granted folder.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) folder: File,
    /// Its real path.
    pub(crate) at: PathBuf,
}

impl<'a> Ground<'a> {
    /// The ground of a policy that has these grants. `is_named` says whether somebody named the workspace.
    pub(crate) fn of<'g>(
        grants: impl IntoIterator<Item = &'g Grant>,
        workspace: &'a Path,
        is_named: bool,
    ) -> io::Result<Self> {
        let unnamed = if is_named { None } else { Some(std::fs::canonicalize(".")?.join(workspace)) };
        let mut ground = Self { workspace, unnamed, written: BTreeSet::new() };
        // Whatever policy there was before, its guests wrote into the workspace.
        let mut written: BTreeSet<PathBuf> = BTreeSet::from([workspace.to_owned()]);
        let preopens = grants.into_iter().flat_map(|grant| &grant.filesystem);
        written.extend(preopens.filter(|one| one.access == Access::ReadWrite).map(|one| one.resolve_host(workspace)));
        for path in written {
            if let Ok(meta) = regular::open_folder(&path).map_err(|_| Errno::NOENT).and_then(Meta::of) {
                ground.written.insert(meta.inode);
            }
        }
        Ok(ground)
    }

    /// What `{workspace}` means.
    pub(crate) const fn workspace(&self) -> &Path {
        self.workspace
    }

    /// Opens a folder that a grant names.
    pub(crate) fn open(&self, path: &Path) -> Result<Opened, SandboxError> {
        self.enter(path).map_err(|refused| match refused {
            Refused::System(error) => SandboxError::Directory { path: path.to_owned(), source: error.into() },
            Refused::Link(link) => SandboxError::LinkedDirectory { path: path.to_owned(), link },
            Refused::Workspace(link) => SandboxError::LinkedWorkspace { path: link },
        })
    }

    fn enter(&self, path: &Path) -> Result<Opened, Refused> {
        let absolute = std::path::absolute(path).map_err(|_| Errno::NOENT)?;
        let mut is_inside = false;
        let end = walk::go(&absolute, &mut |met| match met {
            Met::Folder(inode) => {
                is_inside |= self.written.contains(&inode);
                Ok(())
            }
            Met::Link(_, at) if self.unnamed.as_ref() == Some(&at()) => Err(Refused::Workspace(at())),
            Met::Link(_, at) if is_inside => Err(Refused::Link(at())),
            Met::Link(..) => Ok(()),
        })?;
        if let Some(error) = end.error {
            return Err(error.into());
        }
        let way = end.opened.ok_or(Errno::NOTDIR)?;
        let folder = openat(&way, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Opened { folder: folder.into(), at: end.at })
    }
}

/// Refuses a granted folder that is the host's own or lies inside of that.
pub(crate) fn check(own: &OwnFiles, path: &Path, opened: &File) -> Result<(), SandboxError> {
    let holder = own.holder(opened);
    match holder.map_err(|error| SandboxError::Directory { path: path.to_owned(), source: error.into() })? {
        Some(what) => Err(SandboxError::OwnDirectory { path: path.to_owned(), what }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
