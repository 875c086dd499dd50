//! Every bound is hit by a guest that means harm: the step ends with the limit's name, the trace replays, the host goes on.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use host_tests::plan::READ_ONLY;
use host_tests::{Guest, TestHost, guest, policy};
use serde_json::json;
use skillhost::clock::Stopwatch;
use skillhost::limits::{self, LimitKind};
use skillhost::outcome::Outcome;

/// The limits that a guest below hits.
const HIT: &[LimitKind] = &[
    LimitKind::Fuel,
    LimitKind::Deadline,
    LimitKind::RunDeadline,
    LimitKind::Memory,
    LimitKind::Output,
    LimitKind::Stdio,
    LimitKind::HostCalls,
    LimitKind::Trace,
    LimitKind::Stack,
    LimitKind::Table,
    LimitKind::Arguments,
    LimitKind::Random,
    LimitKind::Handles,
    LimitKind::Pollables,
    LimitKind::DirectoryEntries,
    LimitKind::Values,
    LimitKind::LogRecord,
    LimitKind::HttpFieldBytes,
    LimitKind::HttpFields,
    LimitKind::HttpUnsent,
];

#[test]
fn every_limit_has_a_guest_that_hits_it() {
    let hit: BTreeSet<LimitKind> = HIT.iter().copied().collect();
    // The undo journal's is hit in its own tests: a guest would have to change more files than a test has time for.
    // That of contracts is hit by the schemas of `hostile::contracts`, not by a guest.
    let elsewhere = [LimitKind::Journal, LimitKind::Contract];
    let all: BTreeSet<LimitKind> = LimitKind::ALL.into_iter().filter(|kind| !elsewhere.contains(kind)).collect();
    assert_eq!(hit, all);
    // The list above is not only a list: each name stands in a call of `hits` below.
    let source = include_str!("limits.rs");
    for limit in hit {
        assert!(source.contains(&format!("hits(LimitKind::{limit:?}, ")), "no guest hits {limit:?}");
    }
}

/// Runs `guest.go` until the limit ends it.
fn hits(limit: LimitKind, allowed: u64, host: &TestHost) {
    let run = host.call("guest.go", json!({}));
    match run.outcome() {
        Outcome::LimitExceeded { limit: ended, allowed: said, .. } => assert_eq!((*ended, *said), (limit, allowed)),
        other => panic!("{limit:?}: {other:?}"),
    }
    let end = &run.trace.steps()[0].end;
    assert_eq!(end["outcome"]["limit-exceeded"]["limit"], limit.name());
    assert_eq!(end["outcome"]["limit-exceeded"]["allowed"], allowed);
    assert_eq!(end["fuel"].is_u64(), !matches!(limit, LimitKind::Deadline | LimitKind::RunDeadline), "{end}");
    host.replay_equals(&run);
    let served = host.call("text.split", json!({"text": "a b", "pattern": " "})).completed();
    assert_eq!(served.output(), &json!(["a", "b"]));
}

fn host(limits: &str, grant: &str, guest: &[u8]) -> TestHost {
    TestHost::with(&policy(limits, grant), &[("guest", guest)])
}

/// A guest without imports.
fn pure(core: &str) -> Vec<u8> {
    Guest { imports: &[], exports: "export go: func();", core }.build()
}

const SPIN: &str = r#"(func (export "go") (loop $l (br $l)))"#;

#[test]
fn fuel_ends_a_loop() {
    hits(LimitKind::Fuel, 1_000_000, &host("fuel = 1_000_000", "", &pure(SPIN)));
}

/// The deadline of the guests below, and how late a loaded machine may be: the guests themselves have fuel for months.
const DEADLINE_MS: u64 = 150;
const LATEST: Duration = Duration::from_secs(300);

fn hits_the_deadline(grant: &str, guest: &[u8]) {
    let limits = format!("fuel = 9_000_000_000_000_000\ndeadline_ms = {DEADLINE_MS}");
    let host = host(&limits, grant, guest);
    // Compiled and linked before the watch runs.
    host.host
        .check(&host.document(&host_tests::plan([host_tests::step("it", "guest.go", json!({}))])))
        .unwrap()
        .unwrap();
    let watch = Stopwatch::start();
    let run = host.call("guest.go", json!({}));
    let elapsed = watch.elapsed();
    assert!(elapsed < LATEST, "ended after {elapsed:?}");
    assert!(elapsed >= Duration::from_millis(DEADLINE_MS), "ended after {elapsed:?}");
    assert_eq!(run.outcome().name(), "limit-exceeded");
    hits(LimitKind::Deadline, DEADLINE_MS, &host);
}

#[test]
fn the_time_of_the_run_ends_a_guest_that_spins() {
    let spin = Guest { imports: &[], exports: "export go: func();", core: r#"(func (export "go") (loop $l (br $l)))"# };
    let text = policy("fuel = 9_007_199_254_740_991", "").replace("[limits]", "[run]\ndeadline_ms = 1000\n[limits]");
    hits(LimitKind::RunDeadline, 1000, &TestHost::with(&text, &[("guest", &spin.build())]));
}

#[test]
fn the_deadline_ends_a_loop() {
    hits_the_deadline("", &pure(SPIN));
}

const SLEEPER: &[&str] = &["wasi:clocks/monotonic-clock@0.2.12", "wasi:io/poll@0.2.12"];

#[test]
fn the_deadline_ends_a_wait() {
    let core = r#"
        (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $in (param i64) (result i32)))
        (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
        (func (export "go") (call $block (call $in (i64.const 3_600_000_000_000))))"#;
    let guest = Guest { imports: SLEEPER, exports: "export go: func();", core }.build();
    hits_the_deadline("clocks = \"real\"", &guest);
}

#[test]
fn the_deadline_ends_many_short_waits_with_work_between() {
    let core = r#"
        (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $in (param i64) (result i32)))
        (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
        (import "wasi:io/poll@0.2.12" "[resource-drop]pollable" (func $drop (param i32)))
        (func (export "go") (local $p i32) (local $i i32)
          (loop $l
            (local.set $p (call $in (i64.const 1_000_000)))
            (call $block (local.get $p))
            (call $drop (local.get $p))
            (local.set $i (i32.const 100000))
            (loop $work (br_if $work (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
            (br $l)))"#;
    let guest = Guest { imports: SLEEPER, exports: "export go: func();", core }.build();
    hits_the_deadline("clocks = \"real\"", &guest);
}

#[test]
fn memory_ends_growth() {
    let grow = r#"(func (export "go") (loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))))"#;
    hits(LimitKind::Memory, 10_000_000, &host("memory_bytes = 10_000_000", "", &pure(grow)));
}

#[test]
fn memory_is_summed_over_memories_and_counts_what_is_there_at_the_start() {
    // Two memories of 3 MiB where 5 MiB are allowed.
    let guest = guest::component(
        r#"(component
          (core module $m (memory 48) (func (export "go")))
          (core instance $a (instantiate $m))
          (core instance $b (instantiate $m))
          (func (export "go") (canon lift (core func $b "go"))))"#,
    );
    hits(LimitKind::Memory, 5 << 20, &host("memory_bytes = 5_242_880", "", &guest));
}

#[test]
fn output_bytes_end_a_large_result() {
    let core = r#"(func (export "go") (result i32)
        (i32.store (i32.const 8) (i32.const 1024)) (i32.store (i32.const 12) (i32.const 20000)) (i32.const 8))"#;
    let guest = Guest { imports: &[], exports: "export go: func() -> string;", core }.build();
    hits(LimitKind::Output, 1000, &host("output_bytes = 1000", "", &guest));
}

/// Writes 4 KiB again and again to what `get` gives.
fn flood(interface: &str, get: &str) -> Vec<u8> {
    let core = format!(
        r#"(import "{interface}" "{get}" (func $get (result i32)))
        (import "wasi:io/streams@0.2.12" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
        (func (export "go") (local $s i32)
          (local.set $s (call $get))
          (loop $l (call $write (local.get $s) (i32.const 1024) (i32.const 4096) (i32.const 8)) (br $l)))"#
    );
    let imports = &[interface, "wasi:io/streams@0.2.12"];
    Guest { imports, exports: "export go: func();", core: &core }.build()
}

#[test]
fn stdio_bytes_end_a_flood_of_stdout_and_of_stderr() {
    for (interface, get) in [("wasi:cli/stdout@0.2.12", "get-stdout"), ("wasi:cli/stderr@0.2.12", "get-stderr")] {
        hits(LimitKind::Stdio, 50_000, &host("stdio_bytes = 50_000", "", &flood(interface, get)));
    }
}

const READS_A_CLOCK: &str = r#"
    (import "wasi:clocks/monotonic-clock@0.2.12" "now" (func $now (result i64)))
    (func (export "go") (loop $l (drop (call $now)) (br $l)))"#;

#[test]
fn host_calls_end_a_guest_that_calls_for_ever() {
    let guest = Guest { imports: &SLEEPER[..1], exports: "export go: func();", core: READS_A_CLOCK }.build();
    let host = host("host_calls = 1000", "", &guest);
    hits(LimitKind::HostCalls, 1000, &host);
    let run = host.call("guest.go", json!({}));
    assert_eq!(run.trace.called().len(), 1000);
}

#[test]
fn trace_bytes_end_a_guest_that_fills_the_disk() {
    let core = r#"
        (import "wasi:random/random@0.2.12" "get-random-bytes" (func $random (param i64 i32)))
        (func (export "go") (loop $l (call $random (i64.const 60000) (i32.const 8)) (br $l)))"#;
    let guest = Guest { imports: &["wasi:random/random@0.2.12"], exports: "export go: func();", core }.build();
    hits(LimitKind::Trace, 500_000, &host("trace_bytes = 500_000", "", &guest));
    // Events alone count as well.
    let guest = Guest { imports: &SLEEPER[..1], exports: "export go: func();", core: READS_A_CLOCK }.build();
    hits(LimitKind::Trace, 100_000, &host("trace_bytes = 100_000", "", &guest));
}

#[test]
fn the_stack_ends_a_recursion() {
    let recurse = r#"(func $deeper (export "go") (call $deeper) (drop (i32.const 0)))"#;
    let host = host("", "", &pure(recurse));
    hits(LimitKind::Stack, limits::GUEST_STACK_BYTES as u64, &host);
}

#[test]
fn table_elements_end_growth_of_one_table_and_of_many() {
    let one = r#"(table $t 1 funcref)
        (func (export "go") (drop (table.grow $t (ref.null func) (i32.const 200000))))"#;
    hits(LimitKind::Table, limits::TABLE_ELEMENTS_MAX as u64, &host("", "", &pure(one)));
    let many = r#"(table $a 60000 funcref) (table $b 60000 funcref) (func (export "go"))"#;
    hits(LimitKind::Table, limits::TABLE_ELEMENTS_MAX as u64, &host("", "", &pure(many)));
}

/// A component of `count` core instances.
fn instances(count: usize) -> Vec<u8> {
    let mut text = String::from(r#"(component (core module $m (func (export "go")))"#);
    for index in 0..count {
        write!(text, "(core instance $i{index} (instantiate $m))").unwrap();
    }
    text.push_str(r#"(func (export "go") (canon lift (core func $i0 "go"))))"#);
    guest::component(&text)
}

#[test]
fn a_component_of_too_many_instances_is_refused() {
    let run = host("", "", &instances(limits::INSTANCES_MAX + 1)).call("guest.go", json!({}));
    assert_eq!(run.report.outcome.name(), "refused");
    assert_eq!(run.problem_codes(), ["component-unsupported"]);
    assert!(run.report.problems[0].message.contains("101 core module instances"), "{:?}", run.report.problems);
}

#[test]
fn a_component_with_as_many_instances_as_are_allowed_runs() {
    let guest = instances(limits::INSTANCES_MAX);
    host("", "", &guest).call("guest.go", json!({})).completed();
}

#[test]
fn argument_bytes_end_a_call_with_a_huge_list_and_with_a_huge_string() {
    let core = r#"
        (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $get (result i32)))
        (import "wasi:io/streams@0.2.12" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
        (func (export "go")
          (drop (memory.grow (i32.const 300)))
          (call $write (call $get) (i32.const 1024) (i32.const 17000000) (i32.const 8)))"#;
    let imports = &["wasi:cli/stdout@0.2.12", "wasi:io/streams@0.2.12"];
    let list = Guest { imports, exports: "export go: func();", core }.build();
    hits(LimitKind::Arguments, limits::HOST_CALL_ARGUMENT_BYTES_MAX as u64, &host("", "", &list));
    let core = r#"
        (import "skillhost:skill/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))
        (func (export "go")
          (drop (memory.grow (i32.const 300)))
          (call $log (i32.const 0) (i32.const 1024) (i32.const 17000000) (i32.const 0) (i32.const 0)))"#;
    let string = Guest { imports: &["skillhost:skill/log@0.1.0"], exports: "export go: func();", core }.build();
    hits(LimitKind::Arguments, limits::HOST_CALL_ARGUMENT_BYTES_MAX as u64, &host("", "", &string));
}

#[test]
fn random_bytes_end_a_call_that_asks_for_many() {
    for (interface, function) in [
        ("wasi:random/random@0.2.12", "get-random-bytes"),
        ("wasi:random/insecure@0.2.12", "get-insecure-random-bytes"),
    ] {
        for len in ["65537", "-1"] {
            let core = format!(
                r#"(import "{interface}" "{function}" (func $random (param i64 i32)))
                (func (export "go") (call $random (i64.const {len}) (i32.const 8)))"#
            );
            let guest = Guest { imports: &[interface], exports: "export go: func();", core: &core }.build();
            hits(LimitKind::Random, limits::RANDOM_BYTES_MAX, &host("", "", &guest));
        }
    }
}

#[test]
fn handles_end_a_guest_that_keeps_them() {
    let core = r#"
        (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $get (result i32)))
        (func (export "go") (loop $l (drop (call $get)) (br $l)))"#;
    let imports = &["wasi:cli/stdout@0.2.12"];
    let streams = Guest { imports, exports: "export go: func();", core }.build();
    hits(LimitKind::Handles, limits::HANDLES_MAX as u64, &host("", "", &streams));
    let core = r#"
        (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $in (param i64) (result i32)))
        (func (export "go") (loop $l (drop (call $in (i64.const 1))) (br $l)))"#;
    let timers = Guest { imports: SLEEPER, exports: "export go: func();", core }.build();
    hits(LimitKind::Handles, limits::HANDLES_MAX as u64, &host("", "", &timers));
}

#[test]
fn pollables_end_a_poll_of_many() {
    let core = r#"
        (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $in (param i64) (result i32)))
        (import "wasi:io/poll@0.2.12" "poll" (func $poll (param i32 i32 i32)))
        (func (export "go") (local $p i32) (local $i i32)
          (local.set $p (call $in (i64.const 1)))
          (loop $l
            (i32.store offset=1024 (i32.mul (local.get $i) (i32.const 4)) (local.get $p))
            (br_if $l (i32.le_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4000))))
          (call $poll (i32.const 1024) (i32.const 4001) (i32.const 8)))"#;
    let guest = Guest { imports: SLEEPER, exports: "export go: func();", core }.build();
    hits(LimitKind::Pollables, limits::POLLABLES_MAX as u64, &host("", "", &guest));
}

/// Opens `count` listings of the first granted directory and drops none.
fn lister(count: u32) -> Vec<u8> {
    let core = format!(
        r#"
        (import "wasi:filesystem/preopens@0.2.12" "get-directories" (func $directories (param i32)))
        (import "wasi:filesystem/types@0.2.12" "[method]descriptor.read-directory" (func $read (param i32 i32)))
        (func (export "go") (local $d i32) (local $i i32)
          (call $directories (i32.const 8))
          (local.set $d (i32.load (i32.load (i32.const 8))))
          (loop $l
            (call $read (local.get $d) (i32.const 16))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {count})))))"#
    );
    let imports = &["wasi:filesystem/preopens@0.2.12", "wasi:filesystem/types@0.2.12"];
    Guest { imports, exports: "export go: func();", core: &core }.build()
}

/// The bound counts the entries of all open listings, so a folder of moderate size reaches it.
#[test]
fn directory_entries_end_a_guest_that_keeps_listings() {
    const FILES: usize = 2_000;
    let listings = u32::try_from(limits::DIRECTORY_ENTRIES_MAX / FILES).unwrap();
    let host = host("", READ_ONLY, &lister(listings + 1));
    for index in 0..FILES {
        host.write(&format!("{index}"), "");
    }
    hits(LimitKind::DirectoryEntries, limits::DIRECTORY_ENTRIES_MAX as u64, &host);
    let allowed = TestHost::with(&policy("", READ_ONLY), &[("guest", &lister(listings))]);
    for index in 0..FILES {
        allowed.write(&format!("{index}"), "");
    }
    allowed.call("guest.go", json!({})).completed();
}

/// Lists of many values are no arguments of a host call: what is allowed for those does not bound a result.
#[test]
fn a_large_result_completes() {
    let core = r#"(func (export "go") (result i32)
        (drop (memory.grow (i32.const 100)))
        (i32.store (i32.const 8) (i32.const 1024)) (i32.store (i32.const 12) (i32.const 3900000)) (i32.const 8))"#;
    let guest = Guest { imports: &[], exports: "export go: func() -> list<u8>;", core }.build();
    let run = host("", "", &guest).call("guest.go", json!({})).completed();
    assert_eq!(run.output().as_str().unwrap().len(), 5_200_000);
}

#[test]
fn values_end_a_result_of_many() {
    let core = r#"(func (export "go") (result i32)
        (drop (memory.grow (i32.const 100)))
        (i32.store (i32.const 8) (i32.const 1024)) (i32.store (i32.const 12) (i32.const 4000001)) (i32.const 8))"#;
    let guest = Guest { imports: &[], exports: "export go: func() -> list<u8>;", core }.build();
    hits(LimitKind::Values, limits::VALUES_MAX as u64, &host("", "", &guest));
}

#[test]
fn log_record_bytes_end_a_record_that_is_too_large() {
    let core = r#"
        (import "skillhost:skill/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))
        (func (export "go")
          (call $log (i32.const 2) (i32.const 1024) (i32.const 65537) (i32.const 0) (i32.const 0)))"#;
    let guest = Guest { imports: &["skillhost:skill/log@0.1.0"], exports: "export go: func();", core }.build();
    hits(LimitKind::LogRecord, limits::LOG_RECORD_BYTES_MAX as u64, &host("", "", &guest));
}

/// A guest sees the end of no limit as an answer: the step that follows a limit does not run, and its output is nowhere.
#[test]
fn a_step_after_a_limit_does_not_run() {
    let host = host("fuel = 1_000_000", "", &pure(SPIN));
    let run = host.run(&host_tests::plan([
        host_tests::step("one", "guest.go", json!({})),
        host_tests::step("two", "text.split", json!({"text": "a", "pattern": "b"})),
    ]));
    assert_eq!(run.report.outcome.name(), "failed");
    assert_eq!(run.report.steps[1].outcome, None);
    assert_eq!(run.trace.of_kind("step-begin").count(), 1);
}

/// A step's own limits lower the policy's; they never raise it.
#[test]
fn a_step_may_lower_a_limit_and_not_raise_it() {
    let host = host("fuel = 1_000_000", "", &pure(SPIN));
    for (asked, allowed) in [(1_000_u64, 1_000_u64), (5_000_000, 1_000_000)] {
        let mut step = host_tests::step("it", "guest.go", json!({}));
        step["limits"] = json!({"fuel": asked});
        let run = host.run(&host_tests::plan([step]));
        assert!(
            matches!(run.outcome(), Outcome::LimitExceeded { limit: LimitKind::Fuel, allowed: said, .. } if *said == allowed),
            "{:?}",
            run.outcome()
        );
    }
}

const HTTP: &[&str] = &["wasi:http/types@0.2.12", "wasi:io/streams@0.2.12"];

/// A guest that makes requests and sends none.
fn hits_in_http(limit: LimitKind, allowed: u64, core: &str) {
    let core = format!(
        r#"(import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))
        (import "wasi:http/types@0.2.12" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
        (import "wasi:http/types@0.2.12" "[method]fields.clone" (func $clone (param i32) (result i32)))
        (import "wasi:http/types@0.2.12" "[constructor]outgoing-request" (func $request (param i32) (result i32)))
        (import "wasi:http/types@0.2.12" "[method]outgoing-request.body" (func $body (param i32 i32)))
        (import "wasi:http/types@0.2.12" "[method]outgoing-body.write" (func $stream (param i32 i32)))
        (import "wasi:io/streams@0.2.12" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
        (data (i32.const 100) "x-many")
        {core}"#
    );
    let guest = Guest { imports: HTTP, exports: "export go: func();", core: &core }.build();
    let grant = "network = [{ url = \"https://example.com/*\", methods = [\"GET\"] }]";
    let host = host("fuel = 9_000_000_000", grant, &guest);
    match limit {
        LimitKind::HttpFieldBytes => hits(LimitKind::HttpFieldBytes, allowed, &host),
        LimitKind::HttpFields => hits(LimitKind::HttpFields, allowed, &host),
        _ => hits(LimitKind::HttpUnsent, allowed, &host),
    }
}

#[test]
fn http_field_bytes_end_fields_that_grow() {
    let core = r#"(func (export "go") (local $fields i32)
      (local.set $fields (call $fields))
      (loop $l
        (call $append (local.get $fields) (i32.const 100) (i32.const 6) (i32.const 100) (i32.const 6) (i32.const 16))
        (br $l)))"#;
    hits_in_http(LimitKind::HttpFieldBytes, limits::HTTP_FIELD_BYTES_MAX as u64, core);
}

#[test]
fn http_fields_end_a_guest_that_keeps_copies() {
    let core = r#"(func (export "go") (local $fields i32)
      (local.set $fields (call $fields))
      (loop $l (drop (call $request (call $clone (local.get $fields)))) (br $l)))"#;
    hits_in_http(LimitKind::HttpFields, limits::HTTP_FIELDS_MAX as u64, core);
}

#[test]
fn http_unsent_bytes_end_bodies_that_nobody_takes() {
    let core = r#"(func (export "go")
      (loop $l
        (call $body (call $request (call $fields)) (i32.const 16))
        (call $stream (i32.load (i32.const 20)) (i32.const 16))
        (call $write (i32.load (i32.const 20)) (i32.const 1024) (i32.const 60000) (i32.const 32))
        (if (i32.load8_u (i32.const 32)) (then unreachable))
        (br $l)))"#;
    hits_in_http(LimitKind::HttpUnsent, limits::HTTP_UNSENT_BYTES_MAX, core);
}
