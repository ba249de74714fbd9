//! The session of one operator's connection.

use std::collections::VecDeque;

use wakemq_protocol::limits::CORRELATION_DATA_MAX;
use wakemq_protocol::{Kind, OperatorName, Submission, Target, Topic, filter_matches};

use crate::log_text::refused_publish;
use crate::packet::{
    ClientPacket, ClientPublish, Connect, ProtocolLevel, QoS, ReasonCode, ServerPacket, ServerPublish,
    Subscribe, Will,
};
use crate::{End, Heartbeat, InFlight};

/// Most subscriptions of one operator's connection.
const SUBSCRIPTIONS_MAX: usize = 16;
/// Most responses that wait for a slow operator; one more ends the connection.
const WAITING_MAX: usize = 10_000;
/// Most responses in flight; a smaller Receive Maximum counts.
const RESPONSES_IN_FLIGHT_MAX: u16 = 256;

/// What the broker is to do for an operator's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorAction {
    /// Send a packet.
    Send(ServerPacket),
    /// Submit a command; answer with `handle_submitted` or `handle_store_failed`.
    Submit(SubmitRequest),
    /// Log something that a person should look at.
    Warn(String),
    /// Say why and close.
    Close(End),
}

/// A publication that asks for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitRequest {
    /// For whom.
    pub target: Target,
    /// What is asked, or why that is to be recorded as refused.
    pub submission: Result<Submission, Refusal>,
    /// MQTT 5 message expiry, in seconds.
    pub message_expiry_secs: Option<u32>,
    /// Where changes of state are to be told, and what to tell along.
    pub response: Option<Response>,
    /// What the PUBACK repeats; none for QoS 0.
    pub packet_id: Option<u16>,
    /// A refusal is to be recorded, because 3.1.1 has no PUBACK that tells the publisher of it.
    pub record_refusal: bool,
}

/// Where an operator wants to be told of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The topic, one of the operator's own responses.
    pub topic: String,
    /// Correlation Data.
    pub correlation_data: Option<Vec<u8>>,
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What MQTT 5 says.
    pub reason: ReasonCode,
    /// The same for people.
    pub text: String,
    /// What was submitted, as far as it could be read: 3.1.1 has it recorded as `refused`.
    pub submission: Option<Box<Submission>>,
}

impl Refusal {
    /// Makes a refusal of something that could not be read.
    pub fn new(reason: ReasonCode, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), submission: None }
    }
}

#[derive(Debug)]
struct Subscription {
    filter: String,
    qos: QoS,
}

/// A connected operator: takes its commands and sends it responses.
///
/// See the crate's documentation for the order of calls.
#[derive(Debug)]
pub struct OperatorSession {
    name: OperatorName,
    level: ProtocolLevel,
    may_command: bool,
    heartbeat: Heartbeat,
    maximum_packet_size: Option<u32>,
    subscriptions: Vec<Subscription>,
    in_flight: InFlight<()>,
    waiting: VecDeque<ServerPublish>,
    will: Option<Box<Will>>,
    actions: VecDeque<OperatorAction>,
}

impl OperatorSession {
    /// Starts the session of an admitted operator; one that may not command may still connect and subscribe.
    pub fn new(
        name: OperatorName,
        may_command: bool,
        connect: Connect,
        keep_alive_max_secs: u16,
        now_ms: u64,
    ) -> Self {
        Self {
            name,
            level: connect.level,
            may_command,
            heartbeat: Heartbeat::new(connect.keep_alive_secs, keep_alive_max_secs, now_ms),
            maximum_packet_size: connect.maximum_packet_size,
            subscriptions: Vec::new(),
            in_flight: InFlight::new(connect.receive_maximum.min(RESPONSES_IN_FLIGHT_MAX)),
            waiting: VecDeque::new(),
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
            ClientPacket::PubAck { packet_id, .. } => match self.in_flight.remove(packet_id) {
                Some(()) => self.send_waiting(),
                None => {
                    let text = format!("PUBACK {packet_id} for nothing that is in flight");
                    self.close(End::new(ReasonCode::ProtocolError, text));
                }
            },
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
        let matching = self.subscriptions.iter().filter(|s| filter_matches(&s.filter, &response.topic));
        let Some(qos) = matching.map(|subscription| subscription.qos).max() else { return };
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
            return;
        }
        if qos == QoS::AtMostOnce {
            self.send(ServerPacket::Publish(publish));
        } else if self.waiting.len() >= WAITING_MAX {
            let text = "too many responses are waiting for their PUBACK";
            self.close(End::new(ReasonCode::QuotaExceeded, text));
        } else {
            self.waiting.push_back(publish);
            self.send_waiting();
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
            Ok(Topic::AgentCommands(agent)) if self.may_command => Target::Agent(agent),
            Ok(Topic::GroupCommands(group)) if self.may_command => Target::Group(group),
            Ok(_) | Err(_) => return self.refuse_topic(packet_id),
        };
        let response = match self.read_response(&publish) {
            Ok(response) => response,
            Err(refusal) => return self.refuse(packet_id, refusal),
        };
        let submission = read_submission(&publish.payload);
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
        for wanted in subscribe.filters {
            let (reason, text) = if subscribe.subscription_id.is_some() {
                (ReasonCode::SubscriptionIdentifiersNotSupported, "no subscription identifiers are offered")
            } else if wanted.filter.starts_with("$share/") {
                (ReasonCode::SharedSubscriptionsNotSupported, "no shared subscriptions are offered")
            } else if Topic::is_events_filter(&wanted.filter) {
                (ReasonCode::ImplementationSpecificError, "this version of the broker publishes no events")
            } else if !Topic::is_responses_filter(&wanted.filter, &self.name) {
                (ReasonCode::NotAuthorized, "an operator subscribes to its own responses alone")
            } else if self.subscribe(wanted.filter, wanted.qos) {
                let at_least_once = wanted.qos >= QoS::AtLeastOnce;
                reasons.push(if at_least_once { ReasonCode::GrantedQoS1 } else { ReasonCode::Success });
                continue;
            } else {
                (ReasonCode::QuotaExceeded, "at most 16 subscriptions")
            };
            reasons.push(reason);
            why = Some(text.to_owned());
        }
        self.send(ServerPacket::SubAck { packet_id: subscribe.packet_id, reasons, reason_string: why });
    }

    fn subscribe(&mut self, filter: String, qos: QoS) -> bool {
        let qos = qos.min(QoS::AtLeastOnce);
        if let Some(known) = self.subscriptions.iter_mut().find(|known| known.filter == filter) {
            known.qos = qos;
            return true;
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return false;
        }
        self.subscriptions.push(Subscription { filter, qos });
        true
    }

    fn handle_unsubscribe(&mut self, packet_id: u16, filters: &[String]) {
        let mut reasons = Vec::with_capacity(filters.len());
        for filter in filters {
            let before = self.subscriptions.len();
            self.subscriptions.retain(|known| known.filter != *filter);
            let existed = self.subscriptions.len() < before;
            reasons.push(if existed { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted });
        }
        self.send(ServerPacket::UnsubAck { packet_id, reasons });
    }

    fn refuse_topic(&mut self, packet_id: Option<u16>) {
        let text = if self.may_command {
            "an operator publishes to the commands of agents and groups alone"
        } else {
            "this operator may look on, not command"
        };
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

    fn send_waiting(&mut self) {
        while !self.waiting.is_empty() {
            let Some(packet_id) = self.in_flight.insert(()) else { return };
            if let Some(publish) = self.waiting.pop_front() {
                self.send(ServerPacket::Publish(ServerPublish { packet_id: Some(packet_id), ..publish }));
            }
        }
    }

    fn send(&mut self, packet: ServerPacket) {
        self.actions.push_back(OperatorAction::Send(packet));
    }

    fn close(&mut self, end: End) {
        self.actions.push_back(OperatorAction::Close(end));
    }
}

/// Reads a submission and refuses what this version does not carry out.
fn read_submission(payload: &[u8]) -> Result<Submission, Refusal> {
    let submission = Submission::from_json(payload)
        .map_err(|error| Refusal::new(ReasonCode::PayloadFormatInvalid, error.to_string()))?;
    match check_kind(&submission) {
        Ok(()) => Ok(submission),
        Err(refusal) => Err(Refusal { submission: Some(Box::new(submission)), ..refusal }),
    }
}

/// Refuses a kind of command that this version does not carry out.
pub fn check_kind(submission: &Submission) -> Result<(), Refusal> {
    let (reason, text) = match &submission.kind {
        Kind::Wake => return Ok(()),
        Kind::Relay => {
            (ReasonCode::NotAuthorized, "relay commands are issued by the engine alone".to_owned())
        }
        Kind::Power | Kind::Other(_) => {
            let text = format!("this version of the broker does not carry out {}", submission.kind);
            (ReasonCode::ImplementationSpecificError, text)
        }
    };
    Err(Refusal::new(reason, text))
}
