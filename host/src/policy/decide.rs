//! The decision for a step: the first grant that names its tool applies alone; where the policy has rules, one has to permit the call and
//! none may forbid it. Decides for all steps before the first runs, except where rules read an input that only an earlier step gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::id::{Digest, StepId, ToolName};
use crate::limits::{LimitsDocument, StepLimits};
use crate::policy::approval::needed_by;
use crate::policy::needs::{self, Missing};
use crate::policy::rules::court::{Call, Court, Verdict};
use crate::policy::{
    Approval, ApprovalAnswer, ApprovalRequest, Exhausted, Grant, Pattern, Policy, Principal, RunBudget,
};
use crate::skill::{Need, Skill, Tool};

/// What the policy says of one tool.
#[derive(Debug, Clone, Copy)]
pub enum Decision<'a> {
    /// Allowed under this grant.
    Allow {
        /// Its index in the document.
        index: usize,
        /// The grant.
        grant: &'a Grant,
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
}

impl std::fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("principal", self.principal).finish_non_exhaustive()
    }
}

/// The kinds of reasons for which a step does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No grant names the tool.
    NotGranted,
    /// The grant that names the tool gives less than it needs.
    NeedsMissing,
    /// A rule forbids the call.
    Forbidden,
    /// No rule permits the call.
    NotPermitted,
    /// A rule cannot be evaluated for the call.
    RuleError,
    /// It needs approval, and nobody can be asked.
    ApprovalRequired,
    /// It needed approval, and the answer was no.
    Rejected,
    /// Nothing is left of a budget of the run.
    Budget,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::NotGranted,
        Self::NeedsMissing,
        Self::Forbidden,
        Self::NotPermitted,
        Self::RuleError,
        Self::ApprovalRequired,
        Self::Rejected,
        Self::Budget,
    ];

    /// Its name in traces and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotGranted => "not-granted",
            Self::NeedsMissing => "needs-missing",
            Self::Forbidden => "forbidden",
            Self::NotPermitted => "not-permitted",
            Self::RuleError => "rule-error",
            Self::ApprovalRequired => "approval-required",
            Self::Rejected => "rejected",
            Self::Budget => "budget",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.name() == name)
    }
}

/// Why a call may not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) why: Why,
    /// The ids of the rules that decided.
    pub(crate) rules: Vec<String>,
    pub(crate) reason: String,
    pub(crate) hint: String,
    /// Why approval is needed, where that is what is missing.
    pub(crate) needs_approval: Vec<String>,
    /// What the grant does not give, where that is why.
    pub(crate) missing: Box<[Missing]>,
}

impl Refusal {
    /// A refusal that is about neither approval nor something that is missing.
    pub(crate) fn new(why: Why, rules: Vec<String>, reason: String, hint: String) -> Self {
        Self { why, rules, reason, hint, needs_approval: Vec::new(), missing: Box::default() }
    }

    /// No grant names the tool.
    pub(crate) fn not_granted(reason: String, hint: String) -> Self {
        Self::new(Why::NotGranted, Vec::new(), reason, hint)
    }

    /// The grant gives less than the tool needs.
    pub(crate) fn incomplete(grant_index: usize, tool: &ToolName, missing: Vec<Missing>) -> Self {
        let (reason, hint) = (needs::reason(grant_index, tool, &missing), needs::hint(grant_index, &missing));
        Self { missing: missing.into(), ..Self::new(Why::NeedsMissing, Vec::new(), reason, hint) }
    }

    /// Rules that cannot be evaluated.
    pub(crate) fn broken(rules: Vec<String>, reason: String) -> Self {
        let hint =
            "a call is denied where a rule about it cannot be evaluated: mend the rule, or narrow its scope".to_owned();
        Self::new(Why::RuleError, rules, reason, hint)
    }

    /// The denial of a step.
    pub(crate) fn of_step(self, step: &StepId, tool: &ToolName) -> Box<Denial> {
        let Self { why, rules, reason, hint, needs_approval, missing } = self;
        let (step, tool) = (step.clone(), tool.clone());
        Box::new(Denial { step, tool, why, rules, reason, hint, needs_approval, missing: missing.into_vec() })
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

/// A step that is not allowed, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The step.
    pub step: StepId,
    /// Its tool.
    pub tool: ToolName,
    /// The kind of reason.
    pub why: Why,
    /// The ids of the rules that decided; empty where none did.
    pub rules: Vec<String>,
    /// Why approval is needed, where that is what is missing.
    pub needs_approval: Vec<String>,
    /// Why: lower case, no final period.
    pub reason: String,
    /// What to add to the policy.
    pub hint: String,
    /// What the grant that names the tool does not give; empty where no grant names it.
    pub missing: Vec<Missing>,
}

impl Denial {
    /// The denial of a step whose approval was refused.
    pub(crate) fn rejected(request: &ApprovalRequest<'_>, answer: &ApprovalAnswer) -> Self {
        let reason = match answer.reason.as_str() {
            "" => format!("rejected by {}", answer.by),
            reason => format!("rejected by {}: {reason}", answer.by),
        };
        Self {
            step: request.step.clone(),
            tool: request.tool.clone(),
            why: Why::Rejected,
            rules: request.rules.to_vec(),
            needs_approval: request.needed_by.to_vec(),
            reason,
            hint: "the step and those after it did not run; run the plan again to be asked again".to_owned(),
            missing: Vec::new(),
        }
    }
}

impl Denial {
    /// The denial of a step for which nothing is left of the run's budget.
    pub(crate) fn over_budget(step: &StepId, tool: &ToolName, exhausted: Exhausted) -> Self {
        let (reason, hint) = (exhausted.reason(), exhausted.hint());
        Self {
            step: step.clone(),
            tool: tool.clone(),
            why: Why::Budget,
            rules: Vec::new(),
            needs_approval: Vec::new(),
            reason,
            hint,
            missing: Vec::new(),
        }
    }
}

/// A valid plan whose every step is allowed. Made by [`authorize`] and [`authorize_logged`] alone.
#[derive(Debug, Clone)]
pub struct AuthorizedPlan {
    steps: Vec<AuthorizedStep>,
    budget: RunBudget,
    is_log_only: bool,
    court: Option<Arc<Court>>,
    has_approver: bool,
}

/// A step with what it was granted. Made by [`authorize`] alone.
#[derive(Debug, Clone)]
#[expect(
    clippy::manual_non_exhaustive,
    reason = "`non_exhaustive` would not keep the other modules of this crate from making one"
)]
pub struct AuthorizedStep {
    /// The index of the grant.
    pub grant_index: usize,
    /// The grant.
    pub grant: Arc<Grant>,
    /// The limits that apply: the grant's, lowered by the step's own.
    pub limits: StepLimits,
    /// What permits it; `None` where that depends on an input that an earlier step gives.
    pub permission: Option<Permission>,
    /// Keeps others from making one.
    #[expect(dead_code, reason = "a private field is what makes the type's construction private")]
    sealed: (),
}

impl AuthorizedPlan {
    /// The steps in the plan's order.
    #[must_use]
    pub fn steps(&self) -> &[AuthorizedStep] {
        &self.steps
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
/// The denials that are never lifted: those of a budget, and that of a component that imports a network and has none, since without it
/// there is nothing to link it with.
pub fn authorize_logged<'a>(
    policy: &Policy,
    caller: &Caller<'_>,
    steps: impl IntoIterator<Item = StepRequest<'a>>,
) -> Result<(AuthorizedPlan, Vec<Denial>), Vec<Denial>> {
    let steps: Vec<StepRequest<'a>> = steps.into_iter().collect();
    let (plan, denials) = judge(policy, caller, &steps, true);
    let cannot_link = |denial: &Denial| {
        let mut both = steps.iter().zip(&plan.steps).filter(|(request, _)| *request.step == denial.step);
        both.any(|(request, step)| {
            step.grant.network.is_empty() && request.skill.imports.iter().any(|import| import.needs == Need::Network)
        })
    };
    let (kept, lifted): (Vec<Denial>, Vec<Denial>) =
        denials.into_iter().partition(|denial| denial.why == Why::Budget || cannot_link(denial));
    if kept.is_empty() { Ok((plan, lifted)) } else { Err(kept) }
}

/// Every step with what it has, and the denials of those that may not run.
fn judge(
    policy: &Policy,
    caller: &Caller<'_>,
    steps: &[StepRequest<'_>],
    is_log_only: bool,
) -> (AuthorizedPlan, Vec<Denial>) {
    let court = court(policy, caller, steps);
    let nothing = Grant { limits: policy.limits, ..Grant::empty() };
    let mut shared: BTreeMap<usize, Arc<Grant>> = BTreeMap::new();
    let (mut authorized, mut denials) = (Vec::with_capacity(steps.len()), Vec::new());
    for (position, request) in steps.iter().enumerate() {
        let allowed = granted(policy, request).and_then(|(index, grant)| {
            let court = court.as_ref().map_err(|refusal| refusal.clone().of_step(request.step, request.tool))?;
            Ok((index, grant, settle(court.as_ref(), caller, request, (index, grant))?))
        });
        let (index, grant, permission) = match allowed {
            Ok(allowed) => allowed,
            Err(denial) => {
                denials.push(*denial);
                match decide(policy, request.tool) {
                    Decision::Allow { index, grant } => (index, grant, Some(Permission::default())),
                    Decision::Deny { .. } => (policy.grants.len(), &nothing, Some(Permission::default())),
                }
            }
        };
        if let Some(amount) = policy.run.steps.filter(|amount| position as u64 >= *amount) {
            denials.push(Denial::over_budget(request.step, request.tool, Exhausted { key: "steps", amount }));
        }
        let grant = Arc::clone(shared.entry(index).or_insert_with(|| Arc::new(grant.clone())));
        let limits = grant.limits.tightened(request.limits);
        authorized.push(AuthorizedStep { grant_index: index, grant, limits, permission, sealed: () });
    }
    let court = court.ok().flatten().map(Arc::new);
    let has_approver = caller.has_approver;
    (AuthorizedPlan { steps: authorized, budget: policy.run, is_log_only, court, has_approver }, denials)
}

/// The grant under which a step may run, as far as grants go.
pub(super) fn granted<'p>(policy: &'p Policy, request: &StepRequest<'_>) -> Result<(usize, &'p Grant), Box<Denial>> {
    let tool = request.tool;
    match decide(policy, tool) {
        Decision::Allow { index, grant } => match needs::missing(grant, tool, request.skill) {
            missing if missing.is_empty() => Ok((index, grant)),
            missing => Err(Refusal::incomplete(index, tool, missing).of_step(request.step, tool)),
        },
        Decision::Deny { reason } => {
            Err(Refusal::not_granted(reason.text(policy, tool), reason.hint(tool)).of_step(request.step, tool))
        }
    }
}

/// The policy's rules, ready for the tools of a plan; `None` where it has none.
pub(super) fn court(policy: &Policy, caller: &Caller<'_>, steps: &[StepRequest<'_>]) -> Result<Option<Court>, Refusal> {
    let Some(rules) = &policy.rules else { return Ok(None) };
    let roles = policy.roles.get(caller.principal).map(Vec::as_slice).unwrap_or_default();
    let tools = steps.iter().filter_map(|request| Some((request.skill.tool(request.tool.function())?, request.skill)));
    let court = Court::new(rules, caller.principal, roles, (caller.plan_name, caller.plan), tools);
    court.map(Some).map_err(|error| Refusal::broken(Vec::new(), format!("the rules cannot be used: {error}")))
}

/// What permits a step before anything ran; `None` where that cannot be said yet.
pub(super) fn settle(
    court: Option<&Court>,
    caller: &Caller<'_>,
    request: &StepRequest<'_>,
    (index, grant): (usize, &Grant),
) -> Result<Option<Permission>, Box<Denial>> {
    let StepRequest { step, tool: name, skill, .. } = *request;
    // A valid plan names tools that their skills have; without one there are no annotations to look at.
    let Some(tool) = skill.tool(name.function()) else { return Ok(Some(Permission::default())) };
    let input = if court.is_some_and(|court| court.reads_input(name)) { (caller.input)(step) } else { None };
    let call = Call { step, attempt: 1, tool, grant, input: input.as_ref() };
    permit(court, index, &call, caller.has_approver).map_err(|refusal| refusal.of_step(step, name))
}

/// The one decision on a call under a grant, whoever makes it and whenever: what permits it, or why it may not be made. `None` where rules
/// read an input that is not known yet.
fn permit(
    court: Option<&Court>,
    grant_index: usize,
    call: &Call<'_>,
    has_approver: bool,
) -> Result<Option<Permission>, Refusal> {
    let permitting = match court.map(|court| court.decide(call)) {
        None => None,
        Some(Verdict::Permitted(rules)) => Some(rules),
        Some(Verdict::Denied(refusal)) => return Err(refusal),
        Some(Verdict::Later) => return Ok(None),
    };
    let approvals: Option<Vec<(&str, Option<Approval>)>> =
        permitting.as_ref().map(|rules| rules.iter().map(|rule| (rule.id.as_str(), rule.approval)).collect());
    let needs_approval = needed_by(grant_index, call.grant, approvals.as_deref(), call.tool.annotations.risk);
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
