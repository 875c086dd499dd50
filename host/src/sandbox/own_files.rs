//! The host's own files: state, compiled code, configuration, the policy in force and what it names, the running program. No grant reaches
//! them, whatever its folder is called and whichever contains the other.
//!
//! Paths say where they are; what is compared are device and inode of what is opened. [`OwnFiles::look`] goes along each path and notes what
//! is there, what the path depends on, and under which other names the system shows the same. A granted folder inside of them is refused
//! ([`OwnFiles::holder`]); in one that contains them they are not there for a guest ([`Guard::meets`]). Decides nothing about policy and
//! changes no file.

mod linked;
mod mounts;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, Mode, openat, statat};
use rustix::io::Errno;

use crate::journal::{Inode, Kind, Meta};
use crate::limits;
use crate::sandbox::walk::{self, Met, Step};

use linked::Linked;
use mounts::Mounts;

/// Where the host's own files are, and what each is for whoever is told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnPaths(Vec<(PathBuf, &'static str)>);

impl OwnPaths {
    /// With a file or folder, whether it is there or not.
    pub(crate) fn add(&mut self, path: &Path, what: &'static str) {
        if !self.0.iter().any(|(known, _)| known == path) {
            self.0.push((path.to_owned(), what));
        }
    }
}

/// The host's own files as they were when a run opened its folders.
#[derive(Debug, Default)]
pub(crate) struct OwnFiles {
    /// What they are.
    own: BTreeMap<Inode, &'static str>,
    /// Folders and links that their paths depend on: they stay what and where they are.
    ways: BTreeSet<Inode>,
    /// Folder and name of each, also of what is not there yet.
    names: BTreeSet<(Inode, OsString)>,
    /// The real paths of the folders among them.
    folders: Vec<PathBuf>,
    /// What is in those folders, for files that have several names: looked at when the first such file is met.
    linked: OnceLock<Linked>,
}

impl OwnFiles {
    /// Looks at what is at the paths now.
    pub(crate) fn look(paths: &OwnPaths) -> Self {
        let mut own = Self::default();
        let mounts = Mounts::read();
        for (path, what) in &paths.0 {
            let Some(real) = own.add(path, what) else { continue };
            for other in mounts.others(&real) {
                own.add(&other, what);
            }
        }
        own
    }

    /// Notes a path. Gives the real one of what is there.
    pub(crate) fn add(&mut self, path: &Path, what: &'static str) -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        let ways = &mut self.ways;
        let end = walk::go::<Errno>(&path, &mut |met| {
            ways.insert(match met {
                Met::Folder(inode) | Met::Link(inode, _) => inode,
            });
            Ok(())
        });
        // What cannot be looked at by this process cannot be reached by its guests.
        let end = end.ok()?;
        self.names.insert((end.folder, end.name));
        self.ways.insert(end.folder);
        let inode = end.inode?;
        self.own.insert(inode, what);
        if end.opened.is_some() {
            self.folders.push(end.at.clone());
        }
        Some(end.at)
    }

    /// What of them a folder is or lies inside of.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(crate) fn holder(&self, folder: &File) -> rustix::io::Result<Option<&'static str>> {
        self.holder_within(folder, &BTreeSet::new())
    }

    /// The same up to one of the `roots`: what is granted was looked at when it was opened.
    fn holder_within(&self, folder: &File, roots: &BTreeSet<Inode>) -> rustix::io::Result<Option<&'static str>> {
        let mut at: OwnedFd = openat(folder, ".", walk::WALK, Mode::empty())?;
        let mut inode = Meta::of(&at)?.inode;
        loop {
            if let Some(what) = self.own.get(&inode) {
                return Ok(Some(what));
            }
            if roots.contains(&inode) {
                return Ok(None);
            }
            at = openat(&at, "..", walk::WALK, Mode::empty())?;
            let above = Meta::of(&at)?.inode;
            if above == inode {
                return Ok(None);
            }
            inode = above;
        }
    }

    /// Whether this is one of them, by whatever name it was found.
    pub(crate) fn is_own(&self, inode: Inode, is_file: bool, links: u64) -> bool {
        if self.own.contains_key(&inode) {
            return true;
        }
        // A file of one name is where that name is.
        is_file && links > 1 && self.linked.get_or_init(|| Linked::look(&self.folders)).has(inode)
    }

    /// The names in a folder under which something of them is or would be.
    pub(crate) fn names_in(&self, folder: Inode) -> impl Iterator<Item = &OsStr> {
        let from = (folder, OsString::new());
        self.names.range(from..).take_while(move |(of, _)| *of == folder).map(|(_, name)| name.as_os_str())
    }

    fn has(&self, meta: &Meta) -> bool {
        self.is_own(meta.inode, meta.kind == Kind::File, meta.links)
    }
}

/// What a path of a guest leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meets {
    /// Nothing of the host's own.
    Nothing,
    /// A folder or link that the path of something of it depends on: it may be looked at, and has to stay.
    Way,
    /// Something of it, or its name.
    Own,
}

/// Where a call acts whose path was looked at: an entry of an opened folder that is no link.
#[derive(Debug)]
pub(crate) struct Spot {
    pub(crate) folder: OwnedFd,
    pub(crate) name: OsString,
}

/// The host's own files for the calls of a guest. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    own: Arc<OwnFiles>,
    /// Whether some of them lie below a folder of the run: each path is then followed step by step.
    is_near: bool,
    /// The folders of the run.
    roots: Arc<BTreeSet<Inode>>,
}

impl Guard {
    /// For the calls of a run that was granted these folders.
    pub(crate) fn new(own: OwnFiles, roots: BTreeSet<Inode>) -> Self {
        let is_near = roots.iter().any(|root| own.ways.contains(root));
        Self { own: Arc::new(own), is_near, roots: Arc::new(roots) }
    }

    /// Whether some of them lie below a folder of the run.
    pub(crate) const fn is_near(&self) -> bool {
        self.is_near
    }

    /// Whether there is nothing to keep anybody off.
    pub(crate) fn is_off(&self) -> bool {
        self.own.names.is_empty()
    }

    /// What a path leads to below an open folder, and what is there; `follow` says whether a link at its end is followed.
    pub(crate) fn meets(&self, folder: &File, path: &OsStr, follow: bool) -> (Meets, Option<Meta>) {
        if self.is_near {
            let (meets, _, meta) = self.follow(folder, path, follow);
            return (meets, meta);
        }
        // None of them is below: what can be met is a file that has a name here as well.
        let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        let meta = statat(folder, path, flags).ok().map(Meta::from);
        if meta.is_some_and(|meta| meta.links > 1 && self.own.has(&meta)) {
            // The system may have gone out of the folder, which the call itself will not.
            let (meets, _, meta) = self.follow(folder, path, follow);
            return (meets, meta);
        }
        (Meets::Nothing, meta)
    }

    /// What a path leads to, and where a call with it acts. `None` where the call itself will say what is wrong with the path.
    pub(crate) fn spot(&self, folder: &File, path: &OsStr, follow: bool) -> (Meets, Option<Spot>) {
        let (meets, spot, _) = self.follow(folder, path, follow);
        (meets, spot)
    }

    /// What an open file or folder is.
    pub(crate) fn meets_open(&self, opened: &File) -> Meets {
        match Meta::of(opened) {
            Ok(meta) if self.own.has(&meta) => Meets::Own,
            // It may have been swapped for a link into one of them after its path was looked at.
            Ok(meta)
                if self.is_near
                    && meta.kind == Kind::Folder
                    && self.own.holder_within(opened, &self.roots) != Ok(None) =>
            {
                Meets::Own
            }
            _ => Meets::Nothing,
        }
    }

    /// Whether the names in a folder have to be looked at one by one.
    pub(crate) fn hides_in(&self, folder: &File) -> bool {
        self.is_near && Meta::of(folder).is_ok_and(|meta| self.own.ways.contains(&meta.inode))
    }

    /// Whether a name in a folder is not shown.
    pub(crate) fn hides(&self, folder: &File, name: &OsStr) -> bool {
        let Ok(meta) = Meta::of(folder) else { return false };
        let is_way = |entry: &Meta| self.own.ways.contains(&entry.inode);
        match Meta::at(folder, name) {
            Ok(Some(entry)) if self.own.has(&entry) => true,
            // A link that leads to one of them is shown: it is no more than its name.
            Ok(Some(entry)) => self.own.names.contains(&(meta.inode, name.to_owned())) && !is_way(&entry),
            _ => false,
        }
    }

    fn follow(&self, base: &File, path: &OsStr, follow: bool) -> (Meets, Option<Spot>, Option<Meta>) {
        self.followed(base, path, follow).unwrap_or((Meets::Nothing, None, None))
    }

    fn followed(
        &self,
        base: &File,
        path: &OsStr,
        follow: bool,
    ) -> rustix::io::Result<(Meets, Option<Spot>, Option<Meta>)> {
        const NOWHERE: (Meets, Option<Spot>, Option<Meta>) = (Meets::Nothing, None, None);
        let bytes = path.as_encoded_bytes();
        if bytes.is_empty() || bytes.starts_with(b"/") {
            return Ok(NOWHERE);
        }
        let follow = follow || bytes.ends_with(b"/");
        let mut way: Vec<(OwnedFd, Inode, OsString)> = Vec::new();
        let mut todo: Vec<OsString> = walk::names(path).collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                if way.pop().is_none() {
                    return Ok(NOWHERE);
                }
                continue;
            }
            let top = way.last().map_or_else(|| base.as_fd(), |(folder, ..)| folder.as_fd());
            let inode = match way.last() {
                Some((_, inode, _)) => *inode,
                None => Meta::of(base)?.inode,
            };
            let is_last = todo.is_empty();
            let is_name = self.own.names.contains(&(inode, name.clone()));
            let spot = || Some(Spot { folder: top.try_clone_to_owned().ok()?, name: name.clone() });
            match walk::step(top, &name) {
                Ok(Step::Folder(opened, inode)) => {
                    if is_name || self.own.own.contains_key(&inode) {
                        return Ok((Meets::Own, None, None));
                    }
                    if is_last {
                        let meta = Meta::of(&opened)?;
                        return Ok((self.way(inode), spot(), Some(meta)));
                    }
                    way.push((opened, inode, name));
                }
                Ok(Step::Link(_, target)) if !is_last || follow => {
                    links += 1;
                    if links > limits::LINKS_FOLLOWED_MAX || target.as_encoded_bytes().starts_with(b"/") {
                        return Ok(NOWHERE);
                    }
                    todo.extend(walk::names(&target));
                }
                Ok(Step::Link(inode, _)) => {
                    let meta = Meta::at(top, &name)?;
                    return Ok((self.way(inode), spot(), meta));
                }
                Ok(Step::Leaf(meta)) if is_name || self.own.has(&meta) => return Ok((Meets::Own, None, None)),
                Ok(Step::Leaf(meta)) if is_last => return Ok((Meets::Nothing, spot(), Some(meta))),
                Ok(Step::Leaf(_)) => return Ok(NOWHERE),
                Err(_) if is_name => return Ok((Meets::Own, None, None)),
                Err(Errno::NOENT) if is_last => return Ok((Meets::Nothing, spot(), None)),
                Err(_) => return Ok(NOWHERE),
            }
        }
        // A folder itself, by `.` or `..`.
        let inode = match way.last() {
            Some((_, inode, _)) => *inode,
            None => Meta::of(base)?.inode,
        };
        let meets = if self.own.own.contains_key(&inode) { Meets::Own } else { self.way(inode) };
        Ok((meets, None, None))
    }

    fn way(&self, inode: Inode) -> Meets {
        if self.own.ways.contains(&inode) { Meets::Way } else { Meets::Nothing }
    }
}

#[cfg(test)]
mod tests;
