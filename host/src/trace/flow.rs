//! What the host itself does in a run beside running steps: skips one, takes one from a record, tries again, undoes, asks, rolls back.
//! These events share one form, `{"kind": …, "step": …, "what": {…}}`, since none of them is written often.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::Kind;
use crate::id::{Digest, StepId, ToolName};
use crate::outcome::Failure;

/// Something that the host did.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowEvent {
    /// The step that it is about; `None` where it is about the run.
    pub step: Option<StepId>,
    /// What.
    pub flow: Flow,
}

/// What the host did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flow {
    /// The run goes on where another one was: steps may be taken from its record.
    Continues(Continues),
    /// The step does not run because of its condition.
    Skipped(Skipped),
    /// The step is not run: its result is taken from a record.
    Reused(Reused),
    /// The step did not complete and is tried again.
    Retry(Retry),
    /// A step's output is not what the plan expects of it.
    Contract(Contract),
    /// What a step changed was taken back.
    Undone(Undone),
    /// Somebody has to be asked before the step may run.
    ApprovalRequest(ApprovalRequested),
    /// The steps that completed are taken back from here on, the last one first.
    Rollback(Rollback),
    /// The host could not go on with the step, or with the run: nothing that a guest did.
    Failed(Failed),
}

/// See [`Flow::Continues`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continues {
    /// The hash of the last event of the trace that is continued.
    pub head: Digest,
    /// `resume`, `reuse` or `rollback`.
    pub why: String,
}

/// See [`Flow::Skipped`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// Why: lower case, no final period.
    pub reason: String,
}

/// See [`Flow::Reused`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reused {
    /// The step's tool.
    pub tool: ToolName,
    /// What the step is made of: component, tool, input, grant.
    pub fingerprint: Digest,
    /// The hash of the event with which the step ended when it ran.
    pub source: Digest,
    /// What it gave.
    pub output: Value,
    /// Host calls that were not made again.
    pub calls: u64,
    /// Fuel that was not used again.
    pub fuel: u64,
}

/// See [`Flow::Retry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// The attempt that comes.
    pub attempt: u32,
    /// How long the host waits before it.
    pub wait_ms: u64,
    /// The kind of failure that the plan lists: `failed`, `trapped`, `deadline`.
    pub because: String,
}

/// See [`Flow::Contract`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// The kind of drift, such as `schema-mismatch`.
    pub drift: String,
    /// `block` or `warn`.
    pub decision: String,
    /// What the plan expects: `text` or `json`.
    pub expected: String,
    /// What is wrong: lower case, no final period.
    pub reason: String,
    /// The place in the output, as a JSON pointer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// Why the output is not JSON, where that is what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parse_error: Option<String>,
    /// The beginning of the output.
    pub excerpt: String,
    /// The members that it lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// See [`Flow::Undone`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undone {
    /// What was restored, by guest path.
    pub changes: Vec<UndoneChange>,
    /// What somebody else has changed since, and was left as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// What could not be put back, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

/// A path that is as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoneChange {
    /// What the step had done: `created`, `modified`, `removed`, `renamed`.
    pub change: String,
    /// The path as the guest saw it.
    pub path: String,
}

/// See [`Flow::ApprovalRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRequested {
    /// The step's tool; absent for a step that only asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// Why approval is needed.
    pub needs_approval: Vec<String>,
    /// What an answer is bound to: input, component, grant and policy.
    pub subject: Digest,
    /// What the plan says to whoever is asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What the plan shows to whoever is asked.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub context: Map<String, Value>,
}

/// See [`Flow::Rollback`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Why: lower case, no final period.
    pub because: String,
}

/// See [`Flow::Failed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// The attempt that ended with it, right behind its end; absent where the step, or the run, did not come to its next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The kind of failure.
    pub code: String,
    /// What happened: lower case, no final period, nothing of the machine's folders.
    pub message: String,
    /// The place in the plan, as a JSON pointer, where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// Whether it came from the surroundings and not from what the plan says: a replay takes it from here, and finds the others itself.
    #[serde(default, skip_serializing_if = "is_false")]
    pub host: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "so serde wants it")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Failed {
    /// The event of a failure.
    #[must_use]
    pub fn of(failure: &Failure, attempt: Option<u32>) -> Self {
        let Failure { code, message, pointer, is_of_host: host, .. } = failure.clone();
        Self { attempt, code, message, pointer, host }
    }

    /// The failure that was recorded.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let Self { code, message, pointer, host, .. } = self.clone();
        Failure { code, message, pointer, is_of_host: host, detail: None, hint: None }
    }
}

impl Flow {
    /// The event's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Continues(_) => Kind::Continues,
            Self::Skipped(_) => Kind::Skipped,
            Self::Reused(_) => Kind::Reused,
            Self::Retry(_) => Kind::Retry,
            Self::Contract(_) => Kind::Contract,
            Self::Undone(_) => Kind::Undone,
            Self::ApprovalRequest(_) => Kind::ApprovalRequest,
            Self::Rollback(_) => Kind::Rollback,
            Self::Failed(_) => Kind::Failed,
        }
    }

    /// What stands in the event's `what`.
    pub(super) fn what(&self) -> Value {
        // These types are maps of strings and numbers; writing one to a value cannot fail.
        let tagged = serde_json::to_value(self).unwrap_or_default();
        tagged.get(self.kind().name()).cloned().unwrap_or_default()
    }

    /// Reads what [`Self::what`] wrote.
    pub(super) fn read(kind: Kind, what: &Value) -> Result<Self, String> {
        let tagged = Value::Object([(kind.name().to_owned(), what.clone())].into_iter().collect());
        let read: Self = serde_json::from_value(tagged).map_err(|error| error.to_string())?;
        // Lists in the place of objects, and members that say nothing, are read as well; there is one spelling.
        if read.what() == *what { Ok(read) } else { Err("it is not written as this event is".to_owned()) }
    }

    /// The event about a step.
    #[must_use]
    pub fn of(self, step: &StepId) -> super::event::Event {
        super::event::Event::Flow(FlowEvent { step: Some(step.clone()), flow: self })
    }

    /// The event about the run.
    #[must_use]
    pub const fn of_run(self) -> super::event::Event {
        super::event::Event::Flow(FlowEvent { step: None, flow: self })
    }
}
