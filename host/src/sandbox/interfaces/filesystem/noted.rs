//! What the undo journal is told before a filesystem function changes something, and after it.
//!
//! Decides nothing: a call that WASI refuses is refused as without a journal. What cannot be saved is refused before it is changed, by the
//! error that saving it has met; where the journal itself cannot be written, the call ends the step instead of making the change.

use std::ffi::OsStr;
use std::fs::File;
use std::sync::Arc;

use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types::{self as fs, HostDescriptor as _};
use wasmtime_wasi::p2::{FsError, FsResult};

use super::Fd;
use super::kept_off::{Acts, Touch};
use crate::journal::{At, Change, JournalError, Look, Meta, Ticket};
use crate::limits::LimitKind;
use crate::sandbox::ctx::Live;
use crate::sandbox::stop::{JournalFailed, LimitHit};

/// What was noted for a call, `None` where nothing is.
type Noted = Option<Ticket>;

fn failed(error: JournalError) -> FsError {
    match error {
        JournalError::Full { allowed, .. } => FsError::trap(LimitHit::new(LimitKind::Journal, allowed)),
        // What cannot be saved is not changed, and whoever wanted to is told so: it is no more than a file that it may not change.
        JournalError::Unsaved { source, .. } => source.into(),
        error => FsError::trap(JournalFailed(error)),
    }
}

fn at<'a>(folder: &'a File, path: &'a str) -> At<'a> {
    At { folder, path: OsStr::new(path) }
}

// Functions, because a variant's constructor is not one for every lifetime.

fn making(at: At<'_>) -> Change<'_> {
    Change::Make(at)
}

pub(super) fn unlinking(at: At<'_>) -> Change<'_> {
    Change::Unlink(at)
}

pub(super) fn removing_folder(at: At<'_>) -> Change<'_> {
    Change::RemoveFolder(at)
}

impl Live {
    pub(super) async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.keep_off(&fd, &path, false, Touch::Use)?;
        let noted = self.before_at(&fd, &path, making).await?;
        let done = match self.acts(&fd, &path, false, Touch::Use) {
            Ok(acts) => {
                let done = self.filesystem().create_directory_at(acts.fd(), acts.path()).await;
                self.acted(&acts, done)
            }
            Err(refused) => Err(refused),
        };
        self.after(noted, done)
    }

    pub(super) async fn symlink_at(&mut self, fd: Fd, old_path: String, new_path: String) -> FsResult<()> {
        self.keep_off(&fd, &new_path, false, Touch::Use)?;
        let noted = self.before_at(&fd, &new_path, making).await?;
        let done = match self.acts(&fd, &new_path, false, Touch::Use) {
            Ok(acts) => {
                let done = self.filesystem().symlink_at(acts.fd(), old_path, acts.path()).await;
                self.acted(&acts, done)
            }
            Err(refused) => Err(refused),
        };
        self.after(noted, done)
    }

    pub(super) async fn link_at(
        &mut self,
        fd: Fd,
        old_path_flags: fs::PathFlags,
        old_path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        self.keep_off(&fd, &old_path, false, Touch::Use)?;
        self.keep_off(&new_fd, &new_path, false, Touch::Use)?;
        self.look(&fd, &old_path, false, Look::Stat).await;
        let noted = self.before_at(&new_fd, &new_path, making).await?;
        let done = match self.both_act((&fd, &old_path), (&new_fd, &new_path), Touch::Use) {
            Ok((old, new)) => {
                let mut wasi = self.filesystem();
                let done = wasi.link_at(old.fd(), old_path_flags, old.path(), new.fd(), new.path()).await;
                let done = self.acted(&new, done);
                self.acted(&old, done)
            }
            Err(refused) => Err(refused),
        };
        self.after(noted, done)
    }

    pub(super) async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        self.keep_off(&fd, &path, false, Touch::Use)?;
        self.look(&fd, &path, false, Look::Stat).await;
        let acts = self.acts(&fd, &path, false, Touch::Use)?;
        let done = self.filesystem().readlink_at(acts.fd(), acts.path()).await;
        self.acted(&acts, done)
    }

    /// Notes that a guest looks at a path.
    pub(super) async fn look(&mut self, fd: &Fd, path: &str, follow: bool, look: Look) {
        let Some(undo) = self.undo.clone() else { return };
        let Ok(Descriptor::Dir(folder)) = self.table.get(fd) else { return };
        let folder = Arc::clone(&folder.dir);
        let follow = follow || path.ends_with('/');
        undo.look(|journal| journal.look(at(&folder, path), follow, look)).await;
    }

    /// Notes that a guest looks at something open.
    pub(super) async fn look_at(&mut self, fd: &Fd) {
        let Some(undo) = self.undo.clone() else { return };
        let handle = match self.table.get(fd) {
            Ok(Descriptor::File(file)) => Arc::clone(&file.file),
            Ok(Descriptor::Dir(folder)) => Arc::clone(&folder.dir),
            Err(_) => return,
        };
        undo.look(|journal| journal.look_at(&handle)).await;
    }

    /// Notes that a guest reads the entries of a directory.
    pub(super) async fn look_into(&mut self, fd: &Fd) {
        let Some(undo) = self.undo.clone() else { return };
        let Ok(Descriptor::Dir(folder)) = self.table.get(fd) else { return };
        let folder = Arc::clone(&folder.dir);
        undo.look(|journal| journal.list(&folder)).await;
    }

    /// Opens with a note of the file's content where it may be written to.
    pub(super) async fn open_noted(
        &mut self,
        fd: Fd,
        path_flags: fs::PathFlags,
        path: String,
        open_flags: fs::OpenFlags,
        flags: fs::DescriptorFlags,
    ) -> FsResult<Fd> {
        let create = open_flags.contains(fs::OpenFlags::CREATE);
        let writes =
            create || open_flags.contains(fs::OpenFlags::TRUNCATE) || flags.contains(fs::DescriptorFlags::WRITE);
        let follow = path_flags.contains(fs::PathFlags::SYMLINK_FOLLOW);
        let exclusive = create && open_flags.contains(fs::OpenFlags::EXCLUSIVE);
        match open_flags.contains(fs::OpenFlags::TRUNCATE) {
            // What was there does not matter.
            true if create && !exclusive => self.look(&fd, &path, follow, Look::Way).await,
            true => self.look(&fd, &path, follow, Look::Stat).await,
            false => self.look(&fd, &path, follow && !exclusive, Look::Content).await,
        }
        let mut noted = None;
        if writes {
            noted = self.before_at(&fd, &path, |at| Change::Open { at, follow, create, exclusive }).await?;
        }
        let opened = match self.acts(&fd, &path, follow && !exclusive, Touch::Use) {
            Ok(acts) => {
                let at = (acts.flags(path_flags), acts.path());
                let opened = self.filesystem().open_at(acts.fd(), at.0, at.1, open_flags, flags).await;
                self.acted_open(&acts, opened).and_then(|opened| self.keep_off_opened(opened))
            }
            Err(refused) => Err(refused),
        };
        let Some((undo, ticket)) = self.undo.as_ref().zip(noted) else { return opened };
        let made = match opened.as_ref().map(|opened| self.table.get(opened)) {
            Ok(Ok(Descriptor::File(file))) => Some(&*file.file),
            _ => None,
        };
        undo.with(|journal| journal.after(ticket, opened.is_ok(), made)).map_err(failed)?;
        opened
    }

    /// Notes a change at a path below an open directory that may be written to.
    pub(super) async fn before_at(
        &mut self,
        fd: &Fd,
        path: &str,
        change: impl FnOnce(At<'_>) -> Change<'_>,
    ) -> FsResult<Noted> {
        let Some(undo) = self.undo.clone() else { return Ok(None) };
        let Some(folder) = self.changeable(fd) else { return Ok(None) };
        let change = change(at(&folder, path));
        undo.before(change).await.map(Some).map_err(failed)
    }

    pub(super) async fn before_rename(
        &mut self,
        fd: &Fd,
        old_path: &str,
        new_fd: &Fd,
        new_path: &str,
    ) -> FsResult<Noted> {
        let Some(undo) = self.undo.clone() else { return Ok(None) };
        let (Some(from), Some(to)) = (self.changeable(fd), self.changeable(new_fd)) else { return Ok(None) };
        let change = Change::Rename { from: at(&from, old_path), to: at(&to, new_path) };
        undo.before(change).await.map(Some).map_err(failed)
    }

    pub(super) async fn before_set_times(&mut self, fd: &Fd) -> FsResult<Noted> {
        let Some(undo) = self.undo.clone() else { return Ok(None) };
        let handle = match self.table.get(fd) {
            Ok(Descriptor::File(file)) if !file.perms.write_not_permitted() => Arc::clone(&file.file),
            Ok(Descriptor::Dir(folder)) if !folder.perms.write_not_permitted() => Arc::clone(&folder.dir),
            _ => return Ok(None),
        };
        undo.before(Change::SetTimes(&handle)).await.map(Some).map_err(failed)
    }

    pub(super) async fn before_set_times_at(&mut self, fd: &Fd, flags: fs::PathFlags, path: &str) -> FsResult<Noted> {
        let follow = flags.contains(fs::PathFlags::SYMLINK_FOLLOW);
        self.before_at(fd, path, |at| Change::SetTimesAt { at, follow }).await
    }

    /// Where a call acts that has two paths.
    pub(super) fn both_act(
        &mut self,
        (fd, path): (&Fd, &str),
        (new_fd, new_path): (&Fd, &str),
        touch: Touch,
    ) -> FsResult<(Acts, Acts)> {
        let old = self.acts(fd, path, false, touch)?;
        match self.acts(new_fd, new_path, false, touch) {
            Ok(new) => Ok((old, new)),
            Err(refused) => self.acted(&old, Err(refused)),
        }
    }

    /// The end of a call that was noted.
    pub(super) fn after<T>(&self, noted: Noted, done: FsResult<T>) -> FsResult<T> {
        let Some((undo, ticket)) = self.undo.as_ref().zip(noted) else { return done };
        undo.with(|journal| journal.after(ticket, done.is_ok(), None)).map_err(failed)?;
        done
    }

    /// An open directory in which the guest may change something.
    fn changeable(&self, fd: &Fd) -> Option<Arc<File>> {
        match self.table.get(fd) {
            Ok(Descriptor::Dir(folder)) if !folder.perms.write_not_permitted() => Some(Arc::clone(&folder.dir)),
            _ => None,
        }
    }

    /// How many of an open file's names are the journal's.
    pub(super) fn held_links(&self, fd: &Fd) -> u64 {
        let Some(undo) = &self.undo else { return 0 };
        undo.with(|journal| {
            if !journal.holds() {
                return 0;
            }
            let Ok(Descriptor::File(file)) = self.table.get(fd) else { return 0 };
            Meta::of(&*file.file).map_or(0, |meta| journal.held(meta.inode))
        })
    }

    /// The same for a file at a path.
    pub(super) fn held_links_at(&self, fd: &Fd, flags: fs::PathFlags, path: &str) -> u64 {
        let Some(undo) = &self.undo else { return 0 };
        undo.with(|journal| {
            if !journal.holds() {
                return 0;
            }
            let Ok(Descriptor::Dir(folder)) = self.table.get(fd) else { return 0 };
            let follow = flags.contains(fs::PathFlags::SYMLINK_FOLLOW);
            journal.meta(at(&folder.dir, path), follow).map_or(0, |meta| journal.held(meta.inode))
        })
    }
}

#[cfg(test)]
mod tests;
