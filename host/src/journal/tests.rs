mod refused;

use std::os::unix::fs::FileExt as _;

use super::restore::Undone;
use super::touched::{ReadState, Touched};
use super::*;

impl Journal {
    /// Lets the journal's file take so many more frames or pieces.
    pub(crate) fn fail_after(&mut self, writes: usize) {
        self.fault = Some(save::Fault { after: writes });
    }

    /// Lets it take so many records.
    pub(crate) fn bound_records(&mut self, records: usize) {
        self.bounds.records = records;
    }
}

/// A granted folder, and a journal beside it.
struct Case {
    folder: tempfile::TempDir,
    root: Arc<File>,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        let root = Arc::new(File::open(folder.path().join("root")).unwrap());
        Self { folder, root }
    }

    fn journal(&self, name: &str, durability: Durability) -> Journal {
        let root = Root::new("/w".to_owned(), self.root.try_clone().unwrap()).unwrap();
        Journal::create(&self.folder.path().join(name), 0, vec![root], durability).unwrap()
    }

    fn open(&self, name: &str) -> Journal {
        Journal::open(&self.folder.path().join(name)).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    fn at<'a>(&'a self, path: &'a str) -> At<'a> {
        At { folder: &self.root, path: OsStr::new(path) }
    }

    fn opening<'a>(&'a self, path: &'a str) -> Change<'a> {
        Change::Open { at: self.at(path), follow: true, create: true, exclusive: false }
    }

    /// Notes it and writes a file.
    fn write(&self, journal: &mut Journal, path: &str, content: &[u8]) {
        let ticket = journal.before(self.opening(path)).unwrap();
        fs::write(self.path(path), content).unwrap();
        journal.after(ticket, true, Some(&File::open(self.path(path)).unwrap())).unwrap();
    }

    fn unlink(&self, journal: &mut Journal, path: &str) {
        let ticket = journal.before(Change::Unlink(self.at(path))).unwrap();
        fs::remove_file(self.path(path)).unwrap();
        journal.after(ticket, true, None).unwrap();
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }
}

#[test]
fn it_is_found_again_in_its_folder() {
    let case = Case::new();
    fs::write(case.path("a"), "one").unwrap();
    let mut journal = case.journal("journal/s.1", Durability::Full);
    case.write(&mut journal, "a", b"two");
    case.write(&mut journal, "b", b"new");
    drop(journal);
    let undone = case.open("journal/s.1").undo(None).unwrap();
    assert_eq!(undone.records, 3, "{undone:?}");
    assert_eq!((case.text("a").as_deref(), case.text("b")), (Some("one"), None));
    assert_eq!(case.open("journal/s.1").undo(None).unwrap(), Undone::default());
}

#[test]
fn it_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let case = Case::new();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    case.journal("j", Durability::Buffered).seal().unwrap();
    assert_eq!(mode(case.folder.path().join("j")), 0o600);
    case.write(&mut case.journal("k", Durability::Full), "new", b"");
    assert_eq!(mode(case.folder.path().join("k")), 0o600);
    drop(case.journal("journals/s.1", Durability::Buffered));
    assert_eq!(mode(case.folder.path().join("journals")), 0o700);
}

#[test]
fn a_torn_record_has_not_happened() {
    let case = Case::new();
    for (name, content) in [("a", "one"), ("b", "two")] {
        fs::write(case.path(name), content).unwrap();
    }
    let mut journal = case.journal("j", Durability::Buffered);
    case.write(&mut journal, "a", b"changed");
    let whole = journal.end;
    drop(journal.before(case.opening("b")).unwrap());
    let torn = journal.end;
    drop(journal);
    let records = case.folder.path().join("j");
    for end in (whole..torn).rev().step_by(7) {
        let file = fs::OpenOptions::new().write(true).open(&records).unwrap();
        file.set_len(end).unwrap();
        assert_eq!(case.open("j").end, whole);
    }
    // Damaged is as good as torn.
    let file = fs::OpenOptions::new().write(true).open(&records).unwrap();
    file.write_all_at(&[7; 40], whole).unwrap();
    case.open("j").undo(None).unwrap();
    assert_eq!((case.text("a").as_deref(), case.text("b").as_deref()), (Some("one"), Some("two")));
}

#[test]
fn a_journal_cut_off_at_its_beginning_undoes_nothing() {
    let case = Case::new();
    fs::write(case.path("a"), "one").unwrap();
    drop(case.journal("j", Durability::Buffered));
    fs::write(case.folder.path().join("j"), b"\0\0").unwrap();
    assert_eq!(case.open("j").undo(None).unwrap(), Undone::default());
    assert_eq!(case.text("a").as_deref(), Some("one"));
}

#[test]
fn a_journal_that_was_only_just_begun_is_none() {
    let case = Case::new();
    let path = case.folder.path().join("j");
    assert!(Journal::open_if_begun(&path).unwrap().is_none());
    fs::write(&path, "").unwrap();
    assert!(Journal::open_if_begun(&path).unwrap().is_none());
    assert_eq!(fs::read(&path).unwrap(), b"");
    Journal::remove_all(&path).unwrap();
    let mut journal = case.journal("j", Durability::Buffered);
    journal.undo(None).unwrap();
    assert!(!path.exists(), "nothing was changed, nothing is written");
    assert!(Journal::touched(&path).is_none());
    case.write(&mut journal, "new", b"new");
    assert!(Journal::open_if_begun(&path).unwrap().is_some());
}

#[test]
fn without_room_for_it_nothing_is_noted_and_nothing_lost() {
    let case = Case::new();
    fs::write(case.path("small"), "small").unwrap();
    fs::write(case.path("large"), vec![1; 3 << 20]).unwrap();
    for (name, path) in [("1", "small"), ("2", "large"), ("3", "new")] {
        let mut journal = case.journal(name, Durability::Buffered);
        journal.fail_after(0);
        let error = journal.before(case.opening(path)).unwrap_err();
        assert!(matches!(error, JournalError::Io { .. } | JournalError::Unsaved { .. }), "{error:?}");
        assert!(!Journal::beside(&case.folder.path().join(name), ".pre-0").exists(), "the half copy is gone");
        assert!(Journal::open_if_begun(&case.folder.path().join(name)).unwrap().is_none());
        journal.undo(None).unwrap();
    }
    assert_eq!(case.text("small").as_deref(), Some("small"));
}

#[test]
fn the_bounds_end_it() {
    let case = Case::new();
    fs::write(case.path("a"), "12345").unwrap();
    let mut journal = case.journal("j", Durability::Buffered);
    journal.bounds.bytes = 4;
    let full = |error: JournalError| match error {
        JournalError::Full { what, allowed } => (what, allowed),
        other => panic!("{other:?}"),
    };
    assert_eq!(full(journal.before(case.opening("a")).unwrap_err()), ("bytes", 4));
    journal.bounds = Bounds { records: 2, bytes: 5 };
    case.write(&mut journal, "a", b"x");
    assert_eq!(full(journal.before(case.opening("b")).unwrap_err()), ("records", 2));
    journal.undo(None).unwrap();
    assert_eq!(case.text("a").as_deref(), Some("12345"));
}

#[test]
fn what_undoing_changes_can_be_undone() {
    let case = Case::new();
    fs::write(case.path("a"), "before").unwrap();
    fs::write(case.path("gone"), "gone").unwrap();
    let mut step = case.journal("step", Durability::Buffered);
    case.write(&mut step, "a", b"after");
    case.write(&mut step, "new", b"new");
    case.unlink(&mut step, "gone");
    let mut undoing = case.journal("undoing", Durability::Buffered);
    step.undo(Some(&mut undoing)).unwrap();
    let state = || (case.text("a"), case.text("new"), case.text("gone"));
    assert_eq!(state(), (Some("before".to_owned()), None, Some("gone".to_owned())));
    undoing.undo(None).unwrap();
    assert_eq!(state(), (Some("after".to_owned()), Some("new".to_owned()), None));
}

#[test]
fn a_folder_with_something_of_others_stays() {
    let case = Case::new();
    let mut journal = case.journal("j", Durability::Buffered);
    let ticket = journal.before(Change::Make(case.at("made"))).unwrap();
    fs::create_dir(case.path("made")).unwrap();
    journal.after(ticket, true, None).unwrap();
    fs::write(case.path("made/foreign"), "not ours").unwrap();
    assert_eq!(journal.undo(None).unwrap().kept, ["/w/made"]);
    assert_eq!(case.text("made/foreign").as_deref(), Some("not ours"));
}

/// 100 MB are saved and put back in pieces: measured in a process that does nothing else.
#[test]
fn a_large_file_is_never_in_memory() {
    const ALONE: &str = "SKILLHOST_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let name = "journal::tests::a_large_file_is_never_in_memory";
        let ended = alone.args(["--exact", name]).env(ALONE, "1").output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
        assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"));
        return;
    }
    let case = Case::new();
    let file = File::create(case.path("large")).unwrap();
    for piece in 0..100_u8 {
        file.write_all_at(&vec![piece + 1; 1 << 20], u64::from(piece) << 20).unwrap();
    }
    let mut journal = case.journal("j", Durability::Buffered);
    let before = peak_kib();
    case.write(&mut journal, "large", b"short");
    journal.undo(None).unwrap();
    assert_eq!(fs::metadata(case.path("large")).unwrap().len(), 100 << 20);
    let mut byte = [0];
    File::open(case.path("large")).unwrap().read_exact_at(&mut byte, 99 << 20).unwrap();
    assert_eq!(byte, [100]);
    if let Some((before, after)) = before.zip(peak_kib()) {
        assert!(after - before < 20 << 10, "{before} KiB before, {after} KiB at the peak");
    }
}

/// The most memory that this process has used, where the system says.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().split(' ').next()?.parse().ok()
}

fn kinds(changes: Vec<PathChange>) -> Vec<(String, ChangeKind)> {
    changes.into_iter().map(|change| (change.guest, change.kind)).collect()
}

#[test]
fn what_a_step_changed_is_told_by_path() {
    let case = Case::new();
    for (name, content) in [("a", "one"), ("same", "same"), ("gone", "gone"), ("old", "old"), ("replaced", "1")] {
        fs::write(case.path(name), content).unwrap();
    }
    let mut journal = case.journal("j", Durability::Full);
    case.write(&mut journal, "a", b"two");
    case.write(&mut journal, "same", b"same");
    case.write(&mut journal, "new", b"new");
    case.write(&mut journal, "brief", b"brief");
    case.unlink(&mut journal, "brief");
    case.unlink(&mut journal, "gone");
    case.write(&mut journal, "temporary", b"2");
    for (from, to) in [("old", "renamed"), ("temporary", "replaced")] {
        let ticket = journal.before(Change::Rename { from: case.at(from), to: case.at(to) }).unwrap();
        fs::rename(case.path(from), case.path(to)).unwrap();
        journal.after(ticket, true, None).unwrap();
    }
    let expected = vec![
        ("/w/a".to_owned(), ChangeKind::Modified),
        ("/w/gone".to_owned(), ChangeKind::Removed),
        ("/w/new".to_owned(), ChangeKind::Created),
        ("/w/renamed".to_owned(), ChangeKind::Renamed { from: "/w/old".to_owned() }),
        ("/w/replaced".to_owned(), ChangeKind::Modified),
    ];
    assert_eq!(kinds(journal.seal().unwrap()), expected);
    let mut journal = case.open("j");
    assert!(journal.is_sealed());
    assert_eq!(kinds(journal.changes().unwrap()), expected);
    assert_eq!(journal.conflicts().unwrap(), []);
    journal.undo(None).unwrap();
    assert_eq!((case.text("old").as_deref(), case.text("replaced").as_deref()), (Some("old"), Some("1")));
    assert_eq!((case.text("new"), case.text("temporary")), (None, None));
}

#[test]
fn what_was_changed_since_is_shown() {
    let case = Case::new();
    fs::write(case.path("a"), "one\ntwo\n").unwrap();
    fs::write(case.path("binary"), [0, 1]).unwrap();
    let mut journal = case.journal("j", Durability::Buffered);
    case.write(&mut journal, "a", b"one\nTWO\n");
    case.write(&mut journal, "binary", &[0, 2]);
    case.write(&mut journal, "new", b"new\n");
    journal.seal().unwrap();
    fs::write(case.path("a"), "one\nTWO\nthree\n").unwrap();
    fs::write(case.path("binary"), [0, 3]).unwrap();
    fs::remove_file(case.path("new")).unwrap();
    let conflicts = journal.conflicts().unwrap();
    let what: Vec<(&str, &str)> = conflicts.iter().map(|one| (one.path.as_str(), one.what.as_str())).collect();
    let changed = "it was changed since";
    assert_eq!(what, [("/w/a", changed), ("/w/binary", changed), ("/w/new", "it was removed since")]);
    let diff = conflicts[0].diff.as_deref().unwrap();
    assert!(diff.contains("-TWO\n-three\n+two\n"), "{diff}");
    assert_eq!((conflicts[1].diff.as_ref(), conflicts[2].diff.as_ref()), (None, None));
}

#[test]
fn what_undoing_has_begun_is_no_conflict_with_itself() {
    for begun in 0..4 {
        let case = Case::new();
        fs::write(case.path("a"), "0").unwrap();
        let mut journal = case.journal("j", Durability::Buffered);
        case.write(&mut journal, "a", b"1");
        case.write(&mut journal, "new", b"new\n");
        journal.seal().unwrap();
        journal.undo_at_most(begun, None).unwrap();
        drop(journal);
        // As if the next inverse had been interrupted before it was noted.
        fs::write(case.path("a"), "").unwrap();
        let mut journal = case.open("j");
        assert_eq!(journal.conflicts().unwrap(), [], "{begun}");
        assert_eq!(Journal::conflicts_of([&journal]).unwrap(), [], "{begun}");
        journal.undo(None).unwrap();
        assert_eq!(case.text("new"), None);
    }
}

#[test]
fn steps_are_undone_together_where_nobody_else_came_between() {
    let case = Case::new();
    fs::write(case.path("a"), "0").unwrap();
    let steps: Vec<Journal> = (1..4)
        .map(|step| {
            let mut journal = case.journal(&step.to_string(), Durability::Buffered);
            case.write(&mut journal, "a", step.to_string().as_bytes());
            journal.seal().unwrap();
            journal
        })
        .collect();
    assert_eq!(Journal::conflicts_of(steps.iter().rev()).unwrap(), []);
    assert_eq!(steps[0].conflicts().unwrap().len(), 1, "by itself it would undo the others");
    for mut step in steps.into_iter().rev() {
        assert_eq!(step.conflicts().unwrap(), []);
        step.undo(None).unwrap();
    }
    assert_eq!(case.text("a").as_deref(), Some("0"));
}

#[test]
fn a_removed_link_of_a_file_is_one_again_after_later_steps() {
    use std::os::unix::fs::MetadataExt as _;
    let case = Case::new();
    fs::write(case.path("a"), "one").unwrap();
    fs::hard_link(case.path("a"), case.path("b")).unwrap();
    let mut journal = case.journal("j", Durability::Full);
    case.unlink(&mut journal, "a");
    journal.seal().unwrap();
    assert_eq!(fs::metadata(case.path("b")).unwrap().nlink(), 1, "later steps see no name of the journal");
    case.open("j").undo(None).unwrap();
    let (a, b) = (fs::metadata(case.path("a")).unwrap(), fs::metadata(case.path("b")).unwrap());
    assert_eq!((a.ino(), a.nlink()), (b.ino(), 2));
}

/// A step that read, asked, listed and wrote, completed.
fn looked(case: &Case) -> Touched {
    for (name, content) in [("in", "input"), ("asked", "12"), ("log", "line\n")] {
        fs::write(case.path(name), content).unwrap();
    }
    fs::create_dir(case.path("d")).unwrap();
    fs::write(case.path("d/x"), "x").unwrap();
    std::os::unix::fs::symlink("in", case.path("link")).unwrap();
    let mut journal = case.journal("j", Durability::Buffered);
    journal.look(case.at("link"), true, Look::Content);
    journal.look(case.at("asked"), true, Look::Stat);
    journal.look(case.at("none/deep"), true, Look::Stat);
    journal.look(case.at("log"), true, Look::Content);
    journal.list(&File::open(case.path("d")).unwrap());
    case.write(&mut journal, "log", b"line\nmore\n");
    case.write(&mut journal, "d/out", b"out");
    journal.look(case.at("d/out"), true, Look::Content);
    journal.seal().unwrap();
    Journal::touched(&case.folder.path().join("j")).unwrap()
}

impl Case {
    fn still(&self, touched: &Touched) -> Result<(), String> {
        let root = Root::new("/w".to_owned(), self.root.try_clone().unwrap()).unwrap();
        touched.still(&[root]).map_err(|changed| changed.path)
    }
}

#[test]
fn what_a_step_looked_at_is_known() {
    let case = Case::new();
    let touched = looked(&case);
    assert!(touched.complete);
    let reads: Vec<&str> = touched.reads.keys().map(String::as_str).collect();
    assert_eq!(reads, ["/w/asked", "/w/d", "/w/in", "/w/link", "/w/log", "/w/none"]);
    let then = &touched.reads["/w/log"].state;
    let digest = crate::id::Digest::of(b"\0\0\0\0\0\0\0\0line\n\x05\0\0\0\0\0\0\0");
    assert!(matches!(then, ReadState::File { len: 5, sha256, .. } if *sha256 == digest), "as it saw it: {then:?}");
    assert_eq!(touched.writes.keys().map(String::as_str).collect::<Vec<_>>(), ["/w/d/out", "/w/log"]);
    assert_eq!(case.still(&touched), Ok(()));
}

#[test]
fn any_change_of_what_a_step_looked_at_or_left_is_seen() {
    type Change = fn(&Case);
    let changes: [(Change, Result<(), &str>); 9] = [
        (|case| fs::write(case.path("in"), "INPUT").unwrap(), Err("/w/in")),
        (|case| fs::write(case.path("in"), "input").unwrap(), Ok(())),
        (|case| fs::write(case.path("asked"), "34").unwrap(), Ok(())),
        (|case| fs::write(case.path("asked"), "345").unwrap(), Err("/w/asked")),
        (|case| fs::create_dir(case.path("none")).unwrap(), Err("/w/none")),
        (|case| fs::write(case.path("d/y"), "").unwrap(), Err("/w/d")),
        (|case| fs::write(case.path("d/x"), "other").unwrap(), Ok(())),
        (|case| fs::write(case.path("log"), "line\n").unwrap(), Err("/w/log")),
        (|case| fs::rename(case.path("asked"), case.path("link")).unwrap(), Err("/w/asked")),
    ];
    for (change, expected) in changes {
        let case = Case::new();
        let touched = looked(&case);
        change(&case);
        assert_eq!(case.still(&touched), expected.map_err(str::to_owned));
    }
}

#[test]
fn a_step_that_looked_at_too_much_is_run_again() {
    let case = Case::new();
    let mut journal = case.journal("j", Durability::Buffered);
    for path in 0..=limits::READS_MAX {
        journal.look(case.at(&path.to_string()), true, Look::Stat);
    }
    journal.seal().unwrap();
    let touched = Journal::touched(&case.folder.path().join("j")).unwrap();
    assert!(!touched.complete);
    assert_eq!(case.still(&touched), Err("/".to_owned()));
}

#[test]
fn a_step_that_looked_at_what_is_too_much_to_write_down_is_run_again() {
    let case = Case::new();
    let mut journal = case.journal("j", Durability::Buffered);
    let long = "long".repeat(60);
    let most = usize::try_from(limits::JOURNAL_LOOKED_BYTES_MAX).unwrap() / long.len();
    for path in 0..most {
        journal.look(case.at(&format!("{long}{path}")), true, Look::Stat);
    }
    case.write(&mut journal, "out", b"out");
    journal.seal().unwrap();
    let touched = Journal::touched(&case.folder.path().join("j")).unwrap();
    assert!(!touched.complete && touched.reads.is_empty() && touched.writes.contains_key("/w/out"));
    assert!(case.open("j").is_sealed());
}

#[test]
fn a_granted_directory_inside_of_another_may_be_renamed() {
    let case = Case::new();
    fs::create_dir(case.path("inner")).unwrap();
    let inner = File::open(case.path("inner")).unwrap();
    let root = |guest: &str, handle: &File| Root::new(guest.to_owned(), handle.try_clone().unwrap()).unwrap();
    let roots = vec![root("/inner", &inner), root("/w", &case.root)];
    let mut journal = Journal::create(&case.folder.path().join("j"), 0, roots, Durability::Full).unwrap();
    let ticket = journal.before(Change::Rename { from: case.at("inner"), to: case.at("moved") }).unwrap();
    fs::rename(case.path("inner"), case.path("moved")).unwrap();
    journal.after(ticket, true, None).unwrap();
    let ticket = journal.before(Change::Make(At { folder: &inner, path: OsStr::new("new") })).unwrap();
    fs::create_dir(case.path("moved/new")).unwrap();
    journal.after(ticket, true, None).unwrap();
    drop(journal);
    case.open("j").undo(None).unwrap();
    assert!(case.path("inner").is_dir() && !case.path("inner/new").exists() && !case.path("moved").exists());
}

/// The journal of a step whose first change took a spare file.
fn with_spare(case: &Case) -> (Journal, PathBuf) {
    let journals = case.folder.path().join("journals");
    let root = Root::new("/w".to_owned(), case.root.try_clone().unwrap()).unwrap();
    let journal = Journal::create(&journals.join("step.1"), 7, vec![root], Durability::Full).unwrap();
    (journal.with_spares(Some(Spares::in_folder(&journals))), journals)
}

#[test]
fn a_first_change_takes_a_spare_file_and_what_is_left_goes() {
    let case = Case::new();
    fs::write(case.path("a"), "before").unwrap();
    let (mut journal, journals) = with_spare(&case);
    assert_eq!(fs::read_dir(&journals).unwrap().count(), 0, "none is made before it is needed");
    case.write(&mut journal, "a", b"after");
    drop(journal);
    assert_eq!(Journal::number(&journals.join("step.1")).unwrap(), Some(7));
    let names: Vec<_> = fs::read_dir(&journals).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["step.1"]);
    Journal::open(&journals.join("step.1")).unwrap().undo(None).unwrap();
    assert_eq!(case.text("a").as_deref(), Some("before"));
}

#[test]
fn records_whose_rename_was_lost_are_found_again() {
    for is_there in [false, true] {
        let case = Case::new();
        fs::write(case.path("a"), "before").unwrap();
        let (mut journal, journals) = with_spare(&case);
        case.write(&mut journal, "a", b"after");
        drop(journal);
        // As a disk may have it after a power failure: the bytes were synced, no name was.
        fs::rename(journals.join("step.1"), journals.join("spare-7")).unwrap();
        if is_there {
            fs::write(journals.join("step.1"), "").unwrap();
        }
        fs::write(journals.join("spare-6"), "").unwrap();
        adopt(&journals).unwrap();
        assert_eq!(fs::read_dir(&journals).unwrap().count(), 1);
        Journal::open(&journals.join("step.1")).unwrap().undo(None).unwrap();
        assert_eq!(case.text("a").as_deref(), Some("before"), "{is_there}");
    }
}

#[test]
fn a_spare_file_with_the_beginning_alone_is_no_journal() {
    let case = Case::new();
    let (mut journal, journals) = with_spare(&case);
    let begun = record::frame(&journal.records, &[]).unwrap();
    case.write(&mut journal, "new", b"new");
    drop(journal);
    fs::write(journals.join("spare-7"), begun).unwrap();
    adopt(&journals).unwrap();
    Journal::open(&journals.join("step.1")).unwrap().undo(None).unwrap();
    assert_eq!(case.text("new"), None);
}

#[test]
fn a_journal_is_removed_with_what_is_beside_it_and_no_other() {
    let case = Case::new();
    for name in ["a", "a.1"] {
        fs::write(case.path("large"), vec![1; 1 << 17]).unwrap();
        let mut journal = case.journal(&format!("j/{name}.1"), Durability::Full);
        case.write(&mut journal, "large", b"small");
        fs::write(Journal::beside(&case.folder.path().join(format!("j/{name}.1")), CLAIMED), "{}").unwrap();
    }
    let names = || {
        let entries = fs::read_dir(case.folder.path().join("j")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let of_other = ["a.1.1", "a.1.1.claimed.json", "a.1.1.pre-0"];
    assert_eq!(names(), ["a.1", "a.1.1", "a.1.1.claimed.json", "a.1.1.pre-0", "a.1.claimed.json", "a.1.pre-0"]);
    Journal::remove_all(&case.folder.path().join("j/a.1")).unwrap();
    assert_eq!(names(), of_other);
    Journal::remove_all(&case.folder.path().join("j/a.1")).unwrap();
    assert_eq!(names(), of_other);
}
