//! Source addresses that hammer wrong secrets: their refusals come later and later.
//!
//! Only refusals are delayed. Many agents share one address behind a NAT: who gives the right secret is let in at
//! once, whatever its neighbours do.

use std::collections::{BTreeMap, HashMap};

use crate::Source;

/// How many wrong secrets of a source are refused at once.
const FREE: u32 = 3;
/// The first delay, in milliseconds; each further wrong secret doubles it.
const DELAY_FIRST_MS: u64 = 1_000;
/// The longest delay, in milliseconds.
const DELAY_MAX_MS: u64 = 30_000;
/// After how long without a wrong secret a source is forgotten, in milliseconds.
const QUIET_MS: u64 = 600_000;
/// Most sources that are remembered; the one that was quiet for longest is forgotten for a new one.
const SOURCES_MAX: usize = 10_000;
/// Most refusals of one source that are delayed at a time; one more is not answered at all.
const DELAYED_MAX: usize = 16;
/// Most refusals of all sources that are delayed at a time, because each of them keeps a connection open.
const DELAYED_TOTAL_MAX: usize = 1_024;

/// What is to be done about a wrong secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Penalty {
    /// Refuse it.
    Refuse,
    /// Refuse it after so many milliseconds, and call [`Throttle::delayed_is_over`] then.
    Delay(u64),
    /// Close without an answer: enough refusals are being delayed.
    Close,
}

/// What a wrong secret leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What is to be done about it.
    pub penalty: Penalty,
    /// How many wrong secrets the source has given, if a person should be told: at the first delay, and then each
    /// time that their number has doubled.
    pub alert: Option<u32>,
}

#[derive(Debug)]
struct Known {
    wrong: u32,
    delayed: usize,
    /// Its place in [`Throttle::by_age`].
    place: (u64, u64),
}

/// Remembers who gave wrong secrets.
#[derive(Debug, Default)]
pub struct Throttle {
    sources: HashMap<Source, Known>,
    /// The same sources by the time of their last wrong secret, and a number that tells equal times apart.
    by_age: BTreeMap<(u64, u64), Source>,
    numbered: u64,
    delayed: usize,
}

impl Throttle {
    /// Judges a wrong secret.
    pub fn wrong(&mut self, source: Source, now_ms: u64) -> Judged {
        self.forget_quiet(now_ms);
        let (wrong, delayed) = match self.sources.get(&source) {
            Some(known) => {
                self.by_age.remove(&known.place);
                (known.wrong.saturating_add(1), known.delayed)
            }
            None => {
                self.make_room();
                (1, 0)
            }
        };
        let penalty = if wrong <= FREE {
            Penalty::Refuse
        } else if delayed >= DELAYED_MAX || self.delayed >= DELAYED_TOTAL_MAX {
            Penalty::Close
        } else {
            Penalty::Delay(delay_ms(wrong))
        };
        let begun = usize::from(matches!(penalty, Penalty::Delay(_)));
        self.numbered += 1;
        let place = (now_ms, self.numbered);
        self.by_age.insert(place, source);
        self.sources.insert(source, Known { wrong, delayed: delayed + begun, place });
        self.delayed += begun;
        let alert = (wrong > FREE && wrong.is_power_of_two()).then_some(wrong);
        Judged { penalty, alert }
    }

    /// Notes that a delayed refusal has been given, or that its connection has ended.
    pub fn delayed_is_over(&mut self, source: Source) {
        self.delayed = self.delayed.saturating_sub(1);
        // It may have been forgotten meanwhile, and even come back.
        if let Some(known) = self.sources.get_mut(&source) {
            known.delayed = known.delayed.saturating_sub(1);
        }
    }

    /// Returns how many sources are remembered.
    pub fn sources(&mut self, now_ms: u64) -> usize {
        self.forget_quiet(now_ms);
        self.sources.len()
    }

    fn forget_quiet(&mut self, now_ms: u64) {
        while let Some(oldest) = self.by_age.first_entry()
            && oldest.key().0 + QUIET_MS <= now_ms
        {
            self.sources.remove(&oldest.remove());
        }
    }

    fn make_room(&mut self) {
        while self.sources.len() >= SOURCES_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.sources.remove(&oldest);
        }
    }
}

fn delay_ms(wrong: u32) -> u64 {
    let doublings = wrong.saturating_sub(FREE + 1).min(DELAY_MAX_MS.ilog2());
    (DELAY_FIRST_MS << doublings).min(DELAY_MAX_MS)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn three_are_free_and_then_the_delay_doubles_up_to_its_most() {
        let mut throttle = Throttle::default();
        let (bad, other) = (source("192.0.2.1"), source("192.0.2.2"));
        let mut now_ms = 5_000;
        for delay in [0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30] {
            let expected = if delay == 0 { Penalty::Refuse } else { Penalty::Delay(delay * 1000) };
            assert_eq!(throttle.wrong(bad, now_ms).penalty, expected);
            if delay > 0 {
                throttle.delayed_is_over(bad);
            }
            now_ms += delay * 1000;
        }
        assert_eq!(throttle.wrong(other, now_ms).penalty, Penalty::Refuse, "nobody else is concerned");
        assert_eq!(throttle.sources(now_ms), 2);
        assert_eq!(throttle.sources(now_ms + QUIET_MS), 0);
        assert_eq!(throttle.wrong(bad, now_ms + QUIET_MS).penalty, Penalty::Refuse, "it was quiet");
    }

    #[test]
    fn a_source_that_goes_on_is_not_forgotten_and_is_told_of_rarely() {
        let mut throttle = Throttle::default();
        let bad = source("2001:db8::1");
        let alerts: Vec<_> = (0..1000)
            .filter_map(|n| {
                let judged = throttle.wrong(bad, n * (QUIET_MS - 1));
                throttle.delayed_is_over(bad);
                judged.alert
            })
            .collect();
        assert_eq!(alerts, [4, 8, 16, 32, 64, 128, 256, 512]);
    }

    #[test]
    fn only_so_many_refusals_are_delayed_at_a_time() {
        let mut throttle = Throttle::default();
        let bad = source("192.0.2.1");
        let penalties: Vec<_> =
            (0..FREE as usize + DELAYED_MAX + 2).map(|_| throttle.wrong(bad, 0).penalty).collect();
        let delayed = penalties.iter().filter(|penalty| matches!(penalty, Penalty::Delay(_))).count();
        assert_eq!(delayed, DELAYED_MAX);
        assert_eq!(penalties[FREE as usize + DELAYED_MAX..], [Penalty::Close; 2]);
        throttle.delayed_is_over(bad);
        assert_eq!(throttle.wrong(bad, 1).penalty, Penalty::Delay(DELAY_MAX_MS));
        assert_eq!(throttle.wrong(bad, 1).penalty, Penalty::Close);

        let mut begun = DELAYED_MAX;
        for n in 0..1000 {
            let one = Source::V6(n);
            for _ in 0..10 {
                begun += usize::from(matches!(throttle.wrong(one, 2).penalty, Penalty::Delay(_)));
            }
        }
        assert_eq!(begun, DELAYED_TOTAL_MAX);
    }

    #[test]
    fn the_table_is_bounded_and_the_one_that_was_quiet_for_longest_goes() {
        let mut throttle = Throttle::default();
        let most = SOURCES_MAX as u64;
        for n in 0..most {
            throttle.wrong(Source::V6(n), n);
        }
        throttle.wrong(Source::V6(0), most);
        throttle.wrong(Source::V6(most), most);
        assert_eq!(throttle.sources(most), SOURCES_MAX);
        assert!(throttle.sources.contains_key(&Source::V6(0)), "it spoke again");
        assert!(!throttle.sources.contains_key(&Source::V6(1)));
        assert_eq!(throttle.by_age.len(), throttle.sources.len());
    }

    /// Whatever comes in whatever order, both tables hold the same, and no delay is longer than it may be.
    #[test]
    fn both_tables_agree() {
        let mut throttle = Throttle::default();
        let mut seed = 12_345_u64;
        for step in 0..20_000_u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let source = Source::V6((seed >> 33) % 50);
            if seed >> 63 == 0 {
                let judged = throttle.wrong(source, step * ((seed >> 40) % 3) * 1_000);
                assert!(!matches!(judged.penalty, Penalty::Delay(ms) if ms > DELAY_MAX_MS));
            } else {
                throttle.delayed_is_over(source);
            }
            assert_eq!(throttle.by_age.len(), throttle.sources.len());
            assert!(throttle.by_age.values().all(|source| throttle.sources.contains_key(source)));
        }
    }
}
