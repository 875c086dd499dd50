use super::*;
use crate::id::SkillName;
use proptest::prelude::*;

fn grant(skills: &[&str], tools: &[&str]) -> Grant {
    let quoted = |names: &[&str]| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(",");
    let text = format!(
        "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [{}]\ntools = [{}]\n",
        quoted(skills),
        quoted(tools)
    );
    Policy::parse(&text).unwrap().grants.remove(0)
}

fn policy(grants: Vec<Grant>) -> Policy {
    Policy { grants, digest: crate::id::Digest::of(b"a document"), ..Policy::deny_all() }
}

fn tool(text: &str) -> ToolName {
    text.parse().unwrap()
}

fn step(text: &str) -> StepId {
    StepId::new(text).unwrap()
}

/// The names of the property test: few enough to write every decision down in a table.
const SKILLS: [&str; 4] = ["a", "ab", "b", "abc"];
const TOOLS: [&str; 5] = ["r", "read", "read-all", "api.read", "w"];
const SKILL_PATTERNS: [&str; 6] = ["*", "a", "a*", "ab*", "b", "x*"];
const TOOL_PATTERNS: [&str; 7] = ["*", "r", "re*", "read", "api.*", "api*", "w"];

/// What each pattern names, by hand.
fn table(pattern: &str, name: &str) -> bool {
    let named: &[&str] = match pattern {
        "*" => return true,
        "a" => &["a"],
        "a*" => &["a", "ab", "abc"],
        "ab*" => &["ab", "abc"],
        "b" => &["b"],
        "r" => &["r"],
        "re*" => &["read", "read-all"],
        "read" => &["read"],
        "api.*" | "api*" => &["api.read"],
        "w" => &["w"],
        _ => &[],
    };
    named.contains(&name)
}

proptest! {
    #[test]
    fn decide_agrees_with_a_naive_table(
        grants in prop::collection::vec(
            (prop::sample::subsequence(&SKILL_PATTERNS[..], 1..4), prop::sample::subsequence(&TOOL_PATTERNS[..], 1..4)),
            0..5,
        )
    ) {
        let policy = policy(grants.iter().map(|(skills, tools)| grant(skills, tools)).collect());
        for skill in SKILLS {
            for function in TOOLS {
                let mut expected = None;
                for (index, (skills, tools)) in grants.iter().enumerate().rev() {
                    for skill_pattern in skills {
                        for tool_pattern in tools {
                            if table(skill_pattern, skill) && table(tool_pattern, function) {
                                expected = Some(index);
                            }
                        }
                    }
                }
                let found = decide(&policy, &ToolName::new(SkillName::new(skill).unwrap(), function).unwrap());
                let found = match found {
                    Decision::Allow { index, .. } => Some(index),
                    Decision::Deny { .. } => None,
                };
                prop_assert_eq!(found, expected);
            }
        }
    }
}

#[test]
fn the_reason_of_a_denial_says_what_is_missing() {
    let reason = |policy: &Policy, name: &str| match decide(policy, &tool(name)) {
        Decision::Deny { reason } => (reason.text(policy, &tool(name)), reason.hint(&tool(name))),
        Decision::Allow { .. } => panic!("{name} is allowed"),
    };
    let (text, hint) = reason(&Policy::deny_all(), "files.read");
    assert_eq!(text, "there is no policy, so nothing is granted");
    assert_eq!(
        hint,
        "give a policy with `--policy FILE`; it needs a [[grant]] with `skills = [\"files\"]` and `tools = [\"read\"]`"
    );
    let policy = policy(vec![grant(&["files"], &["read", "list-*"]), grant(&["f*"], &["stat"])]);
    let (text, _) = reason(&policy, "csv.parse");
    assert_eq!(text, "no grant of the policy names the skill `csv`");
    let (text, hint) = reason(&policy, "files.write");
    assert_eq!(
        text,
        "the policy grants tools of the skill `files`, but not `write` (grant 0 names `read`, `list-*`; grant 1 names `stat`)"
    );
    assert!(hint.contains("add `write` to the `tools` of grant 0"), "{hint}");
}

#[test]
fn authorize_gives_all_denials_or_every_step_with_its_limits() {
    let policy = policy(vec![grant(&["a"], &["*"])]);
    let (one, two, three) = (step("one"), step("two"), step("three"));
    let (good, bad, worse) = (tool("a.x"), tool("b.x"), tool("c.x"));
    let none = LimitsDocument::default();
    let lower = LimitsDocument { fuel: Some(5), deadline_ms: Some(u64::MAX), ..LimitsDocument::default() };

    let skill = crate::policy::needs::tests::skill("", &[]);
    let request = |step, tool, limits| StepRequest { step, tool, limits, skill: &skill };

    let plan = authorize(&policy, [request(&one, &good, &none), request(&two, &good, &lower)]).unwrap();
    let [first, second] = plan.steps() else { panic!("{plan:?}") };
    assert_eq!((first.grant_index, first.limits), (0, StepLimits::DEFAULT));
    assert_eq!(second.limits, StepLimits { fuel: 5, ..StepLimits::DEFAULT });
    assert!(Arc::ptr_eq(&first.grant, &second.grant));

    let steps = [request(&one, &bad, &none), request(&two, &good, &none), request(&three, &worse, &none)];
    let denials = authorize(&policy, steps).unwrap_err();
    let steps: Vec<&str> = denials.iter().map(|denial| denial.step.as_str()).collect();
    assert_eq!(steps, ["one", "three"]);
}

#[test]
fn a_grant_that_lacks_what_the_tool_needs_denies_it_with_the_whole_list() {
    let policy = policy(vec![grant(&["a"], &["*"])]);
    let skill = crate::policy::needs::tests::skill("needs = { clocks = \"real\", random = \"real\" }", &[]);
    let (step, tool, limits) = (step("one"), tool("a.go"), LimitsDocument::default());
    let denials =
        authorize(&policy, [StepRequest { step: &step, tool: &tool, limits: &limits, skill: &skill }]).unwrap_err();
    assert_eq!(denials.len(), 1);
    assert_eq!(
        denials[0].reason,
        "grant 0 lacks `clocks`, `random` that `a.go` needs: `clocks = \"real\"`, `random = \"real\"`"
    );
    assert_eq!(denials[0].missing.len(), 2);
    assert!(
        denials[0].hint.contains("`clocks = \"real\"` and `random = \"real\"` into grant 0"),
        "{}",
        denials[0].hint
    );
}
