//! The skill `csv`: tables as text, one concept a file.

mod convert;
mod error;
mod filter;
mod limits;
mod number;
mod summary;
mod table;

/// Types and glue generated from `wit/world.wit`.
#[expect(clippy::too_many_arguments, reason = "generated code")]
mod bindings {
    wit_bindgen::generate!({ world: "csv", path: "wit", additional_derives: [PartialEq] });
}

use bindings::{Error, Filtered, Guest, Operator, Summary, Table};

/// The exported functions; each hands over to the module that has its concept.
struct Component;

impl Guest for Component {
    fn parse(text: String, delimiter: Option<char>, pad: Option<bool>) -> Result<Table, Error> {
        table::parse(&text, delimiter, pad.unwrap_or(false))
    }

    fn summarise(
        text: String,
        value: Option<String>,
        group_by: Option<String>,
        delimiter: Option<char>,
    ) -> Result<Summary, Error> {
        summary::summarise(&text, value.as_deref(), group_by.as_deref(), delimiter)
    }

    fn filter(
        text: String,
        column: String,
        operator: Operator,
        value: String,
        delimiter: Option<char>,
    ) -> Result<Filtered, Error> {
        filter::filter(&text, &column, operator, &value, delimiter)
    }

    fn to_json(text: String, delimiter: Option<char>, typed: Option<bool>) -> Result<String, Error> {
        convert::to_json(&text, delimiter, typed.unwrap_or(false))
    }

    fn from_json(text: String, columns: Option<Vec<String>>, delimiter: Option<char>) -> Result<String, Error> {
        convert::from_json(&text, columns, delimiter)
    }
}

/// The exported symbols.
#[expect(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
