//! What is noted of a step so that it can be undone: the part of the journal's work that knows host calls.

use std::sync::{Arc, Mutex, PoisonError};

use crate::journal::{Change, Journal, JournalError};

/// The journal of the step that runs. Clones are the same one: the run keeps one, the sandbox notes in another.
#[derive(Debug, Clone)]
pub(crate) struct Undo(Arc<Mutex<Journal>>);

impl Undo {
    /// Changes are noted in `journal`.
    pub(crate) fn new(journal: Journal) -> Self {
        Self(Arc::new(Mutex::new(journal)))
    }

    /// Does something with the journal.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Journal) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes a change that is about to be made.
    pub(super) fn before(&self, change: Change<'_>) -> Result<crate::journal::Ticket, JournalError> {
        self.with(|journal| journal.before(change))
    }
}
