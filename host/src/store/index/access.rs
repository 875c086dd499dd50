//! Who looked at what was recorded, or changed it: approvals, rejections, undo, rollback, exports, deletion. Only added to.

use rusqlite::{Row, params};

use super::{Index, IndexError};
use crate::clock;

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessAction {
    /// Let a step run.
    Approve,
    /// Did not.
    Reject,
    /// Took back steps that changed files.
    Undo,
    /// Took back a run.
    Rollback,
    /// Wrote an audit.
    Export,
    /// Deleted runs.
    Gc,
}

impl AccessAction {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Undo => "undo",
            Self::Rollback => "rollback",
            Self::Export => "export",
            Self::Gc => "gc",
        }
    }
}

/// An access that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccess {
    /// What is done.
    pub action: AccessAction,
    /// Who does it: a name that was given, or the user of the operating system (`uid:1000`).
    pub who: String,
    /// The run, where it is about one.
    pub run: Option<String>,
    /// The step, where it is about one.
    pub step: Option<String>,
    /// What else is to be said.
    pub detail: String,
}

/// An access that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// When, as RFC 3339.
    pub at: String,
    /// What was done.
    pub action: String,
    /// Who did it.
    pub who: String,
    /// The run.
    pub run: Option<String>,
    /// The step.
    pub step: Option<String>,
    /// What else was said.
    pub detail: String,
}

impl Index {
    /// Notes an access.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn note_access(&mut self, access: &NewAccess) -> Result<(), IndexError> {
        let now = clock::utc_now();
        let NewAccess { action, who, run, step, detail } = access;
        self.transaction("note an access", |db| {
            db.execute(
                "INSERT INTO accesses (at, action, who, run, step, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![now, action.name(), who, run, step, detail],
            )
            .map(drop)
        })
    }

    /// The newest accesses, at the most `max`, the oldest of them first.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn accesses(&self, max: usize) -> Result<Vec<Access>, IndexError> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let sql = "SELECT at, action, who, run, step, detail FROM accesses ORDER BY id DESC LIMIT ?1";
        let mut found = self.db("list accesses").all(sql, [max], access)?;
        found.reverse();
        Ok(found)
    }
}

/// A row of `at, action, who, run, step, detail`.
pub(super) fn access(row: &Row<'_>) -> rusqlite::Result<Access> {
    Ok(Access {
        at: row.get(0)?,
        action: row.get(1)?,
        who: row.get(2)?,
        run: row.get(3)?,
        step: row.get(4)?,
        detail: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::index::Durability;

    #[test]
    fn accesses_are_added_and_stay() {
        let state = tempfile::tempdir().unwrap();
        let mut index = Index::open(state.path(), Durability::Buffered).unwrap();
        let all = [
            AccessAction::Approve,
            AccessAction::Reject,
            AccessAction::Undo,
            AccessAction::Rollback,
            AccessAction::Export,
            AccessAction::Gc,
        ];
        for action in all {
            let detail = String::new();
            let access = NewAccess { action, who: "ann".to_owned(), run: Some("r".to_owned()), step: None, detail };
            index.note_access(&access).unwrap();
        }
        let found = index.accesses(9).unwrap();
        assert!(found.iter().map(|access| access.action.as_str()).eq(all.map(AccessAction::name)));
        let last: Vec<String> = index.accesses(2).unwrap().into_iter().map(|access| access.action).collect();
        assert_eq!(last, ["export", "gc"]);
        for sql in ["UPDATE accesses SET who = 'bob'", "DELETE FROM accesses"] {
            assert!(index.db("test").batch(sql).is_err(), "{sql}");
        }
        assert_eq!(index.accesses(9).unwrap(), found);
    }
}
