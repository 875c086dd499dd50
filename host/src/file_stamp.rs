//! What the system says of a file, by which one that may have changed is known without being read. Never part of a digest.

use std::fs::Metadata;
use std::path::Path;
use std::time::SystemTime;

/// Equal as long as nobody has written to the file. The time of its last change is one that programs cannot set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileStamp {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    node: [i64; 4],
}

impl FileStamp {
    /// The stamp of a file; `None` where there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of_metadata(&metadata))
    }

    /// The stamp of what this was read from.
    pub(crate) fn of_metadata(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt as _;
        Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            node: [metadata.dev().cast_signed(), metadata.ino().cast_signed(), metadata.ctime(), metadata.ctime_nsec()],
        }
    }
}
