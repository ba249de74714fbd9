//! The engine over a store in memory, with an operator, and agents that come one by one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Result, ensure};
use wakemq_broker::clock::Clock;
use wakemq_broker::engine::{Advertise, Engine, NoEvents, create_operator};
use wakemq_broker::store::{self, Admin, AdminOp, AdminOutcome, Durability, Store};
use wakemq_core::login::Grants;
use wakemq_protocol::{AgentId, GroupPath, Role, Secret, SecretHash, SecretKind, Topic};
use wakemq_tests::clock::SetClock;
use wakemq_tests::figures::client::agent_login;
use wakemq_tests::raw::{Version, connect, publish, subscribe};

use crate::agent::Agent;
use crate::operator::Publisher;

/// As a broker grants by default.
pub(crate) const GRANTS: Grants =
    Grants { keep_alive_max_secs: 1200, return_secs: 60, receive_maximum: 1024 };
const GROUP: &str = "test";
const OPERATOR: &str = "admin";

/// All that a broker has behind its door.
pub(crate) struct Bench {
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Arc<dyn Store>,
    publisher: Publisher,
}

/// What an agent is about to send.
pub(crate) struct Arriving {
    pub(crate) hash: SecretHash,
    pub(crate) connect: Vec<u8>,
    pub(crate) subscribe: Vec<u8>,
}

/// Where everybody comes from.
pub(crate) fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
}

impl Bench {
    pub(crate) async fn new(agents: usize) -> Result<Self> {
        let (store, clock) = (store::memory(), Clock::with_source(SetClock::start()));
        create_operator(&*store, OPERATOR.parse()?, Role::Admin, GroupPath::root(), clock.now()).await?;
        let ops = (0..agents).map(|number| {
            let (agent, _, secret) = agent(number)?;
            Ok(Admin { op: AdminOp::CreateAgent { agent, group: GROUP.parse()?, secret }, actor: None })
        });
        let outcomes = store.write(ops.collect::<Result<_>>()?, Durability::Flushed, clock.now()).await?;
        ensure!(outcomes.iter().all(|outcome| *outcome == AdminOutcome::Done), "an agent was not enrolled");
        let advertise = Advertise { endpoints: Vec::new(), ca: None };
        let engine = Engine::new(store.clone(), clock, advertise, Arc::default(), Arc::new(NoEvents));
        engine.load_rights().await?;
        let engine = Arc::new(engine);
        let publisher = Publisher::new(&engine, &OPERATOR.parse()?)?;
        Ok(Self { engine, store, publisher })
    }

    /// Prepares what an agent sends when it comes.
    pub(crate) fn arriving(&self, number: usize) -> Result<Arriving> {
        let (agent, secret, hash) = agent(number)?;
        let topic = Topic::AgentCommands(agent.clone()).to_string();
        Ok(Arriving {
            hash,
            connect: connect(&agent_login(&agent, &secret)?),
            subscribe: subscribe(Version::V5, 1, &topic, 1),
        })
    }

    /// Admits an agent: CONNECT, authentication, SUBSCRIBE, presence.
    pub(crate) async fn admit(&mut self, arriving: Arriving) -> Result<Agent> {
        let mut agent = Agent::admit(self, &arriving).await?;
        agent.take(&self.engine, &arriving.subscribe).await?;
        Ok(agent)
    }

    /// Prepares what a publisher sends for a wake-up.
    pub(crate) fn wake(&self, agent: &Agent) -> Result<Vec<u8>> {
        let topic = Topic::AgentCommands(agent.id().clone()).to_string();
        Ok(publish(Version::V5, 1, &topic, br#"{"kind":"wake"}"#, &[]))
    }

    /// Wakes an agent: from the publisher's PUBLISH to its PUBACK, and to the record of the agent's.
    pub(crate) async fn carry_out(&mut self, agent: &mut Agent, wake: &[u8]) -> Result<()> {
        self.publisher.publish(&self.engine, wake).await?;
        let packet_id = agent.woken(&self.engine).await?;
        let [high, low] = packet_id.to_be_bytes();
        agent.take(&self.engine, &[0x40, 2, high, low]).await
    }
}

/// Returns an agent, its secret, and that as the store knows it.
fn agent(number: usize) -> Result<(AgentId, Secret, SecretHash)> {
    let mut random = [0; 32];
    random[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let secret = Secret::from_random(SecretKind::Agent, &random);
    let digest = ring::digest::digest(&ring::digest::SHA256, secret.expose().as_bytes());
    Ok((format!("a{number:06}").parse()?, secret, SecretHash(digest.as_ref().try_into()?)))
}
