//! A guest that sends requests, from WebAssembly text: every call it makes of `wasi:http` stands here, so that a test knows what a trace
//! must have.

use crate::Guest;

/// The interfaces it imports.
pub const IMPORTS: [&str; 6] = [
    "wasi:http/types@0.2.12",
    "wasi:http/outgoing-handler@0.2.12",
    "wasi:io/poll@0.2.12",
    "wasi:io/streams@0.2.12",
    "wasi:io/error@0.2.12",
    "wasi:clocks/monotonic-clock@0.2.12",
];

/// Its tools. `method` and an error are the numbers of their cases in WIT; a response's body beyond 32 KiB is counted and hashed (FNV-1a)
/// and not given.
///
/// * `fetch` sends a request, with `body` in pieces of 4 KiB where there is one, and follows one redirect where `follow` is not 0.
/// * `upload` sends `bytes` bytes of its memory as fast as it is let.
/// * `two` has two requests under way at one time and gives their statuses in the order of its arguments.
/// * `many` starts `n` requests, waits for all, and gives how many got a response, and the error of the last that got none.
/// * `abandon` starts a request and returns.
/// * `wait` starts a request and waits for its response or for `ms` milliseconds of its clock: 1 where the response was first, 2 where
///   the time was.
pub const TOOLS: &str = r"
    record answer { status: u16, total: u64, hash: u32, body: list<u8>, trailers: u32 }
    export fetch: func(method: u8, authority: string, path: string, name: string, value: list<u8>, body: list<u8>, follow: u8) -> result<answer, u8>;
    export upload: func(authority: string, path: string, bytes: u32) -> result<answer, u8>;
    export two: func(authority: string, first: string, second: string) -> tuple<u16, u16>;
    export many: func(authority: string, path: string, n: u32) -> tuple<u32, u32>;
    export abandon: func(authority: string, path: string);
    export wait: func(authority: string, path: string, ms: u32) -> u32;";

/// The module. Memory: 0..256 results of host calls, 256..320 the answer, 1024..4096 handles, 4096..36864 a body.
pub const CORE: &str = r#"
  (import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.12" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]fields.get" (func $get-field (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]fields.entries" (func $entries (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[resource-drop]fields" (func $drop-fields (param i32)))
  (import "wasi:http/types@0.2.12" "[constructor]outgoing-request" (func $new-request (param i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-request.set-method" (func $set-method (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-request.set-scheme" (func $set-scheme (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-request.set-authority" (func $set-authority (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-request.set-path-with-query" (func $set-path (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-request.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-body.write" (func $body-write (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]outgoing-body.finish" (func $body-finish (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]future-incoming-response.subscribe" (func $subscribe (param i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]future-incoming-response.get" (func $get-response (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[resource-drop]future-incoming-response" (func $drop-future (param i32)))
  (import "wasi:http/types@0.2.12" "[method]incoming-response.status" (func $status (param i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]incoming-response.headers" (func $headers (param i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]incoming-response.consume" (func $consume (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[resource-drop]incoming-response" (func $drop-response (param i32)))
  (import "wasi:http/types@0.2.12" "[method]incoming-body.stream" (func $stream (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]incoming-body.finish" (func $finish (param i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]future-trailers.subscribe" (func $subscribe-trailers (param i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]future-trailers.get" (func $get-trailers (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[resource-drop]future-trailers" (func $drop-trailers (param i32)))
  (import "wasi:http/outgoing-handler@0.2.12" "handle" (func $handle (param i32 i32 i32 i32)))
  (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.12" "poll" (func $poll (param i32 i32 i32)))
  (import "wasi:io/poll@0.2.12" "[resource-drop]pollable" (func $drop-pollable (param i32)))
  (import "wasi:io/streams@0.2.12" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
  (import "wasi:io/streams@0.2.12" "[resource-drop]input-stream" (func $drop-input (param i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush" (func $write-and-flush (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.check-write" (func $check-write (param i32 i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.subscribe" (func $subscribe-output (param i32) (result i32)))
  (import "wasi:io/streams@0.2.12" "[resource-drop]output-stream" (func $drop-output (param i32)))
  (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $timer (param i64) (result i32)))
  (import "wasi:io/error@0.2.12" "[resource-drop]error" (func $drop-error (param i32)))
  (import "wasi:http/types@0.2.12" "http-error-code" (func $error-code (param i32 i32)))
  (data (i32.const 512) "location")

  ;; A request by plain HTTP. A step of it that is refused ends the guest.
  (func $request (param $method i32) (param $authority i32) (param $authority-len i32) (param $path i32) (param $path-len i32)
      (param $fields i32) (result i32) (local $request i32)
    (local.set $request (call $new-request (local.get $fields)))
    (if (call $set-method (local.get $request) (local.get $method) (i32.const 0) (i32.const 0)) (then unreachable))
    (if (call $set-scheme (local.get $request) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)) (then unreachable))
    (if (call $set-authority (local.get $request) (i32.const 1) (local.get $authority) (local.get $authority-len)) (then unreachable))
    (if (call $set-path (local.get $request) (i32.const 1) (local.get $path) (local.get $path-len)) (then unreachable))
    (local.get $request))
  (func $plain (param $authority i32) (param $authority-len i32) (param $path i32) (param $path-len i32) (result i32)
    (call $request (i32.const 0) (local.get $authority) (local.get $authority-len) (local.get $path) (local.get $path-len) (call $fields)))

  ;; The future, or -1 less the error.
  (func $send (param $request i32) (result i32)
    (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const 16))
    (if (result i32) (i32.load8_u (i32.const 16))
      (then (i32.sub (i32.const -1) (i32.load8_u (i32.const 24))))
      (else (i32.load (i32.const 24)))))

  ;; The response, or -1 less the error.
  (func $await (param $future i32) (result i32) (local $pollable i32)
    (if (i32.lt_s (local.get $future) (i32.const 0)) (then (return (local.get $future))))
    (local.set $pollable (call $subscribe (local.get $future)))
    (call $block (local.get $pollable))
    (call $drop-pollable (local.get $pollable))
    (call $get-response (local.get $future) (i32.const 16))
    (if (i32.eqz (i32.load8_u (i32.const 16))) (then unreachable))
    (if (i32.load8_u (i32.const 24)) (then unreachable))
    (call $drop-future (local.get $future))
    (if (result i32) (i32.load8_u (i32.const 32))
      (then (i32.sub (i32.const -1) (i32.load8_u (i32.const 40))))
      (else (i32.load (i32.const 40)))))

  ;; The error of a stream that ended, as -1 less it; 0 where it was closed.
  (func $ended (param $at i32) (result i32) (local $error i32) (local $code i32)
    (if (i32.load8_u offset=4 (local.get $at)) (then (return (i32.const 0))))
    (local.set $error (i32.load offset=8 (local.get $at)))
    (call $error-code (local.get $error) (i32.const 128))
    (local.set $code (i32.const -256))
    (if (i32.load8_u (i32.const 128)) (then (local.set $code (i32.sub (i32.const -1) (i32.load8_u (i32.const 136))))))
    (call $drop-error (local.get $error))
    (local.get $code))

  ;; Reads a response to its end into the answer at 256.
  (func $answer (param $response i32) (result i32)
      (local $body i32) (local $stream i32) (local $at i32) (local $len i32) (local $end i32) (local $hash i32) (local $kept i32)
      (local $total i64) (local $error i32) (local $trailers i32) (local $pollable i32)
    (i32.store8 (i32.const 256) (i32.const 1))
    (if (i32.lt_s (local.get $response) (i32.const 0))
      (then (i32.store8 (i32.const 264) (i32.sub (i32.const -1) (local.get $response))) (return (i32.const 256))))
    (i32.store16 (i32.const 264) (call $status (local.get $response)))
    (call $consume (local.get $response) (i32.const 16))
    (local.set $body (i32.load (i32.const 20)))
    (call $drop-response (local.get $response))
    (call $stream (local.get $body) (i32.const 16))
    (local.set $stream (i32.load (i32.const 20)))
    (local.set $hash (i32.const 0x811c9dc5))
    (block $done
      (loop $more
        (call $read (local.get $stream) (i64.const 65536) (i32.const 16))
        (if (i32.load8_u (i32.const 16)) (then (local.set $error (call $ended (i32.const 16))) (br $done)))
        (local.set $at (i32.load (i32.const 20)))
        (local.set $len (i32.load (i32.const 24)))
        (local.set $total (i64.add (local.get $total) (i64.extend_i32_u (local.get $len))))
        (if (i32.le_u (i32.add (local.get $kept) (local.get $len)) (i32.const 32768))
          (then
            (memory.copy (i32.add (i32.const 4096) (local.get $kept)) (local.get $at) (local.get $len))
            (local.set $kept (i32.add (local.get $kept) (local.get $len)))))
        (local.set $end (i32.add (local.get $at) (local.get $len)))
        (loop $bytes
          (if (i32.lt_u (local.get $at) (local.get $end))
            (then
              (local.set $hash (i32.mul (i32.xor (local.get $hash) (i32.load8_u (local.get $at))) (i32.const 0x01000193)))
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (br $bytes))))
        (global.set $next (i32.load (i32.const 20))) ;; The bytes are done with: their memory is used again.
        (br $more)))
    (call $drop-input (local.get $stream))
    (local.set $trailers (call $finish (local.get $body)))
    (if (local.get $error)
      (then
        (call $drop-trailers (local.get $trailers))
        (i32.store8 (i32.const 264) (i32.sub (i32.const -1) (local.get $error)))
        (return (i32.const 256))))
    (local.set $pollable (call $subscribe-trailers (local.get $trailers)))
    (call $block (local.get $pollable))
    (call $drop-pollable (local.get $pollable))
    (call $get-trailers (local.get $trailers) (i32.const 16))
    (call $drop-trailers (local.get $trailers))
    (i32.store (i32.const 292) (i32.const 0))
    (if (i32.and (i32.eqz (i32.load8_u (i32.const 32))) (i32.load8_u (i32.const 40)))
      (then
        (call $entries (i32.load (i32.const 44)) (i32.const 128))
        (call $drop-fields (i32.load (i32.const 44)))
        (i32.store (i32.const 292) (i32.load (i32.const 132)))))
    (i32.store8 (i32.const 256) (i32.const 0))
    (i64.store (i32.const 272) (local.get $total))
    (i32.store (i32.const 280) (local.get $hash))
    (i32.store (i32.const 284) (i32.const 4096))
    (i32.store (i32.const 288) (local.get $kept))
    (i32.const 256))

  ;; The answer of the URL `http://AUTHORITY/PATH` that a response names, or of the response itself.
  (func $followed (param $response i32) (result i32) (local $headers i32) (local $url i32) (local $len i32) (local $slash i32)
    (if (i32.lt_s (local.get $response) (i32.const 0)) (then (return (call $answer (local.get $response)))))
    (local.set $headers (call $headers (local.get $response)))
    (call $get-field (local.get $headers) (i32.const 512) (i32.const 8) (i32.const 16))
    (call $drop-fields (local.get $headers))
    (if (i32.eqz (i32.load (i32.const 20))) (then (return (call $answer (local.get $response)))))
    (call $drop-response (local.get $response))
    (local.set $url (i32.add (i32.load (i32.load (i32.const 16))) (i32.const 7)))
    (local.set $len (i32.sub (i32.load offset=4 (i32.load (i32.const 16))) (i32.const 7)))
    (loop $next
      (if (i32.ne (i32.load8_u (i32.add (local.get $url) (local.get $slash))) (i32.const 47))
        (then (local.set $slash (i32.add (local.get $slash) (i32.const 1))) (br $next))))
    (call $answer (call $await (call $send (call $plain (local.get $url) (local.get $slash)
      (i32.add (local.get $url) (local.get $slash)) (i32.sub (local.get $len) (local.get $slash)))))))

  (func (export "fetch") (param $method i32) (param $authority i32) (param $authority-len i32) (param $path i32) (param $path-len i32)
      (param $name i32) (param $name-len i32) (param $value i32) (param $value-len i32) (param $bytes i32) (param $bytes-len i32)
      (param $follow i32) (result i32)
      (local $fields i32) (local $request i32) (local $body i32) (local $stream i32) (local $future i32) (local $piece i32)
    (local.set $fields (call $fields))
    (if (local.get $name-len)
      (then
        (call $append (local.get $fields) (local.get $name) (local.get $name-len) (local.get $value) (local.get $value-len) (i32.const 16))
        (if (i32.load8_u (i32.const 16)) (then unreachable))))
    (local.set $request (call $request (local.get $method) (local.get $authority) (local.get $authority-len) (local.get $path)
      (local.get $path-len) (local.get $fields)))
    (if (local.get $bytes-len)
      (then (call $body (local.get $request) (i32.const 16)) (local.set $body (i32.load (i32.const 20)))))
    (local.set $future (call $send (local.get $request)))
    (if (i32.and (i32.ge_s (local.get $future) (i32.const 0)) (i32.ne (local.get $bytes-len) (i32.const 0)))
      (then
        (call $body-write (local.get $body) (i32.const 16))
        (local.set $stream (i32.load (i32.const 20)))
        (loop $more
          (local.set $piece (select (i32.const 4096) (local.get $bytes-len) (i32.gt_u (local.get $bytes-len) (i32.const 4096))))
          (call $write-and-flush (local.get $stream) (local.get $bytes) (local.get $piece) (i32.const 16))
          (if (i32.load8_u (i32.const 16)) (then unreachable))
          (local.set $bytes (i32.add (local.get $bytes) (local.get $piece)))
          (br_if $more (local.tee $bytes-len (i32.sub (local.get $bytes-len) (local.get $piece)))))
        (call $drop-output (local.get $stream))
        (call $body-finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 16))
        (if (i32.load8_u (i32.const 16)) (then unreachable))))
    (if (result i32) (local.get $follow)
      (then (call $followed (call $await (local.get $future))))
      (else (call $answer (call $await (local.get $future))))))

  (func (export "upload") (param $authority i32) (param $authority-len i32) (param $path i32) (param $path-len i32) (param $left i32)
      (result i32) (local $request i32) (local $body i32) (local $stream i32) (local $future i32) (local $piece i32) (local $pollable i32)
    (local.set $request (call $request (i32.const 2) (local.get $authority) (local.get $authority-len) (local.get $path)
      (local.get $path-len) (call $fields)))
    (call $body (local.get $request) (i32.const 16))
    (local.set $body (i32.load (i32.const 20)))
    (local.set $future (call $send (local.get $request)))
    (if (i32.lt_s (local.get $future) (i32.const 0)) (then (return (call $answer (local.get $future)))))
    (call $body-write (local.get $body) (i32.const 16))
    (local.set $stream (i32.load (i32.const 20)))
    (local.set $pollable (call $subscribe-output (local.get $stream)))
    (loop $more
      (call $check-write (local.get $stream) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then unreachable))
      (local.set $piece (i32.wrap_i64 (i64.load (i32.const 24))))
      (if (i32.gt_u (local.get $piece) (local.get $left)) (then (local.set $piece (local.get $left))))
      (if (i32.gt_u (local.get $piece) (i32.const 100000)) (then (local.set $piece (i32.const 100000))))
      (if (local.get $piece)
        (then
          (call $write (local.get $stream) (i32.const 65536) (local.get $piece) (i32.const 16))
          (if (i32.load8_u (i32.const 16)) (then unreachable))
          (local.set $left (i32.sub (local.get $left) (local.get $piece))))
        (else (call $block (local.get $pollable))))
      (br_if $more (local.get $left)))
    (call $drop-pollable (local.get $pollable))
    (call $drop-output (local.get $stream))
    (call $body-finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 16))
    (if (i32.load8_u (i32.const 16)) (then unreachable))
    (call $answer (call $await (local.get $future))))

  (func $status-of (param $response i32) (result i32) (local $status i32)
    (if (i32.lt_s (local.get $response) (i32.const 0)) (then (return (i32.const 0))))
    (local.set $status (call $status (local.get $response)))
    (call $drop-response (local.get $response))
    (local.get $status))

  (func (export "two") (param $authority i32) (param $authority-len i32) (param $a i32) (param $a-len i32) (param $b i32) (param $b-len i32)
      (result i32) (local $first i32) (local $second i32)
    (local.set $first (call $send (call $plain (local.get $authority) (local.get $authority-len) (local.get $a) (local.get $a-len))))
    (local.set $second (call $send (call $plain (local.get $authority) (local.get $authority-len) (local.get $b) (local.get $b-len))))
    (i32.store16 (i32.const 256) (call $status-of (call $await (local.get $first))))
    (i32.store16 (i32.const 258) (call $status-of (call $await (local.get $second))))
    (i32.const 256))

  (func (export "many") (param $authority i32) (param $authority-len i32) (param $path i32) (param $path-len i32) (param $n i32)
      (result i32) (local $i i32) (local $one i32)
    (loop $start
      (i32.store (i32.add (i32.const 1024) (i32.mul (local.get $i) (i32.const 4)))
        (call $send (call $plain (local.get $authority) (local.get $authority-len) (local.get $path) (local.get $path-len))))
      (br_if $start (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (i64.store (i32.const 256) (i64.const 0))
    (local.set $i (i32.const 0))
    (loop $end
      (local.set $one (call $await (i32.load (i32.add (i32.const 1024) (i32.mul (local.get $i) (i32.const 4))))))
      (if (i32.lt_s (local.get $one) (i32.const 0))
        (then (i32.store (i32.const 260) (i32.sub (i32.const -1) (local.get $one))))
        (else (i32.store (i32.const 256) (i32.add (i32.load (i32.const 256)) (i32.const 1)))))
      (br_if $end (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (i32.const 256))

  (func (export "abandon") (param $authority i32) (param $authority-len i32) (param $path i32) (param $path-len i32)
    (drop (call $send (call $plain (local.get $authority) (local.get $authority-len) (local.get $path) (local.get $path-len)))))

  (func (export "wait") (param $authority i32) (param $authority-len i32) (param $path i32) (param $path-len i32) (param $ms i32)
      (result i32) (local $future i32)
    (local.set $future (call $send (call $plain (local.get $authority) (local.get $authority-len) (local.get $path) (local.get $path-len))))
    (i32.store (i32.const 1024) (call $subscribe (local.get $future)))
    (i32.store (i32.const 1028) (call $timer (i64.mul (i64.extend_i32_u (local.get $ms)) (i64.const 1_000_000))))
    (call $poll (i32.const 1024) (i32.const 2) (i32.const 16))
    (if (i32.ne (i32.load (i32.const 20)) (i32.const 1)) (then (return (i32.const 0))))
    (i32.add (i32.load (i32.load (i32.const 16))) (i32.const 1)))"#;

/// The component.
#[must_use]
pub fn http_guest() -> Vec<u8> {
    Guest { imports: &IMPORTS, exports: TOOLS, core: CORE }.build()
}
