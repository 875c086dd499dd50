//! The state of a state folder at a glance: how many runs are what, what waits for a person, what a crash has left, what went wrong last,
//! and how much room everything takes. Reads alone, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::gc::{CACHE, TRASH, entries};
use super::index::{Approval, COMPANIONS, INDEX_FILE, Index, RunStatus};
use super::{COMPONENTS, Overview, RUNS, RunStore, StoreError};

/// What is shown.
#[derive(Debug, Clone, Default)]
pub struct Dashboard {
    /// How many runs are what, those of which there are none left out.
    pub runs: BTreeMap<RunStatus, u64>,
    /// The runs that somebody works on.
    pub active: Vec<Overview>,
    /// The questions that are open, the oldest first.
    pub waiting: Vec<Approval>,
    /// The runs that a crash has stopped.
    pub stopped: Vec<Overview>,
    /// The last runs that did not end well, the newest first.
    pub failures: Vec<Overview>,
    /// How many bytes there are of what: runs, shared components, compiled components, what is being deleted, the index.
    pub sizes: Vec<(&'static str, u64)>,
}

impl Dashboard {
    /// Looks at a state folder. `index` knows what waits; without one nothing does. At the most `max` failures.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where folders or index cannot be read.
    pub fn of(store: &RunStore, index: Option<&Index>, max: usize) -> Result<Self, StoreError> {
        let mut dashboard = Self::default();
        for run in store.overview(index, None, None, usize::MAX)? {
            *dashboard.runs.entry(run.status).or_default() += 1;
            match run.status {
                _ if run.held => dashboard.active.push(run),
                RunStatus::Running | RunStatus::Unknown => dashboard.stopped.push(run),
                RunStatus::Failed | RunStatus::Denied | RunStatus::Refused | RunStatus::RollbackIncomplete
                    if dashboard.failures.len() < max =>
                {
                    dashboard.failures.push(run);
                }
                _ => {}
            }
        }
        dashboard.waiting = index.map(Index::pending_approvals).transpose()?.unwrap_or_default();
        // A component is in the folder of its run and in the shared one: it is counted once, where people look for it.
        let mut seen = BTreeSet::new();
        for name in [COMPONENTS, RUNS, CACHE, TRASH] {
            dashboard.sizes.push((name, bytes_below(&store.state().join(name), &mut seen)?));
        }
        let files = std::iter::once(INDEX_FILE).chain(COMPANIONS).map(|name| store.state().join(name));
        let index_bytes = files.map(|path| fs::metadata(path).map_or(0, |found| found.len())).sum();
        dashboard.sizes.push(("index", index_bytes));
        Ok(dashboard)
    }

    /// Bytes of everything.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sizes.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Bytes of the files below a folder, each file once whatever its names.
fn bytes_below(folder: &Path, seen: &mut BTreeSet<(u64, u64)>) -> Result<u64, StoreError> {
    use std::os::unix::fs::MetadataExt as _;

    let mut sum = 0_u64;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let found = match entries(&folder) {
            // Somebody has deleted it meanwhile.
            Err(_) if !folder.is_dir() => continue,
            found => found?,
        };
        for (path, found) in found {
            if found.is_dir() {
                folders.push(path);
            } else if seen.insert((found.dev(), found.ino())) {
                sum = sum.saturating_add(found.len());
            }
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::Digest;
    use crate::store::index::{ApprovalRequest, Durability};
    use crate::store::lock::RunLock;
    use crate::trace::samples;

    #[test]
    fn everything_is_in_its_place() {
        let state = tempfile::tempdir().unwrap();
        let store = RunStore::at(state.path());
        let nothing = Dashboard::of(&store, None, 5).unwrap();
        assert!(nothing.runs.is_empty() && nothing.bytes() == 0);
        let asked = samples::asked();
        let ids = [&asked[..], &asked[..3], &asked[..3], &asked[..4], &samples::every_outcome()[..]].map(|events| {
            let run = store.create_run().unwrap();
            fs::write(run.trace(), samples::recorded(events)).unwrap();
            run.id().to_owned()
        });
        let [denied, stopped, active, paused, failed] = &ids;
        let _lock = RunLock::acquire(&state.path().join(RUNS).join(active)).unwrap();
        let mut index = Index::open(state.path(), Durability::Buffered).unwrap();
        index.catch_up(&store).unwrap();
        index.set_status(paused, RunStatus::Paused, "").unwrap();
        let asks = ApprovalRequest {
            run: paused.clone(),
            step: "two".to_owned(),
            subject: Digest::of(b"it"),
            request: "{}".to_owned(),
            expires_at: Some(Duration::from_secs(4_000_000_000)),
        };
        index.request_approval(&asks).unwrap();
        let shared = state.path().join(COMPONENTS);
        fs::create_dir_all(&shared).unwrap();
        fs::write(shared.join("x.wasm"), [0; 1_000]).unwrap();
        fs::hard_link(shared.join("x.wasm"), state.path().join(RUNS).join(failed).join("x.wasm")).unwrap();

        let seen = Dashboard::of(&store, Some(&index), 1).unwrap();
        let count = |status| seen.runs.get(&status).copied();
        assert_eq!(
            [RunStatus::Denied, RunStatus::Failed, RunStatus::Paused, RunStatus::Running, RunStatus::Completed]
                .map(count),
            [Some(1), Some(1), Some(1), Some(2), None]
        );
        let names = |runs: &[Overview]| runs.iter().map(|run| run.id.clone()).collect::<Vec<_>>();
        assert_eq!(names(&seen.stopped), [stopped.as_str()]);
        assert_eq!(names(&seen.active), [active.as_str()]);
        assert_eq!(names(&seen.failures), [failed.as_str()], "the newest");
        assert_eq!(
            names(&Dashboard::of(&store, Some(&index), 5).unwrap().failures),
            [failed.as_str(), denied.as_str()]
        );
        assert_eq!((seen.waiting.len(), &seen.waiting[0].run), (1, paused));
        assert!(seen.waiting[0].expires_at.is_some());
        assert_eq!(seen.sizes[0], (COMPONENTS, 1_000));
        let runs = seen.sizes.iter().find(|(name, _)| *name == RUNS).unwrap().1;
        let traces: u64 = ids
            .iter()
            .map(|id| fs::metadata(state.path().join(RUNS).join(id).join("trace.jsonl")).unwrap().len())
            .sum();
        assert_eq!(runs, traces, "the lock is empty, and the component is counted once");
        assert!(seen.bytes() > runs + 1_000);
    }
}
