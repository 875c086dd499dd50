//! The skill `json`: documents as text, one concept a file.

mod document;
mod error;
mod limits;
mod merge;
mod patch;
mod query;
#[cfg(target_family = "wasm")]
mod seed;
mod validate;

/// Types and glue generated from `wit/world.wit`.
#[expect(clippy::too_many_arguments, reason = "generated code")]
mod bindings {
    wit_bindgen::generate!({ world: "json", path: "wit", additional_derives: [PartialEq, Eq] });
}

use bindings::{Error, Guest, Verdict};

/// The exported functions; each hands over to the module that has its concept.
struct Component;

impl Guest for Component {
    fn parse(text: String) -> Result<String, Error> {
        document::normalise(&text)
    }

    fn pretty(text: String, indent: Option<u8>, sort_keys: Option<bool>) -> Result<String, Error> {
        document::pretty(&text, indent, sort_keys.unwrap_or(false))
    }

    fn query(text: String, filter: String, variables: Option<String>, raw: Option<bool>) -> Result<Vec<String>, Error> {
        query::all(&text, &filter, variables.as_deref(), raw.unwrap_or(false))
    }

    fn query_one(text: String, filter: String, variables: Option<String>, raw: Option<bool>) -> Result<String, Error> {
        query::one(&text, &filter, variables.as_deref(), raw.unwrap_or(false))
    }

    fn merge(documents: Vec<String>) -> Result<String, Error> {
        merge::merge(&documents)
    }

    fn patch(text: String, patch: String) -> Result<String, Error> {
        patch::patch(&text, &patch)
    }

    fn validate(text: String, schema: String) -> Result<Verdict, Error> {
        validate::validate(&text, &schema)
    }
}

/// The exported symbols.
#[expect(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
