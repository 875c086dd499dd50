//! The guests that are measured, as WAT text, so that nothing but the host is in the figures.

/// 2 MiB of memory with data in it, and a function that makes no host call.
pub const ADD: &str = r#"(component
  (core module $m
    (memory (export "memory") 32)
    (data (i32.const 4096) "some data, so that a fresh memory has something to be made from")
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
  (core instance $i (instantiate $m))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add"))))"#;

/// Reads the monotonic clock `n` times: a host call that does next to nothing.
pub const CLOCK: &str = r#"(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $c (export "now" (func (result u64)))))
  (core func $now (canon lower (func $c "now")))
  (core module $m
    (import "c" "now" (func $now (result i64)))
    (func (export "clock") (param $n i32) (result i64) (local $i i32) (local $s i64)
      (loop $l
        (local.set $s (i64.add (local.get $s) (call $now)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (local.get $n))))
      (local.get $s)))
  (core instance $i (instantiate $m (with "c" (instance (export "now" (func $now))))))
  (func (export "clock") (param "n" u32) (result u64) (canon lift (core func $i "clock"))))"#;

/// Opens a file in the first granted directory and writes `len` bytes to its beginning `n` times.
pub const WRITES: &str = r#"(component
  (import "wasi:filesystem/types@0.2.0" (instance $fs
    (export "descriptor" (type $d (sub resource)))
    (type $ec' (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large"
      "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop" "too-many-links" "message-size"
      "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space" "not-directory" "not-empty"
      "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted" "pipe" "read-only" "invalid-seek"
      "text-file-busy" "cross-device"))
    (export "error-code" (type $ec (eq $ec')))
    (type $pf' (flags "symlink-follow")) (export "path-flags" (type $pf (eq $pf')))
    (type $of' (flags "create" "directory" "exclusive" "truncate")) (export "open-flags" (type $of (eq $of')))
    (type $df' (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $df (eq $df')))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $d)) (param "path-flags" $pf) (param "path" string)
      (param "open-flags" $of) (param "flags" $df) (result (result (own $d) (error $ec)))))
    (export "[method]descriptor.write" (func (param "self" (borrow $d)) (param "buffer" (list u8)) (param "offset" u64)
      (result (result u64 (error $ec)))))))
  (alias export $fs "descriptor" (type $desc))
  (import "wasi:filesystem/preopens@0.2.0" (instance $pre
    (alias outer 1 $desc (type $d2))
    (export "descriptor" (type $d3 (eq $d2)))
    (export "get-directories" (func (result (list (tuple (own $d3) string)))))))
  (core module $libc
    (memory (export "memory") 32)
    (global $next (mut i32) (i32.const 1048576))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16))))
      (i32.sub (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16)))))
  (core instance $libc (instantiate $libc))
  (core func $open (canon lower (func $fs "[method]descriptor.open-at") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $write (canon lower (func $fs "[method]descriptor.write") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $dirs (canon lower (func $pre "get-directories") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 32))
    (import "fs" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "fs" "write" (func $write (param i32 i32 i32 i64 i32)))
    (import "fs" "dirs" (func $dirs (param i32)))
    (data (i32.const 64) "out.bin")
    (func (export "writes") (param $n i32) (param $len i32) (result i32) (local $i i32) (local $fd i32)
      (call $dirs (i32.const 16))
      (call $open (i32.load (i32.load (i32.const 16))) (i32.const 0) (i32.const 64) (i32.const 7) (i32.const 9) (i32.const 3)
        (i32.const 24))
      (if (i32.load8_u (i32.const 24)) (then unreachable))
      (local.set $fd (i32.load (i32.const 28)))
      (loop $l
        (call $write (local.get $fd) (i32.const 1024) (local.get $len) (i64.const 0) (i32.const 40))
        (if (i32.load8_u (i32.const 40)) (then unreachable))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (local.get $n))))
      (local.get $i)))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "fs" (instance
    (export "open" (func $open)) (export "write" (func $write)) (export "dirs" (func $dirs))))))
  (func (export "writes") (param "n" u32) (param "len" u32) (result u32) (canon lift (core func $i "writes"))))"#;
