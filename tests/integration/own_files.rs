//! No grant reaches the host's own files, however it is spelled; and nobody who may write a folder moves the ground under another one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use host_tests::plan::{READ_ONLY, READ_WRITE, policy};
use host_tests::relay::{call, relay};
use host_tests::trace::TraceFiles;
use host_tests::{Run, TestHost, plan, repo, step, tree};
use serde_json::{Value, json};
use skillhost::outcome::RunOutcome;
use skillhost::store::Index;
use skillhost::store::index::Answer;
use skillhost::{Durability, Error, GoOnOptions, RunOptions, SkillHostBuilder};
use tempfile::TempDir;

const SECRET: &str = "what no guest may see";

/// A project that has everything of the host's own in it, and is the workspace.
struct World {
    place: TempDir,
    host: TestHost,
}

impl World {
    fn new(policy: &str) -> Self {
        Self::configured(policy, |builder| builder)
    }

    fn configured(policy: &str, configure: impl FnOnce(SkillHostBuilder) -> SkillHostBuilder) -> Self {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join("project").join(name);
        for folder in ["policies", "src/deep", "keep"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::create_dir_all(at(".state")).unwrap();
        fs::create_dir_all(at(".state/runs/old/journal")).unwrap();
        let own = [
            "policies/default.toml",
            "policies/access.cedar",
            ".state/runs/old/trace.jsonl",
            ".state/host.key",
            "keep/token",
        ];
        for file in own {
            fs::write(at(file), SECRET).unwrap();
        }
        fs::write(at("src/main.rs"), "fn main() {}\n").unwrap();
        fs::write(at("policies/other.toml"), "other").unwrap();
        let host = TestHost::configured(policy, &[("probe", &repo::component("probe"))], |builder| {
            let builder = builder.workspace(at("")).state(at(".state")).protect(at("policies/default.toml"));
            configure(
                builder.protect(at("policies/access.cedar")).protect(at("keep/token")).protect(at(".config/skillhost")),
            )
        });
        Self { place, host }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join("project").join(name)
    }

    /// What `probe` says of an attempt: whether it was done, and what it printed.
    fn tries(&self, args: &[&str]) -> (bool, String) {
        let codes: Vec<u8> = (0..=255).collect();
        let run = self.host.call("probe.run", json!({"args": args, "exit_codes": codes}));
        let said = run.output();
        self.host.replay_equals(&run);
        let text = format!("{}{}", said["stdout"].as_str().unwrap(), said["stderr"].as_str().unwrap());
        (said["exit_code"] == 0, text)
    }

    /// What of the host's own would show that somebody was there.
    fn own(&self) -> Vec<String> {
        let mut own = Vec::new();
        for file in [
            "policies/default.toml",
            "policies/access.cedar",
            ".state/runs/old/trace.jsonl",
            ".state/host.key",
            "keep/token",
        ] {
            let meta = fs::symlink_metadata(self.at(file)).unwrap();
            own.push(format!("{file} {} {:?}", fs::read_to_string(self.at(file)).unwrap(), meta.modified().unwrap()));
        }
        own.push(format!("{:?}", tree::read(&self.at(".state/runs/old"))));
        own
    }
}

fn workspace(access: &str) -> String {
    policy("", access)
}

/// Ways to name one path.
fn spellings(path: &str) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    let spelled = [
        path.to_string(),
        format!("./{path}"),
        format!("src/../{path}"),
        format!("{folder}/./{name}"),
        format!("src/deep/up/{path}"),
    ];
    spelled.into_iter().map(|path| format!("/workspace/{path}")).collect()
}

#[test]
fn whatever_a_guest_does_to_them_however_it_names_them_is_refused() {
    let world = World::new(&workspace(READ_WRITE));
    symlink("../..", world.at("src/deep/up")).unwrap();
    symlink(".state", world.at("door")).unwrap();
    symlink("policies/default.toml", world.at("window")).unwrap();
    fs::hard_link(world.at("policies/default.toml"), world.at("src/twin")).unwrap();
    fs::hard_link(world.at(".state/host.key"), world.at("src/key")).unwrap();
    fs::hard_link(world.at("keep/token"), world.at("token")).unwrap();
    let before = world.own();
    let mut paths: Vec<String> = Vec::new();
    for path in ["policies/default.toml", ".state/host.key", ".state/runs/old/trace.jsonl"] {
        paths.extend(spellings(path));
    }
    for path in ["policies/access.cedar", "keep/token", "door/host.key", "window", "src/twin", "src/key", "token"] {
        paths.push(format!("/workspace/{path}"));
    }
    for path in &paths {
        let to = "/workspace/src/moved";
        let mut attempts: Vec<Vec<&str>> = vec![
            vec!["cat", path],
            vec!["write", path, "x"],
            vec!["append", path, "x"],
            vec!["set-size", path, "1"],
            vec!["set-times", path, "1"],
        ];
        if path != "/workspace/window" {
            // Of a link to them: what is done to the link itself is done to the link.
            attempts.extend([
                vec!["stat", path],
                vec!["remove", path],
                vec!["hardlink", path, to],
                vec!["rename", path, to],
                vec!["rename", "/workspace/src/main.rs", path],
            ]);
        }
        for attempt in attempts {
            let (done, said) = world.tries(&attempt);
            assert!(!done && said.contains("Permission denied") && !said.contains(SECRET), "{attempt:?}: {said}");
            assert_eq!(world.own(), before, "{attempt:?}");
        }
    }
    for folder in
        ["/workspace/.state", "/workspace/.state/runs", "/workspace/door", "/workspace/src/deep/up/.state/runs/old"]
    {
        let new = format!("{folder}/new");
        for attempt in [vec!["list", folder], vec!["mkdir", &new], vec!["write", &new, "x"], vec!["symlink", "x", &new]]
        {
            let (done, said) = world.tries(&attempt);
            assert!(!done && said.contains("Permission denied"), "{attempt:?}: {said}");
        }
    }
    assert_eq!(world.own(), before);
    assert!(world.at("src/main.rs").exists() && !world.at("src/moved").exists());
}

#[test]
fn what_their_paths_depend_on_stays_and_everything_else_is_as_ever() {
    let world = World::new(&workspace(READ_WRITE));
    let before = world.own();
    for attempt in [
        ["rename", "/workspace/policies", "/workspace/p"],
        ["rename", "/workspace/.state", "/workspace/s"],
        ["rename", "/workspace/keep/", "/workspace/k"],
        ["rename", "/workspace/src", "/workspace/keep"],
        ["symlink", "src", "/workspace/.config"],
        ["rename", "/workspace/src", "/workspace/.config"],
    ] {
        let (done, said) = world.tries(&attempt);
        assert!(!done && said.contains("Permission denied"), "{attempt:?}: {said}");
    }
    for attempt in [["rmdir", "/workspace/policies"], ["rmdir", "/workspace/.state"], ["mkdir", "/workspace/.config"]] {
        let (done, said) = world.tries(&attempt);
        assert!(!done && said.contains("Permission denied"), "{attempt:?}: {said}");
    }
    for (folder, shown) in
        [("", "keep\npolicies\nsrc\n"), ("policies", "other.toml\n"), ("keep", ""), ("src", "deep\nmain.rs\n")]
    {
        assert_eq!(world.tries(&["list", &format!("/workspace/{folder}")]), (true, shown.to_owned()));
    }
    for attempt in [
        vec!["write", "/workspace/policies/new.toml", "new"],
        vec!["rename", "/workspace/policies/new.toml", "/workspace/src/new.toml"],
        vec!["cat", "/workspace/policies/other.toml"],
        vec!["symlink", "policies/default.toml", "/workspace/link"],
        vec!["remove", "/workspace/link"],
        vec!["mkdir", "/workspace/keep/inner/"],
        vec!["rmdir", "/workspace/keep/inner"],
        vec!["write", "/workspace/src/main.rs", "changed"],
        vec!["hardlink", "/workspace/src/main.rs", "/workspace/src/again"],
        vec!["set-times", "/workspace/policies/other.toml", "1"],
        vec!["stat", "/workspace/policies"],
    ] {
        let (done, said) = world.tries(&attempt);
        assert!(done, "{attempt:?}: {said}");
    }
    let (done, said) = world.tries(&["cat", "/workspace/no/such"]);
    assert!(!done && said.contains("No such file"), "{said}");
    assert_eq!(world.own(), before);
}

#[test]
fn a_trace_does_not_depend_on_where_they_are() {
    let steps = || {
        plan([
            step("w", "probe.run", json!({"args": ["write", "/workspace/src/a", "a"]})),
            step("l", "probe.run", json!({"args": ["list", "/workspace/src"], })),
            step("h", "probe.run", json!({"args": ["hardlink", "/workspace/src/a", "/workspace/b"]})),
            step("s", "probe.run", json!({"args": ["stat", "/workspace/b"]})),
            step("m", "probe.run", json!({"args": ["rename", "/workspace/src/a", "/workspace/src/deep/c"]})),
            step("e", "probe.run", json!({"args": ["cat", "/workspace/src/main.rs/"], "exit_codes": [1]})),
            step("d", "probe.run", json!({"args": ["rmdir", "/workspace/src/deep/"], "exit_codes": [1]})),
        ])
    };
    let near = World::new(&workspace(READ_WRITE));
    let far = TestHost::probe(&workspace(READ_WRITE));
    fs::create_dir_all(far.workspace().join("src/deep")).unwrap();
    far.write("src/main.rs", "fn main() {}\n");
    let (near, far) = (near.host.run(&steps()).completed().bytes(), far.run(&steps()).completed().bytes());
    for (near, far) in near.lines().zip(far.lines()) {
        assert_eq!(near, far);
    }
    assert_eq!(near, far);
}

/// The error with which a plan that lists `/x` ends before anything of it runs.
fn refused(host: &TestHost) -> String {
    let plan = plan([step("it", "probe.run", json!({"args": ["list", "/x"]}))]);
    let ran = host.host.run(&host.document(&plan), &RunOptions::default());
    match ran {
        Err(error) => error.to_string(),
        Ok(report) => {
            assert_eq!(TraceFiles::read(&report.folder).of_kind("step-begin").count(), 0, "{report:#?}");
            format!("{:?} {report:?}", report.outcome)
        }
    }
}

#[test]
fn a_grant_inside_of_them_is_refused_before_anything_runs() {
    let elsewhere = tempfile::tempdir().unwrap();
    let real = |world: &World| fs::canonicalize(world.at(".state/runs")).unwrap();
    for access in ["read-only", "read-write"] {
        for host in ["{workspace}/.state", "{workspace}/.state/runs/old", "ROOT/project/.state/runs", "ROOT/link"] {
            let root = tempfile::tempdir().unwrap();
            // The policy names the folder that the world is then made in.
            let world = World::new(&workspace(""));
            symlink(real(&world), root.path().join("link")).unwrap();
            let host = host.replace("ROOT/link", &root.path().join("link").display().to_string());
            let host = host.replace("ROOT", &world.place.path().display().to_string());
            let grant = format!("filesystem = [{{ host = \"{host}\", guest = \"/x\", access = \"{access}\" }}]");
            let inside = TestHost::configured(&workspace(&grant), &[("probe", &repo::component("probe"))], |builder| {
                builder.workspace(world.at("")).state(world.at(".state"))
            });
            let error = refused(&inside);
            assert!(error.contains("the state folder, which no grant reaches"), "{host}: {error}");
        }
    }
    drop(elsewhere);
}

/// Mounts one folder at another, gone when dropped; `None` where that is not allowed.
struct Bound(PathBuf);

impl Bound {
    fn mount(from: &Path, to: &Path) -> Option<Self> {
        fs::create_dir_all(to).unwrap();
        let mounted = Command::new("mount").arg("--bind").args([from, to]).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then(|| Self(to.to_owned()))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_mount_shows_nothing_of_them() {
    let world = World::new(&workspace(READ_WRITE));
    fs::create_dir_all(world.at("src/own")).unwrap();
    let own = tempfile::tempdir().unwrap();
    let far = own.path().join("state");
    fs::create_dir_all(&far).unwrap();
    fs::create_dir_all(far.join("runs/old")).unwrap();
    fs::write(far.join("runs/old/trace.jsonl"), SECRET).unwrap();
    // Whole, in part, and with what is around it.
    let mounts = [(far.clone(), "src/own"), (far.join("runs"), "part"), (own.path().to_owned(), "src/around")];
    let mounted: Vec<Option<Bound>> = mounts.iter().map(|(from, to)| Bound::mount(from, &world.at(to))).collect();
    if mounted.iter().any(Option::is_none) {
        assert!(
            !Path::new("/proc/self").metadata().is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
                || mounted.iter().all(Option::is_none)
        );
        eprintln!("not tried: only the superuser mounts folders");
        return;
    }
    let host = |grant: &str| {
        TestHost::configured(&workspace(grant), &[("probe", &repo::component("probe"))], |builder| {
            builder.workspace(world.at("")).state(&far)
        })
    };
    let all = host(READ_WRITE);
    for path in ["src/own", "part", "src/around/state", "part/old"] {
        let said = all.probed(&["list", &format!("/workspace/{path}")]);
        assert!(
            said["exit_code"] == 1 && said["stderr"].as_str().unwrap().contains("Permission denied"),
            "{path}: {said}"
        );
    }
    for path in ["src/own/runs/old/trace.jsonl", "part/old/trace.jsonl", "src/around/state/runs/old/trace.jsonl"] {
        let said = all.probed(&["cat", &format!("/workspace/{path}")]);
        assert!(
            said["exit_code"] == 1 && said["stderr"].as_str().unwrap().contains("Permission denied"),
            "{path}: {said}"
        );
    }
    assert_eq!(all.probed(&["list", "/workspace/src/around"])["stdout"], "");
    for inside in ["src/own", "part", "part/old", "src/around/state"] {
        let grant =
            format!("filesystem = [{{ host = \"{{workspace}}/{inside}\", guest = \"/x\", access = \"read-only\" }}]");
        let error = refused(&host(&grant));
        assert!(error.contains("which no grant reaches"), "{inside}: {error}");
    }
}

#[test]
fn a_rehearsal_has_no_copy_of_them_and_meets_the_same() {
    let world = World::new(&workspace(READ_WRITE));
    let codes: Vec<u8> = (0..=255).collect();
    let tries = |id: &str, args: &[&str]| step(id, "probe.run", json!({"args": args, "exit_codes": codes}));
    let plan = plan([
        tries("a", &["cat", "/workspace/policies/default.toml"]),
        tries("b", &["list", "/workspace/policies"]),
        tries("c", &["rename", "/workspace/policies", "/workspace/p"]),
        tries("d", &["write", "/workspace/.state/x", "x"]),
        tries("e", &["list", "/workspace"]),
        tries("f", &["write", "/workspace/src/new", "new"]),
        tries("g", &["mkdir", "/workspace/.config"]),
    ]);
    let outputs = |dry_run: bool| -> Vec<Value> {
        let options = RunOptions { dry_run, ..RunOptions::default() };
        let report = world.host.host.run(&world.host.document(&plan), &options).unwrap();
        if let Some(dry) = &report.dry_run {
            let changed: Vec<&str> = dry.changes.list.iter().map(|change| change.path.as_str()).collect();
            assert_eq!(changed, [world.at("src/new").display().to_string()]);
        }
        report.steps.iter().map(|step| json!(format!("{:?}", step.outcome))).collect()
    };
    let before = world.own();
    assert_eq!(outputs(true), outputs(false));
    assert_eq!(world.own(), before);
}

#[test]
fn a_callee_is_kept_off_as_its_caller_is() {
    let relay = relay();
    let policy = format!(
        "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\ncalls = [\"probe.run\"]\n\
         [[grant]]\nskills = [\"probe\"]\ntools = [\"*\"]\napproval = \"never\"\n{READ_ONLY}\n"
    );
    let world = World::new(&workspace(READ_WRITE));
    let host = TestHost::configured(&policy, &[("a", &relay), ("probe", &repo::component("probe"))], |builder| {
        builder.workspace(world.at("")).state(world.at(".state")).protect(world.at("policies/default.toml"))
    });
    let input = json!({"args": ["cat", "/workspace/policies/default.toml"], "exit_codes": [1]});
    let run = host.call("a.go", call("probe.run", input)).completed();
    let text = run.output().to_string();
    assert!(text.contains("Permission denied") && !text.contains(SECRET), "{text}");
    host.replay_equals(&run);
}

// ---- the ground under a grant ----

/// `a` writes the workspace, everybody else reads the folder `data` in it.
fn two() -> String {
    format!(
        "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"probe\"]\ntools = [\"*\"]\napproval = \"never\"\n{READ_WRITE}\n\
         [[grant]]\nskills = [\"files\"]\ntools = [\"append\"]\napproval = \"required\"\nfilesystem = [{{ host = \"{{workspace}}/data\", guest = \"/data\", access = \"read-write\" }}]\n\
         [[grant]]\nskills = [\"files\"]\ntools = [\"*\"]\nfilesystem = [{{ host = \"{{workspace}}/data\", guest = \"/data\", access = \"read-write\" }}]\n"
    )
}

fn two_host() -> TestHost {
    let host = TestHost::configured(&two(), &[("probe", &repo::component("probe"))], |builder| builder.pauses(true));
    host.write("data/key", "theirs");
    fs::create_dir(host.folder().join("outside")).unwrap();
    fs::write(host.folder().join("outside/key"), SECRET).unwrap();
    host
}

fn probe(id: &str, args: &[&str]) -> Value {
    step(id, "probe.run", json!({"args": args}))
}

#[test]
fn a_link_that_a_guest_made_is_no_granted_folder() {
    let host = two_host();
    host.run(&plan([
        probe("away", &["rename", "/workspace/data", "/workspace/kept"]),
        probe("link", &["symlink", "../outside", "/workspace/data"]),
    ]))
    .completed();
    for (tool, input) in [
        ("files.read-text", json!({"path": "/data/key"})),
        ("files.write-text", json!({"path": "/data/new", "text": "x"})),
        ("files.list", json!({"path": "/data"})),
    ] {
        let error = host.host.run(&host.document(&plan([step("it", tool, input)])), &RunOptions::default());
        let said = match error {
            Err(error) => error.to_string(),
            Ok(report) => format!("{report:?}"),
        };
        assert!(said.contains("is reached through") && !said.contains(SECRET), "{tool}: {said}");
    }
    assert_eq!(fs::read_dir(host.folder().join("outside")).unwrap().count(), 1);
    // A dry run is refused as well.
    let reads = plan([step("it", "files.read-text", json!({"path": "/data/key"}))]);
    let dry = host.host.run(&host.document(&reads), &RunOptions { dry_run: true, ..RunOptions::default() });
    assert!(dry.is_err() || !format!("{dry:?}").contains(SECRET), "{dry:?}");
}

fn answer(host: &TestHost, run: &Run, approved: bool) {
    let answer = Answer { approved, by: "ann".to_owned(), reason: String::new() };
    let mut index = Index::open(&host.state(), Durability::Full).unwrap();
    index.decide_approval(&run.report.run, "ask", &answer, std::time::Duration::from_secs(1)).unwrap();
}

#[test]
fn a_run_goes_on_in_the_folders_that_it_began_in_or_not_at_all() {
    let plan = plan([
        probe("first", &["write", "/workspace/first", "x"]),
        json!({"id": "ask", "tool": "files.append", "input": {"path": "/data/key", "text": "!"}, "depends_on": ["first"]}),
    ]);
    // What somebody does meanwhile.
    let linked = |host: &TestHost| {
        fs::rename(host.workspace().join("data"), host.workspace().join("kept")).unwrap();
        symlink("../outside", host.workspace().join("data")).unwrap();
    };
    let replaced = |host: &TestHost| {
        fs::rename(host.workspace().join("data"), host.workspace().join("kept")).unwrap();
        fs::rename(host.folder().join("outside"), host.workspace().join("data")).unwrap();
    };
    let moved = |host: &TestHost| {
        fs::rename(host.workspace(), host.folder().join("kept")).unwrap();
        host_tests::tree::copy(&host.folder().join("kept"), &host.workspace());
    };
    let untouched = |_: &TestHost| ();
    type Case<'a> = (&'a str, &'a dyn Fn(&TestHost), Option<&'a str>);
    let cases: [Case<'_>; 4] = [
        ("a link", &linked, Some("is reached through")),
        ("another folder", &replaced, Some("is another one than when the run began")),
        ("another workspace", &moved, Some("is another one than when the run began")),
        ("nothing", &untouched, None),
    ];
    for (name, act, expected) in cases {
        let host = two_host();
        let run = host.run(&plan);
        assert_eq!(run.report.outcome, RunOutcome::Paused, "{:#?}", run.report);
        act(&host);
        answer(&host, &run, true);
        let went = host.host.go_on(run.recorded(), &GoOnOptions::default());
        match expected {
            Some(expected) => {
                let said = match &went {
                    Err(error) => error.to_string(),
                    Ok(report) => format!("{report:?}"),
                };
                assert!(said.contains(expected), "{name}: {said}");
                let key = fs::read_to_string(host.folder().join("outside/key"));
                assert!(key.is_err() || key.unwrap() == SECRET, "{name}");
            }
            None => assert_eq!(went.unwrap().outcome, RunOutcome::Completed),
        }
    }
}

#[test]
fn nothing_is_put_back_in_another_folder() {
    let host = TestHost::probe(&policy("", READ_WRITE));
    host.write("a", "old");
    host.run(&plan([probe("w", &["write", "/workspace/a", "new"])])).completed();
    let outside = host.folder().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("a"), "new").unwrap();
    fs::rename(host.workspace(), host.folder().join("kept")).unwrap();
    symlink("outside", host.workspace()).unwrap();
    let error = host.host.undo(1, true).unwrap_err();
    assert!(matches!(error, Error::Journal(_)), "{error:?}");
    assert_eq!(fs::read_to_string(outside.join("a")).unwrap(), "new");
    // Where the folder is back, so is the undo.
    fs::remove_file(host.workspace()).unwrap();
    fs::rename(host.folder().join("kept"), host.workspace()).unwrap();
    host.host.undo(1, false).unwrap();
    assert_eq!(fs::read_to_string(host.workspace().join("a")).unwrap(), "old");
}
