//! Reading rows back.

use std::collections::BTreeMap;

use rusqlite::{Row, params};

use super::db::{Db, natural};
use super::status::{RunStatus, StepStatus};
use super::{Index, IndexError};

/// Which runs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only those that are this.
    pub status: Option<RunStatus>,
    /// Only those in this name.
    pub principal: Option<String>,
    /// At the most so many; `None` for all.
    pub limit: Option<usize>,
}

/// A run as the index knows it. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// Its folder below the state folder.
    pub folder: String,
    /// Its plan's name; empty where that could not be read.
    pub plan_name: String,
    /// The digest of its plan; `None` before its header.
    pub plan: Option<String>,
    /// The digest of its policy; `None` before its header.
    pub policy: Option<String>,
    /// In whose name it runs; `None` before its header.
    pub principal: Option<String>,
    /// What it is.
    pub status: RunStatus,
    /// Why, where that was said.
    pub reason: String,
    /// The run that it took up.
    pub resumed_from: Option<String>,
    /// When it was created.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
    /// Events of the trace up to the last one that the index has.
    pub events: u64,
    /// The hash of that one.
    pub head: Option<String>,
    /// Steps that ended, each attempt counted.
    pub steps: u64,
    /// Fuel that they used, as far as known.
    pub fuel: u64,
    /// Why its trace could not be read to the end.
    pub damage: Option<String>,
    /// How often its rows were taken back or built again.
    pub rebuilds: u64,
    /// Its labels.
    pub tags: Vec<String>,
}

/// A step, or one attempt of it, as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    /// The run's id.
    pub run: String,
    /// Its place among the run's steps, in the order of the trace.
    pub position: u64,
    /// Its id.
    pub step: String,
    /// Its tool.
    pub tool: Option<String>,
    /// Which attempt.
    pub attempt: u32,
    /// What it is.
    pub status: StepStatus,
    /// See [`super::StepFacts::fingerprint`].
    pub fingerprint: Option<String>,
    /// The number of its first event.
    pub begin_seq: Option<u64>,
    /// The number of its last event.
    pub end_seq: Option<u64>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Fuel that it used.
    pub fuel: Option<u64>,
    /// Host calls that it made.
    pub calls: Option<u64>,
    /// How long it took.
    pub duration_us: Option<u64>,
    /// The run that its result was taken from.
    pub reused_from: Option<String>,
    /// Paths that it changed.
    pub changed: Option<u64>,
    /// The run that has undone it.
    pub undone_by: Option<String>,
    /// Whether it cannot be undone any more because too many newer ones can.
    pub undo_dropped: bool,
}

const RUN_COLUMNS: &str = "id, folder, plan_name, plan, policy, principal, status, reason, resumed_from, created_at, updated_at, \
     events, head, steps, fuel, damage, rebuilds, tags FROM runs";

impl Index {
    /// Runs, the newest first.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, IndexError> {
        let RunFilter { status, principal, limit } = filter;
        let limit = limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let sql = format!(
            "SELECT {RUN_COLUMNS} WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR principal = ?2) \
             ORDER BY id DESC LIMIT ?3"
        );
        self.db("list the runs").all(&sql, params![status.map(RunStatus::name), principal, limit], run)
    }

    /// One run.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn run(&self, id: &str) -> Result<Option<RunRow>, IndexError> {
        run_of(self.db("read a run"), id)
    }

    /// The steps of a run in the order of its trace.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn steps(&self, run: &str) -> Result<Vec<StepRow>, IndexError> {
        steps_of(self.db("list the steps"), run)
    }

    /// When the events of a run were committed, by their number, as far as known.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn times(&self, run: &str) -> Result<BTreeMap<u64, String>, IndexError> {
        let times = self.db("read the times of a run").all(
            "SELECT seq, at FROM events WHERE run = ?1 AND at IS NOT NULL ORDER BY seq",
            [run],
            |row| Ok((natural(row.get(0)?), row.get(1)?)),
        )?;
        Ok(times.into_iter().collect())
    }
}

pub(super) fn run_of(db: Db<'_>, id: &str) -> Result<Option<RunRow>, IndexError> {
    db.one(&format!("SELECT {RUN_COLUMNS} WHERE id = ?1"), [id], run)
}

pub(super) fn steps_of(db: Db<'_>, run: &str) -> Result<Vec<StepRow>, IndexError> {
    db.all(
        "SELECT run, position, step, tool, attempt, status, fingerprint, begin_seq, end_seq, ended_at, fuel, calls, \
         duration_us, reused_from, changed, undone_by, undo_dropped FROM steps WHERE run = ?1 ORDER BY position",
        [run],
        step,
    )
}

fn run(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    // The column is checked to hold one of the words.
    let status = RunStatus::from_name(row.get_ref(6)?.as_str()?).unwrap_or(RunStatus::Unknown);
    Ok(RunRow {
        id: row.get(0)?,
        folder: row.get(1)?,
        plan_name: row.get(2)?,
        plan: row.get(3)?,
        policy: row.get(4)?,
        principal: row.get(5)?,
        status,
        reason: row.get(7)?,
        resumed_from: row.get(8)?,
        created_at: row.get(9)?,
        updated_at: row.get(10)?,
        events: natural(row.get(11)?),
        head: row.get(12)?,
        steps: natural(row.get(13)?),
        fuel: natural(row.get(14)?),
        damage: row.get(15)?,
        rebuilds: natural(row.get(16)?),
        // The column is checked to hold an array.
        tags: serde_json::from_str(row.get_ref(17)?.as_str()?).unwrap_or_default(),
    })
}

fn step(row: &Row<'_>) -> rusqlite::Result<StepRow> {
    let number = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(natural));
    let status = StepStatus::from_name(row.get_ref(5)?.as_str()?).unwrap_or(StepStatus::Failed);
    Ok(StepRow {
        run: row.get(0)?,
        position: natural(row.get(1)?),
        step: row.get(2)?,
        tool: row.get(3)?,
        attempt: row.get(4)?,
        status,
        fingerprint: row.get(6)?,
        begin_seq: number(7)?,
        end_seq: number(8)?,
        ended_at: row.get(9)?,
        fuel: number(10)?,
        calls: number(11)?,
        duration_us: number(12)?,
        reused_from: row.get(13)?,
        changed: number(14)?,
        undone_by: row.get(15)?,
        undo_dropped: row.get(16)?,
    })
}
