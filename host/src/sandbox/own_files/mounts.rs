//! The same folder under other paths: what is mounted where. Reads what the kernel says of this process; where it says nothing, nothing is known
//! and nothing is mounted a second time.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::regular;

/// One mount.
#[derive(Debug)]
struct Mount {
    id: u64,
    /// Major and minor number of the file system.
    device: String,
    /// What of the file system is mounted.
    root: PathBuf,
    /// Where.
    point: PathBuf,
}

/// The mounts that this process sees.
#[derive(Debug, Default)]
pub(super) struct Mounts(Vec<Mount>);

impl Mounts {
    pub(super) fn read() -> Self {
        let table = regular::read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
        Self(table.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect())
    }

    /// Other paths of what is at the real path `at`, or of a part of it.
    pub(super) fn others(&self, at: &Path) -> Vec<PathBuf> {
        let Some(own) = id_at(at).and_then(|id| self.0.iter().find(|mount| mount.id == id)) else { return Vec::new() };
        let Ok(below) = at.strip_prefix(&own.point) else { return Vec::new() };
        let place = own.root.join(below);
        let others = self.0.iter().filter(|mount| mount.device == own.device && mount.id != own.id);
        let path = |mount: &Mount| {
            let path = match place.strip_prefix(&mount.root) {
                // The whole of it, or more.
                Ok(below) if below.as_os_str().is_empty() => mount.point.clone(),
                Ok(below) => mount.point.join(below),
                // A part of it.
                Err(_) if mount.root.starts_with(&place) => mount.point.clone(),
                Err(_) => return None,
            };
            // Not where something else is mounted over it.
            (id_at(&mount.point) == Some(mount.id)).then_some(path)
        };
        others.filter_map(path).collect()
    }
}

impl Mount {
    /// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/root rw`
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let device = String::from_utf8(fields.nth(1)?.to_vec()).ok()?;
        let (root, point) = (plain(fields.next()?), plain(fields.next()?));
        Some(Self { id, device, root, point })
    }
}

/// Without the escapes of blanks and the like: `\040`.
fn plain(mut field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    while let Some((first, rest)) = field.split_first() {
        let escaped = (*first == b'\\').then(|| rest.get(..3)).flatten();
        let code = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        field = if code.is_some() { rest.get(3..).unwrap_or_default() } else { rest };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The number of the mount that a path is in.
#[cfg(target_os = "linux")]
fn id_at(path: &Path) -> Option<u64> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

    let found = statx(CWD, path, AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID).ok()?;
    (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
}

#[cfg(not(target_os = "linux"))]
fn id_at(_path: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_kernel_writes_them() {
        let line = br"36 35 98:0 /a\040b /mnt\134x/\011 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.id, mount.device.as_str()), (36, "98:0"));
        assert_eq!((mount.root, mount.point), (PathBuf::from("/a b"), PathBuf::from("/mnt\\x/\t")));
        for bad in ["", "x", "36 35 98:0 /", "x 35 98:0 / /mnt"] {
            assert!(Mount::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_mounted_once_has_one_path() {
        let folder = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(folder.path()).unwrap();
        assert_eq!(Mounts::read().others(&real.join("not there")), Vec::<PathBuf>::new());
        assert!(!Mounts::read().others(&real).contains(&real));
    }
}
