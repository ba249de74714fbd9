//! Many agents in this process, each of which acknowledges at once.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use wakemq_protocol::{AgentId, Command, CommandId, Secret};

use super::client::{Dialer, Lean};
use super::server::Server;

/// TLS handshakes of agents at a time.
const DIALS: usize = 32;

/// A command that an agent has received.
#[derive(Debug)]
pub struct Received {
    /// The command.
    pub id: CommandId,
    /// When.
    pub at: Instant,
}

/// Connected agents.
#[derive(Debug)]
pub struct Fleet {
    /// Their ids.
    pub agents: Vec<AgentId>,
    received: mpsc::Receiver<Received>,
    tasks: JoinSet<Result<()>>,
}

impl Fleet {
    /// Connects and subscribes agents that were imported.
    pub async fn connect(server: &Server, imported: &[(AgentId, Secret)]) -> Result<Self> {
        let dialer = Dialer::new(server.address, &server.data.ca())?;
        let dials = Arc::new(Semaphore::new(DIALS));
        let mut dialling = JoinSet::new();
        for (agent, secret) in imported {
            let (agent, secret, dialer, dials) =
                (agent.clone(), secret.clone(), dialer.clone(), dials.clone());
            dialling.spawn(async move {
                let _place = dials.acquire_owned().await?;
                dialer.agent(&agent, &secret, None).await
            });
        }
        let (sender, received) = mpsc::channel(imported.len().max(1));
        let mut tasks = JoinSet::new();
        while let Some(lean) = dialling.join_next().await {
            tasks.spawn(serve(lean??, sender.clone()));
        }
        Ok(Self { agents: imported.iter().map(|(agent, _)| agent.clone()).collect(), received, tasks })
    }

    /// Returns all agents in random order, again and again: none has two wakes on their way.
    pub fn order(&self) -> impl Iterator<Item = AgentId> + use<> {
        let mut agents = self.agents.clone();
        fastrand::shuffle(&mut agents);
        agents.into_iter().cycle()
    }

    /// Waits for the next command that any of them receives.
    pub async fn received(&mut self) -> Result<Received> {
        tokio::select! {
            received = self.received.recv() => received.context("there is no agent"),
            ended = self.tasks.join_next() => match ended {
                Some(Ok(Err(error))) => Err(error.context("an agent was lost")),
                ended => Err(anyhow!("an agent ended: {ended:?}")),
            }
        }
    }
}

/// Receives and acknowledges, as an agent.
async fn serve(mut lean: Lean, received: mpsc::Sender<Received>) -> Result<()> {
    loop {
        let packet = lean.next().await?;
        let at = Instant::now();
        let (packet_id, payload) = packet.publish()?;
        lean.acknowledge(packet_id).await?;
        let id = serde_json::from_slice::<Command>(payload)?.id;
        received.send(Received { id, at }).await?;
    }
}
