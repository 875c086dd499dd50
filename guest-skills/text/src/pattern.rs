//! Compiling patterns within limits. The engine takes time linear in the text for every pattern that compiles.

use regex::{Regex, RegexBuilder};

use crate::bindings::{Error, ErrorCode};
use crate::error::fail;
use crate::limits::{MAX_COMPILED_BYTES, MAX_PATTERN_BYTES, MAX_PATTERN_DEPTH};

/// The pattern as a regular expression in which `^` and `$` match at the ends of lines.
pub(crate) fn compile(pattern: &str, literal: Option<bool>, ignore_case: Option<bool>) -> Result<Regex, Error> {
    if pattern.len() > MAX_PATTERN_BYTES {
        let message = format!("the pattern has more than {MAX_PATTERN_BYTES} bytes: give a shorter one");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    let escaped = if literal == Some(true) { Some(regex::escape(pattern)) } else { None };
    RegexBuilder::new(escaped.as_deref().unwrap_or(pattern))
        .multi_line(true)
        .case_insensitive(ignore_case == Some(true))
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .nest_limit(MAX_PATTERN_DEPTH)
        .build()
        .map_err(|error| fail(ErrorCode::InvalidPattern, explain(&error)))
}

fn explain(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("the pattern takes more than {limit} bytes when compiled: use smaller repetitions")
        }
        // The library draws the pattern over several lines; its last line has the reason.
        _ => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("the pattern does not parse: {reason}; set literal to search for plain text")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explains_what_is_wrong() {
        let error = compile("(a", None, None).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidPattern);
        assert_eq!(error.message, "the pattern does not parse: unclosed group; set literal to search for plain text");
        assert!(compile("(a", Some(true), None).unwrap().is_match("x(a"));
    }

    #[test]
    fn huge_repetitions_and_deep_nesting_are_refused() {
        for pattern in [
            "x{1000}{1000}{1000}",
            "(?:a{65000}){65000}",
            &"(".repeat(5000),
            &format!("{}a{}", "(".repeat(200), ")".repeat(200)),
        ] {
            assert_eq!(compile(pattern, None, None).unwrap_err().code, ErrorCode::InvalidPattern);
        }
        assert_eq!(compile(&"a".repeat(MAX_PATTERN_BYTES + 1), None, None).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn case_and_unicode_classes() {
        assert!(compile("ÄRGER", None, Some(true)).unwrap().is_match("Ärger"));
        assert!(compile(r"^\w+\s\d$", None, None).unwrap().is_match("größe 3"));
        assert!(compile(r"\p{Lu}", None, None).unwrap().is_match("Ä"));
    }
}
