//! Commands with time to live 0 that the engine itself gives to agents, on behalf of an operator.

use wakemq_protocol::{
    AgentId, CommandId, CommandState, GroupPath, Kind, News, Priority, RelayJob, Submission,
};

use crate::engine::commands::missing;
use crate::engine::{Engine, EngineError};
use crate::store::{Actor, Delivery, NewCommand, Submitted};

/// A command for an agent that is connected now.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// Its id; the same order again is the same command.
    pub(super) id: CommandId,
    /// On whose behalf.
    pub(super) actor: Actor,
    /// The subtree that the operator may command.
    pub(super) scope: GroupPath,
    /// To whom.
    pub(super) agent: AgentId,
    /// What.
    pub(super) kind: Kind,
    /// What a relay is to send: it is told to the agent, and kept nowhere.
    pub(super) job: Option<Box<RelayJob>>,
    /// Why.
    pub(super) reason: String,
}

impl Engine {
    /// Gives an order; returns where it stands: `sent`, or `expired` if the agent is not subscribed.
    ///
    /// After an error of the store the same order again is safe.
    pub(super) async fn order(&self, order: Order) -> Result<CommandState, EngineError> {
        let Order { id, actor, scope, agent, kind, job, reason } = order;
        let now = self.clock.now();
        let epoch = self.registry.find(&agent).and_then(|(_, epoch)| epoch);
        let carriers = epoch.map(|epoch| (agent.clone(), epoch)).into_iter().collect();
        let submission = Submission {
            ttl: Some(0),
            priority: Priority::High,
            reason: Some(reason),
            ..Submission::new(kind)
        };
        let command = NewCommand {
            id,
            actor,
            scope,
            target: agent.into(),
            submission,
            expires: now,
            delivery: Delivery::Live(carriers),
        };
        let result = self.store.submit(vec![command.clone()], now).await?;
        let result = result.into_iter().next().ok_or_else(|| missing("an order"))?;
        let state = match &result {
            Submitted::Accepted { news: News::Agent(update), .. }
            | Submitted::Duplicate(News::Agent(update)) => update.outcome.state,
            Submitted::Accepted { news: News::Group(_), .. }
            | Submitted::Duplicate(News::Group(_))
            | Submitted::Conflict
            | Submitted::Full
            | Submitted::Unknown
            | Submitted::Forbidden => CommandState::Refused,
        };
        if let (Submitted::Duplicate(news), CommandState::Sent) = (&result, state) {
            // It was accepted when the answer was lost, and has not been handed over yet.
            self.hand_over(command, job, news, now);
            return Ok(state);
        }
        self.settle_job(command, job, result, now)?;
        Ok(state)
    }
}
