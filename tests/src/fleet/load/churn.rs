//! Agents that come, stay a while and leave, at a steady rate.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Shared, agent};
use crate::fleet::words::Event;

/// Lets `numbers` come in turn, `rate` a second, each for `stay_ms`, until calm is ordered.
pub(super) async fn run(shared: Arc<Shared>, numbers: Range<usize>, rate: u32, stay_ms: u64) {
    let standing = shared.standing.subscribe();
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    // A load that cannot keep up is behind, and does not make up for it in a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in numbers.cycle() {
        ticks.tick().await;
        if standing.borrow().calm {
            return;
        }
        let shared = shared.clone();
        tokio::spawn(async move {
            let event = match visit(&shared, number, Duration::from_millis(stay_ms)).await {
                Ok(()) => Event::Left(number),
                Err(error) => Event::Failed(format!("agent {number}, which came to leave: {error:#}")),
            };
            shared.tell(event).await;
        });
    }
}

async fn visit(shared: &Shared, number: usize, stay: Duration) -> anyhow::Result<()> {
    let arrived = agent::arrive(shared, number).await?;
    shared.tell(Event::Up(arrived.arrival)).await;
    sleep(stay).await;
    arrived.lean.leave().await
}
