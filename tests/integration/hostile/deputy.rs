//! One grant used through another: two folders, of which one is for reading alone.

use std::fs;

use serde_json::json;

use super::case::{Case, Expect, Family, case};
use super::wat;

/// `/data` for reading, then `/workspace` for writing.
const TWO: &str = r#"filesystem = [
    { host = "{workspace}/data", guest = "/data", access = "read-only" },
    { host = "{workspace}", guest = "/workspace", access = "read-write" }]"#;

/// Names at 600 and 608.
const NAMES: &str =
    "(data (i32.const 600) \"a.txt\") (data (i32.const 608) \"b.txt\") (data (i32.const 616) \"data/\")";

fn deputy(name: &'static str, what: &'static str, code: &'static str, wide: Option<u32>, error: &str) -> Case {
    let component = move || wat::attempt_with(NAMES, code, wide);
    case(Family::Deputy, name, what, component, Expect::Error(json!(error)))
        .grant(TWO)
        .set_up(|host| {
            host.write("data/a.txt", "theirs");
            host.write("a.txt", "its own");
        })
        .after(|seen| {
            let data = seen.host.workspace().join("data");
            assert_eq!(fs::read_to_string(data.join("a.txt")).expect("it is there"), "theirs");
            assert_eq!(fs::read_dir(&data).expect("a folder").count(), 1);
            assert!(!seen.host.workspace().join("b.txt").exists());
        })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        deputy(
            "rename out",
            "renames a file from a folder for reading to one for writing",
            "(call $rename (call $first) (i32.const 600) (i32.const 5) (call $second) (i32.const 608) (i32.const 5) (i32.const 16))",
            None,
            "not-permitted",
        ),
        deputy(
            "rename in",
            "renames a file from a folder for writing to one for reading",
            "(call $rename (call $second) (i32.const 600) (i32.const 5) (call $first) (i32.const 608) (i32.const 5) (i32.const 16))",
            None,
            "not-permitted",
        ),
        deputy(
            "link out",
            "links a file from a folder for reading to one for writing, where it could be changed",
            "(call $link (call $first) (i32.const 0) (i32.const 600) (i32.const 5) (call $second) (i32.const 608) (i32.const 5) (i32.const 16))",
            None,
            "not-permitted",
        ),
        deputy(
            "link in",
            "links a file from a folder for writing to one for reading",
            "(call $link (call $second) (i32.const 0) (i32.const 600) (i32.const 5) (call $first) (i32.const 608) (i32.const 5) (i32.const 16))",
            None,
            "not-permitted",
        ),
        deputy(
            "write a descriptor",
            "writes to a file that it opened for reading in a folder for reading",
            "(call $write (call $open-file (call $first) (i32.const 600) (i32.const 5) (i32.const 1)) (i32.const 608) (i32.const 5) (i64.const 0) (i32.const 16))",
            Some(24),
            "not-permitted",
        ),
        deputy(
            "stream to a descriptor",
            "opens a stream to write to a file that it opened for reading",
            "(call $file-out (call $open-file (call $first) (i32.const 600) (i32.const 5) (i32.const 1)) (i64.const 0) (i32.const 16))",
            Some(20),
            "not-permitted",
        ),
        deputy(
            "cut a descriptor",
            "sets the size of a file that it opened for reading in a folder for writing",
            "(call $set-size (call $open-file (call $second) (i32.const 600) (i32.const 5) (i32.const 1)) (i64.const 0) (i32.const 16))",
            None,
            "invalid",
        ),
        deputy(
            "below a file",
            "opens a path below a file as if it were a folder",
            "(call $open (call $open-file (call $second) (i32.const 600) (i32.const 5) (i32.const 1)) (i32.const 0) (i32.const 600) (i32.const 5) (i32.const 0) (i32.const 1) (i32.const 16))",
            Some(20),
            "not-directory",
        ),
        deputy(
            "up from below",
            "opens `..` from a folder that it opened below its grant",
            "(i32.store16 (i32.const 700) (i32.const 0x2e2e))
             (call $open (call $open-file (call $second) (i32.const 616) (i32.const 4) (i32.const 1)) (i32.const 0) (i32.const 700) (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16))",
            Some(20),
            "not-permitted",
        ),
    ]
}
