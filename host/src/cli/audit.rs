//! `host audit export`.

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::Reply;
use crate::cli::runs::find_run;
use crate::cli::session::{Session, SkillArgs};
use crate::policy::Principal;
use crate::report::audit as render;
use crate::store::audit::{AuditFilter, audit};

/// Says who did what
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Audit {
    Export(Export),
}

/// Writes every step, decision and approval of the recorded runs, the oldest first
///
/// All events of the traces but host calls; what a skill calls of other skills is among them. The chain of each trace is verified on the way: of one that was changed, what stands before the
/// change is written, and the exit code is 9.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// In which form
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: Format,
    /// Only this run: its id or the beginning of it, or `last`
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Only runs in this name: `agent:NAME` or `user:NAME`
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Option<Principal>,
    /// How many entries at the most: the newest
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    limit: usize,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A JSON object on each line
    Jsonl,
    /// One page for a browser
    Html,
    /// For a spreadsheet
    Csv,
}

impl Audit {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        match self {
            Self::Export(export) => export.execute(session),
        }
    }
}

impl Export {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let host = session.builder(&SkillArgs::default()).build();
        let run = self.run.as_deref().map(|run| find_run(host.store(), run)).transpose()?;
        let filter = AuditFilter {
            run: run.map(|run| run.id().to_owned()),
            principal: self.principal.as_ref().map(ToString::to_string),
            limit: self.limit,
        };
        let audit = audit(host.store(), &filter)?;
        if audit.more {
            session.note(&format!("older entries than the newest {} are left out; see `--limit`", self.limit));
        }
        if let Some(reason) = &audit.without_index {
            session.note(&format!("times are missing: {reason}"));
        }
        let text = match self.format {
            _ if session.output.json => String::new(),
            Format::Jsonl => render::jsonl(&audit),
            Format::Html => render::html(&audit),
            Format::Csv => render::csv(&audit),
        };
        let entries: Vec<Value> = match session.output.json {
            true => audit.entries.iter().map(render::entry).collect(),
            false => Vec::new(),
        };
        let runs: Vec<Value> = audit.runs.iter().map(render::run).collect();
        let damaged = audit.runs.iter().find_map(|run| Some((&run.run, run.damage.as_ref()?)));
        let failure = damaged.map(|(run, damage)| {
            let message = format!("the trace of run `{run}` is damaged: {damage}");
            Error::new(Exit::Diverged, message).hint(format!("`host trace verify {run}` names the first bad event"))
        });
        let result = json!({ "entries": entries, "runs": runs, "more": audit.more });
        Ok(Reply::new(text, result).failure(failure))
    }
}
