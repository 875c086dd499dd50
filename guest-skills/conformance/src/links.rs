//! Symbolic and hard links.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};

use crate::Case;
use crate::folders::names;
use crate::report::{at, done, show};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("link-symbolic-file", symbolic_file),
    ("link-symbolic-folder", symbolic_folder),
    ("link-symbolic-dangling", symbolic_dangling),
    ("link-symbolic-loop", symbolic_loop),
    ("link-symbolic-out", symbolic_out),
    ("link-symbolic-removed", symbolic_removed),
    ("link-symbolic-renamed", symbolic_renamed),
    ("link-symbolic-in-listing", symbolic_in_listing),
    ("link-symbolic-refused", symbolic_refused),
    ("link-read-refused", read_refused),
    ("link-hard", hard),
    ("link-hard-refused", hard_refused),
    ("link-canonical", canonical),
    ("link-remove-all", remove_all),
];

/// The standard library's function for WASI is not stable yet; this one is, and does the same.
pub(crate) fn symlink(target: &str, path: &str) -> io::Result<()> {
    #[expect(deprecated, reason = "its successor on WASI is not stable")]
    fs::soft_link(target, path)
}

fn symbolic_file(_: &[String]) -> io::Result<()> {
    show("link", symlink("text.txt", &at("link")));
    show("target", fs::read_link(at("link")));
    show("read", fs::read_to_string(at("link")));
    show("follows", fs::metadata(at("link")).map(|facts| (facts.is_file(), facts.is_symlink())));
    show("itself", fs::symlink_metadata(at("link")).map(|facts| (facts.is_file(), facts.is_symlink())));
    show("length of itself", fs::symlink_metadata(at("link")).map(|facts| facts.len()));
    show("write", fs::write(at("link"), "through"));
    show("content", fs::read_to_string(at("text.txt")));
    Ok(())
}

fn symbolic_folder(_: &[String]) -> io::Result<()> {
    show("link", symlink("folder", &at("link")));
    show("names", names(&at("link")));
    show("read through", fs::read_to_string(at("link/inner.txt")));
    show("write through", fs::write(at("link/new"), "new"));
    show("is a folder", fs::metadata(at("link")).map(|facts| facts.is_dir()));
    show("with a slash", fs::symlink_metadata(at("link/")).map(|facts| (facts.is_dir(), facts.is_symlink())));
    show("up", symlink("../text.txt", &at("folder/up")));
    show("read up", fs::read_to_string(at("folder/up")));
    Ok(())
}

fn symbolic_dangling(_: &[String]) -> io::Result<()> {
    show("link", symlink("none", &at("link")));
    done("open", File::open(at("link")));
    done("metadata", fs::metadata(at("link")));
    show("exists", fs::exists(at("link")));
    show("itself", fs::symlink_metadata(at("link")).map(|facts| facts.is_symlink()));
    done("create new", File::create_new(at("link")));
    done("create", File::create(at("link")));
    show("target", fs::exists(at("none")));
    Ok(())
}

fn symbolic_loop(_: &[String]) -> io::Result<()> {
    show("one", symlink("two", &at("one")));
    show("two", symlink("one", &at("two")));
    done("open", File::open(at("one")));
    done("metadata", fs::metadata(at("one")));
    done("through", fs::metadata(at("one/x")));
    show("self", symlink("self", &at("self")));
    done("open self", File::open(at("self")));
    Ok(())
}

fn symbolic_out(_: &[String]) -> io::Result<()> {
    show("up", symlink("../outside", &at("up")));
    done("open up", File::open(at("up")));
    done("metadata up", fs::metadata(at("up")));
    show("read up", fs::read_link(at("up")));
    show("absolute", symlink("/etc/hostname", &at("absolute")));
    done("open absolute", File::open(at("absolute")));
    show("up and back", symlink("folder/../text.txt", &at("back")));
    show("read back", fs::read_to_string(at("back")));
    Ok(())
}

fn symbolic_removed(_: &[String]) -> io::Result<()> {
    symlink("text.txt", &at("file"))?;
    symlink("folder", &at("dir"))?;
    show("file", fs::remove_file(at("file")));
    show("folder as a folder", fs::remove_dir(at("dir")));
    show("folder as a file", fs::remove_file(at("dir")));
    show("names", names(crate::report::ROOT));
    Ok(())
}

fn symbolic_renamed(_: &[String]) -> io::Result<()> {
    symlink("text.txt", &at("link"))?;
    show("rename", fs::rename(at("link"), at("moved")));
    show("target", fs::read_link(at("moved")));
    show("over a link", fs::rename(at("lines.txt"), at("moved")));
    show("is a file", fs::symlink_metadata(at("moved")).map(|facts| facts.is_file()));
    show("target is kept", fs::read_to_string(at("text.txt")));
    Ok(())
}

fn symbolic_in_listing(_: &[String]) -> io::Result<()> {
    symlink("text.txt", &at("folder/link"))?;
    for entry in fs::read_dir(at("folder"))? {
        let entry = entry?;
        if entry.file_name() == "link" {
            show("kind", entry.file_type().map(|kind| (kind.is_file(), kind.is_symlink())));
            show("metadata", entry.metadata().map(|facts| facts.is_symlink()));
        }
    }
    Ok(())
}

fn symbolic_refused(_: &[String]) -> io::Result<()> {
    show("over a file", symlink("x", &at("text.txt")));
    show("over a folder", symlink("x", &at("folder")));
    show("below a missing folder", symlink("x", &at("none/link")));
    show("empty target", symlink("", &at("link")));
    show("trailing slash", symlink("x", &at("link/")));
    Ok(())
}

fn read_refused(_: &[String]) -> io::Result<()> {
    show("a file", fs::read_link(at("text.txt")));
    show("a folder", fs::read_link(at("folder")));
    show("missing", fs::read_link(at("none")));
    Ok(())
}

fn hard(_: &[String]) -> io::Result<()> {
    show("link", fs::hard_link(at("text.txt"), at("link")));
    OpenOptions::new().append(true).open(at("link"))?.write_all(b"more")?;
    show("content", fs::read_to_string(at("text.txt")));
    show("remove", fs::remove_file(at("text.txt")));
    show("still there", fs::read_to_string(at("link")));
    Ok(())
}

fn hard_refused(_: &[String]) -> io::Result<()> {
    show("over a file", fs::hard_link(at("text.txt"), at("lines.txt")));
    show("missing", fs::hard_link(at("none"), at("link")));
    show("a folder", fs::hard_link(at("folder"), at("link")));
    show("into a missing folder", fs::hard_link(at("text.txt"), at("none/link")));
    show("to itself", fs::hard_link(at("text.txt"), at("text.txt")));
    symlink("text.txt", &at("soft"))?;
    show("a symbolic link", fs::hard_link(at("soft"), at("link")));
    show("is", fs::symlink_metadata(at("link")).map(|facts| facts.is_symlink()));
    Ok(())
}

fn canonical(_: &[String]) -> io::Result<()> {
    done("canonicalize", fs::canonicalize(at("text.txt")));
    Ok(())
}

fn remove_all(_: &[String]) -> io::Result<()> {
    fs::create_dir(at("tree"))?;
    symlink("../folder", &at("tree/link"))?;
    show("tree", fs::remove_dir_all(at("tree")));
    show("what was linked", names(&at("folder")));
    symlink("folder", &at("link"))?;
    show("a link", fs::remove_dir_all(at("link")));
    show("what was linked", names(&at("folder")));
    Ok(())
}
