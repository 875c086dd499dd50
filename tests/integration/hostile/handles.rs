//! Handles: numbers that were never given, that are no longer valid or are of another kind, and more of them than a host wants to keep.

use host_tests::guest::component;
use host_tests::plan::{READ_ONLY, READ_WRITE};
use skillhost::limits::LimitKind;

use super::case::{Case, Expect, Family, case};
use super::wat;

fn forged(name: &'static str, what: &'static str, code: &'static str, message: &'static str) -> Case {
    case(Family::Handles, name, what, move || wat::body(code), Expect::Trap(message)).grant(READ_ONLY)
}

/// Makes handles in a loop and drops none.
fn hoard(name: &'static str, what: &'static str, before: &'static str, code: &'static str) -> Case {
    let component = move || wat::body(&format!("{before} (loop $l {code} (br $l))"));
    case(Family::Handles, name, what, component, Expect::Limit(LimitKind::Handles)).grant(READ_WRITE)
}

const UNKNOWN: &str = "unknown handle index";
const WRONG: &str = "wrong type";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        forged(
            "guessed",
            "blocks on the handle 4711 that it was never given",
            "(call $block (i32.const 4711))",
            UNKNOWN,
        ),
        forged("negative", "drops the handle -1", "(call $drop-pollable (i32.const -1))", UNKNOWN),
        forged(
            "after drop",
            "uses a timer after it dropped it",
            "(local.set $i (call $timer-in (i64.const 1))) (call $drop-pollable (local.get $i)) (call $block (local.get $i))",
            UNKNOWN,
        ),
        forged(
            "dropped twice",
            "drops a timer twice",
            "(local.set $i (call $timer-in (i64.const 1))) (call $drop-pollable (local.get $i)) (call $drop-pollable (local.get $i))",
            UNKNOWN,
        ),
        forged(
            "another kind",
            "writes to a timer as if it were a stream",
            "(call $out-write (call $timer-in (i64.const 1)) (i32.const 0) (i32.const 1) (i32.const 16))",
            WRONG,
        ),
        forged(
            "stream as folder",
            "opens a file below its standard output",
            "(call $open (call $stdout) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))",
            WRONG,
        ),
        forged(
            "drop with children",
            "drops a stream of which it still has a pollable",
            "(local.set $i (call $stdin)) (drop (call $in-subscribe (local.get $i))) (call $drop-in (local.get $i))",
            "child",
        ),
        forged(
            "poll nothing",
            "polls an empty list",
            "(call $poll (i32.const 0) (i32.const 0) (i32.const 16))",
            "empty",
        ),
        case(
            Family::Handles,
            "of another instance",
            "hands a number that is a handle in one part of a component to a part that never got it",
            two_tables,
            Expect::Trap(UNKNOWN),
        ),
        case(
            Family::Handles,
            "of the step before",
            "uses the handles 1 to 3 without having asked for any, after a step that had them",
            || {
                wat::go(
                    r#"(func (export "go") (local $i i32)
                      (call $out-write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))
                      (call $out-write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16))
                      (call $out-write (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 16)))"#,
                )
            },
            Expect::Trap(UNKNOWN),
        )
        .first(&["out", "100"]),
    ];
    cases.extend([
        hoard("timers", "keeps timers without end", "", "(drop (call $timer-in (i64.const 1)))"),
        hoard("streams", "opens its standard output without end", "", "(drop (call $stdout))"),
        hoard("folders", "asks for its folders without end", "", "(drop (call $first))"),
        hoard(
            "files",
            "opens a file without end",
            "(i64.store (i32.const 600) (i64.const 0x72656e6e69)) (local.set $n (call $first))",
            "(call $open (local.get $n) (i32.const 0) (i32.const 600) (i32.const 5) (i32.const 0) (i32.const 1) (i32.const 16))
             (if (i32.load8_u (i32.const 16)) (then unreachable))",
        ),
        hoard(
            "listings",
            "lists a folder without end and reads no listing",
            "(local.set $n (call $first))",
            "(call $read-dir (local.get $n) (i32.const 16)) (if (i32.load8_u (i32.const 16)) (then unreachable))",
        ),
        hoard(
            "pollables of a stream",
            "subscribes to one stream without end",
            "(local.set $n (call $stdout))",
            "(drop (call $out-subscribe (local.get $n)))",
        ),
        case(
            Family::Handles,
            "own resources",
            "makes resources of its own without end",
            || {
                component(
                    r#"(component
                      (type $r (resource (rep i32)))
                      (core func $new (canon resource.new $r))
                      (core module $m (import "" "new" (func $new (param i32) (result i32)))
                        (func (export "go") (loop $l (drop (call $new (i32.const 1))) (br $l))))
                      (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
                      (func (export "go") (canon lift (core func $i "go"))))"#,
                )
            },
            Expect::Limit(LimitKind::Handles),
        ),
        case(
            Family::Handles,
            "a million pollables",
            "polls a list of a million times the same timer",
            || {
                wat::go(
                    r#"(func (export "go") (local $i i32) (local $p i32)
                      (drop (memory.grow (i32.const 64)))
                      (local.set $p (call $timer-in (i64.const 1)))
                      (loop $l
                        (i32.store (i32.add (i32.const 65536) (i32.shl (local.get $i) (i32.const 2))) (local.get $p))
                        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000000))))
                      (call $poll (i32.const 65536) (i32.const 1000000) (i32.const 16)))"#,
                )
            },
            Expect::Limit(LimitKind::Handles),
        ),
    ]);
    cases
}

/// A part that makes a resource, and another, with a resource of its own, that is handed its number as a plain integer.
fn two_tables() -> Vec<u8> {
    component(
        r#"(component
          (component $owner
            (type $r (resource (rep i32)))
            (core func $new (canon resource.new $r))
            (core module $m (import "" "new" (func $new (param i32) (result i32)))
              (func (export "make") (result i32) (call $new (i32.const 1))))
            (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
            (func (export "make") (result u32) (canon lift (core func $i "make"))))
          (component $thief
            (import "make" (func $make (result u32)))
            (type $r (resource (rep i32)))
            (core func $drop (canon resource.drop $r))
            (core func $make' (canon lower (func $make)))
            (core module $m
              (import "" "make" (func $make (result i32)))
              (import "" "drop" (func $drop (param i32)))
              (func (export "go") (call $drop (call $make))))
            (core instance $i (instantiate $m
              (with "" (instance (export "make" (func $make')) (export "drop" (func $drop))))))
            (func (export "go") (canon lift (core func $i "go"))))
          (instance $owner (instantiate $owner))
          (alias export $owner "make" (func $make))
          (instance $thief (instantiate $thief (with "make" (func $make))))
          (alias export $thief "go" (func $go))
          (export "go" (func $go)))"#,
    )
}
