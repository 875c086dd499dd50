//! A policy from any text is read or refused with problems, and never grants more than its ceilings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skillhost::policy::Policy;

fuzz_target!(|text: &str| {
    match Policy::parse(text) {
        Ok(policy) => {
            for grant in &policy.grants {
                for ((_, granted), (_, ceiling)) in grant.limits.entries().iter().zip(policy.limits.entries()) {
                    assert!(*granted <= ceiling);
                }
            }
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
});
