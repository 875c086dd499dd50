//! The policy lab on real runs: what is suggested works and is minimal, what is compared is what would happen.

use host_tests::{TestHost, plan, policy, repo, step, tree};
use serde_json::{Value, json};
use skillhost::lab::replay::compare;
use skillhost::lab::suggest::suggest;
use skillhost::lab::{Change, Recorded};
use skillhost::outcome::RunOutcome;
use skillhost::policy::{Access, Policy};
use skillhost::{PlanDocument, PolicyDocument, Report, RunOptions};

/// Runs the main example under a policy, in a fresh copy of its workspace.
fn sales(policy: &str) -> (TestHost, Report) {
    let host = TestHost::new(policy);
    let folder = repo::root().join("examples/sales");
    tree::copy(&folder, &host.workspace());
    let _ignored = std::fs::remove_dir_all(host.workspace().join("out"));
    let plan = PlanDocument::read(&folder.join("plan.json")).expect("the plan is read");
    let report = host.host.run(&plan, &RunOptions::default()).expect("it ran");
    (host, report)
}

fn recorded(host: &TestHost, report: &Report) -> Recorded {
    Recorded::read(&host.host, &host.host.store().find(&report.run).expect("the run")).expect("it is read")
}

/// The policy with one item less, for each item: a grant, a tool, a folder, the right to write.
fn weaker(text: &str) -> Vec<(String, String)> {
    let whole: toml::Table = text.parse().expect("TOML");
    let mut weaker = Vec::new();
    let mut without = |what: String, change: &dyn Fn(&mut Vec<toml::Value>)| {
        let mut less = whole.clone();
        change(less["grant"].as_array_mut().expect("grants"));
        weaker.push((what, less.to_string()));
    };
    for (at, grant) in whole["grant"].as_array().expect("grants").iter().enumerate() {
        without(format!("grant {at}"), &|grants| drop(grants.remove(at)));
        let tools = grant["tools"].as_array().expect("tools");
        for tool in 0..tools.len() {
            if tools.len() > 1 {
                without(format!("{}", tools[tool]), &|grants| {
                    drop(grants[at]["tools"].as_array_mut().expect("tools").remove(tool));
                });
            }
        }
        for (index, folder) in grant.get("filesystem").and_then(toml::Value::as_array).into_iter().flatten().enumerate()
        {
            without(format!("folder {index} of grant {at}"), &|grants| {
                drop(grants[at]["filesystem"].as_array_mut().expect("folders").remove(index));
            });
            if folder["access"].as_str() == Some("read-write") {
                without(format!("writing to folder {index} of grant {at}"), &|grants| {
                    grants[at]["filesystem"][index]["access"] = "read-only".into();
                });
            }
        }
    }
    weaker
}

#[test]
fn the_suggestion_for_the_main_example_works_and_is_minimal() {
    let (host, report) = sales(&repo::text("policies/default.toml"));
    assert_eq!(report.outcome, RunOutcome::Completed);
    let run = recorded(&host, &report);
    let suggestion = suggest(std::slice::from_ref(&run)).expect("a policy");
    assert_eq!(suggestion.text, suggest(&[run]).expect("a policy").text, "the same runs give the same policy");

    let (_, again) = sales(&suggestion.text);
    assert_eq!(again.outcome, RunOutcome::Completed, "{}\n{again:#?}", suggestion.text);
    assert_eq!(again.output, report.output);

    // It is less than what the run had: exact tools, nothing to write but where something was written.
    let grants = &suggestion.policy.grants;
    assert!(!suggestion.text.contains('*'), "{}", suggestion.text);
    let writes = |tool: &str| {
        let grant = grants.iter().find(|grant| grant.tools.iter().any(|pattern| pattern.matches(tool)));
        grant.expect(tool).filesystem.iter().any(|preopen| preopen.access == Access::ReadWrite)
    };
    assert_eq!((writes("read-text"), writes("write-text"), writes("make-dir")), (false, true, true));

    let weaker = weaker(&suggestion.text);
    assert!(weaker.len() >= 10, "{weaker:?}");
    for (what, text) in weaker {
        let (_, report) = sales(&text);
        assert_ne!(report.outcome, RunOutcome::Completed, "without {what} it still runs:\n{text}");
    }
}

#[test]
fn the_lab_says_what_a_run_under_the_other_policy_does() {
    let (host, report) = sales(&repo::text("policies/default.toml"));
    let run = recorded(&host, &report);
    let policies =
        ["default.toml", "read-only.toml", "deny-all.toml"].map(|name| repo::text(&format!("policies/{name}")));
    let suggestion = suggest(std::slice::from_ref(&run)).expect("a policy").text;
    let weaker = weaker(&suggestion).into_iter().map(|(_, text)| text);
    let (mut passed, mut denied) = (0, 0);
    for text in policies.into_iter().chain([suggestion.clone()]).chain(weaker) {
        let comparison = compare([&run], &Policy::parse(&text).expect("a policy"));
        let (_, report) = sales(&text);
        let passes = report.outcome == RunOutcome::Completed;
        assert_eq!(comparison.denies == 0, passes, "{text}\n{:#?}", comparison.findings);
        if passes { passed += 1 } else { denied += 1 }
    }
    assert!(passed >= 2 && denied >= 10, "{passed} {denied}");
}

/// A run of `probe` and what is suggested for it.
fn probed(lines: &str, commands: &[&[&str]], files: &[&str]) -> (TestHost, Value, Recorded) {
    let host = TestHost::probe(&policy("", lines));
    files.iter().for_each(|file| host.write(file, "content"));
    let steps = commands.iter().enumerate().map(|(at, args)| {
        step(&format!("s{at}"), "probe.run", json!({"args": args, "exit_codes": (0..=255).collect::<Vec<u8>>()}))
    });
    let plan = plan(steps);
    let run = host.run(&plan).completed();
    let recorded = recorded(&host, &run.report);
    (host, plan, recorded)
}

/// Runs a plan under another policy in a workspace with these files; gives what the steps said.
fn said(text: &str, plan: &Value, files: &[&str]) -> Vec<Value> {
    let host = TestHost::probe(text);
    files.iter().for_each(|file| host.write(file, "content"));
    let run = host.run(plan).completed();
    let steps = run.trace.of_kind("step-end");
    steps.map(|end| end["outcome"]["completed"].clone()).collect()
}

const FOLDERS: &str = r#"filesystem = [
  { host = "{workspace}", guest = "/workspace", access = "read-write" },
  { host = "{workspace}/other", guest = "/other", access = "read-write" },
]
env = { USED = "1", TOKEN = "2" }
clocks = "real"
random = "real"
"#;

#[test]
fn a_folder_is_narrowed_to_what_was_touched_and_programs_say_the_same() {
    let files = ["data/in.txt", "data/more.txt", "other/x"];
    let commands: [&[&str]; 2] = [&["cat", "/workspace/data/in.txt"], &["list", "/workspace/data"]];
    let (_, plan, run) = probed(FOLDERS, &commands, &files);
    let suggestion = suggest(std::slice::from_ref(&run)).expect("a policy");
    let [grant] = &suggestion.policy.grants[..] else { panic!("{}", suggestion.text) };
    let [folder] = &grant.filesystem[..] else { panic!("{}", suggestion.text) };
    assert_eq!((folder.host.as_str(), folder.guest.as_str()), ("{workspace}/data", "/workspace/data"));
    assert_eq!(folder.access, Access::ReadOnly);
    assert!(!suggestion.text.contains("real") && !suggestion.text.contains("TOKEN"), "{}", suggestion.text);
    assert_eq!(said(&suggestion.text, &plan, &files), said(&policy("", FOLDERS), &plan, &files));
}

#[test]
fn what_the_run_made_itself_is_no_folder_to_grant() {
    let commands: [&[&str]; 2] = [&["mkdir", "/workspace/out"], &["write", "/workspace/out/a.txt", "x"]];
    let (_, plan, run) = probed(FOLDERS, &commands, &["other/x"]);
    let suggestion = suggest(std::slice::from_ref(&run)).expect("a policy");
    assert_eq!(suggestion.policy.grants[0].filesystem[0].guest, "/workspace", "{}", suggestion.text);
    assert_eq!(said(&suggestion.text, &plan, &["other/x"])[1]["exit_code"], 0);
}

#[test]
fn what_was_used_of_clocks_randomness_and_environment_is_kept() {
    let (_, _, run) = probed(FOLDERS, &[&["env"], &["clock"], &["random", "8"]], &["other/x"]);
    let suggestion = suggest(std::slice::from_ref(&run)).expect("a policy");
    for line in ["clocks = \"real\"", "random = \"real\"", "TOKEN = \"2\"", "USED = \"1\""] {
        assert!(suggestion.text.contains(line), "{line}\n{}", suggestion.text);
    }
    let findings = |lines: &str| {
        let comparison = compare([&run], &Policy::parse(&policy("", lines)).expect("a policy"));
        comparison.findings.into_iter().map(|finding| (finding.change, finding.what)).collect::<Vec<_>>()
    };
    let denied = findings("");
    for what in ["real clocks", "real random bytes", "the environment variable `TOKEN`"] {
        assert!(denied.contains(&(Change::Denies, what.to_owned())), "{what}: {denied:?}");
    }
    assert_eq!(findings("clocks = \"real\"\nrandom = \"real\"\nenv = { USED = \"1\", TOKEN = \"\" }"), []);
}

#[test]
fn what_was_refused_for_want_of_permission_may_be_newly_allowed() {
    let read_only = "filesystem = [{ host = \"{workspace}\", guest = \"/workspace\", access = \"read-only\" }]";
    let (_, _, run) = probed(read_only, &[&["write", "/workspace/a.txt", "x"]], &["a.txt"]);
    let wider = Policy::parse(&policy("", &read_only.replace("read-only", "read-write"))).expect("a policy");
    let comparison = compare([&run], &wider);
    assert_eq!((comparison.denies, comparison.allows), (0, 1), "{:#?}", comparison.findings);
    assert_eq!(comparison.findings[0].what, "write /workspace/a.txt");
    // The smallest policy lets it fail as it failed.
    assert!(!suggest(&[run]).expect("a policy").text.contains("read-write"));
}

#[test]
fn a_denied_run_shows_what_another_policy_would_allow() {
    let host = TestHost::new(&repo::text("policies/deny-all.toml"));
    let run = host.run(&plan([step("a", "text.split", json!({"text": "a", "pattern": "b"}))]));
    assert_eq!(run.report.outcome, RunOutcome::Denied);
    let recorded = recorded(&host, &run.report);
    let comparison = compare([&recorded], &Policy::parse(&repo::text("policies/default.toml")).expect("a policy"));
    assert_eq!((comparison.denies, comparison.allows), (0, 1));
    assert_eq!(compare([&recorded], &Policy::deny_all()).findings, []);
    assert!(suggest(&[recorded]).unwrap_err().to_string().contains("no step ran"));
}

#[test]
fn limits_that_would_have_been_hit_are_named() {
    let (host, report) = sales(&repo::text("policies/default.toml"));
    let run = recorded(&host, &report);
    let used = run.usage.steps.iter().filter_map(|step| step.used.fuel).max().expect("fuel");
    let with_fuel = |fuel: u64| {
        let text = repo::text("policies/default.toml").replace("fuel = 2_000_000_000", &format!("fuel = {fuel}"));
        let (_, report) = sales(&text);
        (compare([&run], &PolicyDocument::parse(&text).expect("a policy").policy).denies, report.outcome)
    };
    assert_eq!(with_fuel(used), (0, RunOutcome::Completed));
    assert_eq!(with_fuel(used / 2).1, RunOutcome::Failed);
    assert!(with_fuel(used / 2).0 >= 1);
}

#[test]
fn what_would_take_steps_back_is_looked_at_although_it_never_ran() {
    let all = "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"files\"]\ntools = [\"*\"]\napproval = \"never\"\n\
               filesystem = [{ host = \"{workspace}\", guest = \"/workspace\", access = \"read-write\" }]\n";
    let host = TestHost::new(all);
    host.write("a.txt", "a");
    let mut read = step("read", "files.read-text", json!({ "path": "/workspace/a.txt" }));
    read["compensate"] = json!({ "tool": "files.remove", "input": { "path": "/workspace/b.txt" } });
    let mut document = plan([read]);
    document["compensate"] =
        json!([{ "tool": "files.write-text", "input": { "path": "/workspace/c.txt", "text": "c" } }]);
    let run = host.run(&document).completed();
    let recorded = recorded(&host, &run.report);

    // One that grants what ran, and not what would take it back: the plan would be denied as a whole.
    let only = all.replace("tools = [\"*\"]", "tools = [\"read-text\", \"remove\"]");
    let found = compare([&recorded], &Policy::parse(&only).expect("a policy"));
    let said: Vec<String> =
        found.findings.iter().map(|found| format!("{} {} {}", found.step, found.tool, found.what)).collect();
    assert_eq!(said, ["compensate-0 files.write-text what would take the step back"]);
    assert_eq!(found.findings[0].change, Change::Denies);
    assert_eq!(compare([&recorded], &Policy::parse(all).expect("a policy")).findings, []);

    // What is suggested lets the plan run, and rehearses no compensation: their grant is what it was.
    let suggestion = suggest(std::slice::from_ref(&recorded)).expect("a suggestion");
    let again = TestHost::new(&suggestion.text);
    again.write("a.txt", "a");
    again.run(&document).completed();
    let grant = |tool: &str| {
        let names =
            |grant: &&std::sync::Arc<skillhost::policy::Grant>| grant.tools.iter().any(|pattern| pattern.matches(tool));
        suggestion.policy.grants.iter().find(names).expect("a grant")
    };
    assert_eq!(grant("read-text").filesystem[0].access, Access::ReadOnly, "it was narrowed to its use");
    assert_eq!(grant("remove").filesystem[0].access, Access::ReadWrite);
}
