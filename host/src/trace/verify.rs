//! Says whether a trace is what a recorder wrote: the chain, the spelling, the order of events and the blobs. Where it is not, the first
//! bad event is named.
//!
//! One pass, flat memory. The reader proves each line canonical, numbered and chained; here follows what needs more than one line. Host
//! calls, the bulk of a trace, are never decoded: their form is checked while the line is split. Every other event is decoded and
//! written again, and must come out as the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::blob::BlobStore;
use super::encode::{self, FIRST_PREV};
use super::event::{Event, Flow, FlowEvent, Kind};
use super::line::{Line, Member};
use super::reader::Reader;
use super::{BLOBS_FOLDER, TRACE_FILE, TraceError};
use crate::id::{Digest, ToolName};
use crate::outcome::RunOutcome;
use crate::policy::Why;

/// What a trace that holds consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Events.
    pub events: u64,
    /// Steps that began, each attempt counted.
    pub steps: u64,
    /// Host calls.
    pub calls: u64,
    /// How the run ended.
    pub outcome: RunOutcome,
    /// The last event's hash, which stands for the whole trace.
    pub head: Digest,
    /// Bytes of the trace.
    pub bytes: u64,
    /// Different blobs that results refer to; zero where blobs were not checked.
    pub blobs: u64,
}

/// Verifies a run's folder: its trace and the blobs.
///
/// # Errors
///
/// As [`events`].
pub fn verify(folder: &Path) -> Result<Verified, TraceError> {
    let mut reader = Reader::open(&folder.join(TRACE_FILE))?;
    events(&mut reader, Some(&BlobStore::new(folder.join(BLOBS_FOLDER))))
}

/// Verifies what `reader` reads, and with `blobs` that every blob a result refers to is there and is what its digest says.
///
/// # Errors
///
/// * what [`Reader::peek`] says of a line;
/// * [`TraceError::Event`] when an event may not stand where it stands, or a count is wrong;
/// * [`TraceError::Truncated`] when the trace ends before its `run-end`;
/// * [`TraceError::Blob`].
pub fn events(reader: &mut Reader, blobs: Option<&BlobStore>) -> Result<Verified, TraceError> {
    let mut grammar = Grammar::default();
    let mut spelling = Vec::new();
    let mut blobs = blobs.map(|store| Blobs { store, checked: BTreeMap::new() });
    while let Some(line) = reader.next_line()? {
        if line.kind() == Kind::Call {
            grammar.call(&line)?;
            if let Some(blobs) = &mut blobs
                && line.may_refer_to_blob()
            {
                blobs.check(&line)?;
            }
        } else {
            let event = line.event()?;
            check_spelling(&line, &event, &mut spelling)?;
            grammar.event(&line, &event)?;
        }
    }
    let (events, head) = reader.head();
    let State::Ended(outcome) = grammar.state else {
        return Err(TraceError::Truncated { last: events.checked_sub(1) });
    };
    let blobs = blobs.map_or(0, |blobs| u64::try_from(blobs.checked.len()).unwrap_or(u64::MAX));
    let Grammar { steps, calls, .. } = grammar;
    Ok(Verified { events, steps, calls, outcome, head, bytes: reader.bytes(), blobs })
}

/// An event has one spelling: this finds members that mean nothing, such as an empty `plan_name`.
fn check_spelling(line: &Line<'_>, event: &Event, buffer: &mut Vec<u8>) -> Result<(), TraceError> {
    buffer.clear();
    let prev = line.prev_hex().as_bytes().first_chunk::<64>().copied().unwrap_or(FIRST_PREV);
    encode::event(buffer, line.seq(), &prev, event).seal(buffer);
    if buffer == line.text().as_bytes() { Ok(()) } else { Err(line.wrong("the line is not how its event is written")) }
}

/// Where in a run the events are.
#[derive(Debug, Default)]
enum State {
    /// Before the header.
    #[default]
    Start,
    /// Between steps.
    Between,
    /// After `refused`.
    Refused,
    /// After at least one `denied`.
    Denied,
    /// After a `denied` that ends a run in which something ran or was asked for.
    DeniedLate,
    /// After a request for an answer about the step of that id (as it is spelled).
    Asked { id: String },
    /// After an answer about the step of that id (as it is spelled).
    Answered { id: String, approved: bool },
    /// Within the step of that id (as it is spelled), after so many calls, inside of these calls of other tools.
    Step { id: String, calls: u64, open: Vec<Open> },
    /// After `run-end`.
    Ended(RunOutcome),
}

/// A call of another tool that has not ended.
#[derive(Debug)]
struct Open {
    tool: ToolName,
    /// How many host calls the step had made when it began.
    calls: u64,
}

#[derive(Debug, Default)]
struct Grammar {
    state: State,
    /// Whether denials stop nothing.
    log_only: bool,
    /// Whether steps are taken back from here on.
    rolls_back: bool,
    /// Whether something could not be put back.
    is_stuck: bool,
    steps: u64,
    calls: u64,
}

/// The step of a line, as it is spelled.
fn spelled(line: &Line<'_>) -> String {
    line.raw(Member::Step).unwrap_or_default().to_owned()
}

impl Grammar {
    /// Whether something that the host did may stand between two steps.
    fn may_stand(&mut self, line: &Line<'_>, flow: &Flow) -> bool {
        match flow {
            Flow::Continues(_) => line.seq() == 1,
            Flow::Undone(undone) => {
                self.is_stuck |= !undone.failed.is_empty();
                true
            }
            Flow::Failed(failed) => failed.attempt.is_none() || self.steps > 0,
            Flow::Contract(_) | Flow::Retry(_) => self.steps > 0,
            Flow::Rollback(_) => !std::mem::replace(&mut self.rolls_back, true),
            Flow::Skipped(_) | Flow::Reused(_) | Flow::ApprovalRequest(_) => !self.rolls_back,
        }
    }

    fn call(&mut self, line: &Line<'_>) -> Result<(), TraceError> {
        let State::Step { calls, .. } = &mut self.state else {
            return Err(line.wrong("a `call` may stand only within a step"));
        };
        *calls += 1;
        self.calls += 1;
        Ok(())
    }

    fn event(&mut self, line: &Line<'_>, event: &Event) -> Result<(), TraceError> {
        let state = std::mem::take(&mut self.state);
        self.state = match (state, event) {
            (State::Start, Event::Header(header)) => {
                self.log_only = header.log_only;
                State::Between
            }
            (State::Between, Event::WouldDeny(_)) if self.log_only => State::Between,
            (State::Between, Event::Refused { .. }) if self.steps == 0 => State::Refused,
            (State::Between, Event::Denied(_)) if self.steps == 0 => State::Denied,
            (State::Denied, Event::Denied(_)) => State::Denied,
            (State::Between, Event::Denied(_)) => State::DeniedLate,
            (State::Between, Event::Flow(event)) if self.may_stand(line, &event.flow) => match event.flow {
                Flow::ApprovalRequest(_) => State::Asked { id: spelled(line) },
                _ => State::Between,
            },
            (State::DeniedLate, Event::Flow(FlowEvent { flow: Flow::Rollback(_), .. })) => {
                self.rolls_back = true;
                State::Between
            }
            (State::Asked { id }, Event::Approval(_)) if line.raw(Member::Step) != Some(&id) => {
                return Err(line.wrong(format!("the request before it is about step {id}")));
            }
            (State::Between | State::Asked { .. }, Event::Approval(approval)) if !self.rolls_back => {
                match approval.answer.approved && approval.tool.is_approve() {
                    // The step is the question.
                    true => State::Between,
                    false => State::Answered { id: spelled(line), approved: approval.answer.approved },
                }
            }
            (State::Answered { id, approved }, Event::StepBegin(_) | Event::Denied(_)) => {
                if line.raw(Member::Step) != Some(&id) {
                    return Err(line.wrong(format!("the answer before it is about step {id}")));
                }
                match (approved, event) {
                    (true, Event::StepBegin(_)) => {
                        self.steps += 1;
                        State::Step { id, calls: 0, open: Vec::new() }
                    }
                    (false, Event::Denied(denied)) if denied.why == Why::Rejected => State::DeniedLate,
                    _ => return Err(line.wrong("the event is not what the answer before it says")),
                }
            }
            (State::Between, Event::StepBegin(begin)) if begin.compensates == self.rolls_back => {
                self.steps += 1;
                State::Step { id: spelled(line), calls: 0, open: Vec::new() }
            }
            (State::Step { id, calls, mut open }, Event::DelegateBegin(begin)) => {
                open.push(Open { tool: begin.tool.clone(), calls });
                if begin.depth != open.len() as u64 {
                    return Err(line.wrong(format!(
                        "`depth` is {}, but it is call {} inside of the other",
                        begin.depth,
                        open.len()
                    )));
                }
                State::Step { id, calls, open }
            }
            (State::Step { id, calls, mut open }, Event::DelegateEnd(end)) => {
                let (depth, begun) = (open.len() as u64, open.pop());
                let Some(begun) = begun.filter(|begun| begun.tool == end.tool && depth == end.depth) else {
                    return Err(line.wrong(format!("the call of `{}` ends, which did not begin last", end.tool)));
                };
                let made = calls - begun.calls;
                if end.calls != made {
                    return Err(line.wrong(format!("`calls` is {}, but {made} host calls were made", end.calls)));
                }
                State::Step { id, calls, open }
            }
            (State::Step { id, calls, open }, Event::StepEnd(end)) => {
                if line.raw(Member::Step) != Some(&id) {
                    return Err(line.wrong(format!("step `{}` ends, but {id} began", end.step)));
                }
                // What comes from outside ends everything at once.
                if let (Some(open), Some(_)) = (open.last(), end.fuel) {
                    return Err(line.wrong(format!("the step ends before the call of `{}` has", open.tool)));
                }
                if end.calls != calls {
                    let stated = end.calls;
                    return Err(line.wrong(format!("`calls` is {stated}, but the step has {calls} host calls")));
                }
                State::Between
            }
            (
                state @ (State::Between
                | State::Refused
                | State::Denied
                | State::DeniedLate
                | State::Answered { approved: false, .. }),
                Event::RunEnd { outcome, steps, .. },
            ) => {
                let taken_back = matches!(outcome, RunOutcome::RolledBack | RunOutcome::RollbackIncomplete);
                let fits = match state {
                    _ if self.is_stuck && *outcome == RunOutcome::RollbackIncomplete => true,
                    _ if self.rolls_back || taken_back => self.rolls_back && taken_back,
                    State::Refused => *outcome == RunOutcome::Refused,
                    // A run that could not go on ends with the answer.
                    State::Denied | State::DeniedLate | State::Answered { .. } => *outcome == RunOutcome::Denied,
                    _ => !matches!(outcome, RunOutcome::Refused | RunOutcome::Denied),
                };
                if !fits {
                    return Err(line.wrong(format!(
                        "the run ends as `{}`, which the events before it do not say",
                        outcome.name()
                    )));
                }
                if *steps != self.steps {
                    return Err(line.wrong(format!("`steps` is {steps}, but {} steps began", self.steps)));
                }
                State::Ended(*outcome)
            }
            (state, event) => {
                let kind = event.kind().name();
                let place = match state {
                    State::Start => "before the header",
                    State::Between if self.steps == 0 => "after the header",
                    State::Between => "after a step",
                    State::Refused => "after `refused`",
                    State::Denied | State::DeniedLate => "after `denied`",
                    State::Asked { .. } => "after `approval-request`",
                    State::Answered { .. } => "after `approval`",
                    State::Step { .. } => "within a step",
                    State::Ended(_) => "after the end of the run",
                };
                return Err(line.wrong(format!("`{kind}` may not stand {place}")));
            }
        };
        Ok(())
    }
}

/// The blobs that results refer to, each read once.
struct Blobs<'a> {
    store: &'a BlobStore,
    checked: BTreeMap<Digest, u64>,
}

impl Blobs<'_> {
    fn check(&mut self, line: &Line<'_>) -> Result<(), TraceError> {
        let result = line.result().unwrap_or_default();
        let result: Value = serde_json::from_str(result).map_err(|error| line.wrong(format!("`result`: {error}")))?;
        let mut found = Vec::new();
        references(&result, &mut found);
        for (digest, bytes) in found {
            let needed =
                |what: String| TraceError::Blob { digest, what: format!("{what} (event {} needs it)", line.seq()) };
            let stored = match self.checked.get(&digest) {
                Some(stored) => *stored,
                None => match self.store.get(digest) {
                    Ok(stored) => u64::try_from(stored.len()).unwrap_or(u64::MAX),
                    Err(TraceError::Blob { what, .. }) => return Err(needed(what)),
                    Err(error) => return Err(error),
                },
            };
            if stored != bytes {
                return Err(needed(format!("it has {stored} bytes; the event says {bytes}")));
            }
            self.checked.insert(digest, stored);
        }
        Ok(())
    }
}

/// A reference to a blob: an object with `len` and `sha256` and nothing else.
pub(super) fn reference(value: &Value) -> Option<(Digest, u64)> {
    let members = value.as_object().filter(|members| members.len() == 2)?;
    Some((members.get("sha256")?.as_str()?.parse().ok()?, members.get("len")?.as_u64()?))
}

fn references(value: &Value, found: &mut Vec<(Digest, u64)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(members) => match reference(value) {
            Some(reference) => found.push(reference),
            None => members.values().for_each(|member| references(member, found)),
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests;
