//! The static check: what a tool cannot do without, held against its grant before anything of it runs.
//!
//! Exact needs come from two places: imports that have no harmless empty form (a file system without folders, an environment without
//! variables and a virtual clock are harmless; a network that is not there cannot be linked), and what the tool's `skill.toml` declares.
//! A program of the standard library imports `wasi:filesystem` whether it uses it or not, so that import alone is none.

use std::fmt;

use serde_json::{Value, json};

use crate::id::ToolName;
use crate::policy::{Access, Clocks, Grant, Random, WORKSPACE, quoted};
use crate::skill::{FolderNeed, Need, Needs, Skill};

/// The guest path that is proposed where a grant has no folder.
const GUEST: &str = "/workspace";

/// One thing that a tool needs and its grant does not give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The key of the grant.
    pub key: &'static str,
    /// The line of TOML that the grant would need.
    pub line: String,
    /// Who needs it: lower case, no final period.
    pub because: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  ({})", self.line, self.because)
    }
}

impl Missing {
    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "key": self.key, "line": self.line, "because": self.because })
    }
}

/// Everything that the tool needs and the grant does not give, in the order of a grant's keys; empty where the tool may run.
#[must_use]
pub fn missing(grant: &Grant, tool: &ToolName, skill: &Skill) -> Vec<Missing> {
    let needs = skill.needs(tool.function()).unwrap_or_default();
    let declared = |what: &str| format!("`{tool}` declares that it needs {what}");
    let mut found = Vec::new();
    if let Some(line) = missing_folder(grant, needs.filesystem) {
        let what = match needs.filesystem {
            Some(FolderNeed::ReadWrite) => "a folder to write to",
            _ => "a folder to read",
        };
        found.push(Missing { key: "filesystem", line, because: declared(what) });
    }
    found.extend(missing_network(grant, &needs, tool, skill));
    if needs.clocks && grant.clocks != Clocks::Real {
        found.push(Missing { key: "clocks", line: "clocks = \"real\"".to_owned(), because: declared("real clocks") });
    }
    if needs.random && grant.random != Random::Real {
        let because = declared("real randomness");
        found.push(Missing { key: "random", line: "random = \"real\"".to_owned(), because });
    }
    let names: Vec<&str> = needs.env.iter().filter(|name| !grant.env.contains_key(*name)).map(String::as_str).collect();
    if !names.is_empty() {
        let values: Vec<String> = names.iter().map(|name| format!("{} = \"…\"", key(name))).collect();
        let because = declared(&format!("the environment variable {}", ticked(&names)));
        found.push(Missing { key: "env", line: format!("env = {{ {} }}", values.join(", ")), because });
    }
    found
}

/// Which folder is needed and is one of `host`, `guest`, `access` does not say: any that has the access will do.
fn missing_folder(grant: &Grant, need: Option<FolderNeed>) -> Option<String> {
    let need = need?;
    let enough = |access: Access| need == FolderNeed::ReadOnly || access == Access::ReadWrite;
    if grant.filesystem.iter().any(|preopen| enough(preopen.access)) {
        return None;
    }
    let first = grant.filesystem.first();
    let host = first.map_or(WORKSPACE, |preopen| preopen.host.as_str());
    let guest = first.map_or(GUEST, |preopen| preopen.guest.as_str());
    Some(format!(
        "filesystem = [{{ host = {}, guest = {}, access = \"{}\" }}]",
        quoted(host),
        quoted(guest),
        need.name()
    ))
}

/// No version of a grant has a network yet, so that whatever asks for one lacks it.
fn missing_network(grant: &Grant, needs: &Needs, tool: &ToolName, skill: &Skill) -> Option<Missing> {
    if !grant.network.is_empty() {
        return None;
    }
    let import = skill.imports.iter().find(|import| import.needs == Need::Network);
    let because = match (import, needs.network.as_slice()) {
        (None, []) => return None,
        (Some(import), []) => format!("`{}` imports `{}`", tool.skill(), import.name),
        (_, urls) => {
            let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
            format!("`{tool}` declares that it needs {}", ticked(&urls))
        }
    };
    let rules = match needs.network.as_slice() {
        [] => "{ url = \"https://…/*\" }".to_owned(),
        urls => urls.iter().map(|url| format!("{{ url = {} }}", quoted(url))).collect::<Vec<_>>().join(", "),
    };
    Some(Missing { key: "network", line: format!("network = [{rules}]"), because })
}

/// A key of TOML: bare where that is enough.
fn key(name: &str) -> String {
    let bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare { name.to_owned() } else { quoted(name) }
}

fn ticked(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The reason of a denial for what is missing.
pub(super) fn reason(grant_index: usize, tool: &ToolName, missing: &[Missing]) -> String {
    let keys: Vec<&str> = missing.iter().map(|missing| missing.key).collect();
    let lines: Vec<String> = missing.iter().map(|missing| format!("`{}`", missing.line)).collect();
    format!("grant {grant_index} lacks {} that `{tool}` needs: {}", ticked(&keys), lines.join(", "))
}

/// What to do about it.
pub(super) fn hint(grant_index: usize, missing: &[Missing]) -> String {
    let lines: Vec<String> = missing.iter().map(|missing| format!("`{}`", missing.line)).collect();
    format!("if the tool shall have it, write {} into grant {grant_index}", lines.join(" and "))
}

#[cfg(test)]
pub(super) mod tests;
