//! A trace is the same wherever and whenever it is made, replays without any effect, and shows every change.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use host_tests::plan::READ_WRITE;
use host_tests::test_host::{memory, name};
use host_tests::{Guest, Run, TestHost, plan, policy, repo, step, trace, tree};
use serde_json::{Value, json};
use skillhost::RunOptions;
use skillhost::outcome::RunOutcome;
use skillhost::replay::ReplayOptions;
use skillhost::store::RunDir;
use skillhost::trace::TraceError;
use skillhost::trace::verify::verify;

/// One call of every tool of every built-in skill but `http`, whose tools are in `http_skill.rs`.
pub(crate) fn every_tool() -> Vec<(&'static str, Value)> {
    let csv = "name,amount\nb,2\na,1.5\na,3\n";
    let document = r#"{"b": [1, 2.5, null], "a": {"x": "grüße"}}"#;
    let file = "/workspace/a.txt";
    vec![
        ("files.read-text", json!({"path": file})),
        ("files.read-bytes", json!({"path": file})),
        ("files.write-text", json!({"path": "/workspace/new.txt", "text": "new\n"})),
        ("files.write-bytes", json!({"path": "/workspace/new.bin", "bytes": "AAECAw=="})),
        ("files.append", json!({"path": file, "text": "more\n"})),
        ("files.copy", json!({"source": file, "target": "/workspace/copy.txt"})),
        ("files.move", json!({"source": "/workspace/copy.txt", "target": "/workspace/moved.txt"})),
        ("files.remove", json!({"path": "/workspace/moved.txt"})),
        ("files.list", json!({"path": "/workspace"})),
        ("files.stat", json!({"path": file, "times": true})),
        ("files.exists", json!({"path": file})),
        ("files.make-dir", json!({"path": "/workspace/one/two"})),
        (
            "files.concat",
            json!({"sources": [file, "/workspace/b.txt"], "output": "/workspace/both.txt", "separator": "--"}),
        ),
        ("files.hash", json!({"path": file})),
        ("files.find", json!({"folder": "/workspace", "pattern": "**/*.txt"})),
        ("text.search", json!({"text": "one two\nthree", "pattern": "t(\\w+)"})),
        ("text.replace", json!({"text": "one two", "pattern": "o(.)", "replacement": "<$1>"})),
        ("text.split", json!({"text": "a, b,c", "pattern": ",\\s*"})),
        (
            "text.render",
            json!({"template": "{% for n in names %}{% if loop.first %}first {% endif %}- {% endfor %}", "data": "{\"names\": [\"a\", \"b\"]}"}),
        ),
        ("text.diff", json!({"before": "a\nb\n", "after": "a\nc\n"})),
        ("json.parse", json!({"text": document})),
        ("json.pretty", json!({"text": document, "sort-keys": true})),
        ("json.query", json!({"text": document, "filter": ".b[]"})),
        ("json.query-one", json!({"text": document, "filter": ".a.x", "raw": true})),
        ("json.merge", json!({"documents": [document, "{\"a\": {\"y\": 1}}"]})),
        ("json.patch", json!({"text": document, "patch": "[{\"op\": \"remove\", \"path\": \"/b/0\"}]"})),
        ("json.validate", json!({"text": document, "schema": "{\"required\": [\"c\"]}"})),
        ("csv.parse", json!({"text": csv})),
        ("csv.summarise", json!({"text": csv, "value": "amount", "group-by": "name"})),
        ("csv.filter", json!({"text": csv, "column": "amount", "operator": "gt", "value": "1.7"})),
        ("csv.to-json", json!({"text": csv, "typed": true})),
        ("csv.from-json", json!({"text": "[{\"a\": 1, \"b\": \"x,y\"}]"})),
    ]
}

/// One call of every sub-command of `probe` that comes to an end by itself.
const EVERY_PROBE: &[&[&str]] = &[
    &["args", "one"],
    &["env"],
    &["cwd"],
    &["clock"],
    &["sleep", "1000"],
    &["calls", "50"],
    &["random", "20"],
    &["hash-seed"],
    &["list", "/workspace"],
    &["stat", "/workspace/a.txt"],
    &["cat", "/workspace/a.txt"],
    &["write", "/workspace/p.txt", "text"],
    &["append", "/workspace/p.txt", "more"],
    &["rename", "/workspace/p.txt", "/workspace/q.txt"],
    &["hardlink", "/workspace/q.txt", "/workspace/r.txt"],
    &["set-size", "/workspace/q.txt", "3"],
    &["set-times", "/workspace/q.txt", "1000000000"],
    &["remove", "/workspace/r.txt"],
    &["mkdir", "/workspace/d"],
    &["rmdir", "/workspace/d"],
    &["symlink", "a.txt", "/workspace/l"],
    &["io-error", "/workspace/none"],
    &["stdin"],
    &["out", "9000"],
    &["err", "9000"],
    &["exit", "0"],
];

fn everything() -> Value {
    let tools = every_tool().into_iter().enumerate().map(|(at, (tool, input))| step(&format!("t{at}"), tool, input));
    let probes =
        EVERY_PROBE.iter().enumerate().map(|(at, args)| step(&format!("p{at}"), "probe.run", json!({"args": args})));
    plan(tools.chain(probes))
}

fn prepared() -> TestHost {
    let host = TestHost::probe(&policy("", &format!("{READ_WRITE}\nenv = {{ LANG = \"C\" }}")));
    host.write("a.txt", "alpha\nbeta\n".repeat(900));
    host.write("b.txt", "gamma");
    host
}

#[test]
fn the_list_of_tools_is_complete() {
    let network = crate::http_skill::every_tool("");
    let mut known: Vec<&str> = every_tool().iter().chain(&network).map(|(tool, _)| *tool).collect();
    known.sort_unstable();
    let host = TestHost::new(&policy("", ""));
    let mut all = Vec::new();
    for skill in skillhost::skills::builtin::names() {
        let bytes = skillhost::skills::builtin::find(skill).unwrap();
        let skill = host.host.inspect(&name(skill), &bytes).unwrap();
        all.extend(skill.tools.values().map(|tool| tool.name.to_string()));
    }
    all.sort_unstable();
    assert_eq!(known, all);
}

#[test]
fn every_tool_and_every_probe_replays_with_the_workspace_gone() {
    let host = prepared();
    let run = host.run(&everything()).completed();
    fs::remove_dir_all(host.workspace()).unwrap();
    host.replay_equals(&run);
    assert!(!host.workspace().exists(), "a replay makes no files");
}

#[test]
fn a_trace_is_the_same_in_a_second_run_on_copied_files_in_another_folder() {
    let (first, second, third) = (prepared(), prepared(), prepared());
    fs::remove_dir_all(third.workspace()).unwrap();
    tree::copy(&first.workspace(), &third.workspace());
    let one = first.run(&everything()).completed();
    let (two, three) = (second.run(&everything()).completed(), third.run(&everything()).completed());
    assert_eq!(one.bytes(), two.bytes());
    assert_eq!(one.bytes(), three.bytes());
    assert_eq!(tree::read(&first.workspace()), tree::read(&third.workspace()));
    let blobs = |run: &Run| tree::read(&run.folder().join("blobs"));
    assert!(!blobs(&one).is_empty());
    assert_eq!(blobs(&one), blobs(&two));
    assert_ne!(one.report.run, two.report.run);
}

#[test]
fn a_run_replays_from_a_copy_of_its_folder_on_a_host_that_knows_nothing() {
    let host = prepared();
    let run = host.run(&everything()).completed();
    let elsewhere = TestHost::new(&policy("", ""));
    let copy = elsewhere.folder().join("copied");
    tree::copy(run.folder(), &copy);
    drop(host);
    let replayed = elsewhere.host.replay(&RunDir::open(&copy).unwrap(), &ReplayOptions::default()).unwrap();
    assert_eq!(replayed.divergence, None);
    assert!(tree::read(&elsewhere.workspace()).is_empty());
}

// ---- how runs end ----

#[test]
fn runs_that_do_not_complete_replay_as_well() {
    let host = prepared();
    let limited = TestHost::probe(&policy("fuel = 30_000_000\ndeadline_ms = 200\nhost_calls = 500", READ_WRITE));
    let probe = |args: &[&str]| plan([step("it", "probe.run", json!({"args": args}))]);
    for (host, plan, outcome, step_outcome) in [
        (&host, probe(&["cat", "/workspace/none"]), RunOutcome::Failed, Some("failed")),
        (&host, probe(&["exit", "7"]), RunOutcome::Failed, Some("failed")),
        (&host, plan([step("it", "files.read-text", json!({"path": "/none"}))]), RunOutcome::Failed, Some("failed")),
        (&host, probe(&["panic"]), RunOutcome::Failed, Some("trapped")),
        (&host, probe(&["trap"]), RunOutcome::Failed, Some("trapped")),
        (&host, probe(&["recurse"]), RunOutcome::Failed, Some("limit-exceeded")),
        (&limited, probe(&["spin"]), RunOutcome::Failed, Some("limit-exceeded")),
        (&limited, probe(&["calls", "100000"]), RunOutcome::Failed, Some("limit-exceeded")),
        (&host, plan([step("it", "files.reed-text", json!({"path": "/none"}))]), RunOutcome::Refused, None),
        (&host, plan([step("it", "files.read-text", json!({"pth": "/none"}))]), RunOutcome::Refused, None),
        (&host, json!({"schema": "skillhost.plan/1"}), RunOutcome::Refused, None),
        (&host, json!([1, 2]), RunOutcome::Refused, None),
    ] {
        let run = host.run(&plan);
        assert_eq!(run.report.outcome, outcome, "{plan}: {:#?}", run.report);
        let ended = run.report.steps.first().and_then(|step| step.outcome.as_ref()).map(|outcome| outcome.name());
        assert_eq!(ended, step_outcome, "{plan}");
        host.replay_equals(&run);
        assert_eq!(host.run(&plan).bytes(), run.bytes(), "{plan}");
    }
}

#[test]
fn a_denied_run_replays_as_well() {
    let denied = "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"text\"]\ntools = [\"split\"]\n";
    let host = TestHost::new(denied);
    let run = host.run(&plan([
        step("a", "text.split", json!({"text": "a", "pattern": "b"})),
        step("b", "text.diff", json!({"before": "a", "after": "b"})),
        step("c", "files.list", json!({"path": "/"})),
    ]));
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    assert_eq!(run.trace.of_kind("denied").count(), 2);
    host.replay_equals(&run);
    // Nothing granted at all, not even a document.
    let nothing = TestHost::configured(denied, &[], |builder| builder.policy(skillhost::PolicyDocument::deny_all()));
    let run = nothing.call("text.split", json!({"text": "a", "pattern": "b"}));
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    nothing.replay_equals(&run);
}

#[test]
fn a_cancelled_run_replays_as_well() {
    let host = prepared();
    let options = RunOptions::default();
    options.cancel.cancel();
    let run = host.run_with(&everything(), &options);
    assert_eq!(run.report.outcome, RunOutcome::Cancelled);
    assert_eq!(run.trace.of_kind("step-begin").count(), 0);
    host.replay_equals(&run);
}

// ---- changed components ----

/// A tool that reads the clock `times` times and gives back `output`.
fn clock_reader(times: usize, output: i32) -> Vec<u8> {
    let core = format!(
        r#"(import "wasi:clocks/monotonic-clock@0.2.12" "now" (func $now (result i64)))
           (func (export "go") (result i32) {} (i32.const {output}))"#,
        "(drop (call $now))".repeat(times)
    );
    let imports = &["wasi:clocks/monotonic-clock@0.2.12"];
    Guest { imports, exports: "export go: func() -> u32;", core: &core }.build()
}

fn replayed_with(host: &TestHost, run: &Run, bytes: &[u8]) -> Option<(Option<String>, Option<u64>, String)> {
    let options = ReplayOptions { skills: BTreeMap::from([(name("guest"), memory(bytes))]), ceiling: None };
    let report = host.replay_with(run, &options);
    report.divergence.map(|diverged| (diverged.step, diverged.seq, diverged.what))
}

#[test]
fn a_changed_component_that_behaves_the_same_matches() {
    let host = TestHost::with(&policy("", ""), &[("guest", &clock_reader(3, 7))]);
    let run = host.call("guest.go", json!({})).completed();
    // The same calls with other code around them: another digest, other fuel.
    let core = r#"(import "wasi:clocks/monotonic-clock@0.2.12" "now" (func $now (result i64)))
        (func (export "go") (result i32) (local $i i32)
          (loop $l (drop (call $now)) (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
          (i32.add (i32.const 3) (i32.const 4)))"#;
    let imports = &["wasi:clocks/monotonic-clock@0.2.12"];
    let same = Guest { imports, exports: "export go: func() -> u32;", core }.build();
    assert_eq!(replayed_with(&host, &run, &same), None);
}

#[test]
fn a_pin_of_the_plan_does_not_stop_a_replay_with_a_changed_component() {
    let bytes = clock_reader(3, 7);
    let host = TestHost::with(&policy("", ""), &[("guest", &bytes)]);
    let mut document = plan([step("it", "guest.go", json!({}))]);
    document["skills"] = json!({ "guest": { "path": "guest.wasm", "sha256": trace::sha256(&bytes) } });
    let run = host.run(&document).completed();
    // A `nop` changes the digest and nothing that the guest does.
    let core = r#"(import "wasi:clocks/monotonic-clock@0.2.12" "now" (func $now (result i64)))
        (func (export "go") (result i32) (drop (call $now)) (drop (call $now)) (drop (call $now)) (nop) (i32.const 7))"#;
    let imports = &["wasi:clocks/monotonic-clock@0.2.12"];
    let same = Guest { imports, exports: "export go: func() -> u32;", core }.build();
    assert_ne!(trace::sha256(&same), trace::sha256(&bytes));
    assert_eq!(replayed_with(&host, &run, &same), None);
    assert_eq!(host.replay_with(&run, &ReplayOptions::default()).divergence, None);
}

#[test]
fn a_component_that_behaves_otherwise_diverges_at_the_first_difference() {
    let host = TestHost::with(&policy("", ""), &[("guest", &clock_reader(3, 7))]);
    let run = host.call("guest.go", json!({})).completed();
    // header 0, step-begin 1, calls 2 to 4, step-end 5.
    let (step, seq, what) = replayed_with(&host, &run, &clock_reader(3, 8)).expect("another output");
    assert_eq!((step.as_deref(), seq), (Some("it"), Some(5)));
    assert!(what.contains("`/outcome") && what.contains('8') && what.contains('7'), "{what}");
    let (step, _, what) = replayed_with(&host, &run, &clock_reader(4, 7)).expect("a call too many");
    assert_eq!(step.as_deref(), Some("it"));
    assert!(what.contains("wasi:clocks/monotonic-clock#now") && what.contains("no more calls"), "{what}");
    let (step, _, what) = replayed_with(&host, &run, &clock_reader(2, 7)).expect("a call too few");
    assert_eq!(step.as_deref(), Some("it"));
    assert!(what.contains("1 more host call"), "{what}");
    let core = r#"(import "wasi:clocks/monotonic-clock@0.2.12" "resolution" (func $now (result i64)))
           (func (export "go") (result i32) (drop (call $now)) (i32.const 7))"#;
    let imports = &["wasi:clocks/monotonic-clock@0.2.12"];
    let other = Guest { imports, exports: "export go: func() -> u32;", core }.build();
    let (step, seq, what) = replayed_with(&host, &run, &other).expect("another function");
    assert_eq!((step.as_deref(), seq), (Some("it"), Some(2)));
    assert!(what.contains("#resolution") && what.contains("#now"), "{what}");
}

// ---- edited traces ----

/// What `verify` says of a trace with these lines: the event it names.
fn verified(folder: &Path, lines: &[String], newline: bool) -> Result<(), TraceError> {
    let mut text = lines.join("\n");
    if newline {
        text.push('\n');
    }
    let copy = tempfile::tempdir().unwrap();
    tree::copy(folder, &copy.path().join("run"));
    let run = copy.path().join("run");
    fs::write(run.join("trace.jsonl"), text).unwrap();
    verify(&run).map(|_| ())
}

fn first_bad(result: Result<(), TraceError>) -> u64 {
    match result {
        Err(TraceError::Event { seq, .. }) => seq,
        other => panic!("{other:?}"),
    }
}

#[test]
fn verify_names_the_first_event_that_was_edited() {
    let host = prepared();
    let run = host.call("probe.run", json!({"args": ["write", "/workspace/x", "text"]})).completed();
    let lines: Vec<String> = run.bytes().lines().map(str::to_owned).collect();
    assert!(verified(run.folder(), &lines, true).is_ok());
    let count = lines.len();
    for at in 0..count {
        let seq = at as u64;
        // A digit or letter somewhere in the middle of the line.
        let mut edited = lines.clone();
        let mut bytes = edited[at].clone().into_bytes();
        let place = bytes.len() / 2;
        bytes[place] = if bytes[place] == b'1' { b'2' } else { b'1' };
        edited[at] = String::from_utf8(bytes).unwrap();
        assert_eq!(first_bad(verified(run.folder(), &edited, true)), seq, "edited");
        // Deleted, except at the end: that is a truncation.
        if at + 1 < count {
            let mut edited = lines.clone();
            edited.remove(at);
            assert_eq!(first_bad(verified(run.folder(), &edited, true)), seq, "deleted");
            let mut edited = lines.clone();
            edited.swap(at, at + 1);
            assert_eq!(first_bad(verified(run.folder(), &edited, true)), seq, "swapped");
            let mut edited = lines.clone();
            edited.insert(at, lines[at].clone());
            assert_eq!(first_bad(verified(run.folder(), &edited, true)), seq + 1, "doubled");
        }
        let cut = verified(run.folder(), &lines[..at], true);
        match (at, cut) {
            (0, Err(TraceError::Event { seq: 0, .. })) => {}
            (_, Err(TraceError::Truncated { last: Some(last) })) => assert_eq!(last + 1, seq),
            (_, other) => panic!("{at}: {other:?}"),
        }
        let mut torn = lines[..=at].to_vec();
        let half = torn[at].len() / 2;
        torn[at].truncate(half);
        match verified(run.folder(), &torn, false) {
            Err(TraceError::Torn { last_whole, bytes }) => {
                assert_eq!((last_whole, bytes), (seq.checked_sub(1), half as u64));
            }
            other => panic!("{at}: {other:?}"),
        }
    }
    // What was signed for is not the same as what is there: something after the end.
    let mut edited = lines.clone();
    edited.push(lines[count - 1].clone());
    assert_eq!(first_bad(verified(run.folder(), &edited, true)), count as u64);
}

#[test]
fn verify_sees_an_edit_with_a_new_hash() {
    // Somebody who edits an event and computes its hash anew is found at the next event.
    let host = prepared();
    let run = host.call("probe.run", json!({"args": ["write", "/workspace/x", "text"]})).completed();
    let mut lines: Vec<String> = run.bytes().lines().map(str::to_owned).collect();
    let at = 3;
    let mut event: Value = serde_json::from_str(&lines[at]).unwrap();
    let object = event.as_object_mut().unwrap();
    object.insert("name".to_owned(), json!("wasi:cli/environment#get-arguments-x"));
    object.remove("hash");
    let bytes = serde_json_canonicalizer::to_vec(&event).unwrap();
    event.as_object_mut().unwrap().insert("hash".to_owned(), json!(trace::sha256(&bytes)));
    lines[at] = String::from_utf8(serde_json_canonicalizer::to_vec(&event).unwrap()).unwrap();
    assert_eq!(first_bad(verified(run.folder(), &lines, true)), at as u64 + 1);
}

#[test]
fn every_line_is_canonical_and_chained() {
    // RFC 8785 by another implementation, and the chain computed here.
    let host = prepared();
    let run = host.run(&everything()).completed();
    let mut prev = "0".repeat(64);
    for (seq, line) in run.bytes().lines().enumerate() {
        let mut event: Value = serde_json::from_str(line).unwrap();
        // The other implementation writes integers beyond 2^53 as floats, which no line here may hold anyway unless it is a handle's
        // or a clock's 64-bit value: those lines are compared by their chain alone.
        let canonical = serde_json_canonicalizer::to_vec(&event);
        if !has_large_integer(&event) {
            assert_eq!(String::from_utf8(canonical.unwrap()).unwrap(), line);
        }
        assert_eq!((event["seq"].as_u64(), event["prev"].as_str()), (Some(seq as u64), Some(prev.as_str())));
        let hash = event.as_object_mut().unwrap().remove("hash").unwrap();
        let member = format!("\"hash\":{hash},");
        assert_eq!(line.matches(&member).count(), 1);
        assert_eq!(trace::sha256(line.replace(&member, "").as_bytes()), hash);
        prev = hash.as_str().unwrap().to_owned();
    }
    assert_eq!(prev, run.report.head.to_string());
}

fn has_large_integer(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_u64().is_some_and(|n| n > 1 << 53),
        Value::Array(items) => items.iter().any(has_large_integer),
        Value::Object(members) => members.values().any(has_large_integer),
        _ => false,
    }
}

#[test]
fn a_damaged_run_is_not_replayed() {
    let host = prepared();
    let run = host.run(&everything()).completed();
    let blobs: Vec<_> = fs::read_dir(run.folder().join("blobs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let damage = |path: &Path, bytes: &[u8]| {
        let copy = tempfile::tempdir().unwrap();
        tree::copy(run.folder(), &copy.path().join("run"));
        let target = copy.path().join("run").join(path.strip_prefix(run.folder()).unwrap());
        fs::remove_file(&target).unwrap();
        if !bytes.is_empty() {
            fs::write(&target, bytes).unwrap();
        }
        let replayed = host.host.replay(&RunDir::open(&copy.path().join("run")).unwrap(), &ReplayOptions::default());
        match replayed {
            Ok(report) => report.divergence.is_some(),
            Err(_) => true,
        }
    };
    assert!(damage(&blobs[0], b""), "a blob is missing");
    assert!(damage(&blobs[0], b"other"), "a blob is another");
    assert!(
        damage(&run.folder().join("plan.json"), everything().to_string().replace("beta", "bet").as_bytes())
            || !everything().to_string().contains("beta")
    );
    assert!(damage(&run.folder().join("plan.json"), b"{}"), "the plan is another");
    assert!(damage(&run.folder().join("policy.toml"), b"schema = \"skillhost.policy/1\"\n"), "the policy is another");
    let text = run.folder().join("components").join(format!("{}.wasm", trace::sha256(&repo::component("text"))));
    assert!(damage(&text, &repo::component("csv")), "a component is another");
    let mut edited = run.bytes();
    edited = edited.replacen("\"t0\"", "\"tO\"", 1);
    assert!(damage(&run.folder().join("trace.jsonl"), edited.as_bytes()), "the trace is another");
}
