//! Drives the steps of an authorized plan, live or replayed: the one place where a step's events are made, so that both cannot differ.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::clock::Stopwatch;
use crate::host::{Error, SkillHost};
use crate::id::SkillName;
use crate::observe::HostEvent;
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::{AuthorizedPlan, AuthorizedStep};
use crate::report::StepReport;
use crate::run::micros;
use crate::run::prepare::{Checked, Prepared};
use crate::sandbox::engine::{SandboxEngine, Ticking};
use crate::sandbox::tape::Tape;
use crate::sandbox::{CancelToken, Directories, Divergence, Invocation, Links, Program, Reach, SandboxError};
use crate::trace::event::{Event, StepBegin, StepEnd};
use crate::trace::recorder::Recorder;
use crate::validate::{Outputs, ValidStep};

/// What the steps are recorded to or replayed from.
pub(crate) trait StepLog {
    /// Whether the record says that the run was cancelled before the next step.
    fn is_cancelled_here(&self) -> bool {
        false
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

/// The steps of one run.
pub(crate) struct Steps<'a> {
    host: &'a SkillHost,
    engine: &'a SandboxEngine,
    checked: &'a Checked,
    authorized: &'a AuthorizedPlan,
    programs: BTreeMap<(SkillName, Links), Program>,
    directories: Directories,
    reach: Option<Reach>,
    runtime: tokio::runtime::Runtime,
    _ticking: Ticking<'a>,
    cancel: &'a CancelToken,
}

/// What became of them.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) outcome: RunOutcome,
    pub(crate) output: Value,
    pub(crate) steps: Vec<StepReport>,
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
        Ok(Self { host, engine, checked, authorized, programs, directories, reach, runtime, _ticking, cancel })
    }

    /// Runs the steps in order until one does not complete.
    pub(crate) fn run_all(&self, log: &mut dyn StepLog) -> Result<Done, Error> {
        let mut outputs = Outputs::default();
        let mut done =
            Done { outcome: RunOutcome::Completed, output: Value::Null, steps: Vec::new(), divergence: None };
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
                done.divergence = self
                    .run_step(&step, authorized, &mut outputs, log, &mut report)?
                    .err()
                    .map(|d| (step.id.to_string(), d));
                done.outcome = match &report.outcome {
                    Some(Outcome::Cancelled) => RunOutcome::Cancelled,
                    Some(outcome) if outcome.is_completed() => RunOutcome::Completed,
                    _ => RunOutcome::Failed,
                };
            }
            done.steps.push(report);
        }
        if done.outcome == RunOutcome::Completed && done.divergence.is_none() {
            done.output =
                self.checked.plan.resolve_output(&outputs).map_err(|problem| Error::Resolve(Box::new(problem)))?;
        }
        Ok(done)
    }

    fn run_step(
        &self,
        step: &ValidStep<'_>,
        authorized: &AuthorizedStep,
        outputs: &mut Outputs,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Result<Result<(), Divergence>, Error> {
        let input =
            self.checked.plan.resolve_input(step, outputs).map_err(|problem| Error::Resolve(Box::new(problem)))?;
        let plan = self.checked.plan.plan();
        let started = Stopwatch::start();
        let begin = StepBegin {
            step: step.id.clone(),
            tool: step.tool.name.clone(),
            attempt: 1,
            skill: step.skill.digest,
            input,
            grant: authorized.grant_index as u64,
            limits: authorized.limits,
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
            limits: authorized.limits,
            plan: &plan.name,
            step: step.id,
            attempt: begin.attempt,
            seed: plan.seed,
            start_time: plan.start_time,
        };
        let key = (step.tool.name.skill().clone(), Links::of(&authorized.grant));
        let program = self.programs.get(&key).ok_or_else(lost)?;
        let invoked = self.runtime.block_on(self.engine.invoke(program, invocation, tape, self.cancel))?;
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
                outputs.insert(step.id.clone(), Arc::new(output.clone()));
            }
            _ => report.stderr = invoked.stderr,
        }
        report.outcome = Some(end.outcome);
        Ok(ended)
    }
}
