//! The state of one invocation: the `T` of its `wasmtime::Store<T>`.

use std::collections::BTreeMap;
use std::time::Duration;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::clock::Stopwatch;
use crate::limits::{self, LimitKind};
use crate::sandbox::delegate::Delegation;
use crate::sandbox::interfaces::{Descriptors, Directory, GuestClock, GuestRandom, Http, Logs, Stdio, StepContext};
use crate::sandbox::own_files::Guard;
use crate::sandbox::stop::LimitHit;
use crate::sandbox::tape::Gate;
use crate::sandbox::undo::Undo;

/// What host functions see: the gate, and in a live run what acts behind it.
#[derive(Debug)]
pub(crate) struct SkillCtx {
    pub(crate) gate: Gate,
    /// `None` in a replay: there is then no directory, clock, randomness or WASI implementation that a missed wrapper could reach.
    pub(crate) live: Option<Box<Live>>,
    pub(crate) limiter: Limiter,
    /// What may be called from here; `None` where nothing is.
    pub(crate) delegation: Option<Box<Delegation>>,
    /// How long it took to make the instance.
    pub(crate) instantiate: Duration,
}

/// What acts in a live run.
pub(crate) struct Live {
    /// Made when the first call needs it: many tools make none.
    wasi: Option<WasiCtx>,
    pub(crate) table: ResourceTable,
    pub(crate) clock: GuestClock,
    pub(crate) random: GuestRandom,
    pub(crate) stdio: Stdio,
    /// What `wasi:config/store` answers.
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) directories: Vec<Directory>,
    pub(crate) descriptors: Descriptors,
    pub(crate) http: Http,
    /// When the virtual timers are due, by pollable.
    pub(crate) timers: BTreeMap<u32, u64>,
    pub(crate) context: StepContext,
    /// What the guest logged.
    pub(crate) logs: Logs,
    pub(crate) started: Stopwatch,
    /// What changes are noted in before they are made.
    pub(crate) undo: Option<Undo>,
    /// What of the host's own is kept off.
    pub(crate) guard: Guard,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("directories", &self.directories)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl Live {
    pub(crate) fn new(
        directories: Vec<Directory>,
        clock: GuestClock,
        random: GuestRandom,
        stdio: Stdio,
        http: Http,
        context: StepContext,
    ) -> Self {
        let mut table = ResourceTable::new();
        // Twice the handles of a guest: pollables and streams keep a hidden entry beside their own.
        table.set_max_capacity(2 * limits::HANDLES_MAX);
        Self {
            wasi: None,
            table,
            clock,
            random,
            stdio,
            config: BTreeMap::new(),
            directories,
            descriptors: Descriptors::default(),
            http,
            timers: BTreeMap::new(),
            context,
            logs: Logs::default(),
            started: Stopwatch::start(),
            undo: None,
            guard: Guard::default(),
        }
    }
}

impl Live {
    /// This is called from where `caller` is: its clock and its time go on, for at most `deadline_ms` of its own.
    pub(crate) fn goes_on_from(&mut self, caller: &Self, deadline_ms: u64) {
        if let Some(ns) = caller.clock.virtual_ns() {
            self.clock.jump_to(ns);
        }
        self.started = caller.started;
        self.context.deadline_ms = caller.context.deadline_ms.min(self.elapsed_ms().saturating_add(deadline_ms));
    }

    /// Milliseconds since the step began, by the clock that the guest has.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        match self.clock.virtual_ns() {
            Some(ns) => ns / 1_000_000,
            None => u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl WasiView for Live {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = || WasiCtx::builder().allow_blocking_current_thread(true).build();
        WasiCtxView { ctx: self.wasi.get_or_insert_with(wasi), table: &mut self.table }
    }
}

/// The error of a host function that would act where nothing may.
pub(crate) fn nothing_acts() -> wasmtime::Error {
    wasmtime::format_err!("a host call would have acted in a replay")
}

/// Bounds linear memory, summed over all memories, and tables. Growth beyond is the end of the step, not an answer to the guest: what a
/// guest does with a failed growth depends on its allocator, and the person who reads the report wants to know the limit.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes_max: u64,
    memory_bytes: u64,
    /// The most that was in use together with what was called.
    peak_bytes: u64,
    table_elements: usize,
}

impl Limiter {
    pub(crate) const fn new(memory_bytes_max: u64) -> Self {
        Self { memory_bytes_max, memory_bytes: 0, peak_bytes: 0, table_elements: 0 }
    }

    /// The linear memory that is in use: memories do not shrink.
    pub(crate) const fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// The most linear memory that was in use, what was called included.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.max(self.memory_bytes)
    }

    /// Something that was called had so much in use.
    pub(crate) fn called(&mut self, peak_bytes: u64) {
        self.peak_bytes = self.peak_bytes.max(self.memory_bytes.saturating_add(peak_bytes));
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let sum = self.memory_bytes.saturating_add(more);
        if sum > self.memory_bytes_max {
            return Err(LimitHit::new(LimitKind::Memory, self.memory_bytes_max).into());
        }
        self.memory_bytes = sum;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.table_elements.saturating_add(desired.saturating_sub(current));
        if sum > limits::TABLE_ELEMENTS_MAX {
            return Err(LimitHit::count(LimitKind::Table, limits::TABLE_ELEMENTS_MAX).into());
        }
        self.table_elements = sum;
        Ok(true)
    }

    fn instances(&self) -> usize {
        limits::INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        limits::INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        limits::INSTANCES_MAX
    }
}
