//! The skills that are part of the program, so that it works from any folder.

use std::borrow::Cow;

use crate::id::SkillName;
use crate::skills::SkillBytes;

macro_rules! builtins {
    ($($name:literal),*) => {
        /// Name, component and `skill.toml` of each.
        const BUILTINS: &[(&str, &[u8], &str)] = &[$((
            $name,
            include_bytes!(concat!("../../../guest-skills/components/", $name, ".wasm")),
            include_str!(concat!("../../../guest-skills/", $name, "/skill.toml")),
        )),*];
    };
}
builtins!("csv", "files", "http", "json", "text");

/// The names, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().map(|(name, _, _)| *name)
}

/// Whether a built-in skill has this name: no plan and no bundle can put another one in its place.
#[must_use]
pub fn is_one(name: &SkillName) -> bool {
    names().any(|known| known == name.as_str())
}

/// The built-in skill of that name.
#[must_use]
pub fn find(name: &str) -> Option<SkillBytes> {
    let (_, component, manifest) = BUILTINS.iter().find(|(known, _, _)| *known == name)?;
    Some(SkillBytes::Memory { component: Cow::Borrowed(component), manifest: Some(Cow::Borrowed(manifest)) })
}
