//! What a skill says that it cannot do without: `needs` in `skill.toml`, for the skill and for each of its tools.
//!
//! A need is a claim that is held against the component's imports at load and against the grant before anything runs. It grants nothing.

use serde_json::{Value, json};

use super::{Import, Need};
use crate::limits;
use crate::problem::{Problem, pointer_to};
use crate::toml_text::{Node, Reader};

/// What is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// `filesystem`: a folder, to read or to write.
    pub filesystem: Option<FolderNeed>,
    /// `network`: patterns of URLs, as the rules of a policy write them.
    pub network: Vec<String>,
    /// `clocks = "real"`.
    pub clocks: bool,
    /// `random = "real"`.
    pub random: bool,
    /// `env`: names of variables.
    pub env: Vec<String>,
}

/// What is needed of a folder. The weaker is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FolderNeed {
    /// `read-only`.
    ReadOnly,
    /// `read-write`.
    ReadWrite,
}

impl FolderNeed {
    /// The need as manifests write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
        }
    }
}

impl Needs {
    /// Whether nothing is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is needed, for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "filesystem": self.filesystem.map(FolderNeed::name),
            "network": self.network,
            "clocks": self.clocks.then_some("real"),
            "random": self.random.then_some("real"),
            "env": self.env,
        })
    }

    /// What is needed for both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let both = |one: &[String], two: &[String]| {
            let mut all: Vec<String> = one.iter().chain(two).cloned().collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        Self {
            filesystem: self.filesystem.max(other.filesystem),
            network: both(&self.network, &other.network),
            clocks: self.clocks || other.clocks,
            random: self.random || other.random,
            env: both(&self.env, &other.env),
        }
    }

    /// Each kind of need that is declared: its key, what an import must need for it, and the package that has such interfaces.
    fn declared(&self) -> impl Iterator<Item = (&'static str, Need, &'static str)> {
        let all = [
            (self.filesystem.is_some(), "filesystem", Need::Filesystem, "wasi:filesystem"),
            (!self.network.is_empty(), "network", Need::Network, "wasi:http"),
            (self.clocks, "clocks", Need::Clocks, "wasi:clocks"),
            (self.random, "random", Need::Random, "wasi:random"),
            (!self.env.is_empty(), "env", Need::Environment, "wasi:cli/environment"),
        ];
        all.into_iter().filter(|(declared, ..)| *declared).map(|(_, key, need, package)| (key, need, package))
    }

    /// What is declared although the component imports nothing that could use it. `pointer` is the place of `needs`.
    pub(super) fn unimported(&self, imports: &[Import], pointer: &str) -> Vec<Problem> {
        let missing = self.declared().filter(|(_, need, _)| !imports.iter().any(|import| import.needs == *need));
        missing
            .map(|(key, _, package)| {
                let message = format!("`needs` has `{key}`, but the component imports nothing of `{package}`");
                let hint = format!("remove `{key}`: the component cannot use it");
                Problem::new("need-not-imported", pointer_to(pointer, key), message).with_hint(hint)
            })
            .collect()
    }
}

/// Reads a `needs` table.
pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<Needs> {
    let fields = reader.table(node, &["filesystem", "network", "clocks", "random", "env"])?;
    let folders = [FolderNeed::ReadOnly, FolderNeed::ReadWrite].map(|need| (need.name(), need));
    let real = [("real", true)];
    Some(Needs {
        filesystem: fields.get("filesystem").and_then(|node| reader.one_of(&node, &folders)),
        network: fields.get("network").map(|node| read_list(reader, &node, "URLs", check_url)).unwrap_or_default(),
        clocks: fields.get("clocks").and_then(|node| reader.one_of(&node, &real)).unwrap_or_default(),
        random: fields.get("random").and_then(|node| reader.one_of(&node, &real)).unwrap_or_default(),
        env: fields.get("env").map(|node| read_list(reader, &node, "names", check_name)).unwrap_or_default(),
    })
}

/// Reads an array of texts, sorted; `check` says what is wrong with one.
fn read_list<'t>(
    reader: &mut Reader<'t>,
    node: &Node<'_, 't>,
    of: &str,
    check: fn(&str) -> Option<&'static str>,
) -> Vec<String> {
    let Some(items) = reader.array(node, of) else { return Vec::new() };
    if items.len() > limits::NEEDS_MAX {
        let message =
            format!("`{}` has {} {of}; at most {} are read", node.place.key(), items.len(), limits::NEEDS_MAX);
        reader.report(&node.place, "too-many-needs", message, None);
        return Vec::new();
    }
    let mut found = Vec::with_capacity(items.len());
    for item in &items {
        let Some(text) = reader.string(item) else { continue };
        match check(text) {
            None => found.push(text.to_owned()),
            Some(hint) => {
                let message =
                    format!("`{}` is none of the {of} that `{}` lists", text.escape_debug(), node.place.key());
                reader.report(&item.place, "bad-need", message, Some(hint.to_owned()));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// A first look; whether a grant gives it is for the policy's own rules to say.
fn check_url(text: &str) -> Option<&'static str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    let plain = |text: &str| !text.chars().any(|c| c.is_whitespace() || c.is_control());
    match host {
        Some(host) if !host.is_empty() && !host.contains('@') && !text.contains('#') && plain(text) => None,
        _ => Some("write a URL as in a policy's `network`, such as `https://api.example.com/*`"),
    }
}

fn check_name(text: &str) -> Option<&'static str> {
    let sound = !text.is_empty() && !text.contains(['=', '\0']);
    if sound { None } else { Some("a name is not empty and holds no `=` and no NUL") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skill::{Metadata, need_of};

    const HEAD: &str = "schema = \"skillhost.skill/1\"\nname = \"a\"\nversion = \"1\"\n";

    fn needs(text: &str) -> Needs {
        Metadata::parse(&format!("{HEAD}needs = {text}\n")).unwrap().needs.unwrap()
    }

    fn codes(text: &str) -> Vec<String> {
        let problems = Metadata::parse(&format!("{HEAD}needs = {text}\n")).unwrap_err();
        problems.into_iter().map(|problem| format!("{} {}", problem.pointer, problem.code)).collect()
    }

    #[test]
    fn every_key_is_read() {
        let all = "{ filesystem = \"read-write\", network = [\"https://b.example/*\", \"http://a.example/x\"], clocks = \"real\", \
                   random = \"real\", env = [\"B\", \"A\", \"A\"] }";
        let found = needs(all);
        assert_eq!(found.filesystem, Some(FolderNeed::ReadWrite));
        assert_eq!(found.network, ["http://a.example/x", "https://b.example/*"]);
        assert!(found.clocks && found.random);
        assert_eq!(found.env, ["A", "B"]);
        assert!(needs("{}").is_empty());
        assert_eq!(Metadata::parse(HEAD).unwrap().needs, None, "to say nothing is not to need nothing");
    }

    #[test]
    fn mistakes_have_their_place() {
        assert_eq!(codes("{ filesystem = \"write\" }"), ["/needs/filesystem unknown-value"]);
        assert_eq!(codes("{ clocks = \"virtual\" }"), ["/needs/clocks unknown-value"]);
        assert_eq!(codes("{ disk = \"real\" }"), ["/needs/disk unknown-key"]);
        assert_eq!(codes("{ env = [\"A=B\", \"\"] }"), ["/needs/env/0 bad-need", "/needs/env/1 bad-need"]);
        for url in
            ["ftp://a/", "a.example/x", "https://", "https://me:pw@a.example/", "https://a.example/#x", "https://a b/"]
        {
            assert_eq!(codes(&format!("{{ network = [\"{url}\"] }}")), ["/needs/network/0 bad-need"], "{url}");
        }
    }

    #[test]
    fn lists_are_bounded() {
        let names = |count: usize| {
            let names: Vec<String> = (0..count).map(|at| format!("\"N{at}\"")).collect();
            format!("{{ env = [{}] }}", names.join(", "))
        };
        assert_eq!(needs(&names(limits::NEEDS_MAX)).env.len(), limits::NEEDS_MAX);
        assert_eq!(codes(&names(limits::NEEDS_MAX + 1)), ["/needs/env too-many-needs"]);
    }

    #[test]
    fn what_is_needed_must_be_imported() {
        let imports: Vec<Import> = ["wasi:filesystem/types@0.2.3", "wasi:clocks/wall-clock@0.2.3"]
            .into_iter()
            .map(|name| Import { name: name.to_owned(), needs: need_of(name) })
            .collect();
        let found = needs("{ filesystem = \"read-only\", clocks = \"real\", random = \"real\", env = [\"A\"], network = [\"http://a/\"] }")
            .unimported(&imports, "/needs");
        let places: Vec<&str> = found.iter().map(|problem| problem.pointer.as_str()).collect();
        assert_eq!(places, ["/needs/network", "/needs/random", "/needs/env"]);
        assert!(found[1].to_string().contains("imports nothing of `wasi:random`"), "{}", found[1]);
    }

    #[test]
    fn needs_add_up() {
        let one = needs("{ filesystem = \"read-only\", env = [\"A\", \"C\"] }");
        let two = needs("{ filesystem = \"read-write\", env = [\"B\", \"C\"], clocks = \"real\" }");
        let both = one.and(&two);
        assert_eq!(both, two.and(&one));
        assert_eq!((both.filesystem, both.clocks, both.random), (Some(FolderNeed::ReadWrite), true, false));
        assert_eq!(both.env, ["A", "B", "C"]);
    }
}
