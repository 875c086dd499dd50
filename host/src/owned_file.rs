//! Files whose word decides: policies, their rules, the values of secrets, the list of what is trusted. They are read only where nobody but
//! the running user and root can have written them or can put another one in their place.
//!
//! Looks at what is opened and never at a path alone: each folder on the way is opened below the one before it, without following a link.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use crate::document;
use crate::problem::{Problem, shown};

/// How a folder on the way is opened: on Linux without the right to read it.
#[cfg(target_os = "linux")]
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How the file is opened: what is no file must not block, and its link was looked at before.
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

const WRITABLE_BY_GROUP: u32 = 0o020;
const WRITABLE_BY_OTHERS: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Reads a file that somebody has named. Links are followed first; what they lead to is looked at.
///
/// # Errors
///
/// A problem where it cannot be read, is no file or is too large, and where others can have written it. The hint is a command that mends it.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Problem> {
    let name = shown(&path.display().to_string());
    let real = path.canonicalize().map_err(|error| document::unreadable(&name, &error))?;
    Way::of_process(&name).read(&real, bytes_max)
}

/// Reads a file that nobody has named: it is `inside` of a folder, and nothing of `inside` may be a link.
///
/// # Errors
///
/// As [`read`], and where something of `inside` is a link.
pub(crate) fn read_in_place(folder: &Path, inside: &Path, bytes_max: u64) -> Result<Vec<u8>, Problem> {
    let name = shown(&folder.join(inside).display().to_string());
    if !inside.components().all(|part| matches!(part, Component::Normal(_))) {
        let message = format!("`{name}` does not count: its path leads out of its folder");
        return Err(Problem::new("bad-path", "", message));
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let real = folder.canonicalize().map_err(|error| document::unreadable(&name, &error))?;
    Way::of_process(&name).read(&real.join(inside), bytes_max)
}

/// The way to a file, as a user goes it.
struct Way<'n> {
    /// The file as messages call it.
    name: &'n str,
    /// The running user.
    user: u32,
    /// The group in which that user is alone, where it has been asked for.
    own_group: fn(user: u32, group: u32) -> bool,
}

impl<'n> Way<'n> {
    fn of_process(name: &'n str) -> Self {
        Self { name, user: rustix::process::geteuid().as_raw(), own_group: is_own_group }
    }

    /// Reads the file at an absolute path in which nothing is a link.
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, Problem> {
        let failed = |error: Errno| document::unreadable(self.name, &io::Error::from(error));
        let mut at = PathBuf::from("/");
        let mut folder = openat(rustix::fs::CWD, &at, FOLDER, Mode::empty()).map_err(failed)?;
        self.check(&fstat(&folder).map_err(failed)?, &at, true)?;
        let mut names = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        let Some(mut name) = names.next() else { return Err(document::not_a_file(self.name)) };
        for next in names {
            at.push(name);
            folder = self.folder(&folder, &at).map_err(|error| match error {
                Ok(errno) => failed(errno),
                Err(problem) => *problem,
            })?;
            name = next;
        }
        at.push(name);
        let file = self.file(&folder, &at)?;
        let mut bytes = Vec::new();
        let read = file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| document::unreadable(self.name, &error))?;
        if bytes.len() as u64 > bytes_max {
            return Err(document::too_large(self.name, bytes_max));
        }
        Ok(bytes)
    }

    /// The folder of that name, after a look at whose it is.
    fn folder(&self, above: &OwnedFd, at: &Path) -> Result<OwnedFd, Result<Errno, Box<Problem>>> {
        let name = at.file_name().unwrap_or_default();
        let found = statat(above, name, AtFlags::SYMLINK_NOFOLLOW).map_err(Ok)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
            return Err(Err(Box::new(self.is_a_link(at))));
        }
        let folder = openat(above, name, FOLDER, Mode::empty()).map_err(Ok)?;
        let opened = fstat(&folder).map_err(Ok)?;
        self.check(&opened, at, true).map_err(|problem| Err(Box::new(problem)))?;
        Ok(folder)
    }

    /// The file of that name, after a look at whose it is.
    fn file(&self, folder: impl AsFd, at: &Path) -> Result<File, Problem> {
        let failed = |error: Errno| document::unreadable(self.name, &io::Error::from(error));
        let name = at.file_name().unwrap_or_default();
        let found = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(self.is_a_link(at)),
            // Opening a pipe or a device may do something.
            _ => return Err(document::not_a_file(self.name)),
        }
        let file = openat(folder, name, FILE, Mode::empty()).map_err(failed)?;
        let opened = fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(opened.st_mode) != FileType::RegularFile {
            return Err(document::not_a_file(self.name));
        }
        self.check(&opened, at, false)?;
        Ok(File::from(file))
    }

    /// Whether nobody but the user and root has a say there. In a folder with the sticky bit each may only replace what is his own.
    fn check(&self, of: &Stat, at: &Path, is_folder: bool) -> Result<(), Problem> {
        let (shown_at, quoted) = (shown(&at.display().to_string()), quoted(at));
        let what = if is_folder { format!("its folder `{shown_at}`") } else { "it".to_owned() };
        if of.st_uid != 0 && of.st_uid != self.user {
            let message = format!("`{}` does not count: {what} belongs to another user (uid {})", self.name, of.st_uid);
            let hint = if is_folder {
                format!("put it into a folder of your own, or, as root: `chown {} {quoted}`", self.user)
            } else {
                format!("copy it, or, as root and after reading it: `chown {} {quoted}`", self.user)
            };
            return Err(Problem::new("foreign-owner", "", message).with_hint(hint));
        }
        let mode = of.st_mode;
        let by_group =
            mode & WRITABLE_BY_GROUP != 0 && !(of.st_uid == self.user && (self.own_group)(self.user, of.st_gid));
        let by_others = mode & WRITABLE_BY_OTHERS != 0 || by_group;
        if !by_others || is_folder && mode & STICKY != 0 {
            return Ok(());
        }
        let can = if is_folder { "can be written by others, who could replace it" } else { "can be written by others" };
        let message = format!("`{}` does not count: {what} {can} (mode {:04o})", self.name, mode & 0o7777);
        Err(Problem::new("writable-by-others", "", message)
            .with_hint(format!("after reading it: `chmod go-w {quoted}`")))
    }

    fn is_a_link(&self, at: &Path) -> Problem {
        let message = format!("`{}` does not count: `{}` is a link", self.name, shown(&at.display().to_string()));
        Problem::new("is-a-link", "", message).with_hint("put the file itself there, or name what the link leads to")
    }
}

/// A path as a shell reads it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ',' | ':' | '@' | '%');
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Whether a group is one user's own, as systems with the umask 002 give each user: nobody else is in it. Root's files are not written with
/// that umask.
fn is_own_group(user: u32, group: u32) -> bool {
    let read = |path: &str| document::read_limited(Path::new(path)).unwrap_or_default();
    user != 0 && is_alone(user, group, &read("/etc/passwd"), &read("/etc/group"))
}

/// The same, from the texts of the two files. A user or a group that they do not name is not known, so that others may be in it.
fn is_alone(user: u32, group: u32, passwd: &[u8], groups: &[u8]) -> bool {
    let lines = |text: &[u8]| -> Vec<Vec<String>> {
        let text = String::from_utf8_lossy(text).into_owned();
        text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
    };
    let is = |field: Option<&String>, number: u32| field.is_some_and(|field| *field == number.to_string());
    let users = lines(passwd);
    let Some(own) = users.iter().find(|fields| is(fields.get(2), user)).and_then(|fields| fields.first()) else {
        return false;
    };
    let others_have_it = users.iter().any(|fields| is(fields.get(3), group) && !is(fields.get(2), user));
    let of_that_number: Vec<Vec<String>> =
        lines(groups).into_iter().filter(|fields| is(fields.get(2), group)).collect();
    let only_own = |fields: &Vec<String>| {
        let members = fields.get(3).map(String::as_str).unwrap_or_default();
        members.split(',').all(|member| member.is_empty() || member == own)
    };
    !of_that_number.is_empty() && of_that_number.iter().all(only_own) && !others_have_it
}

#[cfg(test)]
mod tests;
