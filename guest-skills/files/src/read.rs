//! Reading whole files, up to a limit.

use std::fs::File;
use std::io::Read;

use crate::error::{check_path, fail, from_io};
use crate::limits::MAX_READ_BYTES;
use crate::tools::{Error, ErrorCode};

/// The file's bytes.
pub(crate) fn bytes(path: &str) -> Result<Vec<u8>, Error> {
    check_path(path)?;
    let file = File::open(path).map_err(|error| from_io(path, &error))?;
    let facts = file.metadata().map_err(|error| from_io(path, &error))?;
    if facts.is_dir() {
        return Err(fail(ErrorCode::IsADirectory, path, "it is a folder: give the path of a file"));
    }
    // The size is a hint that saves reallocation; what is read decides, since a file may grow meanwhile.
    let mut bytes = Vec::with_capacity(usize::try_from(facts.len().min(MAX_READ_BYTES)).unwrap_or(0));
    file.take(MAX_READ_BYTES + 1).read_to_end(&mut bytes).map_err(|error| from_io(path, &error))?;
    if bytes.len() as u64 > MAX_READ_BYTES {
        let message =
            format!("the file has more than {MAX_READ_BYTES} bytes: use a tool that streams, such as hash or copy");
        return Err(fail(ErrorCode::TooLarge, path, message));
    }
    Ok(bytes)
}

/// The file's text.
pub(crate) fn text(path: &str) -> Result<String, Error> {
    String::from_utf8(bytes(path)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        fail(ErrorCode::NotUtf8, path, format!("byte {at} is not UTF-8: read it with read-bytes"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_READ_BYTES;

    #[test]
    fn reads_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt").to_str().unwrap().to_owned();
        std::fs::write(&path, "grüße\n").unwrap();
        assert_eq!(text(&path).unwrap(), "grüße\n");
        std::fs::write(&path, b"ab\xff").unwrap();
        let error = text(&path).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotUtf8);
        assert!(error.message.contains("byte 2"), "{}", error.message);
    }

    #[test]
    fn refuses_folders_missing_files_and_the_empty_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(bytes(path).unwrap_err().code, ErrorCode::IsADirectory);
        assert_eq!(bytes(&format!("{path}/none")).unwrap_err().code, ErrorCode::NotFound);
        assert_eq!(bytes("").unwrap_err().code, ErrorCode::InvalidInput);
    }

    #[test]
    fn stops_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large").to_str().unwrap().to_owned();
        let file = File::create(&path).unwrap();
        file.set_len(MAX_READ_BYTES).unwrap();
        assert_eq!(bytes(&path).unwrap().len() as u64, MAX_READ_BYTES);
        file.set_len(MAX_READ_BYTES + 1).unwrap();
        assert_eq!(bytes(&path).unwrap_err().code, ErrorCode::TooLarge);
    }
}
