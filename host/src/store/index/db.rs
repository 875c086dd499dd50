//! Statements with their errors: whatever SQLite says names the file and what was being done.

use std::path::Path;

use rusqlite::{Connection, Params, Row};

use super::IndexError;

/// A connection, or a transaction of one, with what its errors say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Db<'a> {
    pub(super) connection: &'a Connection,
    pub(super) path: &'a Path,
    /// What is being done, for errors: `commit`, `list the runs` …
    pub(super) action: &'static str,
}

impl Db<'_> {
    /// Runs one statement and gives the number of rows that it changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, IndexError> {
        let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params));
        done.map_err(|error| self.error(error))
    }

    /// The first row of a query.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, IndexError> {
        let found = self.connection.prepare_cached(sql).and_then(|mut statement| {
            let mut rows = statement.query(params)?;
            rows.next()?.map(read).transpose()
        });
        found.map_err(|error| self.error(error))
    }

    /// All rows of a query.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, IndexError> {
        let found = self.connection.prepare_cached(sql).and_then(|mut statement| {
            let rows = statement.query_map(params, read)?;
            rows.collect()
        });
        found.map_err(|error| self.error(error))
    }

    /// Runs statements that have no parameters.
    pub(super) fn batch(&self, sql: &str) -> Result<(), IndexError> {
        self.connection.execute_batch(sql).map_err(|error| self.error(error))
    }

    pub(super) fn error(&self, error: rusqlite::Error) -> IndexError {
        IndexError::sqlite(self.action, self.path, error)
    }
}

/// A number of ours as SQLite has them. None of those that are kept comes near the bound.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of SQLite's as ours: the columns are checked not to be negative.
pub(super) fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
