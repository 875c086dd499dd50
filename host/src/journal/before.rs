//! What is noted before a change is made.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use super::place::{Inode, Kind, Meta, Place, Spot};
use super::record::{Gone, Pre, Record, Times};
use super::{Journal, JournalError};

/// A path below an open directory, as a guest names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    /// The open directory.
    pub(crate) folder: &'a File,
    /// The path from it.
    pub(crate) path: &'a OsStr,
}

/// A change that is about to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    /// A file is opened so that it can be written to.
    Open {
        /// The file.
        at: At<'a>,
        /// Whether a link at the end is followed.
        follow: bool,
        /// Whether it is made where it is not there.
        create: bool,
        /// Whether it must not be there.
        exclusive: bool,
    },
    /// A directory, a symbolic link or a hard link is made.
    Make(At<'a>),
    /// A file or link is removed.
    Unlink(At<'a>),
    /// A directory is removed.
    RemoveFolder(At<'a>),
    /// Something is renamed.
    Rename {
        /// What.
        from: At<'a>,
        /// To what.
        to: At<'a>,
    },
    /// Times of something open are set.
    SetTimes(&'a File),
    /// Times of something are set.
    SetTimesAt {
        /// What.
        at: At<'a>,
        /// Whether a link at the end is followed.
        follow: bool,
    },
}

/// What was noted for one change.
#[derive(Debug, Default)]
#[must_use = "a change that was refused has to be struck out"]
pub(crate) struct Ticket {
    /// Records to strike out if the change is not made.
    records: std::ops::Range<usize>,
    /// A file is being made.
    pub(crate) makes_file: bool,
    /// The file whose last name goes away: the machine may give what it knows it by to another.
    forget: Option<Inode>,
}

/// Records of one change that are not written yet.
#[derive(Default)]
struct Draft {
    /// What stays even if the change is refused.
    times: Vec<Record>,
    records: Vec<Record>,
    bytes: Vec<u8>,
    timed: Vec<Inode>,
    saved: Option<Inode>,
    held: Option<Inode>,
    ticket: Ticket,
}

impl Journal {
    /// Makes durable what it takes to reverse `change`. What the call itself will refuse is not noted.
    ///
    /// # Errors
    ///
    /// The change must then not be made.
    pub(crate) fn before(&mut self, change: Change<'_>) -> Result<Ticket, JournalError> {
        let mut draft = Draft::default();
        match change {
            Change::Open { at, follow, create, exclusive } => {
                let follow = (follow || at.path.as_encoded_bytes().ends_with(b"/")) && !exclusive;
                if let Some(spot) = self.spot(at, follow)? {
                    self.before_open(&spot, create, exclusive, &mut draft)?;
                }
            }
            Change::Make(at) => {
                if let Some(spot @ Spot { meta: None, .. }) = self.spot(at, false)? {
                    self.creation(&spot, &mut draft)?;
                }
            }
            Change::Unlink(at) => {
                if let Some(spot) = self.spot(at, false)?
                    && let Some(meta) = spot.meta.filter(|meta| meta.kind != Kind::Folder)
                {
                    self.remove(&spot, &meta, &mut draft)?;
                }
            }
            Change::RemoveFolder(at) => {
                if let Some(spot) = self.spot(at, false)?
                    && let Some(meta) = spot.meta.filter(|meta| meta.kind == Kind::Folder)
                {
                    self.remove(&spot, &meta, &mut draft)?;
                }
            }
            Change::Rename { from, to } => {
                if let (Some(from), Some(to)) = (self.spot(from, false)?, self.spot(to, false)?) {
                    self.rename(&from, &to, &mut draft)?;
                }
            }
            Change::SetTimes(handle) => {
                let unsaved = |source: Errno| unsaved(String::new(), source.into());
                if let Some(at) = self.roots.place_of(handle).map_err(unsaved)? {
                    let meta = Meta::of(handle).map_err(unsaved)?;
                    self.times(at, &meta, true, &mut draft);
                }
            }
            Change::SetTimesAt { at, follow } => {
                let follow = follow || at.path.as_encoded_bytes().ends_with(b"/");
                if let Some(Spot { at, meta: Some(meta), .. }) = self.spot(at, follow)? {
                    self.times(at, &meta, true, &mut draft);
                }
            }
        }
        self.write(draft)
    }

    /// The end of a change: where it was refused, what was noted for it is struck out, so that undoing cannot take something else for it.
    /// `made` is the file that it made.
    ///
    /// # Errors
    ///
    /// [`JournalError::Io`].
    pub(crate) fn after(&mut self, ticket: Ticket, done: bool, made: Option<&File>) -> Result<(), JournalError> {
        if done {
            if let Some(inode) = ticket.forget {
                self.saved.remove(&inode);
                self.timed.remove(&inode);
            }
            if ticket.makes_file
                && let Some(made) = made.and_then(|made| Meta::of(made).ok())
            {
                self.saved.insert(made.inode);
            }
            return Ok(());
        }
        if ticket.records.is_empty() {
            return Ok(());
        }
        let struck = self.records.get(ticket.records.clone()).unwrap_or_default();
        let held: Vec<(u32, Inode)> = struck.iter().filter_map(held_in).collect();
        let refused = |record| Some(Record::Refused { record: u32::try_from(record).ok()? });
        // Not synced: until it is durable, undoing sees that the change was not made.
        self.append_unsynced(&mut ticket.records.filter_map(refused).collect(), &[])?;
        for (n, inode) in held {
            self.discard(n).map_err(|source| self.failed("written", source))?;
            self.release(inode);
        }
        Ok(())
    }

    pub(super) fn release(&mut self, inode: Inode) {
        if let Some(count) = self.held.get_mut(&inode) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.held.remove(&inode);
            }
        }
    }

    fn spot(&self, at: At<'_>, follow: bool) -> Result<Option<Spot>, JournalError> {
        let resolved = self.roots.resolve(at.folder, at.path, follow);
        resolved.map_err(|error| unsaved(at.path.to_string_lossy().into_owned(), error.into()))
    }

    fn before_open(
        &mut self,
        spot: &Spot,
        create: bool,
        exclusive: bool,
        draft: &mut Draft,
    ) -> Result<(), JournalError> {
        match spot.meta {
            None if create => {
                self.creation(spot, draft)?;
                draft.ticket.makes_file = true;
            }
            Some(meta) if meta.kind == Kind::File && !exclusive && !self.saved.contains(&meta.inode) => {
                let pre = self.save(spot, &meta, false, &mut draft.bytes)?;
                let times = Times::from(&meta);
                let at = spot.at.clone();
                // Stays if the call is refused: the file is then as it was saved.
                draft.times.push(Record::Content { at, pre, len: meta.len, mode: meta.mode, times });
                draft.saved = Some(meta.inode);
                draft.timed.push(meta.inode);
            }
            _ => {}
        }
        Ok(())
    }

    fn creation(&self, spot: &Spot, draft: &mut Draft) -> Result<(), JournalError> {
        self.lets_go(spot)?;
        self.folder_times(spot, draft)?;
        draft.records.push(Record::Created { at: spot.at.clone() });
        Ok(())
    }

    fn remove(&mut self, spot: &Spot, meta: &Meta, draft: &mut Draft) -> Result<(), JournalError> {
        let Some(name) = &spot.name else { return Ok(()) };
        self.folder_times(spot, draft)?;
        let times = Times::from(meta);
        let gone = match meta.kind {
            Kind::Folder => Gone::Folder { mode: meta.mode, times },
            Kind::Link => {
                let target = readlinkat(&spot.folder, name, Vec::new());
                let target = target.map_err(|error| self.unsaved_at(&spot.at, error.into()))?;
                let target = std::os::unix::ffi::OsStringExt::from_vec(target.into_bytes());
                Gone::Link { target: std::ffi::OsString::into(target), times }
            }
            Kind::File | Kind::Special => {
                self.readable(spot, meta)?;
                if meta.links <= 1 + self.held(meta.inode) {
                    draft.ticket.forget = Some(meta.inode);
                }
                if self.made(meta.inode) {
                    // Made by this step: it is not there before.
                    return Ok(());
                }
                let pre = self.save(spot, meta, true, &mut draft.bytes)?;
                if let Pre::Held { inode, .. } = pre {
                    draft.held = Some(inode);
                    draft.ticket.forget = None;
                }
                Gone::File { pre, len: meta.len, mode: meta.mode, times }
            }
        };
        draft.records.push(Record::Removed { at: spot.at.clone(), gone });
        Ok(())
    }

    fn rename(&mut self, from: &Spot, to: &Spot, draft: &mut Draft) -> Result<(), JournalError> {
        let Some(moved) = from.meta else { return Ok(()) };
        if from.name.is_none() || to.name.is_none() || to.meta.is_some_and(|to| to.inode == moved.inode) {
            // Refused, or nothing is done.
            return Ok(());
        }
        self.readable(from, &moved)?;
        self.lets_go(to)?;
        self.folder_times(from, draft)?;
        if let Some(replaced) = to.meta {
            self.remove(to, &replaced, draft)?;
        } else {
            self.folder_times(to, draft)?;
        }
        if moved.kind == Kind::Folder {
            // What is the entry of its parent in it may count as a change of it.
            self.times(from.at.clone(), &moved, false, draft);
        }
        draft.records.push(Record::Renamed { from: from.at.clone(), to: to.at.clone() });
        Ok(())
    }

    /// Refuses what nobody could say of later whether it still is what the step left: a file that may not be read.
    fn readable(&self, spot: &Spot, meta: &Meta) -> Result<(), JournalError> {
        let (Some(name), Kind::File) = (&spot.name, meta.kind) else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&spot.folder, name, flags, Mode::empty());
        opened.map(drop).map_err(|error| self.unsaved_at(&spot.at, error.into()))
    }

    /// Refuses to put something where it could not be taken from again: a directory to which one may only add.
    fn lets_go(&self, spot: &Spot) -> Result<(), JournalError> {
        if spot.name.is_some() && is_append_only(&spot.folder) {
            return Err(self.unsaved_at(&spot.at, Errno::PERM.into()));
        }
        Ok(())
    }

    /// Notes the times of the directory that an entry is made in or taken from.
    fn folder_times(&self, spot: &Spot, draft: &mut Draft) -> Result<(), JournalError> {
        let Some(at) = spot.at.parent() else { return Ok(()) };
        let meta = Meta::of(&spot.folder).map_err(|error| self.unsaved_at(&at, error.into()))?;
        self.times(at, &meta, false, draft);
        Ok(())
    }

    fn times(&self, at: Place, meta: &Meta, asked: bool, draft: &mut Draft) {
        let known = self.timed.contains(&meta.inode) || self.saved.contains(&meta.inode);
        if (!known && !draft.timed.contains(&meta.inode)) || (asked && !self.made(meta.inode)) {
            draft.times.push(Record::Times { at, times: Times::from(meta), asked });
            draft.timed.push(meta.inode);
        }
    }

    fn unsaved_at(&self, at: &Place, source: io::Error) -> JournalError {
        unsaved(self.roots.guest(at), source)
    }

    /// Whether the step made that file.
    fn made(&self, inode: Inode) -> bool {
        self.saved.contains(&inode) && !self.timed.contains(&inode)
    }

    fn write(&mut self, draft: Draft) -> Result<Ticket, JournalError> {
        let Draft { times, records, bytes, timed, saved, held, mut ticket } = draft;
        let more = times.len() + records.len();
        if more == 0 {
            return Ok(ticket);
        }
        // Each may be struck out or undone, which is a record more.
        if self.records.len() + more > self.bounds.records {
            return Err(JournalError::Full { what: "records", allowed: self.bounds.records as u64 });
        }
        let first = self.records.len() + times.len();
        ticket.records = first..first + records.len();
        self.seen.wrote(&times);
        self.seen.wrote(&records);
        self.append(times.into_iter().chain(records).collect(), &bytes)?;
        self.timed.extend(timed);
        self.saved.extend(saved);
        if let Some(inode) = held {
            *self.held.entry(inode).or_default() += 1;
        }
        Ok(ticket)
    }
}

/// Whether one may only add to a directory (`chattr +a`).
#[cfg(target_os = "linux")]
fn is_append_only(folder: &OwnedFd) -> bool {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::empty())
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::APPEND))
}

#[cfg(not(target_os = "linux"))]
const fn is_append_only(_folder: &OwnedFd) -> bool {
    false
}

pub(super) fn unsaved(path: String, source: io::Error) -> JournalError {
    JournalError::Unsaved { path, source }
}

/// The held file of a record.
pub(super) fn held_in(record: &Record) -> Option<(u32, Inode)> {
    match record {
        Record::Removed { gone: Gone::File { pre: Pre::Held { n, inode }, .. }, .. } => Some((*n, *inode)),
        _ => None,
    }
}
