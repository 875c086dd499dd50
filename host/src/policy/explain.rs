//! What a policy means for a plan, step by step, for people: what each step may touch, and what does not fit the skill it runs.

use std::fmt;

use serde_json::{Value, json};

use crate::id::{StepId, ToolName};
use crate::limits::{LimitsDocument, StepLimits};
use crate::policy::decide::{court, settle};
use crate::policy::{Caller, Clocks, Decision, Grant, Permission, Policy, Preopen, Random, StepRequest, Why, decide};
use crate::skill::{Need, Skill};

/// What the policy means for one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The step.
    pub step: StepId,
    /// Its tool.
    pub tool: ToolName,
    /// What the policy says.
    pub verdict: Verdict,
}

/// Whether a step may run, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allowed(Box<Allowed>),
    /// It may not.
    Denied {
        /// The kind of reason.
        why: Why,
        /// The ids of the rules that decided; empty where none did.
        rules: Vec<String>,
        /// Why.
        reason: String,
        /// What to add to the policy.
        hint: String,
    },
}

/// What a step may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The index of the grant.
    pub grant_index: usize,
    /// The folders.
    pub filesystem: Vec<Preopen>,
    /// The clocks.
    pub clocks: Clocks,
    /// The source of random bytes.
    pub random: Random,
    /// The names of the environment variables; their values may be secrets.
    pub env: Vec<String>,
    /// The limits that apply.
    pub limits: StepLimits,
    /// What permits it beside the grant; `None` where rules read an input that an earlier step gives.
    pub permission: Option<Permission>,
    /// Where grant and skill do not fit: a need that is not met, a grant that is of no use.
    pub notes: Vec<String>,
}

/// Explains the policy for every step. A step's skill is `None` where it is not known; its notes are then empty.
#[must_use]
pub fn explain<'a>(
    policy: &Policy,
    caller: &Caller<'_>,
    steps: impl IntoIterator<Item = (&'a StepId, &'a ToolName, &'a LimitsDocument, Option<&'a Skill>)>,
) -> Vec<Explanation> {
    let steps: Vec<_> = steps.into_iter().collect();
    let known = |(step, tool, limits, skill): &(&'a StepId, &'a ToolName, &'a LimitsDocument, Option<&'a Skill>)| {
        Some(StepRequest { step, tool, limits, skill: (*skill)? })
    };
    let requests: Vec<StepRequest<'a>> = steps.iter().filter_map(known).collect();
    let court = court(policy, caller, &requests);
    let explained = steps.iter().map(|entry| {
        let (step, tool, limits, skill) = *entry;
        let verdict = match decide(policy, tool) {
            Decision::Allow { index, grant } => Verdict::Allowed(Box::new(allowed(index, grant, limits, skill))),
            Decision::Deny { reason } => Verdict::Denied {
                why: Why::NotGranted,
                rules: Vec::new(),
                reason: reason.text(policy, tool),
                hint: reason.hint(tool),
            },
        };
        let verdict = match (verdict, known(entry)) {
            (Verdict::Allowed(mut allowed), Some(request)) => {
                let grant = policy.grants.get(allowed.grant_index).map(|grant| (allowed.grant_index, grant));
                let settled = court
                    .as_ref()
                    .map_err(|refusal| refusal.clone().of_step(step, tool))
                    .and_then(|court| grant.map_or(Ok(None), |grant| settle(court.as_ref(), caller, &request, grant)));
                match settled {
                    Ok(permission) => {
                        allowed.permission = permission;
                        Verdict::Allowed(allowed)
                    }
                    Err(denial) => Verdict::Denied {
                        why: denial.why,
                        rules: denial.rules,
                        reason: denial.reason,
                        hint: denial.hint,
                    },
                }
            }
            (verdict, _) => verdict,
        };
        Explanation { step: step.clone(), tool: tool.clone(), verdict }
    });
    explained.collect()
}

fn allowed(grant_index: usize, grant: &Grant, limits: &LimitsDocument, skill: Option<&Skill>) -> Allowed {
    Allowed {
        grant_index,
        filesystem: grant.filesystem.clone(),
        clocks: grant.clocks,
        random: grant.random,
        env: grant.env.keys().cloned().collect(),
        limits: grant.limits.tightened(limits),
        permission: Some(Permission::default()),
        notes: skill.map(|skill| notes(grant, skill)).unwrap_or_default(),
    }
}

fn notes(grant: &Grant, skill: &Skill) -> Vec<String> {
    let imported = |need: Need| skill.imports.iter().find(|import| import.needs == need);
    let mut notes = Vec::new();
    match (imported(Need::Filesystem), grant.filesystem.is_empty()) {
        (Some(import), true) => {
            notes
                .push(format!("the skill imports `{}`, but the grant has no directory: it sees no files", import.name));
        }
        (None, false) => notes.push("the grant has directories, but the skill imports no file system".to_owned()),
        (Some(_), false) | (None, true) => {}
    }
    let useless = [
        (grant.clocks == Clocks::Real, Need::Clocks, "real clocks", "no clock"),
        (grant.random == Random::Real, Need::Random, "real randomness", "no random bytes"),
        (!grant.env.is_empty(), Need::Environment, "environment variables", "no environment"),
    ];
    for (granted, need, what, none) in useless {
        if granted && imported(need).is_none() {
            notes.push(format!("the grant has {what}, but the skill imports {none}"));
        }
    }
    for import in skill.imports.iter().filter(|import| import.needs == Need::NotProvided) {
        notes.push(format!("the skill imports `{}`, which is not provided: it cannot be loaded", import.name));
    }
    notes
}

impl Explanation {
    /// The explanation as JSON, for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = json!({ "step": self.step.as_str(), "tool": self.tool.to_string() });
        let rest = match &self.verdict {
            Verdict::Denied { why, rules, reason, hint } => {
                json!({ "allowed": false, "why": why.name(), "rules": rules, "reason": reason, "hint": hint })
            }
            Verdict::Allowed(allowed) => {
                let folder = |preopen: &Preopen| json!({ "host": preopen.host, "guest": preopen.guest, "access": preopen.access.name() });
                let limits = allowed.limits.entries().map(|(name, value)| (name.to_owned(), Value::from(value)));
                json!({
                    "allowed": true,
                    "grant": allowed.grant_index,
                    "filesystem": allowed.filesystem.iter().map(folder).collect::<Vec<_>>(),
                    "clocks": allowed.clocks.name(),
                    "random": allowed.random.name(),
                    "env": allowed.env,
                    "limits": Value::Object(limits.into_iter().collect()),
                    "rules": allowed.permission.as_ref().map(|permission| &permission.rules),
                    "reasons": allowed.permission.as_ref().map(|permission| &permission.reasons),
                    "needs_approval": allowed.permission.as_ref().map(|permission| &permission.needs_approval),
                    "notes": allowed.notes,
                })
            }
        };
        if let (Value::Object(members), Value::Object(rest)) = (&mut value, rest) {
            members.extend(rest);
        }
        value
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Denied { reason, hint, .. } => {
                writeln!(f, "{}: {} is denied", self.step, self.tool)?;
                writeln!(f, "  reason: {reason}")?;
                writeln!(f, "  hint: {hint}")
            }
            Verdict::Allowed(allowed) => {
                writeln!(f, "{}: {} is allowed by grant {}", self.step, self.tool, allowed.grant_index)?;
                allowed.fmt(f)
            }
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.filesystem.is_empty() {
            writeln!(f, "  directories: none")?;
        }
        for preopen in &self.filesystem {
            writeln!(f, "  directory: {} = {} ({})", preopen.guest, preopen.host, preopen.access.name())?;
        }
        writeln!(f, "  clocks: {}, random: {}", self.clocks.name(), self.random.name())?;
        let env = if self.env.is_empty() { "none".to_owned() } else { self.env.join(", ") };
        writeln!(f, "  environment: {env}")?;
        let limits = self.limits.entries().map(|(name, value)| format!("{name} {value}"));
        writeln!(f, "  limits: {}", limits.join(", "))?;
        match &self.permission {
            None => writeln!(f, "  rules: decide when the input is known, right before the step")?,
            Some(permission) => {
                if !permission.rules.is_empty() {
                    writeln!(f, "  rules: permitted by {}", permission.rules.join(", "))?;
                }
                permission.reasons.iter().try_for_each(|reason| writeln!(f, "  reason: {reason}"))?;
                if !permission.needs_approval.is_empty() {
                    writeln!(f, "  approval: required ({})", permission.needs_approval.join(", "))?;
                }
            }
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
