//! What holds of the tools that are the host itself beside their types.

use serde_json::Value;

use super::places;
use crate::limits;
use crate::plan::draft::OutlineStep;
use crate::problem::{Problem, Problems};
use crate::skill::{HostTool, Tool};
use crate::types::check::integer;

/// What a step asks for that its tool, which is the host itself, cannot do.
pub(super) fn check_step(index: usize, step: &OutlineStep<'_>, tool: &Tool, problems: &mut Problems) {
    let label = places::owner(&places::label(index, step.id), &tool.name);
    let mut refuse = |key: &str, code: &str, message: String, hint: &str| {
        problems.push(Problem::new(code, places::step(index, key), message).with_hint(hint));
    };
    if step.expect.is_some() {
        let hint = "remove `expect`; let a later step look at the output, or a `when`";
        refuse("expect", "host-tool", format!("{label}: what it has done stays, whatever is expected of it"), hint);
    }
    if step.reuse {
        let hint = "remove `reuse`";
        refuse("reuse", "host-tool", format!("{label}: what it did in another run it has not done in this one"), hint);
    }
    match tool.of_the_host() {
        Some(HostTool::Undo) => {
            let known = step.call.input.filter(|input| input.references().is_empty());
            // Without references it can be resolved.
            let known = known.and_then(|input| input.resolve_with(&|_| Ok(std::borrow::Cow::Owned(Value::Null))).ok());
            if let Some(steps) = known.as_ref().and_then(|input| input.get("steps"))
                && let Err(message) = undo_steps(Some(steps))
            {
                refuse("input/steps", "wrong-value", format!("{label}: {message}"), "leave it out for one step");
            }
        }
        None => {}
    }
}

/// No call that takes something back may be one of the host's own.
pub(super) fn check_compensation(pointer: &str, tool: Option<&Tool>, problems: &mut Problems) {
    if let Some(tool) = tool.filter(|tool| tool.of_the_host().is_some()) {
        let message =
            format!("`{}` compensates nothing: a rollback takes back by itself what steps have changed", tool.name);
        problems.push(Problem::new("host-tool", pointer, message).with_hint("remove it: files need no compensation"));
    }
}

/// How many steps `sys.undo` is to take back.
pub(crate) fn undo_steps(given: Option<&Value>) -> Result<u32, String> {
    let most = limits::SYS_UNDO_STEPS_MAX;
    let number = match given {
        None | Some(Value::Null) => return Ok(1),
        Some(Value::Number(number)) => integer(number).and_then(|number| u32::try_from(number).ok()),
        // Its type is checked elsewhere.
        Some(_) => return Ok(1),
    };
    number.filter(|steps| (1..=most).contains(steps)).ok_or_else(|| format!("`steps` must be 1 to {most}"))
}
