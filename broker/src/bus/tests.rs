//! The bus with its real threads and router; mailboxes stand for operators' connections.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wakemq_core::Following;
use wakemq_protocol::{EventBody, EventNews, SecurityWhat, Timestamp, Transport};

use super::{Bus, Feed};
use crate::engine::Events as _;
use crate::metrics::Metrics;
use crate::registry::{Letter, Mailbox, Registry};

/// How long is waited for what must come; a test that needs it fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn news(group: &str, detail: &str) -> EventNews {
    EventNews {
        at: Timestamp::from_unix_ms(0),
        group: group.parse().unwrap(),
        body: EventBody::Security {
            what: SecurityWhat::WrongSecrets,
            who: None,
            addresses: Vec::new(),
            detail: detail.to_owned(),
        },
    }
}

fn following(filters: &[&str], scope: &str) -> Following {
    Following {
        filters: filters.iter().map(|filter| format!("wake/v1/events/{filter}")).collect(),
        scope: scope.parse().unwrap(),
    }
}

struct It {
    bus: Arc<Bus>,
    metrics: Arc<Metrics>,
    registry: Registry,
}

impl It {
    fn new() -> Self {
        let metrics = Arc::new(Metrics::new());
        Self { bus: Bus::start(metrics.clone()), metrics, registry: Registry::default() }
    }

    /// An operator that follows, once everything that is published comes.
    async fn operator(&self, filters: &[&str], scope: &str) -> Operator {
        let mailbox = self.registry.open("192.0.2.1:1".parse().unwrap(), Transport::Mqtt);
        let mut feed = self.bus.feed(&mailbox, following(filters, scope)).unwrap();
        timeout(PATIENCE, feed.settled()).await.unwrap();
        Operator { mailbox, feed, read: Vec::new().into_iter() }
    }

    fn publish(&self, group: &str, detail: &str) {
        self.bus.publish(news(group, detail));
    }
}

struct Operator {
    mailbox: Arc<Mailbox>,
    feed: Feed,
    read: std::vec::IntoIter<Letter>,
}

impl Operator {
    /// The next event's detail, and how many are missing before it.
    async fn next(&mut self) -> (String, u64) {
        loop {
            match self.read.next() {
                Some(Letter::Event { event, lost }) => {
                    let news: EventNews = serde_json::from_slice(event.body()).unwrap();
                    let EventBody::Security { detail, .. } = news.body else { panic!("another event") };
                    return (detail, lost);
                }
                Some(other) => panic!("{other:?}"),
                None => {
                    let mail = timeout(PATIENCE, poll_fn(|cx| self.mailbox.poll(cx))).await;
                    self.read = mail.expect("nothing came").letters.into_iter();
                }
            }
        }
    }

    async fn expect(&mut self, detail: &str, lost: u64) {
        assert_eq!(self.next().await, (detail.to_owned(), lost));
    }

    async fn follow(&mut self, filters: &[&str], scope: &str) {
        self.feed.follow(following(filters, scope));
        timeout(PATIENCE, self.feed.settled()).await.unwrap();
    }
}

#[tokio::test]
async fn events_come_to_those_who_follow_them_and_may_see_them() {
    let it = It::new();
    let mut all = it.operator(&["#"], "").await;
    let mut paris = it.operator(&["+/a/paris/#"], "").await;
    let mut scoped = it.operator(&["#"], "a/rome").await;
    let mut root = it.operator(&["security"], "").await;
    assert_eq!(it.bus.links(), 4);
    for group in ["a", "a/paris", "b", "", "a/paris-2", "a/rome/x", "a/paris/floor-2"] {
        it.publish(group, group);
    }
    for group in ["a", "a/paris", "b", "", "a/paris-2", "a/rome/x", "a/paris/floor-2"] {
        all.expect(group, 0).await;
    }
    paris.expect("a/paris", 0).await;
    paris.expect("a/paris/floor-2", 0).await;
    scoped.expect("a/rome/x", 0).await;
    root.expect("", 0).await;
    drop((all, paris, scoped));
    assert_eq!(it.bus.links(), 1);
    assert_eq!(it.metrics.events_published.get(), 7);
}

#[tokio::test]
async fn without_followers_nothing_is_carried_and_nobody_misses_it() {
    let it = It::new();
    it.publish("a", "before");
    assert!(!it.bus.are_heard() && it.bus.is_healthy());
    let mut operator = it.operator(&["#"], "").await;
    assert!(it.bus.are_heard());
    it.publish("a", "1");
    operator.expect("1", 0).await;
    drop(operator);
    it.publish("a", "meanwhile");
    let mut operator = it.operator(&["#"], "").await;
    it.publish("a", "2");
    operator.expect("2", 0).await;
}

#[tokio::test]
async fn what_is_followed_may_change() {
    let it = It::new();
    let mut operator = it.operator(&["security/a"], "").await;
    it.publish("a", "1");
    operator.expect("1", 0).await;
    operator.follow(&["security/a", "security/b/#"], "").await;
    it.publish("a", "2");
    operator.expect("2", 0).await;
    it.publish("b", "3");
    operator.expect("3", 0).await;
    operator.follow(&["#"], "b/x").await;
    it.publish("a", "not any more");
    it.publish("b", "outside");
    it.publish("b/x", "4");
    operator.expect("4", 0).await;
    operator.follow(&["#"], "").await;
    it.publish("c", "5");
    operator.expect("5", 0).await;
}

#[tokio::test]
async fn a_router_that_dies_is_built_anew_and_the_gap_shows() {
    let it = It::new();
    let mut operators = [it.operator(&["#"], "").await, it.operator(&["security/#"], "").await];
    it.publish("a", "1");
    for operator in &mut operators {
        operator.expect("1", 0).await;
    }
    for (round, filter) in [(1, "security/#"), (2, "+/+"), (3, "security/+")] {
        it.bus.kill_router();
        // One that comes while there is no router is served by the next.
        let mut late = it.operator(&["#"], "").await;
        while it.metrics.bus_rebuilds.get() < round {
            tokio::task::yield_now().await;
        }
        for operator in &mut operators {
            // What needs another filter of the router is settled once it has a link to the new one.
            let scope = if round % 2 == 0 { "" } else { "a" };
            operator.follow(&[filter], scope).await;
        }
        it.publish("a", "2");
        for operator in &mut operators {
            operator.expect("2", 1).await;
        }
        while late.next().await.0 != "2" {}
        assert!(it.bus.is_healthy());
    }
}

#[tokio::test]
async fn a_slow_operator_loses_events_with_a_count_and_nobody_else_does() {
    const ROUNDS: u64 = 30;
    const EACH: u64 = 100;
    let it = It::new();
    let mut slow = it.operator(&["#"], "").await;
    let mut quick = it.operator(&["#"], "").await;
    for round in 0..ROUNDS {
        (0..EACH).for_each(|n| it.publish("a", &format!("{}", round * EACH + n)));
        for n in 0..EACH {
            quick.expect(&format!("{}", round * EACH + n), 0).await;
        }
    }
    let mut got = 0;
    for n in 0..1000 {
        slow.expect(&format!("{n}"), 0).await;
        got += 1;
    }
    // What was lost is told with the next that comes.
    it.publish("a", "after");
    let (detail, lost) = slow.next().await;
    assert_eq!((&*detail, lost), ("after", ROUNDS * EACH - got));
    quick.expect("after", 0).await;
}

#[tokio::test]
async fn a_thousand_and_one_connections_are_too_many() {
    let it = It::new();
    let mailbox = it.registry.open("192.0.2.1:1".parse().unwrap(), Transport::Mqtt);
    let feed = || it.bus.feed(&mailbox, following(&["security/a"], ""));
    let mut feeds: Vec<_> = (0..super::LINKS_MAX).map(|_| feed().unwrap()).collect();
    assert!(feed().is_err());
    for feed in &mut feeds {
        timeout(PATIENCE, feed.settled()).await.unwrap();
    }
    feeds.pop();
    let mut again = feed().unwrap();
    timeout(PATIENCE, again.settled()).await.unwrap();
}

#[tokio::test]
async fn a_bus_that_is_dropped_ends_its_feeds() {
    let it = It::new();
    let operator = it.operator(&["#"], "").await;
    let shared = Arc::downgrade(&it.bus.shared);
    drop(it);
    drop(operator);
    // The thread lets go of what it shares, and so do the feed's task and the links.
    timeout(PATIENCE, async {
        while shared.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}
