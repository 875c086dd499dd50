//! Re-entrance: calls back into a component that is in a call, and calls out of one that must not leave.

use host_tests::Guest;
use host_tests::guest::component;
use serde_json::json;

use super::case::{Case, Expect, Family, case};
use super::wat;

const LEAVE: &str = "cannot leave component instance";

/// Calls the clock from the allocator or from the epilogue.
fn calls_out(allocate: &str, post: &str) -> Vec<u8> {
    let core = format!(
        r#"(import "wasi:clocks/monotonic-clock@0.2.12" "now" (func $now (result i64)))
           (import "wasi:cli/exit@0.2.12" "exit" (func $exit (param i32)))
           (func (export "go") (param i32 i32) (result i32)
             (i32.store (i32.const 16) (i32.const 1024)) (i32.store (i32.const 20) (i32.const 4)) (i32.const 16))
           (func (export "cabi_post_go") (param i32) {post})
           (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {allocate} (i32.const 2048))"#
    );
    let imports = &["wasi:clocks/monotonic-clock@0.2.12", "wasi:cli/exit@0.2.12"];
    Guest { imports, exports: "export go: func(text: string) -> string;", core: &core }.build_with_own_allocator()
}

fn leaves(name: &'static str, what: &'static str, allocate: &'static str, post: &'static str) -> Case {
    case(Family::Reentry, name, what, move || calls_out(allocate, post), Expect::Trap(LEAVE))
        .call("guest.go", json!({"text": "some"}))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        leaves("allocator", "calls the host from the allocator that the host has called", "(drop (call $now))", ""),
        leaves("epilogue", "calls the host from the function that cleans up after the result", "", "(drop (call $now))"),
        leaves("exit from the allocator", "exits from the allocator that the host has called", "(call $exit (i32.const 0))", ""),
        case(
            Family::Reentry,
            "allocator of an answer",
            "calls the host from the allocator that the host has called for an answer",
            || {
                Guest {
                    imports: &["wasi:random/random@0.2.12"],
                    exports: "export go: func();",
                    core: r#"(import "wasi:random/random@0.2.12" "get-random-bytes" (func $random (param i64 i32)))
                        (func (export "go") (call $random (i64.const 8) (i32.const 16)))
                        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                          (call $random (i64.const 8) (i32.const 32)) (i32.const 2048))"#,
                }
                .build_with_own_allocator()
            },
            Expect::Trap(LEAVE),
        ),
        case(
            Family::Reentry,
            "back into the parent",
            "has an inner component that calls back into the outer one, which is in a call",
            back_into_the_parent,
            Expect::Trap("cannot enter component instance"),
        ),
        case(
            Family::Reentry,
            "host call in the start function",
            "calls the host while it is instantiated",
            || wat::go(r#"(global $t (mut i64) (i64.const 0)) (func $s (global.set $t (call $now))) (start $s) (func (export "go"))"#),
            Expect::Answer(json!(null)),
        )
        .after(|seen| assert_eq!(seen.run.trace.called(), ["wasi:clocks/monotonic-clock#now"])),
    ]
}

/// The outer component lends its own function to an inner one and then calls the inner one.
fn back_into_the_parent() -> Vec<u8> {
    component(
        r#"(component
          (core module $lent (func (export "f")))
          (core instance $lent (instantiate $lent))
          (func $f (canon lift (core func $lent "f")))
          (component $inner
            (import "f" (func $f))
            (core func $f' (canon lower (func $f)))
            (core module $m (import "" "f" (func $f)) (func (export "g") (call $f)))
            (core instance $i (instantiate $m (with "" (instance (export "f" (func $f'))))))
            (func (export "g") (canon lift (core func $i "g"))))
          (instance $inner (instantiate $inner (with "f" (func $f))))
          (core func $g (canon lower (func $inner "g")))
          (core module $m (import "" "g" (func $g)) (func (export "go") (call $g)))
          (core instance $i (instantiate $m (with "" (instance (export "g" (func $g))))))
          (func (export "go") (canon lift (core func $i "go"))))"#,
    )
}
