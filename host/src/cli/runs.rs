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
use crate::store::{RunDir, RunStore};
use crate::trace::TRACE_FILE;

/// Lists the recorded runs, the newest first
#[derive(Debug, clap::Args)]
pub(crate) struct Runs {
    /// How many to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

impl Runs {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let host = session.builder(&SkillArgs::default()).build();
        let runs = host.store().list(self.limit)?;
        let columns = [("run", Align::Left), ("plan", Align::Left), ("outcome", Align::Left), ("steps", Align::Right)];
        let mut table = Table::new(&columns).and(&[("started (UTC)", Align::Left)]);
        let mut list: Vec<Value> = Vec::new();
        for run in &runs {
            let (outcome, tone) = match (&run.damage, run.outcome) {
                (Some(_), _) => ("damaged", Tone::Bad),
                (None, None) => ("not ended", Tone::Note),
                (None, Some(RunOutcome::Completed)) => ("completed", Tone::Good),
                (None, Some(outcome)) => (outcome.name(), Tone::Bad),
            };
            let started = started(&run.id);
            let started = started.as_deref();
            table.row(
                &[&run.id, &run.plan, outcome, &run.steps.to_string(), started.unwrap_or_default()],
                Some((2, tone)),
            );
            list.push(json!({
                "run": run.id,
                "plan": run.plan,
                "outcome": run.outcome.map(RunOutcome::name),
                "steps": run.steps,
                "started": started,
                "damage": run.damage,
            }));
        }
        let text = match runs.as_slice() {
            [] => String::new(),
            _ => table.render(&session.output.look),
        };
        if runs.is_empty() {
            session.note(&format!("no run is recorded in `{}`", session.state().display()));
        }
        Ok(Reply::new(text, json!({ "runs": list })))
    }
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
