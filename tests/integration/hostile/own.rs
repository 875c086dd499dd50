//! The host's own files: the state folder lies inside of the granted one, and a guest wants to read it, to change it, or to move it away so that the
//! host takes another one for it.

use std::fs;
use std::os::unix::fs::symlink;

use host_tests::TestHost;
use host_tests::plan::READ_WRITE;
use serde_json::json;

use super::case::{Case, Expect, Family, Seen, case, probe};
use super::paths::operations;

/// What is in the state folder and would show that somebody was there.
const KEY: &str = "a key of the host";

/// Puts the state folder into the workspace, at `deep/state`; the host reaches it by a link where it was.
fn set_up(host: &TestHost) {
    let inside = host.workspace().join("deep/state");
    for folder in [host.workspace().join("deep"), host.state()] {
        fs::create_dir_all(folder).expect("a folder");
    }
    fs::rename(host.state(), &inside).expect("moved");
    symlink(&inside, host.state()).expect("a link");
    fs::create_dir_all(inside.join("keys")).expect("a folder");
    fs::write(inside.join("keys/host"), KEY).expect("written");
    symlink("deep/state", host.workspace().join("door")).expect("a link");
    fs::hard_link(inside.join("keys/host"), host.workspace().join("twin")).expect("a link");
}

fn after(seen: &Seen<'_>) {
    let inside = seen.host.workspace().join("deep/state");
    assert_eq!(fs::read_to_string(inside.join("keys/host")).expect("it is there"), KEY);
    assert_eq!(fs::read_dir(inside.join("keys")).expect("a folder").count(), 1);
    assert!(!inside.join("new").exists() && seen.host.workspace().join("inner").exists());
}

fn on(tool: &'static str, path: &str, name: &'static str, what: &'static str) -> Case {
    case(Family::Own, name, what, operations, Expect::Error(json!("access")))
        .call(tool, json!({"path": path}))
        .grant(READ_WRITE)
        .set_up(set_up)
        .after(after)
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        on("guest.read", "deep/state/keys/host", "read", "reads a key in the state folder"),
        on("guest.read", "door/keys/host", "through a link", "reads it through a link that lies in its folder"),
        on("guest.read", "twin", "hard link", "reads it by another name that it has in its folder"),
        on(
            "guest.read",
            "./sub/../deep/./state//keys/host",
            "spelled otherwise",
            "reads it by a path with `..`, `.` and `//`",
        ),
        on("guest.truncate", "twin", "truncate a hard link", "truncates it by another name while opening it"),
        on("guest.set-times", "twin", "times of a hard link", "sets its times by another name"),
        on("guest.write", "deep/state/host.db", "write", "opens the index of runs for writing"),
        on("guest.truncate", "deep/state/keys/host", "truncate", "truncates a key while opening it"),
        on("guest.create", "deep/state/new", "create", "creates a file in the state folder"),
        on("guest.create", "door/new", "create through a link", "creates one there through a link"),
        on("guest.mkdir", "deep/state/new/", "folder", "makes a folder there"),
        on("guest.unlink", "deep/state/keys/host", "unlink", "removes a key"),
        on("guest.rmdir", "deep/state", "remove", "removes the state folder"),
        on("guest.rename-from", "deep/state/keys/host", "rename out", "renames a key into its own folder"),
        on("guest.rename-from", "deep/state", "rename the folder", "renames the state folder"),
        on("guest.rename-from", "deep", "rename what is above", "renames the folder that the state folder is in"),
        on("guest.rename-to", "deep/state/new", "rename in", "renames a file of its own into the state folder"),
        on("guest.rename-to", "deep/state", "replace", "renames a file of its own to the state folder"),
        on("guest.link-from", "deep/state/keys/host", "link", "makes a hard link to a key"),
        probe(
            Family::Own,
            "list",
            "lists the folder that the state folder is in, through a C library",
            &["list", "/workspace/deep"],
            Expect::Answer(json!({"exit_code": 0, "stdout": "", "stderr": "", "stdout_bytes": null})),
        )
        .grant(READ_WRITE)
        .set_up(set_up)
        .after(after),
        on(
            "guest.read",
            "swap/host",
            "race",
            "reads a key while somebody swaps a folder on the path for a link to the state folder",
        )
        .race(|workspace| {
            let (swap, own) = (workspace.join("swap"), workspace.join("sub"));
            drop(symlink("deep/state/keys", &swap));
            drop(fs::remove_file(&swap));
            drop(symlink(own.file_name().unwrap_or_default(), &swap));
            drop(fs::remove_file(&swap));
        })
        .ends_in_some_error(),
    ]
}
