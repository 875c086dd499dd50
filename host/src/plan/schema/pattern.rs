//! A regular expression of a schema, as what it costs to match it: the machine that the matcher would use, made within a bound.

use std::fmt;

use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA};

/// Memory of the lazily made states: some hundred. The matcher's own have more.
const CACHE_BYTES: usize = 256 << 10;
/// How often that memory may be filled before what was made has to pay.
const CLEARS_MIN: usize = 3;
/// Bytes of text that each state has to be good for then: making one costs as many steps as the pattern has states.
const BYTES_PER_STATE_MIN: usize = 64;

/// Where it is less than this the slow matcher may be meant: what is tried costs as well.
const TRIED_MIN: u64 = 1 << 16;

/// A pattern.
pub(crate) struct Pattern {
    /// What it may cost for each byte at the worst.
    states: u64,
    /// Its size in memory.
    pub(super) bytes: usize,
    /// `None` where it needs the slow matcher in any case.
    machine: Option<DFA>,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pattern").field("states", &self.states).finish_non_exhaustive()
    }
}

impl Pattern {
    /// Reads a pattern whose machine takes at most `bytes_max`. `None` where there is no such machine: what it is that is wrong with it, the
    /// schema's own compiler says.
    pub(super) fn new(pattern: &str, bytes_max: usize) -> Option<Self> {
        let pattern = jsonschema_regex::to_rust_regex(pattern).ok()?;
        let config = thompson::Config::new().nfa_size_limit(Some(bytes_max));
        let nfa = NFA::compiler().configure(config).build(&pattern).ok()?;
        let config = DFA::config()
            .cache_capacity(CACHE_BYTES)
            .skip_cache_capacity_check(true)
            .unicode_word_boundary(true)
            .minimum_cache_clear_count(Some(CLEARS_MIN))
            .minimum_bytes_per_state(Some(BYTES_PER_STATE_MIN));
        let (states, bytes) = (nfa.states().len() as u64, nfa.memory_usage());
        let machine = DFA::builder().configure(config).build_from_nfa(nfa).ok();
        Some(Self { states, bytes, machine })
    }

    pub(super) const fn states(&self) -> u64 {
        self.states
    }

    /// What matching it costs, with more than `most` where it may be more. Where the machine has a state at hand for nearly every byte, a
    /// byte is a step; otherwise every state is looked at for every byte.
    ///
    /// `cache` is that of all texts of one output: what is made anew for each of many short ones pays as one long text does.
    pub(crate) fn units(&self, text: &str, most: u64, cache: &mut Option<Cache>) -> u64 {
        let len = text.len() as u64 + 1;
        let slow = len.saturating_mul(self.states);
        let fast = len.saturating_add(slow / BYTES_PER_STATE_MIN as u64).saturating_add(self.states);
        if slow <= TRIED_MIN.max(fast) {
            return slow;
        }
        if fast > most {
            return fast;
        }
        let Some(machine) = &self.machine else { return slow };
        let cache = cache.get_or_insert_with(|| machine.create_cache());
        match machine.try_search_fwd(cache, &Input::new(text).earliest(true)) {
            Ok(_) => fast,
            Err(_) => slow,
        }
    }
}

/// Letters in an order that no machine has a state for.
#[cfg(test)]
pub(crate) fn letters(count: usize) -> String {
    let mut state = 88_172_645_463_325_252_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state & 1 == 0 { 'a' } else { 'b' }
    };
    (0..count).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_few_states_at_a_time_is_fast() {
        let text = "some words and 1234 numbers, ".repeat(10_000);
        for pattern in ["^[a-z0-9 ,]*$", "numbers, some", "\\d{4}", "^(some|words)"] {
            let pattern = Pattern::new(pattern, 1 << 20).unwrap();
            let units = pattern.units(&text, u64::MAX - 1, &mut None);
            assert!(units < 3 * text.len() as u64, "{pattern:?}: {units}");
        }
    }

    #[test]
    fn what_makes_a_new_state_of_every_byte_is_slow() {
        let text = letters(1_000_000);
        let pattern = Pattern::new("(?:a|b)*a(?:a|b){900}c0", 1 << 20).unwrap();
        assert!(pattern.units(&text, u64::MAX - 1, &mut None) > 900 * text.len() as u64);
        assert!(pattern.units(&text, 1_000, &mut None) > 1_000);
    }

    #[test]
    fn many_short_texts_are_as_slow_as_one_long_one() {
        let (text, mut cache) = (letters(1_000_000), None);
        let pattern = Pattern::new("(?:a|b)*a(?:a|b){900}c0", 1 << 20).unwrap();
        let parts = (0..1_000).map(|at| text.get(at * 1_000..(at + 1) * 1_000).unwrap());
        let units: u64 = parts.map(|part| pattern.units(part, u64::MAX - 1, &mut cache)).sum();
        assert!(units > 800 * text.len() as u64, "{units}");
    }

    #[test]
    fn what_is_too_large_is_none() {
        assert!(Pattern::new("\\w{1000}", 1 << 16).is_none());
        assert!(Pattern::new("(", 1 << 16).is_none());
    }
}
