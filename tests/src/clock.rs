//! A machine's clocks, in the hands of a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use wakemq_broker::clock::{Clock, Source};

/// Clocks that go on by themselves and can be set.
#[derive(Debug)]
pub struct SetClock {
    start: Instant,
    wall_ms: AtomicI64,
    boot_ms: AtomicI64,
}

impl SetClock {
    /// Starts at a moment in 2026.
    pub fn start() -> Arc<Self> {
        let (wall_ms, boot_ms) = (AtomicI64::new(1_790_000_000_000), AtomicI64::new(1_000_000));
        Arc::new(Self { start: Instant::now(), wall_ms, boot_ms })
    }

    /// Makes engine time of it.
    pub fn clock(self: &Arc<Self>) -> Clock {
        Clock::with_source(self.clone())
    }

    /// Sets the wall clock forth, or back by a negative number.
    pub fn set_wall(&self, by_ms: i64) {
        self.wall_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Lets time pass: both clocks go on.
    pub fn pass(&self, ms: i64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.boot_ms.fetch_add(ms, Ordering::SeqCst);
    }

    fn run_ms(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

impl Source for SetClock {
    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::SeqCst) + self.run_ms()
    }

    fn boot_ms(&self) -> i64 {
        self.boot_ms.load(Ordering::SeqCst) + self.run_ms()
    }
}
