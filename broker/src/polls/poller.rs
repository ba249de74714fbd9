//! One agent that polls: what is kept of it from one poll to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wakemq_core::{End, PollAction, PollSession};
use wakemq_protocol::AgentId;
use wakemq_protocol::http::PollAnswer;

use super::Polls;
use crate::registry::{Letter, Mail, Mailbox};
use crate::store::{Epoch, StoreError};
use crate::transport::timers::TimerId;

/// An agent that polls.
pub(super) struct Poller {
    pub(super) agent: AgentId,
    /// Which process of the agent it is; another one begins anew.
    pub(super) instance: Option<u64>,
    pub(super) mailbox: Arc<Mailbox>,
    /// The number of its newest poll.
    newest: AtomicU64,
    pub(super) state: Arc<tokio::sync::Mutex<State>>,
}

/// What changes of it; whoever holds the lock drives it.
pub(super) struct State {
    pub(super) session: PollSession,
    pub(super) epoch: Option<Epoch>,
    /// It is in the registry.
    pub(super) is_present: bool,
    pub(super) timer: Option<TimerId>,
    /// Why it is over, if somebody else ended it.
    pub(super) evicted: Option<End>,
}

impl Poller {
    pub(super) fn new(agent: AgentId, instance: Option<u64>, mailbox: Arc<Mailbox>) -> Self {
        let state = State {
            session: PollSession::default(),
            epoch: None,
            is_present: true,
            timer: None,
            evicted: None,
        };
        let state = Arc::new(tokio::sync::Mutex::new(state));
        Self { agent, instance, mailbox, newest: AtomicU64::new(0), state }
    }

    /// Takes the next number, and wakes whoever holds the lock.
    pub(super) fn take_number(&self) -> u64 {
        let number = self.newest.fetch_add(1, Ordering::SeqCst) + 1;
        self.mailbox.timer_fired();
        number
    }

    pub(super) fn is_newest(&self, number: u64) -> bool {
        self.newest.load(Ordering::SeqCst) == number
    }
}

impl Polls {
    /// Gives the state machine what was in the mailbox.
    pub(super) fn feed(&self, state: &mut State, mail: Mail) {
        let now_ms = self.now_ms();
        for letter in mail.letters {
            match letter {
                Letter::Live { epoch, command } if state.epoch == Some(epoch) => {
                    state.session.handle_live(command, now_ms);
                }
                // It has ended with the claim.
                Letter::Live { command, .. } => tracing::debug!(command = %command.id, "has ended meanwhile"),
                Letter::Settled { id } => state.session.handle_settled(id, now_ms),
                Letter::Response { .. } | Letter::Event { .. } => {
                    tracing::warn!("an operator's letter for an agent; this is a defect");
                }
            }
        }
        if mail.inbox_changed {
            state.session.handle_inbox_changed(now_ms);
        }
        if mail.timer {
            // What was armed has fired, or somebody wants the lock; it is armed anew in both cases.
            state.session.handle_timeout(now_ms);
        }
        if let Some(end) = mail.evicted {
            state.session.handle_evicted();
            state.evicted = Some(end);
        }
    }

    /// Does all that the state machine asks for; returns the answer of the poll that waits, if there is one now. If
    /// the store fails, all of it ends: the agent polls again, and acknowledges again.
    pub(super) async fn act(
        &self,
        poller: &Arc<Poller>,
        state: &mut State,
    ) -> Result<Option<PollAnswer>, StoreError> {
        let acted = self.try_act(poller, state).await;
        if let Err(error) = &acted {
            tracing::warn!(agent = %poller.agent, %error, "the store failed an agent");
            state.session.handle_evicted();
            self.end(poller, state, "the broker's store cannot be read or written").await;
        }
        acted
    }

    async fn try_act(
        &self,
        poller: &Arc<Poller>,
        state: &mut State,
    ) -> Result<Option<PollAnswer>, StoreError> {
        let (engine, agent) = (&self.engine, &poller.agent);
        let mut answer = None;
        while let Some(action) = state.session.poll_action() {
            match action {
                PollAction::Acknowledged(id) => {
                    if let Some(epoch) = state.epoch {
                        engine.acknowledged(agent, id, epoch).await?;
                    }
                }
                PollAction::Fetch { max } => {
                    let commands = self.fetch(poller, state, max).await?;
                    state.session.handle_page(commands, self.now_ms());
                }
                PollAction::LetGo(id) => {
                    if let Some(epoch) = state.epoch {
                        engine.let_go(agent, id, epoch).await?;
                    }
                }
                PollAction::Answer(given) => answer = Some(given),
                PollAction::Leave => {
                    state.is_present = false;
                    engine.leave(agent, &poller.mailbox, state.epoch.is_some(), "it polls no more");
                }
                PollAction::End => {
                    let why = state.evicted.as_ref().map_or("it polls no more", |end| &end.text).to_owned();
                    self.end(poller, state, &why).await;
                }
            }
        }
        self.arm(poller, state);
        Ok(answer)
    }

    async fn fetch(
        &self,
        poller: &Poller,
        state: &mut State,
        max: usize,
    ) -> Result<Vec<wakemq_protocol::Command>, StoreError> {
        let Some(epoch) = state.epoch else { return Ok(Vec::new()) };
        let page = self.engine.fetch(&poller.agent, epoch, max).await?;
        if !page.stale {
            return Ok(page.commands);
        }
        // While it was away the agent was connected otherwise; or is so now, and this one is about to end.
        state.epoch = self.engine.claim(&poller.agent, &poller.mailbox).await?;
        match state.epoch {
            Some(epoch) => Ok(self.engine.fetch(&poller.agent, epoch, max).await?.commands),
            None => Ok(Vec::new()),
        }
    }

    fn arm(&self, poller: &Poller, state: &mut State) {
        if state.session.is_over() {
            return;
        }
        let (id, deadline_ms) = (poller.mailbox.id(), state.session.deadline_ms());
        if deadline_ms == u64::MAX {
            return;
        }
        state.timer = Some(match state.timer {
            Some(timer) => self.timers.rearm(timer, id, deadline_ms),
            None => self.timers.arm(id, deadline_ms),
        });
    }

    /// Ends a poller: it is in no registry any more, and carries nothing.
    async fn end(&self, poller: &Arc<Poller>, state: &mut State, why: &str) {
        {
            let mut pollers = self.pollers.lock();
            if pollers.get(&poller.agent).is_some_and(|present| Arc::ptr_eq(present, poller)) {
                pollers.remove(&poller.agent);
            }
        }
        let (engine, agent, mailbox) = (&self.engine, &poller.agent, &*poller.mailbox);
        if let Some(timer) = state.timer.take() {
            self.timers.cancel(timer, mailbox.id());
        }
        engine.registry().close(mailbox);
        let epoch = state.epoch.take();
        let ended = match (std::mem::take(&mut state.is_present), epoch) {
            (true, epoch) => engine.depart(agent, mailbox, epoch, why).await,
            (false, Some(epoch)) => engine.give_up(agent, epoch).await,
            (false, None) => Ok(()),
        };
        if let Err(error) = ended {
            tracing::warn!(%agent, %error, "what the poller carried is queued again with the next one");
        }
    }
}
