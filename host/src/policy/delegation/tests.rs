use super::*;
use crate::policy::{Caller, Demands, Principal, StepRequest, authorize};
use crate::skill::{Export, Metadata, Tool, ToolResult};
use crate::types::Ty;

fn skill(name: &str, functions: &[&str]) -> (SkillName, Arc<Skill>) {
    let name: SkillName = name.parse().unwrap();
    let tool = |function: &&str| {
        let tool = Tool {
            name: ToolName::new(name.clone(), *function).unwrap(),
            export: Export::Function { interface: None, function: (*function).to_owned() },
            params: vec![("n".to_owned(), Ty::U64)],
            result: ToolResult { ok: None, err: None, fallible: false },
            annotations: crate::skill::Annotations::default(),
        };
        ((*function).to_owned(), Arc::new(tool))
    };
    let skill = Skill {
        name: name.clone(),
        digest: crate::id::Digest::of(name.as_str().as_bytes()),
        size_bytes: 0,
        tools: functions.iter().map(tool).collect(),
        not_tools: Vec::new(),
        imports: Vec::new(),
        metadata: Metadata::default(),
    };
    (name, Arc::new(skill))
}

fn tool(text: &str) -> ToolName {
    text.parse().unwrap()
}

/// `a.go` is called by the plan; `b` has three tools, `c` one.
fn catalog() -> Catalog {
    [skill("a", &["go"]), skill("b", &["read", "read-all", "write"]), skill("c", &["last"])].into_iter().collect()
}

/// What may be called under a policy whose grant 0 is that of `a`.
fn under(policy: &str, rules: Option<&str>) -> Arc<Delegation> {
    let head = if rules.is_some() { "rules = \"a.cedar\"\n" } else { "" };
    let text = format!("schema = \"skillhost.policy/1\"\n{head}{policy}");
    let policy = match rules {
        Some(rules) => Policy::parse_with_rules(&text, rules),
        None => Policy::parse(&text),
    };
    let policy = policy.unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
    let (catalog, step, name) = (catalog(), "s".parse().unwrap(), tool("a.go"));
    let caller = Caller {
        principal: &Principal::default(),
        plan_name: "p",
        plan: crate::id::Digest::of(b"p"),
        has_approver: true,
        input: &|_| None,
        catalog: &catalog,
        compensations: &[],
    };
    let skill = &catalog[name.skill()];
    let limits = &crate::limits::LimitsDocument::NONE;
    let request = StepRequest { step: &step, tool: &name, limits, skill, demands: Demands::default() };
    let plan = authorize(&policy, &caller, [request]).unwrap_or_else(|denials| panic!("{denials:?}"));
    Arc::clone(plan.delegation())
}

fn grant(skill: &str, tools: &str, keys: &str) -> String {
    format!("[[grant]]\nskills = [\"{skill}\"]\ntools = [\"{tools}\"]\n{keys}\n")
}

/// What a caller with these `calls` is told of a call of `name` with `{"n": n}`: the grant's index, or why not.
fn asked(delegation: &Delegation, calls: &[&str], name: &str, n: u64) -> Result<usize, NotDelegated> {
    let step = "s".parse().unwrap();
    let calls = calls.iter().map(|text| {
        let (skill, tools) = text.split_once('.').unwrap();
        let tools = match tools.strip_suffix('*') {
            Some(prefix) => Pattern::Prefix(prefix.to_owned()),
            None => Pattern::Exact(tools.to_owned()),
        };
        CallPattern { skill: skill.parse().unwrap(), tools }
    });
    let calls: Vec<CallPattern> = calls.collect();
    let inside = Inside { calls: &calls, step: &step, attempt: 1 };
    let decided = delegation.decide(&inside, &tool(name), &json!({ "n": n }));
    decided.map(|delegated| delegated.grant_index)
}

fn reason(refused: Result<usize, NotDelegated>) -> String {
    match refused {
        Err(NotDelegated::Denied(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_needs_an_entry_of_the_caller_and_a_grant_of_its_own() {
    let calls = "calls = [\"b.read*\", \"c.last\"]";
    let delegation = under(&(grant("a", "*", calls) + &grant("b", "read", "")), None);
    assert_eq!(asked(&delegation, &["b.read*", "c.last"], "b.read", 1), Ok(1));
    assert!(reason(asked(&delegation, &["b.read*"], "b.write", 1)).contains("does not list `b.write`"));
    assert!(reason(asked(&delegation, &[], "b.read", 1)).contains("does not list `b.read`"));
    assert!(reason(asked(&delegation, &["b.read*"], "b.read-all", 1)).contains("but not `read-all`"));
    assert!(
        reason(asked(&delegation, &["c.last"], "c.last", 1)).contains("no grant of the policy names the skill `c`")
    );
    assert_eq!(asked(&delegation, &["b.*"], "b.other", 1), Err(NotDelegated::NoSuchTool));
    let (calls, step) =
        ([CallPattern { skill: "b".parse().unwrap(), tools: Pattern::Prefix(String::new()) }], "s".parse().unwrap());
    assert_eq!(delegation.available(&Inside { calls: &calls, step: &step, attempt: 1 }), ["b.read"]);
}

#[test]
fn what_may_be_called_is_followed_through_the_grants_of_those_that_are_called() {
    let policy = grant("a", "*", "calls = [\"b.read\"]")
        + &grant(
            "b",
            "*",
            "calls = [\"c.*\", \"a.go\"]\nnetwork = [{ url = \"https://api.test/*\", methods = [\"POST\"] }]",
        )
        + &grant("c", "*", "");
    let delegation = under(&policy, None);
    let names: Vec<String> = delegation.callees().map(|(tool, _)| tool.to_string()).collect();
    assert_eq!(names, ["a.go", "b.read", "c.last"]);
    let (_, (_, own)) =
        delegation.callees().map(|(tool, callee)| (tool, callee.granted.as_ref().unwrap())).next().unwrap();
    assert_eq!(delegation.within(own).into_keys().map(ToString::to_string).collect::<Vec<_>>(), names);
    assert!(delegation.may_send_unsafe(own), "by what it calls");
    assert!(!own.may_send_unsafe());
    assert_eq!(delegation.identity(own).as_array().unwrap().len(), 3);
    assert!(under(&grant("a", "*", ""), None).is_empty());
    assert_eq!(delegation.identity(&Grant::empty()), Value::Null);
}

#[test]
fn nobody_is_asked_inside_of_a_step() {
    let policy = grant("a", "*", "calls = [\"b.*\"]") + &grant("b", "*", "approval = \"required\"");
    let delegation = under(&policy, None);
    assert!(reason(asked(&delegation, &["b.*"], "b.read", 1)).contains("nobody is asked inside of a step"));
    let (calls, step) =
        ([CallPattern { skill: "b".parse().unwrap(), tools: Pattern::Prefix(String::new()) }], "s".parse().unwrap());
    assert!(delegation.available(&Inside { calls: &calls, step: &step, attempt: 1 }).is_empty());
}

#[test]
fn rules_decide_on_the_input_of_a_call() {
    let policy = grant("a", "*", "approval = \"never\"\ncalls = [\"b.*\"]") + &grant("b", "*", "approval = \"never\"");
    let rules = "@id(\"a\") permit(principal, action, resource in Skill::\"a\");
        @id(\"few\") permit(principal, action, resource == Tool::\"b.read\") when { context.input.n < 10 };";
    let delegation = under(&policy, Some(rules));
    assert_eq!(asked(&delegation, &["b.*"], "b.read", 9), Ok(1));
    assert!(reason(asked(&delegation, &["b.*"], "b.read", 10)).contains("no rule permits"));
    assert!(reason(asked(&delegation, &["b.*"], "b.write", 1)).contains("no rule permits"));
    let (calls, step) =
        ([CallPattern { skill: "b".parse().unwrap(), tools: Pattern::Prefix(String::new()) }], "s".parse().unwrap());
    let inside = Inside { calls: &calls, step: &step, attempt: 1 };
    assert_eq!(delegation.available(&inside), ["b.read"], "what depends on the input may be");
    let delegated = delegation.decide(&inside, &tool("b.read"), &json!({ "n": 1 })).unwrap();
    assert_eq!(delegated.rules, ["few"]);
}

#[test]
fn the_depth_is_three_unless_the_policy_says_less() {
    assert_eq!(under(&grant("a", "*", ""), None).depth_max(), 3);
    assert_eq!(under(&format!("[limits]\ncall_depth = 1\n{}", grant("a", "*", "")), None).depth_max(), 1);
}
