//! Traces as plain JSON, read without the library: what a test compares must not come from the code under test.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A recorded run as files.
#[derive(Debug, Clone)]
pub struct TraceFiles {
    folder: PathBuf,
    /// The events in order.
    pub events: Vec<Value>,
}

/// The steps of a trace: its begin, its host calls, its end.
#[derive(Debug, Clone)]
pub struct TracedStep {
    /// `step-begin`.
    pub begin: Value,
    /// The `call`s.
    pub calls: Vec<Value>,
    /// `step-end`.
    pub end: Value,
}

impl TraceFiles {
    /// Reads the trace of a run's folder.
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("trace.jsonl")).expect("the run has a trace");
        assert!(text.ends_with('\n'), "the last line is whole");
        let events = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        Self { folder: folder.to_owned(), events }
    }

    /// The events of one kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["kind"] == kind)
    }

    /// The names of the functions that were called, in order.
    pub fn called(&self) -> Vec<&str> {
        self.of_kind("call").map(|call| call["name"].as_str().expect("a call has a name")).collect()
    }

    /// The steps that began and ended.
    pub fn steps(&self) -> Vec<TracedStep> {
        let mut steps = Vec::new();
        let mut open: Option<(Value, Vec<Value>)> = None;
        for event in &self.events {
            match event["kind"].as_str() {
                Some("step-begin") => open = Some((event.clone(), Vec::new())),
                Some("call") => open.as_mut().expect("calls are inside of steps").1.push(event.clone()),
                Some("step-end") => {
                    let (begin, calls) = open.take().expect("a step that ends has begun");
                    steps.push(TracedStep { begin, calls, end: event.clone() });
                }
                _ => {}
            }
        }
        steps
    }

    /// The bytes of a blob, checked.
    pub fn blob(&self, digest: &str) -> Vec<u8> {
        let bytes = std::fs::read(self.folder.join("blobs").join(digest)).expect("the blob is there");
        assert_eq!(sha256(&bytes), digest, "the blob is what its name says");
        bytes
    }
}

/// A digest in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a trace.
pub fn text(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("trace.jsonl")).expect("the run has a trace")
}
