//! What a list says of runs: from the index where it has them, else from their folders.

use super::index::{Index, RunFilter, RunRow, RunStatus};
use super::lock::RunLock;
use super::{RUNS, RunStore, RunSummary, StoreError, summary};
use crate::id::SnapshotId;
use crate::trace::TRACE_FILE;
use crate::trace::event::Event;
use crate::trace::reader::Reader;

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// Its id.
    pub id: String,
    /// The plan's name; empty where it could not be read.
    pub plan: String,
    /// What it is.
    pub status: RunStatus,
    /// Whether somebody works on it now. A run that is `running` and has nobody was killed.
    pub held: bool,
    /// Steps that ended.
    pub steps: u64,
    /// Why its trace cannot be read to the end, where that is so.
    pub damage: Option<String>,
    /// Its labels.
    pub tags: Vec<String>,
}

impl RunStore {
    /// The newest runs of that status and with that label, at the most `max`, the newest first.
    ///
    /// What the index says of a run that has ended or waits is believed. Of any other the trace knows more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the folders or the index cannot be read.
    pub fn overview(
        &self,
        index: Option<&Index>,
        status: Option<RunStatus>,
        tag: Option<&str>,
        max: usize,
    ) -> Result<Vec<Overview>, StoreError> {
        let rows = match index {
            Some(index) => index.runs(&RunFilter::default())?,
            None => Vec::new(),
        };
        let row = |id: &String| rows.binary_search_by(|row| id.cmp(&row.id)).ok().and_then(|at| rows.get(at));
        let all = self.ids()?.into_iter().map(|id| self.overview_of(row(&id), id));
        let wanted = |run: &Overview| {
            status.is_none_or(|status| run.status == status)
                && tag.is_none_or(|tag| run.tags.iter().any(|known| known == tag))
        };
        Ok(all.filter(wanted).take(max).collect())
    }

    /// The bundle that a run took its skills from; `None` where there was none, or its trace cannot be read.
    #[must_use]
    pub fn snapshot_of(&self, id: &str) -> Option<SnapshotId> {
        let trace = self.state().join(RUNS).join(id).join(TRACE_FILE);
        match Reader::open(&trace).and_then(|mut reader| reader.next_event()) {
            Ok(Some((_, Event::Header(header)))) => header.snapshot,
            _ => None,
        }
    }

    fn overview_of(&self, row: Option<&RunRow>, id: String) -> Overview {
        let path = self.state().join(RUNS).join(&id);
        let held = RunLock::is_held(&path);
        let settled = |row: &&RunRow| !matches!(row.status, RunStatus::Pending | RunStatus::Running);
        if let Some(row) = row.filter(settled) {
            let (plan, damage) = (row.plan_name.clone(), row.damage.clone());
            let tags = row.tags.clone();
            return Overview { id, plan, status: row.status, held, steps: row.steps, damage, tags };
        }
        let seen = summary(&path, id);
        let status = seen.outcome.map_or(RunStatus::Running, RunStatus::from);
        let RunSummary { id, plan, steps, damage, tags, .. } = seen;
        Overview { id, plan, status, held, steps, damage, tags }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::index::Durability;
    use crate::trace::samples;

    #[test]
    fn a_list_is_the_same_with_and_without_an_index() {
        let state = tempfile::tempdir().unwrap();
        let store = RunStore::at(state.path());
        let events = samples::asked();
        let unfinished = &events[..events.len() - 1];
        let ids = [&events[..], unfinished, &events[..]].map(|events| {
            let run = store.create_run().unwrap();
            fs::write(run.trace(), samples::recorded(events)).unwrap();
            run.id().to_owned()
        });
        let lock = RunLock::acquire(&state.path().join(RUNS).join(&ids[1])).unwrap();
        let plain = store.overview(None, None, None, 9).unwrap();
        let mut index = Index::open(state.path(), Durability::Buffered).unwrap();
        assert_eq!(store.overview(Some(&index), None, None, 9).unwrap(), plain);
        index.catch_up(&store).unwrap();
        assert_eq!(store.overview(Some(&index), None, None, 9).unwrap(), plain);
        assert_eq!(
            plain.iter().map(|run| (run.status, run.held)).collect::<Vec<_>>(),
            [(RunStatus::Denied, false), (RunStatus::Running, true), (RunStatus::Denied, false)]
        );
        let of =
            |status, max| store.overview(Some(&index), Some(status), None, max).unwrap().into_iter().map(|run| run.id);
        assert_eq!(of(RunStatus::Denied, 1).collect::<Vec<_>>(), [ids[2].clone()]);
        assert_eq!(of(RunStatus::Running, 9).collect::<Vec<_>>(), [ids[1].clone()]);
        drop(lock);
        index.set_status(&ids[1], RunStatus::Paused, "").unwrap();
        let of =
            |status, max| store.overview(Some(&index), Some(status), None, max).unwrap().into_iter().map(|run| run.id);
        assert_eq!(of(RunStatus::Paused, 9).collect::<Vec<_>>(), [ids[1].clone()]);
    }
}
