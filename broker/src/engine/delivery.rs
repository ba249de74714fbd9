//! The agents' half of the engine: what their connections ask for and report.

use std::sync::Arc;

use wakemq_protocol::{AgentId, Command, CommandId, CommandState, Facts, Outcome, Receipt, Update};

use super::Engine;
use crate::registry::{Arrival, Mailbox};
use crate::store::{Admin, AdminOp, Durability, Epoch, StoreError, Transition, Verdict};

/// The node's name in claims: there is one node so far.
const NODE: &str = "local";

impl Engine {
    /// Lets an authenticated agent's connection in, and asks a former one to end.
    pub fn arrive(&self, agent: &AgentId, mailbox: &Arc<Mailbox>, instance: Option<u64>) -> Arrival {
        let arrival = self.registry.arrive(agent, mailbox, instance, self.clock.mono_ms());
        let address = mailbox.address();
        match &arrival {
            Arrival::Admitted => tracing::debug!(%agent, %address, "agent connected"),
            Arrival::Cloned { other } => {
                self.metrics.cloned_identities.inc();
                tracing::warn!(
                    %agent, %address, other = %other.address,
                    "two instances of this agent alternate: its identity was cloned; enrol one of them anew"
                )
            }
            Arrival::Wait { secs } => tracing::debug!(%agent, %address, secs, "cloned identity has to wait"),
        }
        arrival
    }

    /// Claims the agent's inbox for its connection. `None` if another connection has taken over meanwhile.
    pub async fn claim(&self, agent: &AgentId, mailbox: &Mailbox) -> Result<Option<Epoch>, StoreError> {
        let claim = self.store.claim(agent, NODE, self.clock.now()).await?;
        self.tell(&claim.changes);
        let current = self.registry.set_epoch(agent, mailbox.id(), Some(claim.epoch));
        Ok(current.then_some(claim.epoch))
    }

    /// Takes the next commands of the agent's inbox, to be sent at once; none under a stale epoch.
    pub async fn fetch(&self, agent: &AgentId, epoch: Epoch, max: usize) -> Result<Vec<Command>, StoreError> {
        let now = self.clock.now();
        let page = self.store.inbox(agent, epoch, max, now).await?;
        for command in &page.commands {
            tracing::debug!(command = %command.id, %agent, state = "sent");
            let outcome = Outcome {
                agent: agent.clone(),
                state: CommandState::Sent,
                at: now,
                detail: None,
                superseded_by: None,
                cancel_requested: false,
                late: None,
            };
            self.followers.tell(&Update { id: command.id, outcome });
        }
        Ok(page.commands)
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
    pub async fn receipt(&self, agent: &AgentId, receipt: Receipt) -> Result<(), StoreError> {
        let id = receipt.id;
        match self.record_one(Transition::Receipt { agent: agent.clone(), receipt }).await? {
            Verdict::Unknown => {
                tracing::warn!(command = %id, %agent, "a receipt for a command that is not the agent's")
            }
            Verdict::Late => {
                tracing::warn!(command = %id, %agent, "a receipt came after the command had ended")
            }
            Verdict::Applied | Verdict::Requested | Verdict::Stale | Verdict::More => {}
        }
        Ok(())
    }

    /// Keeps what the agent tells of itself; the next flush takes it along.
    pub async fn facts(&self, agent: &AgentId, facts: Facts) -> Result<(), StoreError> {
        self.seen(agent, Some(facts)).await
    }

    /// Releases what the connection carried: it becomes `queued` again, or the end that is due.
    pub async fn release(&self, agent: &AgentId, mailbox: &Mailbox, epoch: Epoch) -> Result<(), StoreError> {
        self.registry.set_epoch(agent, mailbox.id(), None);
        self.record_one(Transition::Release { agent: agent.clone(), epoch }).await.map(drop)
    }

    /// Notes that an agent's connection has ended.
    pub async fn depart(
        &self,
        agent: &AgentId,
        mailbox: &Mailbox,
        epoch: Option<Epoch>,
    ) -> Result<(), StoreError> {
        self.registry.leave(agent, mailbox.id());
        tracing::debug!(%agent, address = %mailbox.address(), "agent left");
        if let Some(epoch) = epoch {
            self.record_one(Transition::Release { agent: agent.clone(), epoch }).await?;
        }
        self.seen(agent, None).await
    }

    async fn seen(&self, agent: &AgentId, facts: Option<Facts>) -> Result<(), StoreError> {
        let op = AdminOp::Seen { agent: agent.clone(), facts };
        self.store.write(vec![Admin { op, actor: None }], Durability::Lazy, self.clock.now()).await.map(drop)
    }
}
