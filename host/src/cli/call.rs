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
use crate::problem::Problem;
use crate::report::{human, json as report_json};
use crate::{PlanDocument, PlanFormat, canonical, plan};

/// The id of the one step.
const STEP: &str = "call";

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
        let plan = self.plan(input);
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
            report.problems.iter_mut().for_each(|problem| self.of_the_call(problem));
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

    fn plan(&self, mut input: Value) -> PlanDocument {
        escape(&mut input);
        let document = json!({
            "schema": plan::SCHEMA,
            "name": format!("call-{}", self.tool),
            "steps": [{ "id": STEP, "tool": self.tool, "input": input }],
            "output": format!("{{{{steps.{STEP}}}}}"),
        });
        PlanDocument::new(canonical::to_vec(&document), PlanFormat::Json, "")
    }

    /// Puts a problem of the plan in terms of the call: the caller never saw the plan.
    fn of_the_call(&self, problem: &mut Problem) {
        if let Some(pointer) = problem.pointer.strip_prefix("/steps/0/input") {
            problem.pointer = pointer.to_owned();
        } else if problem.pointer == "/steps/0/tool" {
            problem.pointer.clear();
        }
        problem.position = None;
        let step = format!("step `{STEP}` (`{}`)", self.tool);
        problem.message =
            problem.message.replace(&step, &format!("`{}`", self.tool)).replace(&format!("step `{STEP}`: "), "");
    }
}

/// Makes all text of a value be read as it is: nothing in the input of a call is a reference.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace("{{", "{{\"{{\"}}"),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(members) => members.values_mut().for_each(escape),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_reference_stays_text() {
        let mut value = json!({"a": ["{{inputs.x}}", "{{{"], "b": 1, "c": "{{\"{{\"}}"});
        let before = value.clone();
        escape(&mut value);
        let document = json!({
            "schema": plan::SCHEMA, "name": "p", "steps": [{"id": "a", "tool": "a.b", "input": value}],
        });
        let plan = plan::Plan::from_value(&document).unwrap();
        let nothing = |_: &crate::plan::template::Reference| unreachable!("there is no reference");
        assert_eq!(plan.steps[0].call().unwrap().input.resolve_with(&nothing).unwrap(), before);
    }
}
