use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use wasmtime::Config;

use super::*;
use crate::sandbox::component::tests::{engine, load_with};

const TOOL: &str = r#"(component
    (core module $m (func (export "f")))
    (core instance $i (instantiate $m))
    (func $f (canon lift (core func $i "f")))
    (export "do-it" (func $f)))"#;

fn load_text(text: &str, engine: &Engine, code: &CompiledCode) -> CacheUse {
    let bytes = wat::parse_str(text).unwrap();
    load_with(engine, code, &bytes, None).unwrap().cache
}

/// What becomes of the cache, and what is said of it.
fn used(folder: &Path) -> (CacheUse, String) {
    let code = CompiledCode::in_folder(folder);
    let used = load_text(TOOL, &engine(), &code);
    (used, code.take_notes().join("\n"))
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    files.sort();
    files
}

fn only(folder: &Path) -> PathBuf {
    let mut found = files(folder, entry::ENDING);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// A folder with a cache in it that holds the entry of [`TOOL`].
fn filled() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("a/cache");
    assert_eq!(used(&folder), (CacheUse::Stored, String::new()));
    assert_eq!(used(&folder), (CacheUse::Hit, String::new()));
    (temp, folder)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Whether this process may act as another user.
fn is_root() -> bool {
    crate::owned::user() == 0
}

fn give(path: &Path, user: u32) {
    std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
}

#[test]
fn the_second_load_is_served_and_another_engine_is_not() {
    let (_temp, folder) = filled();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "the entry and the key");
    let permissions = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (permissions(&folder), permissions(&only(&folder)), permissions(&folder.join("key"))),
        (0o700, 0o600, 0o600)
    );

    let mut config = Config::new();
    config.consume_fuel(true);
    let code = CompiledCode::in_folder(&folder);
    assert_eq!(load_text(TOOL, &Engine::new(&config).unwrap(), &code), CacheUse::Stored);
    assert_eq!(files(&folder, entry::ENDING).len(), 2);
}

#[test]
fn nowhere_keeps_nothing() {
    assert_eq!(load_text(TOOL, &engine(), &CompiledCode::nowhere()), CacheUse::Off);
}

/// Each is done to a filled cache, told by these words, and compiled again; after that the cache serves.
#[test]
fn an_entry_that_this_host_has_not_written_is_compiled_again() {
    type Forge = fn(&Path, &Path);
    let cases: [(&str, &str, Forge); 12] = [
        ("a changed byte in the middle", "not signed", |_, entry| {
            let mut bytes = fs::read(entry).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(entry, bytes).unwrap();
        }),
        ("a changed byte of the signature", "not signed", |_, entry| {
            let mut bytes = fs::read(entry).unwrap();
            *bytes.last_mut().unwrap() ^= 0x80;
            fs::write(entry, bytes).unwrap();
        }),
        ("cut off by one", "not signed", |_, entry| {
            let bytes = fs::read(entry).unwrap();
            fs::write(entry, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("nothing at all", "cut off", |_, entry| fs::write(entry, b"").unwrap()),
        ("one byte more", "not signed", |_, entry| {
            fs::OpenOptions::new().append(true).open(entry).unwrap().write_all(b"x").unwrap();
        }),
        ("a digest in the place of a signature", "not signed", |_, entry| {
            let mut bytes = fs::read(entry).unwrap();
            let code = bytes.len() - 32;
            bytes.truncate(code);
            let digest = Digest::of(&bytes);
            bytes.extend_from_slice(digest.as_bytes());
            fs::write(entry, bytes).unwrap();
        }),
        ("the entry of another component", "not signed", |folder, entry| {
            let code = CompiledCode::in_folder(folder);
            load_text(&TOOL.replace("do-it", "other"), &engine(), &code);
            let other = files(folder, entry::ENDING).into_iter().find(|path| path != entry).unwrap();
            fs::rename(other, entry).unwrap();
        }),
        ("a link to a good one", "a link", |folder, entry| {
            fs::rename(entry, folder.join("elsewhere")).unwrap();
            symlink("elsewhere", entry).unwrap();
        }),
        ("a second name of a good one", "another name", |folder, entry| {
            fs::hard_link(entry, folder.join("elsewhere")).unwrap();
        }),
        ("a pipe", "no regular file", |_, entry| {
            fs::remove_file(entry).unwrap();
            assert!(Command::new("mkfifo").arg(entry).status().unwrap().success());
        }),
        ("one that others may write", "other users may write", |_, entry| mode(entry, 0o622)),
        ("one of another cache", "not signed", |_, entry| {
            let (_other, folder) = filled();
            fs::copy(only(&folder), entry).unwrap();
        }),
    ];
    for (what, said, forge) in cases {
        let (_temp, folder) = filled();
        forge(&folder, &only(&folder));
        let (used_now, notes) = used(&folder);
        assert_eq!(used_now, CacheUse::Stored, "{what}");
        assert!(notes.contains(said) && notes.contains("compiled again"), "{what}: {notes}");
        assert_eq!(used(&folder), (CacheUse::Hit, String::new()), "{what}");
    }
}

#[test]
fn what_is_signed_and_no_code_of_this_engine_is_not_run() {
    let (_temp, folder) = filled();
    let opened = OwnedFolder::open(&folder, false).unwrap();
    let key = Key::of(&opened, &mut |note| panic!("{note}")).unwrap();
    let digest = Digest::of(&wat::parse_str(TOOL).unwrap());
    Entry::new(digest, engine_key(&engine())).write(&opened, &key, b"junk").unwrap();
    let (used_now, notes) = used(&folder);
    assert_eq!(used_now, CacheUse::Stored);
    assert!(notes.contains("ELF"), "{notes}");
}

/// A key that was not made in its place is none, and so is what it signed.
#[test]
fn a_key_that_was_not_made_here_is_replaced() {
    type Forge = fn(&Path, &Path);
    let cases: [(&str, &str, Forge); 8] = [
        ("of another cache, with its entry", "copied", |folder, key| {
            let (_other, other) = filled();
            fs::copy(other.join("key"), key).unwrap();
            fs::copy(only(&other), only(folder)).unwrap();
        }),
        ("put in its place with all that it says", "copied", |_, key| {
            let bytes = fs::read(key).unwrap();
            fs::rename(key, key.with_extension("old")).unwrap();
            fs::write(key, bytes).unwrap();
            mode(key, 0o600);
        }),
        ("that others may read", "may read", |_, key| mode(key, 0o644)),
        ("that others may write", "may write", |_, key| mode(key, 0o622)),
        ("cut off", "damaged", |_, key| {
            let bytes = fs::read(key).unwrap();
            fs::write(key, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("that is longer", "damaged", |_, key| {
            fs::OpenOptions::new().append(true).open(key).unwrap().write_all(b"x").unwrap();
        }),
        ("a link", "a link", |folder, key| {
            fs::rename(key, folder.join("elsewhere")).unwrap();
            symlink("elsewhere", key).unwrap();
        }),
        ("a pipe", "no regular file", |_, key| {
            fs::remove_file(key).unwrap();
            assert!(Command::new("mkfifo").arg(key).status().unwrap().success());
        }),
    ];
    for (what, said, forge) in cases {
        let (_temp, folder) = filled();
        forge(&folder, &folder.join("key"));
        let (used_now, notes) = used(&folder);
        assert_eq!(used_now, CacheUse::Stored, "{what}");
        assert!(notes.contains(said) && notes.contains("a new one is made"), "{what}: {notes}");
        assert_eq!(used(&folder), (CacheUse::Hit, String::new()), "{what}");
    }
}

#[test]
fn without_its_key_everything_is_compiled_again() {
    let (_temp, folder) = filled();
    fs::remove_file(folder.join("key")).unwrap();
    let (used_now, notes) = used(&folder);
    assert_eq!(used_now, CacheUse::Stored);
    assert!(notes.contains("not signed"), "{notes}");
}

#[test]
fn a_folder_that_is_unpacked_with_key_and_entries_serves_nobody() {
    let (_temp, folder) = filled();
    let (_other, other) = filled();
    for name in [PathBuf::from("key"), PathBuf::from(only(&folder).file_name().unwrap())] {
        fs::remove_file(other.join(&name)).ok();
        let mut file = fs::OpenOptions::new();
        let mut file = std::os::unix::fs::OpenOptionsExt::mode(file.write(true).create_new(true), 0o600)
            .open(other.join(&name))
            .unwrap();
        file.write_all(&fs::read(folder.join(&name)).unwrap()).unwrap();
    }
    let (used_now, notes) = used(&other);
    assert_eq!(used_now, CacheUse::Stored);
    assert!(notes.contains("copied"), "{notes}");
}

#[test]
fn a_cache_that_cannot_be_written_is_a_warning() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "").unwrap();
    let (used_now, _) = used(&file);
    assert!(used_now.warning().unwrap().starts_with("compiled components cannot be kept in `"), "{used_now:?}");
    assert!(used(&file.join("below")).0.warning().is_some());
}

/// Each is where others could put something. Nothing is taken from there, and nothing is written.
#[test]
fn a_folder_that_others_could_change_is_not_used() {
    type Open = fn(&Path, &Path);
    let mut cases: Vec<(&str, &str, Open)> = vec![
        ("the folder is writable by a group", "other users may write", |_, folder| mode(folder, 0o770)),
        ("the folder is writable by all and sticky", "other users may write", |_, folder| mode(folder, 0o1777)),
        ("its parent is writable by all", "other users may write", |above, _| mode(above, 0o777)),
    ];
    if is_root() {
        cases.push(("the folder is another user's", "belongs to the user 1000", |_, folder| give(folder, 1000)));
        cases.push(("its parent is another user's", "belongs to the user 1000", |above, _| give(above, 1000)));
        cases.push(("a link on the way is another user's", "belongs to the user 1000", |above, folder| {
            let real = above.join("real");
            fs::rename(folder, &real).unwrap();
            symlink(&real, folder).unwrap();
            std::os::unix::fs::lchown(folder, Some(1000), Some(1000)).unwrap();
        }));
    }
    for (what, said, open) in cases {
        let (_temp, folder) = filled();
        open(folder.parent().unwrap(), &folder);
        let before = files(&folder, "").len();
        let (used_now, _) = used(&folder);
        assert!(used_now.warning().is_some_and(|warning| warning.contains(said)), "{what}: {used_now:?}");
        assert_eq!(files(&folder, "").len(), before, "{what}");
    }
}

#[test]
fn links_and_sticky_folders_of_the_user_are_followed() {
    let (temp, folder) = filled();
    let link = temp.path().join("link");
    symlink("a", &link).unwrap();
    assert_eq!(used(&link.join("cache")), (CacheUse::Hit, String::new()));
    assert_eq!(used(&link.join("../a/./cache")), (CacheUse::Hit, String::new()));
    // Others may add to it and not replace what is there, as in `/tmp`.
    mode(folder.parent().unwrap(), 0o1777);
    assert_eq!(used(&folder), (CacheUse::Hit, String::new()));
    let round = temp.path().join("round");
    symlink("round", &round).unwrap();
    assert!(used(&round).0.warning().unwrap().contains("more than 40 links"));
}

#[test]
fn an_entry_or_a_key_of_another_user_is_not_used() {
    if !is_root() {
        // Nobody else can give a file away; the case before this one is the user's own.
        return;
    }
    let (_temp, folder) = filled();
    give(&only(&folder), 1000);
    let (used_now, notes) = used(&folder);
    assert!(used_now == CacheUse::Stored && notes.contains("belongs to the user 1000"), "{notes}");
    give(&folder.join("key"), 1000);
    let (used_now, notes) = used(&folder);
    assert!(used_now == CacheUse::Stored && notes.contains("belongs to the user 1000"), "{notes}");
}

#[test]
fn many_at_one_time_make_one_key() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("cache");
    let texts: Vec<String> = (0..8).map(|at| TOOL.replace("do-it", &format!("do-x{at}"))).collect();
    let all = |wanted: CacheUse| {
        std::thread::scope(|scope| {
            for text in &texts {
                let (folder, wanted) = (&folder, wanted.clone());
                scope.spawn(move || {
                    let code = CompiledCode::in_folder(folder);
                    assert_eq!(load_text(text, &engine(), &code), wanted);
                    assert_eq!(code.take_notes(), [""; 0]);
                });
            }
        });
    };
    all(CacheUse::Stored);
    all(CacheUse::Hit);
    assert_eq!(files(&folder, ".tmp"), Vec::<PathBuf>::new());
}

#[test]
fn what_is_kept_is_bounded_and_the_oldest_goes() {
    let temp = tempfile::tempdir().unwrap();
    fs::DirBuilder::new().mode(0o700).create(temp.path().join("cache")).unwrap();
    let folder = temp.path().join("cache");
    let age = |name: &str, days: u64| {
        let file = fs::File::create(folder.join(name)).unwrap();
        file.set_len(1_000).unwrap();
        let modified =
            std::time::UNIX_EPOCH + crate::clock::since_epoch() - std::time::Duration::from_secs(days * 86_400);
        file.set_modified(modified).unwrap();
    };
    for (name, days) in [
        ("a.code", 3),
        ("b.code", 9),
        ("c.code", 1),
        ("d.code", 5),
        (".1-1-1.tmp", 1),
        (".2-1-1.tmp", 0),
        ("notes", 90),
    ] {
        age(name, days);
    }
    let opened = OwnedFolder::open(&folder, false).unwrap();
    let names = || {
        files(&folder, "").iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    prune::prune(&opened, "b.code", prune::Bounds { bytes: 3_500, entries: 10 }).unwrap();
    // What was just written stays whatever its age, and what is not of the cache is nobody's to remove.
    assert_eq!(names(), [".2-1-1.tmp", "a.code", "b.code", "c.code", "notes"]);
    prune::prune(&opened, "b.code", prune::Bounds { bytes: 1 << 20, entries: 2 }).unwrap();
    assert_eq!(names(), [".2-1-1.tmp", "b.code", "c.code", "notes"]);
    prune::prune(&opened, "b.code", prune::Bounds { bytes: 0, entries: 0 }).unwrap();
    assert_eq!(names(), [".2-1-1.tmp", "b.code", "notes"]);
}

#[test]
fn an_entry_that_is_used_is_not_the_oldest() {
    let (_temp, folder) = filled();
    let path = only(&folder);
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    fs::File::open(&path).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(used(&folder).0, CacheUse::Hit);
    assert!(fs::metadata(&path).unwrap().modified().unwrap() > long_ago);
}
