//! One step's turn: may it run, with what, how did it end.

use serde_json::Value;

use super::log::{Go, Next, StepLog, Turn};
use super::micros;
use super::steps::{SoFar, Steps};
use crate::clock::Stopwatch;
use crate::limits::StepLimits;
use crate::observe::HostEvent;
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::{AuthorizedStep, Denial, Exhausted, Permission, Why};
use crate::report::{Pending, StepReport};
use crate::sandbox::{Invocation, Links, RunDeadline};

use crate::trace::event::{Event, StepBegin, StepEnd};
use crate::validate::ValidStep;

/// What became of a step's turn.
#[derive(Debug)]
pub(crate) enum Turned {
    /// It completed.
    Completed,
    /// Its condition does not hold.
    Skipped,
    /// It ended otherwise, and the run with it.
    Stopped {
        /// How the run ends.
        outcome: RunOutcome,
        /// Why: lower case, no final period.
        because: String,
    },
    /// It may not run, and the run ends.
    Denied(Box<Denial>),
    /// It waits for somebody.
    Paused(Pending),
}

/// What is left for a step: its limits, and the time of the run where that is bounded.
type Left = (StepLimits, Option<RunDeadline>);

/// What one attempt is made with.
pub(super) struct Attempt<'t> {
    pub(super) number: u32,
    pub(super) input: Value,
    pub(super) authorized: &'t AuthorizedStep,
    pub(super) permission: Permission,
    pub(super) left: Left,
}

impl Steps<'_> {
    /// Gives a step its turn.
    pub(super) fn turn(
        &self,
        step: &ValidStep<'_>,
        authorized: &AuthorizedStep,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<Turned> {
        let input = self.input(step, so_far)?;
        let left = match self.left(step, authorized, so_far, log)? {
            Ok(left) => left,
            Err(denial) => return self.denied(denial, log),
        };
        let permission = match self.permission(step, authorized, &input, log, so_far)? {
            Permitted::Yes(permission) => permission,
            Permitted::No(denial) => return self.denied(denial, log),
            Permitted::Waits(pending) => return Ok(Turned::Paused(pending)),
        };
        let attempt = Attempt { number: 1, input, authorized, permission, left };
        let outcome = self.attempt(step, attempt, so_far, log, report)?;
        log.commit()?;
        report.outcome = Some(outcome.clone());
        Ok(match outcome {
            Outcome::Completed { output } => {
                Self::keep_output(so_far, step.id, output);
                Turned::Completed
            }
            outcome => Turned::Stopped {
                outcome: if outcome == Outcome::Cancelled { RunOutcome::Cancelled } else { RunOutcome::Failed },
                because: format!("step `{}` ended as {}", step.id, outcome.name()),
            },
        })
    }

    /// What is left of the run's budget for a step: its limits, and the time where that is bounded.
    fn left(
        &self,
        step: &ValidStep<'_>,
        authorized: &AuthorizedStep,
        so_far: &SoFar,
        log: &mut dyn StepLog,
    ) -> Go<Result<Left, Box<Denial>>> {
        let budget = self.authorized.budget();
        let denied = |exhausted| Ok(Err(Box::new(Denial::over_budget(step.id, &step.tool.name, exhausted))));
        let limits = match so_far.spent.limits(budget, authorized.limits) {
            Ok(limits) => limits,
            Err(exhausted) => return denied(exhausted),
        };
        let Some(amount) = budget.deadline_ms else { return Ok(Ok((limits, None))) };
        let passed_ms = u64::try_from(so_far.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let is_over = match log.next()? {
            Next::Live => passed_ms >= amount,
            // The clock of a replay says nothing. What else a budget denies was found before.
            Next::Event(event) => matches!(&*event, Event::Denied(denied) if denied.why == Why::Budget),
            Next::End => false,
        };
        if is_over {
            return denied(Exhausted { key: "deadline_ms", amount });
        }
        let left_ms = amount.saturating_sub(passed_ms).max(1);
        Ok(Ok((limits, Some(RunDeadline { left_ms, amount_ms: amount }))))
    }

    /// Runs a step's guest, or takes its end from the record.
    fn attempt(
        &self,
        step: &ValidStep<'_>,
        attempt: Attempt<'_>,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<Outcome> {
        let Attempt { number, input, authorized, permission, left: (limits, run_deadline) } = attempt;
        let plan = self.checked.plan.plan();
        let started = Stopwatch::start();
        let begin = StepBegin {
            step: step.id.clone(),
            tool: step.tool.name.clone(),
            attempt: number,
            skill: step.skill.digest,
            input,
            compensates: false,
            grant: authorized.grant_index as u64,
            rules: permission.rules,
            limits,
        };
        so_far.begun += 1;
        report.attempts += 1;
        let tape = match log.begin(&begin)? {
            Turn::Run(tape) => tape,
            Turn::Known(StepEnd { outcome, calls, fuel, .. }) => {
                so_far.spent.add(fuel, calls);
                (report.calls, report.fuel) = (calls, fuel);
                return Ok(outcome);
            }
        };
        self.host.observers.tell(HostEvent::StepBegin { step: step.id, tool: &step.tool.name });
        let invocation = Invocation {
            tool: step.tool,
            input: &begin.input,
            grant: &authorized.grant,
            workspace: &self.host.workspace,
            directories: &self.directories,
            reach: self.reach.as_ref(),
            limits,
            run_deadline,
            plan: &plan.name,
            step: step.id,
            attempt: begin.attempt,
            seed: plan.seed,
            start_time: plan.start_time,
        };
        let program = self.program(&step.tool.name, Links::of(&authorized.grant))?;
        let invoked = self.runtime.block_on(self.engine.invoke(program, invocation, tape, self.cancel))?;
        so_far.spent.add(invoked.fuel, invoked.calls);
        report.calls = invoked.calls;
        report.fuel = invoked.fuel;
        report.memory_bytes = invoked.memory_bytes;
        report.duration_us = micros(started);
        let outcome = invoked.end?;
        let end = StepEnd { step: step.id.clone(), outcome, calls: invoked.calls, fuel: invoked.fuel };
        log.end(invoked.tape, &end)?;
        self.host.observers.tell(HostEvent::StepEnd {
            step: step.id,
            outcome: &end.outcome,
            calls: end.calls,
            fuel: end.fuel,
            duration_us: report.duration_us,
        });
        if !end.outcome.is_completed() {
            report.stderr = invoked.stderr;
        }
        Ok(end.outcome)
    }
}

/// Whether a step may run.
pub(super) enum Permitted {
    /// By this.
    Yes(Permission),
    /// For this reason not.
    No(Box<Denial>),
    /// Somebody has to say so first.
    Waits(Pending),
}
