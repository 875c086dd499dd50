//! What is about to be taken back of steps that completed, noted durably and as a whole before the first of them is: whoever is killed in
//! the middle goes on with exactly that, and says the same of it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::transaction;
use crate::host::Error;
use crate::id::StepId;
use crate::regular;
use crate::trace::flow::UndoneChange;

/// A step that `sys.undo` took back, as its output says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    /// The earlier run; `None` for this one.
    pub(super) run: Option<String>,
    pub(super) step: StepId,
    pub(super) changes: Vec<UndoneChange>,
}

/// The same with its journal: a folder in a run's folder of journals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) taken: Taken,
    pub(super) owner: String,
    pub(super) journal: String,
}

impl Taken {
    pub(super) fn all(undone: &Value) -> Vec<Self> {
        serde_json::from_value(undone.clone()).unwrap_or_default()
    }
}

impl Target {
    /// In the run that did it: `runs/<run>/journal/<step>.<attempt>`.
    pub(super) fn at(folder: &Path, taken: Taken) -> Option<Self> {
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        Some(Self { taken, owner: name(folder.parent()?.parent()?)?, journal: name(folder)? })
    }

    pub(super) fn is_at(&self, folder: &Path) -> bool {
        Self::at(folder, self.taken.clone()).as_ref() == Some(self)
    }
}

/// Where it is noted what an attempt is about to take back; attempt 0 is what is taken back before the first.
pub(super) fn place(run: &Path, step: &StepId, attempt: u32) -> PathBuf {
    run.join(transaction::JOURNALS).join(format!("{step}.{attempt}.undo"))
}

pub(super) fn read(path: &Path) -> Result<Option<Vec<Target>>, Error> {
    let failed = |source| Error::Journals { path: path.to_owned(), source };
    match regular::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Durable and whole before anything is taken back.
pub(super) fn keep(path: &Path, targets: &[Target]) -> Result<(), Error> {
    let write = || {
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder)?;
        let new = path.with_extension("new");
        let mut file = regular::create(&new)?;
        file.write_all(&serde_json::to_vec(targets)?)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        regular::open_folder(folder)?.sync_all()
    };
    write().map_err(|source| Error::Journals { path: path.to_owned(), source })
}
