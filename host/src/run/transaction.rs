//! What a step changes is kept or taken back as a whole: the undo journals of a run's attempts, `journal/<step>.<attempt>` in its folder
//! (`.0` for what compensates the step). They stay until the run is removed, so that what completed can be taken back later.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::attempt::Attempt;
use super::log::{Go, StepLog};
use super::steps::Steps;
use crate::durability::Durability;
use crate::host::Error;
use crate::id::StepId;
use crate::journal::claims::{Access, Claims};
use crate::journal::{CLAIMED, ChangeKind, Journal, JournalError, PathChange, Root, Spares, adopt};
use crate::policy::Grant;
use crate::sandbox::Undo;
pub(crate) use crate::store::JOURNALS;
use crate::store::index::StepFacts;
use crate::store::{RunDir, taken};
use crate::trace::event::{Event, Flow, FlowEvent};
use crate::trace::flow::{Undone, UndoneChange};
use crate::validate::ValidStep;

/// Where the journals of a run are.
#[derive(Debug, Clone)]
pub(crate) struct Journals {
    pub(crate) run: PathBuf,
    durability: Durability,
    /// How many were begun.
    begun: Arc<AtomicU64>,
    /// For those whose changes are to survive a power failure.
    spares: Option<Spares>,
}

impl Journals {
    /// Of a run that has this folder.
    pub(crate) fn of(run: &Path, durability: Durability) -> Self {
        let spares = (durability == Durability::Full).then(|| Spares::in_folder(&run.join(JOURNALS)));
        Self { run: run.to_owned(), durability, begun: Arc::default(), spares }
    }

    /// Makes the names of the journals durable: once, behind the last step.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        let settled = self.spares.as_ref().map_or(Ok(()), Spares::settle);
        settled.map_err(|source| Error::Journals { path: self.run.join(JOURNALS), source })
    }
}

/// What a step changes.
#[derive(Debug)]
pub(super) struct Transaction {
    undo: Undo,
    path: PathBuf,
    claims: Option<(Claims, usize)>,
}

impl Transaction {
    /// Of an attempt that is about to be made; `None` where it can neither read nor change a file. Where steps run at one time, `tell` is
    /// called when the attempt has lost a path to a step that stands before it.
    pub(super) fn begin(
        steps: &Steps<'_>,
        attempt: &Attempt<'_>,
        claims: Option<&Claims>,
        tell: impl Fn() + Send + 'static,
    ) -> Result<Option<Self>, Error> {
        let Some(journals) = &steps.journals else { return Ok(None) };
        // With what it calls: all of it is one change.
        let within = steps.authorized.delegation().within(attempt.grant);
        let callees: BTreeMap<usize, &Grant> =
            within.into_values().map(|(_, index, grant)| (index, &**grant)).collect();
        let grants =
            || std::iter::once((None, &**attempt.grant)).chain(callees.iter().map(|(at, of)| (Some(*at), *of)));
        if grants().all(|(_, grant)| grant.filesystem.is_empty()) {
            return Ok(None);
        }
        let path = journal(&journals.run, attempt.step, attempt.number, attempt.compensates);
        let mut roots: Vec<Root> = Vec::new();
        for (index, grant) in grants() {
            for (guest, handle) in steps.directories.handles(grant, &steps.host.workspace) {
                let failed = |source| Error::Directory { guest: guest.clone(), source };
                let file = handle.try_clone().map_err(failed)?.into_std_file();
                let mut root = Root::new(guest.clone(), file).map_err(failed)?;
                if let Some(index) = index {
                    if roots.iter().any(|other| other.host == root.host) {
                        continue;
                    }
                    // Two grants may call two directories the same.
                    if roots.iter().any(|other| other.guest == root.guest) {
                        root.guest = format!("{guest} (grant {index})");
                    }
                }
                roots.push(root);
            }
        }
        let number = journals.begun.fetch_add(1, Ordering::Relaxed);
        let journal = Journal::create(&path, number, roots, journals.durability)?;
        let undo = Undo::new(journal.with_spares(journals.spares.clone()));
        let claims = claims.filter(|_| !attempt.compensates).map(|claims| (claims.clone(), attempt.position));
        let undo = match &claims {
            Some((claims, position)) => {
                claims.enter(*position, tell);
                undo.with_claims(claims.clone(), *position)
            }
            None => undo,
        };
        Ok(Some(Self { undo, path, claims }))
    }

    /// Where the sandbox notes what is about to change.
    pub(super) const fn undo(&self) -> &Undo {
        &self.undo
    }

    /// The path that the attempt has lost, as the guest knows it, and the position of the step that it has lost it to.
    pub(super) fn lost(&self) -> Option<(String, usize)> {
        let (claims, position) = self.claims.as_ref()?;
        let lost = claims.lost(*position)?;
        Some((self.undo.with(|journal| journal.guest_of(&lost.path)), lost.with))
    }

    /// The attempt completed: what it changed stays, and what it read is noted for those who ask later whether its result still holds. Gives
    /// how many paths it has changed.
    pub(super) fn keep(&self) -> Result<u64, Error> {
        let changed = self.undo.with(Journal::seal)?.len() as u64;
        if let Some((claims, position)) = &self.claims {
            let path = Journal::beside(&self.path, CLAIMED);
            let bytes = serde_json::to_vec(&claims.of(*position)).map_err(std::io::Error::other);
            let written = bytes.and_then(|bytes| std::fs::write(&path, bytes));
            written.map_err(|source| Error::Journals { path, source })?;
        }
        Ok(changed)
    }

    /// The attempt did not complete: everything is as it was before it, but for what is told. What it touched stays claimed until
    /// [`Self::release`]: how it ended depends on that.
    pub(super) fn take_back(&self) -> Result<Undone, Error> {
        self.undo.with(take_back)
    }

    /// What it touched does not count any more.
    pub(super) fn release(self) {
        if let Some((claims, position)) = &self.claims {
            claims.release(*position);
        }
    }

    /// The attempt does not count: everything is as it was before it, and it may be made again from its beginning.
    pub(super) fn forget(self) -> Result<(), Error> {
        self.undo.with(|journal| journal.undo(None).map(drop))?;
        Journal::remove_all(&self.path).map_err(|source| Error::Journals { path: self.path.clone(), source })?;
        self.release();
        Ok(())
    }
}

/// Puts everything back, but for what the system does not let it. Gives what was changed and what could not be put back, by guest path.
///
/// # Errors
///
/// Where it cannot be noted how far that has come.
pub(super) fn take_back(journal: &mut Journal) -> Result<Undone, Error> {
    // What cannot be read may be put back all the same.
    let changes = changes(journal).or_else(|_| changes(journal)).unwrap_or_default();
    match journal.undo(None) {
        Ok(_) => Ok(Undone { changes, ..Undone::default() }),
        Err(error @ JournalError::Io { .. }) => Err(error.into()),
        Err(error) => Ok(Undone { changes, failed: vec![error.failure().message], ..Undone::default() }),
    }
}

/// What a step changed, by guest path.
pub(super) fn changes(journal: &Journal) -> Result<Vec<UndoneChange>, Error> {
    let mut changes: Vec<UndoneChange> = journal.changes()?.iter().map(undone).collect();
    changes.sort();
    Ok(changes)
}

fn undone(change: &PathChange) -> UndoneChange {
    let name = match change.kind {
        ChangeKind::Created => "created",
        ChangeKind::Modified => "modified",
        ChangeKind::Removed => "removed",
        ChangeKind::Renamed { .. } => "renamed",
        ChangeKind::Times => "times",
    };
    UndoneChange { change: name.to_owned(), path: change.guest.clone() }
}

/// The journal of an attempt.
pub(crate) fn journal(run: &Path, step: &StepId, attempt: u32, compensates: bool) -> PathBuf {
    let attempt = if compensates { 0 } else { attempt };
    run.join(JOURNALS).join(format!("{step}.{attempt}"))
}

/// Whether there is a journal. Where that cannot be told there is one: whoever opens it says what is wrong with it.
pub(super) fn is_there(journal: &Path) -> bool {
    let look = || match std::fs::metadata(journal) {
        Ok(found) => Ok(found.is_file()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    !journal.as_os_str().is_empty() && look().or_else(|_| look()).unwrap_or(true)
}

/// The journal of a step whose result a run has taken from another one, as far as that is known.
pub(super) fn taken(run: &Path, step: &StepId) -> Option<PathBuf> {
    taken::read(run).ok()?.remove(step)
}

/// Whether what a step read and wrote is as it left it, but for paths of which `is_later` says that a later step of its run has written
/// them.
pub(super) fn changed_since(journal: &Path, is_later: impl Fn(&str) -> bool) -> Result<(), String> {
    let Some(mut touched) = Journal::touched(journal) else {
        return Err("what it read is not known any more".to_owned());
    };
    touched.reads.retain(|path, _| !is_later(path));
    touched.writes.retain(|path, _| !is_later(path));
    if touched.is_nothing() {
        return Ok(());
    }
    let opened = Journal::open(journal).map_err(|error| error.to_string())?;
    opened.still(&touched).map_err(|changed| format!("`{}` {}", changed.path, changed.what))
}

/// What a step wrote.
pub(super) fn writes(journal: &Path) -> Vec<String> {
    Journal::touched(journal).map(|touched| touched.writes.into_keys().collect()).unwrap_or_default()
}

/// Claims again what a step had claimed that is settled.
pub(super) fn claim_again(claims: &Claims, position: usize, journal: &Path) -> Result<(), Error> {
    claims.enter(position, || {});
    let kept = crate::regular::read(&Journal::beside(journal, CLAIMED)).ok();
    if let Some(kept) = kept.and_then(|bytes| serde_json::from_slice::<Vec<(PathBuf, Access)>>(&bytes).ok()) {
        // What is settled has lost nothing.
        kept.iter().for_each(|(path, access)| drop(claims.claim(position, path, *access)));
        return Ok(());
    }
    // It ran alone.
    if let Some(touched) = Journal::touched(journal) {
        for (path, access) in Journal::open(journal)?.claims_of(&touched) {
            // What is settled has lost nothing.
            drop(claims.claim(position, &path, access));
        }
    }
    Ok(())
}

/// Says in a run's folder where the journal is of a step whose result it has taken.
pub(super) fn keep_taken(run: &Path, step: &StepId, journal: &Path) -> Result<(), Error> {
    taken::keep(run, step, journal).map_err(|source| Error::Journals { path: run.to_owned(), source })
}

/// Gives journals their names that a power failure has taken.
pub(super) fn adopt_in(run: &Path) -> Result<(), Error> {
    let path = run.join(JOURNALS);
    adopt(&path).map_err(|source| Error::Journals { path, source })
}

/// Takes back what attempts have done that are not settled, the last first, and forgets them: they are made again.
pub(super) fn put_in_order(run: &RunDir, settled: &BTreeSet<(StepId, u32)>) -> Result<(), Error> {
    let journals = run.path().join(JOURNALS);
    let failed = |source| Error::Journals { path: journals.clone(), source };
    adopt(&journals).map_err(failed)?;
    let entries = match std::fs::read_dir(&journals) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut unsettled = BTreeMap::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        // What is saved is there before the journal that it is saved for.
        let name = Journal::name_of(name).unwrap_or(name);
        if let Some(attempt) = attempt_of(name).filter(|attempt| !settled.contains(attempt)) {
            unsettled.insert(attempt, journals.join(name));
        }
    }
    let mut open = Vec::new();
    for (attempt, path) in unsettled {
        open.push((Journal::number(&path).map_err(failed)?, attempt, path));
    }
    // Attempts that were under way beside each other share no path; of those that followed each other the later is undone first.
    open.sort();
    for (_, _, path) in open.into_iter().rev() {
        if let Some(mut journal) = Journal::open_if_begun(&path)? {
            journal.undo(None)?;
        }
        Journal::remove_all(&path).map_err(failed)?;
    }
    Ok(())
}

/// Puts back what attempts have changed that did not complete and of which something could not be put back then.
pub(super) fn put_back_rest(run: &RunDir, failed: &BTreeSet<(StepId, u32)>) -> Result<(), Error> {
    for (step, attempt) in failed.iter().rev() {
        let path = journal(run.path(), step, *attempt, *attempt == 0);
        if let Some(mut journal) = Journal::open_if_begun(&path)?.filter(|journal| !journal.is_undone()) {
            journal.undo(None)?;
        }
    }
    Ok(())
}

/// How many paths an attempt has changed that completed and was not undone.
pub(super) fn changed(journal: &Path) -> Option<StepFacts> {
    let (step, attempt) = attempt_of(journal.file_name()?.to_str()?)?;
    let opened = Journal::open_if_begun(journal).ok()??;
    if attempt == 0 || !opened.is_sealed() || opened.is_undone() {
        return None;
    }
    let changed = Some(opened.changes().ok()?.len() as u64);
    Some(StepFacts { step: step.to_string(), attempt: Some(attempt), changed, ..StepFacts::default() })
}

/// A journal with the paths that somebody else has changed since its step completed.
fn conflicts_in(path: &Path) -> Result<(Journal, Vec<String>), JournalError> {
    let look = || {
        let journal = Journal::open(path)?;
        // What was begun to be undone is no conflict with itself.
        let conflicts = if journal.is_undone_in_part() { Vec::new() } else { journal.conflicts()? };
        Ok((journal, conflicts.into_iter().map(|conflict| conflict.path).collect()))
    };
    look().or_else(|_: JournalError| look())
}

fn attempt_of(name: &str) -> Option<(StepId, u32)> {
    let (step, attempt) = name.rsplit_once('.')?;
    Some((step.parse().ok()?, attempt.parse().ok()?))
}

/// Takes note of the undo of a step that is recorded next.
pub(super) fn recorded_undo(step: &StepId, log: &mut dyn StepLog) -> Go<Option<Undone>> {
    log.take(|event| match event {
        Event::Flow(FlowEvent { step: Some(of), flow: Flow::Undone(undone) }) if of == step => Some(undone.clone()),
        _ => None,
    })
}

impl Steps<'_> {
    /// Takes back what a step changed that completed: by its own journal, or that of the run whose result was taken.
    pub(super) fn undo_completed(
        &self,
        step: &ValidStep<'_>,
        (attempt, elsewhere): (u32, Option<PathBuf>),
        log: &mut dyn StepLog,
    ) -> Go<Undone> {
        if !log.is_live()? {
            return Ok(recorded_undo(step.id, log)?.unwrap_or_default());
        }
        if let Some(changes) = self.earlier.as_ref().and_then(|earlier| earlier.restored.changes(step.id)) {
            // A rollback before this one has done it; a replay of this one learns it from here.
            let undone = Undone { changes: changes.clone(), ..Undone::default() };
            log.note(&Flow::Undone(undone.clone()).of(step.id))?;
            log.commit()?;
            return Ok(undone);
        }
        let Some(journals) = &self.journals else { return Ok(Undone::default()) };
        let own = journal(&journals.run, step.id, attempt, false);
        // A run that goes on knows of a result that it had taken before by what it has noted.
        let at = elsewhere.or_else(|| if is_there(&own) { Some(own) } else { taken(&journals.run, step.id) });
        let Some(at) = at.filter(|at| is_there(at)) else { return Ok(Undone::default()) };
        let undone = match conflicts_in(&at) {
            Ok((mut journal, conflicts)) if conflicts.is_empty() => take_back(&mut journal)?,
            Ok((_, conflicts)) => Undone { conflicts, ..Undone::default() },
            Err(error) => Undone { failed: vec![error.failure().message], ..Undone::default() },
        };
        let is_wholly = undone.conflicts.is_empty() && undone.failed.is_empty();
        if !undone.changes.is_empty() || !is_wholly {
            log.note(&Flow::Undone(undone.clone()).of(step.id))?;
            log.commit()?;
        }
        if let (true, Some(ledger)) = (is_wholly, log.ledger()) {
            // In the run that did it: `runs/<run>/journal/<step>.<attempt>`.
            let run = at.ancestors().nth(2).and_then(Path::file_name).map(|run| run.to_string_lossy().into_owned());
            ledger.undone(run.unwrap_or_default(), step.id.to_string())?;
        }
        Ok(undone)
    }
}
