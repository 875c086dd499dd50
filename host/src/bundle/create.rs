//! A new bundle that works at once: with one of the built-in skills, a plan, a policy.

use std::path::Path;

use crate::id::Digest;
use crate::scaffold::{self, NewFile, ScaffoldError};
use crate::skill::{OWN_PACKAGE, OWN_VERSION};
use crate::skills::{SkillBytes, builtin};

/// The skill that a new bundle has.
const SKILL: &str = "text";

/// Makes the folder `path` as a bundle of this name.
///
/// # Errors
///
/// [`ScaffoldError`] where it is there already or cannot be written; nothing is left behind then.
pub fn create(path: &Path, name: &str) -> Result<(), ScaffoldError> {
    let mut files = Vec::new();
    let mut digest = String::new();
    if let Some(SkillBytes::Memory { component, manifest }) = builtin::find(SKILL) {
        digest = Digest::of(&component).to_string();
        files.push(NewFile::new(format!("skills/{SKILL}.wasm"), component));
        files.extend(manifest.map(|text| NewFile::text(format!("skills/{SKILL}.toml"), text)));
    }
    let manifest = include_str!("template/bundle.toml")
        .replace("@NAME@", name)
        .replace("@PACKAGE@", &format!("{OWN_PACKAGE}@{OWN_VERSION}"))
        .replace("@DIGEST@", &digest);
    files.push(NewFile::text("bundle.toml", manifest));
    files.push(NewFile::text("plans/hello.json", include_str!("template/hello.json")));
    files.push(NewFile::text("policy.toml", include_str!("template/policy.toml")));
    files.push(NewFile::text("README.md", include_str!("template/README.md").replace("@NAME@", name)));
    scaffold::create(path, &files)
}
