//! `wasi:io`: streams, pollables and errors. The streams are wasmtime-wasi's or ours; waiting is ours, because waiting for a virtual
//! timer moves a clock instead of the wall's.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use wasmtime::Result;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi_io::bindings::wasi::io::{error, poll, streams};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream, StreamError, StreamResult};

use super::Own;
use crate::limits::{self, LimitKind};
use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::stop::LimitHit;
use crate::sandbox::table::{gated, table};
use crate::sandbox::tape::{Answer, get_ok, limit_in, not_an_answer, put_ok, put_trap, unreadable};
use crate::sandbox::wire::{Decode, Encode, Encoder, list};
use crate::trace::TraceSource;

pub(super) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> Result<()> {
    error::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    poll::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    streams::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)
}

/// A stream's last error after it got its handle: what the record and the guest name is the handle.
#[derive(Debug, thiserror::Error)]
#[error("stream error {0}")]
struct Kept(u32);

impl<T: Encode + Decode> Answer for StreamResult<T> {
    fn trap(error: wasmtime::Error) -> Self {
        Err(StreamError::Trap(error))
    }

    fn settle(self, table: &mut ResourceTable) -> Self {
        match self {
            Err(StreamError::LastOperationFailed(error)) => match table.push(error) {
                Ok(handle) => Err(StreamError::LastOperationFailed(Kept(handle.rep()).into())),
                Err(full) => Err(StreamError::Trap(full.into())),
            },
            other => other,
        }
    }

    fn put(self, to: &mut Encoder<'_>) -> std::result::Result<Self, LimitHit> {
        match &self {
            Ok(value) => put_ok(value, to),
            Err(StreamError::Closed) => to.raw(b"{\"err\":{\"tag\":\"closed\"}}"),
            Err(StreamError::LastOperationFailed(error)) => {
                to.raw(b"{\"err\":{\"tag\":\"last-operation-failed\",\"val\":");
                error.downcast_ref::<Kept>().map_or(0, |kept| kept.0).encode(to);
                to.raw(b"}}");
            }
            Err(StreamError::Trap(error)) => match limit_in(error) {
                Some(limit) => return Err(limit),
                None => put_trap(error, to),
            },
        }
        Ok(self)
    }

    fn get(value: &Value, blobs: &mut dyn TraceSource) -> Self {
        if let Some(ok) = get_ok(value, blobs).map_err(StreamError::Trap)? {
            return Ok(ok);
        }
        let error = value.get("err").and_then(|error| Some((error.get("tag")?.as_str()?, error.get("val"))));
        match error {
            Some(("closed", None)) => Err(StreamError::Closed),
            Some(("last-operation-failed", Some(handle))) => {
                let handle =
                    u32::decode(handle, blobs).map_err(|error| StreamError::Trap(unreadable(&error).into()))?;
                Err(StreamError::LastOperationFailed(Kept(handle).into()))
            }
            _ => Err(StreamError::Trap(not_an_answer(value))),
        }
    }
}

impl streams::Host for SkillCtx {
    fn convert_stream_error(&mut self, error: StreamError) -> Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(error) => {
                let Kept(handle) = error.downcast()?;
                Ok(streams::StreamError::LastOperationFailed(Resource::new_own(handle)))
            }
            StreamError::Trap(error) => Err(error),
        }
    }
}

type Input = Resource<DynInputStream>;
type Output = Resource<DynOutputStream>;
type Pollable = Resource<DynPollable>;
list!(Pollable);

/// A guest must not choose how much the host allocates for one read.
fn read_len(len: u64) -> u64 {
    len.min(limits::READ_BYTES_MAX as u64)
}

impl Live {
    fn stream_read(&mut self, stream: Input, len: u64) -> StreamResult<Vec<u8>> {
        streams::HostInputStream::read(&mut self.table, stream, read_len(len))
    }

    async fn stream_blocking_read(&mut self, stream: Input, len: u64) -> StreamResult<Vec<u8>> {
        streams::HostInputStream::blocking_read(&mut self.table, stream, read_len(len)).await
    }

    fn stream_skip(&mut self, stream: Input, len: u64) -> StreamResult<u64> {
        streams::HostInputStream::skip(&mut self.table, stream, read_len(len))
    }

    async fn stream_blocking_skip(&mut self, stream: Input, len: u64) -> StreamResult<u64> {
        streams::HostInputStream::blocking_skip(&mut self.table, stream, read_len(len)).await
    }

    fn stream_splice(&mut self, to: Output, from: Input, len: u64) -> StreamResult<u64> {
        streams::HostOutputStream::splice(&mut self.table, to, from, read_len(len))
    }

    async fn stream_blocking_splice(&mut self, to: Output, from: Input, len: u64) -> StreamResult<u64> {
        streams::HostOutputStream::blocking_splice(&mut self.table, to, from, read_len(len)).await
    }

    fn drop_pollable(&mut self, pollable: Pollable) -> Result<()> {
        self.timers.remove(&pollable.rep());
        poll::HostPollable::drop(&mut self.table, pollable)
    }

    async fn pollable_block(&mut self, pollable: Pollable) -> Result<()> {
        self.poll(vec![pollable]).await.map(|_| ())
    }

    async fn pollable_ready(&mut self, pollable: Pollable) -> Result<bool> {
        match (self.timers.get(&pollable.rep()), self.clock.virtual_ns()) {
            (Some(&when), Some(now)) => Ok(when <= now),
            _ if self.http.is_reachable() => {
                // A guest that asks again and again would otherwise keep the thread on which exchanges move.
                tokio::task::yield_now().await;
                poll::HostPollable::ready(&mut self.table, pollable).await
            }
            _ => poll::HostPollable::ready(&mut self.table, pollable).await,
        }
    }

    /// Waits for one of `pollables`. Virtual timers that are due count as ready; where nothing is ready and only timers are waited for,
    /// the virtual clock jumps to the first of them; beside other pollables the wait is real, at most as long as the first timer.
    async fn poll(&mut self, pollables: Vec<Pollable>) -> Result<Vec<u32>> {
        if pollables.len() > limits::POLLABLES_MAX {
            return Err(LimitHit::count(LimitKind::Pollables, limits::POLLABLES_MAX).into());
        }
        let Some(now) = self.clock.virtual_ns() else {
            return poll::Host::poll(&mut self.table, pollables).await;
        };
        let mut ready = BTreeSet::new();
        let mut first_timer: Option<u64> = None;
        let mut others = Vec::new();
        for (index, pollable) in (0_u32..).zip(&pollables) {
            match self.timers.get(&pollable.rep()) {
                Some(&when) if when <= now => {
                    ready.insert(index);
                }
                Some(&when) => first_timer = Some(first_timer.map_or(when, |first| first.min(when))),
                None => {
                    let again = Resource::new_borrow(pollable.rep());
                    if poll::HostPollable::ready(&mut self.table, again).await? {
                        ready.insert(index);
                    }
                    others.push(index);
                }
            }
        }
        if !ready.is_empty() || pollables.is_empty() {
            return if pollables.is_empty() {
                Err(wasmtime::format_err!("empty poll list"))
            } else {
                Ok(ready.into_iter().collect())
            };
        }
        if let Some(when) = first_timer {
            let waited = if others.is_empty() { None } else { self.wait(&pollables, &others, when - now).await? };
            if let Some(ready) = waited {
                return Ok(ready);
            }
            self.clock.jump_to(when);
            let due = |pollable: &Pollable| self.timers.get(&pollable.rep()).is_some_and(|&at| at <= when);
            return Ok((0_u32..)
                .zip(&pollables)
                .filter(|(_, pollable)| due(pollable))
                .map(|(index, _)| index)
                .collect());
        }
        poll::Host::poll(&mut self.table, pollables).await
    }

    /// Waits really for one of the pollables at `others`, at most for `ns`.
    async fn wait(&mut self, pollables: &[Pollable], others: &[u32], ns: u64) -> Result<Option<Vec<u32>>> {
        let at = |index: &u32| pollables.get(usize::try_from(*index).unwrap_or(usize::MAX));
        let handles = others.iter().filter_map(at).map(|pollable| Resource::new_borrow(pollable.rep())).collect();
        let waiting = poll::Host::poll(&mut self.table, handles);
        match tokio::time::timeout(Duration::from_nanos(ns), waiting).await {
            Ok(ready) => {
                let index = |of: u32| others.get(usize::try_from(of).unwrap_or(usize::MAX)).copied();
                Ok(Some(ready?.into_iter().filter_map(index).collect()))
            }
            Err(_elapsed) => Ok(None),
        }
    }
}

impl poll::Host for SkillCtx {
    async fn poll(&mut self, pollables: Vec<Pollable>) -> Result<Vec<u32>> {
        gated!(self, "wasi:io/poll#poll", [pollables "in"], |live| live.poll(pollables).await)
    }
}

table! { impl poll::HostPollable as "wasi:io/poll#" via |live| live.table;
    ours(pollable_ready) async fn ready = "[method]pollable.ready"(this "self": Pollable) -> Result<bool>;
    ours(pollable_block) async fn block = "[method]pollable.block"(this "self": Pollable) -> Result<()>;
    ours(drop_pollable) fn drop = "[resource-drop]pollable"(this "self": Pollable) -> Result<()>;
}

impl error::Host for SkillCtx {}
table! { impl error::HostError as "wasi:io/error#" via |live| live.table;
    wasi fn to_debug_string = "[method]error.to-debug-string"(this "self": Resource<error::Error>) -> Result<String>;
    wasi fn drop = "[resource-drop]error"(this "self": Resource<error::Error>) -> Result<()>;
}

table! { impl streams::HostInputStream as "wasi:io/streams#" via |live| live.table;
    ours(stream_read) fn read = "[method]input-stream.read"(this "self": Input, len "len": u64) -> StreamResult<Vec<u8>>;
    ours(stream_blocking_read) async fn blocking_read = "[method]input-stream.blocking-read"(this "self": Input, len "len": u64) -> StreamResult<Vec<u8>>;
    ours(stream_skip) fn skip = "[method]input-stream.skip"(this "self": Input, len "len": u64) -> StreamResult<u64>;
    ours(stream_blocking_skip) async fn blocking_skip = "[method]input-stream.blocking-skip"(this "self": Input, len "len": u64) -> StreamResult<u64>;
    wasi fn subscribe = "[method]input-stream.subscribe"(this "self": Input) -> Result<Pollable>;
    wasi async fn drop = "[resource-drop]input-stream"(this "self": Input) -> Result<()>;
}

table! { impl streams::HostOutputStream as "wasi:io/streams#" via |live| live.table;
    wasi fn check_write = "[method]output-stream.check-write"(this "self": Output) -> StreamResult<u64>;
    wasi fn write = "[method]output-stream.write"(this "self": Output, contents "contents": Vec<u8>) -> StreamResult<()>;
    wasi async fn blocking_write_and_flush = "[method]output-stream.blocking-write-and-flush"(this "self": Output, contents "contents": Vec<u8>) -> StreamResult<()>;
    wasi fn flush = "[method]output-stream.flush"(this "self": Output) -> StreamResult<()>;
    wasi async fn blocking_flush = "[method]output-stream.blocking-flush"(this "self": Output) -> StreamResult<()>;
    wasi fn subscribe = "[method]output-stream.subscribe"(this "self": Output) -> Result<Pollable>;
    wasi fn write_zeroes = "[method]output-stream.write-zeroes"(this "self": Output, len "len": u64) -> StreamResult<()>;
    wasi async fn blocking_write_zeroes_and_flush = "[method]output-stream.blocking-write-zeroes-and-flush"(this "self": Output, len "len": u64) -> StreamResult<()>;
    ours(stream_splice) fn splice = "[method]output-stream.splice"(this "self": Output, src "src": Input, len "len": u64) -> StreamResult<u64>;
    ours(stream_blocking_splice) async fn blocking_splice = "[method]output-stream.blocking-splice"(this "self": Output, src "src": Input, len "len": u64) -> StreamResult<u64>;
    wasi async fn drop = "[resource-drop]output-stream"(this "self": Output) -> Result<()>;
}
