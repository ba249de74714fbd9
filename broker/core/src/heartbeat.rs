//! Keep-alive: how long a quiet connection may stay quiet.

use crate::End;
use crate::packet::ReasonCode;

/// Watches one connection's keep-alive (MQTT 5 §3.1.2.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    keep_alive_secs: u16,
    heard_ms: u64,
}

impl Heartbeat {
    /// Starts watching; of what the client wants and the broker's maximum the shorter counts, 0 is the maximum.
    pub fn new(wanted_secs: u16, max_secs: u16, now_ms: u64) -> Self {
        let keep_alive_secs = if wanted_secs == 0 { max_secs } else { wanted_secs.min(max_secs) };
        Self { keep_alive_secs, heard_ms: now_ms }
    }

    /// Returns the keep-alive that is in force, in seconds.
    pub fn keep_alive_secs(&self) -> u16 {
        self.keep_alive_secs
    }

    /// Notes that a packet came.
    pub fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
    }

    /// Returns when the connection is to be ended if nothing more comes: after one and a half times the
    /// keep-alive.
    pub fn deadline_ms(&self) -> u64 {
        self.heard_ms + u64::from(self.keep_alive_secs) * 1500
    }

    /// Returns why the connection is to be ended, if the keep-alive has run out.
    pub fn end(&self, now_ms: u64) -> Option<End> {
        let text = "nothing came for one and a half times the keep-alive";
        (now_ms >= self.deadline_ms()).then(|| End::new(ReasonCode::KeepAliveTimeout, text))
    }
}
