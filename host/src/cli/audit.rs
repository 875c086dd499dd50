//! `host audit export`.

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::{Form, Reply};
use crate::cli::runs::find_run;
use crate::cli::session::{Session, SkillArgs};
use crate::policy::{AuditLevel, Principal};
use crate::report::audit as render;
use crate::report::human::{Align, Table, counted};
use crate::store::audit::{AuditFilter, audit};
use crate::store::index::{Access, AccessAction, Durability};
use crate::store::{Index, StoreError};

/// Says who did what
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Audit {
    Export(Export),
    Accesses(Accesses),
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
    /// Only runs with this label
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// How many entries at the most: the newest
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    limit: usize,
    /// How much of inputs, outputs and messages: `minimal` or `basic` for nothing, `standard` or `detailed` for their size and digest, `full` or
    /// `forensic` for all. Never more than the policy of a run allows
    #[arg(long, value_name = "LEVEL", default_value = "full", value_parser = level)]
    level: AuditLevel,
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

fn level(text: &str) -> Result<AuditLevel, String> {
    let names = || AuditLevel::SPELLINGS.map(|(name, _)| name).join(", ");
    AuditLevel::from_spelling(text).ok_or_else(|| format!("`{text}` is no level: there are {}", names()))
}

impl Audit {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        match self {
            Self::Export(export) => export.execute(session),
            Self::Accesses(accesses) => accesses.execute(session),
        }
    }
}

/// Lists who approved, rejected, undid, rolled back, exported and deleted what, the oldest first
#[derive(Debug, clap::Args)]
pub(crate) struct Accesses {
    /// How many at the most: the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

impl Accesses {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let found = match Index::existing(session.store().state(), Durability::Full).map_err(StoreError::from)? {
            Some(index) => index.accesses(self.limit).map_err(StoreError::from)?,
            None => Vec::new(),
        };
        let columns = ["at (UTC)", "who", "action", "run", "step", "detail"].map(|name| (name, Align::Left));
        let mut table = Table::new(&columns);
        let mut list: Vec<Value> = Vec::new();
        for Access { at, action, who, run, step, detail } in &found {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            table.row(&[at, who, action, &text(run), &text(step), detail], None);
            list.push(json!({ "at": at, "who": who, "action": action, "run": run, "step": step, "detail": detail }));
        }
        let text = if found.is_empty() { String::new() } else { table.render(&session.output.look) };
        if found.is_empty() {
            session.note(&format!("no access is noted in `{}`", session.state().display()));
        }
        Ok(Reply::new(text, json!({ "accesses": list })))
    }
}

impl Export {
    /// What was asked for, as the access log keeps it.
    fn said(&self) -> String {
        let principal = self.principal.as_ref().map(|principal| format!(" principal={principal}"));
        let tag = self.tag.as_ref().map(|tag| format!(" tag={tag}"));
        let (principal, tag) = (principal.unwrap_or_default(), tag.unwrap_or_default());
        format!("level={}{principal}{tag}", self.level.name())
    }

    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let host = session.builder(&SkillArgs::default()).build();
        let run = self.run.as_deref().map(|run| find_run(host.store(), run)).transpose()?;
        let filter = AuditFilter {
            run: run.map(|run| run.id().to_owned()),
            principal: self.principal.as_ref().map(ToString::to_string),
            tag: self.tag.clone(),
            limit: self.limit,
            level: self.level,
        };
        session.note_access(AccessAction::Export, None, (filter.run.as_deref(), None), &self.said());
        let audit = audit(host.store(), &filter)?;
        if audit.more {
            session.note(&format!("older entries than the newest {} are left out; see `--limit`", self.limit));
        }
        let lowered = audit.runs.iter().filter(|run| run.level < self.level).count();
        if lowered > 0 {
            let runs = counted(u64::try_from(lowered).unwrap_or(u64::MAX), "run");
            session.note(&format!("of {runs} less is shown than was asked for: their policies allow no more"));
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
        let form = if matches!(self.format, Format::Jsonl) { Form::Json } else { Form::Document };
        Ok(Reply::document(form, text, result).failure(failure))
    }
}
