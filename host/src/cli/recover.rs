//! `host recover`: runs that were stopped by a crash go on.

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::reply::Reply;
use crate::cli::run::go_on;
use crate::cli::session::{GoOnArgs, Session};
use crate::outcome::RunOutcome;
use crate::report::{Report, human, json as report_json};
use crate::store::{RunDir, RunStore};

/// Goes on with runs that a crash has stopped: undoes what was under way, keeps what is settled, does the rest
#[derive(Debug, clap::Args)]
pub(crate) struct Recover {
    /// The run: the beginning of its id, or `last` [default: every run that was stopped]
    run: Option<String>,
    #[command(flatten)]
    go_on: GoOnArgs,
}

impl Recover {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let store = session.store();
        let stopped = match &self.run {
            Some(run) => vec![store.find(run)?],
            None => stopped(&store)?,
        };
        let (mut reports, mut failure) = (Vec::new(), None);
        for run in stopped {
            let host = session.continuing_builder(&run, &self.go_on)?.build();
            let (report, failed) = go_on(session, host, run)?;
            failure = failure.or(failed);
            reports.push(report);
        }
        Ok(reply(session, &reports).failure(failure))
    }
}

/// Runs that neither ended nor wait nor run.
pub(crate) fn stopped(store: &RunStore) -> Result<Vec<RunDir>, Error> {
    Ok(store.stopped()?)
}

fn reply(session: &Session, reports: &[Report]) -> Reply {
    let mut text = String::new();
    for report in reports {
        text.push_str(&human::report(report, &session.output.look));
    }
    if reports.is_empty() {
        text.push_str("no run was stopped by a crash\n");
    }
    let completed = reports.iter().filter(|report| report.outcome == RunOutcome::Completed).count();
    let runs: Vec<Value> = reports.iter().map(report_json::report).collect();
    Reply::new(text, json!({ "runs": runs, "completed": completed }))
}
