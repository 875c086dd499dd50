use serde_json::json;

use super::*;
use crate::trace::samples::{self, call, reader};

const TYPES: &str = "wasi:filesystem/types#[method]descriptor.";

fn begun(calls: Vec<Event>) -> Vec<Event> {
    let count = calls.len() as u64;
    let mut events = vec![samples::header(), samples::begin("one", json!({}))];
    events.extend(calls);
    events.push(samples::end("one", Outcome::Completed { output: json!("12345") }, count));
    events.push(samples::run_end(RunOutcome::Completed, 1));
    events
}

fn step(calls: Vec<Event>) -> StepUsage {
    let bytes = samples::recorded(&begun(calls));
    Usage::read(&mut reader(&bytes)).unwrap().steps.remove(0)
}

/// What a step that made these calls used. Not through a trace, which is particular about the members of a result.
pub(crate) fn followed(calls: &[Event]) -> StepUsage {
    let Event::StepBegin(begin) = samples::begin("one", json!({})) else { panic!("a begin") };
    let mut following = Following::new(begin, false);
    for (seq, event) in calls.iter().enumerate() {
        let Event::Call(call) = event else { panic!("{event:?}") };
        following.call(seq as u64, 100, call);
    }
    let calls = calls.len() as u64;
    let outcome = Outcome::Completed { output: json!(null) };
    following.ended(outcome, Some(1), calls)
}

fn preopens() -> Event {
    call("wasi:filesystem/preopens#get-directories", json!({}), json!({"ok": [[0, "/reports"], [1, "/other"]]}))
}

fn open(on: u64, path: &str, create: bool, result: serde_json::Value) -> Event {
    let flags = if create { json!(["create"]) } else { json!([]) };
    let params = json!({"self": on, "path": path, "path-flags": [], "open-flags": flags, "flags": ["read"]});
    call(&format!("{TYPES}open-at"), params, result)
}

#[test]
fn handles_are_followed_from_the_granted_folders() {
    let step = step(vec![
        preopens(),
        open(0, "a/b", false, json!({"ok": 3})),
        call(&format!("{TYPES}read-directory"), json!({"self": 3}), json!({"ok": 4})),
        open(3, "c.txt", true, json!({"ok": 5})),
        call("wasi:filesystem/types#[resource-drop]descriptor", json!({"self": 3}), json!({"ok": null})),
        // The number is given again.
        open(1, "x", false, json!({"ok": 3})),
        call(&format!("{TYPES}set-size"), json!({"self": 3, "size": 1}), json!({"err": "not-permitted"})),
        open(9, "nobody gave this handle", false, json!({"err": "no-entry"})),
    ]);
    assert_eq!(step.folders.iter().collect::<Vec<_>>(), ["/other", "/reports"]);
    let touched: Vec<(&str, bool, bool, bool)> = step
        .touched
        .iter()
        .map(|(path, t)| (path.as_str(), t.read.is_some(), t.write.is_some(), t.refused.is_some()))
        .collect();
    assert_eq!(
        touched,
        [
            ("/other/x", true, false, true),
            ("/reports/a/b", true, false, false),
            ("/reports/a/b/c.txt", false, true, false)
        ]
    );
    assert_eq!(step.touched["/reports/a/b/c.txt"].folder, "/reports");
    assert!(step.touched["/reports/a/b"].is_folder && step.touched["/reports/a/b/c.txt"].is_new);
}

#[test]
fn both_ends_of_a_rename_are_written() {
    let params = json!({"self": 0, "old-path": "a", "new-descriptor": 1, "new-path": "../other/b"});
    let step = step(vec![preopens(), call(&format!("{TYPES}rename-at"), params, json!({"ok": null}))]);
    let written: Vec<&str> =
        step.touched.iter().filter(|(_, t)| t.write.is_some()).map(|(path, _)| path.as_str()).collect();
    assert_eq!(written, ["/other/b", "/reports/a"]);
}

#[test]
fn what_was_used_is_counted() {
    let request = |url: &str, denied: Option<&str>| {
        let mut result = json!({"method": "GET", "url": url, "ok": 7});
        if let Some(reason) = denied {
            result = json!({"method": "GET", "url": url, "err": {"tag": "HTTP-request-denied"}, "denied": reason});
        }
        result
    };
    let write = "wasi:io/streams#[method]output-stream.blocking-write-and-flush";
    let calls = [
        call("wasi:cli/stdout#get-stdout", json!({}), json!({"ok": 2})),
        call(write, json!({"self": 2, "contents": "QUJDRA=="}), json!({"ok": null})),
        call(write, json!({"self": 2, "contents": {"blake3": "00", "len": 1000}}), json!({"ok": null})),
        call(write, json!({"self": 9, "contents": "QUJDRA=="}), json!({"ok": null})),
        call("wasi:clocks/wall-clock#now", json!({}), json!({"ok": {"seconds": 1, "nanoseconds": 0}})),
        call("wasi:random/insecure-seed#insecure-seed", json!({}), json!({"ok": [1, 2]})),
        call("wasi:cli/environment#get-environment", json!({}), json!({"ok": [["A", "1"], ["B", "2"]]})),
        call("wasi:http/outgoing-handler#handle", json!({}), request("https://a.example/x", None)),
        call("wasi:http/outgoing-handler#handle", json!({}), request("https://b.example/", Some("no rule"))),
        call(&format!("{TYPES}read"), json!({"self": 0}), json!({"ok": [{"len": 5000, "sha256": "00"}, true]})),
    ];
    let usage = followed(&calls);
    assert_eq!(usage.config, None);
    let asked = |key: &str, answer| call("wasi:config/store#get", json!({"key": key}), json!({"ok": answer}));
    let told = call("wasi:config/store#get-all", json!({}), json!({"ok": [["c", "3"]]}));
    let settings = followed(&[asked("a", json!("1")), asked("b", json!(null)), told]).config.unwrap();
    assert_eq!(settings.into_iter().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(usage.used.stdio_bytes, 1004);
    assert_eq!((usage.clocks, usage.random, usage.env.unwrap().len()), (1, 1, 2));
    assert_eq!((usage.used.host_calls, usage.used.trace_bytes), (10, 6_000));
    let denied: Vec<_> =
        usage.requests.iter().map(|(request, answer)| (request.url.as_str(), answer.denied.is_some())).collect();
    assert_eq!(denied, [("https://a.example/x", false), ("https://b.example/", true)]);
}

#[test]
fn a_run_that_touches_more_than_is_held_is_refused() {
    let calls = |count: usize| {
        let opens = (0..count).map(|at| open(0, &format!("f{at}"), false, json!({"err": "no-entry"})));
        std::iter::once(preopens()).chain(opens).collect::<Vec<_>>()
    };
    let read = |count: usize| {
        let bytes = samples::recorded(&begun(calls(count)));
        Usage::read_bounded(&mut reader(&bytes), 10)
    };
    assert_eq!(read(10).unwrap().steps[0].touched.len(), 10);
    assert!(read(11).unwrap_err().to_string().contains("touches more than 10 paths"));
}

#[test]
fn traces_of_every_kind_are_read() {
    for events in samples::nothing_ran().into_iter().chain([samples::every_outcome()]) {
        let usage = Usage::read(&mut reader(&samples::recorded(&events))).unwrap();
        let count = |kind: &str| events.iter().filter(|event| event.kind().name() == kind).count();
        assert_eq!((usage.steps.len(), usage.denied.len()), (count("step-end"), count("denied")));
        assert!(usage.outcome.is_some());
    }
    // The process was killed within a step.
    let mut events = begun(vec![preopens()]);
    events.truncate(3);
    let usage = Usage::read(&mut reader(&samples::recorded(&events))).unwrap();
    assert_eq!((usage.steps.len(), usage.outcome), (1, None));
}

#[test]
fn what_a_step_calls_is_listed_before_it() {
    let usage = Usage::read(&mut reader(&samples::recorded(&samples::delegated()))).unwrap();
    let steps: Vec<(String, u64, usize)> =
        usage.steps.iter().map(|step| (step.tool.to_string(), step.depth, step.calls.len())).collect();
    assert_eq!(steps[..2], [("csv.parse".to_owned(), 2, 0), ("text.go".to_owned(), 1, 1)]);
    assert_eq!((steps.len(), steps[2].1, steps[2].2), (3, 0, 1));
    assert!(usage.steps.iter().all(|step| step.folders.contains("/own") && step.step.as_str() == "one"));
    let bytes: Vec<u64> = usage.steps.iter().map(|step| step.used.trace_bytes).collect();
    assert!(bytes[0] < bytes[1] && bytes[1] < bytes[2], "{bytes:?}");
}
