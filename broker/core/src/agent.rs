//! The session of one agent's connection.

use std::collections::VecDeque;

use wakemq_protocol::limits::{IN_FLIGHT_MAX, PENDING_MAX};
use wakemq_protocol::{AgentId, Command, CommandId, Facts, Receipt, Report, Topic};

use crate::log_text::refused_publish;
use crate::login::may_publish;
use crate::packet::{
    ClientPacket, ClientPublish, Connect, ProtocolLevel, QoS, ReasonCode, ServerPacket, ServerPublish,
    Subscribe, Will,
};
use crate::{End, Heartbeat, InFlight, PublishRate};

/// What the broker is to do for an agent's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAction {
    /// Send a packet.
    Send(ServerPacket),
    /// Claim the inbox for this connection; answer with `handle_claimed`.
    Claim,
    /// Release what the claim carries: the agent has unsubscribed.
    Release,
    /// Take the next commands of the inbox; answer with `handle_page`.
    Fetch {
        /// How many at most.
        max: usize,
    },
    /// Record that a command is in the agent's journal; answer with `handle_recorded`.
    Acknowledged(CommandId),
    /// End a command that the agent's connection cannot take; answer with `handle_recorded`.
    Failed {
        /// The command.
        id: CommandId,
        /// Why.
        detail: String,
    },
    /// Record a receipt; answer with `handle_stored`.
    Receipt {
        /// What the agent says.
        receipt: Receipt,
        /// What the PUBACK repeats; none for QoS 0.
        packet_id: Option<u16>,
    },
    /// Keep the agent's facts; answer with `handle_stored`.
    Facts {
        /// What the agent tells.
        facts: Box<Facts>,
        /// What the PUBACK repeats; none for QoS 0.
        packet_id: Option<u16>,
    },
    /// Tell the operators who follow what the agent reports; answer with `handle_stored`.
    Report {
        /// What the agent reports.
        report: Report,
        /// What the PUBACK repeats; none for QoS 0.
        packet_id: Option<u16>,
    },
    /// Read nothing more until then.
    Pause {
        /// Until when, on the clock of `now_ms`.
        until_ms: u64,
    },
    /// Log something that a person should look at.
    Warn(String),
    /// Say why and close.
    Close(End),
}

/// How far the agent's subscription to its commands is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subscription {
    /// Not subscribed, which is offline.
    None,
    /// Subscribed, and the inbox is being claimed.
    Claiming,
    /// Commands may be sent.
    Active,
}

/// A connected agent: sends it what its inbox holds, and takes its acknowledgements, receipts and facts.
///
/// See the crate's documentation for the order of calls.
#[derive(Debug)]
pub struct AgentSession {
    agent: AgentId,
    level: ProtocolLevel,
    subscription: Subscription,
    /// How many commands the `Fetch` that is under way may bring; 0 if none is. Their room is kept free.
    fetching: usize,
    /// Something came into the inbox while there was no room or a `Fetch` was under way.
    fetch_again: bool,
    /// The last page left something that waits for room in flight, or for its slot.
    more: bool,
    /// The page under way was asked for by a subscription that has ended: its commands are queued again.
    page_is_stale: bool,
    rate: PublishRate,
    heartbeat: Heartbeat,
    maximum_packet_size: Option<u32>,
    in_flight: InFlight<CommandId>,
    /// Commands with time to live 0 that wait for room in flight.
    live: Vec<Command>,
    will: Option<Box<Will>>,
    actions: VecDeque<AgentAction>,
}

impl AgentSession {
    /// Starts the session of an admitted agent; its topics are spelled as it spelled its own id.
    pub fn new(agent: AgentId, connect: Connect, keep_alive_max_secs: u16, now_ms: u64) -> Self {
        Self {
            agent,
            level: connect.level,
            subscription: Subscription::None,
            fetching: 0,
            fetch_again: false,
            more: false,
            page_is_stale: false,
            rate: PublishRate::default(),
            heartbeat: Heartbeat::new(connect.keep_alive_secs, keep_alive_max_secs, now_ms),
            maximum_packet_size: connect.maximum_packet_size,
            in_flight: InFlight::new(connect.receive_maximum.min(IN_FLIGHT_MAX)),
            live: Vec::new(),
            will: connect.will.map(Box::new),
            actions: VecDeque::new(),
        }
    }

    /// Returns the agent.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Returns the version of MQTT that the agent speaks.
    pub fn level(&self) -> ProtocolLevel {
        self.level
    }

    /// Returns the keep-alive in force, in seconds.
    pub fn keep_alive_secs(&self) -> u16 {
        self.heartbeat.keep_alive_secs()
    }

    /// Returns when `handle_timeout` is to be called at the latest.
    pub fn deadline_ms(&self) -> u64 {
        self.heartbeat.deadline_ms()
    }

    /// Takes the deadline if the timer has to be set anew for it; to be asked after what was handled.
    pub fn poll_rearm(&mut self) -> Option<u64> {
        self.heartbeat.poll_rearm()
    }

    /// Takes the next thing to do.
    pub fn poll_action(&mut self) -> Option<AgentAction> {
        let action = self.actions.pop_front();
        if self.actions.is_empty() {
            // A parked connection holds no queue.
            self.actions = VecDeque::new();
        }
        action
    }

    /// Takes a packet.
    pub fn handle_packet(&mut self, packet: ClientPacket, now_ms: u64) {
        self.heartbeat.heard(now_ms);
        match packet {
            ClientPacket::PingReq => self.send(ServerPacket::PingResp),
            ClientPacket::PubAck { packet_id, reason } => self.handle_puback(packet_id, reason),
            ClientPacket::Subscribe(subscribe) => {
                self.handle_subscribe(&subscribe);
                self.count(now_ms);
            }
            ClientPacket::Unsubscribe { packet_id, filters } => {
                self.handle_unsubscribe(packet_id, &filters);
                self.count(now_ms);
            }
            ClientPacket::Publish(publish) => {
                self.handle_publish(publish);
                self.count(now_ms);
            }
            ClientPacket::Disconnect { reason, session_expiry_secs } => {
                let end = End::of_disconnect(reason, session_expiry_secs, &mut self.will);
                self.close(end);
            }
        }
    }

    /// Notes that the inbox may hold something new.
    pub fn handle_inbox_changed(&mut self) {
        self.fetch();
    }

    /// Takes a command that is only for this connection (time to live 0).
    pub fn handle_live(&mut self, command: Command, now_ms: u64) {
        if self.subscription == Subscription::None || self.live.len() >= PENDING_MAX {
            // It stays with the engine as carried by this connection, and expires with it.
            return;
        }
        self.live.push(command);
        self.send_live(now_ms);
    }

    /// Takes the engine's word that the inbox is claimed.
    pub fn handle_claimed(&mut self) {
        if self.subscription == Subscription::None {
            // The agent has unsubscribed meanwhile; a `Release` follows the `Claim`.
            return;
        }
        self.subscription = Subscription::Active;
        // It comes behind the SUBACK, which is in the queue already.
        self.fetch();
    }

    /// Takes what `Fetch` asked for; `more` tells that something was left which may go out after an acknowledgement.
    pub fn handle_page(&mut self, commands: Vec<Command>, more: bool, now_ms: u64) {
        self.fetching = 0;
        self.more = more;
        if !std::mem::take(&mut self.page_is_stale) {
            for command in commands {
                self.deliver(command, now_ms);
            }
        }
        self.send_live(now_ms);
        if self.fetch_again {
            self.fetch();
        }
    }

    /// Notes that an acknowledgement, or a failure, is recorded: there is room, and its slot may hold another.
    pub fn handle_recorded(&mut self, now_ms: u64) {
        self.send_live(now_ms);
        // What came later than the last page has been told of, or will be.
        if self.more || self.fetch_again || self.fetching > 0 {
            self.fetch();
        }
    }

    /// Notes that a receipt or the facts are stored, or that a report is told: the agent may forget them.
    pub fn handle_stored(&mut self, packet_id: Option<u16>) {
        if let Some(packet_id) = packet_id {
            self.puback(packet_id, ReasonCode::Success, None);
        }
    }

    /// Notes that the store cannot write. A receipt is refused by its PUBACK, and the agent sends it again later;
    /// where that cannot be said, the agent is to come back and try again.
    pub fn handle_store_failed(&mut self, packet_id: Option<u16>) {
        let text = "the broker's store cannot write at the moment";
        match (self.level, packet_id) {
            (ProtocolLevel::V5, Some(packet_id)) => {
                self.puback(packet_id, ReasonCode::ImplementationSpecificError, Some(text.to_owned()));
            }
            (ProtocolLevel::V4, _) | (ProtocolLevel::V5, None) => {
                self.close(End::new(ReasonCode::ServerUnavailable, text));
            }
        }
    }

    /// Looks whether the agent was silent for too long, see [`Heartbeat`].
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if let Some(end) = self.heartbeat.end(now_ms) {
            self.close(end);
        }
    }

    /// Ends the session: another connection took over, the agent was revoked, the broker stops.
    pub fn handle_evicted(&mut self, end: End) {
        self.close(end);
    }

    /// Notes that the connection has ended; leaves the will's receipt in the actions, if a will is due.
    pub fn handle_closed(&mut self) {
        self.actions.clear();
        if let Some(will) = self.will.take() {
            self.handle_publish(will.into_publish());
        }
    }

    /// Counts a packet that costs the store something.
    fn count(&mut self, now_ms: u64) {
        if let Some(until_ms) = self.rate.count(now_ms) {
            self.actions.push_back(AgentAction::Pause { until_ms });
        }
    }

    fn handle_puback(&mut self, packet_id: u16, reason: ReasonCode) {
        let acknowledged = self.in_flight.remove(packet_id);
        if self.in_flight.is_empty() {
            self.heartbeat.acknowledged();
        }
        match acknowledged {
            Some(id) if reason.is_error() => {
                let detail = format!("the agent answered 0x{:02X}, {}", reason.value(), reason.text());
                self.actions.push_back(AgentAction::Failed { id, detail });
            }
            Some(id) => self.actions.push_back(AgentAction::Acknowledged(id)),
            None => {
                let text = format!("PUBACK {packet_id} for nothing that is in flight");
                self.close(End::new(ReasonCode::ProtocolError, text));
            }
        }
    }

    fn handle_subscribe(&mut self, subscribe: &Subscribe) {
        let packet_id = subscribe.packet_id;
        let mut why = None;
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        for wanted in &subscribe.filters {
            let own = matches!(wanted.filter.parse(), Ok(Topic::AgentCommands(of)) if of == self.agent);
            let (reason, text) = if subscribe.subscription_id.is_some() {
                (ReasonCode::SubscriptionIdentifiersNotSupported, "no subscription identifiers are offered")
            } else if wanted.filter.starts_with("$share/") {
                (ReasonCode::SharedSubscriptionsNotSupported, "no shared subscriptions are offered")
            } else if !own {
                (ReasonCode::NotAuthorized, "an agent subscribes to its own commands alone")
            } else if wanted.qos == QoS::AtMostOnce {
                (
                    ReasonCode::ImplementationSpecificError,
                    "commands need QoS 1: at QoS 0 none could be acknowledged",
                )
            } else {
                reasons.push(ReasonCode::GrantedQoS1);
                continue;
            };
            reasons.push(reason);
            why = Some(text.to_owned());
        }
        if reasons.contains(&ReasonCode::GrantedQoS1) && self.subscription == Subscription::None {
            self.subscription = Subscription::Claiming;
            self.actions.push_back(AgentAction::Claim);
        }
        self.send(ServerPacket::SubAck { packet_id, reasons, reason_string: why });
    }

    fn handle_unsubscribe(&mut self, packet_id: u16, filters: &[String]) {
        let mut reasons = Vec::with_capacity(filters.len());
        for filter in filters {
            let own = matches!(filter.parse(), Ok(Topic::AgentCommands(of)) if of == self.agent);
            if own && self.subscription != Subscription::None {
                self.subscription = Subscription::None;
                self.live = Vec::new();
                self.page_is_stale = self.fetching > 0;
                self.actions.push_back(AgentAction::Release);
                reasons.push(ReasonCode::Success);
            } else {
                reasons.push(ReasonCode::NoSubscriptionExisted);
            }
        }
        self.send(ServerPacket::UnsubAck { packet_id, reasons });
    }

    fn handle_publish(&mut self, publish: ClientPublish) {
        let packet_id = publish.packet_id;
        let topic = match publish.topic.parse::<Topic>() {
            Ok(topic) if may_publish(&self.agent, &topic) => topic,
            Ok(_) | Err(_) => return self.refuse_topic(packet_id),
        };
        match topic {
            Topic::AgentReceipts(_) => match Receipt::from_json(&publish.payload) {
                Ok(receipt) => self.actions.push_back(AgentAction::Receipt { receipt, packet_id }),
                Err(error) => self.refuse(packet_id, ReasonCode::PayloadFormatInvalid, error.to_string()),
            },
            Topic::AgentFacts(_) => match Facts::from_json(&publish.payload) {
                Ok(facts) => self.actions.push_back(AgentAction::Facts { facts: Box::new(facts), packet_id }),
                Err(error) => self.refuse(packet_id, ReasonCode::PayloadFormatInvalid, error.to_string()),
            },
            Topic::AgentReports(_) => match Report::from_json(&publish.payload) {
                Ok(report) => self.actions.push_back(AgentAction::Report { report, packet_id }),
                Err(error) => self.refuse(packet_id, ReasonCode::PayloadFormatInvalid, error.to_string()),
            },
            Topic::AgentCommands(_)
            | Topic::GroupCommands(_)
            | Topic::Event { .. }
            | Topic::Response { .. } => self.refuse_topic(packet_id),
        }
    }

    fn refuse_topic(&mut self, packet_id: Option<u16>) {
        let text = "an agent publishes to its own receipts, facts and reports alone";
        match self.level {
            // 3.1.1 cannot say it in a PUBACK (MQTT 3.1.1 §3.3.5).
            ProtocolLevel::V4 => self.close(End::new(ReasonCode::NotAuthorized, text)),
            ProtocolLevel::V5 => self.refuse(packet_id, ReasonCode::NotAuthorized, text.to_owned()),
        }
    }

    fn refuse(&mut self, packet_id: Option<u16>, reason: ReasonCode, text: String) {
        self.actions.push_back(AgentAction::Warn(refused_publish(reason, &text)));
        if let Some(packet_id) = packet_id {
            self.puback(packet_id, reason, Some(text));
        }
    }

    fn puback(&mut self, packet_id: u16, reason: ReasonCode, reason_string: Option<String>) {
        self.send(ServerPacket::PubAck { packet_id, reason, reason_string });
    }

    fn fetch(&mut self) {
        if self.subscription != Subscription::Active {
            return;
        }
        let max = self.in_flight.room();
        if self.fetching > 0 || max == 0 {
            self.fetch_again = true;
            return;
        }
        self.fetching = max;
        self.fetch_again = false;
        self.actions.push_back(AgentAction::Fetch { max });
    }

    fn send_live(&mut self, now_ms: u64) {
        while !self.live.is_empty() && self.in_flight.room() > self.fetching {
            let command = self.live.remove(0);
            self.deliver(command, now_ms);
        }
        if self.live.is_empty() {
            self.live = Vec::new();
        }
    }

    /// Sends a command for which there is room; it was counted when it was asked for.
    fn deliver(&mut self, command: Command, now_ms: u64) {
        let id = command.id;
        let Some(packet_id) = self.in_flight.insert(id) else {
            // Room was counted before, and nothing else takes any.
            self.close(End::new(ReasonCode::UnspecifiedError, "more commands than room in flight"));
            return;
        };
        let publish = ServerPublish {
            topic: Topic::AgentCommands(self.agent.clone()).to_string(),
            payload: wakemq_protocol::to_json(&command),
            packet_id: Some(packet_id),
            ..ServerPublish::default()
        };
        let size = publish.size(self.level, QoS::AtLeastOnce);
        if let Some(max) = self.maximum_packet_size.filter(|&max| size > max as usize) {
            self.in_flight.remove(packet_id);
            let detail = format!("the packet of {size} bytes is above the agent's maximum of {max}");
            self.actions.push_back(AgentAction::Failed { id, detail });
            return;
        }
        self.heartbeat.sent(now_ms);
        self.send(ServerPacket::Publish(publish));
    }

    fn send(&mut self, packet: ServerPacket) {
        self.actions.push_back(AgentAction::Send(packet));
    }

    fn close(&mut self, end: End) {
        self.actions.push_back(AgentAction::Close(end));
    }
}
