//! One timer structure for all connections.
//!
//! A parked connection has one reason to be woken (its heartbeat) and mostly it is not: the timer is moved on each
//! packet, and hardly ever fires. So moving it must cost nothing. The owner keeps its true deadline to itself,
//! lets the entry fire at the old one, and answers by inserting the new one. Only a *sooner* deadline needs
//! [`Wheel::rearm`].
//!
//! The wheel is pure: it is told the time. Entries lie in one vector and are linked into slots by index.

/// Names an entry of a [`Wheel`]; worth nothing after the entry fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(u32);

const NONE: u32 = u32::MAX;
const SLOTS: usize = 4096;

/// 24 bytes for keys of 8, in use or free.
#[derive(Debug)]
struct Entry<K> {
    /// `None` in a free entry, whose `next` is then the next free one.
    key: Option<K>,
    due_tick: u32,
    prev: u32,
    next: u32,
}

/// A hashed timer wheel (one level, 4,096 slots) that never fires early, and late by less than one tick.
///
/// Time is in milliseconds since any beginning, up to 2^32 ticks. `K` should be small: a connection's number. For
/// 24 bytes an entry, let it have a niche (`NonZeroU64`).
///
/// Deadlines farther than a turn of the wheel stay in their slot and are passed over.
#[derive(Debug)]
pub struct Wheel<K> {
    tick_ms: u64,
    /// All entries due up to this tick have fired.
    now_tick: u32,
    heads: Box<[u32]>,
    entries: Vec<Entry<K>>,
    free: u32,
    len: usize,
}

impl<K: Copy + PartialEq> Wheel<K> {
    /// Makes an empty wheel that begins at `now_ms`.
    pub fn new(tick_ms: u64, now_ms: u64) -> Self {
        let mut wheel = Self {
            tick_ms: tick_ms.max(1),
            now_tick: 0,
            heads: vec![NONE; SLOTS].into_boxed_slice(),
            entries: Vec::new(),
            free: NONE,
            len: 0,
        };
        wheel.now_tick = wheel.tick_before(now_ms);
        wheel
    }

    /// Returns how many entries wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether no entry waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry that fires at the first [`advance`](Self::advance) at or after `deadline_ms`.
    ///
    /// A deadline in the past fires with the next tick.
    pub fn insert(&mut self, key: K, deadline_ms: u64) -> TimerId {
        let due_tick = self.due_tick(deadline_ms);
        let entry = Entry { key: Some(key), due_tick, prev: NONE, next: NONE };
        let at = if self.free == NONE {
            // 2^32 connections fit into no machine; the index is checked by the conversion all the same.
            let at = u32::try_from(self.entries.len()).unwrap_or(NONE);
            self.entries.push(entry);
            at
        } else {
            let at = self.free;
            self.free = self.entries[at as usize].next;
            self.entries[at as usize] = entry;
            at
        };
        self.link(at);
        self.len += 1;
        TimerId(at)
    }

    /// Moves an entry to another deadline, sooner or later.
    ///
    /// Returns `false`, and changes nothing, if the entry fired meanwhile: then it must be inserted anew.
    pub fn rearm(&mut self, id: TimerId, key: K, deadline_ms: u64) -> bool {
        if !self.holds(id, key) {
            return false;
        }
        self.unlink(id.0);
        self.entries[id.0 as usize].due_tick = self.due_tick(deadline_ms);
        self.link(id.0);
        true
    }

    /// Removes an entry. Returns `false` if it is gone already.
    pub fn cancel(&mut self, id: TimerId, key: K) -> bool {
        let held = self.holds(id, key);
        if held {
            self.unlink(id.0);
            self.release(id.0);
        }
        held
    }

    /// Removes every entry that is due by `now_ms` and adds its key to `expired`, in no
    /// particular order.
    ///
    /// A clock that goes back changes nothing.
    pub fn advance(&mut self, now_ms: u64, expired: &mut Vec<K>) {
        let target = self.tick_before(now_ms);
        if target <= self.now_tick {
            return;
        }
        // After a long sleep each slot need be visited only once.
        let turns = (target - self.now_tick).min(u32::try_from(SLOTS).unwrap_or(u32::MAX));
        let first = self.now_tick + 1;
        self.now_tick = target;
        for tick in first..=first + (turns - 1) {
            let mut at = self.heads[slot(tick)];
            while at != NONE {
                let Entry { key, due_tick, next, .. } = self.entries[at as usize];
                if due_tick <= target {
                    self.unlink(at);
                    self.release(at);
                    expired.extend(key);
                }
                at = next;
            }
        }
        if self.len == 0 {
            // What a storm of connections needed is given back when it is over.
            self.entries = Vec::new();
            self.free = NONE;
        }
    }

    /// Returns a time at or before which nothing fires and at which it is worth to [`advance`](Self::advance);
    /// `None` while the wheel is empty.
    pub fn next(&self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        (1..=SLOTS as u64)
            .map(|ahead| u64::from(self.now_tick) + ahead)
            .find(|tick| self.heads[(tick % SLOTS as u64) as usize] != NONE)
            .map(|tick| tick * self.tick_ms)
    }

    fn tick_before(&self, ms: u64) -> u32 {
        u32::try_from(ms / self.tick_ms).unwrap_or(u32::MAX - 1)
    }

    fn due_tick(&self, deadline_ms: u64) -> u32 {
        let tick = u32::try_from(deadline_ms.div_ceil(self.tick_ms)).unwrap_or(u32::MAX - 1);
        tick.max(self.now_tick.saturating_add(1))
    }

    fn holds(&self, id: TimerId, key: K) -> bool {
        self.entries.get(id.0 as usize).is_some_and(|entry| entry.key == Some(key))
    }

    fn link(&mut self, at: u32) {
        let head = slot(self.entries[at as usize].due_tick);
        let next = std::mem::replace(&mut self.heads[head], at);
        let entry = &mut self.entries[at as usize];
        entry.prev = NONE;
        entry.next = next;
        if next != NONE {
            self.entries[next as usize].prev = at;
        }
    }

    fn unlink(&mut self, at: u32) {
        let Entry { due_tick, prev, next, .. } = self.entries[at as usize];
        if prev == NONE {
            self.heads[slot(due_tick)] = next;
        } else {
            self.entries[prev as usize].next = next;
        }
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
    }

    fn release(&mut self, at: u32) {
        let entry = &mut self.entries[at as usize];
        entry.key = None;
        entry.next = std::mem::replace(&mut self.free, at);
        self.len -= 1;
    }
}

fn slot(tick: u32) -> usize {
    tick as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::num::NonZeroU64;

    fn expired<K: Copy + PartialEq>(wheel: &mut Wheel<K>, now_ms: u64) -> Vec<K> {
        let mut keys = Vec::new();
        wheel.advance(now_ms, &mut keys);
        keys
    }

    #[test]
    fn an_entry_is_24_bytes() {
        assert!(size_of::<Entry<NonZeroU64>>() <= 24);
        assert!(size_of::<Entry<u64>>() <= 32);
    }

    #[test]
    fn fires_at_its_tick_and_once() {
        let mut wheel = Wheel::new(250, 1_000);
        wheel.insert('a', 2_001);
        assert_eq!(wheel.next(), Some(2_250));
        assert_eq!(expired(&mut wheel, 2_249), vec![]);
        assert_eq!(expired(&mut wheel, 2_250), vec!['a']);
        assert_eq!(expired(&mut wheel, 9_000), vec![]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_deadline_that_passed_fires_with_the_next_tick() {
        let mut wheel = Wheel::new(250, 10_000);
        wheel.insert('a', 0);
        assert_eq!(expired(&mut wheel, 10_249), vec![]);
        assert_eq!(expired(&mut wheel, 10_250), vec!['a']);
    }

    #[test]
    fn a_fired_or_cancelled_entry_cannot_touch_its_successor() {
        let mut wheel = Wheel::new(250, 0);
        let a = wheel.insert('a', 500);
        wheel.insert('z', 90_000);
        assert_eq!(expired(&mut wheel, 500), vec!['a']);
        let b = wheel.insert('b', 1_000);
        assert_eq!(a, b, "the place is used again");
        assert!(!wheel.cancel(a, 'a'));
        assert!(!wheel.rearm(a, 'a', 50_000));
        assert_eq!(expired(&mut wheel, 1_000), vec!['b']);
    }

    #[test]
    fn a_clock_that_goes_back_or_leaps_is_survived() {
        let mut wheel = Wheel::new(250, 5_000);
        wheel.insert('a', 6_000);
        wheel.insert('b', 100_000_000);
        assert_eq!(expired(&mut wheel, 0), vec![]);
        assert_eq!(expired(&mut wheel, 99_999_999), vec!['a']);
        assert_eq!(expired(&mut wheel, u64::MAX), vec!['b']);
        assert_eq!(wheel.entries.capacity(), 0, "an empty wheel owns no entries");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Rearm(usize, u64),
        Cancel(usize),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        // More than two turns of the wheel, so that deadlines share slots with nearer ones.
        let ahead = prop_oneof![0_u64..5_000, 0_u64..3_000_000];
        prop_oneof![
            4 => ahead.clone().prop_map(Step::Insert),
            2 => (any::<usize>(), ahead.clone()).prop_map(|(at, ms)| Step::Rearm(at, ms)),
            1 => any::<usize>().prop_map(Step::Cancel),
            3 => ahead.prop_map(Step::Advance),
        ]
    }

    proptest! {
        /// Against a sorted map: never early, late by less than a tick, each exactly once.
        #[test]
        fn agrees_with_a_sorted_map(steps in prop::collection::vec(step(), 1..80)) {
            let mut now = 777;
            let mut wheel = Wheel::new(250, now);
            let mut model: BTreeMap<u32, (TimerId, u64)> = BTreeMap::new();
            let mut made = 0;
            for step in steps {
                match step {
                    Step::Insert(ahead) => {
                        model.insert(made, (wheel.insert(made, now + ahead), now + ahead));
                        made += 1;
                    }
                    Step::Rearm(at, ahead) if !model.is_empty() => {
                        let key = model.keys().copied().nth(at % model.len()).unwrap();
                        let (id, deadline) = model.get_mut(&key).unwrap();
                        *deadline = now + ahead;
                        prop_assert!(wheel.rearm(*id, key, now + ahead));
                    }
                    Step::Cancel(at) if !model.is_empty() => {
                        let key = model.keys().copied().nth(at % model.len()).unwrap();
                        let (id, _) = model.remove(&key).unwrap();
                        prop_assert!(wheel.cancel(id, key));
                        prop_assert!(!wheel.cancel(id, key));
                    }
                    Step::Rearm(..) | Step::Cancel(_) => {}
                    Step::Advance(ahead) => {
                        let next = wheel.next();
                        now += ahead;
                        for key in expired(&mut wheel, now) {
                            let (_, deadline) = model.remove(&key).unwrap();
                            prop_assert!(deadline <= now, "early");
                            prop_assert!(next.is_some_and(|next| next <= now), "not announced");
                        }
                        let late = model.values().filter(|(_, deadline)| deadline + 250 <= now).count();
                        prop_assert_eq!(late, 0);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
