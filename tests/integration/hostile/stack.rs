//! The stack: recursion of every form ends at the same depth everywhere, and never in the host's own frames.

use host_tests::guest::component;
use skillhost::limits::LimitKind;

use super::case::{Case, Expect, Family, case};
use super::wat;

fn deep(name: &'static str, what: &'static str, core: &'static str) -> Case {
    case(Family::Stack, name, what, move || wat::go(core), Expect::Limit(LimitKind::Stack))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        deep("recursion", "calls itself without end", r#"(func $f (export "go") (call $f) (drop (i32.const 0)))"#),
        deep(
            "mutual recursion",
            "has two functions that call each other without end",
            r#"(func $f (export "go") (call $g) (drop (i32.const 0))) (func $g (call $f) (drop (i32.const 0)))"#,
        ),
        deep(
            "through a table",
            "calls itself through a table without end",
            r#"(type $t (func)) (table 1 funcref) (elem (i32.const 0) $f)
               (func $f (export "go") (call_indirect (type $t) (i32.const 0)) (drop (i32.const 0)))"#,
        ),
        deep(
            "wide frames",
            "calls itself with frames of many values",
            r#"(func (export "go") (drop (call $f (f64.const 1) (f64.const 2) (f64.const 3))))
               (func $f (param $a f64) (param $b f64) (param $c f64) (result f64) (local $x f64) (local $y f64)
                 (local.set $x (call $f (local.get $b) (local.get $c) (local.get $a)))
                 (local.set $y (call $f (local.get $c) (local.get $x) (local.get $b)))
                 (f64.add (f64.add (local.get $x) (local.get $y)) (f64.add (local.get $a) (f64.add (local.get $b) (local.get $c)))))"#,
        ),
        deep(
            "host calls at the brim",
            "calls the host at every depth, so that the host runs where hardly any stack is left",
            r#"(func $f (export "go")
                 (call $random (i64.const 64) (i32.const 16))
                 (call $log (i32.const 0) (i32.const 600) (i32.const 8) (i32.const 0) (i32.const 0))
                 (call $f) (drop (i32.const 0)))"#,
        )
        .limits("fuel = 400_000_000\nhost_calls = 1_000_000\ndeadline_ms = 30_000"),
        case(
            Family::Stack,
            "across components",
            "calls itself in a component that it enters from another",
            across,
            Expect::Limit(LimitKind::Stack),
        ),
        case(
            Family::Stack,
            "tail calls",
            "calls itself in tail position without end, which takes no stack",
            || wat::go(r#"(func $f (export "go") (return_call $f))"#),
            Expect::Limit(LimitKind::Fuel),
        ),
    ]
}

/// The recursion is in one inner component, entered from another through the adapter between them.
fn across() -> Vec<u8> {
    component(
        r#"(component
          (component $deep
            (core module $m (func $f (export "f") (param i32) (result i32)
              (i32.add (i32.const 1) (call $f (i32.add (local.get 0) (i32.const 1))))))
            (core instance $i (instantiate $m))
            (func (export "f") (param "x" u32) (result u32) (canon lift (core func $i "f"))))
          (component $caller
            (import "f" (func $f (param "x" u32) (result u32)))
            (core func $f' (canon lower (func $f)))
            (core module $m (import "" "f" (func $f (param i32) (result i32)))
              (func (export "go") (drop (call $f (i32.const 0)))))
            (core instance $i (instantiate $m (with "" (instance (export "f" (func $f'))))))
            (func (export "go") (canon lift (core func $i "go"))))
          (instance $deep (instantiate $deep))
          (alias export $deep "f" (func $f))
          (instance $caller (instantiate $caller (with "f" (func $f))))
          (alias export $caller "go" (func $go))
          (export "go" (func $go)))"#,
    )
}
