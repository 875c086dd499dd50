//! Documents name what the program has.

use host_tests::repo;

#[test]
fn the_trace_format_names_every_kind_of_event() {
    let document = repo::text("docs/trace-format.md");
    let kinds = kinds_in(&repo::text("host/src/trace/event.rs"));
    assert!(kinds.len() >= 7, "{kinds:?}");
    for kind in kinds {
        assert!(document.contains(&format!("`{kind}`")), "docs/trace-format.md says nothing of `{kind}`");
    }
}

/// The strings of `Kind::name`.
fn kinds_in(source: &str) -> Vec<String> {
    let from = source.find("fn name(").expect("event.rs has `Kind::name`");
    let body = &source[from..source[from..].find("\n    }\n").map_or(source.len(), |end| from + end)];
    body.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_limit_is_documented() {
    let document = repo::text("docs/policy-format.md");
    let limits = repo::text("host/src/limits.rs");
    let keys = limits.split("pub struct LimitsDocument").nth(1).expect("limits.rs has LimitsDocument");
    let keys: Vec<&str> = keys
        .split("\n}\n")
        .next()
        .expect("it ends")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next())
        .collect();
    assert!(keys.len() >= 7, "{keys:?}");
    for key in keys {
        assert!(document.contains(&format!("`{key}`")), "docs/policy-format.md says nothing of `{key}`");
    }
}

/// The sources of the tests and benches.
fn tests() -> String {
    let mut all = String::new();
    for folder in ["tests", "host/src", "benches"] {
        for (path, text) in repo::rust_files(folder) {
            if folder != "host/src" || path.ends_with("tests.rs") {
                all.push_str(&text);
            }
        }
    }
    all
}

#[test]
fn every_policy_is_tested() {
    let tests = tests();
    for (path, _) in repo::files("policies", &["toml", "cedar"]) {
        let name = path.rsplit('/').next().expect("a name");
        assert!(tests.contains(name), "no test names {path}");
    }
}

#[test]
fn every_guest_is_tested() {
    let tests = tests();
    let lock: toml::Table = repo::text("guest-skills/skills.lock").parse().expect("the lock is TOML");
    let names = lock["component"].as_array().expect("components");
    assert!(names.len() >= 5);
    for entry in names {
        let name = entry["name"].as_str().expect("a name");
        let words = [format!("\"{name}\""), format!("\"{name}."), format!("{name}.wasm")];
        assert!(words.iter().any(|word| tests.contains(word.as_str())), "no test names the guest {name}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = repo::files("docs", &["md"]);
    for name in ["README.md", "CHANGELOG.md", "ARCHITECTURE.md", "guest-skills/README.md"] {
        if repo::root().join(name).is_file() {
            documents.push((name.to_owned(), repo::text(name)));
        }
    }
    for (path, text) in documents {
        let folder = repo::root().join(&path);
        let folder = folder.parent().expect("a folder");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with('#') || target.contains(' ') {
                continue;
            }
            let file = target.split('#').next().expect("a path");
            assert!(folder.join(file).exists(), "{path} links to `{target}`, which is not there");
        }
    }
}

#[test]
fn a_word_of_the_glossary_is_defined_once() {
    let text = repo::text("docs/glossary.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let mut words: Vec<&str> = rows.flat_map(|words| words.split(", ")).collect();
    words.sort_unstable();
    let twice: Vec<&[&str]> = words.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(words.len() > 20 && twice.is_empty(), "{twice:?}");
}
