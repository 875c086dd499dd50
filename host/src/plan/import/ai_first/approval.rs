//! A step that waits for a person.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::flat::Raw;
use crate::limits;
use crate::plan::import::references::Scope;
use crate::plan::import::{Members, Reader};
use crate::problem::{pointer_to, shown};

const KEYS: [&str; 8] = [
    "message",
    "webhook_url",
    "context",
    "webhook_payload",
    "timeout",
    "timeout_seconds",
    "approvers",
    "required_approvers",
];
const SECOND_MS: u64 = 1000;

/// What one of `inputs`, `approval_config` and the step itself says, with its place.
type Said<'d> = (&'d Value, String);

/// `approve` of the step.
pub(super) fn read(
    reader: &mut Reader<'_>,
    raw: &Raw<'_>,
    scope: Scope<'_>,
    used: &mut BTreeSet<usize>,
) -> Option<Value> {
    let members = raw.members();
    let places = ["inputs", "approval_config"].map(|key| (members.get(key), members.at(key)));
    let mut read = Vec::new();
    for (value, pointer) in &places {
        if let Some(value) = value {
            read.extend(reader.object(value, pointer, &KEYS));
        }
    }
    for key in ["approvers", "required_approvers"] {
        if let Some((_, at)) = one(reader, &read, None, &[key]) {
            let hint = "who may approve is not for a plan to say: remove it, and say it where approvals are given";
            reader.report("no-approvers", &at, "a plan does not choose who approves", hint);
        }
    }
    let mut approve = Map::new();
    match one(reader, &read, None, &["message"]) {
        Some((Value::String(_), _)) | None => {}
        Some((other, at)) => reader.wrong_type(&at, "a string", other),
    }
    let message = match one(reader, &read, None, &["message"]) {
        Some((value, at)) => reader.rewrite(value, &at, scope, used),
        None => {
            let message = Value::from(format!("approve `{}`?", shown(&raw.name)));
            reader.changed(members.at("inputs"), Value::Null, message.clone(), "a person has to be asked something");
            message
        }
    };
    approve.insert("message".to_owned(), message);
    if let Some(context) = context(reader, &read, scope, used) {
        approve.insert("context".to_owned(), context);
    }
    if let Some((value, at)) = one(reader, &read, None, &["webhook_url"]) {
        match value.as_str() {
            None => reader.wrong_type(&at, "a string", value),
            Some(url) if url.contains("{{") => {
                let message = "whom to tell cannot depend on what a step gave";
                reader.report(
                    "bad-reference",
                    &at,
                    message,
                    "write the url out, or name it in the policy's `[approval]`",
                );
            }
            Some(url) => {
                let why = "it is told where `[approval] network` of the policy allows it";
                reader.changed(at, value.clone(), value.clone(), why);
                approve.insert("webhook_url".to_owned(), url.into());
            }
        }
    }
    if let Some((value, at)) = one(reader, &read, Some(members), &["timeout", "timeout_seconds"]) {
        let ms = reader.milliseconds(value, &at, limits::APPROVAL_EXPIRES_S_MAX.saturating_mul(SECOND_MS))?;
        let seconds = ms.div_ceil(SECOND_MS);
        reader.changed(at, value.clone(), seconds.into(), "`expires_in_s`: who has not answered by then has said no");
        approve.insert("expires_in_s".to_owned(), seconds.into());
    }
    Some(Value::Object(approve))
}

/// `context`, and what the webhook says beside it: both are data to decide by.
fn context(
    reader: &mut Reader<'_>,
    read: &[Members<'_, '_>],
    scope: Scope<'_>,
    used: &mut BTreeSet<usize>,
) -> Option<Value> {
    let mut context = Map::new();
    for key in ["context", "webhook_payload"] {
        let Some((value, at)) = one(reader, read, None, &[key]) else { continue };
        let Some(members) = value.as_object() else {
            reader.wrong_type(&at, "keys and values", value);
            continue;
        };
        if key == "webhook_payload" {
            reader.changed(at.clone(), key.into(), "context".into(), "what is told is the context of the approval");
        }
        for (name, member) in members {
            let at = pointer_to(&at, name);
            let member = reader.rewrite(member, &at, scope, used);
            if context.insert(name.clone(), member).is_some() {
                let message = format!("`{}` is in `context` and in `webhook_payload`", shown(name));
                reader.report("said-twice", &at, message, "keep one of the two");
            }
        }
    }
    (!context.is_empty()).then_some(Value::Object(context))
}

/// The one value of any of `keys`.
fn one<'d>(
    reader: &mut Reader<'_>,
    read: &[Members<'d, '_>],
    step: Option<Members<'d, '_>>,
    keys: &[&str],
) -> Option<Said<'d>> {
    let of_step =
        step.into_iter().filter_map(|members| Some((members.get("timeout_seconds")?, members.at("timeout_seconds"))));
    let inside =
        read.iter().flat_map(|members| keys.iter().filter_map(|key| Some((members.get(key)?, members.at(key)))));
    let mut found: Vec<Said<'d>> = inside.chain(of_step).collect();
    if found.len() > 1 {
        let (_, at) = found.swap_remove(1);
        reader.report("said-twice", &at, "the step says this twice", "keep one of the two");
        return None;
    }
    found.pop()
}
