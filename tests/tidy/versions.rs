//! Numbers that are written down in more than one place are equal.

use host_tests::repo;

/// The version of a package in `Cargo.lock`.
fn locked(name: &str) -> Vec<String> {
    let lock: toml::Table = repo::text("Cargo.lock").parse().expect("the lock is TOML");
    let packages = lock["package"].as_array().expect("packages");
    let named = packages.iter().filter(|package| package["name"].as_str() == Some(name));
    named.map(|package| package["version"].as_str().expect("a version").to_owned()).collect()
}

/// The text of a string constant.
fn constant(source: &str, name: &str) -> String {
    let from = source.find(&format!("const {name}: &str = \"")).unwrap_or_else(|| panic!("no constant {name}"));
    source[from..].split('"').nth(1).expect("a string").to_owned()
}

#[test]
fn the_engine_names_the_wasmtime_that_is_linked() {
    let engine = repo::text("host/src/sandbox/engine.rs");
    let named = constant(&engine, "WASMTIME_VERSION");
    for package in ["wasmtime", "wasmtime-wasi", "wasmtime-wasi-io"] {
        assert_eq!(locked(package), [named.as_str()], "{package}");
    }
}

#[test]
fn the_engine_names_the_wasi_that_is_linked() {
    let engine = repo::text("host/src/sandbox/engine.rs");
    let named = constant(&engine, "WASI_VERSION");
    let wit = repo::dependency("wasmtime-wasi").join("src/p2/wit/deps/filesystem.wit");
    let wit = std::fs::read_to_string(wit).expect("WASI's WIT");
    let package = wit.lines().find(|line| line.starts_with("package ")).expect("a package line");
    assert_eq!(package, format!("package wasi:filesystem@{named};"));
    let newest = named.rsplit('.').next().expect("a patch version");
    let skill = repo::text("host/src/skill.rs");
    assert!(skill.contains(&format!("const WASI_PATCH_MAX: u64 = {newest};")), "skill.rs takes another version");
}

#[test]
fn dependencies_that_change_traces_are_pinned() {
    let manifest: toml::Table = repo::text("Cargo.toml").parse().expect("TOML");
    let dependencies = manifest["workspace"]["dependencies"].as_table().expect("dependencies");
    for name in ["wasmtime", "wasmtime-wasi", "wasmtime-wasi-io"] {
        let version = dependencies[name]["version"].as_str().expect("a version");
        assert!(version.starts_with('='), "{name} is `{version}`, which may change in an update");
    }
}
