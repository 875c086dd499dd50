//! What somebody is asked about, as one document. An answer is bound to its digest: what a person was shown is what runs, or they are asked
//! again. No trace has it, because it names folders of this machine.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::approval::Asking;
use super::steps::Steps;
use crate::canonical;
use crate::host::Error;
use crate::id::Digest;
use crate::policy::network::HeaderValue;
use crate::policy::{ApprovalRequest, EnvValue, Grant, NetworkRule, Sockets};
use crate::skill::Risk;
use crate::skills::{SkillBytes, builtin};
use crate::store::{Place, RunDir};
use crate::validate::Call;

/// The run's own folder, and what is kept there of where it takes place.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(super) folder: RunDir,
    place: Option<Place>,
}

impl Placed {
    /// Of a run with a folder.
    pub(crate) fn of(folder: &RunDir) -> Result<Self, Error> {
        Ok(Self { folder: folder.clone(), place: folder.place()? })
    }
}

/// A document with its digest.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) document: Value,
    pub(super) digest: Digest,
}

impl Steps<'_> {
    /// All that an answer depends on.
    pub(super) fn subject_of(&self, asking: &Asking<'_>) -> Subject {
        let Asking { request, message, context, call, .. } = asking;
        let ApprovalRequest {
            step, tool, input, principal, grant_index, grant, risk, needed_by, rules, reasons, ..
        } = request;
        let plan = self.checked.plan.plan();
        let description = plan.steps.iter().find(|one| one.id == **step).and_then(|one| one.description.clone());
        let component = call
            .map(|call| json!({ "name": call.skill.name, "sha256": call.skill.digest, "origin": self.origin(call) }));
        let place = self.placed.as_ref().and_then(|placed| placed.place.as_ref());
        let policy = &self.host.policy.policy;
        let document = json!({
            "schema": "skillhost.subject/1",
            "plan": { "name": plan.name, "sha256": plan.digest },
            "step": step,
            "description": description,
            "tool": tool,
            "component": component,
            "principal": principal.to_string(),
            "risk": risk.map(Risk::name),
            "input": input,
            "message": message,
            "context": context,
            "needed_by": needed_by,
            "rules": rules,
            "reasons": reasons,
            "grant": call.map(|_| self.grant(*grant_index, grant)),
            "policy": {
                "sha256": policy.digest,
                "rules_sha256": policy.rules.as_ref().map(|rules| rules.digest()),
                "file": place.and_then(|place| place.policy.as_ref()),
            },
            "place": {
                "workspace": absolute(&self.host.workspace),
                "plan": place.map(|place| &place.base),
                "bundle": place.and_then(|place| place.bundle.as_ref()),
            },
        });
        Subject { digest: Digest::of(&canonical::to_vec(&document)), document }
    }

    /// Where a component is from.
    fn origin(&self, call: Call<'_>) -> &'static str {
        let name = &call.skill.name;
        let is_built_in = || match builtin::find(name.as_str()) {
            Some(SkillBytes::Memory { component, .. }) => Digest::of(&component) == call.skill.digest,
            _ => false,
        };
        if call.tool.of_the_host().is_some() {
            "the host itself"
        } else if is_built_in() {
            "built in"
        } else if self.checked.plan.plan().skills.contains_key(name) {
            "named by the plan"
        } else if self.placed.as_ref().is_some_and(|placed| placed.place.as_ref().is_some_and(|at| at.bundle.is_some()))
        {
            "of the bundle"
        } else {
            "given to the host"
        }
    }

    /// What the step may touch, itself and by what it calls.
    fn grant(&self, index: usize, grant: &Grant) -> Value {
        let mut out = self.touches(grant);
        out.insert("index".to_owned(), json!(index));
        let within = self.authorized.delegation().within(grant);
        let calls = within.into_iter().map(|(tool, (skill, index, grant))| {
            let mut own = self.touches(grant);
            own.insert("index".to_owned(), json!(index));
            own.insert("tool".to_owned(), json!(tool));
            own.insert("sha256".to_owned(), json!(skill.digest));
            Value::Object(own)
        });
        out.insert("calls".to_owned(), calls.collect());
        Value::Object(out)
    }

    fn touches(&self, grant: &Grant) -> Map<String, Value> {
        let folders = grant.filesystem.iter().map(|preopen| {
            // Which folder it is, not only what it is called.
            let found = self.directories.identity(preopen, &self.host.workspace);
            json!({
                "guest": preopen.guest,
                "host": absolute(&preopen.resolve_host(&self.host.workspace)),
                "access": preopen.access.name(),
                "identity": found.map(|(device, inode)| format!("{device}:{inode}")),
            })
        });
        let network = grant.network.iter().map(|rule| {
            json!({
                "url": rule.url(),
                "methods": rule.methods,
                "addresses": rule.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "headers": rule.headers.keys().collect::<Vec<_>>(),
                "secrets": secrets_of(rule),
            })
        });
        let told = |values: &BTreeMap<String, EnvValue>| -> Map<String, Value> {
            let from = |value: &EnvValue| match value {
                EnvValue::Text(text) => json!({ "text": text }),
                EnvValue::Secret(name) => json!({ "secret": name }),
                EnvValue::Request { name, .. } => {
                    json!({ "request": name, "text": value.for_guest(&self.request.env) })
                }
            };
            values.iter().map(|(name, value)| (name.clone(), from(value))).collect()
        };
        Map::from_iter([
            ("folders".to_owned(), folders.collect()),
            ("network".to_owned(), network.collect()),
            ("env".to_owned(), Value::Object(told(&grant.env))),
            ("config".to_owned(), Value::Object(told(&grant.config))),
            ("clocks".to_owned(), json!(grant.clocks.name())),
            ("random".to_owned(), json!(grant.random.name())),
            ("sockets".to_owned(), json!(grant.sockets.map(Sockets::name))),
        ])
    }
}

/// The secrets that go out under a rule, by name.
fn secrets_of(rule: &NetworkRule) -> BTreeSet<&str> {
    let set = rule.headers.values().filter_map(|value| match value {
        HeaderValue::Secret { name, .. } => Some(name.as_str()),
        HeaderValue::Text(_) => None,
    });
    rule.secrets.iter().map(String::as_str).chain(set).collect()
}

fn absolute(path: &std::path::Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}
