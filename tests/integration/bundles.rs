//! Hosts that hold a bundle.

use std::fs;
use std::sync::Arc;

use host_tests::relay::{call, relay};
use host_tests::test_host::{TestHost, memory, name};
use serde_json::{Value, json};
use skillhost::bundle::{self, Bundle};
use skillhost::id::Digest;
use skillhost::outcome::RunOutcome;

const POLICY: &str = "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n";

/// A bundle that changes while a host holds it is refused, and serves again when it is what it was.
#[test]
fn a_bundle_that_changes_under_a_host_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("demo");
    bundle::create(&root, "demo").unwrap();
    let opened = Arc::new(Bundle::open(&root).unwrap());
    let test = TestHost::configured(POLICY, &[], |builder| builder.bundle(Arc::clone(&opened)));
    let plan = json!({
        "schema": "skillhost.plan/1", "name": "p",
        "steps": [{ "id": "a", "tool": "text.search", "input": { "text": "a1", "pattern": "[0-9]" } }],
    });
    let first = test.run(&plan);
    assert_eq!(first.report.snapshot, Some(opened.id));
    let readme = root.join("README.md");
    let text = fs::read(&readme).unwrap();
    fs::write(&readme, "other").unwrap();
    let refused = test.host.run(&test.document(&plan), &Default::default()).unwrap_err();
    assert!(refused.to_string().contains(&format!("has changed: its id was {}", opened.id)), "{refused}");
    assert!(test.host.check(&test.document(&plan)).is_err());
    fs::write(&readme, text).unwrap();
    let again = test.run(&plan);
    // The id is in the trace, and the same id makes the same trace.
    assert_eq!(again.report.head, first.report.head);
    let plain = TestHost::new(POLICY).run(&plan);
    assert_ne!(plain.report.head, first.report.head);
}

/// Where a bundle pins its components no other one runs beside them, wherever it is from.
#[test]
fn nothing_but_what_is_pinned_runs_beside_pins() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("demo");
    bundle::create(&root, "demo").unwrap();
    let manifest = fs::read_to_string(root.join("bundle.toml")).unwrap();
    let pin = format!("[requires]\na = \"{}\"", Digest::of(&relay()));
    fs::write(root.join("bundle.toml"), manifest.replace("[requires]", &pin)).unwrap();
    fs::write(root.join("skills/a.wasm"), relay()).unwrap();
    let opened = Arc::new(Bundle::open(&root).unwrap());
    let host = |calls: &str, given: &[(&str, &[u8])]| {
        let policy = format!("{POLICY}approval = \"never\"\ncalls = [\"{calls}\"]\n");
        TestHost::configured(&policy, &[], |builder| {
            let builder = builder.bundle(Arc::clone(&opened));
            given.iter().fold(builder, |builder, (skill, bytes)| builder.skill(name(skill), memory(bytes)))
        })
    };
    let plan = |skills: Value, tool: &str, input: Value| {
        let steps = json!([{ "id": "a", "tool": tool, "input": input }]);
        json!({ "schema": "skillhost.plan/1", "name": "p", "skills": skills, "steps": steps })
    };
    let split = json!({ "text": "a,b", "pattern": "," });
    // What is pinned runs, also where another one calls it.
    let pinned = host("text.*", &[]).run(&plan(json!({}), "a.go", call("text.split", split.clone()))).completed();
    assert_eq!(pinned.output(), "[\"a\",\"b\"]");

    let brought = json!({ "late": { "path": "workspace/late.wasm" } });
    let parse = json!({ "text": "1" });
    for (calls, given, plan, pointer, said) in [
        ("text.*", None, plan(json!({}), "csv.parse", parse.clone()), "/steps/0/tool", "does not list the skill `csv`"),
        (
            "text.*",
            None,
            plan(brought, "late.burn", json!({ "rounds": 1 })),
            "/skills/late",
            "does not list the skill `late`",
        ),
        (
            "text.*",
            Some("late"),
            plan(json!({}), "late.burn", json!({ "rounds": 1 })),
            "/steps/0/tool",
            "the skill `late`",
        ),
        (
            "text.*",
            Some("text"),
            plan(json!({}), "text.burn", json!({ "rounds": 1 })),
            "/steps/0/tool",
            "requires another component as `text`",
        ),
        ("csv.*", None, plan(json!({}), "a.go", call("csv.parse", parse)), "/steps/0/tool", "lists `csv.*` in `calls`"),
    ] {
        let relay = relay();
        let given: Vec<(&str, &[u8])> = given.into_iter().map(|skill| (skill, &relay[..])).collect();
        let test = host(calls, &given);
        test.write("late.wasm", &relay);
        let run = test.run(&plan);
        assert_eq!(run.report.outcome, RunOutcome::Refused, "{:#?}", run.report);
        let [problem] = &run.report.problems[..] else { panic!("{:#?}", run.report.problems) };
        assert_eq!((problem.code.as_str(), problem.pointer.as_str()), ("unpinned-skill", pointer));
        assert!(problem.message.contains(said), "{}", problem.message);
        // A replay has no bundle: it takes it from the record.
        test.replay_equals(&run);
    }
}
