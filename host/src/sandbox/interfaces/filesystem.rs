//! `wasi:filesystem`: wasmtime-wasi acts on directory handles that were granted, and what would leak the machine into guest and trace
//! is made virtual: times, inode numbers, link counts and sizes of directories, the order of listings, the timing of file streams.
//!
//! The values' spelling is in `filesystem/wire.rs`.

mod identity;
mod kept_off;
mod noted;
mod virtualise;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;

use cap_std::fs::Dir;
use wasmtime::Result;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::{FsPerms, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types as fs};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};
use wasmtime_wasi_io::streams::Error as StreamFailure;

use super::Own;
use crate::sandbox::ctx::SkillCtx;
use crate::sandbox::table::{gated, table};

pub(super) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> Result<()> {
    fs::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    preopens::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)
}

/// A granted directory, opened.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Where the guest sees it.
    pub(crate) guest: String,
    /// The handle below which everything happens.
    pub(crate) handle: Arc<Dir>,
    /// What the guest may do below it.
    pub(crate) perms: FsPerms,
}

/// A sorted listing.
#[derive(Debug)]
struct Listing {
    /// How many entries it had: what it counts against the limit until its stream is dropped.
    counted: usize,
    /// The entries that were not read yet.
    left: VecDeque<fs::DirectoryEntry>,
}

/// What the host remembers of open descriptors beside wasmtime-wasi's table.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    /// Guest paths by handle.
    paths: std::collections::BTreeMap<u32, String>,
    /// What `metadata-hash` tells of files.
    identities: identity::Identities,
    /// Sorted listings by the handle of their stream.
    listings: std::collections::BTreeMap<u32, Listing>,
}

type Fd = Resource<fs::Descriptor>;
type Entries = Resource<fs::DirectoryEntryStream>;

impl fs::Host for SkillCtx {
    fn convert_error_code(&mut self, error: FsError) -> Result<fs::ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(&mut self, error: Resource<StreamFailure>) -> Result<Option<fs::ErrorCode>> {
        gated!(self, "wasi:filesystem/types#filesystem-error-code", [error "err"], |live| {
            fs::Host::filesystem_error_code(&mut live.filesystem(), error)
        })
    }
}

table! { impl preopens::Host as "wasi:filesystem/preopens#" via |live| live.filesystem();
    ours(preopens) fn get_directories = "get-directories"() -> Result<Vec<(Fd, String)>>;
}

table! { impl fs::HostDescriptor as "wasi:filesystem/types#" via |live| live.filesystem();
    ours(file_input) fn read_via_stream = "[method]descriptor.read-via-stream"(this "self": Fd, offset "offset": u64) -> FsResult<Resource<DynInputStream>>;
    ours(file_output) fn write_via_stream = "[method]descriptor.write-via-stream"(this "self": Fd, offset "offset": u64) -> FsResult<Resource<DynOutputStream>>;
    ours(file_append) fn append_via_stream = "[method]descriptor.append-via-stream"(this "self": Fd) -> FsResult<Resource<DynOutputStream>>;
    wasi async fn advise = "[method]descriptor.advise"(this "self": Fd, offset "offset": u64, length "length": u64, advice "advice": fs::Advice) -> FsResult<()>;
    wasi async fn sync_data = "[method]descriptor.sync-data"(this "self": Fd) -> FsResult<()>;
    wasi async fn get_flags = "[method]descriptor.get-flags"(this "self": Fd) -> FsResult<fs::DescriptorFlags>;
    wasi async fn get_type = "[method]descriptor.get-type"(this "self": Fd) -> FsResult<fs::DescriptorType>;
    wasi async fn set_size = "[method]descriptor.set-size"(this "self": Fd, size "size": u64) -> FsResult<()>;
    ours(set_times) async fn set_times = "[method]descriptor.set-times"(this "self": Fd, accessed "data-access-timestamp": fs::NewTimestamp, modified "data-modification-timestamp": fs::NewTimestamp) -> FsResult<()>;
    ours(file_read) async fn read = "[method]descriptor.read"(this "self": Fd, length "length": u64, offset "offset": u64) -> FsResult<(Vec<u8>, bool)>;
    wasi async fn write = "[method]descriptor.write"(this "self": Fd, buffer "buffer": Vec<u8>, offset "offset": u64) -> FsResult<u64>;
    ours(read_directory) async fn read_directory = "[method]descriptor.read-directory"(this "self": Fd) -> FsResult<Entries>;
    wasi async fn sync = "[method]descriptor.sync"(this "self": Fd) -> FsResult<()>;
    ours(create_directory_at) async fn create_directory_at = "[method]descriptor.create-directory-at"(this "self": Fd, path "path": String) -> FsResult<()>;
    ours(stat) async fn stat = "[method]descriptor.stat"(this "self": Fd) -> FsResult<fs::DescriptorStat>;
    ours(stat_at) async fn stat_at = "[method]descriptor.stat-at"(this "self": Fd, path_flags "path-flags": fs::PathFlags, path "path": String) -> FsResult<fs::DescriptorStat>;
    ours(set_times_at) async fn set_times_at = "[method]descriptor.set-times-at"(this "self": Fd, path_flags "path-flags": fs::PathFlags, path "path": String, accessed "data-access-timestamp": fs::NewTimestamp, modified "data-modification-timestamp": fs::NewTimestamp) -> FsResult<()>;
    ours(link_at) async fn link_at = "[method]descriptor.link-at"(this "self": Fd, old_path_flags "old-path-flags": fs::PathFlags, old_path "old-path": String, new_descriptor "new-descriptor": Fd, new_path "new-path": String) -> FsResult<()>;
    ours(open_at) async fn open_at = "[method]descriptor.open-at"(this "self": Fd, path_flags "path-flags": fs::PathFlags, path "path": String, open_flags "open-flags": fs::OpenFlags, flags "flags": fs::DescriptorFlags) -> FsResult<Fd>;
    ours(readlink_at) async fn readlink_at = "[method]descriptor.readlink-at"(this "self": Fd, path "path": String) -> FsResult<String>;
    ours(remove_directory_at) async fn remove_directory_at = "[method]descriptor.remove-directory-at"(this "self": Fd, path "path": String) -> FsResult<()>;
    ours(rename_at) async fn rename_at = "[method]descriptor.rename-at"(this "self": Fd, old_path "old-path": String, new_descriptor "new-descriptor": Fd, new_path "new-path": String) -> FsResult<()>;
    ours(symlink_at) async fn symlink_at = "[method]descriptor.symlink-at"(this "self": Fd, old_path "old-path": String, new_path "new-path": String) -> FsResult<()>;
    ours(unlink_file_at) async fn unlink_file_at = "[method]descriptor.unlink-file-at"(this "self": Fd, path "path": String) -> FsResult<()>;
    wasi async fn is_same_object = "[method]descriptor.is-same-object"(this "self": Fd, other "other": Fd) -> Result<bool>;
    ours(metadata_hash) async fn metadata_hash = "[method]descriptor.metadata-hash"(this "self": Fd) -> FsResult<fs::MetadataHashValue>;
    ours(metadata_hash_at) async fn metadata_hash_at = "[method]descriptor.metadata-hash-at"(this "self": Fd, path_flags "path-flags": fs::PathFlags, path "path": String) -> FsResult<fs::MetadataHashValue>;
    ours(drop_descriptor) fn drop = "[resource-drop]descriptor"(this "self": Fd) -> Result<()>;
}

table! { impl fs::HostDirectoryEntryStream as "wasi:filesystem/types#" via |live| live.filesystem();
    ours(next_entry) async fn read_directory_entry = "[method]directory-entry-stream.read-directory-entry"(this "self": Entries) -> FsResult<Option<fs::DirectoryEntry>>;
    ours(drop_entries) fn drop = "[resource-drop]directory-entry-stream"(this "self": Entries) -> Result<()>;
}
