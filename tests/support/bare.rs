//! Programs under wasmtime's own WASI, with nothing of ours between: what our host is compared with.

use std::path::Path;

use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::sync::Command;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Bytes of stdout and of stderr that are kept. More would be a trap.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// A program, ready to be run.
pub struct Bare {
    engine: Engine,
    linker: Linker<State>,
    component: Component,
}

/// What a program is run with.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Its arguments, the program's name first.
    pub args: &'a [&'a str],
    /// Its variables.
    pub env: &'a [(&'a str, &'a str)],
    /// What it reads.
    pub stdin: &'a str,
    /// A folder that it may read and write, and where it sees it.
    pub folder: (&'a Path, &'a str),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; nothing where it trapped.
    pub exit: Option<u8>,
    /// What it wrote, bytes that are not UTF-8 replaced.
    pub stdout: String,
    /// The same of stderr.
    pub stderr: String,
}

struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: Default::default() }
    }
}

impl Bare {
    /// Compiles a component.
    pub fn new(component: &[u8]) -> Self {
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("WASI is linked");
        wasmtime_wasi_http::p2::add_only_http_to_linker_sync(&mut linker).expect("HTTP is linked");
        let component = Component::new(&engine, component).expect("a component");
        Self { engine, linker, component }
    }

    /// Runs it once.
    pub fn run(&self, start: Start<'_>) -> Ended {
        let (stdout, stderr) = (MemoryOutputPipe::new(OUTPUT_BYTES_MAX), MemoryOutputPipe::new(OUTPUT_BYTES_MAX));
        let mut wasi = WasiCtx::builder();
        wasi.args(start.args).envs(start.env).stdin(MemoryInputPipe::new(start.stdin.to_owned()));
        wasi.stdout(stdout.clone()).stderr(stderr.clone());
        wasi.preopened_dir(start.folder.0, start.folder.1, FsPerms::ReadWrite).expect("the folder is opened");
        let state = State { wasi: wasi.build(), http: WasiHttpCtx::new(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        let command = Command::instantiate(&mut store, &self.component, &self.linker).expect("it is instantiated");
        let exit = match command.wasi_cli_run().call_run(&mut store) {
            Ok(Ok(())) => Some(0),
            Ok(Err(())) => Some(1),
            Err(error) => error.downcast_ref::<I32Exit>().map(|exit| exit.0.try_into().expect("a byte")),
        };
        drop(store);
        let text = |pipe: MemoryOutputPipe| String::from_utf8_lossy(&pipe.contents()).into_owned();
        Ended { exit, stdout: text(stdout), stderr: text(stderr) }
    }
}
