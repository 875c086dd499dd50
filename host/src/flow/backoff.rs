//! How long a step waits before an attempt: a function of the plan, so that a replay waits for nothing and says the same.

use crate::id::StepId;
use crate::plan::Retry;

/// Milliseconds before attempt `attempt` of `step`, counted from 1: none before the first, `backoff_ms` before the second, twice as long
/// before each further one, and up to half of that more, by the plan's `seed`. Steps that failed together do not come back together.
#[must_use]
pub fn wait_ms(retry: &Retry, seed: u64, step: &StepId, attempt: u32) -> u64 {
    let Some(doublings) = attempt.checked_sub(2) else { return 0 };
    let wait = retry.backoff_ms.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX));
    wait.saturating_add(draw(seed, step, attempt) % (wait / 2).saturating_add(1))
}

/// A number that seed, step and attempt alone decide.
fn draw(seed: u64, step: &StepId, attempt: u32) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in [b"backoff".as_slice(), &seed.to_le_bytes(), &attempt.to_le_bytes(), step.as_str().as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut drawn = [0; 8];
    hasher.finalize_xof().fill(&mut drawn);
    u64::from_le_bytes(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RetryOn;
    use proptest::prelude::*;

    fn retry(backoff_ms: u64) -> Retry {
        Retry { attempts: 10, backoff_ms, on: vec![RetryOn::Failed] }
    }

    #[test]
    fn waits_are_those_of_seed_step_and_attempt() {
        let (fetch, send) = (StepId::new("fetch").unwrap(), StepId::new("send").unwrap());
        let waits = |seed, step| (1..=5).map(|attempt| wait_ms(&retry(1000), seed, step, attempt)).collect::<Vec<_>>();
        assert_eq!(waits(0, &fetch), waits(0, &fetch));
        assert_eq!(waits(0, &fetch)[0], 0);
        assert_ne!(waits(0, &fetch), waits(1, &fetch));
        assert_ne!(waits(0, &fetch), waits(0, &send));
        assert_eq!(wait_ms(&retry(0), 7, &fetch, 10), 0);
    }

    proptest! {
        #[test]
        fn a_wait_is_between_the_doubled_one_and_half_more(
            backoff_ms in 0..=crate::limits::BACKOFF_MS_MAX,
            seed in any::<u64>(),
            attempt in 2..=crate::limits::ATTEMPTS_MAX,
        ) {
            let base = backoff_ms << (attempt - 2);
            let wait = wait_ms(&retry(backoff_ms), seed, &StepId::new("a").unwrap(), attempt);
            prop_assert!((base..=base + base / 2).contains(&wait), "{wait}");
        }

        #[test]
        fn no_attempt_overflows(backoff_ms in any::<u64>(), attempt in any::<u32>()) {
            let _ = wait_ms(&retry(backoff_ms), 0, &StepId::new("a").unwrap(), attempt);
        }
    }
}
