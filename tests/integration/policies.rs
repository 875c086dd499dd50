//! The policies that come with the host do what they say.

use host_tests::{TestHost, plan, repo, step, tree};
use serde_json::json;
use skillhost::outcome::RunOutcome;

fn host(policy: &str) -> TestHost {
    let host = TestHost::with(&repo::text(&format!("policies/{policy}")), &[("probe", &repo::component("probe"))]);
    host.write("in.csv", "a,b\n1,2\n");
    host
}

const READS: &str = "files.read-text";

#[test]
fn default_lets_the_built_in_skills_work_in_the_workspace() {
    let host = host("default.toml");
    let run = host.run(&plan([
        step("read", READS, json!({"path": "/workspace/in.csv"})),
        step("sum", "csv.summarise", json!({"text": "{{steps.read}}", "value": "b"})),
        step("text", "text.split", json!({"text": "a b", "pattern": " "})),
        step("json", "json.parse", json!({"text": "{}"})),
        step("write", "files.write-text", json!({"path": "/workspace/out.txt", "text": "{{steps.sum.rows}} row"})),
    ]));
    assert_eq!(run.report.outcome, RunOutcome::Completed, "{:#?}", run.report);
    assert_eq!(std::fs::read_to_string(host.workspace().join("out.txt")).unwrap(), "1 row");
}

#[test]
fn default_denies_a_skill_that_it_does_not_name() {
    let host = host("default.toml");
    let before = tree::read(&host.workspace());
    let run = host.run(&plan([
        step("write", "files.write-text", json!({"path": "/workspace/out.txt", "text": "a"})),
        step("probe", "probe.run", json!({"args": ["env"]})),
    ]));
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    assert_eq!(run.report.denials.len(), 1);
    assert!(run.report.denials[0].reason.contains("probe"), "{:?}", run.report.denials);
    assert!(!run.report.denials[0].hint.is_empty());
    assert_eq!(tree::read(&host.workspace()), before);
}

#[test]
fn read_only_reads_and_does_not_write() {
    let host = host("read-only.toml");
    let before = tree::read(&host.workspace());
    let run = host.call(READS, json!({"path": "/workspace/in.csv"})).completed();
    assert_eq!(run.output(), &json!("a,b\n1,2\n"));
    // A tool that says that it writes is denied before anything of it runs …
    for (tool, input) in [
        ("files.write-text", json!({"path": "/workspace/in.csv", "text": "a"})),
        ("files.append", json!({"path": "/workspace/in.csv", "text": "a"})),
        ("files.remove", json!({"path": "/workspace/in.csv"})),
        ("files.make-dir", json!({"path": "/workspace/new"})),
        ("files.move", json!({"source": "/workspace/in.csv", "target": "/workspace/new"})),
        ("files.copy", json!({"source": "/workspace/in.csv", "target": "/workspace/new"})),
    ] {
        let run = host.call(tool, input);
        assert_eq!(run.report.outcome, RunOutcome::Denied, "{tool}");
        let [denial] = &run.report.denials[..] else { panic!("{tool}: {:?}", run.report.denials) };
        let lines: Vec<&str> = denial.missing.iter().map(|missing| missing.line.as_str()).collect();
        assert_eq!(
            lines,
            ["filesystem = [{ host = \"{workspace}\", guest = \"/workspace\", access = \"read-write\" }]"]
        );
        assert!(run.trace.of_kind("denied").all(|event| event["reason"].as_str().unwrap().contains(lines[0])));
        assert_eq!(run.trace.of_kind("step-begin").count(), 0, "{tool}: nothing was instantiated");
    }
    assert_eq!(tree::read(&host.workspace()), before);
}

/// … and one that says nothing, or not the truth, changes nothing either.
#[test]
fn read_only_holds_against_a_tool_that_does_not_say_that_it_writes() {
    let policy =
        repo::text("policies/read-only.toml").replace("skills = [\"files\"]", "skills = [\"files\", \"probe\"]");
    let silent = TestHost::with(&policy, &[("probe", &repo::component("probe")), ("files", &repo::component("files"))]);
    silent.write("in.csv", "a,b\n1,2\n");
    let before = tree::read(&silent.workspace());
    let run = silent.call("files.write-text", json!({"path": "/workspace/in.csv", "text": "a"}));
    assert_eq!(run.error()["code"], "denied");
    for args in [
        &["write", "/workspace/in.csv", "x"][..],
        &["append", "/workspace/in.csv", "x"],
        &["rename", "/workspace/in.csv", "/workspace/new"],
        &["remove", "/workspace/in.csv"],
        &["mkdir", "/workspace/new"],
        &["symlink", "in.csv", "/workspace/new"],
        &["hardlink", "/workspace/in.csv", "/workspace/new"],
        &["set-size", "/workspace/in.csv", "0"],
        &["set-times", "/workspace/in.csv", "1"],
    ] {
        assert_eq!(silent.probed(args)["exit_code"], 1, "{args:?}");
    }
    assert_eq!(tree::read(&silent.workspace()), before);
}

#[test]
fn deny_all_denies_every_step_before_anything_runs() {
    let host = host("deny-all.toml");
    let before = tree::read(&host.workspace());
    let steps = crate::replay::every_tool().into_iter().enumerate();
    let run = host.run(&plan(steps.map(|(at, (tool, input))| step(&format!("s{at}"), tool, input))));
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    assert_eq!(run.report.denials.len(), crate::replay::every_tool().len());
    assert_eq!(run.trace.of_kind("call").count() + run.trace.of_kind("step-begin").count(), 0);
    assert_eq!(tree::read(&host.workspace()), before);
}

#[test]
fn every_policy_is_here() {
    let here = include_str!("policies.rs");
    for (path, _) in repo::files("policies", &["toml"]) {
        let name = path.rsplit('/').next().expect("a name");
        assert!(here.contains(&format!("host(\"{name}\")")), "{name} is not tested");
    }
}
