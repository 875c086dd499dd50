//! The bodies of requests. What a guest is told while it writes one follows from what it wrote, not from how fast the peer reads: it may
//! write a window of bytes, then has to wait until all of it was taken.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::Notify;
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi::p2::pipe::ClosedOutputStream;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::{self as wasi, ErrorCode};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamError, StreamResult};

use super::{Body as OutgoingBody, Request};
use crate::limits::{self, LimitKind};
use crate::sandbox::ctx::Live;
use crate::sandbox::stop::LimitHit;

/// What a write costs of the window at the least: its bytes are not all that the host keeps of it.
const WRITE_COST: usize = 256;

/// Writes that a window has room for.
pub(super) const CHUNKS_MAX: usize = limits::HTTP_WINDOW_BYTES / WRITE_COST + 1;

/// The bytes of a step that were written into requests which are not sent yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Unsent(Arc<AtomicU64>);

/// How far one body is.
#[derive(Debug)]
pub(super) struct Progress {
    state: Mutex<State>,
    taken: Notify,
    unsent: Unsent,
}

#[derive(Debug, Default)]
struct State {
    /// The request's `content-length`.
    expected: Option<u64>,
    written: u64,
    taken: u64,
    /// The request was handed to the network, or dropped.
    let_go: bool,
    /// Nobody takes any more.
    closed: bool,
}

impl State {
    /// Whether the peer went before it had all. One that has all that was announced may go.
    fn is_broken(&self) -> bool {
        self.closed && self.expected != Some(self.taken)
    }
}

impl Progress {
    fn new(expected: Option<u64>, unsent: Unsent) -> Self {
        Self { state: Mutex::new(State { expected, ..State::default() }), taken: Notify::new(), unsent }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The request is no longer the guest's.
    pub(super) fn hand_over(&self) {
        let written = self.with(|state| if std::mem::replace(&mut state.let_go, true) { 0 } else { state.written });
        self.unsent.0.fetch_sub(written, Ordering::Relaxed);
    }

    /// The bytes that were written, where they are more than were announced.
    pub(super) fn overrun(&self) -> Option<u64> {
        self.with(|state| state.expected.is_some_and(|expected| state.written > expected).then_some(state.written))
    }

    /// Counts `len` bytes before they are written.
    fn write(&self, len: u64) -> StreamResult<()> {
        let waits = self.with(|state| {
            state.written = state.written.saturating_add(len);
            !state.let_go
        });
        if waits {
            let unsent = self.unsent.0.fetch_add(len, Ordering::Relaxed).saturating_add(len);
            if unsent > limits::HTTP_UNSENT_BYTES_MAX {
                let hit = LimitHit::new(LimitKind::HttpUnsent, limits::HTTP_UNSENT_BYTES_MAX);
                return Err(StreamError::Trap(hit.into()));
            }
        }
        Ok(())
    }

    /// Waits until everything written was taken, or nobody takes any more.
    async fn drained(&self) {
        loop {
            // Made before looking, so that what happens in between is not missed.
            let taken = self.taken.notified();
            if self.with(|state| state.closed || state.taken >= state.written) {
                return;
            }
            taken.await;
        }
    }
}

/// The body as the connection takes it.
struct Taken {
    body: HyperOutgoingBody,
    progress: Arc<Progress>,
}

impl Body for Taken {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            self.progress.with(|state| state.taken = state.taken.saturating_add(bytes.len() as u64));
            self.progress.taken.notify_waiters();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.progress.with(|state| state.closed = true);
        self.progress.taken.notify_waiters();
    }
}

/// The body as the guest writes it.
struct Upload {
    inner: DynOutputStream,
    /// What is left of the window.
    permit: usize,
    progress: Arc<Progress>,
}

#[async_trait]
impl Pollable for Upload {
    async fn ready(&mut self) {
        if self.permit == 0 {
            self.progress.drained().await;
            self.permit = limits::HTTP_WINDOW_BYTES;
        }
    }
}

#[async_trait]
impl OutputStream for Upload {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.permit {
            return Err(StreamError::trap("more was written than `check-write` permits"));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.permit = self.permit.saturating_sub(bytes.len().max(WRITE_COST));
        self.progress.write(bytes.len() as u64)?;
        let written = self.inner.write(bytes);
        match self.progress.overrun() {
            Some(written) => {
                let code = ErrorCode::HttpRequestBodySize(Some(written));
                Err(StreamError::LastOperationFailed(code.into()))
            }
            None => written,
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        // Nothing is kept back: what was written is with the connection.
        self.check_write().map(|_| ())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.progress.with(|state| state.is_broken()) { Err(StreamError::Closed) } else { Ok(self.permit) }
    }
}

impl Live {
    pub(super) fn request_body(&mut self, request: Request) -> Result<Result<Resource<wasi::OutgoingBody>, ()>> {
        let handle = request.rep();
        let same = Resource::new_borrow(handle);
        let Ok(body) = wasi::HostOutgoingRequest::body(&mut self.http(), request)? else { return Ok(Err(())) };
        let request: &mut wasi::OutgoingRequest = self.table.get_mut(&same)?;
        let length = request.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let progress = Arc::new(Progress::new(length, self.http.unsent.clone()));
        if let Some(inner) = request.body.take() {
            request.body = Some(Taken { body: inner, progress: Arc::clone(&progress) }.boxed_unsync());
        }
        self.http.requests.insert(handle, Arc::clone(&progress));
        self.http.bodies.insert(body.rep(), progress);
        Ok(Ok(body))
    }

    pub(super) fn body_write(&mut self, body: OutgoingBody) -> Result<Result<Resource<DynOutputStream>, ()>> {
        let progress = self.http.bodies.get(&body.rep()).cloned();
        let Ok(stream) = wasi::HostOutgoingBody::write(&mut self.http(), body)? else { return Ok(Err(())) };
        if let Some(progress) = progress {
            let slot = self.table.get_mut(&stream)?;
            let inner = std::mem::replace(slot, Box::new(ClosedOutputStream));
            *slot = Box::new(Upload { inner, permit: limits::HTTP_WINDOW_BYTES, progress });
        }
        Ok(Ok(stream))
    }
}
