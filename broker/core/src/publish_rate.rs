//! The bound on what an agent asks for: publishes and subscriptions.

use wakemq_protocol::limits::AGENT_PUBLISHES_PER_SEC;

/// Counts packets by the second; over the bound, reading pauses until the second is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublishRate {
    window_ms: u64,
    count: u32,
}

impl PublishRate {
    /// Counts one packet; returns until when to pause, if the bound of this second is reached.
    pub fn count(&mut self, now_ms: u64) -> Option<u64> {
        if now_ms >= self.window_ms + 1000 {
            *self = Self { window_ms: now_ms, count: 0 };
        }
        self.count += 1;
        (self.count >= AGENT_PUBLISHES_PER_SEC).then_some(self.window_ms + 1000)
    }
}

/// How far ahead turns are given, in milliseconds.
const AHEAD_MS: u64 = 10_000;

/// The same bound for what comes over connections that are not read one after the other: gives each post its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turns {
    window_ms: u64,
    count: u32,
}

impl Turns {
    /// Returns when a post that has come is to be carried out; `None` if so many wait already that its turn would be
    /// more than ten seconds away.
    pub fn next(&mut self, now_ms: u64) -> Option<u64> {
        if now_ms >= self.window_ms + 1000 {
            *self = Self { window_ms: now_ms, count: 0 };
        }
        if self.count >= AGENT_PUBLISHES_PER_SEC {
            if self.window_ms + 1000 > now_ms + AHEAD_MS {
                return None;
            }
            *self = Self { window_ms: self.window_ms + 1000, count: 0 };
        }
        self.count += 1;
        Some(self.window_ms.max(now_ms))
    }

    /// Tells whether nothing needs to be remembered any more.
    pub fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.window_ms + 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_posts_have_their_turn_in_each_second_and_no_more_wait_than_ten_seconds_take() {
        let mut turns = Turns::default();
        let given: Vec<_> = std::iter::from_fn(|| turns.next(5_000)).collect();
        assert_eq!(given.len(), 110);
        for (n, turn) in given.iter().enumerate() {
            assert_eq!(*turn, 5_000 + 1000 * (n as u64 / 10));
        }
        assert_eq!(turns.next(5_999), None);
        assert_eq!(turns.next(6_000), Some(16_000));
        assert!(!turns.is_over(16_999));
        assert!(turns.is_over(17_000));
        assert_eq!(turns.next(17_000), Some(17_000));
    }

    #[test]
    fn the_tenth_publish_of_a_second_pauses_until_its_end() {
        let mut rate = PublishRate::default();
        for _ in 0..9 {
            assert_eq!(rate.count(5_000), None);
        }
        assert_eq!(rate.count(5_900), Some(6_000));
        assert_eq!(rate.count(6_000), None, "a new second");
    }
}
