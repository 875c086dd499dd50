//! One attempt at a call: the guest runs and everything it changes is kept or taken back as a whole, or its end is known from the record.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::failure::{left_of, recorded_of};
use super::held::{self, Held, Within};
use super::log::{Go, Halt, StepLog, Turn};
use super::micros;
use super::steps::{SoFar, Steps};
use super::transaction::Transaction;
use crate::canonical::{self, Members};
use crate::clock::Stopwatch;
use crate::flow::contract::{self, Drift};
use crate::host::Error;
use crate::id::{Digest, StepId};
use crate::limits::StepLimits;
use crate::observe::HostEvent;
use crate::outcome::{Failure, Outcome};
use crate::plan::{Expect, ExpectMode};
use crate::policy::Grant;
use crate::report::StepReport;
use crate::sandbox::tape::Tape;
use crate::sandbox::{CancelToken, Delegate, Divergence, Invocation, Links, LogRecord, RunDeadline};
use crate::store::index::StepFacts;
use crate::trace::event::{Event, Flow, StepBegin, StepEnd};
use crate::trace::flow::{Contract, Failed, Undone};
use crate::validate::Call;

/// What one attempt is made with.
#[derive(Clone)]
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
    /// The step's position in the order of execution: whoever is later gives way.
    pub(super) position: usize,
}

/// What a guest did.
#[derive(Debug)]
pub(super) struct Acted {
    pub(super) outcome: Outcome,
    drift: Option<(Drift, ExpectMode)>,
    /// Why the host could not go on with it, where that is how it ended.
    pub(super) failure: Option<Failure>,
    /// What was taken back because it did not complete.
    undone: Undone,
    /// How many paths it has changed, where it completed.
    pub(super) changed: u64,
    /// What holds its claims, and would have to be taken back if the step were not to count after all.
    pub(super) transaction: Option<Transaction>,
    calls: u64,
    fuel: Option<u64>,
    memory_bytes: u64,
    duration_us: u64,
    instantiate: Duration,
    stderr: String,
    logs: Vec<LogRecord>,
}

impl Acted {
    /// What the host itself did: it makes no calls and uses no fuel, and what it changes is in the journals of other steps.
    fn by_host(outcome: Outcome, duration_us: u64) -> Self {
        Self {
            outcome,
            drift: None,
            failure: None,
            undone: Undone::default(),
            changed: 0,
            transaction: None,
            calls: 0,
            fuel: Some(0),
            memory_bytes: 0,
            duration_us,
            instantiate: Duration::ZERO,
            stderr: String::new(),
            logs: Vec::new(),
        }
    }

    /// What the host could not do.
    fn failed(error: &Error) -> Self {
        let failure = error.failure();
        Self { fuel: None, failure: Some(failure.clone()), ..Self::by_host(failure.outcome(), 0) }
    }

    /// The host cannot go on over what was done: it does not count.
    fn fail(&mut self, error: &Error) -> Result<(), Error> {
        let failure = error.failure();
        (self.outcome, self.fuel, self.drift, self.changed) = (failure.outcome(), None, None, 0);
        self.failure = Some(failure);
        if let Some(transaction) = &self.transaction {
            self.undone = transaction.take_back()?;
        }
        Ok(())
    }
}

impl Steps<'_> {
    /// Makes an attempt, or takes its end from the record. `key` identifies the call; there is none where it takes back what a step did.
    pub(super) fn attempt(
        &self,
        attempt: &Attempt<'_>,
        key: Option<Digest>,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<Outcome> {
        let Attempt { step, call, number, compensates, input, grant_index, limits, expect, .. } = *attempt;
        let begin = StepBegin {
            step: step.clone(),
            tool: call.tool.name.clone(),
            attempt: number,
            skill: call.skill.digest,
            input: input.clone(),
            resolved_from: call.alias.cloned(),
            key,
            compensates,
            grant: grant_index as u64,
            rules: attempt.rules.clone(),
            limits,
        };
        so_far.begun += 1;
        report.attempts += 1;
        let mut tape = match log.begin(begin)? {
            Turn::Run(tape) => tape,
            Turn::Known(end) => {
                so_far.spent.add(end.fuel, end.calls);
                (report.calls, report.fuel) = (end.calls, end.fuel);
                self.known_end((step, number, compensates), expect, &end, so_far, log)?;
                if let (Some(claims), Some(journals), true) =
                    (so_far.ahead.claims(), &self.journals, end.outcome.is_completed())
                {
                    let journal = super::transaction::journal(&journals.run, step, number, compensates);
                    super::transaction::claim_again(claims, attempt.position, &journal)?;
                }
                self.settled_by_host((step, call.tool), &end.outcome, so_far, Some(log))?;
                return Ok(end.outcome);
            }
        };
        self.host.observers.tell(HostEvent::StepBegin { step, tool: &call.tool.name, attempt: number, compensates });
        let is_live = matches!(tape, Tape::Record(_));
        let ahead = if is_live && number == 1 && !compensates {
            or_failed(so_far.ahead.take(attempt.position, &mut tape))?
        } else {
            None
        };
        let mut acted = match (ahead, call.tool.of_the_host()) {
            (Some(acted), _) => acted,
            (None, Some(tool)) => {
                let started = Stopwatch::start();
                match &tape {
                    Tape::Record(_) => {
                        let made = self.act_as_host(tool, attempt, so_far, log);
                        let made = made.map(|outcome| Some(Acted::by_host(outcome, micros(started))));
                        or_failed(made)?.unwrap_or_else(|| Acted::by_host(Outcome::Cancelled, 0))
                    }
                    Tape::Replay { outcome, by_host, .. } => {
                        let acted = Acted::by_host(outcome.clone(), micros(started));
                        Acted { fuel: acted.fuel.filter(|_| !by_host), ..acted }
                    }
                    Tape::Lent => {
                        return Err(Error::Damaged { what: "a step began inside of a call".to_owned() }.into());
                    }
                }
            }
            (None, None) => {
                // Taking back goes on although the run was cancelled.
                let cancel = if compensates { CancelToken::new() } else { self.cancel.child() };
                let tell = cancel.clone();
                let claims = so_far.ahead.claims();
                let begun = match is_live {
                    true => Transaction::begin(self, attempt, claims, move || tell.cancel()),
                    false => Ok(None),
                };
                match begun {
                    Ok(transaction) => {
                        let (acted, given_back) = self.act(attempt, transaction, tape, &cancel, &self.runtime)?;
                        tape = given_back;
                        acted?
                    }
                    Err(error) if error.is_of_record() => return Err(error.into()),
                    // Nothing of it has run.
                    Err(error) => Acted::failed(&error),
                }
            }
        };
        match so_far.ahead.check() {
            Err(error) if error.is_of_record() => return Err(error.into()),
            Err(error) => acted.fail(&error)?,
            Ok(()) => {}
        }
        let Acted {
            outcome,
            drift,
            failure,
            undone,
            changed,
            transaction,
            calls,
            fuel,
            memory_bytes,
            duration_us,
            instantiate,
            stderr,
            mut logs,
        } = acted;
        report.logs.append(&mut logs);
        if let Some(transaction) = transaction.filter(|_| !outcome.is_completed()) {
            transaction.release();
        }
        so_far.spent.add(fuel, calls);
        report.calls = calls;
        report.fuel = fuel;
        report.memory_bytes = memory_bytes;
        report.duration_us = duration_us;
        report.instantiate_us = u64::try_from(instantiate.as_micros()).unwrap_or(u64::MAX);
        let end = StepEnd { step: step.clone(), outcome, calls, fuel };
        let end = log.end(tape, end)?;
        report.drifted = drift.as_ref().is_some_and(|(_, mode)| *mode == ExpectMode::Strict);
        if let Some((drift, mode)) = drift {
            log.note(&contract_event(step, drift, mode, expect))?;
        }
        let failure = match failure.filter(|failure| failure.is_of_host) {
            Some(failure) => {
                log.note(&Flow::Failed(Failed::of(&failure, Some(number))).of(step))?;
                Some(failure)
            }
            None => recorded_of(step, number, log)?,
        };
        if !compensates {
            so_far.failure = failure;
        }
        if !end.outcome.is_completed() {
            self.undone_after_failure(step, undone, so_far, log)?;
            report.stderr = stderr;
        }
        self.settled_by_host((step, call.tool), &end.outcome, so_far, Some(log))?;
        if let Some(ledger) = log.ledger() {
            let (step, attempt) = (step.to_string(), Some(number));
            let (duration_us, changed) = (Some(duration_us), Some(changed));
            ledger.fact(StepFacts { step, attempt, duration_us, changed, ..StepFacts::default() });
        }
        self.host.observers.tell(HostEvent::StepEnd {
            step,
            attempt: number,
            compensates,
            outcome: &end.outcome,
            calls: end.calls,
            fuel: end.fuel,
            duration_us: report.duration_us,
        });
        Ok(end.outcome)
    }

    /// Runs the guest on this thread. What it changed is kept where it completed and its output is what the plan expects, and taken back
    /// otherwise. Gives the tape back beside it, unless the host cannot go on.
    pub(super) fn act(
        &self,
        attempt: &Attempt<'_>,
        transaction: Option<Transaction>,
        tape: Tape,
        cancel: &CancelToken,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<(Result<Acted, Divergence>, Tape), Error> {
        let Attempt { step, call, number, input, grant, limits, run_deadline, expect, .. } = *attempt;
        let plan = self.checked.plan.plan();
        let (started, is_live) = (Stopwatch::start(), matches!(tape, Tape::Record(_)));
        let delegate = self.callees.clone().map(|callees| -> Arc<dyn Delegate> { callees });
        let invocation = Invocation {
            tool: call.tool,
            input,
            grant,
            workspace: &self.host.workspace,
            directories: &self.directories,
            reach: self.reach.as_ref(),
            limits,
            run_deadline,
            undo: transaction.as_ref().map(Transaction::undo),
            delegate: delegate.as_ref(),
            plan: &plan.name,
            request: &self.request,
            step,
            attempt: number,
            seed: plan.seed,
            start_time: plan.start_time,
        };
        let program = match self.program(&call.tool.name, Links::of(grant)) {
            Ok(program) => program,
            Err(error) => return Ok((Ok(Acted { transaction, ..Acted::failed(&error) }), tape)),
        };
        let invoked = match runtime.block_on(self.engine.invoke(program, invocation, tape, cancel)) {
            Ok(invoked) => invoked,
            Err(error) => {
                // The host cannot go on; what the step has done so far must not stay.
                transaction.map_or(Ok(()), Transaction::forget)?;
                return Err(error.into());
            }
        };
        let outcome = match invoked.end {
            Ok(outcome) => outcome,
            Err(divergence) => return Ok((Err(divergence), invoked.tape)),
        };
        let mut failure = invoked.failure;
        let within = is_live.then(|| Within::left(&limits, run_deadline, started.elapsed(), cancel));
        let Held { mut outcome, mut drift, is_untimed } = held::hold(expect, outcome, within, runtime);
        // A step that loses a path is cancelled; that is how it ended, this is why.
        if let Some(lost) = transaction.as_ref().and_then(Transaction::lost)
            && outcome == Outcome::Cancelled
        {
            outcome = self.conflict(lost);
        }
        let (mut undone, mut changed, mut fuel) = (Undone::default(), 0, invoked.fuel.filter(|_| !is_untimed));
        if let Some(transaction) = &transaction {
            if outcome.is_completed() {
                match transaction.keep() {
                    Ok(count) => changed = count,
                    Err(error) if error.is_of_record() => return Err(error),
                    // What cannot be told of what it left could not be undone later.
                    Err(error) => {
                        outcome = failure.insert(error.failure()).outcome();
                        (drift, fuel) = (None, None);
                    }
                }
            }
            if !outcome.is_completed() {
                undone = transaction.take_back()?;
            }
        }
        let acted = Acted {
            outcome,
            drift,
            failure,
            undone,
            changed,
            transaction,
            calls: invoked.calls,
            fuel,
            memory_bytes: invoked.memory_bytes,
            duration_us: micros(started),
            instantiate: invoked.instantiate,
            stderr: invoked.stderr,
            logs: invoked.logs,
        };
        Ok((Ok(acted), invoked.tape))
    }

    fn conflict(&self, (path, with): (String, usize)) -> Outcome {
        let with = self.checked.plan.steps().nth(with).map(|step| step.id.to_string()).unwrap_or_default();
        Outcome::Conflict { path, with }
    }

    /// Takes note of what was taken back because a step did not complete: what was, or what is recorded.
    fn undone_after_failure(
        &self,
        step: &StepId,
        mut undone: Undone,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
    ) -> Go<()> {
        if !log.is_live()? {
            undone = super::transaction::recorded_undo(step, log)?.unwrap_or_default();
        } else if undone != Undone::default() {
            log.note(&Flow::Undone(undone.clone()).of(step))?;
        }
        so_far.left.extend(left_of(step, &undone));
        Ok(())
    }

    /// What identifies a call: where it is equal, and the files that it reads are, its result is.
    pub(super) fn key(&self, step: &StepId, call: Call<'_>, input: &Value, grant: &Grant) -> Digest {
        let plan = self.checked.plan.plan();
        let mut identity = Vec::with_capacity(512);
        let mut members = Members::begin(&mut identity);
        // What it calls is as much a part of what it does.
        if let callees @ Value::Array(_) = self.authorized.delegation().identity(grant) {
            members.value("callees", &callees);
        }
        members.text("component", &call.skill.digest.to_string());
        members.value("grant", &grant.identity());
        members.text("input", &Digest::of(&canonical::to_vec(input)).to_string());
        members.number("seed", plan.seed);
        members.number("start_time", plan.start_time);
        members.text("step", step.as_str());
        members.text("tool", &call.tool.name.to_string());
        members.end();
        Digest::of(&identity)
    }

    /// What stands behind an end that is known.
    fn known_end(
        &self,
        (step, attempt, compensates): (&StepId, u32, bool),
        expect: Option<&Expect>,
        end: &StepEnd,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
    ) -> Go<()> {
        let is_drift = |event: &Event| match event {
            Event::Flow(event) if matches!(event.flow, Flow::Contract(_)) => Some(()),
            _ => None,
        };
        if log.take(is_drift)?.is_none()
            && let Some((drift, mode)) = drift(expect, &end.outcome)
        {
            log.note(&contract_event(step, drift, mode, expect))?;
        }
        let failure = recorded_of(step, attempt, log)?;
        if !compensates {
            so_far.failure = failure;
        }
        if !end.outcome.is_completed() {
            let undone = super::transaction::recorded_undo(step, log)?.unwrap_or_default();
            so_far.left.extend(left_of(step, &undone));
        }
        Ok(())
    }
}

/// What was done; where the host could not do it, that, as how the step ended.
fn or_failed(made: Go<Option<Acted>>) -> Go<Option<Acted>> {
    match made {
        Err(Halt::Error(error)) if !error.is_of_record() => Ok(Some(Acted::failed(&error))),
        made => made,
    }
}

/// How an output is not what the plan expects.
fn drift(expect: Option<&Expect>, outcome: &Outcome) -> Option<(Drift, ExpectMode)> {
    let (Some(expect), Outcome::Completed { output }) = (expect, outcome) else { return None };
    // What completed was held against it within the bound.
    Some((contract::check(expect, output).ok()??, expect.mode))
}

/// Whether an output is what the plan expects.
pub(super) fn is_as_expected(expect: Option<&Expect>, output: &Value) -> bool {
    expect.is_none_or(|expect| contract::check(expect, output) == Ok(None))
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
