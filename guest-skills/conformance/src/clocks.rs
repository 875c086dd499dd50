//! Clocks, sleeping, and waiting for several things.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::io::poll::poll;

use crate::Case;
use crate::report::say;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("clock-monotonic", monotonic),
    ("clock-wall", wall),
    ("clock-resolution", resolution),
    ("clock-both", both),
    ("sleep", sleep),
    ("sleep-nothing", sleep_nothing),
    ("timer-past", timer_past),
    ("timer-ready", timer_ready),
    ("timer-order", timer_order),
    ("timer-many", timer_many),
    ("poll-same-twice", poll_same_twice),
    ("poll-nothing", poll_nothing),
    ("poll-again", poll_again),
];

const MILLISECOND: u64 = 1_000_000;

#[expect(clippy::disallowed_methods, reason = "reading clocks is what is tried")]
fn monotonic(_: &[String]) -> io::Result<()> {
    let mut last = Instant::now();
    let mut backwards = 0;
    for _ in 0..1000 {
        let now = Instant::now();
        backwards += u32::from(now < last);
        last = now;
    }
    say("backwards", backwards);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "reading clocks is what is tried")]
fn wall(_: &[String]) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    say("after 1970", now.is_ok());
    say("nanoseconds are below a second", wall_clock::now().nanoseconds < 1_000_000_000);
    Ok(())
}

fn resolution(_: &[String]) -> io::Result<()> {
    let resolution = wall_clock::resolution();
    say("monotonic", (1..=1_000_000_000).contains(&monotonic_clock::resolution()));
    say("wall", resolution.seconds <= 1 && resolution.nanoseconds < 1_000_000_000);
    say("wall is not zero", resolution.seconds > 0 || resolution.nanoseconds > 0);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "reading clocks is what is tried")]
fn both(_: &[String]) -> io::Result<()> {
    let (monotonic, wall) = (Instant::now(), SystemTime::now());
    std::thread::sleep(Duration::from_millis(30));
    let (monotonic, wall) = (monotonic.elapsed(), wall.elapsed());
    say("monotonic has moved", monotonic >= Duration::from_millis(30));
    say("wall has moved", wall.is_ok_and(|wall| wall >= Duration::from_millis(20)));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "sleeping is what is tried")]
fn sleep(_: &[String]) -> io::Result<()> {
    for milliseconds in [1, 20, 50] {
        let start = Instant::now();
        std::thread::sleep(Duration::from_millis(milliseconds));
        say("at least", start.elapsed() >= Duration::from_millis(milliseconds));
        say("not for long", start.elapsed() < Duration::from_secs(5));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "sleeping is what is tried")]
fn sleep_nothing(_: &[String]) -> io::Result<()> {
    std::thread::sleep(Duration::ZERO);
    std::thread::sleep(Duration::from_nanos(1));
    std::thread::yield_now();
    say("awake", true);
    Ok(())
}

fn timer_past(_: &[String]) -> io::Result<()> {
    let now = monotonic_clock::now();
    for (name, when) in [("zero", 0), ("before", now.saturating_sub(1)), ("now", now)] {
        let timer = monotonic_clock::subscribe_instant(when);
        timer.block();
        say(name, timer.ready());
    }
    let timer = monotonic_clock::subscribe_duration(0);
    timer.block();
    say("no duration", timer.ready());
    Ok(())
}

fn timer_ready(_: &[String]) -> io::Result<()> {
    let timer = monotonic_clock::subscribe_duration(3600 * 1000 * MILLISECOND);
    say("not for an hour", timer.ready());
    let short = monotonic_clock::subscribe_duration(5 * MILLISECOND);
    short.block();
    say("after blocking", short.ready());
    say("still not", timer.ready());
    Ok(())
}

fn timer_order(_: &[String]) -> io::Result<()> {
    let late = monotonic_clock::subscribe_duration(10_000 * MILLISECOND);
    let soon = monotonic_clock::subscribe_duration(20 * MILLISECOND);
    say("first", poll(&[&late, &soon]));
    say("other order", poll(&[&soon, &late]));
    Ok(())
}

fn timer_many(_: &[String]) -> io::Result<()> {
    let start = monotonic_clock::now();
    let timers: Vec<_> = (1..=100).map(|turn| monotonic_clock::subscribe_duration(turn * MILLISECOND)).collect();
    for timer in &timers {
        timer.block();
    }
    let references: Vec<_> = timers.iter().collect();
    say("ready", poll(&references).len());
    say("at least", monotonic_clock::now() - start >= 100 * MILLISECOND);
    Ok(())
}

fn poll_same_twice(_: &[String]) -> io::Result<()> {
    let timer = monotonic_clock::subscribe_duration(0);
    timer.block();
    say("both", poll(&[&timer, &timer]));
    Ok(())
}

fn poll_nothing(_: &[String]) -> io::Result<()> {
    println!("before");
    say("nothing", poll(&[]));
    Ok(())
}

fn poll_again(_: &[String]) -> io::Result<()> {
    let timer = monotonic_clock::subscribe_duration(MILLISECOND);
    for _ in 0..3 {
        say("ready", poll(&[&timer]));
    }
    Ok(())
}
