//! The publishers' half of the engine: commands come in, are accepted, taken back, and end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ring::rand::{SecureRandom, SystemRandom};
use wakemq_core::packet::ReasonCode;
use wakemq_core::{End, Refusal, SubmitRequest};
use wakemq_protocol::http::CommandView;
use wakemq_protocol::{
    AgentId, Command, CommandId, CommandState, Kind, News, Outcome, Slot, Submission, Timestamp,
};

use super::followers::Follower;
use super::{Engine, EngineError, Operator};
use crate::registry::{Letter, Mailbox};
use crate::store::{
    Actor, AdminOp, AdminOutcome, Change, Delivery, NewCommand, Role, StoreError, Submitted, Target,
    Transition, Verdict,
};

/// How many commands one sweep ends or forgets at a time, so that others get their turn at the store.
const SWEEP_MAX: usize = 1000;

/// What became of a submission.
pub type Reply = Result<(), Refusal>;

impl Engine {
    /// Accepts a batch of submissions of one operator, in order, with one flush.
    ///
    /// `Ok` means that the command is durable, and that its publisher is told of every change from then on.
    ///
    /// # Errors
    /// If the store cannot write, nothing was accepted; the same submissions again are safe if they have ids.
    pub async fn submit(
        &self,
        who: &Operator,
        mailbox: &Arc<Mailbox>,
        requests: Vec<SubmitRequest>,
    ) -> Result<Vec<Reply>, StoreError> {
        let now = self.clock.now();
        let mut commands = Vec::with_capacity(requests.len());
        let mut followed = Vec::with_capacity(requests.len());
        for request in requests {
            let SubmitRequest {
                agent,
                submission,
                message_expiry_secs,
                response,
                packet_id: _,
                record_refusal,
            } = request;
            let refused = submission.as_ref().err().map(|refusal| refusal.text.clone());
            let mut submission = submission.unwrap_or_else(unreadable);
            let id = match submission.id.take() {
                Some(id) => id,
                None => new_command_id(now)?,
            };
            let ttl_secs = submission.ttl_secs(message_expiry_secs);
            let delivery = match refused {
                Some(text) => Delivery::Refused(text),
                None if ttl_secs == 0 => {
                    let epoch = self.registry.find(&agent).and_then(|(_, epoch)| epoch);
                    Delivery::Live(epoch.map(|epoch| (agent.clone(), epoch)).into_iter().collect())
                }
                None => Delivery::Inbox,
            };
            let follower =
                response.map(|response| Follower { mailbox: mailbox.clone(), response: response.into() });
            let bound = follower.is_none_or(|follower| self.followers.bind(id, follower));
            followed.push((bound, record_refusal));
            commands.push(NewCommand {
                id,
                actor: Actor { by: who.by(), address: Some(mailbox.address()) },
                scope: who.scope.clone(),
                target: Target::Agent(agent),
                submission,
                expires: Timestamp::from_unix_ms(now.unix_ms() + i64::from(ttl_secs) * 1000),
                delivery,
            });
        }
        let results = match self.store.submit(commands.clone(), now).await {
            Ok(results) => results,
            Err(error) => {
                self.write_failed.store(true, Ordering::Relaxed);
                commands.iter().for_each(|command| self.followers.unbind(command.id, mailbox));
                return Err(error);
            }
        };
        let mut replies = Vec::with_capacity(results.len());
        let mut refusals = Vec::new();
        for ((command, result), (bound, record_refusal)) in commands.into_iter().zip(results).zip(followed) {
            let copy = record_refusal.then(|| command.clone());
            let taken = result == Submitted::Conflict;
            let reply = self.conclude(command, result, bound, mailbox, now);
            if let (Some(mut refused), Err(refusal)) = (copy, &reply) {
                refused.delivery = Delivery::Refused(refusal.text.clone());
                if taken {
                    refused.id = new_command_id(now)?;
                }
                refusals.push(refused);
            }
            replies.push(reply);
        }
        if !refusals.is_empty() {
            self.store.submit(refusals, now).await?;
        }
        Ok(replies)
    }

    fn conclude(
        &self,
        command: NewCommand,
        result: Submitted,
        bound: bool,
        mailbox: &Arc<Mailbox>,
        now: Timestamp,
    ) -> Reply {
        let id = command.id;
        let (reason, text) = match result {
            Submitted::Accepted { news, changes } => {
                tracing::debug!(command = %id, target = ?command.target, "accepted");
                self.tell_followers(&news);
                self.tell(&changes);
                if let News::Agent(update) = news {
                    self.hand_over(command, update.outcome, now);
                }
                if bound {
                    return Ok(());
                }
                (
                    ReasonCode::QuotaExceeded,
                    "accepted, but too many commands are followed at the moment".to_owned(),
                )
            }
            Submitted::Duplicate(news) => {
                self.tell_followers(&news);
                return Ok(());
            }
            Submitted::Conflict => (
                ReasonCode::ImplementationSpecificError,
                format!("id_conflict: another command was accepted under the id {id}"),
            ),
            Submitted::Full => (
                ReasonCode::QuotaExceeded,
                format!("{} commands are pending for this agent", wakemq_protocol::limits::PENDING_MAX),
            ),
            Submitted::Unknown => {
                (ReasonCode::ImplementationSpecificError, format!("there is no {}", words(&command.target)))
            }
            Submitted::Forbidden => {
                (ReasonCode::NotAuthorized, format!("{} is not yours to command", words(&command.target)))
            }
        };
        self.followers.unbind(id, mailbox);
        Err(Refusal::new(reason, text))
    }

    /// Tells the agent's connection, if it has one, what was accepted for it.
    fn hand_over(&self, command: NewCommand, outcome: Outcome, now: Timestamp) {
        let Some((mailbox, epoch)) = self.registry.find(&outcome.agent) else { return };
        match (command.delivery, outcome.state) {
            (Delivery::Inbox, _) => mailbox.inbox_changed(),
            (Delivery::Live(epochs), CommandState::Sent) => {
                // If the connection was replaced meanwhile, its end has released what it carried.
                let Some(epoch) = epoch.filter(|&epoch| epochs.contains(&(outcome.agent, epoch))) else {
                    return;
                };
                let slot: Option<Slot> = None;
                let by = command.actor.by;
                let NewCommand { id, submission: Submission { kind, priority, reason, .. }, .. } = command;
                let command =
                    Command { id, kind, slot, ttl: 0, priority, reason, issued: now.whole_secs(), by };
                if !mailbox.post(Letter::Live { epoch, command }) {
                    // Its end releases what it carried, this command too.
                    tracing::debug!(command = %id, "the connection has ended before the command was sent");
                }
            }
            (Delivery::Live(_) | Delivery::Refused(_), _) => {}
        }
    }

    /// Takes a command back. One that is on its way ends `cancelled` if its connection ends unacknowledged.
    pub async fn cancel(&self, who: &Operator, id: CommandId) -> Result<CommandView, EngineError> {
        who.require(Role::Operator)?;
        let cancel =
            Transition::Cancel { id, scope: who.scope.clone(), actor: Actor { by: who.by(), address: None } };
        match self.record_one(cancel).await? {
            Verdict::Unknown => Err(EngineError::UnknownCommand(id)),
            Verdict::Applied | Verdict::Requested | Verdict::Late | Verdict::Stale | Verdict::More => {
                tracing::info!(command = %id, by = %who.by(), "cancelled");
                self.command(who, id).await
            }
        }
    }

    /// Removes an agent: its secret opens nothing any more, its commands end, its connection is closed.
    pub async fn revoke_agent(&self, who: &Operator, agent: AgentId) -> Result<(), EngineError> {
        who.require(Role::Admin)?;
        let op = AdminOp::RevokeAgent { agent: agent.clone(), scope: who.scope.clone() };
        match self.write_one(op).await? {
            AdminOutcome::Revoked { changes } => {
                self.note_revocation();
                self.tell(&changes);
                if let Some((mailbox, _)) = self.registry.find(&agent) {
                    mailbox.evict(End::new(ReasonCode::NotAuthorized, "the agent was revoked"));
                }
                tracing::info!(%agent, by = %who.by(), "agent revoked");
                Ok(())
            }
            AdminOutcome::Done
            | AdminOutcome::Enrolled { .. }
            | AdminOutcome::Moved { .. }
            | AdminOutcome::Changed { .. }
            | AdminOutcome::InUse(_)
            | AdminOutcome::LastAdmin
            | AdminOutcome::Exists
            | AdminOutcome::Unknown
            | AdminOutcome::Expired
            | AdminOutcome::UsedUp => Err(EngineError::UnknownAgent(agent)),
        }
    }

    /// Ends what has expired, and forgets what is long over. The first sweep that succeeds after a failed write
    /// has every connected agent look into its inbox again.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        while self.record_one(Transition::Sweep { max: SWEEP_MAX }).await? == Verdict::More {}
        if self.write_failed.swap(false, Ordering::Relaxed) {
            self.registry.inboxes_changed();
        }
        Ok(())
    }

    /// Records one step and tells its changes.
    pub(super) async fn record_one(&self, transition: Transition) -> Result<Verdict, StoreError> {
        let recorded = self.store.record(vec![transition], self.clock.now()).await.inspect_err(|_| {
            self.write_failed.store(true, Ordering::Relaxed);
        })?;
        let mut verdict = Verdict::Unknown;
        for step in recorded {
            self.tell(&step.changes);
            verdict = step.verdict;
        }
        Ok(verdict)
    }

    /// Tells changes of state to those who follow the commands.
    pub(super) fn tell(&self, changes: &[Change]) {
        for Change { news, .. } in changes {
            self.tell_followers(news);
        }
    }

    fn tell_followers(&self, news: &News) {
        match news {
            News::Agent(update) => {
                tracing::debug!(command = %update.id, agent = %update.outcome.agent, state = %update.outcome.state);
                self.followers.tell(update);
            }
            News::Group(update) => {
                tracing::debug!(command = %update.id, group = %update.group, state = %update.state);
            }
        }
    }
}

/// Stands in for a submission that could not be read, so that its refusal can be recorded (MQTT 3.1.1 only).
fn unreadable(refusal: Refusal) -> Submission {
    match refusal.submission {
        Some(submission) => *submission,
        None => Submission::new(Kind::unreadable()),
    }
}

fn words(target: &Target) -> String {
    match target {
        Target::Agent(agent) => format!("agent {agent}"),
        Target::Group(group) => format!("group {group}"),
    }
}

fn new_command_id(now: Timestamp) -> Result<CommandId, StoreError> {
    let mut random = [0; 10];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| StoreError::Io("the system's random source failed".to_owned()))?;
    Ok(CommandId::from_parts(u64::try_from(now.unix_ms()).unwrap_or(0), &random))
}

#[cfg(test)]
mod tests {
    use wakemq_protocol::GroupPath;

    use super::*;
    use crate::clock::Clock;
    use crate::engine::Advertise;
    use crate::store;

    fn request(id: CommandId, agent: &str, record_refusal: bool) -> SubmitRequest {
        SubmitRequest {
            agent: agent.parse().unwrap(),
            submission: Ok(Submission { id: Some(id), ..Submission::new(Kind::Wake) }),
            message_expiry_secs: None,
            response: None,
            packet_id: Some(1),
            record_refusal,
        }
    }

    #[tokio::test]
    async fn what_is_refused_is_recorded_where_the_publisher_cannot_be_told() {
        let advertise = Advertise { endpoints: Vec::new(), ca: None };
        let engine = Engine::new(store::memory(), Clock::start(), advertise, Arc::default());
        let who = Operator { name: "erika".parse().unwrap(), role: Role::Admin, scope: GroupPath::root() };
        let mailbox = engine.registry().open("192.0.2.1:1".parse().unwrap());
        let (told, recorded) = (CommandId::from_parts(1, &[1; 10]), CommandId::from_parts(2, &[2; 10]));
        let batch = vec![request(told, "nobody", false), request(recorded, "nobody", true)];
        let replies = engine.submit(&who, &mailbox, batch).await.unwrap();
        assert!(replies.iter().all(|reply| reply.is_err()));
        assert!(engine.command(&who, told).await.is_err());
        let view = engine.command(&who, recorded).await.unwrap();
        assert_eq!(view.outcomes[0].state, CommandState::Refused);
        assert_eq!(view.outcomes[0].detail.as_deref(), Some("there is no agent nobody"));
    }
}
