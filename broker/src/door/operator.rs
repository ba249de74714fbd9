//! An operator's connection: drives its session, and gives the engine all that came at once in one batch.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;

use wakemq_core::packet::{ReasonCode, ServerPacket};
use wakemq_core::{End, Following, OperatorAction, OperatorSession, SubmitRequest};

use super::Door;
use super::counted::OperatorDoor;
use super::ending::Ending;
use super::wire::{Io, Step, Wire};
use crate::bus::{Feed, Frame};
use crate::engine::Operator;
use crate::registry::{Letter, Mail, Mailbox};
use crate::transport::timers::TimerId;

/// Most submissions that are given to the engine at once.
const BATCH_MAX: usize = 256;
/// Most bytes that wait for an operator that does not read; with more the connection ends.
const UNSENT_MAX: usize = 4 * 1024 * 1024;
/// Most bytes that wait where events are still sent; with more they are dropped with a count.
const UNSENT_FOR_EVENTS_MAX: usize = 1024 * 1024;

/// All that belongs to one connected operator.
pub(super) struct Connection<S> {
    door: OperatorDoor,
    wire: Wire<S>,
    who: Operator,
    session: OperatorSession,
    client_id: String,
    mailbox: Arc<Mailbox>,
    timer: TimerId,
    /// Submissions that wait for the rest of their batch.
    batch: Vec<SubmitRequest>,
    /// What brings events, while any are followed.
    feed: Option<Feed>,
    /// How many events it has lost.
    events_lost: u64,
}

impl<S: Io> Connection<S> {
    /// Takes over an admitted operator's connection.
    pub(super) fn new(
        door: Arc<Door>,
        wire: Wire<S>,
        who: Operator,
        session: OperatorSession,
        client_id: String,
        mailbox: Arc<Mailbox>,
    ) -> Box<Self> {
        let timer = door.timers.arm(mailbox.id(), session.deadline_ms());
        tracing::info!(operator = %who.name, address = %mailbox.address(), "operator connected");
        let door = OperatorDoor::new(door);
        // They may have changed since the secret was proved, and before the registry knew of the connection.
        mailbox.rights_changed();
        Box::new(Self {
            door,
            wire,
            who,
            session,
            client_id,
            mailbox,
            timer,
            batch: Vec::new(),
            feed: None,
            events_lost: 0,
        })
    }

    /// Serves the operator until the connection ends.
    pub(super) async fn run(mut self: Box<Self>) {
        let ending = self.serve().await;
        self.end(ending).await;
    }

    async fn serve(&mut self) -> Ending {
        loop {
            if let ControlFlow::Break(ending) = self.handle_packets().await {
                return ending;
            }
            let step = poll_fn(|cx| self.wire.poll_step(cx, &self.mailbox, true)).await;
            let flow = match step {
                Step::Bytes => ControlFlow::Continue(()),
                Step::Mail(mail) => self.handle_mail(mail).await,
                Step::Ended(end) => ControlFlow::Break(end.into()),
            };
            if let ControlFlow::Break(ending) = flow {
                return ending;
            }
        }
    }

    async fn handle_packets(&mut self) -> ControlFlow<Ending> {
        let mut flow = ControlFlow::Continue(());
        while let Some(packet) = self.wire.next_packet() {
            match packet {
                Ok(packet) => self.session.handle_packet(packet, self.now_ms()),
                Err(error) => {
                    flow = ControlFlow::Break(error.into());
                    break;
                }
            }
            self.act().await?;
        }
        // Also if a bad packet follows: what came whole before it counts.
        if !self.batch.is_empty() {
            self.submit().await;
            self.act().await?;
        }
        flow
    }

    async fn handle_mail(&mut self, mail: Mail) -> ControlFlow<Ending> {
        if let Some(end) = mail.evicted {
            self.session.handle_evicted(end);
        }
        if mail.rights_changed {
            self.look_at_rights();
        }
        for letter in mail.letters {
            match letter {
                Letter::Response { response, payload } => self.session.handle_response(&response, payload),
                Letter::Event { event, lost } => {
                    self.handle_event(&event, lost);
                    // One by one, because each takes room that the next may not have.
                    self.act().await?;
                }
                Letter::Live { .. } | Letter::Settled { .. } => {
                    tracing::warn!("an agent's letter for an operator; this is a defect")
                }
            }
        }
        if mail.timer {
            self.session.handle_timeout(self.now_ms());
            self.timer = self.door.timers.rearm(self.timer, self.mailbox.id(), self.session.deadline_ms());
        }
        self.act().await
    }

    fn handle_event(&mut self, event: &Frame, mut lost: u64) {
        if self.wire.unsent() > UNSENT_FOR_EVENTS_MAX {
            lost = lost.saturating_add(1);
            self.session.handle_events_lost(lost);
        } else if !self.session.handle_event(event.topic(), event.body(), lost) {
            lost = lost.saturating_add(1);
        }
        if lost > 0 {
            self.door.metrics().operator_events_lost.inc_by(lost);
            self.tell_of_lost_events(lost);
        }
    }

    /// Tells a person of an operator who reads too slowly, and then rarely; the operator sees it in the numbers.
    fn tell_of_lost_events(&mut self, lost: u64) {
        let before = self.events_lost;
        self.events_lost = before.saturating_add(lost);
        if before.checked_ilog2() != self.events_lost.checked_ilog2() {
            let (operator, address) = (&self.who.name, self.mailbox.address());
            tracing::warn!(%operator, %address, events = self.events_lost, "an operator reads too slowly for all events");
        }
    }

    /// Takes over what the operator may do now.
    fn look_at_rights(&mut self) {
        match self.door.engine.rights(&self.who.name) {
            Some(who) => {
                self.session.handle_rights(who.session_rights());
                self.who = who;
            }
            None => {
                let end = End::new(ReasonCode::NotAuthorized, "the operator was revoked");
                self.session.handle_evicted(end);
            }
        }
    }

    /// Follows events from now on; whatever is published after it has returned comes.
    async fn follow(&mut self, following: Following) -> ControlFlow<Ending> {
        if following.filters.is_empty() {
            self.feed = None;
            return ControlFlow::Continue(());
        }
        match &mut self.feed {
            Some(feed) => feed.follow(following),
            None => match self.door.bus.feed(&self.mailbox, following) {
                Ok(feed) => self.feed = Some(feed),
                Err(error) => {
                    tracing::warn!(operator = %self.who.name, %error, "an operator cannot follow events");
                    return ControlFlow::Break(End::new(ReasonCode::QuotaExceeded, error.to_string()).into());
                }
            },
        }
        if let Some(feed) = &mut self.feed {
            feed.settled().await;
        }
        ControlFlow::Continue(())
    }

    /// Does all that the session asks for. Submissions are gathered until something else is to be done.
    async fn act(&mut self) -> ControlFlow<Ending> {
        while let Some(action) = self.session.poll_action() {
            match action {
                OperatorAction::Submit(request) => {
                    self.batch.push(request);
                    if self.batch.len() >= BATCH_MAX {
                        self.submit().await;
                    }
                }
                other if !self.batch.is_empty() => {
                    self.session.put_back(other);
                    self.submit().await;
                }
                OperatorAction::Send(packet) => self.send(&packet)?,
                OperatorAction::Follow(following) => Box::pin(self.follow(following)).await?,
                OperatorAction::Warn(text) => {
                    tracing::warn!(operator = %self.who.name, address = %self.mailbox.address(), "{text}");
                }
                OperatorAction::Close(end) => return ControlFlow::Break(end.into()),
            }
        }
        ControlFlow::Continue(())
    }

    /// Gives the engine what was gathered, and the session the answers.
    async fn submit(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let packet_ids: Vec<_> = batch.iter().map(|request| request.packet_id).collect();
        match Box::pin(self.door.engine.submit(&self.who, &self.mailbox, batch)).await {
            Ok(replies) => self.session.handle_submitted(packet_ids.into_iter().zip(replies).collect()),
            Err(error) => {
                tracing::warn!(operator = %self.who.name, %error, "nothing was accepted");
                self.session.handle_store_failed(packet_ids);
            }
        }
    }

    fn send(&mut self, packet: &ServerPacket) -> ControlFlow<Ending> {
        self.door.count_sent(packet);
        if let Err(end) = self.wire.send(packet) {
            return ControlFlow::Break(end.into());
        }
        if self.wire.unsent() > UNSENT_MAX {
            let text = "more is waiting for this connection than it reads";
            return ControlFlow::Break(End::new(ReasonCode::QuotaExceeded, text).into());
        }
        ControlFlow::Continue(())
    }

    async fn end(mut self: Box<Self>, ending: Ending) {
        let ending = ending.with_unsent(self.wire.unsent());
        let registry = self.door.engine.registry();
        tracing::info!(operator = %self.who.name, address = %self.mailbox.address(), %ending, "operator left");
        self.door.metrics().disconnections.of(ending.counts_as()).inc();
        self.door.timers.cancel(self.timer, self.mailbox.id());
        registry.close(&self.mailbox);
        registry.operator_leaves(&self.who.name, &self.client_id, self.mailbox.id());
        self.door.engine.operator_left(&self.mailbox);
        self.feed = None;
        self.publish_will().await;
        let last_words = ending.last_words(self.door.return_secs());
        self.wire.farewell(last_words).await;
    }

    /// Publishes the will, if one is due, by the rights of this moment; one who was revoked has none.
    async fn publish_will(&mut self) {
        let Some(who) = self.door.engine.rights(&self.who.name) else { return };
        self.session.handle_rights(who.session_rights());
        self.session.handle_closed();
        while let Some(action) = self.session.poll_action() {
            match action {
                OperatorAction::Submit(will) => {
                    if let Err(error) = self.door.engine.submit(&who, &self.mailbox, vec![will]).await {
                        tracing::warn!(operator = %who.name, %error, "the operator's will is lost");
                    }
                }
                OperatorAction::Warn(text) => tracing::warn!(operator = %who.name, "the will: {text}"),
                // Nobody is there to hear it.
                OperatorAction::Send(_) | OperatorAction::Follow(_) | OperatorAction::Close(_) => {}
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.door.engine.clock().mono_ms()
    }
}
