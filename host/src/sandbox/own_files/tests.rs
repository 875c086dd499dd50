use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A folder with something of the host's own in it: a folder `own`, a file `deep/policy`, and what would be at `later/config`.
struct World {
    place: tempfile::TempDir,
    root: File,
}

impl World {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("top");
        for folder in ["own/runs", "deep", "sub"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["own/key", "own/runs/trace", "deep/policy", "deep/other", "sub/file"] {
            fs::write(root.join(file), file).unwrap();
        }
        Self { root: File::open(&root).unwrap(), place }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join("top").join(name)
    }

    fn own(&self) -> OwnFiles {
        let mut paths = OwnPaths::default();
        paths.add(&self.at("own"), "the state folder");
        paths.add(&self.at("deep/policy"), "the policy");
        paths.add(&self.at("later/config"), "the configuration");
        OwnFiles::look(&paths)
    }

    fn guard(&self) -> Guard {
        Guard::new(self.own(), BTreeSet::from([Meta::of(&self.root).unwrap().inode]))
    }

    fn meets(&self, guard: &Guard, path: &str, follow: bool) -> Meets {
        let (meets, _) = guard.meets(&self.root, OsStr::new(path), follow);
        let (spot, _) = guard.spot(&self.root, OsStr::new(path), follow);
        assert_eq!(meets, spot, "{path}");
        meets
    }
}

#[test]
fn a_path_meets_what_it_leads_to_however_it_is_spelled() {
    let world = World::new();
    for (target, link) in [("own", "door"), ("deep/policy", "window"), ("../own/key", "sub/up"), ("door/runs", "twice")]
    {
        symlink(target, world.at(link)).unwrap();
    }
    symlink("/", world.at("out")).unwrap();
    fs::hard_link(world.at("deep/policy"), world.at("sub/twin")).unwrap();
    fs::hard_link(world.at("own/runs/trace"), world.at("sub/trace")).unwrap();
    fs::hard_link(world.at("sub/file"), world.at("sub/again")).unwrap();
    let guard = world.guard();
    assert!(guard.is_near() && !guard.is_off());
    use Meets::{Nothing, Own, Way};
    for (path, follow, expected) in [
        ("own", false, Own),
        ("own/", false, Own),
        ("./own/.", true, Own),
        ("own/key", false, Own),
        ("own/runs/trace", true, Own),
        ("own/new", false, Own),
        ("own/no/such", false, Own),
        ("sub/../own/key", false, Own),
        ("deep/policy", false, Own),
        ("deep//policy", true, Own),
        ("deep/policy/", true, Own),
        ("deep/other", false, Nothing),
        ("deep/new", false, Nothing),
        ("deep", false, Way),
        ("deep/", false, Way),
        (".", false, Way),
        ("sub/..", false, Way),
        ("sub", false, Nothing),
        ("sub/file", false, Nothing),
        ("sub/again", false, Nothing),
        ("nothing", false, Nothing),
        ("later", false, Own),
        ("later/config", false, Own),
        ("door", false, Nothing),
        ("door", true, Own),
        ("door/key", false, Own),
        ("window", false, Nothing),
        ("window", true, Own),
        ("sub/up", true, Own),
        ("twice", true, Own),
        ("twice/trace", false, Own),
        ("sub/twin", false, Own),
        ("sub/trace", false, Own),
        ("out/etc", false, Nothing),
        ("../top/own", false, Nothing),
        ("/own", false, Nothing),
        ("", false, Nothing),
    ] {
        assert_eq!(world.meets(&guard, path, follow), expected, "`{path}`, {follow}");
    }
}

#[test]
fn what_a_path_depends_on_stays() {
    let world = World::new();
    fs::rename(world.at("own"), world.at("real")).unwrap();
    symlink("real", world.at("own")).unwrap();
    let guard = world.guard();
    assert_eq!(world.meets(&guard, "own", false), Meets::Way, "the link that the path has");
    assert_eq!(world.meets(&guard, "own", true), Meets::Own);
    assert_eq!(world.meets(&guard, "real/key", false), Meets::Own);
}

#[test]
fn a_call_acts_on_the_entry_that_was_looked_at() {
    let world = World::new();
    symlink("sub", world.at("door")).unwrap();
    symlink("file", world.at("sub/link")).unwrap();
    let guard = world.guard();
    let spot = |path: &str, follow| guard.spot(&world.root, OsStr::new(path), follow).1;
    for (path, follow, folder, name) in [
        ("door/link", true, "sub", "file"),
        ("door/link", false, "sub", "link"),
        ("door/new", true, "sub", "new"),
        ("sub/", true, "", "sub"),
    ] {
        let spot = spot(path, follow).unwrap();
        assert_eq!(
            (Meta::of(&spot.folder).unwrap().inode, spot.name.to_str().unwrap()),
            (Meta::of(File::open(world.at(folder)).unwrap()).unwrap().inode, name)
        );
    }
    // The call itself says what is wrong with these.
    for path in ["sub/file/below", "no/such", "../x", ".", ""] {
        assert!(spot(path, true).is_none(), "{path}");
    }
}

#[test]
fn names_are_not_shown() {
    let world = World::new();
    symlink("own", world.at("door")).unwrap();
    let guard = world.guard();
    let shown = |folder: &str| {
        let opened = File::open(world.at(folder)).unwrap();
        let mut names: Vec<String> = fs::read_dir(world.at(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        if guard.hides_in(&opened) {
            names.retain(|name| !guard.hides(&opened, OsStr::new(name)));
        }
        names
    };
    assert_eq!(shown(""), ["deep", "door", "sub"]);
    assert_eq!(shown("deep"), ["other"]);
    assert_eq!(shown("sub"), ["file"]);
}

#[test]
fn a_folder_is_held_by_what_it_lies_inside_of() {
    let world = World::new();
    let own = world.own();
    let holder = |name: &str| own.holder(&File::open(world.at(name)).unwrap()).unwrap();
    assert_eq!((holder("own"), holder("own/runs")), (Some("the state folder"), Some("the state folder")));
    assert_eq!((holder("sub"), holder("deep"), holder("")), (None, None, None));
}

#[test]
fn where_none_is_below_a_file_of_one_name_costs_one_look_and_another_is_found_by_what_it_is() {
    let world = World::new();
    let elsewhere = world.place.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for (from, to) in [("deep/policy", "policy"), ("own/runs/trace", "trace"), ("sub/file", "file")] {
        fs::hard_link(world.at(from), elsewhere.join(to)).unwrap();
    }
    fs::write(elsewhere.join("alone"), "").unwrap();
    symlink("../top/own/key", elsewhere.join("out")).unwrap();
    let (own, folder) = (world.own(), File::open(&elsewhere).unwrap());
    let guard = Guard::new(own, BTreeSet::from([Meta::of(&folder).unwrap().inode]));
    assert!(!guard.is_near());
    let meets = |path: &str| guard.meets(&folder, OsStr::new(path), true).0;
    assert_eq!((meets("policy"), meets("trace"), meets("file")), (Meets::Own, Meets::Own, Meets::Nothing));
    assert_eq!((meets("alone"), meets("nothing"), meets("out")), (Meets::Nothing, Meets::Nothing, Meets::Nothing));
    assert_eq!(guard.meets_open(&File::open(elsewhere.join("trace")).unwrap()), Meets::Own);
    assert_eq!(guard.meets_open(&File::open(elsewhere.join("file")).unwrap()), Meets::Nothing);
}

#[test]
fn what_a_journal_holds_is_the_workspaces() {
    let world = World::new();
    fs::create_dir_all(world.at("own/runs/x/journal")).unwrap();
    fs::create_dir_all(world.at("own/scratch/y/copy-0")).unwrap();
    fs::hard_link(world.at("sub/file"), world.at("own/runs/x/journal/step.1.pre-0")).unwrap();
    fs::write(world.at("own/scratch/y/copy-0/one"), "").unwrap();
    fs::hard_link(world.at("own/scratch/y/copy-0/one"), world.at("own/scratch/y/copy-0/two")).unwrap();
    let guard = world.guard();
    assert_eq!(world.meets(&guard, "sub/file", false), Meets::Nothing);
    let copies = File::open(world.at("own/scratch/y/copy-0")).unwrap();
    assert_eq!(guard.meets(&copies, OsStr::new("two"), false).0, Meets::Nothing);
}

#[test]
fn more_files_than_are_looked_at_are_no_way_in() {
    let world = World::new();
    let folders = [world.at("own")];
    let trace = Meta::of(File::open(world.at("own/runs/trace")).unwrap()).unwrap().inode;
    let other = Meta::of(File::open(world.at("sub/file")).unwrap()).unwrap().inode;
    let all = Linked::look_at(&folders, 3);
    assert!(all.has(trace) && !all.has(other));
    let part = Linked::look_at(&folders, 1);
    assert!(part.has(trace) && part.has(other), "what was not looked at may be ours");
}
