//! Our WASI against wasmtime's own: every case of the guest `conformance` runs under both, on a fresh copy of the same folder, and must
//! say, leave and end with the same. Under ours it is replayed, too. `docs/conformance.md` is about the differences.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use host_tests::bare::{Bare, Ended, Start};
use host_tests::plan::READ_WRITE;
use host_tests::{TestHost, plan, policy, repo, step, tree};
use serde_json::json;
use skillhost::outcome::Outcome;

/// Cases that differ where the clocks are virtual, and why. They are equal under `clocks = "real"`.
const VIRTUAL: &[(&str, &str)] = &[
    ("raw-times", FILE_TIMES),
    ("times-change", FILE_TIMES),
    ("times-present", FILE_TIMES),
    ("times-set", FILE_TIMES),
    ("times-set-of-handle", FILE_TIMES),
];

/// See `docs/conformance.md`.
const FILE_TIMES: &str = "a file has no times";

/// Cases that differ under any grant, and why.
const DIFFERENT: &[(&str, &str)] =
    &[("current-folder-told", "the first granted folder is proposed; wasmtime proposes none")];

/// What every program is given, as the tests of the standard library's streams want it.
const STDIN: &str = "one\ntwo, grüße\n\nlast without an end";
const ENV: &[(&str, &str)] = &[("EMPTY", ""), ("GREETING", "hello, wörld"), ("PATH", "/bin")];
const ARGUMENTS: &[&str] = &["plain", "", "with space", "--flag=1", "grüße 🦀", "new\nline"];

/// How a case came out: its end, and the folder after it.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    ended: Ended,
    tree: BTreeMap<String, String>,
}

fn fixture(folder: &Path) {
    fs::create_dir_all(folder.join("folder")).unwrap();
    fs::write(folder.join("text.txt"), "some text\n").unwrap();
    fs::write(folder.join("lines.txt"), "one\ntwo\nthree\nfour\n").unwrap();
    fs::write(folder.join("folder/inner.txt"), "inner\n").unwrap();
}

fn bare() -> &'static Bare {
    static BARE: OnceLock<Bare> = OnceLock::new();
    BARE.get_or_init(|| Bare::new(&repo::component("conformance")))
}

fn cases() -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let ended = bare().run(Start { args: &["conformance", "list"], env: &[], stdin: "", folder: (folder.path(), "/") });
    ended.stdout.lines().map(str::to_owned).collect()
}

fn arguments(case: &str) -> Vec<&str> {
    std::iter::once(case).chain(ARGUMENTS.iter().copied()).collect()
}

fn under_wasmtime(case: &str, guest: &str) -> Came {
    let folder = tempfile::tempdir().unwrap();
    fixture(folder.path());
    let args: Vec<&str> = std::iter::once("conformance").chain(arguments(case)).collect();
    let ended = bare().run(Start { args: &args, env: ENV, stdin: STDIN, folder: (folder.path(), guest) });
    Came { ended, tree: tree::read(folder.path()) }
}

/// Runs and records the case, then replays it with its folder gone.
fn under_ours(case: &str, grant: &str) -> Came {
    let policy = policy("", grant);
    let host = TestHost::with(&policy, &[("conformance", &repo::component("conformance"))]);
    fixture(&host.workspace());
    let codes: Vec<u8> = (0..=255).collect();
    let env: BTreeMap<&str, &str> = ENV.iter().copied().collect();
    let input = json!({"args": arguments(case), "stdin": STDIN, "env": env, "exit_codes": codes});
    let run = host.run(&plan([step("it", "conformance.run", input)]));
    let tree = tree::read(&host.workspace());
    fs::remove_dir_all(host.workspace()).unwrap();
    host.replay_equals(&run);
    assert!(!host.workspace().exists(), "{case}: a replay makes no files");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let ended = match run.outcome() {
        Outcome::Completed { output } => Ended {
            exit: Some(output["exit_code"].as_u64().unwrap().try_into().unwrap()),
            stdout: text(&output["stdout"]),
            stderr: text(&output["stderr"]),
        },
        Outcome::Trapped { .. } => Ended { exit: None, stdout: String::new(), stderr: String::new() },
        other => panic!("{case}: {other:?}"),
    };
    Came { ended, tree }
}

/// What differs, in words; nothing where both are equal. After a trap no host has a program's output.
fn difference(theirs: &Came, ours: &Came) -> Option<String> {
    let mut found = String::new();
    let mut compare = |what: &str, theirs: &str, ours: &str| {
        if theirs != ours {
            found +=
                &format!("  {what}\n    wasmtime: {}\n    ours:     {}\n", theirs.escape_debug(), ours.escape_debug());
        }
    };
    compare("exit", &format!("{:?}", theirs.ended.exit), &format!("{:?}", ours.ended.exit));
    if theirs.ended.exit.is_some() && ours.ended.exit.is_some() {
        let (one, two) = (theirs.ended.stdout.lines(), ours.ended.stdout.lines());
        one.zip(two).for_each(|(one, two)| compare("line", one, two));
        let count = |came: &Came| came.ended.stdout.lines().count().to_string();
        compare("lines", &count(theirs), &count(ours));
        compare("stderr", &theirs.ended.stderr, &ours.ended.stderr);
    }
    compare("tree", &format!("{:?}", theirs.tree), &format!("{:?}", ours.tree));
    (!found.is_empty()).then_some(found)
}

/// Compares all cases whose name begins with one of these.
fn compare(prefixes: &[&str]) {
    let mut wrong = String::new();
    for case in cases().iter().filter(|case| prefixes.iter().any(|prefix| case.starts_with(prefix))) {
        let theirs = under_wasmtime(case, "/workspace");
        let is_virtual = VIRTUAL.iter().any(|(known, _)| known == case);
        let is_different = DIFFERENT.iter().any(|(known, _)| known == case);
        let with_virtual = difference(&theirs, &under_ours(case, READ_WRITE));
        match with_virtual {
            Some(found) if !is_virtual && !is_different => wrong += &format!("{case}\n{found}"),
            None if is_virtual || is_different => wrong += &format!("{case}\n  is equal, though it is listed\n"),
            _ => {}
        }
        let real = format!("{READ_WRITE}\nclocks = \"real\"");
        if is_virtual && let Some(found) = difference(&theirs, &under_ours(case, &real)) {
            wrong += &format!("{case} with real clocks\n{found}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The names of the cases, by what they are about: each group is a test, so that they run side by side.
const GROUPS: &[&[&str]] = &[
    &["file-"],
    &["folder-", "rename-"],
    &["link-", "path-", "name-"],
    &["metadata-", "times-", "raw-"],
    &["stdin-", "stdout-", "stderr", "terminal", "buffer-", "stream-"],
    &["arguments", "variables", "current-", "exit-", "main-", "panic", "abort", "process-", "random-"],
    &["clock-", "sleep", "timer-", "poll-"],
];

#[test]
fn every_case_is_in_one_group_and_every_listed_case_exists() {
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    for case in &cases {
        let groups = GROUPS.iter().filter(|group| group.iter().any(|prefix| case.starts_with(prefix))).count();
        assert_eq!(groups, 1, "{case}");
    }
    let document = repo::text("docs/conformance.md");
    for (case, reason) in VIRTUAL.iter().chain(DIFFERENT) {
        assert!(cases.iter().any(|known| known == case), "{case}");
        assert!(!reason.is_empty() && document.contains(&format!("| `{case}` | {reason} |")), "{case} in the document");
    }
}

#[test]
fn files() {
    compare(GROUPS[0]);
}

#[test]
fn folders() {
    compare(GROUPS[1]);
}

#[test]
fn names_and_links() {
    compare(GROUPS[2]);
}

#[test]
fn metadata() {
    compare(GROUPS[3]);
}

#[test]
fn streams() {
    compare(GROUPS[4]);
}

#[test]
fn environment() {
    compare(GROUPS[5]);
}

#[test]
fn clocks() {
    compare(GROUPS[6]);
}

/// Programs that expect a folder at `.` or under the name that they are started with.
#[test]
fn relative_folders() {
    let mut wrong = String::new();
    for guest in [".", "fs-tests.dir", "a/b"] {
        let grant = READ_WRITE.replace("/workspace\", access", &format!("{guest}\", access"));
        assert_ne!(grant, READ_WRITE);
        for case in ["raw-preopens", "raw-list", "raw-write", "path-relative", "path-unknown-root", "folder-root"] {
            let theirs = under_wasmtime(case, guest);
            if let Some(found) = difference(&theirs, &under_ours(case, &grant)) {
                wrong += &format!("{case} in {guest}\n{found}");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
