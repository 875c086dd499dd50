//! Whether the skills of a plan are those that the policy means: built-in names are taken, and a grant may say where a skill has to be from and
//! which component it is. Decided when a run begins, before anything of a skill runs.

use std::collections::BTreeSet;

use super::Loaded;
use crate::id::{SkillName, ToolName};
use crate::plan::draft::Outline;
use crate::policy::{Decision, Grant, Policy, decide};
use crate::problem::{Problem, Problems};
use crate::skill::{Skill, SkillOrigin};

/// The code of a problem with a skill that is not the one which a grant means.
pub(crate) const ANOTHER_SKILL: &str = "another-skill";

/// The problem of a plan or a bundle that has a skill of its own under a built-in name.
pub(crate) fn taken(name: &SkillName, pointer: impl Into<String>) -> Problem {
    let message = format!("`{name}` is built in: what a policy grants to that name is not for another component");
    let hint = format!("give it another name, or let whoever runs it say `--skill {name}=FILE`");
    Problem::new("reserved-skill", pointer, message).with_hint(hint)
}

/// Adds a problem for each tool under whose grant another skill is meant, those that may be called from inside included.
pub(super) fn hold_against(loaded: &mut Loaded, plan: &Outline<'_>, policy: &Policy) {
    let named = plan.tools().filter_map(|(place, tool)| Some((tool.parse::<ToolName>().ok()?, place)));
    let mut open: Vec<(ToolName, String)> = named.collect();
    let mut seen: BTreeSet<ToolName> = BTreeSet::new();
    let mut found = Vec::new();
    while let Some((tool, place)) = open.pop() {
        if !seen.insert(tool.clone()) {
            continue;
        }
        let Some(skill) = loaded.catalog.get(tool.skill()) else { continue };
        // Under an alias a tool is granted by its own name.
        let tool = skill.resolve(tool.function()).map_or(tool, |known| known.name.clone());
        let Decision::Allow { index, grant } = decide(policy, &tool) else { continue };
        let origin = loaded.origins.get(tool.skill()).copied().unwrap_or(SkillOrigin::Plan);
        if let Some(why) = is_another(grant, skill, origin) {
            let message = format!("grant {index} names `{tool}`, but {why}");
            let hint =
                format!("take the skill that is meant, or say in grant {index} which one is: `origin`, `sha256`");
            found.push(Problem::new(ANOTHER_SKILL, place.clone(), message).with_hint(hint));
        }
        for pattern in &grant.calls {
            let Some(skill) = loaded.catalog.get(&pattern.skill) else { continue };
            open.extend(pattern.tools_of(skill).map(|tool| (tool.clone(), place.clone())));
        }
    }
    found.sort_by(|one, other| (&one.pointer, &one.message).cmp(&(&other.pointer, &other.message)));
    let mut problems = Problems::default();
    std::mem::take(&mut loaded.problems).into_iter().chain(found).for_each(|problem| problems.push(problem));
    loaded.problems = problems.into_vec();
}

/// Why a skill is not the one that a grant means.
fn is_another(grant: &Grant, skill: &Skill, origin: SkillOrigin) -> Option<String> {
    // The host's own tools are as built in as anything.
    let is_from = if origin == SkillOrigin::Host { SkillOrigin::BuiltIn } else { origin };
    if let Some(meant) = grant.origin
        && meant != is_from
    {
        return Some(format!("for one whose origin is `{}`, and this one's is `{}`", meant.name(), origin.name()));
    }
    let meant = grant.sha256.filter(|meant| *meant != skill.digest)?;
    Some(format!("for the component {meant}, and this one is {}", skill.digest))
}
