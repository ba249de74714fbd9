//! Machines that are switched on and off: agents within the test that declare what they are, on the loopback network,
//! so that nothing leaves this machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::json;
use wakemq_agent::Agent;
use wakemq_protocol::http::{ImportLine, ImportResult};
use wakemq_protocol::{AgentId, Kind, MacAddr, Submission};
use wakemq_publisher::{Management, Publisher, Submitted};

use crate::agents::{Home, connected};
use crate::wait::{eventually, within};

/// A machine with one wired adapter on the loopback network.
#[derive(Debug)]
pub struct Machine {
    home: Home,
    facts: PathBuf,
    mac: MacAddr,
}

/// Where a broker is that machines connect to.
pub struct At<'a> {
    /// As an administrator.
    pub management: &'a mut Management,
    /// Its CA.
    pub ca: &'a Path,
    /// Its address.
    pub address: SocketAddr,
}

impl Machine {
    /// Makes a machine's agent known to a broker; `number` makes the MAC.
    pub async fn new(at: At<'_>, name: &str, group: &str, number: u8) -> Result<Self> {
        let lines = [ImportLine { agent: name.parse()?, group: group.parse()? }];
        let importing = async { at.management.import(&lines).await?.next().await };
        let made = within("an import", importing).await??;
        let Some(ImportResult::Created { agent, secret }) = made else { bail!("not imported: {made:?}") };
        let ca = std::fs::read_to_string(at.ca)?;
        let home = Home::of(&agent, &secret, vec![at.address.to_string()], ca)?;
        let facts = home.path("facts.json");
        Ok(Self { home, facts, mac: MacAddr::new([0x00, 0x16, 0x3e, 0, 0, number]) })
    }

    /// Returns the agent's id.
    pub fn id(&self) -> &AgentId {
        self.home.id()
    }

    /// Returns the MAC of its adapter.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Switches it on as one that booted so many seconds ago, and waits until it can be woken.
    pub async fn up(&self, since_boot: u64) -> Result<Agent> {
        let interface =
            json!({"name": "lo", "mac": self.mac, "medium": "wired", "addresses": ["127.0.0.1/8"]});
        let facts = json!({"since_boot": since_boot, "interfaces": [interface]});
        std::fs::write(&self.facts, facts.to_string())?;
        let agent = self.home.connect_with(|options| options.declare(&self.facts))?;
        connected(&agent).await?;
        Ok(agent)
    }

    /// Switches it on, and off again when the broker knows what it is.
    pub async fn known(&self, management: &mut Management) -> Result<()> {
        let agent = self.up(1).await?;
        eventually("its facts to be known", async || {
            let facts = management.agent(self.id()).await?.facts.unwrap_or_default();
            Ok(facts.interfaces.iter().any(|interface| interface.mac == self.mac).then_some(()))
        })
        .await?;
        agent.shutdown().await;
        eventually(
            "it to be away",
            async || Ok((!management.agent(self.id()).await?.connected).then_some(())),
        )
        .await
    }

    /// Waits until it would be asked to send for a sleeper.
    pub async fn relays_for(&self, management: &mut Management, sleeper: &Self) -> Result<()> {
        eventually("it to be a relay", async || {
            let relays = management.power(sleeper.id()).await?.relays;
            Ok(relays.contains(self.id()).then_some(()))
        })
        .await
    }

    /// Asks for it to be switched on.
    pub async fn power(&self, publisher: &Publisher) -> Result<Submitted> {
        Ok(within("a submission", publisher.submit(self.id(), Submission::new(Kind::Power))).await??)
    }
}
