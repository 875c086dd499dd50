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
    Grant::clone(&Policy::parse(&text).unwrap().grants[0])
}

fn policy(grants: Vec<Grant>) -> Policy {
    let grants = grants.into_iter().map(Arc::new).collect();
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
    let request = |step, tool, limits| StepRequest { step, tool, limits, skill: &skill, demands: Demands::default() };
    let caller = Caller {
        principal: &Principal::default(),
        plan_name: "p",
        plan: Digest::of(b"p"),
        has_approver: false,
        input: &|_| None,
        catalog: &Catalog::new(),
        compensations: &[],
    };

    let plan = authorize(&policy, &caller, [request(&one, &good, &none), request(&two, &good, &lower)]).unwrap();
    let [first, second] = plan.steps() else { panic!("{plan:?}") };
    assert_eq!((first.grant_index, first.limits), (0, StepLimits::DEFAULT));
    assert_eq!(second.limits, StepLimits { fuel: 5, ..StepLimits::DEFAULT });
    assert!(Arc::ptr_eq(&first.grant, &second.grant));

    let steps = [request(&one, &bad, &none), request(&two, &good, &none), request(&three, &worse, &none)];
    let denials = authorize(&policy, &caller, steps).unwrap_err();
    assert!(denials.iter().all(|denial| denial.why == Why::NotGranted && denial.rules.is_empty()), "{denials:?}");
    let steps: Vec<&str> = denials.iter().map(|denial| denial.step.as_str()).collect();
    assert_eq!(steps, ["one", "three"]);
}

#[test]
fn a_grant_that_lacks_what_the_tool_needs_denies_it_with_the_whole_list() {
    let policy = policy(vec![grant(&["a"], &["*"])]);
    let skill = crate::policy::needs::tests::skill("needs = { clocks = \"real\", random = \"real\" }", &[]);
    let (step, tool, limits) = (step("one"), tool("a.go"), LimitsDocument::default());
    let caller = Caller {
        principal: &Principal::default(),
        plan_name: "p",
        plan: Digest::of(b"p"),
        has_approver: false,
        input: &|_| None,
        catalog: &Catalog::new(),
        compensations: &[],
    };
    let request = StepRequest { step: &step, tool: &tool, limits: &limits, skill: &skill, demands: Demands::default() };
    let denials = authorize(&policy, &caller, [request]).unwrap_err();
    assert_eq!(denials.len(), 1);
    assert_eq!(denials[0].why, Why::NeedsMissing);
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

/// A policy read from the lines behind its schema.
fn read(lines: &str) -> Policy {
    Policy::parse(&format!("schema = \"skillhost.policy/1\"\n{lines}")).unwrap()
}

const SENDS: &str = "[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\nnetwork = [{ url = \"https://api.example.com/\", methods = [\"GET\", \"POST\"] }]\n";

fn denials(policy: &Policy, demands: Demands<'_>, last: &[CallRequest<'_>], skill: &Skill) -> Vec<Denial> {
    let (step, tool) = (step("one"), tool("a.go"));
    let caller = Caller {
        principal: &Principal::default(),
        plan_name: "p",
        plan: Digest::of(b"p"),
        has_approver: false,
        input: &|_| None,
        catalog: &Catalog::new(),
        compensations: last,
    };
    let request = StepRequest { step: &step, tool: &tool, limits: &LimitsDocument::NONE, skill, demands };
    let explained = crate::policy::explain::ExplainedStep {
        step: &step,
        tool: &tool,
        limits: &LimitsDocument::NONE,
        skill: Some(skill),
        demands,
    };
    let denials = authorize(policy, &caller, [request]).err().unwrap_or_default();
    // What explains says the same.
    let explained: Vec<String> = crate::policy::explain(policy, &caller, [explained])
        .into_iter()
        .filter_map(|explanation| match explanation.verdict {
            crate::policy::Verdict::Denied { reason, .. } => Some(reason),
            crate::policy::Verdict::Allowed(_) => None,
        })
        .collect();
    assert_eq!(explained, denials.iter().map(|denial| denial.reason.clone()).collect::<Vec<_>>());
    denials
}

#[test]
fn a_step_is_tried_as_often_as_the_policy_says() {
    let skill = crate::policy::needs::tests::skill("", &[]);
    let asked = |attempts| Demands { attempts: Some(attempts), ..Demands::default() };
    let grant = "[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\n";
    let found = denials(&read(grant), asked(3), &[], &skill);
    assert_eq!((found.len(), found[0].why), (1, Why::Budget));
    assert_eq!(found[0].reason, "the step asks for 3 attempts, and the policy lets a step have 1");
    assert!(found[0].hint.contains("`attempts = 3` into `[run]`"), "{}", found[0].hint);
    let policy = read(&format!("[run]\nattempts = 3\n{grant}"));
    assert_eq!(denials(&policy, asked(3), &[], &skill), []);
    assert_eq!(denials(&policy, asked(4), &[], &skill).len(), 1);
    assert_eq!(denials(&read(grant), Demands::default(), &[], &skill), []);
}

#[test]
fn what_a_rollback_would_leave_behind_is_denied() {
    let sends = crate::policy::needs::tests::skill("", &["wasi:http/outgoing-handler@0.2.3"]);
    let demands = Demands { must_leave_nothing: true, ..Demands::default() };
    let found = denials(&read(SENDS), demands, &[], &sends);
    assert_eq!((found.len(), found[0].why), (1, Why::Irreversible));
    assert!(found[0].reason.contains("nothing undoes what grant 0 lets the step send"), "{}", found[0].reason);
    assert!(found[0].hint.contains("`compensate`") && found[0].hint.contains("\"irreversible\": true"));
    assert_eq!(Why::from_name("irreversible"), Some(Why::Irreversible));
    // Neither where the author accepts it, nor where only safe methods are granted, nor where the skill cannot send.
    assert_eq!(denials(&read(SENDS), Demands::default(), &[], &sends), []);
    let reads = SENDS.replace(", \"POST\"", "");
    assert_eq!(denials(&read(&reads), demands, &[], &sends), []);
    let pure = crate::policy::needs::tests::skill("", &[]);
    assert_eq!(denials(&read(SENDS), demands, &[], &pure), []);
}

#[test]
fn what_undoes_needs_a_grant_as_well() {
    let skill = crate::policy::needs::tests::skill("", &[]);
    let grant = "[[grant]]\nskills = [\"a\"]\ntools = [\"go\"]\n";
    let undo = tool("a.undo");
    let call = CallRequest { tool: &undo, skill: &skill, input: None };
    let demands = Demands { compensation: Some(call), ..Demands::default() };
    let found = denials(&read(grant), demands, &[call], &skill);
    let places: Vec<(&str, String)> =
        found.iter().map(|denial| (denial.step.as_str(), denial.tool.to_string())).collect();
    assert_eq!(places, [("one", "a.undo".to_owned()), ("compensate-0", "a.undo".to_owned())]);
    assert!(found.iter().all(|denial| denial.why == Why::NotGranted));

    let policy = read(&format!("{grant}[[grant]]\nskills = [\"a\"]\ntools = [\"undo\"]\nclocks = \"real\"\n"));
    assert_eq!(denials(&policy, demands, &[call], &skill), []);
    let (one, go) = (step("one"), tool("a.go"));
    let limits = LimitsDocument { fuel: Some(5), ..LimitsDocument::default() };
    let request = StepRequest { step: &one, tool: &go, limits: &limits, skill: &skill, demands };
    let compensations = [call];
    let caller = Caller {
        principal: &Principal::default(),
        plan_name: "p",
        plan: Digest::of(b"p"),
        has_approver: false,
        input: &|_| None,
        catalog: &Catalog::new(),
        compensations: &compensations,
    };
    let plan = authorize(&policy, &caller, [request]).unwrap();
    let own = plan.step(&one).unwrap();
    let undoing = own.compensation.as_ref().unwrap();
    assert_eq!((own.grant_index, undoing.grant_index, plan.compensations()[0].grant_index), (0, 1, 1));
    assert_eq!((own.limits.fuel, undoing.limits), (5, StepLimits::DEFAULT));
    assert_eq!(plan.calls().count(), 3);
    assert!(plan.step(&step("two")).is_none());
}
