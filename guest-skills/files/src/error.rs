//! From `std::io` errors to the skill's own: a code for programs, a sentence that says what to do for people.

use std::io::{self, ErrorKind};

use crate::bindings::{Error, ErrorCode};

/// An error with a message of its own.
pub(crate) fn fail(code: ErrorCode, path: &str, message: impl Into<String>) -> Error {
    Error { code, message: message.into(), path: Some(path.to_owned()) }
}

/// The error for a failed file operation at `path`.
pub(crate) fn from_io(path: &str, error: &io::Error) -> Error {
    let (code, message) = match error.kind() {
        ErrorKind::NotFound => (ErrorCode::NotFound, "nothing is there: check the path, or write it first".to_owned()),
        ErrorKind::AlreadyExists => {
            (ErrorCode::AlreadyExists, "it exists already: give another path, or ask to overwrite it".to_owned())
        }
        ErrorKind::IsADirectory => (ErrorCode::IsADirectory, "it is a folder: give the path of a file".to_owned()),
        ErrorKind::NotADirectory => (
            ErrorCode::NotADirectory,
            "it is not a folder, or a part of its path is not: give the path of a folder".to_owned(),
        ),
        ErrorKind::DirectoryNotEmpty => {
            (ErrorCode::DirectoryNotEmpty, "the folder is not empty: empty it, or delete it with recursive".to_owned())
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            (ErrorCode::Denied, "the grant does not allow this: ask for access to the path in the policy".to_owned())
        }
        ErrorKind::InvalidInput | ErrorKind::InvalidFilename => {
            (ErrorCode::InvalidInput, format!("the file system does not accept the path: {error}"))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            (ErrorCode::TooLarge, "there is no room for it: write less, or delete something first".to_owned())
        }
        // The standard library looks the path up among the granted folders before it asks the host; only that failure has no errno.
        _ if error.raw_os_error().is_none() => {
            (ErrorCode::Denied, "no granted folder holds the path: use one that the policy grants".to_owned())
        }
        _ => (ErrorCode::Io, format!("the file system refused: {error}")),
    };
    Error { code, message, path: Some(path.to_owned()) }
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

    #[test]
    fn an_error_without_errno_means_that_no_folder_was_granted() {
        let error = from_io("/x", &io::Error::other("failed to find a pre-opened file descriptor"));
        assert_eq!(error.code, ErrorCode::Denied);
    }
}
