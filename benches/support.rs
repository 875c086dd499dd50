//! What the benches share: the guests, our host over them, and the floor: the same component on bare wasmtime-wasi with the same engine
//! options and a pool, without policy, limits, record or virtual time.

pub mod exchange;
pub mod guests;
pub mod index;
pub mod protocol;
pub mod rules;
pub mod transactions;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use skillhost::clock::Stopwatch;
use skillhost::durability::Durability;
use skillhost::skills::SkillBytes;
use skillhost::{CompiledCode, PlanDocument, PlanFormat, PolicyDocument, Report, RunOptions, SkillHost};
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable, Val};
use wasmtime::{Config, Engine, PoolingAllocationConfig, Store};
use wasmtime_wasi::filesystem::FsPerms;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Grants the measured guest one directory and limits that no bench reaches.
const POLICY: &str = r#"
schema = "skillhost.policy/1"
[limits]
fuel = 9_000_000_000_000
deadline_ms = 600_000
host_calls = 100_000_000
[[grant]]
skills = ["*"]
tools = ["add", "clock"]
[[grant]]
skills = ["*"]
tools = ["*"]
filesystem = [{ host = "{workspace}", guest = "/workspace", access = "read-write" }]
"#;

/// Our host with one guest, in a folder of its own.
pub struct Ours {
    host: SkillHost,
    /// State and workspace; gone when dropped.
    pub folder: tempfile::TempDir,
}

impl Ours {
    /// A host that knows `wat` as the skill `guest`. What it records is with the operating system, not on the disk: that is measured by itself.
    pub fn new(wat: &str) -> Self {
        Self::durable(wat, Durability::Buffered)
    }

    /// The same with this durability.
    pub fn durable(wat: &str, durability: Durability) -> Self {
        Self::made(&wat::parse_str(wat).unwrap(), "", durability)
    }

    /// A host that knows `component` as the skill `guest`, with these lines in the grant of all of its tools.
    pub fn with(component: &[u8], grant: &str) -> Self {
        Self::made(component, grant, Durability::Buffered)
    }

    fn made(component: &[u8], grant: &str, durability: Durability) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let component = component.to_vec().into();
        let host = SkillHost::builder()
            .policy(PolicyDocument::parse(&format!("{POLICY}{grant}\n")).unwrap())
            .workspace(folder.path().join("workspace"))
            .state(folder.path().join("state"))
            .compiled_code(CompiledCode::in_folder(folder.path().join("code")))
            .durability(durability)
            .skill("guest".parse().unwrap(), SkillBytes::Memory { component, manifest: None })
            .build();
        Self { host, folder }
    }

    /// Runs `plan` and removes the run's folder again, so that a bench does not fill the disk.
    pub fn run(&self, plan: &PlanDocument) -> Report {
        let report = self.keep(plan);
        std::fs::remove_dir_all(&report.folder).unwrap();
        report
    }

    /// Runs `plan` and leaves the run where it is, for what the disk does with files is measured: one that has just had many removed takes
    /// long to make others.
    pub fn keep(&self, plan: &PlanDocument) -> Report {
        let report = self.host.run(plan, &RunOptions::default()).unwrap();
        assert_eq!(report.outcome.name(), "completed", "{:?} {:?}", report.problems, report.failed_step());
        report
    }

    /// The host.
    pub fn host(&self) -> &SkillHost {
        &self.host
    }
}

/// A plan of `steps` steps that call `guest.<tool>` with `input`.
pub fn plan(steps: usize, tool: &str, input: &Value) -> PlanDocument {
    let steps: Vec<Value> =
        (0..steps).map(|n| json!({ "id": format!("s{n}"), "tool": format!("guest.{tool}"), "input": input })).collect();
    let plan = json!({ "schema": "skillhost.plan/1", "name": "bench", "steps": steps });
    PlanDocument::new(plan.to_string(), PlanFormat::Json, "")
}

/// The time a run spent in its steps: what is left out is reading, validating and the final sync.
pub fn in_steps(report: &Report) -> Duration {
    let us = report.phases.iter().find(|(name, _)| *name == "steps").map_or(0, |(_, us)| *us);
    Duration::from_micros(us)
}

/// The state of a bare store.
pub struct Bare {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Bare {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The engine's options that cost something and that ours has too.
fn bare_config() -> Config {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true).cranelift_nan_canonicalization(true);
    let mut pool = PoolingAllocationConfig::new();
    pool.linear_memory_keep_resident(64 << 10).table_keep_resident(4 << 10).async_stack_keep_resident(4 << 10);
    config.allocation_strategy(pool);
    config
}

/// One fresh store and instance, and one call, which may not give an error.
pub(crate) fn call_once<T: Send + 'static>(
    engine: &Engine,
    pre: &InstancePre<T>,
    runtime: &tokio::runtime::Runtime,
    state: T,
    (function, arguments): (&str, &[Val]),
) {
    let mut store = Store::new(engine, state);
    store.set_fuel(9_000_000_000_000).unwrap();
    store.set_epoch_deadline(u64::MAX / 2);
    runtime.block_on(async {
        let instance = pre.instantiate_async(&mut store).await.unwrap();
        let function = instance.get_func(&mut store, function).unwrap();
        let mut results = [Val::Bool(false)];
        function.call_async(&mut store, arguments, &mut results).await.unwrap();
        assert!(!matches!(&results[0], Val::Result(Err(_))), "{results:?}");
    });
}

/// Bare wasmtime-wasi with one component.
pub struct Floor {
    engine: Engine,
    pre: InstancePre<Bare>,
    runtime: tokio::runtime::Runtime,
}

impl Floor {
    /// Compiles and links `wat`.
    pub fn new(wat: &str) -> Self {
        let engine = Engine::new(&bare_config()).unwrap();
        let component = Component::new(&engine, wat::parse_str(wat).unwrap()).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { engine, pre, runtime }
    }

    /// One fresh store and instance, one call; the time of all of it.
    pub fn call(&self, function: &str, arguments: &[Val], directory: Option<&Path>) -> Duration {
        let started = Stopwatch::start();
        let mut wasi = WasiCtx::builder();
        wasi.allow_blocking_current_thread(true);
        if let Some(directory) = directory {
            wasi.preopened_dir(directory, "/workspace", FsPerms::ReadWrite).unwrap();
        }
        let bare = Bare { wasi: wasi.build(), table: ResourceTable::new() };
        call_once(&self.engine, &self.pre, &self.runtime, bare, (function, arguments));
        started.elapsed()
    }
}

/// The middle one.
pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
