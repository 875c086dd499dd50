//! Deletes what is no longer wanted: runs that have ended, then the components and compiled code that no run names any more.
//!
//! Never a run that runs, waits for a decision, or is locked. Killed at any point it leaves nothing that looks like a run and is none: a run
//! is first taken out of the index, then its folder is renamed into `trash/` as a whole, then deleted there. The next call finishes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::index::{Durability, Index, RunFilter, RunRow, RunStatus};
use super::lock::{LockError, RunLock};
use super::{COMPONENTS, JOURNALS, RUNS, RunDir, RunStore, StoreError, create_folder, failed, keys};
use crate::clock;
use crate::id::Digest;
use crate::policy::AuditSettings;
use crate::trace::TRACE_FILE;
use crate::trace::event::Event;
use crate::trace::reader::last_event;

/// Where folders are on their way to be deleted, below the state folder.
pub(super) const TRASH: &str = "trash";
/// The folder of compiled components, below the state folder.
pub(super) const CACHE: &str = "cache";
/// After this long, what a start or a write has left behind unfinished will not be finished.
const ABANDONED: Duration = Duration::from_hours(24);

/// What is not wanted any more.
#[derive(Debug, Clone, Default)]
pub struct GcOptions {
    /// Runs whose last event is at least so long ago; `None` for any. Where the policy of a run says for how many days it is kept, never one that
    /// is younger than that.
    pub older_than: Option<Duration>,
    /// The same for runs whose policy says nothing of it, where [`Self::older_than`] does not say more.
    pub default_age: Option<Duration>,
    /// The newest ended runs that are kept whatever their age.
    pub keep: usize,
    /// Deletes nothing and says what would be.
    pub dry_run: bool,
    /// Components that are wanted although no run names them.
    pub in_use: BTreeSet<Digest>,
}

/// What was deleted, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Runs, the newest first.
    pub runs: Vec<String>,
    /// Runs that would be deleted by their age and are not, with the reason.
    pub spared: Vec<(String, &'static str)>,
    /// Rows of the index whose folder was gone already.
    pub forgotten: Vec<String>,
    /// Steps that cannot be undone any more because their run is gone.
    pub undo_steps: usize,
    /// Shared components.
    pub components: u64,
    /// Compiled components.
    pub compiled: u64,
    /// Idempotency keys, with their answers.
    pub keys: usize,
    /// Files and folders that something unfinished has left behind.
    pub leftovers: u64,
    /// Bytes of files that nothing else refers to.
    pub bytes: u64,
}

/// What may be done with a run.
enum Fate {
    Ended,
    Spared(&'static str),
}

/// Collects.
///
/// # Errors
///
/// [`StoreError`]. What was deleted until then stays deleted, and a later call goes on.
pub fn collect(store: &RunStore, options: &GcOptions, now: Duration) -> Result<Collected, StoreError> {
    let mut done = Collected::default();
    let trash = store.state().join(TRASH);
    if !options.dry_run {
        empty(&trash, &mut done)?;
    }
    let mut index = Index::existing(store.state(), Durability::Full)?;
    let rows: BTreeMap<String, RunRow> = match &index {
        Some(index) => index.runs(&RunFilter::default())?.into_iter().map(|run| (run.id.clone(), run)).collect(),
        None => BTreeMap::new(),
    };
    let ids = store.ids()?;
    let mut ended = 0_usize;
    // Runs of which a kept one needs something. A run needs only older ones, which come later.
    let mut needed: BTreeSet<String> = BTreeSet::new();
    for id in &ids {
        let path = store.state().join(RUNS).join(id);
        let fate = fate(&path, rows.get(id), now);
        ended += usize::from(matches!(fate, Fate::Ended));
        let retention = retention(&path);
        let (old, kept) = is_old(changed(&path).map(|at| now.saturating_sub(at)), retention, options);
        match fate {
            Fate::Ended if kept && ended > options.keep => {
                done.spared.push((id.clone(), "its policy keeps it longer"));
            }
            Fate::Ended if old && ended > options.keep && needed.contains(id) => {
                done.spared.push((id.clone(), "a run that stays continues it or has results of it"));
            }
            Fate::Ended if old && ended > options.keep => remove(store, id, index.as_mut(), options, &mut done)?,
            Fate::Ended => {}
            Fate::Spared(reason) if old => done.spared.push((id.clone(), reason)),
            Fate::Spared(_) => {}
        }
        if !done.runs.contains(id) {
            needed.extend(needs(&path)?);
        }
    }
    done.forgotten = rows.into_keys().filter(|id| ids.binary_search_by(|known| id.cmp(known)).is_err()).collect();
    if let Some(index) = index.as_mut().filter(|_| !options.dry_run) {
        index.forget(&done.forgotten)?;
    }
    forget_keys(store, index.as_mut(), options, now, &mut done)?;
    let mut named = options.in_use.clone();
    for id in ids.iter().filter(|id| !done.runs.contains(id)) {
        names(&store.state().join(RUNS).join(id).join(COMPONENTS), &mut named)?;
    }
    unnamed(&store.state().join(COMPONENTS), &named, options.dry_run, now, &mut done)?;
    unnamed(&store.state().join(CACHE), &named, options.dry_run, now, &mut done)?;
    Ok(done)
}

/// For how long the policy of a run keeps it.
fn retention(path: &Path) -> Option<Duration> {
    let text = RunDir::open(path).ok()?.policy_text().ok()?;
    let days = AuditSettings::of_text(&text)?.retention_days?;
    Some(Duration::from_secs(days.saturating_mul(24 * 60 * 60)))
}

/// Whether a run of that age is old enough to be deleted, and whether it would be if its policy did not keep it.
fn is_old(age: Option<Duration>, retention: Option<Duration>, options: &GcOptions) -> (bool, bool) {
    let beyond = |least: Option<Duration>| least.is_none_or(|least| age.is_some_and(|age| age >= least));
    let asked = beyond(options.older_than);
    match retention {
        Some(_) => (asked && beyond(retention), asked && options.asks_for_age() && !beyond(retention)),
        None => (asked && beyond(options.default_age), false),
    }
}

impl GcOptions {
    /// Whether somebody has said which runs are not wanted any more.
    const fn asks_for_age(&self) -> bool {
        self.older_than.is_some() || self.default_age.is_none()
    }
}

/// Forgets the keys of requests that are so old, and what sessions have left behind that were killed.
fn forget_keys(
    store: &RunStore,
    index: Option<&mut Index>,
    options: &GcOptions,
    now: Duration,
    done: &mut Collected,
) -> Result<(), StoreError> {
    if let (Some(index), Some(age)) = (index, options.older_than) {
        done.keys = index.forget_requests(&clock::rfc3339(now.saturating_sub(age)), options.dry_run)?;
    }
    for folder in keys::abandoned(store.state()) {
        if changed(&folder).is_none_or(|at| now.saturating_sub(at) < ABANDONED) {
            continue;
        }
        done.leftovers += 1;
        if !options.dry_run {
            fs::remove_dir_all(&folder).map_err(failed("delete", &folder))?;
        }
    }
    Ok(())
}

/// What the index and the trace say of a run together. The index may be behind the trace, and it knows what no trace says.
fn fate(path: &Path, row: Option<&RunRow>, now: Duration) -> Fate {
    match row.map(|row| row.status) {
        Some(RunStatus::Paused) => return Fate::Spared("it waits for a decision"),
        Some(RunStatus::Unknown) => return Fate::Spared("what it did outside is unknown: it needs a decision"),
        Some(status) if status.has_ended() => return Fate::Ended,
        _ => {}
    }
    let trace = path.join(TRACE_FILE);
    match last_event(&trace) {
        Ok(Some(Event::RunEnd { .. })) => return Fate::Ended,
        Ok(_) if fs::metadata(&trace).is_ok_and(|found| found.len() > 0) => {}
        // It was killed before its first event.
        _ => {
            let old = changed(path).is_some_and(|at| now.saturating_sub(at) >= ABANDONED);
            return if old { Fate::Ended } else { Fate::Spared("it has just begun") };
        }
    }
    // A last event too long for a glance, or none that ends the run.
    Fate::Spared("it has not ended")
}

/// The runs that a run cannot do without: the one that it continues, to go on; those whose results it has taken, to be undone.
fn needs(run: &Path) -> Result<BTreeSet<String>, StoreError> {
    let continued =
        RunDir::open(run).and_then(|folder| folder.place()).ok().flatten().and_then(|place| place.continues);
    let mut needed: BTreeSet<String> = continued.into_iter().map(|(run, _)| run).collect();
    for (path, found) in entries(&run.join(JOURNALS))? {
        // A link to `runs/<run>/journal/<step>.<attempt>`.
        if found.is_symlink()
            && let Ok(target) = fs::read_link(&path)
            && let Some(name) = target.ancestors().nth(2).and_then(Path::file_name)
        {
            needed.insert(name.to_string_lossy().into_owned());
        }
    }
    Ok(needed)
}

/// When a run's trace, else its folder, was written last, as the time since 1970.
fn changed(path: &Path) -> Option<Duration> {
    let found = fs::metadata(path.join(TRACE_FILE)).or_else(|_| fs::metadata(path)).ok()?;
    found.modified().ok()?.duration_since(UNIX_EPOCH).ok()
}

fn remove(
    store: &RunStore,
    id: &str,
    index: Option<&mut Index>,
    options: &GcOptions,
    done: &mut Collected,
) -> Result<(), StoreError> {
    let path = store.state().join(RUNS).join(id);
    let lock = match options.dry_run {
        true if RunLock::is_held(&path) => Err(LockError::Run { run: id.to_owned() }),
        true => Ok(None),
        false => RunLock::acquire(&path).map(Some),
    };
    let lock = match lock {
        Ok(lock) => lock,
        Err(error) if error.is_held() => {
            done.spared.push((id.to_owned(), "somebody works on it"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    done.undo_steps += match &index {
        Some(index) => index.undo_stack(usize::MAX)?.iter().filter(|step| step.run == id).count(),
        None => 0,
    };
    done.bytes += size(&path)?;
    if !options.dry_run {
        if let Some(index) = index {
            index.forget(&[id.to_owned()])?;
        }
        let trash = store.state().join(TRASH);
        create_folder(&trash).map_err(failed("create", &trash))?;
        let target = trash.join(id);
        fs::rename(&path, &target).map_err(failed("delete", &path))?;
        drop(lock);
        fs::remove_dir_all(&target).map_err(failed("delete", &target))?;
    }
    done.runs.push(id.to_owned());
    Ok(())
}

/// Deletes what an earlier call has not come to.
fn empty(trash: &Path, done: &mut Collected) -> Result<(), StoreError> {
    for (path, found) in entries(trash)? {
        done.bytes += size(&path)?;
        done.leftovers += 1;
        let deleted = if found.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        deleted.map_err(failed("delete", &path))?;
    }
    Ok(())
}

/// The components that a run's folder has.
fn names(folder: &Path, named: &mut BTreeSet<Digest>) -> Result<(), StoreError> {
    named.extend(entries(folder)?.iter().filter_map(|(path, _)| digest_of(path)));
    Ok(())
}

/// The digest with which a file's name begins.
fn digest_of(path: &Path) -> Option<Digest> {
    path.file_name()?.to_str()?.get(..64)?.parse().ok()
}

/// Deletes the files of a folder that are about components which nobody names, and what a write has left behind.
fn unnamed(
    folder: &Path,
    named: &BTreeSet<Digest>,
    dry_run: bool,
    now: Duration,
    done: &mut Collected,
) -> Result<(), StoreError> {
    for (path, found) in entries(folder)?.into_iter().filter(|(_, found)| found.is_file()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let unfinished = name.ends_with(".new") || name.ends_with(".tmp");
        let age = found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let count = match digest_of(&path) {
            _ if unfinished && age.is_some_and(|at| now.saturating_sub(at) >= ABANDONED) => &mut done.leftovers,
            _ if unfinished => continue,
            Some(digest) if named.contains(&digest) => continue,
            Some(_) if name.ends_with(".wasm") => &mut done.components,
            Some(_) if name.ends_with(".cwasm") => &mut done.compiled,
            // The digest beside compiled code goes with it.
            Some(_) if name.ends_with(".cwasm.sha256") => &mut 0,
            // Not one of ours.
            _ => continue,
        };
        *count += 1;
        done.bytes += own_bytes(&found);
        if !dry_run {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("delete", &path)(error)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The bytes of a file that has no other name.
fn own_bytes(found: &Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;

    if found.is_file() && found.nlink() == 1 { found.len() } else { 0 }
}

fn size(path: &Path) -> Result<u64, StoreError> {
    entries(path)?.into_iter().try_fold(0_u64, |sum, (path, found)| {
        let bytes = if found.is_dir() { size(&path)? } else { own_bytes(&found) };
        Ok(sum.saturating_add(bytes))
    })
}

/// What is in a folder, sorted; nothing where there is none. A folder that is a link to another belongs to somebody else.
pub(super) fn entries(folder: &Path) -> Result<Vec<(PathBuf, Metadata)>, StoreError> {
    if !fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        match fs::symlink_metadata(&path) {
            Ok(metadata) => found.push((path, metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("read", &path)(error)),
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

#[cfg(test)]
mod tests;
