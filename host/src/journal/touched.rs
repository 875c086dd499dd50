//! What a step looked at, as it was when the step first looked: whether its result still holds is whether all of that still is so.
//!
//! What the step wrote before it looked is its own and does not count. Content is hashed once, at the end of the step.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat, readlinkat};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::before::Change;
use super::claims::Access;
use super::place::{Kind, Meta, Place, Root, Roots, Spot, Time, below, folder_below, guest_path};
use super::record::{self, Gone, Record, State, bytes, digest};
use super::{At, Journal, JournalError};
use crate::id::Digest;
use crate::limits;

/// What a guest asks of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Only the way to it: links that are followed, and folders that are not there.
    Way,
    /// What it is.
    Stat,
    /// What is in it.
    Content,
}

/// What a step saw first at a place.
#[derive(Debug)]
enum First {
    Absent,
    File { meta: Meta, content: bool },
    Folder,
    Listing(Vec<OsString>),
    Link(PathBuf),
    Special,
}

/// What a step has looked at so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    first: BTreeMap<Place, First>,
    /// How much of it there is, listed names included.
    count: usize,
    /// There was more than is kept.
    overflow: bool,
    /// What the step has written to.
    written: BTreeSet<Place>,
}

/// What a step looked at, and what it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    /// By guest path, what the step saw there first.
    pub(crate) reads: BTreeMap<String, Read>,
    /// By guest path, what it left there.
    pub(crate) writes: BTreeMap<String, Written>,
    /// Whether that is all: otherwise the step has to be run again.
    pub(crate) complete: bool,
}

/// What a journal has of it that is not in its other records.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Looked {
    reads: BTreeMap<String, Read>,
    complete: bool,
}

/// One path that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Read {
    at: Place,
    pub(crate) state: ReadState,
}

/// One path that was written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    at: Place,
    pub(crate) state: State,
}

/// What was at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReadState {
    /// Nothing.
    Absent,
    /// A file of which only the length was asked.
    Length { len: u64 },
    /// A file that was read.
    File {
        len: u64,
        #[serde(with = "digest")]
        sha256: Digest,
        /// By which it is known again without reading it.
        stamp: Stamp,
    },
    /// A directory.
    Folder,
    /// A directory whose entries were read; those that the step made or removed are not in it.
    Listing {
        #[serde(with = "digest")]
        sha256: Digest,
        /// The names that do not count.
        own: BTreeSet<String>,
    },
    /// A symbolic link.
    Link {
        #[serde(with = "bytes")]
        target: PathBuf,
    },
    /// A pipe, socket or device.
    Special,
}

/// What changes whenever a file is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    modified: Time,
    changed: Time,
    inode: u64,
}

impl From<&Meta> for Stamp {
    fn from(meta: &Meta) -> Self {
        Self { modified: meta.modified, changed: meta.changed, inode: meta.inode.1 }
    }
}

/// A path that is no longer what a step saw or left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {what}")]
pub(crate) struct Changed {
    /// The guest path.
    pub(crate) path: String,
    /// What is the matter.
    pub(crate) what: &'static str,
}

impl Seen {
    pub(super) fn wrote(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Created { at } | Record::Content { at, .. } | Record::Removed { at, .. } => {
                    self.written.insert(at.clone());
                }
                Record::Renamed { from, to } => self.written.extend([from.clone(), to.clone()]),
                _ => {}
            }
        }
    }

    fn is_own(&self, at: &Place) -> bool {
        at.path.ancestors().any(|path| self.written.contains(&Place { root: at.root, path: path.to_owned() }))
    }

    fn add(&mut self, at: Place, first: First) {
        if self.is_own(&at) {
            return;
        }
        let more = match &first {
            First::Listing(names) => 1 + names.len(),
            _ => 1,
        };
        match (self.first.get_mut(&at), first) {
            (Some(First::File { content, .. }), First::File { content: true, .. }) => *content = true,
            (Some(known @ First::Folder), first @ First::Listing(_)) if self.count + more <= limits::READS_MAX => {
                self.count += more;
                *known = first;
            }
            (Some(First::Folder), First::Listing(_)) => self.overflow = true,
            (Some(_), _) => {}
            (None, first) if self.count + more <= limits::READS_MAX => {
                self.count += more;
                self.first.insert(at, first);
            }
            (None, _) => self.overflow = true,
        }
    }
}

impl Journal {
    /// Takes note that the guest looks at a path. Gives the paths on the host, for claims.
    pub(crate) fn look(&mut self, at: At<'_>, follow: bool, look: Look) -> Vec<(PathBuf, Access)> {
        let mut missing = None;
        let mut links = Vec::new();
        let Ok(spot) = self.roots.resolve_noting(at.folder, at.path, follow, &mut links, &mut missing) else {
            self.seen.overflow = true;
            return Vec::new();
        };
        let mut claims = Vec::new();
        for (at, target) in links {
            claims.push((self.on_host(&at), Access::Read));
            self.seen.add(at, First::Link(target));
        }
        let (at, first) = match spot {
            None => match missing {
                Some(at) => (at, First::Absent),
                None => return claims,
            },
            Some(_) if look == Look::Way => return claims,
            Some(spot) => (spot.at.clone(), first(&spot, look)),
        };
        claims.push((self.on_host(&at), Access::Read));
        claims.extend(inode_claim(&first));
        self.seen.add(at, first);
        claims
    }

    /// The same for something open.
    pub(crate) fn look_at(&mut self, handle: &File) -> Vec<(PathBuf, Access)> {
        let (Ok(Some(at)), Ok(meta)) = (self.roots.place_of(handle), Meta::of(handle)) else { return Vec::new() };
        let first = match meta.kind {
            Kind::File => First::File { meta, content: false },
            _ => First::Folder,
        };
        let claims = vec![(self.on_host(&at), Access::Read)];
        self.seen.add(at, first);
        claims
    }

    /// Takes note that the guest reads the entries of an open directory.
    pub(crate) fn list(&mut self, handle: &File) -> Vec<(PathBuf, Access)> {
        let Ok(Some(at)) = self.roots.place_of(handle) else { return Vec::new() };
        let claims = vec![(self.on_host(&at), Access::List)];
        match entries(handle) {
            Ok(names) => self.seen.add(at, First::Listing(names)),
            Err(_) => self.seen.overflow = true,
        }
        claims
    }

    /// The paths on the host that a change concerns.
    pub(crate) fn concerns(&self, change: &Change<'_>) -> Vec<(PathBuf, Access)> {
        let mut claims = Vec::new();
        let mut add = |at: At<'_>, follow: bool, enters: bool| {
            let (mut links, mut missing) = (Vec::new(), None);
            let spot = self.roots.resolve_noting(at.folder, at.path, follow, &mut links, &mut missing);
            let way = links.into_iter().map(|(at, _)| at).chain(missing);
            claims.extend(way.map(|at| (self.on_host(&at), Access::Read)));
            let Ok(Some(spot)) = spot else { return };
            if let Some(parent) = spot.at.parent().filter(|_| enters || spot.meta.is_none()) {
                claims.push((self.on_host(&parent), Access::Enter));
            }
            claims.push((self.on_host(&spot.at), Access::Write));
            if let Some(meta) = spot.meta.filter(|meta| meta.kind == Kind::File && meta.links > 1) {
                claims.push((inode_path(&meta), Access::Write));
            }
        };
        match *change {
            Change::Open { at, follow, exclusive, .. } => add(at, follow && !exclusive, false),
            Change::Make(at) | Change::Unlink(at) | Change::RemoveFolder(at) => add(at, false, true),
            Change::Rename { from, to } => {
                add(from, false, true);
                add(to, false, true);
            }
            Change::SetTimesAt { at, follow } => add(at, follow, false),
            Change::SetTimes(handle) => {
                if let Ok(Some(at)) = self.roots.place_of(handle) {
                    claims.push((self.on_host(&at), Access::Write));
                }
            }
        }
        claims
    }

    fn on_host(&self, at: &Place) -> PathBuf {
        let root = usize::try_from(at.root).ok().and_then(|root| self.roots.0.get(root));
        root.map(|root| root.host.join(&at.path)).unwrap_or_default()
    }

    /// The guest path of a path on the host.
    pub(crate) fn guest_of(&self, path: &Path) -> String {
        let below = |root: &Root| Some(guest_path(&root.guest, path.strip_prefix(&root.host).ok()?));
        self.roots.0.iter().find_map(below).unwrap_or_else(|| "/".to_owned())
    }

    /// What a step that was sealed had claimed, for those that run on after a crash.
    pub(crate) fn claims_of(&self, touched: &Touched) -> Vec<(PathBuf, Access)> {
        let reads = touched.reads.values().map(|Read { at, state }| {
            let access = if matches!(state, ReadState::Listing { .. }) { Access::List } else { Access::Read };
            (self.on_host(at), access)
        });
        let writes = touched.writes.values().flat_map(|Written { at, .. }| {
            let entered = at.parent().map(|parent| (self.on_host(&parent), Access::Enter));
            [Some((self.on_host(at), Access::Write)), entered].into_iter().flatten()
        });
        reads.chain(writes).collect()
    }

    /// Whether what a step looked at and left is as it was.
    pub(crate) fn still(&self, touched: &Touched) -> Result<(), Changed> {
        touched.still(&self.roots.0)
    }

    /// What the step looked at, as it is written down at its end: files that it read are hashed now.
    ///
    /// # Errors
    ///
    /// [`JournalError::Io`].
    pub(super) fn looked(&self) -> Result<Vec<u8>, JournalError> {
        let bytes = |looked: &Looked| serde_json::to_vec(looked).map_err(|error| self.failed("written", error.into()));
        let looked = bytes(&self.reads())?;
        // What is too much for a frame is not noted wholly: the step is run again.
        if looked.len() as u64 > limits::JOURNAL_LOOKED_BYTES_MAX { bytes(&Looked::default()) } else { Ok(looked) }
    }

    fn reads(&self) -> Looked {
        let mut reads = BTreeMap::new();
        let mut complete = !self.seen.overflow;
        for (at, first) in &self.seen.first {
            let state = match first {
                First::Absent => ReadState::Absent,
                First::File { meta, content: false } => ReadState::Length { len: meta.len },
                First::File { meta, content: true } => match self.content_then(at, meta) {
                    Ok(Some(sha256)) => ReadState::File { len: meta.len, sha256, stamp: meta.into() },
                    // Another one by now, or not to be read: whoever asks later whether it is still so is told that it is not known.
                    Ok(None) | Err(_) => {
                        complete = false;
                        continue;
                    }
                },
                First::Folder => ReadState::Folder,
                First::Listing(names) => {
                    let own = self.seen.written.iter().filter(|own| own.parent().as_ref() == Some(at));
                    let own = own.filter_map(|own| own.path.file_name()?.to_str().map(str::to_owned)).collect();
                    ReadState::Listing { sha256: listing(names, &own), own }
                }
                First::Link(target) => ReadState::Link { target: target.clone() },
                First::Special => ReadState::Special,
            };
            reads.insert(self.roots.guest(at), Read { at: at.clone(), state });
        }
        Looked { reads, complete }
    }

    /// What the step of a journal touched that was sealed; `None` where that is not known.
    pub(crate) fn touched(path: &Path) -> Option<Touched> {
        let mut file = crate::regular::open(path).ok()?;
        let (records, _) = record::read(&mut file).ok()?;
        let Record::Begun { roots, .. } = records.first()? else { return None };
        let (offset, len) = records.iter().find_map(|record| match record {
            Record::Looked { offset, len } => Some((*offset, *len)),
            _ => None,
        })?;
        let mut looked = vec![0; usize::try_from(len).ok()?];
        file.read_exact_at(&mut looked, offset).ok()?;
        let Looked { reads, complete } = serde_json::from_slice(&looked).ok()?;
        let written = records.iter().filter_map(|record| {
            let Record::State { at, state } = record else { return None };
            let root = roots.get(usize::try_from(at.root).ok()?)?;
            Some((guest_path(&root.guest, &at.path), Written { at: at.clone(), state: state.clone() }))
        });
        Some(Touched { reads, writes: written.collect(), complete })
    }

    /// The digest of a file's content when it was looked at; `None` where somebody else has changed it since.
    fn content_then(&self, at: &Place, meta: &Meta) -> Result<Option<Digest>, JournalError> {
        let saved = self.records.iter().find_map(|record| match record {
            Record::Content { at: place, pre, len, .. }
            | Record::Removed { at: place, gone: Gone::File { pre, len, .. } } => (place == at).then_some((*pre, *len)),
            _ => None,
        });
        if let Some((pre, len)) = saved {
            return self.pre_digest(pre, len).map(|digest| (len == meta.len).then_some(digest));
        }
        let unread = |error: io::Error| self.unread(at, error);
        let found = self.roots.entry(at).map_err(unread)?;
        let Some((_, now)) = found.filter(|(_, now)| Stamp::from(now) == Stamp::from(meta)) else { return Ok(None) };
        match self.roots.state(at, None).map_err(unread)? {
            State::File { sha256, .. } => Ok(Some(sha256).filter(|_| now.len == meta.len)),
            _ => Ok(None),
        }
    }
}

impl Touched {
    /// Whether that is nothing, and all of it is known.
    pub(crate) fn is_nothing(&self) -> bool {
        self.complete && self.reads.is_empty() && self.writes.is_empty()
    }

    /// Whether everything that the step looked at is as it was, and everything that it wrote as it left it; `roots` are the directories
    /// that it would be granted now, in the same order.
    ///
    /// # Errors
    ///
    /// The first path that is not.
    pub(crate) fn still(&self, roots: &[Root]) -> Result<(), Changed> {
        let roots = Roots(roots.to_vec());
        if !self.complete {
            return Err(Changed { path: "/".to_owned(), what: "was not noted wholly" });
        }
        for (path, Read { at, state }) in &self.reads {
            let changed = |what| Changed { path: path.clone(), what };
            if self.writes.contains_key(path) {
                // What counts is what the step left.
                continue;
            }
            let same = is_still(&roots, at, state).map_err(|_| changed("cannot be read"))?;
            if !same {
                return Err(changed("is not what the step saw"));
            }
        }
        for (path, Written { at, state }) in &self.writes {
            let changed = |what| Changed { path: path.clone(), what };
            let now = roots.state(at, None).map_err(|_| changed("cannot be read"))?;
            if now != *state {
                return Err(changed("is not what the step left"));
            }
        }
        Ok(())
    }
}

fn is_still(roots: &Roots, at: &Place, state: &ReadState) -> io::Result<bool> {
    if at.path.as_os_str().is_empty() && *state == ReadState::Folder {
        return Ok(true);
    }
    if let ReadState::Listing { sha256, own } = state {
        let Some(root) = roots.handle(at) else { return Ok(false) };
        let Ok(folder) = folder_below(root, &at.path) else { return Ok(false) };
        return Ok(listing(&entries(&folder.into())?, own) == *sha256);
    }
    let Some((_, now)) = roots.entry(at)? else { return Ok(*state == ReadState::Absent) };
    Ok(match state {
        ReadState::Absent | ReadState::Listing { .. } => false,
        ReadState::Length { len } => now.kind == Kind::File && now.len == *len,
        ReadState::File { len, sha256, stamp } => {
            now.kind == Kind::File
                && now.len == *len
                && (Stamp::from(&now) == *stamp
                    || matches!(roots.state(at, None)?, State::File { sha256: other, .. } if other == *sha256))
        }
        ReadState::Folder => now.kind == Kind::Folder,
        ReadState::Link { target } => {
            matches!(roots.state(at, None)?, State::Link { target: other } if other == *target)
        }
        ReadState::Special => now.kind == Kind::Special,
    })
}

impl Roots {
    /// What the machine says of a place.
    fn entry(&self, at: &Place) -> io::Result<Option<(OsString, Meta)>> {
        let Some(root) = self.handle(at) else { return Ok(None) };
        let Some((folder, name)) = below(root, &at.path)? else { return Ok(None) };
        Ok(Meta::at(&folder, &name)?.map(|meta| (name, meta)))
    }
}

fn first(spot: &Spot, look: Look) -> First {
    let Some(meta) = spot.meta else { return First::Absent };
    match (meta.kind, &spot.name) {
        (Kind::File, _) => First::File { meta, content: look == Look::Content },
        (Kind::Link, Some(name)) => match readlinkat(&spot.folder, name, Vec::new()) {
            Ok(target) => First::Link(PathBuf::from(OsString::from_vec(target.into_bytes()))),
            Err(_) => First::Special,
        },
        (Kind::Folder, _) => First::Folder,
        _ => First::Special,
    }
}

/// Names of one file are claimed as one thing.
fn inode_path(meta: &Meta) -> PathBuf {
    Path::new("inode").join(meta.inode.0.to_string()).join(meta.inode.1.to_string())
}

fn inode_claim(first: &First) -> Option<(PathBuf, Access)> {
    match first {
        First::File { meta, .. } if meta.links > 1 => Some((inode_path(meta), Access::Read)),
        _ => None,
    }
}

/// The names in a directory with what they are, sorted.
fn entries(folder: &File) -> io::Result<Vec<OsString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(folder, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&opened)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            // The kind first, so that a name cannot be taken for one.
            let kind = match Meta::at(&opened, name)?.map(|meta| meta.kind) {
                Some(Kind::Folder) => "d",
                Some(Kind::Link) => "l",
                Some(Kind::File) => "f",
                _ => "s",
            };
            let mut line = OsString::from(kind);
            line.push(name);
            names.push(line);
        }
    }
    names.sort();
    Ok(names)
}

/// The digest of a listing without some names.
fn listing(names: &[OsString], but: &BTreeSet<String>) -> Digest {
    let mut hash = Sha256::new();
    for name in names {
        let bytes = name.as_bytes();
        let plain = bytes.get(1..).and_then(|name| std::str::from_utf8(name).ok());
        if !plain.is_some_and(|name| but.contains(name)) {
            hash.update(bytes);
            hash.update([0]);
        }
    }
    Digest::from_bytes(hash.finalize().into())
}
