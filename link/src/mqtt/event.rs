//! What a session tells its owner, and what it is given.

use std::time::Duration;

use bytes::Bytes;
use wakemq_protocol::limits::RETURN_DEFAULT_SECS;

use super::ReasonCode;

/// The user property that advises when to come back.
pub(crate) const RETURN_PROPERTY: &str = "wakemq-return";
/// No advice is believed beyond a day.
const RETURN_MAX_SECS: u32 = 86_400;

/// Names one publish of a session until its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub(crate) u64);

/// A message to publish at QoS 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// Where an answer is wanted.
    pub response_topic: Option<String>,
    /// What the answer is to carry.
    pub correlation_data: Option<Bytes>,
    /// Message expiry interval, in seconds.
    pub message_expiry_secs: Option<u32>,
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// Packet id for [`Session::ack`](super::Session::ack); `None` at QoS 0.
    pub pkid: Option<u16>,
    /// Correlation data of the request that it answers.
    pub correlation_data: Option<Bytes>,
    /// Whether the server says that it sent this before.
    pub dup: bool,
}

/// What happened on a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message came; at QoS 1 it wants [`Session::ack`](super::Session::ack).
    Publish(Incoming),
    /// A publish was acknowledged, which may also say that it was refused.
    Published {
        /// Which one.
        token: Token,
        /// How it went.
        code: ReasonCode,
        /// The server's words.
        reason: Option<String>,
    },
    /// A subscription was answered.
    Subscribed {
        /// One code for each filter.
        codes: Vec<ReasonCode>,
        /// The server's words.
        reason: Option<String>,
    },
    /// It was quiet in both directions for the whole interval, and the server answered then.
    Idle,
    /// A check was answered.
    Alive,
    /// The server ended the session; nothing comes after it.
    ServerDisconnect {
        /// Why.
        code: ReasonCode,
        /// The server's words.
        reason: Option<String>,
        /// Within how many seconds to come back, if the server said so.
        return_secs: Option<u32>,
    },
}

/// Says why a session is over.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The server closed the stream without a word.
    #[error("the broker closed the connection")]
    Closed,
    /// No answer to a ping.
    #[error("the broker no longer answers")]
    PingTimeout,
    /// No answer after a whole interval in which nothing was said: the broker is gone, or a network has forgotten the
    /// connection.
    #[error("the broker no longer answers after {} quiet seconds", .0.as_secs())]
    Silent(Duration),
    /// The server sent what MQTT 5 does not allow.
    #[error("the broker broke the protocol: {0}")]
    Protocol(String),
}

/// Says why a message was not accepted for publishing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// As many are unacknowledged as the server allows; wait for an [`Event::Published`].
    #[error("too many unacknowledged messages")]
    Full,
    /// Larger than the server takes.
    #[error("the packet has {size} bytes; the broker takes at most {max}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The server's maximum.
        max: u32,
    },
    /// The topic is empty, longer than 65,535 bytes, or has a wildcard.
    #[error("not a topic name")]
    Topic,
}

/// Reads `wakemq-return` off user properties.
pub(crate) fn return_secs(properties: &[(String, String)]) -> Option<u32> {
    let (_, value) = properties.iter().find(|(name, _)| name == RETURN_PROPERTY)?;
    value.parse().ok().map(|secs: u32| secs.min(RETURN_MAX_SECS))
}

/// Returns the advice to go by where the server gave none.
pub(crate) fn return_or_default(advice: Option<u32>) -> u32 {
    advice.unwrap_or(RETURN_DEFAULT_SECS)
}
