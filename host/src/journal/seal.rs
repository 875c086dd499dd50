//! What a step left: noted when it has completed, for events, for a later undo and for those who ask whether it still is so.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, openat, readlinkat, renameat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::before::held_in;
use super::place::{Kind, Meta, Place, Roots, below, folder_below};
use super::record::{Gone, Pre, Record, State};
use super::restore::{copy, pieces};
use super::{Journal, JournalError};
use crate::durability::{Durability, sync_together};
use crate::id::Digest;

/// How many states are in one frame.
const STATES_IN_FRAME: usize = 500;
/// Files that are open at one time until they are synced.
const SYNCED_TOGETHER: usize = 64;

/// What stands for the digest of a file that may not be read: its length and its mode tell it apart.
const NOT_READ: Digest = Digest::from_bytes([0; 32]);

/// What became of one path, seen from before the step to after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathChange {
    /// The path below its granted directory.
    pub(crate) path: PathBuf,
    /// The path as the guest knows it.
    pub(crate) guest: String,
    /// What became of it.
    pub(crate) kind: ChangeKind,
    /// What is there now.
    pub(crate) state: State,
}

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// It is new.
    Created,
    /// Its content is another.
    Modified,
    /// It is gone.
    Removed,
    /// It was there under another guest path.
    Renamed {
        /// That path.
        from: String,
    },
    /// The guest set its times.
    Times,
}

/// What was at a path before the step, as far as the journal needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    Absent,
    /// What the record of that number saved; `None` for what was renamed away.
    Was(Option<usize>),
}

/// A path that the step touched, with those below it. What is renamed takes what is below with it.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// What was at this path.
    pub(super) before: Option<Before>,
    /// Where what is here now was before.
    from: Option<Place>,
    /// The record with the former content of what is here now.
    pub(super) content: Option<usize>,
    below: BTreeMap<OsString, Self>,
}

/// What a step has changed and what is not durable yet: it is made so together.
#[derive(Debug, Default)]
pub(super) struct Unsynced(Vec<File>);

impl Unsynced {
    /// Makes durable what there is where it is much.
    fn limit(&mut self) -> io::Result<()> {
        if self.0.len() < SYNCED_TOGETHER { Ok(()) } else { self.end() }
    }

    /// Makes durable what there is.
    fn end(&mut self) -> io::Result<()> {
        sync_together(&std::mem::take(&mut self.0))
    }
}

/// All paths that a step touched.
#[derive(Debug, Default)]
pub(super) struct Paths(BTreeMap<u32, Node>);

impl Paths {
    fn at(&mut self, place: &Place) -> &mut Node {
        let root = self.0.entry(place.root).or_default();
        place.path.iter().fold(root, |node, name| node.below.entry(name.to_owned()).or_default())
    }

    pub(super) fn get(&self, place: &Place) -> Option<&Node> {
        place.path.iter().try_fold(self.0.get(&place.root)?, |node, name| node.below.get(name))
    }

    /// Every path that was touched itself, in order.
    fn touched(&self) -> Vec<(Place, &Node)> {
        let mut found = Vec::new();
        let mut left: Vec<(Place, &Node)> =
            self.0.iter().map(|(root, node)| (Place { root: *root, path: PathBuf::new() }, node)).collect();
        while let Some((place, node)) = left.pop() {
            let deeper = |(name, node)| (Place { root: place.root, path: place.path.join(name) }, node);
            left.extend(node.below.iter().map(deeper));
            if node.before.is_some() {
                found.push((place, node));
            }
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found
    }

    fn rename(&mut self, from: &Place, to: &Place) {
        let moved = std::mem::take(self.at(from));
        let origin = match (moved.from, moved.before) {
            (Some(origin), _) => Some(origin),
            // Made by this step.
            (None, Some(Before::Absent)) => None,
            (None, _) => Some(from.clone()),
        };
        self.at(from).before = moved.before.or(Some(Before::Was(None)));
        let node = self.at(to);
        node.before = node.before.or(Some(Before::Absent));
        node.from = origin.filter(|origin| origin != to);
        node.content = moved.content;
        node.below = moved.below;
    }
}

impl Journal {
    /// Notes what the step left, durable: it has completed. Gives what changed.
    ///
    /// # Errors
    ///
    /// [`JournalError`]: the step has not completed then.
    pub(crate) fn seal(&mut self) -> Result<Vec<PathChange>, JournalError> {
        let places: Vec<Place> = self.paths().touched().into_iter().map(|(place, _)| place).collect();
        let is_full = self.durability == Durability::Full;
        let mut unsynced = Unsynced::default();
        let mut states = Vec::new();
        for at in places {
            let state =
                self.roots.state(&at, is_full.then_some(&mut unsynced)).map_err(|error| self.unread(&at, error))?;
            unsynced.limit().map_err(|error| self.unread(&at, error))?;
            states.push(Record::State { at, state });
        }
        // Where nothing came, went or was renamed a directory has nothing new.
        let folders = if is_full { self.entered() } else { BTreeSet::new() };
        for at in folders {
            let folder = self.folder(&at).map_err(|error| self.unread(&at, error.into()))?;
            unsynced.0.extend(folder);
            unsynced.limit().map_err(|error| self.unread(&at, error))?;
        }
        unsynced.end().map_err(|source| self.failed("synced", source))?;
        self.let_go()?;
        for states in states.chunks(STATES_IN_FRAME) {
            self.append_unsynced(&mut states.to_vec(), &[])?;
        }
        // Not synced: the trace says that the step completed, an undo without these asks nobody whether it may, and a run that would take
        // the step's result runs it again.
        let looked = self.looked()?;
        self.append_unsynced(
            &mut vec![Record::Looked { offset: 0, len: looked.len() as u64 }, Record::Sealed],
            &looked,
        )?;
        self.changes()
    }

    /// The directories in which something came to be, went away or was renamed.
    fn entered(&self) -> BTreeSet<Place> {
        let refused = self.refused();
        let made = self.records.iter().enumerate().filter(|(index, _)| !refused.contains(index));
        let places = made.flat_map(|(_, record)| match record {
            Record::Created { at } | Record::Removed { at, .. } => [Some(at), None],
            Record::Renamed { from, to } => [Some(from), Some(to)],
            _ => [None, None],
        });
        places.flatten().filter_map(Place::parent).collect()
    }

    /// Whether the step completed.
    pub(crate) fn is_sealed(&self) -> bool {
        self.records.contains(&Record::Sealed)
    }

    /// What the step changed, by path: what it left where it completed, what there is now where it did not.
    ///
    /// # Errors
    ///
    /// [`JournalError`] where a pre-image or a path cannot be read.
    pub(crate) fn changes(&self) -> Result<Vec<PathChange>, JournalError> {
        let paths = self.paths();
        let touched = paths.touched();
        let known = self.states();
        let mut now = Vec::with_capacity(touched.len());
        for (at, node) in touched {
            let state = match known.get(&at) {
                Some(state) => (*state).clone(),
                None => self.roots.state(&at, None).map_err(|error| self.unread(&at, error))?,
            };
            now.push((at, node, state));
        }
        let is_there = |state: &State| *state != State::Absent;
        let origins: BTreeSet<&Place> =
            now.iter().filter(|(_, _, state)| is_there(state)).filter_map(|(_, node, _)| node.from.as_ref()).collect();
        let mut changes = Vec::new();
        for (at, node, state) in &now {
            let kind = match (node.before, &node.from, is_there(state)) {
                (_, Some(from), true) => ChangeKind::Renamed { from: self.roots.guest(from) },
                (Some(Before::Was(_)), _, false) if !origins.contains(at) => ChangeKind::Removed,
                (_, _, false) => continue,
                (Some(Before::Was(Some(record))), None, true) => match self.same(record, state)? {
                    None => ChangeKind::Times,
                    Some(true) => continue,
                    Some(false) => ChangeKind::Modified,
                },
                (Some(Before::Was(None)), None, true) => ChangeKind::Modified,
                (_, None, true) => ChangeKind::Created,
            };
            let (path, guest) = (at.path.clone(), self.roots.guest(at));
            changes.push(PathChange { path, guest, kind, state: state.clone() });
        }
        Ok(changes)
    }

    /// The same paths on the host.
    pub(crate) fn touched_on_host(&self) -> Vec<PathBuf> {
        let host = |at: &Place| Some(self.roots.0.get(usize::try_from(at.root).ok()?)?.host.join(&at.path));
        self.paths().touched().iter().filter_map(|(at, _)| host(at)).collect()
    }

    /// The paths that the step touched.
    pub(super) fn paths(&self) -> Paths {
        let refused = self.refused();
        let mut paths = Paths::default();
        for (index, record) in self.records.iter().enumerate().filter(|(index, _)| !refused.contains(index)) {
            match record {
                Record::Created { at } => {
                    let node = paths.at(at);
                    node.before = node.before.or(Some(Before::Absent));
                    (node.from, node.content) = (None, None);
                }
                Record::Content { at, .. } => {
                    let node = paths.at(at);
                    node.before = node.before.or(Some(Before::Was(Some(index))));
                    node.content = node.content.or(Some(index));
                }
                Record::Removed { at, .. } => {
                    let node = paths.at(at);
                    node.before = node.before.or(Some(Before::Was(Some(index))));
                    (node.from, node.content) = (None, None);
                }
                Record::Times { at, asked: true, .. } => {
                    let node = paths.at(at);
                    node.before = node.before.or(Some(Before::Was(Some(index))));
                }
                Record::Renamed { from, to } => paths.rename(from, to),
                _ => {}
            }
        }
        paths
    }

    /// What was noted at the end of the step.
    pub(super) fn states(&self) -> BTreeMap<&Place, &State> {
        self.records.iter().filter_map(Record::state).collect()
    }

    /// Whether a state is the one that a record saved; `None` where the record is of times alone.
    fn same(&self, record: usize, state: &State) -> Result<Option<bool>, JournalError> {
        let same = match (self.records.get(record), state) {
            (Some(Record::Times { .. }), _) => return Ok(None),
            (
                Some(Record::Content { pre, len, .. } | Record::Removed { gone: Gone::File { pre, len, .. }, .. }),
                State::File { len: now, sha256, .. },
            ) => *sha256 != NOT_READ && len == now && self.pre_digest(*pre, *len)? == *sha256,
            (Some(Record::Removed { gone: Gone::Link { target, .. }, .. }), State::Link { target: now }) => {
                target == now
            }
            (Some(Record::Removed { gone: Gone::Folder { mode, .. }, .. }), State::Folder { mode: now }) => mode == now,
            _ => false,
        };
        Ok(Some(same))
    }

    /// The digest of a pre-image.
    pub(super) fn pre_digest(&self, pre: Pre, len: u64) -> Result<Digest, JournalError> {
        let digest = self.pre_image(pre).and_then(|(file, offset)| digest(&file, offset, len));
        digest.map_err(|source| self.failed("read", source))
    }

    /// The file that has a pre-image, and where it begins.
    pub(super) fn pre_image(&self, pre: Pre) -> io::Result<(File, u64)> {
        match pre {
            Pre::Inline { offset } => Ok((self.written()?.try_clone()?, offset)),
            Pre::Copy { n } | Pre::Held { n, .. } => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                Ok((openat(&*self.handle, self.pre_name(n), flags, Mode::empty())?.into(), 0))
            }
        }
    }

    /// Gives up the names of files that have others: later steps would count them. Their content is kept.
    fn let_go(&mut self) -> Result<(), JournalError> {
        let refused = self.refused();
        let held: Vec<u32> = self
            .records
            .iter()
            .enumerate()
            .filter(|(index, _)| !refused.contains(index))
            .filter_map(|(_, record)| held_in(record))
            .map(|(n, _)| n)
            .collect();
        for n in held {
            self.let_go_of(n).map_err(|source| self.failed("written", source))?;
        }
        self.held.clear();
        Ok(())
    }

    /// The file of the records, which those that have bytes are in.
    pub(super) fn written(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn let_go_of(&self, n: u32) -> io::Result<()> {
        let name = self.pre_name(n);
        let Some(meta) = Meta::at(&*self.handle, &name)? else { return Ok(()) };
        if meta.links <= 1 || meta.kind != Kind::File {
            return Ok(());
        }
        let (held, _) = self.pre_image(Pre::Copy { n })?;
        let mut new = name.clone();
        new.push(".new");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(&*self.handle, &new, flags, Mode::RUSR | Mode::WUSR)?);
        copy(&held, 0, &file, meta.len)?;
        if self.durability == Durability::Full {
            file.sync_all()?;
        }
        renameat(&*self.handle, &new, &*self.handle, &name)?;
        Ok(())
    }

    /// A directory that can be synced; `None` where it was removed since.
    fn folder(&self, at: &Place) -> Result<Option<File>, Errno> {
        let Some(root) = self.roots.handle(at) else { return Ok(None) };
        match folder_below(root, &at.path) {
            Ok(folder) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                match openat(&folder, ".", flags, Mode::empty()) {
                    Ok(folder) => Ok(Some(folder.into())),
                    // One that may be entered and not read cannot be synced by itself.
                    Err(Errno::ACCESS) => {
                        rustix::fs::sync();
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn unread(&self, at: &Place, source: io::Error) -> JournalError {
        JournalError::Unread { path: self.roots.guest(at), source }
    }
}

impl Record {
    const fn state(&self) -> Option<(&Place, &State)> {
        match self {
            Self::State { at, state } => Some((at, state)),
            _ => None,
        }
    }
}

impl Roots {
    pub(super) fn handle(&self, at: &Place) -> Option<&File> {
        let root = self.0.get(usize::try_from(at.root).ok()?)?;
        Some(&root.handle)
    }

    /// What is at a place; a file's content is added to what is to be made durable.
    pub(super) fn state(&self, at: &Place, unsynced: Option<&mut Unsynced>) -> io::Result<State> {
        let Some(root) = self.handle(at) else { return Ok(State::Absent) };
        if at.path.as_os_str().is_empty() {
            return Ok(State::Folder { mode: Meta::of(root)?.mode });
        }
        let Some((folder, name)) = below(root, &at.path)? else { return Ok(State::Absent) };
        let Some(meta) = Meta::at(&folder, &name)? else { return Ok(State::Absent) };
        Ok(match meta.kind {
            Kind::Folder => State::Folder { mode: meta.mode },
            Kind::Special => State::Special,
            Kind::Link => {
                let target = readlinkat(&folder, &name, Vec::new())?.into_bytes();
                State::Link { target: PathBuf::from(OsString::from_vec(target)) }
            }
            Kind::File => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let open = || openat(&folder, &name, flags, Mode::empty());
                let file = match open().or_else(|_| open()) {
                    Ok(file) => File::from(file),
                    // No step of ours can have changed what is in it.
                    Err(Errno::ACCESS | Errno::PERM) => {
                        return Ok(State::File { len: meta.len, mode: meta.mode, sha256: NOT_READ });
                    }
                    Err(error) => return Err(error.into()),
                };
                let sha256 = digest(&file, 0, meta.len)?;
                if let Some(unsynced) = unsynced {
                    unsynced.0.push(file);
                }
                State::File { len: meta.len, mode: meta.mode, sha256 }
            }
        })
    }
}

/// The digest of a part of a file: of its pieces that are not all zeros, each with its place, and of its length. The same content has the
/// same digest wherever its holes are, and a hole takes no time.
pub(super) fn digest(file: &File, offset: u64, len: u64) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    pieces(file, offset, len, |at, piece| {
        hash.update(at.to_le_bytes());
        hash.update(piece);
        Ok(())
    })?;
    hash.update(len.to_le_bytes());
    Ok(Digest::from_bytes(hash.finalize().into()))
}
