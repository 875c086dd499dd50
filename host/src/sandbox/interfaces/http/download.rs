//! The bodies of responses. How a peer and the network cut a body into packets is not the guest's business: what one read answers is
//! gathered up to the length that was asked for, so that the same body gives the same trace.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Sleep, sleep};
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynInputStream;
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::{self as wasi, ErrorCode};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, StreamError, StreamResult};

use crate::limits;
use crate::sandbox::ctx::Live;

/// How a body ended.
enum End {
    Closed,
    Failed(ErrorCode),
    Trap(wasmtime::Error),
}

/// A body as the guest reads it.
///
/// A wait gathers [`limits::HTTP_READ_BYTES`], or the whole rest of the body, or what came within [`limits::HTTP_GATHER_MS`] of the first
/// of it: a peer that sends little and seldom shall be heard. A read that does not wait gives only what a wait has gathered.
struct Download {
    inner: DynInputStream,
    /// What came and was not read yet.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// How much of it a read may give without waiting.
    gathered: usize,
    /// What comes behind `held`.
    end: Option<End>,
    /// Until when is gathered. Kept here because a wait may be given up and begun again.
    until: Option<Pin<Box<Sleep>>>,
}

impl Download {
    fn new(inner: DynInputStream) -> Self {
        Self { inner, held: VecDeque::new(), held_bytes: 0, gathered: 0, end: None, until: None }
    }

    /// Waits until `wanted` bytes are held, the body ended, or it is time to give what there is.
    async fn gather(&mut self, wanted: usize) {
        while self.held_bytes < wanted && self.end.is_none() {
            if self.held_bytes == 0 {
                self.inner.ready().await;
            } else {
                let time = Duration::from_millis(limits::HTTP_GATHER_MS);
                let until = self.until.get_or_insert_with(|| Box::pin(sleep(time)));
                let mut ready = self.inner.ready();
                let in_time = poll_fn(|context| match ready.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(true),
                    Poll::Pending => until.as_mut().poll(context).map(|()| false),
                });
                if !in_time.await {
                    break;
                }
            }
            match self.inner.read(limits::READ_BYTES_MAX) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    self.held_bytes = self.held_bytes.saturating_add(bytes.len());
                    self.held.push_back(bytes);
                }
                Err(StreamError::Closed) => self.end = Some(End::Closed),
                Err(StreamError::LastOperationFailed(error)) => self.end = Some(failed(error)),
                Err(StreamError::Trap(error)) => self.end = Some(End::Trap(error)),
            }
        }
        self.until = None;
    }

    fn take(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.held_bytes == 0 {
            return match self.end.replace(End::Closed) {
                None => {
                    self.end = None;
                    Ok(Bytes::new())
                }
                Some(End::Closed) => Err(StreamError::Closed),
                Some(End::Failed(code)) => Err(StreamError::LastOperationFailed(code.into())),
                Some(End::Trap(error)) => Err(StreamError::Trap(error)),
            };
        }
        let size = size.min(self.held_bytes);
        self.held_bytes = self.held_bytes.saturating_sub(size);
        self.gathered = self.gathered.saturating_sub(size);
        // Most often one piece is enough and is given as it is.
        let mut taken = BytesMut::new();
        let mut left = size;
        while let Some(first) = self.held.front_mut() {
            let whole = first.len() <= left;
            let piece = if whole { std::mem::take(first) } else { first.split_to(left) };
            if whole {
                self.held.pop_front();
            }
            if piece.len() == size {
                return Ok(piece);
            }
            left = left.saturating_sub(piece.len());
            taken.reserve(size);
            taken.extend_from_slice(&piece);
            if left == 0 {
                break;
            }
        }
        Ok(taken.freeze())
    }
}

fn failed(error: wasmtime::Error) -> End {
    match error.downcast::<Error>() {
        Ok(error) => End::Failed(super::send::code_of(error)),
        Err(other) => match other.downcast::<ErrorCode>() {
            Ok(code) => End::Failed(code),
            Err(_) => End::Failed(ErrorCode::HttpProtocolError),
        },
    }
}

#[async_trait]
impl Pollable for Download {
    async fn ready(&mut self) {
        if self.gathered > 0 || (self.held_bytes == 0 && self.end.is_some()) {
            return;
        }
        self.gather(limits::HTTP_READ_BYTES).await;
        self.gathered = self.held_bytes.min(limits::HTTP_READ_BYTES);
    }
}

#[async_trait]
impl InputStream for Download {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let size = size.min(self.gathered);
        if size == 0 && self.held_bytes > 0 {
            return Ok(Bytes::new());
        }
        self.take(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            self.ready().await;
            return Ok(Bytes::new());
        }
        let size = size.min(limits::HTTP_READ_BYTES);
        self.gather(size).await;
        self.take(size)
    }
}

impl Live {
    pub(super) fn body_stream(
        &mut self,
        body: Resource<wasi::IncomingBody>,
    ) -> Result<Result<Resource<DynInputStream>, ()>> {
        let Ok(stream) = wasi::HostIncomingBody::stream(&mut self.http(), body)? else { return Ok(Err(())) };
        let slot = self.table.get_mut(&stream)?;
        let inner = std::mem::replace(slot, Box::new(ClosedInputStream));
        *slot = Box::new(Download::new(inner));
        Ok(Ok(stream))
    }
}
