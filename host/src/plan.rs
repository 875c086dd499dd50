//! A plan: what a planner hands over. Its shape (`schema = "skillhost.plan/1"`) and its strict reading from JSON or YAML.
//!
//! Owns the document's form and nothing about its meaning: whether a tool exists or a reference resolves is `validate`'s business.
//! Never guesses: an unknown, duplicate or wrongly typed key is a problem, and all problems are reported at once.

pub mod document;
pub(crate) mod draft;
pub mod flow;
pub mod schema;
pub mod one_call;
pub mod import;
pub mod source;
pub mod template;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::id::{Digest, SkillName, StepId};
use crate::limits::LimitsDocument;
use crate::problem::{Problem, Problems, pointer_to, shown, suggestion};
pub use flow::{
    Action, ApproveStep, Comparison, Condition, Expect, ExpectKind, ExpectMode, OnFailure, Retry, RetryOn, ToolCall,
};
pub use schema::OutputSchema;
pub use source::{PlanDocument, PlanFormat};
use template::Template;

/// The schema name of plans that this version reads.
pub const SCHEMA: &str = "skillhost.plan/1";

/// What a plan without `start_time` takes for the start of its virtual clocks: 2026-01-01T00:00:00Z, in seconds since 1970.
pub const START_TIME_DEFAULT: u64 = 1_767_225_600;

/// A plan as read: well-formed, not yet validated against skills.
#[derive(Debug, Clone)]
pub struct Plan {
    /// `name`.
    pub name: String,
    /// `version`, where given.
    pub version: Option<String>,
    /// `description`, where given.
    pub description: Option<String>,
    /// `tags`: labels of its runs.
    pub tags: Vec<String>,
    /// `inputs`: values for `{{inputs.…}}`.
    pub inputs: Map<String, Value>,
    /// `skills`: where to find the components that are not built in.
    pub skills: BTreeMap<SkillName, SkillSource>,
    /// `seed`, default 0: what seeded random bytes come from.
    pub seed: u64,
    /// `start_time` (RFC 3339), in seconds since 1970: where virtual clocks start. Default [`START_TIME_DEFAULT`].
    pub start_time: u64,
    /// `on_failure`, default `stop`.
    pub on_failure: OnFailure,
    /// `parallel`, default 1: how many steps may run at one time.
    pub parallel: u32,
    /// `deadline_ms`: how long the run may take; only tightens the policy's.
    pub deadline_ms: Option<u64>,
    /// `steps`, in the document's order.
    pub steps: Vec<PlanStep>,
    /// `compensate`: the calls that end a rollback, in this order. Their inputs refer to the plan's inputs alone.
    pub compensate: Vec<ToolCall>,
    /// `output`: what the run gives back.
    pub output: Option<Template>,
    /// The digest of the document as canonical JSON: the same for JSON and YAML of one plan.
    pub digest: Digest,
}

/// Where a skill's component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkillSource {
    /// `path`, relative to the plan's folder unless absolute.
    pub path: PathBuf,
    /// `sha256`: the component it must be.
    pub sha256: Option<Digest>,
}

/// One step.
#[derive(Debug, Clone)]
pub struct PlanStep {
    /// `id`.
    pub id: StepId,
    /// `tool` with `input`, or `approve`.
    pub action: Action,
    /// `description`, where given.
    pub description: Option<String>,
    /// `depends_on`, beside what the input's references imply.
    pub depends_on: Vec<String>,
    /// `when`: all have to hold, or the step is skipped; empty where it always runs.
    pub when: Vec<Condition>,
    /// `limits`: may only lower the policy's.
    pub limits: LimitsDocument,
    /// `retry`, where given.
    pub retry: Option<Retry>,
    /// `expect`, where given.
    pub expect: Option<Expect>,
    /// `compensate`, where given: the call that undoes the step in a rollback.
    pub compensate: Option<ToolCall>,
    /// `reuse`: its result may be that of another run, although its tool does not say so.
    pub reuse: bool,
    /// `irreversible`: its author accepts that a rollback does not undo it.
    pub irreversible: bool,
}

impl PlanStep {
    /// The tool that it calls; `None` where it asks for approval.
    #[must_use]
    pub const fn call(&self) -> Option<&ToolCall> {
        match &self.action {
            Action::Tool(call) => Some(call),
            Action::Approve(_) => None,
        }
    }
}

impl Plan {
    /// Reads a plan from JSON text.
    ///
    /// # Errors
    ///
    /// The first mistake in the text, or else all mistakes in the document.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        Self::from_value(&crate::json::parse(bytes).map_err(|problem| vec![problem])?)
    }

    /// Reads a plan from YAML text of the same shape.
    ///
    /// # Errors
    ///
    /// The first mistake in the text, or else all mistakes in the document.
    pub fn from_yaml(bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        Self::from_value(&crate::json::parse_yaml(bytes).map_err(|problem| vec![problem])?)
    }

    /// Reads a plan from a document's value.
    ///
    /// # Errors
    ///
    /// All mistakes in the document.
    pub fn from_value(document: &Value) -> Result<Self, Vec<Problem>> {
        let draft = document::read(document)?;
        draft.into_plan().map_err(|draft| draft.into_problems().into_vec())
    }

    /// The JSON Schema of plans (`docs/plan-format.md` says what it cannot express).
    #[must_use]
    pub fn json_schema() -> Value {
        document::keys::schema()
    }

    /// The plan with other values for some of its inputs. What it does not declare cannot be given. [`Self::digest`] stays that of the
    /// document: the inputs of a run are recorded beside it.
    ///
    /// # Errors
    ///
    /// Each input that the plan does not declare.
    pub fn with_inputs(mut self, overrides: Map<String, Value>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        override_inputs(&mut self.inputs, overrides, &mut problems);
        if problems.is_empty() { Ok(self) } else { Err(problems.into_vec()) }
    }
}

fn override_inputs(inputs: &mut Map<String, Value>, overrides: Map<String, Value>, problems: &mut Problems) {
    for (name, value) in overrides {
        if problems.is_full() {
            problems.skip();
            break;
        }
        match inputs.get_mut(&name) {
            Some(input) => *input = value,
            None => {
                let known = inputs.keys().map(String::as_str);
                let hint = suggestion(&name, known.clone())
                    .unwrap_or_else(|| crate::types::one_of("the inputs of the plan are", known));
                let message = format!("the plan has no input `{}`", shown(&name));
                problems.push(Problem::new("unknown-input", pointer_to("/inputs", &name), message).with_hint(hint));
            }
        }
    }
}

#[cfg(test)]
mod tests;
