//! The real binary starts, says its version and runs a plan: everything else about the command line is tested in `tests/cli`.

use std::process::Command;

#[test]
fn the_binary_says_its_version_and_runs_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let host = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
        command.env_clear().env("HOME", folder.path());
        command
    };
    let version = host().arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("host {}\n", env!("CARGO_PKG_VERSION")));

    let policy = "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"text\"]\ntools = [\"split\"]\n";
    std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
    let called = host()
        .current_dir(folder.path())
        .args(["call", "text.split", "--policy", "policy.toml", "--input", r#"{"text": "a,b", "pattern": ","}"#])
        .output()
        .unwrap();
    assert_eq!(called.status.code(), Some(0), "{}", String::from_utf8_lossy(&called.stderr));
    let output: serde_json::Value = serde_json::from_slice(&called.stdout).unwrap();
    assert_eq!(output, serde_json::json!(["a", "b"]));
}
