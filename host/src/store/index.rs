//! The index over all runs: one SQLite file in the state folder. What a run did is the truth of its trace, and the index can be built
//! again from it; what people decide (approvals) and what became of an undo is kept here alone. `docs/store-format.md` has the columns.
//!
//! One commit is one transaction: everything that one step means becomes visible and durable together, or not at all. Several processes
//! may use one file. Never read to decide what a replay does, and never asked by the trace.

mod access;
mod approval;
mod commit;
mod db;
mod error;
mod query;
mod rebuild;
mod request;
mod row;
mod salvage;
mod status;
mod undo;
mod writer;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags, TransactionBehavior};

use super::create_folder;
use crate::clock::Stopwatch;
use crate::limits;
use crate::regular;

pub use access::{Access, AccessAction, NewAccess};
pub use approval::{Answer, Approval, ApprovalRequest, Delivery};
pub(super) use commit::created_at;
pub use commit::{Committed, NewRun};
pub use error::IndexError;
pub use query::{RunFilter, RunRow, StepRow};
pub use rebuild::{Reindexed, reindex};
pub use request::Claim;
pub use row::{EventRow, Row, StepFacts};
pub use status::{ApprovalState, RunStatus, StepStatus};
pub use undo::{Reusable, UndoStep};
pub use writer::{IndexWriter, Ticket};

use db::Db;

/// The index's name in the state folder.
pub const INDEX_FILE: &str = "host.db";
/// What else SQLite makes of it.
pub(super) const COMPANIONS: [&str; 2] = ["host.db-wal", "host.db-shm"];
/// `PRAGMA application_id` of our files: `SKHX`.
const APPLICATION_ID: i64 = 0x534b_4858;
/// Each takes the file from one version (`PRAGMA user_version`) to the next; the first from nothing to 1.
const MIGRATIONS: [&str; 5] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
];
/// Statements that are kept compiled: more than there are.
const STATEMENTS_KEPT: usize = 64;

pub use crate::durability::Durability;

/// The index over all runs. May be sent to another thread; threads that share one state folder open it once each.
#[derive(Debug)]
pub struct Index {
    connection: Connection,
    path: PathBuf,
    new: bool,
}

impl Index {
    /// Opens the index of a state folder; makes both where they are not there, for their owner alone, and brings an older one up to date.
    ///
    /// # Errors
    ///
    /// * [`IndexError::Newer`] when a newer program wrote it;
    /// * [`IndexError::Damaged`] when it is not an index;
    /// * [`IndexError::Io`], [`IndexError::Busy`], [`IndexError::Sqlite`].
    pub fn open(state: &Path, durability: Durability) -> Result<Self, IndexError> {
        let path = state.join(INDEX_FILE);
        let failed = |action| {
            let path = path.clone();
            move |source: io::Error| IndexError::Io { action, path, source: Arc::new(source) }
        };
        create_folder(state).map_err(failed("create"))?;
        // SQLite gives its other files the mode of this one. One that is there is not opened beside SQLite: closing it would take from this
        // process the locks that another connection of it has there.
        match regular::create_new(&path) {
            Ok(made) => drop(made),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("open")(error)),
        }
        for name in [INDEX_FILE].into_iter().chain(COMPANIONS) {
            // SQLite would wait for whoever is at the other end of a pipe.
            regular::check(&state.join(name)).map_err(failed("open"))?;
            make_private(&state.join(name)).map_err(failed("open"))?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // The system says better than SQLite why it cannot be opened, or not for writing.
        let reason = || regular::open_both(&path).err();
        let sqlite = |error| reason().map_or_else(|| IndexError::sqlite("open", &path, error), failed("open"));
        let connection = Connection::open_with_flags(&path, flags).map_err(sqlite)?;
        if connection.is_readonly(MAIN_DB).map_err(sqlite)? {
            return Err(failed("open")(reason().unwrap_or_else(|| io::ErrorKind::PermissionDenied.into())));
        }
        let mut index = Self { connection, path, new: false };
        index.prepare(durability)?;
        Ok(index)
    }

    /// The index of a state folder that has one.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`].
    pub fn existing(state: &Path, durability: Durability) -> Result<Option<Self>, IndexError> {
        if state.join(INDEX_FILE).is_file() { Self::open(state, durability).map(Some) } else { Ok(None) }
    }

    /// Whether the file was made by this [`Self::open`]: it knows nothing of runs that were there before, see [`Self::catch_up`].
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.new
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn prepare(&mut self, durability: Durability) -> Result<(), IndexError> {
        let connection = &self.connection;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let db = self.db("open");
        let waits = Duration::from_millis(limits::INDEX_BUSY_MS);
        connection.busy_timeout(waits).map_err(|error| db.error(error))?;
        // Emptying the log costs several syncs of the disk. It is done when the log has grown, not by every program that ends.
        let keep_log = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        keep_log.map_err(|error| db.error(error))?;
        self.begin_log(waits)?;
        let synchronous = match durability {
            Durability::Full => "FULL",
            Durability::Buffered => "NORMAL",
        };
        db.batch(&format!(
            "PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; \
             PRAGMA temp_store = MEMORY;"
        ))?;
        let version = self.version()?;
        if version == known_version() { Ok(()) } else { self.migrate() }
    }

    /// Has the file keep a write-ahead log. SQLite waits for nobody who is about to do the same; but it does before it begins to write.
    fn begin_log(&self, waits: Duration) -> Result<(), IndexError> {
        let db = self.db("open");
        let started = Stopwatch::start();
        loop {
            match db.one("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
                Ok(Some(mode)) if mode == "wal" => return Ok(()),
                Ok(_) => {
                    let source = io::Error::other("this file system cannot have SQLite's write-ahead log");
                    return Err(IndexError::Io { action: "open", path: self.path.clone(), source: Arc::new(source) });
                }
                Err(IndexError::Busy { .. }) if started.elapsed() < waits => db.batch("BEGIN IMMEDIATE; ROLLBACK")?,
                Err(error) => return Err(error),
            }
        }
    }

    /// The version of the file, once it is known to be ours.
    fn version(&self) -> Result<i64, IndexError> {
        let db = self.db("open");
        let number = |sql| db.one(sql, [], |row| row.get::<_, i64>(0)).map(Option::unwrap_or_default);
        let (version, application) = (number("PRAGMA user_version")?, number("PRAGMA application_id")?);
        let foreign = match version {
            // Another process may have made it since: tables, version and name come at once.
            0 => number("SELECT count(*) FROM sqlite_schema")? > 0 && number("PRAGMA user_version")? == 0,
            _ => application != APPLICATION_ID,
        };
        if foreign {
            let what = "it is a database of another program".to_owned();
            return Err(IndexError::Damaged { path: self.path.clone(), what });
        }
        if version < 0 || version > known_version() {
            return Err(IndexError::Newer { path: self.path.clone(), found: version, known: known_version() });
        }
        Ok(version)
    }

    fn migrate(&mut self) -> Result<(), IndexError> {
        let path = self.path.clone();
        let error = |error| IndexError::sqlite("bring the tables up to date", &path, error);
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(error)?;
        // Another process may have been faster.
        let version = self.version()?;
        for sql in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or_default()) {
            self.connection.execute_batch(sql).map_err(error)?;
        }
        let end =
            format!("PRAGMA user_version = {}; PRAGMA application_id = {APPLICATION_ID}; COMMIT", known_version());
        self.connection.execute_batch(&end).map_err(error)?;
        self.new = version == 0;
        Ok(())
    }

    fn db(&self, action: &'static str) -> Db<'_> {
        Db { connection: &self.connection, path: self.path.as_path(), action }
    }

    /// Does `work` as one transaction, which another process sees whole or not at all.
    fn transaction<T>(
        &mut self,
        action: &'static str,
        work: impl FnOnce(Db<'_>) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let path = self.path.as_path();
        let error = |error| IndexError::sqlite(action, path, error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error)?;
        // Dropped without a commit it is rolled back.
        let done = work(Db { connection: &transaction, path, action })?;
        transaction.commit().map_err(error)?;
        Ok(done)
    }
}

/// The version that this program writes.
fn known_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Takes from others what an older umask may have given them.
fn make_private(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.permissions().mode() & 0o077 == 0 => Ok(()),
        Ok(_) => fs::set_permissions(path, fs::Permissions::from_mode(0o600)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
