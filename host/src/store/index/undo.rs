//! Which steps can be undone, the newest first, and which results can be used again.

use rusqlite::params;

use super::db::{Db, integer, natural};
use super::{Index, IndexError};
use crate::id::Digest;
use crate::limits;

/// A step that changed something and is not undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoStep {
    /// The run's id.
    pub run: String,
    /// The run's plan.
    pub plan: String,
    /// The step's id.
    pub step: String,
    /// Its tool.
    pub tool: Option<String>,
    /// Which attempt.
    pub attempt: u32,
    /// How many paths it changed.
    pub changed: u64,
    /// When it ended; `None` where that is not known any more.
    pub ended_at: Option<String>,
}

/// A completed step whose result may be used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reusable {
    /// The run's id.
    pub run: String,
    /// The step's id.
    pub step: String,
    /// Which attempt.
    pub attempt: u32,
    /// The number of its `step-end`.
    pub seq: u64,
}

/// Steps that can be undone, the newest first: in the order in which they ended, which no clock decides.
pub(super) const OPEN: &str = "SELECT steps.run, runs.plan_name, steps.step, steps.tool, steps.attempt, steps.changed, steps.ended_at, \
     steps.position FROM steps JOIN runs ON runs.id = steps.run \
     LEFT JOIN step_order ON step_order.run = steps.run AND step_order.position = steps.position \
     WHERE steps.changed > 0 AND steps.undone_by IS NULL AND steps.undo_dropped = 0 \
     ORDER BY step_order.ordinal DESC, runs.sequence DESC, steps.position DESC LIMIT ?1 OFFSET ?2";

/// Completed steps of a fingerprint, the newest first.
pub(super) const REUSABLE: &str = "SELECT steps.run, steps.step, steps.attempt, steps.end_seq FROM steps JOIN runs ON runs.id = steps.run \
     LEFT JOIN step_order ON step_order.run = steps.run AND step_order.position = steps.position \
     WHERE steps.fingerprint = ?1 AND steps.status = 'completed' AND steps.end_seq IS NOT NULL \
     AND steps.undone_by IS NULL AND runs.damage IS NULL \
     ORDER BY step_order.ordinal DESC, runs.sequence DESC, steps.position DESC LIMIT ?2";

impl Index {
    /// The newest steps that can be undone, at the most `max`.
    ///
    /// # Errors
    ///
    /// [`IndexError`].
    pub fn undo_stack(&self, max: usize) -> Result<Vec<UndoStep>, IndexError> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        Ok(open(self.db("list what can be undone"), max, 0)?.into_iter().map(|(step, _)| step).collect())
    }

    /// Takes a step from what can be undone, because the run `by_run` has undone it. An undo that failed keeps its record: do not call
    /// this then.
    ///
    /// # Errors
    ///
    /// [`IndexError::NoSuchStep`] where the step changed nothing or is undone already.
    pub fn mark_undone(&mut self, run: &str, step: &str, by_run: &str) -> Result<(), IndexError> {
        let changed = self.transaction("note an undo", |db| {
            db.execute(
                "UPDATE steps SET undone_by = ?3 WHERE run = ?1 AND position = (SELECT max(position) FROM steps \
                 WHERE run = ?1 AND step = ?2 AND changed > 0 AND undone_by IS NULL)",
                [run, step, by_run],
            )
        })?;
        match changed {
            0 => Err(IndexError::NoSuchStep { run: run.to_owned(), step: step.to_owned() }),
            _ => Ok(()),
        }
    }

    /// The completed steps of that fingerprint, the newest first, at the most [`limits::REUSABLE_MAX`]. Those that were undone and those
    /// of runs whose trace is damaged are not among them.
    ///
    /// # Errors
    ///
    /// [`IndexError`].
    pub fn find_reusable(&self, fingerprint: Digest) -> Result<Vec<Reusable>, IndexError> {
        let max = i64::try_from(limits::REUSABLE_MAX).unwrap_or(i64::MAX);
        self.db("look for a result").all(REUSABLE, params![fingerprint.to_string(), max], |row| {
            let seq = natural(row.get(3)?);
            Ok(Reusable { run: row.get(0)?, step: row.get(1)?, attempt: row.get(2)?, seq })
        })
    }
}

fn open(db: Db<'_>, max: i64, offset: i64) -> Result<Vec<(UndoStep, i64)>, IndexError> {
    db.all(OPEN, [max, offset], |row| {
        let changed = natural(row.get(5)?);
        let (run, plan, step, tool) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let step = UndoStep { run, plan, step, tool, attempt: row.get(4)?, changed, ended_at: row.get(6)? };
        Ok((step, row.get(7)?))
    })
}

/// Lets go of all but the newest [`limits::UNDO_STEPS_MAX`]. Gives those that were let go.
pub(super) fn drop_oldest(db: Db<'_>) -> Result<Vec<UndoStep>, IndexError> {
    let kept = integer(u64::try_from(limits::UNDO_STEPS_MAX).unwrap_or(u64::MAX));
    let count =
        db.one("SELECT count(*) FROM steps WHERE changed > 0 AND undone_by IS NULL AND undo_dropped = 0", [], |row| {
            row.get::<_, i64>(0)
        })?;
    // Nearly always: then nothing is sorted.
    if count.unwrap_or_default() <= kept {
        return Ok(Vec::new());
    }
    let old = open(db, -1, kept)?;
    for (step, position) in &old {
        db.execute("UPDATE steps SET undo_dropped = 1 WHERE run = ?1 AND position = ?2", params![step.run, position])?;
    }
    Ok(old.into_iter().map(|(step, _)| step).collect())
}
