//! A folder as a value: what is compared after a recovery. Two folders are equal where nobody could tell them apart but by times and
//! inode numbers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::trace::sha256;

/// Longest content that is shown as it is.
const SHOWN_BYTES_MAX: usize = 80;

/// Path to kind, mode, content, and the first path (in order) of the same file.
pub type Snapshot = BTreeMap<String, String>;

/// Everything below a folder, the folder itself as `.`.
#[must_use]
pub fn of(folder: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    // (device, inode) to the paths that name it.
    let mut links: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    let mut paths = vec![folder.to_owned()];
    while let Some(path) = paths.pop() {
        let inside = path.strip_prefix(folder).expect("below").display().to_string();
        let name = if inside.is_empty() { ".".to_owned() } else { inside };
        let facts = fs::symlink_metadata(&path).expect("it is there");
        let mode = facts.permissions().mode() & 0o7777;
        let kind = facts.file_type();
        let value = if kind.is_dir() {
            paths.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            format!("folder {mode:o}")
        } else if kind.is_symlink() {
            format!("link to {}", fs::read_link(&path).expect("a link").display())
        } else if kind.is_file() {
            links.entry((facts.dev(), facts.ino())).or_default().push(name.clone());
            format!("file {mode:o} {}", content(&fs::read(&path).expect("readable")))
        } else {
            "other".to_owned()
        };
        found.insert(name, value);
    }
    for mut names in links.into_values().filter(|names| names.len() > 1) {
        names.sort_unstable();
        for name in &names {
            found.entry(name.clone()).and_modify(|value| value.push_str(&format!(" with {names:?}")));
        }
    }
    found
}

fn content(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if bytes.len() <= SHOWN_BYTES_MAX {
        format!("{text:?}")
    } else {
        format!("{} bytes {}", bytes.len(), sha256(bytes))
    }
}

/// The first paths in which two folders differ; `None` where they are equal.
#[must_use]
pub fn difference(wanted: &Snapshot, found: &Snapshot) -> Option<String> {
    let paths: std::collections::BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let nothing = "nothing".to_owned();
    let different: Vec<String> = paths
        .into_iter()
        .filter_map(|path| {
            let (was, is) = (wanted.get(path).unwrap_or(&nothing), found.get(path).unwrap_or(&nothing));
            (was != is).then(|| format!("`{path}` is {is}, not {was}"))
        })
        .take(5)
        .collect();
    (!different.is_empty()).then(|| different.join("; "))
}
