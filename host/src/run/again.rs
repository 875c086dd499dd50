//! A step that a resumed run makes again begins where it began before: what it had left, and what later steps have built on that in the same
//! files, is taken back first by their journals. What somebody else has changed meanwhile is left alone, and the run ends there.

use serde_json::json;

use super::intent::{self, Taken, Target};
use super::log::{Go, StepLog};
use super::reuse::Purpose;
use super::steps::{SoFar, Steps};
use super::transaction;
use super::turn::Turned;
use crate::host::Error;
use crate::journal::Journal;
use crate::outcome::{Outcome, RunOutcome};
use crate::report::StepReport;
use crate::trace::event::{Event, Flow, FlowEvent};
use crate::trace::flow::Undone;
use crate::validate::ValidStep;

/// What a step has left: what is taken back of it, the last step first, or the paths that somebody else has changed.
type Left = Result<Vec<Target>, Vec<String>>;

impl Steps<'_> {
    /// Takes back what a step left in the run that this one resumes. Gives how the turn ends where that may not be.
    pub(super) fn clear(
        &self,
        step: &ValidStep<'_>,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<Option<Turned>> {
        if so_far.purpose != Some(Purpose::Resume) {
            return Ok(None);
        }
        let any = |event: &Event| match event {
            Event::Flow(FlowEvent { flow: Flow::Undone(undone), .. }) => Some(undone.clone()),
            _ => None,
        };
        let mut known = 0;
        while let Some(undone) = log.take(any)? {
            if !undone.conflicts.is_empty() {
                return Ok(Some(not_again(step, &undone.conflicts, report)));
            }
            so_far.rewritten.extend(undone.changes.into_iter().map(|change| change.path));
            known += 1;
        }
        let (true, Some(journals)) = (log.is_live()?, &self.journals) else { return Ok(None) };
        let place = intent::place(&journals.run, step.id, 0);
        let targets = match intent::read(&place)? {
            Some(targets) => targets,
            None => match self.left_by(step)? {
                Ok(targets) if targets.is_empty() => return Ok(None),
                Ok(targets) => {
                    intent::keep(&place, &targets)?;
                    targets
                }
                Err(conflicts) => {
                    let ended = not_again(step, &conflicts, report);
                    log.note(&Flow::Undone(Undone { conflicts, ..Undone::default() }).of(step.id))?;
                    log.commit()?;
                    return Ok(Some(ended));
                }
            },
        };
        for Target { owner, journal, taken } in &targets {
            Journal::open(&self.journals_of(owner)?.join(journal))
                .and_then(|mut journal| journal.undo(None))
                .map_err(Error::from)?;
            if let Some(ledger) = log.ledger() {
                ledger.undone(owner.clone(), taken.step.to_string())?;
            }
        }
        for Taken { step, changes, .. } in targets.into_iter().skip(known).map(|target| target.taken) {
            so_far.rewritten.extend(changes.iter().map(|change| change.path.clone()));
            log.note(&Flow::Undone(Undone { changes, ..Undone::default() }).of(&step))?;
        }
        log.commit()?;
        Ok(None)
    }

    fn left_by(&self, step: &ValidStep<'_>) -> Go<Left> {
        let Some(earlier) = &self.earlier else { return Ok(Ok(Vec::new())) };
        let (mut targets, mut journals) = (Vec::new(), Vec::new());
        for (step, folder) in earlier.built_on(step.id) {
            if !transaction::is_there(&folder) {
                continue;
            }
            let journal = Journal::open(&folder).map_err(Error::from)?;
            let changes = transaction::changes(&journal)?;
            if !journal.is_sealed() || journal.is_undone() || changes.is_empty() {
                continue;
            }
            targets.extend(Target::at(&folder, Taken { run: None, step, changes }));
            journals.push(journal);
        }
        let mut conflicts = Journal::conflicts_of(&journals).map_err(Error::from)?;
        // What somebody has removed is made again, as it is without a journal.
        conflicts.retain(|conflict| !conflict.is_gone);
        if conflicts.is_empty() {
            return Ok(Ok(targets));
        }
        Ok(Err(conflicts.into_iter().map(|conflict| conflict.path).collect()))
    }
}

/// The step cannot be made again: what it would begin with is neither what it left nor what was there before.
fn not_again(step: &ValidStep<'_>, conflicts: &[String], report: &mut StepReport) -> Turned {
    let paths = conflicts.join(", ");
    let message = format!(
        "it cannot run again on top of what it had done: somebody else has changed {paths} since; put that back, or run the plan anew"
    );
    report.outcome =
        Some(Outcome::Failed { error: json!({ "code": "conflict", "message": message, "paths": conflicts }) });
    let because = format!("step `{}` cannot run again: somebody else has changed {paths} since", step.id);
    Turned::Stopped { outcome: RunOutcome::Failed, because }
}
