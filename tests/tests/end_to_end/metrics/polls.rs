//! Long polls, by how they end.

use anyhow::Result;
use serde_json::json;
use wakemq_protocol::{AgentId, Kind, Submission};
use wakemq_tests::clock::SetClock;
use wakemq_tests::in_process::{InProcessBroker, Injected};

use super::{Moved, Watched};
use crate::long_poll::client::{Client, Version};

fn ended(answer: &str) -> String {
    format!("wakemq_polls_total{{answer=\"{answer}\"}}")
}

pub(super) async fn move_all(moved: &mut Moved) -> Result<()> {
    let clock = SetClock::start();
    let broker = InProcessBroker::start(Injected { clock: clock.clock(), ..Injected::default() }).await?;
    let watched = Watched::new(broker)?;
    let (agent, broker) = ("pc-1".parse::<AgentId>()?, &watched.broker);
    let [(_, secret)] = &broker.import(&["pc-1"]).await?[..] else { anyhow::bail!("not one agent") };
    let dial = async || Client::dial(broker, Version::Http1, secret).await;
    let poll = |secs: u32| json!({"heartbeat": secs});
    broker.publisher().await?.submit(&agent, Submission::new(Kind::Wake)).await?;

    let mut client = dial().await?;
    let given = client.commands(&[]).await?;
    let receipt = json!({"id": given[0], "state": "done"});
    client.post("/v1/receipts", &receipt).await?;
    watched.rises(moved, &ended("commands")).await?;
    client.post("/v1/poll", &poll(1)).await?;
    watched.rises(moved, &ended("heartbeat_out_of_range")).await?;
    let connected = "wakemq_agents_connected";
    let idle = client.polling(json!({"heartbeat": 60, "trial": true}));
    let registry = broker.broker.engine().registry();
    wakemq_tests::wait::eventually("the trial", async || Ok((registry.live().trials == 1).then_some(())))
        .await?;
    clock.pass(60_000);
    idle.answer().await?;
    watched.rises(moved, &ended("idle")).await?;
    watched.becomes(moved, connected, 0.0).await?;

    let older = dial().await?.polling(poll(600));
    watched.becomes(moved, connected, 1.0).await?;
    let newer = dial().await?.polling(poll(600));
    watched.rises(moved, &ended("superseded")).await?;
    older.answer().await?;
    drop(newer);
    watched.rises(moved, &ended("gone")).await?;
    watched.becomes(moved, connected, 0.0).await?;

    let [(other, secret)] = &broker.import(&["pc-2"]).await?[..] else { anyhow::bail!("not one agent") };
    let revoked = Client::dial(broker, Version::Http2, secret).await?.polling(poll(600));
    watched.becomes(moved, connected, 1.0).await?;
    broker.management()?.revoke_agent(other).await?;
    watched.rises(moved, &ended("failed")).await?;
    revoked.answer().await?;

    let last = dial().await?.polling(poll(600));
    watched.becomes(moved, connected, 1.0).await?;
    broker.broker.door().close();
    watched.rises(moved, &ended("retry")).await?;
    last.answer().await?;
    Ok(())
}
