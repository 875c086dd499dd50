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

/// The same policy with `probe` where it has `files`, so that what it promises is tried by a program that keeps to nothing.
fn hostile(policy: &str) -> TestHost {
    let text = repo::text(&format!("policies/{policy}"));
    let (head, rest) = text.split_once("tools = [\"read-*\"").expect("the tools of `files`");
    let text =
        format!("{head}tools = [\"run\", \"read-*\"{rest}").replace("skills = [\"files\"]", "skills = [\"probe\"]");
    TestHost::with(&text, &[("probe", &repo::component("probe"))])
}

#[test]
fn safe_write_writes_in_the_workspace_and_nowhere_else() {
    let writes = host("safe-write.toml");
    let steps = [
        step("a", "files.write-text", json!({"path": "/workspace/new.txt", "text": "a"})),
        step("b", "files.append", json!({"path": "/workspace/new.txt", "text": "b"})),
        step("c", "files.copy", json!({"source": "/workspace/new.txt", "target": "/workspace/copy.txt"})),
    ];
    assert_eq!(writes.run(&plan(steps)).completed().report.outcome, RunOutcome::Completed);
    assert_eq!(std::fs::read_to_string(writes.workspace().join("copy.txt")).unwrap(), "ab");
    for tool in ["files.remove", "files.move"] {
        let input = match tool {
            "files.move" => json!({"source": "/workspace/in.csv", "target": "/workspace/x"}),
            _ => json!({"path": "/workspace/in.csv"}),
        };
        assert_eq!(writes.call(tool, input).report.outcome, RunOutcome::Denied, "{tool}");
    }

    // A folder beside the workspace whose name begins alike, a link to it, and a victim in it.
    let host = hostile("safe-write.toml");
    host.write("in.csv", "inside");
    let sibling = host.folder().join("workspace-evil");
    std::fs::create_dir(&sibling).unwrap();
    std::fs::write(sibling.join("victim"), "unharmed").unwrap();
    std::os::unix::fs::symlink(&sibling, host.workspace().join("link")).unwrap();
    std::os::unix::fs::symlink(sibling.join("victim"), host.workspace().join("file-link")).unwrap();
    std::os::unix::fs::symlink("../workspace-evil/victim", host.workspace().join("relative-link")).unwrap();
    let before = tree::read(&sibling);
    let inside = std::fs::read_to_string(host.workspace().join("in.csv")).unwrap();
    let mut refused = 0;
    for path in [
        "/workspace/../workspace-evil/victim",
        "/workspace/sub/../../workspace-evil/victim",
        "/workspace-evil/victim",
        "/workspace/../workspace-evil/new",
        "/workspace/link/victim",
        "/workspace/link/new",
        "/workspace/file-link",
        "/workspace/relative-link",
        "../workspace-evil/victim",
        "/etc/hostname",
    ] {
        for args in [
            &["cat", path][..],
            &["write", path, "x"],
            &["append", path, "x"],
            &["set-size", path, "0"],
            &["rename", "/workspace/in.csv", path],
            &["hardlink", path, "/workspace/hard"],
        ] {
            // A rename onto a link inside replaces the link: what it leads to stays.
            let replaces_link = args[0] == "rename" && path.ends_with("-link");
            let links_link = args[0] == "hardlink" && path.ends_with("-link");
            if replaces_link || links_link {
                continue;
            }
            assert_eq!(host.probed(args)["exit_code"], 1, "{args:?}");
            refused += 1;
        }
    }
    assert!(refused > 50);
    assert_eq!(tree::read(&sibling), before);
    assert_eq!(std::fs::read_to_string(host.workspace().join("in.csv")).unwrap(), inside);
    assert_eq!(host.probed(&["write", "/workspace/new.txt", "x"])["exit_code"], 0, "and in the workspace it writes");
}

#[test]
fn dangerous_disabled_has_no_tool_that_calls_itself_destructive() {
    let host = host("dangerous-disabled.toml");
    let policy = skillhost::policy::Policy::parse(&repo::text("policies/dangerous-disabled.toml")).unwrap();
    for name in ["files", "text", "json", "csv"] {
        let bytes = skillhost::skills::builtin::find(name).unwrap();
        let skill = host.host.inspect(&name.parse().unwrap(), &bytes).unwrap();
        for tool in skill.tools.values() {
            let allowed =
                matches!(skillhost::policy::decide(&policy, &tool.name), skillhost::policy::Decision::Allow { .. });
            assert_eq!(allowed, !tool.annotations.destructive, "{}", tool.name);
        }
    }
    let before = tree::read(&host.workspace());
    for (tool, input) in [
        ("files.remove", json!({"path": "/workspace/in.csv"})),
        ("files.write-text", json!({"path": "/workspace/in.csv", "text": "x"})),
    ] {
        assert_eq!(host.call(tool, input).report.outcome, RunOutcome::Denied, "{tool}");
    }
    assert_eq!(tree::read(&host.workspace()), before);
    host.call("files.append", json!({"path": "/workspace/in.csv", "text": "3,4\n"})).completed();
    // What is beside the workspace is as safe as under every other policy.
    let probe = hostile("dangerous-disabled.toml");
    std::fs::write(probe.folder().join("victim"), "unharmed").unwrap();
    assert_eq!(probe.probed(&["remove", "/workspace/../victim"])["exit_code"], 1);
    assert!(probe.folder().join("victim").is_file());
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
