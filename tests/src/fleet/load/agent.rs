//! An agent: it connects, subscribes, acknowledges what it is sent, and comes back if it is to.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep, timeout};
use wakemq_protocol::Topic;

use super::{Shared, Standing, source};
use crate::figures::client::{Lean, agent_login};
use crate::fleet::clock::Moment;
use crate::fleet::words::{Arrival, Event};
use crate::raw::frame;

/// How long it may take from dialling to the SUBACK.
const DIAL_LIMIT: Duration = Duration::from_secs(60);
/// After how many milliseconds an agent that was not let in tries again, at random.
const AGAIN_MS: std::ops::Range<u64> = 500..1_500;
/// A question for a sign of life: MQTT 5 §3.12.
const PINGREQ: u8 = 0xC0;

/// A connected agent.
pub(super) struct Arrived {
    pub(super) lean: Lean,
    pub(super) arrival: Arrival,
}

/// How a connection ended.
enum Ended {
    /// As was ordered.
    Reset,
    /// Lost.
    Lost(anyhow::Error),
}

/// Lives for as long as the process does, or until the connection is lost.
pub(super) async fn live(shared: Arc<Shared>, number: usize) {
    let mut standing = shared.standing.subscribe();
    loop {
        let arrived = match arrive(&shared, number).await {
            Ok(arrived) => arrived,
            Err(_) if shared.returns => {
                sleep(Duration::from_millis(fastrand::u64(AGAIN_MS))).await;
                continue;
            }
            Err(error) => return shared.tell(Event::Failed(format!("agent {number}: {error:#}"))).await,
        };
        // Before anybody knows that it is there: whatever is ordered afterwards is meant for it.
        let began = *standing.borrow_and_update();
        shared.tell(Event::Up(arrived.arrival)).await;
        match serve(&shared, arrived.lean, number, began, &mut standing).await {
            Ended::Reset => {}
            Ended::Lost(_) if shared.returns => {
                shared.tell(Event::Lost(number)).await;
                let within_ms = arrived.arrival.return_secs * 1_000;
                sleep(Duration::from_millis(fastrand::u64(0..=within_ms))).await;
            }
            Ended::Lost(error) => {
                return shared.tell(Event::Failed(format!("agent {number} was lost: {error:#}"))).await;
            }
        }
    }
}

/// Dials, logs in and subscribes, once there is a place among those that do.
pub(super) async fn arrive(shared: &Shared, number: usize) -> Result<Arrived> {
    let _place = shared.dials.acquire().await?;
    let began = Moment::now();
    let (agent, secret) = shared.agents.get(number).context("there is no such agent")?;
    let arriving = async {
        let mut lean = shared.dialer.dial(Some(source(number)?)).await?;
        let welcome = lean.enter(&agent_login(agent, secret)?).await?;
        lean.subscribe(&Topic::AgentCommands(agent.clone()).to_string()).await?;
        let at = Moment::now();
        if let Some(topic) = &shared.also {
            lean.subscribe(topic).await?;
        }
        let return_secs = welcome.user_property("wakemq-return")?.map(|secs| secs.parse()).transpose()?;
        let took_us = u64::try_from(at.since(began).as_micros())?;
        let return_secs = return_secs.unwrap_or_default();
        Ok(Arrived { lean, arrival: Arrival { number, at, took_us, return_secs } })
    };
    timeout(DIAL_LIMIT, arriving).await.context("it was not let in in time")?
}

/// Acknowledges what is delivered, until the connection ends.
async fn serve(
    shared: &Shared,
    mut lean: Lean,
    number: usize,
    began: Standing,
    standing: &mut watch::Receiver<Standing>,
) -> Ended {
    let mut heartbeat = began.ping.map(beginning);
    loop {
        let done = tokio::select! {
            packet = lean.next() => match packet {
                Ok(packet) => take(shared, &mut lean, number, packet).await,
                Err(error) => Err(error),
            },
            changed = standing.changed() => match changed {
                Ok(()) => {
                    let now = *standing.borrow_and_update();
                    if now.resets > began.resets {
                        return lean.reset().map_or_else(Ended::Lost, |()| Ended::Reset);
                    }
                    heartbeat = now.ping.map(beginning);
                    Ok(())
                }
                Err(gone) => Err(gone.into()),
            },
            () = due(&mut heartbeat) => lean.send(&frame(PINGREQ, &[])).await,
        };
        if let Err(error) = done {
            return Ended::Lost(error);
        }
    }
}

async fn take(
    shared: &Shared,
    lean: &mut Lean,
    number: usize,
    packet: crate::figures::client::Packet,
) -> Result<()> {
    let at = Moment::now();
    match packet.kind {
        3 => {
            let (packet_id, _) = packet.publish()?;
            lean.acknowledge(packet_id).await?;
            shared.tell(Event::Got(number, at)).await;
            Ok(())
        }
        13 => {
            shared.tell(Event::Pongs(1)).await;
            Ok(())
        }
        _ => bail!("it was sent {packet:?}"),
    }
}

/// Returns a heartbeat whose first beat comes at a random moment of its period, so that not all agents' coincide.
fn beginning(period: Duration) -> tokio::time::Interval {
    interval_at(Instant::now() + period.mul_f64(fastrand::f64()), period)
}

async fn due(heartbeat: &mut Option<tokio::time::Interval>) {
    match heartbeat {
        Some(heartbeat) => {
            heartbeat.tick().await;
        }
        None => std::future::pending().await,
    }
}
