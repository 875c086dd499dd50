//! Linear memory and tables: more than is allowed, at once, slowly, or in many parts.

use std::fmt::Write as _;

use host_tests::guest::component;
use serde_json::json;
use skillhost::limits::LimitKind;

use super::case::{Case, Expect, Family, case};
use super::wat;

fn bomb(name: &'static str, what: &'static str, build: impl Fn() -> Vec<u8> + 'static, limit: LimitKind) -> Case {
    case(Family::Memory, name, what, build, Expect::Limit(limit))
        .limits("memory_bytes = 33_554_432\nfuel = 400_000_000\ndeadline_ms = 20_000")
}

/// A component of `count` instances of a module with these fields.
fn instances(count: usize, fields: &str) -> Vec<u8> {
    let mut text = format!("(component (core module $m {fields} (func (export \"go\")))");
    for index in 0..count {
        write!(text, "(core instance $i{index} (instantiate $m))").expect("a string grows");
    }
    component(&(text + "(func (export \"go\") (canon lift (core func $i0 \"go\"))))"))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        bomb(
            "grow",
            "grows its memory page by page until it gets no more",
            || wat::body("(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))"),
            LimitKind::Memory,
        ),
        bomb(
            "grow at once",
            "asks for four gigabytes at once",
            || wat::body("(drop (memory.grow (i32.const 65531)))"),
            LimitKind::Memory,
        ),
        bomb("at the start", "starts with a memory of four gigabytes", || instances(1, "(memory 65536)"), LimitKind::Memory),
        bomb("many memories", "has ninety instances with a megabyte each", || instances(90, "(memory 16)"), LimitKind::Memory),
        bomb(
            "many memories of a module",
            "has a module with forty memories of a megabyte",
            || instances(1, &"(memory 16)".repeat(40)),
            LimitKind::Memory,
        ),
        case(
            Family::Memory,
            "touch",
            "touches every page of as much memory as it may have",
            || {
                wat::go(
                    r#"(func (export "go") (drop (memory.grow (i32.const 1500)))
                      (memory.fill (i32.const 65536) (i32.const 1) (i32.const 98000000)))"#,
                )
            },
            Expect::Answer(json!(null)),
        )
        .limits("memory_bytes = 104_857_600"),
        case(
            Family::Memory,
            "out of bounds",
            "reads behind the end of its memory, where another's could be",
            || wat::body("(drop (i32.load (i32.const 0x7fff0000)))"),
            Expect::Trap("out of bounds memory access"),
        ),
        case(
            Family::Memory,
            "far out of bounds",
            "reads at the largest address with the largest offset",
            || wat::body("(drop (i64.load offset=0xffffffff (i32.const -1)))"),
            Expect::Trap("out of bounds memory access"),
        ),
        case(
            Family::Memory,
            "left over",
            "looks for what the step before wrote into its memory",
            || {
                wat::guest(
                    "export go: func() -> u32;",
                    r#"(func (export "go") (result i32) (local $i i32) (local $sum i32)
                      (drop (memory.grow (i32.const 64)))
                      (loop $l
                        (local.set $sum (i32.or (local.get $sum) (i32.load (i32.add (i32.const 262144) (local.get $i)))))
                        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 4000000))))
                      (local.get $sum))"#,
                )
            },
            Expect::Answer(json!(0)),
        )
        .first(&["alloc", "8"]),
        bomb(
            "table",
            "grows a table until it gets no more",
            || wat::go(r#"(table $t 1 funcref) (func (export "go") (loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))))"#),
            LimitKind::Table,
        ),
        bomb("many tables", "has ninety instances with a table of 2000", || instances(90, "(table 2000 funcref)"), LimitKind::Table),
        case(
            Family::Memory,
            "table at the start",
            "starts with a table of four thousand million elements",
            || instances(1, "(table 0xffffffff funcref)"),
            Expect::Refused("component-unsupported"),
        ),
        case(
            Family::Memory,
            "too many instances",
            "has more instances than are allowed",
            || instances(101, "(memory 1)"),
            Expect::Refused("component-unsupported"),
        ),
        case(
            Family::Memory,
            "data out of bounds",
            "has data that lies outside of its memory",
            || instances(1, "(memory 1) (data (i32.const 65535) \"ab\")"),
            Expect::Trap("out of bounds memory access"),
        ),
    ]
}
