//! `--events ndjson`: what an observer sees of a run, as a JSON object a line on stderr while the run goes on. `docs/events.md` has the table.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::cli::output;
use crate::id::StepId;
use crate::journal::{ChangeKind, Journal, PathChange};
use crate::observe::{HostEvent, Observer};
use crate::outcome::Outcome;
use crate::run::journal_of;
use crate::store::{RUNS, RunStore};

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EventsFormat {
    /// One JSON object a line, on stderr
    Ndjson,
}

/// The option of the commands that can tell of a run while it goes on.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct EventsArgs {
    /// Writes what happens as it happens, one JSON object a line on stderr, and no progress line
    #[arg(long, value_name = "FORMAT")]
    pub(crate) events: Option<EventsFormat>,
}

impl EventsArgs {
    pub(crate) const fn are_wanted(self) -> bool {
        matches!(self.events, Some(EventsFormat::Ndjson))
    }
}

/// Writes events of runs in a store, if they are wanted.
pub(crate) fn observer(store: RunStore, wanted: bool) -> impl Observer + 'static {
    // The folder of the run, whose journals say which files a step has changed.
    let folder: Mutex<PathBuf> = Mutex::default();
    move |event: &HostEvent<'_>| {
        if !wanted {
            return;
        }
        let mut folder = folder.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            // A rehearsal has its run elsewhere, so that nothing is found here: it changes no file.
            HostEvent::RunBegin { run } => *folder = store.state().join(RUNS).join(run),
            HostEvent::StepEnd { step, attempt, compensates, outcome, .. } if outcome.is_completed() => {
                let changes = changes(&journal_of(&folder, step, *attempt, *compensates));
                changes.iter().for_each(|change| output::event(&of_file(step, change)));
            }
            _ => {}
        }
        output::event(&to_json(event));
    }
}

/// What a step has changed, by its sealed journal; nothing where it has none.
fn changes(journal: &Path) -> Vec<PathChange> {
    let mut changes = match Journal::open_if_begun(journal) {
        Ok(Some(journal)) if journal.is_sealed() => journal.changes().unwrap_or_default(),
        _ => Vec::new(),
    };
    changes.sort_by(|one, other| one.guest.cmp(&other.guest));
    changes
}

fn of_file(step: &StepId, change: &PathChange) -> Value {
    let name = match &change.kind {
        ChangeKind::Created => "file.created",
        ChangeKind::Modified => "file.modified",
        ChangeKind::Removed => "file.deleted",
        ChangeKind::Renamed { .. } => "file.renamed",
        ChangeKind::Times => "file.touched",
    };
    let mut members = Map::from_iter([
        ("event".to_owned(), json!(name)),
        ("step".to_owned(), json!(step)),
        ("path".to_owned(), json!(change.guest)),
    ]);
    if let ChangeKind::Renamed { from } = &change.kind {
        members.insert("from".to_owned(), json!(from));
    }
    Value::Object(members)
}

fn to_json(event: &HostEvent<'_>) -> Value {
    match event {
        HostEvent::RunBegin { run } => json!({ "event": "run.start", "run": run }),
        HostEvent::PlanReady { steps } => json!({ "event": "plan.ready", "steps": steps }),
        HostEvent::PlanRefused { problems } => json!({ "event": "plan.refused", "problems": problems }),
        HostEvent::StepDenied { step, tool, reason } => {
            json!({ "event": "step.denied", "step": step, "tool": tool.to_string(), "reason": reason })
        }
        HostEvent::StepWouldBeDenied { step, tool, reason } => {
            json!({ "event": "step.would-be-denied", "step": step, "tool": tool.to_string(), "reason": reason })
        }
        HostEvent::StepBegin { step, tool, attempt, compensates } => json!({
            "event": "step.start",
            "step": step,
            "tool": tool.to_string(),
            "attempt": attempt,
            "compensates": compensates,
        }),
        HostEvent::StepSkipped { step, reason } => json!({ "event": "step.skipped", "step": step, "reason": reason }),
        HostEvent::StepEnd { step, attempt, compensates, outcome, calls, fuel, duration_us } => {
            let mut members = Map::from_iter([
                ("event".to_owned(), json!(if outcome.is_completed() { "step.end" } else { "step.failed" })),
                ("step".to_owned(), json!(step)),
                ("attempt".to_owned(), json!(attempt)),
                ("compensates".to_owned(), json!(compensates)),
                ("outcome".to_owned(), json!(outcome.name())),
                ("calls".to_owned(), json!(calls)),
                ("fuel".to_owned(), json!(fuel)),
                ("duration_us".to_owned(), json!(duration_us)),
            ]);
            members.extend(why(outcome).map(|(key, value)| (key.to_owned(), value)));
            Value::Object(members)
        }
        HostEvent::NotReused { step, why } => json!({ "event": "step.not-reused", "step": step, "reason": why }),
        HostEvent::Asks { request } => json!({
            "event": "approval.requested",
            "step": request.step,
            "tool": request.tool.to_string(),
            "needed_by": request.needed_by,
            "subject": request.subject,
        }),
        HostEvent::Notified { step, delivery } => json!({
            "event": "approval.notified",
            "step": step,
            "status": delivery.status.as_ref().ok(),
            "error": delivery.status.as_ref().err(),
        }),
        HostEvent::RunEnd { outcome } => json!({ "event": "run.end", "outcome": outcome.name() }),
        HostEvent::Warning { message } => json!({ "event": "warning", "message": message }),
    }
}

/// What says why a step did not complete, beside its outcome. An output is not among it: it may be large, and the report has it.
fn why(outcome: &Outcome) -> Option<(&'static str, Value)> {
    match outcome {
        Outcome::Failed { error } => Some(("error", error.clone())),
        Outcome::Trapped { message, .. } => Some(("message", json!(message))),
        Outcome::LimitExceeded { limit, .. } => Some(("limit", json!(limit.name()))),
        Outcome::Conflict { with, .. } => Some(("with", json!(with))),
        Outcome::Completed { .. } | Outcome::Cancelled => None,
    }
}
