//! The store, and random bytes, as an attempt has them: what fails is tried again each second until it does not.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use wakemq_core::power::Neighbour;
use wakemq_protocol::{AgentId, CommandId, CommandState, GroupPath};

use super::order::Order;
use crate::engine::delivery::NODE;
use crate::engine::secrets::random;
use crate::engine::{Engine, EngineError};
use crate::store::{
    AgentRow, Claim, CommandRow, Epoch, InboxPage, Lane, Outcomes, StoreFuture, Transition, Verdict,
};

/// How long after a failure the same is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Asks the store for one agent until it answers.
pub(super) struct Patient {
    pub(super) engine: Arc<Engine>,
    pub(super) agent: AgentId,
}

impl Patient {
    /// Claims the agent's `power` commands.
    pub(super) async fn claim(&self) -> Epoch {
        let engine = &self.engine;
        let ask = || engine.store.claim(&self.agent, Lane::Power, NODE, engine.clock.now());
        let Claim { epoch, changes } = self.persist(ask).await;
        engine.tell(&changes);
        epoch
    }

    /// Takes the next command.
    pub(super) async fn next(&self, epoch: Epoch) -> InboxPage {
        let engine = &self.engine;
        self.persist(|| engine.store.inbox(&self.agent, epoch, 1, engine.clock.now())).await
    }

    pub(super) async fn command(&self, id: CommandId) -> Option<CommandRow> {
        self.persist(|| self.engine.store.command(id, Outcomes::default())).await
    }

    /// Reads the agent; `None` if it was revoked.
    pub(super) async fn agent(&self) -> Option<AgentRow> {
        let mut failing = false;
        loop {
            match self.engine.agent_row(&self.agent).await {
                Ok(row) => return row,
                Err(error) => self.wait(&mut failing, &error).await,
            }
        }
    }

    /// Records a transition and tells its changes.
    pub(super) async fn record(&self, transition: Transition) -> Verdict {
        let engine = &self.engine;
        let ask = || engine.store.record(vec![transition.clone()], engine.clock.now());
        let Some(step) = self.persist(ask).await.into_iter().next() else { return Verdict::Unknown };
        engine.tell(&step.changes);
        step.verdict
    }

    /// Finds those who may send for the agent now.
    pub(super) async fn candidates(&self, sleeper: &AgentRow, scope: &GroupPath) -> Vec<Neighbour> {
        let mut failing = false;
        loop {
            match self.engine.candidates(sleeper, scope).await {
                Ok(found) => return found,
                Err(error) => self.wait(&mut failing, &error).await,
            }
        }
    }

    /// Gives an order; one that cannot be given counts as expired.
    pub(super) async fn order(&self, order: Order) -> CommandState {
        let mut failing = false;
        loop {
            match self.engine.order(order.clone()).await {
                Ok(state) => return state,
                Err(EngineError::Store(error)) => self.wait(&mut failing, &error).await,
                Err(error) => {
                    tracing::debug!(command = %order.id, agent = %order.agent, %error, "not asked after all");
                    return CommandState::Expired;
                }
            }
        }
    }

    /// Draws random bytes.
    pub(super) async fn random<const N: usize>(&self) -> [u8; N] {
        let mut failing = false;
        loop {
            match random() {
                Ok(bytes) => return bytes,
                Err(error) => self.wait(&mut failing, &error).await,
            }
        }
    }

    async fn persist<'a, T>(&self, mut ask: impl FnMut() -> StoreFuture<'a, T>) -> T {
        let mut failing = false;
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => self.wait(&mut failing, &error).await,
            }
        }
    }

    async fn wait(&self, failing: &mut bool, error: &(dyn Error + Sync)) {
        if !std::mem::replace(failing, true) {
            tracing::warn!(agent = %self.agent, %error, "switching an endpoint on has to wait");
        }
        tokio::time::sleep(RETRY).await;
    }
}
