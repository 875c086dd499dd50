//! One invocation: fresh store, fresh instance, one call, one outcome.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use wasmtime::Store;
use wasmtime::component::{Func, Val};

use crate::canonical;
use crate::clock::Stopwatch;
use crate::context::RequestContext;
use crate::id::{SkillName, StepId};
use crate::journal::JournalError;
use crate::limits::{self, LimitKind, StepLimits};
use crate::outcome::{Failure, Outcome};
use crate::policy::{Clocks, EnvValue, Grant, Random};
use crate::problem::Problem;
use crate::sandbox::cancel::CancelToken;
use crate::sandbox::component::LoadError;
use crate::sandbox::convert::{self, ConvertError};
use crate::sandbox::ctx::{Limiter, Live, SkillCtx};
use crate::sandbox::delegate::{Delegate, Delegation};
use crate::sandbox::directories::Directories;
use crate::sandbox::egress::{Egress, Reach};
use crate::sandbox::engine::SandboxEngine;
use crate::sandbox::interfaces::{GuestClock, GuestRandom, Http, LogRecord, Output, Stdio, StepContext};
use crate::sandbox::program::{ExportedFunction, Program};
use crate::sandbox::stop::{Diverged, LimitHit, Stop, classify};
use crate::sandbox::tape::{Gate, Tape};
use crate::sandbox::undo::Undo;
use crate::skill::{Export, Import, Need, Tool};
use crate::trace::TraceError;

/// The part of a second that a fiber runs before it lets the deadline be looked at, in epochs.
const YIELD_EPOCHS: u64 = 1;

/// How often the runtime is given the thread at the end of a step that had network: each time it drops up to 61 aborted tasks.
const ENDING_YIELDS: usize = 8;

/// What to call, with what, under which grant.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The tool.
    pub tool: &'a Tool,
    /// Its resolved input.
    pub input: &'a Value,
    /// What it was granted.
    pub grant: &'a Grant,
    /// What `{workspace}` means in the grant.
    pub workspace: &'a Path,
    /// The opened directories of the run.
    pub directories: &'a Directories,
    /// How the run reaches servers; `None` where no grant has network rules, and in a replay.
    pub(crate) reach: Option<&'a Reach>,
    /// Where what the step changes is noted so that it can be undone; `None` where nobody would.
    pub(crate) undo: Option<&'a Undo>,
    /// Who says what the tool may call; `None` where it may call nothing.
    pub(crate) delegate: Option<&'a Arc<dyn Delegate>>,
    /// The limits that apply.
    pub limits: StepLimits,
    /// What is left of the run's time, where that is bounded.
    pub run_deadline: Option<RunDeadline>,
    /// The plan's name, for the guest's context.
    pub plan: &'a str,
    /// What the request says that asked for the run.
    pub request: &'a Arc<RequestContext>,
    /// The step.
    pub step: &'a StepId,
    /// One-based.
    pub attempt: u32,
    /// The plan's seed.
    pub seed: u64,
    /// Where virtual clocks start.
    pub start_time: u64,
}

/// The end of a whole run by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunDeadline {
    /// Milliseconds that are left.
    pub left_ms: u64,
    /// Milliseconds that the run had.
    pub amount_ms: u64,
}

/// What became of an invocation.
#[derive(Debug)]
pub struct Invoked {
    /// How the step ended, or where a replay diverged.
    pub end: Result<Outcome, Divergence>,
    /// Why the host could not go on with it, where that is how it ended.
    pub failure: Option<Failure>,
    /// Host calls.
    pub calls: u64,
    /// Fuel; `None` where the end was not deterministic.
    pub fuel: Option<u64>,
    /// The most linear memory in use, in bytes.
    pub memory_bytes: u64,
    /// How long it took to make the instance.
    pub instantiate: Duration,
    /// The last that the guest wrote to stderr, at most [`limits::REPORT_STDERR_BYTES_MAX`]; empty in a replay, and where it is part of
    /// the outcome. A panic's message is there: the trap says only that there was one.
    pub stderr: String,
    /// What the guest logged, and what a tool that is a function wrote to stdout and stderr; empty in a replay.
    pub logs: Vec<LogRecord>,
    /// The tape, for the next step.
    pub tape: Tape,
}

impl Invoked {
    /// Of a call that was not made.
    pub(crate) fn failed(failure: Failure, tape: Tape) -> Self {
        Self {
            end: Ok(failure.outcome()),
            failure: Some(failure),
            calls: 0,
            fuel: None,
            memory_bytes: 0,
            instantiate: Duration::ZERO,
            stderr: String::new(),
            logs: Vec::new(),
            tape,
        }
    }
}

/// Where a replay left the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The event that the guest should have matched; `None` where the record has no more.
    pub seq: Option<u64>,
    /// What it did instead: lower case, no final period.
    pub what: String,
}

/// Why a step could not be run: the host's doing, never the guest's.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine cannot be made on this machine.
    #[error("the WebAssembly engine cannot start: {message}")]
    Engine {
        /// What wasmtime says.
        message: String,
    },
    /// A component's file cannot be read.
    #[error("skill `{skill}`: {problem}")]
    Unreadable {
        /// The skill.
        skill: SkillName,
        /// Why.
        problem: Box<Problem>,
    },
    /// A component was not loaded.
    #[error("skill `{skill}`: {source}")]
    Load {
        /// The skill.
        skill: SkillName,
        /// Why.
        #[source]
        source: LoadError,
    },
    /// A component imports what the host does not provide.
    #[error("skill `{skill}` cannot be linked: {message}")]
    Link {
        /// The skill.
        skill: SkillName,
        /// What wasmtime says.
        message: String,
    },
    /// A component imports what the grant of its step does not give.
    #[error("skill `{skill}` imports `{}`, which the grant of its step does not give", import.name)]
    NotGranted {
        /// The skill.
        skill: SkillName,
        /// The interface.
        import: Import,
    },
    /// A granted directory cannot be opened.
    #[error("the granted directory `{path}` cannot be opened")]
    Directory {
        /// Its path on the host.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// A granted directory is reached through a link that a guest may have made.
    #[error("the granted directory `{path}` is reached through the link `{link}`, in a folder that tools may write")]
    LinkedDirectory {
        /// Its path on the host.
        path: PathBuf,
        /// The link.
        link: PathBuf,
    },
    /// The workspace that nobody named is a link.
    #[error("the workspace `{path}` is a link, and nobody has named it")]
    LinkedWorkspace {
        /// Its path.
        path: PathBuf,
    },
    /// A granted directory is one of the host's own, or lies inside of one.
    #[error("the granted directory `{path}` is a part of {what}, which no grant reaches")]
    OwnDirectory {
        /// Its path on the host.
        path: PathBuf,
        /// What of the host's own.
        what: &'static str,
    },
    /// Too many steps run at one time.
    #[error("the sandbox has no room for one more step: {message}")]
    Exhausted {
        /// What wasmtime says.
        message: String,
    },
    /// The input does not fit the tool's parameters.
    #[error("the input of `{tool}` does not fit: {source}")]
    Input {
        /// The tool.
        tool: String,
        /// What does not fit.
        #[source]
        source: ConvertError,
    },
    /// The trace cannot be written or read: the run must not go on.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// What the step was about to change cannot be noted for undo: nothing more may be changed, and the step has to be undone.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// An error with what caused it, on one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        // Some messages hold their cause already.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

impl SandboxError {
    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { problem, .. } => problem.hint.clone(),
            Self::Load { source, .. } => Some(source.hint()),
            Self::NotGranted { import, .. } if import.needs == Need::Sockets => {
                Some("grant sockets of which none is open: `sockets = \"closed\"`".to_owned())
            }
            Self::NotGranted { .. } => Some(
                "grant what it may reach: `network = [{ url = \"https://api.example.com/v1/*\", methods = [\"GET\"] }]`"
                    .to_owned(),
            ),
            Self::Directory { .. } => Some("create the directory, or take it out of the policy".to_owned()),
            Self::LinkedDirectory { .. } => {
                Some("name the folder that is meant in the policy, by a path without links, or remove the link".to_owned())
            }
            Self::LinkedWorkspace { .. } => {
                Some("look where it leads; `--workspace workspace` takes it all the same".to_owned())
            }
            Self::OwnDirectory { .. } => {
                Some("take it out of the policy, or keep the state in another folder with `--state`".to_owned())
            }
            Self::Exhausted { .. } => Some("run fewer plans at one time in one process".to_owned()),
            Self::Trace(error) => error.hint(),
            Self::Journal(error) => error.hint(),
            Self::Engine { .. } | Self::Link { .. } | Self::Input { .. } => None,
        }
    }

    /// How a step ends that could not be run.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let (code, message) = match self {
            Self::Engine { message } => ("engine", format!("the WebAssembly engine cannot start: {message}")),
            Self::Unreadable { .. } | Self::Load { .. } => ("skill", "a skill cannot be loaded".to_owned()),
            Self::Link { .. } | Self::NotGranted { .. } => ("skill", self.to_string()),
            // It is looked at before, and found again by whoever runs the same again.
            Self::Input { .. } => return Failure::of_plan("input", self.to_string(), ""),
            Self::Directory { source, .. } => ("directory", format!("a granted directory cannot be opened: {source}")),
            Self::LinkedDirectory { .. } => (
                "linked-directory",
                "a granted directory is reached through a link in a folder that tools may write".to_owned(),
            ),
            Self::LinkedWorkspace { .. } => {
                ("linked-workspace", "the workspace is a link, and nobody has named it".to_owned())
            }
            Self::OwnDirectory { what, .. } => {
                ("own-directory", format!("a granted directory is a part of {what}, which no grant reaches"))
            }
            Self::Exhausted { message } => {
                ("exhausted", format!("the sandbox has no room for one more step: {message}"))
            }
            Self::Trace(_) => ("trace", "the trace cannot be written".to_owned()),
            Self::Journal(error) => return error.failure(),
        };
        Failure { detail: Some(causes(self)), hint: self.hint(), ..Failure::of_host(code, message) }
    }

    /// What is wrong with a skill, as problems of the plan that uses it; `pointer` is where the plan names it.
    #[must_use]
    pub fn problems(&self, pointer: &str) -> Vec<Problem> {
        if let Self::Load { skill, source } = self {
            let mut problems = source.problems(pointer);
            if !pointer.starts_with("/skills/") {
                // The place does not say which skill it is.
                problems
                    .iter_mut()
                    .for_each(|problem| problem.message = format!("skill `{skill}`: {}", problem.message));
            }
            return problems;
        }
        let problem = Problem::new("skill-unreadable", pointer, self.to_string());
        vec![match self.hint() {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        }]
    }
}

impl SandboxEngine {
    /// Invokes a tool once and waits for its end.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] where the step could not be run or not be recorded; whatever the guest did is an outcome.
    pub(crate) async fn invoke(
        &self,
        program: &Program,
        invocation: Invocation<'_>,
        tape: Tape,
        cancel: &CancelToken,
    ) -> Result<Invoked, SandboxError> {
        let limits = invocation.limits;
        let call = match Prepared::new(program, &invocation) {
            Ok(call) => call,
            Err(error) => return Ok(Invoked::failed(error.failure(), tape)),
        };
        // A replay ends where the record ends. Only where that is no place in the record does wall time still end it, and after the last
        // recorded call soon.
        let (recorded, by_host) = match &tape {
            Tape::Record(_) | Tape::Lent => (None, false),
            Tape::Replay { outcome, by_host, .. } => (Some(outcome.clone()), *by_host),
        };
        let is_untimed = |outcome: &Outcome| by_host || is_untimed_end(outcome);
        let deadline_applies = recorded.as_ref().is_none_or(is_untimed);
        let is_replay = recorded.is_some();
        let tail_is_bounded = recorded.as_ref().is_some_and(is_untimed);
        let live = match &tape {
            Tape::Record(_) => Some(Box::new(live(&invocation, &call, ""))),
            Tape::Replay { .. } | Tape::Lent => None,
        };
        let (gate, limiter) = (Gate::new(tape, limits), Limiter::new(limits.memory_bytes));
        let delegation = Delegation::of(&invocation);
        let ctx = SkillCtx { gate, live, limiter, delegation, instantiate: Duration::ZERO };
        let output = ctx.live.as_ref().map(|live| (live.stdio.stdout.clone(), live.stdio.stderr.clone()));
        let used_up = tail_is_bounded.then(|| ctx.gate.used_up());
        let answered = is_replay.then(|| ctx.gate.answered());
        let stderr = output.as_ref().map(|(_, stderr)| stderr.clone());
        let store = self.store(ctx, &limits);
        let mut store = store.map_err(|error| SandboxError::Engine { message: error.to_string() })?;

        let (deadline_ms, deadline_hit) = match invocation.run_deadline {
            Some(run) if run.left_ms < limits.deadline_ms => {
                (run.left_ms, LimitHit::new(LimitKind::RunDeadline, run.amount_ms))
            }
            _ => (limits.deadline_ms, LimitHit::new(LimitKind::Deadline, limits.deadline_ms)),
        };
        let ended = {
            let guest = call.run(program, &mut store);
            let deadline = deadline_applies.then(|| Duration::from_millis(deadline_ms));
            stopped(guest, deadline, answered, used_up, cancel).await
        };
        let fuel_left = store.get_fuel().unwrap_or_default();
        let memory_bytes = store.data().limiter.peak_bytes();
        let SkillCtx { mut gate, mut live, instantiate, .. } = store.into_data();
        let mut logs = live.as_mut().map(|live| std::mem::take(&mut live.logs)).unwrap_or_default();
        if let (Some((stdout, stderr)), None) = (&output, &call.command) {
            logs.written("stdout", &stdout.tail(limits::LOGGED_OUTPUT_BYTES_MAX));
            logs.written("stderr", &stderr.tail(limits::LOGGED_OUTPUT_BYTES_MAX));
        }
        close(live).await;
        // Where the step ended inside of a call, what was called has ended with it.
        gate.recover();
        let calls = gate.calls();
        let mut fuel = Some(limits.fuel.saturating_sub(fuel_left));
        let mut failure = None;
        let mut failed = |error: SandboxError| Ok(failure.insert(error.failure()).outcome());
        let end = match ended {
            Ended::Deadline => Ok(deadline_hit.outcome(Vec::new())),
            Ended::Cancelled => Ok(Outcome::Cancelled),
            Ended::Returned(Ok(values)) => Ok(call.outcome(&values, output, recorded.as_ref())),
            Ended::Returned(Err(error)) => match classify(error, &limits) {
                Stop::Outcome(outcome) => Ok(outcome),
                Stop::Exit(code) => Ok(call.exited(code, output, recorded.as_ref())),
                Stop::RecordedEnd => Ok(recorded.clone().unwrap_or(Outcome::Cancelled)),
                Stop::Diverged(Diverged { seq, what }) => Err(Divergence { seq, what }),
                Stop::Trace(error) => return Err(error.into()),
                Stop::Journal(error @ JournalError::Io { .. }) => return Err(error.into()),
                Stop::Journal(error) => failed(error.into()),
                Stop::PoolIsFull(message) => failed(SandboxError::Exhausted { message }),
            },
        };
        // An end by the clock comes at no certain place: the record then stands for it wherever the replayed guest is.
        let end = match (end, recorded) {
            (Ok(_), Some(recorded)) if is_untimed(&recorded) => Ok(recorded),
            (end, _) => end,
        };
        if failure.is_some() || end.as_ref().is_ok_and(is_untimed) {
            fuel = None;
        }
        let end = end.map(|outcome| within(outcome, &limits));
        let stderr = stderr.map(|stderr| stderr.tail(limits::REPORT_STDERR_BYTES_MAX)).unwrap_or_default();
        let (logs, tape) = (logs.into_records(), gate.into_tape());
        Ok(Invoked { end, failure, calls, fuel, memory_bytes, instantiate, stderr, logs, tape })
    }

    /// A store in which one tool runs.
    pub(super) fn store(&self, ctx: SkillCtx, limits: &StepLimits) -> wasmtime::Result<Store<SkillCtx>> {
        let mut store = Store::new(&self.engine, ctx);
        store.set_fuel(limits.fuel)?;
        store.limiter(|ctx| &mut ctx.limiter);
        store.set_epoch_deadline(YIELD_EPOCHS);
        store.epoch_deadline_async_yield_and_update(YIELD_EPOCHS);
        store.set_hostcall_fuel(value_bytes_max(limits));
        store.set_max_component_handles(limits::HANDLES_MAX);
        Ok(store)
    }
}

/// Ends what acted, with everything that was under way.
pub(super) async fn close(live: Option<Box<Live>>) {
    let reached = live.as_ref().is_some_and(|live| live.http.is_reachable());
    drop(live);
    if reached {
        // The exchanges that were under way ended with their resources; the runtime drops them when it comes to run.
        for _ in 0..ENDING_YIELDS {
            tokio::task::yield_now().await;
        }
    }
}

/// What wasmtime may allocate for the values of one call. The largest are a tool's results; of a host call's arguments the gate bounds the
/// payloads further.
fn value_bytes_max(limits: &StepLimits) -> usize {
    let text = usize::try_from(limits.output_bytes).unwrap_or(usize::MAX);
    (limits::VALUES_MAX * size_of::<Val>()).saturating_add(text)
}

/// Whether the outcome came from outside at a moment that the guest's own steps do not tell.
const fn is_untimed_end(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Cancelled
            | Outcome::Conflict { .. }
            | Outcome::LimitExceeded { limit: LimitKind::Deadline | LimitKind::RunDeadline, .. }
    )
}

/// Bounds the output.
pub(super) fn within(outcome: Outcome, limits: &StepLimits) -> Outcome {
    let value = match &outcome {
        Outcome::Completed { output } => output,
        Outcome::Failed { error } => error,
        _ => return outcome,
    };
    if canonical::to_vec(value).len() as u64 > limits.output_bytes {
        return LimitHit::new(LimitKind::Output, limits.output_bytes).outcome(Vec::new());
    }
    outcome
}

enum Ended<T> {
    Returned(T),
    Deadline,
    Cancelled,
}

/// Waits for the guest, the deadline, the end of what a replay may run on after `used_up`, or a cancellation. The loser is dropped: a guest
/// at its next epoch, a blocked host call at once.
///
/// A replay may be slower than the run was, so its deadline is for getting on: it passes when no call was answered for so long.
async fn stopped<T>(
    guest: impl Future<Output = T>,
    deadline: Option<Duration>,
    answered: Option<Arc<AtomicU64>>,
    used_up: Option<Arc<Notify>>,
    cancel: &CancelToken,
) -> Ended<T> {
    let timed = async {
        let Some(deadline) = deadline else { return Ended::Returned(guest.await) };
        let mut guest = std::pin::pin!(guest);
        let mut seen = 0;
        loop {
            if let Ok(returned) = tokio::time::timeout(deadline, guest.as_mut()).await {
                return Ended::Returned(returned);
            }
            let answered = answered.as_ref().map_or(seen, |answered| answered.load(Ordering::Relaxed));
            if answered == seen {
                return Ended::Deadline;
            }
            seen = answered;
        }
    };
    let mut timed = std::pin::pin!(timed);
    let mut cancelled = std::pin::pin!(cancel.cancelled());
    let tail = async {
        match used_up {
            Some(used_up) => {
                used_up.notified().await;
                tokio::time::sleep(Duration::from_millis(limits::REPLAY_TAIL_MS_MAX)).await;
            }
            None => std::future::pending().await,
        }
    };
    let mut tail = std::pin::pin!(tail);
    std::future::poll_fn(|context| {
        if cancelled.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(Ended::Cancelled);
        }
        if tail.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(Ended::Deadline);
        }
        timed.as_mut().poll(context)
    })
    .await
}

/// What a guest has written to one of its outputs.
pub(super) type Written = Output;

/// A call whose input was converted.
pub(super) struct Prepared<'a> {
    tool: &'a Tool,
    function: &'a ExportedFunction,
    arguments: Vec<Val>,
    /// What a command-line program is given.
    command: Option<Command>,
}

#[derive(Default)]
struct Command {
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Vec<u8>,
    exit_codes: Vec<u64>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(program: &'a Program, invocation: &Invocation<'a>) -> Result<Self, SandboxError> {
        let tool = invocation.tool;
        let wrong = |source| SandboxError::Input { tool: tool.name.to_string(), source };
        let function = program.exports.get(tool.name.function()).ok_or_else(|| SandboxError::Link {
            skill: tool.name.skill().clone(),
            message: format!("it has no function for `{}`", tool.name),
        })?;
        let (arguments, command) = match tool.export {
            Export::Function { .. } => {
                let params = function.params.iter().map(|(name, ty)| (name.as_str(), ty.clone()));
                (convert::params_to_vals(invocation.input, params).map_err(wrong)?, None)
            }
            // A program has no tools of the host's own.
            Export::Command { .. } | Export::Host(_) => (Vec::new(), Some(Command::new(tool, invocation.input))),
        };
        Ok(Self { tool, function, arguments, command })
    }

    pub(super) async fn run(&self, program: &Program, store: &mut Store<SkillCtx>) -> wasmtime::Result<Vec<Val>> {
        let started = Stopwatch::start();
        let instance = program.pre.instantiate_async(&mut *store).await?;
        store.data_mut().instantiate = started.elapsed();
        let function: Func = instance
            .get_func(&mut *store, self.function.index)
            .ok_or_else(|| wasmtime::format_err!("`{}` is not a function", self.tool.name))?;
        let mut results = vec![Val::Bool(false); usize::from(self.function.result.is_some())];
        function.call_async(&mut *store, &self.arguments, &mut results).await?;
        Ok(results)
    }

    /// The outcome of a function that returned.
    pub(super) fn outcome(
        &self,
        values: &[Val],
        output: Option<(Output, Output)>,
        recorded: Option<&Outcome>,
    ) -> Outcome {
        if self.command.is_some() {
            let failed = matches!(values, [Val::Result(Err(_))]);
            return self.exited(u8::from(failed), output, recorded);
        }
        let (Some(value), Some(ty)) = (values.first(), &self.function.result) else {
            return Outcome::Completed { output: Value::Null };
        };
        let converted = match (value, ty) {
            (Val::Result(result), wasmtime::component::Type::Result(ty)) => {
                let (payload, ty, failed) = match result {
                    Ok(payload) => (payload, ty.ok(), false),
                    Err(payload) => (payload, ty.err(), true),
                };
                let value = match (payload, ty) {
                    (Some(payload), Some(ty)) => convert::from_val(payload, &ty),
                    _ => Ok(Value::Null),
                };
                value.map(|value| (value, failed))
            }
            (value, ty) => convert::from_val(value, ty).map(|value| (value, false)),
        };
        match converted {
            Ok((output, false)) => Outcome::Completed { output },
            Ok((error, true)) => Outcome::Failed { error },
            // A value of the function's own type always converts; only its size can be too much.
            Err(_) => LimitHit::count(LimitKind::Values, limits::VALUES_MAX).outcome(Vec::new()),
        }
    }

    /// The outcome of a program that exited. Its outputs are the bytes of its writes; in a replay those were compared with the record
    /// call by call, so equal exits mean the recorded outcome.
    pub(super) fn exited(&self, code: u8, output: Option<(Output, Output)>, recorded: Option<&Outcome>) -> Outcome {
        let Some(command) = &self.command else {
            let message = format!("the guest called `exit` with code {code} inside of the tool `{}`", self.tool.name);
            return Outcome::Trapped { message, backtrace: Vec::new() };
        };
        let accepted = command.exit_codes.contains(&u64::from(code));
        let value = match (output, recorded) {
            (None, Some(Outcome::Completed { output: value } | Outcome::Failed { error: value })) => {
                let mut value = value.clone();
                if let Some(recorded) = value.get_mut("exit_code") {
                    *recorded = json!(code);
                }
                value
            }
            (output, _) => {
                let (stdout, stderr) = output.unwrap_or_default();
                let (stdout, stderr) = (stdout.take(), stderr.take());
                let bytes = std::str::from_utf8(&stdout).is_err().then(|| base64(&stdout));
                json!({
                    "exit_code": code,
                    "stdout": String::from_utf8_lossy(&stdout),
                    "stderr": String::from_utf8_lossy(&stderr),
                    "stdout_bytes": bytes,
                })
            }
        };
        if accepted { Outcome::Completed { output: value } } else { Outcome::Failed { error: value } }
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

impl Command {
    /// Reads an input that was checked against the parameters of `run`.
    fn new(tool: &Tool, input: &Value) -> Self {
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let member = |name: &str| input.get(name).unwrap_or(&Value::Null);
        let mut args = vec![tool.name.skill().to_string()];
        args.extend(texts(member("args")));
        let env = member("env").as_object().into_iter().flatten();
        let env = env.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
        let exit_codes = match member("exit_codes") {
            Value::Array(codes) => codes.iter().filter_map(Value::as_u64).collect(),
            _ => vec![0],
        };
        Self { args, env, stdin: member("stdin").as_str().unwrap_or_default().into(), exit_codes }
    }
}

/// What acts in a live step: what the grant names and nothing else. `path` is the call of the step that it is for: see [`Delegation`].
pub(super) fn live(invocation: &Invocation<'_>, call: &Prepared<'_>, path: &str) -> Live {
    let Invocation { grant, limits, step, .. } = *invocation;
    let directories = invocation.directories.of(grant, invocation.workspace);
    let clock = match grant.clocks {
        Clocks::Virtual => GuestClock::Virtual { start_time: invocation.start_time, elapsed_ns: 0 },
        Clocks::Real => GuestClock::Real,
    };
    let random = match grant.random {
        Random::Seeded if path.is_empty() => GuestRandom::seeded(invocation.seed, step.as_str(), invocation.attempt),
        // No step has an id with a slash.
        Random::Seeded => GuestRandom::seeded(invocation.seed, &format!("{step}/{path}"), invocation.attempt),
        Random::Real => GuestRandom::real(),
    };
    let told = |values: &BTreeMap<String, EnvValue>| -> BTreeMap<String, String> {
        let asked = &invocation.request.env;
        values.iter().filter_map(|(name, value)| Some((name.clone(), value.for_guest(asked)?))).collect()
    };
    let mut env = told(&grant.env);
    let mut stdio = Stdio {
        stdout: Output::bounded(limits.stdio_bytes),
        stderr: Output::bounded(limits.stdio_bytes),
        ..Stdio::default()
    };
    match &call.command {
        Some(command) => {
            env.extend(command.env.iter().cloned());
            stdio.args.clone_from(&command.args);
            stdio.stdin = command.stdin.clone().into();
        }
        None => stdio.args = vec![invocation.tool.name.skill().to_string()],
    }
    stdio.env = env.into_iter().collect();
    let context = StepContext {
        plan: invocation.plan.to_owned(),
        step: step.to_string(),
        tool: invocation.tool.name.to_string(),
        attempt: invocation.attempt,
        deadline_ms: limits.deadline_ms,
        request: Arc::clone(invocation.request),
    };
    let reach = invocation.reach.filter(|_| !grant.network.is_empty());
    let http = Http::new(reach.map(|reach| Egress::new(reach, &grant.network)));
    let mut live = Live::new(directories, clock, random, stdio, http, context);
    live.undo = invocation.undo.cloned();
    live.guard = invocation.directories.guard();
    live.config = told(&grant.config);
    live
}

#[cfg(test)]
mod tests;
