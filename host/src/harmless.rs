//! Foreign text made harmless for whoever reads it: names, messages and contents that plans, guests, servers and other people choose.
//!
//! Owns which characters a terminal acts upon or hide what a text says, and how they are shown in their place. Never changes what is kept or
//! what programs are given: only what a person is shown.

use std::borrow::Cow;
use std::fmt::Write as _;

/// What `host` itself writes to colour a text: its own tones, and those that clap has for its messages.
const OWN_SEQUENCES: [&str; 7] = ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[4m", "\x1b[31m", "\x1b[32m", "\x1b[33m"];
/// How far apart the columns are to which a tab leads, as on a terminal.
const TAB: usize = 8;

/// Whether a terminal acts upon a character, or it is not seen although it is there, or it changes how others around it are read: control
/// characters (C0, DEL, C1), separators of lines and paragraphs, marks of direction, characters of no width, blank fillers, tags, and what
/// is no character at all.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    // Nearly all characters.
    if (' '..='~').contains(&c) {
        return false;
    }
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// The text on one line: what is hidden is escaped as in Rust, a line break as `\n`.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) { escape(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// The text with its line breaks: everything else that is hidden is escaped, and tabs are blanks up to the next column that a tab leads to.
#[must_use]
pub fn block(text: &str) -> Cow<'_, str> {
    painted(text, false)
}

/// The same of a text that is made for a terminal: the colours that `host` itself writes stay where `color` says so.
#[must_use]
pub fn painted(text: &str, color: bool) -> Cow<'_, str> {
    if !text.chars().any(|c| is_hidden(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let (mut rest, mut column) = (text, 0);
    while let Some(c) = rest.chars().next() {
        let sequence = OWN_SEQUENCES.iter().find(|own| color && c == '\x1b' && rest.starts_with(**own));
        if let Some(own) = sequence {
            out.push_str(own);
            rest = rest.get(own.len()..).unwrap_or_default();
            continue;
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '\n' => {
                out.push(c);
                column = 0;
            }
            '\t' => {
                let width = TAB - column % TAB;
                out.extend(std::iter::repeat_n(' ', width));
                column += width;
            }
            c if is_hidden(c) => {
                let before = out.len();
                escape(c, &mut out);
                column += out.len() - before;
            }
            c => {
                out.push(c);
                column += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// JSON with what is hidden as escapes of JSON: the same value. `text` is one document or several, in which characters that are hidden stand
/// in strings alone, but for line breaks between lines.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_hidden(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _: Result<(), _> = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn escape(c: char, out: &mut String) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c => out.extend(c.escape_unicode()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts in which characters that matter are not rare.
    pub(crate) fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            any::<char>().prop_map(String::from),
            proptest::sample::select(vec![
                "\x1b[31m",
                "\x1b]52;c;eA==\x07",
                "\x1b[2J",
                "\x1b[0m",
                "\x1b",
                "\n",
                "\r\n",
                "\t",
                "\0",
                "\x7f",
                "\u{9b}31m",
                "\u{202e}",
                "\u{2066}",
                "\u{200f}",
                "\u{61c}",
                "\u{2028}",
                "\u{2029}",
                "\u{200b}",
                "\u{feff}",
                "\u{e0041}",
                "\u{fdd0}",
                "hint: run this",
                "a",
                "é",
                "\\u{1b}",
                "\"",
            ])
            .prop_map(str::to_owned),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn what_is_hidden_and_what_is_not() {
        for c in [
            '\0', '\n', '\t', '\x1b', '\x7f', '\u{80}', '\u{9b}', '\u{61c}', '\u{200b}', '\u{200e}', '\u{2028}',
            '\u{202a}',
        ] {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in [
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{e0001}',
            '\u{fffe}',
            '\u{10ffff}',
            '\u{ad}',
            '\u{3164}',
        ] {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in [' ', '~', 'é', 'ß', '中', '😀', '\u{fe0f}', '…', '→', '\u{301}', '\u{a0}'] {
            assert!(!is_hidden(c), "{c:?}");
        }
    }

    #[test]
    fn each_form_in_an_example() {
        let text = "a\x1b[31m\tb\r\nc\u{9b}";
        assert_eq!(line(text), "a\\u{1b}[31m\\tb\\r\\nc\\u{9b}");
        assert_eq!(block(text), "a\\u{1b}[31m     b\\r\nc\\u{9b}");
        assert_eq!(painted("\x1b[31mx\x1b[0m\x1b[5m", true), "\x1b[31mx\x1b[0m\\u{1b}[5m");
        assert_eq!(painted("\x1b[31mx", false), "\\u{1b}[31mx");
        assert_eq!(json("{\"a\":\"\u{9b}\u{e0041}\u{7f}\"}\n"), "{\"a\":\"\\u009b\\udb40\\udc41\\u007f\"}\n");
        assert!(matches!(line("plain é"), Cow::Borrowed(_)) && matches!(block("a\nb"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in hostile()) {
            prop_assert!(!line(&text).chars().any(is_hidden));
            prop_assert!(!block(&text).chars().any(|c| is_hidden(c) && c != '\n'));
            let mut shown = painted(&text, true).into_owned();
            for own in OWN_SEQUENCES {
                shown = shown.replace(own, "");
            }
            prop_assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'));
            prop_assert_eq!(painted(&text, true).matches('\n').count(), text.matches('\n').count());
        }

        #[test]
        fn json_is_the_same_value(text in hostile()) {
            let value = serde_json::json!({ text.clone(): [text] });
            for document in [value.to_string(), format!("{value:#}\n")] {
                let shown = json(&document);
                prop_assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'));
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value.clone());
            }
        }
    }
}
