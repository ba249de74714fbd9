//! What was told lately, so that one cause does not drown all others.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// How long nothing more is told of the same, in milliseconds.
const QUIET_MS: u64 = 600_000;

/// Of what something was told lately: of the same once in ten minutes, and of so many different ones at most.
#[derive(Debug)]
pub(super) struct Quiet<K> {
    last_ms: Mutex<HashMap<K, u64>>,
    max: usize,
}

impl<K: Eq + Hash> Quiet<K> {
    /// Makes one that tells of at most `max` different ones within ten minutes.
    pub(super) fn new(max: usize) -> Self {
        Self { last_ms: Mutex::default(), max }
    }

    /// Tells whether it is time to tell of `key` again.
    pub(super) fn is_due(&self, key: K, now_ms: u64) -> bool {
        let mut last_ms = self.last_ms.lock();
        if last_ms.get(&key).is_some_and(|&last| now_ms < last + QUIET_MS) {
            return false;
        }
        if last_ms.len() >= self.max {
            last_ms.retain(|_, &mut last| now_ms < last + QUIET_MS);
        }
        if last_ms.len() >= self.max {
            return false;
        }
        last_ms.insert(key, now_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_in_ten_minutes() {
        let quiet = Quiet::new(100);
        assert!(quiet.is_due("a".to_owned(), 0));
        assert!(!quiet.is_due("a".to_owned(), QUIET_MS - 1));
        assert!(quiet.is_due("b".to_owned(), 1));
        assert!(quiet.is_due("a".to_owned(), QUIET_MS));
        for n in 0..200 {
            quiet.is_due(format!("{n}"), QUIET_MS);
        }
        assert!(quiet.last_ms.lock().len() <= 100);
    }
}
