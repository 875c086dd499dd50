//! The skills that a plan does not name and its steps may call: those that `calls` of a grant names which applies to a tool of the plan, or
//! to a tool that may be called in its turn. Loaded with the others, before anything runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Loaded, SkillBytes, SkillLoader};
use crate::id::{SkillName, ToolName};
use crate::plan::draft::Outline;
use crate::policy::{CallPattern, Decision, Pattern, Policy, decide};
use crate::problem::{Problem, Problems, suggestion};

/// The code of a problem with what a grant lets be called.
pub(super) const UNKNOWN_CALLEE: &str = "unknown-callee";

/// A tool that is called, and the place in the plan that it comes from.
type Called = (ToolName, String);

impl SkillLoader<'_> {
    /// Loads what may be called from inside of steps beside what the plan names. An entry of `calls` that names what is not there is a
    /// problem of the plan, at the tool that the grant applies to.
    pub(crate) fn add_callees(
        &self,
        loaded: &mut Loaded,
        plan: &Outline<'_>,
        (base, given): (&Path, &BTreeMap<SkillName, SkillBytes>),
        policy: &Policy,
    ) {
        let mut problems = Problems::default();
        std::mem::take(&mut loaded.problems).into_iter().for_each(|problem| problems.push(problem));
        let named = plan.tools().filter_map(|(place, tool)| Some((tool.parse::<ToolName>().ok()?, place)));
        let mut open: Vec<Called> = named.collect();
        open.reverse();
        let (mut grants, mut seen) = (BTreeSet::new(), BTreeSet::new());
        while let Some((tool, place)) = open.pop() {
            let Decision::Allow { index, grant } = decide(policy, &tool) else { continue };
            if !grants.insert(index) {
                continue;
            }
            for pattern in &grant.calls {
                let who = format!("grant {index}, under which `{tool}` runs, lists `{pattern}` in `calls`");
                if !loaded.skills.contains_key(&pattern.skill) && !loaded.unusable.contains(&pattern.skill) {
                    self.add_callee(loaded, pattern, (plan, base, given), (&who, &place), &mut problems);
                }
                let Some(skill) = loaded.catalog.get(&pattern.skill) else { continue };
                if let Pattern::Exact(function) = &pattern.tools
                    && skill.tool(function).is_none()
                {
                    let message = format!("{who}, but the skill has no such tool");
                    let problem = Problem::new(UNKNOWN_CALLEE, place.clone(), message);
                    problems.push(match suggestion(function, skill.tools.keys().map(String::as_str)) {
                        Some(hint) => problem.with_hint(hint),
                        None => problem,
                    });
                }
                let tools: Vec<&ToolName> =
                    pattern.tools_of(skill).filter(|tool| seen.insert((*tool).clone())).collect();
                open.extend(tools.into_iter().rev().map(|tool| (tool.clone(), place.clone())));
            }
        }
        loaded.problems = problems.into_vec();
    }

    fn add_callee(
        &self,
        loaded: &mut Loaded,
        pattern: &CallPattern,
        (plan, base, given): (&Outline<'_>, &Path, &BTreeMap<SkillName, SkillBytes>),
        (who, place): (&str, &str),
        problems: &mut Problems,
    ) {
        let name = &pattern.skill;
        let Some((source, origin)) = self.source(name, (plan, base, given)) else {
            let problem = Problem::new(UNKNOWN_CALLEE, place, format!("{who}, but there is no skill `{name}`"));
            problems.push(problem.with_hint(format!(
                "declare it in the plan's `skills`, give it with `--skill {name}=FILE`, or take it out of the policy"
            )));
            loaded.unusable.insert(name.clone());
            return;
        };
        match self.load(name, &source) {
            Ok(skill) => {
                loaded.origins.insert(name.clone(), Self::known_origin(origin, &skill.skill));
                for mut problem in self.refused(&skill.skill) {
                    place.clone_into(&mut problem.pointer);
                    problem.message = format!("{who}: {}", problem.message);
                    problems.push(problem);
                }
                loaded.add(skill);
            }
            Err(error) => {
                loaded.note_cancelled(&error);
                for mut problem in error.problems(place) {
                    problem.message = format!("{who}: {}", problem.message);
                    problems.push(problem);
                }
                loaded.unusable.insert(name.clone());
            }
        }
    }
}
