//! Steps that run before their turn, beside others: what they did counts when their turn comes, in the order of the plan, so that the trace
//! is that of one step after the other. Where an earlier step does not complete, what was done ahead is taken back.
//!
//! Only what can be taken back is done ahead: a step that may send what changes something elsewhere, that has to be asked for or that
//! shares a budget with others waits for its turn.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};

use serde_json::Value;

use super::attempt::{Acted, Attempt};
use super::kept::Kept;
use super::log::Go;
use super::reuse::Purpose;
use super::segment::Segment;
use super::steps::{SoFar, Steps};
use super::transaction::Transaction;
use crate::flow::condition;
use crate::host::Error;
use crate::id::StepId;
use crate::journal::claims::Claims;
use crate::limits::{self, LimitKind};
use crate::outcome::Outcome;
use crate::policy::AuthorizedStep;
use crate::sandbox::runtime;
use crate::sandbox::tape::Tape;
use crate::sandbox::{CancelToken, SandboxError};
use crate::validate::ValidStep;

/// How threads say what became of their step.
type Results = (Sender<(usize, Finished)>, Receiver<(usize, Finished)>);

/// The steps that run or ran ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Who touches what; `None` where steps run one after the other.
    claims: Option<Claims>,
    kept: Kept,
    running: BTreeMap<usize, CancelToken>,
    done: BTreeMap<usize, Finished>,
    /// Outputs of what completed ahead, for what depends on it.
    outputs: BTreeMap<usize, (StepId, Arc<Value>)>,
    results: Option<Results>,
    /// Steps from here on are not begun any more: an earlier one has not completed.
    until: Option<usize>,
}

/// What came of a step that ran ahead.
#[derive(Debug)]
struct Finished {
    step: StepId,
    acted: Result<Acted, Error>,
    segment: Segment,
    /// Whether what it changed is kept for its turn.
    has_kept: bool,
}

impl Ahead {
    /// Nothing runs ahead.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Where steps of the run claim what they touch.
    pub(super) const fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    /// Steps may run ahead once nothing more is known of the run: `is_after` says which depends on which.
    pub(super) fn prepare(&mut self, is_after: impl Fn(usize, usize) -> bool + Send + Sync + 'static) {
        self.claims = Some(Claims::new(is_after));
    }

    /// What ended ahead.
    pub(super) fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// Why the run cannot go on, where it cannot.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.kept.check()
    }

    /// Steps may run ahead from here on.
    pub(super) fn switch_on(&mut self) {
        self.results.get_or_insert_with(channel);
    }

    /// Whether steps may run ahead at all.
    fn is_on(&self) -> bool {
        self.results.is_some()
    }

    /// What a step did ahead, with its host calls put onto `tape`; `None` where it has to run now.
    pub(super) fn take(&mut self, position: usize, tape: &mut Tape) -> Go<Option<Acted>> {
        let Some(Finished { acted, segment, has_kept, .. }) = self.done.remove(&position) else { return Ok(None) };
        let Ok(mut acted) = acted else { return Ok(None) };
        if has_kept {
            acted.transaction = self.kept.take(position);
            if acted.transaction.is_none() {
                // It was in the way of an earlier step after it had ended, and was taken back. What was done with its result does not count.
                self.forget_all_after(position)?;
                return Ok(None);
            }
        }
        let Tape::Record(sink) = tape else { return Ok(None) };
        segment.put(sink.as_mut())?;
        Ok(Some(acted))
    }

    /// Ends and takes back what comes after a step that has to run again.
    fn forget_all_after(&mut self, position: usize) -> Result<(), Error> {
        self.outputs.remove(&position);
        let Some(claims) = self.claims.clone() else { return Ok(()) };
        let is_after = |other: &usize| claims.is_after(*other, position);
        self.running.iter().filter(|(other, _)| is_after(other)).for_each(|(_, cancel)| cancel.cancel());
        while self.running.keys().any(is_after) {
            let Some((_, results)) = &self.results else { break };
            let Ok((other, finished)) = results.recv() else { break };
            self.receive(other, finished)?;
        }
        let after: Vec<usize> = self.done.keys().copied().filter(is_after).collect();
        for other in after.into_iter().rev() {
            self.done.remove(&other);
            self.outputs.remove(&other);
            self.kept.forget(other)?;
        }
        Ok(())
    }

    /// Whether a step has finished ahead.
    pub(super) fn has(&self, position: usize) -> bool {
        self.done.contains_key(&position)
    }

    /// Takes everything into account that has finished by now.
    fn receive_all(&mut self) -> Result<(), Error> {
        while let Some(Ok((position, finished))) = self.results.as_ref().map(|(_, results)| results.try_recv()) {
            self.receive(position, finished)?;
        }
        Ok(())
    }

    /// Takes what has finished into account. What cannot stand, because it was in the way of an earlier step or could not be held back, is
    /// taken back and forgotten: it runs in its turn.
    fn receive(&mut self, position: usize, finished: Finished) -> Result<(), Error> {
        self.running.remove(&position);
        match &finished.acted {
            Ok(acted)
                if acted.failure.is_some()
                    || matches!(
                        acted.outcome,
                        Outcome::Conflict { .. }
                            | Outcome::Cancelled
                            | Outcome::LimitExceeded { limit: LimitKind::Trace, .. }
                    ) =>
            {
                return self.kept.forget(position);
            }
            Ok(acted) => {
                if let Outcome::Completed { output } = &acted.outcome {
                    self.outputs.insert(position, (finished.step.clone(), Arc::new(output.clone())));
                } else {
                    self.stop_after(position);
                }
                self.done.insert(position, finished);
            }
            // What the host could not do ahead it is asked for again in the step's turn, and fails there if it still cannot.
            Err(_) => {}
        }
        Ok(())
    }

    /// Ends what runs ahead of its turn behind `position`, and begins nothing there any more.
    fn stop_after(&mut self, position: usize) {
        let until = self.until.get_or_insert(position);
        *until = (*until).min(position);
        let until = *until;
        self.running.range(until + 1..).for_each(|(_, cancel)| cancel.cancel());
    }
}

/// Where threads are begun.
pub(super) struct Threads<'scope, 'env> {
    pub(super) scope: &'scope Scope<'scope, 'env>,
    pub(super) handles: Vec<ScopedJoinHandle<'scope, ()>>,
    /// Where steps are told to that have lost a path after they had completed.
    pub(super) lost: Sender<usize>,
}

impl<'env> Steps<'env> {
    /// Whether steps of this run may run ahead.
    pub(super) fn may_run_ahead(&self) -> bool {
        let budget = self.authorized.budget();
        // What one step leaves of a budget is what the next one has.
        let shares = budget.fuel.is_some() || budget.host_calls.is_some() || budget.steps.is_some();
        let takes_back = self.earlier.as_ref().is_some_and(|earlier| earlier.purpose == Purpose::Rollback);
        self.checked.plan.plan().parallel > 1 && !shares && !takes_back && !self.authorized.is_log_only()
    }

    /// Begins steps that may run beside the one whose turn it is, and waits until that one has finished if it runs ahead itself.
    pub(super) fn run_ahead<'scope>(
        &'env self,
        steps: &'env [ValidStep<'env>],
        position: usize,
        so_far: &mut SoFar,
        threads: &mut Threads<'scope, 'env>,
    ) -> Go<()> {
        if !so_far.ahead.is_on() {
            return Ok(());
        }
        if so_far.ahead.until.is_some_and(|until| until < position) {
            // It has completed after all.
            so_far.ahead.until = None;
        }
        so_far.ahead.receive_all()?;
        loop {
            self.begin_ready(steps, position, so_far, threads)?;
            if so_far.ahead.has(position) || !so_far.ahead.running.contains_key(&position) {
                return Ok(());
            }
            let Some((_, results)) = &so_far.ahead.results else { return Ok(()) };
            let Ok((position, finished)) = results.recv() else { return Ok(()) };
            so_far.ahead.receive(position, finished)?;
        }
    }

    fn begin_ready<'scope>(
        &'env self,
        steps: &'env [ValidStep<'env>],
        from: usize,
        so_far: &mut SoFar,
        threads: &mut Threads<'scope, 'env>,
    ) -> Go<()> {
        let most = self.checked.plan.plan().parallel as usize;
        let window = steps.iter().enumerate().skip(from).take(limits::AHEAD_WINDOW);
        for (position, step) in window {
            if so_far.ahead.running.len() >= most || so_far.ahead.until.is_some_and(|until| position > until) {
                return Ok(());
            }
            if so_far.ahead.running.contains_key(&position)
                || so_far.ahead.has(position)
                || so_far.tried.contains(&position)
            {
                continue;
            }
            if step.call().is_some_and(|call| call.tool.of_the_host().is_some()) {
                // Nothing behind it is begun before it has ended.
                return Ok(());
            }
            let ready = self.ready(step, so_far);
            // Whether its result is taken from a record is asked for in its turn, of the files that it then finds.
            if self.may_be_taken(step, ready.as_ref().map(|(input, authorized)| (input, &*authorized.grant)))? {
                return Ok(());
            }
            let Some((input, authorized)) = ready else { continue };
            so_far.tried.insert(position);
            self.begin_one(position, step, input, authorized, so_far, threads);
        }
        Ok(())
    }

    /// The input of a step that could begin now: what it needs is there, it runs in any case, and nobody has to be asked.
    fn ready(&'env self, step: &ValidStep<'env>, so_far: &SoFar) -> Option<(Value, &'env AuthorizedStep)> {
        step.call()?;
        let authorized = self.authorized.step(step.id)?;
        let permission = authorized.permission.as_ref()?;
        if !permission.needs_approval.is_empty() || self.authorized.delegation().may_send_unsafe(&authorized.grant) {
            return None;
        }
        let plan = &self.checked.plan;
        let mut outputs = so_far.outputs.clone();
        outputs.extend(so_far.ahead.outputs.values().cloned());
        let is_there = |index: &usize| plan.step(*index).is_some_and(|needed| outputs.contains_key(needed.id));
        if !step.dependencies.iter().all(is_there) {
            return None;
        }
        match condition::turn(plan, step, &outputs) {
            Ok(condition::Turn::Run) => {}
            _ => return None,
        }
        plan.resolve_input(step, &outputs).ok().map(|input| (input, authorized))
    }

    fn begin_one<'scope>(
        &'env self,
        position: usize,
        step: &'env ValidStep<'env>,
        input: Value,
        authorized: &'env AuthorizedStep,
        so_far: &mut SoFar,
        threads: &mut Threads<'scope, 'env>,
    ) {
        let (Some(call), Some((results, _))) = (step.call(), &so_far.ahead.results) else { return };
        let (results, cancel) = (results.clone(), self.cancel.child());
        let (kept, claims, lost) = (so_far.ahead.kept.clone(), so_far.ahead.claims.clone(), threads.lost.clone());
        // Where the time is over, that is found in the step's turn.
        let Some(run_deadline) = self.run_deadline(so_far) else { return };
        so_far.ahead.running.insert(position, cancel.clone());
        let rules = authorized.permission.as_ref().map(|permission| permission.rules.clone()).unwrap_or_default();
        threads.handles.push(threads.scope.spawn(move || {
            let attempt = Attempt {
                step: step.id,
                call,
                number: 1,
                compensates: false,
                input: &input,
                grant_index: authorized.grant_index,
                grant: &authorized.grant,
                rules,
                limits: authorized.limits,
                run_deadline,
                expect: step.expect,
                position,
            };
            let acted = catch_unwind(AssertUnwindSafe(|| self.act_ahead(&attempt, &cancel, claims.as_ref(), &lost)));
            let (acted, segment) = acted.unwrap_or_else(|_| {
                let what = format!("step `{}` could not be run ahead", step.id);
                (Err(Error::Damaged { what }), Segment::default())
            });
            let (mut acted, mut has_kept) = (acted, false);
            if let (Ok(Acted { transaction, .. }), Some(claims)) = (&mut acted, &claims)
                && let Some(transaction) = transaction.take()
            {
                has_kept = true;
                kept.insert(position, transaction);
                // It may have been told before there was anything to take back.
                if claims.lost(position).is_some()
                    && let Err(error) = kept.forget(position)
                {
                    kept.fail(error, claims);
                }
            }
            // Where nobody listens any more the run has failed, and recovery takes back what is not in the trace.
            drop(results.send((position, Finished { step: step.id.clone(), acted, segment, has_kept })));
        }));
    }

    fn act_ahead(
        &self,
        attempt: &Attempt<'_>,
        cancel: &CancelToken,
        claims: Option<&Claims>,
        lost: &Sender<usize>,
    ) -> (Result<Acted, Error>, Segment) {
        let failed = |message: String| Error::from(SandboxError::Engine { message });
        let acted = runtime::new(self.reach.is_some()).map_err(Error::from).and_then(|runtime| {
            let (cancels, lost, position) = (cancel.clone(), lost.clone(), attempt.position);
            let tell = move || {
                cancels.cancel();
                // Where it has completed by now, another thread takes it back: whoever tells waits for that.
                let _nobody_left = lost.send(position);
            };
            let transaction = Transaction::begin(self, attempt, claims, tell)?;
            self.act(attempt, transaction, Tape::Record(Box::<Segment>::default()), cancel, &runtime)
        });
        match acted {
            Ok((acted, Tape::Record(sink))) => {
                let sink: Box<dyn std::any::Any> = sink;
                let segment = sink.downcast::<Segment>().map(|segment| *segment).unwrap_or_default();
                (acted.map_err(|divergence| failed(divergence.what)), segment)
            }
            Ok((acted, Tape::Replay { .. } | Tape::Lent)) => {
                (acted.map_err(|divergence| failed(divergence.what)), Segment::default())
            }
            Err(error) => (Err(error), Segment::default()),
        }
    }

    /// Ends and takes back everything that was done ahead and does not count: the last first.
    pub(super) fn discard_ahead(&self, so_far: &mut SoFar) -> Go<()> {
        let ahead = &mut so_far.ahead;
        ahead.running.values().for_each(CancelToken::cancel);
        while !ahead.running.is_empty() {
            let Some((_, results)) = &ahead.results else { break };
            let Ok((position, finished)) = results.recv() else { break };
            ahead.running.remove(&position);
            ahead.done.insert(position, finished);
        }
        while let Some((position, _)) = ahead.done.pop_last() {
            ahead.kept.forget(position)?;
        }
        Ok(())
    }
}
