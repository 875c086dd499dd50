//! `host recover`: runs that were stopped by a crash go on.

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::reply::Reply;
use crate::cli::run::go_on;
use crate::cli::session::{GoOnArgs, Session};
use crate::outcome::RunOutcome;
use crate::report::{Report, human, json as report_json};
use crate::store::index::{RunFilter, RunStatus, reindex};
use crate::store::{Index, RunDir, RunLock, StoreError};
use crate::trace::committed::committed;

/// Goes on with runs that a crash has stopped: undoes what was under way, keeps what is settled, does the rest
#[derive(Debug, clap::Args)]
pub(crate) struct Recover {
    /// The run: the beginning of its id, or `last` [default: every run that was stopped]
    run: Option<String>,
    /// Builds the index of all runs again from their traces first; a damaged one is put aside
    #[arg(long)]
    reindex: bool,
    /// Makes a step again although it may have sent a request that changes something at its server
    #[arg(long, requires = "run")]
    again: bool,
    #[command(flatten)]
    go_on: GoOnArgs,
}

impl Recover {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let store = session.store();
        let mut text = String::new();
        let mut reindexed = Value::Null;
        if self.reindex {
            let runs = reindex(&store, session.durability(), &crate::run::facts_of_run)?;
            let damaged = runs.iter().filter(|run| run.damage.is_some()).count();
            text = format!("indexed {} runs, {damaged} of them damaged\n", runs.len());
            reindexed = json!({ "runs": runs.len(), "damaged": damaged });
        }
        let stopped = match &self.run {
            Some(run) => vec![store.find(run)?],
            None => store.stopped()?,
        };
        // One that cannot go on is in nobody's way.
        let (mut reports, mut failures) = (Vec::new(), Vec::new());
        for run in stopped {
            let id = run.id().to_owned();
            let went = session
                .continuing_builder(&run, &self.go_on)
                .and_then(|builder| go_on(session, &builder.build(), run, self.again));
            let failure = match went {
                Ok((report, failure)) => {
                    reports.push(report);
                    failure
                }
                Err(error) => Some(error),
            };
            failures.extend(failure.map(|failure| (id, failure)));
            if session.interrupt.exit().is_some() {
                break;
            }
        }
        Ok(reply(session, text, &reindexed, &reports).failure(Error::of_runs(failures)))
    }
}

/// What every start does: goes on with the runs that a crash has stopped, as far as the index knows of them. What cannot go on is said and
/// is in nobody's way.
pub(crate) fn at_start(session: &Session) -> Result<(), Error> {
    let store = session.store();
    let Some(index) = Index::existing(store.state(), session.durability()).map_err(StoreError::from)? else {
        return Ok(());
    };
    // The index follows the trace: what was killed at once is there as `pending`, and what it says of the others may be less than the trace.
    let mut begun = Vec::new();
    for status in [RunStatus::Pending, RunStatus::Running] {
        let filter = RunFilter { status: Some(status), ..RunFilter::default() };
        begun.extend(index.runs(&filter).map_err(StoreError::from)?);
    }
    // The oldest first, whatever the clock said.
    let order = if begun.is_empty() { Vec::new() } else { store.ids()? };
    begun.sort_by_key(|run| std::cmp::Reverse(order.iter().position(|id| *id == run.id)));
    let mut index = Some(index);
    for run in begun {
        let Ok(folder) = store.find(&run.id) else { continue };
        if RunLock::is_held(folder.path()) {
            continue;
        }
        let went = settle(session, folder, &mut index);
        session.interrupt.check()?;
        match went {
            Ok(None) => {}
            Ok(Some(report)) => {
                let outcome = report.outcome.name();
                session.note(&format!("run {} had been stopped by a crash and went on: {outcome}", run.id));
            }
            Err(error) => session.note(&format!(
                "run {} was stopped by a crash and cannot go on: {} (`host recover {}` tries again)",
                run.id,
                error.first(),
                run.id
            )),
        }
    }
    Ok(())
}

/// Goes on with a run if a crash has stopped it.
fn settle(session: &Session, folder: RunDir, index: &mut Option<Index>) -> Result<Option<Report>, Error> {
    let store = session.store();
    let settled = committed(&folder.trace());
    if matches!(settled, Ok(None)) {
        // Nothing of it has begun: there is nothing to learn and nothing to go on with.
        return Ok(None);
    }
    // Whoever goes on with one whose trace cannot be read is told of it.
    if settled.is_ok() && !store.is_stopped(&folder, index)? {
        if let Some(index) = index {
            // It has ended, or waits, and the index has not learned of it.
            index.reindex_run(&store, folder.id(), &crate::run::facts_of_run).map_err(StoreError::from)?;
        }
        return Ok(None);
    }
    let builder = session.continuing_builder(&folder, &GoOnArgs::default())?;
    let (report, _) = go_on(session, &builder.build(), folder, false)?;
    Ok(Some(report))
}

fn reply(session: &Session, mut text: String, reindexed: &Value, reports: &[Report]) -> Reply {
    for report in reports {
        text.push_str(&human::report(report, &session.output.look));
    }
    if reports.is_empty() {
        text.push_str("no run was stopped by a crash\n");
    }
    let completed = reports.iter().filter(|report| report.outcome == RunOutcome::Completed).count();
    let runs: Vec<Value> = reports.iter().map(report_json::report).collect();
    Reply::new(text, json!({ "runs": runs, "completed": completed, "reindexed": reindexed }))
}
