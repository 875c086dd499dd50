//! Copies a tree.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, SeekFrom, Timespec, Timestamps, ioctl_ficlone, seek, utimensat};
use rustix::io::Errno;

use super::{Bounds, Links, ScratchError, failed};
use crate::regular;
use crate::sandbox::OwnFiles;

/// Bytes that are copied before it is asked whether that is still wanted.
const PART_BYTES: u64 = 16 << 20;

/// Copies trees.
pub(super) struct Copier<'a> {
    /// The folder of copies, which is never copied: device and inode.
    copies: (u64, u64),
    shown: &'a Path,
    left: &'a mut Bounds,
    bounds: Bounds,
    own: &'a OwnFiles,
    goes_on: &'a dyn Fn() -> bool,
    /// What would be in the copy and was left out.
    left_out: Vec<PathBuf>,
    links: Links,
    notices: Vec<String>,
    /// Folders whose mode and times are set when everything is in them, outer ones first.
    folders: Vec<(PathBuf, Metadata)>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        copies: &Path,
        shown: &'a Path,
        (left, bounds): (&'a mut Bounds, Bounds),
        (own, goes_on): (&'a OwnFiles, &'a dyn Fn() -> bool),
    ) -> Result<Self, ScratchError> {
        let meta = fs::metadata(copies).map_err(failed("read", copies))?;
        let copies = (meta.dev(), meta.ino());
        Ok(Self {
            copies,
            shown,
            left,
            bounds,
            own,
            goes_on,
            left_out: Vec::new(),
            links: Links::new(),
            notices: Vec::new(),
            folders: Vec::new(),
        })
    }

    /// What has to be said of the copy, and what was left out of it.
    pub(super) fn told(self) -> (Vec<String>, Vec<PathBuf>) {
        (self.notices, self.left_out)
    }

    /// Copies the folder `from` to `to`, which must not exist.
    pub(super) fn tree(&mut self, from: &Path, to: &Path) -> Result<(), ScratchError> {
        let meta = fs::metadata(from).map_err(failed("read", from))?;
        let mut waiting = vec![(from.to_owned(), to.to_owned(), meta)];
        while let Some((from, to, meta)) = waiting.pop() {
            // For its owner alone until everything is in it.
            DirBuilder::new().mode(0o700).create(&to).map_err(failed("create", &to))?;
            // Also what is not there yet: a copy of it would be as little the copy's.
            self.left_out.extend(self.own.names_in((meta.dev(), meta.ino())).map(|name| to.join(name)));
            self.folders.push((to.clone(), meta));
            let entries = match fs::read_dir(&from) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    self.unreadable("folder", &from);
                    continue;
                }
                Err(error) => return Err(failed("read", &from)(error)),
            };
            for entry in entries {
                let entry = entry.map_err(failed("read", &from))?;
                let (from, to) = (entry.path(), to.join(entry.file_name()));
                let meta = match fs::symlink_metadata(&from) {
                    Ok(meta) => meta,
                    // Somebody removed it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(failed("read", &from)(error)),
                };
                if (meta.dev(), meta.ino()) == self.copies {
                    continue;
                }
                if self.own.is_own((meta.dev(), meta.ino()), meta.is_file(), meta.nlink()) {
                    self.left_out.push(to);
                    continue;
                }
                self.count()?;
                if meta.is_dir() {
                    waiting.push((from, to, meta));
                } else {
                    self.leaf(&from, &to, &meta)?;
                }
            }
        }
        for (folder, meta) in std::mem::take(&mut self.folders).into_iter().rev() {
            let mode = Permissions::from_mode(meta.mode() & 0o7777);
            fs::set_permissions(&folder, mode).map_err(failed("copy", &folder))?;
            times(&folder, &meta).map_err(failed("copy", &folder))?;
        }
        Ok(())
    }

    /// Copies anything but a folder.
    fn leaf(&mut self, from: &Path, to: &Path, meta: &Metadata) -> Result<(), ScratchError> {
        let identity = (meta.dev(), meta.ino());
        if meta.nlink() > 1 {
            if let Some(first) = self.links.get(&identity) {
                return fs::hard_link(first, to).map_err(failed("copy", from));
            }
            self.links.insert(identity, to.to_owned());
        }
        if meta.is_symlink() {
            let target = fs::read_link(from).map_err(failed("read", from))?;
            symlink(target, to).map_err(failed("copy", from))?;
        } else if meta.is_file() {
            self.file(from, to, meta)?;
            let mode = Permissions::from_mode(meta.mode() & 0o7777);
            fs::set_permissions(to, mode).map_err(failed("copy", from))?;
        } else {
            self.links.remove(&identity);
            self.notices.push(format!("`{}` is no file or folder, so it is not in the copy", from.display()));
            return Ok(());
        }
        times(to, meta).map_err(failed("copy", from))
    }

    fn file(&mut self, from: &Path, to: &Path, meta: &Metadata) -> Result<(), ScratchError> {
        let made = regular::create_new(to).map_err(failed("create", to))?;
        // Not through a link that somebody put there meanwhile, and not waiting for a pipe.
        let original = match regular::open(from) {
            Ok(original) => original,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.unreadable("file", from);
                return Ok(());
            }
            Err(error) => return Err(failed("read", from)(error)),
        };
        let is_same = original.metadata().is_ok_and(|opened| opened.is_file() && opened.ino() == meta.ino());
        if !is_same {
            return Err(failed("copy", from)(io::Error::other("it was replaced meanwhile")));
        }
        if ioctl_ficlone(&made, &original).is_ok() {
            return Ok(());
        }
        let mut at = 0;
        while at < meta.len() {
            let data = match seek(&original, SeekFrom::Data(at)) {
                Ok(data) => data,
                // Nothing but a hole up to the end.
                Err(Errno::NXIO) => break,
                // A file system without holes.
                Err(_) => at,
            };
            let hole = seek(&original, SeekFrom::Hole(data)).unwrap_or(meta.len()).min(meta.len());
            self.range(&original, &made, data..hole, from)?;
            at = hole.max(data + 1);
        }
        made.set_len(meta.len()).map_err(failed("copy", from))
    }

    fn range(&mut self, from: &File, to: &File, bytes: std::ops::Range<u64>, path: &Path) -> Result<(), ScratchError> {
        let mut at = bytes.start;
        while at < bytes.end {
            self.ask()?;
            let part = (bytes.end - at).min(PART_BYTES);
            let Some(left) = self.left.bytes.checked_sub(part) else {
                return Err(self.too_large(self.bounds.bytes, "bytes"));
            };
            self.left.bytes = left;
            seek(from, SeekFrom::Start(at)).map_err(|error| failed("copy", path)(error.into()))?;
            seek(to, SeekFrom::Start(at)).map_err(|error| failed("copy", path)(error.into()))?;
            let copied = io::copy(&mut from.take(part), &mut { to }).map_err(failed("copy", path))?;
            if copied == 0 {
                // Somebody shortened it meanwhile.
                return Ok(());
            }
            at += copied;
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), ScratchError> {
        self.ask()?;
        let left = self.left.entries.checked_sub(1);
        self.left.entries = left.ok_or_else(|| self.too_large(self.bounds.entries, "files, folders and links"))?;
        Ok(())
    }

    fn ask(&self) -> Result<(), ScratchError> {
        if (self.goes_on)() { Ok(()) } else { Err(ScratchError::Cancelled) }
    }

    fn too_large(&self, amount: u64, what: &'static str) -> ScratchError {
        ScratchError::TooLarge { path: self.shown.to_owned(), amount, what }
    }

    fn unreadable(&mut self, kind: &str, path: &Path) {
        self.notices.push(format!("the {kind} `{}` cannot be read, so its copy is empty", path.display()));
    }
}

/// Gives `path` itself, not what it links to, the times of `meta`.
fn times(path: &Path, meta: &Metadata) -> io::Result<()> {
    let time = |seconds: i64, nanoseconds: i64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(meta.atime(), meta.atime_nsec()),
        last_modification: time(meta.mtime(), meta.mtime_nsec()),
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
