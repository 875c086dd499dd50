//! The decision for a step: the first grant that names its tool applies alone; where the policy has rules, one has to permit the call and
//! none may forbid it. Decides for all steps before the first runs, except where rules read an input that only an earlier step gives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::id::{Digest, StepId, ToolName};
use crate::limits::{LimitsDocument, StepLimits};
use crate::policy::approval::needed_by;
use crate::policy::ceiling::Bench;
use crate::policy::denial::Refusal;
use crate::policy::needs;
use crate::policy::rules::court::{Call, Court, Verdict};
use crate::policy::{Approval, Delegation, Denial, Exhausted, Grant, Pattern, Policy, Principal, RunBudget, Why};
use crate::skill::{Catalog, Need, Skill, Tool};

/// What the policy says of one tool.
#[derive(Debug, Clone, Copy)]
pub enum Decision<'a> {
    /// Allowed under this grant.
    Allow {
        /// Its index in the document.
        index: usize,
        /// The grant.
        grant: &'a Arc<Grant>,
    },
    /// Not allowed.
    Deny {
        /// Why.
        reason: DenyReason,
    },
}

/// Why a tool is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyReason {
    /// There is no policy document.
    NoDocument,
    /// No grant names the skill.
    SkillNotNamed,
    /// Grants name the skill, but none of them the tool.
    ToolNotNamed {
        /// The index of the first grant that names the skill.
        index: usize,
    },
}

/// What the policy is asked for one step.
#[derive(Debug, Clone, Copy)]
pub struct StepRequest<'a> {
    /// The step.
    pub step: &'a StepId,
    /// Its tool.
    pub tool: &'a ToolName,
    /// The step's own `limits`.
    pub limits: &'a LimitsDocument,
    /// The skill that has the tool.
    pub skill: &'a Skill,
    /// What it asks for beyond one call of the tool.
    pub demands: Demands<'a>,
}

/// What a step asks for beyond one call of its tool.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demands<'a> {
    /// Attempts, the first included, where it may be tried again.
    pub attempts: Option<u32>,
    /// Whether a failed run is rolled back, and neither does the step say how it is undone nor that it need not be.
    pub must_leave_nothing: bool,
    /// The call that undoes it.
    pub compensation: Option<CallRequest<'a>>,
}

/// What the policy is asked for a call that undoes something.
#[derive(Debug, Clone, Copy)]
pub struct CallRequest<'a> {
    /// The tool.
    pub tool: &'a ToolName,
    /// The skill that has the tool.
    pub skill: &'a Skill,
    /// Its input, where that is known before anything runs.
    pub input: Option<&'a Value>,
}

/// Who asks, and for which plan.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// In whose name the plan runs.
    pub principal: &'a Principal,
    /// The plan's name.
    pub plan_name: &'a str,
    /// The plan's digest.
    pub plan: Digest,
    /// Whether somebody can be asked for approval. Where nobody can, a step that needs it is denied.
    pub has_approver: bool,
    /// The input of a step where no earlier step has to run for it. Called only where rules read it.
    pub input: &'a dyn Fn(&StepId) -> Option<Value>,
    /// The skills at hand: those of the plan, and those that a grant's `calls` names.
    pub catalog: &'a Catalog,
    /// The calls that end a rollback of the plan. Denials name them as the steps `compensate-0`, `compensate-1` and so on.
    pub compensations: &'a [CallRequest<'a>],
}

impl std::fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("principal", self.principal).finish_non_exhaustive()
    }
}

/// What permits a step, beside its grant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permission {
    /// The ids of the rules that permit it; empty where the policy has none.
    pub rules: Vec<String>,
    /// What those rules say in their `@reason`.
    pub reasons: Vec<String>,
    /// Why approval is needed; empty where it is not.
    pub needs_approval: Vec<String>,
}

/// A valid plan whose every step is allowed. Made by [`authorize`] and [`authorize_logged`] alone.
#[derive(Debug, Clone)]
pub struct AuthorizedPlan {
    steps: Vec<AuthorizedStep>,
    by_id: BTreeMap<StepId, usize>,
    compensations: Vec<AuthorizedStep>,
    budget: RunBudget,
    is_log_only: bool,
    court: Option<Arc<Bench>>,
    has_approver: bool,
    delegation: Arc<Delegation>,
}

/// A step with what it was granted. Made by [`authorize`] alone.
#[derive(Debug, Clone)]
#[expect(
    clippy::manual_non_exhaustive,
    reason = "`non_exhaustive` would not keep the other modules of this crate from making one"
)]
pub struct AuthorizedStep {
    /// The step.
    pub step: StepId,
    /// The index of the grant.
    pub grant_index: usize,
    /// The grant.
    pub grant: Arc<Grant>,
    /// The limits that apply: the grant's, lowered by the step's own.
    pub limits: StepLimits,
    /// What permits it; `None` where that depends on an input that an earlier step gives.
    pub permission: Option<Permission>,
    /// What the call that undoes the step was granted.
    pub compensation: Option<Box<Self>>,
    /// Keeps others from making one.
    #[expect(dead_code, reason = "a private field is what makes the type's construction private")]
    sealed: (),
}

impl AuthorizedPlan {
    /// The steps that call a tool, in the plan's order of execution.
    #[must_use]
    pub fn steps(&self) -> &[AuthorizedStep] {
        &self.steps
    }

    /// What a step was granted; `None` where it calls no tool.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&AuthorizedStep> {
        self.by_id.get(id).and_then(|&index| self.steps.get(index))
    }

    /// What the calls that end a rollback were granted, in their order.
    #[must_use]
    pub fn compensations(&self) -> &[AuthorizedStep] {
        &self.compensations
    }

    /// All that may be called: the steps, what undoes them, and what ends a rollback.
    pub fn calls(&self) -> impl Iterator<Item = &AuthorizedStep> {
        let of_steps = self.steps.iter().flat_map(|step| std::iter::once(step).chain(step.compensation.as_deref()));
        of_steps.chain(&self.compensations)
    }

    /// The grants of all that may be called, by the plan or from inside of its steps.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.calls().map(|call| &*call.grant).chain(self.delegation.grants().map(|grant| &**grant))
    }

    /// What may be called from inside of steps.
    #[must_use]
    pub const fn delegation(&self) -> &Arc<Delegation> {
        &self.delegation
    }

    /// What all steps together may use.
    #[must_use]
    pub const fn budget(&self) -> &RunBudget {
        &self.budget
    }

    /// Whether denials are recorded and stop nothing.
    #[must_use]
    pub const fn is_log_only(&self) -> bool {
        self.is_log_only
    }

    /// What permits a step whose input is known by now: what was decided before, or the decision of the rules on this input.
    ///
    /// # Errors
    ///
    /// The denial.
    pub fn permission(
        &self,
        authorized: &AuthorizedStep,
        step: &StepId,
        attempt: u32,
        tool: &Tool,
        input: &Value,
    ) -> Result<Permission, Box<Denial>> {
        if let Some(permission) = &authorized.permission {
            return Ok(permission.clone());
        }
        let AuthorizedStep { grant_index, grant, .. } = authorized;
        let call = Call { step, attempt, tool, grant, input: Some(input) };
        let permission = permit(self.court.as_deref(), *grant_index, &call, self.has_approver);
        let permission = permission.map_err(|refusal| refusal.of_step(step, &tool.name))?;
        // Rules that have the input never put a call off.
        permission.ok_or_else(|| {
            let refusal = Refusal::broken(Vec::new(), "the rules came to no decision".to_owned());
            refusal.of_step(step, &tool.name)
        })
    }
}

impl Pattern {
    /// Whether `name` is named.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

impl Grant {
    fn names_skill(&self, tool: &ToolName) -> bool {
        self.skills.iter().any(|pattern| pattern.matches(tool.skill().as_str()))
    }

    fn names_tool(&self, tool: &ToolName) -> bool {
        self.tools.iter().any(|pattern| pattern.matches(tool.function()))
    }
}

/// The policy's decision for `tool`. Looks at each grant once, in the document's order.
#[must_use]
pub fn decide<'p>(policy: &'p Policy, tool: &ToolName) -> Decision<'p> {
    let mut named = None;
    for (index, grant) in policy.grants.iter().enumerate() {
        if grant.names_skill(tool) {
            if grant.names_tool(tool) {
                return Decision::Allow { index, grant };
            }
            named = named.or(Some(index));
        }
    }
    let reason = match named {
        Some(index) => DenyReason::ToolNotNamed { index },
        None if policy.has_document() => DenyReason::SkillNotNamed,
        None => DenyReason::NoDocument,
    };
    Decision::Deny { reason }
}

impl DenyReason {
    /// The reason in words.
    #[must_use]
    pub fn text(self, policy: &Policy, tool: &ToolName) -> String {
        match self {
            Self::NoDocument => "there is no policy, so nothing is granted".to_owned(),
            Self::SkillNotNamed => format!("no grant of the policy names the skill `{}`", tool.skill()),
            Self::ToolNotNamed { .. } => {
                let grants = policy.grants.iter().enumerate().filter(|(_, grant)| grant.names_skill(tool));
                let named: Vec<String> = grants
                    .take(3)
                    .map(|(index, grant)| {
                        let tools: Vec<String> = grant.tools.iter().map(|pattern| format!("`{pattern}`")).collect();
                        format!("grant {index} names {}", tools.join(", "))
                    })
                    .collect();
                let (skill, function) = (tool.skill(), tool.function());
                format!("the policy grants tools of the skill `{skill}`, but not `{function}` ({})", named.join("; "))
            }
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(self, tool: &ToolName) -> String {
        let (skill, function) = (tool.skill(), tool.function());
        let add = format!("[[grant]] with `skills = [\"{skill}\"]` and `tools = [\"{function}\"]`");
        match self {
            Self::NoDocument => format!("give a policy with `--policy FILE`; it needs a {add}"),
            Self::SkillNotNamed => format!("if the step shall run, add to the policy a {add}"),
            Self::ToolNotNamed { index } => {
                format!("if the step shall run, add `{function}` to the `tools` of grant {index}, or add a {add}")
            }
        }
    }
}

/// Asks the policy for every step, in the plan's order: does a grant name its tool, does that grant give what the tool needs, is the step
/// within the run's budget of steps.
///
/// # Errors
///
/// All denials, in the plan's order. Nothing is authorized where there is one.
pub fn authorize<'a>(
    policy: &Policy,
    caller: &Caller<'_>,
    steps: impl IntoIterator<Item = StepRequest<'a>>,
) -> Result<AuthorizedPlan, Vec<Denial>> {
    let steps: Vec<StepRequest<'a>> = steps.into_iter().collect();
    let (plan, denials) = judge(policy, caller, &steps, false);
    if denials.is_empty() { Ok(plan) } else { Err(denials) }
}

/// The same where denials shall be seen and stop nothing: gives what would have been denied beside the plan. A step that no grant names
/// runs under a grant of nothing, one that lacks what it needs under what there is.
///
/// # Errors
///
/// The denials that are never lifted: those of a budget, those of the operator's policy above this one, and that of a component that imports a network or sockets and has none, since
/// without them there is nothing to link it with.
pub fn authorize_logged<'a>(
    policy: &Policy,
    caller: &Caller<'_>,
    steps: impl IntoIterator<Item = StepRequest<'a>>,
) -> Result<(AuthorizedPlan, Vec<Denial>), Vec<Denial>> {
    let steps: Vec<StepRequest<'a>> = steps.into_iter().collect();
    let (plan, denials) = judge(policy, caller, &steps, true);
    let cannot_be_linked =
        |skill: &Skill, grant: &Grant| skill.imports.iter().any(|import| !grant.provides(import.needs));
    let mut unlinkable: BTreeSet<(&StepId, &ToolName)> = BTreeSet::new();
    for (request, step) in steps.iter().zip(&plan.steps) {
        if cannot_be_linked(request.skill, &step.grant) {
            unlinkable.insert((request.step, request.tool));
        }
        if let (Some(call), Some(granted)) = (request.demands.compensation, &step.compensation)
            && cannot_be_linked(call.skill, &granted.grant)
        {
            unlinkable.insert((request.step, call.tool));
        }
    }
    for (call, granted) in caller.compensations.iter().zip(&plan.compensations) {
        if cannot_be_linked(call.skill, &granted.grant) {
            unlinkable.insert((&granted.step, call.tool));
        }
    }
    let cannot_link = |denial: &Denial| unlinkable.contains(&(&denial.step, &denial.tool));
    let (kept, lifted): (Vec<Denial>, Vec<Denial>) = denials
        .into_iter()
        .partition(|denial| matches!(denial.why, Why::Budget | Why::AboveCeiling) || cannot_link(denial));
    if kept.is_empty() { Ok((plan, lifted)) } else { Err(kept) }
}

/// Every step with what it has, and the denials of those that may not run.
fn judge(
    policy: &Policy,
    caller: &Caller<'_>,
    steps: &[StepRequest<'_>],
    is_log_only: bool,
) -> (AuthorizedPlan, Vec<Denial>) {
    let delegation = Delegation::new(policy, caller.catalog, called(caller, steps).map(|(tool, _)| tool));
    let court = bench(policy, caller, steps, &delegation).map(|court| court.map(Arc::new));
    let delegation = delegation.judged_by(court.as_ref().ok().cloned().flatten());
    let mut judge = Judge { policy, caller, court, delegation, denials: Vec::new() };
    let mut authorized: Vec<AuthorizedStep> = Vec::with_capacity(steps.len());
    for (position, request) in steps.iter().enumerate() {
        let mut step = judge.call(request, None);
        if let Some(amount) = policy.run.steps.filter(|amount| position as u64 >= *amount) {
            judge.denials.push(Denial::over_budget(request.step, request.tool, Exhausted { key: "steps", amount }));
        }
        if let Err(refusal) = demands_met(policy, request, (step.grant_index, &step.grant), &judge.delegation) {
            judge.denials.push(*refusal.of_step(request.step, request.tool));
        }
        let compensation = request.demands.compensation;
        step.compensation = compensation.map(|call| Box::new(judge.undo(request.step, call)));
        authorized.push(step);
    }
    let last =
        caller.compensations.iter().enumerate().map(|(index, call)| judge.undo(&StepId::of_compensation(index), *call));
    let compensations = last.collect();
    let by_id = authorized.iter().enumerate().map(|(index, step)| (step.step.clone(), index)).collect();
    let Judge { court, denials, delegation, .. } = judge;
    let plan = AuthorizedPlan {
        steps: authorized,
        by_id,
        compensations,
        budget: policy.run,
        is_log_only,
        court: court.ok().flatten(),
        has_approver: caller.has_approver,
        delegation: Arc::new(delegation),
    };
    (plan, denials)
}

struct Judge<'a> {
    policy: &'a Policy,
    caller: &'a Caller<'a>,
    court: Result<Option<Arc<Bench>>, Refusal>,
    delegation: Delegation,
    denials: Vec<Denial>,
}

impl Judge<'_> {
    /// What a call has; `input` where it is not that of the step. Its denial is added to the others.
    fn call(&mut self, request: &StepRequest<'_>, input: Option<&dyn Fn() -> Option<Value>>) -> AuthorizedStep {
        let policy = self.policy;
        let allowed = granted(policy, request).and_then(|(index, grant)| {
            let court = self.court.as_ref().map_err(|refusal| refusal.clone().of_step(request.step, request.tool))?;
            let own = || (self.caller.input)(request.step);
            let permission =
                settle_with(court.as_deref(), self.caller, request, (index, &grant), input.unwrap_or(&own))?;
            Ok((index, grant, permission))
        });
        let (index, grant, permission) = match allowed {
            Ok(allowed) => allowed,
            Err(denial) => {
                self.denials.push(*denial);
                match decide(policy, request.tool) {
                    Decision::Allow { index, grant } => (index, Arc::clone(grant), Some(Permission::default())),
                    Decision::Deny { .. } => {
                        let nothing = Grant { limits: policy.limits, ..Grant::empty() };
                        (policy.grants.len(), Arc::new(nothing), Some(Permission::default()))
                    }
                }
            }
        };
        let limits = grant.limits.tightened(request.limits);
        let step = request.step.clone();
        AuthorizedStep { step, grant_index: index, grant, limits, permission, compensation: None, sealed: () }
    }

    /// What a call that undoes something has. The limits of a step are about its own tool.
    fn undo(&mut self, step: &StepId, call: CallRequest<'_>) -> AuthorizedStep {
        let request = call.of_step(step);
        self.call(&request, Some(&|| call.input.cloned()))
    }
}

impl<'a> CallRequest<'a> {
    pub(super) fn of_step(self, step: &'a StepId) -> StepRequest<'a> {
        const NO_LIMITS: &LimitsDocument = &LimitsDocument::NONE;
        StepRequest { step, tool: self.tool, limits: NO_LIMITS, skill: self.skill, demands: Demands::default() }
    }
}

/// Whether a step under a grant may have what it asks for beyond one call.
pub(super) fn demands_met(
    policy: &Policy,
    request: &StepRequest<'_>,
    (index, grant): (usize, &Grant),
    delegation: &Delegation,
) -> Result<(), Refusal> {
    let Demands { attempts, must_leave_nothing, .. } = request.demands;
    let ceiling = policy.run.attempts_ceiling();
    if let Some(attempts) = attempts.filter(|attempts| *attempts > ceiling) {
        return Err(Refusal::too_many_attempts(attempts, ceiling));
    }
    if !must_leave_nothing {
        return Ok(());
    }
    let sends = |skill: &Skill, index, grant: &Grant| {
        let may_send = skill.imports.iter().any(|import| import.needs == Need::Network);
        let rule = grant.network.iter().find(|rule| rule.may_write()).filter(|_| may_send);
        rule.map_or(Ok(()), |rule| Err(Refusal::irreversible(index, rule)))
    };
    sends(request.skill, index, grant)?;
    delegation.within(grant).into_values().try_for_each(|(skill, index, grant)| sends(skill, index, grant))
}

/// The grant under which a step may run, as far as grants go.
pub(super) fn granted(policy: &Policy, request: &StepRequest<'_>) -> Result<(usize, Arc<Grant>), Box<Denial>> {
    let tool = request.tool;
    match decide(policy, tool) {
        Decision::Allow { index, grant } => match needs::missing(grant, tool, request.skill) {
            missing if missing.is_empty() => {
                let limited = policy.below_ceiling(tool, index, grant);
                limited.map(|grant| (index, grant)).map_err(|refusal| refusal.of_step(request.step, tool))
            }
            missing => Err(Refusal::incomplete(index, tool, missing).of_step(request.step, tool)),
        },
        Decision::Deny { reason } => {
            Err(Refusal::not_granted(reason.text(policy, tool), reason.hint(tool)).of_step(request.step, tool))
        }
    }
}

/// The policy's rules and the operator's policy above it, ready for the tools of a plan; `None` where there is neither.
pub(super) fn bench(
    policy: &Policy,
    caller: &Caller<'_>,
    steps: &[StepRequest<'_>],
    delegation: &Delegation,
) -> Result<Option<Bench>, Refusal> {
    let own = court(policy, caller, steps, delegation)?;
    let above = match &policy.ceiling {
        None => None,
        Some(ceiling) => Some((Arc::clone(ceiling), court(&ceiling.policy, caller, steps, delegation)?)),
    };
    Ok((own.is_some() || above.is_some()).then_some(Bench { own, above }))
}

/// A policy's rules, ready for the tools of a plan; `None` where it has none.
fn court(
    policy: &Policy,
    caller: &Caller<'_>,
    steps: &[StepRequest<'_>],
    delegation: &Delegation,
) -> Result<Option<Court>, Refusal> {
    let Some(rules) = &policy.rules else { return Ok(None) };
    let roles = policy.roles.get(caller.principal).map(Vec::as_slice).unwrap_or_default();
    let delegated = delegation.callees().map(|(tool, callee)| (tool, &*callee.skill));
    let tools = called(caller, steps).chain(delegated);
    let tools = tools.filter_map(|(tool, skill)| Some((skill.tool(tool.function())?, skill)));
    let court = Court::new(rules, caller.principal, roles, (caller.plan_name, caller.plan), tools);
    court.map(Some).map_err(|error| Refusal::broken(Vec::new(), format!("the rules cannot be used: {error}")))
}

/// The tools that a plan calls itself.
pub(super) fn called<'a>(
    caller: &Caller<'a>,
    steps: &'a [StepRequest<'a>],
) -> impl Iterator<Item = (&'a ToolName, &'a Skill)> {
    let of_steps = steps.iter().flat_map(|request| {
        let undoing = request.demands.compensation.map(|call| (call.tool, call.skill));
        std::iter::once((request.tool, request.skill)).chain(undoing)
    });
    of_steps.chain(caller.compensations.iter().map(|call| (call.tool, call.skill)))
}

/// What permits a call before anything ran; `None` where that cannot be said yet. Its input is asked for only where rules read it.
pub(super) fn settle_with(
    court: Option<&Bench>,
    caller: &Caller<'_>,
    request: &StepRequest<'_>,
    (index, grant): (usize, &Grant),
    input: &dyn Fn() -> Option<Value>,
) -> Result<Option<Permission>, Box<Denial>> {
    let StepRequest { step, tool: name, skill, .. } = *request;
    // A valid plan names tools that their skills have; without one there are no annotations to look at.
    let Some(tool) = skill.tool(name.function()) else { return Ok(Some(Permission::default())) };
    let input = if court.is_some_and(|court| court.reads_input(name)) { input() } else { None };
    let call = Call { step, attempt: 1, tool, grant, input: input.as_ref() };
    permit(court, index, &call, caller.has_approver).map_err(|refusal| refusal.of_step(step, name))
}

/// The one decision on a call under a grant, whoever makes it and whenever: what permits it, or why it may not be made. `None` where rules
/// read an input that is not known yet.
pub(super) fn permit(
    court: Option<&Bench>,
    grant_index: usize,
    call: &Call<'_>,
    has_approver: bool,
) -> Result<Option<Permission>, Refusal> {
    let above = court.map_or_else(|| Ok(Some(Permission::default())), |bench| bench.above(call))?;
    let permitting = match court.and_then(|bench| bench.own.as_ref()).map(|court| court.decide(call)) {
        None => None,
        Some(Verdict::Permitted(rules)) => Some(rules),
        Some(Verdict::Denied(refusal)) => return Err(refusal),
        Some(Verdict::Later) => return Ok(None),
    };
    let approvals: Option<Vec<(&str, Option<Approval>)>> =
        permitting.as_ref().map(|rules| rules.iter().map(|rule| (rule.id.as_str(), rule.approval)).collect());
    let Some(above) = above else { return Ok(None) };
    let mut needs_approval = needed_by(grant_index, call.grant, approvals.as_deref(), call.tool.annotations.risk);
    needs_approval.extend(above.needs_approval);
    let rules = permitting.unwrap_or_default();
    let permission = Permission {
        rules: rules.iter().map(|rule| rule.id.clone()).collect(),
        reasons: rules.iter().filter_map(|rule| rule.reason.clone()).collect(),
        needs_approval,
    };
    if permission.needs_approval.is_empty() || has_approver {
        return Ok(Some(permission));
    }
    Err(Refusal {
        why: Why::ApprovalRequired,
        reason: format!("approval is required ({}), and nobody can be asked", permission.needs_approval.join(", ")),
        hint: format!(
            "run it with `--interactive` to be asked, or write `approval = \"never\"` into grant {grant_index} if it shall run unasked"
        ),
        rules: permission.rules,
        needs_approval: permission.needs_approval,
        missing: Box::default(),
    })
}

#[cfg(test)]
mod tests;
