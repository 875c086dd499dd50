//! Why a guest was stopped: the typed markers that travel through wasmtime as errors, and their classification into an outcome.

use wasmtime::{Trap, WasmBacktrace};

use crate::journal::JournalError;
use crate::limits::{self, LimitKind, StepLimits};
use crate::outcome::Outcome;
use crate::trace::TraceError;

/// A bound that the host itself watches was hit.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the limit `{}` of {allowed} is exceeded", kind.name())]
pub(crate) struct LimitHit {
    pub(crate) kind: LimitKind,
    pub(crate) allowed: u64,
}

impl LimitHit {
    pub(crate) const fn new(kind: LimitKind, allowed: u64) -> Self {
        Self { kind, allowed }
    }

    pub(crate) const fn count(kind: LimitKind, allowed: usize) -> Self {
        Self { kind, allowed: allowed as u64 }
    }

    /// The outcome of a step that ended so.
    pub(crate) const fn outcome(self, backtrace: Vec<String>) -> Outcome {
        Outcome::LimitExceeded { limit: self.kind, allowed: self.allowed, backtrace }
    }
}

/// A host call trapped while it was recorded; a replay raises it again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct RecordedTrap(pub(crate) String);

/// The recorded step ended here from outside (a limit, a cancellation): the replay ends here too.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the recorded step ended here")]
pub(crate) struct RecordedEnd;

/// The guest did something else than what was recorded.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Diverged {
    /// The event it should have matched; `None` when the record had no more.
    pub(crate) seq: Option<u64>,
    pub(crate) what: String,
}

/// The trace could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("the trace failed")]
pub(crate) struct TraceFailed(#[from] pub(crate) TraceError);

/// The undo journal could not be kept, so what it was asked for was not done.
#[derive(Debug, thiserror::Error)]
#[error("the undo journal failed")]
pub(crate) struct JournalFailed(#[from] pub(crate) JournalError);

/// What ended the call of a guest's export, other than returning.
#[derive(Debug)]
pub(crate) enum Stop {
    /// An outcome of the step.
    Outcome(Outcome),
    /// `wasi:cli/exit`.
    Exit(u8),
    /// The replay ends where the recorded step ended.
    RecordedEnd,
    /// A replay diverged.
    Diverged(Diverged),
    /// The run cannot go on.
    Trace(TraceError),
    /// Nothing may be changed any more.
    Journal(JournalError),
    /// Other steps of this process hold all that the pool has, which is nothing of the guest's doing.
    PoolIsFull(String),
}

/// Finds out why the guest ended.
pub(crate) fn classify(error: wasmtime::Error, limits: &StepLimits) -> Stop {
    let backtrace = frames(&error);
    if let Some(hit) = error.downcast_ref::<LimitHit>() {
        return Stop::Outcome(hit.outcome(backtrace));
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return Stop::Exit(u8::try_from(exit.0).unwrap_or(1));
    }
    if let Some(diverged) = error.downcast_ref::<Diverged>() {
        return Stop::Diverged(diverged.clone());
    }
    if error.downcast_ref::<RecordedEnd>().is_some() {
        return Stop::RecordedEnd;
    }
    if let Some(full) = error.downcast_ref::<wasmtime::PoolConcurrencyLimitError>() {
        return Stop::PoolIsFull(full.to_string());
    }
    let limit = |kind, allowed| Stop::Outcome(LimitHit::new(kind, allowed).outcome(backtrace.clone()));
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return limit(LimitKind::Fuel, limits.fuel),
        Some(Trap::StackOverflow) => return limit(LimitKind::Stack, limits::GUEST_STACK_BYTES as u64),
        _ => {}
    }
    if let Some(wasmtime::component::ResourceTableError::Full) = error.downcast_ref() {
        return limit(LimitKind::Handles, limits::HANDLES_MAX as u64);
    }
    let message = message(&error);
    // These bounds are wasmtime's own and have no public type; tests hit each of them so that a change of wording is seen.
    // What a value costs is bounded in both directions: on the way into a host call the guest is on the stack, on the way out of a
    // tool it is not.
    let values = match backtrace.is_empty() {
        true => (LimitKind::Values, limits::VALUES_MAX),
        false => (LimitKind::Arguments, limits::HOST_CALL_ARGUMENT_BYTES_MAX),
    };
    for (text, (kind, allowed)) in
        [("store handle limit exceeded", (LimitKind::Handles, limits::HANDLES_MAX)), ("hostcall", values)]
    {
        if message.contains(text) {
            return limit(kind, allowed as u64);
        }
    }
    let error = match error.downcast::<TraceFailed>() {
        Ok(TraceFailed(error)) => return Stop::Trace(error),
        Err(error) => error,
    };
    match error.downcast::<JournalFailed>() {
        Ok(JournalFailed(error)) => Stop::Journal(error),
        Err(_) => Stop::Outcome(Outcome::Trapped { message, backtrace }),
    }
}

/// The innermost cause, which says what happened; wasmtime's outer context is the backtrace as text.
fn message(error: &wasmtime::Error) -> String {
    error.chain().last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// The guest's frames, innermost first. Names and offsets depend on the component alone.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let frame = |frame: &wasmtime::FrameInfo| {
        let module = frame.module().name().unwrap_or("guest").to_owned();
        let function = frame.func_name().map_or_else(|| format!("<function {}>", frame.func_index()), demangled);
        match frame.module_offset() {
            Some(offset) => format!("{module}!{function} @ {offset:#x}"),
            None => format!("{module}!{function}"),
        }
    };
    backtrace.frames().iter().take(limits::BACKTRACE_FRAMES_MAX).map(frame).collect()
}

fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}
