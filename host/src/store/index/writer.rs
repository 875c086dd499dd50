//! A thread that writes the index, so that no step waits for it. Commits that come soon after each other become one transaction and one
//! sync of the disk; one that is refused takes none of the others with it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

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
#[must_use = "a commit is durable only when its ticket was waited for, and nothing waits for it before"]
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

    /// Hands over what [`Index::commit`] takes, and does not wait for it. It is written with what comes within
    /// [`limits::INDEX_LINGER_MS`], unless somebody is in a [hurry](Self::hurry).
    pub fn commit(&self, run: &str, rows: Vec<Row>) -> Ticket {
        let (reply, ticket) = sync_channel(1);
        let job = Job::Commit(Commit { run: run.to_owned(), rows, at: clock::utc_now(), reply });
        // Where the thread is gone the job is dropped with its `reply`, which is what the ticket says.
        drop(self.jobs.as_ref().map(|jobs| jobs.send(job)));
        Ticket(ticket)
    }

    /// Begins to write what was handed over: somebody is about to wait for it.
    pub fn hurry(&self) {
        drop(self.jobs.as_ref().map(|jobs| jobs.send(Job::Work(Box::new(|_| {})))));
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

    /// What became of the commit, where that is known by now.
    pub fn done(&self) -> Option<Result<Committed, IndexError>> {
        match self.0.try_recv() {
            Ok(done) => Some(done),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(IndexError::Stopped)),
        }
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
                    // Somebody who is in a hurry says so; until then what comes soon is written with it.
                    let wait = Duration::from_millis(limits::INDEX_LINGER_MS);
                    next = if group.len() < limits::INDEX_QUEUE_MAX { jobs.recv_timeout(wait).ok() } else { None };
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
    let together = index.transaction("commit", |db| {
        let changed = group.iter().try_fold(false, |changed, one| Ok::<_, IndexError>(changed | put(db, one)?))?;
        commit::let_go(db, changed)
    });
    let done = match together {
        Ok(committed) => {
            let mut done = vec![Ok(Committed::default()); group.len() - 1];
            done.push(Ok(committed));
            Ok(done)
        }
        Err(error) if group.len() == 1 => Err(error),
        // Who is refused takes none of the others with it.
        Err(_) => index.transaction("commit", |db| group.iter().map(|one| put_apart(db, one)).collect()),
    };
    match done {
        Ok(done) => {
            for (commit, done) in group.drain(..).zip(done) {
                // Who does not wait is not told.
                drop(commit.reply.send(done));
            }
        }
        Err(error) => group.drain(..).for_each(|commit| drop(commit.reply.send(Err(error.clone())))),
    }
}

fn put(db: Db<'_>, one: &Commit) -> Result<bool, IndexError> {
    commit::commit(db, &one.run, &one.rows, Some(&one.at))
}

/// One of several: where it is refused, what it did is taken back and the others stay.
fn put_apart(db: Db<'_>, one: &Commit) -> Result<Result<Committed, IndexError>, IndexError> {
    db.batch("SAVEPOINT one")?;
    let done = put(db, one).and_then(|changed| commit::let_go(db, changed));
    db.batch(if done.is_ok() { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" })?;
    Ok(done)
}
