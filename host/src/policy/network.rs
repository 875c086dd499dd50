//! The rules of a grant on what may be asked of which servers, and the decision for one request. Pure: no name is looked up here.
//!
//! A request is refused where its URL could mean one thing to this host and another to a server: dot segments, empty segments, encoded
//! slashes, user information. What is left is compared part by part; the first rule that fits applies alone.

pub mod address;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use http::{Method, Uri};
use ipnet::IpNet;

use crate::problem::Position;

pub use target::{BadUrl, Target};
pub(crate) use target::{comparable_path, path_fault, read_port, split_authority};

/// Headers that neither a guest nor a rule may set: they say where a message ends, whom it is for or which method is meant, or hold for
/// one connection alone.
pub const HOST_HEADERS: [&str; 16] = [
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// One entry of a grant's `network`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRule {
    /// The scheme of `url`.
    pub scheme: Scheme,
    /// The host of `url`.
    pub host: HostPattern,
    /// The port of `url`; the scheme's own where it names none.
    pub port: u16,
    /// The path of `url`.
    pub path: PathPattern,
    /// `methods`: at least one.
    pub methods: BTreeSet<String>,
    /// `addresses`: those of the special ranges that this rule may reach nevertheless.
    pub addresses: Vec<IpNet>,
    /// `headers`: set at egress, in place of what the guest said. Names in lower case.
    pub headers: BTreeMap<String, HeaderValue>,
    /// `secrets`: those whose placeholders are replaced in the headers of requests under this rule.
    pub secrets: BTreeSet<String>,
}

impl NetworkRule {
    /// Everything that the rule says, for telling whether it is another one. Of header values their debug form: no secret is in it.
    pub(crate) fn identity(&self) -> serde_json::Value {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let headers: BTreeMap<&String, String> =
            self.headers.iter().map(|(name, value)| (name, format!("{value:?}"))).collect();
        serde_json::json!({
            "addresses": addresses,
            "headers": headers,
            "methods": self.methods,
            "secrets": self.secrets,
            "url": self.to_string(),
        })
    }
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// Its name in URLs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where a URL names none.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Which hosts a rule means. Names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This one: a name, or an address in its canonical form, IPv6 in brackets.
    Exact(String),
    /// `*.example.com`: every name below `example.com`, at any depth, but not itself.
    Below(String),
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            // An address has no names below it, and ends in no name: a rule's base is never a number.
            Self::Below(base) => {
                host.strip_suffix(base.as_str()).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
            }
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(host)) => self.matches(host),
            (Self::Exact(_), Self::Below(_)) => false,
            (Self::Below(base), Self::Below(other)) => base == other || self.matches(other),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Below(base) => write!(f, "*.{base}"),
        }
    }
}

/// Which paths a rule means. The query is never looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// This one.
    Exact(String),
    /// `/v1/*`: everything that starts with `/v1/`, which is how this is kept; `/v1` alone does not.
    Prefix(String),
}

impl PathPattern {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(path), Self::Exact(other)) => path == other,
            (Self::Exact(_), Self::Prefix(_)) => false,
            (Self::Prefix(prefix), Self::Exact(path) | Self::Prefix(path)) => path.starts_with(prefix.as_str()),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// What a header is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// This text.
    Text(String),
    /// A secret's value.
    Secret {
        /// The secret's name in `[secrets]`.
        name: String,
        /// What stands before it, such as `Bearer `.
        prefix: String,
    },
}

/// `[network]`: how the host reaches what the rules allow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkSettings {
    /// `dns`: address and port of the DNS server that is asked; `None` is the system's own way.
    pub dns: Option<core::net::SocketAddr>,
    /// `roots`: which certificates TLS begins to trust from.
    pub roots: Roots,
}

/// The root certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Roots {
    /// `"mozilla"` (default): the list of the Mozilla root program that is part of this program.
    #[default]
    Mozilla,
    /// `{ file = "…" }`: the certificates of a PEM file, and no others.
    File {
        /// Where it is.
        path: PathBuf,
        /// Where the policy names it, for what is found wrong when it is read.
        position: Position,
    },
}

impl NetworkRule {
    /// `url` as policies write it.
    #[must_use]
    pub fn url(&self) -> String {
        let port = if self.port == self.scheme.default_port() { String::new() } else { format!(":{}", self.port) };
        format!("{}://{}{port}{}", self.scheme.name(), self.host, self.path)
    }

    /// Whether it allows a method that may change something on the server: all but those that are safe by HTTP's own definition.
    #[must_use]
    pub fn may_write(&self) -> bool {
        const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
        self.methods.iter().any(|method| !SAFE.contains(&method.as_str()))
    }

    /// Whether every request that `other` allows is allowed by this rule, the methods apart.
    pub(crate) fn covers_place(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.port == other.port
            && self.host.covers(&other.host)
            && self.path.covers(&other.path)
    }

    /// The parts of a request that fit, in the order in which a person would look at them.
    fn fits(&self, method: &str, target: &Target) -> Fit {
        if !self.host.matches(target.host()) {
            Fit::Nothing
        } else if self.scheme != target.scheme() {
            Fit::Host
        } else if self.port != target.port() {
            Fit::Scheme
        } else if !self.path.matches(target.path()) {
            Fit::Port
        } else if !self.methods.contains(method) {
            Fit::Path
        } else {
            Fit::All
        }
    }
}

impl fmt::Display for NetworkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<&str> = self.methods.iter().map(String::as_str).collect();
        write!(f, "{} {}", methods.join(", "), self.url())
    }
}

/// The last part of a request that a rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Nothing,
    Host,
    Scheme,
    Port,
    Path,
    All,
}

/// Why a request is not sent. `Display` is for people: lower case, no final period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The URL is none, or could mean different things to different readers.
    #[error("the url is refused: {0}")]
    Url(#[from] BadUrl),
    /// No rule allows it.
    #[error("no network rule of the grant allows `{request}`: {nearest}")]
    NoRule {
        /// Method and URL without query.
        request: String,
        /// What the nearest rule says.
        nearest: String,
    },
}

/// The first of `rules` that allows the request, by its index, with the place that the request is for.
///
/// # Errors
///
/// [`Refused`] where none does.
pub fn permit(rules: &[NetworkRule], method: &Method, uri: &Uri) -> Result<(usize, Target), Refused> {
    let target = Target::of(uri)?;
    let mut nearest: Option<(Fit, usize, &NetworkRule)> = None;
    for (index, rule) in rules.iter().enumerate() {
        let fit = rule.fits(method.as_str(), &target);
        if fit == Fit::All {
            return Ok((index, target));
        }
        if nearest.is_none_or(|(best, ..)| fit > best) {
            nearest = Some((fit, index, rule));
        }
    }
    let nearest = match nearest {
        None => "there is none".to_owned(),
        Some((Fit::Nothing, ..)) => "none names this host".to_owned(),
        Some((fit, index, rule)) => {
            let part = match fit {
                Fit::Host => "scheme",
                Fit::Scheme => "port",
                Fit::Port => "path",
                Fit::Nothing | Fit::Path | Fit::All => "method",
            };
            format!("rule {index} (`{rule}`) has another {part}")
        }
    };
    let request = crate::problem::shown(&format!("{method} {target}"));
    Err(Refused::NoRule { request, nearest })
}

/// The rules that together allow all that `rule` allows, by their indices; `None` where something is left for it.
#[must_use]
pub fn covered_by(earlier: &[NetworkRule], rule: &NetworkRule) -> Option<BTreeSet<usize>> {
    let covering =
        |method: &String| earlier.iter().position(|other| other.methods.contains(method) && other.covers_place(rule));
    rule.methods.iter().map(covering).collect()
}

#[cfg(test)]
mod tests;
