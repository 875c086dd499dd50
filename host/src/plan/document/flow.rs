//! The keys of a step that are about the course of the run: `when`, `retry`, `expect`, `approve`.

use serde_json::Value;
use url::Url;

use super::keys::{APPROVE, CONDITION, EXPECT, RETRY};
use super::{Members, Reader, kind};
use crate::canonical;
use crate::limits;
use crate::plan::draft::DraftApprove;
use crate::plan::flow::{Comparison, Condition, Expect, ExpectKind, ExpectMode, Retry, RetryOn};
use crate::plan::schema::OutputSchema;
use crate::plan::template::Template;
use crate::problem::{pointer_to, shown};

/// The wait before a second attempt where the plan says nothing.
const BACKOFF_MS_DEFAULT: u64 = 100;

impl Reader<'_> {
    /// `when`: one condition or an array of them.
    pub(super) fn when(&mut self, members: Members<'_>) -> Vec<Condition> {
        let Some(value) = members.map.get("when") else { return Vec::new() };
        let pointer = pointer_to(members.pointer, "when");
        match value {
            Value::Object(_) => self.condition(value, &pointer, members.what).into_iter().collect(),
            Value::Array(conditions) if conditions.is_empty() => {
                let message = format!("`when` of {} holds no condition", members.what);
                self.push("no-conditions", pointer, message, "leave `when` out where the step shall always run");
                Vec::new()
            }
            Value::Array(conditions) if conditions.len() > limits::CONDITIONS_MAX => {
                let message =
                    format!("`when` has {} conditions, more than {}", conditions.len(), limits::CONDITIONS_MAX);
                self.push("too-many-conditions", pointer, message, "compare in a step of its own");
                Vec::new()
            }
            Value::Array(conditions) => {
                let conditions = conditions.iter().enumerate();
                let read = |(index, value): (usize, &Value)| {
                    self.condition(value, &format!("{pointer}/{index}"), members.what)
                };
                conditions.filter_map(read).collect()
            }
            other => {
                self.wrong_type(pointer, "when", "a condition or an array of conditions", other);
                Vec::new()
            }
        }
    }

    fn condition(&mut self, value: &Value, pointer: &str, step: &str) -> Option<Condition> {
        const FORM: &str = "such as `{\"value\": \"{{steps.count.total}}\", \"more_than\": 5}`";
        let what = format!("a condition of {step}");
        let members = self.object(value, pointer, &what)?;
        self.known_keys(members, &CONDITION);
        let value = self.required(members, "value");
        let value = value.map(|value| Template::parse(value, &pointer_to(pointer, "value"), self.problems));
        let mut given = Comparison::ALL
            .into_iter()
            .filter_map(|comparison| Some((comparison, members.map.get(comparison.name())?)));
        let (first, more) = (given.next(), given.next());
        let Some((comparison, operand)) = first else {
            let message = format!("{what} compares with nothing");
            self.push("missing-key", pointer.to_owned(), message, FORM);
            return None;
        };
        if let Some((second, _)) = more {
            let message = format!("{what} has both `{}` and `{}`", comparison.name(), second.name());
            self.push("ambiguous-condition", pointer_to(pointer, second.name()), message, "write two conditions");
            return None;
        }
        let operand = Template::parse(operand, &pointer_to(pointer, comparison.name()), self.problems);
        Some(Condition { value: value?, comparison, operand })
    }

    pub(super) fn retry(&mut self, members: Members<'_>) -> Option<Retry> {
        let value = members.map.get("retry")?;
        let pointer = pointer_to(members.pointer, "retry");
        let what = format!("`retry` of {}", members.what);
        let members = self.object(value, &pointer, &what)?;
        self.known_keys(members, &RETRY);
        self.required(members, "attempts");
        let attempts = self.bounded(members, &RETRY, "attempts");
        let backoff_ms = self.bounded(members, &RETRY, "backoff_ms").unwrap_or(BACKOFF_MS_DEFAULT);
        let on = self.retry_on(members);
        Some(Retry { attempts: u32::try_from(attempts?).ok()?, backoff_ms, on: on? })
    }

    fn retry_on(&mut self, members: Members<'_>) -> Option<Vec<RetryOn>> {
        const KINDS: &str = "an array of `failed`, `trapped`, `deadline`";
        let value = self.required(members, "on")?;
        let pointer = pointer_to(members.pointer, "on");
        let Value::Array(kinds) = value else {
            self.wrong_type(pointer, "on", KINDS, value);
            return None;
        };
        if kinds.is_empty() {
            let message = format!("{} names no end after which to try again", members.what);
            self.push("no-retry", pointer, message, format!("write {KINDS}"));
            return None;
        }
        let mut on: Vec<RetryOn> = Vec::new();
        for (index, kind) in kinds.iter().enumerate().take(limits::PROBLEMS_MAX) {
            let pointer = format!("{pointer}/{index}");
            let Some(name) = kind.as_str() else {
                self.wrong_type(pointer, "on", KINDS, kind);
                continue;
            };
            if matches!(name, "fuel" | "memory" | "denied" | "denial") {
                let message = format!("there is no retry on `{name}`: it would end in the same way again");
                self.push("unknown-value", pointer, message, format!("write {KINDS}"));
                continue;
            }
            let known = RetryOn::ALL.map(|kind| (kind.name(), kind));
            match self.one_of(pointer.clone(), "on", name, &known) {
                Some(kind) if on.contains(&kind) => {
                    self.push("duplicate-value", pointer, format!("`{name}` is there twice"), "keep one of the two");
                }
                Some(kind) => on.push(kind),
                None => {}
            }
        }
        Some(on)
    }

    pub(super) fn expect(&mut self, members: Members<'_>) -> Option<Expect> {
        let value = members.map.get("expect")?;
        let pointer = pointer_to(members.pointer, "expect");
        let what = format!("`expect` of {}", members.what);
        let members = self.object(value, &pointer, &what)?;
        self.known_keys(members, &EXPECT);
        let kinds = [ExpectKind::Text, ExpectKind::Json, ExpectKind::Value].map(|kind| (kind.name(), kind));
        let modes = [ExpectMode::Strict, ExpectMode::Warn].map(|mode| (mode.name(), mode));
        self.required(members, "kind");
        let kind = self.optional_one_of(members, "kind", &kinds);
        let mode = self.optional_one_of(members, "mode", &modes).unwrap_or_default();
        let schema = self.output_schema(members, kind);
        Some(Expect { kind: kind?, schema, mode })
    }

    fn output_schema(&mut self, members: Members<'_>, of: Option<ExpectKind>) -> Option<OutputSchema> {
        let schema = members.map.get("schema")?;
        let pointer = pointer_to(members.pointer, "schema");
        if of == Some(ExpectKind::Text) {
            let message = format!("{} is of kind `text`, which has no schema", members.what);
            self.push("misplaced-key", pointer, message, "write `\"kind\": \"json\"`, or take the schema out");
            return None;
        }
        if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
            let message = format!("`schema` must be a JSON Schema, got {}", kind(schema));
            self.push("wrong-type", pointer, message, "write an object, such as `{\"type\": \"object\"}`");
            return None;
        }
        if self.schema_bytes > limits::SCHEMAS_BYTES_MAX {
            return None;
        }
        self.schema_bytes = self.schema_bytes.saturating_add(canonical::to_vec(schema).len());
        if self.schema_bytes > limits::SCHEMAS_BYTES_MAX {
            let message =
                format!("the schemas of the plan have more than {} bytes together", limits::SCHEMAS_BYTES_MAX);
            self.push("bad-schema", pointer, message, "describe less of the outputs, or split the plan");
            return None;
        }
        let compiled = OutputSchema::compile(schema, &pointer).map_err(|problem| self.problems.push(problem)).ok()?;
        // Compiled it may take ten times as much as written: what is more than that counts as text.
        self.schema_bytes = self.schema_bytes.saturating_add(compiled.pattern_bytes() / 10);
        Some(compiled)
    }

    pub(super) fn approve(&mut self, value: &Value, pointer: &str, step: &str) -> DraftApprove {
        let what = format!("`approve` of {step}");
        let Some(members) = self.object(value, pointer, &what) else { return DraftApprove::default() };
        self.known_keys(members, &APPROVE);
        let message = self.required_string(members, "message").map(|text| {
            let pointer = pointer_to(pointer, "message");
            if text.trim().is_empty() {
                let message = format!("the message of {what} is empty");
                self.push("empty-message", pointer.clone(), message, "say what is to be decided");
            }
            Template::parse(&Value::from(text), &pointer, self.problems)
        });
        let context = members.map.get("context").and_then(|context| {
            let pointer = pointer_to(pointer, "context");
            if !context.is_object() {
                self.wrong_type(pointer, "context", "an object", context);
                return None;
            }
            Some(Template::parse(context, &pointer, self.problems))
        });
        let webhook_url = self.webhook_url(members);
        let expires_in_s = self.bounded(members, &APPROVE, "expires_in_s");
        DraftApprove { message, context, webhook_url, expires_in_s }
    }

    fn webhook_url(&mut self, members: Members<'_>) -> Option<String> {
        let text = self.optional_string(members, "webhook_url")?;
        let wrong = match Url::parse(text) {
            _ if text.len() > limits::URL_BYTES_MAX => "it is too long",
            Err(_) => "it cannot be read",
            Ok(url) if !matches!(url.scheme(), "http" | "https") => "it is neither `https` nor `http`",
            Ok(url) if !url.username().is_empty() || url.password().is_some() => "it holds credentials",
            Ok(url) if url.fragment().is_some() => "it has a fragment",
            Ok(_) => return Some(text.to_owned()),
        };
        let message = format!("`{}` is not the URL of a webhook: {wrong}", shown(text));
        let pointer = pointer_to(members.pointer, "webhook_url");
        self.push("bad-url", pointer, message, "such as `https://hooks.example.com/approvals`");
        None
    }
}
