//! From `std::io` errors to the skill's own: a code for programs, a sentence that says what to do for people.

use std::io::{self, ErrorKind};

use crate::tools::{Error, ErrorCode};

/// An error with a message of its own.
pub(crate) fn fail(code: ErrorCode, path: &str, message: impl Into<String>) -> Error {
    Error { code, message: message.into(), path: Some(path.to_owned()) }
}

/// The error for a failed file operation at `path`.
pub(crate) fn from_io(path: &str, error: &io::Error) -> Error {
    let (code, message) = match kind(error) {
        ErrorKind::NotFound => (
            ErrorCode::NotFound,
            "nothing is there, or no granted folder holds it: check the path, or write it first".to_owned(),
        ),
        ErrorKind::AlreadyExists => {
            (ErrorCode::AlreadyExists, "it exists already: give another path, or ask to overwrite it".to_owned())
        }
        ErrorKind::IsADirectory => (ErrorCode::IsADirectory, "it is a folder: give the path of a file".to_owned()),
        ErrorKind::NotADirectory => (
            ErrorCode::NotADirectory,
            "it is not a folder, or a part of its path is not: give the path of a folder".to_owned(),
        ),
        ErrorKind::DirectoryNotEmpty => {
            (ErrorCode::DirectoryNotEmpty, "the folder is not empty: empty it, or remove it with recursive".to_owned())
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            (ErrorCode::Denied, "the grant does not allow this: ask for access to the path in the policy".to_owned())
        }
        ErrorKind::InvalidInput | ErrorKind::InvalidFilename => {
            (ErrorCode::InvalidInput, format!("the file system does not accept the path: {error}"))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            (ErrorCode::TooLarge, "there is no room for it: write less, or remove something first".to_owned())
        }
        _ => (ErrorCode::Io, format!("the file system refused: {error}")),
    };
    Error { code, message, path: Some(path.to_owned()) }
}

/// What kind of error it is. On WASI the standard library tells only some kinds apart; the numbers of the others are those of
/// `wasi:snapshot-preview1`, which do not change.
pub(crate) fn kind(error: &io::Error) -> ErrorKind {
    if cfg!(target_os = "wasi") {
        match error.raw_os_error() {
            Some(22) => return ErrorKind::FileTooLarge,
            Some(31) => return ErrorKind::IsADirectory,
            Some(37) => return ErrorKind::InvalidFilename,
            Some(51) => return ErrorKind::StorageFull,
            Some(54) => return ErrorKind::NotADirectory,
            Some(55) => return ErrorKind::DirectoryNotEmpty,
            Some(69) => return ErrorKind::ReadOnlyFilesystem,
            Some(75) => return ErrorKind::CrossesDevices,
            Some(76) => return ErrorKind::PermissionDenied,
            _ => {}
        }
    }
    error.kind()
}

/// Refuses the empty path, which would otherwise fail in a different way for every tool.
pub(crate) fn check_path(path: &str) -> Result<(), Error> {
    if path.is_empty() {
        return Err(fail(
            ErrorCode::InvalidInput,
            path,
            "the path is empty: give an absolute path in a granted folder",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_start_lower_case_and_end_without_period() {
        for kind in
            [ErrorKind::NotFound, ErrorKind::AlreadyExists, ErrorKind::PermissionDenied, ErrorKind::InvalidInput]
        {
            let error = from_io("/x", &io::Error::from(kind));
            assert!(error.message.starts_with(char::is_lowercase), "{}", error.message);
            assert!(!error.message.ends_with('.'), "{}", error.message);
        }
    }
}
