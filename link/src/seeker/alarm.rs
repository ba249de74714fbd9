//! The one timer of a seeker, and its clock.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::Clock;
use crate::timer::{Time, Timer};

/// Waits for the next moment that is due, by a clock in milliseconds since 1970 that counts suspend and never goes back.
#[derive(Debug)]
pub(super) struct Alarm {
    time: Time,
    start: Instant,
    start_unix_ms: u64,
    timer: Option<Timer>,
    armed_ms: Option<u64>,
}

impl Alarm {
    /// Starts the clock at the wall clock's time.
    pub(super) fn new(clock: Clock, unix_ms: u64) -> Self {
        let time = Time::start(clock);
        Self { start: time.now(), time, start_unix_ms: unix_ms, timer: None, armed_ms: None }
    }

    pub(super) fn now_ms(&self) -> u64 {
        let since = self.time.now().saturating_duration_since(self.start);
        self.start_unix_ms.saturating_add(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Is ready when `due_ms` has come. A moment that stays the same costs no system call.
    pub(super) fn poll(&mut self, due_ms: Option<u64>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due_ms) = due_ms else { return Poll::Pending };
        loop {
            if due_ms <= self.now_ms() {
                return Poll::Ready(());
            }
            if self.armed_ms != Some(due_ms) {
                self.arm(due_ms);
            }
            let Some(timer) = &mut self.timer else { return Poll::Pending };
            if let Err(error) = ready!(timer.poll(cx)) {
                self.replace(&error, due_ms);
                continue;
            }
            self.armed_ms = None;
        }
    }

    fn arm(&mut self, due_ms: u64) {
        self.armed_ms = Some(due_ms);
        let at = self.instant(due_ms);
        let armed = match &mut self.timer {
            Some(timer) => timer.arm(at),
            None => self.time.timer(at).map(|timer| self.timer = Some(timer)),
        };
        if let Err(error) = armed {
            self.replace(&error, due_ms);
        }
    }

    /// Goes on with tokio's timer, which needs nothing of the system.
    fn replace(&mut self, error: &std::io::Error, due_ms: u64) {
        tracing::warn!(%error, "the system's timer cannot be used");
        self.timer = Time::start(Clock::Tokio).timer(self.instant(due_ms)).ok();
    }

    fn instant(&self, at_ms: u64) -> Instant {
        self.start + Duration::from_millis(at_ms.saturating_sub(self.start_unix_ms))
    }
}
