//! What the host cannot do is how a step or a run ends, never a reason for a run to have no end: the failure is recorded, `on_failure` applies, and
//! a replay finds it again. Only a record (trace, undo journal, index) that cannot be written or read leaves a run to its recovery.

use super::log::{Go, Halt, StepLog};
use super::prepare::Checked;
use super::steps::{Done, SoFar, Steps};
use super::turn::Turned;
use crate::host::Error;
use crate::id::StepId;
use crate::journal::JournalError;
use crate::limits;
use crate::observe::HostEvent;
use crate::outcome::{Failure, RunOutcome};
use crate::plan::OnFailure;
use crate::problem::Problem;
use crate::report::{RollbackReport, StepReport};
use crate::sandbox::{SandboxError, causes};
use crate::store::StoreError;
use crate::trace::event::{Event, Flow, FlowEvent};
use crate::trace::flow::{Failed, Rollback, Undone};

impl Error {
    /// Whether it is the record itself that cannot be written or read: then nothing more can be recorded, and the run is left to its recovery.
    pub(super) const fn is_of_record(&self) -> bool {
        match self {
            Self::Trace(_) | Self::Sandbox(SandboxError::Trace(_)) | Self::Changed { .. } => true,
            // The end of a replay, which is nothing of the run's.
            Self::Ceiling { .. } => true,
            Self::Store(error) => matches!(error, StoreError::Io { .. } | StoreError::Index(_)),
            // What may have changed and is not noted is put in order by whoever goes on with the run.
            Self::Journals { .. } => true,
            Self::Journal(JournalError::Io { .. }) | Self::Sandbox(SandboxError::Journal(JournalError::Io { .. })) => {
                true
            }
            _ => false,
        }
    }

    /// Whether somebody has moved the ground under a grant: where it is put back, a run goes on.
    pub(super) const fn is_of_ground(&self) -> bool {
        matches!(self, Self::Sandbox(SandboxError::LinkedDirectory { .. } | SandboxError::LinkedWorkspace { .. }))
    }

    /// How a step or a run ends with it.
    pub(super) fn failure(&self) -> Failure {
        let code = match self {
            Self::Resolve(problem) => return of_problem(problem),
            Self::Sandbox(error) => return error.failure(),
            Self::Journal(error) => return error.failure(),
            Self::Directory { .. } => "journal",
            Self::Workspace { .. } => "directory",
            Self::Scratch(_) => "scratch",
            Self::Store(StoreError::Lock(_)) => "in-use",
            Self::UndoConflicts(_) => "conflict",
            Self::Damaged { .. } => "damaged",
            Self::Unsupported { .. } => "too-long",
            _ => "host",
        };
        let message = match self {
            Self::Workspace { source, .. } => format!("the workspace cannot be created: {source}"),
            Self::Store(StoreError::Lock(_)) => "somebody else works in a granted directory or a run".to_owned(),
            Self::Scratch(_) => "a copy for the rehearsal cannot be made".to_owned(),
            other => causes(other),
        };
        let hint = match self {
            Self::Store(error) => error.hint(),
            Self::Scratch(error) => error.hint(),
            Self::Workspace { .. } => Some("name another folder with `--workspace`".to_owned()),
            _ => None,
        };
        Failure { detail: Some(causes(self)), hint, ..Failure::of_host(code, message) }
    }
}

/// What is wrong with a plan and shows only in its run.
pub(super) fn of_problem(problem: &Problem) -> Failure {
    let failure = Failure::of_plan(&problem.code, problem.message.clone(), problem.pointer.clone());
    Failure { hint: problem.hint.clone(), ..failure }
}

/// Takes note of a recorded failure of the surroundings that is about `step`, or about the run.
fn recorded(step: Option<&StepId>, attempt: Option<u32>, log: &mut dyn StepLog) -> Go<Option<Failure>> {
    log.take(|event| match event {
        Event::Flow(FlowEvent { step: of, flow: Flow::Failed(failed) })
            if of.as_ref() == step && failed.host && failed.attempt == attempt =>
        {
            Some(failed.failure())
        }
        _ => None,
    })
}

/// How a run ends whose steps could not even begin; that it failed is in its log.
pub(super) fn ended_before_its_steps(failure: Failure, checked: &Checked, log: &mut dyn StepLog) -> Go<Done> {
    let mut done = Done::nothing(RunOutcome::Failed);
    if checked.plan.plan().on_failure == OnFailure::Rollback {
        // As it would be said behind a step.
        let because = failure.message.clone();
        log.note(&Flow::Rollback(Rollback { because: because.clone() }).of_run())?;
        done.outcome = RunOutcome::RolledBack;
        done.rollback = Some(RollbackReport { because, left: Vec::new() });
    }
    done.failure = Some(failure);
    Ok(done)
}

/// The same of a run that is replayed; `None` where its record does not say that it ended so.
pub(crate) fn recorded_before_its_steps(checked: &Checked, log: &mut dyn StepLog) -> Go<Option<Done>> {
    let failure = recorded(None, None, log)?;
    failure.map(|failure| ended_before_its_steps(failure, checked, log)).transpose()
}

/// Why the host could not go on with an attempt that has ended, where that is recorded.
pub(super) fn recorded_of(step: &StepId, attempt: u32, log: &mut dyn StepLog) -> Go<Option<Failure>> {
    recorded(Some(step), Some(attempt), log)
}

impl Steps<'_> {
    /// The end of a step's turn that is recorded as the host's failure.
    pub(super) fn known_to_fail(
        &self,
        step: &StepId,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<Option<Turned>> {
        let failure = recorded(Some(step), None, log)?;
        Ok(failure.map(|failure| ended(step, failure, so_far, report)))
    }

    /// Ends a step's turn before its attempt, or between two: the step failed.
    pub(super) fn fails(
        &self,
        step: &StepId,
        failure: Failure,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<Turned> {
        let is_live = log.is_live()?;
        log.note(&Flow::Failed(Failed::of(&failure, None)).of(step))?;
        log.commit()?;
        if is_live {
            self.host.observers.tell(HostEvent::StepEnd {
                step,
                attempt: report.attempts,
                compensates: false,
                outcome: &failure.outcome(),
                calls: 0,
                fuel: Some(0),
                duration_us: 0,
            });
        }
        Ok(ended(step, failure, so_far, report))
    }

    /// Ends a run between two steps. Gives why.
    pub(super) fn run_fails(
        &self,
        failure: Failure,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        done: &mut Done,
    ) -> Go<String> {
        log.note(&Flow::Failed(Failed::of(&failure, None)).of_run())?;
        log.commit()?;
        Ok(run_ended(failure, so_far, done))
    }

    /// Whether the run ends here because the host cannot go on: by what is recorded, or by what was found before the first step. Gives why.
    pub(super) fn is_unable(&self, so_far: &mut SoFar, log: &mut dyn StepLog, done: &mut Done) -> Go<Option<String>> {
        if let Some(failure) = recorded(None, None, log)? {
            return Ok(Some(run_ended(failure, so_far, done)));
        }
        match &self.unable {
            Some(failure) if so_far.failure.is_none() && log.is_live()? => {
                self.run_fails(failure.clone(), so_far, log, done).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What became of the steps where the host could not go on between them.
    pub(super) fn or_run_fails(
        &self,
        went: Go<String>,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        done: &mut Done,
    ) -> Go<String> {
        match went {
            Err(Halt::Error(error)) if !error.is_of_record() => self.run_fails(error.failure(), so_far, log, done),
            Err(halt) => Err(halt),
            Ok(because) => Ok(self.is_unable(so_far, log, done)?.unwrap_or(because)),
        }
    }
}

/// What follows where steps that did not complete could not be put back.
pub(super) fn leaves(because: String, so_far: &mut SoFar, done: &mut Done) {
    let mut left = std::mem::take(&mut so_far.left);
    if left.is_empty() || done.rollback.is_some() {
        return;
    }
    left.truncate(limits::ROLLBACK_LEFT_MAX);
    done.outcome = RunOutcome::RollbackIncomplete;
    done.rollback = Some(RollbackReport { because, left });
}

/// What could not be put back of a step, as a report lists it.
pub(super) fn left_of(step: &StepId, undone: &Undone) -> impl Iterator<Item = String> {
    undone.failed.iter().map(move |what| format!("step `{step}`: {what}"))
}

fn ended(step: &StepId, failure: Failure, so_far: &mut SoFar, report: &mut StepReport) -> Turned {
    report.outcome = Some(failure.outcome());
    let because = format!("step `{step}` failed: {}", failure.message);
    so_far.failure = Some(failure);
    Turned::Stopped { outcome: RunOutcome::Failed, because }
}

fn run_ended(failure: Failure, so_far: &mut SoFar, done: &mut Done) -> String {
    let because = failure.message.clone();
    done.outcome = RunOutcome::Failed;
    so_far.failure = Some(failure);
    because
}
