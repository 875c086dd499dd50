//! Which file is which, as programs ask for inode and device, with nothing of the machine in it.
//!
//! A file's identity is the guest path under which a step met it first. It stays with the file when that is written, renamed or linked,
//! and is the same for the same files in another folder or on another machine.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use wasmtime_wasi::p2::bindings::filesystem::types as fs;

use crate::limits;

/// What the machine tells files apart by. It never leaves the host.
pub(super) type Machine = (u64, u64);

/// The files that a step asked about and that are still there.
#[derive(Debug, Default)]
pub(super) struct Identities {
    known: BTreeMap<Machine, fs::MetadataHashValue>,
    /// How many files were met first under a path: one that takes the place of a renamed one is another.
    met: BTreeMap<String, u64>,
}

impl Identities {
    /// Whether no file was asked about, as in most steps.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The identity of a file that is at `path` now. It is remembered unless the file has no name any more: the machine may give what it
    /// knows such a file by to the next one.
    pub(super) fn of(&mut self, machine: Machine, path: &str, has_name: bool) -> fs::MetadataHashValue {
        if let Some(known) = self.known.get(&machine) {
            return *known;
        }
        let before = self.met.get(path).copied().unwrap_or_default();
        let identity = hash(path, before);
        let has_room = self.known.len().max(self.met.len()) < limits::FILE_IDENTITIES_MAX;
        if has_name && has_room {
            self.met.insert(path.to_owned(), before.saturating_add(1));
            self.known.insert(machine, identity);
        }
        identity
    }

    /// Forgets a file that lost its last name.
    pub(super) fn forget(&mut self, machine: Machine) {
        self.known.remove(&machine);
    }
}

fn hash(path: &str, before: u64) -> fs::MetadataHashValue {
    let mut hash = Sha256::new();
    hash.update(b"skillhost metadata 2");
    hash.update(before.to_le_bytes());
    hash.update(path);
    let bytes: [u8; 32] = hash.finalize().into();
    let (lower, rest) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[]));
    let upper = rest.first_chunk().unwrap_or(&[0; 8]);
    fs::MetadataHashValue { lower: u64::from_le_bytes(*lower), upper: u64::from_le_bytes(*upper) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(identity: fs::MetadataHashValue) -> (u64, u64) {
        (identity.upper, identity.lower)
    }

    #[test]
    fn a_file_keeps_its_identity_under_other_names() {
        let mut files = Identities::default();
        let one = pair(files.of((1, 1), "/a", true));
        assert_eq!(pair(files.of((1, 1), "/b", true)), one);
        let two = pair(files.of((2, 2), "/a", true));
        assert_ne!(two, one, "another file in the place of a renamed one");
        assert_ne!(pair(files.of((3, 3), "/b", true)), one);
    }

    #[test]
    fn the_machine_does_not_show() {
        let (mut here, mut there) = (Identities::default(), Identities::default());
        assert_eq!(pair(here.of((1, 2), "/a", true)), pair(there.of((8, 9), "/a", true)));
        // What the machine knew a removed file by is used again in one place and not in the other.
        here.forget((1, 2));
        there.forget((8, 9));
        assert_eq!(pair(here.of((1, 2), "/a", true)), pair(there.of((5, 5), "/a", true)));
    }

    #[test]
    fn a_file_without_a_name_is_not_remembered() {
        let mut files = Identities::default();
        let open = pair(files.of((1, 1), "/a", false));
        assert!(files.is_empty());
        assert_eq!(pair(files.of((1, 1), "/b", true)), pair(Identities::default().of((7, 7), "/b", true)));
        assert_eq!(pair(files.of((2, 2), "/a", false)), open);
    }

    #[test]
    fn beyond_the_limit_the_path_alone_counts() {
        let mut files = Identities::default();
        for file in 0..limits::FILE_IDENTITIES_MAX as u64 {
            files.of((file, 0), &file.to_string(), true);
        }
        let more = pair(files.of((0, 1), "/more", true));
        assert_eq!((files.known.len(), files.met.len()), (limits::FILE_IDENTITIES_MAX, limits::FILE_IDENTITIES_MAX));
        assert_eq!(pair(files.of((0, 2), "/more", true)), more);
    }
}
