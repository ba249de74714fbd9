//! The queue in front of the router, and all that the bus's parts share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use wakemq_core::Interest;
use wakemq_protocol::EventNews;

use super::frame::Draft;
use super::router::Linker;
use super::streams::AllStreams;
use crate::metrics::{Dropped, Metrics};

/// Most events that wait for the router.
const EVENTS_MAX: usize = 10_000;
/// Most bytes of events that wait for the router.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// An event on its way to the router.
#[derive(Debug)]
pub(super) struct Queued {
    /// The topic on the bus.
    pub(super) stream: Bytes,
    /// The bytes of a frame.
    pub(super) event: Bytes,
}

#[derive(Debug, Default)]
struct Inside {
    streams: AllStreams,
    events: VecDeque<Queued>,
    bytes: usize,
    /// Events are being dropped; said once.
    overflowing: bool,
    /// A link has found the router dead.
    suspected: bool,
    closed: bool,
}

/// What the bus's thread is to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Publish these.
    Events(VecDeque<Queued>),
    /// Look whether the router lives.
    Nudge,
    /// End.
    Close,
}

/// What the bus, its thread and its feeds share.
#[derive(Debug)]
pub(super) struct Shared {
    inside: Mutex<Inside>,
    changed: Condvar,
    pub(super) metrics: Arc<Metrics>,
    /// How many connections follow events; without any, events go nowhere.
    followers: AtomicUsize,
    /// How the router is.
    pub(super) router: watch::Sender<Router>,
}

/// How the router is.
#[derive(Debug, Clone)]
pub(super) enum Router {
    /// It is being built.
    Starting,
    /// It runs, and this makes links to it.
    Up(Linker),
    /// It could not be built, which is tried again.
    Down,
}

impl Shared {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            inside: Mutex::default(),
            changed: Condvar::new(),
            metrics,
            followers: AtomicUsize::new(0),
            router: watch::Sender::new(Router::Starting),
        }
    }

    /// Returns how many connections follow events.
    pub(super) fn followers(&self) -> usize {
        self.followers.load(Ordering::SeqCst)
    }

    /// Counts one more follower, unless there are `max`.
    pub(super) fn add_follower(&self, max: usize) -> bool {
        let more = |followers| (followers < max).then_some(followers + 1);
        let added = self.followers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok();
        self.show_followers();
        added
    }

    /// Counts one less.
    pub(super) fn remove_follower(&self) {
        self.followers.fetch_sub(1, Ordering::SeqCst);
        self.show_followers();
    }

    fn show_followers(&self) {
        self.metrics.bus_links.set(i64::try_from(self.followers()).unwrap_or(i64::MAX));
    }

    /// Queues an event. Where there is no room it is dropped; its number is used up, and shows it.
    pub(super) fn push(&self, news: &EventNews) {
        let draft = Draft::new(news);
        let mut inside = self.inside.lock();
        let (stream, number) = inside.streams.next(news.body.kind(), &news.group);
        if inside.events.len() >= EVENTS_MAX || inside.bytes + draft.len() > BYTES_MAX {
            self.metrics.events_dropped.of(Dropped::QueueFull).inc();
            if !std::mem::replace(&mut inside.overflowing, true) {
                tracing::warn!("more events than the bus can carry: some are dropped, with a count");
            }
            return;
        }
        inside.bytes += draft.len();
        inside.events.push_back(Queued { stream, event: draft.numbered(number) });
        self.changed.notify_one();
    }

    /// Queues something that is no event.
    pub(super) fn push_raw(&self, queued: Queued) {
        self.inside.lock().events.push_back(queued);
        self.changed.notify_one();
    }

    /// Waits for something to do, at most for `patience` while anybody follows; for the bus's thread.
    pub(super) fn next(&self, patience: Duration) -> Next {
        let mut inside = self.inside.lock();
        loop {
            if inside.closed {
                return Next::Close;
            }
            if std::mem::take(&mut inside.suspected) {
                return Next::Nudge;
            }
            if !inside.events.is_empty() {
                inside.bytes = 0;
                inside.overflowing = false;
                return Next::Events(std::mem::take(&mut inside.events));
            }
            if self.followers() == 0 {
                self.changed.wait(&mut inside);
            } else if self.changed.wait_for(&mut inside, patience).timed_out() {
                return Next::Nudge;
            }
        }
    }

    /// Waits before the router is built anew; returns `false` if the bus is closed.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let mut inside = self.inside.lock();
        if !inside.closed {
            self.changed.wait_for(&mut inside, pause);
        }
        inside.suspected = false;
        !inside.closed
    }

    /// Has the bus's thread look after the router, or after whether anybody follows.
    pub(super) fn suspect(&self) {
        self.inside.lock().suspected = true;
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.inside.lock().closed = true;
        self.changed.notify_one();
    }

    /// Passes over a number in every stream, so that a router that died shows.
    pub(super) fn skip_one(&self) {
        self.inside.lock().streams.skip_one();
    }

    /// Returns the router's filters for what is to be followed.
    pub(super) fn filters(&self, interests: &BTreeSet<Interest>) -> BTreeSet<String> {
        let mut inside = self.inside.lock();
        interests.iter().map(|interest| inside.streams.filter(interest)).collect()
    }

    /// Returns the last number of every stream that a filter gives.
    pub(super) fn numbers(&self, filter: &str) -> Vec<(Bytes, u64)> {
        self.inside.lock().streams.numbers(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::frame::Frame;
    use crate::bus::tests::news;

    fn followed() -> Shared {
        let shared = Shared::new(Arc::default());
        assert!(shared.add_follower(1) && !shared.add_follower(1));
        shared
    }

    /// The numbers of what waits, in one stream.
    fn numbers(shared: &Shared) -> Vec<u64> {
        let Next::Events(events) = shared.next(Duration::ZERO) else { panic!("nothing waits") };
        events.into_iter().map(|queued| Frame::from_bytes(queued.event).unwrap().number()).collect()
    }

    #[test]
    fn a_full_queue_drops_with_a_count_and_a_gap() {
        let shared = followed();
        let news = news("a", "");
        let max = EVENTS_MAX as u64;
        (0..max + 3).for_each(|_| shared.push(&news));
        assert_eq!(shared.metrics.events_dropped.of(Dropped::QueueFull).get(), 3);
        assert_eq!(numbers(&shared), (1..=max).collect::<Vec<_>>());
        shared.push(&news);
        assert_eq!(numbers(&shared), [max + 4]);
    }

    #[test]
    fn the_queue_has_a_bound_in_bytes_too() {
        let shared = followed();
        let news = news("a", &"x".repeat(60_000));
        (0..1_000).for_each(|_| shared.push(&news));
        let room = numbers(&shared).len();
        assert!((250..=280).contains(&room), "{room}");
        assert_eq!(shared.metrics.events_dropped.of(Dropped::QueueFull).get(), 1_000 - room as u64);
    }

    #[test]
    fn the_thread_is_told_what_to_do_in_order_of_urgency() {
        let shared = followed();
        assert!(matches!(shared.next(Duration::ZERO), Next::Nudge), "nothing came in time");
        shared.push(&news("a", ""));
        shared.suspect();
        assert!(matches!(shared.next(Duration::ZERO), Next::Nudge));
        assert!(matches!(shared.next(Duration::ZERO), Next::Events(_)));
        shared.push(&news("a", ""));
        shared.close();
        assert!(matches!(shared.next(Duration::ZERO), Next::Close));
        assert!(!shared.pause(Duration::from_secs(3600)), "it does not wait any more");
    }
}
