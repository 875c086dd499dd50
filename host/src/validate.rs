//! Whether a plan can run with the skills at hand: names, references, types and order, before anything runs.
//!
//! Owns the step from [`Plan`] to [`ValidPlan`], whose only constructor is [`validate`]. Never accepts what is merely close: a near
//! miss is a problem with a suggestion. Decides nothing about what a step may do; that is the policy's business.

mod bind;
mod conditions;
mod graph;
mod order;
mod own;
mod places;
mod references;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use crate::id::{SkillName, StepId, ToolName};
use crate::limits::LimitsDocument;
use crate::plan::draft::{Outline, OutlineCall, OutlineStep, in_document_order};
pub use crate::plan::template::Outputs;
use crate::plan::{Action, ApproveStep, Condition, Expect, Plan, PlanStep, Retry};
use crate::problem::{Problem, Problems, pointer_to, shown};
use crate::skill::{Catalog, Skill, Tool};
use crate::types::Ty;
use crate::types::check::{Tree as _, check_tree};
use bind::{BoundTool, Tools, bind_tools};
use graph::{Ancestors, Needs, needs_of, report_cycle};
pub(crate) use own::undo_steps;
pub use resolve::Question;

/// The output of a step that approves: who decided, and why.
pub static DECISION: LazyLock<Ty> =
    LazyLock::new(|| Ty::Record(vec![("by".to_owned(), Ty::String), ("reason".to_owned(), Ty::String)]));

/// A plan in which every name, reference, type and dependency has been checked.
#[derive(Debug, Clone)]
pub struct ValidPlan {
    plan: Plan,
    bound: Vec<Bound>,
    /// What the plan's own `compensate` calls.
    last: Vec<BoundTool>,
    /// Indices of steps in the order in which they run.
    order: Vec<usize>,
    by_id: BTreeMap<StepId, usize>,
    /// Known where steps may run at one time.
    ancestors: Option<Ancestors>,
}

#[derive(Debug, Clone)]
struct Bound {
    /// `None` where the step approves.
    tool: Option<BoundTool>,
    compensation: Option<BoundTool>,
    needs: Needs,
}

/// One step of a [`ValidPlan`] with what its names stand for.
#[derive(Debug, Clone, Copy)]
pub struct ValidStep<'p> {
    /// Its position in the plan's `steps`.
    pub index: usize,
    /// Its id.
    pub id: &'p StepId,
    /// What it does.
    pub work: Work<'p>,
    /// The steps that come before it, as positions in the plan, ascending: its `depends_on` and what its references imply.
    pub dependencies: &'p [usize],
    /// Those of them whose outputs it refers to, ascending. Where one of these was skipped, it is skipped as well.
    pub references: &'p [usize],
    /// What all have to hold for it to run; empty where it always does.
    pub when: &'p [Condition],
    /// What its `limits` ask for.
    pub limits: &'p LimitsDocument,
    /// How often it may begin, where it says so.
    pub retry: Option<&'p Retry>,
    /// What its output has to be, where it says so.
    pub expect: Option<&'p Expect>,
    /// What undoes it in a rollback, where it says so.
    pub compensation: Option<Call<'p>>,
    /// Whether its result may be that of another run although its tool does not say so.
    pub reuse: bool,
    /// Whether its author accepts that a rollback does not undo it.
    pub irreversible: bool,
    step: &'p PlanStep,
}

/// What a step does.
#[derive(Debug, Clone, Copy)]
pub enum Work<'p> {
    /// It calls a tool.
    Call(Call<'p>),
    /// It waits for a decision; its output is of type [`DECISION`].
    Approve(&'p ApproveStep),
}

/// A tool that is called.
#[derive(Debug, Clone, Copy)]
pub struct Call<'p> {
    /// The tool.
    pub tool: &'p Tool,
    /// The skill that has the tool.
    pub skill: &'p Arc<Skill>,
    /// The name in the plan, where it is an alias.
    pub alias: Option<&'p ToolName>,
}

impl<'p> Call<'p> {
    fn of(bound: &'p BoundTool) -> Self {
        Self { tool: &bound.0, skill: &bound.1, alias: bound.2.as_ref() }
    }
}

impl<'p> ValidStep<'p> {
    /// The tool that it calls; `None` where it approves.
    #[must_use]
    pub const fn call(&self) -> Option<Call<'p>> {
        match self.work {
            Work::Call(call) => Some(call),
            Work::Approve(_) => None,
        }
    }

    /// What it asks; `None` where it calls a tool.
    #[must_use]
    pub const fn approve(&self) -> Option<&'p ApproveStep> {
        match self.work {
            Work::Call(_) => None,
            Work::Approve(approve) => Some(approve),
        }
    }

    fn output_type(&self) -> Option<&'p Ty> {
        match self.work {
            Work::Call(call) => call.tool.result.ok.as_ref(),
            Work::Approve(_) => Some(&DECISION),
        }
    }
}

/// Validates `plan` against the skills it may use.
///
/// # Errors
///
/// All problems, in the order of the document.
pub fn validate(plan: Plan, catalog: &Catalog) -> Result<ValidPlan, Vec<Problem>> {
    let mut problems = Problems::default();
    let Findings { by_id, tools, needs, order } = examine(&plan.outline(), catalog, &BTreeSet::new(), &mut problems);
    if !problems.is_empty() {
        return Err(in_document_order(problems));
    }
    let ancestors = (plan.parallel > 1).then(|| Ancestors::of(&needs, &order));
    let bound = tools.steps.into_iter().zip(tools.compensations).zip(needs);
    let bound = bound.map(|((tool, compensation), needs)| Bound { tool, compensation, needs }).collect();
    let last = tools.last.into_iter().flatten().collect();
    Ok(ValidPlan { plan, bound, last, order, by_id, ancestors })
}

/// Everything that is wrong with what cannot run: `known` and what validation finds beside it, without what only follows from parts that
/// could not be read and from skills that are `unusable`. Gives problems and never a plan.
pub(crate) fn all_problems(
    outline: &Outline<'_>,
    catalog: &Catalog,
    unusable: &BTreeSet<SkillName>,
    mut known: Problems,
) -> Vec<Problem> {
    examine(outline, catalog, unusable, &mut known);
    in_document_order(known)
}

/// What names stand for; positions are those of the document's steps.
struct Findings {
    by_id: BTreeMap<StepId, usize>,
    tools: Tools,
    needs: Vec<Needs>,
    order: Vec<usize>,
}

fn examine(plan: &Outline<'_>, catalog: &Catalog, unusable: &BTreeSet<SkillName>, problems: &mut Problems) -> Findings {
    check_pins(plan, catalog, unusable, problems);
    let by_id = index_ids(plan, problems);
    let tools = bind_tools(plan, catalog, unusable, problems);
    let outputs = plan.steps.iter().zip(&tools.steps).map(|(step, bound)| match step.approve {
        Some(_) => Some(Some(&*DECISION)),
        None => bound.as_ref().map(|(tool, ..)| tool.result.ok.as_ref()),
    });
    let scope = references::Types::new(plan, &by_id, outputs.collect());
    let mut needs = Vec::with_capacity(plan.steps.len());
    for (index, step) in plan.steps.iter().enumerate() {
        needs.push(needs_of(index, step, plan, &by_id, problems));
        examine_step(index, step, &tools, &scope, problems);
    }
    let dependencies: Vec<&[usize]> = needs.iter().map(|needs| needs.dependencies.as_slice()).collect();
    let order = order::execution_order(&dependencies).unwrap_or_else(|cycles| {
        for cycle in cycles {
            report_cycle(plan, &cycle, problems);
        }
        Vec::new()
    });
    for (index, (call, bound)) in plan.compensate.iter().zip(&tools.last).enumerate() {
        if let Some(input) = call.input {
            scope.check_inputs_only(input, problems);
        }
        own::check_compensation(
            &format!("/compensate/{index}/tool"),
            bound.as_ref().map(|(tool, ..)| &**tool),
            problems,
        );
        check_call(&format!("compensation {index}"), *call, bound.as_ref(), &scope, problems);
    }
    if let Some(output) = plan.output {
        scope.check(output, None, problems);
    }
    // `scope` borrows what is given back.
    drop(scope);
    Findings { by_id, tools, needs, order }
}

fn examine_step(
    index: usize,
    step: &OutlineStep<'_>,
    tools: &Tools,
    scope: &references::Types<'_>,
    problems: &mut Problems,
) {
    let label = places::label(index, step.id);
    for template in step.templates() {
        scope.check(template, step.id, problems);
    }
    let bound = tools.steps.get(index).and_then(Option::as_ref);
    check_call(&label, step.call, bound, scope, problems);
    for condition in step.when {
        scope.check_condition(condition, problems);
    }
    if let (Some(expect), Some((tool, ..))) = (step.expect, bound) {
        conditions::check_expect(expect, tool, &label, &places::step(index, "expect/kind"), problems);
    }
    if let Some((tool, ..)) = bound
        && tool.of_the_host().is_some()
    {
        own::check_step(index, step, tool, problems);
    }
    if let Some(call) = step.compensate {
        // The step itself has completed when it is undone.
        if let Some(input) = call.input {
            scope.check(input, None, problems);
        }
        let bound = tools.compensations.get(index).and_then(Option::as_ref);
        own::check_compensation(&places::step(index, "compensate/tool"), bound.map(|(tool, ..)| &**tool), problems);
        check_call(&format!("the compensation of {label}"), call, bound, scope, problems);
    }
}

impl ValidPlan {
    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The steps in the order in which they run: each after its dependencies, otherwise as in the plan.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = ValidStep<'_>> {
        let steps: Vec<_> = self.order.iter().filter_map(|&index| self.step(index)).collect();
        steps.into_iter()
    }

    /// The step at a position of the plan's `steps`.
    #[must_use]
    pub fn step(&self, index: usize) -> Option<ValidStep<'_>> {
        let (step, bound) = (self.plan.steps.get(index)?, self.bound.get(index)?);
        let work = match &step.action {
            Action::Tool(_) => Work::Call(Call::of(bound.tool.as_ref()?)),
            Action::Approve(approve) => Work::Approve(approve),
        };
        Some(ValidStep {
            index,
            id: &step.id,
            work,
            dependencies: &bound.needs.dependencies,
            references: &bound.needs.references,
            when: &step.when,
            limits: &step.limits,
            retry: step.retry.as_ref(),
            expect: step.expect.as_ref(),
            compensation: bound.compensation.as_ref().map(Call::of),
            reuse: step.reuse,
            irreversible: step.irreversible,
            step,
        })
    }

    /// The step of that id.
    #[must_use]
    pub fn step_by_id(&self, id: &StepId) -> Option<ValidStep<'_>> {
        self.by_id.get(id).and_then(|&index| self.step(index))
    }

    /// The calls that end a rollback, in their order.
    pub fn compensations(&self) -> impl ExactSizeIterator<Item = Call<'_>> {
        self.last.iter().map(Call::of)
    }

    /// Whether two steps, by their positions in the plan, may run at one time: neither has to come before the other.
    #[must_use]
    pub fn concurrent(&self, one: usize, other: usize) -> bool {
        let is_before = |earlier: usize, later: usize| match &self.ancestors {
            Some(ancestors) => ancestors.is_before(earlier, later),
            None => self.is_before(earlier, later),
        };
        one != other && !is_before(one, other) && !is_before(other, one)
    }

    /// As the table of ancestors says, where there is none.
    fn is_before(&self, earlier: usize, later: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![later];
        while let Some(step) = open.pop() {
            for &dependency in self.bound.get(step).map(|bound| bound.needs.dependencies.as_slice()).unwrap_or_default()
            {
                if dependency == earlier {
                    return true;
                }
                if seen.insert(dependency) {
                    open.push(dependency);
                }
            }
        }
        false
    }
}

fn check_pins(plan: &Outline<'_>, catalog: &Catalog, unusable: &BTreeSet<SkillName>, problems: &mut Problems) {
    for (name, source) in plan.skills.iter().filter(|(name, _)| !unusable.contains(*name)) {
        let pointer = || pointer_to("/skills", name.as_str());
        let Some(skill) = catalog.get(name) else {
            let message = format!("the skill `{name}` has not been loaded");
            let hint = format!("check `{}`", shown(&source.path.display().to_string()));
            problems.push(Problem::new("unknown-skill", pointer(), message).with_hint(hint));
            continue;
        };
        if let Some(pin) = source.sha256.filter(|pin| *pin != skill.digest) {
            let message = format!("the skill `{name}` is {}, the plan asks for {pin}", skill.digest);
            let hint = "use the component that the plan was written for, or pin this one after looking at it";
            problems.push(Problem::new("digest-mismatch", format!("{}/sha256", pointer()), message).with_hint(hint));
        }
    }
}

fn index_ids(plan: &Outline<'_>, problems: &mut Problems) -> BTreeMap<StepId, usize> {
    let mut by_id = BTreeMap::new();
    for (index, id) in plan.steps.iter().enumerate().filter_map(|(index, step)| Some((index, step.id?))) {
        match by_id.get(id) {
            Some(first) => {
                let message = format!("the id `{id}` is that of step {first} as well");
                let problem = Problem::new("duplicate-id", places::step(index, "id"), message);
                problems.push(problem.with_hint("each step has an id of its own"));
            }
            None => {
                by_id.insert(id.clone(), index);
            }
        }
    }
    by_id
}

/// Checks the input of a call against the parameters of its tool, where both are known.
fn check_call(
    whose: &str,
    call: OutlineCall<'_>,
    bound: Option<&BoundTool>,
    scope: &references::Types<'_>,
    problems: &mut Problems,
) {
    let (Some(input), Some((tool, ..))) = (call.input, bound) else { return };
    check_tree(
        input.root(),
        &tool.params,
        &places::owner(whose, &tool.name),
        input.pointer(),
        problems,
        &mut |node, ty, path, problems| {
            debug_assert!(matches!(node.kind(), crate::types::check::Kind::Hole), "only holes are handed out");
            scope.check_hole(node, ty, &path.pointer(), problems);
        },
    );
}

#[cfg(test)]
pub(crate) mod tests;
