//! A guest that calls other tools: it hands on what it is given, so that a chain of calls is an input inside of an input.

use serde_json::{Value, json};

use crate::Guest;

/// Its tools: `go` gives what the call gives; `kept` says whether the call gave an output, whatever that was; `names` gives what may be
/// called; `again` makes the same call so many times and gives what the last one gave; `grown` grows its memory first; `spin`, `burn`, `grow` and `trap` misbehave.
const EXPORTS: &str = "
    use skillhost:skill/tools@0.1.0.{call-error};
    export go: func(tool: string, input: string) -> result<string, call-error>;
    export kept: func(tool: string, input: string) -> bool;
    export names: func() -> list<string>;
    export again: func(tool: string, input: string, times: u32) -> result<string, call-error>;
    export grown: func(pages: u32, tool: string, input: string) -> result<string, call-error>;
    export spin: func();
    export burn: func(rounds: u32);
    export grow: func(pages: u32);
    export trap: func();";

const CORE: &str = r#"
    (import "skillhost:skill/tools@0.1.0" "call" (func $call (param i32 i32 i32 i32 i32)))
    (import "skillhost:skill/tools@0.1.0" "available" (func $available (param i32)))
    (func $go (export "go") (param i32 i32 i32 i32) (result i32)
      (call $call (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 16))
      (i32.const 16))
    (func (export "kept") (param i32 i32 i32 i32) (result i32)
      (i32.eqz (i32.load8_u (call $go (local.get 0) (local.get 1) (local.get 2) (local.get 3)))))
    (func (export "names") (result i32) (call $available (i32.const 64)) (i32.const 64))
    (func (export "again") (param i32 i32 i32 i32 i32) (result i32)
      (loop $more
        (drop (call $go (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
        (local.set 4 (i32.sub (local.get 4) (i32.const 1)))
        (br_if $more (local.get 4)))
      (i32.const 16))
    (func (export "grown") (param i32 i32 i32 i32 i32) (result i32)
      (drop (memory.grow (local.get 0)))
      (call $go (local.get 1) (local.get 2) (local.get 3) (local.get 4)))
    (func (export "spin") (loop $more (br $more)))
    (func (export "burn") (param i32)
      (loop $more
        (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
        (br_if $more (local.get 0))))
    (func (export "grow") (param i32) (drop (memory.grow (local.get 0))))
    (func (export "trap") unreachable)"#;

/// The component.
#[must_use]
pub fn relay() -> Vec<u8> {
    Guest { imports: &["skillhost:skill/tools@0.1.0"], exports: EXPORTS, core: CORE }.build()
}

/// The input of `go`, `kept` and, with a count, `again`: a call of `tool`.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "inputs are written with `json!`")]
pub fn call(tool: &str, input: Value) -> Value {
    json!({"tool": tool, "input": input.to_string()})
}

/// The output of a tool as its caller gets it, through so many callers.
#[must_use]
pub fn unwrapped(output: &Value, callers: usize) -> Value {
    (0..callers).fold(output.clone(), |output, _| {
        serde_json::from_str(output.as_str().expect("an output as text")).expect("an output is JSON")
    })
}
