//! Which properties a client may send in which packet, and what values they may have (MQTT 5 §2.2.2.2).

use super::error::DecodeError;
use super::read::Reader;
use super::topic;
use wakemq_core::packet::ReasonCode;

pub(super) const PAYLOAD_FORMAT: u8 = 0x01;
pub(super) const MESSAGE_EXPIRY: u8 = 0x02;
pub(super) const CONTENT_TYPE: u8 = 0x03;
pub(super) const RESPONSE_TOPIC: u8 = 0x08;
pub(super) const CORRELATION_DATA: u8 = 0x09;
pub(super) const SUBSCRIPTION_ID: u8 = 0x0B;
pub(super) const SESSION_EXPIRY: u8 = 0x11;
pub(super) const ASSIGNED_CLIENT_ID: u8 = 0x12;
pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(super) const AUTH_METHOD: u8 = 0x15;
pub(super) const AUTH_DATA: u8 = 0x16;
pub(super) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
pub(super) const WILL_DELAY: u8 = 0x18;
pub(super) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
pub(super) const SERVER_REFERENCE: u8 = 0x1C;
pub(super) const REASON_STRING: u8 = 0x1F;
pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(super) const TOPIC_ALIAS: u8 = 0x23;
pub(super) const MAXIMUM_QOS: u8 = 0x24;
pub(super) const RETAIN_AVAILABLE: u8 = 0x25;
pub(super) const USER_PROPERTY: u8 = 0x26;
pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
pub(super) const WILDCARD_AVAILABLE: u8 = 0x28;
pub(super) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
pub(super) const SHARED_AVAILABLE: u8 = 0x2A;

/// Where properties stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Connect,
    Will,
    Publish,
    PubAck,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

impl Place {
    fn allows(self, id: u8) -> bool {
        let allowed: &[u8] = match self {
            Self::Connect => &[
                SESSION_EXPIRY,
                AUTH_METHOD,
                AUTH_DATA,
                REQUEST_PROBLEM_INFORMATION,
                REQUEST_RESPONSE_INFORMATION,
                RECEIVE_MAXIMUM,
                TOPIC_ALIAS_MAXIMUM,
                MAXIMUM_PACKET_SIZE,
            ],
            Self::Will => {
                &[PAYLOAD_FORMAT, MESSAGE_EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, WILL_DELAY]
            }
            Self::Publish => {
                &[PAYLOAD_FORMAT, MESSAGE_EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, TOPIC_ALIAS]
            }
            Self::PubAck => &[REASON_STRING],
            Self::Subscribe => &[SUBSCRIPTION_ID],
            Self::Unsubscribe => &[],
            Self::Disconnect => &[SESSION_EXPIRY, REASON_STRING],
        };
        id == USER_PROPERTY || allowed.contains(&id)
    }
}

/// What decoding needs to know beyond that the properties are good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// One bit for each property (their numbers are below 64).
    ids: u64,
    /// Where in the packet a Message Expiry Interval of 0 stands; see [`super::decode`].
    pub(super) zero_expiry_at: Option<usize>,
}

impl Seen {
    pub(super) fn has(self, id: u8) -> bool {
        self.ids & (1 << id) != 0
    }
}

/// Checks a block of properties with its length in front.
pub(super) fn check(reader: &mut Reader<'_>, place: Place) -> Result<Seen, DecodeError> {
    let length = reader.variable()?;
    let mut block = reader.split(length as usize)?;
    let mut seen = Seen::default();
    while !block.is_empty() {
        // Numbers are variable byte integers, but none that is defined needs a second byte.
        let id = block.byte()?;
        if id == SERVER_REFERENCE && place == Place::Disconnect {
            return Err(DecodeError::protocol("Server Reference from a client"));
        }
        if id == SUBSCRIPTION_ID && place == Place::Publish {
            return Err(DecodeError::protocol("Subscription Identifier from a client"));
        }
        if !place.allows(id) {
            return Err(DecodeError::malformed("a property that does not belong into this packet"));
        }
        if seen.has(id) && id != USER_PROPERTY {
            return Err(DecodeError::protocol("a property that may come only once came twice"));
        }
        seen.ids |= 1 << id;
        let value_at = block.position();
        let zero = check_value(&mut block, id)?;
        if zero && id == MESSAGE_EXPIRY {
            seen.zero_expiry_at = Some(value_at);
        }
    }
    if seen.has(AUTH_DATA) && !seen.has(AUTH_METHOD) {
        return Err(DecodeError::protocol("Authentication Data without Authentication Method"));
    }
    Ok(seen)
}

/// Reads one value; tells whether it is the number 0.
fn check_value(block: &mut Reader<'_>, id: u8) -> Result<bool, DecodeError> {
    let mut zero = false;
    match id {
        PAYLOAD_FORMAT => {
            if block.byte()? > 1 {
                return Err(DecodeError::malformed("Payload Format Indicator is neither 0 nor 1"));
            }
        }
        REQUEST_PROBLEM_INFORMATION | REQUEST_RESPONSE_INFORMATION => {
            if block.byte()? > 1 {
                return Err(DecodeError::protocol("a property that is neither 0 nor 1"));
            }
        }
        MESSAGE_EXPIRY | SESSION_EXPIRY | WILL_DELAY => zero = block.four_bytes()? == 0,
        MAXIMUM_PACKET_SIZE => {
            if block.four_bytes()? == 0 {
                return Err(DecodeError::protocol("Maximum Packet Size is 0"));
            }
        }
        RECEIVE_MAXIMUM => {
            if block.two_bytes()? == 0 {
                return Err(DecodeError::protocol("Receive Maximum is 0"));
            }
        }
        TOPIC_ALIAS_MAXIMUM => zero = block.two_bytes()? == 0,
        TOPIC_ALIAS => {
            // A whole one first: a cut one is malformed. We advertise a Topic Alias Maximum of 0, so that none is
            // right.
            block.two_bytes()?;
            return Err(DecodeError::new(ReasonCode::TopicAliasInvalid, "topic aliases are not offered"));
        }
        SUBSCRIPTION_ID => {
            if block.variable()? == 0 {
                return Err(DecodeError::protocol("Subscription Identifier is 0"));
            }
        }
        RESPONSE_TOPIC => {
            if !topic::is_name(block.string()?) {
                return Err(DecodeError::protocol("Response Topic is no topic name"));
            }
        }
        CONTENT_TYPE | REASON_STRING | AUTH_METHOD => {
            block.string()?;
        }
        CORRELATION_DATA | AUTH_DATA => {
            block.binary()?;
        }
        USER_PROPERTY => {
            block.string()?;
            block.string()?;
        }
        _ => return Err(DecodeError::malformed("an unknown property")),
    }
    Ok(zero)
}
