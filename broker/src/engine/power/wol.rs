//! Magic packets for machines without an agent, through one agent or from the broker.

use serde_json::json;
use wakemq_protocol::http::{WolAnswer, WolRequest};
use wakemq_protocol::{
    AgentId, CommandState, GroupPath, Kind, MacAddr, MagicPacket, RelayJob, Role, SecureOn,
};

use super::order::Order;
use super::sender::Sent;
use crate::engine::admin::{About, done};
use crate::engine::secrets::new_command_id;
use crate::engine::{Caller, Engine, EngineError, Operator};
use crate::store::AdminOp;

/// What the audit trail calls it.
const ACTION: &str = "wol.send";

impl Engine {
    /// Sends packets for a machine without an agent. What is answered is what was sent, not what came of it.
    ///
    /// Runs to its end once it is begun: do not drop the future.
    pub async fn wol(&self, caller: &Caller, request: WolRequest) -> Result<WolAnswer, EngineError> {
        let who = self.admit(caller, Role::Operator)?;
        let WolRequest { mac, via, secureon } = request;
        if !mac.is_unicast() {
            return Err(EngineError::Invalid(format!("{mac} is not the address of an adapter")));
        }
        match via {
            Some(via) => self.wol_via(caller, who, via, mac, secureon).await,
            None => self.wol_from_here(caller, &who, mac, secureon).await,
        }
    }

    async fn wol_via(
        &self,
        caller: &Caller,
        who: Operator,
        via: AgentId,
        mac: MacAddr,
        secureon: Option<SecureOn>,
    ) -> Result<WolAnswer, EngineError> {
        let row = self.agent_row(&via).await?.filter(|row| who.scope.contains(&row.group));
        let row = row.ok_or_else(|| EngineError::UnknownAgent(via.clone()))?;
        if !self.is_subscribed(&via) {
            return Err(EngineError::NotConnected(via));
        }
        let id = new_command_id(self.clock.now())?;
        let after = json!({"via": via, "command": id});
        self.note_wol(caller, mac, row.group, after).await?;
        let ports = self.power.settings.ports.clone();
        let order = Order {
            id,
            actor: caller.actor(),
            scope: who.scope,
            agent: via.clone(),
            kind: Kind::Relay,
            job: Some(Box::new(RelayJob { macs: vec![mac], networks: Vec::new(), ports, secureon })),
            reason: format!("packets for {mac}"),
        };
        match self.order(order).await? {
            CommandState::Expired => Err(EngineError::NotConnected(via)),
            CommandState::Queued
            | CommandState::Sent
            | CommandState::Acknowledged
            | CommandState::Done
            | CommandState::Failed
            | CommandState::Refused
            | CommandState::Superseded
            | CommandState::Cancelled => {
                self.metrics.relays_asked.inc();
                Ok(WolAnswer { command: Some(id), destinations: Vec::new(), errors: Vec::new() })
            }
        }
    }

    async fn wol_from_here(
        &self,
        caller: &Caller,
        who: &Operator,
        mac: MacAddr,
        secureon: Option<SecureOn>,
    ) -> Result<WolAnswer, EngineError> {
        // Its packets go to networks of which nobody knows whose they are.
        who.require_group(&GroupPath::root())?;
        if !self.power.sender.has_addresses() {
            let text = "the broker has no addresses to send to: set `addresses` in [wol] of its configuration, or \
                        send through an agent";
            return Err(EngineError::Invalid(text.to_owned()));
        }
        let destinations = self.power.sender.addresses();
        self.note_wol(caller, mac, GroupPath::root(), json!({ "from_broker": destinations })).await?;
        let ports = self.power.settings.ports.clone();
        let Sent { destinations, errors, .. } =
            self.send_packets(&[MagicPacket { mac, secureon }], &ports).await;
        Ok(WolAnswer { command: None, destinations, errors })
    }

    /// Sends packets from the broker, and counts them.
    pub(super) async fn send_packets(&self, packets: &[MagicPacket], ports: &[u16]) -> Sent {
        let sent = self.power.sender.send(packets, ports).await;
        self.metrics.wol_packets.inc_by(sent.packets);
        for error in &sent.errors {
            tracing::warn!(error, "magic packets could not be sent");
        }
        sent
    }

    async fn note_wol(
        &self,
        caller: &Caller,
        mac: MacAddr,
        group: GroupPath,
        after: serde_json::Value,
    ) -> Result<(), EngineError> {
        let op = AdminOp::Note { action: ACTION, target: mac.to_string(), group: group.clone(), after };
        done(self.write_one(op, caller.actor()).await?, About::Group(group))
    }
}
