//! A heartbeat that learns: how long a connection may stay quiet before the network forgets it.
//!
//! The agent keeps one *main* connection, MQTT or long poll alike, and lets it be quiet for
//! [`interval_secs`](Heartbeat::interval_secs): the time between two pings, or what a poll asks for. Too short an
//! interval costs radio and processor of a million endpoints; one too long, and a middlebox has forgotten the flow
//! without a word when a command comes. So the machine looks for the longest interval that the path bears:
//!
//! - On a network that it does not know it asks for the initial interval, and falls to the minimum if that is not
//!   answered.
//! - What was answered is safe. From there it raises step by step, each step tried on a *spare* connection which says
//!   nothing for that long, while the main one keeps the safe interval: no command is late for the sake of a try.
//! - The first raise that is not answered, though the broker is within reach, ends the search on this network for
//!   7 days.
//! - A safe interval that is not answered twice in a row was not safe, or is no longer: the search begins anew.
//!
//! The order of calls: [`Heartbeat::new`] with what was learned of this network and way;
//! [`handle_connected`](Heartbeat::handle_connected) when the main connection is up, and then whatever happens. After
//! each input, [`poll_action`](Heartbeat::poll_action) until it is `None`, and `poll_timeout` says when
//! [`handle_timeout`](Heartbeat::handle_timeout) is due. Times are milliseconds since 1970 by a clock that counts
//! suspend and never goes back.

mod settings;

use std::collections::VecDeque;

use crate::timer::{LATE_MS, RESUME_TOLD_MS};

pub use settings::{HeartbeatSettings, Learned};

/// How long a raise that failed is not tried again on the same network: 7 days, in milliseconds.
const REST_MS: u64 = 7 * 24 * 3_600_000;
/// How long an answer may take, in milliseconds.
const ANSWER_MS: u64 = 20_000;
/// How long a spare connection may take to be up, in milliseconds.
const OPENING_MS: u64 = 60_000;
/// How long the answer to a check may take, in milliseconds.
const CHECK_MS: u64 = 30_000;
/// The first wait after a try that told nothing, in milliseconds; the next are twice as long each.
const POSTPONED_MS: u64 = 600_000;
/// The longest of these waits, in milliseconds.
const POSTPONED_MAX_MS: u64 = 6 * 3_600_000;
/// So often in a row a safe interval may remain without an answer: once may be chance.
const SILENCES_MAX: u8 = 2;

/// What the machine asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeartbeatAction {
    /// Open a spare connection over the same way, and let the broker answer on it after so many seconds of silence.
    /// There is never more than one.
    OpenSpare {
        /// How long it has to be quiet.
        secs: u32,
    },
    /// Close the spare connection; nothing is expected of it any more.
    CloseSpare,
    /// Find out whether the broker is within reach over the main connection's way at this moment.
    Check,
    /// Keep what was learned for this network and way.
    Remember(Learned),
}

/// What became of a spare connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpareNews {
    /// It is up, and quiet from now on.
    Quiet,
    /// The broker answered, the whole time having passed.
    Idle,
    /// It was answered or closed by the broker before the time had passed: that tells nothing.
    Early,
    /// No answer came, or the connection was reset at the first word.
    Silent,
    /// It could not be opened, or the broker does not offer it.
    Unable,
}

/// What is tried on a spare connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spare {
    None,
    Opening {
        secs: u32,
        until_ms: u64,
    },
    Quiet {
        secs: u32,
        since_ms: u64,
    },
    /// It gave no answer. Whether that tells of the interval is known when the check is answered, and a resume would
    /// have been told.
    Doubted {
        since_ms: u64,
        until_ms: u64,
        reached: bool,
    },
}

/// The heartbeat of one way over one network; see the module's documentation for the order of calls.
#[derive(Debug)]
pub struct Heartbeat {
    settings: HeartbeatSettings,
    /// What is asked for, and what is known of it.
    here: Learned,
    /// Nothing is known yet, not even that the first interval is too long.
    untried: bool,
    /// The main connection is up and has borne its interval once.
    steady: bool,
    spare: Spare,
    /// How many tries in a row told nothing, and when the next may come.
    postponed: u32,
    not_before_ms: u64,
    told: Option<Learned>,
    actions: VecDeque<HeartbeatAction>,
}

impl Heartbeat {
    /// Makes the heartbeat of a network and way of which `learned` is known.
    pub fn new(settings: HeartbeatSettings, learned: Option<Learned>, now_ms: u64) -> Self {
        let settings = settings.in_order();
        let untried = learned.is_none();
        let mut here =
            learned.clone().unwrap_or(Learned { proven: false, ..Learned::proven(settings.initial_secs) });
        // A clock that was wrong when it was written must not forbid raises for years.
        here.raise_failed_ms = here.raise_failed_ms.map(|at_ms| at_ms.min(now_ms));
        let mut heartbeat = Self {
            settings,
            here,
            untried,
            steady: false,
            spare: Spare::None,
            postponed: 0,
            not_before_ms: now_ms,
            told: learned,
            actions: VecDeque::new(),
        };
        heartbeat.keep_bounds();
        heartbeat
    }

    /// Returns how long the main connection may stay quiet, in seconds: from its next ping or poll on.
    pub fn interval_secs(&self) -> u32 {
        self.here.interval_secs
    }

    /// Tells whether the search is over: nothing longer is tried at `now_ms` and before the returned interval fails.
    pub fn is_settled(&self, now_ms: u64) -> bool {
        self.here.proven
            && self.spare == Spare::None
            && (self.target_secs().is_none() || now_ms < self.rest_until_ms())
    }

    /// Returns what is to be remembered; nothing while nothing is known.
    pub fn learned(&self) -> Option<Learned> {
        (!self.untried).then(|| self.here.clone())
    }

    /// Returns what is to be done next, oldest first.
    pub fn poll_action(&mut self) -> Option<HeartbeatAction> {
        self.actions.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<u64> {
        match self.spare {
            Spare::None => self.due_ms(),
            Spare::Opening { until_ms, .. } | Spare::Doubted { until_ms, .. } => Some(until_ms),
            Spare::Quiet { secs, since_ms } => Some(since_ms + millis(secs) + ANSWER_MS),
        }
    }

    /// The broker bounds the interval: with Server Keep Alive, or by refusing a poll's.
    pub fn handle_bounds(&mut self, minimum_secs: u32, maximum_secs: u32, now_ms: u64) {
        self.settings = self.settings.clone().bounded(minimum_secs, maximum_secs);
        self.keep_bounds();
        if let Spare::Opening { secs, .. } | Spare::Quiet { secs, .. } = self.spare
            && self.target_secs() != Some(secs)
        {
            self.close_spare();
        }
        self.advance(now_ms);
    }

    /// The main connection is up.
    pub fn handle_connected(&mut self, now_ms: u64) {
        self.steady = false;
        self.advance(now_ms);
    }

    /// The main connection was lost or given up, for any other reason than silence, a resume of the machine among
    /// them: what is tried tells nothing now.
    pub fn handle_disconnected(&mut self, now_ms: u64) {
        self.steady = false;
        self.close_spare();
        self.advance(now_ms);
    }

    /// The main connection was quiet for the whole interval, and was then answered.
    pub fn handle_idle(&mut self, now_ms: u64) {
        self.untried = false;
        self.here.silences = 0;
        self.here.proven = true;
        self.steady = true;
        if let Spare::Doubted { since_ms, .. } = self.spare {
            // It has lived through whatever happened.
            self.raise_failed(since_ms);
        }
        self.advance(now_ms);
    }

    /// The main connection was quiet for the whole interval, and had no answer then: it is lost.
    pub fn handle_silence(&mut self, now_ms: u64) {
        self.steady = false;
        self.close_spare();
        self.untried = false;
        self.here.silences = self.here.silences.saturating_add(1);
        if !self.here.proven || self.here.silences >= SILENCES_MAX {
            self.here = Learned { proven: false, ..Learned::proven(self.settings.minimum_secs) };
        }
        self.advance(now_ms);
    }

    /// Something became of the spare connection. What comes unexpected is of one that was closed.
    pub fn handle_spare(&mut self, news: SpareNews, now_ms: u64) {
        match (news, self.spare) {
            (SpareNews::Quiet, Spare::Opening { secs, .. }) => {
                self.spare = Spare::Quiet { secs, since_ms: now_ms };
            }
            (SpareNews::Idle, Spare::Quiet { secs, since_ms }) if now_ms >= since_ms + millis(secs) => {
                self.spare = Spare::None;
                self.postponed = 0;
                self.here.interval_secs = secs;
                self.here.raise_failed_ms = None;
            }
            (SpareNews::Idle | SpareNews::Early, Spare::Quiet { .. }) => {
                self.spare = Spare::None;
                self.postpone(self.postponed, now_ms);
            }
            (SpareNews::Silent, Spare::Quiet { secs, since_ms }) => {
                self.doubt(since_ms + millis(secs), now_ms)
            }
            (SpareNews::Unable, Spare::Opening { .. } | Spare::Quiet { .. })
            | (SpareNews::Silent | SpareNews::Early, Spare::Opening { .. }) => {
                self.spare = Spare::None;
                self.postpone(self.postponed.max(1), now_ms);
            }
            (SpareNews::Quiet, Spare::Quiet { .. })
            | (SpareNews::Idle, Spare::Opening { .. })
            | (_, Spare::None | Spare::Doubted { .. }) => {}
        }
        self.advance(now_ms);
    }

    /// A check has ended: the broker is within reach, or it is not.
    pub fn handle_checked(&mut self, reached: bool, now_ms: u64) {
        if let Spare::Doubted { since_ms, .. } = self.spare {
            // What is within reach only after a suspend was perhaps not when the spare was silent.
            if reached && now_ms <= since_ms + CHECK_MS {
                let until_ms = since_ms + RESUME_TOLD_MS;
                self.spare = Spare::Doubted { since_ms, until_ms, reached };
                self.end_doubt(now_ms);
            } else {
                self.spare = Spare::None;
                self.postpone(self.postponed.max(1), now_ms);
            }
        }
        self.advance(now_ms);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        match self.spare {
            Spare::Opening { until_ms, .. } if until_ms <= now_ms => {
                self.close_spare();
                self.postpone(self.postponed.max(1), now_ms);
            }
            Spare::Quiet { secs, since_ms } if since_ms + millis(secs) + ANSWER_MS <= now_ms => {
                self.actions.push_back(HeartbeatAction::CloseSpare);
                self.doubt(since_ms + millis(secs), now_ms);
            }
            Spare::Doubted { .. } => self.end_doubt(now_ms),
            Spare::None | Spare::Opening { .. } | Spare::Quiet { .. } => {}
        }
        self.advance(now_ms);
    }

    /// The spare connection gave no answer that was due at `due_ms`. Much later than that the machine was suspended, and
    /// it was not the network that was measured.
    fn doubt(&mut self, due_ms: u64, now_ms: u64) {
        if now_ms < due_ms || now_ms > due_ms + LATE_MS + ANSWER_MS {
            self.spare = Spare::None;
            self.postpone(self.postponed, now_ms);
        } else {
            self.actions.push_back(HeartbeatAction::Check);
            self.spare = Spare::Doubted { since_ms: now_ms, until_ms: now_ms + CHECK_MS, reached: false };
        }
    }

    /// Draws the conclusion of a doubt whose time is over. The wait for it is there because the spare may be silent for
    /// a suspend that ended when the answer was due, of which nobody has told yet.
    fn end_doubt(&mut self, now_ms: u64) {
        match self.spare {
            Spare::Doubted { since_ms, until_ms, reached: true } if until_ms <= now_ms => {
                self.raise_failed(since_ms);
            }
            Spare::Doubted { until_ms, reached: false, .. } if until_ms <= now_ms => {
                self.spare = Spare::None;
                self.postpone(self.postponed.max(1), now_ms);
            }
            Spare::None | Spare::Opening { .. } | Spare::Quiet { .. } | Spare::Doubted { .. } => {}
        }
    }

    fn raise_failed(&mut self, at_ms: u64) {
        self.spare = Spare::None;
        self.postponed = 0;
        self.here.raise_failed_ms = Some(at_ms);
    }

    /// A try told nothing: the first time the next follows at once, then ever later.
    fn postpone(&mut self, times: u32, now_ms: u64) {
        let wait_ms = match times {
            0 => 0,
            times => (POSTPONED_MS << (times - 1).min(16)).min(POSTPONED_MAX_MS),
        };
        self.not_before_ms = now_ms + wait_ms;
        self.postponed = times + 1;
    }

    fn close_spare(&mut self) {
        if matches!(self.spare, Spare::Opening { .. } | Spare::Quiet { .. }) {
            self.actions.push_back(HeartbeatAction::CloseSpare);
        }
        self.spare = Spare::None;
    }

    /// Asks for nothing outside the bounds; what is longer than what was proven is not.
    fn keep_bounds(&mut self) {
        if self.here.interval_secs < self.settings.minimum_secs {
            self.here.proven = false;
        }
        self.here.interval_secs = self.settings.clamp(self.here.interval_secs);
    }

    /// Returns what a raise would try.
    fn target_secs(&self) -> Option<u32> {
        let target = self.settings.clamp(self.here.interval_secs.saturating_add(self.settings.step_secs));
        (self.here.proven && target > self.here.interval_secs).then_some(target)
    }

    fn rest_until_ms(&self) -> u64 {
        self.here.raise_failed_ms.map_or(0, |at| at.saturating_add(REST_MS))
    }

    /// Returns when the next try is due: only a connection that bears what is safe may look for more.
    fn due_ms(&self) -> Option<u64> {
        let may = self.steady && self.spare == Spare::None && self.target_secs().is_some();
        may.then(|| self.not_before_ms.max(self.rest_until_ms()))
    }

    fn advance(&mut self, now_ms: u64) {
        if self.due_ms().is_some_and(|at| at <= now_ms)
            && let Some(secs) = self.target_secs()
        {
            self.spare = Spare::Opening { secs, until_ms: now_ms + OPENING_MS };
            self.actions.push_back(HeartbeatAction::OpenSpare { secs });
        }
        let learned = self.learned();
        if learned != self.told {
            self.told.clone_from(&learned);
            self.actions.extend(learned.map(HeartbeatAction::Remember));
        }
    }
}

fn millis(secs: u32) -> u64 {
    u64::from(secs) * 1_000
}

#[cfg(test)]
mod tests;
