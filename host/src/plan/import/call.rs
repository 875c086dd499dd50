//! One call: from a capability with its inputs to a tool with its input.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::capabilities::{As, Capability, find, missing};
use super::references::{Gives, Scope, kebab};
use super::{Members, Reader};
use crate::problem::{pointer_to, shown, suggestion};
use crate::types::one_of;

/// Where a guest sees the workspace under the policies that come with the host.
pub(super) const WORKSPACE: &str = "/workspace";

/// The tool for a capability.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    pub(super) name: String,
    /// Its row of the table; `None` where `--map` names the tool.
    known: Option<&'static Capability>,
    /// What it gives, where somebody said.
    gives: Option<BTreeSet<String>>,
}

impl Tool {
    pub(super) fn gives(&self) -> Gives {
        match (self.known, &self.gives) {
            (Some(known), _) => {
                let path = |ours: &str| ours.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
                Gives::Keys(known.gives.iter().map(|(theirs, ours)| ((*theirs).to_owned(), path(ours))).collect())
            }
            (None, Some(keys)) => Gives::Keys(keys.iter().map(|key| (key.clone(), vec![kebab(key)])).collect()),
            (None, None) => Gives::Unknown,
        }
    }
}

impl Reader<'_> {
    /// The tool for the capability `name`, which stands at `pointer`.
    pub(super) fn tool(&mut self, table: &'static [Capability], name: &str, pointer: &str) -> Option<Tool> {
        let tool = if let Some(mapped) = self.options.map.get(name) {
            let gives = self.options.gives.get(name).cloned();
            Tool { name: mapped.to_string(), known: None, gives }
        } else if let Some(known) = find(table, name) {
            Tool { name: known.tool.to_owned(), known: Some(known), gives: None }
        } else {
            let names = table.iter().flat_map(|one| one.names.iter().copied());
            let hint = suggestion(name, names).unwrap_or_else(|| missing(name));
            self.report("unknown-capability", pointer, format!("no tool is known for `{}`", shown(name)), hint);
            return None;
        };
        let why = if tool.known.is_some() { "the built-in tool that does this" } else { "as `--map` says" };
        self.changed(pointer, name.into(), tool.name.as_str().into(), why);
        Some(tool)
    }

    /// The input of `tool`.
    pub(super) fn input(
        &mut self,
        tool: &Tool,
        inputs: Option<&Value>,
        pointer: &str,
        scope: Scope<'_>,
        used: &mut BTreeSet<usize>,
    ) -> Map<String, Value> {
        let mut input = Map::new();
        let Some(inputs) = inputs else { return input };
        let Some(map) = inputs.as_object() else {
            self.wrong_type(pointer, "keys and values", inputs);
            return input;
        };
        let members = Members { map, pointer };
        for (key, value) in map {
            let at = members.at(key);
            let taken = match tool.known {
                None => Some((kebab(key), self.rewrite(value, &at, scope, used))),
                Some(_) if value.is_null() => {
                    self.dropped(at.clone(), value, "null is as good as absent");
                    None
                }
                Some(known) => self.param(known, key, value, &at, scope, used),
            };
            let Some((name, value)) = taken else { continue };
            if name != *key {
                self.changed(
                    at.clone(),
                    key.as_str().into(),
                    name.as_str().into(),
                    format!("its name in `{}`", tool.name),
                );
            }
            if input.contains_key(&name) {
                let message = format!("`{name}` of `{}` is said twice", tool.name);
                self.report("said-twice", &at, message, "keep one of the two");
            }
            input.insert(name, value);
        }
        if let Some((name, value, why)) = tool.known.and_then(|known| known.adds)
            && !input.contains_key(name)
        {
            self.changed(pointer_to(pointer, name), Value::Null, value.into(), why);
            input.insert(name.to_owned(), value.into());
        }
        input
    }

    fn param(
        &mut self,
        known: &Capability,
        key: &str,
        value: &Value,
        at: &str,
        scope: Scope<'_>,
        used: &mut BTreeSet<usize>,
    ) -> Option<(String, Value)> {
        let Some(param) = known.params.iter().find(|param| param.theirs == key) else {
            let message = format!("`{}` takes no `{}`", known.tool, shown(key));
            let names = known.params.iter().map(|param| param.theirs);
            let hint = suggestion(key, names.clone()).unwrap_or_else(|| one_of("known are", names));
            self.report("unknown-parameter", at, message, hint);
            return None;
        };
        let ours = param.ours.to_owned();
        match param.as_ {
            As::Is => Some((ours, self.rewrite(value, at, scope, used))),
            As::Path => {
                let joined = below_workspace(value);
                if joined != *value {
                    self.changed(at, value.clone(), joined.clone(), "where guests see the workspace");
                }
                Some((ours, self.rewrite(&joined, at, scope, used)))
            }
            As::Utf8 | As::Sha256 => {
                let said = value.as_str().map(|text| text.to_ascii_lowercase().replace(['-', '_'], ""));
                let (only, code) = match param.as_ {
                    As::Utf8 => ("utf8", "UTF-8"),
                    _ => ("sha256", "SHA-256"),
                };
                if said.as_deref() == Some(only) {
                    self.dropped(at, value, format!("`{}` knows {code} alone", known.tool));
                } else {
                    let message = format!("`{}` knows {code} alone", known.tool);
                    self.report(
                        "unknown-value",
                        at,
                        message,
                        "there is no tool for another one: remove it if it is not needed",
                    );
                }
                None
            }
            As::Headers => {
                let Some(headers) = value.as_object() else {
                    self.wrong_type(at, "keys and values", value);
                    return None;
                };
                let mut list = Vec::with_capacity(headers.len());
                for (name, value) in headers {
                    let at = pointer_to(at, name);
                    if !value.is_string() {
                        self.wrong_type(&at, "a string", value);
                    }
                    list.push(json!({ "name": name, "value": self.rewrite(value, &at, scope, used) }));
                }
                let list = Value::Array(list);
                self.changed(at, value.clone(), list.clone(), "headers are a list here");
                Some((ours, list))
            }
        }
    }
}

/// Relative paths below the workspace, absolute ones as they are: where they lead is for the policy.
fn below_workspace(value: &Value) -> Value {
    match value {
        Value::String(text) if !text.starts_with('/') => {
            Value::String(format!("{WORKSPACE}/{}", text.strip_prefix("./").unwrap_or(text)))
        }
        Value::Array(items) => items.iter().map(below_workspace).collect(),
        other => other.clone(),
    }
}
