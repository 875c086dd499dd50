//! What is different: two contents as a unified diff, two trees as a list of changes. Pure, and bounded: whoever reads files hands over
//! what was read, and what is too long to compare is told by its length and digest.

mod tree;

use similar::{Algorithm, DiffOp, capture_diff_slices, group_diff_ops};

use crate::id::Digest;
use crate::{harmless, limits};

pub use tree::{Kind, Node, Tree, TreeChange, TreeDiff, What};

/// Lines around a change that are shown with it.
const CONTEXT_LINES: usize = 3;
/// Stands for the side that does not exist.
const NOTHING: &str = "/dev/null";

/// A content that is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// How many bytes it has.
    pub len: u64,
    /// Their sha256.
    pub digest: Digest,
    /// The bytes; `None` where there are more than [`limits::DIFF_INPUT_BYTES_MAX`].
    pub bytes: Option<Vec<u8>>,
}

impl Content {
    /// A content that is at hand.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        let (len, digest) = (bytes.len() as u64, Digest::of(&bytes));
        Self { len, digest, bytes: (bytes.len() <= limits::DIFF_INPUT_BYTES_MAX).then_some(bytes) }
    }

    /// The content as text, where it is one that can be shown line by line.
    fn text(&self) -> Option<&str> {
        let bytes = self.bytes.as_deref()?;
        std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
    }

    fn described(content: Option<&Self>) -> String {
        match content {
            Some(content) => format!("{} bytes, sha256 {}", content.len, content.digest),
            None => "nothing".to_owned(),
        }
    }
}

/// What changes `old` into `new`, as a unified diff with `path` in its head; `None` is a file that does not exist. Empty where nothing is
/// different. A content that is no text, or too long, gets one line with lengths and digests. A diff ends after
/// [`limits::DIFF_OUTPUT_BYTES_MAX`] with a line that says how many lines are left out.
#[must_use]
pub fn unified(path: &str, old: Option<&Content>, new: Option<&Content>) -> String {
    unified_within(path, old, new, &mut usize::MAX.clone())
}

/// The same where several share a `room` of bytes: the diff takes what it is long, and for the work of finding it more.
pub(crate) fn unified_within(path: &str, old: Option<&Content>, new: Option<&Content>, room: &mut usize) -> String {
    let (diff, work) = found(path, old, new);
    *room = room.saturating_sub(diff.len()).saturating_sub(work / limits::DIFF_WORK_PER_BYTE);
    diff
}

/// The diff, and what finding it took.
fn found(path: &str, old: Option<&Content>, new: Option<&Content>) -> (String, usize) {
    if old == new {
        return (String::new(), 0);
    }
    // It stands on a line of its own.
    let path: &str = &harmless::line(path);
    let text = |content: Option<&Content>| match content {
        Some(content) => content.text().map(str::to_owned),
        None => Some(String::new()),
    };
    let (Some(was), Some(is)) = (text(old), text(new)) else {
        let (was, is) = (Content::described(old), Content::described(new));
        return (format!("contents of {path} are not compared: {was} -> {is}\n"), 0);
    };
    let (was, is) = (lines(&was), lines(&is));
    let mut out = Cut::default();
    out.push("--- ", if old.is_some() { path } else { NOTHING });
    out.push("+++ ", if new.is_some() { path } else { NOTHING });
    let (operations, work) = operations(&was, &is);
    for hunk in group_diff_ops(operations, CONTEXT_LINES) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        let place = |from: usize, to: usize| match to - from {
            // A place between lines is named by the one before it.
            0 => format!("{from},0"),
            1 => format!("{}", from + 1),
            count => format!("{},{count}", from + 1),
        };
        let old_place = place(first.old_range().start, last.old_range().end);
        let new_place = place(first.new_range().start, last.new_range().end);
        out.push("@@ ", &format!("-{old_place} +{new_place} @@"));
        for operation in hunk {
            let (old_range, new_range) = (operation.old_range(), operation.new_range());
            if let DiffOp::Equal { .. } = operation {
                was.get(old_range).unwrap_or_default().iter().for_each(|line| out.push(" ", line));
            } else {
                was.get(old_range).unwrap_or_default().iter().for_each(|line| out.push("-", line));
                is.get(new_range).unwrap_or_default().iter().for_each(|line| out.push("+", line));
            }
        }
    }
    (out.finish(), work)
}

/// The lines of a text, each with its line feed.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// What is equal and what is not. Finding the smallest difference takes the product of both lengths at the worst: where that would be too
/// much, everything between the equal beginning and the equal end is one change.
fn operations(old: &[&str], new: &[&str]) -> (Vec<DiffOp>, usize) {
    let before = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (old.get(before..).unwrap_or_default(), new.get(before..).unwrap_or_default());
    let after = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_len, new_len) = (old_rest.len() - after, new_rest.len() - after);
    let work = old_len.saturating_mul(new_len);
    if work <= limits::DIFF_WORK_MAX {
        return (capture_diff_slices(Algorithm::Myers, old, new), work);
    }
    let whole = [
        DiffOp::Equal { old_index: 0, new_index: 0, len: before },
        DiffOp::Replace { old_index: before, old_len, new_index: before, new_len },
        DiffOp::Equal { old_index: before + old_len, new_index: before + new_len, len: after },
    ]
    .into_iter()
    .filter(|operation| !operation.old_range().is_empty() || !operation.new_range().is_empty());
    (whole.collect(), 0)
}

/// Lines until there are too many.
#[derive(Default)]
struct Cut {
    out: String,
    left_out: u64,
}

impl Cut {
    fn push(&mut self, mark: &str, line: &str) {
        const NO_END: &str = "\n\\ No newline at end of file\n";
        let end = match (line.ends_with('\n'), mark.trim_end()) {
            (true, _) => "",
            (false, "" | "-" | "+") => NO_END,
            (false, _) => "\n",
        };
        let len = mark.len() + line.len() + end.len();
        if self.left_out > 0 || self.out.len().saturating_add(len) > limits::DIFF_OUTPUT_BYTES_MAX {
            self.left_out += 1;
            return;
        }
        for part in [mark, line, end] {
            self.out.push_str(part);
        }
    }

    fn finish(mut self) -> String {
        if self.left_out > 0 {
            let count = self.left_out;
            let last = format!("… {count} more line{} of this diff\n", if count == 1 { "" } else { "s" });
            self.out.push_str(&last);
        }
        self.out
    }
}

/// One change of a file or folder, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: String,
    /// What happened to it.
    pub what: What,
    /// What it was; `None` where it did not exist.
    pub before: Option<Node>,
    /// What it would be; `None` where it would not exist.
    pub after: Option<Node>,
    /// For contents: the unified diff, or a line about it.
    pub diff: String,
}

/// Changes, ready to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// By path.
    pub list: Vec<Change>,
    /// How many more there are.
    pub more: u64,
    /// What could not be looked at, and what else is to be known about the list.
    pub notices: Vec<String>,
}

impl Changes {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty() && self.more == 0
    }

    /// Appends others. What is more than [`limits::DIFF_CHANGES_MAX`] is counted.
    pub fn append(&mut self, mut others: Self) {
        let room = limits::DIFF_CHANGES_MAX.saturating_sub(self.list.len());
        self.more += others.more + others.list.len().saturating_sub(room) as u64;
        others.list.truncate(room);
        self.list.append(&mut others.list);
        self.notices.append(&mut others.notices);
    }
}

impl Change {
    /// A line that says what happened, without the contents.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { path, what, before, after, .. } = self;
        let kind = |node: &Option<Node>| node.as_ref().map_or("nothing", |node| node.kind.name());
        let target = |node: &Option<Node>| match node.as_ref().map(|node| &node.kind) {
            Some(Kind::Symlink { target }) => format!(" -> {}", target.display()),
            _ => String::new(),
        };
        let mut line = match what {
            What::Created => format!("created {} {path}{}", kind(after), target(after)),
            What::Removed => format!("removed {} {path}{}", kind(before), target(before)),
            What::Modified => format!("modified {} {path}{}", kind(after), target(after)),
            What::Replaced => {
                format!("replaced {} {path}{} by a {}{}", kind(before), target(before), kind(after), target(after))
            }
            What::Mode => format!("changed mode of {} {path}", kind(after)),
        };
        if let (Some(before), Some(after)) = (before, after)
            && before.mode != after.mode
            && before.kind.has_mode()
            && after.kind.has_mode()
        {
            let modes = format!(" (mode {:04o} -> {:04o})", before.mode, after.mode);
            line.push_str(&modes);
        }
        line
    }
}

#[cfg(test)]
mod tests;
