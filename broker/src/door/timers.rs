//! The one timer structure of all connections, and the task that fires it.

use std::num::NonZeroU64;
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::Engine;
use crate::registry::ConnectionId;
use crate::transport::timers::{TimerId, Wheel};

/// How late a timer may fire.
const TICK: Duration = Duration::from_millis(250);

/// One entry for each connection; see [`Wheel`].
pub struct Timers {
    wheel: Mutex<Wheel<NonZeroU64>>,
}

impl Timers {
    /// Makes one with no entry.
    pub fn new(now_ms: u64) -> Self {
        let tick_ms = u64::try_from(TICK.as_millis()).unwrap_or(250);
        Self { wheel: Mutex::new(Wheel::new(tick_ms, now_ms)) }
    }

    pub(crate) fn len(&self) -> usize {
        self.wheel.lock().len()
    }

    pub(crate) fn arm(&self, id: ConnectionId, deadline_ms: u64) -> TimerId {
        self.wheel.lock().insert(id.0, deadline_ms)
    }

    /// Moves a connection's timer, or sets it anew if it has fired.
    pub(crate) fn rearm(&self, timer: TimerId, id: ConnectionId, deadline_ms: u64) -> TimerId {
        let mut wheel = self.wheel.lock();
        if wheel.rearm(timer, id.0, deadline_ms) { timer } else { wheel.insert(id.0, deadline_ms) }
    }

    pub(crate) fn cancel(&self, timer: TimerId, id: ConnectionId) {
        self.wheel.lock().cancel(timer, id.0);
    }

    pub(crate) async fn run(&self, engine: &Engine) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut fired = Vec::new();
        loop {
            ticks.tick().await;
            self.wheel.lock().advance(engine.clock().mono_ms(), &mut fired);
            if !fired.is_empty() {
                let ids: Vec<_> = fired.drain(..).map(ConnectionId).collect();
                engine.registry().timers_fired(&ids);
            }
        }
    }
}
