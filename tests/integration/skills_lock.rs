//! The committed components are what the lock says, and were built from the sources that are here.

use std::path::Path;

use host_tests::repo;
use host_tests::trace::sha256;

fn collect(folder: &Path, root: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, root, found);
            }
        } else {
            found.push(path.strip_prefix(root).expect("below").to_string_lossy().into_owned());
        }
    }
}

/// The rule in the header of the lock.
fn source_digest(name: &str) -> String {
    let root = repo::root().join("guest-skills");
    let mut files = vec!["Cargo.toml".to_owned(), "Cargo.lock".to_owned()];
    collect(&root.join(name), &root, &mut files);
    files.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    let lines: String = files
        .iter()
        .map(|file| format!("{}  {file}\n", sha256(&std::fs::read(root.join(file)).expect("a source"))))
        .collect();
    sha256(lines.as_bytes())
}

#[test]
fn sources_and_components_match_the_lock() {
    let lock: toml::Table = repo::text("guest-skills/skills.lock").parse().expect("the lock is TOML");
    let mut named: Vec<String> = Vec::new();
    let mut wrong = Vec::new();
    for entry in lock["component"].as_array().expect("components") {
        let field = |key: &str| entry[key].as_str().expect("a text").to_owned();
        let name = field("name");
        if sha256(&repo::component(&name)) != field("component") {
            wrong.push(format!("components/{name}.wasm is not the one in the lock"));
        }
        if source_digest(&name) != field("source") {
            wrong.push(format!("the sources of {name} were changed after it was built"));
        }
        named.push(name);
    }
    assert_eq!(wrong, Vec::<String>::new(), "run guest-skills/build");
    let mut committed: Vec<String> = std::fs::read_dir(repo::root().join("guest-skills/components"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    committed.sort_unstable();
    named.sort_unstable();
    assert_eq!(named, committed);
}
