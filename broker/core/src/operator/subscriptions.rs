//! What an operator's connection is subscribed to.

use wakemq_protocol::{GroupPath, Topic, filter_matches};

use crate::Following;
use crate::packet::QoS;

/// Most subscriptions of one operator's connection.
const SUBSCRIPTIONS_MAX: usize = 16;

#[derive(Debug)]
struct Subscription {
    filter: String,
    qos: QoS,
}

/// The subscriptions of one connection, to responses and to events.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(Vec<Subscription>);

impl Subscriptions {
    /// Adds one; the same filter again replaces the quality. Returns `false` if there are too many.
    pub(super) fn insert(&mut self, filter: String, qos: QoS) -> bool {
        let qos = qos.min(QoS::AtLeastOnce);
        if let Some(known) = self.0.iter_mut().find(|known| known.filter == filter) {
            known.qos = qos;
            return true;
        }
        if self.0.len() >= SUBSCRIPTIONS_MAX {
            return false;
        }
        self.0.push(Subscription { filter, qos });
        true
    }

    /// Removes one; tells whether it was there.
    pub(super) fn remove(&mut self, filter: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|known| known.filter != filter);
        self.0.len() < before
    }

    /// Returns the highest quality of those that match, because one copy goes out (MQTT 5 §3.3.4).
    pub(super) fn quality(&self, topic: &str) -> Option<QoS> {
        self.0.iter().filter(|known| filter_matches(&known.filter, topic)).map(|known| known.qos).max()
    }

    /// Returns which events they ask for.
    pub(super) fn following(&self, scope: &GroupPath) -> Following {
        let filters = self.0.iter().map(|known| &known.filter);
        let filters = filters.filter(|filter| Topic::events_rest(filter).is_some()).cloned().collect();
        Following { filters, scope: scope.clone() }
    }
}
