//! Linux: `CLOCK_BOOTTIME`, which counts suspend, and a timerfd on it.
//!
//! Tokio's timer wheel wakes its thread several times on the way to a moment that is far away; a timerfd is one
//! more descriptor to poll, and wakes it once.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The time since boot. Reading it is no system call.
fn since_boot() -> Duration {
    // Negative it cannot be.
    clock_gettime(ClockId::Boottime).try_into().unwrap_or_default()
}

/// The boot-time clock, as instants that count on from the moment when it was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    start: Instant,
    start_since_boot: Duration,
}

impl Time {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), start_since_boot: since_boot() }
    }

    pub(crate) fn now(&self) -> Instant {
        self.start + since_boot().saturating_sub(self.start_since_boot)
    }

    pub(crate) fn timer(&self, at: Instant) -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Boottime, flags)?;
        #[expect(deprecated, reason = "what replaces it is unsafe, for types whose descriptor may change")]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        let mut timer = Timer { fd, time: *self };
        timer.arm(at)?;
        Ok(timer)
    }
}

/// A timerfd.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: AsyncFd<OwnedFd>,
    time: Time,
}

impl Timer {
    pub(crate) fn arm(&mut self, at: Instant) -> io::Result<()> {
        let since_boot = self.time.start_since_boot + at.saturating_duration_since(self.time.start);
        let it_value = since_boot.try_into().map_err(io::Error::other)?;
        let value = Itimerspec { it_interval: NEVER, it_value };
        timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &value)?;
        Ok(())
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.fd.poll_read_ready(cx))?;
            // Before the read, which takes all there is, so that no second one has to find out that it did.
            ready.clear_ready();
            match rustix::io::read(ready.get_inner(), &mut [0; 8]) {
                Ok(_) => return Poll::Ready(Ok(())),
                // Armed anew since it was due.
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn it_is_due_once_and_when_it_was_last_told() {
        let time = Time::start();
        let hour = Duration::from_secs(3600);
        let mut timer = time.timer(time.now()).unwrap();
        poll_fn(|cx| timer.poll(cx)).await.unwrap();
        // Due, but armed anew before anybody looked.
        timer.arm(time.now()).unwrap();
        timer.arm(time.now() + hour).unwrap();
        let looked = poll_fn(|cx| Poll::Ready(timer.poll(cx).is_ready())).await;
        assert!(!looked, "an hour is not over");
        timer.arm(time.now()).unwrap();
        poll_fn(|cx| timer.poll(cx)).await.unwrap();
    }
}
