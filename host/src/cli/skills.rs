//! `host skills`.

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::inspect::to_json;
use crate::cli::reply::Reply;
use crate::cli::session::{Session, SkillArgs};
use crate::id::SkillName;
use crate::report::human::{Align, Table, bytes};
use crate::skill::own;
use crate::skills::builtin;

/// Lists the skills that are built in, and the host's own
#[derive(Debug, clap::Args)]
pub(crate) struct Skills {}

impl Skills {
    #[expect(clippy::unused_self, reason = "the same shape as every command")]
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let host = session.builder(&SkillArgs::default()).build();
        let mut table =
            Table::new(&[("skill", Align::Left), ("tools", Align::Right), ("size", Align::Right), ("", Align::Left)]);
        let mut list: Vec<Value> = Vec::new();
        for name in builtin::names() {
            let skill_name = SkillName::new(name).map_err(|error| Error::new(Exit::Internal, error.to_string()))?;
            let Some(bytes_of) = builtin::find(name) else { continue };
            let skill = host.inspect(&skill_name, &bytes_of)?;
            let about = skill.metadata.description.clone().unwrap_or_default();
            table.row(&[name, &skill.tools.len().to_string(), &bytes(skill.size_bytes), about.trim()], None);
            list.push(to_json(&skill, None));
        }
        let sys = own::sys();
        let about = sys.metadata.description.as_deref().unwrap_or_default();
        table.row(&[sys.name.as_str(), &sys.tools.len().to_string(), "", about], None);
        list.push(to_json(sys, None));
        Ok(Reply::new(table.render(&session.output.look), json!({ "skills": list })))
    }
}
