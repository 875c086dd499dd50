//! WebAssembly text for guests: the functions of WASI by short names, imported where a text calls them.

use std::fmt::Write as _;

use host_tests::Guest;

const PREOPENS: &str = "wasi:filesystem/preopens@0.2.12";
const FILES: &str = "wasi:filesystem/types@0.2.12";
const STREAMS: &str = "wasi:io/streams@0.2.12";
const ERROR: &str = "wasi:io/error@0.2.12";
const POLL: &str = "wasi:io/poll@0.2.12";
const MONOTONIC: &str = "wasi:clocks/monotonic-clock@0.2.12";
const WALL: &str = "wasi:clocks/wall-clock@0.2.12";
const RANDOM: &str = "wasi:random/random@0.2.12";
const INSECURE: &str = "wasi:random/insecure@0.2.12";
const LOG: &str = "skillhost:skill/log@0.1.0";
const SOCKETS: [&str; 4] = [
    "wasi:sockets/instance-network@0.2.12",
    "wasi:sockets/tcp-create-socket@0.2.12",
    "wasi:sockets/udp-create-socket@0.2.12",
    "wasi:sockets/ip-name-lookup@0.2.12",
];
const CONTEXT: &str = "skillhost:skill/context@0.1.0";

/// Short name, interface, function, signature.
const FUNCTIONS: &[(&str, &str, &str, &str)] = &[
    ("dirs", PREOPENS, "get-directories", "(param i32)"),
    // self, path flags, path, open flags, descriptor flags, result
    ("open", FILES, "[method]descriptor.open-at", "(param i32 i32 i32 i32 i32 i32 i32)"),
    ("mkdir", FILES, "[method]descriptor.create-directory-at", "(param i32 i32 i32 i32)"),
    ("unlink", FILES, "[method]descriptor.unlink-file-at", "(param i32 i32 i32 i32)"),
    ("rmdir", FILES, "[method]descriptor.remove-directory-at", "(param i32 i32 i32 i32)"),
    ("rename", FILES, "[method]descriptor.rename-at", "(param i32 i32 i32 i32 i32 i32 i32)"),
    ("symlink", FILES, "[method]descriptor.symlink-at", "(param i32 i32 i32 i32 i32 i32)"),
    ("link", FILES, "[method]descriptor.link-at", "(param i32 i32 i32 i32 i32 i32 i32 i32)"),
    ("set-times", FILES, "[method]descriptor.set-times-at", "(param i32 i32 i32 i32 i32 i64 i32 i32 i64 i32 i32)"),
    ("read-dir", FILES, "[method]descriptor.read-directory", "(param i32 i32)"),
    ("drop-entries", FILES, "[resource-drop]directory-entry-stream", "(param i32)"),
    ("next-entry", FILES, "[method]directory-entry-stream.read-directory-entry", "(param i32 i32)"),
    ("read", FILES, "[method]descriptor.read", "(param i32 i64 i64 i32)"),
    ("write", FILES, "[method]descriptor.write", "(param i32 i32 i32 i64 i32)"),
    ("set-size", FILES, "[method]descriptor.set-size", "(param i32 i64 i32)"),
    ("advise", FILES, "[method]descriptor.advise", "(param i32 i64 i64 i32 i32)"),
    ("file-in", FILES, "[method]descriptor.read-via-stream", "(param i32 i64 i32)"),
    ("file-out", FILES, "[method]descriptor.write-via-stream", "(param i32 i64 i32)"),
    ("drop-descriptor", FILES, "[resource-drop]descriptor", "(param i32)"),
    ("stdin", "wasi:cli/stdin@0.2.12", "get-stdin", "(result i32)"),
    ("stdout", "wasi:cli/stdout@0.2.12", "get-stdout", "(result i32)"),
    ("stderr", "wasi:cli/stderr@0.2.12", "get-stderr", "(result i32)"),
    ("in-read", STREAMS, "[method]input-stream.read", "(param i32 i64 i32)"),
    ("in-blocking-read", STREAMS, "[method]input-stream.blocking-read", "(param i32 i64 i32)"),
    ("in-subscribe", STREAMS, "[method]input-stream.subscribe", "(param i32) (result i32)"),
    ("drop-in", STREAMS, "[resource-drop]input-stream", "(param i32)"),
    ("out-write", STREAMS, "[method]output-stream.write", "(param i32 i32 i32 i32)"),
    ("out-flush-write", STREAMS, "[method]output-stream.blocking-write-and-flush", "(param i32 i32 i32 i32)"),
    ("out-zeroes", STREAMS, "[method]output-stream.write-zeroes", "(param i32 i64 i32)"),
    ("out-splice", STREAMS, "[method]output-stream.splice", "(param i32 i32 i64 i32)"),
    ("out-subscribe", STREAMS, "[method]output-stream.subscribe", "(param i32) (result i32)"),
    ("drop-out", STREAMS, "[resource-drop]output-stream", "(param i32)"),
    ("to-debug-string", ERROR, "[method]error.to-debug-string", "(param i32 i32)"),
    ("timer-in", MONOTONIC, "subscribe-duration", "(param i64) (result i32)"),
    ("timer-at", MONOTONIC, "subscribe-instant", "(param i64) (result i32)"),
    ("now", MONOTONIC, "now", "(result i64)"),
    ("wall", WALL, "now", "(param i32)"),
    ("network", SOCKETS[0], "instance-network", "(result i32)"),
    ("tcp", SOCKETS[1], "create-tcp-socket", "(param i32 i32)"),
    ("udp", SOCKETS[2], "create-udp-socket", "(param i32 i32)"),
    // network, name, result
    ("resolve", SOCKETS[3], "resolve-addresses", "(param i32 i32 i32 i32)"),
    ("block", POLL, "[method]pollable.block", "(param i32)"),
    ("ready", POLL, "[method]pollable.ready", "(param i32) (result i32)"),
    ("poll", POLL, "poll", "(param i32 i32 i32)"),
    ("drop-pollable", POLL, "[resource-drop]pollable", "(param i32)"),
    ("random", RANDOM, "get-random-bytes", "(param i64 i32)"),
    ("random-u64", RANDOM, "get-random-u64", "(result i64)"),
    ("insecure", INSECURE, "get-insecure-random-bytes", "(param i64 i32)"),
    ("env", "wasi:cli/environment@0.2.12", "get-environment", "(param i32)"),
    ("arguments", "wasi:cli/environment@0.2.12", "get-arguments", "(param i32)"),
    ("fields", "wasi:http/types@0.2.12", "[constructor]fields", "(result i32)"),
    ("exit", "wasi:cli/exit@0.2.12", "exit", "(param i32)"),
    ("exit-code", "wasi:cli/exit@0.2.12", "exit-with-code", "(param i32)"),
    // level, event, fields
    ("log", LOG, "log", "(param i32 i32 i32 i32 i32)"),
    ("remaining-time", CONTEXT, "remaining-time-ms", "(result i64)"),
];

/// The first granted directory, and the second.
const DIRECTORIES: &str = r#"
    (func $first (result i32) (call $dirs (i32.const 8)) (i32.load (i32.load (i32.const 8))))
    (func $second (result i32) (call $dirs (i32.const 8)) (i32.load offset=12 (i32.load (i32.const 8))))"#;

/// A guest with these exports. `core` calls functions of WASI by their short names; below 64 KiB memory is its own.
pub(super) fn guest(exports: &str, core: &str) -> Vec<u8> {
    let directories = if core.contains("$first") || core.contains("$second") { DIRECTORIES } else { "" };
    let body = format!("{directories}{core}");
    let (mut imports, mut text) = (Vec::new(), String::new());
    for (name, interface, function, ty) in FUNCTIONS {
        let is_called = |call: &str| body.match_indices(call).any(|(at, _)| ends_name(&body[at + call.len()..]));
        if !is_called(&format!("call ${name}")) && !is_called(&format!("ref.func ${name}")) {
            continue;
        }
        writeln!(text, "(import \"{interface}\" \"{function}\" (func ${name} {ty}))").expect("a string grows");
        if !imports.contains(interface) {
            imports.push(*interface);
        }
    }
    if exports.contains("wasi:filesystem/types") && !imports.contains(&FILES) {
        imports.push(FILES);
    }
    Guest { imports: &imports, exports, core: &format!("{text}{body}") }.build()
}

fn ends_name(rest: &str) -> bool {
    !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-')
}

/// A guest whose tool `go` takes and returns nothing.
pub(super) fn go(core: &str) -> Vec<u8> {
    guest("export go: func();", core)
}

/// The same with this body of `go`.
pub(super) fn body(code: &str) -> Vec<u8> {
    go(&format!("(func (export \"go\") (local $i i32) (local $n i32) {code})"))
}

/// A guest whose tool `go` returns what the filesystem says. The code leaves a `result` at address 16 as WASI writes it: the error code is
/// at 17 where the success has no value, else at `wide`. `fields` are of the module.
pub(super) fn attempt_with(fields: &str, code: &str, wide: Option<u32>) -> Vec<u8> {
    let narrow =
        wide.map(|at| format!("(i32.store8 (i32.const 17) (i32.load8_u (i32.const {at})))")).unwrap_or_default();
    guest(
        "use wasi:filesystem/types@0.2.12.{error-code}; export go: func() -> result<_, error-code>;",
        &format!(
            "{fields}
             (func (export \"go\") (result i32) (local $f i32) (local $i i32) {code} {narrow} (i32.const 16))
             (func $open-file (param $d i32) (param $p i32) (param $n i32) (param $flags i32) (result i32)
               (call $open (local.get $d) (i32.const 1) (local.get $p) (local.get $n) (i32.const 0) (local.get $flags) (i32.const 40))
               (if (i32.load8_u (i32.const 40)) (then unreachable))
               (i32.load (i32.const 44)))"
        ),
    )
}
