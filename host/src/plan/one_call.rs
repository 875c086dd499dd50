//! The plan that calls one tool: what `host call` and `host exec` run.

use serde_json::{Value, json};

use crate::canonical;
use crate::plan::{PlanDocument, PlanFormat, SCHEMA};
use crate::problem::Problem;

/// The id of the one step.
pub const STEP: &str = "call";

/// A plan of one step whose output is the tool's. All text of the input is read as it is; what `tool` says may be no tool's name.
#[must_use]
pub fn document(tool: &str, mut input: Value, deadline_ms: Option<u64>, output_schema: Option<Value>) -> PlanDocument {
    escape(&mut input);
    let mut step = json!({ "id": STEP, "tool": tool, "input": input });
    if let (Some(deadline_ms), Some(step)) = (deadline_ms, step.as_object_mut()) {
        step.insert("limits".to_owned(), json!({ "deadline_ms": deadline_ms }));
    }
    if let (Some(schema), Some(step)) = (output_schema, step.as_object_mut()) {
        step.insert("expect".to_owned(), json!({ "kind": "json", "schema": schema }));
    }
    let document = json!({
        "schema": SCHEMA,
        "name": format!("call-{tool}"),
        "steps": [step],
        "output": format!("{{{{steps.{STEP}}}}}"),
    });
    PlanDocument::new(canonical::to_vec(&document), PlanFormat::Json, "")
}

/// A problem of the plan in terms of the call: the caller never saw the plan.
#[must_use]
pub fn of_the_call(mut problem: Problem, tool: &str) -> Problem {
    if let Some(pointer) = problem.pointer.strip_prefix("/steps/0/input") {
        problem.pointer = pointer.to_owned();
    } else if problem.pointer == "/steps/0/tool" {
        problem.pointer.clear();
    }
    problem.position = None;
    let step = format!("step `{STEP}` (`{tool}`)");
    problem.message = problem.message.replace(&step, &format!("`{tool}`")).replace(&format!("step `{STEP}`: "), "");
    problem
}

/// Makes all text of a value be read as it is: nothing in the input of a call is a reference.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("{{") => *text = text.replace("{{", "{{\"{{\"}}"),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(members) => members.values_mut().for_each(escape),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

    #[test]
    fn what_looks_like_a_reference_stays_text() {
        let mut value = json!({"a": ["{{inputs.x}}", "{{{"], "b": 1, "c": "{{\"{{\"}}"});
        let before = value.clone();
        escape(&mut value);
        let document = json!({
            "schema": plan::SCHEMA, "name": "p", "steps": [{"id": "a", "tool": "a.b", "input": value}],
        });
        let plan = plan::Plan::from_value(&document).unwrap();
        let nothing = |_: &crate::plan::template::Reference| unreachable!("there is no reference");
        assert_eq!(plan.steps[0].call().unwrap().input.resolve_with(&nothing).unwrap(), before);
    }
}
