//! `host policy init`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use serde_json::json;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::policy_lab::write_new;
use crate::cli::policy_source::DEFAULT_POLICY;
use crate::cli::reply::Reply;
use crate::policy::presets::{PRESETS, preset};
use crate::report::human::harmless;

/// Writes a policy to begin with, with comments
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// Which one
    #[arg(value_name = "PRESET", value_parser = PossibleValuesParser::new(PRESETS.map(|preset| preset.name)))]
    preset: String,
    /// Where to; the default is the file that is taken where none is named
    #[arg(long, value_name = "FILE", default_value = DEFAULT_POLICY)]
    out: PathBuf,
    /// Replaces the file where it is there
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(crate) fn execute(&self) -> Result<Reply, Error> {
        let Some(preset) = preset(&self.preset) else {
            return Err(Error::new(Exit::Request, format!("there is no preset `{}`", self.preset)));
        };
        write_new(&self.out, preset.text, self.force)?;
        let file = self.out.display().to_string();
        let text = format!("{}: {}\n", harmless(&file), preset.about);
        Ok(Reply::new(text, json!({ "preset": preset.name, "file": file, "policy": preset.text })))
    }
}
