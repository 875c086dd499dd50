//! What a tool may touch while it runs: the policy document, and the decision for a step. Deny by default.
//!
//! Pure: reads no file, no clock, no environment; the same policy and tool give the same decision. Never merges: the first grant that
//! names the tool applies alone. A key that is not enforced does not exist and is refused.

pub mod annotations;
pub mod approval;
pub mod audit;
pub mod bounds;
pub mod budget;
pub mod ceiling;
pub mod decide;
pub mod delegation;
pub mod denial;
pub mod document;
pub mod explain;
pub mod needs;
pub mod network;
pub mod origin;
pub mod place;
pub mod presets;
pub mod principal;
pub mod proposal;
pub mod rbac;
pub mod rules;
pub mod secrets;
pub mod wassette;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::id::Digest;
use crate::limits::StepLimits;
use crate::skill::{Need, SkillOrigin};

pub use annotations::Hints;
pub use approval::{ApprovalAnswer, ApprovalRequest, ApprovalSettings, Approve, Preview, Rehearsal, is_name};
pub use audit::{AuditLevel, AuditSettings};
pub use budget::{Exhausted, RunBudget, Spent};
pub use ceiling::Ceiling;
pub use decide::{
    AuthorizedPlan, AuthorizedStep, CallRequest, Caller, Decision, Demands, DenyReason, Permission, StepRequest,
    authorize, authorize_logged, decide,
};
pub use delegation::{CallPattern, Callee, Delegated, Delegation, Inside, NotDelegated};
pub use denial::{Denial, Why};
pub use explain::{Allowed, Explanation, Verdict, explain, verdict};
pub use needs::{Missing, missing};
pub use network::{NetworkRule, NetworkSettings};
pub use origin::{DecidedBy, PolicyOrigin, PolicySource, Standing};
pub use principal::{Principal, PrincipalKind};
pub use proposal::grant_for;
pub use rules::{Rule, RuleSet};
pub use secrets::{EnvValue, SecretDeclaration};

/// What a host path of a policy starts with to mean the run's workspace.
pub const WORKSPACE: &str = "{workspace}";

/// The schema name of policies that this version reads.
pub const SCHEMA: &str = "skillhost.policy/1";

/// A policy: ceilings and grants, in the document's order.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The ceilings of every step.
    pub limits: StepLimits,
    /// `call_depth` of `[limits]`: how many calls of other tools may be inside of each other.
    pub call_depth: u64,
    /// `[run]`: what all steps together may use.
    pub run: RunBudget,
    /// The grants; the first that names a tool applies to it.
    pub grants: Vec<Arc<Grant>>,
    /// `[secrets]`: where the values are, by name. The values themselves are never part of a policy.
    pub secrets: BTreeMap<String, SecretDeclaration>,
    /// `[network]`: how names are looked up and servers are trusted.
    pub network: NetworkSettings,
    /// `[approval]`: who is told of what waits for a person.
    pub approval: ApprovalSettings,
    /// `[audit]`: what an audit may show of its runs.
    pub audit: AuditSettings,
    /// `rules`: who may call what. Where there are none, a grant alone decides.
    pub rules: Option<Arc<RuleSet>>,
    /// `[roles]`: the roles of each principal, for the rules.
    pub roles: BTreeMap<Principal, Vec<String>>,
    /// The operator's policy above this one, where there is one: see [`Policy::under`].
    pub ceiling: Option<Arc<Ceiling>>,
    /// The digest of the document's bytes; of no bytes where there is no document.
    pub digest: Digest,
}

impl Policy {
    /// The same with no limit above these.
    pub(crate) fn capped(mut self, ceiling: &StepLimits) -> Self {
        self.limits = self.limits.lower_of(ceiling);
        for grant in &mut self.grants {
            let limits = grant.limits.lower_of(ceiling);
            Arc::make_mut(grant).limits = limits;
        }
        self
    }
}

/// One `[[grant]]`.
#[derive(Debug, Clone)]
pub struct Grant {
    /// `skills`: names, or `*`.
    pub skills: Vec<Pattern>,
    /// `tools`: names inside the skill, `prefix*`, or `*`.
    pub tools: Vec<Pattern>,
    /// `origin`: where the skill has to be from.
    pub origin: Option<SkillOrigin>,
    /// `sha256`: the component that it has to be.
    pub sha256: Option<Digest>,
    /// `filesystem`.
    pub filesystem: Vec<Preopen>,
    /// `clocks`.
    pub clocks: Clocks,
    /// `random`.
    pub random: Random,
    /// `network`: what may be asked of which servers; the first rule that allows a request applies alone.
    pub network: Vec<NetworkRule>,
    /// `sockets`; where it is absent, a component that imports them is denied.
    pub sockets: Option<Sockets>,
    /// `env`: exactly what the guest sees, but for secrets, of which it sees placeholders.
    pub env: BTreeMap<String, EnvValue>,
    /// `config`: what `wasi:config/store` answers, and nothing beyond.
    pub config: BTreeMap<String, EnvValue>,
    /// `calls`: the tools of other skills that may be called from inside.
    pub calls: Vec<CallPattern>,
    /// `approval`; where it is absent, the risk of the tool decides.
    pub approval: Option<Approval>,
    /// The policy's ceilings lowered by the grant's own `limits`.
    pub limits: StepLimits,
}

impl Grant {
    /// A grant of nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            skills: Vec::new(),
            tools: Vec::new(),
            origin: None,
            sha256: None,
            filesystem: Vec::new(),
            clocks: Clocks::Virtual,
            random: Random::Seeded,
            network: Vec::new(),
            sockets: None,
            env: BTreeMap::new(),
            config: BTreeMap::new(),
            calls: Vec::new(),
            approval: None,
            limits: StepLimits::DEFAULT,
        }
    }
}

impl Grant {
    /// Whether there is what a component must have that imports something with this need: what is not there cannot be linked. All else has a
    /// harmless empty form.
    #[must_use]
    pub const fn provides(&self, need: Need) -> bool {
        match need {
            Need::Network => !self.network.is_empty(),
            Need::Sockets => self.sockets.is_some(),
            Need::NotProvided => false,
            Need::Nothing
            | Need::Filesystem
            | Need::Clocks
            | Need::Random
            | Need::Environment
            | Need::Config
            | Need::Calls => true,
        }
    }

    /// Whether a guest may send requests that change something at their server: methods that RFC 9110 does not call safe.
    #[must_use]
    pub fn may_send_unsafe(&self) -> bool {
        const SAFE: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];
        self.network.iter().flat_map(|rule| &rule.methods).any(|method| !SAFE.contains(&method.as_str()))
    }

    /// The variables of a request's `meta.env` that are told to a guest.
    pub fn asks_of_request(&self) -> impl Iterator<Item = &str> {
        self.env.values().chain(self.config.values()).filter_map(|value| match value {
            EnvValue::Request { name, .. } => Some(name.as_str()),
            EnvValue::Text(_) | EnvValue::Secret(_) => None,
        })
    }

    /// What a guest can see of the grant, as JSON: two grants of the same give a tool the same. Limits and approval are not in it; they decide
    /// whether a call ends, not what it gives.
    pub(crate) fn identity(&self) -> Value {
        let filesystem =
            self.filesystem.iter().map(|Preopen { host, guest, access }| json!([host, guest, access.name()]));
        let network = self.network.iter().map(NetworkRule::identity);
        let values = |values: &BTreeMap<String, EnvValue>| -> Value {
            let value = |(name, value): (&String, &EnvValue)| match value {
                EnvValue::Text(text) => json!([name, text]),
                EnvValue::Secret(secret) => json!([name, { "secret": secret }]),
                EnvValue::Request { name: asked, default } => json!([name, { "default": default, "request": asked }]),
            };
            values.iter().map(value).collect()
        };
        let calls: Vec<String> = self.calls.iter().map(ToString::to_string).collect();
        let mut identity = json!({
            "clocks": self.clocks.name(),
            "env": values(&self.env),
            "filesystem": filesystem.collect::<Vec<_>>(),
            "network": network.collect::<Vec<_>>(),
            "random": self.random.name(),
        });
        // Only where there are some: a grant without them is the one that it was before there were any.
        if let (false, Value::Object(members)) = (self.config.is_empty(), &mut identity) {
            members.insert("config".to_owned(), values(&self.config));
        }
        if let (false, Value::Object(members)) = (calls.is_empty(), &mut identity) {
            members.insert("calls".to_owned(), json!(calls));
        }
        if let (Some(sockets), Value::Object(members)) = (self.sockets, &mut identity) {
            members.insert("sockets".to_owned(), json!(sockets.name()));
        }
        identity
    }
}

/// What a grant or a rule says of approval by a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// `never`: not because of the tool's risk.
    Never,
    /// `required`: each time.
    Required,
}

impl Approval {
    /// As policies write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Required => "required",
        }
    }
}

/// A name, a prefix (`write-*`) or everything (`*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This name alone.
    Exact(String),
    /// Every name that starts so; the empty prefix is `*`.
    Prefix(String),
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// One granted directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preopen {
    /// `host`: an absolute path, or `{workspace}` with or without a path below it.
    pub host: String,
    /// `guest`: the absolute path under which the guest sees it.
    pub guest: String,
    /// `access`.
    pub access: Access,
}

impl Preopen {
    /// The host folder, with the workspace put in. Works on the text alone: whether the folder exists is for whoever opens it.
    #[must_use]
    pub fn resolve_host(&self, workspace: &Path) -> PathBuf {
        match self.host.strip_prefix(WORKSPACE) {
            None => PathBuf::from(&self.host),
            Some(below) => match below.trim_matches('/') {
                "" => workspace.to_owned(),
                below => workspace.join(below),
            },
        }
    }
}

impl Access {
    /// The access as policies write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
        }
    }
}

impl Clocks {
    /// The clocks as policies write them.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Virtual => "virtual",
            Self::Real => "real",
        }
    }
}

impl Random {
    /// The source as policies write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seeded => "seeded",
            Self::Real => "real",
        }
    }
}

impl Sockets {
    /// The sockets as policies write them.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
        }
    }
}

/// What a guest may do below a preopen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `read-only`.
    ReadOnly,
    /// `read-write`.
    ReadWrite,
}

/// Where a guest's time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clocks {
    /// `virtual` (default): starts at the plan's start time, advances by a fixed amount for each reading, timers jump it.
    #[default]
    Virtual,
    /// `real`: the machine's clocks, recorded.
    Real,
}

/// What a component gets that imports `wasi:sockets`. There is nothing else: open sockets are not provided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    /// `closed`: the interfaces are there, and every socket and every name is refused to the guest.
    Closed,
}

/// Where a guest's random bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Random {
    /// `seeded` (default): from the plan's seed, the step's id and the attempt.
    #[default]
    Seeded,
    /// `real`: the machine's randomness, recorded.
    Real,
}

/// A text as a string of TOML.
pub(crate) fn quoted(text: &str) -> String {
    // What JSON escapes, TOML reads as well; what JSON leaves and nobody would see is escaped in TOML's way.
    let mut json = Vec::with_capacity(text.len() + 2);
    crate::canonical::write_string(&mut json, text);
    let mut out = String::with_capacity(json.len());
    for c in String::from_utf8(json).unwrap_or_default().chars() {
        match u32::from(c) {
            code if !crate::harmless::is_hidden(c) || code < 0x20 => out.push(c),
            code @ 0..=0xffff => out.extend(format!("\\u{code:04X}").chars()),
            code => out.extend(format!("\\U{code:08X}").chars()),
        }
    }
    out
}

/// A key of TOML: bare where that is enough.
pub(crate) fn key(name: &str) -> String {
    let bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare { name.to_owned() } else { quoted(name) }
}
