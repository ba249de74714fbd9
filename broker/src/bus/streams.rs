//! The streams of the bus: one for each kind of event and each first segment of a group.
//!
//! Neither topics nor filters of the router are ever freed, so their number has a bound: segments above it share one
//! stream of each kind, and links that follow one of them sort out what is not theirs.

use std::collections::HashMap;

use bytes::Bytes;
use wakemq_core::{Interest, Place};
use wakemq_protocol::{EventKind, GroupPath};

/// Most segments that have streams of their own.
const SEGMENTS_MAX: usize = 1_024;
/// How many kinds there are.
const KINDS: usize = EventKind::ALL.len();
/// The root's place; groups begin with a letter or a digit.
const ROOT: &str = "~root";
/// The place of all segments above the bound.
const REST: &str = "~rest";

/// The streams of one place, one for each kind.
#[derive(Debug)]
struct Streams {
    topics: [Bytes; KINDS],
    /// The number of the last event of each.
    numbers: [u64; KINDS],
}

impl Streams {
    fn new(place: &str) -> Self {
        Self {
            topics: EventKind::ALL.map(|kind| format!("{}/{place}", kind.as_str()).into()),
            numbers: [0; KINDS],
        }
    }
}

/// All streams, with their numbers; they live longer than any router.
#[derive(Debug)]
pub(super) struct AllStreams {
    root: Streams,
    rest: Streams,
    segments: HashMap<Box<str>, Streams>,
}

impl Default for AllStreams {
    fn default() -> Self {
        Self { root: Streams::new(ROOT), rest: Streams::new(REST), segments: HashMap::new() }
    }
}

impl AllStreams {
    /// Takes the next number of the stream of an event, and its topic on the bus.
    pub(super) fn next(&mut self, kind: EventKind, group: &GroupPath) -> (Bytes, u64) {
        let streams = match group.segments().next() {
            Some(segment) => self.of_segment(segment),
            None => &mut self.root,
        };
        let at = index(kind);
        streams.numbers[at] += 1;
        (streams.topics[at].clone(), streams.numbers[at])
    }

    /// Passes over one number in every stream that had an event.
    pub(super) fn skip_one(&mut self) {
        let places = [&mut self.root, &mut self.rest].into_iter().chain(self.segments.values_mut());
        places.flat_map(|streams| &mut streams.numbers).filter(|last| **last > 0).for_each(|last| *last += 1);
    }

    /// Returns the router's filter for an interest: for its own stream, or for all of its kind.
    pub(super) fn filter(&mut self, interest: &Interest) -> String {
        let at = index(interest.kind);
        let topic = match &interest.place {
            Place::Everywhere => return format!("{}/+", interest.kind.as_str()),
            Place::Root => &self.root.topics[at],
            Place::Segment(segment) => &self.of_segment(segment).topics[at],
        };
        String::from_utf8_lossy(topic).into_owned()
    }

    /// Returns the last number of every stream that a filter of the router gives.
    pub(super) fn numbers(&self, filter: &str) -> Vec<(Bytes, u64)> {
        let all = [&self.root, &self.rest].into_iter().chain(self.segments.values());
        let all = all.flat_map(|streams| streams.topics.iter().cloned().zip(streams.numbers));
        all.filter(|(topic, last)| *last > 0 && covers(filter, topic)).collect()
    }

    fn of_segment(&mut self, segment: &str) -> &mut Streams {
        if !self.segments.contains_key(segment) {
            if self.segments.len() >= SEGMENTS_MAX {
                return &mut self.rest;
            }
            self.segments.insert(segment.into(), Streams::new(segment));
        }
        self.segments.get_mut(segment).unwrap_or(&mut self.rest)
    }
}

/// Tells whether a filter of the router gives a stream.
pub(super) fn covers(filter: &str, topic: &[u8]) -> bool {
    match filter.strip_suffix('+') {
        Some(kind) => topic.starts_with(kind.as_bytes()),
        None => topic == filter.as_bytes(),
    }
}

fn index(kind: EventKind) -> usize {
    match kind {
        EventKind::Presence => 0,
        EventKind::Command => 1,
        EventKind::Power => 2,
        EventKind::Report => 3,
        EventKind::Security => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(streams: &mut AllStreams, group: &str) -> (String, u64) {
        let (topic, number) = streams.next(EventKind::Command, &group.parse().unwrap());
        (String::from_utf8(topic.to_vec()).unwrap(), number)
    }

    fn filter(streams: &mut AllStreams, place: Place) -> String {
        streams.filter(&Interest { kind: EventKind::Command, place })
    }

    #[test]
    fn each_kind_and_first_segment_counts_for_itself() {
        let mut streams = AllStreams::default();
        assert_eq!(next(&mut streams, "a/paris"), ("command/a".into(), 1));
        assert_eq!(next(&mut streams, "a"), ("command/a".into(), 2));
        assert_eq!(next(&mut streams, "b"), ("command/b".into(), 1));
        assert_eq!(next(&mut streams, ""), ("command/~root".into(), 1));
        let (topic, number) = streams.next(EventKind::Security, &"a".parse().unwrap());
        assert_eq!((&topic[..], number), (&b"security/a"[..], 1));
        streams.skip_one();
        assert_eq!(next(&mut streams, "a"), ("command/a".into(), 4));
        assert_eq!(streams.next(EventKind::Power, &"a".parse().unwrap()).1, 1, "it had none to lose");
    }

    #[test]
    fn the_kinds_are_numbered_as_they_are_listed() {
        let places: Vec<_> = EventKind::ALL.into_iter().map(index).collect();
        assert_eq!(places, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn filters_give_the_streams_of_their_place() {
        let mut streams = AllStreams::default();
        for group in ["", "a", "b", "b"] {
            next(&mut streams, group);
        }
        for (place, expected) in [
            (Place::Everywhere, &[("command/a", 1), ("command/b", 2), ("command/~root", 1)][..]),
            (Place::Root, &[("command/~root", 1)]),
            (Place::Segment("b".into()), &[("command/b", 2)]),
            (Place::Segment("c".into()), &[]),
        ] {
            let filter = filter(&mut streams, place);
            let mut found = streams.numbers(&filter);
            found.sort();
            let expected: Vec<_> =
                expected.iter().map(|(topic, last)| (Bytes::from(*topic), *last)).collect();
            assert_eq!(found, expected, "{filter}");
        }
    }

    #[test]
    fn segments_above_the_bound_share_a_stream() {
        let mut streams = AllStreams::default();
        for n in 0..SEGMENTS_MAX {
            assert_eq!(next(&mut streams, &format!("s{n}")), (format!("command/s{n}"), 1));
        }
        assert_eq!(next(&mut streams, "x"), ("command/~rest".into(), 1));
        assert_eq!(next(&mut streams, "y"), ("command/~rest".into(), 2));
        assert_eq!(filter(&mut streams, Place::Segment("y".into())), "command/~rest");
        assert_eq!(next(&mut streams, "s7"), ("command/s7".into(), 2));
    }
}
