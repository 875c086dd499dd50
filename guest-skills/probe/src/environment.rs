//! What the program is told about where it runs, and the randomness it gets.

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;

use crate::Outcome;

/// The arguments, one a line.
pub(crate) fn arguments(rest: &[&str]) -> Outcome {
    for argument in rest {
        println!("{argument}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The variables, one a line, in the order that the host gives.
pub(crate) fn variables() -> Outcome {
    for (name, value) in std::env::vars_os() {
        println!("{}={}", name.to_string_lossy(), value.to_string_lossy());
    }
    Ok(ExitCode::SUCCESS)
}

/// The initial folder.
pub(crate) fn folder() -> Outcome {
    println!("{}", std::env::current_dir()?.display());
    Ok(ExitCode::SUCCESS)
}

/// At least `count` random bytes in hexadecimal, sixteen a line. The standard library has no other door to `wasi:random` than the seed of
/// its hash maps: it asks the host once, and everything printed here follows from that answer.
pub(crate) fn random(count: u64) -> Outcome {
    for line in 0..count.div_ceil(16) {
        let keys = RandomState::new();
        println!("{:016x}{:016x}", keys.hash_one(line), keys.hash_one(!line));
    }
    Ok(ExitCode::SUCCESS)
}

/// The order in which a fresh hash map gives ten entries: it shows the seed, and nothing else may show in a trace.
#[expect(clippy::disallowed_types, reason = "the order is what is shown")]
pub(crate) fn hash_seed() -> Outcome {
    let map: std::collections::HashSet<u8> = (0..10).collect();
    let order: Vec<String> = map.iter().map(u8::to_string).collect();
    println!("{}", order.join(" "));
    Ok(ExitCode::SUCCESS)
}
