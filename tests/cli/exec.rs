//! `host exec`: one JSON document for a request, whatever happens, and a line for a line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use host_tests::{Guest, policy, repo};
use serde_json::{Value, json};

use crate::program::{Ended, Program};

const SPLIT: &str = r#"{"action":"invoke","handler":"text.split","event":{"text":"a,b","pattern":","}}"#;

fn program() -> Program {
    let program = Program::new();
    program.write("policies/default.toml", repo::text("policies/default.toml"));
    // More fuel and time than a test takes on the slowest machine: what spins ends by what is tested.
    program.write("open.toml", policy("fuel = 9_007_199_254_740_991\ndeadline_ms = 3_600_000", ""));
    program
}

/// The one document that stdout has; stderr has nothing.
fn answer(ended: &Ended) -> Value {
    assert_eq!(ended.stderr, "", "{}", ended.all());
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.all());
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.all()));
    assert_eq!(answer["meta"]["exit_code"], ended.code, "{answer:#}");
    answer
}

/// The answer without what differs from one run to the next.
fn plain(mut answer: Value) -> Value {
    for key in ["request_id", "trace_id", "duration_ms"] {
        answer["meta"][key] = Value::Null;
    }
    answer
}

#[test]
fn stdin_and_options_make_the_same_request() {
    let program = program();
    let piped = answer(&program.piped(&["exec"], SPLIT));
    assert_eq!(piped["result"], json!(["a", "b"]));
    let event = r#"{"text":"a,b","pattern":","}"#;
    let options = ["exec", "--action", "invoke", "--handler", "text.split", "--event", event];
    assert_eq!(plain(answer(&program.run(&options))), plain(piped.clone()));
    let older = ["exec", "--action", "invoke", "--kind", "tool", "--name", "text.split", "--payload", event];
    assert_eq!(plain(answer(&program.run(&older))), plain(piped));
    let ids = ["--request-id", "r1", "--trace-id", "t1", "--ctx", r#"{"user_id":"u1"}"#, "--schema-version", "v1"];
    let asked = answer(&program.run(&[&options[..], &ids].concat()));
    let meta = &asked["meta"];
    assert_eq!((&meta["request_id"], &meta["trace_id"], &meta["user_id"]), (&json!("r1"), &json!("t1"), &json!("u1")));
}

#[test]
fn what_is_wrong_is_one_document_as_well() {
    let program = program();
    for (args, stdin, code) in [
        (&["exec"][..], "", 2),
        (&["exec"], "{\"action\"", 2),
        (&["exec", "--frobnicate"], "", 2),
        (&["--state", "there", "exec", "--timeout-ms", "soon"], "", 2),
        (&["exec", "--stream", "--action", "invoke"], "", 2),
        (&["exec", "--action", "invoke", "--event", "{"], "", 2),
        (&["exec", "--schema-version", "v2", "--action", "describe"], "", 2),
        (&["exec", "--policy", "none.toml"], SPLIT, 2),
        (&["exec", "--action", "invoke", "--handler", "texts.split"], "", 5),
        (&["exec", "--action", "invoke", "--handler", "text.split"], "", 6),
    ] {
        let ended = program.piped(args, stdin);
        assert_eq!(ended.code, code, "{args:?}: {}", ended.all());
        let answer = answer(&ended);
        assert_eq!(answer["ok"], false);
        assert!(answer["error"]["hint"].is_string(), "{answer:#}");
    }
}

#[test]
fn the_environment_counts_before_the_options() {
    let program = program();
    let describe = ["exec", "--action", "describe", "--kind", "flow"];
    let lines = |ended: Ended| ended.stdout.lines().count();
    assert!(lines(program.run(&[&describe[..], &["--pretty"]].concat())) > 1);
    assert!(lines(program.run_with(&[("HOST_PRETTY_JSON", "yes")], &describe)) > 1);
    assert_eq!(lines(program.run_with(&[("AIEL_PRETTY_JSON", "off")], &[&describe[..], &["--pretty"]].concat())), 1);
    program.write_state("context.json", r#"{"tenant_id":"acme","user_id":"known"}"#);
    let ctx = [&describe[..], &["--ctx", r#"{"user_id":"said"}"#]].concat();
    let meta = |ended: Ended| answer(&ended)["meta"].clone();
    assert_eq!(meta(program.run(&ctx)).get("tenant_id"), None);
    let found = meta(program.run_with(&[("HOST_AUTO_CTX", "1")], &ctx));
    assert_eq!((&found["tenant_id"], &found["user_id"]), (&json!("acme"), &json!("said")));
    assert_eq!(meta(program.run(&[&ctx[..], &["--auto-ctx"]].concat()))["tenant_id"], "acme");
}

/// A guest that never ends, and one that writes to stdout.
fn guests(program: &Program) {
    let spin = Guest { imports: &[], exports: "export go: func();", core: r#"(func (export "go") (loop $l (br $l)))"# };
    program.write("spin.wasm", spin.build());
}

#[test]
fn the_process_ends_with_the_timeout() {
    let program = program();
    guests(&program);
    let args =
        ["exec", "--policy", "open.toml", "--skill", "spin=spin.wasm", "--action", "invoke", "--handler", "spin.go"];
    let ended = program.run(&[&args[..], &["--timeout-ms", "300"]].concat());
    let answer = answer(&ended);
    assert_eq!((ended.code, &answer["http_status"]), (4, &json!(504)), "{answer:#}");
    assert_eq!(
        (&answer["error"]["code"], &answer["error"]["details"]["code"]),
        (&json!("TIMEOUT"), &json!("DEADLINE"))
    );
}

#[test]
fn a_guest_cannot_write_into_the_answer() {
    let program = program();
    program.write("probe.wasm", repo::component("probe"));
    let event = r#"{"args":["out","20"]}"#;
    let ended = program.run(&[
        "exec",
        "--policy",
        "open.toml",
        "--skill",
        "probe=probe.wasm",
        "--action",
        "invoke",
        "--handler",
        "probe.run",
        "--event",
        event,
    ]);
    assert_eq!(answer(&ended)["result"]["stdout"].as_str().map(str::len), Some(20));
}

#[test]
fn a_stream_answers_every_line_and_serves_the_next() {
    let program = program();
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(skillhost::limits::EXEC_REQUEST_BYTES_MAX));
    let named = r#"{"action":"describe","kind":"flow","meta":{"request_id":"r1"}}"#;
    let lines = [SPLIT, "{\"acti", "", &long, named, named, "[1]", SPLIT];
    let ended = program.piped(&["exec", "--stream"], &lines.join("\n"));
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let answers: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let codes: Vec<&str> =
        answers.iter().map(|answer| answer["error"]["details"]["code"].as_str().unwrap_or("ok")).collect();
    assert_eq!(codes, ["ok", "REQUEST_INVALID", "REQUEST_INVALID", "ok", "DUPLICATE_REQUEST", "REQUEST_INVALID", "ok"]);
    assert_eq!(answers[2]["error"]["details"]["problems"][0]["code"], "request-too-large");
    assert_eq!(answers[0]["meta"]["trace_head"], answers[6]["meta"]["trace_head"]);
    assert_eq!((&answers[0]["meta"]["cold_start"], &answers[6]["meta"]["cold_start"]), (&json!(true), &json!(false)));
}

#[test]
fn a_stream_answers_as_it_reads_and_ends_when_nobody_listens() {
    let program = program();
    let mut child =
        program.command(&["exec", "--stream"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for _ in 0..2 {
        writeln!(input, "{SPLIT}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.contains(r#""result":["a","b"]"#), "{line}");
    }
    drop(output);
    // It learns of it when it answers.
    writeln!(input, "{SPLIT}").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn timings_are_told_and_tracebacks_left_out_where_that_is_asked() {
    let program = program();
    let trap = Guest { imports: &[], exports: "export go: func();", core: r#"(func (export "go") unreachable)"# };
    program.write("trap.wasm", trap.build());
    let host =
        ["exec", "--policy", "open.toml", "--skill", "trap=trap.wasm", "--action", "invoke", "--handler", "trap.go"];
    let asked = |more: &[&str]| answer(&program.run(&[&host[..], more].concat()));
    let plain = asked(&[]);
    assert_eq!(plain["meta"].get("timings"), None);
    assert!(plain["error"]["details"]["traceback"].is_array(), "{plain:#}");
    for (record, phases) in [
        ("effects", &["read", "load", "validate", "run", "call", "total"][..]),
        ("all", &["read", "load", "store", "validate", "run", "call", "record", "total"]),
    ] {
        let told = asked(&["--debug", "--record", record]);
        let timings = told["meta"]["timings"].as_object().unwrap();
        let of = |name: &str| timings[&format!("{name}_ms")].as_f64().unwrap();
        assert!(phases.iter().all(|phase| (0.0..=of("total")).contains(&of(phase))), "{told:#}");
        // What took less than a microsecond is not told.
        let parts = ["hash_ms", "compile_ms", "link_ms", "instantiate_ms", "serialize_ms"];
        let known = |name: &&String| parts.contains(&name.as_str()) || phases.contains(&name.trim_end_matches("_ms"));
        assert_eq!(timings.keys().filter(|name| !known(name)).count(), 0, "{told:#}");
        assert!(of("compile") > 0.0 && of("compile") <= of("load"), "{told:#}");
        assert!(of("link") > 0.0 && of("instantiate") <= of("call"), "{told:#}");
        assert!(of("call") <= of("run") && of("call") > 0.0, "{told:#}");
        assert_eq!(of("total"), told["meta"]["duration_ms"].as_f64().unwrap());
    }
    let quiet = asked(&["--no-traceback"]);
    let (mut error, mut expected) = (quiet["error"].clone(), plain["error"].clone());
    assert_eq!(error["details"]["location"]["function"].take(), Value::Null);
    expected["details"].as_object_mut().unwrap().remove("traceback");
    expected["details"]["location"]["function"] = Value::Null;
    error["details"]["location"]["function"] = Value::Null;
    assert_eq!(error, expected);
    // What cannot be read has taken its time as well.
    let unread = answer(&program.piped(&["exec", "--debug"], "{"));
    let timings: Vec<&String> = unread["meta"]["timings"].as_object().unwrap().keys().collect();
    assert_eq!(timings, ["read_ms", "total_ms", "serialize_ms"], "{unread:#}");
}

#[test]
fn a_client_that_goes_away_in_the_middle_leaves_a_run_that_has_ended() {
    let program = program();
    guests(&program);
    let host = ["exec", "--policy", "open.toml", "--skill", "spin=spin.wasm", "--record", "all"];
    let request = r#"{"action":"invoke","handler":"spin.go","meta":{"timeout_ms":300}}"#;
    // One process for many, which ends well; and one for this, which ends as its answer says.
    for (number, (stream, code)) in [(true, 0), (false, 4)].into_iter().enumerate() {
        let mut command = program.command(&[&host[..], if stream { &["--stream"] } else { &[] }].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        drop(child.stdout.take());
        writeln!(input, "{request}").unwrap();
        // Of a stream the input stays open: it ends because of its output.
        let input = stream.then_some(input);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(code), &b""[..]));
        drop(input);
        let runs: Vec<_> = std::fs::read_dir(program.state("runs")).unwrap().flatten().collect();
        assert_eq!(runs.len(), number + 1);
        for run in runs {
            let trace = std::fs::read_to_string(run.path().join("trace.jsonl")).unwrap();
            assert!(trace.lines().last().unwrap().contains("\"run-end\""), "{trace}");
        }
    }
}

#[test]
fn half_a_line_at_the_end_is_answered() {
    let program = program();
    let ended = program.piped(&["exec", "--stream"], &format!("{SPLIT}\n{}", &SPLIT[..20]));
    let answers: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((ended.code, ended.stderr.as_str(), answers.len()), (0, "", 2));
    assert_eq!((&answers[0]["ok"], &answers[1]["error"]["details"]["code"]), (&json!(true), &json!("REQUEST_INVALID")));
}

/// A process that answers a request which does not end, once `has_begun`; killed then.
fn killed(program: &Program, args: &[&str], has_begun: impl Fn() -> bool, meanwhile: impl Fn()) {
    let mut child = program.command(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    while !has_begun() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    meanwhile();
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_key_outlives_a_process_that_is_killed() {
    let program = program();
    guests(&program);
    let request = |key: &'static str, ms: &'static str, more: &[&'static str]| -> Vec<&'static str> {
        let args = [
            "exec",
            "--policy",
            "open.toml",
            "--skill",
            "spin=spin.wasm",
            "--action",
            "invoke",
            "--handler",
            "spin.go",
        ];
        [&args[..], &["--idempotency-key", key, "--timeout-ms", ms], more].concat()
    };
    let asked = |args: &[&str]| answer(&program.run(args));
    let code = |answer: &Value| answer["error"]["details"]["code"].as_str().unwrap_or("ok").to_owned();
    let entries = |folder: &str| std::fs::read_dir(program.state(folder)).into_iter().flatten().flatten();

    // Nothing of it is kept, because it can have no effect: it is done again.
    let pure = request("pure", "600000", &[]);
    killed(&program, &pure, || entries("requests").next().is_some(), || ());
    // However much of it is spent on loading: a guest that spins is not done in it.
    let again = asked(&request("pure", "2000", &[]));
    assert_eq!((code(&again), &again["meta"]["from_record"]), ("DEADLINE".to_owned(), &json!(false)), "{again:#}");
    assert_eq!(asked(&pure)["meta"]["from_record"], true);

    // What is kept may have had an effect: it is not.
    let kept = request("kept", "600000", &["--record", "all"]);
    let has_begun = || {
        let traces = entries("runs").map(|run| std::fs::read_to_string(run.path().join("trace.jsonl")));
        traces.flatten().any(|trace| trace.contains("\"step-begin\""))
    };
    let under_way = || assert_eq!(code(&asked(&kept)), "REQUEST_UNDER_WAY");
    killed(&program, &kept, has_begun, under_way);
    for _ in 0..2 {
        let lost = asked(&kept);
        assert_eq!(
            (code(&lost), &lost["error"]["details"]["run"]),
            ("ANSWER_LOST".to_owned(), &json!("$RUN")),
            "{lost:#}"
        );
    }
    assert_eq!(entries("runs").count(), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_host_with_little_address_space_answers() {
    let program = program();
    // Less than a pool of instances reserves: they are made on demand.
    let ended = program.shell(&format!("ulimit -v 3000000; printf '%s' '{SPLIT}' | \"$HOST\" exec"));
    let answer = answer(&ended);
    assert_eq!((ended.code, &answer["result"]), (0, &json!(["a", "b"])), "{answer:#}");
}

/// In CI there is a Python; elsewhere there may be none.
#[test]
fn ten_lines_of_python_call_a_skill() {
    let program = program();
    let python = std::process::Command::new("python3").arg("--version").output().is_ok();
    if !python {
        assert!(std::env::var_os("CI").is_none(), "the example needs `python3`");
        eprintln!("not run: there is no `python3`");
        return;
    }
    assert_eq!(program.run(&["bundle", "new", "demo"]).code, 0);
    let example = repo::root().join("examples/python/words.py");
    let run = |args: &str| program.shell(&format!("PYTHONDONTWRITEBYTECODE=1 python3 {} {args}", example.display()));
    let ended = run("demo \"$HOST\"");
    let said = "['replace', 'search']\n{'greeting': 'Hello, Python!'}\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (1, said), "{}", ended.all());
    assert!(ended.stderr.starts_with("VALIDATION_ERROR: "), "the last call lacks parameters: {}", ended.all());
    // What is missing is said, and not shown as a fault of the script.
    for (args, why) in [("", "usage: "), ("none \"$HOST\"", "NOT_FOUND: "), ("demo ./none", "[Errno 2]")] {
        let ended = run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{}", ended.all());
        assert!(ended.stderr.starts_with(why) && !ended.stderr.contains("Traceback"), "{}", ended.all());
    }
}

#[test]
fn a_bundle_answers_from_a_shell_pipe() {
    let program = program();
    assert_eq!(program.run(&["bundle", "new", "demo"]).code, 0);
    let described = answer(&program.piped(&["exec", "--bundle", "demo"], r#"{"action":"describe"}"#));
    let exports = described["result"]["exports"].as_array().unwrap();
    let tool = exports.iter().find(|export| export["kind"] == "tool").unwrap();
    assert_eq!(described["meta"]["snapshot_id"].as_str().map(str::len), Some(64));
    assert_eq!(described["result"]["snapshot_id"], described["meta"]["snapshot_id"]);
    let asked = json!({ "action": "invoke", "kind": "tool", "handler": tool["name"], "event": 5 }).to_string();
    assert_eq!(
        answer(&program.piped(&["exec", "--bundle", "demo"], &asked))["error"]["details"]["code"],
        "PARAM_INVALID"
    );
    let none = answer(&program.piped(&["exec", "--bundle", "none"], SPLIT));
    assert_eq!((&none["error"]["details"]["code"], &none["http_status"]), (&json!("BUNDLE_NOT_FOUND"), &json!(404)));
    program.write("demo/bundle.toml", "schema = 1");
    let wrong = answer(&program.piped(&["exec", "--bundle", "demo"], SPLIT));
    assert_eq!(wrong["error"]["details"]["code"], "BUNDLE_INVALID", "{wrong:#}");
}

#[test]
fn the_bundle_is_that_of_the_option_or_the_environment_or_the_current_folder() {
    let program = program();
    for name in ["flag", "env", "here"] {
        assert_eq!(program.run(&["bundle", "new", name]).code, 0);
    }
    let id = |name: &str| program.run(&["bundle", "id", name]).stdout.trim().to_owned();
    let asked = |line: &str| {
        let ended = program.shell(&format!("cd here; {line} --action describe"));
        answer(&ended)["meta"]["snapshot_id"].as_str().unwrap_or_default().to_owned()
    };
    let (flag, env, here) = (id("flag"), id("env"), id("here"));
    assert_eq!(asked("\"$HOST\" exec"), here);
    assert_eq!(asked("HOST_BUNDLE_ROOT=../env \"$HOST\" exec"), env);
    assert_eq!(asked("EP_FILES_ROOT=../env \"$HOST\" exec"), env);
    for option in ["--bundle", "--files-root"] {
        assert_eq!(asked(&format!("HOST_BUNDLE_ROOT=../env \"$HOST\" exec {option} ../flag")), flag);
    }
    // A folder that is no bundle is none.
    assert_eq!(asked("cd ..; \"$HOST\" exec"), "");
}

#[test]
fn every_kind_can_be_called_by_options() {
    let program = program();
    assert_eq!(program.run(&["bundle", "new", "demo"]).code, 0);
    let export = "\n[[export]]\nkind = \"http\"\nname = \"swap\"\nroute = \"POST /swap\"\ntool = \"text.replace\"\n";
    let manifest = std::fs::read_to_string(program.path("demo/bundle.toml")).unwrap();
    program.write("demo/bundle.toml", manifest + export);
    let event = r#"{"text":"ab","pattern":"a","replacement":"c"}"#;
    let asked = |kind: &str, more: &[&str]| {
        let args = ["exec", "--bundle", "demo", "--action", "invoke", "--kind", kind];
        answer(&program.run(&[&args[..], more].concat()))
    };
    let http = asked("http", &["--http", &format!(r#"{{"method":"POST","path":"/swap","body":{event}}}"#)]);
    assert_eq!(http["result"]["text"], "cb", "{http:#}");
    let mcp = asked("mcp", &["--mcp", &format!(r#"{{"server":"text","tool":"replace","args":{event}}}"#)]);
    assert_eq!(mcp["result"], http["result"], "{mcp:#}");
    let flow = asked("flow", &["--handler", "hello", "--event", r#"{"name":"you"}"#]);
    assert_eq!(flow["result"]["greeting"], "Hello, you!", "{flow:#}");
    let tool = ["--handler", "replace", "--event", event, "--capabilities"];
    assert_eq!(asked("tool", &[&tool[..], &["{}"]].concat())["ok"], true);
    let denied = asked("tool", &[&tool[..], &[r#"{"subprocess":true}"#]].concat());
    assert_eq!(denied["error"]["details"]["code"], "CAPABILITY_DENIED", "{denied:#}");
    assert!(denied["error"]["hint"].as_str().unwrap().contains("no component can have it"), "{denied:#}");
    let unread = asked("http", &["--http", "{"]);
    assert!(unread["error"]["message"].as_str().unwrap().starts_with("`--http`: "), "{unread:#}");
}

#[test]
fn without_a_policy_stderr_is_as_silent() {
    let denied = answer(&Program::new().piped(&["exec"], SPLIT));
    assert_eq!(denied["error"]["details"]["code"], "POLICY_DENIED", "{denied:#}");
}

#[test]
fn hints_say_what_to_do() {
    let program = program();
    let hint = |request: &str| answer(&program.piped(&["exec"], request))["error"]["hint"].as_str().unwrap().to_owned();
    assert_eq!(
        hint(r#"{"action":"describe","ctx":{"user_id":5}}"#),
        "give a string of 1 to 128 bytes without control characters, or leave `user_id` out"
    );
    assert_eq!(
        hint(r#"{"action":"describe","meta":{"timeout_ms":0}}"#),
        "give an integer from 1 to 86400000, or leave `timeout_ms` out"
    );
    assert_eq!(hint(r#"{"action":"describe","meta":{"env":{"A":"b"}}}"#), "leave `env` out");
    program.write_state("context.json", "{");
    let unread = answer(&program.run(&["exec", "--auto-ctx", "--action", "describe"]));
    assert!(unread["error"]["message"].as_str().unwrap().contains("context.json"), "{unread:#}");
}

#[test]
fn schemas_are_printed() {
    let program = program();
    for name in ["request", "response", "plan", "policy", "trace-event"] {
        let ended = program.run(&["schema", name]);
        assert_eq!((ended.code, ended.stdout), (0, repo::text(&format!("docs/schemas/{name}.json"))), "{name}");
    }
    assert_eq!(program.run(&["schema", "requets"]).code, 2);
}
