//! The list of steps without groups in it, and who waits for whom.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::limits;
use crate::plan::import::{Members, Reader, graph};
use crate::problem::{pointer_to, shown, suggestion};

/// What a step becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Approval,
}

/// One step that is no group.
#[derive(Debug)]
pub(super) struct Raw<'d> {
    map: &'d Map<String, Value>,
    pub(super) pointer: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The text of its condition, with its place.
    pub(super) condition: Option<(&'d str, String)>,
}

impl Raw<'_> {
    pub(super) fn members(&self) -> Members<'_, '_> {
        Members { map: self.map, pointer: &self.pointer }
    }
}

/// All steps, flat.
#[derive(Debug, Default)]
pub(super) struct Flat<'d> {
    pub(super) raws: Vec<Raw<'d>>,
    /// Of each one.
    pub(super) ids: Vec<String>,
    /// By index: explicit dependencies, and those that keep what is not in a group in its order.
    pub(super) waits_for: Vec<BTreeSet<usize>>,
    /// Steps of the type COMPENSATION.
    pub(super) compensations: Vec<Raw<'d>>,
    /// How many steps the largest parallel group has.
    pub(super) widest: usize,
    /// Whether a step could not be read, so that others may seem to name nothing.
    is_broken: bool,
}

/// A top-level step.
struct Item<'d> {
    map: &'d Map<String, Value>,
    pointer: String,
    name: String,
    /// Whether it is nothing but what is in it.
    is_group: bool,
    /// Its steps in `raws`.
    members: Vec<usize>,
}

const COMMON: [&str; 6] = ["name", "step_type", "description", "depends_on", "agent_name", "risk_level"];
/// Those of a group and of a step that a rollback runs: nobody calls anything with them.
const GROUP: [&str; 4] = ["name", "step_type", "description", "depends_on"];
const CALL: [&str; 6] = ["capability", "capability_name", "inputs", "compensation", "max_retries", "timeout_seconds"];

fn keys<'k>(more: &[&[&'k str]]) -> Vec<&'k str> {
    COMMON.iter().copied().chain(more.iter().flat_map(|list| list.iter().copied())).collect()
}

/// Reports what a step that becomes none has and must not have, and notes what is lost of it.
fn dissolved(reader: &mut Reader<'_>, members: Members<'_, '_>, more: &[&str]) {
    let known: Vec<&str> = GROUP.iter().chain(more).copied().collect();
    reader.unknown_keys(members, &known);
    if let Some(text) = members.get("description") {
        reader.dropped(members.at("description"), text, "it is of no step of the plan");
    }
}

/// `None` where something of it cannot be read, which is reported.
pub(super) fn flatten<'d>(reader: &mut Reader<'_>, root: Members<'d, '_>) -> Option<Flat<'d>> {
    let mut flat = Flat::default();
    let mut items = Vec::new();
    for (index, step) in reader.steps(root)?.iter().enumerate() {
        let first = flat.compensations.len();
        match item(reader, step, &format!("/steps/{index}"), &mut flat) {
            Some(item) => items.push(item),
            None => flat.is_broken |= flat.compensations.len() == first,
        }
    }
    if flat.raws.len() > limits::STEPS_IMPORTED_MAX {
        let message = format!("there are {} steps; at most {} are read", flat.raws.len(), limits::STEPS_IMPORTED_MAX);
        reader.report("too-many-steps", "/steps", message, "split it into several");
    }
    if flat.is_broken || flat.raws.len() > limits::STEPS_IMPORTED_MAX {
        // What the steps say of each other would be held against steps that are not there.
        return None;
    }
    let name = |pointer: &str, name: &str| (name.to_owned(), pointer_to(pointer, "name"));
    let mut names: Vec<(String, String)> = flat.raws.iter().map(|raw| name(&raw.pointer, &raw.name)).collect();
    flat.ids = reader.ids(&names)?;
    for group in items.iter().filter(|item| item.is_group) {
        let (text, pointer) = name(&group.pointer, &group.name);
        if names.iter().any(|(known, _)| *known == text) {
            let message = format!("two steps are called `{}`", shown(&text));
            reader.report("duplicate-step", &pointer, message, "give each step a name of its own");
        }
        names.push((text, pointer));
    }
    waits(reader, &mut flat, &items)?;
    Some(flat)
}

/// Reads a top-level step: itself, or what is in it.
fn item<'d>(reader: &mut Reader<'_>, step: &'d Value, pointer: &str, flat: &mut Flat<'d>) -> Option<Item<'d>> {
    let Some(map) = step.as_object() else {
        reader.wrong_type(pointer, "keys and values", step);
        return None;
    };
    let members = Members { map, pointer };
    let name = name(reader, members)?;
    let first = flat.raws.len();
    let kind = step_type(reader, members)?;
    let is_group = members.get("steps").is_some();
    match kind.as_str() {
        "ACTION" => call(reader, members, &name, None, flat)?,
        "HUMAN_APPROVAL" => approval(reader, members, &name, flat)?,
        "COMPENSATION" => {
            dissolved(reader, members, &["capability", "capability_name", "inputs"]);
            if let Some(waits) = members.get("depends_on") {
                reader.dropped(members.at("depends_on"), waits, "what a rollback runs last waits for nothing");
            }
            let raw = Raw { map, pointer: pointer.to_owned(), name, kind: Kind::Call, condition: None };
            flat.compensations.push(raw);
            return None;
        }
        "CONDITION" if !is_group && named_capability(members) => {
            let condition = condition(reader, members);
            call(reader, members, &name, Some(condition?), flat)?;
        }
        "CONDITION" if is_group => {
            dissolved(reader, members, &["condition", "inputs", "steps"]);
            let condition = condition(reader, members)?;
            nested(reader, members, Some(&condition), flat)?;
            reader.changed(pointer, name.as_str().into(), Value::Null, "its steps have the condition themselves");
        }
        "CONDITION" => {
            let hint = "give it a `capability`, or `steps` that depend on it";
            reader.report("bad-condition", pointer, "the condition decides about nothing", hint);
            return None;
        }
        _ => {
            dissolved(reader, members, &["steps"]);
            nested(reader, members, None, flat)?;
            flat.widest = flat.widest.max(flat.raws.len() - first);
            reader.changed(
                pointer,
                name.as_str().into(),
                Value::Null,
                "its steps wait for nothing but what it waits for",
            );
        }
    }
    let is_group = kind == "PARALLEL" || (kind == "CONDITION" && is_group);
    Some(Item { map, pointer: pointer.to_owned(), name, is_group, members: (first..flat.raws.len()).collect() })
}

fn name(reader: &mut Reader<'_>, members: Members<'_, '_>) -> Option<String> {
    if members.get("name").is_none() {
        let hint = "give each step one, such as `read`";
        reader.report("missing-key", &members.at("name"), "the step has no `name`", hint);
    }
    reader.string(members, "name").map(str::to_owned)
}

fn named_capability(members: Members<'_, '_>) -> bool {
    ["capability", "capability_name"].into_iter().any(|key| members.get(key).is_some())
}

fn step_type(reader: &mut Reader<'_>, members: Members<'_, '_>) -> Option<String> {
    const TYPES: [&str; 5] = ["ACTION", "HUMAN_APPROVAL", "PARALLEL", "CONDITION", "COMPENSATION"];
    let Some(value) = members.get("step_type") else { return Some("ACTION".to_owned()) };
    let text = reader.string(members, "step_type")?;
    let upper = text.to_ascii_uppercase();
    if TYPES.contains(&upper.as_str()) {
        return Some(upper);
    }
    let hint = suggestion(&upper, TYPES).unwrap_or_else(|| crate::types::one_of("known are", TYPES.into_iter()));
    reader.report("unknown-value", &members.at("step_type"), format!("{value} is no type of steps"), hint);
    None
}

fn call<'d>(
    reader: &mut Reader<'_>,
    members: Members<'d, '_>,
    name: &str,
    condition: Option<(&'d str, String)>,
    flat: &mut Flat<'d>,
) -> Option<()> {
    let known = match condition {
        Some(_) => keys(&[&CALL, &["condition"]]),
        None => keys(&[&CALL]),
    };
    check(reader, members, &known);
    let pointer = members.pointer.to_owned();
    flat.raws.push(Raw { map: members.map, pointer, name: name.to_owned(), kind: Kind::Call, condition });
    Some(())
}

fn approval<'d>(reader: &mut Reader<'_>, members: Members<'d, '_>, name: &str, flat: &mut Flat<'d>) -> Option<()> {
    check(reader, members, &keys(&[&["inputs", "approval_config", "timeout_seconds"]]));
    let pointer = members.pointer.to_owned();
    let raw = Raw { map: members.map, pointer, name: name.to_owned(), kind: Kind::Approval, condition: None };
    flat.raws.push(raw);
    Some(())
}

/// Reports keys that are not known.
fn check(reader: &mut Reader<'_>, members: Members<'_, '_>, known: &[&str]) {
    // The value is an object, so that nothing but its keys can be wrong.
    reader.unknown_keys(members, known);
}

/// The steps of a group.
fn nested<'d>(
    reader: &mut Reader<'_>,
    members: Members<'d, '_>,
    condition: Option<&(&'d str, String)>,
    flat: &mut Flat<'d>,
) -> Option<()> {
    let steps = reader.steps(members)?;
    for (index, step) in steps.iter().enumerate() {
        let pointer = pointer_to(&members.at("steps"), &index.to_string());
        let Some(map) = step.as_object() else {
            reader.wrong_type(&pointer, "keys and values", step);
            flat.is_broken = true;
            continue;
        };
        let inner = Members { map, pointer: &pointer };
        let (Some(name), Some(kind)) = (name(reader, inner), step_type(reader, inner)) else {
            flat.is_broken = true;
            continue;
        };
        let kind = match kind.as_str() {
            "ACTION" => Kind::Call,
            "HUMAN_APPROVAL" if condition.is_none() => Kind::Approval,
            other => {
                let message = format!("a step of the type {other} cannot be inside of another one");
                let hint = "write it as a step of its own, with `depends_on`";
                reader.report("nested-group", &pointer, message, hint);
                flat.is_broken = true;
                continue;
            }
        };
        let known = match kind {
            Kind::Call => keys(&[&CALL]),
            Kind::Approval => keys(&[&["inputs", "approval_config", "timeout_seconds"]]),
        };
        check(reader, inner, &known);
        flat.raws.push(Raw { map, pointer, name, kind, condition: condition.cloned() });
    }
    Some(())
}

/// The text of a condition: `condition`, or that of `inputs` where these are for nothing else.
fn condition<'d>(reader: &mut Reader<'_>, members: Members<'d, '_>) -> Option<(&'d str, String)> {
    let inputs = members.get("inputs").filter(|_| !named_capability(members));
    let at = members.at("inputs");
    let (map, pointer) = match inputs {
        None => (members.map, members.at("condition")),
        Some(_) if members.get("condition").is_some() => {
            reader.report("said-twice", &at, "the condition is said twice", "keep one of the two");
            return None;
        }
        Some(inputs) => {
            let map = inputs.as_object();
            if map.is_none() {
                reader.wrong_type(&at, "keys and values", inputs);
            }
            let inner = Members { map: map?, pointer: &at };
            reader.unknown_keys(inner, &["condition"]);
            (inner.map, inner.at("condition"))
        }
    };
    match map.get("condition") {
        Some(Value::String(text)) => Some((text, pointer)),
        Some(other) => {
            reader.wrong_type(&pointer, "a string", other);
            None
        }
        None => {
            let hint = "write `condition: \"{{key}} == 1\"`";
            reader.report("missing-key", &pointer, "the step has no `condition`", hint);
            None
        }
    }
}

/// Who waits for whom.
fn waits(reader: &mut Reader<'_>, flat: &mut Flat<'_>, items: &[Item<'_>]) -> Option<()> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for item in items {
        by_name.insert(&item.name, item.members.clone());
    }
    for (index, raw) in flat.raws.iter().enumerate() {
        by_name.insert(&raw.name, vec![index]);
    }
    let item_of: Vec<usize> = {
        let mut list = vec![0; flat.raws.len()];
        for (at, item) in items.iter().enumerate() {
            for member in &item.members {
                if let Some(slot) = list.get_mut(*member) {
                    *slot = at;
                }
            }
        }
        list
    };
    let mut waits_for: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); flat.raws.len()];
    let mut item_waits: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); items.len()];
    let mut find = |reader: &mut Reader<'_>, members: Members<'_, '_>, who: &[usize], of_item: usize| {
        for (name, at) in reader.names(members, "depends_on") {
            let Some(targets) = by_name.get(name) else {
                let hint = suggestion(name, by_name.keys().copied()).unwrap_or_else(|| "name another step".to_owned());
                reader.report("unknown-step", &at, format!("there is no step `{}`", shown(name)), hint);
                continue;
            };
            for index in who {
                if let Some(waits) = waits_for.get_mut(*index) {
                    waits.extend(targets);
                }
            }
            if let Some(waits) = item_waits.get_mut(of_item) {
                let others = targets.iter().filter_map(|target| item_of.get(*target));
                waits.extend(others.filter(|other| **other != of_item));
            }
        }
    };
    for (at, item) in items.iter().enumerate() {
        find(reader, Members { map: item.map, pointer: &item.pointer }, &item.members, at);
        if item.is_group {
            for index in &item.members {
                if let Some(raw) = flat.raws.get(*index) {
                    find(reader, raw.members(), &[*index], at);
                }
            }
        }
    }
    // A group is done when all of it is: a circle of groups is one although their steps are in none.
    let circle = |reader: &mut Reader<'_>, pointer: &str| -> Option<()> {
        let message = "the step waits for itself by way of others";
        reader.report("circle", &pointer_to(pointer, "depends_on"), message, "take one of the waits out");
        None
    };
    let order = match graph::order(&item_waits) {
        Ok(order) => order,
        Err(at) => return circle(reader, items.get(at).map_or("", |item| item.pointer.as_str())),
    };
    if let Err(at) = graph::order(&waits_for) {
        return circle(reader, flat.raws.get(at).map_or("", |raw| raw.pointer.as_str()));
    }
    if flat.widest > 1 {
        in_order(reader, &order, items, &mut waits_for);
    }
    flat.waits_for = waits_for;
    Some(())
}

/// Where some steps run side by side, the others are held in their order: there they run one after the other.
fn in_order(reader: &mut Reader<'_>, order: &[usize], items: &[Item<'_>], waits_for: &mut [BTreeSet<usize>]) {
    let mut before: Option<&Item<'_>> = None;
    for item in order.iter().filter_map(|at| items.get(*at)) {
        if let Some(previous) = before {
            let mut is_new = false;
            for index in &item.members {
                let Some(waits) = waits_for.get_mut(*index) else { continue };
                for one in &previous.members {
                    is_new |= waits.insert(*one);
                }
            }
            if is_new {
                let why = "only the steps of a group run side by side there";
                reader.changed(
                    pointer_to(&item.pointer, "depends_on"),
                    Value::Null,
                    previous.name.as_str().into(),
                    why,
                );
            }
        }
        before = Some(item);
    }
}
