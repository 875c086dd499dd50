//! A policy of many grants and rules, and a plan's worth of steps to ask it about: what a policy check costs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use skillhost::id::{Digest, StepId, ToolName};
use skillhost::limits::LimitsDocument;
use skillhost::policy::{Caller, Demands, Policy, Principal, StepRequest, authorize};
use skillhost::skill::{Annotations, Export, Metadata, Risk, Skill, Tool, ToolResult};
use skillhost::types::Ty;

/// Grants of the policy; the steps call tools of the last of them.
pub const GRANTS: usize = 100;
/// Rules of the policy.
pub const RULES: usize = 100;
/// Of these, rules that are about every tool.
const GENERAL: usize = 4;
/// Tools that the plan calls.
const TOOLS: usize = 10;

/// A policy and a plan's steps.
pub struct Check {
    /// The rules as text.
    pub rules: String,
    policy: Policy,
    principal: Principal,
    limits: LimitsDocument,
    skills: Vec<Skill>,
    steps: Vec<(StepId, ToolName, usize)>,
}

impl Check {
    /// So many steps, each with an input that a rule reads.
    pub fn new(steps: usize) -> Self {
        let mut text =
            "schema = \"skillhost.policy/1\"\nrules = \"access.cedar\"\n[roles]\n\"agent:a\" = [\"r\"]\n".to_owned();
        for grant in 0..GRANTS {
            writeln!(text, "[[grant]]\nskills = [\"skill-{grant}\"]\ntools = [\"*\"]").unwrap();
        }
        let rules = rules();
        let skills = (GRANTS - TOOLS..GRANTS).map(skill).collect();
        let steps = (0..steps).map(|step| {
            let tool = step % TOOLS;
            let name = format!("skill-{}.pay", GRANTS - TOOLS + tool);
            (format!("step-{step}").parse().unwrap(), name.parse().unwrap(), tool)
        });
        Self {
            policy: Policy::parse_with_rules(&text, &rules).unwrap(),
            principal: "agent:a".parse().unwrap(),
            limits: LimitsDocument::default(),
            steps: steps.collect(),
            skills,
            rules,
        }
    }

    /// Asks the policy for all steps, as a run does before its first one. All are allowed.
    pub fn run(&self) {
        let input = |_: &StepId| Some(input());
        let caller = Caller {
            principal: &self.principal,
            plan_name: "bench",
            plan: Digest::of(b"plan"),
            has_approver: false,
            input: &input,
            catalog: &skillhost::skill::Catalog::new(),
            compensations: &[],
        };
        let requests = self.steps.iter().map(|(step, tool, index)| StepRequest {
            step,
            tool,
            limits: &self.limits,
            skill: &self.skills[*index],
            demands: Demands::default(),
        });
        let plan = authorize(&self.policy, &caller, requests).unwrap();
        assert_eq!(plan.steps().len(), self.steps.len());
    }
}

/// What each step's tool gets.
pub fn input() -> Value {
    json!({ "amount": 5, "to": "ann", "note": "for the books" })
}

/// The rules: one that permits for each skill, others about the same skills, and some about every tool.
fn rules() -> String {
    let mut text = String::new();
    for rule in 0..RULES - GENERAL {
        let skill = GRANTS - 1 - rule;
        let effect = if rule < RULES * 2 / 3 {
            format!(
                "permit(principal in Role::\"r\", action == Action::\"call\", resource == Tool::\"skill-{skill}.pay\") when {{ context.input.amount < 500 }};"
            )
        } else {
            format!("forbid(principal is User, action, resource in Skill::\"skill-{skill}\");")
        };
        writeln!(text, "@id(\"r{rule}\") {effect}").unwrap();
    }
    for rule in 0..GENERAL {
        let condition = "context.granted.network_write && resource.risk_level > 2";
        writeln!(text, "@id(\"g{rule}\") forbid(principal, action, resource) when {{ {condition} }};").unwrap();
    }
    text
}

fn skill(index: usize) -> Skill {
    let name: ToolName = format!("skill-{index}.pay").parse().unwrap();
    let params = [("amount", Ty::U32), ("to", Ty::String), ("note", Ty::Option(Box::new(Ty::String)))];
    let tool = Tool {
        export: Export::Function { interface: None, function: "pay".to_owned() },
        params: params.map(|(name, ty)| (name.to_owned(), ty)).to_vec(),
        result: ToolResult { ok: None, err: None, fallible: false },
        annotations: Annotations { risk: Some(Risk::Low), ..Annotations::default() },
        name: name.clone(),
    };
    Skill {
        name: name.skill().clone(),
        digest: Digest::of(b"component"),
        size_bytes: 0,
        tools: BTreeMap::from([("pay".to_owned(), Arc::new(tool))]),
        not_tools: Vec::new(),
        imports: Vec::new(),
        metadata: Metadata::default(),
    }
}

/// The same question to plain Cedar, which looks at every rule; entities and request are made beforehand.
pub struct Plain {
    request: cedar_policy::Request,
    entities: cedar_policy::Entities,
    rules: cedar_policy::PolicySet,
    authorizer: cedar_policy::Authorizer,
}

impl Plain {
    /// Cedar with the rules of `check`.
    pub fn new(check: &Check) -> Self {
        let last = GRANTS - 1;
        let entities = json!([
            { "uid": { "type": "Agent", "id": "a" }, "attrs": { "name": "a" }, "parents": [{ "type": "Role", "id": "r" }] },
            { "uid": { "type": "Tool", "id": format!("skill-{last}.pay") }, "attrs": { "risk_level": 1 },
              "parents": [{ "type": "Skill", "id": format!("skill-{last}") }] },
        ]);
        let context = json!({ "input": input(), "granted": { "network_write": false } });
        let request = cedar_policy::Request::new(
            "Agent::\"a\"".parse().unwrap(),
            "Action::\"call\"".parse().unwrap(),
            format!("Tool::\"skill-{last}.pay\"").parse().unwrap(),
            cedar_policy::Context::from_json_value(context, None).unwrap(),
            None,
        );
        Self {
            request: request.unwrap(),
            entities: cedar_policy::Entities::from_json_value(entities, None).unwrap(),
            rules: check.rules.parse().unwrap(),
            authorizer: cedar_policy::Authorizer::new(),
        }
    }

    /// Decides once.
    pub fn run(&self) {
        let response = self.authorizer.is_authorized(&self.request, &self.rules, &self.entities);
        assert_eq!(response.decision(), cedar_policy::Decision::Allow);
    }
}
