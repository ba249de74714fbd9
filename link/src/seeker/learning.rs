//! The heartbeat of the present session, and what it opens beside it.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use wakemq_protocol::Secret;

use super::attempts::{Asked, Work};
use super::spare::{self, Ready, Trial, Tried};
use crate::ladder::Way;
use crate::{Heartbeat, HeartbeatAction, Learned, NetworkKey, SpareNews, Transport, WayDialer};

/// What is to be told or written down.
#[derive(Debug)]
pub(super) enum Finding {
    Remember(Learned),
    Interval(u32),
    Settled,
}

/// What moved on.
pub(super) enum Step {
    Opened(Result<Ready, String>),
    Tried(Tried),
    Checked(bool),
}

enum Spare {
    None,
    Opening { secs: u32, opening: Work<Result<Ready, String>> },
    Quiet { secs: u32, asking: Work<Tried> },
}

/// Drives the heartbeat of one session.
pub(super) struct Learning {
    heartbeat: Heartbeat,
    dialer: WayDialer,
    secret: Secret,
    pub(super) way: Way,
    pub(super) network: NetworkKey,
    keep_alive_secs: u16,
    spare: Spare,
    check: Option<Work<bool>>,
    told_interval_secs: u32,
    was_settled: bool,
    findings: VecDeque<Finding>,
}

impl Learning {
    /// Takes over when the broker has accepted the session.
    pub(super) fn new(asked: Asked, way: Way, dialer: WayDialer, secret: Secret) -> Self {
        Self {
            told_interval_secs: asked.heartbeat.interval_secs(),
            heartbeat: asked.heartbeat,
            dialer,
            secret,
            way,
            network: asked.network,
            keep_alive_secs: asked.keep_alive_secs,
            spare: Spare::None,
            check: None,
            was_settled: false,
            findings: VecDeque::new(),
        }
    }

    pub(super) fn interval_secs(&self) -> u32 {
        self.heartbeat.interval_secs()
    }

    pub(super) fn is_settled(&self, now_ms: u64) -> bool {
        self.heartbeat.is_settled(now_ms)
    }

    /// A poll's interval is changed from one poll to the next; the keep-alive of MQTT holds for a session.
    pub(super) fn has_outgrown_session(&self, now_ms: u64) -> bool {
        let may_secs = u16::try_from(self.heartbeat.interval_secs()).unwrap_or(u16::MAX);
        self.way.transport != Transport::Poll
            && may_secs > self.keep_alive_secs
            && self.heartbeat.is_settled(now_ms)
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.heartbeat.poll_timeout()
    }

    pub(super) fn poll_finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    /// The broker has accepted the session, with this keep-alive instead of what was asked for if they differ.
    pub(super) fn handle_connected(&mut self, keep_alive_secs: u16, now_ms: u64) {
        let asked_secs = std::mem::replace(&mut self.keep_alive_secs, keep_alive_secs);
        let told_secs = u32::from(keep_alive_secs);
        if keep_alive_secs != 0 && keep_alive_secs < asked_secs {
            self.heartbeat.handle_bounds(1, told_secs, now_ms);
        } else if keep_alive_secs > asked_secs {
            self.heartbeat.handle_bounds(told_secs, u32::MAX, now_ms);
        }
        self.heartbeat.handle_connected(now_ms);
        self.act(now_ms);
    }

    pub(super) fn handle_disconnected(&mut self, now_ms: u64) {
        self.heartbeat.handle_disconnected(now_ms);
        self.act(now_ms);
    }

    pub(super) fn handle_idle(&mut self, now_ms: u64) {
        self.heartbeat.handle_idle(now_ms);
        self.act(now_ms);
    }

    pub(super) fn handle_silence(&mut self, now_ms: u64) {
        self.heartbeat.handle_silence(now_ms);
        self.act(now_ms);
    }

    pub(super) fn handle_bounds(&mut self, minimum_secs: u32, maximum_secs: u32, now_ms: u64) {
        self.heartbeat.handle_bounds(minimum_secs, maximum_secs, now_ms);
        self.act(now_ms);
    }

    pub(super) fn handle_timeout(&mut self, now_ms: u64) {
        self.heartbeat.handle_timeout(now_ms);
        self.act(now_ms);
    }

    /// Moves the spare connection and the check on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if let Some(check) = &mut self.check
            && let Poll::Ready(reached) = check.as_mut().poll(cx)
        {
            self.check = None;
            return Poll::Ready(Step::Checked(reached));
        }
        match &mut self.spare {
            Spare::None => Poll::Pending,
            Spare::Opening { opening, .. } => opening.as_mut().poll(cx).map(Step::Opened),
            Spare::Quiet { asking, .. } => asking.as_mut().poll(cx).map(Step::Tried),
        }
    }

    /// Something has moved on.
    pub(super) fn handle_step(&mut self, step: Step, now_ms: u64) {
        match (step, std::mem::replace(&mut self.spare, Spare::None)) {
            (Step::Checked(reached), spare) => {
                self.spare = spare;
                self.heartbeat.handle_checked(reached, now_ms);
            }
            (Step::Opened(Ok(ready)), Spare::Opening { secs, .. }) => {
                let trial = Trial { secret: self.secret.clone(), secs };
                self.spare = Spare::Quiet { secs, asking: Box::pin(spare::ask(ready, trial)) };
                self.heartbeat.handle_spare(SpareNews::Quiet, now_ms);
            }
            (Step::Opened(Err(error)), _) => {
                tracing::debug!(error, "no spare connection");
                self.heartbeat.handle_spare(SpareNews::Unable, now_ms);
            }
            (Step::Tried(Tried::News(news)), _) => {
                tracing::debug!(?news, "a longer heartbeat was tried");
                self.heartbeat.handle_spare(news, now_ms);
            }
            (Step::Tried(Tried::Bound(bound_secs)), Spare::Quiet { secs, .. }) => {
                self.heartbeat.handle_spare(SpareNews::Unable, now_ms);
                let (minimum_secs, maximum_secs) =
                    if bound_secs < secs { (1, bound_secs) } else { (bound_secs, u32::MAX) };
                self.heartbeat.handle_bounds(minimum_secs, maximum_secs, now_ms);
            }
            // What was opened has been closed since.
            (Step::Opened(Ok(_)) | Step::Tried(Tried::Bound(_)), _) => {}
        }
        self.act(now_ms);
    }

    fn act(&mut self, now_ms: u64) {
        while let Some(action) = self.heartbeat.poll_action() {
            tracing::debug!(?action, interval = self.heartbeat.interval_secs(), "heartbeat");
            match action {
                HeartbeatAction::OpenSpare { secs } => {
                    let opening = Box::pin(spare::open(self.dialer.clone(), self.way.clone()));
                    self.spare = Spare::Opening { secs, opening };
                }
                HeartbeatAction::CloseSpare => self.spare = Spare::None,
                HeartbeatAction::Check => {
                    let (dialer, way) = (self.dialer.clone(), self.way.clone());
                    self.check = Some(Box::pin(async move { dialer.dial(&way).await.is_ok() }));
                }
                HeartbeatAction::Remember(learned) => self.findings.push_back(Finding::Remember(learned)),
            }
        }
        let interval_secs = self.heartbeat.interval_secs();
        if std::mem::replace(&mut self.told_interval_secs, interval_secs) != interval_secs {
            self.findings.push_back(Finding::Interval(interval_secs));
        }
        let is_settled = self.heartbeat.is_settled(now_ms);
        if !std::mem::replace(&mut self.was_settled, is_settled) && is_settled {
            self.findings.push_back(Finding::Settled);
        }
    }
}
