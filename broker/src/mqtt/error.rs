//! What is wrong with a packet, and what the standard says to answer.

use wakemq_core::packet::{ProtocolLevel, ReasonCode};

/// Why a packet was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct DecodeError {
    /// What CONNACK (before) or DISCONNECT (after a CONNECT was accepted) is to say.
    pub reason: ReasonCode,
    /// What was wrong, for people; it never contains what the client sent.
    pub detail: &'static str,
    /// In which version to answer. `None` means not at all: what was sent does not look like MQTT.
    pub level: Option<ProtocolLevel>,
}

impl DecodeError {
    pub(super) fn new(reason: ReasonCode, detail: &'static str) -> Self {
        Self { reason, detail, level: None }
    }

    pub(super) fn malformed(detail: &'static str) -> Self {
        Self::new(ReasonCode::MalformedPacket, detail)
    }

    pub(super) fn protocol(detail: &'static str) -> Self {
        Self::new(ReasonCode::ProtocolError, detail)
    }

    pub(super) fn answered_in(self, level: ProtocolLevel) -> Self {
        Self { level: Some(level), ..self }
    }
}
