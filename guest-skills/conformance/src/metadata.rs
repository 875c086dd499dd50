//! What is known of files, permissions and times.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Case;
use crate::report::{at, done, say, show};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("metadata-file", file),
    ("metadata-folder", folder),
    ("metadata-refused", refused),
    ("metadata-of-handle", of_handle),
    ("metadata-after-write", after_write),
    ("metadata-permissions", permissions),
    ("metadata-set-permissions", set_permissions),
    ("times-set", set),
    ("times-set-of-handle", set_of_handle),
    ("times-change", change),
    ("times-present", present),
];

fn file(_: &[String]) -> io::Result<()> {
    let facts = fs::metadata(at("text.txt"))?;
    say("kind", (facts.is_file(), facts.is_dir(), facts.is_symlink()));
    say("length", facts.len());
    show("of the name itself", fs::symlink_metadata(at("text.txt")).map(|facts| facts.len()));
    Ok(())
}

fn folder(_: &[String]) -> io::Result<()> {
    let facts = fs::metadata(at("folder"))?;
    say("kind", (facts.is_file(), facts.is_dir(), facts.is_symlink()));
    Ok(())
}

fn refused(_: &[String]) -> io::Result<()> {
    done("missing", fs::metadata(at("none")));
    done("below a file", fs::metadata(at("text.txt/x")));
    done("below a missing folder", fs::metadata(at("none/x")));
    done("a file with a slash", fs::metadata(at("text.txt/")));
    Ok(())
}

fn of_handle(_: &[String]) -> io::Result<()> {
    show(
        "file",
        File::open(at("text.txt")).and_then(|file| file.metadata()).map(|facts| (facts.is_file(), facts.len())),
    );
    show("folder", File::open(at("folder")).and_then(|file| file.metadata()).map(|facts| facts.is_dir()));
    Ok(())
}

fn after_write(_: &[String]) -> io::Result<()> {
    let file = OpenOptions::new().append(true).open(at("text.txt"))?;
    show("before", file.metadata().map(|facts| facts.len()));
    io::Write::write_all(&mut &file, b"more")?;
    show("after", file.metadata().map(|facts| facts.len()));
    show("by name", fs::metadata(at("text.txt")).map(|facts| facts.len()));
    Ok(())
}

fn permissions(_: &[String]) -> io::Result<()> {
    show("file", fs::metadata(at("text.txt")).map(|facts| facts.permissions().readonly()));
    show("folder", fs::metadata(at("folder")).map(|facts| facts.permissions().readonly()));
    Ok(())
}

fn set_permissions(_: &[String]) -> io::Result<()> {
    let mut permissions = fs::metadata(at("text.txt"))?.permissions();
    permissions.set_readonly(true);
    show("read-only", fs::set_permissions(at("text.txt"), permissions));
    show("write", fs::write(at("text.txt"), "x"));
    Ok(())
}

fn moment(seconds: u64, nanoseconds: u32) -> SystemTime {
    UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

fn since(time: io::Result<SystemTime>) -> io::Result<Option<Duration>> {
    Ok(time?.duration_since(UNIX_EPOCH).ok())
}

fn set(_: &[String]) -> io::Result<()> {
    let times =
        FileTimes::new().set_accessed(moment(1_000_000_000, 5_000)).set_modified(moment(1_500_000_000, 123_456_000));
    let file = OpenOptions::new().write(true).open(at("text.txt"))?;
    show("set", file.set_times(times));
    let facts = fs::metadata(at("text.txt"))?;
    show("accessed", since(facts.accessed()));
    show("modified", since(facts.modified()));
    show("one of them", file.set_modified(moment(1, 0)));
    let facts = file.metadata()?;
    show("accessed", since(facts.accessed()));
    show("modified", since(facts.modified()));
    show("none", file.set_times(FileTimes::new()));
    show("modified", since(file.metadata()?.modified()));
    Ok(())
}

fn set_of_handle(_: &[String]) -> io::Result<()> {
    show("read-only handle", File::open(at("text.txt")).and_then(|file| file.set_modified(moment(7, 0))));
    show("modified", since(fs::metadata(at("text.txt"))?.modified()).map(|time| time == Some(Duration::from_secs(7))));
    show("folder", File::open(at("folder")).and_then(|folder| folder.set_modified(moment(9, 0))));
    show("modified", since(fs::metadata(at("folder"))?.modified()).map(|time| time == Some(Duration::from_secs(9))));
    show(
        "before 1970",
        File::open(at("text.txt")).and_then(|file| file.set_modified(UNIX_EPOCH - Duration::from_secs(5))),
    );
    Ok(())
}

fn change(_: &[String]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(at("text.txt"))?;
    file.set_modified(moment(1_000, 0))?;
    show("as set", since(file.metadata()?.modified()));
    io::Write::write_all(&mut &file, b"x")?;
    show("later after a write", file.metadata()?.modified().map(|time| time > moment(1_000_000, 0)));
    Ok(())
}

fn present(_: &[String]) -> io::Result<()> {
    let facts = fs::metadata(at("text.txt"))?;
    show("modified", facts.modified().map(|time| time > UNIX_EPOCH));
    show("accessed", facts.accessed().map(|time| time > UNIX_EPOCH));
    show("created", facts.created().map(|time| time > UNIX_EPOCH));
    Ok(())
}
