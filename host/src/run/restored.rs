//! What rollbacks of a run have done already: one that begins again does the rest.

use std::collections::{BTreeMap, BTreeSet};

use crate::host::Error;
use crate::id::StepId;
use crate::outcome::RunOutcome;
use crate::store::RunDir;
use crate::trace::TraceError;
use crate::trace::event::{Event, Flow, FlowEvent};
use crate::trace::flow::UndoneChange;
use crate::trace::reader::Reader;

/// What was taken back of a run.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// What each step had changed that was put back.
    files: BTreeMap<StepId, Vec<UndoneChange>>,
    /// Steps whose compensation completed.
    compensated: BTreeSet<StepId>,
    /// How the last rollback ended; `None` where it has not.
    outcome: Option<RunOutcome>,
}

impl Restored {
    /// Reads what a run has taken back, of itself or of another one.
    pub(super) fn read(&mut self, folder: &RunDir) -> Result<(), Error> {
        let mut reader = Reader::open(&folder.trace())?;
        let (mut is_back, mut compensates) = (false, None);
        self.outcome = None;
        loop {
            let event = match reader.next_line() {
                Ok(None) | Err(TraceError::Torn { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
                Ok(Some(line)) if line.kind().is_inside_of_step() => continue,
                Ok(Some(line)) => line.event()?,
            };
            match event {
                Event::Flow(FlowEvent { flow: Flow::Rollback(_), .. }) => is_back = true,
                Event::Flow(FlowEvent { step: Some(step), flow: Flow::Undone(undone) })
                    if is_back
                        && undone.conflicts.is_empty()
                        && undone.failed.is_empty()
                        && Some(&step) != compensates.as_ref() =>
                {
                    self.files.insert(step, undone.changes);
                }
                Event::StepBegin(begin) if begin.compensates => compensates = Some(begin.step),
                Event::StepEnd(end) if is_back && end.outcome.is_completed() => {
                    self.compensated.extend(compensates.take());
                }
                Event::RunEnd { outcome, .. } => self.outcome = Some(outcome),
                _ => {}
            }
        }
    }

    /// Whether there is something left, and nobody is about to do it.
    pub(super) fn is_incomplete(&self) -> bool {
        self.outcome == Some(RunOutcome::RollbackIncomplete)
    }

    /// What was put back of a step.
    pub(super) fn changes(&self, step: &StepId) -> Option<&Vec<UndoneChange>> {
        self.files.get(step)
    }

    /// Whether what the plan declares for a step was done.
    pub(super) fn is_compensated(&self, step: &StepId) -> bool {
        self.compensated.contains(step)
    }
}
