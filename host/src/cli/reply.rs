//! What a command hands over to be written: the same for people and for programs.

use serde_json::{Map, Value};

use crate::cli::error::Error;

/// The end of a command.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// What people see on stdout.
    pub(crate) text: String,
    /// `result` of the envelope.
    pub(crate) result: Value,
    /// Members for `meta` of the envelope.
    pub(crate) meta: Map<String, Value>,
    /// What went wrong although there is something to show.
    pub(crate) failure: Option<Error>,
}

impl Reply {
    /// Text for people and the same for programs.
    pub(crate) fn new(text: impl Into<String>, result: Value) -> Self {
        Self { text: text.into(), result, ..Self::default() }
    }

    /// With a member of `meta`.
    pub(crate) fn meta(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.meta.insert(key.to_owned(), value.into());
        self
    }

    /// With what went wrong.
    pub(crate) fn failure(mut self, failure: Option<Error>) -> Self {
        self.failure = failure;
        self
    }
}
