//! Paths that lead out of a granted folder: by themselves, by links that lie there, by links that are made, by races.

use std::fs;
use std::os::unix::fs::symlink;

use host_tests::plan::{READ_ONLY, READ_WRITE};
use host_tests::tree;
use serde_json::json;

use super::case::{CANARY, Case, Expect, Family, case, probe};
use super::wat;

/// One tool for each operation on a path of the first granted folder; `read` returns what it read.
pub(super) fn operations() -> Vec<u8> {
    let simple = |name: &str, call: &str, code_at: u32| {
        format!(
            "(func (export \"{name}\") (param $p i32) (param $n i32) (result i32)
               (local $d i32) (local.set $d (call $first))
               {call}
               (i32.store8 (i32.const 17) (i32.load8_u (i32.const {code_at})))
               (i32.const 16))\n"
        )
    };
    let open = |open: u32, flags: u32| {
        format!(
            "(call $open (local.get $d) (i32.const 1) (local.get $p) (local.get $n) (i32.const {open}) (i32.const {flags}) (i32.const 16))"
        )
    };
    let mut core = String::from("(data (i32.const 600) \"inner\") (data (i32.const 608) \"moved\")");
    core += &simple("write", &open(0, 3), 20);
    core += &simple("create", &open(1, 3), 20);
    core += &simple("truncate", &open(8, 3), 20);
    core += &simple("mkdir", "(call $mkdir (local.get $d) (local.get $p) (local.get $n) (i32.const 16))", 17);
    core += &simple("unlink", "(call $unlink (local.get $d) (local.get $p) (local.get $n) (i32.const 16))", 17);
    core += &simple("rmdir", "(call $rmdir (local.get $d) (local.get $p) (local.get $n) (i32.const 16))", 17);
    core += &simple(
        "rename-from",
        "(call $rename (local.get $d) (local.get $p) (local.get $n) (local.get $d) (i32.const 608) (i32.const 5) (i32.const 16))",
        17,
    );
    core += &simple(
        "rename-to",
        "(call $rename (local.get $d) (i32.const 600) (i32.const 5) (local.get $d) (local.get $p) (local.get $n) (i32.const 16))",
        17,
    );
    core += &simple(
        "link-from",
        "(call $link (local.get $d) (i32.const 0) (local.get $p) (local.get $n) (local.get $d) (i32.const 608) (i32.const 5) (i32.const 16))",
        17,
    );
    core += &simple(
        "set-times",
        "(call $set-times (local.get $d) (i32.const 1) (local.get $p) (local.get $n) (i32.const 2) (i64.const 1) (i32.const 0) (i32.const 2) (i64.const 1) (i32.const 0) (i32.const 16))",
        17,
    );
    // `read` and what it read, of the first 100 bytes.
    core += &format!(
        "(func (export \"read\") (param $p i32) (param $n i32) (result i32) (local $d i32)
           (local.set $d (call $first))
           {}
           (if (i32.load8_u (i32.const 16)) (then (return (i32.const 16))))
           (call $read (i32.load (i32.const 20)) (i64.const 100) (i64.const 0) (i32.const 16))
           (i32.const 16))",
        open(0, 1)
    );
    let tools = [
        "write",
        "create",
        "truncate",
        "mkdir",
        "unlink",
        "rmdir",
        "rename-from",
        "rename-to",
        "link-from",
        "set-times",
    ];
    let tools: String =
        tools.iter().map(|tool| format!("export {tool}: func(path: string) -> result<_, error-code>;\n")).collect();
    wat::guest(
        &format!(
            "use wasi:filesystem/types@0.2.12.{{error-code}};\n{tools}
             export read: func(path: string) -> result<list<u8>, error-code>;"
        ),
        &core,
    )
}

/// A call of one of the operations, which must give this error code.
fn on(tool: &'static str, path: &str, name: &'static str, what: &'static str, code: &str) -> Case {
    case(Family::Paths, name, what, operations, Expect::Error(json!(code)))
        .call(tool, json!({"path": path}))
        .grant(READ_WRITE)
}

/// The same, where the guest is told that there is no such thing.
fn absent(tool: &'static str, path: &str, name: &'static str, what: &'static str) -> Case {
    on(tool, path, name, what, "no-entry")
}

const OUT: &str = "not-permitted";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = plain();
    cases.extend(links());
    cases.extend(names());
    cases.extend(read_only());
    cases
}

fn plain() -> Vec<Case> {
    vec![
        on("guest.read", "../secret/key.txt", "parent", "reads `../secret/key.txt`", OUT),
        on("guest.read", "sub/../../secret/key.txt", "parent of a folder", "reads `sub/../../secret/key.txt`", OUT),
        on("guest.read", "/etc/passwd", "absolute", "reads `/etc/passwd`", OUT),
        on("guest.read", "//etc/passwd", "two slashes", "reads `//etc/passwd`", OUT),
        on("guest.read", "/proc/self/environ", "proc", "reads the host's environment at `/proc/self/environ`", OUT),
        on("guest.write", "/dev/kmsg", "dev", "writes to `/dev/kmsg`", OUT),
        on(
            "guest.read",
            "../workspace-evil/key.txt",
            "sibling",
            "reads a folder whose name starts like the granted one",
            OUT,
        ),
        on("guest.create", "../new.txt", "create outside", "creates `../new.txt`", OUT),
        on("guest.mkdir", "../secret/new/", "trailing slash", "makes the folder `../secret/new/`", OUT),
        on("guest.unlink", "../secret/key.txt", "unlink outside", "removes `../secret/key.txt`", OUT),
        on("guest.rmdir", "..", "remove the parent", "removes the folder `..`", OUT),
        on("guest.rename-from", "../secret/key.txt", "rename in", "renames `../secret/key.txt` into its folder", OUT),
        on("guest.rename-to", "../moved.txt", "rename out", "renames a file of its own to `../moved.txt`", OUT)
            .after(|seen| assert!(seen.host.workspace().join("inner").exists())),
        on("guest.link-from", "../secret/key.txt", "hard link", "makes a hard link to `../secret/key.txt`", OUT)
            .after(|seen| assert!(!seen.host.workspace().join("moved").exists())),
        on("guest.set-times", "../secret/key.txt", "times outside", "sets the times of `../secret/key.txt`", OUT),
        probe(
            Family::Paths,
            "program",
            "reads `/workspace/../secret/key.txt` through a C library",
            &["cat", "/workspace/../secret/key.txt"],
            Expect::Fails("error: "),
        )
        .grant(READ_WRITE),
    ]
}

fn links() -> Vec<Case> {
    vec![
        on(
            "guest.read",
            "out.txt",
            "relative link",
            "reads through a link to `../secret/key.txt` that lies in its folder",
            OUT,
        )
        .set_up(|host| symlink("../secret/key.txt", host.workspace().join("out.txt")).expect("a link")),
        on("guest.read", "out.txt", "absolute link", "reads through a link to the secret's absolute path", OUT).set_up(
            |host| symlink(host.folder().join("secret/key.txt"), host.workspace().join("out.txt")).expect("a link"),
        ),
        on("guest.read", "out/key.txt", "link to a folder", "reads through a link to the folder outside", OUT)
            .set_up(|host| symlink("../secret", host.workspace().join("out")).expect("a link")),
        on("guest.create", "dangling.txt", "dangling link", "creates a file through a link to where nothing is", OUT)
            .set_up(|host| symlink("../new.txt", host.workspace().join("dangling.txt")).expect("a link")),
        on(
            "guest.read",
            "self/environ",
            "link to proc",
            "reads the host's environment through a link to `/proc/self`",
            OUT,
        )
        .set_up(|host| symlink("/proc/self", host.workspace().join("self")).expect("a link")),
        on("guest.read", "a", "link loop", "opens a link to itself through another", "loop").set_up(|host| {
            symlink("b", host.workspace().join("a")).expect("a link");
            symlink("a", host.workspace().join("b")).expect("a link");
        }),
        probe(
            Family::Paths,
            "made link",
            "makes a link to `../secret` and reads through it",
            &["cat", "/workspace/made/key.txt"],
            Expect::Fails("error: "),
        )
        .first(&["symlink", "../secret", "/workspace/made"])
        .grant(READ_WRITE),
        probe(
            Family::Paths,
            "moved link",
            "makes a link that is right in one folder and moves it to where it leads out",
            &["cat", "/workspace/up/secret/key.txt"],
            Expect::Fails("error: "),
        )
        .first(&["symlink", "..", "/workspace/sub/up"])
        .first(&["rename", "/workspace/sub/up", "/workspace/up"])
        .grant(READ_WRITE),
        raced(),
    ]
}

/// Opens `door/key.txt` many times while the host's side swaps the folder `door` for a link to the secret and back. What was read must
/// always be the folder's own file.
fn raced() -> Case {
    let core = r#"
        (data (i32.const 600) "door/key.txt")
        (func (export "go") (result i32) (local $i i32) (local $d i32) (local $read i32)
          (local.set $d (call $first))
          (loop $l
            (call $open (local.get $d) (i32.const 1) (i32.const 600) (i32.const 12) (i32.const 0) (i32.const 1) (i32.const 16))
            (if (i32.eqz (i32.load8_u (i32.const 16))) (then
              (call $read (i32.load (i32.const 20)) (i64.const 100) (i64.const 0) (i32.const 32))
              ;; Its own file has five bytes, the secret more.
              (if (i32.and (i32.eqz (i32.load8_u (i32.const 32))) (i32.ne (i32.load (i32.const 40)) (i32.const 5)))
                (then (return (i32.const 0))))
              (call $drop-descriptor (i32.load (i32.const 20)))))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3000))))
          (i32.const 1))"#;
    case(
        Family::Paths,
        "race",
        "opens a file 3000 times while the host's side swaps its folder for a link that leads out",
        move || wat::guest("export go: func() -> bool;", core),
        Expect::Answer(json!(true)),
    )
    .grant(READ_ONLY)
    .set_up(|host| {
        assert_ne!(CANARY.len(), 5);
        host.write("kept/key.txt", "inner");
    })
    .race(|workspace| {
        let (door, kept) = (workspace.join("door"), workspace.join("kept"));
        // Whatever of this the moment does not allow is done in the next turn.
        drop(fs::rename(&kept, &door));
        drop(fs::rename(&door, &kept));
        drop(symlink("../secret", &door));
        drop(fs::remove_file(&door));
    })
}

fn names() -> Vec<Case> {
    vec![
        on("guest.read", "inner\0.txt", "nul byte", "opens a name with a nul byte", "invalid"),
        on(
            "guest.create",
            &"n".repeat(300),
            "overlong name",
            "creates a file with a name of 300 bytes",
            "name-too-long",
        ),
        on("guest.read", &"a/".repeat(40_000), "overlong path", "opens a path of 80 000 bytes", "name-too-long"),
        on(
            "guest.read",
            &"./".repeat(1_500),
            "many parts",
            "opens a path of 1500 parts that leads to its own folder, and reads it as a file",
            "bad-descriptor",
        ),
        absent("guest.read", "..\\secret\\key.txt", "backslashes", "reads `..\\secret\\key.txt`"),
        absent("guest.read", "%2e%2e/secret/key.txt", "percent signs", "reads `%2e%2e/secret/key.txt`"),
        absent(
            "guest.read",
            "\u{ff0e}\u{ff0e}/secret/key.txt",
            "look-alikes",
            "reads a path of dots that only look like dots",
        ),
        absent("guest.read", "", "empty", "opens the empty path"),
        on("guest.read", "pipe", "named pipe", "opens a named pipe, which would wait for ever", "unsupported").set_up(
            |host| {
                let made = std::process::Command::new("mkfifo").arg(host.workspace().join("pipe")).status();
                assert!(made.expect("mkfifo starts").success());
            },
        ),
        on("guest.read", "socket", "socket", "opens a socket that lies in its folder", "unsupported").set_up(|host| {
            drop(std::os::unix::net::UnixListener::bind(host.workspace().join("socket")).expect("a socket"));
        }),
    ]
}

/// Cases under a grant to read; the workspace must be what it was.
fn read_only() -> Vec<Case> {
    let case = |tool: &'static str, path: &str, name: &'static str, what: &'static str| {
        on(tool, path, name, what, OUT).grant(READ_ONLY).after(|seen| {
            let tree = tree::read(&seen.host.workspace());
            let files: Vec<(&str, &str)> =
                tree.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
            let inside = "file \"inside\"";
            assert_eq!(files, [("inner", inside), ("sub", "folder"), ("sub/file.txt", inside)]);
        })
    };
    vec![
        case("guest.truncate", "inner", "truncate", "truncates a file while opening it, under a grant to read"),
        case("guest.write", "inner", "write", "opens a file for writing under a grant to read"),
        case("guest.create", "new", "create", "creates a file under a grant to read"),
        case("guest.unlink", "inner", "unlink", "removes a file under a grant to read"),
        case("guest.rename-from", "inner", "rename", "renames a file under a grant to read"),
        case("guest.link-from", "inner", "link", "links a file under a grant to read"),
        case("guest.set-times", "inner", "times", "sets a file's times under a grant to read"),
    ]
}
