//! Begins attempts: at most so many at a time, the others in order of acceptance.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use wakemq_protocol::AgentId;

use super::ATTEMPTS_MAX;
use super::carry::Carrier;
use crate::engine::Engine;
use crate::engine::admin::wrong_rows;
use crate::store::{Query, Rows, StoreError};

/// How many pending commands are read at a time.
const PAGE: usize = 500;
/// How long after a failure of the store it is asked again what is pending.
const RETRY: Duration = Duration::from_secs(1);

/// Begins attempts, and owns their tasks: dropped, it ends them all. Their commands stay pending.
pub(crate) struct PowerQueue {
    engine: Arc<Engine>,
    tasks: JoinSet<()>,
    /// Agents with something pending, as read.
    backlog: VecDeque<AgentId>,
    /// Where reading goes on, if it is not at its end.
    next: Option<Option<u64>>,
}

impl PowerQueue {
    /// Goes on with what was pending when the broker was ended, as far as there is room. Those attempts hear of
    /// every connection from then on.
    pub(crate) async fn start(engine: Arc<Engine>) -> Result<Self, StoreError> {
        let mut queue = Self { engine, tasks: JoinSet::new(), backlog: VecDeque::new(), next: Some(None) };
        queue.fill().await?;
        Ok(queue)
    }

    /// Begins attempts as they are asked for, for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = self.engine.power.desk.wait() => {}
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "an attempt to switch an endpoint on broke off");
                    }
                }
            }
            match self.fill().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "it cannot be read at the moment who is to be switched on");
                    }
                    tokio::time::sleep(RETRY).await;
                    self.engine.power.desk.scan();
                }
            }
        }
    }

    /// Begins as many attempts as there is room for.
    async fn fill(&mut self) -> Result<(), StoreError> {
        while self.engine.power.desk.running() < ATTEMPTS_MAX {
            let Some(agent) = self.take().await? else { return Ok(()) };
            if let Some(line) = self.engine.power.desk.open(&agent, self.engine.power.began_ms) {
                self.tasks.spawn(Carrier::new(self.engine.clone(), line).run());
            }
        }
        Ok(())
    }

    /// Takes the next agent: what was read first, because it has waited longest.
    async fn take(&mut self) -> Result<Option<AgentId>, StoreError> {
        loop {
            if let Some(agent) = self.backlog.pop_front() {
                return Ok(Some(agent));
            }
            if self.next.is_none() && self.engine.power.desk.take_scan() {
                self.next = Some(None);
            }
            let Some(after) = self.next else { return Ok(self.engine.power.desk.take_poked()) };
            let Rows::Power { commands, next } =
                self.engine.store.read(Query::Power { after, max: PAGE }).await?
            else {
                return Err(wrong_rows("power commands"));
            };
            self.next = next.map(Some);
            self.backlog.extend(commands.into_iter().map(|(agent, _)| agent));
        }
    }
}
