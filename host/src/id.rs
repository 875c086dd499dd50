//! Identifiers: what names a thing and nothing else. Parsing checks the form; no type here does I/O.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::limits;

/// A sha256 digest that identifies bytes. Displayed as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes an already computed sha256.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits as ASCII bytes, without allocating: traces write two of these for every event.
    #[must_use]
    pub fn to_hex(self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            if let [high, low] = pair {
                *high = DIGITS.get(usize::from(byte >> 4)).copied().unwrap_or(b'0');
                *low = DIGITS.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
            }
        }
        hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_hex()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Digest { text: text.chars().take(80).collect() };
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

/// The id of a bundle as it lies on the disk: a digest over paths and contents (`docs/bundle-format.md`). Equal for equal folders on any
/// machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(Digest);

impl SnapshotId {
    /// Takes an already computed digest.
    #[must_use]
    pub const fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SnapshotId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self)
    }
}

/// A name that is not of the form its kind asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 64 lower-case hex digits.
    #[error("`{text}` is not a sha256 digest (64 lower-case hex digits)")]
    Digest {
        /// The beginning of what was given.
        text: String,
    },
    /// Not a name of letters, digits and hyphens.
    #[error(
        "`{text}` is not a {kind}: it must start with a letter and hold only letters, digits, `-` and `_`, at most {max} bytes",
        max = limits::NAME_BYTES_MAX
    )]
    Name {
        /// What the name should have named.
        kind: &'static str,
        /// The beginning of what was given.
        text: String,
    },
    /// Not `agent:NAME` or `user:NAME`.
    #[error("`{text}` is not a principal: it must be `agent:NAME` or `user:NAME`")]
    Principal {
        /// The beginning of what was given.
        text: String,
    },
    /// Not `skill.function` or `skill.interface.function`.
    #[error("`{text}` is not a tool name: it must be `skill.function` or `skill.interface.function`")]
    Tool {
        /// The beginning of what was given.
        text: String,
    },
}

/// The form of names, for people.
pub(crate) const NAME_FORM: &str = "it starts with a letter and holds only letters, digits, `-` and `_`";

/// Whether `text` has the form of a name.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= limits::NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks the form of `text`.
            ///
            /// # Errors
            ///
            /// [`IdError::Name`] unless it starts with a letter and holds only ASCII letters, digits, `-` and `_`.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                if is_name(&text) {
                    return Ok(Self(text));
                }
                Err(IdError::Name { kind: $kind, text: text.chars().take(80).collect() })
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
    )*};
}

names! {
    /// The name under which a plan knows a skill, such as `csv`.
    SkillName, "skill name";
    /// The id of a step, unique in its plan.
    StepId, "step id";
}

impl StepId {
    /// What stands in for a step's id where the call at `index` of those that end a rollback is meant: `compensate-0` and so on.
    pub(crate) fn of_compensation(index: usize) -> Self {
        Self(format!("compensate-{index}"))
    }
}

/// The name of a tool as a plan writes it: `skill.function`, or `skill.interface.function` for a function inside an exported
/// interface. Kebab-case as in WIT; compared exactly.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolName {
    skill: SkillName,
    function: String,
}

/// The name of this program as if it were a skill.
const HOST: &str = "host";

impl ToolName {
    /// The tool that a step stands for which only asks somebody: `host.approve`. No skill can be called `host`.
    #[must_use]
    pub fn approve() -> Self {
        Self { skill: SkillName(HOST.to_owned()), function: "approve".to_owned() }
    }

    /// Whether it is [`Self::approve`].
    #[must_use]
    pub fn is_approve(&self) -> bool {
        self.skill.as_str() == HOST && self.function() == "approve"
    }

    /// Joins a skill's name with the name of one of its tools (`function` or `interface.function`).
    ///
    /// # Errors
    ///
    /// [`IdError::Tool`] unless `function` is one or two names joined by a dot.
    pub fn new(skill: SkillName, function: impl Into<String>) -> Result<Self, IdError> {
        let function = function.into();
        let parts = function.split('.').count();
        if parts > 2 || !function.split('.').all(is_name) {
            return Err(IdError::Tool { text: format!("{skill}.{function}").chars().take(160).collect() });
        }
        Ok(Self { skill, function })
    }

    /// The skill.
    #[must_use]
    pub const fn skill(&self) -> &SkillName {
        &self.skill
    }

    /// The tool inside the skill: `function` or `interface.function`.
    #[must_use]
    pub fn function(&self) -> &str {
        &self.function
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.skill, self.function)
    }
}

impl fmt::Debug for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl FromStr for ToolName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Tool { text: text.chars().take(160).collect() };
        let (skill, function) = text.split_once('.').ok_or_else(wrong)?;
        Self::new(SkillName::new(skill).map_err(|_| wrong())?, function).map_err(|_| wrong())
    }
}

/// As the text that it is written as.
macro_rules! as_text {
    ($($name:ty),*) => { $(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )* };
}
as_text!(Digest, SkillName, SnapshotId, StepId, ToolName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_what_it_prints() {
        let digest = Digest::of(b"skillhost");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        assert!("zz".parse::<Digest>().is_err());
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
    }

    #[test]
    fn tool_names_have_two_or_three_parts() {
        for good in ["files.read-text", "a.b.c"] {
            assert_eq!(good.parse::<ToolName>().unwrap().to_string(), good);
        }
        for bad in ["files", "files.", ".x", "a.b.c.d", "a b.c", "1a.b", ""] {
            assert!(bad.parse::<ToolName>().is_err(), "{bad}");
        }
    }
}
