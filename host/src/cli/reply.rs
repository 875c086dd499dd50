//! What a command hands over to be written: the same for people and for programs.

use serde_json::{Map, Value};

use crate::cli::error::Error;

/// What the text of a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// Lines for people: nothing in it may drive a terminal.
    #[default]
    People,
    /// JSON, a document or one a line: what a terminal would act upon is escaped, and the values are the same.
    Json,
    /// A document in another notation, byte for byte. Whoever writes it makes what is foreign in it harmless by the means of that notation.
    Document,
}

/// The end of a command.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// What stdout gets, unless programs are told.
    pub(crate) text: String,
    /// What that is.
    pub(crate) form: Form,
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

    /// A document in place of lines for people.
    pub(crate) fn document(form: Form, text: impl Into<String>, result: Value) -> Self {
        Self { form, ..Self::new(text, result) }
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
