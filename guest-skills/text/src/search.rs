//! Finding matches, with the line and column of each.

use regex::Regex;

use crate::bindings::{Error, ErrorCode, Match, Matches};
use crate::error::{check_size, count, fail};
use crate::limits::{DEFAULT_MATCHES, MAX_MATCHES, MAX_OUTPUT_BYTES};

/// The matches of `regex` in `text`.
pub(crate) fn search(text: &str, regex: &Regex, limit: Option<u32>) -> Result<Matches, Error> {
    check_size("text", text)?;
    let limit = limit.unwrap_or(DEFAULT_MATCHES);
    if limit > MAX_MATCHES {
        return Err(fail(ErrorCode::InvalidInput, format!("limit is more than {MAX_MATCHES}: give a smaller one")));
    }
    let mut matches = Vec::new();
    let mut total = 0;
    let mut bytes = 0;
    let mut place = Place { line: 1, column: 1, offset: 0 };
    for captures in regex.captures_iter(text) {
        let Some(whole) = captures.get(0) else { continue };
        total += 1;
        if count(total) > limit {
            continue;
        }
        place.advance(text, whole.start());
        let groups: Vec<_> =
            captures.iter().skip(1).map(|group| group.map(|group| group.as_str().to_owned())).collect();
        bytes += whole.len() + groups.iter().flatten().map(String::len).sum::<usize>();
        if bytes > MAX_OUTPUT_BYTES {
            let message = format!("the matches have more than {MAX_OUTPUT_BYTES} bytes: give a smaller limit");
            return Err(fail(ErrorCode::TooLarge, message));
        }
        matches.push(Match { line: place.line, column: place.column, text: whole.as_str().to_owned(), groups });
    }
    Ok(Matches { truncated: total > matches.len(), matches, total: count(total) })
}

/// A position in the text that only moves forward, so that all matches together take one pass.
struct Place {
    line: u32,
    column: u32,
    offset: usize,
}

impl Place {
    fn advance(&mut self, text: &str, to: usize) {
        for character in text.get(self.offset..to).unwrap_or_default().chars() {
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.offset = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::compile;

    fn found(text: &str, pattern: &str, limit: Option<u32>) -> Matches {
        search(text, &compile(pattern, None, None).unwrap(), limit).unwrap()
    }

    #[test]
    fn tells_where_and_which_groups() {
        let result = found("größe=3\nb=\nc=5", r"(?P<name>\w+)=(\d)?", None);
        let places: Vec<_> = result.matches.iter().map(|m| (m.line, m.column, m.text.as_str())).collect();
        assert_eq!(places, [(1, 1, "größe=3"), (2, 1, "b="), (3, 1, "c=5")]);
        assert_eq!(result.matches[1].groups, [Some("b".to_owned()), None]);
        assert_eq!((result.total, result.truncated), (3, false));
        let result = found("äb", "b", None);
        assert_eq!((result.matches[0].line, result.matches[0].column), (1, 2));
    }

    #[test]
    fn the_limit_bounds_what_is_returned_but_not_the_count() {
        let result = found("aaaa", "a", Some(2));
        assert_eq!((result.matches.len(), result.total, result.truncated), (2, 4, true));
        assert_eq!(found("aa", "a", Some(0)).matches.len(), 0);
        assert_eq!(
            search("", &compile("a", None, None).unwrap(), Some(u32::MAX)).unwrap_err().code,
            ErrorCode::InvalidInput
        );
    }

    #[test]
    fn empty_text_and_empty_matches() {
        assert_eq!(found("", "a", None).total, 0);
        assert_eq!(found("", "", None).total, 1);
        assert_eq!(found("a\nb", "^", None).total, 2);
    }
}
