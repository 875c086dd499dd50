//! Comparing texts by lines.

use similar::{ChangeTag, TextDiff};

use crate::bindings::{Difference, Error, ErrorCode};
use crate::error::{check_size, count, fail};
use crate::limits::{MAX_DIFF_CONTEXT, MAX_DIFF_LINES};

/// Lines of context where the caller gives none, as in other tools.
const DEFAULT_CONTEXT: u32 = 3;

/// The unified diff of two texts with the given names.
pub(crate) fn diff(before: &str, after: &str, names: (&str, &str), context: Option<u32>) -> Result<Difference, Error> {
    for (name, text) in [("before", before), ("after", after)] {
        check_size(name, text)?;
        if text.lines().count() > MAX_DIFF_LINES {
            let message = format!("{name} has more than {MAX_DIFF_LINES} lines: compare it in parts");
            return Err(fail(ErrorCode::TooLarge, message));
        }
    }
    for name in [names.0, names.1] {
        if name.contains(['\n', '\r']) {
            return Err(fail(ErrorCode::InvalidInput, "a name has a line break: give a name of one line"));
        }
    }
    let context = context.unwrap_or(DEFAULT_CONTEXT);
    if context > MAX_DIFF_CONTEXT {
        return Err(fail(
            ErrorCode::InvalidInput,
            format!("context is more than {MAX_DIFF_CONTEXT}: give a smaller one"),
        ));
    }
    if before == after {
        return Ok(Difference { equal: true, unified: String::new(), added: 0, removed: 0 });
    }
    let diff = TextDiff::from_lines(before, after);
    let (mut added, mut removed) = (0, 0);
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Insert => added += 1,
            ChangeTag::Delete => removed += 1,
            ChangeTag::Equal => {}
        }
    }
    let radius = usize::try_from(context).unwrap_or(usize::MAX);
    let unified = diff.unified_diff().context_radius(radius).header(names.0, names.1).to_string();
    Ok(Difference { equal: false, unified, added: count(added), removed: count(removed) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_changed() {
        let result = diff("a\nb\nc\n", "a\nB\nc\nd\n", ("old", "new"), Some(0)).unwrap();
        assert_eq!((result.equal, result.added, result.removed), (false, 2, 1));
        assert_eq!(result.unified, "--- old\n+++ new\n@@ -2 +2 @@\n-b\n+B\n@@ -3,0 +4 @@\n+d\n");
    }

    #[test]
    fn same_texts_and_missing_line_ends() {
        let same = diff("a", "a", ("x", "y"), None).unwrap();
        assert!(same.equal && same.unified.is_empty());
        let result = diff("a\n", "a", ("x", "y"), None).unwrap();
        assert!(!result.equal);
        assert!(result.unified.contains("\\ No newline at end of file"), "{}", result.unified);
        assert_eq!(diff("", "a\n", ("x", "y"), None).unwrap().added, 1);
    }

    #[test]
    fn arguments_are_bounded() {
        assert_eq!(diff("a", "b", ("x\ny", ""), None).unwrap_err().code, ErrorCode::InvalidInput);
        assert_eq!(diff("a", "b", ("", ""), Some(5000)).unwrap_err().code, ErrorCode::InvalidInput);
        assert_eq!(diff(&"\n".repeat(MAX_DIFF_LINES + 1), "b", ("", ""), None).unwrap_err().code, ErrorCode::TooLarge);
    }
}
