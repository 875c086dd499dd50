//! Torn writes: what was written to a file and not synced yet may be there in part when the power comes back. The program is killed right
//! before each sync, the last bytes of the file are cut off at each offset of what was written last, and what is recovered is compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::enumeration::{Tally, oracle};
use super::place::{Left, Place, Program};
use super::scenario::Scenario;
use super::{Kill, Where};

/// Files that only grow: where the last bytes of one are lost, these are what was written last.
fn only_grows(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let in_journal = path.components().any(|part| part.as_os_str() == "journal");
    name == "trace.jsonl" || name == "host.db-wal" || in_journal
}

/// A sync, and what it is to make durable.
struct Unsynced {
    command: usize,
    at: usize,
    /// How many bytes the last write before it wrote, and how many all of them since the sync before.
    last: u64,
    all: u64,
}

/// Where something is written and not synced.
fn unsynced(points: &[Vec<String>]) -> Vec<Unsynced> {
    let mut found = Vec::new();
    for (command, points) in points.iter().enumerate() {
        let mut written: std::collections::BTreeMap<&str, (u64, u64)> = std::collections::BTreeMap::new();
        for (at, point) in points.iter().enumerate() {
            let mut words = point.split(' ');
            let (Some(name), Some(path)) = (words.next(), words.next()) else { continue };
            if !only_grows(Path::new(path)) {
                continue;
            }
            match (name, words.next().and_then(|bytes| bytes.parse::<u64>().ok())) {
                ("write" | "pwrite64", Some(bytes)) => {
                    let (last, all) = written.entry(path).or_default();
                    (*last, *all) = (bytes, *all + bytes);
                }
                ("fsync" | "fdatasync", _) => {
                    if let Some((last, all)) = written.remove(path) {
                        found.push(Unsynced { command, at: at + 1, last, all });
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// Cuts one scenario everywhere: at every `every`-th offset, over all syncs, so many at a time.
#[must_use]
pub fn torn(program: &Program, scenario: &Scenario, every: usize, jobs: usize) -> Tally {
    let (wanted, points) = oracle(program, scenario);
    let syncs = unsynced(&points);
    let tally = Mutex::new(Tally { points: syncs.len(), ..Tally::default() });
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(sync) = syncs.get(next.fetch_add(1, Ordering::Relaxed)) {
            cut(program, scenario, sync, every, &wanted, &tally);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(worker);
        }
    });
    tally.into_inner().expect("not poisoned")
}

/// Cuts what one sync was to make durable.
fn cut(program: &Program, scenario: &Scenario, sync: &Unsynced, every: usize, wanted: &Left, tally: &Mutex<Tally>) {
    // Offsets of the last write, and the begin of all that was not synced.
    let every = u64::try_from(every.max(1)).unwrap_or(u64::MAX);
    let first = 1 + (sync.at as u64 * 7) % every;
    let cuts = (first..=sync.last).step_by(usize::try_from(every).unwrap_or(usize::MAX)).chain([sync.last, sync.all]);
    for cut in cuts {
        let place = Place::new(program, scenario);
        let kill = Kill { at: sync.at, place: Where::Entered };
        let Some(points) = place.killed_with(sync.command, kill, true) else { continue };
        let here = points.last().cloned().unwrap_or_default();
        // Threads are not always in the same order: only what is in fact not synced may be lost.
        let found = unsynced(&[points]).pop().filter(|found| found.at == sync.at && found.all >= cut);
        let Some(file) = found.and_then(|_| here.split(' ').nth(1).map(PathBuf::from)) else { continue };
        let mut commands = 0;
        let failure = cut_and_recover(&place, &file, cut, wanted, &mut commands);
        let mut tally = tally.lock().expect("not poisoned");
        tally.kills += 1;
        tally.recoveries += commands;
        tally.failures.extend(failure.map(|failure| {
            let name = scenario.name;
            format!("scenario {name}, command {}, point {} ({here}, {cut} bytes cut): {failure}", sync.command, sync.at)
        }));
    }
}

fn cut_and_recover(place: &Place<'_>, file: &Path, cut: u64, wanted: &Left, commands: &mut usize) -> Option<String> {
    let opened = fs::OpenOptions::new().write(true).open(file).expect("the file is there");
    let bytes = opened.metadata().expect("its facts").len();
    opened.set_len(bytes.saturating_sub(cut)).expect("it is cut");
    drop(opened);
    match place.go_on(None) {
        Ok((left, took)) => {
            *commands += took;
            left.difference(wanted)
        }
        Err(error) => Some(error),
    }
}
