//! The runs on disk: a folder for each, complete after every step, readable after `kill -9`, and self-contained, so that it can be copied
//! to another machine and replayed there. A seam: what is behind it may change, plain Rust types are in front of it.
//!
//! [`index`] is the database over them, [`lock`] says who may act in a run or a directory.
//!
//! Files are for their owner alone (0600, folders 0700): a trace holds what the tools saw.

pub mod audit;
pub mod dashboard;
pub mod gc;
pub mod index;
pub mod keys;
pub mod lock;
mod overview;
mod run_dir;
pub(crate) mod taken;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::durability::Durability;
use crate::outcome::RunOutcome;
use crate::regular;
use crate::trace::committed::committed;
use crate::trace::event::{Event, Kind};
use crate::trace::reader::{Reader, last_event};
use crate::trace::{TRACE_FILE, TraceError};

use index::ApprovalState;
pub use index::{Index, IndexError, IndexWriter};
pub use lock::{Access, LockError, RunLock, WorkspaceLock};
pub use overview::Overview;
pub use run_dir::{Phase, Place, RunDir};

/// The folder of runs below the state folder.
pub(crate) const RUNS: &str = "runs";
/// The folder of undo journals in a run's folder.
pub(crate) const JOURNALS: &str = "journal";
/// The folder of components that runs share, below the state folder.
pub(crate) const COMPONENTS: &str = "components";
/// How often a new run's folder is tried under another name.
const NAMES_TRIED_MAX: usize = 100;

/// The runs below one state folder. Making one does no I/O.
#[derive(Debug, Clone)]
pub struct RunStore {
    state: PathBuf,
}

/// What a list of runs says of one.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// Its id.
    pub id: String,
    /// The plan's name; empty where it could not be read.
    pub plan: String,
    /// How it ended; `None` where it did not: it runs, or it was killed.
    pub outcome: Option<RunOutcome>,
    /// Steps that ended.
    pub steps: u64,
    /// Why its trace cannot be read to the end, where that is so.
    pub damage: Option<String>,
    /// Its labels.
    pub tags: Vec<String>,
}

/// Why the state folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading or writing failed.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// `read`, `write`, `create` …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// No run has that id, or it is the beginning of several.
    #[error("{message}")]
    NoSuchRun {
        /// What was looked for and found.
        message: String,
    },
    /// The index could not be used.
    #[error(transparent)]
    Index(#[from] index::IndexError),
    /// Somebody else acts in a run or a directory.
    #[error(transparent)]
    Lock(#[from] lock::LockError),
    /// A run's folder lacks a file that it must have.
    #[error("`{path}` is not a run's folder: it has no `{missing}`")]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What it lacks.
        missing: &'static str,
    },
}

impl StoreError {
    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("choose another state folder with `--state`".to_owned())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or choose another state folder with `--state`".to_owned())
            }
            Self::NoSuchRun { .. } => Some("`host runs` lists the runs there are".to_owned()),
            Self::Index(error) => error.hint(),
            Self::Lock(error) => Some(error.hint()),
            Self::Io { .. } => {
                Some("look at what is there, or choose another state folder with `--state` or HOST_STATE".to_owned())
            }
            Self::NotARun { .. } => Some("give the folder of a run: `host runs` lists the runs there are".to_owned()),
        }
    }
}

impl RunStore {
    /// The runs below `state`, which is created with the first run.
    #[must_use]
    pub fn at(state: impl Into<PathBuf>) -> Self {
        Self { state: state.into() }
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Makes the folder of a new run. Its id is the time and some randomness: it names the folder and appears in no trace.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn create_run(&self) -> Result<RunDir, StoreError> {
        let runs = self.state.join(RUNS);
        create_folder(&runs).map_err(failed("create", &runs))?;
        let time = clock::utc_compact();
        let mut last = None;
        for _ in 0..NAMES_TRIED_MAX {
            let entropy = clock::entropy().map_err(failed("create", &runs))?;
            let [a, b, c, d, ..] = entropy;
            let id = format!("{time}-{:08x}", u32::from_be_bytes([a, b, c, d]));
            let path = runs.join(&id);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return RunDir::create(path, id, self.state.join(COMPONENTS)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = Some(error),
                Err(error) => return Err(failed("create", &path)(error)),
            }
        }
        Err(failed("create", &runs)(last.unwrap_or_else(|| io::Error::other("no free name"))))
    }

    /// The newest runs, at the most `max`, the newest first. A damaged one is listed as such.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] when the folder of runs cannot be read; a state folder without one has no runs.
    pub fn list(&self, max: usize) -> Result<Vec<RunSummary>, StoreError> {
        Ok(self.ids()?.into_iter().take(max).map(|id| summary(&self.state.join(RUNS).join(&id), id)).collect())
    }

    /// The ids of all runs, the newest first: by the number that each has got when it began, whatever the clock said. Those of older versions
    /// have none and are older than all others; among them the time in their id decides.
    ///
    /// # Errors
    ///
    /// As for [`Self::list`].
    pub fn ids(&self) -> Result<Vec<String>, StoreError> {
        let runs = self.state.join(RUNS);
        let entries = match fs::read_dir(&runs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &runs)(error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("read", &runs))?;
            if entry.path().is_dir() {
                ids.extend(entry.file_name().into_string().ok());
            }
        }
        let mut numbered: Vec<(Option<u64>, String)> =
            ids.into_iter().map(|id| (run_dir::sequence_of(&runs.join(&id)), id)).collect();
        numbered.sort_unstable_by(|one, other| other.cmp(one));
        Ok(numbered.into_iter().map(|(_, id)| id).collect())
    }

    /// The runs that somebody began, that have not ended, that do not wait for an answer and in which nobody acts: they were stopped by a
    /// crash. The oldest first.
    ///
    /// # Errors
    ///
    /// As for [`Self::list`], and what a trace says that cannot be read.
    pub fn stopped(&self) -> Result<Vec<RunDir>, StoreError> {
        let mut stopped = Vec::new();
        let mut index = None;
        for id in self.ids()?.into_iter().rev() {
            let Ok(run) = RunDir::open(&self.state.join(RUNS).join(&id)) else { continue };
            if self.is_stopped(&run, &mut index)? {
                stopped.push(run);
            }
        }
        Ok(stopped)
    }

    /// Whether a crash has stopped a run.
    ///
    /// # Errors
    ///
    /// As for [`Self::stopped`].
    pub(crate) fn is_stopped(&self, run: &RunDir, index: &mut Option<Index>) -> Result<bool, StoreError> {
        if matches!(last_event(&run.trace()), Ok(Some(Event::RunEnd { .. }))) || RunLock::is_held(run.path()) {
            return Ok(false);
        }
        // Another one has taken it back: there is nothing to go on with.
        if run.taken_back()?.is_some() {
            return Ok(false);
        }
        // What cannot be read is not one that a crash has stopped; whoever asks for that run is told.
        let Ok(Some(settled)) = committed(&run.trace()) else { return Ok(false) };
        if settled.has_ended {
            return Ok(false);
        }
        Ok(!settled.is_asking || !self.is_pending(run.id(), index)?)
    }

    /// Whether somebody is still asked about a run. Its trace says so before whoever answers can know of it, and also when the answer is
    /// given and not taken yet: a run that was killed then does not wait, it was stopped. `index` is opened when it is first needed.
    fn is_pending(&self, run: &str, index: &mut Option<Index>) -> Result<bool, StoreError> {
        if index.is_none() {
            *index = Index::existing(&self.state, Durability::Buffered)?;
        }
        let Some(index) = index else { return Ok(false) };
        let approvals = index.approvals(run)?;
        Ok(approvals.iter().any(|approval| approval.state == ApprovalState::Pending))
    }

    /// The run whose id begins with `prefix`; `last` is the newest.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchRun`] where none or more than one does.
    pub fn find(&self, prefix: &str) -> Result<RunDir, StoreError> {
        let ids = self.ids()?;
        let found: Vec<&String> = match prefix {
            "last" => ids.iter().take(1).collect(),
            prefix => match ids.iter().find(|id| *id == prefix) {
                Some(exact) => vec![exact],
                None => ids.iter().filter(|id| id.starts_with(prefix)).collect(),
            },
        };
        match found.as_slice() {
            [id] => RunDir::open(&self.state.join(RUNS).join(id)),
            [] if prefix == "last" => Err(StoreError::NoSuchRun { message: "there are no runs yet".to_owned() }),
            [] => Err(StoreError::NoSuchRun { message: format!("no run has an id that begins with `{prefix}`") }),
            several => {
                let message = format!("`{prefix}` is the beginning of {} runs", several.len());
                Err(StoreError::NoSuchRun { message })
            }
        }
    }
}

fn summary(path: &Path, id: String) -> RunSummary {
    let mut summary = RunSummary { id, plan: String::new(), outcome: None, steps: 0, damage: None, tags: Vec::new() };
    if let Err(error) = summarise(path, &mut summary) {
        summary.damage = Some(error.to_string());
    }
    summary
}

/// From the first and the last event where the run ended; a trace without an end is read through.
fn summarise(path: &Path, summary: &mut RunSummary) -> Result<(), TraceError> {
    let trace = path.join(TRACE_FILE);
    let mut reader = Reader::open(&trace)?;
    if let Some((_, Event::Header(header))) = reader.next_event()? {
        summary.plan = header.plan_name;
        summary.tags = header.tags;
    }
    if let Some(Event::RunEnd { outcome, steps, .. }) = last_event(&trace)? {
        summary.outcome = Some(outcome);
        summary.steps = steps;
        return Ok(());
    }
    while let Some(line) = reader.next_line()? {
        match line.kind() {
            Kind::StepEnd => summary.steps += 1,
            // Too long for a glance.
            Kind::RunEnd => {
                if let Event::RunEnd { outcome, .. } = line.event()? {
                    summary.outcome = Some(outcome);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes a folder and those above it, for the owner alone.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file for writing from its beginning, for the owner alone.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    regular::create(path)
}

/// The same for a file that must not be there.
pub(crate) fn create_new_file(path: &Path) -> io::Result<File> {
    regular::create_new(path)
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_by_unique_prefixes() {
        let state = tempfile::tempdir().unwrap();
        let store = RunStore::at(state.path().join("state"));
        assert_eq!(store.ids().unwrap(), Vec::<String>::new());
        assert!(matches!(store.find("last"), Err(StoreError::NoSuchRun { .. })));
        let first = store.create_run().unwrap();
        let second = store.create_run().unwrap();
        assert_ne!(first.id(), second.id());
        for run in [&first, &second] {
            run.keep_plan("json", b"{}").unwrap();
            fs::write(run.trace(), b"").unwrap();
            assert_eq!(store.find(run.id()).unwrap().id(), run.id());
        }
        assert!(matches!(store.find("2"), Err(StoreError::NoSuchRun { .. })));
        assert_eq!(store.list(usize::MAX).unwrap().len(), 2);
    }

    #[test]
    fn files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let state = tempfile::tempdir().unwrap();
        let run = RunStore::at(state.path().join("state")).create_run().unwrap();
        run.keep_plan("json", b"{}").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(run.path()), 0o700);
        assert_eq!(mode(&run.path().join("plan.json")), 0o600);
    }

    #[test]
    fn a_list_says_how_runs_ended_and_which_are_damaged() {
        use crate::trace::samples;

        let state = tempfile::tempdir().unwrap();
        let store = RunStore::at(state.path());
        let whole = samples::recorded(&samples::every_outcome());
        let mut edited = whole.clone();
        edited[20] ^= 1;
        let ended = whole.len() - whole.iter().rev().skip(1).position(|byte| *byte == b'\n').unwrap() - 1;
        let ids: Vec<String> = [&whole[..], &whole[..ended], &whole[..whole.len() - 5], &edited[..], b""]
            .into_iter()
            .map(|bytes| {
                let run = store.create_run().unwrap();
                fs::write(run.trace(), bytes).unwrap();
                run.id().to_owned()
            })
            .collect();
        fs::create_dir(state.path().join(RUNS).join("empty")).unwrap();
        let list = store.list(100).unwrap();
        assert!(list.is_sorted_by(|a, b| a.id > b.id));
        let of = |id: &str| list.iter().find(|run| run.id == id).unwrap();
        let [whole, unfinished, torn, edited, empty] = [0, 1, 2, 3, 4].map(|index: usize| of(&ids[index]));
        assert_eq!((whole.plan.as_str(), whole.outcome, whole.steps), ("sample", Some(RunOutcome::Failed), 5));
        assert_eq!(whole.damage, None);
        assert_eq!((unfinished.outcome, unfinished.steps, &unfinished.damage), (None, 5, &None));
        assert_eq!((torn.outcome, torn.steps), (None, 5));
        assert!(torn.damage.as_ref().unwrap().contains("torn"), "{torn:?}");
        assert!(edited.damage.is_some() && empty.damage.is_none() && of("empty").damage.is_some());
    }

    #[test]
    fn components_are_kept_once_and_with_each_run() {
        use std::os::unix::fs::MetadataExt as _;

        let state = tempfile::tempdir().unwrap();
        let store = RunStore::at(state.path());
        let digest = crate::id::Digest::of(b"component");
        let runs = [store.create_run().unwrap(), store.create_run().unwrap()];
        for run in &runs {
            run.keep_component(&digest, b"component", Some("[skill]")).unwrap();
            assert_eq!(fs::read(run.component(&digest)).unwrap(), b"component");
            assert_eq!(fs::read(run.component(&digest).with_extension("toml")).unwrap(), b"[skill]");
        }
        let shared = state.path().join(COMPONENTS).join(format!("{digest}.wasm"));
        assert_eq!(fs::metadata(&shared).unwrap().nlink(), 3);
        // A damaged shared copy is not spread.
        fs::remove_file(&shared).unwrap();
        fs::write(&shared, b"c0mponent").unwrap();
        let run = store.create_run().unwrap();
        run.keep_component(&digest, b"component", None).unwrap();
        assert_eq!(fs::read(run.component(&digest)).unwrap(), b"component");
        fs::write(run.trace(), b"").unwrap();
        let copy = run.copy_to(&state.path().join("copy")).unwrap();
        assert_eq!(fs::read(copy.component(&digest)).unwrap(), b"component");
    }
}
