//! A clock that all processes of a run share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment of the machine's monotonic clock, in nanoseconds: the same clock in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Returns the present one.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        // The monotonic clock counts from the machine's start, and is never negative.
        let part = |number: i64| u64::try_from(number).unwrap_or_default();
        Self(part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec))
    }

    /// Returns how long ago an earlier one was; nothing if it was later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
