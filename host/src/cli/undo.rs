//! `host undo`.

use serde_json::json;

use crate::cli::error::Error;
use crate::cli::reply::Reply;
use crate::cli::session::{Session, SkillArgs};
use crate::report::human::{Append as _, counted, harmless};
use crate::store::index::AccessAction;

/// Takes back the last steps that changed files, of whatever run: contents, names, modes and times are as before
#[derive(Debug, clap::Args)]
pub(crate) struct Undo {
    /// How many steps; `host history` lists them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Takes back also what somebody else has changed since, which is lost then
    #[arg(long)]
    force: bool,
}

impl Undo {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let host = session.builder(&SkillArgs::default()).durability(session.durability()).build();
        let undone = host.undo(self.steps as usize, self.force)?;
        let mut text = String::new();
        for step in &undone {
            let by = (Some(step.run.as_str()), Some(step.step.as_str()));
            session.note_access(AccessAction::Undo, None, by, if self.force { "forced" } else { "" });
            let paths = counted(step.changes.len() as u64, "path");
            text.add(format_args!(
                "undone: step `{}` of run {} ({paths})\n",
                harmless(&step.step),
                harmless(&step.run)
            ));
            for change in &step.changes {
                text.add(format_args!("  was {}: {}\n", harmless(&change.change), harmless(&change.path)));
            }
        }
        let steps = undone.iter().map(|step| json!({ "run": step.run, "step": step.step, "changes": step.changes }));
        Ok(Reply::new(text, json!({ "undone": steps.collect::<Vec<_>>() })))
    }
}
