//! The values of secrets: read once, never printed, overwritten when they are no longer needed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;

use crate::limits;
use crate::owned_file;
use crate::policy::Policy;
use crate::policy::secrets::{SecretDeclaration, SecretSource};
use crate::problem::Problem;

/// The values of a policy's secrets. Its `Debug` names them and shows no value.
#[derive(Clone, Default)]
pub struct Secrets {
    values: Arc<BTreeMap<String, SecretValue>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// One value. Has no `Debug`, so that nothing that holds it can print it. Clones share it.
#[derive(Clone)]
pub(super) struct SecretValue(Arc<Bytes>);

struct Bytes(Vec<u8>);

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from seeing that nobody reads the zeros.
        std::hint::black_box(&self.0);
    }
}

impl SecretValue {
    /// The value.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0.0
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self(Arc::new(Bytes(text.as_bytes().to_vec())))
    }
}

impl Secrets {
    /// Reads the values that a policy's `[secrets]` names: variables through `variable`, files from the disk. A file's one newline at its
    /// end is not part of the value.
    ///
    /// # Errors
    ///
    /// A problem for each secret that has no usable value, with the line of its declaration. The value is in none of them.
    pub fn read(policy: &Policy, variable: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Self, Vec<Problem>> {
        let mut values = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, declaration) in &policy.secrets {
            match read(name, declaration, &variable) {
                Ok(value) => {
                    values.insert(name.clone(), value);
                }
                Err(problem) => problems.push(problem),
            }
        }
        problems.sort_by_key(|problem| problem.position.map(|position| (position.line, position.column)));
        if problems.is_empty() { Ok(Self { values: Arc::new(values) }) } else { Err(problems) }
    }

    /// What a policy declares and is not here, with the lines.
    pub(crate) fn missing(&self, policy: &Policy) -> Vec<Problem> {
        let missing = policy.secrets.iter().filter(|(name, _)| !self.values.contains_key(*name));
        let problem = |(name, declaration): (&String, &SecretDeclaration)| {
            problem(name, declaration, format!("the secret `{name}` was given no value"))
                .with_hint("give the host the values that `Secrets::read` gets for the policy")
        };
        missing.map(problem).collect()
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &SecretValue> {
        self.values.values()
    }

    /// The value of that name.
    pub(super) fn get(&self, name: &str) -> Option<&SecretValue> {
        self.values.get(name)
    }
}

fn problem(name: &str, declaration: &SecretDeclaration, message: String) -> Problem {
    Problem::new("missing-secret", format!("/secrets/{name}"), message).at(declaration.position)
}

fn read(
    name: &str,
    declaration: &SecretDeclaration,
    variable: &impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<SecretValue, Problem> {
    let bad = |message: String, hint: &str| Err(problem(name, declaration, message).with_hint(hint));
    let (bytes, place) = match &declaration.source {
        SecretSource::Env(source) => match variable(source) {
            Some(bytes) => (bytes, format!("the environment variable `{source}`")),
            None => {
                let message =
                    format!("the secret `{name}` needs the environment variable `{source}`, which is not set");
                return bad(message, "set it before the host starts, or take the secret out of the policy");
            }
        },
        SecretSource::File(path) => (read_file(name, declaration, path)?, "the file".to_owned()),
    };
    // From here on the bytes are overwritten whatever becomes of them.
    let value = SecretValue(Arc::new(Bytes(bytes)));
    let bytes = value.bytes();
    if bytes.is_empty() {
        return bad(format!("the secret `{name}` is empty"), "give it a value, or take it out of the policy");
    }
    if bytes.len() < limits::SECRET_BYTES_MIN {
        let message = format!("the secret `{name}` has less than {} bytes", limits::SECRET_BYTES_MIN);
        return bad(message, "use a longer one: this one would be found everywhere in what servers answer");
    }
    if bytes.len() as u64 > limits::SECRET_BYTES_MAX {
        let message = format!("the secret `{name}` has more than {} bytes", limits::SECRET_BYTES_MAX);
        return bad(message, "a secret must fit into a header");
    }
    let is_trimmed = !matches!(bytes.first(), Some(b' ' | b'\t')) && !matches!(bytes.last(), Some(b' ' | b'\t'));
    if HeaderValue::from_bytes(bytes).is_err() || !is_trimmed {
        let message = format!(
            "the secret `{name}` cannot stand in a header: {place} has a control character, or space around it"
        );
        return bad(message, "write the value alone, on one line");
    }
    Ok(value)
}

fn read_file(name: &str, declaration: &SecretDeclaration, path: &Path) -> Result<Vec<u8>, Problem> {
    // One more than a value may have, for the newline; what is longer is refused for its length.
    match owned_file::read(path, limits::SECRET_BYTES_MAX + 2) {
        Ok(mut bytes) => {
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
            }
            Ok(bytes)
        }
        Err(found) => {
            let message = format!("the secret `{name}` cannot be read: {}", found.message);
            let hint = found.hint.unwrap_or_else(|| "put the value into the file".to_owned());
            Err(problem(name, declaration, message).with_hint(hint))
        }
    }
}

#[cfg(test)]
mod tests;
