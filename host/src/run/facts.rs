//! What is known of the steps of a run beside its trace, for an index that is built again.

use super::transaction::{JOURNALS, changed};
use crate::store::RunDir;
use crate::store::index::StepFacts;

/// The facts of a run's steps: how many paths each has changed, as their journals say. What cannot be read is left out.
pub(crate) fn of_run(folder: &RunDir) -> Vec<StepFacts> {
    let Ok(entries) = std::fs::read_dir(folder.path().join(JOURNALS)) else { return Vec::new() };
    let mut journals: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    journals.sort();
    journals.iter().filter_map(|path| changed(path)).collect()
}
