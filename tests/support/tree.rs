//! Folders as values.

use std::collections::BTreeMap;
use std::path::Path;

/// Everything below a folder: path to kind and content. Equal trees are equal folders.
pub fn read(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&at) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(folder).expect("below").to_string_lossy().into_owned();
            let kind = std::fs::symlink_metadata(&path).expect("it is there").file_type();
            let value = if kind.is_dir() {
                folders.push(path);
                "folder".to_owned()
            } else if kind.is_symlink() {
                format!("-> {}", std::fs::read_link(&path).expect("a link").display())
            } else if kind.is_file() {
                format!("file {:?}", String::from_utf8_lossy(&std::fs::read(&path).expect("readable")))
            } else {
                "other".to_owned()
            };
            found.insert(name, value);
        }
    }
    found
}

/// Copies a folder: fresh inodes, fresh times.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}
