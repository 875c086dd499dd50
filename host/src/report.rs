//! What the user is told about a run: a value folded from what happened, and its renderings as text and JSON. Pure.

pub mod audit;
pub mod human;
pub mod json;

use std::path::PathBuf;

use serde_json::Value;

use crate::diff::Changes;
use crate::id::{Digest, SkillName, SnapshotId, StepId, ToolName};
use crate::outcome::{Failure, Outcome, RunOutcome};
use crate::policy::{DecidedBy, Denial};
use crate::problem::Problem;
use crate::sandbox::LogRecord;
use crate::skill::SkillOrigin;

/// What happened in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The run's id; empty where it was not kept: see [`Self::is_kept`].
    pub run: String,
    /// Its folder; empty where it was not kept.
    pub folder: PathBuf,
    /// The plan's name; empty where it could not be read.
    pub plan: String,
    /// The bundle that its skills are from, where there is one.
    pub snapshot: Option<SnapshotId>,
    /// The skills it used, with where each is from and its digest.
    pub skills: Vec<(SkillName, SkillOrigin, Digest)>,
    /// The policy that decided; `None` where that is not known.
    pub policy: Option<DecidedBy>,
    /// Its labels.
    pub tags: Vec<String>,
    /// How the run ended.
    pub outcome: RunOutcome,
    /// The plan's output; `null` unless it completed.
    pub output: Value,
    /// Every step of a valid plan, in the order in which they run.
    pub steps: Vec<StepReport>,
    /// Why the plan was refused.
    pub problems: Vec<Problem>,
    /// The steps that were denied, and why: all of a plan of which nothing ran, or the one that ended the run.
    pub denials: Vec<Denial>,
    /// Whether denials of the policy stopped nothing.
    pub log_only: bool,
    /// What would have been denied, where denials stopped nothing.
    pub would_deny: Vec<Denial>,
    /// What the run waits for, where it is paused.
    pub pending: Option<Pending>,
    /// How the steps that completed were taken back, where that was done.
    pub rollback: Option<RollbackReport>,
    /// Why the host could not go on, where that is how the run ended: nothing that a guest did.
    pub failure: Option<Failure>,
    /// What it would have changed, where it was a dry run. There is no run then: neither id nor folder.
    pub dry_run: Option<DryRun>,
    /// The hash of the trace's last event: equal for equal runs.
    pub head: Digest,
    /// The number of events.
    pub events: u64,
    /// Where the time went: (phase, microseconds), in order. A wall-clock fact.
    pub phases: Vec<(&'static str, u64)>,
    /// What of that time went to making components ready: (`hash`, `compile`, `link` or `instantiate`, microseconds). What was done before and
    /// kept is not among it. A wall-clock fact.
    pub parts: Vec<(&'static str, u64)>,
    /// What a person may want to know although the run is right.
    pub warnings: Vec<String>,
}

/// What a dry run has found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DryRun {
    /// The steps for which somebody would have been asked.
    pub approvals: Vec<Rehearsed>,
    /// The steps that ran without the network that they are granted.
    pub network: Vec<StepId>,
    /// What would have changed in the folders that may be written.
    pub changes: Changes,
}

/// A step that ran in a dry run although it needs approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// The step.
    pub step: StepId,
    /// Why.
    pub needs_approval: Vec<String>,
}

/// What happened to one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// The step.
    pub id: StepId,
    /// Its tool.
    pub tool: ToolName,
    /// How it ended; `None` where it did not run.
    pub outcome: Option<Outcome>,
    /// Host calls.
    pub calls: u64,
    /// Fuel; `None` where it is not known.
    pub fuel: Option<u64>,
    /// The most linear memory in use, in bytes.
    pub memory_bytes: u64,
    /// Wall time in microseconds.
    pub duration_us: u64,
    /// What of it was making the instance, in microseconds.
    pub instantiate_us: u64,
    /// The last that the guest wrote to stderr where the step did not complete and its outcome does not hold it: what a panic says.
    pub stderr: String,
    /// Whether it failed because its output is not what the plan expects.
    pub drifted: bool,
    /// What the guest logged and, of a tool that is a function, what it wrote to stdout and stderr.
    pub logs: Vec<LogRecord>,
    /// How often it was begun.
    pub attempts: u32,
    /// Why its condition kept it from running.
    pub skipped: Option<String>,
    /// What was saved because its result was taken from a record.
    pub reused: Option<Saved>,
    /// Why its recorded result was not taken, where there was one.
    pub ran_again: Option<String>,
    /// Whether what it did was taken back after it had completed.
    pub undone: bool,
    /// Whether the run waits for somebody's approval of it.
    pub awaits_approval: bool,
}

/// What a step did not use because its result was taken from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Fuel.
    pub fuel: u64,
    /// Host calls.
    pub calls: u64,
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The step.
    pub step: StepId,
    /// Its tool; `host.approve` for a step that only asks.
    pub tool: ToolName,
    /// Why approval is needed.
    pub needs_approval: Vec<String>,
    /// What an answer is bound to.
    pub subject: Digest,
    /// What the plan says to whoever is asked; may be empty.
    pub message: String,
    /// Whether a webhook is named by which somebody is told.
    pub told: bool,
}

/// Why a run is taken back that somebody has cancelled.
pub(crate) const CANCELLED: &str = "the run was cancelled";

/// How a run was rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackReport {
    /// Why.
    pub because: String,
    /// What is left to do by hand, a line each; empty where everything was taken back.
    pub left: Vec<String>,
}

impl StepReport {
    /// A step that did not run yet.
    #[must_use]
    pub const fn of(id: StepId, tool: ToolName) -> Self {
        Self {
            id,
            tool,
            outcome: None,
            calls: 0,
            fuel: None,
            memory_bytes: 0,
            duration_us: 0,
            instantiate_us: 0,
            stderr: String::new(),
            drifted: false,
            logs: Vec::new(),
            attempts: 0,
            skipped: None,
            reused: None,
            ran_again: None,
            undone: false,
            awaits_approval: false,
        }
    }
}

/// What a run used, and what it did not use because results were taken from a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Fuel of the steps that ran.
    pub fuel: u64,
    /// Their host calls.
    pub calls: u64,
    /// Steps whose result was taken from a record.
    pub reused: u64,
    /// Fuel that they did not use again.
    pub saved_fuel: u64,
    /// Host calls that they did not make again.
    pub saved_calls: u64,
}

impl Report {
    /// What the run used and saved: the sums over its steps.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        for step in &self.steps {
            cost.fuel = cost.fuel.saturating_add(step.fuel.unwrap_or_default());
            cost.calls = cost.calls.saturating_add(step.calls);
            if let Some(Saved { fuel, calls }) = step.reused {
                cost.reused += 1;
                cost.saved_fuel = cost.saved_fuel.saturating_add(fuel);
                cost.saved_calls = cost.saved_calls.saturating_add(calls);
            }
        }
        cost
    }

    /// Whether there is a run with a folder: not where it was a dry run, nor where nothing was to be kept of it.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        !self.run.is_empty()
    }

    /// Whether this step was denied.
    #[must_use]
    pub fn denies(&self, step: &StepReport) -> bool {
        self.denials.iter().any(|denial| denial.step == step.id)
    }

    /// Whether it was taken back because somebody has cancelled it.
    #[must_use]
    pub fn was_cancelled(&self) -> bool {
        self.rollback.as_ref().is_some_and(|rollback| rollback.because == CANCELLED)
    }

    /// The step that ended the run, if one did.
    #[must_use]
    pub fn failed_step(&self) -> Option<&StepReport> {
        self.steps.iter().find(|step| step.outcome.as_ref().is_some_and(|outcome| !outcome.is_completed()))
    }
}
