//! What is in a journal's file, and how: frames of JSON records and bytes, each with its length and a checksum.
//!
//! A frame is `u32` length of what follows the checksum, 16 bytes of its BLAKE3, `u32` length of the records, the records as a JSON array,
//! then the bytes that they refer to. A frame that is cut short or damaged ends the file: what it would have announced has not happened.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::place::{Inode, Meta, Place, Time};
use crate::folder_id::FolderId;
use crate::id::Digest;
use crate::limits;

/// The version of the format. A journal of another one is not undone.
pub(super) const VERSION: u32 = 1;

const CHECKSUM_BYTES: usize = 16;
/// Length and checksum.
const HEAD_BYTES: usize = 4 + CHECKSUM_BYTES;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum Record {
    /// The first one. `journal` is the name of its file: it is found where it was before it was put there.
    Begun {
        version: u32,
        #[serde(default)]
        journal: Option<String>,
        /// Higher than those of all that the process began before in the same folder.
        #[serde(default)]
        number: u64,
        roots: Vec<RootAt>,
    },
    /// Something comes to be where nothing is.
    Created { at: Place },
    /// The content of a file may change.
    Content { at: Place, pre: Pre, len: u64, mode: u32, times: Times },
    /// A name goes away.
    Removed { at: Place, gone: Gone },
    /// A name becomes another.
    Renamed { from: Place, to: Place },
    /// Times change; `asked` where that is what the guest called for.
    Times { at: Place, times: Times, asked: bool },
    /// The change of a record was not made.
    Refused { record: u32 },
    /// This record and all after it are undone.
    Undone { from: u32 },
    /// This record is undone, while one after it waits.
    PutBack { record: u32 },
    /// What is at a touched place when the step has ended.
    State { at: Place, state: State },
    /// What the step looked at: so many bytes from `offset`, as JSON.
    Looked { offset: u64, len: u64 },
    /// All states were noted.
    Sealed,
    /// Everything was undone.
    Reverted,
}

/// A root as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RootAt {
    pub(super) guest: String,
    #[serde(with = "bytes")]
    pub(super) host: PathBuf,
    /// Which folder it was; older journals do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<FolderId>,
}

/// Where a pre-image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Pre {
    /// In the journal's file, from this byte.
    Inline { offset: u64 },
    /// A copy in `pre-<n>`.
    Copy { n: u32 },
    /// The file itself, under the name `pre-<n>`.
    Held { n: u32, inode: Inode },
}

/// What went away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Gone {
    /// A file, or what else can only be kept by holding it.
    File { pre: Pre, len: u64, mode: u32, times: Times },
    /// A symbolic link.
    Link {
        #[serde(with = "bytes")]
        target: PathBuf,
        times: Times,
    },
    /// An empty directory.
    Folder { mode: u32, times: Times },
}

/// When something was read and written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Times {
    pub(super) accessed: Time,
    pub(super) modified: Time,
}

impl From<&Meta> for Times {
    fn from(meta: &Meta) -> Self {
        Self { accessed: meta.accessed, modified: meta.modified }
    }
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        len: u64,
        mode: u32,
        #[serde(with = "digest")]
        sha256: Digest,
    },
    /// A symbolic link.
    Link {
        #[serde(with = "bytes")]
        target: PathBuf,
    },
    /// A directory.
    Folder { mode: u32 },
    /// A pipe, socket or device.
    Special,
}

/// Paths are bytes; those that are text look so.
pub(super) mod bytes {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Bytes { base64: String },
    }

    pub(crate) fn serialize<S: serde::Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => Form::Text(text.to_owned()),
            None => Form::Bytes { base64: STANDARD.encode(path.as_os_str().as_bytes()) },
        }
        .serialize(to)
    }

    pub(crate) fn deserialize<'d, D: serde::Deserializer<'d>>(from: D) -> Result<PathBuf, D::Error> {
        let bytes = match Form::deserialize(from)? {
            Form::Text(text) => text.into_bytes(),
            Form::Bytes { base64 } => STANDARD.decode(base64).map_err(serde::de::Error::custom)?,
        };
        Ok(PathBuf::from(OsString::from_vec(bytes)))
    }
}

/// Digests are hex.
pub(super) mod digest {
    use super::*;

    pub(crate) fn serialize<S: serde::Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(crate) fn deserialize<'d, D: serde::Deserializer<'d>>(from: D) -> Result<Digest, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
struct PlaceAt(u32, #[serde(with = "bytes")] PathBuf);

impl Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        PlaceAt(self.root, self.path.clone()).serialize(to)
    }
}

impl<'d> Deserialize<'d> for Place {
    fn deserialize<D: serde::Deserializer<'d>>(from: D) -> Result<Self, D::Error> {
        let PlaceAt(root, path) = PlaceAt::deserialize(from)?;
        Ok(Self { root, path })
    }
}

/// A frame of records and the bytes that they refer to; `offset` in an inline pre-image is then counted from the first of these.
pub(super) fn frame(records: &[Record], bytes: &[u8]) -> io::Result<Vec<u8>> {
    let records = serde_json::to_vec(records)?;
    let mut body = Vec::with_capacity(4 + records.len() + bytes.len());
    body.extend(length(records.len())?);
    body.extend(records);
    body.extend(bytes);
    let mut frame = Vec::with_capacity(HEAD_BYTES + body.len());
    frame.extend(length(body.len())?);
    frame.extend(checksum(&body));
    frame.extend(body);
    Ok(frame)
}

fn length(length: usize) -> io::Result<[u8; 4]> {
    u32::try_from(length).map(u32::to_le_bytes).map_err(io::Error::other)
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    blake3::Hasher::new().update(body).finalize_xof().fill(&mut sum);
    sum
}

/// Reads all frames up to the first one that is not whole. Gives the records, and where the whole part ends.
pub(super) fn read(file: &mut File) -> io::Result<(Vec<Record>, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let left = file.metadata()?.len();
    let mut reader = io::BufReader::with_capacity(64 << 10, file);
    let (mut records, mut end) = (Vec::new(), 0);
    while let Some((mut more, length)) = next(&mut reader, end, left)? {
        records.append(&mut more);
        end += length;
    }
    Ok((records, end))
}

fn next(reader: &mut impl io::Read, start: u64, end: u64) -> io::Result<Option<(Vec<Record>, u64)>> {
    let left = end.saturating_sub(start);
    let mut head = [0; HEAD_BYTES];
    if left < HEAD_BYTES as u64 {
        return Ok(None);
    }
    reader.read_exact(&mut head)?;
    let (Some(length), Some(sum)) = (head.first_chunk::<4>(), head.last_chunk::<CHECKSUM_BYTES>()) else {
        return Ok(None);
    };
    let length = u64::from(u32::from_le_bytes(*length));
    if length > limits::JOURNAL_FRAME_BYTES_MAX || length > left - HEAD_BYTES as u64 {
        return Ok(None);
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    if checksum(&body) != *sum {
        return Ok(None);
    }
    let Some((json, rest)) = body.split_first_chunk::<4>() else { return Ok(None) };
    let json = usize::try_from(u32::from_le_bytes(*json)).map_err(io::Error::other)?;
    let Some(json) = rest.get(..json) else { return Ok(None) };
    let mut records: Vec<Record> = serde_json::from_slice(json)?;
    // From here on offsets are those of the file.
    let bytes = start + (HEAD_BYTES + 4 + json.len()) as u64;
    records.iter_mut().for_each(|record| shift(record, bytes));
    Ok(Some((records, HEAD_BYTES as u64 + length)))
}

/// Where the bytes of a frame begin in the file.
pub(super) fn bytes_from(start: u64, frame_len: usize, bytes_len: usize) -> u64 {
    start + (frame_len - bytes_len) as u64
}

/// Moves what says where bytes are.
pub(super) fn shift(record: &mut Record, by: u64) {
    match record {
        Record::Content { pre: Pre::Inline { offset }, .. }
        | Record::Removed { gone: Gone::File { pre: Pre::Inline { offset }, .. }, .. }
        | Record::Looked { offset, .. } => *offset += by,
        _ => {}
    }
}
