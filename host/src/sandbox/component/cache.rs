//! Compiled components on disk, so that a component is compiled once for each engine.
//!
//! An artifact is machine code that will run outside of any sandbox, so it is used only when its bytes are the ones this host wrote:
//! the digest beside it must match, and the folder must not be writable by anybody else. Whatever does not match is compiled again and
//! rewritten. A cache that cannot be used costs time and gives a warning, never a failure.

use std::fs;
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::shape;
use crate::id::Digest;

/// Goes into the key of every artifact: changes when the files' meaning does.
const FORMAT: &[u8] = b"skillhost-cache/1";

/// Where compiled components are kept.
#[derive(Debug, Clone, Default)]
pub struct ComponentCache {
    folder: Option<PathBuf>,
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

impl ComponentCache {
    /// A cache in `folder`, which is created (mode 0700) when something is stored first.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }

    /// No cache: every load compiles.
    #[must_use]
    pub const fn none() -> Self {
        Self { folder: None }
    }

    /// The artifact of the component with this digest, or the one that `compile` makes.
    pub(super) fn get_or_compile<E>(
        &self,
        engine: &Engine,
        digest: Digest,
        compile: impl FnOnce() -> Result<Component, E>,
    ) -> Result<(Component, CacheUse), E> {
        let Some(folder) = &self.folder else {
            return compile().map(|component| (component, CacheUse::Off));
        };
        let files = Artifact::new(folder, engine, digest);
        let usable = check_folder(folder);
        if usable.is_ok()
            && let Some(component) = files.read(engine)
        {
            return Ok((component, CacheUse::Hit));
        }
        let component = compile()?;
        let stored = usable.and_then(|()| {
            let bytes = component.serialize().map_err(io::Error::other)?;
            create_folder(folder)?;
            files.write(folder, &bytes)
        });
        let used = match stored {
            Ok(()) => CacheUse::Stored,
            Err(error) => CacheUse::Unusable(format!(
                "compiled components cannot be kept in `{}`: {}",
                folder.display(),
                error.to_string().replace('\n', " ")
            )),
        };
        Ok((component, used))
    }
}

/// The two files of one component and engine.
struct Artifact {
    code: PathBuf,
    digest: PathBuf,
}

impl Artifact {
    fn new(folder: &Path, engine: &Engine, digest: Digest) -> Self {
        let name = format!("{digest}-{}", engine_key(engine));
        Self { code: folder.join(format!("{name}.cwasm")), digest: folder.join(format!("{name}.cwasm.sha256")) }
    }

    fn read(&self, engine: &Engine) -> Option<Component> {
        let expected: Digest = fs::read_to_string(&self.digest).ok()?.trim_end().parse().ok()?;
        if digest_of_file(&self.code).ok()? != expected {
            return None;
        }
        #[expect(
            unsafe_code,
            reason = "the file holds the bytes that `Component::serialize` gave this host: their digest was compared with the one \
                      stored beside them, in a folder that nobody else may write; files are replaced by rename, never in place"
        )]
        // SAFETY: see the reason above. An artifact of another engine or version is refused by wasmtime's own header check.
        let component = unsafe { Component::deserialize_file(engine, &self.code) };
        component.ok()
    }

    /// The code first: a reader between the two renames sees a digest that does not match and compiles.
    fn write(&self, folder: &Path, bytes: &[u8]) -> io::Result<()> {
        replace(folder, &self.code, bytes)?;
        replace(folder, &self.digest, format!("{}\n", Digest::of(bytes)).as_bytes())
    }
}

/// Reads in pieces: an artifact may have many megabytes, and mapping fresh memory for them costs more than hashing.
fn digest_of_file(path: &Path) -> io::Result<Digest> {
    let mut file = fs::File::open(path)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(sha.finalize().into())),
            count => sha.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// What two engines share exactly when each may run what the other compiled, and would have compiled it.
fn engine_key(engine: &Engine) -> String {
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
    let key = Digest::from_bytes(sha.0.finalize().into()).to_string();
    key.chars().take(16).collect()
}

/// Refuses a folder that other users may write: they could replace code and digest together.
#[cfg(unix)]
fn check_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    match fs::metadata(folder) {
        Ok(metadata) if metadata.permissions().mode() & 0o022 != 0 => {
            Err(io::Error::other("other users may write it (`chmod go-w` it or choose another folder)"))
        }
        Ok(metadata) if !metadata.is_dir() => Err(io::Error::other("it is not a folder")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn check_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes beside the file and renames, so that no reader sees half of it.
fn replace(folder: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);

    let temporary = folder.join(format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&temporary).and_then(|mut open| open.write_all(bytes));
    let written = written.and_then(|()| fs::rename(&temporary, file));
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    }
    written
}
