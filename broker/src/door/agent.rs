//! An agent's connection: drives its session, and is parked most of its life.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;

use wakemq_core::{AgentAction, AgentSession};

use super::Door;
use super::counted::AgentDoor;
use super::ending::Ending;
use super::wire::{Io, Step, Wire};
use crate::metrics::Ended;
use crate::registry::{Letter, Mail, Mailbox};
use crate::store::{Epoch, StoreError};
use crate::transport::timers::TimerId;

/// At which pause of a connection a person is told; fewer happen to an agent that was away for long.
const PAUSES_TOLD: u32 = 16;

/// All that belongs to one connected agent, in one box: its task is little more than a pointer to it.
pub(super) struct Connection<S> {
    door: AgentDoor,
    wire: Wire<S>,
    session: AgentSession,
    mailbox: Arc<Mailbox>,
    epoch: Option<Epoch>,
    timer: TimerId,
    paused_until_ms: Option<u64>,
    /// How often it was paused.
    pauses: u32,
}

impl<S: Io> Connection<S> {
    /// Takes over an admitted agent's connection.
    pub(super) fn new(
        door: Arc<Door>,
        wire: Wire<S>,
        session: AgentSession,
        mailbox: Arc<Mailbox>,
    ) -> Box<Self> {
        let timer = door.timers.arm(mailbox.id(), session.deadline_ms());
        let door = AgentDoor::new(door);
        Box::new(Self { door, wire, session, mailbox, epoch: None, timer, paused_until_ms: None, pauses: 0 })
    }

    /// Serves the agent until the connection ends.
    pub(super) async fn run(mut self: Box<Self>) {
        let ending = loop {
            if let ControlFlow::Break(ending) = Box::pin(self.handle_packets()).await {
                break ending;
            }
            // Here the connection is parked.
            let read = self.paused_until_ms.is_none();
            let step = poll_fn(|cx| self.wire.poll_step(cx, &self.mailbox, read)).await;
            let flow = match step {
                Step::Bytes => ControlFlow::Continue(()),
                Step::Mail(mail) => Box::pin(self.handle_mail(mail)).await,
                Step::Ended(end) => ControlFlow::Break(end.into()),
            };
            if let ControlFlow::Break(ending) = flow {
                break ending;
            }
        };
        Box::pin(self.end(ending)).await;
    }

    async fn handle_packets(&mut self) -> ControlFlow<Ending> {
        while self.paused_until_ms.is_none() {
            let Some(packet) = self.wire.next_packet() else { break };
            match packet {
                Ok(packet) => self.session.handle_packet(packet, self.now_ms()),
                Err(error) => return ControlFlow::Break(error.into()),
            }
            self.act().await?;
        }
        ControlFlow::Continue(())
    }

    async fn handle_mail(&mut self, mail: Mail) -> ControlFlow<Ending> {
        if let Some(end) = mail.evicted {
            self.session.handle_evicted(end);
        }
        for letter in mail.letters {
            match letter {
                Letter::Live { epoch, command } if self.epoch == Some(epoch) => {
                    self.session.handle_live(command, self.now_ms())
                }
                // The agent has unsubscribed since; the command was ended with the claim.
                Letter::Live { command, .. } => tracing::debug!(command = %command.id, "has ended meanwhile"),
                Letter::Settled { .. } | Letter::Response { .. } | Letter::Event { .. } => {
                    tracing::warn!("another's letter for an agent's connection; this is a defect");
                }
            }
        }
        if mail.inbox_changed {
            self.session.handle_inbox_changed();
        }
        if mail.timer {
            // What was read while this connection waited for the store shows that the peer lives.
            Box::pin(self.handle_packets()).await?;
            self.handle_timer();
        }
        self.act().await
    }

    fn handle_timer(&mut self) {
        let now_ms = self.now_ms();
        if self.paused_until_ms.is_some_and(|until_ms| now_ms >= until_ms) {
            self.paused_until_ms = None;
        }
        self.session.handle_timeout(now_ms);
        let deadline_ms = self.paused_until_ms.unwrap_or_else(|| self.session.deadline_ms());
        self.timer = self.door.timers.rearm(self.timer, self.mailbox.id(), deadline_ms);
    }

    /// Does all that the session asks for.
    async fn act(&mut self) -> ControlFlow<Ending> {
        self.act_on_all().await?;
        // While reading is paused the timer is set to the end of that.
        if let Some(deadline_ms) = self.session.poll_rearm().filter(|_| self.paused_until_ms.is_none()) {
            self.timer = self.door.timers.rearm(self.timer, self.mailbox.id(), deadline_ms);
        }
        ControlFlow::Continue(())
    }

    async fn act_on_all(&mut self) -> ControlFlow<Ending> {
        while let Some(action) = self.session.poll_action() {
            match action {
                AgentAction::Send(packet) => {
                    self.door.count_sent(&packet);
                    if let Err(end) = self.wire.send(&packet) {
                        return ControlFlow::Break(end.into());
                    }
                }
                AgentAction::Close(end) => return ControlFlow::Break(end.into()),
                AgentAction::Pause { until_ms } => {
                    self.door.metrics().agent_pauses.inc();
                    self.tell_of_pause();
                    self.paused_until_ms = Some(until_ms);
                    self.timer = self.door.timers.rearm(self.timer, self.mailbox.id(), until_ms);
                }
                AgentAction::Warn(text) => {
                    tracing::warn!(agent = %self.session.agent(), address = %self.mailbox.address(), "{text}");
                }
                ask @ (AgentAction::Claim
                | AgentAction::Release
                | AgentAction::Fetch { .. }
                | AgentAction::Acknowledged(_)
                | AgentAction::Failed { .. }
                | AgentAction::Receipt { .. }
                | AgentAction::Facts { .. }
                | AgentAction::Report { .. }) => {
                    let packet_id = if let AgentAction::Receipt { packet_id, .. }
                    | AgentAction::Facts { packet_id, .. }
                    | AgentAction::Report { packet_id, .. } = &ask
                    {
                        *packet_id
                    } else {
                        None
                    };
                    if let Err(error) = self.ask(ask).await {
                        tracing::warn!(agent = %self.session.agent(), %error, "the store failed an agent");
                        self.session.handle_store_failed(packet_id);
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Tells a person of an agent that goes on and on sending more than it may, and then rarely.
    fn tell_of_pause(&mut self) {
        self.pauses = self.pauses.saturating_add(1);
        if self.pauses >= PAUSES_TOLD && self.pauses.is_power_of_two() {
            let (agent, address) = (self.session.agent(), self.mailbox.address());
            tracing::warn!(%agent, %address, pauses = self.pauses, "an agent sends more than it may");
        }
    }

    /// Asks the engine, and gives the session the answer.
    async fn ask(&mut self, action: AgentAction) -> Result<(), StoreError> {
        let engine = &self.door.engine;
        let agent = self.session.agent();
        match action {
            AgentAction::Claim => {
                // Without an epoch another connection has taken over, and has asked this one to end already.
                self.epoch = engine.claim(agent, &self.mailbox).await?;
                self.session.handle_claimed();
            }
            AgentAction::Release => {
                if let Some(epoch) = self.epoch.take() {
                    engine.release(agent, &self.mailbox, epoch).await?;
                }
            }
            AgentAction::Fetch { max } => {
                let (commands, more) = match self.epoch {
                    Some(epoch) => {
                        let mut page = engine.fetch(agent, epoch, max).await?;
                        if page.stale {
                            // A former connection has claimed the inbox just after this one; or this one is about to end.
                            self.epoch = engine.claim(agent, &self.mailbox).await?;
                            if let Some(epoch) = self.epoch {
                                page = engine.fetch(agent, epoch, max).await?;
                            }
                        }
                        (page.commands, page.more)
                    }
                    None => (Vec::new(), false),
                };
                self.session.handle_page(commands, more, self.now_ms());
            }
            AgentAction::Acknowledged(id) => {
                if let Some(epoch) = self.epoch {
                    engine.acknowledged(agent, id, epoch).await?;
                }
                self.session.handle_recorded(self.now_ms());
            }
            AgentAction::Failed { id, detail } => {
                if let Some(epoch) = self.epoch {
                    engine.failed(agent, id, epoch, detail).await?;
                }
                self.session.handle_recorded(self.now_ms());
            }
            AgentAction::Receipt { receipt, packet_id } => {
                engine.receipt(agent, &self.mailbox, receipt).await?;
                self.session.handle_stored(packet_id);
                // A receipt implies the acknowledgement.
                self.session.handle_recorded(self.now_ms());
            }
            AgentAction::Facts { facts, packet_id } => {
                engine.facts(agent, &self.mailbox, *facts).await?;
                self.session.handle_stored(packet_id);
            }
            AgentAction::Report { report, packet_id } => {
                engine.report(agent, report.0).await?;
                self.session.handle_stored(packet_id);
            }
            AgentAction::Send(_)
            | AgentAction::Close(_)
            | AgentAction::Pause { .. }
            | AgentAction::Warn(_) => {}
        }
        Ok(())
    }

    async fn end(mut self: Box<Self>, ending: Ending) {
        let ending = ending.with_unsent(self.wire.unsent());
        let Self { door, mailbox, .. } = &*self;
        let agent = self.session.agent().clone();
        if ending.counts_as() == Ended::Overrun {
            tracing::warn!(%agent, address = %mailbox.address(), %ending, "ended a connection that does not read");
        } else {
            tracing::debug!(%agent, address = %mailbox.address(), %ending, "connection ends");
        }
        door.metrics().disconnections.of(ending.counts_as()).inc();
        door.timers.cancel(self.timer, mailbox.id());
        door.engine.registry().close(mailbox);
        if let Err(error) = door.engine.depart(&agent, mailbox, self.epoch, &ending.to_string()).await {
            tracing::warn!(%agent, %error, "what the connection carried is queued again with the next one");
        }
        self.session.handle_closed();
        while let Some(action) = self.session.poll_action() {
            let will = matches!(
                action,
                AgentAction::Receipt { .. } | AgentAction::Facts { .. } | AgentAction::Report { .. }
            );
            if will && let Err(error) = self.ask(action).await {
                tracing::warn!(%agent, %error, "the agent's will is lost");
            }
        }
        let last_words = ending.last_words(self.door.return_secs());
        self.wire.farewell(last_words).await;
    }

    fn now_ms(&self) -> u64 {
        self.door.engine.clock().mono_ms()
    }
}
