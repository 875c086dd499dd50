//! The plan that calls one tool: what `host call` and `host exec` run.

use serde_json::{Map, Value, json};

use super::draft::{Draft, DraftCall, DraftStep, Gaps};
use super::flow::OnFailure;
use super::template::Template;
use crate::canonical::{self, Members};
use crate::id::{Digest, StepId, ToolName};
use crate::limits::{self, LimitsDocument};
use crate::plan::{PlanDocument, PlanFormat, SCHEMA, START_TIME_DEFAULT};
use crate::problem::{Problem, Problems};

/// The id of the one step.
pub const STEP: &str = "call";

/// Where its input is in the plan.
const INPUT: &str = "/steps/0/input";
/// How deep the input is inside of the plan.
const INPUT_DEPTH: usize = 3;
/// More values than the plan has beside it.
const OTHER_VALUES: usize = 16;

/// A plan of one step whose output is the tool's. All text of the input is read as it is; what `tool` says may be no tool's name.
#[must_use]
pub fn document(tool: &str, mut input: Value, deadline_ms: Option<u64>, output_schema: Option<Value>) -> PlanDocument {
    escape(&mut input);
    let mut step = json!({ "id": STEP, "tool": tool, "input": input });
    if let (Some(deadline_ms), Some(step)) = (deadline_ms, step.as_object_mut()) {
        step.insert("limits".to_owned(), json!({ "deadline_ms": deadline_ms }));
    }
    if let (Some(schema), Some(step)) = (output_schema, step.as_object_mut()) {
        step.insert("expect".to_owned(), json!({ "kind": "value", "schema": schema }));
    }
    let document = json!({
        "schema": SCHEMA,
        "name": name(tool),
        "steps": [step],
        "output": output(),
    });
    PlanDocument::new(canonical::to_vec(&document), PlanFormat::Json, "")
}

/// The same document for a tool that is known by its name, with what would be read of it: a host that answers thousands of requests a
/// second writes none of them only to read it again.
#[must_use]
pub fn ready(tool: &ToolName, input: Value, deadline_ms: u64) -> PlanDocument {
    let (name, tool_name) = (name(&tool.to_string()), tool.to_string());
    let is_plain = name.len() <= limits::NAME_BYTES_MAX
        && (1..=limits::DEADLINE_MS_MAX).contains(&deadline_ms)
        && input.is_object()
        && fits(&input, limits::DOCUMENT_DEPTH_MAX - INPUT_DEPTH, &mut (limits::VALUES_MAX - OTHER_VALUES));
    if !is_plain {
        return document(&tool_name, input, Some(deadline_ms), None);
    }
    let mut bytes = Vec::with_capacity(256);
    let mut document = Members::begin(&mut bytes);
    document.text("name", &name);
    document.text("output", &output());
    document.text("schema", SCHEMA);
    let steps = document.member("steps");
    steps.push(b'[');
    let mut step = Members::begin(steps);
    step.text("id", STEP);
    if has_braces(&input) {
        let mut escaped = input.clone();
        escape(&mut escaped);
        step.value("input", &escaped);
    } else {
        step.value("input", &input);
    }
    let mut limits = Members::begin(step.member("limits"));
    limits.number("deadline_ms", deadline_ms);
    limits.end();
    step.text("tool", &tool_name);
    step.end();
    bytes.extend_from_slice(b"]}");
    if bytes.len() as u64 > limits::DOCUMENT_BYTES_MAX {
        return PlanDocument::new(bytes, PlanFormat::Json, "");
    }
    let call = OneCall { name, tool: tool_name, input, deadline_ms, digest: Digest::of(&bytes) };
    PlanDocument::known(bytes, call)
}

/// What a document of [`ready`] says.
#[derive(Debug, Clone)]
pub(super) struct OneCall {
    name: String,
    tool: String,
    input: Value,
    deadline_ms: u64,
    digest: Digest,
}

impl OneCall {
    /// What reading the document would give.
    pub(super) fn draft(&self) -> Draft {
        let call = DraftCall { tool: Some(self.tool.clone()), input: Some(Template::literal(&self.input, INPUT)) };
        let step = DraftStep {
            id: StepId::new(STEP).ok(),
            call,
            limits: LimitsDocument { deadline_ms: Some(self.deadline_ms), ..LimitsDocument::default() },
            ..DraftStep::default()
        };
        let mut problems = Problems::default();
        Draft {
            name: Some(self.name.clone()),
            version: None,
            description: None,
            tags: Vec::new(),
            inputs: Some(Map::new()),
            skills: std::collections::BTreeMap::new(),
            seed: 0,
            start_time: START_TIME_DEFAULT,
            on_failure: OnFailure::Stop,
            parallel: 1,
            deadline_ms: None,
            steps: vec![step],
            compensate: Vec::new(),
            output: Some(Template::parse(&Value::String(output()), "/output", &mut problems)),
            digest: self.digest,
            gaps: Gaps::default(),
            problems,
        }
    }
}

/// The plan's name.
fn name(tool: &str) -> String {
    format!("call-{tool}")
}

/// The plan's output.
fn output() -> String {
    format!("{{{{steps.{STEP}}}}}")
}

/// Whether reading would accept a value where `depth` levels and `values` values are left.
fn fits(value: &Value, depth: usize, values: &mut usize) -> bool {
    let Some(left) = values.checked_sub(1) else { return false };
    *values = left;
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| fits(item, depth - 1, values)),
        Value::Object(members) => {
            depth > 0
                && members
                    .iter()
                    .all(|(key, member)| key.len() <= limits::DOCUMENT_KEY_BYTES_MAX && fits(member, depth - 1, values))
        }
        // `1.0` is written as `1`, and read as that.
        Value::Number(number) => !number.is_f64() || number.as_f64().is_some_and(|float| float.fract() != 0.0),
        _ => true,
    }
}

/// A problem of the plan in terms of the call: the caller never saw the plan.
#[must_use]
pub fn of_the_call(mut problem: Problem, tool: &str) -> Problem {
    if let Some(pointer) = problem.pointer.strip_prefix(INPUT) {
        problem.pointer = pointer.to_owned();
    } else if problem.pointer == "/steps/0/tool" {
        problem.pointer.clear();
    }
    problem.position = None;
    let step = format!("step `{STEP}` (`{tool}`)");
    problem.message = problem.message.replace(&step, &format!("`{tool}`")).replace(&format!("step `{STEP}`: "), "");
    problem
}

/// Whether some text of a value would be taken for a reference.
fn has_braces(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{"),
        Value::Array(items) => items.iter().any(has_braces),
        Value::Object(members) => members.values().any(has_braces),
        _ => false,
    }
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
    use proptest::prelude::*;

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

    /// What the reader says of the document's bytes.
    fn read(document: &PlanDocument) -> String {
        let document = PlanDocument::new(document.bytes(), document.format(), document.base());
        format!("{:?}", document.draft())
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[a-z{}\"é/~]{0,8}", Just("{{steps.x}}".to_owned())];
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(|number: f64| Value::from(number)),
            text.clone().prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_known_of_a_document_is_what_would_be_read(
            members in prop::collection::btree_map("[a-z{}é]{0,6}", values(), 0..4),
            deadline_ms in 1..10_000_u64,
        ) {
            let tool: ToolName = "some-skill.some-tool".parse().unwrap();
            let input = Value::Object(members.into_iter().collect());
            let ready = ready(&tool, input.clone(), deadline_ms);
            let written = document("some-skill.some-tool", input, Some(deadline_ms), None);
            prop_assert_eq!(ready.bytes(), written.bytes());
            prop_assert_eq!(format!("{:?}", ready.draft()), read(&ready));
            prop_assert!(ready.is_known());
        }
    }

    #[test]
    fn what_the_reader_would_refuse_is_left_to_it() {
        let tool: ToolName = "a.b".parse().unwrap();
        let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({"a": inner}));
        for (input, is_known) in [
            (nested(61), true),
            (nested(62), false),
            (json!({"k".repeat(4_096): 1}), true),
            (json!({"k".repeat(4_097): 1}), false),
            (json!({"a": 1.5}), true),
            (json!({"a": [1.0]}), false),
        ] {
            let ready = ready(&tool, input, 1_000);
            assert_eq!(ready.is_known(), is_known);
            assert_eq!(format!("{:?}", ready.draft()), read(&ready));
        }
        assert!(!super::ready(&tool, json!([]), 1).is_known(), "no object");
        assert!(!super::ready(&tool, json!({}), 0).is_known(), "a deadline of nothing");
        let long: ToolName = format!("{}.b", "a".repeat(126)).parse().unwrap();
        assert!(!super::ready(&long, json!({}), 1).is_known(), "the plan's name would be too long");
    }
}
