//! Secrets by their names: where a policy says the values are, and the placeholder that a guest sees instead. No value is ever here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::problem::Position;

/// What every placeholder starts with.
const PLACEHOLDER: &str = "skillhost-secret-";

/// One entry of `[secrets]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretDeclaration {
    /// Where the value is.
    pub source: SecretSource,
    /// Where the declaration stands, for what is found wrong when the value is read.
    pub position: Position,
}

/// Where a secret's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// `{ env = "…" }`: a variable of the host's environment.
    Env(String),
    /// `{ file = "…" }`: a file, less one newline at its end.
    File(PathBuf),
}

/// The value of a guest's environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// This text.
    Text(String),
    /// The placeholder of the secret of this name.
    Secret(String),
    /// What the request that asked for the run says under this name.
    Request {
        /// The name in `meta.env`.
        name: String,
        /// What it is where the request does not say it; where that is `None`, it is not there.
        default: Option<String>,
    },
}

impl EnvValue {
    /// What the guest sees where a request has said `asked`.
    #[must_use]
    pub fn for_guest(&self, asked: &BTreeMap<String, String>) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Secret(name) => Some(placeholder(name)),
            Self::Request { name, default } => asked.get(name).or(default.as_ref()).cloned(),
        }
    }
}

/// What to do where a name is none of a variable.
pub(crate) const VARIABLE_HINT: &str = "a name is not empty and holds no `=` and no NUL";

/// Whether a text may be the name of an environment variable.
pub(crate) fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// What stands for a secret where a guest sees it. It says nothing of the value, and is the same in every run.
#[must_use]
pub fn placeholder(name: &str) -> String {
    format!("{PLACEHOLDER}{name}")
}

/// Whether a text may be a secret's name: letters, digits and `_`, so that the end of a placeholder can be told in a longer text.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(is_name_byte)
        && text.len() <= crate::limits::NAME_BYTES_MAX
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// `text` with what `value` gives for each placeholder's name put in its place; `None` where there is nothing to put in. A name ends where
/// no letter, digit or `_` follows, so that the placeholder of `A` is not found inside of that of `AB`.
pub(crate) fn replace_placeholders<'v>(text: &[u8], value: impl Fn(&str) -> Option<&'v [u8]>) -> Option<Vec<u8>> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut is_changed = false;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(PLACEHOLDER.as_bytes()) {
            let end = after.iter().position(|byte| !is_name_byte(*byte)).unwrap_or(after.len());
            let (name, after) = after.split_at_checked(end).unwrap_or((after, &[]));
            if let Some(value) = std::str::from_utf8(name).ok().and_then(&value) {
                replaced.extend_from_slice(value);
                rest = after;
                is_changed = true;
                continue;
            }
        }
        let Some((first, after)) = rest.split_first() else { break };
        replaced.push(*first);
        rest = after;
    }
    is_changed.then_some(replaced)
}

#[cfg(test)]
mod tests;
