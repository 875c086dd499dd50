//! Whether a plan can run with the skills at hand: names, references, types and order, before anything runs.
//!
//! Owns the step from [`Plan`] to [`ValidPlan`], whose only constructor is [`validate`]. Never accepts what is merely close: a near
//! miss is a problem with a suggestion. Decides nothing about what a step may do; that is the policy's business.

mod order;
mod references;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::id::{SkillName, StepId, ToolName};
use crate::limits::LimitsDocument;
use crate::plan::draft::{Outline, OutlineStep, in_document_order};
pub use crate::plan::template::Outputs;
use crate::plan::template::{Lookup, Reference, Root, Scope, Template};
use crate::plan::{Plan, PlanStep};
use crate::problem::{Problem, Problems, pointer_to, shown, suggestion};
use crate::skill::{Catalog, Skill, Tool};
use crate::types::check::{Tree as _, check_tree};
use crate::types::{Mismatch, Ty, one_of, type_at};

/// A plan in which every name, reference, type and dependency has been checked.
#[derive(Debug, Clone)]
pub struct ValidPlan {
    plan: Plan,
    bound: Vec<Bound>,
    /// Indices of steps in the order in which they run.
    order: Vec<usize>,
    by_id: BTreeMap<StepId, usize>,
}

#[derive(Debug, Clone)]
struct Bound {
    tool: Arc<Tool>,
    skill: Arc<Skill>,
    dependencies: Vec<usize>,
}

/// One step of a [`ValidPlan`] with what its names stand for.
#[derive(Debug, Clone, Copy)]
pub struct ValidStep<'p> {
    /// Its position in the plan's `steps`.
    pub index: usize,
    /// Its id.
    pub id: &'p StepId,
    /// The tool that it calls.
    pub tool: &'p Tool,
    /// The skill that has the tool.
    pub skill: &'p Arc<Skill>,
    /// The steps that run before it, as positions in the plan, ascending: its `depends_on` and what its references imply.
    pub dependencies: &'p [usize],
    /// What its `limits` ask for.
    pub limits: &'p LimitsDocument,
    step: &'p PlanStep,
}

/// Validates `plan` against the skills it may use.
///
/// # Errors
///
/// All problems, in the order of the document.
pub fn validate(plan: Plan, catalog: &Catalog) -> Result<ValidPlan, Vec<Problem>> {
    let mut problems = Problems::default();
    let Findings { by_id, tools, dependencies, order } =
        examine(&plan.outline(), catalog, &BTreeSet::new(), &mut problems);
    if !problems.is_empty() {
        return Err(in_document_order(problems));
    }
    let tools = tools.into_iter().flatten().zip(dependencies);
    let bound = tools.map(|((tool, skill), dependencies)| Bound { tool, skill, dependencies }).collect();
    Ok(ValidPlan { plan, bound, order, by_id })
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
    tools: Vec<Option<BoundTool>>,
    dependencies: Vec<Vec<usize>>,
    order: Vec<usize>,
}

fn examine(plan: &Outline<'_>, catalog: &Catalog, unusable: &BTreeSet<SkillName>, problems: &mut Problems) -> Findings {
    check_pins(plan, catalog, unusable, problems);
    let by_id = index_ids(plan, problems);
    let tools = bind_tools(plan, catalog, unusable, problems);
    let outputs = tools.iter().map(|bound| bound.as_ref().map(|(tool, _)| tool.result.ok.as_ref())).collect();
    let scope = references::Types::new(plan, &by_id, outputs);
    let mut dependencies = Vec::with_capacity(plan.steps.len());
    for (index, step) in plan.steps.iter().enumerate() {
        dependencies.push(dependencies_of(index, step, plan, &by_id, problems));
        let Some(input) = step.input else { continue };
        scope.check(input, step.id, problems);
        if let Some(Some((tool, _))) = tools.get(index) {
            check_input(&label(index, step), input, tool, &scope, problems);
        }
    }
    let order = order::execution_order(&dependencies).unwrap_or_else(|cycles| {
        for cycle in cycles {
            report_cycle(plan, &cycle, problems);
        }
        Vec::new()
    });
    if let Some(output) = plan.output {
        scope.check(output, None, problems);
    }
    // `scope` borrows what is given back.
    drop(scope);
    Findings { by_id, tools, dependencies, order }
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
        let Bound { tool, skill, dependencies } = bound;
        Some(ValidStep { index, id: &step.id, tool, skill, dependencies, limits: &step.limits, step })
    }

    /// The step of that id.
    #[must_use]
    pub fn step_by_id(&self, id: &StepId) -> Option<ValidStep<'_>> {
        self.by_id.get(id).and_then(|&index| self.step(index))
    }

    /// The input of `step` with its references replaced by what earlier steps gave, checked against the tool's parameters.
    ///
    /// # Errors
    ///
    /// The first problem: what types cannot promise, such as an index beyond a list's end or text that grew too large.
    pub fn resolve_input(&self, step: &ValidStep<'_>, outputs: &Outputs) -> Result<Value, Problem> {
        let input = step.step.input.resolve_with(&self.lookup(outputs))?;
        let mut problems = Problems::default();
        let owner = owner(&format!("step `{}`", step.id), step.tool);
        crate::types::check::check_params(&input, &step.tool.params, &owner, step.step.input.pointer(), &mut problems);
        problems.into_vec().into_iter().next().map_or(Ok(input), Err)
    }

    /// The input of `step` where no step has to run for it: its references, if it has any, are to the plan's inputs alone.
    #[must_use]
    pub fn known_input(&self, step: &ValidStep<'_>) -> Option<Value> {
        let references = step.step.input.references();
        if references.iter().any(|located| matches!(located.reference.root, Root::Step(_))) {
            return None;
        }
        // One that cannot be resolved is an error of the run when its turn comes.
        self.resolve_input(step, &Outputs::default()).ok()
    }

    /// What the run gives back: the plan's `output` with its references replaced; null where the plan has none.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve_input`].
    pub fn resolve_output(&self, outputs: &Outputs) -> Result<Value, Problem> {
        self.plan.output.as_ref().map_or(Ok(Value::Null), |output| output.resolve_with(&self.lookup(outputs)))
    }

    /// Looks references up as [`Scope`] does, and finds null where a record leaves out a field that is an option.
    fn lookup<'l>(&'l self, outputs: &'l Outputs) -> Box<Lookup<'l>> {
        let scope = Scope { inputs: &self.plan.inputs, outputs };
        Box::new(move |reference| {
            scope.lookup(reference).map(Cow::Borrowed).or_else(|mismatch| {
                if self.is_absent_option(reference, outputs) { Ok(Cow::Owned(Value::Null)) } else { Err(mismatch) }
            })
        })
    }

    fn is_absent_option(&self, reference: &Reference, outputs: &Outputs) -> bool {
        let (Root::Step(id), Some((_, parent))) = (&reference.root, reference.path.split_last()) else { return false };
        let ty = self.step_by_id(id).and_then(|step| step.tool.result.ok.as_ref());
        let parent_is_there = || {
            let parent = Reference { root: reference.root.clone(), path: parent.to_vec() };
            Scope { inputs: &self.plan.inputs, outputs }.lookup(&parent).is_ok()
        };
        ty.is_some_and(|ty| {
            type_at(ty, parent).is_ok_and(|ty| matches!(ty, Ty::Record(_)))
                && type_at(ty, &reference.path).is_ok_and(Ty::is_nullable)
        }) && parent_is_there()
    }
}

fn owner(step: &str, tool: &Tool) -> String {
    format!("{step} (`{}`)", tool.name)
}

/// What messages call a step.
fn label(index: usize, step: &OutlineStep<'_>) -> String {
    step.id.map_or_else(|| format!("step {index}"), |id| format!("step `{id}`"))
}

fn step_pointer(index: usize, key: &str) -> String {
    format!("/steps/{index}/{key}")
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
                let problem = Problem::new("duplicate-id", step_pointer(index, "id"), message);
                problems.push(problem.with_hint("each step has an id of its own"));
            }
            None => {
                by_id.insert(id.clone(), index);
            }
        }
    }
    by_id
}

type BoundTool = (Arc<Tool>, Arc<Skill>);

fn bind_tools(
    plan: &Outline<'_>,
    catalog: &Catalog,
    unusable: &BTreeSet<SkillName>,
    problems: &mut Problems,
) -> Vec<Option<BoundTool>> {
    // Of these it is not known which tools they have.
    let is_unknown = |tool: &str| {
        let skill = tool.split_once('.').map_or(tool, |(skill, _)| skill);
        let is_loaded = catalog.keys().any(|name| name.as_str() == skill);
        unusable.iter().any(|name| name.as_str() == skill) || (!is_loaded && plan.gaps.may_have_skill(skill))
    };
    let mut known: BTreeMap<&str, Option<Result<BoundTool, Mismatch>>> = BTreeMap::new();
    let mut bound = Vec::with_capacity(plan.steps.len());
    for (index, step) in plan.steps.iter().enumerate() {
        let found = step.tool.and_then(|name| {
            let find = || (!is_unknown(name)).then(|| find_tool(name, catalog, problems.is_full()));
            known.entry(name).or_insert_with(find).as_ref()
        });
        if let Some(Err(mismatch)) = found {
            let message = format!("{}: {}", label(index, step), mismatch.message);
            let mut problem = Problem::new("unknown-tool", step_pointer(index, "tool"), message);
            problem.hint.clone_from(&mismatch.hint);
            problems.push(problem);
        }
        bound.push(found.and_then(|found| found.as_ref().ok()).cloned());
    }
    bound
}

/// Without looking for suggestions if `tersely`.
fn find_tool(name: &str, catalog: &Catalog, tersely: bool) -> Result<BoundTool, Mismatch> {
    let all = || catalog.values().flat_map(|skill| skill.tools.values().map(|tool| tool.name.to_string()));
    let nearest = || {
        if tersely {
            return None;
        }
        let all: Vec<String> = all().collect();
        suggestion(name, all.iter().map(String::as_str))
    };
    let Ok(tool_name) = name.parse::<ToolName>() else {
        let hint = nearest().unwrap_or_else(|| "a tool is named `skill.function`".to_owned());
        return Err(Mismatch::new(format!("`{}` is not the name of a tool", shown(name))).hint(hint));
    };
    let Some(skill) = catalog.get(tool_name.skill()) else {
        let skills = catalog.keys().map(SkillName::as_str);
        let hint = nearest()
            .or_else(|| suggestion(tool_name.skill().as_str(), skills.clone()))
            .unwrap_or_else(|| one_of("the skills of this run are", skills));
        return Err(Mismatch::new(format!("there is no skill `{}`", tool_name.skill())).hint(hint));
    };
    let Some(tool) = skill.tool(tool_name.function()) else {
        let mismatch =
            Mismatch::new(format!("the skill `{}` has no tool `{}`", skill.name, shown(tool_name.function())));
        if let Some((_, reason)) = skill.not_tools.iter().find(|(function, _)| function == tool_name.function()) {
            return Err(mismatch.hint(format!("it is exported but not a tool: {reason}")));
        }
        let hint = nearest().unwrap_or_else(|| one_of("its tools are", skill.tools.keys().map(String::as_str)));
        return Err(mismatch.hint(hint));
    };
    Ok((Arc::new(tool.clone()), Arc::clone(skill)))
}

fn dependencies_of(
    index: usize,
    step: &OutlineStep<'_>,
    plan: &Outline<'_>,
    by_id: &BTreeMap<StepId, usize>,
    problems: &mut Problems,
) -> Vec<usize> {
    let mut dependencies = Vec::new();
    for &(position, name) in &step.depends_on {
        let pointer = || format!("/steps/{index}/depends_on/{position}");
        let found = StepId::new(name).ok().and_then(|id| by_id.get(&id).copied());
        match found {
            Some(_) if step.id.is_some_and(|id| id.as_str() == name) => {
                let message = format!("{} depends on itself", label(index, step));
                problems.push(Problem::new("self-dependency", pointer(), message).with_hint("take it out"));
            }
            Some(dependency) => dependencies.push(dependency),
            None if plan.gaps.may_have_step(name) => {}
            None => {
                let message = format!("{} depends on `{}`, which is no step", label(index, step), shown(name));
                let mut problem = Problem::new("unknown-step", pointer(), message);
                if !problems.is_full() {
                    problem.hint = suggestion(name, plan.steps.iter().filter_map(|step| Some(step.id?.as_str())));
                }
                problems.push(problem);
            }
        }
    }
    for located in step.input.map(Template::references).unwrap_or_default() {
        // A reference to the step itself or to no step is reported where references are checked.
        if let Root::Step(id) = &located.reference.root
            && let Some(&dependency) = by_id.get(id)
            && Some(id) != step.id
        {
            dependencies.push(dependency);
        }
    }
    dependencies.sort_unstable();
    dependencies.dedup();
    dependencies
}

fn check_input(step: &str, input: &Template, tool: &Tool, scope: &references::Types<'_>, problems: &mut Problems) {
    check_tree(
        input.root(),
        &tool.params,
        &owner(step, tool),
        input.pointer(),
        problems,
        &mut |node, ty, path, problems| {
            debug_assert!(matches!(node.kind(), crate::types::check::Kind::Hole), "only holes are handed out");
            scope.check_hole(node, ty, &path.pointer(), problems);
        },
    );
}

fn report_cycle(plan: &Outline<'_>, cycle: &[usize], problems: &mut Problems) {
    const NAMED_MAX: usize = 10;
    let name = |index: &usize| plan.steps.get(*index).and_then(|step| step.id).map_or("?", StepId::as_str);
    let Some(first) = cycle.first() else { return };
    let mut names: Vec<&str> = cycle.iter().take(NAMED_MAX).map(name).collect();
    if cycle.len() > NAMED_MAX {
        names.push("…");
    }
    names.push(name(first));
    let message = format!("the steps depend on each other in a circle: `{}`", names.join(" -> "));
    let hint = "`a -> b` means that `a` needs `b`, by `depends_on` or by a reference; take one of them out";
    problems.push(Problem::new("cycle", format!("/steps/{first}"), message).with_hint(hint));
}

#[cfg(test)]
mod tests;
