//! One file operation each.

use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use crate::Outcome;

/// The names in a folder, in the order that the host gives.
pub(crate) fn list(path: &str) -> Outcome {
    for entry in fs::read_dir(path)? {
        println!("{}", entry?.file_name().to_string_lossy());
    }
    Ok(ExitCode::SUCCESS)
}

/// Size, kind and last change of what is at a path, links not followed.
pub(crate) fn stat(path: &str) -> Outcome {
    let facts = fs::symlink_metadata(path)?;
    println!("size {}", facts.len());
    println!("kind {}", kind(facts.file_type()));
    match facts.modified() {
        Ok(time) => match time.duration_since(UNIX_EPOCH) {
            Ok(since) => println!("modified {}", since.as_nanos()),
            Err(before) => println!("modified -{}", before.duration().as_nanos()),
        },
        Err(error) => println!("modified error {:?}: {error}", error.kind()),
    }
    Ok(ExitCode::SUCCESS)
}

fn kind(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        "directory"
    } else if kind.is_file() {
        "file"
    } else if kind.is_symlink() {
        "symlink"
    } else {
        "other"
    }
}

/// The file's content as it is.
pub(crate) fn cat(path: &str) -> Outcome {
    let mut file = fs::File::open(path)?;
    std::io::copy(&mut file, &mut std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// Replaces the file's content.
pub(crate) fn write(path: &str, text: &str) -> Outcome {
    fs::write(path, text)?;
    println!("wrote {}", text.len());
    Ok(ExitCode::SUCCESS)
}

/// Adds to the file's end.
pub(crate) fn append(path: &str, text: &str) -> Outcome {
    fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())?;
    println!("appended {}", text.len());
    Ok(ExitCode::SUCCESS)
}

/// Renames a file or folder.
pub(crate) fn rename(from: &str, to: &str) -> Outcome {
    fs::rename(from, to)?;
    println!("renamed");
    Ok(ExitCode::SUCCESS)
}

/// Removes a file.
pub(crate) fn remove(path: &str) -> Outcome {
    fs::remove_file(path)?;
    println!("removed");
    Ok(ExitCode::SUCCESS)
}

/// Makes a folder.
pub(crate) fn mkdir(path: &str) -> Outcome {
    fs::create_dir(path)?;
    println!("made");
    Ok(ExitCode::SUCCESS)
}

/// Removes an empty folder.
pub(crate) fn rmdir(path: &str) -> Outcome {
    fs::remove_dir(path)?;
    println!("removed");
    Ok(ExitCode::SUCCESS)
}

/// Makes a symbolic link at `path`.
pub(crate) fn symlink(target: &str, path: &str) -> Outcome {
    make_symlink(target, path)?;
    println!("linked");
    Ok(ExitCode::SUCCESS)
}

#[cfg(unix)]
fn make_symlink(target: &str, path: &str) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// The standard library's function for WASI is not stable yet; this one is, and does the same here.
#[cfg(not(unix))]
fn make_symlink(target: &str, path: &str) -> std::io::Result<()> {
    #[expect(deprecated, reason = "its successor on WASI is not stable")]
    fs::soft_link(target, path)
}

/// Makes a hard link at `to`.
pub(crate) fn hardlink(from: &str, to: &str) -> Outcome {
    fs::hard_link(from, to)?;
    println!("linked");
    Ok(ExitCode::SUCCESS)
}

/// Cuts or extends a file.
pub(crate) fn set_size(path: &str, bytes: u64) -> Outcome {
    fs::OpenOptions::new().write(true).open(path)?.set_len(bytes)?;
    println!("size {bytes}");
    Ok(ExitCode::SUCCESS)
}

/// Sets a file's last change, in seconds since 1970.
pub(crate) fn set_times(path: &str, seconds: u64) -> Outcome {
    fs::OpenOptions::new().write(true).open(path)?.set_modified(UNIX_EPOCH + Duration::from_secs(seconds))?;
    println!("modified {seconds}");
    Ok(ExitCode::SUCCESS)
}

/// How opening a path fails: the kind, the error number and the text that a program sees. Not failing is said too.
pub(crate) fn io_error(path: &str) -> Outcome {
    match fs::File::open(path) {
        Ok(_) => println!("no error"),
        Err(error) => {
            println!("kind {:?}", error.kind());
            println!("number {}", error.raw_os_error().map_or_else(|| "none".to_owned(), |number| number.to_string()));
            println!("text {error}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
