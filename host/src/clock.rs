//! The only place where real time and real randomness enter the host. Everything it gives is a wall-clock fact: it may reach
//! `timing.jsonl`, a run's id, or a guest that was granted `clocks = "real"` or `random = "real"`, and nothing else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A running stopwatch.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts one.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this module owns real time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The time since 1970, as the machine's clock says.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module owns real time")]
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Waits for `duration` of real time: the epoch ticker's pause.
#[expect(clippy::disallowed_methods, reason = "this module owns real time")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Sixteen bytes from the operating system.
///
/// # Errors
///
/// What the operating system says.
pub fn entropy() -> Result<[u8; 16], std::io::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// A time since 1970 as `2026-01-31T12:00:00.123456Z` (RFC 3339 in UTC, always six decimals): sorts as text.
#[must_use]
pub fn rfc3339(since: Duration) -> String {
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{}.{:06}Z", time.strftime("%Y-%m-%dT%H:%M:%S"), since.subsec_micros())
}

/// The time now as [`rfc3339`] writes it.
#[must_use]
pub fn utc_now() -> String {
    rfc3339(since_epoch())
}

/// The time now as `20260131T120000.123456Z`: sorts by time, names folders. To the microsecond, so that runs of one second sort too.
#[must_use]
pub fn utc_compact() -> String {
    let since = since_epoch();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let now = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{}.{:06}Z", now.strftime("%Y%m%dT%H%M%S"), since.subsec_micros())
}
