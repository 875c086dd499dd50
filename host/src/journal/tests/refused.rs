//! What the system refuses, and what stands in the way of undoing: the rest is put back, and nothing is put back twice.

use super::*;

#[test]
fn what_cannot_be_put_back_keeps_nothing_else_from_it() {
    let case = Case::new();
    for name in ["a", "b", "c"] {
        fs::write(case.path(name), name).unwrap();
    }
    let mut journal = case.journal("j", Durability::Full);
    case.write(&mut journal, "a", b"changed");
    case.write(&mut journal, "new", b"made");
    case.write(&mut journal, "b", b"changed");
    case.write(&mut journal, "c", b"changed");
    // Somebody puts something else in the place of one.
    fs::remove_file(case.path("b")).unwrap();
    fs::create_dir(case.path("b")).unwrap();
    let error = journal.undo(None).unwrap_err();
    assert!(matches!(&error, JournalError::Unrestored { path, .. } if path == "/w/b"), "{error:?}");
    assert_eq!((case.text("a").as_deref(), case.text("c").as_deref(), case.text("new")), (Some("a"), Some("c"), None));
    assert!(journal.is_undone_in_part() && !journal.is_undone());
    drop(journal);
    // What is put back is not put back again, whatever is there by now: also by another process.
    fs::write(case.path("new"), "somebody's").unwrap();
    fs::write(case.path("a"), "somebody's").unwrap();
    case.open("j").undo(None).unwrap_err();
    fs::remove_dir(case.path("b")).unwrap();
    let mut journal = case.open("j");
    journal.undo(None).unwrap();
    assert!(journal.is_undone());
    assert_eq!(case.text("b").as_deref(), Some("b"));
    assert_eq!((case.text("new").as_deref(), case.text("a").as_deref()), (Some("somebody's"), Some("somebody's")));
}

#[test]
fn what_has_to_do_with_it_waits() {
    let case = Case::new();
    fs::create_dir(case.path("d")).unwrap();
    fs::write(case.path("d/x"), "x").unwrap();
    fs::write(case.path("other"), "other").unwrap();
    let mut journal = case.journal("j", Durability::Buffered);
    case.write(&mut journal, "other", b"changed");
    case.write(&mut journal, "d/x", b"changed");
    let (from, to) = (case.at("d"), case.at("e"));
    let ticket = journal.before(Change::Rename { from, to }).unwrap();
    fs::rename(case.path("d"), case.path("e")).unwrap();
    journal.after(ticket, true, None).unwrap();
    case.write(&mut journal, "e/x", b"changed again");
    fs::remove_file(case.path("e/x")).unwrap();
    fs::create_dir(case.path("e/x")).unwrap();
    // The name of a directory is not given back while something in it waits.
    drop(case.open("j").undo(None));
    assert_eq!(case.text("other").as_deref(), Some("other"));
    if case.path("e/x").is_dir() {
        fs::remove_dir(case.path("e/x")).unwrap();
    } else {
        fs::remove_dir(case.path("d/x")).unwrap();
    }
    case.open("j").undo(None).unwrap();
    assert_eq!((case.text("d/x").as_deref(), case.path("e").exists()), (Some("x"), false));
}

#[test]
fn a_file_that_still_is_as_it_was_saved_needs_no_putting_back() {
    let case = Case::new();
    fs::write(case.path("a"), "a").unwrap();
    fs::write(case.path("program"), "p").unwrap();
    let before = fs::metadata(case.path("a")).unwrap().modified().unwrap();
    let mut journal = case.journal("j", Durability::Buffered);
    for name in ["a", "program"] {
        // It was noted, and the call was refused.
        let ticket = journal.before(case.opening(name)).unwrap();
        journal.after(ticket, false, None).unwrap();
    }
    case.write(&mut journal, "new", b"made");
    journal.undo(None).unwrap();
    assert_eq!((case.text("a").as_deref(), case.text("new")), (Some("a"), None));
    assert_eq!(fs::metadata(case.path("a")).unwrap().modified().unwrap(), before);
}

#[test]
fn a_copy_is_of_the_journal_that_it_is_beside_of() {
    assert_eq!(Journal::name_of("w.1.pre-0"), Some("w.1"));
    assert_eq!(Journal::name_of("w.1.pre-0.new"), Some("w.1"));
    assert_eq!(Journal::name_of("w.1.claimed.json"), Some("w.1"));
    for name in ["w.1", "w.1.undo", "spare-0"] {
        assert_eq!(Journal::name_of(name), None, "{name}");
    }
}
