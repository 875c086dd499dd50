//! Removing files and folders. The walk keeps its own stack, so that a deep tree cannot exhaust the call stack.

use std::fs;
use std::path::PathBuf;

use crate::error::{check_path, fail, from_io};
use crate::limits::{MAX_DEPTH, MAX_VISITED};
use crate::tools::{Error, ErrorCode, Removed};

/// Removes what is at `path`; a folder with entries only where `recursive` is true.
pub(crate) fn remove(path: &str, recursive: bool) -> Result<Removed, Error> {
    check_path(path)?;
    let facts = fs::symlink_metadata(path).map_err(|error| from_io(path, &error))?;
    let entries = if !facts.is_dir() {
        fs::remove_file(path).map(|()| 1).map_err(|error| from_io(path, &error))?
    } else if recursive {
        remove_tree(path)?
    } else {
        fs::remove_dir(path).map(|()| 1).map_err(|error| from_io(path, &error))?
    };
    Ok(Removed { path: path.to_owned(), entries })
}

/// Removes a folder and all below it. Nothing is removed where the tree exceeds a limit: it is counted first.
fn remove_tree(root: &str) -> Result<u64, Error> {
    // Parents stand before their children, so the reverse order empties every folder before it goes.
    let mut found: Vec<(PathBuf, bool)> = vec![(PathBuf::from(root), true)];
    let mut pending: Vec<(PathBuf, usize)> = vec![(PathBuf::from(root), 0)];
    while let Some((folder, depth)) = pending.pop() {
        if depth > MAX_DEPTH {
            let message = format!("the folder is more than {MAX_DEPTH} levels deep: remove its parts first");
            return Err(fail(ErrorCode::TooLarge, root, message));
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|error| from_io(root, &error))? {
            let entry = entry.map_err(|error| from_io(root, &error))?;
            let is_folder = entry.file_type().map_err(|error| from_io(root, &error))?.is_dir();
            entries.push((entry.path(), is_folder));
            if found.len() + entries.len() > MAX_VISITED {
                let message = format!("the folder has more than {MAX_VISITED} entries: remove its parts first");
                return Err(fail(ErrorCode::TooLarge, root, message));
            }
        }
        entries.sort();
        for (path, is_folder) in entries {
            if is_folder {
                pending.push((path.clone(), depth + 1));
            }
            found.push((path, is_folder));
        }
    }
    for (path, is_folder) in found.iter().rev() {
        let result = if *is_folder { fs::remove_dir(path) } else { fs::remove_file(path) };
        result.map_err(|error| from_io(&path.to_string_lossy(), &error))?;
    }
    Ok(found.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_files_and_empty_folders() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        fs::create_dir(format!("{path}/d")).unwrap();
        fs::write(format!("{path}/d/f"), "").unwrap();
        assert_eq!(remove(&format!("{path}/d"), false).unwrap_err().code, ErrorCode::DirectoryNotEmpty);
        assert_eq!(remove(&format!("{path}/d/f"), false).unwrap().entries, 1);
        assert_eq!(remove(&format!("{path}/d"), false).unwrap().entries, 1);
        assert_eq!(remove(&format!("{path}/d"), true).unwrap_err().code, ErrorCode::NotFound);
    }

    #[test]
    fn removes_trees_and_leaves_what_links_point_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        fs::write(format!("{path}/kept"), "").unwrap();
        fs::create_dir_all(format!("{path}/d/e/f")).unwrap();
        fs::write(format!("{path}/d/e/g"), "").unwrap();
        std::os::unix::fs::symlink(path, format!("{path}/d/link")).unwrap();
        assert_eq!(remove(&format!("{path}/d"), true).unwrap().entries, 5);
        assert!(fs::exists(format!("{path}/kept")).unwrap());
    }

    #[test]
    fn a_tree_beyond_the_depth_limit_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d").to_str().unwrap().to_owned();
        let deep = format!("{path}{}", "/d".repeat(MAX_DEPTH + 1));
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(remove(&path, true).unwrap_err().code, ErrorCode::TooLarge);
        assert!(fs::exists(&deep).unwrap());
    }
}
