//! Splitting text.

use regex::Regex;

use crate::bindings::{Error, ErrorCode};
use crate::error::{check_size, fail};
use crate::limits::MAX_PARTS;

/// The parts between matches, at most `limit` of them.
pub(crate) fn split(text: &str, regex: &Regex, limit: Option<u32>) -> Result<Vec<String>, Error> {
    check_size("text", text)?;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if limit == 0 {
        return Err(fail(ErrorCode::InvalidInput, "limit is 0: give at least 1, or leave it out"));
    }
    let parts: Vec<_> = regex.splitn(text, limit.min(MAX_PARTS + 1)).map(str::to_owned).collect();
    if parts.len() > MAX_PARTS {
        let message = format!("there are more than {MAX_PARTS} parts: give the text in parts, or a limit");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::compile;

    fn parts(text: &str, pattern: &str, limit: Option<u32>) -> Vec<String> {
        split(text, &compile(pattern, None, None).unwrap(), limit).unwrap()
    }

    #[test]
    fn keeps_empty_parts_and_the_rest() {
        assert_eq!(parts("a, b,,c", r",\s*", None), ["a", "b", "", "c"]);
        assert_eq!(parts("a,b,c", ",", Some(2)), ["a", "b,c"]);
        assert_eq!(parts("", ",", None), [""]);
        assert_eq!(parts("ä", "", None), ["", "ä", ""]);
    }

    #[test]
    fn the_number_of_parts_is_bounded() {
        let regex = compile(",", None, None).unwrap();
        let text = ",".repeat(MAX_PARTS);
        assert_eq!(split(&text, &regex, None).unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(split(&text, &regex, Some(3)).unwrap().len(), 3);
        assert_eq!(split("", &regex, Some(0)).unwrap_err().code, ErrorCode::InvalidInput);
    }
}
