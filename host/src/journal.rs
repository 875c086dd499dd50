//! The undo journal of one step: what is needed to put granted directories back exactly as they were before it.
//!
//! Owns the file `journal/<step>.<attempt>` of a run (`record` says what is in it) and beside it `<step>.<attempt>.pre-<n>`, the content of
//! larger files. Before each change that a guest makes, what it takes to reverse it is durable (`before`); `restore` reverses all of it, also
//! when it was itself interrupted, any number of times. `seal` notes at the end of a step what it left, so that a later undo can tell
//! whether somebody changed that since (`conflict`), and `touched` what it looked at. `claims` is for steps that run at one time.
//!
//! Never decides whether a guest may change something, and never reaches outside of the granted directories or through a link.

mod before;
pub(crate) mod claims;
mod conflict;
mod place;
mod record;
mod restore;
mod save;
mod seal;
mod spare;
mod touched;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::durability::{Durability, sync_together};
use crate::folder_id::FolderId;
use crate::limits;
use crate::outcome::Failure;
use crate::regular;

pub(crate) use before::{At, Change, Ticket};
pub(crate) use place::hint_at_names;
pub(crate) use place::{Inode, Kind, Meta, Root};
use place::{Roots, real_path_of_root};
use record::{Record, RootAt};
pub(crate) use spare::{Spares, adopt};
pub(crate) use touched::Look;
pub(crate) use {
    conflict::Conflict,
    seal::{ChangeKind, PathChange},
};

/// What the names of pre-images go on with behind that of the journal.
const PRE: &str = ".pre-";
/// What a step claimed that ran beside others, beside its journal.
pub(crate) const CLAIMED: &str = ".claimed.json";

/// Why a journal could not be kept, read or undone.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("the undo journal `{path}` cannot be {doing}")]
    Io {
        /// The journal.
        path: PathBuf,
        /// What was being done to it.
        doing: &'static str,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// What a step is about to change cannot be saved, so it was not changed.
    #[error("what the step is about to change cannot be saved: `{path}`")]
    Unsaved {
        /// The guest path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The step changes more than a journal takes.
    #[error("the step changes more than its undo journal takes: {allowed} {what}")]
    Full {
        /// `records` or `bytes`.
        what: &'static str,
        /// How many it takes.
        allowed: u64,
    },
    /// It is not a journal, or of another version.
    #[error("`{path}` is not an undo journal of this version")]
    Unknown {
        /// The journal.
        path: PathBuf,
    },
    /// A granted directory is not there.
    #[error("the granted directory `{path}` cannot be opened")]
    Root {
        /// Its path on the host.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// What a step left or what is there now cannot be read.
    #[error("`{path}` cannot be read")]
    Unread {
        /// The guest path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something cannot be put back.
    #[error("`{path}` cannot be put back")]
    Unrestored {
        /// The guest path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl JournalError {
    /// How a step ends with it.
    pub(crate) fn failure(&self) -> Failure {
        let message = match self {
            Self::Io { doing, source, .. } => format!("the undo journal cannot be {doing}: {source}"),
            Self::Full { .. } => self.to_string(),
            Self::Unknown { .. } => "it is not an undo journal of this version".to_owned(),
            Self::Root { source, .. } => format!("a granted directory cannot be opened: {source}"),
            Self::Unsaved { source, .. } | Self::Unread { source, .. } | Self::Unrestored { source, .. } => {
                format!("{self}: {source}")
            }
        };
        let detail = std::error::Error::source(self).map(|source| format!("{self}: {source}"));
        Failure { detail, hint: self.hint(), ..Failure::of_host("journal", message) }
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } | Self::Unsaved { .. } => {
                Some("nothing was changed without being saved first; see whether the disk is full".to_owned())
            }
            Self::Root { .. } | Self::Unrestored { .. } => {
                let what = Some("mend what the error says and undo again: it goes on where it stopped".to_owned());
                hint_at_names().or(what)
            }
            Self::Full { .. } | Self::Unknown { .. } | Self::Unread { .. } => None,
        }
    }
}

/// What a journal holds at the most.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    records: usize,
    bytes: u64,
}

/// The journal of one step.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// The folder of journals: pre-images are made and found through it.
    handle: Arc<File>,
    /// `None` until there is more to write than the first record: most steps that may change something do not.
    file: Option<File>,
    /// Where the next frame goes.
    end: u64,
    durability: Durability,
    /// Whether its name is as durable as what is in it.
    is_placed: bool,
    /// Where a file for records is taken from whose name is durable already.
    spares: Option<Spares>,
    /// Whether the records are in such a one: they are found again whatever its name is.
    is_found: bool,
    roots: Roots,
    records: Vec<Record>,
    /// Bytes of copies.
    copied: u64,
    /// The next `pre-<n>`.
    next_pre: u32,
    /// Files whose content was saved or that the step made.
    saved: BTreeSet<Inode>,
    /// Things whose times were saved.
    timed: BTreeSet<Inode>,
    /// Files that have another name in the journal's folder.
    held: BTreeMap<Inode, u32>,
    bounds: Bounds,
    /// What the step looked at.
    seen: touched::Seen,
    #[cfg(test)]
    fault: Option<save::Fault>,
}

impl Journal {
    /// Makes the journal of a step that is about to run; of those that a process makes in one folder, `number` is higher for the later.
    ///
    /// # Errors
    ///
    /// [`JournalError::Io`], also where it is there already.
    pub(crate) fn create(
        path: &Path,
        number: u64,
        roots: Vec<Root>,
        durability: Durability,
    ) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), doing: "created", source };
        let folder = folder_of(path);
        let handle = match regular::open_folder(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
                regular::open_folder(folder)
            }
            opened => opened,
        };
        if path.try_exists().map_err(failed)? {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let mut journal = Self::with(path, handle.map_err(failed)?, None, Roots(roots), durability);
        let roots = journal.roots.0.iter();
        let root_at = |root: &Root| {
            Ok(RootAt {
                guest: root.guest.clone(),
                host: root.host.clone(),
                id: Some(FolderId::of(&root.handle).map_err(failed)?),
            })
        };
        let roots = roots.map(root_at).collect::<Result<_, JournalError>>()?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        // A step that changes nothing waits for no disk: its name is made durable with the first record of a change.
        journal.is_placed = durability == Durability::Buffered;
        journal.records.push(Record::Begun { version: record::VERSION, journal: name, number, roots });
        Ok(journal)
    }

    /// Opens the journal of a step that has run, wholly or in part. It is written with full durability from here on.
    ///
    /// # Errors
    ///
    /// [`JournalError::Io`], [`JournalError::Unknown`]; [`JournalError::Root`] where a granted directory is not there.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), doing: "read", source };
        let handle = regular::open_folder(folder_of(path)).map_err(failed)?;
        let mut file = regular::open_both(path).map_err(failed)?;
        let (records, end) = record::read(&mut file).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > end {
            file.set_len(end).map_err(failed)?;
        }
        let mut journal = Self::with(path, handle, Some(file), Roots::default(), Durability::Full);
        (journal.records, journal.end) = (records, end);
        let roots = match journal.records.first() {
            Some(Record::Begun { version: record::VERSION, roots, .. }) => roots.clone(),
            // Cut off in its first record: nothing was changed.
            None => Vec::new(),
            Some(_) => return Err(JournalError::Unknown { path: path.to_owned() }),
        };
        for RootAt { guest, host, id } in &roots {
            // One inside of another has no places of its own, and the step may have renamed it.
            let outer = roots.iter().map(|root| &root.host).filter(|outer| host.starts_with(outer));
            let path = outer.min_by_key(|outer| outer.as_os_str().len()).unwrap_or(host);
            let lost = |source| JournalError::Root { path: path.clone(), source };
            let handle = regular::open_folder(path).map_err(lost)?;
            // Whoever could write there may have put another folder in its place, or a link.
            if let (true, Some(id)) = (path == host, id)
                && !FolderId::of(&handle).map_err(lost)?.is(id)
            {
                return Err(lost(io::Error::other("it is another folder than the one that was changed")));
            }
            journal.roots.0.push(Root { guest: guest.clone(), host: host.clone(), handle: Arc::new(handle) });
        }
        Ok(journal)
    }

    /// The same for one that a crash may have left half made or half removed: `None` where it has no records, because it is made before
    /// and removed after everything that it could undo. Nothing is written to such a one: it would not begin as a journal does.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`].
    pub(crate) fn open_if_begun(path: &Path) -> Result<Option<Self>, JournalError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Self::open(path).map(|journal| (!journal.records.is_empty()).then_some(journal)),
        }
    }

    /// The number that a journal was made with; `None` where it has no records, or there is none yet.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(crate) fn number(path: &Path) -> io::Result<Option<u64>> {
        let mut file = match regular::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let (records, _) = record::read(&mut file)?;
        Ok(records.first().and_then(|record| match record {
            Record::Begun { number, .. } => Some(*number),
            _ => None,
        }))
    }

    fn with(path: &Path, handle: File, file: Option<File>, roots: Roots, durability: Durability) -> Self {
        Self {
            path: path.to_owned(),
            handle: Arc::new(handle),
            file,
            end: 0,
            durability,
            is_placed: true,
            spares: None,
            is_found: false,
            roots,
            records: Vec::new(),
            copied: 0,
            next_pre: 0,
            saved: BTreeSet::new(),
            timed: BTreeSet::new(),
            held: BTreeMap::new(),
            bounds: Bounds { records: limits::JOURNAL_RECORDS_MAX, bytes: limits::JOURNAL_BYTES_MAX },
            seen: touched::Seen::default(),
            #[cfg(test)]
            fault: None,
        }
    }

    /// A step that changes something takes its file from there.
    pub(crate) fn with_spares(mut self, spares: Option<Spares>) -> Self {
        self.spares = spares;
        self
    }

    /// Appends records with their bytes; they are durable when this returns.
    fn append(&mut self, mut records: Vec<Record>, bytes: &[u8]) -> Result<(), JournalError> {
        if let (None, Some(spares)) = (&self.file, self.spares.take()) {
            let taken = spares.take().and_then(|spare| {
                // Nothing that may fail comes after the rename: a journal without records would be in the way of the next one.
                let file = regular::open_both(&spare)?;
                fs::rename(&spare, &self.path).map(|()| file)
            });
            self.file = Some(taken.map_err(|source| self.failed("written", source))?);
            self.is_found = true;
        }
        self.append_unsynced(&mut records, bytes)?;
        if let (Durability::Full, Some(file)) = (self.durability, &self.file) {
            file.sync_data().map_err(|source| self.failed("synced", source))?;
        }
        if self.is_found { Ok(()) } else { self.place() }
    }

    /// Makes the names of its files durable.
    fn place(&mut self) -> Result<(), JournalError> {
        if !self.is_placed {
            // With the folder's own name, which is new where this is the first journal of a run.
            let parent = folder_of(&self.path).parent().map_or_else(|| self.handle.try_clone(), regular::open_folder);
            let placed = parent.and_then(|parent| sync_together(&[self.handle.try_clone()?, parent]));
            placed.map_err(|source| self.failed("synced", source))?;
            self.is_placed = true;
        }
        Ok(())
    }

    /// The file beside the records that has a pre-image.
    fn pre_name(&self, n: u32) -> OsString {
        name_beside(&self.path, &format!("{PRE}{n}"))
    }

    /// Removes a journal with all that is beside it. Nobody may be writing it.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
        let Some(name) = path.file_name().map(OsStr::as_encoded_bytes) else { return Ok(()) };
        for entry in fs::read_dir(folder_of(path))? {
            let entry = entry?;
            let beside = entry.file_name();
            if beside.as_encoded_bytes().strip_prefix(name).is_some_and(is_beside) {
                fs::remove_file(entry.path())?;
            }
        }
        // The last of all: as long as it is there the others are found.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The name of the journal that a file is beside of; `None` where it is none of those that go with one.
    pub(crate) fn name_of(beside: &str) -> Option<&str> {
        beside.split_once(PRE).map(|(name, _)| name).or_else(|| beside.strip_suffix(CLAIMED))
    }

    /// A file beside a journal.
    pub(crate) fn beside(path: &Path, what: &str) -> PathBuf {
        path.with_file_name(name_beside(path, what))
    }

    fn append_unsynced(&mut self, records: &mut Vec<Record>, bytes: &[u8]) -> Result<(), JournalError> {
        let written = self.first().and_then(|mut frames| {
            #[cfg(test)]
            save::Fault::hit(&mut self.fault)?;
            frames.append(&mut record::frame(records, bytes)?);
            let file = match self.file.take() {
                Some(file) => file,
                None => regular::create_new(&self.path)?,
            };
            let written = file.write_all_at(&frames, self.end);
            if written.is_err() {
                // What was written of it is no frame; the file ends before it either way.
                drop(file.set_len(self.end));
            }
            self.file = Some(file);
            written.map(|()| frames.len())
        });
        let length = written.map_err(|source| self.failed("written", source))?;
        let offset = record::bytes_from(self.end, length, bytes.len());
        records.iter_mut().for_each(|record| record::shift(record, offset));
        self.end += length as u64;
        self.records.append(records);
        Ok(())
    }

    /// What the first frame has to begin with: the record that was not written yet.
    fn first(&self) -> io::Result<Vec<u8>> {
        if self.end == 0 { record::frame(&self.records, &[]) } else { Ok(Vec::new()) }
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), doing, source }
    }

    /// How many names of a file are the journal's own: a guest that asks for its links is not told of these.
    pub(crate) fn held(&self, inode: Inode) -> u64 {
        self.held.get(&inode).copied().unwrap_or_default().into()
    }

    /// Whether the journal holds any file.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What the machine says of a path of the guest.
    pub(crate) fn meta(&self, at: At<'_>, follow: bool) -> Option<Meta> {
        self.roots.resolve(at.folder, OsStr::new(at.path), follow).ok().flatten()?.meta
    }
}

/// Whether a name that begins with a journal's goes on as those beside it do.
fn is_beside(rest: &[u8]) -> bool {
    rest.starts_with(PRE.as_bytes()) || rest == CLAIMED.as_bytes()
}

/// The name of a file beside a journal.
fn name_beside(path: &Path, what: &str) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(what);
    name
}

/// The folder that a journal is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

impl Root {
    /// A directory that is granted at a guest path.
    ///
    /// # Errors
    ///
    /// What the operating system says where it does not know the directory's path.
    pub(crate) fn new(guest: String, handle: File) -> io::Result<Self> {
        let host = real_path_of_root(&handle)
            .map_err(|error| hint_at_names().map_or_else(|| io::Error::from(error), io::Error::other))?;
        Ok(Self { guest, host, handle: Arc::new(handle) })
    }
}

#[cfg(test)]
mod tests;
