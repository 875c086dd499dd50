//! Replacing matches.

use regex::{Captures, Regex};

use crate::bindings::{Error, ErrorCode, Replaced};
use crate::error::{check_size, count, fail};
use crate::limits::MAX_OUTPUT_BYTES;

/// Replaces the first `limit` matches, or all.
pub(crate) fn replace(
    text: &str,
    regex: &Regex,
    replacement: &str,
    literal: bool,
    limit: Option<u32>,
) -> Result<Replaced, Error> {
    check_size("text", text)?;
    check_size("replacement", replacement)?;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut output = String::with_capacity(text.len());
    let mut done = 0;
    let mut made = 0;
    for captures in regex.captures_iter(text).take(limit) {
        let Some(whole) = captures.get(0) else { continue };
        output.push_str(text.get(done..whole.start()).unwrap_or_default());
        expand(&captures, replacement, literal, &mut output);
        done = whole.end();
        made += 1;
        if output.len() > MAX_OUTPUT_BYTES {
            break;
        }
    }
    output.push_str(text.get(done..).unwrap_or_default());
    if output.len() > MAX_OUTPUT_BYTES {
        let message = format!("the result has more than {MAX_OUTPUT_BYTES} bytes: give the text in parts");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    Ok(Replaced { text: output, count: count(made) })
}

fn expand(captures: &Captures<'_>, replacement: &str, literal: bool, output: &mut String) {
    if literal {
        output.push_str(replacement);
    } else {
        captures.expand(replacement, output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::compile;

    fn done(text: &str, pattern: &str, replacement: &str, literal: bool, limit: Option<u32>) -> (String, u32) {
        let regex = compile(pattern, Some(literal), None).unwrap();
        let result = replace(text, &regex, replacement, literal, limit).unwrap();
        (result.text, result.count)
    }

    #[test]
    fn groups_stand_in_the_replacement() {
        assert_eq!(done("a=1, b=2", r"(\w)=(\d)", "$2=${1}", false, None), ("1=a, 2=b".to_owned(), 2));
        assert_eq!(done("a", "(a)", "$$ $9", false, None), ("$ ".to_owned(), 1));
    }

    #[test]
    fn literal_means_both_sides() {
        assert_eq!(done("a.b", ".", "$1", true, None), ("a$1b".to_owned(), 1));
    }

    #[test]
    fn empty_matches_and_limits() {
        assert_eq!(done("äö", "", "-", false, None), ("-ä-ö-".to_owned(), 3));
        assert_eq!(done("aaa", "a", "", false, Some(2)), ("a".to_owned(), 2));
        assert_eq!(done("aaa", "a", "b", false, Some(0)), ("aaa".to_owned(), 0));
        assert_eq!(done("", "a", "b", false, None), (String::new(), 0));
    }

    #[test]
    fn the_result_is_bounded() {
        let regex = compile("", None, None).unwrap();
        let error = replace(&"a".repeat(100_000), &regex, &"b".repeat(10_000), false, None).unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge);
    }
}
