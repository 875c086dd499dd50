//! A disk with no room, a disk that may only be read: the run ends with the code of an internal error and leaves nothing half done; once
//! there is room it goes on. Needs a small file system of its own, which only the superuser can have; elsewhere the limit of a file's size
//! stands in for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::enumeration::{Tally, oracle};
use super::place::{Place, Program, Standing, untraced};
use super::scenario::Scenario;
use super::{Ended, snapshot};

/// The file system's size in KiB: more than a run needs.
const DISK_KIB: u64 = 16 << 10;
/// How much less than a run needs there is at first, in KiB: from nothing at all for the components to all but the last page.
const LESS_KIB: [u64; 26] = [
    4096, 2048, 1024, 512, 384, 320, 288, 256, 224, 208, 192, 176, 160, 144, 128, 112, 96, 80, 64, 56, 48, 32, 24, 16,
    8, 4,
];
/// The exit code of an internal error: the disk.
const INTERNAL: i32 = 20;

/// A file system in memory, gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one at a folder; `None` where that is not allowed.
    #[must_use]
    pub fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).expect("a folder");
        let size = format!("size={DISK_KIB}k,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then(|| Self { path: path.to_owned() })
    }

    /// Whether it may be written.
    fn set_writable(&self, is_writable: bool) {
        let options = if is_writable { "remount,rw" } else { "remount,ro" };
        let status = Command::new("mount").args(["-o", options]).arg(&self.path).status().expect("`mount` starts");
        assert!(status.success(), "{options} of {}", self.path.display());
    }

    /// Takes room until so much is left.
    fn fill(&self, left_kib: u64) -> PathBuf {
        let ballast = self.path.join("ballast");
        let free = free_kib(&self.path);
        let bytes = usize::try_from(free.saturating_sub(left_kib) << 10).expect("it fits into memory");
        fs::write(&ballast, vec![b'x'; bytes]).expect("there is room for it");
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.path).status());
    }
}

fn free_kib(path: &Path) -> u64 {
    let output = Command::new("df").args(["--output=avail", "-k"]).arg(path).output().expect("`df` starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().nth(1).and_then(|line| line.trim().parse().ok()).expect("`df` says how much")
}

/// Runs a scenario with less room than it needs, frees some, recovers, compares; `None` where no small disk can be had.
#[must_use]
pub fn full(program: &Program, scenario: &Scenario) -> Option<Tally> {
    if scenario.name.starts_with("large") {
        // A copy for which there is no room is refused to the guest, and the run is taken back: it does not go on later.
        return None;
    }
    let (wanted, _) = oracle(program, scenario);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = SmallDisk::mount(&folder.path().join("disk"))?;
    let mut tally = Tally::default();
    let used = {
        let before = free_kib(&disk.path);
        let place = Place::new_in(&disk.path, program, scenario);
        drop(place.go_on(None));
        before - free_kib(&disk.path)
    };
    for less in LESS_KIB {
        let room = used.saturating_sub(less);
        tally.points += 1;
        let place = Place::new_in(&disk.path, program, scenario);
        let before = snapshot::of(&place.workspace());
        let ballast = disk.fill(room);
        let mut failures = Vec::new();
        // As far as it comes.
        while let Some(command) = place.next() {
            let ended = untraced(command);
            if ended.ended == Ended::Code(INTERNAL) {
                tally.kills += 1;
                break;
            }
            if let Err(error) = super::place::told_by(&ended) {
                failures.push(format!("it ended otherwise than with {INTERNAL}: {error}"));
                break;
            }
        }
        if place.standing() == Standing::NotBegun {
            let different = snapshot::difference(&before, &snapshot::of(&place.workspace()));
            failures.extend(different.map(|different| format!("it never began and changed something: {different}")));
        }
        fs::remove_file(ballast).expect("room is made");
        match place.go_on(None) {
            Ok((left, commands)) => {
                tally.recoveries += commands;
                failures.extend(left.difference(&wanted));
            }
            Err(error) => failures.push(error),
        }
        let name = scenario.name;
        let durability = program.durability;
        tally.failures.extend(failures.into_iter().map(|failure| {
            format!("scenario {name}, durability {durability}, {room} KiB of {used} are free): {failure}")
        }));
    }
    Some(tally)
}

/// Runs a scenario on a disk that may only be read, and goes on when it may be written; `None` where no small disk can be had.
#[must_use]
pub fn read_only(program: &Program, scenario: &Scenario) -> Option<Tally> {
    let (wanted, points) = oracle(program, scenario);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = SmallDisk::mount(&folder.path().join("disk"))?;
    let mut tally = Tally::default();
    // Before each of its commands.
    for commands in 0..points.len() {
        let place = Place::new_in(&disk.path, program, scenario);
        for _ in 0..commands {
            untraced(place.next().expect("there is such a command"));
        }
        let before = snapshot::of(&place.workspace());
        disk.set_writable(false);
        tally.kills += 1;
        tally.points += 1;
        let ended = place.next().map(untraced);
        let different = snapshot::difference(&before, &snapshot::of(&place.workspace()));
        disk.set_writable(true);
        let mut failures: Vec<String> = different.into_iter().collect();
        if let Some(ended) = ended.filter(|ended| ended.ended != Ended::Code(INTERNAL)) {
            failures.push(format!("it ended with {:?}: {}{}", ended.ended, ended.stdout, ended.stderr));
        }
        match place.go_on(None) {
            Ok((left, commands)) => {
                tally.recoveries += commands;
                failures.extend(left.difference(&wanted));
            }
            Err(error) => failures.push(error),
        }
        let name = scenario.name;
        tally
            .failures
            .extend(failures.into_iter().map(|failure| format!("scenario {name}, command {commands}): {failure}")));
    }
    Some(tally)
}
