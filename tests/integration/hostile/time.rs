//! Time: loops without end, waits without end, and work that costs the host more than the guest's fuel says.

use host_tests::Guest;
use host_tests::plan::READ_WRITE;
use serde_json::json;
use skillhost::limits::LimitKind;

use super::case::{Case, Expect, Family, case};
use super::wat;

/// The deadline of guests that only it ends; they have more fuel than a machine burns in that time.
const DEADLINE: &str = "fuel = 9_000_000_000_000_000\ndeadline_ms = 300\nhost_calls = 1_000_000_000";
/// The deadline half as long again, and what a loaded machine may take for everything around it.
const SECONDS: u64 = 12;

fn spin(name: &'static str, what: &'static str, code: &'static str, limit: LimitKind) -> Case {
    case(Family::Time, name, what, move || wat::body(code), Expect::Limit(limit))
}

/// Ends by its deadline.
fn late(name: &'static str, what: &'static str, code: &'static str) -> Case {
    spin(name, what, code, LimitKind::Deadline).limits(DEADLINE).seconds(SECONDS)
}

/// A guest with an allocator and an epilogue of its own.
fn with_allocator(allocate: &str, post: &str) -> Vec<u8> {
    let core = format!(
        r#"(func (export "go") (param i32 i32) (result i32)
             (i32.store (i32.const 16) (i32.const 1024)) (i32.store (i32.const 20) (i32.const 4)) (i32.const 16))
           (func (export "cabi_post_go") (param i32) {post})
           {ALLOCATE} {allocate})"#
    );
    Guest { imports: &[], exports: "export go: func(text: string) -> string;", core: &core }.build_with_own_allocator()
}

const ALLOCATE: &str = "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        spin("loop", "loops without end", "(loop $l (br $l))", LimitKind::Fuel),
        spin(
            "branch table",
            "jumps through a branch table without end",
            "(loop $l (block $b (br_table $l $l $b (i32.const 0))) (br $l))",
            LimitKind::Fuel,
        ),
        case(
            Family::Time,
            "loop in the start function",
            "loops in the function that runs while it is instantiated",
            || wat::go(r#"(func $s (loop $l (br $l))) (start $s) (func (export "go"))"#),
            Expect::Limit(LimitKind::Fuel),
        ),
        case(
            Family::Time,
            "loop in the allocator",
            "loops in the allocator that the host calls for an argument",
            || with_allocator("(loop $l (br $l)) unreachable", ""),
            Expect::Limit(LimitKind::Fuel),
        )
        .call("guest.go", json!({"text": "some"})),
        case(
            Family::Time,
            "loop after the return",
            "loops in the function that cleans up after the result was read",
            || with_allocator("(i32.const 2048)", "(loop $l (br $l))"),
            Expect::Limit(LimitKind::Fuel),
        )
        .call("guest.go", json!({"text": "some"})),
        late("loop with fuel", "loops with more fuel than there is time", "(loop $l (br $l))"),
        late(
            "bulk memory",
            "fills a hundred megabytes again and again, an instruction each",
            "(drop (memory.grow (i32.const 1500)))
             (loop $l (memory.fill (i32.const 65536) (i32.const 1) (i32.const 98000000)) (br $l))",
        ),
        late("sleep", "sleeps for ten hours on a real clock", "(call $block (call $timer-in (i64.const 36_000_000_000_000)))")
            .grant("clocks = \"real\""),
        late("sleep for ever", "sleeps until the end of time on a real clock", "(call $block (call $timer-in (i64.const -1)))")
            .grant("clocks = \"real\""),
        late(
            "poll timers",
            "polls three timers that are never due on a real clock",
            "(i32.store (i32.const 600) (call $timer-at (i64.const -1)))
             (i32.store (i32.const 604) (call $timer-at (i64.const 0x7fffffffffffffff)))
             (i32.store (i32.const 608) (call $timer-in (i64.const -2)))
             (call $poll (i32.const 600) (i32.const 3) (i32.const 16))",
        )
        .grant("clocks = \"real\""),
        late(
            "host calls",
            "calls the host without end",
            "(loop $l (drop (call $now)) (br $l))",
        ),
        late(
            "host work",
            "makes the host sort and hash without end: a listing in every call",
            "(local.set $n (call $first))
             (loop $l (call $read-dir (local.get $n) (i32.const 16)) (call $drop-entries (i32.load (i32.const 20))) (br $l))",
        )
        .grant(READ_WRITE)
        .set_up(|host| {
            for index in 0..3_000 {
                host.write(&format!("{index}"), "");
            }
        }),
        late(
            "write and sync",
            "writes a megabyte of zeros to the disk without end",
            "(drop (memory.grow (i32.const 17)))
             (i64.store (i32.const 600) (i64.const 0x72656e6e69))
             (call $open (call $first) (i32.const 0) (i32.const 600) (i32.const 5) (i32.const 0) (i32.const 3) (i32.const 16))
             (local.set $n (i32.load (i32.const 20)))
             (loop $l (call $write (local.get $n) (i32.const 65536) (i32.const 1048576) (i64.const 0) (i32.const 16)) (br $l))",
        )
        .grant(READ_WRITE),
    ];
    cases.extend([
        spin(
            "few host calls",
            "calls the host more often than it may",
            "(loop $l (drop (call $now)) (br $l))",
            LimitKind::HostCalls,
        )
        .limits("host_calls = 5_000"),
        spin(
            "reads of nothing",
            "reads nothing from an empty input without end",
            "(local.set $n (call $stdin)) (loop $l (call $in-read (local.get $n) (i64.const 0) (i32.const 16)) (br $l))",
            LimitKind::HostCalls,
        )
        .limits("host_calls = 5_000"),
        spin(
            "writes of nothing",
            "writes nothing without end",
            "(local.set $n (call $stdout))
             (loop $l (call $out-write (local.get $n) (i32.const 0) (i32.const 0) (i32.const 16)) (br $l))",
            LimitKind::HostCalls,
        )
        .limits("host_calls = 5_000"),
        spin(
            "polls of what is ready",
            "polls a timer that was due long ago without end",
            "(i32.store (i32.const 600) (call $timer-at (i64.const 0)))
             (loop $l (call $poll (i32.const 600) (i32.const 1) (i32.const 16)) (br $l))",
            LimitKind::HostCalls,
        )
        .limits("host_calls = 5_000"),
        case(
            Family::Time,
            "virtual sleep",
            "sleeps for five hundred years on its virtual clock, which takes no time",
            || {
                wat::guest(
                    "export go: func() -> u64;",
                    r#"(func (export "go") (result i64)
                      (call $block (call $timer-in (i64.const 0x7fffffffffffffff)))
                      (call $block (call $timer-in (i64.const -1)))
                      (call $now))"#,
                )
            },
            Expect::Answer(json!(u64::MAX)),
        )
        .seconds(SECONDS),
        case(
            Family::Time,
            "empty input",
            "waits for input that nobody will give",
            || {
                wat::guest(
                    "export go: func() -> u8;",
                    r#"(func (export "go") (result i32) (local $n i32)
                      (local.set $n (call $stdin))
                      (call $block (call $in-subscribe (local.get $n)))
                      (call $in-blocking-read (local.get $n) (i64.const -1) (i32.const 16))
                      ;; An error, and of it the case `closed`.
                      (i32.add (i32.mul (i32.load8_u (i32.const 16)) (i32.const 10)) (i32.load8_u (i32.const 20))))"#,
                )
            },
            Expect::Answer(json!(11)),
        )
        .seconds(SECONDS),
    ]);
    cases
}
