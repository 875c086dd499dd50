use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::bundle::Difference;
use crate::bundle::tests::folder;

fn take(folder: &TempDir) -> Snapshot {
    Snapshot::take(folder.path()).unwrap()
}

fn refused(folder: &TempDir) -> &'static str {
    Snapshot::take(folder.path()).unwrap_err().code()
}

/// The id of this folder, computed apart from this program over the bytes that `docs/bundle-format.md` says.
#[test]
fn the_id_of_a_known_folder() {
    let folder = folder(&[("bundle.toml", b"x"), ("b/run", b"#!"), ("a b.txt", b""), ("\u{e9}", b"e")]);
    fs::set_permissions(folder.path().join("b/run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../bundle.toml", folder.path().join("b/link")).unwrap();
    assert_eq!(take(&folder).id.to_string(), GOLDEN);
}

const GOLDEN: &str = "29b67b007ffa45062d82a82d874e524c16b213ca3256b4229afa7a2d987919e9";

#[test]
fn what_tools_leave_behind_does_not_count() {
    let plain = folder(&[("a", b"1"), ("b/c", b"2")]);
    let id = take(&plain).id;
    for name in IGNORED {
        for place in ["", "b/", "new/deep/"] {
            let path = plain.path().join(place).join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("x"), "x").unwrap();
        }
    }
    fs::create_dir(plain.path().join("empty")).unwrap();
    assert_eq!(take(&plain).id, id);
    fs::write(plain.path().join("b/.gitignore"), "").unwrap();
    assert_ne!(take(&plain).id, id);
}

#[test]
fn kind_and_place_of_bytes_count() {
    let one = folder(&[("a", b"1")]);
    let mut ids = vec![take(&one).id];
    fs::set_permissions(one.path().join("a"), fs::Permissions::from_mode(0o744)).unwrap();
    ids.push(take(&one).id);
    // Only whether the owner may execute it counts.
    fs::set_permissions(one.path().join("a"), fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(take(&one).id, ids[1]);
    for files in [[("a", b"2"), ("b", b"1")], [("ab", b"1"), ("c", b"1")], [("a", b"b"), ("1", b"1")]] {
        ids.push(take(&folder(&[(files[0].0, files[0].1), (files[1].0, files[1].1)])).id);
    }
    // Composed and decomposed are two names.
    ids.push(take(&folder(&[("\u{e9}", b"1")])).id);
    ids.push(take(&folder(&[("e\u{301}", b"1")])).id);
    let link = folder(&[("b", b"1")]);
    symlink("b", link.path().join("a")).unwrap();
    ids.push(take(&link).id);
    let text = folder(&[("b", b"1"), ("a", b"b")]);
    ids.push(take(&text).id);
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn a_link_is_its_text_and_stays_inside() {
    let folder = folder(&[("a/b", b"1"), ("outside-looking/..x", b"2")]);
    let link = folder.path().join("a/link");
    for good in ["b", "../a/b", "./b", "../outside-looking/..x", "nothing", "."] {
        symlink(good, &link).unwrap();
        let entry = take(&folder).entries["a/link"];
        assert_eq!((entry.kind, entry.digest), (EntryKind::Link, Digest::of(good.as_bytes())));
        fs::remove_file(&link).unwrap();
    }
    fs::create_dir_all(folder.path().join(".git")).unwrap();
    for bad in ["../../x", "/etc/passwd", "../.git", "../.git/absent", ".."] {
        symlink(bad, &link).unwrap();
        let inside = bad == "..";
        assert_eq!(Snapshot::take(folder.path()).is_ok(), inside, "{bad}");
        if !inside {
            assert_eq!(refused(&folder), "bundle-link-leaves", "{bad}");
        }
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn a_link_may_not_lead_out_through_another_one() {
    let outer = folder(&[("x", b"outside"), ("bundle/a/b", b"1")]);
    let root = outer.path().join("bundle");
    symlink("..", root.join("a/up")).unwrap();
    assert!(Snapshot::take(&root).is_ok());
    // By its text it is `a/x`.
    symlink("up/../x", root.join("a/link")).unwrap();
    assert_eq!(Snapshot::take(&root).unwrap_err().code(), "bundle-link-leaves");
}

#[test]
fn what_is_neither_file_nor_folder_is_refused() {
    let folder = folder(&[("a", b"1")]);
    let socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    assert_eq!(refused(&folder), "bundle-special-file");
    drop(socket);
}

#[test]
fn a_name_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = folder(&[("a", b"1")]);
    fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
    assert_eq!(refused(&folder), "bundle-path-not-utf8");
}

#[test]
fn size_is_bounded() {
    let bytes = folder(&[("a", b"1")]);
    // A file with a hole: nothing of it is read.
    let large = fs::File::create(bytes.path().join("large")).unwrap();
    large.set_len(limits::BUNDLE_BYTES_MAX).unwrap();
    assert_eq!(refused(&bytes), "bundle-too-large");
    let deep = tempfile::tempdir().unwrap();
    fs::create_dir_all(deep.path().join("d/".repeat(limits::BUNDLE_DEPTH_MAX + 1))).unwrap();
    assert_eq!(refused(&deep), "bundle-too-large");
    let many = tempfile::tempdir().unwrap();
    for index in 0..=limits::BUNDLE_ENTRIES_MAX {
        fs::write(many.path().join(index.to_string()), "").unwrap();
    }
    assert_eq!(refused(&many), "bundle-too-large");
    fs::remove_file(many.path().join("0")).unwrap();
    assert_eq!(take(&many).entries.len(), limits::BUNDLE_ENTRIES_MAX);
}

#[test]
fn a_folder_that_may_only_be_read_is_enough() {
    let folder = folder(&[("a", b"1"), ("b/c", b"2")]);
    let id = take(&folder).id;
    let mode = |mode| {
        for path in ["b", ""] {
            fs::set_permissions(folder.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    mode(0o555);
    let found = Snapshot::take(folder.path());
    mode(0o755);
    assert_eq!(found.unwrap().id, id);
}

#[test]
fn a_difference_names_every_path_once() {
    let from = folder(&[("same", b"1"), ("changed", b"1"), ("removed", b"1"), ("mode", b"1")]);
    let to = folder(&[("same", b"1"), ("changed", b"2"), ("added", b"1"), ("mode", b"1")]);
    fs::set_permissions(to.path().join("mode"), fs::Permissions::from_mode(0o755)).unwrap();
    let difference = Difference::between(&take(&from), &take(&to));
    let changed: Vec<&str> = difference.changed.iter().map(|changed| changed.path.as_str()).collect();
    assert_eq!((difference.added, difference.removed), (vec!["added".to_owned()], vec!["removed".to_owned()]));
    assert_eq!(changed, ["changed", "mode"]);
    assert!(Difference::between(&take(&from), &take(&from)).is_empty());
}

/// Paths that do not stand in each other's way.
fn files() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let path = prop::collection::vec("[a-z\u{e9}]{1,3}", 1..3).prop_map(|parts| format!("{}.f", parts.join("/")));
    prop::collection::btree_map(path, prop::collection::vec(any::<u8>(), 0..20), 1..8)
}

fn written(files: &BTreeMap<String, Vec<u8>>, seconds: u64) -> TempDir {
    let list: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    let folder = folder(&list);
    for path in files.keys() {
        let file = fs::File::options().write(true).open(folder.path().join(path)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    }
    folder
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_has_the_same_id_and_an_edit_another(
        files in files(), seconds in 0_u64..2_000_000_000, at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let one = written(&files, 0);
        let id = take(&one).id;
        prop_assert_eq!(take(&written(&files, seconds)).id, id);
        let path = at.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
        let mut edited = files.clone();
        edited.get_mut(&path).unwrap().push(byte);
        prop_assert_ne!(take(&written(&edited, 0)).id, id);
        let mut renamed = files.clone();
        let bytes = renamed.remove(&path).unwrap();
        renamed.insert(format!("{path}x"), bytes);
        prop_assert_ne!(take(&written(&renamed, 0)).id, id);
        let mut fewer = files.clone();
        fewer.remove(&path);
        prop_assert_ne!(take(&written(&fewer, 0)).id, id);
    }
}
