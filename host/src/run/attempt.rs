//! One attempt at a call: the guest runs and everything it changes is kept or taken back as a whole, or its end is known from the record.

use std::sync::Arc;

use serde_json::{Value, json};

use super::log::{Go, StepLog, Turn};
use super::micros;
use super::steps::{SoFar, Steps};
use crate::canonical;
use crate::clock::Stopwatch;
use crate::flow::contract::{self, Drift};
use crate::id::{Digest, StepId};
use crate::limits::StepLimits;
use crate::observe::HostEvent;
use crate::outcome::Outcome;
use crate::plan::{Expect, ExpectMode};
use crate::policy::Grant;
use crate::report::StepReport;
use crate::sandbox::{CancelToken, Invocation, Links, RunDeadline};
use crate::trace::event::{Event, Flow, StepBegin, StepEnd};
use crate::trace::flow::Contract;
use crate::validate::Call;

/// What one attempt is made with.
pub(super) struct Attempt<'t> {
    pub(super) step: &'t StepId,
    pub(super) call: Call<'t>,
    /// One-based.
    pub(super) number: u32,
    /// Whether it takes back what the step did.
    pub(super) compensates: bool,
    pub(super) input: &'t Value,
    pub(super) grant_index: usize,
    pub(super) grant: &'t Arc<Grant>,
    /// The rules that permit it.
    pub(super) rules: Vec<String>,
    pub(super) limits: StepLimits,
    pub(super) run_deadline: Option<RunDeadline>,
    /// What the output has to be.
    pub(super) expect: Option<&'t Expect>,
}

impl Steps<'_> {
    /// Makes an attempt, or takes its end from the record.
    pub(super) fn attempt(
        &self,
        attempt: Attempt<'_>,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<Outcome> {
        let Attempt { step, call, number, compensates, input, grant_index, grant, rules, limits, run_deadline, expect } =
            attempt;
        let plan = self.checked.plan.plan();
        let started = Stopwatch::start();
        let begin = StepBegin {
            step: step.clone(),
            tool: call.tool.name.clone(),
            attempt: number,
            skill: call.skill.digest,
            input: input.clone(),
            key: (!compensates).then(|| self.key(step, call, input, grant)),
            compensates,
            grant: grant_index as u64,
            rules,
            limits,
        };
        so_far.begun += 1;
        report.attempts += 1;
        let tape = match log.begin(&begin)? {
            Turn::Run(tape) => tape,
            Turn::Known(end) => {
                so_far.spent.add(end.fuel, end.calls);
                (report.calls, report.fuel) = (end.calls, end.fuel);
                self.known_end(step, expect, &end, log)?;
                return Ok(end.outcome);
            }
        };
        self.host.observers.tell(HostEvent::StepBegin { step, tool: &call.tool.name });
        let invocation = Invocation {
            tool: call.tool,
            input,
            grant,
            workspace: &self.host.workspace,
            directories: &self.directories,
            reach: self.reach.as_ref(),
            limits,
            run_deadline,
            plan: &plan.name,
            step,
            attempt: number,
            seed: plan.seed,
            start_time: plan.start_time,
        };
        let program = self.program(&call.tool.name, Links::of(grant))?;
        // Taking back goes on although the run was cancelled.
        let never = CancelToken::new();
        let cancel = if compensates { &never } else { self.cancel };
        let invoked = self.runtime.block_on(self.engine.invoke(program, invocation, tape, cancel))?;
        so_far.spent.add(invoked.fuel, invoked.calls);
        report.calls = invoked.calls;
        report.fuel = invoked.fuel;
        report.memory_bytes = invoked.memory_bytes;
        report.duration_us = micros(started);
        let mut outcome = invoked.end?;
        let drift = drift(expect, &outcome);
        if let Some((drift, ExpectMode::Strict)) = &drift {
            outcome = Outcome::Failed { error: json!({ "code": "output-drift", "message": drift.message }) };
        }
        let end = StepEnd { step: step.clone(), outcome, calls: invoked.calls, fuel: invoked.fuel };
        log.end(invoked.tape, &end)?;
        if let Some((drift, mode)) = drift {
            log.note(&contract_event(step, drift, mode, expect))?;
        }
        self.host.observers.tell(HostEvent::StepEnd {
            step,
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

    /// What identifies a call: where it is equal, and the files that it reads are, its result is.
    pub(super) fn key(&self, step: &StepId, call: Call<'_>, input: &Value, grant: &Grant) -> Digest {
        let plan = self.checked.plan.plan();
        let identity = json!({
            "component": call.skill.digest,
            "grant": grant.identity(),
            "input": Digest::of(&canonical::to_vec(input)),
            "seed": plan.seed,
            "start_time": plan.start_time,
            "step": step,
            "tool": call.tool.name,
        });
        Digest::of(&canonical::to_vec(&identity))
    }

    /// What stands behind an end that is known.
    fn known_end(&self, step: &StepId, expect: Option<&Expect>, end: &StepEnd, log: &mut dyn StepLog) -> Go<()> {
        let is_drift = |event: &Event| match event {
            Event::Flow(event) if matches!(event.flow, Flow::Contract(_)) => Some(()),
            _ => None,
        };
        if log.take(is_drift)?.is_none()
            && let Some((drift, mode)) = drift(expect, &end.outcome)
        {
            log.note(&contract_event(step, drift, mode, expect))?;
        }
        Ok(())
    }
}

/// How an output is not what the plan expects.
fn drift(expect: Option<&Expect>, outcome: &Outcome) -> Option<(Drift, ExpectMode)> {
    let (Some(expect), Outcome::Completed { output }) = (expect, outcome) else { return None };
    Some((contract::check(expect, output)?, expect.mode))
}

fn contract_event(step: &StepId, drift: Drift, mode: ExpectMode, expect: Option<&Expect>) -> Event {
    let decision = if mode == ExpectMode::Strict { "block" } else { "warn" };
    Flow::Contract(Contract {
        drift: drift.kind.name().to_owned(),
        decision: decision.to_owned(),
        expected: expect.map_or("", |expect| expect.kind.name()).to_owned(),
        reason: drift.message,
        pointer: drift.pointer,
        parse_error: drift.parse_error,
        excerpt: drift.excerpt,
        missing: drift.missing,
    })
    .of(step)
}
