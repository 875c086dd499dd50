//! One thing that is wrong with a document, with its place and what to do: what validation, type checks and policies report.

use std::fmt;
use std::path::Path;

use crate::{harmless, limits};

/// One mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Problem {
    /// Stable kebab-case name of the kind of mistake, such as `unknown-tool`.
    pub code: String,
    /// JSON pointer (RFC 6901) to the value at fault; empty for the document as a whole.
    pub pointer: String,
    /// Line and column, one-based, where the reader knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// What is wrong: lower case, no final period.
    pub message: String,
    /// What to do about it, where that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A place in a text, one-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl Problem {
    /// A problem without position and hint.
    pub fn new(code: &str, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), pointer: pointer.into(), position: None, message: message.into(), hint: None }
    }

    /// The same problem with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same problem where its message names the file that it is in: a line or a place is of no use without it.
    #[must_use]
    pub fn in_file(mut self, file: &Path) -> Self {
        let name = shown(&file.display().to_string());
        if !self.message.contains(&name) {
            self.message = format!("`{name}`: {}", self.message);
        }
        self
    }

    /// The same problem with a position.
    #[must_use]
    pub const fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.position, self.pointer.as_str()) {
            (Some(Position { line, column }), "") => write!(f, "line {line}, column {column}: {}", self.message),
            (Some(Position { line, column }), pointer) => {
                write!(f, "{pointer} (line {line}, column {column}): {}", self.message)
            }
            (None, "") => f.write_str(&self.message),
            (None, pointer) => write!(f, "{pointer}: {}", self.message),
        }
    }
}

/// Appends one step to a JSON pointer, escaping `~` and `/`.
#[must_use]
pub fn pointer_to(parent: &str, key: &str) -> String {
    let mut pointer = String::with_capacity(parent.len() + 1 + key.len());
    pointer.push_str(parent);
    pointer.push('/');
    for part in key.split_inclusive(['~', '/']) {
        match part.strip_suffix(['~', '/']) {
            Some(before) => {
                pointer.push_str(before);
                pointer.push_str(if part.ends_with('~') { "~0" } else { "~1" });
            }
            None => pointer.push_str(part),
        }
    }
    pointer
}

/// Collects problems up to [`limits::PROBLEMS_MAX`]; what comes after is only counted.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    list: Vec<Problem>,
    dropped: usize,
    skipped: bool,
}

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        if self.list.len() < limits::PROBLEMS_MAX {
            self.list.push(problem);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Adds all of another report.
    pub fn append(&mut self, other: Self) {
        other.list.into_iter().for_each(|problem| self.push(problem));
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.skipped |= other.skipped;
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether no more are listed. Looking for more is of no use then: stop, and say so with [`Self::skip`].
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.list.len() >= limits::PROBLEMS_MAX
    }

    /// Takes note that there may be problems that were not looked for.
    pub const fn skip(&mut self) {
        self.skipped = true;
    }

    /// How many were found, the dropped ones included.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.list.len().saturating_add(self.dropped)
    }

    /// The problems in the order in which they were found. Where some were dropped, a last one says how many.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<Problem> {
        if self.dropped > 0 || self.skipped {
            let message = match (self.dropped, self.skipped) {
                (0, _) => "there may be more problems, which have not been looked for".to_owned(),
                (dropped, true) => format!("at least {dropped} more problems are not listed"),
                (dropped, false) => format!("{dropped} more problems are not listed"),
            };
            self.list.push(Problem::new("more-problems", "", message));
        }
        self.list
    }
}

/// The `did you mean` hint for a name that is close to one of `known`; never used to accept the name.
///
/// Bounded: long names and candidates beyond the first thousand are not compared.
#[must_use]
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const CANDIDATES_MAX: usize = 1_000;
    const BYTES_MAX: usize = 64;
    if name.len() > BYTES_MAX {
        return None;
    }
    known
        .into_iter()
        .filter(|candidate| name.len().abs_diff(candidate.len()) <= 4 * (1 + candidate.len() / 4))
        .filter(|candidate| candidate.len() <= BYTES_MAX)
        .take(CANDIDATES_MAX)
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// Text of the user as messages show it: harmless, on one line and cut after 80 characters.
#[must_use]
pub fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", harmless::line(text.get(..end).unwrap_or_default())),
        None => harmless::line(text).into_owned(),
    }
}
