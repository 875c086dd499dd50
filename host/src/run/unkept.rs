//! A run of which nothing is kept but the head of its trace: no call of it may have an effect, so that it can be made again from what asked
//! for it. The same pipeline, with a record that is chained and not written.

use std::any::Any;
use std::sync::Arc;

use super::log::{Go, Halt, Next, StepLog, Turn, noted};
use super::prepare::{Prepared, Stage, header, prepare};
use super::steps::{Done, Steps};
use super::{Phases, settle};
use crate::host::{Error, RunOptions, SkillHost};
use crate::observe::HostEvent;
use crate::outcome::RunOutcome;
use crate::plan::PlanDocument;
use crate::policy::{AuthorizedPlan, AuthorizedStep};
use crate::report::Report;
use crate::run::prepare::Checked;
use crate::sandbox::tape::Tape;
use crate::skills::LoadedSkill;
use crate::trace::event::{Event, StepBegin, StepEnd};
use crate::trace::recorder::Recorder;
use crate::validate::Work;

/// Runs a plan; `None`, with nothing done, where the run has to be kept.
pub(super) fn run(
    host: &SkillHost,
    document: &PlanDocument,
    options: &RunOptions,
    known: Option<&Arc<LoadedSkill>>,
) -> Result<Option<Report>, Error> {
    let mut phases = Phases::default();
    if options.log_only || options.reuse {
        return Ok(None);
    }
    // What cannot be put into force is refused, whether or not this plan needs it: as for a run that is kept.
    let problems = host.secrets.missing(&host.policy.policy);
    if !problems.is_empty() {
        return Err(Error::Policy(problems));
    }
    let prepared = prepare(host, document, options, known)?;
    if !has_no_effect(&prepared) {
        return Ok(None);
    }
    phases.done("load and validate");
    let mut log = Chained { recorder: Some(Box::new(Recorder::chain_only())) };
    settle(log.note(&Event::Header(header(document, &prepared))))?;
    let (done, problems) = match &prepared.stage {
        Stage::Ready { checked, authorized, .. } => {
            host.observers.tell(HostEvent::PlanReady { steps: authorized.steps().len() });
            let directories = host.open_directories(authorized)?;
            let steps = Steps::new(host, &prepared, checked, authorized, directories, None, &options.cancel)?;
            let steps = steps.asked_by(options.request.as_ref());
            (steps.run_all(&[], &mut log)?, Vec::new())
        }
        Stage::Refused { problems } => {
            host.observers.tell(HostEvent::PlanRefused { problems });
            settle(log.note(&Event::Refused { problems: problems.clone() }))?;
            (Done::nothing(RunOutcome::Refused), problems.clone())
        }
        Stage::Denied { .. } => return Ok(None),
    };
    phases.done("steps");
    settle(log.note(&done.end()))?;
    let (events, head) = log.recorder()?.head();
    host.observers.tell(HostEvent::RunEnd { outcome: done.outcome });
    let warnings = prepared.warnings();
    let (policy, phases) = (Some(host.decided_by()), phases.list());
    let report = Report { policy, problems, events, head, phases, warnings, ..done.report(&prepared) };
    Ok(Some(report))
}

/// Whether no call of the plan may have an effect and nobody has to be asked. A denial is kept, because somebody may look for it.
fn has_no_effect(prepared: &Prepared) -> bool {
    match &prepared.stage {
        Stage::Refused { .. } => true,
        Stage::Denied { .. } => false,
        Stage::Ready { checked, authorized, .. } => {
            only_calls(checked) && authorized.calls().all(is_pure) && asks_nobody(authorized)
        }
    }
}

fn only_calls(checked: &Checked) -> bool {
    checked.plan.steps().all(|step| matches!(step.work, Work::Call(_)))
}

fn is_pure(call: &AuthorizedStep) -> bool {
    call.grant.filesystem.is_empty() && call.grant.network.is_empty()
}

/// Whether it is known by now that no step needs approval and none is denied in its turn.
fn asks_nobody(authorized: &AuthorizedPlan) -> bool {
    let known = |step: &AuthorizedStep| step.permission.as_ref().is_some_and(|known| known.needs_approval.is_empty());
    authorized.steps().iter().all(known)
}

/// The log of such a run: its recorder is not there while a step has it.
#[derive(Debug)]
struct Chained {
    recorder: Option<Box<Recorder>>,
}

impl Chained {
    fn recorder(&mut self) -> Result<&mut Recorder, Error> {
        self.recorder.as_deref_mut().ok_or_else(lost)
    }
}

fn lost() -> Error {
    Error::Damaged { what: "a step did not give its recorder back".to_owned() }
}

impl StepLog for Chained {
    fn note(&mut self, event: &Event) -> Go<()> {
        self.recorder()?.append(event)?;
        Ok(())
    }

    fn next(&mut self) -> Go<Next> {
        Ok(Next::Live)
    }

    fn begin(&mut self, begin: StepBegin) -> Go<Turn> {
        self.note(&Event::StepBegin(begin))?;
        Ok(Turn::Run(Tape::Record(self.recorder.take().ok_or_else(lost)?)))
    }

    fn end(&mut self, tape: Tape, end: StepEnd) -> Go<StepEnd> {
        let Tape::Record(sink) = tape else { return Err(Halt::Error(lost())) };
        let sink: Box<dyn Any> = sink;
        self.recorder = Some(sink.downcast().map_err(|_| lost())?);
        noted(self, end)
    }

    fn commit(&mut self) -> Go<()> {
        Ok(())
    }
}
