//! An agent's connection, driven as the broker's door does it, but for socket, TLS and timers.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use anyhow::{Context as _, Result, bail, ensure};
use wakemq_broker::engine::Engine;
use wakemq_broker::mqtt::{self, Peer};
use wakemq_broker::registry::{Arrival, Mailbox};
use wakemq_broker::store::{Epoch, Principal};
use wakemq_core::packet::{ReasonCode, ServerPacket};
use wakemq_core::{AgentAction, AgentSession, login};
use wakemq_protocol::{AgentId, Transport};

use crate::bench::{Arriving, Bench, GRANTS, address};

/// A connected agent.
pub(crate) struct Agent {
    session: AgentSession,
    mailbox: Arc<Mailbox>,
    epoch: Option<Epoch>,
    peer: Peer,
    out: Vec<u8>,
    /// The packet id of the last command.
    last: Option<u16>,
}

impl Agent {
    /// Takes a CONNECT, as `door/login.rs` does; the secret's hash is given.
    pub(crate) async fn admit(bench: &Bench, arriving: &Arriving) -> Result<Self> {
        let engine = &bench.engine;
        let connect = mqtt::decode_connect(&arriving.connect)?;
        let peer = Peer::of(&connect);
        let mailbox = engine.registry().open(address(), Transport::Mqtt);
        let Ok(login) = login::read(connect) else { bail!("a CONNECT was refused") };
        let found = bench.store.authenticate(&arriving.hash).await?;
        let Some(Principal::Agent { agent, group }) = found else { bail!("a secret is unknown") };
        let Ok(connack) = login.admit(agent.as_str(), &GRANTS) else { bail!("an agent was refused") };
        let arrival = engine.arrive(&agent, &group, &mailbox, Some(1));
        ensure!(arrival == Arrival::Admitted, "an agent was not let in: {arrival:?}");
        let now_ms = engine.clock().mono_ms();
        let session = AgentSession::new(agent, login.connect, GRANTS.keep_alive_max_secs, now_ms);
        let mut agent = Self { session, mailbox, epoch: None, peer, out: Vec::new(), last: None };
        agent.send(&ServerPacket::ConnAck(connack))?;
        // As the connection does when it waits: nothing is there yet.
        ensure!(agent.poll().is_none(), "there is mail for a new agent");
        Ok(agent)
    }

    pub(crate) fn id(&self) -> &AgentId {
        self.session.agent()
    }

    /// Takes a packet from the agent.
    pub(crate) async fn take(&mut self, engine: &Engine, packet: &[u8]) -> Result<()> {
        let packet = mqtt::decode(self.peer.level, packet)?;
        self.session.handle_packet(packet, engine.clock().mono_ms());
        self.act(engine).await?;
        ensure!(self.poll().is_none(), "there is mail that nobody sent");
        Ok(())
    }

    /// Finds that there is mail, and sends what the inbox holds; returns the packet id of the command.
    pub(crate) async fn woken(&mut self, engine: &Engine) -> Result<u16> {
        ensure!(self.poll() == Some(true), "the agent was not woken");
        self.session.handle_inbox_changed();
        self.act(engine).await?;
        ensure!(self.poll().is_none(), "the agent was woken twice");
        self.last.take().context("no command was sent")
    }

    /// Looks into the mailbox; tells whether the inbox has changed, if there is anything.
    fn poll(&self) -> Option<bool> {
        match self.mailbox.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(mail) => Some(mail.inbox_changed),
            Poll::Pending => None,
        }
    }

    fn send(&mut self, packet: &ServerPacket) -> Result<()> {
        self.out.clear();
        Ok(mqtt::encode(&self.peer, packet, &mut self.out)?)
    }

    /// Does what the session asks for, as `door/agent.rs` does.
    async fn act(&mut self, engine: &Engine) -> Result<()> {
        while let Some(action) = self.session.poll_action() {
            let agent = self.session.agent();
            match action {
                AgentAction::Send(packet) => {
                    self.send(&packet)?;
                    if let ServerPacket::Publish(publish) = packet {
                        self.last = publish.packet_id;
                    } else {
                        let granted = matches!(&packet, ServerPacket::SubAck { reasons, .. }
                            if reasons[..] == [ReasonCode::GrantedQoS1]);
                        ensure!(granted, "an agent is sent {packet:?}");
                    }
                }
                AgentAction::Claim => {
                    self.epoch = engine.claim(agent, &self.mailbox).await?;
                    self.session.handle_claimed();
                }
                AgentAction::Fetch { max } => {
                    let epoch = self.epoch.context("nothing is claimed")?;
                    let page = engine.fetch(agent, epoch, max).await?;
                    self.session.handle_page(page.commands, page.more, engine.clock().mono_ms());
                }
                AgentAction::Acknowledged(id) => {
                    let epoch = self.epoch.context("nothing is claimed")?;
                    engine.acknowledged(agent, id, epoch).await?;
                    self.session.handle_recorded(engine.clock().mono_ms());
                }
                other @ (AgentAction::Release
                | AgentAction::Failed { .. }
                | AgentAction::Receipt { .. }
                | AgentAction::Facts { .. }
                | AgentAction::Report { .. }
                | AgentAction::Pause { .. }
                | AgentAction::Warn(_)
                | AgentAction::Close(_)) => bail!("an agent's session asks for {other:?}"),
            }
        }
        Ok(())
    }
}
