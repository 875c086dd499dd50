//! The files of a new skill, for each language: embedded texts with the name put in. Pure.

use crate::id::SkillName;

/// A language that a new skill may be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Language {
    /// Rust.
    Rust,
    /// C.
    C,
    /// JavaScript.
    Js,
    /// Python.
    Python,
}

/// One file: its path, its text, and whether it is a program.
pub type Template = (&'static str, String, bool);

macro_rules! text {
    ($name:literal) => {
        include_str!(concat!("templates/", $name))
    };
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rust, Self::C, Self::Js, Self::Python];

    /// Source, with its path.
    const fn source(self) -> (&'static str, &'static str) {
        match self {
            Self::Rust => ("src/lib.rs", text!("rust/lib.rs.txt")),
            Self::C => ("src/skill.c", text!("c/skill.c")),
            Self::Js => ("src/skill.js", text!("js/skill.js")),
            Self::Python => ("src/skill.py", text!("python/skill.py")),
        }
    }

    const fn build(self) -> &'static str {
        match self {
            Self::Rust => text!("rust/build.txt"),
            Self::C => text!("c/build.txt"),
            Self::Js => text!("js/build.txt"),
            Self::Python => text!("python/build.txt"),
        }
    }

    /// What building it needs.
    #[must_use]
    pub const fn needs(self) -> &'static str {
        match self {
            Self::Rust => "Rust with the target `wasm32-wasip2` (`rustup target add wasm32-wasip2`)",
            Self::C => "wit-bindgen (`cargo install wit-bindgen-cli`) and wasi-sdk",
            Self::Js => "node and npm",
            Self::Python => "componentize-py (`pip install componentize-py`)",
        }
    }
}

/// The files of a new skill of this name.
#[must_use]
pub fn files(name: &SkillName, language: Language) -> Vec<Template> {
    let (source, code) = language.source();
    let readme = text!("common/README.md").replace("@SOURCE@", source).replace("@NEEDS@", language.needs());
    let mut files = vec![
        (".gitignore", text!("common/gitignore").to_owned(), false),
        ("README.md", readme, false),
        ("build", language.build().to_owned(), true),
        ("policy.toml", text!("common/policy.toml").to_owned(), false),
        ("skill.toml", text!("common/skill.toml").to_owned(), false),
        (source, code.to_owned(), false),
        ("tests/greet.json", text!("common/test.json").to_owned(), false),
        ("tests/expected/greet.json", text!("common/expected.json").to_owned(), false),
        ("wit/world.wit", text!("common/world.wit").to_owned(), false),
    ];
    match language {
        Language::Rust => files.push(("Cargo.toml", text!("rust/Cargo.toml.txt").to_owned(), false)),
        Language::Js => files.push(("package.json", text!("js/package.json").to_owned(), false)),
        Language::C | Language::Python => {}
    }
    for (_, text, _) in &mut files {
        *text = text.replace("@NAME@", name.as_str());
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::policy::Policy;
    use crate::skill::Metadata;

    #[test]
    fn documents_of_a_new_skill_are_valid() {
        for language in Language::ALL {
            let files = files(&"my-greet_2".parse().unwrap(), language);
            let text = |path: &str| &files.iter().find(|(found, ..)| *found == path).unwrap().1;
            assert_eq!(Metadata::parse(text("skill.toml")).unwrap().name.as_deref(), Some("my-greet_2"));
            assert_eq!(Policy::parse(text("policy.toml")).unwrap().grants.len(), 1);
            assert_eq!(Plan::from_json(text("tests/greet.json").as_bytes()).unwrap().steps.len(), 2);
            assert!(files.iter().all(|(path, text, program)| !text.contains("@NAME@")
                && (*path == "build") == *program
                && *program == text.starts_with("#!/bin/sh\n")));
            assert!(text("build").contains("my-greet_2.wasm"));
        }
    }
}
