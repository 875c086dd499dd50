//! Copying and moving.

use std::fs;
use std::io::{self, ErrorKind};

use crate::error::{check_path, fail, from_io, kind as error_kind};
use crate::stat::same_file;
use crate::tools::{Error, ErrorCode, Transferred};

/// Copies a file's content.
pub(crate) fn copy(source: &str, target: &str, overwrite: bool) -> Result<Transferred, Error> {
    check_path(target)?;
    let mut input = open_file(source)?;
    // Opening the target empties it, so the same file under another spelling must be noticed before.
    if same_file(source, target) {
        return Err(fail(ErrorCode::InvalidInput, target, "source and target are the same file: give another target"));
    }
    let mut options = fs::OpenOptions::new();
    if overwrite {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut output = options.write(true).open(target).map_err(|error| from_io(target, &error))?;
    let bytes = io::copy(&mut input, &mut output).map_err(|error| from_io(target, &error))?;
    Ok(Transferred { source: source.to_owned(), target: target.to_owned(), bytes })
}

/// Moves a file or folder; a file also from one granted folder to another.
pub(crate) fn rename(source: &str, target: &str, overwrite: bool) -> Result<Transferred, Error> {
    check_path(source)?;
    check_path(target)?;
    let facts = fs::symlink_metadata(source).map_err(|error| from_io(source, &error))?;
    let same = same_file(source, target);
    if !overwrite && !same && fs::symlink_metadata(target).is_ok() {
        return Err(from_io(target, &io::Error::from(ErrorKind::AlreadyExists)));
    }
    let bytes = if facts.is_file() { facts.len() } else { 0 };
    let done = Transferred { source: source.to_owned(), target: target.to_owned(), bytes };
    if same {
        return Ok(done);
    }
    match fs::rename(source, target) {
        Ok(()) => Ok(done),
        Err(error) if error_kind(&error) == ErrorKind::CrossesDevices && facts.is_file() => {
            copy(source, target, overwrite)?;
            fs::remove_file(source).map_err(|error| from_io(source, &error))?;
            Ok(done)
        }
        Err(error) if error_kind(&error) == ErrorKind::InvalidInput && facts.is_dir() => {
            Err(fail(ErrorCode::InvalidInput, target, "a folder cannot be moved into itself: give a target outside it"))
        }
        Err(error) => Err(from_io(target, &error)),
    }
}

/// Opens a file for reading and refuses a folder.
pub(crate) fn open_file(path: &str) -> Result<fs::File, Error> {
    check_path(path)?;
    let file = fs::File::open(path).map_err(|error| from_io(path, &error))?;
    if file.metadata().map_err(|error| from_io(path, &error))?.is_dir() {
        return Err(fail(ErrorCode::IsADirectory, path, "it is a folder: give the path of a file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        fs::write(format!("{path}/a"), "text").unwrap();
        (dir, path)
    }

    #[test]
    fn copies_and_refuses_to_overwrite() {
        let (_dir, path) = fixture();
        let (a, b) = (format!("{path}/a"), format!("{path}/b"));
        assert_eq!(copy(&a, &b, false).unwrap().bytes, 4);
        assert_eq!(copy(&a, &b, false).unwrap_err().code, ErrorCode::AlreadyExists);
        copy(&a, &b, true).unwrap();
        assert_eq!(fs::read_to_string(&b).unwrap(), "text");
        assert_eq!(copy(&path, &b, true).unwrap_err().code, ErrorCode::IsADirectory);
    }

    #[test]
    fn a_copy_onto_itself_keeps_the_content() {
        let (_dir, path) = fixture();
        let a = format!("{path}/a");
        assert_eq!(copy(&a, &format!("{path}/./a"), true).unwrap_err().code, ErrorCode::InvalidInput);
        assert_eq!(fs::read_to_string(&a).unwrap(), "text");
    }

    #[test]
    fn moves_files_and_folders() {
        let (_dir, path) = fixture();
        let (a, b) = (format!("{path}/a"), format!("{path}/b"));
        fs::write(&b, "old").unwrap();
        assert_eq!(rename(&a, &b, false).unwrap_err().code, ErrorCode::AlreadyExists);
        assert_eq!(rename(&a, &b, true).unwrap().bytes, 4);
        assert_eq!(fs::read_to_string(&b).unwrap(), "text");
        assert_eq!(rename(&a, &b, true).unwrap_err().code, ErrorCode::NotFound);
        fs::create_dir(&a).unwrap();
        assert_eq!(rename(&a, &format!("{a}/in"), false).unwrap_err().code, ErrorCode::InvalidInput);
        assert_eq!(rename(&a, &a, false).unwrap().bytes, 0);
    }
}
