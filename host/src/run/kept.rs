//! What steps that ended ahead of their turn have changed, and giving way: what is in the way of an earlier step is taken back, with all
//! that was built on it, before that step goes on.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::transaction::Transaction;
use crate::host::Error;
use crate::journal::claims::Claims;

/// What steps have changed, by position, until their turn: whoever has to take it back takes it from here. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    by: BTreeMap<usize, Transaction>,
    /// Why something could not be taken back: the run cannot go on.
    failed: Option<Error>,
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, position: usize, transaction: Transaction) {
        self.state().by.insert(position, transaction);
    }

    /// What a step has changed, unless it was taken back.
    pub(super) fn take(&self, position: usize) -> Option<Transaction> {
        self.state().by.remove(&position)
    }

    /// Takes back what a step has changed, unless it was.
    pub(super) fn forget(&self, position: usize) -> Result<(), Error> {
        self.take(position).map_or(Ok(()), Transaction::forget)
    }

    /// Why the run cannot go on, where it cannot.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.state().failed.take().map_or(Ok(()), Err)
    }

    /// Takes back what a step has changed and, before that, what those have that come after it.
    fn forget_with_all_after(&self, position: usize, claims: &Claims) -> Result<(), Error> {
        let after: Vec<usize> = self.state().by.range(position..).map(|(other, _)| *other).collect();
        after
            .into_iter()
            .rev()
            .filter(|other| claims.is_after(*other, position))
            .try_for_each(|other| self.forget(other))?;
        // Those that run were told with it and take back themselves.
        claims.wait_for_all_after(position);
        self.forget(position)
    }

    /// Takes back what steps have changed that were in the way of an earlier one after they had ended, until nobody can tell of one.
    pub(super) fn give_way(&self, claims: &Claims, lost: &Receiver<usize>) {
        while let Ok(position) = lost.recv() {
            if let Err(error) = self.forget_with_all_after(position, claims) {
                self.fail(error, claims);
            }
        }
    }

    /// Something is not taken back that has to be: nobody may go on over it.
    pub(super) fn fail(&self, error: Error, claims: &Claims) {
        self.state().failed.get_or_insert(error);
        claims.give_up();
    }
}
