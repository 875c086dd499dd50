//! Puts back what a step changed: the inverse of each record, last one first.
//!
//! Each inverse does nothing where its change was not made or is reversed already, so that an interrupted one is simply done again. That is
//! not true of those after it (what was removed because it was created may be there again under its old name), so the progress is noted
//! after each.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Mode, OFlags, SeekFrom, Timespec, Timestamps, fchmod, fsync, futimens, linkat, mkdirat, openat, renameat,
    seek, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::place::{Kind, Meta, Place, below};
use super::record::{Gone, Pre, Record, Times};
use super::seal::digest;
use super::{At, Change, Journal, JournalError};
use crate::durability::Durability;

/// How often what the system refuses to put back is tried: again when everything else is back, and once more where that took a part.
const PASSES_MAX: usize = 3;

/// What is read and written at one time.
const PIECE_BYTES: usize = 1 << 20;

/// What undoing did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Undone {
    /// How many records were reversed.
    pub(crate) records: usize,
    /// Guest paths of directories that the step made and that hold something that it did not make: they stay.
    pub(crate) kept: Vec<String>,
}

/// Records that could not be undone: what has to do with them waits.
#[derive(Default)]
struct InTheWay {
    places: Vec<Place>,
    /// Why the first of them could not be.
    why: Option<JournalError>,
}

impl InTheWay {
    fn add(&mut self, record: &Record, why: Option<JournalError>) {
        // Nothing waits for the times of a directory, which wait for what is in it.
        if !matches!(record, Record::Times { .. }) {
            self.places.extend(record.places().cloned());
        }
        self.why = self.why.take().or(why);
    }

    fn concerns(&self, record: &Record) -> bool {
        let overlap = |one: &Place, other: &Place| {
            one.root == other.root && (one.path.starts_with(&other.path) || other.path.starts_with(&one.path))
        };
        record.places().any(|place| self.places.iter().any(|other| overlap(place, other)))
    }
}

/// A file's content and what belongs to it.
struct Content<'a> {
    pre: Pre,
    len: u64,
    mode: u32,
    times: &'a Times,
}

impl Journal {
    /// Puts everything back as it was before the step. What that changes is noted in `into` first, where it is given, so that it can be
    /// undone in its turn.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; undoing again goes on where it stopped.
    pub(crate) fn undo(&mut self, into: Option<&mut Self>) -> Result<Undone, JournalError> {
        self.undo_at_most(usize::MAX, into)
    }

    /// [`Self::undo`], interrupted after some records.
    pub(crate) fn undo_at_most(&mut self, most: usize, mut into: Option<&mut Self>) -> Result<Undone, JournalError> {
        let (mut undone, mut failed) = (Undone::default(), None);
        // Nothing was written: nothing was changed, and nobody asks again.
        if self.is_undone() || self.end == 0 {
            return Ok(undone);
        }
        let (nothing, from) = self.progress();
        // From here on what differs from what the step left may be what undoing has put back, also where the first inverse is interrupted.
        if self.is_sealed() && !self.is_undone_in_part() {
            let from = u32::try_from(from).map_err(|_| self.failed("written", Errno::OVERFLOW.into()))?;
            self.progressed(Record::Undone { from })?;
        }
        let mut left: Vec<usize> = (0..from).rev().filter(|index| !nothing.contains(index)).collect();
        // What the system refuses now it may allow once the rest is back: room on a disk, a directory to put it into.
        for _ in 0..PASSES_MAX {
            let mut in_the_way = InTheWay::default();
            for index in std::mem::take(&mut left) {
                let Some(record) = self.records.get(index).filter(|record| record.is_change()).cloned() else {
                    continue;
                };
                if undone.records >= most {
                    return Ok(undone);
                }
                if in_the_way.concerns(&record) {
                    in_the_way.add(&record, None);
                    left.push(index);
                    continue;
                }
                match self.invert(&record, index, into.as_deref_mut()) {
                    Ok(kept) => undone.kept.extend(kept),
                    Err(error @ JournalError::Unrestored { .. }) => {
                        in_the_way.add(&record, Some(error));
                        left.push(index);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                let done = u32::try_from(index).map_err(|_| self.failed("written", Errno::OVERFLOW.into()))?;
                // Records in between that wait are not done.
                let done = match left.is_empty() {
                    true => Record::Undone { from: done },
                    false => Record::PutBack { record: done },
                };
                self.progressed(done)?;
                undone.records += 1;
            }
            match in_the_way.why {
                None => break,
                Some(error) => failed = Some(error),
            }
        }
        if let (Some(error), false) = (failed, left.is_empty()) {
            return Err(error);
        }
        self.progressed(Record::Reverted)?;
        for n in self.pre_images() {
            // What stays is found by its name and goes with the run.
            drop(self.discard(n));
        }
        self.held.clear();
        Ok(undone)
    }

    /// Notes how far undoing has come. It is asked for twice: where it is not noted, what was put back must not be done again.
    fn progressed(&mut self, record: Record) -> Result<(), JournalError> {
        self.append(vec![record.clone()], &[]).or_else(|_| self.append(vec![record], &[]))
    }

    /// Whether it was undone wholly.
    pub(crate) fn is_undone(&self) -> bool {
        self.records.contains(&Record::Reverted)
    }

    /// Whether undoing was begun: what it has put back is then no conflict.
    pub(crate) fn is_undone_in_part(&self) -> bool {
        self.records.iter().any(|record| matches!(record, Record::Undone { .. } | Record::PutBack { .. }))
    }

    /// The records whose change was not made.
    pub(super) fn refused(&self) -> BTreeSet<usize> {
        let refused = |record: &Record| match record {
            Record::Refused { record } => usize::try_from(*record).ok(),
            _ => None,
        };
        self.records.iter().filter_map(refused).collect()
    }

    /// The records of which there is nothing to undo, and the first of those that are undone with all behind them.
    fn progress(&self) -> (BTreeSet<usize>, usize) {
        let (mut nothing, mut first) = (BTreeSet::new(), self.records.len());
        for record in &self.records {
            match record {
                Record::Refused { record } | Record::PutBack { record } => nothing.extend(usize::try_from(*record)),
                Record::Undone { from } => first = first.min(usize::try_from(*from).unwrap_or(first)),
                _ => {}
            }
        }
        (nothing, first)
    }

    /// The numbers of all pre-images beside the records.
    fn pre_images(&self) -> Vec<u32> {
        let number = |record: &Record| match record {
            Record::Content { pre: Pre::Copy { n } | Pre::Held { n, .. }, .. }
            | Record::Removed { gone: Gone::File { pre: Pre::Copy { n } | Pre::Held { n, .. }, .. }, .. } => Some(*n),
            _ => None,
        };
        self.records.iter().filter_map(number).collect()
    }

    fn root(&self, at: &Place) -> Result<Arc<File>, JournalError> {
        let root = usize::try_from(at.root).ok().and_then(|root| self.roots.0.get(root));
        let gone = || JournalError::Unknown { path: self.path.clone() };
        root.map(|root| Arc::clone(&root.handle)).ok_or_else(gone)
    }

    /// Reverses one record. Gives the guest path of a directory that had to stay.
    fn invert(&self, record: &Record, index: usize, into: Option<&mut Self>) -> Result<Option<String>, JournalError> {
        let (at, to) = match record {
            Record::Created { at }
            | Record::Content { at, .. }
            | Record::Removed { at, .. }
            | Record::Times { at, .. } => (at, None),
            Record::Renamed { from, to } => (from, Some(to)),
            _ => return Ok(None),
        };
        let unrestored = |source: io::Error| JournalError::Unrestored { path: self.roots.guest(at), source };
        let root = self.root(at)?;
        let mut scene = Scene { journal: self, root: &root, at, index, into };
        let done = match (record, to) {
            (Record::Created { .. }, _) => scene.remove(),
            (Record::Content { pre, len, mode, times, .. }, _) => {
                scene.rewrite(&Content { pre: *pre, len: *len, mode: *mode, times }).map(|()| None)
            }
            (Record::Removed { gone, .. }, _) => scene.restore(gone).map(|()| None),
            (_, Some(to)) => {
                let root = self.root(to)?;
                scene.rename_back(&root, to).map(|()| None)
            }
            (Record::Times { times, .. }, _) => scene.retime(times).map(|()| None),
            _ => Ok(None),
        };
        done.map_err(|failure| match failure {
            Failure::Here(source) => unrestored(source),
            Failure::There(error) => error,
        })
    }
}

impl Record {
    /// The places that it is about.
    fn places(&self) -> impl Iterator<Item = &Place> {
        let places = match self {
            Self::Created { at } | Self::Content { at, .. } | Self::Removed { at, .. } | Self::Times { at, .. } => {
                [Some(at), None]
            }
            Self::Renamed { from, to } => [Some(from), Some(to)],
            _ => [None, None],
        };
        places.into_iter().flatten()
    }

    /// Whether it stands for a change.
    pub(super) const fn is_change(&self) -> bool {
        matches!(
            self,
            Self::Created { .. }
                | Self::Content { .. }
                | Self::Removed { .. }
                | Self::Renamed { .. }
                | Self::Times { .. }
        )
    }
}

/// Why an inverse was not done.
enum Failure {
    /// The file system refused.
    Here(io::Error),
    /// The journal that undoing is noted in refused.
    There(JournalError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Here(error)
    }
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::Here(error.into())
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        Self::There(error)
    }
}

type Done<T = ()> = Result<T, Failure>;

/// One inverse being done.
struct Scene<'a> {
    journal: &'a Journal,
    root: &'a File,
    at: &'a Place,
    index: usize,
    into: Option<&'a mut Journal>,
}

impl Scene<'_> {
    /// Notes what is about to be done.
    fn note(&mut self, change: Change<'_>) -> Done {
        if let Some(into) = &mut self.into {
            let _noted = into.before(change)?;
        }
        Ok(())
    }

    /// The entry and what is there.
    fn entry(&self) -> Done<Option<(OwnedFd, OsString, Option<Meta>)>> {
        let Some((folder, name)) = below(self.root, &self.at.path)? else { return Ok(None) };
        let meta = Meta::at(&folder, &name)?;
        Ok(Some((folder, name, meta)))
    }

    /// Removes what was created. Gives its guest path if it is a directory with something in it.
    fn remove(&mut self) -> Done<Option<String>> {
        let Some((folder, name, Some(meta))) = self.entry()? else { return Ok(None) };
        let (root, at) = (self.root, self.at);
        let here = At { folder: root, path: at.path.as_os_str() };
        let flags = if meta.kind == Kind::Folder {
            self.note(Change::RemoveFolder(here))?;
            AtFlags::REMOVEDIR
        } else {
            self.note(Change::Unlink(here))?;
            AtFlags::empty()
        };
        match unlinkat(&folder, &name, flags) {
            Ok(()) | Err(Errno::NOENT) => self.sync_folder(&folder)?,
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Some(self.journal.roots.guest(self.at))),
            Err(error) => return Err(error.into()),
        }
        Ok(None)
    }

    /// Writes the content of a file back in its place, so that its other names see it too.
    fn rewrite(&mut self, content: &Content<'_>) -> Done {
        let Some((folder, name, meta)) = self.entry()? else { return Err(Errno::NOENT.into()) };
        match meta.map(|meta| meta.kind) {
            None => return self.renew(&folder, &name, content),
            Some(Kind::File) => {}
            Some(_) => return Err(io::Error::other("something else took its place").into()),
        }
        let (root, at) = (self.root, self.at);
        let here = At { folder: root, path: at.path.as_os_str() };
        self.note(Change::Open { at: here, follow: false, create: false, exclusive: false })?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&folder, &name, flags, Mode::empty()) {
            Ok(file) => self.fill(&File::from(file), content),
            // What the system does not let us write to, it did not let the step write to.
            Err(error) if is_forbidden(error) && self.is_as_saved(&folder, &name, content)? => {
                set_times(&folder, &name, content.times)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a file has the content that was saved of it.
    fn is_as_saved(&self, folder: &OwnedFd, name: &OsStr, content: &Content<'_>) -> Done<bool> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(folder, name, flags, Mode::empty())?);
        let meta = Meta::of(&file)?;
        if (meta.kind, meta.len, meta.mode) != (Kind::File, content.len, content.mode) {
            return Ok(false);
        }
        let (pre, offset) = self.journal.pre_image(content.pre)?;
        Ok(digest(&file, 0, content.len)? == digest(&pre, offset, content.len)?)
    }

    /// Makes a file that is not there any more, whole or not at all.
    fn renew(&mut self, folder: &OwnedFd, name: &OsStr, content: &Content<'_>) -> Done {
        let at = self.at.clone();
        let made = self.beside(folder, |scene, temporary| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = File::from(openat(folder, temporary, flags, Mode::RUSR | Mode::WUSR)?);
            scene.fill(&file, content)
        })?;
        self.note_made(&at)?;
        self.put(folder, &made, name)
    }

    /// Makes something under a name of our own in the directory, where an interrupted attempt may have left one.
    fn beside(&mut self, folder: &OwnedFd, make: impl FnOnce(&Self, &OsStr) -> Done) -> Done<OsString> {
        let name = OsString::from(format!(".skillhost-undo-{}", self.index));
        let temporary = Place { root: self.at.root, path: self.at.path.with_file_name(&name) };
        for flags in [AtFlags::empty(), AtFlags::REMOVEDIR] {
            match unlinkat(folder, &name, flags) {
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR | Errno::NOTDIR | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.note_made(&temporary)?;
        make(self, &name)?;
        Ok(name)
    }

    fn note_made(&mut self, at: &Place) -> Done {
        let root = self.root;
        self.note(Change::Make(At { folder: root, path: at.path.as_os_str() }))
    }

    fn put(&self, folder: &OwnedFd, from: &OsStr, to: &OsStr) -> Done {
        renameat(folder, from, folder, to)?;
        self.sync_folder(folder)
    }

    /// Gives an open file its content, mode and times.
    fn fill(&self, file: &File, content: &Content<'_>) -> Done {
        let journal = self.journal;
        match content.pre {
            Pre::Inline { offset } => copy(journal.written()?, offset, file, content.len)?,
            Pre::Copy { n } | Pre::Held { n, .. } => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let pre = File::from(openat(&*journal.handle, journal.pre_name(n), flags, Mode::empty())?);
                copy(&pre, 0, file, content.len)?;
            }
        }
        let meta = Meta::of(file)?;
        if meta.mode != content.mode {
            fchmod(file, mode(content.mode))?;
        }
        as_owner(|| futimens(file, &timestamps(content.times)))?;
        if journal.durability == Durability::Full {
            file.sync_all()?;
        }
        Ok(())
    }

    /// Brings back what was removed.
    fn restore(&mut self, gone: &Gone) -> Done {
        let Some((folder, name, None)) = self.entry()? else {
            // It is there: nothing was removed, or it is back. Without its directory there is nowhere to put it.
            return match below(self.root, &self.at.path)? {
                Some(_) => Ok(()),
                None => Err(Errno::NOENT.into()),
            };
        };
        let at = self.at.clone();
        match gone {
            Gone::File { pre: Pre::Held { n, inode }, len, mode, times } => {
                let held = Meta::at(&*self.journal.handle, &self.journal.pre_name(*n))?.ok_or(Errno::NOENT)?;
                if held.inode == *inode {
                    self.note_made(&at)?;
                    renameat(&*self.journal.handle, self.journal.pre_name(*n), &folder, &name)?;
                    utimensat(&folder, &name, &timestamps(times), AtFlags::SYMLINK_NOFOLLOW)?;
                    return self.sync_folder(&folder);
                }
                let content = Content { pre: Pre::Copy { n: *n }, len: *len, mode: *mode, times };
                if let Some(other) = self.journal.other_name(self.root, *inode)? {
                    // It has other names still: it becomes one of them again.
                    if let Some((other_folder, other_name)) = below(self.root, &other)? {
                        self.note_made(&at)?;
                        linkat(&other_folder, &other_name, &folder, &name, AtFlags::empty())?;
                        return self.sync_folder(&folder);
                    }
                }
                self.renew(&folder, &name, &content)
            }
            Gone::File { pre, len, mode, times } => {
                self.renew(&folder, &name, &Content { pre: *pre, len: *len, mode: *mode, times })
            }
            Gone::Link { target, times } => {
                let made = self.beside(&folder, |_, temporary| {
                    symlinkat(target, &folder, temporary)?;
                    Ok(utimensat(&folder, temporary, &timestamps(times), AtFlags::SYMLINK_NOFOLLOW)?)
                })?;
                self.note_made(&at)?;
                self.put(&folder, &made, &name)
            }
            Gone::Folder { mode: bits, times } => {
                let made = self.beside(&folder, |_, temporary| {
                    mkdirat(&folder, temporary, Mode::RWXU)?;
                    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let opened = openat(&folder, temporary, flags, Mode::empty())?;
                    fchmod(&opened, mode(*bits))?;
                    Ok(futimens(&opened, &timestamps(times))?)
                })?;
                self.note_made(&at)?;
                self.put(&folder, &made, &name)
            }
        }
    }

    /// Renames back what was renamed.
    fn rename_back(&mut self, root: &File, to: &Place) -> Done {
        let Some((folder, name, None)) = self.entry()? else { return Ok(()) };
        let Some((now_in, now)) = below(root, &to.path)? else { return Ok(()) };
        if Meta::at(&now_in, &now)?.is_none() {
            return Ok(());
        }
        let from = At { folder: root, path: to.path.as_os_str() };
        let (own, at) = (self.root, self.at);
        self.note(Change::Rename { from, to: At { folder: own, path: at.path.as_os_str() } })?;
        renameat(&now_in, &now, &folder, &name)?;
        self.sync_folder(&now_in)?;
        self.sync_folder(&folder)
    }

    fn retime(&mut self, times: &Times) -> Done {
        if self.at.path.as_os_str().is_empty() {
            let root = self.root;
            self.note(Change::SetTimes(root))?;
            // The handle need not be open for reading or writing.
            return set_times(root, OsStr::new("."), times);
        }
        let Some((folder, name, Some(_))) = self.entry()? else { return Ok(()) };
        if self.into.is_some() {
            let (root, at) = (self.root, self.at);
            let at = At { folder: root, path: at.path.as_os_str() };
            self.note(Change::SetTimesAt { at, follow: false })?;
        }
        set_times(&folder, &name, times)
    }

    fn sync_folder(&self, folder: impl AsFd) -> Done {
        if self.journal.durability == Durability::Full {
            // What it was found by need not be open for reading.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match openat(folder, ".", flags, Mode::empty()) {
                Ok(folder) => fsync(folder)?,
                // One that may be entered and not read cannot be synced by itself.
                Err(Errno::ACCESS) => rustix::fs::sync(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Whether the system says that a file is not to be written to.
const fn is_forbidden(error: Errno) -> bool {
    matches!(error, Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::TXTBSY)
}

/// Sets the times of an entry, not through a link.
fn set_times(folder: impl AsFd, name: &OsStr, times: &Times) -> Done {
    as_owner(|| utimensat(&folder, name, &timestamps(times), AtFlags::SYMLINK_NOFOLLOW))
}

/// Sets times. Those of what is somebody else's can be set by nobody but them: they stay, as they do where nothing can be changed and so
/// nothing has changed.
fn as_owner(set: impl Fn() -> rustix::io::Result<()>) -> Done {
    match set().or_else(|_| set()) {
        Ok(()) | Err(Errno::PERM | Errno::ROFS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

fn timestamps(times: &Times) -> Timestamps {
    let time = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
    Timestamps { last_access: time(times.accessed), last_modification: time(times.modified) }
}

/// Makes `to` have the `len` bytes of `from` at an offset, and no others.
pub(super) fn copy(from: &File, offset: u64, to: &File, len: u64) -> io::Result<()> {
    to.set_len(0)?;
    to.set_len(len)?;
    // Holes stay holes.
    pieces(from, offset, len, |at, piece| to.write_all_at(piece, at))
}

/// Hands over the parts of a file that are not all zeros, in pieces that begin at multiples of their size, each with its place behind
/// `offset`. Holes are not read: a guest makes a file of terabytes with one byte.
pub(super) fn pieces(
    from: &File,
    offset: u64,
    len: u64,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let whole = PIECE_BYTES as u64;
    let mut buffer = vec![0; PIECE_BYTES.min(usize::try_from(len).unwrap_or(PIECE_BYTES))];
    let mut at = 0;
    while at < len {
        match seek(from, SeekFrom::Data(offset + at)) {
            Ok(data) => at = (data.saturating_sub(offset) / whole * whole).max(at),
            Err(Errno::NXIO) => return Ok(()),
            // A file system that knows no holes.
            Err(_) => {}
        }
        if at >= len {
            return Ok(());
        }
        let wanted = usize::try_from(len - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        from.read_exact_at(piece, offset + at)?;
        if piece.iter().any(|byte| *byte != 0) {
            take(at, piece)?;
        }
        at += wanted as u64;
    }
    Ok(())
}
