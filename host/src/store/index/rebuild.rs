//! Builds rows again from the traces, which are the truth. The chain of each trace is verified on the way: what stands behind the first
//! bad event is not taken over, and the run says so in its column `damage`.
//!
//! What no trace says is kept where the row that it belongs to comes out the same: when events were committed, fingerprints, how long steps
//! took, what was undone, and a status that somebody's decision has led to. Approvals, deliveries and accesses stay; where the file was damaged,
//! as many approvals and accesses as can still be read come along, and every decision that a run has gone on with comes from its trace.

use std::collections::BTreeMap;
use std::fs;
use std::time::UNIX_EPOCH;

use rusqlite::params;

use super::commit::{self, NewRun, insert_run};
use super::db::{Db, integer};
use super::query::{RunRow, StepRow};
use super::row::{EventRow, Row, StepFacts};
use super::salvage::{Decisions, Salvaged};
use super::{COMPANIONS, Durability, INDEX_FILE, Index, IndexError, RunStatus};
use crate::clock;
use crate::limits;
use crate::store::{RUNS, RunDir, RunStore, StoreError, failed};
use crate::trace::TRACE_FILE;
use crate::trace::TraceError;
use crate::trace::reader::Reader;

/// A run whose rows were built again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reindexed {
    /// Its id.
    pub run: String,
    /// Events of its trace that are in the index, host calls included up to the last other event.
    pub events: u64,
    /// Why its trace could not be read to the end, where that is so.
    pub damage: Option<String>,
}

/// What the index knows of a run and its trace does not.
#[derive(Default)]
struct Kept {
    run: Option<RunRow>,
    steps: BTreeMap<(u64, String, u32), StepRow>,
    times: BTreeMap<u64, (String, String)>,
}

/// Builds the whole index of a state folder again. A damaged file is put aside as `host.db.damaged-<time>`. `facts` says what is known of
/// the steps of a run beside its trace and the index.
///
/// # Errors
///
/// [`StoreError`]; a damaged trace is none.
pub fn reindex(
    store: &RunStore,
    durability: Durability,
    facts: &dyn Fn(&RunDir) -> Vec<StepFacts>,
) -> Result<Vec<Reindexed>, StoreError> {
    let opened = Index::open(store.state(), durability).and_then(|index| index.check().map(|()| index));
    let mut saved = Salvaged::default();
    let mut index = match opened {
        Err(IndexError::Damaged { .. }) => {
            saved = Salvaged::of(&store.state().join(INDEX_FILE));
            put_aside(store)?;
            Index::open(store.state(), durability)?
        }
        opened => opened?,
    };
    let ids = store.ids()?;
    let gone: Vec<String> = index.runs(&super::RunFilter::default())?.into_iter().map(|run| run.id).collect();
    let there: std::collections::BTreeSet<&String> = ids.iter().collect();
    let gone: Vec<String> = gone.into_iter().filter(|id| !there.contains(id)).collect();
    index.forget(&gone)?;
    // The oldest first: what has no number yet gets one in that order.
    let done =
        ids.iter().rev().map(|id| Ok(index.reindex_run(store, id, facts)?)).collect::<Result<Vec<_>, StoreError>>()?;
    // After the runs that it is about, and before anybody goes on with one of them.
    saved.put_back(&mut index)?;
    Ok(done)
}

/// Renames a file that is no index any more, with what belongs to it.
fn put_aside(store: &RunStore) -> Result<(), StoreError> {
    let time = clock::utc_compact();
    for name in [INDEX_FILE].into_iter().chain(COMPANIONS) {
        let path = store.state().join(name);
        if path.exists() {
            let aside = store.state().join(format!("{name}.damaged-{time}"));
            fs::rename(&path, aside).map_err(failed("rename", &path))?;
        }
    }
    Ok(())
}

impl Index {
    /// Takes over the runs that have a folder and no row: those of an older program, of a copied folder, of a new index.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; a damaged trace is none.
    pub fn catch_up(&mut self, store: &RunStore) -> Result<Vec<Reindexed>, StoreError> {
        let known = self.runs(&super::RunFilter::default())?;
        // The oldest first: what has no number yet gets one in that order.
        let missing =
            store.ids()?.into_iter().rev().filter(|id| known.binary_search_by(|run| id.cmp(&run.id)).is_err());
        let missing: Vec<String> = missing.collect();
        let taken = missing.iter().map(|id| Ok(self.reindex_run(store, id, &|_| Vec::new())?));
        let mut taken = taken.collect::<Result<Vec<_>, StoreError>>()?;
        taken.reverse();
        Ok(taken)
    }

    /// Builds the rows of one run again.
    ///
    /// # Errors
    ///
    /// [`IndexError`]; a damaged trace is none.
    pub fn reindex_run(
        &mut self,
        store: &RunStore,
        run: &str,
        facts: &dyn Fn(&RunDir) -> Vec<StepFacts>,
    ) -> Result<Reindexed, IndexError> {
        let path = store.state().join(RUNS).join(run);
        let folder = RunDir::open(&path).ok();
        let beside = folder.as_ref().map(|folder| {
            let mut beside = durations(folder);
            beside.extend(facts(folder));
            beside
        });
        // A time of the file, so that a run of last year does not look as if it were of today.
        let changed = fs::metadata(path.join(TRACE_FILE)).and_then(|found| found.modified()).ok();
        let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(clock::rfc3339);
        self.transaction("build a run again", |db| {
            let kept = take_kept(db, run)?;
            let now = clock::utc_now();
            let number = folder.as_ref().and_then(RunDir::sequence);
            reset(db, run, kept.run.is_some(), (&now, number))?;
            let mut decisions = Decisions::default();
            let damage = match &folder {
                Some(folder) => follow(db, run, folder, &mut decisions)?,
                None => None,
            };
            let taken_back = folder.as_ref().and_then(|folder| folder.taken_back().ok().flatten());
            restore(db, run, &kept, taken_back.as_deref())?;
            let place = folder.as_ref().and_then(|folder| folder.place().ok().flatten());
            if let Some(key) = place.and_then(|place| place.key) {
                super::request::found(db, &key, run)?;
            }
            for facts in beside.iter().flatten() {
                // A fact about a step that is not in the trace (any more) says nothing.
                match commit::commit(db, run, &[Row::Step(facts.clone())], None) {
                    Ok(_) | Err(IndexError::NoSuchStep { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            let created: Option<String> =
                db.one("SELECT created_at FROM runs WHERE id = ?1", [run], |row| row.get(0))?;
            let last = changed.clone().unwrap_or_else(|| now.clone());
            decisions.put(db, run, (created.as_deref().unwrap_or(&now), &last))?;
            let updated = kept.run.map(|run| run.updated_at).or(changed).unwrap_or(now);
            db.execute("UPDATE runs SET damage = ?2, updated_at = ?3 WHERE id = ?1", params![run, damage, updated])?;
            let events = db.one("SELECT events FROM runs WHERE id = ?1", [run], |row| row.get::<_, i64>(0))?;
            Ok(Reindexed { run: run.to_owned(), events: events.map(super::db::natural).unwrap_or_default(), damage })
        })
    }

    /// Whether the pages of the file hold together.
    fn check(&self) -> Result<(), IndexError> {
        let said = self.db("check").one("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))?;
        match said.as_deref() {
            Some("ok") => Ok(()),
            said => {
                let what = said.unwrap_or("it cannot be checked").to_owned();
                Err(IndexError::Damaged { path: self.path.clone(), what })
            }
        }
    }
}

/// How long the steps took, as far as the run has said it.
fn durations(folder: &RunDir) -> Vec<StepFacts> {
    let phases = folder.timing().unwrap_or_default();
    let of_step = |what: &str| what.strip_prefix("step ").map(str::to_owned);
    let steps = phases.into_iter().filter_map(|phase| Some((of_step(&phase.what)?, phase.duration_us)));
    steps.map(|(step, us)| StepFacts { step, duration_us: Some(us), ..StepFacts::default() }).collect()
}

fn take_kept(db: Db<'_>, run: &str) -> Result<Kept, IndexError> {
    let mut kept = Kept { run: super::query::run_of(db, run)?, ..Kept::default() };
    if kept.run.is_some() {
        let steps = super::query::steps_of(db, run)?;
        kept.steps = steps.into_iter().map(|step| ((step.position, step.step.clone(), step.attempt), step)).collect();
        let times = db.all("SELECT seq, hash, at FROM events WHERE run = ?1 AND at IS NOT NULL", [run], |row| {
            Ok((super::db::natural(row.get(0)?), (row.get(1)?, row.get(2)?)))
        })?;
        kept.times = times.into_iter().collect();
    }
    Ok(kept)
}

/// Leaves the run's row as it was when the run began.
fn reset(db: Db<'_>, run: &str, known: bool, (now, number): (&str, Option<u64>)) -> Result<(), IndexError> {
    if !known {
        return insert_run(db, &NewRun { id: run.to_owned(), resumed_from: None }, now, number);
    }
    db.execute("DELETE FROM events WHERE run = ?1", [run])?;
    db.execute("DELETE FROM steps WHERE run = ?1", [run])?;
    db.execute(
        "UPDATE runs SET rebuilds = rebuilds + 1, status = 'pending', reason = '', plan_name = '', plan = NULL, \
         policy = NULL, principal = NULL, tags = '[]', events = 0, head = NULL, steps = 0, fuel = 0, damage = NULL WHERE id = ?1",
        [run],
    )
    .map(drop)
}

/// Commits what the trace says, up to where it is whole. Gives what is wrong behind that.
fn follow(db: Db<'_>, run: &str, folder: &RunDir, decisions: &mut Decisions) -> Result<Option<String>, IndexError> {
    let mut reader = match Reader::open(&folder.trace()) {
        Ok(reader) => reader,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let mut rows = Vec::new();
    loop {
        let next = next(&mut reader, decisions);
        let ended = !matches!(next, Ok(Some(_)));
        if let Ok(Some(Some(row))) = &next {
            rows.push(Row::Event(row.clone()));
        }
        if ended || rows.len() >= limits::REINDEX_ROWS_MAX {
            if let Err(error) = put(db, run, &rows) {
                return match error {
                    // Whole lines of a right chain that make no sense together: the trace was not written by a recorder.
                    IndexError::NoSuchStep { .. } | IndexError::Transition { .. } => Ok(Some(error.to_string())),
                    error => Err(error),
                };
            }
            rows.clear();
        }
        match next {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(TraceError::Torn { .. }) => return Ok(None),
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
}

fn put(db: Db<'_>, run: &str, rows: &[Row]) -> Result<(), IndexError> {
    if rows.is_empty() { Ok(()) } else { commit::commit(db, run, rows, None).map(drop) }
}

/// The next event of a trace, `None` within for a host call.
fn next(reader: &mut Reader, decisions: &mut Decisions) -> Result<Option<Option<EventRow>>, TraceError> {
    let Some(line) = reader.next_line()? else { return Ok(None) };
    match line.kind() {
        kind if kind.is_inside_of_step() => Ok(Some(None)),
        _ => {
            let event = line.event()?;
            decisions.follow(&event);
            EventRow::of(line.seq(), line.hash(), &event).map(Some)
        }
    }
}

/// Puts back what the trace does not say.
/// `taken_back` is the run that has taken this one back.
fn restore(db: Db<'_>, run: &str, kept: &Kept, taken_back: Option<&str>) -> Result<(), IndexError> {
    for (seq, (hash, at)) in &kept.times {
        db.execute(
            "UPDATE events SET at = ?3 WHERE run = ?1 AND seq = ?2 AND hash = ?4",
            params![run, integer(*seq), at, hash],
        )?;
    }
    for ((position, id, attempt), step) in &kept.steps {
        let beside = step.begin_seq.is_none() && step.end_seq.is_none();
        let sql = if beside {
            "INSERT OR IGNORE INTO steps (run, position, step, attempt, tool, status, fingerprint, ended_at, duration_us, \
             reused_from, changed, undone_by, undo_dropped) \
             VALUES (?1, ?2, ?3, ?4, ?12, ?13, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        } else {
            "UPDATE steps SET fingerprint = ?5, ended_at = ?6, duration_us = ?7, reused_from = ?8, changed = ?9, \
             undone_by = ?10, undo_dropped = ?11 \
             WHERE run = ?1 AND position = ?2 AND step = ?3 AND attempt = ?4 AND (?12 IS NULL OR tool = ?12) AND status = ?13"
        };
        db.execute(
            sql,
            params![
                run,
                integer(*position),
                id,
                attempt,
                step.fingerprint,
                step.ended_at,
                step.duration_us.map(integer),
                step.reused_from,
                step.changed.map(integer),
                step.undone_by,
                step.undo_dropped,
                step.tool,
                step.status.name(),
            ],
        )?;
    }
    // A power failure may leave the index ahead of the trace: what followed an end that the trace does not have did not happen, unless another
    // run has taken this one back.
    let status: Option<String> = db.one("SELECT status FROM runs WHERE id = ?1", [run], |row| row.get(0))?;
    let has_ended = status.as_deref().and_then(RunStatus::from_name).is_some_and(RunStatus::has_ended);
    let can_have_ended = has_ended || taken_back.is_some();
    let follows = |old: &&RunRow| old.status.is_beside_the_trace() && (can_have_ended || !old.status.has_ended());
    let old = kept.run.as_ref().filter(follows).map(|old| (old.status, old.reason.clone()));
    let by = taken_back.map(|by| (RunStatus::RolledBack, format!("taken back by the run {by}")));
    if let Some((status, reason)) = old.or(by) {
        match commit::commit(db, run, &[Row::Status { status, reason }], None) {
            Ok(_) | Err(IndexError::Transition { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
