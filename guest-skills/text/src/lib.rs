//! The skill `text`: regular expressions, templates and differences, one concept a file.

mod diff;
mod error;
mod limits;
mod pattern;
mod render;
mod replace;
mod search;
mod shape;
mod split;

/// Types and glue generated from `wit/world.wit`.
#[expect(clippy::too_many_arguments, reason = "generated code")]
mod bindings {
    wit_bindgen::generate!({ world: "text", path: "wit", additional_derives: [PartialEq, Eq] });
}

use bindings::{Difference, Error, Guest, Matches, Replaced};

/// The exported functions; each hands over to the module that has its concept.
struct Component;

impl Guest for Component {
    fn search(
        text: String,
        pattern: String,
        literal: Option<bool>,
        ignore_case: Option<bool>,
        limit: Option<u32>,
    ) -> Result<Matches, Error> {
        search::search(&text, &pattern::compile(&pattern, literal, ignore_case)?, limit)
    }

    fn replace(
        text: String,
        pattern: String,
        replacement: String,
        literal: Option<bool>,
        ignore_case: Option<bool>,
        limit: Option<u32>,
    ) -> Result<Replaced, Error> {
        let regex = pattern::compile(&pattern, literal, ignore_case)?;
        replace::replace(&text, &regex, &replacement, literal.unwrap_or(false), limit)
    }

    fn split(text: String, pattern: String, literal: Option<bool>, limit: Option<u32>) -> Result<Vec<String>, Error> {
        split::split(&text, &pattern::compile(&pattern, literal, None)?, limit)
    }

    fn render(template: String, data: String) -> Result<String, Error> {
        render::render(&template, &data)
    }

    fn diff(
        before: String,
        after: String,
        before_name: Option<String>,
        after_name: Option<String>,
        context: Option<u32>,
    ) -> Result<Difference, Error> {
        let names = (before_name.as_deref().unwrap_or("before"), after_name.as_deref().unwrap_or("after"));
        diff::diff(&before, &after, names, context)
    }
}

/// The exported symbols.
#[expect(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
