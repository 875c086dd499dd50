//! A folder of the user's own: opened step by step from the root, so that nobody else could have put it, or anything on the way to it, in
//! its place. Looks at owners and modes; says nothing about what is inside.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat, statat};

use crate::limits;

/// An opened folder that only the user, or root, can have made and can write.
#[derive(Debug)]
pub(crate) struct OwnedFolder {
    file: OwnedFd,
    owner: u32,
}

/// Why a folder is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOwned {
    /// There is none.
    #[error("`{}` does not exist", .0.display())]
    Missing(PathBuf),
    /// It, or a folder on the way to it, is somebody else's.
    #[error("`{}` belongs to the user {owner}, who could put anything there", .path.display())]
    Owner {
        /// The folder or link.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It, or a folder on the way to it, may be written by others.
    #[error("other users may write `{}` (`chmod go-w` it)", .0.display())]
    Mode(PathBuf),
    /// Too many links on the way.
    #[error("`{}` leads through more than {max} links", .0.display(), max = limits::LINKS_FOLLOWED_MAX)]
    Links(PathBuf),
    /// What the operating system says.
    #[error("`{}` cannot be opened: {source}", .path.display())]
    System {
        /// The folder.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

impl NotOwned {
    fn system(path: &Path, error: rustix::io::Errno) -> Self {
        match error {
            rustix::io::Errno::NOENT => Self::Missing(path.to_owned()),
            error => Self::System { path: path.to_owned(), source: error.into() },
        }
    }
}

/// The user that this process acts as.
pub(crate) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Opens for looking at alone: nothing is read through it.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Opens a folder.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What others may not do.
const WRITE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

impl OwnedFolder {
    /// Opens it. With `make`, what is missing of it is made for the user alone.
    ///
    /// Every folder from the root on belongs to the user or to root, and others may write none of them, or may at least not replace what is in it
    /// (`/tmp`). Links on the way are followed where the same holds for them.
    pub(crate) fn open(path: &Path, make: bool) -> Result<Self, NotOwned> {
        let absolute =
            std::path::absolute(path).map_err(|source| NotOwned::System { path: path.to_owned(), source })?;
        let mut way = Way::from_root(&absolute)?;
        while let Some(step) = way.todo.pop() {
            way.go(&step, make)?;
        }
        let (file, owner) = way.end(&absolute)?;
        Ok(Self { file, owner })
    }

    /// Whether it is the user's, not one that root made for all.
    pub(crate) fn is_users(&self) -> bool {
        self.owner == user()
    }

    /// A regular file in it that belongs to whom the folder belongs to and that others may not write. `None` where there is none.
    pub(crate) fn file(&self, name: &str) -> io::Result<Option<(File, Stat)>> {
        // Opened without waiting: a pipe that nobody writes to would never open.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(&self.file, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => return Err(io::Error::other("it is a link")),
            Err(error) => return Err(error.into()),
        };
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no regular file"));
        }
        if stat.st_uid != self.owner {
            return Err(io::Error::other(format!("it belongs to the user {}", stat.st_uid)));
        }
        if stat.st_mode & WRITE_BY_OTHERS != 0 {
            return Err(io::Error::other("other users may write it"));
        }
        // Another name of it may lie where somebody else may write.
        if self.is_users() && stat.st_nlink > 1 {
            return Err(io::Error::other("it has another name elsewhere"));
        }
        Ok(Some((File::from(file), stat)))
    }

    /// What is in it, by name, as long as it is no more than `max`; each with what the system says of it.
    pub(crate) fn entries(&self, max: usize) -> io::Result<Vec<(OsString, Stat)>> {
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.file)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." {
                continue;
            }
            // It may be gone since.
            if let Ok(stat) = statat(&self.file, &name, AtFlags::SYMLINK_NOFOLLOW) {
                found.push((name, stat));
            }
            if found.len() == max {
                break;
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }
}

impl AsFd for OwnedFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The way to a folder, as far as it was gone.
struct Way {
    /// What was gone through, from the root on: a link may lead back up.
    done: Vec<OwnedFd>,
    /// The names of what was gone through, for messages.
    names: PathBuf,
    /// What is to be gone through, the next one last.
    todo: Vec<OsString>,
    links: usize,
}

impl Way {
    fn from_root(path: &Path) -> Result<Self, NotOwned> {
        let root = Path::new("/");
        let open = openat(CWD, root, FOLDER, Mode::empty()).map_err(|error| NotOwned::system(root, error))?;
        check(&open, root)?;
        Ok(Self { done: vec![open], names: root.to_owned(), todo: steps(path), links: 0 })
    }

    fn go(&mut self, step: &OsStr, make: bool) -> Result<(), NotOwned> {
        if step == ".." {
            // The root is its own parent.
            if self.done.len() > 1 {
                self.done.pop();
                self.names.pop();
            }
            return Ok(());
        }
        let Some(at) = self.done.last() else { return Ok(()) };
        let path = self.names.join(step);
        let system = |error| NotOwned::system(&path, error);
        let open = match openat(at, step, LOOK, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) if make => {
                match mkdirat(at, step, Mode::RWXU) {
                    // Another process of the user may be making it, too.
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(system(error)),
                }
                openat(at, step, LOOK, Mode::empty()).map_err(system)?
            }
            open => open.map_err(system)?,
        };
        let stat = fstat(&open).map_err(system)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                check_owner(&stat, &path)?;
                self.links += 1;
                if self.links > limits::LINKS_FOLLOWED_MAX {
                    return Err(NotOwned::Links(path));
                }
                let target = readlinkat(&open, "", Vec::new()).map_err(system)?;
                let target = Path::new(OsStr::from_bytes(target.as_bytes())).to_owned();
                if target.is_absolute() {
                    self.done.truncate(1);
                    self.names = PathBuf::from("/");
                }
                self.todo.extend(steps(&target));
            }
            FileType::Directory => {
                check(&open, &path)?;
                self.done.push(open);
                self.names = path;
            }
            _ => return Err(system(rustix::io::Errno::NOTDIR)),
        }
        Ok(())
    }

    /// The last folder, opened for reading: here others may not even add anything.
    fn end(mut self, asked: &Path) -> Result<(OwnedFd, u32), NotOwned> {
        let system = |error| NotOwned::system(asked, error);
        let Some(last) = self.done.pop() else { return Err(system(rustix::io::Errno::NOENT)) };
        // `.` of the one that was looked at: no name that could mean another one by now.
        let file = openat(&last, ".", FOLDER, Mode::empty()).map_err(system)?;
        let stat = fstat(&file).map_err(system)?;
        check_owner(&stat, asked)?;
        if stat.st_mode & WRITE_BY_OTHERS != 0 {
            return Err(NotOwned::Mode(asked.to_owned()));
        }
        Ok((file, stat.st_uid))
    }
}

/// The parts of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut parts: Vec<OsString> = parts.collect();
    parts.reverse();
    parts
}

fn check_owner(stat: &Stat, path: &Path) -> Result<(), NotOwned> {
    if stat.st_uid != user() && stat.st_uid != 0 {
        return Err(NotOwned::Owner { path: path.to_owned(), owner: stat.st_uid });
    }
    Ok(())
}

/// A folder on the way: what is in it cannot be replaced by others.
fn check(folder: &OwnedFd, path: &Path) -> Result<(), NotOwned> {
    let stat = fstat(folder).map_err(|error| NotOwned::system(path, error))?;
    check_owner(&stat, path)?;
    if stat.st_mode & WRITE_BY_OTHERS != 0 && stat.st_mode & STICKY == 0 {
        return Err(NotOwned::Mode(path.to_owned()));
    }
    Ok(())
}

/// The path by which the system opens what is open already.
pub(crate) fn reopened(file: impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd as _;

    PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}
