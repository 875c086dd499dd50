//! Changes that go through the filesystem functions of a guest are undone to the last time stamp.

use std::collections::BTreeMap;
use std::future::Future;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::FsPerms;

use super::*;
use crate::durability::Durability;
use crate::journal::claims::{Access, Claims};
use crate::journal::{Journal, Root};
use crate::sandbox::interfaces::{Directory, GuestClock, GuestRandom, Http, Stdio, StepContext};
use crate::sandbox::undo::Undo;

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("file operations finish at once"),
    }
}

/// A granted folder with a few things in it, and what acts for a guest.
struct Case {
    folder: tempfile::TempDir,
    live: Live,
    undo: Undo,
    open: Vec<u32>,
    before: Tree,
}

/// What there is: kind, content, mode, time of change, and for files which of them are the same one.
type Tree = BTreeMap<PathBuf, String>;

fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut names = BTreeMap::new();
    look(root, Path::new(""), &mut found, &mut names);
    found
}

fn look(root: &Path, path: &Path, found: &mut Tree, names: &mut BTreeMap<u64, PathBuf>) {
    let at = root.join(path);
    let meta = std::fs::symlink_metadata(&at).unwrap();
    let what = if meta.is_dir() {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(&at).unwrap().map(|entry| path.join(entry.unwrap().file_name())).collect();
        entries.sort();
        entries.iter().for_each(|entry| look(root, entry, found, names));
        "folder".to_owned()
    } else if meta.is_symlink() {
        format!("-> {}", std::fs::read_link(&at).unwrap().display())
    } else {
        let first = names.entry(meta.ino()).or_insert_with(|| path.to_owned());
        format!("{:?} {} of {}", std::fs::read(&at).unwrap(), meta.nlink(), first.display())
    };
    found.insert(path.to_owned(), format!("{what} {:o} {}.{}", meta.mode(), meta.mtime(), meta.mtime_nsec()));
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for path in ["", "d", "d/e", "empty", "other"] {
            std::fs::create_dir(root.join(path)).unwrap();
        }
        for (path, content) in [("a", "alpha\n"), ("b", "beta\n"), ("d/x", "ex\n"), ("d/e/deep", "deep\n")] {
            std::fs::write(root.join(path), content).unwrap();
        }
        std::fs::write(root.join("large"), vec![7; 100_000]).unwrap();
        std::fs::hard_link(root.join("a"), root.join("twin")).unwrap();
        for (target, link) in [("a", "link"), ("d", "way"), ("nothing", "dangling"), ("../../etc", "d/out")] {
            std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        }
        let past = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500_000_000_123);
        for (path, index) in tree(&root).keys().zip(0..) {
            let meta = std::fs::symlink_metadata(root.join(path)).unwrap();
            if !meta.is_symlink() {
                let file = std::fs::File::open(root.join(path)).unwrap();
                file.set_modified(past + Duration::from_secs(index)).unwrap();
            }
        }
        let dir = cap_std::fs::Dir::open_ambient_dir(&root, cap_std::ambient_authority()).unwrap();
        let handle = Root::new("/w".to_owned(), dir.try_clone().unwrap().into_std_file()).unwrap();
        let journal = Journal::create(&folder.path().join("journal"), 0, vec![handle], Durability::Buffered).unwrap();
        let undo = Undo::new(journal);
        let granted = Directory { guest: "/w".to_owned(), handle: Arc::new(dir), perms: FsPerms::ReadWrite };
        let context = StepContext {
            plan: String::new(),
            step: String::new(),
            tool: String::new(),
            attempt: 1,
            deadline_ms: 1,
            ..StepContext::default()
        };
        let mut live = Live::new(
            vec![granted],
            GuestClock::Virtual { start_time: 0, elapsed_ns: 0 },
            GuestRandom::seeded(0, "s", 1),
            Stdio::default(),
            Http::new(None),
            context,
        );
        live.undo = Some(undo.clone());
        let open = live.preopens().unwrap().into_iter().map(|(fd, _)| fd.rep()).collect();
        let before = tree(&root);
        Self { folder, live, undo, open, before }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn at(&self, base: usize) -> Fd {
        Resource::new_borrow(self.open[base % self.open.len()])
    }

    fn act(&mut self, op: &Op) -> FsResult<()> {
        let live = &mut self.live;
        let fd = |open: &Vec<u32>, base: usize| Resource::new_borrow(open[base % open.len()]);
        let follow = |follow: bool| {
            if follow { fs::PathFlags::SYMLINK_FOLLOW } else { fs::PathFlags::empty() }
        };
        match op.clone() {
            Op::Open { base, path, follow: follows, flags, keep } => {
                let at = fd(&self.open, base);
                let how = fs::DescriptorFlags::READ | fs::DescriptorFlags::WRITE;
                let file = now(live.open_at(at, follow(follows), path, flags, how))?;
                let borrowed = || Resource::new_borrow(file.rep());
                if keep {
                    self.open.push(file.rep());
                } else {
                    now(live.filesystem().write(borrowed(), b"written".to_vec(), 2))?;
                    live.drop_descriptor(file).unwrap();
                }
            }
            Op::Folder { base, path } => {
                let at = fd(&self.open, base);
                let folder =
                    now(live.open_at(at, follow(true), path, fs::OpenFlags::DIRECTORY, fs::DescriptorFlags::READ))?;
                self.open.push(folder.rep());
            }
            Op::Write { base, offset } => {
                let at = fd(&self.open, base);
                now(live.filesystem().write(at, b"more".to_vec(), offset))?;
            }
            Op::Resize { base, size } => {
                let at = fd(&self.open, base);
                now(live.filesystem().set_size(at, size))?;
            }
            Op::Mkdir { base, path } => now(live.create_directory_at(fd(&self.open, base), path))?,
            Op::Rmdir { base, path } => now(live.remove_directory_at(fd(&self.open, base), path))?,
            Op::Unlink { base, path } => now(live.unlink_file_at(fd(&self.open, base), path))?,
            Op::Rename { base, path, to_base, to } => {
                let (from, onto) = (fd(&self.open, base), fd(&self.open, to_base));
                now(live.rename_at(from, path, onto, to))?;
            }
            Op::Link { base, path, to_base, to } => {
                let (from, onto) = (fd(&self.open, base), fd(&self.open, to_base));
                now(live.link_at(from, follow(false), path, onto, to))?;
            }
            Op::Symlink { base, target, path } => now(live.symlink_at(fd(&self.open, base), target, path))?,
            Op::Times { base, path, follow: follows } => {
                let at = fd(&self.open, base);
                let time = || fs::NewTimestamp::Timestamp(wasi_time(77));
                match path {
                    Some(path) => now(live.set_times_at(at, follow(follows), path, time(), time()))?,
                    None => now(live.set_times(at, time(), time()))?,
                }
            }
        }
        Ok(())
    }

    fn undone(&self) {
        self.undo.with(|journal| journal.undo(None)).unwrap();
        self.is_as_before();
    }

    #[track_caller]
    fn is_as_before(&self) {
        let after = tree(&self.root());
        let differs = |(path, was): (&PathBuf, &String)| {
            let is = after.get(path);
            (is != Some(was)).then(|| format!("{} was {was:.200} and is {is:.200?}", path.display()))
        };
        let mut wrong: Vec<String> = self.before.iter().filter_map(differs).collect();
        wrong.extend(
            after.keys().filter(|path| !self.before.contains_key(*path)).map(|path| format!("{path:?} is new")),
        );
        assert_eq!(wrong, Vec::<String>::new());
    }
}

fn wasi_time(seconds: u64) -> wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime {
    wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime { seconds, nanoseconds: 5 }
}

/// One call of a guest. `base` is the number of an open descriptor.
#[derive(Debug, Clone)]
enum Op {
    Open { base: usize, path: String, follow: bool, flags: fs::OpenFlags, keep: bool },
    Folder { base: usize, path: String },
    Write { base: usize, offset: u64 },
    Resize { base: usize, size: u64 },
    Mkdir { base: usize, path: String },
    Rmdir { base: usize, path: String },
    Unlink { base: usize, path: String },
    Rename { base: usize, path: String, to_base: usize, to: String },
    Link { base: usize, path: String, to_base: usize, to: String },
    Symlink { base: usize, target: String, path: String },
    Times { base: usize, path: Option<String>, follow: bool },
}

fn write(path: &str, flags: fs::OpenFlags) -> Op {
    Op::Open { base: 0, path: path.to_owned(), follow: true, flags, keep: false }
}

fn rename(path: &str, to: &str) -> Op {
    Op::Rename { base: 0, path: path.to_owned(), to_base: 0, to: to.to_owned() }
}

fn unlink(path: &str) -> Op {
    Op::Unlink { base: 0, path: path.to_owned() }
}

fn rmdir(path: &str) -> Op {
    Op::Rmdir { base: 0, path: path.to_owned() }
}

fn mkdir(path: &str) -> Op {
    Op::Mkdir { base: 0, path: path.to_owned() }
}

/// Does all of it, which must change something, and undoes it.
#[track_caller]
fn is_undone(ops: &[Op]) {
    let mut case = Case::new();
    for op in ops {
        case.act(op).unwrap_or_else(|error| panic!("{op:?}: {error:?}"));
    }
    assert_ne!(tree(&case.root()), case.before, "nothing was done");
    case.undone();
    // Again: nothing.
    case.undone();
}

const CREATE: fs::OpenFlags = fs::OpenFlags::CREATE;

fn none() -> fs::OpenFlags {
    fs::OpenFlags::empty()
}

#[test]
fn a_new_file_is_removed() {
    is_undone(&[write("new", CREATE)]);
    is_undone(&[write("d/e/new", CREATE), write("d/e/new", none()), rename("d/e/new", "newer"), unlink("newer")]);
}

#[test]
fn content_comes_back_under_all_names_of_a_file() {
    is_undone(&[write("a", none())]);
    is_undone(&[write("twin", fs::OpenFlags::TRUNCATE), write("a", none())]);
    is_undone(&[write("large", CREATE | fs::OpenFlags::TRUNCATE)]);
    is_undone(&[write("link", none())]);
    is_undone(&[write("way/x", none())]);
    is_undone(&[write("dangling", CREATE)]);
}

#[test]
fn removed_files_come_back_with_their_links() {
    is_undone(&[unlink("a")]);
    is_undone(&[unlink("a"), unlink("twin")]);
    is_undone(&[unlink("a"), write("twin", none()), write("a", CREATE)]);
    is_undone(&[unlink("large"), unlink("link"), unlink("b")]);
}

#[test]
fn a_removed_tree_comes_back() {
    is_undone(&[unlink("d/e/deep"), rmdir("d/e"), unlink("d/x"), unlink("d/out"), rmdir("d")]);
    is_undone(&[rmdir("empty"), mkdir("empty"), write("empty/in", CREATE)]);
    is_undone(&[mkdir("new"), rename("d", "new/d"), unlink("new/d/x"), write("new/d/e/deep", none())]);
}

#[test]
fn renames_are_reversed() {
    is_undone(&[rename("a", "c"), write("a", CREATE)]);
    is_undone(&[rename("b", "a")]);
    is_undone(&[rename("large", "b"), rename("b", "d/x")]);
    is_undone(&[rename("d", "empty")]);
    is_undone(&[rename("d/e", "other/e"), write("other/e/deep", none()), rename("other", "d/e")]);
    is_undone(&[write("temporary", CREATE), rename("temporary", "a"), unlink("a")]);
    is_undone(&[rename("a", "1"), rename("b", "a"), rename("1", "b")]);
}

#[test]
fn links_sizes_and_times_are_reversed() {
    let link = |path: &str, to: &str| Op::Link { base: 0, path: path.to_owned(), to_base: 0, to: to.to_owned() };
    let symlink = Op::Symlink { base: 0, target: "a".to_owned(), path: "new-link".to_owned() };
    is_undone(&[link("b", "bee"), unlink("b"), write("bee", none())]);
    is_undone(&[symlink]);
    let times = |path: &str, follow| Op::Times { base: 0, path: Some(path.to_owned()), follow };
    is_undone(&[times("a", true), times("d", true)]);
    is_undone(&[times("link", true)]);
    let folder = Op::Folder { base: 0, path: "d".to_owned() };
    is_undone(&[folder, Op::Times { base: 1, path: None, follow: false }]);
    let keep = Op::Open { base: 0, path: "large".to_owned(), follow: true, flags: none(), keep: true };
    is_undone(&[keep, Op::Resize { base: 1, size: 5 }, Op::Write { base: 1, offset: 200_000 }]);
}

#[test]
fn changes_through_an_open_folder_that_was_renamed_are_found() {
    let open = Op::Folder { base: 0, path: "d".to_owned() };
    let in_it = Op::Open { base: 1, path: "new".to_owned(), follow: true, flags: CREATE, keep: false };
    let x = Op::Unlink { base: 1, path: "x".to_owned() };
    is_undone(&[open, rename("d", "other/moved"), in_it, x, mkdir("d"), write("d/x", CREATE)]);
}

#[test]
fn what_a_guest_is_told_of_links_has_nothing_of_the_journal() {
    let mut case = Case::new();
    case.act(&unlink("a")).unwrap();
    let follow = fs::PathFlags::empty();
    let stat = now(case.live.stat_at(case.at(0), follow, "twin".to_owned())).unwrap();
    assert_eq!(stat.link_count, 1);
    let keep = Op::Open { base: 0, path: "twin".to_owned(), follow: true, flags: none(), keep: true };
    case.act(&keep).unwrap();
    assert_eq!(now(case.live.stat(case.at(1))).unwrap().link_count, 1);
    case.undone();
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let mut case = Case::new();
    let refused = [mkdir("a"), mkdir("none/in"), rmdir("d"), rmdir("a"), unlink("d"), unlink("none"), rename("d", "a")];
    for op in refused.iter().chain(&[rename("d", "d/e/d"), rename("none", "b"), write("d/out", CREATE)]) {
        case.act(op).map(|()| op).unwrap_err();
    }
    case.is_as_before();
    case.act(&unlink("a")).unwrap();
    case.undone();
}

fn path() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "a",
        "b",
        "c",
        "twin",
        "large",
        "link",
        "way",
        "way/x",
        "dangling",
        "nothing",
        "d",
        "d/x",
        "d/e",
        "d/e/deep",
        "d/e/..",
        "d/../b",
        "empty",
        "empty/in",
        "other",
        "other/y",
        "x",
        "in",
        ".",
        "..",
        "d/",
        "way/e/deep",
        "empty/d",
    ];
    prop::sample::select(NAMES).prop_map(str::to_owned)
}

fn op() -> impl Strategy<Value = Op> {
    let base = || 0_usize..6;
    let flags = prop::sample::select(vec![
        none(),
        CREATE,
        CREATE | fs::OpenFlags::EXCLUSIVE,
        fs::OpenFlags::TRUNCATE,
        CREATE | fs::OpenFlags::TRUNCATE,
    ]);
    prop_oneof![
        4 => (base(), path(), any::<bool>(), flags, any::<bool>())
            .prop_map(|(base, path, follow, flags, keep)| Op::Open { base, path, follow, flags, keep }),
        2 => (base(), path()).prop_map(|(base, path)| Op::Folder { base, path }),
        1 => (base(), 0_u64..9).prop_map(|(base, offset)| Op::Write { base, offset }),
        1 => (base(), 0_u64..9).prop_map(|(base, size)| Op::Resize { base, size }),
        2 => (base(), path()).prop_map(|(base, path)| Op::Mkdir { base, path }),
        2 => (base(), path()).prop_map(|(base, path)| Op::Rmdir { base, path }),
        4 => (base(), path()).prop_map(|(base, path)| Op::Unlink { base, path }),
        5 => (base(), path(), base(), path())
            .prop_map(|(base, path, to_base, to)| Op::Rename { base, path, to_base, to }),
        2 => (base(), path(), base(), path()).prop_map(|(base, path, to_base, to)| Op::Link { base, path, to_base, to }),
        1 => (base(), path(), path()).prop_map(|(base, target, path)| Op::Symlink { base, target, path }),
        1 => (base(), prop::option::of(path()), any::<bool>())
            .prop_map(|(base, path, follow)| Op::Times { base, path, follow }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_is_undone(ops in prop::collection::vec(op(), 1..25)) {
        let mut case = Case::new();
        for op in &ops {
            drop(case.act(op));
        }
        case.undone();
    }

    /// Undoing is killed after some records, or between an inverse and the note that it was done, and begun again from the folder.
    #[test]
    fn an_interrupted_undo_is_finished(ops in prop::collection::vec(op(), 1..20), stops in prop::collection::vec(0_usize..6, 1..6)) {
        let mut case = Case::new();
        for op in &ops {
            drop(case.act(op));
        }
        let folder = case.folder.path().join("journal");
        for (at, stop) in stops.iter().enumerate() {
            // Nothing was changed: there is nothing to interrupt.
            let Some(mut journal) = Journal::open_if_begun(&folder).unwrap() else { break };
            if at % 2 == 0 {
                journal.undo_at_most(*stop, None).unwrap();
            } else {
                journal.fail_after(*stop);
                drop(journal.undo(None));
            }
        }
        if let Some(mut journal) = Journal::open_if_begun(&folder).unwrap() {
            journal.undo(None).unwrap();
        }
        case.is_as_before();
    }
}

/// Two steps in one folder, the second under `claims`.
fn claimed(first: &[(&str, Access)]) -> (Case, Claims) {
    let mut case = Case::new();
    let claims = Claims::new(|_, _| false);
    (0..2).for_each(|position| claims.enter(position, || {}));
    for (path, access) in first {
        claims.claim(0, &case.root().canonicalize().unwrap().join(path), *access).unwrap();
    }
    case.undo = case.undo.clone().with_claims(claims.clone(), 1);
    case.live.undo = Some(case.undo.clone());
    (case, claims)
}

fn never_returns(op: &Op, first: (&str, Access)) {
    let (mut case, claims) = claimed(&[first]);
    let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(case.act(op))));
    assert!(acted.is_err(), "it is pending until it is cancelled");
    assert_eq!(claims.lost(1).unwrap().with, 0);
    assert_eq!(tree(&case.root()), case.before);
}

#[test]
fn a_call_that_loses_its_path_never_returns() {
    never_returns(&write("a", none()), ("a", Access::Read));
    never_returns(&write("link", none()), ("a", Access::Write));
    never_returns(&mkdir("d/new"), ("d", Access::List));
    never_returns(&rename("d", "elsewhere"), ("d/e/deep", Access::Read));
    never_returns(&unlink("d/x"), ("d", Access::Write));
}

#[test]
fn calls_that_touch_other_paths_go_on() {
    let (mut case, claims) = claimed(&[("a", Access::Read), ("d/e", Access::List), ("d", Access::Enter)]);
    for op in [write("b", none()), write("d/x", none()), mkdir("d/new")] {
        case.act(&op).unwrap();
    }
    assert_eq!(claims.lost(1), None);
}
