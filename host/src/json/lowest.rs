//! The lowest integer of 64 bits written with a fraction or an exponent. The reader below gives one float for it and for the integers just below
//! it, which are out of the range of every type: it is spelled as an integer first, in the same columns.

use std::borrow::Cow;

/// Its digits.
const LOWEST: &str = "9223372036854775808";

/// The text with that number spelled as an integer wherever it stands outside of strings.
pub(super) fn spelled(text: &str) -> Cow<'_, str> {
    if !text.contains("-9223372036854775808") && !text.contains("-9.223372036854775808") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    while let Some(at) = rest.find(['"', '-']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let end = match from.starts_with('"') {
            true => end_of_string(from),
            false => from.find(|c| !is_number(c)).unwrap_or(from.len()),
        };
        let (token, after) = from.split_at(end);
        if is_lowest(token) && token.len() > LOWEST.len() {
            let blanks = token.len() - LOWEST.len() - 1;
            out.extend(["-", LOWEST].into_iter().chain(std::iter::repeat_n(" ", blanks)));
        } else {
            out.push_str(token);
        }
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// How long the string is that a text begins with, its quotes included.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether a number is exactly that one.
fn is_lowest(number: &str) -> bool {
    let Some(number) = number.strip_prefix('-') else { return false };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let Ok(exponent) = exponent.parse::<i32>() else { return false };
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_end_matches('0');
    // What JSON does not allow stays as it is, for the reader to say so.
    let is_json = !whole.is_empty() && (!mantissa.contains('.') || !fraction.is_empty());
    let shift = i64::from(exponent) - fraction.len() as i64 + (digits.len() - trimmed.len()) as i64;
    is_json && trimmed == LOWEST && shift == 0
}

#[cfg(test)]
mod tests {
    use crate::json::parse;
    use serde_json::json;

    #[test]
    fn the_lowest_integer_is_told_from_those_below_it() {
        for text in [
            "-9223372036854775808",
            "-9223372036854775808.0",
            "-9223372036854775808.000",
            "-9.223372036854775808e18",
            "-9223372036854775808e0",
            "-92233720368547758080E-1",
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), json!(i64::MIN), "{text}");
        }
        for text in ["-9223372036854775809", "-9223372036854775808.5", "-9223372036854776000"] {
            let value = parse(text.as_bytes()).unwrap();
            assert!(
                value.as_i64().is_none() && value.as_f64() == Some(-9_223_372_036_854_775_808.0),
                "{text}: {value}"
            );
        }
        for text in ["-9223372036854775808.", "-9223372036854775808.e0", "-9223372036854775808e"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let text = r#"{"a\"-9223372036854775808.0": ["-9223372036854775808.0", -9223372036854775808.0, -1]}"#;
        let expected = json!({"a\"-9223372036854775808.0": ["-9223372036854775808.0", i64::MIN, -1]});
        assert_eq!(parse(text.as_bytes()).unwrap(), expected);
    }
}
