//! Tokio's clock and timer: for tests, and where the system has nothing that serves better.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Tokio's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time;

impl Time {
    pub(crate) fn start() -> Self {
        Self
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    /// Never fails; the result is that of the other systems.
    pub(crate) fn timer(&self, at: Instant) -> io::Result<Timer> {
        Ok(Timer(Box::pin(sleep_until(at))))
    }
}

/// Tokio's timer.
#[derive(Debug)]
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    /// Never fails, as above.
    pub(crate) fn arm(&mut self, at: Instant) -> io::Result<()> {
        self.0.as_mut().reset(at);
        Ok(())
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}
