//! How deep a template's expressions may become. The engine bounds nested brackets and blocks itself, but builds a chain such as
//! `a|f|g` or `a ~ b ~ c` as deep as it is long, and walks it recursively. Operators are counted for that.

use crate::bindings::{Error, ErrorCode};
use crate::error::fail;
use crate::limits::{MAX_BRANCHES, MAX_TAG_OPERATORS};

/// Refuses a template with too many branches or a tag that has too many operators. Text in quotes counts too: too much is better than too little here.
pub(crate) fn check(template: &str) -> Result<(), Error> {
    if template.matches("elif").count() > MAX_BRANCHES {
        let message = format!("the template has more than {MAX_BRANCHES} elif: look the value up in the data instead");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    let mut rest = template.as_bytes();
    let mut line = 1;
    while let [byte, tail @ ..] = rest {
        line += u32::from(*byte == b'\n');
        rest = match (*byte, tail.first()) {
            (b'{', Some(b'{' | b'%')) => check_tag(tail.get(1..).unwrap_or_default(), &mut line)?,
            (b'{', Some(b'#')) => skip_comment(tail, &mut line),
            _ => tail,
        };
    }
    Ok(())
}

/// What follows the tag whose inside `rest` begins with.
fn check_tag<'a>(mut rest: &'a [u8], line: &mut u32) -> Result<&'a [u8], Error> {
    let start = *line;
    let (mut operators, mut balance) = (0_usize, 0_i32);
    let mut quote = None;
    let mut word = false;
    while let [byte, tail @ ..] = rest {
        *line += u32::from(*byte == b'\n');
        let ends = matches!((*byte, tail.first()), (b'}' | b'%', Some(b'}')));
        if ends && quote.is_none() && balance <= 0 {
            return Ok(tail.get(1..).unwrap_or_default());
        }
        // Words count too (`and`, `is`, `if`), once each.
        let in_word = byte.is_ascii_alphanumeric() || *byte == b'_';
        operators += usize::from(if in_word { !word } else { byte.is_ascii_punctuation() });
        word = in_word;
        if operators > MAX_TAG_OPERATORS {
            let message =
                format!("a tag has more than {MAX_TAG_OPERATORS} words and signs: set parts of it as variables first");
            return Err(Error { line: Some(start), ..fail(ErrorCode::TooLarge, message) });
        }
        match (*byte, quote) {
            (b'\\', Some(_)) => {
                rest = tail.get(1..).unwrap_or_default();
                continue;
            }
            (byte, Some(open)) if byte == open => quote = None,
            (b'"' | b'\'', None) => quote = Some(*byte),
            (b'(' | b'[' | b'{', None) => balance += 1,
            (b')' | b']' | b'}', None) => balance -= 1,
            _ => {}
        }
        rest = tail;
    }
    Ok(rest)
}

fn skip_comment<'a>(mut rest: &'a [u8], line: &mut u32) -> &'a [u8] {
    while let [byte, tail @ ..] = rest {
        *line += u32::from(*byte == b'\n');
        rest = tail;
        if *byte == b'#' && tail.first() == Some(&b'}') {
            break;
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_bounded_in_each_tag() {
        for link in ["|upper", ".a", " ~ a", "[0]", " and a", "'}}'~a"] {
            let long = link.repeat(MAX_TAG_OPERATORS);
            assert_eq!(check(&format!("x\n{{{{ a{long} }}}}")).unwrap_err().line, Some(2), "{link}");
            let short = link.repeat(50);
            assert!(check(&format!("{{{{ a{short} }}}}").repeat(100)).is_ok(), "{link}");
        }
    }

    #[test]
    fn branches_are_bounded() {
        assert_eq!(check(&"{% elif 0 %}".repeat(MAX_BRANCHES + 1)).unwrap_err().code, ErrorCode::TooLarge);
        assert!(check(&"{% elif 0 %}".repeat(MAX_BRANCHES)).is_ok());
    }

    #[test]
    fn prose_and_comments_do_not_count() {
        let prose = "a, b; c. 'd' - ".repeat(10_000);
        assert!(
            check(&format!("{prose}{{{{ a }}}}{prose}{{% if {{'x': {{}}}} %}}{prose}{{# {prose} '#}}{prose}")).is_ok()
        );
        assert!(check("{{").is_ok() && check("{%").is_ok() && check("{#").is_ok() && check("{{ '\\").is_ok());
    }
}
