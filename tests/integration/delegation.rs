//! A skill calls another skill's tool: under the callee's own grant, on the caller's fuel and time, in one trace that replays.

use std::collections::BTreeMap;
use std::time::Duration;

use host_tests::relay::{call, relay, unwrapped};
use host_tests::server::ok;
use host_tests::test_host::{memory, name};
use host_tests::trace::TraceFiles;
use host_tests::{Run, Server, TestHost, plan, repo, step};
use serde_json::{Value, json};
use skillhost::limits::{self, LimitKind};
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::replay::ReplayOptions;
use skillhost::store::Index;
use skillhost::store::index::Answer;
use skillhost::trace::verify::verify;
use skillhost::{Durability, GoOnOptions, RunOptions};

/// A host with three relays and `probe`. `head` stands above the grants; each of those is a skill's name and its lines.
fn host(head: &str, grants: &[(&str, &str)]) -> TestHost {
    let relay = relay();
    let probe = repo::component("probe");
    let skills: [(&str, &[u8]); 4] = [("a", &relay), ("b", &relay), ("c", &relay), ("probe", &probe)];
    TestHost::with(&policy(head, grants), &skills)
}

fn policy(head: &str, grants: &[(&str, &str)]) -> String {
    let grant = |(skill, keys): &(&str, &str)| {
        format!("[[grant]]\nskills = [\"{skill}\"]\ntools = [\"*\"]\napproval = \"never\"\n{keys}\n")
    };
    format!("schema = \"skillhost.policy/1\"\n{head}\n{}", grants.iter().map(grant).collect::<String>())
}

/// A folder of its own for a skill, below the workspace.
fn folder(host: &str, guest: &str) -> String {
    format!("filesystem = [{{ host = \"{{workspace}}/{host}\", guest = \"{guest}\", access = \"read-write\" }}]")
}

/// The trace holds, and the run replays to its end with nothing acting.
fn holds(host: &TestHost, run: &Run) {
    verify(run.folder()).unwrap_or_else(|error| panic!("{error}\n{}", run.bytes()));
    host.replay_equals(run);
}

/// Kinds, tools and functions of what happened inside of steps.
fn told(trace: &TraceFiles) -> Vec<String> {
    let told = |event: &Value| {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        match event["kind"].as_str().unwrap() {
            "delegate-begin" => Some(format!("{}> {}", event["depth"], text("tool"))),
            "delegate-end" => {
                Some(format!("<{} {}", event["depth"], event["outcome"].as_object()?.keys().next().unwrap()))
            }
            "call" => Some(text("name").rsplit_once('#').unwrap().1.to_owned()),
            _ => None,
        }
    };
    trace.events.iter().filter_map(told).collect()
}

/// The error that a call of `a.go` gave.
fn refused(host: &TestHost, tool: &str, input: &str) -> Value {
    let run = host.call("a.go", json!({"tool": tool, "input": input}));
    holds(host, &run);
    run.error().clone()
}

#[test]
fn a_calls_b_calls_a_program_that_writes_into_its_own_folder() {
    let (of_b, of_probe) = (format!("calls = [\"probe.run\"]\n{}", folder("b", "/own")), folder("p", "/own"));
    let host = host("", &[("a", "calls = [\"b.*\"]"), ("b", &of_b), ("probe", &of_probe)]);
    for folder in ["b", "p"] {
        std::fs::create_dir(host.workspace().join(folder)).unwrap();
    }
    let run =
        host.call("a.go", call("b.go", call("probe.run", json!({"args": ["write", "/own/x", "text"]})))).completed();
    assert_eq!(unwrapped(run.output(), 2)["exit_code"], 0);
    assert_eq!(std::fs::read_to_string(host.workspace().join("p/x")).unwrap(), "text", "its own grant alone counts");
    assert!(!host.workspace().join("b/x").exists());

    let told = told(&run.trace);
    let inner: Vec<&String> = told.iter().filter(|line| !line.starts_with('[')).collect();
    assert_eq!(told[..2], ["1> b.go", "2> probe.run"]);
    assert_eq!(told[told.len() - 4..], ["<2 completed", "call", "<1 completed", "call"], "{inner:?}");
    let begins: Vec<&Value> = run.trace.of_kind("delegate-begin").collect();
    assert_eq!((&begins[0]["grant"], &begins[1]["grant"]), (&json!(1), &json!(2)));
    assert_eq!(begins[1]["input"]["args"][0], "write");
    // Everything is counted once more by whoever called.
    let ends: Vec<&Value> = run.trace.of_kind("delegate-end").collect();
    let (inner, outer) = (ends[0]["fuel"].as_u64().unwrap(), ends[1]["fuel"].as_u64().unwrap());
    assert!(inner > 0 && inner < outer && outer < run.report.steps[0].fuel.unwrap(), "{inner} {outer}");
    assert_eq!(run.report.steps[0].calls, run.trace.of_kind("call").count() as u64);

    std::fs::remove_dir_all(host.workspace()).unwrap();
    holds(&host, &run);
    assert!(!host.workspace().exists());
}

#[test]
fn the_same_plan_gives_the_same_trace_and_seeds_differ_from_call_to_call() {
    let policy = [("a", "calls = [\"probe.run\"]"), ("probe", "")];
    let traces = [0, 1].map(|_| {
        let host = host("", &policy);
        let random = call("probe.run", json!({"args": ["random", "8"]}));
        let run = host.run(&plan([step("one", "a.go", random.clone()), step("two", "a.go", random)])).completed();
        holds(&host, &run);
        let outputs: Vec<&Value> = run.trace.of_kind("delegate-end").map(|end| &end["outcome"]).collect();
        assert_ne!(outputs[0], outputs[1]);
        run.bytes()
    });
    assert_eq!(traces[0], traces[1]);
}

#[test]
fn what_a_caller_may_not_call_is_an_error_and_nothing_of_it_runs() {
    let host = host("", &[("a", "calls = [\"b.*\", \"c.go\", \"probe.run\"]"), ("b", "calls = []"), ("probe", "")]);
    let denied = |tool: &str| refused(&host, tool, "{}")["val"].as_str().unwrap().to_owned();
    assert!(denied("files.read-text").contains("does not list `files.read-text` in `calls`"));
    assert!(denied("c.go").contains("no grant of the policy names the skill `c`"));
    assert_eq!(refused(&host, "b.none", "{}")["tag"], "not-found");
    assert_eq!(refused(&host, "no tool", "{}")["tag"], "not-found");
    for (input, said) in [("{", "not JSON"), ("[]", "object"), ("{\"rounds\": -1}", "rounds"), ("{}", "rounds")] {
        let error = refused(&host, "b.burn", input);
        assert_eq!(error["tag"], "invalid");
        assert!(error["val"].as_str().unwrap().contains(said), "{error}");
    }
    let b = host.call("b.go", call("a.go", json!({})));
    assert_eq!(b.error()["tag"], "denied", "an empty list lists nothing");
    let run = host.call("a.names", json!({})).completed();
    assert_eq!(
        run.output(),
        &json!([
            "b.again",
            "b.burn",
            "b.go",
            "b.grow",
            "b.grown",
            "b.kept",
            "b.names",
            "b.spin",
            "b.trap",
            "probe.run"
        ])
    );
    assert_eq!(run.trace.of_kind("delegate-begin").count(), 0);
    holds(&host, &run);
}

#[test]
fn a_tool_that_somebody_has_to_approve_is_denied() {
    let policy = policy("", &[("a", "calls = [\"b.*\"]"), ("b", "")]).replacen("approval = \"never\"", "", 2);
    let policy = policy.replace("skills = [\"b\"]", "skills = [\"b\"]\napproval = \"required\"");
    let policy = policy.replace("skills = [\"a\"]", "skills = [\"a\"]\napproval = \"never\"");
    let relay = relay();
    let host = TestHost::with(&policy, &[("a", &relay), ("b", &relay)]);
    let error = refused(&host, "b.names", "{}");
    assert!(error["val"].as_str().unwrap().contains("nobody is asked inside of a step"), "{error}");
}

#[test]
fn three_calls_are_inside_of_each_other_and_a_policy_may_say_fewer() {
    let calls = "calls = [\"a.*\"]";
    let nested = |depth: usize, tool: &str| {
        (0..depth).fold((tool.to_owned(), json!({})), |(tool, input), _| ("a.go".to_owned(), call(&tool, input)))
    };
    for (head, depth) in [("", 3), ("[limits]\ncall_depth = 1", 1)] {
        let host = host(head, &[("a", calls)]);
        // At the border: it may be called, and may call nothing.
        let (tool, input) = nested(depth, "a.names");
        let run = host.call(&tool, input).completed();
        assert_eq!(unwrapped(run.output(), depth), json!([]));
        assert_eq!(run.trace.of_kind("delegate-begin").count(), depth);
        holds(&host, &run);
        let (tool, input) = nested(depth + 1, "a.names");
        let run = host.call(&tool, input);
        let mut error = run.error().clone();
        for _ in 0..depth {
            assert_eq!(error["tag"], "failed");
            error = serde_json::from_str(error["val"].as_str().unwrap()).unwrap();
        }
        assert_eq!(error, json!({"tag": "too-deep", "val": depth}));
        holds(&host, &run);
    }
}

#[test]
fn fuel_is_the_steps_to_the_last_unit() {
    let grants = [("a", "calls = [\"b.*\"]"), ("b", "")];
    let burn = || call("b.burn", json!({"rounds": 50_000}));
    let whole = host("", &grants).call("a.go", burn()).completed();
    let fuel = whole.report.steps[0].fuel.unwrap();
    let exact = host(&format!("[limits]\nfuel = {fuel}"), &grants);
    let run = exact.call("a.go", burn()).completed();
    assert_eq!(run.report.steps[0].fuel, Some(fuel));
    holds(&exact, &run);
    // What is left is not enough: the step ends with the callee.
    for fuel in [fuel - 200, fuel / 2] {
        let short = host(&format!("[limits]\nfuel = {fuel}"), &grants);
        let run = short.call("a.go", burn());
        let is_fuel = |outcome: &Outcome| matches!(outcome, Outcome::LimitExceeded { limit: LimitKind::Fuel, allowed, .. } if *allowed == fuel);
        assert!(is_fuel(run.outcome()), "{:?}", run.outcome());
        assert_eq!(told(&run.trace).last().unwrap(), "<1 limit-exceeded");
        holds(&short, &run);
    }
}

#[test]
fn a_limit_of_the_callee_alone_and_a_trap_are_errors_of_the_call() {
    let of_b =
        "limits = { fuel = 100000, memory_bytes = 1048576, output_bytes = 40, host_calls = 1 }\ncalls = [\"b.names\"]";
    let host = host("", &[("a", "calls = [\"b.*\"]"), ("b", of_b)]);
    let again = json!({"tool": "b.names", "input": "{}", "times": 2}).to_string();
    for (tool, input, limit) in [
        ("b.burn", "{\"rounds\": 1000000}", "fuel"),
        ("b.spin", "{}", "fuel"),
        ("b.grow", "{\"pages\": 100}", "memory_bytes"),
        ("b.again", again.as_str(), "host_calls"),
    ] {
        assert_eq!(refused(&host, tool, input), json!({"tag": "limit", "val": limit}), "{tool}");
    }
    let error = refused(&host, "b.trap", "{}");
    assert_eq!(error["tag"], "trapped");
    assert!(error["val"].as_str().unwrap().contains("unreachable"), "{error}");
}

#[test]
fn sandboxes_inside_of_each_other_have_four_gib_together() {
    let host = host("[limits]\nmemory_bytes = 4294967296", &[("a", "calls = [\"b.*\"]"), ("b", "")]);
    let grown = |pages: u32, inner: u32| {
        let input = json!({"pages": inner}).to_string();
        let run = host.call("a.grown", json!({"pages": pages, "tool": "b.grow", "input": input}));
        holds(&host, &run);
        run.report.steps[0].outcome.clone().unwrap()
    };
    // Each has four pages to begin with; nothing of them is touched.
    let pages = u32::try_from(limits::CALL_MEMORY_BYTES_MAX >> 16).unwrap();
    assert!(matches!(grown(pages - 1000, 992), Outcome::Completed { .. }));
    let Outcome::Failed { error } = grown(pages - 1000, 993) else { panic!("more than all") };
    assert_eq!(error, json!({"tag": "limit", "val": "memory_bytes"}));
}

#[test]
fn what_is_said_of_a_call_is_short() {
    let host = host("", &[("a", "calls = [\"b.*\"]"), ("b", "")]);
    let error = refused(&host, &"x".repeat(2 * limits::CALL_ERROR_CHARS_MAX), "{}");
    assert_eq!(error["tag"], "not-found");
    assert_eq!(error["val"].as_str().unwrap().chars().count(), limits::CALL_ERROR_CHARS_MAX);
}

#[test]
fn a_callee_sends_what_its_own_grant_lets_it_send() {
    let server = Server::new(|_| ok("told"));
    let host = host("", &[("a", "calls = [\"http.get\"]"), ("http", &server.granted("/open/*", &["GET"]))]);
    let get = |path: &str| host.call("a.go", call("http.get", json!({"url": server.url(path)})));
    let run = get("/open/x").completed();
    assert_eq!(unwrapped(run.output(), 1)["body"], "told");
    let denied = get("/other");
    assert_eq!(denied.error()["tag"], "failed", "a value of the tool");
    drop(server);
    holds(&host, &run);
    holds(&host, &denied);
}

#[test]
fn a_run_that_waited_goes_on_behind_what_was_called() {
    let relay = relay();
    let host = TestHost::configured(
        &policy("", &[("a", "calls = [\"b.*\"]"), ("b", "")]),
        &[("a", &relay), ("b", &relay)],
        |builder| builder.pauses(true),
    );
    let ask = json!({"id": "ask", "approve": {"message": "go on"}, "depends_on": ["one"]});
    let mut last = step("two", "a.go", call("b.names", json!({})));
    last["depends_on"] = json!(["ask"]);
    let run = host.run(&plan([step("one", "a.go", call("b.names", json!({}))), ask, last]));
    assert_eq!(run.report.outcome, RunOutcome::Paused, "{:#?}", run.report);
    assert_eq!(host.replay(&run).divergence, None);
    let answer = Answer { approved: true, by: "alice".to_owned(), reason: String::new() };
    let mut index = Index::open(&host.state(), Durability::Full).unwrap();
    index.decide_approval(&run.report.run, "ask", &answer, Duration::from_secs(1)).unwrap();
    drop(index);
    let report = host.host.go_on(run.recorded(), &GoOnOptions::default()).unwrap_or_else(|error| panic!("{error:?}"));
    let run = Run { trace: TraceFiles::read(&report.folder), report }.completed();
    assert_eq!(run.trace.of_kind("delegate-begin").count(), 2);
    verify(run.folder()).unwrap();
    assert_eq!(host.replay(&run).divergence, None);
}

#[test]
fn host_calls_are_the_steps() {
    let grants = [("a", "calls = [\"probe.run\"]"), ("probe", "")];
    let ten = || call("probe.run", json!({"args": ["calls", "10"]}));
    let whole = host("", &grants).call("a.go", ten()).completed();
    let calls = whole.report.steps[0].calls;
    let exact = host(&format!("[limits]\nhost_calls = {calls}"), &grants);
    holds(&exact, &exact.call("a.go", ten()).completed());
    let short = host(&format!("[limits]\nhost_calls = {}", calls - 1), &grants);
    let run = short.call("a.go", ten());
    let allowed = calls - 1;
    assert!(
        matches!(run.outcome(), Outcome::LimitExceeded { limit: LimitKind::HostCalls, allowed: found, .. } if *found == allowed),
        "{:?}",
        run.outcome()
    );
    holds(&short, &run);
}

#[test]
fn a_deadline_in_the_callee_ends_the_step() {
    for (head, of_b) in [("[limits]\ndeadline_ms = 100", ""), ("", "limits = { deadline_ms = 100 }")] {
        let host = host(head, &[("a", "calls = [\"b.*\"]"), ("b", of_b)]);
        let run = host.run(&plan([step("late", "a.go", call("b.spin", json!({})))]));
        assert!(
            matches!(run.outcome(), Outcome::LimitExceeded { limit: LimitKind::Deadline, allowed: 100, .. }),
            "{:?}",
            run.outcome()
        );
        assert_eq!(told(&run.trace), ["1> b.spin"], "the end of the step is the end of all in it");
        holds(&host, &run);
    }
}

#[test]
fn a_changed_callee_is_found_and_one_that_does_the_same_is_not() {
    let host = host("", &[("a", "calls = [\"b.*\"]"), ("b", "calls = [\"a.names\"]")]);
    let run = host.call("a.go", call("b.names", json!({}))).completed();
    let with = |bytes: &[u8]| {
        let skills = BTreeMap::from([(name("b"), memory(bytes))]);
        host.replay_with(&run, &ReplayOptions { skills, ceiling: None }).divergence
    };
    // The same but for what a debugger sees.
    let mut padded = relay();
    padded.extend([0, 5, 4, b'n', b'o', b't', b'e']);
    assert_eq!(with(&padded), None);
    let names = "(func (export \"names\") (result i32) (i32.const 64))";
    let imports = &["skillhost:skill/tools@0.1.0"];
    let silent = host_tests::Guest { imports, exports: "export names: func() -> list<string>;", core: names }.build();
    let found = with(&silent).expect("a divergence");
    assert_eq!(found.step.as_deref(), Some("it"));
    assert!(found.what.contains("ends its call of the tool `b.names`"), "{found:?}");
}

#[test]
fn what_a_callee_changed_goes_with_the_step() {
    let (of_b, of_probe) = (folder("b", "/own"), folder("p", "/own"));
    let of_a = format!("calls = [\"b.*\", \"probe.run\"]\n{of_b}");
    let host = host("", &[("a", &of_a), ("probe", &of_probe), ("b", "calls = [\"probe.run\"]")]);
    for folder in ["b", "p"] {
        std::fs::create_dir(host.workspace().join(folder)).unwrap();
    }
    host.write("p/old", "before");
    let write = |path: &str| call("probe.run", json!({"args": ["write", path, "text"]}));
    // The callee of the callee wrote, then the step ran out.
    let input = call(
        "b.again",
        json!({"tool": "probe.run", "input": json!({"args": ["write", "/own/old", "x"]}).to_string(), "times": 0}),
    );
    let limited = json!({"id": "it", "tool": "a.go", "input": input, "limits": {"host_calls": 60}});
    let run = host.run(&plan([limited]));
    assert_eq!(run.report.outcome, RunOutcome::Failed);
    assert!(run.trace.of_kind("delegate-end").any(|end| end["depth"] == 2), "a write has completed");
    assert_eq!(std::fs::read_to_string(host.workspace().join("p/old")).unwrap(), "before");
    let undone: Vec<&Value> = run.trace.of_kind("undone").collect();
    assert_eq!(undone[0]["what"]["changes"], json!([{"change": "modified", "path": "/own (grant 1)/old"}]));
    holds(&host, &run);

    // A call that failed, of a caller that did not: the step is one change.
    let run = host.call("a.kept", write("/own/none/x"));
    assert_eq!(run.output(), false);
    let run = host.call("a.kept", write("/own/new")).completed();
    assert_eq!((run.output(), host.workspace().join("p/new").exists()), (&json!(true), true));
    // And a rollback takes it back with everything else.
    let mut back = plan([step("one", "a.go", write("/own/newer")), step("two", "a.trap", json!({}))]);
    back["on_failure"] = json!("rollback");
    let run = host.run(&back);
    assert_eq!(run.report.outcome, RunOutcome::RolledBack, "{:#?}", run.report);
    assert!(!host.workspace().join("p/newer").exists());
    holds(&host, &run);
}

#[test]
fn a_result_is_taken_again_only_while_what_the_callee_read_is_as_it_was() {
    let host = host("", &[("a", "calls = [\"probe.run\"]"), ("probe", &folder("p", "/own"))]);
    host.write("p/x", "one");
    let mut reused = step("it", "a.go", call("probe.run", json!({"args": ["cat", "/own/x"]})));
    reused["reuse"] = json!(true);
    let run = || {
        let run = host.run_with(&plan([reused.clone()]), &RunOptions { reuse: true, ..RunOptions::default() });
        let run = run.completed();
        holds(&host, &run);
        let output = run.trace.events.iter().find_map(|event| match event["kind"].as_str() {
            Some("reused") => Some(event["what"]["output"].clone()),
            Some("step-end") => Some(event["outcome"]["completed"].clone()),
            _ => None,
        });
        let stdout = unwrapped(&output.unwrap(), 1)["stdout"].as_str().unwrap().to_owned();
        (stdout, run.trace.of_kind("reused").count())
    };
    assert_eq!(run(), ("one".to_owned(), 0));
    assert_eq!(run(), ("one".to_owned(), 1));
    host.write("p/x", "two");
    assert_eq!(run(), ("two".to_owned(), 0), "the caller has no folder, but the callee has");
}

#[test]
fn what_may_be_called_is_there_before_anything_runs() {
    let relay = relay();
    let refused = |calls: &str| {
        let host = TestHost::with(&policy("", &[("a", calls)]), &[("a", &relay)]);
        let run = host.call("a.names", json!({}));
        assert_eq!(run.report.outcome, RunOutcome::Refused);
        host.replay_equals(&run);
        let [problem] = &run.report.problems[..] else { panic!("{:#?}", run.report.problems) };
        format!("{} {}: {}", problem.pointer, problem.code, problem.message)
    };
    assert_eq!(
        refused("calls = [\"none.x\"]"),
        "/steps/0/tool unknown-callee: grant 0, under which `a.names` runs, lists `none.x` in `calls`, but there is no skill `none`"
    );
    assert!(refused("calls = [\"json.qery\"]").ends_with("but the skill has no such tool"));
    // A built-in skill that the plan does not name.
    let host = TestHost::with(&policy("", &[("a", "calls = [\"json.*\"]"), ("json", "")]), &[("a", &relay)]);
    let run = host.call("a.go", call("json.query", json!({"text": "{\"x\": 7}", "filter": ".x"}))).completed();
    assert_eq!(unwrapped(run.output(), 1), json!(["7"]));
    assert!(run.trace.events[0]["skills"]["json"].is_string());
    holds(&host, &run);
}

#[test]
fn steps_that_call_run_beside_each_other_and_give_way() {
    let (of_probe, grants) = (folder("p", "/own"), "calls = [\"probe.run\"]");
    let write = |path: &str| call("probe.run", json!({"args": ["write", path, "text"]}));
    let traces = [1, 4].map(|parallel| {
        let host = host("", &[("a", grants), ("probe", &of_probe)]);
        std::fs::create_dir(host.workspace().join("p")).unwrap();
        let mut beside = plan((0..4).map(|at| step(&format!("s{at}"), "a.go", write(&format!("/own/{at}")))));
        beside["parallel"] = json!(parallel);
        let run = host.run(&beside).completed();
        assert_eq!(std::fs::read_dir(host.workspace().join("p")).unwrap().count(), 4);
        holds(&host, &run);
        told(&run.trace)
    });
    assert_eq!(traces[0], traces[1]);
    // Two that write one file and do not depend on each other.
    let host = host("", &[("a", grants), ("probe", &of_probe)]);
    std::fs::create_dir(host.workspace().join("p")).unwrap();
    let mut beside = plan((0..2).map(|at| step(&format!("s{at}"), "a.go", write("/own/same"))));
    beside["parallel"] = json!(2);
    let run = host.run(&beside);
    assert!(matches!(run.report.steps[1].outcome, Some(Outcome::Conflict { .. })), "{:#?}", run.report);
    holds(&host, &run);
}

#[test]
fn the_lab_sees_what_was_called() {
    use skillhost::lab::Recorded;
    let (of_probe, grants) = (folder("p", "/own"), "calls = [\"b.*\", \"probe.*\"]");
    let host = host("", &[("a", grants), ("probe", &of_probe), ("b", "")]);
    std::fs::create_dir(host.workspace().join("p")).unwrap();
    let run = host.call("a.go", call("probe.run", json!({"args": ["write", "/own/x", "text"]}))).completed();
    let recorded = || Recorded::read(&host.host, &run.recorded()).unwrap();
    let suggestion = skillhost::lab::suggest::suggest(&[recorded()]).unwrap_or_else(|error| panic!("{error}"));
    let calls: Vec<String> =
        suggestion.policy.grants.iter().flat_map(|grant| &grant.calls).map(ToString::to_string).collect();
    assert_eq!(calls, ["probe.run"], "{}", suggestion.text);
    let comparison = skillhost::lab::replay::compare(&[recorded()], &suggestion.policy);
    assert_eq!((comparison.steps, comparison.denies), (1, 0), "{comparison:#?}");
    let without = suggestion.text.lines().filter(|line| !line.starts_with("calls")).collect::<Vec<_>>().join("\n");
    let without = skillhost::policy::Policy::parse(&without).unwrap();
    let found = skillhost::lab::replay::compare(&[recorded()], &without);
    assert_eq!(found.denies, 1, "{found:#?}");
    assert!(found.findings[0].to_string().contains("call of `probe.run`"), "{}", found.findings[0]);
    // A policy that no longer lets the callee write.
    let less = policy("", &[("a", grants), ("probe", &of_probe.replace("read-write", "read-only")), ("b", "")]);
    let found = skillhost::lab::replay::compare(&[recorded()], &skillhost::policy::Policy::parse(&less).unwrap());
    assert!(
        found.findings.iter().any(|finding| finding.to_string().contains("(probe.run): write /own/x")),
        "{found:#?}"
    );
}
