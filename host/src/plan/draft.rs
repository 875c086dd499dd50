//! What could be read of a document: all of a plan, or the parts around its mistakes. Validation looks at both in the same way, so that
//! mistakes of the document do not hide mistakes of meaning.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::template::Template;
use super::{
    Action, ApproveStep, Condition, Expect, OnFailure, Plan, PlanStep, Retry, SkillSource, ToolCall, override_inputs,
};
use crate::id::{Digest, SkillName, StepId};
use crate::limits::LimitsDocument;
use crate::problem::{Problem, Problems};

/// A document as far as it could be read. It becomes a [`Plan`] only where nothing is wrong with it.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) description: Option<String>,
    pub(super) tags: Vec<String>,
    /// `None` where they could not be read; empty where there are none.
    pub(super) inputs: Option<Map<String, Value>>,
    pub(super) skills: BTreeMap<SkillName, SkillSource>,
    pub(super) seed: u64,
    pub(super) start_time: u64,
    pub(super) on_failure: OnFailure,
    pub(super) parallel: u32,
    pub(super) deadline_ms: Option<u64>,
    /// All steps of the document, so that positions are those of the document.
    pub(super) steps: Vec<DraftStep>,
    pub(super) compensate: Vec<DraftCall>,
    pub(super) output: Option<Template>,
    pub(super) digest: Digest,
    pub(super) gaps: Gaps,
    pub(super) problems: Problems,
}

/// A step as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct DraftStep {
    pub(super) id: Option<StepId>,
    /// Without anything where the step approves.
    pub(super) call: DraftCall,
    pub(super) approve: Option<DraftApprove>,
    pub(super) description: Option<String>,
    /// Each with its position in the document.
    pub(super) depends_on: Vec<(usize, String)>,
    pub(super) when: Vec<Condition>,
    pub(super) limits: LimitsDocument,
    pub(super) retry: Option<Retry>,
    pub(super) expect: Option<Expect>,
    pub(super) compensate: Option<DraftCall>,
    pub(super) reuse: bool,
    pub(super) irreversible: bool,
}

/// A tool and its input as far as they could be read.
#[derive(Debug, Default)]
pub(super) struct DraftCall {
    pub(super) tool: Option<String>,
    pub(super) input: Option<Template>,
}

/// A question as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct DraftApprove {
    pub(super) message: Option<Template>,
    pub(super) context: Option<Template>,
    pub(super) webhook_url: Option<String>,
    pub(super) expires_in_s: Option<u64>,
}

/// What is known to be missing from a [`Draft`]: what is named there must not be reported as unknown.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// Ids as written of steps whose id could not be read.
    pub(super) steps: BTreeSet<String>,
    /// There may be steps of any id.
    pub(super) any_step: bool,
    /// Names as written of skills whose entry could not be read.
    pub(super) skills: BTreeSet<String>,
    /// There may be skills of any name.
    pub(super) any_skill: bool,
}

impl Gaps {
    const NONE: &'static Self =
        &Self { steps: BTreeSet::new(), any_step: false, skills: BTreeSet::new(), any_skill: false };

    /// Whether `id` may be that of a step that could not be read.
    pub(crate) fn may_have_step(&self, id: &str) -> bool {
        self.any_step || self.steps.contains(id)
    }

    /// Whether `name` may be that of a skill whose entry could not be read.
    pub(crate) fn may_have_skill(&self, name: &str) -> bool {
        self.any_skill || self.skills.contains(name)
    }

    /// Whether `name` is that of a skill whose entry could not be read.
    pub(crate) fn has_skill(&self, name: &str) -> bool {
        self.skills.contains(name)
    }
}

/// What validation sees of a [`Plan`] or of a [`Draft`].
#[derive(Debug, Clone)]
pub(crate) struct Outline<'p> {
    /// `None` where they are not known.
    pub(crate) inputs: Option<&'p Map<String, Value>>,
    pub(crate) skills: &'p BTreeMap<SkillName, SkillSource>,
    pub(crate) steps: Vec<OutlineStep<'p>>,
    pub(crate) compensate: Vec<OutlineCall<'p>>,
    pub(crate) output: Option<&'p Template>,
    pub(crate) gaps: &'p Gaps,
}

/// What validation sees of a step. A part that could not be read is `None`.
#[derive(Debug, Clone)]
pub(crate) struct OutlineStep<'p> {
    pub(crate) id: Option<&'p StepId>,
    /// Without anything where the step approves.
    pub(crate) call: OutlineCall<'p>,
    pub(crate) approve: Option<OutlineApprove<'p>>,
    pub(crate) depends_on: Vec<(usize, &'p str)>,
    pub(crate) when: &'p [Condition],
    pub(crate) expect: Option<&'p Expect>,
    pub(crate) reuse: bool,
    pub(crate) compensate: Option<OutlineCall<'p>>,
}

/// What validation sees of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutlineCall<'p> {
    pub(crate) tool: Option<&'p str>,
    pub(crate) input: Option<&'p Template>,
}

/// What validation sees of a question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutlineApprove<'p> {
    pub(crate) message: Option<&'p Template>,
    pub(crate) context: Option<&'p Template>,
}

impl<'p> Outline<'p> {
    /// The tools that are named, each with its place, in the order of the document.
    pub(crate) fn tools(&self) -> impl Iterator<Item = (String, &'p str)> {
        let of_step = |(index, step): (usize, &OutlineStep<'p>)| {
            let compensation = step.compensate.and_then(|call| call.tool);
            let own = step.call.tool.map(|tool| (format!("/steps/{index}/tool"), tool));
            let undoing = compensation.map(|tool| (format!("/steps/{index}/compensate/tool"), tool));
            own.into_iter().chain(undoing)
        };
        let last = self.compensate.iter().enumerate();
        let last = last.filter_map(|(index, call)| Some((format!("/compensate/{index}/tool"), call.tool?)));
        self.steps.iter().enumerate().flat_map(of_step).chain(last)
    }
}

impl<'p> OutlineStep<'p> {
    /// What holds references to what runs before the step, in the order of the keys.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &'p Template> {
        let approve = self.approve.into_iter().flat_map(|approve| [approve.message, approve.context]);
        let when = self.when.iter().flat_map(|condition| [Some(&condition.value), Some(&condition.operand)]);
        std::iter::once(self.call.input).chain(approve).chain(when).flatten()
    }
}

impl Draft {
    /// The plan, where nothing is wrong with the document.
    ///
    /// # Errors
    ///
    /// The draft as it was, with its problems.
    pub(crate) fn into_plan(self) -> Result<Plan, Box<Self>> {
        let complete = self.name.is_some()
            && self.inputs.is_some()
            && self.steps.iter().all(DraftStep::is_complete)
            && self.compensate.iter().all(DraftCall::is_complete);
        if !self.problems.is_empty() || !complete {
            return Err(Box::new(self));
        }
        Ok(Plan {
            name: self.name.unwrap_or_default(),
            version: self.version,
            description: self.description,
            tags: self.tags,
            inputs: self.inputs.unwrap_or_default(),
            skills: self.skills,
            seed: self.seed,
            start_time: self.start_time,
            on_failure: self.on_failure,
            parallel: self.parallel,
            deadline_ms: self.deadline_ms,
            steps: self.steps.into_iter().filter_map(DraftStep::into_step).collect(),
            compensate: self.compensate.into_iter().filter_map(DraftCall::into_call).collect(),
            output: self.output,
            digest: self.digest,
        })
    }

    pub(crate) fn into_problems(self) -> Problems {
        self.problems
    }

    pub(crate) const fn problems(&self) -> &Problems {
        &self.problems
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn tags(&self) -> &[String] {
        &self.tags
    }

    pub(crate) const fn inputs(&self) -> Option<&Map<String, Value>> {
        self.inputs.as_ref()
    }

    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) const fn start_time(&self) -> u64 {
        self.start_time
    }

    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// Lets `skills` be any component: a replay with a changed one asks what that does, not whether it is the pinned one.
    pub(crate) fn unpin<'s>(&mut self, skills: impl IntoIterator<Item = &'s SkillName>) {
        for name in skills {
            if let Some(source) = self.skills.get_mut(name) {
                source.sha256 = None;
            }
        }
    }

    /// As [`Plan::with_inputs`]; an input that the plan does not declare is one more problem.
    pub(crate) fn override_inputs(&mut self, overrides: Map<String, Value>) {
        if let Some(inputs) = &mut self.inputs {
            override_inputs(inputs, overrides, &mut self.problems);
        }
    }

    pub(crate) fn outline(&self) -> Outline<'_> {
        Outline {
            inputs: self.inputs.as_ref(),
            skills: &self.skills,
            steps: self.steps.iter().map(DraftStep::outline).collect(),
            compensate: self.compensate.iter().map(DraftCall::outline).collect(),
            output: self.output.as_ref(),
            gaps: &self.gaps,
        }
    }
}

impl DraftStep {
    fn is_complete(&self) -> bool {
        let does = self.approve.as_ref().map_or_else(|| self.call.is_complete(), |approve| approve.message.is_some());
        self.id.is_some() && does && self.compensate.as_ref().is_none_or(DraftCall::is_complete)
    }

    fn into_step(self) -> Option<PlanStep> {
        let action = match self.approve {
            Some(approve) => Action::Approve(ApproveStep {
                message: approve.message?,
                context: approve.context,
                webhook_url: approve.webhook_url,
                expires_in_s: approve.expires_in_s,
            }),
            None => Action::Tool(self.call.into_call()?),
        };
        Some(PlanStep {
            id: self.id?,
            action,
            description: self.description,
            depends_on: self.depends_on.into_iter().map(|(_, id)| id).collect(),
            when: self.when,
            limits: self.limits,
            retry: self.retry,
            expect: self.expect,
            compensate: self.compensate.and_then(DraftCall::into_call),
            reuse: self.reuse,
            irreversible: self.irreversible,
        })
    }

    fn outline(&self) -> OutlineStep<'_> {
        let approve = self.approve.as_ref();
        OutlineStep {
            id: self.id.as_ref(),
            call: self.call.outline(),
            approve: approve
                .map(|approve| OutlineApprove { message: approve.message.as_ref(), context: approve.context.as_ref() }),
            depends_on: self.depends_on.iter().map(|(position, id)| (*position, id.as_str())).collect(),
            when: &self.when,
            expect: self.expect.as_ref(),
            reuse: self.reuse,
            compensate: self.compensate.as_ref().map(DraftCall::outline),
        }
    }
}

impl DraftCall {
    const fn is_complete(&self) -> bool {
        self.tool.is_some() && self.input.is_some()
    }

    fn into_call(self) -> Option<ToolCall> {
        Some(ToolCall { tool: self.tool?, input: self.input? })
    }

    fn outline(&self) -> OutlineCall<'_> {
        OutlineCall { tool: self.tool.as_deref(), input: self.input.as_ref() }
    }
}

impl ToolCall {
    fn outline(&self) -> OutlineCall<'_> {
        OutlineCall { tool: Some(&self.tool), input: Some(&self.input) }
    }
}

impl PlanStep {
    fn outline(&self) -> OutlineStep<'_> {
        let (call, approve) = match &self.action {
            Action::Tool(call) => (call.outline(), None),
            Action::Approve(approve) => (
                OutlineCall { tool: None, input: None },
                Some(OutlineApprove { message: Some(&approve.message), context: approve.context.as_ref() }),
            ),
        };
        OutlineStep {
            id: Some(&self.id),
            call,
            approve,
            depends_on: self.depends_on.iter().map(String::as_str).enumerate().collect(),
            when: &self.when,
            expect: self.expect.as_ref(),
            reuse: self.reuse,
            compensate: self.compensate.as_ref().map(ToolCall::outline),
        }
    }
}

impl Plan {
    pub(crate) fn outline(&self) -> Outline<'_> {
        Outline {
            inputs: Some(&self.inputs),
            skills: &self.skills,
            steps: self.steps.iter().map(PlanStep::outline).collect(),
            compensate: self.compensate.iter().map(ToolCall::outline).collect(),
            output: self.output.as_ref(),
            gaps: Gaps::NONE,
        }
    }
}

/// The problems of a plan in the order in which a reader of it meets what they are about, those of one step as they were found.
pub(crate) fn in_document_order(problems: Problems) -> Vec<Problem> {
    let place = |problem: &Problem| {
        if problem.code == "more-problems" {
            return (usize::MAX, None);
        }
        let mut segments = problem.pointer.split('/').skip(1);
        let section = match segments.next() {
            None => 0,
            Some("skills") => 2,
            Some("steps") => 3,
            Some("compensate") => 4,
            Some("output") => 5,
            Some(_) => 1,
        };
        let step = if section == 3 { segments.next().and_then(|index| index.parse::<usize>().ok()) } else { None };
        (section, step)
    };
    let mut problems = problems.into_vec();
    problems.sort_by_key(place);
    problems
}
