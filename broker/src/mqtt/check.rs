//! The strict check of what a client sends, before any codec sees it.
//!
//! Section numbers are those of MQTT 5; 3.1.1 is the same without properties unless said otherwise. Faults of
//! form are 0x81, faults against rules 0x82, and what WakeMQ has not got (QoS 2, retained messages, aliases) has
//! codes of its own.

use super::error::DecodeError;
use super::properties::{self, Place, Seen};
use super::read::Reader;
use super::topic;
use wakemq_core::packet::{ProtocolLevel, QoS, ReasonCode};

pub(super) const CONNECT: u8 = 1;
pub(super) const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const SUBACK: u8 = 9;
pub(super) const UNSUBSCRIBE: u8 = 10;
pub(super) const UNSUBACK: u8 = 11;
pub(super) const PINGREQ: u8 = 12;
pub(super) const PINGRESP: u8 = 13;
pub(super) const DISCONNECT: u8 = 14;
pub(super) const AUTH: u8 = 15;

const FLAG_CLEAN_START: u8 = 0x02;
const FLAG_WILL: u8 = 0x04;
const FLAG_WILL_RETAIN: u8 = 0x20;
const FLAG_PASSWORD: u8 = 0x40;
const FLAG_USERNAME: u8 = 0x80;

/// Where a CONNECT that the standard allows must be changed for a codec that does not.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectNotes {
    pub(super) level: ProtocolLevel,
    /// Where the flags stand.
    pub(super) flags_at: usize,
    /// An empty client identifier without Clean Start, which MQTT 5 allows.
    pub(super) unnamed_without_clean_start: bool,
    /// See [`Seen::zero_expiry_at`].
    pub(super) zero_expiry_at: Option<usize>,
}

impl ConnectNotes {
    /// Returns the flags with Clean Start set.
    pub(super) fn with_clean_start(flags: u8) -> u8 {
        flags | FLAG_CLEAN_START
    }
}

/// Checks the first packet of a connection (§3.1).
pub(super) fn connect(frame: &[u8]) -> Result<ConnectNotes, DecodeError> {
    let mut reader = Reader::new(frame);
    let first = reader.byte()?;
    if first >> 4 != CONNECT {
        return Err(DecodeError::protocol("the first packet is not CONNECT"));
    }
    // Whether a length with needless bytes is refused depends on the version, which is not known yet.
    let minimal = length(&mut reader)?;
    let level = protocol(&mut reader)?;
    let checked = if first & 0x0f != 0 {
        Err(DecodeError::malformed("reserved flags in the header of CONNECT"))
    } else if !minimal && level == ProtocolLevel::V5 {
        Err(DecodeError::malformed("the length has more bytes than it needs"))
    } else {
        connect_rest(&mut reader, level)
    };
    checked.map_err(|error| error.answered_in(level))
}

/// Tells which version a CONNECT asks for, as far as its beginning is there.
pub(super) fn level_of(beginning: &[u8]) -> Option<ProtocolLevel> {
    let mut reader = Reader::new(beginning);
    if reader.byte().ok()? >> 4 != CONNECT {
        return None;
    }
    while reader.byte().ok()? & 0x80 != 0 {}
    protocol(&mut reader).map_or_else(|error| error.level, Some)
}

/// Reads the protocol's name and version (§3.1.2.1).
fn protocol(reader: &mut Reader<'_>) -> Result<ProtocolLevel, DecodeError> {
    let unsupported = |detail| DecodeError::new(ReasonCode::UnsupportedProtocolVersion, detail);
    let name = reader.binary()?;
    let number = reader.byte()?;
    match (name, number) {
        (b"MQTT", 4) => Ok(ProtocolLevel::V4),
        (b"MQTT", 5) => Ok(ProtocolLevel::V5),
        (b"MQIsdp", _) => Err(unsupported("MQTT 3.1 is not spoken here").answered_in(ProtocolLevel::V4)),
        (b"MQTT", 0..=3) => Err(unsupported("an unknown version").answered_in(ProtocolLevel::V4)),
        (b"MQTT", _) => Err(unsupported("an unknown version").answered_in(ProtocolLevel::V5)),
        _ => Err(unsupported("the protocol's name is not MQTT")),
    }
}

fn connect_rest(reader: &mut Reader<'_>, level: ProtocolLevel) -> Result<ConnectNotes, DecodeError> {
    let flags_at = reader.position();
    let flags = reader.byte()?;
    let will_qos = connect_flags(flags, level)?;
    let _keep_alive = reader.two_bytes()?;
    if level == ProtocolLevel::V5 {
        properties::check(reader, Place::Connect)?;
    }
    let unnamed = reader.string()?.is_empty() && flags & FLAG_CLEAN_START == 0;
    if unnamed && level == ProtocolLevel::V4 {
        let reason = ReasonCode::ClientIdentifierNotValid;
        return Err(DecodeError::new(reason, "an empty client identifier without Clean Session"));
    }
    let mut seen = Seen::default();
    if flags & FLAG_WILL != 0 {
        if level == ProtocolLevel::V5 {
            seen = properties::check(reader, Place::Will)?;
        }
        topic_name(reader.string()?)?;
        reader.binary()?;
    }
    if flags & FLAG_USERNAME != 0 {
        reader.string()?;
    }
    if flags & FLAG_PASSWORD != 0 {
        reader.binary()?;
    }
    ended(reader)?;
    // Last, so that what is malformed is called so.
    if will_qos == QoS::ExactlyOnce {
        return Err(DecodeError::new(ReasonCode::QoSNotSupported, "a will of QoS 2"));
    }
    if flags & FLAG_WILL_RETAIN != 0 && level == ProtocolLevel::V5 {
        return Err(DecodeError::new(ReasonCode::RetainNotSupported, "a will with RETAIN"));
    }
    Ok(ConnectNotes {
        level,
        flags_at,
        unnamed_without_clean_start: unnamed,
        zero_expiry_at: seen.zero_expiry_at,
    })
}

fn connect_flags(flags: u8, level: ProtocolLevel) -> Result<QoS, DecodeError> {
    if flags & 1 != 0 {
        return Err(DecodeError::malformed("the reserved flag of CONNECT is set"));
    }
    let will_qos =
        QoS::from_value(flags >> 3 & 3).ok_or_else(|| DecodeError::malformed("a will of QoS 3"))?;
    if flags & FLAG_WILL == 0 && (will_qos != QoS::AtMostOnce || flags & FLAG_WILL_RETAIN != 0) {
        return Err(DecodeError::malformed("flags of a will without a will"));
    }
    if level == ProtocolLevel::V4 && flags & FLAG_PASSWORD != 0 && flags & FLAG_USERNAME == 0 {
        return Err(DecodeError::malformed("a password without a user name"));
    }
    Ok(will_qos)
}

/// Checks a packet after CONNECT; returns what decoding needs.
pub(super) fn packet(level: ProtocolLevel, frame: &[u8]) -> Result<Seen, DecodeError> {
    let mut reader = Reader::new(frame);
    let first = reader.byte()?;
    let minimal = length(&mut reader)?;
    if !minimal && level == ProtocolLevel::V5 {
        return Err(DecodeError::malformed("the length has more bytes than it needs"));
    }
    let (kind, flags) = (first >> 4, first & 0x0f);
    let expected_flags = match kind {
        PUBLISH => flags,
        SUBSCRIBE | UNSUBSCRIBE => 0b0010,
        PUBACK | PINGREQ | DISCONNECT => 0,
        CONNECT => return Err(DecodeError::protocol("a second CONNECT")),
        CONNACK | SUBACK | UNSUBACK | PINGRESP => {
            return Err(DecodeError::protocol("a packet that only brokers send"));
        }
        PUBREC..=PUBCOMP => return Err(DecodeError::protocol("a packet of QoS 2, which is not offered")),
        AUTH if level == ProtocolLevel::V5 => {
            return Err(DecodeError::protocol("AUTH without an authentication method"));
        }
        _ => return Err(DecodeError::malformed("a reserved packet type")),
    };
    if flags != expected_flags {
        return Err(DecodeError::malformed("reserved flags in the header"));
    }
    match kind {
        PUBLISH => publish(&mut reader, level, flags),
        PUBACK => puback(&mut reader, level),
        SUBSCRIBE => subscribe(&mut reader, level),
        UNSUBSCRIBE => unsubscribe(&mut reader, level),
        DISCONNECT => disconnect(&mut reader, level),
        _ => ended(&reader).map(|()| Seen::default()),
    }
}

/// §3.3
fn publish(reader: &mut Reader<'_>, level: ProtocolLevel, flags: u8) -> Result<Seen, DecodeError> {
    let qos = QoS::from_value(flags >> 1 & 3).ok_or_else(|| DecodeError::malformed("QoS 3"))?;
    if flags & 0b1000 != 0 && qos == QoS::AtMostOnce {
        return Err(DecodeError::malformed("DUP with QoS 0"));
    }
    let topic = reader.string()?;
    if qos != QoS::AtMostOnce {
        packet_id(reader)?;
    }
    let mut seen = Seen::default();
    if level == ProtocolLevel::V5 {
        seen = properties::check(reader, Place::Publish)?;
        if topic.is_empty() {
            return Err(DecodeError::protocol("no topic and no topic alias"));
        }
    }
    topic_name(topic)?;
    if qos == QoS::ExactlyOnce {
        return Err(DecodeError::new(ReasonCode::QoSNotSupported, "QoS 2 is not offered"));
    }
    if flags & 1 != 0 && level == ProtocolLevel::V5 {
        return Err(DecodeError::new(ReasonCode::RetainNotSupported, "RETAIN is not offered"));
    }
    Ok(seen)
}

/// §3.4; the reason may be left out, and then the properties too.
fn puback(reader: &mut Reader<'_>, level: ProtocolLevel) -> Result<Seen, DecodeError> {
    packet_id(reader)?;
    if level == ProtocolLevel::V5 && !reader.is_empty() {
        let reason = reader.byte()?;
        if !matches!(reason, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99) {
            return Err(DecodeError::malformed("a reason code that PUBACK has not got"));
        }
        if !reader.is_empty() {
            properties::check(reader, Place::PubAck)?;
        }
    }
    ended(reader).map(|()| Seen::default())
}

/// §3.8
fn subscribe(reader: &mut Reader<'_>, level: ProtocolLevel) -> Result<Seen, DecodeError> {
    packet_id(reader)?;
    let mut seen = Seen::default();
    if level == ProtocolLevel::V5 {
        seen = properties::check(reader, Place::Subscribe)?;
    }
    if reader.is_empty() {
        return Err(DecodeError::protocol("SUBSCRIBE without a filter"));
    }
    while !reader.is_empty() {
        let filter = reader.string()?;
        let options = reader.byte()?;
        let reserved = match level {
            ProtocolLevel::V4 => 0b1111_1100,
            ProtocolLevel::V5 => 0b1100_0000,
        };
        if options & reserved != 0 {
            return Err(DecodeError::malformed("reserved options of a subscription"));
        }
        if options & 3 == 3 {
            return Err(match level {
                ProtocolLevel::V4 => DecodeError::malformed("a subscription of QoS 3"),
                ProtocolLevel::V5 => DecodeError::protocol("a subscription of QoS 3"),
            });
        }
        if options >> 4 & 3 == 3 {
            return Err(DecodeError::protocol("Retain Handling 3"));
        }
        topic_filter(filter)?;
        if options & 0b100 != 0 && topic::shared(filter).is_some() {
            return Err(DecodeError::protocol("No Local on a shared subscription"));
        }
    }
    Ok(seen)
}

/// §3.10
fn unsubscribe(reader: &mut Reader<'_>, level: ProtocolLevel) -> Result<Seen, DecodeError> {
    packet_id(reader)?;
    if level == ProtocolLevel::V5 {
        properties::check(reader, Place::Unsubscribe)?;
    }
    if reader.is_empty() {
        return Err(DecodeError::protocol("UNSUBSCRIBE without a filter"));
    }
    while !reader.is_empty() {
        topic_filter(reader.string()?)?;
    }
    Ok(Seen::default())
}

/// §3.14; everything may be left out.
fn disconnect(reader: &mut Reader<'_>, level: ProtocolLevel) -> Result<Seen, DecodeError> {
    let mut seen = Seen::default();
    if level == ProtocolLevel::V5 && !reader.is_empty() {
        match reader.byte()? {
            0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99 => {}
            other if ReasonCode::from_value(other).is_some() => {
                return Err(DecodeError::protocol("a reason code that no client may send"));
            }
            _ => return Err(DecodeError::malformed("a reason code that DISCONNECT has not got")),
        }
        if !reader.is_empty() {
            seen = properties::check(reader, Place::Disconnect)?;
        }
    }
    ended(reader).map(|()| seen)
}

/// Reads the length in the header, which must be that of the frame; tells whether it had no needless byte.
fn length(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    let mut value = 0_usize;
    for at in 0..4 {
        let byte = reader.byte()?;
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return if reader.left() == value {
                Ok(byte != 0 || at == 0)
            } else {
                Err(DecodeError::malformed("the length is not that of the packet"))
            };
        }
    }
    Err(DecodeError::malformed("the length has more than four bytes"))
}

fn packet_id(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    if reader.two_bytes()? == 0 {
        return Err(DecodeError::protocol("packet identifier 0"));
    }
    Ok(())
}

fn topic_name(topic: &str) -> Result<(), DecodeError> {
    if topic::is_name(topic) {
        Ok(())
    } else {
        Err(DecodeError::new(ReasonCode::TopicNameInvalid, "an empty topic name, or one with a wildcard"))
    }
}

fn topic_filter(filter: &str) -> Result<(), DecodeError> {
    if topic::is_filter(filter) {
        Ok(())
    } else {
        Err(DecodeError::new(
            ReasonCode::TopicFilterInvalid,
            "an empty topic filter, or a misplaced wildcard",
        ))
    }
}

fn ended(reader: &Reader<'_>) -> Result<(), DecodeError> {
    if reader.is_empty() { Ok(()) } else { Err(DecodeError::malformed("bytes behind the end of the packet")) }
}
