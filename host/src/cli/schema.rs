//! `host schema`: the JSON Schemas of documents.

use crate::cli::error::Error;
use crate::cli::reply::{Form, Reply};
use crate::problem::suggestion;
use crate::protocol::schema::{NAMES, schema};

/// Prints the JSON Schema of a document
#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    /// The document: `plan`, `policy`, `trace-event` (one line of a trace), or `request` or `response` of `host exec`
    #[arg(value_name = "NAME")]
    name: String,
}

impl Schema {
    pub(crate) fn execute(&self) -> Result<Reply, Error> {
        let Some(schema) = schema(&self.name) else {
            let names = NAMES.join(", ");
            let hint = suggestion(&self.name, NAMES).unwrap_or_else(|| format!("there are {names}"));
            return Err(Error::request(format!("there is no schema `{}`", self.name)).hint(hint));
        };
        Ok(Reply::document(Form::Json, format!("{schema:#}\n"), schema))
    }
}
