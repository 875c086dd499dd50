//! Plans and policies as short calls.

use serde_json::{Value, json};

/// One step.
#[expect(clippy::needless_pass_by_value, reason = "plans are written with `json!`")]
pub fn step(id: &str, tool: &str, input: Value) -> Value {
    json!({"id": id, "tool": tool, "input": input})
}

/// A plan of these steps.
pub fn plan(steps: impl IntoIterator<Item = Value>) -> Value {
    let steps: Vec<Value> = steps.into_iter().collect();
    json!({"schema": "skillhost.plan/1", "name": "test", "steps": steps})
}

/// The input of a command-line program.
pub fn args(args: &[&str]) -> Value {
    json!({"args": args})
}

/// The whole workspace, for writing.
pub const READ_WRITE: &str = r#"filesystem = [{ host = "{workspace}", guest = "/workspace", access = "read-write" }]"#;

/// The whole workspace, for reading.
pub const READ_ONLY: &str = r#"filesystem = [{ host = "{workspace}", guest = "/workspace", access = "read-only" }]"#;

/// A policy with one grant for every tool, whatever its risk: `limits` are lines of `[limits]`, `grant` lines of `[[grant]]`.
pub fn policy(limits: &str, grant: &str) -> String {
    format!(
        "schema = \"skillhost.policy/1\"\n[limits]\n{limits}\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\napproval = \"never\"\n{grant}\n"
    )
}
