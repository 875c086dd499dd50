//! One step of a workflow as one of a plan.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::flat::{Flat, Kind, Raw};
use super::{approval, compensation};
use crate::limits;
use crate::plan::import::call::Tool;
use crate::plan::import::references::{Scope, State};
use crate::plan::import::{Members, Reader};

/// What a step is written from.
#[derive(Clone, Copy)]
pub(super) struct From<'s> {
    pub(super) flat: &'s Flat<'s>,
    pub(super) state: &'s State,
    /// The steps that run later.
    pub(super) later: &'s BTreeSet<usize>,
    pub(super) index: usize,
}

impl From<'_> {
    /// The step; `None` where it cannot be one, which is reported.
    pub(super) fn step(
        self,
        reader: &mut Reader<'_>,
        raw: &Raw<'_>,
        tool: Option<&Tool>,
        used: &mut BTreeSet<usize>,
    ) -> Option<Value> {
        let members = raw.members();
        let before = Scope { state: Some(self.state), later: self.later, this: Some(self.index), steps: true };
        let mut step = Map::new();
        step.insert("id".to_owned(), self.flat.ids.get(self.index)?.as_str().into());
        if let Some(text) = reader.string(members, "description") {
            step.insert("description".to_owned(), text.into());
        }
        no_place(reader, members);
        match (raw.kind, tool) {
            (Kind::Approval, _) => {
                step.insert("approve".to_owned(), approval::read(reader, raw, before, used)?);
            }
            (Kind::Call, tool) => {
                let tool = tool?;
                let input = reader.input(tool, members.get("inputs"), &members.at("inputs"), before, used);
                step.insert("tool".to_owned(), tool.name.as_str().into());
                step.insert("input".to_owned(), Value::Object(input));
                if let Some(retry) = retry(reader, members) {
                    step.insert("retry".to_owned(), retry);
                }
                if let Some(limits) = limits(reader, members) {
                    step.insert("limits".to_owned(), limits);
                }
                if let Some(value) = members.get("compensation") {
                    // A step that is undone has run: it may refer to itself.
                    let after = Scope { this: None, ..before };
                    let at = members.at("compensation");
                    if let Some(call) = compensation(reader, value, &at, after, used) {
                        reader.changed(at, "compensation".into(), "compensate".into(), "its name here");
                        step.insert("compensate".to_owned(), call);
                    }
                }
            }
        }
        if let Some((text, pointer)) = &raw.condition
            && let Some(when) = reader.condition(text, pointer, before, used)
        {
            step.insert("when".to_owned(), when);
        }
        let waits = self.flat.waits_for.get(self.index)?;
        let waits: Vec<&String> = waits.iter().filter_map(|index| self.flat.ids.get(*index)).collect();
        if !waits.is_empty() {
            step.insert("depends_on".to_owned(), json!(waits));
        }
        Some(Value::Object(step))
    }
}

/// What a step says of itself and a plan does not.
fn no_place(reader: &mut Reader<'_>, members: Members<'_, '_>) {
    if let Some(value) = members.get("risk_level") {
        let why = "how risky a call is, its skill says; to be asked, write `approval = \"required\"` in the grant";
        reader.dropped(members.at("risk_level"), value, why);
    }
    if let Some(value) = members.get("agent_name") {
        let why = "a run is in one name: say it with `--as agent:NAME`";
        reader.dropped(members.at("agent_name"), value, why);
    }
}

fn retry(reader: &mut Reader<'_>, members: Members<'_, '_>) -> Option<Value> {
    let value = members.get("max_retries")?;
    let at = members.at("max_retries");
    if value.as_u64() == Some(0) {
        reader.dropped(at, value, "a step runs once unless it says otherwise");
        return None;
    }
    let attempts = value.as_u64().and_then(|retries| retries.checked_add(1));
    let Some(attempts) = attempts.filter(|attempts| *attempts <= limits::ATTEMPTS_IMPORTED_MAX) else {
        let message = format!("`{value}` is no number of retries");
        let hint = format!("write an integer from 0 to {}", limits::ATTEMPTS_IMPORTED_MAX - 1);
        reader.report("out-of-range", &at, message, hint);
        return None;
    };
    let now = json!({ "attempts": attempts, "on": ["failed", "trapped", "deadline"] });
    let why = format!("the first attempt and the retries; `[run]` of the policy must have `attempts = {attempts}`");
    reader.changed(at, value.clone(), now.clone(), why);
    Some(now)
}

fn limits(reader: &mut Reader<'_>, members: Members<'_, '_>) -> Option<Value> {
    let value = members.get("timeout_seconds")?;
    let at = members.at("timeout_seconds");
    let ms = reader.milliseconds(value, &at, limits::DEADLINE_MS_MAX)?;
    let now = json!({ "deadline_ms": ms });
    reader.changed(at, value.clone(), now.clone(), "`limits` of the step, in milliseconds");
    Some(now)
}
