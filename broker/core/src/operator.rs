//! The session of one operator's connection.

mod outbox;
mod submission;
mod subscriptions;

use std::collections::VecDeque;

use wakemq_protocol::limits::CORRELATION_DATA_MAX;
use wakemq_protocol::{GroupPath, OperatorName, Target, Topic};

use crate::following::may_see;
use crate::log_text::refused_publish;
use crate::packet::{
    ClientPacket, ClientPublish, Connect, ProtocolLevel, QoS, ReasonCode, ServerPacket, ServerPublish,
    Subscribe, Will,
};
use crate::{End, Following, Heartbeat};

use outbox::{Outbox, What};
use submission::read_submission;
use subscriptions::Subscriptions;

pub use submission::{Refusal, Response, SubmitRequest, check_kind};

/// What the broker is to do for an operator's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorAction {
    /// Send a packet.
    Send(ServerPacket),
    /// Submit a command; answer with `handle_submitted` or `handle_store_failed`.
    Submit(SubmitRequest),
    /// Follow these events from now on, and no others, before the next action is carried out.
    Follow(Following),
    /// Log something that a person should look at.
    Warn(String),
    /// Say why and close.
    Close(End),
}

/// What an operator may do; it may change while it is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Whether it may publish commands; one that may not may still connect and subscribe.
    pub may_command: bool,
    /// Where: this group and everything below it.
    pub scope: GroupPath,
}

/// A connected operator: takes its commands and sends it responses.
///
/// See the crate's documentation for the order of calls.
#[derive(Debug)]
pub struct OperatorSession {
    name: OperatorName,
    level: ProtocolLevel,
    rights: Rights,
    heartbeat: Heartbeat,
    maximum_packet_size: Option<u32>,
    subscriptions: Subscriptions,
    outbox: Outbox,
    /// Number of the last event; those that were lost have one too.
    seq: u64,
    will: Option<Box<Will>>,
    actions: VecDeque<OperatorAction>,
}

impl OperatorSession {
    /// Starts the session of an admitted operator.
    pub fn new(
        name: OperatorName,
        rights: Rights,
        connect: Connect,
        keep_alive_max_secs: u16,
        now_ms: u64,
    ) -> Self {
        Self {
            name,
            level: connect.level,
            rights,
            heartbeat: Heartbeat::new(connect.keep_alive_secs, keep_alive_max_secs, now_ms),
            maximum_packet_size: connect.maximum_packet_size,
            subscriptions: Subscriptions::default(),
            outbox: Outbox::new(connect.receive_maximum),
            seq: 0,
            will: connect.will.map(Box::new),
            actions: VecDeque::new(),
        }
    }

    /// Returns the operator's name.
    pub fn name(&self) -> &OperatorName {
        &self.name
    }

    /// Returns the keep-alive in force, in seconds.
    pub fn keep_alive_secs(&self) -> u16 {
        self.heartbeat.keep_alive_secs()
    }

    /// Returns when `handle_timeout` is to be called at the latest.
    pub fn deadline_ms(&self) -> u64 {
        self.heartbeat.deadline_ms()
    }

    /// Takes the next thing to do.
    pub fn poll_action(&mut self) -> Option<OperatorAction> {
        self.actions.pop_front()
    }

    /// Takes a packet.
    pub fn handle_packet(&mut self, packet: ClientPacket, now_ms: u64) {
        self.heartbeat.heard(now_ms);
        match packet {
            ClientPacket::PingReq => self.send(ServerPacket::PingResp),
            ClientPacket::PubAck { packet_id, .. } => {
                if self.outbox.acknowledged(packet_id) {
                    self.send_waiting();
                } else {
                    let text = format!("PUBACK {packet_id} for nothing that is in flight");
                    self.close(End::new(ReasonCode::ProtocolError, text));
                }
            }
            ClientPacket::Subscribe(subscribe) => self.handle_subscribe(subscribe),
            ClientPacket::Unsubscribe { packet_id, filters } => self.handle_unsubscribe(packet_id, &filters),
            ClientPacket::Publish(publish) => self.handle_publish(publish),
            ClientPacket::Disconnect { reason, session_expiry_secs } => {
                let end = End::of_disconnect(reason, session_expiry_secs, &mut self.will);
                self.close(end);
            }
        }
    }

    /// Puts an action back that was polled too early: it is the next one again.
    pub fn put_back(&mut self, action: OperatorAction) {
        self.actions.push_front(action);
    }

    /// Takes what became of submissions, by the packet ids of their PUBACKs. The answers go in front of all that
    /// waits, because acknowledgements keep the order of what they acknowledge (MQTT 5 §4.6).
    pub fn handle_submitted(&mut self, replies: Vec<(Option<u16>, Result<(), Refusal>)>) {
        let waiting = std::mem::take(&mut self.actions);
        for (packet_id, reply) in replies {
            match reply {
                Ok(()) => self.puback(packet_id, ReasonCode::Success, None),
                Err(refusal) if refusal.reason == ReasonCode::NotAuthorized => {
                    self.refuse_foreign(packet_id, refusal.text);
                }
                Err(refusal) => self.refuse(packet_id, refusal),
            }
        }
        self.actions.extend(waiting);
    }

    /// Notes that the store cannot write: nothing of these was accepted.
    pub fn handle_store_failed(&mut self, packet_ids: Vec<Option<u16>>) {
        let text = "the broker's store cannot write at the moment; nothing was accepted, try again";
        let waiting = std::mem::take(&mut self.actions);
        match self.level {
            // 3.1.1 has no PUBACK that says no, and an unanswered one would wait for ever.
            ProtocolLevel::V4 => self.close(End::new(ReasonCode::ServerUnavailable, text)),
            ProtocolLevel::V5 => packet_ids.into_iter().for_each(|packet_id| {
                self.puback(packet_id, ReasonCode::ImplementationSpecificError, Some(text.to_owned()));
            }),
        }
        self.actions.extend(waiting);
    }

    /// Takes a response: it is sent if the operator subscribes to its topic, at the quality it asked for.
    pub fn handle_response(&mut self, response: &Response, payload: Vec<u8>) {
        let Some(qos) = self.subscriptions.quality(&response.topic) else { return };
        let publish = ServerPublish {
            topic: response.topic.clone(),
            payload,
            correlation_data: response.correlation_data.clone(),
            ..ServerPublish::default()
        };
        let size = publish.size(self.level, qos);
        if let Some(max) = self.maximum_packet_size.filter(|&max| size > max as usize) {
            // MQTT 5 §3.1.2.11.4: what is too large for the client is not sent.
            let text = format!("a response of {size} bytes is above the operator's maximum of {max}");
            self.actions.push_back(OperatorAction::Warn(text));
        } else if !self.publish(What::Response, publish, qos) {
            let text = "too many responses are waiting for their PUBACK";
            self.close(End::new(ReasonCode::QuotaExceeded, text));
        }
    }

    /// Takes an event: it is sent if the operator subscribes to it and may see its group at this moment.
    ///
    /// `body` is the JSON object without `seq`; `lost` is how many the operator may have missed before it. Every
    /// event that is for this operator has a number, also one for which there is no room: so gaps show. Returns
    /// `false` for such a one.
    pub fn handle_event(&mut self, topic: &str, body: &[u8], lost: u64) -> bool {
        self.seq = self.seq.saturating_add(lost);
        let quality = self.subscriptions.quality(topic).filter(|_| may_see(&self.rights.scope, topic));
        let Some(qos) = quality else { return true };
        self.seq = self.seq.saturating_add(1);
        let publish = ServerPublish {
            topic: topic.to_owned(),
            payload: numbered(self.seq, body),
            ..ServerPublish::default()
        };
        let size = publish.size(self.level, qos);
        let fits = self.maximum_packet_size.is_none_or(|max| size <= max as usize);
        fits && self.publish(What::Event, publish, qos)
    }

    /// Notes that events were lost on their way to the session: their numbers are passed over.
    pub fn handle_events_lost(&mut self, lost: u64) {
        self.seq = self.seq.saturating_add(lost);
    }

    /// Takes what the operator may do from now on.
    pub fn handle_rights(&mut self, rights: Rights) {
        let moved = self.rights.scope != rights.scope;
        self.rights = rights;
        let following = self.subscriptions.following(&self.rights.scope);
        if moved && !following.filters.is_empty() {
            self.actions.push_back(OperatorAction::Follow(following));
        }
    }

    /// Looks whether the keep-alive has run out.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if let Some(end) = self.heartbeat.end(now_ms) {
            self.close(end);
        }
    }

    /// Ends the session: its right was taken away, another connection has its client id, the broker stops.
    pub fn handle_evicted(&mut self, end: End) {
        self.close(end);
    }

    /// Notes that the connection has ended; leaves the will's submission in the actions, if a will is due.
    pub fn handle_closed(&mut self) {
        self.actions.clear();
        if let Some(will) = self.will.take() {
            self.handle_publish(will.into_publish());
        }
    }

    fn handle_publish(&mut self, publish: ClientPublish) {
        let packet_id = publish.packet_id;
        let target = match publish.topic.parse::<Topic>() {
            Ok(Topic::AgentCommands(agent)) if self.rights.may_command => Target::Agent(agent),
            Ok(Topic::GroupCommands(group)) if self.rights.may_command => Target::Group(group),
            Ok(_) | Err(_) => return self.refuse_topic(packet_id),
        };
        let response = match self.read_response(&publish) {
            Ok(response) => response,
            Err(refusal) => return self.refuse(packet_id, refusal),
        };
        let submission = read_submission(&target, &publish.payload, publish.message_expiry_secs);
        if let Err(refusal) = &submission {
            match self.level {
                ProtocolLevel::V5 => return self.refuse(packet_id, refusal.clone()),
                // 3.1.1 is not told, so that the record is all that its publisher has.
                ProtocolLevel::V4 => self.warn_refused(refusal),
            }
        }
        self.actions.push_back(OperatorAction::Submit(SubmitRequest {
            target,
            submission,
            message_expiry_secs: publish.message_expiry_secs,
            response,
            packet_id,
            record_refusal: self.level == ProtocolLevel::V4,
        }));
    }

    fn read_response(&self, publish: &ClientPublish) -> Result<Option<Response>, Refusal> {
        let Some(topic) = &publish.response_topic else { return Ok(None) };
        match topic.parse::<Topic>() {
            Ok(Topic::Response { operator, .. }) if operator == self.name => {}
            Ok(_) | Err(_) => {
                let text =
                    format!("the response topic must be below {}", Topic::responses_filter(&self.name));
                return Err(Refusal::new(ReasonCode::NotAuthorized, text));
            }
        }
        let correlation_data = publish.correlation_data.clone();
        if correlation_data.as_ref().is_some_and(|data| data.len() > CORRELATION_DATA_MAX) {
            let text = format!("the correlation data is longer than {CORRELATION_DATA_MAX} bytes");
            return Err(Refusal::new(ReasonCode::QuotaExceeded, text));
        }
        Ok(Some(Response { topic: topic.clone(), correlation_data }))
    }

    fn handle_subscribe(&mut self, subscribe: Subscribe) {
        let mut why = None;
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let before = self.subscriptions.following(&self.rights.scope);
        for wanted in subscribe.filters {
            let (reason, text) = if subscribe.subscription_id.is_some() {
                (ReasonCode::SubscriptionIdentifiersNotSupported, "no subscription identifiers are offered")
            } else if wanted.filter.starts_with("$share/") {
                (ReasonCode::SharedSubscriptionsNotSupported, "no shared subscriptions are offered")
            } else if Topic::events_rest(&wanted.filter).is_none()
                && !Topic::is_responses_filter(&wanted.filter, &self.name)
            {
                (ReasonCode::NotAuthorized, "an operator subscribes to events and its own responses alone")
            } else if self.subscriptions.insert(wanted.filter, wanted.qos) {
                let at_least_once = wanted.qos >= QoS::AtLeastOnce;
                reasons.push(if at_least_once { ReasonCode::GrantedQoS1 } else { ReasonCode::Success });
                continue;
            } else {
                (ReasonCode::QuotaExceeded, "at most 16 subscriptions")
            };
            reasons.push(reason);
            why = Some(text.to_owned());
        }
        self.follow(&before);
        self.send(ServerPacket::SubAck { packet_id: subscribe.packet_id, reasons, reason_string: why });
    }

    /// Asks for other events than before, if the subscriptions ask for others. The answer to the client comes
    /// behind it: whoever has its SUBACK misses nothing from then on.
    fn follow(&mut self, before: &Following) {
        let following = self.subscriptions.following(&self.rights.scope);
        if following != *before {
            self.actions.push_back(OperatorAction::Follow(following));
        }
    }

    fn handle_unsubscribe(&mut self, packet_id: u16, filters: &[String]) {
        let before = self.subscriptions.following(&self.rights.scope);
        let mut reasons = Vec::with_capacity(filters.len());
        for filter in filters {
            let existed = self.subscriptions.remove(filter);
            reasons.push(if existed { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted });
        }
        self.follow(&before);
        self.send(ServerPacket::UnsubAck { packet_id, reasons });
    }

    fn refuse_topic(&mut self, packet_id: Option<u16>) {
        let text = if self.rights.may_command {
            "an operator publishes to the commands of agents and groups alone"
        } else {
            "this operator may look on, not command"
        };
        self.refuse_foreign(packet_id, text.to_owned());
    }

    fn refuse_foreign(&mut self, packet_id: Option<u16>, text: String) {
        match self.level {
            // 3.1.1 cannot say it in a PUBACK (MQTT 3.1.1 §3.3.5).
            ProtocolLevel::V4 => self.close(End::new(ReasonCode::NotAuthorized, text)),
            ProtocolLevel::V5 => self.refuse(packet_id, Refusal::new(ReasonCode::NotAuthorized, text)),
        }
    }

    fn refuse(&mut self, packet_id: Option<u16>, refusal: Refusal) {
        self.warn_refused(&refusal);
        self.puback(packet_id, refusal.reason, Some(refusal.text));
    }

    fn warn_refused(&mut self, refusal: &Refusal) {
        self.actions.push_back(OperatorAction::Warn(refused_publish(refusal.reason, &refusal.text)));
    }

    fn puback(&mut self, packet_id: Option<u16>, reason: ReasonCode, reason_string: Option<String>) {
        if let Some(packet_id) = packet_id {
            self.send(ServerPacket::PubAck { packet_id, reason, reason_string });
        }
    }

    /// Sends a publication at its quality; returns `false` if too many wait already.
    fn publish(&mut self, what: What, publish: ServerPublish, qos: QoS) -> bool {
        if qos == QoS::AtMostOnce {
            self.send(ServerPacket::Publish(publish));
            return true;
        }
        let room = self.outbox.push(what, publish);
        self.send_waiting();
        room
    }

    fn send_waiting(&mut self) {
        while let Some(publish) = self.outbox.next() {
            self.send(ServerPacket::Publish(publish));
        }
    }

    fn send(&mut self, packet: ServerPacket) {
        self.actions.push_back(OperatorAction::Send(packet));
    }

    fn close(&mut self, end: End) {
        self.actions.push_back(OperatorAction::Close(end));
    }
}

/// Puts the number in front of an event's other fields.
fn numbered(seq: u64, body: &[u8]) -> Vec<u8> {
    let mut payload = format!("{{\"seq\":{seq},").into_bytes();
    payload.extend_from_slice(body.strip_prefix(b"{").unwrap_or(body));
    payload
}
