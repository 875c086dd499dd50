//! Runs that wait and are to end: refused, or nobody answered in time. They end as their plan says; where they cannot go on, as they are.

use std::time::Duration;

use serde_json::json;

use crate::GoOnOptions;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::Reply;
use crate::cli::run::{go_on, reply};
use crate::cli::session::{GoOnArgs, Session, SkillArgs};
use crate::clock::{self, Stopwatch};
use crate::limits;
use crate::outcome::RunOutcome;
use crate::plan::OnFailure;
use crate::policy::ApprovalAnswer;
use crate::report::{human, json as report_json};
use crate::store::{Index, RunDir, RunLock};
use crate::trace::committed::committed;

/// How often it is looked whether a run is free.
const POLL: Duration = Duration::from_millis(5);

/// Whether a run's trace ends with a question.
pub(crate) fn waits(run: &RunDir) -> bool {
    let settled = committed(&run.trace()).ok().flatten();
    settled.is_some_and(|settled| settled.is_asking && !settled.has_ended)
        && run.taken_back().is_ok_and(|by| by.is_none())
}

/// Waits until nobody looks at a run or works on it any more, or longer than a look takes: of several who decide at once each looks first.
pub(crate) fn wait_for_others(run: &RunDir) {
    let waited = Stopwatch::start();
    while RunLock::is_held(run.path()) && waited.elapsed() < Duration::from_millis(limits::DECISION_WAIT_MS) {
        clock::pause(POLL);
    }
}

/// Ends a run whose refusal is recorded.
pub(crate) fn end(session: &Session, run: &RunDir, args: &GoOnArgs, answer: ApprovalAnswer) -> Result<Reply, Error> {
    wait_for_others(run);
    let went =
        session.continuing_builder(run, args).and_then(|builder| go_on(session, &builder.build(), run.clone(), false));
    let why = match went {
        Ok((report, failure)) => {
            let text = human::report(&report, &session.output.look);
            return Ok(reply(text, &report, report_json::report(&report)).failure(failure));
        }
        // Another process works on it.
        Err(error) if RunLock::is_held(run.path()) => return Err(error),
        // Another process has ended it, by the answer that is recorded.
        Err(_) if !waits(run) => {
            let failure = Error::new(Exit::Rejected, "another process has ended the run by this answer");
            let failure = failure.hint(format!("`host trace show {}` shows how", run.id()));
            let result = json!({ "run": run.id(), "outcome": RunOutcome::Denied.name() });
            return Ok(Reply::new("", result).meta("run_id", run.id()).failure(Some(failure)));
        }
        Err(error) => error,
    };
    let host = session.builder(&SkillArgs::default()).durability(session.durability()).build();
    host.settle(run, answer)?;
    session.note(&format!("the run could not go on, so it is ended where it waited: {}", why.first()));
    let rolled_back = match plan_of(run) {
        Some(OnFailure::Stop) => None,
        Some(OnFailure::Rollback) => Some(roll_back(session, run, args)),
        None => Some(Err("its plan is not what it was, so whether it is to be taken back is not known".to_owned())),
    };
    let (text, hint) = match &rolled_back {
        None | Some(Ok(None)) => ("the run is denied and has ended; what it did stays".to_owned(), None),
        Some(Ok(Some(by))) => (format!("the run is denied, and what it did was taken back by the run {by}"), None),
        Some(Err(why)) => {
            let hint = "`host history` lists the steps that changed files, `host undo` takes back the last of them";
            (format!("the run is denied and has ended; what it did stays: {why}"), Some(hint))
        }
    };
    let failure = Error::new(Exit::Rejected, text.clone());
    let failure = match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    };
    let by = rolled_back.and_then(Result::ok).flatten();
    let result = json!({ "run": run.id(), "outcome": RunOutcome::Denied.name(), "taken_back_by": by });
    Ok(Reply::new("", result).meta("run_id", run.id()).failure(Some(failure)))
}

/// What the plan says of a failure, where the plan is the one that ran.
fn plan_of(run: &RunDir) -> Option<OnFailure> {
    let header = committed(&run.trace()).ok().flatten()?.header;
    let plan = run.plan_document().ok()?.plan().ok()?;
    (plan.digest == header.plan).then_some(plan.on_failure)
}

/// Takes back what the run did, under the policy of today. Gives the run that did, `None` where there was nothing.
fn roll_back(session: &Session, run: &RunDir, args: &GoOnArgs) -> Result<Option<String>, String> {
    let said = |error: Error| error.first().to_owned();
    let host = session.continuing_builder(run, args).map_err(said)?.build();
    let options = GoOnOptions { cancel: session.interrupt.token(), ..GoOnOptions::default() };
    let report = host.roll_back(run, &options).map_err(|error| said(error.into()))?;
    match report.outcome {
        RunOutcome::RolledBack => Ok(Some(report.run)),
        outcome => Err(format!("the rollback ended as {} (`host trace show {}`)", outcome.name(), report.run)),
    }
}

/// What every command on a state does first: ends the runs for which nobody has answered in time.
pub(crate) fn expired(session: &Session) {
    let store = session.store();
    let Ok(Some(index)) = Index::existing(store.state(), session.durability()) else { return };
    let late = index.expired_runs(clock::since_epoch()).unwrap_or_default();
    drop(index);
    for id in late {
        let Ok(run) = store.find(&id) else { continue };
        if RunLock::is_held(run.path()) || !waits(&run) {
            continue;
        }
        let answer = ApprovalAnswer::reject("nobody", "nobody answered in time");
        let said = match end(session, &run, &GoOnArgs::default(), answer) {
            Ok(reply) => {
                let outcome = reply.result.get("outcome").and_then(serde_json::Value::as_str).unwrap_or("denied");
                format!("nobody answered run {id} in time, so it has ended: {outcome}")
            }
            Err(error) => {
                format!(
                    "nobody answered run {id} in time, and it cannot end: {} (`host reject {id} --by NAME`)",
                    error.first()
                )
            }
        };
        session.note(&said);
    }
}
