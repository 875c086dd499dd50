//! Goes along an absolute path, one entry after the other, and tells what it meets. Each entry is opened below the folder before it and none is
//! followed by the system, so that whoever asks sees every link and every folder that the path depends on.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::io::{Errno, Result};

use crate::journal::{Inode, Kind, Meta};
use crate::limits;

/// How a folder on the way is opened: never through a link, and on Linux without the right to read it.
#[cfg(target_os = "linux")]
pub(super) const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
pub(super) const WALK: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What an entry of a folder is.
pub(super) enum Step {
    /// A folder, opened.
    Folder(OwnedFd, Inode),
    /// A symbolic link, and what it says.
    Link(Inode, OsString),
    /// Anything else.
    Leaf(Meta),
}

/// Opens an entry where it is a folder, and reads it where it is a link.
pub(super) fn step(folder: BorrowedFd<'_>, name: &OsStr) -> Result<Step> {
    match openat(folder, name, WALK, Mode::empty()) {
        Ok(opened) => {
            let inode = Meta::of(&opened)?.inode;
            Ok(Step::Folder(opened, inode))
        }
        Err(Errno::NOTDIR | Errno::LOOP) => {
            let meta = Meta::at(folder, name)?.ok_or(Errno::NOENT)?;
            match meta.kind {
                Kind::Link => {
                    let target = readlinkat(folder, name, Vec::new())?;
                    Ok(Step::Link(meta.inode, OsString::from_vec(target.into_bytes())))
                }
                // Somebody put it there meanwhile.
                Kind::Folder => Err(Errno::AGAIN),
                Kind::File | Kind::Special => Ok(Step::Leaf(meta)),
            }
        }
        Err(error) => Err(error),
    }
}

/// The names of a path, the last first; `.` and empty ones are left out.
pub(super) fn names(path: &OsStr) -> impl Iterator<Item = OsString> {
    let parts: Vec<OsString> = path
        .as_encoded_bytes()
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(|part| OsString::from_vec(part.to_vec()))
        .collect();
    parts.into_iter().rev()
}

/// What a path depends on.
pub(super) enum Met<'a> {
    /// A folder on the way.
    Folder(Inode),
    /// A link that is followed, and its real path.
    Link(Inode, &'a dyn Fn() -> PathBuf),
}

/// Where a path leads.
#[derive(Debug)]
pub(super) struct End {
    /// The folder that has the entry.
    pub(super) folder: Inode,
    /// The entry: the last one of the path, or the first on the way that is not there.
    pub(super) name: OsString,
    /// Its real path.
    pub(super) at: PathBuf,
    /// What is there.
    pub(super) inode: Option<Inode>,
    /// The folder, where it is one.
    pub(super) opened: Option<OwnedFd>,
    /// Why nothing is there.
    pub(super) error: Option<Errno>,
}

/// Goes along an absolute path. `met` is told of each folder and link on the way, not of the end, and may end it.
pub(super) fn go<E: From<Errno>>(
    path: &Path,
    met: &mut dyn FnMut(Met<'_>) -> std::result::Result<(), E>,
) -> std::result::Result<End, E> {
    let root = openat(CWD, "/", WALK, Mode::empty())?;
    let inode = Meta::of(&root)?.inode;
    let mut way = vec![(root, inode, OsString::from("/"))];
    let mut todo: Vec<OsString> = names(path.as_os_str()).collect();
    let mut links = 0;
    while let Some(name) = todo.pop() {
        let Some((folder, inode, _)) = way.last() else { break };
        if name == ".." {
            if way.len() > 1 {
                way.pop();
            }
            continue;
        }
        met(Met::Folder(*inode))?;
        let here = || way.iter().map(|(_, _, name)| name).collect::<PathBuf>().join(&name);
        let end = |inode, error| End {
            folder: way.last().map_or((0, 0), |top| top.1),
            name: name.clone(),
            at: here(),
            inode,
            opened: None,
            error,
        };
        match step(folder.as_fd(), &name) {
            Ok(Step::Folder(opened, inode)) => way.push((opened, inode, name)),
            Ok(Step::Link(inode, target)) => {
                met(Met::Link(inode, &here))?;
                links += 1;
                if links > limits::LINKS_FOLLOWED_MAX {
                    return Ok(end(None, Some(Errno::LOOP)));
                }
                if target.as_encoded_bytes().starts_with(b"/") {
                    way.truncate(1);
                }
                todo.extend(names(&target));
            }
            Ok(Step::Leaf(meta)) if todo.is_empty() => return Ok(end(Some(meta.inode), None)),
            Ok(Step::Leaf(_)) => return Ok(end(None, Some(Errno::NOTDIR))),
            Err(error) => return Ok(end(None, Some(error))),
        }
    }
    let at = way.iter().map(|(_, _, name)| name).collect();
    let (opened, inode, name) = way.pop().ok_or(Errno::NOENT)?;
    let folder = way.last().map_or(inode, |top| top.1);
    Ok(End { folder, name, at, inode: Some(inode), opened: Some(opened), error: None })
}
