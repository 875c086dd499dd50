//! What a commit consists of: events in the form of the index, and what the trace does not say of a step.

use serde_json::Value;

use super::status::{ApprovalState, RunStatus, StepStatus};
use crate::canonical;
use crate::id::Digest;
use crate::limits;
use crate::outcome::{Outcome, RunOutcome};
use crate::trace::event::{Event, Flow, FlowEvent};
use crate::trace::flow::Failed;
use crate::trace::{TraceError, spelled};

/// One part of a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// An event of the trace.
    Event(EventRow),
    /// What the trace does not say of a step that has begun, or all that is known of one that did not.
    Step(StepFacts),
    /// What the run is now, where its events do not say it.
    Status {
        /// The status.
        status: RunStatus,
        /// Why.
        reason: String,
    },
}

/// An event of a trace in the form of the index. Host calls have none.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    pub(super) seq: u64,
    pub(super) hash: Digest,
    pub(super) kind: &'static str,
    pub(super) step: Option<String>,
    pub(super) tool: Option<String>,
    pub(super) status: Option<&'static str>,
    pub(super) reason: Option<String>,
    /// `None` where it is longer than [`limits::INDEX_EVENT_BYTES_MAX`].
    pub(super) json: Option<String>,
    pub(super) change: Change,
}

/// What an event changes beside its own row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Nothing,
    Header {
        plan_name: String,
        plan: Digest,
        policy: Digest,
        principal: String,
        tags: Vec<String>,
    },
    Begin {
        attempt: u32,
        key: Option<Digest>,
    },
    /// A step has what it is without having begun.
    Settled(StepStatus, Option<Digest>),
    End {
        status: StepStatus,
        fuel: Option<u64>,
        calls: u64,
    },
    Denied,
    RunEnd {
        outcome: RunOutcome,
    },
}

/// What the trace does not say of a step. Whatever is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepFacts {
    /// The step's id.
    pub step: String,
    /// Which attempt; `None` for the last one.
    pub attempt: Option<u32>,
    /// What it is. A step that did not begin (skipped, reused) gets its row from here, and needs a status for that.
    pub status: Option<StepStatus>,
    /// Its tool, for a step that did not begin.
    pub tool: Option<String>,
    /// What identifies the call: equal fingerprints mean equal results.
    pub fingerprint: Option<Digest>,
    /// How long it took.
    pub duration_us: Option<u64>,
    /// The run that its result was taken from.
    pub reused_from: Option<String>,
    /// How many paths it changed and the journal can undo.
    pub changed: Option<u64>,
}

impl EventRow {
    /// The row of an event with its number and its hash; `None` for what happens inside of a step.
    ///
    /// # Errors
    ///
    /// [`TraceError::Event`] when readers would refuse the event.
    pub fn of(seq: u64, hash: Digest, event: &Event) -> Result<Option<Self>, TraceError> {
        if event.kind().is_inside_of_step() { Ok(None) } else { Self::told(seq, hash, event).map(Some) }
    }

    /// What is told of an event, wherever it happens. Those inside of a step name none.
    ///
    /// # Errors
    ///
    /// As for [`Self::of`].
    pub(in crate::store) fn told(seq: u64, hash: Digest, event: &Event) -> Result<Self, TraceError> {
        let (step, tool, json) = spelled(seq, event, |line| {
            (line.step().map(str::to_owned), line.tool().map(str::to_owned), line.content())
        })?;
        let json = Some(json).filter(|json| json.len() <= limits::INDEX_EVENT_BYTES_MAX);
        let (status, reason) = said(event);
        let reason = reason.filter(|reason| !reason.is_empty()).map(cut);
        Ok(Self { seq, hash, kind: event.kind().name(), step, tool, status, reason, json, change: change(event) })
    }

    /// The kind of event.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The step that it is about.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        self.step.as_deref()
    }

    /// The tool that it names.
    #[must_use]
    pub fn tool(&self) -> Option<&str> {
        self.tool.as_deref()
    }

    /// How something ended or was decided.
    #[must_use]
    pub const fn status(&self) -> Option<&'static str> {
        self.status
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The event as JSON, without `hash` and `prev`; `None` where it is long.
    #[must_use]
    pub fn json(&self) -> Option<&str> {
        self.json.as_deref()
    }
}

impl Row {
    /// The rows of events, each with its number and its hash. Host calls are left out.
    ///
    /// # Errors
    ///
    /// [`TraceError::Event`] when readers would refuse an event.
    pub fn events<'a>(events: impl IntoIterator<Item = &'a (u64, Digest, Event)>) -> Result<Vec<Self>, TraceError> {
        let rows = events.into_iter().map(|(seq, hash, event)| EventRow::of(*seq, *hash, event));
        rows.filter_map(Result::transpose).map(|row| row.map(Self::Event)).collect()
    }
}

fn change(event: &Event) -> Change {
    match event {
        Event::Header(header) => Change::Header {
            plan_name: header.plan_name.clone(),
            plan: header.plan,
            policy: header.policy,
            principal: header.principal.to_string(),
            tags: header.tags.clone(),
        },
        Event::StepBegin(begun) => Change::Begin { attempt: begun.attempt, key: begun.key },
        Event::Flow(FlowEvent { flow: Flow::Skipped(_), .. }) => Change::Settled(StepStatus::Skipped, None),
        Event::Flow(FlowEvent { flow: Flow::Reused(reused), .. }) => {
            Change::Settled(StepStatus::Reused, Some(reused.fingerprint))
        }
        Event::Flow(FlowEvent { step: Some(_), flow: Flow::Failed(Failed { attempt: None, .. }) }) => {
            Change::Settled(StepStatus::Failed, None)
        }
        Event::StepEnd(ended) => Change::End { status: (&ended.outcome).into(), fuel: ended.fuel, calls: ended.calls },
        Event::Denied(_) => Change::Denied,
        Event::RunEnd { outcome, .. } => Change::RunEnd { outcome: *outcome },
        _ => Change::Nothing,
    }
}

/// How something ended, and why, as the columns `status` and `reason` of an event.
fn said(event: &Event) -> (Option<&'static str>, Option<String>) {
    match event {
        Event::Refused { problems } => {
            let first = problems.first().map(ToString::to_string);
            let more = problems.len().saturating_sub(1);
            (Some("refused"), first.map(|first| if more == 0 { first } else { format!("{first} (and {more} more)") }))
        }
        Event::Denied(denied) => (Some("denied"), Some(denied.reason.clone())),
        Event::WouldDeny(denied) => (Some("would-deny"), Some(denied.reason.clone())),
        Event::Approval(approval) => {
            let answer = if approval.answer.approved { ApprovalState::Approved } else { ApprovalState::Rejected };
            let who = &approval.answer.by;
            let why = &approval.answer.reason;
            (Some(answer.name()), Some(if why.is_empty() { format!("by {who}") } else { format!("by {who}: {why}") }))
        }
        Event::StepEnd(ended) => (Some(ended.outcome.name()), why(&ended.outcome)),
        Event::Flow(FlowEvent { flow: Flow::Failed(failed), .. }) => {
            (Some("failed"), Some(format!("{}: {}", failed.code, failed.message)))
        }
        Event::DelegateEnd(ended) => (Some(ended.outcome.name()), why(&ended.outcome)),
        Event::RunEnd { outcome, .. } => (Some(outcome.name()), None),
        _ => (None, None),
    }
}

fn why(outcome: &Outcome) -> Option<String> {
    Some(match outcome {
        Outcome::Failed { error } => match error.get("message").unwrap_or(error) {
            Value::String(text) => text.clone(),
            Value::Null => return None,
            other => canonical::to_string(other),
        },
        Outcome::Trapped { message, .. } => message.clone(),
        Outcome::LimitExceeded { limit, allowed, .. } => format!("{} of {allowed}", limit.name()),
        _ => return None,
    })
}

/// At the most as long as an answer to a request may be.
fn cut(mut text: String) -> String {
    if text.len() > limits::APPROVAL_TEXT_BYTES_MAX {
        let at = text.floor_char_boundary(limits::APPROVAL_TEXT_BYTES_MAX);
        text.truncate(at);
        text.push('…');
    }
    text
}
