//! Allocations.

use anyhow::{Result, ensure};
use wakemq_protocol::Topic;
use wakemq_tests::fleet::million::crowd::{Crowd, Kept};
use wakemq_tests::raw::{Version, frame, publish};
use wakemq_tests::wait::within;

use crate::{allocations, alone, on_one_thread};

/// Most allocations for one wake-up, from the publisher's PUBLISH to the record of the agent's PUBACK: TLS, sessions,
/// engine and the logic of the store.
const ALLOCATIONS_MAX: f64 = 255.0;
/// The same with the database, which works on its pages by copies. It depends on how large the file is.
const WITH_DATABASE_MAX: f64 = 4_000.0;
/// Wake-ups before the count, so that what comes once, as room in tables, is behind them.
const WARM_UP: usize = 50;
/// Wake-ups that are counted.
const WAKES: usize = 200;

#[test]
fn a_wake_up_takes_a_bounded_number_of_allocations() -> Result<()> {
    for (kept, max) in [(Kept::InMemory, ALLOCATIONS_MAX), (Kept::InFile, WITH_DATABASE_MAX)] {
        let each = allocations_of_a_wake_up(kept)?;
        println!("a wake-up, kept {kept:?}: {each:.1} allocations");
        assert!(each <= max, "{each:.1} allocations for a wake-up, at most {max}");
    }
    Ok(())
}

fn allocations_of_a_wake_up(kept: Kept) -> Result<f64> {
    let _alone = alone();
    on_one_thread(async {
        let dir = tempfile::tempdir()?;
        let mut crowd = Crowd::start(dir.path(), kept, 1).await?;
        let (agent, mut agents) = crowd.next_agent().await?;
        let mut publisher = crowd.operator().await?;
        let topic = Topic::AgentCommands(agent).to_string();
        let mut counted = 0;
        for wake in 0..WARM_UP + WAKES {
            if wake == WARM_UP {
                counted = 0;
            }
            // Nothing else runs on this thread while the clients do what finds its bytes there: it is not counted.
            publisher.send(&publish(Version::V5, 1, &topic, br#"{"kind":"wake"}"#, &[])).await?;
            let before = allocations();
            within("the command and the PUBACK", async {
                agents.stream().arrived().await;
                publisher.stream().arrived().await;
            })
            .await?;
            counted += allocations() - before;
            publisher.next().await?.puback()?;
            let command = agents.next().await?;
            agents.acknowledge(command.publish()?.0).await?;
            // Packets are taken in order: the answer to the ping comes when the acknowledgement is on disk.
            agents.send(&frame(0xC0, &[])).await?;
            let before = allocations();
            within("the answer to a ping", agents.stream().arrived()).await?;
            counted += allocations() - before;
            ensure!(agents.next().await?.kind == 13, "no PINGRESP");
        }
        Ok(counted as f64 / WAKES as f64)
    })
}
