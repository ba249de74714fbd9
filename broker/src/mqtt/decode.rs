//! From checked bytes, by way of `rmqtt-codec`, to the packets of `wakemq-core`.

use bytes::{Bytes, BytesMut};
use rmqtt_codec::types::{Publish, QoS as WireQoS};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Decoder;

use super::check::{self, ConnectNotes};
use super::error::DecodeError;
use wakemq_core::packet::{
    ClientPacket, ClientPublish, Connect, ProtocolLevel, QoS, ReasonCode, Subscribe, SubscribeFilter, Will,
};

/// The user property by which agents tell their processes apart.
const INSTANCE: &str = "instance";

/// Decodes the first packet of a connection: one whole frame.
///
/// # Errors
/// [`DecodeError`] tells in which version to answer the CONNACK, if at all.
pub fn decode_connect(frame: &[u8]) -> Result<Connect, DecodeError> {
    let notes = check::connect(frame)?;
    let mut bytes = BytesMut::from(frame);
    adapt_connect(&mut bytes, &notes);
    let connect = match notes.level {
        ProtocolLevel::V4 => match decode_v3(&mut bytes) {
            Ok(v3::Packet::Connect(connect)) => Ok(connect_from_v3(*connect)),
            Ok(_) => Err(disagreement()),
            Err(error) => Err(error),
        },
        ProtocolLevel::V5 => match decode_v5(&mut bytes) {
            Ok(v5::Packet::Connect(connect)) => Ok(connect_from_v5(*connect, &notes)),
            Ok(_) => Err(disagreement()),
            Err(error) => Err(error),
        },
    };
    connect.map_err(|error| error.answered_in(notes.level))
}

/// Tells in which version a CONNECT is to be answered whose frame is not whole, because it is too large.
///
/// `None`: not at all; it is no CONNECT, or too little of it has come.
pub fn connect_level(beginning: &[u8]) -> Option<ProtocolLevel> {
    check::level_of(beginning)
}

/// Decodes any later packet: one whole frame, on a connection of that level.
///
/// # Errors
/// [`DecodeError`] tells what DISCONNECT is to say in MQTT 5; in 3.1.1 the connection just ends.
pub fn decode(level: ProtocolLevel, frame: &[u8]) -> Result<ClientPacket, DecodeError> {
    let decoded = || {
        let seen = check::packet(level, frame)?;
        let mut bytes = BytesMut::from(frame);
        adapt_expiry(&mut bytes, seen.zero_expiry_at);
        match level {
            ProtocolLevel::V4 => packet_from_v3(decode_v3(&mut bytes)?),
            ProtocolLevel::V5 => packet_from_v5(decode_v5(&mut bytes)?, seen.zero_expiry_at.is_some()),
        }
    };
    decoded().map_err(|error| error.answered_in(level))
}

/// Makes of a CONNECT that the standard allows one that `rmqtt-codec` takes; [`connect_from_v5`] undoes it.
///
/// It refuses an empty client identifier without Clean Start, and any Message Expiry Interval of 0.
fn adapt_connect(bytes: &mut [u8], notes: &ConnectNotes) {
    if notes.unnamed_without_clean_start
        && let Some(flags) = bytes.get_mut(notes.flags_at)
    {
        *flags = ConnectNotes::with_clean_start(*flags);
    }
    adapt_expiry(bytes, notes.zero_expiry_at);
}

/// Replaces an interval of 0 at `at` by 1.
fn adapt_expiry(bytes: &mut [u8], at: Option<usize>) {
    if let Some(last) = at.and_then(|at| bytes.get_mut(at + 3)) {
        *last = 1;
    }
}

fn expiry(decoded: Option<u32>, was_zero: bool) -> Option<u32> {
    if was_zero { Some(0) } else { decoded }
}

fn decode_v3(bytes: &mut BytesMut) -> Result<v3::Packet, DecodeError> {
    match v3::Codec::new(0).decode(bytes) {
        Ok(Some((packet, _))) => Ok(packet),
        Ok(None) | Err(_) => Err(disagreement()),
    }
}

fn decode_v5(bytes: &mut BytesMut) -> Result<v5::Packet, DecodeError> {
    match v5::Codec::new(0, 0).decode(bytes) {
        Ok(Some((packet, _))) => Ok(packet),
        Ok(None) | Err(_) => Err(disagreement()),
    }
}

/// What the check let through and the codec did not; the tests know no such packet.
fn disagreement() -> DecodeError {
    DecodeError::malformed("refused by the decoder")
}

fn connect_from_v3(connect: v3::Connect) -> Connect {
    Connect {
        level: ProtocolLevel::V4,
        clean_start: connect.clean_session,
        keep_alive_secs: connect.keep_alive,
        client_id: connect.client_id.into(),
        username: connect.username.map(String::from),
        password: connect.password.map(Vec::from),
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        request_problem_information: true,
        session_expiry_secs: 0,
        instance: None,
        has_auth_method: false,
        will: connect.last_will.map(|will| Will {
            topic: will.topic.into(),
            payload: will.message.into(),
            qos: qos(will.qos),
            retain: will.retain,
            delay_secs: 0,
            message_expiry_secs: None,
            response_topic: None,
            correlation_data: None,
        }),
    }
}

fn connect_from_v5(connect: v5::Connect, notes: &ConnectNotes) -> Connect {
    let instance = connect.user_properties.into_iter().find(|(name, _)| name == INSTANCE);
    Connect {
        level: ProtocolLevel::V5,
        clean_start: connect.clean_start && !notes.unnamed_without_clean_start,
        keep_alive_secs: connect.keep_alive,
        client_id: connect.client_id.into(),
        username: connect.username.map(String::from),
        password: connect.password.map(Vec::from),
        receive_maximum: connect.receive_max.map_or(u16::MAX, u16::from),
        maximum_packet_size: connect.max_packet_size.map(u32::from),
        request_problem_information: connect.request_problem_info,
        session_expiry_secs: connect.session_expiry_interval_secs,
        instance: instance.map(|(_, value)| value.into()),
        has_auth_method: connect.auth_method.is_some(),
        will: connect.last_will.map(|will| Will {
            topic: will.topic.into(),
            payload: will.message.into(),
            qos: qos(will.qos),
            retain: will.retain,
            delay_secs: will.will_delay_interval_sec.unwrap_or(0),
            message_expiry_secs: expiry(
                will.message_expiry_interval.map(u32::from),
                notes.zero_expiry_at.is_some(),
            ),
            response_topic: will.response_topic.map(String::from),
            correlation_data: will.correlation_data.map(Vec::from),
        }),
    }
}

fn packet_from_v3(packet: v3::Packet) -> Result<ClientPacket, DecodeError> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the check lets none of the others through")]
    match packet {
        v3::Packet::Publish(publish) => Ok(publish_from(*publish, false)),
        v3::Packet::PublishAck { packet_id } => {
            Ok(ClientPacket::PubAck { packet_id: packet_id.get(), reason: ReasonCode::Success })
        }
        v3::Packet::Subscribe { packet_id, topic_filters } => {
            let filters = topic_filters.into_iter().map(|(filter, wanted)| SubscribeFilter {
                filter: filter.into(),
                qos: qos(wanted),
                no_local: false,
                retain_as_published: false,
                retain_handling: 0,
            });
            Ok(ClientPacket::Subscribe(Subscribe {
                packet_id: packet_id.get(),
                subscription_id: None,
                filters: filters.collect(),
            }))
        }
        v3::Packet::Unsubscribe { packet_id, topic_filters } => Ok(ClientPacket::Unsubscribe {
            packet_id: packet_id.get(),
            filters: topic_filters.into_iter().map(String::from).collect(),
        }),
        v3::Packet::PingRequest => Ok(ClientPacket::PingReq),
        v3::Packet::Disconnect => {
            Ok(ClientPacket::Disconnect { reason: ReasonCode::Success, session_expiry_secs: None })
        }
        _ => Err(disagreement()),
    }
}

fn packet_from_v5(packet: v5::Packet, zero_expiry: bool) -> Result<ClientPacket, DecodeError> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the check lets none of the others through")]
    match packet {
        v5::Packet::Publish(publish) => Ok(publish_from(*publish, zero_expiry)),
        v5::Packet::PublishAck(ack) => Ok(ClientPacket::PubAck {
            packet_id: ack.packet_id.get(),
            reason: reason(ack.reason_code as u8)?,
        }),
        v5::Packet::Subscribe(request) => {
            let filters = request.topic_filters.into_iter().map(|(filter, options)| SubscribeFilter {
                filter: filter.into(),
                qos: qos(options.qos),
                no_local: options.no_local,
                retain_as_published: options.retain_as_published,
                retain_handling: options.retain_handling.into(),
            });
            Ok(ClientPacket::Subscribe(Subscribe {
                packet_id: request.packet_id.get(),
                subscription_id: request.id.map(u32::from),
                filters: filters.collect(),
            }))
        }
        v5::Packet::Unsubscribe(request) => Ok(ClientPacket::Unsubscribe {
            packet_id: request.packet_id.get(),
            filters: request.topic_filters.into_iter().map(String::from).collect(),
        }),
        v5::Packet::PingRequest => Ok(ClientPacket::PingReq),
        v5::Packet::Disconnect(end) => Ok(ClientPacket::Disconnect {
            reason: reason(end.reason_code as u8)?,
            session_expiry_secs: end.session_expiry_interval_secs,
        }),
        _ => Err(disagreement()),
    }
}

fn publish_from(publish: Publish, zero_expiry: bool) -> ClientPacket {
    let properties = publish.properties.unwrap_or_default();
    ClientPacket::Publish(ClientPublish {
        topic: publish.topic.into(),
        payload: publish.payload.into(),
        qos: qos(publish.qos),
        packet_id: publish.packet_id.map(u16::from),
        dup: publish.dup,
        retain: publish.retain,
        message_expiry_secs: expiry(properties.message_expiry_interval.map(u32::from), zero_expiry),
        response_topic: properties.response_topic.map(String::from),
        correlation_data: properties.correlation_data.map(|data: Bytes| data.into()),
    })
}

fn reason(value: u8) -> Result<ReasonCode, DecodeError> {
    ReasonCode::from_value(value).ok_or_else(disagreement)
}

fn qos(wire: WireQoS) -> QoS {
    match wire {
        WireQoS::AtMostOnce => QoS::AtMostOnce,
        WireQoS::AtLeastOnce => QoS::AtLeastOnce,
        WireQoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}
