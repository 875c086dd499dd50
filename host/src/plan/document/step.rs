//! The keys of a step.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::keys::{CALL_KEYS, COMPENSATION, STEP};
use super::{Members, Reader};
use crate::form::LIMITS;
use crate::id::StepId;
use crate::limits::LimitsDocument;
use crate::plan::draft::{DraftCall, DraftStep};
use crate::plan::template::Template;
use crate::problem::{pointer_to, shown};

impl Reader<'_> {
    pub(super) fn step(&mut self, step: &Value, pointer: &str, index: usize) -> DraftStep {
        let id = step.get("id").and_then(Value::as_str);
        let what = id.map_or_else(|| format!("step {index}"), |id| format!("step `{}`", shown(id)));
        let Some(members) = self.object(step, pointer, &what) else {
            self.gaps.any_step = true;
            return DraftStep::default();
        };
        let meant = self.known_keys(members, &STEP);
        let id = self.id(members);
        let approve = members.map.get("approve");
        if approve.is_some() {
            self.only_approves(members);
        }
        let tool = match (members.map.get("tool"), approve) {
            (None, Some(_)) => None,
            _ => self.required_string(members, "tool"),
        };
        let approve = approve.map(|approve| self.approve(approve, &pointer_to(pointer, "approve"), &what));
        let description = self.optional_string(members, "description");
        let input = if approve.is_none() { self.input(members, meant.contains("input")) } else { None };
        let depends_on = self.depends_on(members);
        let when = self.when(members);
        let limits = self.limits(members);
        let retry = self.retry(members);
        let expect = self.expect(members);
        let compensate = members.map.get("compensate");
        let compensate = compensate.map(|call| {
            self.compensation(call, &pointer_to(pointer, "compensate"), &format!("`compensate` of {what}"))
        });
        DraftStep {
            id,
            call: DraftCall { tool: tool.map(str::to_owned), input },
            approve,
            description: description.map(str::to_owned),
            depends_on,
            when,
            limits,
            retry,
            expect,
            compensate,
            reuse: self.flag(members, "reuse"),
            irreversible: self.flag(members, "irreversible"),
        }
    }

    fn id(&mut self, members: Members<'_>) -> Option<StepId> {
        let id = self.required_string(members, "id");
        self.gaps.any_step |= id.is_none();
        let read = StepId::new(id?);
        if let (Err(error), Some(id)) = (&read, id) {
            self.push("bad-name", pointer_to(members.pointer, "id"), error.to_string(), "such as `read-1`");
            self.gaps.steps.insert(id.to_owned());
        }
        read.ok()
    }

    /// Reports what a step that approves cannot have.
    fn only_approves(&mut self, members: Members<'_>) {
        if members.map.contains_key("tool") {
            let message = format!("{} has both `tool` and `approve`", members.what);
            let hint = "a step does one of the two: ask in a step of its own, and let this one depend on it";
            self.push("ambiguous-step", pointer_to(members.pointer, "approve"), message, hint);
            return;
        }
        for key in CALL_KEYS.into_iter().filter(|key| members.map.contains_key(*key)) {
            let message = format!("{} asks for approval and calls no tool: it has no `{key}`", members.what);
            self.push("misplaced-key", pointer_to(members.pointer, key), message, "take it out");
        }
    }

    /// `input`; without one the input is empty, unless it is `meant` by another key.
    fn input(&mut self, members: Members<'_>, meant: bool) -> Option<Template> {
        let empty = Value::Object(Map::new());
        let input = members.map.get("input").or_else(|| (!meant).then_some(&empty))?;
        let pointer = pointer_to(members.pointer, "input");
        let template = Template::parse(input, &pointer, self.problems);
        if !input.is_object() {
            self.wrong_type(pointer, "input", "an object", input);
            return None;
        }
        Some(template)
    }

    /// `{tool, input}`.
    pub(super) fn compensation(&mut self, call: &Value, pointer: &str, what: &str) -> DraftCall {
        let Some(members) = self.object(call, pointer, what) else { return DraftCall::default() };
        let meant = self.known_keys(members, &COMPENSATION);
        let tool = self.required_string(members, "tool").map(str::to_owned);
        DraftCall { tool, input: self.input(members, meant.contains("input")) }
    }

    fn depends_on(&mut self, members: Members<'_>) -> Vec<(usize, String)> {
        let Some(value) = members.map.get("depends_on") else { return Vec::new() };
        let pointer = pointer_to(members.pointer, "depends_on");
        let Value::Array(ids) = value else {
            self.wrong_type(pointer, "depends_on", "an array of step ids", value);
            return Vec::new();
        };
        let mut seen = BTreeSet::new();
        let mut depends_on = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            let pointer = format!("{pointer}/{index}");
            let Some(id) = id.as_str() else {
                self.wrong_type(pointer, "depends_on", "an array of step ids", id);
                continue;
            };
            if !seen.insert(id) {
                let message = format!("`{}` is there twice", shown(id));
                self.push("duplicate-dependency", pointer, message, "keep one of the two");
                continue;
            }
            depends_on.push((index, id.to_owned()));
        }
        depends_on
    }

    fn limits(&mut self, members: Members<'_>) -> LimitsDocument {
        let mut asked = LimitsDocument::default();
        let Some(value) = members.map.get("limits") else { return asked };
        let pointer = pointer_to(members.pointer, "limits");
        let what = format!("`limits` of {}", members.what);
        let Some(members) = self.object(value, &pointer, &what) else { return asked };
        self.known_keys(members, &LIMITS);
        for (key, limit) in [
            ("fuel", &mut asked.fuel),
            ("deadline_ms", &mut asked.deadline_ms),
            ("memory_bytes", &mut asked.memory_bytes),
            ("output_bytes", &mut asked.output_bytes),
            ("stdio_bytes", &mut asked.stdio_bytes),
            ("host_calls", &mut asked.host_calls),
            ("trace_bytes", &mut asked.trace_bytes),
        ] {
            *limit = self.bounded(members, &LIMITS, key);
        }
        asked
    }
}
