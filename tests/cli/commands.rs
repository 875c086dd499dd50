//! Each command's output, whole.

use host_tests::repo;
use insta::assert_snapshot;

use crate::program::Program;

fn program() -> Program {
    let program = Program::new();
    program.write("policies/default.toml", repo::text("policies/default.toml"));
    program.write("workspace/in.csv", "name,amount\nb,2\na,1.5\na,3\n");
    program.write("plan.json", PLAN);
    program
}

const PLAN: &str = r#"{
  "schema": "skillhost.plan/1", "name": "totals",
  "steps": [
    { "id": "read", "tool": "files.read-text", "input": { "path": "/workspace/in.csv" } },
    { "id": "sum", "tool": "csv.summarise", "input": { "text": "{{steps.read}}", "value": "amount", "group-by": "name" } },
    { "id": "write", "tool": "files.write-text",
      "input": { "path": "/workspace/out.txt", "text": "{{steps.sum.rows}} rows" } } ],
  "output": { "groups": "{{steps.sum.groups}}" }
}"#;

/// The table of exit codes of `--help` is the one that the documentation has.
#[test]
fn help() {
    let ended = Program::new().run(&["--help"]);
    assert_eq!(ended.code, 0);
    let table: Vec<&str> = ended.stdout.lines().skip_while(|line| *line != "Exit codes:").collect();
    assert!(table.len() > 10, "{}", ended.all());
    assert_snapshot!("help", ended.all());
}

#[test]
fn run() {
    let program = program();
    assert_snapshot!("run", program.run(&["run", "plan.json"]).all());
    assert_eq!(std::fs::read_to_string(program.path("workspace/out.txt")).unwrap(), "3 rows");
    // The second run is the same as the first, to the last byte.
    assert_eq!(program.run(&["run", "plan.json"]).all(), program.run(&["run", "plan.json"]).all());
}

#[test]
fn run_of_the_example() {
    let program = program();
    for name in ["plan.json", "orders.csv", "report.md.j2"] {
        let text = repo::text(&format!("examples/sales/{name}"));
        program.write(&format!("workspace/{name}"), text);
    }
    let ended = program.run(&["run", "workspace/plan.json"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(program.path("workspace/out/report.md").is_file());
}

/// The example at the top of the README, line by line, but for times and the run's id. Its head is that of a run in a fresh folder: the
/// second one finds what the first has made, so that its trace is another.
#[test]
fn the_readme_shows_what_one_gets() {
    let program = Program::new();
    program.write("policies/default.toml", repo::text("policies/default.toml"));
    for name in ["plan.json", "orders.csv", "report.md.j2"] {
        program.write(&format!("examples/sales/{name}"), repo::text(&format!("examples/sales/{name}")));
    }
    let run = ["run", "examples/sales/plan.json", "--workspace", "examples/sales"];
    let (code, value) = program.json(&run);
    assert_eq!(code, 0, "{value}");
    let (meta, steps) = (&value["meta"], value["result"]["steps"].as_array().unwrap());
    let readme = repo::text("README.md");
    let head = format!("head   {}\n", meta["trace_head"].as_str().unwrap());
    assert!(readme.contains(&head), "the README shows another head than this: {head}");
    let heads = readme.lines().filter_map(|line| line.strip_prefix("head ")).map(str::trim);
    assert_eq!(heads.collect::<std::collections::BTreeSet<_>>().len(), 1, "it is one run");
    assert!(readme.contains(&format!("/trace.jsonl ({} events)\n", meta["trace_events"])), "{meta}");
    let verified = program.run(&["trace", "verify", "last"]).stdout;
    let counts = verified.lines().next().unwrap().split_once("(completed), ").unwrap().1;
    assert!(readme.contains(&format!(" (completed), {counts}\n")), "{counts}");
    for step in steps {
        let (id, tool) = (step["id"].as_str().unwrap(), step["tool"].as_str().unwrap());
        let mut rows = readme.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let cells = rows.find(|cells| cells.starts_with(&[id, tool, "completed"])).expect("a row");
        let fuel = cells[3].replace(',', "");
        assert_eq!((fuel, cells[4].to_owned()), (step["fuel"].to_string(), step["calls"].to_string()), "{id}");
    }
    let (_, again) = program.json(&run);
    assert_ne!(again["meta"]["trace_head"], meta["trace_head"]);
}

#[test]
fn check_shows_all_mistakes() {
    let program = program();
    program.write("bad.json", r#"{
  "schema": "skillhost.plan/1", "name": "bad", "stepz": [],
  "steps": [
    { "id": "one", "tool": "files.raed-text", "input": { "path": "/workspace/in.csv" } },
    { "id": "two", "tool": "files.write-text", "input": { "text": 5 } },
    { "id": "two", "tool": "text.split", "input": { "text": "a", "pattern": "b", "colour": "red" } },
    { "id": "six", "tool": "text.split", "depends_on": ["nobody"], "input": { "text": "{{steps.none}}", "pattern": "b" } } ]
}"#);
    // What is wrong with the document does not hide what is wrong with its meaning.
    assert_snapshot!("check_bad", program.run(&["check", "bad.json"]).all());
    assert_snapshot!("check_valid", program.run(&["check", "plan.json"]).all());
}

#[test]
fn call() {
    let program = program();
    let input = r#"{"text": "a, b", "pattern": ",\\s*"}"#;
    assert_snapshot!("call", program.run(&["call", "text.split", "--input", input]).all());
    let missing = r#"{"path": "/workspace/none"}"#;
    assert_snapshot!("call_failed", program.run(&["call", "files.read-text", "--input", missing]).all());
}

/// The aliases of the built-in skills are names that other systems have for the same.
#[test]
fn a_built_in_tool_has_the_names_that_others_give_it() {
    let program = program();
    for alias in ["write_text", "write", "create", "save"] {
        let input = format!(r#"{{"path": "/workspace/{alias}.txt", "text": "{alias}"}}"#);
        let ended = program.run(&["call", &format!("files.{alias}"), "--input", &input]);
        assert_eq!(ended.code, 0, "{}", ended.all());
        let shown = program.run(&["trace", "show", "last"]).stdout;
        assert!(
            shown.contains("begin files.write-text(") && shown.contains(&format!("called as files.{alias}")),
            "{shown}"
        );
        let input = format!(r#"{{"path": "/workspace/{alias}.txt"}}"#);
        for reads in ["files.read", "files.read_text"] {
            assert_eq!(program.run(&["call", reads, "--input", &input]).stdout, format!("\"{alias}\"\n"));
        }
    }
}

#[test]
fn inspect() {
    assert_snapshot!("inspect", program().run(&["inspect", "text"]).all());
}

#[test]
fn skills_by_the_beginning_of_a_name() {
    let program = program();
    let ended = program.run(&["skills", "text.s"]);
    let first: Vec<&str> = ended.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!((ended.code, first), (0, vec!["text.search", "text.split"]), "{}", ended.all());
    let (code, value) = program.json(&["skills", "text"]);
    let skills = value["result"]["skills"].as_array().unwrap();
    assert_eq!((code, skills.len(), &skills[0]["name"]), (0, 1, &serde_json::json!("text")));
    let (_, inspected) = program.json(&["inspect", "text"]);
    assert_eq!(skills[0]["tools"], inspected["result"]["tools"]);
    let (_, value) = program.json(&["skills", "sys.undo"]);
    assert_eq!(value["result"]["skills"][0]["tools"].as_object().unwrap().len(), 1);
    assert_eq!(program.json(&["skills"]).1["result"]["skills"].as_array().unwrap().len(), 6);
    let ended = program.run(&["skills", "txet"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (5, ""));
    let says =
        "error: no skill and no tool that is built in has a name that begins with `txet`\nhint: did you mean `text`?\n";
    assert_eq!(ended.stderr, says);
    assert!(program.run(&["skills", "zzzzzzzz"]).stderr.contains("hint: `host skills` lists all of them"));
}

#[test]
fn inspect_with_a_policy() {
    let program = program();
    program.write("read-only.toml", repo::text("policies/read-only.toml"));
    let (code, value) = program.json(&["inspect", "files", "--policy", "read-only.toml"]);
    assert_eq!(code, 0);
    let tools = &value["result"]["tools"];
    assert_eq!(tools["read-text"]["needs"]["filesystem"], "read-only");
    assert_eq!(tools["read-text"]["policy"]["allowed"], true);
    assert_eq!(tools["read-text"]["policy"]["filesystem"][0]["guest"], "/workspace");
    assert_eq!(tools["remove"]["policy"]["allowed"], false);
    assert_eq!(tools["remove"]["policy"]["missing"][0]["key"], "filesystem");
    assert_snapshot!("inspect_policy", program.run(&["inspect", "csv", "--policy", "read-only.toml"]).all());
    let ended = program.run(&["inspect", "files", "--policy", "read-only.toml"]);
    assert!(ended.stdout.contains("missing: filesystem = [{ host = \"{workspace}\""), "{}", ended.all());
    assert_eq!(program.run(&["inspect", "files", "--policy", "none.toml"]).code, 2);
}

#[test]
fn a_need_that_is_not_granted_is_denied_with_the_lines_to_add() {
    let program = program();
    program.write("read-only.toml", repo::text("policies/read-only.toml"));
    let (code, value) = program.json(&["run", "plan.json", "--policy", "read-only.toml"]);
    assert_eq!((code, &value["error"]["code"]), (11, &serde_json::json!("SECURITY_VIOLATION")));
    assert_eq!(value["error"]["details"]["denials"][0]["missing"][0]["key"], "filesystem");
    assert!(!program.path("workspace/out.txt").exists());
    let ended = program.run(&["policy", "explain", "plan.json", "--policy", "read-only.toml"]);
    assert_eq!(ended.code, 11);
    assert!(ended.stdout.contains("missing: filesystem = ["), "{}", ended.all());
}

#[test]
fn replay_and_trace() {
    let program = program();
    assert_eq!(program.run(&["run", "plan.json"]).code, 0);
    assert_snapshot!("replay", program.run(&["replay", "last"]).all());
    assert_snapshot!("trace_verify", program.run(&["trace", "verify", "last"]).all());
    assert_snapshot!("trace_show", program.run(&["trace", "show", "last"]).all());
    assert_snapshot!("runs", program.run(&["runs"]).all());
    let first = program.run(&["runs"]);
    assert_eq!(first.code, 0);
    // Another file: another trace. `trace diff` names the first event that differs.
    let mut runs: Vec<_> = std::fs::read_dir(program.state("runs")).unwrap().map(|run| run.unwrap().path()).collect();
    program.write("workspace/in.csv", "name,amount\nb,2\n");
    assert_eq!(program.run(&["run", "plan.json"]).code, 0);
    let old = runs.remove(0).display().to_string();
    let ended = program.run(&["trace", "diff", &old, "last"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_snapshot!("trace_diff", ended.all());
    assert_eq!(program.run(&["trace", "diff", &old, &old]).code, 0);
}

#[test]
fn policy_explain() {
    let program = program();
    program.write("deny.toml", repo::text("policies/deny-all.toml"));
    assert_snapshot!("policy_explain", program.run(&["policy", "explain", "plan.json"]).all());
    assert_snapshot!(
        "policy_explain_denied",
        program.run(&["policy", "explain", "plan.json", "--policy", "deny.toml"]).all()
    );
    let ended = program.run(&["run", "plan.json", "--policy", "deny.toml"]);
    assert_eq!(ended.code, 11);
    assert_snapshot!("run_denied", ended.all());
}

#[test]
fn log_only_is_loud() {
    let program = program();
    program.write("deny.toml", repo::text("policies/deny-all.toml"));
    program.write("pure.json", r#"{"schema": "skillhost.plan/1", "name": "pure",
        "steps": [{"id": "split", "tool": "text.split", "input": {"text": "a b", "pattern": " "}}], "output": "{{steps.split}}"}"#);
    let ended = program.run(&["run", "pure.json", "--policy", "deny.toml", "--log-only"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.starts_with("plan `pure` completed\n\nLOG ONLY: the policy was asked and not enforced; it would have denied 1 step\n  split (text.split): "), "{}", ended.all());
    let (code, value) = program.json(&["run", "pure.json", "--policy", "deny.toml", "--log-only"]);
    assert_eq!((code, &value["result"]["log_only"]), (0, &serde_json::json!(true)));
    assert_eq!(value["result"]["would_deny"][0]["why"], "not-granted");
    let shown = program.run(&["trace", "show", "last"]).stdout;
    assert!(shown.contains("LOG ONLY") && shown.contains("would deny text.split, and only records it"), "{shown}");
    assert_eq!(program.run(&["replay", "last"]).code, 0);
    assert_eq!(program.run(&["policy", "replay", "last", "--policy", "deny.toml"]).code, 11);
    let input = r#"{"text": "a", "pattern": "b"}"#;
    let call = ["call", "text.split", "--input", input, "--policy", "deny.toml"];
    assert_eq!(program.run(&call).code, 11);
    let logged = program.run(&[&call[..], &["--log-only"]].concat());
    assert_eq!(logged.code, 0, "{}", logged.all());
    assert!(logged.stderr.contains("not enforced"), "{}", logged.all());
}

#[test]
fn a_budget_that_is_used_up_is_a_denial() {
    let program = program();
    let policy = repo::text("policies/default.toml").replace("[limits]", "[run]\nsteps = 2\n\n[limits]");
    program.write("few.toml", policy);
    let (code, value) = program.json(&["run", "plan.json", "--policy", "few.toml"]);
    assert_eq!((code, &value["error"]["code"]), (11, &serde_json::json!("SECURITY_VIOLATION")));
    assert_eq!(value["error"]["details"]["denials"][0]["why"], "budget");
    assert_eq!(program.run(&["run", "plan.json"]).code, 0);
    let replayed = program.run(&["policy", "replay", "last", "--policy", "few.toml"]);
    assert!(replayed.code == 11 && replayed.stdout.contains("budget of `steps`"), "{}", replayed.all());
}

#[test]
fn policy_init() {
    let program = Program::new();
    for name in ["default", "safe-write", "dangerous-disabled", "read-only", "deny-all"] {
        let ended = program.run(&["policy", "init", name, "--out", &format!("new/{name}.toml")]);
        assert_eq!(ended.code, 0, "{}", ended.all());
        let written = std::fs::read_to_string(program.path(&format!("new/{name}.toml"))).unwrap();
        assert_eq!(written, repo::text(&format!("policies/{name}.toml")));
        assert_eq!(program.run(&["policy", "check", &format!("new/{name}.toml")]).code, 0);
    }
    // Without a name it is the file that the host takes, and it is not replaced unasked.
    assert_eq!(program.run(&["policy", "init", "default"]).code, 0);
    assert_eq!(program.run(&["policy", "init", "deny-all"]).code, 2);
    assert_eq!(program.run(&["call", "text.split", "--input", r#"{"text": "a", "pattern": "b"}"#]).code, 0);
    assert_eq!(program.run(&["policy", "init", "deny-all", "--force"]).code, 0);
    assert_eq!(program.run(&["call", "text.split", "--input", r#"{"text": "a", "pattern": "b"}"#]).code, 11);
    assert_eq!(program.run(&["policy", "init", "wide-open"]).code, 2);
}

#[test]
fn policy_lab() {
    let program = program();
    program.write("deny.toml", repo::text("policies/deny-all.toml"));
    assert_eq!(program.run(&["run", "plan.json"]).code, 0);
    assert_snapshot!("policy_suggest", program.run(&["policy", "suggest"]).all());
    assert_eq!(program.run(&["policy", "suggest", "last", "--out", "new/least.toml"]).code, 0);
    let again = program.run(&["policy", "suggest", "last", "--out", "new/least.toml"]);
    assert_eq!(again.code, 2, "a file is not replaced unasked: {}", again.all());
    assert_eq!(program.run(&["policy", "suggest", "last", "--out", "new/least.toml", "--force"]).code, 0);
    let ended = program.run(&["policy", "replay", "--policy", "new/least.toml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "3 steps: 0 denied, 0 newly allowed, 0 otherwise\n"));
    let ended = program.run(&["policy", "replay", "last", "--policy", "deny.toml"]);
    assert_eq!(ended.code, 11);
    assert_snapshot!("policy_replay_denied", ended.all());
    let (code, value) = program.json(&["policy", "replay", "last", "--policy", "deny.toml"]);
    assert_eq!((code, &value["result"]["denies"]), (11, &serde_json::json!(3)));
    assert_eq!(value["result"]["findings"][0]["change"], "denies");
    assert_eq!(program.run(&["run", "plan.json", "--policy", "new/least.toml"]).code, 0);
    assert_eq!(program.run(&["policy", "replay", "nobody", "--policy", "deny.toml"]).code, 2);
}

#[test]
fn demo() {
    let program = Program::new();
    let ended = program.run(&["demo"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    for name in ["success", "missing_param", "policy_block"] {
        let artifact = format!("workspace/artifacts/trace_{name}.json");
        assert!(program.path(&artifact).is_file(), "{artifact}");
        let replayed = program.run(&["replay", &artifact]);
        assert_eq!(replayed.code, 0, "{artifact}: {}", replayed.all());
    }
    assert_snapshot!("demo", ended.all());
    assert_eq!(program.run(&["demo"]).code, 0, "a second time as well");
}

#[test]
fn json_is_one_document() {
    let program = program();
    for (args, code) in [
        (&["run", "plan.json"][..], 0),
        (&["check", "plan.json"], 0),
        (&["call", "text.split", "--input", r#"{"text": "a", "pattern": "b"}"#], 0),
        (&["inspect", "files"], 0),
        (&["replay", "last"], 0),
        (&["trace", "verify", "last"], 0),
        (&["runs"], 0),
        (&["skills"], 0),
        (&["policy", "explain", "plan.json"], 0),
        (&["call", "files.read-text", "--input", r#"{"path": "/none"}"#], 7),
    ] {
        let (ended, value) = program.json(args);
        assert_eq!(ended, code, "{args:?}: {value}");
        assert_eq!(value["ok"], code == 0, "{args:?}");
        for key in ["schema_version", "http_status", "meta"] {
            assert!(value.get(key).is_some(), "{args:?}: {value}");
        }
        assert_eq!(value.get("error").is_some_and(|error| !error.is_null()), code != 0, "{args:?}: {value}");
    }
}

/// A policy with a secret of the environment that the tool of the plan has nothing to do with, but that the run could not go on without.
#[test]
fn a_secret_is_needed_to_run_and_for_nothing_else() {
    let program = program();
    let secret = "[secrets]\nTOKEN = { env = \"API_TOKEN\" }\n[[grant]]\nskills = [\"http\"]\ntools = [\"*\"]\nenv = { TOKEN = { secret = \"TOKEN\" } }\n";
    program.write("secret.toml", format!("{}\n{secret}", repo::text("policies/default.toml")));
    let ended = program.run(&["run", "plan.json", "--policy", "secret.toml"]);
    assert_snapshot!("run_without_secret", ended.all());
    assert!(!program.state("runs").exists(), "nothing was begun");
    for args in
        [&["policy", "check", "secret.toml"][..], &["policy", "explain", "plan.json", "--policy", "secret.toml"]]
    {
        assert_eq!(program.run(args).code, 0, "{args:?}");
    }
    let variables = [("API_TOKEN", "hunter2-of-the-environment")];
    let ended = program.run_with(&variables, &["run", "plan.json", "--policy", "secret.toml"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(!ended.all().contains("hunter2"), "{}", ended.all());
    let mut runs = std::fs::read_dir(program.state("runs")).unwrap().map(|run| run.unwrap().file_name());
    let run = runs.next().unwrap().into_string().unwrap();
    let replayed = program.run(&["replay", &run]);
    assert_eq!(replayed.code, 0, "{}", replayed.all());
}
