//! Reads canonical JSON without building values: one pass that proves that bytes are the only spelling of their value and says where
//! the members of the outermost object lie. Owns no meaning; that is `trace::line`'s.
//!
//! What it accepts is exactly what `crate::canonical` writes: no white space, members strictly ascending by UTF-16 code units, the
//! shortest escapes, numbers as `canonical` prints them.

use crate::canonical;

/// Nesting of a line. Documents and tool values stop at 64 levels; an event adds a few. `serde_json` refuses 128.
pub(super) const DEPTH_MAX: usize = 120;

/// Why bytes are not canonical JSON, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// The offset of the byte at fault.
    pub(super) at: usize,
    /// What is wrong with it.
    pub(super) what: &'static str,
}

/// What kind of value was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// An object with so many members.
    Object(usize),
    /// An array.
    Array,
    /// A string.
    String,
    /// A number.
    Number,
    /// `null`, `true` or `false`.
    Literal,
}

/// A string as it lies in the bytes.
#[derive(Debug, Clone, Copy)]
struct Text {
    /// Of its first byte, after the quote.
    start: usize,
    /// Of its closing quote.
    end: usize,
    /// Whether its bytes are its value: it has no escape.
    plain: bool,
}

/// A position in a line.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether a member named `sha256` was met: only then can there be a reference to a blob.
    pub(super) met_sha256: bool,
}

impl<'a> Scanner<'a> {
    /// Starts at the beginning of `line`.
    pub(super) const fn new(line: &'a str) -> Self {
        Self { bytes: line.as_bytes(), at: 0, met_sha256: false }
    }

    /// Reads the one object that the line must be. `member` gets each member's key, where its value lies and what it is.
    pub(super) fn object_line(
        &mut self,
        mut member: impl FnMut(&'a [u8], usize, usize, Shape) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let bytes = self.bytes;
        self.expect(b'{', "a line must be a JSON object")?;
        loop {
            let key = self.string()?;
            self.expect(b':', "expected `:`")?;
            let start = self.at;
            let shape = self.value(1)?;
            member(bytes.get(key.start..key.end).unwrap_or_default(), start, self.at, shape)?;
            if !self.another_member()? {
                break;
            }
        }
        if self.at < bytes.len() {
            return self.fault("the line goes on after its object");
        }
        Ok(())
    }

    /// Reads one value that must be all of the bytes.
    #[cfg(test)]
    pub(super) fn whole(&mut self) -> Result<Shape, Fault> {
        let shape = self.value(1)?;
        if self.at < self.bytes.len() { self.fault("the text goes on after its value") } else { Ok(shape) }
    }

    fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { at: self.at, what })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return self.fault(what);
        }
        self.at += 1;
        Ok(())
    }

    fn another_member(&mut self) -> Result<bool, Fault> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b'}') => {
                self.at += 1;
                Ok(false)
            }
            _ => self.fault("expected `,` or `}`"),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Shape, Fault> {
        if depth > DEPTH_MAX {
            return self.fault("nested too deeply");
        }
        match self.peek() {
            Some(b'"') => self.string().map(|_| Shape::String),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => self.fault("expected a JSON value"),
        }
    }

    fn literal(&mut self, literal: &[u8]) -> Result<Shape, Fault> {
        if !self.bytes.get(self.at..).unwrap_or_default().starts_with(literal) {
            return self.fault("expected a JSON value");
        }
        self.at += literal.len();
        Ok(Shape::Literal)
    }

    fn array(&mut self, depth: usize) -> Result<Shape, Fault> {
        self.at += 1;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Shape::Array);
        }
        loop {
            self.value(depth + 1)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return self.fault("expected `,` or `]`"),
            }
        }
        self.at += 1;
        Ok(Shape::Array)
    }

    fn object(&mut self, depth: usize) -> Result<Shape, Fault> {
        self.at += 1;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Shape::Object(0));
        }
        let mut count = 0_usize;
        let mut previous: Option<Text> = None;
        loop {
            let key = self.string()?;
            if let Some(previous) = previous
                && !self.ascends(previous, key)
            {
                return Err(Fault { at: key.start, what: "members are not in canonical order" });
            }
            if self.bytes.get(key.start..key.end) == Some(b"sha256") {
                self.met_sha256 = true;
            }
            previous = Some(key);
            self.expect(b':', "expected `:`")?;
            self.value(depth + 1)?;
            count += 1;
            if !self.another_member()? {
                return Ok(Shape::Object(count));
            }
        }
    }

    /// Whether `a` sorts before `b` by UTF-16 code units.
    fn ascends(&self, a: Text, b: Text) -> bool {
        let raw = |text: Text| self.bytes.get(text.start..text.end).unwrap_or_default();
        // Of ASCII the order of bytes is that of UTF-16.
        if a.plain && b.plain && raw(a).is_ascii() && raw(b).is_ascii() {
            return raw(a) < raw(b);
        }
        let decoded = |text: Text| {
            let quoted = self.bytes.get(text.start.saturating_sub(1)..=text.end).unwrap_or_default();
            serde_json::from_slice::<String>(quoted).unwrap_or_default()
        };
        decoded(a).encode_utf16().lt(decoded(b).encode_utf16())
    }

    fn string(&mut self) -> Result<Text, Fault> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        let mut plain = true;
        loop {
            self.at += canonical::plain(self.bytes.get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Text { start, end: self.at - 1, plain });
                }
                Some(b'\\') => {
                    plain = false;
                    self.escape()?;
                }
                Some(_) => return self.fault("a control character must be escaped"),
                None => return self.fault("the string does not end"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += match rest {
            [_, b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => 2,
            // Control characters that have no short escape, in lower case: 00–07, 0b, 0e–1f.
            [_, b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..]
            | [_, b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => 6,
            _ => return self.fault("not the canonical escape of a character"),
        };
        Ok(())
    }

    fn number(&mut self) -> Result<Shape, Fault> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let text = rest.get(..length).unwrap_or_default();
        let canonical = match text {
            [b'0'] => true,
            // Eighteen digits are an exact 64-bit integer in any case.
            [b'1'..=b'9', digits @ ..] | [b'-', b'1'..=b'9', digits @ ..]
                if length <= 18 && digits.iter().all(u8::is_ascii_digit) =>
            {
                true
            }
            _ => is_canonical_number(text),
        };
        if !canonical {
            return self.fault("not the canonical form of a number");
        }
        self.at += length;
        Ok(Shape::Number)
    }
}

fn is_canonical_number(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let mut printed = Vec::with_capacity(32);
    if let Ok(integer) = text.parse::<u64>() {
        canonical::write_u64(&mut printed, integer);
    } else if let Ok(integer) = text.parse::<i64>() {
        canonical::write_i64(&mut printed, integer);
    } else {
        match text.parse::<f64>() {
            Ok(double) if double.is_finite() => canonical::write_f64(&mut printed, double),
            _ => return false,
        }
    }
    printed == text.as_bytes()
}

/// Whether the values of a line that this crate has written are nested no deeper than readers accept. All else that they look at follows from
/// how lines are written.
pub(super) fn is_shallow(line: &[u8]) -> bool {
    let (mut at, mut open) = (0, 0_usize);
    while let Some(byte) = line.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                let is_empty = matches!(line.get(at), Some(b'}' | b']'));
                // The line itself is a container and no value.
                if open + usize::from(!is_empty) > DEPTH_MAX {
                    return false;
                }
                open += 1;
            }
            b'}' | b']' => open = open.saturating_sub(1),
            b'"' => loop {
                at += canonical::plain(line.get(at..).unwrap_or_default());
                match line.get(at) {
                    Some(b'\\') => at += 2,
                    // The quote that ends it.
                    _ => {
                        at += 1;
                        break;
                    }
                }
            },
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Number, Value};

    fn accepts(text: &str) -> bool {
        Scanner::new(text).whole().is_ok()
    }

    #[test]
    fn how_deep_a_line_is_does_not_need_its_values() {
        let line = |value: &str| format!("{{\"a\":{value}}}");
        let arrays = |count: usize, inner: &str| format!("{}{inner}{}", "[".repeat(count), "]".repeat(count));
        for value in [
            arrays(DEPTH_MAX - 2, "1"),
            arrays(DEPTH_MAX - 1, "1"),
            arrays(DEPTH_MAX, "1"),
            arrays(DEPTH_MAX, ""),
            arrays(DEPTH_MAX + 1, ""),
            arrays(DEPTH_MAX - 1, "{\"a\":[]}"),
            arrays(DEPTH_MAX - 2, "{\"a\":[]}"),
            arrays(DEPTH_MAX - 2, "[],[[]]"),
            format!("\"{}\\\"{}\"", "[".repeat(200), "{".repeat(200)),
            "[\"\\\\\",[\"]\"]]".to_owned(),
        ] {
            let line = line(&value);
            let reads = Scanner::new(&line).object_line(|_, _, _, _| Ok(())).is_ok();
            assert_eq!(is_shallow(line.as_bytes()), reads, "{line}");
        }
    }

    #[test]
    fn only_the_canonical_spelling_is_accepted() {
        for good in [
            "0",
            "-1",
            "1.5",
            "1e+21",
            "1e-7",
            "18446744073709551615",
            "-9223372036854775808",
            "100000000000000000000",
            "\"\"",
            "\"\\u000b\\u001f\\b\u{7f}é😀\"",
            "[]",
            "{}",
            "[1,[2,{}]]",
            r#"{"a":1,"b":2}"#,
            "{\"😀\":1,\"\u{fb33}\":2}",
            "{\"\\n\":1,\"a\":2}",
        ] {
            assert!(accepts(good), "{good}");
        }
        for bad in [
            "",
            "-0",
            "01",
            "1.0",
            "1E5",
            "+1",
            "-",
            "1e21",
            "0.10",
            "1e400",
            "--1",
            "1-1",
            "100000000000000000001",
            "nul",
            "truE",
            "\"\\u0041\"",
            "\"\\u001F\"",
            "\"\\u000a\"",
            "\"\\/\"",
            "\"\n\"",
            "\"",
            "[1, 2]",
            "[1,]",
            "{\"a\":1,}",
            " 1",
            "1 ",
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":2}"#,
            "{\"\u{fb33}\":1,\"😀\":2}",
            "{\"a\"}",
            "{a:1}",
            "[}",
            "NaN",
            "\"\\ud83d\"",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
        assert!(accepts(&format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX))));
        assert!(!accepts(&format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1))));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<u64>().prop_map(|n| Value::Number(n.into())),
            any::<i64>().prop_map(|n| Value::Number(n.into())),
            any::<f64>().prop_map(|n| Number::from_f64(n).map_or(Value::Null, Value::Number)),
            any::<String>().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_canonical_writes_is_accepted(value in any_json()) {
            let text = canonical::to_string(&value);
            prop_assert!(accepts(&text), "{}", text);
        }

        #[test]
        fn what_is_accepted_is_what_canonical_writes(value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = canonical::to_vec(&value);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(text) = std::str::from_utf8(&bytes) && accepts(text) {
                let value: Value = serde_json::from_str(text).unwrap();
                prop_assert_eq!(canonical::to_string(&value), text);
            }
        }
    }
}
