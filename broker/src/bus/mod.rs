//! The event bus: carries what happens to the operators who follow it.
//!
//! Publishing never waits: events go into a bounded queue (`queue`), a thread (`keeper`) gives them to the embedded
//! router of `rumqttd` (`router`), and each operator's connection that follows events has a link to it, whose task
//! (`feed`) fills the connection's mailbox. Every stream, which is a kind of event and the first segment of its
//! group (`streams`), numbers its events; wherever some are lost, the numbers tell (`gaps`): in the queue, with a
//! router that died, behind a link or a mailbox that is slow. No part waits for a slower one, but the thread for the
//! router.
//!
//! Threads and router are started when the first operator follows events. A router that has died is built anew. The
//! threads end with the bus; the router's own cannot be ended and sleeps until the process ends.

mod feed;
mod frame;
mod gaps;
mod keeper;
mod queue;
mod router;
mod streams;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use wakemq_core::Following;
use wakemq_protocol::EventNews;

use crate::engine::Events;
use crate::metrics::Metrics;
use crate::registry::Mailbox;

use queue::{Queued, Router, Shared};

pub use feed::Feed;
pub use frame::Frame;

/// Most connections that may follow events at a time.
const LINKS_MAX: usize = 1_000;

/// Says why a connection cannot follow events.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Too many do.
    #[error("{LINKS_MAX} connections follow events already")]
    Full,
    /// The system gives no thread.
    #[error("the event bus cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Carries events to operators; dropped, it ends.
#[derive(Debug)]
pub struct Bus {
    shared: Arc<Shared>,
    /// Whether the bus's thread runs.
    running: Mutex<bool>,
}

impl Bus {
    /// Makes a bus that nobody follows yet.
    pub fn start(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { shared: Arc::new(Shared::new(metrics)), running: Mutex::new(false) })
    }

    /// Returns how many connections follow events.
    pub fn links(&self) -> usize {
        self.shared.followers()
    }

    /// Tells whether events can be carried at the moment, or could if anybody followed them.
    pub fn is_healthy(&self) -> bool {
        matches!(*self.shared.router.borrow(), Router::Up(_)) || !*self.running.lock()
    }

    /// Fills a mailbox with the events that its connection follows, for as long as the feed is kept. To be called on
    /// a tokio runtime.
    pub fn feed(&self, mailbox: &Arc<Mailbox>, following: Following) -> Result<Feed, BusError> {
        if !self.shared.add_follower(LINKS_MAX) {
            return Err(BusError::Full);
        }
        let feed = Feed::start(self.shared.clone(), mailbox.clone(), following);
        let mut running = self.running.lock();
        if !*running {
            let shared = self.shared.clone();
            thread::Builder::new().name("bus".to_owned()).spawn(move || keeper::keep(&shared))?;
            *running = true;
        }
        // It may sleep without a time limit, which is for when nobody follows.
        self.shared.suspect();
        Ok(feed)
    }

    /// Kills the router, for tests: it panics over the topic.
    #[doc(hidden)]
    pub fn kill_router(&self) {
        self.shared.push_raw(Queued { stream: "\u{e9}".into(), event: bytes::Bytes::new() });
    }
}

impl Events for Bus {
    fn are_heard(&self) -> bool {
        self.shared.followers() > 0
    }

    /// Where there is no room, the event is dropped with a count, and those who follow see a gap.
    fn publish(&self, news: EventNews) {
        self.shared.metrics.events_published.inc();
        if self.are_heard() {
            self.shared.push(&news);
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.shared.close();
    }
}
