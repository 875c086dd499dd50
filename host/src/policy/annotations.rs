//! Hints about a tool, computed from the grant that is enforced: what the tool cannot do under it, whatever it says of itself.
//!
//! INVARIANT: metadata may only weaken a hint. A tool that calls itself read-only under a grant that lets it write is not read-only, and
//! one that calls itself harmless is not; what it says is a claim and shown as one.

use serde_json::{Value, json};

use crate::policy::{Access, Grant, NetworkRule};
use crate::skill::{Annotations, Need, Skill};

/// Four answers of yes or no, as the Model Context Protocol names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "these four are what planners know")]
pub struct Hints {
    /// The tool changes nothing outside of itself.
    pub read_only: bool,
    /// It may remove or replace what is there.
    pub destructive: bool,
    /// Twice is the same as once.
    pub idempotent: bool,
    /// It reaches beyond this machine.
    pub open_world: bool,
}

impl Hints {
    /// What holds of a tool with these annotations under `grant`:
    ///
    /// - read-only: it may call no other tool, no folder of the grant may be written to, and no network rule allows a method but GET, HEAD and OPTIONS;
    /// - destructive: unless it is read-only, for nothing keeps a tool that may write from removing;
    /// - idempotent: it says so, and it is read-only, which is what the policy can prove of it;
    /// - open world: the grant has a network, or lets it call other tools, which may have one. Sockets are closed and reach nothing.
    #[must_use]
    pub fn enforced(grant: &Grant, annotations: &Annotations) -> Self {
        // What it calls has grants of its own.
        let read_only = grant.calls.is_empty()
            && grant.filesystem.iter().all(|preopen| preopen.access == Access::ReadOnly)
            && !grant.network.iter().any(NetworkRule::may_write);
        let idempotent = read_only && annotations.idempotent;
        Self {
            read_only,
            destructive: !read_only,
            idempotent,
            open_world: !(grant.network.is_empty() && grant.calls.is_empty()),
        }
    }

    /// What a tool says of itself: nothing enforces it.
    #[must_use]
    pub fn claimed(skill: &Skill, annotations: &Annotations) -> Self {
        Self {
            read_only: annotations.read_only,
            destructive: annotations.destructive,
            idempotent: annotations.idempotent,
            open_world: skill.imports.iter().any(|import| matches!(import.needs, Need::Network | Need::Sockets)),
        }
    }

    /// The hints under the names that the Model Context Protocol gives them.
    #[must_use]
    pub fn to_json(self) -> Value {
        json!({
            "readOnlyHint": self.read_only,
            "destructiveHint": self.destructive,
            "idempotentHint": self.idempotent,
            "openWorldHint": self.open_world,
        })
    }

    /// The hints that hold, in words.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let all = [
            (self.read_only, "read-only"),
            (self.destructive, "destructive"),
            (self.idempotent, "idempotent"),
            (self.open_world, "open world"),
        ];
        all.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn grant(lines: &str) -> Grant {
        let text = format!("schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n{lines}\n");
        let policy = Policy::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        Grant::clone(&policy.grants[0])
    }

    fn folder(at: &str, access: &str) -> String {
        format!("{{ host = \"/srv/{at}\", guest = \"/{at}\", access = \"{access}\" }}")
    }

    #[test]
    fn hints_follow_from_the_grant() {
        let (ro, rw) = (folder("a", "read-only"), folder("b", "read-write"));
        let network = |methods: &str| format!("network = [{{ url = \"https://a.example/*\", methods = [{methods}] }}]");
        for (lines, expected) in [
            (String::new(), &["read-only"][..]),
            (format!("filesystem = [{ro}]"), &["read-only"]),
            (format!("filesystem = [{rw}]"), &["destructive"]),
            (format!("filesystem = [{ro}, {rw}]"), &["destructive"]),
            ("sockets = \"closed\"".to_owned(), &["read-only"]),
            ("clocks = \"real\"\nrandom = \"real\"\nenv = { A = \"b\" }".to_owned(), &["read-only"]),
            (network("\"GET\", \"HEAD\", \"OPTIONS\""), &["read-only", "open world"]),
            (network("\"GET\", \"POST\""), &["destructive", "open world"]),
            (network("\"PROPFIND\""), &["destructive", "open world"]),
            (format!("filesystem = [{ro}]\n{}", network("\"DELETE\"")), &["destructive", "open world"]),
        ] {
            assert_eq!(Hints::enforced(&grant(&lines), &Annotations::default()).words(), expected, "{lines}");
        }
    }

    #[test]
    fn metadata_never_makes_a_hint_stronger() {
        let grants = [grant(""), grant(&format!("filesystem = [{}]", folder("a", "read-write")))];
        for grant in &grants {
            let bare = Hints::enforced(grant, &Annotations::default());
            for bits in 0..8_u8 {
                let says = Annotations {
                    read_only: bits & 1 != 0,
                    destructive: bits & 2 != 0,
                    idempotent: bits & 4 != 0,
                    ..Annotations::default()
                };
                let found = Hints::enforced(grant, &says);
                assert_eq!((found.read_only, found.open_world), (bare.read_only, bare.open_world));
                assert!(found.destructive || found.read_only, "harmless is only what cannot write");
                assert!(!found.idempotent || (says.idempotent && found.read_only));
            }
        }
    }

    #[test]
    fn the_names_are_those_of_the_protocol() {
        let hints = Hints::enforced(&grant(""), &Annotations { idempotent: true, ..Annotations::default() });
        assert_eq!(
            hints.to_json(),
            json!({"readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false})
        );
    }
}
