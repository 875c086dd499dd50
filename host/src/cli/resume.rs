//! `host resume` and `host rollback`: a new run of what another one did not do, or one that takes back what it did.

use std::sync::Arc;

use crate::cli::error::Error;
use crate::cli::events::{self, EventsArgs};
use crate::cli::reply::Reply;
use crate::cli::run::reply;
use crate::cli::session::{GoOnArgs, Session};
use crate::report::{human, json};
use crate::store::index::AccessAction;
use crate::{Bundle, GoOnOptions, HostEvent};

/// Runs again what did not complete in a run: what did is taken from its record, where it is still what it was
#[derive(Debug, clap::Args)]
pub(crate) struct Resume {
    /// The run: the beginning of its id, or `last`
    run: String,
    #[command(flatten)]
    pub(crate) events: EventsArgs,
    #[command(flatten)]
    go_on: GoOnArgs,
}

/// Takes back what a run did, the last step first: its files by their journal, the rest by what the plan declares
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// The run: the beginning of its id, or `last`
    run: String,
    #[command(flatten)]
    go_on: GoOnArgs,
}

impl Resume {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        execute(session, &self.run, &self.go_on, false)
    }
}

impl Rollback {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        execute(session, &self.run, &self.go_on, true)
    }
}

fn execute(session: &Session, run: &str, go_on: &GoOnArgs, takes_back: bool) -> Result<Reply, Error> {
    let store = session.store();
    let from = store.find(run)?;
    let output = session.output;
    let says = move |event: &HostEvent<'_>| {
        if let (HostEvent::NotReused { step, why }, false) = (event, output.events) {
            output.say("note", &format!("step `{step}` runs again: {why}"));
        }
    };
    let mut builder = session.continuing_builder(&from, go_on)?;
    if let Some(root) = from.place()?.and_then(|place| place.bundle) {
        // As it is today: a step of a component that is another one by now is made again.
        builder = builder.bundle(Arc::new(Bundle::open(root)?));
    }
    let builder = builder.observer(says).observer(events::observer(store.clone(), output.events));
    let host = builder.observer(session.interrupt.observer(&session.state_option())).build();
    if takes_back {
        session.note_access(AccessAction::Rollback, None, (Some(from.id()), None), "");
    }
    let options = GoOnOptions { cancel: session.interrupt.token(), ..GoOnOptions::default() };
    let orderly = session.interrupt.orderly();
    let report = if takes_back { host.roll_back(&from, &options)? } else { host.resume(&from, &options)? };
    drop(orderly);
    session.warn(&report);
    let mut failure = Error::of_report(&report);
    if takes_back && report.outcome == crate::outcome::RunOutcome::RolledBack {
        // That is what was asked for.
        failure = None;
    }
    let text = human::report(&report, &session.output.look);
    Ok(reply(text, &report, json::report(&report)).failure(failure))
}
