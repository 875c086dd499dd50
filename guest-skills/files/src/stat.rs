//! What a path names.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::time::UNIX_EPOCH;

use crate::error::{check_path, from_io, kind as error_kind};
use crate::tools::{Error, Facts, Kind};

/// Kind and size of a path, links followed.
pub(crate) fn stat(path: &str, times: bool) -> Result<Facts, Error> {
    check_path(path)?;
    let facts = fs::metadata(path).map_err(|error| from_io(path, &error))?;
    let modified_ms = if times { modified_ms(&facts) } else { None };
    Ok(Facts { path: path.to_owned(), kind: kind(&facts), size: size(&facts), modified_ms })
}

/// Whether anything is at a path; a link counts even where its target is missing.
pub(crate) fn exists(path: &str) -> Result<bool, Error> {
    check_path(path)?;
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error_kind(&error), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(from_io(path, &error)),
    }
}

/// What the path names.
pub(crate) fn kind(facts: &Metadata) -> Kind {
    let kind = facts.file_type();
    if kind.is_symlink() {
        Kind::Symlink
    } else if kind.is_dir() {
        Kind::Directory
    } else if kind.is_file() {
        Kind::File
    } else {
        Kind::Other
    }
}

/// Bytes of a file. What a folder's size means differs between file systems, so it is 0.
pub(crate) fn size(facts: &Metadata) -> u64 {
    if facts.is_file() { facts.len() } else { 0 }
}

/// Whether two paths are one file under different spellings. Hard links are not noticed: WASI does not tell.
pub(crate) fn same_file(one: &str, other: &str) -> bool {
    one == other || matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

fn modified_ms(facts: &Metadata) -> Option<i64> {
    let modified = facts.modified().ok()?;
    match modified.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).ok(),
        Err(before) => i64::try_from(before.duration().as_millis()).ok().map(|ms| -ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::ErrorCode;

    #[test]
    fn tells_kind_and_size_and_times_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a").to_str().unwrap().to_owned();
        fs::write(&path, "abc").unwrap();
        let facts = stat(&path, false).unwrap();
        assert_eq!((facts.kind, facts.size, facts.modified_ms), (Kind::File, 3, None));
        assert!(stat(&path, true).unwrap().modified_ms.unwrap() > 0);
        let folder = stat(dir.path().to_str().unwrap(), false).unwrap();
        assert_eq!((folder.kind, folder.size), (Kind::Directory, 0));
        assert_eq!(stat(&format!("{path}/b"), false).unwrap_err().code, ErrorCode::NotADirectory);
    }

    #[test]
    fn exists_is_false_where_nothing_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a").to_str().unwrap().to_owned();
        assert!(!exists(&path).unwrap());
        fs::write(&path, "").unwrap();
        assert!(exists(&path).unwrap());
        assert!(!exists(&format!("{path}/b")).unwrap());
    }
}
