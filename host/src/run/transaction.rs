//! What a step changes is kept or taken back as a whole.

use super::log::{Go, StepLog};
use super::steps::Steps;
use crate::trace::event::{Event, Flow, FlowEvent};
use crate::trace::flow::Undone;
use crate::validate::ValidStep;

impl Steps<'_> {
    /// Takes back what a step changed that completed.
    pub(super) fn undo_completed(&self, step: &ValidStep<'_>, log: &mut dyn StepLog) -> Go<Undone> {
        let recorded = log.take(|event| match event {
            Event::Flow(FlowEvent { step: Some(of), flow: Flow::Undone(undone) }) if of == step.id => {
                Some(undone.clone())
            }
            _ => None,
        })?;
        Ok(recorded.unwrap_or_default())
    }
}
