//! `skillhost:skill`: what the host offers beside WASI. `context`, `log` and `tools` in this version.

use wasmtime::Result;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Own;
use crate::limits::{self, LimitKind};
use crate::sandbox::bindings::skillhost::skill::tools::CallError;
use crate::sandbox::bindings::skillhost::skill::{context, log};
use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::delegate;
use crate::sandbox::stop::LimitHit;
use crate::sandbox::table::table;
use crate::sandbox::tape::Begun;
use crate::sandbox::wire::{enumeration, record, variant};

pub(super) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> Result<()> {
    context::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    // The generated binding of this function has no access to the store, so ours takes its place.
    linker.allow_shadowing(true);
    linker.instance(CONTEXT)?.func_wrap("remaining-fuel", remaining_fuel)?;
    linker.allow_shadowing(false);
    log::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
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
}

impl Live {
    fn current_step(&mut self) -> Result<context::Step> {
        let StepContext { plan, step, tool, attempt, .. } = self.context.clone();
        Ok(context::Step { plan, id: step, tool, attempt })
    }

    fn no_fuel_here(&mut self) -> Result<u64> {
        Err(wasmtime::format_err!("`remaining-fuel` is linked by hand"))
    }

    fn remaining_time_ms(&mut self) -> Result<u64> {
        Ok(self.context.deadline_ms.saturating_sub(self.elapsed_ms()))
    }

    #[expect(clippy::needless_pass_by_value, reason = "the table hands arguments over")]
    fn log(&mut self, _level: log::Level, event: String, fields: Vec<(String, String)>) -> Result<()> {
        let bytes = fields.iter().fold(event.len(), |sum, (key, value)| sum.saturating_add(key.len() + value.len()));
        if bytes > limits::LOG_RECORD_BYTES_MAX {
            return Err(LimitHit::count(LimitKind::LogRecord, limits::LOG_RECORD_BYTES_MAX).into());
        }
        Ok(()) // The record is the call's event.
    }
}

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
