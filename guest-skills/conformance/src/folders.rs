//! Making, listing and removing folders.

use std::fs;
use std::io;

use crate::Case;
use crate::report::{at, done, say, show};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("folder-create", create),
    ("folder-create-all", create_all),
    ("folder-list", list),
    ("folder-list-refused", list_refused),
    ("folder-list-many", list_many),
    ("folder-list-entries", list_entries),
    ("folder-list-while-removing", list_while_removing),
    ("folder-list-twice", list_twice),
    ("folder-remove", remove),
    ("folder-remove-file-functions", remove_file_functions),
    ("folder-remove-all", remove_all),
    ("folder-remove-all-refused", remove_all_refused),
    ("folder-root", root),
    ("folder-deep", deep),
];

/// The names in a folder, sorted: the order in which a host gives them is free.
pub(crate) fn names(path: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn create(_: &[String]) -> io::Result<()> {
    show("new", fs::create_dir(at("new")));
    show("again", fs::create_dir(at("new")));
    show("over a file", fs::create_dir(at("text.txt")));
    show("without parent", fs::create_dir(at("none/new")));
    show("below a file", fs::create_dir(at("text.txt/new")));
    show("inside", fs::create_dir(at("new/inside")));
    show("names", names(&at("new")));
    Ok(())
}

fn create_all(_: &[String]) -> io::Result<()> {
    show("three", fs::create_dir_all(at("a/b/c")));
    show("again", fs::create_dir_all(at("a/b/c")));
    show("through a file", fs::create_dir_all(at("text.txt/b")));
    show("over a file", fs::create_dir_all(at("text.txt")));
    show("names", names(&at("a/b")));
    Ok(())
}

fn list(_: &[String]) -> io::Result<()> {
    show("root", names(crate::report::ROOT));
    show("folder", names(&at("folder")));
    fs::create_dir(at("empty"))?;
    show("empty", names(&at("empty")));
    Ok(())
}

fn list_refused(_: &[String]) -> io::Result<()> {
    show("missing", names(&at("none")));
    show("a file", names(&at("text.txt")));
    show("below a file", names(&at("text.txt/x")));
    Ok(())
}

fn list_many(_: &[String]) -> io::Result<()> {
    fs::create_dir(at("many"))?;
    for turn in 0..300 {
        fs::write(at(&format!("many/{turn:03}-{}", "x".repeat(turn % 50))), "")?;
    }
    let names = names(&at("many"))?;
    say("count", names.len());
    say("first and last", (names.first(), names.last()));
    Ok(())
}

fn list_entries(_: &[String]) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(at("folder"))?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        say("path", entry.path());
        show("kind", entry.file_type().map(|kind| (kind.is_file(), kind.is_dir(), kind.is_symlink())));
        show("length of a file", entry.metadata().map(|facts| facts.is_file().then_some(facts.len())));
    }
    Ok(())
}

fn list_while_removing(_: &[String]) -> io::Result<()> {
    fs::create_dir(at("many"))?;
    for turn in 0..50 {
        fs::write(at(&format!("many/{turn}")), "")?;
    }
    let mut removed = 0;
    for entry in fs::read_dir(at("many"))? {
        fs::remove_file(entry?.path())?;
        removed += 1;
    }
    say("removed", removed);
    show("left", names(&at("many")));
    Ok(())
}

fn list_twice(_: &[String]) -> io::Result<()> {
    let (mut one, mut two) = (fs::read_dir(at("folder"))?, fs::read_dir(at("folder"))?);
    say("both begin", (one.next().is_some(), two.next().is_some()));
    drop(one);
    let rest: io::Result<Vec<_>> = two.collect();
    show("the second goes on", rest.map(|rest| rest.len()));
    Ok(())
}

fn remove(_: &[String]) -> io::Result<()> {
    show("not empty", fs::remove_dir(at("folder")));
    show("missing", fs::remove_dir(at("none")));
    show("a file", fs::remove_dir(at("text.txt")));
    fs::create_dir(at("empty"))?;
    show("empty", fs::remove_dir(at("empty")));
    show("exists", fs::exists(at("empty")));
    Ok(())
}

fn remove_file_functions(_: &[String]) -> io::Result<()> {
    show("a folder", fs::remove_file(at("folder")));
    show("missing", fs::remove_file(at("none")));
    show("below a file", fs::remove_file(at("text.txt/x")));
    show("a file", fs::remove_file(at("text.txt")));
    show("again", fs::remove_file(at("text.txt")));
    show("with a slash", fs::remove_file(at("lines.txt/")));
    Ok(())
}

fn remove_all(_: &[String]) -> io::Result<()> {
    fs::create_dir_all(at("tree/a/b/c"))?;
    fs::create_dir_all(at("tree/d"))?;
    for name in ["tree/1", "tree/a/2", "tree/a/b/3", "tree/a/b/c/4"] {
        fs::write(at(name), name)?;
    }
    fs::hard_link(at("text.txt"), at("tree/link"))?;
    show("tree", fs::remove_dir_all(at("tree")));
    show("exists", fs::exists(at("tree")));
    show("what was linked", fs::exists(at("text.txt")));
    Ok(())
}

fn remove_all_refused(_: &[String]) -> io::Result<()> {
    show("missing", fs::remove_dir_all(at("none")));
    show("a file", fs::remove_dir_all(at("text.txt")));
    show("the file", fs::exists(at("text.txt")));
    Ok(())
}

fn root(_: &[String]) -> io::Result<()> {
    use crate::report::ROOT;
    show("is a folder", fs::metadata(ROOT).map(|facts| facts.is_dir()));
    show("remove", fs::remove_dir(ROOT));
    show("create", fs::create_dir(ROOT));
    show("create all", fs::create_dir_all(ROOT));
    show("rename", fs::rename(ROOT, at("moved")));
    done("list /", fs::read_dir("/"));
    done("create in /", fs::create_dir("/other"));
    done("other root", fs::metadata("/etc/hostname"));
    Ok(())
}

fn deep(_: &[String]) -> io::Result<()> {
    let path = at(&vec!["d"; 50].join("/"));
    show("create", fs::create_dir_all(&path));
    show("write", fs::write(format!("{path}/file"), "deep"));
    show("read", fs::read_to_string(format!("{path}/file")));
    show("remove", fs::remove_dir_all(at("d")));
    Ok(())
}
