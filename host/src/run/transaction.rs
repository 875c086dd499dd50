//! What a step changes is kept or taken back as a whole.

use super::attempt::Attempt;
use super::log::{Go, StepLog};
use super::steps::Steps;
use crate::host::Error;
use crate::id::StepId;
use crate::sandbox::CancelToken;
use crate::trace::event::{Event, Flow, FlowEvent};
use crate::trace::flow::{Undone, UndoneChange};
use crate::validate::ValidStep;

/// What a step changes.
#[derive(Debug)]
pub(super) struct Transaction {}

impl Transaction {
    pub(super) fn begin(_steps: &Steps<'_>, _attempt: &Attempt<'_>) -> Result<Option<Self>, Error> {
        Ok(None)
    }

    pub(super) fn begin_ahead(
        _steps: &Steps<'_>,
        _attempt: &Attempt<'_>,
        _cancel: &CancelToken,
    ) -> Result<Option<Self>, Error> {
        Ok(None)
    }

    pub(super) fn keep(self) -> Result<(u64, Option<Self>), Error> {
        Ok((0, Some(self)))
    }

    pub(super) fn take_back(self) -> Result<Vec<UndoneChange>, Error> {
        Ok(Vec::new())
    }
}

/// Takes note of the undo of a step that is recorded next.
pub(super) fn recorded_undo(step: &StepId, log: &mut dyn StepLog) -> Go<Option<Undone>> {
    log.take(|event| match event {
        Event::Flow(FlowEvent { step: Some(of), flow: Flow::Undone(undone) }) if of == step => Some(undone.clone()),
        _ => None,
    })
}

impl Steps<'_> {
    /// Takes back what a step changed that completed.
    pub(super) fn undo_completed(&self, step: &ValidStep<'_>, log: &mut dyn StepLog) -> Go<Undone> {
        if !log.is_live()? {
            return Ok(recorded_undo(step.id, log)?.unwrap_or_default());
        }
        Ok(Undone::default())
    }
}
