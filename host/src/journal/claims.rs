//! Who touches which path while steps of one run go on at the same time: what tells whether they could as well have run one after the other.
//!
//! A claim stays until its step is undone or the run is over, so that the answer does not depend on which step was faster. Knows nothing of
//! what a step is: it has a position in the plan's order, those positions that it comes after, and a way to be told that it has lost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// A step's place in the plan's order.
pub(crate) type Position = usize;

/// What a step does with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Access {
    /// Reads it, or asks for it.
    Read,
    /// Makes it, writes to it, removes it or renames it, in which case all below it is concerned as well.
    Write,
    /// Lists it.
    List,
    /// Makes, removes or renames an entry in it.
    Enter,
}

impl Access {
    /// Whether two accesses to the same path can change each other's result.
    const fn conflicts(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Write, _) | (_, Self::Write) | (Self::List, Self::Enter) | (Self::Enter, Self::List)
        )
    }
}

/// A path that another step touches so that the two cannot run at one time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is also touched by a step that stands before this one in the plan and that it does not depend on", path = path.display())]
pub(crate) struct Lost {
    /// The step that keeps the path.
    pub(crate) with: Position,
    /// The path.
    pub(crate) path: PathBuf,
}

/// The claims of a run. Clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Claims(Arc<Shared>);

/// How steps depend on each other.
struct IsAfter(Box<dyn Fn(Position, Position) -> bool + Send + Sync>);

impl std::fmt::Debug for IsAfter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IsAfter")
    }
}

#[derive(Debug)]
struct Shared {
    /// Whether the first of two positions comes after the second by dependency, however far.
    is_after: IsAfter,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: BTreeMap<PathBuf, BTreeMap<Position, BTreeSet<Access>>>,
    steps: BTreeMap<Position, Step>,
    /// Something that should be undone cannot be.
    has_given_up: bool,
}

/// A step that is in the run.
struct Step {
    tell: Box<dyn Fn() + Send>,
    lost: Option<Lost>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Claims {
    /// The claims of a run; `is_after` says whether the step at the first position comes after the one at the second, directly or not.
    pub(crate) fn new(is_after: impl Fn(Position, Position) -> bool + Send + Sync + 'static) -> Self {
        let is_after = IsAfter(Box::new(is_after));
        Self(Arc::new(Shared { is_after, state: Mutex::default(), changed: Condvar::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step begins. `tell` is called, from any thread, when it has lost a path to one that stands before it: it then has to end and to be
    /// undone and released, also if it has completed by then. It must not use the claims itself.
    ///
    /// A step that comes after one that has lost has lost with it.
    pub(crate) fn enter(&self, position: Position, tell: impl Fn() + Send + 'static) {
        let mut state = self.state();
        let lost =
            state.steps.iter().find_map(|(other, step)| step.lost.clone().filter(|_| self.is_after(position, *other)));
        if lost.is_some() {
            tell();
        }
        state.steps.insert(position, Step { tell: Box::new(tell), lost });
    }

    /// Whether a step comes after another one by dependency.
    pub(crate) fn is_after(&self, position: Position, other: Position) -> bool {
        (self.0.is_after.0)(position, other)
    }

    /// Waits until the steps that come after this one are undone.
    pub(crate) fn wait_for_all_after(&self, position: Position) {
        let mut state = self.state();
        while !state.has_given_up && state.steps.keys().any(|other| self.is_after(*other, position)) {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The run is over: nobody is told of a loss any more, and who waits to be told learns that.
    pub(crate) fn end(&self) {
        let told = std::mem::take(&mut self.state().steps);
        drop(told);
    }

    /// What should be undone cannot be: nobody gets a path any more, or waits for one.
    pub(crate) fn give_up(&self) {
        self.state().has_given_up = true;
        self.0.changed.notify_all();
    }

    /// What a step has claimed.
    pub(crate) fn of(&self, position: Position) -> Vec<(PathBuf, Access)> {
        let state = self.state();
        let by = state.held.iter().filter_map(|(path, by)| Some((path, by.get(&position)?)));
        by.flat_map(|(path, held)| held.iter().map(|access| (path.clone(), *access))).collect()
    }

    /// The step was undone: nothing that it touched counts any more.
    pub(crate) fn release(&self, position: Position) {
        let mut state = self.state();
        state.steps.remove(&position);
        state.held.retain(|_, by| {
            by.remove(&position);
            !by.is_empty()
        });
        drop(state);
        self.0.changed.notify_all();
    }

    /// Tells a step that it has to end.
    pub(crate) fn tell(&self, position: Position) {
        if let Some(step) = self.state().steps.get(&position) {
            (step.tell)();
        }
    }

    /// What a step has lost.
    pub(crate) fn lost(&self, position: Position) -> Option<Lost> {
        self.state().steps.get(&position)?.lost.clone()
    }

    /// Claims a path for a step. Waits for steps that stand later and have touched it to be undone.
    ///
    /// # Errors
    ///
    /// [`Lost`] where a step that stands before has touched it, where this step has lost another path meanwhile, or after [`Self::give_up`].
    pub(crate) fn claim(&self, position: Position, path: &Path, access: Access) -> Result<(), Lost> {
        let mut state = self.state();
        loop {
            if let Some(lost) = state.steps.get(&position).and_then(|step| step.lost.clone()) {
                return Err(lost);
            }
            if state.has_given_up {
                return Err(Lost { with: position, path: path.to_owned() });
            }
            let others = self.conflicting(&state, position, path, access);
            if let Some(with) = others.range(..position).next() {
                let lost = Lost { with: *with, path: path.to_owned() };
                if let Some(step) = state.steps.get_mut(&position) {
                    step.lost = Some(lost.clone());
                    (step.tell)();
                }
                return Err(lost);
            }
            if others.is_empty() {
                let by = state.held.entry(path.to_owned()).or_default();
                by.entry(position).or_default().insert(access);
                return Ok(());
            }
            // What was built on what one of them did is undone before it.
            let all: Vec<Position> = state.steps.keys().copied().collect();
            let lose = |step: &Position| others.iter().any(|other| step == other || self.is_after(*step, *other));
            for loses in all.into_iter().filter(lose) {
                if let Some(step) = state.steps.get_mut(&loses).filter(|step| step.lost.is_none()) {
                    step.lost = Some(Lost { with: position, path: path.to_owned() });
                    (step.tell)();
                }
            }
            // Those who wait themselves have to see that they lost.
            self.0.changed.notify_all();
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The steps whose claims an access conflicts with.
    fn conflicting(&self, state: &State, position: Position, path: &Path, access: Access) -> BTreeSet<Position> {
        let mut found = BTreeSet::new();
        let mut look = |by: &BTreeMap<Position, BTreeSet<Access>>, conflicts: &dyn Fn(Access) -> bool| {
            let others = by.iter().filter(|(other, _)| !self.are_ordered(position, **other));
            found.extend(others.filter(|(_, held)| held.iter().any(|held| conflicts(*held))).map(|(other, _)| *other));
        };
        if let Some(by) = state.held.get(path) {
            look(by, &|held| held.conflicts(access));
        }
        for above in path.ancestors().skip(1) {
            if let Some(by) = state.held.get(above) {
                look(by, &|held| held == Access::Write);
            }
        }
        if access == Access::Write {
            let from = (Bound::Excluded(path.to_owned()), Bound::Unbounded);
            for (_, by) in state.held.range(from).take_while(|(below, _)| below.starts_with(path)) {
                look(by, &|_| true);
            }
        }
        found
    }

    /// Whether one of two steps comes after the other by dependency, or they are the same.
    fn are_ordered(&self, one: Position, other: Position) -> bool {
        let after = &self.0.is_after.0;
        one == other || after(one, other) || after(other, one)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn claims(after: &[&[Position]]) -> Claims {
        let table: Vec<Vec<Position>> = after.iter().map(|after| after.to_vec()).collect();
        let claims = Claims::new(move |one, other| table[one].contains(&other));
        (0..after.len()).for_each(|position| claims.enter(position, || {}));
        claims
    }

    fn conflict(first: (&str, Access), then: (&str, Access)) -> bool {
        let claims = claims(&[&[], &[]]);
        claims.claim(0, Path::new(first.0), first.1).unwrap();
        claims.claim(1, Path::new(then.0), then.1).is_err()
    }

    #[test]
    fn what_conflicts() {
        use Access::{Enter, List, Read, Write};
        let same = [(Read, Write), (Write, Write), (Write, Read), (List, Enter), (Enter, List), (List, Write)];
        for (one, other) in same {
            assert!(conflict(("/w/a", one), ("/w/a", other)), "{one:?} {other:?}");
        }
        for (one, other) in [(Read, Read), (List, List), (Enter, Enter), (Read, Enter), (Read, List)] {
            assert!(!conflict(("/w/a", one), ("/w/a", other)), "{one:?} {other:?}");
        }
        assert!(conflict(("/w/d", Write), ("/w/d/x", Read)), "the directory is made or renamed");
        assert!(conflict(("/w/d/x", Read), ("/w/d", Write)));
        assert!(!conflict(("/w/d", Enter), ("/w/d/x", Read)));
        assert!(!conflict(("/w/d", Write), ("/w/dx", Write)));
        assert!(!conflict(("/w/dx", Read), ("/w/d", Write)));
    }

    #[test]
    fn steps_that_depend_on_each_other_share() {
        let claims = claims(&[&[], &[0]]);
        let path = Path::new("/w/a");
        claims.claim(0, path, Access::Write).unwrap();
        claims.claim(1, path, Access::Write).unwrap();
        claims.claim(0, path, Access::Read).unwrap();
    }

    #[test]
    fn the_later_one_loses_and_stays_lost() {
        let claims = claims(&[&[], &[]]);
        claims.claim(0, Path::new("/w/a"), Access::Write).unwrap();
        let lost = claims.claim(1, Path::new("/w/a"), Access::Read).unwrap_err();
        assert_eq!(lost, Lost { with: 0, path: "/w/a".into() });
        assert_eq!(claims.claim(1, Path::new("/w/b"), Access::Read), Err(lost.clone()));
        assert_eq!((claims.lost(0), claims.lost(1)), (None, Some(lost)));
    }

    #[test]
    fn the_earlier_one_waits_until_the_later_one_is_undone() {
        let claims = Claims::new(|_, _| false);
        let (tell, told) = mpsc::channel();
        claims.enter(0, || {});
        claims.enter(1, move || tell.send(()).unwrap());
        claims.claim(1, Path::new("/w/a"), Access::Read).unwrap();
        let waiting = std::thread::spawn({
            let claims = claims.clone();
            move || claims.claim(0, Path::new("/w/a"), Access::Write)
        });
        told.recv().unwrap();
        assert_eq!(claims.lost(1).unwrap().with, 0);
        assert!(!waiting.is_finished());
        claims.release(1);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn who_loses_takes_along_what_comes_after_it() {
        let claims = claims(&[&[], &[], &[1], &[]]);
        for position in [1, 2, 3] {
            claims.claim(position, Path::new(&format!("/w/{position}")), Access::Write).unwrap();
        }
        let first = std::thread::spawn({
            let claims = claims.clone();
            move || claims.claim(0, Path::new("/w/1"), Access::Write)
        });
        while claims.lost(1).is_none() {
            std::thread::yield_now();
        }
        assert_eq!((claims.lost(2).unwrap().with, claims.lost(3)), (0, None));
        let after = std::thread::spawn({
            let claims = claims.clone();
            move || claims.wait_for_all_after(1)
        });
        claims.release(2);
        after.join().unwrap();
        claims.enter(2, || {});
        assert_eq!(claims.lost(2).unwrap().with, 0, "one that begins now has lost as well");
        claims.release(1);
        first.join().unwrap().unwrap();
        assert_eq!(claims.of(0), [("/w/1".into(), Access::Write)]);
    }

    #[test]
    fn where_something_cannot_be_undone_nobody_waits() {
        let claims = claims(&[&[], &[]]);
        claims.claim(1, Path::new("/w/a"), Access::Write).unwrap();
        let first = std::thread::spawn({
            let claims = claims.clone();
            move || claims.claim(0, Path::new("/w/a"), Access::Write)
        });
        claims.give_up();
        first.join().unwrap().unwrap_err();
        claims.claim(0, Path::new("/w/b"), Access::Read).unwrap_err();
    }

    #[test]
    fn one_that_waits_and_loses_stops_waiting() {
        let claims = claims(&[&[], &[], &[]]);
        claims.claim(2, Path::new("/w/c"), Access::Write).unwrap();
        claims.claim(1, Path::new("/w/b"), Access::Write).unwrap();
        let second = std::thread::spawn({
            let claims = claims.clone();
            move || claims.claim(1, Path::new("/w/c"), Access::Write)
        });
        let first = std::thread::spawn({
            let claims = claims.clone();
            move || claims.claim(0, Path::new("/w/b"), Access::Write)
        });
        assert_eq!(second.join().unwrap().unwrap_err().with, 0, "it had to wait for the third, and lost to the first");
        claims.release(1);
        first.join().unwrap().unwrap();
    }
}
