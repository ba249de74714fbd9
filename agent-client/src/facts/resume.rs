//! How long the machine has been up: since boot, and since it last resumed. Pure: the clocks are given to it.

use std::time::Duration;

/// A shorter suspend is taken for the time between the reading of the two clocks.
const SUSPEND_MIN_MS: i64 = 100;

/// The two clocks of which only one counts suspend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clocks {
    /// Counts suspend.
    pub(crate) boot_time: Duration,
    /// Does not.
    pub(crate) monotonic: Duration,
}

impl Clocks {
    /// What grows by a suspend alone, in milliseconds. In a time namespace, which may set back either, it may be
    /// below zero.
    fn apart_ms(self) -> i64 {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        ms(self.boot_time) - ms(self.monotonic)
    }
}

/// What is known of the machine's resumes.
#[derive(Debug, Default)]
pub(crate) struct Resumes {
    /// How far the clocks were apart at the last look.
    apart_ms: Option<i64>,
    /// When it last resumed, by the clock that counts suspend.
    last: Option<Duration>,
    count: u64,
}

impl Resumes {
    /// Looks at the clocks, and tells whether the machine was suspended since the last look.
    pub(crate) fn look(&mut self, clocks: Clocks) -> bool {
        let apart_ms = clocks.apart_ms();
        let before = *self.apart_ms.get_or_insert(apart_ms);
        if apart_ms < before + SUSPEND_MIN_MS {
            return false;
        }
        self.apart_ms = Some(apart_ms);
        self.last = Some(clocks.boot_time);
        self.count += 1;
        true
    }

    /// Returns how many resumes were seen.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Returns the seconds since the last resume that was seen, rounded up.
    pub(crate) fn since_resume_secs(&self, clocks: Clocks) -> Option<u64> {
        self.last.map(|last| secs_up(clocks.boot_time.saturating_sub(last)))
    }
}

/// Rounds up to whole seconds, so that an age is never told too short.
pub(crate) fn secs_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(boot_time_ms: u64, monotonic_ms: u64) -> Clocks {
        Clocks {
            boot_time: Duration::from_millis(boot_time_ms),
            monotonic: Duration::from_millis(monotonic_ms),
        }
    }

    #[test]
    fn a_resume_is_what_makes_the_clocks_differ_more() {
        let mut resumes = Resumes::default();
        // It had been suspended before the agent started, nobody knows when.
        assert!(!resumes.look(clocks(100_000, 70_000)));
        // Time passes; the clock was set, which neither of the two notices.
        assert!(!resumes.look(clocks(200_000, 170_000)));
        assert_eq!((resumes.count(), resumes.since_resume_secs(clocks(200_000, 170_000))), (0, None));
        // A minute of suspend.
        assert!(resumes.look(clocks(270_500, 180_500)));
        assert_eq!(resumes.since_resume_secs(clocks(270_500, 180_500)), Some(0));
        assert_eq!(resumes.since_resume_secs(clocks(271_501, 181_501)), Some(2));
        assert!(!resumes.look(clocks(280_000, 190_000)));
        assert!(resumes.look(clocks(290_000, 190_100)));
        assert_eq!(resumes.count(), 2);
    }

    #[test]
    fn the_moment_between_two_readings_is_no_suspend() {
        let mut resumes = Resumes::default();
        assert!(!resumes.look(clocks(1_000, 1_000)));
        for late in 0..100 {
            assert!(!resumes.look(clocks(2_000 + late, 2_000)), "{late} ms");
        }
        assert!(resumes.look(clocks(2_100, 2_000)));
    }

    #[test]
    fn a_time_namespace_may_have_set_back_a_clock() {
        let mut resumes = Resumes::default();
        assert!(!resumes.look(clocks(5_000, 900_000)));
        assert!(!resumes.look(clocks(6_000, 901_000)));
        assert!(resumes.look(clocks(37_000, 902_000)));
        assert_eq!(resumes.since_resume_secs(clocks(38_000, 903_000)), Some(1));
    }

    #[test]
    fn ages_are_rounded_up() {
        for (ms, secs) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(secs_up(Duration::from_millis(ms)), secs, "{ms}");
        }
    }
}
