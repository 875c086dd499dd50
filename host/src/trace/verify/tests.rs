//! Every way in which a trace can be changed, against an oracle that knows nothing of this folder.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};

use super::super::samples::{self, reader};
use super::*;
use crate::outcome::Outcome;

fn verified(bytes: &[u8]) -> Result<Verified, TraceError> {
    events(&mut reader(bytes), None)
}

/// The first event that an error says is bad or missing.
fn first_bad(error: &TraceError) -> u64 {
    match error {
        TraceError::Event { seq, line, .. } => {
            assert_eq!(*line, seq + 1);
            *seq
        }
        TraceError::Torn { last_whole: last, .. } | TraceError::Truncated { last } => last.map_or(0, |last| last + 1),
        TraceError::Schema { .. } => 0,
        other => panic!("{other}"),
    }
}

/// The naive verifier of the chain: values and an independent canonical form.
fn oracle(bytes: &[u8]) -> Result<u64, u64> {
    let mut prev = json!("0".repeat(64));
    let mut seq = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (Some(b'\n'), Ok(Value::Object(mut members))) = (line.last(), serde_json::from_slice(line)) else {
            return Err(seq);
        };
        let canonical = |members: &Map<String, Value>| serde_json_canonicalizer::to_vec(members).unwrap_or_default();
        let stated = (members.get("seq"), members.get("prev"));
        if canonical(&members) != line[..line.len() - 1] || stated != (Some(&json!(seq)), Some(&prev)) {
            return Err(seq);
        }
        prev = members.remove("hash").unwrap_or_default();
        if prev != json!(Digest::of(&canonical(&members)).to_string()) {
            return Err(seq);
        }
        seq += 1;
    }
    Ok(seq)
}

#[test]
fn what_a_recorder_writes_holds() {
    let events = samples::every_outcome();
    let bytes = samples::recorded(&events);
    let found = verified(&bytes).unwrap();
    assert_eq!((found.events, found.steps, found.calls), (events.len() as u64, 5, 10));
    assert_eq!((found.bytes, found.outcome), (bytes.len() as u64, RunOutcome::Failed));
    for events in samples::nothing_ran() {
        assert_eq!(verified(&samples::recorded(&events)).unwrap().steps, 0);
    }
    let found = verified(&samples::recorded(&samples::asked())).unwrap();
    assert_eq!((found.steps, found.outcome), (1, RunOutcome::Denied));
    let found = verified(&samples::recorded(&samples::log_only())).unwrap();
    assert_eq!((found.steps, found.outcome), (2, RunOutcome::Completed));
    assert!(matches!(verified(b""), Err(TraceError::Truncated { last: None })));
}

#[test]
fn calls_of_other_tools_are_inside_of_each_other_and_counted() {
    let good = samples::delegated();
    let found = verified(&samples::recorded(&good)).unwrap();
    assert_eq!((found.steps, found.calls), (1, 5));
    let changed = |change: &dyn Fn(&mut Vec<Event>)| {
        let mut events = good.clone();
        change(&mut events);
        first_bad(&verified(&samples::recorded(&events)).unwrap_err())
    };
    assert_eq!(changed(&|events| events.swap(1, 3)), 1, "outside of a step");
    assert_eq!(changed(&|events| drop(events.remove(3))), 3, "depth");
    assert_eq!(changed(&|events| drop(events.remove(4))), 5, "an end without its begin");
    assert_eq!(changed(&|events| drop(events.remove(5))), 5, "the inner count");
    assert_eq!(changed(&|events| drop(events.remove(8))), 8, "the outer count");
    assert_eq!(changed(&|events| events.swap(6, 9)), 6, "the outer one ends first");
    // A step that ends from outside ends everything in it; one that ends by itself does not.
    let mut events = good.clone();
    events.splice(9.., [samples::end("one", Outcome::Cancelled, 4), samples::run_end(RunOutcome::Cancelled, 1)]);
    assert_eq!(verified(&samples::recorded(&events)).unwrap().calls, 4);
    events[9] = samples::end("one", Outcome::Completed { output: json!(1) }, 4);
    assert_eq!(first_bad(&verified(&samples::recorded(&events)).unwrap_err()), 9);
}

#[test]
fn what_would_be_denied_stands_only_where_nothing_is_enforced() {
    let mut events = samples::log_only();
    events[0] = samples::header();
    let error = verified(&samples::recorded(&events)).unwrap_err();
    assert!(error.to_string().contains("`would-deny` may not stand after the header"), "{error}");
    // Nor within a step.
    let mut events = samples::log_only();
    events.swap(2, 1);
    assert!(verified(&samples::recorded(&events)).is_err());
    let text = String::from_utf8(samples::recorded(&samples::log_only())).unwrap();
    assert!(verified(text.replacen("\"log_only\":true", "\"log_only\":false", 1).as_bytes()).is_err());
}

#[test]
fn events_stand_only_where_they_may() {
    let (begin, end) = (samples::begin("one", json!({})), samples::end("one", Outcome::Cancelled, 0));
    let call = samples::call("a:b/c#d", json!({}), json!({"ok": null}));
    let [refused, denied] = samples::nothing_ran();
    let asked = samples::asked();
    let done = samples::run_end(RunOutcome::Completed, 1);
    let header = samples::header();
    let cases = [
        (vec![header.clone(), header.clone()], 1),
        (vec![header.clone(), call.clone()], 1),
        (vec![header.clone(), end.clone()], 1),
        (vec![header.clone(), begin.clone(), begin.clone()], 2),
        (vec![header.clone(), begin.clone(), samples::end("two", Outcome::Cancelled, 0)], 2),
        (vec![header.clone(), begin.clone(), samples::end("one", Outcome::Cancelled, 1)], 2),
        (vec![header.clone(), begin.clone(), call.clone(), end.clone()], 3),
        (vec![header.clone(), begin.clone(), done.clone()], 2),
        (vec![header.clone(), begin.clone(), end.clone(), call], 3),
        (vec![header.clone(), begin.clone(), end.clone(), refused[1].clone()], 3),
        (vec![header.clone(), begin.clone(), end.clone(), denied[1].clone(), denied[1].clone()], 4),
        (vec![header.clone(), begin.clone(), end.clone(), denied[1].clone(), begin.clone()], 4),
        (vec![header.clone(), begin.clone(), end.clone(), denied[1].clone(), done.clone()], 4),
        // An answer, and not what it says.
        (vec![header.clone(), asked[1].clone(), asked[1].clone()], 2),
        (vec![header.clone(), asked[1].clone(), end.clone()], 2),
        (vec![header.clone(), asked[1].clone(), denied[1].clone()], 2),
        (vec![header.clone(), asked[1].clone(), samples::begin("two", json!({}))], 2),
        (vec![header.clone(), asked[4].clone(), samples::begin("two", json!({}))], 2),
        (vec![header.clone(), asked[4].clone(), denied[1].clone()], 2),
        (vec![header.clone(), begin.clone(), end.clone(), samples::run_end(RunOutcome::Completed, 2)], 3),
        (vec![header.clone(), begin.clone(), end.clone(), done.clone(), done.clone()], 4),
        (vec![header.clone(), begin.clone(), end.clone(), done, begin.clone()], 4),
        (vec![header.clone(), refused[1].clone(), begin.clone()], 2),
        (vec![header.clone(), refused[1].clone(), samples::run_end(RunOutcome::Failed, 0)], 2),
        (vec![header.clone(), denied[1].clone(), refused[1].clone()], 2),
        (vec![header.clone(), denied[1].clone(), samples::run_end(RunOutcome::Completed, 0)], 2),
        (vec![header.clone(), samples::run_end(RunOutcome::Denied, 0)], 1),
        (vec![header.clone()], 1),
        (vec![header, begin, end], 3),
    ];
    for (number, (events, seq)) in cases.into_iter().enumerate() {
        let error = verified(&samples::recorded(&events)).unwrap_err();
        assert_eq!(first_bad(&error), seq, "case {number}: {error}");
    }
    assert!(matches!(
        verified(&samples::recorded(&[samples::begin("one", json!({}))])),
        Err(TraceError::Event { seq: 0, .. })
    ));
}

#[test]
fn a_line_that_is_chained_but_spelled_otherwise_is_found() {
    let text = String::from_utf8(samples::recorded(&samples::nothing_ran()[0])).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[0] = lines[0].replace("\"plan_name\":\"sample\"", "\"plan_name\":\"\"");
    let mut prev = "0".repeat(64);
    let mut forged = String::new();
    for line in lines {
        let mut members: Map<String, Value> = serde_json::from_str(&line).unwrap();
        members.insert("prev".to_owned(), json!(prev));
        members.remove("hash");
        prev = Digest::of(&crate::canonical::to_vec(&Value::Object(members.clone()))).to_string();
        members.insert("hash".to_owned(), json!(prev));
        forged.push_str(&crate::canonical::to_string(&Value::Object(members)));
        forged.push('\n');
    }
    let error = verified(forged.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "event 0 of the trace (line 1): the line is not how its event is written");
}

#[test]
fn blobs_must_be_there_and_be_what_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = BlobStore::new(folder.path().join(BLOBS_FOLDER));
    let bytes = vec![7; 1000];
    let digest = Digest::of(&bytes);
    let reference = |len: usize| json!({"len": len, "sha256": digest.to_string()});
    let trace = |len| {
        samples::recorded(&[
            samples::header(),
            samples::begin("one", json!({})),
            samples::call(
                "a:b/c#write",
                json!({"contents": {"len": 3, "sha256": Digest::of(b"???").to_string()}}),
                json!({"ok": null}),
            ),
            samples::call("a:b/c#read", json!({}), json!({"ok": [reference(len), true]})),
            samples::call("a:b/c#read", json!({}), json!({"ok": [reference(len), false]})),
            samples::end("one", Outcome::Completed { output: json!(null) }, 3),
            samples::run_end(RunOutcome::Completed, 1),
        ])
    };
    std::fs::write(folder.path().join(TRACE_FILE), trace(1000)).unwrap();
    let error = verify(folder.path()).unwrap_err();
    assert!(error.to_string().contains("missing") && error.to_string().contains("event 3"), "{error}");
    blobs.put(digest, &bytes).unwrap();
    assert_eq!(verify(folder.path()).unwrap().blobs, 1);
    let error = events(&mut reader(&trace(999)), Some(&blobs)).unwrap_err();
    assert!(error.to_string().contains("1000 bytes; the event says 999"), "{error}");
    std::fs::write(blobs.path(digest), b"other").unwrap();
    assert!(matches!(verify(folder.path()), Err(TraceError::Blob { .. })));
    assert!(verified(&trace(1000)).is_ok(), "without a store blobs are not looked at");
}

/// Integers that doubles hold, so that the oracle's canonical form is ours.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-(1_i64 << 53)..(1 << 53)).prop_map(Value::from),
        (-1e6..1e6_f64).prop_map(Value::from),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_trace() -> impl Strategy<Value = Vec<u8>> {
    let outcome = prop_oneof![
        any_value().prop_map(|output| Outcome::Completed { output }),
        any_value().prop_map(|error| Outcome::Failed { error }),
        any::<String>().prop_map(|message| Outcome::Trapped { message, backtrace: vec![] }),
        Just(Outcome::Cancelled),
    ];
    let calls = proptest::collection::vec((any_value(), any_value()), 0..4);
    let steps = proptest::collection::vec((any_value(), calls, outcome), 0..4);
    steps.prop_map(|steps| {
        let mut header = samples::header();
        if let Event::Header(header) = &mut header {
            header.seed = 7;
        }
        let mut events = vec![header];
        let count = steps.len() as u64;
        for (number, (input, calls, outcome)) in steps.into_iter().enumerate() {
            let step = format!("s{number}");
            events.push(samples::begin(&step, input));
            let made = calls.len() as u64;
            events.extend(calls.into_iter().map(|(a, b)| samples::call("a:b/c#d", json!({"a": a}), json!({"ok": b}))));
            events.push(samples::end(&step, outcome, made));
        }
        events.push(samples::run_end(RunOutcome::Failed, count));
        samples::recorded(&events)
    })
}

fn lines_before(bytes: &[u8], at: usize) -> u64 {
    bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64
}

proptest! {
    #[test]
    fn the_oracle_agrees_on_whole_traces(bytes in any_trace()) {
        prop_assert_eq!(Ok(verified(&bytes).unwrap().events), oracle(&bytes));
    }

    #[test]
    fn any_changed_byte_is_found(bytes in any_trace(), at in any::<Index>(), to in any::<u8>(), how in 0..3) {
        let at = at.index(bytes.len());
        let mut changed = bytes.clone();
        match how {
            0 if changed[at] == to => changed[at] ^= 1,
            0 => changed[at] = to,
            1 => changed.insert(at, to),
            _ => drop(changed.remove(at)),
        }
        // A byte put before its like is a byte put behind it: the change begins where the bytes begin to differ.
        let differs = bytes.iter().zip(&changed).position(|(a, b)| a != b).unwrap_or(bytes.len().min(changed.len()));
        let error = verified(&changed).unwrap_err();
        prop_assert_eq!(first_bad(&error), lines_before(&bytes, differs), "{}", error);
        prop_assert_eq!(oracle(&changed), Err(first_bad(&error)));
    }

    #[test]
    fn any_cut_is_found(bytes in any_trace(), at in any::<Index>()) {
        let at = at.index(bytes.len());
        let error = verified(&bytes[..at]).unwrap_err();
        prop_assert_eq!(first_bad(&error), lines_before(&bytes, at), "{}", error);
        let torn = at > 0 && bytes[at - 1] != b'\n';
        prop_assert_eq!(torn, matches!(error, TraceError::Torn { .. }));
    }

    #[test]
    fn any_line_out_of_its_place_is_found(bytes in any_trace(), a in any::<Index>(), b in any::<Index>(), how in 0..3) {
        let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let (a, b) = (a.index(lines.len()), b.index(lines.len()));
        let expected = match how {
            0 => {
                lines.remove(a);
                a
            }
            1 => {
                lines.insert(a + 1, lines[a]);
                a + 1
            }
            _ if a == b => return Ok(()),
            _ => {
                lines.swap(a, b);
                a.min(b)
            }
        };
        let error = verified(&lines.concat()).unwrap_err();
        prop_assert_eq!(first_bad(&error), expected as u64, "{}", error);
    }
}

/// Traces that version 1 wrote. They are never written again: a change that makes this test fail needs a new schema version.
#[test]
fn traces_of_version_1_stay_readable() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/trace-v1"));
    let heads = std::fs::read_to_string(folder.join("heads.txt")).unwrap();
    let mut known = 0;
    for line in heads.lines() {
        let (name, head) = line.split_once(' ').unwrap();
        let found = verify(&folder.join(name)).unwrap();
        assert_eq!(found.head.to_string(), head, "{name}");
        known += 1;
    }
    assert_eq!(known, 4);
}
