//! `host runs`, and how runs are named on the command line.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::plan_source::read_json;
use crate::cli::reply::Reply;
use crate::cli::session::{Session, SkillArgs};
use crate::outcome::RunOutcome;
use crate::report::human::{Align, Table, Tone};
use crate::store::index::{Durability, RunStatus};
use crate::store::{Index, Overview, RunDir, RunStore, StoreError};
use crate::trace::TRACE_FILE;

/// Lists the recorded runs, the newest first
#[derive(Debug, clap::Args)]
pub(crate) struct Runs {
    /// How many to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Only those that are this
    #[arg(long, value_name = "STATUS", value_parser = clap::builder::PossibleValuesParser::new(statuses()))]
    status: Option<String>,
    /// Only those with this label
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

fn statuses() -> Vec<&'static str> {
    RunStatus::ALL.iter().map(|status| status.name()).collect()
}

impl Runs {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let host = session.builder(&SkillArgs::default()).build();
        let status = self.status.as_deref().and_then(RunStatus::from_name);
        let index = readable_index(session, host.store());
        let runs = host.store().overview(index.as_ref(), status, self.tag.as_deref(), self.limit)?;
        let columns = [("run", Align::Left), ("plan", Align::Left), ("status", Align::Left), ("steps", Align::Right)];
        let mut table = Table::new(&columns).and(&[("started (UTC)", Align::Left)]);
        let mut list: Vec<Value> = Vec::new();
        for run in &runs {
            let (shown, tone) = shown(run);
            let started = started(&run.id);
            let started = started.as_deref();
            table.row(
                &[&run.id, &run.plan, shown, &run.steps.to_string(), started.unwrap_or_default()],
                Some((2, tone)),
            );
            list.push(json!({
                "run": run.id,
                "plan": run.plan,
                "status": run.status.name(),
                "active": run.held,
                "outcome": RunOutcome::from_name(run.status.name()).map(RunOutcome::name),
                "steps": run.steps,
                "started": started,
                "damage": run.damage,
                "tags": run.tags,
                "snapshot_id": host.store().snapshot_of(&run.id),
            }));
        }
        let text = match runs.as_slice() {
            [] => String::new(),
            _ => table.render(&session.output.look),
        };
        match (&self.status, &self.tag) {
            _ if !runs.is_empty() => {}
            (Some(status), None) => session.note(&format!("no run in `{}` is {status}", session.state().display())),
            (_, Some(tag)) => {
                session.note(&format!("no such run in `{}` has the tag `{tag}`", session.state().display()));
            }
            (None, None) => session.note(&format!("no run is recorded in `{}`", session.state().display())),
        }
        Ok(Reply::new(text, json!({ "runs": list })))
    }
}

/// What a run is, in a word.
fn shown(run: &Overview) -> (&'static str, Tone) {
    match run.status {
        _ if run.damage.is_some() => ("damaged", Tone::Bad),
        // It may be one of an older program that has no lock: so nothing more is said.
        RunStatus::Pending | RunStatus::Running if !run.held => ("not ended", Tone::Note),
        status @ (RunStatus::Pending | RunStatus::Running | RunStatus::Paused) => (status.name(), Tone::Note),
        RunStatus::Completed => ("completed", Tone::Good),
        status => (status.name(), Tone::Bad),
    }
}

/// The index where there is one that can be read. A list is made from the folders as well, so that nothing else ends it.
pub(crate) fn readable_index(session: &Session, store: &RunStore) -> Option<Index> {
    let found = Index::existing(store.state(), Durability::Full);
    found.unwrap_or_else(|error| {
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        session.note(&format!("{error}{hint}"));
        None
    })
}

/// The index with all runs in it; `None` where nothing was recorded yet.
pub(crate) fn whole_index(store: &RunStore) -> Result<Option<Index>, Error> {
    if !store.state().is_dir() {
        return Ok(None);
    }
    let mut index = Index::open(store.state(), Durability::Full).map_err(StoreError::from)?;
    index.catch_up(store)?;
    Ok(Some(index))
}

/// When a run began, from its id: `2026-01-31 12:00:00`.
fn started(id: &str) -> Option<String> {
    let part = |from: usize, to: usize| id.get(from..to).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(9, 11)?, part(11, 13)?, part(13, 15)?);
    Some(format!("{year}-{month}-{day} {hour}:{minute}:{second}"))
}

/// The run that `name` names: a folder, a file that belongs to a run, an id or the beginning of one, or `last`.
pub(crate) fn find_run(store: &RunStore, name: &str) -> Result<RunDir, Error> {
    let path = Path::new(name);
    if path.is_dir() {
        return folder(path);
    }
    if path.is_file() {
        return folder(&folder_of_file(path)?);
    }
    Ok(store.find(name)?)
}

fn folder(path: &Path) -> Result<RunDir, Error> {
    Ok(RunDir::open(path)?)
}

/// The run's folder for a file: its `trace.jsonl`, or a JSON document with the member `run`.
fn folder_of_file(path: &Path) -> Result<PathBuf, Error> {
    let beside = path.parent().unwrap_or_else(|| Path::new(""));
    if path.file_name().is_some_and(|name| name == TRACE_FILE) {
        return Ok(if beside.as_os_str().is_empty() { PathBuf::from(".") } else { beside.to_owned() });
    }
    let document = read_json(path)?;
    let Some(run) = document.get("run").and_then(Value::as_str) else {
        let message = format!("`{}` names no run: it has no member `run`", path.display());
        return Err(
            Error::new(Exit::Request, message).hint("give a run's id, its folder, or a `trace_*.json` of the demo")
        );
    };
    Ok(beside.join(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_read_from_the_id() {
        assert_eq!(started("20260131T120105.123456Z-0a1b2c3d").as_deref(), Some("2026-01-31 12:01:05"));
        assert_eq!(started("success"), None);
        assert_eq!(started(""), None);
    }

    #[test]
    fn a_file_leads_to_its_run() {
        let folder = tempfile::tempdir().unwrap();
        let artifact = folder.path().join("trace_x.json");
        std::fs::write(&artifact, r#"{"run": "x/"}"#).unwrap();
        assert_eq!(folder_of_file(&artifact).unwrap(), folder.path().join("x"));
        assert_eq!(folder_of_file(&folder.path().join("r/trace.jsonl")).unwrap(), folder.path().join("r"));
        std::fs::write(&artifact, "{}").unwrap();
        assert!(folder_of_file(&artifact).is_err());
    }
}
