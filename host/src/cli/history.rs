//! `host history`.

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::reply::Reply;
use crate::cli::runs::whole_index;
use crate::cli::session::{Session, SkillArgs};
use crate::limits;
use crate::report::human::{Align, Table};

/// Lists the steps that can be undone, the newest first
#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// How many to list
    #[arg(long, value_name = "N", default_value_t = limits::UNDO_STEPS_MAX)]
    count: usize,
}

impl History {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let host = session.builder(&SkillArgs::default()).build();
        let steps = match whole_index(host.store())? {
            Some(index) => index.undo_stack(self.count).map_err(crate::store::StoreError::from)?,
            None => Vec::new(),
        };
        let columns = [("run", Align::Left), ("plan", Align::Left), ("step", Align::Left), ("tool", Align::Left)];
        let mut table = Table::new(&columns).and(&[("paths", Align::Right), ("ended (UTC)", Align::Left)]);
        let mut list: Vec<Value> = Vec::new();
        for step in &steps {
            let tool = step.tool.as_deref().unwrap_or_default();
            let ended = step.ended_at.as_deref().and_then(|at| at.split_once('.')).map(|(at, _)| at.replace('T', " "));
            let ended = ended.unwrap_or_default();
            table.row(&[&step.run, &step.plan, &step.step, tool, &step.changed.to_string(), &ended], None);
            list.push(json!({
                "run": step.run,
                "plan": step.plan,
                "step": step.step,
                "attempt": step.attempt,
                "tool": step.tool,
                "changed": step.changed,
                "ended_at": step.ended_at,
            }));
        }
        if steps.is_empty() {
            session.note("there is nothing that can be undone");
        }
        let text = if steps.is_empty() { String::new() } else { table.render(&session.output.look) };
        Ok(Reply::new(text, json!({ "steps": list })))
    }
}
