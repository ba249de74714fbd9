//! How fast connections are let in, and when they are told to come back.

/// The longest advice when to come back, in seconds.
pub const RETURN_MAX_SECS: u32 = 86_400;

const NS_PER_SEC: u64 = 1_000_000_000;

/// Gives every arrival the time at which it is let in: so many a second, and so many at once after a quiet while.
///
/// This is the generic cell rate algorithm (ITU-T I.371): it holds one time, however many wait, and lets them in by
/// order of arrival. Times are nanoseconds on any clock that does not go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// From one to the next.
    interval_ns: u64,
    /// How far arrivals may be ahead of the rate.
    ahead_ns: u64,
    /// When the next one would be due, if none were ever ahead.
    due_ns: u64,
}

impl Admission {
    /// Lets `per_sec` in each second, and `burst` at once; neither is less than 1.
    pub fn new(per_sec: u32, burst: u32) -> Self {
        // Rounded up: rather a little slower than asked for than faster.
        let interval_ns = NS_PER_SEC.div_ceil(per_sec.max(1).into());
        let ahead_ns = interval_ns.saturating_mul(burst.saturating_sub(1).into());
        Self { interval_ns, ahead_ns, due_ns: 0 }
    }

    /// Returns how long an arrival has to wait, in nanoseconds; `None`, and nothing is taken, if that would be more
    /// than `patience_ns`.
    ///
    /// Who leaves while waiting has had its turn: nobody moves up.
    pub fn arrive(&mut self, now_ns: u64, patience_ns: u64) -> Option<u64> {
        let wait_ns = self.due_ns.saturating_sub(self.ahead_ns).saturating_sub(now_ns);
        if wait_ns > patience_ns {
            return None;
        }
        self.due_ns = self.due_ns.max(now_ns).saturating_add(self.interval_ns);
        Some(wait_ns)
    }

    /// Returns from when on it is as if nobody had ever come, in nanoseconds.
    pub fn due_ns(&self) -> u64 {
        self.due_ns
    }
}

/// Returns within how many seconds agents are to come back after a lost connection: over so long that `agents` of them
/// take no more than five sixths of `per_sec`, and never less than `least_secs`.
pub fn return_secs(least_secs: u32, agents: usize, per_sec: u32) -> u32 {
    let agents = u64::try_from(agents).unwrap_or(u64::MAX);
    let spread = agents.saturating_mul(6).div_ceil(5 * u64::from(per_sec.max(1)));
    u32::try_from(spread).unwrap_or(u32::MAX).max(least_secs).min(RETURN_MAX_SECS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const FOR_EVER: u64 = u64::MAX;

    #[test]
    fn a_burst_is_let_in_at_once_and_the_others_at_the_rate_in_order_of_arrival() {
        let mut admission = Admission::new(100, 3);
        let waits: Vec<_> = (0..6).map(|_| admission.arrive(7 * MS, FOR_EVER).unwrap() / MS).collect();
        assert_eq!(waits, [0, 0, 0, 10, 20, 30]);
        // Whoever comes later is behind those who wait.
        assert_eq!(admission.arrive(7 * MS + 35 * MS, FOR_EVER), Some(5 * MS));
    }

    #[test]
    fn a_quiet_while_fills_it_again_and_never_with_more_than_a_burst() {
        let mut admission = Admission::new(100, 3);
        for _ in 0..3 {
            assert_eq!(admission.arrive(0, 0), Some(0));
        }
        assert_eq!(admission.arrive(9 * MS, 0), None);
        assert_eq!(admission.arrive(10 * MS, 0), Some(0), "one");
        assert_eq!(admission.arrive(10 * MS, 0), None);
        let later = 3_600_000 * MS;
        let at_once = (0..100).filter(|_| admission.arrive(later, 0).is_some()).count();
        assert_eq!(at_once, 3);
    }

    #[test]
    fn who_would_wait_too_long_takes_nothing() {
        let mut admission = Admission::new(10, 1);
        assert_eq!(admission.arrive(0, 250 * MS), Some(0));
        assert_eq!(admission.arrive(0, 250 * MS), Some(100 * MS));
        assert_eq!(admission.arrive(0, 250 * MS), Some(200 * MS));
        for _ in 0..1000 {
            assert_eq!(admission.arrive(0, 250 * MS), None);
        }
        assert_eq!(
            admission.arrive(50 * MS, 250 * MS),
            Some(250 * MS),
            "the place of nobody who was refused"
        );
    }

    /// Whatever the arrivals, no second has more than a burst and the rate, and no wait is longer than the patience.
    #[test]
    fn no_second_lets_in_more_than_it_may() {
        for (per_sec, burst) in [(1, 1), (7, 3), (1000, 50), (2000, 2000), (999_983, 1), (1_000_000, 1_000)] {
            let mut admission = Admission::new(per_sec, burst);
            let mut seed = u64::from(per_sec) + u64::from(burst);
            let (mut now_ns, mut admitted) = (0, Vec::new());
            for _ in 0..30_000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                now_ns += (seed >> 33) % (NS_PER_SEC / u64::from(per_sec)) / 2;
                let patience_ns = (seed >> 20) % (5 * NS_PER_SEC);
                if let Some(wait_ns) = admission.arrive(now_ns, patience_ns) {
                    assert!(wait_ns <= patience_ns);
                    admitted.push(now_ns + wait_ns);
                }
            }
            admitted.sort_unstable();
            let most = per_sec as usize + burst as usize;
            for (at, start) in admitted.iter().enumerate() {
                let within = admitted[at..].partition_point(|&time| time - start < NS_PER_SEC);
                assert!(within <= most, "{within} of {most} in a second");
            }
            let secs = (admitted[admitted.len() - 1] - admitted[0]) as f64 / NS_PER_SEC as f64;
            assert!(admitted.len() as f64 >= secs * f64::from(per_sec) * 0.99, "{per_sec} {burst}: too slow");
        }
    }

    #[test]
    fn rates_at_the_ends_of_the_range_overflow_nothing() {
        let mut slow = Admission::new(1, u32::MAX);
        assert_eq!(slow.arrive(u64::MAX, 0), Some(0));
        let mut none = Admission::new(0, 0);
        assert_eq!((none.arrive(0, 0), none.arrive(0, 0)), (Some(0), None));
        for now_ns in [0, u64::MAX] {
            let mut fast = Admission::new(u32::MAX, 1);
            assert_eq!(fast.arrive(now_ns, FOR_EVER), Some(0));
            assert!(fast.arrive(now_ns, FOR_EVER).unwrap() <= 1);
        }
    }

    #[test]
    fn the_more_agents_the_longer_they_spread_and_a_fifth_longer_than_needed() {
        assert_eq!(return_secs(60, 0, 2000), 60);
        assert_eq!(return_secs(60, 100_000, 2000), 60);
        assert_eq!(return_secs(60, 100_001, 2000), 61, "rounded up");
        assert_eq!(return_secs(60, 1_000_000, 2000), 600);
        assert_eq!(return_secs(1, 50, 10), 6);
        assert_eq!(return_secs(1, usize::MAX, 1), RETURN_MAX_SECS);
        assert_eq!(return_secs(1, 1, 0), 2, "a rate of nothing counts as one");
    }
}
