use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::policy::Policy;

/// A folder `w` that is the workspace, and one outside of it.
struct World {
    place: tempfile::TempDir,
    policy: Policy,
}

impl World {
    fn new(grants: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        for folder in ["w/data/in", "outside/in", "srv/x"] {
            fs::create_dir_all(place.path().join(folder)).unwrap();
        }
        let root = place.path().display().to_string();
        let text = format!(
            "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\nfilesystem = [{}]\n",
            grants.replace("ROOT", &root)
        );
        Self { policy: Policy::parse(&text).unwrap(), place }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Opens a folder; the real path, or why not.
    fn open(&self, workspace: &str, path: &str) -> Result<String, SandboxError> {
        let workspace = self.at(workspace);
        let ground = Ground::of(self.policy.grants.iter().map(|grant| &**grant), &workspace, true).unwrap();
        let root = fs::canonicalize(self.place.path()).unwrap();
        let opened = ground.open(&self.at(path))?;
        assert_eq!(FolderId::of(&opened.folder).unwrap(), FolderId::of(&File::open(&opened.at).unwrap()).unwrap());
        Ok(opened.at.strip_prefix(root).unwrap().display().to_string())
    }
}

use crate::folder_id::FolderId;

#[test]
fn below_a_folder_that_guests_write_no_link_is_followed() {
    let world = World::new(r#"{ host = "ROOT/srv", guest = "/srv", access = "read-write" }"#);
    symlink("../outside", world.at("w/door")).unwrap();
    symlink("data", world.at("w/inner")).unwrap();
    symlink("../outside", world.at("srv/door")).unwrap();
    symlink("w", world.at("named")).unwrap();
    symlink("srv", world.at("way")).unwrap();
    for (path, real) in [
        ("w", "w"),
        ("w/data/in", "w/data/in"),
        ("named", "w"),
        ("named/data", "w/data"),
        ("way/x", "srv/x"),
        ("w/../outside", "outside"),
        ("outside/in", "outside/in"),
    ] {
        assert_eq!(world.open("w", path).unwrap(), real, "{path}");
    }
    for path in
        ["w/door", "w/door/in", "w/inner", "w/inner/in", "named/door", "srv/door", "way/door/in", "w/data/../door"]
    {
        let error = world.open("w", path).unwrap_err();
        assert!(matches!(error, SandboxError::LinkedDirectory { .. }), "{path}: {error}");
    }
    // Whoever names the link as the workspace means where it leads.
    assert_eq!(world.open("named", "named/data").unwrap(), "w/data");
    assert!(world.open("named", "named/door").is_err());
    // Under a policy in which nobody writes into it the workspace counts all the same.
    let reads = World::new(r#"{ host = "{workspace}/door", guest = "/d", access = "read-only" }"#);
    symlink("../outside", reads.at("w/door")).unwrap();
    assert!(matches!(reads.open("w", "w/door"), Err(SandboxError::LinkedDirectory { .. })));
}

#[test]
fn what_is_no_folder_is_said_as_the_system_says_it() {
    let world = World::new(r#"{ host = "{workspace}", guest = "/w", access = "read-write" }"#);
    fs::write(world.at("w/file"), "").unwrap();
    for (path, kind) in [
        ("none", io::ErrorKind::NotFound),
        ("w/none/below", io::ErrorKind::NotFound),
        ("w/file", io::ErrorKind::NotADirectory),
        ("w/file/below", io::ErrorKind::NotADirectory),
    ] {
        match world.open("w", path) {
            Err(SandboxError::Directory { source, .. }) => assert_eq!(source.kind(), kind, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}
