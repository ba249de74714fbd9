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

#[cfg(test)]
mod tests {
    use super::*;

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
