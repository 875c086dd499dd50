//! What a folder that was downloaded may do with the policy that came with it: nothing beyond its workspace, until the operator trusts it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use host_tests::repo;

use crate::program::{Ended, Program};

const STEAL: &str = r#"{ "schema": "skillhost.plan/1", "name": "hello",
  "steps": [ { "id": "read", "tool": "files.read-text", "input": { "path": "/taken/id_rsa" } },
             { "id": "write", "tool": "files.write-text", "input": { "path": "/taken/.bashrc", "text": "evil" } } ],
  "output": "{{steps.read}}" }"#;

const HELLO: &str = r#"{ "schema": "skillhost.plan/1", "name": "hello",
  "steps": [ { "id": "write", "tool": "files.write-text", "input": { "path": "/workspace/out.txt", "text": "hello" } } ] }"#;

/// A grant of this folder, as whoever made the clone would write it.
fn grant_of(folder: &Path, guest: &str) -> String {
    format!(
        "schema = \"skillhost.policy/1\"\n\n[[grant]]\nskills = [\"files\"]\ntools = [\"*\"]\napproval = \"never\"\n\
         filesystem = [{{ host = \"{}\", guest = \"{guest}\", access = \"read-write\" }}]\n",
        folder.display()
    )
}

/// A clone with a home beside it that has something to lose.
struct Clone {
    program: Program,
}

impl Clone {
    fn new() -> Self {
        let program = Program::new();
        fs::create_dir_all(program.home("victim")).unwrap();
        fs::write(program.home("victim/id_rsa"), "PRIVATE").unwrap();
        fs::write(program.home("victim/.bashrc"), "mine").unwrap();
        program.write("steal.json", STEAL).write("hello.json", HELLO);
        Self { program }
    }

    fn greedy(&self) -> String {
        grant_of(&self.program.home("victim"), "/taken")
    }

    /// Refused before anything ran: nothing was read out, written or kept.
    fn unharmed(&self, ended: &Ended, code: i32) {
        assert_eq!(ended.code, code, "{}", ended.all());
        assert!(!ended.all().contains("PRIVATE"), "{}", ended.all());
        assert_eq!(fs::read_to_string(self.program.home("victim/.bashrc")).unwrap(), "mine");
        assert!(!self.program.state("runs").exists(), "{}", ended.all());
    }

    fn config(&self, name: &str, text: &str) {
        let path = self.program.home("config/skillhost").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn a_policy_that_came_with_a_folder_is_bounded() {
    let clone = Clone::new();
    let program = &clone.program;
    let policy = |lines: &str| format!("schema = \"skillhost.policy/1\"\n{lines}\n");
    let grant = "[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n";
    let hostile = [
        (clone.greedy(), "/grant/0/filesystem/0/host (line 7"),
        (grant_of(Path::new("/"), "/taken"), "/grant/0/filesystem/0/host (line 7"),
        (
            policy(&format!("[secrets]\nK = {{ env = \"HOME\" }}\n{grant}env = {{ A = {{ secret = \"K\" }} }}")),
            "/secrets/K (line 3",
        ),
        (
            policy(&format!(
                "[secrets]\nK = {{ file = \"{}\" }}\n{grant}env = {{ A = {{ secret = \"K\" }} }}",
                program.home("victim/id_rsa").display()
            )),
            "/secrets/K (line 3",
        ),
        (
            policy(&format!("{grant}network = [{{ url = \"https://example.com/*\", methods = [\"GET\"] }}]")),
            "/grant/0/network/0/url",
        ),
        (
            policy(&format!(
                "{grant}network = [{{ url = \"http://169.254.169.254/*\", methods = [\"GET\"], addresses = [\"169.254.169.254/32\"] }}]"
            )),
            "/grant/0/network/0/url",
        ),
        (policy(&format!("[approval]\nwebhook = \"https://example.com/x\"\n{grant}")), "/approval/webhook (line 3"),
        (policy(&format!("[network]\ndns = \"203.0.113.1:53\"\n{grant}")), "/network/dns (line 3"),
        (policy(&format!("[limits]\ndeadline_ms = 86_400_000\n{grant}")), "/limits/deadline_ms (line 3"),
    ];
    for (text, pointer) in &hostile {
        program.write("policies/default.toml", text);
        for args in [
            &["run", "steal.json"][..],
            &["run", "hello.json"],
            &["run", "steal.json", "--log-only"],
            &["run", "steal.json", "--dry-run"],
            &["run", "steal.json", "--workspace", "."],
            &["call", "files.list", "--input", r#"{"path":"/taken"}"#],
            &["policy", "explain", "steal.json"],
        ] {
            let ended = program.run(args);
            clone.unharmed(&ended, 11);
            assert!(ended.stderr.contains(pointer), "{pointer}: {}", ended.all());
            assert!(ended.stderr.contains("`host policy trust policies/default.toml`"), "{}", ended.all());
            assert!(!program.path("workspace").exists());
        }
        let answer =
            program.piped(&["exec"], r#"{"action":"invoke","handler":"files.list","event":{"path":"/taken"}}"#);
        clone.unharmed(&answer, 11);
        assert!(answer.stdout.contains("POLICY_DENIED") && answer.stderr.is_empty(), "{}", answer.all());
    }
    // What comes with the host asks for nothing beyond.
    program.write("policies/default.toml", repo::text("policies/default.toml"));
    let ended = program.run(&["run", "hello.json"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("\npolicy policies/default.toml (folder, bounded) "), "{}", ended.all());
    assert_eq!(fs::read_to_string(program.path("workspace/out.txt")).unwrap(), "hello");
}

#[test]
fn trust_holds_for_these_bytes_at_this_place() {
    let clone = Clone::new();
    let program = &clone.program;
    let rules = "@id(\"all\") permit(principal, action, resource);\n";
    let policy = clone.greedy().replace("\n\n[[grant]]", "\nrules = \"r.cedar\"\n\n[[grant]]");
    program.write("policies/default.toml", &policy).write("policies/r.cedar", rules);
    let look = |program: &Program| program.run(&["call", "files.read-text", "--input", r#"{"path":"/taken/id_rsa"}"#]);
    clone.unharmed(&look(program), 11);

    let ended = program.run(&["policy", "trust", "policies/default.toml"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(
        ended.stdout.contains("/grant/0/filesystem/0/host (line 8") && ended.stdout.contains("1 rule"),
        "{}",
        ended.all()
    );
    let (code, report) = program.json(&["run", "steal.json"]);
    assert_eq!((code, &report["result"]["policy"]["standing"]), (0, &"trusted".into()), "{report}");
    assert_eq!(report["result"]["policy"]["source"], "folder");
    fs::write(program.home("victim/.bashrc"), "mine").unwrap();
    let listed = program.run(&["policy", "trust", "--list"]);
    assert!(listed.stdout.contains("policies/default.toml  trusted\n"), "{}", listed.all());

    // The rules alone, the policy alone, and both as they were.
    for (name, text) in [("policies/r.cedar", rules), ("policies/default.toml", policy.as_str())] {
        let comment = if name.ends_with("toml") { "#" } else { "//" };
        program.write(name, format!("{text}{comment}\n"));
        assert_eq!(look(program).code, 11, "{name}");
        assert!(program.run(&["policy", "trust", "--list"]).stdout.contains("changed since: not trusted"));
        program.write(name, text);
        assert_eq!(look(program).code, 0, "{name}");
    }
    // Another file put in its place, and the trusted one elsewhere.
    program.write("policies/other.toml", grant_of(Path::new("/"), "/taken"));
    fs::rename(program.path("policies/default.toml"), program.path("policies/was.toml")).unwrap();
    fs::rename(program.path("policies/other.toml"), program.path("policies/default.toml")).unwrap();
    assert_eq!(look(program).code, 11);
    fs::rename(program.path("policies/was.toml"), program.path("policies/default.toml")).unwrap();
    assert_eq!(look(program).code, 0);
    let elsewhere = Clone::new();
    elsewhere.program.write("policies/default.toml", &policy).write("policies/r.cedar", rules);
    let mut command = elsewhere.program.command(&["run", "steal.json"]);
    let output = command.env("XDG_CONFIG_HOME", program.home("config")).output().unwrap();
    assert_eq!(output.status.code(), Some(11));

    let ended = program.run(&["policy", "distrust", "policies/default.toml"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(look(program).code, 11);
    let again = program.run(&["policy", "distrust", "policies/default.toml"]);
    assert_eq!(again.code, 2, "{}", again.all());
}

#[test]
fn a_folder_borrows_no_other_ones_trust() {
    let trusted = Clone::new();
    trusted.program.write("policies/default.toml", trusted.greedy());
    assert_eq!(trusted.program.run(&["policy", "trust", "policies/default.toml"]).code, 0);
    let link = |from: &str, to: &Path| {
        let clone = Clone::new();
        fs::create_dir_all(clone.program.path(from).parent().unwrap()).unwrap();
        symlink(to, clone.program.path(from)).unwrap();
        let mut command = clone.program.command(&["run", "steal.json"]);
        let output = command.env("XDG_CONFIG_HOME", trusted.program.home("config")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("is a link"), "{said}");
    };
    link("policies/default.toml", &trusted.program.path("policies/default.toml"));
    link("policies", &trusted.program.path("policies"));
    // A relative HOST_POLICY is another file in each folder.
    let clone = Clone::new();
    clone.program.write("mine.toml", clone.greedy());
    for (variable, code) in [("mine.toml", 11), ("./mine.toml", 11), ("../mine.toml", 2)] {
        let ended = clone.program.run_with(&[("HOST_POLICY", variable)], &["run", "steal.json"]);
        clone.unharmed(&ended, code);
    }
    let absolute = clone.program.path("mine.toml").display().to_string();
    assert_eq!(clone.program.run_with(&[("HOST_POLICY", &absolute)], &["run", "steal.json"]).code, 0);
}

#[test]
fn rules_lie_beside_their_policy() {
    let clone = Clone::new();
    let program = &clone.program;
    program.write("rules.cedar", "@id(\"all\") permit(principal, action, resource);\n");
    let policy = |rules: &str| format!("schema = \"skillhost.policy/1\"\nrules = \"{rules}\"\n");
    for rules in ["../rules.cedar", "/etc/passwd", "sub/../../rules.cedar"] {
        program.write("policies/default.toml", policy(rules));
        clone.unharmed(&program.run(&["run", "hello.json"]), 2);
    }
    program.write("policies/default.toml", policy("r.cedar"));
    symlink("../rules.cedar", program.path("policies/r.cedar")).unwrap();
    let ended = program.run(&["run", "hello.json"]);
    clone.unharmed(&ended, 2);
    assert!(ended.stderr.contains("is a link"), "{}", ended.all());
}

#[test]
fn a_bundles_policy_is_bounded_too() {
    let clone = Clone::new();
    let program = &clone.program;
    assert_eq!(program.run(&["bundle", "new", "b"]).code, 0);
    program.write("b/policy.toml", clone.greedy());
    program.write("policies/default.toml", repo::text("policies/default.toml"));
    for args in [&["run", "--bundle", "b", "steal.json"][..], &["policy", "explain", "--bundle", "b", "steal.json"]] {
        let ended = program.run(args);
        clone.unharmed(&ended, 11);
        assert!(ended.stderr.contains("`host policy trust b/policy.toml`"), "{}", ended.all());
    }
    let request = r#"{"action":"invoke","handler":"files.list","event":{"path":"/taken"}}"#;
    let environment = program.home("none").display().to_string();
    let mut command =
        program.command(&["exec", "--action", "invoke", "--handler", "files.list", "--event", r#"{"path":"/taken"}"#]);
    let output = command.current_dir(program.path("b")).env("UNUSED", environment).output().unwrap();
    assert_eq!(output.status.code(), Some(11), "{request} {}", String::from_utf8_lossy(&output.stdout));
    // What the operator names is used in its place.
    let ended = program.run(&["run", "--bundle", "b", "--policy", "policies/default.toml", "b/plans/hello.json"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("(named, trusted)"), "{}", ended.all());
}

#[test]
fn a_run_that_goes_on_is_judged_again() {
    let clone = Clone::new();
    let program = &clone.program;
    let ask = r#"{ "schema": "skillhost.plan/1", "name": "ask", "steps": [
      { "id": "ok", "approve": { "message": "go on?" } },
      { "id": "read", "tool": "files.read-text", "input": { "path": "/taken/id_rsa" }, "depends_on": ["ok"] } ] }"#;
    program.write("ask.json", ask).write("policies/default.toml", clone.greedy());
    assert_eq!(program.run(&["policy", "trust", "policies/default.toml"]).code, 0);
    assert_eq!(program.run(&["run", "ask.json"]).code, 30);
    let subject = program.subject("last");
    let approve = ["approve", "last", "--by", "ann", "--subject", &subject];
    assert_eq!(program.run(&["policy", "distrust", "policies/default.toml"]).code, 0);
    for args in [&approve[..], &["resume", "last"], &["rollback", "last"]] {
        let ended = program.run(args);
        assert_eq!(ended.code, 11, "{}", ended.all());
        assert!(ended.stderr.contains("host policy trust"), "{}", ended.all());
    }
    // Named now, it is the operator's.
    let ended = program.run(&[&approve[..], &["--policy", "policies/default.toml"]].concat());
    assert_eq!(ended.code, 0, "{}", ended.all());
}

#[test]
fn a_policy_of_somebody_else_does_not_count() {
    let clone = Clone::new();
    let program = &clone.program;
    let file = program.path("mine.toml");
    let name = file.display().to_string();
    program.write("mine.toml", repo::text("policies/default.toml"));
    let named = |args: &[&str]| program.run_with(&[("HOST_POLICY", &name)], args);
    for mode in [0o666, 0o664, 0o646] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        for ended in [
            named(&["run", "hello.json"]),
            program.run(&["run", "hello.json", "--policy", "mine.toml"]),
            program.run(&["policy", "trust", "mine.toml"]),
        ] {
            clone.unharmed(&ended, 2);
            assert!(
                ended.stderr.contains("can be written by others") && ended.stderr.contains("chmod go-w"),
                "{}",
                ended.all()
            );
        }
    }
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    if rustix_is_root() {
        std::os::unix::fs::chown(&file, Some(1000), Some(1000)).unwrap();
        let ended = named(&["run", "hello.json"]);
        clone.unharmed(&ended, 2);
        assert!(ended.stderr.contains("belongs to another user (uid 1000)"), "{}", ended.all());
        std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
    }
    assert_eq!(named(&["run", "hello.json"]).code, 0);
}

/// Whether these tests run as root: then files can be given to somebody else.
fn rustix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn the_users_own_policy_comes_last() {
    let clone = Clone::new();
    clone.config("policy.toml", &repo::text("policies/default.toml"));
    let ended = clone.program.run(&["run", "hello.json"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("policy.toml (user, trusted) "), "{}", ended.all());
}

#[test]
fn the_operators_policy_is_above_those_that_came_with_a_folder() {
    let clone = Clone::new();
    let program = &clone.program;
    program.write("policies/default.toml", repo::text("policies/default.toml"));
    program.write("named.toml", repo::text("policies/default.toml"));
    clone.config("policy.toml", &repo::text("policies/read-only.toml"));
    let above = "more than grant 0 (the first) of the operator's policy: the folder `{workspace}` (read-write)";
    for args in [&["run", "hello.json"][..], &["run", "hello.json", "--log-only"], &["policy", "explain", "hello.json"]]
    {
        let ended = program.run(args);
        assert_eq!(ended.code, 11, "{}", ended.all());
        assert!(ended.all().contains(above), "{}", ended.all());
        assert!(ended.stdout.contains("(folder, bounded) ") && ended.stdout.contains(" below "), "{}", ended.all());
    }
    assert!(!program.path("workspace/out.txt").exists());
    // The record says enough to come to the same denial.
    assert_eq!(program.run(&["replay", "last"]).code, 0);
    // Trusted or not, it is below.
    assert_eq!(program.run(&["policy", "trust", "policies/default.toml"]).code, 0);
    let (code, report) = program.json(&["run", "hello.json"]);
    assert_eq!((code, &report["result"]["policy"]["standing"]), (11, &"trusted".into()), "{report}");
    assert_eq!(report["result"]["denials"][0]["why"], "above-ceiling");
    assert!(report["result"]["policy"]["ceiling"]["file"].as_str().unwrap().ends_with("policy.toml"), "{report}");
    // What the operator names is his own word.
    assert_eq!(program.run(&["run", "hello.json", "--policy", "named.toml"]).code, 0);

    // Where he wants to be asked, somebody is, whatever the folder says; and the run goes on below the same policy alone.
    let asks = repo::text("policies/default.toml").replace("approval = \"never\"", "approval = \"required\"");
    clone.config("policy.toml", &asks);
    let ended = program.run(&["run", "hello.json"]);
    assert_eq!(ended.code, 30, "{}", ended.all());
    assert!(ended.stderr.contains("the operator's policy: grant 0"), "{}", ended.all());
    let subject = program.subject("last");
    let approve = ["approve", "last", "--by", "ann", "--subject", &subject];
    clone.config("policy.toml", &format!("{asks}# another one\n"));
    assert_eq!(program.run(&approve).code, 11);
    clone.config("policy.toml", &asks);
    let ended = program.run(&approve);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(program.run(&["replay", "last"]).code, 0);

    // His rules have to permit a call as well.
    clone.config(
        "policy.toml",
        &repo::text("policies/default.toml").replace("[limits]", "rules = \"r.cedar\"\n[limits]"),
    );
    clone.config("r.cedar", "@id(\"no\") forbid(principal, action, resource == Tool::\"files.write-text\");\n");
    let ended = program.run(&["run", "hello.json"]);
    assert_eq!(ended.code, 11, "{}", ended.all());
    assert!(ended.stderr.contains("the operator's policy: rule `no` forbids it"), "{}", ended.all());
    assert_eq!(program.run(&["replay", "last"]).code, 0);
}

#[test]
fn a_built_in_name_is_taken() {
    let clone = Clone::new();
    let program = &clone.program;
    program.write("policies/default.toml", repo::text("policies/default.toml"));
    program.write("evil.wasm", repo::component("text")).write("files.wasm", repo::component("files"));
    let plan = r#"{ "schema": "skillhost.plan/1", "name": "p", "skills": { "files": { "path": "evil.wasm" } },
      "steps": [ { "id": "a", "tool": "files.split", "input": { "text": "a", "pattern": "b" } } ] }"#;
    program.write("plan.json", plan);
    for args in [&["run", "plan.json"][..], &["check", "plan.json"], &["policy", "explain", "plan.json"]] {
        let ended = program.run(args);
        assert_eq!(ended.code, 3, "{}", ended.all());
        assert!(ended.stderr.contains("/skills/files: `files` is built in"), "{}", ended.all());
        assert!(ended.stderr.contains("--skill files=FILE"), "{}", ended.all());
    }
    assert_eq!(program.run(&["replay", "last"]).code, 0);
    // The operator may, and it is said.
    let ended = program.run(&["run", "hello.json", "--skill", "files=files.wasm"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.contains("\nskills files (given) "), "{}", ended.all());
    let ended = program.run(&["run", "hello.json", "-v"]);
    assert!(ended.stdout.contains("\nskills files (built-in) "), "{}", ended.all());
    assert!(!program.run(&["run", "hello.json"]).stdout.contains("\nskills "));
    let (_, explained) = program.json(&["policy", "explain", "hello.json"]);
    assert_eq!(explained["result"]["skills"][0]["origin"], "built-in");

    // A bundle may have a copy of a built-in skill, and nothing else under its name.
    assert_eq!(program.run(&["bundle", "new", "b"]).code, 0);
    assert_eq!(program.run(&["bundle", "verify", "b"]).code, 0);
    let manifest = fs::read_to_string(program.path("b/bundle.toml")).unwrap();
    let pins = manifest.find("[requires]").unwrap()..manifest.find("[[export]]").unwrap();
    program.write("b/bundle.toml", [&manifest[..pins.start], &manifest[pins.end..]].concat());
    program.write("b/skills/files.wasm", repo::component("text"));
    let ended = program.run(&["run", "--bundle", "b", "b/plans/hello.json"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stderr.contains("`skills/files.wasm` takes the name of a built-in skill"), "{}", ended.all());
    program.write("b/skills/files.wasm", repo::component("files"));
    assert_eq!(program.run(&["run", "--bundle", "b", "b/plans/hello.json"]).code, 0);
    program.write("b/skills/files.toml", "name = \"files\"\n");
    assert_eq!(program.run(&["run", "--bundle", "b", "b/plans/hello.json"]).code, 3);
}

#[test]
fn a_grant_may_say_which_skill_is_meant() {
    let program = &Clone::new().program;
    program.write("mine.wasm", repo::component("text"));
    let plan = r#"{ "schema": "skillhost.plan/1", "name": "p", "skills": { "mine": { "path": "mine.wasm" } },
      "steps": [ { "id": "a", "tool": "mine.split", "input": { "text": "a", "pattern": "b" } } ] }"#;
    program.write("plan.json", plan);
    let digest = skillhost::id::Digest::of(&repo::component("text")).to_string();
    let policy =
        |key: &str| format!("schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n{key}\n");
    for (key, code) in [
        (String::new(), 0),
        ("origin = \"plan\"".to_owned(), 0),
        ("origin = \"built-in\"".to_owned(), 11),
        ("origin = \"given\"".to_owned(), 11),
        ("origin = \"bundle\"".to_owned(), 11),
        (format!("sha256 = \"{digest}\""), 0),
        (format!("sha256 = \"{}\"", "0".repeat(64)), 11),
        (format!("origin = \"plan\"\nsha256 = \"{}\"", "0".repeat(64)), 11),
        ("origin = \"elsewhere\"".to_owned(), 2),
        ("sha256 = \"00\"".to_owned(), 2),
    ] {
        program.write("policies/default.toml", policy(&key));
        for more in [&[][..], &["--log-only"], &["--dry-run"]] {
            let ended = program.run(&[&["run", "plan.json"][..], more].concat());
            assert_eq!(ended.code, code, "{key}: {}", ended.all());
        }
        if code == 11 {
            assert_eq!(program.run(&["policy", "explain", "plan.json"]).code, 11, "{key}");
            assert_eq!(program.run(&["replay", "last"]).code, 0, "{key}");
        }
    }
    program.write("policies/default.toml", policy("origin = \"built-in\""));
    let call = ["call", "text.split", "--input", r#"{"text":"a","pattern":"b"}"#];
    assert_eq!(program.run(&call).code, 0);
    assert_eq!(program.run(&[&call[..], &["--skill", "text=mine.wasm"]].concat()).code, 11);
}

#[test]
fn the_tests_of_a_strangers_skill_touch_nothing_of_ours() {
    let clone = Clone::new();
    let program = &clone.program;
    let plan = |steps: &str| {
        format!(
            r#"{{ "schema": "skillhost.plan/1", "name": "t", "skills": {{ "thief": {{ "path": "../thief.wasm" }} }}, "steps": [ {steps} ] }}"#
        )
    };
    let write = r#"{ "id": "a", "tool": "thief.write-text", "input": { "path": "/workspace/new", "text": "x" } }"#;
    let steal = r#"{ "id": "a", "tool": "thief.write-text", "input": { "path": "/taken/.bashrc", "text": "evil" } }"#;
    program.write("s/thief.wasm", repo::component("files")).write("s/tests/a.json", plan(steal));
    program.write("s/tests/workspace/old", "old");
    program.write("s/policy.toml", clone.greedy().replace("\"files\"", "\"thief\""));
    let ended = program.run(&["skill", "check", "s"]);
    clone.unharmed(&ended, 11);
    assert!(ended.stderr.contains("`host policy trust s/policy.toml`"), "{}", ended.all());

    // In its own workspace it may do what it likes: it is a copy.
    let own = grant_of(Path::new("{workspace}"), "/workspace").replace("\"files\"", "\"thief\"");
    program.write("s/policy.toml", &own).write("s/tests/a.json", plan(write));
    let ended = program.run(&["skill", "check", "s"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(!program.path("s/tests/workspace/new").exists());
    // Without one it has an empty one.
    fs::remove_dir_all(program.path("s/tests/workspace")).unwrap();
    assert_eq!(program.run(&["skill", "check", "s"]).code, 0);
    assert!(!program.path("s/tests/workspace").exists());
    // One that is a link leads somewhere else.
    symlink(program.home("victim"), program.path("s/tests/workspace")).unwrap();
    let ended = program.run(&["skill", "check", "s"]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    fs::remove_file(program.path("s/tests/workspace")).unwrap();

    // The operator's policy is above it, from wherever it is.
    program.write("none.toml", repo::text("policies/deny-all.toml"));
    let none = program.path("none.toml").display().to_string();
    let named = program.run(&["skill", "check", "s", "--policy", "none.toml"]);
    let environment = program.run_with(&[("HOST_POLICY", &none)], &["skill", "check", "s"]);
    clone.config("policy.toml", &repo::text("policies/deny-all.toml"));
    let own = program.run(&["skill", "check", "s"]);
    for ended in [named, environment, own] {
        assert_eq!(ended.code, 11, "{}", ended.all());
        assert!(ended.stderr.contains("the operator's policy does not give it anything"), "{}", ended.all());
    }
}
