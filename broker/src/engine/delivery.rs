//! The agents' half of the engine: what their connections ask for and report.

use std::sync::Arc;

use wakemq_protocol::{AgentId, CommandId, Facts, GroupPath, PresenceChange, Receipt, SecurityWhat};

use super::Engine;
use crate::metrics::ReceiptFate;
use crate::registry::{Arrival, Mailbox};
use crate::store::{
    Admin, AdminOp, Durability, Epoch, InboxPage, Lane, Outcomes, StoreError, Transition, Verdict,
};

/// The node's name in claims: there is one node so far.
pub(super) const NODE: &str = "local";

impl Engine {
    /// Lets an authenticated agent's connection in, and asks a former one to end.
    pub fn arrive(
        &self,
        agent: &AgentId,
        group: &GroupPath,
        mailbox: &Arc<Mailbox>,
        instance: Option<u64>,
    ) -> Arrival {
        let arrival = self.registry.arrive(agent, group, mailbox, instance, self.clock.mono_ms());
        let address = mailbox.address();
        if !matches!(arrival, Arrival::Wait { .. }) {
            self.power_connected(agent, mailbox);
        }
        match &arrival {
            Arrival::Admitted => tracing::debug!(%agent, %address, "agent connected"),
            Arrival::Cloned { other } => {
                self.metrics.cloned_identities.inc();
                self.security_event(
                    SecurityWhat::ClonedIdentity,
                    Some(format!("agent:{agent}")),
                    group.clone(),
                    vec![address.to_string(), other.address.to_string()],
                    "two instances of this agent alternate: its identity was cloned; enrol one of them anew"
                        .to_owned(),
                )
            }
            Arrival::Wait { secs } => tracing::debug!(%agent, %address, secs, "cloned identity has to wait"),
        }
        arrival
    }

    /// Claims the agent's inbox for its connection. `None` if another connection has taken over meanwhile.
    pub async fn claim(&self, agent: &AgentId, mailbox: &Mailbox) -> Result<Option<Epoch>, StoreError> {
        if self.registry.find(agent).is_none_or(|(present, _)| present.id() != mailbox.id()) {
            // Whoever has taken over claims it, or has done so: that claim is not to be taken away again.
            return Ok(None);
        }
        let claim = self.store.claim(agent, Lane::Agent, NODE, self.clock.now()).await?;
        self.tell(&claim.changes);
        Ok(self.resume(agent, mailbox, claim.epoch).then_some(claim.epoch))
    }

    /// Notes that an agent is there again under a claim that was not given up when it left. Returns `false` if another
    /// connection has taken over meanwhile.
    pub fn resume(&self, agent: &AgentId, mailbox: &Mailbox, epoch: Epoch) -> bool {
        let _order = self.presence.lock();
        if !self.registry.set_epoch(agent, mailbox.id(), Some(epoch)) {
            return false;
        }
        if let Some(group) = self.registry.group_of(agent) {
            self.presence_event(agent, group, PresenceChange::Connected, mailbox, (None, None));
        }
        true
    }

    /// Takes the next commands of the agent's inbox, to be sent at once; none under a stale epoch.
    pub async fn fetch(&self, agent: &AgentId, epoch: Epoch, max: usize) -> Result<InboxPage, StoreError> {
        let now = self.clock.now();
        let page = self.store.inbox(agent, epoch, max, now).await?;
        page.commands.iter().for_each(|command| self.tell_sent(agent, command, now));
        Ok(page)
    }

    /// Records that the agent has a command in its journal.
    pub async fn acknowledged(&self, agent: &AgentId, id: CommandId, epoch: Epoch) -> Result<(), StoreError> {
        let verdict = self.record_one(Transition::Acknowledged { agent: agent.clone(), id, epoch }).await?;
        if verdict != Verdict::Applied {
            tracing::debug!(command = %id, %agent, ?verdict, "an acknowledgement changed nothing");
        }
        Ok(())
    }

    /// Ends a command that the agent's connection cannot take.
    pub async fn failed(
        &self,
        agent: &AgentId,
        id: CommandId,
        epoch: Epoch,
        detail: String,
    ) -> Result<(), StoreError> {
        tracing::warn!(command = %id, %agent, detail, "the command failed on its way");
        self.record_one(Transition::Failed { agent: agent.clone(), id, epoch, detail }).await.map(drop)
    }

    /// Records a receipt; one that changes nothing is as good as any other for the agent.
    pub async fn receipt(
        &self,
        agent: &AgentId,
        mailbox: &Mailbox,
        receipt: Receipt,
    ) -> Result<(), StoreError> {
        let id = receipt.id;
        let fate = match self.record_one(Transition::Receipt { agent: agent.clone(), receipt }).await? {
            Verdict::Unknown => {
                self.foreign_receipt(agent, mailbox, id).await?;
                ReceiptFate::Unknown
            }
            Verdict::Late => {
                tracing::warn!(command = %id, %agent, "a receipt came after the command had ended");
                ReceiptFate::Late
            }
            Verdict::Applied | Verdict::Requested | Verdict::Stale | Verdict::More => ReceiptFate::Applied,
        };
        self.metrics.receipts.of(fate).inc();
        Ok(())
    }

    /// Tells of a receipt for another's command; one for a command that is long forgotten is none of that.
    async fn foreign_receipt(
        &self,
        agent: &AgentId,
        mailbox: &Mailbox,
        id: CommandId,
    ) -> Result<(), StoreError> {
        if self.store.command(id, Outcomes::default()).await?.is_none() {
            tracing::debug!(command = %id, %agent, "a receipt for a command that nobody knows");
            return Ok(());
        }
        self.security_event(
            SecurityWhat::ForeignReceipt,
            Some(format!("agent:{agent}")),
            self.registry.group_of(agent).unwrap_or_else(GroupPath::root),
            vec![mailbox.address().to_string()],
            format!("a receipt for the command {id}, which is not this agent's; look at what runs there"),
        );
        Ok(())
    }

    /// Keeps what the agent tells of itself; the next flush takes it along.
    pub async fn facts(&self, agent: &AgentId, mailbox: &Mailbox, facts: Facts) -> Result<(), StoreError> {
        self.seen(agent, mailbox, Some(facts.clone())).await?;
        let is_present = self.registry.find(agent).is_some_and(|(present, _)| present.id() == mailbox.id());
        if let Some(group) = self.registry.group_of(agent) {
            if is_present {
                self.power_heard(agent, &group, mailbox, &facts);
            }
            self.presence_event(agent, group, PresenceChange::Facts, mailbox, (None, Some(&facts)));
        }
        Ok(())
    }

    /// Releases what the connection carried: it becomes `queued` again, or the end that is due.
    pub async fn release(&self, agent: &AgentId, mailbox: &Mailbox, epoch: Epoch) -> Result<(), StoreError> {
        {
            let _order = self.presence.lock();
            if self.registry.set_epoch(agent, mailbox.id(), None) {
                self.disconnected(agent, mailbox, "it has unsubscribed from its commands");
                self.power_left(agent, mailbox, None);
            }
        }
        self.give_up(agent, epoch).await
    }

    /// Notes that an agent's connection has ended, and why.
    pub async fn depart(
        &self,
        agent: &AgentId,
        mailbox: &Mailbox,
        epoch: Option<Epoch>,
        why: &str,
    ) -> Result<(), StoreError> {
        self.leave(agent, mailbox, epoch.is_some(), why);
        if let Some(epoch) = epoch {
            self.give_up(agent, epoch).await?;
        }
        self.seen(agent, mailbox, None).await
    }

    /// Notes that an agent is not there any more, and why; what it carried is carried on.
    pub fn leave(&self, agent: &AgentId, mailbox: &Mailbox, subscribed: bool, why: &str) {
        let _order = self.presence.lock();
        let present = self.registry.find(agent);
        let successor = present.as_ref().filter(|(present, _)| present.id() != mailbox.id());
        let taken_over = successor.is_some_and(|(_, epoch)| epoch.is_some());
        self.power_left(agent, mailbox, successor.map(|(present, _)| &**present));
        if subscribed && !taken_over {
            self.disconnected(agent, mailbox, why);
        }
        self.registry.leave(agent, mailbox.id());
        tracing::debug!(%agent, address = %mailbox.address(), "agent left");
    }

    /// Gives a claim up: what it carried becomes `queued` again, or the end that is due.
    pub async fn give_up(&self, agent: &AgentId, epoch: Epoch) -> Result<(), StoreError> {
        self.record_one(Transition::Release { agent: agent.clone(), epoch }).await.map(drop)
    }

    /// Lets one command go that a claim carries: it becomes `queued` again, or the end that is due.
    pub async fn let_go(&self, agent: &AgentId, id: CommandId, epoch: Epoch) -> Result<(), StoreError> {
        self.record_one(Transition::LetGo { agent: agent.clone(), id, epoch }).await.map(drop)
    }

    /// Tells that an agent that was subscribed is not any more; its entry is still there, its own or a newer one.
    fn disconnected(&self, agent: &AgentId, mailbox: &Mailbox, why: &str) {
        let group = self.registry.group_of(agent).unwrap_or_else(GroupPath::root);
        let detail = Some(why.to_owned());
        self.presence_event(agent, group, PresenceChange::Disconnected, mailbox, (detail, None));
    }

    async fn seen(&self, agent: &AgentId, mailbox: &Mailbox, facts: Option<Facts>) -> Result<(), StoreError> {
        let source = Some(mailbox.address().ip());
        let op = Admin { op: AdminOp::Seen { agent: agent.clone(), facts, source }, actor: None };
        self.store.write(vec![op], Durability::Lazy, self.clock.now()).await.map(drop)
    }
}
