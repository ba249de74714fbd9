//! Bytes of the heap.

use anyhow::{Context as _, Result};
use wakemq_broker::engine::Caller;
use wakemq_broker::init::ADMIN;
use wakemq_protocol::{Kind, Submission, Target};
use wakemq_tests::fleet::million::crowd::{Crowd, GROUP, Kept};
use wakemq_tests::fleet::million::heap_settles;
use wakemq_tests::wait::eventually;

use crate::{alone, heap, on_one_thread};

/// Most bytes for each parked agent: all that the broker has of it but the socket.
const PARKED_BYTES_MAX: f64 = 4_900.0;
/// Most bytes for each agent that was sent a command and has not acknowledged it.
const OUTSTANDING_BYTES_MAX: f64 = 64.0;
/// How many agents are parked before the first reading: what comes once, as tables that grow, is behind them.
const FIRST: usize = 500;
/// How many are added between two readings.
const STEP: usize = 1_000;
/// How far the two slopes may be apart.
const SLOPE_TOLERANCE: f64 = 0.1;

#[test]
fn a_parked_agent_costs_a_bounded_number_of_bytes_and_each_costs_the_same() -> Result<()> {
    let _alone = alone();
    on_one_thread(async {
        let dir = tempfile::tempdir()?;
        let sizes = [FIRST, FIRST + STEP, FIRST + 2 * STEP];
        let mut crowd = Crowd::start(dir.path(), Kept::InMemory, sizes[2]).await?;
        let mut bytes = Vec::new();
        for size in sizes {
            crowd.grow(size).await?;
            bytes.push(heap_settles(size, &heap).await? as f64);
        }
        let slopes = [1, 2].map(|at| (bytes[at] - bytes[at - 1]) / STEP as f64);
        let whole = (slopes[0] + slopes[1]) / 2.0;
        println!(
            "a parked agent: {whole:.0} bytes; the first {STEP} {:.0}, the next {:.0}",
            slopes[0], slopes[1]
        );
        assert!(
            whole <= PARKED_BYTES_MAX,
            "{whole:.0} bytes for each parked agent, at most {PARKED_BYTES_MAX}"
        );
        let apart = (slopes[1] - slopes[0]).abs() / whole;
        assert!(apart <= SLOPE_TOLERANCE, "not linear: {slopes:.0?} bytes");
        Ok(())
    })
}

#[test]
fn an_outstanding_agent_costs_at_most_64_bytes() -> Result<()> {
    let _alone = alone();
    on_one_thread(async {
        const AGENTS: usize = 2_000;
        let dir = tempfile::tempdir()?;
        let mut crowd = Crowd::start(dir.path(), Kept::InMemory, AGENTS).await?;
        crowd.grow(AGENTS).await?;
        let before = heap_settles(AGENTS, &heap).await?;

        let engine = crowd.broker().engine();
        let caller = Caller { name: ADMIN.parse()?, address: None };
        let wake = Submission::new(Kind::Wake);
        let id = engine.submit_one(&caller, Target::Group(GROUP.parse()?), wake).await?.id;
        eventually("all to be sent it", async || {
            let view = engine.command(&caller, id, None, 0).await?;
            let counts = view.counts.context("no counts")?;
            Ok((counts.sent == AGENTS as u64).then_some(()))
        })
        .await?;
        let after = heap_settles(AGENTS, &heap).await?;

        let each = (after as f64 - before as f64) / AGENTS as f64;
        println!("an outstanding agent: {each:.1} bytes");
        assert!(each <= OUTSTANDING_BYTES_MAX, "{each:.1} bytes for each outstanding agent");
        Ok(())
    })
}
