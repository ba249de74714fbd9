//! What happened on the way of an attempt, as far as it tells apart why it failed.

use wakemq_protocol::{PowerStep, PowerWhat};

use crate::metrics::PowerVerdict;

/// What happened on the way, as far as it tells apart why an attempt failed.
pub(super) struct Course {
    has_mac: bool,
    /// Somebody was asked to send, or the broker has sent.
    was_sent: bool,
    /// The endpoint told of itself.
    was_heard: bool,
    /// The operator has no right any more.
    pub(super) is_forbidden: bool,
}

impl Course {
    pub(super) fn read(has_mac: bool, evidence: &[PowerStep]) -> Self {
        let mut course = Self { has_mac, was_sent: false, was_heard: false, is_forbidden: false };
        evidence.iter().for_each(|step| course.note(&step.what));
        course
    }

    pub(super) fn note(&mut self, what: &PowerWhat) {
        match what {
            PowerWhat::RelayAsked { .. } => self.was_sent = true,
            PowerWhat::BrokerSent { destinations, .. } => self.was_sent |= !destinations.is_empty(),
            PowerWhat::Heard { .. } => self.was_heard = true,
            PowerWhat::Probed { .. }
            | PowerWhat::ProbeUnanswered
            | PowerWhat::RelayAcknowledged { .. }
            | PowerWhat::RelaySaid { .. }
            | PowerWhat::RelaySilent { .. }
            | PowerWhat::RelayLeft { .. }
            | PowerWhat::NoRelay { .. }
            | PowerWhat::LeftOut { .. }
            | PowerWhat::Verdict { .. } => {}
        }
    }

    pub(super) fn verdict(&self, is_up: bool) -> PowerVerdict {
        if is_up {
            PowerVerdict::Done
        } else if self.was_heard {
            PowerVerdict::WasRunning
        } else if !self.has_mac {
            PowerVerdict::NoMac
        } else if self.was_sent {
            PowerVerdict::NotUp
        } else if self.is_forbidden {
            PowerVerdict::NotAllowed
        } else {
            PowerVerdict::NoRelay
        }
    }
}
