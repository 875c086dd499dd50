//! Which step waits for which: an order in which all can run, and what comes after what.

use std::collections::BTreeSet;

/// The nodes in an order in which each comes after those that it waits for, ties by their number; an error is a node of a circle.
pub(super) fn order(waits_for: &[BTreeSet<usize>]) -> Result<Vec<usize>, usize> {
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); waits_for.len()];
    let mut open: Vec<usize> = Vec::with_capacity(waits_for.len());
    for (node, awaited) in waits_for.iter().enumerate() {
        open.push(awaited.len());
        for one in awaited {
            if let Some(list) = followers.get_mut(*one) {
                list.push(node);
            }
        }
    }
    let mut ready: BTreeSet<usize> =
        open.iter().enumerate().filter(|(_, count)| **count == 0).map(|(node, _)| node).collect();
    let mut order = Vec::with_capacity(waits_for.len());
    while let Some(node) = ready.pop_first() {
        order.push(node);
        for follower in followers.get(node).into_iter().flatten() {
            if let Some(count) = open.get_mut(*follower) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    ready.insert(*follower);
                }
            }
        }
    }
    if order.len() == waits_for.len() {
        return Ok(order);
    }
    let left: BTreeSet<usize> = (0..waits_for.len()).filter(|node| !order.contains(node)).collect();
    Err(in_circle(waits_for, &left))
}

/// Each node of `left` waits for another one of it: whoever is met twice on the way back is in a circle.
fn in_circle(waits_for: &[BTreeSet<usize>], left: &BTreeSet<usize>) -> usize {
    let mut node = left.first().copied().unwrap_or_default();
    let mut seen = BTreeSet::new();
    while seen.insert(node) {
        let next = waits_for.get(node).and_then(|awaited| awaited.iter().find(|one| left.contains(*one)));
        node = next.copied().unwrap_or(node);
    }
    node
}

/// All nodes that wait for `node`, directly or not.
pub(super) fn after(waits_for: &[BTreeSet<usize>], node: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![node];
    while let Some(next) = open.pop() {
        for (follower, awaited) in waits_for.iter().enumerate() {
            if awaited.contains(&next) && found.insert(follower) {
                open.push(follower);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[&[usize]]) -> Vec<BTreeSet<usize>> {
        edges.iter().map(|awaited| awaited.iter().copied().collect()).collect()
    }

    #[test]
    fn what_is_awaited_comes_first_and_ties_keep_their_order() {
        assert_eq!(order(&graph(&[&[2], &[], &[], &[0, 1]])), Ok(vec![1, 2, 0, 3]));
        assert_eq!(order(&graph(&[])), Ok(vec![]));
        assert_eq!(after(&graph(&[&[2], &[], &[], &[0, 1]]), 2), [0, 3].into());
    }

    #[test]
    fn a_circle_is_found() {
        assert_eq!(order(&graph(&[&[0]])), Err(0));
        // 0 waits for a circle and is in none.
        assert!(matches!(order(&graph(&[&[1], &[2], &[1]])), Err(1 | 2)));
    }
}
