//! `host run`.

use std::path::PathBuf;

use serde_json::Value;

use crate::cli::error::Error;
use crate::cli::events::{self, EventsArgs};
use crate::cli::plan_source::{inputs, json_pair, read_plan, text_pair};
use crate::cli::progress::Progress;
use crate::cli::recover;
use crate::cli::reply::Reply;
use crate::cli::session::{HostArgs, Session};
use crate::report::{Report, human, json};
use crate::store::RunDir;
use crate::{GoOnOptions, HostEvent, PlanDocument, RunOptions, SkillHost, SkillHostBuilder};

/// Runs a plan: validates all of it, asks the policy, runs each step in a fresh sandbox, records a trace
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The plan: a JSON or YAML file, or `-` for JSON from stdin
    plan: PathBuf,
    /// The value of an input that the plan declares; may be given several times
    #[arg(long = "input", value_name = "K=JSON", value_parser = json_pair)]
    input: Vec<(String, Value)>,
    /// The same with a text as it is
    #[arg(long = "input-text", value_name = "K=TEXT", value_parser = text_pair)]
    input_text: Vec<(String, Value)>,
    /// Asks on the terminal where a step needs approval; otherwise the run waits for `host approve`
    #[arg(long, conflicts_with = "events")]
    interactive: bool,
    /// Takes the results of other runs for steps of the same component, tool, input and grant, where files are as they were: of tools that say
    /// that they are read-only or idempotent, and where the plan says so
    #[arg(long, conflicts_with = "log_only")]
    reuse: bool,
    /// Enforces nothing: records what the policy would have denied and runs it all the same, without folders where no grant gives any
    #[arg(long, conflicts_with = "interactive")]
    log_only: bool,
    /// Rehearses: steps run on throw-away copies of the folders that they may write, without network and without asking; shows what would
    /// change and keeps nothing
    #[arg(long, conflicts_with = "interactive")]
    dry_run: bool,
    #[command(flatten)]
    pub(crate) events: EventsArgs,
    #[command(flatten)]
    host: HostArgs,
}

impl Run {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let plan = read_plan(&self.plan)?;
        recover::at_start(session)?;
        let inputs = inputs(self.input.iter().chain(&self.input_text))?;
        let how = How {
            inputs,
            interactive: self.interactive,
            log_only: self.log_only,
            dry_run: self.dry_run,
            reuse: self.reuse,
        };
        let (report, failure) = run(session, session.running_builder(&self.host)?, &plan, how)?;
        let text = human::report(&report, &session.output.look);
        Ok(reply(text, &report, json::report(&report)).failure(failure))
    }
}

/// What is said beside a plan.
pub(crate) struct How {
    /// Values for its inputs.
    pub(crate) inputs: serde_json::Map<String, Value>,
    /// Whether a person is asked for approval.
    pub(crate) interactive: bool,
    /// Whether the policy is not enforced.
    pub(crate) log_only: bool,
    /// Whether results of other runs are taken.
    pub(crate) reuse: bool,
    /// Whether it is only rehearsed.
    pub(crate) dry_run: bool,
}

/// Runs a plan with progress on stderr; Ctrl-C cancels it.
pub(crate) fn run(
    session: &Session,
    builder: SkillHostBuilder,
    plan: &PlanDocument,
    How { inputs, interactive, log_only, dry_run, reuse }: How,
) -> Result<(Report, Option<Error>), Error> {
    let mut output = session.output;
    // A line that is redrawn would cover the question.
    output.progress &= !interactive;
    let progress = Progress::new(&output);
    let builder = session.asking(builder, interactive).observer(progress.observer());
    let mut builder = builder.observer(events::observer(session.store(), output.events));
    if !dry_run {
        builder = builder.observer(session.interrupt.observer(&session.state_option()));
    }
    let host = builder.build();
    let cancel = session.interrupt.token();
    let options = RunOptions { inputs, log_only, dry_run, reuse, cancel, ..RunOptions::default() };
    session.interrupt.check()?;
    let orderly = session.interrupt.orderly();
    let report = host.run(plan, &options);
    drop(orderly);
    progress.clear();
    let report = report?;
    session.warn(&report);
    if report.log_only {
        let count = report.would_deny.len();
        session.note(&format!(
            "log only: the policy was asked and not enforced; it would have denied {count} of the steps"
        ));
    }
    if report.dry_run.is_some() {
        session.note("dry run: nothing was changed");
    }
    let failure = Error::of_report(&report);
    Ok((report, failure))
}

/// Goes on with a run, with progress on stderr; Ctrl-C cancels it.
pub(crate) fn go_on(
    session: &Session,
    host: &SkillHost,
    run: RunDir,
    again: bool,
) -> Result<(Report, Option<Error>), Error> {
    session.interrupt.check()?;
    let options = GoOnOptions { again, cancel: session.interrupt.token() };
    session.interrupt.observer(&session.state_option())(&HostEvent::RunBegin { run: run.id() });
    let orderly = session.interrupt.orderly();
    let report = host.go_on(run, &options)?;
    drop(orderly);
    session.interrupt.observer("")(&HostEvent::RunEnd { outcome: report.outcome });
    session.warn(&report);
    let failure = Error::of_report(&report);
    Ok((report, failure))
}

/// A reply that says which run it was.
pub(crate) fn reply(text: String, report: &Report, result: Value) -> Reply {
    let reply = Reply::new(text, result);
    if report.dry_run.is_some() {
        // There is no run that could be named.
        return reply;
    }
    let reply = match report.snapshot {
        Some(snapshot) => reply.meta("snapshot_id", snapshot.to_string()),
        None => reply,
    };
    reply
        .meta("run_id", report.run.clone())
        .meta("trace_head", report.head.to_string())
        .meta("trace_events", report.events)
}
