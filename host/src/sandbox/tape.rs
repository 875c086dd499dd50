//! The gate that every host call passes: recorded while it acts, or answered from the record while nothing acts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::Notify;
use wasmtime::component::{ResourceTable, ResourceTableError};
use wasmtime_wasi::TrappableError;

use crate::canonical;
use crate::id::SkillName;
use crate::limits::{self, LimitKind, StepLimits};
use crate::outcome::Outcome;
use crate::sandbox::stop::{Diverged, LimitHit, RecordedEnd, RecordedTrap, TraceFailed};
use crate::sandbox::wire::{Decode, Encode, Encoder, Malformed};
use crate::trace::event::Event;
use crate::trace::{Call, TraceSink, TraceSource};

/// Where host calls are written to or read from.
pub enum Tape {
    /// Calls act and are appended.
    Record(Box<dyn TraceSink>),
    /// Calls are compared and answered; nothing acts.
    Replay {
        /// The recorded calls of this step.
        source: Box<dyn TraceSource>,
        /// How the recorded step ended. Where that was from outside of the guest (a limit, a cancellation), the replayed one ends where
        /// the calls end; otherwise a call beyond the record is a divergence.
        outcome: Outcome,
        /// Whether the host could not go on with the recorded step, which is such an end as well.
        by_host: bool,
        /// How many calls the recorded step made.
        calls: u64,
        /// Skills whose components are not those that were recorded: of these neither digest nor fuel is compared.
        replaced: Vec<SkillName>,
    },
    /// What was called has it for now.
    Lent,
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Record(_) => "Tape::Record",
            Self::Replay { .. } => "Tape::Replay",
            Self::Lent => "Tape::Lent",
        })
    }
}

/// What a host call has to do.
pub(crate) enum Begun {
    /// Act, then [`Gate::end`].
    Live,
    /// Give this recorded answer.
    Recorded(Value),
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("tape", &self.tape).field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// The tape with the counts and buffers of one invocation.
pub(crate) struct Gate {
    tape: Tape,
    limits: StepLimits,
    calls: u64,
    /// Told when a replay has answered the last recorded call.
    used_up: Arc<Notify>,
    /// How many calls a replay has answered.
    answered: Arc<AtomicU64>,
    /// Reused for every call, so that recording allocates nothing.
    params: Vec<u8>,
    result: Vec<u8>,
    /// Where the tape comes back from that was lent.
    lent: Option<Home>,
    /// Where the tape goes that is lent from there.
    home: Option<Home>,
}

/// Where a gate that was lent a tape leaves it at its end, whatever ended it, with the count of calls.
type Home = Arc<Mutex<Option<(Tape, u64)>>>;

impl Gate {
    pub(crate) fn new(tape: Tape, limits: StepLimits) -> Self {
        let used_up = Arc::new(Notify::new());
        if let Tape::Replay { calls: 0, .. } = tape {
            used_up.notify_one();
        }
        let (params, result, lent, home) = (Vec::new(), Vec::new(), None, None);
        Self { tape, limits, calls: 0, used_up, answered: Arc::default(), params, result, lent, home }
    }

    /// The gate of something that is called: the same tape and the same count of calls, until it is dropped. `limits` are its own; those on
    /// calls and bytes of trace are counted from the begin of the step.
    pub(super) fn lend(&mut self, limits: StepLimits) -> Self {
        let home = Home::default();
        self.lent = Some(Arc::clone(&home));
        Self {
            tape: std::mem::replace(&mut self.tape, Tape::Lent),
            limits,
            calls: self.calls,
            used_up: Arc::clone(&self.used_up),
            answered: Arc::clone(&self.answered),
            params: Vec::new(),
            result: Vec::new(),
            lent: None,
            home: Some(home),
        }
    }

    /// Takes back what was lent, once the borrower is gone.
    pub(super) fn recover(&mut self) {
        let Some(home) = self.lent.take() else { return };
        if let Some((tape, calls)) = home.lock().unwrap_or_else(PoisonError::into_inner).take() {
            (self.tape, self.calls) = (tape, calls);
        }
    }

    /// What the guest may use.
    pub(super) const fn limits(&self) -> &StepLimits {
        &self.limits
    }

    /// Host calls that were completed.
    pub(crate) const fn calls(&self) -> u64 {
        self.calls
    }

    /// Wakes one waiter when a replay has answered the last recorded call, also if it waits only afterwards.
    pub(crate) fn used_up(&self) -> Arc<Notify> {
        Arc::clone(&self.used_up)
    }

    /// How many calls a replay has answered, for whoever watches whether it gets on.
    pub(crate) fn answered(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.answered)
    }

    pub(crate) fn into_tape(mut self) -> Tape {
        self.recover();
        std::mem::replace(&mut self.tape, Tape::Lent)
    }

    /// Takes note of a call before anything acts.
    pub(crate) fn begin(
        &mut self,
        function: &'static str,
        params: &mut [(&'static str, &dyn Encode)],
    ) -> wasmtime::Result<Begun> {
        self.admit(params)?;
        match &mut self.tape {
            Tape::Record(_) => Ok(Begun::Live),
            Tape::Replay { .. } => self.next(function).map(Begun::Recorded),
            Tape::Lent => Err(lent()),
        }
    }

    /// Takes note of the arguments of a call, unless it is one too many or hands over too much.
    pub(super) fn admit(&mut self, params: &mut [(&'static str, &dyn Encode)]) -> wasmtime::Result<()> {
        if self.calls >= self.limits.host_calls {
            return Err(LimitHit::new(LimitKind::HostCalls, self.limits.host_calls).into());
        }
        let payload_bytes = self.put_params(params);
        if payload_bytes > limits::HOST_CALL_ARGUMENT_BYTES_MAX {
            return Err(LimitHit::count(LimitKind::Arguments, limits::HOST_CALL_ARGUMENT_BYTES_MAX).into());
        }
        match &self.tape {
            Tape::Record(sink) if sink.bytes_in_step() > self.limits.trace_bytes => {
                Err(LimitHit::new(LimitKind::Trace, self.limits.trace_bytes).into())
            }
            _ => Ok(()),
        }
    }

    /// Spells the arguments, and gives the bytes of their strings and lists.
    fn put_params(&mut self, params: &mut [(&'static str, &dyn Encode)]) -> usize {
        self.params.clear();
        params.sort_unstable_by_key(|(name, _)| *name);
        let mut to = Encoder { out: &mut self.params, sink: None, failed: None, payload_bytes: 0 };
        to.raw(b"{");
        for (index, (name, value)) in params.iter().enumerate() {
            if index > 0 {
                to.raw(b",");
            }
            to.raw(b"\"");
            to.raw(name.as_bytes());
            to.raw(b"\":");
            value.encode(&mut to);
        }
        to.raw(b"}");
        to.payload_bytes
    }

    /// The recorded answer of the call whose arguments were noted last.
    fn next(&mut self, function: &str) -> wasmtime::Result<Value> {
        let Tape::Replay { source, outcome, by_host, calls, .. } = &mut self.tape else { return Err(lent()) };
        let answer = compare(source.as_mut(), *by_host || is_from_outside(outcome), function, &self.params)?;
        self.calls += 1;
        self.answered.store(self.calls, Ordering::Relaxed);
        if self.calls >= *calls {
            self.used_up.notify_one();
        }
        Ok(answer)
    }

    /// Notes the answer of a call that is made again in a replay, or compares it with the one that is recorded.
    pub(super) fn made<T: Encode + Decode>(
        &mut self,
        function: &'static str,
        params: &mut [(&'static str, &dyn Encode)],
        answer: &T,
    ) -> wasmtime::Result<()> {
        self.put_params(params);
        self.result.clear();
        // A replay makes it again: the digest of long text is enough.
        let mut to = Encoder { out: &mut self.result, sink: None, failed: None, payload_bytes: 0 };
        put_ok(answer, &mut to);
        match &mut self.tape {
            Tape::Record(sink) => {
                self.calls += 1;
                let call = Call { function, params: &self.params, result: &self.result };
                sink.call(call).map_err(|error| TraceFailed(error).into())
            }
            Tape::Replay { .. } => {
                let recorded = canonical::to_vec(&self.next(function)?);
                if recorded == self.result {
                    return Ok(());
                }
                let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(200).collect::<String>();
                let what = format!("`{function}` gives {}; recorded is {}", shown(&self.result), shown(&recorded));
                Err(Diverged { seq: None, what }.into())
            }
            Tape::Lent => Err(lent()),
        }
    }

    /// Notes that something is called, or compares that with the record.
    pub(super) fn delegate(&mut self, made: &Event) -> wasmtime::Result<()> {
        match &mut self.tape {
            Tape::Record(sink) => sink.delegated(made).map_err(|error| TraceFailed(error).into()),
            Tape::Replay { source, outcome, by_host, replaced, .. } => {
                compare_delegated(source.as_mut(), *by_host || is_from_outside(outcome), replaced, made)
            }
            Tape::Lent => Err(lent()),
        }
    }

    /// How the recorded call ends that the guest is in, where its end is what comes next.
    pub(super) fn recorded_end(&mut self) -> wasmtime::Result<Option<Outcome>> {
        let Tape::Replay { source, .. } = &mut self.tape else { return Ok(None) };
        Ok(match source.delegated().map_err(TraceFailed)? {
            Some((_, Event::DelegateEnd(end))) => Some(end.outcome),
            _ => None,
        })
    }

    /// Appends the call with its result. A limit that was hit inside of the call is not its result: the step ends there.
    pub(crate) fn end<R: Answer>(&mut self, function: &'static str, result: R) -> R {
        let Tape::Record(sink) = &mut self.tape else { return result };
        self.result.clear();
        let mut to = Encoder { out: &mut self.result, sink: Some(sink.as_mut()), failed: None, payload_bytes: 0 };
        let result = match result.put(&mut to) {
            Ok(result) => result,
            Err(limit) => return R::trap(limit.into()),
        };
        if let Some(error) = to.failed {
            return R::trap(TraceFailed(error).into());
        }
        self.calls += 1;
        match sink.call(Call { function, params: &self.params, result: &self.result }) {
            Ok(()) => result,
            Err(error) => R::trap(TraceFailed(error).into()),
        }
    }

    /// Decodes a recorded answer.
    pub(crate) fn answer<R: Answer>(&mut self, value: &Value) -> R {
        match &mut self.tape {
            Tape::Replay { source, .. } => R::get(value, source.as_mut()),
            Tape::Record(_) | Tape::Lent => R::trap(wasmtime::format_err!("no answer is recorded while recording")),
        }
    }
}

impl Drop for Gate {
    /// What was lent goes back, also where the call ended by being dropped.
    fn drop(&mut self) {
        self.recover();
        if let Some(home) = self.home.take() {
            let tape = std::mem::replace(&mut self.tape, Tape::Lent);
            *home.lock().unwrap_or_else(PoisonError::into_inner) = Some((tape, self.calls));
        }
    }
}

/// A guest runs only while nothing that it called does.
fn lent() -> wasmtime::Error {
    wasmtime::format_err!("a host call came while another tool had the record")
}

/// Whether the recorded end came at a place that the guest's own steps do not tell.
const fn is_from_outside(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::LimitExceeded { .. } | Outcome::Cancelled | Outcome::Conflict { .. })
}

/// Compares the begin or the end of a call of another tool with what is recorded next.
fn compare_delegated(
    source: &mut dyn TraceSource,
    ended_from_outside: bool,
    replaced: &[SkillName],
    made: &Event,
) -> wasmtime::Result<()> {
    let Some((seq, mut recorded)) = source.delegated().map_err(TraceFailed)? else {
        // The record of a step that was ended from outside ends anywhere.
        if ended_from_outside && !source.has_call().map_err(TraceFailed)? {
            return Err(RecordedEnd.into());
        }
        return Err(
            Diverged { seq: None, what: format!("the guest {}, which is not recorded here", said(made)) }.into()
        );
    };
    match (&mut recorded, made) {
        (Event::DelegateBegin(recorded), Event::DelegateBegin(made)) if replaced.contains(made.tool.skill()) => {
            recorded.skill = made.skill;
        }
        (Event::DelegateEnd(recorded), Event::DelegateEnd(made)) if !replaced.is_empty() => recorded.fuel = made.fuel,
        _ => {}
    }
    if let Some(difference) = crate::trace::diff::events(&recorded, made) {
        let what = format!("the guest {}; of what is recorded that differs: {difference}", said(made));
        return Err(Diverged { seq: Some(seq), what }.into());
    }
    source.take_delegated().map_err(TraceFailed)?;
    Ok(())
}

fn said(event: &Event) -> String {
    match event {
        Event::DelegateBegin(begin) => format!("calls the tool `{}`", begin.tool),
        Event::DelegateEnd(end) => format!("ends its call of the tool `{}`", end.tool),
        event => format!("does `{}`", event.kind().name()),
    }
}

fn compare(
    source: &mut dyn TraceSource,
    ended_from_outside: bool,
    function: &str,
    params: &[u8],
) -> wasmtime::Result<Value> {
    let shown = || format!("`{function}` {}", String::from_utf8_lossy(params));
    let Some(call) = source.next_call().map_err(TraceFailed)? else {
        let (seq, what) = match source.delegated().map_err(TraceFailed)? {
            Some((_, Event::DelegateEnd(end))) if is_from_outside(&end.outcome) => return Err(RecordedEnd.into()),
            None if ended_from_outside => return Err(RecordedEnd.into()),
            Some((seq, recorded)) => (Some(seq), format!("there the recorded guest {}", said(&recorded))),
            None => (None, "where the record has no more calls".to_owned()),
        };
        return Err(Diverged { seq, what: format!("the guest called {} {what}", shown()) }.into());
    };
    if call.function != function || call.params != params {
        let recorded = format!("`{}` {}", call.function, String::from_utf8_lossy(&call.params));
        let what = format!("the guest called {}; recorded is {recorded}", shown());
        return Err(Diverged { seq: Some(call.seq), what }.into());
    }
    Ok(call.result)
}

/// The return type of a host function: a value, an error that the guest sees, or a trap.
pub(crate) trait Answer: Sized {
    /// A trap.
    fn trap(error: wasmtime::Error) -> Self;
    /// Puts what the answer refers to into the table, so that it has a handle before it is recorded.
    #[must_use]
    fn settle(self, _table: &mut ResourceTable) -> Self {
        self
    }
    /// Writes `{"ok": …}`, `{"err": …}` or `{"trap": …}` and gives the answer on.
    ///
    /// # Errors
    ///
    /// The limit that ended the call: that is the step's end, not the call's result.
    fn put(self, to: &mut Encoder<'_>) -> Result<Self, LimitHit>;
    /// Reads it back.
    fn get(value: &Value, blobs: &mut dyn TraceSource) -> Self;
}

/// How much of a trap's message is recorded.
const TRAP_CHARS_MAX: usize = 1_000;

pub(crate) fn put_trap(error: &wasmtime::Error, to: &mut Encoder<'_>) {
    to.raw(b"{\"trap\":");
    // Longer text would become a blob; what a trap says is for people.
    error.to_string().chars().take(TRAP_CHARS_MAX).collect::<String>().encode(to);
    to.raw(b"}");
}

pub(crate) fn put_ok<T: Encode + Decode>(value: &T, to: &mut Encoder<'_>) {
    if T::IS_RESULT {
        return value.encode(to);
    }
    to.raw(b"{\"ok\":");
    value.encode(to);
    to.raw(b"}");
}

/// Reads `{"ok": …}` or `{"trap": …}`; `Ok(None)` is neither.
pub(crate) fn get_ok<T: Decode>(value: &Value, blobs: &mut dyn TraceSource) -> wasmtime::Result<Option<T>> {
    let answer = if T::IS_RESULT && value.get("trap").is_none() { Some(value) } else { value.get("ok") };
    if let Some(answer) = answer {
        return T::decode(answer, blobs).map(Some).map_err(|error| unreadable(&error).into());
    }
    match value.get("trap").and_then(Value::as_str) {
        Some(trap) => Err(RecordedTrap(trap.to_owned()).into()),
        None => Ok(None),
    }
}

pub(crate) fn unreadable(error: &Malformed) -> Diverged {
    Diverged { seq: None, what: error.to_string() }
}

/// The limit that `error` stands for, if it does.
pub(crate) fn limit_in(error: &wasmtime::Error) -> Option<LimitHit> {
    if let Some(hit) = error.downcast_ref::<LimitHit>() {
        return Some(*hit);
    }
    match error.downcast_ref() {
        Some(ResourceTableError::Full) => Some(LimitHit::count(LimitKind::Handles, limits::HANDLES_MAX)),
        _ => None,
    }
}

impl<T: Encode + Decode> Answer for wasmtime::Result<T> {
    fn trap(error: wasmtime::Error) -> Self {
        Err(error)
    }

    fn put(self, to: &mut Encoder<'_>) -> Result<Self, LimitHit> {
        match &self {
            Ok(value) => put_ok(value, to),
            Err(error) => match limit_in(error) {
                Some(limit) => return Err(limit),
                None => put_trap(error, to),
            },
        }
        Ok(self)
    }

    fn get(value: &Value, blobs: &mut dyn TraceSource) -> Self {
        get_ok(value, blobs)?.ok_or_else(|| not_an_answer(value))
    }
}

/// What wasmtime-wasi's functions return that have an error of their own beside the trap.
impl<T, E> Answer for Result<T, TrappableError<E>>
where
    T: Encode + Decode,
    E: Encode + Decode + std::error::Error + Send + Sync + 'static,
{
    fn trap(error: wasmtime::Error) -> Self {
        Err(TrappableError::trap(error))
    }

    fn put(self, to: &mut Encoder<'_>) -> Result<Self, LimitHit> {
        let error = match self {
            Ok(value) => {
                put_ok(&value, to);
                return Ok(Ok(value));
            }
            Err(error) => error,
        };
        match error.downcast() {
            Ok(code) => {
                to.raw(b"{\"err\":");
                code.encode(to);
                to.raw(b"}");
                Ok(Err(code.into()))
            }
            Err(trap) => match limit_in(&trap) {
                Some(limit) => Err(limit),
                None => {
                    put_trap(&trap, to);
                    Ok(Err(TrappableError::trap(trap)))
                }
            },
        }
    }

    fn get(value: &Value, blobs: &mut dyn TraceSource) -> Self {
        if let Some(ok) = get_ok(value, blobs).map_err(TrappableError::trap)? {
            return Ok(ok);
        }
        let Some(code) = value.get("err") else { return Err(TrappableError::trap(not_an_answer(value))) };
        let code = E::decode(code, blobs).map_err(|error| TrappableError::trap(unreadable(&error)))?;
        Err(code.into())
    }
}

pub(crate) fn not_an_answer(value: &Value) -> wasmtime::Error {
    Diverged { seq: None, what: format!("the recorded result `{value}` is not an answer of this function") }.into()
}
