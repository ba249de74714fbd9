//! What an operator's link has missed, told by the numbers of the streams.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::streams::covers;

/// Which number comes next in each stream of one link.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    next: HashMap<Bytes, u64>,
    /// Filters from which nothing may be missing any more.
    counted: BTreeSet<String>,
}

impl Gaps {
    /// Tells which filters are followed from now on; what comes of others is forgotten.
    pub(super) fn keep(&mut self, filters: &BTreeSet<String>) {
        self.counted.retain(|filter| filters.contains(filter));
        self.next.retain(|stream, _| filters.iter().any(|filter| covers(filter, stream)));
    }

    /// Counts on everything of these filters from now on. `numbers` gives the last numbers of a filter's streams.
    pub(super) fn count(&mut self, filters: &BTreeSet<String>, numbers: impl Fn(&str) -> Vec<(Bytes, u64)>) {
        for filter in filters.difference(&self.counted) {
            for (stream, last) in numbers(filter) {
                self.next.entry(stream).or_insert(last + 1);
            }
        }
        self.counted.clone_from(filters);
    }

    /// Takes the number of an event, and returns how many are missing before it.
    pub(super) fn take(&mut self, stream: &Bytes, number: u64) -> u64 {
        match self.next.get_mut(stream) {
            Some(next) => {
                let missing = number.saturating_sub(*next);
                *next = (*next).max(number + 1);
                missing
            }
            None => {
                // A stream that did not exist when its filter began to count begins with 1.
                let counted = self.counted.iter().any(|filter| covers(filter, stream));
                self.next.insert(stream.clone(), number + 1);
                if counted { number - 1 } else { 0 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Bytes = Bytes::from_static(b"command/a");
    const B: Bytes = Bytes::from_static(b"command/b");

    fn filters(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|filter| (*filter).to_owned()).collect()
    }

    #[test]
    fn what_is_missing_between_two_events_is_told() {
        let mut gaps = Gaps::default();
        gaps.count(&filters(&["command/+"]), |_| vec![(A, 4)]);
        assert_eq!([gaps.take(&A, 5), gaps.take(&A, 6), gaps.take(&A, 9), gaps.take(&A, 10)], [0, 0, 2, 0]);
        assert_eq!(gaps.take(&B, 3), 2, "a stream that began meanwhile");
        assert_eq!(gaps.take(&B, 4), 0);
    }

    #[test]
    fn what_was_on_its_way_when_it_began_is_not_missing() {
        let mut gaps = Gaps::default();
        assert_eq!(gaps.take(&A, 7), 0, "before anything was counted on");
        gaps.count(&filters(&["command/a"]), |_| vec![(A, 9)]);
        assert_eq!(gaps.take(&A, 9), 1, "one that was numbered before");
        let mut gaps = Gaps::default();
        gaps.count(&filters(&["command/a"]), |_| vec![(A, 9)]);
        assert_eq!([gaps.take(&A, 8), gaps.take(&A, 9), gaps.take(&A, 10), gaps.take(&A, 12)], [0, 0, 0, 1]);
    }

    #[test]
    fn what_was_not_followed_is_not_missing() {
        let mut gaps = Gaps::default();
        gaps.count(&filters(&["command/a", "command/b"]), |_| Vec::new());
        assert_eq!([gaps.take(&A, 1), gaps.take(&B, 1)], [0, 0]);
        gaps.keep(&filters(&["command/a"]));
        gaps.count(&filters(&["command/a"]), |_| panic!("nothing is new"));
        gaps.keep(&filters(&["command/+"]));
        gaps.count(&filters(&["command/+"]), |_| vec![(A, 3), (B, 20)]);
        assert_eq!(gaps.take(&A, 4), 2, "it was followed all the time");
        assert_eq!(gaps.take(&B, 21), 0);
    }
}
