//! The bus's own thread: gives events to the router, and builds a new one when it has died.

use std::collections::VecDeque;
use std::time::Duration;

use super::queue::{Next, Queued, Router, Shared};
use super::router::{self, Publisher, RouterError};
use crate::metrics::Dropped;

/// How often the router is looked after while anybody follows.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a new router is waited with: whatever killed the last one may come again.
const PAUSE: Duration = Duration::from_millis(100);

/// Keeps a router until the bus is closed.
pub(super) fn keep(shared: &Shared) {
    // What was taken out of the queue and not given to a router yet.
    let mut taken = VecDeque::new();
    loop {
        let ended = router::start().and_then(|(mut publisher, linker)| {
            shared.router.send_replace(Router::Up(linker));
            shared.metrics.bus_healthy.set(1);
            publish(shared, &mut publisher, &mut taken)?;
            publisher.leave();
            Ok(())
        });
        let Err(error) = ended else { return };
        shared.metrics.bus_healthy.set(0);
        let now = if let RouterError::Died(_) = error { Router::Starting } else { Router::Down };
        shared.router.send_replace(now);
        tracing::warn!(%error, "the event bus is built anew; operators see a gap in seq");
        if !shared.pause(PAUSE) {
            return;
        }
        shared.skip_one();
        shared.metrics.bus_rebuilds.inc();
    }
}

/// Publishes until the bus is closed.
fn publish(
    shared: &Shared,
    publisher: &mut Publisher,
    taken: &mut VecDeque<Queued>,
) -> Result<(), RouterError> {
    loop {
        while let Some(Queued { stream, event }) = taken.pop_front() {
            publisher.publish(stream, event).inspect_err(|_| {
                shared.metrics.events_dropped.of(Dropped::BusDown).inc();
            })?;
        }
        match shared.next(PATIENCE) {
            Next::Events(events) => *taken = events,
            Next::Nudge => publisher.nudge()?,
            Next::Close => return Ok(()),
        }
    }
}
