//! Who calls: `agent:NAME` or `user:NAME`, and the roles that a policy gives them.

use std::fmt;
use std::str::FromStr;

use crate::id::{IdError, is_name};

/// In whose name a plan runs. Where nobody is named: `user:local`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    kind: PrincipalKind,
    name: String,
}

/// What a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrincipalKind {
    /// `agent:NAME`: a program that plans.
    Agent,
    /// `user:NAME`: a person.
    User,
}

impl PrincipalKind {
    /// The kind as principals write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::User => "user",
        }
    }

    /// The kind's entity type in rules.
    #[must_use]
    pub const fn entity_type(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::User => "User",
        }
    }
}

impl Principal {
    /// A principal of that kind and name.
    ///
    /// # Errors
    ///
    /// [`IdError::Name`] unless the name starts with a letter and holds only ASCII letters, digits, `-` and `_`.
    pub fn new(kind: PrincipalKind, name: &str) -> Result<Self, IdError> {
        if is_name(name) {
            return Ok(Self { kind, name: name.to_owned() });
        }
        Err(IdError::Name { kind: "name of a principal", text: name.chars().take(80).collect() })
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// Its name, without the kind.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the one that is taken where nobody is named.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.kind == PrincipalKind::User && self.name == "local"
    }
}

impl Default for Principal {
    fn default() -> Self {
        Self { kind: PrincipalKind::User, name: "local".to_owned() }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.name)
    }
}

impl FromStr for Principal {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once(':') {
            Some(("agent", name)) => Self::new(PrincipalKind::Agent, name),
            Some(("user", name)) => Self::new(PrincipalKind::User, name),
            _ => Err(IdError::Principal { text: text.chars().take(80).collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_read_as_they_are_written() {
        for text in ["agent:reporter", "user:local", "user:a-b_c9"] {
            assert_eq!(text.parse::<Principal>().unwrap().to_string(), text);
        }
        for text in ["", "reporter", "agent:", "agent:a b", "role:x", "Agent:x", "user:1a", "agent:a:b"] {
            assert!(text.parse::<Principal>().is_err(), "{text}");
        }
        assert!(Principal::default().is_default());
        assert!(!"agent:local".parse::<Principal>().unwrap().is_default());
    }
}
