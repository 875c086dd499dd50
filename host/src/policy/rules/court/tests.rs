use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::skill::{Annotations, Export, Metadata, ToolResult};
use crate::types::Ty;

fn tool(name: &str, risk: Option<Risk>, params: &[(&str, Ty)]) -> Tool {
    let name: ToolName = name.parse().unwrap();
    Tool {
        export: Export::Function { interface: None, function: name.function().to_owned() },
        name,
        params: params.iter().map(|(name, ty)| ((*name).to_owned(), ty.clone())).collect(),
        result: ToolResult { ok: None, err: None, fallible: false },
        annotations: Annotations { risk, ..Annotations::default() },
    }
}

fn skill(name: &str) -> Skill {
    Skill {
        name: name.parse().unwrap(),
        digest: Digest::of(name.as_bytes()),
        size_bytes: 0,
        tools: BTreeMap::new(),
        not_tools: Vec::new(),
        imports: Vec::new(),
        metadata: Metadata::default(),
    }
}

fn grant(keys: &str) -> Grant {
    let text = format!("schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n{keys}\n");
    Grant::clone(&crate::policy::Policy::parse(&text).unwrap().grants[0])
}

fn amounts() -> Vec<(&'static str, Ty)> {
    vec![("amount", Ty::U64), ("note", Ty::Option(Box::new(Ty::String)))]
}

struct Asked<'a> {
    rules: &'a str,
    principal: &'a str,
    roles: &'a [&'a str],
    tool: Tool,
    grant: Grant,
}

impl<'a> Asked<'a> {
    fn new(rules: &'a str) -> Self {
        let tool = tool("pay.send", Some(Risk::Low), &amounts());
        Self { rules, principal: "agent:reporter", roles: &["analyst"], tool, grant: grant("") }
    }

    fn court(&self) -> Court {
        let rules = RuleSet::parse(self.rules).unwrap_or_else(|problems| panic!("{}\n{problems:#?}", self.rules));
        let roles: Vec<String> = self.roles.iter().map(|role| (*role).to_owned()).collect();
        let skill = skill(self.tool.name.skill().as_str());
        let plan = ("monthly", Digest::of(b"plan"));
        Court::new(&Arc::new(rules), &self.principal.parse().unwrap(), &roles, plan, [(&self.tool, &skill)]).unwrap()
    }

    /// `permit: ids`, `later`, or `why: ids`.
    fn answer(&self, input: Option<&Value>) -> String {
        let (step, court) = ("pay".parse().unwrap(), self.court());
        let call = Call { step: &step, attempt: 1, tool: &self.tool, grant: &self.grant, input };
        match court.decide(&call) {
            Verdict::Permitted(rules) => format!("permit: {}", ids(&rules).join(",")),
            Verdict::Denied(refusal) => format!("{}: {}", refusal.why.name(), refusal.rules.join(",")),
            Verdict::Later => "later".to_owned(),
        }
    }
}

const ALL: &str = "@id(\"all\") permit(principal, action, resource);";

#[test]
fn rules_see_the_network_that_a_grant_gives() {
    let rules = format!(
        "{ALL} @id(\"read\") forbid(principal, action, resource) when {{ context.granted.network && !context.granted.network_write }};
         @id(\"write\") forbid(principal, action, resource) when {{ context.granted.network_write }};"
    );
    let network = |methods: &str| format!("network = [{{ url = \"https://api.test/*\", methods = [{methods}] }}]");
    for (keys, expected) in [
        (String::new(), "permit: all"),
        (network("\"GET\", \"HEAD\""), "forbidden: read"),
        (network("\"GET\", \"POST\""), "forbidden: write"),
    ] {
        let asked = Asked { grant: grant(&keys), ..Asked::new(&rules) };
        assert_eq!(asked.answer(Some(&json!({"amount": 5}))), expected, "{keys}");
    }
}

#[test]
fn decisions_by_table() {
    let small = json!({"amount": 5});
    for (rules, input, expected) in [
        ("", &small, "not-permitted: "),
        (ALL, &small, "permit: all"),
        (
            "@id(\"b\") permit(principal, action, resource); @id(\"a\") permit(principal, action, resource);",
            &small,
            "permit: b,a",
        ),
        (
            "@id(\"a\") permit(principal, action, resource); @id(\"f\") forbid(principal, action, resource);",
            &small,
            "forbidden: f",
        ),
        ("@id(\"f\") forbid(principal, action, resource);", &small, "forbidden: f"),
        (
            "@id(\"a\") permit(principal == Agent::\"reporter\", action == Action::\"call\", resource == Tool::\"pay.send\");",
            &small,
            "permit: a",
        ),
        ("@id(\"a\") permit(principal == User::\"reporter\", action, resource);", &small, "not-permitted: "),
        ("@id(\"a\") permit(principal in Role::\"analyst\", action, resource in Skill::\"pay\");", &small, "permit: a"),
        ("@id(\"a\") permit(principal in Role::\"boss\", action, resource);", &small, "not-permitted: "),
        (
            "@id(\"a\") permit(principal is Agent in Role::\"analyst\", action in [Action::\"call\"], resource is Tool in Skill::\"pay\");",
            &small,
            "permit: a",
        ),
        ("@id(\"a\") permit(principal, action, resource in Tool::\"pay.send\");", &small, "permit: a"),
        (
            "@id(\"a\") permit(principal, action, resource) when { resource.risk == \"low\" && resource.risk_level == 1 && resource.declared };",
            &small,
            "permit: a",
        ),
        (
            "@id(\"a\") permit(principal, action, resource) when { resource.skill == \"pay\" && resource.name == \"pay.send\" && principal.name == \"reporter\" };",
            &small,
            "permit: a",
        ),
        (
            "@id(\"a\") permit(principal, action, resource) when { context.plan.name == \"monthly\" && context.plan.step == \"pay\" && context.attempt == 1 };",
            &small,
            "permit: a",
        ),
        (
            "@id(\"a\") permit(principal, action, resource) when { context.granted.filesystem_read || context.granted.network || context.granted.env };",
            &small,
            "not-permitted: ",
        ),
        ("@id(\"a\") permit(principal, action, resource) when { context.input.amount < 500 };", &small, "permit: a"),
        (
            "@id(\"a\") permit(principal, action, resource) when { context.input.amount < 500 };",
            &json!({"amount": 500}),
            "not-permitted: ",
        ),
        (
            "@id(\"a\") permit(principal, action, resource) when { context.input has note && context.input.note like \"ok*\" };",
            &json!({"amount": 1, "note": "okay"}),
            "permit: a",
        ),
        (
            "@id(\"a\") permit(principal, action, resource) when { context.input has note && context.input.note like \"ok*\" };",
            &small,
            "not-permitted: ",
        ),
        // Fits the types, and overflows all the same: a permit elsewhere does not help.
        (
            "@id(\"a\") permit(principal, action, resource); @id(\"e\") permit(principal, action, resource) when { context.input.amount * 9223372036854775807 > 0 };",
            &small,
            "rule-error: e",
        ),
        (
            "@id(\"a\") permit(principal, action, resource); @id(\"e\") forbid(principal, action, resource) when { context.input.amount * 9223372036854775807 > 0 };",
            &small,
            "rule-error: e",
        ),
        // An error outside of the scope is none.
        (
            "@id(\"a\") permit(principal, action, resource); @id(\"e\") forbid(principal is User, action, resource) when { context.input.amount * 9223372036854775807 > 0 };",
            &small,
            "permit: a",
        ),
        // Does not fit the parameters of this tool.
        (
            "@id(\"a\") permit(principal, action, resource); @id(\"t\") forbid(principal, action, resource) when { context.input.sum > 5 };",
            &small,
            "rule-error: t",
        ),
        (
            "@id(\"a\") permit(principal, action, resource); @id(\"t\") forbid(principal, action, resource) when { context.input.note == \"x\" };",
            &small,
            "rule-error: t",
        ),
        (
            "@id(\"a\") permit(principal, action, resource); @id(\"t\") forbid(principal, action, resource == Tool::\"other.tool\") when { context.input.sum > 5 };",
            &small,
            "permit: a",
        ),
        (
            "@id(\"a\") permit(principal, action, resource); @id(\"t\") forbid(principal, action, resource) when { context.input has sum && context.input.sum > 5 };",
            &small,
            "permit: a",
        ),
        // Beyond Cedar's integers: denied where a rule reads it, of no matter where none does.
        (
            "@id(\"a\") permit(principal, action, resource) when { context.input.amount > 5 };",
            &json!({"amount": u64::MAX}),
            "rule-error: ",
        ),
        (ALL, &json!({"amount": u64::MAX}), "permit: all"),
    ] {
        assert_eq!(Asked::new(rules).answer(Some(input)), expected, "{rules} {input}");
    }
}

#[test]
fn what_the_grant_gives_and_what_the_skill_declares_are_seen() {
    let rules = "@id(\"a\") permit(principal, action, resource) when { context.granted.filesystem_read && \
                 !context.granted.filesystem_write && context.granted.clocks_real && context.granted.random_real && \
                 context.granted.env && resource.risk == \"high\" && resource.risk_level == 3 && !resource.declared && \
                 !resource.open_world };";
    let mut asked = Asked::new(rules);
    asked.tool.annotations.risk = None;
    let folder = "filesystem = [{ host = \"/srv\", guest = \"/srv\", access = \"read-only\" }]";
    asked.grant = grant(&format!("{folder}\nclocks = \"real\"\nrandom = \"real\"\nenv = {{ A = \"b\" }}"));
    assert_eq!(asked.answer(None), "permit: a");
    asked.grant = grant(&folder.replace("read-only", "read-write"));
    assert_eq!(asked.answer(None), "not-permitted: ");
}

#[test]
fn an_input_that_is_not_known_yet_is_waited_for_only_where_it_counts() {
    let reads = "@id(\"r\") permit(principal, action, resource) when { context.input.amount < 500 };";
    for (rules, expected) in [
        (reads.to_owned(), "later"),
        (format!("{ALL} {reads}"), "later"),
        (ALL.to_owned(), "permit: all"),
        (format!("{reads} @id(\"f\") forbid(principal, action, resource);"), "forbidden: f"),
        (format!("{reads} @id(\"f\") forbid(principal is User, action, resource);"), "later"),
        (
            "@id(\"f\") forbid(principal, action, resource) when { context.input.amount < 500 };".to_owned(),
            "not-permitted: ",
        ),
        (
            "@id(\"t\") permit(principal, action, resource) when { context.input.sum < 500 };".to_owned(),
            "rule-error: t",
        ),
    ] {
        assert_eq!(Asked::new(&rules).answer(None), expected, "{rules}");
    }
}

#[test]
fn denials_say_which_rule_and_what_to_do() {
    let refusal = |rules: &str| {
        let asked = Asked::new(rules);
        let (step, court) = ("pay".parse().unwrap(), asked.court());
        let input = json!({"amount": 5});
        let call = Call { step: &step, attempt: 1, tool: &asked.tool, grant: &asked.grant, input: Some(&input) };
        match court.decide(&call) {
            Verdict::Denied(refusal) => (refusal.reason, refusal.hint),
            other => panic!("{other:?}"),
        }
    };
    let (reason, hint) =
        refusal("@id(\"f\") @reason(\"nothing is paid on Sundays\")\nforbid(principal, action, resource);");
    assert_eq!(reason, "rule `f` forbids it: nothing is paid on Sundays");
    assert_eq!(hint, "a rule that forbids always wins: see `f` (line 1) in the policy's rules");
    let (reason, hint) = refusal("");
    assert_eq!(reason, "no rule permits `agent:reporter` to call `pay.send`");
    assert!(hint.contains(
        "permit(principal == Agent::\"reporter\", action == Action::\"call\", resource == Tool::\"pay.send\");"
    ));
    RuleSet::parse(hint.split('`').nth(1).unwrap().replace('…', "x").as_str()).expect("the hint is a rule");
    let (_, hint) = refusal("@id(\"a\") permit(principal, action, resource) when { context.attempt > 1 };");
    assert_eq!(hint, "the conditions of `a` do not hold for this call");
    let (reason, _) = refusal("@id(\"a\") permit(principal, action, resource) when { context.input.amont > 1 };");
    assert_eq!(
        reason,
        "rule `a` (line 1) does not fit the input of `pay.send`: attribute `input.amont` in context for Action::\"call\" not found"
    );
}

/// Whether a scope fits a principal with these roles.
type FitsPrincipal = fn(&str, &[&str]) -> bool;
/// Whether a scope fits a tool.
type FitsResource = fn(&str) -> bool;
/// Whether a condition holds for this input; `None` where it cannot be evaluated.
type Holds = fn(i64) -> Option<bool>;

/// Scopes of generated rules, in Cedar and as an independent table says what they fit.
const PRINCIPALS: [(&str, FitsPrincipal); 7] = [
    ("principal", |_, _| true),
    ("principal == Agent::\"a\"", |who, _| who == "agent:a"),
    ("principal == User::\"a\"", |who, _| who == "user:a"),
    ("principal is Agent", |who, _| who.starts_with("agent:")),
    ("principal in Role::\"r\"", |_, roles| roles.contains(&"r")),
    ("principal is User in Role::\"r\"", |who, roles| who.starts_with("user:") && roles.contains(&"r")),
    ("principal in Agent::\"a\"", |who, _| who == "agent:a"),
];
const RESOURCES: [(&str, FitsResource); 6] = [
    ("resource", |_| true),
    ("resource == Tool::\"s.x\"", |tool| tool == "s.x"),
    ("resource in Skill::\"s\"", |tool| tool.starts_with("s.")),
    ("resource is Tool in Skill::\"t\"", |tool| tool.starts_with("t.")),
    ("resource is Tool", |_| true),
    ("resource in Tool::\"t.x\"", |tool| tool == "t.x"),
];
const CONDITIONS: [(&str, Holds); 6] = [
    ("", |_| Some(true)),
    ("when { context.input.n < 3 }", |n| Some(n < 3)),
    ("unless { context.input.n == 1 }", |n| Some(n != 1)),
    ("when { context.input.n * 9223372036854775807 >= 0 }", |n| (n <= 1).then_some(true)),
    ("when { context.attempt == 1 }", |_| Some(true)),
    ("when { resource.risk == \"high\" }", |_| Some(false)),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The chosen rules say what all rules say: to Cedar's own authorizer, and to a table that knows no Cedar.
    #[test]
    fn choosing_rules_by_scope_changes_no_decision(
        rules in prop::collection::vec((any::<bool>(), 0..PRINCIPALS.len(), 0..RESOURCES.len(), 0..CONDITIONS.len()), 0..12),
        (agent, name, has_role) in (any::<bool>(), prop::sample::select(vec!["a", "b"]), any::<bool>()),
        which in prop::sample::select(vec!["s.x", "s.y", "t.x"]),
        n in 0_i64..5,
    ) {
        let text: String = rules.iter().enumerate().map(|(index, (permits, principal, resource, condition))| {
            let effect = if *permits { "permit" } else { "forbid" };
            let (principal, resource, condition) = (PRINCIPALS[*principal].0, RESOURCES[*resource].0, CONDITIONS[*condition].0);
            format!("@id(\"r{index}\") {effect}({principal}, action, {resource}) {condition};\n")
        }).collect();
        let principal = format!("{}:{name}", if agent { "agent" } else { "user" });
        let roles: &[&str] = if has_role { &["r"] } else { &[] };
        let tool = tool(which, Some(Risk::Low), &[("n", Ty::U8)]);
        let asked = Asked { rules: &text, principal: &principal, roles, tool, grant: grant("") };
        let input = json!({"n": n});
        let found = asked.answer(Some(&input));
        prop_assert_eq!(&found, &asked.answer(Some(&input)), "a decision is the same whenever it is asked for");
        prop_assert_eq!(&input, &json!({"n": n}));

        // The table.
        let fits = |rule: &(bool, usize, usize, usize)| PRINCIPALS[rule.1].1(&principal, roles) && RESOURCES[rule.2].1(which);
        let of = |wanted: &dyn Fn(bool, Option<bool>) -> bool| -> Vec<String> {
            let all = rules.iter().enumerate();
            let found = all.filter(|(_, rule)| fits(rule) && wanted(rule.0, CONDITIONS[rule.3].1(n)));
            found.map(|(index, _)| format!("r{index}")).collect()
        };
        let errors = of(&|_, holds| holds.is_none());
        let forbids = of(&|permits, holds| !permits && holds == Some(true));
        let permits = of(&|permits, holds| permits && holds == Some(true));
        let expected = match (errors.is_empty(), forbids.is_empty(), permits.is_empty()) {
            (false, ..) => format!("rule-error: {}", errors.join(",")),
            (_, false, _) => format!("forbidden: {}", forbids.join(",")),
            (.., false) => format!("permit: {}", permits.join(",")),
            _ => "not-permitted: ".to_owned(),
        };
        prop_assert_eq!(&found, &expected, "{}", &text);

        // Cedar over all rules.
        let court = asked.court();
        let all = PolicySet::from_policies(court.rules.rules.iter().map(|rule| rule.policy.clone())).unwrap();
        let step = "pay".parse().unwrap();
        let call = Call { step: &step, attempt: 1, tool: &asked.tool, grant: &asked.grant, input: Some(&input) };
        let case = court.cases.values().next().unwrap();
        let whole = Reads::of(&json!({"conditions": [{"body": {"Var": "context"}}]}));
        let context = court.context(&whole, &call).unwrap();
        let request = Request::new(court.uid.clone(), court.action.clone(), case.resource.clone(), context, None).unwrap();
        let plain = Authorizer::new().is_authorized(&request, &all, &court.entities);
        let denied = plain.decision() == Decision::Deny || plain.diagnostics().errors().next().is_some();
        prop_assert_eq!(denied, !found.starts_with("permit"), "{}", &text);
    }
}
