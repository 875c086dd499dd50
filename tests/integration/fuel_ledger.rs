//! Fuel is a promise: the same tool with the same input uses the same fuel on every machine. What it uses is committed, so that a change
//! of a guest, the engine or the host is seen in the diff. `UPDATE_LEDGER=1` rewrites the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use host_tests::plan::READ_WRITE;
use host_tests::{TestHost, policy, repo};
use serde_json::{Value, json};

const LEDGER: &str = "tests/fuel-ledger.toml";

const HEADER: &str = "\
# Fuel of one call of each built-in tool and of some sub-commands of probe, on the inputs in tests/integration/fuel_ledger.rs. Equal on
# every machine. After a change of a guest or of wasmtime: UPDATE_LEDGER=1 cargo test -p host-tests --test integration fuel_ledger
";

fn calls() -> Vec<(String, &'static str, Value)> {
    let mut calls: Vec<(String, &'static str, Value)> = Vec::new();
    for (tool, input) in crate::replay::every_tool() {
        calls.push((tool.to_owned(), tool, input));
    }
    for args in [&["args", "a"][..], &["clock"], &["random", "16"], &["out", "1000"], &["cat", "/workspace/a.txt"]] {
        calls.push((format!("probe.run {}", args[0]), "probe.run", json!({"args": args})));
    }
    calls
}

/// Fuel by call. Each has a fresh workspace.
fn measured() -> BTreeMap<String, u64> {
    let mut ledger = BTreeMap::new();
    let host = TestHost::probe(&policy("", READ_WRITE));
    for (name, tool, input) in calls() {
        std::fs::remove_dir_all(host.workspace()).expect("the workspace");
        host.write("a.txt", "alpha\nbeta\n".repeat(100));
        host.write("b.txt", "gamma");
        host.write("copy.txt", "copy");
        host.write("moved.txt", "moved");
        if tool == "files.move" {
            std::fs::remove_file(host.workspace().join("moved.txt")).expect("removed");
        }
        if tool == "files.copy" {
            std::fs::remove_file(host.workspace().join("copy.txt")).expect("removed");
        }
        let run = host.call(tool, input).completed();
        ledger.insert(name, run.report.steps[0].fuel.expect("a completed step has fuel"));
    }
    ledger
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the one way to ask for a new ledger")]
fn fuel_is_what_the_ledger_says() {
    let measured = measured();
    if std::env::var("UPDATE_LEDGER").is_ok_and(|value| value == "1") {
        let mut text = HEADER.to_owned();
        writeln!(text, "engine = \"{}\"\n\n[fuel]", skillhost::sandbox::engine::identity()).unwrap();
        for (name, fuel) in &measured {
            writeln!(text, "\"{name}\" = {fuel}").unwrap();
        }
        std::fs::write(repo::root().join(LEDGER), text).expect("the ledger is written");
    }
    let ledger: toml::Table = repo::text(LEDGER).parse().expect("the ledger is TOML");
    assert_eq!(ledger["engine"].as_str(), Some(skillhost::sandbox::engine::identity()));
    let committed: BTreeMap<String, u64> = ledger["fuel"]
        .as_table()
        .expect("fuel")
        .iter()
        .map(|(name, fuel)| (name.clone(), u64::try_from(fuel.as_integer().expect("a number")).expect("a count")))
        .collect();
    assert_eq!(measured, committed);
}
