//! The pipeline on one screen: read → load → validate → authorize → run each step → report, every stage recorded.

mod prepare;
mod request;
mod steps;

use serde_json::{Map, Value};

use crate::clock::Stopwatch;
use crate::host::{Error, RunOptions, SkillHost};
use crate::observe::HostEvent;
use crate::outcome::RunOutcome;
use crate::plan::PlanDocument;
use crate::policy::Denial;
use crate::problem::Problem;
use crate::report::{Report, StepReport, begun};
use crate::sandbox::Directories;
use crate::store::{Phase, RunDir};
use crate::trace::blob::BlobStore;
use crate::trace::event::{DeniedEvent, Event};
use crate::trace::recorder::Recorder;

pub use prepare::Checked;
pub(crate) use prepare::{Given, Prepared, Stage, header, prepare_with};
pub(crate) use steps::{StepLog, Steps, approval_event};

use prepare::{create_workspace, open_reach, prepare};
use steps::Recording;

/// Runs a plan.
pub(crate) fn run(host: &SkillHost, document: &PlanDocument, options: &RunOptions) -> Result<Report, Error> {
    let mut phases = Phases::default();
    let reach = open_reach(host)?;
    let folder = host.store.create_run()?;
    host.observers.tell(HostEvent::RunBegin { run: folder.id() });
    folder.keep_plan(document.format().extension(), document.bytes())?;
    folder.keep_policy(&host.policy.text, host.policy.rules())?;
    phases.done("store");

    let prepared = prepare(host, document, options)?;
    for loaded in prepared.loaded.skills.values() {
        folder.keep_component(&loaded.skill.digest, &loaded.bytes, loaded.manifest.as_deref())?;
        if let Some(warning) = &loaded.warning {
            host.observers.tell(HostEvent::Warning { message: warning });
        }
    }
    phases.done("load and validate");

    let mut run = Run { host, log: recording(&folder)?, folder, phases, warnings: prepared.warnings() };
    run.log.append(&Event::Header(header(document, &prepared)))?;
    match prepared.stage {
        Stage::Refused { ref problems } => run.refused(&prepared, problems.clone()),
        Stage::Denied { ref denials, .. } => run.denied(&prepared, denials.clone()),
        Stage::Ready { ref checked, ref authorized, ref would_deny } => {
            create_workspace(host, authorized)?;
            let grants = authorized.calls().map(|call| call.grant.as_ref());
            let directories = Directories::open(grants, &host.workspace)?;
            let steps = Steps::new(host, &prepared, checked, authorized, directories, reach, &options.cancel)?;
            host.observers.tell(HostEvent::PlanReady { steps: authorized.steps().len() });
            let done = steps.run_all(would_deny, &mut run.log)?;
            run.phases.done("steps");
            let report = run.finish(&prepared, done.outcome, done.output, done.steps)?;
            Ok(Report { denials: done.denial.into_iter().collect(), would_deny: done.would_deny, ..report })
        }
    }
}

/// Validates a plan and nothing else.
pub(crate) fn check(
    host: &SkillHost,
    document: &PlanDocument,
    inputs: &Map<String, Value>,
) -> Result<Result<Checked, Vec<Problem>>, Error> {
    let options = RunOptions { inputs: inputs.clone(), ..RunOptions::default() };
    Ok(match prepare(host, document, &options)?.stage {
        Stage::Refused { problems } => Err(problems),
        Stage::Denied { checked, .. } | Stage::Ready { checked, .. } => Ok(checked),
    })
}

fn recording(folder: &RunDir) -> Result<Recording, Error> {
    let recorder = Recorder::create(&folder.trace(), Some(BlobStore::new(folder.blobs())))?;
    Ok(Recording(Some(Box::new(recorder))))
}

/// A run that has its header.
struct Run<'a> {
    host: &'a SkillHost,
    log: Recording,
    folder: RunDir,
    phases: Phases,
    warnings: Vec<String>,
}

impl Run<'_> {
    fn refused(mut self, prepared: &Prepared, problems: Vec<Problem>) -> Result<Report, Error> {
        self.host.observers.tell(HostEvent::PlanRefused { problems: &problems });
        self.log.append(&Event::Refused { problems: problems.clone() })?;
        let report = self.finish(prepared, RunOutcome::Refused, Value::Null, Vec::new())?;
        Ok(Report { problems, ..report })
    }

    fn denied(mut self, prepared: &Prepared, denials: Vec<Denial>) -> Result<Report, Error> {
        for denial in &denials {
            let Denial { step, tool, reason, .. } = denial;
            self.host.observers.tell(HostEvent::StepDenied { step, tool, reason });
            self.log.append(&Event::Denied(DeniedEvent::of(denial, prepared.policy)))?;
        }
        let report = self.finish(prepared, RunOutcome::Denied, Value::Null, Vec::new())?;
        Ok(Report { denials, ..report })
    }

    fn finish(
        mut self,
        prepared: &Prepared,
        outcome: RunOutcome,
        output: Value,
        steps: Vec<StepReport>,
    ) -> Result<Report, Error> {
        let begun = begun(&steps);
        self.log.append(&Event::RunEnd { outcome, output: output.clone(), steps: begun })?;
        self.log.recorder()?.sync()?;
        let (events, head) = self.log.recorder()?.head();
        self.phases.done("finish");
        self.host.observers.tell(HostEvent::RunEnd { outcome });
        let report = Report {
            run: self.folder.id().to_owned(),
            folder: self.folder.path().to_owned(),
            plan: prepared.plan_name().to_owned(),
            outcome,
            output,
            steps,
            problems: Vec::new(),
            denials: Vec::new(),
            log_only: prepared.log_only,
            would_deny: Vec::new(),
            head,
            events,
            phases: self.phases.list(),
            warnings: self.warnings,
        };
        self.folder.keep_timing(&timing(&report))?;
        Ok(report)
    }
}

/// The wall-clock facts of a run, for `timing.jsonl`.
fn timing(report: &Report) -> Vec<Phase> {
    let phases = report.phases.iter().map(|(name, us)| Phase { what: format!("phase {name}"), duration_us: *us });
    let steps = report.steps.iter().filter(|step| step.outcome.is_some());
    let steps = steps.map(|step| Phase { what: format!("step {}", step.id), duration_us: step.duration_us });
    phases.chain(steps).collect()
}

/// Measures what went where.
#[derive(Debug)]
pub(crate) struct Phases {
    since: Stopwatch,
    list: Vec<(&'static str, u64)>,
}

impl Default for Phases {
    fn default() -> Self {
        Self { since: Stopwatch::start(), list: Vec::new() }
    }
}

impl Phases {
    pub(crate) fn done(&mut self, name: &'static str) {
        self.list.push((name, micros(self.since)));
        self.since = Stopwatch::start();
    }

    fn list(&self) -> Vec<(&'static str, u64)> {
        self.list.clone()
    }
}

/// The time since `since` in microseconds.
pub(crate) fn micros(since: Stopwatch) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
