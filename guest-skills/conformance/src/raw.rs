//! `wasi:filesystem` itself, where the standard library does not reach.

use std::io;

use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorStat, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};

use crate::Case;
use crate::report::{raw, say};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("raw-preopens", preopens),
    ("raw-flags", flags),
    ("raw-type", kind),
    ("raw-open", open),
    ("raw-open-rights", open_rights),
    ("raw-open-links", open_links),
    ("raw-read", read),
    ("raw-write", write),
    ("raw-size", size),
    ("raw-stat", stat),
    ("raw-same", same),
    ("raw-hash", hash),
    ("raw-hash-kept", hash_kept),
    ("raw-advise", advise),
    ("raw-sync", sync),
    ("raw-list", list),
    ("raw-paths", paths),
    ("raw-links", links),
    ("raw-remove", remove),
    ("raw-rename", rename),
    ("raw-times", times),
    ("raw-child-folder", child_folder),
    ("raw-file-as-folder", file_as_folder),
];

/// The folder that is given to the program.
pub(crate) fn root() -> io::Result<Descriptor> {
    get_directories().into_iter().next().map(|(folder, _)| folder).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// A file that is there.
pub(crate) fn open_file(name: &str, flags: DescriptorFlags) -> io::Result<Descriptor> {
    root()?.open_at(PathFlags::empty(), name, OpenFlags::empty(), flags).map_err(|_| io::ErrorKind::NotFound.into())
}

/// A new file for reading and writing.
pub(crate) fn new_file(name: &str) -> io::Result<Descriptor> {
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    root()?.open_at(PathFlags::empty(), name, OpenFlags::CREATE, flags).map_err(|_| io::ErrorKind::Other.into())
}

fn preopens(_: &[String]) -> io::Result<()> {
    for (folder, name) in get_directories() {
        raw(&name, folder.get_type());
    }
    say("when asked again", get_directories().len());
    Ok(())
}

fn flags(_: &[String]) -> io::Result<()> {
    raw("root", root()?.get_flags());
    for wanted in [
        DescriptorFlags::empty(),
        DescriptorFlags::READ,
        DescriptorFlags::WRITE,
        DescriptorFlags::READ | DescriptorFlags::WRITE,
    ] {
        let file = root()?.open_at(PathFlags::empty(), "text.txt", OpenFlags::empty(), wanted);
        raw(&format!("file {wanted:?}"), file.and_then(|file| file.get_flags()));
    }
    for wanted in [DescriptorFlags::READ, DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY] {
        let folder = root()?.open_at(PathFlags::empty(), "folder", OpenFlags::DIRECTORY, wanted);
        raw(&format!("folder {wanted:?}"), folder.and_then(|folder| folder.get_flags()));
    }
    Ok(())
}

fn kind(_: &[String]) -> io::Result<()> {
    raw("file", open_file("text.txt", DescriptorFlags::READ)?.get_type());
    raw("folder", open_file("folder", DescriptorFlags::READ)?.get_type());
    Ok(())
}

fn open(_: &[String]) -> io::Result<()> {
    let root = root()?;
    let at = |what: &str, path: &str, how: OpenFlags, flags: DescriptorFlags| {
        raw(what, root.open_at(PathFlags::SYMLINK_FOLLOW, path, how, flags).map(|_| ()));
    };
    let (read, write) = (DescriptorFlags::READ, DescriptorFlags::READ | DescriptorFlags::WRITE);
    at("a file as a folder", "text.txt", OpenFlags::DIRECTORY, read);
    at("a folder", "folder", OpenFlags::DIRECTORY, read);
    at("a folder without saying", "folder", OpenFlags::empty(), read);
    at("a folder to write", "folder", OpenFlags::DIRECTORY, write);
    at("create a folder", "new", OpenFlags::DIRECTORY | OpenFlags::CREATE, write);
    at("exclusive without create", "text.txt", OpenFlags::EXCLUSIVE, read);
    at("exclusive", "text.txt", OpenFlags::CREATE | OpenFlags::EXCLUSIVE, write);
    at("truncate to read", "text.txt", OpenFlags::TRUNCATE, read);
    at("truncate a folder", "folder", OpenFlags::TRUNCATE, write);
    at("create to read", "created", OpenFlags::CREATE, read);
    at("missing", "none", OpenFlags::empty(), read);
    at("missing folder", "none", OpenFlags::DIRECTORY, read);
    Ok(())
}

fn open_rights(_: &[String]) -> io::Result<()> {
    let folder = root()?
        .open_at(PathFlags::empty(), "folder", OpenFlags::DIRECTORY, DescriptorFlags::READ)
        .map_err(|_| io::ErrorKind::Other)?;
    let (read, write) = (DescriptorFlags::READ, DescriptorFlags::WRITE);
    raw("read", folder.open_at(PathFlags::empty(), "inner.txt", OpenFlags::empty(), read).map(|_| ()));
    raw("write", folder.open_at(PathFlags::empty(), "inner.txt", OpenFlags::empty(), write).map(|_| ()));
    raw("create", folder.open_at(PathFlags::empty(), "new", OpenFlags::CREATE, write).map(|_| ()));
    raw("create a folder", folder.create_directory_at("new"));
    raw("remove", folder.unlink_file_at("inner.txt"));
    Ok(())
}

fn open_links(_: &[String]) -> io::Result<()> {
    let root = root()?;
    raw("link", root.symlink_at("text.txt", "link"));
    let read = DescriptorFlags::READ;
    raw("followed", root.open_at(PathFlags::SYMLINK_FOLLOW, "link", OpenFlags::empty(), read).map(|_| ()));
    raw("not followed", root.open_at(PathFlags::empty(), "link", OpenFlags::empty(), read).map(|_| ()));
    raw("link to a folder", root.symlink_at("folder", "dir"));
    raw("not followed", root.open_at(PathFlags::empty(), "dir", OpenFlags::DIRECTORY, read).map(|_| ()));
    raw("through", root.open_at(PathFlags::empty(), "dir/inner.txt", OpenFlags::empty(), read).map(|_| ()));
    raw("stat followed", root.stat_at(PathFlags::SYMLINK_FOLLOW, "link").map(|facts| facts.type_));
    raw("stat not followed", root.stat_at(PathFlags::empty(), "link").map(|facts| facts.type_));
    Ok(())
}

fn read(_: &[String]) -> io::Result<()> {
    let file = open_file("text.txt", DescriptorFlags::READ)?;
    let text = |(bytes, end): (Vec<u8>, bool)| (String::from_utf8_lossy(&bytes).into_owned(), end);
    for (len, offset) in [(4, 0), (4, 2), (0, 0), (100, 0), (100, 100), (0, 1000), (1, u64::MAX)] {
        raw(&format!("{len} at {offset}"), file.read(len, offset).map(text));
    }
    raw("folder", root()?.read(1, 0));
    let write_only = open_file("text.txt", DescriptorFlags::WRITE)?;
    raw("write-only", write_only.read(1, 0));
    Ok(())
}

fn write(_: &[String]) -> io::Result<()> {
    let file = new_file("new")?;
    for (bytes, offset) in [(b"0123".as_slice(), 0), (b"x", 2), (b"end", 10), (b"", 0), (b"y", u64::MAX)] {
        raw(&format!("{} at {offset}", bytes.len()), file.write(bytes, offset));
    }
    raw("content", file.read(100, 0));
    raw("folder", root()?.write(b"x", 0));
    raw("read-only", open_file("text.txt", DescriptorFlags::READ)?.write(b"x", 0));
    Ok(())
}

fn size(_: &[String]) -> io::Result<()> {
    let file = new_file("new")?;
    raw("grow", file.set_size(5));
    raw("content", file.read(100, 0));
    raw("cut", file.set_size(2));
    raw("content", file.read(100, 0));
    raw("read-only", open_file("text.txt", DescriptorFlags::READ)?.set_size(0));
    raw("folder", root()?.set_size(0));
    raw("beyond", file.set_size(u64::MAX));
    Ok(())
}

fn facts(found: &DescriptorStat) -> String {
    format!("{:?} {}", found.type_, found.size)
}

fn stat(_: &[String]) -> io::Result<()> {
    let root = root()?;
    let file = open_file("text.txt", DescriptorFlags::READ)?;
    raw("file", file.stat().map(|found| facts(&found)));
    raw("links", file.stat().map(|found| found.link_count));
    raw("second link", root.link_at(PathFlags::empty(), "text.txt", &root, "link"));
    raw("links", file.stat().map(|found| found.link_count));
    raw("by name", root.stat_at(PathFlags::empty(), "text.txt").map(|found| facts(&found)));
    raw("missing", root.stat_at(PathFlags::empty(), "none").map(|found| facts(&found)));
    raw("root", root.stat().map(|found| found.type_));
    raw("root by name", root.stat_at(PathFlags::empty(), ".").map(|found| found.type_));
    Ok(())
}

fn same(_: &[String]) -> io::Result<()> {
    let (one, two) = (open_file("text.txt", DescriptorFlags::READ)?, open_file("text.txt", DescriptorFlags::READ)?);
    say("the same file", one.is_same_object(&two));
    say("another file", one.is_same_object(&open_file("lines.txt", DescriptorFlags::READ)?));
    say("a folder", one.is_same_object(&root()?));
    say("the root", root()?.is_same_object(&root()?));
    Ok(())
}

fn hash(_: &[String]) -> io::Result<()> {
    let root = root()?;
    let file = open_file("text.txt", DescriptorFlags::READ)?;
    let pair = |value: wasip2::filesystem::types::MetadataHashValue| (value.upper, value.lower);
    let one = file.metadata_hash().map(pair);
    let other = root.metadata_hash_at(PathFlags::empty(), "lines.txt").map(pair);
    say("steady", matches!((&one, file.metadata_hash().map(pair)), (Ok(one), Ok(two)) if *one == two));
    say(
        "by name",
        matches!((&one, root.metadata_hash_at(PathFlags::empty(), "text.txt").map(pair)), (Ok(one), Ok(two)) if *one == two),
    );
    say("another file", matches!((&one, &other), (Ok(one), Ok(other)) if one != other));
    raw("missing", root.metadata_hash_at(PathFlags::empty(), "none").map(|_| ()));
    Ok(())
}

/// Programs take the hash for an inode: it is to stay with the file, whatever its name and content.
fn hash_kept(_: &[String]) -> io::Result<()> {
    let root = root()?;
    let file = open_file("text.txt", DescriptorFlags::READ | DescriptorFlags::WRITE)?;
    let of =
        |name: &str| root.metadata_hash_at(PathFlags::SYMLINK_FOLLOW, name).map(|hash| (hash.upper, hash.lower)).ok();
    let before = of("text.txt");
    raw("symbolic link", root.symlink_at("text.txt", "soft"));
    say("the same through it", of("soft") == before);
    raw("hard link", root.link_at(PathFlags::empty(), "text.txt", &root, "hard"));
    say("the same through it", of("hard") == before);
    raw("written", file.write(b"a longer text than it was", 0));
    say("the same then", of("text.txt") == before);
    raw("renamed", root.rename_at("text.txt", &root, "moved.txt"));
    say("the same then", of("moved.txt") == before);
    say("of the handle", file.metadata_hash().map(|hash| (hash.upper, hash.lower)).ok() == before);
    raw("replaced", root.rename_at("lines.txt", &root, "moved.txt"));
    say("another then", of("moved.txt") != before);
    Ok(())
}

fn advise(_: &[String]) -> io::Result<()> {
    let file = open_file("text.txt", DescriptorFlags::READ)?;
    for advice in
        [Advice::Normal, Advice::Sequential, Advice::Random, Advice::WillNeed, Advice::DontNeed, Advice::NoReuse]
    {
        raw(&format!("{advice:?}"), file.advise(0, 4, advice));
    }
    raw("beyond the end", file.advise(1000, 1000, Advice::WillNeed));
    raw("beyond everything", file.advise(u64::MAX, u64::MAX, Advice::Normal));
    raw("folder", root()?.advise(0, 0, Advice::Normal));
    Ok(())
}

fn sync(_: &[String]) -> io::Result<()> {
    for flags in [DescriptorFlags::READ, DescriptorFlags::WRITE] {
        let file = open_file("text.txt", flags)?;
        raw("all", file.sync());
        raw("data", file.sync_data());
    }
    raw("folder", root()?.sync());
    raw("data of a folder", root()?.sync_data());
    Ok(())
}

fn list(_: &[String]) -> io::Result<()> {
    let entries = root()?.read_directory().map_err(|_| io::ErrorKind::Other)?;
    let mut found = Vec::new();
    while let Ok(Some(entry)) = entries.read_directory_entry() {
        found.push(format!("{} {:?}", entry.name, entry.type_));
    }
    found.sort();
    say("entries", found);
    raw("after the end", entries.read_directory_entry().map(|entry| entry.is_some()));
    raw("a file", open_file("text.txt", DescriptorFlags::READ)?.read_directory().map(|_| ()));
    Ok(())
}

fn paths(_: &[String]) -> io::Result<()> {
    let root = root()?;
    for path in [
        "",
        ".",
        "./",
        "/",
        "/workspace/text.txt",
        "..",
        "../workspace",
        "folder/..",
        "folder/../..",
        "text.txt/",
        "folder/",
        "./text.txt",
        "text.txt/.",
        "a\0b",
    ] {
        raw(&format!("{path:?}"), root.stat_at(PathFlags::empty(), path).map(|found| found.type_));
    }
    for path in ["", ".", "..", "/new", "new/", "./new2", "folder"] {
        raw(&format!("folder {path:?}"), root.create_directory_at(path));
    }
    Ok(())
}

fn links(_: &[String]) -> io::Result<()> {
    let root = root()?;
    for (target, path) in [
        ("text.txt", "link"),
        ("text.txt", "link"),
        ("/etc/hostname", "absolute"),
        ("", "empty"),
        ("../x", "up"),
        ("x", "none/link"),
        ("x", "slash/"),
    ] {
        raw(&format!("{target:?} {path:?}"), root.symlink_at(target, path));
        raw("reads", root.readlink_at(path));
    }
    raw("a file", root.readlink_at("text.txt"));
    raw("hard, followed", root.link_at(PathFlags::SYMLINK_FOLLOW, "link", &root, "hard"));
    raw("hard", root.link_at(PathFlags::empty(), "link", &root, "hard2"));
    raw("over a file", root.link_at(PathFlags::empty(), "text.txt", &root, "lines.txt"));
    Ok(())
}

fn remove(_: &[String]) -> io::Result<()> {
    let root = root()?;
    for path in ["folder", "none", "text.txt/", "folder/", ".", "", "..", "text.txt"] {
        raw(&format!("file {path:?}"), root.unlink_file_at(path));
    }
    raw("make", root.create_directory_at("empty"));
    for path in ["folder", "none", "lines.txt", ".", "", "..", "empty/"] {
        raw(&format!("folder {path:?}"), root.remove_directory_at(path));
    }
    Ok(())
}

fn rename(_: &[String]) -> io::Result<()> {
    let root = root()?;
    let folder = open_file("folder", DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY)?;
    raw("into", root.rename_at("text.txt", &folder, "moved.txt"));
    raw("out", folder.rename_at("moved.txt", &root, "text.txt"));
    raw("onto a file handle", root.rename_at("text.txt", &open_file("lines.txt", DescriptorFlags::READ)?, "x"));
    raw("root", root.rename_at(".", &root, "x"));
    raw("absolute", root.rename_at("text.txt", &root, "/x"));
    Ok(())
}

fn times(_: &[String]) -> io::Result<()> {
    let file = open_file("text.txt", DescriptorFlags::WRITE)?;
    let at =
        |seconds, nanoseconds| NewTimestamp::Timestamp(wasip2::clocks::wall_clock::Datetime { seconds, nanoseconds });
    let seen =
        |what: &str| raw(what, file.stat().map(|found| found.data_modification_timestamp.map(|time| time.seconds)));
    raw("set", file.set_times(NewTimestamp::NoChange, at(1_000, 5)));
    seen("seen");
    raw("by name", root()?.set_times_at(PathFlags::empty(), "text.txt", NewTimestamp::NoChange, at(2_000, 0)));
    seen("seen");
    raw("now", file.set_times(NewTimestamp::Now, NewTimestamp::Now));
    raw("later", file.stat().map(|found| found.data_modification_timestamp.map(|time| time.seconds > 2_000)));
    raw("a wrong one", file.set_times(NewTimestamp::NoChange, at(1, 1_000_000_000)));
    raw("missing", root()?.set_times_at(PathFlags::empty(), "none", NewTimestamp::Now, NewTimestamp::Now));
    Ok(())
}

fn child_folder(_: &[String]) -> io::Result<()> {
    let folder = open_file("folder", DescriptorFlags::READ)?;
    raw("inside", folder.stat_at(PathFlags::empty(), "inner.txt").map(|found| facts(&found)));
    raw("out", folder.stat_at(PathFlags::empty(), "../text.txt").map(|found| facts(&found)));
    raw("root", root()?.create_directory_at("folder/new"));
    raw("seen", folder.stat_at(PathFlags::empty(), "new").map(|found| found.type_));
    Ok(())
}

fn file_as_folder(_: &[String]) -> io::Result<()> {
    let file = open_file("text.txt", DescriptorFlags::READ)?;
    let read = DescriptorFlags::READ;
    let refused: [(&str, Result<(), ErrorCode>); 5] = [
        ("open", file.open_at(PathFlags::empty(), "x", OpenFlags::empty(), read).map(|_| ())),
        ("stat", file.stat_at(PathFlags::empty(), "x").map(|_| ())),
        ("create a folder", file.create_directory_at("x")),
        ("remove", file.unlink_file_at("x")),
        ("link", file.symlink_at("x", "y")),
    ];
    for (what, result) in refused {
        raw(what, result);
    }
    Ok(())
}
