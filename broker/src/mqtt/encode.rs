//! From the packets of `wakemq-core` to bytes.
//!
//! What the broker sends is a handful of packets made by ourselves, so they are written straight into the
//! caller's buffer, without a codec in between that would copy them twice.

use super::check::{CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBLISH, SUBACK, UNSUBACK};
use super::properties as id;
use wakemq_core::packet::{
    ConnAck, Connect, Connect3ReturnCode, ProtocolLevel, ReasonCode, ServerPacket, ServerPublish,
};

/// The largest number that a variable byte integer can hold.
const VARIABLE_MAX: usize = 268_435_455;

/// What must be known of a client to write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The version that it speaks.
    pub level: ProtocolLevel,
    /// Whether it takes Reason Strings and User Properties everywhere.
    pub problem_information: bool,
    /// The largest packet that it takes, header included.
    pub maximum_packet_size: u32,
}

impl Peer {
    /// Takes from a CONNECT what concerns writing.
    pub fn of(connect: &Connect) -> Self {
        Self {
            level: connect.level,
            problem_information: connect.request_problem_information,
            maximum_packet_size: connect.maximum_packet_size.unwrap_or(u32::MAX),
        }
    }

    /// Assumes nothing but the version: for an answer to a CONNECT that could not be read.
    pub fn unknown(level: ProtocolLevel) -> Self {
        Self { level, problem_information: true, maximum_packet_size: u32::MAX }
    }
}

/// Why a packet cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It is larger than the client takes, even without what may be left out.
    #[error("the packet is larger than the client takes")]
    TooLarge,
    /// A string or binary field has more than 65,535 bytes.
    #[error("a field is longer than the protocol allows")]
    FieldTooLong,
}

/// Appends a packet to `out`.
///
/// Adds nothing where 3.1.1 has no such packet: DISCONNECT, and a CONNACK with a reason that 3.1.1 cannot tell.
/// Reason Strings, then User Properties, are left out where the client does not want them or they would make the
/// packet too large for it (the User Properties of a PUBLISH are the application's, and stay).
///
/// # Errors
/// [`EncodeError`]; `out` is then unchanged.
pub fn encode(peer: &Peer, packet: &ServerPacket, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let begin = out.len();
    let mut last = Ok(());
    for extras in [Extras::All, Extras::UserProperties, Extras::None] {
        out.truncate(begin);
        last = encode_with(peer, packet, extras, out).and_then(|()| {
            let size = u32::try_from(out.len() - begin).unwrap_or(u32::MAX);
            if size > peer.maximum_packet_size { Err(EncodeError::TooLarge) } else { Ok(()) }
        });
        if last.is_ok() {
            return last;
        }
    }
    out.truncate(begin);
    last
}

/// What is written of the parts that may be left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extras {
    All,
    UserProperties,
    None,
}

fn encode_with(
    peer: &Peer,
    packet: &ServerPacket,
    extras: Extras,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let v5 = peer.level == ProtocolLevel::V5;
    // Request Problem Information 0 spares CONNACK, DISCONNECT and PUBLISH (MQTT 5 §3.1.2.11.7).
    let always = extras;
    let extras = if peer.problem_information { extras } else { Extras::None };
    match packet {
        ServerPacket::ConnAck(ack) => connack(v5, ack, always, out),
        ServerPacket::Publish(publish) => self::publish(v5, publish, out),
        ServerPacket::PubAck { packet_id, reason, reason_string } => {
            let mut body = packet_id.to_be_bytes().to_vec();
            if v5 {
                let properties = explained(reason_string.as_deref(), &[], extras)?;
                // Success and no properties are said by leaving them out (§3.4.2.1).
                if *reason != ReasonCode::Success || !properties.is_empty() {
                    body.push(reason.value());
                }
                if !properties.is_empty() {
                    put_block(&properties, &mut body)?;
                }
            }
            put_packet(PUBACK << 4, &[&body], out)
        }
        ServerPacket::SubAck { packet_id, reasons, reason_string } => {
            let mut body = packet_id.to_be_bytes().to_vec();
            if v5 {
                put_block(&explained(reason_string.as_deref(), &[], extras)?, &mut body)?;
            }
            body.extend(reasons.iter().map(|reason| match reason.value() {
                value if v5 || value < 0x80 => value,
                _ => 0x80,
            }));
            put_packet(SUBACK << 4, &[&body], out)
        }
        ServerPacket::UnsubAck { packet_id, reasons } => {
            let mut body = packet_id.to_be_bytes().to_vec();
            if v5 {
                body.push(0);
                body.extend(reasons.iter().map(|reason| reason.value()));
            }
            put_packet(UNSUBACK << 4, &[&body], out)
        }
        ServerPacket::PingResp => put_packet(PINGRESP << 4, &[], out),
        ServerPacket::Disconnect { .. } if !v5 => Ok(()),
        ServerPacket::Disconnect { reason, reason_string, user_properties } => {
            let mut body = vec![reason.value()];
            // The length of no properties might be left out, but rumqttc 0.25 cannot read that.
            put_block(&explained(reason_string.as_deref(), user_properties, always)?, &mut body)?;
            put_packet(DISCONNECT << 4, &[&body], out)
        }
    }
}

fn connack(v5: bool, ack: &ConnAck, extras: Extras, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let session_present = u8::from(ack.session_present && ack.reason == ReasonCode::Success);
    if !v5 {
        return match Connect3ReturnCode::from_reason(ack.reason) {
            Some(code) => put_packet(CONNACK << 4, &[&[session_present, code.value()]], out),
            None => Ok(()),
        };
    }
    let mut properties = Vec::new();
    let block = &mut properties;
    put_four(id::SESSION_EXPIRY, ack.session_expiry_secs, block);
    put_two(id::RECEIVE_MAXIMUM, ack.receive_maximum, block);
    put_byte(id::MAXIMUM_QOS, ack.maximum_qos.map(|qos| qos.value()), block);
    put_byte(id::RETAIN_AVAILABLE, ack.retain_available.map(u8::from), block);
    put_four(id::MAXIMUM_PACKET_SIZE, ack.maximum_packet_size, block);
    put_field(id::ASSIGNED_CLIENT_ID, ack.assigned_client_id.as_deref().map(str::as_bytes), block)?;
    put_byte(id::WILDCARD_AVAILABLE, ack.wildcard_subscription_available.map(u8::from), block);
    put_byte(id::SUBSCRIPTION_IDS_AVAILABLE, ack.subscription_ids_available.map(u8::from), block);
    put_byte(id::SHARED_AVAILABLE, ack.shared_subscription_available.map(u8::from), block);
    put_two(id::SERVER_KEEP_ALIVE, ack.server_keep_alive_secs, block);
    block.extend(explained(ack.reason_string.as_deref(), &ack.user_properties, extras)?);
    let mut body = vec![session_present, ack.reason.value()];
    put_block(&properties, &mut body)?;
    put_packet(CONNACK << 4, &[&body], out)
}

fn publish(v5: bool, publish: &ServerPublish, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut head = Vec::with_capacity(publish.topic.len() + 64);
    put_string(publish.topic.as_bytes(), &mut head)?;
    head.extend(publish.packet_id.iter().flat_map(|packet_id| packet_id.to_be_bytes()));
    if v5 {
        let mut properties = Vec::new();
        put_four(id::MESSAGE_EXPIRY, publish.message_expiry_secs, &mut properties);
        put_field(id::CORRELATION_DATA, publish.correlation_data.as_deref(), &mut properties)?;
        put_users(&publish.user_properties, &mut properties)?;
        put_block(&properties, &mut head)?;
    }
    put_packet(PUBLISH << 4 | publish.qos().value() << 1, &[&head, &publish.payload], out)
}

/// Writes what explains an answer to people and programs, as far as `extras` allows.
fn explained(
    reason_string: Option<&str>,
    user_properties: &[(String, String)],
    extras: Extras,
) -> Result<Vec<u8>, EncodeError> {
    let mut block = Vec::new();
    if extras == Extras::All {
        put_field(id::REASON_STRING, reason_string.map(str::as_bytes), &mut block)?;
    }
    if extras != Extras::None {
        put_users(user_properties, &mut block)?;
    }
    Ok(block)
}

fn put_users(user_properties: &[(String, String)], block: &mut Vec<u8>) -> Result<(), EncodeError> {
    for (name, value) in user_properties {
        block.push(id::USER_PROPERTY);
        put_string(name.as_bytes(), block)?;
        put_string(value.as_bytes(), block)?;
    }
    Ok(())
}

fn put_byte(id: u8, value: Option<u8>, block: &mut Vec<u8>) {
    block.extend(value.iter().flat_map(|value| [id, *value]));
}

fn put_two(id: u8, value: Option<u16>, block: &mut Vec<u8>) {
    if let Some(value) = value {
        block.push(id);
        block.extend(value.to_be_bytes());
    }
}

fn put_four(id: u8, value: Option<u32>, block: &mut Vec<u8>) {
    if let Some(value) = value {
        block.push(id);
        block.extend(value.to_be_bytes());
    }
}

fn put_field(id: u8, value: Option<&[u8]>, block: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Some(value) = value {
        block.push(id);
        put_string(value, block)?;
    }
    Ok(())
}

fn put_string(value: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let length = u16::try_from(value.len()).map_err(|_| EncodeError::FieldTooLong)?;
    out.extend(length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

/// Appends properties with their length in front.
fn put_block(properties: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    put_variable(properties.len(), out)?;
    out.extend_from_slice(properties);
    Ok(())
}

fn put_packet(first: u8, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let length = parts.iter().map(|part| part.len()).sum();
    out.reserve(length + 5);
    out.push(first);
    put_variable(length, out)?;
    for part in parts {
        out.extend_from_slice(part);
    }
    Ok(())
}

fn put_variable(mut value: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if value > VARIABLE_MAX {
        return Err(EncodeError::TooLarge);
    }
    loop {
        // The seven lowest bits; the conversion cannot fail.
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return Ok(());
        }
        out.push(low | 0x80);
    }
}
