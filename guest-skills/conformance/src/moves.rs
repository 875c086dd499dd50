//! Renaming.

use std::fs::{self, File};
use std::io::{self, Read as _};

use crate::Case;
use crate::folders::names;
use crate::report::{at, show};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("rename-file", file),
    ("rename-file-over-file", file_over_file),
    ("rename-folder", folder),
    ("rename-folder-over-empty-folder", folder_over_empty_folder),
    ("rename-folder-over-full-folder", folder_over_full_folder),
    ("rename-file-over-folder", file_over_folder),
    ("rename-folder-over-file", folder_over_file),
    ("rename-missing", missing),
    ("rename-into-itself", into_itself),
    ("rename-to-itself", to_itself),
    ("rename-hard-links", hard_links),
    ("rename-while-open", while_open),
    ("rename-trailing-slash", trailing_slash),
];

fn file(_: &[String]) -> io::Result<()> {
    show("beside", fs::rename(at("text.txt"), at("other")));
    show("into a folder", fs::rename(at("other"), at("folder/other")));
    show("old", fs::exists(at("other")));
    show("new", fs::read_to_string(at("folder/other")));
    Ok(())
}

fn file_over_file(_: &[String]) -> io::Result<()> {
    show("rename", fs::rename(at("text.txt"), at("lines.txt")));
    show("content", fs::read_to_string(at("lines.txt")));
    show("old", fs::exists(at("text.txt")));
    Ok(())
}

fn folder(_: &[String]) -> io::Result<()> {
    show("rename", fs::rename(at("folder"), at("other")));
    show("names", names(&at("other")));
    show("old", fs::exists(at("folder")));
    Ok(())
}

fn folder_over_empty_folder(_: &[String]) -> io::Result<()> {
    fs::create_dir(at("empty"))?;
    show("rename", fs::rename(at("folder"), at("empty")));
    show("names", names(&at("empty")));
    Ok(())
}

fn folder_over_full_folder(_: &[String]) -> io::Result<()> {
    fs::create_dir_all(at("full/inside"))?;
    show("rename", fs::rename(at("folder"), at("full")));
    show("names", names(&at("full")));
    Ok(())
}

fn file_over_folder(_: &[String]) -> io::Result<()> {
    fs::create_dir(at("empty"))?;
    show("over an empty one", fs::rename(at("text.txt"), at("empty")));
    show("over a full one", fs::rename(at("text.txt"), at("folder")));
    show("still there", fs::exists(at("text.txt")));
    Ok(())
}

fn folder_over_file(_: &[String]) -> io::Result<()> {
    show("rename", fs::rename(at("folder"), at("text.txt")));
    show("still there", fs::exists(at("folder")));
    Ok(())
}

fn missing(_: &[String]) -> io::Result<()> {
    show("missing", fs::rename(at("none"), at("other")));
    show("missing over a file", fs::rename(at("none"), at("text.txt")));
    show("into a missing folder", fs::rename(at("text.txt"), at("none/text.txt")));
    show("below a file", fs::rename(at("text.txt"), at("lines.txt/x")));
    Ok(())
}

fn into_itself(_: &[String]) -> io::Result<()> {
    show("rename", fs::rename(at("folder"), at("folder/inside")));
    show("names", names(&at("folder")));
    Ok(())
}

fn to_itself(_: &[String]) -> io::Result<()> {
    show("file", fs::rename(at("text.txt"), at("text.txt")));
    show("folder", fs::rename(at("folder"), at("folder")));
    show("content", fs::read_to_string(at("text.txt")));
    Ok(())
}

fn hard_links(_: &[String]) -> io::Result<()> {
    fs::hard_link(at("text.txt"), at("link"))?;
    show("rename", fs::rename(at("text.txt"), at("link")));
    show("names", names(crate::report::ROOT));
    Ok(())
}

fn while_open(_: &[String]) -> io::Result<()> {
    let mut open = File::open(at("text.txt"))?;
    show("rename", fs::rename(at("text.txt"), at("other")));
    let mut text = String::new();
    show("read", open.read_to_string(&mut text));
    fs::write(at("text.txt"), "another")?;
    show("length", open.metadata().map(|facts| facts.len()));
    Ok(())
}

fn trailing_slash(_: &[String]) -> io::Result<()> {
    show("a file as a folder", fs::rename(at("text.txt/"), at("other")));
    show("a file to a folder", fs::rename(at("text.txt"), at("other/")));
    show("a folder", fs::rename(at("folder/"), at("other/")));
    show("names", names(crate::report::ROOT));
    Ok(())
}
