//! Writes a trace. Lines are built in the buffer that goes to the file, so a host call costs its bytes and one sha256, and no allocation.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::blob::BlobStore;
use super::encode::{self, FIRST_PREV, Unsealed};
use super::event::{Event, Kind};
use super::scan::is_shallow;
use super::{Call, TraceError, TraceSink, io_error};
use crate::id::Digest;
use crate::limits;

/// Bytes that are gathered before they go to the operating system.
const BUFFER_BYTES: usize = 128 << 10;
/// What is enough for most traces of which nothing is kept.
const CHAIN_BUFFER_BYTES: usize = 8 << 10;
/// A buffer that one large event has grown beyond this is given back.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// Where a recorder's bytes go.
pub trait Output: Write + Send {
    /// Waits until everything written so far survives a power failure.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn sync(&mut self) -> io::Result<()>;
}

impl Output for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Output for io::Sink {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A trace in memory: clones share their bytes, so one can be kept while a recorder owns the other.
#[derive(Debug, Clone, Default)]
pub struct MemoryOutput(Arc<Mutex<Vec<u8>>>);

impl MemoryOutput {
    /// A copy of what was written so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for MemoryOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for MemoryOutput {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes one trace, event by event.
///
/// * What was appended goes to the operating system before a step begins and when the run ends: `kill -9` loses at most host calls of the
///   step that runs.
/// * After a failure every further append fails: a trace has no holes.
pub struct Recorder {
    output: Box<dyn Output>,
    /// The name of `output` in errors.
    path: String,
    blobs: Option<BlobStore>,
    /// Whole lines that are not yet written.
    buffer: Vec<u8>,
    seq: u64,
    prev: [u8; 64],
    head: Digest,
    bytes_in_step: u64,
    failure: Option<(io::ErrorKind, String)>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("path", &self.path).field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Creates the trace file, which must not exist.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`] when it cannot be created.
    pub fn create(path: &Path, blobs: Option<BlobStore>) -> Result<Self, TraceError> {
        let file = crate::store::create_new_file(path).map_err(io_error("create", path))?;
        Ok(Self::new(Box::new(file), path.display().to_string(), blobs))
    }

    /// Goes on with a trace file of which so much is kept: `events` events in its first `bytes` bytes, of which the last has the hash
    /// `head`. What is behind them is cut off.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`] when it cannot be opened or cut.
    pub fn resume(
        path: &Path,
        blobs: Option<BlobStore>,
        (bytes, events, head): (u64, u64, Digest),
    ) -> Result<Self, TraceError> {
        let opened = File::options().append(true).open(path).and_then(|file| {
            file.set_len(bytes)?;
            file.sync_data()?;
            Ok(file)
        });
        let file = opened.map_err(io_error("write", path))?;
        let mut recorder = Self::new(Box::new(file), path.display().to_string(), blobs);
        (recorder.seq, recorder.prev, recorder.head) = (events, head.to_hex(), head);
        Ok(recorder)
    }

    /// Starts a trace on `output`, called `path` in errors. Without a blob store the bytes of blobs are counted and dropped.
    #[must_use]
    pub fn new(output: Box<dyn Output>, path: impl Into<String>, blobs: Option<BlobStore>) -> Self {
        Self::with_buffer(output, path.into(), blobs, BUFFER_BYTES + (BUFFER_BYTES >> 1))
    }

    fn with_buffer(output: Box<dyn Output>, path: String, blobs: Option<BlobStore>, capacity: usize) -> Self {
        Self {
            output,
            path,
            blobs,
            buffer: Vec::with_capacity(capacity),
            seq: 0,
            prev: FIRST_PREV,
            head: Digest::from_bytes([0; 32]),
            bytes_in_step: 0,
            failure: None,
        }
    }

    /// A trace that is chained and not kept: only its head is of use.
    pub(crate) fn chain_only() -> Self {
        Self::with_buffer(Box::new(io::sink()), "nowhere".to_owned(), None, CHAIN_BUFFER_BYTES)
    }

    /// The number of the next event, and the hash of the last one (zeros where there is none).
    #[must_use]
    pub const fn head(&self) -> (u64, Digest) {
        (self.seq, self.head)
    }

    /// Appends one event and returns its number.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`] when it cannot be written, now or at an earlier event; [`TraceError::Event`] when readers would refuse it
    /// (nested too deeply, or longer than a line may be).
    pub fn append(&mut self, event: &Event) -> Result<u64, TraceError> {
        self.check_usable()?;
        let line_at = self.buffer.len();
        let line = encode::event(&mut self.buffer, self.seq, &self.prev, event);
        let written = self.buffer.get(line_at..).unwrap_or_default();
        if !is_shallow(written) {
            self.buffer.truncate(line_at);
            let what = "nested too deeply".to_owned();
            let error = TraceError::Event { seq: self.seq, line: self.seq + 1, what };
            self.failure = Some((io::ErrorKind::InvalidData, error.to_string()));
            return Err(error);
        }
        #[cfg(debug_assertions)]
        check_readable(written);
        let seq = self.finish(line, line_at)?;
        // The end of a step goes with what comes next, the begin of a step or the run's end: nothing of a guest runs in between.
        if !event.kind().is_inside_of_step() && event.kind() != Kind::StepEnd {
            self.flush()?;
        }
        if event.kind() == Kind::StepBegin {
            self.bytes_in_step = 0;
        }
        Ok(seq)
    }

    /// Gives everything appended so far to the operating system.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`].
    pub fn flush(&mut self) -> Result<(), TraceError> {
        self.check_usable()?;
        let written = self.output.write_all(&self.buffer).and_then(|()| self.output.flush());
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer.shrink_to(BUFFER_BYTES);
        }
        written.map_err(|error| self.fail(error))
    }

    /// Waits until everything appended so far survives a power failure: once, at the end of a run.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`].
    pub fn sync(&mut self) -> Result<(), TraceError> {
        self.flush()?;
        self.output.sync().map_err(|error| self.fail(error))
    }

    fn finish(&mut self, line: Unsealed, line_at: usize) -> Result<u64, TraceError> {
        let digest = line.seal(&mut self.buffer);
        self.buffer.push(b'\n');
        let bytes = self.buffer.len() - line_at;
        if bytes > limits::TRACE_LINE_BYTES_MAX {
            self.buffer.truncate(line_at);
            return Err(self.fail(io::Error::new(io::ErrorKind::FileTooLarge, "an event is longer than a line may be")));
        }
        self.bytes_in_step = self.bytes_in_step.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.head = digest;
        self.prev = digest.to_hex();
        let seq = self.seq;
        self.seq += 1;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(seq)
    }

    fn check_usable(&self) -> Result<(), TraceError> {
        match &self.failure {
            None => Ok(()),
            Some((kind, message)) => {
                let source = io::Error::new(*kind, format!("an earlier write failed: {message}"));
                Err(TraceError::Io { action: "write", path: self.path.clone(), source })
            }
        }
    }

    fn fail(&mut self, source: io::Error) -> TraceError {
        self.failure = Some((source.kind(), source.to_string()));
        TraceError::Io { action: "write", path: self.path.clone(), source }
    }
}

/// Every line is one that readers accept. That of a host call is so where it was handed over as canonical JSON.
#[cfg(debug_assertions)]
fn check_readable(line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let index = super::line::Index::of(&text);
    assert!(index.is_ok(), "what is recorded must be canonical JSON of known members: {index:?} in {text}");
}

impl TraceSink for Recorder {
    fn call(&mut self, call: Call<'_>) -> Result<(), TraceError> {
        self.check_usable()?;
        let line_at = self.buffer.len();
        let line = encode::call(&mut self.buffer, self.seq, &self.prev, call);
        #[cfg(debug_assertions)]
        check_readable(self.buffer.get(line_at..).unwrap_or_default());
        self.finish(line, line_at).map(drop)
    }

    fn delegated(&mut self, event: &Event) -> Result<(), TraceError> {
        self.append(event).map(drop)
    }

    fn blob(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), TraceError> {
        self.check_usable()?;
        // Counted also when it is stored already, so that a limit is met at the same call in every run.
        self.bytes_in_step = self.bytes_in_step.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let Some(blobs) = &mut self.blobs else { return Ok(()) };
        blobs.put(digest, bytes).inspect_err(|error| {
            self.failure = Some((io::ErrorKind::Other, error.to_string()));
        })
    }

    fn bytes_in_step(&self) -> u64 {
        self.bytes_in_step
    }
}

impl Drop for Recorder {
    /// A recorder that is dropped without [`Recorder::sync`] still hands over what it has: a failed run's trace is worth keeping.
    fn drop(&mut self) {
        if self.failure.is_none() && !self.buffer.is_empty() {
            self.flush().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_line_is_canonical_and_its_hash_covers_it() {
        for events in samples::nothing_ran().into_iter().chain([samples::every_outcome(), samples::delegated()]) {
            let text = String::from_utf8(samples::recorded(&events)).unwrap();
            let mut prev = "0".repeat(64);
            for (seq, line) in text.lines().enumerate() {
                let value: Value = serde_json::from_str(line).unwrap();
                assert_eq!(crate::canonical::to_string(&value), line);
                assert_eq!(value["seq"], json!(seq));
                assert_eq!(value["prev"], json!(prev));
                let member = format!("\"hash\":{},", value["hash"]);
                assert_eq!(line.find("\"hash\":\""), line.find(&member), "the first `hash` is the chain's");
                prev = Digest::of(line.replacen(&member, "", 1).as_bytes()).to_string();
                assert_eq!(value["hash"], json!(prev));
            }
        }
    }

    #[test]
    fn a_call_handed_over_as_bytes_is_the_same_event() {
        let mut events = vec![samples::header(), samples::begin("one", json!({}))];
        let params = json!({"self": {"handle": "descriptor#3"}, "text": "\"\u{1}é"});
        let function = "wasi:random/random#get-random-bytes";
        let output = MemoryOutput::default();
        let mut recorder = Recorder::new(Box::new(output.clone()), "memory", None);
        for event in &events {
            recorder.append(event).unwrap();
        }
        let params_bytes = crate::canonical::to_vec(&params);
        recorder.call(Call { function, params: &params_bytes, result: b"{\"ok\":null}" }).unwrap();
        assert_eq!(recorder.head().0, 3);
        assert!(recorder.bytes_in_step() > 150);
        recorder.sync().unwrap();
        events.push(samples::call(function, params, json!({"ok": null})));
        assert_eq!(output.bytes(), samples::recorded(&events));
    }

    #[test]
    fn the_end_of_a_step_reaches_the_output_before_the_next_begins() {
        let output = MemoryOutput::default();
        let mut recorder = Recorder::new(Box::new(output.clone()), "memory", None);
        let whole = |output: &MemoryOutput| output.bytes().iter().filter(|byte| **byte == b'\n').count();
        recorder.append(&samples::header()).unwrap();
        recorder.append(&samples::begin("one", json!(1))).unwrap();
        assert_eq!(whole(&output), 2);
        assert_eq!(recorder.bytes_in_step(), 0);
        recorder.append(&samples::call("a:b/c#d", json!({}), json!({"ok": 1}))).unwrap();
        assert_eq!(whole(&output), 2);
        recorder.append(&samples::end("one", crate::outcome::Outcome::Cancelled, 1)).unwrap();
        recorder.append(&samples::begin("two", json!(2))).unwrap();
        assert_eq!(whole(&output), 5);
    }

    #[test]
    fn a_failure_stays() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        impl Output for Full {
            fn sync(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut recorder = Recorder::new(Box::new(Full), "full", None);
        assert!(matches!(recorder.append(&samples::header()), Err(TraceError::Io { .. })));
        let again = recorder.append(&samples::header()).unwrap_err();
        assert!(again.hint().is_some(), "{again:?}");
        assert!(recorder.call(Call { function: "a", params: b"{}", result: b"{\"ok\":1}" }).is_err());
        assert!(recorder.blob(Digest::of(b""), b"").is_err());
        assert!(recorder.sync().is_err());
    }

    #[test]
    fn what_readers_would_refuse_is_not_written() {
        let deep = (0..130).fold(json!(1), |value, _| json!([value]));
        let mut recorder = Recorder::new(Box::new(io::sink()), "sink", None);
        recorder.append(&samples::header()).unwrap();
        let refused = recorder.append(&samples::begin("one", deep)).unwrap_err();
        assert!(matches!(refused, TraceError::Event { seq: 1, .. }), "{refused}");
    }
}
