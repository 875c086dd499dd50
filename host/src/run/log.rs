//! What the pipeline writes to or is compared with: one seam for a run that is recorded, a run that goes on where it was stopped, and a
//! replay.

use std::any::Any;

use serde_json::Value;

use super::ledger::Ledger;
use crate::canonical;
use crate::durability::Durability;
use crate::host::{Error, SkillHost};
use crate::sandbox::Divergence;
use crate::sandbox::tape::Tape;
use crate::trace::event::{Event, StepBegin, StepEnd};
use crate::trace::recorder::Recorder;
use crate::trace::replay::ReplayReader;

/// Why a run does not go on: not how its steps ended, which is an outcome.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The host cannot go on.
    Error(Error),
    /// What the pipeline does is not what is recorded.
    Diverged(Divergence),
}

/// What the pipeline's parts give back.
pub(crate) type Go<T> = Result<T, Halt>;

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl From<Divergence> for Halt {
    fn from(divergence: Divergence) -> Self {
        Self::Diverged(divergence)
    }
}

/// What is recorded next, for what plan and policy do not decide: answers of people, clocks, cancellations, what was restored.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing more is recorded: it is decided now.
    Live,
    /// This event.
    Event(Box<Event>),
    /// The record ends here and nothing is decided now.
    End,
}

/// How a step gets its end.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The guest runs with this tape.
    Run(Tape),
    /// It ended so when it ran.
    Known(StepEnd),
}

/// Takes note of the end of a step and gives it back: its output may be large.
pub(super) fn noted(log: &mut dyn StepLog, end: StepEnd) -> Go<StepEnd> {
    let event = Event::StepEnd(end);
    log.note(&event)?;
    match event {
        Event::StepEnd(end) => Ok(end),
        _ => unreachable!("it is the end of a step"),
    }
}

/// Where the steps are recorded, or what they are compared with.
pub(crate) trait StepLog {
    /// Takes note of what follows from plan, policy and what came before.
    fn note(&mut self, event: &Event) -> Go<()>;
    /// What is recorded next, without taking it.
    fn next(&mut self) -> Go<Next>;
    /// A step begins.
    fn begin(&mut self, begin: StepBegin) -> Go<Turn>;
    /// A step whose guest ran ended. Gives the end back.
    fn end(&mut self, tape: Tape, end: StepEnd) -> Go<StepEnd>;
    /// Everything noted so far is to survive whatever happens to this process.
    fn commit(&mut self) -> Go<()>;
    /// Where the index learns of the run; `None` in a replay.
    fn ledger(&mut self) -> Option<&mut Ledger> {
        None
    }
}

impl dyn StepLog + '_ {
    /// Whether what happens now is neither recorded yet nor a replay.
    pub(crate) fn is_live(&mut self) -> Go<bool> {
        Ok(matches!(self.next()?, Next::Live))
    }

    /// Takes note of the next recorded event if it is one that `wanted` names.
    pub(crate) fn take<T>(&mut self, wanted: impl FnOnce(&Event) -> Option<T>) -> Go<Option<T>> {
        let Next::Event(event) = self.next()? else { return Ok(None) };
        let Some(found) = wanted(&event) else { return Ok(None) };
        self.note(&event)?;
        Ok(Some(found))
    }
}

/// The log of a live run: what is known of it already, then the recorder.
#[derive(Debug)]
pub(crate) struct Recording {
    /// What was recorded before the run was stopped and is not taken yet. It is compared, as in a replay: where plan, policy or components
    /// have changed since, the run cannot go on.
    known: Option<Box<ReplayReader>>,
    /// `None` while a step has it.
    recorder: Option<Box<Recorder>>,
    ledger: Ledger,
    durability: Durability,
}

/// The recorder is with the step that runs; it comes back with the step's end.
fn lost() -> Error {
    Error::Damaged { what: "a step did not give its recorder back".to_owned() }
}

impl Recording {
    /// The log of a new run.
    pub(crate) fn new(host: &SkillHost, recorder: Recorder, ledger: Ledger) -> Self {
        Self { known: None, recorder: Some(Box::new(recorder)), ledger, durability: host.durability }
    }

    /// The log of a run that goes on behind `known`.
    pub(crate) fn after(known: ReplayReader, host: &SkillHost, recorder: Recorder, ledger: Ledger) -> Self {
        Self { known: Some(Box::new(known)), ..Self::new(host, recorder, ledger) }
    }

    /// Whether nothing of the run was known when it was opened.
    pub(crate) const fn is_new(&self) -> bool {
        self.known.is_none()
    }

    /// Appends an event.
    fn append(&mut self, event: &Event) -> Result<(), Error> {
        let recorder = self.recorder()?;
        let seq = recorder.append(event)?;
        let (_, hash) = recorder.head();
        self.ledger.event(seq, hash, event)
    }

    /// The recorder, between steps.
    pub(crate) fn recorder(&mut self) -> Result<&mut Recorder, Error> {
        self.recorder.as_deref_mut().ok_or_else(lost)
    }

    /// What is known, as long as there is more of it.
    fn known(&mut self) -> Go<Option<&mut ReplayReader>> {
        if let Some(known) = &mut self.known
            && known.peek()?.is_none()
        {
            self.known = None;
        }
        Ok(self.known.as_deref_mut())
    }

    /// Takes the next known event, which must be `made`; `false` where nothing more is known.
    fn is_known(&mut self, made: &Event) -> Go<bool> {
        let Some(known) = self.known()? else { return Ok(false) };
        let Some((seq, recorded)) = known.next_event()? else { return Ok(false) };
        difference(seq, &recorded, made).map_or(Ok(true), |divergence| Err(divergence.into()))
    }
}

impl StepLog for Recording {
    fn note(&mut self, event: &Event) -> Go<()> {
        if !self.is_known(event)? {
            self.append(event)?;
        }
        Ok(())
    }

    fn next(&mut self) -> Go<Next> {
        let Some(known) = self.known()? else { return Ok(Next::Live) };
        Ok(match known.peek()? {
            Some(line) => Next::Event(Box::new(line.event()?)),
            None => Next::Live,
        })
    }

    fn begin(&mut self, begin: StepBegin) -> Go<Turn> {
        let step = begin.step.clone();
        let event = Event::StepBegin(begin);
        if self.is_known(&event)? {
            let unfinished = || Error::Damaged { what: format!("step `{step}` began and never ended") };
            let known = self.known.as_deref_mut().ok_or_else(unfinished)?;
            known.skip_calls()?;
            return match known.next_event()? {
                Some((_, Event::StepEnd(end))) => Ok(Turn::Known(end)),
                _ => Err(unfinished().into()),
            };
        }
        self.append(&event)?;
        Ok(Turn::Run(Tape::Record(self.recorder.take().ok_or_else(lost)?)))
    }

    fn end(&mut self, tape: Tape, end: StepEnd) -> Go<StepEnd> {
        let Tape::Record(sink) = tape else { return Err(lost().into()) };
        let sink: Box<dyn Any> = sink;
        self.recorder = Some(sink.downcast().map_err(|_| lost())?);
        noted(self, end)
    }

    fn commit(&mut self) -> Go<()> {
        // The index is written on its own thread while the trace is synced.
        self.ledger.commit()?;
        match self.durability {
            Durability::Full => self.recorder()?.sync()?,
            Durability::Buffered => self.recorder()?.flush()?,
        }
        Ok(())
    }

    fn ledger(&mut self) -> Option<&mut Ledger> {
        Some(&mut self.ledger)
    }
}

/// The first member in which what was recorded differs from what is made now.
pub(crate) fn difference(seq: u64, recorded: &Event, made: &Event) -> Option<Divergence> {
    let difference = crate::trace::diff::events(recorded, made)?;
    let short = |value: &Option<Value>| match value {
        Some(value) => canonical::to_string(value).chars().take(200).collect(),
        None => "nothing".to_owned(),
    };
    let (was, is) = (short(&difference.left), short(&difference.right));
    Some(Divergence { seq: Some(seq), what: format!("`{}` is {is}; recorded is {was}", difference.pointer) })
}
