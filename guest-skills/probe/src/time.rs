//! Clocks.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{Failure, Outcome};

/// Readings that `clock` takes of each clock.
const READINGS: usize = 3;

/// Some readings of both clocks: nanoseconds since 1970, and nanoseconds since the first reading.
#[expect(clippy::disallowed_methods, reason = "reading clocks is the purpose")]
pub(crate) fn clock() -> Outcome {
    let start = Instant::now();
    for _ in 0..READINGS {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = wall.map_err(|_| Failure::Operation("the wall clock is before 1970".to_owned()))?;
        println!("wall {}", wall.as_nanos());
        println!("monotonic {}", start.elapsed().as_nanos());
    }
    Ok(ExitCode::SUCCESS)
}

/// Sleeps, and prints how long that was by the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "sleeping is the purpose")]
pub(crate) fn sleep(milliseconds: u64) -> Outcome {
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(milliseconds));
    println!("slept {}", start.elapsed().as_nanos());
    Ok(ExitCode::SUCCESS)
}

/// Makes `count` cheap host calls (readings of the monotonic clock) and prints how many.
#[expect(clippy::disallowed_methods, reason = "reading clocks is the purpose")]
pub(crate) fn calls(count: u64) -> Outcome {
    for _ in 0..count {
        std::hint::black_box(Instant::now());
    }
    println!("calls {count}");
    Ok(ExitCode::SUCCESS)
}
