//! Carries out the `power` commands of one agent, one after the other: an attempt each, from the store's inbox to the
//! verdict.
//!
//! While the store fails time goes on, and nobody is asked to send before it is written that he is.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use wakemq_core::power::{PowerAction, PowerAttempt, Sleeper, Targets};
use wakemq_protocol::{AgentId, CommandId, CommandState, Kind, MagicPacket, OperatorName, RelayJob, Role};

use super::course::Course;
use super::desk::{Desk, Ending, Input, Line};
use super::ms;
use super::order::Order;
use super::patient::Patient;
use crate::engine::{Engine, Operator};
use crate::metrics::PowerVerdict;
use crate::store::{Actor, AgentRow, CommandRow, Epoch, Status, Transition, Verdict};

/// Carries out the commands of an agent; gives its place back when it is dropped.
pub(super) struct Carrier {
    engine: Arc<Engine>,
    agent: AgentId,
    store: Patient,
    line: Line,
    /// The commands that were given for the present one.
    errands: Vec<CommandId>,
}

/// A command that is carried.
struct Carried {
    id: CommandId,
    epoch: Epoch,
    /// Who published it.
    by: String,
}

impl Carrier {
    pub(super) fn new(engine: Arc<Engine>, line: Line) -> Self {
        let agent = line.agent.clone();
        let store = Patient { engine: engine.clone(), agent: agent.clone() };
        Self { engine, agent, store, line, errands: Vec::new() }
    }

    /// Carries out all that there is.
    pub(super) async fn run(mut self) {
        loop {
            let epoch = self.store.claim().await;
            let next = self.store.next(epoch).await.commands.into_iter().next();
            let is_last = next.is_none();
            if let Some(command) = next {
                self.desk().carry(&self.agent, Some(command.id));
                self.carry_out(Carried { id: command.id, epoch, by: command.by }).await;
                self.desk().carry(&self.agent, None);
                self.forget_errands();
            }
            self.store.record(Transition::Release { agent: self.agent.clone(), epoch }).await;
            if is_last {
                return;
            }
        }
    }

    /// Carries out one command until it has ended, or is to be let go.
    async fn carry_out(&mut self, carried: Carried) {
        let Some((mut attempt, mut course)) = self.begin(&carried).await else { return };
        loop {
            while let Some(action) = attempt.poll_action() {
                if self.act(action, &mut attempt, &mut course, &carried).await.is_break() {
                    return;
                }
            }
            let Some(deadline_ms) = attempt.deadline_ms() else { return };
            let wait = Duration::from_millis(deadline_ms.saturating_sub(self.now_ms()));
            tokio::select! {
                biased;
                _ = self.line.ending.changed() => {
                    let ending = *self.line.ending.borrow_and_update();
                    match ending {
                        Some(Ending::Cancelled) => attempt.handle_cancelled(),
                        Some(Ending::Over) => return self.count(PowerVerdict::Cancelled),
                        None => {}
                    }
                }
                Some(input) = self.line.inputs.recv() => match input {
                    Input::Told { command, state, detail } => {
                        attempt.handle_told(command, state, detail, self.now_ms());
                    }
                    Input::Heard(heard, at_ms) => attempt.handle_heard(&heard, at_ms),
                },
                () = tokio::time::sleep(wait) => attempt.handle_timeout(self.now_ms()),
            }
        }
    }

    /// Starts an attempt, or goes on with one; `None` if there is nothing to be done for the command.
    async fn begin(&mut self, carried: &Carried) -> Option<(PowerAttempt, Course)> {
        let row = self.store.command(carried.id).await?;
        if is_taken_back(&row) {
            self.count(PowerVerdict::Cancelled);
            return None;
        }
        let random = self.store.random().await;
        let facts = self.store.agent().await?.facts.unwrap_or_default();
        let sleeper = Sleeper {
            agent: self.agent.clone(),
            targets: Targets::of(&facts.interfaces),
            connected: self.engine.is_subscribed(&self.agent),
            boot_id: facts.boot_id,
            resume_id: facts.resume_id,
        };
        let connected = sleeper.connected;
        tracing::debug!(command = %carried.id, agent = %self.agent, connected, "to be switched on");
        let (settings, now_ms) = (self.engine.power.settings.clone(), self.now_ms());
        let course = Course::read(!sleeper.targets.macs.is_empty(), &row.evidence);
        let attempt = if row.evidence.is_empty() {
            self.desk().since(&self.agent, now_ms);
            PowerAttempt::start(sleeper, settings, random, now_ms)
        } else {
            PowerAttempt::resume(sleeper, settings, random, &row.evidence, now_ms)
        };
        // Relays that were asked before a restart may still say what they did.
        for command in attempt.commands() {
            self.expect(command);
        }
        Some((attempt, course))
    }

    /// Does what an attempt asks for; breaks off where the command is not to be carried out any more.
    async fn act(
        &mut self,
        action: PowerAction,
        attempt: &mut PowerAttempt,
        course: &mut Course,
        carried: &Carried,
    ) -> ControlFlow<()> {
        let (agent, id, epoch) = (self.agent.clone(), carried.id, carried.epoch);
        match action {
            PowerAction::Evidence(step) => {
                course.note(&step.what);
                return self.still_mine(Transition::Evidence { agent, id, epoch, step }).await;
            }
            PowerAction::Probe { command } => {
                if self.ask(carried, command, agent, None).await == CommandState::Expired {
                    attempt.handle_told(command, CommandState::Expired, None, self.now_ms());
                }
            }
            PowerAction::FindRelays => {
                let Some(sleeper) = self.store.agent().await else { return ControlFlow::Break(()) };
                match self.right(&carried.by, &sleeper) {
                    Ok(who) => {
                        let found = self.store.candidates(&sleeper, &who.scope).await;
                        attempt.handle_candidates(found, self.now_ms());
                    }
                    Err(why) => {
                        course.is_forbidden = true;
                        attempt.handle_forbidden(why, self.now_ms());
                    }
                }
            }
            PowerAction::Ask { command, relay, job, round } => {
                self.engine.metrics.relays_asked.inc();
                tracing::debug!(command = %id, %agent, %relay, round, "a relay is asked");
                if self.ask(carried, command, relay, Some(Box::new(job))).await == CommandState::Expired {
                    attempt.handle_told(command, CommandState::Expired, None, self.now_ms());
                }
            }
            PowerAction::SendFromBroker { macs, ports } => {
                let packet = |mac| MagicPacket { mac, secureon: None };
                let packets: Vec<_> = macs.into_iter().map(packet).collect();
                let sent = self.engine.send_packets(&packets, &ports).await;
                attempt.handle_broker_sent(sent.destinations, sent.errors);
            }
            PowerAction::Sent => return self.still_mine(Transition::PowerSent { agent, id, epoch }).await,
            PowerAction::End { state, detail } => {
                self.end(state, detail.unwrap_or_default(), course, carried).await;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn end(&self, state: CommandState, detail: String, course: &Course, carried: &Carried) {
        let agent = self.agent.clone();
        tracing::info!(command = %carried.id, %agent, %state, detail, "switching an endpoint on has ended");
        let is_up = match state {
            CommandState::Done => true,
            CommandState::Failed => false,
            // Let go, it ends as cancelled, because that was asked for.
            CommandState::Queued
            | CommandState::Sent
            | CommandState::Acknowledged
            | CommandState::Refused
            | CommandState::Superseded
            | CommandState::Expired
            | CommandState::Cancelled => return self.count(PowerVerdict::Cancelled),
        };
        let (id, epoch) = (carried.id, carried.epoch);
        self.store.record(Transition::Ended { agent, id, epoch, is_up, detail }).await;
        self.count(course.verdict(is_up));
    }

    /// Gives a command to the endpoint itself, or to a relay with a job; what cannot be given counts as expired.
    async fn ask(
        &mut self,
        carried: &Carried,
        command: CommandId,
        to: AgentId,
        job: Option<Box<RelayJob>>,
    ) -> CommandState {
        let Some(who) = self.commander(&carried.by) else {
            return CommandState::Expired;
        };
        self.expect(command);
        self.store
            .order(Order {
                id: command,
                actor: Actor { by: carried.by.clone(), address: None },
                scope: who.scope,
                agent: to,
                kind: if job.is_some() { Kind::Relay } else { Kind::Wake },
                job,
                reason: format!("power {} of {}", carried.id, self.agent),
            })
            .await
    }

    /// Returns the operator that published the command, if it may still command the endpoint; or why not.
    fn right(&self, by: &str, sleeper: &AgentRow) -> Result<Operator, String> {
        let who = self.commander(by).filter(|who| who.scope.contains(&sleeper.group));
        who.ok_or_else(|| {
            format!("{by} may not switch {} on any more: its right was taken away", sleeper.agent)
        })
    }

    /// Returns the operator that published the command, if it may still command anybody.
    fn commander(&self, by: &str) -> Option<Operator> {
        let who = operator_of(by).and_then(|name| self.engine.rights(&name));
        who.filter(|who| who.role >= Role::Operator)
    }

    /// Has the attempt told what becomes of a command.
    fn expect(&mut self, command: CommandId) {
        self.desk().expect(&self.line, command);
        self.errands.push(command);
    }

    fn forget_errands(&mut self) {
        self.engine.power.desk.forget(self.errands.drain(..));
    }

    /// Records a transition; breaks off if the command is not carried here any more.
    async fn still_mine(&self, transition: Transition) -> ControlFlow<()> {
        match self.store.record(transition).await {
            Verdict::Applied | Verdict::Requested | Verdict::More => ControlFlow::Continue(()),
            Verdict::Late | Verdict::Stale | Verdict::Unknown => {
                self.count(PowerVerdict::Cancelled);
                ControlFlow::Break(())
            }
        }
    }

    fn count(&self, verdict: PowerVerdict) {
        self.engine.metrics.power_verdicts.of(verdict).inc();
    }

    fn desk(&self) -> &Desk {
        &self.engine.power.desk
    }

    fn now_ms(&self) -> u64 {
        ms(self.engine.clock.now())
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.forget_errands();
        self.desk().close(&self.agent);
    }
}

fn operator_of(by: &str) -> Option<OperatorName> {
    by.strip_prefix("op:")?.parse().ok()
}

fn is_taken_back(row: &CommandRow) -> bool {
    match &row.status {
        Status::Agent(outcome) => outcome.cancel_requested || outcome.state.is_terminal(),
        Status::Group { .. } => true,
    }
}
