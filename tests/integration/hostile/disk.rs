//! Files and folders that are larger, more or deeper than anything that a host wants to handle.

use host_tests::plan::READ_WRITE;
use serde_json::json;
use skillhost::limits::LimitKind;

use super::case::{Case, Expect, Family, case};
use super::wat;

/// Opens `big` for reading and writing as `$f`, creating it.
const BIG: &str = "(i32.store (i32.const 600) (i32.const 0x676962))
    (call $open (call $first) (i32.const 0) (i32.const 600) (i32.const 3) (i32.const 1) (i32.const 3) (i32.const 16))
    (local.set $f (i32.load (i32.const 20)))";

fn file(name: &'static str, what: &'static str, code: &'static str, wide: Option<u32>, error: &str) -> Case {
    let component = move || wat::attempt_with("", &format!("{BIG} {code}"), wide);
    case(Family::Disk, name, what, component, Expect::Error(json!(error))).grant(READ_WRITE).after(|seen| {
        // A step that did not complete has left none.
        let size = std::fs::metadata(seen.host.workspace().join("big")).map_or(0, |file| file.len());
        assert_eq!(size, 0);
    })
}

/// Makes names of a counter at 600.
const NAME: &str = "(local.set $n (i32.add (local.get $n) (i32.const 1)))
    (i32.store8 (i32.const 600) (i32.add (i32.const 97) (i32.and (local.get $n) (i32.const 15))))
    (i32.store8 (i32.const 601) (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const 4)) (i32.const 15))))
    (i32.store8 (i32.const 602) (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const 8)) (i32.const 15))))
    (i32.store8 (i32.const 603) (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const 12)) (i32.const 15))))";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        file(
            "huge size",
            "sets the size of a file to 2^64 - 1",
            "(call $set-size (local.get $f) (i64.const -1) (i32.const 16))",
            None,
            "invalid",
        ),
        file(
            "huge offset",
            "writes at the last offset of all",
            "(i64.store (i32.const 24) (i64.const 0))
             (call $write (local.get $f) (i32.const 600) (i32.const 3) (i64.const -1) (i32.const 16))",
            Some(24),
            "invalid",
        ),
        file(
            "read at a huge offset",
            "reads at the last offset of all",
            "(call $read (local.get $f) (i64.const 10) (i64.const -1) (i32.const 16))",
            Some(20),
            "invalid",
        ),
        file(
            "times that overflow",
            "sets times whose nanoseconds overflow into seconds that overflow",
            "(call $set-times (call $first) (i32.const 0) (i32.const 600) (i32.const 3)
               (i32.const 2) (i64.const -1) (i32.const -1) (i32.const 2) (i64.const -1) (i32.const -1) (i32.const 16))",
            None,
            "overflow",
        ),
    ];
    cases.extend([
        case(
            Family::Disk,
            "huge read",
            "reads 2^64 - 1 bytes of a large file in one call",
            || {
                wat::guest(
                    "export go: func() -> u32;",
                    &format!(
                        "(func (export \"go\") (result i32) (local $f i32) {BIG}
                           (call $read (local.get $f) (i64.const -1) (i64.const 0) (i32.const 16)) (i32.load (i32.const 24)))"
                    ),
                )
            },
            Expect::Answer(json!(65_536)),
        )
        .grant(READ_WRITE)
        .set_up(|host| {
            let file = std::fs::File::create(host.workspace().join("big")).expect("a file");
            file.set_len(8 << 30).expect("a file with a hole");
        }),
        case(
            Family::Disk,
            "sparse file",
            "reads a file of eight gigabytes that takes no room on the disk",
            || {
                wat::go(&format!(
                    "(func (export \"go\") (local $f i32) (local $s i32) {BIG}
                       (call $file-in (local.get $f) (i64.const 0) (i32.const 16))
                       (local.set $s (i32.load (i32.const 20)))
                       (local.set $f (call $stdout))
                       (loop $l (call $out-splice (local.get $f) (local.get $s) (i64.const -1) (i32.const 16)) (br $l)))"
                ))
            },
            Expect::Limit(LimitKind::Stdio),
        )
        .grant(READ_WRITE)
        .set_up(|host| {
            let file = std::fs::File::create(host.workspace().join("big")).expect("a file");
            file.set_len(8 << 30).expect("a file with a hole");
        }),
        case(
            Family::Disk,
            "many files",
            "creates files without end",
            || {
                wat::body(&format!(
                    "(local.set $i (call $first))
                     (loop $l {NAME}
                       (call $open (local.get $i) (i32.const 0) (i32.const 600) (i32.const 4) (i32.const 1) (i32.const 2) (i32.const 16))
                       (call $drop-descriptor (i32.load (i32.const 20))) (br $l))"
                ))
            },
            Expect::Limit(LimitKind::HostCalls),
        )
        .grant(READ_WRITE)
        .limits("host_calls = 4_000")
        .after(|seen| {
            let files = std::fs::read_dir(seen.host.workspace()).expect("a folder").count();
            assert!(files < 2_010, "{files}");
        }),
        case(
            Family::Disk,
            "listings",
            "keeps listings of a large folder without end",
            || wat::body("(local.set $n (call $first)) (loop $l (call $read-dir (local.get $n) (i32.const 16)) (br $l))"),
            Expect::Limit(LimitKind::DirectoryEntries),
        )
        .grant(READ_WRITE)
        .set_up(|host| {
            for index in 0..3_000 {
                host.write(&format!("{index}"), "");
            }
        }),
        case(
            Family::Disk,
            "deep folders",
            "makes a folder in a folder with long names without end and keeps all of them open",
            || {
                wat::attempt_with(
                    "",
                    "(memory.fill (i32.const 600) (i32.const 97) (i32.const 250))
                     (local.set $f (call $first))
                     (loop $l
                       (call $mkdir (local.get $f) (i32.const 600) (i32.const 250) (i32.const 16))
                       (call $open (local.get $f) (i32.const 0) (i32.const 600) (i32.const 250) (i32.const 2) (i32.const 33) (i32.const 16))
                       (if (i32.eqz (i32.load8_u (i32.const 16))) (then
                         (local.set $f (i32.load (i32.const 20))) (br $l))))",
                    Some(20),
                )
            },
            Expect::Error(json!("name-too-long")),
        )
        .grant(READ_WRITE),
    ]);
    cases
}
