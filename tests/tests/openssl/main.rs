//! The broker's TLS against OpenSSL's client, over real sockets: handshakes and wake-ups in both versions, key updates,
//! tickets, small records, bytes one by one and records together, and what is refused.
//!
//! `cargo test -p wakemq-tests --features interop --test openssl` needs the Debian package `openssl`.
#![cfg(feature = "interop")]

mod forwarder;
mod pieces;
mod refusals;
mod s_client;
mod sessions;

use anyhow::{Result, ensure};
use wakemq_protocol::{AgentId, CommandState, Kind, Secret, SlotChoice, Submission};
use wakemq_publisher::Publisher;
use wakemq_tests::broker::BrokerProcess;
use wakemq_tests::raw::{Login, Version, connect, frame, subscribe};
use wakemq_tests::wait::{eventually, within};

use s_client::SClient;

const COMMANDS: &str = "wake/v1/agents/pc-1/commands";
/// What s_client calls the versions, as options and in its words.
const VERSIONS: [(&str, &str); 2] = [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")];

/// A broker with one agent.
struct Setting {
    broker: BrokerProcess,
    agent: (AgentId, Secret),
    publisher: Publisher,
}

impl Setting {
    async fn new() -> Result<Self> {
        let broker = BrokerProcess::start().await?;
        let agent = broker.import(&["pc-1"]).await?.remove(0);
        let publisher = broker.publisher().await?;
        Ok(Self { broker, agent, publisher })
    }

    /// Dials the broker itself.
    fn dial(&self, options: &[&str]) -> Result<SClient> {
        SClient::dial(self.broker.address(), &self.broker.ca_path(), options)
    }

    /// Returns the agent's CONNECT.
    fn connect(&self) -> Vec<u8> {
        connect(&Login::new(Version::V5, self.agent.0.as_str(), self.agent.1.expose()))
    }

    /// Logs the agent in, and subscribes it to its commands.
    async fn enter(&self, client: &mut SClient) -> Result<()> {
        client.send(&self.connect()).await?;
        // A CONNACK, from whatever length on: session present 0, reason 0, its properties.
        client.hears(b"wakemq-return").await?;
        client.send(&subscribe(Version::V5, 1, COMMANDS, 1)).await?;
        client.hears(&frame(0x90, &[0, 1, 0, 1])).await
    }

    /// Wakes the agent: it gets the command, and its PUBACK is recorded.
    async fn wake(&self, client: &mut SClient) -> Result<()> {
        let submission = Submission { slot: SlotChoice::Never, ..Submission::new(Kind::Wake) };
        let submitted = within("a submission", self.publisher.submit(&self.agent.0, submission)).await??;
        let id = submitted.id();
        // The topic, the packet id, and properties whose length is in one byte come before the payload.
        client.hears(COMMANDS.as_bytes()).await?;
        let came = async {
            loop {
                if let Some(packet_id) = client.rest().first_chunk::<2>() {
                    return *packet_id;
                }
                tokio::task::yield_now().await;
            }
        };
        let packet_id = within("the packet id", came).await?;
        client.hears(id.to_string().as_bytes()).await?;
        client.send(&frame(0x40, &packet_id)).await?;
        let mut management = self.broker.management()?;
        eventually("the acknowledgement", async || {
            let state = management.command(id).await?.outcomes[0].state;
            Ok((state == CommandState::Acknowledged).then_some(()))
        })
        .await
    }

    /// Says goodbye by a DISCONNECT: the broker closes TLS in order.
    async fn leave(&self, mut client: SClient) -> Result<()> {
        client.send(&frame(0xE0, &[])).await?;
        let (status, said) = client.ended().await?;
        // It says so if it was sent a close_notify, and something else, and fails, if the connection just ended.
        ensure!(
            status.success() && said.contains("closed\n"),
            "the broker did not say goodbye: {status} {said}"
        );
        Ok(())
    }
}
