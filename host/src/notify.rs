//! Tells the outside that a run waits for a person: one signed POST, sent by the rules that hold for guests as well.
//!
//! Owns whom to tell, what is said ([`ApprovalNotice`]) and the signature ([`SigningKey`]). Never decides about the run: whether a message
//! arrived changes nothing but what is recorded of it. Never retries, never follows a redirect, never reads what is answered.

mod body;
mod sign;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::limits;
use crate::policy::Policy;
use crate::policy::network::{HostPattern, NetworkRule, PathPattern, Target};
use crate::sandbox::{Post, PostError, Reach, Resolve, Secrets, post};

pub use body::ApprovalNotice;
pub(crate) use body::redacted;
pub use sign::{BadKey, SigningKey};

/// The header of the signature: `sha256=` and the hexadecimal HMAC-SHA256 of the body.
pub const SIGNATURE_HEADER: &str = "x-skillhost-signature";

/// What whoever runs the host says of webhooks, beside the policy.
#[derive(Debug, Clone, Default)]
pub struct Operator {
    /// `HOST_APPROVAL_WEBHOOK`: the URL that is told where neither plan nor policy names one.
    pub webhook: Option<String>,
    /// `HOST_APPROVAL_SECRET`: what every message is signed with.
    pub key: Option<SigningKey>,
}

/// Who named a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// The plan's step: a rule of `[approval] network` must allow it.
    Plan,
    /// `[approval] webhook` of the policy, which thereby allows it.
    Policy,
    /// The environment of the host, which thereby allows it.
    Environment,
}

impl NamedBy {
    /// Its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Policy => "policy",
            Self::Environment => "environment",
        }
    }
}

/// One URL to tell. Its `Debug` shows neither the URL nor the key.
#[derive(Clone)]
pub struct Webhook {
    url: String,
    named_by: NamedBy,
    rules: Vec<NetworkRule>,
    key: Option<SigningKey>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("named_by", &self.named_by).field("is_signed", &self.key.is_some()).finish()
    }
}

/// How requests of the host reach servers.
#[derive(Debug, Clone)]
pub struct Via<'a> {
    /// Whose `[network]` holds.
    pub policy: &'a Policy,
    /// The values of the policy's secrets, for headers that a rule sets.
    pub secrets: Secrets,
    /// Looks names up in place of what the policy says.
    pub resolver: Option<Arc<dyn Resolve>>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Where it was for, as it may be recorded: of an operator's URL the server alone, because its path is often a secret; of a plan's URL
    /// all but the query.
    pub to: String,
    /// Who named that place.
    pub named_by: NamedBy,
    /// The status of the answer where it says that the message was taken (2xx); why it was not otherwise: lower case, no final period.
    pub status: Result<u16, String>,
    /// How often it was sent: once, or never where nothing allows it.
    pub attempts: u32,
}

impl Delivery {
    /// Whether the message was taken.
    #[must_use]
    pub const fn is_delivered(&self) -> bool {
        self.status.is_ok()
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.status {
            Ok(status) => write!(f, "{} was told ({status})", self.to),
            Err(why) if self.attempts == 0 => write!(f, "{} was not told: {why}", self.to),
            Err(why) => write!(f, "telling {} failed: {why}", self.to),
        }
    }
}

impl Webhook {
    /// The URL that applies: the plan's, else the policy's, else the environment's; `None` where nobody names one.
    #[must_use]
    pub fn choose(of_plan: Option<&str>, policy: &Policy, operator: &Operator) -> Option<Self> {
        let candidates = [
            (of_plan, NamedBy::Plan),
            (policy.approval.webhook.as_deref(), NamedBy::Policy),
            (operator.webhook.as_deref(), NamedBy::Environment),
        ];
        let (url, named_by) = candidates.into_iter().find_map(|(url, by)| Some((url?.to_owned(), by)))?;
        let mut rules = policy.approval.network.clone();
        if named_by != NamedBy::Plan {
            // After the policy's own rules, which may set headers.
            rules.extend(url.parse().ok().as_ref().and_then(allowing));
        }
        Some(Self { url, named_by, rules, key: operator.key.clone() })
    }

    /// Who named the URL.
    #[must_use]
    pub const fn named_by(&self) -> NamedBy {
        self.named_by
    }

    /// Sends `body`, which is JSON, once. Waits for the head of the answer, at the most [`limits::WEBHOOK_MS_MAX`].
    #[must_use]
    pub fn deliver(&self, via: &Via<'_>, body: Vec<u8>) -> Delivery {
        self.deliver_within(via, body, Duration::from_millis(limits::WEBHOOK_MS_MAX))
    }

    fn deliver_within(&self, via: &Via<'_>, body: Vec<u8>, within: Duration) -> Delivery {
        let (status, attempts) = match self.send(via, body, within) {
            Ok(status) if (200..300).contains(&status) => (Ok(status), 1),
            Ok(status @ 300..400) => (Err(format!("the server answered {status}, and redirects are not followed")), 1),
            Ok(status) => (Err(format!("the server answered {status}")), 1),
            Err(PostError::Failed(why)) => (Err(why.to_owned()), 1),
            Err(PostError::Refused(why)) => (Err(self.recordable(why)), 0),
        };
        Delivery { to: self.shown(), named_by: self.named_by, status, attempts }
    }

    fn send(&self, via: &Via<'_>, body: Vec<u8>, within: Duration) -> Result<u16, PostError> {
        let refused = |error: &dyn fmt::Display| PostError::Refused(error.to_string());
        let url: Uri = self.url.parse().map_err(|error| PostError::Refused(format!("the url is none: {error}")))?;
        let reach = Reach::open(&via.policy.network, via.resolver.clone(), via.secrets.clone());
        let reach = reach.map_err(|problem| refused(&problem.message))?;
        let mut headers = Vec::new();
        if let Some(key) = &self.key {
            let value = HeaderValue::try_from(key.signature(&body)).map_err(|error| refused(&error))?;
            headers.push((HeaderName::from_static(SIGNATURE_HEADER), value));
        }
        post(&reach, &self.rules, Post { url, body, headers }, within).map(|status| status.as_u16())
    }

    /// See [`Delivery::to`].
    fn shown(&self) -> String {
        let target = self.url.parse::<Uri>().ok().and_then(|uri| Target::of(&uri).ok());
        match (target, self.named_by) {
            (None, _) => "a url that is none".to_owned(),
            (Some(target), NamedBy::Plan) => target.to_string(),
            (Some(target), _) => format!("{}://{}", target.scheme().name(), target.authority()),
        }
    }

    /// A refusal without the path of an operator's URL.
    fn recordable(&self, why: String) -> String {
        match self.named_by {
            NamedBy::Plan => why,
            _ => why.replace(&self.url, &self.shown()),
        }
    }
}

/// The rule that an operator's URL amounts to: this one place, wherever its name leads.
fn allowing(url: &Uri) -> Option<NetworkRule> {
    let target = Target::of(url).ok()?;
    Some(NetworkRule {
        scheme: target.scheme(),
        host: HostPattern::Exact(target.host().to_owned()),
        port: target.port(),
        path: PathPattern::Exact(target.path().to_owned()),
        methods: [http::Method::POST.to_string()].into(),
        addresses: vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())],
        headers: std::collections::BTreeMap::new(),
        secrets: std::collections::BTreeSet::new(),
    })
}

#[cfg(test)]
mod tests;
