//! What somebody changed since a step completed, so that undoing the step would destroy it. It is shown and refused, never guessed.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::FileExt as _;

use similar::TextDiff;

use super::place::Place;
use super::record::{Gone, Pre, Record, State};
use super::seal::{Before, Paths};
use super::{Journal, JournalError};
use crate::limits;

/// Lines of each side that are compared: finding the shortest difference of more takes too long.
const LINES_MAX: usize = 5_000;

/// A path that is no longer what the step left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The guest path.
    pub(crate) path: String,
    /// What is the matter: lower case, no final period.
    pub(crate) what: String,
    /// Whether nothing is there any more: undoing destroys nothing of anybody's.
    pub(crate) is_gone: bool,
    /// From what is there now to what undoing would restore, line by line, where both are text.
    pub(crate) diff: Option<String>,
}

impl Journal {
    /// The paths that are no longer what the step left. Empty for a step that did not complete: nobody was to touch anything then.
    ///
    /// # Errors
    ///
    /// [`JournalError`] where a path or a pre-image cannot be read.
    pub(crate) fn conflicts(&self) -> Result<Vec<Conflict>, JournalError> {
        self.conflicts_but(&mut BTreeSet::new(), &mut limits::CONFLICT_WORK_MAX.clone())
    }

    /// The conflicts of undoing several steps of one run, the last one first. What a later one touched was looked at with it.
    ///
    /// # Errors
    ///
    /// As [`Self::conflicts`].
    pub(crate) fn conflicts_of<'j>(steps: impl IntoIterator<Item = &'j Self>) -> Result<Vec<Conflict>, JournalError> {
        let (mut seen, mut room) = (BTreeSet::new(), limits::CONFLICT_WORK_MAX);
        let mut conflicts = Vec::new();
        for step in steps {
            conflicts.extend(step.conflicts_but(&mut seen, &mut room)?);
        }
        Ok(conflicts)
    }

    /// `room` is the work that finding differences may still take.
    fn conflicts_but(
        &self,
        seen: &mut BTreeSet<std::path::PathBuf>,
        room: &mut usize,
    ) -> Result<Vec<Conflict>, JournalError> {
        let mut conflicts = Vec::new();
        if !self.is_sealed() || self.is_undone() {
            return Ok(conflicts);
        }
        // What undoing has begun to put back is no conflict with itself.
        let is_begun = self.is_undone_in_part();
        let paths = self.paths();
        let mut own = Vec::new();
        for (at, was) in self.states() {
            // By their paths on the host: another step may have had other directories.
            let host = self.roots.0.get(usize::try_from(at.root).unwrap_or(usize::MAX));
            let host = host.map(|root| root.host.join(&at.path)).unwrap_or_default();
            let is_seen = host.ancestors().any(|above| seen.contains(above));
            own.push(host);
            if is_seen || is_begun {
                continue;
            }
            let now = self.roots.state(at, None).map_err(|error| self.unread(at, error))?;
            if now != *was {
                conflicts.push(self.conflict(&paths, at, (was, &now), room)?);
            }
        }
        seen.extend(own);
        Ok(conflicts)
    }

    fn conflict(
        &self,
        paths: &Paths,
        at: &Place,
        (was, now): (&State, &State),
        room: &mut usize,
    ) -> Result<Conflict, JournalError> {
        let what = match (was, now) {
            (State::Absent, _) => "something is there since",
            (_, State::Absent) => "it was removed since",
            (State::File { len, sha256, .. }, State::File { len: now, sha256: other, .. })
                if (len, sha256) == (now, other) =>
            {
                "its mode was changed since"
            }
            (State::File { .. }, State::File { .. }) => "it was changed since",
            (State::Folder { .. }, State::Folder { .. }) => "its mode was changed since",
            (State::Link { .. }, State::Link { .. }) => "it leads somewhere else since",
            _ => "it is something else since",
        };
        let path = self.roots.guest(at);
        let texts = if *room == 0 {
            None
        } else {
            let there = self.text_now(at, now).map_err(|error| self.unread(at, error))?;
            there.zip(self.text_restored(paths, at)?)
        };
        let diff = texts.and_then(|(there, restored)| {
            let work = there.lines().count().saturating_mul(restored.lines().count());
            *room = room.saturating_sub(work.max(1));
            difference(&path, &there, &restored)
        });
        Ok(Conflict { path, what: what.to_owned(), is_gone: *now == State::Absent, diff })
    }

    /// The text that is there now, `None` where it is none.
    fn text_now(&self, at: &Place, now: &State) -> io::Result<Option<String>> {
        let State::File { len, .. } = now else { return Ok(Some(String::new()).filter(|_| *now == State::Absent)) };
        let Some(root) = self.roots.handle(at) else { return Ok(None) };
        let Some((folder, name)) = super::place::below(root, &at.path)? else { return Ok(None) };
        let flags = rustix::fs::OFlags::RDONLY
            | rustix::fs::OFlags::NOFOLLOW
            | rustix::fs::OFlags::CLOEXEC
            | rustix::fs::OFlags::NONBLOCK;
        let file = rustix::fs::openat(&folder, &name, flags, rustix::fs::Mode::empty())?;
        text(&file.into(), 0, *len)
    }

    /// The text that undoing would put there.
    fn text_restored(&self, paths: &Paths, at: &Place) -> Result<Option<String>, JournalError> {
        let Some(node) = paths.get(at) else { return Ok(None) };
        let record = match (node.content, node.before) {
            (Some(record), _) | (None, Some(Before::Was(Some(record)))) => record,
            (None, Some(Before::Absent)) => return Ok(Some(String::new())),
            _ => return Ok(None),
        };
        let (pre, len): (Pre, u64) = match self.records.get(record) {
            Some(Record::Content { pre, len, .. } | Record::Removed { gone: Gone::File { pre, len, .. }, .. }) => {
                (*pre, *len)
            }
            _ => return Ok(None),
        };
        let read = self.pre_image(pre).and_then(|(file, offset)| text(&file, offset, len));
        read.map_err(|source| self.failed("read", source))
    }
}

/// A part of a file if it is text of a size that is compared.
fn text(file: &std::fs::File, offset: u64, len: u64) -> io::Result<Option<String>> {
    if len > limits::CONFLICT_TEXT_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_exact_at(&mut bytes, offset)?;
    let text = String::from_utf8(bytes).ok();
    Ok(text.filter(|text| !text.contains('\0') && text.lines().count() <= LINES_MAX))
}

fn difference(path: &str, now: &str, restored: &str) -> Option<String> {
    let diff = TextDiff::from_lines(now, restored);
    let mut text = diff.unified_diff().header(path, &format!("{path} (restored)")).to_string();
    if text.len() > limits::CONFLICT_DIFF_BYTES_MAX {
        let cut = text.floor_char_boundary(limits::CONFLICT_DIFF_BYTES_MAX);
        text.truncate(cut);
        text.push_str("\n…\n");
    }
    (!text.is_empty()).then_some(text)
}
