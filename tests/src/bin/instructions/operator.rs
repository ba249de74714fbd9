//! A publisher's connection, driven as the broker's door does it, but for socket, TLS and timers.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use wakemq_broker::engine::{Engine, Operator};
use wakemq_broker::mqtt::{self, Peer};
use wakemq_broker::registry::Mailbox;
use wakemq_core::packet::{ReasonCode, ServerPacket};
use wakemq_core::{OperatorAction, OperatorSession};
use wakemq_protocol::{OperatorName, Transport};
use wakemq_tests::raw::{Login, Version, connect};

use crate::bench::{GRANTS, address};

/// A connected publisher.
pub(crate) struct Publisher {
    who: Operator,
    session: OperatorSession,
    mailbox: Arc<Mailbox>,
    peer: Peer,
    out: Vec<u8>,
}

impl Publisher {
    pub(crate) fn new(engine: &Engine, name: &OperatorName) -> Result<Self> {
        let who = engine.rights(name).context("the operator is unknown")?;
        let login = Login::new(Version::V5, &format!("op:{name}"), "not looked at");
        let connect = mqtt::decode_connect(&connect(&login))?;
        let peer = Peer::of(&connect);
        let mailbox = engine.registry().open(address(), Transport::Mqtt);
        engine.registry().operator_arrives(name, "publisher", &mailbox);
        let (rights, now_ms) = (who.session_rights(), engine.clock().mono_ms());
        let session = OperatorSession::new(name.clone(), rights, connect, GRANTS.keep_alive_max_secs, now_ms);
        Ok(Self { who, session, mailbox, peer, out: Vec::new() })
    }

    /// Takes a PUBLISH, gives it to the engine, and sends the PUBACK.
    pub(crate) async fn publish(&mut self, engine: &Engine, packet: &[u8]) -> Result<()> {
        let packet = mqtt::decode(self.peer.level, packet)?;
        self.session.handle_packet(packet, engine.clock().mono_ms());
        let mut accepted = false;
        while let Some(action) = self.session.poll_action() {
            match action {
                OperatorAction::Submit(request) => {
                    let packet_id = request.packet_id;
                    let mut replies = engine.submit(&self.who, &self.mailbox, vec![request]).await?;
                    let reply = replies.pop().context("no reply")?;
                    self.session.handle_submitted(vec![(packet_id, reply)]);
                }
                OperatorAction::Send(packet) => {
                    self.out.clear();
                    mqtt::encode(&self.peer, &packet, &mut self.out)?;
                    let puback = matches!(packet, ServerPacket::PubAck { reason: ReasonCode::Success, .. });
                    ensure!(puback, "a publisher is sent {packet:?}");
                    accepted = true;
                }
                other @ (OperatorAction::Follow(_) | OperatorAction::Warn(_) | OperatorAction::Close(_)) => {
                    bail!("a publisher's session asks for {other:?}")
                }
            }
        }
        ensure!(accepted, "a wake was not accepted");
        Ok(())
    }
}
