//! How often a round may begin without regard to the back-off: a network that comes and goes must not become a storm.

/// Rounds that may begin at once in a row.
const BURST: u64 = 3;
/// After so long there may be one more, in milliseconds.
const EVERY_MS: u64 = 20_000;

/// Counts the rounds that began at once.
#[derive(Debug, Default)]
pub(super) struct Starts {
    /// When all of them are forgotten.
    clear_ms: u64,
}

impl Starts {
    /// Returns when the next may begin; `now_ms` if it may at once.
    pub(super) fn next_ms(&self, now_ms: u64) -> u64 {
        now_ms.max(self.clear_ms.saturating_sub((BURST - 1) * EVERY_MS))
    }

    /// One begins.
    pub(super) fn count(&mut self, now_ms: u64) {
        self.clear_ms = self.clear_ms.max(now_ms) + EVERY_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_at_once_and_then_one_every_20_s() {
        let (mut starts, mut began) = (Starts::default(), Vec::new());
        let mut now_ms = 1_000_000;
        for _ in 0..6 {
            now_ms = starts.next_ms(now_ms);
            starts.count(now_ms);
            began.push(now_ms - 1_000_000);
        }
        assert_eq!(began, [0, 0, 0, 20_000, 40_000, 60_000]);
        assert_eq!(starts.next_ms(2_000_000), 2_000_000);
    }
}
