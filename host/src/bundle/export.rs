//! What a bundle offers to callers: names with what stands behind them and what its author says of it. Data alone; `manifest` reads it,
//! `verify` holds it against the components.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::id::ToolName;
use crate::problem::suggestion;
use crate::skill::Risk;

/// What an export is to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A tool of a skill.
    Tool,
    /// Something that is handed a request and gives an object.
    Agent,
    /// A plan.
    Flow,
    /// Something that says who shall answer; gives an object.
    Router,
    /// Answers requests to one method and path.
    Http,
    /// A list of tools as a server of the Model Context Protocol offers them.
    Mcp,
}

impl Kind {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 6] = [Self::Tool, Self::Agent, Self::Flow, Self::Router, Self::Http, Self::Mcp];

    /// The kind as documents write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Agent => "agent",
            Self::Flow => "flow",
            Self::Router => "router",
            Self::Http => "http",
            Self::Mcp => "mcp",
        }
    }

    /// Whether what it gives has to be a JSON object.
    #[must_use]
    pub const fn gives_object(self) -> bool {
        matches!(self, Self::Agent | Self::Flow | Self::Router)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| UnknownKind { text: text.chars().take(80).collect() })
    }
}

/// There is no such kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no kind of export")]
pub struct UnknownKind {
    text: String,
}

impl UnknownKind {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let names = Kind::ALL.map(Kind::name);
        suggestion(&self.text, names).unwrap_or_else(|| format!("the kinds are {}", names.join(", ")))
    }
}

/// One thing that a bundle offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// What it is to its caller.
    pub kind: Kind,
    /// Its name, unique among those of its kind.
    pub name: String,
    /// What stands behind it.
    pub target: Target,
    /// What it does; empty where nobody says it.
    pub description: String,
    /// Its own version.
    pub version: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// JSON Schema of what it gives, where it is narrower than the tool's type.
    pub output_schema: Option<Value>,
    /// What a caller is meant to do with it.
    pub allowed_actions: Vec<String>,
    /// What it answers; of `http` alone.
    pub route: Option<Route>,
    /// The exported tools that it offers; of `mcp` alone.
    pub tools: Vec<String>,
    /// What else its author says of it.
    pub claims: Claims,
}

/// What stands behind an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A tool of one of the bundle's skills.
    Tool(ToolName),
    /// A plan of the bundle: the path of its file.
    Plan(PathBuf),
    /// Nothing of its own: its tools are exports of the kind `tool`.
    Server,
}

/// The requests that an export of the kind `http` answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The method, in capitals.
    pub method: String,
    /// The path, compared as it is.
    pub path: String,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// What an export does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Deletes.
    Delete,
    /// Computes or starts something.
    Execute,
    /// Talks to servers.
    Network,
}

impl Operation {
    /// The operation as documents write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Execute => "execute",
            Self::Network => "network",
        }
    }
}

/// What an author says of an export. Informs people and planners, has to be consistent, and grants nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// What it is about, such as `files`.
    pub domain: Option<String>,
    /// What it is able to do, of a fixed list of words.
    pub capabilities: Vec<&'static str>,
    /// What it does.
    pub operation: Option<Operation>,
    /// How much harm it can do.
    pub risk: Option<Risk>,
    /// Whether what it does can be taken back.
    pub reversible: Option<bool>,
    /// The exported tool that takes it back.
    pub compensation: Option<String>,
    /// What its caller should be allowed to do.
    pub permissions: Vec<String>,
    /// Requests that it is meant for.
    pub examples: Vec<String>,
    /// Endings of files that it understands.
    pub file_extensions: Vec<String>,
    /// Whether it should not be used any more.
    pub deprecated: bool,
}

impl Export {
    /// What is known of it, for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Claims { domain, capabilities, operation, risk, reversible, compensation, .. } = &self.claims;
        let mut members = Map::new();
        let mut put = |key: &str, value: Value| members.insert(key.to_owned(), value);
        put("kind", json!(self.kind));
        put("name", json!(self.name));
        put("description", json!(self.description));
        put("version", json!(self.version));
        put("tags", json!(self.tags));
        put("output_schema", json!(self.output_schema));
        put("allowed_actions", json!(self.allowed_actions));
        put("domain", json!(domain));
        put("capabilities", json!(capabilities));
        put("operation", json!(operation.map(Operation::name)));
        put("risk", json!(risk));
        put("reversible", json!(reversible));
        put("compensation", json!(compensation));
        put("permissions", json!(self.claims.permissions));
        put("examples", json!(self.claims.examples));
        put("file_extensions", json!(self.claims.file_extensions));
        put("deprecated", json!(self.claims.deprecated));
        if let Some(Route { method, path }) = &self.route {
            put("method", json!(method));
            put("path", json!(path));
        }
        if self.kind == Kind::Mcp {
            put("tools", json!(self.tools));
        }
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse::<Kind>(), Ok(kind));
            assert_eq!(json!(kind), json!(kind.name()));
        }
        let wrong = "Tool".parse::<Kind>().unwrap_err();
        assert_eq!(wrong.to_string(), "`Tool` is no kind of export");
        assert_eq!("flwo".parse::<Kind>().unwrap_err().hint(), "did you mean `flow`?");
    }
}
