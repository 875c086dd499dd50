//! The bytes that are too large for an event, each in a file of its digest's name. Written once, never changed, checked when read.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::{TraceError, io_error};
use crate::id::Digest;
use crate::limits;
use crate::regular;

/// The blobs of one run. One writer at a time; readers need no lock, since a file appears under its name only when it is whole.
#[derive(Debug, Clone)]
pub struct BlobStore {
    folder: PathBuf,
    known: BTreeSet<Digest>,
}

impl BlobStore {
    /// A store in `folder`, which is created with the first blob.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), known: BTreeSet::new() }
    }

    /// Where the blobs are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a blob, whether it exists or not.
    #[must_use]
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    /// Keeps `bytes`, whose digest the caller has computed. A blob that is there already is not written again.
    ///
    /// # Errors
    ///
    /// [`TraceError::Blob`] when `bytes` are more than [`limits::BLOB_BYTES_MAX`]; [`TraceError::Io`] when they cannot be stored.
    pub fn put(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), TraceError> {
        if self.known.contains(&digest) {
            return Ok(());
        }
        debug_assert_eq!(Digest::of(bytes), digest, "a blob must be stored under its own digest");
        if bytes.len() > limits::BLOB_BYTES_MAX {
            let what = format!("it has {} bytes; at most {} can be stored", bytes.len(), limits::BLOB_BYTES_MAX);
            return Err(TraceError::Blob { digest, what });
        }
        let path = self.path(digest);
        if !path.exists() {
            self.write(&path, digest, bytes)?;
        }
        self.known.insert(digest);
        Ok(())
    }

    fn write(&self, path: &Path, digest: Digest, bytes: &[u8]) -> Result<(), TraceError> {
        if self.known.is_empty() {
            crate::store::create_folder(&self.folder).map_err(io_error("create", &self.folder))?;
        }
        // A file that a killed process left behind is overwritten.
        let temporary = self.folder.join(format!(".{digest}.tmp"));
        let written = crate::store::create_file(&temporary).and_then(|mut file| file.write_all(bytes));
        written.map_err(io_error("write", &temporary))?;
        fs::rename(&temporary, path).map_err(io_error("create", path))
    }

    /// Reads a blob back.
    ///
    /// # Errors
    ///
    /// [`TraceError::Blob`] when it is missing, too large, or not what its digest says; [`TraceError::Io`] when it cannot be read.
    pub fn get(&self, digest: Digest) -> Result<Vec<u8>, TraceError> {
        let path = self.path(digest);
        let wrong = |what: &str| TraceError::Blob { digest, what: what.to_owned() };
        let file = match regular::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(wrong("it is missing from the run's folder"));
            }
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let mut bytes = Vec::new();
        let bound = u64::try_from(limits::BLOB_BYTES_MAX).unwrap_or(u64::MAX);
        file.take(bound.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error("read", &path))?;
        if bytes.len() > limits::BLOB_BYTES_MAX {
            return Err(wrong("its file is larger than a blob can be"));
        }
        if Digest::of(&bytes) != digest {
            return Err(wrong("its file was changed: the bytes have another digest"));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_written_once_and_checked_when_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut blobs = BlobStore::new(folder.path().join("blobs"));
        let digest = Digest::of(b"bytes");
        assert!(blobs.get(digest).unwrap_err().to_string().contains("missing"));
        blobs.put(digest, b"bytes").unwrap();
        blobs.put(digest, b"bytes").unwrap();
        BlobStore::new(blobs.folder()).put(digest, b"bytes").unwrap();
        assert_eq!(blobs.get(digest).unwrap(), b"bytes");
        assert_eq!(fs::read_dir(blobs.folder()).unwrap().count(), 1);
        fs::write(blobs.path(digest), b"bytEs").unwrap();
        assert!(blobs.get(digest).unwrap_err().to_string().contains("changed"));
    }
}
