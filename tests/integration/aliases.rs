//! A tool is called by its name or by an alias of its metadata, and by nothing that only looks like one.

use host_tests::{TestHost, plan, policy, repo, step};
use serde_json::{Value, json};
use skillhost::outcome::RunOutcome;
use skillhost::skills::SkillBytes;

const SPLIT: &str = "[tools.split]\naliases = [\"cut\", \"api.divide\"]\n";

/// `text` under another name, with these lines in its `skill.toml`.
fn host(grants: &str, lines: &str) -> TestHost {
    let manifest = format!("schema = \"skillhost.skill/1\"\nname = \"words\"\nversion = \"1.0.0\"\n{lines}");
    TestHost::configured(grants, &[], |builder| {
        let component = repo::component("text").into();
        builder.skill("words".parse().unwrap(), SkillBytes::Memory { component, manifest: Some(manifest.into()) })
    })
}

fn input() -> Value {
    json!({ "text": "a,b", "pattern": "," })
}

#[test]
fn a_call_by_an_alias_is_a_call_of_the_tool_and_the_trace_says_how_it_was_named() {
    // What is granted is the tool: an alias is no way around a policy.
    let granted =
        "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"words\"]\ntools = [\"split\"]\napproval = \"never\"\n";
    let host = host(granted, SPLIT);
    let calls = ["words.split", "words.cut", "words.api.divide"];
    let steps = calls.iter().enumerate().map(|(index, tool)| step(&format!("s{index}"), tool, input()));
    let mut document = plan(steps);
    document["output"] = json!(["{{steps.s0}}", "{{steps.s1}}", "{{steps.s2}}"]);
    let run = host.run(&document).completed();
    assert_eq!(run.report.output, json!([["a", "b"], ["a", "b"], ["a", "b"]]));
    let begun: Vec<&Value> = run.trace.of_kind("step-begin").collect();
    assert!(begun.iter().all(|begin| begin["tool"] == "words.split"));
    let named: Vec<&Value> = begun.iter().map(|begin| &begin["resolved_from"]).collect();
    assert_eq!(named, [&Value::Null, &json!("words.cut"), &json!("words.api.divide")]);
    host.replay_equals(&run);

    let under_the_alias = granted.replace("split", "cut");
    let run = self::host(&under_the_alias, SPLIT).run(&plan([step("s", "words.cut", input())]));
    assert_eq!(run.report.outcome, RunOutcome::Denied);
}

#[test]
fn what_only_looks_like_a_name_is_refused_with_a_suggestion() {
    let host = host(&policy("", ""), SPLIT);
    for (near, meant) in
        [("words.cutt", "words.cut"), ("words.splt", "words.split"), ("words.api.divid", "words.api.divide")]
    {
        let run = host.run(&plan([step("s", near, input())]));
        assert_eq!((run.report.outcome, run.problem_codes()), (RunOutcome::Refused, vec!["unknown-tool"]), "{near}");
        assert_eq!(run.report.problems[0].hint, Some(format!("did you mean `{meant}`?")));
        assert_eq!(run.trace.of_kind("step-begin").count(), 0);
    }
    for (other, code) in [("words.CUT", "unknown-tool"), ("cut", "unknown-tool"), ("text.cut", "unknown-tool")] {
        assert_eq!(host.run(&plan([step("s", other, input())])).problem_codes(), [code], "{other}");
    }
}

#[test]
fn a_name_that_two_tools_would_have_is_refused_when_the_skill_is_loaded() {
    for lines in [
        "[tools.split]\naliases = [\"search\"]\n",
        "[tools.split]\naliases = [\"cut\"]\n[tools.search]\naliases = [\"cut\"]\n",
        "[tools.split]\naliases = [\"cut\", \"cut\"]\n",
    ] {
        let run = host(&policy("", ""), lines).run(&plan([step("s", "words.split", input())]));
        assert_eq!(run.report.outcome, RunOutcome::Refused, "{lines}");
        let said = format!("{:?}", run.report.problems);
        assert!(said.contains("alias"), "{said}");
    }
}
