//! A broker whose agents come when they are asked to, and are kept if they are wanted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use tokio::io::AsyncWriteExt as _;
use wakemq_broker::clock::Clock;
use wakemq_broker::engine::create_operator;
use wakemq_broker::init::{ADMIN, CA, OPERATOR};
use wakemq_broker::metrics::Metrics;
use wakemq_broker::server::Broker;
use wakemq_broker::store;
use wakemq_protocol::{AgentId, GroupPath, Role, Secret, Topic};
use wakemq_publisher::load_profile;

use super::stream::{self, stream};
use super::{CACHE_BYTES, Plan, address, agent, connect, dialer, enrol, initialise, start, start_on};
use crate::figures::client::{Dialer, Lean, agent_login};
use crate::raw::{Login, Version, handshake};
use crate::wait::eventually;

/// The group of all agents.
pub const GROUP: &str = "test";

/// Where the broker keeps what must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In a file, as it is shipped.
    InFile,
    /// In memory, so that what is counted is the broker's own and not the database's.
    InMemory,
}

/// A broker with many agents, of which some are connected.
pub struct Crowd {
    broker: Broker,
    dialer: Dialer,
    operator: Login,
    ca: PathBuf,
    connected: usize,
}

impl Crowd {
    /// Starts a broker in an empty directory, and enrols agents.
    pub async fn start(dir: &Path, kept: Kept, enrolled: usize) -> Result<Self> {
        let (broker, store, clock, operator) = match kept {
            Kept::InFile => {
                let (broker, store, clock) = start(dir, CACHE_BYTES).await?;
                (broker, store, clock, load_profile(&dir.join(OPERATOR))?.secret)
            }
            Kept::InMemory => {
                let (clock, store) = (Clock::start(), store::memory());
                initialise(dir, &clock).await?;
                let (name, scope) = (ADMIN.parse()?, GroupPath::root());
                let secret = create_operator(&*store, name, Role::Admin, scope, clock.now()).await?;
                let metrics = Arc::new(Metrics::new());
                let broker = start_on(dir, store.clone(), clock.clone(), metrics).await?;
                (broker, store, clock, secret)
            }
        };
        let plan = Plan { cache_bytes: CACHE_BYTES, group: |_| Ok(GROUP.parse()?) };
        enrol(&*store, &clock, enrolled, plan).await?;
        let operator = Login::new(Version::V5, &format!("op:{ADMIN}"), operator.expose());
        Ok(Self { broker, dialer: dialer(dir)?, operator, ca: dir.join(CA), connected: 0 })
    }

    /// Returns the broker.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Connects an operator who may do everything.
    pub async fn operator(&self) -> Result<Lean<stream::Client>> {
        let mut lean = self.dial().await?;
        lean.enter(&self.operator).await?;
        Ok(lean)
    }

    /// Connects the next agent, and keeps it connected.
    pub async fn next_agent(&mut self) -> Result<(AgentId, Lean<stream::Client>)> {
        let (agent, secret) = agent(self.connected)?;
        let mut lean = self.dial().await?;
        lean.enter(&agent_login(&agent, &secret)?).await?;
        lean.subscribe(&Topic::AgentCommands(agent.clone()).to_string()).await?;
        self.connected += 1;
        Ok((agent, lean))
    }

    /// Connects agents until that many are; their clients vanish as soon as they are subscribed.
    pub async fn grow(&mut self, size: usize) -> Result<()> {
        let numbers: Vec<_> = (self.connected..size).collect();
        connect(&self.broker, &self.dialer, &numbers).await?;
        self.connected = size;
        let connected = self.broker.engine().registry().agents_connected();
        ensure!(connected == size, "{connected} of {size} agents are connected");
        Ok(())
    }

    /// Lets agents poll over HTTP/1.1 until that many do; their clients vanish as soon as their polls wait.
    pub async fn poll(&mut self, size: usize) -> Result<()> {
        for number in self.connected..size {
            let (_, secret) = agent(number)?;
            let (socket, client) = stream();
            tokio::spawn(self.broker.door().clone().serve(socket, address()));
            let mut tls = handshake(client, &self.ca, "http/1.1").await?;
            tls.write_all(poll_request(&secret).as_bytes()).await?;
            tls.flush().await?;
            let registry = self.broker.engine().registry();
            eventually("the poll to wait", async || {
                Ok((registry.subscribed_in(&GROUP.parse()?) > number as u64).then_some(()))
            })
            .await?;
        }
        self.connected = size;
        Ok(())
    }

    /// Opens a connection, and does its handshake.
    async fn dial(&self) -> Result<Lean<stream::Client>> {
        let (socket, client) = stream();
        tokio::spawn(self.broker.door().clone().serve(socket, address()));
        self.dialer.over(client).await
    }
}

/// Writes a poll as an agent's HTTP client does.
pub fn poll_request(secret: &Secret) -> String {
    let body = "{\"heartbeat\":3540,\"instance\":\"0197c1b2-0000-7000-8000-000000000001\"}";
    format!(
        "POST /v1/poll HTTP/1.1\r\nhost: localhost:443\r\nuser-agent: wakemq/0\r\ncontent-type: application/json\r\n\
         authorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        secret.expose(),
        body.len()
    )
}
