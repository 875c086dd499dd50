//! Taking back the last steps that changed files, of whatever run: by their journals alone, nothing that a plan declares.

use std::path::PathBuf;

use super::transaction;
use crate::clock;
use crate::host::{Error, SkillHost};
use crate::journal::{Conflict, Journal};
use crate::store::index::UndoStep;
use crate::store::{Index, RunLock, StoreError};
use crate::trace::flow::UndoneChange;

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoneStep {
    /// The run.
    pub run: String,
    /// Its step.
    pub step: String,
    /// What the step had done, by guest path.
    pub changes: Vec<UndoneChange>,
}

/// A path that somebody has changed since a step left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoConflict {
    /// The path as the guest saw it.
    pub path: String,
    /// What is the matter: lower case, no final period.
    pub what: String,
    /// From what is there now to what undoing would restore, where both are text.
    pub diff: Option<String>,
}

impl From<Conflict> for UndoConflict {
    fn from(Conflict { path, what, diff, .. }: Conflict) -> Self {
        Self { path, what, diff }
    }
}

/// Takes back the last `count` steps that changed files.
pub(crate) fn undo(host: &SkillHost, count: usize, force: bool) -> Result<Vec<UndoneStep>, Error> {
    let mut index = Index::open(host.store.state(), host.durability)?;
    if index.is_new() {
        index.catch_up(&host.store)?;
    }
    let steps = loop {
        let steps = index.undo_stack(count)?;
        // A rollback that was stopped right after it had undone them.
        let undone: Vec<_> = steps.iter().filter(|step| is_undone(host, step)).collect();
        if undone.is_empty() {
            break steps;
        }
        for step in undone {
            index.mark_undone(&step.run, &step.step, "rollback")?;
        }
    };
    if steps.len() < count {
        return Err(Error::NothingToUndo { asked: count, there: steps.len() });
    }
    let mut locks = std::collections::BTreeMap::new();
    let mut journals = Vec::new();
    for step in steps {
        let run = host.store.find(&step.run)?;
        if !locks.contains_key(&step.run) {
            locks.insert(step.run.clone(), RunLock::acquire(run.path()).map_err(StoreError::from)?);
            transaction::adopt_in(run.path())?;
        }
        let journal = Journal::open(&journal_of(run.path(), &step)?)?;
        journals.push((step, journal));
    }
    let conflicts = Journal::conflicts_of(journals.iter().map(|(_, journal)| journal))?;
    if !conflicts.is_empty() && !force {
        return Err(Error::UndoConflicts(conflicts.into_iter().map(UndoConflict::from).collect()));
    }
    let by = format!("undo {}", clock::utc_now());
    let mut undone = Vec::new();
    for (UndoStep { run, step, .. }, mut journal) in journals {
        let changes = transaction::changes(&journal)?;
        journal.undo(None)?;
        index.mark_undone(&run, &step, &by)?;
        undone.push(UndoneStep { run, step, changes });
    }
    Ok(undone)
}

/// Whether there is nothing left to undo of a step. What cannot be read is told when it is undone.
fn is_undone(host: &SkillHost, step: &UndoStep) -> bool {
    let journal = host.store.find(&step.run).map_err(Error::from).and_then(|run| {
        let folder = journal_of(run.path(), step)?;
        Ok(Journal::open(&folder)?)
    });
    journal.is_ok_and(|journal| journal.is_undone())
}

/// The folder of the journal of a step that can be undone.
pub(super) fn journal_of(run: &std::path::Path, step: &UndoStep) -> Result<PathBuf, Error> {
    let wrong = |_| Error::Damaged { what: format!("`{}` is no step", step.step) };
    let id = step.step.parse().map_err(wrong)?;
    let own = transaction::journal(run, &id, step.attempt, false);
    Ok(if transaction::is_there(&own) { own } else { transaction::taken(run, &id).unwrap_or(own) })
}
