//! One step's turn: may it run, with what, how did it end.

use std::time::Duration;

use super::attempt::Attempt;
use super::log::{Go, Halt, Next, StepLog};
use super::reuse::Purpose;
use super::steps::{SoFar, Steps};
use crate::flow::{backoff, condition};
use crate::host::Error;
use crate::limits::{LimitKind, StepLimits};
use crate::observe::HostEvent;
use crate::outcome::{Outcome, RunOutcome};
use crate::plan::RetryOn;
use crate::policy::{AuthorizedStep, Denial, Exhausted, Permission, Why};
use crate::report::{CANCELLED, Pending, StepReport};
use crate::sandbox::RunDeadline;
use crate::trace::event::{Event, Flow};
use crate::trace::flow::{self, Skipped};
use crate::validate::{Call, ValidStep, Work};

/// What became of a step's turn.
#[derive(Debug)]
pub(crate) enum Turned {
    /// It completed.
    Completed,
    /// Its condition does not hold, for this reason.
    Skipped(String),
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
    /// It was refused, and the run ended there without going on.
    Settled(RunOutcome),
}

/// What is left for a step: its limits, and the time of the run where that is bounded.
type Left = (StepLimits, Option<RunDeadline>);

impl Turned {
    fn cancelled() -> Self {
        Self::Stopped { outcome: RunOutcome::Cancelled, because: CANCELLED.to_owned() }
    }
}

impl Steps<'_> {
    /// Gives a step its turn. What the host cannot do in it is how the step ends.
    pub(super) fn turn(
        &self,
        step: &ValidStep<'_>,
        authorized: Option<&AuthorizedStep>,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<Turned> {
        if let Some(ended) = self.known_to_fail(step.id, so_far, log, report)? {
            return Ok(ended);
        }
        match self.take_turn(step, authorized, so_far, log, report) {
            Err(Halt::Error(error)) if !error.is_of_record() => {
                self.fails(step.id, error.failure(), so_far, log, report)
            }
            went => went,
        }
    }

    fn take_turn(
        &self,
        step: &ValidStep<'_>,
        authorized: Option<&AuthorizedStep>,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<Turned> {
        if let Some(reason) = self.skip(step, so_far)? {
            if log.is_live()? {
                self.host.observers.tell(HostEvent::StepSkipped { step: step.id, reason: &reason });
            }
            log.note(&Flow::Skipped(Skipped { reason: reason.clone() }).of(step.id))?;
            log.commit()?;
            return Ok(Turned::Skipped(reason));
        }
        match (step.work, authorized) {
            (Work::Call(call), Some(authorized)) => self.call((step, call), authorized, so_far, log, report),
            (Work::Approve(approve), _) => self.question((step, approve), so_far, log, report),
            (Work::Call(call), None) => {
                Err(Error::Damaged { what: format!("`{}` was not granted before the run", call.tool.name) }.into())
            }
        }
    }

    /// Why a step does not run because of what came before.
    pub(super) fn skip(&self, step: &ValidStep<'_>, so_far: &SoFar) -> Go<Option<String>> {
        let turn = condition::turn(&self.checked.plan, step, &so_far.outputs);
        Ok(match turn.map_err(|problem| Error::Resolve(Box::new(problem)))? {
            condition::Turn::Run => None,
            condition::Turn::Skip { reason } => Some(reason),
        })
    }

    /// The turn of a step that calls a tool: every attempt that the plan wants.
    fn call(
        &self,
        (step, call): (&ValidStep<'_>, Call<'_>),
        authorized: &AuthorizedStep,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<Turned> {
        let input = self.input(step, so_far)?;
        let key = self.key(step.id, call, &input, &authorized.grant);
        if self.reused(step, Some((call, &input, &authorized.grant)), (&call.tool.name, key), so_far, log, report)? {
            return Ok(Turned::Completed);
        }
        if so_far.purpose == Some(Purpose::Rollback) {
            let what = format!("step `{}` was skipped, and now it would run", step.id);
            return Err(Error::Damaged { what }.into());
        }
        let mut number = 1;
        loop {
            let (limits, run_deadline) = match self.left((step, call), authorized, so_far, log)? {
                Ok(left) => left,
                Err(denial) => return self.denied(denial, log),
            };
            let permission = match self.permission((step, call), number, authorized, &input, log, so_far)? {
                Permitted::Yes(permission) => permission,
                Permitted::No(denial) => return self.denied(denial, log),
                Permitted::Waits(pending) => return Ok(Turned::Paused(pending)),
                Permitted::Settled(outcome) => return Ok(Turned::Settled(outcome)),
            };
            if number == 1
                && let Some(ended) = self.clear(step, so_far, log, report)?
            {
                return Ok(ended);
            }
            if let Some(ended) = self.known_to_fail(step.id, so_far, log, report)? {
                return Ok(ended);
            }
            let attempt = Attempt {
                step: step.id,
                call,
                number,
                compensates: false,
                input: &input,
                grant_index: authorized.grant_index,
                grant: &authorized.grant,
                rules: permission.rules,
                limits,
                run_deadline,
                expect: step.expect,
                position: so_far.position,
            };
            let outcome = self.attempt(&attempt, Some(key), so_far, log, report)?;
            report.outcome = Some(outcome.clone());
            let retry = self.retry(step, number, &outcome);
            match (outcome, retry) {
                (Outcome::Completed { output }, _) => {
                    log.commit()?;
                    Self::keep_output(so_far, step.id, output);
                    return Ok(Turned::Completed);
                }
                (_, Some(retry)) => {
                    number = retry.attempt;
                    let wait = Duration::from_millis(retry.wait_ms);
                    log.note(&Flow::Retry(retry).of(step.id))?;
                    log.commit()?;
                    if log.is_live()? {
                        self.wait(wait);
                    }
                    if self.is_cancelled_here(log)? {
                        return Ok(Turned::cancelled());
                    }
                }
                (Outcome::Cancelled, None) => {
                    log.commit()?;
                    return Ok(Turned::cancelled());
                }
                (outcome, None) => {
                    log.commit()?;
                    let because = format!("step `{}` ended as {}", step.id, outcome.name());
                    return Ok(Turned::Stopped { outcome: RunOutcome::Failed, because });
                }
            }
        }
    }

    /// What comes after an attempt that did not complete, where the plan wants another.
    fn retry(&self, step: &ValidStep<'_>, number: u32, outcome: &Outcome) -> Option<flow::Retry> {
        let retry = step.retry?;
        let ended = match outcome {
            Outcome::Failed { .. } => RetryOn::Failed,
            Outcome::Trapped { .. } => RetryOn::Trapped,
            Outcome::LimitExceeded { limit: LimitKind::Deadline, .. } => RetryOn::Deadline,
            _ => return None,
        };
        if number >= retry.attempts || !retry.on.contains(&ended) {
            return None;
        }
        let attempt = number + 1;
        let wait_ms = backoff::wait_ms(retry, self.checked.plan.plan().seed, step.id, attempt);
        Some(flow::Retry { attempt, wait_ms, because: ended.name().to_owned() })
    }

    /// Waits, unless the run is cancelled.
    fn wait(&self, time: Duration) {
        self.runtime.block_on(async {
            let mut cancelled = std::pin::pin!(self.cancel.cancelled());
            let slept = tokio::time::timeout(time, cancelled.as_mut()).await;
            // Whether it was time or somebody, the caller looks.
            slept.unwrap_or_default();
        });
    }

    /// The time that the run has, where that is bounded.
    fn run_time_ms(&self) -> Option<u64> {
        [self.authorized.budget().deadline_ms, self.checked.plan.plan().deadline_ms].into_iter().flatten().min()
    }

    /// What is left of it, for a step that begins now; `None` where nothing is.
    pub(super) fn run_deadline(&self, so_far: &SoFar) -> Option<Option<RunDeadline>> {
        let Some(amount_ms) = self.run_time_ms() else { return Some(None) };
        let left_ms = amount_ms.checked_sub(passed_ms(so_far)).filter(|left| *left > 0)?;
        Some(Some(RunDeadline { left_ms, amount_ms }))
    }

    /// What is left of the run's budget for a step: its limits, and the time where that is bounded.
    fn left(
        &self,
        (step, call): (&ValidStep<'_>, Call<'_>),
        authorized: &AuthorizedStep,
        so_far: &SoFar,
        log: &mut dyn StepLog,
    ) -> Go<Result<Left, Box<Denial>>> {
        let budget = self.authorized.budget();
        let denied = |exhausted| Ok(Err(Box::new(Denial::over_budget(step.id, &call.tool.name, exhausted))));
        let limits = match so_far.spent.limits(budget, authorized.limits) {
            Ok(limits) => limits,
            Err(exhausted) => return denied(exhausted),
        };
        let Some(amount) = self.run_time_ms() else { return Ok(Ok((limits, None))) };
        let passed_ms = passed_ms(so_far);
        let is_over = match log.next()? {
            // What ran ahead began in time.
            Next::Live => passed_ms >= amount && !so_far.ahead.has(so_far.position),
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
}

/// Milliseconds since the first step's turn came.
fn passed_ms(so_far: &SoFar) -> u64 {
    u64::try_from(so_far.started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Whether a step may run.
pub(super) enum Permitted {
    /// By this.
    Yes(Permission),
    /// For this reason not.
    No(Box<Denial>),
    /// Somebody has to say so first.
    Waits(Pending),
    /// It was refused, and the run ended there without going on.
    Settled(RunOutcome),
}
