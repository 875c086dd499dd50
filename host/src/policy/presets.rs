//! The policies that are part of the program, to begin with: `host policy init NAME` writes one as a file to be changed.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it allows, in a few words.
    pub about: &'static str,
    /// The document, with comments.
    pub text: &'static str,
}

/// All of them, from the widest to the narrowest.
pub const PRESETS: [Preset; 5] = [
    Preset {
        name: "default",
        about: "the built-in skills, `files` read-write in the workspace",
        text: include_str!("../../../policies/default.toml"),
    },
    Preset {
        name: "safe-write",
        about: "writing in the workspace alone, nothing removed or moved",
        text: include_str!("../../../policies/safe-write.toml"),
    },
    Preset {
        name: "dangerous-disabled",
        about: "the default without destructive tools",
        text: include_str!("../../../policies/dangerous-disabled.toml"),
    },
    Preset {
        name: "read-only",
        about: "the default with a read-only workspace",
        text: include_str!("../../../policies/read-only.toml"),
    },
    Preset { name: "deny-all", about: "nothing", text: include_str!("../../../policies/deny-all.toml") },
];

/// The preset of that name.
#[must_use]
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn every_preset_is_a_policy_that_says_what_it_is() {
        for Preset { name, text, .. } in &PRESETS {
            assert!(Policy::parse(text).is_ok(), "{name}");
            assert!(text.starts_with("# "), "{name} begins with what it is");
            assert_eq!(preset(name).map(|preset| preset.text), Some(*text));
        }
        assert_eq!(preset("none"), None);
    }
}
