//! Wassette's `policy.yaml` as a policy of this host: the other import behind `host policy import`.
//!
//! There a policy is of one component and says where it may go; here it becomes one grant for one skill. What has no meaning here is
//! refused, and whatever means something else than it did is said.

mod storage;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::id::SkillName;
use crate::limits;
use crate::plan::import::Change;
use crate::policy::{Policy, SCHEMA, key, quoted, secrets};
use crate::problem::{Problem, pointer_to, shown, suggestion};

/// What an import gives.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The policy.
    pub text: String,
    /// What is not in it as it was in the document.
    pub changes: Vec<Change>,
}

/// The key by which such a document is known.
const PERMISSIONS: &str = "permissions";

/// The methods of a host that is allowed: there, all that HTTP has for requests.
const METHODS: &str = r#"["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]"#;

/// Whether a document is such a policy, and not a list of rules.
#[must_use]
pub fn is_one(document: &Value) -> bool {
    document.get(PERMISSIONS).is_some()
}

/// Makes a policy with one grant for all tools of `skill`.
///
/// # Errors
///
/// All that has no meaning here, with its place and a hint: unknown keys, denials, globs, ranges of addresses, sizes that are none.
pub fn import(document: &Value, skill: &SkillName) -> Result<Imported, Vec<Problem>> {
    let mut reader = Reader::default();
    let text = reader.document(document, skill);
    if reader.problems.is_empty() {
        // What is written is read back: no mistake of ours leaves here as a policy.
        match Policy::parse(&text) {
            Ok(_) => return Ok(Imported { text, changes: reader.changes }),
            Err(problems) => {
                for problem in problems {
                    let hint = problem.hint.unwrap_or_else(|| "write the policy by hand".to_owned());
                    let message = format!("the policy that it would be is refused: {}", problem.message);
                    reader.report(&problem.code, "/permissions", message, &hint);
                }
            }
        }
    }
    Err(reader.problems)
}

/// Gathers what is wrong and what is changed.
#[derive(Debug, Default)]
struct Reader {
    problems: Vec<Problem>,
    changes: Vec<Change>,
}

impl Reader {
    fn report(&mut self, code: &str, pointer: &str, message: String, hint: &str) {
        if self.problems.len() < limits::PROBLEMS_MAX {
            self.problems.push(Problem::new(code, pointer, message).with_hint(hint));
        }
    }

    fn change(&mut self, pointer: &str, was: &Value, now: Value, why: &str) {
        self.changes.push(Change { pointer: pointer.to_owned(), was: was.clone(), now, why: why.to_owned() });
    }

    fn object<'v>(&mut self, value: &'v Value, pointer: &str, known: &[&str]) -> Option<&'v Map<String, Value>> {
        let Some(members) = value.as_object() else {
            self.report("wrong-type", pointer, "expected keys and values".to_owned(), "see the format of the import");
            return None;
        };
        for key in members.keys().filter(|key| !known.contains(&key.as_str())) {
            let at = pointer_to(pointer, key);
            if key == "deny" {
                let message = "what is denied has no meaning here: nothing is granted that is not listed".to_owned();
                self.report("denies", &at, message, "remove it, and check that nothing in `allow` covers it");
                continue;
            }
            let hint = suggestion(key, known.iter().copied()).unwrap_or_else(|| "remove it".to_owned());
            self.report("unknown-key", &at, format!("there is no key `{}` here", shown(key)), &hint);
        }
        Some(members)
    }

    /// The items of `allow` below `name`, each an object with these keys, with their places.
    fn allowed<'v>(
        &mut self,
        permissions: &'v Map<String, Value>,
        name: &str,
        known: &[&str],
    ) -> Vec<(&'v Map<String, Value>, String)> {
        let at = pointer_to("/permissions", name);
        let Some(list) = permissions.get(name) else { return Vec::new() };
        let Some(list) = self.object(list, &at, &["allow"]).and_then(|members| members.get("allow")) else {
            return Vec::new();
        };
        let at = pointer_to(&at, "allow");
        let Some(items) = list.as_array() else {
            self.report("wrong-type", &at, "expected a list".to_owned(), "write one entry on each line, after `-`");
            return Vec::new();
        };
        if items.len() > limits::RULES_IMPORTED_MAX {
            let message = format!("there are {} entries; at most {} are read", items.len(), limits::RULES_IMPORTED_MAX);
            self.report("too-many-rules", &at, message, "join folders and hosts");
            return Vec::new();
        }
        let places = items.iter().enumerate().map(|(index, item)| (item, pointer_to(&at, &index.to_string())));
        let mut found = Vec::new();
        for (item, at) in places {
            found.extend(self.object(item, &at, known).map(|item| (item, at)));
        }
        found
    }

    /// The text of an entry's key, which has to be there.
    fn text<'v>(&mut self, item: &'v Map<String, Value>, at: &str, key: &str) -> Option<(&'v str, String)> {
        let text = item.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        if text.is_none() {
            let message = format!("the entry has no text `{key}`");
            self.report("missing-key", at, message, &format!("write `{key}: …`"));
        }
        text.map(|text| (text, pointer_to(at, key)))
    }

    fn document(&mut self, document: &Value, skill: &SkillName) -> String {
        let mut text = String::from("# Imported from a policy of Wassette.\n");
        let Some(root) = self.object(document, "", &["version", "description", PERMISSIONS]) else { return text };
        if !matches!(root.get("version"), Some(version) if *version == json!("1.0") || *version == json!(1.0)) {
            let message = "the version is not `1.0`, the only one that is read".to_owned();
            self.report("bad-version", "/version", message, "write `version: \"1.0\"`");
        }
        if let Some(description) = root.get("description").and_then(Value::as_str) {
            description.lines().for_each(|line| add(&mut text, format_args!("# {}\n", shown(line))));
        }
        add(&mut text, format_args!("schema = {}\n", quoted(SCHEMA)));
        let known = ["storage", "network", "environment", "resources"];
        let permissions = root.get(PERMISSIONS).and_then(|value| self.object(value, "/permissions", &known));
        let Some(permissions) = permissions else { return text };
        let memory = permissions.get("resources").and_then(|value| self.resources(value));
        let folders = storage::read(self, permissions);
        let keys = self.environment(permissions);
        let rules = self.network(permissions, &keys);

        if let Some(memory) = memory {
            add(&mut text, format_args!("\n[limits]\nmemory_bytes = {memory}\n"));
        }
        if !keys.is_empty() {
            text += "\n[secrets]\n";
            keys.iter().for_each(|key| add(&mut text, format_args!("{key} = {{ env = {} }}\n", quoted(key))));
        }
        add(&mut text, format_args!("\n[[grant]]\nskills = [{}]\ntools = [\"*\"]\n", quoted(skill.as_str())));
        for (name, items) in [("filesystem", &folders), ("network", &rules)] {
            if !items.is_empty() {
                add(&mut text, format_args!("{name} = [\n"));
                items.iter().for_each(|item| add(&mut text, format_args!("  {item},\n")));
                text += "]\n";
            }
        }
        if !keys.is_empty() {
            let values: Vec<String> =
                keys.iter().map(|name| format!("{} = {{ secret = {} }}", key(name), quoted(name))).collect();
            let values = values.join(", ");
            add(&mut text, format_args!("env = {{ {values} }}\nconfig = {{ {values} }}\n"));
        }
        text
    }

    fn environment(&mut self, permissions: &Map<String, Value>) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for (item, at) in self.allowed(permissions, "environment", &["key"]) {
            let Some((key, at)) = self.text(item, &at, "key") else { continue };
            if !secrets::is_name(key) {
                let message = format!("`{}` is no name of a secret", shown(key));
                let hint = "a letter, then letters, digits and `_`; write other variables with their values into `env`";
                self.report("bad-env", &at, message, hint);
            } else if keys.insert(key.to_owned()) {
                let why = "a secret of 4 bytes or more: the guest sees a placeholder in `env` and in `wasi:config`, and the host puts \
                           the value into headers of the `https` requests that are allowed";
                self.change(&at, &json!(key), json!({ "secret": key }), why);
            }
        }
        keys
    }

    fn network(&mut self, permissions: &Map<String, Value>, keys: &BTreeSet<String>) -> Vec<String> {
        let mut rules: Vec<String> = Vec::new();
        let secrets: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
        let secrets = if secrets.is_empty() { String::new() } else { format!(", secrets = [{}]", secrets.join(", ")) };
        for (item, at) in self.allowed(permissions, "network", &["host", "cidr"]) {
            if item.contains_key("cidr") {
                let message = "a range of addresses is no place that requests are sent to".to_owned();
                let hint =
                    "write `host: NAME`; a rule for a name that has an address of the range says so in `addresses`";
                self.report("bad-host", &pointer_to(&at, "cidr"), message, hint);
                continue;
            }
            let Some((text, at)) = self.text(item, &at, "host") else { continue };
            let (schemes, host): (&[&str], &str) = match text.split_once("://") {
                Some((scheme @ ("http" | "https"), host)) => {
                    (if scheme == "http" { &["http"] } else { &["https"] }, host)
                }
                Some(_) => (&[], text),
                None => (&["https", "http"], text),
            };
            let urls: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://{host}/*")).collect();
            // A value is never sent where everybody on the way can read it.
            let secrets_of = |url: &str| if url.starts_with("https:") { secrets.as_str() } else { "" };
            let rule = |url: &String| format!("{{ url = {}, methods = {METHODS}{} }}", quoted(url), secrets_of(url));
            let written: Vec<String> = urls.iter().map(rule).collect();
            if let Some(message) = unreadable(host, &urls) {
                let hint = "write `host: NAME`, `host: \"*.NAME\"` or one with `https://` before it";
                self.report("bad-host", &at, message, hint);
                continue;
            }
            let why = "every path and method, on the scheme's own port unless one is given; addresses that are not public need `addresses`";
            self.change(&at, &json!(text), json!(urls), why);
            for rule in written {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
        rules
    }

    /// The memory limit in bytes.
    fn resources(&mut self, value: &Value) -> Option<u64> {
        let at = "/permissions/resources";
        let limits = self.object(value, at, &["limits"])?.get("limits")?;
        let at = pointer_to(at, "limits");
        let limits = self.object(limits, &at, &["cpu", "memory"])?;
        if let Some(cpu) = limits.get("cpu") {
            let why = "a share of a processor is no bound of a step: see `fuel` and `deadline_ms` of `[limits]`, which have defaults";
            self.change(&pointer_to(&at, "cpu"), cpu, Value::Null, why);
        }
        let memory = limits.get("memory")?;
        let at = pointer_to(&at, "memory");
        let bytes = match memory {
            Value::String(text) => size(text),
            other => other.as_u64(),
        };
        let max = limits::StepLimits::MAX.memory_bytes;
        match bytes.filter(|bytes| (1..=max).contains(bytes)) {
            Some(bytes) => Some(bytes),
            None => {
                let message = format!("`{}` is no size from 1 to {max} bytes", shown(&memory.to_string()));
                self.report(
                    "bad-size",
                    &at,
                    message,
                    "write bytes, or a number with `Ki`, `Mi` or `Gi`, such as `512Mi`",
                );
                None
            }
        }
    }
}

/// Why a rule for these URLs cannot be; `None` where it can.
fn unreadable(host: &str, urls: &[String]) -> Option<String> {
    let message = || Some(format!("`{}` is no host that a rule can name", shown(host)));
    if host.is_empty() || host.contains(['/', '?', '#', '@']) || urls.is_empty() {
        return message();
    }
    let grant = urls.iter().map(|url| format!("{{ url = {}, methods = [\"GET\"] }}", quoted(url)));
    let grant = grant.collect::<Vec<_>>().join(", ");
    let text = format!("schema = \"{SCHEMA}\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\nnetwork = [{grant}]\n");
    match Policy::parse(&text) {
        Ok(_) => None,
        Err(_) => message(),
    }
}

fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).ok(); // Writing to a string cannot fail.
}

/// A size as Kubernetes writes it.
fn size(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 6] =
        [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];
    let unit = UNITS.into_iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    let (digits, bytes) = unit.unwrap_or((text, 1));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(bytes)
}

#[cfg(test)]
mod tests;
