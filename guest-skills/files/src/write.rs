//! Writing whole files and adding to their end.

use std::fs::OpenOptions;
use std::io::Write;

use crate::error::{check_path, from_io};
use crate::tools::{Error, Written};

/// Writes `bytes` as the file's whole content; where `overwrite` is false the file must not exist.
pub(crate) fn replace(path: &str, bytes: &[u8], overwrite: bool) -> Result<Written, Error> {
    let mut options = OpenOptions::new();
    if overwrite {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    put(options.write(true), path, bytes)
}

/// Adds `text` to the file's end.
pub(crate) fn append(path: &str, text: &str) -> Result<Written, Error> {
    put(OpenOptions::new().create(true).append(true), path, text.as_bytes())
}

fn put(options: &OpenOptions, path: &str, bytes: &[u8]) -> Result<Written, Error> {
    check_path(path)?;
    let mut file = options.open(path).map_err(|error| from_io(path, &error))?;
    file.write_all(bytes).map_err(|error| from_io(path, &error))?;
    file.flush().map_err(|error| from_io(path, &error))?;
    Ok(Written { path: path.to_owned(), bytes: bytes.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::ErrorCode;

    #[test]
    fn overwrites_only_where_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a").to_str().unwrap().to_owned();
        assert_eq!(replace(&path, b"long text", false).unwrap().bytes, 9);
        assert_eq!(replace(&path, b"x", false).unwrap_err().code, ErrorCode::AlreadyExists);
        assert_eq!(replace(&path, b"short", true).unwrap().bytes, 5);
        assert_eq!(append(&path, "er").unwrap().bytes, 2);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "shorter");
    }

    #[test]
    fn needs_a_parent_and_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(replace(&format!("{path}/no/a"), b"", true).unwrap_err().code, ErrorCode::NotFound);
        assert_eq!(replace(path, b"", true).unwrap_err().code, ErrorCode::IsADirectory);
        assert_eq!(append(path, "").unwrap_err().code, ErrorCode::IsADirectory);
    }
}
