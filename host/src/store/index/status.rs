//! The words for what runs, steps and approvals are, and how a run may go from one to the next. SQLite has the same list as a trigger.

use crate::outcome::{Outcome, RunOutcome};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$word_doc])* $word,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];

            /// The word in the index and on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)*
                }
            }

            /// The one of that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.name() == name)
            }
        }
    };
}

words! {
    /// What a run is.
    RunStatus {
        /// It has a folder and no header yet.
        Pending = "pending",
        /// It runs, or was killed while it did.
        Running = "running",
        /// It waits for somebody's decision.
        Paused = "paused",
        /// What it did outside cannot be known: somebody has to decide.
        Unknown = "unknown",
        /// Every step completed.
        Completed = "completed",
        /// A step did not complete.
        Failed = "failed",
        /// The policy, or somebody who was asked, did not allow a step.
        Denied = "denied",
        /// The plan was not valid.
        Refused = "refused",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// It ended, and what it did was undone.
        RolledBack = "rolled-back",
        /// It ended, and not all of what it did could be undone.
        RollbackIncomplete = "rollback-incomplete",
    }
}

words! {
    /// What a step is.
    StepStatus {
        /// It began.
        Running = "running",
        /// Its tool returned.
        Completed = "completed",
        /// Its tool returned an error.
        Failed = "failed",
        /// The guest ended abnormally.
        Trapped = "trapped",
        /// A bound ended it.
        LimitExceeded = "limit-exceeded",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// It was not allowed and did not begin.
        Denied = "denied",
        /// Its condition did not hold.
        Skipped = "skipped",
        /// Its result was taken from another run.
        Reused = "reused",
        /// It touched what another step touched.
        Conflict = "conflict",
    }
}

words! {
    /// What a request for approval is.
    ApprovalState {
        /// Somebody is asked.
        Pending = "pending",
        /// The answer was yes.
        Approved = "approved",
        /// The answer was no.
        Rejected = "rejected",
        /// Nobody answered in time.
        Expired = "expired",
        /// What was asked about is not what would run any more.
        Invalid = "invalid",
    }
}

impl RunStatus {
    /// Whether a run of this status may become `next`. Becoming what it is already changes nothing and is always possible.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        self == next
            || match self {
                Self::Pending => {
                    matches!(next, Self::Running | Self::Failed | Self::Denied | Self::Refused | Self::Cancelled)
                }
                Self::Running => next != Self::Pending,
                Self::Paused | Self::Unknown => matches!(
                    next,
                    Self::Running | Self::Failed | Self::Cancelled | Self::RolledBack | Self::RollbackIncomplete
                ),
                Self::Completed | Self::Failed | Self::Denied | Self::Cancelled => {
                    matches!(next, Self::RolledBack | Self::RollbackIncomplete)
                }
                Self::RollbackIncomplete => next == Self::RolledBack,
                Self::Refused | Self::RolledBack => false,
            }
    }

    /// Whether the run has ended: nothing of it will run again, though it may still be rolled back.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Paused | Self::Unknown)
    }

    /// Whether it stands for something that no trace says: a person's decision is awaited, or something was undone afterwards.
    pub(super) const fn is_beside_the_trace(self) -> bool {
        matches!(self, Self::Paused | Self::Unknown | Self::RolledBack | Self::RollbackIncomplete)
    }
}

impl From<RunOutcome> for RunStatus {
    fn from(outcome: RunOutcome) -> Self {
        // A later outcome with a name of its own has a status of that name.
        Self::from_name(outcome.name()).unwrap_or(Self::Failed)
    }
}

impl From<&Outcome> for StepStatus {
    fn from(outcome: &Outcome) -> Self {
        Self::from_name(outcome.name()).unwrap_or(Self::Failed)
    }
}
