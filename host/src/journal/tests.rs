use std::os::unix::fs::FileExt as _;

use super::restore::Undone;
use super::*;

impl Journal {
    /// Lets the journal's file take so many more frames or pieces.
    pub(crate) fn fail_after(&mut self, writes: usize) {
        self.fault = Some(save::Fault { after: writes });
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
        Journal::create(&self.folder.path().join(name), vec![root], durability).unwrap()
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
    drop(case.journal("j", Durability::Buffered));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(case.folder.path().join("j")), 0o700);
    assert_eq!(mode(case.folder.path().join("j/records")), 0o600);
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
    let records = case.folder.path().join("j/records");
    for end in (whole..torn).rev().step_by(7) {
        let file = OpenOptions::new().write(true).open(&records).unwrap();
        file.set_len(end).unwrap();
        assert_eq!(case.open("j").end, whole);
    }
    // Damaged is as good as torn.
    let file = OpenOptions::new().write(true).open(&records).unwrap();
    file.write_all_at(&[7; 40], whole).unwrap();
    case.open("j").undo(None).unwrap();
    assert_eq!((case.text("a").as_deref(), case.text("b").as_deref()), (Some("one"), Some("two")));
}

#[test]
fn a_journal_cut_off_at_its_beginning_undoes_nothing() {
    let case = Case::new();
    fs::write(case.path("a"), "one").unwrap();
    drop(case.journal("j", Durability::Buffered));
    fs::write(case.folder.path().join("j/records"), b"\0\0").unwrap();
    assert_eq!(case.open("j").undo(None).unwrap(), Undone::default());
    assert_eq!(case.text("a").as_deref(), Some("one"));
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
        let records = fs::read_dir(case.folder.path().join(name)).unwrap().count();
        assert_eq!(records, 1, "the half copy is gone");
        case.open(name).undo(None).unwrap();
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
