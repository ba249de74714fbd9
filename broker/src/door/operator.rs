//! An operator's connection: drives its session, and gives the engine all that came at once in one batch.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;

use wakemq_core::{OperatorAction, OperatorSession, SubmitRequest};

use super::Door;
use super::counted::OperatorDoor;
use super::ending::Ending;
use super::wire::{Io, Step, Wire};
use crate::engine::Operator;
use crate::registry::{Letter, Mail, Mailbox};
use crate::transport::timers::TimerId;

/// Most submissions that are given to the engine at once.
const BATCH_MAX: usize = 256;
/// Most bytes that wait for an operator that does not read; with more the connection ends.
const UNSENT_MAX: usize = 4 * 1024 * 1024;

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
        Box::new(Self { door, wire, who, session, client_id, mailbox, timer, batch: Vec::new() })
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
        for letter in mail.letters {
            match letter {
                Letter::Response { response, payload } => self.session.handle_response(&response, payload),
                Letter::Live { .. } => tracing::warn!("a command for an operator; this is a defect"),
            }
        }
        if mail.timer {
            self.session.handle_timeout(self.now_ms());
            self.timer = self.door.timers.rearm(self.timer, self.mailbox.id(), self.session.deadline_ms());
        }
        self.act().await
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

    fn send(&mut self, packet: &wakemq_core::packet::ServerPacket) -> ControlFlow<Ending> {
        self.door.count_sent(packet);
        if let Err(end) = self.wire.send(packet) {
            return ControlFlow::Break(end.into());
        }
        if self.wire.unsent() > UNSENT_MAX {
            let text = "more is waiting for this connection than it reads";
            let end = wakemq_core::End::new(wakemq_core::packet::ReasonCode::QuotaExceeded, text);
            return ControlFlow::Break(end.into());
        }
        ControlFlow::Continue(())
    }

    async fn end(mut self: Box<Self>, ending: Ending) {
        let registry = self.door.engine.registry();
        tracing::info!(operator = %self.who.name, address = %self.mailbox.address(), %ending, "operator left");
        self.door.metrics().disconnections.of(ending.counts_as()).inc();
        self.door.timers.cancel(self.timer, self.mailbox.id());
        registry.close(&self.mailbox);
        registry.operator_leaves(&self.who.name, &self.client_id, self.mailbox.id());
        self.door.engine.operator_left(&self.mailbox);
        self.session.handle_closed();
        while let Some(action) = self.session.poll_action() {
            match action {
                OperatorAction::Submit(will) => {
                    if let Err(error) = self.door.engine.submit(&self.who, &self.mailbox, vec![will]).await {
                        tracing::warn!(operator = %self.who.name, %error, "the operator's will is lost");
                    }
                }
                OperatorAction::Warn(text) => tracing::warn!(operator = %self.who.name, "the will: {text}"),
                // Nobody is there to hear it.
                OperatorAction::Send(_) | OperatorAction::Close(_) => {}
            }
        }
        let last_words = ending.last_words(self.door.limits.return_secs);
        self.wire.farewell(last_words).await;
    }

    fn now_ms(&self) -> u64 {
        self.door.engine.clock().mono_ms()
    }
}
