//! New folders of files: made as a whole or not at all, and never over what is there.

use std::io;
use std::path::{Path, PathBuf};

/// One file of a new folder.
#[derive(Debug, Clone)]
pub struct NewFile<'a> {
    /// Its path from the folder on, with `/` between names.
    pub path: String,
    /// What is in it.
    pub content: std::borrow::Cow<'a, [u8]>,
    /// Whether it is a program.
    pub executable: bool,
}

impl<'a> NewFile<'a> {
    /// A file that is no program.
    pub fn new(path: impl Into<String>, content: impl Into<std::borrow::Cow<'a, [u8]>>) -> Self {
        Self { path: path.into(), content: content.into(), executable: false }
    }

    /// A text.
    pub fn text(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(path, text.into().into_bytes())
    }

    /// The same as a program.
    #[must_use]
    pub const fn executable(mut self) -> Self {
        self.executable = true;
        self
    }
}

/// Why a folder was not made.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// Something has that name.
    #[error("`{}` is there already", path.display())]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl ScaffoldError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => Some("choose another name, or remove it first".to_owned()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or choose another place".to_owned())
            }
            Self::Io { .. } => Some("choose a place in a folder that is there and that you may write to".to_owned()),
        }
    }
}

/// Makes the folder `path` with these files. Writes beside it first, so that it is there with all of them or not at all.
///
/// # Errors
///
/// [`ScaffoldError`]; nothing is left behind then.
pub fn create(path: &Path, files: &[NewFile<'_>]) -> Result<(), ScaffoldError> {
    if path.symlink_metadata().is_ok() {
        return Err(ScaffoldError::Exists { path: path.to_owned() });
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ScaffoldError::Io { path, source }
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = parent.join(format!(".{name}.new"));
    std::fs::create_dir_all(parent).map_err(failed(parent))?;
    std::fs::create_dir(&beside).map_err(failed(&beside))?;
    let written = write_all(&beside, files).and_then(|()| std::fs::rename(&beside, path).map_err(failed(path)));
    if written.is_err() {
        // What is left of it is of no use; that it cannot be removed either is not worth more words than the first failure.
        drop(std::fs::remove_dir_all(&beside));
    }
    written
}

/// Writes a file in the place of what is there: it is the old one or the new one, never a part.
///
/// # Errors
///
/// [`ScaffoldError::Io`]; what was there is untouched then.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), ScaffoldError> {
    let failed = |source| ScaffoldError::Io { path: path.to_owned(), source };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = path.with_file_name(format!(".{name}.new"));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let written = std::fs::write(&beside, content).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        drop(std::fs::remove_file(&beside));
    }
    written.map_err(failed)
}

fn write_all(folder: &Path, files: &[NewFile<'_>]) -> Result<(), ScaffoldError> {
    for file in files {
        let place = folder.join(&file.path);
        let failed = |source| ScaffoldError::Io { path: place.clone(), source };
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        std::fs::write(&place, &file.content).map_err(failed)?;
        if file.executable {
            make_executable(&place).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let files = [NewFile::text("a/b.txt", "1"), NewFile::text("run", "#!").executable()];
        create(&path, &files).unwrap();
        assert_eq!(std::fs::read(path.join("a/b.txt")).unwrap(), b"1");
        assert!(matches!(create(&path, &files), Err(ScaffoldError::Exists { .. })));
        // The second file cannot be written: its folder is a file.
        let bad = [NewFile::text("a", "1"), NewFile::text("a/b", "2")];
        let other = folder.path().join("other");
        assert!(matches!(create(&other, &bad), Err(ScaffoldError::Io { .. })));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["new"]);
    }
}
