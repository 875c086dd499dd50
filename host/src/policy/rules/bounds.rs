//! What is looked at before Cedar's parser: its trees are walked by recursion, so nothing may be long or deep enough to end a stack.

use crate::limits;
use crate::problem::Problem;

use super::at;

/// Refuses a text that is too large, or that has a rule that is too long or too deeply nested.
pub(super) fn check(text: &str) -> Result<(), Vec<Problem>> {
    if text.len() > limits::RULES_BYTES_MAX {
        let message = format!("the rules have {} bytes; at most {} are read", text.len(), limits::RULES_BYTES_MAX);
        return Err(vec![Problem::new("rules-too-large", "/rules", message)]);
    }
    let (mut depth, mut start) = (0_usize, None);
    for (offset, end, token) in Tokens::new(text) {
        let first = *start.get_or_insert(offset);
        match token {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => {
                start = None;
                continue;
            }
            _ => {}
        }
        if depth > limits::RULE_DEPTH_MAX {
            let message = format!("a rule nests deeper than {} levels", limits::RULE_DEPTH_MAX);
            return Err(vec![at(text, offset, "rule-too-deep", message, None)]);
        }
        if end - first > limits::RULE_BYTES_MAX {
            let message = format!("a rule is longer than {} bytes", limits::RULE_BYTES_MAX);
            let hint = "split it: several rules may permit or forbid the same call".to_owned();
            return Err(vec![at(text, first, "rule-too-long", message, Some(hint))]);
        }
    }
    Ok(())
}

/// The bytes of a text that are neither white space nor in a comment nor in a string, with where they begin and end; a string counts as its
/// first quote.
struct Tokens<'t> {
    bytes: &'t [u8],
    offset: usize,
}

impl<'t> Tokens<'t> {
    const fn new(text: &'t str) -> Self {
        Self { bytes: text.as_bytes(), offset: 0 }
    }
}

impl Iterator for Tokens<'_> {
    type Item = (usize, usize, u8);

    fn next(&mut self) -> Option<(usize, usize, u8)> {
        loop {
            let offset = self.offset;
            let byte = *self.bytes.get(offset)?;
            self.offset += 1;
            match byte {
                b'/' if self.bytes.get(self.offset) == Some(&b'/') => {
                    while self.bytes.get(self.offset).is_some_and(|byte| *byte != b'\n') {
                        self.offset += 1;
                    }
                }
                b'"' => {
                    while let Some(byte) = self.bytes.get(self.offset) {
                        self.offset += if *byte == b'\\' { 2 } else { 1 };
                        if *byte == b'"' {
                            break;
                        }
                    }
                    return Some((offset, self.offset, byte));
                }
                byte if byte.is_ascii_whitespace() => {}
                byte => return Some((offset, self.offset, byte)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<String> {
        check(text).err().map(|mut problems| problems.remove(0).code)
    }

    #[test]
    fn a_text_a_rule_and_its_nesting_are_bounded() {
        assert_eq!(code(&" ".repeat(limits::RULES_BYTES_MAX)), None);
        assert_eq!(code(&" ".repeat(limits::RULES_BYTES_MAX + 1)).as_deref(), Some("rules-too-large"));
        let nested = |depth: usize| format!("{}{};", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(code(&nested(limits::RULE_DEPTH_MAX)), None);
        assert_eq!(code(&nested(limits::RULE_DEPTH_MAX + 1)).as_deref(), Some("rule-too-deep"));
        let long = format!("\"{}\";", "x".repeat(limits::RULE_BYTES_MAX));
        assert_eq!(code(&long).as_deref(), Some("rule-too-long"));
        assert_eq!(code(&"permit;\n".repeat(limits::RULE_BYTES_MAX / 4)), None);
    }

    #[test]
    fn comments_and_strings_are_not_looked_into() {
        let open = "(".repeat(limits::RULE_DEPTH_MAX + 1);
        assert_eq!(code(&format!("// {open}\n\"{open}\\\"{open}\";")), None);
        assert_eq!(code("\""), None);
        assert_eq!(code("\"\\"), None);
    }
}
