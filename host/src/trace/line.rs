//! One line of a trace: split into its members, proven canonical, decoded on demand.
//!
//! Splitting is what every reader pays for every line, so it builds no values; decoding is paid by those who ask.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::encode::{COMPENSATION, HASH_MEMBER_BYTES, NO_DIGEST, outcome_value};
use super::event::{
    ApprovalEvent, Begun, CallEvent, DelegateBegin, DelegateEnd, DeniedEvent, Event, Flow, FlowEvent, Header, Kind,
    StepBegin, StepEnd,
};
use super::scan::{Fault, Scanner, Shape};
use super::{RecordedCall, SCHEMA, TraceError};
use crate::id::{Digest, SkillName};
use crate::limits::{LimitKind, LimitsDocument, StepLimits};
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::{ApprovalAnswer, Principal, Why};
use crate::problem::Problem;

/// The members that events have, sorted as they stand in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Attempt,
    Calls,
    Depth,
    Fuel,
    Grant,
    Hash,
    Host,
    Input,
    Inputs,
    Key,
    Kind,
    Limits,
    LogOnly,
    Name,
    NeedsApproval,
    Outcome,
    Output,
    Params,
    Plan,
    PlanName,
    Policy,
    Prev,
    Principal,
    Problems,
    Reason,
    ResolvedFrom,
    Result,
    Role,
    Rules,
    Runtime,
    Schema,
    Seed,
    Seq,
    Skill,
    Skills,
    Snapshot,
    StartTime,
    Step,
    Steps,
    Tags,
    Tool,
    What,
    Who,
    Why,
}

impl Member {
    const COUNT: usize = 44;
    const NAMES: [&'static str; Self::COUNT] = [
        "attempt",
        "calls",
        "depth",
        "fuel",
        "grant",
        "hash",
        "host",
        "input",
        "inputs",
        "key",
        "kind",
        "limits",
        "log_only",
        "name",
        "needs_approval",
        "outcome",
        "output",
        "params",
        "plan",
        "plan_name",
        "policy",
        "prev",
        "principal",
        "problems",
        "reason",
        "resolved_from",
        "result",
        "role",
        "rules",
        "runtime",
        "schema",
        "seed",
        "seq",
        "skill",
        "skills",
        "snapshot",
        "start_time",
        "step",
        "steps",
        "tags",
        "tool",
        "what",
        "who",
        "why",
    ];

    pub(super) fn name(self) -> &'static str {
        Self::NAMES.get(self as usize).copied().unwrap_or_default()
    }
}

/// The members that an event of `kind` has, and those that it may lack.
pub(super) const fn members_of(kind: Kind) -> (&'static [Member], &'static [Member]) {
    use Member as M;
    match kind {
        Kind::Header => (
            &[
                M::Hash,
                M::Host,
                M::Inputs,
                M::Kind,
                M::Plan,
                M::Policy,
                M::Prev,
                M::Runtime,
                M::Schema,
                M::Seed,
                M::Seq,
                M::Skills,
                M::StartTime,
            ],
            &[M::LogOnly, M::PlanName, M::Principal, M::Rules, M::Snapshot, M::Tags],
        ),
        Kind::Refused => (&[M::Hash, M::Kind, M::Prev, M::Problems, M::Seq], &[]),
        // Older traces say no more than the reason.
        Kind::Denied => (
            &[M::Hash, M::Kind, M::Prev, M::Reason, M::Seq, M::Step, M::Tool],
            &[M::NeedsApproval, M::Policy, M::Rules, M::Why],
        ),
        Kind::WouldDeny => (
            &[M::Hash, M::Kind, M::Policy, M::Prev, M::Reason, M::Seq, M::Step, M::Tool, M::Why],
            &[M::NeedsApproval, M::Rules],
        ),
        Kind::Approval => (
            &[M::Hash, M::Kind, M::NeedsApproval, M::Outcome, M::Prev, M::Reason, M::Seq, M::Step, M::Tool, M::Who],
            &[],
        ),
        Kind::StepBegin => (
            &[M::Attempt, M::Grant, M::Hash, M::Input, M::Kind, M::Limits, M::Prev, M::Seq, M::Skill, M::Step, M::Tool],
            &[M::Key, M::ResolvedFrom, M::Role, M::Rules],
        ),
        Kind::Call => (&[M::Hash, M::Kind, M::Name, M::Params, M::Prev, M::Result, M::Seq], &[]),
        Kind::DelegateBegin => {
            (&[M::Depth, M::Grant, M::Hash, M::Input, M::Kind, M::Prev, M::Seq, M::Skill, M::Tool], &[M::Rules])
        }
        Kind::DelegateEnd => {
            (&[M::Calls, M::Depth, M::Fuel, M::Hash, M::Kind, M::Outcome, M::Prev, M::Seq, M::Tool], &[])
        }
        Kind::StepEnd => (&[M::Calls, M::Hash, M::Kind, M::Outcome, M::Prev, M::Seq, M::Step], &[M::Fuel]),
        Kind::Continues | Kind::Rollback => (&[M::Hash, M::Kind, M::Prev, M::Seq, M::What], &[]),
        // What is about a step of a plan and what is about the whole of it differ in whether a step is named.
        Kind::Undone | Kind::Failed => (&[M::Hash, M::Kind, M::Prev, M::Seq, M::What], &[M::Step]),
        Kind::Skipped | Kind::Reused | Kind::Retry | Kind::Contract | Kind::ApprovalRequest => {
            (&[M::Hash, M::Kind, M::Prev, M::Seq, M::Step, M::What], &[])
        }
        Kind::RunEnd => (&[M::Hash, M::Kind, M::Outcome, M::Output, M::Prev, M::Seq, M::Steps], &[]),
    }
}

/// Where a line's members lie, and what every event says of itself. A line that has one is canonical and has its kind's members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Index {
    pub(super) kind: Kind,
    pub(super) seq: u64,
    /// Whether a result or parameter may refer to a blob.
    pub(super) met_sha256: bool,
    /// Start and end of each member's value; zero where it is absent.
    places: [(usize, usize); Member::COUNT],
}

impl Index {
    /// Splits a line (without its newline).
    pub(super) fn of(line: &str) -> Result<Self, Fault> {
        let fault = |what| Fault { at: 0, what };
        let mut places = [(0, 0); Member::COUNT];
        let mut present = 0_u64;
        let mut next = 0_usize;
        let mut shapes = (None, None);
        let mut scanner = Scanner::new(line);
        scanner.object_line(|key, start, end, shape| {
            // Members ascend, so each one is looked for behind the one before.
            let known = Member::NAMES.iter().enumerate().skip(next).find(|(_, name)| name.as_bytes() == key);
            let Some((index, name)) = known else {
                return Err(Fault { at: start, what: "a member that is unknown or not in its place" });
            };
            next = index + 1;
            present |= 1 << index;
            if let Some(place) = places.get_mut(index) {
                *place = (start, end);
            }
            match *name {
                "attempt" | "calls" | "depth" | "fuel" | "grant" if shape != Shape::Number => {
                    return Err(Fault { at: start, what: "expected a number" });
                }
                "params" => shapes.0 = Some(shape),
                "result" => shapes.1 = Some(shape),
                _ => {}
            }
            Ok(())
        })?;
        let mut index = Self { kind: Kind::Call, seq: 0, met_sha256: scanner.met_sha256, places };
        let raw = |member| index.raw(line, member);
        let kind = raw(Member::Kind).and_then(unquoted).and_then(Kind::from_name);
        let kind = kind.ok_or_else(|| fault("the event has no known kind"))?;
        let seq = raw(Member::Seq).and_then(|text| text.parse().ok()).ok_or_else(|| fault("the event has no seq"))?;
        let (required, optional) = members_of(kind);
        let bit = |member: Member| 1_u64 << (member as u32);
        let bits = |members: &[Member]| members.iter().fold(0, |bits, member| bits | bit(*member));
        let (required, optional) = (bits(required), bits(optional));
        if present & required != required || present & !(required | optional) != 0 {
            return Err(fault("the event has not the members of its kind"));
        }
        if ![Member::Hash, Member::Prev].into_iter().all(|member| raw(member).is_some_and(is_quoted_digest)) {
            return Err(fault("`hash` and `prev` must be 64 lower-case hex digits"));
        }
        if kind == Kind::Call {
            let answered =
                |text: &str| ["{\"ok\":", "{\"err\":", "{\"trap\":"].iter().any(|start| text.starts_with(start));
            if !matches!(shapes.0, Some(Shape::Object(_))) {
                return Err(fault("`params` must be an object"));
            }
            let one = shapes.1 == Some(Shape::Object(1)) && raw(Member::Result).is_some_and(answered);
            let noted = || is_request(raw(Member::Name)) && raw(Member::Result).is_some_and(is_noted_answer);
            if !one && !noted() {
                return Err(fault("`result` must be an object with the one member `ok`, `err` or `trap`"));
            }
            if raw(Member::Name).and_then(unquoted).is_none_or(str::is_empty) {
                return Err(fault("`name` must be the name of a function"));
            }
        }
        index.kind = kind;
        index.seq = seq;
        Ok(index)
    }

    fn raw<'l>(&self, line: &'l str, member: Member) -> Option<&'l str> {
        let (start, end) = *self.places.get(member as usize)?;
        if end == 0 { None } else { line.get(start..end) }
    }
}

/// The host call that is a request, whose answer has notes beside it.
pub(super) const REQUEST: &str = "wasi:http/outgoing-handler#handle";

fn is_request(name: Option<&str>) -> bool {
    name.and_then(unquoted) == Some(REQUEST)
}

/// Whether a result is `ok` or `err` and beside it nothing but what is noted of a request.
fn is_noted_answer(text: &str) -> bool {
    let Ok(Value::Object(members)) = serde_json::from_str(text) else { return false };
    let is_note = |name: &str, value: &Value| match name {
        "denied" | "method" | "url" => value.is_string(),
        "rule" => value.is_u64(),
        _ => false,
    };
    let answers = members.keys().filter(|name| matches!(name.as_str(), "ok" | "err")).count();
    answers == 1 && members.iter().all(|(name, value)| matches!(name.as_str(), "ok" | "err") || is_note(name, value))
}

/// The content of a JSON string that has no escapes.
fn unquoted(text: &str) -> Option<&str> {
    let content = text.strip_prefix('"')?.strip_suffix('"')?;
    if content.contains('\\') { None } else { Some(content) }
}

fn is_quoted_digest(text: &str) -> bool {
    text.len() == 66 && unquoted(text).is_some_and(|hex| hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// A line that was read: canonical, and with the members of its kind.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    text: &'a str,
    index: &'a Index,
}

impl<'a> Line<'a> {
    pub(super) const fn new(text: &'a str, index: &'a Index) -> Self {
        Self { text, index }
    }

    /// The line as it stands in the file, without its newline.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// The event's number.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.index.seq
    }

    /// What kind of event it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.index.kind
    }

    /// The hash that the line states.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.hash_hex().parse().unwrap_or(Digest::from_bytes([0; 32]))
    }

    /// The function of a host call.
    #[must_use]
    pub fn function(&self) -> Option<&'a str> {
        self.raw(Member::Name).and_then(unquoted)
    }

    /// The parameters of a host call, as they were recorded.
    #[must_use]
    pub fn params(&self) -> Option<&'a str> {
        self.raw(Member::Params)
    }

    /// The result of a host call, as it was recorded.
    #[must_use]
    pub fn result(&self) -> Option<&'a str> {
        self.raw(Member::Result)
    }

    /// The step that the event is about, where it is about one.
    #[must_use]
    pub fn step(&self) -> Option<&'a str> {
        self.raw(Member::Step).and_then(unquoted)
    }

    /// The tool that the event names, where it names one.
    #[must_use]
    pub fn tool(&self) -> Option<&'a str> {
        self.raw(Member::Tool).and_then(unquoted)
    }

    /// The line without `hash` and `prev`: what the event says, and nothing of where in the chain it stands but its number.
    #[must_use]
    pub fn content(&self) -> String {
        let (before, behind) = self.around_hash();
        // `prev` never stands first: it goes with the comma before it.
        let prev = format!(",\"prev\":\"{}\"", self.prev_hex());
        let (left, right) = behind.split_once(&prev).unwrap_or((behind, ""));
        [before, left, right].concat()
    }

    pub(super) fn hash_hex(&self) -> &'a str {
        self.raw(Member::Hash).and_then(unquoted).unwrap_or_default()
    }

    pub(super) fn prev_hex(&self) -> &'a str {
        self.raw(Member::Prev).and_then(unquoted).unwrap_or_default()
    }

    /// Whether the line may refer to a blob.
    pub(super) const fn may_refer_to_blob(&self) -> bool {
        self.index.met_sha256
    }

    /// The line's bytes before and behind the member `hash`: what the chain covers, and with `prev` left out what diffs compare.
    fn around_hash(&self) -> (&'a str, &'a str) {
        // The value's place, less `"hash":`; the member ends with a comma, since `kind` follows.
        let start = self.index.places.get(Member::Hash as usize).map_or(0, |place| place.0).saturating_sub(7);
        let before = self.text.get(..start).unwrap_or_default();
        (before, self.text.get(start + HASH_MEMBER_BYTES..).unwrap_or_default())
    }

    /// The hash that the line should have.
    pub(super) fn computed_hash(&self) -> Digest {
        let (before, behind) = self.around_hash();
        let mut hasher = Sha256::new();
        hasher.update(before);
        hasher.update(behind);
        Digest::from_bytes(hasher.finalize().into())
    }

    pub(super) fn raw(&self, member: Member) -> Option<&'a str> {
        self.index.raw(self.text, member)
    }

    /// The event, decoded.
    ///
    /// # Errors
    ///
    /// [`TraceError::Event`] when a member is not of its type.
    pub fn event(&self) -> Result<Event, TraceError> {
        Ok(match self.kind() {
            Kind::Header => Event::Header(self.header()?),
            Kind::Refused => Event::Refused { problems: self.json::<Vec<Problem>>(Member::Problems)? },
            Kind::Denied => Event::Denied(self.denied()?),
            Kind::WouldDeny => Event::WouldDeny(self.denied()?),
            Kind::Approval => Event::Approval(self.approval()?),
            Kind::StepBegin => Event::StepBegin(StepBegin {
                step: self.parsed(Member::Step)?,
                tool: self.parsed(Member::Tool)?,
                attempt: self.json(Member::Attempt)?,
                skill: self.parsed(Member::Skill)?,
                input: self.json(Member::Input)?,
                key: self.key()?,
                resolved_from: self.raw(Member::ResolvedFrom).map(|_| self.parsed(Member::ResolvedFrom)).transpose()?,
                compensates: self.compensates()?,
                grant: self.json(Member::Grant)?,
                rules: self.ids(Member::Rules)?,
                limits: self.limits()?,
            }),
            Kind::Call => Event::Call(CallEvent {
                function: self.json(Member::Name)?,
                params: self.json(Member::Params)?,
                result: self.json(Member::Result)?,
            }),
            Kind::DelegateBegin => Event::DelegateBegin(DelegateBegin {
                depth: self.json(Member::Depth)?,
                tool: self.parsed(Member::Tool)?,
                skill: self.parsed(Member::Skill)?,
                input: self.json(Member::Input)?,
                grant: self.json(Member::Grant)?,
                rules: self.ids(Member::Rules)?,
            }),
            Kind::DelegateEnd => Event::DelegateEnd(DelegateEnd {
                depth: self.json(Member::Depth)?,
                tool: self.parsed(Member::Tool)?,
                outcome: self.outcome()?,
                calls: self.json(Member::Calls)?,
                fuel: self.json(Member::Fuel)?,
            }),
            Kind::StepEnd => Event::StepEnd(StepEnd {
                step: self.parsed(Member::Step)?,
                outcome: self.outcome()?,
                calls: self.json(Member::Calls)?,
                fuel: self.raw(Member::Fuel).map(|_| self.json(Member::Fuel)).transpose()?,
            }),
            Kind::Continues
            | Kind::Skipped
            | Kind::Reused
            | Kind::Retry
            | Kind::Contract
            | Kind::Undone
            | Kind::ApprovalRequest
            | Kind::Rollback
            | Kind::Failed => Event::Flow(FlowEvent {
                step: self.raw(Member::Step).map(|_| self.parsed(Member::Step)).transpose()?,
                flow: Flow::read(self.kind(), &self.json(Member::What)?)
                    .map_err(|error| self.wrong(format!("`what`: {error}")))?,
            }),
            Kind::RunEnd => Event::RunEnd {
                outcome: self
                    .raw(Member::Outcome)
                    .and_then(unquoted)
                    .and_then(RunOutcome::from_name)
                    .ok_or_else(|| self.wrong("`outcome` is not how a run ends"))?,
                output: self.json(Member::Output)?,
                steps: self.json(Member::Steps)?,
            },
        })
    }

    /// How a step began, of a line that begins at byte `at` of its trace.
    ///
    /// # Errors
    ///
    /// [`TraceError::Event`] when the event is not the beginning of a step.
    pub(crate) fn begun(&self, at: u64) -> Result<Begun, TraceError> {
        Ok(Begun {
            at,
            tool: self.parsed(Member::Tool)?,
            attempt: self.json(Member::Attempt)?,
            skill: self.parsed(Member::Skill)?,
            key: self.key()?,
            compensates: self.compensates()?,
        })
    }

    fn key(&self) -> Result<Option<Digest>, TraceError> {
        self.raw(Member::Key).map(|_| self.parsed(Member::Key)).transpose()
    }

    fn compensates(&self) -> Result<bool, TraceError> {
        match self.raw(Member::Role).map(unquoted) {
            None => Ok(false),
            Some(Some(COMPENSATION)) => Ok(true),
            Some(_) => Err(self.wrong("`role` is no role of a step")),
        }
    }

    /// The host call, with its parameters as they were recorded.
    ///
    /// # Errors
    ///
    /// [`TraceError::Event`] when the event is not a host call.
    pub fn recorded_call(&self) -> Result<RecordedCall, TraceError> {
        Ok(RecordedCall {
            seq: self.seq(),
            function: self.json(Member::Name)?,
            params: self.params().unwrap_or_default().as_bytes().to_vec(),
            result: self.json(Member::Result)?,
        })
    }

    /// An error about this line.
    pub(super) fn wrong(&self, what: impl Into<String>) -> TraceError {
        TraceError::Event { seq: self.seq(), line: self.seq().saturating_add(1), what: what.into() }
    }

    fn header(&self) -> Result<Header, TraceError> {
        let schema: String = self.json(Member::Schema)?;
        if schema != SCHEMA {
            return Err(TraceError::Schema { found: schema });
        }
        let skills: std::collections::BTreeMap<String, String> = self.json(Member::Skills)?;
        let skills = skills.into_iter().map(|(name, digest)| {
            let name = SkillName::new(name).map_err(|error| self.wrong(error.to_string()))?;
            Ok((name, digest.parse().map_err(|error: crate::id::IdError| self.wrong(error.to_string()))?))
        });
        Ok(Header {
            plan_name: self.raw(Member::PlanName).map_or_else(|| Ok(String::new()), |_| self.json(Member::PlanName))?,
            plan: self.parsed(Member::Plan)?,
            policy: self.parsed(Member::Policy)?,
            rules: self.raw(Member::Rules).map(|_| self.parsed(Member::Rules)).transpose()?,
            principal: match self.raw(Member::Principal) {
                None => Principal::default(),
                Some(_) => self.parsed(Member::Principal)?,
            },
            log_only: match self.raw(Member::LogOnly) {
                None => false,
                Some("true") => true,
                Some(_) => return Err(self.wrong("`log_only` is `true` where it is there")),
            },
            skills: skills.collect::<Result<_, TraceError>>()?,
            inputs: self.json(Member::Inputs)?,
            seed: self.json(Member::Seed)?,
            snapshot: self.raw(Member::Snapshot).map(|_| self.parsed(Member::Snapshot)).transpose()?,
            start_time: self.json(Member::StartTime)?,
            tags: self.ids(Member::Tags)?,
            host: self.json(Member::Host)?,
            engine: self.json(Member::Runtime)?,
        })
    }

    fn denied(&self) -> Result<DeniedEvent, TraceError> {
        let why: Option<String> = self.raw(Member::Why).map(|_| self.json(Member::Why)).transpose()?;
        let why = why.as_deref().map_or(Some(Why::NotGranted), Why::from_name);
        Ok(DeniedEvent {
            step: self.parsed(Member::Step)?,
            tool: self.parsed(Member::Tool)?,
            reason: self.json(Member::Reason)?,
            why: why.ok_or_else(|| self.wrong("`why` is no kind of denial"))?,
            policy: match self.raw(Member::Policy) {
                None => NO_DIGEST,
                Some(_) => self.parsed(Member::Policy)?,
            },
            rules: self.ids(Member::Rules)?,
            needs_approval: self.ids(Member::NeedsApproval)?,
        })
    }

    fn approval(&self) -> Result<ApprovalEvent, TraceError> {
        let approved = match self.raw(Member::Outcome).and_then(unquoted) {
            Some("approved") => true,
            Some("rejected") => false,
            _ => return Err(self.wrong("`outcome` is no answer to a request for approval")),
        };
        Ok(ApprovalEvent {
            step: self.parsed(Member::Step)?,
            tool: self.parsed(Member::Tool)?,
            needs_approval: self.ids(Member::NeedsApproval)?,
            answer: ApprovalAnswer { approved, by: self.json(Member::Who)?, reason: self.json(Member::Reason)? },
        })
    }

    /// A list of strings; an empty one is absent.
    fn ids(&self, member: Member) -> Result<Vec<String>, TraceError> {
        self.raw(member).map_or_else(|| Ok(Vec::new()), |_| self.json(member))
    }

    fn limits(&self) -> Result<StepLimits, TraceError> {
        let asked: LimitsDocument = self.json(Member::Limits)?;
        let present = |limit: Option<u64>| limit.ok_or_else(|| self.wrong("`limits` does not name every limit"));
        Ok(StepLimits {
            fuel: present(asked.fuel)?,
            deadline_ms: present(asked.deadline_ms)?,
            memory_bytes: present(asked.memory_bytes)?,
            output_bytes: present(asked.output_bytes)?,
            stdio_bytes: present(asked.stdio_bytes)?,
            host_calls: present(asked.host_calls)?,
            trace_bytes: present(asked.trace_bytes)?,
        })
    }

    fn outcome(&self) -> Result<Outcome, TraceError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        enum Traced {
            Completed(Value),
            Failed(Value),
            Trapped { message: String, backtrace: Vec<String> },
            LimitExceeded { limit: String, allowed: u64, backtrace: Vec<String> },
            Cancelled(()),
            Conflict { path: String, with: String },
        }
        let written: Value = self.json(Member::Outcome)?;
        let read = match self.json(Member::Outcome)? {
            Traced::Completed(output) => Outcome::Completed { output },
            Traced::Failed(error) => Outcome::Failed { error },
            Traced::Trapped { message, backtrace } => Outcome::Trapped { message, backtrace },
            Traced::LimitExceeded { limit, allowed, backtrace } => {
                let kind = LimitKind::from_name(&limit);
                let limit = kind.ok_or_else(|| self.wrong(format!("`{limit}` is not a limit")))?;
                Outcome::LimitExceeded { limit, allowed, backtrace }
            }
            Traced::Cancelled(()) => Outcome::Cancelled,
            Traced::Conflict { path, with } => Outcome::Conflict { path, with },
        };
        // A list in the place of an object is read as well; there is one spelling.
        if outcome_value(&read) == written {
            Ok(read)
        } else {
            Err(self.wrong("`outcome` is not written as outcomes are"))
        }
    }

    fn json<T: DeserializeOwned>(&self, member: Member) -> Result<T, TraceError> {
        let raw = self.raw(member).ok_or_else(|| self.wrong(format!("`{}` is missing", member.name())))?;
        serde_json::from_str(raw).map_err(|error| self.wrong(format!("`{}`: {error}", member.name())))
    }

    fn parsed<T: FromStr<Err = crate::id::IdError>>(&self, member: Member) -> Result<T, TraceError> {
        self.json::<String>(member)?.parse().map_err(|error: crate::id::IdError| self.wrong(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_stand_beside_the_answer_of_a_request_alone() {
        let good = [
            r#"{"method":"GET","ok":9,"rule":0,"url":"u"}"#,
            r#"{"denied":"why","err":{"tag":"x"}}"#,
            r#"{"err":{"tag":"x"},"method":"GET"}"#,
        ];
        let bad = [
            r#"{"method":"GET"}"#,
            r#"{"err":1,"ok":1}"#,
            r#"{"method":1,"ok":9}"#,
            r#"{"ok":9,"rule":"0"}"#,
            r#"{"more":"x","ok":9}"#,
            r#"{"method":"GET","trap":"x"}"#,
            "[1]",
        ];
        assert!(good.iter().all(|text| is_noted_answer(text)));
        bad.iter().for_each(|text| assert!(!is_noted_answer(text), "{text}"));
        assert!(is_request(Some("\"wasi:http/outgoing-handler#handle\"")));
        assert!(!is_request(Some("\"wasi:http/types#[constructor]fields\"")));
    }

    #[test]
    fn members_are_sorted_and_named_as_the_enum_says() {
        assert!(Member::NAMES.is_sorted());
        assert_eq!(Member::Why as usize + 1, Member::COUNT);
        assert_eq!(Member::StartTime.name(), "start_time");
        assert_eq!(Member::Hash.name(), "hash");
    }
}
