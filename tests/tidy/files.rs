//! What every source file looks like.

use std::path::Path;

use host_tests::repo;

/// The longest file that a person still reads from top to bottom.
const LINES_MAX: usize = 800;

const FOLDERS: [&str; 10] = [
    "host",
    "tests",
    "benches",
    "fuzz",
    "examples/languages/rust",
    "guest-skills/files",
    "guest-skills/text",
    "guest-skills/json",
    "guest-skills/csv",
    "guest-skills/http",
];

fn sources() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = FOLDERS.iter().flat_map(|folder| repo::rust_files(folder)).collect();
    for program in ["probe", "conformance", "conformance-http"] {
        files.extend(repo::rust_files(&format!("guest-skills/{program}")));
    }
    files
}

/// What opens a file by its path. `regular.rs` does it for the library: it waits for no pipe and follows no link that it should not.
const OPENS: [&str; 6] =
    ["File::open(", "File::create(", "fs::read(", "fs::read_to_string(", "OpenOptions::new()", "fs::copy("];

/// Where that is done by others, and why.
const OPENERS: [(&str, &str); 2] = [
    ("host/src/sandbox/component/cache.rs", "looks at the owner of what it opens"),
    ("host/src/store/run_dir.rs", "copies a run that is checked before"),
];

#[test]
fn files_are_opened_in_one_place() {
    let product = repo::rust_files("host/src").into_iter().filter(|(path, _)| !path.contains("/tests"));
    let opens: Vec<String> = product
        .filter(|(path, _)| !path.ends_with("tests.rs") && path != "host/src/regular.rs")
        .filter(|(path, _)| OPENERS.iter().all(|(file, _)| file != path))
        .flat_map(|(path, text)| {
            let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
            let lines = text.lines().enumerate().filter(|(_, line)| OPENS.iter().any(|opens| line.contains(opens)));
            lines.map(|(at, line)| format!("{path}:{}: {}", at + 1, line.trim())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(opens, Vec::<String>::new(), "use `crate::regular`");
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path} has {lines} lines"))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn files_say_what_they_are() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(path, text)| !text.starts_with("//!") && !path.ends_with("tests.rs"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn files_are_modules() {
    let sources = sources();
    for (path, _) in &sources {
        let file = Path::new(path);
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
        assert_ne!(name, "mod", "{path}: name the file after its module");
        let folder = file.parent().expect("a folder");
        // Roots of crates: lib.rs, main.rs, examples, and what a manifest names.
        if matches!(name, "lib" | "main" | "build") || folder.ends_with("examples") || is_named_in_a_manifest(file) {
            continue;
        }
        let mut parents = vec![folder.join("lib.rs"), folder.join("main.rs"), folder.with_extension("rs")];
        let beside = sources.iter().map(|(path, _)| Path::new(path)).filter(|other| other.parent() == Some(folder));
        parents.extend(beside.filter(|other| is_named_in_a_manifest(other)).map(Path::to_owned));
        let declared = parents.iter().filter(|parent| repo::root().join(parent).is_file()).any(|parent| {
            let text = repo::text(parent.to_str().expect("UTF-8"));
            text.lines().map(str::trim).any(|line| {
                let line =
                    line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub(super) ")).unwrap_or(line);
                line.strip_prefix("pub ").unwrap_or(line) == format!("mod {name};")
            })
        });
        assert!(declared, "{path} is declared in none of {parents:?}: nothing compiles it");
    }
}

fn is_named_in_a_manifest(file: &Path) -> bool {
    file.ancestors().skip(1).any(|folder| {
        let manifest = repo::root().join(folder).join("Cargo.toml");
        let Ok(text) = std::fs::read_to_string(manifest) else { return false };
        let inside = file.strip_prefix(folder).expect("below").to_str().expect("UTF-8");
        text.contains(&format!("path = \"{inside}\""))
    })
}

#[test]
fn no_test_is_switched_off() {
    for (path, text) in sources() {
        let attribute = concat!("#[", "ignore");
        assert!(!text.contains(attribute), "{path} has a test that never runs");
    }
}

#[test]
fn tests_do_not_sleep() {
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("tests/")) {
        let sleep = concat!("thread::", "sleep");
        assert!(!text.contains(sleep), "{path} sleeps");
    }
}

#[test]
fn no_file_names_a_machine() {
    let machine = [concat!("/", "work/"), concat!("/", "root/"), concat!("/home", "/")];
    let mut files = sources();
    for folder in ["docs", "examples", "policies", "wit"] {
        files.extend(repo::files(folder, &["md", "json", "yaml", "toml", "wit", "txt"]));
    }
    for name in ["README.md", "CHANGELOG.md", "ARCHITECTURE.md", "guest-skills/README.md"] {
        if repo::root().join(name).is_file() {
            files.push((name.to_owned(), repo::text(name)));
        }
    }
    for (path, text) in files {
        for word in machine {
            assert!(!text.contains(word), "{path} names `{word}`");
        }
    }
}

#[test]
fn lines_end_without_blanks() {
    for (path, text) in sources() {
        let line = text.lines().position(|line| line.ends_with([' ', '\t', '\r']));
        assert_eq!(line, None, "{path}: this line (from 0) ends in a blank");
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{path}: one newline at the end");
    }
}
