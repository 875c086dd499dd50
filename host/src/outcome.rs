//! How a step ended: the one vocabulary that the sandbox produces, the trace keeps and the report shows.

use serde_json::{Value, json};

use crate::limits::LimitKind;

/// How a step ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The tool returned. For a `result`, the payload of `ok`; `null` where there is none.
    Completed {
        /// The value in its JSON form.
        output: Value,
    },
    /// The tool returned the `err` of its `result`: its own, structured failure.
    Failed {
        /// The payload of `err` in its JSON form; `null` where there is none.
        error: Value,
    },
    /// The guest ended abnormally.
    Trapped {
        /// What happened, as wasmtime says it.
        message: String,
        /// The guest's frames, innermost first, such as `csv.wasm!parse`.
        backtrace: Vec<String>,
    },
    /// A bound ended the guest.
    LimitExceeded {
        /// Which one.
        limit: LimitKind,
        /// What was allowed, in the limit's unit.
        allowed: u64,
        /// The guest's frames where it was stopped inside guest code, as far as known.
        backtrace: Vec<String>,
    },
    /// The caller cancelled the run while the step ran.
    Cancelled,
    /// The step and one that ran beside it touched the same path, and one of the two changed it.
    Conflict {
        /// The path as the guest saw it.
        path: String,
        /// The other step, which comes earlier in the plan.
        with: String,
    },
}

impl Outcome {
    /// Whether later steps may use the output.
    #[must_use]
    pub const fn is_completed(&self) -> bool {
        matches!(self, Self::Completed { .. })
    }

    /// The outcome's name in traces and reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::Trapped { .. } => "trapped",
            Self::LimitExceeded { .. } => "limit-exceeded",
            Self::Cancelled => "cancelled",
            Self::Conflict { .. } => "conflict",
        }
    }
}

/// Why the host could not go on with a step, or with a run: nothing that a guest did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind, such as `unknown-reference` or `journal`.
    pub code: String,
    /// What happened, as it is recorded: lower case, no final period, nothing of the machine's folders.
    pub message: String,
    /// The same with what only this machine knows; it is not recorded.
    pub detail: Option<String>,
    /// What to do about it. It is not recorded.
    pub hint: Option<String>,
    /// The place in the plan, as a JSON pointer; may be empty.
    pub pointer: String,
    /// Whether it came from the surroundings (a disk, a folder) and not from what plan and outputs say.
    pub is_of_host: bool,
}

impl Failure {
    /// A failure that follows from plan and outputs: whoever runs the same again meets it again.
    #[must_use]
    pub fn of_plan(code: &str, message: impl Into<String>, pointer: impl Into<String>) -> Self {
        let (code, message, pointer) = (code.to_owned(), message.into(), pointer.into());
        Self { code, message, pointer, detail: None, hint: None, is_of_host: false }
    }

    /// A failure of the surroundings.
    #[must_use]
    pub fn of_host(code: &str, message: impl Into<String>) -> Self {
        Self { is_of_host: true, ..Self::of_plan(code, message, "") }
    }

    /// How a step ended that failed so.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (false, Value::Object(error)) = (self.pointer.is_empty(), &mut error) {
            error.insert("pointer".to_owned(), json!(self.pointer));
        }
        Outcome::Failed { error }
    }

    /// What a person is told.
    #[must_use]
    pub fn told(&self) -> &str {
        self.detail.as_deref().unwrap_or(&self.message)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// Every step completed.
    Completed,
    /// A step did not complete; later ones did not run.
    Failed,
    /// The plan was not valid: nothing ran.
    Refused,
    /// The policy does not allow a step. Nothing ran, unless rules had to wait for its input or somebody had to be asked: then later steps
    /// did not run.
    Denied,
    /// The caller cancelled it.
    Cancelled,
    /// It did not complete, and everything that its steps had done was taken back.
    RolledBack,
    /// It did not complete, and not everything could be taken back.
    RollbackIncomplete,
    /// It waits for somebody's approval. Never the end of a trace.
    Paused,
}

impl RunOutcome {
    /// All that a run can end with.
    pub const ALL: [Self; 7] = [
        Self::Completed,
        Self::Failed,
        Self::Refused,
        Self::Denied,
        Self::Cancelled,
        Self::RolledBack,
        Self::RollbackIncomplete,
    ];

    /// The outcome's name in traces and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::RolledBack => "rolled-back",
            Self::RollbackIncomplete => "rollback-incomplete",
            Self::Paused => "paused",
        }
    }

    /// The outcome of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}
