//! The thread that writes.

use super::*;

#[test]
fn what_a_ticket_was_waited_for_is_in_the_index() {
    let case = Case::new();
    let writer = IndexWriter::start(case.begun()).unwrap();
    let events = samples::every_outcome();
    for row in rows(&events) {
        writer.commit(case.id(), vec![row]).wait().unwrap();
    }
    let seen = case.open().run(case.id()).unwrap().unwrap();
    assert_eq!(seen.events, events.len() as u64);
    let error = writer.commit("nobody", Vec::new()).wait().unwrap_err();
    assert!(matches!(error, IndexError::NoSuchRun { .. }), "{error}");
}

#[test]
fn a_group_is_written_in_order_and_one_that_is_refused_alone() {
    let case = Case::new();
    let mut index = case.begun();
    let second = case.store.create_run().unwrap();
    index.begin_run(&NewRun { id: second.id().to_owned(), resumed_from: None }).unwrap();
    let writer = IndexWriter::start(index).unwrap();
    let all = rows(&samples::every_outcome());
    // The thread is kept busy, so that what follows becomes one group.
    let (busy, free) = std::sync::mpsc::channel::<()>();
    let tickets = std::thread::scope(|scope| {
        scope.spawn(|| writer.with(move |_| free.recv().unwrap()).unwrap());
        let mut tickets = Vec::new();
        for row in &all {
            tickets.push((true, writer.commit(case.id(), vec![row.clone()])));
            tickets.push((false, writer.commit("nobody", vec![row.clone()])));
            tickets.push((true, writer.commit(second.id(), vec![row.clone()])));
        }
        busy.send(()).unwrap();
        tickets
    });
    for (good, ticket) in tickets {
        assert_eq!(ticket.wait().is_ok(), good);
    }
    let runs = writer.with(|index| index.runs(&RunFilter::default()).unwrap()).unwrap();
    assert_eq!(runs.iter().map(|run| run.status).collect::<Vec<_>>(), [RunStatus::Failed; 2]);
}

#[test]
fn a_writer_that_is_dropped_has_written_all() {
    let case = Case::new();
    let writer = IndexWriter::start(case.begun()).unwrap();
    let tickets: Vec<Ticket> =
        rows(&samples::asked()).into_iter().map(|row| writer.commit(case.id(), vec![row])).collect();
    drop(writer);
    assert_eq!(case.open().run(case.id()).unwrap().unwrap().status, RunStatus::Denied);
    assert!(tickets.into_iter().all(|ticket| ticket.wait().is_ok()));
}

#[test]
fn what_was_committed_survives_the_connection() {
    let case = Case::new();
    let mut index = Index::open(case.store.state(), Durability::Full).unwrap();
    index.begin_run(&NewRun { id: case.id().to_owned(), resumed_from: None }).unwrap();
    index.commit(case.id(), &rows(&samples::asked())).unwrap();
    // As after a kill: the files as they are now, the write-ahead log among them.
    let copy = tempfile::tempdir().unwrap();
    for name in [INDEX_FILE, COMPANIONS[0]] {
        fs::copy(case.store.state().join(name), copy.path().join(name)).unwrap();
    }
    let copied = Index::open(copy.path(), Durability::Full).unwrap();
    assert_eq!(tables(&copied), tables(&index));
}
