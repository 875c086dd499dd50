//! Canonical JSON bytes (RFC 8785): one value, one spelling, so that bytes can be compared and hashed.
//!
//! Members sorted by UTF-16 code units, no white space, shortest escapes, numbers as ECMAScript prints them. One deviation, stated in
//! `docs/trace-format.md`: an integer outside of ±2^53 keeps all its digits, where RFC 8785 would round it to a double; tools have
//! 64-bit integers and a trace must not lose them.

use serde_json::{Map, Number, Value};

/// The canonical bytes of `value`.
#[must_use]
pub fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_value(&mut out, value);
    out
}

/// Writes one object member by member, where making a value first would cost more than what is written.
///
/// INVARIANT: whoever uses it gives the members in their canonical order; debug builds check it.
#[derive(Debug)]
pub(crate) struct Members<'o> {
    out: &'o mut Vec<u8>,
    last: &'static str,
}

impl<'o> Members<'o> {
    pub(crate) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, last: "" }
    }

    /// Begins a member with this ASCII name; its value is to be written to what is given.
    pub(crate) fn member(&mut self, name: &'static str) -> &mut Vec<u8> {
        debug_assert!(self.last < name, "`{name}` is not behind `{}`", self.last);
        if !self.last.is_empty() {
            self.out.push(b',');
        }
        self.last = name;
        write_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    pub(crate) fn text(&mut self, name: &'static str, text: &str) {
        write_string(self.member(name), text);
    }

    pub(crate) fn number(&mut self, name: &'static str, number: u64) {
        write_u64(self.member(name), number);
    }

    pub(crate) fn value(&mut self, name: &'static str, value: &Value) {
        write_value(self.member(name), value);
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// The canonical text of `value`.
#[must_use]
pub fn to_string(value: &Value) -> String {
    String::from_utf8(to_vec(value)).unwrap_or_default()
}

/// Appends the canonical bytes of `value`. Recursion is bounded by the depth that readers accept.
pub fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::Object(members) => write_object(out, members),
    }
}

/// Appends the canonical bytes of an object.
pub(crate) fn write_object(out: &mut Vec<u8>, members: &Map<String, Value>) {
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    // Whether serde_json's map is sorted depends on features that any crate of the build may turn on (`preserve_order`). UTF-8 order
    // differs from UTF-16 order only beyond the basic plane.
    if sorted.iter().any(|(key, _)| !key.is_ascii()) {
        sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    } else if !sorted.is_sorted_by_key(|(key, _)| *key) {
        sorted.sort_unstable_by_key(|(key, _)| *key);
    }
    out.push(b'{');
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, key);
        out.push(b':');
        write_value(out, value);
    }
    out.push(b'}');
}

fn write_number(out: &mut Vec<u8>, number: &Number) {
    if let Some(integer) = number.as_u64() {
        write_u64(out, integer);
    } else if let Some(integer) = number.as_i64() {
        write_i64(out, integer);
    } else {
        write_f64(out, number.as_f64().unwrap_or(0.0));
    }
}

/// Appends an unsigned integer.
pub fn write_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a signed integer.
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a finite double as ECMAScript prints it (so `1.0` is `1` and `-0.0` is `0`).
pub fn write_f64(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(ryu_js::Buffer::new().format_finite(value).as_bytes());
}

/// How many bytes at the beginning of `text` stand for themselves in a string: no control character, quote or backslash is among them.
///
/// Eight bytes at a time: traces and keys are mostly the text of strings, and all of it passes here.
pub(crate) fn plain(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The lowest high bit that is set is that of the first byte below `than`; a borrow makes those above it unsure, and nothing else does.
    const fn below(word: u64, than: u64) -> u64 {
        word.wrapping_sub(ONES * than) & !word
    }
    let mut chunks = text.chunks_exact(8);
    let mut at = 0;
    for eight in &mut chunks {
        let word = eight.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
        let special = (below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5c), 1)) & HIGH;
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    at + chunks.remainder().iter().take_while(|byte| !is_special(byte)).count()
}

/// Appends a string with its quotes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    out.push(b'"');
    let mut left = text.as_bytes();
    loop {
        let (as_it_is, behind) = left.split_at_checked(plain(left)).unwrap_or((left, &[]));
        out.extend_from_slice(as_it_is);
        let Some((byte, behind)) = behind.split_first() else { break };
        left = behind;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            control => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX.get(usize::from(control >> 4)).copied().unwrap_or(b'0'));
                out.push(HEX.get(usize::from(control & 15)).copied().unwrap_or(b'0'));
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_specification_s_own_sample() {
        // RFC 8785, section 3.2.2 and 3.2.3.
        let value: Value = serde_json::from_str(
            r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
               "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
        )
        .unwrap();
        let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(to_string(&value), expected);
    }

    #[test]
    fn members_are_sorted_by_utf_16() {
        let value = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        assert_eq!(to_string(&value), "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}");
    }

    #[test]
    fn integers_keep_their_digits() {
        assert_eq!(
            to_string(&json!([u64::MAX, i64::MIN, -0.0, 1.0, 1e21])),
            "[18446744073709551615,-9223372036854775808,0,1,1e+21]"
        );
    }

    proptest! {
        #[test]
        fn plain_bytes_end_where_one_does_not_stand_for_itself(
            text in proptest::collection::vec(prop_oneof![8 => any::<u8>(), 1 => 0x1e..0x25_u8, 1 => Just(b'\\'), 20 => b'a'..=b'z'], 0..60),
        ) {
            let special = text.iter().position(|byte| *byte < 32 || *byte == 34 || *byte == 92);
            prop_assert_eq!(plain(&text), special.unwrap_or(text.len()));
        }
    }

    /// Any JSON whose integers doubles hold: beyond them we deviate on purpose.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (-(1_i64 << 53)..=(1 << 53)).prop_map(Value::from),
            any::<f64>().prop_filter("JSON has only finite numbers", |n| n.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::String),
            "[\u{0}-\u{2f}\u{7f}-\u{9f}\u{d7ff}-\u{e010}\u{fff0}-\u{10010}]{0,8}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let key = prop_oneof![any::<String>(), "[a\u{e000}\u{ffff}\u{10000}]{1,3}"];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::btree_map(key, inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn another_implementation_writes_the_same(value in any_json()) {
            prop_assert_eq!(to_string(&value), serde_json_canonicalizer::to_string(&value).unwrap());
        }

        #[test]
        fn what_is_written_reads_back(value in any_json()) {
            let text = to_string(&value);
            let again: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(to_string(&again), text);
        }
    }
}
