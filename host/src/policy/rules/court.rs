//! Decides calls by rules: what is the same for all calls of a plan is made once, so that a decision looks at few rules.
//!
//! A rule's scope names principal, action and resource, and for one plan and one tool all three are fixed. So the rules whose scope fits
//! are chosen once for each tool; that the others cannot say anything is what a property test holds against Cedar's own answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, PolicySet, PrincipalConstraint, Request, ResourceConstraint, RestrictedExpression, Schema,
    ValidationMode, Validator,
};
use serde_json::Value;

use super::reads::Reads;
use super::{Rule, RuleSet, SCHEMA, input};
use crate::id::{Digest, StepId, ToolName};
use crate::policy::decide::{Refusal, Why};
use crate::policy::principal::Principal;
use crate::policy::{Access, Clocks, Grant, Random};
use crate::skill::{Risk, Skill, Tool};

/// The rules of a policy, ready for the calls of one plan by one principal.
#[derive(Debug)]
pub(crate) struct Court {
    rules: Arc<RuleSet>,
    principal: Principal,
    uid: EntityUid,
    action: EntityUid,
    entities: Entities,
    plan_name: String,
    plan_digest: String,
    cases: BTreeMap<ToolName, Case>,
    authorizer: Authorizer,
}

/// What is known of all calls of one tool.
#[derive(Debug)]
struct Case {
    resource: EntityUid,
    /// The rules whose scope fits.
    fitting: PolicySet,
    /// Those of them that read nothing of the input.
    without_input: PolicySet,
    reads: Reads,
    /// The ids of those that permit.
    permits: Vec<String>,
    /// Why a rule cannot be asked about this tool at all.
    unfit: Option<Refusal>,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) step: &'a StepId,
    pub(crate) attempt: u32,
    pub(crate) tool: &'a Tool,
    pub(crate) grant: &'a Grant,
    /// `None` as long as it is not known.
    pub(crate) input: Option<&'a Value>,
}

/// What the rules say of a call.
#[derive(Debug)]
pub(crate) enum Verdict<'c> {
    /// These rules permit it, and none forbids it.
    Permitted(Vec<&'c Rule>),
    /// It may not be made.
    Denied(Refusal),
    /// It depends on the input, which is not known yet.
    Later,
}

impl Court {
    /// Gets the rules ready for the tools that a plan calls.
    pub(crate) fn new<'a>(
        rules: &Arc<RuleSet>,
        principal: &Principal,
        roles: &[String],
        plan: (&str, Digest),
        tools: impl IntoIterator<Item = (&'a Tool, &'a Skill)>,
    ) -> Result<Self, String> {
        let uid = entity_uid(principal.kind().entity_type(), principal.name())?;
        let action = entity_uid("Action", "call")?;
        let roles = roles.iter().map(|role| entity_uid("Role", role)).collect::<Result<Vec<_>, _>>()?;
        let name = [("name".to_owned(), text(principal.name()))];
        let mut entities = vec![entity(uid.clone(), name, &roles)?];
        let mut skills: BTreeMap<&str, EntityUid> = BTreeMap::new();
        let mut cases = BTreeMap::new();
        for (tool, skill) in tools {
            if cases.contains_key(&tool.name) {
                continue;
            }
            let skill_name = tool.name.skill().as_str();
            if !skills.contains_key(skill_name) {
                let uid = entity_uid("Skill", skill_name)?;
                entities.push(entity(uid.clone(), [], &[])?);
                skills.insert(skill_name, uid);
            }
            let parents: Vec<EntityUid> = skills.get(skill_name).cloned().into_iter().collect();
            let resource = entity_uid("Tool", &tool.name.to_string())?;
            entities.push(entity(resource.clone(), attributes(tool, skill), &parents)?);
            let case = Case::new(rules, (&uid, &roles), &action, (resource, &parents), tool)?;
            cases.insert(tool.name.clone(), case);
        }
        let entities = Entities::from_entities(entities, None).map_err(|error| error.to_string())?;
        Ok(Self {
            rules: Arc::clone(rules),
            principal: principal.clone(),
            uid,
            action,
            entities,
            plan_name: plan.0.to_owned(),
            plan_digest: plan.1.to_string(),
            cases,
            authorizer: Authorizer::new(),
        })
    }

    /// Whether the rules want to see the input of this tool.
    pub(crate) fn reads_input(&self, tool: &ToolName) -> bool {
        self.cases.get(tool).is_some_and(|case| case.reads.reads_input())
    }

    /// The decision on a call: pure, and the same whenever it is asked for.
    pub(crate) fn decide(&self, call: &Call<'_>) -> Verdict<'_> {
        let Some(case) = self.cases.get(&call.tool.name) else {
            return Verdict::Denied(self.not_permitted(&call.tool.name, &[]));
        };
        if let Some(unfit) = &case.unfit {
            return Verdict::Denied(unfit.clone());
        }
        if call.input.is_some() || !case.reads.reads_input() {
            return self.ask(case, call, &case.fitting).unwrap_or_else(|denied| Verdict::Denied(*denied));
        }
        // A rule that forbids without looking at the input does so whatever the input is; and where none permits, none will.
        if case.permits.is_empty() {
            return Verdict::Denied(self.not_permitted(&call.tool.name, &[]));
        }
        match self.ask(case, call, &case.without_input) {
            Err(denied) => Verdict::Denied(*denied),
            Ok(Verdict::Denied(denied)) if denied.why != Why::NotPermitted => Verdict::Denied(denied),
            Ok(_) => Verdict::Later,
        }
    }

    fn ask(&self, case: &Case, call: &Call<'_>, rules: &PolicySet) -> Result<Verdict<'_>, Box<Refusal>> {
        let context = self.context(case, call).map_err(Box::new)?;
        let request = Request::new(self.uid.clone(), self.action.clone(), case.resource.clone(), context, None);
        let request = request.map_err(|error| Box::new(Refusal::broken(Vec::new(), error.to_string())))?;
        let response = self.authorizer.is_authorized(&request, rules, &self.entities);
        let errors = || {
            response.diagnostics().errors().map(|error| match error {
                AuthorizationError::PolicyEvaluationError(error) => error,
            })
        };
        let failed = self.rules.of_ids(errors().map(|error| error.policy_id()));
        if let Some(rule) = failed.first() {
            let said = errors().find(|error| AsRef::<str>::as_ref(error.policy_id()) == rule.id);
            let said = said.map(|error| error.inner().to_string());
            let reason = format!("rule `{}` cannot be evaluated: {}", rule.id, said.unwrap_or_default());
            return Ok(Verdict::Denied(Refusal::broken(ids(&failed), reason)));
        }
        let deciding = self.rules.of_ids(response.diagnostics().reason());
        if response.decision() == Decision::Allow {
            return Ok(Verdict::Permitted(deciding));
        }
        if deciding.is_empty() {
            return Ok(Verdict::Denied(self.not_permitted(&call.tool.name, &case.permits)));
        }
        let said: Vec<String> = deciding
            .iter()
            .map(|rule| match &rule.reason {
                Some(reason) => format!("rule `{}` forbids it: {reason}", rule.id),
                None => format!("rule `{}` forbids it", rule.id),
            })
            .collect();
        let lines: Vec<String> = deciding.iter().map(|rule| format!("`{}` (line {})", rule.id, rule.line)).collect();
        Ok(Verdict::Denied(Refusal {
            why: Why::Forbidden,
            rules: ids(&deciding),
            reason: said.join("; "),
            hint: format!("a rule that forbids always wins: see {} in the policy's rules", lines.join(", ")),
            needs_approval: Vec::new(),
            missing: Vec::new(),
        }))
    }

    fn not_permitted(&self, tool: &ToolName, permits: &[String]) -> Refusal {
        let principal = &self.principal;
        let hint = if permits.is_empty() {
            let (kind, name) = (principal.kind().entity_type(), principal.name());
            format!(
                "no rule's scope fits; one that does is `@id(\"…\") permit(principal == {kind}::\"{name}\", action == Action::\"call\", resource == Tool::\"{tool}\");`"
            )
        } else {
            let ids: Vec<String> = permits.iter().take(5).map(|id| format!("`{id}`")).collect();
            format!("the conditions of {} do not hold for this call", ids.join(", "))
        };
        Refusal {
            why: Why::NotPermitted,
            rules: Vec::new(),
            reason: format!("no rule permits `{principal}` to call `{tool}`"),
            hint,
            needs_approval: Vec::new(),
            missing: Vec::new(),
        }
    }

    fn context(&self, case: &Case, call: &Call<'_>) -> Result<Context, Refusal> {
        let mut pairs = Vec::with_capacity(4);
        let broken = |error: String| Refusal::broken(Vec::new(), error);
        let mut record = |name: &str, members: Vec<(String, RestrictedExpression)>| {
            let record = RestrictedExpression::new_record(members).map_err(|error| broken(error.to_string()))?;
            pairs.push((name.to_owned(), record));
            Ok::<_, Refusal>(())
        };
        if case.reads.plan {
            let members = [("name", &self.plan_name[..]), ("digest", &self.plan_digest), ("step", call.step.as_str())];
            record("plan", members.map(|(name, value)| (name.to_owned(), text(value))).to_vec())?;
        }
        if case.reads.granted {
            record("granted", granted(call.grant).map(|(name, is)| (name.to_owned(), bool(is))).to_vec())?;
        }
        if case.reads.attempt {
            pairs.push(("attempt".to_owned(), RestrictedExpression::new_long(i64::from(call.attempt))));
        }
        if let Some(value) = call.input.filter(|_| case.reads.reads_input()) {
            let record = input::record(value, &call.tool.params, &case.reads.input).map_err(|unfit| Refusal {
                why: Why::RuleError,
                rules: Vec::new(),
                reason: format!("the input cannot be put before the rules: {}", unfit.0),
                hint: "docs/policy-format.md says which values rules can hold; a rule that does not read this one is not hindered by it"
                    .to_owned(),
                needs_approval: Vec::new(), missing: Vec::new(),
            })?;
            pairs.push(("input".to_owned(), record));
        }
        Context::from_pairs(pairs).map_err(|error| broken(error.to_string()))
    }
}

impl Case {
    fn new(
        rules: &RuleSet,
        principal: (&EntityUid, &[EntityUid]),
        action: &EntityUid,
        (resource, skill): (EntityUid, &[EntityUid]),
        tool: &Tool,
    ) -> Result<Self, String> {
        let fits = |rule: &&Rule| {
            fits_principal(&rule.policy.principal_constraint(), principal)
                && fits_action(&rule.policy.action_constraint(), action)
                && fits_resource(&rule.policy.resource_constraint(), (&resource, skill))
        };
        let fitting: Vec<&Rule> = rules.rules.iter().filter(fits).collect();
        let mut reads = Reads::default();
        fitting.iter().for_each(|rule| reads.extend(&rule.reads));
        let set = |rules: &mut dyn Iterator<Item = &&Rule>| {
            PolicySet::from_policies(rules.map(|rule| rule.policy.clone())).map_err(|error| error.to_string())
        };
        let unfit = if reads.reads_input() { check_input(&fitting, tool)? } else { None };
        Ok(Self {
            fitting: set(&mut fitting.iter())?,
            without_input: set(&mut fitting.iter().filter(|rule| !rule.reads.reads_input()))?,
            reads,
            permits: fitting.iter().filter(|rule| rule.permits).map(|rule| rule.id.clone()).collect(),
            unfit,
            resource,
        })
    }
}

/// Holds what rules do with the input against the parameters of a tool.
fn check_input(fitting: &[&Rule], tool: &Tool) -> Result<Option<Refusal>, String> {
    let typed = SCHEMA.replacen("input: {}", &format!("input: {{{}}}", input::schema(&tool.params)), 1);
    let (schema, _) = Schema::from_cedarschema_str(&typed).map_err(|error| error.to_string())?;
    let reading = fitting.iter().filter(|rule| rule.reads.reads_input());
    let set = PolicySet::from_policies(reading.map(|rule| rule.policy.clone())).map_err(|error| error.to_string())?;
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    let Some(error) = result.validation_errors().next() else { return Ok(None) };
    let rule = fitting.iter().find(|rule| rule.id == AsRef::<str>::as_ref(error.policy_id()));
    let (id, line) = rule.map_or(("", 0), |rule| (rule.id.as_str(), rule.line));
    let said = error.to_string();
    let said = said.split_once("`, ").map_or(said.as_str(), |(_, rest)| rest).trim_end_matches('.');
    Ok(Some(Refusal {
        why: Why::RuleError,
        rules: vec![id.to_owned()],
        reason: format!("rule `{id}` (line {line}) does not fit the input of `{}`: {said}", tool.name),
        hint: format!(
            "name the tools that the rule is for in its scope (`resource == Tool::\"…\"`), or test first with `context.input has …`; `host inspect {}` shows the parameters",
            tool.name.skill()
        ),
        needs_approval: Vec::new(),
        missing: Vec::new(),
    }))
}

fn fits_principal(constraint: &PrincipalConstraint, (uid, parents): (&EntityUid, &[EntityUid])) -> bool {
    let within = |other: &EntityUid| uid == other || parents.contains(other);
    match constraint {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Eq(other) => uid == other,
        PrincipalConstraint::In(other) => within(other),
        PrincipalConstraint::Is(kind) => uid.type_name() == kind,
        PrincipalConstraint::IsIn(kind, other) => uid.type_name() == kind && within(other),
    }
}

fn fits_resource(constraint: &ResourceConstraint, (uid, parents): (&EntityUid, &[EntityUid])) -> bool {
    let within = |other: &EntityUid| uid == other || parents.contains(other);
    match constraint {
        ResourceConstraint::Any => true,
        ResourceConstraint::Eq(other) => uid == other,
        ResourceConstraint::In(other) => within(other),
        ResourceConstraint::Is(kind) => uid.type_name() == kind,
        ResourceConstraint::IsIn(kind, other) => uid.type_name() == kind && within(other),
    }
}

fn fits_action(constraint: &ActionConstraint, action: &EntityUid) -> bool {
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(other) => action == other,
        ActionConstraint::In(others) => others.contains(action),
    }
}

/// What a grant gives, as `context.granted` names it.
fn granted(grant: &Grant) -> [(&'static str, bool); 7] {
    let any = !grant.filesystem.is_empty();
    let writes = grant.filesystem.iter().any(|preopen| preopen.access == Access::ReadWrite);
    let (network, network_write) = network(grant);
    [
        ("filesystem_read", any),
        ("filesystem_write", writes),
        ("network", network),
        ("network_write", network_write),
        ("clocks_real", grant.clocks == Clocks::Real),
        ("random_real", grant.random == Random::Real),
        ("env", !grant.env.is_empty()),
    ]
}

/// Whether a grant gives access to the network, and to methods that change something there. No grant has either in this version.
const fn network(_: &Grant) -> (bool, bool) {
    (false, false)
}

/// The attributes of a tool's entity.
fn attributes(tool: &Tool, skill: &Skill) -> [(String, RestrictedExpression); 10] {
    let annotations = &tool.annotations;
    let risk = annotations.risk.unwrap_or(Risk::High);
    let is_outside = |name: &str| name.starts_with("wasi:http/") || name.starts_with("wasi:sockets/");
    [
        ("skill", text(tool.name.skill().as_str())),
        ("name", text(&tool.name.to_string())),
        ("digest", text(&skill.digest.to_string())),
        ("risk", text(risk.name())),
        ("risk_level", RestrictedExpression::new_long(risk.level())),
        ("declared", bool(annotations.risk.is_some())),
        ("read_only", bool(annotations.read_only)),
        ("idempotent", bool(annotations.idempotent)),
        ("destructive", bool(annotations.destructive)),
        ("open_world", bool(skill.imports.iter().any(|import| is_outside(&import.name)))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn bool(value: bool) -> RestrictedExpression {
    RestrictedExpression::new_bool(value)
}

fn ids(rules: &[&Rule]) -> Vec<String> {
    rules.iter().map(|rule| rule.id.clone()).collect()
}

fn entity_uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind: EntityTypeName = kind.parse().map_err(|error: cedar_policy::ParseErrors| error.to_string())?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn entity(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (String, RestrictedExpression)>,
    parents: &[EntityUid],
) -> Result<Entity, String> {
    let attributes = attributes.into_iter().collect();
    Entity::new(uid, attributes, parents.iter().cloned().collect()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
