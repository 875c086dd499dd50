//! The identity of a folder: which files it has, with their digests, and one id over all of it (`docs/bundle-format.md`).
//!
//! Never follows a link and never writes. What the id does not depend on: times, owners, the order of a folder's entries, empty folders,
//! and everything in folders that tools make for themselves ([`IGNORED`]).

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::bundle::BundleError;
use crate::file_stamp::FileStamp;
use crate::id::{Digest, SnapshotId};
use crate::limits;

/// Names of files and folders that are no part of a bundle, at any depth.
pub const IGNORED: [&str; 5] = [".git", ".skillhost", ".venv", "__pycache__", "node_modules"];

/// What the hashed text begins with: another way to make an id has another version.
const FORM: &[u8] = b"skillhost.snapshot/1\n";

/// What a path of a bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A file that its owner may execute.
    Executable,
    /// A symbolic link to something in the bundle.
    Link,
}

impl EntryKind {
    /// The byte that stands for it in what is hashed.
    const fn byte(self) -> u8 {
        match self {
            Self::File => b'f',
            Self::Executable => b'x',
            Self::Link => b'l',
        }
    }

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Executable => "executable",
            Self::Link => "link",
        }
    }
}

/// One file or link of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Of a file's bytes, or of the text of a link.
    pub digest: Digest,
    /// How many bytes that are.
    pub size_bytes: u64,
}

/// A folder at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The id of all of it.
    pub id: SnapshotId,
    /// What is in it, by path from its root with `/` between names.
    pub entries: BTreeMap<String, Entry>,
    /// What the file system said of each entry when it was read.
    stamps: BTreeMap<String, Found>,
}

impl Snapshot {
    /// Reads a folder.
    ///
    /// # Errors
    ///
    /// [`BundleError`] where something of it cannot be read, is neither file nor link nor folder, is a link that leads out, has a name that is
    /// not UTF-8, where there is too much of it, or where it changes meanwhile.
    pub fn take(root: &Path) -> Result<Self, BundleError> {
        let stamps = walk(root)?;
        let mut entries = BTreeMap::new();
        for (path, found) in &stamps {
            let (digest, size_bytes) = found.read(root, path)?;
            entries.insert(path.clone(), Entry { kind: found.kind, digest, size_bytes });
        }
        if walk(root)? != stamps {
            return Err(BundleError::Unsteady { root: root.to_owned() });
        }
        Ok(Self { id: id_of(&entries), entries, stamps })
    }

    /// Whether the file system says of every entry what it said when this was taken: a look at the folder that reads no file.
    ///
    /// # Errors
    ///
    /// As [`Self::take`].
    pub fn is_untouched(&self, root: &Path) -> Result<bool, BundleError> {
        Ok(walk(root)? == self.stamps)
    }
}

/// The id of these entries.
fn id_of(entries: &BTreeMap<String, Entry>) -> SnapshotId {
    let mut hash = Sha256::new();
    hash.update(FORM);
    for (path, entry) in entries {
        hash.update([entry.kind.byte()]);
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path.as_bytes());
        hash.update(entry.digest.as_bytes());
    }
    SnapshotId::new(Digest::from_bytes(hash.finalize().into()))
}

/// What the file system says of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    kind: EntryKind,
    size: u64,
    /// Of a link: its text.
    target: Option<String>,
    /// What changes when the file does: times and number, which are no part of the id.
    stamp: FileStamp,
}

impl Found {
    /// Digest and size of what is there now.
    fn read(&self, root: &Path, path: &str) -> Result<(Digest, u64), BundleError> {
        if let Some(target) = &self.target {
            return Ok((Digest::of(target.as_bytes()), target.len() as u64));
        }
        let place = root.join(path);
        let failed = |source| BundleError::Io { path: place.clone(), source };
        let mut file = crate::regular::open(&place).map_err(failed)?.take(self.size.saturating_add(1));
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        let mut size = 0;
        loop {
            let count = file.read(&mut buffer).map_err(failed)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            hash.update(bytes);
            size += bytes.len() as u64;
        }
        Ok((Digest::from_bytes(hash.finalize().into()), size))
    }
}

/// All files and links of the folder.
fn walk(root: &Path) -> Result<BTreeMap<String, Found>, BundleError> {
    let mut walk = Walk { root, found: BTreeMap::new(), seen: 0, bytes: 0 };
    walk.folder("", 0)?;
    Ok(walk.found)
}

struct Walk<'r> {
    root: &'r Path,
    found: BTreeMap<String, Found>,
    seen: usize,
    bytes: u64,
}

impl Walk<'_> {
    fn folder(&mut self, inside: &str, depth: usize) -> Result<(), BundleError> {
        let place = self.root.join(inside);
        if depth > limits::BUNDLE_DEPTH_MAX {
            return Err(BundleError::TooLarge {
                root: self.root.to_owned(),
                what: "folders inside of each other",
                max: limits::BUNDLE_DEPTH_MAX as u64,
            });
        }
        let failed = |source| BundleError::Io { path: place.clone(), source };
        for entry in std::fs::read_dir(&place).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.seen += 1;
            if self.seen > limits::BUNDLE_ENTRIES_MAX {
                return Err(BundleError::TooLarge {
                    root: self.root.to_owned(),
                    what: "files and folders",
                    max: limits::BUNDLE_ENTRIES_MAX as u64,
                });
            }
            let Ok(name) = entry.file_name().into_string() else {
                return Err(BundleError::NotUtf8 { path: entry.path() });
            };
            if IGNORED.contains(&name.as_str()) {
                continue;
            }
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            self.entry(path, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: String, depth: usize) -> Result<(), BundleError> {
        let place = self.root.join(&path);
        let failed = |source| BundleError::Io { path: place.clone(), source };
        let metadata = place.symlink_metadata().map_err(failed)?;
        if metadata.is_dir() {
            return self.folder(&path, depth + 1);
        }
        let target = if metadata.is_symlink() { Some(self.link(&path, &place)?) } else { None };
        if target.is_none() && !metadata.is_file() {
            return Err(BundleError::NotAFile { path: place });
        }
        let kind = match &target {
            Some(_) => EntryKind::Link,
            None if is_executable(&metadata) => EntryKind::Executable,
            None => EntryKind::File,
        };
        self.bytes = self.bytes.saturating_add(metadata.len());
        if self.bytes > limits::BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge {
                root: self.root.to_owned(),
                what: "bytes",
                max: limits::BUNDLE_BYTES_MAX,
            });
        }
        self.found.insert(path, Found { kind, size: metadata.len(), target, stamp: FileStamp::of_metadata(&metadata) });
        Ok(())
    }

    /// The text of a link. It has to stay in the bundle, by its text and by where it really leads.
    fn link(&self, path: &str, place: &Path) -> Result<String, BundleError> {
        let target = std::fs::read_link(place).map_err(|source| BundleError::Io { path: place.to_owned(), source })?;
        let leaves = || BundleError::LeavesBundle { path: place.to_owned(), target: target.clone() };
        let Some(text) = target.to_str() else { return Err(BundleError::NotUtf8 { path: place.to_owned() }) };
        let mut names: Vec<&str> = path.split('/').collect();
        names.pop();
        for part in target.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => drop(names.pop().ok_or_else(leaves)?),
                Component::Normal(name) => names.push(name.to_str().unwrap_or_default()),
                Component::RootDir | Component::Prefix(_) => return Err(leaves()),
            }
        }
        let real = |path: &Path| path.canonicalize().ok();
        let (root, leads_to) = (real(self.root), real(place));
        let inside = match (&root, &leads_to) {
            (Some(root), Some(leads_to)) => match leads_to.strip_prefix(root) {
                Ok(inside) => inside.to_owned(),
                Err(_) => return Err(leaves()),
            },
            // It leads nowhere.
            _ => PathBuf::from(names.join("/")),
        };
        let ignored = |part: Component<'_>| part.as_os_str().to_str().is_some_and(|name| IGNORED.contains(&name));
        if inside.components().any(ignored) || names.iter().any(|name| IGNORED.contains(name)) {
            return Err(leaves());
        }
        Ok(text.to_owned())
    }
}

#[cfg(unix)]
fn is_executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
const fn is_executable(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests;
