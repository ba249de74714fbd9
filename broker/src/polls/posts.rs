//! Receipts, facts and reports over HTTP: at the rate that MQTT allows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wakemq_core::Turns;
use wakemq_protocol::{AgentId, Facts, Receipt, Report, Transport};

use super::{Asking, Polls};
use crate::registry::Letter;
use crate::store::StoreError;

/// From how many agents on those are forgotten that are quiet.
const SWEEP_FROM: usize = 1024;

/// Whose turn is when.
#[derive(Default)]
pub(super) struct Posts {
    turns: Mutex<HashMap<AgentId, Turns>>,
}

/// Why a post was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// A hundred of the agent's wait already.
    #[error("too many posts of this agent wait already: ten are carried out in a second")]
    TooMany,
    /// The agent was revoked while its post was on its way.
    #[error("the agent was revoked")]
    Revoked,
    /// The store cannot do its work.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Posts {
    fn turn(&self, agent: &AgentId, now_ms: u64) -> Option<u64> {
        let mut turns = self.turns.lock();
        if turns.len() >= SWEEP_FROM && turns.len() == turns.capacity() {
            turns.retain(|_, turns| !turns.is_over(now_ms));
        }
        turns.entry(agent.clone()).or_default().next(now_ms)
    }
}

impl Polls {
    /// Records a receipt, when it is its turn.
    ///
    /// # Errors
    /// See [`PostError`].
    pub async fn receipt(self: &Arc<Self>, mut who: Asking, receipt: Receipt) -> Result<(), PostError> {
        self.wait_for_turn(&mut who).await?;
        let polls = self.clone();
        to_its_end(async move {
            let (engine, id) = (&polls.engine, receipt.id);
            // It only tells from where the receipt came.
            let mailbox = engine.registry().open(who.address, Transport::Poll);
            let done = engine.receipt(&who.agent, &mailbox, receipt).await;
            engine.registry().close(&mailbox);
            if done.is_ok()
                && let Some(poller) = polls.pollers.lock().get(&who.agent)
            {
                // A receipt implies the acknowledgement.
                poller.mailbox.post(Letter::Settled { id });
            }
            done
        })
        .await
    }

    /// Keeps an agent's facts, when it is their turn: those of its live way, or of the one that is about to come.
    ///
    /// # Errors
    /// See [`PostError`].
    pub async fn facts(self: &Arc<Self>, mut who: Asking, facts: Facts) -> Result<(), PostError> {
        self.wait_for_turn(&mut who).await?;
        let polls = self.clone();
        to_its_end(async move {
            let (engine, registry) = (&polls.engine, polls.engine.registry());
            // Kept first: a poll that comes in just then finds them, or is found.
            polls.early.keep(&who.agent, facts.clone(), polls.now_ms());
            if let Some((mailbox, _)) = registry.find(&who.agent) {
                polls.early.take(&who.agent, polls.now_ms());
                return engine.facts(&who.agent, &mailbox, facts).await;
            }
            let mailbox = registry.open(who.address, Transport::Poll);
            let done = engine.facts(&who.agent, &mailbox, facts).await;
            registry.close(&mailbox);
            done
        })
        .await
    }

    /// Tells the operators who follow what an agent reports, when it is its turn.
    ///
    /// # Errors
    /// See [`PostError`].
    pub async fn report(self: &Arc<Self>, mut who: Asking, report: Report) -> Result<(), PostError> {
        self.wait_for_turn(&mut who).await?;
        Ok(self.engine.report(&who.agent, report.0).await?)
    }

    /// Waits until it is an agent's turn; who is to post then is looked at again, for its body may have taken long too.
    async fn wait_for_turn(&self, who: &mut Asking) -> Result<(), PostError> {
        let now_ms = self.now_ms();
        let turn_ms = self.posts.turn(&who.agent, now_ms).ok_or(PostError::TooMany)?;
        if turn_ms > now_ms {
            self.engine.metrics().agent_pauses.inc();
            tokio::time::sleep(Duration::from_millis(turn_ms - now_ms)).await;
        }
        if self.still_admitted(who).await? { Ok(()) } else { Err(PostError::Revoked) }
    }
}

/// Does something to its end, whether the client waits for it or not.
async fn to_its_end(
    work: impl Future<Output = Result<(), StoreError>> + Send + 'static,
) -> Result<(), PostError> {
    match tokio::spawn(work).await {
        Ok(done) => Ok(done?),
        Err(error) => {
            tracing::error!(%error, "a post broke off");
            Err(StoreError::Closed.into())
        }
    }
}
