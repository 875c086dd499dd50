//! Where things really are: a path of a guest, with its links followed and its `..` applied, as a place below a granted directory.
//!
//! Nothing here follows a link on its way by accident: every component is opened by itself below the one before it. It never decides
//! whether a guest may do something; what cannot be resolved is what the call itself refuses.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::{Errno, Result};

use crate::limits;

/// How a directory on the way is opened: never through a link, and on Linux without the right to read it.
#[cfg(target_os = "linux")]
const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const WALK: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A granted directory.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    /// Where the guest sees it.
    pub(crate) guest: String,
    /// Its real path on the host.
    pub(crate) host: PathBuf,
    /// The open directory.
    pub(crate) handle: Arc<File>,
}

/// A place below a root: its number, and the path from it without links and `..`. An empty path is the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) root: u32,
    pub(crate) path: PathBuf,
}

impl Place {
    /// The directory that it is in; `None` for a root.
    pub(crate) fn parent(&self) -> Option<Self> {
        Some(Self { root: self.root, path: self.path.parent()?.to_owned() })
    }
}

/// What the machine tells files apart by.
pub(crate) type Inode = (u64, u64);

/// Seconds and nanoseconds.
pub(crate) type Time = (i64, i64);

/// What a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Folder,
    /// A symbolic link.
    Link,
    /// A pipe, socket or device.
    Special,
}

/// What the machine says of a thing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) kind: Kind,
    pub(crate) inode: Inode,
    pub(crate) links: u64,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) len: u64,
    pub(crate) accessed: Time,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
}

/// The integer types of `stat` differ between machines.
fn number<T, N: TryInto<T>>(number: N) -> T
where
    T: Default,
{
    number.try_into().unwrap_or_default()
}

impl From<Stat> for Meta {
    fn from(stat: Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Folder,
            FileType::Symlink => Kind::Link,
            _ => Kind::Special,
        };
        Self {
            kind,
            inode: (number(stat.st_dev), number(stat.st_ino)),
            links: number(stat.st_nlink),
            mode: number::<u32, _>(stat.st_mode) & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            len: number(stat.st_size),
            accessed: (stat.st_atime, number(stat.st_atime_nsec)),
            modified: (stat.st_mtime, number(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, number(stat.st_ctime_nsec)),
        }
    }
}

impl Meta {
    /// What an open file is.
    pub(crate) fn of(handle: impl AsFd) -> Result<Self> {
        Ok(fstat(handle)?.into())
    }

    /// What is at a name; `None` where nothing is.
    pub(crate) fn at(folder: impl AsFd, name: &OsStr) -> Result<Option<Self>> {
        match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat.into())),
            Err(error) if is_refusal(error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the error says that nothing is at a path, so that the guest's call finds nothing as well. Whatever else it says, such as
/// that the path may not be looked at, does not tell what is there: then nothing may be changed.
fn is_refusal(error: Errno) -> bool {
    [Errno::NOENT, Errno::NOTDIR, Errno::INVAL, Errno::ILSEQ].contains(&error) || error == THROUGH_A_LINK
}

/// What the machine says where a directory on the way is a link.
const THROUGH_A_LINK: Errno = if cfg!(target_os = "linux") { Errno::NOTDIR } else { Errno::LOOP };

/// A resolved path: an entry of a directory, or a directory itself where the path is `.` or leads back.
#[derive(Debug)]
pub(crate) struct Spot {
    /// Where it is.
    pub(crate) at: Place,
    /// The directory that has the entry, or the directory itself.
    pub(crate) folder: OwnedFd,
    /// The entry; `None` for the directory itself.
    pub(crate) name: Option<OsString>,
    /// What is there.
    pub(crate) meta: Option<Meta>,
}

/// The granted directories of a step, as they are resolved against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roots(pub(crate) Vec<Root>);

impl Roots {
    /// The guest path of a place.
    pub(crate) fn guest(&self, place: &Place) -> String {
        let root = usize::try_from(place.root).ok().and_then(|root| self.0.get(root));
        guest_path(root.map_or("/", |root| &root.guest), &place.path)
    }

    /// What `path` names below an open directory; `follow` says whether a link at its end is followed. `None` where it leads nowhere,
    /// which the call itself will say.
    pub(crate) fn resolve(&self, folder: &File, path: &OsStr, follow: bool) -> Result<Option<Spot>> {
        self.resolve_noting(folder, path, follow, &mut Vec::new(), &mut None)
    }

    /// [`Self::resolve`] that also gives the links that were followed, and the place on the way where nothing is.
    pub(super) fn resolve_noting(
        &self,
        folder: &File,
        path: &OsStr,
        follow: bool,
        links: &mut Vec<(Place, PathBuf)>,
        missing: &mut Option<Place>,
    ) -> Result<Option<Spot>> {
        if path.as_encoded_bytes().is_empty() || path.as_encoded_bytes().starts_with(b"/") {
            return Ok(None);
        }
        let Some(base) = self.place_of(folder)? else { return Ok(None) };
        let mut walk = Walk { base: folder, folders: Vec::new(), todo: Vec::new(), links: 0 };
        walk.push(path);
        let mut last = None;
        while let Some(name) = walk.todo.pop() {
            last = None;
            if name == ".." {
                if walk.folders.pop().is_none() {
                    return Ok(None);
                }
                continue;
            }
            let is_last = walk.todo.is_empty();
            if !is_last || follow {
                match walk.follow(&name) {
                    Ok(Some(target)) => {
                        links.push((walk.place(&base, &name), target));
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) if is_refusal(error) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            if is_last {
                last = Some(name);
            } else {
                match openat(walk.top(), &name, WALK, Mode::empty()) {
                    Ok(opened) => walk.folders.push((opened, name)),
                    Err(error) if is_refusal(error) => {
                        *missing = Some(walk.place(&base, &name));
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let mut at = base;
        at.path.extend(walk.folders.iter().map(|(_, name)| name));
        let folder = match walk.folders.pop() {
            Some((folder, _)) => folder,
            None => folder.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?,
        };
        let meta = match &last {
            Some(name) => {
                at.path.push(name);
                Meta::at(&folder, name)?
            }
            None => Some(Meta::of(&folder)?),
        };
        Ok(Some(Spot { at, folder, name: last, meta }))
    }

    /// Where an open file or directory is now. `None` where it has no name any more.
    ///
    /// # Errors
    ///
    /// `EXDEV` where it was moved out of all granted directories.
    pub(crate) fn place_of(&self, handle: &File) -> Result<Option<Place>> {
        // Nearly always it is the one granted directory itself.
        if let [root] = self.0.as_slice() {
            let (of, is) = (rustix::fs::fstat(&root.handle)?, rustix::fs::fstat(handle)?);
            if (of.st_dev, of.st_ino) == (is.st_dev, is.st_ino) && is.st_nlink > 0 {
                return Ok(Some(Place { root: 0, path: PathBuf::new() }));
            }
        }
        let Some(real) = real_path(handle)? else { return Ok(None) };
        let mut found: Option<(Place, usize)> = None;
        for (root, number) in self.0.iter().zip(0..) {
            let Some(host) = real_path(&root.handle)? else { continue };
            // The outermost root: renaming inside of it must not move the ones further in away from their places.
            let depth = host.as_os_str().len();
            if let Ok(path) = real.strip_prefix(&host)
                && found.as_ref().is_none_or(|(_, known)| depth < *known)
            {
                found = Some((Place { root: number, path: path.to_owned() }, depth));
            }
        }
        found.map(|(place, _)| Some(place)).ok_or(Errno::XDEV)
    }
}

/// The path of a place below a root that the guest sees at `root`.
pub(crate) fn guest_path(root: &str, path: &Path) -> String {
    crate::guest_path::join(root, &path.to_string_lossy())
}

/// The way that was gone: the directories below the first one, and what is left of the path, last component first.
struct Walk<'a> {
    base: &'a File,
    folders: Vec<(OwnedFd, OsString)>,
    todo: Vec<OsString>,
    links: usize,
}

impl Walk<'_> {
    fn top(&self) -> std::os::fd::BorrowedFd<'_> {
        self.folders.last().map_or_else(|| self.base.as_fd(), |(folder, _)| folder.as_fd())
    }

    /// The place of an entry of the directory that was reached.
    fn place(&self, base: &Place, name: &OsStr) -> Place {
        let mut place = base.clone();
        place.path.extend(self.folders.iter().map(|(_, name)| name));
        place.path.push(name);
        place
    }

    /// Puts a path before what is left.
    fn push(&mut self, path: &OsStr) {
        let parts: Vec<&[u8]> = path.as_encoded_bytes().split(|byte| *byte == b'/').collect();
        let parts = parts.into_iter().rev().filter(|part| !part.is_empty() && *part != b".");
        self.todo.extend(parts.map(|part| OsString::from_vec(part.to_vec())));
    }

    /// Follows `name` if it is a link, and gives its target.
    fn follow(&mut self, name: &OsStr) -> Result<Option<PathBuf>> {
        let target = match readlinkat(self.top(), name, Vec::new()) {
            Ok(target) => OsString::from_vec(target.into_bytes()),
            // Nothing is there, or no link.
            Err(Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.links += 1;
        if self.links > limits::LINKS_FOLLOWED_MAX || target.as_encoded_bytes().starts_with(b"/") {
            // For a guest it leads nowhere.
            return Err(Errno::NOTDIR);
        }
        self.push(&target);
        Ok(Some(PathBuf::from(target)))
    }
}

/// The directory that has a place's entry, and the entry's name: `None` for the root itself, or where the way is not there (any more).
pub(crate) fn below(root: &File, path: &Path) -> Result<Option<(OwnedFd, OsString)>> {
    let Some(name) = path.file_name() else { return Ok(None) };
    match folder_below(root, path.parent().unwrap_or(Path::new(""))) {
        Ok(folder) => Ok(Some((folder, name.to_owned()))),
        Err(error) if error == Errno::NOENT || error == Errno::NOTDIR || error == THROUGH_A_LINK => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a directory below a root for [`below`] and for its own sake.
pub(crate) fn folder_below(root: &File, path: &Path) -> Result<OwnedFd> {
    let mut folder = root.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?;
    for name in path {
        folder = openat(&folder, name, WALK, Mode::empty())?;
    }
    Ok(folder)
}

/// The path by which the operating system knows an open file now; `None` where it was removed.
fn real_path(handle: &File) -> Result<Option<PathBuf>> {
    let path = name_of(handle)?;
    // What is not there under its name was removed: the system then says so in words behind the name.
    let there = rustix::fs::stat(&path).map(Meta::from);
    let same = there.is_ok_and(|there| Meta::of(handle).is_ok_and(|meta| meta.inode == there.inode));
    Ok(same.then_some(path))
}

/// What to do where the operating system cannot say what an opened folder is called.
pub(crate) fn hint_at_names() -> Option<String> {
    let is_blind = cfg!(target_os = "linux") && !Path::new("/proc/self/fd").is_dir();
    is_blind.then(|| {
        "mount `/proc` (`mount -t proc proc /proc`): the host asks it what opened folders are called".to_owned()
    })
}

#[cfg(target_os = "linux")]
fn name_of(handle: &File) -> Result<PathBuf> {
    use std::os::fd::AsRawFd as _;
    let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let target = rustix::fs::readlink(link, Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

#[cfg(target_vendor = "apple")]
fn name_of(handle: &File) -> Result<PathBuf> {
    Ok(PathBuf::from(OsString::from_vec(rustix::fs::getpath(handle)?.into_bytes())))
}

/// The real path of a directory that is being granted.
pub(crate) fn real_path_of_root(handle: &File) -> Result<PathBuf> {
    real_path(handle)?.ok_or(Errno::NOENT)
}
