//! Paths and names.

use std::fs;
use std::io;

use crate::Case;
use crate::folders::names;
use crate::report::{at, done, show};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("path-dots", dots),
    ("path-parent-out", parent_out),
    ("path-slashes", slashes),
    ("path-trailing-slash", trailing_slash),
    ("path-relative", relative),
    ("path-unknown-root", unknown_root),
    ("path-empty", empty),
    ("path-nul", nul),
    ("name-unicode", unicode),
    ("name-spaces", spaces),
    ("name-long", long),
    ("name-case", case),
    ("name-backslash", backslash),
];

fn dots(_: &[String]) -> io::Result<()> {
    show("here", fs::read_to_string(at("./text.txt")));
    show("inside", fs::read_to_string(at("folder/./inner.txt")));
    show("up", fs::read_to_string(at("folder/../text.txt")));
    show("up from a missing folder", fs::read_to_string(at("none/../text.txt")));
    show("up from a file", fs::read_to_string(at("lines.txt/../text.txt")));
    show("folder itself", names(&at("folder/.")));
    show("root again", names(&at("folder/..")));
    Ok(())
}

fn parent_out(_: &[String]) -> io::Result<()> {
    done("open", fs::File::open(at("../outside")));
    done("create", fs::File::create(at("../outside")));
    done("from a folder", fs::File::open(at("folder/../../outside")));
    done("list", fs::read_dir(at("..")));
    done("metadata", fs::metadata(at("..")));
    done("create a folder", fs::create_dir(at("../outside")));
    done("remove", fs::remove_file(at("../outside")));
    done("rename out", fs::rename(at("text.txt"), at("../outside")));
    done("and back in", fs::metadata(at("../workspace/text.txt")));
    Ok(())
}

fn slashes(_: &[String]) -> io::Result<()> {
    show("double", fs::read_to_string(at("folder//inner.txt")));
    show("double in front", fs::read_to_string(at("/text.txt")));
    show("three in the root", fs::read_to_string("///workspace/text.txt"));
    Ok(())
}

fn trailing_slash(_: &[String]) -> io::Result<()> {
    done("open a file", fs::File::open(at("text.txt/")));
    done("open a folder", fs::File::open(at("folder/")));
    done("create a file", fs::File::create(at("new/")));
    show("create a folder", fs::create_dir(at("other/")));
    show("remove a folder", fs::remove_dir(at("other/")));
    show("names", names(crate::report::ROOT));
    Ok(())
}

fn relative(_: &[String]) -> io::Result<()> {
    done("read", fs::read_to_string("text.txt"));
    done("read here", fs::read_to_string("./text.txt"));
    done("write", fs::write("new", "new"));
    done("list", fs::read_dir("."));
    show("names", names(crate::report::ROOT));
    Ok(())
}

fn unknown_root(_: &[String]) -> io::Result<()> {
    done("read", fs::read_to_string("/etc/hostname"));
    done("write", fs::write("/tmp/new", "new"));
    done("a prefix of the name", fs::read_to_string("/worksp/text.txt"));
    done("a longer name", fs::read_to_string("/workspaces/text.txt"));
    done("proc", fs::read_to_string("/proc/self/environ"));
    Ok(())
}

fn empty(_: &[String]) -> io::Result<()> {
    done("open", fs::File::open(""));
    done("create a folder", fs::create_dir(""));
    done("metadata", fs::metadata(""));
    done("remove", fs::remove_file(""));
    Ok(())
}

fn nul(_: &[String]) -> io::Result<()> {
    done("open", fs::File::open(at("a\0b")));
    done("create a folder", fs::create_dir(at("a\0b")));
    Ok(())
}

fn unicode(_: &[String]) -> io::Result<()> {
    for name in ["grüße.txt", "文件", "🦀", "e\u{301}", "\u{e9}", "\u{202e}x"] {
        show("write", fs::write(at(name), name));
        show("read", fs::read_to_string(at(name)));
    }
    show("names", names(crate::report::ROOT));
    Ok(())
}

fn spaces(_: &[String]) -> io::Result<()> {
    for name in [" ", "a b", " a", "a ", "tab\there", "line\nfeed", "-", "--", "~", "*", "a:b", "..."] {
        show("write", fs::write(at(name), name));
    }
    show("names", names(crate::report::ROOT));
    Ok(())
}

fn long(_: &[String]) -> io::Result<()> {
    for len in [255, 256, 1000, 5000] {
        show(&format!("{len}"), fs::write(at(&"x".repeat(len)), "x"));
    }
    show("deep path", fs::read_to_string(at(&"folder/../".repeat(300))));
    Ok(())
}

fn case(_: &[String]) -> io::Result<()> {
    show("other case", fs::exists(at("TEXT.TXT")));
    show("write", fs::write(at("TEXT.TXT"), "upper"));
    show("content", fs::read_to_string(at("text.txt")));
    Ok(())
}

fn backslash(_: &[String]) -> io::Result<()> {
    show("write", fs::write(at("a\\b"), "x"));
    show("names", names(crate::report::ROOT));
    show("no separator", fs::exists(at("folder\\inner.txt")));
    Ok(())
}
