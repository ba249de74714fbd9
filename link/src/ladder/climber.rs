//! The climber: from the first round to the hourly look for something better.

use std::collections::VecDeque;
use std::time::Duration;

use super::round::{ATTEMPT_MS, Round, skip};
use super::starts::Starts;
use super::{ClimberAction, Failure, Lost, Moment, Refusal, WayId, Ways};
use crate::timer::{LATE_MS, RESUME_TOLD_MS};
use crate::{Backoff, NetworkKey};

/// How often better ways are probed, in milliseconds; up to a tenth more, so that a fleet does not move in step.
const PROBE_MS: u64 = 3_600_000;
/// How long a way is not probed that took a connection and then gave no answer, in milliseconds.
const AVOID_MS: u64 = 6 * 3_600_000;
/// How long a connection may take to show that it lives, in milliseconds.
const CHECK_MS: u64 = 1_000;
/// So long after a CONNECT that had no answer the broker may still act on it, in milliseconds.
const ECHO_MS: u64 = 60_000;

/// Climbs the ladder; see the module's documentation for the order of calls.
#[derive(Debug)]
pub struct Climber {
    ways: Ways,
    probe_ms: u64,
    /// The back-off as it begins, and as it is.
    fresh: Backoff,
    backoff: Backoff,
    /// The network; `None` while there is none.
    network: Option<NetworkKey>,
    /// The network in which `worked` and `avoided` were found out.
    known: Option<NetworkKey>,
    worked: Option<WayId>,
    /// Ways that are not probed, and until when.
    avoided: Vec<(WayId, u64)>,
    starts: Starts,
    /// When the last CONNECT was sent, while it has no answer; and when the last was given up without one.
    unanswered_ms: Option<u64>,
    abandoned_ms: Option<u64>,
    state: State,
    actions: VecDeque<ClimberAction>,
}

#[derive(Debug)]
enum State {
    /// Nothing was started.
    Idle,
    /// A wait; `anew` if the next round has no regard to the back-off.
    Resting {
        until_ms: u64,
        anew: bool,
    },
    Climbing(Round),
    Standing(Standing),
}

/// A connection that lives.
#[derive(Debug)]
struct Standing {
    way: WayId,
    since_ms: u64,
    /// It has to show until then that it lives.
    check_until_ms: Option<u64>,
    probe_due_ms: u64,
    /// What is probed, since when, and what comes next.
    probing: Option<(WayId, u64)>,
    better: VecDeque<WayId>,
}

impl Climber {
    /// Makes a climber of these ways, with the back-off that it begins with.
    pub fn new(ways: Ways, backoff: Backoff) -> Self {
        Self {
            ways,
            probe_ms: PROBE_MS,
            fresh: backoff.clone(),
            backoff,
            network: None,
            known: None,
            worked: None,
            avoided: Vec::new(),
            starts: Starts::default(),
            unanswered_ms: None,
            abandoned_ms: None,
            state: State::Idle,
            actions: VecDeque::new(),
        }
    }

    /// Sets how often better ways are probed, in milliseconds, instead of every hour.
    #[must_use]
    pub fn with_probe_ms(mut self, probe_ms: u64) -> Self {
        self.probe_ms = probe_ms;
        self
    }

    /// Returns the ways.
    pub fn ways(&self) -> &Ways {
        &self.ways
    }

    /// Returns the way of the connection that there is.
    pub fn connected(&self) -> Option<WayId> {
        match &self.state {
            State::Standing(standing) => Some(standing.way),
            State::Idle | State::Resting { .. } | State::Climbing(_) => None,
        }
    }

    /// Returns until when it rests, while nothing is tried.
    pub fn resting_until_ms(&self) -> Option<u64> {
        match self.state {
            State::Resting { until_ms, .. } => Some(until_ms),
            State::Idle | State::Climbing(_) | State::Standing(_) => None,
        }
    }

    /// Returns what is to be done next, oldest first.
    pub fn poll_action(&mut self) -> Option<ClimberAction> {
        self.actions.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<u64> {
        match &self.state {
            State::Idle => None,
            State::Resting { until_ms, .. } => Some(*until_ms),
            State::Climbing(round) => round.timeout(self.unanswered_ms),
            State::Standing(standing) => {
                let better = || self.better_than(standing.way).next().map(|_| standing.probe_due_ms);
                let probe_ms = standing.probing.map(|(_, since_ms)| since_ms + ATTEMPT_MS).or_else(better);
                standing.check_until_ms.or(probe_ms)
            }
        }
    }

    /// Begins, in `network`, where `worked` led to the broker last.
    pub fn handle_start(&mut self, network: Option<NetworkKey>, worked: Option<WayId>, at: Moment) {
        self.network.clone_from(&network);
        self.known = network;
        self.worked = worked;
        self.begin_anew(at);
    }

    /// Addresses, routes or the gateway have changed: this is the network now, or there is none. `worked` led to the
    /// broker last there.
    pub fn handle_network(&mut self, network: Option<NetworkKey>, worked: Option<WayId>, at: Moment) {
        let was_away = self.network.is_none();
        self.network.clone_from(&network);
        if network.is_none() {
            return;
        }
        let is_another = self.known != network;
        if is_another {
            self.known = network;
            self.worked = worked;
            self.avoided.clear();
        }
        match &mut self.state {
            State::Idle => {}
            State::Standing(standing) if !is_another => standing.check(&mut self.actions, at.now_ms),
            State::Climbing(_) if !is_another && !was_away => {}
            State::Resting { .. } | State::Climbing(_) | State::Standing(_) => self.begin_anew(at),
        }
    }

    /// The machine has resumed: whatever there was is dead, and what went wrong before is long ago. What is younger
    /// than a resume takes to be told came after it, and goes on: its CONNECT would hold up the next.
    pub fn handle_resumed(&mut self, at: Moment) {
        let is_young = |since_ms: u64| at.now_ms.saturating_sub(since_ms) < RESUME_TOLD_MS;
        match &mut self.state {
            State::Idle => {}
            State::Climbing(round) if is_young(round.began_ms()) => {}
            State::Standing(standing) if is_young(standing.since_ms) => {
                standing.check(&mut self.actions, at.now_ms);
            }
            State::Resting { .. } | State::Climbing(_) | State::Standing(_) => self.begin_anew(at),
        }
    }

    /// A way that was dialled or probed is up.
    pub fn handle_up(&mut self, way: WayId, at: Moment) {
        match &mut self.state {
            State::Climbing(round) => {
                round.handle_up(way);
                self.advance(at);
            }
            State::Standing(standing) if standing.probing.is_some_and(|(probed, _)| probed == way) => {
                let order = order(&self.ways, Some(standing.way), &self.avoided, at.now_ms);
                let order: Vec<_> = order.filter(|other| *other != way).collect();
                self.actions.push_back(ClimberAction::Move(way));
                self.unanswered_ms = Some(at.now_ms);
                self.state = State::Climbing(Round::moving(way, order, at.now_ms));
            }
            State::Idle | State::Resting { .. } | State::Standing(_) => {}
        }
    }

    /// A way that was dialled or probed leads nowhere, or the connection was lost before the answer to CONNECT.
    pub fn handle_failed(&mut self, way: WayId, failure: Failure, at: Moment) {
        match &mut self.state {
            State::Climbing(round) => {
                if round.connecting() == Some(way) {
                    self.abandoned_ms = Some(at.now_ms);
                }
                round.handle_failed(way, failure, &self.ways, at.now_ms);
                self.advance(at);
            }
            State::Standing(standing) if standing.probing.is_some_and(|(probed, _)| probed == way) => {
                standing.probing = None;
                skip(&mut standing.better, way, failure, &self.ways);
                self.probe_next(at);
            }
            State::Idle | State::Resting { .. } | State::Standing(_) => {}
        }
    }

    /// The broker has accepted the CONNECT of a way.
    pub fn handle_connected(&mut self, way: WayId, at: Moment) {
        let State::Climbing(round) = &mut self.state else { return };
        if round.connecting() != Some(way) {
            return;
        }
        // It was the way's fault, not the broker's: by another way the broker answers.
        let mute = round.mute().iter().map(|mute| (*mute, at.now_ms + AVOID_MS));
        self.avoided.retain(|(avoided, until_ms)| {
            *until_ms > at.now_ms && *avoided != way && !round.mute().contains(avoided)
        });
        self.avoided.extend(mute);
        round.cancel_all_but(Some(way), &mut self.actions);
        self.unanswered_ms = None;
        self.worked = Some(way);
        self.state = State::Standing(Standing {
            way,
            since_ms: at.now_ms,
            check_until_ms: None,
            probe_due_ms: next_probe_ms(self.probe_ms, at),
            probing: None,
            better: VecDeque::new(),
        });
    }

    /// The broker has refused the CONNECT of a way, or what comes after it. The way is over.
    pub fn handle_refused(&mut self, way: WayId, refusal: Refusal, at: Moment) {
        let concerned = match &self.state {
            State::Climbing(round) => round.connecting() == Some(way),
            State::Standing(standing) => standing.way == way,
            State::Idle | State::Resting { .. } => false,
        };
        if !concerned {
            return;
        }
        let wait = match refusal {
            Refusal::ForGood => self.backoff.after_refusal(at.random),
            Refusal::Later { return_secs: None } => self.backoff.after_failure(at.random),
            Refusal::Later { return_secs: Some(secs) } => {
                self.backoff.after_lost_connection(secs, Duration::ZERO, at.random)
            }
        };
        self.unanswered_ms = None;
        self.end_all(Some(way));
        self.rest(wait, at);
    }

    /// The connection that there was is lost.
    pub fn handle_lost(&mut self, lost: Lost, at: Moment) {
        let State::Standing(standing) = &self.state else { return };
        let (way, lived_ms) = (standing.way, at.now_ms.saturating_sub(standing.since_ms));
        // A CONNECT that was given up may reach the broker after the one that it answered.
        let is_echo = self.abandoned_ms.is_some_and(|at_ms| at.now_ms.saturating_sub(at_ms) < ECHO_MS);
        let wait = match lost {
            Lost::Ended { return_secs } => {
                let lived = Duration::from_millis(lived_ms);
                self.backoff.after_lost_connection(return_secs, lived, at.random)
            }
            Lost::TakenOver if is_echo => self.backoff.after_failure(at.random),
            Lost::TakenOver => self.backoff.after_takeover(at.random),
        };
        self.end_all(Some(way));
        self.rest(wait, at);
    }

    /// The connection has shown that it lives.
    pub fn handle_alive(&mut self) {
        if let State::Standing(standing) = &mut self.state {
            standing.check_until_ms = None;
        }
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, at: Moment) {
        match &mut self.state {
            State::Idle => {}
            State::Resting { until_ms, .. } if at.now_ms < *until_ms => {}
            State::Resting { anew: true, .. } => self.begin_anew(at),
            State::Resting { anew: false, .. } => self.begin(at),
            State::Climbing(_) => self.advance(at),
            State::Standing(standing) => {
                if let Some(until_ms) = standing.check_until_ms {
                    if until_ms <= at.now_ms {
                        self.begin_anew(at);
                    }
                    return;
                }
                match standing.probing {
                    Some((way, since_ms)) if since_ms + ATTEMPT_MS <= at.now_ms => {
                        self.actions.push_back(ClimberAction::Cancel(way));
                        standing.probing = None;
                        self.probe_next(at);
                    }
                    // The resume will be told: whether there is a connection to move from is known then.
                    None if standing.probe_due_ms + LATE_MS <= at.now_ms => {
                        standing.probe_due_ms = at.now_ms + RESUME_TOLD_MS;
                    }
                    None if standing.probe_due_ms <= at.now_ms => {
                        let way = standing.way;
                        standing.probe_due_ms = next_probe_ms(self.probe_ms, at);
                        let better = self.better_than(way).filter(|way| !self.is_avoided(*way, at.now_ms));
                        let better = better.collect();
                        self.set_better(better);
                        self.probe_next(at);
                    }
                    Some(_) | None => {}
                }
            }
        }
    }

    fn set_better(&mut self, better: VecDeque<WayId>) {
        if let State::Standing(standing) = &mut self.state {
            standing.better = better;
        }
    }

    fn probe_next(&mut self, at: Moment) {
        if let State::Standing(standing) = &mut self.state
            && let Some(way) = standing.better.pop_front()
        {
            standing.probing = Some((way, at.now_ms));
            self.actions.push_back(ClimberAction::Probe(way));
        }
    }

    fn better_than(&self, way: WayId) -> impl Iterator<Item = WayId> + use<> {
        self.ways.ids().take_while(move |other| *other < way)
    }

    fn is_avoided(&self, way: WayId, now_ms: u64) -> bool {
        is_avoided(&self.avoided, way, now_ms)
    }

    /// Begins a round without regard to the back-off, unless that came too often.
    fn begin_anew(&mut self, at: Moment) {
        let next_ms = self.starts.next_ms(at.now_ms);
        if next_ms > at.now_ms {
            if self.resting_until_ms().is_none_or(|until_ms| until_ms > next_ms) {
                self.give_up();
                self.state = State::Resting { until_ms: next_ms, anew: true };
            }
            return;
        }
        self.starts.count(at.now_ms);
        self.give_up();
        self.backoff = self.fresh.clone();
        self.begin(at);
    }

    fn begin(&mut self, at: Moment) {
        let order: Vec<_> = order(&self.ways, self.worked, &self.avoided, at.now_ms).collect();
        self.state = State::Climbing(Round::new(order, at.now_ms));
        self.advance(at);
    }

    fn advance(&mut self, at: Moment) {
        let State::Climbing(round) = &mut self.state else { return };
        let connecting = round.connecting();
        let is_over = round.advance(&mut self.unanswered_ms, &mut self.actions, at.now_ms);
        if connecting.is_some() && round.connecting() != connecting {
            self.abandoned_ms = Some(at.now_ms);
        }
        if is_over {
            let wait = self.backoff.after_failure(at.random);
            self.rest(wait, at);
        }
    }

    fn rest(&mut self, wait: Duration, at: Moment) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.state = State::Resting { until_ms: at.now_ms.saturating_add(wait_ms), anew: false };
    }

    /// Drops the connection that there is, and everything else.
    fn give_up(&mut self) {
        if self.connected().is_some() {
            self.actions.push_back(ClimberAction::GiveUp);
        }
        if let State::Climbing(round) = &self.state
            && round.connecting().is_some()
        {
            self.abandoned_ms = self.unanswered_ms;
        }
        self.end_all(None);
    }

    /// Ends what is dialled or probed, except on the way that is over already.
    fn end_all(&mut self, over: Option<WayId>) {
        match &mut self.state {
            State::Climbing(round) => round.cancel_all_but(over, &mut self.actions),
            State::Standing(standing) => {
                let probed = standing.probing.take();
                self.actions.extend(probed.map(|(way, _)| ClimberAction::Cancel(way)));
            }
            State::Idle | State::Resting { .. } => {}
        }
    }
}

impl Standing {
    /// Has the connection show that it lives. Nothing is probed meanwhile: a CONNECT by a better way that is none would
    /// hold up the one by which the agent comes back.
    fn check(&mut self, actions: &mut VecDeque<ClimberAction>, now_ms: u64) {
        if self.check_until_ms.is_none() {
            self.check_until_ms = Some(now_ms + CHECK_MS);
            actions.push_back(ClimberAction::Check);
            let probed = self.probing.take();
            actions.extend(probed.map(|(way, _)| ClimberAction::Cancel(way)));
        }
    }
}

/// Returns the ways in the order of a round: what worked last, then the best first, but those that are avoided last.
fn order(
    ways: &Ways,
    worked: Option<WayId>,
    avoided: &[(WayId, u64)],
    now_ms: u64,
) -> impl Iterator<Item = WayId> {
    let worked = worked.filter(|way| ways.ids().any(|other| other == *way));
    let rest = move |avoid: bool| {
        let fits = move |way: &WayId| Some(*way) != worked && is_avoided(avoided, *way, now_ms) == avoid;
        ways.ids().filter(fits)
    };
    worked.into_iter().chain(rest(false)).chain(rest(true))
}

fn is_avoided(avoided: &[(WayId, u64)], way: WayId, now_ms: u64) -> bool {
    avoided.iter().any(|(other, until_ms)| *other == way && *until_ms > now_ms)
}

fn next_probe_ms(probe_ms: u64, at: Moment) -> u64 {
    at.now_ms + Duration::from_millis(probe_ms).mul_f64(1.0 + at.random / 10.0).as_millis() as u64
}
