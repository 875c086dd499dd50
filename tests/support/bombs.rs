//! Components that are valid, small to send and huge to compile: a table of them, for whatever loads components.

use std::fmt::Write as _;

use crate::guest::component;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Bomb {
    /// What it is called.
    pub name: &'static str,
    /// What it does to a compiler.
    pub what: &'static str,
    /// Its bytes.
    pub build: fn() -> Vec<u8>,
}

/// Those that are refused by their shape, in a child as in the process itself.
pub const REFUSED: &[Bomb] = &[
    Bomb {
        name: "values in calls",
        what: "has a function of three thousand calls that each take and give a thousand numbers, for which a compiler takes a minute and three \
               gigabytes",
        build: || {
            let many = "i64 ".repeat(1_000);
            module(&format!(
                "(type $t (func (param {many}) (result {many}))) (func $f (type $t) unreachable)
                 (func (type $t) {} {})",
                locals(1_000),
                "call $f ".repeat(3_000)
            ))
        },
    },
    Bomb {
        name: "values in indirect calls",
        what: "has a function of three thousand calls through a table that each take and give a thousand numbers",
        build: || {
            let many = "i64 ".repeat(1_000);
            module(&format!(
                "(type $t (func (param {many}) (result {many}))) (table 1 funcref)
                 (func (type $t) {} {})",
                locals(1_000),
                "i32.const 0 call_indirect (type $t) ".repeat(3_000)
            ))
        },
    },
    Bomb {
        name: "values in blocks",
        what: "has a function of two thousand loops that each take and give a thousand numbers",
        build: || {
            let many = "i64 ".repeat(1_000);
            module(&format!(
                "(type $t (func (param {many}) (result {many}))) (func (type $t) {} {})",
                locals(1_000),
                "(loop (type $t)) ".repeat(2_000)
            ))
        },
    },
    Bomb {
        name: "values in jumps",
        what: "has a table of fifty thousand jumps that each hand over a thousand numbers",
        build: || {
            let many = "i64 ".repeat(1_000);
            module(&format!(
                "(type $t (func (param {many}) (result {many})))
                 (func (type $t) {} (block (type $t) local.get 0 i32.wrap_i64 br_table {}))",
                locals(1_000),
                "0 ".repeat(50_000)
            ))
        },
    },
    Bomb {
        name: "many types",
        what: "has six hundred thousand types",
        build: || module(&"(type (func))".repeat(600_000)),
    },
];

/// Those that a child compiles, refuses or fails at, within its bounds; nobody says in advance which of it.
pub const BOUNDED: &[Bomb] = &[
    Bomb {
        name: "fused adapters",
        what: "has an inner component that calls another one with thirty records of a thousand texts",
        build: adapters,
    },
    Bomb {
        name: "deep blocks",
        what: "has a function of thirty thousand blocks inside of each other",
        build: || module(&format!("(func {}{})", "block ".repeat(30_000), "end ".repeat(30_000))),
    },
    Bomb {
        name: "many functions",
        what: "has sixty thousand functions of nothing",
        build: || module(&"(func)".repeat(60_000)),
    },
    Bomb {
        name: "long names",
        what: "has three hundred exports with names of ninety thousand letters",
        build: || {
            let exports = (0..300).map(|index| format!("(func (export \"{index}{}\"))", "x".repeat(90_000)));
            module(&exports.collect::<String>())
        },
    },
];

/// A component around a module with these fields.
fn module(fields: &str) -> Vec<u8> {
    component(&format!("(component (core module {fields}))"))
}

fn locals(count: usize) -> String {
    (0..count).map(|index| format!("local.get {index} ")).collect()
}

/// Two components of which one calls the other with large records: the engine writes a function that copies each.
fn adapters() -> Vec<u8> {
    let fields: String = (0..1_000).map(|index| format!("(field \"f{index}\" string)")).collect();
    let (mut ours, mut theirs) = (String::new(), String::new());
    for index in 0..30 {
        write!(
            ours,
            "(func (export \"f{index}\") (param \"r\" $r) (canon lift (core func $i \"f\") (memory (core memory $i \"m\"))
               (realloc (core func $i \"realloc\"))))"
        )
        .expect("a string grows");
        write!(theirs, "(core func $l{index} (canon lower (func $a \"f{index}\") (memory (core memory $mi \"m\"))))")
            .expect("a string grows");
    }
    let uses: String = (0..30).map(|index| format!("(export \"l{index}\" (func $l{index}))")).collect();
    let imports: String = (0..30).map(|index| format!("(import \"h\" \"l{index}\" (func (param i32)))")).collect();
    let imported: String = (0..30).map(|index| format!("(export \"f{index}\" (func (param \"r\" $t)))")).collect();
    component(&format!(
        r#"(component
          (component $a
            (type $rr (record {fields}))
            (export $r "r" (type $rr))
            (core module $m (memory (export "m") 1) (func (export "f") (param i32))
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            {ours})
          (component $b
            (import "a" (instance $a (type $rr (record {fields})) (export "r" (type $t (eq $rr))) {imported}))
            (core module $mm (memory (export "m") 1))
            (core instance $mi (instantiate $mm))
            {theirs}
            (core module $m {imports})
            (core instance (instantiate $m (with "h" (instance {uses})))))
          (instance $a (instantiate $a))
          (instance (instantiate $b (with "a" (instance $a)))))"#
    ))
}
