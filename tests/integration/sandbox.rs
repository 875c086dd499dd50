//! What a guest can see and touch: what was granted, and nothing of the machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use host_tests::plan::{READ_ONLY, READ_WRITE};
use host_tests::{Guest, TestHost, guest, plan, policy, repo, step, tree};
use serde_json::{Value, json};
use skillhost::clock::Stopwatch;
use skillhost::outcome::{Outcome, RunOutcome};

/// A guest that tries one operation of `wasi:filesystem` on the first granted directory, without a libc in between:
/// `go(op, path)` gives 255 where it was done, 254 where nothing is granted, else the error code's number.
fn attempt() -> Vec<u8> {
    let functions = [
        ("open-at", "i32 i32 i32 i32 i32 i32 i32"),
        ("create-directory-at", "i32 i32 i32 i32"),
        ("unlink-file-at", "i32 i32 i32 i32"),
        ("remove-directory-at", "i32 i32 i32 i32"),
        ("rename-at", "i32 i32 i32 i32 i32 i32 i32"),
        ("symlink-at", "i32 i32 i32 i32 i32 i32"),
        ("link-at", "i32 i32 i32 i32 i32 i32 i32 i32"),
        ("set-times-at", "i32 i32 i32 i32 i32 i64 i32 i32 i64 i32 i32"),
        ("stat-at", "i32 i32 i32 i32 i32"),
        ("readlink-at", "i32 i32 i32 i32"),
        ("metadata-hash-at", "i32 i32 i32 i32 i32"),
        ("write", "i32 i32 i32 i64 i32"),
        ("set-size", "i32 i64 i32"),
        ("set-times", "i32 i32 i64 i32 i32 i64 i32 i32"),
        ("write-via-stream", "i32 i64 i32"),
        ("append-via-stream", "i32 i32"),
    ];
    let imports: String = functions
        .iter()
        .map(|(name, params)| {
            format!(
                "(import \"wasi:filesystem/types@0.2.12\" \"[method]descriptor.{name}\" (func ${name} (param {params})))\n"
            )
        })
        .collect();
    // Each operation: the call, then where its error code is. `$f` is the file at the path, opened for reading and, if asked, writing.
    let on_path = [
        // 0 read, 1 write what is there, 2 create, 3 truncate
        (
            "(call $open-at (local.get $d) (i32.const 1) (local.get $p) (local.get $n) (i32.const 0) (i32.const 1) (i32.const 16))",
            4,
        ),
        (
            "(call $open-at (local.get $d) (i32.const 1) (local.get $p) (local.get $n) (i32.const 0) (i32.const 3) (i32.const 16))",
            4,
        ),
        (
            "(call $open-at (local.get $d) (i32.const 1) (local.get $p) (local.get $n) (i32.const 1) (i32.const 3) (i32.const 16))",
            4,
        ),
        (
            "(call $open-at (local.get $d) (i32.const 1) (local.get $p) (local.get $n) (i32.const 8) (i32.const 3) (i32.const 16))",
            4,
        ),
        ("(call $create-directory-at (local.get $d) (local.get $p) (local.get $n) (i32.const 16))", 1),
        ("(call $unlink-file-at (local.get $d) (local.get $p) (local.get $n) (i32.const 16))", 1),
        ("(call $remove-directory-at (local.get $d) (local.get $p) (local.get $n) (i32.const 16))", 1),
        (
            "(call $rename-at (local.get $d) (local.get $p) (local.get $n) (local.get $d) (i32.const 600) (i32.const 5) (i32.const 16))",
            1,
        ),
        (
            "(call $rename-at (local.get $d) (i32.const 608) (i32.const 5) (local.get $d) (local.get $p) (local.get $n) (i32.const 16))",
            1,
        ),
        (
            "(call $symlink-at (local.get $d) (i32.const 608) (i32.const 5) (local.get $p) (local.get $n) (i32.const 16))",
            1,
        ),
        (
            "(call $symlink-at (local.get $d) (local.get $p) (local.get $n) (i32.const 600) (i32.const 5) (i32.const 16))",
            1,
        ),
        (
            "(call $link-at (local.get $d) (i32.const 0) (local.get $p) (local.get $n) (local.get $d) (i32.const 600) (i32.const 5) (i32.const 16))",
            1,
        ),
        (
            "(call $link-at (local.get $d) (i32.const 0) (i32.const 608) (i32.const 5) (local.get $d) (local.get $p) (local.get $n) (i32.const 16))",
            1,
        ),
        (
            "(call $set-times-at (local.get $d) (i32.const 1) (local.get $p) (local.get $n) (i32.const 2) (i64.const 1) (i32.const 0) (i32.const 2) (i64.const 1) (i32.const 0) (i32.const 16))",
            1,
        ),
        ("(call $stat-at (local.get $d) (i32.const 1) (local.get $p) (local.get $n) (i32.const 16))", 8),
        ("(call $readlink-at (local.get $d) (local.get $p) (local.get $n) (i32.const 16))", 4),
        ("(call $metadata-hash-at (local.get $d) (i32.const 1) (local.get $p) (local.get $n) (i32.const 16))", 8),
    ];
    let on_file = [
        ("(call $write (local.get $f) (i32.const 600) (i32.const 5) (i64.const 0) (i32.const 16))", 8),
        ("(call $set-size (local.get $f) (i64.const 0) (i32.const 16))", 1),
        (
            "(call $set-times (local.get $f) (i32.const 2) (i64.const 1) (i32.const 0) (i32.const 2) (i64.const 1) (i32.const 0) (i32.const 16))",
            1,
        ),
        ("(call $write-via-stream (local.get $f) (i64.const 0) (i32.const 16))", 4),
        ("(call $append-via-stream (local.get $f) (i32.const 16))", 4),
    ];
    let result = |at: usize| {
        format!(
            "(return (if (result i32) (i32.load8_u (i32.const 16)) (then (i32.load8_u (i32.const {}))) (else (i32.const 255))))",
            16 + at
        )
    };
    let mut cases = String::new();
    for (op, (call, at)) in on_path.iter().enumerate() {
        cases += &format!("(if (i32.eq (local.get $op) (i32.const {op})) (then {call} {}))\n", result(*at));
    }
    let open = "(call $open-at (local.get $d) (i32.const 1) (local.get $p) (local.get $n) (i32.const 0) (i32.const 1) (i32.const 16))
        (if (i32.load8_u (i32.const 16)) (then (return (i32.const 253))))
        (local.set $f (i32.load (i32.const 20)))";
    for (op, (call, at)) in on_file.iter().enumerate() {
        let op = op + on_path.len();
        cases += &format!("(if (i32.eq (local.get $op) (i32.const {op})) (then {open} {call} {}))\n", result(*at));
    }
    let core = format!(
        r#"
        (import "wasi:filesystem/preopens@0.2.12" "get-directories" (func $directories (param i32)))
        {imports}
        (data (i32.const 600) "moved") (data (i32.const 608) "inner")
        (func (export "go") (param $op i32) (param $p i32) (param $n i32) (result i32) (local $d i32) (local $f i32)
          (call $directories (i32.const 8))
          (if (i32.eqz (i32.load (i32.const 12))) (then (return (i32.const 254))))
          (local.set $d (i32.load (i32.load (i32.const 8))))
          {cases}
          unreachable)"#
    );
    let interfaces = &["wasi:filesystem/preopens@0.2.12", "wasi:filesystem/types@0.2.12"];
    Guest { imports: interfaces, exports: "export go: func(op: u32, path: string) -> u32;", core: &core }.build()
}

const READ: u32 = 0;
/// Operations that change something, by number.
const MUTATING: [u32; 18] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 18, 19, 20, 21];
const DONE: u64 = 255;
const NOTHING_GRANTED: u64 = 254;

fn tried(host: &TestHost, op: u32, path: &str) -> u64 {
    host.call("guest.go", json!({"op": op, "path": path})).completed().output().as_u64().unwrap()
}

/// A workspace beside a secret, with links that lead out of it.
fn beside_a_secret(host: &TestHost) {
    let secret = host.folder().join("secret");
    fs::create_dir_all(&secret).unwrap();
    fs::write(secret.join("key.txt"), "secret").unwrap();
    // A folder whose name starts like the workspace's.
    fs::create_dir_all(host.folder().join("workspace-evil")).unwrap();
    fs::write(host.folder().join("workspace-evil/key.txt"), "secret").unwrap();
    host.write("inner", "inside");
    host.write("sub/file.txt", "inside");
    symlink("../secret", host.workspace().join("out")).unwrap();
    symlink("../secret/key.txt", host.workspace().join("out.txt")).unwrap();
    symlink(secret.join("key.txt"), host.workspace().join("absolute.txt")).unwrap();
    symlink("../new.txt", host.workspace().join("dangling.txt")).unwrap();
}

fn escapes(host: &TestHost) -> Vec<String> {
    let mut paths: Vec<String> = [
        "../secret/key.txt",
        "sub/../../secret/key.txt",
        "./../secret/key.txt",
        "sub/./../../secret/key.txt",
        "..",
        "../",
        "../new.txt",
        "sub/../../new.txt",
        "/etc/passwd",
        "/",
        "//etc/passwd",
        "out/key.txt",
        "out.txt",
        "out/",
        "absolute.txt",
        "dangling.txt",
        "../workspace-evil/key.txt",
        "out/../../secret/key.txt",
        "../workspace/inner",
        "../secret/",
        "../secret/.",
        "../secret/new/",
        "out/new",
        "sub/../../workspace-evil/new/",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.push(host.folder().join("secret/key.txt").display().to_string());
    paths
}

#[test]
fn no_path_leads_out_of_a_granted_folder() {
    let host = TestHost::with(&policy("", READ_WRITE), &[("guest", &attempt())]);
    beside_a_secret(&host);
    let secret = host.folder().join("secret");
    let outside = || {
        (tree::read(&secret), tree::read(&host.folder().join("workspace-evil")), host.folder().join("new.txt").exists())
    };
    let before = outside();
    // Everything but what acts on a link itself: that stays inside.
    for path in escapes(&host) {
        let is_link = ["out.txt", "absolute.txt", "dangling.txt", "out/"].contains(&path.as_str());
        for op in 0..=21 {
            let acts_on_the_link = matches!(op, 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 15);
            if is_link && acts_on_the_link {
                continue;
            }
            // A symbolic link with such a target is a text; following it is what must not work.
            if op == 10 {
                continue;
            }
            let result = tried(&host, op, &path);
            assert_ne!(result, DONE, "operation {op} on {path}");
            assert_ne!(result, NOTHING_GRANTED);
        }
        assert_eq!(outside(), before, "after {path}");
    }
    assert_eq!(tried(&host, READ, "inner"), DONE, "the guest works at all");
    assert_eq!(tried(&host, READ, "sub/../inner"), DONE);
}

#[test]
fn a_link_made_by_a_guest_leads_nowhere() {
    let host = TestHost::probe(&policy("", READ_WRITE));
    beside_a_secret(&host);
    for (target, below) in [("../secret", "/key.txt"), ("..", "/secret/key.txt"), ("sub/../../secret", "/key.txt")] {
        let link = host.workspace().join("made");
        host.probed(&["symlink", target, "/workspace/made"]);
        let read = host.probed(&["cat", &format!("/workspace/made{below}")]);
        assert_eq!((read["exit_code"].as_u64(), read["stdout"].as_str()), (Some(1), Some("")), "{target}");
        drop(fs::remove_file(link));
    }
}

#[test]
fn the_files_skill_does_not_leave_the_workspace() {
    let host = TestHost::new(&policy("", READ_WRITE));
    beside_a_secret(&host);
    let secret = host.folder().join("secret");
    let before = tree::read(&secret);
    for path in [
        "/workspace/../secret/key.txt",
        "/workspace/out/key.txt",
        "/workspace/out.txt",
        "/secret/key.txt",
        "/workspace/sub/../../secret/key.txt",
        "/etc/passwd",
        "../secret/key.txt",
        "/workspace-evil/key.txt",
        "/workspace/absolute.txt",
    ] {
        for (tool, input) in [
            ("files.read-text", json!({"path": path})),
            ("files.read-bytes", json!({"path": path})),
            ("files.write-text", json!({"path": path, "text": "changed"})),
            ("files.append", json!({"path": path, "text": "changed"})),
            ("files.hash", json!({"path": path})),
            ("files.copy", json!({"source": path, "target": "/workspace/copy"})),
            ("files.copy", json!({"source": "/workspace/inner", "target": path, "overwrite": true})),
            ("files.concat", json!({"sources": [path], "output": "/workspace/copy"})),
        ] {
            let run = host.call(tool, input.clone());
            assert!(matches!(run.outcome(), Outcome::Failed { .. }), "{tool} {input}: {:?}", run.outcome());
        }
    }
    assert_eq!(tree::read(&secret), before);
    assert!(!host.workspace().join("copy").exists());
}

#[test]
fn a_read_only_grant_changes_nothing() {
    let writable = TestHost::with(&policy("", READ_WRITE), &[("guest", &attempt())]);
    let read_only = TestHost::with(&policy("", READ_ONLY), &[("guest", &attempt())]);
    for host in [&writable, &read_only] {
        host.write("inner", "inside");
        fs::create_dir(host.workspace().join("empty")).unwrap();
        symlink("inner", host.workspace().join("link")).unwrap();
    }
    let before = tree::read(&read_only.workspace());
    for op in MUTATING {
        for path in ["inner", "new", "empty", "link"] {
            let result = tried(&read_only, op, path);
            assert_ne!(result, DONE, "operation {op} on {path}");
        }
        assert_eq!(tree::read(&read_only.workspace()), before, "operation {op}");
    }
    assert_eq!(tried(&read_only, READ, "inner"), DONE);
    // The same operations work where they are granted, so that the above is not for another reason.
    let mut done = Vec::new();
    for op in MUTATING {
        for (name, text) in [("inner", "inside"), ("moved", "")] {
            drop(fs::remove_file(writable.workspace().join(name)));
            if !text.is_empty() {
                writable.write(name, text);
            }
        }
        drop(fs::remove_file(writable.workspace().join("new")));
        drop(fs::remove_dir(writable.workspace().join("new")));
        if ["inner", "new", "empty"].iter().any(|path| tried(&writable, op, path) == DONE) {
            done.push(op);
        }
    }
    // 17 and 18 write through a descriptor that was opened for reading: not even a writable folder lets them.
    assert_eq!(done, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 19, 20, 21]);
}

#[test]
fn without_a_grant_there_is_no_folder() {
    let host = TestHost::with(&policy("", ""), &[("guest", &attempt()), ("probe", &repo::component("probe"))]);
    host.write("inner", "inside");
    assert_eq!(tried(&host, READ, "inner"), NOTHING_GRANTED);
    assert_eq!(host.probed(&["cat", "/workspace/inner"])["exit_code"], 1);
    // `files` says that it needs a folder: without its manifest it runs, and sees none.
    let files = ("files", &repo::component("files")[..]);
    let host = TestHost::with(&policy("", ""), &[files]);
    host.write("inner", "inside");
    let run = host.call("files.read-text", json!({"path": "/workspace/inner"}));
    assert_eq!(run.outcome().name(), "failed");
    let run = host.call("files.list", json!({"path": "/"}));
    assert_eq!(run.outcome().name(), "failed");
}

#[test]
fn environment_arguments_and_folder_are_what_the_policy_and_the_step_say() {
    let bare = TestHost::probe(&policy("", ""));
    assert_eq!(bare.probed(&["env"])["stdout"], "");
    assert_eq!(bare.probed(&["args", "one", "two words", ""])["stdout"], "one\ntwo words\n\n");
    let grant = format!("{READ_ONLY}\nenv = {{ LANG = \"C.UTF-8\", TOKEN = \"a=b\" }}");
    let host = TestHost::probe(&policy("", &grant));
    assert_eq!(host.probed(&["env"])["stdout"], "LANG=C.UTF-8\nTOKEN=a=b\n");
    assert_eq!(cwd(&grant), "/workspace");
    assert_eq!(cwd(""), Value::Null);
    let run = host.call("probe.run", json!({"args": ["env"], "env": {"LANG": "de", "A": "1"}})).completed();
    assert_eq!(run.output()["stdout"], "A=1\nLANG=de\nTOKEN=a=b\n");
    let run = host.call("probe.run", json!({"args": ["stdin"], "stdin": "grüße\n"})).completed();
    assert_eq!(run.output()["stdout"], "grüße\n");
}

/// What `initial-cwd` says. (The C library of `wasm32-wasip2` does not ask.)
fn cwd(grant: &str) -> Value {
    let core = r#"
        (import "wasi:cli/environment@0.2.12" "initial-cwd" (func $cwd (param i32)))
        (func (export "go") (result i32) (call $cwd (i32.const 8)) (i32.const 8))"#;
    let imports = &["wasi:cli/environment@0.2.12"];
    let guest = Guest { imports, exports: "export go: func() -> option<string>;", core }.build();
    let host = TestHost::with(&policy("", grant), &[("guest", &guest)]);
    host.call("guest.go", json!({})).completed().output().clone()
}

/// A run of `probe` with these arguments under this grant, as its trace.
fn trace_of(grant: &str, args: &[&str]) -> String {
    let host = TestHost::probe(&policy("", grant));
    host.call("probe.run", json!({"args": args})).completed().bytes()
}

#[test]
fn clocks_are_virtual_unless_granted() {
    assert_eq!(trace_of("", &["clock"]), trace_of("", &["clock"]));
    let real = "clocks = \"real\"";
    assert_ne!(trace_of(real, &["clock"]), trace_of(real, &["clock"]));
    let host = TestHost::probe(&policy("", ""));
    let output = host.probed(&["clock"]);
    let wall = output["stdout"].as_str().unwrap().lines().next().unwrap().to_owned();
    // 2026-01-01T00:00:00Z and some milliseconds.
    assert!(wall.starts_with("wall 17672256000"), "{wall}");
    let mut plan = plan([step("it", "probe.run", json!({"args": ["clock"]}))]);
    plan["start_time"] = json!("2030-06-01T12:00:00Z");
    let run = host.run(&plan).completed();
    assert!(run.output()["stdout"].as_str().unwrap().starts_with("wall 1906545600"), "{}", run.output());
    let real = TestHost::probe(&policy("", real));
    let now = skillhost::clock::since_epoch();
    let wall: u64 = real.probed(&["clock"])["stdout"].as_str().unwrap()[5..24].parse().unwrap();
    let read = Duration::from_nanos(wall);
    assert!(read >= now - Duration::from_secs(1) && read < now + Duration::from_secs(300), "{read:?} {now:?}");
}

#[test]
fn an_hour_of_virtual_sleep_takes_no_time() {
    let host = TestHost::probe(&policy("", ""));
    host.probed(&["args"]);
    let watch = Stopwatch::start();
    let output = host.probed(&["sleep", "3600000"]);
    assert!(watch.elapsed() < Duration::from_secs(300), "{:?}", watch.elapsed());
    let slept: u64 = output["stdout"].as_str().unwrap().trim_end().strip_prefix("slept ").unwrap().parse().unwrap();
    assert!((3_600_000_000_000..3_601_000_000_000).contains(&slept), "{slept}");
}

#[test]
fn real_clocks_really_wait() {
    let host = TestHost::probe(&policy("", "clocks = \"real\""));
    let watch = Stopwatch::start();
    host.probed(&["sleep", "120"]);
    assert!(watch.elapsed() >= Duration::from_millis(120));
}

#[test]
fn random_bytes_follow_from_seed_and_step() {
    let random = |grant: &str, seed: u64, id: &str| {
        let host = TestHost::probe(&policy("", grant));
        let mut plan = plan([step(id, "probe.run", json!({"args": ["random", "32"]}))]);
        plan["seed"] = json!(seed);
        host.run(&plan).completed().output()["stdout"].as_str().unwrap().to_owned()
    };
    let once = random("", 1, "a");
    assert!(once.len() >= 64, "{once}");
    assert_eq!(once, random("", 1, "a"));
    assert_ne!(once, random("", 2, "a"), "another seed");
    assert_ne!(once, random("", 1, "b"), "another step");
    let real = "random = \"real\"";
    assert_ne!(random(real, 1, "a"), random(real, 1, "a"));
}

/// Everything that a stat, a hash or a listing says goes into these steps.
fn look_around() -> Value {
    plan([
        step("list", "probe.run", json!({"args": ["list", "/workspace"]})),
        step("sub", "files.list", json!({"path": "/workspace/sub"})),
        step("stat", "probe.run", json!({"args": ["stat", "/workspace/a.txt"]})),
        step("dir", "probe.run", json!({"args": ["stat", "/workspace/sub"]})),
        step("info", "files.stat", json!({"path": "/workspace/a.txt", "times": true})),
        step("find", "files.find", json!({"folder": "/workspace", "pattern": "**"})),
        step("copy", "files.copy", json!({"source": "/workspace/a.txt", "target": "/workspace/z.txt"})),
        step("move", "files.move", json!({"source": "/workspace/z.txt", "target": "/workspace/y.txt"})),
        step("hash", "files.hash", json!({"path": "/workspace/y.txt"})),
        step("same", "guest.go", json!({"op": 16, "path": "a.txt"})),
    ])
}

#[test]
fn a_trace_does_not_depend_on_the_folder_it_ran_in() {
    let guest = attempt();
    let skills: [(&str, &[u8]); 2] = [("probe", &repo::component("probe")), ("guest", &guest)];
    let first = TestHost::with(&policy("", READ_WRITE), &skills);
    for name in ["b.txt", "a.txt", "sub/2.txt", "sub/10.txt", "sub/1.txt", "Z.txt"] {
        first.write(name, format!("content of {name}"));
    }
    let second = TestHost::with(&policy("", READ_WRITE), &skills);
    fs::remove_dir(second.workspace()).unwrap();
    // Copied in another order, with a file that was there and went, and with old times.
    tree::copy(&first.workspace(), &second.workspace());
    fs::remove_file(second.workspace().join("a.txt")).unwrap();
    second.write("a.txt", "content of a.txt");
    fs::File::open(second.workspace().join("b.txt")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let (one, two) = (first.run(&look_around()).completed(), second.run(&look_around()).completed());
    assert_eq!(one.bytes(), two.bytes());
    assert_eq!(one.report.head, two.report.head);
}

#[test]
fn a_named_pipe_cannot_block_the_host() {
    let host = TestHost::with(
        &policy("deadline_ms = 5000", READ_WRITE),
        &[("probe", &repo::component("probe")), ("guest", &attempt())],
    );
    let pipe = host.workspace().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo starts");
    assert!(made.success());
    symlink("pipe", host.workspace().join("link")).unwrap();
    let watch = Stopwatch::start();
    for path in ["pipe", "link"] {
        for op in [0, 1, 2, 3, 17] {
            assert_ne!(tried(&host, op, path), DONE, "operation {op} on {path}");
        }
        let output = host.probed(&["cat", &format!("/workspace/{path}")]);
        assert_eq!(output["exit_code"], 1, "{output}");
    }
    assert!(watch.elapsed() < Duration::from_secs(300));
}

#[test]
fn a_trap_shows_where_the_guest_was() {
    let core = r#"(func $inner (param i32) unreachable) (func $outer (export "go") (call $inner (i32.const 1)))"#;
    let guest = Guest { imports: &[], exports: "export go: func();", core }.build();
    let host = TestHost::with(&policy("", ""), &[("guest", &guest), ("probe", &repo::component("probe"))]);
    let run = host.call("guest.go", json!({}));
    let Outcome::Trapped { message, backtrace } = run.outcome() else { panic!("{:?}", run.outcome()) };
    assert!(message.contains("unreachable"), "{message}");
    assert!(backtrace[0].contains("guest!inner @ 0x") && backtrace[1].contains("guest!outer @ 0x"), "{backtrace:#?}");
    host.replay_equals(&run);
    let run = host.call("probe.run", json!({"args": ["panic"]}));
    let Outcome::Trapped { backtrace, .. } = run.outcome() else { panic!("{:?}", run.outcome()) };
    let frames = backtrace.join("\n");
    assert!(frames.contains("!probe::main @ 0x") && frames.contains("rust_panic"), "{frames}");
    assert!(!frames.contains("/home") && !frames.contains("cargo/registry"), "{frames}");
    host.replay_equals(&run);
    // The trap says only `unreachable`; what the panic says is on stderr.
    assert!(run.report.steps[0].stderr.contains("probe was asked to panic"), "{:?}", run.report.steps[0].stderr);
    let events = run.trace.events.iter().filter(|event| event["kind"] == "step-end");
    assert!(events.into_iter().all(|event| !event.to_string().contains("asked to panic")));
}

#[test]
fn exit_codes_complete_or_fail_a_step() {
    let host = TestHost::probe(&policy("", ""));
    let run = host.call("probe.run", json!({"args": ["exit", "0"]})).completed();
    assert_eq!(run.output()["exit_code"], 0);
    let run = host.call("probe.run", json!({"args": ["exit", "3"]}));
    let code = run.error()["exit_code"].as_u64().unwrap();
    assert_ne!(code, 0);
    host.replay_equals(&run);
    let run = host.call("probe.run", json!({"args": ["exit", "3"], "exit_codes": [0, code]})).completed();
    assert_eq!(run.output()["exit_code"], code);
    host.replay_equals(&run);
    let run = host.call("probe.run", json!({"args": ["no-such-command"]}));
    assert!(run.error()["stderr"].as_str().unwrap().contains("usage: probe"), "{}", run.error());
}

#[test]
fn an_exit_code_is_not_cut() {
    let core = r#"
        (import "wasi:cli/exit@0.2.12" "exit-with-code" (func $exit (param i32)))
        (func (export "wasi:cli/run@0.2.12#run") (result i32) (call $exit (i32.const 42)) unreachable)"#;
    let guest = Guest { imports: &["wasi:cli/exit@0.2.12"], exports: "export wasi:cli/run@0.2.12;", core }.build();
    let host = TestHost::with(&policy("", ""), &[("guest", &guest)]);
    let run = host.call("guest.run", json!({}));
    assert_eq!(run.error()["exit_code"], 42);
    host.replay_equals(&run);
}

/// A plan whose second step uses a component that is wrong; the first would write.
fn refused_for(bytes: &[u8]) -> (Vec<String>, String) {
    let host = TestHost::with(&policy("", READ_WRITE), &[("guest", bytes)]);
    let run = host.run(&plan([
        step("one", "files.write-text", json!({"path": "/workspace/a.txt", "text": "a"})),
        step("two", "guest.go", json!({})),
    ]));
    assert_eq!(run.report.outcome, RunOutcome::Refused, "{:#?}", run.report);
    assert_eq!(run.trace.of_kind("call").count() + run.trace.of_kind("step-begin").count(), 0);
    assert!(tree::read(&host.workspace()).is_empty());
    host.replay_equals(&run);
    let codes = run.report.problems.iter().map(|problem| problem.code.clone()).collect();
    (codes, run.report.problems.iter().map(|problem| format!("{problem}\n")).collect())
}

#[test]
fn a_component_that_imports_what_is_not_provided_is_refused_before_anything_runs() {
    for interface in [
        "wasi:http/incoming-handler@0.2.0",
        "wasi:sockets/tcp@0.2.13",
        "wasi:sockets/types@0.3.0",
        "acme:database/query@1.0.0",
    ] {
        let text = format!(
            r#"(component (import "{interface}" (instance (export "f" (func))))
               (core module $m (func (export "go"))) (core instance $i (instantiate $m))
               (func (export "go") (canon lift (core func $i "go"))))"#
        );
        let (codes, problems) = refused_for(&guest::component(&text));
        assert_eq!(codes, ["import-not-provided"], "{problems}");
        assert!(problems.contains(interface), "{problems}");
    }
}

#[test]
fn what_is_no_component_is_refused_before_anything_runs() {
    let component = repo::component("probe");
    let mut version = component.clone();
    version[4] = 0x63;
    let module = wat::parse_str("(module)").unwrap();
    let cases: [(&[u8], &str); 6] = [
        (b"", "component-empty"),
        (b"hello", "component-not-wasm"),
        (b"(component)", "component-is-text"),
        (&module, "component-is-core-module"),
        (&component[..component.len() / 2], "component-corrupt"),
        (&version, "component-corrupt"),
    ];
    for (bytes, code) in cases {
        let (codes, text) = refused_for(bytes);
        assert_eq!(codes, [code], "{text}");
    }
}

#[test]
fn a_flipped_bit_is_a_refusal_an_error_or_another_component_and_never_a_crash() {
    let good = Guest {
        imports: &[],
        exports: "export go: func() -> u32;",
        core: "(func (export \"go\") (result i32) (i32.const 7))",
    };
    let good = good.build();
    let host = TestHost::configured(&policy("fuel = 100_000\ndeadline_ms = 2000", ""), &[], |builder| {
        builder.compiled_code(skillhost::CompiledCode::nowhere())
    });
    let name = host_tests::test_host::name("guest");
    let mut refused = 0;
    for at in (0..good.len()).step_by(3) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        let digest = skillhost::id::Digest::of(&bytes);
        match host.host.inspect(&name, &host_tests::test_host::memory(&bytes)) {
            Ok(skill) => assert_eq!(skill.digest, digest),
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(refused > good.len() / 12, "{refused}");
}
