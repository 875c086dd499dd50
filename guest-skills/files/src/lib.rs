//! The skill `files`: tools over the folders that were granted, one tool a function, one concept a file.

mod concat;
mod error;
mod find;
mod folder;
mod hash;
mod limits;
mod read;
mod remove;
mod stat;
mod transfer;
mod write;

/// Types and glue generated from `wit/world.wit`.
mod bindings {
    wit_bindgen::generate!({ world: "files", path: "wit", additional_derives: [PartialEq, Eq] });
}

use bindings::exports::files::skill::tools;
use tools::{Digest, Entry, Error, Facts, Found, Guest, Made, Removed, Transferred, Written};

/// The exported functions; each hands over to the module that has its concept.
struct Component;

impl Guest for Component {
    fn read_text(path: String) -> Result<String, Error> {
        read::text(&path)
    }

    fn read_bytes(path: String) -> Result<Vec<u8>, Error> {
        read::bytes(&path)
    }

    fn write_text(path: String, text: String, overwrite: Option<bool>) -> Result<Written, Error> {
        write::replace(&path, text.as_bytes(), overwrite.unwrap_or(true))
    }

    fn write_bytes(path: String, bytes: Vec<u8>, overwrite: Option<bool>) -> Result<Written, Error> {
        write::replace(&path, &bytes, overwrite.unwrap_or(true))
    }

    fn append(path: String, text: String) -> Result<Written, Error> {
        write::append(&path, &text)
    }

    fn copy(source: String, target: String, overwrite: Option<bool>) -> Result<Transferred, Error> {
        transfer::copy(&source, &target, overwrite.unwrap_or(false))
    }

    fn move_(source: String, target: String, overwrite: Option<bool>) -> Result<Transferred, Error> {
        transfer::rename(&source, &target, overwrite.unwrap_or(false))
    }

    fn remove(path: String, recursive: Option<bool>) -> Result<Removed, Error> {
        remove::remove(&path, recursive.unwrap_or(false))
    }

    fn list(path: String) -> Result<Vec<Entry>, Error> {
        folder::list(&path)
    }

    fn stat(path: String, times: Option<bool>) -> Result<Facts, Error> {
        stat::stat(&path, times.unwrap_or(false))
    }

    fn exists(path: String) -> Result<bool, Error> {
        stat::exists(&path)
    }

    fn make_dir(path: String, parents: Option<bool>) -> Result<Made, Error> {
        folder::make(&path, parents.unwrap_or(true))
    }

    fn concat(sources: Vec<String>, output: String, separator: Option<String>) -> Result<Written, Error> {
        concat::concat(&sources, &output, separator.as_deref().unwrap_or("\n"))
    }

    fn hash(path: String) -> Result<Digest, Error> {
        hash::hash(&path)
    }

    fn find(folder: String, pattern: String) -> Result<Vec<Found>, Error> {
        find::find(&folder, &pattern)
    }
}

/// The exported symbols.
#[expect(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
