//! A running session: in-flight messages, acknowledgements and keep-alive.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Disconnect, DisconnectReasonCode, Filter, Packet, PubAck, Publish, PublishProperties, Subscribe,
};
use rumqttc::v5::mqttbytes::{QoS, valid_topic};
use rumqttc::v5::{MqttState, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use wakemq_protocol::limits::IN_FLIGHT_MAX;

use super::event::return_secs;
use super::wire::{Wire, name, protocol, puback_code, suback_code};
use super::{Connected, Event, Incoming, Outgoing, PublishError, ReasonCode, SessionError, Token};
use crate::timer::{LATE_MS, Timer};

/// Longest wait for the answer to a ping.
const PING_LIMIT: Duration = Duration::from_secs(20);
/// How long a farewell may take.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);

/// An MQTT 5 session on a connected stream, from CONNACK to DISCONNECT.
///
/// Order of calls: [`connect`](Self::connect), then [`subscribe`](Self::subscribe),
/// [`publish`](Self::publish) and [`ack`](Self::ack) as wanted, with [`next_event`](Self::next_event) awaited
/// all the time: what the others queue is written, and pings are sent, only while it is polled. It may be
/// dropped and called again without loss. After an error, or [`Event::ServerDisconnect`], the session is over.
///
/// Dropping the session closes the stream without DISCONNECT, which a server takes for a lost connection.
pub struct Session<S> {
    wire: Wire<S>,
    state: MqttState,
    /// What is in flight, by packet id less one.
    in_flight: [Option<Token>; IN_FLIGHT_MAX as usize],
    next_token: u64,
    window: u16,
    max_outgoing: u32,
    next_subscribe_pkid: u16,
    subscribes: Vec<u16>,
    /// How many messages came that are not yet acknowledged, and how many may.
    unacknowledged: u16,
    receive_maximum: u16,
    keep_alive: Option<KeepAlive>,
    /// The owner wants to know whether the connection lives.
    checking: bool,
    ended: bool,
    /// For how long it was quiet before it was cut.
    cut_after: Option<Duration>,
}

/// Pings after a while without traffic in either direction.
struct KeepAlive {
    interval: Duration,
    limit: Duration,
    /// Armed at most once for each ping and each answer, never for other traffic.
    timer: Timer,
    pinged: Option<Ping>,
}

/// A ping without an answer.
#[derive(Clone, Copy)]
struct Ping {
    at: Instant,
    /// For how long nothing had been said in either direction, if that was the interval.
    after_quiet: Option<Duration>,
}

/// So much of the interval has to be quiet in both directions, so that an answer tells that the network bears it: an
/// exchange that ends a little after it began is one moment.
const WHOLE: f64 = 0.9;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Takes over after CONNACK.
    pub(crate) fn begin(
        wire: Wire<S>,
        connected: &Connected,
        connack: ConnAck,
        receive_maximum: u16,
    ) -> Result<Self, SessionError> {
        // The limit is low because the state keeps a slot for each packet id below it.
        let mut state = MqttState::new(IN_FLIGHT_MAX, true);
        state.handle_incoming_packet(Packet::ConnAck(connack)).map_err(protocol)?;
        state.events = std::collections::VecDeque::new();
        let keep_alive = match connected.keep_alive_secs {
            0 => None,
            secs => {
                let secs = Duration::from_secs(secs.into());
                // A little early, so that a slow network does not make it late.
                let interval = secs.mul_f64(0.9);
                let timer = wire.time.timer(wire.time.now() + interval)?;
                Some(KeepAlive { interval, limit: PING_LIMIT.min(secs), timer, pinged: None })
            }
        };
        Ok(Self {
            wire,
            state,
            in_flight: [None; IN_FLIGHT_MAX as usize],
            next_token: 0,
            window: connected.receive_maximum,
            max_outgoing: connected.maximum_packet_size,
            next_subscribe_pkid: IN_FLIGHT_MAX + 1,
            subscribes: Vec::new(),
            unacknowledged: 0,
            receive_maximum,
            keep_alive,
            checking: false,
            ended: false,
            cut_after: None,
        })
    }

    /// Asks for messages that match `filter`, at QoS 1; the answer is an [`Event::Subscribed`].
    pub fn subscribe(&mut self, filter: &str) -> Result<(), SessionError> {
        let mut packet = Subscribe::new(Filter::new(filter, QoS::AtLeastOnce), None);
        // The state would take an id that a message in flight may have; ids above its window are free.
        packet.pkid = self.next_subscribe_pkid;
        self.next_subscribe_pkid = self.next_subscribe_pkid.checked_add(1).unwrap_or(IN_FLIGHT_MAX + 1);
        self.subscribes.push(packet.pkid);
        self.wire.send(&Packet::Subscribe(packet))
    }

    /// Returns how many more messages may be published before an acknowledgement comes.
    pub fn capacity(&self) -> u16 {
        self.window.saturating_sub(self.state.inflight())
    }

    /// Publishes at QoS 1; the answer is an [`Event::Published`] with the returned token.
    pub fn publish(&mut self, message: Outgoing) -> Result<Token, PublishError> {
        let topic_ok =
            (1..=usize::from(u16::MAX)).contains(&message.topic.len()) && valid_topic(&message.topic);
        if !topic_ok {
            return Err(PublishError::Topic);
        }
        let free = self.in_flight.iter().zip(1..=self.window).find(|(slot, _)| slot.is_none());
        let Some((_, pkid)) = free else { return Err(PublishError::Full) };
        let properties = PublishProperties {
            response_topic: message.response_topic,
            correlation_data: message.correlation_data,
            message_expiry_interval: message.message_expiry_secs,
            ..Default::default()
        };
        let properties = (properties != PublishProperties::default()).then_some(properties);
        let mut packet = Publish::new(message.topic, QoS::AtLeastOnce, message.payload, properties);
        packet.pkid = pkid;
        let size = packet.size();
        if u32::try_from(size).map_or(true, |size| size > self.max_outgoing) {
            return Err(PublishError::TooLarge { size, max: self.max_outgoing });
        }
        // The id is free and no alias is used, so the state has nothing to object to.
        let packet = self.state.handle_outgoing_packet(Request::Publish(packet));
        self.state.events.clear();
        let Ok(Some(packet)) = packet else { return Err(PublishError::Full) };
        self.wire.send(&packet).map_err(|_| PublishError::TooLarge { size, max: self.max_outgoing })?;
        let token = Token(self.next_token);
        self.next_token += 1;
        self.in_flight[usize::from(pkid) - 1] = Some(token);
        Ok(token)
    }

    /// Acknowledges a message that came at QoS 1.
    pub fn ack(&mut self, pkid: u16) -> Result<(), SessionError> {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        let packet = self.state.handle_outgoing_packet(Request::PubAck(PubAck::new(pkid, None)));
        self.state.events.clear();
        packet.map_err(protocol)?.map_or(Ok(()), |packet| self.wire.send(&packet))
    }

    /// Finds out whether the connection lives: the answer is an [`Event::Alive`], or an [`Event::Idle`].
    pub fn check(&mut self) -> Result<(), SessionError> {
        let pinged = self.keep_alive.as_ref().is_some_and(|keep_alive| keep_alive.pinged.is_some());
        if !std::mem::replace(&mut self.checking, true) && !pinged {
            self.ping(None)?;
        }
        Ok(())
    }

    /// Waits for what happens next, writing and pinging meanwhile. May be dropped and called again.
    pub async fn next_event(&mut self) -> Result<Event, SessionError> {
        if self.ended {
            return Err(SessionError::Closed);
        }
        let result = self.run().await;
        match &result {
            Err(SessionError::Protocol(why)) => {
                self.ended = true;
                tracing::debug!(why, "the broker broke the protocol");
                self.complain().await;
            }
            Err(SessionError::Closed | SessionError::Io(_)) => {
                self.ended = true;
                self.cut_after = Some(self.quiet());
            }
            Err(SessionError::PingTimeout | SessionError::Silent(_)) | Ok(Event::ServerDisconnect { .. }) => {
                self.ended = true;
            }
            Ok(
                Event::Publish(_)
                | Event::Published { .. }
                | Event::Subscribed { .. }
                | Event::Idle
                | Event::Alive,
            ) => {}
        }
        result
    }

    /// Returns for how long nothing had been said when the stream ended or failed without a word of the server, once it
    /// has. A network that forgets a quiet connection may end it so.
    pub fn cut_after(&self) -> Option<Duration> {
        self.cut_after
    }

    /// Tells for how long nothing is said in either direction, but for a ping of the interval's end: where the network
    /// has forgotten the connection, it is the ping that it answers by an end.
    fn quiet(&self) -> Duration {
        let pinged = self.keep_alive.as_ref().and_then(|keep_alive| keep_alive.pinged?.after_quiet);
        pinged.unwrap_or_else(|| self.wire.time.now() - self.wire.last_sent.max(self.wire.last_received))
    }

    /// Ends the session with DISCONNECT 0x00, within two seconds.
    pub async fn disconnect(mut self) -> Result<(), SessionError> {
        self.wire.send(&Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)))?;
        match tokio::time::timeout(FAREWELL_LIMIT, self.wire.close()).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(SessionError::PingTimeout),
        }
    }

    /// Ends the session like [`disconnect`](Self::disconnect), and waits within the same two seconds until the server has
    /// closed the stream too: it knows of the end then.
    pub async fn leave(mut self) -> Result<(), SessionError> {
        self.wire.send(&Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)))?;
        match tokio::time::timeout(FAREWELL_LIMIT, self.wire.close_and_wait()).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(SessionError::PingTimeout),
        }
    }

    async fn run(&mut self) -> Result<Event, SessionError> {
        loop {
            while let Some(packet) = self.wire.take_packet()? {
                if let Some(event) = self.handle(packet)? {
                    return Ok(event);
                }
            }
            poll_fn(|cx| self.poll(cx)).await?;
        }
    }

    /// Ready when something was read.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        loop {
            if let Poll::Ready(result) = self.wire.poll(cx) {
                return Poll::Ready(result);
            }
            // Ready means that a ping was queued, which the next round writes.
            ready!(self.poll_keep_alive(cx))?;
        }
    }

    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let Some(keep_alive) = &mut self.keep_alive else { return Poll::Pending };
        loop {
            ready!(keep_alive.timer.poll(cx))?;
            let now = self.wire.time.now();
            let quiet_since = self.wire.last_sent.min(self.wire.last_received);
            let due = match keep_alive.pinged {
                Some(ping) if now >= ping.at + keep_alive.limit => {
                    // Noticed so late, it is the machine that slept, which says nothing of the network.
                    let has_slept = now - (ping.at + keep_alive.limit) > Duration::from_millis(LATE_MS);
                    return Poll::Ready(Err(match ping.after_quiet {
                        Some(quiet) if !has_slept => SessionError::Silent(quiet),
                        Some(_) | None => SessionError::PingTimeout,
                    }));
                }
                Some(ping) => ping.at + keep_alive.limit,
                None => quiet_since + keep_alive.interval,
            };
            if due > now {
                keep_alive.timer.arm(due)?;
                continue;
            }
            let quiet = now - self.wire.last_sent.max(self.wire.last_received);
            let is_whole = quiet >= keep_alive.interval.mul_f64(WHOLE);
            self.ping(is_whole.then_some(quiet))?;
            return Poll::Ready(Ok(()));
        }
    }

    fn ping(&mut self, after_quiet: Option<Duration>) -> Result<(), SessionError> {
        let packet = self.state.handle_outgoing_packet(Request::PingReq);
        self.state.events.clear();
        if let Some(packet) = packet.map_err(protocol)? {
            self.wire.send(&packet)?;
        }
        if let Some(keep_alive) = &mut self.keep_alive {
            let at = self.wire.time.now();
            keep_alive.pinged = Some(Ping { at, after_quiet });
            keep_alive.timer.arm(at + keep_alive.limit)?;
        }
        Ok(())
    }

    /// Lets in only what a server may send to a client of QoS 1; the state trusts its input.
    fn handle(&mut self, packet: Packet) -> Result<Option<Event>, SessionError> {
        match packet {
            Packet::Publish(packet) => self.handle_publish(packet).map(Some),
            Packet::PubAck(packet) => {
                let slot =
                    usize::from(packet.pkid).checked_sub(1).and_then(|index| self.in_flight.get_mut(index));
                let token = slot
                    .and_then(Option::take)
                    .ok_or_else(|| SessionError::Protocol("PUBACK for what was not sent".into()))?;
                let code = puback_code(packet.reason);
                let reason = packet.properties.clone().and_then(|found| found.reason_string);
                self.tell_state(Packet::PubAck(packet))?;
                Ok(Some(Event::Published { token, code, reason }))
            }
            Packet::SubAck(packet) => {
                let known = self.subscribes.iter().position(|&pkid| pkid == packet.pkid);
                let index =
                    known.ok_or_else(|| SessionError::Protocol("SUBACK for what was not asked".into()))?;
                self.subscribes.swap_remove(index);
                Ok(Some(Event::Subscribed {
                    codes: packet.return_codes.into_iter().map(suback_code).collect(),
                    reason: packet.properties.and_then(|found| found.reason_string),
                }))
            }
            packet @ Packet::PingResp(_) => {
                self.tell_state(packet)?;
                let mut is_idle = false;
                if let Some(keep_alive) = &mut self.keep_alive {
                    is_idle = keep_alive.pinged.take().is_some_and(|ping| ping.after_quiet.is_some());
                    let due = self.wire.last_sent.min(self.wire.last_received) + keep_alive.interval;
                    keep_alive.timer.arm(due)?;
                }
                let was_checked = std::mem::take(&mut self.checking);
                Ok(if is_idle { Some(Event::Idle) } else { was_checked.then_some(Event::Alive) })
            }
            Packet::Disconnect(packet) => {
                let properties = packet.properties;
                Ok(Some(Event::ServerDisconnect {
                    code: ReasonCode(packet.reason_code as u8),
                    return_secs: properties.as_ref().and_then(|found| return_secs(&found.user_properties)),
                    reason: properties.and_then(|found| found.reason_string),
                }))
            }
            other @ (Packet::Auth(_)
            | Packet::Connect(..)
            | Packet::ConnAck(_)
            | Packet::PingReq(_)
            | Packet::Subscribe(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)) => {
                Err(SessionError::Protocol(format!("{} is not expected", name(&other))))
            }
        }
    }

    fn handle_publish(&mut self, packet: Publish) -> Result<Event, SessionError> {
        let aliased = packet.properties.as_ref().is_some_and(|found| found.topic_alias.is_some());
        if aliased || packet.topic.is_empty() || packet.qos == QoS::ExactlyOnce {
            return Err(SessionError::Protocol("a topic alias or QoS 2 that nobody allowed".into()));
        }
        let pkid = (packet.qos == QoS::AtLeastOnce).then_some(packet.pkid);
        if pkid.is_some() {
            self.unacknowledged += 1;
            if self.unacknowledged > self.receive_maximum {
                return Err(SessionError::Protocol("more messages in flight than allowed".into()));
            }
        }
        let topic = std::str::from_utf8(&packet.topic).map_err(protocol)?.to_owned();
        let event = Event::Publish(Incoming {
            topic,
            payload: packet.payload.clone(),
            pkid,
            correlation_data: packet.properties.as_ref().and_then(|found| found.correlation_data.clone()),
            dup: packet.dup,
        });
        self.tell_state(Packet::Publish(packet))?;
        Ok(event)
    }

    fn tell_state(&mut self, packet: Packet) -> Result<(), SessionError> {
        let answer = self.state.handle_incoming_packet(packet);
        self.state.events.clear();
        answer.map_err(protocol)?.map_or(Ok(()), |packet| self.wire.send(&packet))
    }

    /// Tells the server that it broke the protocol (0x82), without insisting.
    async fn complain(&mut self) {
        self.wire.send_protocol_error();
        let wire = &mut self.wire;
        // Nothing depends on it: the session is over either way.
        _ = tokio::time::timeout(FAREWELL_LIMIT, poll_fn(|cx| wire.poll_write(cx))).await;
    }
}

impl<S> std::fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("in_flight", &self.state.inflight()).finish_non_exhaustive()
    }
}
