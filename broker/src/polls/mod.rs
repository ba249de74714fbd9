//! Long poll: agents that ask over HTTP, again and again, whether there is something for them.
//!
//! An agent that polls is in the registry like one that is connected, from its first poll until 30 seconds after an
//! answer that no further poll followed. What lives that long is a `Poller`: its mailbox, its claim, and the
//! state machine of `wakemq-core`. Whoever drives it holds its lock: the request while a poll waits for its answer, a
//! small task between two polls. So a parked poll has no task of its own, and no timer but an entry in the wheel.
//!
//! A newer poll takes a number, wakes whoever holds the lock, and waits for it; who finds a newer number than its own
//! lets go. What asks the store runs in tasks of its own, so that a client that is gone leaves nothing half done.

mod early;
mod enter;
mod hold;
mod poller;
mod posts;
mod trial;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use early::Early;
use parking_lot::Mutex;
use posts::Posts;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use wakemq_core::End;
use wakemq_core::packet::ReasonCode;
use wakemq_protocol::http::{PollAnswer, PollRequest};
use wakemq_protocol::{AgentId, GroupPath};

use crate::door::{Returning, Timers};
use crate::engine::Engine;
use crate::metrics::PollEnd;
use crate::store::{Principal, StoreError};
use poller::Poller;

pub use posts::PostError;

/// Shortest heartbeat of a poll that is only a trial, in seconds: the keep-alive of MQTT may be as short.
const TRIAL_MIN_SECS: u32 = 1;

/// All agents that poll.
pub struct Polls {
    engine: Arc<Engine>,
    timers: Arc<Timers>,
    returning: Arc<Returning>,
    heartbeat_secs: (u32, u32),
    draining: watch::Receiver<bool>,
    tasks: TaskTracker,
    pollers: Mutex<HashMap<AgentId, Arc<Poller>>>,
    posts: Posts,
    early: Early,
}

/// An agent that was authenticated, and how.
#[derive(Clone)]
pub struct Asking {
    /// Who.
    pub agent: AgentId,
    /// Its group.
    pub group: GroupPath,
    /// The secret that it gave.
    pub presented: String,
    /// [`Engine::revocations`] before it was authenticated.
    pub revocations: u64,
    /// From where it asks.
    pub address: SocketAddr,
}

/// Why a poll has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The agent was revoked.
    #[error("the agent was revoked")]
    Revoked,
    /// Two instances use the agent's identity, and this one is to wait.
    #[error("two instances use this identity: it was cloned; enrol one of them anew")]
    Cloned {
        /// In how many seconds it may come back at the earliest.
        secs: u32,
    },
    /// The store cannot do its work.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Polls {
    /// Makes it with nobody there. Tasks run in `tasks`, so that a shutdown waits for them.
    pub fn new(
        engine: Arc<Engine>,
        timers: Arc<Timers>,
        returning: Arc<Returning>,
        heartbeat_secs: (u32, u32),
        draining: watch::Receiver<bool>,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            timers,
            returning,
            heartbeat_secs,
            draining,
            tasks,
            pollers: Mutex::default(),
            posts: Posts::default(),
            early: Early::default(),
        })
    }

    /// Answers a poll, sooner or later. Dropping the future means that its client is gone.
    ///
    /// # Errors
    /// See [`PollError`].
    pub async fn poll(self: &Arc<Self>, who: Asking, request: PollRequest) -> Result<PollAnswer, PollError> {
        let mut counted = Counted { polls: self, end: PollEnd::Gone };
        let (least, most) = self.heartbeat_secs;
        let least = if request.trial { TRIAL_MIN_SECS } else { least };
        let nearest = request.heartbeat.clamp(least, most);
        let answer = if nearest != request.heartbeat {
            Ok(PollAnswer::HeartbeatOutOfRange { heartbeat: nearest })
        } else if request.trial {
            Box::pin(self.try_heartbeat(who, request.heartbeat)).await
        } else {
            // In a box, that of what is done until it waits nothing is left while it does.
            let mut step = Box::pin(self.enter(who, request)).await;
            loop {
                step = match step {
                    hold::Step::Answer(answer) => break answer,
                    hold::Step::Park(parked) => parked.park().await,
                };
            }
        };
        counted.end = PollEnd::of(answer.as_ref().ok());
        answer
    }

    /// Returns what a poll is told that ends so, by somebody else.
    fn evicted(&self, end: &End) -> Result<PollAnswer, PollError> {
        if end.reason == ReasonCode::SessionTakenOver {
            Ok(PollAnswer::Superseded)
        } else if end.reason == ReasonCode::NotAuthorized {
            Err(PollError::Revoked)
        } else {
            Ok(self.retry())
        }
    }

    fn retry(&self) -> PollAnswer {
        PollAnswer::Retry { after: self.returning.secs() }
    }

    /// Tells whether the agent may still come in, after something was revoked, moved or changed since it was
    /// authenticated; the group is its present one then.
    async fn still_admitted(&self, who: &mut Asking) -> Result<bool, StoreError> {
        loop {
            let revocations = self.engine.revocations();
            if revocations == who.revocations {
                return Ok(true);
            }
            match self.engine.authenticate(&who.presented).await? {
                Some(Principal::Agent { agent, group }) if agent == who.agent => {
                    (who.group, who.revocations) = (group, revocations);
                }
                Some(Principal::Agent { .. } | Principal::Operator { .. }) | None => return Ok(false),
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.engine.clock().mono_ms()
    }
}

/// Counts how a poll ends; one that is dropped had a client that is gone.
struct Counted<'a> {
    polls: &'a Polls,
    end: PollEnd,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.polls.engine.metrics().polls.of(self.end).inc();
    }
}
