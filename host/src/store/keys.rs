//! Who answers which idempotency key: the rows of the index, and whether whoever is said to answer is still there. Each session that uses
//! keys has a folder `requests/<owner>/` whose lock it holds; the kernel lets go of it when the process dies.

use std::fs;
use std::path::{Path, PathBuf};

use super::index::{Claim, Index};
use super::lock::RunLock;
use super::{RunDir, RunStore, StoreError, create_folder, failed};
use crate::clock;
use crate::context::RequestKey;
use crate::durability::Durability;

/// The folder of owners, below the state folder.
pub(crate) const REQUESTS: &str = "requests";

/// The keys of one session.
#[derive(Debug)]
pub struct Keys {
    index: Index,
    store: RunStore,
    owner: String,
    folder: PathBuf,
    _lock: RunLock,
}

/// What is to be done with a request that has a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Answer it, and say what became of it.
    Mine,
    /// This was the answer.
    Answered(String),
    /// The key was used for another request.
    Other,
    /// Somebody else is answering it.
    UnderWay,
    /// It may have been done, and the answer is not known.
    Lost {
        /// The run that it asked for, where one is known.
        run: Option<String>,
    },
    /// No more keys can be known.
    Full,
}

impl Keys {
    /// A session's way to the keys of a state folder.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn open(store: &RunStore, durability: Durability) -> Result<Self, StoreError> {
        let index = Index::open(store.state(), durability)?;
        let requests = store.state().join(REQUESTS);
        let entropy = clock::entropy().map_err(failed("create", &requests))?;
        let owner = format!("{:032x}", u128::from_be_bytes(entropy));
        let folder = requests.join(&owner);
        create_folder(&folder).map_err(failed("create", &folder))?;
        let lock = RunLock::acquire(&folder)?;
        Ok(Self { index, store: store.clone(), owner, folder, _lock: lock })
    }

    /// Claims a key. Where whoever had it is gone, what it did is looked for: a run that may have had an effect has a folder, which knows
    /// the key before anything of it runs. Where there is none nothing was done, and the request can be answered as if it were new.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn claim(&mut self, key: &RequestKey) -> Result<Claimed, StoreError> {
        Ok(match self.index.claim_request(key, &self.owner)? {
            Claim::New => Claimed::Mine,
            Claim::Answered(answer) => Claimed::Answered(answer),
            Claim::Other => Claimed::Other,
            Claim::Lost { run } => Claimed::Lost { run },
            Claim::Full => Claimed::Full,
            Claim::UnderWay { owner, asked_at } => {
                // One's own that is still there is one that could not be recorded.
                if owner != self.owner && RunLock::is_held(&self.store.state().join(REQUESTS).join(&owner)) {
                    return Ok(Claimed::UnderWay);
                }
                match self.run_of(key, &asked_at)? {
                    Some(run) => {
                        self.index.answer_request((&key.key, &owner), None, Some(&run))?;
                        Claimed::Lost { run: Some(run) }
                    }
                    None if self.index.take_over_request(&key.key, &owner, &self.owner)? => Claimed::Mine,
                    None => Claimed::UnderWay,
                }
            }
        })
    }

    /// Keeps the answer of a request that was claimed.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn answer(&mut self, key: &str, answer: &str, run: Option<&str>) -> Result<(), StoreError> {
        Ok(self.index.answer_request((key, &self.owner), Some(answer), run)?)
    }

    /// Lets go of a key under which nothing was done: the request may be mended and sent again.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn release(&mut self, key: &str) -> Result<(), StoreError> {
        Ok(self.index.release_request(key, &self.owner)?)
    }

    /// The run that was made for a key since it was claimed.
    fn run_of(&self, key: &RequestKey, since: &str) -> Result<Option<String>, StoreError> {
        for id in self.store.ids()? {
            // The newest first.
            if super::index::created_at(&id).is_none_or(|created| created.as_str() < since) {
                break;
            }
            let folder = self.store.state().join(super::RUNS).join(&id);
            // A folder without a trace is one in which nothing has run.
            let Ok(run) = RunDir::open(&folder) else { continue };
            if run.place()?.and_then(|place| place.key).as_ref() == Some(key) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

impl Drop for Keys {
    /// Nobody has to look whether the session is still there.
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// The folders of sessions that are gone.
pub(super) fn abandoned(state: &Path) -> impl Iterator<Item = PathBuf> {
    let folders = fs::read_dir(state.join(REQUESTS)).into_iter().flatten().flatten().map(|entry| entry.path());
    folders.filter(|folder| folder.is_dir() && !RunLock::is_held(folder))
}
