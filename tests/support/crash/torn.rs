//! Torn writes: what was written to a file and not synced yet may be there in part when the power comes back. The program is killed right
//! before each sync, the last bytes of the file are cut off at each offset of what was written last, and what is recovered is compared.

use std::fs;
use std::path::{Path, PathBuf};

use super::enumeration::{Tally, oracle};
use super::place::{Left, Place, Program, untraced};
use super::scenario::Scenario;
use super::{Kill, Where, trace};

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

/// Cuts one scenario everywhere: at every `every`-th offset, over all syncs.
#[must_use]
pub fn torn(program: &Program, scenario: &Scenario, every: usize) -> Tally {
    let (wanted, points) = oracle(program, scenario);
    let syncs = unsynced(&points);
    let mut tally = Tally { points: syncs.len(), ..Tally::default() };
    let mut offset = 0;
    for sync in syncs {
        let place = Place::new(program, scenario);
        for _ in 0..sync.command {
            untraced(place.next().expect("there is such a command"));
        }
        let Some(command) = place.next() else { continue };
        let killed = trace(&command, Some(Kill { at: sync.at, place: Where::Entered }), false);
        let here = killed.points.last().cloned().unwrap_or_default();
        let Some(file) = here.split(' ').nth(1).map(PathBuf::from).filter(|file| killed.is_killed && only_grows(file))
        else {
            continue;
        };
        place.save();
        // Every offset of the last write, and the begin of all that was not synced.
        let mut cuts: Vec<u64> = (1..=sync.last).filter(|_| is_due(&mut offset, every)).collect();
        cuts.push(sync.all);
        for cut in cuts {
            place.restore();
            tally.kills += 1;
            let failure = cut_and_recover(&place, &file, cut, &wanted, &mut tally.recoveries);
            tally.failures.extend(failure.map(|failure| {
                let name = scenario.name;
                format!(
                    "scenario {name}, command {}, point {} ({here}), {cut} bytes cut): {failure}",
                    sync.command, sync.at
                )
            }));
        }
    }
    tally
}

fn is_due(offset: &mut usize, every: usize) -> bool {
    *offset += 1;
    offset.is_multiple_of(every.max(1))
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
