//! From the names of tools to tools: the name itself, then an alias, both exact; for a near miss a suggestion and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::places;
use crate::id::{SkillName, ToolName};
use crate::plan::draft::{Outline, OutlineCall};
use crate::problem::{Problem, Problems, shown, suggestion};
use crate::skill::{Catalog, Skill, Tool};
use crate::types::{Mismatch, one_of};

/// A tool and the skill that has it, and the name by which it was found where that is an alias.
pub(super) type BoundTool = (Arc<Tool>, Arc<Skill>, Option<ToolName>);

/// What the calls of a plan name: those of the steps, those that undo them, those that end a rollback. `None` where there is no call, where
/// it could not be read and where it names nothing.
pub(super) struct Tools {
    pub(super) steps: Vec<Option<BoundTool>>,
    pub(super) compensations: Vec<Option<BoundTool>>,
    pub(super) last: Vec<Option<BoundTool>>,
}

/// Finds all tools of a plan and reports those that there are not.
pub(super) fn bind_tools(
    plan: &Outline<'_>,
    catalog: &Catalog,
    unusable: &BTreeSet<SkillName>,
    problems: &mut Problems,
) -> Tools {
    let mut binder = Binder { plan, catalog, unusable, known: BTreeMap::new() };
    let mut tools = Tools { steps: Vec::new(), compensations: Vec::new(), last: Vec::new() };
    for (index, step) in plan.steps.iter().enumerate() {
        let label = || places::label(index, step.id);
        tools.steps.push(binder.bind(step.call, &places::step(index, "tool"), label, problems));
        let call = step.compensate.unwrap_or(OutlineCall { tool: None, input: None });
        tools.compensations.push(binder.bind(call, &places::step(index, "compensate/tool"), label, problems));
    }
    for (index, call) in plan.compensate.iter().enumerate() {
        let label = || format!("compensation {index}");
        tools.last.push(binder.bind(*call, &format!("/compensate/{index}/tool"), label, problems));
    }
    tools
}

struct Binder<'a> {
    plan: &'a Outline<'a>,
    catalog: &'a Catalog,
    unusable: &'a BTreeSet<SkillName>,
    known: BTreeMap<&'a str, Option<Result<BoundTool, Mismatch>>>,
}

impl<'a> Binder<'a> {
    fn bind(
        &mut self,
        call: OutlineCall<'a>,
        pointer: &str,
        label: impl Fn() -> String,
        problems: &mut Problems,
    ) -> Option<BoundTool> {
        let name = call.tool?;
        if !self.known.contains_key(name) {
            let found = (!self.is_unknown(name)).then(|| find_tool(name, self.catalog, problems.is_full()));
            self.known.insert(name, found);
        }
        match self.known.get(name)?.as_ref()? {
            Ok(found) => Some(found.clone()),
            Err(mismatch) => {
                let message = format!("{}: {}", label(), mismatch.message);
                let mut problem = Problem::new("unknown-tool", pointer, message);
                problem.hint.clone_from(&mismatch.hint);
                problems.push(problem);
                None
            }
        }
    }

    /// Whether it is not known which tools the skill of `tool` has.
    fn is_unknown(&self, tool: &str) -> bool {
        let skill = tool.split_once('.').map_or(tool, |(skill, _)| skill);
        let is_loaded = self.catalog.keys().any(|name| name.as_str() == skill);
        self.unusable.iter().any(|name| name.as_str() == skill) || (!is_loaded && self.plan.gaps.may_have_skill(skill))
    }
}

/// Without looking for suggestions if `tersely`.
fn find_tool(name: &str, catalog: &Catalog, tersely: bool) -> Result<BoundTool, Mismatch> {
    let all = || {
        let tools = catalog.values().flat_map(|skill| skill.tools.values());
        tools.flat_map(|tool| {
            let aliases = tool.annotations.aliases.iter().map(|alias| format!("{}.{alias}", tool.name.skill()));
            std::iter::once(tool.name.to_string()).chain(aliases)
        })
    };
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
    let Some(tool) = skill.resolve(tool_name.function()) else {
        let mismatch =
            Mismatch::new(format!("the skill `{}` has no tool `{}`", skill.name, shown(tool_name.function())));
        if let Some((_, reason)) = skill.not_tools.iter().find(|(function, _)| function == tool_name.function()) {
            return Err(mismatch.hint(format!("it is exported but not a tool: {reason}")));
        }
        let hint = nearest().unwrap_or_else(|| one_of("its tools are", skill.tools.keys().map(String::as_str)));
        return Err(mismatch.hint(hint));
    };
    let alias = (tool.name != tool_name).then_some(tool_name);
    Ok((Arc::clone(tool), Arc::clone(skill), alias))
}
