//! Which folder it is: what tells an opened folder from another one that has its name by now. Opens nothing by its path.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::OnceLock;

use crate::regular;

/// What the kernel says when it starts; another one after each start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The identity of a folder.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderId {
    /// The device.
    dev: u64,
    /// The inode.
    ino: u64,
    /// Since when the device has that number: some file systems get another one when they are mounted again.
    boot: String,
}

impl FolderId {
    /// The identity of an open folder.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn of(folder: &File) -> io::Result<Self> {
        let meta = folder.metadata()?;
        Ok(Self { dev: meta.dev(), ino: meta.ino(), boot: boot().to_owned() })
    }

    /// Whether both are one folder. After a start of the machine the inode alone tells.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.ino == other.ino && (self.dev == other.dev || self.boot != other.boot)
    }
}

/// The start of the machine; empty where the system does not say.
fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let read = regular::read(Path::new(BOOT_ID)).unwrap_or_default();
        String::from_utf8_lossy(&read).trim().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_is_itself_whatever_it_is_called() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("a")).unwrap();
        fs::create_dir(at("b")).unwrap();
        let id = |name: &str| FolderId::of(&File::open(at(name)).unwrap()).unwrap();
        let (a, b) = (id("a"), id("b"));
        assert!(a.is(&a) && !a.is(&b));
        fs::rename(at("a"), at("c")).unwrap();
        fs::create_dir(at("a")).unwrap();
        assert!(a.is(&id("c")) && !a.is(&id("a")));
        let read: FolderId = serde_json::from_str(&serde_json::to_string(&a).unwrap()).unwrap();
        assert!(read.is(&a));
    }

    #[test]
    fn another_number_of_the_device_counts_until_the_machine_starts_again() {
        let id = |dev, ino, boot: &str| FolderId { dev, ino, boot: boot.to_owned() };
        assert!(!id(1, 7, "one").is(&id(2, 7, "one")));
        assert!(id(1, 7, "one").is(&id(2, 7, "two")));
        assert!(!id(1, 7, "one").is(&id(1, 8, "two")));
    }
}
