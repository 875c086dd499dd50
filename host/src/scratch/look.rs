//! Looks at a copy: what it is now, and what is different from its original.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{ScratchError, failed};
use crate::diff::{self, Change, Changes, Content, Kind, Node, Tree, TreeDiff, What};
use crate::id::Digest;
use crate::limits;
use crate::regular;

/// Two events closer than this may have the same time in a file system, which takes it from the kernel's tick.
const TICK_NS: i128 = 50_000_000;
/// Bytes that are compared at a time.
const PART_BYTES: usize = 64 << 10;

/// What tells two versions of a file apart: inode, length, time of the last change of anything. The last cannot be set by anybody.
type Stamp = (u64, u64, i128);

/// What a tree is at one time.
#[derive(Debug)]
pub(super) struct Look {
    tree: Tree,
    stamps: BTreeMap<PathBuf, Stamp>,
    /// When: a time of the file system.
    at: i128,
}

impl Look {
    /// Looks at the tree below `folder`. `scratch` is on the same file system.
    pub(super) fn at(folder: &Path, scratch: &Path) -> Result<Self, ScratchError> {
        let mut look = Self { tree: Tree::new(), stamps: BTreeMap::new(), at: 0 };
        let mut folders = vec![folder.to_owned()];
        while let Some(at) = folders.pop() {
            let entries = match fs::read_dir(&at) {
                Ok(entries) => entries,
                // As in the original.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
                Err(error) => return Err(failed("read", &at)(error)),
            };
            for entry in entries {
                let path = entry.map_err(failed("read", &at))?.path();
                let meta = fs::symlink_metadata(&path).map_err(failed("read", &path))?;
                let kind = if meta.is_dir() {
                    folders.push(path.clone());
                    Kind::Folder
                } else if meta.is_symlink() {
                    Kind::Symlink { target: fs::read_link(&path).map_err(failed("read", &path))? }
                } else if meta.is_file() {
                    Kind::File
                } else {
                    Kind::Special
                };
                let name = path.strip_prefix(folder).unwrap_or(&path).to_owned();
                if kind == Kind::File {
                    look.stamps.insert(name.clone(), (meta.ino(), meta.len(), changed_at(&meta)));
                }
                look.tree.insert(name, Node { kind, mode: meta.mode() & 0o7777 });
            }
        }
        let mark = scratch.join("mark");
        let made = regular::create(&mark).and_then(|file| file.metadata()).map_err(failed("create", &mark))?;
        fs::remove_file(&mark).map_err(failed("remove", &mark))?;
        look.at = changed_at(&made);
        Ok(look)
    }
}

#[cfg(test)]
impl Look {
    /// As if a long time had passed before the look was taken.
    pub(super) fn age(&mut self) {
        self.at += 2 * TICK_NS;
    }
}

fn changed_at(meta: &fs::Metadata) -> i128 {
    i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec())
}

/// A copy with what it was.
pub(super) struct Base<'a> {
    pub(super) original: Option<&'a Path>,
    pub(super) shown: &'a Path,
    pub(super) copy: &'a Path,
    pub(super) before: &'a Look,
}

impl Base<'_> {
    /// What is different now. `room` is what diffs may still take.
    pub(super) fn changes(&self, scratch: &Path, room: &mut usize) -> Result<Changes, ScratchError> {
        let after = Look::at(self.copy, scratch)?;
        let TreeDiff { changes, more } =
            TreeDiff::between(&self.before.tree, &after.tree, |path| self.is_same(path, &after))?;
        let mut all = Changes { more, ..Changes::default() };
        if self.original.is_none() {
            all.notices.push(format!("the folder `{}` would be created", self.shown.display()));
        }
        for change in changes {
            let path = self.shown.join(&change.path).display().to_string();
            let mut diff = String::new();
            let is_file = |node: &Option<Node>| node.as_ref().is_some_and(|node| node.kind == Kind::File);
            let has_content = is_file(&change.before) || is_file(&change.after);
            if has_content && change.what != What::Mode && *room > 0 {
                let old = self.original.filter(|_| is_file(&change.before));
                let old = old.map(|folder| content(&folder.join(&change.path)));
                let new = is_file(&change.after).then(|| content(&self.copy.join(&change.path)));
                diff = match (old.transpose(), new.transpose()) {
                    (Ok(old), Ok(new)) => diff::unified_within(&path, old.as_ref(), new.as_ref(), room),
                    (Err(error), _) | (_, Err(error)) => format!("contents of {path} are not compared: {error}\n"),
                };
            } else if has_content && change.what != What::Mode {
                diff = format!("contents of {path} are not compared: there are too many changes\n");
            }
            all.list.push(Change { path, what: change.what, before: change.before, after: change.after, diff });
        }
        Ok(all)
    }

    /// Whether a file has the content that it had when the copy was made.
    fn is_same(&self, path: &Path, after: &Look) -> Result<bool, ScratchError> {
        let (Some(was), Some(is)) = (self.before.stamps.get(path), after.stamps.get(path)) else { return Ok(false) };
        if was == is && was.2 + TICK_NS < self.before.at {
            return Ok(true);
        }
        if was.1 != is.1 {
            return Ok(false);
        }
        let Some(original) = self.original else { return Ok(false) };
        match are_equal(&original.join(path), &self.copy.join(path)) {
            Ok(equal) => Ok(equal),
            // One that could not be read is empty in the copy.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(was == is),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("read", &self.shown.join(path))(error)),
        }
    }
}

fn are_equal(a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (regular::open(a)?, regular::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (BufReader::with_capacity(PART_BYTES, a), BufReader::with_capacity(PART_BYTES, b));
    loop {
        let (left, right) = (io::BufRead::fill_buf(&mut a)?, io::BufRead::fill_buf(&mut b)?);
        let len = left.len().min(right.len());
        if len == 0 {
            return Ok(left.len() == right.len());
        }
        if left.get(..len) != right.get(..len) {
            return Ok(false);
        }
        io::BufRead::consume(&mut a, len);
        io::BufRead::consume(&mut b, len);
    }
}

/// Reads a file: all of it where that is short enough, else its digest alone.
fn content(path: &Path) -> io::Result<Content> {
    let mut file = regular::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(limits::DIFF_INPUT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() <= limits::DIFF_INPUT_BYTES_MAX {
        return Ok(Content::of(bytes));
    }
    let mut hasher = Sha256::new();
    hasher.update(&bytes);
    let mut len = bytes.len() as u64;
    bytes.resize(PART_BYTES, 0);
    loop {
        let read = file.read(&mut bytes)?;
        if read == 0 {
            return Ok(Content { len, digest: Digest::from_bytes(hasher.finalize().into()), bytes: None });
        }
        hasher.update(bytes.get(..read).unwrap_or_default());
        len += read as u64;
    }
}
