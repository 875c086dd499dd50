//! Host calls of a step that runs ahead, held back until its turn: then they get their place in the trace.

use crate::id::Digest;
use crate::limits;
use crate::trace::event::Event;
use crate::trace::{Call, TraceError, TraceSink};

/// A line of the trace without name, parameters and result is shorter than that.
const LINE_BYTES: usize = 256;

/// What a guest did.
#[derive(Debug)]
enum Made {
    /// A host call: function, parameters and result.
    Call(String, Vec<u8>, Vec<u8>),
    /// It began or ended a call of another tool.
    Delegated(Box<Event>),
}

/// Host calls that wait for their place in the trace.
#[derive(Debug, Default)]
pub(super) struct Segment {
    made: Vec<Made>,
    blobs: Vec<(Digest, Vec<u8>)>,
    bytes: u64,
}

impl Segment {
    fn count(&mut self, bytes: usize) -> Result<(), TraceError> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes > limits::AHEAD_BYTES_MAX {
            let source = std::io::Error::from(std::io::ErrorKind::FileTooLarge);
            return Err(TraceError::Io { action: "hold back", path: "host calls".to_owned(), source });
        }
        Ok(())
    }

    /// Puts everything into the trace.
    pub(super) fn put(self, sink: &mut dyn TraceSink) -> Result<(), TraceError> {
        for (digest, bytes) in self.blobs {
            sink.blob(digest, &bytes)?;
        }
        self.made.iter().try_for_each(|made| match made {
            Made::Call(function, params, result) => sink.call(Call { function, params, result }),
            Made::Delegated(event) => sink.delegated(event),
        })
    }
}

impl TraceSink for Segment {
    fn call(&mut self, call: Call<'_>) -> Result<(), TraceError> {
        self.count(LINE_BYTES + call.function.len() + call.params.len() + call.result.len())?;
        self.made.push(Made::Call(call.function.to_owned(), call.params.to_vec(), call.result.to_vec()));
        Ok(())
    }

    fn delegated(&mut self, event: &Event) -> Result<(), TraceError> {
        let length = crate::trace::spelled(0, event, |line| line.text().len())?;
        self.count(LINE_BYTES + length)?;
        self.made.push(Made::Delegated(Box::new(event.clone())));
        Ok(())
    }

    fn blob(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), TraceError> {
        self.count(bytes.len())?;
        self.blobs.push((digest, bytes.to_vec()));
        Ok(())
    }

    /// Not less than the lines will have: a step that exceeds its limit here is run again in its turn, which decides.
    fn bytes_in_step(&self) -> u64 {
        self.bytes
    }
}
