//! The proof of crash recovery: `host` is killed at every point where it makes something, is recovered, and has to have left what the run
//! that was never killed has left. What is compared is read without the library.
//!
//! * [`trace`] runs a program and kills it at a system call;
//! * [`scenario`] has what is run: plans, policies, folders, people;
//! * [`place`] is a folder in which one scenario takes place, from its begin over every crash to its end;
//! * [`enumeration`] kills at every point, [`campaign`] at random ones, [`torn`] cuts what was written last, [`disk`] has no room,
//!   [`refusal`] has the system refuse one call.

pub mod campaign;
pub mod disk;
pub mod enumeration;
pub mod place;
pub mod refusal;
pub mod scenario;
pub mod snapshot;
pub mod torn;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tracer;

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::Command;

/// Whether programs can be stopped at a system call here.
pub const IS_SUPPORTED: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));
/// What is said where they cannot.
pub const UNSUPPORTED: &str = "skipped: programs are stopped at system calls on Linux on x86-64 alone";

/// Where a program is killed: at its n-th point, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// The number of the point.
    pub at: usize,
    /// On which side of it.
    pub place: Where,
}

/// On which side of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// Before: it does not happen.
    Entered,
    /// After: it has happened, and the program does not learn of it.
    Returned,
}

/// What is done to a program, at its n-th point, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is killed.
    Kill(Kill),
    /// The call is not made, and the program is told this error.
    Refuse {
        /// The number of the point.
        at: usize,
        /// The error's number.
        errno: i32,
    },
}

impl Stop {
    const fn at(self) -> usize {
        match self {
            Self::Kill(kill) => kill.at,
            Self::Refuse { at, .. } => at,
        }
    }
}

/// Which calls are points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Those by which something is made, changed or synced.
    #[default]
    Made,
    /// Every one that has to do with a workspace or with the folder of a run, those that only look among them.
    Touched,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What became of a program that was traced.
#[derive(Debug)]
pub struct Traced {
    /// How it ended.
    pub ended: Ended,
    /// Whether it was killed, or refused a call, where it was to be.
    pub is_killed: bool,
    /// The points that it came to, described where that was asked for or where it was killed.
    pub points: Vec<String>,
    /// What it wrote.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

/// Runs a program, and kills it where `stop` says.
///
/// # Panics
///
/// Where programs cannot be traced: see [`IS_SUPPORTED`].
#[must_use]
pub fn trace(program: &Command, stop: Option<Kill>, describe: bool) -> Traced {
    trace_in(Scope::Made, program, stop.map(Stop::Kill), describe)
}

/// The same with other points, and what else may be done at one.
///
/// # Panics
///
/// As there.
#[must_use]
pub fn trace_in(scope: Scope, program: &Command, stop: Option<Stop>, describe: bool) -> Traced {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    return tracer::trace(scope, program, stop, describe);
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    panic!("{UNSUPPORTED}: {scope:?} {program:?} {stop:?} {describe}");
}

/// All of a file that somebody else has written.
fn text_of(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.rewind().expect("it can be read again");
    file.read_to_end(&mut bytes).expect("it is read");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Random numbers that a seed determines (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Those of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("it is below a usize")
    }

    /// Whether one in `of` happens.
    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}
