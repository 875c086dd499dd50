//! The files inside of the host's own folders, for files of a workspace that have several names: a hard link to one of ours is ours.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{Dir, FileType};

use crate::journal::{Inode, Meta};
use crate::limits;
use crate::regular;

/// What the names of files contain that a journal holds: they are those of a workspace, where they may have other names.
const HELD: &[u8] = b".pre-";
/// The folders with the copies that a rehearsal works in.
const COPIES: &[u8] = b"scratch";

/// Files by device and inode.
#[derive(Debug)]
pub(super) struct Linked {
    /// Sorted.
    files: Vec<Inode>,
    /// Whether all were looked at.
    is_whole: bool,
}

impl Linked {
    /// Looks at everything below `folders`.
    pub(super) fn look(folders: &[PathBuf]) -> Self {
        Self::look_at(folders, limits::OWN_FILES_MAX)
    }

    pub(super) fn look_at(folders: &[PathBuf], most: usize) -> Self {
        let mut linked = Self { files: Vec::new(), is_whole: true };
        let mut waiting = folders.to_vec();
        while let Some(path) = waiting.pop() {
            // One that this process cannot read has no files that its guests could.
            let Ok(folder) = regular::open_folder(&path) else { continue };
            let (Ok(meta), Ok(entries)) = (Meta::of(&folder), Dir::read_from(&folder)) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." || name == COPIES || name.windows(HELD.len()).any(|part| part == HELD)
                {
                    continue;
                }
                if linked.files.len() + waiting.len() >= most {
                    linked.is_whole = false;
                    return linked;
                }
                match entry.file_type() {
                    FileType::Directory => waiting.push(path.join(OsStr::from_bytes(name))),
                    FileType::Symlink => {}
                    _ => linked.files.push((meta.inode.0, entry.ino())),
                }
            }
        }
        linked.files.sort_unstable();
        linked
    }

    /// Whether a file is one of them; where not all of them were looked at it may be.
    pub(super) fn has(&self, inode: Inode) -> bool {
        !self.is_whole || self.files.binary_search(&inode).is_ok()
    }
}
