//! How a session ends.

use crate::packet::{ReasonCode, Will};

/// Why a session ends a connection; the broker turns it into a DISCONNECT (MQTT 5) and closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// What MQTT 5 says; `Success` where the client itself has ended it and nothing is to be said.
    pub reason: ReasonCode,
    /// The same for people.
    pub text: String,
}

impl End {
    /// Makes an end with a text.
    pub fn new(reason: ReasonCode, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }

    /// Takes a client's DISCONNECT (MQTT 5 §3.14): only a normal disconnection discards the will; every other
    /// reason, and a DISCONNECT that is itself an error, leaves it to be published.
    pub(crate) fn of_disconnect(
        reason: ReasonCode,
        session_expiry_secs: Option<u32>,
        will: &mut Option<Box<Will>>,
    ) -> Self {
        if session_expiry_secs.is_some_and(|secs| secs > 0) {
            // §3.14.2.2.2: nobody's session has an expiry to raise, because none outlives its connection.
            return Self::new(ReasonCode::ProtocolError, "the session expiry interval was 0 and stays so");
        }
        if reason == ReasonCode::Success {
            *will = None;
        }
        Self::new(ReasonCode::Success, "the client disconnected")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::QoS;

    fn will() -> Option<Box<Will>> {
        Some(Box::new(Will {
            topic: "t".into(),
            payload: Vec::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            delay_secs: 0,
            message_expiry_secs: None,
            response_topic: None,
            correlation_data: None,
        }))
    }

    #[test]
    fn only_a_normal_disconnection_discards_the_will() {
        for (reason, expiry, discarded, said) in [
            (ReasonCode::Success, None, true, ReasonCode::Success),
            (ReasonCode::Success, Some(0), true, ReasonCode::Success),
            (ReasonCode::DisconnectWithWill, None, false, ReasonCode::Success),
            (ReasonCode::UnspecifiedError, None, false, ReasonCode::Success),
            (ReasonCode::Success, Some(1), false, ReasonCode::ProtocolError),
        ] {
            let mut will = will();
            assert_eq!(End::of_disconnect(reason, expiry, &mut will).reason, said, "{reason} {expiry:?}");
            assert_eq!(will.is_none(), discarded, "{reason} {expiry:?}");
        }
    }
}
