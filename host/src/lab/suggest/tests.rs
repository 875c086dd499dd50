use super::*;

fn preopen(host: &str, guest: &str, access: Access) -> Preopen {
    Preopen { host: host.to_owned(), guest: guest.to_owned(), access }
}

fn tool() -> ToolName {
    "files.read".parse().unwrap()
}

#[test]
fn limits_are_rounded_up() {
    for (number, round) in [(1, 1), (3, 5), (5, 5), (6, 10), (11, 20), (920_951, 1_000_000), (u64::MAX, u64::MAX)] {
        assert_eq!(round_up(number), round);
    }
}

#[test]
fn folders_that_hold_each_other_become_the_outer_one() {
    let mut folders = vec![preopen("/z", "/z", Access::ReadOnly)];
    for (host, guest, access) in [
        ("{workspace}/a/b", "/w/a/b", Access::ReadWrite),
        ("{workspace}/a", "/w/a", Access::ReadOnly),
        ("{workspace}/a/c", "/w/a/c", Access::ReadOnly),
    ] {
        add_folder(&mut folders, preopen(host, guest, access), &tool()).unwrap();
    }
    assert_eq!(folders, [preopen("/z", "/z", Access::ReadOnly), preopen("{workspace}/a", "/w/a", Access::ReadWrite)]);
}

#[test]
fn two_folders_under_one_path_are_no_grant() {
    let mut folders = vec![preopen("/one", "/w", Access::ReadOnly)];
    for (host, guest) in [("/two", "/w"), ("/two", "/w/a"), ("/two", "/")] {
        let error = add_folder(&mut folders.clone(), preopen(host, guest, Access::ReadOnly), &tool()).unwrap_err();
        assert!(matches!(error, SuggestError::TwoFolders { .. }), "{error}");
    }
    add_folder(&mut folders, preopen("/one/a", "/w/a", Access::ReadOnly), &tool()).unwrap();
    assert_eq!(folders.len(), 1);
}

#[test]
fn a_folder_is_narrowed_to_the_deepest_that_was_there() {
    let granted = preopen("{workspace}", "/w", Access::ReadWrite);
    let file = Touch { folder: "/w".to_owned(), read: Some(1), ..Touch::default() };
    let folder = Touch { is_folder: true, ..file.clone() };
    let of =
        |touched: &[(&str, &Touch)], new: &[&str]| narrowed(&granted, touched, &new.iter().copied().collect()).guest;
    assert_eq!(of(&[("/w/a/b/c", &file)], &[]), "/w/a/b");
    assert_eq!(of(&[("/w/a/b/c", &file), ("/w/a/d", &file)], &[]), "/w/a");
    assert_eq!(of(&[("/w/a/b", &folder)], &[]), "/w/a/b");
    assert_eq!(of(&[("/w/a/b/c", &file)], &["/w/a/b"]), "/w/a");
    assert_eq!(of(&[("/w/a/b/c", &file)], &["/w/a"]), "/w");
    assert_eq!(of(&[("/w", &file)], &[]), "/w");
    assert_eq!(narrowed(&granted, &[("/w/a/b", &folder)], &BTreeSet::new()).host, "{workspace}/a/b");
}
