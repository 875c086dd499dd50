//! Kills at every point: each call by which the program makes, changes or syncs something, on both sides of it, in every command of the
//! run; recovers, which is killed as well in some of the cases; compares.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::place::{Left, Place, Program, Standing};
use super::scenario::Scenario;
use super::{Dice, Kill, Scope, Where, snapshot, trace, trace_in};

/// Commands that a scenario takes where nothing is killed: more would be a scenario without end.
const COMMANDS_MAX: usize = 8;
/// Failures that are told in full.
const TOLD_MAX: usize = 8;

/// Both sides of a system call.
pub const BOTH: &[Where] = &[Where::Entered, Where::Returned];

/// Which points.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// On which sides of them.
    pub sides: &'static [Where],
    /// Every so-and-so-many-th point.
    pub every: usize,
    /// The first of them, from 1.
    pub first: usize,
    /// So many, evenly spread, instead of every so-and-so-many-th.
    pub cases: Option<usize>,
    /// In how many cases recovery is killed as well: one in so many; 0 for none.
    pub recovery_in: usize,
    /// How many cases at a time.
    pub jobs: usize,
    /// What random numbers are drawn from.
    pub seed: u64,
    /// Which calls are points.
    pub scope: Scope,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Points that the run that was never killed has.
    pub points: usize,
    /// Runs that were killed.
    pub kills: usize,
    /// Commands that it took to bring them to their end, each killed one counted.
    pub recoveries: usize,
    /// What went wrong.
    pub failures: Vec<String>,
}

/// A run that is never killed: what it leaves, and the points of each of its commands, described.
///
/// # Panics
///
/// Where it does not end.
#[must_use]
pub fn oracle(program: &Program, scenario: &Scenario) -> (Left, Vec<Vec<String>>) {
    oracle_in(Scope::Made, program, scenario)
}

/// The same with other points.
///
/// # Panics
///
/// As there.
#[must_use]
pub fn oracle_in(scope: Scope, program: &Program, scenario: &Scenario) -> (Left, Vec<Vec<String>>) {
    let place = Place::new(program, scenario);
    let mut points = Vec::new();
    let (mut told, mut last) = (None, String::new());
    while let Some(command) = place.next() {
        assert!(points.len() < COMMANDS_MAX, "`{}` does not end", scenario.name);
        let traced = trace_in(scope, &command, None, true);
        points.push(traced.points.clone());
        last.clone_from(&traced.stdout);
        told = Some(super::place::told_by(&traced).unwrap_or_else(|error| panic!("`{}`: {error}", scenario.name)));
    }
    let outcome = told.as_ref().map(|(_, outcome, _)| outcome.clone()).unwrap_or_default();
    assert!(scenario.ends == outcome, "`{}` ended as {outcome}: {last}", scenario.name);
    let left = place.left(told).expect("it is whole");
    for kind in scenario.shows {
        let is_there = left.trace.contains(&format!("\"kind\":\"{kind}\""));
        assert!(is_there, "`{}` does not show `{kind}`", scenario.name);
    }
    (left, points)
}

/// Kills one scenario everywhere.
#[must_use]
pub fn enumerate(program: &Program, scenario: &Scenario, choice: Choice) -> Tally {
    // Once without looking: the first run compiles.
    drop(oracle(program, scenario));
    let (wanted, points) = oracle_in(choice.scope, program, scenario);
    let all: Vec<(usize, Kill)> = points
        .iter()
        .enumerate()
        .flat_map(|(command, points)| (1..=points.len()).map(move |at| (command, at)))
        .flat_map(|(command, at)| choice.sides.iter().map(move |&place| (command, Kill { at, place })))
        .collect();
    let every = choice.cases.map_or(choice.every, |cases| all.len().div_ceil(cases)).max(1);
    let cases: Vec<(usize, Kill)> = all.into_iter().skip(choice.first.saturating_sub(1)).step_by(every).collect();
    let tally = Tally { points: points.iter().map(Vec::len).sum(), ..Tally::default() };
    let next = AtomicUsize::new(0);
    let worker = |tally: &Mutex<Tally>| {
        while let Some((command, kill)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Choice { seed, recovery_in, scope, .. } = choice;
            let case = Case { command: *command, kill: *kill, seed, recovery_in, scope };
            tally.lock().expect("not poisoned").add(case.run(program, scenario, &wanted));
        }
    };
    tally.counted_by(choice.jobs, worker)
}

/// Kills recovery everywhere: at some points of the run (every so-and-so-many-th as `choice` says) the run is killed, then the command that
/// brings it to its end at every point of it, one in each case.
#[must_use]
pub fn enumerate_recovery(program: &Program, scenario: &Scenario, choice: Choice) -> Tally {
    let (wanted, points) = oracle(program, scenario);
    let all = points.iter().enumerate();
    let all = all.flat_map(|(command, points)| (1..=points.len()).map(move |at| (command, at)));
    let firsts: Vec<First> = all
        .skip(choice.first.saturating_sub(1))
        .step_by(choice.every.max(1))
        .map(|(command, at)| First { command, at, next: AtomicUsize::new(1), is_over: AtomicBool::new(false) })
        .collect();
    let tally = Tally { points: firsts.len(), ..Tally::default() };
    let worker = |tally: &Mutex<Tally>| {
        for first in &firsts {
            while !first.is_over.load(Ordering::Relaxed) {
                let again = first.next.fetch_add(1, Ordering::Relaxed);
                let Some(went) = first.run(program, scenario, &wanted, again) else {
                    // It has no such point, nor a later one.
                    first.is_over.store(true, Ordering::Relaxed);
                    break;
                };
                tally.lock().expect("not poisoned").add(went);
            }
        }
    };
    tally.counted_by(choice.jobs, worker)
}

/// A point at which a run is killed, whose recovery is then killed everywhere.
#[derive(Debug)]
struct First {
    /// In which of the run's commands, from 0.
    command: usize,
    /// At which point of it.
    at: usize,
    /// At which point recovery is killed next, from 1: whoever has time takes it.
    next: AtomicUsize,
    /// Whether recovery has no further point.
    is_over: AtomicBool,
}

impl First {
    /// Kills the run here, its recovery at the point `again`, recovers and compares. `None` where one of them was not killed.
    fn run(&self, program: &Program, scenario: &Scenario, wanted: &Left, again: usize) -> Option<Went> {
        let &Self { command, at, .. } = self;
        let place = Place::new(program, scenario);
        let first = place.killed(command, Kill { at, place: Where::Entered })?;
        if place.standing() == Standing::NotBegun {
            return None;
        }
        let second = trace(&place.next()?, Some(Kill { at: again, place: Where::Entered }), false);
        if !second.is_killed {
            return None;
        }
        let (commands, failure) = match place.go_on(None) {
            Ok((left, commands)) => (commands, left.difference(wanted)),
            Err(error) => (0, Some(error)),
        };
        let failure = failure.map(|failure| {
            let (name, durability) = (scenario.name, program.durability);
            let second = second.points.last();
            format!(
                "scenario {name}, durability {durability}, command {command}, point {at} ({first}), recovery, point {again} \
                 ({second:?}): {failure}"
            )
        });
        Some(Went { is_killed: true, commands, failure })
    }
}

/// One kill.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// In which of the run's commands, from 0.
    pub command: usize,
    /// Where in it.
    pub kill: Kill,
    /// What random numbers are drawn from.
    pub seed: u64,
    /// In how many cases recovery is killed as well.
    pub recovery_in: usize,
    /// Which calls are points.
    pub scope: Scope,
}

/// What came of one.
#[derive(Debug, Clone, Default)]
pub struct Went {
    /// Whether it was killed: a run may have fewer points than the one that was counted.
    pub is_killed: bool,
    /// Commands that brought it to its end.
    pub commands: usize,
    /// What went wrong.
    pub failure: Option<String>,
}

impl Case {
    /// Runs to the kill, recovers, compares.
    #[must_use]
    pub fn run(&self, program: &Program, scenario: &Scenario, wanted: &Left) -> Went {
        let place = Place::new(program, scenario);
        let before = snapshot::of(&place.workspace());
        let killed = place.killed_in(self.scope, self.command, self.kill);
        let here = killed.clone().unwrap_or_default();
        let mut went = Went { is_killed: killed.is_some(), ..Went::default() };
        let number =
            (self.command * 1_000_000 + self.kill.at * 2 + usize::from(self.kill.place == Where::Returned)) as u64;
        let mut dice = Dice::new(self.seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let untouched = (self.command == 0 && place.standing() == Standing::NotBegun)
            .then(|| snapshot::difference(&before, &snapshot::of(&place.workspace())))
            .flatten()
            .map(|different| format!("it never began and changed something: {different}"));
        let is_harassed = self.recovery_in > 0 && dice.one_in(self.recovery_in);
        let left = place.go_on(is_harassed.then_some(&mut dice));
        let failure = untouched.or(match left {
            Ok((left, commands)) => {
                went.commands = commands;
                left.difference(wanted)
            }
            Err(error) => Some(error),
        });
        went.failure = failure.map(|failure| {
            let Kill { at, place } = self.kill;
            let (name, durability, seed, command) = (scenario.name, program.durability, self.seed, self.command);
            let harassed = if is_harassed { ", recovery killed as well" } else { "" };
            format!(
                "scenario {name}, durability {durability}, seed {seed}, command {command}, point {at} ({here}), \
                 {place:?}{harassed}: {failure}"
            )
        });
        went
    }
}

impl Tally {
    /// Has so many threads do the same work at once, each of which adds what came of it.
    pub(super) fn counted_by(self, jobs: usize, worker: impl Fn(&Mutex<Self>) + Sync) -> Self {
        let tally = Mutex::new(self);
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| worker(&tally));
            }
        });
        tally.into_inner().expect("not poisoned")
    }

    /// Adds what came of one kill.
    pub(super) fn add(&mut self, went: Went) {
        self.kills += usize::from(went.is_killed);
        self.recoveries += went.commands;
        self.failures.extend(went.failure);
    }

    /// Failures by what they say, with how often: the same cause is told once.
    #[must_use]
    pub fn failures_by_kind(&self) -> String {
        let mut kinds: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for failure in &self.failures {
            // Names of runs and times are of one run each.
            let kind = failure.rsplit_once("): ").map_or(failure.as_str(), |(_, what)| what);
            let kind = kind.split_once("state/runs/").map_or(kind, |(what, _)| what);
            kinds.entry(kind).or_insert((0, failure)).0 += 1;
        }
        let mut text = String::new();
        for (count, first) in kinds.values().take(TOLD_MAX) {
            text.push_str(&format!("{count} times, first: {first}\n"));
        }
        text
    }
}
