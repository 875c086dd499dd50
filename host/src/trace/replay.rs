//! Reads a run for replay: events in order, and the host calls of a step one by one, however many there are.

use std::path::Path;

use super::blob::BlobStore;
use super::event::{Event, Kind};
use super::line::Line;
use super::reader::Reader;
use super::{RecordedCall, TraceError, TraceSource};
use crate::id::Digest;

/// A run that is replayed. Between steps the caller takes events from it; while a step runs it is the step's [`TraceSource`], whose calls
/// end where the next event is not a call.
#[derive(Debug)]
pub struct ReplayReader {
    reader: Reader,
    blobs: BlobStore,
    has_delegated: bool,
}

impl ReplayReader {
    /// Opens a run's folder.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`] when the trace cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, TraceError> {
        let reader = Reader::open(&folder.join(super::TRACE_FILE))?;
        Ok(Self::new(reader, BlobStore::new(folder.join(super::BLOBS_FOLDER))))
    }

    /// Replays what `reader` reads.
    #[must_use]
    pub const fn new(reader: Reader, blobs: BlobStore) -> Self {
        Self { reader, blobs, has_delegated: false }
    }

    /// The next line without taking it.
    ///
    /// # Errors
    ///
    /// As [`Reader::peek`].
    pub fn peek(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        self.reader.peek()
    }

    /// Whether a step has called another tool since this was asked for.
    pub fn take_has_delegated(&mut self) -> bool {
        std::mem::take(&mut self.has_delegated)
    }

    /// Takes the next event, whatever its kind.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_event`].
    pub fn next_event(&mut self) -> Result<Option<(u64, Event)>, TraceError> {
        self.reader.next_event()
    }

    /// Takes what the replayed step did not do, and returns how many host calls and calls of other tools there were: more than none is a
    /// divergence.
    ///
    /// # Errors
    ///
    /// As [`Reader::peek`].
    pub fn skip_calls(&mut self) -> Result<u64, TraceError> {
        let mut skipped = 0;
        while let Some(kind) = self.reader.peek()?.map(|line| line.kind()).filter(|kind| kind.is_inside_of_step()) {
            self.reader.next_line()?;
            skipped += u64::from(kind != Kind::DelegateEnd);
        }
        Ok(skipped)
    }

    /// The number of the next event, and the hash of the last one taken or looked at.
    #[must_use]
    pub const fn head(&self) -> (u64, Digest) {
        self.reader.head()
    }
}

impl TraceSource for ReplayReader {
    fn next_call(&mut self) -> Result<Option<RecordedCall>, TraceError> {
        match self.reader.peek()? {
            Some(line) if line.kind() == Kind::Call => {}
            _ => return Ok(None),
        }
        self.reader.next_line()?.map(|line| line.recorded_call()).transpose()
    }

    fn delegated(&mut self) -> Result<Option<(u64, Event)>, TraceError> {
        match self.reader.peek()? {
            Some(line) if matches!(line.kind(), Kind::DelegateBegin | Kind::DelegateEnd) => {
                Ok(Some((line.seq(), line.event()?)))
            }
            _ => Ok(None),
        }
    }

    fn has_call(&mut self) -> Result<bool, TraceError> {
        Ok(self.reader.peek()?.is_some_and(|line| line.kind() == Kind::Call))
    }

    fn take_delegated(&mut self) -> Result<(), TraceError> {
        self.has_delegated = true;
        self.reader.next_line().map(drop)
    }

    fn blob(&mut self, digest: Digest) -> Result<Vec<u8>, TraceError> {
        self.blobs.get(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn calls_end_where_the_step_ends() {
        const fn movable<T: Send + 'static>(_: &T) {}
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("trace.jsonl"), samples::recorded(&samples::every_outcome())).unwrap();
        let mut replay = ReplayReader::open(folder.path()).unwrap();
        movable(&replay);
        assert!(replay.next_call().unwrap().is_none(), "the header is not a call");
        let mut counts = Vec::new();
        while let Some((_, event)) = replay.next_event().unwrap() {
            if event.kind() == Kind::StepBegin {
                let mut count = 0;
                if counts.len() == 4 {
                    count = replay.skip_calls().unwrap();
                }
                while let Some(call) = replay.next_call().unwrap() {
                    assert_eq!(
                        call.params,
                        format!("{{\"buffer\":\"AAAA\",\"offset\":{count},\"self\":{{\"handle\":\"descriptor#3\"}}}}")
                            .into_bytes()
                    );
                    count += 1;
                }
                assert!(replay.next_call().unwrap().is_none());
                counts.push(count);
            }
        }
        assert_eq!(counts, [0, 1, 2, 3, 4]);
    }
}
