//! Opens regular files and folders, and nothing else: whoever puts a named pipe, a device or a link where the host expects a file of its own gets an error
//! that names it, and nobody waits.
//!
//! The only place where the library opens a file by its path. What guests open goes through the sandbox's directories instead.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Whether the last part of a path may be a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    /// Files that a person names.
    Followed,
    /// The host's own.
    Refused,
}

/// Opens a file of the host's own for reading. A link is refused.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    opened(path, OpenOptions::new().read(true), Links::Refused)
}

/// Opens a file that a person has named for reading, through links.
pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    opened(path, OpenOptions::new().read(true), Links::Followed)
}

/// Opens a file of the host's own for reading and writing. A link is refused.
pub(crate) fn open_both(path: &Path) -> io::Result<File> {
    opened(path, OpenOptions::new().read(true).write(true), Links::Refused)
}

/// Opens a file of the host's own for writing from its beginning, for the owner alone; makes it where it is not there.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    // Cut once it is known to be a file.
    let file = opened(path, OpenOptions::new().write(true).create(true).truncate(false).mode(0o600), Links::Refused)?;
    file.set_len(0)?;
    Ok(file)
}

/// The same for a file that must not be there. It can be read as well.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    // Makes a file, whatever is there.
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file of the host's own as it is, for the owner alone; makes it where it is not there.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    opened(path, OpenOptions::new().write(true).create(true).truncate(false).mode(0o600), Links::Refused)
}

/// The same for writing at its end.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    opened(path, OpenOptions::new().append(true).create(true).mode(0o600), Links::Refused)
}

/// Opens a folder, through links: what is in it is made durable by it, or opened beneath it.
pub(crate) fn open_folder(path: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// All of a file of the host's own.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same of one that has no more than so many bytes.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(io::Error::other(format!("it is larger than {bytes_max} bytes"))),
        false => Ok(bytes),
    }
}

/// The same of one that is text.
pub(crate) fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Refuses a path where something is that is no regular file. Where nothing is, or it cannot be looked at, whoever opens it finds out.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(wrong(&kind_of(&found))),
        _ => Ok(()),
    }
}

/// Refuses a path where something is that is no folder.
pub(crate) fn check_folder(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.is_dir() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, NotRegular(kind_of(&found), "a folder")))
        }
        _ => Ok(()),
    }
}

/// Whether that is why a file cannot be opened.
pub(crate) fn is_wrong(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NotRegular>())
}

/// What is there instead of a file.
#[derive(Debug, thiserror::Error)]
#[error("it is {0}, not {1}")]
struct NotRegular(String, &'static str);

fn wrong(kind: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, NotRegular(kind.to_owned(), "a regular file"))
}

fn kind_of(found: &std::fs::Metadata) -> String {
    let kind = found.file_type();
    let name = [
        (kind.is_symlink(), "a symbolic link"),
        (kind.is_dir(), "a folder"),
        (kind.is_file(), "a file"),
        (kind.is_fifo(), "a named pipe"),
        (kind.is_socket(), "a socket"),
        (kind.is_block_device() || kind.is_char_device(), "a device"),
    ];
    name.into_iter().find(|(is, _)| *is).map_or("something else", |(_, name)| name).to_owned()
}

fn opened(path: &Path, options: &mut OpenOptions, links: Links) -> io::Result<File> {
    // A named pipe that nobody has at its other end is not waited for, a terminal does not become ours.
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    if links == Links::Refused {
        flags |= OFlags::NOFOLLOW;
    }
    let file = match options.custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) => {
            // Why a link, a pipe without a reader or a socket cannot be opened is said better by what it is.
            let is_plain = matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::AlreadyExists
            );
            let found = if is_plain || links == Links::Followed { None } else { std::fs::symlink_metadata(path).ok() };
            return Err(match found.filter(|found| !found.is_file()) {
                Some(found) => wrong(&kind_of(&found)),
                None => error,
            });
        }
    };
    let found = file.metadata()?;
    if found.is_file() { Ok(file) } else { Err(wrong(&kind_of(&found))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    #[test]
    fn nothing_but_a_file_is_opened_and_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "content").unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        type Open = fn(&Path) -> io::Result<File>;
        let all: [(&str, Open); 5] = [
            ("open", open),
            ("open_both", open_both),
            ("create", create),
            ("open_or_create", open_or_create),
            ("append", append),
        ];
        for (name, what) in
            [("folder", "a folder"), ("link", "a symbolic link"), ("pipe", "a named pipe"), ("socket", "a socket")]
        {
            for (how, open) in all {
                let error = open(&at(name)).unwrap_err();
                assert!(is_wrong(&error) && error.to_string().contains(what), "{how} {name}: {error}");
            }
            assert!(check(&at(name)).is_err(), "{name}");
            assert_eq!(open_named(&at(name)).is_ok(), name == "link", "{name}");
        }
        assert_eq!(read_to_string(&at("file")).unwrap(), "content");
        assert!(is_wrong(&open_named(Path::new("/dev/zero")).unwrap_err()));
        assert_eq!(open(&at("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(check(&at("absent")).is_ok() && check(&at("file")).is_ok());
        assert!(open_folder(&at("folder")).is_ok() && open_folder(&at("pipe")).is_err());
        assert_eq!(create(&at("file")).unwrap().metadata().unwrap().len(), 0);
    }
}
