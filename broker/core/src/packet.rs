//! The MQTT packets as the state machines see them: plain data, one form for 3.1.1 and 5.
//!
//! The broker's codec makes [`Connect`] and [`ClientPacket`] from bytes that passed its strict check, and bytes
//! from [`ServerPacket`]; what a level cannot express (reasons, properties) it leaves out while encoding. So a
//! session writes one answer for both levels and looks at [`Connect::level`] only where behaviour differs.

mod reason;
mod size;

use std::fmt;

pub use reason::{Connect3ReturnCode, ReasonCode};

/// Tells which version of MQTT a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolLevel {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    V5,
}

/// Names a quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QoS {
    /// Delivered once or never; nothing answers it.
    AtMostOnce,
    /// Delivered until acknowledged by a PUBACK.
    AtLeastOnce,
    /// Never granted here; it occurs in what a client asks for.
    ExactlyOnce,
}

impl QoS {
    /// Returns the number on the wire.
    pub fn value(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    /// Finds the quality with that number; 3 is none.
    pub fn from_value(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// A client's first packet (MQTT 5 §3.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version that every later packet of the connection is written in.
    pub level: ProtocolLevel,
    /// Clean Start, in 3.1.1 Clean Session.
    pub clean_start: bool,
    /// Longest silence that the client promises to keep, 0 for no promise.
    pub keep_alive_secs: u16,
    /// The client identifier, empty if the broker is to assign one.
    pub client_id: String,
    /// The user name.
    pub username: Option<String>,
    /// The password; never shown by `Debug`.
    pub password: Option<Vec<u8>>,
    /// How many unacknowledged QoS 1 publications the client takes; 65,535 if it did not say. Never 0.
    pub receive_maximum: u16,
    /// The largest packet in bytes that the client takes. Never 0.
    pub maximum_packet_size: Option<u32>,
    /// Whether the client takes Reason Strings and User Properties on other packets than PUBLISH, CONNACK and
    /// DISCONNECT. The codec needs it for each packet that it writes.
    pub request_problem_information: bool,
    /// Session Expiry Interval; 0 if the client did not say.
    pub session_expiry_secs: u32,
    /// The user property `instance` (its first value): random for each process of an agent.
    pub instance: Option<String>,
    /// Whether an Authentication Method was given; WakeMQ offers none (0x8C).
    pub has_auth_method: bool,
    /// What to publish when the connection ends without a DISCONNECT.
    pub will: Option<Will>,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("level", &self.level)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_secs", &self.keep_alive_secs)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "[redacted]"))
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("request_problem_information", &self.request_problem_information)
            .field("session_expiry_secs", &self.session_expiry_secs)
            .field("instance", &self.instance)
            .field("has_auth_method", &self.has_auth_method)
            .field("will", &self.will)
            .finish()
    }
}

/// A client's last word, published by the broker on its behalf (MQTT 5 §3.1.2.5).
#[derive(Clone, PartialEq, Eq)]
pub struct Will {
    /// Where it is published; a valid topic name.
    pub topic: String,
    /// What is published; never shown by `Debug`.
    pub payload: Vec<u8>,
    /// At which quality; `ExactlyOnce` was refused by the codec.
    pub qos: QoS,
    /// RETAIN; in MQTT 5 refused by the codec, in 3.1.1 to be ignored.
    pub retain: bool,
    /// How long to wait before publishing it.
    pub delay_secs: u32,
    /// Message Expiry Interval.
    pub message_expiry_secs: Option<u32>,
    /// Response Topic; a valid topic name.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Vec<u8>>,
}

impl Will {
    /// Returns the publication that it stands for. Nobody acknowledges it, because its client is gone.
    pub fn into_publish(self) -> ClientPublish {
        ClientPublish {
            topic: self.topic,
            payload: self.payload,
            qos: QoS::AtMostOnce,
            packet_id: None,
            dup: false,
            retain: false,
            message_expiry_secs: self.message_expiry_secs,
            response_topic: None,
            correlation_data: None,
        }
    }
}

impl fmt::Debug for Will {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("topic", &self.topic)
            .field("payload_len", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("delay_secs", &self.delay_secs)
            .field("message_expiry_secs", &self.message_expiry_secs)
            .field("response_topic", &self.response_topic)
            .finish_non_exhaustive()
    }
}

/// What a client may send after its CONNECT.
///
/// AUTH, a second CONNECT and everything of QoS 2 never get here: the codec refuses them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPacket {
    /// PUBLISH.
    Publish(ClientPublish),
    /// PUBACK for a publication of the broker's.
    PubAck {
        /// Which one; never 0.
        packet_id: u16,
        /// How it went; `Success` in 3.1.1.
        reason: ReasonCode,
    },
    /// SUBSCRIBE.
    Subscribe(Subscribe),
    /// UNSUBSCRIBE.
    Unsubscribe {
        /// What the UNSUBACK repeats; never 0.
        packet_id: u16,
        /// Valid filters, at least one.
        filters: Vec<String>,
    },
    /// PINGREQ.
    PingReq,
    /// DISCONNECT: the will is dropped if the reason is `Success`.
    Disconnect {
        /// Why; `Success` in 3.1.1.
        reason: ReasonCode,
        /// A changed Session Expiry Interval; raising it from 0 is a protocol error.
        session_expiry_secs: Option<u32>,
    },
}

/// A publication by a client (MQTT 5 §3.3).
#[derive(Clone, PartialEq, Eq)]
pub struct ClientPublish {
    /// A valid topic name: not empty, no wildcard.
    pub topic: String,
    /// The application's bytes; never shown by `Debug`.
    pub payload: Vec<u8>,
    /// `AtMostOnce` or `AtLeastOnce`; the codec refused the third.
    pub qos: QoS,
    /// What the PUBACK repeats; present exactly with `AtLeastOnce`, never 0.
    pub packet_id: Option<u16>,
    /// Whether it may have been sent before.
    pub dup: bool,
    /// RETAIN; in MQTT 5 refused by the codec, in 3.1.1 to be ignored.
    pub retain: bool,
    /// Message Expiry Interval.
    pub message_expiry_secs: Option<u32>,
    /// Response Topic; a valid topic name.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Vec<u8>>,
}

impl fmt::Debug for ClientPublish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientPublish")
            .field("topic", &self.topic)
            .field("payload_len", &self.payload.len())
            .field("qos", &self.qos)
            .field("packet_id", &self.packet_id)
            .field("dup", &self.dup)
            .field("retain", &self.retain)
            .field("message_expiry_secs", &self.message_expiry_secs)
            .field("response_topic", &self.response_topic)
            .finish_non_exhaustive()
    }
}

/// A request for subscriptions (MQTT 5 §3.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// What the SUBACK repeats; never 0.
    pub packet_id: u16,
    /// Subscription Identifier; WakeMQ offers none (0xA1).
    pub subscription_id: Option<u32>,
    /// One filter each, at least one, in the order of the SUBACK's reasons.
    pub filters: Vec<SubscribeFilter>,
}

/// One wanted subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeFilter {
    /// A valid topic filter; it may begin with `$share/`.
    pub filter: String,
    /// The highest quality wanted.
    pub qos: QoS,
    /// Whether the client's own publications are left out.
    pub no_local: bool,
    /// Whether RETAIN is passed on as it was published.
    pub retain_as_published: bool,
    /// When retained messages are wanted: 0 to 2.
    pub retain_handling: u8,
}

/// What the broker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerPacket {
    /// CONNACK.
    ConnAck(ConnAck),
    /// PUBLISH.
    Publish(ServerPublish),
    /// PUBACK.
    PubAck {
        /// Repeats the publication's.
        packet_id: u16,
        /// How it went; 3.1.1 cannot say it.
        reason: ReasonCode,
        /// Why, for people.
        reason_string: Option<String>,
    },
    /// SUBACK.
    SubAck {
        /// Repeats the request's.
        packet_id: u16,
        /// One for each filter: a granted quality or an error (in 3.1.1 always 0x80).
        reasons: Vec<ReasonCode>,
        /// Why, for people.
        reason_string: Option<String>,
    },
    /// UNSUBACK.
    UnsubAck {
        /// Repeats the request's.
        packet_id: u16,
        /// One for each filter; 3.1.1 cannot say it.
        reasons: Vec<ReasonCode>,
    },
    /// PINGRESP.
    PingResp,
    /// DISCONNECT; does not exist in 3.1.1, where closing says it.
    Disconnect {
        /// Why.
        reason: ReasonCode,
        /// Why, for people.
        reason_string: Option<String>,
        /// Name and value, such as `wakemq-return`.
        user_properties: Vec<(String, String)>,
    },
}

/// The answer to a CONNECT (MQTT 5 §3.2). The default accepts and says nothing else.
///
/// Every `None` leaves the property out, which stands for the standard's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// `Success` or why not; 3.1.1 gets what [`Connect3ReturnCode::from_reason`] says.
    pub reason: ReasonCode,
    /// Whether a session was resumed; never, here.
    pub session_present: bool,
    /// Session Expiry Interval that the broker uses.
    pub session_expiry_secs: Option<u32>,
    /// How many unacknowledged QoS 1 publications the broker takes.
    pub receive_maximum: Option<u16>,
    /// The highest quality that a client may publish with.
    pub maximum_qos: Option<QoS>,
    /// Whether RETAIN may be used.
    pub retain_available: Option<bool>,
    /// The largest packet in bytes that the broker takes.
    pub maximum_packet_size: Option<u32>,
    /// The client identifier that an empty one was replaced by.
    pub assigned_client_id: Option<String>,
    /// Why, for people.
    pub reason_string: Option<String>,
    /// Name and value, such as `wakemq-return`.
    pub user_properties: Vec<(String, String)>,
    /// Whether `+` and `#` may be used.
    pub wildcard_subscription_available: Option<bool>,
    /// Whether Subscription Identifiers may be used.
    pub subscription_ids_available: Option<bool>,
    /// Whether `$share/` may be used.
    pub shared_subscription_available: Option<bool>,
    /// Replaces the client's keep-alive.
    pub server_keep_alive_secs: Option<u16>,
}

impl Default for ConnAck {
    fn default() -> Self {
        Self {
            reason: ReasonCode::Success,
            session_present: false,
            session_expiry_secs: None,
            receive_maximum: None,
            maximum_qos: None,
            retain_available: None,
            maximum_packet_size: None,
            assigned_client_id: None,
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_subscription_available: None,
            subscription_ids_available: None,
            shared_subscription_available: None,
            server_keep_alive_secs: None,
        }
    }
}

/// A publication by the broker: RETAIN and DUP are always 0.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ServerPublish {
    /// A valid topic name.
    pub topic: String,
    /// The application's bytes; never shown by `Debug`.
    pub payload: Vec<u8>,
    /// With one the publication is QoS 1, without one QoS 0. Never 0.
    pub packet_id: Option<u16>,
    /// Message Expiry Interval.
    pub message_expiry_secs: Option<u32>,
    /// Correlation Data, as the request gave it.
    pub correlation_data: Option<Vec<u8>>,
    /// Name and value.
    pub user_properties: Vec<(String, String)>,
}

impl ServerPublish {
    /// Returns the quality that the packet id stands for.
    pub fn qos(&self) -> QoS {
        if self.packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce }
    }
}

impl fmt::Debug for ServerPublish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerPublish")
            .field("topic", &self.topic)
            .field("payload_len", &self.payload.len())
            .field("packet_id", &self.packet_id)
            .field("message_expiry_secs", &self.message_expiry_secs)
            .field("user_properties", &self.user_properties)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_payloads_stay_out_of_debug() {
        let connect = Connect {
            level: ProtocolLevel::V5,
            clean_start: true,
            keep_alive_secs: 60,
            client_id: "a".into(),
            username: Some("a".into()),
            password: Some(b"hunter2".to_vec()),
            receive_maximum: 65_535,
            maximum_packet_size: None,
            request_problem_information: true,
            session_expiry_secs: 0,
            instance: None,
            has_auth_method: false,
            will: Some(Will {
                topic: "t".into(),
                payload: b"hunter2".to_vec(),
                qos: QoS::AtMostOnce,
                retain: false,
                delay_secs: 0,
                message_expiry_secs: None,
                response_topic: None,
                correlation_data: None,
            }),
        };
        let publish = ServerPublish { payload: b"hunter2".to_vec(), ..ServerPublish::default() };
        let bytes = format!("{:?}", b"hunter2");
        for text in [format!("{connect:?}"), format!("{publish:?}")] {
            assert!(!text.contains("hunter2") && !text.contains(bytes.trim_matches(['[', ']'])), "{text}");
        }
    }
}
