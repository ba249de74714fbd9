//! The publishers' half of the engine: commands come in and are accepted, or not.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wakemq_core::packet::ReasonCode;
use wakemq_core::{Refusal, SubmitRequest, check_kind};
use wakemq_protocol::http::CommandView;
use wakemq_protocol::limits::{LIVE_RECORDS_MAX, PENDING_MAX};
use wakemq_protocol::{
    Command, CommandState, GroupPath, Kind, News, RelayJob, Role, Slot, Submission, Target, Timestamp,
};

use super::followers::Follower;
use super::secrets::new_command_id;
use super::{Caller, Engine, EngineError, Operator};
use crate::metrics::SubmissionRefused;
use crate::registry::{Letter, Mailbox};
use crate::store::{Actor, Delivery, NewCommand, StoreError, Submitted};

/// What became of a submission.
pub type Reply = Result<(), Refusal>;

/// A submission on its way into the store.
struct Prepared {
    command: NewCommand,
    /// Its publisher is told of every change, as far as it asked for that.
    bound: bool,
    record_refusal: bool,
}

impl Engine {
    /// Accepts a batch of submissions of one operator's connection, in order, with one flush.
    ///
    /// `Ok` means that the command is durable, and that its publisher is told of every change from then on. What
    /// the operator may do is looked up now, whatever it was when it connected.
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
        let actor = Actor { by: who.by(), address: Some(mailbox.address()) };
        let present = self.rights(&who.name).filter(|present| present.role >= Role::Operator);
        let mut prepared = Vec::with_capacity(requests.len());
        for request in requests {
            prepared.push(match &present {
                Some(present) => self.prepare(request, &actor, &present.scope, mailbox, now),
                None => {
                    let text = format!("operator {} may not command any more", who.name);
                    Err(Refusal::new(ReasonCode::NotAuthorized, text))
                }
            });
        }
        let commands: Vec<_> = prepared.iter().flatten().map(|prepared| prepared.command.clone()).collect();
        let results =
            if commands.is_empty() { Ok(Vec::new()) } else { self.store.submit(commands, now).await };
        let results = results.inspect_err(|_| {
            self.write_failed.store(true, Ordering::Relaxed);
            for prepared in prepared.iter().flatten() {
                self.metrics.submissions_refused.of(SubmissionRefused::Store).inc();
                self.followers.unbind(prepared.command.id, mailbox);
            }
        })?;
        let mut results = results.into_iter();
        let mut replies = Vec::with_capacity(prepared.len());
        let mut refusals = Vec::new();
        for prepared in prepared {
            replies.push(match prepared {
                Err(refusal) => Err(refusal),
                Ok(prepared) => {
                    let result = results.next().ok_or_else(|| missing("a submission"))?;
                    self.reply(prepared, result, mailbox, now, &mut refusals)
                }
            });
        }
        self.record_refusals(refusals, now).await?;
        Ok(replies)
    }

    /// Records what was refused and whose publisher cannot be told, and tells of it as of any other command.
    async fn record_refusals(&self, mut refusals: Vec<NewCommand>, now: Timestamp) -> Result<(), StoreError> {
        while !refusals.is_empty() {
            let results = self.store.submit(refusals.clone(), now).await?;
            let mut again = Vec::new();
            for (mut refused, result) in refusals.into_iter().zip(results) {
                if matches!(result, Submitted::Conflict) {
                    // Its id is taken, perhaps by one that was refused a moment ago.
                    refused.id = new_command_id(now).map_err(|error| StoreError::Io(error.to_string()))?;
                    again.push(refused);
                } else {
                    self.settle(refused, result, now).map_err(|error| {
                        StoreError::Damaged(format!("a refusal was not recorded: {error}"))
                    })?;
                }
            }
            refusals = again;
        }
        Ok(())
    }

    /// Accepts one submission that did not come over MQTT, and shows the command.
    ///
    /// Runs to its end once it is begun: do not drop the future.
    pub async fn submit_one(
        &self,
        caller: &Caller,
        target: Target,
        mut submission: Submission,
    ) -> Result<CommandView, EngineError> {
        let who = self.admit(caller, Role::Operator)?;
        submission.check().map_err(|error| EngineError::Invalid(error.to_string()))?;
        check_kind(&target, &submission, None).map_err(|refusal| {
            match refusal.reason == ReasonCode::NotAuthorized {
                true => EngineError::NotAllowed(refusal.text),
                false => EngineError::Invalid(refusal.text),
            }
        })?;
        let now = self.clock.now();
        let id = match submission.id.take() {
            Some(id) => id,
            None => new_command_id(now)?,
        };
        let ttl_secs = submission.ttl_secs(None);
        let delivery = self.delivery(&target, ttl_secs);
        let scope = who.scope;
        let expires = expiry(now, ttl_secs);
        let command = NewCommand { id, actor: caller.actor(), scope, target, submission, expires, delivery };
        let result = self.store.submit(vec![command.clone()], now).await.inspect_err(|_| {
            self.metrics.submissions_refused.of(SubmissionRefused::Store).inc();
            self.write_failed.store(true, Ordering::Relaxed);
        })?;
        let result = result.into_iter().next().ok_or_else(|| missing("a submission"))?;
        self.settle(command, result, now)?;
        self.command(caller, id, None, 0).await
    }

    /// Makes a command of a publication; what is refused already, and need not be recorded, is refused.
    fn prepare(
        &self,
        request: SubmitRequest,
        actor: &Actor,
        scope: &GroupPath,
        mailbox: &Arc<Mailbox>,
        now: Timestamp,
    ) -> Result<Prepared, Refusal> {
        let SubmitRequest { target, submission, message_expiry_secs, response, packet_id: _, record_refusal } =
            request;
        let (mut submission, refused) = match submission {
            Ok(submission) => (submission, None),
            Err(refusal) if !record_refusal => return Err(refusal),
            Err(refusal) => {
                let text = refusal.text.clone();
                (unreadable(refusal), Some(text))
            }
        };
        let id = match submission.id.take() {
            Some(id) => id,
            None => new_command_id(now)
                .map_err(|error| Refusal::new(ReasonCode::ImplementationSpecificError, error.to_string()))?,
        };
        let ttl_secs = submission.ttl_secs(message_expiry_secs);
        let delivery = match refused {
            Some(text) => Delivery::Refused(text),
            None => self.delivery(&target, ttl_secs),
        };
        let group = matches!(target, Target::Group(_));
        let bound = response.is_none_or(|response| {
            let follower = Follower { mailbox: mailbox.clone(), response: response.into() };
            self.followers.bind(id, group, follower)
        });
        let command = NewCommand {
            id,
            actor: actor.clone(),
            scope: scope.clone(),
            target,
            submission,
            expires: expiry(now, ttl_secs),
            delivery,
        };
        Ok(Prepared { command, bound, record_refusal })
    }

    fn delivery(&self, target: &Target, ttl_secs: u32) -> Delivery {
        if ttl_secs > 0 {
            return Delivery::Inbox;
        }
        Delivery::Live(match target {
            Target::Agent(agent) => {
                let epoch = self.registry.find(agent).and_then(|(_, epoch)| epoch);
                epoch.map(|epoch| (agent.clone(), epoch)).into_iter().collect()
            }
            Target::Group(group) => {
                let connected = self.registry.connected_in(group).into_iter();
                connected.filter_map(|(agent, _, epoch)| Some((agent, epoch?))).collect()
            }
        })
    }

    /// Tells the publisher what became of a submission; one that it cannot be told of is to be recorded, but for
    /// one that it may not make: that ends its connection.
    fn reply(
        &self,
        prepared: Prepared,
        result: Submitted,
        mailbox: &Arc<Mailbox>,
        now: Timestamp,
        refusals: &mut Vec<NewCommand>,
    ) -> Reply {
        let Prepared { command, bound, record_refusal } = prepared;
        let id = command.id;
        let copy = record_refusal.then(|| command.clone());
        let accepted = matches!(result, Submitted::Accepted { .. });
        let error = match self.settle(command, result, now) {
            Ok(()) if bound || !accepted => return Ok(()),
            Ok(()) => {
                self.metrics.submissions_refused.of(SubmissionRefused::Unfollowed).inc();
                EngineError::Full("accepted, but too many commands are followed at the moment".to_owned())
            }
            Err(error) => error,
        };
        self.followers.unbind(id, mailbox);
        let to_record = !accepted && !matches!(error, EngineError::NotAllowed(_));
        if let Some(mut refused) = copy.filter(|_| to_record) {
            refused.delivery = Delivery::Refused(error.to_string());
            refusals.push(refused);
        }
        Err(Refusal::new(reason(&error), error.to_string()))
    }

    /// Does all that follows from what the store said of a command.
    fn settle(&self, command: NewCommand, result: Submitted, now: Timestamp) -> Result<(), EngineError> {
        self.settle_job(command, None, result, now)
    }

    /// The same for a command with a job, which is told to the agent and kept nowhere.
    pub(super) fn settle_job(
        &self,
        command: NewCommand,
        job: Option<Box<RelayJob>>,
        result: Submitted,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let id = command.id;
        if let Some(refused) = refused(&result) {
            self.metrics.submissions_refused.of(refused).inc();
        }
        match result {
            Submitted::Accepted { news, group, changes } => {
                self.metrics.count_news(&news);
                // Who was refused has done nothing.
                let is_refused = matches!(command.delivery, Delivery::Refused(_));
                if matches!(command.target, Target::Group(_)) && !is_refused {
                    self.metrics.audit_lines.inc();
                }
                tracing::debug!(command = %id, target = ?command.target, "accepted");
                self.followers.tell_at_once(&news);
                self.command_event(&command.submission.kind, &command.actor.by, &group, &news);
                self.tell(&changes);
                self.hand_over(command, job, &news, now);
                Ok(())
            }
            Submitted::Duplicate(news) => {
                self.followers.tell_at_once(&news);
                Ok(())
            }
            Submitted::Conflict => Err(EngineError::IdConflict(id)),
            Submitted::Full => Err(EngineError::Full(match command.target {
                Target::Agent(_) => format!("{PENDING_MAX} commands are pending for this agent"),
                Target::Group(_) => format!("{LIVE_RECORDS_MAX} commands are live for this group"),
            })),
            // Whoever is limited to a part must not find out what exists elsewhere.
            Submitted::Unknown | Submitted::Forbidden if !command.scope.is_root() => {
                Err(EngineError::NotAllowed(match command.target {
                    Target::Agent(agent) => format!("agent {agent} is not yours to command"),
                    Target::Group(group) if command.scope.contains(&group) => {
                        return Err(EngineError::UnknownGroup(group));
                    }
                    Target::Group(group) => format!("the group `{}` is not yours to command", group.label()),
                }))
            }
            Submitted::Unknown | Submitted::Forbidden => Err(match command.target {
                Target::Agent(agent) => EngineError::UnknownAgent(agent),
                Target::Group(group) => EngineError::UnknownGroup(group),
            }),
        }
    }

    /// Tells the connections, as far as there are any, what was accepted for them.
    pub(super) fn hand_over(
        &self,
        command: NewCommand,
        job: Option<Box<RelayJob>>,
        news: &News,
        now: Timestamp,
    ) {
        let NewCommand { id, actor, target, submission, delivery, .. } = command;
        let carriers = match (delivery, target) {
            (Delivery::Refused(_), _) => return,
            (Delivery::Inbox, Target::Agent(agent)) if submission.kind == Kind::Power => {
                return self.power_submitted(&agent);
            }
            (Delivery::Inbox, Target::Agent(agent)) => {
                if let Some((mailbox, _)) = self.registry.find(&agent) {
                    mailbox.inbox_changed();
                }
                return;
            }
            (Delivery::Inbox, Target::Group(group)) => return self.registry.inboxes_changed_in(&group),
            (Delivery::Live(carriers), _) => carriers,
        };
        let slot: Option<Slot> = None;
        let Submission { kind, priority, reason, .. } = submission;
        let by = actor.by;
        let command =
            Command { id, kind, slot, ttl: 0, priority, reason, issued: now.whole_secs(), by, relay: job };
        if matches!(news, News::Agent(update) if update.outcome.state != CommandState::Sent) {
            return;
        }
        let of_group = matches!(news, News::Group(_));
        for (agent, epoch) in carriers {
            let found = self.registry.find(&agent).filter(|(_, present)| *present == Some(epoch));
            let Some((mailbox, _)) = found else { continue };
            if !mailbox.post(Letter::Live { epoch, command: command.clone() }) {
                // Its end releases what it carried, this command too.
                tracing::debug!(command = %id, %agent, "the connection has ended before the command was sent");
            } else if of_group {
                self.tell_sent(&agent, &command, now);
            }
        }
    }
}

fn expiry(now: Timestamp, ttl_secs: u32) -> Timestamp {
    Timestamp::from_unix_ms(now.unix_ms() + i64::from(ttl_secs) * 1000)
}

/// Says what MQTT 5 says of an error.
fn reason(error: &EngineError) -> ReasonCode {
    match error {
        EngineError::NotAllowed(_) => ReasonCode::NotAuthorized,
        EngineError::Full(_) => ReasonCode::QuotaExceeded,
        EngineError::UnknownCommand(_)
        | EngineError::UnknownAgent(_)
        | EngineError::NotConnected(_)
        | EngineError::UnknownGroup(_)
        | EngineError::UnknownOperator(_)
        | EngineError::UnknownToken(_)
        | EngineError::Exists(_)
        | EngineError::GroupExists(_)
        | EngineError::InUse { .. }
        | EngineError::LastAdmin(_)
        | EngineError::IdConflict(_)
        | EngineError::TokenUnknown
        | EngineError::TokenExpired
        | EngineError::TokenUsedUp
        | EngineError::Invalid(_)
        | EngineError::Random
        | EngineError::Store(_) => ReasonCode::ImplementationSpecificError,
    }
}

/// Returns what a submission counts as that the store did not accept.
fn refused(result: &Submitted) -> Option<SubmissionRefused> {
    match result {
        Submitted::Accepted { .. } | Submitted::Duplicate(_) => None,
        Submitted::Conflict => Some(SubmissionRefused::Conflict),
        Submitted::Full => Some(SubmissionRefused::Full),
        Submitted::Unknown => Some(SubmissionRefused::UnknownTarget),
        Submitted::Forbidden => Some(SubmissionRefused::NotAllowed),
    }
}

pub(super) fn missing(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} had no outcome"))
}

/// Stands in for a submission that could not be read, so that its refusal can be recorded (MQTT 3.1.1 only).
fn unreadable(refusal: Refusal) -> Submission {
    match refusal.submission {
        Some(submission) => *submission,
        None => Submission::new(Kind::unreadable()),
    }
}
