//! The pipeline on one screen: read → load → validate → authorize → run each step → report, every stage recorded. A run that was stopped
//! goes through the same stages, with what is recorded of it where it is recorded.

mod again;
mod ahead;
mod approval;
mod attempt;
mod delegation;
mod dry;
mod facts;
mod failure;
mod go_on;
mod held;
mod intent;
mod kept;
mod ledger;
mod log;
mod own;
mod prepare;
mod preview;
mod request;
mod restored;
mod reuse;
mod rollback;
mod segment;
mod settle;
mod steps;
mod subject;
mod transaction;
mod turn;
mod undo;
mod unkept;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Stopwatch;
use crate::context::RequestContext;
use crate::durability::Durability;
use crate::host::{Error, GoOnOptions, Keep, RunOptions, SkillHost};
use crate::limits;
use crate::observe::HostEvent;
use crate::outcome::RunOutcome;
use crate::plan::PlanDocument;
use crate::policy::{self, ApprovalAnswer, AuthorizedPlan, Denial, Preopen};
use crate::problem::Problem;
use crate::report::{Pending, Report};
use crate::sandbox::{CancelToken, Directories, Reach, causes};
use crate::skills::LoadedSkill;
use crate::store::index::RunStatus;
use crate::store::{Access, Phase, Place, RunDir, RunLock, StoreError, WorkspaceLock};
use crate::trace::blob::BlobStore;
use crate::trace::committed::committed;
use crate::trace::event::{DeniedEvent, Event, Flow};
use crate::trace::flow::Failed;
use crate::trace::recorder::Recorder;

pub(crate) use dry::{Rehearsal, dry_run};
#[cfg(feature = "cli")]
pub(crate) use facts::of_run as facts_of_run;
pub(crate) use failure::recorded_before_its_steps;
pub(crate) use go_on::{go_on, may_go_on};
pub(crate) use log::{Go, Halt, Next, StepLog, Turn, difference};
pub use prepare::Checked;
pub(crate) use prepare::{Given, Prepared, Stage, header, prepare_with};
pub(crate) use steps::{Done, Steps};
#[cfg(feature = "cli")]
pub(crate) use transaction::journal as journal_of;

pub(crate) use reuse::Purpose;
pub(crate) use settle::end_waiting;
pub(crate) use undo::undo;
pub use undo::{UndoConflict, UndoneStep};

use ledger::Ledger;
use log::Recording;
use prepare::{open_reach, prepare};
use reuse::{Earlier, Library};
use transaction::Journals;

/// Runs a plan; in a rehearsal, see [`dry_run`], where it is one.
pub(crate) fn run(
    host: &SkillHost,
    document: &PlanDocument,
    options: &RunOptions,
    known: Option<&Arc<LoadedSkill>>,
) -> Result<Report, Error> {
    if options.dry_run && host.rehearsal.is_none() {
        return dry_run(host, document, options);
    }
    if options.keep == Keep::Effects
        && host.rehearsal.is_none()
        && let Some(report) = unkept::run(host, document, options, known)?
    {
        return Ok(report);
    }
    begin(host, document, options, (None, known))
}

/// Makes a new run of what another one did not do, or one that takes back what it did.
pub(crate) fn continue_with(
    host: &SkillHost,
    from: &RunDir,
    purpose: Purpose,
    options: &GoOnOptions,
) -> Result<Report, Error> {
    // Whoever takes back a run that takes back another one means that one.
    let taken = match from.place()?.and_then(|place| place.continues) {
        Some((run, why)) if purpose == Purpose::Rollback && why == Purpose::Rollback.name() => {
            Some(host.store.find(&run)?)
        }
        _ => None,
    };
    let from = taken.as_ref().unwrap_or(from);
    let Some(settled) = committed(&from.trace())? else {
        return Err(Error::NotBegun { run: from.id().to_owned() });
    };
    // A second one that asks the same would do everything twice.
    if purpose == Purpose::Resume && settled.is_asking && !settled.has_ended && from.taken_back()?.is_none() {
        return Err(Error::Waits { run: from.id().to_owned() });
    }
    // Nobody may act in it meanwhile; one that was stopped by a crash is put in order first.
    let lock = RunLock::acquire(from.path()).map_err(StoreError::from)?;
    transaction::put_in_order(from, &settled.settled)?;
    if purpose == Purpose::Rollback && settled.is_asking && !settled.has_ended && from.taken_back()?.is_none() {
        // Nobody waits for it any more.
        settle::end(host, from, &settled, ApprovalAnswer::reject("nobody", "the run is taken back"))?;
    }
    if purpose == Purpose::Rollback {
        transaction::put_back_rest(from, &settled.failed)?;
    }
    let mut earlier = Earlier::read(from, purpose, None)?;
    earlier.is_held = true;
    if purpose == Purpose::Rollback
        && let Some(by) = earlier.taken_back_by()
        && !earlier.restored.is_incomplete()
    {
        return Err(Error::TakenBack { run: from.id().to_owned(), by: by.to_owned() });
    }
    let place = from.place()?;
    let request = place.as_ref().and_then(|place| place.request.clone()).map(Arc::new);
    let base = place.map_or_else(|| from.path().to_owned(), |place| place.base);
    let document = from.plan_document()?.at(&base);
    let options = RunOptions {
        inputs: settled.header.inputs,
        principal: Some(settled.header.principal),
        log_only: settled.header.log_only,
        cancel: options.cancel.clone(),
        request,
        ..RunOptions::default()
    };
    let report = begin(host, &document, &options, (Some(earlier), None))?;
    drop(lock);
    Ok(report)
}

fn begin(
    host: &SkillHost,
    document: &PlanDocument,
    options: &RunOptions,
    (earlier, known): (Option<Earlier>, Option<&Arc<LoadedSkill>>),
) -> Result<Report, Error> {
    let mut phases = Phases::default();
    host.check_bundle()?;
    // What cannot be put into force is refused in a rehearsal as well; it reaches nobody.
    let reach = open_reach(host)?.filter(|_| host.rehearsal.is_none());
    let folder = host.store.create_run()?;
    let lock = RunLock::acquire(folder.path()).map_err(StoreError::from)?;
    host.observers.tell(HostEvent::RunBegin { run: folder.id() });
    folder.keep_plan(document.format().extension(), document.bytes())?;
    folder.keep_policy(&host.policy.text, host.policy.rules())?;
    if let Some(ceiling) = &host.policy.policy.ceiling {
        folder.keep_ceiling(&ceiling.text, ceiling.policy.rules.as_ref().map(|rules| rules.text()))?;
    }
    folder.keep_place(&Place::of(host, document, earlier.as_ref(), options))?;
    phases.done("store");

    let prepared = prepare(host, document, options, known)?;
    for loaded in prepared.loaded.skills.values() {
        folder.keep_component(&loaded.skill.digest, &loaded.bytes, loaded.manifest.as_deref())?;
        if let Some(warning) = &loaded.warning {
            host.observers.tell(HostEvent::Warning { message: warning });
        }
    }
    phases.done("load and validate");

    let recorder = Recorder::create(&folder.trace(), Some(BlobStore::new(folder.blobs())))?;
    let resumed = earlier.as_ref().map(|earlier| earlier.run.as_str());
    let log = Recording::new(host, recorder, Ledger::begin(host, &folder, lock, resumed)?);
    let request = options.request.clone();
    let run = Run { host, log, folder, phases, warnings: prepared.warnings(), request };
    run.drive(document, &prepared, reach, &options.cancel, (earlier, options.reuse))
}

/// Validates a plan and nothing else.
pub(crate) fn check(
    host: &SkillHost,
    document: &PlanDocument,
    inputs: &Map<String, Value>,
) -> Result<Result<Checked, Vec<Problem>>, Error> {
    let options = RunOptions { inputs: inputs.clone(), ..RunOptions::default() };
    Ok(match prepare(host, document, &options, None)?.stage {
        Stage::Refused { problems } => Err(problems),
        Stage::Denied { checked, .. } | Stage::Ready { checked, .. } => Ok(checked),
    })
}

/// A run with its record.
struct Run<'a> {
    host: &'a SkillHost,
    log: Recording,
    folder: RunDir,
    phases: Phases,
    warnings: Vec<String>,
    /// What the request says that asked for it.
    request: Option<Arc<RequestContext>>,
}

impl Run<'_> {
    /// From the prepared plan to the report. What is recorded already is compared on the way, not done again.
    fn drive(
        mut self,
        document: &PlanDocument,
        prepared: &Prepared,
        reach: Option<Reach>,
        cancel: &CancelToken,
        (earlier, reuse): (Option<Earlier>, bool),
    ) -> Result<Report, Error> {
        let is_new = self.log.is_new();
        let mut ground = None;
        if let Stage::Ready { authorized, .. } = &prepared.stage {
            match self.ground(authorized) {
                Ok(found) => ground = Some(Ok(found)),
                // A run that goes on may do so later, when nobody else works there.
                Err(error @ Error::Store(_)) if !is_new => return Err(error),
                // Nor where others were put in the places of its folders: they may be put back.
                Err(error) if !is_new && error.is_of_ground() => return Err(error),
                // Of a rehearsal there is no run that would have to end.
                Err(error) if error.is_of_record() || self.host.rehearsal.is_some() => return Err(error),
                Err(error) => ground = Some(Err(error)),
            }
        }
        self.note(&Event::Header(header(document, prepared)))?;
        match &prepared.stage {
            Stage::Refused { problems } => self.refused(prepared, problems.clone()),
            Stage::Denied { denials, .. } => self.denied(prepared, denials.clone()),
            Stage::Ready { checked, authorized, would_deny } => {
                if is_new {
                    self.begun()?;
                }
                let (directories, _locks, unable) = match ground {
                    Some(Ok((directories, locks))) => (directories, Some(locks), None),
                    Some(Err(error)) => (Directories::default(), None, Some(error.failure())),
                    None => (Directories::default(), None, None),
                };
                let steps = match Steps::new(self.host, prepared, checked, authorized, directories, reach, cancel) {
                    Ok(steps) => steps.unable(unable),
                    Err(error) if is_new => return self.unable(prepared, checked, &error),
                    Err(error) => return Err(error),
                };
                let library = Library { store: &self.host.store, durability: self.host.durability };
                let journals = Journals::of(self.folder.path(), self.host.durability);
                let named = journals.clone();
                let steps = steps.placed(subject::Placed::of(&self.folder)?);
                let steps =
                    steps.asked_by(self.request.as_ref()).noting(journals).reusing(earlier, reuse.then_some(library));
                self.host.observers.tell(HostEvent::PlanReady { steps: authorized.steps().len() });
                let mut done = steps.run_all(would_deny, &mut self.log)?;
                named.settle()?;
                if let Some((step, divergence)) = done.divergence.take() {
                    return Err(Error::Changed { step, what: divergence.what });
                }
                self.phases.done("steps");
                let is_rehearsal = self.host.rehearsal.is_some();
                let report = self.finish(prepared, done)?;
                let begun = report.steps.iter().filter(|step| step.attempts > 0).map(|step| &step.id);
                let dry_run = is_rehearsal.then(|| dry::without_network(authorized, begun));
                Ok(Report { dry_run, ..report })
            }
        }
    }

    /// What the steps work in, for this run alone.
    fn ground(&self, authorized: &AuthorizedPlan) -> Result<(Directories, Vec<WorkspaceLock>), Error> {
        let directories = self.host.open_directories(authorized)?;
        if self.host.rehearsal.is_none() {
            self.keep_folders(&directories)?;
        }
        // Of two runs in one directory neither would know what it has changed.
        let wait = Duration::from_millis(limits::WORKSPACE_LOCK_WAIT_MS);
        let mut lockable = lockable(authorized, &self.host.workspace);
        // A rehearsal works in copies.
        lockable.retain(|_| self.host.rehearsal.is_none());
        let locks = WorkspaceLock::acquire_all(lockable.iter().map(|(path, access)| (path.as_path(), *access)), wait);
        Ok((directories, locks.map_err(StoreError::from)?))
    }

    /// The steps cannot be made ready: nothing of the plan has run.
    fn unable(mut self, prepared: &Prepared, checked: &Checked, error: &Error) -> Result<Report, Error> {
        let failure = error.failure();
        self.note(&Flow::Failed(Failed::of(&failure, None)).of_run())?;
        let done = settle(failure::ended_before_its_steps(failure, checked, &mut self.log))?;
        self.finish(prepared, done)
    }

    /// From here on the run has begun: what it takes to go on with it is durable before anything of it changes a file. Otherwise a power
    /// failure could leave the changes of a step of which nobody knows.
    fn begun(&mut self) -> Result<(), Error> {
        if self.host.durability == Durability::Full {
            self.log.recorder()?.sync()?;
            self.folder.sync()?;
        }
        Ok(())
    }

    /// A run goes on in the folders that it began in: somebody may have put others in their places.
    fn keep_folders(&self, directories: &Directories) -> Result<(), Error> {
        let ids = directories.ids().map_err(|source| Error::Directory { guest: String::new(), source })?;
        if ids.is_empty() {
            return Ok(());
        }
        let kept = self.folder.keep_folders(&ids)?;
        let what = |path: PathBuf| format!("the folder `{}` is another one than when the run began", path.display());
        kept.map_err(|path| Error::Changed { step: None, what: what(path) })
    }

    fn refused(mut self, prepared: &Prepared, problems: Vec<Problem>) -> Result<Report, Error> {
        self.host.observers.tell(HostEvent::PlanRefused { problems: &problems });
        self.note(&Event::Refused { problems: problems.clone() })?;
        let report = self.finish(prepared, Done::nothing(RunOutcome::Refused))?;
        Ok(Report { problems, ..report })
    }

    fn denied(mut self, prepared: &Prepared, denials: Vec<Denial>) -> Result<Report, Error> {
        for denial in &denials {
            let Denial { step, tool, reason, .. } = denial;
            self.host.observers.tell(HostEvent::StepDenied { step, tool, reason });
            self.note(&Event::Denied(DeniedEvent::of(denial, prepared.policy)))?;
        }
        let report = self.finish(prepared, Done::nothing(RunOutcome::Denied))?;
        Ok(Report { denials, ..report })
    }

    fn note(&mut self, event: &Event) -> Result<(), Error> {
        settle(self.log.note(event))
    }

    /// The run waits.
    fn pause(&mut self, pending: Option<&Pending>) {
        let what = pending.map(|pending| format!("step `{}` waits for approval", pending.step)).unwrap_or_default();
        if let Some(ledger) = self.log.ledger() {
            ledger.status(RunStatus::Paused, &what);
        }
    }

    fn finish(mut self, prepared: &Prepared, done: Done) -> Result<Report, Error> {
        let outcome = done.outcome;
        match outcome {
            RunOutcome::Paused => self.pause(done.pending.as_ref()),
            _ => self.note(&done.end())?,
        }
        settle(self.log.commit())?;
        // The run has ended, whatever becomes of what is told of it elsewhere: the index is built again from the trace.
        if let Some(Err(error)) = self.log.ledger().map(Ledger::settle) {
            self.warnings.push(format!("the index has not learned of the end of the run: {}", causes(&error)));
        }
        let (events, head) = self.log.recorder()?.head();
        if !self.folder.is_there() {
            return Err(Error::Gone { path: self.folder.path().to_owned() });
        }
        self.phases.done("finish");
        self.host.observers.tell(HostEvent::RunEnd { outcome });
        let mut report = Report {
            run: self.folder.id().to_owned(),
            folder: self.folder.path().to_owned(),
            policy: Some(self.host.decided_by()),
            head,
            events,
            phases: self.phases.list(),
            warnings: self.warnings,
            ..done.report(prepared)
        };
        if let Err(error) = self.folder.keep_timing(&timing(&report)) {
            report.warnings.push(format!("the times of the run are not kept: {}", causes(&error)));
        }
        Ok(report)
    }
}

/// The directories that a plan's calls work in, and how.
fn lockable(authorized: &AuthorizedPlan, workspace: &Path) -> Vec<(PathBuf, Access)> {
    let preopens = authorized.grants().flat_map(|grant| &grant.filesystem);
    let access = |preopen: &Preopen| match preopen.access {
        policy::Access::ReadOnly => Access::Read,
        policy::Access::ReadWrite => Access::ReadWrite,
    };
    preopens.map(|preopen| (preopen.resolve_host(workspace), access(preopen))).collect()
}

/// A record that is not what this run makes is no divergence of a replay: the run cannot go on.
fn settle<T>(went: Go<T>) -> Result<T, Error> {
    match went {
        Ok(done) => Ok(done),
        Err(Halt::Error(error)) => Err(error),
        Err(Halt::Diverged(divergence)) => Err(Error::Changed { step: None, what: divergence.what }),
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
