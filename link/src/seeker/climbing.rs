//! What a seeker does for its climber: dials, CONNECTs, and what becomes of them.

use std::time::Duration;

use super::attempts::{Asked, Attempt, Facts, Outcome, Stage};
use super::learning::Learning;
use super::{Arrival, Main, Seeker, SeekerEvent, Setback};
use crate::ladder::{Climber, ClimberAction, Failure, Moment, Refusal, Transport, Way, WayId};
use crate::mqtt::{ConnectError, Connected};
use crate::{AnySession, Heartbeat, Portal, probe_portal};

/// By what the climber is told something.
pub(super) enum Cause {
    /// The owner, who knows why.
    Owner,
    /// An attempt, or a timer.
    Attempt,
    /// The broker refused a session.
    Refused(ConnectError),
}

impl Seeker {
    /// Tells the climber something, and carries out what it wants.
    pub(super) fn climb(&mut self, cause: Cause, tell: impl FnOnce(&mut Climber, Moment)) {
        let rested = self.climber.resting_until_ms();
        let now_ms = self.alarm.now_ms();
        tell(&mut self.climber, Moment { now_ms, random: fastrand::f64() });
        while let Some(action) = self.climber.poll_action() {
            self.carry_out(action);
        }
        if let Some(until_ms) = self.climber.resting_until_ms()
            && rested != Some(until_ms)
        {
            let setback = match cause {
                Cause::Owner => None,
                Cause::Attempt => {
                    self.ask_who_answers();
                    Some(Setback::NoWay(self.problems.no_way(self.climber.ways(), self.captive.clone())))
                }
                Cause::Refused(error) => Some(Setback::Refused(error)),
            };
            let retry_in = Duration::from_millis(until_ms.saturating_sub(now_ms));
            self.events.push_back(SeekerEvent::Waiting { setback, retry_in });
        }
    }

    /// Where somebody took connections who did not go on as the broker does, asks who that is.
    fn ask_who_answers(&mut self) {
        let ways = self.climber.ways();
        let is_plain = |way: &&Way| way.transport == Transport::Poll && !way.proxied;
        let plain = ways.ids().map(|id| ways.get(id)).find(is_plain);
        if let Some(way) = plain
            && self.asking.is_none()
            && self.problems.is_answered()
        {
            let (dialer, rung) = (self.dialer.clone(), way.rung.clone());
            self.asking = Some(Box::pin(async move { probe_portal(&dialer, &rung).await }));
        }
    }

    pub(super) fn asked(&mut self, portal: Portal) {
        tracing::debug!(%portal, "who answers in the broker's place");
        self.asking = None;
        match portal {
            Portal::Captive(captive) => {
                self.captive = Some(captive.clone());
                if self.main.is_none() {
                    self.events.push_back(SeekerEvent::Captive(captive));
                }
            }
            Portal::Open | Portal::Unreachable(_) => self.captive = None,
        }
    }

    fn carry_out(&mut self, action: ClimberAction) {
        tracing::debug!(?action, "seeking");
        match action {
            ClimberAction::Dial(way) => {
                if self.attempts.is_empty() {
                    self.events.push_back(SeekerEvent::Seeking);
                }
                self.dial(way);
            }
            ClimberAction::Probe(way) => self.dial(way),
            ClimberAction::Cancel(way) => self.cancel(way),
            ClimberAction::Connect(way) => self.send_connect(way),
            ClimberAction::Move(way) => {
                self.drop_main();
                self.moving = Some(way);
                self.events.push_back(SeekerEvent::Move);
            }
            ClimberAction::Check => self.events.push_back(SeekerEvent::Check),
            ClimberAction::GiveUp => {
                self.drop_main();
                self.events.push_back(SeekerEvent::GiveUp);
            }
        }
    }

    fn dial(&mut self, id: WayId) {
        let (dialer, way) = (self.dialer.clone(), self.climber.ways().get(id).clone());
        let dialling = Box::pin(async move { dialer.dial(&way).await });
        let since_ms = self.alarm.now_ms();
        self.attempts.push(Attempt { way: id, since_ms, stage: Stage::Dialling(dialling) });
    }

    fn cancel(&mut self, way: WayId) {
        if self.moving == Some(way) {
            self.moving = None;
        }
        let Some(attempt) = self.attempts.take(way) else { return };
        let secs = self.alarm.now_ms().saturating_sub(attempt.since_ms) / 1000;
        match attempt.stage {
            Stage::Dialling(_) if secs > 0 => {
                self.problems.note(way, format!("it was not up within {secs} s"));
            }
            Stage::Connecting { .. } => {
                self.problems.note(way, "the broker did not answer CONNECT".to_owned());
            }
            Stage::Dialling(_) | Stage::Up(_) => {}
        }
    }

    pub(super) fn send_connect(&mut self, id: WayId) {
        let Some(attempt) = self.attempts.take(id) else { return };
        let Stage::Up(line) = attempt.stage else { return };
        let way = self.climber.ways().get(id).clone();
        let network = self.network.clone().unwrap_or_default();
        let learned = self.memory.heartbeat(&network, &way.to_string()).cloned();
        let heartbeat = Heartbeat::new(self.settings.clone(), learned, self.alarm.now_ms());
        let mut connect = self.connect.clone();
        connect.keep_alive_secs = u16::try_from(heartbeat.interval_secs()).unwrap_or(u16::MAX);
        let facts = Facts { address: line.address, proxy: line.proxy.clone(), tls: line.tls.clone() };
        let asked = Asked { facts, network, heartbeat, keep_alive_secs: connect.keep_alive_secs };
        let dialer = self.dialer.clone();
        let answer = Box::pin(async move { AnySession::connect(*line, &dialer, &way, &connect).await });
        let stage = Stage::Connecting { asked: Box::new(asked), answer };
        self.attempts.push(Attempt { way: id, since_ms: attempt.since_ms, stage });
    }

    pub(super) fn attempted(&mut self, way: WayId, outcome: Outcome) {
        let name = self.climber.ways().get(way);
        match outcome {
            Outcome::Up => {
                tracing::debug!(way = %name, "up");
                self.problems.forget(way);
                self.climb(Cause::Attempt, |climber, at| climber.handle_up(way, at));
            }
            Outcome::Failed(error) => {
                tracing::debug!(way = %name, %error, "leads nowhere");
                self.problems.failed(way, &error);
                self.climb(Cause::Attempt, |climber, at| climber.handle_failed(way, error.failure(), at));
            }
            Outcome::Refused(error) => self.refused(way, error),
            Outcome::Connected(asked, session, connected) => self.connected(way, *asked, *session, connected),
        }
    }

    /// There is no session on a way whose CONNECT was sent.
    fn refused(&mut self, way: WayId, error: ConnectError) {
        tracing::debug!(way = %self.climber.ways().get(way), %error, "no session");
        let refusal = match &error {
            _ if !error.is_retryable() => Some(Refusal::ForGood),
            ConnectError::Refused { return_secs, .. } => Some(Refusal::Later { return_secs: *return_secs }),
            ConnectError::TimedOut(_) | ConnectError::Session(_) => None,
        };
        match refusal {
            Some(refusal) => {
                self.climb(Cause::Refused(error), |climber, at| climber.handle_refused(way, refusal, at));
            }
            None => {
                self.problems.note(way, error.to_string());
                self.climb(Cause::Attempt, |climber, at| climber.handle_failed(way, Failure::Way, at));
            }
        }
    }

    fn connected(&mut self, id: WayId, asked: Asked, session: AnySession, connected: Connected) {
        self.climb(Cause::Attempt, |climber, at| climber.handle_connected(id, at));
        if self.climber.connected() != Some(id) {
            return;
        }
        self.captive = None;
        let way = self.climber.ways().get(id).clone();
        if self.memory.set_way(&asked.network, &way.to_string()) {
            self.events.push_back(SeekerEvent::Learned);
        }
        let facts = asked.facts.clone();
        let arrival = Arrival {
            session,
            way: way.clone(),
            address: facts.address,
            proxy: facts.proxy.clone(),
            tls: facts.tls.clone(),
            connected,
        };
        let keep_alive_secs = arrival.connected.keep_alive_secs;
        self.events.push_back(SeekerEvent::Connected(Box::new(arrival)));
        let (secret, clock) = (self.connect.password.clone(), self.connect.clock);
        let learning = Learning::new(asked, way, self.dialer.clone(), secret, clock);
        self.main = Some(Main { way: id, facts, learning });
        self.learn(|learning, now_ms| learning.handle_connected(keep_alive_secs, now_ms));
    }
}
