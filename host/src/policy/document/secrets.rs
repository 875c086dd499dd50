//! `[secrets]`, `env` and `config`: declarations, the places that use them, and whether both fit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::limits;
use crate::policy::document::keys;
use crate::policy::secrets::{EnvValue, SecretDeclaration, SecretSource, VARIABLE_HINT, is_name, is_variable};
use crate::problem::suggestion;
use crate::toml_text::{Node, Place, Reader};

/// A declaration with its place.
pub(super) type Declared = BTreeMap<String, (Option<SecretDeclaration>, Place)>;

/// The uses of secrets in a document, in its order.
#[derive(Debug, Default)]
pub(super) struct References(Vec<(String, Place)>);

impl References {
    /// Notes a use, if `text` can be a secret's name at all.
    pub(super) fn read<'t>(&mut self, reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<String> {
        let text = reader.string(node)?;
        let name = read_name(reader, text, &node.place)?;
        self.0.push((name.clone(), node.place.clone()));
        Some(name)
    }

    /// The declarations, each of which is used, as each use is declared; what does not fit is reported.
    pub(super) fn check(self, reader: &mut Reader<'_>, declared: Declared) -> BTreeMap<String, SecretDeclaration> {
        for (name, place) in &self.0 {
            if !declared.contains_key(name) {
                let hint = suggestion(name, declared.keys().map(String::as_str))
                    .unwrap_or_else(|| format!("add `{name} = {{ env = \"{name}\" }}` to a table `[secrets]`"));
                reader.report(place, "unknown-secret", format!("the secret `{name}` is not declared"), Some(hint));
            }
        }
        for (name, (_, place)) in &declared {
            if !self.0.iter().any(|(used, _)| used == name) {
                let hint = "use it in a grant's `env`, `config` or `network`, or remove it".to_owned();
                reader.report(place, "unused-secret", format!("the secret `{name}` is used nowhere"), Some(hint));
            }
        }
        declared.into_iter().filter_map(|(name, (declaration, _))| Some((name, declaration?))).collect()
    }
}

fn read_name(reader: &mut Reader<'_>, text: &str, place: &Place) -> Option<String> {
    if is_name(text) {
        return Some(text.to_owned());
    }
    let message = format!("`{}` is no name of a secret", text.escape_debug());
    let hint = format!("a letter, then letters, digits and `_`; at most {} in all", limits::NAME_BYTES_MAX);
    reader.report(place, "bad-secret", message, Some(hint));
    None
}

/// Reads `[secrets]`.
pub(super) fn read_declarations<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Declared {
    let mut declared = Declared::new();
    let Some(fields) = reader.open_table(node) else { return declared };
    for (name, node) in fields.entries() {
        if declared.len() == limits::SECRETS_MAX {
            let message = format!("there are more than {} secrets", limits::SECRETS_MAX);
            reader.report(&node.place, "too-many-secrets", message, None);
            break;
        }
        let Some(name) = read_name(reader, name, &node.place) else { continue };
        let source = read_source(reader, &node);
        let position = reader.position_of(&node.place);
        declared.insert(name, (source.map(|source| SecretDeclaration { source, position }), node.place));
    }
    declared
}

fn read_source<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<SecretSource> {
    let hint = || Some("write `{ env = \"NAME\" }` or `{ file = \"/path\" }`".to_owned());
    if !Reader::is_table(node) {
        let message = format!("the secret `{}` must say where its value is, never the value itself", node.place.key());
        reader.report(&node.place, "bad-secret", message, hint());
        return None;
    }
    let fields = reader.shaped(node, &keys::SECRET_SOURCE)?;
    match (fields.get("env"), fields.get("file")) {
        (Some(node), None) => {
            let name = reader.string(&node)?;
            if is_variable(name) {
                return Some(SecretSource::Env(name.to_owned()));
            }
            let message = format!("`{}` is no name of an environment variable", name.escape_debug());
            reader.report(&node.place, "bad-secret", message, Some(VARIABLE_HINT.to_owned()));
        }
        (None, Some(node)) => return read_file(reader, &node).map(SecretSource::File),
        (Some(_), Some(_)) => {
            reader.report(&node.place, "bad-secret", "a secret has one source", hint());
        }
        (None, None) => reader.report(&node.place, "missing-key", "the secret has no source", hint()),
    }
    None
}

/// An absolute path without `..`.
pub(super) fn read_file<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<PathBuf> {
    let text = reader.string(node)?;
    let fault = if text.contains('\0') {
        "holds a NUL"
    } else if !text.starts_with('/') {
        "is relative"
    } else if text.split('/').any(|part| part == "..") {
        "has `..` in it"
    } else {
        return Some(PathBuf::from(text));
    };
    let hint = "write an absolute path without `..`".to_owned();
    reader.report(&node.place, "bad-host-path", format!("the path `{}` {fault}", text.escape_debug()), Some(hint));
    None
}

/// Reads a grant's `env`.
pub(super) fn read_env<'t>(
    reader: &mut Reader<'t>,
    node: &Node<'_, 't>,
    used: &mut References,
) -> BTreeMap<String, EnvValue> {
    let Some(fields) = reader.open_table(node) else { return BTreeMap::new() };
    let mut env = BTreeMap::new();
    for (name, node) in fields.entries() {
        let Some(value) = read_value(reader, &node, used) else { continue };
        if !is_variable(name) {
            let message = format!("`{}` is no name of an environment variable", name.escape_debug());
            reader.report(&node.place, "bad-env", message, Some(VARIABLE_HINT.to_owned()));
        } else if matches!(&value, EnvValue::Text(text) if text.contains('\0')) {
            reader.report(&node.place, "bad-env", format!("the value of `{name}` holds a NUL"), None);
        } else {
            env.insert(name.to_owned(), value);
        }
    }
    env
}

/// Reads a grant's `config`. Any text may be a key or a value: both are told to a guest that asks, and to nobody else.
pub(super) fn read_config<'t>(
    reader: &mut Reader<'t>,
    node: &Node<'_, 't>,
    used: &mut References,
) -> BTreeMap<String, EnvValue> {
    let Some(fields) = reader.open_table(node) else { return BTreeMap::new() };
    let entries = fields.entries();
    entries.filter_map(|(key, node)| Some((key.to_owned(), read_value(reader, &node, used)?))).collect()
}

/// Reads a text, `{ secret = "NAME" }` or `{ request = "NAME" }`.
fn read_value<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>, used: &mut References) -> Option<EnvValue> {
    if !Reader::is_table(node) {
        return reader.string(node).map(|text| EnvValue::Text(text.to_owned()));
    }
    let hint = || Some("write a text, `{ secret = \"NAME\" }` or `{ request = \"NAME\" }`".to_owned());
    let fields = reader.shaped(node, &keys::TOLD)?;
    match (fields.get("secret"), fields.get("request")) {
        (Some(node), None) => {
            if let Some(default) = fields.get("default") {
                let message = "a secret has no `default`: where it is not to be had, nothing runs";
                reader.report(&default.place, "bad-env", message, None);
            }
            used.read(reader, &node).map(EnvValue::Secret)
        }
        (None, Some(node)) => read_request(reader, &node, fields.get("default").as_ref()),
        (Some(_), Some(node)) => {
            reader.report(&node.place, "bad-env", "a value comes from one place", hint());
            None
        }
        (None, None) => {
            reader.report(&fields.place, "missing-key", "the table has no `secret` and no `request`", hint());
            None
        }
    }
}

/// Reads `{ request = "NAME", default = "text" }`.
fn read_request<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>, default: Option<&Node<'_, 't>>) -> Option<EnvValue> {
    let name = reader.string(node)?;
    if !is_variable(name) {
        let message = format!("`{}` is no name of an environment variable", name.escape_debug());
        reader.report(&node.place, "bad-env", message, Some(VARIABLE_HINT.to_owned()));
        return None;
    }
    let default = match default {
        None => None,
        Some(node) => {
            let text = reader.string(node)?;
            if text.contains('\0') {
                reader.report(&node.place, "bad-env", "the default holds a NUL", None);
                return None;
            }
            Some(text.to_owned())
        }
    };
    Some(EnvValue::Request { name: name.to_owned(), default })
}

#[cfg(test)]
mod tests;
