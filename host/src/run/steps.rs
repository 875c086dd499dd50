//! The steps of a plan, one after the other: each takes its turn, until one does not complete. What is live and what is taken from a record
//! is the log's business alone, so that a run, its continuation and its replay take the same way through here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;

use super::ahead::{Ahead, Threads};
use super::delegation::Callees;
use super::failure::{leaves, of_problem};
use super::log::{Go, Halt, Next, StepLog};
use super::prepare::{Checked, Prepared};
use super::reuse::{Earlier, Library, Purpose};
use super::subject::Placed;
use super::transaction::{self, Journals};
use super::turn::Turned;
use crate::clock::Stopwatch;
use crate::context::RequestContext;
use crate::host::{Error, SkillHost};
use crate::id::{Digest, SkillName, StepId, ToolName};
use crate::observe::HostEvent;
use crate::outcome::{Failure, RunOutcome};
use crate::plan::OnFailure;
use crate::policy::{AuthorizedPlan, AuthorizedStep, Denial, Grant, Principal, Spent};
use crate::report::{CANCELLED, Pending, Report, RollbackReport, StepReport};
use crate::sandbox::engine::{SandboxEngine, Ticking};
use crate::sandbox::runtime::{Idle, Lent};
use crate::sandbox::{CancelToken, Directories, Divergence, Links, Program, Reach};
use crate::skills::LoadCost;
use crate::trace::event::{DeniedEvent, Event, Flow, FlowEvent};
use crate::validate::{Call, Outputs, ValidStep};

/// The steps of one run.
pub(crate) struct Steps<'a> {
    pub(super) host: &'a SkillHost,
    pub(super) engine: &'a Arc<SandboxEngine>,
    pub(super) checked: &'a Checked,
    pub(super) authorized: &'a AuthorizedPlan,
    pub(super) principal: &'a Principal,
    /// The digest of the policy that decides.
    pub(super) policy: Digest,
    pub(super) programs: BTreeMap<(SkillName, Links), Arc<Program>>,
    /// What tools may call; `None` where they may call nothing.
    pub(super) callees: Option<Arc<Callees>>,
    pub(super) directories: Directories,
    pub(super) reach: Option<Reach>,
    pub(super) runtime: Lent<'a>,
    _ticking: Ticking<'a>,
    pub(super) cancel: &'a CancelToken,
    /// The run that this one continues.
    pub(super) earlier: Option<Earlier>,
    /// Where results of other runs are found, if they may be taken.
    pub(super) library: Option<Library<'a>>,
    /// Where what steps change is noted; `None` in a replay.
    pub(super) journals: Option<Journals>,
    /// What the request says that asked for the run.
    pub(super) request: Arc<RequestContext>,
    /// Why no further step can run, where that was found before the first.
    pub(super) unable: Option<Failure>,
    /// Where the run is kept and takes place; `None` in a replay.
    pub(super) placed: Option<Placed>,
}

/// What the steps before have left behind.
pub(super) struct SoFar {
    pub(super) outputs: Outputs,
    pub(super) spent: Spent,
    /// When the first step's turn came.
    pub(super) started: Stopwatch,
    pub(super) would_deny: Vec<Denial>,
    /// Positions of the steps that completed, in that order, with the attempt that did.
    pub(super) completed: Vec<(usize, u32)>,
    /// How many steps began, each attempt counted.
    pub(super) begun: u64,
    /// The position of the step whose turn it is.
    pub(super) position: usize,
    /// What runs before its turn.
    pub(super) ahead: Ahead,
    /// Positions of steps that were begun ahead: each is once.
    pub(super) tried: BTreeSet<usize>,
    /// Journals of steps that did not run here, by position.
    pub(super) journals: BTreeMap<usize, PathBuf>,
    /// Steps of this run that another one of its steps took back.
    pub(super) taken_back: BTreeSet<StepId>,
    /// Why the run continues another one, if it does.
    pub(super) purpose: Option<Purpose>,
    /// What steps wrote that ran here although the run continues another one, by guest path.
    pub(super) rewritten: BTreeSet<String>,
    /// Why the host could not go on, where that is how the run ends.
    pub(super) failure: Option<Failure>,
    /// What steps that did not complete have changed and could not be put back.
    pub(super) left: Vec<String>,
}

/// Why a run is taken back that somebody wants to be.
const ASKED_FOR: &str = "it was asked for";

/// What became of the steps.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) outcome: RunOutcome,
    pub(crate) output: Value,
    pub(crate) steps: Vec<StepReport>,
    /// How many began, each attempt counted.
    pub(crate) begun: u64,
    /// The step that was denied when its turn had come.
    pub(crate) denial: Option<Denial>,
    /// What would have been denied, where denials stop nothing.
    pub(crate) would_deny: Vec<Denial>,
    /// What the run waits for.
    pub(crate) pending: Option<Pending>,
    /// Whether it was ended where it waited, and nothing of it went on.
    pub(crate) is_settled: bool,
    /// How what was done was taken back.
    pub(crate) rollback: Option<RollbackReport>,
    /// Why the host could not go on, where that is how it ended.
    pub(crate) failure: Option<Failure>,
    /// Where a replay left the record.
    pub(crate) divergence: Option<(Option<StepId>, Divergence)>,
}

impl Done {
    /// Of a run in which no step could run.
    pub(crate) const fn nothing(outcome: RunOutcome) -> Self {
        Self {
            outcome,
            output: Value::Null,
            steps: Vec::new(),
            begun: 0,
            denial: None,
            would_deny: Vec::new(),
            pending: None,
            is_settled: false,
            rollback: None,
            failure: None,
            divergence: None,
        }
    }
}

impl Done {
    /// The event that ends the run's trace.
    pub(super) fn end(&self) -> Event {
        Event::RunEnd { outcome: self.outcome, output: self.output.clone(), steps: self.begun }
    }

    /// What is told of it, without what is kept.
    pub(super) fn report(self, prepared: &Prepared) -> Report {
        let LoadCost { hash, compile, link } = prepared.loaded.take_cost();
        let instantiate = Duration::from_micros(self.steps.iter().map(|step| step.instantiate_us).sum());
        let parts = [("hash", hash), ("compile", compile), ("link", link), ("instantiate", instantiate)];
        let parts = parts.into_iter().map(|(name, time)| (name, u64::try_from(time.as_micros()).unwrap_or(u64::MAX)));
        let parts = parts.filter(|(_, us)| *us > 0).collect();
        Report {
            run: String::new(),
            folder: PathBuf::new(),
            plan: prepared.plan_name().to_owned(),
            snapshot: prepared.snapshot,
            skills: prepared.skills(),
            policy: None,
            tags: prepared.tags.clone(),
            outcome: self.outcome,
            output: self.output,
            steps: self.steps,
            problems: Vec::new(),
            denials: self.denial.into_iter().collect(),
            log_only: prepared.log_only,
            would_deny: self.would_deny,
            pending: self.pending,
            rollback: self.rollback,
            failure: self.failure,
            dry_run: None,
            head: Digest::from_bytes([0; 32]),
            events: 0,
            phases: Vec::new(),
            parts,
            warnings: Vec::new(),
        }
    }
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
        let is_pure = |grant: &Grant| grant.filesystem.is_empty() && grant.network.is_empty();
        let runtime = match reach {
            None if authorized.grants().all(is_pure) => prepared.engine.idle.lend()?,
            _ => Idle::own(reach.is_some())?,
        };
        let plan = &checked.plan;
        let mut wanted = BTreeSet::new();
        let mut want = |call: Call<'_>, granted: &AuthorizedStep| {
            if call.tool.of_the_host().is_some() {
                return;
            }
            wanted.insert((call.tool.name.skill().clone(), Links::of(&granted.grant)));
        };
        for granted in authorized.steps() {
            let step = plan.step_by_id(&granted.step);
            if let Some(call) = step.and_then(|step| step.call()) {
                want(call, granted);
            }
            if let (Some(call), Some(granted)) = (step.and_then(|step| step.compensation), &granted.compensation) {
                want(call, granted);
            }
        }
        plan.compensations().zip(authorized.compensations()).for_each(|(call, granted)| want(call, granted));
        let delegation = authorized.delegation();
        wanted.extend(Callees::wanted(delegation));
        let programs = prepared.loaded.programs(&prepared.engine, wanted)?;
        let callees = (!delegation.is_empty()).then(|| {
            let plan = plan.plan();
            Arc::new(Callees {
                delegation: Arc::clone(delegation),
                engine: Arc::clone(&prepared.engine),
                programs: programs.clone(),
                directories: directories.clone(),
                reach: reach.clone(),
                workspace: host.workspace.clone(),
                plan: plan.name.clone(),
                seed: plan.seed,
                start_time: plan.start_time,
                request: Arc::default(),
            })
        });
        let engine = &prepared.engine;
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
            callees,
            directories,
            reach,
            runtime,
            _ticking,
            cancel,
            earlier: None,
            library: None,
            journals: None,
            request: Arc::default(),
            unable: None,
            placed: None,
        })
    }

    /// No step can run, for this reason, if there is one.
    pub(crate) fn unable(mut self, why: Option<Failure>) -> Self {
        self.unable = why;
        self
    }

    /// Binds answers of people to where the run takes place.
    pub(crate) fn placed(mut self, placed: Placed) -> Self {
        self.placed = Some(placed);
        self
    }

    /// Notes what steps change.
    pub(crate) fn noting(mut self, journals: Journals) -> Self {
        self.journals = Some(journals);
        self
    }

    /// Lets guests ask who asked for the run.
    pub(crate) fn asked_by(mut self, request: Option<&Arc<RequestContext>>) -> Self {
        self.request = request.map(Arc::clone).unwrap_or_default();
        // Whom a skill calls may ask as well.
        if let Some(callees) = &mut self.callees {
            Arc::make_mut(callees).request = Arc::clone(&self.request);
        }
        self
    }

    /// Takes results from what was done before.
    pub(crate) fn reusing(mut self, earlier: Option<Earlier>, library: Option<Library<'a>>) -> Self {
        (self.earlier, self.library) = (earlier, library);
        self
    }

    /// Runs the steps in order until one does not complete. `would_deny` is what was found before the first, where denials stop nothing.
    pub(crate) fn run_all(&self, would_deny: &[Denial], log: &mut dyn StepLog) -> Result<Done, Error> {
        let mut so_far = SoFar {
            outputs: Outputs::default(),
            spent: Spent::default(),
            started: Stopwatch::start(),
            would_deny: Vec::new(),
            completed: Vec::new(),
            begun: 0,
            position: 0,
            ahead: Ahead::none(),
            tried: BTreeSet::new(),
            journals: BTreeMap::new(),
            taken_back: BTreeSet::new(),
            purpose: None,
            rewritten: BTreeSet::new(),
            failure: None,
            left: Vec::new(),
        };
        let steps = self.checked.plan.steps().map(|step| {
            StepReport::of(step.id.clone(), step.call().map_or_else(ToolName::approve, |call| call.tool.name.clone()))
        });
        let mut done = Done { steps: steps.collect(), ..Done::nothing(RunOutcome::Completed) };
        let mut at = None;
        let went = self.all(would_deny, log, &mut so_far, &mut done, &mut at);
        for report in done.steps.iter_mut().filter(|report| so_far.taken_back.contains(&report.id)) {
            report.undone = true;
        }
        done.would_deny = so_far.would_deny;
        done.begun = so_far.begun;
        done.failure = so_far.failure;
        match went {
            Ok(()) => Ok(done),
            Err(Halt::Diverged(divergence)) => {
                done.divergence = Some((at, divergence));
                Ok(done)
            }
            Err(Halt::Error(error)) => Err(error),
        }
    }

    fn all(
        &self,
        would_deny: &[Denial],
        log: &mut dyn StepLog,
        so_far: &mut SoFar,
        done: &mut Done,
        at: &mut Option<StepId>,
    ) -> Go<()> {
        if let Some(earlier) = &self.earlier {
            log.note(&earlier.event())?;
            so_far.purpose = Some(earlier.purpose);
        } else {
            let purpose = log.take(|event| match event {
                Event::Flow(FlowEvent { flow: Flow::Continues(continues), .. }) => Some(continues.why.clone()),
                _ => None,
            })?;
            so_far.purpose = purpose.and_then(|why| Purpose::from_name(&why));
        }
        for denial in would_deny {
            *at = Some(denial.step.clone());
            self.lifted(denial, log, so_far)?;
        }
        let steps: Vec<ValidStep<'_>> = self.checked.plan.steps().collect();
        let went = std::thread::scope(|scope| {
            let (lost, told) = channel();
            let mut threads = Threads { scope, handles: Vec::new(), lost };
            if self.may_run_ahead() {
                so_far.ahead.prepare(self.order());
                let (kept, claims) = (so_far.ahead.kept(), so_far.ahead.claims().cloned());
                threads.handles.extend(claims.map(|claims| scope.spawn(move || kept.give_way(&claims, &told))));
            }
            let went = self.each(&steps, log, so_far, done, at, &mut threads);
            // What was done ahead of a turn that did not come does not count.
            let discarded = self.discard_ahead(so_far);
            // The claims of steps end with the run, and with them who could tell of a loss.
            if let Some(claims) = so_far.ahead.claims() {
                claims.end();
            }
            so_far.ahead = Ahead::none();
            went.and_then(|because| discarded.map(|()| because))
        });
        let mut because = self.or_run_fails(went, so_far, log, done)?;
        *at = None;
        if done.outcome == RunOutcome::Completed && so_far.purpose != Some(Purpose::Rollback) {
            match self.checked.plan.resolve_output(&so_far.outputs) {
                Ok(output) => done.output = output,
                Err(problem) => {
                    because = self.run_fails(of_problem(&problem), so_far, log, done)?;
                    because.insert_str(0, "the plan's output: ");
                }
            }
        }
        let has_failed = !matches!(done.outcome, RunOutcome::Completed | RunOutcome::Paused);
        if so_far.purpose == Some(Purpose::Rollback) {
            // One that was cancelled before it knew all that is to be taken back takes back nothing.
            if !has_failed {
                self.roll_back(ASKED_FOR.to_owned(), log, so_far, done)?;
            }
        } else if has_failed && !done.is_settled && self.checked.plan.plan().on_failure == OnFailure::Rollback {
            self.roll_back(because, log, so_far, done)?;
        } else {
            leaves(because, so_far, done);
        }
        Ok(())
    }

    /// Whether a run that takes another one back has come to where that one ended: what is left of the plan did not complete. What was
    /// skipped in between is skipped again.
    fn ends_here(&self, left: &[ValidStep<'_>], log: &mut dyn StepLog) -> Go<bool> {
        Ok(match (&self.earlier, log.next()?) {
            (Some(earlier), Next::Live) => {
                earlier.purpose == Purpose::Rollback && !left.iter().any(|step| earlier.has(step.id))
            }
            (_, Next::Event(event)) => {
                matches!(*event, Event::Flow(FlowEvent { flow: Flow::Rollback(_), .. }))
            }
            _ => false,
        })
    }

    /// Which positions in the order of execution come after which by dependency. What the host itself does is done alone: all that stands
    /// behind it comes after all that stands before it.
    fn order(&self) -> impl Fn(usize, usize) -> bool + Send + Sync + 'static {
        let plan = &self.checked.plan;
        let indices: Vec<usize> = plan.steps().map(|step| step.index).collect();
        let alone = plan.steps().map(|step| step.call().is_some_and(|call| call.tool.of_the_host().is_some()));
        let alone: Vec<usize> =
            alone.enumerate().filter_map(|(position, is_alone)| is_alone.then_some(position)).collect();
        let count = indices.len();
        let mut ordered = vec![0_u64; (count * count).div_ceil(64)];
        for (one, index) in indices.iter().enumerate() {
            for (other, before) in indices.iter().enumerate().take(one) {
                let bit = one * count + other;
                let is_apart = alone.iter().any(|alone| (other..=one).contains(alone));
                if (is_apart || !plan.concurrent(*index, *before))
                    && let Some(word) = ordered.get_mut(bit / 64)
                {
                    *word |= 1 << (bit % 64);
                }
            }
        }
        move |one, other| {
            let bit = one * count + other;
            one < count && other < count && ordered.get(bit / 64).is_some_and(|word| (word >> (bit % 64)) & 1 == 1)
        }
    }

    /// Gives each step its turn, until one does not complete. Gives why the run ended, where it did.
    fn each<'scope, 'env>(
        &'env self,
        steps: &'env [ValidStep<'env>],
        log: &mut dyn StepLog,
        so_far: &mut SoFar,
        done: &mut Done,
        at: &mut Option<StepId>,
        threads: &mut Threads<'scope, 'env>,
    ) -> Go<String> {
        for (position, step) in steps.iter().enumerate() {
            *at = Some(step.id.clone());
            so_far.position = position;
            if let Some(because) = self.is_unable(so_far, log, done)? {
                return Ok(because);
            }
            if self.is_cancelled_here(log)? {
                done.outcome = RunOutcome::Cancelled;
                return Ok(CANCELLED.to_owned());
            }
            if self.may_run_ahead() && log.is_live()? {
                so_far.ahead.switch_on();
                self.run_ahead(steps, position, so_far, threads)?;
            }
            if self.ends_here(steps.get(position..).unwrap_or_default(), log)? {
                return Ok(String::new());
            }
            // Only what calls a tool is granted something.
            let authorized = self.authorized.step(step.id);
            let Some(report) = done.steps.get_mut(position) else { continue };
            match self.turn(step, authorized, so_far, log, report)? {
                Turned::Completed => {
                    if let (Some(journals), Some(Purpose::Resume), 1..) =
                        (&self.journals, so_far.purpose, report.attempts)
                    {
                        let journal = transaction::journal(&journals.run, step.id, report.attempts, false);
                        so_far.rewritten.extend(transaction::writes(&journal));
                    }
                    so_far.completed.push((position, report.attempts));
                }
                Turned::Skipped(reason) => report.skipped = Some(reason),
                Turned::Stopped { outcome, because } => {
                    done.outcome = outcome;
                    return Ok(because);
                }
                Turned::Denied(denial) => {
                    let because = format!("step `{}` is denied: {}", denial.step, denial.reason);
                    done.outcome = RunOutcome::Denied;
                    done.denial = Some(*denial);
                    return Ok(because);
                }
                Turned::Settled(outcome) => {
                    done.outcome = outcome;
                    done.is_settled = true;
                    return Ok(String::new());
                }
                Turned::Paused(pending) => {
                    done.outcome = RunOutcome::Paused;
                    report.awaits_approval = true;
                    done.pending = Some(pending);
                    return Ok(String::new());
                }
            }
        }
        Ok(String::new())
    }

    /// Whether the run ends before the next step because somebody cancelled it.
    pub(super) fn is_cancelled_here(&self, log: &mut dyn StepLog) -> Go<bool> {
        Ok(match log.next()? {
            Next::Live => self.cancel.is_cancelled(),
            Next::Event(event) => match *event {
                Event::RunEnd { outcome, .. } => outcome == RunOutcome::Cancelled,
                Event::Flow(FlowEvent { flow: Flow::Rollback(rollback), .. }) => rollback.because == CANCELLED,
                _ => false,
            },
            Next::End => false,
        })
    }

    /// Records a denial that stops nothing.
    pub(super) fn lifted(&self, denial: &Denial, log: &mut dyn StepLog, so_far: &mut SoFar) -> Go<()> {
        let Denial { step, tool, reason, .. } = denial;
        self.host.observers.tell(HostEvent::StepWouldBeDenied { step, tool, reason });
        so_far.would_deny.push(denial.clone());
        log.note(&Event::WouldDeny(DeniedEvent::of(denial, self.policy)))
    }

    /// Records a denial that ends the run.
    pub(super) fn denied(&self, denial: Box<Denial>, log: &mut dyn StepLog) -> Go<Turned> {
        let (step, tool, reason) = (&denial.step, &denial.tool, &denial.reason);
        self.host.observers.tell(HostEvent::StepDenied { step, tool, reason });
        log.note(&Event::Denied(DeniedEvent::of(&denial, self.policy)))?;
        log.commit()?;
        Ok(Turned::Denied(denial))
    }

    /// The program of a tool under a grant.
    pub(super) fn program(&self, tool: &ToolName, links: Links) -> Result<&Program, Error> {
        let program = self.programs.get(&(tool.skill().clone(), links)).map(|program| &**program);
        program.ok_or_else(|| Error::Damaged { what: format!("`{tool}` was not linked before the run") })
    }

    /// The input of a step, resolved.
    pub(super) fn input(&self, step: &ValidStep<'_>, so_far: &SoFar) -> Go<Value> {
        let input = self.checked.plan.resolve_input(step, &so_far.outputs);
        Ok(input.map_err(|problem| Error::Resolve(Box::new(problem)))?)
    }

    pub(super) fn keep_output(so_far: &mut SoFar, step: &StepId, output: Value) {
        so_far.outputs.insert(step.clone(), Arc::new(output));
    }
}
