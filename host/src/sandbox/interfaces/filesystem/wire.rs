//! How the values of `wasi:filesystem` are spelled in a trace: WIT names, sorted.

use serde_json::Value;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types as fs;

use crate::sandbox::wire::{
    Blobs, Decode, Encode, Encoder, Malformed, enumeration, flags, list, malformed, member, record,
};

record!(fs::DescriptorStat {
    "data-access-timestamp": data_access_timestamp,
    "data-modification-timestamp": data_modification_timestamp,
    "link-count": link_count,
    "size": size,
    "status-change-timestamp": status_change_timestamp,
    "type": type_,
});
record!(fs::MetadataHashValue { "lower": lower, "upper": upper });
record!(fs::DirectoryEntry { "name": name, "type": type_ });
list!((Resource<fs::Descriptor>, String));

enumeration!(fs::DescriptorType {
    "unknown": Unknown, "block-device": BlockDevice, "character-device": CharacterDevice, "directory": Directory, "fifo": Fifo,
    "symbolic-link": SymbolicLink, "regular-file": RegularFile, "socket": Socket,
});
enumeration!(fs::Advice {
    "normal": Normal, "sequential": Sequential, "random": Random, "will-need": WillNeed, "dont-need": DontNeed, "no-reuse": NoReuse,
});
enumeration!(fs::ErrorCode {
    "access": Access, "would-block": WouldBlock, "already": Already, "bad-descriptor": BadDescriptor, "busy": Busy,
    "deadlock": Deadlock, "quota": Quota, "exist": Exist, "file-too-large": FileTooLarge,
    "illegal-byte-sequence": IllegalByteSequence, "in-progress": InProgress, "interrupted": Interrupted, "invalid": Invalid, "io": Io,
    "is-directory": IsDirectory, "loop": Loop, "too-many-links": TooManyLinks, "message-size": MessageSize,
    "name-too-long": NameTooLong, "no-device": NoDevice, "no-entry": NoEntry, "no-lock": NoLock,
    "insufficient-memory": InsufficientMemory, "insufficient-space": InsufficientSpace, "not-directory": NotDirectory,
    "not-empty": NotEmpty, "not-recoverable": NotRecoverable, "unsupported": Unsupported, "no-tty": NoTty,
    "no-such-device": NoSuchDevice, "overflow": Overflow, "not-permitted": NotPermitted, "pipe": Pipe, "read-only": ReadOnly,
    "invalid-seek": InvalidSeek, "text-file-busy": TextFileBusy, "cross-device": CrossDevice,
});
flags!(fs::PathFlags { "symlink-follow": SYMLINK_FOLLOW });
flags!(fs::OpenFlags { "create": CREATE, "directory": DIRECTORY, "exclusive": EXCLUSIVE, "truncate": TRUNCATE });
flags!(fs::DescriptorFlags {
    "read": READ, "write": WRITE, "file-integrity-sync": FILE_INTEGRITY_SYNC, "data-integrity-sync": DATA_INTEGRITY_SYNC,
    "requested-write-sync": REQUESTED_WRITE_SYNC, "mutate-directory": MUTATE_DIRECTORY,
});

impl Encode for fs::NewTimestamp {
    fn encode(&self, to: &mut Encoder<'_>) {
        match self {
            Self::NoChange => to.raw(b"{\"tag\":\"no-change\"}"),
            Self::Now => to.raw(b"{\"tag\":\"now\"}"),
            Self::Timestamp(time) => {
                to.raw(b"{\"tag\":\"timestamp\",\"val\":");
                time.encode(to);
                to.raw(b"}");
            }
        }
    }
}

impl Decode for fs::NewTimestamp {
    fn decode(value: &Value, blobs: Blobs<'_>) -> Result<Self, Malformed> {
        match member(value, "tag")?.as_str() {
            Some("no-change") => Ok(Self::NoChange),
            Some("now") => Ok(Self::Now),
            Some("timestamp") => Ok(Self::Timestamp(Datetime::decode(member(value, "val")?, blobs)?)),
            _ => Err(malformed(value)),
        }
    }
}
