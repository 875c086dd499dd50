//! Workflows: capabilities with compensations, approvals, conditions and parallel groups, rolled back where a step fails.
//!
//! First the list of steps is made flat and who waits for whom is known (`ai_first/flat.rs`); then each step is written
//! (`ai_first/step.rs`), because what a reference means depends on what runs before.

mod approval;
mod flat;
mod step;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::capabilities::AI_FIRST;
use super::references::{Giver, Gives, Scope, State};
use super::{Members, Reader, graph};
use crate::canonical;
use crate::id::StepId;
use crate::limits;
use crate::plan::SCHEMA;
use crate::problem::{pointer_to, shown};
use flat::{Kind, Raw};

/// What describes a workflow and has no effect.
const METADATA: [&str; 10] = [
    "owner",
    "business_unit",
    "cost_center",
    "compliance_tags",
    "tags",
    "audit_level",
    "retention_days",
    "environment",
    "triggered_by",
    "pack_id",
];
const KEYS: [&str; 10] = [
    "name",
    "version",
    "description",
    "steps",
    "initial_state",
    "policy",
    "global_compensation_steps",
    "max_execution_time_seconds",
    "enable_auto_rollback",
    "metadata",
];
const CALL_KEYS: [&str; 5] = ["capability", "capability_name", "inputs", "step_name", "description"];

/// The plan.
pub(super) fn read(reader: &mut Reader<'_>, document: &Value) -> Option<Map<String, Value>> {
    let known: Vec<&str> = KEYS.into_iter().chain(METADATA).collect();
    let root = reader.object(document, "", &known)?;
    let mut plan = Map::new();
    plan.insert("schema".to_owned(), SCHEMA.into());
    head(reader, root, &mut plan);
    let inputs = initial_state(reader, root);
    let flat = flat::flatten(reader, root)?;
    one_agent(reader, &flat.raws);
    if flat.widest > 1 {
        let parallel = flat.widest.min(limits::PARALLEL_IMPORTED_MAX);
        let why = "as many steps as the widest group has run at one time";
        reader.changed("/parallel", Value::Null, parallel.into(), why);
        plan.insert("parallel".to_owned(), parallel.into());
    }

    let mut tools = Vec::with_capacity(flat.raws.len());
    let mut state = State { inputs: inputs.keys().cloned().collect(), steps: Vec::with_capacity(flat.raws.len()) };
    for (raw, id) in flat.raws.iter().zip(&flat.ids) {
        let tool = match raw.kind {
            Kind::Approval => None,
            Kind::Call => capability(reader, raw.members()),
        };
        let gives = match (raw.kind, &tool) {
            (Kind::Approval, _) => {
                let keys = [("approver", "by"), ("approved_by", "by"), ("by", "by"), ("reason", "reason")];
                Gives::Keys(keys.iter().map(|(key, path)| ((*key).to_owned(), vec![(*path).to_owned()])).collect())
            }
            (Kind::Call, Some(tool)) => tool.gives(),
            (Kind::Call, None) => Gives::Unknown,
        };
        let name = tool.as_ref().map_or_else(|| "approve".to_owned(), |tool| tool.name.clone());
        state.steps.push(Giver { name: raw.name.clone(), id: StepId::new(id.as_str()).ok()?, tool: name, gives });
        tools.push(tool);
    }
    if flat.raws.iter().zip(&tools).any(|(raw, tool)| raw.kind == Kind::Call && tool.is_none()) {
        // What a step gives whose tool is not known could be anything. What undoes steps can be said all the same.
        for raw in &flat.raws {
            let at = raw.members().at("compensation");
            if let Some(map) = raw.members().get("compensation").and_then(Value::as_object) {
                capability(reader, Members { map, pointer: &at });
            }
        }
        return None;
    }

    let mut waits_for = flat.waits_for.clone();
    let mut steps = Vec::with_capacity(flat.raws.len());
    for (index, (raw, tool)) in flat.raws.iter().zip(&tools).enumerate() {
        let later = graph::after(&flat.waits_for, index);
        let from = step::From { flat: &flat, state: &state, later: &later, index };
        let mut used = BTreeSet::new();
        steps.extend(from.step(reader, raw, tool.as_ref(), &mut used));
        used.remove(&index);
        if let Some(waits) = waits_for.get_mut(index) {
            waits.extend(used);
        }
    }
    if let Err(node) = graph::order(&waits_for) {
        let pointer = flat.raws.get(node).map_or("", |raw| raw.pointer.as_str());
        reader.report("circle", pointer, "the step needs what only comes after it", "take one of the references out");
    }
    let nobody = BTreeSet::new();
    let scope = Scope { state: Some(&state), later: &nobody, this: None, steps: false };
    let compensate = global(reader, root, &flat.compensations, scope);
    if !compensate.is_empty() {
        plan.insert("compensate".to_owned(), Value::Array(compensate));
    }
    if !inputs.is_empty() {
        let why = "what a plan is given, which whoever runs it may replace";
        reader.changed("/initial_state", "initial_state".into(), "inputs".into(), why);
        plan.insert("inputs".to_owned(), Value::Object(inputs));
    }
    plan.insert("steps".to_owned(), Value::Array(steps));
    Some(plan)
}

/// Everything but the steps.
fn head(reader: &mut Reader<'_>, root: Members<'_, '_>, plan: &mut Map<String, Value>) {
    match reader.string(root, "name") {
        Some(name) => {
            plan.insert("name".to_owned(), name.into());
        }
        None if root.get("name").is_some() => {}
        None => {
            let name = reader.options.name.clone();
            reader.changed("/name", Value::Null, name.as_str().into(), "a plan has a name: that of the file");
            plan.insert("name".to_owned(), name.into());
        }
    }
    if let Some(version) = reader.string(root, "version") {
        if !crate::plan::document::plan::is_semver(version) {
            let hint = "write three numbers, such as `1.0.0`";
            reader.report("bad-version", "/version", format!("`{}` is not a version", shown(version)), hint);
        }
        plan.insert("version".to_owned(), version.into());
    }
    let mut description = reader.string(root, "description").unwrap_or_default().trim_end().to_owned();
    for line in metadata(reader, root) {
        description.push_str(if description.is_empty() { "" } else { "\n" });
        description.push_str(&line);
    }
    if !description.is_empty() {
        plan.insert("description".to_owned(), description.into());
    }
    rollback(reader, root, plan);
    if let Some(value) = root.get("max_execution_time_seconds") {
        let at = root.at("max_execution_time_seconds");
        if let Some(ms) = reader.milliseconds(value, &at, limits::RUN_DEADLINE_MS_MAX) {
            reader.changed(at, value.clone(), ms.into(), "`deadline_ms` of the plan, in milliseconds");
            plan.insert("deadline_ms".to_owned(), ms.into());
        }
    }
    if let Some(policy) = root.get("policy") {
        if reader.options.drop_policy {
            reader.dropped("/policy", policy, "left out as asked: who may do what is said by the host's policy");
        } else {
            let hint = "make a policy of it, with the rules that `host policy import` writes, then import with `--drop-policy`";
            reader.report("policy-in-plan", "/policy", "a plan never chooses what it may do", hint);
        }
    }
}

/// Lines for the description: a plan has no other place for what describes it.
fn metadata(reader: &mut Reader<'_>, root: Members<'_, '_>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut keep = |reader: &mut Reader<'_>, members: Members<'_, '_>, key: &str| {
        let Some(value) = members.get(key) else { return };
        let text = match value {
            Value::String(text) if !text.contains(char::is_control) => text.clone(),
            other => canonical::to_string(other),
        };
        let line = format!("{key}: {text}");
        let why = match key {
            "audit_level" => "kept in the description: the host records every call in full",
            "retention_days" => "kept in the description: how long runs are kept is for whoever keeps them",
            _ => "kept in the description: a plan has no such key",
        };
        reader.changed(members.at(key), value.clone(), line.as_str().into(), why);
        lines.push(line);
    };
    for key in METADATA {
        keep(reader, root, key);
    }
    if let Some(value) = root.get("metadata") {
        let Some(map) = value.as_object() else {
            reader.wrong_type("/metadata", "keys and values", value);
            return lines;
        };
        for key in map.keys() {
            keep(reader, Members { map, pointer: "/metadata" }, key);
        }
    }
    lines
}

fn rollback(reader: &mut Reader<'_>, root: Members<'_, '_>, plan: &mut Map<String, Value>) {
    let at = "/enable_auto_rollback";
    let (was, on_failure, why) = match root.get("enable_auto_rollback") {
        None => (Value::Null, "rollback", "there a failure rolls back unless the workflow says otherwise"),
        Some(was @ Value::Bool(true)) => (was.clone(), "rollback", "`on_failure` of the plan"),
        Some(was @ Value::Bool(false)) => (was.clone(), "stop", "`on_failure` of the plan"),
        Some(other) => return reader.wrong_type(at, "true or false", other),
    };
    reader.changed(at, was, on_failure.into(), why);
    plan.insert("on_failure".to_owned(), on_failure.into());
}

fn initial_state(reader: &mut Reader<'_>, root: Members<'_, '_>) -> Map<String, Value> {
    match root.get("initial_state") {
        None => Map::new(),
        Some(Value::Object(state)) => state.clone(),
        Some(other) => {
            reader.wrong_type("/initial_state", "keys and values", other);
            Map::new()
        }
    }
}

/// A run is in one name, so that steps in different ones cannot be told apart by a policy.
fn one_agent(reader: &mut Reader<'_>, raws: &[Raw<'_>]) {
    let mut first = None;
    for raw in raws {
        let members = raw.members();
        let Some(name) = reader.string(members, "agent_name") else { continue };
        let first = *first.get_or_insert(name);
        if name != first {
            let message = format!("the steps are of several agents, `{}` and `{}`", shown(first), shown(name));
            let hint = "a run is in one name, which `--as agent:NAME` says: make a plan of the steps of each";
            reader.report("several-agents", &members.at("agent_name"), message, hint);
        }
    }
}

/// The tool of a step or a compensation.
fn capability(reader: &mut Reader<'_>, members: Members<'_, '_>) -> Option<super::call::Tool> {
    let named: Vec<&str> =
        ["capability", "capability_name"].into_iter().filter(|key| members.get(key).is_some()).collect();
    match named.as_slice() {
        [key] => {
            let name = reader.string(members, key)?;
            reader.tool(AI_FIRST, name, &members.at(key))
        }
        [] => {
            let hint = "name one, such as `io.fs.read_file`";
            reader.report("missing-key", &members.at("capability"), "there is no `capability`", hint);
            None
        }
        _ => {
            let at = members.at("capability_name");
            reader.report("said-twice", &at, "the capability is named twice", "keep one of the two");
            None
        }
    }
}

/// `{tool, input}` of a compensation.
fn compensation(
    reader: &mut Reader<'_>,
    value: &Value,
    pointer: &str,
    scope: Scope<'_>,
    used: &mut BTreeSet<usize>,
) -> Option<Value> {
    let members = reader.object(value, pointer, &CALL_KEYS)?;
    for key in ["step_name", "description"] {
        if let Some(value) = members.get(key) {
            reader.dropped(members.at(key), value, "a compensation is known by its step");
        }
    }
    let tool = capability(reader, members)?;
    let input = reader.input(&tool, members.get("inputs"), &members.at("inputs"), scope, used);
    Some(json!({ "tool": tool.name, "input": input }))
}

/// What a rollback runs last: `global_compensation_steps`, and the steps that are nothing else.
fn global(reader: &mut Reader<'_>, root: Members<'_, '_>, steps: &[Raw<'_>], scope: Scope<'_>) -> Vec<Value> {
    let mut written = Vec::new();
    let key = "global_compensation_steps";
    for (index, item) in reader.list(root, key).iter().enumerate() {
        let pointer = pointer_to(&root.at(key), &index.to_string());
        // There a compensation may be called as a step is.
        let item = match item.as_object() {
            Some(map) if map.contains_key("name") => {
                let mut map = map.clone();
                if let Some(name) = map.remove("name") {
                    reader.dropped(pointer_to(&pointer, "name"), &name, "what a rollback runs last has no name");
                }
                &Value::Object(map)
            }
            _ => item,
        };
        written.extend(compensation(reader, item, &pointer, scope, &mut BTreeSet::new()));
    }
    if !written.is_empty() {
        reader.changed(root.at(key), key.into(), "compensate".into(), "what a rollback runs last");
    }
    for raw in steps {
        let Some(tool) = capability(reader, raw.members()) else { continue };
        let at = raw.members().at("inputs");
        let input = reader.input(&tool, raw.members().get("inputs"), &at, scope, &mut BTreeSet::new());
        let now = json!({ "tool": tool.name, "input": input });
        reader.changed(
            raw.pointer.clone(),
            raw.name.as_str().into(),
            "compensate".into(),
            "it runs in a rollback alone",
        );
        written.push(now);
    }
    written
}

impl Reader<'_> {
    /// Seconds as milliseconds, from 1 to `max`.
    fn milliseconds(&mut self, value: &Value, pointer: &str, max: u64) -> Option<u64> {
        let Some(number) = value.as_number() else {
            self.wrong_type(pointer, "a number of seconds", value);
            return None;
        };
        let duration = match number.as_u64() {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => number.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        };
        let ms = duration.and_then(|duration| u64::try_from(duration.as_millis()).ok());
        let ms = ms.filter(|ms| (1..=max).contains(ms));
        if ms.is_none() {
            let message = format!("`{number}` seconds are not between 0.001 and {}", max / 1000);
            self.report("out-of-range", pointer, message, "write a number of seconds in that range");
        }
        ms
    }
}
