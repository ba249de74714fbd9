//! One round over the ways: who starts when, who may send CONNECT, and when there is no hope left.

use std::collections::VecDeque;

use super::{ClimberAction, Failure, WayId, Ways};

/// How long after one way the next is started, in milliseconds, unless one fails before.
const STAGGER_MS: u64 = 3_000;
/// How long a way may take to be up, in milliseconds.
pub(super) const ATTEMPT_MS: u64 = 20_000;
/// How long after an unanswered CONNECT the next may be sent, in milliseconds. What came up within [`ATTEMPT_MS`] by
/// two exchanges has delivered it by then.
pub(super) const CONNECT_PACE_MS: u64 = 5_000;
/// How long a CONNECT may remain unanswered where no other way is up, in milliseconds.
const CONNECT_LIMIT_MS: u64 = 10_000;

#[derive(Debug)]
struct Attempt {
    way: WayId,
    since_ms: u64,
    up: bool,
}

/// A round in progress.
#[derive(Debug)]
pub(super) struct Round {
    began_ms: u64,
    /// What was not started, the next first, and when that is due.
    waiting: VecDeque<WayId>,
    start_ms: u64,
    attempts: Vec<Attempt>,
    connecting: Option<(WayId, u64)>,
    /// Ways that were up and gave no answer to CONNECT.
    mute: Vec<WayId>,
}

impl Round {
    /// Makes a round that starts the ways in this order.
    pub(super) fn new(order: impl IntoIterator<Item = WayId>, now_ms: u64) -> Self {
        Self {
            began_ms: now_ms,
            waiting: order.into_iter().collect(),
            start_ms: now_ms,
            attempts: Vec::new(),
            connecting: None,
            mute: Vec::new(),
        }
    }

    /// Makes a round whose first way is up and has just sent CONNECT.
    pub(super) fn moving(to: WayId, order: impl IntoIterator<Item = WayId>, now_ms: u64) -> Self {
        let mut round = Self::new(order, now_ms);
        round.start_ms = now_ms + STAGGER_MS;
        round.attempts.push(Attempt { way: to, since_ms: now_ms, up: true });
        round.connecting = Some((to, now_ms));
        round
    }

    /// Returns when it began.
    pub(super) fn began_ms(&self) -> u64 {
        self.began_ms
    }

    /// Returns the ways that were up and gave no answer to CONNECT.
    pub(super) fn mute(&self) -> &[WayId] {
        &self.mute
    }

    /// Returns the way whose CONNECT is outstanding.
    pub(super) fn connecting(&self) -> Option<WayId> {
        self.connecting.map(|(way, _)| way)
    }

    pub(super) fn handle_up(&mut self, way: WayId) {
        if let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.way == way) {
            attempt.up = true;
        }
    }

    pub(super) fn handle_failed(&mut self, way: WayId, failure: Failure, ways: &Ways, now_ms: u64) {
        if !self.attempts.iter().any(|attempt| attempt.way == way) {
            return;
        }
        self.ended(way, now_ms);
        skip(&mut self.waiting, way, failure, ways);
    }

    /// Ends everything, except what there is on one way.
    pub(super) fn cancel_all_but(&mut self, kept: Option<WayId>, actions: &mut VecDeque<ClimberAction>) {
        let cancelled = self.attempts.drain(..).map(|attempt| attempt.way).filter(|way| Some(*way) != kept);
        actions.extend(cancelled.map(ClimberAction::Cancel));
        self.waiting.clear();
        self.connecting = None;
    }

    /// Does what is due; returns whether there is no hope left. `unanswered_ms` is when the last CONNECT was sent, of
    /// whatever round, while it has no answer.
    pub(super) fn advance(
        &mut self,
        unanswered_ms: &mut Option<u64>,
        actions: &mut VecDeque<ClimberAction>,
        now_ms: u64,
    ) -> bool {
        self.expire(actions, now_ms);
        while !self.waiting.is_empty() && (self.start_ms <= now_ms || self.attempts.is_empty()) {
            let Some(way) = self.waiting.pop_front() else { break };
            self.attempts.push(Attempt { way, since_ms: now_ms, up: false });
            self.start_ms = now_ms + STAGGER_MS;
            actions.push_back(ClimberAction::Dial(way));
        }
        if self.connecting.is_none()
            && unanswered_ms.is_none_or(|at_ms| at_ms + CONNECT_PACE_MS <= now_ms)
            && let Some(way) = self.best_up()
        {
            self.connecting = Some((way, now_ms));
            *unanswered_ms = Some(now_ms);
            actions.push_back(ClimberAction::Connect(way));
        }
        self.attempts.is_empty() && self.waiting.is_empty()
    }

    /// Returns when [`advance`](Self::advance) is due.
    pub(super) fn timeout(&self, unanswered_ms: Option<u64>) -> Option<u64> {
        let start_ms = (!self.waiting.is_empty()).then_some(self.start_ms);
        let attempts = self.attempts.iter().filter(|attempt| !attempt.up);
        let attempt_ms = attempts.map(|attempt| attempt.since_ms + ATTEMPT_MS).min();
        let connect_ms = match self.connecting {
            Some(_) => self.connect_limit_ms(),
            None => self.best_up().map(|_| unanswered_ms.unwrap_or(0) + CONNECT_PACE_MS),
        };
        [start_ms, attempt_ms, connect_ms].into_iter().flatten().min()
    }

    fn expire(&mut self, actions: &mut VecDeque<ClimberAction>, now_ms: u64) {
        let expired: Vec<_> = self
            .attempts
            .iter()
            .filter(|attempt| !attempt.up && attempt.since_ms + ATTEMPT_MS <= now_ms)
            .map(|attempt| attempt.way)
            .collect();
        let unanswered = self.connecting().filter(|_| self.connect_limit_ms().is_some_and(|at| at <= now_ms));
        for way in expired.into_iter().chain(unanswered) {
            actions.push_back(ClimberAction::Cancel(way));
            self.ended(way, now_ms);
        }
    }

    /// Returns when an outstanding CONNECT is given up: sooner where another way is up.
    fn connect_limit_ms(&self) -> Option<u64> {
        let (way, since_ms) = self.connecting?;
        let other = self.attempts.iter().any(|attempt| attempt.up && attempt.way != way);
        Some(since_ms + if other { CONNECT_PACE_MS } else { CONNECT_LIMIT_MS })
    }

    fn best_up(&self) -> Option<WayId> {
        self.attempts.iter().filter(|attempt| attempt.up).map(|attempt| attempt.way).min()
    }

    /// A way leads nowhere: the next need not wait.
    fn ended(&mut self, way: WayId, now_ms: u64) {
        self.attempts.retain(|attempt| attempt.way != way);
        self.start_ms = self.start_ms.min(now_ms);
        if self.connecting() == Some(way) {
            self.connecting = None;
            self.mute.push(way);
        }
    }
}

/// Leaves out what needs no try after `way` failed like this.
pub(super) fn skip(waiting: &mut VecDeque<WayId>, way: WayId, failure: Failure, ways: &Ways) {
    let failed = ways.get(way);
    waiting.retain(|other| {
        let other = ways.get(*other);
        !match failure {
            Failure::Way => false,
            Failure::Door => other.same_door(failed),
            Failure::Proxy => other.proxied && failed.proxied,
        }
    });
}
