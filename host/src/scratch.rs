//! Throw-away copies of directories: what runs on them changes nothing, and what it would have changed can be told.
//!
//! A copy has the contents, kinds, modes, times and hard links of its directory. Symbolic links are copied as they are and never followed;
//! sockets, devices and the like are left out with a notice. Data is shared with the original where the file system can (reflinks), holes
//! stay holes. How much is copied is bounded.

mod copy;
mod look;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::diff::Changes;
use crate::limits;
use crate::sandbox::OwnFiles;
use crate::store::{LockError, RunLock, create_folder};

use copy::Copier;
use look::{Base, Look};

/// The folder of copies below the state folder: most often on the file system of the originals, so that data can be shared.
const FOLDER: &str = "scratch";

/// How much may be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes, where they cannot be shared.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
}

impl Bounds {
    /// For a dry run.
    pub const DRY_RUN: Self = Self { bytes: limits::DRY_RUN_BYTES_MAX, entries: limits::DRY_RUN_ENTRIES_MAX };
    /// For the rehearsal of one step.
    pub const PREVIEW: Self = Self { bytes: limits::PREVIEW_BYTES_MAX, entries: limits::PREVIEW_ENTRIES_MAX };
}

/// Why a copy was not made, or cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// Reading or writing failed.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// `read`, `copy` …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// There is more than may be copied.
    #[error("`{path}` is too large to be copied for a rehearsal: it has more than {amount} {what}")]
    TooLarge {
        /// The directory.
        path: PathBuf,
        /// The bound.
        amount: u64,
        /// What there is more of.
        what: &'static str,
    },
    /// Whoever wanted the copy does not want it any more.
    #[error("copying was cancelled")]
    Cancelled,
    /// The folder of copies cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl ScratchError {
    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooLarge { .. } => {
                Some("grant less with `read-write`: only what may be changed has to be copied".to_owned())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or choose another state folder with `--state`".to_owned())
            }
            Self::Lock(error) => Some(error.hint()),
            Self::Io { .. } | Self::Cancelled => None,
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ScratchError + use<> {
    let path = path.to_owned();
    move |source| ScratchError::Io { action, path, source }
}

/// A folder with copies. It is removed when this is dropped; one that a crash left behind is removed by the next.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    left: Bounds,
    bounds: Bounds,
    copies: Vec<Copied>,
    _lock: RunLock,
}

/// A directory and its copy.
#[derive(Debug)]
struct Copied {
    /// The directory; `None` for one that would be made.
    original: Option<PathBuf>,
    /// How it is called.
    shown: PathBuf,
    copy: PathBuf,
    /// What the copy was when it was made.
    before: Look,
    notices: Vec<String>,
}

impl Scratch {
    /// Makes the folder below `state`.
    ///
    /// # Errors
    ///
    /// [`ScratchError`].
    pub fn create(state: &Path, bounds: Bounds) -> Result<Self, ScratchError> {
        let parent = state.join(FOLDER);
        create_folder(&parent).map_err(failed("create", &parent))?;
        // Nobody takes a folder for one that was left behind before it is locked.
        let everybody = RunLock::acquire(&parent)?;
        let left_behind = left_behind(&parent).map_err(failed("read", &parent))?;
        let entropy = clock::entropy().map_err(failed("create", &parent))?;
        let [a, b, c, d, ..] = entropy;
        let path = parent.join(format!("{}-{:08x}", clock::utc_compact(), u32::from_be_bytes([a, b, c, d])));
        create_folder(&path).map_err(failed("create", &path))?;
        let lock = RunLock::acquire(&path)?;
        drop(everybody);
        for folder in left_behind {
            // What cannot be removed now is tried again by the next.
            let _tried: io::Result<()> = remove(&folder);
        }
        Ok(Self { path, left: bounds, bounds, copies: Vec::new(), _lock: lock })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the directory `original`, called `shown` in what is told; `None` makes an empty one. What is the host's `own` is not copied; `goes_on` is asked again and again. Gives the copy, and what would be in it and was left out.
    ///
    /// # Errors
    ///
    /// [`ScratchError`].
    pub(crate) fn copy(
        &mut self,
        original: Option<&Path>,
        shown: &Path,
        (own, goes_on): (&OwnFiles, &dyn Fn() -> bool),
    ) -> Result<(PathBuf, Vec<PathBuf>), ScratchError> {
        let mut left_out = Vec::new();
        let copy = self.path.join(format!("copy-{}", self.copies.len()));
        let mut notices = Vec::new();
        if let Some(original) = original {
            let copies = self.path.parent().unwrap_or(&self.path);
            let mut copier = Copier::new(copies, shown, (&mut self.left, self.bounds), (own, goes_on))?;
            copier.tree(original, &copy)?;
            (notices, left_out) = copier.told();
        } else {
            fs::create_dir(&copy).map_err(failed("create", &copy))?;
        }
        let before = Look::at(&copy, &self.path)?;
        let (original, shown) = (original.map(Path::to_owned), shown.to_owned());
        self.copies.push(Copied { original, shown, copy: copy.clone(), before, notices });
        Ok((copy, left_out))
    }

    /// What is different in the copies from their originals.
    ///
    /// # Errors
    ///
    /// [`ScratchError`] where one cannot be read.
    pub fn changes(&self) -> Result<Changes, ScratchError> {
        let mut all = Changes::default();
        let mut room = limits::DIFFS_BYTES_MAX;
        for Copied { original, shown, copy, before, notices } in &self.copies {
            all.notices.extend(notices.iter().cloned());
            let base = Base { original: original.as_deref(), shown, copy, before };
            all.append(base.changes(&self.path, &mut room)?);
        }
        Ok(all)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is tried again by the next.
        let _tried: io::Result<()> = remove(&self.path);
    }
}

/// Folders of copies in which nobody works.
fn left_behind(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && !RunLock::is_held(&entry.path()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes a folder with everything in it, also what nobody may write.
fn remove(folder: &Path) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        fs::set_permissions(&at, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&at)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(folder)
}

/// Hard links by what they lead to: device and inode.
type Links = BTreeMap<(u64, u64), PathBuf>;

#[cfg(test)]
mod tests;
