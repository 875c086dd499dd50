//! Keeps the cache small: what was not used for longest goes first. Removes files that have the form of its own alone.

use std::ffi::OsString;
use std::io;

use rustix::fs::{AtFlags, unlinkat};

use super::entry::ENDING;
use crate::clock;
use crate::limits;
use crate::owned::OwnedFolder;

/// A file that is not finished after so many seconds is left over from a process that was killed.
const UNFINISHED_S: u64 = 60 * 60;

/// What the cache may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes: u64,
    pub(super) entries: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: limits::CODE_CACHE_BYTES_MAX, entries: limits::CODE_CACHE_ENTRIES_MAX }
    }
}

/// Removes the oldest entries until the others are within bounds. `keep` is the one that was just written.
pub(super) fn prune(folder: &OwnedFolder, keep: &str, bounds: Bounds) -> io::Result<()> {
    let now = clock::since_epoch().as_secs();
    let mut entries: Vec<(u64, OsString, u64)> = Vec::new();
    let (mut bytes, mut count) = (0_u64, 0_usize);
    for (name, stat) in folder.entries(limits::CODE_CACHE_LISTED_MAX)? {
        let text = name.to_string_lossy();
        let modified = u64::try_from(stat.st_mtime).unwrap_or_default();
        if text.starts_with('.') && text.ends_with(".tmp") {
            if now.saturating_sub(modified) > UNFINISHED_S {
                remove(folder, &name)?;
            }
            continue;
        }
        if !text.ends_with(ENDING) {
            continue;
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        bytes = bytes.saturating_add(size);
        count += 1;
        if text != keep {
            entries.push((modified, name, size));
        }
    }
    entries.sort();
    for (_, name, size) in entries {
        if bytes <= bounds.bytes && count <= bounds.entries {
            break;
        }
        remove(folder, &name)?;
        bytes = bytes.saturating_sub(size);
        count -= 1;
    }
    Ok(())
}

/// What another process has removed is gone as well.
fn remove(folder: &OwnedFolder, name: &OsString) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        // A folder with the name of an entry is nobody's to remove.
        Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
