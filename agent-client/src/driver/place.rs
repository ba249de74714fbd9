//! In which network the agent is, and when that is to be looked up.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use wakemq_link::NetworkKey;

use crate::network::{self, Present};

/// When it is looked up after a change was noticed: the first are for the answer of a gateway whose MAC address is
/// not known, the last is for a route that comes after its address.
const LOOKS: [Duration; 3] = [Duration::from_millis(40), Duration::from_millis(200), Duration::from_secs(2)];

/// What is known of the present network.
#[derive(Debug)]
pub(super) struct Place {
    present: Option<Present>,
    looks: VecDeque<Instant>,
}

impl Place {
    /// Looks for the first time.
    pub(super) async fn find() -> Self {
        let mut place = Self { present: network::present(), looks: VecDeque::new() };
        place.expect_gateway();
        for look in LOOKS.iter().take(2) {
            if place.unresolved() {
                tokio::time::sleep(*look).await;
                place.present = network::present();
            }
        }
        place
    }

    /// Returns the network; `None` if there is none.
    pub(super) fn key(&self) -> Option<NetworkKey> {
        self.present.as_ref().map(|present| present.key.clone())
    }

    /// Something around has changed. Tells whether the network, or the agent's addresses in it, are others now.
    pub(super) fn changed(&mut self) -> bool {
        let now = Instant::now();
        self.looks = LOOKS.iter().map(|look| now + *look).collect();
        let is_other = self.look();
        self.expect_gateway();
        is_other
    }

    /// Returns when [`look`](Self::look) is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.looks.front().copied()
    }

    /// Looks, if it is time to. Tells whether the network, or the agent's addresses in it, are others now.
    pub(super) fn look_if_due(&mut self) -> bool {
        let due = self.looks.front().is_some_and(|at| *at <= Instant::now());
        if due {
            self.looks.pop_front();
        }
        due && self.look()
    }

    /// A network whose gateway may still answer is not told yet.
    fn look(&mut self) -> bool {
        let found = network::present();
        let may_answer =
            found.as_ref().is_some_and(|found| found.unresolved.is_some()) && self.looks.len() > 1;
        let same =
            |one: &Present, other: &Present| (&one.key, &one.addresses) == (&other.key, &other.addresses);
        let is_same = match (&self.present, &found) {
            (Some(before), Some(found)) => same(before, found),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_same || may_answer {
            return false;
        }
        tracing::debug!(?found, "the network has changed");
        self.present = found;
        true
    }

    fn unresolved(&self) -> bool {
        self.present.as_ref().is_some_and(|present| present.unresolved.is_some())
    }

    /// Has the gateway's MAC address found out if it is not known.
    fn expect_gateway(&mut self) {
        let found = network::present();
        if let Some(gateway) = found.and_then(|found| found.unresolved)
            && let Err(error) = network::nudge(gateway)
        {
            tracing::debug!(%gateway, %error, "the gateway's MAC address cannot be found out");
        }
    }
}
