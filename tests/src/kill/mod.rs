//! The kill test: SIGKILL at random moments, and then every accepted command is accounted for.
//!
//! In each round publishers submit, agents come and go, and both the broker and agents are killed at random
//! moments. Then everything is started again, and it is checked that each accepted command has ended: in exactly
//! one call of the agent's handler (more only where the agent was killed inside it), or in a state that the store
//! tells. Each call is written to a file by the handler itself, and flushed.
//!
//! The seed gives the same choices again; what they meet depends on the machine, too.

mod account;
mod agents;
mod publishers;

use std::time::Duration;

use anyhow::{Context as _, Result};
use fastrand::Rng;
use tokio::time::{Instant, sleep_until};

use crate::broker::BrokerProcess;
use account::Account;
use agents::Fleet;

/// How many agents there are.
const AGENTS: usize = 5;
/// How many publishers submit at a time.
const PUBLISHERS: usize = 3;
/// How long the killing goes on in a round.
const ROUND_MS: std::ops::Range<u64> = 200..1200;
/// How many agents are killed, ended or started meanwhile.
const AGENT_EVENTS: std::ops::Range<usize> = 2..7;
/// How long the broker stays down at most.
const DOWN_MS: u64 = 200;

/// What a run of the kill test did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Commands that the broker has accepted.
    pub accepted: usize,
    /// Those that ended in a call of the handler.
    pub handled: usize,
    /// Those that ended otherwise: superseded, expired, cancelled.
    pub ended: usize,
    /// Calls beyond the first, each after the agent was killed inside the one before.
    pub repeated: usize,
    /// How often an agent was killed.
    pub agents_killed: usize,
}

/// What happens in a round.
#[derive(Debug, Clone, Copy)]
enum Event {
    Broker,
    Agent(usize),
}

/// Runs the kill test; `say` is told what was done after each round.
///
/// # Errors
/// The first command that is not accounted for, or a program that does not do what it should. The files are kept
/// then, and the error says where.
pub async fn run(rounds: u32, seed: u64, mut say: impl FnMut(&str)) -> Result<Totals> {
    let dir = tempfile::tempdir()?;
    let result = rounds_in(dir.path(), rounds, seed, &mut say).await;
    result.with_context(|| format!("seed {seed}; the files are kept in {}", dir.keep().display()))
}

async fn rounds_in(
    dir: &std::path::Path,
    rounds: u32,
    seed: u64,
    say: &mut impl FnMut(&str),
) -> Result<Totals> {
    let mut rng = Rng::with_seed(seed);
    let data = dir.join("data");
    crate::broker::init(&data).await?;
    let mut broker = BrokerProcess::start_on(&data).await?;
    let mut fleet = Fleet::new(&broker, dir, AGENTS).await?;
    let mut account = Account::default();
    for round in 1..=rounds {
        one_round(&mut rng, &mut broker, &mut fleet, &mut account)
            .await
            .map_err(|error| broker.process().explain(error))
            .with_context(|| format!("in round {round}"))?;
        let totals = Totals { agents_killed: fleet.killed(), ..account.totals() };
        say(&format!("round {round} of {rounds}: {totals:?}"));
    }
    fleet.stop().await?;
    account.check_late(&broker, &fleet.calls()?).await?;
    Ok(Totals { agents_killed: fleet.killed(), ..account.totals() })
}

async fn one_round(
    rng: &mut Rng,
    broker: &mut BrokerProcess,
    fleet: &mut Fleet,
    account: &mut Account,
) -> Result<()> {
    fleet.start_some(rng)?;
    let publishers = publishers::start(broker, PUBLISHERS, &fleet.ids(), rng).await?;

    let began = Instant::now();
    let length = rng.u64(ROUND_MS);
    let mut events = vec![(rng.u64(0..length), Event::Broker)];
    for _ in 0..rng.usize(AGENT_EVENTS) {
        events.push((rng.u64(0..length), Event::Agent(rng.usize(0..AGENTS))));
    }
    events.sort_by_key(|(at_ms, _)| *at_ms);
    for (at_ms, event) in events {
        // Not a wait for anything: the random moment at which something is killed.
        sleep_until(began + Duration::from_millis(at_ms)).await;
        match event {
            Event::Broker => {
                broker.kill().await?;
                sleep_until(Instant::now() + Duration::from_millis(rng.u64(0..DOWN_MS))).await;
                broker.restart().await?;
            }
            Event::Agent(number) => fleet.disturb(number, rng).await?,
        }
    }
    let accepted = publishers.finish().await?;
    fleet.start_all(rng).await?;
    account.settle(broker, accepted, fleet).await
}
