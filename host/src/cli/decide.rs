//! `host approve` and `host reject`: what a run waits for is decided, and the run goes on. An approval is of what was seen: it names the
//! subject, or is given on a terminal that has shown it. A rejection needs nothing but the run.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::interactive::{add_preview, is_yes};
use crate::cli::reply::Reply;
use crate::cli::run::{go_on, reply};
use crate::cli::runs::whole_index;
use crate::cli::session::{GoOnArgs, Session};
use crate::cli::settled;
use crate::clock;
use crate::id::Digest;
use crate::observe::HostEvent;
use crate::outcome::RunOutcome;
use crate::policy::{ApprovalAnswer, is_name};
use crate::report::{human, json as report_json};
use crate::store::index::{AccessAction, Answer, Approval, ApprovalState};
use crate::store::{Index, IndexError, RunDir, StoreError};

/// Lets a step run that waits for approval, and goes on with its run
///
/// An approval is of what was seen: on a terminal all of it is shown and asked about, elsewhere `--subject` says what was seen.
#[derive(Debug, clap::Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    which: Which,
    /// Who decides: it is recorded
    #[arg(long, value_name = "NAME", value_parser = name, required_unless_present = "show")]
    by: Option<String>,
    /// What was seen: the digest that `--show` and the question end with
    #[arg(long, value_name = "DIGEST")]
    subject: Option<Digest>,
    /// Shows what is asked, whole, and what the step would do, and decides nothing
    #[arg(long, conflicts_with_all = ["by", "subject", "reason", "no_continue"])]
    show: bool,
    #[command(flatten)]
    how: How,
}

/// Refuses a step that waits for approval, and ends its run as the plan says
///
/// Where the run cannot go on, because its plan, its policy, its skills or its folders are not what they were, it is ended as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Reject {
    #[command(flatten)]
    which: Which,
    /// Who decides: it is recorded
    #[arg(long, value_name = "NAME", value_parser = name)]
    by: String,
    /// What is refused, where it shall be nothing else: the digest that `host approve --show` ends with
    #[arg(long, value_name = "DIGEST")]
    subject: Option<Digest>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The run: the beginning of its id, or `last`
    run: String,
    /// The step, where the run waits for several
    step: Option<String>,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Why: it is recorded
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Records the decision and leaves the run where it is: `host recover` goes on with it
    #[arg(long)]
    no_continue: bool,
    #[command(flatten)]
    go_on: GoOnArgs,
}

fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if is_name(name) {
        Ok(name.to_owned())
    } else {
        Err("a name has a letter or a digit, and nothing that cannot be seen".to_owned())
    }
}

/// What a run waits for, looked at under what holds now.
struct Seen {
    step: String,
    subject: Digest,
    document: Value,
    /// What the step would do.
    preview: String,
}

impl Seen {
    fn text(&self) -> String {
        human::subject(&self.document, &self.subject) + &self.preview
    }
}

impl Approve {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let store = session.store();
        let run = store.find(&self.which.run)?;
        let mut index = index(session)?;
        let step = self.which.step(&mut index, &run)?;
        // An answer that is there already is told, and not what would come of it.
        if let Some(refused) = closed(&index, &run, &step)? {
            return Err(StoreError::from(refused).into());
        }
        let terminal = session.can_ask();
        if !self.show && self.subject.is_none() && !terminal {
            let hint = format!(
                "`host approve {0} --show` shows what is asked, whole, and ends with its subject; then `host approve {0} --by NAME --subject \
                 DIGEST`",
                run.id()
            );
            let message = "an approval is of what was seen, and there is no terminal to show it on";
            return Err(Error::request(message).hint(hint));
        }
        // Everything is checked before anything is recorded: plan, policy, skills, folders. The run does not go on by that.
        let seen = Arc::new(Mutex::new(None));
        let (to, shows) = (Arc::clone(&seen), self.show || self.subject.is_none());
        let see = move |event: &HostEvent<'_>| {
            let HostEvent::Asks { request } = event else { return };
            let mut preview = String::new();
            if let Some(found) = request.rehearsal.preview().filter(|_| shows) {
                add_preview(&mut preview, &found);
            }
            let (step, subject, document) = (request.step.to_string(), request.subject, request.document.clone());
            *to.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen { step, subject, document, preview });
        };
        settled::wait_for_others(&run);
        let host = session.continuing_builder(&run, &self.how.go_on)?.observer(see).build();
        let (report, failure) = go_on(session, &host, run.clone(), false)?;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(seen), RunOutcome::Paused) = (seen, report.outcome) else {
            // Somebody else decided meanwhile, or it was too late.
            let text = human::report(&report, &session.output.look);
            return Ok(reply(text, &report, report_json::report(&report)).failure(failure));
        };
        if let Some(folder) = missing_folder(&seen.document) {
            let message = format!(
                "the folder `{folder}` that the step would have cannot be opened, so nothing can be said of it"
            );
            return Err(Error::request(message)
                .hint(format!("put it back, or end the run: `host reject {} --by NAME --reason WHY`", run.id())));
        }
        if self.show {
            let result =
                json!({ "run": run.id(), "step": seen.step, "subject": seen.subject, "document": seen.document });
            return Ok(Reply::new(seen.text(), result).meta("run_id", run.id()));
        }
        match self.subject {
            Some(subject) if subject == seen.subject => {}
            Some(_) => {
                let refused = IndexError::OtherSubject { run: run.id().to_owned(), step, asked: seen.subject };
                return Err(StoreError::from(refused).into());
            }
            None => {
                let question = format!("{}may it run? [y/N] ", seen.text());
                if !session.output.ask(&question).is_some_and(|line| is_yes(&line)) {
                    return Err(Error::new(Exit::Paused, "nothing is decided: the run waits as before")
                        .hint(format!("`host reject {} --by NAME --reason WHY` ends it", run.id())));
                }
            }
        }
        drop(index);
        let by = self.by.as_deref().unwrap_or_default();
        decide(session, &run, (&step, Some(seen.subject)), (true, by), &self.how.reason)?;
        session.note(&format!("subject {}", seen.subject));
        if self.how.no_continue {
            return Ok(left(session, &run, &step, "approved"));
        }
        settled::wait_for_others(&run);
        let (report, failure) = go_on(session, &host, run, false)?;
        let text = human::report(&report, &session.output.look);
        Ok(reply(text, &report, report_json::report(&report)).failure(failure))
    }
}

impl Reject {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let store = session.store();
        let run = store.find(&self.which.run)?;
        let mut index = index(session)?;
        let step = self.which.step(&mut index, &run)?;
        let refused = closed(&index, &run, &step)?;
        drop(index);
        match refused {
            None => decide(session, &run, (&step, self.subject), (false, &self.by), &self.how.reason)?,
            // It was refused before, and its run has not ended by that.
            Some(IndexError::Decided { state: ApprovalState::Rejected, .. } | IndexError::Expired { .. })
                if settled::waits(&run) => {}
            Some(refused) => return Err(StoreError::from(refused).into()),
        }
        if self.how.no_continue {
            return Ok(left(session, &run, &step, "rejected"));
        }
        let answer = ApprovalAnswer::reject(self.by.clone(), self.how.reason.clone());
        settled::end(session, &run, &self.how.go_on, answer)
    }
}

/// A folder of the grant that could not be looked at.
fn missing_folder(document: &Value) -> Option<&str> {
    let folders = document.pointer("/grant/folders").and_then(Value::as_array)?;
    let missing = folders.iter().find(|folder| folder.get("identity").is_none_or(Value::is_null))?;
    missing.get("host").and_then(Value::as_str)
}

/// Records a decision: of several at once one is taken, and the others are told.
fn decide(
    session: &Session,
    run: &RunDir,
    (step, subject): (&str, Option<Digest>),
    (approved, by): (bool, &str),
    reason: &str,
) -> Result<(), Error> {
    let answer = Answer { approved, by: by.to_owned(), reason: reason.to_owned() };
    let decided = index(session)?.decide_about(run.id(), step, subject, &answer, clock::since_epoch());
    decided.map_err(StoreError::from)?;
    let action = if approved { AccessAction::Approve } else { AccessAction::Reject };
    session.note_access(action, Some(by), (Some(run.id()), Some(step)), reason);
    let word = if approved { "approved" } else { "rejected" };
    session.note(&format!("step `{step}` of run {} is {word} by {by}", run.id()));
    Ok(())
}

fn left(session: &Session, run: &RunDir, step: &str, word: &str) -> Reply {
    let text = format!("{word}; `{} recover {}` goes on with the run\n", human::harmless(&session.host()), run.id());
    Reply::new(text, json!({ "run": run.id(), "step": step, "decision": word }))
}

fn index(session: &Session) -> Result<Index, Error> {
    let store = session.store();
    match whole_index(&store)? {
        Some(index) => Ok(index),
        None => Ok(Index::open(store.state(), session.durability()).map_err(StoreError::from)?),
    }
}

/// Why a step cannot be decided about any more, if it cannot.
fn closed(index: &Index, run: &RunDir, step: &str) -> Result<Option<IndexError>, Error> {
    let approvals = index.approvals(run.id()).map_err(StoreError::from)?;
    let (run, step) = (run.id().to_owned(), step.to_owned());
    let of_step = |state: Option<ApprovalState>| {
        let mut found = approvals.iter().rev().filter(|one| one.step == step);
        found.find(|one| state.is_none_or(|state| one.state == state))
    };
    Ok(match of_step(Some(ApprovalState::Pending)).or_else(|| of_step(None)) {
        None => Some(IndexError::NotAsked { run, step }),
        Some(known) => known.refusal_at(clock::since_epoch()),
    })
}

impl Which {
    /// The step that is decided about.
    fn step(&self, index: &mut Index, run: &RunDir) -> Result<String, Error> {
        if let Some(step) = &self.step {
            return Ok(step.clone());
        }
        let approvals = index.approvals(run.id()).map_err(StoreError::from)?;
        let pending = |approval: &&Approval| approval.state == ApprovalState::Pending;
        let mut waiting = approvals.iter().filter(pending);
        match (waiting.next(), waiting.next()) {
            (Some(only), None) => Ok(only.step.clone()),
            (Some(_), Some(_)) => {
                let steps: Vec<&str> =
                    approvals.iter().filter(pending).map(|approval| approval.step.as_str()).collect();
                let message = format!("the run `{}` waits for {} steps: {}", run.id(), steps.len(), steps.join(", "));
                Err(Error::request(message).hint("name one of them behind the run"))
            }
            // What became of the last one says most.
            (None, _) => match approvals.last() {
                Some(last) => Ok(last.step.clone()),
                None => Err(crate::host::Error::NotWaiting { run: run.id().to_owned() }.into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_and_can_be_read() {
        assert_eq!(name(" ann "), Ok("ann".to_owned()));
        for blank in ["", " ", "\t\n", "\u{200b}", "a\u{1b}[1m", "a\nb"] {
            assert!(name(blank).is_err(), "{blank:?}");
        }
    }
}
