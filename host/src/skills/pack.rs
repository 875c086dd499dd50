//! A component that carries what is said of it: its `skill.toml` and the comments of its WIT, each as a custom section. Code and types are
//! untouched; what is packed twice is what was packed once.

use std::path::{Path, PathBuf};

use wit_parser::{PackageMetadata, Resolve};

use crate::skill::sections;

/// Why the comments of a WIT folder cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the WIT in `{}`: {message}", path.display())]
pub struct WitError {
    path: PathBuf,
    message: String,
}

/// The comments of the WIT package in a folder, or of one file, as the section that holds them.
///
/// # Errors
///
/// [`WitError`] where it is no WIT.
pub fn wit_docs(path: &Path) -> Result<Vec<u8>, WitError> {
    let failed = |error: &dyn std::fmt::Display| {
        let message = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        WitError { path: path.to_owned(), message }
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(path).map_err(|error| failed(&format!("{error:#}")))?;
    PackageMetadata::extract(&resolve, package).encode().map_err(|error| failed(&error))
}

/// The component with this `skill.toml` and these comments. What is `None` stays as it is.
#[must_use]
pub fn pack(component: &[u8], manifest: Option<&str>, docs: Option<&[u8]>) -> Vec<u8> {
    let own = |name| sections::custom(component, name).first().copied();
    let docs = docs.or_else(|| own(sections::DOCS)).map(|docs| (sections::DOCS, docs));
    let manifest = manifest.map(str::as_bytes).or_else(|| own(sections::METADATA));
    let manifest = manifest.map(|manifest| (sections::METADATA, manifest));
    sections::with_custom(component, &docs.into_iter().chain(manifest).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SkillHost;
    use crate::skill::{Metadata, Skill};
    use crate::skills::{SkillBytes, builtin};

    fn text() -> (Vec<u8>, String) {
        let Some(SkillBytes::Memory { component, manifest }) = builtin::find("text") else { panic!("it is built in") };
        (component.into_owned(), manifest.unwrap().into_owned())
    }

    fn comments() -> Vec<u8> {
        wit_docs(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-skills/text/wit")).unwrap()
    }

    fn inspect(component: &[u8]) -> std::sync::Arc<Skill> {
        let source = SkillBytes::Memory { component: component.to_vec().into(), manifest: None };
        let host = SkillHost::builder().build();
        host.inspect(&"text".parse().unwrap(), &source).unwrap()
    }

    #[test]
    fn a_packed_component_says_what_it_is() {
        let (component, manifest) = text();
        let bare = inspect(&component);
        assert_eq!((bare.metadata.name.as_deref(), &bare.tools["render"].annotations.description), (None, &None));
        let documented = pack(&component, None, Some(&comments()));
        let skill = inspect(&documented);
        assert!(skill.metadata.description.as_deref().unwrap().starts_with("Work on text: regular expressions"));
        let of = |skill: &Skill, tool: &str| skill.tools[tool].annotations.description.clone().unwrap();
        assert!(
            of(&skill, "render")
                .starts_with("Fills a template in Jinja syntax with data, a JSON object as text. A name")
        );
        let both = pack(&component, Some(&manifest), Some(&comments()));
        let skill = inspect(&both);
        let metadata = Metadata::parse(&manifest).unwrap();
        assert_eq!(skill.metadata, metadata);
        // The metadata is the author's word, the comments stand in where it says nothing.
        assert_eq!(Some(of(&skill, "render")), metadata.tools["render"].description);
        let short = pack(&both, Some("schema = \"skillhost.skill/1\"\nname = \"t\"\nversion = \"2\"\n"), None);
        assert!(of(&inspect(&short), "render").contains("A name that the data does not hold"));
        assert_eq!(inspect(&short).metadata.name.as_deref(), Some("t"));
    }

    #[test]
    fn packing_twice_is_packing_once() {
        let (component, manifest) = text();
        let both = pack(&component, Some(&manifest), Some(&comments()));
        assert_ne!(both, component);
        assert_eq!(pack(&both, Some(&manifest), Some(&comments())), both);
        assert_eq!(pack(&both, None, None), both);
        assert_eq!(pack(&pack(&component, Some(&manifest), None), None, Some(&comments())), both);
        assert_eq!(pack(&component, None, None), component);
    }

    #[test]
    fn what_is_no_wit_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("world.wit"), "package a:b;\nworld w { export }").unwrap();
        let error = wit_docs(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the WIT in `") && !error.contains('\n'), "{error}");
    }
}
