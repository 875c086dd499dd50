//! One entry of the cache: the code that the engine has written, and behind it the signature. Read through one descriptor, by which it is
//! looked at, hashed and mapped.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};

use hmac::{Hmac, Mac as _};
use rustix::fs::{
    AtFlags, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens, openat, renameat, unlinkat,
};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::key::Key;
use super::{FORMAT, temporary_name};
use crate::clock;
use crate::id::Digest;
use crate::limits;
use crate::owned::{self, OwnedFolder};

/// How the names of entries end.
pub(super) const ENDING: &str = ".code";
/// How many hex digits of the engine's key are in a name; the signature has all of it.
const KEY_DIGITS: usize = 16;
/// Bytes of a signature.
const TAG_BYTES: usize = 32;
/// What was used is younger than what was not. Seconds: a write for each use would cost more than it says.
const TOUCHED_S: u64 = 24 * 60 * 60;

/// What an entry is for.
pub(super) struct Entry {
    component: Digest,
    engine: Digest,
    name: String,
}

impl Entry {
    pub(super) fn new(component: Digest, engine: Digest) -> Self {
        let key: String = engine.to_string().chars().take(KEY_DIGITS).collect();
        Self { component, engine, name: format!("{component}-{key}{ENDING}") }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The component; `None` where there is no entry.
    ///
    /// # Errors
    ///
    /// Why the entry is not to be used.
    pub(super) fn read(&self, folder: &OwnedFolder, key: &Key, engine: &Engine) -> io::Result<Option<Component>> {
        let Some((mut file, stat)) = folder.file(&self.name)? else { return Ok(None) };
        let code_bytes = self.check(&mut file, &stat, key)?;
        let component = map(engine, &mut file, code_bytes)?;
        if folder.is_users() {
            touch(&file, &stat);
        }
        Ok(Some(component))
    }

    /// Whether the file holds what this user's host has written for this component and engine; the bytes of its code.
    fn check(&self, file: &mut File, stat: &Stat, key: &Key) -> io::Result<u64> {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        if size > limits::COMPILED_BYTES_MAX.saturating_add(TAG_BYTES as u64) {
            return Err(io::Error::other(format!("it has {size} bytes")));
        }
        let Some(code) = size.checked_sub(TAG_BYTES as u64) else { return Err(io::Error::other("it is cut off")) };
        let mut signer = self.signer(key, code);
        let mut buffer = vec![0; 128 << 10];
        // Reads in pieces: mapping fresh memory for many megabytes costs more than hashing them.
        let mut rest = code;
        while rest > 0 {
            let piece = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
            let Some(piece) = buffer.get_mut(..piece) else { break };
            file.read_exact(piece)?;
            signer.update(piece);
            rest -= piece.len() as u64;
        }
        let mut tag = [0; TAG_BYTES];
        file.read_exact(&mut tag)?;
        // Compares in a time that says nothing of the tag.
        signer.verify_slice(&tag).map_err(|_| io::Error::other("it is not signed with the key of this cache"))?;
        if file.read(&mut tag)? > 0 {
            return Err(io::Error::other("it has grown"));
        }
        Ok(code)
    }

    /// Everything that the code may not be taken for another's by; each part has a length that is known.
    fn signer(&self, key: &Key, code_bytes: u64) -> Hmac<Sha256> {
        let mut signer = key.signer();
        signer.update(FORMAT);
        signer.update(self.engine.as_bytes());
        signer.update(self.component.as_bytes());
        signer.update(&code_bytes.to_le_bytes());
        signer
    }

    /// Writes beside it and renames, so that no reader sees half of it.
    pub(super) fn write(&self, folder: &OwnedFolder, key: &Key, code: &[u8]) -> io::Result<()> {
        if code.len() as u64 > limits::COMPILED_BYTES_MAX {
            return Err(io::Error::other(format!("the compiled code has {} bytes", code.len())));
        }
        let mut signer = self.signer(key, code.len() as u64);
        signer.update(code);
        let tag = signer.finalize().into_bytes();
        let temporary = temporary_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
        let written = file
            .write_all(code)
            .and_then(|()| file.write_all(&tag))
            .and_then(|()| Ok(renameat(folder, &temporary, folder, &self.name)?));
        if written.is_err() {
            let _: rustix::io::Result<()> = unlinkat(folder, &temporary, AtFlags::empty());
        }
        written
    }
}

/// Maps the code of a file that was checked. Where there is no `/proc` to open it again by, the code is read.
fn map(engine: &Engine, file: &mut File, code_bytes: u64) -> io::Result<Component> {
    let path = owned::reopened(&file);
    #[expect(
        unsafe_code,
        reason = "the file holds the bytes that `Component::serialize` gave a host of this user: they are signed with the user's key, and the \
                  signature was checked through this descriptor; it has one name, in a folder that nobody else may write, is writable by nobody \
                  else, and is replaced by rename, never written to in place"
    )]
    // SAFETY: see the reason above. Code of another engine or version is refused by wasmtime's own header check. The path means the opened
    // file itself, whatever its name means by now.
    let component = unsafe {
        if path.exists() {
            Component::deserialize_file(engine, path)
        } else {
            let mut code = Vec::new();
            file.rewind()?;
            file.take(code_bytes).read_to_end(&mut code)?;
            Component::deserialize(engine, code)
        }
    };
    component.map_err(|error| io::Error::other(format!("{error:#}")))
}

/// Notes that an entry is used, where that was not noted lately.
fn touch(file: &File, stat: &Stat) {
    let modified = u64::try_from(stat.st_mtime).unwrap_or_default();
    if clock::since_epoch().as_secs().saturating_sub(modified) > TOUCHED_S {
        let at = |nanoseconds| Timespec { tv_sec: 0, tv_nsec: nanoseconds };
        // One that cannot be noted is pruned earlier, and nothing else.
        let times = Timestamps { last_access: at(UTIME_OMIT), last_modification: at(UTIME_NOW) };
        let _: rustix::io::Result<()> = futimens(file, &times);
    }
}
