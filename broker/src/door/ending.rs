//! How a connection ends, and what is said then.

use wakemq_core::End;
use wakemq_core::packet::{ReasonCode, ServerPacket};

use super::wire::WireEnd;
use crate::metrics::Ended;
use crate::mqtt::DecodeError;

/// How a connection ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// The bytes ended; nothing can be said any more.
    Lost(WireEnd),
    /// A session ended it, the client's own or the broker's.
    Session(End),
}

impl From<DecodeError> for Ending {
    fn from(error: DecodeError) -> Self {
        Self::Session(End::new(error.reason, error.detail))
    }
}

impl From<WireEnd> for Ending {
    fn from(end: WireEnd) -> Self {
        Self::Lost(end)
    }
}

impl From<End> for Ending {
    fn from(end: End) -> Self {
        Self::Session(end)
    }
}

impl Ending {
    /// Returns the DISCONNECT that tells the client, with the advice when to return; none if it left by itself.
    pub(super) fn last_words(&self, return_secs: u32) -> Option<ServerPacket> {
        match self {
            Self::Session(end) if end.reason != ReasonCode::Success => Some(ServerPacket::Disconnect {
                reason: end.reason,
                reason_string: Some(end.text.clone()),
                user_properties: vec![("wakemq-return".to_owned(), return_secs.to_string())],
            }),
            Self::Session(_) | Self::Lost(_) => None,
        }
    }
}

impl Ending {
    /// Returns what it really was, if so many bytes were still unsent: who does not read what it is sent is not read from
    /// either, and ends as one that was silent or is gone.
    pub(super) fn with_unsent(self, unsent: usize) -> Self {
        let deaf = match &self {
            Self::Session(end) => {
                matches!(Ended::of(end.reason), Ended::KeepAlive | Ended::NoAcknowledgement)
            }
            Self::Lost(WireEnd::Io(error)) => error.kind() == std::io::ErrorKind::TimedOut,
            Self::Lost(WireEnd::Closed | WireEnd::Tls(_) | WireEnd::WebSocket(_) | WireEnd::Encode(_)) => {
                false
            }
        };
        if deaf && unsent > 0 {
            return Self::Session(End::new(ReasonCode::QuotaExceeded, "it did not read what it was sent"));
        }
        self
    }

    /// Returns what it counts as.
    pub(super) fn counts_as(&self) -> Ended {
        match self {
            Self::Lost(_) => Ended::Lost,
            Self::Session(end) => Ended::of(end.reason),
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost(end) => end.fmt(f),
            Self::Session(end) => f.write_str(&end.text),
        }
    }
}
