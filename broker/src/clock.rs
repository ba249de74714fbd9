//! Engine time: the wall clock at start plus the boot-time clock.
//!
//! A time to live must not end because somebody sets the clock, and must go on while the machine is suspended.
//! So the wall clock is read once; from then on only the boot-time clock counts, and a jump of the wall clock is
//! logged and changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use wakemq_protocol::Timestamp;

/// How far, in milliseconds, the wall clock may run away from engine time before that is logged.
const JUMP_MS: i64 = 5_000;

/// The source of time of a broker.
#[derive(Clone)]
pub struct Clock {
    source: Arc<dyn Source>,
    /// What to add to the boot-time clock to get milliseconds since 1970.
    offset_ms: i64,
    /// How far the wall clock was away from engine time when that was last logged.
    drift_ms: Arc<AtomicI64>,
}

/// The two clocks of a machine, in milliseconds.
pub trait Source: Send + Sync + 'static {
    /// Reads the wall clock: milliseconds since 1970.
    fn wall_ms(&self) -> i64;
    /// Reads the clock that never jumps and counts suspend.
    fn boot_ms(&self) -> i64;
}

/// The machine's own clocks.
struct Machine;

impl Source for Machine {
    fn wall_ms(&self) -> i64 {
        read(rustix::time::ClockId::Realtime)
    }

    fn boot_ms(&self) -> i64 {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        return read(rustix::time::ClockId::Boottime);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        read(rustix::time::ClockId::Monotonic)
    }
}

fn read(id: rustix::time::ClockId) -> i64 {
    let time = rustix::time::clock_gettime(id);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

impl Clock {
    /// Starts engine time at the machine's wall clock.
    pub fn start() -> Self {
        Self::with_source(Arc::new(Machine))
    }

    /// Starts engine time at the wall clock of `source`.
    pub fn with_source(source: Arc<dyn Source>) -> Self {
        let offset_ms = source.wall_ms() - source.boot_ms();
        Self { source, offset_ms, drift_ms: Arc::default() }
    }

    /// Returns engine time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.source.boot_ms() + self.offset_ms)
    }

    /// Returns milliseconds on the clock that never jumps, for time limits.
    pub fn mono_ms(&self) -> u64 {
        u64::try_from(self.source.boot_ms()).unwrap_or(0)
    }

    /// Logs if the wall clock has jumped since the last call; returns by how many milliseconds.
    pub fn check_jump(&self) -> Option<i64> {
        let drift = self.source.wall_ms() - self.now().unix_ms();
        let jump = drift - self.drift_ms.load(Ordering::Relaxed);
        if jump.abs() < JUMP_MS {
            return None;
        }
        self.drift_ms.store(drift, Ordering::Relaxed);
        tracing::warn!(jump_ms = jump, "the wall clock was set; times to live go on as before");
        Some(jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Set {
        wall: AtomicI64,
        boot: AtomicI64,
    }

    impl Source for Set {
        fn wall_ms(&self) -> i64 {
            self.wall.load(Ordering::Relaxed)
        }
        fn boot_ms(&self) -> i64 {
            self.boot.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_jump_of_the_wall_clock_is_seen_and_changes_nothing() {
        let set = Arc::new(Set { wall: AtomicI64::new(1_800_000_000_000), boot: AtomicI64::new(7_000) });
        let clock = Clock::with_source(set.clone());
        let start = clock.now();
        assert_eq!(start.unix_ms(), 1_800_000_000_000);
        assert_eq!(clock.check_jump(), None);

        set.wall.fetch_sub(3_600_000, Ordering::Relaxed);
        set.boot.fetch_add(10, Ordering::Relaxed);
        assert_eq!(clock.now().unix_ms(), start.unix_ms() + 10);
        assert_eq!(clock.check_jump(), Some(-3_600_010));
        assert_eq!(clock.check_jump(), None, "a jump is told once");
    }
}
