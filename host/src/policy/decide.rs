//! The decision for a step: the first grant that names its tool applies alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::{StepId, ToolName};
use crate::limits::{LimitsDocument, StepLimits};
use crate::policy::needs::{self, Missing};
use crate::policy::{Grant, Pattern, Policy};
use crate::skill::Skill;

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

/// A step that is not allowed, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The step.
    pub step: StepId,
    /// Its tool.
    pub tool: ToolName,
    /// Why: lower case, no final period.
    pub reason: String,
    /// What to add to the policy.
    pub hint: String,
    /// What the grant that names the tool does not give; empty where no grant names it.
    pub missing: Vec<Missing>,
}

/// A valid plan whose every step is allowed. Made by [`authorize`] alone.
#[derive(Debug, Clone)]
pub struct AuthorizedPlan {
    steps: Vec<AuthorizedStep>,
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

/// Asks the policy for every step, in the plan's order: does a grant name its tool, and does that grant give what the tool needs.
///
/// # Errors
///
/// All denials, in the plan's order. Nothing is authorized where there is one.
pub fn authorize<'a>(
    policy: &Policy,
    steps: impl IntoIterator<Item = StepRequest<'a>>,
) -> Result<AuthorizedPlan, Vec<Denial>> {
    let mut shared: BTreeMap<usize, Arc<Grant>> = BTreeMap::new();
    let (mut authorized, mut denials) = (Vec::new(), Vec::new());
    for request in steps {
        match granted(policy, &request) {
            Ok((index, grant)) => {
                let grant = Arc::clone(shared.entry(index).or_insert_with(|| Arc::new(grant.clone())));
                let limits = grant.limits.tightened(request.limits);
                authorized.push(AuthorizedStep { grant_index: index, grant, limits, sealed: () });
            }
            Err(denial) => denials.push(denial),
        }
    }
    if denials.is_empty() { Ok(AuthorizedPlan { steps: authorized }) } else { Err(denials) }
}

/// The grant under which a step may run.
pub(super) fn granted<'p>(policy: &'p Policy, request: &StepRequest<'_>) -> Result<(usize, &'p Grant), Denial> {
    let StepRequest { step, tool, skill, .. } = *request;
    let denial = |reason, hint, missing| Denial { step: step.clone(), tool: tool.clone(), reason, hint, missing };
    match decide(policy, tool) {
        Decision::Deny { reason } => Err(denial(reason.text(policy, tool), reason.hint(tool), Vec::new())),
        Decision::Allow { index, grant } => match needs::missing(grant, tool, skill) {
            missing if missing.is_empty() => Ok((index, grant)),
            missing => Err(denial(needs::reason(index, tool, &missing), needs::hint(index, &missing), missing)),
        },
    }
}

#[cfg(test)]
mod tests;
