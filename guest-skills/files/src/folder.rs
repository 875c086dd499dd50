//! Listing and making folders.

use std::fs;
use std::io::ErrorKind;

use crate::error::{check_path, fail, from_io, kind as error_kind};
use crate::limits::MAX_RESULTS;
use crate::stat::{kind, size};
use crate::tools::{Entry, Error, ErrorCode, Made};

/// The folder's entries, sorted by the bytes of their names.
pub(crate) fn list(path: &str) -> Result<Vec<Entry>, Error> {
    check_path(path)?;
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| from_io(path, &error))? {
        let entry = entry.map_err(|error| from_io(path, &error))?;
        if entries.len() == MAX_RESULTS {
            let message = format!("the folder has more than {MAX_RESULTS} entries: use find with a narrower pattern");
            return Err(fail(ErrorCode::TooLarge, path, message));
        }
        let facts = entry.metadata().map_err(|error| from_io(path, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        entries.push(Entry { name, kind: kind(&facts), size: size(&facts) });
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// Makes a folder, with its parents where asked.
pub(crate) fn make(path: &str, parents: bool) -> Result<Made, Error> {
    check_path(path)?;
    let made = |created| Made { path: path.to_owned(), created };
    match fs::metadata(path) {
        Ok(facts) if facts.is_dir() => return Ok(made(false)),
        Ok(_) => return Err(fail(ErrorCode::AlreadyExists, path, "a file is there: remove it, or give another path")),
        Err(error) if error_kind(&error) == ErrorKind::NotFound => {}
        Err(error) => return Err(from_io(path, &error)),
    }
    let result = if parents { fs::create_dir_all(path) } else { fs::create_dir(path) };
    result.map_err(|error| from_io(path, &error))?;
    Ok(made(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::Kind;

    #[test]
    fn lists_in_the_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        for name in ["b", "a", "B", "ä"] {
            fs::write(format!("{path}/{name}"), name).unwrap();
        }
        fs::create_dir(format!("{path}/c")).unwrap();
        let entries = list(path).unwrap();
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["B", "a", "b", "c", "ä"]);
        assert_eq!((entries[3].kind, entries[3].size), (Kind::Directory, 0));
        assert_eq!((entries[4].kind, entries[4].size), (Kind::File, 2));
        assert_eq!(list(&format!("{path}/a")).unwrap_err().code, ErrorCode::NotADirectory);
    }

    #[test]
    fn makes_parents_unless_told_not_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(make(&format!("{path}/x/y"), false).unwrap_err().code, ErrorCode::NotFound);
        assert!(make(&format!("{path}/x/y"), true).unwrap().created);
        assert!(!make(&format!("{path}/x/y"), false).unwrap().created);
        fs::write(format!("{path}/f"), "").unwrap();
        assert_eq!(make(&format!("{path}/f"), true).unwrap_err().code, ErrorCode::AlreadyExists);
    }
}
