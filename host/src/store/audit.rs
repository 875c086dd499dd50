//! Who did what, over many runs: every event of their traces but host calls. Read from the traces, whose chains are verified on the way, so
//! that it cannot say anything else; the index adds what no trace has (times, undo) where there is one.

mod payload;

use std::collections::{BTreeMap, VecDeque};

use super::index::{Durability, EventRow, Index, IndexError, StepRow};
use super::{RUNS, RunDir, RunStore, StoreError};
use crate::policy::{AuditLevel, AuditSettings};
use crate::trace::TraceError;
use crate::trace::event::{Event, Kind};
use crate::trace::reader::Reader;

/// Which entries are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only those of this run.
    pub run: Option<String>,
    /// Only those of runs in this name.
    pub principal: Option<String>,
    /// Only those of runs with this label.
    pub tag: Option<String>,
    /// At the most so many: the newest.
    pub limit: usize,
    /// How much of payloads is shown, and never more than the policy of a run lets be shown.
    pub level: AuditLevel,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The run's id.
    pub run: String,
    /// The event's number.
    pub seq: u64,
    /// When it was committed, where the index knows it.
    pub at: Option<String>,
    /// In whose name the run ran.
    pub principal: String,
    /// The plan's name.
    pub plan: String,
    /// The kind of event.
    pub action: &'static str,
    /// The step.
    pub step: Option<String>,
    /// Its tool.
    pub tool: Option<String>,
    /// How it ended, or was decided.
    pub status: Option<&'static str>,
    /// Why.
    pub reason: Option<String>,
    /// Host calls of a step, or of a call inside of one, that ended.
    pub calls: Option<u64>,
    /// Fuel of a step that ended.
    pub fuel: Option<u64>,
    /// How long a step took, where the index knows it.
    pub duration_us: Option<u64>,
    /// Paths that it changed, where the index knows it.
    pub changed: Option<u64>,
    /// The run that has undone it.
    pub undone_by: Option<String>,
    /// The event's hash, by which it can be found in the trace.
    pub hash: String,
    /// The run's labels.
    pub tags: Vec<String>,
    /// The event as JSON; `None` where it is long, see [`crate::limits::INDEX_EVENT_BYTES_MAX`].
    pub json: Option<String>,
}

/// A run that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedRun {
    /// Its id.
    pub run: String,
    /// Events of its trace that are whole, host calls included.
    pub events: u64,
    /// The last one's hash.
    pub head: String,
    /// Whether its last event is there.
    pub ended: bool,
    /// What is wrong with the trace behind its last good event.
    pub damage: Option<String>,
    /// How much of payloads is shown.
    pub level: AuditLevel,
}

/// What an export has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// The entries, the oldest first.
    pub entries: Vec<AuditEntry>,
    /// The runs that they are from, the oldest first.
    pub runs: Vec<AuditedRun>,
    /// Whether there are older entries than [`AuditFilter::limit`] let in.
    pub more: bool,
    /// Why the index added nothing, where it could not be read.
    pub without_index: Option<String>,
}

/// What one run gives.
struct Found {
    entries: VecDeque<AuditEntry>,
    run: AuditedRun,
    more: bool,
}

/// Gathers entries.
///
/// # Errors
///
/// [`StoreError`] where the folders cannot be read. A damaged trace is none: it is said of its run.
pub fn audit(store: &RunStore, filter: &AuditFilter) -> Result<Audit, StoreError> {
    let mut audit = Audit::default();
    let index = match Index::existing(store.state(), Durability::Full) {
        Ok(index) => index,
        Err(error) => {
            audit.without_index = Some(error.to_string());
            None
        }
    };
    let ids = store.ids()?.into_iter().filter(|id| filter.run.as_ref().is_none_or(|run| run == id));
    let mut newest_first = Vec::new();
    let mut left = filter.limit;
    for id in ids {
        if left == 0 {
            audit.more = true;
            break;
        }
        let Ok(folder) = RunDir::open(&store.state().join(RUNS).join(&id)) else { continue };
        let Some(mut found) = entries(&folder, filter, left) else { continue };
        if let Some(index) = &index
            && let Err(error) = complete(index, &id, &mut found.entries)
        {
            audit.without_index = Some(error.to_string());
        }
        left -= found.entries.len();
        audit.more |= found.more;
        newest_first.push(found);
    }
    for found in newest_first.into_iter().rev() {
        audit.entries.extend(found.entries);
        audit.runs.push(found.run);
    }
    Ok(audit)
}

/// The last entries of one run; `None` where it is not wanted.
fn entries(folder: &RunDir, filter: &AuditFilter, max: usize) -> Option<Found> {
    let level = ceiling(folder).min(filter.level);
    let run =
        AuditedRun { run: folder.id().to_owned(), events: 0, head: String::new(), ended: false, damage: None, level };
    let mut found = Found { entries: VecDeque::new(), run, more: false };
    let opened = Reader::open(&folder.trace()).map(|mut reader| {
        let read = read(&mut reader, filter, max, &mut found);
        let (events, head) = reader.head();
        (found.run.events, found.run.head) = (events, head.to_string());
        read
    });
    match opened.and_then(|read| read) {
        Ok(false) => return None,
        // It runs, or was killed while it wrote.
        Ok(true) | Err(TraceError::Torn { .. }) => {}
        Err(error) => found.run.damage = Some(error.to_string()),
    }
    // Of a trace whose header cannot be read nobody knows whose it is.
    if (filter.principal.is_some() || filter.tag.is_some()) && found.entries.is_empty() { None } else { Some(found) }
}

/// The most that the policy of a run lets be shown; nothing where nobody can read what it says.
fn ceiling(folder: &RunDir) -> AuditLevel {
    let settings = folder.policy_text().ok().and_then(|text| AuditSettings::of_text(&text));
    settings.map_or(AuditLevel::None, |settings| settings.level)
}

/// Gives false where the run is in another name than the one that is wanted.
fn read(reader: &mut Reader, filter: &AuditFilter, max: usize, found: &mut Found) -> Result<bool, TraceError> {
    let (mut plan, mut principal, mut tags) = (String::new(), String::new(), Vec::new());
    // Those of the step that has begun.
    let (mut step, mut tool) = (None, None);
    while let Some(line) = reader.next_line()? {
        if line.kind() == Kind::Call {
            continue;
        }
        let (seq, hash, event) = (line.seq(), line.hash(), line.event()?);
        let (mut calls, mut fuel) = (None, None);
        match &event {
            Event::Header(header) => {
                (plan, principal) = (header.plan_name.clone(), header.principal.to_string());
                tags.clone_from(&header.tags);
                let other = filter.principal.as_ref().is_some_and(|wanted| *wanted != principal);
                if other || filter.tag.as_ref().is_some_and(|wanted| !tags.contains(wanted)) {
                    return Ok(false);
                }
            }
            Event::StepBegin(begun) => (step, tool) = (Some(begun.step.to_string()), Some(begun.tool.to_string())),
            Event::DelegateEnd(ended) => (calls, fuel) = (Some(ended.calls), Some(ended.fuel)),
            Event::StepEnd(ended) => (calls, fuel) = (Some(ended.calls), ended.fuel),
            Event::RunEnd { .. } => found.run.ended = true,
            _ => {}
        }
        let row = EventRow::told(seq, hash, &event)?;
        let inside = if event.kind().is_inside_of_step() { step.clone() } else { None };
        let (kind, named) = (row.kind(), row.tool().map(str::to_owned));
        let own = if kind == Kind::StepEnd.name() { tool.clone() } else { None };
        let mut entry = AuditEntry {
            run: found.run.run.clone(),
            seq,
            at: None,
            principal: principal.clone(),
            plan: plan.clone(),
            action: kind,
            step: row.step().map(str::to_owned).or(inside),
            tool: named.or(own),
            status: row.status(),
            reason: row.reason().map(str::to_owned),
            calls,
            fuel,
            duration_us: None,
            changed: None,
            undone_by: None,
            hash: hash.to_string(),
            tags: tags.clone(),
            json: row.json().map(str::to_owned),
        };
        payload::lower(&mut entry, found.run.level);
        found.entries.push_back(entry);
        if found.entries.len() > max {
            found.entries.pop_front();
            found.more = true;
        }
    }
    Ok(true)
}

/// Adds what the index knows.
fn complete(index: &Index, run: &str, entries: &mut VecDeque<AuditEntry>) -> Result<(), IndexError> {
    let mut times = index.times(run)?;
    let steps = index.steps(run)?.into_iter().filter_map(|step| Some((step.end_seq?, step)));
    let mut steps: BTreeMap<u64, StepRow> = steps.collect();
    for entry in entries {
        entry.at = times.remove(&entry.seq);
        if let Some(step) = steps.remove(&entry.seq) {
            (entry.duration_us, entry.changed, entry.undone_by) = (step.duration_us, step.changed, step.undone_by);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::index::{NewRun, Row, StepFacts};
    use crate::trace::samples;

    fn all() -> AuditFilter {
        AuditFilter { limit: 1_000, ..AuditFilter::default() }
    }

    #[test]
    fn every_event_but_host_calls_is_an_entry_with_what_the_index_adds() {
        let state = tempfile::tempdir().unwrap();
        let store = RunStore::at(state.path());
        let run = store.create_run().unwrap();
        let events = samples::every_outcome();
        fs::write(run.trace(), samples::recorded(&events)).unwrap();
        run.keep_policy("", None).unwrap();
        let plain = audit(&store, &all()).unwrap();
        let shown = events.iter().filter(|event| event.kind() != Kind::Call).map(|event| event.kind().name());
        assert!(plain.entries.iter().map(|entry| entry.action).eq(shown));
        assert_eq!(plain.entries[2].tool.as_deref(), Some("csv.parse"));
        assert_eq!((plain.entries[4].status, plain.entries[4].calls), (Some("failed"), Some(1)));
        assert!(plain.runs[0].ended && plain.runs[0].damage.is_none() && !plain.more);
        assert!(plain.entries.iter().all(|entry| entry.at.is_none() && entry.principal == "agent:reporter"));

        let mut index = Index::open(state.path(), Durability::Buffered).unwrap();
        index.begin_run(&NewRun { id: run.id().to_owned(), resumed_from: None }).unwrap();
        let mut reader = samples::reader(&samples::recorded(&events));
        let mut chained = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            chained.push((line.seq(), line.hash(), line.event().unwrap()));
        }
        let mut rows = Row::events(&chained).unwrap();
        rows.push(Row::Step(StepFacts { step: "step-1".into(), duration_us: Some(7), ..StepFacts::default() }));
        index.commit(run.id(), &rows).unwrap();
        let full = audit(&store, &all()).unwrap();
        assert!(full.entries.iter().all(|entry| entry.at.is_some()));
        assert_eq!(full.entries[4].duration_us, Some(7));
        let bare = full.entries.into_iter().map(|entry| AuditEntry { at: None, duration_us: None, ..entry });
        assert!(bare.eq(plain.entries));
    }

    #[test]
    fn the_newest_are_kept_and_others_left_out() {
        let state = tempfile::tempdir().unwrap();
        let store = RunStore::at(state.path());
        let [first, second] = [samples::every_outcome(), samples::asked()].map(|events| {
            let run = store.create_run().unwrap();
            fs::write(run.trace(), samples::recorded(&events)).unwrap();
            run.keep_policy("", None).unwrap();
            run
        });
        let of = |filter: &AuditFilter| audit(&store, filter).unwrap();
        let whole = of(&all());
        assert_eq!(whole.runs.iter().map(|run| run.run.as_str()).collect::<Vec<_>>(), [first.id(), second.id()]);
        for limit in [1, 7, 8, 18] {
            let some = of(&AuditFilter { limit, ..all() });
            assert_eq!(some.entries, whole.entries[whole.entries.len() - limit..]);
            assert!(some.more);
        }
        assert!(!of(&AuditFilter { limit: whole.entries.len(), ..all() }).more);
        assert_eq!(of(&AuditFilter { run: Some(second.id().to_owned()), ..all() }).entries.len(), 7);
        assert_eq!(of(&AuditFilter { principal: Some("user:ann".to_owned()), ..all() }), Audit::default());
        let reporter = AuditFilter { principal: Some("agent:reporter".to_owned()), ..all() };
        assert_eq!(of(&reporter).entries, whole.entries);

        // A changed trace says so, and gives what stands before the change.
        let mut bytes = fs::read(second.trace()).unwrap();
        let end = bytes.len() - 100;
        bytes[end] ^= 1;
        fs::write(second.trace(), bytes).unwrap();
        let damaged = of(&AuditFilter { run: Some(second.id().to_owned()), ..all() });
        assert!(damaged.runs[0].damage.is_some() && !damaged.runs[0].ended);
        assert_eq!(damaged.entries.len(), 6);
        fs::write(state.path().join("host.db"), "x".repeat(5_000)).unwrap();
        assert!(of(&all()).without_index.unwrap().contains("damaged"));
    }

    #[test]
    fn a_level_takes_payloads_away_and_the_policy_of_the_run_is_its_ceiling() {
        let state = tempfile::tempdir().unwrap();
        let store = RunStore::at(state.path());
        let run = store.create_run().unwrap();
        let mut events = samples::every_outcome();
        events.splice(1..1, samples::flow().into_iter().filter(|event| matches!(event, Event::Flow(_))));
        fs::write(run.trace(), samples::recorded(&events)).unwrap();
        let with = |policy: &str, level| {
            fs::write(run.path().join("policy.toml"), policy).unwrap();
            let audit = audit(&store, &AuditFilter { level, ..all() }).unwrap();
            (audit.runs[0].level, audit.entries)
        };
        let detailed = "schema = \"skillhost.policy/1\"\n[audit]\nlevel = \"detailed\"\n";
        let (level, full) = with("", AuditLevel::Full);
        assert_eq!(level, AuditLevel::Full);
        let (level, summary) = with(detailed, AuditLevel::Full);
        assert_eq!(level, AuditLevel::Summary);
        assert_eq!(with("", AuditLevel::Summary).1, summary, "asked for or decreed is the same");
        let (level, none) = with(detailed, AuditLevel::None);
        assert_eq!(level, AuditLevel::None);
        assert_eq!(with("[audit", AuditLevel::Full).0, AuditLevel::None, "what cannot be read allows nothing");
        fs::remove_file(run.path().join("policy.toml")).unwrap();
        let unknown = audit(&store, &all()).unwrap();
        assert_eq!((unknown.runs[0].level, &unknown.entries), (AuditLevel::None, &none));

        assert!(none.iter().all(|entry| entry.json.is_none()));
        // Words that only payloads of the samples have.
        for secret in ["a.csv", "no such column", "unreachable", "may it?", "it lacks", "1 is not 2", "rows"] {
            let holds = |entries: &[AuditEntry]| format!("{entries:?}").contains(secret);
            assert!(holds(&full), "{secret}");
            assert!(!holds(&summary) && !holds(&none), "{secret}");
        }
        let inputs = summary[0].json.as_deref().unwrap();
        assert!(
            inputs.contains("\"inputs\":{\"bytes\":") && inputs.contains("\"kind\":\"object\",\"sha256\":\""),
            "{inputs}"
        );
        // Who did what and how it ended is the same at every level, and so is the chain.
        let bare = |entries: Vec<AuditEntry>| {
            entries.into_iter().map(|entry| AuditEntry { json: None, reason: None, ..entry }).collect::<Vec<_>>()
        };
        assert_eq!(bare(full.clone()), bare(summary));
        assert_eq!(bare(full), bare(none));
    }
}
