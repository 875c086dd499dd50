//! The record of a run: events in one total order, canonical JSON lines, chained by sha256. What is written here can be verified,
//! compared and replayed on another machine.
//!
//! Owns the events and their encoding (`docs/trace-format.md`), the blob store of a run and the reading of traces that may be torn,
//! edited or newer than this program. Never holds a wall-clock fact: those are in `timing.jsonl`, keyed by `seq`, outside the chain.

pub mod blob;
pub mod committed;
pub mod diff;
mod encode;
pub mod event;
pub mod flow;
mod form;
pub mod line;
pub mod reader;
pub mod recorder;
pub mod redact;
pub mod replay;
#[cfg(test)]
pub(crate) mod samples;
mod scan;
pub mod show;
pub mod verify;

use std::any::Any;
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::id::Digest;

pub use form::schema as event_schema;

/// The schema name of traces that this version writes and reads.
pub const SCHEMA: &str = "skillhost.trace/1";
/// The name of the trace in a run's folder.
pub const TRACE_FILE: &str = "trace.jsonl";
/// The name of the folder of blobs in a run's folder.
pub const BLOBS_FOLDER: &str = "blobs";

/// A host call as the sandbox hands it over, both sides already canonical JSON.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The function with its interface in WIT spelling, without version: `wasi:filesystem/types#[method]descriptor.write`.
    pub function: &'a str,
    /// An object of the parameters by their WIT names.
    pub params: &'a [u8],
    /// `{"ok": …}`, `{"err": …}` or `{"trap": …}`.
    pub result: &'a [u8],
}

/// A host call read back.
#[derive(Debug, Clone)]
pub struct RecordedCall {
    /// The event's number.
    pub seq: u64,
    /// As in [`Call::function`].
    pub function: String,
    /// As in [`Call::params`].
    pub params: Vec<u8>,
    /// [`Call::result`], parsed.
    pub result: Value,
}

/// Where the sandbox puts host calls while it records.
pub trait TraceSink: Any + Send {
    /// Appends one host call.
    ///
    /// # Errors
    ///
    /// [`TraceError`] when the event cannot be stored; the run must fail then.
    fn call(&mut self, call: Call<'_>) -> Result<(), TraceError>;

    /// Appends the begin or the end of a call of another tool.
    ///
    /// # Errors
    ///
    /// As for [`Self::call`].
    fn delegated(&mut self, event: &event::Event) -> Result<(), TraceError>;

    /// Keeps `bytes` so that a later replay can hand them to the guest.
    ///
    /// # Errors
    ///
    /// [`TraceError`] when they cannot be stored.
    fn blob(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), TraceError>;

    /// Bytes of trace and blobs taken since the step began.
    fn bytes_in_step(&self) -> u64;
}

/// Where the sandbox takes host calls from while it replays one step.
pub trait TraceSource: Any + Send {
    /// The next host call of the step, or `None` when the step has no more.
    ///
    /// # Errors
    ///
    /// [`TraceError`] when the trace cannot be read.
    fn next_call(&mut self) -> Result<Option<RecordedCall>, TraceError>;

    /// Where a call of another tool begins or ends next, that event and its number, without taking it.
    ///
    /// # Errors
    ///
    /// [`TraceError`] when the trace cannot be read.
    fn delegated(&mut self) -> Result<Option<(u64, event::Event)>, TraceError>;

    /// Whether a host call comes next.
    ///
    /// # Errors
    ///
    /// As there.
    fn has_call(&mut self) -> Result<bool, TraceError>;

    /// Takes the event that [`Self::delegated`] shows.
    ///
    /// # Errors
    ///
    /// As there.
    fn take_delegated(&mut self) -> Result<(), TraceError>;

    /// The bytes of a blob, checked against the digest.
    ///
    /// # Errors
    ///
    /// [`TraceError::Blob`] when it is missing or is not what the digest says.
    fn blob(&mut self, digest: Digest) -> Result<Vec<u8>, TraceError>;
}

/// Hands `read` the line of one event outside of any chain: `hash` and `prev` mean nothing in it.
///
/// # Errors
///
/// [`TraceError::Event`] when readers would refuse the event.
pub(crate) fn spelled<T>(
    seq: u64,
    event: &event::Event,
    read: impl FnOnce(&line::Line<'_>) -> T,
) -> Result<T, TraceError> {
    let mut bytes = Vec::new();
    encode::event(&mut bytes, seq, &encode::FIRST_PREV, event);
    let refused = |what: &str| TraceError::Event { seq, line: seq.saturating_add(1), what: what.to_owned() };
    let text = String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8"))?;
    let index = line::Index::of(&text).map_err(|fault| refused(fault.what))?;
    Ok(read(&line::Line::new(&text, &index)))
}

/// The last event as messages name it.
fn place(last: Option<u64>) -> String {
    last.map_or_else(|| "its beginning".to_owned(), |seq| format!("event {seq}"))
}

/// Why a trace cannot be written, read or trusted.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Reading or writing failed.
    #[error("cannot {action} {path}")]
    Io {
        /// `read`, `write`, `create` …
        action: &'static str,
        /// The file.
        path: String,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The trace was written by a newer version.
    #[error("the trace has schema `{found}`; this program reads `{expected}`", expected = SCHEMA)]
    Schema {
        /// What the header says.
        found: String,
    },
    /// A line is not a canonical event, or its place in the chain is wrong.
    #[error("event {seq} of the trace (line {line}): {what}")]
    Event {
        /// The first bad seq.
        seq: u64,
        /// Its line in the file, one-based.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// The file ends in the middle of a line: the process was killed while it wrote.
    #[error("the last line is torn after {bytes} bytes; the trace is whole up to {}", place(*last_whole))]
    Torn {
        /// The last whole event, if there is one.
        last_whole: Option<u64>,
        /// The length of the torn line.
        bytes: u64,
    },
    /// The trace ends without a `run-end`.
    #[error("the trace ends after {} without a `run-end`", place(*last))]
    Truncated {
        /// The last event, if there is one.
        last: Option<u64>,
    },
    /// A blob is missing or is not what its digest says.
    #[error("blob {digest}: {what}")]
    Blob {
        /// The digest under which it is stored.
        digest: Digest,
        /// What is wrong.
        what: String,
    },
}

impl TraceError {
    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull => "free some space on the disk and run again".to_owned(),
                io::ErrorKind::NotFound => "check the path; `host runs` lists the runs there are".to_owned(),
                _ => return None,
            },
            Self::Schema { .. } => "read it with the version of the host that wrote it, or a newer one".to_owned(),
            Self::Event { .. } => {
                "the trace was edited or damaged: compare it with a copy, or run the plan again".to_owned()
            }
            Self::Torn { .. } | Self::Truncated { .. } => {
                "the run did not end: what is there can be shown, and the plan can be run again".to_owned()
            }
            Self::Blob { .. } => "copy the run's folder again from where it was recorded, `blobs` included".to_owned(),
        })
    }
}

/// Makes an I/O error that says what was done to which file.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TraceError {
    let path = path.display().to_string();
    move |source| TraceError::Io { action, path, source }
}
