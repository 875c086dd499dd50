//! `host trace show`, `host trace verify` and `host trace diff`.

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::Reply;
use crate::cli::runs::find_run;
use crate::cli::session::{Session, SkillArgs};
use crate::id::StepId;
use crate::policy::PolicyOrigin;
use crate::report::human::{bytes, counted, harmless};
use crate::store::RunDir;
use crate::trace::diff::{self, Comparison};
use crate::trace::event::Kind;
use crate::trace::reader::Reader;
use crate::trace::show::{Options, Renderer};
use crate::trace::{TraceError, verify};

/// The text that is gathered before it is written: a trace may be larger than the memory.
const CHUNK_BYTES: usize = 64 << 10;

/// Shows, verifies and compares traces
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Trace {
    Show(Show),
    Verify(Verify),
    Diff(Diff),
}

/// Shows the events of a run, one line each
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// A run: its id or the beginning of it, `last`, its folder, or a `trace_*.json` of the demo
    #[arg(default_value = "last")]
    run: String,
    /// Only this step
    #[arg(long, value_name = "ID", value_parser = step_id)]
    step: Option<StepId>,
    /// Only host calls whose name begins so, such as `filesystem/types`
    #[arg(long, value_name = "PREFIX")]
    interface: Option<String>,
    /// Only this kind of event
    #[arg(long, value_name = "KIND", value_parser = clap::builder::PossibleValuesParser::new(Kind::ALL.map(Kind::name)))]
    kind: Option<String>,
    /// Shows every value whole
    #[arg(long)]
    full: bool,
}

/// Checks that a trace is what was recorded: its chain of hashes, its form and its blobs
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// A run: its id or the beginning of it, `last`, its folder, or a `trace_*.json` of the demo
    run: String,
}

/// Names the first difference of two traces; exits with 1 where there is one
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// A run
    a: String,
    /// Another run
    b: String,
}

fn step_id(text: &str) -> Result<StepId, String> {
    text.parse().map_err(|error: crate::id::IdError| error.to_string())
}

impl Trace {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        match self {
            Self::Show(show) => show.execute(session),
            Self::Verify(verify) => verify.execute(session),
            Self::Diff(diff) => diff.execute(session),
        }
    }
}

fn find(session: &Session, name: &str) -> Result<RunDir, Error> {
    find_run(session.builder(&SkillArgs::default()).build().store(), name)
}

impl Show {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let run = find(session, &self.run)?;
        let decided = run.place()?.and_then(|place| place.decided);
        if let Some(PolicyOrigin { source, standing, file: Some(file), .. }) =
            decided.as_ref().filter(|_| session.output.look.verbose)
        {
            let (file, source, standing) = (file.display(), source.name(), standing.name());
            session.note(&format!("the policy was `{file}` ({source}, {standing})"));
        }
        let options = Options {
            full: self.full,
            step: self.step.clone(),
            interface: self.interface.clone(),
            kind: self.kind.as_deref().and_then(Kind::from_name),
            json: session.output.json,
        };
        // What was edited is shown as it is, and said at the end.
        let mut reader = Reader::open(&run.trace())?.unchained();
        let mut renderer = Renderer::new(options);
        let mut text = String::new();
        let mut events: Vec<Value> = Vec::new();
        let shown = (|| -> Result<bool, TraceError> {
            while let Some(line) = reader.next_line()? {
                renderer.render(&line, &mut text)?;
                if session.output.json {
                    events.extend(serde_json::from_str::<Value>(text.trim_end()).ok());
                    text.clear();
                } else if text.len() > CHUNK_BYTES {
                    if !session.output.stream(&text) {
                        return Ok(false);
                    }
                    text.clear();
                }
            }
            Ok(true)
        })();
        let failure = match shown {
            Ok(false) => return Ok(Reply::default()),
            Ok(true) => Reader::open(&run.trace()).and_then(|mut reader| verify::events(&mut reader, None)).err(),
            Err(error) => Some(error),
        };
        Ok(Reply::new(
            text,
            json!({ "run": run.id(), "policy": decided.map(|decided| decided.to_json()), "events": events }),
        )
        .meta("run_id", run.id())
        .failure(failure.map(Error::from)))
    }
}

impl Verify {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let run = find(session, &self.run)?;
        let verified = verify::verify(run.path())?;
        let text = format!(
            "ok: {} ({}), {}, {}, {}, {}\nhead {}\n",
            harmless(run.id()),
            verified.outcome.name(),
            counted(verified.events, "event"),
            counted(verified.steps, "step"),
            counted(verified.calls, "host call"),
            bytes(verified.bytes),
            verified.head
        );
        let result = json!({
            "run": run.id(),
            "outcome": verified.outcome.name(),
            "events": verified.events,
            "steps": verified.steps,
            "calls": verified.calls,
            "blobs": verified.blobs,
            "bytes": verified.bytes,
            "head": verified.head.to_string(),
        });
        Ok(Reply::new(text, result).meta("run_id", run.id()).meta("trace_head", verified.head.to_string()))
    }
}

impl Diff {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let (a, b) = (find(session, &self.a)?, find(session, &self.b)?);
        let comparison = diff::traces(&mut Reader::open(&a.trace())?, &mut Reader::open(&b.trace())?)?;
        let result = to_json(&comparison);
        let Some(_) = &comparison.first else {
            return Ok(Reply::new(format!("{}\n", harmless(&comparison.to_string())), result));
        };
        let failure = Error::new(Exit::Unexpected, comparison.to_string());
        Ok(Reply::new("", result).failure(Some(failure)))
    }
}

fn to_json(comparison: &Comparison) -> Value {
    let first = comparison.first.as_ref().map(|first| {
        json!({
            "seq": first.seq,
            "step": first.step,
            "a": first.left,
            "b": first.right,
            "pointer": first.difference.pointer,
            "a_value": first.difference.left,
            "b_value": first.difference.right,
        })
    });
    json!({
        "equal": comparison.first.is_none(),
        "same_events": comparison.same,
        "a_events": comparison.left,
        "b_events": comparison.right,
        "first": first,
    })
}
