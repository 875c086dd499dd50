//! Kills at random: a random scenario, at a random point or after a random time, in a random command; recovery is killed as well and
//! repeated. A case follows from the seed and its number alone, but for what the machine's clock adds.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use skillhost::clock::Stopwatch;

use super::enumeration::{Case, Tally, Went, oracle};
use super::place::{Left, Place, Program, untraced};
use super::scenario::Scenario;
use super::{Dice, Kill, Scope, Where};

/// In how many cases recovery is killed as well: one in so many.
const RECOVERY_IN: usize = 2;

/// How long it goes on.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Kills, the first ones of each case.
    pub kills: usize,
    /// The number of the first case: where an earlier campaign of this seed ended.
    pub from: usize,
    /// Cases that are begun after so many seconds are not.
    pub seconds: u64,
    /// How many cases at a time.
    pub jobs: usize,
    /// What random numbers are drawn from.
    pub seed: u64,
}

/// What is killed, what it leaves where it is not, how many points its commands have, and how long they take.
struct Known<'a> {
    program: &'a Program,
    scenario: &'a Scenario,
    left: Left,
    points: Vec<usize>,
    times: Vec<Duration>,
}

/// Kills until the bounds are met. Gives the number of the first case that was not begun as well.
#[must_use]
pub fn campaign(programs: &[Program], scenarios: &[Scenario], bounds: Bounds) -> (Tally, usize) {
    let pairs = programs.iter().flat_map(|program| scenarios.iter().map(move |scenario| (program, scenario)));
    let known: Vec<Known<'_>> = pairs.map(|(program, scenario)| Known::of(program, scenario)).collect();
    let tally = Tally { points: known.iter().flat_map(|known| &known.points).sum(), ..Tally::default() };
    let next = AtomicUsize::new(bounds.from);
    let watch = Stopwatch::start();
    let worker = |tally: &Mutex<Tally>| {
        while watch.elapsed().as_secs() < bounds.seconds && tally.lock().expect("not poisoned").kills < bounds.kills {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let mut dice = Dice::new(bounds.seed.wrapping_add((number as u64).wrapping_mul(0xd134_2543_de82_ef95)));
            let known = &known[dice.below(known.len())];
            let went = known.kill(&mut dice);
            let failure =
                went.failure.map(|failure| format!("campaign seed {}, case {number}: {failure}", bounds.seed));
            tally.lock().expect("not poisoned").add(Went { failure, ..went });
        }
    };
    (tally.counted_by(bounds.jobs, worker), next.into_inner())
}

impl<'a> Known<'a> {
    fn of(program: &'a Program, scenario: &'a Scenario) -> Self {
        let (left, points) = oracle(program, scenario);
        let place = Place::new(program, scenario);
        let mut times = Vec::new();
        while let Some(command) = place.next() {
            let watch = Stopwatch::start();
            drop(untraced(command));
            times.push(watch.elapsed());
        }
        Self { program, scenario, left, points: points.iter().map(Vec::len).collect(), times }
    }

    /// Kills once.
    fn kill(&self, dice: &mut Dice) -> Went {
        let command = dice.below(self.points.len());
        if dice.one_in(2) {
            let place = if dice.one_in(2) { Where::Entered } else { Where::Returned };
            let kill = Kill { at: 1 + dice.below(self.points[command]), place };
            let (seed, scope) = (dice.next(), Scope::Made);
            let case = Case { command, kill, seed, recovery_in: RECOVERY_IN, scope };
            return case.run(self.program, self.scenario, &self.left);
        }
        let place = Place::new(self.program, self.scenario);
        for _ in 0..command {
            untraced(place.next().expect("there is such a command"));
        }
        let Some(next) = place.next() else { return Went::default() };
        let most = u64::try_from(self.times[command].as_micros()).unwrap_or(u64::MAX).max(1);
        let after = Duration::from_micros(dice.next() % most);
        let is_killed = kill_after(next, after);
        let is_harassed = dice.one_in(RECOVERY_IN);
        let went = place.go_on(is_harassed.then_some(dice));
        let (commands, failure) = match went {
            Ok((left, commands)) => (commands, left.difference(&self.left)),
            Err(error) => (0, Some(error)),
        };
        let (name, durability) = (self.scenario.name, self.program.durability);
        let failure = failure.map(|failure| {
            format!("scenario {name}, durability {durability}, command {command} (after {after:?}): {failure}")
        });
        Went { is_killed, commands, failure }
    }
}

/// Runs a command and kills it after a time. Whether it was still there.
fn kill_after(mut command: Command, time: Duration) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    // Nobody sends: it is only waited for.
    let (_keep, never) = mpsc::channel::<()>();
    never.recv_timeout(time).unwrap_or_default();
    let is_there = matches!(child.try_wait(), Ok(None));
    drop(child.kill());
    child.wait().expect("it is waited for");
    is_there
}
