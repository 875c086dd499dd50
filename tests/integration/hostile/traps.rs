//! Traps where nobody expects them: before the first call, between a call and its result, while cleaning up.

use host_tests::Guest;
use host_tests::guest::component;
use serde_json::json;

use super::case::{Case, Expect, Family, case, probe};
use super::wat;

fn trap(name: &'static str, what: &'static str, code: &'static str, message: &'static str) -> Case {
    case(Family::Traps, name, what, move || wat::body(code), Expect::Trap(message))
}

/// A tool that takes and returns text, with this allocator and this epilogue.
fn with(allocate: &str, post: &str) -> Vec<u8> {
    let core = format!(
        r#"(func (export "go") (param i32 i32) (result i32)
             (i32.store (i32.const 16) (i32.const 1024)) (i32.store (i32.const 20) (i32.const 4)) (i32.const 16))
           (func (export "cabi_post_go") (param i32) {post})
           (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {allocate})"#
    );
    Guest { imports: &[], exports: "export go: func(text: string) -> string;", core: &core }.build_with_own_allocator()
}

/// A resource whose destructor does this.
fn with_destructor(code: &str) -> Vec<u8> {
    component(&format!(
        r#"(component
          (core module $d (func (export "dtor") (param i32) {code}))
          (core instance $d (instantiate $d))
          (type $r (resource (rep i32) (dtor (core func $d "dtor"))))
          (core func $new (canon resource.new $r))
          (core func $drop (canon resource.drop $r))
          (core module $m
            (import "" "new" (func $new (param i32) (result i32)))
            (import "" "drop" (func $drop (param i32)))
            (func (export "go") (call $drop (call $new (i32.const 1)))))
          (core instance $i (instantiate $m (with "" (instance (export "new" (func $new)) (export "drop" (func $drop))))))
          (func (export "go") (canon lift (core func $i "go"))))"#
    ))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        trap("unreachable", "executes an unreachable instruction", "unreachable", "unreachable"),
        trap("division", "divides by zero", "(drop (i32.div_u (i32.const 1) (local.get $i)))", "divide by zero"),
        trap(
            "overflow",
            "divides the smallest number by -1",
            "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
            "overflow",
        ),
        trap(
            "conversion",
            "makes an integer of what is no number",
            "(drop (i32.trunc_f64_s (f64.const nan)))",
            "invalid conversion",
        ),
        case(
            Family::Traps,
            "wrong type",
            "calls a function through a table with another type",
            || {
                wat::go(
                    r#"(type $other (func (param i64))) (table 1 funcref) (elem (i32.const 0) $f) (func $f)
                    (func (export "go") (call_indirect (type $other) (i64.const 1) (i32.const 0)))"#,
                )
            },
            Expect::Trap("indirect call type mismatch"),
        ),
        case(
            Family::Traps,
            "start function",
            "traps in the function that runs while it is instantiated",
            || wat::go(r#"(func $s unreachable) (start $s) (func (export "go"))"#),
            Expect::Trap("unreachable"),
        ),
        case(
            Family::Traps,
            "allocator",
            "traps in the allocator that the host calls for an argument",
            || with("unreachable", ""),
            Expect::Trap("unreachable"),
        )
        .call("guest.go", json!({"text": "some"})),
        case(
            Family::Traps,
            "after the return",
            "traps in the function that cleans up after its result was read",
            || with("(i32.const 2048)", "unreachable"),
            Expect::Trap("unreachable"),
        )
        .call("guest.go", json!({"text": "some"})),
        case(
            Family::Traps,
            "destructor",
            "traps in the destructor of its own resource",
            || with_destructor("unreachable"),
            Expect::Trap("unreachable"),
        ),
        case(
            Family::Traps,
            "endless destructor",
            "loops in the destructor of its own resource",
            || with_destructor("(loop $l (br $l))"),
            Expect::Limit(skillhost::limits::LimitKind::Fuel),
        ),
        trap(
            "exit in a tool",
            "exits the process from a tool that is no program",
            "(call $exit (i32.const 0))",
            "exit",
        ),
        trap(
            "exit with a code",
            "exits with the code 255 from a tool that is no program",
            "(call $exit-code (i32.const 255))",
            "code 255",
        ),
        case(
            Family::Traps,
            "exit in the start function",
            "exits while it is instantiated",
            || wat::go(r#"(func $s (call $exit-code (i32.const 7))) (start $s) (func (export "go"))"#),
            Expect::Trap("code 7"),
        ),
        probe(Family::Traps, "panic", "panics in a program", &["panic"], Expect::Trap("unreachable")),
        probe(Family::Traps, "abort", "aborts in a program", &["trap"], Expect::Trap("unreachable")),
    ]
}
