//! What the agent may do, judged without a look at its machines: the back-off, the pace of CONNECTs and of probes.

use wakemq_link::ladder::{Lost, Moment, Refusal, WayId};

use crate::scenario::HOUR_MS;

/// The first wait's bound, and the longest, in milliseconds.
const BASE_MS: f64 = 1_000.0;
const CAP_MS: f64 = 300_000.0;

/// By what the agent was told something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cause {
    /// An attempt went on or failed, or a timer.
    Attempt,
    Refused(Refusal),
    Lost(Lost),
    /// Another network, or a resume.
    Surroundings,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    failures: i32,
    /// No round may begin before, unless the surroundings have changed.
    allowed_ms: u64,
    surroundings_changed: bool,
    gave_up: bool,
    /// What was dialled in this round, and what of it goes on.
    dialled: Vec<WayId>,
    open: Vec<WayId>,
    /// When something was dialled last.
    dialled_ms: u64,
    was_busy: bool,
    /// When the surroundings changed, or a dead connection was given up.
    disturbed: Vec<u64>,
    /// When rounds began without regard to the back-off.
    free: Vec<u64>,
    /// When a CONNECT was sent that has no answer, and when one was given up.
    unanswered_ms: Option<u64>,
    abandoned_ms: Option<u64>,
    connected_ms: Option<u64>,
    probed: Vec<(WayId, u64)>,
}

impl Oracle {
    /// Something is told to the agent.
    pub(crate) fn told(&mut self, cause: Cause, now_ms: u64) {
        self.gave_up = false;
        if cause == Cause::Surroundings {
            self.disturbed.push(now_ms);
        }
        if cause == Cause::Surroundings && self.connected_ms.is_none() {
            self.surroundings_changed = true;
        }
    }

    /// The agent gives up a way by itself. Where that is for the surroundings, a new round follows.
    pub(crate) fn cancelled(&mut self, way: WayId, was_connecting: bool, now_ms: u64) {
        self.over(way, was_connecting, now_ms);
        if self.disturbed.last() == Some(&now_ms) && self.open.is_empty() {
            self.dialled.clear();
        }
    }

    pub(crate) fn dialled(&mut self, way: WayId, now_ms: u64) {
        assert!(self.connected_ms.is_none(), "dialled beside a connection");
        if self.dialled.is_empty() {
            if now_ms < self.allowed_ms {
                assert!(self.surroundings_changed, "{} ms too early", self.allowed_ms - now_ms);
                self.free.push(now_ms);
                if let [.., fourth_last, _, _, last] = self.free[..] {
                    assert!(last - fourth_last >= 20_000, "4 rounds within {} ms", last - fourth_last);
                }
            }
            if self.surroundings_changed {
                self.failures = 0;
            }
            self.surroundings_changed = false;
        }
        assert!(!self.dialled.contains(&way), "{way:?} is dialled twice in a round");
        self.dialled.push(way);
        self.dialled_ms = now_ms;
        self.open.push(way);
    }

    /// A way is over, for whatever reason.
    pub(crate) fn over(&mut self, way: WayId, was_connecting: bool, now_ms: u64) {
        self.open.retain(|other| *other != way);
        if was_connecting {
            self.abandoned_ms = Some(now_ms);
        }
    }

    pub(crate) fn sent_connect(&mut self, now_ms: u64) {
        if let Some(at_ms) = self.unanswered_ms {
            assert!(now_ms - at_ms >= 5_000, "CONNECTs {} ms apart", now_ms - at_ms);
        }
        self.unanswered_ms = Some(now_ms);
    }

    pub(crate) fn probed(&mut self, way: WayId, now_ms: u64) {
        let connected_ms = self.connected_ms.expect("only who is connected probes");
        assert!(now_ms - connected_ms >= HOUR_MS, "probed {} ms after connecting", now_ms - connected_ms);
        if let Some((_, at_ms)) = self.probed.iter().rev().find(|(other, _)| *other == way) {
            assert!(now_ms - at_ms >= HOUR_MS - 60_000 * 10, "probed again after {} ms", now_ms - at_ms);
        }
        self.probed.push((way, now_ms));
    }

    /// The connection ends for another one: on the way `to` CONNECT is sent.
    pub(crate) fn moves(&mut self, to: WayId) {
        self.connected_ms = None;
        self.dialled = vec![to];
        self.open = vec![to];
    }

    pub(crate) fn gives_up(&mut self, now_ms: u64) {
        self.disturbed.push(now_ms);
        assert!(self.connected_ms.take().is_some(), "gave up nothing");
        self.gave_up = true;
        self.surroundings_changed = true;
        self.dialled.clear();
    }

    pub(crate) fn connected(&mut self, now_ms: u64) {
        self.connected_ms = Some(now_ms);
        self.unanswered_ms = None;
        self.dialled.clear();
        self.open.clear();
    }

    /// The agent has done what it does now.
    pub(crate) fn done(&mut self, cause: Cause, at: Moment) {
        let lived_ms = match cause {
            Cause::Refused(_) => {
                self.unanswered_ms = None;
                self.connected_ms = None;
                0
            }
            Cause::Lost(_) => self.connected_ms.take().map_or(0, |since_ms| at.now_ms - since_ms),
            Cause::Attempt | Cause::Surroundings => 0,
        };
        let is_busy = !self.open.is_empty() || self.connected_ms.is_some();
        if self.was_busy && !is_busy && !self.gave_up && cause != Cause::Surroundings {
            self.dialled.clear();
            let wait_ms = self.wait_ms(cause, lived_ms, at);
            self.allowed_ms = at.now_ms + (wait_ms as u64).saturating_sub(2);
        }
        if cause == Cause::Surroundings && !self.dialled.is_empty() && self.dialled_ms != at.now_ms {
            // The round goes on as if nothing were.
            self.surroundings_changed = false;
        }
        self.was_busy = is_busy;
    }

    fn wait_ms(&mut self, cause: Cause, lived_ms: u64, at: Moment) -> f64 {
        match cause {
            Cause::Attempt | Cause::Surroundings => self.failed_ms(at),
            Cause::Refused(Refusal::ForGood) => {
                self.failures += 1;
                CAP_MS * (0.5 + at.random / 2.0)
            }
            Cause::Refused(Refusal::Later { return_secs: None }) => self.failed_ms(at),
            Cause::Refused(Refusal::Later { return_secs: Some(secs) })
            | Cause::Lost(Lost::Ended { return_secs: secs }) => {
                if lived_ms >= 60_000 {
                    self.failures = 0;
                }
                self.failed_ms(at).max(f64::from(secs) * 1_000.0 * at.random)
            }
            Cause::Lost(Lost::TakenOver) => {
                let is_own = self.abandoned_ms.is_some_and(|at_ms| at.now_ms - at_ms < 60_000);
                if is_own { self.failed_ms(at) } else { 30_000.0 + 60_000.0 * at.random }
            }
        }
    }

    fn failed_ms(&mut self, at: Moment) -> f64 {
        let bound_ms = (BASE_MS * 2_f64.powi(self.failures)).min(CAP_MS);
        self.failures += 1;
        bound_ms * at.random
    }

    /// Tells whether a round might begin at once: no CONNECT holds it up, and it did not come too often.
    pub(crate) fn is_free(&self, now_ms: u64) -> bool {
        let recent = self.disturbed.iter().filter(|at_ms| now_ms - **at_ms < 120_000).count();
        let pending = [self.unanswered_ms, self.abandoned_ms].into_iter().flatten();
        recent == 0 && pending.into_iter().all(|at_ms| now_ms - at_ms >= 10_000)
    }
}
