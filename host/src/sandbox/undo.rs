//! What is noted of a step so that it can be undone: the part of the journal's work that knows host calls.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::journal::claims::{Access, Claims, Position};
use crate::journal::{Change, Journal, JournalError, Ticket};

/// The journal of the step that runs. Clones are the same one: the run keeps one, the sandbox notes in another.
#[derive(Debug, Clone)]
pub(crate) struct Undo {
    journal: Arc<Mutex<Journal>>,
    /// Where steps run at one time: what it touches is claimed under its position.
    claims: Option<(Claims, Position)>,
}

impl Undo {
    /// Changes are noted in `journal`.
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal: Arc::new(Mutex::new(journal)), claims: None }
    }

    /// What the step touches is claimed first. The one that told `claims` of the step has to cancel it when it loses: its call does not return.
    pub(crate) fn with_claims(mut self, claims: Claims, position: Position) -> Self {
        self.claims = Some((claims, position));
        self
    }

    /// Does something with the journal.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Journal) -> T) -> T {
        act(&mut self.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Claims what a change concerns, and notes it.
    pub(super) async fn before(&self, change: Change<'_>) -> Result<Ticket, JournalError> {
        if self.claims.is_some() {
            let claims = self.with(|journal| journal.concerns(&change));
            self.claim(claims).await;
        }
        self.with(|journal| journal.before(change))
    }

    /// Notes what a guest looks at, and claims it.
    pub(super) async fn look(&self, look: impl FnOnce(&mut Journal) -> Vec<(PathBuf, Access)>) {
        let claims = self.with(look);
        self.claim(claims).await;
    }

    /// Blocks while steps that stand later in the plan are undone; never returns where this one has lost, for it is being cancelled.
    async fn claim(&self, paths: Vec<(PathBuf, Access)>) {
        let Some((claims, position)) = &self.claims else { return };
        let lost = paths.into_iter().any(|(path, access)| claims.claim(*position, &path, access).is_err());
        if lost {
            claims.tell(*position);
            std::future::pending::<()>().await;
        }
    }
}
