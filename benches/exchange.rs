//! The floor of an HTTP exchange: the same guest on bare wasmtime-wasi-http, with hyper and nothing else between it and the server: no
//! policy, no check of addresses, no bound, no record.

use std::future::Future;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use skillhost::clock::Stopwatch;
use tokio::net::TcpStream;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable, Val};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

/// Connects and sends.
struct Direct;

type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Worker), Error>;

impl WasiHttpHooks for Direct {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _ended: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async move {
            let stream =
                TcpStream::connect(request.uri().authority().unwrap().as_str()).await.map_err(Error::Connect)?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let connection = tokio::spawn(connection);
            *request.uri_mut() = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
            let response = sender.send_request(request).await?;
            let worker: Worker = Box::new(async move {
                // The connection closes behind its one response.
                let _ended = connection.await;
                Ok(())
            });
            Ok((response.map(|body| body.map_err(Error::from).boxed_unsync()), worker))
        })
    }
}

struct Bare {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Direct,
}

impl WasiView for Bare {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Bare {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Bare wasmtime-wasi-http with one component.
pub struct HttpFloor {
    engine: Engine,
    pre: InstancePre<Bare>,
    runtime: tokio::runtime::Runtime,
}

impl HttpFloor {
    /// Compiles and links.
    pub fn new(component: &[u8]) -> Self {
        let engine = Engine::new(&crate::bare_config()).unwrap();
        let component = Component::new(&engine, component).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { engine, pre, runtime }
    }

    /// One fresh store and instance, one call; the time of all of it.
    pub fn call(&self, function: &str, arguments: &[Val]) -> Duration {
        let started = Stopwatch::start();
        let bare = Bare {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            hooks: Direct,
        };
        crate::call_once(&self.engine, &self.pre, &self.runtime, bare, (function, arguments));
        started.elapsed()
    }
}
