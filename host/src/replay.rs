//! Runs a recorded run again without any effect: the same pipeline, with the record where the sandbox would act. Ends in a match or in the
//! first divergence.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};

use crate::host::{Error, SkillHost};
use crate::id::SkillName;
use crate::limits::{self, StepLimits};
use crate::outcome::{Outcome, RunOutcome};
use crate::plan::PlanDocument;
use crate::plan::draft::Outline;
use crate::policy::{Ceiling, Policy, Why};
use crate::problem::Problem;
use crate::run::{
    Done, Given, Go, Halt, Next, Prepared, Stage, StepLog, Steps, Turn, difference, header, prepare_with,
    recorded_before_its_steps,
};
use crate::sandbox::tape::Tape;
use crate::sandbox::{CancelToken, Directories, Divergence};
use crate::skill::own;
use crate::skills::{Loaded, SkillBytes, SkillLoader, is_load_problem, kept, unusable};
use crate::store::RunDir;
use crate::trace::event::{DeniedEvent, Event, Flow, FlowEvent, Header, Kind, StepBegin, StepEnd};
use crate::trace::reader::Reader;
use crate::trace::replay::ReplayReader;

/// What may be changed for a replay.
#[derive(Debug, Clone, Default)]
pub struct ReplayOptions {
    /// Components to take instead of the recorded ones: does a changed component still behave the same on recorded answers? Of these
    /// neither digest nor fuel is compared.
    pub skills: BTreeMap<SkillName, SkillBytes>,
    /// The most that a step may use, whatever the record's policy gave it: for folders of somebody else. `None` is what the policy gave.
    pub ceiling: Option<StepLimits>,
}

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayReport {
    /// Steps that were replayed to their end.
    pub steps: u64,
    /// Host calls that were answered from the record.
    pub calls: u64,
    /// The first divergence; `None` where everything matched.
    pub divergence: Option<Diverged>,
}

/// Where and how a replay left the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diverged {
    /// The step, where it was in one.
    pub step: Option<String>,
    /// The event that should have been matched, where there is one.
    pub seq: Option<u64>,
    /// What is different: lower case, no final period.
    pub what: String,
}

/// Replays a run.
pub(crate) fn replay(host: &SkillHost, recorded: &RunDir, options: &ReplayOptions) -> Result<ReplayReport, Error> {
    let overview = Overview::read(recorded)?;
    let document = recorded.plan_document()?;
    let text = recorded.policy_text()?;
    let policy = match recorded.rules_text()? {
        Some(rules) => Policy::parse_with_rules(&text, &rules),
        None if text.is_empty() => Ok(Policy::deny_all()),
        None => Policy::parse(&text),
    };
    let policy = policy.and_then(|policy| match recorded.ceiling_text() {
        Ok(Some((above, rules))) => policy.under(ceiling_of(&above, rules.as_deref())?, &text),
        Ok(None) => Ok(policy),
        Err(error) => Err(vec![Problem::new("unreadable-file", "", error.to_string())]),
    });
    let policy = policy.map_err(|problems| damaged("its policy", &problems))?;
    let policy = match &options.ceiling {
        Some(ceiling) => policy.capped(ceiling),
        None => policy,
    };
    let engine = host.engine()?;
    let loader = SkillLoader::new(std::sync::Arc::clone(&engine), host.compiling());
    let load = |plan: &Outline<'_>| load_recorded(&loader, plan, recorded, (&overview, &policy), options);
    recorded.check_components(overview.header.skills.values())?;
    let replaced: Vec<SkillName> = options.skills.keys().cloned().collect();
    let given = Given {
        inputs: &overview.header.inputs,
        policy: &policy,
        principal: &overview.header.principal,
        has_approver: overview.has_approver,
        log_only: overview.header.log_only,
        replaced: &replaced,
        snapshot: overview.header.snapshot,
    };
    let prepared = prepare_with(engine, &document, &given, load)?;

    let mut log = Replaying {
        reader: Some(Box::new(ReplayReader::open(recorded.path())?)),
        ends: overview.ends,
        replaced,
        ceiling: options.ceiling,
        step_is_replaced: false,
        steps: 0,
        calls: 0,
    };
    let divergence = match compare_header(&mut log, &document, &prepared)? {
        Some(divergence) => Some((None, divergence)),
        None => drive(host, &prepared, &mut log)?,
    };
    let divergence = divergence.map(|(step, Divergence { seq, what })| Diverged { step, seq, what });
    Ok(ReplayReport { steps: log.steps, calls: log.calls, divergence })
}

/// The operator's policy that a run has kept.
fn ceiling_of(text: &str, rules: Option<&str>) -> Result<std::sync::Arc<Ceiling>, Vec<Problem>> {
    let policy = rules.map_or_else(|| Policy::parse(text), |rules| Policy::parse_with_rules(text, rules))?;
    Ok(std::sync::Arc::new(Ceiling { policy, text: text.to_owned() }))
}

type Found = Option<(Option<String>, Divergence)>;

/// Makes the events that the plan leads to and compares each with the record.
fn drive(host: &SkillHost, prepared: &Prepared, log: &mut Replaying) -> Result<Found, Error> {
    let done = match &prepared.stage {
        Stage::Refused { problems } => found(log.note(&Event::Refused { problems: problems.clone() }))?
            .map_or_else(|| Ok(Done::nothing(RunOutcome::Refused)), Err),
        Stage::Denied { denials, .. } => {
            let mut denials = denials.iter().map(|denial| Event::Denied(DeniedEvent::of(denial, prepared.policy)));
            found(denials.try_for_each(|denied| log.note(&denied)))?
                .map_or_else(|| Ok(Done::nothing(RunOutcome::Denied)), Err)
        }
        Stage::Ready { checked, authorized, would_deny } => {
            // A cancellation came from outside: it is replayed by the record, not by a token.
            let cancel = CancelToken::new();
            let steps = Steps::new(host, prepared, checked, authorized, Directories::default(), None, &cancel);
            let mut done = match steps {
                Ok(steps) => steps.run_all(would_deny, log)?,
                // What could not be linked then cannot be now.
                Err(error) => match recorded_before_its_steps(checked, log) {
                    Ok(Some(done)) => done,
                    Ok(None) => return Err(error),
                    Err(Halt::Error(error)) => return Err(error),
                    Err(Halt::Diverged(divergence)) => return Ok(Some((None, divergence))),
                },
            };
            match done.divergence.take() {
                Some((step, divergence)) => return Ok(Some((step.map(|step| step.to_string()), divergence))),
                None => Ok(done),
            }
        }
    };
    let Done { outcome, output, begun, .. } = match done {
        Ok(done) => done,
        Err(divergence) => return Ok(Some((None, divergence))),
    };
    let end = match outcome {
        // The record of a run that waits has no end.
        RunOutcome::Paused => log.at_end(),
        _ => log.note(&Event::RunEnd { outcome, output, steps: begun }),
    };
    Ok(found(end)?.map(|divergence| (None, divergence)))
}

fn found(went: Go<()>) -> Result<Option<Divergence>, Error> {
    match went {
        Ok(()) => Ok(None),
        Err(Halt::Diverged(divergence)) => Ok(Some(divergence)),
        Err(Halt::Error(error)) => Err(error),
    }
}

/// What a replay has to know before it begins: the header, and how each step ended.
struct Overview {
    header: Header,
    /// How each step ended, and whether the host could not go on with it.
    ends: VecDeque<(StepEnd, bool)>,
    outcome: Option<RunOutcome>,
    /// Why skills could not be loaded, where that is why the plan was refused.
    unloadable: Vec<Problem>,
    /// Whether somebody could be asked for approval: where nobody could, a step was denied for it.
    has_approver: bool,
}

impl Overview {
    fn read(recorded: &RunDir) -> Result<Self, Error> {
        let mut reader = Reader::open(&recorded.trace())?;
        let Some((_, Event::Header(header))) = reader.next_event()? else {
            return Err(Error::Damaged { what: "its trace does not begin with a header".to_owned() });
        };
        let mut overview =
            Self { header, ends: VecDeque::new(), outcome: None, unloadable: Vec::new(), has_approver: true };
        while let Some(kind) = reader.peek()?.map(|line| line.kind()) {
            match kind {
                Kind::Refused | Kind::Denied | Kind::StepEnd | Kind::Failed | Kind::RunEnd => {
                    match reader.next_event()? {
                        Some((_, Event::Refused { problems })) => overview.unloadable = load_problems(problems),
                        Some((_, Event::Denied(denied))) if denied.why == Why::ApprovalRequired => {
                            overview.has_approver = false;
                        }
                        Some((_, Event::StepEnd(end))) => overview.ends.push_back((end, false)),
                        Some((_, Event::Flow(FlowEvent { flow: Flow::Failed(failed), .. }))) => {
                            if let (Some(_), Some((_, by_host))) = (failed.attempt, overview.ends.back_mut()) {
                                *by_host = failed.host;
                            }
                        }
                        Some((_, Event::RunEnd { outcome, .. })) => overview.outcome = Some(outcome),
                        _ => {}
                    }
                }
                _ => {
                    reader.next_line()?;
                }
            }
        }
        Ok(overview)
    }
}

/// The problems of a refused run that its loader found. Where they fill the report, they are all of it.
fn load_problems(problems: Vec<Problem>) -> Vec<Problem> {
    if problems.iter().filter(|problem| is_load_problem(problem)).count() >= limits::PROBLEMS_MAX {
        return problems;
    }
    problems.into_iter().filter(is_load_problem).collect()
}

/// Loads the components that the run kept, and only those.
fn load_recorded(
    loader: &SkillLoader<'_>,
    plan: &Outline<'_>,
    recorded: &RunDir,
    (overview, policy): (&Overview, &Policy),
    options: &ReplayOptions,
) -> Loaded {
    let mut given = kept(recorded, &overview.header.skills);
    if !overview.unloadable.is_empty() {
        // What could not be loaded was not kept: that it could not is taken from the record, as the answer of a host call is.
        let mut loaded = Loaded::default();
        for (name, source) in &given {
            match loader.load(name, source) {
                Ok(skill) => loaded.add(skill),
                Err(error) => {
                    loaded.problems = error.problems("");
                    return loaded;
                }
            }
        }
        let own = overview.header.skills.keys().find(|name| own::is_own(name));
        loaded.catalog.extend(own.map(|name| (name.clone(), std::sync::Arc::clone(own::sys()))));
        loaded.unusable = unusable(plan, &overview.unloadable);
        loaded.problems.clone_from(&overview.unloadable);
        return loaded;
    }
    given.extend(options.skills.iter().map(|(name, bytes)| (name.clone(), bytes.clone())));
    loader.for_plan_under(plan, (recorded.path(), &given), policy)
}

fn damaged(what: &str, problems: &[Problem]) -> Error {
    let problem = problems.first().map(ToString::to_string).unwrap_or_default();
    Error::Damaged { what: format!("{what}: {problem}") }
}

fn compare_header(
    log: &mut Replaying,
    document: &PlanDocument,
    prepared: &Prepared,
) -> Result<Option<Divergence>, Error> {
    let mut made = header(document, prepared);
    let Some((seq, Event::Header(mut recorded))) = log.take()? else {
        return Err(Error::Damaged { what: "its trace does not begin with a header".to_owned() });
    };
    for name in &log.replaced {
        made.skills.remove(name);
        recorded.skills.remove(name);
    }
    // Another version of this program replays as long as the engine is the same.
    made.host.clone_from(&recorded.host);
    Ok(difference(seq, &Event::Header(recorded), &Event::Header(made)))
}

/// Compares the events of a replay with the record.
struct Replaying {
    /// `None` while a step has it.
    reader: Option<Box<ReplayReader>>,
    ends: VecDeque<(StepEnd, bool)>,
    replaced: Vec<SkillName>,
    /// See [`ReplayOptions::ceiling`].
    ceiling: Option<StepLimits>,
    /// Whether the step that runs has a component that was not recorded.
    step_is_replaced: bool,
    steps: u64,
    calls: u64,
}

impl Replaying {
    fn reader(&mut self) -> Result<&mut ReplayReader, Error> {
        self.reader
            .as_deref_mut()
            .ok_or_else(|| Error::Damaged { what: "a step did not give its trace back".to_owned() })
    }

    /// Takes the next recorded event.
    fn take(&mut self) -> Result<Option<(u64, Event)>, Error> {
        Ok(self.reader()?.next_event()?)
    }
}

impl Replaying {
    /// A record without `why` says of a denial the step and the reason alone.
    fn as_brief(made: &Event, recorded: Option<&(u64, Event)>) -> Event {
        match (made, recorded) {
            (Event::Denied(made), Some((_, Event::Denied(denied)))) if denied.is_brief() => {
                let DeniedEvent { step, tool, reason, .. } = made.clone();
                Event::Denied(DeniedEvent { step, tool, reason, ..denied.clone() })
            }
            (made, _) => made.clone(),
        }
    }

    /// The limit of this replay that a step has come to.
    fn hits_ceiling(&self, outcome: &Outcome) -> Option<(&'static str, u64)> {
        let Outcome::LimitExceeded { limit, allowed, .. } = outcome else { return None };
        let mut ceilings = self.ceiling?.entries().into_iter();
        ceilings.find(|(name, ceiling)| *name == limit.name() && ceiling == allowed)
    }

    /// The record must have no more.
    fn at_end(&mut self) -> Go<()> {
        match self.take()? {
            None => Ok(()),
            Some((seq, recorded)) => {
                let what = format!("the replay waits for approval where the record has a `{}`", recorded.kind().name());
                Err(Divergence { seq: Some(seq), what }.into())
            }
        }
    }
}

impl StepLog for Replaying {
    fn note(&mut self, event: &Event) -> Go<()> {
        let recorded = self.take()?;
        let made = Self::as_brief(event, recorded.as_ref());
        compare(recorded, &made).map_or(Ok(()), |divergence| Err(divergence.into()))
    }

    fn next(&mut self) -> Go<Next> {
        let Some(line) = self.reader()?.peek()? else { return Ok(Next::End) };
        Ok(Next::Event(Box::new(line.event()?)))
    }

    fn begin(&mut self, begin: StepBegin) -> Go<Turn> {
        let step = begin.step.clone();
        let replaced = self.replaced.contains(begin.tool.skill());
        self.step_is_replaced = replaced;
        let divergence = match self.take()? {
            Some((seq, Event::StepBegin(mut recorded))) => {
                if replaced {
                    recorded.skill = begin.skill;
                }
                if self.ceiling.is_some_and(|ceiling| recorded.limits.lower_of(&ceiling) == begin.limits) {
                    recorded.limits = begin.limits;
                }
                // What it may call is a part of it.
                if !self.replaced.is_empty() {
                    recorded.key = begin.key;
                }
                // Older traces do not say it.
                recorded.key = recorded.key.or(begin.key);
                difference(seq, &Event::StepBegin(recorded), &Event::StepBegin(begin))
            }
            Some((seq, recorded)) => difference(seq, &recorded, &Event::StepBegin(begin)),
            None => Some(Divergence { seq: None, what: format!("the record ends before step `{step}`") }),
        };
        if let Some(divergence) = divergence {
            return Err(divergence.into());
        }
        let Some((StepEnd { outcome, calls, .. }, by_host)) = self.ends.front().cloned() else {
            let what = format!("step `{step}` began and never ended");
            return Err(Error::Damaged { what }.into());
        };
        let source = self.reader.take().ok_or_else(|| Error::Damaged { what: "a step has the trace".to_owned() })?;
        let replaced = self.replaced.clone();
        Ok(Turn::Run(Tape::Replay { source, outcome, by_host, calls, replaced }))
    }

    fn end(&mut self, tape: Tape, end: StepEnd) -> Go<StepEnd> {
        if let Tape::Replay { source, .. } = tape {
            let source: Box<dyn Any> = source;
            self.reader = source.downcast().ok();
        }
        let has_delegated = self.reader()?.take_has_delegated();
        // What was called may have been another component.
        self.step_is_replaced |= has_delegated && !self.replaced.is_empty();
        if let (Some(recorded), Some((limit, allowed))) = (self.ends.front(), self.hits_ceiling(&end.outcome))
            && recorded.0.outcome != end.outcome
        {
            return Err(Error::Ceiling { step: end.step.to_string(), limit, allowed }.into());
        }
        let missed = self.reader()?.skip_calls()?;
        if missed > 0 {
            let what = format!("the replayed step ended where the record has {missed} more host calls");
            return Err(Divergence { seq: None, what }.into());
        }
        self.ends.pop_front();
        self.calls += end.calls;
        let divergence = match self.take()? {
            Some((seq, Event::StepEnd(mut recorded))) => {
                if self.step_is_replaced {
                    recorded.fuel = end.fuel;
                }
                difference(seq, &Event::StepEnd(recorded), &Event::StepEnd(end.clone()))
            }
            Some((seq, recorded)) => difference(seq, &recorded, &Event::StepEnd(end.clone())),
            None => Some(Divergence { seq: None, what: format!("the record ends before step `{}` ended", end.step) }),
        };
        self.steps += u64::from(divergence.is_none());
        divergence.map_or(Ok(end), |divergence| Err(divergence.into()))
    }

    fn commit(&mut self) -> Go<()> {
        Ok(())
    }
}

/// How what was recorded differs from what the replay made.
fn compare(recorded: Option<(u64, Event)>, made: &Event) -> Option<Divergence> {
    match recorded {
        Some((seq, recorded)) => difference(seq, &recorded, made),
        None => {
            let what = format!("the record ends where the replay has a `{}`", made.kind().name());
            Some(Divergence { seq: None, what })
        }
    }
}
