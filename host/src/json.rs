//! Strict reading of JSON and YAML text: one value or one problem with its place.

mod lowest;
mod yaml;

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::limits;
use crate::problem::{Position, Problem, pointer_to, shown};

/// Reads one JSON document. Refused with line and column: a byte order mark, bytes that are not UTF-8, duplicate keys, `NaN` and
/// infinities, numbers out of range, anything after the value, nesting beyond [`limits::DOCUMENT_DEPTH_MAX`], keys longer than
/// [`limits::DOCUMENT_KEY_BYTES_MAX`], more than [`limits::VALUES_MAX`] values, more than [`limits::DOCUMENT_BYTES_MAX`] bytes.
///
/// # Errors
///
/// The first mistake in the text.
pub fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let text = text_of(bytes)?;
    let state = RefCell::new(State::default());
    let spelled = lowest::spelled(text);
    let mut reader = serde_json::Deserializer::from_str(&spelled);
    let read = Seed { state: &state }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| {
        let position = position_at(text, error.line(), error.column());
        state.into_inner().found.unwrap_or_else(|| syntax_problem(text, &error)).at(position)
    })
}

/// Reads one YAML 1.2 document of the core schema into the same values as JSON, with the same refusals.
///
/// Refused as well: more than one document, directives, anchors and aliases, tags, merge keys, keys that are no strings, `.nan` and
/// `.inf`, plain numbers with leading zeros. `no`, `on`, dates and sexagesimal numbers are strings.
///
/// # Errors
///
/// The first mistake in the text.
pub fn parse_yaml(bytes: &[u8]) -> Result<Value, Problem> {
    yaml::parse(text_of(bytes)?)
}

/// Gives each problem that has none a place in `bytes`, which were read as YAML or JSON before: that of the value at its pointer, or of
/// the nearest value around it. What cannot be found stays without one.
pub fn locate(bytes: &[u8], problems: &mut [Problem]) {
    if let Ok(text) = text_of(bytes) {
        yaml::places::locate(text, problems);
    }
}

fn text_of(bytes: &[u8]) -> Result<&str, Problem> {
    let start = Position { line: 1, column: 1 };
    if bytes.len() as u64 > limits::DOCUMENT_BYTES_MAX {
        let message = format!("the document is larger than {} bytes", limits::DOCUMENT_BYTES_MAX);
        return Err(
            Problem::new("document-too-large", "", message).with_hint("large data belongs into files that steps read")
        );
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        let problem = Problem::new("byte-order-mark", "", "the document begins with a byte order mark");
        return Err(problem.at(start).with_hint("save it as UTF-8 without a byte order mark"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let text = String::from_utf8_lossy(before);
        let line = text.bytes().filter(|&byte| byte == b'\n').count();
        let column = text.rsplit('\n').next().unwrap_or_default().chars().count();
        let position = Position { line: line as u64 + 1, column: column as u64 + 1 };
        Problem::new("not-utf-8", "", "the document is not UTF-8").at(position).with_hint("save it as UTF-8")
    })
}

/// The position of serde_json, whose columns count bytes up to and including the one at fault.
fn position_at(text: &str, line: usize, column: usize) -> Position {
    let in_line = text.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let before = in_line.as_bytes().get(..column.saturating_sub(1)).unwrap_or(in_line.as_bytes());
    // Bytes of UTF-8 that begin a character.
    let column = before.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
    Position { line: line.max(1) as u64, column: column as u64 + 1 }
}

fn syntax_problem(text: &str, error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    let in_line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = in_line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    // serde_json ends its messages with the place, which the problem has of its own.
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let message = message.strip_prefix("recursion limit exceeded").map_or(message, |_| "nested too deep");
    if error.classify() == Category::Eof {
        let hint = if text.trim().is_empty() { "the document is empty" } else { "it may have been cut off" };
        return Problem::new("bad-json", "", format!("the JSON text ends too early: {}", message.to_lowercase()))
            .with_hint(hint);
    }
    if message.starts_with("number out of range") {
        let problem = Problem::new("number-out-of-range", "", "a number is out of the range of a double");
        return problem.with_hint("JSON numbers beyond 1.8e308 cannot be kept");
    }
    if message.starts_with("trailing characters") {
        let problem = Problem::new("trailing-data", "", "there is text after the JSON value");
        return problem.with_hint("a document is exactly one value");
    }
    let problem = Problem::new("bad-json", "", format!("not JSON: {message}"));
    let names = ["NaN", "Infinity", "-Infinity", "nfinity"];
    if names.iter().any(|name| rest.starts_with(name) || rest.get(1..).is_some_and(|rest| rest.starts_with(name))) {
        return Problem::new("not-a-number", "", "NaN and infinities are not JSON numbers")
            .with_hint("where a tool takes a float, write the string \"NaN\", \"Infinity\" or \"-Infinity\"");
    }
    let hint = match (message, rest.as_bytes().first()) {
        (_, Some(b'\'')) => "strings are written in double quotes",
        (_, Some(b'/' | b'#')) => "JSON has no comments; a plan may be written in YAML instead",
        ("trailing comma", _) => "remove the comma before the closing bracket",
        ("key must be a string", _) => "keys are written in double quotes",
        _ => "check the text before this place",
    };
    problem.with_hint(hint)
}

/// Where the reader is, how much it has read, and what it found.
#[derive(Default)]
struct State {
    path: Vec<Segment>,
    values: usize,
    found: Option<Problem>,
}

/// A step into a member or element. A key is kept here while its value is read, and given back for the member.
enum Segment {
    Key(String),
    Index(usize),
}

impl State {
    /// Takes note of one more value.
    fn count(&mut self) -> Result<(), Problem> {
        self.values += 1;
        if self.values > limits::VALUES_MAX {
            let message = format!("the document has more than {} values", limits::VALUES_MAX);
            return Err(Problem::new("too-many-values", "", message));
        }
        Ok(())
    }

    fn enter_element(&mut self, index: usize) {
        self.path.push(Segment::Index(index));
    }

    fn enter_member(&mut self, key: String) {
        self.path.push(Segment::Key(key));
    }

    fn leave_element(&mut self) {
        self.path.pop();
    }

    /// The key of the member that is left.
    fn leave_member(&mut self) -> String {
        match self.path.pop() {
            Some(Segment::Key(key)) => key,
            Some(Segment::Index(_)) | None => unreachable!("what is entered is left in its order"),
        }
    }

    fn pointer(&self) -> String {
        self.path.iter().fold(String::new(), |pointer, segment| match segment {
            Segment::Key(key) => pointer_to(&pointer, key),
            Segment::Index(index) => format!("{pointer}/{index}"),
        })
    }

    /// Checks the depth of a container that begins here.
    fn check_depth(&self) -> Result<(), Problem> {
        if self.path.len() >= limits::DOCUMENT_DEPTH_MAX {
            let message = format!("arrays and objects are nested deeper than {}", limits::DOCUMENT_DEPTH_MAX);
            return Err(Problem::new("too-deep", self.pointer(), message));
        }
        Ok(())
    }

    /// Checks a key before it is added to `members`.
    fn check_key(&self, members: &Map<String, Value>, key: &str) -> Result<(), Problem> {
        if key.len() > limits::DOCUMENT_KEY_BYTES_MAX {
            let message = format!("a key is longer than {} bytes", limits::DOCUMENT_KEY_BYTES_MAX);
            return Err(Problem::new("key-too-long", self.pointer(), message));
        }
        if members.contains_key(key) {
            let message = format!("the key `{}` is there twice", shown(key));
            let problem = Problem::new("duplicate-key", pointer_to(&self.pointer(), key), message);
            return Err(problem.with_hint("keep one of the two"));
        }
        Ok(())
    }
}

struct Seed<'s> {
    state: &'s RefCell<State>,
}

impl Seed<'_> {
    fn checked<E: serde::de::Error>(&self, check: impl FnOnce(&mut State) -> Result<(), Problem>) -> Result<(), E> {
        let mut state = self.state.borrow_mut();
        check(&mut state).map_err(|problem| {
            let error = E::custom(&problem.message);
            state.found = Some(problem);
            error
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.checked(State::count).map(|()| Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.checked(State::count).map(|()| Value::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.checked(State::count).map(|()| Value::from(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.checked(State::count).map(|()| Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.checked(State::count)?;
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.checked(State::count).map(|()| Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.checked(|state| state.check_depth().and_then(|()| state.count()))?;
        let mut items = Vec::new();
        loop {
            self.state.borrow_mut().enter_element(items.len());
            let Some(item) = seq.next_element_seed(Self { state: self.state })? else { break };
            self.state.borrow_mut().leave_element();
            items.push(item);
        }
        self.state.borrow_mut().leave_element();
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.checked(|state| state.check_depth().and_then(|()| state.count()))?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.checked(|state| state.check_key(&members, &key)).map_err(A::Error::custom::<A::Error>)?;
            self.state.borrow_mut().enter_member(key);
            let value = map.next_value_seed(Self { state: self.state })?;
            members.insert(self.state.borrow_mut().leave_member(), value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn refusals_have_a_code_a_place_and_a_hint() {
        let deep = "[".repeat(65);
        let long_key = format!("{{\"{}\": 1}}", "k".repeat(5_000));
        for (text, code, pointer, line, column) in [
            ("", "bad-json", "", 1, 1),
            ("{\"a\": 1,\n \"a\": 2}", "duplicate-key", "/a", 2, 4),
            ("{\"ä\": {\"x/y\": [0, {\"b\": 1, \"b\": 2}]}}", "duplicate-key", "/ä/x~1y/1/b", 1, 30),
            ("[NaN]", "not-a-number", "", 1, 2),
            ("[-Infinity]", "not-a-number", "", 1, 3),
            ("[1e999]", "number-out-of-range", "", 1, 6),
            ("[1] [2]", "trailing-data", "", 1, 5),
            ("[1,]", "bad-json", "", 1, 4),
            ("{'a': 1}", "bad-json", "", 1, 2),
            ("[1", "bad-json", "", 1, 2),
            ("[\"\\ud800\"]", "bad-json", "", 1, 9),
            (&deep, "too-deep", &"/0".repeat(64), 1, 65),
            (&long_key, "key-too-long", "", 1, 5003),
        ] {
            let problem = parse(text.as_bytes()).unwrap_err();
            assert_eq!((problem.code.as_str(), problem.pointer.as_str()), (code, pointer), "{text}");
            assert_eq!(problem.position, Some(Position { line, column }), "{text}: {problem}");
            assert!(!problem.message.contains("at line"), "{problem}");
        }
        assert_eq!(parse(b"\xef\xbb\xbf{}").unwrap_err().code, "byte-order-mark");
        let problem = parse(b"[\n\"\xff\"]").unwrap_err();
        assert_eq!((problem.code.as_str(), problem.position), ("not-utf-8", Some(Position { line: 2, column: 2 })));
        assert_eq!(parse(&vec![b' '; (16 << 20) + 1]).unwrap_err().code, "document-too-large");
    }

    #[test]
    fn the_deepest_accepted_document() {
        let text = format!("{}{}", "[".repeat(64), "]".repeat(64));
        assert!(parse(text.as_bytes()).is_ok());
    }

    #[test]
    fn large_documents_are_read_in_one_pass() {
        let steps = (0..10_000).map(|n| format!("{{\"id\": \"s{n}\", \"input\": {{\"a\": [1, 2.5, null]}}}}"));
        let text = format!("[{}]", steps.collect::<Vec<_>>().join(",\n"));
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(value, parse_yaml(text.as_bytes()).unwrap());
        assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
    }

    #[test]
    fn numbers_keep_their_digits() {
        let text = "[18446744073709551615,-9223372036854775808,1.5,-0.0]";
        assert_eq!(parse(text.as_bytes()).unwrap(), json!([u64::MAX, i64::MIN, 1.5, -0.0]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let ours = parse(&bytes);
            let serde = serde_json::from_slice::<Value>(&bytes);
            // Stricter than serde_json, never different.
            if let Ok(value) = ours { prop_assert_eq!(value, serde.unwrap()); }
            let _read = parse_yaml(&bytes);
        }

        #[test]
        fn json_like_text_is_read_or_refused(text in "[\\[\\]{}:,\"a1\\-.eE \n#&*!|>?%@`']{0,40}") {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
            if let Ok(value) = parse_yaml(text.as_bytes()) {
                // What YAML gives is what its own JSON spelling gives.
                prop_assert_eq!(parse(value.to_string().as_bytes()).unwrap(), value);
            }
        }
    }
}
