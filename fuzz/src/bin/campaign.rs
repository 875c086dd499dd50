//! The fuzz targets `component` and `mutate` without a fuzzer: random bytes from a seed, for some time. The same seed gives the same
//! executions. Prints how many there were and what was found; a finding's bytes are kept in `artifacts/`.
//!
//! `cargo run --release --bin campaign -- --seed N --seconds S`

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use host_fuzz::Drive;

/// Bytes of choices for one execution, at the most.
const CHOICES_MAX: u64 = 8 << 10;
/// Executions of each target between two reports of progress.
const PROGRESS: u64 = 500;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| -> Option<u64> {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse().ok()
    };
    let (Some(seed), Some(seconds), 4) = (number("--seed"), number("--seconds"), arguments.len()) else {
        eprintln!("usage: campaign --seed N --seconds S");
        return ExitCode::from(2);
    };
    let mut random = SplitMix(seed);
    let mut targets = [Target::new("component", host_fuzz::component), Target::new("mutate", host_fuzz::mutate)];
    let (began, mut executions) = (Instant::now(), 0);
    let artifacts = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts");
    std::fs::create_dir_all(&artifacts).expect("a folder");
    while began.elapsed() < Duration::from_secs(seconds) {
        for target in &mut targets {
            let bytes = random.bytes();
            // An abort leaves the bytes there.
            std::fs::write(artifacts.join("current"), &bytes).expect("written");
            if !target.execute(&bytes) {
                let path = artifacts.join(format!("{}-{seed}-{executions}", target.name));
                std::fs::write(&path, &bytes).expect("written");
                println!("finding: {}", path.display());
            }
        }
        executions += 1;
        if executions % PROGRESS == 0 {
            targets.iter().for_each(|target| println!("{}", target.summary()));
        }
    }
    println!("seed {seed}:");
    targets.iter().for_each(|target| println!("{}", target.summary()));
    ExitCode::from(u8::from(targets.iter().any(|target| target.findings > 0)))
}

/// A fuzz target with what became of it.
struct Target {
    name: &'static str,
    execute: fn(&mut Drive, &[u8]),
    drive: Drive,
    executions: u64,
    findings: u64,
}

impl Target {
    fn new(name: &'static str, execute: fn(&mut Drive, &[u8])) -> Self {
        Self { name, execute, drive: Drive::default(), executions: 0, findings: 0 }
    }

    /// Whether it held.
    fn execute(&mut self, bytes: &[u8]) -> bool {
        self.executions += 1;
        let held = catch_unwind(AssertUnwindSafe(|| (self.execute)(&mut self.drive, bytes))).is_ok();
        if !held {
            self.findings += 1;
            let Drive { loaded, replayed, .. } = self.drive;
            self.drive = Drive::default();
            (self.drive.loaded, self.drive.replayed) = (loaded, replayed);
        }
        held
    }

    fn summary(&self) -> String {
        let Self { name, executions, findings, drive: Drive { loaded, replayed, .. }, .. } = self;
        format!("{name}: {executions} executions, {loaded} loaded, {replayed} calls replayed, {findings} findings")
    }
}

/// The generator SplitMix64: its numbers follow from the seed alone.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let words = self.next() % (CHOICES_MAX / 8) + 8;
        (0..words).flat_map(|_| self.next().to_le_bytes()).collect()
    }
}
