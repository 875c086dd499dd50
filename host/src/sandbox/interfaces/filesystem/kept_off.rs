//! Keeps guests off the host's own files: before a call acts its path is looked at, and what it has opened once more. To a guest they are what
//! it has no right to: `access`.
//!
//! Where none of them lies below a granted folder, this is one look at what is opened. Where some do, a call acts on the entry that was
//! looked at, below a folder that is open, so that nobody can put another thing under the path meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, Dir};
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::filesystem::types as fs;

use super::Fd;
use crate::journal::Meta;
use crate::sandbox::ctx::Live;
use crate::sandbox::own_files::Meets;

/// What a call does with what its path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    /// It looks at it, opens it, or makes it.
    Use,
    /// It takes the name away or gives it to another thing.
    Move,
}

impl Touch {
    fn allows(self, meets: Meets) -> FsResult<()> {
        match (self, meets) {
            (_, Meets::Nothing) | (Self::Use, Meets::Way) => Ok(()),
            (_, Meets::Own) | (Self::Move, Meets::Way) => Err(fs::ErrorCode::Access.into()),
        }
    }
}

/// Where a call acts.
#[derive(Debug)]
pub(super) struct Acts {
    fd: u32,
    /// Whether the handle was made for this call.
    is_ours: bool,
    path: String,
    /// Whether the path was followed to its end.
    is_followed: bool,
}

impl Acts {
    /// The directory.
    pub(super) fn fd(&self) -> Fd {
        Resource::new_borrow(self.fd)
    }

    /// The path from it.
    pub(super) fn path(&self) -> String {
        self.path.clone()
    }

    /// The flags of the call: what was followed is not followed again.
    pub(super) fn flags(&self, flags: fs::PathFlags) -> fs::PathFlags {
        if self.is_followed { fs::PathFlags::empty() } else { flags }
    }
}

impl Live {
    /// Refuses a path that leads to something of the host's own. Gives what is there, where that is known.
    pub(super) fn keep_off(&self, fd: &Fd, path: &str, follow: bool, touch: Touch) -> FsResult<Option<Meta>> {
        if self.guard.is_off() {
            return Ok(None);
        }
        let Some(folder) = self.folder(fd) else { return Ok(None) };
        let (meets, meta) = self.guard.meets(&folder, OsStr::new(path), follow);
        touch.allows(meets)?;
        Ok(meta)
    }

    /// The same right before a call acts. [`Self::acted`] ends it.
    pub(super) fn acts(&mut self, fd: &Fd, path: &str, follow: bool, touch: Touch) -> FsResult<Acts> {
        let as_it_is = Acts { fd: fd.rep(), is_ours: false, path: path.to_owned(), is_followed: false };
        if !self.guard.is_near() {
            return Ok(as_it_is);
        }
        let Ok(Descriptor::Dir(dir)) = self.table.get(fd) else { return Ok(as_it_is) };
        let (folder, perms, mode) = (Arc::clone(&dir.dir), dir.perms, dir.open_mode);
        let (meets, spot) = self.guard.spot(&folder, OsStr::new(path), follow);
        touch.allows(meets)?;
        // Where it leads nowhere, the call itself says why.
        let Some(spot) = spot else { return Ok(as_it_is) };
        let Ok(mut name) = spot.name.into_string() else { return Ok(as_it_is) };
        if path.ends_with('/') {
            name.push('/');
        }
        let ours = self.table.push(Descriptor::Dir(Dir::new(File::from(spot.folder), perms, mode, true)))?;
        Ok(Acts { fd: ours.rep(), is_ours: true, path: name, is_followed: true })
    }

    /// The call has acted.
    pub(super) fn acted<T>(&mut self, acts: &Acts, done: FsResult<T>) -> FsResult<T> {
        if acts.is_ours {
            self.table.delete(Resource::<Descriptor>::new_own(acts.fd))?;
        }
        done
    }

    /// The same for a call that has opened something: its handle is the one that it would have without ours.
    pub(super) fn acted_open(&mut self, acts: &Acts, opened: FsResult<Fd>) -> FsResult<Fd> {
        let opened = match opened {
            Ok(opened) if acts.is_ours => self.table.delete(opened)?,
            other => return self.acted(acts, other),
        };
        self.acted(acts, Ok(()))?;
        Ok(self.table.push(opened)?)
    }

    /// Refuses what was opened and is the host's own: by another name, or because somebody moved it meanwhile.
    pub(super) fn keep_off_opened(&mut self, opened: Fd) -> FsResult<Fd> {
        if self.guard.is_off() {
            return Ok(opened);
        }
        let meets = match self.table.get(&opened)? {
            Descriptor::File(file) => self.guard.meets_open(&file.file),
            Descriptor::Dir(folder) => self.guard.meets_open(&folder.dir),
        };
        match Touch::Use.allows(meets) {
            Ok(()) => Ok(opened),
            Err(error) => {
                self.table.delete(Resource::<Descriptor>::new_own(opened.rep()))?;
                Err(error)
            }
        }
    }

    /// The folder whose names have to be looked at one by one before they are shown.
    pub(super) fn shown_in_part(&self, fd: &Fd) -> Option<Arc<File>> {
        if !self.guard.is_near() {
            return None;
        }
        self.folder(fd).filter(|folder| self.guard.hides_in(folder))
    }

    fn folder(&self, fd: &Fd) -> Option<Arc<File>> {
        match self.table.get(fd) {
            Ok(Descriptor::Dir(folder)) => Some(Arc::clone(&folder.dir)),
            _ => None,
        }
    }
}
