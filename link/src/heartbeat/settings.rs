//! Between which bounds a heartbeat is looked for, and what was found.

use serde::{Deserialize, Serialize};

/// Bounds and steps of the search, in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatSettings {
    /// What is asked first on a network that is not known.
    pub initial_secs: u32,
    /// What every network is trusted to bear.
    pub minimum_secs: u32,
    /// What is never exceeded.
    pub maximum_secs: u32,
    /// How much longer than the last safe interval the next try is.
    pub step_secs: u32,
}

impl Default for HeartbeatSettings {
    /// 300 s, between 60 s and 1,200 s, by steps of 240 s.
    fn default() -> Self {
        Self { initial_secs: 300, minimum_secs: 60, maximum_secs: 1_200, step_secs: 240 }
    }
}

impl HeartbeatSettings {
    /// Returns the same, bounded by the broker too. Where no interval would be left, the broker's word counts.
    #[must_use]
    pub fn bounded(mut self, minimum_secs: u32, maximum_secs: u32) -> Self {
        let maximum_secs = maximum_secs.max(minimum_secs);
        self.minimum_secs = self.minimum_secs.clamp(minimum_secs, maximum_secs);
        self.maximum_secs = self.maximum_secs.clamp(minimum_secs, maximum_secs);
        self.in_order()
    }

    /// Returns settings that hold together: no interval of 0, and the initial one within the bounds.
    pub(super) fn in_order(mut self) -> Self {
        self.minimum_secs = self.minimum_secs.max(1);
        self.maximum_secs = self.maximum_secs.max(self.minimum_secs);
        self.initial_secs = self.clamp(self.initial_secs);
        self
    }

    pub(super) fn clamp(&self, secs: u32) -> u32 {
        secs.clamp(self.minimum_secs, self.maximum_secs)
    }
}

/// What is known of the heartbeat that a network bears over one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// The interval that is asked for, in seconds.
    pub interval_secs: u32,
    /// Whether the network has borne it.
    pub proven: bool,
    /// How often in a row it had no answer since.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub silences: u8,
    /// When a raise failed, in milliseconds since 1970: none is tried for 7 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raise_failed_ms: Option<u64>,
}

impl Learned {
    /// Returns what is known where an interval was answered, and nothing else has happened.
    pub fn proven(interval_secs: u32) -> Self {
        Self { interval_secs, proven: true, silences: 0, raise_failed_ms: None }
    }
}

fn is_zero(count: &u8) -> bool {
    *count == 0
}
