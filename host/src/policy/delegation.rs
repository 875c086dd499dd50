//! What a step may call from inside: the tools that its grant lists in `calls`, each under the grant that the policy has for that tool.
//!
//! Which tools there are is settled before anything runs; whether rules permit a call is asked when its input is known. Pure, as all of
//! the policy. Never lifts a denial: where denials are only recorded, a call that is denied is an error of the caller all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::id::{SkillName, StepId, ToolName};
use crate::policy::ceiling::Bench;
use crate::policy::decide::{decide, permit};
use crate::policy::denial::Refusal;
use crate::policy::needs;
use crate::policy::rules::court::Call;
use crate::policy::{Decision, Grant, Pattern, Policy};
use crate::skill::{Catalog, Skill};

/// One entry of a grant's `calls`: tools of one skill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPattern {
    /// The skill. It is named, so that what can be called is known before anything runs.
    pub skill: SkillName,
    /// Its tools.
    pub tools: Pattern,
}

impl fmt::Display for CallPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.skill, self.tools)
    }
}

impl CallPattern {
    /// Whether `tool` is named.
    #[must_use]
    pub fn names(&self, tool: &ToolName) -> bool {
        self.skill == *tool.skill() && self.tools.matches(tool.function())
    }

    /// The tools of `skill` that are named.
    pub fn tools_of<'s>(&'s self, skill: &'s Skill) -> impl Iterator<Item = &'s ToolName> {
        skill.tools.values().map(|tool| &tool.name).filter(|tool| self.names(tool))
    }
}

/// A tool that may be called from inside of a step.
#[derive(Debug, Clone)]
pub struct Callee {
    /// The skill that has it.
    pub skill: Arc<Skill>,
    /// Under which grant it runs and that one's index, or why it never does.
    pub granted: Result<(usize, Arc<Grant>), String>,
}

/// What the steps of a plan may call from inside.
#[derive(Debug, Clone, Default)]
pub struct Delegation {
    callees: BTreeMap<ToolName, Callee>,
    /// `None` where rules cannot be asked: see `is_ruled`.
    court: Option<Arc<Bench>>,
    is_ruled: bool,
    depth_max: u64,
}

/// What a call from inside of a step is decided on.
#[derive(Debug, Clone, Copy)]
pub struct Inside<'a> {
    /// `calls` of the grant of whoever calls.
    pub calls: &'a [CallPattern],
    /// The step.
    pub step: &'a StepId,
    /// Its attempt.
    pub attempt: u32,
}

/// Under what a call from inside of a step is made.
#[derive(Debug, Clone)]
pub struct Delegated {
    /// The index of the grant.
    pub grant_index: usize,
    /// The grant.
    pub grant: Arc<Grant>,
    /// The ids of the rules that permit it.
    pub rules: Vec<String>,
}

/// Why a call from inside of a step is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDelegated {
    /// There is no such tool, though the caller may call tools of that name.
    NoSuchTool,
    /// The policy does not allow it: lower case, no final period.
    Denied(String),
}

impl Delegation {
    /// What may be called from the tools of `called`, and from what those may call.
    pub(super) fn new<'t>(policy: &Policy, catalog: &Catalog, called: impl IntoIterator<Item = &'t ToolName>) -> Self {
        let mut callees: BTreeMap<ToolName, Callee> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<ToolName> = called.into_iter().filter(|tool| seen.insert(*tool)).cloned().collect();
        let mut looked_at = BTreeSet::new();
        while let Some(tool) = open.pop() {
            let Decision::Allow { index, grant } = decide(policy, &tool) else { continue };
            if !looked_at.insert(index) {
                continue;
            }
            for pattern in &grant.calls {
                let Some(skill) = catalog.get(&pattern.skill) else { continue };
                for tool in pattern.tools_of(skill) {
                    if !callees.contains_key(tool) {
                        callees.insert(tool.clone(), Callee::of(policy, tool, skill));
                        open.push(tool.clone());
                    }
                }
            }
        }
        Self {
            callees,
            court: None,
            is_ruled: policy.rules.is_some() || policy.ceiling.is_some(),
            depth_max: policy.call_depth,
        }
    }

    /// The same with what decides on each call.
    pub(super) fn judged_by(self, court: Option<Arc<Bench>>) -> Self {
        Self { court, ..self }
    }

    /// Whether nothing may be called.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.callees.is_empty()
    }

    /// How many calls may be inside of each other.
    #[must_use]
    pub const fn depth_max(&self) -> u64 {
        self.depth_max
    }

    /// Every tool that may be called by some step, or by what it calls.
    pub fn callees(&self) -> impl Iterator<Item = (&ToolName, &Callee)> {
        self.callees.iter()
    }

    /// The grants of those that may run.
    pub fn grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        self.callees.values().filter_map(|callee| callee.granted.as_ref().ok()).map(|(_, grant)| grant)
    }

    /// What somebody with `grant` may call, and what that may call in its turn: tools with what they run under, each once.
    #[must_use]
    pub fn within<'d>(&'d self, grant: &'d Grant) -> BTreeMap<&'d ToolName, (&'d Skill, usize, &'d Arc<Grant>)> {
        let mut found: BTreeMap<&ToolName, _> = BTreeMap::new();
        let mut open = vec![grant];
        while let Some(grant) = open.pop() {
            for (tool, callee) in &self.callees {
                let Ok((index, own)) = &callee.granted else { continue };
                if !found.contains_key(tool) && grant.calls.iter().any(|pattern| pattern.names(tool)) {
                    found.insert(tool, (&*callee.skill, *index, own));
                    open.push(own);
                }
            }
        }
        found
    }

    /// Whether `has` is so of `grant`, or of what anything that somebody with it may call runs under.
    #[must_use]
    pub fn any(&self, grant: &Grant, has: impl Fn(&Grant) -> bool) -> bool {
        has(grant) || self.within(grant).values().any(|(_, _, grant)| has(grant))
    }

    /// Whether somebody with `grant` may send what changes something elsewhere, itself or by what it calls.
    #[must_use]
    pub fn may_send_unsafe(&self, grant: &Grant) -> bool {
        self.any(grant, Grant::may_send_unsafe)
    }

    /// What identifies everything that somebody with `grant` may call; `null` where that is nothing.
    pub(crate) fn identity(&self, grant: &Grant) -> Value {
        if grant.calls.is_empty() {
            return Value::Null;
        }
        let within = self.within(grant);
        let callees = within.iter().map(|(tool, (skill, _, grant))| json!([tool, skill.digest, grant.identity()]));
        callees.collect()
    }

    /// The decision on a call whose input is known.
    ///
    /// # Errors
    ///
    /// Why it may not be made: lower case, no final period.
    pub fn decide(&self, inside: &Inside<'_>, tool: &ToolName, input: &Value) -> Result<Delegated, NotDelegated> {
        self.judge(inside, tool, Some(input))
    }

    /// What may be called, as far as that can be said without an input, in the order of names.
    #[must_use]
    pub fn available(&self, inside: &Inside<'_>) -> Vec<String> {
        let tools = self.callees.keys().filter(|tool| self.judge(inside, tool, None).is_ok());
        tools.map(ToString::to_string).collect()
    }

    fn judge(&self, inside: &Inside<'_>, tool: &ToolName, input: Option<&Value>) -> Result<Delegated, NotDelegated> {
        let denied = NotDelegated::Denied;
        if !inside.calls.iter().any(|pattern| pattern.names(tool)) {
            return Err(denied(format!("the grant of the caller does not list `{tool}` in `calls`")));
        }
        let callee = self.callees.get(tool).ok_or(NotDelegated::NoSuchTool)?;
        let (grant_index, grant) = callee.granted.as_ref().map_err(|reason| denied(reason.clone()))?;
        let known = callee.skill.tool(tool.function()).ok_or(NotDelegated::NoSuchTool)?;
        if self.is_ruled && self.court.is_none() {
            return Err(denied("the rules cannot be used".to_owned()));
        }
        let call = Call { step: inside.step, attempt: inside.attempt, tool: known, grant, input };
        let permission = permit(self.court.as_deref(), *grant_index, &call, true);
        let (rules, needs_approval) = match permission.map_err(|Refusal { reason, .. }| denied(reason))? {
            Some(permission) => (permission.rules, permission.needs_approval),
            None if input.is_none() => (Vec::new(), Vec::new()),
            None => return Err(denied("the rules came to no decision".to_owned())),
        };
        if !needs_approval.is_empty() {
            let why = needs_approval.join(", ");
            return Err(denied(format!("approval is required ({why}), and nobody is asked inside of a step")));
        }
        Ok(Delegated { grant_index: *grant_index, grant: Arc::clone(grant), rules })
    }
}

impl Callee {
    fn of(policy: &Policy, tool: &ToolName, skill: &Arc<Skill>) -> Self {
        let granted = match decide(policy, tool) {
            Decision::Deny { reason } => Err(reason.text(policy, tool)),
            Decision::Allow { index, grant } => match needs::missing(grant, tool, skill) {
                missing if missing.is_empty() => {
                    let limited = policy.below_ceiling(tool, index, grant);
                    limited.map(|grant| (index, grant)).map_err(|refusal| refusal.reason)
                }
                missing => Err(needs::reason(index, tool, &missing)),
            },
        };
        Self { skill: Arc::clone(skill), granted }
    }
}

#[cfg(test)]
mod tests;
