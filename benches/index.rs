//! A run's steps into the index, and the floor below it: the same bytes appended to a file and synced.

use std::fs::File;
use std::io::Write as _;

use serde_json::json;
use skillhost::clock::Stopwatch;
use skillhost::id::Digest;
use skillhost::limits::StepLimits;
use skillhost::outcome::Outcome;
use skillhost::store::index::{Durability, Index, NewRun, Row, StepFacts, Ticket};
use skillhost::store::{IndexWriter, RunStore};
use skillhost::trace::event::{Event, StepBegin, StepEnd};

/// An index with one run, to which steps are committed, and a file beside it.
pub struct Commits {
    _folder: tempfile::TempDir,
    writer: IndexWriter,
    run: String,
    seq: u64,
    step: u64,
    file: File,
}

impl Commits {
    /// An index in a fresh folder with a run in which a step has begun.
    pub fn new(durability: Durability) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::at(folder.path());
        let run = store.create_run().unwrap().id().to_owned();
        let mut index = Index::open(folder.path(), durability).unwrap();
        index.begin_run(&NewRun { id: run.clone(), resumed_from: None }).unwrap();
        let file = File::create(folder.path().join("floor")).unwrap();
        let writer = IndexWriter::start(index).unwrap();
        let mut commits = Self { _folder: folder, writer, run, seq: 1, step: 0, file };
        let begin = commits.begin();
        let ticket = commits.writer.commit(&commits.run, Row::events([&begin]).unwrap());
        commits.writer.hurry();
        ticket.wait().unwrap();
        commits
    }

    fn begin(&mut self) -> (u64, Digest, Event) {
        let event = Event::StepBegin(StepBegin {
            key: None,
            resolved_from: None,
            compensates: false,
            step: format!("step-{}", self.step).parse().unwrap(),
            tool: "files.write-text".parse().unwrap(),
            attempt: 1,
            skill: Digest::of(b"files"),
            input: json!({"path": "/workspace/a.txt", "text": "some text"}),
            grant: 0,
            rules: Vec::new(),
            limits: StepLimits::DEFAULT,
        });
        self.chained(event)
    }

    fn chained(&mut self, event: Event) -> (u64, Digest, Event) {
        self.seq += 1;
        (self.seq, Digest::of(&self.seq.to_le_bytes()), event)
    }

    /// Commits the ends of so many steps, each with what is known beside it and the begin of the next, one behind the other as a run does,
    /// and waits for the last. In seconds for each.
    pub fn commit(&mut self, steps: usize) -> f64 {
        let started = Stopwatch::start();
        let tickets: Vec<_> = (0..steps).map(|_| self.step()).collect();
        self.writer.hurry();
        tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
        started.elapsed().as_secs_f64() / steps as f64
    }

    fn step(&mut self) -> Ticket {
        let id = format!("step-{}", self.step);
        let outcome = Outcome::Completed { output: json!({"bytes": 9}) };
        let end = Event::StepEnd(StepEnd { step: id.parse().unwrap(), outcome, calls: 8, fuel: Some(12_345) });
        let end = self.chained(end);
        self.step += 1;
        let begin = self.begin();
        let mut rows = Row::events([&end]).unwrap();
        rows.push(Row::Step(StepFacts {
            step: id,
            fingerprint: Some(Digest::of(&self.step.to_le_bytes())),
            duration_us: Some(100),
            changed: Some(0),
            ..StepFacts::default()
        }));
        rows.extend(Row::events([&begin]).unwrap());
        self.writer.commit(&self.run, rows)
    }

    /// Appends two lines of a trace to a file and syncs its data. In seconds.
    pub fn sync(&mut self) -> f64 {
        let started = Stopwatch::start();
        self.file.write_all(&[b'x'; 1_200]).unwrap();
        self.file.sync_data().unwrap();
        started.elapsed().as_secs_f64()
    }
}
