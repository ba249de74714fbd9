//! Connections that were cut after a quiet while, without a word: what a network does that forgets them, and tells so.

use std::time::Duration;

use crate::ladder::WayId;
use crate::timer::LATE_MS;

/// What was said so shortly before a cut tells that the quiet was not its cause.
const QUIET_MIN: Duration = Duration::from_secs(30);

/// Counts the cuts of one way in one network.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// By which way the last connection went, if it was cut after a quiet while.
    last: Option<WayId>,
}

impl Cuts {
    /// A connection was cut after so long a quiet; tells whether it is the network that bears no longer one. The first
    /// alone may be a broker that starts anew.
    ///
    /// Quiet for much longer than `interval` is a machine that slept, which says nothing.
    pub(super) fn tell(&mut self, way: WayId, quiet: Duration, interval: Duration) -> bool {
        if !(QUIET_MIN..=interval + Duration::from_millis(LATE_MS)).contains(&quiet) {
            return false;
        }
        let is_second = self.last == Some(way);
        self.last = (!is_second).then_some(way);
        is_second
    }

    /// A quiet interval was borne, or the network is another.
    pub(super) fn clear(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ladder;
    use crate::ladder::{ProxyUse, Ways};

    #[test]
    fn the_second_quiet_cut_of_a_way_tells_that_the_network_bears_no_longer_quiet() {
        let ladder = Ladder::parse(&["a:1", "b:2"]).unwrap();
        let ways = Ways::new(&ladder, ProxyUse::None);
        let (a, b) = (ways.find("mqtt a:1").unwrap(), ways.find("mqtt b:2").unwrap());
        let mut cuts = Cuts::default();
        let mut tell = |way, secs| cuts.tell(way, Duration::from_secs(secs), Duration::from_secs(300));
        assert_eq!([120, 120, 120, 120].map(|secs| tell(a, secs)), [false, true, false, true]);
        // Neither a short quiet nor a night's sleep is counted.
        assert_eq!([29, 5, 331, 28_800].map(|secs| tell(a, secs)), [false; 4]);
        assert_eq!([(a, 30), (b, 330), (b, 30)].map(|(way, secs)| tell(way, secs)), [false, false, true]);
        assert!(!tell(a, 120));
        cuts.clear();
        assert!(!cuts.tell(a, Duration::from_secs(120), Duration::from_secs(300)));
    }
}
