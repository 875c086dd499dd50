//! `host policy replay` and `host policy suggest`: what another policy would have said of recorded runs, and the smallest that they need.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::SkillHost;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::{Form, Reply};
use crate::cli::runs::find_run;
use crate::cli::session::{Session, SkillArgs, read_policy};
use crate::lab::replay::compare;
use crate::lab::suggest::suggest;
use crate::lab::{Change, Comparison, Finding, Recorded, SuggestError};
use crate::report::human::{Align, Append as _, Look, Table, Tone, counted, harmless};

/// Shows what a policy would have denied or newly allowed in recorded runs; runs nothing
#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// Runs: ids or the beginning of them, `last`, folders, or a `trace_*.json` of the demo
    #[arg(value_name = "RUN", default_value = "last")]
    runs: Vec<String>,
    /// The policy to hold them against
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
}

/// Writes the smallest policy under which recorded runs still pass; runs nothing
#[derive(Debug, clap::Args)]
pub(crate) struct Suggest {
    /// Runs: ids or the beginning of them, `last`, folders, or a `trace_*.json` of the demo
    #[arg(value_name = "RUN", default_value = "last")]
    runs: Vec<String>,
    /// Writes the policy to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replaces the file of `--out` where it is there
    #[arg(long, requires = "out")]
    force: bool,
}

impl Replay {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let policy = read_policy(&self.policy)?.policy;
        let runs = recorded(session, &self.runs)?;
        let comparison = compare(&runs, &policy);
        comparison.notes.iter().for_each(|note| session.note(note));
        let failure = (comparison.denies > 0).then(|| {
            let denied = counted(comparison.denies, "thing");
            Error::new(Exit::Denied, format!("the policy would have denied {denied} that the runs did"))
                .hint("`host policy suggest` writes a policy under which they pass")
        });
        Ok(Reply::new(to_text(&comparison, &session.output.look), to_json(&comparison)).failure(failure))
    }
}

impl Suggest {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let runs = recorded(session, &self.runs)?;
        runs.iter().flat_map(|run| &run.notes).for_each(|note| session.note(note));
        let suggestion = suggest(&runs).map_err(|error| not_suggested(&error))?;
        let grants = suggestion.policy.grants.len();
        let mut result =
            json!({ "policy": suggestion.text, "grants": grants, "digest": suggestion.policy.digest.to_string() });
        let text = match &self.out {
            None => return Ok(Reply::document(Form::Document, suggestion.text, result)),
            Some(path) => {
                write_new(path, &suggestion.text, self.force)?;
                if let Some(members) = result.as_object_mut() {
                    members.insert("file".to_owned(), json!(path.display().to_string()));
                }
                format!("{}: {}\n", harmless(&path.to_string_lossy()), counted(grants as u64, "grant"))
            }
        };
        Ok(Reply::new(text, result))
    }
}

/// Writes a file that is not there yet, unless `force`.
pub(crate) fn write_new(path: &Path, text: &str, force: bool) -> Result<(), Error> {
    if path.exists() && !force {
        return Err(Error::new(Exit::Request, format!("`{}` is there already", path.display()))
            .hint("choose another name, or replace it with `--force`"));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    }
    std::fs::write(path, text).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Exit::Internal, format!("cannot write `{}`: {error}", path.display()))
        .hint("choose a place in a folder that is there and that you may write to")
}

fn recorded(session: &Session, names: &[String]) -> Result<Vec<Recorded>, Error> {
    let host: SkillHost = session.builder(&SkillArgs::default()).build();
    names.iter().map(|name| Ok(Recorded::read(&host, &find_run(host.store(), name)?)?)).collect()
}

fn not_suggested(error: &SuggestError) -> Error {
    let hint = match error {
        SuggestError::NoPolicy { .. } => "give the whole folder of the run: it keeps the policy beside the trace",
        SuggestError::NothingRan => "run the plan with `--log-only`: it runs and records what would have been denied",
        SuggestError::TwoFolders { .. } => "suggest a policy for each of the runs, or use one policy for both",
        SuggestError::NotEnough(_) => "what the tool needs was not given to it in these runs: add it by hand",
    };
    Error::new(Exit::Request, error.to_string()).hint(hint)
}

fn to_text(comparison: &Comparison, look: &Look) -> String {
    let mut out = String::new();
    if !comparison.findings.is_empty() {
        let columns = [("run", Align::Left), ("step", Align::Left), ("tool", Align::Left), ("change", Align::Left)];
        let mut table = Table::new(&columns).and(&[("what", Align::Left), ("why", Align::Left)]);
        for Finding { run, step, tool, change, what, why, .. } in &comparison.findings {
            let tone = match change {
                Change::Denies => Tone::Bad,
                Change::Allows => Tone::Good,
                Change::Differs => Tone::Note,
            };
            table.row(&[run, step, &tool.to_string(), change.name(), what, why], Some((3, tone)));
        }
        out += &table.render(look);
        let more = (comparison.denies + comparison.allows + comparison.differs) - comparison.findings.len() as u64;
        if more > 0 {
            out.add(format_args!("and {more} more\n"));
        }
        out.push('\n');
    }
    let Comparison { denies, allows, differs, steps, .. } = comparison;
    out.add(format_args!(
        "{}: {denies} denied, {allows} newly allowed, {differs} otherwise\n",
        counted(*steps, "step")
    ));
    out
}

fn to_json(comparison: &Comparison) -> Value {
    json!({
        "steps": comparison.steps,
        "denies": comparison.denies,
        "allows": comparison.allows,
        "differs": comparison.differs,
        "findings": comparison.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
    })
}
