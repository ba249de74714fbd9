//! How many events a second the bus carries to 50 operators.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wakemq_broker::bus::{Bus, Feed};
use wakemq_broker::engine::Events as _;
use wakemq_broker::metrics::Metrics;
use wakemq_broker::registry::{Letter, Mailbox, Registry};
use wakemq_core::Following;
use wakemq_protocol::{EventBody, EventNews, GroupPath, PresenceChange, Timestamp, Transport};

use super::report::Report;
use super::{Setting, progress};
use crate::wait::within;

const FIGURE: &str = "events";
const OPERATORS: usize = 50;
/// First segments of the events' groups.
const TENANTS: usize = 100;
/// Most events that some operator has not got yet: below what a mailbox holds, so that none is lost.
const WINDOW: usize = 500;

/// Measures.
pub async fn measure(setting: &Setting) -> Result<Report> {
    let mut report = Report::new("events: through the bus, from the engine to the mailboxes of 50 operators");
    let count = setting.pick(100_000, 5_000);
    let bus = Bus::start(Arc::new(Metrics::new()));
    let registry = Registry::default();
    let (progressed, mut progresses) = mpsc::unbounded_channel();
    let mut feeds = Vec::with_capacity(OPERATORS);
    let mut operators = JoinSet::new();
    for number in 0..OPERATORS {
        let mailbox = registry.open(([127, 0, 0, 1], 1).into(), Transport::Mqtt);
        let following = Following { filters: vec!["wake/v1/events/#".to_owned()], scope: GroupPath::root() };
        let mut feed = bus.feed(&mailbox, following)?;
        within("the feed", feed.settled()).await?;
        feeds.push(feed);
        operators.spawn(read(mailbox, number, count, progressed.clone()));
    }
    let events = events()?;
    progress(FIGURE, &format!("{count} events"));
    let began = Instant::now();
    let (mut published, mut got) = (0, vec![0; OPERATORS]);
    while got.iter().any(|got| *got < count) {
        let slowest = got.iter().copied().min().unwrap_or_default();
        if published < count && published - slowest < WINDOW {
            bus.publish(events[published % events.len()].clone());
            published += 1;
            while let Ok((operator, sum)) = progresses.try_recv() {
                got[operator] = sum;
            }
            continue;
        }
        let (operator, sum) = within("an event", progresses.recv()).await?.context("no operator")?;
        got[operator] = sum;
    }
    let secs = began.elapsed().as_secs_f64();
    while let Some(operator) = operators.join_next().await {
        operator??;
    }
    drop::<Vec<Feed>>(feeds);
    report.add("events", count as f64 / secs, "events/s");
    report.add("deliveries", (count * OPERATORS) as f64 / secs, "deliveries/s");
    report.note(format!(
        "presence events over {TENANTS} first segments; every operator follows all of them with `#`; at most {WINDOW} are \
         under way, so that none is lost; what the operators' own TLS connections cost is not in it"
    ));
    Ok(report)
}

/// Takes events out of a mailbox, and tells how many it has got.
async fn read(
    mailbox: Arc<Mailbox>,
    number: usize,
    count: usize,
    progressed: mpsc::UnboundedSender<(usize, usize)>,
) -> Result<()> {
    let mut got = 0;
    while got < count {
        for letter in poll_fn(|cx| mailbox.poll(cx)).await.letters {
            match letter {
                Letter::Event { lost, .. } => {
                    ensure!(lost == 0, "operator {number} lost {lost} events");
                    got += 1;
                }
                Letter::Live { .. } | Letter::Settled { .. } | Letter::Response { .. } => {
                    ensure!(false, "no event");
                }
            }
        }
        progressed.send((number, got))?;
    }
    Ok(())
}

fn events() -> Result<Vec<EventNews>> {
    (0..TENANTS)
        .map(|tenant| {
            let body = EventBody::Presence {
                agent: format!("agent-{tenant}").parse()?,
                change: PresenceChange::Connected,
                address: Some("192.0.2.1:40000".to_owned()),
                transport: Some(Transport::Mqtt),
                detail: None,
                facts: None,
            };
            let at = Timestamp::from_unix_ms(1_790_000_000_000);
            Ok(EventNews { at, group: format!("customer-{tenant}/paris").parse()?, body })
        })
        .collect()
}
