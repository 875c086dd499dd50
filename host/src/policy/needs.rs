//! The static check: what a tool cannot do without, held against its grant before anything of it runs.
//!
//! Exact needs come from two places: imports that have no harmless empty form (a file system without folders, an environment without
//! variables and a virtual clock are harmless; a network or sockets that are not there cannot be linked), and what the tool's `skill.toml` declares.
//! A program of the standard library imports `wasi:filesystem` whether it uses it or not, so that import alone is none.

use std::fmt;

use serde_json::{Value, json};

use crate::id::ToolName;
use crate::policy::document::places;
use crate::policy::{Access, Clocks, Grant, Random, Sockets, WORKSPACE, key, quoted};
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
    found.extend(missing_sockets(grant, tool, skill));
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

/// The URLs that no rule of the grant allows, whatever the method, and a network at all where the component imports one.
fn missing_network(grant: &Grant, needs: &Needs, tool: &ToolName, skill: &Skill) -> Option<Missing> {
    let is_allowed =
        |url: &String| places(url).is_some_and(|needed| grant.network.iter().any(|rule| rule.covers_place(&needed)));
    let urls: Vec<&str> = needs.network.iter().filter(|url| !is_allowed(url)).map(String::as_str).collect();
    let import = skill.imports.iter().find(|import| import.needs == Need::Network);
    let because = match import {
        _ if !urls.is_empty() => format!("`{tool}` declares that it needs {}", ticked(&urls)),
        Some(import) if grant.network.is_empty() => format!("`{}` imports `{}`", tool.skill(), import.name),
        _ => return None,
    };
    let urls = if urls.is_empty() { vec!["https://…/*"] } else { urls };
    let rules: Vec<String> =
        urls.iter().map(|url| format!("{{ url = {}, methods = [\"GET\"] }}", quoted(url))).collect();
    Some(Missing { key: "network", line: format!("network = [{}]", rules.join(", ")), because })
}

/// Closed sockets where the component imports some.
fn missing_sockets(grant: &Grant, tool: &ToolName, skill: &Skill) -> Option<Missing> {
    let import = skill.imports.iter().find(|import| import.needs == Need::Sockets)?;
    let because = format!("`{}` imports `{}`", tool.skill(), import.name);
    let line = format!("sockets = \"{}\"", Sockets::Closed.name());
    if grant.provides(Need::Sockets) { None } else { Some(Missing { key: "sockets", line, because }) }
}

fn ticked(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The reason of a denial for what is missing.
pub(crate) fn reason(grant_index: usize, tool: &ToolName, missing: &[Missing]) -> String {
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
