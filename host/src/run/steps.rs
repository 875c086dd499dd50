//! Drives the steps of an authorized plan, live or replayed: the one place where a step's events are made, so that both cannot differ.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::clock::Stopwatch;
use crate::host::{Error, SkillHost};
use crate::id::{Digest, SkillName};
use crate::limits::StepLimits;
use crate::observe::HostEvent;
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::{
    ApprovalAnswer, ApprovalRequest, Approve, AuthorizedPlan, AuthorizedStep, Denial, Exhausted, Permission, Principal,
    Spent,
};
use crate::report::StepReport;
use crate::run::micros;
use crate::run::prepare::{Checked, Prepared};
use crate::sandbox::engine::{SandboxEngine, Ticking};
use crate::sandbox::tape::Tape;
use crate::sandbox::{
    CancelToken, Directories, Divergence, Invocation, Links, Program, Reach, RunDeadline, SandboxError,
};
use crate::trace::event::{ApprovalEvent, DeniedEvent, Event, StepBegin, StepEnd};
use crate::trace::recorder::Recorder;
use crate::validate::{Outputs, ValidStep};

/// What the steps are recorded to or replayed from.
pub(crate) trait StepLog {
    /// Whether the record says that the run was cancelled before the next step.
    fn is_cancelled_here(&self) -> bool {
        false
    }

    /// A step needs approval: asks for it and appends the answer, or takes the recorded one and asks nobody.
    fn approval(
        &mut self,
        request: &ApprovalRequest<'_>,
        approver: Option<&dyn Approve>,
    ) -> Result<Result<ApprovalAnswer, Divergence>, Error>;

    /// A step is denied when its turn has come: appends its event, or compares it with the record.
    fn denied(&mut self, denied: &DeniedEvent) -> Result<Result<(), Divergence>, Error>;

    /// A step would be denied, and runs because that is only recorded: appends its event, or compares it with the record.
    fn would_deny(&mut self, denied: &DeniedEvent) -> Result<Result<(), Divergence>, Error>;

    /// Whether the time of the run's budget is over before the next step: `is_over` by the clock, or what the record says.
    fn is_out_of_time_here(&mut self, is_over: bool) -> Result<bool, Error> {
        Ok(is_over)
    }

    /// A step begins: appends its event, or compares it with the record. Gives the tape for its host calls.
    fn begin(&mut self, begin: &StepBegin) -> Result<Result<Tape, Divergence>, Error>;

    /// The step ended: takes the tape back and appends or compares the event.
    fn end(&mut self, tape: Tape, end: &StepEnd) -> Result<Result<(), Divergence>, Error>;
}

/// Appends the steps of a live run.
pub(crate) struct Recording(pub(crate) Option<Box<Recorder>>);

impl Recording {
    /// Appends an event between steps.
    pub(crate) fn append(&mut self, event: &Event) -> Result<u64, Error> {
        Ok(self.recorder()?.append(event)?)
    }

    /// The recorder, between steps.
    pub(crate) fn recorder(&mut self) -> Result<&mut Recorder, Error> {
        self.0.as_deref_mut().ok_or_else(lost)
    }
}

/// The recorder is with the step that runs; it comes back with the step's end.
fn lost() -> Error {
    Error::Damaged { what: "a step did not give its recorder back".to_owned() }
}

impl StepLog for Recording {
    fn approval(
        &mut self,
        request: &ApprovalRequest<'_>,
        approver: Option<&dyn Approve>,
    ) -> Result<Result<ApprovalAnswer, Divergence>, Error> {
        // Without an approver, a step that needs one was denied before.
        let answer = approver.map(|approver| approver.approve(request).bounded());
        let answer = answer.unwrap_or_else(|| ApprovalAnswer::reject("nobody", "nobody can be asked"));
        self.append(&Event::Approval(approval_event(request, answer.clone())))?;
        Ok(Ok(answer))
    }

    fn denied(&mut self, denied: &DeniedEvent) -> Result<Result<(), Divergence>, Error> {
        self.append(&Event::Denied(denied.clone()))?;
        Ok(Ok(()))
    }

    fn would_deny(&mut self, denied: &DeniedEvent) -> Result<Result<(), Divergence>, Error> {
        self.append(&Event::WouldDeny(denied.clone()))?;
        Ok(Ok(()))
    }

    fn begin(&mut self, begin: &StepBegin) -> Result<Result<Tape, Divergence>, Error> {
        self.recorder()?.append(&Event::StepBegin(begin.clone()))?;
        let recorder = self.0.take().ok_or_else(lost)?;
        Ok(Ok(Tape::Record(recorder)))
    }

    fn end(&mut self, tape: Tape, end: &StepEnd) -> Result<Result<(), Divergence>, Error> {
        let Tape::Record(sink) = tape else { return Err(lost()) };
        let sink: Box<dyn Any> = sink;
        self.0 = Some(sink.downcast().map_err(|_| lost())?);
        self.recorder()?.append(&Event::StepEnd(end.clone()))?;
        Ok(Ok(()))
    }
}

/// The event of an answer.
pub(crate) fn approval_event(request: &ApprovalRequest<'_>, answer: ApprovalAnswer) -> ApprovalEvent {
    ApprovalEvent {
        step: request.step.clone(),
        tool: request.tool.clone(),
        needs_approval: request.needed_by.to_vec(),
        answer,
    }
}

/// The steps of one run.
pub(crate) struct Steps<'a> {
    host: &'a SkillHost,
    engine: &'a SandboxEngine,
    checked: &'a Checked,
    authorized: &'a AuthorizedPlan,
    principal: &'a Principal,
    /// The digest of the policy that decides.
    policy: Digest,
    programs: BTreeMap<(SkillName, Links), Program>,
    directories: Directories,
    reach: Option<Reach>,
    runtime: tokio::runtime::Runtime,
    _ticking: Ticking<'a>,
    cancel: &'a CancelToken,
}

/// What is left for a step: its limits, and the time of the run where that is bounded.
type Left = (StepLimits, Option<RunDeadline>);

/// What the steps before have left behind.
struct SoFar {
    outputs: Outputs,
    spent: Spent,
    /// When the first step's turn came.
    started: Stopwatch,
    would_deny: Vec<Denial>,
}

/// What became of them.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) outcome: RunOutcome,
    pub(crate) output: Value,
    pub(crate) steps: Vec<StepReport>,
    /// The step that was denied when its turn had come.
    pub(crate) denial: Option<Denial>,
    /// What would have been denied, where denials stop nothing.
    pub(crate) would_deny: Vec<Denial>,
    /// Where a replay left the record.
    pub(crate) divergence: Option<(String, Divergence)>,
}

impl<'a> Steps<'a> {
    /// Links the skills.
    pub(crate) fn new(
        host: &'a SkillHost,
        prepared: &'a Prepared,
        checked: &'a Checked,
        authorized: &'a AuthorizedPlan,
        directories: Directories,
        reach: Option<Reach>,
        cancel: &'a CancelToken,
    ) -> Result<Self, Error> {
        // One runtime for the run, on this thread: file operations finish inside of their host call, so that nothing of a step is still
        // under way when its store is dropped.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time();
        // What may not reach the network has no runtime that could.
        if reach.is_some() {
            runtime.enable_io();
        }
        let runtime = runtime.build().map_err(|error| SandboxError::Engine { message: error.to_string() })?;
        let steps = checked.plan.steps().zip(authorized.steps());
        let wanted = steps.map(|(step, granted)| (step.tool.name.skill().clone(), Links::of(&granted.grant))).collect();
        let programs = prepared.loaded.programs(&prepared.engine, wanted)?;
        let engine: &SandboxEngine = &prepared.engine;
        let _ticking = engine.ticking();
        let (principal, policy) = (&prepared.principal, prepared.policy);
        Ok(Self {
            host,
            engine,
            checked,
            authorized,
            principal,
            policy,
            programs,
            directories,
            reach,
            runtime,
            _ticking,
            cancel,
        })
    }

    /// Runs the steps in order until one does not complete. `would_deny` is what was found before the first, where denials stop nothing.
    pub(crate) fn run_all(&self, would_deny: &[Denial], log: &mut dyn StepLog) -> Result<Done, Error> {
        let mut so_far = SoFar {
            outputs: Outputs::default(),
            spent: Spent::default(),
            started: Stopwatch::start(),
            would_deny: Vec::new(),
        };
        let mut done = Done {
            outcome: RunOutcome::Completed,
            output: Value::Null,
            steps: Vec::new(),
            denial: None,
            would_deny: Vec::new(),
            divergence: None,
        };
        for denial in would_deny {
            if let Err(divergence) = self.lifted(denial, log, &mut so_far)? {
                done.divergence = Some((denial.step.to_string(), divergence));
                return Ok(done);
            }
        }
        for (step, authorized) in self.checked.plan.steps().zip(self.authorized.steps()) {
            let mut report = StepReport {
                id: step.id.clone(),
                tool: step.tool.name.clone(),
                outcome: None,
                calls: 0,
                fuel: None,
                memory_bytes: 0,
                duration_us: 0,
                stderr: String::new(),
            };
            if done.outcome == RunOutcome::Completed && (self.cancel.is_cancelled() || log.is_cancelled_here()) {
                done.outcome = RunOutcome::Cancelled;
            }
            if done.outcome == RunOutcome::Completed && done.divergence.is_none() {
                match self.run_step(&step, authorized, &mut so_far, log, &mut report)? {
                    Ok(denial) => done.denial = denial,
                    Err(divergence) => done.divergence = Some((step.id.to_string(), divergence)),
                }
                done.outcome = match &report.outcome {
                    _ if done.denial.is_some() => RunOutcome::Denied,
                    Some(Outcome::Cancelled) => RunOutcome::Cancelled,
                    Some(outcome) if outcome.is_completed() => RunOutcome::Completed,
                    _ => RunOutcome::Failed,
                };
            }
            done.steps.push(report);
        }
        if done.outcome == RunOutcome::Completed && done.divergence.is_none() {
            done.output = self
                .checked
                .plan
                .resolve_output(&so_far.outputs)
                .map_err(|problem| Error::Resolve(Box::new(problem)))?;
        }
        done.would_deny = so_far.would_deny;
        Ok(done)
    }

    /// Records a denial that stops nothing.
    fn lifted(
        &self,
        denial: &Denial,
        log: &mut dyn StepLog,
        so_far: &mut SoFar,
    ) -> Result<Result<(), Divergence>, Error> {
        let Denial { step, tool, reason, .. } = denial;
        self.host.observers.tell(HostEvent::StepWouldBeDenied { step, tool, reason });
        so_far.would_deny.push(denial.clone());
        log.would_deny(&DeniedEvent::of(denial, self.policy))
    }

    /// What is left of the run's budget for a step: its limits, and the time where that is bounded.
    fn left(
        &self,
        step: &ValidStep<'_>,
        authorized: &AuthorizedStep,
        so_far: &SoFar,
        log: &mut dyn StepLog,
    ) -> Result<Result<Left, Box<Denial>>, Error> {
        let budget = self.authorized.budget();
        let denied = |exhausted| Ok(Err(Box::new(Denial::over_budget(step.id, &step.tool.name, exhausted))));
        let limits = match so_far.spent.limits(budget, authorized.limits) {
            Ok(limits) => limits,
            Err(exhausted) => return denied(exhausted),
        };
        let Some(amount) = budget.deadline_ms else { return Ok(Ok((limits, None))) };
        let passed_ms = u64::try_from(so_far.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if log.is_out_of_time_here(passed_ms >= amount)? {
            return denied(Exhausted { key: "deadline_ms", amount });
        }
        let left_ms = amount.saturating_sub(passed_ms).max(1);
        Ok(Ok((limits, Some(RunDeadline { left_ms, amount_ms: amount }))))
    }

    /// Decides about a step whose input is known now: asks the rules where that had to wait, and whoever has to approve.
    fn permission(
        &self,
        step: &ValidStep<'_>,
        authorized: &AuthorizedStep,
        input: &Value,
        log: &mut dyn StepLog,
        so_far: &mut SoFar,
    ) -> Result<Result<Result<Permission, Box<Denial>>, Divergence>, Error> {
        let tool = step.tool;
        let permission = match self.authorized.permission(authorized, step.id, 1, tool, input) {
            Ok(permission) => permission,
            Err(denial) if self.authorized.is_log_only() => {
                return Ok(self.lifted(&denial, log, so_far)?.map(|()| Ok(Permission::default())));
            }
            Err(denial) => return Ok(Ok(Err(denial))),
        };
        if permission.needs_approval.is_empty() {
            return Ok(Ok(Ok(permission)));
        }
        let request = ApprovalRequest {
            step: step.id,
            tool: &tool.name,
            input,
            principal: self.principal,
            grant_index: authorized.grant_index,
            grant: &authorized.grant,
            risk: tool.annotations.risk,
            needed_by: &permission.needs_approval,
            rules: &permission.rules,
            reasons: &permission.reasons,
        };
        let answer = match log.approval(&request, self.host.approver.as_deref())? {
            Ok(answer) => answer,
            Err(divergence) => return Ok(Err(divergence)),
        };
        Ok(Ok(if answer.approved { Ok(permission) } else { Err(Box::new(Denial::rejected(&request, &answer))) }))
    }

    /// Runs a step, unless it is denied: then gives the denial.
    fn run_step(
        &self,
        step: &ValidStep<'_>,
        authorized: &AuthorizedStep,
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Result<Result<Option<Denial>, Divergence>, Error> {
        let input = self
            .checked
            .plan
            .resolve_input(step, &so_far.outputs)
            .map_err(|problem| Error::Resolve(Box::new(problem)))?;
        let allowed = match self.left(step, authorized, so_far, log)? {
            Err(denial) => Ok(Err(denial)),
            Ok(left) => {
                let permission = self.permission(step, authorized, &input, log, so_far)?;
                permission.map(|permission| permission.map(|permission| (permission, left)))
            }
        };
        let (permission, (limits, run_deadline)) = match allowed {
            Ok(Ok(allowed)) => allowed,
            Ok(Err(denial)) => {
                let (step, tool, reason) = (&denial.step, &denial.tool, &denial.reason);
                self.host.observers.tell(HostEvent::StepDenied { step, tool, reason });
                let logged = log.denied(&DeniedEvent::of(&denial, self.policy))?;
                return Ok(logged.map(|()| Some(*denial)));
            }
            Err(divergence) => return Ok(Err(divergence)),
        };
        let plan = self.checked.plan.plan();
        let started = Stopwatch::start();
        let begin = StepBegin {
            step: step.id.clone(),
            tool: step.tool.name.clone(),
            attempt: 1,
            skill: step.skill.digest,
            input,
            grant: authorized.grant_index as u64,
            rules: permission.rules,
            limits,
        };
        let tape = match log.begin(&begin)? {
            Ok(tape) => tape,
            Err(divergence) => return Ok(Err(divergence)),
        };
        self.host.observers.tell(HostEvent::StepBegin { step: step.id, tool: &step.tool.name });
        let invocation = Invocation {
            tool: step.tool,
            input: &begin.input,
            grant: &authorized.grant,
            workspace: &self.host.workspace,
            directories: &self.directories,
            reach: self.reach.as_ref(),
            undo: None,
            limits,
            run_deadline,
            plan: &plan.name,
            step: step.id,
            attempt: begin.attempt,
            seed: plan.seed,
            start_time: plan.start_time,
        };
        let key = (step.tool.name.skill().clone(), Links::of(&authorized.grant));
        let program = self.programs.get(&key).ok_or_else(lost)?;
        let invoked = self.runtime.block_on(self.engine.invoke(program, invocation, tape, self.cancel))?;
        so_far.spent.add(invoked.fuel, invoked.calls);
        report.calls = invoked.calls;
        report.fuel = invoked.fuel;
        report.memory_bytes = invoked.memory_bytes;
        report.duration_us = micros(started);
        let outcome = match invoked.end {
            Ok(outcome) => outcome,
            Err(divergence) => return Ok(Err(divergence)),
        };
        let end = StepEnd { step: step.id.clone(), outcome, calls: invoked.calls, fuel: invoked.fuel };
        let ended = log.end(invoked.tape, &end)?;
        self.host.observers.tell(HostEvent::StepEnd {
            step: step.id,
            outcome: &end.outcome,
            calls: end.calls,
            fuel: end.fuel,
            duration_us: report.duration_us,
        });
        match &end.outcome {
            Outcome::Completed { output } => {
                so_far.outputs.insert(step.id.clone(), Arc::new(output.clone()));
            }
            _ => report.stderr = invoked.stderr,
        }
        report.outcome = Some(end.outcome);
        Ok(ended.map(|()| None))
    }
}
