//! What the tools do that are the host itself. Each is a step as every other: its turn, its events, its place in a replay. A second one is
//! another arm in [`Steps::act_as_host`].
//!
//! `sys.undo` decides what it takes back, notes that beside the journals, and only then acts: made again after a crash, it does the same.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::attempt::Attempt;
use super::intent::{self, Taken, Target};
use super::log::{Go, StepLog};
use super::steps::{SoFar, Steps};
use super::{transaction, undo};
use crate::canonical;
use crate::host::Error;
use crate::id::StepId;
use crate::journal::{Journal, JournalError, Root};
use crate::limits::{self, LimitKind};
use crate::outcome::Outcome;
use crate::policy::Access;
use crate::skill::{HostTool, Tool};
use crate::store::{RunDir, RunLock};
use crate::trace::event::Flow;
use crate::trace::flow::Undone;
use crate::validate::undo_steps;

/// Why nothing was taken back. The step fails with it.
#[derive(Debug)]
struct Refusal {
    code: &'static str,
    message: String,
    paths: Vec<String>,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), paths: Vec::new() }
    }

    fn outcome(self) -> Outcome {
        let Self { code, message, paths } = self;
        Outcome::Failed { error: json!({ "code": code, "message": message, "paths": paths }) }
    }
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Self::new("unreadable", error.to_string())
    }
}

/// What is about to be taken back, the last one first, with the right to do so.
#[derive(Debug, Default)]
struct Chosen {
    targets: Vec<Target>,
    journals: Vec<Journal>,
    locks: Vec<RunLock>,
    locked: BTreeSet<String>,
}

/// What a step of `sys.undo` took back; nothing for any other tool.
fn taken_by(tool: &Tool, output: &Value) -> Vec<Taken> {
    match tool.of_the_host() {
        Some(HostTool::Undo) => output.get("undone").map(Taken::all).unwrap_or_default(),
        None => Vec::new(),
    }
}

/// The paths that a step of the host's own put back, by the output that was recorded of it.
pub(super) fn paths_of(tool: &Tool, output: &Value) -> Vec<String> {
    taken_by(tool, output).into_iter().flat_map(|taken| taken.changes).map(|change| change.path).collect()
}

/// The steps of the same run that a step took back.
pub(super) fn steps_of(tool: &Tool, output: &Value) -> Vec<StepId> {
    taken_by(tool, output).into_iter().filter(|taken| taken.run.is_none()).map(|taken| taken.step).collect()
}

/// How many steps of earlier runs a step took back.
pub(super) fn foreign(tool: &Tool, output: &Value) -> usize {
    taken_by(tool, output).iter().filter(|taken| taken.run.is_some()).count()
}

impl Steps<'_> {
    /// Does what a tool of the host's own does.
    pub(super) fn act_as_host(
        &self,
        tool: HostTool,
        attempt: &Attempt<'_>,
        so_far: &SoFar,
        log: &mut dyn StepLog,
    ) -> Go<Outcome> {
        match tool {
            HostTool::Undo => self.undo_last(attempt, so_far, log),
        }
    }

    /// What follows from the end of a step of the host's own for those after it. Of steps of earlier runs the event is about the step itself.
    pub(super) fn settled_by_host(
        &self,
        (step, tool): (&StepId, &Tool),
        outcome: &Outcome,
        so_far: &mut SoFar,
        log: Option<&mut dyn StepLog>,
    ) -> Go<()> {
        let Outcome::Completed { output } = outcome else { return Ok(()) };
        let taken = taken_by(tool, output);
        if log.is_some() {
            so_far.rewritten.extend(paths_of(tool, output));
        }
        so_far.taken_back.extend(steps_of(tool, output));
        let Some(log) = log else { return Ok(()) };
        for Taken { run, step: of, changes } in taken {
            let of = if run.is_some() { step } else { &of };
            log.note(&Flow::Undone(Undone { changes, ..Undone::default() }).of(of))?;
        }
        Ok(())
    }

    fn undo_last(&self, attempt: &Attempt<'_>, so_far: &SoFar, log: &mut dyn StepLog) -> Go<Outcome> {
        let no_record = || Error::Damaged { what: "a step that takes back has no record of what there is".to_owned() };
        let (Some(journals), Some(ledger)) = (&self.journals, log.ledger()) else { return Err(no_record().into()) };
        let own = ledger.run().to_owned();
        let place = intent::place(&journals.run, attempt.step, attempt.number);
        let chosen = match intent::read(&place)? {
            Some(targets) => {
                // It was decided before a crash, and may be done in part.
                let chosen = self.open(targets, &own)?;
                let conflicts = Journal::conflicts_of(&chosen.journals).map_err(Error::from)?;
                if !conflicts.is_empty() {
                    return Err(Error::UndoConflicts(conflicts.into_iter().map(Into::into).collect()).into());
                }
                chosen
            }
            None => {
                let steps = match undo_steps(attempt.input.get("steps")) {
                    Ok(steps) => steps as usize,
                    Err(message) => return Ok(Refusal::new("wrong-value", message).outcome()),
                };
                let mut chosen = Chosen::default();
                let refused = self.choose_own(steps, &own, so_far, &mut chosen)?.err();
                let refused = match refused {
                    None if chosen.targets.len() < steps => {
                        let stack = ledger.undo_stack(limits::UNDO_STEPS_MAX)?;
                        self.choose_foreign((attempt, steps), &own, stack, &mut chosen)?.err()
                    }
                    refused => refused,
                };
                if let Some(refusal) = refused.or_else(|| self.refusal(attempt, &chosen).err()) {
                    return Ok(refusal.outcome());
                }
                if canonical::to_vec(&output(&chosen.targets)).len() as u64 > attempt.limits.output_bytes {
                    let (limit, allowed) = (LimitKind::Output, attempt.limits.output_bytes);
                    return Ok(Outcome::LimitExceeded { limit, allowed, backtrace: Vec::new() });
                }
                intent::keep(&place, &chosen.targets)?;
                chosen
            }
        };
        let Chosen { targets, journals, locks, .. } = chosen;
        for (target, mut journal) in targets.iter().zip(journals) {
            journal.undo(None).map_err(Error::from)?;
            ledger.undone(target.owner.clone(), target.taken.step.to_string())?;
        }
        drop(locks);
        Ok(Outcome::Completed { output: output(&targets) })
    }

    /// The last steps of this run that changed files, at the most `most`.
    fn choose_own(&self, most: usize, own: &str, so_far: &SoFar, chosen: &mut Chosen) -> Go<Result<(), Refusal>> {
        let Some(journals) = &self.journals else { return Ok(Ok(())) };
        let steps: Vec<_> = self.checked.plan.steps().collect();
        for (position, attempt) in so_far.completed.iter().rev() {
            if chosen.targets.len() >= most {
                break;
            }
            let Some(step) = steps.get(*position).filter(|step| !so_far.taken_back.contains(step.id)) else { continue };
            let mut folder = transaction::journal(&journals.run, step.id, *attempt, false);
            if !transaction::is_there(&folder) {
                if so_far.purpose.is_none() {
                    // What another run did is that run's.
                    continue;
                }
                let known = so_far.journals.get(position).cloned();
                folder = known.or_else(|| transaction::taken(&journals.run, step.id)).unwrap_or(folder);
            }
            if !transaction::is_there(&folder) {
                continue;
            }
            let journal = match Journal::open(&folder) {
                Ok(journal) => journal,
                Err(error) => return Ok(Err(error.into())),
            };
            let changes = transaction::changes(&journal)?;
            if !journal.is_sealed() || changes.is_empty() {
                continue;
            }
            let taken = Taken { run: None, step: step.id.clone(), changes };
            let Some(target) = Target::at(&folder, taken) else { continue };
            if let Err(refusal) = self.lock(&target.owner, own, chosen)? {
                return Ok(Err(refusal));
            }
            chosen.targets.push(target);
            chosen.journals.push(journal);
        }
        Ok(Ok(()))
    }

    /// The rest from earlier runs, as `host undo` counts them.
    fn choose_foreign(
        &self,
        (attempt, most): (&Attempt<'_>, usize),
        own: &str,
        stack: Vec<crate::store::index::UndoStep>,
        chosen: &mut Chosen,
    ) -> Go<Result<(), Refusal>> {
        if self.earlier.as_ref().is_some_and(|earlier| earlier.took_back_foreign(attempt.step, attempt.call.tool)) {
            let what = "it has taken back steps of earlier runs before, and would count others now";
            return Ok(Err(Refusal::new("not-again", what)));
        }
        for step in stack {
            if chosen.targets.len() >= most {
                break;
            }
            let Ok(run) = self.host.store.find(&step.run) else { continue };
            let (Ok(folder), Ok(id)) = (undo::journal_of(run.path(), &step), step.step.parse::<StepId>()) else {
                continue;
            };
            let is_chosen = |target: &Target| Target::is_at(target, &folder);
            if step.run == own || chosen.targets.iter().any(is_chosen) {
                continue;
            }
            let journal = match Journal::open(&folder) {
                Ok(journal) => journal,
                Err(error) => return Ok(Err(error.into())),
            };
            if journal.is_undone() {
                continue;
            }
            let taken = Taken { run: Some(step.run.clone()), step: id, changes: transaction::changes(&journal)? };
            let Some(target) = Target::at(&folder, taken) else { continue };
            if let Err(refusal) = self.lock(&target.owner, own, chosen)? {
                return Ok(Err(refusal));
            }
            chosen.targets.push(target);
            chosen.journals.push(journal);
        }
        let there = chosen.targets.len();
        Ok(if there < most {
            Err(Refusal::new("nothing-to-undo", format!("{there} of the {most} steps can be undone")))
        } else {
            Ok(())
        })
    }

    /// Why what was chosen may not be taken back.
    fn refusal(&self, attempt: &Attempt<'_>, chosen: &Chosen) -> Result<(), Refusal> {
        let writable: BTreeSet<&str> = attempt
            .grant
            .filesystem
            .iter()
            .filter(|preopen| preopen.access == Access::ReadWrite)
            .map(|preopen| preopen.guest.as_str())
            .collect();
        let handles = self.directories.handles(attempt.grant, &self.host.workspace).into_iter();
        let roots = handles.filter(|(guest, _)| writable.contains(guest.as_str())).filter_map(|(guest, handle)| {
            let file = handle.try_clone().ok()?.into_std_file();
            Some(Root::new(guest, file).ok()?.host)
        });
        let roots: Vec<PathBuf> = roots.collect();
        for (target, journal) in chosen.targets.iter().zip(&chosen.journals) {
            let is_granted = |path: &PathBuf| roots.iter().any(|root| path.starts_with(root));
            if !journal.touched_on_host().iter().all(is_granted) {
                let step = &target.taken.step;
                let message = format!("step `{step}` changed files outside of the folders that this step may write");
                let paths = target.taken.changes.iter().map(|change| change.path.clone()).collect();
                return Err(Refusal { code: "not-granted", message, paths });
            }
        }
        let conflicts = Journal::conflicts_of(&chosen.journals)?;
        if conflicts.is_empty() {
            return Ok(());
        }
        let paths: Vec<String> = conflicts.into_iter().map(|conflict| conflict.path).collect();
        let message = format!("somebody else has changed since what would be restored: {}", paths.join(", "));
        Err(Refusal { code: "conflict", message, paths })
    }

    /// Nobody else may act in the run whose journal is undone.
    fn lock(&self, owner: &str, own: &str, chosen: &mut Chosen) -> Go<Result<(), Refusal>> {
        let is_held = self.earlier.as_ref().is_some_and(|earlier| earlier.is_held && earlier.run == owner);
        if owner == own || is_held || chosen.locked.contains(owner) {
            return Ok(Ok(()));
        }
        let run = self.host.store.find(owner)?;
        match RunLock::acquire(run.path()) {
            Ok(lock) => {
                chosen.locks.push(lock);
                chosen.locked.insert(owner.to_owned());
                Ok(Ok(()))
            }
            Err(error) if error.is_held() => Ok(Err(Refusal::new("in-use", error.to_string()))),
            Err(error) => Err(crate::store::StoreError::from(error).into()),
        }
    }

    fn open(&self, targets: Vec<Target>, own: &str) -> Go<Chosen> {
        let mut chosen = Chosen::default();
        for target in targets {
            if let Err(refusal) = self.lock(&target.owner, own, &mut chosen)? {
                return Err(Error::Damaged { what: refusal.message }.into());
            }
            let folder = self.journals_of(&target.owner)?.join(&target.journal);
            chosen.journals.push(Journal::open(&folder).map_err(Error::from)?);
            chosen.targets.push(target);
        }
        Ok(chosen)
    }

    /// The journals of a run of the same state folder.
    pub(super) fn journals_of(&self, run: &str) -> Result<PathBuf, Error> {
        let run: RunDir = self.host.store.find(run)?;
        Ok(run.path().join(transaction::JOURNALS))
    }
}

fn output(targets: &[Target]) -> Value {
    json!({ "undone": targets.iter().map(|target| &target.taken).collect::<Vec<_>>() })
}
