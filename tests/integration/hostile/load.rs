//! Components that attack who loads them: features that are not run, names that pretend, structures that are deep, many or endless.

use std::fmt::Write as _;

use host_tests::guest::component;
use serde_json::json;

use super::case::{Case, Expect, Family, case};

fn refused(name: &'static str, what: &'static str, build: impl Fn() -> Vec<u8> + 'static, code: &'static str) -> Case {
    case(Family::Load, name, what, build, Expect::Refused(code))
}

const UNSUPPORTED: &str = "component-unsupported";
const INVALID: &str = "component-invalid";
const METADATA: &str = "skill-metadata";

/// A component with one tool `go`, around a module with these fields.
fn with(fields: &str) -> Vec<u8> {
    component(&format!(
        r#"(component (core module $m {fields} (func (export "go"))) (core instance $i (instantiate $m))
           (func (export "go") (canon lift (core func $i "go"))))"#
    ))
}

/// The same with more of a component around it.
fn beside(text: &str) -> Vec<u8> {
    component(&format!(
        r#"(component (core module $m (memory (export "memory") 1) (func (export "go")) (func (export "one") (result i32) i32.const 0))
           (core instance $i (instantiate $m))
           (func $go (export "go") (canon lift (core func $i "go"))) {text})"#
    ))
}

/// The header of a component.
const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

/// A component that carries this as its metadata.
fn with_metadata(content: &[u8], times: usize) -> Vec<u8> {
    let name = b"skillhost:skill";
    let custom = section(0, &[&leb(name.len())[..], name, content].concat());
    [with(""), custom.repeat(times)].concat()
}

/// Components inside of components.
fn nested(depth: usize) -> Vec<u8> {
    let mut inner = HEADER.to_vec();
    for _ in 0..depth {
        inner = [HEADER, &section(4, &inner)].concat();
    }
    inner
}

/// A section that claims to have four thousand million entries.
fn claims(id: u8) -> Vec<u8> {
    [HEADER, &section(id, &leb(0xffff_ffff))].concat()
}

/// `count` types of which each is made from the one before.
fn types(count: usize, step: impl Fn(usize) -> String) -> String {
    (1..=count).map(|index| format!("(type $t{index} {})", step(index))).collect()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = features();
    cases.extend(names());
    cases.extend(structures());
    cases
}

fn features() -> Vec<Case> {
    vec![
        refused("shared memory", "has a memory that threads share", || with("(memory 1 1 shared)"), UNSUPPORTED),
        refused(
            "atomics",
            "waits on an address until another thread wakes it",
            || {
                with(
                    "(memory 1 1 shared) (func (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))",
                )
            },
            UNSUPPORTED,
        ),
        refused("64 bits", "has a memory with addresses of 64 bits", || with("(memory i64 1)"), UNSUPPORTED),
        refused(
            "garbage collection",
            "has types that a garbage collector would own",
            || with("(type (struct (field i32)))"),
            UNSUPPORTED,
        ),
        refused(
            "stream",
            "has a tool that takes a stream",
            || beside(r#"(type $s (stream u8)) (core func $n (canon stream.new $s))"#),
            UNSUPPORTED,
        ),
        refused(
            "future in an export",
            "exports a function that takes a future",
            || {
                component(
                    r#"(component (core module $m (func (export "go") (param i32))) (core instance $i (instantiate $m))
                       (func (export "go") (param "f" (future u8)) (canon lift (core func $i "go"))))"#,
                )
            },
            "component-uses-async",
        ),
        refused(
            "machine code",
            "is a file of machine code, which the host would trust if it loaded it",
            || b"\x7fELF\x02\x01\x01\0wasmtime".to_vec(),
            "component-not-wasm",
        ),
    ]
}

fn names() -> Vec<Case> {
    let interfaces = |names: [&str; 2]| {
        let mut text = String::new();
        for (index, name) in names.into_iter().enumerate() {
            write!(
                text,
                r#"(instance $n{index} (export "f" (func $go)) (export "g" (func $go))) (export "{name}" (instance $n{index}))"#
            )
            .expect("a string grows");
        }
        beside(&text)
    };
    vec![
        refused(
            "same tool",
            "exports two interfaces whose tools would have the same names",
            move || interfaces(["acme:text/tools@1.0.0", "evil:text/tools@1.0.0"]),
            "component-same-tool",
        ),
        refused(
            "same name in capitals",
            "exports `go` and `GO`",
            || {
                let mut bytes = beside(r#"(export "xq" (func $go))"#);
                let at = bytes.windows(2).rposition(|part| part == b"xq").expect("the name is there");
                bytes[at..at + 2].copy_from_slice(b"GO");
                bytes
            },
            INVALID,
        ),
        refused(
            "too many tools",
            "exports a thousand and one tools",
            || beside(&(0..1_001).map(|index| format!("(export \"t{index}\" (func $go))")).collect::<String>()),
            "component-too-many-tools",
        ),
        case(
            Family::Load,
            "long name",
            "exports a function whose name has fifty thousand characters",
            || beside(&format!("(export \"{}\" (func $go))", "n".repeat(50_000))),
            Expect::Answer(json!(null)),
        ),
        refused(
            "control characters",
            "exports a name that clears a terminal",
            || {
                let mut bytes = beside(r#"(export "xxxx" (func $go))"#);
                let at = bytes.windows(4).rposition(|part| part == b"xxxx").expect("the name is there");
                bytes[at..at + 4].copy_from_slice(b"\x1b[2J");
                bytes
            },
            INVALID,
        ),
        refused(
            "two descriptions",
            "carries two descriptions of itself",
            || with_metadata(b"schema = \"skillhost.skill/1\"", 2),
            METADATA,
        ),
        refused(
            "description of bytes",
            "carries a description that is not UTF-8",
            || with_metadata(&[0xff; 64], 1),
            METADATA,
        ),
        refused(
            "deep description",
            "carries a description of a hundred thousand nested lists",
            || with_metadata(format!("a = {}", "[".repeat(100_000)).as_bytes(), 1),
            METADATA,
        ),
        refused(
            "large description",
            "carries a description of thirty megabytes",
            || with_metadata(&vec![b'#'; 30 << 20], 1),
            METADATA,
        )
        .growth_mib(300),
    ]
}

fn structures() -> Vec<Case> {
    vec![
        refused(
            "nested components",
            "has five thousand components inside of each other",
            || nested(5_000),
            "component-too-complex",
        ),
        refused(
            "components to the limit",
            "has a hundred components inside of each other",
            || nested(100),
            "unknown-tool",
        ),
        refused(
            "components beside each other",
            "has nine hundred components beside each other",
            || [HEADER.to_vec(), section(4, HEADER).repeat(900)].concat(),
            "unknown-tool",
        ),
        refused(
            "nested types",
            "has a tool whose type is a list in a list, five thousand times",
            || {
                let types = types(5_000, |index| match index {
                    1 => "(list u8)".to_owned(),
                    _ => format!("(list $t{})", index - 1),
                });
                component(&format!(
                    r#"(component {types}
                       (core module $m (memory (export "memory") 1) (func (export "go") (result i32) i32.const 0))
                       (core instance $i (instantiate $m))
                       (func (export "go") (result $t5000) (canon lift (core func $i "go") (memory (core memory $i "memory")))))"#
                ))
            },
            INVALID,
        ),
        refused(
            "doubled types",
            "has a tool whose type has 2^40 parts, written as forty",
            || {
                let types = types(40, |index| match index {
                    1 => "(tuple u8 u8)".to_owned(),
                    _ => format!("(tuple $t{0} $t{0})", index - 1),
                });
                component(&format!(
                    r#"(component {types}
                       (core module $m (memory (export "memory") 1) (func (export "go") (result i32) i32.const 0))
                       (core instance $i (instantiate $m))
                       (func (export "go") (result $t40) (canon lift (core func $i "go") (memory (core memory $i "memory")))))"#
                ))
            },
            INVALID,
        ),
        fixed_list(
            "fixed list",
            "has a tool that returns an array of a thousand million bytes",
            "(type $t1 (list u8 1000000000))",
            1,
        ),
        fixed_list(
            "fixed lists",
            "has a tool that returns an array of arrays, a thousand to the power of ten",
            &types(10, |index| match index {
                1 => "(list u64 1000)".to_owned(),
                _ => format!("(list $t{} 1000)", index - 1),
            }),
            10,
        ),
        refused("count of imports", "claims to have four thousand million imports", || claims(10), INVALID),
        refused("count of types", "claims to have four thousand million types", || claims(7), INVALID),
        refused("count of exports", "claims to have four thousand million exports", || claims(11), INVALID),
        refused(
            "count of data",
            "has a module that claims to have four thousand million pieces of data",
            || {
                let module = [&b"\0asm\x01\0\0\0"[..], &section(11, &leb(0xffff_ffff))].concat();
                [HEADER, &section(1, &module)].concat()
            },
            INVALID,
        ),
        refused(
            "large function",
            "has a function of fifty thousand blocks and ten thousand locals, for which a compiler takes tens of gigabytes",
            || busy(10_000, 50_000),
            "component-too-complex",
        ),
        case(
            Family::Load,
            "less large function",
            "has a function of five thousand blocks and two thousand locals, to keep the compiler busy",
            // Told apart from those of earlier runs, which are compiled already.
            || {
                [busy(2_000, 5_000), section(0, &[&[4][..], b"salt", &std::process::id().to_le_bytes()].concat())]
                    .concat()
            },
            Expect::Denied,
        )
        .policy("schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"text\"]\ntools = [\"*\"]")
        .growth_mib(512)
        .seconds(120),
    ]
}

/// What is small to send and huge to compile.
pub(super) fn bombs() -> impl Iterator<Item = Case> {
    host_tests::bombs::REFUSED
        .iter()
        .map(|bomb| refused(bomb.name, bomb.what, bomb.build, "component-too-complex").growth_mib(300))
}

/// A function in which any local may matter in any block.
fn busy(locals: usize, blocks: usize) -> Vec<u8> {
    let mut body = format!("(func (export \"busy\") (param i64) (result i64) (local {})", "i64 ".repeat(locals));
    for index in 0..blocks {
        let (a, b) = (index.wrapping_mul(2_654_435_761) % locals, index.wrapping_mul(40_503) % locals);
        let sum = format!("(local.set {b} (i64.add (local.get {a}) (local.get 0)))");
        write!(body, "(block (br_if 0 (i64.eqz (local.get {a}))) {sum})").expect("a string grows");
    }
    with(&(body + "(local.get 7))"))
}

/// A tool that returns a list of fixed length, the last of these types.
fn fixed_list(name: &'static str, what: &'static str, types: &str, last: usize) -> Case {
    let text = format!(
        r#"(component {types}
           (core module $m (memory (export "memory") 1) (func (export "go") (result i32) i32.const 0))
           (core instance $i (instantiate $m))
           (func (export "go") (result $t{last}) (canon lift (core func $i "go") (memory (core memory $i "memory")))))"#
    );
    refused(name, what, move || component(&text), "component-too-complex")
}
