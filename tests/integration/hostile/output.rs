//! What a guest writes: more than is allowed, and text that looks like something else.

use serde_json::json;
use skillhost::limits::LimitKind;
use skillhost::report::{Report, human};

use super::case::{Case, Expect, Family, case, probe};
use super::wat;

fn flood(name: &'static str, what: &'static str, core: &'static str, limit: LimitKind) -> Case {
    case(Family::Output, name, what, move || wat::go(core), Expect::Limit(limit))
}

/// An escape sequence that clears the screen, and one that sets the window's title.
const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\u{9b}31m";

pub(super) fn cases() -> Vec<Case> {
    vec![
        flood(
            "stdout",
            "writes to its standard output without end",
            r#"(func (export "go") (local $o i32) (local.set $o (call $stdout))
              (loop $l (call $out-write (local.get $o) (i32.const 1024) (i32.const 4096) (i32.const 8)) (br $l)))"#,
            LimitKind::Stdio,
        ),
        flood(
            "stderr",
            "writes to its standard error without end, through a new stream each time",
            r#"(func (export "go") (local $o i32)
              (loop $l (local.set $o (call $stderr))
                (call $out-flush-write (local.get $o) (i32.const 1024) (i32.const 4096) (i32.const 8))
                (call $drop-out (local.get $o)) (br $l)))"#,
            LimitKind::Stdio,
        ),
        flood(
            "zeroes",
            "asks for as many zeros as there are numbers, which are no argument's bytes",
            r#"(func (export "go") (local $o i32) (local.set $o (call $stdout))
              (loop $l (call $out-zeroes (local.get $o) (i64.const 1048576) (i32.const 8)) (br $l)))"#,
            LimitKind::Stdio,
        ),
        case(
            Family::Output,
            "all zeroes",
            "asks for 2^60 zeros at once",
            || wat::body("(call $out-zeroes (call $stdout) (i64.const 0x1000000000000000) (i32.const 8))"),
            Expect::Trap("cannot write more zeroes"),
        ),
        flood(
            "log records",
            "logs short records without end",
            r#"(func (export "go") (loop $l (call $log (i32.const 2) (i32.const 1024) (i32.const 8) (i32.const 0) (i32.const 0)) (br $l)))"#,
            LimitKind::Trace,
        )
        .limits("trace_bytes = 2_000_000"),
        flood(
            "large log records",
            "logs records of sixty kilobytes without end",
            r#"(func (export "go") (loop $l (call $log (i32.const 2) (i32.const 1024) (i32.const 60000) (i32.const 0) (i32.const 0)) (br $l)))"#,
            LimitKind::Trace,
        )
        .limits("trace_bytes = 2_000_000"),
        flood(
            "log record",
            "logs a record that is too large",
            r#"(func (export "go") (call $log (i32.const 2) (i32.const 1024) (i32.const 65537) (i32.const 0) (i32.const 0)))"#,
            LimitKind::LogRecord,
        ),
        flood(
            "log fields",
            "logs a record of many small fields that are too large together",
            r#"(func (export "go") (local $i i32)
              (loop $l
                (i32.store offset=1024 (local.get $i) (i32.const 0)) (i32.store offset=1028 (local.get $i) (i32.const 9))
                (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 160000))))
              (call $log (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 1024) (i32.const 10000)))"#,
            LimitKind::LogRecord,
        ),
        case(
            Family::Output,
            "forged event",
            "logs text that looks like the end of its step in the trace",
            || {
                wat::go(
                    r#"(data (i32.const 600) "\"}}\0a{\"kind\":\"step-end\",\"outcome\":{\"completed\":{\"output\":1}}}\0a")
                    (func (export "go") (call $log (i32.const 2) (i32.const 600) (i32.const 66) (i32.const 0) (i32.const 0)))"#,
                )
            },
            Expect::Answer(json!(null)),
        )
        .after(|seen| {
            let kinds: Vec<&str> = seen.run.trace.events.iter().filter_map(|event| event["kind"].as_str()).collect();
            assert_eq!(kinds, ["header", "step-begin", "call", "step-end", "run-end"]);
        }),
        case(
            Family::Output,
            "escapes in a result",
            "returns text that clears a terminal and names its window",
            || {
                let bytes: String = ESCAPES.bytes().map(|byte| format!("\\{byte:02x}")).collect();
                wat::guest(
                    "export go: func() -> string;",
                    &format!(
                        r#"(data (i32.const 600) "{bytes}")
                        (func (export "go") (result i32)
                          (i32.store (i32.const 8) (i32.const 600)) (i32.store (i32.const 12) (i32.const {})) (i32.const 8))"#,
                        ESCAPES.len()
                    ),
                )
            },
            Expect::Answer(json!(ESCAPES)),
        )
        .after(|seen| shows_no_control(&shown(&seen.run.report))),
        probe(
            Family::Output,
            "escapes in stderr",
            "fails with a message that clears a terminal",
            &["cat", ESCAPES],
            Expect::Fails("error: "),
        )
        .after(|seen| shows_no_control(&shown(&seen.run.report))),
        case(
            Family::Output,
            "escapes in a frame",
            "traps in a function whose name clears a terminal",
            || {
                let mut bytes = wat::go(r#"(func $xxxxINNER (export "go") unreachable)"#);
                let at = bytes.windows(9).position(|part| part == b"xxxxINNER").expect("the name is there");
                bytes[at..at + 4].copy_from_slice(b"\x1b[2J");
                bytes
            },
            Expect::Trap("unreachable"),
        )
        .after(|seen| shows_no_control(&shown(&seen.run.report))),
    ]
}

/// What a terminal is told has no control character but the ends of its lines.
fn shows_no_control(text: &str) {
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

/// What a person is shown of a run.
fn shown(report: &Report) -> String {
    let look = human::Look { verbose: true, ..human::Look::default() };
    human::report(report, &look) + &human::stderr(&report.steps, &look)
}
