//! The order of execution: Kahn's algorithm, the plan's order where dependencies leave a choice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Orders steps so that each comes after its dependencies; of the steps that could be next, the first of the plan is. Runs in
/// O((V + E) log V).
///
/// # Errors
///
/// The cycles, each as steps of which every one depends on the next and the last on the first. No step is in two of them.
pub(super) fn execution_order(dependencies: &[impl AsRef<[usize]>]) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let count = dependencies.len();
    let mut dependents = vec![Vec::new(); count];
    for (step, needed) in dependencies.iter().enumerate() {
        for &dependency in needed.as_ref() {
            if let Some(list) = dependents.get_mut(dependency) {
                list.push(step);
            }
        }
    }
    let mut waiting: Vec<usize> = dependencies.iter().map(|needed| needed.as_ref().len()).collect();
    let free = waiting.iter().enumerate().filter(|(_, waits)| **waits == 0).map(|(step, _)| Reverse(step));
    let mut ready: BinaryHeap<Reverse<usize>> = free.collect();
    let mut order = Vec::with_capacity(count);
    while let Some(Reverse(step)) = ready.pop() {
        order.push(step);
        for &dependent in dependents.get(step).map(Vec::as_slice).unwrap_or_default() {
            if let Some(waits) = waiting.get_mut(dependent) {
                *waits = waits.saturating_sub(1);
                if *waits == 0 {
                    ready.push(Reverse(dependent));
                }
            }
        }
    }
    if order.len() == count { Ok(order) } else { Err(cycles(dependencies, &waiting)) }
}

/// Walks from each step that never became ready along dependencies of its kind until a step comes up again.
fn cycles(dependencies: &[impl AsRef<[usize]>], waiting: &[usize]) -> Vec<Vec<usize>> {
    let is_stuck = |step: usize| waiting.get(step).is_some_and(|waits| *waits > 0);
    // The walk on which a step was seen, from 1.
    let mut seen_on = vec![0_usize; dependencies.len()];
    let mut cycles = Vec::new();
    for start in (0..dependencies.len()).filter(|&step| is_stuck(step)) {
        let walk = start + 1;
        let mut path = Vec::new();
        let mut at = start;
        loop {
            match seen_on.get_mut(at) {
                Some(seen) if *seen == 0 => *seen = walk,
                Some(seen) if *seen == walk => {
                    let from = path.iter().position(|&step| step == at).unwrap_or(0);
                    let mut cycle = path.split_off(from);
                    // From its first step in the plan, so that the report does not depend on where the walk came in.
                    let first =
                        cycle.iter().enumerate().min_by_key(|(_, step)| **step).map_or(0, |(position, _)| position);
                    cycle.rotate_left(first);
                    cycles.push(cycle);
                    break;
                }
                _ => break,
            }
            path.push(at);
            // INVARIANT: a stuck step has a stuck dependency, or it would have become ready.
            match dependencies.get(at).and_then(|needed| needed.as_ref().iter().copied().find(|&step| is_stuck(step))) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    cycles
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes the first step of the plan whose dependencies are done, again and again.
    fn naive(dependencies: &[Vec<usize>]) -> Option<Vec<usize>> {
        let mut order = Vec::new();
        while order.len() < dependencies.len() {
            let next = (0..dependencies.len()).find(|step| {
                !order.contains(step) && dependencies[*step].iter().all(|needed| order.contains(needed))
            })?;
            order.push(next);
        }
        Some(order)
    }

    #[test]
    fn plan_order_decides_between_equals() {
        for (dependencies, order) in [
            (Vec::<Vec<usize>>::new(), vec![]),
            (vec![vec![], vec![], vec![]], vec![0, 1, 2]),
            (vec![vec![2], vec![], vec![]], vec![1, 2, 0]),
            (vec![vec![3], vec![0], vec![], vec![]], vec![2, 3, 0, 1]),
        ] {
            assert_eq!(execution_order(&dependencies), Ok(order));
        }
    }

    #[test]
    fn cycles_are_named_once_each() {
        let dependencies = vec![vec![1], vec![2], vec![1], vec![4], vec![3], vec![3], vec![]];
        assert_eq!(execution_order(&dependencies), Err(vec![vec![1, 2], vec![3, 4]]));
        assert_eq!(execution_order(&[vec![0_usize]]), Err(vec![vec![0]]));
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_naive_algorithm(
            dependencies in (1..12_usize).prop_flat_map(|count| {
                prop::collection::vec(prop::collection::btree_set(0..count, 0..3), count)
            })
        ) {
            let dependencies: Vec<Vec<usize>> = dependencies.into_iter().map(|set| set.into_iter().collect()).collect();
            match (execution_order(&dependencies), naive(&dependencies)) {
                (Ok(order), Some(expected)) => prop_assert_eq!(order, expected),
                (Err(cycles), None) => {
                    prop_assert!(!cycles.is_empty());
                    for cycle in cycles {
                        for (at, step) in cycle.iter().enumerate() {
                            let next = cycle[(at + 1) % cycle.len()];
                            prop_assert!(dependencies[*step].contains(&next));
                        }
                    }
                }
                (found, expected) => prop_assert!(false, "{:?} {:?}", found, expected),
            }
        }
    }
}
