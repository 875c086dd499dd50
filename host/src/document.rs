//! Reading a document's file: bounded, with errors that say what to do. The only place where documents meet the file system.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::limits;
use crate::problem::{Problem, shown};
use crate::regular;

/// Reads a file of at most [`limits::DOCUMENT_BYTES_MAX`] bytes.
///
/// # Errors
///
/// A problem if there is no such file, it is a folder, it is too large or it cannot be read. A larger file is not read to its end.
pub fn read_limited(path: &Path) -> Result<Vec<u8>, Problem> {
    read_bounded(path, limits::DOCUMENT_BYTES_MAX)
}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
///
/// As [`read_limited`].
pub fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Problem> {
    let name = shown(&path.display().to_string());
    let failed = |error: &std::io::Error| unreadable(&name, error);
    let file = regular::open_named(path).map_err(|error| failed(&error))?;
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    if metadata.len() > bytes_max {
        return Err(too_large(&name, bytes_max));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large(&name, bytes_max));
    }
    Ok(bytes)
}

/// Why a file cannot be read.
pub(crate) fn unreadable(name: &str, error: &std::io::Error) -> Problem {
    match error.kind() {
        ErrorKind::NotFound => Problem::new("no-such-file", "", format!("there is no file `{name}`"))
            .with_hint("check the path and the current folder"),
        ErrorKind::PermissionDenied => Problem::new("unreadable-file", "", format!("no permission to read `{name}`"))
            .with_hint("check the file's owner and mode"),
        ErrorKind::IsADirectory => not_a_file(name),
        _ if regular::is_wrong(error) => not_a_file(name),
        _ => Problem::new("unreadable-file", "", format!("cannot read `{name}`: {error}")),
    }
}

pub(crate) fn too_large(name: &str, bytes_max: u64) -> Problem {
    let message = format!("`{name}` is larger than {bytes_max} bytes");
    Problem::new("document-too-large", "", message).with_hint("large data belongs into files that steps read")
}

pub(crate) fn not_a_file(name: &str) -> Problem {
    Problem::new("not-a-file", "", format!("`{name}` is not a file")).with_hint("give the path of a document")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::plan::{PlanDocument, PlanFormat};

    #[test]
    fn what_is_no_readable_file_is_named() {
        let folder = std::env::temp_dir().join(format!("skillhost-document-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let large = folder.join("large.json");
        std::fs::File::create(&large).unwrap().set_len(1 << 30).unwrap();
        std::fs::write(folder.join("a.yml"), "a: no").unwrap();
        std::fs::write(folder.join("a.json"), "{\"a\": 1}").unwrap();
        for (path, code) in [
            (folder.join("absent.json"), "no-such-file"),
            (folder.clone(), "not-a-file"),
            (large, "document-too-large"),
            (std::path::PathBuf::from("/dev/zero"), "not-a-file"),
        ] {
            assert_eq!(read_limited(&path).unwrap_err().code, code, "{path:?}");
        }
        for (file, format, value) in [
            ("a.yml", PlanFormat::Yaml, serde_json::json!({"a": "no"})),
            ("a.json", PlanFormat::Json, serde_json::json!({"a": 1})),
        ] {
            let document = PlanDocument::read(&folder.join(file)).unwrap();
            assert_eq!(document.format(), format, "{file}");
            let read = match format {
                PlanFormat::Yaml => json::parse_yaml(document.bytes()),
                PlanFormat::Json => json::parse(document.bytes()),
            };
            assert_eq!(read.unwrap(), value);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
