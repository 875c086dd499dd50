//! Whether what is wrong with a flow is the event that it was given and not its plan, and which input of it. Who sends an event never saw the
//! plan: a place in it would tell him nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::host::SkillHost;
use crate::json;
use crate::plan::template::{Root, Template};
use crate::problem::{Problem, Problems, pointer_to};
use crate::protocol::invoke::Call;

/// What is wrong in terms of the event: `None` where the plan is at fault, which it is where it is wrong without the event as well. An input
/// whose default is `null` has to be given: the plan is not at fault where it is not.
pub(super) fn of_the_event(host: &SkillHost, call: &Call, problems: &[Problem]) -> Option<Vec<Problem>> {
    let plan = json::parse(call.document.bytes()).ok()?;
    let own = host.check_with(&call.document, &Map::new()).ok()?.err().unwrap_or_default();
    let must_be_given = |problem: &Problem| {
        let input = input_at(&plan, &problem.pointer);
        input.is_some_and(|input| plan.get("inputs").and_then(|inputs| inputs.get(&input)).is_some_and(Value::is_null))
    };
    if problems.iter().any(|problem| own.contains(problem) && !must_be_given(problem)) {
        return None;
    }
    let told = problems.iter().cloned().map(|problem| match input_at(&plan, &problem.pointer) {
        Some(input) => Problem { pointer: pointer_to("/inputs", &input), position: None, ..problem },
        None => problem,
    });
    Some(told.collect())
}

/// The one input that the value at a place of a plan is made of; `None` where it is made of none, or of several.
fn input_at(plan: &Value, pointer: &str) -> Option<String> {
    let mut value = plan;
    let keys = pointer.strip_prefix('/')?.split('/');
    for key in keys.map(|key| key.replace("~1", "/").replace("~0", "~")) {
        let inner = match value {
            Value::Object(members) => members.get(&key),
            Value::Array(items) => key.parse().ok().and_then(|index: usize| items.get(index)),
            // What is behind a reference is part of what it stands for.
            _ => break,
        };
        value = inner?;
    }
    let template = Template::parse(value, "", &mut Problems::default());
    let references = template.references();
    let roots: BTreeSet<&Root> = references.iter().map(|located| &located.reference.root).collect();
    match roots.into_iter().collect::<Vec<_>>().as_slice() {
        [Root::Input(name)] => Some(name.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_of_a_plan_is_that_of_the_input_that_it_is_made_of() {
        let input = json!({
            "a": "{{inputs.x}}", "b": "{{inputs.x.0}} and {{inputs.x.1}}", "c": "{{inputs.x}} {{inputs.y}}",
            "d": ["{{inputs.z}}"], "e": "{{steps.s}}", "f": "text", "g/h": { "i": "{{inputs.w}}" },
        });
        let plan = json!({ "steps": [{ "input": input }] });
        for (place, input) in [
            ("a", Some("x")),
            ("a/0/name", Some("x")),
            ("b", Some("x")),
            ("c", None),
            ("d/0", Some("z")),
            ("d", Some("z")),
            ("d/1", None),
            ("e", None),
            ("f", None),
            ("g~1h/i", Some("w")),
        ] {
            assert_eq!(input_at(&plan, &format!("/steps/0/input/{place}")).as_deref(), input, "{place}");
        }
        assert_eq!(input_at(&plan, ""), None);
    }
}
