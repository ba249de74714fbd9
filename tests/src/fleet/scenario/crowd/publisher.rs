//! Who publishes: a plain MQTT client, the same for every server.

use anyhow::{Context as _, Result};
use wakemq_protocol::{AgentId, CommandId, GroupPath, Kind as Wanted, Submission, Topic, to_json};
use wakemq_publisher::new_command_id;

use super::TOPIC_OF_ALL;
use crate::figures::client::{Dialer, Lean};
use crate::fleet::clock::Moment;
use crate::fleet::ground::Ground;
use crate::fleet::target::{Kind, Target};
use crate::raw::{Login, Version, publish};
use crate::wait::within;

/// A connected publisher.
pub(super) struct Publisher {
    lean: Lean,
    kind: Kind,
    packet_id: u16,
}

impl Publisher {
    /// Connects to a target: to WakeMQ as the administrator.
    pub(super) async fn connect(ground: &Ground, target: &Target) -> Result<Self> {
        let login = match target.kind {
            Kind::Wakemqd => {
                let profile = target.profile()?;
                Login::new(Version::V5, &format!("op:{}", profile.operator), profile.secret.expose())
            }
            Kind::Bare | Kind::Mosquitto | Kind::Rumqttd => Login::new(Version::V5, "publisher", "anybody"),
        };
        let entering = async {
            let mut lean = Dialer::new(target.address, &ground.ca())?.dial(None).await?;
            lean.enter(&Login { keep_alive: crate::figures::client::KEEP_ALIVE_SECS, ..login }).await?;
            Ok(Self { lean, kind: target.kind, packet_id: 0 })
        };
        within("the publisher to be let in", entering).await?
    }

    /// Publishes a wake of one agent at QoS 1, and returns when it did.
    pub(super) async fn wake(&mut self, agent: &AgentId) -> Result<Moment> {
        let topic = Topic::AgentCommands(agent.clone()).to_string();
        self.publish(&topic).await.map(|(_, at)| at)
    }

    /// Publishes a wake of all agents at QoS 1.
    pub(super) async fn wake_all(&mut self) -> Result<(CommandId, Moment)> {
        let topic = match self.kind {
            Kind::Wakemqd => Topic::GroupCommands(GroupPath::root()).to_string(),
            Kind::Bare | Kind::Mosquitto | Kind::Rumqttd => TOPIC_OF_ALL.to_owned(),
        };
        self.publish(&topic).await
    }

    async fn publish(&mut self, topic: &str) -> Result<(CommandId, Moment)> {
        let id = new_command_id().context("no random numbers")?;
        let payload = to_json(&Submission { id: Some(id), ..Submission::new(Wanted::Wake) });
        self.packet_id = self.packet_id % u16::MAX + 1;
        let bytes = publish(Version::V5, self.packet_id, topic, &payload, &[]);
        let at = Moment::now();
        self.lean.send(&bytes).await?;
        Ok((id, at))
    }

    /// Waits for the next acknowledgement, and returns when it came.
    pub(super) async fn acknowledged(&mut self) -> Result<Moment> {
        self.lean.next().await?.puback()?;
        Ok(Moment::now())
    }
}
