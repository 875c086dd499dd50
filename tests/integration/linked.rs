//! Nothing that a guest can import acts unseen: for every function of every interface that the host provides there is a guest that calls
//! it, and the call is in the trace. The functions come from WASI's own WIT, so that one that is new is found here.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use host_tests::plan::READ_WRITE;
use host_tests::server::ok;
use host_tests::{Server, TestHost, guest, policy};
use serde_json::json;
use skillhost::outcome::Outcome;
use skillhost::skill::{Need, need_of};
use wasmtime::component::Component;
use wit_parser::abi::{AbiVariant, FlatTypes, WasmType};
use wit_parser::{Function, Handle, Resolve, Type, TypeDefKind, TypeId};

use crate::verifier;

/// Resources of which no guest can get a handle, because there is never a terminal, a skill serves nobody, and every socket is refused: what
/// takes one cannot be called.
const WITHOUT_HANDLES: [&str; 9] = [
    "terminal-input",
    "terminal-output",
    "incoming-request",
    "response-outparam",
    "tcp-socket",
    "udp-socket",
    "incoming-datagram-stream",
    "outgoing-datagram-stream",
    "resolve-address-stream",
];

/// One importable function.
struct Import {
    interface: String,
    function: String,
    params: Vec<WasmType>,
    results: Vec<WasmType>,
    /// Pushes the arguments.
    arguments: String,
}

impl Import {
    /// The name in traces.
    fn traced(&self) -> String {
        format!("{}#{}", self.interface.split('@').next().expect("a name"), self.function)
    }
}

fn wasm(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    }
}

/// The resource that a type is or leads to.
fn resource(wit: &Resolve, id: TypeId) -> Option<&str> {
    match &wit.types[id].kind {
        TypeDefKind::Resource => wit.types[id].name.as_deref(),
        TypeDefKind::Type(Type::Id(other)) => resource(wit, *other),
        TypeDefKind::Handle(Handle::Borrow(of) | Handle::Own(of)) => resource(wit, *of),
        _ => None,
    }
}

fn kind(wit: &Resolve, mut id: TypeId) -> &TypeDefKind {
    while let TypeDefKind::Type(Type::Id(other)) = &wit.types[id].kind {
        id = *other;
    }
    &wit.types[id].kind
}

/// Code that pushes an argument: a live handle, a short text, one pollable, zero.
fn argument(wit: &Resolve, ty: &Type) -> String {
    if let Type::String = ty {
        return "(i32.const 520) (i32.const 1)".to_owned();
    }
    if let Type::Id(id) = ty {
        if let Some(resource) = resource(wit, *id) {
            return format!("(call $some-{resource})");
        }
        if let TypeDefKind::List(item) = kind(wit, *id) {
            return match item {
                Type::U8 => "(i32.const 520) (i32.const 1)".to_owned(),
                Type::Id(of) if resource(wit, *of) == Some("pollable") => {
                    "(call $one-pollable) (i32.const 1)".to_owned()
                }
                _ => "(i32.const 0) (i32.const 0)".to_owned(),
            };
        }
    }
    let mut storage = [WasmType::I32; Resolve::MAX_FLAT_PARAMS];
    let mut flat = FlatTypes::new(&mut storage);
    assert!(wit.push_flat(ty, &mut flat), "an argument that goes through memory");
    flat.to_vec().into_iter().map(|ty| format!("({}.const 0) ", wasm(ty))).collect()
}

fn function(wit: &Resolve, interface: &str, function: &Function) -> Import {
    let signature = wit.wasm_signature(AbiVariant::GuestImport, function);
    assert!(!signature.indirect_params, "{}", function.name);
    let mut arguments: String = function.params.iter().map(|param| argument(wit, &param.ty) + " ").collect();
    if signature.retptr {
        arguments += "(i32.const 1024)";
    }
    Import {
        interface: interface.to_owned(),
        function: function.name.clone(),
        params: signature.params,
        results: signature.results,
        arguments,
    }
}

/// Every function that the host provides, drops included.
#[derive(Default)]
struct Imports {
    interfaces: Vec<String>,
    /// Those that a guest can call.
    called: Vec<Import>,
    /// Those that take a handle which no guest has: they can be imported, and no more.
    uncalled: Vec<Import>,
}

fn imports(wit: &Resolve) -> Imports {
    let mut imports = Imports::default();
    for (_, package) in wit.packages.iter() {
        for (_, id) in &package.interfaces {
            let name = wit.id_of(*id).expect("an interface has a name");
            if need_of(&name) == Need::NotProvided {
                continue;
            }
            let interface = &wit.interfaces[*id];
            for function_of in interface.functions.values() {
                let takes = |param: &wit_parser::Param| match param.ty {
                    Type::Id(id) => resource(wit, id).is_some_and(|resource| WITHOUT_HANDLES.contains(&resource)),
                    _ => false,
                };
                let is_called = !function_of.params.iter().any(takes);
                let list = if is_called { &mut imports.called } else { &mut imports.uncalled };
                list.push(function(wit, &name, function_of));
            }
            for (resource, id) in &interface.types {
                if matches!(wit.types[*id].kind, TypeDefKind::Resource) {
                    let is_called = !WITHOUT_HANDLES.contains(&resource.as_str());
                    let list = if is_called { &mut imports.called } else { &mut imports.uncalled };
                    list.push(Import {
                        interface: name.clone(),
                        function: format!("[resource-drop]{resource}"),
                        params: vec![WasmType::I32],
                        results: Vec::new(),
                        arguments: format!("(call $some-{resource})"),
                    });
                }
            }
            imports.interfaces.push(name);
        }
    }
    imports
}

/// Gets a handle of each resource.
const SOME: &str = r#"
    (func $some-descriptor (result i32)
      (call $get-directories (i32.const 8))
      (i32.load (i32.load (i32.const 8))))
    (func $file (result i32)
      (call $open-at (call $some-descriptor) (i32.const 0) (i32.const 520) (i32.const 1) (i32.const 1) (i32.const 3) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then unreachable))
      (i32.load (i32.const 20)))
    (func $some-directory-entry-stream (result i32)
      (call $read-directory (call $some-descriptor) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then unreachable))
      (i32.load (i32.const 20)))
    (func $some-input-stream (result i32) (call $get-stdin))
    (func $some-output-stream (result i32) (call $get-stdout))
    (func $some-pollable (result i32) (call $subscribe-duration (i64.const 1)))
    (func $one-pollable (result i32) (i32.store (i32.const 512) (call $some-pollable)) (i32.const 512))
    (func $some-error (result i32)
      (call $write-via-stream (call $file) (i64.const 0x7fffffffffffffff) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then unreachable))
      (call $stream-write (i32.load (i32.const 20)) (i32.const 520) (i32.const 1) (i32.const 24))
      (if (i32.eqz (i32.load8_u (i32.const 24))) (then unreachable))
      (if (i32.load8_u (i32.const 28)) (then unreachable))
      (i32.load (i32.const 32)))
    (data (i32.const 520) "x")
    (func $some-network (result i32) (call $instance-network))
    (func $some-fields (result i32) (call $new-fields))
    (func $some-request-options (result i32) (call $new-options))
    (func $some-outgoing-request (result i32) (call $new-request (call $new-fields)))
    (func $some-outgoing-response (result i32) (call $new-response (call $new-fields)))
    (func $some-outgoing-body (result i32)
      (call $request-body (call $some-outgoing-request) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then unreachable))
      (i32.load (i32.const 20)))
    (func $some-future-incoming-response (result i32) (local $request i32)
      (local.set $request (call $some-outgoing-request))
      (if (call $set-scheme (local.get $request) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)) (then unreachable))
      (if (call $set-authority (local.get $request) (i32.const 1) (i32.const 528) (i32.load8_u (i32.const 527))) (then unreachable))
      (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then unreachable))
      (i32.load (i32.const 24)))
    (func $some-incoming-response (result i32) (local $future i32)
      (local.set $future (call $some-future-incoming-response))
      (call $block (call $future-subscribe (local.get $future)))
      (call $future-get (local.get $future) (i32.const 16))
      (if (i32.load8_u (i32.const 32)) (then unreachable))
      (i32.load (i32.const 40)))
    (func $some-incoming-body (result i32)
      (call $consume (call $some-incoming-response) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then unreachable))
      (i32.load (i32.const 20)))
    (func $some-future-trailers (result i32) (call $body-finish (call $some-incoming-body)))"#;

/// A component that imports everything, with a tool `call-N` for each function that can be called. Requests go to `authority`.
fn caller(Imports { interfaces, called: imports, uncalled }: &Imports, authority: &str) -> Vec<u8> {
    let mut core = String::new();
    for (index, import) in imports.iter().chain(uncalled).enumerate() {
        let params: Vec<&str> = import.params.iter().map(|ty| wasm(*ty)).collect();
        let results: Vec<&str> = import.results.iter().map(|ty| wasm(*ty)).collect();
        writeln!(
            core,
            "(import \"{}\" \"{}\" (func $import-{index} (param {}) (result {})))",
            import.interface,
            import.function,
            params.join(" "),
            results.join(" ")
        )
        .unwrap();
    }
    for (name, function, ty) in [
        ("get-directories", "wasi:filesystem/preopens#get-directories", "(param i32)"),
        ("open-at", "wasi:filesystem/types#[method]descriptor.open-at", "(param i32 i32 i32 i32 i32 i32 i32)"),
        ("read-directory", "wasi:filesystem/types#[method]descriptor.read-directory", "(param i32 i32)"),
        ("write-via-stream", "wasi:filesystem/types#[method]descriptor.write-via-stream", "(param i32 i64 i32)"),
        ("stream-write", "wasi:io/streams#[method]output-stream.write", "(param i32 i32 i32 i32)"),
        ("get-stdin", "wasi:cli/stdin#get-stdin", "(result i32)"),
        ("get-stdout", "wasi:cli/stdout#get-stdout", "(result i32)"),
        ("instance-network", "wasi:sockets/instance-network#instance-network", "(result i32)"),
        ("subscribe-duration", "wasi:clocks/monotonic-clock#subscribe-duration", "(param i64) (result i32)"),
        ("new-fields", "wasi:http/types#[constructor]fields", "(result i32)"),
        ("new-options", "wasi:http/types#[constructor]request-options", "(result i32)"),
        ("new-request", "wasi:http/types#[constructor]outgoing-request", "(param i32) (result i32)"),
        ("new-response", "wasi:http/types#[constructor]outgoing-response", "(param i32) (result i32)"),
        ("request-body", "wasi:http/types#[method]outgoing-request.body", "(param i32 i32)"),
        (
            "set-scheme",
            "wasi:http/types#[method]outgoing-request.set-scheme",
            "(param i32 i32 i32 i32 i32) (result i32)",
        ),
        (
            "set-authority",
            "wasi:http/types#[method]outgoing-request.set-authority",
            "(param i32 i32 i32 i32) (result i32)",
        ),
        ("handle", "wasi:http/outgoing-handler#handle", "(param i32 i32 i32 i32)"),
        ("block", "wasi:io/poll#[method]pollable.block", "(param i32)"),
        ("future-subscribe", "wasi:http/types#[method]future-incoming-response.subscribe", "(param i32) (result i32)"),
        ("future-get", "wasi:http/types#[method]future-incoming-response.get", "(param i32 i32)"),
        ("consume", "wasi:http/types#[method]incoming-response.consume", "(param i32 i32)"),
        ("body-finish", "wasi:http/types#[static]incoming-body.finish", "(param i32) (result i32)"),
    ] {
        // A name for the function that is imported above.
        let index = imports.iter().position(|import| import.traced() == function).expect("it is provided");
        let params = ty.matches("i32").count() + ty.matches("i64").count() - ty.matches("result").count();
        let arguments: String = (0..params).map(|at| format!("(local.get {at}) ")).collect();
        writeln!(core, "(func ${name} {ty} (call $import-{index} {arguments}))").unwrap();
    }
    core += SOME;
    writeln!(core, "(data (i32.const 527) \"\\{:02x}{authority}\")", authority.len()).unwrap();
    let mut exports = String::new();
    for (index, import) in imports.iter().enumerate() {
        let drop = "drop ".repeat(import.results.len());
        writeln!(core, "(func (export \"call-{index}\") (call $import-{index} {}) {drop})", import.arguments).unwrap();
        writeln!(exports, "export call-{index}: func();").unwrap();
    }
    let interfaces: Vec<&str> = interfaces.iter().map(String::as_str).collect();
    host_tests::Guest { imports: &interfaces, exports: &exports, core: &core }.build()
}

#[test]
fn every_function_that_can_be_imported_is_in_the_trace_when_it_is_called() {
    let all = imports(guest::wit());
    let Imports { interfaces, called: imports, uncalled } = &all;
    assert_eq!(interfaces.len(), 35, "{interfaces:#?}");
    assert!(imports.len() >= 135, "only {} functions were found", imports.len());
    // Every method of a socket among them.
    assert!(uncalled.len() >= 60, "only {} functions need a handle that there is not", uncalled.len());
    let server = Server::new(|_| ok("x"));
    let bytes = caller(&all, &server.authority());
    let grant = format!("{READ_WRITE}\nsockets = \"closed\"\n{}", server.granted("/*", &["GET"]));
    let host = TestHost::with(&policy("", &grant), &[("guest", &bytes)]);
    let component = Component::new(&verifier::engine(), &bytes).expect("it compiles");
    let mut verified = 0;
    for (index, import) in imports.iter().enumerate() {
        let run = host.call(&format!("guest.call-{index}"), json!({}));
        let name = import.traced();
        let called = run.trace.called();
        assert_eq!(called.last(), Some(&name.as_str()), "{called:?}, {:?}", run.outcome());
        // Both replayers come to the same end.
        host.replay_equals(&run);
        match run.outcome() {
            Outcome::Completed { .. } => {
                verifier::verify_compiled(&component, &run.trace, &run.trace.steps()[0])
                    .unwrap_or_else(|error| panic!("{name}: {error:?}"));
                verified += 1;
            }
            Outcome::Trapped { message, .. } => {
                assert!(name.starts_with("wasi:cli/exit#"), "{name} traps: {message}");
            }
            other => panic!("{name}: {other:?}"),
        }
        let steps = run.trace.steps();
        let trapped = steps[0].calls.iter().find(|call| call["result"].get("trap").is_some());
        assert_eq!(trapped, None);
    }
    assert!(verified >= imports.len() - 2);
}

/// The tables and the list of what may be imported name the same interfaces; those of which nothing can be called may be in no table.
#[test]
fn what_loading_lets_through_is_what_is_linked() {
    let mut wrapped = BTreeSet::new();
    for (path, text) in host_tests::repo::rust_files("host/src/sandbox/interfaces") {
        for literal in text.split('"').skip(1).step_by(2) {
            if let Some((interface, _)) = literal.split_once('#') {
                assert!(interface.contains(':'), "{path}: {literal}");
                wrapped.insert(interface.to_owned());
            }
        }
    }
    let Imports { interfaces, called, .. } = imports(guest::wit());
    let unversioned = |name: &String| name.split('@').next().expect("a name").to_owned();
    let provided: BTreeSet<String> = interfaces.iter().map(unversioned).collect();
    let called: BTreeSet<String> = called.iter().map(|import| unversioned(&import.interface)).collect();
    assert!(wrapped.is_subset(&provided), "{wrapped:?}");
    assert!(called.is_subset(&wrapped), "{called:?}");
}
