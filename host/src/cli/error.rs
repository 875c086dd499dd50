//! Errors of the command line: what is said and how the program exits. All conversions are here.

use std::error::Error as StdError;

use serde_json::{Map, Value, json};

use crate::bundle::{BundleError, MANIFEST};
use crate::cli::exit::Exit;
use crate::host;
use crate::limits::LimitKind;
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::Denial;
use crate::policy::place::with_places;
use crate::problem::{Problem, suggestion};
use crate::report::human::{Append as _, Look, Tone, counted, harmless, thousands};
use crate::report::json as report_json;
use crate::report::{Pending, Report, StepReport};
use crate::run::UndoConflict;
use crate::sandbox::SandboxError;
use crate::scaffold::ScaffoldError;
use crate::scratch::ScratchError;
use crate::skills::builtin;
use crate::store::{IndexError, StoreError};
use crate::trace::TraceError;

/// Why a command did not succeed. It has one kind, and a cause for each thing that is wrong.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) kind: Exit,
    causes: Vec<Cause>,
    /// `details` of the envelope.
    details: Map<String, Value>,
}

/// One thing that is wrong.
#[derive(Debug)]
struct Cause {
    /// Lower case, no final period.
    message: String,
    /// Lines below it, such as a backtrace.
    lines: Vec<String>,
    hint: Option<String>,
    /// Whether message and hint are the host's own words on a plan or a policy, in which grants are counted.
    names_grants: bool,
    /// Whether a guest said it, which may do so in several lines.
    in_lines: bool,
}

impl Error {
    pub(crate) fn new(kind: Exit, message: impl Into<String>) -> Self {
        let cause =
            Cause { message: message.into(), lines: Vec::new(), hint: None, names_grants: false, in_lines: false };
        Self { kind, causes: vec![cause], details: Map::new() }
    }

    /// With what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(cause) = self.causes.last_mut() {
            cause.hint = Some(hint.into());
        }
        self
    }

    /// With a message of a guest in it: what follows its first line is shown below it and indented, so that none of it looks like ours.
    fn in_lines(mut self) -> Self {
        if let Some(cause) = self.causes.last_mut() {
            cause.in_lines = true;
        }
        self
    }

    fn lines(mut self, lines: Vec<String>) -> Self {
        if let Some(cause) = self.causes.last_mut() {
            cause.lines = lines;
        }
        self
    }

    /// With commands in its hints that call the program so: those that are given a state folder work on that one.
    pub(crate) fn called(mut self, host: &str) -> Self {
        let hints = self.causes.iter_mut().filter_map(|cause| cause.hint.as_mut());
        for hint in hints.filter(|hint| !hint.contains(" --state ")) {
            *hint = hint.replace("`host ", &format!("`{host} "));
        }
        self
    }

    /// With a member of `details`.
    pub(crate) fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// A command line that is wrong, as clap says it.
    pub(crate) fn usage(text: &str) -> Self {
        let mut paragraphs = text.trim().splitn(2, "\n\n");
        let message = paragraphs.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let usage = paragraphs.next().unwrap_or_default().trim().to_owned();
        Self::new(Exit::Request, message).hint("see `host --help`").detail("usage", usage)
    }

    /// The same of a file: every message begins with its name.
    pub(crate) fn in_file(mut self, name: &str) -> Self {
        for cause in &mut self.causes {
            cause.message = format!("{name}: {}", cause.message);
        }
        self
    }

    /// What it says first.
    pub(crate) fn first(&self) -> &str {
        self.causes.first().map(|cause| cause.message.as_str()).unwrap_or_default()
    }

    /// A request that cannot be met.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self::new(Exit::Request, message)
    }

    /// A document that is wrong.
    pub(crate) fn document(name: &str, problems: Vec<Problem>) -> Self {
        let mut error = Self::problems(Exit::Request, problems);
        // A problem with a place does not say in which file.
        for cause in &mut error.causes {
            if !cause.message.contains(name) {
                cause.message = format!("{name}: {}", cause.message);
            }
        }
        error.detail("document", name)
    }

    /// A plan that is refused.
    pub(crate) fn refused(mut problems: Vec<Problem>) -> Self {
        problems.iter_mut().for_each(hint_at_skills);
        Self::problems(Exit::of_problems(&problems), problems)
    }

    /// The same as another kind.
    pub(crate) const fn of_kind(mut self, kind: Exit) -> Self {
        self.kind = kind;
        self
    }

    /// The same in other words: `from` is `to` in every message.
    pub(crate) fn renamed(mut self, from: &str, to: &str) -> Self {
        for cause in &mut self.causes {
            cause.message = cause.message.replace(from, to);
        }
        self
    }

    pub(crate) fn problems(kind: Exit, problems: Vec<Problem>) -> Self {
        let details = Map::from_iter([("problems".to_owned(), json!(problems))]);
        let cause = |problem: Problem| Cause {
            message: problem.to_string(),
            lines: Vec::new(),
            hint: problem.hint,
            names_grants: true,
            in_lines: false,
        };
        Self { kind, causes: problems.into_iter().map(cause).collect(), details }
    }

    fn denied(denials: &[Denial]) -> Self {
        let details = Map::from_iter([("denials".to_owned(), denials.iter().map(report_json::denial).collect())]);
        let cause = |denial: &Denial| Cause {
            message: format!("step `{}` ({}) is denied: {}", denial.step, denial.tool, denial.reason),
            lines: Vec::new(),
            hint: Some(denial.hint.clone()),
            names_grants: true,
            in_lines: false,
        };
        Self { kind: Exit::Denied, causes: denials.iter().map(cause).collect(), details }
    }

    /// What went wrong in several runs, each with its id: all of it, of the worst kind that there is. Of one it is that alone.
    pub(crate) fn of_runs(mut failures: Vec<(String, Self)>) -> Option<Self> {
        let (_, first) = failures.first()?;
        if failures.len() == 1 {
            return failures.pop().map(|(_, failure)| failure);
        }
        // One that waits is none of them.
        let rank = |failure: &Self| (failure.kind != Exit::Paused, failure.kind);
        let worst = failures
            .iter()
            .map(|(_, failure)| failure)
            .fold(first, |worst, failure| if rank(failure) > rank(worst) { failure } else { worst });
        let kind = worst.kind;
        let code = |(run, failure): &(String, Self)| json!({ "run": run, "code": failure.kind.name(), "message": failure.first() });
        let details = Map::from_iter([("runs".to_owned(), failures.iter().map(code).collect())]);
        let causes = failures.into_iter().flat_map(|(run, failure)| {
            failure
                .causes
                .into_iter()
                .map(move |cause| Cause { message: format!("run {run}: {}", cause.message), ..cause })
        });
        Some(Self { kind, causes: causes.collect(), details })
    }

    /// What went wrong in a run, if anything did.
    pub(crate) fn of_report(report: &Report) -> Option<Self> {
        let kind = Exit::of_report(report);
        Some(match report.outcome {
            RunOutcome::Completed => return None,
            RunOutcome::Refused => Self::refused(report.problems.clone()),
            RunOutcome::Denied => Self::denied(&report.denials).of_kind(kind),
            RunOutcome::Paused => Self::paused(report),
            RunOutcome::RollbackIncomplete => Self::not_taken_back(report),
            RunOutcome::RolledBack if !report.denials.is_empty() => Self::denied(&report.denials).of_kind(kind),
            RunOutcome::Failed | RunOutcome::RolledBack if report.failure.is_some() => Self::of_failure(report, kind),
            RunOutcome::Failed | RunOutcome::Cancelled | RunOutcome::RolledBack => match report.failed_step() {
                Some(step) => Self::of_step(report, step),
                None => Self::new(kind, "the run was cancelled between two steps"),
            },
        })
    }

    /// A run that waits: not a mistake, but not the end either.
    fn paused(report: &Report) -> Self {
        let Some(pending) = &report.pending else { return Self::new(Exit::Paused, "the run waits for approval") };
        let Pending { step, tool, needs_approval, subject, message, told } = pending;
        let what = if tool.is_approve() { format!("step `{step}`") } else { format!("step `{step}` ({tool})") };
        let mut lines = vec![format!("needed by: {}", with_places(&needs_approval.join(", ")))];
        if !message.is_empty() {
            lines.insert(0, message.clone());
        }
        if !told {
            lines.push(
                "nobody is told of it: neither plan nor policy nor HOST_APPROVAL_WEBHOOK names a webhook".to_owned(),
            );
        }
        lines.push(format!("subject: {subject}"));
        let run = &report.run;
        let hint = format!(
            "`host approve {run} --by NAME` shows what is asked and lets it run; `host reject {run} --by NAME --reason WHY` ends the run"
        );
        Self::new(Exit::Paused, format!("{what} waits for approval"))
            .lines(lines)
            .hint(hint)
            .detail("step", step.as_str())
            .detail("tool", tool.to_string())
            .detail("subject", subject.to_string())
    }

    fn conflicts(conflicts: &[UndoConflict]) -> Self {
        let mut lines = Vec::new();
        for UndoConflict { path, what, diff } in conflicts {
            lines.push(format!("{path}: {what}"));
            lines.extend(diff.iter().flat_map(|diff| diff.lines().map(|line| format!("  {line}"))));
        }
        let paths: Vec<&str> = conflicts.iter().map(|conflict| conflict.path.as_str()).collect();
        let message =
            format!("{} changed by somebody else since; nothing was undone", counted(paths.len() as u64, "path"));
        let hint = "look at what would be lost (from what is there to what would be restored), and say `--force`";
        Self::new(Exit::Unexpected, message).lines(lines).hint(hint).detail("paths", json!(paths))
    }

    fn not_taken_back(report: &Report) -> Self {
        let rollback = report.rollback.as_ref();
        let left = rollback.map(|rollback| rollback.left.clone()).unwrap_or_default();
        let because = rollback.map(|rollback| rollback.because.as_str()).unwrap_or_default();
        let message = format!("the run was rolled back ({because}), but not all of it");
        let details = left.clone();
        Self::new(Exit::RollbackIncomplete, message)
            .lines(left)
            .hint(format!("what is listed is left to do by hand, or mend what is in the way: `host rollback {}` then does the rest", report.run))
            .detail("left", details)
    }

    /// The host could not go on.
    fn of_failure(report: &Report, kind: Exit) -> Self {
        let (Some(failure), step) = (&report.failure, report.failed_step()) else {
            return Self::new(kind, "the run failed");
        };
        let place = if failure.pointer.is_empty() { String::new() } else { format!("{}: ", failure.pointer) };
        let error = match step {
            Some(step) => {
                let message = format!("step `{}` ({}) failed: {place}{}", step.id, step.tool, failure.told());
                Self::new(kind, message).detail("step", step.id.as_str()).detail("tool", step.tool.to_string())
            }
            None => Self::new(kind, format!("the run failed: {place}{}", failure.told())),
        };
        let error = error.detail("failure", json!({ "code": failure.code, "message": failure.message }));
        match &failure.hint {
            Some(hint) => error.hint(hint.clone()),
            None => error,
        }
    }

    fn of_step(report: &Report, step: &StepReport) -> Self {
        let Some(outcome) = &step.outcome else { return Self::new(Exit::Internal, "a step did not run") };
        let name = format!("step `{}` ({})", step.id, step.tool);
        let kind = Exit::of_step(outcome);
        let look = format!("`host trace show {} --step {}` shows its host calls", report.run, step.id);
        let error = match outcome {
            Outcome::Completed { .. } => Self::new(Exit::Internal, format!("{name} completed")),
            Outcome::Failed { error } => {
                let (message, lines) = skill_error(error);
                Self::new(kind, format!("{name} failed: {message}")).in_lines().lines(lines).hint(look)
            }
            Outcome::Trapped { message, backtrace } => {
                let message = format!("{name} trapped: {}", message.trim_start_matches("wasm trap: "));
                Self::new(kind, message)
                    .in_lines()
                    .lines(frames(backtrace))
                    .hint(format!("this is a fault of the skill; {look}"))
            }
            Outcome::LimitExceeded { limit, allowed, backtrace } => {
                let message = format!("{name} exceeded its limit `{}` of {}", limit.name(), thousands(*allowed));
                Self::new(kind, message).lines(frames(backtrace)).hint(raise(*limit))
            }
            Outcome::Cancelled => Self::new(kind, format!("{name} was cancelled")),
            Outcome::Conflict { path, with } => {
                let message = format!("{name} touched `{path}`, which step `{with}` touches as well");
                Self::new(kind, message).hint(format!(
                    "steps that run in parallel may not share what one of them changes: give `{}` a `depends_on` of `{with}`",
                    step.id
                ))
            }
        };
        let mut details = report_json::outcome(outcome);
        details.remove("output");
        details.insert("step".to_owned(), json!(step.id.as_str()));
        details.insert("tool".to_owned(), json!(step.tool.to_string()));
        Self { details, ..error }
    }

    /// The error as people see it on stderr.
    pub(crate) fn render(&self, look: &Look) -> String {
        let (label, hint) = (look.paint(Tone::Bad, "error:"), look.paint(Tone::Good, "hint:"));
        let mut out = String::new();
        for cause in &self.causes {
            let said = |text: &str| harmless(&if cause.names_grants { with_places(text) } else { text.to_owned() });
            let mut message = cause.message.trim_end().split(|c| c == '\n' && cause.in_lines);
            out.add(format_args!("{label} {}\n", said(message.next().unwrap_or_default())));
            for line in message {
                out.add(format_args!("  {}\n", harmless(line)));
            }
            for line in &cause.lines {
                out.add(format_args!("  {}\n", harmless(line)));
            }
            if let Some(text) = &cause.hint {
                out.add(format_args!("{hint} {}\n", said(text)));
            }
        }
        out
    }

    /// `error` of the envelope.
    pub(crate) fn to_json(&self) -> Value {
        let first = self.causes.first();
        let message = first.map(|cause| cause.message.clone()).unwrap_or_default();
        let more = self.causes.len().saturating_sub(1);
        let message = if more == 0 { message } else { format!("{message} (and {more} more)") };
        json!({
            "code": self.kind.name(),
            "message": message,
            "details": self.details,
            "hint": self.causes.iter().find_map(|cause| cause.hint.as_deref()),
        })
    }
}

/// A plan is checked against the skills that it uses, so that only here is it known which others there are.
fn hint_at_skills(problem: &mut Problem) {
    if problem.code != "unknown-tool" {
        return;
    }
    let Some((_, rest)) = problem.message.split_once("there is no skill `") else { return };
    let name = rest.split('`').next().unwrap_or_default();
    let near = suggestion(name, builtin::names());
    problem.hint = Some(near.unwrap_or_else(|| {
        let names: Vec<&str> = builtin::names().collect();
        let names = names.join(", ");
        format!("built in are {names}; the component of another is named in the plan's `skills` or with `--skill {name}=FILE`")
    }));
}

/// What a skill says of its own failure: its `code` and `message` where it has them, else the value.
fn skill_error(error: &Value) -> (String, Vec<String>) {
    let text = |key: &str| error.get(key).and_then(Value::as_str);
    if let Some(exit_code) = error.get("exit_code").and_then(Value::as_u64) {
        let lines = text("stderr").unwrap_or_default().lines().map(str::to_owned).collect();
        return (format!("the program ended with exit code {exit_code}"), lines);
    }
    match (error, text("code"), text("message")) {
        (Value::Null, ..) => ("the tool gives no reason".to_owned(), Vec::new()),
        (Value::String(text), ..) => (text.clone(), Vec::new()),
        (_, Some(code), Some(message)) => (format!("{code}: {message}"), Vec::new()),
        (_, None, Some(message)) => (message.to_owned(), Vec::new()),
        _ => (crate::canonical::to_string(error), Vec::new()),
    }
}

fn frames(backtrace: &[String]) -> Vec<String> {
    backtrace.iter().map(|frame| format!("at {frame}")).collect()
}

fn raise(limit: LimitKind) -> String {
    let name = limit.name();
    if limit == LimitKind::RunDeadline {
        "if the run shall have more time, raise `deadline_ms` in `[run]` of the policy".to_owned()
    } else if limit.is_policy_key() {
        format!(
            "if it shall have more, raise `{name}` where it is lowest: in `[limits]`, `[run]` or the grant's `limits` of the policy, or in the step's `limits`"
        )
    } else {
        "this bound is fixed".to_owned()
    }
}

/// An error with what caused it, on one line.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some messages hold their cause already.
        if !text.contains(&cause_text) {
            text.add(format_args!(": {cause_text}"));
        }
        source = cause.source();
    }
    text
}

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        let mut problems = error.problems();
        if let BundleError::Manifest { .. } = error {
            problems.iter_mut().for_each(|problem| problem.pointer.insert_str(0, MANIFEST));
        }
        Self::problems(Exit::SkillLoad, problems)
    }
}

impl From<ScaffoldError> for Error {
    fn from(error: ScaffoldError) -> Self {
        let kind = if matches!(error, ScaffoldError::Exists { .. }) { Exit::Request } else { Exit::Internal };
        let (hint, error) = (error.hint(), Self::new(kind, error.to_string()));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        match error {
            host::Error::Sandbox(error) => error.into(),
            host::Error::Bundle(error) => error.into(),
            host::Error::Trace(error) => error.into(),
            host::Error::Store(error) => error.into(),
            host::Error::Scratch(error) => {
                let kind = if matches!(error, ScratchError::TooLarge { .. }) { Exit::Request } else { Exit::Internal };
                let (hint, error) = (error.hint(), Self::new(kind, chain(&error)));
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
            host::Error::Damaged { .. } => Self::new(Exit::Diverged, chain(&error)),
            host::Error::NotBegun { .. } => {
                Self::new(Exit::Request, chain(&error)).hint("run the plan: `host run PLAN`")
            }
            host::Error::HasEnded { ref run } => Self::new(Exit::Request, chain(&error))
                .hint(format!("`host resume {run}` makes a new run of what did not complete in it; `host trace show {run}` shows how it ended")),
            host::Error::TakenBack { ref by, .. } => {
                let hint =
                    format!("`host trace show {by}` shows what it took back; `host recover {by}` goes on where it was stopped");
                Self::new(Exit::Request, chain(&error)).hint(hint)
            }
            host::Error::Waits { ref run } => {
                let hint = format!(
                    "`host approve {run} --by NAME` or `host reject {run} --by NAME` decides; `host recover {run}` goes on where that was done"
                );
                Self::new(Exit::Request, chain(&error)).hint(hint)
            }
            host::Error::NotWaiting { ref run } => Self::new(Exit::Request, chain(&error))
                .hint(format!("`host trace show {run}` shows what became of it; `host dashboard` shows what waits")),
            host::Error::UnknownEffect { ref run, .. } => {
                let hint = format!(
                    "look at the server: `host recover {run} --again` makes the step again, `host rollback {run}` takes back what was done before it"
                );
                Self::new(Exit::RollbackIncomplete, chain(&error)).hint(hint)
            }
            host::Error::PolicyChanged { .. } => Self::new(Exit::Denied, chain(&error)).hint(
                "name the policy that it began with by `--policy`, or make a new run under this one with `host resume`",
            ),
            host::Error::Changed { .. } => Self::new(Exit::Diverged, chain(&error))
                .hint("`host resume` makes a new run that takes over what is unchanged"),
            host::Error::NothingToUndo { .. } => {
                Self::new(Exit::Request, chain(&error)).hint("`host history` lists what can be undone")
            }
            host::Error::UndoConflicts(conflicts) => Self::conflicts(&conflicts),
            host::Error::Gone { .. } => Self::new(Exit::Internal, chain(&error))
                .hint("keep other programs away from the state folder, or name another one with `--state`"),
            host::Error::Ceiling { limit, allowed, .. } => Self::new(Exit::Request, chain(&error)).hint(format!(
                "a folder that is not one of your runs is replayed under your limits; `--limit {limit}={}` raises this one",
                allowed.saturating_mul(10)
            )),
            host::Error::Directory { .. } => {
                let error = Self::new(Exit::Internal, chain(&error));
                match crate::journal::hint_at_names() {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
            host::Error::Journals { .. } => Self::new(Exit::Internal, chain(&error)),
            host::Error::Journal(ref journal) => {
                let (hint, error) = (journal.hint(), Self::new(Exit::Internal, chain(&error)));
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
            host::Error::Resolve(problem) => Self::problems(Exit::Request, vec![*problem]),
            host::Error::NotTaken { .. } => Self::new(Exit::Denied, chain(&error)),
            host::Error::Unsupported { .. } => Self::new(Exit::Request, chain(&error)),
            host::Error::Policy(problems) => Self::document("the policy", problems),
            host::Error::Workspace { .. } => {
                Self::new(Exit::Internal, chain(&error)).hint("name another folder with `--workspace`")
            }
        }
    }
}

impl From<SandboxError> for Error {
    fn from(error: SandboxError) -> Self {
        let kind = match &error {
            SandboxError::Trace(_) => {
                let SandboxError::Trace(error) = error else { return Self::new(Exit::Internal, chain(&error)) };
                return error.into();
            }
            SandboxError::Load { .. } | SandboxError::Link { .. } | SandboxError::Unreadable { .. } => Exit::SkillLoad,
            SandboxError::NotGranted { .. }
            | SandboxError::LinkedDirectory { .. }
            | SandboxError::LinkedWorkspace { .. }
            | SandboxError::OwnDirectory { .. } => Exit::Denied,
            SandboxError::Directory { .. } => Exit::Request,
            SandboxError::Input { .. } => Exit::Input,
            SandboxError::Journal(_) => Exit::Internal,
            SandboxError::Engine { .. } | SandboxError::Exhausted { .. } => Exit::Internal,
        };
        let hint = error.hint();
        let error = Self::new(kind, chain(&error));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<TraceError> for Error {
    fn from(error: TraceError) -> Self {
        let kind = match &error {
            TraceError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::Request,
            TraceError::Io { .. } => Exit::Internal,
            TraceError::Schema { .. } => Exit::Request,
            _ => Exit::Diverged,
        };
        let hint = error.hint();
        let error = Self::new(kind, chain(&error));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

const fn of_index(error: &IndexError) -> Exit {
    match error {
        IndexError::Newer { .. }
        | IndexError::NoSuchRun { .. }
        | IndexError::NoSuchStep { .. }
        | IndexError::Transition { .. }
        | IndexError::NotAsked { .. }
        | IndexError::Decided { .. }
        | IndexError::OtherSubject { .. }
        | IndexError::NoName
        | IndexError::Expired { .. }
        | IndexError::TooLong { .. } => Exit::Request,
        IndexError::Sqlite { .. }
        | IndexError::Io { .. }
        | IndexError::Busy { .. }
        | IndexError::Damaged { .. }
        | IndexError::Stopped => Exit::Internal,
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NoSuchRun { .. } | StoreError::NotARun { .. } => Exit::Request,
            StoreError::Index(error) => of_index(error),
            StoreError::Lock(error) if error.is_held() => Exit::Request,
            StoreError::Io { .. } | StoreError::Lock(_) => Exit::Internal,
        };
        let hint = error.hint();
        let error = Self::new(kind, chain(&error));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
