//! As a normal user, for whom there is something that the system refuses: it is an error of the guest, everything else is put back, and no run is
//! left without an end. Where the tests run as root the program is started as somebody else.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Whom the program runs as where the tests run as root.
const USER: u32 = 1000;

const POLICY: &str = r#"schema = "skillhost.policy/1"
[[grant]]
skills = ["*"]
tools = ["*"]
approval = "never"
filesystem = [{ host = "{workspace}", guest = "/workspace", access = "read-write" }]
"#;

struct User {
    folder: TempDir,
    is_root: bool,
}

impl User {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let user = Self { folder, is_root };
        // Where nobody but root may enter the folder of the build.
        fs::copy(env!("CARGO_BIN_EXE_host-under-test"), user.path("host")).expect("copied");
        fs::write(user.path("policy.toml"), POLICY).expect("written");
        fs::create_dir(user.path("workspace")).expect("a folder");
        for own in ["", "host", "policy.toml", "workspace"] {
            user.give(&user.path(own));
        }
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes something the user's.
    fn give(&self, path: &Path) {
        if self.is_root {
            chown(path, Some(USER), Some(USER)).expect("given");
        }
    }

    fn file(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path("workspace").join(name);
        fs::write(&path, name).expect("written");
        self.give(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        path
    }

    /// Code and stdout with stderr.
    fn host(&self, args: &[&str]) -> (i32, String) {
        let host = self.path("host");
        let mut command = if self.is_root { Command::new("setpriv") } else { Command::new(&host) };
        if self.is_root {
            let (user, group) = (format!("--reuid={USER}"), format!("--regid={USER}"));
            command.args([&user, &group, "--clear-groups"]).arg(&host);
        }
        command.args(["--state", "state"]).args(args).env_clear().current_dir(self.folder.path());
        command.envs([("PATH", "/usr/bin:/bin"), ("HOST_POLICY", "policy.toml")]).env("HOME", self.folder.path());
        let output = command.stdin(Stdio::null()).output().expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().expect("it ends"), text(&output.stdout) + &text(&output.stderr))
    }

    /// Runs a plan whose first step changes `plain` and that is taken back; `steps` come behind it.
    fn back(&self, steps: &[Value]) -> (i32, String) {
        let write = json!({"path": "/workspace/plain", "text": "changed"});
        let mut all = vec![json!({"id": "first", "tool": "files.write-text", "input": write})];
        for step in steps {
            let mut step = step.clone();
            step["depends_on"] = json!([all.last().expect("a step")["id"]]);
            all.push(step);
        }
        let plan = json!({"schema": "skillhost.plan/1", "name": "p", "on_failure": "rollback", "steps": all});
        fs::write(self.path("plan.json"), plan.to_string()).expect("written");
        self.host(&["run", "plan.json"])
    }

    /// Nothing is left: no run without an end, nothing to recover, nothing to warn of.
    fn is_settled(&self, case: &str) {
        let (code, text) = self.host(&["recover"]);
        assert_eq!((code, text.contains("no run was stopped")), (0, true), "{case}: {text}");
        let (_, runs) = self.host(&["runs"]);
        assert!(!runs.contains("not ended"), "{case}: {runs}");
        assert_eq!(fs::read_to_string(self.path("workspace/plain")).expect("it is there"), "plain", "{case}");
    }
}

fn call(id: &str, tool: &str, input: Value) -> Value {
    json!({"id": id, "tool": tool, "input": input})
}

fn write(path: &str) -> Value {
    call("it", "files.write-text", json!({"path": format!("/workspace/{path}"), "text": "x"}))
}

#[test]
fn what_the_system_refuses_ends_a_step_and_nothing_else() {
    let user = User::new();
    user.file("plain", 0o644);
    let read_only = user.file("read-only", 0o444);
    let hidden = user.file("hidden", 0o000);
    let linked = user.file("linked", 0o000);
    fs::hard_link(&linked, user.path("workspace/linked-too")).expect("a link");
    let write_only = user.file("write-only", 0o200);
    let sleep = user.path("workspace/sleep");
    fs::copy("/bin/sleep", &sleep).expect("copied");
    user.give(&sleep);
    let mut sleeping = Command::new(&sleep).arg("600").spawn().expect("it starts");
    let moved = |from: &str| {
        call("it", "files.move", json!({"source": format!("/workspace/{from}"), "target": "/workspace/moved"}))
    };
    let over = json!({"source": "/workspace/plain", "target": "/workspace/hidden", "overwrite": true});
    for (case, step) in [
        ("a file that may not be written to", write("read-only")),
        ("a program that runs", write("sleep")),
        ("a file that may not be read, to write to", write("hidden")),
        ("a file that may only be written to", write("write-only")),
        ("a file that may not be read, moved", moved("hidden")),
        ("a file that may not be read, replaced", call("it", "files.move", over)),
        ("a name of a file that may not be read", call("it", "files.remove", json!({"path": "/workspace/linked"}))),
    ] {
        let (code, text) = user.back(std::slice::from_ref(&step));
        assert_eq!((code, text.contains("rolled back")), (7, true), "{case}: {text}");
        user.is_settled(case);
    }
    // What only looks at it, or tries, and goes on.
    let (code, text) = user.host(&["call", "files.exists", "--input", r#"{"path": "/workspace/hidden"}"#]);
    assert_eq!(code, 0, "{text}");
    user.is_settled("a file that may not be read, looked at");
    sleeping.kill().expect("it runs");
    sleeping.wait().expect("it ends");
    for (path, mode) in [(&read_only, 0o444), (&hidden, 0), (&write_only, 0o200)] {
        let meta = fs::metadata(path).expect("it is there");
        assert_eq!((meta.mode() & 0o7777, meta.len()), (mode, path.file_name().unwrap().len() as u64), "{path:?}");
    }
    assert_eq!(fs::metadata(&linked).expect("it is there").nlink(), 2);
}

#[test]
fn what_is_somebody_elses_is_put_back_as_far_as_it_is_ours() {
    let user = User::new();
    if !user.is_root {
        // Nobody else's can be made then; the enumeration of errors has the rest.
        return;
    }
    user.file("plain", 0o644);
    let folder = user.path("workspace/theirs");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("its mode");
    let file = folder.join("file");
    fs::write(&file, "theirs").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("its mode");
    let blind = user.path("workspace/blind");
    fs::create_dir(&blind).expect("a folder");
    user.give(&blind);
    fs::set_permissions(&blind, fs::Permissions::from_mode(0o300)).expect("its mode");
    let steps = [
        call("new", "files.write-text", json!({"path": "/workspace/theirs/new", "text": "x"})),
        call("over", "files.write-text", json!({"path": "/workspace/theirs/file", "text": "ours"})),
        call("blind", "files.write-text", json!({"path": "/workspace/blind/new", "text": "x"})),
        call("fails", "files.read-text", json!({"path": "/workspace/none"})),
    ];
    let (code, text) = user.back(&steps);
    assert_eq!((code, text.contains("rolled back: everything is as it was")), (7, true), "{text}");
    user.is_settled("theirs");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "theirs");
    assert!(!folder.join("new").exists() && !blind.join("new").exists());
}
