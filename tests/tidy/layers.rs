//! Imports go left only: a module may use those that stand before it in `lib.rs`, and wasmtime is the sandbox's affair.

use std::collections::BTreeSet;

use host_tests::repo;

/// The modules of the library, from the vocabulary to the command line. A module may name those in earlier layers and, in its own layer,
/// those that stand before it or are listed in [`PEERS`].
const LAYERS: [&[&str]; 5] = [
    &[
        "limits",
        "harmless",
        "problem",
        "form",
        "canonical",
        "clock",
        "id",
        "json",
        "regular",
        "document",
        "file_stamp",
        "owned_file",
        "owned",
        "folder_id",
        "context",
        "durability",
        "outcome",
        "types",
        "toml_text",
        "guest_path",
        "diff",
        "durability",
    ],
    &["skill", "plan", "validate", "flow", "policy", "trace"],
    &["journal", "sandbox", "store", "scratch", "scaffold", "report"],
    &["notify", "observe", "skills", "bundle", "host", "run", "replay", "protocol", "lab"],
    &["cli"],
];

/// Modules of one layer that name each other, with the reason.
const PEERS: [(&str, &str); 6] = [
    // The facade owns the configuration that the pipeline reads; `host.rs` calls `run` and `replay`.
    ("host", "run"),
    ("host", "replay"),
    ("run", "host"),
    // A bundle is verified by the host that would run it.
    ("bundle", "host"),
    ("bundle", "run"),
    // A trace is read from a run's folder.
    ("trace", "store"),
];

/// Files outside of `sandbox/` that name wasmtime, with the reason.
const WASMTIME_OUTSIDE: [(&str, &str); 1] =
    [("host/src/skills.rs", "keeps a loaded component between loading and linking")];

/// What a module may use although it stands further right.
fn is_peer(from: &str, to: &str) -> bool {
    PEERS.contains(&(from, to))
}

fn place(module: &str) -> Option<(usize, usize)> {
    LAYERS.iter().enumerate().find_map(|(layer, modules)| {
        modules.iter().position(|known| *known == module).map(|position| (layer, position))
    })
}

/// The code of a file: without comments, and without the unit tests at its end, which may use anything.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The top-level modules of the library that a piece of code names: `crate::x::…`, `crate::{x, y::…}`.
fn named(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(['$', '_']) || code[..at].ends_with(|c: char| c.is_alphanumeric()) {
            // `$crate::` in a macro counts as well; `some_crate::` does not.
            if !code[..at].ends_with('$') {
                continue;
            }
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    _ => {}
                }
                if c == ',' && depth == 0 {
                    found.insert(first_name(&item));
                    item.clear();
                } else {
                    item.push(c);
                }
            }
            found.insert(first_name(&item));
        } else {
            found.insert(first_name(rest));
        }
    }
    found.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    found
}

fn first_name(path: &str) -> String {
    path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// `host/src/plan/source.rs` -> `plan`.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("host/src/")?;
    let module = inside.split(['/', '.']).next()?;
    (!matches!(module, "lib" | "main")).then_some(module)
}

#[test]
fn names_are_found_in_every_form_of_import() {
    let code = "use crate::a::B; use crate::{c::{D, E}, f, G}; crate::h::i(); $crate::j::k!(); my_crate::l::m();";
    assert_eq!(named(code).into_iter().collect::<Vec<_>>(), ["a", "c", "f", "h", "j"]);
}

#[test]
fn every_module_has_a_layer() {
    let lib = repo::text("host/src/lib.rs");
    let declared: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod ")))
        .filter_map(|rest| rest.strip_suffix(';'))
        .collect();
    let placed: BTreeSet<&str> = LAYERS.iter().flat_map(|layer| layer.iter().copied()).collect();
    assert_eq!(declared, placed);
}

#[test]
fn imports_go_left() {
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for (path, text) in repo::rust_files("host/src") {
        let Some(module) = module_of(&path) else { continue };
        if path.ends_with("/tests.rs") {
            continue;
        }
        let Some((layer, position)) = place(module) else { continue };
        for used in named(&code(&text)) {
            let Some((used_layer, used_position)) = place(&used) else { continue };
            looked_at += 1;
            let is_left = used_layer < layer || (used_layer == layer && used_position <= position);
            if !is_left && !is_peer(module, &used) {
                wrong.push(format!("{path} uses `{used}`"));
            }
        }
    }
    assert!(looked_at > 100, "only {looked_at} imports were found");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn peers_are_needed() {
    let files = repo::rust_files("host/src");
    for (from, to) in PEERS {
        let uses = |(path, text): &(String, String)| module_of(path) == Some(from) && named(&code(text)).contains(to);
        assert!(files.iter().any(uses), "`{from}` does not use `{to}`: take it out of the list");
    }
}

#[test]
fn wasmtime_is_named_in_the_sandbox_alone() {
    let mut outside = BTreeSet::new();
    for (path, text) in repo::rust_files("host/src") {
        if path.starts_with("host/src/sandbox") {
            continue;
        }
        let code = code(&text);
        if code.contains("wasmtime::") || code.contains("wasmtime_wasi") || code.contains("cap_std") {
            outside.insert(path);
        }
    }
    let allowed: BTreeSet<String> = WASMTIME_OUTSIDE.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(outside, allowed);
}

#[test]
fn pure_stages_touch_neither_files_nor_processes() {
    for module in ["plan", "validate", "policy", "types", "skill", "report"] {
        for (path, text) in repo::rust_files("host/src") {
            if module_of(&path) != Some(module) || path.ends_with("tests.rs") {
                continue;
            }
            let code = code(&text);
            for word in ["std::fs", "std::net", "std::process", "std::env", "tokio::"] {
                assert!(!code.contains(word), "{path} names `{word}`");
            }
        }
    }
}
