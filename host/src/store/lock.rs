//! Who may act: one process in a run, one in a directory that it may write. Advisory locks of the kernel, which lets go of them when the
//! process dies, however it dies; a lock file that is left behind means nothing.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

use crate::clock::{self, Stopwatch};
use crate::limits;
use crate::regular;

/// The file in a run's folder that is locked.
const LOCK_FILE: &str = "lock";
/// How often it is tried while one waits.
const POLL: Duration = Duration::from_millis(5);

/// Why a lock was not got.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process acts in the run.
    #[error("another process works on run `{run}`")]
    Run {
        /// Its id.
        run: String,
    },
    /// Another process acts in the directory.
    #[error("another run works in `{path}`; it was waited for {waited_ms} ms")]
    Workspace {
        /// The directory.
        path: PathBuf,
        /// For how long.
        waited_ms: u64,
    },
    /// The lock could not be asked for.
    #[error("cannot lock `{path}`: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    /// Whether somebody else holds it.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Run { .. } => "wait until it has ended, or end it: its work is taken up where it was",
            Self::Workspace { .. } => {
                "wait until that run has ended (`host runs --status running` names it), or use another directory with `--workspace`"
            }
            Self::Io { .. } => "the file system must have locks (`flock`); choose another folder with `--state`",
        }
        .to_owned()
    }
}

/// The right to act in a run, for as long as it lives.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Locks a run by its folder. One that only looks (see [`Self::is_held`]) is waited for, one that acts is not.
    ///
    /// # Errors
    ///
    /// [`LockError::Run`] where another process, or another place of this one, holds it.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(LOCK_FILE);
        let file = regular::open_or_create(&path);
        let file = file.map_err(|source| LockError::Io { path: path.clone(), source })?;
        let waited = Stopwatch::start();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(source)) => return Err(LockError::Io { path, source }),
                Err(TryLockError::WouldBlock)
                    if waited.elapsed() >= Duration::from_millis(limits::RUN_LOCK_WAIT_MS) =>
                {
                    let run = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                    return Err(LockError::Run { run });
                }
                Err(TryLockError::WouldBlock) => clock::pause(POLL),
            }
        }
    }

    /// Whether somebody acts in a run now. Where that cannot be found out it is as if nobody did.
    #[must_use]
    pub fn is_held(folder: &Path) -> bool {
        let Ok(file) = regular::open(&folder.join(LOCK_FILE)) else { return false };
        // Shared, so that two that look do not see each other.
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

/// The right to act in a directory: alone, or beside others that only read. For as long as it lives.
#[derive(Debug)]
pub struct WorkspaceLock {
    _directory: File,
}

/// What is done in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody may write meanwhile.
    Read,
    /// Nobody else may act meanwhile.
    ReadWrite,
}

impl WorkspaceLock {
    /// Locks a directory itself, not a file in it: guests see nothing of it. Waits for others, at the most for `wait`.
    ///
    /// # Errors
    ///
    /// [`LockError::Workspace`] where the others did not end in time.
    pub fn acquire(path: &Path, access: Access, wait: Duration) -> Result<Self, LockError> {
        let directory = open_directory(path)?;
        Self::wait_for(directory, path, access, Stopwatch::start(), wait)
    }

    /// Locks several directories, each once, whatever its names are and how often it is named. Always in the same order, so that two runs
    /// that want the same ones do not wait for each other for ever. A directory inside of another is another one.
    ///
    /// # Errors
    ///
    /// As for [`Self::acquire`]; none is locked then.
    pub fn acquire_all<'a>(
        wanted: impl IntoIterator<Item = (&'a Path, Access)>,
        wait: Duration,
    ) -> Result<Vec<Self>, LockError> {
        let mut directories = BTreeMap::new();
        for (path, access) in wanted {
            let directory = open_directory(path)?;
            let found = directory.metadata().map_err(|source| LockError::Io { path: path.to_owned(), source })?;
            let known = directories.entry((found.dev(), found.ino())).or_insert((directory, path, access));
            if access == Access::ReadWrite {
                known.2 = access;
            }
        }
        let waited = Stopwatch::start();
        let locks = directories.into_values();
        locks.map(|(directory, path, access)| Self::wait_for(directory, path, access, waited, wait)).collect()
    }

    fn wait_for(
        directory: File,
        path: &Path,
        access: Access,
        waited: Stopwatch,
        wait: Duration,
    ) -> Result<Self, LockError> {
        let operation = match access {
            Access::Read => FlockOperation::NonBlockingLockShared,
            Access::ReadWrite => FlockOperation::NonBlockingLockExclusive,
        };
        loop {
            match flock(&directory, operation) {
                Ok(()) => return Ok(Self { _directory: directory }),
                Err(Errno::WOULDBLOCK) if waited.elapsed() < wait => clock::pause(POLL),
                Err(Errno::WOULDBLOCK) => {
                    let waited_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                    return Err(LockError::Workspace { path: path.to_owned(), waited_ms });
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(LockError::Io { path: path.to_owned(), source: error.into() }),
            }
        }
    }
}

fn open_directory(path: &Path) -> Result<File, LockError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = open(path, flags, Mode::empty());
    opened.map(File::from).map_err(|source| LockError::Io { path: path.to_owned(), source: source.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_who_acts() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!RunLock::is_held(folder.path()));
        let held = RunLock::acquire(folder.path()).unwrap();
        assert!(RunLock::is_held(folder.path()));
        let error = RunLock::acquire(folder.path()).unwrap_err();
        assert!(matches!(error, LockError::Run { .. }) && error.is_held(), "{error}");
        drop(held);
        assert!(!RunLock::is_held(folder.path()));
        drop(RunLock::acquire(folder.path()).unwrap());
    }

    #[test]
    fn one_that_looks_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        drop(RunLock::acquire(folder.path()).unwrap());
        let looks = File::open(folder.path().join(LOCK_FILE)).unwrap();
        looks.try_lock_shared().unwrap();
        let acts = std::thread::spawn({
            let folder = folder.path().to_owned();
            move || RunLock::acquire(&folder).map(drop)
        });
        assert!(!RunLock::is_held(folder.path()));
        drop(looks);
        acts.join().unwrap().unwrap();
    }

    #[test]
    fn readers_share_a_directory_and_writers_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let lock = |access| WorkspaceLock::acquire(folder.path(), access, Duration::ZERO);
        let readers = [lock(Access::Read).unwrap(), lock(Access::Read).unwrap()];
        let error = lock(Access::ReadWrite).unwrap_err();
        assert!(error.to_string().contains("another run works in"), "{error}");
        drop(readers);
        let writer = lock(Access::ReadWrite).unwrap();
        assert!(lock(Access::Read).is_err());
        drop(writer);
        drop(lock(Access::Read).unwrap());
    }

    #[test]
    fn who_waits_gets_the_directory_when_it_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let held = WorkspaceLock::acquire(folder.path(), Access::ReadWrite, Duration::ZERO).unwrap();
        let waits = std::thread::spawn({
            let folder = folder.path().to_owned();
            move || WorkspaceLock::acquire(&folder, Access::ReadWrite, Duration::from_mins(1)).map(drop)
        });
        drop(held);
        waits.join().unwrap().unwrap();
    }

    #[test]
    fn a_directory_that_is_named_twice_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::create_dir(&a).unwrap();
        std::fs::create_dir(&b).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&a, &link).unwrap();
        let all = |wanted: &[(&Path, Access)]| WorkspaceLock::acquire_all(wanted.iter().copied(), Duration::ZERO);
        let held = all(&[(&a, Access::Read), (&b, Access::Read), (&link, Access::ReadWrite)]).unwrap();
        assert_eq!(held.len(), 2);
        assert!(WorkspaceLock::acquire(&a, Access::Read, Duration::ZERO).is_err(), "the stronger access counts");
        assert!(WorkspaceLock::acquire(&b, Access::Read, Duration::ZERO).is_ok());
        // Where one is not free, the others are not kept.
        drop(held);
        let one = WorkspaceLock::acquire(&b, Access::Read, Duration::ZERO).unwrap();
        assert!(all(&[(&a, Access::ReadWrite), (&b, Access::ReadWrite)]).is_err());
        drop(one);
        assert_eq!(all(&[(&a, Access::ReadWrite), (&b, Access::ReadWrite)]).unwrap().len(), 2);
    }

    #[test]
    fn two_runs_that_want_the_same_directories_both_get_them() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a", "b", "c"].map(|name| folder.path().join(name));
        names.iter().for_each(|path| std::fs::create_dir(path).unwrap());
        std::thread::scope(|scope| {
            for reversed in [false, true] {
                let mut paths: Vec<&Path> = names.iter().map(PathBuf::as_path).collect();
                if reversed {
                    paths.reverse();
                }
                scope.spawn(move || {
                    for _ in 0..20 {
                        let wanted = paths.iter().map(|path| (*path, Access::ReadWrite));
                        assert_eq!(WorkspaceLock::acquire_all(wanted, Duration::from_mins(1)).unwrap().len(), 3);
                    }
                });
            }
        });
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_of_its_own() {
        let error = WorkspaceLock::acquire(Path::new("not/there"), Access::Read, Duration::ZERO).unwrap_err();
        assert!(!error.is_held(), "{error}");
    }
}
