//! What a step changes is kept or taken back as a whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::attempt::Attempt;
use super::log::{Go, StepLog};
use super::steps::Steps;
use crate::host::Error;
use crate::id::StepId;
use crate::sandbox::CancelToken;
use crate::store::RunDir;
use crate::trace::event::{Event, Flow, FlowEvent};
use crate::trace::flow::{Undone, UndoneChange};
use crate::validate::ValidStep;

/// The folder of journals in a run's folder.
pub(super) const JOURNALS: &str = "journal";

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

/// The folder of the journal of an attempt.
pub(super) fn folder(run: &Path, step: &StepId, attempt: u32, compensates: bool) -> PathBuf {
    let attempt = if compensates { 0 } else { attempt };
    run.join(JOURNALS).join(format!("{step}.{attempt}"))
}

/// The journal of a step whose result a run has taken from another one.
pub(super) fn link(run: &Path, step: &StepId) -> PathBuf {
    let at = run.join(JOURNALS).join(format!("{step}.link"));
    std::fs::read_link(&at).unwrap_or(at)
}

/// Whether what a step read and wrote is as it left it.
pub(super) fn changed_since(_journal: &Path) -> Result<(), String> {
    Ok(())
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

/// Takes back what attempts have done that are not settled, the last first.
pub(super) fn put_in_order(_run: &RunDir, _settled: &BTreeSet<(StepId, u32)>) -> Result<(), Error> {
    Ok(())
}
