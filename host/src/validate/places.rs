//! What messages call the parts of a plan, and where they are.

use crate::id::{StepId, ToolName};

/// What messages call a step.
pub(super) fn label(index: usize, id: Option<&StepId>) -> String {
    id.map_or_else(|| format!("step {index}"), |id| format!("step `{id}`"))
}

/// What messages call a call of `tool` that `whose` makes.
pub(super) fn owner(whose: &str, tool: &ToolName) -> String {
    format!("{whose} (`{tool}`)")
}

/// The pointer to a key of a step.
pub(super) fn step(index: usize, key: &str) -> String {
    format!("/steps/{index}/{key}")
}
