//! Which sources come faster than their share of a rate.

use std::collections::{BTreeMap, HashMap};

use crate::Source;
use crate::admission::Admission;

/// Most sources that are remembered; the one that is nearest to being within its share is forgotten for a new one.
const SOURCES_MAX: usize = 10_000;

#[derive(Debug)]
struct Known {
    admission: Admission,
    /// Its place in [`Shares::by_due`].
    place: (u64, u64),
}

/// Gives every source the same rate, and tells who comes faster.
///
/// Only those are remembered who came lately: as soon as a source might come with a whole burst, it is as good as a new
/// one. Times are nanoseconds on any clock that does not go back.
#[derive(Debug)]
pub struct Shares {
    /// What a source that is not known begins with.
    fresh: Admission,
    sources: HashMap<Source, Known>,
    /// The same sources by when they are as good as new, and a number that tells equal times apart.
    by_due: BTreeMap<(u64, u64), Source>,
    numbered: u64,
}

impl Shares {
    /// Lets each source come `per_sec` times in a second, and `burst` times at once; neither is less than 1.
    pub fn new(per_sec: u32, burst: u32) -> Self {
        let fresh = Admission::new(per_sec, burst);
        Self { fresh, sources: HashMap::new(), by_due: BTreeMap::new(), numbered: 0 }
    }

    /// Tells whether an arrival is within its source's share; one that is not takes nothing from it.
    pub fn arrive(&mut self, source: Source, now_ns: u64) -> bool {
        self.forget_rested(now_ns);
        let (mut admission, place) = match self.sources.get(&source) {
            Some(known) => (known.admission, Some(known.place)),
            None => (self.fresh, None),
        };
        if admission.arrive(now_ns, 0).is_none() {
            return false;
        }
        match place {
            Some(place) => {
                self.by_due.remove(&place);
            }
            None => self.make_room(),
        }
        self.numbered += 1;
        let place = (admission.due_ns(), self.numbered);
        self.by_due.insert(place, source);
        self.sources.insert(source, Known { admission, place });
        true
    }

    fn forget_rested(&mut self, now_ns: u64) {
        while let Some(first) = self.by_due.first_entry()
            && first.key().0 <= now_ns
        {
            self.sources.remove(&first.remove());
        }
    }

    fn make_room(&mut self) {
        while self.sources.len() >= SOURCES_MAX
            && let Some((_, first)) = self.by_due.pop_first()
        {
            self.sources.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn each_source_has_a_rate_and_a_burst_of_its_own() {
        let mut shares = Shares::new(10, 3);
        let (one, other) = (Source::V6(1), Source::V6(2));
        let within = |shares: &mut Shares, source, now_ns| {
            (0..10).take_while(|_| shares.arrive(source, now_ns)).count()
        };
        assert_eq!((within(&mut shares, one, 0), within(&mut shares, other, 0)), (3, 3));
        assert_eq!(within(&mut shares, one, 99 * MS), 0);
        assert_eq!(within(&mut shares, one, 100 * MS), 1, "those that were too fast have taken nothing");
        assert_eq!(within(&mut shares, one, 10_000 * MS), 3);
    }

    #[test]
    fn a_source_that_rests_is_forgotten() {
        let mut shares = Shares::new(10, 3);
        for n in 0..100 {
            assert!(shares.arrive(Source::V6(n), 0));
        }
        assert_eq!((shares.sources.len(), shares.by_due.len()), (100, 100));
        shares.arrive(Source::V6(5), 99 * MS);
        shares.arrive(Source::V6(6), 100 * MS);
        assert_eq!((shares.sources.len(), shares.by_due.len()), (2, 2), "one goes on, and one came anew");
    }

    #[test]
    fn the_table_is_bounded_and_who_is_the_most_ahead_stays() {
        let mut shares = Shares::new(1, 10);
        let most = SOURCES_MAX as u64;
        let fast = Source::V6(0);
        (0..10).for_each(|_| assert!(shares.arrive(fast, 0)));
        for n in 1..2 * most {
            assert!(shares.arrive(Source::V6(n), n / most));
        }
        assert_eq!((shares.sources.len(), shares.by_due.len()), (SOURCES_MAX, SOURCES_MAX));
        assert!(!shares.arrive(fast, 2), "it is not forgotten");
    }

    /// Whatever comes in whatever order, both tables hold the same, and no source gets more than a burst and its rate.
    #[test]
    fn both_tables_agree_and_nobody_gets_more() {
        let mut shares = Shares::new(100, 5);
        let (mut seed, mut now_ns, mut got) = (12_345_u64, 0, [0_u64; 7]);
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            now_ns += (seed >> 40) % (3 * MS);
            let at = (seed >> 33) as usize % got.len();
            got[at] += u64::from(shares.arrive(Source::V6(at as u64), now_ns));
            assert_eq!(shares.by_due.len(), shares.sources.len());
            assert!(shares.by_due.values().all(|source| shares.sources.contains_key(source)));
        }
        let most = 5 + now_ns / (10 * MS);
        assert!(got.iter().all(|&got| got <= most), "{got:?} of {most}");
    }
}
