//! What is decided, taken back and done again from the command line, also after `kill -9`: messages, exit codes, files.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use host_tests::server::{ok, read_request, until_closed};
use host_tests::{Server, repo, tree};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::program::{Ended, Program};

/// The built-in skills on one folder; what is of high risk is asked about.
fn program() -> Program {
    let program = Program::new();
    let policy = repo::text("policies/default.toml").replace("approval = \"never\"", "");
    program.write("policies/default.toml", policy).write("wipe.json", WIPE).write("ask.json", ask("stop"));
    program.write("workspace/old.txt", "old\n").write("workspace/log.txt", "begin\n");
    program
}

const WIPE: &str = r#"{"schema": "skillhost.plan/1", "name": "wipe", "steps": [
  {"id": "over", "tool": "files.write-text", "input": {"path": "/workspace/log.txt", "text": "over\n"}},
  {"id": "wipe", "tool": "files.remove", "input": {"path": "/workspace/old.txt"}},
  {"id": "log", "tool": "files.append", "input": {"path": "/workspace/log.txt", "text": "wiped\n"}, "depends_on": ["wipe", "over"]}
]}"#;

/// A plan that asks between two steps.
fn ask(on_failure: &str) -> String {
    let plan = json!({"schema": "skillhost.plan/1", "name": "ask", "on_failure": on_failure, "steps": [
        {"id": "over", "tool": "files.write-text", "input": {"path": "/workspace/log.txt", "text": "over\n"}},
        {"id": "ask", "approve": {"message": "is it right?", "context": {"rows": 3}}, "depends_on": ["over"]},
        {"id": "by", "tool": "files.append", "input": {"path": "/workspace/log.txt", "text": "{{steps.ask.by}}\n"}},
    ]});
    plan.to_string()
}

fn text(program: &Program, path: &str) -> String {
    fs::read_to_string(program.path(&format!("workspace/{path}"))).unwrap()
}

/// The runs, the oldest first.
fn runs(program: &Program) -> Vec<String> {
    let runs = fs::read_dir(program.state("runs")).unwrap();
    let mut runs: Vec<String> = runs.map(|run| run.unwrap().file_name().into_string().unwrap()).collect();
    runs.sort();
    runs
}

/// All that the program said, without the trace's hash and the policy's: in some of these they depend on a port.
fn shown(ended: &Ended) -> String {
    let all = ended.all();
    let lines = all.lines().filter(|line| !line.starts_with("head "));
    let lines = lines.map(|line| match line.rsplit_once(") ") {
        Some((policy, _)) if line.starts_with("policy ") => format!("{policy})"),
        _ => line.to_owned(),
    });
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

/// The error of a command that fails, from its envelope.
fn error(program: &Program, args: &[&str]) -> (i32, String, String) {
    let (code, value) = program.json(args);
    let error = &value["error"];
    let text = |key: &str| error[key].as_str().unwrap_or_else(|| panic!("{value:#}")).to_owned();
    assert_eq!(value["ok"], json!(false), "{value:#}");
    (code, text("code"), text("message"))
}

#[test]
fn a_run_that_waits_is_approved() {
    let program = program();
    let ended = program.run(&["run", "wipe.json"]);
    assert_eq!(ended.code, 30);
    assert_snapshot!("transactions_paused", shown(&ended));
    assert_eq!((program.path("workspace/old.txt").exists(), text(&program, "log.txt").as_str()), (true, "over\n"));
    let waiting = program.run(&["runs", "--status", "paused"]);
    assert!(waiting.stdout.contains("wipe"), "{}", waiting.all());
    for (args, code, what) in [
        (&["approve", "none", "--by", "a"][..], 2, "none"),
        (&["approve", "last", "over", "--by", "a"], 2, "over"),
        (&["approve", "last"], 2, "--by"),
    ] {
        let ended = program.run(args);
        assert!(ended.code == code && ended.stderr.contains(what), "{}", ended.all());
    }
    let ended = program.approve("last", &["--reason", "tidy"]);
    assert_eq!(ended.code, 0);
    assert_snapshot!("transactions_approved", shown(&ended));
    assert_eq!(
        (program.path("workspace/old.txt").exists(), text(&program, "log.txt").as_str()),
        (false, "over\nwiped\n")
    );
    let again = program.run(&["reject", "last", "--by", "bob"]);
    assert_eq!(again.code, 2);
    assert_snapshot!("transactions_too_late", shown(&again));
    assert_eq!(program.run(&["replay", "last"]).code, 0);
}

#[test]
fn an_ambiguous_run_is_refused() {
    let program = program();
    assert_eq!((program.run(&["run", "ask.json"]).code, program.run(&["run", "ask.json"]).code), (30, 30));
    let (code, kind, message) = error(&program, &["approve", "20", "--by", "alice"]);
    assert_eq!((code, kind.as_str()), (2, "REQUEST_INVALID"), "{message}");
    let (first, second) = (&runs(&program)[0], &runs(&program)[1]);
    let unique = (1..).find(|end| first[..*end] != second[..*end]).unwrap();
    assert_eq!(program.approve(&first[..unique], &[]).code, 0);
    assert_eq!(text(&program, "log.txt"), "over\nalice\n");
    // The other one still waits.
    let (_, waiting) = program.json(&["runs", "--status", "paused"]);
    assert_eq!(waiting["result"]["runs"].as_array().map(Vec::len), Some(1), "{waiting:#}");
}

#[test]
fn a_run_that_waits_is_rejected() {
    let program = program();
    let (code, value) = program.json(&["run", "ask.json"]);
    assert_eq!((code, &value["error"]["code"]), (30, &json!("APPROVAL_REQUIRED")), "{value:#}");
    let ended = program.run(&["reject", "last", "ask", "--by", "bob", "--reason", "not today"]);
    assert_eq!(ended.code, 14);
    assert_snapshot!("transactions_rejected", shown(&ended));
    assert_eq!(text(&program, "log.txt"), "over\n");
    // Where the plan says so, all is as before.
    program.write("ask.json", ask("rollback")).write("workspace/log.txt", "begin\n");
    let before = tree::read(&program.path("workspace"));
    assert_eq!(program.run(&["run", "ask.json"]).code, 30);
    let ended = program.run(&["reject", "last", "--by", "bob"]);
    assert_eq!(ended.code, 14);
    assert_snapshot!("transactions_rejected_rollback", shown(&ended));
    assert_eq!(tree::read(&program.path("workspace")), before);
    assert_eq!(program.run(&["run", "ask.json"]).code, 30);
    let (code, kind, _) = error(&program, &["reject", "last", "--by", "bob"]);
    assert_eq!((code, kind.as_str()), (14, "APPROVAL_REJECTED"));
    assert_eq!(program.run(&["replay", "last"]).code, 0);
}

#[test]
fn a_decision_may_wait_for_recover() {
    let program = program();
    assert_eq!(program.run(&["run", "ask.json"]).code, 30);
    let ended = program.approve("last", &["--no-continue"]);
    assert_eq!(ended.code, 0);
    assert_snapshot!("transactions_no_continue", shown(&ended));
    assert_eq!(text(&program, "log.txt"), "over\n");
    let (code, kind, message) = error(&program, &["reject", "last", "--by", "bob"]);
    assert_eq!((code, kind.as_str()), (2, "REQUEST_INVALID"), "{message}");
    let ended = program.run(&["recover"]);
    assert_eq!(ended.code, 0);
    assert_snapshot!("transactions_recovered_decision", shown(&ended));
    assert_eq!(text(&program, "log.txt"), "over\nalice\n");
    assert_snapshot!("transactions_nothing_to_recover", shown(&program.run(&["recover"])));
}

#[test]
fn under_another_policy_nothing_is_decided() {
    let program = program();
    assert_eq!(program.run(&["run", "ask.json"]).code, 30);
    let policy = fs::read_to_string(program.path("policies/default.toml")).unwrap();
    program.write("policies/default.toml", format!("{policy}\n# changed\n"));
    let ended = program.run(&["approve", "last", "--show"]);
    assert_eq!(ended.code, 11);
    assert_snapshot!("transactions_other_policy", shown(&ended));
    program.write("policies/default.toml", policy);
    assert_eq!(program.approve("last", &[]).code, 0);
    assert_eq!(text(&program, "log.txt"), "over\nalice\n");
}

const STEPS: &str = r#"{"schema": "skillhost.plan/1", "name": "steps", "steps": [
  {"id": "count", "tool": "files.append", "input": {"path": "/workspace/log.txt", "text": "once\n"}},
  {"id": "make", "tool": "files.make-dir", "input": {"path": "/workspace/new"}, "depends_on": ["count"]},
  {"id": "read", "tool": "files.read-text", "input": {"path": "/workspace/in.txt"}, "depends_on": ["make"]},
  {"id": "write", "tool": "files.write-text", "input": {"path": "/workspace/new/out.txt", "text": "{{steps.read}}"}}
]}"#;

#[test]
fn what_failed_is_resumed() {
    let program = program();
    program.write("steps.json", STEPS);
    assert_eq!(program.run(&["run", "steps.json"]).code, 7);
    program.write("workspace/in.txt", "in\n");
    let ended = program.run(&["resume", "last"]);
    assert_eq!(ended.code, 0);
    assert_snapshot!("transactions_resumed", shown(&ended));
    assert_eq!((text(&program, "log.txt").as_str(), text(&program, "new/out.txt").as_str()), ("begin\nonce\n", "in\n"));
    // What others have changed since is done again, and that is said.
    program.write("workspace/in.txt", "other\n");
    let ended = program.run(&["resume", "last"]);
    assert_eq!(ended.code, 0);
    assert_snapshot!("transactions_resumed_again", shown(&ended));
    let (code, kind, message) = error(&program, &["resume", "none"]);
    assert_eq!((code, kind.as_str()), (2, "REQUEST_INVALID"), "{message}");
}

#[test]
fn what_was_done_is_rolled_back() {
    let program = program();
    program.write("steps.json", STEPS).write("workspace/in.txt", "in\n");
    let before = tree::read(&program.path("workspace"));
    assert_eq!(program.run(&["run", "steps.json"]).code, 0);
    let ended = program.run(&["rollback", "last"]);
    assert_eq!(ended.code, 0);
    assert_snapshot!("transactions_rolled_back", shown(&ended));
    assert_eq!(tree::read(&program.path("workspace")), before);
    // What somebody else has changed since stays, and is said.
    assert_eq!(program.run(&["run", "steps.json"]).code, 0);
    program.write("workspace/log.txt", "mine\n");
    let ended = program.run(&["rollback", "last"]);
    assert_eq!(ended.code, 21);
    assert_snapshot!("transactions_rollback_incomplete", shown(&ended));
    assert_eq!((text(&program, "log.txt").as_str(), program.path("workspace/new").exists()), ("mine\n", false));
}

#[test]
fn a_rollback_that_is_not_complete_says_so_in_its_envelope() {
    let program = program();
    program.write("steps.json", STEPS).write("workspace/in.txt", "in\n");
    assert_eq!(program.run(&["run", "steps.json"]).code, 0);
    program.write("workspace/log.txt", "mine\n");
    let (code, value) = program.json(&["rollback", "last"]);
    assert_eq!((code, &value["error"]["code"]), (21, &json!("ROLLBACK_INCOMPLETE")), "{value:#}");
    let left = value["error"]["details"]["left"].as_array().unwrap();
    assert!(left.len() == 1 && left[0].as_str().unwrap().contains("/workspace/log.txt"), "{value:#}");
}

#[test]
fn bad_code_is_undone() {
    let program = program();
    let write = |text: &str| {
        let input = json!({"path": "/workspace/code.json", "text": text});
        let step = json!({"id": "write", "tool": "files.write-text", "input": input});
        program
            .write("write.json", json!({"schema": "skillhost.plan/1", "name": "write", "steps": [step]}).to_string());
        assert_eq!(program.run(&["run", "write.json"]).code, 0);
    };
    let test = r#"{"schema": "skillhost.plan/1", "name": "test", "steps": [
        {"id": "read", "tool": "files.read-text", "input": {"path": "/workspace/code.json"}},
        {"id": "test", "tool": "json.query-one", "input": {"text": "{{steps.read}}", "filter": ".ok"}}]}"#;
    program.write("test.json", test);
    write("{\"ok\": true}");
    assert_eq!(program.run(&["run", "test.json"]).code, 0);
    write("{\"ok\": tru");
    assert_eq!(program.run(&["run", "test.json"]).code, 7);
    assert_snapshot!("transactions_history", shown(&program.run(&["history"])));
    let ended = program.run(&["undo"]);
    assert_eq!(ended.code, 0);
    assert_snapshot!("transactions_undone", shown(&ended));
    assert_eq!(text(&program, "code.json"), "{\"ok\": true}");
    assert_eq!(program.run(&["run", "test.json"]).code, 0);
    // Somebody else's work is not taken back.
    program.write("workspace/code.json", "{\"ok\": false}");
    let ended = program.run(&["undo"]);
    assert_eq!(ended.code, 1);
    assert_snapshot!("transactions_undo_conflict", shown(&ended));
    let (code, kind, _) = error(&program, &["undo"]);
    assert_eq!((code, kind.as_str()), (1, "UNEXPECTED"));
    assert_eq!(text(&program, "code.json"), "{\"ok\": false}");
    let (code, value) = program.json(&["undo", "--force"]);
    assert_eq!((code, value["result"]["undone"][0]["changes"].as_array().map(Vec::len)), (0, Some(1)), "{value:#}");
    assert!(!program.path("workspace/code.json").exists());
    let ended = program.run(&["undo", "--steps", "2"]);
    assert_eq!(ended.code, 2);
    assert_snapshot!("transactions_undo_nothing", shown(&ended));
}

#[test]
fn what_waits_is_not_deleted() {
    let program = program();
    assert_eq!(program.run(&["run", "ask.json"]).code, 30);
    let ended = program.run(&["gc", "--older-than", "0s", "--dry-run"]);
    assert!(ended.code == 0 && ended.stdout.contains("stays"), "{}", ended.all());
    let (_, value) = program.json(&["gc", "--older-than", "0s"]);
    assert_eq!((&value["result"]["runs"], value["result"]["spared"].as_array().map(Vec::len)), (&json!([]), Some(1)));
    assert_eq!(program.approve("last", &[]).code, 0);
    let (_, history) = program.json(&["history"]);
    assert_eq!(history["result"]["steps"].as_array().map(Vec::len), Some(2), "{history:#}");
    let (_, value) = program.json(&["gc", "--older-than", "0s"]);
    assert_eq!(
        (value["result"]["runs"].as_array().map(Vec::len), &value["result"]["undo_steps"]),
        (Some(1), &json!(2))
    );
    assert_eq!(program.run(&["undo"]).code, 2);
    assert_eq!(text(&program, "log.txt"), "over\nalice\n");
}

/// A server whose first answer never comes.
fn slow() -> Server {
    Server::raw(|stream, seen| {
        if read_request(stream, seen).is_none() {
            return;
        }
        if seen.all().len() == 1 {
            until_closed(stream);
        } else {
            drop(stream.write_all(&ok("fetched")));
        }
    })
}

/// A plan that overwrites a file, then waits for a server, then for a person.
fn fetching(server: &Server, on_failure: &str) -> Program {
    let program = program();
    let url = server.url("/");
    let policy = fs::read_to_string(program.path("policies/default.toml")).unwrap();
    let network = format!("network = [{{ url = \"{url}*\", methods = [\"GET\"], addresses = [\"127.0.0.0/8\"] }}]");
    program.write(
        "policies/default.toml",
        format!("{policy}\n[[grant]]\nskills = [\"http\"]\ntools = [\"*\"]\n{network}\n"),
    );
    // A network is more than a policy may give that nobody named.
    assert_eq!(program.run(&["policy", "trust", "policies/default.toml"]).code, 0);
    let mut plan: Value = serde_json::from_str(&ask(on_failure)).unwrap();
    let steps = plan["steps"].as_array_mut().unwrap();
    let log = json!({"path": "/workspace/count.txt", "text": "once\n"});
    steps.insert(0, json!({"id": "count", "tool": "files.append", "input": log}));
    let fetch = json!({"id": "fetch", "tool": "http.get", "input": {"url": url}, "depends_on": ["over"]});
    steps.insert(2, fetch);
    steps[3]["depends_on"] = json!(["fetch"]);
    program.write("fetch.json", plan.to_string());
    program
}

/// Runs it and kills the program while its step waits for the server.
fn killed(program: &Program, server: &Server) {
    let mut child = program
        .command(&["run", "fetch.json"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while server.requests().is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it asked the server");
        std::thread::yield_now();
    }
    // SIGKILL.
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None);
}

fn trace(program: &Program) -> String {
    let run = program.state(&format!("runs/{}/trace.jsonl", runs(program).last().unwrap()));
    fs::read_to_string(run).unwrap()
}

#[test]
fn a_killed_run_is_recovered_waits_and_completes() {
    let server = slow();
    let program = fetching(&server, "stop");
    killed(&program, &server);
    assert_eq!(text(&program, "log.txt"), "over\n");
    let stopped = program.run(&["runs"]);
    assert!(stopped.stdout.contains("fetch") || stopped.stdout.contains("ask"), "{}", stopped.all());
    let ended = program.run(&["recover"]);
    assert_eq!(ended.code, 30);
    assert_snapshot!("transactions_recovered", shown(&ended));
    assert_eq!(program.approve("last", &[]).code, 0);
    assert_eq!((text(&program, "count.txt").as_str(), text(&program, "log.txt").as_str()), ("once\n", "over\nalice\n"));
    // It is the run that was never killed, to the last byte.
    let whole = fetching(&server, "stop");
    assert_eq!((whole.run(&["run", "fetch.json"]).code, whole.approve("last", &[]).code), (30, 0));
    assert_eq!(trace(&program), trace(&whole));
    assert_eq!(tree::read(&program.path("workspace")), tree::read(&whole.path("workspace")));
    assert_eq!(program.run(&["replay", "last"]).code, 0);
}

#[test]
fn who_refuses_after_a_crash_gets_the_overwritten_bytes_back() {
    let server = slow();
    let program = fetching(&server, "rollback");
    let before = tree::read(&program.path("workspace"));
    killed(&program, &server);
    assert_eq!(program.run(&["recover"]).code, 30);
    let ended = program.run(&["reject", "last", "--by", "bob", "--reason", "no"]);
    assert_eq!(ended.code, 14, "{}", ended.all());
    assert_eq!(tree::read(&program.path("workspace")), before);
    assert_eq!(text(&program, "log.txt"), "begin\n");
}

#[test]
fn every_run_goes_on_with_what_was_killed() {
    let server = slow();
    let program = fetching(&server, "stop");
    killed(&program, &server);
    program.write("steps.json", STEPS).write("workspace/in.txt", "in\n");
    let ended = program.run(&["run", "steps.json"]);
    assert_eq!(ended.code, 0);
    assert_snapshot!("transactions_run_after_crash", shown(&ended));
    assert_eq!(server.requests().len(), 2);
    let waiting = program.run(&["runs", "--status", "paused"]);
    assert!(waiting.stdout.contains("ask"), "{}", waiting.all());
}

/// The example of `docs/undo.md`, with its own policy, in a folder of its own.
#[test]
fn bad_code_is_taken_back_and_good_code_passes_its_test() {
    let program = Program::new();
    for name in ["plan.json", "policy.toml"] {
        program.write(name, repo::text(&format!("examples/undo-demo/{name}")));
    }
    program.write("workspace/total.jq", repo::text("examples/undo-demo/total.jq"));
    let ended = program.run(&["run", "plan.json", "--policy", "policy.toml"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_snapshot!("transactions_undo_demo", shown(&ended));
    assert_eq!(text(&program, "total.jq"), "map(.amount) | add\n");
    assert_eq!(program.run(&["replay", "last"]).code, 0);
    // Good code at once: nothing is taken back.
    let good = program.run(&["run", "plan.json", "--policy", "policy.toml", "--input-text", "bad=map(.amount) | add"]);
    assert!(good.code == 0 && good.stdout.contains("skipped"), "{}", good.all());
    // Not granted, not done.
    program.write("workspace/total.jq", "0\n");
    let policy = repo::text("examples/undo-demo/policy.toml").replace("\"undo\"", "\"redo\"");
    let denied = program.write("strict.toml", policy).run(&["run", "plan.json", "--policy", "strict.toml"]);
    assert!(denied.code == 11 && denied.stderr.contains("sys.undo"), "{}", denied.all());
    assert_eq!(text(&program, "total.jq"), "0\n");
}

#[test]
fn the_host_s_own_skill_is_shown_as_any_other() {
    let program = Program::new();
    program.write("plan.json", repo::text("examples/undo-demo/plan.json"));
    program.write("policy.toml", repo::text("examples/undo-demo/policy.toml"));
    let shown = program.run(&["inspect", "sys", "--policy", "policy.toml"]);
    assert_eq!(shown.code, 0);
    assert_snapshot!("transactions_inspect_sys", shown.all());
    let (_, listed) = program.json(&["skills"]);
    let names: Vec<&str> =
        listed["result"]["skills"].as_array().unwrap().iter().map(|skill| skill["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"sys"), "{names:?}");
    let explained = program.run(&["policy", "explain", "plan.json", "--policy", "policy.toml"]);
    assert!(explained.code == 0 && explained.stdout.contains("sys.undo"), "{}", explained.all());
    for args in [&["run", "plan.json", "--skill", "sys=x.wasm"][..], &["call", "sys.undo", "--skill", "sys=x.wasm"]] {
        let refused = program.run(args);
        assert!(refused.code == 2 && refused.stderr.contains("host's own"), "{}", refused.all());
    }
}
