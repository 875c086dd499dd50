//! `skillhost:skill`: what the host offers beside WASI. `context`, `log`, `request` and `tools` in this version.

use std::sync::Arc;

use wasmtime::Result;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Own;
use crate::clock;
use crate::context::RequestContext;
use crate::limits::{self, LimitKind};
use crate::sandbox::bindings::skillhost::skill::tools::CallError;
use crate::sandbox::bindings::skillhost::skill::{context, log, request};
use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::delegate;
use crate::sandbox::stop::LimitHit;
use crate::sandbox::table::table;
use crate::sandbox::tape::Begun;
use crate::sandbox::wire::{enumeration, record, variant};
use crate::skill::OWN_VERSION;

pub(super) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> Result<()> {
    context::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    // The generated binding of this function has no access to the store, so ours takes its place.
    linker.allow_shadowing(true);
    linker.instance(CONTEXT)?.func_wrap("remaining-fuel", remaining_fuel)?;
    linker.allow_shadowing(false);
    log::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    request::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    // Both need the store: a call takes fuel of it.
    let mut tools = linker.instance(TOOLS)?;
    tools.func_wrap("available", available)?;
    tools.func_wrap_async("call", |store, (tool, input): (String, String)| Box::new(call(store, tool, input)))
}

/// The interface as components import it.
const CONTEXT: &str = "skillhost:skill/context@0.1.0";

/// The same of the calls of other tools.
const TOOLS: &str = "skillhost:skill/tools@0.1.0";

/// What a skill may know of its step.
#[derive(Debug, Clone, Default)]
pub(crate) struct StepContext {
    pub(crate) plan: String,
    pub(crate) step: String,
    pub(crate) tool: String,
    pub(crate) attempt: u32,
    pub(crate) deadline_ms: u64,
    pub(crate) request: Arc<RequestContext>,
}

/// What a guest logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// When, in milliseconds since 1970. A wall-clock fact.
    pub ts_ms: u64,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// What happened.
    pub event: String,
    /// Its facts.
    pub fields: Vec<(String, String)>,
}

/// The log records of one invocation: as many as are told to whoever asked. The trace has all of them.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    records: Vec<LogRecord>,
    bytes: usize,
    dropped: u64,
}

impl Logs {
    fn add(&mut self, level: &'static str, event: String, fields: Vec<(String, String)>) {
        let bytes = fields.iter().fold(event.len(), |sum, (key, value)| sum.saturating_add(key.len() + value.len()));
        if self.records.len() >= limits::LOGS_KEPT_MAX || self.bytes.saturating_add(bytes) > limits::LOGS_KEPT_BYTES_MAX
        {
            self.dropped += 1;
            return;
        }
        self.bytes += bytes;
        self.records.push(LogRecord { ts_ms: now_ms(), level, event, fields });
    }

    /// What was written to one of the outputs, where anything was.
    pub(crate) fn written(&mut self, output: &str, text: &str) {
        if !text.is_empty() {
            let level = if output == "stderr" { "warn" } else { "info" };
            self.add(level, output.to_owned(), vec![("text".to_owned(), text.to_owned())]);
        }
    }

    /// The records; the last says how many were left out, where some were.
    pub(crate) fn into_records(mut self) -> Vec<LogRecord> {
        if self.dropped > 0 {
            let fields = vec![("count".to_owned(), self.dropped.to_string())];
            self.records.push(LogRecord { ts_ms: now_ms(), level: "warn", event: "logs-dropped".to_owned(), fields });
        }
        self.records
    }
}

fn now_ms() -> u64 {
    u64::try_from(clock::since_epoch().as_millis()).unwrap_or(u64::MAX)
}

impl Live {
    fn current_step(&mut self) -> Result<context::Step> {
        let StepContext { plan, step, tool, attempt, .. } = self.context.clone();
        Ok(context::Step { plan, id: step, tool, attempt })
    }

    fn request_origin(&mut self) -> Result<request::Origin> {
        let RequestContext {
            request_id,
            trace_id,
            tenant_id,
            workspace_id,
            project_id,
            user_id,
            snapshot_id,
            timeout_ms,
            env: _,
        } = (*self.context.request).clone();
        let runtime_version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(request::Origin {
            request_id,
            trace_id,
            tenant_id,
            workspace_id,
            project_id,
            user_id,
            snapshot_id,
            timeout_ms,
            runtime_version,
        })
    }

    fn sdk_version(&mut self) -> Result<String> {
        Ok(OWN_VERSION.to_owned())
    }

    fn no_fuel_here(&mut self) -> Result<u64> {
        Err(wasmtime::format_err!("`remaining-fuel` is linked by hand"))
    }

    fn remaining_time_ms(&mut self) -> Result<u64> {
        Ok(self.context.deadline_ms.saturating_sub(self.elapsed_ms()))
    }

    fn log(&mut self, level: log::Level, event: String, fields: Vec<(String, String)>) -> Result<()> {
        let bytes = fields.iter().fold(event.len(), |sum, (key, value)| sum.saturating_add(key.len() + value.len()));
        if bytes > limits::LOG_RECORD_BYTES_MAX {
            return Err(LimitHit::count(LimitKind::LogRecord, limits::LOG_RECORD_BYTES_MAX).into());
        }
        let level = match level {
            log::Level::Trace => "trace",
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warn => "warn",
            log::Level::Error => "error",
        };
        // The record is the call's event; this is for whoever asked.
        self.logs.add(level, event, fields);
        Ok(())
    }
}

record!(request::Origin {
    "project-id": project_id,
    "request-id": request_id,
    "runtime-version": runtime_version,
    "snapshot-id": snapshot_id,
    "tenant-id": tenant_id,
    "timeout-ms": timeout_ms,
    "trace-id": trace_id,
    "user-id": user_id,
    "workspace-id": workspace_id,
});
record!(context::Step { "attempt": attempt, "id": id, "plan": plan, "tool": tool });
enumeration!(log::Level { "trace": Trace, "debug": Debug, "info": Info, "warn": Warn, "error": Error });

variant!(CallError {
    "not-found": NotFound(message),
    "denied": Denied(message),
    "invalid": Invalid(message),
    "failed": Failed(error),
    "trapped": Trapped(message),
    "limit": Limit(name),
    "too-deep": TooDeep(depth),
});

table! { impl context::Host as "skillhost:skill/context#" via |live| live;
    ours(current_step) fn current = "current"() -> Result<context::Step>;
    ours(no_fuel_here) fn remaining_fuel = "remaining-fuel"() -> Result<u64>;
    ours(remaining_time_ms) fn remaining_time_ms = "remaining-time-ms"() -> Result<u64>;
}

table! { impl request::Host as "skillhost:skill/request#" via |live| live;
    ours(request_origin) fn current = "current"() -> Result<request::Origin>;
    ours(sdk_version) fn sdk_version = "sdk-version"() -> Result<String>;
}

table! { impl log::Host as "skillhost:skill/log#" via |live| live;
    ours(log) fn log = "log"(level "level": log::Level, event "event": String, fields "fields": Vec<(String, String)>) -> Result<()>;
}

/// The one function that needs the store, where fuel is kept.
fn remaining_fuel(mut store: StoreContextMut<'_, SkillCtx>, (): ()) -> Result<(u64,)> {
    const FUNCTION: &str = "skillhost:skill/context#remaining-fuel";
    let fuel = store.get_fuel();
    let ctx = store.data_mut();
    match ctx.gate.begin(FUNCTION, &mut [])? {
        Begun::Recorded(value) => ctx.gate.answer(&value),
        Begun::Live => ctx.gate.end(FUNCTION, fuel),
    }
    .map(|fuel| (fuel,))
}

/// What a call gives the guest.
type Answered = std::result::Result<String, CallError>;

/// Calls another tool. What that does is recorded before the call itself, which is made again in a replay.
async fn call(mut store: StoreContextMut<'_, SkillCtx>, tool: String, input: String) -> Result<(Answered,)> {
    const FUNCTION: &str = "skillhost:skill/tools#call";
    store.data_mut().gate.admit(&mut [("input", &input), ("tool", &tool)])?;
    let answer = delegate::call(&mut store, &tool, &input).await?;
    store.data_mut().gate.made(FUNCTION, &mut [("input", &input), ("tool", &tool)], &answer)?;
    Ok((answer,))
}

fn available(mut store: StoreContextMut<'_, SkillCtx>, (): ()) -> Result<(Vec<String>,)> {
    const FUNCTION: &str = "skillhost:skill/tools#available";
    let ctx = store.data_mut();
    ctx.gate.admit(&mut [])?;
    let tools = delegate::available(ctx);
    ctx.gate.made(FUNCTION, &mut [], &tools)?;
    Ok((tools,))
}
