//! What the policy is asked about a valid plan: every call that a run of it may make.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::id::StepId;
use crate::plan::OnFailure;
use crate::policy::explain::ExplainedStep;
use crate::policy::{CallRequest, Caller, Demands, Principal, StepRequest};
use crate::skill::Catalog;
use crate::validate::{Call, ValidPlan, ValidStep};

/// A plan with the inputs that are known before anything runs.
#[derive(Debug)]
pub(super) struct Asked<'p> {
    plan: &'p ValidPlan,
    /// What the calls that undo steps get, by the step's position.
    undoing: BTreeMap<usize, Value>,
    /// What the calls that end a rollback get.
    last: Vec<Option<Value>>,
}

impl<'p> Asked<'p> {
    pub(super) fn of(plan: &'p ValidPlan) -> Self {
        let known = |step: ValidStep<'_>| Some((step.index, plan.known_compensation(&step)?));
        let last = (0..plan.compensations().len()).map(|index| plan.resolve_last(index).ok().flatten());
        Self { plan, undoing: plan.steps().filter_map(known).collect(), last: last.collect() }
    }

    /// The steps that call a tool, in the order in which they run.
    pub(super) fn steps(&self) -> impl Iterator<Item = StepRequest<'_>> {
        self.calls().map(|(step, Call { tool, skill, .. })| StepRequest {
            step: step.id,
            tool: &tool.name,
            limits: step.limits,
            skill,
            demands: self.demands(&step),
        })
    }

    /// The same for explaining.
    pub(super) fn explained(&self) -> impl Iterator<Item = ExplainedStep<'_>> {
        self.steps().map(|StepRequest { step, tool, limits, skill, demands }| ExplainedStep {
            step,
            tool,
            limits,
            skill: Some(skill),
            demands,
        })
    }

    /// The calls that end a rollback.
    pub(super) fn compensations(&self) -> Vec<CallRequest<'_>> {
        let calls = self.plan.compensations().zip(&self.last);
        calls
            .map(|(Call { tool, skill, .. }, input)| CallRequest { tool: &tool.name, skill, input: input.as_ref() })
            .collect()
    }

    /// The input of a step where no step has to run for it.
    pub(super) fn known_input(&self, step: &StepId) -> Option<Value> {
        self.plan.step_by_id(step).and_then(|step| self.plan.known_input(&step))
    }

    /// Who asks, and for which plan.
    pub(super) fn caller<'a>(
        &'a self,
        principal: &'a Principal,
        catalog: &'a Catalog,
        has_approver: bool,
        input: &'a dyn Fn(&StepId) -> Option<Value>,
        compensations: &'a [CallRequest<'a>],
    ) -> Caller<'a> {
        let plan = self.plan.plan();
        Caller { principal, plan_name: &plan.name, plan: plan.digest, has_approver, input, catalog, compensations }
    }

    fn calls(&self) -> impl Iterator<Item = (ValidStep<'p>, Call<'p>)> {
        self.plan.steps().filter_map(|step| Some((step, step.call()?)))
    }

    fn demands(&self, step: &ValidStep<'p>) -> Demands<'_> {
        let input = self.undoing.get(&step.index);
        let compensation = step.compensation;
        let is_rolled_back = self.plan.plan().on_failure == OnFailure::Rollback;
        Demands {
            attempts: step.retry.map(|retry| retry.attempts),
            must_leave_nothing: is_rolled_back && compensation.is_none() && !step.irreversible,
            compensation: compensation.map(|Call { tool, skill, .. }| CallRequest { tool: &tool.name, skill, input }),
        }
    }
}
