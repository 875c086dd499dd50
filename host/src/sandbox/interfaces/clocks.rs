//! `wasi:clocks`: virtual by default, so that the machine's time reaches neither guest nor trace.
//!
//! A virtual clock starts at the plan's start time, advances by [`STEP_NS`] for every reading, and a timer that nothing else is waited
//! for with makes it jump (`io.rs`). Real clocks are wasmtime-wasi's, recorded.

use wasmtime::Result;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::clocks::WasiClocksView as _;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{Pollable, subscribe};

use super::Own;
use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::table::table;
use crate::sandbox::wire::record;

/// What a virtual clock advances by for one reading: 1 ms, so that a guest that waits by reading the clock comes to an end.
const STEP_NS: u64 = 1_000_000;

pub(super) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> Result<()> {
    monotonic_clock::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    wall_clock::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)
}

/// Where a guest's time comes from.
#[derive(Debug)]
pub(crate) enum GuestClock {
    /// Time that only the guest's own readings and timers move.
    Virtual {
        /// Seconds since 1970 at which the wall clock starts.
        start_time: u64,
        /// Nanoseconds since then.
        elapsed_ns: u64,
    },
    /// The machine's.
    Real,
}

impl GuestClock {
    /// The virtual monotonic time without advancing it.
    pub(crate) const fn virtual_ns(&self) -> Option<u64> {
        match self {
            Self::Virtual { elapsed_ns, .. } => Some(*elapsed_ns),
            Self::Real => None,
        }
    }

    /// Moves virtual time forward to `ns`.
    pub(crate) fn jump_to(&mut self, ns: u64) {
        if let Self::Virtual { elapsed_ns, .. } = self {
            *elapsed_ns = (*elapsed_ns).max(ns);
        }
    }

    fn read(&mut self) -> Option<u64> {
        match self {
            Self::Virtual { elapsed_ns, .. } => {
                *elapsed_ns = elapsed_ns.saturating_add(STEP_NS);
                Some(*elapsed_ns)
            }
            Self::Real => None,
        }
    }

    fn wall(&mut self) -> Option<wall_clock::Datetime> {
        let ns = self.read()?;
        self.wall_at(ns)
    }

    /// The virtual wall clock at a monotonic time.
    fn wall_at(&self, ns: u64) -> Option<wall_clock::Datetime> {
        match self {
            Self::Virtual { start_time, .. } => Some(wall_clock::Datetime {
                seconds: start_time.saturating_add(ns / 1_000_000_000),
                nanoseconds: u32::try_from(ns % 1_000_000_000).unwrap_or_default(),
            }),
            Self::Real => None,
        }
    }

    /// The virtual wall clock now, without advancing it: what `set-times` with `now` means.
    pub(crate) fn virtual_wall(&self) -> Option<wall_clock::Datetime> {
        self.wall_at(self.virtual_ns()?)
    }
}

/// A handle for a virtual timer. It never becomes ready by waiting: `poll` moves the virtual clock instead.
struct Timer;

#[async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        std::future::pending::<()>().await;
    }
}

impl Live {
    fn monotonic_now(&mut self) -> Result<u64> {
        match self.clock.read() {
            Some(ns) => Ok(ns),
            None => monotonic_clock::Host::now(&mut self.clocks()),
        }
    }

    fn monotonic_resolution(&mut self) -> Result<u64> {
        match self.clock {
            GuestClock::Virtual { .. } => Ok(STEP_NS),
            GuestClock::Real => monotonic_clock::Host::resolution(&mut self.clocks()),
        }
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        match self.clock {
            GuestClock::Virtual { .. } => self.timer(when),
            GuestClock::Real => monotonic_clock::Host::subscribe_instant(&mut self.clocks(), when),
        }
    }

    fn subscribe_duration(&mut self, duration: u64) -> Result<Resource<DynPollable>> {
        match self.clock.virtual_ns() {
            Some(now) => self.timer(now.saturating_add(duration)),
            None => monotonic_clock::Host::subscribe_duration(&mut self.clocks(), duration),
        }
    }

    fn timer(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let timer = self.table.push(Timer)?;
        let pollable = subscribe(&mut self.table, timer)?;
        self.timers.insert(pollable.rep(), when);
        Ok(pollable)
    }

    fn wall_now(&mut self) -> Result<wall_clock::Datetime> {
        match self.clock.wall() {
            Some(now) => Ok(now),
            None => wall_clock::Host::now(&mut self.clocks()),
        }
    }

    fn wall_resolution(&mut self) -> Result<wall_clock::Datetime> {
        match self.clock {
            GuestClock::Virtual { .. } => {
                Ok(wall_clock::Datetime { seconds: 0, nanoseconds: u32::try_from(STEP_NS).unwrap_or(u32::MAX) })
            }
            GuestClock::Real => wall_clock::Host::resolution(&mut self.clocks()),
        }
    }
}

record!(wall_clock::Datetime { "nanoseconds": nanoseconds, "seconds": seconds });

table! { impl monotonic_clock::Host as "wasi:clocks/monotonic-clock#" via |live| live.clocks();
    ours(monotonic_now) fn now = "now"() -> Result<u64>;
    ours(monotonic_resolution) fn resolution = "resolution"() -> Result<u64>;
    ours(subscribe_instant) fn subscribe_instant = "subscribe-instant"(when "when": u64) -> Result<Resource<DynPollable>>;
    ours(subscribe_duration) fn subscribe_duration = "subscribe-duration"(when "when": u64) -> Result<Resource<DynPollable>>;
}

table! { impl wall_clock::Host as "wasi:clocks/wall-clock#" via |live| live.clocks();
    ours(wall_now) fn now = "now"() -> Result<wall_clock::Datetime>;
    ours(wall_resolution) fn resolution = "resolution"() -> Result<wall_clock::Datetime>;
}
