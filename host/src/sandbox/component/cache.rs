//! Compiled components on disk, so that a component is compiled once for each engine.
//!
//! Compiled code is machine code that will run outside of any sandbox, so it is used only where this user's host has written it: the folder
//! belongs to the user, others can replace nothing on the way to it ([`crate::owned`]), and every entry is signed with a key of the user
//! ([`key`]) over its bytes, the component and the engine. What does not match is compiled again and rewritten. A cache that cannot be used
//! costs time and gives a warning, never a failure.

mod entry;
mod key;
mod prune;

use std::hash::{Hash as _, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use self::entry::Entry;
use self::key::Key;
use super::shape;
use crate::id::Digest;
use crate::limits;
use crate::owned::{NotOwned, OwnedFolder};
use crate::sandbox::compiler::Compiled;

/// Goes into the signature of every entry: changes when the files' meaning does.
const FORMAT: &[u8] = b"skillhost-code/2\n";

/// Where compiled components are kept. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct CompiledCode {
    folder: Option<PathBuf>,
    notes: Arc<Mutex<Vec<String>>>,
}

/// What became of the cache while a component was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheUse {
    /// There is none.
    Off,
    /// The component came from it.
    Hit,
    /// The component was compiled and stored.
    Stored,
    /// The component was compiled; the cache cannot be used, for this reason.
    Unusable(String),
}

impl CacheUse {
    /// What to tell a person, where there is something: the run is right, only slower.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        match self {
            Self::Unusable(reason) => Some(reason),
            Self::Off | Self::Hit | Self::Stored => None,
        }
    }
}

impl CompiledCode {
    /// In `folder`, which is made (mode 0700) when something is stored first.
    ///
    /// It has to be a folder of the user's own, on a way that nobody else can change. Name none that a downloaded folder can contain: what is
    /// there was made there, or it is compiled again, but who unpacks an archive over it loses what was kept.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), notes: Arc::default() }
    }

    /// Nowhere: every load compiles.
    #[must_use]
    pub fn nowhere() -> Self {
        Self::default()
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_deref()
    }

    /// What was found that is not used, since this was last asked: entries that this user's host has not written, such a key.
    #[must_use]
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says something that is worth knowing where a person asks for more.
    pub(crate) fn note(&self, text: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < limits::CODE_NOTES_MAX && !notes.contains(&text) {
            notes.push(text);
        }
    }

    /// The code of the component with this digest, or the one that `compile` makes.
    pub(super) fn get_or_compile<E>(
        &self,
        engine: &Engine,
        digest: Digest,
        compile: impl FnOnce() -> Result<Compiled, E>,
    ) -> Result<(Component, CacheUse), E> {
        let Some(path) = &self.folder else {
            return compile().map(|compiled| (compiled.component, CacheUse::Off));
        };
        let entry = Entry::new(digest, engine_key(engine));
        let opened = match OwnedFolder::open(path, false) {
            // Made below: a component that cannot be compiled leaves no folder.
            Err(NotOwned::Missing(_)) => Ok(None),
            Err(error) => Err(io::Error::other(error.to_string())),
            Ok(folder) => self.key(&folder).map(|key| Some((folder, key))),
        };
        if let Ok(Some((folder, key))) = &opened {
            match entry.read(folder, key, engine) {
                Ok(Some(component)) => return Ok((component, CacheUse::Hit)),
                Ok(None) => {}
                Err(error) => self.note(format!(
                    "`{}` of the cache of compiled code is not used, the component is compiled again: {}",
                    entry.name(),
                    one_line(&error)
                )),
            }
        }
        let Compiled { component, code } = compile()?;
        let stored = opened.and_then(|opened| {
            let (folder, key) = match opened {
                Some(opened) => opened,
                None => {
                    let folder = OwnedFolder::open(path, true).map_err(|error| io::Error::other(error.to_string()))?;
                    let key = self.key(&folder)?;
                    (folder, key)
                }
            };
            let code = code.map_or_else(|| component.serialize().map_err(io::Error::other), Ok)?;
            entry.write(&folder, &key, &code)?;
            prune::prune(&folder, entry.name(), prune::Bounds::default())
        });
        let used = match stored {
            Ok(()) => CacheUse::Stored,
            Err(error) => CacheUse::Unusable(format!(
                "compiled components cannot be kept in `{}`: {}",
                path.display(),
                one_line(&error)
            )),
        };
        Ok((component, used))
    }

    fn key(&self, folder: &OwnedFolder) -> io::Result<Key> {
        Key::of(folder, &mut |note| self.note(note))
    }
}

fn one_line(error: &io::Error) -> String {
    error.to_string().replace('\n', " ")
}

/// What two engines share exactly when each may run what the other compiled, and would have compiled it.
fn engine_key(engine: &Engine) -> Digest {
    /// Feeds what is hashed into sha256: `Hasher` itself only promises 64 bits and one process.
    struct Sha(Sha256);

    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            0
        }
    }

    let mut sha = Sha(Sha256::new_with_prefix(FORMAT));
    engine.precompile_compatibility_hash().hash(&mut sha);
    // What is in the cache was let through by these.
    shape::BOUNDS.iter().for_each(|bound| sha.0.update(bound.to_le_bytes()));
    Digest::from_bytes(sha.0.finalize().into())
}

/// The name of a file that is not finished.
fn temporary_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);

    // Processes of two machines, or of two containers, may share a folder and have one number.
    let unique = crate::clock::since_epoch().as_nanos();
    format!(".{}-{unique}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests;
