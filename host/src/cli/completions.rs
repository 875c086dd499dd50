//! `host completions`.

use clap::CommandFactory as _;
use serde_json::json;

use crate::cli::Cli;
use crate::cli::reply::{Form, Reply};

/// Writes the completion script for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(crate) fn execute(&self) -> Reply {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "host", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        let result = json!({ "shell": self.shell.to_string(), "script": script });
        Reply::document(Form::Document, script, result)
    }
}
