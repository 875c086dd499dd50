//! What the index of all runs learns of one, step by step: everything that a step means in one transaction. The trace is the truth and
//! nobody waits for the index but who asks it something: after a crash it is built again from the trace. A commit that failed ends the run.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock;
use crate::host::{Error, SkillHost};
use crate::id::Digest;
use crate::observe::{HostEvent, Observers};
use crate::policy::ApprovalAnswer;
use crate::store::index::{
    ApprovalRequest, ApprovalState, Committed, Delivery, NewRun, Row, RunStatus, StepFacts, Ticket, UndoStep,
};
use crate::store::{Index, IndexError, IndexWriter, RunDir, RunLock};
use crate::trace::event::Event;

/// The index as one run writes it. Holds the run's lock: whoever has a ledger is the one who acts in the run.
#[derive(Debug)]
pub(crate) struct Ledger {
    writer: IndexWriter,
    run: String,
    rows: Vec<Row>,
    /// The commits that are under way.
    pending: VecDeque<Ticket>,
    observers: Observers,
    _lock: RunLock,
}

impl Ledger {
    /// For a run that begins.
    pub(crate) fn begin(
        host: &SkillHost,
        folder: &RunDir,
        lock: RunLock,
        resumed: Option<&str>,
    ) -> Result<Self, Error> {
        let mut index = Index::open(host.store.state(), host.durability)?;
        if index.is_new() {
            // The numbers of the runs that are there come from their folders, and this one's is higher.
            index.catch_up(&host.store)?;
        }
        let number =
            index.begin_run(&NewRun { id: folder.id().to_owned(), resumed_from: resumed.map(str::to_owned) })?;
        folder.keep_sequence(number)?;
        Self::start(index, host, folder, lock)
    }

    /// For a run that goes on: what the index knows of it is built again from what is settled of its trace.
    pub(crate) fn go_on(host: &SkillHost, folder: &RunDir, lock: RunLock) -> Result<Self, Error> {
        let mut index = Index::open(host.store.state(), host.durability)?;
        index.reindex_run(&host.store, folder.id(), &super::facts::of_run)?;
        index.set_status(folder.id(), RunStatus::Running, "")?;
        Self::start(index, host, folder, lock)
    }

    fn start(index: Index, host: &SkillHost, folder: &RunDir, lock: RunLock) -> Result<Self, Error> {
        let (writer, observers) = (IndexWriter::start(index)?, host.observers.clone());
        let (run, rows, pending) = (folder.id().to_owned(), Vec::new(), VecDeque::new());
        Ok(Self { writer, run, rows, pending, observers, _lock: lock })
    }

    /// The run's id.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Takes note of an event of the trace.
    pub(crate) fn event(&mut self, seq: u64, hash: Digest, event: &Event) -> Result<(), Error> {
        self.rows.extend(Row::events([&(seq, hash, event.clone())])?);
        Ok(())
    }

    /// Takes note of what the trace does not say of a step.
    pub(crate) fn fact(&mut self, facts: StepFacts) {
        self.rows.push(Row::Step(facts));
    }

    /// Takes note of what the run is now.
    pub(crate) fn status(&mut self, status: RunStatus, reason: &str) {
        self.rows.push(Row::Status { status, reason: reason.to_owned() });
    }

    /// Begins to commit everything that was noted, and sees what became of earlier commits. Waits only where many are under way.
    pub(crate) fn commit(&mut self) -> Result<(), Error> {
        let rows = std::mem::take(&mut self.rows);
        if !rows.is_empty() {
            self.pending.push_back(self.writer.commit(&self.run, rows));
        }
        while let Some(done) = self.pending.front().and_then(Ticket::done) {
            self.pending.pop_front();
            self.committed(done?);
        }
        Ok(())
    }

    /// Waits until everything is committed that was noted before the last [`Self::commit`].
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.writer.hurry();
        while let Some(ticket) = self.pending.pop_front() {
            let done = ticket.wait()?;
            self.committed(done);
        }
        Ok(())
    }

    /// Tells what had to be let go for a commit.
    fn committed(&self, committed: Committed) {
        for dropped in committed.undo_dropped {
            let message =
                format!("step `{}` of run {} can no longer be undone: newer ones can", dropped.step, dropped.run);
            self.observers.tell(HostEvent::Warning { message: &message });
        }
    }

    /// Asks for approval.
    pub(crate) fn ask(
        &self,
        step: &str,
        subject: Digest,
        request: String,
        expires_in: Option<Duration>,
    ) -> Result<(), Error> {
        let expires_at = expires_in.map(|time| clock::since_epoch() + time);
        let asked = ApprovalRequest { run: self.run.clone(), step: step.to_owned(), subject, request, expires_at };
        self.writer.with(move |index| index.request_approval(&asked))??;
        Ok(())
    }

    /// What became of a request: `None` where nobody has answered and it has not expired.
    pub(crate) fn answer(&self, step: &str, subject: Digest) -> Result<Option<ApprovalAnswer>, Error> {
        let run = self.run.clone();
        let now = clock::since_epoch();
        let approvals = self.writer.with(move |index| {
            index.expire_approvals(now)?;
            index.approvals(&run)
        })??;
        // A yes is to what was shown. A no, and that it is too late, hold whatever the question has become since.
        let no = |state| matches!(state, ApprovalState::Rejected | ApprovalState::Expired);
        let mut of_step: Vec<_> = approvals.into_iter().filter(|approval| approval.step == step).collect();
        let at = of_step.iter().position(|one| no(one.state));
        let at = at.or_else(|| of_step.iter().position(|one| one.subject == subject));
        let found = at.map(|at| of_step.swap_remove(at));
        Ok(found.and_then(|approval| {
            let by = approval.decided_by.unwrap_or_default();
            match approval.state {
                // Where something else was asked for a while it is asked again.
                ApprovalState::Pending | ApprovalState::Invalid => None,
                ApprovalState::Approved => Some(ApprovalAnswer::approve(by, approval.reason)),
                ApprovalState::Rejected => Some(ApprovalAnswer::reject(by, approval.reason)),
                ApprovalState::Expired => Some(ApprovalAnswer::reject("nobody", "nobody answered in time")),
            }
        }))
    }

    /// The newest steps of all runs that can be undone, at the most `max`.
    pub(crate) fn undo_stack(&self, max: usize) -> Result<Vec<UndoStep>, Error> {
        Ok(self.writer.with(move |index| index.undo_stack(max))??)
    }

    /// Notes that a step of a run can no longer be undone, because this run has done so.
    pub(crate) fn undone(&self, run: String, step: String) -> Result<(), Error> {
        let by = self.run.clone();
        match self.writer.with(move |index| index.mark_undone(&run, &step, &by))? {
            // It changed nothing, is noted already, or its run is not in the index any more.
            Err(IndexError::NoSuchStep { .. }) => Ok(()),
            noted => Ok(noted?),
        }
    }

    /// Notes that this run has taken back another one.
    pub(crate) fn taken_back(&self, other: &str, wholly: bool) -> Result<(), Error> {
        let status = if wholly { RunStatus::RolledBack } else { RunStatus::RollbackIncomplete };
        let (other, reason) = (other.to_owned(), format!("taken back by the run {}", self.run));
        let taken = move |index: &mut Index| {
            // Nobody answers any more what it was asked.
            index.invalidate_approvals(&other, &reason)?;
            index.set_status(&other, status, &reason)
        };
        match self.writer.with(taken)? {
            // It is noted already, or that run is not in the index any more.
            Err(IndexError::Transition { .. } | IndexError::NoSuchRun { .. }) => Ok(()),
            noted => Ok(noted?),
        }
    }

    /// Notes that somebody was told.
    pub(crate) fn delivered(&self, delivery: Delivery) -> Result<(), Error> {
        Ok(self.writer.with(move |index| index.record_delivery(&delivery))??)
    }
}

impl From<IndexError> for Error {
    fn from(error: IndexError) -> Self {
        Self::Store(error.into())
    }
}
