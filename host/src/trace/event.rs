//! The events of a trace as data. Their encoding is `trace::recorder`'s and `trace::reader`'s, described in `docs/trace-format.md`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::id::{Digest, SkillName, SnapshotId, StepId, ToolName};
use crate::limits::StepLimits;
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::{ApprovalAnswer, Denial, Principal, Why};
use crate::problem::Problem;
pub use crate::trace::flow::{Flow, FlowEvent};

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// What ran on what: always the first.
    Header(Header),
    /// The plan was not valid; the run ends.
    Refused {
        /// Why.
        problems: Vec<Problem>,
    },
    /// The policy does not allow a step; the run ends after the last of them.
    Denied(DeniedEvent),
    /// The policy does not allow a step, which runs because that is only recorded.
    WouldDeny(DeniedEvent),
    /// Somebody was asked whether the next step may run.
    Approval(ApprovalEvent),
    /// A step is about to run.
    StepBegin(StepBegin),
    /// A host call of the step that runs.
    Call(CallEvent),
    /// The step that runs calls another tool: what follows up to its end is what that does.
    DelegateBegin(DelegateBegin),
    /// What the step called has ended.
    DelegateEnd(DelegateEnd),
    /// The step ended.
    StepEnd(StepEnd),
    /// Something else that the host did.
    Flow(FlowEvent),
    /// The run ended: always the last.
    RunEnd {
        /// How.
        outcome: RunOutcome,
        /// The plan's output; `null` unless it completed.
        output: Value,
        /// How many steps began.
        steps: u64,
    },
}

impl Event {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Header(_) => Kind::Header,
            Self::Refused { .. } => Kind::Refused,
            Self::Denied(_) => Kind::Denied,
            Self::WouldDeny(_) => Kind::WouldDeny,
            Self::Approval(_) => Kind::Approval,
            Self::StepBegin(_) => Kind::StepBegin,
            Self::Call(_) => Kind::Call,
            Self::DelegateBegin(_) => Kind::DelegateBegin,
            Self::DelegateEnd(_) => Kind::DelegateEnd,
            Self::StepEnd(_) => Kind::StepEnd,
            Self::Flow(event) => event.flow.kind(),
            Self::RunEnd { .. } => Kind::RunEnd,
        }
    }
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`Event::Header`].
    Header,
    /// [`Event::Refused`].
    Refused,
    /// [`Event::Denied`].
    Denied,
    /// [`Event::WouldDeny`].
    WouldDeny,
    /// [`Event::Approval`].
    Approval,
    /// [`Event::StepBegin`].
    StepBegin,
    /// [`Event::Call`].
    Call,
    /// [`Event::DelegateBegin`].
    DelegateBegin,
    /// [`Event::DelegateEnd`].
    DelegateEnd,
    /// [`Event::StepEnd`].
    StepEnd,
    /// [`Flow::Continues`].
    Continues,
    /// [`Flow::Skipped`].
    Skipped,
    /// [`Flow::Reused`].
    Reused,
    /// [`Flow::Retry`].
    Retry,
    /// [`Flow::Contract`].
    Contract,
    /// [`Flow::Undone`].
    Undone,
    /// [`Flow::ApprovalRequest`].
    ApprovalRequest,
    /// [`Flow::Rollback`].
    Rollback,
    /// [`Flow::Failed`].
    Failed,
    /// [`Event::RunEnd`].
    RunEnd,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Header,
        Self::Refused,
        Self::Denied,
        Self::WouldDeny,
        Self::Approval,
        Self::StepBegin,
        Self::Call,
        Self::DelegateBegin,
        Self::DelegateEnd,
        Self::StepEnd,
        Self::Continues,
        Self::Skipped,
        Self::Reused,
        Self::Retry,
        Self::Contract,
        Self::Undone,
        Self::ApprovalRequest,
        Self::Rollback,
        Self::Failed,
        Self::RunEnd,
    ];

    /// The kind's name in traces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::WouldDeny => "would-deny",
            Self::Approval => "approval",
            Self::StepBegin => "step-begin",
            Self::Call => "call",
            Self::DelegateBegin => "delegate-begin",
            Self::DelegateEnd => "delegate-end",
            Self::StepEnd => "step-end",
            Self::Continues => "continues",
            Self::Skipped => "skipped",
            Self::Reused => "reused",
            Self::Retry => "retry",
            Self::Contract => "contract",
            Self::Undone => "undone",
            Self::ApprovalRequest => "approval-request",
            Self::Rollback => "rollback",
            Self::Failed => "failed",
            Self::RunEnd => "run-end",
        }
    }

    /// Whether such events are what a guest did inside of a step.
    #[must_use]
    pub const fn is_inside_of_step(self) -> bool {
        matches!(self, Self::Call | Self::DelegateBegin | Self::DelegateEnd)
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What ran on what.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The plan's name; empty where it could not be read.
    pub plan_name: String,
    /// The digest of the plan as canonical JSON; of its bytes where it could not be read.
    pub plan: Digest,
    /// The digest of the policy document.
    pub policy: Digest,
    /// The digest of the policy's rules, where it has any.
    pub rules: Option<Digest>,
    /// In whose name the plan runs.
    pub principal: Principal,
    /// Whether denials of the policy are recorded and stop nothing.
    pub log_only: bool,
    /// The skills that the plan uses, by component digest.
    pub skills: BTreeMap<SkillName, Digest>,
    /// The plan's inputs.
    pub inputs: Map<String, Value>,
    /// The plan's seed.
    pub seed: u64,
    /// The bundle that the skills are from, where there was one.
    pub snapshot: Option<SnapshotId>,
    /// Where virtual clocks start, in seconds since 1970.
    pub start_time: u64,
    /// Labels of the run: those of its policy, then those of its plan.
    pub tags: Vec<String>,
    /// This program's version.
    pub host: String,
    /// The engine: its version and the digest of its configuration. Fuel is comparable only where it is equal.
    pub engine: String,
}

/// The policy does not allow a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeniedEvent {
    /// The step.
    pub step: StepId,
    /// Its tool: what was asked for.
    pub tool: ToolName,
    /// The policy's reason.
    pub reason: String,
    /// The kind of reason.
    pub why: Why,
    /// The digest of the policy document that decided.
    pub policy: Digest,
    /// The ids of the rules that decided.
    pub rules: Vec<String>,
    /// Why approval is needed, where that is what is missing.
    pub needs_approval: Vec<String>,
}

impl DeniedEvent {
    /// The event of a denial by the policy of that digest.
    #[must_use]
    pub fn of(denial: &Denial, policy: Digest) -> Self {
        let Denial { step, tool, why, rules, needs_approval, reason, .. } = denial.clone();
        Self { step, tool, reason, why, policy, rules, needs_approval }
    }

    /// Whether it says no more than the reason, as the first traces of this version did.
    #[must_use]
    pub fn is_brief(&self) -> bool {
        self.policy == super::encode::NO_DIGEST
    }
}

/// Somebody was asked whether a step may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalEvent {
    /// The step.
    pub step: StepId,
    /// Its tool.
    pub tool: ToolName,
    /// Why approval is needed.
    pub needs_approval: Vec<String>,
    /// The answer, and who gave it.
    pub answer: ApprovalAnswer,
}

/// A step is about to run.
#[derive(Debug, Clone, PartialEq)]
pub struct StepBegin {
    /// The step.
    pub step: StepId,
    /// Its tool.
    pub tool: ToolName,
    /// One-based; more than 1 only where the plan asks for retries.
    pub attempt: u32,
    /// The component.
    pub skill: Digest,
    /// The resolved input.
    pub input: Value,
    /// What identifies the call: component, tool, input, grant, and what seeded bytes come from. `None` in older traces.
    pub key: Option<Digest>,
    /// The name by which the plan calls the tool, where that is an alias.
    pub resolved_from: Option<ToolName>,
    /// Whether it takes back what the step did, after the run failed.
    pub compensates: bool,
    /// The index of the grant that applies.
    pub grant: u64,
    /// The ids of the rules that permit it; empty where the policy has none.
    pub rules: Vec<String>,
    /// The limits that apply.
    pub limits: StepLimits,
}

/// How a step began, without its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Where its event begins in the trace, in bytes.
    pub(crate) at: u64,
    /// As in [`StepBegin`].
    pub(crate) tool: ToolName,
    /// As in [`StepBegin`].
    pub(crate) attempt: u32,
    /// As in [`StepBegin`].
    pub(crate) skill: Digest,
    /// As in [`StepBegin`].
    pub(crate) key: Option<Digest>,
    /// As in [`StepBegin`].
    pub(crate) compensates: bool,
}

/// A host call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallEvent {
    /// As in [`crate::trace::Call::function`].
    pub function: String,
    /// The parameters by WIT name.
    pub params: Value,
    /// `{"ok": …}`, `{"err": …}` or `{"trap": …}`.
    pub result: Value,
}

/// The step ended.
#[derive(Debug, Clone, PartialEq)]
pub struct StepEnd {
    /// The step.
    pub step: StepId,
    /// How.
    pub outcome: Outcome,
    /// Host calls it made.
    pub calls: u64,
    /// Fuel it used; `None` where the end was not deterministic (deadline, cancellation).
    pub fuel: Option<u64>,
}

/// A step, or what it called, calls another tool, which is about to run in a sandbox of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct DelegateBegin {
    /// How many calls it is inside of, itself included: 1 where the step's own tool calls.
    pub depth: u64,
    /// The tool.
    pub tool: ToolName,
    /// The component.
    pub skill: Digest,
    /// The input.
    pub input: Value,
    /// The index of the grant that applies.
    pub grant: u64,
    /// The ids of the rules that permit it; empty where the policy has none.
    pub rules: Vec<String>,
}

/// What was called has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct DelegateEnd {
    /// As it began.
    pub depth: u64,
    /// The tool.
    pub tool: ToolName,
    /// How.
    pub outcome: Outcome,
    /// Host calls it made, those of what it called itself included.
    pub calls: u64,
    /// Fuel it used, likewise.
    pub fuel: u64,
}
