//! Linux: a timer that the kernel cancels when the clock is set or the machine resumes, and the route socket.
//!
//! Both are descriptors that wait with all others: between two events there is no system call.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

use super::Noticed;
use crate::facts::Clocks;
use crate::network::ChangeWatch;

/// Changes within this time are one: an interface that comes up changes many times.
const SETTLE: Duration = Duration::from_millis(300);

/// Between the readings of the two clocks at most this may lie, or both are read again: so that neither a processor
/// that was busy, nor a suspend just there, is taken for what it is not.
const APART_MAX: Duration = Duration::from_millis(10);
/// How often they are read; on a machine as busy as that the last attempt has to do.
const ATTEMPTS: usize = 10;

/// Reads both clocks. Neither is a system call, and in a time namespace both are that of the namespace.
pub(crate) fn clocks() -> Option<Clocks> {
    let read = |clock| Duration::try_from(clock_gettime(clock)).ok();
    let mut attempt = 1;
    loop {
        let boot_time = read(ClockId::Boottime)?;
        let clocks = Clocks { boot_time, monotonic: read(ClockId::Monotonic)? };
        if attempt == ATTEMPTS || read(ClockId::Boottime)? < boot_time + APART_MAX {
            return Some(clocks);
        }
        attempt += 1;
    }
}

/// Tells what happens until nobody listens.
pub(super) async fn watch(to: Sender<Noticed>) {
    let (clock, network) = tokio::join!(clock_set(&to), network_changed(&to));
    for (what, end) in [("resumes", clock), ("changes of the network", network)] {
        if let Err(error) = end {
            tracing::warn!(%error, "{what} are not noticed any more");
        }
    }
}

async fn clock_set(to: &Sender<Noticed>) -> io::Result<()> {
    let watch = ClockWatch::start()?;
    loop {
        watch.set().await?;
        if to.send(Noticed::ClockSet).await.is_err() {
            return Ok(());
        }
    }
}

async fn network_changed(to: &Sender<Noticed>) -> io::Result<()> {
    let watch = ChangeWatch::start()?;
    loop {
        watch.changed().await?;
        sleep(SETTLE).await;
        watch.drain()?;
        if to.send(Noticed::NetworkChanged).await.is_err() {
            return Ok(());
        }
    }
}

/// A timer that is never due.
struct ClockWatch(AsyncFd<OwnedFd>);

impl ClockWatch {
    fn start() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let never = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
        let value = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: never };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(&fd, flags, &value) {
            // Set a moment ago; it is armed all the same.
            Ok(_) | Err(Errno::CANCELED) => {}
            Err(error) => return Err(error.into()),
        }
        #[expect(deprecated, reason = "what replaces it is unsafe, for types whose descriptor may change")]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        Ok(Self(fd))
    }

    /// Waits until the clock was set. May be dropped and called again.
    async fn set(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            match rustix::io::read(ready.get_inner(), &mut [0; 8]) {
                Ok(_) | Err(Errno::CANCELED) => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    #[test]
    fn both_clocks_are_read() {
        let clocks = clocks().unwrap();
        assert!(clocks.boot_time > Duration::ZERO && clocks.monotonic > Duration::ZERO, "{clocks:?}");
    }

    #[tokio::test]
    async fn a_clock_that_nobody_sets_is_quiet() {
        let watch = ClockWatch::start().unwrap();
        let mut set = pin!(watch.set());
        assert!(!poll_fn(|cx| Poll::Ready(set.as_mut().poll(cx).is_ready())).await);
    }
}
