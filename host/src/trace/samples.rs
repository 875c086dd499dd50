//! Traces for the tests of this folder.

use serde_json::{Value, json};

use super::event::{
    ApprovalEvent, CallEvent, DelegateBegin, DelegateEnd, DeniedEvent, Event, Header, StepBegin, StepEnd,
};
use super::flow::{
    ApprovalRequested, Continues, Contract, Failed, Flow, Retry, Reused, Rollback, Skipped, Undone, UndoneChange,
};
use super::recorder::{MemoryOutput, Recorder};
use crate::id::{Digest, SnapshotId};
use crate::limits::{LimitKind, StepLimits};
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::{ApprovalAnswer, Why};
use crate::problem::Problem;

/// A header.
pub(crate) fn header() -> Event {
    Event::Header(Header {
        plan_name: "sample".to_owned(),
        plan: Digest::of(b"plan"),
        policy: Digest::of(b"policy"),
        rules: Some(Digest::of(b"rules")),
        principal: "agent:reporter".parse().unwrap(),
        log_only: false,
        skills: [("csv".parse().unwrap(), Digest::of(b"csv"))].into_iter().collect(),
        inputs: json!({"\u{fb33}": 1, "😀": "\u{1}\"hash\":\"", "file": "a.csv"}).as_object().unwrap().clone(),
        seed: u64::MAX,
        snapshot: None,
        start_time: 1_700_000_000,
        tags: Vec::new(),
        host: "0.1.0".to_owned(),
        engine: "wasmtime 48.0.8".to_owned(),
    })
}

/// The begin of a step.
pub(crate) fn begin(step: &str, input: Value) -> Event {
    Event::StepBegin(StepBegin {
        step: step.parse().unwrap(),
        tool: "csv.parse".parse().unwrap(),
        attempt: 1,
        skill: Digest::of(b"csv"),
        input,
        key: Some(Digest::of(b"key")),
        resolved_from: None,
        compensates: false,
        grant: 0,
        rules: vec!["readers".to_owned()],
        limits: StepLimits::DEFAULT,
    })
}

/// A host call.
pub(crate) fn call(function: &str, params: Value, result: Value) -> Event {
    Event::Call(CallEvent { function: function.to_owned(), params, result })
}

/// The end of a step.
pub(crate) fn end(step: &str, outcome: Outcome, calls: u64) -> Event {
    let fuel = if matches!(outcome, Outcome::Cancelled) { None } else { Some(12_345) };
    Event::StepEnd(StepEnd { step: step.parse().unwrap(), outcome, calls, fuel })
}

/// The end of a run.
pub(crate) fn run_end(outcome: RunOutcome, steps: u64) -> Event {
    Event::RunEnd { outcome, output: Value::Null, steps }
}

/// A run in which each outcome occurs.
pub(crate) fn every_outcome() -> Vec<Event> {
    let write = "wasi:filesystem/types#[method]descriptor.write";
    let outcomes = [
        Outcome::Completed { output: json!({"rows": [1, -2, 3.5, null]}) },
        Outcome::Failed { error: json!("no such column `\n`") },
        Outcome::Trapped { message: "unreachable".to_owned(), backtrace: vec!["csv.wasm!parse".to_owned()] },
        Outcome::LimitExceeded { limit: LimitKind::Fuel, allowed: 100, backtrace: Vec::new() },
        Outcome::Cancelled,
    ];
    let mut events = vec![header()];
    let steps = outcomes.len() as u64;
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let step = format!("step-{index}");
        events.push(begin(&step, json!({"index": index})));
        for number in 0..index {
            let params = json!({"self": {"handle": "descriptor#3"}, "offset": number, "buffer": "AAAA"});
            events.push(call(write, params, json!({"ok": number})));
        }
        events.push(end(&step, outcome, index as u64));
    }
    events.push(run_end(RunOutcome::Failed, steps));
    events
}

/// Runs in which nothing ran.
pub(crate) fn nothing_ran() -> [Vec<Event>; 2] {
    let problem = Problem::new("unknown-tool", "/steps/0", "there is no tool `x`").with_hint("did you mean `y`?");
    let denied = Event::Denied(DeniedEvent {
        step: "one".parse().unwrap(),
        tool: "csv.parse".parse().unwrap(),
        reason: "no grant names `csv.parse`".to_owned(),
        why: Why::Forbidden,
        policy: Digest::of(b"policy"),
        rules: vec!["no-csv".to_owned()],
        needs_approval: Vec::new(),
    });
    [
        vec![header(), Event::Refused { problems: vec![problem] }, run_end(RunOutcome::Refused, 0)],
        vec![header(), denied.clone(), denied, run_end(RunOutcome::Denied, 0)],
    ]
}

/// A run in which one step is approved and the next is not.
pub(crate) fn asked() -> Vec<Event> {
    let asked = |step: &str, answer| {
        let needs_approval = vec!["risk high".to_owned()];
        let (step, tool) = (step.parse().unwrap(), "csv.parse".parse().unwrap());
        Event::Approval(ApprovalEvent { step, tool, needs_approval, answer })
    };
    let denied = Event::Denied(DeniedEvent {
        step: "two".parse().unwrap(),
        tool: "csv.parse".parse().unwrap(),
        reason: "rejected by user:ann: not today".to_owned(),
        why: Why::Rejected,
        policy: Digest::of(b"policy"),
        rules: Vec::new(),
        needs_approval: vec!["risk high".to_owned()],
    });
    vec![
        header(),
        asked("one", ApprovalAnswer::approve("user:ann", "")),
        begin("one", json!({})),
        end("one", Outcome::Completed { output: json!(1) }, 0),
        asked("two", ApprovalAnswer::reject("user:ann", "not today")),
        denied,
        run_end(RunOutcome::Denied, 1),
    ]
}

/// A run in which denials were recorded and stopped nothing: one found before the first step, one when the step's turn had come.
pub(crate) fn log_only() -> Vec<Event> {
    let Event::Header(header) = header() else { unreachable!("a header") };
    let would_deny = |step: &str, why| {
        Event::WouldDeny(DeniedEvent {
            step: step.parse().unwrap(),
            tool: "csv.parse".parse().unwrap(),
            reason: "no grant names `csv.parse`".to_owned(),
            why,
            policy: Digest::of(b"policy"),
            rules: Vec::new(),
            needs_approval: Vec::new(),
        })
    };
    vec![
        Event::Header(Header {
            tags: vec!["soc2".to_owned(), "pci".to_owned()],
            log_only: true,
            snapshot: Some(SnapshotId::new(Digest::of(b"bundle"))),
            ..header
        }),
        would_deny("one", Why::NotGranted),
        begin("one", json!({})),
        end("one", Outcome::Completed { output: json!(1) }, 0),
        would_deny("two", Why::Forbidden),
        begin("two", json!({})),
        end("two", Outcome::Completed { output: json!(2) }, 0),
        run_end(RunOutcome::Completed, 2),
    ]
}

/// A step that calls `text.go`, which calls `csv.parse`; both make a host call, and both calls are host calls.
pub(crate) fn delegated() -> Vec<Event> {
    let begin = |depth, tool: &str| {
        let (input, skill) = (json!({"depth": depth}), Digest::of(tool.as_bytes()));
        let (tool, rules) = (tool.parse().unwrap(), if depth == 2 { vec!["few".to_owned()] } else { Vec::new() });
        Event::DelegateBegin(DelegateBegin { depth, tool, skill, input, grant: depth, rules })
    };
    let end = |depth, tool: &str, calls, outcome| {
        Event::DelegateEnd(DelegateEnd { depth, tool: tool.parse().unwrap(), outcome, calls, fuel: 100 * calls })
    };
    let preopens = || call("wasi:filesystem/preopens#get-directories", json!({}), json!({"ok": [[0, "/own"]]}));
    let called = |result| call("skillhost:skill/tools#call", json!({"input": "{}", "tool": "x.y"}), result);
    vec![
        header(),
        self::begin("one", json!({})),
        preopens(),
        begin(1, "text.go"),
        begin(2, "csv.parse"),
        preopens(),
        end(2, "csv.parse", 1, Outcome::Failed { error: json!("no") }),
        called(json!({"err": {"tag": "failed", "val": "\"no\""}})),
        preopens(),
        end(1, "text.go", 3, Outcome::Completed { output: json!(1) }),
        called(json!({"ok": "1"})),
        self::end("one", Outcome::Completed { output: json!(1) }, 5),
        run_end(RunOutcome::Completed, 1),
    ]
}

/// One event of each kind of what the host does beside its steps.
pub(crate) fn flow() -> Vec<Event> {
    let step = || "one".parse().unwrap();
    let digest = Digest::of(b"flow");
    let contract = Contract {
        drift: "schema-mismatch".to_owned(),
        decision: "warn".to_owned(),
        expected: "json".to_owned(),
        reason: "it lacks `a`".to_owned(),
        pointer: "/a".to_owned(),
        parse_error: Some("at 1".to_owned()),
        excerpt: "{}".to_owned(),
        missing: vec!["a".to_owned()],
    };
    let change = UndoneChange { change: "created".to_owned(), path: "/a".to_owned() };
    let request = ApprovalRequested {
        tool: Some("csv.parse".parse().unwrap()),
        needs_approval: vec!["risk high".to_owned()],
        subject: digest,
        message: "may it?".to_owned(),
        context: json!({"a": 1}).as_object().unwrap().clone(),
    };
    let (tool, output) = ("csv.parse".parse().unwrap(), json!([1]));
    let reused = Reused { tool, fingerprint: digest, source: digest, output, calls: 1, fuel: 2 };
    vec![
        header(),
        Flow::Continues(Continues { head: digest, why: "resume".to_owned() }).of_run(),
        Flow::Skipped(Skipped { reason: "1 is not 2".to_owned() }).of(&step()),
        Flow::Reused(reused).of(&step()),
        Flow::Retry(Retry { attempt: 2, wait_ms: 100, because: "failed".to_owned() }).of(&step()),
        Flow::Contract(contract).of(&step()),
        Flow::Undone(Undone {
            changes: vec![change],
            conflicts: vec!["/b".to_owned()],
            failed: vec!["`/c` cannot be put back".to_owned()],
        })
        .of(&step()),
        Flow::Failed(Failed {
            attempt: Some(1),
            code: "journal".to_owned(),
            message: "no room".to_owned(),
            pointer: "/steps/0".to_owned(),
            host: true,
        })
        .of(&step()),
        Flow::Undone(Undone::default()).of_run(),
        Flow::ApprovalRequest(request).of(&step()),
        match begin("two", json!({})) {
            Event::StepBegin(begun) => Event::StepBegin(StepBegin {
                resolved_from: Some("csv.read".parse().unwrap()),
                compensates: true,
                ..begun
            }),
            other => other,
        },
        end("two", Outcome::Completed { output: json!(1) }, 0),
        Flow::Failed(Failed {
            attempt: None,
            code: "unknown-reference".to_owned(),
            message: "no such field".to_owned(),
            pointer: String::new(),
            host: false,
        })
        .of_run(),
        Flow::Rollback(Rollback { because: "one failed".to_owned() }).of_run(),
        run_end(RunOutcome::RolledBack, 0),
    ]
}

/// The bytes of a trace of these events.
pub(crate) fn recorded(events: &[Event]) -> Vec<u8> {
    let output = MemoryOutput::default();
    let mut recorder = Recorder::new(Box::new(output.clone()), "memory", None);
    for event in events {
        recorder.append(event).unwrap();
    }
    recorder.sync().unwrap();
    output.bytes()
}

/// A reader of bytes.
pub(crate) fn reader(bytes: &[u8]) -> super::reader::Reader {
    super::reader::Reader::new(Box::new(std::io::Cursor::new(bytes.to_vec())), "memory")
}
