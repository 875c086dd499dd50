//! The operator's policy above another one: what a tool has under a policy that came with a folder or a bundle, trusted or not, must lie within
//! what the operator's own policy grants that tool. Pure.
//!
//! What is a matter of more or less (limits, budgets, approval) is the stricter of both; what is a matter of yes or no (folders, servers, secrets,
//! clocks, random bytes) is denied where the operator's policy does not give it. Rules of both have to permit a call.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::id::ToolName;
use crate::policy::approval::needed_by;
use crate::policy::decide::{Decision, Permission, decide};
use crate::policy::denial::Refusal;
use crate::policy::network::{HeaderValue, Roots};
use crate::policy::rules::court::{Call, Court, Verdict};
use crate::policy::secrets::SecretSource;
use crate::policy::{
    Access, Approval, Clocks, EnvValue, Grant, NetworkRule, Policy, Preopen, Random, RunBudget, WORKSPACE, Why,
};
use crate::problem::Problem;
use crate::toml_text;

/// The code of what a document says that the operator's policy does not.
pub const ABOVE: &str = "above-ceiling";

/// The operator's policy above another one.
#[derive(Debug, Clone)]
pub struct Ceiling {
    /// The policy.
    pub policy: Policy,
    /// Its text, which every run keeps.
    pub text: String,
}

impl Policy {
    /// The same policy below the operator's. Its own text is for the lines of what cannot be.
    ///
    /// # Errors
    ///
    /// What the document as a whole says and the operator's does not: servers that are told or asked, whom the host believes, what an audit shows.
    pub fn under(mut self, ceiling: Arc<Ceiling>, text: &str) -> Result<Self, Vec<Problem>> {
        let above = &ceiling.policy;
        let beyond = self.beyond_document(above, text);
        if !beyond.is_empty() {
            return Err(beyond);
        }
        self.network.dns = self.network.dns.or(above.network.dns);
        if self.network.roots == Roots::Mozilla {
            self.network.roots = above.network.roots.clone();
        }
        let lower = |own: Option<u64>, above: Option<u64>| own.into_iter().chain(above).min();
        self.run = RunBudget {
            steps: lower(self.run.steps, above.run.steps),
            fuel: lower(self.run.fuel, above.run.fuel),
            host_calls: lower(self.run.host_calls, above.run.host_calls),
            deadline_ms: lower(self.run.deadline_ms, above.run.deadline_ms),
            attempts: match above.run.attempts {
                Some(_) => lower(self.run.attempts, above.run.attempts),
                None => self.run.attempts,
            },
        };
        self.call_depth = self.call_depth.min(above.call_depth);
        self.approval.expires_in_s = lower(self.approval.expires_in_s, above.approval.expires_in_s);
        self.ceiling = Some(ceiling);
        Ok(self)
    }

    fn beyond_document(&self, above: &Self, text: &str) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut beyond = |is_beyond: bool, pointer: &str, what: &str| {
            if is_beyond {
                let problem = Problem::new(ABOVE, pointer, format!("{what}, which the operator's policy does not"));
                found.push(match toml_text::position_of(text, pointer) {
                    Some(position) => problem.at(position),
                    None => problem,
                });
            }
        };
        let (network, approval) = (&self.network, &self.approval);
        beyond(network.dns.is_some() && network.dns != above.network.dns, "/network/dns", "it chooses a DNS server");
        let is_other = !same_roots(&network.roots, &above.network.roots);
        beyond(network.roots != Roots::Mozilla && is_other, "/network/roots", "it chooses root certificates");
        let is_other = approval.webhook.is_some() && approval.webhook != above.approval.webhook;
        beyond(is_other, "/approval/webhook", "it tells a server what waits for approval");
        for (index, rule) in approval.network.iter().enumerate() {
            let is_other = !covered(rule, &above.approval.network, (self, above));
            beyond(
                is_other,
                &format!("/approval/network/{index}"),
                "it lets plans tell a server what waits for approval",
            );
        }
        beyond(self.audit.level < above.audit.level, "/audit/level", "it hides what an audit shows");
        let is_other = self.audit.retention_days.is_some() && self.audit.retention_days != above.audit.retention_days;
        beyond(is_other, "/audit/retention_days", "it says how long runs are kept");
        found
    }

    /// What a tool has under a grant of this policy and below the operator's.
    pub(super) fn below_ceiling(
        &self,
        tool: &ToolName,
        index: usize,
        grant: &Arc<Grant>,
    ) -> Result<Arc<Grant>, Refusal> {
        let Some(ceiling) = &self.ceiling else { return Ok(Arc::clone(grant)) };
        let refused = |reason: String| {
            let hint = "add it to the operator's policy, take it out of this one, or name this one with `--policy`: then it is the operator's";
            Refusal::new(Why::AboveCeiling, Vec::new(), reason, hint.to_owned())
        };
        match decide(&ceiling.policy, tool) {
            Decision::Deny { reason } => {
                let why = reason.text(&ceiling.policy, tool);
                Err(refused(format!(
                    "grant {index} names `{tool}`, and the operator's policy does not give it anything: {why}"
                )))
            }
            Decision::Allow { index: above, grant: most } => {
                let beyond = beyond((self, grant), (&ceiling.policy, most));
                if !beyond.is_empty() {
                    let beyond = beyond.join(", ");
                    let reason = format!(
                        "grant {index} gives `{tool}` more than grant {above} of the operator's policy: {beyond}"
                    );
                    return Err(refused(reason));
                }
                let limits = grant.limits.lower_of(&most.limits);
                if limits == grant.limits {
                    Ok(Arc::clone(grant))
                } else {
                    Ok(Arc::new(Grant { limits, ..Grant::clone(grant) }))
                }
            }
        }
    }
}

fn same_roots(one: &Roots, other: &Roots) -> bool {
    match (one, other) {
        (Roots::Mozilla, Roots::Mozilla) => true,
        (Roots::File { path: one, .. }, Roots::File { path: other, .. }) => one == other,
        _ => false,
    }
}

/// What a grant gives and the one above it does not, in words.
fn beyond((policy, grant): (&Policy, &Grant), (above, most): (&Policy, &Grant)) -> Vec<String> {
    let mut found = Vec::new();
    for preopen in &grant.filesystem {
        if !most.filesystem.iter().any(|other| gives_folder(other, preopen)) {
            found.push(format!("the folder `{}` ({})", preopen.host, preopen.access.name()));
        }
    }
    for rule in &grant.network {
        if !covered(rule, &most.network, (policy, above)) {
            found.push(format!("`{rule}`"));
        }
    }
    if grant.clocks == Clocks::Real && most.clocks != Clocks::Real {
        found.push("real clocks".to_owned());
    }
    if grant.random == Random::Real && most.random != Random::Real {
        found.push("real random bytes".to_owned());
    }
    let told = |grant: &Grant| -> Vec<EnvValue> { grant.env.values().chain(grant.config.values()).cloned().collect() };
    let (known, most_told) = (sources(above, most), told(most));
    for value in told(grant) {
        let is_given = match &value {
            // A text says nothing that the policy did not.
            EnvValue::Text(_) => true,
            EnvValue::Secret(name) => source(policy, name).is_some_and(|source| known.contains(&source)),
            EnvValue::Request { name, .. } => {
                most_told.iter().any(|other| matches!(other, EnvValue::Request { name: other, .. } if other == name))
            }
        };
        if !is_given {
            found.push(match value {
                EnvValue::Secret(name) => format!("the secret `{name}`"),
                EnvValue::Request { name, .. } => format!("the variable `{name}` of requests"),
                EnvValue::Text(_) => continue,
            });
        }
    }
    found
}

/// Whether a folder with its access lies within another one, by their paths. Folders are opened without following links below the workspace.
fn gives_folder(most: &Preopen, preopen: &Preopen) -> bool {
    let parts = |path: &str| -> Vec<String> {
        path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
    };
    let (outer, inner) = (parts(&most.host), parts(&preopen.host));
    let same_root = most.host.starts_with(WORKSPACE) == preopen.host.starts_with(WORKSPACE);
    same_root && inner.starts_with(&outer) && (most.access == Access::ReadWrite || preopen.access == Access::ReadOnly)
}

/// Whether rules allow all that one allows: each method at its places and addresses, with no other secret.
fn covered(rule: &NetworkRule, most: &[NetworkRule], (policy, above): (&Policy, &Policy)) -> bool {
    rule.methods.iter().all(|method| {
        most.iter().any(|other| {
            let (own, theirs) = (rule_sources(policy, rule), rule_sources(above, other));
            let addresses = |net: &ipnet::IpNet| other.addresses.iter().any(|wider| wider.contains(net));
            other.methods.contains(method)
                && other.covers_place(rule)
                && rule.addresses.iter().all(addresses)
                && own.is_some_and(|own| theirs.is_some_and(|theirs| own.is_subset(&theirs)))
        })
    })
}

type Sources = BTreeSet<SourceKey>;

/// Where a secret's value is, in an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum SourceKey {
    Env(String),
    File(std::path::PathBuf),
}

fn source(policy: &Policy, name: &str) -> Option<SourceKey> {
    policy.secrets.get(name).map(|declared| match &declared.source {
        SecretSource::Env(name) => SourceKey::Env(name.clone()),
        SecretSource::File(path) => SourceKey::File(path.clone()),
    })
}

/// The secrets of a rule; `None` where one is not declared.
fn rule_sources(policy: &Policy, rule: &NetworkRule) -> Option<Sources> {
    let in_headers = rule.headers.values().filter_map(|value| match value {
        HeaderValue::Secret { name, .. } => Some(name),
        HeaderValue::Text(_) => None,
    });
    rule.secrets.iter().chain(in_headers).map(|name| source(policy, name)).collect()
}

/// The secrets of a grant, wherever it uses them.
fn sources(policy: &Policy, grant: &Grant) -> Sources {
    let told = grant.env.values().chain(grant.config.values()).filter_map(|value| match value {
        EnvValue::Secret(name) => source(policy, name),
        _ => None,
    });
    told.chain(grant.network.iter().filter_map(|rule| rule_sources(policy, rule)).flatten()).collect()
}

/// Who decides on the calls of a plan beside the grants: the rules of its policy, and the operator's policy above it.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The policy's own rules.
    pub(crate) own: Option<Court>,
    /// The operator's policy, and its rules.
    pub(crate) above: Option<(Arc<Ceiling>, Option<Court>)>,
}

impl Bench {
    /// Whether any rules want to see the input of this tool.
    pub(crate) fn reads_input(&self, tool: &ToolName) -> bool {
        let above = self.above.as_ref().and_then(|(_, court)| court.as_ref());
        self.own.iter().chain(above).any(|court| court.reads_input(tool))
    }

    /// What the operator's policy says of a call that is within its grants: why approval is needed; `None` where its rules read an input that
    /// is not known yet.
    pub(crate) fn above(&self, call: &Call<'_>) -> Result<Option<Permission>, Refusal> {
        let Some((ceiling, court)) = &self.above else { return Ok(Some(Permission::default())) };
        let Decision::Allow { index, grant } = decide(&ceiling.policy, &call.tool.name) else {
            let reason = format!("the operator's policy does not grant `{}`", call.tool.name);
            let hint = "name this policy with `--policy`: then it is the operator's".to_owned();
            return Err(Refusal::new(Why::AboveCeiling, Vec::new(), reason, hint));
        };
        let permitting = match court.as_ref().map(|court| court.decide(call)) {
            None => None,
            Some(Verdict::Permitted(rules)) => Some(rules),
            Some(Verdict::Denied(refusal)) => {
                let reason = format!("the operator's policy: {}", refusal.reason);
                return Err(Refusal { reason, ..refusal });
            }
            Some(Verdict::Later) => return Ok(None),
        };
        let approvals: Option<Vec<(&str, Option<Approval>)>> =
            permitting.as_ref().map(|rules| rules.iter().map(|rule| (rule.id.as_str(), rule.approval)).collect());
        let needed = needed_by(index, grant, approvals.as_deref(), call.tool.annotations.risk);
        let needs_approval = needed.into_iter().map(|why| format!("the operator's policy: {why}")).collect();
        Ok(Some(Permission { needs_approval, ..Permission::default() }))
    }
}

#[cfg(test)]
mod tests;
