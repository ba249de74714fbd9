//! How long a connection was quiet: the clock that tells it, and the timer that waits for it.
//!
//! One module for each way of the operating system; all moments are [`Instant`]s, whatever clock made them.

#[cfg(target_os = "linux")]
mod linux;
mod other;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use other as system;

use std::io;
use std::task::{Context, Poll};

use tokio::time::Instant;

/// Within what the machine's resume is told after it has happened, in milliseconds: until then timers, sockets and
/// networks may have been heard first.
pub(crate) const RESUME_TOLD_MS: u64 = 2_000;

/// A timer that fires so much too late tells that the machine was suspended, in milliseconds.
pub(crate) const LATE_MS: u64 = 30_000;

/// By which clock a session tells how long it was quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// Tokio's, which tests can pause. It does not count suspend on every system.
    #[default]
    Tokio,
    /// The operating system's. On Linux it counts suspend, and a quiet session makes no system call between two
    /// pings; on other systems it is tokio's.
    System,
}

/// A clock that runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Time {
    Tokio(other::Time),
    System(system::Time),
}

impl Time {
    pub(crate) fn start(clock: Clock) -> Self {
        match clock {
            Clock::Tokio => Self::Tokio(other::Time::start()),
            Clock::System => Self::System(system::Time::start()),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Tokio(time) => time.now(),
            Self::System(time) => time.now(),
        }
    }

    /// Makes a timer by this clock, due at `at`.
    pub(crate) fn timer(&self, at: Instant) -> io::Result<Timer> {
        Ok(match self {
            Self::Tokio(time) => Timer::Tokio(time.timer(at)?),
            Self::System(time) => Timer::System(time.timer(at)?),
        })
    }
}

/// Waits for one moment at a time.
///
/// Once [`poll`](Self::poll) was ready, [`arm`](Self::arm) comes before the next call of it.
#[derive(Debug)]
pub(crate) enum Timer {
    Tokio(other::Timer),
    System(system::Timer),
}

impl Timer {
    /// Waits for `at` instead. Costs a system call where the system's timer is used: not for each packet.
    pub(crate) fn arm(&mut self, at: Instant) -> io::Result<()> {
        match self {
            Self::Tokio(timer) => timer.arm(at),
            Self::System(timer) => timer.arm(at),
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tokio(timer) => timer.poll(cx),
            Self::System(timer) => timer.poll(cx),
        }
    }
}
