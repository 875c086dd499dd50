//! The machine a guest runs on: its time, its randomness, its environment.

use serde_json::json;
use skillhost::limits::LimitKind;

use super::case::{CANARY, Case, Expect, Family, case, probe};
use super::wat;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            Family::Machine,
            "huge random",
            "asks for 2^63 random bytes",
            || wat::body("(call $random (i64.const 0x8000000000000000) (i32.const 16))"),
            Expect::Limit(LimitKind::Random),
        ),
        case(
            Family::Machine,
            "huge insecure random",
            "asks for 2^64 - 1 bytes of the insecure kind",
            || wat::body("(call $insecure (i64.const -1) (i32.const 16))"),
            Expect::Limit(LimitKind::Random),
        ),
        case(
            Family::Machine,
            "random flood",
            "draws random bytes until its disk is full",
            || wat::body("(loop $l (call $random (i64.const 60000) (i32.const 16)) (br $l))"),
            Expect::Limit(LimitKind::Trace),
        )
        .limits("trace_bytes = 3_000_000\nmemory_bytes = 1_073_741_824"),
        case(
            Family::Machine,
            "timing",
            "measures with its clock how long a million instructions take, and a host call",
            || {
                wat::guest(
                    "export go: func() -> tuple<u64, u64>;",
                    r#"(func (export "go") (result i32) (local $t i64) (local $i i32)
                      (local.set $t (call $now))
                      (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000000))))
                      (i64.store (i32.const 16) (i64.sub (call $now) (local.get $t)))
                      (local.set $t (call $now))
                      (drop (call $random-u64))
                      (i64.store (i32.const 24) (i64.sub (call $now) (local.get $t)))
                      (i32.const 16))"#,
                )
            },
            Expect::Answer(json!([1_000_000, 1_000_000])),
        ),
        case(
            Family::Machine,
            "date",
            "reads the date to learn when and where it runs",
            || {
                wat::guest(
                    "export go: func() -> u64;",
                    r#"(func (export "go") (result i64) (call $wall (i32.const 16)) (i64.load (i32.const 16)))"#,
                )
            },
            // The start of 2026, which is where a plan's time starts.
            Expect::Answer(json!(1_767_225_600)),
        ),
        case(
            Family::Machine,
            "deadline",
            "watches the time that is left to it for signs of the machine's speed",
            || {
                wat::guest(
                    "export go: func() -> u64;",
                    r#"(func (export "go") (result i64) (local $i i32)
                      (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10000000))))
                      (call $remaining-time))"#,
                )
            },
            Expect::Answer(json!(20_000)),
        ),
        case(
            Family::Machine,
            "clock flood",
            "reads the clock without end",
            || wat::body("(loop $l (call $wall (i32.const 16)) (br $l))"),
            Expect::Limit(LimitKind::HostCalls),
        )
        .limits("host_calls = 5_000"),
        case(
            Family::Machine,
            "environment",
            "reads its environment, of which the host has one",
            || {
                wat::guest(
                    "export go: func() -> list<tuple<string, string>>;",
                    r#"(func (export "go") (result i32) (call $env (i32.const 16)) (i32.const 16))"#,
                )
            },
            Expect::Answer(json!([])),
        )
        .after(|_| {
            assert!(std::env::var_os(super::INSIDE).is_some_and(|value| value == CANARY), "there is something to find");
        }),
        case(
            Family::Machine,
            "arguments",
            "reads its arguments for the host's",
            || {
                wat::guest(
                    "export go: func() -> list<string>;",
                    r#"(func (export "go") (result i32) (call $arguments (i32.const 16)) (i32.const 16))"#,
                )
            },
            Expect::Answer(json!(["guest"])),
        ),
        probe(
            Family::Machine,
            "inode",
            "looks at a file's metadata for times of the machine",
            &["stat", "/workspace/inner"],
            Expect::Answer(json!({
                "exit_code": 0,
                "stdout": "size 6\nkind file\nmodified 0\n",
                "stderr": "",
                "stdout_bytes": null,
            })),
        )
        .grant(host_tests::plan::READ_ONLY),
    ]
}
