//! Values that a guest hands over: pointers that lead nowhere, text that is none, sizes that overflow, few bytes that become many.

use host_tests::Guest;
use host_tests::guest::component;
use host_tests::plan::READ_WRITE;
use serde_json::json;
use skillhost::limits::LimitKind;

use super::case::{Case, Expect, Family, case};
use super::wat;

/// Returns a string or list at `at` with `len` elements of the type.
fn result(ty: &str, at: u32, len: u32, data: &str) -> Vec<u8> {
    let core = format!(
        r#"{data}
        (func (export "go") (result i32) (drop (memory.grow (i32.const 200)))
          (i32.store (i32.const 8) (i32.const {at})) (i32.store (i32.const 12) (i32.const {len})) (i32.const 8))"#
    );
    wat::guest(&format!("export go: func() -> {ty};"), &core)
}

fn returned(name: &'static str, what: &'static str, ty: &'static str, at: u32, len: u32, expect: Expect) -> Case {
    case(Family::Values, name, what, move || result(ty, at, len, ""), expect)
}

/// Returns many values of a type whose names are long: each is a byte or four in the guest and a text in the host.
fn amplified(kind: &str) -> Vec<u8> {
    let long = |index: usize| format!("{}{index}", "n".repeat(2_000));
    let (ty, element) = match kind {
        "enum" => (format!("(enum {:?} {:?})", long(0), long(1)), 1),
        "record" => (format!("(record (field {:?} u8))", long(0)), 1),
        "variant" => (format!("(variant (case {:?}) (case {:?} u8))", long(0), long(1)), 2),
        _ => {
            let names: String = (0..32).map(|index| format!("{:?} ", long(index))).collect();
            (format!("(flags {names})"), 4)
        }
    };
    let pages = 4_000_000 * element / 65_536 + 2;
    component(&format!(
        r#"(component
          (type $t' {ty}) (export $t "t" (type $t'))
          (core module $m
            (memory (export "memory") {pages})
            (func (export "go") (result i32)
              (memory.fill (i32.const 64) (i32.const 255) (i32.const {}))
              (memory.fill (i32.const 64) (i32.const {}) (i32.const {}))
              (i32.store (i32.const 8) (i32.const 64)) (i32.store (i32.const 12) (i32.const 3900000)) (i32.const 8)))
          (core instance $i (instantiate $m))
          (func (export "go") (result (list $t)) (canon lift (core func $i "go") (memory (core memory $i "memory")))))"#,
        if kind == "flags" { 4_000_000 * element } else { 0 },
        0,
        if kind == "flags" { 0 } else { 4_000_000 * element },
    ))
}

/// Takes a string; its allocator answers with this address.
fn allocates_at(address: &'static str) -> Vec<u8> {
    let core = format!(
        r#"(func (export "go") (param i32 i32))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const {address}))"#
    );
    Guest { imports: &[], exports: "export go: func(texts: list<string>);", core: &core }.build_with_own_allocator()
}

fn many_values() -> Vec<Case> {
    let amplify = |name, what, kind: &'static str| {
        case(Family::Values, name, what, move || amplified(kind), Expect::Limit(LimitKind::Values)).growth_mib(400)
    };
    vec![
        amplify("long cases", "returns four million cases of an `enum` whose names have 2000 bytes", "enum"),
        amplify("long fields", "returns four million records whose field's name has 2000 bytes", "record"),
        amplify("long variants", "returns four million variants whose names have 2000 bytes", "variant"),
        amplify("long flags", "returns four million sets of 32 flags whose names have 2000 bytes", "flags"),
        returned(
            "many values",
            "returns a list of five million booleans",
            "list<bool>",
            64,
            5_000_000,
            Expect::Limit(LimitKind::Values),
        )
        .growth_mib(400),
        returned(
            "large output",
            "returns five megabytes where one is allowed",
            "list<u8>",
            64,
            3_900_000,
            Expect::Limit(LimitKind::Output),
        )
        .limits("output_bytes = 1_048_576")
        .growth_mib(700),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let outside = Expect::Trap("out of bounds");
    let mut cases = vec![
        returned(
            "text outside",
            "returns text that lies outside of its memory",
            "string",
            0x7fff_0000,
            10,
            outside.clone(),
        ),
        returned("endless text", "returns text of four gigabytes", "string", 0, u32::MAX, outside.clone()),
        returned("endless list", "returns a list of 2^31 numbers", "list<u64>", 8, 1 << 31, outside.clone()),
        returned("unaligned", "returns a list at an odd address", "list<u32>", 65, 4, Expect::Trap("not aligned")),
        case(
            Family::Values,
            "bytes as text",
            "returns text that is not UTF-8",
            || result("string", 600, 4, r#"(data (i32.const 600) "a\ff\fe\80")"#),
            Expect::Trap("utf-8"),
        ),
        case(
            Family::Values,
            "no character",
            "returns a surrogate as a character",
            || wat::guest("export go: func() -> char;", r#"(func (export "go") (result i32) (i32.const 0xd800))"#),
            Expect::Trap("char"),
        ),
        case(
            Family::Values,
            "no case",
            "returns the 200th case of two",
            || {
                wat::guest(
                    "enum two { one, other } export go: func() -> two;",
                    r#"(func (export "go") (result i32) (i32.const 200))"#,
                )
            },
            Expect::Trap("discriminant"),
        ),
        case(
            Family::Values,
            "result outside",
            "returns an address outside of its memory as where its result is",
            || wat::guest("export go: func() -> string;", r#"(func (export "go") (result i32) (i32.const -8))"#),
            Expect::Trap("out of bounds"),
        ),
        case(
            Family::Values,
            "allocator outside",
            "allocates outside of its memory",
            || allocates_at("0x7fff0000"),
            Expect::Trap("realloc return"),
        )
        .call("guest.go", json!({"texts": ["some", "more"]})),
        case(
            Family::Values,
            "allocator unaligned",
            "allocates at an odd address",
            || allocates_at("65"),
            Expect::Trap("realloc return"),
        )
        .call("guest.go", json!({"texts": ["some", "more"]})),
        case(
            Family::Values,
            "argument outside",
            "hands over a path that lies outside of its memory",
            || wat::body("(call $mkdir (call $first) (i32.const 0x7fff0000) (i32.const 10) (i32.const 16))"),
            Expect::Trap("out of bounds"),
        )
        .grant(READ_WRITE),
        case(
            Family::Values,
            "answer outside",
            "wants an answer where it has no memory",
            || wat::body("(call $wall (i32.const 0x7fff0000))"),
            Expect::Trap("out of bounds"),
        ),
        case(
            Family::Values,
            "path of bytes",
            "hands over a path that is not UTF-8",
            || {
                wat::go(
                    r#"(data (i32.const 600) "\ff\fe")
                    (func (export "go") (call $mkdir (call $first) (i32.const 600) (i32.const 2) (i32.const 16)))"#,
                )
            },
            Expect::Trap("utf-8"),
        )
        .grant(READ_WRITE),
        case(
            Family::Values,
            "huge path",
            "hands over a path of seventeen megabytes",
            || {
                wat::go(
                    r#"(func (export "go") (drop (memory.grow (i32.const 300)))
                      (memory.fill (i32.const 65536) (i32.const 97) (i32.const 17000000))
                      (call $mkdir (call $first) (i32.const 65536) (i32.const 17000000) (i32.const 16)))"#,
                )
            },
            Expect::Limit(LimitKind::Arguments),
        )
        .grant(READ_WRITE),
        case(
            Family::Values,
            "same text many times",
            "hands over a list of a hundred thousand fields that all are the same long text",
            || {
                wat::go(
                    r#"(func (export "go") (local $i i32)
                      (drop (memory.grow (i32.const 64)))
                      (loop $l
                        (i32.store offset=65536 (local.get $i) (i32.const 1024))
                        (i32.store offset=65540 (local.get $i) (i32.const 10000))
                        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 1600000))))
                      (call $log (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 65536) (i32.const 100000)))"#,
                )
            },
            Expect::Limit(LimitKind::Arguments),
        )
        .growth_mib(400),
        case(
            Family::Values,
            "endless fields",
            "hands over a list of 2^32 - 1 fields",
            || wat::body("(call $log (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const -1))"),
            outside,
        ),
        case(
            Family::Values,
            "no level",
            "logs with a level that there is not",
            || wat::body("(call $log (i32.const 99) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0))"),
            Expect::Trap("discriminant"),
        ),
    ];
    cases.extend(many_values());
    cases
}
