use std::fs::FileTimes;
use std::time::SystemTime;

use super::*;
use crate::store::JOURNALS;
use crate::store::index::NewRun;
use crate::store::{Place, RunDir};
use crate::trace::samples;

const NOW: Duration = Duration::from_secs(1_900_000_000);
const DAY: Duration = Duration::from_hours(24);

/// A run that ended, or did not, so many days before [`NOW`].
fn run(store: &RunStore, ended: bool, days: u32) -> RunDir {
    let run = store.create_run().unwrap();
    let component = format!("component {}", run.id());
    run.keep_component(&Digest::of(component.as_bytes()), component.as_bytes(), None).unwrap();
    run.keep_component(&Digest::of(b"shared"), b"shared", None).unwrap();
    let mut events = samples::asked();
    if !ended {
        events.pop();
    }
    fs::write(run.trace(), samples::recorded(&events)).unwrap();
    age(&run.trace(), days);
    run
}

fn age(path: &Path, days: u32) {
    let time = SystemTime::UNIX_EPOCH + NOW - DAY * days;
    fs::File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

fn state() -> (tempfile::TempDir, RunStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::at(folder.path().join("state"));
    (folder, store)
}

fn days(days: u32) -> GcOptions {
    GcOptions { older_than: Some(DAY * days), ..GcOptions::default() }
}

fn files(store: &RunStore, folder: &str) -> usize {
    fs::read_dir(store.state().join(folder)).map_or(0, Iterator::count)
}

#[test]
fn ended_runs_go_by_age_and_number() {
    let (_folder, store) = state();
    let [old, middle, new] = [30, 20, 1].map(|days| run(&store, true, days));
    Index::open(store.state(), Durability::Buffered).unwrap().catch_up(&store).unwrap();
    let dry = collect(&store, &GcOptions { dry_run: true, ..days(20) }, NOW).unwrap();
    assert_eq!(dry.runs, [middle.id(), old.id()]);
    assert_eq!(store.ids().unwrap().len(), 3);
    let kept = collect(&store, &GcOptions { keep: 2, ..days(20) }, NOW).unwrap();
    assert_eq!(kept.runs, [old.id()]);
    assert_eq!((kept.components, kept.compiled, kept.leftovers), (1, 0, 0));
    assert!(kept.bytes > 0);
    let done = collect(&store, &days(20), NOW).unwrap();
    assert_eq!(done.runs, [middle.id()]);
    assert_eq!(store.ids().unwrap(), [new.id()]);
    let index = Index::open(store.state(), Durability::Buffered).unwrap();
    assert_eq!(index.runs(&RunFilter::default()).unwrap().len(), 1);
    // What the remaining run names is there; nothing else.
    assert_eq!((files(&store, COMPONENTS), files(&store, TRASH)), (2, 0));
    assert_eq!(collect(&store, &days(20), NOW).unwrap(), Collected::default());
}

#[test]
fn what_has_not_ended_stays() {
    let (_folder, store) = state();
    let runs = run(&store, false, 99);
    let paused = run(&store, false, 99);
    let unknown = run(&store, false, 99);
    let locked = run(&store, true, 99);
    let begun = store.create_run().unwrap();
    let mut index = Index::open(store.state(), Durability::Buffered).unwrap();
    index.catch_up(&store).unwrap();
    index.set_status(paused.id(), RunStatus::Paused, "").unwrap();
    index.set_status(unknown.id(), RunStatus::Unknown, "").unwrap();
    let lock = RunLock::acquire(locked.path()).unwrap();
    let all = GcOptions::default();
    for options in [GcOptions { dry_run: true, ..all.clone() }, all.clone()] {
        let done = collect(&store, &options, clock_of(&begun)).unwrap();
        assert_eq!(done.runs, Vec::<String>::new());
        let reasons: Vec<(&str, &str)> = done.spared.iter().map(|(id, reason)| (id.as_str(), *reason)).collect();
        assert_eq!(
            reasons,
            [
                (begun.id(), "it has just begun"),
                (locked.id(), "somebody works on it"),
                (unknown.id(), "what it did outside is unknown: it needs a decision"),
                (paused.id(), "it waits for a decision"),
                (runs.id(), "it has not ended"),
            ]
        );
    }
    drop(lock);
    // A start that was killed is garbage after a day; what ended while the index did not look is known from its trace.
    fs::write(paused.trace(), samples::recorded(&samples::asked())).unwrap();
    fs::write(runs.trace(), samples::recorded(&samples::asked())).unwrap();
    let done = collect(&store, &all, clock_of(&begun) + DAY).unwrap();
    assert_eq!(done.runs, [begun.id(), locked.id(), runs.id()]);
}

fn clock_of(run: &RunDir) -> Duration {
    changed(run.path()).unwrap()
}

/// A copy of the state as it is when the process dies at each point; the next call finishes.
#[test]
fn killed_at_any_point_the_next_call_finishes() {
    for point in 0..3 {
        let (_folder, store) = state();
        let (gone, stays) = (run(&store, true, 30), run(&store, true, 1));
        let mut index = Index::open(store.state(), Durability::Buffered).unwrap();
        index.catch_up(&store).unwrap();
        index.forget(&[gone.id().to_owned()]).unwrap();
        if point > 0 {
            create_folder(&store.state().join(TRASH)).unwrap();
            fs::rename(gone.path(), store.state().join(TRASH).join(gone.id())).unwrap();
            assert_eq!(store.ids().unwrap(), [stays.id()]);
        }
        if point > 1 {
            fs::remove_file(store.state().join(TRASH).join(gone.id()).join(TRACE_FILE)).unwrap();
        }
        let done = collect(&store, &days(20), NOW).unwrap();
        assert_eq!((done.runs.len(), done.leftovers), if point == 0 { (1, 0) } else { (0, 1) });
        assert_eq!(store.ids().unwrap(), [stays.id()]);
        assert_eq!((files(&store, TRASH), files(&store, COMPONENTS)), (0, 2));
        assert_eq!(index.runs(&RunFilter::default()).unwrap()[0].id, stays.id());
    }
}

#[test]
fn compiled_code_goes_with_its_component() {
    let (_folder, store) = state();
    let run = run(&store, true, 1);
    let cache = store.state().join(CACHE);
    create_folder(&cache).unwrap();
    let [named, used, unnamed] = [&b"shared"[..], b"built in", b"nobody's"].map(Digest::of);
    for digest in [named, used, unnamed] {
        fs::write(cache.join(format!("{digest}-0123456789abcdef.cwasm")), b"code").unwrap();
        fs::write(cache.join(format!("{digest}-0123456789abcdef.cwasm.sha256")), b"digest").unwrap();
    }
    fs::write(cache.join("README"), b"not ours").unwrap();
    fs::write(cache.join(".1-2.tmp"), b"unfinished").unwrap();
    age(&cache.join(".1-2.tmp"), 2);
    fs::write(cache.join(".3-4.tmp"), b"being written").unwrap();
    age(&cache.join(".3-4.tmp"), 0);
    let options = GcOptions { in_use: [used].into_iter().collect(), ..days(20) };
    let done = collect(&store, &options, NOW).unwrap();
    assert_eq!((done.compiled, done.leftovers, done.bytes), (1, 1, 4 + 6 + 10));
    assert_eq!(files(&store, CACHE), 6);

    // A cache that several state folders share is nobody's to clean.
    let shared = store.state().join("elsewhere");
    fs::rename(&cache, &shared).unwrap();
    std::os::unix::fs::symlink(&shared, &cache).unwrap();
    fs::remove_dir_all(run.path()).unwrap();
    assert_eq!(collect(&store, &days(20), NOW).unwrap().compiled, 0);
}

#[test]
fn rows_without_a_folder_are_forgotten() {
    let (_folder, store) = state();
    let run = run(&store, true, 1);
    let mut index = Index::open(store.state(), Durability::Buffered).unwrap();
    index.begin_run(&NewRun { id: "gone".to_owned(), resumed_from: None }).unwrap();
    index.catch_up(&store).unwrap();
    let done = collect(&store, &days(20), NOW).unwrap();
    assert_eq!(done.forgotten, ["gone"]);
    assert_eq!(index.runs(&RunFilter::default()).unwrap()[0].id, run.id());
}

#[test]
fn what_a_run_that_stays_depends_on_stays_as_well() {
    let (_folder, store) = state();
    let [unneeded, first, parent, lender, child] = [90, 80, 70, 60, 1].map(|days| run(&store, true, days));
    let place = |continues: &RunDir| Place {
        key: None,
        workspace: PathBuf::from("/workspace"),
        base: PathBuf::from("/"),
        continues: Some((continues.id().to_owned(), "resume".to_owned())),
        policy: None,
        decided: None,
        request: None,
        bundle: None,
        workspace_is_default: false,
        folders: std::collections::BTreeMap::new(),
    };
    child.keep_place(&place(&parent)).unwrap();
    parent.keep_place(&place(&first)).unwrap();
    taken::keep(child.path(), &"step".parse().unwrap(), &lender.path().join(JOURNALS).join("step.1")).unwrap();
    let done = collect(&store, &days(30), NOW).unwrap();
    assert_eq!(done.runs, [unneeded.id()]);
    let spared: Vec<&str> = done.spared.iter().map(|(run, _)| run.as_str()).collect();
    assert_eq!(spared, [lender.id(), parent.id(), first.id()]);
    // With the one that needed them they go.
    let done = collect(&store, &days(1), NOW).unwrap();
    assert_eq!(done.runs, [child.id(), lender.id(), parent.id(), first.id()]);
}

#[test]
fn a_policy_keeps_its_runs_for_as_long_as_it_says() {
    let (_folder, store) = state();
    let [short, long, plain] = [7, 90, 0].map(|kept| {
        let run = run(&store, true, 40);
        let audit = if kept == 0 { String::new() } else { format!("[audit]\nretention_days = {kept}\n") };
        run.keep_policy(&format!("schema = \"skillhost.policy/1\"\n{audit}"), None).unwrap();
        run
    });
    let deleted =
        |options: &GcOptions, now| collect(&store, &GcOptions { dry_run: true, ..options.clone() }, now).unwrap();
    let by_default = |days| GcOptions { default_age: Some(DAY * days), ..GcOptions::default() };
    // The policy says more than the default, in both directions.
    assert_eq!(deleted(&by_default(50), NOW).runs, [short.id()]);
    assert_eq!(deleted(&by_default(30), NOW).runs, [plain.id(), short.id()]);
    // Whoever asks for more deletes no more than the policy allows, and is told so.
    for options in [days(1), GcOptions::default()] {
        let done = deleted(&options, NOW);
        assert_eq!(done.runs, [plain.id(), short.id()]);
        assert_eq!(done.spared, [(long.id().to_owned(), "its policy keeps it longer")]);
    }
    assert_eq!(deleted(&days(60), NOW).runs, Vec::<String>::new(), "nobody has asked for that");
    assert_eq!(collect(&store, &by_default(30), NOW + DAY * 50).unwrap().runs.len(), 3);
}
