//! The system refuses one call: each of those that a run makes in its workspace and in its folder, with each of the errors that there are. The run
//! has to have ended afterwards, with everything done or nothing; only where the record was refused it is settled by the next command, at once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use super::enumeration::{Choice, Tally, Went};
use super::place::{Place, Program, Standing, told_by, untraced};
use super::scenario::Scenario;
use super::snapshot::{self, Snapshot};
use super::{Ended, Scope, Stop, Traced, trace_in};

/// What a call is refused with.
pub const ERRORS: [Errno; 10] = [
    Errno::EACCES,
    Errno::EROFS,
    Errno::ETXTBSY,
    Errno::EPERM,
    Errno::ENOSPC,
    Errno::EDQUOT,
    Errno::EIO,
    Errno::EMFILE,
    Errno::ENAMETOOLONG,
    Errno::ELOOP,
];

/// The exit code of a program that panicked.
const PANICKED: i32 = 101;

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Refused {
    /// In numbers.
    pub tally: Tally,
    /// How the runs stood when the command had ended: `completed`, `rolled-back`, `left to recovery`, `not begun`.
    pub stood: BTreeMap<String, usize>,
}

/// What a run that nothing is refused to begins with and leaves, and its points.
struct Known {
    before: Snapshot,
    after: Snapshot,
    points: Vec<String>,
}

fn known(program: &Program, scenario: &Scenario) -> Known {
    let place = Place::new(program, scenario);
    let before = snapshot::of(&place.workspace());
    let traced = trace_in(Scope::Touched, &place.next().expect("it has not begun"), None, true);
    let (_, outcome, _) = told_by(&traced).unwrap_or_else(|error| panic!("`{}`: {error}", scenario.name));
    assert_eq!(outcome, scenario.ends, "`{}`", scenario.name);
    Known { before, after: snapshot::of(&place.workspace()), points: traced.points }
}

/// Refuses the points of a scenario as `choice` says, each with each error.
#[must_use]
pub fn refuse(program: &Program, scenario: &Scenario, choice: Choice) -> Refused {
    // Once without looking: the first run compiles.
    drop(known(program, scenario));
    let known = known(program, scenario);
    let points = 1..=known.points.len();
    let all: Vec<(usize, Errno)> = points.flat_map(|at| ERRORS.map(|error| (at, error))).collect();
    let every = choice.cases.map_or(choice.every, |cases| all.len().div_ceil(cases)).max(1);
    // Errors go round with points: a step that has a factor of ten would always take the same one.
    let every = if every > 1 && every.is_multiple_of(2) { every + 1 } else { every };
    let every = if every > 1 && every.is_multiple_of(5) { every + 2 } else { every };
    let cases: Vec<(usize, Errno)> = all.into_iter().skip(choice.first.saturating_sub(1)).step_by(every).collect();
    let stood = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    let worker = |tally: &Mutex<Tally>| {
        while let Some((at, error)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (went, how) = case(program, scenario, &known, (*at, *error));
            *stood.lock().expect("not poisoned").entry(how).or_insert(0) += 1;
            tally.lock().expect("not poisoned").add(went);
        }
    };
    let tally = Tally { points: known.points.len(), ..Tally::default() }.counted_by(choice.jobs, worker);
    Refused { tally, stood: stood.into_inner().expect("not poisoned") }
}

fn case(program: &Program, scenario: &Scenario, known: &Known, (at, error): (usize, Errno)) -> (Went, String) {
    let place = Place::new(program, scenario);
    let refuse = Stop::Refuse { at, errno: error as i32 };
    let traced = trace_in(Scope::Touched, &place.next().expect("it has not begun"), Some(refuse), false);
    let point = traced.points.get(at - 1).cloned().unwrap_or_default();
    let mut went = Went { is_killed: traced.is_killed, commands: 1, failure: None };
    let how = match settled(&place, known, &traced) {
        Ok(how) => how,
        Err(failure) => {
            let (name, durability) = (scenario.name, program.durability);
            went.failure =
                Some(format!("scenario {name}, durability {durability}, point {at} ({point}), {error:?}): {failure}"));
            "failed".to_owned()
        }
    };
    (went, how)
}

/// How a run stands whose command has ended, and that everything is as it has to be.
fn settled(place: &Place<'_>, known: &Known, traced: &Traced) -> Result<String, String> {
    let said = |traced: &Traced| {
        let reply: serde_json::Value = serde_json::from_str(&traced.stdout).unwrap_or_default();
        let said = format!("{:?}: {} {}{}", traced.ended, reply["error"], reply["result"]["rollback"], traced.stderr);
        said.chars().take(1_000).collect::<String>()
    };
    if traced.ended == Ended::Code(PANICKED) || matches!(traced.ended, Ended::Signal(_)) {
        return Err(format!("it ended by itself: {}", said(traced)));
    }
    let standing = place.standing();
    let mut how = match standing {
        Standing::NotBegun => "not begun".to_owned(),
        Standing::Waits => return Err(format!("it waits: {}", said(traced))),
        Standing::Stopped => "left to recovery".to_owned(),
        Standing::Ended => place.ended_as()?,
    };
    if standing == Standing::Stopped {
        // The record was refused: the next command settles it.
        let recovered = untraced(place.command(&["recover"]));
        let (_, outcome, _) = told_by(&recovered)?;
        how = format!("{how}, then {}", outcome.as_str().unwrap_or_default());
    }
    let is = snapshot::of(&place.workspace());
    let wanted = match how.rsplit_once(", then ").map_or(how.as_str(), |(_, then)| then) {
        "completed" => &known.after,
        "rolled-back" | "not begun" => &known.before,
        other => return Err(format!("it ended as {other}: {}", said(traced))),
    };
    if let Some(different) = snapshot::difference(wanted, &is) {
        return Err(format!("{how}: {different}; {}", said(traced)));
    }
    let next = untraced(place.command(&["recover"]));
    if next.ended != Ended::Code(0) || !next.stdout.contains("\"runs\":[]") || !next.stderr.is_empty() {
        return Err(format!("{how}: there is something to recover: {}", said(&next)));
    }
    if standing == Standing::Ended {
        place.verified()?;
    }
    Ok(how)
}
