use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const NOBODY_ELSE: fn(u32, u32) -> bool = |_, _| false;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn put(path: &Path, mode: u32) {
    fs::write(path, "text").unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn read_as(user: u32, own_group: fn(u32, u32) -> bool, path: &Path) -> Result<Vec<u8>, Problem> {
    Way { name: "it", user, own_group }.read(&path.canonicalize().unwrap(), 100)
}

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[test]
fn what_others_can_write_does_not_count() {
    let folder = folder();
    let file = folder.path().join("p.toml");
    for (mode, code) in [
        (0o600, None),
        (0o644, None),
        (0o400, None),
        (0o664, Some("writable-by-others")),
        (0o620, Some("writable-by-others")),
        (0o606, Some("writable-by-others")),
        (0o666, Some("writable-by-others")),
        (0o777, Some("writable-by-others")),
    ] {
        put(&file, 0o600);
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let found = read_as(me(), NOBODY_ELSE, &file);
        assert_eq!(found.as_ref().err().map(|problem| problem.code.as_str()), code, "{mode:o}");
        if let Err(problem) = found {
            let command = format!("`chmod go-w {}`", file.canonicalize().unwrap().display());
            assert!(problem.hint.unwrap().ends_with(&command));
        }
    }
    // In a group of one's own nobody else is.
    fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
    assert!(read_as(me(), |_, _| true, &file).is_ok());
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    assert!(read_as(me(), |_, _| true, &file).is_err());
}

#[test]
fn nor_what_lies_where_others_can_put_another() {
    let folder = folder();
    let (above, inside) = (folder.path().join("above"), folder.path().join("above/inside"));
    fs::create_dir_all(&inside).unwrap();
    let file = inside.join("p.toml");
    put(&file, 0o644);
    for (changed, mode, counts) in [
        (&inside, 0o755, true),
        (&inside, 0o775, false),
        (&inside, 0o777, false),
        (&inside, 0o1777, true),
        (&above, 0o777, false),
        (&above, 0o1777, true),
    ] {
        fs::set_permissions(changed, Permissions::from_mode(mode)).unwrap();
        let found = read_as(me(), NOBODY_ELSE, &file);
        assert_eq!(found.is_ok(), counts, "{changed:?} {mode:o}");
        if let Err(problem) = found {
            assert!(problem.message.contains("who could replace it"), "{problem}");
        }
        fs::set_permissions(changed, Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn nor_what_another_user_owns() {
    let folder = folder();
    let file = folder.path().join("p.toml");
    put(&file, 0o644);
    let user = if me() == 0 {
        std::os::unix::fs::chown(&file, Some(1000), Some(1000)).unwrap();
        0
    } else {
        // To somebody else, these are another user's.
        me() + 1
    };
    let problem = read_as(user, NOBODY_ELSE, &file).unwrap_err();
    assert_eq!(problem.code, "foreign-owner", "{problem}");
    assert!(problem.hint.unwrap().contains(&format!("chown {user} ")));
}

#[test]
fn what_is_no_file_is_not_opened_and_a_link_counts_only_where_it_was_named() {
    let folder = folder();
    let root = folder.path();
    put(&root.join("p.toml"), 0o644);
    fs::create_dir(root.join("real")).unwrap();
    put(&root.join("real/p.toml"), 0o644);
    symlink("p.toml", root.join("link.toml")).unwrap();
    symlink("real", root.join("linked")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    for (inside, code) in [
        ("p.toml", None),
        ("real/p.toml", None),
        ("link.toml", Some("is-a-link")),
        ("linked/p.toml", Some("is-a-link")),
        ("dangling", Some("is-a-link")),
        ("pipe", Some("not-a-file")),
        ("real", Some("not-a-file")),
        ("absent", Some("no-such-file")),
        ("absent/p.toml", Some("no-such-file")),
        ("p.toml/p.toml", Some("unreadable-file")),
        ("real/../p.toml", Some("bad-path")),
        ("/etc/passwd", Some("bad-path")),
    ] {
        let found = read_in_place(root, Path::new(inside), 100);
        assert_eq!(found.err().map(|problem| problem.code).as_deref(), code, "{inside}");
    }
    for (path, code) in [
        ("link.toml", None),
        ("linked/p.toml", None),
        ("pipe", Some("not-a-file")),
        ("dangling", Some("no-such-file")),
        (".", Some("not-a-file")),
    ] {
        let found = read(&root.join(path), 100);
        assert_eq!(found.err().map(|problem| problem.code).as_deref(), code, "{path}");
    }
    assert_eq!(read(&root.join("p.toml"), 3).unwrap_err().code, "document-too-large");
    assert_eq!(read(Path::new("/"), 3).unwrap_err().code, "not-a-file");
}

#[test]
fn a_group_is_ones_own_where_nobody_else_is_in_it() {
    let passwd = b"root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/ann:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n";
    let groups = b"root:x:0:\nann:x:1000:\nbob:x:1001:ann\nann2:x:1002:ann\n";
    let cases = [(1000, 1000, true), (1000, 1002, true), (1000, 1001, false), (1001, 1001, false), (1001, 1000, false)];
    for (user, group, is_own) in cases {
        assert_eq!(is_alone(user, group, passwd, groups), is_own, "{user} {group}");
    }
    // Who is not known may be anybody.
    assert!(!is_alone(7, 1000, passwd, groups) && !is_alone(1000, 7, passwd, groups));
    assert!(!is_alone(1000, 1000, b"", groups) && !is_alone(1000, 1000, passwd, b""));
    assert!(!is_own_group(0, 0));
}

#[test]
fn a_path_is_quoted_where_a_shell_would_not_take_it() {
    for (path, expected) in
        [("/a/b.toml", "/a/b.toml"), ("/a b", "'/a b'"), ("/it's", r"'/it'\''s'"), ("-x", "'-x'"), ("/$(x)", "'/$(x)'")]
    {
        assert_eq!(quoted(Path::new(path)), expected);
    }
}
