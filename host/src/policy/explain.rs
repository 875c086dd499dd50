//! What a policy means for a plan, step by step, for people: what each step may touch, and what does not fit the skill it runs.

use std::fmt;

use serde_json::{Value, json};

use crate::id::{StepId, ToolName};
use crate::limits::{LimitsDocument, StepLimits};
use crate::policy::decide::{bench, called, demands_met, settle_with};
use crate::policy::denial::Refusal;
use crate::policy::needs::{Missing, missing};
use crate::policy::place::{self, with_places};
use crate::policy::{
    CallRequest, Caller, Clocks, Decision, Delegation, Demands, Denial, EnvValue, Grant, Hints, NetworkRule,
    Permission, Policy, Preopen, Random, Sockets, StepRequest, Why, decide,
};
use crate::skill::{Need, Skill, own};

/// What the policy means for one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The step.
    pub step: StepId,
    /// Its tool, or the one that undoes it.
    pub tool: ToolName,
    /// Whether it is about the call that undoes the step, or one that ends a rollback.
    pub is_compensation: bool,
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
        /// What the grant that names the tool does not give; empty where no grant names it.
        missing: Vec<Missing>,
    },
}

/// What a step may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The index of the grant.
    pub grant_index: usize,
    /// The folders.
    pub filesystem: Vec<Preopen>,
    /// What it may ask of which servers.
    pub network: Vec<NetworkRule>,
    /// Its sockets, where it has some.
    pub sockets: Option<Sockets>,
    /// The clocks.
    pub clocks: Clocks,
    /// The source of random bytes.
    pub random: Random,
    /// The names of the environment variables; their values may be secrets.
    pub env: Vec<String>,
    /// The keys of its settings (`wasi:config/store`).
    pub config: Vec<String>,
    /// The tools that it may call from inside, as the grant lists them.
    pub calls: Vec<String>,
    /// The limits that apply.
    pub limits: StepLimits,
    /// What the grant proves of the tool; `None` where the skill is not known.
    pub hints: Option<Hints>,
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
    steps: impl IntoIterator<Item = ExplainedStep<'a>>,
) -> Vec<Explanation> {
    let steps: Vec<_> = steps.into_iter().collect();
    let requests: Vec<StepRequest<'a>> = steps.iter().filter_map(ExplainedStep::request).collect();
    let delegation = Delegation::new(policy, caller.catalog, called(caller, &requests).map(|(tool, _)| tool));
    let court = bench(policy, caller, &requests, &delegation);
    let settled = |request: &StepRequest<'_>, input: &dyn Fn() -> Option<Value>, verdict: &mut Verdict| {
        let Verdict::Allowed(allowed) = &mut *verdict else { return };
        let Some(grant) = policy.grants.get(allowed.grant_index).map(|grant| (allowed.grant_index, &**grant)) else {
            return;
        };
        let settled = court
            .as_ref()
            .map_err(|refusal| refusal.clone().of_step(request.step, request.tool))
            .and_then(|court| settle_with(court.as_ref(), caller, request, grant, input))
            .and_then(|permission| {
                let met = demands_met(policy, request, grant, &delegation);
                met.map(|()| permission).map_err(|refusal| refusal.of_step(request.step, request.tool))
            });
        match settled {
            Ok(permission) => allowed.permission = permission,
            Err(denial) => *verdict = (*denial).into(),
        }
    };
    let undoing = |step: &StepId, call: &CallRequest<'_>| {
        let mut verdict = verdict(policy, call.tool, &LimitsDocument::NONE, Some(call.skill));
        settled(&call.of_step(step), &|| call.input.cloned(), &mut verdict);
        Explanation { step: step.clone(), tool: call.tool.clone(), is_compensation: true, verdict }
    };
    let mut explained = Vec::with_capacity(steps.len());
    for entry in &steps {
        let ExplainedStep { step, tool, limits, skill, demands } = *entry;
        let mut verdict = verdict(policy, tool, limits, skill);
        if let Some(request) = entry.request() {
            settled(&request, &|| (caller.input)(step), &mut verdict);
        }
        explained.push(Explanation { step: step.clone(), tool: tool.clone(), is_compensation: false, verdict });
        explained.extend(demands.compensation.iter().map(|call| undoing(step, call)));
    }
    let last = caller.compensations.iter().enumerate();
    explained.extend(last.map(|(index, call)| undoing(&StepId::of_compensation(index), call)));
    explained
}

/// A step that is explained.
#[derive(Debug, Clone, Copy)]
pub struct ExplainedStep<'a> {
    /// The step.
    pub step: &'a StepId,
    /// Its tool.
    pub tool: &'a ToolName,
    /// The step's own `limits`.
    pub limits: &'a LimitsDocument,
    /// The skill that has the tool, where it is known.
    pub skill: Option<&'a Skill>,
    /// What it asks for beyond one call of the tool.
    pub demands: Demands<'a>,
}

impl<'a> ExplainedStep<'a> {
    fn request(&self) -> Option<StepRequest<'a>> {
        let Self { step, tool, limits, skill, demands } = *self;
        Some(StepRequest { step, tool, limits, skill: skill?, demands })
    }
}

impl From<Denial> for Verdict {
    fn from(denial: Denial) -> Self {
        let Denial { why, rules, reason, hint, missing, .. } = denial;
        Self::Denied { why, rules, reason, hint, missing }
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        let Refusal { why, rules, reason, hint, missing, .. } = refusal;
        Self::Denied { why, rules, reason, hint, missing: missing.into_vec() }
    }
}

/// What the policy means for one call of a tool.
#[must_use]
pub fn verdict(policy: &Policy, tool: &ToolName, limits: &LimitsDocument, skill: Option<&Skill>) -> Verdict {
    let (index, grant) = match decide(policy, tool) {
        Decision::Allow { index, grant } => (index, grant),
        Decision::Deny { reason } => {
            return Refusal::not_granted(reason.text(policy, tool), reason.hint(tool)).into();
        }
    };
    let missing = skill.map(|skill| missing(grant, tool, skill)).unwrap_or_default();
    if missing.is_empty() {
        return match policy.below_ceiling(tool, index, grant) {
            Ok(grant) => Verdict::Allowed(Box::new(allowed(index, &grant, limits, tool, skill))),
            Err(refusal) => refusal.into(),
        };
    }
    Refusal::incomplete(index, tool, missing).into()
}

fn allowed(
    grant_index: usize,
    grant: &Grant,
    limits: &LimitsDocument,
    tool: &ToolName,
    skill: Option<&Skill>,
) -> Allowed {
    Allowed {
        grant_index,
        filesystem: grant.filesystem.clone(),
        network: grant.network.clone(),
        sockets: grant.sockets,
        clocks: grant.clocks,
        random: grant.random,
        env: grant.env.keys().cloned().collect(),
        config: grant.config.keys().cloned().collect(),
        calls: grant.calls.iter().map(ToString::to_string).collect(),
        limits: grant.limits.tightened(limits),
        hints: skill
            .and_then(|skill| skill.tool(tool.function()))
            .map(|tool| Hints::enforced(grant, &tool.annotations)),
        permission: Some(Permission::default()),
        notes: skill.map(|skill| notes(grant, tool, skill)).unwrap_or_default(),
    }
}

fn notes(grant: &Grant, tool: &ToolName, skill: &Skill) -> Vec<String> {
    // What a tool declares is checked exactly. An import says less: a program of the standard library has all of them.
    let is_declared = skill.needs(tool.function()).is_some();
    let imported = |need: Need| skill.imports.iter().find(|import| import.needs == need);
    let mut notes = Vec::new();
    match (imported(Need::Filesystem), grant.filesystem.is_empty()) {
        (Some(import), true) if !is_declared => {
            notes
                .push(format!("the skill imports `{}`, but the grant has no directory: it sees no files", import.name));
        }
        (None, false) if !own::is_own(&skill.name) => {
            notes.push("the grant has directories, but the skill imports no file system".to_owned());
        }
        _ => {}
    }
    let useless = [
        (grant.sockets.is_some(), Need::Sockets, "closed sockets", "no `wasi:sockets`"),
        (grant.clocks == Clocks::Real, Need::Clocks, "real clocks", "no clock"),
        (grant.random == Random::Real, Need::Random, "real randomness", "no random bytes"),
        (!grant.env.is_empty(), Need::Environment, "environment variables", "no environment"),
        (!grant.config.is_empty(), Need::Config, "settings", "no `wasi:config/store`"),
    ];
    for (granted, need, what, none) in useless {
        if granted && imported(need).is_none() {
            notes.push(format!("the grant has {what}, but the skill imports {none}"));
        }
    }
    let told = grant.env.iter().map(|entry| ("variable", entry));
    for (what, (name, value)) in told.chain(grant.config.iter().map(|entry| ("setting", entry))) {
        if let EnvValue::Secret(secret) = value
            && !grant.network.iter().any(|rule| rule.secrets.contains(secret))
        {
            notes.push(format!(
                "the {what} `{name}` holds the placeholder of the secret `{secret}`, but no network rule of the grant replaces it"
            ));
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
        if let (true, Value::Object(members)) = (self.is_compensation, &mut value) {
            members.insert("compensation".to_owned(), Value::Bool(true));
        }
        if let (Value::Object(members), Value::Object(rest)) = (&mut value, self.verdict.to_json()) {
            members.extend(rest);
        }
        value
    }
}

impl Verdict {
    /// The verdict as JSON, for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Denied { why, rules, reason, hint, missing } => {
                let missing: Vec<Value> = missing.iter().map(Missing::to_json).collect();
                json!({
                    "allowed": false, "why": why.name(), "rules": rules, "reason": reason, "hint": hint,
                    "missing": missing,
                })
            }
            Self::Allowed(allowed) => {
                let folder = |preopen: &Preopen| json!({ "host": preopen.host, "guest": preopen.guest, "access": preopen.access.name() });
                let limits = allowed.limits.entries().map(|(name, value)| (name.to_owned(), Value::from(value)));
                let rule = |rule: &NetworkRule| {
                    json!({
                        "url": rule.url(),
                        "methods": rule.methods,
                        "addresses": rule.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
                        "headers": rule.headers.keys().collect::<Vec<_>>(),
                        "secrets": rule.secrets,
                    })
                };
                json!({
                    "allowed": true,
                    "grant": allowed.grant_index,
                    "filesystem": allowed.filesystem.iter().map(folder).collect::<Vec<_>>(),
                    "network": allowed.network.iter().map(rule).collect::<Vec<_>>(),
                    "sockets": allowed.sockets.map(Sockets::name),
                    "clocks": allowed.clocks.name(),
                    "random": allowed.random.name(),
                    "env": allowed.env,
                    "config": allowed.config,
                    "calls": allowed.calls,
                    "limits": Value::Object(limits.into_iter().collect()),
                    "annotations": allowed.hints.map(Hints::to_json),
                    "rules": allowed.permission.as_ref().map(|permission| &permission.rules),
                    "reasons": allowed.permission.as_ref().map(|permission| &permission.reasons),
                    "needs_approval": allowed.permission.as_ref().map(|permission| &permission.needs_approval),
                    "notes": allowed.notes,
                })
            }
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let undoes = if self.is_compensation { " (compensation)" } else { "" };
        match &self.verdict {
            Verdict::Denied { .. } => writeln!(f, "{}: {}{undoes} is denied", self.step, self.tool)?,
            Verdict::Allowed(allowed) => {
                let grant = place::grant(allowed.grant_index as u64);
                writeln!(f, "{}: {}{undoes} is allowed by {grant}", self.step, self.tool)?;
            }
        }
        self.verdict.fmt(f)
    }
}

/// What is behind the verdict, over several lines.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { reason, hint, missing, .. } => {
                writeln!(f, "  reason: {}", with_places(reason))?;
                missing.iter().try_for_each(|missing| writeln!(f, "  missing: {missing}"))?;
                writeln!(f, "  hint: {}", with_places(hint))
            }
            Self::Allowed(allowed) => allowed.fmt(f),
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
        for rule in &self.network {
            write!(f, "  network: {rule}")?;
            if !rule.addresses.is_empty() {
                write!(f, ", also at {}", listed(rule.addresses.iter()))?;
            }
            if !rule.headers.is_empty() {
                write!(f, ", with {}", listed(rule.headers.keys()))?;
            }
            if !rule.secrets.is_empty() {
                write!(f, ", secrets {}", listed(rule.secrets.iter()))?;
            }
            writeln!(f)?;
        }
        if let Some(sockets) = self.sockets {
            writeln!(f, "  sockets: {}", sockets.name())?;
        }
        writeln!(f, "  clocks: {}, random: {}", self.clocks.name(), self.random.name())?;
        let env = if self.env.is_empty() { "none".to_owned() } else { self.env.join(", ") };
        writeln!(f, "  environment: {env}")?;
        if !self.config.is_empty() {
            writeln!(f, "  config: {}", self.config.join(", "))?;
        }
        if !self.calls.is_empty() {
            writeln!(f, "  calls: {}", self.calls.join(", "))?;
        }
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
        if let Some(hints) = self.hints {
            writeln!(f, "  enforced: {}", hints.words().join(", "))?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        Ok(())
    }
}

fn listed(items: impl Iterator<Item = impl fmt::Display>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests;
