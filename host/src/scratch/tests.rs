use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::*;
use crate::diff::What;
use crate::sandbox::OwnPaths;

const GOES_ON: &dyn Fn() -> bool = &|| true;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.real("")).unwrap();
        place
    }

    fn real(&self, name: &str) -> PathBuf {
        self.folder.path().join("real").join(name)
    }

    fn scratch(&self, bounds: Bounds) -> Scratch {
        Scratch::create(&self.folder.path().join("state"), bounds).unwrap()
    }

    fn copied(&self) -> (Scratch, PathBuf) {
        let mut scratch = self.scratch(Bounds::DRY_RUN);
        let copy = scratch.copy(Some(&self.real("")), Path::new("w"), (&OwnFiles::default(), GOES_ON)).unwrap().0;
        (scratch, copy)
    }

    /// Everything that can be seen of the real folder but who looked at it when.
    fn digest(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.real("")];
        while let Some(at) = folders.pop() {
            let meta = fs::symlink_metadata(&at).unwrap();
            found.push(format!(
                "{at:?} {:o} {} {} {} {} {}",
                meta.mode(),
                meta.ino(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime(),
                meta.ctime_nsec()
            ));
            if meta.is_dir() {
                folders.extend(fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()));
            } else if meta.is_file() {
                found.push(format!("{:?}", fs::read(&at).unwrap()));
            }
        }
        found.sort();
        found
    }
}

fn told(changes: &Changes) -> Vec<(&str, &str)> {
    changes.list.iter().map(|change| (change.what.name(), change.path.as_str())).collect()
}

#[test]
fn a_copy_is_like_its_original() {
    let place = Place::new();
    fs::create_dir_all(place.real("a/b")).unwrap();
    fs::write(place.real("a/b/x"), "x").unwrap();
    fs::hard_link(place.real("a/b/x"), place.real("y")).unwrap();
    symlink("../../outside", place.real("a/out")).unwrap();
    symlink("a/b", place.real("in")).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    File::open(place.real("y")).unwrap().set_modified(long_ago).unwrap();
    fs::set_permissions(place.real("y"), Permissions::from_mode(0o640)).unwrap();
    let status = Command::new("mkfifo").arg(place.real("pipe")).status().unwrap();
    assert!(status.success());
    File::open(place.real("a/b")).unwrap().set_modified(long_ago).unwrap();
    fs::set_permissions(place.real("a/b"), Permissions::from_mode(0o555)).unwrap();

    let before = place.digest();
    let (scratch, copy) = place.copied();
    let meta = |name: &str| fs::symlink_metadata(copy.join(name)).unwrap();
    assert_eq!(fs::read(copy.join("y")).unwrap(), b"x");
    assert_eq!((meta("y").mode() & 0o7777, meta("y").modified().unwrap()), (0o640, long_ago));
    assert_eq!((meta("y").ino(), meta("y").nlink()), (meta("a/b/x").ino(), 2));
    assert_ne!(meta("y").ino(), fs::metadata(place.real("y")).unwrap().ino());
    assert_eq!((meta("a/b").mode() & 0o7777, meta("a/b").modified().unwrap()), (0o555, long_ago));
    assert_eq!(fs::read_link(copy.join("a/out")).unwrap(), Path::new("../../outside"));
    assert_eq!(fs::read_link(copy.join("in")).unwrap(), Path::new("a/b"));
    assert!(!copy.join("pipe").exists());
    let changes = scratch.changes().unwrap();
    assert_eq!(told(&changes), []);
    let [notice] = &changes.notices[..] else { panic!("{changes:?}") };
    assert!(notice.contains("pipe` is no file or folder"), "{notice}");
    let path = scratch.path().to_owned();
    drop(scratch);
    assert!(!path.exists());
    assert_eq!(place.digest(), before);
}

#[test]
fn holes_stay_holes() {
    let place = Place::new();
    let file = File::create(place.real("sparse")).unwrap();
    let len = 64 << 20;
    file.set_len(len).unwrap();
    file.write_all_at(b"middle", 32 << 20).unwrap();
    file.write_all_at(b"!", len - (1 << 20)).unwrap();
    let mut scratch = place.scratch(Bounds { bytes: 1 << 20, ..Bounds::DRY_RUN });
    // It has 64 MiB and fits into one: nothing but data is counted.
    let copy =
        scratch.copy(Some(&place.real("")), Path::new("w"), (&OwnFiles::default(), GOES_ON)).unwrap().0.join("sparse");
    assert_eq!(fs::read(&copy).unwrap(), fs::read(place.real("sparse")).unwrap());
    assert!(fs::metadata(&copy).unwrap().blocks() * 512 < 1 << 20);
    assert_eq!(told(&scratch.changes().unwrap()), []);
}

#[test]
fn what_is_done_to_the_copy_is_told() {
    let place = Place::new();
    for (name, text) in [("a", "one\n"), ("b", "two\n"), ("c", "three\n"), ("d", "four\n"), ("e", "five\n")] {
        fs::write(place.real(name), text).unwrap();
    }
    fs::create_dir(place.real("f")).unwrap();
    let before = place.digest();
    let (scratch, copy) = place.copied();
    // As long as before, and with the time that it had: that is not taken for the same.
    let time = fs::metadata(copy.join("a")).unwrap().modified().unwrap();
    fs::write(copy.join("a"), "eno\n").unwrap();
    File::open(copy.join("a")).unwrap().set_modified(time).unwrap();
    fs::remove_file(copy.join("b")).unwrap();
    fs::rename(copy.join("c"), copy.join("f/c")).unwrap();
    fs::write(copy.join("d"), "four\n").unwrap();
    fs::remove_file(copy.join("e")).unwrap();
    fs::create_dir(copy.join("e")).unwrap();
    fs::write(copy.join("g"), [0, 1, 2]).unwrap();
    let changes = scratch.changes().unwrap();
    assert_eq!(
        told(&changes),
        [
            ("modified", "w/a"),
            ("removed", "w/b"),
            ("removed", "w/c"),
            ("replaced", "w/e"),
            ("created", "w/f/c"),
            ("created", "w/g")
        ]
    );
    assert_eq!(changes.list[0].diff, "--- w/a\n+++ w/a\n@@ -1 +1 @@\n-one\n+eno\n");
    assert_eq!(changes.list[3].diff, "--- w/e\n+++ /dev/null\n@@ -1 +0,0 @@\n-five\n");
    assert!(changes.list[5].diff.starts_with("contents of w/g are not compared: nothing -> 3 bytes, sha256 "));
    assert_eq!(place.digest(), before);
}

#[test]
fn an_old_copy_is_compared_without_reading() {
    let place = Place::new();
    fs::write(place.real("a"), "one\n").unwrap();
    let (mut scratch, _) = place.copied();
    // As if the copy had been made long before: what was changed since has another stamp.
    scratch.copies[0].before.age();
    // Nobody looks into the original any more.
    fs::write(place.real("a"), "two\n").unwrap();
    assert_eq!(told(&scratch.changes().unwrap()), []);
}

#[test]
fn what_is_too_much_is_refused() {
    let place = Place::new();
    for index in 0..3 {
        fs::write(place.real(&format!("{index}")), [1; 4096]).unwrap();
    }
    let refused = |bounds: Bounds| {
        let mut scratch = place.scratch(bounds);
        scratch.copy(Some(&place.real("")), Path::new("w"), (&OwnFiles::default(), GOES_ON)).map(drop)
    };
    refused(Bounds { bytes: 3 * 4096, entries: 3 }).unwrap();
    let error = refused(Bounds { bytes: 1 << 20, entries: 2 }).unwrap_err();
    let text = "`w` is too large to be copied for a rehearsal: it has more than 2 files, folders and links";
    assert_eq!(error.to_string(), text);
    assert!(error.hint().is_some());
    // Where data is shared, none is copied.
    if let Err(error) = refused(Bounds { bytes: 3 * 4096 - 1, entries: 3 }) {
        assert_eq!(error.to_string(), "`w` is too large to be copied for a rehearsal: it has more than 12287 bytes");
    }
    let mut scratch = place.scratch(Bounds::PREVIEW);
    let cancelled = scratch.copy(Some(&place.real("")), Path::new("w"), (&OwnFiles::default(), &|| false));
    assert!(matches!(cancelled, Err(ScratchError::Cancelled)), "{cancelled:?}");
}

#[test]
fn a_folder_of_copies_is_never_copied() {
    let place = Place::new();
    fs::write(place.real("a"), "a").unwrap();
    let mut scratch = Scratch::create(&place.real(".skillhost"), Bounds::DRY_RUN).unwrap();
    let copy = scratch.copy(Some(&place.real("")), Path::new("w"), (&OwnFiles::default(), GOES_ON)).unwrap().0;
    assert!(copy.join("a").exists() && copy.join(".skillhost").exists());
    assert!(!copy.join(".skillhost/scratch").exists());
}

#[test]
fn what_is_left_out_is_told_and_no_change() {
    let place = Place::new();
    fs::create_dir(place.real("own")).unwrap();
    fs::write(place.real("own/a"), "a").unwrap();
    fs::write(place.real("b"), "b").unwrap();
    fs::hard_link(place.real("b"), place.real("twin")).unwrap();
    let mut own = OwnPaths::default();
    for name in ["own", "b", "later"] {
        own.add(&place.real(name), "ours");
    }
    let own = OwnFiles::look(&own);
    let mut scratch = place.scratch(Bounds::DRY_RUN);
    let (copy, mut left_out) = scratch.copy(Some(&place.real("")), Path::new("w"), (&own, GOES_ON)).unwrap();
    left_out.sort();
    left_out.dedup();
    assert_eq!(left_out, ["b", "later", "own", "twin"].map(|name| copy.join(name)));
    assert_eq!(fs::read_dir(&copy).unwrap().count(), 0);
    assert_eq!(scratch.changes().unwrap().list, []);
}

#[test]
fn what_a_crash_left_behind_is_removed_by_the_next() {
    let place = Place::new();
    let dead = place.folder.path().join("state/scratch/20200101T000000.000000Z-00000000");
    fs::create_dir_all(dead.join("copy-0/a")).unwrap();
    fs::set_permissions(dead.join("copy-0"), Permissions::from_mode(0o500)).unwrap();
    let living = place.scratch(Bounds::DRY_RUN);
    let next = place.scratch(Bounds::DRY_RUN);
    assert!(!dead.exists());
    assert!(living.path().exists() && next.path().exists());
}

#[test]
fn a_folder_that_would_be_made_begins_empty() {
    let place = Place::new();
    let mut scratch = place.scratch(Bounds::DRY_RUN);
    let copy = scratch.copy(None, Path::new("w"), (&OwnFiles::default(), GOES_ON)).unwrap().0;
    fs::write(copy.join("a"), "a\n").unwrap();
    let changes = scratch.changes().unwrap();
    assert_eq!((changes.list.len(), changes.list[0].what), (1, What::Created));
    assert_eq!(changes.notices, ["the folder `w` would be created"]);
}
