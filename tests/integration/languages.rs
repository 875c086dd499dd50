//! One skill in four languages: `examples/languages/golden.json` says what each of them answers, live and replayed.
//!
//! The components of JavaScript and Python hold an interpreter and are not committed. Where they were not built, their tests say so, and
//! where `CI` is set they fail.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use host_tests::test_host::compiled_code;
use host_tests::{TestHost, plan, policy, repo, step};
use serde_json::Value;
use skillhost::id::Digest;

const FOLDER: &str = "examples/languages";

fn is_committed(language: &str) -> bool {
    matches!(language, "rust" | "c")
}

fn built(language: &str, extension: &str) -> PathBuf {
    let folder = match std::env::var_os("SKILLHOST_LANGUAGES") {
        _ if is_committed(language) => repo::root().join("examples/languages/components"),
        Some(folder) => PathBuf::from(folder),
        None => repo::root().join("target/languages"),
    };
    folder.join(language).with_extension(extension)
}

/// The digest of a language's sources, as `examples/languages/build` writes it beside the component.
fn source_of(language: &str) -> String {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(language)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(repo::root().join(FOLDER).join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            let is_left_out = ["target", "node_modules", "__pycache__"].iter().any(|name| path.ends_with(name));
            match entry.file_type().expect("a type").is_dir() {
                _ if is_left_out => {}
                true => folders.push(path),
                false => files.push(path.to_str().expect("UTF-8").to_owned()),
            }
        }
    }
    files.sort_unstable();
    let digest = |bytes: &[u8]| Digest::of(bytes).to_string();
    let mut lines = String::new();
    for file in files {
        let bytes = std::fs::read(repo::root().join(FOLDER).join(&file)).expect("it is read");
        writeln!(lines, "{}  {file}", digest(&bytes)).expect("a string grows");
    }
    digest(lines.as_bytes())
}

/// The component that was built from the sources that are here; `None` where there is none.
fn component(language: &str) -> Option<Vec<u8>> {
    let source = std::fs::read_to_string(built(language, "source")).unwrap_or_default();
    if source.trim() == source_of(language) {
        return Some(std::fs::read(built(language, "wasm")).expect("the component"));
    }
    let what = format!("{language}: no component of these sources; run `{FOLDER}/build {language}`");
    let may_miss = !is_committed(language) && std::env::var_os("CI").is_none();
    assert!(may_miss, "{what}");
    // Not `eprintln`, which is shown for tests that fail alone.
    writeln!(std::io::stderr(), "NOT TESTED: {what}").expect("stderr");
    None
}

fn golden() -> Vec<Value> {
    serde_json::from_str(&repo::text("examples/languages/golden.json")).expect("JSON")
}

fn answers(language: &str) {
    let Some(component) = component(language) else { return };
    let host = TestHost::with(&policy("fuel = 10_000_000_000", ""), &[("words", &component)]);
    let golden = golden();
    let tool = |case: &Value| format!("words.{}", case["tool"].as_str().expect("a tool"));
    let (failing, completing): (Vec<_>, Vec<_>) = golden.iter().partition(|case| case.get("error").is_some());
    assert!(failing.len() >= 6 && completing.len() >= 13);
    let steps = completing.iter().enumerate();
    let steps = steps.map(|(at, case)| step(&format!("s{at}"), &tool(case), case["input"].clone()));
    let run = host.run(&plan(steps)).completed();
    let outputs: Vec<&Value> = run.trace.of_kind("step-end").map(|end| &end["outcome"]["completed"]).collect();
    let expected: Vec<&Value> = completing.iter().map(|case| &case["output"]).collect();
    assert_eq!(outputs, expected);
    host.replay_equals(&run);
    let artifacts = artifacts(&component);
    for case in failing {
        let run = host.call(&tool(case), case["input"].clone());
        assert_eq!(run.error(), &case["error"], "{case}");
        host.replay_equals(&run);
    }
    // All of these runs began with what the first one had compiled: a file that is written again is another file.
    assert_eq!(artifacts, self::artifacts(&component));
}

/// What is kept of a component in compiled form, and which files they are.
fn artifacts(component: &[u8]) -> BTreeMap<String, u64> {
    let digest = Digest::of(component).to_string();
    let kept = std::fs::read_dir(compiled_code()).expect("the cache").map(|entry| {
        let entry = entry.expect("an entry");
        (entry.file_name().into_string().expect("UTF-8"), entry.metadata().expect("it is there").ino())
    });
    let kept: BTreeMap<String, u64> = kept.filter(|(name, _)| name.starts_with(&digest)).collect();
    assert!(kept.keys().any(|name| name.ends_with(".code")), "{kept:?}");
    kept
}

#[test]
fn rust_answers() {
    answers("rust");
}

#[test]
fn c_answers() {
    answers("c");
}

#[test]
fn javascript_answers() {
    answers("js");
}

#[test]
fn python_answers() {
    answers("python");
}

#[test]
fn the_contract_is_one() {
    let contract = repo::text("examples/languages/rust/wit/words.wit");
    for language in ["c", "js", "python"] {
        assert_eq!(repo::text(&format!("{FOLDER}/{language}/wit/words.wit")), contract, "{language}");
    }
}
