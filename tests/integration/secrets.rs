//! A guest sees placeholders, and no file of a run holds a value.

use host_tests::{TestHost, plan, policy, repo, step, tree};
use serde_json::json;
use skillhost::{Error, PolicyDocument, RunOptions, Secrets};

const VALUE: &str = "hunter2-0123456789";

/// `policy` with a secret that the environment of the grant has.
fn with_secret() -> String {
    let grant = policy("", "env = { API_KEY = { secret = \"API_KEY\" }, LANG = \"C\" }");
    format!("{grant}\n[secrets]\nAPI_KEY = {{ env = \"SOME_VARIABLE\" }}\n")
}

fn secrets(text: &str) -> Secrets {
    let policy = PolicyDocument::parse(text).unwrap().policy;
    Secrets::read(&policy, |name| (name == "SOME_VARIABLE").then(|| VALUE.as_bytes().to_vec())).unwrap()
}

#[test]
fn a_guest_sees_a_placeholder_and_no_file_holds_the_value() {
    let text = with_secret();
    let probe = repo::component("probe");
    let host = TestHost::configured(&text, &[("probe", &probe)], |builder| builder.secrets(secrets(&text)));
    let run = host.call("probe.run", json!({"args": ["env"]})).completed();
    assert_eq!(run.output()["stdout"], "API_KEY=skillhost-secret-API_KEY\nLANG=C\n");
    host.replay_equals(&run);
    let files = tree::read(host.folder());
    assert!(files.len() > 3, "{:?}", files.keys());
    for folder in [host.folder().to_owned(), host.state()] {
        assert_eq!(holding(&folder, VALUE.as_bytes()), Vec::<String>::new());
    }
    assert!(!format!("{:?} {:?}", host.host, run.report).contains(VALUE));
}

/// The files below a folder that hold these bytes.
fn holding(folder: &std::path::Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        // Compiled components are shared between tests through a link.
        if entry.file_type().unwrap().is_dir() {
            found.extend(holding(&entry.path(), bytes));
        } else if entry.file_type().unwrap().is_file()
            && std::fs::read(entry.path()).unwrap().windows(bytes.len()).any(|window| window == bytes)
        {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn a_run_without_the_values_is_refused_before_anything() {
    let text = with_secret();
    let probe = repo::component("probe");
    let host = TestHost::configured(&text, &[("probe", &probe)], |builder| builder);
    let plan = host.document(&plan([step("env", "probe.run", json!({"args": ["env"]}))]));
    let refused = host.host.run(&plan, &RunOptions::default()).unwrap_err();
    let Error::Policy(problems) = &refused else { panic!("{refused:?}") };
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].code, "missing-secret");
    assert!(problems[0].position.is_some() && problems[0].hint.is_some(), "{problems:?}");
    assert!(refused.to_string().contains("API_KEY"), "{refused}");
    assert!(!host.state().join("runs").exists(), "no run was begun");
    // What runs nothing needs no values.
    assert!(host.host.check(&plan).unwrap().is_ok());
    assert_eq!(host.host.explain(&plan).unwrap().unwrap().len(), 1);
}

#[test]
fn roots_that_are_not_there_are_refused_before_anything() {
    let rule = "network = [{ url = \"https://api.test/*\", methods = [\"GET\"] }]";
    let text = format!("{}\n[network]\nroots = {{ file = \"/nowhere/ca.pem\" }}\n", policy("", rule));
    let host = TestHost::with(&text, &[("probe", &repo::component("probe"))]);
    let plan = host.document(&plan([step("env", "probe.run", json!({"args": ["env"]}))]));
    let refused = host.host.run(&plan, &RunOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("/network/roots (line 11, column "), "{refused}");
    assert!(!host.state().join("runs").exists(), "no run was begun");
}
