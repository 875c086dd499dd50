//! Which grant of a policy a number means, for people. Documents, traces and JSON count grants from 0, as JSON pointers do; a person who
//! reads `grant 1` looks for the first.

/// The word before a number.
const WORD: &str = "grant ";

/// The place in words: of 1, the second.
fn ordinal(index: u64) -> String {
    const WORDS: [&str; 10] =
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
    if let Some(word) = usize::try_from(index).ok().and_then(|index| WORDS.get(index)) {
        return format!("the {word}");
    }
    let number = index.saturating_add(1);
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("the {number}{ending}")
}

/// A grant as people are told of it: `grant 1 (the second)`.
#[must_use]
pub fn grant(index: u64) -> String {
    format!("{WORD}{index} ({})", ordinal(index))
}

/// A text of the host's own in which every grant that it names is said so. What is in backticks is of somebody else and stays.
#[must_use]
pub fn with_places(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, part) in text.split('`').enumerate() {
        if at > 0 {
            out.push('`');
        }
        if at % 2 == 0 { add(part, &mut out) } else { out.push_str(part) }
    }
    out
}

fn add(mut text: &str, out: &mut String) {
    while let Some((before, rest)) = text.split_once(WORD) {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, rest) = rest.split_at(digits);
        out.push_str(before);
        match digits.parse() {
            Ok(index) if !before.ends_with(char::is_alphanumeric) => out.push_str(&grant(index)),
            _ => {
                out.push_str(WORD);
                out.push_str(digits);
            }
        }
        text = rest;
    }
    out.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_counted_for_people() {
        for (text, says) in [
            ("grant 0", "grant 0 (the first)"),
            ("add it to grant 1, or", "add it to grant 1 (the second), or"),
            ("grant 0 names `grant 1`; grant 9", "grant 0 (the first) names `grant 1`; grant 9 (the tenth)"),
            ("a grant of it, migrant 1", "a grant of it, migrant 1"),
            ("grant 10 grant 20 grant 111", "grant 10 (the 11th) grant 20 (the 21st) grant 111 (the 112th)"),
            ("grant 99999999999999999999", "grant 99999999999999999999"),
            ("", ""),
        ] {
            assert_eq!(with_places(text), says);
        }
    }
}
