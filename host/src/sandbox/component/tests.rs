use super::*;
use crate::skill::{Export, Need, unprovided_imports};
use crate::types::Ty;
use std::fmt::Write as _;
use wasmtime::Config;

pub(crate) fn engine() -> Engine {
    let mut config = Config::new();
    config.wasm_component_model_map(true).wasm_component_model_fixed_length_lists(true);
    Engine::new(&config).unwrap()
}

fn name() -> SkillName {
    SkillName::new("t").unwrap()
}

fn load_bytes(bytes: &[u8], manifest: Option<&str>) -> Result<Loaded, LoadError> {
    load_with(&engine(), &CompiledCode::nowhere(), bytes, manifest)
}

/// Compiled in this process.
pub(crate) fn load_with(
    engine: &Engine,
    code: &CompiledCode,
    bytes: &[u8],
    manifest: Option<&str>,
) -> Result<Loaded, LoadError> {
    let compiler = Compiler::in_process();
    let with = Loading { engine, allocation: Allocation::default(), code, compiler: &compiler, cancel: None };
    load(with, bytes, name(), manifest)
}

fn load_text(text: &str) -> Result<Loaded, LoadError> {
    load_bytes(&wat::parse_str(text).unwrap(), None)
}

fn skill(text: &str) -> Skill {
    load_text(text).unwrap().skill
}

fn refusal(text: &str) -> LoadError {
    load_text(text).unwrap_err()
}

/// A component that exports functions: (name, type as text, type of the core function behind it). `types` come before.
pub(crate) fn exporting(types: &str, functions: &[(&str, &str, &str)]) -> String {
    let mut core = String::new();
    let mut exports = String::new();
    for (name, ty, core_ty) in functions {
        writeln!(core, "(func (export \"{name}\") {core_ty} unreachable)").unwrap();
        writeln!(
            exports,
            "(alias core export $m \"{name}\" (core func $c-{name}))
             (func $x-{name} {ty} (canon lift (core func $c-{name}) (memory $mem) (realloc $realloc)))
             (export \"{name}\" (func $x-{name}))",
        )
        .unwrap();
    }
    format!(
        "(component {types}
           (core module $mm (memory (export \"m\") 1)
             (func (export \"r\") (param i32 i32 i32 i32) (result i32) unreachable)
             {core})
           (core instance $m (instantiate $mm))
           (alias core export $m \"m\" (core memory $mem))
           (alias core export $m \"r\" (core func $realloc))
           {exports})"
    )
}

const EMPTY_TOOL: &str = r#"(component
    (core module $m (func (export "f")))
    (core instance $i (instantiate $m))
    (func $f (canon lift (core func $i "f")))
    (export "do-it" (func $f)))"#;

/// A component whose instances export `do-it`; each of `names` is one.
fn interfaces(names: &[&str], root: &str) -> String {
    let exports = names.iter().map(|name| format!("(instance (export \"{name}\") (export \"do-it\" (func $f)))\n"));
    format!(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            {} {root})"#,
        exports.collect::<String>()
    )
}

const COMMAND: &str = r#"(component
    (core module $m (func (export "f") (result i32) i32.const 0))
    (core instance $i (instantiate $m))
    (func $f (result (result)) (canon lift (core func $i "f")))
    (instance (export "wasi:cli/run@0.2.3") (export "run" (func $f))))"#;

#[test]
fn what_is_no_component_is_refused_with_a_hint() {
    let component = wat::parse_str(EMPTY_TOOL).unwrap();
    let module = wat::parse_str("(module)").unwrap();
    let mut version = component.clone();
    version[4] = 0x7f;
    let cases: [(&[u8], &str, &str); 9] = [
        (b"", "component-empty", "the file is empty"),
        (
            b"hello, world",
            "component-not-wasm",
            "this is not a WebAssembly file: it starts with the bytes 68 65 6c 6c 6f 2c 20 77",
        ),
        (
            b"\x7fELF\x02",
            "component-not-wasm",
            "this is not a WebAssembly file: it starts with the bytes 7f 45 4c 46 02",
        ),
        (b"\n ;; text\n(component)", "component-is-text", "this is WebAssembly text, not a binary component"),
        (b"(component)", "component-is-text", "this is WebAssembly text, not a binary component"),
        (&module, "component-is-core-module", "this is a core WebAssembly module, not a component"),
        (b"\0asm\x0d", "component-corrupt", "the component is damaged at byte 4: unexpected end"),
        (&version, "component-corrupt", "the component is damaged at byte 4: unknown version 7f 00 01 00"),
        (&component[..component.len() - 3], "component-corrupt", "the component is damaged at byte "),
    ];
    for (bytes, code, message) in cases {
        let error = load_bytes(bytes, None).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().starts_with(message), "{error}");
        assert!(!error.hint().is_empty() && !error.to_string().contains('\n'));
    }
}

#[test]
fn a_component_that_is_too_large_is_refused_before_it_is_read() {
    let bytes = vec![0; usize::try_from(limits::COMPONENT_BYTES_MAX).unwrap() + 1];
    let error = load_bytes(&bytes, None).unwrap_err();
    assert_eq!(error.to_string(), "the component has 67108865 bytes; at most 67108864 are taken");
}

#[test]
fn any_cut_and_any_changed_byte_is_an_error_or_a_component_but_never_a_panic() {
    let bytes = wat::parse_str(COMMAND).unwrap();
    for cut in 0..bytes.len() {
        // A cut between two sections is a smaller component.
        if let Err(error) = load_bytes(&bytes[..cut], None) {
            assert!(!error.to_string().is_empty());
        }
    }
    for at in 0..bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            drop(load_bytes(&changed, None).map_err(|error| error.hint()));
        }
    }
}

#[test]
fn a_component_that_breaks_a_rule_is_invalid() {
    let bytes = wat::parse_str(r#"(component (core module (func (result i32))))"#).unwrap();
    let error = load_bytes(&bytes, None).unwrap_err();
    assert!(matches!(error, LoadError::Invalid { .. }), "{error}");
    assert!(error.to_string().contains("type mismatch"), "{error}");
}

#[test]
fn async_types_are_refused_with_their_place() {
    let stream = exporting("", &[]).replace(
        "(component",
        r#"(component (import "a:b/c" (instance (export "read" (func (result (stream u8))))
             (export "plain" (func)) (export "wait" (func (param "x" (list (option (future))))))))
           (import "slow" (func async))"#,
    );
    let error = refusal(&stream);
    assert_eq!(
        error.to_string(),
        "the component uses async, stream or future types in `import a:b/c#read`, `import a:b/c#wait`, `import slow`"
    );
    assert!(error.hint().contains("wasm32-wasip2"));
}

#[test]
fn functions_at_the_root_are_tools() {
    let skill = skill(EMPTY_TOOL);
    let tool = skill.tool("do-it").unwrap();
    assert_eq!(tool.name.to_string(), "t.do-it");
    assert_eq!(tool.export, Export::Function { interface: None, function: "do-it".to_owned() });
    assert_eq!((tool.params.len(), &tool.result.ok, tool.result.fallible), (0, &None, false));
    assert_eq!(skill.digest, Digest::of(&wat::parse_str(EMPTY_TOOL).unwrap()));
}

#[test]
fn one_interface_gives_short_names_and_several_give_long_ones() {
    let names = |text: &str| skill(text).tools.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&interfaces(&["acme:text/tools@1.0.0"], "")), ["do-it"]);
    assert_eq!(names(&interfaces(&["acme:text/tools@1.0.0", "more"], "")), ["more.do-it", "tools.do-it"]);
    assert_eq!(names(&interfaces(&["acme:text/tools@1.0.0"], "(export \"other\" (func $f))")), ["do-it", "other"],);
    // An interface of types alone does not count.
    let types = r#"(type $r (list u8)) (instance (export "acme:text/types") (export "blob" (type $r)))"#;
    assert_eq!(names(&interfaces(&["acme:text/tools@1.0.0"], types)), ["do-it"]);
}

#[test]
fn exports_that_would_be_the_same_tool_are_refused() {
    let error = refusal(&interfaces(&["a:b/tools", "c:d/tools@2.0.0"], ""));
    assert_eq!(
        error.to_string(),
        "the tool `tools.do-it` is exported twice: as `a:b/tools#do-it` and as `c:d/tools@2.0.0#do-it`"
    );
    let error = refusal(&interfaces(&["a:b/tools"], "(export \"do-it\" (func $f))"));
    assert_eq!(error.to_string(), "the tool `do-it` is exported twice: as `do-it` and as `a:b/tools#do-it`");
}

#[test]
fn other_wasi_exports_are_no_tools() {
    let skill = skill(&interfaces(
        &["wasi:http/incoming-handler@0.2.0", "skillhost:skill/log@0.1.0", "wasi:cli/run@0.2.0"],
        "",
    ));
    assert!(skill.tools.is_empty());
    assert_eq!(skill.not_tools.len(), 3);
    assert_eq!(skill.not_tools[2].1, "it has no function `run: func() -> result`");
}

#[test]
fn a_command_line_program_is_the_tool_run() {
    let skill = skill(COMMAND);
    let tool = skill.tool("run").unwrap();
    assert_eq!(tool.export, Export::Command { interface: "wasi:cli/run@0.2.3".to_owned() });
    let names: Vec<&str> = tool.params.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["args", "stdin", "env", "exit_codes"]);
    assert!(tool.params.iter().all(|(_, ty)| ty.is_nullable()));
    assert_eq!(tool.result.ok, tool.result.err);
}

#[test]
fn types_are_read_and_what_has_no_json_form_is_no_tool() {
    let types = r#"
        (import "res" (type $res (sub resource)))
        (type $rec' (record (field "a" u8) (field "b" (option string))))
        (import "rec" (type $rec (eq $rec')))
        (type $var' (variant (case "x") (case "y" f32)))
        (import "var" (type $var (eq $var')))
        (type $en' (enum "p" "q")) (import "en" (type $en (eq $en')))
        (type $fl' (flags "r" "w")) (import "fl" (type $fl (eq $fl')))"#;
    let skill = skill(&exporting(
        types,
        &[
            (
                "all",
                r#"(param "rec" $rec) (param "var" $var) (param "en" $en) (param "fl" $fl)
               (param "bytes" (list u8)) (param "map" (map string u64)) (param "fixed" (list s16 3))
               (result (result (tuple char f64) (error string)))"#,
                "(param i32 i32 i32 i32 i32 f32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)",
            ),
            ("nothing", "(result (result))", "(result i32)"),
            ("handle", r#"(param "x" (borrow $res))"#, "(param i32)"),
        ],
    ));
    let all = skill.tool("all").unwrap();
    let param = |name: &str| all.params.iter().find(|(param, _)| param == name).unwrap().1.clone();
    assert_eq!(
        param("rec"),
        Ty::Record(vec![("a".to_owned(), Ty::U8), ("b".to_owned(), Ty::Option(Box::new(Ty::String)))])
    );
    assert_eq!(param("var"), Ty::Variant(vec![("x".to_owned(), None), ("y".to_owned(), Some(Ty::F32))]));
    assert_eq!(param("en"), Ty::Enum(vec!["p".to_owned(), "q".to_owned()]));
    assert_eq!(param("fl"), Ty::Flags(vec!["r".to_owned(), "w".to_owned()]));
    assert_eq!(param("bytes"), Ty::Bytes);
    assert_eq!(param("map"), Ty::Map(Box::new(Ty::String), Box::new(Ty::U64)));
    assert_eq!(param("fixed"), Ty::FixedList(Box::new(Ty::S16), 3));
    assert_eq!(all.result.ok, Some(Ty::Tuple(vec![Ty::Char, Ty::F64])));
    assert_eq!((&all.result.err, all.result.fallible), (&Some(Ty::String), true));
    let nothing = skill.tool("nothing").unwrap();
    assert_eq!((&nothing.result.ok, &nothing.result.err, nothing.result.fallible), (&None, &None, true));
    assert_eq!(
        skill.not_tools,
        [("handle".to_owned(), "parameter `x`: it uses a resource handle, which has no JSON form".to_owned())]
    );
}

#[test]
fn a_type_that_shares_its_parts_is_bounded() {
    let mut types = String::from("(type $t0 (tuple u8 u8))\n");
    for level in 1..15 {
        writeln!(types, "(type $t{level} (tuple $t{0} $t{0}))", level - 1).unwrap();
    }
    let skill = skill(&exporting(&types, &[("wide", r#"(param "x" $t14)"#, "(param i32)")]));
    assert_eq!(skill.not_tools[0].1, "parameter `x`: its type has more than 10000 parts");

    let mut types = String::from("(type $t0 (list u32))\n");
    for level in 1..90 {
        writeln!(types, "(type $t{level} (list $t{}))", level - 1).unwrap();
    }
    let skill = self::skill(&exporting(&types, &[("deep", r#"(param "x" $t89)"#, "(param i32 i32)")]));
    assert_eq!(skill.not_tools[0].1, "parameter `x`: its type is nested deeper than 64");
}

#[test]
fn what_a_builder_left_behind_is_no_tool() {
    let strings = |names: &[&str]| names.iter().map(|name| format!("(param \"{name}\" u8)")).collect::<String>();
    let init = |names: &[&str]| (strings(names), format!("(param{})", " i32".repeat(names.len())));
    let (ty, core) = init(&["shim", "script", "entry-path", "disable-gc"]);
    let left = skill(&exporting("", &[("init", &ty, &core), ("go", "", "")]));
    assert_eq!(left.tools.keys().collect::<Vec<_>>(), ["go"]);
    assert_eq!(
        left.not_tools,
        [("init".to_owned(), "it is for the program that built the component, which has called it already".to_owned())]
    );
    // An author's own function of that name is a tool.
    let (ty, core) = init(&["shim", "script"]);
    assert_eq!(skill(&exporting("", &[("init", &ty, &core)])).tools.keys().collect::<Vec<_>>(), ["init"]);
}

#[test]
fn imports_say_what_they_need() {
    let imports = [
        ("wasi:cli/environment@0.2.0", Need::Environment),
        ("wasi:clocks/wall-clock@0.2.12", Need::Clocks),
        ("wasi:config/store@0.2.0-draft", Need::Config),
        ("wasi:config/store@0.2.0-rc.1", Need::Config),
        ("wasi:filesystem/types@0.2.6", Need::Filesystem),
        ("wasi:io/poll@0.2.3", Need::Nothing),
        ("wasi:random/insecure-seed@0.2.3", Need::Random),
        ("skillhost:skill/log@0.1.0", Need::Nothing),
        ("wasi:sockets/tcp@0.2.3", Need::Sockets),
        ("wasi:sockets/ip-name-lookup@0.2.12", Need::Sockets),
        ("wasi:sockets/raw@0.2.3", Need::NotProvided),
        ("wasi:sockets/types@0.3.0", Need::NotProvided),
        ("wasi:http/incoming-handler@0.2.3", Need::NotProvided),
        ("wasi:cli/environment@0.3.0", Need::NotProvided),
        ("wasi:io/poll@0.2.13", Need::NotProvided),
        ("wasi:io/streams@0.2.0-rc-2023-11-10", Need::NotProvided),
        ("wasi:io/error", Need::NotProvided),
        ("wasi:io/other@0.2.1", Need::NotProvided),
        ("wasi:nn/graph@0.2.0", Need::NotProvided),
        ("wasi:config/store@0.2.0", Need::NotProvided),
        ("skillhost:skill/agents@0.1.0", Need::NotProvided),
        ("acme:text/host@1.0.0", Need::NotProvided),
    ];
    let text: String =
        imports.iter().map(|(name, _)| format!("(import \"{name}\" (instance (export \"f\" (func))))\n")).collect();
    let types = r#"(import "acme:text/types" (instance (type $t u8) (export "t" (type (eq $t)))))"#;
    let skill = skill(&format!("(component {text} {types} (import \"plain\" (func)))"));
    let found: Vec<(&str, Need)> = skill.imports.iter().map(|import| (import.name.as_str(), import.needs)).collect();
    let mut expected = imports.to_vec();
    expected.extend([("acme:text/types", Need::Nothing), ("plain", Need::NotProvided)]);
    assert_eq!(found, expected);

    let refusals = unprovided_imports(&skill);
    let hints: Vec<&str> = refusals.iter().map(|problem| problem.hint.as_deref().unwrap()).collect();
    assert_eq!(refusals[0].message, "the skill `t` imports `wasi:sockets/raw@0.2.3`, which is not provided");
    let parts = [
        "`wasi:sockets` is provided, but has no interface `raw`",
        "WASI 0.3 is not in this version",
        "of `wasi:http` the host provides `types` and `outgoing-handler`",
        "WASI 0.3 is not in this version",
        "the host provides WASI 0.2.0 to 0.2.12, not `0.2.13`",
        "is a draft of WASI 0.2",
        "write the version too",
        "has no interface `other`",
        "`wasi:nn` is not provided",
        "of `wasi:config` the host provides `wasi:config/store@0.2.0-draft`",
        "`skillhost:skill/log@0.1.0`, `skillhost:skill/request@0.1.0`, `skillhost:skill/tools@0.1.0`",
        "wac plug",
        "wac plug",
    ];
    assert_eq!(hints.len(), parts.len());
    for (hint, part) in hints.iter().zip(parts) {
        assert!(hint.contains(part), "{hint}");
    }
}

/// A custom section with this content, to be appended to a component.
fn section(content: &str) -> Vec<u8> {
    let mut body = vec![u8::try_from(METADATA_SECTION.len()).unwrap()];
    body.extend_from_slice(METADATA_SECTION.as_bytes());
    body.extend_from_slice(content.as_bytes());
    assert!(body.len() < 1 << 14);
    let mut bytes = vec![0, u8::try_from(body.len() & 0x7f).unwrap() | 0x80, u8::try_from(body.len() >> 7).unwrap()];
    bytes.extend(body);
    bytes
}

const MANIFEST: &str = "schema = \"skillhost.skill/1\"\nname = \"t\"\nversion = \"1.0.0\"\n";

#[test]
fn metadata_comes_from_the_file_or_the_section_and_the_file_wins() {
    let plain = wat::parse_str(EMPTY_TOOL).unwrap();
    let mut with = plain.clone();
    with.extend(section(&format!("{MANIFEST}description = \"inside\"\n[tools.do-it]\nread_only = true\n")));
    let loaded = load_bytes(&with, None).unwrap().skill;
    assert_eq!(loaded.metadata.description.as_deref(), Some("inside"));
    assert!(loaded.tool("do-it").unwrap().annotations.read_only);

    let loaded = load_bytes(&with, Some(&format!("{MANIFEST}description = \"beside\"\n"))).unwrap().skill;
    assert_eq!(loaded.metadata.description.as_deref(), Some("beside"));
    assert!(!loaded.tool("do-it").unwrap().annotations.read_only);

    with.extend(section(MANIFEST));
    assert_eq!(
        load_bytes(&with, None).unwrap_err().to_string(),
        "the component's section `skillhost:skill` comes twice"
    );
}

#[test]
fn metadata_that_does_not_fit_is_refused() {
    let plain = wat::parse_str(EMPTY_TOOL).unwrap();
    let error = load_bytes(&plain, Some(&format!("{MANIFEST}[tools.do-itt]\nread_only = true\n"))).unwrap_err();
    assert_eq!(error.code(), "skill-metadata");
    assert!(error.to_string().contains("`do-itt`"), "{error}");
    assert_eq!(error.hint(), "did you mean `do-it`?");
    assert_eq!(error.problems("/skills/t").len(), 1);
}
