//! What runs do: a run that begins, and everything that one step means as one transaction.
//!
//! The trace is the truth. A commit that begins with an event whose number the index has already discards what the index had from there
//! on: recovery cuts a trace back to before an unfinished step, and what follows takes the place of what is gone.

use rusqlite::params;

use super::db::{Db, integer, natural};
use super::row::{Change, EventRow, Row, StepFacts};
use super::status::{RunStatus, StepStatus};
use super::undo::{self, UndoStep};
use super::{Index, IndexError};
use crate::clock;
use crate::id::Digest;

/// A run that begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRun {
    /// Its id, which says when it was created.
    pub id: String,
    /// The run that it takes up, where it does.
    pub resumed_from: Option<String>,
}

/// What a commit has led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Steps that cannot be undone any more, because [`crate::limits::UNDO_STEPS_MAX`] newer ones can: a person should be told.
    pub undo_dropped: Vec<UndoStep>,
}

/// Which row of a step has begun and not ended.
pub(super) const LAST_RUNNING: &str =
    "SELECT max(position) FROM steps INDEXED BY steps_by_step WHERE run = ?1 AND step = ?2 AND status = 'running'";
/// Which row an attempt of a step has, or the last one.
pub(super) const LAST_ATTEMPT: &str = "SELECT max(position) FROM steps INDEXED BY steps_by_step \
     WHERE run = ?1 AND step = ?2 AND (?3 IS NULL OR attempt = ?3)";

/// The row of the run that is committed to.
struct Current<'a> {
    run: &'a str,
    status: RunStatus,
    events: u64,
    /// What the events since add to the row, which is written once for all of them.
    head: Option<String>,
    ended: i64,
    fuel: i64,
}

impl Index {
    /// Puts a run into the index that has a folder and nothing in it yet. Another process that has looked at the folders may have been
    /// faster. Gives its number, which is higher than that of every run before it, whatever the clock says.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn begin_run(&mut self, run: &NewRun) -> Result<u64, IndexError> {
        self.transaction("begin a run", |db| {
            insert_run(db, run, &clock::utc_now(), None)?;
            let number = db.one("SELECT sequence FROM runs WHERE id = ?1", [&run.id], |row| row.get(0))?;
            Ok(natural(number.unwrap_or_default()))
        })
    }

    /// Commits everything that one step means: the events since the last commit, what is known beside them, what the run is now.
    ///
    /// # Errors
    ///
    /// * [`IndexError::NoSuchRun`], [`IndexError::NoSuchStep`];
    /// * [`IndexError::Transition`] where a status may not follow the one there is;
    /// * what SQLite says. Nothing is changed then.
    pub fn commit(&mut self, run: &str, rows: &[Row]) -> Result<Committed, IndexError> {
        let at = clock::utc_now();
        self.transaction("commit", |db| {
            let changed = commit(db, run, rows, Some(&at))?;
            let_go(db, changed)
        })
    }

    /// Says what a run is.
    ///
    /// # Errors
    ///
    /// As for [`Self::commit`].
    pub fn set_status(&mut self, run: &str, status: RunStatus, reason: &str) -> Result<(), IndexError> {
        let rows = [Row::Status { status, reason: reason.to_owned() }];
        self.commit(run, &rows).map(drop)
    }

    /// Takes runs out of the index with all that belongs to them. Gives how many there were.
    ///
    /// # Errors
    ///
    /// [`IndexError`].
    pub fn forget(&mut self, runs: &[String]) -> Result<usize, IndexError> {
        self.transaction("remove runs", |db| {
            runs.iter().try_fold(0, |count, run| Ok(count + db.execute("DELETE FROM runs WHERE id = ?1", [run])?))
        })
    }
}

/// Adds a run; one that has no number yet is the newest.
pub(super) fn insert_run(db: Db<'_>, run: &NewRun, now: &str, number: Option<u64>) -> Result<(), IndexError> {
    let created = created_at(&run.id).unwrap_or_else(|| now.to_owned());
    let folder = format!("{}/{}", crate::store::RUNS, run.id);
    db.execute(
        "INSERT INTO runs (id, folder, resumed_from, created_at, updated_at, sequence) VALUES (?1, ?2, ?3, ?4, ?5, \
         coalesce(?6, (SELECT coalesce(max(sequence), 0) + 1 FROM runs))) \
         ON CONFLICT (id) DO UPDATE SET resumed_from = excluded.resumed_from, sequence = excluded.sequence",
        params![run.id, folder, run.resumed_from, created, now, number.map(integer)],
    )
    .map(drop)
}

/// When a run was created, from its id: `20260131T120000.123456Z-…`.
pub(in crate::store) fn created_at(id: &str) -> Option<String> {
    let (time, _) = id.split_once('-')?;
    let form = "dddddddd'dddddd.ddddddZ";
    let fits = time.len() == form.len()
        && time.bytes().zip(form.bytes()).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            b'\'' => byte == b'T',
            form => byte == form,
        });
    let part = |from: usize, to: usize| time.get(from..to).filter(|_| fits);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, rest) = (part(9, 11)?, part(11, 13)?, part(13, 23)?);
    Some(format!("{year}-{month}-{day}T{hour}:{minute}:{rest}"))
}

/// A commit within a transaction. Without a time, because the trace is read and not lived through, the rows have none. Gives whether a step
/// has changed something, see [`let_go`].
pub(super) fn commit(db: Db<'_>, run: &str, rows: &[Row], at: Option<&str>) -> Result<bool, IndexError> {
    let mut current = current(db, run)?;
    let mut changed = false;
    for row in rows {
        match row {
            Row::Event(event) => put_event(db, &mut current, event, at)?,
            Row::Step(facts) => {
                put_facts(db, &current, facts, at)?;
                changed |= facts.changed.is_some_and(|count| count > 0);
            }
            Row::Status { status, reason } => become_status(db, &mut current, *status, reason)?,
        }
    }
    put_sums(db, &mut current, at)?;
    Ok(changed)
}

/// What has to be let go once steps have `changed` something: asked once for all commits of a transaction.
pub(super) fn let_go(db: Db<'_>, changed: bool) -> Result<Committed, IndexError> {
    Ok(Committed { undo_dropped: if changed { undo::drop_oldest(db)? } else { Vec::new() } })
}

/// Writes what the events since have added to the run's row.
fn put_sums(db: Db<'_>, current: &mut Current<'_>, at: Option<&str>) -> Result<(), IndexError> {
    let (head, ended, fuel) = (current.head.take(), current.ended, current.fuel);
    (current.ended, current.fuel) = (0, 0);
    db.execute(
        "UPDATE runs SET events = ?2, head = coalesce(?3, head), steps = steps + ?4, fuel = fuel + ?5, \
         updated_at = coalesce(?6, updated_at) WHERE id = ?1",
        params![current.run, integer(current.events), head, ended, fuel, at],
    )
    .map(drop)
}

fn current<'a>(db: Db<'_>, run: &'a str) -> Result<Current<'a>, IndexError> {
    let found = db.one("SELECT status, events FROM runs WHERE id = ?1", [run], |row| {
        Ok((row.get_ref(0)?.as_str()?.to_owned(), row.get::<_, i64>(1)?))
    })?;
    let (status, events) = found.ok_or_else(|| IndexError::NoSuchRun { run: run.to_owned() })?;
    let status = RunStatus::from_name(&status).unwrap_or(RunStatus::Unknown);
    Ok(Current { run, status, events: natural(events), head: None, ended: 0, fuel: 0 })
}

fn become_status(db: Db<'_>, current: &mut Current<'_>, to: RunStatus, reason: &str) -> Result<(), IndexError> {
    let (run, from) = (current.run, current.status);
    if !from.may_become(to) {
        return Err(IndexError::Transition { run: run.to_owned(), from, to });
    }
    db.execute("UPDATE runs SET status = ?2, reason = ?3 WHERE id = ?1", params![run, to.name(), reason])?;
    current.status = to;
    Ok(())
}

fn put_event(db: Db<'_>, current: &mut Current<'_>, event: &EventRow, at: Option<&str>) -> Result<(), IndexError> {
    if event.seq < current.events {
        put_sums(db, current, None)?;
        rewind(db, current, event.seq)?;
    }
    let EventRow { seq, hash, kind, step, tool, status, reason, json, change } = event;
    let (run, seq, hash) = (current.run, integer(*seq), hash.to_string());
    db.execute(
        "INSERT INTO events (run, seq, kind, step, tool, status, reason, at, hash, json) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![run, seq, kind, step, tool, status, reason, at, hash, json],
    )?;
    current.events = event.seq.saturating_add(1);
    let step = step.as_deref().unwrap_or_default();
    match change {
        Change::Nothing => {}
        Change::Header { plan_name, plan, policy, principal, tags } => {
            let tags = serde_json::json!(tags).to_string();
            db.execute(
                "UPDATE runs SET plan_name = ?2, plan = ?3, policy = ?4, principal = ?5, tags = ?6 WHERE id = ?1",
                params![run, plan_name, plan.to_string(), policy.to_string(), principal, tags],
            )?;
            if current.status == RunStatus::Pending {
                become_status(db, current, RunStatus::Running, "")?;
            }
        }
        Change::Begin { attempt, key } => {
            insert_step(
                db,
                run,
                step,
                tool.as_deref(),
                (*attempt, *key),
                StepStatus::Running,
                (Some(seq), None),
                None,
            )?;
        }
        Change::Settled(status, key) => {
            insert_step(db, run, step, tool.as_deref(), (1, *key), *status, (Some(seq), Some(seq)), at)?;
        }
        Change::Denied => {
            let seqs = (Some(seq), Some(seq));
            insert_step(db, run, step, tool.as_deref(), (1, None), StepStatus::Denied, seqs, at)?;
        }
        Change::End { status, fuel, calls } => {
            let fuel = fuel.map(integer);
            put_order(db, run, step, at.is_some())?;
            let changed = db.execute(
                &format!(
                    "UPDATE steps SET status = ?3, end_seq = ?4, fuel = ?5, calls = ?6, ended_at = ?7 \
                     WHERE run = ?1 AND position = ({LAST_RUNNING})"
                ),
                params![run, step, status.name(), seq, fuel, integer(*calls), at],
            )?;
            if changed == 0 {
                return Err(IndexError::NoSuchStep { run: run.to_owned(), step: step.to_owned() });
            }
            current.ended += 1;
            current.fuel += fuel.unwrap_or_default();
        }
        Change::RunEnd { outcome } => become_status(db, current, RunStatus::from(*outcome), "")?,
    }
    current.head = Some(hash);
    Ok(())
}

/// Numbers a step that is about to end: behind all that have ended. One that is read from a trace keeps the number that it has.
fn put_order(db: Db<'_>, run: &str, step: &str, is_live: bool) -> Result<(), IndexError> {
    let verb = if is_live { "REPLACE" } else { "IGNORE" };
    let sql = format!(
        "INSERT OR {verb} INTO step_order (run, position) SELECT run, position FROM steps \
         WHERE run = ?1 AND position = ({LAST_RUNNING})"
    );
    db.execute(&sql, params![run, step]).map(drop)
}

#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
fn insert_step(
    db: Db<'_>,
    run: &str,
    step: &str,
    tool: Option<&str>,
    (attempt, key): (u32, Option<Digest>),
    status: StepStatus,
    (begin, end): (Option<i64>, Option<i64>),
    at: Option<&str>,
) -> Result<(), IndexError> {
    db.execute(
        "INSERT INTO steps (run, position, step, tool, attempt, status, begin_seq, end_seq, ended_at, fingerprint) VALUES \
         (?1, (SELECT coalesce(max(position) + 1, 0) FROM steps WHERE run = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![run, step, tool, attempt.max(1), status.name(), begin, end, at, key.map(|key| key.to_string())],
    )
    .map(drop)
}

fn put_facts(db: Db<'_>, current: &Current<'_>, facts: &StepFacts, at: Option<&str>) -> Result<(), IndexError> {
    let StepFacts { step, attempt, status, tool, fingerprint, duration_us, reused_from, changed } = facts;
    let run = current.run;
    let find =
        || db.one(LAST_ATTEMPT, params![run, step, attempt], |row| row.get::<_, Option<i64>>(0)).map(Option::flatten);
    let position = match (find()?, status) {
        (Some(position), _) => Some(position),
        (None, Some(status)) => {
            insert_step(db, run, step, tool.as_deref(), (attempt.unwrap_or(1), None), *status, (None, None), at)?;
            find()?
        }
        (None, None) => None,
    };
    let position = position.ok_or_else(|| IndexError::NoSuchStep { run: run.to_owned(), step: step.clone() })?;
    db.execute(
        "UPDATE steps SET status = coalesce(?3, status), tool = coalesce(?4, tool), \
         fingerprint = coalesce(?5, fingerprint), duration_us = coalesce(?6, duration_us), \
         reused_from = coalesce(?7, reused_from), changed = coalesce(?8, changed) WHERE run = ?1 AND position = ?2",
        params![
            run,
            position,
            status.map(StepStatus::name),
            tool,
            fingerprint.map(|digest| digest.to_string()),
            duration_us.map(integer),
            reused_from,
            changed.map(integer),
        ],
    )
    .map(drop)
}

/// Takes back what the index has from event `seq` on.
fn rewind(db: Db<'_>, current: &mut Current<'_>, seq: u64) -> Result<(), IndexError> {
    let (run, at) = (current.run, integer(seq));
    let ended = db.one(
        "SELECT 1 FROM events WHERE run = ?1 AND seq >= ?2 AND kind = 'run-end' LIMIT 1",
        params![run, at],
        |_| Ok(()),
    )?;
    db.execute("DELETE FROM events WHERE run = ?1 AND seq >= ?2", params![run, at])?;
    db.execute("DELETE FROM steps WHERE run = ?1 AND begin_seq >= ?2", params![run, at])?;
    db.execute(
        "UPDATE steps SET status = 'running', end_seq = NULL, ended_at = NULL, fuel = NULL, calls = NULL, \
         duration_us = NULL, changed = NULL WHERE run = ?1 AND end_seq >= ?2",
        params![run, at],
    )?;
    let status = match ended {
        Some(()) => RunStatus::Running,
        None => current.status,
    };
    db.execute(
        "UPDATE runs SET rebuilds = rebuilds + 1, status = ?2, \
         events = (SELECT coalesce(max(seq) + 1, 0) FROM events WHERE run = ?1), \
         head = (SELECT hash FROM events WHERE run = ?1 ORDER BY seq DESC LIMIT 1), \
         steps = (SELECT count(*) FROM events WHERE run = ?1 AND kind = 'step-end'), \
         fuel = (SELECT coalesce(sum(fuel), 0) FROM steps WHERE run = ?1) WHERE id = ?1",
        params![run, status.name()],
    )?;
    current.status = status;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::created_at;

    #[test]
    fn the_time_of_a_run_is_read_from_its_id() {
        let time = created_at("20260131T120105.123456Z-0a1b2c3d");
        assert_eq!(time.as_deref(), Some("2026-01-31T12:01:05.123456Z"));
        for other in ["success", "", "20260131T120105Z-0a1b2c3d", "20260131 120105.123456Z-0"] {
            assert_eq!(created_at(other), None, "{other}");
        }
    }
}
