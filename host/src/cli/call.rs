//! `host call`: one tool, through the same pipeline as a plan.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::plan_source::read_json;
use crate::cli::reply::Reply;
use crate::cli::run::{How, reply, run};
use crate::cli::session::{HostArgs, Session};
use crate::outcome::RunOutcome;
use crate::plan::one_call::{self, STEP};
use crate::report::{human, json as report_json};

/// Calls one tool as a plan of one step, with policy and trace; its output is what stdout gets
#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// The tool, such as `files.read-text`
    #[arg(value_name = "SKILL.TOOL")]
    tool: String,
    /// The input: an object with a member for each parameter
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    input: Option<Value>,
    /// The same from a file, or from stdin where it is `-`
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    input_file: Option<PathBuf>,
    /// Asks on the terminal where the call needs approval; otherwise it is denied
    #[arg(long)]
    interactive: bool,
    /// Enforces nothing: records what the policy would have denied and calls it all the same, without folders where no grant gives any
    #[arg(long, conflicts_with = "interactive")]
    log_only: bool,
    #[command(flatten)]
    host: HostArgs,
}

fn parse_json(text: &str) -> Result<Value, String> {
    crate::json::parse(text.as_bytes()).map_err(|problem| problem.to_string())
}

impl Call {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let input = match (&self.input, &self.input_file) {
            (Some(input), _) => input.clone(),
            (None, Some(file)) => read_json(file)?,
            (None, None) => json!({}),
        };
        if !input.is_object() {
            return Err(Error::new(Exit::Input, "the input is not an object")
                .hint("give an object with a member for each parameter; `host inspect SKILL` shows them"));
        }
        let plan = one_call::document(&self.tool, input, None, None);
        let how = How {
            inputs: Map::new(),
            interactive: self.interactive,
            log_only: self.log_only,
            dry_run: false,
            reuse: false,
        };
        let (mut report, mut failure) = run(session, session.running_builder(&self.host)?, &plan, how)?;
        if report.outcome == RunOutcome::Refused {
            // The places decide the exit code, so it is taken before they are put in other words.
            let exit = Exit::of_report(&report);
            let problems = std::mem::take(&mut report.problems).into_iter();
            report.problems = problems.map(|problem| one_call::of_the_call(problem, &self.tool)).collect();
            failure = Some(Error::refused(report.problems.clone()).of_kind(exit));
        }
        let failure = failure
            .map(|failure| failure.renamed(&format!("step `{STEP}` ({})", self.tool), &format!("`{}`", self.tool)));
        let text = match report.outcome {
            RunOutcome::Completed => format!("{}\n", human::pretty(&report.output)),
            _ => human::stderr(&report.steps, &session.output.look),
        };
        if session.output.look.verbose {
            session.note(&format!("run {}, trace head {}", report.run, report.head));
        }
        Ok(reply(text, &report, report_json::report(&report)).failure(failure))
    }
}
