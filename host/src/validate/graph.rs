//! What depends on what: by `depends_on`, and by references.

use std::collections::BTreeMap;

use super::places;
use crate::id::StepId;
use crate::plan::draft::{Outline, OutlineStep};
use crate::plan::template::{Root, Template};
use crate::problem::{Problem, Problems, shown, suggestion};

/// What a step needs, as positions in the plan, each ascending.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    /// All steps that come before it.
    pub(super) dependencies: Vec<usize>,
    /// Those of them whose outputs it refers to.
    pub(super) references: Vec<usize>,
}

/// What a step needs. A dependency on the step itself or on no step is reported; a reference of that kind is where references are checked.
pub(super) fn needs_of(
    index: usize,
    step: &OutlineStep<'_>,
    plan: &Outline<'_>,
    by_id: &BTreeMap<StepId, usize>,
    problems: &mut Problems,
) -> Needs {
    let mut dependencies = Vec::new();
    let label = || places::label(index, step.id);
    for &(position, name) in &step.depends_on {
        let pointer = || format!("/steps/{index}/depends_on/{position}");
        let found = StepId::new(name).ok().and_then(|id| by_id.get(&id).copied());
        match found {
            Some(_) if step.id.is_some_and(|id| id.as_str() == name) => {
                let message = format!("{} depends on itself", label());
                problems.push(Problem::new("self-dependency", pointer(), message).with_hint("take it out"));
            }
            Some(dependency) => dependencies.push(dependency),
            None if plan.gaps.may_have_step(name) => {}
            None => {
                let message = format!("{} depends on `{}`, which is no step", label(), shown(name));
                let mut problem = Problem::new("unknown-step", pointer(), message);
                if !problems.is_full() {
                    problem.hint = suggestion(name, plan.steps.iter().filter_map(|step| Some(step.id?.as_str())));
                }
                problems.push(problem);
            }
        }
    }
    let compensation = step.compensate.and_then(|call| call.input);
    let mut references: Vec<usize> = Vec::new();
    for located in step.templates().chain(compensation).flat_map(Template::references) {
        if let Root::Step(id) = &located.reference.root
            && let Some(&dependency) = by_id.get(id)
            && Some(id) != step.id
        {
            references.push(dependency);
        }
    }
    references.sort_unstable();
    references.dedup();
    dependencies.extend(&references);
    dependencies.sort_unstable();
    dependencies.dedup();
    Needs { dependencies, references }
}

/// Reports steps that depend on each other in a circle.
pub(super) fn report_cycle(plan: &Outline<'_>, cycle: &[usize], problems: &mut Problems) {
    const NAMED_MAX: usize = 10;
    let name = |index: &usize| plan.steps.get(*index).and_then(|step| step.id).map_or("?", StepId::as_str);
    let Some(first) = cycle.first() else { return };
    let mut names: Vec<&str> = cycle.iter().take(NAMED_MAX).map(name).collect();
    if cycle.len() > NAMED_MAX {
        names.push("…");
    }
    names.push(name(first));
    let message = format!("the steps depend on each other in a circle: `{}`", names.join(" -> "));
    let hint = "`a -> b` means that `a` needs `b`, by `depends_on` or by a reference; take one of them out";
    problems.push(Problem::new("cycle", format!("/steps/{first}"), message).with_hint(hint));
}

/// Which steps come before which, through others too: one bit for each pair.
#[derive(Debug, Clone)]
pub(super) struct Ancestors {
    words: usize,
    bits: Vec<u64>,
}

impl Ancestors {
    /// Of steps with these dependencies, `order` putting each after its own.
    pub(super) fn of(needs: &[Needs], order: &[usize]) -> Self {
        let words = needs.len().div_ceil(64);
        let mut all = Self { words, bits: vec![0; words.saturating_mul(needs.len())] };
        for &step in order {
            let mut row = vec![0_u64; words];
            for &dependency in needs.get(step).map(|needs| needs.dependencies.as_slice()).unwrap_or_default() {
                for (word, theirs) in row.iter_mut().zip(all.row(dependency)) {
                    *word |= theirs;
                }
                if let Some(word) = row.get_mut(dependency / 64) {
                    *word |= 1 << (dependency % 64);
                }
            }
            let start = step.saturating_mul(words);
            if let Some(place) = all.bits.get_mut(start..start.saturating_add(words)) {
                place.copy_from_slice(&row);
            }
        }
        all
    }

    fn row(&self, step: usize) -> &[u64] {
        let start = step.saturating_mul(self.words);
        self.bits.get(start..start.saturating_add(self.words)).unwrap_or_default()
    }

    /// Whether `earlier` has to come before `later`.
    pub(super) fn is_before(&self, earlier: usize, later: usize) -> bool {
        self.row(later).get(earlier / 64).is_some_and(|word| word & (1 << (earlier % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// All that a walk along dependencies from `later` meets.
    fn naive(dependencies: &[Vec<usize>], later: usize) -> BTreeSet<usize> {
        let mut met = BTreeSet::new();
        let mut open = vec![later];
        while let Some(step) = open.pop() {
            open.extend(dependencies[step].iter().copied().filter(|needed| met.insert(*needed)));
        }
        met
    }

    proptest! {
        #[test]
        fn what_comes_before_is_what_a_walk_finds(
            dependencies in (1..80_usize).prop_flat_map(|count| {
                let of = |step: usize| prop::collection::vec(0..step.max(1), 0..=usize::from(step > 0) * 2);
                (0..count).map(of).collect::<Vec<_>>()
            })
        ) {
            let needs: Vec<Needs> = dependencies
                .iter()
                .map(|dependencies| Needs { dependencies: dependencies.clone(), ..Needs::default() })
                .collect();
            let order: Vec<usize> = (0..needs.len()).collect();
            let all = Ancestors::of(&needs, &order);
            for later in 0..needs.len() {
                let met: BTreeSet<usize> = (0..needs.len()).filter(|earlier| all.is_before(*earlier, later)).collect();
                prop_assert_eq!(met, naive(&dependencies, later));
            }
        }
    }
}
