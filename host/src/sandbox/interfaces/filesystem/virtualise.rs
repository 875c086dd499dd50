//! The filesystem functions that we answer ourselves, around wasmtime-wasi's.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, Dir, FsPerms, OpenMode, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types::{self as fs, HostDescriptor as _, HostDirectoryEntryStream as _};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult, InputStream, OutputStream, Pollable};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::streams::{StreamError, StreamResult};

use super::identity::Machine;
use super::kept_off::Touch;
use super::noted::{removing_folder, unlinking};
use super::{Entries, Fd, Listing};
use crate::guest_path;
use crate::journal::{Kind, Look};
use crate::limits::{self, LimitKind};
use crate::sandbox::ctx::Live;
use crate::sandbox::stop::LimitHit;

/// A file stream whose every operation is finished when its call returns. wasmtime-wasi's starts work in the background and says "not
/// yet" until it is done; how often it says so depends on the machine, and a write could land after the guest was stopped.
struct Settled<S>(S);

/// Drives a future that is known to finish at once: file operations run on this thread (`allow_blocking_current_thread`).
fn at_once<T>(future: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(StreamError::trap("a file operation did not finish on its thread")),
    }
}

#[async_trait]
impl<S: Send + 'static> Pollable for Settled<S> {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for Settled<DynInputStream> {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        at_once(self.0.blocking_read(size))
    }
}

#[async_trait]
impl OutputStream for Settled<DynOutputStream> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        at_once(self.0.blocking_write_and_flush(bytes))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.check_write()
    }
}

/// A stream that is in the table only while the real one is being wrapped.
struct Nothing;

#[async_trait]
impl Pollable for Nothing {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for Nothing {
    fn read(&mut self, _size: usize) -> StreamResult<Bytes> {
        Err(StreamError::Closed)
    }
}

#[async_trait]
impl OutputStream for Nothing {
    fn write(&mut self, _bytes: Bytes) -> StreamResult<()> {
        Err(StreamError::Closed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Err(StreamError::Closed)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Err(StreamError::Closed)
    }
}

impl Live {
    pub(super) fn preopens(&mut self) -> Result<Vec<(Fd, String)>> {
        let mut preopens = Vec::with_capacity(self.directories.len());
        for directory in &self.directories {
            let mode = match directory.perms {
                FsPerms::ReadOnly => OpenMode::READ,
                FsPerms::ReadWrite => OpenMode::READ | OpenMode::WRITE,
            };
            let handle = directory.handle.try_clone()?.into_std_file();
            let fd = self.table.push(Descriptor::Dir(Dir::new(handle, directory.perms, mode, true)))?;
            self.descriptors.paths.insert(fd.rep(), directory.guest.clone());
            preopens.push((fd, directory.guest.clone()));
        }
        Ok(preopens)
    }

    pub(super) fn file_input(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynInputStream>> {
        let stream = self.filesystem().read_via_stream(fd, offset)?;
        let slot = self.table.get_mut(&stream)?;
        let inner = std::mem::replace(slot, Box::new(Nothing));
        *slot = Box::new(Settled(inner));
        Ok(stream)
    }

    pub(super) fn file_output(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.filesystem().write_via_stream(fd, offset)?;
        self.settled(stream)
    }

    pub(super) fn file_append(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.filesystem().append_via_stream(fd)?;
        self.settled(stream)
    }

    fn settled(&mut self, stream: Resource<DynOutputStream>) -> FsResult<Resource<DynOutputStream>> {
        let slot = self.table.get_mut(&stream)?;
        let inner = std::mem::replace(slot, Box::new(Nothing));
        *slot = Box::new(Settled(inner));
        Ok(stream)
    }

    pub(super) async fn file_read(&mut self, fd: Fd, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        self.filesystem().read(fd, length.min(limits::READ_BYTES_MAX as u64), offset).await
    }

    /// Opens only what cannot block for ever: a pipe or device that lies in a granted directory is refused, since opening one waits for
    /// its other side and no deadline could end that.
    pub(super) async fn open_at(
        &mut self,
        fd: Fd,
        path_flags: fs::PathFlags,
        path: String,
        open_flags: fs::OpenFlags,
        flags: fs::DescriptorFlags,
    ) -> FsResult<Fd> {
        let at = self.path_below(&fd, &path);
        if at.len() > limits::GUEST_PATH_BYTES_MAX {
            return Err(fs::ErrorCode::NameTooLong.into());
        }
        let follow = path_flags.contains(fs::PathFlags::SYMLINK_FOLLOW)
            && !open_flags.contains(fs::OpenFlags::CREATE | fs::OpenFlags::EXCLUSIVE);
        let there = self.keep_off(&fd, &path, follow, Touch::Use)?;
        // Where it is known to be none of these, nobody has to be asked again.
        if there.is_none_or(|there| there.kind == Kind::Special)
            && let Ok(stat) = self.filesystem().stat_at(borrowed(&fd), path_flags, path.clone()).await
            && !matches!(
                stat.type_,
                fs::DescriptorType::RegularFile | fs::DescriptorType::Directory | fs::DescriptorType::SymbolicLink
            )
        {
            return Err(fs::ErrorCode::Unsupported.into());
        }
        let opened = self.open_noted(fd, path_flags, path, open_flags, flags).await?;
        self.descriptors.paths.insert(opened.rep(), at);
        Ok(opened)
    }

    pub(super) fn drop_descriptor(&mut self, fd: Fd) -> Result<()> {
        self.descriptors.paths.remove(&fd.rep());
        fs::HostDescriptor::drop(&mut self.filesystem(), fd)
    }

    pub(super) async fn stat(&mut self, fd: Fd) -> FsResult<fs::DescriptorStat> {
        self.look_at(&fd).await;
        let held = self.held_links(&fd);
        let stat = self.filesystem().stat(fd).await?;
        Ok(self.timeless(stat, held))
    }

    pub(super) async fn stat_at(&mut self, fd: Fd, flags: fs::PathFlags, path: String) -> FsResult<fs::DescriptorStat> {
        let follow = flags.contains(fs::PathFlags::SYMLINK_FOLLOW);
        self.keep_off(&fd, &path, follow, Touch::Use)?;
        self.look(&fd, &path, follow, Look::Stat).await;
        let held = self.held_links_at(&fd, flags, &path);
        let acts = self.acts(&fd, &path, follow, Touch::Use)?;
        let stat = self.filesystem().stat_at(acts.fd(), acts.flags(flags), acts.path()).await;
        let stat = self.acted(&acts, stat)?;
        Ok(self.timeless(stat, held))
    }

    /// Times are the machine's unless real clocks are granted; a directory's size and link count are its filesystem's business, and the
    /// names under which the undo journal holds a file are nobody's.
    fn timeless(&self, mut stat: fs::DescriptorStat, held: u64) -> fs::DescriptorStat {
        stat.link_count = stat.link_count.saturating_sub(held);
        if self.clock.virtual_ns().is_some() {
            stat.data_access_timestamp = None;
            stat.data_modification_timestamp = None;
            stat.status_change_timestamp = None;
        }
        if stat.type_ == fs::DescriptorType::Directory {
            stat.size = 0;
            stat.link_count = 1;
        }
        stat
    }

    pub(super) async fn set_times(
        &mut self,
        fd: Fd,
        accessed: fs::NewTimestamp,
        modified: fs::NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (self.new_time(accessed), self.new_time(modified));
        let noted = self.before_set_times(&fd).await?;
        let done = self.filesystem().set_times(fd, accessed, modified).await;
        self.after(noted, done)
    }

    pub(super) async fn set_times_at(
        &mut self,
        fd: Fd,
        flags: fs::PathFlags,
        path: String,
        accessed: fs::NewTimestamp,
        modified: fs::NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (self.new_time(accessed), self.new_time(modified));
        let follow = flags.contains(fs::PathFlags::SYMLINK_FOLLOW);
        self.keep_off(&fd, &path, follow, Touch::Use)?;
        let noted = self.before_set_times_at(&fd, flags, &path).await?;
        let done = match self.acts(&fd, &path, follow, Touch::Use) {
            Ok(acts) => {
                let at = (acts.flags(flags), acts.path());
                let done = self.filesystem().set_times_at(acts.fd(), at.0, at.1, accessed, modified).await;
                self.acted(&acts, done)
            }
            Err(refused) => Err(refused),
        };
        self.after(noted, done)
    }

    /// `now` is the guest's now.
    fn new_time(&self, time: fs::NewTimestamp) -> fs::NewTimestamp {
        match (&time, self.clock.virtual_wall()) {
            (fs::NewTimestamp::Now, Some(now)) => fs::NewTimestamp::Timestamp(now),
            _ => time,
        }
    }

    /// Lists the whole directory and sorts it: the order of a filesystem is not the guest's business and differs between machines.
    pub(super) async fn read_directory(&mut self, fd: Fd) -> FsResult<Entries> {
        self.look_into(&fd).await;
        let in_part = self.shown_in_part(&fd);
        let entries = self.filesystem().read_directory(fd).await?;
        let open: usize = self.descriptors.listings.values().map(|listing| listing.counted).sum();
        let mut listing = Vec::new();
        loop {
            let again = Resource::new_borrow(entries.rep());
            match self.filesystem().read_directory_entry(again).await? {
                Some(_) if open + listing.len() >= limits::DIRECTORY_ENTRIES_MAX => {
                    return Err(FsError::trap(LimitHit::count(
                        LimitKind::DirectoryEntries,
                        limits::DIRECTORY_ENTRIES_MAX,
                    )));
                }
                Some(entry) => listing.push(entry),
                None => break,
            }
        }
        if let Some(folder) = in_part {
            listing.retain(|entry| !self.guard.hides(&folder, OsStr::new(&entry.name)));
        }
        listing.sort_by(|a, b| a.name.cmp(&b.name));
        let listing = Listing { counted: listing.len(), left: VecDeque::from(listing) };
        self.descriptors.listings.insert(entries.rep(), listing);
        Ok(entries)
    }

    pub(super) async fn next_entry(&mut self, entries: Entries) -> FsResult<Option<fs::DirectoryEntry>> {
        Ok(self.descriptors.listings.get_mut(&entries.rep()).and_then(|listing| listing.left.pop_front()))
    }

    pub(super) fn drop_entries(&mut self, entries: Entries) -> Result<()> {
        self.descriptors.listings.remove(&entries.rep());
        fs::HostDirectoryEntryStream::drop(&mut self.filesystem(), entries)
    }

    pub(super) async fn metadata_hash(&mut self, fd: Fd) -> FsResult<fs::MetadataHashValue> {
        let path = self.path_below(&fd, "");
        let held = self.held_links(&fd);
        let stat = self.filesystem().stat(borrowed(&fd)).await?;
        let machine = self.filesystem().metadata_hash(fd).await?;
        Ok(self.descriptors.identities.of((machine.upper, machine.lower), &path, stat.link_count > held))
    }

    pub(super) async fn metadata_hash_at(
        &mut self,
        fd: Fd,
        flags: fs::PathFlags,
        path: String,
    ) -> FsResult<fs::MetadataHashValue> {
        let at = self.path_below(&fd, &path);
        let follow = flags.contains(fs::PathFlags::SYMLINK_FOLLOW);
        self.keep_off(&fd, &path, follow, Touch::Use)?;
        self.look(&fd, &path, follow, Look::Stat).await;
        let acts = self.acts(&fd, &path, follow, Touch::Use)?;
        let machine = self.filesystem().metadata_hash_at(acts.fd(), acts.flags(flags), acts.path()).await;
        let machine = self.acted(&acts, machine)?;
        Ok(self.descriptors.identities.of((machine.upper, machine.lower), &at, true))
    }

    pub(super) async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.keep_off(&fd, &path, false, Touch::Move)?;
        let gone = self.last_name_at(&fd, &path).await;
        let noted = self.before_at(&fd, &path, unlinking).await?;
        let done = match self.acts(&fd, &path, false, Touch::Move) {
            Ok(acts) => {
                let done = self.filesystem().unlink_file_at(acts.fd(), acts.path()).await;
                self.acted(&acts, done)
            }
            Err(refused) => Err(refused),
        };
        self.after(noted, done)?;
        self.forget(gone);
        Ok(())
    }

    pub(super) async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.keep_off(&fd, &path, false, Touch::Move)?;
        let gone = self.last_name_at(&fd, &path).await;
        let noted = self.before_at(&fd, &path, removing_folder).await?;
        let done = match self.acts(&fd, &path, false, Touch::Move) {
            Ok(acts) => {
                let done = self.filesystem().remove_directory_at(acts.fd(), acts.path()).await;
                self.acted(&acts, done)
            }
            Err(refused) => Err(refused),
        };
        self.after(noted, done)?;
        self.forget(gone);
        Ok(())
    }

    pub(super) async fn rename_at(&mut self, fd: Fd, old_path: String, new_fd: Fd, new_path: String) -> FsResult<()> {
        self.keep_off(&fd, &old_path, false, Touch::Move)?;
        self.keep_off(&new_fd, &new_path, false, Touch::Move)?;
        let mut gone = self.last_name_at(&new_fd, &new_path).await;
        if gone.is_some() && gone == self.last_name_at(&fd, &old_path).await {
            // Onto itself: nothing is replaced.
            gone = None;
        }
        let noted = self.before_rename(&fd, &old_path, &new_fd, &new_path).await?;
        let done = match self.both_act((&fd, &old_path), (&new_fd, &new_path), Touch::Move) {
            Ok((old, new)) => {
                let done = self.filesystem().rename_at(old.fd(), old.path(), new.fd(), new.path()).await;
                let done = self.acted(&new, done);
                self.acted(&old, done)
            }
            Err(refused) => Err(refused),
        };
        self.after(noted, done)?;
        self.forget(gone);
        Ok(())
    }

    /// The file that `path` is the only name of. Asked before the name is taken away, and only where a step has asked for identities.
    async fn last_name_at(&mut self, fd: &Fd, path: &str) -> Option<Machine> {
        if self.descriptors.identities.is_empty() {
            return None;
        }
        let follow = fs::PathFlags::empty();
        let held = self.held_links_at(fd, follow, path);
        let stat = self.filesystem().stat_at(borrowed(fd), follow, path.to_owned()).await.ok()?;
        if stat.type_ != fs::DescriptorType::Directory && stat.link_count > 1 + held {
            return None;
        }
        let machine = self.filesystem().metadata_hash_at(borrowed(fd), follow, path.to_owned()).await.ok()?;
        Some((machine.upper, machine.lower))
    }

    fn forget(&mut self, gone: Option<Machine>) {
        if let Some(machine) = gone {
            self.descriptors.identities.forget(machine);
        }
    }

    /// The guest path of `path` below an open directory, without `.` and with `..` applied as text.
    fn path_below(&self, fd: &Fd, path: &str) -> String {
        let base = self.descriptors.paths.get(&fd.rep()).map(String::as_str).unwrap_or_default();
        guest_path::join(base, path)
    }
}

fn borrowed(fd: &Fd) -> Fd {
    Resource::new_borrow(fd.rep())
}
