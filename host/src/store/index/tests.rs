use std::time::Duration;

use proptest::prelude::*;
use rusqlite::types::Value;
use serde_json::json;

use super::*;
use crate::context::RequestKey;
use crate::id::Digest;
use crate::outcome::{Outcome, RunOutcome};
use crate::store::{RunDir, RunStore};
use crate::trace::event::Event;
use crate::trace::samples;

mod approvals;
mod writing;

/// A state folder with one run in it.
struct Case {
    _folder: tempfile::TempDir,
    store: RunStore,
    run: RunDir,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::at(folder.path().join("state"));
        let run = store.create_run().unwrap();
        Self { _folder: folder, store, run }
    }

    fn open(&self) -> Index {
        Index::open(self.store.state(), Durability::Buffered).unwrap()
    }

    /// An index in which the run has begun.
    fn begun(&self) -> Index {
        let mut index = self.open();
        index.begin_run(&NewRun { id: self.run.id().to_owned(), resumed_from: None }).unwrap();
        index
    }

    fn id(&self) -> &str {
        self.run.id()
    }
}

/// Events with their numbers and hashes, as a recorder would have given them.
fn chained(events: &[Event]) -> Vec<(u64, Digest, Event)> {
    let bytes = samples::recorded(events);
    let mut reader = samples::reader(&bytes);
    let mut chained = Vec::new();
    while let Some(line) = reader.next_line().unwrap() {
        chained.push((line.seq(), line.hash(), line.event().unwrap()));
    }
    chained
}

fn rows(events: &[Event]) -> Vec<Row> {
    Row::events(&chained(events)).unwrap()
}

/// All rows of a table, as text; without what only the wall clock or the way there says.
fn table(index: &Index, table: &str) -> Vec<String> {
    let beside = ["at", "updated_at", "ended_at", "rebuilds"];
    let mut statement = index.connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let rows = statement.query_map([], |row| {
        let cells = columns.iter().enumerate().filter(|(_, name)| !beside.contains(&name.as_str()));
        Ok(cells
            .map(|(at, name)| format!("{name}={:?}", row.get::<_, Value>(at).unwrap()))
            .collect::<Vec<_>>()
            .join(" "))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn tables(index: &Index) -> Vec<String> {
    ["runs", "steps", "events"].iter().flat_map(|name| table(index, name)).collect()
}

fn samples() -> Vec<Vec<Event>> {
    samples::nothing_ran()
        .into_iter()
        .chain([samples::every_outcome(), samples::asked(), samples::log_only()])
        .collect()
}

#[test]
fn files_are_for_their_owner_alone() {
    let case = Case::new();
    let index = case.begun();
    for name in [INDEX_FILE].into_iter().chain(COMPANIONS) {
        let mode = fs::metadata(case.store.state().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    drop(index);
    fs::set_permissions(case.store.state().join(INDEX_FILE), fs::Permissions::from_mode(0o644)).unwrap();
    let index = case.open();
    assert_eq!(fs::metadata(index.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_file_is_what_the_documentation_says() {
    let case = Case::new();
    for (durability, synchronous) in [(Durability::Full, 2), (Durability::Buffered, 1)] {
        let index = Index::open(case.store.state(), durability).unwrap();
        let db = index.db("test");
        let text = |sql| db.one(sql, [], |row| row.get::<_, String>(0)).unwrap().unwrap();
        let number = |sql| db.one(sql, [], |row| row.get::<_, i64>(0)).unwrap().unwrap();
        assert_eq!(text("PRAGMA journal_mode"), "wal");
        assert_eq!(number("PRAGMA synchronous"), synchronous);
        assert_eq!(number("PRAGMA foreign_keys"), 1);
        assert_eq!(number("PRAGMA user_version"), 5);
        let loose = "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0 \
                     AND name NOT LIKE 'sqlite_%'";
        assert_eq!(number(loose), 0);
    }
}

#[test]
fn a_newer_one_and_one_that_is_none_are_refused() {
    let case = Case::new();
    let index = case.open();
    assert!(index.is_new());
    drop(index);
    assert!(!case.open().is_new());
    case.open().db("test").batch("PRAGMA user_version = 6").unwrap();
    let error = Index::open(case.store.state(), Durability::Full).unwrap_err();
    assert!(matches!(error, IndexError::Newer { found: 6, known: 5, .. }), "{error}");
    assert!(error.hint().unwrap().contains("version"));

    let path = case.store.state().join(INDEX_FILE);
    // What is in the log would count for more than the file.
    drop(fs::remove_file(case.store.state().join(COMPANIONS[0])));
    for bytes in [b"no database at all, but long enough to be looked at".repeat(100), b"short".to_vec()] {
        fs::write(&path, bytes).unwrap();
        let error = Index::open(case.store.state(), Durability::Full).unwrap_err();
        assert!(matches!(error, IndexError::Damaged { .. }), "{error}");
        assert!(error.hint().unwrap().contains("recover --reindex"));
    }
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
    let error = Index::open(case.store.state(), Durability::Full).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn a_commit_has_the_step_and_its_events() {
    let case = Case::new();
    let mut index = case.begun();
    assert_eq!(index.run(case.id()).unwrap().unwrap().status, RunStatus::Pending);
    index.commit(case.id(), &rows(&samples::every_outcome())).unwrap();
    let run = index.run(case.id()).unwrap().unwrap();
    assert_eq!((run.plan_name.as_str(), run.status, run.steps), ("sample", RunStatus::Failed, 5));
    assert_eq!(run.principal.as_deref(), Some("agent:reporter"));
    assert_eq!((run.fuel, run.events), (4 * 12_345, samples::every_outcome().len() as u64));
    let day = run.created_at.split_once('T').unwrap().0.replace('-', "");
    assert!(case.id().starts_with(&day), "{}", run.created_at);
    let steps = index.steps(case.id()).unwrap();
    let statuses: Vec<&str> = steps.iter().map(|step| step.status.name()).collect();
    assert_eq!(statuses, ["completed", "failed", "trapped", "limit-exceeded", "cancelled"]);
    assert_eq!(steps.iter().map(|step| step.calls.unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(steps.iter().all(|step| step.begin_seq < step.end_seq && step.ended_at.is_some()));
    let audit = table(&index, "audit");
    assert_eq!(audit.len(), 12, "host calls are not in it");
    assert!(audit[2].contains("tool=Text(\"csv.parse\")") && audit[2].contains("fuel=Integer(12345)"), "{}", audit[2]);
    assert!(audit.iter().all(|row| !row.contains("\\\"prev\\\"")));
}

#[test]
fn a_refused_commit_changes_nothing() {
    let case = Case::new();
    let mut index = case.begun();
    let all = rows(&samples::asked());
    index.commit(case.id(), &all[..2]).unwrap();
    let before = tables(&index);
    // The step ends twice.
    let twice = [all[2].clone(), all[3].clone(), all[3].clone()];
    let [Row::Event(begin), Row::Event(end), Row::Event(again)] = twice else { unreachable!() };
    let again = EventRow { seq: end.seq + 1, ..again };
    let error = index.commit(case.id(), &[begin, end, again].map(Row::Event)).unwrap_err();
    assert!(matches!(error, IndexError::NoSuchStep { .. }), "{error}");
    let ended = Row::Status { status: RunStatus::Paused, reason: "asked".to_owned() };
    let back = Row::Status { status: RunStatus::Completed, reason: String::new() };
    assert!(matches!(index.commit(case.id(), &[ended, back]), Err(IndexError::Transition { .. })));
    assert!(matches!(index.commit("nobody", &all), Err(IndexError::NoSuchRun { .. })));
    assert_eq!(tables(&index), before);
}

#[test]
fn the_trigger_and_the_program_agree_on_every_transition() {
    let case = Case::new();
    let index = case.begun();
    let db = index.db("test");
    for from in RunStatus::ALL {
        for to in RunStatus::ALL {
            let sql = format!("UPDATE runs SET status = '{}', rebuilds = rebuilds + 1", from.name());
            db.batch(&sql).unwrap();
            let refused = db.batch(&format!("UPDATE runs SET status = '{}'", to.name()));
            assert_eq!(refused.is_ok(), from.may_become(*to), "{} -> {}", from.name(), to.name());
        }
    }
    assert!(db.batch("UPDATE runs SET status = 'done', rebuilds = rebuilds + 1").is_err());
    assert!(RunStatus::ALL.iter().filter(|status| !status.has_ended()).count() == 4);
    for outcome in RunOutcome::ALL {
        assert_eq!(RunStatus::from(outcome).name(), outcome.name());
    }
}

#[test]
fn every_status_of_a_step_is_known_to_the_table() {
    let case = Case::new();
    let mut index = case.begun();
    for status in StepStatus::ALL {
        let (step, status) = (status.name().to_owned(), Some(*status));
        index.commit(case.id(), &[Row::Step(StepFacts { step, status, ..StepFacts::default() })]).unwrap();
    }
    let steps = index.steps(case.id()).unwrap();
    assert!(steps.iter().all(|step| step.status.name() == step.step));
    assert_eq!(steps.len(), StepStatus::ALL.len());
}

#[test]
fn what_recovery_cuts_off_is_replaced() {
    let case = Case::new();
    let mut index = case.begun();
    let whole = samples::every_outcome();
    index.commit(case.id(), &rows(&whole)).unwrap();
    let expected = tables(&index);
    // The trace is cut back to before its third step, and goes on in the same way.
    let all = rows(&whole);
    let third = all.iter().position(|row| matches!(row, Row::Event(event) if event.step.as_deref() == Some("step-2")));
    index.commit(case.id(), &all[third.unwrap()..third.unwrap() + 1]).unwrap();
    let run = index.run(case.id()).unwrap().unwrap();
    assert_eq!((run.status, run.steps, run.rebuilds), (RunStatus::Running, 2, 1));
    assert_eq!(index.steps(case.id()).unwrap().len(), 3);
    index.commit(case.id(), &all[third.unwrap() + 1..]).unwrap();
    assert_eq!(tables(&index), expected);
}

#[test]
fn long_events_are_in_the_trace_alone() {
    let case = Case::new();
    let mut index = case.begun();
    let text = "x".repeat(limits::INDEX_EVENT_BYTES_MAX);
    let outcome = Outcome::Failed { error: json!({"message": text}) };
    let events = [samples::header(), samples::begin("a", json!(text)), samples::end("a", outcome, 0)];
    index.commit(case.id(), &rows(&events)).unwrap();
    let found = index.db("test").all("SELECT json IS NULL, length(reason) FROM events", [], |row| {
        Ok((row.get::<_, bool>(0)?, row.get::<_, Option<usize>>(1)?))
    });
    let cut = limits::APPROVAL_TEXT_BYTES_MAX + 1;
    assert_eq!(found.unwrap(), [(false, None), (true, None), (true, Some(cut))]);
}

#[test]
fn results_are_found_by_fingerprint() {
    let case = Case::new();
    let mut index = case.begun();
    let fingerprint = Digest::of(b"fingerprint");
    let mut all = rows(&samples::every_outcome());
    for step in ["step-0", "step-1"] {
        let facts = StepFacts { step: step.to_owned(), fingerprint: Some(fingerprint), ..StepFacts::default() };
        all.push(Row::Step(facts));
    }
    index.commit(case.id(), &all).unwrap();
    let second = case.store.create_run().unwrap();
    index.begin_run(&NewRun { id: second.id().to_owned(), resumed_from: Some(case.id().to_owned()) }).unwrap();
    index.commit(second.id(), &all).unwrap();
    let found = index.find_reusable(fingerprint).unwrap();
    // The newest first; the step that failed is none.
    let expected = [second.id(), case.id()].map(|run| (run.to_owned(), "step-0".to_owned(), 2));
    assert_eq!(found.into_iter().map(|found| (found.run, found.step, found.seq)).collect::<Vec<_>>(), expected);
    assert_eq!(index.find_reusable(Digest::of(b"other")).unwrap(), []);
}

#[test]
fn the_undo_stack_is_bounded_and_gives_the_newest_first() {
    let case = Case::new();
    let mut index = case.begun();
    let mut events = vec![samples::header()];
    let count = limits::UNDO_STEPS_MAX + 2;
    let name = |number: usize| format!("s{number}");
    for number in 0..count {
        events.push(samples::begin(&name(number), json!({})));
        events.push(samples::end(&name(number), Outcome::Completed { output: json!(null) }, 0));
    }
    index.commit(case.id(), &rows(&events)).unwrap();
    let mut dropped = Vec::new();
    for number in 0..count {
        let facts = StepFacts { step: name(number), changed: Some(number as u64 % 3), ..StepFacts::default() };
        dropped.extend(index.commit(case.id(), &[Row::Step(facts)]).unwrap().undo_dropped);
    }
    assert_eq!(dropped, []);
    // Those that changed nothing do not count.
    let stack = index.undo_stack(usize::MAX).unwrap();
    assert_eq!(stack.len(), (0..count).filter(|number| number % 3 > 0).count());
    for number in (0..count).filter(|number| number % 3 == 0) {
        let facts = StepFacts { step: name(number), changed: Some(7), ..StepFacts::default() };
        dropped.extend(index.commit(case.id(), &[Row::Step(facts)]).unwrap().undo_dropped);
    }
    assert_eq!(dropped.iter().map(|step| step.step.as_str()).collect::<Vec<_>>(), ["s0", "s1"]);
    let stack = index.undo_stack(2).unwrap();
    assert_eq!(stack.iter().map(|step| step.step.clone()).collect::<Vec<_>>(), [name(count - 1), name(count - 2)]);
    assert_eq!(index.undo_stack(usize::MAX).unwrap().len(), limits::UNDO_STEPS_MAX);

    index.mark_undone(case.id(), &name(count - 1), "undoes").unwrap();
    assert_eq!(index.undo_stack(1).unwrap()[0].step, name(count - 2));
    let again = index.mark_undone(case.id(), &name(count - 1), "undoes").unwrap_err();
    assert!(matches!(again, IndexError::NoSuchStep { .. }), "{again}");
}

#[test]
fn a_clock_that_is_set_back_changes_no_order() {
    let case = Case::new();
    let mut index = case.begun();
    let changed = |index: &mut Index, run: &str| {
        let facts = StepFacts { step: "step-1".to_owned(), changed: Some(1), ..StepFacts::default() };
        let mut rows = rows(&samples::every_outcome());
        rows.push(Row::Step(facts));
        index.commit(run, &rows).unwrap();
    };
    fs::write(case.run.trace(), samples::recorded(&samples::every_outcome())).unwrap();
    changed(&mut index, case.id());
    // A run of the day before, which begins after the other one.
    let back = "20000101T000000.000000Z-00000000";
    fs::create_dir(case.store.state().join("runs").join(back)).unwrap();
    let back_dir = case.store.state().join("runs").join(back);
    fs::write(back_dir.join("trace.jsonl"), samples::recorded(&samples::every_outcome())).unwrap();
    let number = index.begin_run(&NewRun { id: back.to_owned(), resumed_from: None }).unwrap();
    let (first, second) = (case.store.find(case.id()).unwrap(), case.store.find(back).unwrap());
    first.keep_sequence(number - 1).unwrap();
    second.keep_sequence(number).unwrap();
    changed(&mut index, back);
    index
        .db("test")
        .batch(&format!("UPDATE steps SET ended_at = '2000-01-01T00:00:00.000000Z' WHERE run = '{back}'"))
        .unwrap();
    assert_eq!(case.store.find("last").unwrap().id(), back);
    assert_eq!(case.store.ids().unwrap(), [back, case.id()]);
    let undone = |index: &Index| index.undo_stack(9).unwrap().into_iter().map(|step| step.run).collect::<Vec<_>>();
    assert_eq!(undone(&index), [back, case.id()]);
    // What is built again has the order from the folders, and one that goes on keeps its place.
    index.reindex_run(&case.store, case.id(), &|_| Vec::new()).unwrap();
    assert_eq!(undone(&index), [back, case.id()]);
    drop(index);
    for name in ["host.db", "host.db-wal", "host.db-shm"] {
        let _gone = fs::remove_file(case.store.state().join(name));
    }
    let mut index = Index::open(case.store.state(), Durability::Buffered).unwrap();
    index.catch_up(&case.store).unwrap();
    for run in [back, case.id()] {
        let facts = StepFacts { step: "step-1".to_owned(), changed: Some(1), ..StepFacts::default() };
        index.commit(run, &[Row::Step(facts)]).unwrap();
    }
    assert_eq!(undone(&index), [back, case.id()]);
    // The next one is the newest, and one of an older version is older than all that have a number.
    let next = case.store.create_run().unwrap();
    assert_eq!(index.begin_run(&NewRun { id: next.id().to_owned(), resumed_from: None }).unwrap(), number + 1);
    next.keep_sequence(number + 1).unwrap();
    fs::create_dir(case.store.state().join("runs/20300101T000000.000000Z-00000000")).unwrap();
    let ids = case.store.ids().unwrap();
    assert_eq!(ids.first().map(String::as_str), Some(next.id()));
    assert_eq!(ids.last().map(String::as_str), Some("20300101T000000.000000Z-00000000"));
}

/// What is asked with every step must not look at every row.
#[test]
fn queries_use_their_indexes() {
    let case = Case::new();
    let index = case.begun();
    for (sql, uses) in [
        (super::undo::OPEN, "steps_to_undo"),
        (super::undo::REUSABLE, "steps_by_fingerprint"),
        (super::commit::LAST_RUNNING, "steps_by_step"),
        (super::commit::LAST_ATTEMPT, "steps_by_step"),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        let mut statement = index.connection.prepare(&sql).unwrap();
        let unbound = vec![Value::Null; statement.parameter_count()];
        let plan = statement.query_map(rusqlite::params_from_iter(unbound), |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = plan.map(Result::unwrap).collect();
        assert!(plan.iter().any(|line| line.contains(uses)), "{plan:?}");
        assert!(!plan.iter().any(|line| line.contains("SCAN runs")), "{plan:?}");
    }
}

#[test]
fn runs_are_listed_by_what_they_are() {
    let case = Case::new();
    let mut index = case.begun();
    index.commit(case.id(), &rows(&samples::every_outcome())).unwrap();
    let second = case.store.create_run().unwrap();
    index.begin_run(&NewRun { id: second.id().to_owned(), resumed_from: None }).unwrap();
    let ids = |filter: RunFilter| index.runs(&filter).unwrap().into_iter().map(|run| run.id).collect::<Vec<_>>();
    assert_eq!(ids(RunFilter::default()), [second.id(), case.id()]);
    assert_eq!(ids(RunFilter { limit: Some(1), ..RunFilter::default() }), [second.id()]);
    assert_eq!(ids(RunFilter { status: Some(RunStatus::Failed), ..RunFilter::default() }), [case.id()]);
    let principal = Some("agent:reporter".to_owned());
    assert_eq!(ids(RunFilter { principal, ..RunFilter::default() }), [case.id()]);
    assert_eq!(index.forget(&[case.id().to_owned(), "nobody".to_owned()]).unwrap(), 1);
    assert_eq!(table(&index, "events").len() + table(&index, "steps").len(), 0);
}

#[test]
fn a_new_index_takes_over_the_runs_that_are_there() {
    let case = Case::new();
    fs::write(case.run.trace(), samples::recorded(&samples::every_outcome())).unwrap();
    fs::write(case.run.path().join("timing.jsonl"), "{\"duration_us\":5,\"what\":\"step step-1\"}\n").unwrap();
    let damaged = case.store.create_run().unwrap();
    let mut bytes = samples::recorded(&samples::every_outcome());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(damaged.trace(), bytes).unwrap();
    let empty = case.store.create_run().unwrap();

    let mut index = case.open();
    let taken = index.catch_up(&case.store).unwrap();
    assert_eq!(taken.iter().map(|run| run.run.as_str()).collect::<Vec<_>>(), [empty.id(), damaged.id(), case.id()]);
    assert_eq!(taken.iter().map(|run| run.damage.is_some()).collect::<Vec<_>>(), [false, true, false]);
    assert!(index.catch_up(&case.store).unwrap().is_empty());
    let of = |id: &str| index.run(id).unwrap().unwrap();
    assert_eq!(of(empty.id()).status, RunStatus::Pending);
    assert_eq!(of(damaged.id()).status, RunStatus::Running);
    assert!(of(damaged.id()).events > 1 && of(damaged.id()).damage.is_some());
    assert_eq!(of(case.id()).status, RunStatus::Failed);
    assert_eq!(index.steps(case.id()).unwrap()[1].duration_us, Some(5));
}

#[test]
fn what_no_trace_says_outlives_a_rebuild() {
    let case = Case::new();
    let mut index = case.begun();
    let events = samples::every_outcome();
    fs::write(case.run.trace(), samples::recorded(&events)).unwrap();
    let mut all = rows(&events);
    let fingerprint = Some(Digest::of(b"f"));
    all.push(Row::Step(StepFacts { step: "step-0".into(), fingerprint, changed: Some(2), ..StepFacts::default() }));
    index.commit(case.id(), &all).unwrap();
    index.mark_undone(case.id(), "step-0", "undoes").unwrap();
    index.set_status(case.id(), RunStatus::RolledBack, "by hand").unwrap();
    let (before, times) = (tables(&index), index.times(case.id()).unwrap());
    // Somebody has changed the rows.
    index.db("test").batch("UPDATE steps SET status = 'completed', fuel = 1; UPDATE events SET reason = 'x'").unwrap();
    let rebuilt = reindex(&case.store, Durability::Buffered, &|_| Vec::new()).unwrap();
    assert_eq!(rebuilt.len(), 1);
    assert_eq!(tables(&index), before);
    assert_eq!(index.times(case.id()).unwrap(), times);
    // A run without a folder is none.
    fs::remove_dir_all(case.run.path()).unwrap();
    assert!(reindex(&case.store, Durability::Buffered, &|_| Vec::new()).unwrap().is_empty());
    assert_eq!(tables(&index), Vec::<String>::new());
}

#[test]
fn a_damaged_file_is_put_aside() {
    let case = Case::new();
    fs::write(case.run.trace(), samples::recorded(&samples::every_outcome())).unwrap();
    let mut index = case.begun();
    index.commit(case.id(), &rows(&samples::every_outcome())).unwrap();
    let expected = tables(&index);
    index.db("test").batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(index);
    let path = case.store.state().join(INDEX_FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..16384].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let facts = |_: &RunDir| vec![StepFacts { step: "nobody".into(), changed: Some(1), ..StepFacts::default() }];
    reindex(&case.store, Durability::Full, &facts).unwrap();
    assert_eq!(tables(&case.open()), expected);
    let aside =
        fs::read_dir(case.store.state()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(aside.into_iter().any(|name| name.starts_with("host.db.damaged-")));
}

/// A run of any steps, each with what happened to it.
fn run_of_any_steps() -> impl Strategy<Value = Vec<Event>> {
    let step = (0..7_usize, 0..3_u64, 0..3_usize);
    proptest::collection::vec(step, 0..12).prop_map(|steps| {
        let asked = samples::asked();
        let mut events = vec![samples::header()];
        let begun = steps.len() as u64;
        for (index, (outcome, calls, name)) in steps.into_iter().enumerate() {
            // Some ids occur again: an attempt after another.
            let name = format!("s{}", index * name / 2);
            if outcome == 5 {
                let Event::Approval(approval) = asked[1].clone() else { unreachable!() };
                let step = name.parse().unwrap();
                events.push(Event::Approval(crate::trace::event::ApprovalEvent { step, ..approval }));
            }
            events.push(samples::begin(&name, json!({"n": index})));
            for number in 0..calls {
                events.push(samples::call("wasi:cli/stdout#get-stdout", json!({}), json!({"ok": number})));
            }
            let Event::StepEnd(end) = samples::every_outcome()
                .into_iter()
                .filter(|e| matches!(e, Event::StepEnd(_)))
                .nth(outcome % 5)
                .unwrap()
            else {
                unreachable!()
            };
            events.push(samples::end(&name, end.outcome, calls));
        }
        events.push(samples::run_end(RunOutcome::Failed, begun));
        events
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The index is a function of the trace, however it came about.
    #[test]
    fn a_rebuild_gives_what_committing_event_by_event_gave(
        events in run_of_any_steps(), cut in 0..=100_usize, together in 1..4_usize, torn in any::<bool>(),
    ) {
        let case = Case::new();
        let bytes = samples::recorded(&events);
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let kept = (lines.len() * cut).div_ceil(100);
        let mut trace = lines[..kept].concat();
        if torn && kept < lines.len() {
            trace.extend_from_slice(&lines[kept][..lines[kept].len() / 2]);
        }
        fs::write(case.run.trace(), trace).unwrap();

        let mut index = case.begun();
        for events in chained(&events)[..kept].chunks(together) {
            index.commit(case.id(), &Row::events(events).unwrap()).unwrap();
        }
        let committed = tables(&index);
        let rebuilt = index.reindex_run(&case.store, case.id(), &|_| Vec::new()).unwrap();
        prop_assert_eq!(rebuilt.damage, None);
        prop_assert_eq!(&tables(&index), &committed);
        drop(index);
        for name in [INDEX_FILE].into_iter().chain(COMPANIONS) {
            drop(fs::remove_file(case.store.state().join(name)));
        }
        reindex(&case.store, Durability::Buffered, &|_| Vec::new()).unwrap();
        prop_assert_eq!(&tables(&case.open()), &committed);
    }
}

#[test]
fn every_sample_can_be_indexed() {
    for events in samples() {
        let case = Case::new();
        let mut index = case.begun();
        index.commit(case.id(), &rows(&events)).unwrap();
        assert!(index.run(case.id()).unwrap().unwrap().status.has_ended());
    }
}

#[test]
fn processes_that_open_a_new_index_at_once_agree() {
    // Each time it is another one that makes it what it shall be.
    for _ in 0..20 {
        let case = Case::new();
        let together = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (state, together) = (case.store.state(), &together);
                scope.spawn(move || {
                    together.wait();
                    let mut index = Index::open(state, Durability::Buffered).unwrap();
                    index.begin_run(&NewRun { id: format!("run-{number}"), resumed_from: None }).unwrap();
                });
            }
        });
        assert_eq!(case.open().runs(&RunFilter::default()).unwrap().len(), 8);
    }
    assert_eq!(Duration::from_millis(limits::INDEX_BUSY_MS).as_secs(), 10);
}

#[test]
fn so_many_keys_are_known_and_answers_so_long() {
    let case = Case::new();
    let mut index = case.open();
    let key = |key: &str| RequestKey { key: key.to_owned(), request: Digest::of(b"request") };
    for (name, bytes) in
        [("fits", limits::IDEMPOTENT_ANSWER_BYTES_MAX), ("longer", limits::IDEMPOTENT_ANSWER_BYTES_MAX + 1)]
    {
        assert_eq!(index.claim_request(&key(name), "owner").unwrap(), Claim::New);
        index.answer_request((name, "owner"), Some(&"x".repeat(bytes)), Some("run")).unwrap();
    }
    assert!(matches!(index.claim_request(&key("fits"), "owner").unwrap(), Claim::Answered(_)));
    assert_eq!(index.claim_request(&key("longer"), "owner").unwrap(), Claim::Lost { run: Some("run".to_owned()) });
    let more = limits::IDEMPOTENCY_KEYS_MAX - 3;
    let fill = format!(
        "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {more}) \
         INSERT INTO requests (key, request, asked_at) SELECT 'n' || i, '', '' FROM n"
    );
    index.db("test").batch(&fill).unwrap();
    assert_eq!(index.claim_request(&key("last"), "owner").unwrap(), Claim::New);
    assert_eq!(index.claim_request(&key("one more"), "owner").unwrap(), Claim::Full);
    index.release_request("last", "somebody else").unwrap();
    assert_eq!(index.claim_request(&key("one more"), "owner").unwrap(), Claim::Full);
    index.release_request("last", "owner").unwrap();
    assert_eq!(index.claim_request(&key("one more"), "owner").unwrap(), Claim::New);
}

#[test]
fn one_takes_over_from_an_owner_that_is_gone() {
    let case = Case::new();
    let (mut one, mut other) = (case.open(), case.open());
    let key = RequestKey { key: "k".to_owned(), request: Digest::of(b"request") };
    assert_eq!(one.claim_request(&key, "gone").unwrap(), Claim::New);
    assert!(matches!(other.claim_request(&key, "b").unwrap(), Claim::UnderWay { owner, .. } if owner == "gone"));
    assert!(one.take_over_request("k", "gone", "a").unwrap());
    assert!(!other.take_over_request("k", "gone", "b").unwrap());
    other.answer_request(("k", "b"), Some("not its own"), None).unwrap();
    assert!(matches!(other.claim_request(&key, "b").unwrap(), Claim::UnderWay { owner, .. } if owner == "a"));
}
