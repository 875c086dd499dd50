//! Runs that wait for somebody: what is asked, what an answer lets happen and what not, and who is told.

use std::time::Duration;

use host_tests::plan::{READ_WRITE, policy};
use host_tests::server::{ok, response};
use host_tests::trace::TraceFiles;
use host_tests::{Run, Server, TestHost, plan, step, tree};
use serde_json::{Value, json};
use skillhost::notify::{Operator, SIGNATURE_HEADER, SigningKey};
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::policy::Why;
use skillhost::store::Index;
use skillhost::store::index::{Answer, Approval, ApprovalState, Delivery, IndexError, RunStatus};
use skillhost::{Durability, Error, GoOnOptions, PolicyDocument, SkillHost, SkillHostBuilder};

const KEY: &str = "a key of thirty-two bytes, or so";

/// `files.append` needs approval, everything else does not.
fn gated() -> String {
    let append = format!(
        "[[grant]]\nskills = [\"files\"]\ntools = [\"append\"]\napproval = \"required\"\n{READ_WRITE}\n[[grant]]\n"
    );
    policy("", READ_WRITE).replacen("[[grant]]\n", &append, 1)
}

fn waiting(policy: &str, configure: impl FnOnce(SkillHostBuilder) -> SkillHostBuilder) -> TestHost {
    let host = TestHost::configured(policy, &[], |builder| configure(builder.pauses(true)));
    host.write("log", "begin\n");
    host
}

fn host() -> TestHost {
    waiting(&gated(), |builder| builder)
}

fn write(id: &str, path: &str, text: &str) -> Value {
    step(id, "files.write-text", json!({"path": format!("/workspace/{path}"), "text": text}))
}

fn append(id: &str, text: &str) -> Value {
    step(id, "files.append", json!({"path": "/workspace/log", "text": text}))
}

fn after(mut step: Value, needs: &[&str]) -> Value {
    step["depends_on"] = json!(needs);
    step
}

/// A step before, one that needs approval, one behind.
fn three() -> Value {
    plan([
        write("before", "before", "b"),
        after(append("gated", "once\n"), &["before"]),
        after(write("behind", "behind", "b"), &["gated"]),
    ])
}

fn log(host: &TestHost) -> String {
    std::fs::read_to_string(host.workspace().join("log")).unwrap()
}

fn index(host: &TestHost) -> Index {
    Index::open(&host.state(), Durability::Full).unwrap()
}

fn asked(host: &TestHost, run: &Run) -> Vec<Approval> {
    index(host).approvals(&run.report.run).unwrap()
}

/// A time at which no request has expired.
const EARLY: Duration = Duration::from_secs(1);
/// One at which all have that may.
const LATE: Duration = Duration::from_secs(1 << 33);

fn decide(host: &TestHost, run: &Run, step: &str, approved: bool, now: Duration) -> Result<Approval, IndexError> {
    let answer = Answer { approved, by: "alice".to_owned(), reason: "because".to_owned() };
    index(host).decide_approval(&run.report.run, step, &answer, now)
}

/// Goes on with a run, which must go on.
fn go_on(host: &TestHost, run: &Run) -> Run {
    let report = host.host.go_on(run.recorded(), &GoOnOptions::default()).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(report.run, run.report.run);
    Run { trace: TraceFiles::read(&report.folder), report }
}

fn paused(host: &TestHost, plan: &Value) -> Run {
    let run = host.run(plan);
    assert_eq!(run.report.outcome, RunOutcome::Paused, "{:#?}", run.report);
    run
}

fn status(host: &TestHost, run: &Run) -> RunStatus {
    let runs = index(host).runs(&Default::default()).unwrap();
    runs.into_iter().find(|row| row.id == run.report.run).unwrap().status
}

fn kinds(run: &Run) -> Vec<&str> {
    run.trace.events.iter().map(|event| event["kind"].as_str().unwrap()).filter(|kind| *kind != "call").collect()
}

#[test]
fn a_run_waits_and_goes_on_with_the_answer() {
    let host = host();
    let run = paused(&host, &three());
    let pending = run.report.pending.clone().unwrap();
    assert_eq!((pending.step.as_str(), pending.tool.to_string()), ("gated", "files.append".to_owned()));
    assert_eq!(pending.needs_approval, ["grant 0"]);
    assert_eq!((log(&host).as_str(), status(&host, &run)), ("begin\n", RunStatus::Paused));
    let [request] = &asked(&host, &run)[..] else { panic!() };
    assert_eq!(
        (request.step.as_str(), request.state, request.subject),
        ("gated", ApprovalState::Pending, pending.subject)
    );
    let shown: Value = serde_json::from_str(&request.request).unwrap();
    assert_eq!((&shown["tool"], &shown["input"]["text"]), (&json!("files.append"), &json!("once\n")));
    // What is recorded of it so far is replayed.
    let so_far = ["header", "step-begin", "step-end", "approval-request"];
    assert_eq!(kinds(&run), so_far);
    assert_eq!(host.replay(&run).divergence, None);
    // Nobody has answered: it waits for the same thing, and nothing is recorded twice.
    let still = go_on(&host, &run);
    assert_eq!((still.report.pending, still.trace.events.len()), (Some(pending), run.trace.events.len()));
    assert_eq!(asked(&host, &run).len(), 1);

    decide(&host, &run, "gated", true, EARLY).unwrap();
    let done = go_on(&host, &run).completed();
    assert_eq!(log(&host), "begin\nonce\n");
    let all = [&so_far[..], &["approval", "step-begin", "step-end", "step-begin", "step-end", "run-end"]].concat();
    assert_eq!(kinds(&done), all);
    let said = &done.trace.of_kind("approval").next().unwrap();
    assert_eq!((&said["who"], &said["reason"]), (&json!("alice"), &json!("because")), "{said}");
    assert_eq!(status(&host, &run), RunStatus::Completed);
    host.replay_equals(&done);
    // It has ended: neither going on nor another answer does anything.
    let again = host.host.go_on(run.recorded(), &GoOnOptions::default());
    assert!(matches!(again, Err(Error::HasEnded { .. })), "{again:?}");
    assert!(matches!(decide(&host, &run, "gated", false, EARLY), Err(IndexError::Decided { .. })));
    assert_eq!(log(&host), "begin\nonce\n");
}

#[test]
fn the_first_answer_counts() {
    let host = host();
    let run = paused(&host, &three());
    decide(&host, &run, "gated", false, EARLY).unwrap();
    assert!(matches!(decide(&host, &run, "gated", true, EARLY), Err(IndexError::Decided { .. })));
    let done = go_on(&host, &run);
    assert_eq!((done.report.outcome, done.report.denials[0].why), (RunOutcome::Denied, Why::Rejected));
    assert!(done.report.denials[0].reason.contains("alice"), "{:?}", done.report.denials);
    // What had completed stays: the plan does not say otherwise.
    assert!(host.workspace().join("before").exists());
    assert_eq!((log(&host).as_str(), status(&host, &run)), ("begin\n", RunStatus::Denied));
    host.replay_equals(&done);
}

#[test]
fn who_refuses_has_everything_taken_back_where_the_plan_says_so() {
    let host = host();
    let before = tree::read(&host.workspace());
    let mut plan = three();
    plan["on_failure"] = json!("rollback");
    plan["steps"][0] = write("before", "log", "over");
    let run = paused(&host, &plan);
    assert_eq!(log(&host), "over");
    decide(&host, &run, "gated", false, EARLY).unwrap();
    let done = go_on(&host, &run);
    assert_eq!(done.report.outcome, RunOutcome::RolledBack, "{:#?}", done.report);
    assert_eq!(tree::read(&host.workspace()), before);
    host.replay_equals(&done);
}

#[test]
fn only_what_was_asked_is_answered() {
    let host = host();
    let run = paused(&host, &three());
    assert!(matches!(decide(&host, &run, "before", true, EARLY), Err(IndexError::NotAsked { .. })));
    let other = host.run(&plan([write("x", "x", "x")])).completed();
    assert!(matches!(decide(&host, &other, "x", true, EARLY), Err(IndexError::NotAsked { .. })));
    assert!(asked(&host, &other).is_empty());
    let nobody = Answer { approved: true, by: "alice".to_owned(), reason: String::new() };
    assert!(index(&host).decide_approval("none", "gated", &nobody, EARLY).is_err());
    let store = host.host.store();
    assert_eq!(store.find(&run.report.run).unwrap().id(), run.report.run);
    for name in ["none", &run.report.run[..2]] {
        assert!(store.find(name).is_err(), "{name}: both runs begin so");
    }
    assert_eq!(asked(&host, &run)[0].state, ApprovalState::Pending);
}

#[test]
fn what_nobody_answers_in_time_is_denied() {
    let host =
        waiting(&gated().replacen("[[grant]]", "[approval]\nexpires_in_s = 3600\n[[grant]]", 1), |builder| builder);
    let run = paused(&host, &three());
    assert!(asked(&host, &run)[0].expires_at.is_some());
    assert!(matches!(decide(&host, &run, "gated", true, LATE), Err(IndexError::Expired { .. })));
    assert_eq!(asked(&host, &run)[0].state, ApprovalState::Expired);
    assert!(decide(&host, &run, "gated", true, EARLY).is_err(), "it stays so");
    let done = go_on(&host, &run);
    assert_eq!((done.report.outcome, log(&host).as_str()), (RunOutcome::Denied, "begin\n"));
    assert!(done.report.denials[0].reason.contains("in time"), "{:?}", done.report.denials);
    host.replay_equals(&done);
    // A plan's question has its own time.
    let ask = json!({"id": "ask", "approve": {"message": "now?", "expires_in_s": 60}});
    let run = paused(&host, &plan([ask]));
    let [request] = &asked(&host, &run)[..] else { panic!() };
    let minute = |time: &str| time.get(14..16).unwrap().parse::<u32>().unwrap();
    let later = (minute(request.expires_at.as_ref().unwrap()) + 60 - minute(&request.requested_at)) % 60;
    assert!(later <= 1, "{request:?}");
}

#[test]
fn under_another_policy_nothing_is_decided() {
    let host = host();
    let run = paused(&host, &three());
    let other = PolicyDocument::parse(&gated().replace("required", "never")).unwrap();
    let other = SkillHost::builder().policy(other).pauses(true).workspace(host.workspace()).state(host.state()).build();
    let recorded = run.recorded();
    assert!(matches!(other.check_may_go_on(&recorded), Err(Error::PolicyChanged { .. })));
    assert!(matches!(other.go_on(run.recorded(), &GoOnOptions::default()), Err(Error::PolicyChanged { .. })));
    assert_eq!((log(&host).as_str(), asked(&host, &run)[0].state), ("begin\n", ApprovalState::Pending));
    assert_eq!(status(&host, &run), RunStatus::Paused);
    // Under the one that it began with it goes on.
    decide(&host, &run, "gated", true, EARLY).unwrap();
    go_on(&host, &run).completed();
}

#[test]
fn an_answer_is_one_to_this_input() {
    let host = host();
    host.write("in", "one\n");
    let read = step("read", "files.read-text", json!({"path": "/workspace/in"}));
    let ask = json!({"id": "ask", "approve": {"message": "log {{steps.read}}?"}});
    let fails = after(step("fails", "files.read-text", json!({"path": "/workspace/none"})), &["gated"]);
    let plan = plan([read, ask, after(append("gated", "{{steps.read}}{{steps.ask.by}}\n"), &["ask"]), fails]);
    let run = paused(&host, &plan);
    decide(&host, &run, "ask", true, EARLY).unwrap();
    let run = go_on(&host, &run);
    assert_eq!(run.report.pending.as_ref().map(|pending| pending.step.as_str()), Some("gated"));
    decide(&host, &run, "gated", true, EARLY).unwrap();
    let failed = go_on(&host, &run);
    assert_eq!((failed.report.outcome, log(&host).as_str()), (RunOutcome::Failed, "begin\none\nalice\n"));

    let resume = || {
        let report = host.host.resume(&failed.recorded(), &GoOnOptions::default()).unwrap();
        Run { trace: TraceFiles::read(&report.folder), report }
    };
    // Nothing has changed: nobody is asked again, and nothing is done again.
    let same = resume();
    assert_eq!((same.report.outcome, log(&host).as_str()), (RunOutcome::Failed, "begin\none\nalice\n"));
    assert_eq!(same.trace.of_kind("step-begin").count(), 1, "{:#?}", same.report);
    host.replay_equals(&same);
    // Another input is another question.
    host.write("in", "two\n");
    let other = resume();
    assert_eq!(other.report.pending.as_ref().map(|pending| pending.step.as_str()), Some("ask"), "{:#?}", other.report);
    assert_eq!(other.report.pending.as_ref().unwrap().message, "log two\n?");
    decide(&host, &other, "ask", true, EARLY).unwrap();
    let other = go_on(&host, &other);
    assert_eq!(other.report.pending.as_ref().map(|pending| pending.step.as_str()), Some("gated"));
    assert_eq!(log(&host), "begin\none\nalice\n");
    host.replay_equals(&other);
}

#[test]
fn a_question_is_asked_once_for_all_attempts() {
    let host = waiting(&gated().replacen("[[grant]]", "[run]\nattempts = 3\n[[grant]]", 1), |builder| builder);
    let mut fails = step("gated", "files.append", json!({"path": "/workspace/log/x", "text": "x"}));
    fails["retry"] = json!({"attempts": 3, "backoff_ms": 1, "on": ["failed"]});
    let run = paused(&host, &plan([fails]));
    decide(&host, &run, "gated", true, EARLY).unwrap();
    let done = go_on(&host, &run);
    assert_eq!((done.report.outcome, done.report.steps[0].attempts), (RunOutcome::Failed, 3));
    assert_eq!((done.trace.of_kind("approval").count(), asked(&host, &run).len()), (1, 1));
    host.replay_equals(&done);
}

#[test]
fn what_a_question_is_answered_with_can_be_referred_to() {
    let host = host();
    let ask = json!({"id": "ask", "approve": {"message": "how?", "context": {"token": "s3cret", "rows": 3}}});
    let run = paused(&host, &plan([ask, write("by", "by", "{{steps.ask.by}}: {{steps.ask.reason}}")]));
    assert_eq!(run.report.pending.as_ref().unwrap().tool.to_string(), "host.approve");
    let request = asked(&host, &run).remove(0).request;
    assert!(request.contains("\"rows\":3") && !request.contains("s3cret"), "{request}");
    decide(&host, &run, "ask", true, EARLY).unwrap();
    let done = go_on(&host, &run).completed();
    assert_eq!(std::fs::read_to_string(host.workspace().join("by")).unwrap(), "alice: because");
    let output = json!({"by": "alice", "reason": "because"});
    assert_eq!(done.report.steps[0].outcome, Some(Outcome::Completed { output }));
    host.replay_equals(&done);
}

fn operator(url: &str) -> Operator {
    Operator { webhook: Some(url.to_owned()), key: Some(SigningKey::new(KEY.as_bytes().to_vec()).unwrap()) }
}

fn delivered(host: &TestHost, run: &Run) -> Vec<Delivery> {
    index(host).deliveries(&run.report.run).unwrap().into_iter().map(|(_, delivery)| delivery).collect()
}

#[test]
fn somebody_is_told_once_that_a_run_waits() {
    let server = Server::new(|_| ok(""));
    let host = waiting(&gated(), |builder| builder.operator(operator(&server.url("/hook?key=k"))));
    let run = paused(&host, &three());
    go_on(&host, &run);
    let [request] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/hook?key=k"));
    let signed = SigningKey::new(KEY.as_bytes().to_vec()).unwrap().signature(&request.body);
    assert!(request.header(SIGNATURE_HEADER).is_some_and(|header| header.ends_with(&signed)), "{:?}", request.headers);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let id = &run.report.run;
    assert_eq!((&body["event"], &body["workflow_id"]), (&json!("approval_required"), &json!(id)), "{body:#}");
    assert_eq!((&body["step_id"], &body["approval_id"]), (&json!("gated"), &json!(format!("{id}:gated"))));
    let info = json!({"capability": "files.append", "description": null, "risk_level": "low",
                      "inputs": {"path": "/workspace/log", "text": "once\n"}});
    assert_eq!(body["step_info"], info);
    assert_eq!(body["actions"]["approve"], format!("host approve {id} --by NAME"));
    let delivery = &delivered(&host, &run)[..];
    assert_eq!(delivery.len(), 1);
    assert_eq!((delivery[0].status, &delivery[0].error, delivery[0].step.as_str()), (Some(200), &None, "gated"));
    assert!(!delivery[0].url.contains("key=k"), "{delivery:?}");
    decide(&host, &run, "gated", true, EARLY).unwrap();
    go_on(&host, &run).completed();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn that_nobody_could_be_told_is_noted_and_the_run_waits() {
    let server = Server::new(|_| response("503 Service Unavailable", &[], ""));
    let host = waiting(&gated(), |builder| builder.operator(operator(&server.url("/"))));
    let run = paused(&host, &three());
    let failed = delivered(&host, &run);
    assert_eq!(
        (failed.len(), failed[0].status, failed[0].error.as_deref()),
        (1, None, Some("the server answered 503"))
    );
    assert_eq!(server.requests().len(), 1);
    // Of a plan that names a server that no rule allows nobody is told, and that is noted, too.
    let ask = json!({"id": "ask", "approve": {"message": "?", "webhook_url": server.url("/")}});
    let other = paused(&host, &plan([ask]));
    let refused = delivered(&host, &other);
    assert!(refused.len() == 1 && refused[0].error.as_ref().unwrap().contains("no network rule"), "{refused:?}");
    assert_eq!(server.requests().len(), 1);
    decide(&host, &run, "gated", true, EARLY).unwrap();
    let done = go_on(&host, &run).completed();
    host.replay_equals(&done);
}
