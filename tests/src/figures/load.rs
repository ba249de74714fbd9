//! The load: agents that connect, subscribe and then are silent, in a process of their own.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wakemq_protocol::{AgentId, Secret};

use super::client::{Dialer, Lean};
use crate::descriptors;

/// Agents that share a source address.
const AGENTS_AN_ADDRESS: usize = 1_000;
/// Agents that connect at a time.
const DIALS: usize = 32;

/// What a load process is told.
#[derive(Debug, Clone)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// The CA to trust.
    pub ca: PathBuf,
    /// Lines of an agent and its secret.
    pub agents: PathBuf,
    /// The first of the agents to take.
    pub from: usize,
    /// How many.
    pub count: usize,
}

/// Writes agents as a load process reads them.
pub fn write_agents(path: &Path, agents: &[(AgentId, Secret)]) -> Result<()> {
    let lines: String =
        agents.iter().map(|(agent, secret)| format!("{agent} {}\n", secret.expose())).collect();
    crate::broker::write_private(path, &lines)
}

/// Connects the agents, prints `parked COUNT`, and fails as soon as one is lost.
pub async fn run(load: &Load) -> Result<()> {
    descriptors::raise(super::parked::DESCRIPTORS)?;
    let text = std::fs::read_to_string(&load.agents)?;
    let dialer = Dialer::new(load.address, &load.ca)?;
    let dials = Arc::new(Semaphore::new(DIALS));
    let mut dialling = JoinSet::new();
    for (number, line) in text.lines().enumerate().skip(load.from).take(load.count) {
        let (agent, secret) = line.split_once(' ').context("no line of agent and secret")?;
        let (agent, secret): (AgentId, Secret) = (agent.parse()?, secret.parse()?);
        let (dialer, dials) = (dialer.clone(), dials.clone());
        dialling.spawn(async move {
            let _place = dials.acquire_owned().await?;
            dialer.agent(&agent, &secret, Some(source(number)?)).await
        });
    }
    ensure!(dialling.len() == load.count, "there are only {} agents", dialling.len());
    let mut parked = JoinSet::new();
    while let Some(lean) = dialling.join_next().await {
        parked.spawn(park(lean??));
    }
    writeln!(std::io::stdout(), "parked {}", parked.len()).context("standard output")?;
    match parked.join_next().await {
        Some(Ok(Err(error))) => Err(error.context("a parked agent was lost")),
        ended => bail!("a parked agent ended: {ended:?}"),
    }
}

/// One address has not enough ports for all.
fn source(number: usize) -> Result<Ipv4Addr> {
    Ok(Ipv4Addr::new(127, 1, 0, u8::try_from(1 + number / AGENTS_AN_ADDRESS)?))
}

async fn park(mut lean: Lean) -> Result<()> {
    let packet = lean.next().await?;
    bail!("a parked agent was sent {packet:?}")
}
