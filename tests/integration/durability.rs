//! What a run has recorded survives the process: a run's folder is whole after every step.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};

use host_tests::plan::READ_WRITE;
use host_tests::test_host::cache_home;
use host_tests::{TestHost, plan, policy, repo, step, trace};
use serde_json::{Value, json};
use skillhost::clock::Stopwatch;
use skillhost::trace::TraceError;
use skillhost::trace::verify::verify;

/// The program, with nothing of this process's environment.
fn program(host: &TestHost) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host-under-test"));
    command
        .env_clear()
        .env("HOME", host.folder().join("home"))
        .env("XDG_CACHE_HOME", cache_home())
        .current_dir(host.folder());
    command.arg("--state").arg(host.state());
    command
}

/// Runs a plan whose second step never ends, kills the program in it, and gives the run's folder.
fn killed(host: &TestHost) -> std::path::PathBuf {
    let plan = plan([
        step("write", "files.write-text", json!({"path": "/workspace/a", "text": "a"})),
        step("spin", "probe.run", json!({"args": ["spin"]})),
    ]);
    fs::write(host.folder().join("plan.json"), plan.to_string()).unwrap();
    let limits = "fuel = 9_000_000_000_000_000\ndeadline_ms = 86_400_000";
    fs::write(host.folder().join("policy.toml"), policy(limits, READ_WRITE)).unwrap();
    let mut child = program(host)
        .args(["run", "plan.json", "--policy", "policy.toml", "--workspace"])
        .arg(host.workspace())
        .arg("--skill")
        .arg(format!("probe={}", repo::component_path("probe").display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The second step has begun when its event is in the file: that is what the guarantee is about.
    let watch = Stopwatch::start();
    let folder = loop {
        let folder = fs::read_dir(host.state().join("runs"))
            .ok()
            .and_then(|mut runs| runs.next())
            .map(|run| run.unwrap().path());
        if let Some(folder) = folder
            && fs::read_to_string(folder.join("trace.jsonl")).is_ok_and(|text| text.contains("\"step\":\"spin\""))
        {
            break folder;
        }
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("it ended with {status}: {said}");
        }
        assert!(watch.elapsed().as_secs() < 60, "the second step does not begin");
        std::thread::yield_now();
    };
    child.kill().unwrap();
    child.wait().unwrap();
    folder
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_killed_run_is_whole_up_to_the_step_that_ran() {
    let host = TestHost::new(&policy("", READ_WRITE));
    let folder = killed(&host);
    let text = trace::text(&folder);
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> =
        events.iter().map(|event| event["kind"].as_str().unwrap()).filter(|kind| *kind != "call").collect();
    assert_eq!(kinds, ["header", "step-begin", "step-end", "step-begin"]);
    let last = events.len() as u64 - 1;
    assert!(matches!(verify(&folder), Err(TraceError::Truncated { last: Some(seq) }) if seq == last));
    assert_eq!(fs::read_to_string(host.workspace().join("a")).unwrap(), "a");
    for name in ["plan.json", "policy.toml", "components"] {
        assert!(folder.join(name).exists(), "{name}");
    }

    let (code, stdout, stderr) = output(program(&host).args(["trace", "verify", "last"]));
    assert_eq!(code, Some(9), "{stdout}{stderr}");
    assert!(stderr.contains(&format!("after event {last} without")), "{stdout}{stderr}");
    let (_, stdout, stderr) = output(program(&host).args(["trace", "show", "last", "--step", "write"]));
    assert!(stdout.contains("files.write-text") && stdout.contains("descriptor.open-at"), "{stdout}{stderr}");
    let (code, stdout, stderr) = output(program(&host).args(["runs"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("test"), "{stdout}");

    // A torn line on top: what is before it is still there.
    fs::write(folder.join("trace.jsonl"), format!("{text}{{\"hash\":\"12")).unwrap();
    let (code, stdout, stderr) = output(program(&host).args(["trace", "verify", "last"]));
    assert_eq!(code, Some(9));
    assert!(format!("{stdout}{stderr}").contains("torn"), "{stdout}{stderr}");
    let (_, stdout, _) = output(program(&host).args(["trace", "show", "last", "--step", "write"]));
    assert!(stdout.contains("files.write-text"), "{stdout}");

    // The next run is not impressed.
    let again = host.call("text.split", json!({"text": "a b", "pattern": " "})).completed();
    host.replay_equals(&again);
}
