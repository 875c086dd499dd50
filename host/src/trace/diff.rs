//! The first thing in which two events, or two traces, differ. `hash`, `prev` and `seq` do not count: they follow from the rest.

use std::fmt;

use serde_json::Value;

use super::event::{Event, Kind};
use super::line::{Line, Member};
use super::reader::Reader;
use super::{TraceError, encode};
use crate::canonical;

/// Characters of a value that are shown.
const SHOWN_CHARS_MAX: usize = 200;
/// Members that say what an event is: a difference there explains those in the others.
const FIRST_MEMBERS: [&str; 3] = ["kind", "name", "step"];

/// The first place in which two values differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// JSON pointer to the place; empty where one side has no event at all.
    pub pointer: String,
    /// What the first has there.
    pub left: Option<Value>,
    /// What the second has there.
    pub right: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "the event" } else { &self.pointer };
        write!(f, "`{place}` is {} and {}", shortened(self.left.as_ref()), shortened(self.right.as_ref()))
    }
}

/// A value on one line, cut where it is long.
fn shortened(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = canonical::to_string(value);
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
    }
}

/// The first difference of two events.
#[must_use]
pub fn events(left: &Event, right: &Event) -> Option<Difference> {
    // Also what is written alike is equal: `1.0` and `1`.
    if left == right { None } else { first_in_events(&written(left), &written(right)) }
}

fn written(event: &Event) -> Value {
    let mut line = Vec::new();
    encode::event(&mut line, 0, &encode::FIRST_PREV, event);
    content(&line)
}

/// An event's own members.
fn content(line: &[u8]) -> Value {
    let mut value: Value = serde_json::from_slice(line).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        for chained in ["hash", "prev", "seq"] {
            members.remove(chained);
        }
    }
    value
}

fn first_in_events(left: &Value, right: &Value) -> Option<Difference> {
    let telling = FIRST_MEMBERS.into_iter().find(|name| left.get(name) != right.get(name));
    match telling {
        Some(name) => inner(left.get(name), right.get(name), || format!("/{name}")),
        None => first(String::new(), left, right),
    }
}

fn first(pointer: String, left: &Value, right: &Value) -> Option<Difference> {
    match (left, right) {
        (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len()))
            .find_map(|index| inner(a.get(index), b.get(index), || format!("{pointer}/{index}"))),
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
            names.sort_unstable();
            names.dedup();
            names
                .into_iter()
                .find_map(|name| inner(a.get(name), b.get(name), || crate::problem::pointer_to(&pointer, name)))
        }
        (left, right) if left == right => None,
        (left, right) => Some(Difference { pointer, left: Some(left.clone()), right: Some(right.clone()) }),
    }
}

fn inner(left: Option<&Value>, right: Option<&Value>, pointer: impl Fn() -> String) -> Option<Difference> {
    match (left, right) {
        (Some(left), Some(right)) if left == right => None,
        (Some(left), Some(right)) => first(pointer(), left, right),
        (left, right) => Some(Difference { pointer: pointer(), left: left.cloned(), right: right.cloned() }),
    }
}

/// How two traces compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Events before the first difference.
    pub same: u64,
    /// Events of the first trace.
    pub left: u64,
    /// Events of the second trace.
    pub right: u64,
    /// The first difference; `None` where the traces tell the same.
    pub first: Option<TraceDifference>,
}

/// The first event in which two traces differ.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceDifference {
    /// Its number.
    pub seq: u64,
    /// The step that runs there, as the first trace has it, or began last where it is after a step.
    pub step: Option<String>,
    /// What the event is in the first trace: a function, or the name of its kind.
    pub left: Option<String>,
    /// The same in the second trace.
    pub right: Option<String>,
    /// Where it differs.
    pub difference: Difference,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = &self.first else { return write!(f, "the traces are the same: {} events", self.same) };
        write!(f, "the traces differ at event {}", first.seq)?;
        if let Some(step) = &first.step {
            write!(f, " in step `{step}`")?;
        }
        match (&first.left, &first.right) {
            (Some(left), Some(right)) if left == right => write!(f, " (`{left}`): {}", first.difference)?,
            (Some(left), Some(right)) => write!(f, ": `{left}` and `{right}`")?,
            (Some(left), None) => write!(f, ": `{left}`, where the second trace has ended")?,
            (None, right) => {
                write!(f, ": `{}`, where the first trace has ended", right.as_deref().unwrap_or_default())?;
            }
        }
        write!(f, "; {} and {} events", self.left, self.right)
    }
}

/// Compares two traces event by event. Both are read to their end.
///
/// # Errors
///
/// What [`Reader::peek`] says of either.
pub fn traces(left: &mut Reader, right: &mut Reader) -> Result<Comparison, TraceError> {
    let mut same = 0;
    let mut step = None;
    let mut first = None;
    while first.is_none() {
        let (a, b) = (left.next_line()?, right.next_line()?);
        if a.is_none() && b.is_none() {
            break;
        }
        if let Some(line) = &a
            && line.kind() == Kind::StepBegin
        {
            step = line.raw(Member::Step).and_then(|id| serde_json::from_str(id).ok());
        }
        match first_in_lines(a.as_ref(), b.as_ref()) {
            None => same += 1,
            Some(difference) => {
                let (left, right) = (a.as_ref().map(name), b.as_ref().map(name));
                first = Some(TraceDifference { seq: same, step: step.clone(), left, right, difference });
            }
        }
    }
    while left.next_line()?.is_some() {}
    while right.next_line()?.is_some() {}
    Ok(Comparison { same, left: left.head().0, right: right.head().0, first })
}

fn first_in_lines(left: Option<&Line<'_>>, right: Option<&Line<'_>>) -> Option<Difference> {
    if let (Some(left), Some(right)) = (left, right) {
        // As long as the chains agree, so do the lines; host calls are compared without reading them.
        let calls = left.kind() == Kind::Call && right.kind() == Kind::Call;
        let parts =
            |line: &Line<'_>| [line.function().map(str::len), line.params().map(str::len), line.result().map(str::len)];
        if left.text() == right.text()
            || calls
                && parts(left) == parts(right)
                && (left.function(), left.params(), left.result()) == (right.function(), right.params(), right.result())
        {
            return None;
        }
        return first_in_events(&content(left.text().as_bytes()), &content(right.text().as_bytes()));
    }
    let value = |line: Option<&Line<'_>>| line.map(|line| content(line.text().as_bytes()));
    Some(Difference { pointer: String::new(), left: value(left), right: value(right) })
}

fn name(line: &Line<'_>) -> String {
    line.function().unwrap_or(line.kind().name()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, reader, recorded};
    use super::*;
    use crate::outcome::Outcome;
    use serde_json::json;

    fn compared(left: &[Event], right: &[Event]) -> Comparison {
        traces(&mut reader(&recorded(left)), &mut reader(&recorded(right))).unwrap()
    }

    #[test]
    fn equal_traces_have_no_difference() {
        let events = samples::every_outcome();
        let same = compared(&events, &events);
        assert_eq!((same.same, same.left, &same.first), (events.len() as u64, events.len() as u64, &None));
    }

    #[test]
    fn the_first_difference_is_named_by_pointer() {
        let left = samples::every_outcome();
        let mut right = left.clone();
        right[4] = samples::call(
            "wasi:filesystem/types#[method]descriptor.write",
            json!({"buffer": "AAAA", "offset": 0, "self": {"handle": "descriptor#3"}}),
            json!({"ok": 5}),
        );
        right[5] = samples::end("step-1", Outcome::Cancelled, 1);
        let found = compared(&left, &right);
        assert_eq!(
            found.to_string(),
            "the traces differ at event 4 in step `step-1` (`wasi:filesystem/types#[method]descriptor.write`): `/result/ok` is 0 and 5; 22 and 22 events"
        );
        right[4] = samples::call("wasi:random/random#get-random-u64", json!({}), json!({"ok": 5}));
        assert_eq!(compared(&left, &right).first.unwrap().difference.pointer, "/name");
        let found = compared(&left, &left[..4]);
        assert_eq!((found.same, found.right), (4, 4));
        assert!(found.to_string().contains("where the second trace has ended"), "{found}");
    }

    #[test]
    fn events_compare_by_what_is_written() {
        let end = |output| samples::end("one", Outcome::Completed { output }, 0);
        assert_eq!(events(&end(json!(1.0)), &end(json!(1))), None);
        let found = events(&end(json!({"a/b": [1, 2]})), &end(json!({"a/b": [1]}))).unwrap();
        assert_eq!(
            found,
            Difference { pointer: "/outcome/completed/a~1b/1".into(), left: Some(json!(2)), right: None }
        );
        assert_eq!(found.to_string(), "`/outcome/completed/a~1b/1` is 2 and nothing");
        let long = events(&end(json!("x".repeat(500))), &end(json!(1))).unwrap();
        assert!(long.to_string().chars().count() < 300);
    }
}
