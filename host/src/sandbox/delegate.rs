//! A tool calls another one from inside: a store of its own for the callee, on the caller's tape, fuel and time.
//!
//! Whether a call may be made and under which grant says whoever runs the plan, through [`Delegate`]. What the callee did is recorded
//! between the begin and the end of its call, so that a replay makes the call again and compares both; nothing of the callee outlives it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use wasmtime::{PoolConcurrencyLimitError, Result, StoreContextMut};

use crate::canonical;
use crate::context::RequestContext;
use crate::id::{StepId, ToolName};
use crate::json;
use crate::limits::{self, LimitKind, StepLimits};
use crate::outcome::Outcome;
use crate::policy::{CallPattern, Grant, Inside, NotDelegated};
use crate::problem::Problems;
use crate::sandbox::bindings::skillhost::skill::tools::CallError;
use crate::sandbox::ctx::{Limiter, SkillCtx};
use crate::sandbox::directories::Directories;
use crate::sandbox::egress::Reach;
use crate::sandbox::engine::SandboxEngine;
use crate::sandbox::invoke::{self, Invocation, Prepared};
use crate::sandbox::program::Program;
use crate::sandbox::stop::{Diverged, JournalFailed, LimitHit, RecordedEnd, Stop, TraceFailed, classify};
use crate::sandbox::tape::Gate;
use crate::sandbox::undo::Undo;
use crate::trace::event::{DelegateBegin, DelegateEnd, Event};
use crate::types::check::check_params;

/// Says what may be called, and under what.
pub(crate) trait Delegate: fmt::Debug + Send + Sync {
    /// The decision on a call. Nothing is instantiated for it.
    fn choose(&self, inside: &Inside<'_>, tool: &ToolName, input: &Value) -> std::result::Result<Chosen, NotDelegated>;
    /// What may be called, as far as that can be said without an input, sorted.
    fn available(&self, inside: &Inside<'_>) -> Vec<String>;
    /// How many calls may be inside of each other.
    fn depth_max(&self) -> u64;
    /// What is the same for all calls of a run.
    fn scene(&self) -> Scene<'_>;
}

/// What is called.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The linked skill.
    pub(crate) program: Arc<Program>,
    /// What it is granted.
    pub(crate) grant: Arc<Grant>,
    /// The index of that grant.
    pub(crate) grant_index: usize,
    /// The ids of the rules that permit it.
    pub(crate) rules: Vec<String>,
}

/// What is the same for all calls of a run: see [`Invocation`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) engine: &'a SandboxEngine,
    pub(crate) workspace: &'a Path,
    pub(crate) directories: &'a Directories,
    pub(crate) reach: Option<&'a Reach>,
    pub(crate) plan: &'a str,
    pub(crate) request: &'a Arc<RequestContext>,
    pub(crate) seed: u64,
    pub(crate) start_time: u64,
}

/// What a guest may call, and where it is.
#[derive(Debug)]
pub(crate) struct Delegation {
    delegate: Arc<dyn Delegate>,
    calls: Vec<CallPattern>,
    step: StepId,
    attempt: u32,
    /// Which call of the step the guest is in: empty in the step's own tool, then `1`, `1.2`.
    path: String,
    /// Calls that it has made.
    made: u64,
    /// How many calls it is inside of.
    depth: u64,
    /// Linear memory of those that it is inside of.
    memory_bytes_above: u64,
    undo: Option<Undo>,
}

impl Delegation {
    /// What a step's own tool may call.
    pub(super) fn of(invocation: &Invocation<'_>) -> Option<Box<Self>> {
        let delegate = invocation.delegate.filter(|_| !invocation.grant.calls.is_empty())?;
        Some(Box::new(Self {
            delegate: Arc::clone(delegate),
            calls: invocation.grant.calls.clone(),
            step: invocation.step.clone(),
            attempt: invocation.attempt,
            path: String::new(),
            made: 0,
            depth: 0,
            memory_bytes_above: 0,
            undo: invocation.undo.cloned(),
        }))
    }

    /// The place of the next call.
    fn next_path(&mut self) -> String {
        self.made += 1;
        if self.path.is_empty() { self.made.to_string() } else { format!("{}.{}", self.path, self.made) }
    }

    /// What somebody with `grant` may call who was called from here.
    fn inner(&self, grant: &Grant, path: &str, memory_bytes: u64) -> Option<Box<Self>> {
        (!grant.calls.is_empty()).then(|| {
            Box::new(Self {
                delegate: Arc::clone(&self.delegate),
                calls: grant.calls.clone(),
                step: self.step.clone(),
                attempt: self.attempt,
                path: path.to_owned(),
                made: 0,
                depth: self.depth + 1,
                memory_bytes_above: self.memory_bytes_above.saturating_add(memory_bytes),
                undo: self.undo.clone(),
            })
        })
    }

    fn is_at_its_depth(&self) -> bool {
        self.depth >= self.delegate.depth_max()
    }

    fn inside(&self) -> Inside<'_> {
        Inside { calls: &self.calls, step: &self.step, attempt: self.attempt }
    }
}

/// The tools that may be called from here.
pub(super) fn available(ctx: &SkillCtx) -> Vec<String> {
    let delegation = ctx.delegation.as_deref().filter(|delegation| !delegation.is_at_its_depth());
    delegation.map(|delegation| delegation.delegate.available(&delegation.inside())).unwrap_or_default()
}

/// Calls a tool and waits for its end. An error ends the caller as well: its own fuel or time is used up, or the host cannot go on.
pub(super) async fn call(
    store: &mut StoreContextMut<'_, SkillCtx>,
    tool: &str,
    input: &str,
) -> Result<std::result::Result<String, CallError>> {
    match chosen(store.data(), tool, input) {
        Ok((chosen, tool, input)) => made(store, &chosen, tool, input).await,
        Err(error) => Ok(Err(error)),
    }
}

/// What is called with what, or why nothing is.
fn chosen(ctx: &SkillCtx, tool: &str, input: &str) -> std::result::Result<(Chosen, ToolName, Value), CallError> {
    let Some(delegation) = ctx.delegation.as_deref() else {
        return Err(CallError::Denied("the grant of the caller lists no tools in `calls`".to_owned()));
    };
    if delegation.is_at_its_depth() {
        return Err(CallError::TooDeep(u32::try_from(delegation.depth).unwrap_or(u32::MAX)));
    }
    let none = || CallError::NotFound(short(&format!("there is no tool `{tool}`")));
    let name: ToolName = tool.parse().map_err(|_| none())?;
    let invalid = |what: String| CallError::Invalid(short(&what));
    let input =
        json::parse(input.as_bytes()).map_err(|problem| invalid(format!("the input is not JSON: {problem}")))?;
    let chosen = delegation.delegate.choose(&delegation.inside(), &name, &input).map_err(|refused| match refused {
        NotDelegated::NoSuchTool => none(),
        NotDelegated::Denied(reason) => CallError::Denied(short(&reason)),
    })?;
    let known = chosen.program.skill().tool(name.function()).ok_or_else(none)?;
    let mut problems = Problems::default();
    check_params(&input, &known.params, &format!("`{name}`"), "", &mut problems);
    match problems.into_vec().into_iter().next() {
        Some(problem) => Err(invalid(problem.to_string())),
        None => Ok((chosen, name, input)),
    }
}

async fn made(
    store: &mut StoreContextMut<'_, SkillCtx>,
    chosen: &Chosen,
    tool: ToolName,
    input: Value,
) -> Result<std::result::Result<String, CallError>> {
    let fuel = store.get_fuel()?;
    let ctx = store.data_mut();
    let (caller, before, memory_bytes) = (*ctx.gate.limits(), ctx.gate.calls(), ctx.limiter.memory_bytes());
    let Some(delegation) = ctx.delegation.as_deref_mut() else { return Err(gone()) };
    let path = delegation.next_path();
    let (delegate, step, attempt) = (Arc::clone(&delegation.delegate), delegation.step.clone(), delegation.attempt);
    let (undo, depth) = (delegation.undo.clone(), delegation.depth + 1);
    let inner = delegation.inner(&chosen.grant, &path, memory_bytes);
    let above = delegation.memory_bytes_above.saturating_add(memory_bytes);
    let own = chosen.grant.limits;
    let limits = StepLimits {
        fuel: own.fuel.min(fuel),
        deadline_ms: own.deadline_ms.min(caller.deadline_ms),
        memory_bytes: own.memory_bytes.min(limits::CALL_MEMORY_BYTES_MAX.saturating_sub(above)),
        // The call itself is one as well.
        host_calls: before.saturating_add(own.host_calls).min(caller.host_calls.saturating_sub(1)),
        trace_bytes: own.trace_bytes.min(caller.trace_bytes),
        ..own
    };
    let scene = delegate.scene();
    let skill = chosen.program.skill();
    let known = skill.tool(tool.function()).ok_or_else(gone)?;
    let invocation = Invocation {
        tool: known,
        input: &input,
        grant: &chosen.grant,
        workspace: scene.workspace,
        directories: scene.directories,
        reach: scene.reach,
        undo: undo.as_ref(),
        delegate: Some(&delegate),
        limits,
        run_deadline: None,
        plan: scene.plan,
        request: scene.request,
        step: &step,
        attempt,
        seed: scene.seed,
        start_time: scene.start_time,
    };
    let call = match Prepared::new(&chosen.program, &invocation) {
        Ok(call) => call,
        Err(error) => return Ok(Err(CallError::Invalid(short(&error.to_string())))),
    };
    ctx.gate.delegate(&Event::DelegateBegin(DelegateBegin {
        depth,
        tool: tool.clone(),
        skill: skill.digest,
        input: input.clone(),
        grant: chosen.grant_index as u64,
        rules: chosen.rules.clone(),
    }))?;
    let live = ctx.live.as_ref().map(|caller| {
        let mut live = invoke::live(&invocation, &call, &path);
        live.goes_on_from(caller, own.deadline_ms);
        Box::new(live)
    });
    let gate = ctx.gate.lend(limits);
    let limiter = Limiter::new(limits.memory_bytes);
    let callee = SkillCtx { gate, live, limiter, delegation: inner, instantiate: Duration::ZERO };
    // On the heap: the caller's stack is that of a guest.
    let ended = Box::pin(run(scene.engine, &chosen.program, &call, callee, limits)).await;
    let ctx = store.data_mut();
    ctx.gate.recover();
    let Ended { mut outcome, fuel: used, memory_bytes, virtual_ns } = ended?;
    ctx.limiter.called(memory_bytes);
    if let (Some(live), Some(ns)) = (&mut ctx.live, virtual_ns) {
        live.clock.jump_to(ns);
    }
    let is_shared = |limit: LimitKind| match limit {
        LimitKind::Fuel => limits.fuel == fuel,
        LimitKind::HostCalls => limits.host_calls < before.saturating_add(own.host_calls),
        // Counted from the begin of the step, or by the clock.
        LimitKind::Trace | LimitKind::Journal | LimitKind::Deadline | LimitKind::RunDeadline => true,
        _ => false,
    };
    let ends = match &mut outcome {
        Outcome::LimitExceeded { limit, allowed, .. } if is_shared(*limit) => {
            let of_caller = caller.entries().into_iter().find(|(name, _)| *name == limit.name());
            Some(LimitHit::new(*limit, of_caller.map_or(*allowed, |(_, allowed)| allowed)))
        }
        Outcome::LimitExceeded { limit: LimitKind::HostCalls, allowed, .. } => {
            *allowed = own.host_calls;
            None
        }
        _ => None,
    };
    let answer = answer(&outcome);
    let calls = ctx.gate.calls().saturating_sub(before);
    ctx.gate.delegate(&Event::DelegateEnd(DelegateEnd { depth, tool, outcome, calls, fuel: used }))?;
    store.set_fuel(fuel.saturating_sub(used))?;
    match ends {
        Some(hit) => Err(hit.into()),
        None => Ok(answer),
    }
}

/// What the caller is told.
fn answer(outcome: &Outcome) -> std::result::Result<String, CallError> {
    match outcome {
        Outcome::Completed { output } => Ok(canonical::to_string(output)),
        Outcome::Failed { error } => Err(CallError::Failed(canonical::to_string(error))),
        Outcome::LimitExceeded { limit, .. } => Err(CallError::Limit(limit.name().to_owned())),
        Outcome::Trapped { message, .. } => Err(CallError::Trapped(short(message))),
        Outcome::Cancelled | Outcome::Conflict { .. } => Err(CallError::Trapped(outcome.name().to_owned())),
    }
}

/// How a callee ended.
struct Ended {
    outcome: Outcome,
    fuel: u64,
    /// The most in use, that of what it called included.
    memory_bytes: u64,
    /// Where its virtual clock is.
    virtual_ns: Option<u64>,
}

/// Runs the callee. What ends the caller as well is an error; the callee's own deadline is among it, because it comes at no certain place.
async fn run(
    engine: &SandboxEngine,
    program: &Program,
    call: &Prepared<'_>,
    ctx: SkillCtx,
    limits: StepLimits,
) -> Result<Ended> {
    let output = ctx.live.as_ref().map(|live| (live.stdio.stdout.clone(), live.stdio.stderr.clone()));
    let deadline = ctx.live.is_some().then(|| Duration::from_millis(limits.deadline_ms));
    let mut store = engine.store(ctx, &limits)?;
    let returned = {
        let guest = call.run(program, &mut store);
        match deadline {
            None => guest.await,
            Some(deadline) => match tokio::time::timeout(deadline, guest).await {
                Ok(returned) => returned,
                Err(_) => return Err(LimitHit::new(LimitKind::Deadline, limits.deadline_ms).into()),
            },
        }
    };
    let fuel = limits.fuel.saturating_sub(store.get_fuel().unwrap_or_default());
    let SkillCtx { mut gate, live, limiter, .. } = store.into_data();
    let virtual_ns = live.as_ref().and_then(|live| live.clock.virtual_ns());
    invoke::close(live).await;
    gate.recover();
    let outcome = ended(call, returned, output, &mut gate, &limits)?;
    Ok(Ended { outcome: invoke::within(outcome, &limits), fuel, memory_bytes: limiter.peak_bytes(), virtual_ns })
}

fn ended(
    call: &Prepared<'_>,
    returned: Result<Vec<wasmtime::component::Val>>,
    output: Option<(invoke::Written, invoke::Written)>,
    gate: &mut Gate,
    limits: &StepLimits,
) -> Result<Outcome> {
    let error = match returned {
        Ok(values) => {
            let recorded = gate.recorded_end()?;
            return Ok(call.outcome(&values, output, recorded.as_ref()));
        }
        Err(error) => error,
    };
    if error.is::<RecordedEnd>() {
        // Where the record has no end of this call, the step ended inside of it.
        return gate.recorded_end()?.ok_or(error);
    }
    let is_of_host = error.is::<Diverged>()
        || error.is::<TraceFailed>()
        || error.is::<JournalFailed>()
        || error.is::<PoolConcurrencyLimitError>()
        || error.downcast_ref::<LimitHit>().is_some_and(|hit| hit.kind == LimitKind::Deadline);
    if is_of_host {
        return Err(error);
    }
    match classify(error, limits) {
        Stop::Outcome(outcome) => Ok(outcome),
        Stop::Exit(code) => {
            let recorded = gate.recorded_end()?;
            Ok(call.exited(code, output, recorded.as_ref()))
        }
        stop => Err(wasmtime::format_err!("a called tool ended as {stop:?}")),
    }
}

/// Nothing is called where nothing may be.
fn gone() -> wasmtime::Error {
    wasmtime::format_err!("a tool was called that nobody may call")
}

fn short(text: &str) -> String {
    text.chars().take(limits::CALL_ERROR_CHARS_MAX).collect()
}
