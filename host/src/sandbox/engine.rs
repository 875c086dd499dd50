//! The engine: every option that matters is written out, so that an upgrade cannot change one silently, and only what can be replayed
//! is switched on.

use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy, WasmBacktraceDetails,
};

use crate::clock;
use crate::id::Digest;
use crate::limits;
use crate::sandbox::ctx::SkillCtx;
use crate::sandbox::interfaces;
use crate::sandbox::program::{Links, PerLinks};
use crate::sandbox::runtime::Idle;

/// The time between two epochs: how late a spinning guest notices its deadline. 10 ms costs a hundred wake-ups a second while a run
/// is under way and none otherwise.
const EPOCH: Duration = Duration::from_millis(10);

/// Components that may be instantiated at one time: [`limits::PARALLEL_MAX`] steps, each with what it calls. Address space is reserved for each, memory only for what is used.
const POOL_INSTANCES: u32 = 64;
/// Core memories of all of them.
const POOL_MEMORIES: u32 = 256;
/// Linear memory that stays mapped between two invocations of a slot and is cleared by writing zeros. Clearing a megabyte takes longer
/// than everything else about a small step; this much is less than the system call that it saves.
const KEEP_RESIDENT_BYTES: usize = 64 << 10;
/// Address space beyond a memory on demand, so that one that grows is not moved each time.
const GROWTH_BYTES: u64 = 1 << 20;
/// The metadata of one instance; language interpreters have the largest.
const INSTANCE_BYTES: usize = 16 << 20;

/// The engine and the linker, made once, with the ticker that drives epochs while a step runs.
pub(crate) struct SandboxEngine {
    pub(crate) engine: Engine,
    linker: Linker<SkillCtx>,
    /// The same with more, made when the first program may have it.
    linkers: PerLinks<Linker<SkillCtx>>,
    ticker: Ticker,
    /// The runtime that is kept between runs.
    pub(crate) idle: Idle,
    /// How instances get their memory.
    pub(crate) allocation: Allocation,
}

/// How instances get their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Allocation {
    /// From a pool of address space that is reserved at the start. Accesses are checked by the processor.
    #[default]
    Pool,
    /// When it is needed and as much as is needed, for a process that has little address space. Accesses are checked by code.
    OnDemand,
}

impl Allocation {
    /// Whether inaccessible pages around a memory spare the code its checks.
    pub(crate) const fn is_guarded(self) -> bool {
        matches!(self, Self::Pool)
    }

    /// The one for which that holds.
    pub(crate) const fn guarded(is_guarded: bool) -> Self {
        if is_guarded { Self::Pool } else { Self::OnDemand }
    }
}

impl std::fmt::Debug for SandboxEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SandboxEngine").finish_non_exhaustive()
    }
}

impl SandboxEngine {
    /// Makes the engine and links every wrapped interface.
    ///
    /// # Errors
    ///
    /// What wasmtime says: the CPU lacks a feature, or there is no memory at all.
    pub(crate) fn new() -> wasmtime::Result<Self> {
        Self::allocating(Allocation::Pool).or_else(|_| Self::allocating(Allocation::OnDemand))
    }

    pub(crate) fn allocating(allocation: Allocation) -> wasmtime::Result<Self> {
        let mut config = config(allocation);
        if allocation == Allocation::Pool {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        }
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        interfaces::add_to_linker(&mut linker)?;
        let ticker = Ticker::start(&engine)?;
        Ok(Self { engine, linker, linkers: PerLinks::default(), ticker, idle: Idle::default(), allocation })
    }

    /// What a program is linked with.
    pub(crate) fn linker(&self, links: Links) -> wasmtime::Result<&Linker<SkillCtx>> {
        if links == Links::NONE {
            return Ok(&self.linker);
        }
        self.linkers.get_or_make(links, || {
            let mut linker = self.linker.clone();
            if links.http {
                interfaces::add_http_to_linker(&mut linker)?;
            }
            if links.sockets {
                interfaces::add_sockets_to_linker(&mut linker)?;
            }
            Ok(linker)
        })
    }

    /// Epochs advance while the guard lives. A run holds one for all of its steps: waking the ticker costs more than a small step.
    pub(crate) fn ticking(&self) -> Ticking<'_> {
        self.ticker.shared.begin();
        Ticking(&self.ticker)
    }
}

/// The engine's version and the digest of its configuration, as a trace header names it. Fuel and behaviour are comparable only where it
/// is equal. It does not depend on the machine: what the compiler does with the CPU's features changes neither.
#[must_use]
pub fn identity() -> &'static str {
    static IDENTITY: LazyLock<String> = LazyLock::new(|| {
        let options = format!("{OPTIONS} stack={} wasi={WASI_VERSION}", limits::GUEST_STACK_BYTES);
        let digest = Digest::of(options.as_bytes()).to_string();
        format!("wasmtime {WASMTIME_VERSION} {}", digest.get(..16).unwrap_or_default())
    });
    &IDENTITY
}

/// The pinned version, as in `Cargo.toml`; a test compares it with `Cargo.lock`.
pub(crate) const WASMTIME_VERSION: &str = "48.0.8";
/// The WASI 0.2 patch version up to which imports are provided.
pub(crate) const WASI_VERSION: &str = "0.2.12";
/// The options of [`config`] that a guest can observe.
const OPTIONS: &str = "cranelift fuel epoch nan-canonical relaxed-simd-deterministic no-threads no-async no-memory64";

/// An engine that compiles for those with this allocation and runs nothing: it reserves no address space.
pub(crate) fn compiling_engine(allocation: Allocation) -> wasmtime::Result<Engine> {
    Engine::new(&config(allocation))
}

/// The options of every engine. What they are for an allocation decides what code is compiled, nothing that a guest can observe.
fn config(allocation: Allocation) -> Config {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift);
    config.cranelift_opt_level(OptLevel::Speed);
    // Determinism: what the specification leaves open is closed.
    config.cranelift_nan_canonicalization(true);
    config.wasm_relaxed_simd(true);
    config.relaxed_simd_deterministic(true);
    config.wasm_simd(true);
    config.wasm_memory64(false);
    // Stops.
    config.consume_fuel(true);
    config.epoch_interruption(true);
    config.max_wasm_stack(limits::GUEST_STACK_BYTES);
    config.async_stack_size(limits::FIBER_STACK_BYTES);
    // Components.
    config.wasm_component_model(true);
    config.wasm_component_model_map(true);
    config.wasm_component_model_fixed_length_lists(true);
    // Errors.
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(limits::BACKTRACE_FRAMES_MAX));
    config.generate_address_map(true);
    // Its default is an environment variable's, and with it a guest's debug information would be read.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    // Speed: instances come from a pool and start copy-on-write.
    config.memory_init_cow(true);
    config.parallel_compilation(true);
    if allocation == Allocation::OnDemand {
        config.memory_reservation(0);
        config.memory_reservation_for_growth(GROWTH_BYTES);
        config.memory_guard_size(0);
        config.memory_may_move(true);
    }
    config
}

fn pool() -> PoolingAllocationConfig {
    let in_u32 = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(POOL_INSTANCES);
    pool.total_core_instances(POOL_MEMORIES * 4);
    pool.total_memories(POOL_MEMORIES);
    pool.total_tables(POOL_MEMORIES * 4);
    pool.total_stacks(POOL_INSTANCES);
    pool.max_component_instance_size(INSTANCE_BYTES);
    pool.max_core_instance_size(INSTANCE_BYTES);
    pool.max_core_instances_per_component(in_u32(limits::INSTANCES_MAX));
    pool.max_memories_per_component(in_u32(limits::INSTANCES_MAX));
    pool.max_tables_per_component(in_u32(limits::INSTANCES_MAX));
    pool.max_memories_per_module(in_u32(limits::INSTANCES_MAX));
    pool.max_tables_per_module(in_u32(limits::INSTANCES_MAX));
    pool.table_elements(limits::TABLE_ELEMENTS_MAX);
    pool.max_memory_size(usize::try_from(limits::MEMORY_BYTES_MAX).unwrap_or(usize::MAX));
    pool.linear_memory_keep_resident(KEEP_RESIDENT_BYTES);
    pool.table_keep_resident(4 << 10);
    pool.async_stack_keep_resident(4 << 10);
    pool
}

/// A thread that advances the engine's epoch while at least one run is under way. It ends with the engine.
struct Ticker {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Ticks>,
    changed: Condvar,
}

#[derive(Default)]
struct Ticks {
    /// How many runs are under way.
    running: usize,
    /// Whether the thread waits for one. Only then it has to be woken, which is a system call: of runs in quick succession hardly any does.
    is_waiting: bool,
    /// Whether the thread shall end.
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ticks> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        let mut ticks = self.lock();
        ticks.running += 1;
        let wakes = std::mem::take(&mut ticks.is_waiting);
        drop(ticks);
        if wakes {
            self.changed.notify_one();
        }
    }

    /// The thread sees it when its pause is over.
    fn end(&self) {
        let mut ticks = self.lock();
        ticks.running = ticks.running.saturating_sub(1);
    }

    /// Waits until a run is under way; `false` where the thread shall end.
    fn wait(&self) -> bool {
        let mut ticks = self.lock();
        while ticks.running == 0 && !ticks.is_over {
            ticks.is_waiting = true;
            ticks = self.changed.wait(ticks).unwrap_or_else(PoisonError::into_inner);
        }
        ticks.is_waiting = false;
        !ticks.is_over
    }
}

impl Ticker {
    fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, seen) = (engine.weak(), Arc::clone(&shared));
        std::thread::Builder::new().name("epochs".to_owned()).spawn(move || {
            while seen.wait() {
                clock::pause(EPOCH);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
        Ok(Self { shared })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_one();
    }
}

/// Keeps epochs advancing.
pub(crate) struct Ticking<'a>(&'a Ticker);

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.shared.end();
    }
}
