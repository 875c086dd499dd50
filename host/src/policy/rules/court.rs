//! Decides calls by rules: what is the same for all calls of a plan is made once, so that a decision looks at few rules.
//!
//! A rule's scope names principal, action and resource, and for one plan and one tool all three are fixed. So the rules whose scope fits
//! are chosen once for each tool; that the others cannot say anything is what a property test holds against Cedar's own answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, PolicySet, PrincipalConstraint, Request, ResourceConstraint, RestrictedExpression, Schema,
    ValidationMode, Validator,
};
use serde_json::Value;

use super::reads::Reads;
use super::{Rule, RuleSet, SCHEMA, input};
use crate::id::{Digest, StepId, ToolName};
use crate::policy::denial::{Refusal, Why};
use crate::policy::principal::Principal;
use crate::policy::{Access, Clocks, Grant, NetworkRule, Random};
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
    /// Of the rules whose scope fits, those that say the same for every call under one grant, and the others.
    constant: Rules,
    varying: Rules,
    /// Those of the latter that read nothing of the input.
    without_input: Rules,
    /// What the rules read whose scope fits.
    reads: Reads,
    /// What the constant ones said, by what the grant gives.
    known: Mutex<BTreeMap<[bool; 8], Answer>>,
    /// The ids of those that permit.
    permits: Vec<String>,
    /// Why a rule cannot be asked about this tool at all.
    unfit: Option<Refusal>,
}

/// Some rules, and what they read.
#[derive(Debug)]
struct Rules {
    policies: PolicySet,
    reads: Reads,
}

/// What some rules say of a call.
#[derive(Debug, Clone, Default)]
struct Answer {
    /// The rules that could not be evaluated, by index, and why.
    failed: Vec<(usize, String)>,
    /// The rules that forbid it, or else those that permit it.
    deciding: Vec<usize>,
    /// Whether they forbid it.
    forbids: bool,
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
        let constant = match self.constant(case, call) {
            Ok(answer) => answer,
            Err(refusal) => return Verdict::Denied(refusal),
        };
        let answers = if call.input.is_some() || !case.reads.reads_input() {
            self.ask(case, call, &case.varying)
        } else if case.permits.is_empty() {
            // Where none permits, none will.
            return Verdict::Denied(self.not_permitted(&call.tool.name, &[]));
        } else {
            // A rule that forbids without looking at the input does so whatever the input is.
            match self.ask(case, call, &case.without_input) {
                Ok(answer) if answer.failed.is_empty() && constant.failed.is_empty() => {
                    if !answer.forbids && !constant.forbids {
                        return Verdict::Later;
                    }
                    Ok(answer)
                }
                answer => answer,
            }
        };
        match answers {
            Ok(answer) => self.verdict(case, call, &constant, &answer),
            Err(refusal) => Verdict::Denied(refusal),
        }
    }

    /// What the rules say that read nothing which differs between two calls under one grant: asked once for each.
    fn constant(&self, case: &Case, call: &Call<'_>) -> Result<Answer, Refusal> {
        let key = granted(call.grant).map(|(_, is)| is);
        let mut known = case.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(&key) {
            return Ok(answer.clone());
        }
        let answer = self.ask(case, call, &case.constant)?;
        known.insert(key, answer.clone());
        Ok(answer)
    }

    /// What some rules say. That of one does not depend on the others, so what several sets say can be put together.
    fn ask(&self, case: &Case, call: &Call<'_>, set: &Rules) -> Result<Answer, Refusal> {
        if set.policies.is_empty() {
            return Ok(Answer::default());
        }
        let context = self.context(&set.reads, call)?;
        let request = Request::new(self.uid.clone(), self.action.clone(), case.resource.clone(), context, None);
        let request = request.map_err(|error| Refusal::broken(Vec::new(), error.to_string()))?;
        let response = self.authorizer.is_authorized(&request, &set.policies, &self.entities);
        let failed = response.diagnostics().errors().filter_map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => {
                Some((self.rules.index(error.policy_id())?, error.inner().to_string()))
            }
        });
        let deciding = response.diagnostics().reason().filter_map(|id| self.rules.index(id)).collect();
        let mut answer = Answer { failed: failed.collect(), deciding, forbids: false };
        answer.forbids = response.decision() == Decision::Deny && !answer.deciding.is_empty();
        Ok(answer)
    }

    /// The decision, from what all rules say.
    fn verdict(&self, case: &Case, call: &Call<'_>, one: &Answer, other: &Answer) -> Verdict<'_> {
        let rules = |of: &mut dyn Iterator<Item = usize>| -> Vec<&Rule> {
            let indices: BTreeSet<usize> = of.collect();
            indices.into_iter().filter_map(|index| self.rules.rules.get(index)).collect()
        };
        let failed = || one.failed.iter().chain(&other.failed);
        if let Some((first, said)) = failed().min() {
            let failed = rules(&mut failed().map(|(index, _)| *index));
            let id = self.rules.rules.get(*first).map_or("", |rule| rule.id.as_str());
            return Verdict::Denied(Refusal::broken(ids(&failed), format!("rule `{id}` cannot be evaluated: {said}")));
        }
        let forbids = one.forbids || other.forbids;
        let answers = [one, other].into_iter().filter(|answer| answer.forbids == forbids);
        let deciding = rules(&mut answers.flat_map(|answer| answer.deciding.iter().copied()));
        if deciding.is_empty() {
            return Verdict::Denied(self.not_permitted(&call.tool.name, &case.permits));
        }
        if !forbids {
            return Verdict::Permitted(deciding);
        }
        let said: Vec<String> = deciding
            .iter()
            .map(|rule| match &rule.reason {
                Some(reason) => format!("rule `{}` forbids it: {reason}", rule.id),
                None => format!("rule `{}` forbids it", rule.id),
            })
            .collect();
        let lines: Vec<String> = deciding.iter().map(|rule| format!("`{}` (line {})", rule.id, rule.line)).collect();
        let hint = format!("a rule that forbids always wins: see {} in the policy's rules", lines.join(", "));
        Verdict::Denied(Refusal::new(Why::Forbidden, ids(&deciding), said.join("; "), hint))
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
        let reason = format!("no rule permits `{principal}` to call `{tool}`");
        Refusal::new(Why::NotPermitted, Vec::new(), reason, hint)
    }

    fn context(&self, reads: &Reads, call: &Call<'_>) -> Result<Context, Refusal> {
        let mut pairs = Vec::with_capacity(4);
        let broken = |error: String| Refusal::broken(Vec::new(), error);
        let mut record = |name: &str, members: Vec<(String, RestrictedExpression)>| {
            let record = RestrictedExpression::new_record(members).map_err(|error| broken(error.to_string()))?;
            pairs.push((name.to_owned(), record));
            Ok::<_, Refusal>(())
        };
        if reads.plan {
            let members =
                [("name", self.plan_name.as_str()), ("digest", &self.plan_digest), ("step", call.step.as_str())];
            record("plan", members.map(|(name, value)| (name.to_owned(), text(value))).to_vec())?;
        }
        if reads.granted.any() {
            let read = granted(call.grant).into_iter().filter(|(name, _)| reads.granted.has(name));
            record("granted", read.map(|(name, is)| (name.to_owned(), bool(is))).collect())?;
        }
        if reads.attempt {
            pairs.push(("attempt".to_owned(), RestrictedExpression::new_long(i64::from(call.attempt))));
        }
        if let Some(value) = call.input.filter(|_| reads.reads_input()) {
            let record = input::record(value, &call.tool.params, (&reads.input, reads.weight.saturating_add(1))).map_err(|unfit| {
                let reason = format!("the input cannot be put before the rules: {}", unfit.0);
                let hint = "docs/policy-format.md says which values rules can hold; a rule that does not read this one is not hindered by it";
                Refusal::new(Why::RuleError, Vec::new(), reason, hint.to_owned())
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
        let read_by = |rules: &[&Rule]| {
            let mut reads = Reads::default();
            rules.iter().for_each(|rule| reads.extend(&rule.reads));
            reads
        };
        let reads = read_by(&fitting);
        let set = |belongs: &dyn Fn(&Reads) -> bool| {
            let rules: Vec<&Rule> = fitting.iter().copied().filter(|rule| belongs(&rule.reads)).collect();
            let policies = PolicySet::from_policies(rules.iter().map(|rule| rule.policy.clone()));
            policies.map(|policies| Rules { policies, reads: read_by(&rules) }).map_err(|error| error.to_string())
        };
        let unfit = if reads.reads_input() { check_input(&fitting, tool)? } else { None };
        Ok(Self {
            constant: set(&|reads| !reads.varies())?,
            varying: set(&Reads::varies)?,
            without_input: set(&|reads| reads.varies() && !reads.reads_input())?,
            known: Mutex::default(),
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
    let reason = format!("rule `{id}` (line {line}) does not fit the input of `{}`: {said}", tool.name);
    let hint = format!(
        "name the tools that the rule is for in its scope (`resource == Tool::\"…\"`), or test first with `context.input has …`; `host inspect {}` shows the parameters",
        tool.name.skill()
    );
    Ok(Some(Refusal::new(Why::RuleError, vec![id.to_owned()], reason, hint)))
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
fn granted(grant: &Grant) -> [(&'static str, bool); 8] {
    let any = !grant.filesystem.is_empty();
    let writes = grant.filesystem.iter().any(|preopen| preopen.access == Access::ReadWrite);
    [
        ("filesystem_read", any),
        ("filesystem_write", writes),
        ("network", !grant.network.is_empty()),
        ("network_write", grant.network.iter().any(NetworkRule::may_write)),
        ("clocks_real", grant.clocks == Clocks::Real),
        ("random_real", grant.random == Random::Real),
        ("env", !grant.env.is_empty()),
        ("config", !grant.config.is_empty()),
    ]
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
