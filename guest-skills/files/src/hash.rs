//! The digest of a file, streamed.

use std::fmt::Write as _;
use std::io::Read;

use sha2::{Digest as _, Sha256};

use crate::error::from_io;
use crate::limits::CHUNK_BYTES;
use crate::tools::{Digest, Error};
use crate::transfer::open_file;

/// SHA-256 and size of a file.
pub(crate) fn hash(path: &str) -> Result<Digest, Error> {
    let mut file = open_file(path)?;
    let mut state = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut chunk).map_err(|error| from_io(path, &error))?;
        let Some(part) = chunk.get(..count).filter(|part| !part.is_empty()) else { break };
        state.update(part);
        bytes += part.len() as u64;
    }
    let mut sha256 = String::with_capacity(64);
    for byte in state.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(sha256, "{byte:02x}");
    }
    Ok(Digest { sha256, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_known_digests() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a").to_str().unwrap().to_owned();
        std::fs::write(&path, "").unwrap();
        assert_eq!(hash(&path).unwrap().sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        std::fs::write(&path, "a".repeat(1_000_000)).unwrap();
        let digest = hash(&path).unwrap();
        assert_eq!(digest.sha256, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
        assert_eq!(digest.bytes, 1_000_000);
    }
}
