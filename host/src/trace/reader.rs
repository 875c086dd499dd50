//! Reads a trace line by line: bounded memory, nothing believed. What it hands out is canonical, numbered without a gap and chained;
//! which events may follow which is `trace::verify`'s.

use std::io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use serde_json::Value;

use super::encode::FIRST_PREV;
use super::event::{Event, Kind};
use super::line::{Index, Line};
use super::{SCHEMA, TraceError, io_error};
use crate::id::Digest;
use crate::limits;
use crate::regular;

const BUFFER_BYTES: usize = 256 << 10;
/// A line's memory beyond this is given back with the next line.
const LINE_KEPT_BYTES: usize = 1 << 20;
/// How much of a trace's end [`last_event`] looks at.
const TAIL_BYTES: u64 = 256 << 10;
/// The name of the schema without its version.
const SCHEMA_FAMILY: &str = "skillhost.trace/";

/// Reads one trace.
///
/// A line may be looked at ([`Self::peek`]) before it is taken ([`Self::next_line`]). After an error there is nothing more to read.
pub struct Reader {
    input: BufReader<Box<dyn Read + Send>>,
    /// The name of `input` in errors.
    path: String,
    /// The line that was read last, without its newline.
    line: String,
    /// Its members, unless no line is held.
    index: Option<Index>,
    /// Whether the line held was handed out by [`Self::next_line`].
    taken: bool,
    failed: bool,
    chained: bool,
    /// The number that the next line must have.
    seq: u64,
    prev: [u8; 64],
    head: Digest,
    bytes: u64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a trace file.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let file = regular::open(path).map_err(io_error("read", path))?;
        Ok(Self::new(Box::new(file), path.display().to_string()))
    }

    /// Reads a trace from `input`, called `path` in errors.
    #[must_use]
    pub fn new(input: Box<dyn Read + Send>, path: impl Into<String>) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER_BYTES, input),
            path: path.into(),
            line: String::new(),
            index: None,
            taken: false,
            failed: false,
            chained: true,
            seq: 0,
            prev: FIRST_PREV,
            head: Digest::from_bytes([0; 32]),
            bytes: 0,
        }
    }

    /// Does not check `prev` and `hash`: for looking at a trace that was edited. Never for replay.
    #[must_use]
    pub const fn unchained(mut self) -> Self {
        self.chained = false;
        self
    }

    /// How many lines were read, and the hash of the last one (zeros where there is none). With the chain's check this is what the
    /// recorder's head was when it had written as many.
    #[must_use]
    pub const fn head(&self) -> (u64, Digest) {
        (self.seq, self.head)
    }

    /// Bytes read so far, newlines included.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next line; `None` at the end.
    ///
    /// # Errors
    ///
    /// See [`Self::peek`].
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        self.hold()?;
        self.taken = true;
        Ok(self.index.as_ref().map(|index| Line::new(&self.line, index)))
    }

    /// The next line without taking it; `None` at the end.
    ///
    /// # Errors
    ///
    /// * [`TraceError::Schema`] when the header names a version that this program does not read;
    /// * [`TraceError::Torn`] when the file ends within a line;
    /// * [`TraceError::Event`] when a line is not a canonical event, its number is not the next one, or its hash or its predecessor's
    ///   is not what it says;
    /// * [`TraceError::Io`] when the file cannot be read.
    pub fn peek(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        self.hold()?;
        Ok(self.index.as_ref().map(|index| Line::new(&self.line, index)))
    }

    /// Takes the next event, decoded; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`Self::peek`], and [`TraceError::Event`] when a member is not of its type.
    pub fn next_event(&mut self) -> Result<Option<(u64, Event)>, TraceError> {
        let Some(line) = self.next_line()? else { return Ok(None) };
        Ok(Some((line.seq(), line.event()?)))
    }

    /// Makes sure that the line held is one that was not taken yet.
    fn hold(&mut self) -> Result<(), TraceError> {
        if self.failed {
            return Err(self.wrong("the trace was read up to an earlier error"));
        }
        if self.index.is_some() && !self.taken {
            return Ok(());
        }
        self.index = None;
        self.taken = false;
        let read = self.read();
        self.failed = read.is_err();
        read
    }

    fn read(&mut self) -> Result<(), TraceError> {
        let mut bytes = std::mem::take(&mut self.line).into_bytes();
        bytes.clear();
        if bytes.capacity() > LINE_KEPT_BYTES {
            bytes.shrink_to(LINE_KEPT_BYTES);
        }
        let bound = u64::try_from(limits::TRACE_LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = (&mut self.input).take(bound).read_until(b'\n', &mut bytes);
        let read = u64::try_from(read.map_err(io_error("read", Path::new(&self.path)))?).unwrap_or(u64::MAX);
        if read == 0 {
            return Ok(());
        }
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            if read == bound {
                return Err(self.wrong("the line is longer than a line may be"));
            }
            return Err(TraceError::Torn { last_whole: self.seq.checked_sub(1), bytes: read });
        }
        self.line = String::from_utf8(bytes).map_err(|_| self.wrong("the line is not UTF-8"))?;
        let index = match Index::of(&self.line) {
            Ok(index) => index,
            Err(fault) => {
                self.check_schema()?;
                let column = fault.at.saturating_add(1);
                return Err(self.wrong(format!("{} (byte {column} of the line)", fault.what)));
            }
        };
        if self.seq == 0 {
            self.check_schema()?;
            if index.kind != Kind::Header {
                return Err(self.wrong("a trace must begin with its header"));
            }
        }
        if index.seq != self.seq {
            return Err(self.wrong(format!("expected seq {}, found {}", self.seq, index.seq)));
        }
        let line = Line::new(&self.line, &index);
        if self.chained {
            if line.prev_hex().as_bytes() != self.prev {
                return Err(self.wrong("`prev` is not the hash of the event before"));
            }
            self.head = line.computed_hash();
            self.prev = self.head.to_hex();
            if line.hash_hex().as_bytes() != self.prev {
                return Err(self.wrong("`hash` is not the hash of the line: the event was changed"));
            }
        } else {
            self.head = line.hash();
        }
        self.index = Some(index);
        self.seq += 1;
        self.bytes = self.bytes.saturating_add(read);
        Ok(())
    }

    /// Looks for a newer version's header, without asking it to be what this version's is.
    fn check_schema(&self) -> Result<(), TraceError> {
        if self.seq > 0 {
            return Ok(());
        }
        let schema = serde_json::from_str::<Value>(&self.line).ok().and_then(|header| {
            let schema = header.get("schema")?.as_str()?;
            Some(schema.to_owned())
        });
        match schema {
            Some(schema) if schema == SCHEMA => Ok(()),
            Some(found) if found.starts_with(SCHEMA_FAMILY) => Err(TraceError::Schema { found }),
            _ => Err(self.wrong("this is not a trace: it does not begin with a header that names its schema")),
        }
    }

    fn wrong(&self, what: impl Into<String>) -> TraceError {
        TraceError::Event { seq: self.seq, line: self.seq.saturating_add(1), what: what.into() }
    }
}

/// The last event of a trace, found without reading the others: a glance for lists, no proof that it belongs to them. `None` where the
/// file does not end with a whole event, or with one that is very long.
///
/// # Errors
///
/// [`TraceError::Io`].
pub fn last_event(path: &Path) -> Result<Option<Event>, TraceError> {
    let mut tail = Vec::new();
    let read = regular::open(path).and_then(|mut file| {
        let bytes = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
        file.take(TAIL_BYTES).read_to_end(&mut tail)
    });
    let read = u64::try_from(read.map_err(io_error("read", path))?).unwrap_or(u64::MAX);
    if tail.pop_if(|last| *last == b'\n').is_none() {
        return Ok(None);
    }
    let start = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => newline + 1,
        None if read < TAIL_BYTES => 0,
        None => return Ok(None),
    };
    let line = tail.get(start..).and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    Ok(Index::of(line).ok().and_then(|index| Line::new(line, &index).event().ok()))
}

/// The event whose line begins at byte `at`, which [`Reader::bytes`] has told: a second look at a trace that was read before, and believed
/// for that.
///
/// # Errors
///
/// [`TraceError::Io`], and [`TraceError::Event`] where no event is there.
pub(crate) fn event_at(path: &Path, at: u64) -> Result<Event, TraceError> {
    let mut line = Vec::new();
    let read = regular::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(at))?;
        BufReader::new(file.take(u64::try_from(limits::TRACE_LINE_BYTES_MAX).unwrap_or(u64::MAX)))
            .read_until(b'\n', &mut line)
    });
    read.map_err(io_error("read", path))?;
    line.pop_if(|last| *last == b'\n');
    let nothing = || TraceError::Event { seq: 0, line: 0, what: format!("no event begins at byte {at}") };
    let line = std::str::from_utf8(&line).map_err(|_| nothing())?;
    Line::new(line, &Index::of(line).map_err(|_| nothing())?).event()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, reader};
    use super::*;

    #[test]
    fn events_are_read_as_they_were_written() {
        for events in samples::nothing_ran().into_iter().chain([samples::every_outcome(), samples::delegated()]) {
            let bytes = samples::recorded(&events);
            let mut reader = reader(&bytes);
            for (seq, event) in events.iter().enumerate() {
                assert_eq!(reader.peek().unwrap().map(|line| line.kind()), Some(event.kind()));
                assert_eq!(reader.next_event().unwrap(), Some((seq as u64, event.clone())));
            }
            assert!(reader.next_line().unwrap().is_none());
            assert!(reader.next_line().unwrap().is_none());
            assert_eq!(reader.bytes(), bytes.len() as u64);
        }
    }

    #[test]
    fn an_event_is_found_again_at_its_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes = samples::recorded(&samples::every_outcome());
        std::fs::write(file.path(), &bytes).unwrap();
        let mut reader = reader(&bytes);
        let (mut at, mut found) = (0, 0);
        while let Some(line) = reader.next_line().unwrap() {
            let event = line.event().unwrap();
            if let Event::StepBegin(begin) = &event {
                let begun = line.begun(at).unwrap();
                let same = (&begun.tool, begun.attempt, begun.skill, begun.key, begun.compensates);
                assert_eq!(same, (&begin.tool, begin.attempt, begin.skill, begin.key, begin.compensates));
                found += 1;
            } else {
                assert!(line.begun(at).is_err());
            }
            assert_eq!(event_at(file.path(), at).unwrap(), event);
            at = reader.bytes();
        }
        assert!(found > 1 && event_at(file.path(), 1).is_err() && event_at(file.path(), at).is_err());
    }

    fn first_error(bytes: &[u8]) -> TraceError {
        let mut reader = reader(bytes);
        loop {
            match reader.next_line() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("no error"),
                Err(error) => {
                    assert!(reader.next_line().is_err(), "an error is the end");
                    return error;
                }
            }
        }
    }

    #[test]
    fn a_torn_line_names_the_last_whole_event() {
        let bytes = samples::recorded(&samples::every_outcome());
        let last = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 - 1;
        let torn = first_error(&bytes[..bytes.len() - 1]);
        assert!(matches!(torn, TraceError::Torn { last_whole: Some(whole), .. } if whole == last - 1), "{torn}");
        let torn = first_error(&bytes[..5]);
        assert!(matches!(torn, TraceError::Torn { last_whole: None, bytes: 5 }), "{torn}");
    }

    #[test]
    fn a_newer_version_is_named_even_when_its_header_has_other_members() {
        let header = b"{\"hash\":\"?\",\"new\":true,\"schema\":\"skillhost.trace/2\"}\n";
        let error = first_error(header);
        assert_eq!(
            error.to_string(),
            "the trace has schema `skillhost.trace/2`; this program reads `skillhost.trace/1`"
        );
        assert!(error.hint().is_some());
        assert!(matches!(first_error(b"[1]\n"), TraceError::Event { seq: 0, line: 1, .. }));
        assert!(matches!(first_error(b"\n"), TraceError::Event { seq: 0, .. }));
        assert!(matches!(first_error(b"\xff\n"), TraceError::Event { seq: 0, .. }));
    }

    #[test]
    fn unknown_kinds_and_members_are_refused() {
        let text = String::from_utf8(samples::recorded(&samples::every_outcome())).unwrap();
        for (from, to) in [("step-begin", "step-start"), ("\"grant\":", "\"gramt\":"), ("\"tool\":", "\"toolx\":")] {
            let mut unchained = reader(text.replacen(from, to, 1).as_bytes()).unchained();
            unchained.next_line().unwrap();
            let error = unchained.next_line().map(|_| ()).unwrap_err();
            assert!(matches!(error, TraceError::Event { seq: 1, line: 2, .. }), "{error}");
        }
    }

    #[test]
    fn the_last_event_is_found_from_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.jsonl");
        let mut events = samples::every_outcome();
        let last = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            last_event(&path).unwrap()
        };
        let bytes = samples::recorded(&events);
        assert_eq!(last(&bytes).as_ref(), events.last());
        assert_eq!(last(&bytes[..bytes.len() - 1]), None);
        assert_eq!(last(b""), None);
        assert_eq!(last(b"\n"), None);
        events.truncate(1);
        assert_eq!(last(&samples::recorded(&events)).as_ref(), events.last());
        events.push(samples::begin("one", "x".repeat(300 << 10).into()));
        assert_eq!(last(&samples::recorded(&events)), None);
    }
}
