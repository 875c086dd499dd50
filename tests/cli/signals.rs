//! Ctrl-C, SIGTERM and SIGHUP end every command, whatever it is doing. Where the program is when the signal comes is seen from outside (an event, a
//! lock, an open file), and what it does there would take hours: that it ends is the signal's doing, however slow the machine is.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use host_tests::{repo, tree};
use serde_json::{Value, json};
use skillhost::store::RunLock;

use crate::program::Program;

const INT: (&str, i32) = ("INT", 130);
const TERM: (&str, i32) = ("TERM", 16);
const HUP: (&str, i32) = ("HUP", 16);
const ALL: [(&str, i32); 3] = [INT, TERM, HUP];

/// All the time that a machine may need to end in order.
const LONG: &str = "600000";
/// None at all.
const NONE: &str = "0";
/// One that ends while the test waits, with a sixth of it for the last words.
const SOME: &str = "6000";

/// The operator has named the policy: one that is found is bounded.
const POLICY_VARIABLE: &str = "HOST_POLICY";
const POLICY_FILE: &str = "policies/default.toml";

const POLICY: &str = r#"schema = "skillhost.policy/1"
[limits]
fuel = 9007199254740991
deadline_ms = 86400000
[[grant]]
skills = ["*"]
tools = ["*"]
clocks = "real"
filesystem = [ { host = "{workspace}", guest = "/workspace", access = "read-write" } ]
"#;

/// A tool that returns at once, and one of the same name that never does.
const RETURNS: &str = r#"(component (core module $m (func (export "run"))) (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))"#;
const SPINS: &str = r#"(component (core module $m (func (export "run") (loop $l (br $l)))) (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))"#;

fn program() -> Program {
    let program = Program::new();
    program.write("policies/default.toml", POLICY).write("workspace/a.txt", "old\n");
    program.write("probe.wasm", repo::component("probe"));
    program.write("returns.wasm", wat::parse_str(RETURNS).unwrap()).write("spins.wasm", wat::parse_str(SPINS).unwrap());
    for on_failure in ["stop", "rollback"] {
        program.write(&format!("{on_failure}.json"), plan(on_failure, "spins.wasm", "run", &json!({})));
    }
    // Its limits are more than a policy may give that nobody named.
    assert_eq!(program.run(&["policy", "trust", "policies/default.toml"]).code, 0);
    program
}

/// Changes a file, then calls a tool.
fn plan(on_failure: &str, component: &str, function: &str, input: &Value) -> String {
    let plan = json!({"schema": "skillhost.plan/1", "name": "p", "on_failure": on_failure,
    "skills": {"it": {"path": component}}, "steps": [
        {"id": "w", "tool": "files.write-text", "input": {"path": "/workspace/a.txt", "text": "new\n"}},
        {"id": "s", "tool": format!("it.{function}"), "depends_on": ["w"], "input": input},
    ]});
    plan.to_string()
}

/// A program that runs.
struct Running {
    child: Child,
    /// Held open: the end of stdin would be an end.
    stdin: ChildStdin,
}

/// How it ended.
struct Gone {
    code: i32,
    stdout: String,
    stderr: String,
}

fn start(program: &Program, grace: &str, args: &[&str]) -> Running {
    let mut all = vec!["--state", ".skillhost"];
    all.extend(args);
    started(program.command(&all).env("HOST_GRACE_MS", grace).env(POLICY_VARIABLE, POLICY_FILE))
}

fn started(command: &mut Command) -> Running {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let stdin = child.stdin.take().expect("a pipe");
    Running { child, stdin }
}

impl Running {
    /// Until it catches signals.
    fn until_installed(self) -> Self {
        let status = format!("/proc/{}/status", self.child.id());
        self.until(|| {
            let status = fs::read_to_string(&status).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
            u64::from_str_radix(caught.trim(), 16).unwrap_or_default() & (1 << 14) != 0
        })
    }

    fn until(self, is: impl Fn() -> bool) -> Self {
        while !is() {
            std::thread::yield_now();
        }
        self
    }

    /// Until it has told of such an event on stderr, which it must do with `--events ndjson`.
    fn until_event(mut self, event: &str, step: Option<&str>) -> Self {
        let mut lines = BufReader::new(self.child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(lines.read_line(&mut line).expect("readable"), 0, "it ended before `{event}`");
            let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if told["event"] == json!(event) && step.is_none_or(|step| told["step"] == json!(step)) {
                break;
            }
        }
        // Nothing of it is lost: it is read to the last byte, and the program waits for nobody who reads.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        self
    }

    /// Until it has that file open.
    fn until_open(self, path: &Path) -> Self {
        let (open, path) = (format!("/proc/{}/fd", self.child.id()), path.canonicalize().expect("it exists"));
        self.until(|| {
            let mut open = fs::read_dir(&open).into_iter().flatten().flatten();
            open.any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == path))
        })
    }

    fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("/bin/sh").args(["-c", &line]).status().expect("a shell").success());
    }

    fn end(mut self) -> Gone {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        if let Some(mut stream) = self.child.stdout.take() {
            stream.read_to_string(&mut stdout).expect("readable");
        }
        if let Some(mut stream) = self.child.stderr.take() {
            stream.read_to_string(&mut stderr).expect("readable");
        }
        let status: ExitStatus = self.child.wait().expect("it ends");
        drop(self.stdin);
        let code = status.code().unwrap_or_else(|| panic!("killed by {:?}: {stderr}", status.signal()));
        Gone { code, stdout, stderr }
    }

    fn ended_by(self, (name, code): (&str, i32)) -> Gone {
        self.signal(name);
        let gone = self.end();
        assert_eq!(gone.code, code, "SIG{name}: {}{}", gone.stdout, gone.stderr);
        gone
    }
}

fn last_run(program: &Program) -> std::path::PathBuf {
    let runs = fs::read_dir(program.path(".skillhost/runs")).expect("runs");
    runs.map(|run| run.expect("readable").path()).max().expect("one run")
}

#[test]
fn a_command_that_reads_ends_at_once() {
    let program = program();
    for signal in ALL {
        for args in [&["run", "-"][..], &["check", "-"], &["policy", "explain", "-"], &["exec", "--stream"]] {
            start(&program, LONG, args).until_installed().ended_by(signal);
        }
    }
    let gone = start(&program, LONG, &["--json", "run", "-"]).until_installed().ended_by(INT);
    let document: Value = serde_json::from_str(&gone.stdout).expect("one document");
    assert_eq!((&document["ok"], &document["error"]["code"]), (&json!(false), &json!("INTERRUPTED")));
    let gone = start(&program, LONG, &["exec"]).until_installed().ended_by(TERM);
    let document: Value = serde_json::from_str(&gone.stdout).expect("one answer");
    assert_eq!(document.pointer("/error/details/code"), Some(&json!("CANCELLED")), "{document:#}");
    assert!(gone.stderr.is_empty(), "{}", gone.stderr);
}

#[test]
fn a_run_is_cancelled_and_has_its_end() {
    let program = program();
    for signal in ALL {
        for (plan, file) in [("stop.json", "new\n"), ("rollback.json", "old\n")] {
            program.write("workspace/a.txt", "old\n");
            let running = start(&program, LONG, &["run", plan, "--events", "ndjson"]);
            running.until_event("step.start", Some("s")).ended_by(signal);
            assert_eq!(fs::read_to_string(program.path("workspace/a.txt")).unwrap(), file, "{plan}");
            let trace = fs::read_to_string(last_run(&program).join("trace.jsonl")).unwrap();
            assert!(trace.lines().last().unwrap().contains("run-end"), "{plan}");
            assert_eq!(
                program.run_with(&[(POLICY_VARIABLE, POLICY_FILE)], &["--state", ".skillhost", "replay", "last"]).code,
                0,
                "{plan}"
            );
        }
    }
    assert!(
        program
            .run_with(&[(POLICY_VARIABLE, POLICY_FILE)], &["--state", ".skillhost", "recover"])
            .stdout
            .contains("no run was stopped")
    );
}

#[test]
fn a_host_call_that_blocks_is_dropped() {
    let program = program();
    program.write("sleep.json", plan("rollback", "probe.wasm", "run", &json!({ "args": ["sleep", "80000000"] })));
    let running = start(&program, LONG, &["run", "sleep.json", "--events", "ndjson"]);
    running.until_event("step.start", Some("s")).ended_by(INT);
    assert_eq!(fs::read_to_string(program.path("workspace/a.txt")).unwrap(), "old\n");
}

#[test]
fn what_does_not_end_in_time_is_ended_and_recovered() {
    let program = program();
    let before = tree::read(&program.path("workspace"));
    let running = start(&program, NONE, &["run", "rollback.json", "--events", "ndjson"]);
    running.until_event("step.start", Some("s")).ended_by(INT);
    let run = last_run(&program);
    let trace = fs::read_to_string(run.join("trace.jsonl")).unwrap();
    assert!(!trace.contains("run-end"), "{trace}");

    // While it is recovered, which begins with the step again, it is ended again: twice, then with the time that it needs.
    for (grace, signal) in [(NONE, TERM), (NONE, INT), (LONG, INT)] {
        let recovers = start(&program, grace, &["recover"]).until(|| RunLock::is_held(&run));
        recovers.ended_by(signal);
    }
    let trace = fs::read_to_string(run.join("trace.jsonl")).unwrap();
    assert!(trace.lines().last().unwrap().contains("run-end"), "{trace}");
    assert_eq!(tree::read(&program.path("workspace")), before);
}

#[test]
fn a_rollback_that_calls_a_tool_without_end_is_ended() {
    let program = program();
    let plan = json!({"schema": "skillhost.plan/1", "name": "p", "skills": {"it": {"path": "returns.wasm"},
        "spins": {"path": "spins.wasm"}}, "steps": [
        {"id": "s", "tool": "it.run", "input": {}, "compensate": {"tool": "spins.run", "input": {}}},
    ]});
    program.write("plan.json", plan.to_string());
    assert_eq!(
        program.run_with(&[(POLICY_VARIABLE, POLICY_FILE)], &["--state", ".skillhost", "run", "plan.json"]).code,
        0
    );
    let run = last_run(&program);
    // Taking back goes on although it is cancelled: only the end of the process ends it.
    let rollback = start(&program, SOME, &["rollback", "last"]).until(|| RunLock::is_held(&run));
    let rollback = rollback.until(|| last_run(&program) != run).until(|| {
        let trace = fs::read_to_string(last_run(&program).join("trace.jsonl"));
        trace.is_ok_and(|trace| trace.contains("\"because\":"))
    });
    let gone = rollback.ended_by(INT);
    let id = last_run(&program).file_name().unwrap().to_string_lossy().into_owned();
    assert!(gone.stderr.contains(&format!("`host recover {id} --state .skillhost` goes on")), "{}", gone.stderr);
}

#[test]
fn a_replay_is_ended() {
    let program = program();
    program.write("plan.json", plan("stop", "returns.wasm", "run", &json!({})));
    assert_eq!(
        program.run_with(&[(POLICY_VARIABLE, POLICY_FILE)], &["--state", ".skillhost", "run", "plan.json"]).code,
        0
    );
    let trace = last_run(&program).join("trace.jsonl");
    for signal in ALL {
        let replay = start(&program, LONG, &["replay", "last", "--skill", "it=spins.wasm"]).until_open(&trace);
        replay.ended_by(signal);
    }
}

#[test]
fn one_that_waits_for_a_folder_is_ended() {
    let program = program();
    let args = ["run", "stop.json", "--events", "ndjson"];
    let holds = start(&program, LONG, &args).until_event("step.start", Some("s"));
    let held = last_run(&program);
    let waits = start(&program, NONE, &args).until(|| last_run(&program) != held);
    waits.ended_by(INT);
    holds.ended_by(TERM);
}

#[test]
fn a_stream_answers_the_request_that_is_under_way() {
    let program = program();
    let args = ["--state", ".skillhost", "exec", "--stream", "--record", "all", "--skill", "it=spins.wasm"];
    let mut running = started(program.command(&args).env("HOST_GRACE_MS", LONG).env(POLICY_VARIABLE, POLICY_FILE));
    let request = json!({"action": "invoke", "handler": "it.run", "event": {}, "meta": {"timeout_ms": 86_000_000}});
    writeln!(running.stdin, "{request}").unwrap();
    let runs = program.path(".skillhost/runs");
    let begun = |run: fs::DirEntry| fs::metadata(run.path().join("trace.jsonl")).is_ok_and(|trace| trace.len() > 0);
    let is_there = || fs::read_dir(&runs).into_iter().flatten().flatten().any(begun);
    let gone = running.until(is_there).ended_by(INT);
    let answer: Value = serde_json::from_str(&gone.stdout).expect("one answer");
    assert_eq!(answer.pointer("/error/details/code"), Some(&json!("CANCELLED")), "{answer:#}");
}

#[test]
fn a_file_that_is_larger_than_may_be_is_an_error() {
    let program = program();
    let text = "x".repeat(6 << 20);
    let plan = json!({"schema": "skillhost.plan/1", "name": "p", "steps": [
        {"id": "w", "tool": "files.write-text", "input": {"path": "/workspace/a.txt", "text": text}}]});
    program.write("large.json", plan.to_string());
    // In blocks of 512 or 1024 bytes: less than the text, and so than the trace.
    let ended =
        program.shell("ulimit -f 5000; HOST_POLICY=policies/default.toml exec $HOST --state .skillhost run large.json");
    assert_eq!(ended.code, 20, "{}", ended.all());
    assert!(ended.stderr.contains("File too large"), "{}", ended.all());
}

#[test]
fn an_ignored_hang_up_stays_ignored() {
    let program = program();
    let args = ["--state", ".skillhost", "run", "stop.json", "--policy", "policies/default.toml", "--events", "ndjson"];
    let host = program.command(&args);
    let mut nohup = Command::new("nohup");
    nohup.arg(host.get_program()).args(host.get_args()).current_dir(program.path("")).env_clear();
    nohup.env(POLICY_VARIABLE, POLICY_FILE).env("HOST_GRACE_MS", LONG).env("PATH", "/usr/bin:/bin");
    let running = started(&mut nohup);
    // `nohup` says what it does.
    let running =
        running.until_installed().until(|| {
            let runs = program.path(".skillhost/runs");
            fs::read_dir(runs).into_iter().flatten().flatten().any(|run| {
                fs::read_to_string(run.path().join("trace.jsonl")).is_ok_and(|trace| trace.contains("step-end"))
            })
        });
    running.signal("HUP");
    running.ended_by(INT);
}
