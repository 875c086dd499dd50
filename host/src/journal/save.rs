//! Saves the content of a file before it changes or goes: in the record, as a copy, or by holding the file itself under another name.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags, linkat, openat, unlinkat};
use rustix::io::Errno;

use super::place::{Inode, Kind, Meta, Spot, folder_below};
use super::record::Pre;
use super::restore::pieces;
use super::{Durability, Journal, JournalError, before::unsaved};
use crate::durability::sync_together;
use crate::limits;

impl Journal {
    /// Another name of a file below a root, where it has one: found by looking at all of them.
    ///
    /// # Errors
    ///
    /// What the operating system says, but that a directory may not be entered or read.
    pub(super) fn other_name(&self, root: &File, inode: Inode) -> io::Result<Option<PathBuf>> {
        let mut folders = vec![PathBuf::new()];
        while let Some(path) = folders.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let open = || openat(folder_below(root, &path)?, ".", flags, Mode::empty());
            let folder = match open().or_else(|_| open()) {
                Err(Errno::ACCESS | Errno::NOENT | Errno::NOTDIR) => continue,
                folder => folder?,
            };
            for entry in rustix::fs::Dir::read_from(&folder)? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                let meta = match Meta::at(&folder, name).or_else(|_| Meta::at(&folder, name)) {
                    Err(Errno::ACCESS) => continue,
                    meta => meta?,
                };
                let Some(meta) = meta else { continue };
                if meta.inode == inode {
                    return Ok(Some(path.join(name)));
                }
                if meta.kind == Kind::Folder && name != "." && name != ".." {
                    folders.push(path.join(name));
                }
            }
        }
        Ok(None)
    }

    /// Saves a file. `goes` says that its name goes away, so that it may be held instead of copied. A small file's content is added to
    /// `bytes`, which are those of the record.
    pub(super) fn save(
        &mut self,
        spot: &Spot,
        meta: &Meta,
        goes: bool,
        bytes: &mut Vec<u8>,
    ) -> Result<Pre, JournalError> {
        let guest = self.roots.guest(&spot.at);
        let failed = |source| unsaved(guest.clone(), source);
        if goes && self.is_better_held(spot, meta) {
            match self.hold(spot, meta) {
                Ok(pre) => return Ok(pre),
                Err(error) if meta.kind != Kind::File => return Err(failed(error)),
                // On another file system, or not ours to link.
                Err(error) if may_not_be_held(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let name = spot.name.as_deref().unwrap_or_default();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = openat(&spot.folder, name, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let mut source = File::from(source);
        if meta.len <= limits::JOURNAL_INLINE_BYTES_MAX {
            self.count(meta.len)?;
            let offset = bytes.len() as u64;
            let read = source.by_ref().take(meta.len).read_to_end(bytes).map_err(failed)?;
            if read as u64 != meta.len {
                return Err(failed(io::Error::other("it changed while it was saved")));
            }
            return Ok(Pre::Inline { offset });
        }
        self.copy(&source, meta, &failed)
    }

    fn copy(
        &mut self,
        source: &File,
        meta: &Meta,
        failed: &dyn Fn(io::Error) -> JournalError,
    ) -> Result<Pre, JournalError> {
        let n = self.next_pre;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&*self.handle, self.pre_name(n), flags, Mode::RUSR | Mode::WUSR);
        let copy = File::from(made.map_err(|error| self.failed("written", error.into()))?);
        self.next_pre += 1;
        if !shares_blocks(&copy, source) {
            let copied = self.pieces(source, &copy, meta.len);
            if let Err(error) = copied.map_err(failed).and_then(|bytes| self.count(bytes)) {
                drop(self.discard(n));
                return Err(error);
            }
        }
        if self.durability == Durability::Full {
            let folder = self.handle.try_clone();
            let synced = folder.and_then(|folder| sync_together(&[copy, folder]));
            synced.map_err(|error| self.failed("synced", error))?;
            self.place()?;
        }
        Ok(Pre::Copy { n })
    }

    /// Copies what is not all zeros, up to a piece beyond what there is room for. Gives the bytes.
    fn pieces(&mut self, source: &File, copy: &File, len: u64) -> io::Result<u64> {
        let room = self.bounds.bytes.saturating_sub(self.copied);
        let mut bytes = 0_u64;
        // Holes stay holes.
        copy.set_len(len)?;
        pieces(source, 0, len, |at, piece| {
            #[cfg(test)]
            Fault::hit(&mut self.fault)?;
            if bytes <= room {
                copy.write_all_at(piece, at)?;
            }
            bytes = bytes.saturating_add(piece.len() as u64);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Counts bytes of copies against the bound.
    fn count(&mut self, bytes: u64) -> Result<(), JournalError> {
        let sum = self.copied.saturating_add(bytes);
        if sum > self.bounds.bytes {
            return Err(JournalError::Full { what: "bytes", allowed: self.bounds.bytes });
        }
        self.copied = sum;
        Ok(())
    }

    /// Whether a copy would lose something of a file, or cost much.
    fn is_better_held(&self, spot: &Spot, meta: &Meta) -> bool {
        let journals = Meta::of(&*self.handle).map(|folder| folder.owner);
        meta.links > 1
            || meta.len > limits::JOURNAL_HELD_BYTES_MIN
            || meta.kind != Kind::File
            || journals.is_ok_and(|owner| owner != meta.owner)
            || has_attributes(spot)
    }

    fn hold(&mut self, spot: &Spot, meta: &Meta) -> io::Result<Pre> {
        let n = self.next_pre;
        let name = spot.name.as_deref().unwrap_or_default();
        let link = || linkat(&spot.folder, name, &*self.handle, self.pre_name(n), AtFlags::empty());
        link().or_else(|_| link())?;
        self.next_pre += 1;
        if self.durability == Durability::Full {
            self.handle.sync_all()?;
            self.place().map_err(io::Error::other)?;
        }
        Ok(Pre::Held { n, inode: meta.inode })
    }

    /// Removes a pre-image if it is there.
    pub(super) fn discard(&self, n: u32) -> io::Result<()> {
        match unlinkat(&*self.handle, self.pre_name(n), AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the system says that a file can have no name in the journal's folder, now or later.
fn may_not_be_held(error: &io::Error) -> bool {
    let never = [Errno::XDEV, Errno::PERM, Errno::ACCESS, Errno::MLINK, Errno::OPNOTSUPP, Errno::NOSYS];
    error.raw_os_error().is_some_and(|number| never.iter().any(|never| never.raw_os_error() == number))
}

/// Makes `copy` a copy of `source` without copying, where the file system can.
#[cfg(target_os = "linux")]
fn shares_blocks(copy: &File, source: &File) -> bool {
    rustix::fs::ioctl_ficlone(copy, source).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn shares_blocks(_copy: &File, _source: &File) -> bool {
    false
}

/// Whether a file has extended attributes, access lists among them.
fn has_attributes(spot: &Spot) -> bool {
    let name = spot.name.as_deref().unwrap_or_default();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(&spot.folder, name, flags, Mode::empty()) else { return true };
    let mut names = [0; 1];
    !matches!(rustix::fs::flistxattr(&file, &mut names), Ok(0) | Err(rustix::io::Errno::NOTSUP))
}

/// A failure that a test has ordered.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Fault {
    /// How many writes of the journal succeed first.
    pub(super) after: usize,
}

#[cfg(test)]
impl Fault {
    pub(super) fn hit(fault: &mut Option<Self>) -> io::Result<()> {
        match fault {
            Some(Self { after: 0 }) => Err(io::ErrorKind::StorageFull.into()),
            Some(Self { after }) => {
                *after -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
