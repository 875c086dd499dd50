//! The key that compiled code is signed with: random, of one user, in a file of the cache folder that nobody else may read.
//!
//! A key file is of use only where it was made. One that was copied there, by a downloaded archive for instance, is another file: it says
//! which file it is, by its number and the time at which the system made it, and both are the system's to say.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::time::UNIX_EPOCH;

use hmac::{Hmac, Mac as _};
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, StatVfsMountFlags, flock, fstatvfs, linkat, openat, renameat, unlinkat,
};
use sha2::Sha256;

use super::temporary_name;
use crate::clock;
use crate::owned::OwnedFolder;

/// Its name in the folder.
const NAME: &str = "key";
/// How the file begins.
const HEAD: &[u8] = b"skillhost-code-key/1\n";
/// As many as a block of SHA-256: HMAC takes them as they are.
const SECRET_BYTES: usize = 64;
/// The number of the file and its age.
const STAMP_BYTES: usize = 8 + 16;
const FILE_BYTES: usize = HEAD.len() + SECRET_BYTES + STAMP_BYTES;
/// What others may do with a file of the user's own: nothing.
const ANY_BY_OTHERS: u32 = 0o077;

/// Signs compiled code.
pub(super) struct Key([u8; SECRET_BYTES]);

/// What is in the place of a key.
enum Found {
    Key(Key),
    Nothing,
    /// A file that is not to be trusted, and why.
    Foreign(String),
}

impl Key {
    /// The key of the folder. Where there is none, or one that was not made there, a new one is made; in the latter case `refused` is told.
    /// Of several processes that do so at one time all get the same.
    pub(super) fn of(folder: &OwnedFolder, refused: &mut dyn FnMut(String)) -> io::Result<Self> {
        match find(folder)? {
            Found::Key(key) => Ok(key),
            Found::Nothing => {
                add(folder)?;
                match find(folder)? {
                    Found::Key(key) => Ok(key),
                    Found::Nothing => Err(io::Error::other("its key was removed")),
                    Found::Foreign(why) => Err(foreign(&why)),
                }
            }
            Found::Foreign(why) if folder.is_users() => {
                refused(format!("`key` of the cache of compiled code is not used, a new one is made: {why}"));
                replace(folder)
            }
            Found::Foreign(why) => Err(foreign(&why)),
        }
    }

    /// What signs and checks one entry.
    pub(super) fn signer(&self) -> Hmac<Sha256> {
        Hmac::new(&self.0.into())
    }
}

fn foreign(why: &str) -> io::Error {
    io::Error::other(format!("its key is not to be trusted: {why}"))
}

fn find(folder: &OwnedFolder) -> io::Result<Found> {
    let (mut file, stat) = match folder.file(NAME) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Found::Nothing),
        Err(error) => return Ok(Found::Foreign(error.to_string())),
    };
    // One that root keeps for all has to be readable by all: see `docs/store-format.md`.
    if folder.is_users() && stat.st_mode & ANY_BY_OTHERS != 0 {
        return Ok(Found::Foreign("other users may read it".to_owned()));
    }
    let mut bytes = Vec::with_capacity(FILE_BYTES + 1);
    (&mut file).take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let parts = bytes.strip_prefix(HEAD).and_then(|rest| rest.split_first_chunk::<SECRET_BYTES>());
    let Some((secret, made)) = parts.filter(|(_, made)| made.len() == STAMP_BYTES) else {
        return Ok(Found::Foreign("it is damaged".to_owned()));
    };
    if is_writable(folder)? && made != stamp(&file)? {
        return Ok(Found::Foreign("it was not made here but copied".to_owned()));
    }
    Ok(Found::Key(Key(*secret)))
}

/// Whether the user can have put something there, or unpacked it.
fn is_writable(folder: &OwnedFolder) -> io::Result<bool> {
    Ok(folder.is_users() && !fstatvfs(folder)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// What tells a file from a copy of it. A file system that does not know when a file was made says its number alone.
fn stamp(file: &File) -> io::Result<[u8; STAMP_BYTES]> {
    use std::os::unix::fs::MetadataExt as _;

    let metadata = file.metadata()?;
    let made = metadata.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let mut stamp = [0; STAMP_BYTES];
    let (number, time) = stamp.split_at_mut(8);
    number.copy_from_slice(&metadata.ino().to_le_bytes());
    time.copy_from_slice(&made.map_or(0, |made| made.as_nanos()).to_le_bytes());
    Ok(stamp)
}

/// Adds a new key where there is none; one that another process has added meanwhile stays.
fn add(folder: &OwnedFolder) -> io::Result<()> {
    let temporary = temporary_name();
    let added = write(folder, &temporary).and_then(|_| Ok(linkat(folder, &temporary, folder, NAME, AtFlags::empty())?));
    let removed = unlinkat(folder, &temporary, AtFlags::empty());
    match added {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(removed?),
        added => added.and(Ok(removed?)),
    }
}

/// Puts a new key in the place of one that is not to be trusted.
fn replace(folder: &OwnedFolder) -> io::Result<Key> {
    // One process at a time: what another one has just made stays. Nobody waits, since a lock may be held for ever.
    flock(folder, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::other("another process is making a key"))?;
    let replaced = match find(folder)? {
        Found::Key(key) => Ok(key),
        Found::Nothing | Found::Foreign(_) => {
            let temporary = temporary_name();
            let renamed = write(folder, &temporary).and_then(|key| {
                renameat(folder, &temporary, folder, NAME)?;
                Ok(key)
            });
            if renamed.is_err() {
                let _: rustix::io::Result<()> = unlinkat(folder, &temporary, AtFlags::empty());
            }
            renamed
        }
    };
    flock(folder, FlockOperation::Unlock)?;
    replaced
}

fn write(folder: &OwnedFolder, name: &str) -> io::Result<Key> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    let mut secret = [0; SECRET_BYTES];
    for half in secret.chunks_exact_mut(16) {
        half.copy_from_slice(&clock::entropy()?);
    }
    file.write_all(&[HEAD, &secret, &stamp(&file)?].concat())?;
    Ok(Key(secret))
}
