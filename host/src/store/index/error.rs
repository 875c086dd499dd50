//! Why the index could not be used, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::id::Digest;

use super::status::{ApprovalState, RunStatus};

/// Why the index could not be used. Cheap to clone: one failure of a group commit is told to each that waits for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// SQLite refused.
    #[error("cannot {action} in the index `{path}`: {source}")]
    Sqlite {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The file could not be made or opened.
    #[error("cannot {action} the index `{path}`: {source}")]
    Io {
        /// `create`, `open` …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process kept it locked for longer than one waits.
    #[error("the index `{path}` is kept busy by another process")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a newer program.
    #[error("the index `{path}` has version {found}; this program knows versions up to {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// It is not an index, or its pages are damaged.
    #[error("the index `{path}` is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A run is not in the index.
    #[error("the index has no run `{run}`")]
    NoSuchRun {
        /// Its id.
        run: String,
    },
    /// A step is not in the index.
    #[error("the index has no step `{step}` of run `{run}`")]
    NoSuchStep {
        /// The run's id.
        run: String,
        /// The step's id.
        step: String,
    },
    /// A run may not change its status so.
    #[error("run `{run}` is {}, so it cannot become {}", from.name(), to.name())]
    Transition {
        /// The run's id.
        run: String,
        /// What it is.
        from: RunStatus,
        /// What it should have become.
        to: RunStatus,
    },
    /// Nobody was asked about the step.
    #[error("step `{step}` of run `{run}` asks for no approval")]
    NotAsked {
        /// The run's id.
        run: String,
        /// The step's id.
        step: String,
    },
    /// The question is answered, or nobody waits for the answer any more.
    #[error("the approval of step `{step}` of run `{run}` is {}{}", state.name(), by(decided_by.as_deref()))]
    Decided {
        /// The run's id.
        run: String,
        /// The step's id.
        step: String,
        /// How it was decided.
        state: ApprovalState,
        /// By whom.
        decided_by: Option<String>,
    },
    /// Whoever answers was shown something else than what is asked.
    #[error("step `{step}` of run `{run}` asks about the subject {asked}, and the answer is to another one")]
    OtherSubject {
        /// The run's id.
        run: String,
        /// The step's id.
        step: String,
        /// What is asked.
        asked: Digest,
    },
    /// Nobody says that the answer is theirs.
    #[error("the name of who answers is blank, or holds what cannot be seen")]
    NoName,
    /// The answer came too late.
    #[error("the approval of step `{step}` of run `{run}` could be given until {at}")]
    Expired {
        /// The run's id.
        run: String,
        /// The step's id.
        step: String,
        /// When it expired.
        at: String,
    },
    /// A text is longer than it may be.
    #[error("the {what} has more than {max} bytes")]
    TooLong {
        /// Which one.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// The thread that writes is gone.
    #[error("the index is not written any more: its thread has ended")]
    Stopped,
}

fn by(who: Option<&str>) -> String {
    who.map(|who| format!(" (by {who})")).unwrap_or_default()
}

impl IndexError {
    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Busy { .. } => "wait for the other process, or look for one that hangs".to_owned(),
            Self::Newer { .. } => {
                "use the version of the host that wrote it, or another state folder with `--state`".to_owned()
            }
            Self::Damaged { .. } => "`host recover --reindex` builds it again from the traces".to_owned(),
            Self::NoSuchRun { .. } => {
                "`host runs` lists the runs there are; `host recover --reindex` builds the index again".to_owned()
            }
            Self::OtherSubject { run, .. } => format!("`host approve {run} --show` shows what is asked"),
            Self::NoName => "say who decides, such as `--by ann`".to_owned(),
            Self::Decided { run, state: ApprovalState::Approved | ApprovalState::Rejected, .. } => {
                format!(
                    "`host recover {run}` goes on where that was not done yet; `host trace show {run}` shows what became of it"
                )
            }
            Self::Decided { run, .. } | Self::NotAsked { run, .. } => {
                format!("`host trace show {run}` shows what became of it; `host dashboard` shows what waits")
            }
            Self::Expired { .. } => "run the plan again, and answer in time".to_owned(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "choose another state folder with `--state`".to_owned()
            }
            Self::Sqlite { source, .. } if source.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                "free some space, or choose another state folder with `--state`".to_owned()
            }
            _ => return None,
        })
    }

    /// Sorts what SQLite says into what a caller can act upon.
    pub(super) fn sqlite(action: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path, what: source.to_string() }
            }
            _ => Self::Sqlite { action, path, source: Arc::new(source) },
        }
    }
}
