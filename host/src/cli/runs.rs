//! `host runs`, and how runs are named on the command line.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::plan_source::read_json;
use crate::cli::reply::Reply;
use crate::cli::session::Session;
use crate::store::{RunDir, RunStore};
use crate::trace::TRACE_FILE;

/// Lists the recorded runs, the newest first
#[derive(Debug, clap::Args)]
pub(crate) struct Runs {
    /// How many to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

/// The name of the newest run.
const LAST: &str = "last";

impl Runs {
    pub(crate) fn execute(&self, _session: &Session) -> Result<Reply, Error> {
        Ok(Reply::default())
    }
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
    let runs = store.runs()?;
    let matching = |run: &&RunDir| name == LAST || run.id().starts_with(name);
    let mut found = runs.iter().filter(matching);
    match (found.next(), found.next()) {
        (Some(run), _) if name == LAST || run.id() == name => Ok(run.clone()),
        (Some(run), None) => Ok(run.clone()),
        (Some(_), Some(_)) => {
            let count = 2 + found.count();
            Err(Error::new(Exit::Request, format!("`{name}` is the beginning of {count} runs")).hint("give more of the id"))
        }
        (None, _) => Err(no_run(name, runs.is_empty())),
    }
}

fn no_run(name: &str, none: bool) -> Error {
    let error = Error::new(Exit::Request, format!("there is no run and no file `{name}`"));
    error.hint(if none { "no run is recorded in this state folder; `--state` names another" } else { "`host runs` lists them" })
}

fn folder(path: &Path) -> Result<RunDir, Error> {
    if !path.join(TRACE_FILE).is_file() {
        let message = format!("`{}` is not the folder of a run: it has no `{TRACE_FILE}`", path.display());
        return Err(Error::new(Exit::Request, message));
    }
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
        return Err(Error::new(Exit::Request, message).hint("give a run's id, its folder, or a `trace_*.json` of the demo"));
    };
    Ok(beside.join(run))
}
