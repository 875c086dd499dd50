//! A policy to begin with for one skill: what its tools say that they need, and nothing else.

use std::collections::BTreeMap;

use crate::policy::{Policy, SCHEMA, missing, quoted};
use crate::skill::Skill;

/// Where a skill sends requests and does not say where to.
const ANY_HOST: &str = "https://…/*";
const EXAMPLE: &str = "https://example.com/*";

/// The text of a policy under which every tool of the skill has what it declares to need. Tools with the same needs share a grant. What
/// the host cannot know (which folder, the value of a variable) is for a person to put in.
#[must_use]
pub fn grant_for(skill: &Skill) -> String {
    let head = format!("[[grant]]\nskills = [{}]\n", quoted(skill.name.as_str()));
    let nothing = Policy::parse(&format!("schema = \"{SCHEMA}\"\n{head}tools = [\"*\"]\n"));
    let nothing = nothing.ok().and_then(|policy| policy.grants.into_iter().next());
    let mut groups: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for (name, tool) in &skill.tools {
        let missing = nothing.as_ref().map(|grant| missing(grant, &tool.name, skill)).unwrap_or_default();
        let lines = missing.into_iter().map(|missing| missing.line.replace(ANY_HOST, EXAMPLE)).collect();
        groups.entry(lines).or_default().push(quoted(name));
    }
    if groups.len() <= 1 {
        groups.values_mut().for_each(|tools| *tools = vec!["\"*\"".to_owned()]);
    }
    let mut text = format!("schema = \"{SCHEMA}\"\n");
    for (lines, tools) in groups {
        text.extend(["\n", head.as_str(), "tools = [", tools.join(", ").as_str(), "]\n"]);
        lines.iter().for_each(|line| text.extend([line.as_str(), "\n"]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SkillHost;
    use crate::limits::LimitsDocument;
    use crate::policy::{Verdict, verdict};
    use crate::skills::builtin;

    fn proposed(name: &str) -> Policy {
        let name = name.parse().unwrap();
        let skill = SkillHost::builder().build().inspect(&name, &builtin::find(name.as_str()).unwrap()).unwrap();
        let policy =
            Policy::parse(&grant_for(&skill)).unwrap_or_else(|problems| panic!("{problems:#?}\n{}", grant_for(&skill)));
        // Nothing is missing under it.
        for tool in skill.tools.values() {
            let verdict = verdict(&policy, &tool.name, &LimitsDocument::default(), Some(&skill));
            assert!(matches!(verdict, Verdict::Allowed(_)), "{}: {verdict}", tool.name);
        }
        policy
    }

    #[test]
    fn what_is_proposed_is_a_policy_and_enough() {
        assert_eq!(proposed("text").grants.len(), 1);
        assert!(proposed("text").grants[0].filesystem.is_empty());
        assert!(!proposed("http").grants[0].network.is_empty());
        assert!(proposed("files").grants.iter().any(|grant| !grant.filesystem.is_empty()));
    }
}
