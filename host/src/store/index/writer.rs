//! A thread that writes the index, so that its commit runs while the caller syncs its trace. Commits that wait at the same time, of
//! several runs, become one transaction and one sync of the disk; one that is refused takes none of the others with it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::commit::{self, Committed};
use super::db::Db;
use super::row::Row;
use super::{Index, IndexError};
use crate::clock;
use crate::limits;

/// Hands commits to the thread that owns the index. May be shared between threads. Dropped, it waits until all of them are done.
#[derive(Debug)]
pub struct IndexWriter {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// A commit that is under way.
#[derive(Debug)]
#[must_use = "a commit is durable only when its ticket was waited for"]
pub struct Ticket(Receiver<Result<Committed, IndexError>>);

enum Job {
    Commit(Commit),
    Work(Box<dyn FnOnce(&mut Index) + Send>),
}

struct Commit {
    run: String,
    rows: Vec<Row>,
    at: String,
    reply: SyncSender<Result<Committed, IndexError>>,
}

impl IndexWriter {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`IndexError::Io`] where the operating system has no thread to give.
    pub fn start(index: Index) -> Result<Self, IndexError> {
        let path = index.path().to_owned();
        let (jobs, received) = sync_channel(limits::INDEX_QUEUE_MAX);
        let thread = std::thread::Builder::new().name("index".to_owned()).spawn(move || serve(index, &received));
        let thread = thread.map_err(|error| IndexError::Io { action: "open", path, source: Arc::new(error) })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands over what [`Index::commit`] takes, and does not wait for it.
    pub fn commit(&self, run: &str, rows: Vec<Row>) -> Ticket {
        let (reply, ticket) = sync_channel(1);
        let job = Job::Commit(Commit { run: run.to_owned(), rows, at: clock::utc_now(), reply });
        // Where the thread is gone the job is dropped with its `reply`, which is what the ticket says.
        drop(self.jobs.as_ref().map(|jobs| jobs.send(job)));
        Ticket(ticket)
    }

    /// Does anything else with the index, after what was handed over before, and waits for it.
    ///
    /// # Errors
    ///
    /// [`IndexError::Stopped`].
    pub fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> T + Send + 'static,
    ) -> Result<T, IndexError> {
        let (reply, done) = sync_channel(1);
        let job = Job::Work(Box::new(move |index| drop(reply.send(work(index)))));
        drop(self.jobs.as_ref().map(|jobs| jobs.send(job)));
        done.recv().map_err(|_| IndexError::Stopped)
    }
}

impl Drop for IndexWriter {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Ticket {
    /// Waits until the commit is as durable as the index was opened for.
    ///
    /// # Errors
    ///
    /// As for [`Index::commit`], and [`IndexError::Stopped`].
    pub fn wait(self) -> Result<Committed, IndexError> {
        self.0.recv().unwrap_or(Err(IndexError::Stopped))
    }
}

fn serve(mut index: Index, jobs: &Receiver<Job>) {
    let mut group = Vec::new();
    while let Ok(job) = jobs.recv() {
        let mut next = Some(job);
        while let Some(job) = next.take() {
            match job {
                Job::Commit(commit) => {
                    group.push(commit);
                    next = if group.len() < limits::INDEX_QUEUE_MAX { jobs.try_recv().ok() } else { None };
                }
                Job::Work(work) => {
                    write(&mut index, &mut group);
                    work(&mut index);
                }
            }
        }
        write(&mut index, &mut group);
    }
}

/// Writes a group as one transaction and tells everybody.
fn write(index: &mut Index, group: &mut Vec<Commit>) {
    if group.is_empty() {
        return;
    }
    let alone = group.len() == 1;
    let written = index.transaction("commit", |db| {
        group
            .iter()
            .map(|one| if alone { put(db, one).map(Ok) } else { put_apart(db, one) })
            .collect::<Result<Vec<_>, _>>()
    });
    match written {
        Ok(done) => {
            for (commit, done) in group.drain(..).zip(done) {
                // Who does not wait is not told.
                drop(commit.reply.send(done));
            }
        }
        Err(error) => group.drain(..).for_each(|commit| drop(commit.reply.send(Err(error.clone())))),
    }
}

fn put(db: Db<'_>, one: &Commit) -> Result<Committed, IndexError> {
    commit::commit(db, &one.run, &one.rows, Some(&one.at))
}

/// One of several: where it is refused, what it did is taken back and the others stay.
fn put_apart(db: Db<'_>, one: &Commit) -> Result<Result<Committed, IndexError>, IndexError> {
    db.batch("SAVEPOINT one")?;
    let done = put(db, one);
    db.batch(if done.is_ok() { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" })?;
    Ok(done)
}
