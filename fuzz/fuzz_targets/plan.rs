//! A plan from any bytes is read or refused with problems, and what is read validates or not, against no skills at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skillhost::plan::Plan;
use skillhost::skill::Catalog;
use skillhost::validate::validate;

fuzz_target!(|bytes: &[u8]| {
    for read in [Plan::from_json(bytes), Plan::from_yaml(bytes)] {
        match read {
            Ok(plan) => assert!(!plan.steps.is_empty() && validate(plan, &Catalog::new()).is_err()),
            Err(problems) => assert!(!problems.is_empty()),
        }
    }
});
