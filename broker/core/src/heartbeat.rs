//! How long a connection may stay quiet: by its keep-alive, and while an acknowledgement is awaited.

use crate::End;
use crate::packet::ReasonCode;

/// How long a peer may stay silent that was sent something which it acknowledges, in milliseconds.
const ACKNOWLEDGEMENT_MS: u64 = 20_000;

/// Watches one connection: its keep-alive (MQTT 5 §3.1.2.10), and whether the peer still answers.
///
/// A connection may be dead without being closed: the peer's network has gone, and nothing says so. The keep-alive finds
/// that out late, for it is long. So whoever was sent something which it acknowledges has 20 s, from then or from
/// whatever it sent last, and is taken for dead if it says nothing in them. One that is dead is never heard, and for
/// that one it is 20 s from what it was sent. One that lives may withhold an acknowledgement, as an agent
/// does whose journal is full; it stays as long as it is heard, by a ping if nothing else. Were it ended too,
/// it would come back, be sent the same again, and so for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    keep_alive_secs: u16,
    /// Something was sent that is not acknowledged yet.
    awaits: bool,
    /// The timer is not set to what is due now.
    moved: bool,
    /// When the oldest of it was sent, counted from `heard_ms`; 0 if the peer was heard after that.
    sent_after_ms: u32,
    heard_ms: u64,
}

impl Heartbeat {
    /// Starts watching; of what the client wants and the broker's maximum the shorter counts, 0 is the maximum.
    pub fn new(wanted_secs: u16, max_secs: u16, now_ms: u64) -> Self {
        let keep_alive_secs = if wanted_secs == 0 { max_secs } else { wanted_secs.min(max_secs) };
        Self { keep_alive_secs, awaits: false, moved: false, sent_after_ms: 0, heard_ms: now_ms }
    }

    /// Returns the keep-alive that is in force, in seconds.
    pub fn keep_alive_secs(&self) -> u16 {
        self.keep_alive_secs
    }

    /// Notes that a packet came.
    pub fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        self.sent_after_ms = 0;
    }

    /// Notes that something was sent which the peer acknowledges.
    pub fn sent(&mut self, now_ms: u64) {
        if !self.awaits {
            self.awaits = true;
            self.moved = true;
            let after_ms = now_ms.saturating_sub(self.heard_ms);
            // The keep-alive is over before it overflows.
            self.sent_after_ms = u32::try_from(after_ms).unwrap_or(u32::MAX);
        }
    }

    /// Notes that all that was sent is acknowledged.
    pub fn acknowledged(&mut self) {
        self.moved |= std::mem::take(&mut self.awaits);
        self.sent_after_ms = 0;
    }

    /// Returns when the connection is to be ended if nothing more comes: after one and a half times the keep-alive,
    /// or sooner if an acknowledgement is awaited.
    pub fn deadline_ms(&self) -> u64 {
        self.keep_alive_ends_ms().min(self.answer_due_ms().unwrap_or(u64::MAX))
    }

    /// Takes the deadline if the timer has to be set anew for it, because it may have come nearer.
    ///
    /// One that only moves away with each packet is not told: the timer fires, and is set anew then.
    pub fn poll_rearm(&mut self) -> Option<u64> {
        std::mem::take(&mut self.moved).then(|| self.deadline_ms())
    }

    /// Returns why the connection is to be ended, if it is.
    pub fn end(&self, now_ms: u64) -> Option<End> {
        if now_ms < self.deadline_ms() {
            return None;
        }
        let keep_alive_ends_ms = self.keep_alive_ends_ms();
        Some(match self.answer_due_ms() {
            Some(due_ms) if due_ms < keep_alive_ends_ms => End::new(
                ReasonCode::ImplementationSpecificError,
                "it was sent a command, and nothing came for 20 s",
            ),
            Some(_) | None => {
                End::new(ReasonCode::KeepAliveTimeout, "nothing came for one and a half times the keep-alive")
            }
        })
    }

    fn keep_alive_ends_ms(&self) -> u64 {
        self.heard_ms + u64::from(self.keep_alive_secs) * 1500
    }

    /// When the peer must have been heard at the latest, if an acknowledgement is awaited.
    fn answer_due_ms(&self) -> Option<u64> {
        self.awaits.then(|| self.heard_ms + u64::from(self.sent_after_ms) + ACKNOWLEDGEMENT_MS)
    }
}
