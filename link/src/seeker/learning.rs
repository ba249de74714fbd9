//! The heartbeat of the present session, and what it opens beside it.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use wakemq_protocol::Secret;

use super::attempts::{Asked, Work};
use crate::ladder::Way;
use crate::{
    Clock, Heartbeat, HeartbeatAction, Learned, NetworkKey, SpareNews, Transport, Trial, TrialError,
    WayDialer, try_heartbeat,
};

/// What is to be told or written down.
#[derive(Debug)]
pub(super) enum Finding {
    Remember(Learned),
    Interval(u32),
    Settled,
}

/// What moved on.
pub(super) enum Step {
    Tried(Result<Trial, TrialError>),
    Checked(bool),
}

/// What is tried on a spare connection, and for how many seconds.
struct Spare {
    secs: u32,
    trying: Work<Result<Trial, TrialError>>,
}

/// Drives the heartbeat of one session.
pub(super) struct Learning {
    heartbeat: Heartbeat,
    dialer: WayDialer,
    secret: Secret,
    clock: Clock,
    pub(super) way: Way,
    pub(super) network: NetworkKey,
    keep_alive_secs: u16,
    spare: Option<Spare>,
    check: Option<Work<bool>>,
    told_interval_secs: u32,
    was_settled: bool,
    findings: VecDeque<Finding>,
}

impl Learning {
    /// Takes over when the broker has accepted the session.
    pub(super) fn new(asked: Asked, way: Way, dialer: WayDialer, secret: Secret, clock: Clock) -> Self {
        Self {
            told_interval_secs: asked.heartbeat.interval_secs(),
            heartbeat: asked.heartbeat,
            dialer,
            secret,
            clock,
            way,
            network: asked.network,
            keep_alive_secs: asked.keep_alive_secs,
            spare: None,
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
        if keep_alive_secs != 0 {
            self.bound(keep_alive_secs.into(), asked_secs.into(), now_ms);
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

    /// A poll is quiet for so long instead, as the broker wants it.
    pub(super) fn handle_interval(&mut self, told_secs: u32, now_ms: u64) {
        self.bound(told_secs, self.heartbeat.interval_secs(), now_ms);
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
            None => Poll::Pending,
            Some(spare) => spare.trying.as_mut().poll(cx).map(Step::Tried),
        }
    }

    /// Something has moved on.
    pub(super) fn handle_step(&mut self, step: Step, now_ms: u64) {
        match step {
            Step::Checked(reached) => self.heartbeat.handle_checked(reached, now_ms),
            Step::Tried(tried) => self.tried(tried, now_ms),
        }
        self.act(now_ms);
    }

    fn tried(&mut self, tried: Result<Trial, TrialError>, now_ms: u64) {
        let Some(Spare { secs, .. }) = self.spare.take() else { return };
        tracing::debug!(secs, ?tried, "a longer heartbeat was tried");
        let news = match &tried {
            Ok(Trial::Borne) => SpareNews::Idle,
            Ok(Trial::Silent) => SpareNews::Silent,
            Ok(Trial::Superseded | Trial::Retry { .. }) => SpareNews::Early,
            Ok(Trial::OutOfRange { .. }) | Err(TrialError::Refused(_)) => SpareNews::Unable,
            // Before the answer was due it tells nothing, which the heartbeat knows.
            Err(TrialError::Lost(_)) => SpareNews::Silent,
        };
        self.heartbeat.handle_spare(news, now_ms);
        if let Ok(Trial::OutOfRange { heartbeat_secs }) = tried {
            self.bound(heartbeat_secs, secs, now_ms);
        }
    }

    /// The broker has allowed another interval than was asked for: it is its bound.
    fn bound(&mut self, told_secs: u32, asked_secs: u32, now_ms: u64) {
        if told_secs < asked_secs {
            self.heartbeat.handle_bounds(1, told_secs, now_ms);
        } else if told_secs > asked_secs {
            self.heartbeat.handle_bounds(told_secs, u32::MAX, now_ms);
        }
    }

    fn try_longer(&mut self, secs: u32, now_ms: u64) {
        let (dialer, way, secret) = (self.dialer.clone(), self.way.clone(), self.secret.clone());
        let clock = self.clock;
        let trying = Box::pin(async move { try_heartbeat(&dialer, &way, &secret, secs, clock).await });
        self.spare = Some(Spare { secs, trying });
        // It is opened within far less than an answer may be late.
        self.heartbeat.handle_spare(SpareNews::Quiet, now_ms);
    }

    fn act(&mut self, now_ms: u64) {
        while let Some(action) = self.heartbeat.poll_action() {
            tracing::debug!(?action, interval = self.heartbeat.interval_secs(), "heartbeat");
            match action {
                HeartbeatAction::OpenSpare { secs } => self.try_longer(secs, now_ms),
                HeartbeatAction::CloseSpare => self.spare = None,
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
