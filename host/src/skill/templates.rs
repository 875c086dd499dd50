//! The files of a new skill, for each language: embedded texts with the name put in. Pure.

use std::borrow::Cow;

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

/// One file of a new skill.
#[derive(Debug, Clone)]
pub struct Template {
    /// Its path, with `/` between names.
    pub path: &'static str,
    /// What is in it.
    pub content: Cow<'static, [u8]>,
    /// Whether it is a program.
    pub executable: bool,
}

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

    /// How its code calls what the world imports.
    const fn calls(self) -> &'static str {
        match self {
            Self::Rust => {
                "In `src/lib.rs` it is then a module, such as `skillhost::skill::log`:\n\n```rust\n\
                 use skillhost::skill::log::{self, Level};\n\n\
                 log::log(Level::Info, \"greeted\", &[(\"name\".to_owned(), name.to_owned())]);\n```"
            }
            Self::C => "`./build --bind` writes the functions into `gen/skill.h`.",
            Self::Js | Self::Python => {
                "The calls have the names of the WIT, in the form that the bindings of the language give them."
            }
        }
    }

    /// What building it needs.
    #[must_use]
    pub const fn needs(self) -> &'static str {
        match self {
            Self::Rust => "Rust with the target `wasm32-wasip2` (`rustup target add wasm32-wasip2`)",
            Self::C => "node and npm, which bring clang, and Rust for its linkers",
            Self::Js => "node and npm",
            Self::Python => "Python 3.10 or later with venv",
        }
    }
}

/// The files of a new skill of this name.
#[must_use]
pub fn files(name: &SkillName, language: Language) -> Vec<Template> {
    let (source, code) = language.source();
    let text = |path, text: &str| {
        let content = Cow::Owned(text.replace("@NAME@", name.as_str()).into_bytes());
        Template { path, content, executable: path == "build" }
    };
    let readme = text!("common/README.md").replace("@SOURCE@", source).replace("@NEEDS@", language.needs());
    let readme = readme.replace("@CALLS@", language.calls());
    let mut files = vec![
        text(".gitignore", text!("common/gitignore")),
        text("README.md", &readme),
        text("build", language.build()),
        text("policy.toml", text!("common/policy.toml")),
        text("skill.toml", text!("common/skill.toml")),
        text(source, code),
        text("tests/greet.json", text!("common/test.json")),
        text("tests/expected/greet.json", text!("common/expected.json")),
        text("wit/world.wit", text!("common/world.wit")),
        // As it is in this version of the host: a world imports of it with one line more.
        text("wit/deps/skillhost/skill.wit", include_str!("../../../wit/skill.wit")),
    ];
    match language {
        Language::Rust => files.push(text("Cargo.toml", text!("rust/Cargo.toml.txt"))),
        Language::C => {
            // What wit-bindgen makes of the world above: it takes minutes to build, and a new skill shall not.
            let object = include_bytes!("templates/c/gen/skill_component_type.o");
            files.extend([
                text("gen/skill.c", text!("c/gen/skill.c")),
                text("gen/skill.h", text!("c/gen/skill.h")),
                Template { path: "gen/skill_component_type.o", content: Cow::Borrowed(object), executable: false },
                text("compile.mjs", text!("c/compile.mjs")),
                text("package.json", text!("c/package.json")),
            ]);
        }
        Language::Js => files.push(text("package.json", text!("js/package.json"))),
        Language::Python => {}
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
            let text = |path: &str| {
                let file = files.iter().find(|file| file.path == path).unwrap();
                std::str::from_utf8(&file.content).unwrap()
            };
            assert_eq!(Metadata::parse(text("skill.toml")).unwrap().name.as_deref(), Some("my-greet_2"));
            assert_eq!(Policy::parse(text("policy.toml")).unwrap().grants.len(), 1);
            assert_eq!(Plan::from_json(text("tests/greet.json").as_bytes()).unwrap().steps.len(), 2);
            assert!(files.iter().all(|file| (file.path == "build") == file.executable
                && file.executable == file.content.starts_with(b"#!/bin/sh\n")
                && !file.content.windows(6).any(|bytes| bytes == b"@NAME@")));
            assert!(text("build").contains("my-greet_2.wasm"));
        }
    }

    #[test]
    fn tools_are_those_of_the_examples() {
        let examples = [
            include_str!("../../../examples/languages/js/package.json"),
            include_str!("../../../examples/languages/c/package.json"),
            include_str!("../../../examples/languages/python/requirements.txt"),
        ];
        for (language, tool) in [
            (Language::Js, "\"componentize-qjs\": \"0.4.5\""),
            (Language::C, "\"@yowasp/clang\": \"22.0.0-git20542-10\""),
            (Language::Python, "componentize-py==0.25.1"),
        ] {
            let files = files(&"greet".parse().unwrap(), language);
            let told = |file: &Template| std::str::from_utf8(&file.content).is_ok_and(|text| text.contains(tool));
            assert!(files.iter().any(told), "{tool}");
            assert!(examples.iter().any(|text| text.contains(tool)), "{tool}");
        }
    }
}
