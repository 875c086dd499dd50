//! Plans of skills with parameters: JSON, no references, a stop at the first failure.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::call::WORKSPACE;
use super::capabilities::AVATAR;
use super::references::Scope;
use super::{Members, Reader, graph};
use crate::id::is_name;
use crate::plan::SCHEMA;
use crate::problem::{pointer_to, shown, suggestion};

/// What is expected of a run is not part of a plan.
const EXPECTED: [&str; 4] = ["scenario", "expected_result", "expected_error", "validation"];
const MAKE_FOLDER: &str = "files.make-dir";
const PLAN_KEYS: [&str; 8] =
    ["name", "version", "description", "scenario", "expected_result", "expected_error", "validation", "steps"];
const STEP_KEYS: [&str; 5] = ["id", "skill_name", "params", "depends_on", "description"];

/// The plan.
pub(super) fn read(reader: &mut Reader<'_>, document: &Value) -> Option<Map<String, Value>> {
    let root = reader.object(document, "", &PLAN_KEYS)?;
    let mut plan = Map::new();
    plan.insert("schema".to_owned(), SCHEMA.into());
    let name = match reader.string(root, "name") {
        Some(name) => name.to_owned(),
        None => {
            let name = reader.options.name.clone();
            reader.changed("/name", Value::Null, name.as_str().into(), "a plan has a name: that of the file");
            name
        }
    };
    plan.insert("name".to_owned(), name.into());
    for key in ["version", "description"] {
        if let Some(text) = reader.string(root, key) {
            plan.insert(key.to_owned(), text.into());
        }
    }
    for key in EXPECTED {
        if let Some(value) = root.get(key) {
            reader.dropped(root.at(key), value, "what is expected of a run is no part of a plan");
        }
    }
    reader.changed("/on_failure", Value::Null, "stop".into(), "there, too, nothing runs after a step that failed");
    plan.insert("on_failure".to_owned(), "stop".into());

    let steps = reader.steps(root)?;
    let pointers: Vec<String> = (0..steps.len()).map(|index| format!("/steps/{index}")).collect();
    let read: Vec<Members<'_, '_>> =
        steps.iter().zip(&pointers).filter_map(|(step, pointer)| reader.object(step, pointer, &STEP_KEYS)).collect();
    if read.len() < steps.len() {
        return None;
    }
    let names: Vec<(String, String)> = read
        .iter()
        .map(|members| {
            let at = members.at("id");
            let name = reader.string(*members, "id");
            if name.is_none() && members.get("id").is_none() {
                reader.report("missing-key", &at, "the step has no `id`", "give each step one, such as `step-1`");
            }
            (name.unwrap_or_default().to_owned(), at)
        })
        .collect();
    if !reader.problems.is_empty() {
        return None;
    }
    let ids = reader.ids(&names)?;

    let mut waits_for: Vec<BTreeSet<usize>> = Vec::with_capacity(read.len());
    let mut written = Vec::with_capacity(read.len());
    for (members, id) in read.iter().zip(&ids) {
        let mut waits = BTreeSet::new();
        for (name, at) in reader.names(*members, "depends_on") {
            match names.iter().position(|(known, _)| known == name) {
                Some(index) => {
                    waits.insert(index);
                }
                None => {
                    let known = names.iter().map(|(known, _)| known.as_str());
                    let hint = suggestion(name, known).unwrap_or_else(|| "name the id of another step".to_owned());
                    reader.report("unknown-step", &at, format!("there is no step `{}`", shown(name)), hint);
                }
            }
        }
        if let Some(mut step) = step(reader, *members, id, &waits, &ids) {
            written.extend(folder(reader, *members, &mut step, &ids));
            written.push(Value::Object(step));
        }
        waits_for.push(waits);
    }
    if let Err(node) = graph::order(&waits_for) {
        let pointer = pointer_to(pointers.get(node).map_or("", String::as_str), "depends_on");
        reader.report("circle", &pointer, "the step waits for itself by way of others", "take one of the waits out");
    }
    plan.insert("steps".to_owned(), Value::Array(written));
    Some(plan)
}

fn step(
    reader: &mut Reader<'_>,
    members: Members<'_, '_>,
    id: &str,
    waits: &BTreeSet<usize>,
    ids: &[String],
) -> Option<Map<String, Value>> {
    let mut step = Map::new();
    step.insert("id".to_owned(), id.into());
    if let Some(text) = reader.string(members, "description") {
        step.insert("description".to_owned(), text.into());
    }
    let at = members.at("skill_name");
    let name = match (reader.string(members, "skill_name"), members.get("skill_name")) {
        (Some(name), _) => name,
        (None, Some(_)) => return None,
        (None, None) => {
            reader.report("missing-key", &at, "the step has no `skill_name`", "name a skill, such as `file.write`");
            return None;
        }
    };
    let tool = reader.tool(AVATAR, name, &at)?;
    let params = members.get("params");
    let input = reader.input(&tool, params, &members.at("params"), Scope::LITERAL, &mut BTreeSet::new());
    step.insert("tool".to_owned(), tool.name.into());
    step.insert("input".to_owned(), Value::Object(input));
    let waits: Vec<&String> = waits.iter().filter_map(|index| ids.get(*index)).collect();
    if !waits.is_empty() {
        step.insert("depends_on".to_owned(), json!(waits));
    }
    Some(step)
}

/// The step that makes the folder that `step` writes into: there, whatever writes a file makes it on the way.
fn folder(
    reader: &mut Reader<'_>,
    members: Members<'_, '_>,
    step: &mut Map<String, Value>,
    ids: &[String],
) -> Option<Value> {
    let target = match step.get("tool")?.as_str()? {
        "files.write-text" | "files.append" => "path",
        "files.move" | "files.copy" => "target",
        "files.concat" => "output",
        _ => return None,
    };
    let (folder, _) = step.get("input")?.get(target)?.as_str()?.rsplit_once('/')?;
    if folder.is_empty() || folder == WORKSPACE {
        return None;
    }
    let id = format!("{}-folder", step.get("id")?.as_str()?);
    if !is_name(&id) || ids.contains(&id) {
        let message = format!("`{id}` would be the id of the step that makes the folder");
        reader.report("duplicate-step", &members.at("id"), message, "give the step a shorter id, or another one");
        return None;
    }
    let mut make = Map::new();
    make.insert("id".to_owned(), id.as_str().into());
    make.insert("tool".to_owned(), MAKE_FOLDER.into());
    make.insert("input".to_owned(), json!({ "path": folder }));
    if let Some(waits) = step.insert("depends_on".to_owned(), json!([id])) {
        make.insert("depends_on".to_owned(), waits);
    }
    let make = Value::Object(make);
    let why = "whatever writes a file makes its folder there, and does not here";
    reader.changed(members.pointer, Value::Null, make.clone(), why);
    Some(make)
}
