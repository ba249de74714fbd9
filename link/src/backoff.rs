//! When a client comes back: pure arithmetic, its random numbers and times are given to it.

use std::time::Duration;

use wakemq_protocol::limits::TAKEOVER_WAIT_SECS;

/// A connection that lived this long counts as good: failures before it are forgotten.
const GOOD_AFTER: Duration = Duration::from_secs(60);

/// Computes how long to wait before the next attempt.
///
/// Each method takes `random`, uniform in `0.0..1.0`, so that a fleet never moves in step.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(300))
    }
}

impl Backoff {
    /// Makes a back-off whose first wait is at most `base`, and none is longer than `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// Returns the wait after an attempt that led to no connection: full jitter below a bound that doubles.
    pub fn after_failure(&mut self, random: f64) -> Duration {
        let bound = self.base.saturating_mul(1 << self.failures.min(20)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(random)
    }

    /// Returns the wait after a connection that lived for `lived` was lost: uniform over what the broker
    /// advised (`wakemq-return`), and longer where connections are lost again and again.
    pub fn after_lost_connection(&mut self, return_secs: u32, lived: Duration, random: f64) -> Duration {
        if lived >= GOOD_AFTER {
            self.failures = 0;
        }
        let spread = Duration::from_secs(return_secs.into()).mul_f64(random);
        spread.max(self.after_failure(random))
    }

    /// Returns the wait after another connection of the same agent took over (0x8E): 30 to 90 seconds.
    pub fn after_takeover(&mut self, random: f64) -> Duration {
        let (from, to) = TAKEOVER_WAIT_SECS;
        Duration::from_secs_f64(f64::from(from) + f64::from(to - from) * random)
    }

    /// Returns the wait after a refusal that a person has to mend, bad credentials say: the cap's upper half.
    pub fn after_refusal(&mut self, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.cap.mul_f64(0.5 + random / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALMOST_ONE: f64 = 0.999_999;

    #[test]
    fn failures_double_the_bound_up_to_the_cap_and_jitter_is_full() {
        let mut backoff = Backoff::default();
        for bound in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let mut low = backoff.clone();
            assert_eq!(low.after_failure(0.0), Duration::ZERO);
            let wait = backoff.after_failure(ALMOST_ONE);
            assert!(wait <= Duration::from_secs(bound), "{wait:?} {bound}");
            assert!(wait > Duration::from_secs(bound).mul_f64(0.999), "{wait:?} {bound}");
        }
        backoff.failures = u32::MAX;
        assert!(backoff.after_failure(ALMOST_ONE) <= Duration::from_secs(300));
    }

    #[test]
    fn a_lost_connection_returns_within_what_the_broker_advised() {
        let long = Duration::from_secs(3600);
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after_lost_connection(60, long, 0.5), Duration::from_secs(30));
        assert_eq!(Backoff::default().after_lost_connection(60, long, 0.0), Duration::ZERO);
        // Failures before a good connection are forgotten.
        backoff.failures = 30;
        assert_eq!(backoff.after_lost_connection(0, long, 0.5), Duration::from_millis(500));
    }

    #[test]
    fn connections_lost_at_once_do_not_make_a_tight_loop() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> =
            (0..12).map(|_| backoff.after_lost_connection(0, Duration::from_secs(1), 0.5)).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits[11], Duration::from_secs(150));
    }

    #[test]
    fn takeover_and_refusal_wait_long() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after_takeover(0.0), Duration::from_secs(30));
        assert!(backoff.after_takeover(ALMOST_ONE) <= Duration::from_secs(90));
        assert_eq!(backoff.after_refusal(0.0), Duration::from_secs(150));
        assert!(backoff.after_refusal(ALMOST_ONE) <= Duration::from_secs(300));
    }
}
