//! Events, and operators who follow them.

use anyhow::Result;
use wakemq_broker::engine::Events as _;
use wakemq_protocol::{EventBody, EventNews, GroupPath, SecurityWhat, Timestamp};
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Login, Version};
use wakemq_tests::wait::{eventually, within};

use super::{Moved, Watched};

/// More events than wait for a connection.
const MANY: usize = 3_000;

fn news(bytes: usize) -> EventNews {
    EventNews {
        at: Timestamp::from_unix_ms(0),
        group: GroupPath::root(),
        body: EventBody::Security {
            what: SecurityWhat::WrongSecrets,
            who: None,
            addresses: Vec::new(),
            detail: "x".repeat(bytes),
        },
    }
}

pub(super) async fn move_all(moved: &mut Moved) -> Result<()> {
    let watched = Watched::new(InProcessBroker::start(Injected::default()).await?)?;
    let bus = watched.broker.broker.bus().clone();
    let secret = watched.broker.profile()?.secret;
    let mut operator = watched.broker.dial_in_memory().await?;
    operator.enter(&Login::new(Version::V5, "op:admin", secret.expose())).await?;
    operator.subscribe("wake/v1/events/#", 0).await?;
    watched.becomes(moved, "wakemq_bus_links", 1.0).await?;
    let (_agent, _) = watched.agent("pc-1").await?;
    bus.publish(news(1));
    watched.rises(moved, "wakemq_events_published_total").await?;

    // An operator that reads too late.
    for _ in 0..MANY {
        bus.publish(news(1_000));
    }
    let lost = || watched.broker.scrape()?.of("wakemq_operator_events_lost_total");
    within("the operator to lose events", async {
        while lost()? == 0.0 {
            operator.next().await?;
            bus.publish(news(1_000));
        }
        anyhow::Ok(())
    })
    .await??;
    watched.rises(moved, "wakemq_operator_events_lost_total").await?;

    let down = "wakemq_events_dropped_total{reason=\"bus_down\"}";
    // What comes right behind what kills it is lost, unless its death is noticed in between.
    eventually("events to die with their router", async || {
        bus.kill_router();
        (0..MANY).for_each(|_| bus.publish(news(1)));
        Ok((watched.broker.scrape()?.of(down)? > 0.0).then_some(()))
    })
    .await?;
    watched.rises(moved, down).await?;
    watched.rises(moved, "wakemq_bus_rebuilds_total").await?;
    drop(operator);
    watched.becomes(moved, "wakemq_bus_links", 0.0).await
}
