//! The store, over any backend.

use std::sync::Arc;

use tokio::sync::oneshot;
use wakemq_protocol::{AgentId, CommandId, SecretHash, Timestamp};

use super::batch::{Batch, Job, job};
use super::claims::{Carried, Claims};
use super::kv::{ReadKv, Table};
use super::logic::{self, Releasing};
use super::rows;
use super::sighting::Sighting;
use super::{
    Admin, AdminOutcome, Change, Claim, CommandRow, Durability, Epoch, InboxPage, Lane, NewCommand, Outcomes,
    Principal, Query, Recorded, Rows, Store, StoreError, StoreFuture, Submitted, Transition, Verdict,
};

/// Keeps the tables, and runs batches.
pub(super) trait Backend: Send + Sync + 'static {
    /// Reads from one snapshot.
    fn read<T>(&self, work: impl FnOnce(&dyn ReadKv) -> Result<T, StoreError>) -> Result<T, StoreError>;

    /// Queues a job for the next batch, and waits only while the queue is full.
    fn queue(&self, job: Box<dyn Job>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Queues what need not be written at once, and waits only while too much of it is queued.
    fn see(&self, sighting: Sighting) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A store over a backend.
pub(super) struct SharedStore<B> {
    backend: B,
    claims: Arc<Claims>,
}

impl<B: Backend> SharedStore<B> {
    pub(super) fn new(backend: B, claims: Arc<Claims>) -> Self {
        Self { backend, claims }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, result) = job(work);
        self.backend.queue(job).await?;
        wait(result).await
    }

    /// Reads; where the medium failed, once more after the backend had a chance to recover.
    async fn read<T>(&self, work: impl Fn(&B) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match work(&self.backend) {
            Err(StoreError::Io(_)) => {
                self.write(|_| Ok(())).await?;
                work(&self.backend)
            }
            result => result,
        }
    }

    /// Reports what becomes of commands that a connection carried, and ends those that are to end.
    async fn let_go(
        &self,
        agent_key: String,
        carried: Vec<Carried>,
        now: Timestamp,
    ) -> Result<Vec<Change>, StoreError> {
        if carried.is_empty() {
            return Ok(Vec::new());
        }
        let releasing = self
            .read(|backend| {
                let shard = self.claims.shard(&agent_key);
                backend.read(|kv| logic::releasing(&shard, &agent_key, &carried, now, kv))
            })
            .await?;
        let others = match releasing {
            Releasing::Done(changes) => return Ok(changes),
            Releasing::Due(others) => others,
        };
        match self.write(move |batch| logic::release(batch, &agent_key, &carried, now)).await {
            // They stay due, and the next sweep tells of them.
            Err(StoreError::Io(error)) => {
                tracing::warn!(%error, "the ends of released commands cannot be written yet");
                Ok(others)
            }
            result => result,
        }
    }
}

async fn wait<T>(result: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    result.await.unwrap_or(Err(StoreError::Closed))
}

impl<B: Backend> Store for SharedStore<B> {
    fn submit(&self, commands: Vec<NewCommand>, now: Timestamp) -> StoreFuture<'_, Vec<Submitted>> {
        Box::pin(
            self.write(move |batch| {
                commands.iter().map(|command| logic::submit(batch, command, now)).collect()
            }),
        )
    }

    fn record(&self, transitions: Vec<Transition>, now: Timestamp) -> StoreFuture<'_, Vec<Recorded>> {
        Box::pin(async move {
            // Letting go alone has no need of the writer as long as nothing ends by it.
            let let_go = match &*transitions {
                [Transition::Release { agent, epoch }] => {
                    let agent_key = agent.key();
                    let carried = self.claims.give_up(&agent_key, *epoch);
                    Some((agent_key, carried))
                }
                [Transition::LetGo { agent, id, epoch }] => {
                    let agent_key = agent.key();
                    let carried = self.claims.let_go(&agent_key, *epoch, *id).map(|carried| vec![carried]);
                    Some((agent_key, carried))
                }
                _ => None,
            };
            if let Some((agent_key, carried)) = let_go {
                let Some(carried) = carried else {
                    return Ok(vec![Recorded { verdict: Verdict::Stale, changes: Vec::new() }]);
                };
                let changes = self.let_go(agent_key, carried, now).await?;
                return Ok(vec![Recorded { verdict: Verdict::Applied, changes }]);
            }
            self.write(move |batch| {
                transitions.iter().map(|transition| logic::record(batch, transition, now)).collect()
            })
            .await
        })
    }

    fn inbox(&self, agent: &AgentId, epoch: Epoch, max: usize, now: Timestamp) -> StoreFuture<'_, InboxPage> {
        let agent_key = agent.key();
        Box::pin(self.read(move |backend| {
            let mut shard = self.claims.shard(&agent_key);
            let ending = self.claims.ending();
            backend.read(|kv| logic::take(&mut shard, &ending, kv, &agent_key, epoch, max, now))
        }))
    }

    fn command(&self, id: CommandId, outcomes: Outcomes) -> StoreFuture<'_, Option<CommandRow>> {
        Box::pin(self.read(move |backend| {
            let own = logic::look_up(&self.claims, id, |id| backend.read(|kv| rows::command(kv, id)))?;
            if own.is_some() {
                return Ok(own);
            }
            logic::look_up_record(&self.claims, id, &outcomes, |work| backend.read(work))
        }))
    }

    fn authenticate(&self, hash: &SecretHash) -> StoreFuture<'_, Option<Principal>> {
        let hash = *hash;
        Box::pin(self.read(move |backend| {
            let owner = backend.read(|kv| rows::get::<rows::Owner>(kv, Table::Secrets, &hash.0))?;
            Ok(owner.map(Principal::from))
        }))
    }

    // One process holds all connections, so that the name of the node tells nothing.
    fn claim(&self, agent: &AgentId, lane: Lane, _node: &str, now: Timestamp) -> StoreFuture<'_, Claim> {
        let agent_key = agent.key();
        Box::pin(async move {
            let (epoch, former) = self.claims.take_over(&agent_key, lane);
            let changes = self.let_go(agent_key, former, now).await?;
            Ok(Claim { epoch, changes })
        })
    }

    fn write(
        &self,
        ops: Vec<Admin>,
        durability: Durability,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<AdminOutcome>> {
        Box::pin(async move {
            let sightings: Option<Vec<_>> = match durability {
                Durability::Lazy => ops.iter().map(|op| Sighting::of(op, now)).collect(),
                Durability::Flushed => None,
            };
            // What is not known before it is written cannot be answered lazily.
            let Some(sightings) = sightings else {
                return self
                    .write(move |batch| ops.iter().map(|op| logic::write(batch, op, now)).collect())
                    .await;
            };
            let unknown =
                self.read(|backend| backend.read(|kv| logic::unknown_agents(kv, &sightings))).await?;
            let mut outcomes = Vec::with_capacity(sightings.len());
            for (sighting, unknown) in sightings.into_iter().zip(unknown) {
                if unknown {
                    outcomes.push(AdminOutcome::Unknown);
                } else {
                    self.backend.see(sighting).await?;
                    outcomes.push(AdminOutcome::Done);
                }
            }
            Ok(outcomes)
        })
    }

    fn read(&self, query: Query) -> StoreFuture<'_, Rows> {
        Box::pin(self.read(move |backend| {
            let mut found = match &query {
                Query::Agent(agent) => {
                    backend.read(|kv| logic::find_agents(kv, std::slice::from_ref(agent)))?
                }
                Query::Named(named) => backend.read(|kv| logic::find_agents(kv, named))?,
                Query::Places { after, scope, max } => {
                    let read = |kv: &dyn ReadKv| logic::places(kv, after.as_ref(), scope, *max);
                    return backend.read(read).map(Rows::Places);
                }
                Query::Agents { after, scope, max } => {
                    backend.read(|kv| logic::agents(kv, after.as_ref(), scope, *max))?
                }
                Query::Groups { after, scope, max } => {
                    return backend
                        .read(|kv| logic::groups(kv, after.as_ref(), scope, *max))
                        .map(Rows::Groups);
                }
                Query::Operators { after, scope, max } => {
                    let read = |kv: &dyn ReadKv| logic::operators(kv, after.as_ref(), scope, *max);
                    return backend.read(read).map(Rows::Operators);
                }
                Query::Tokens { after, scope, max } => {
                    let read = |kv: &dyn ReadKv| logic::tokens(kv, after.as_deref(), scope, *max);
                    return backend.read(read).map(Rows::Tokens);
                }
                Query::Audit { since, after, scope, max } => {
                    return backend.read(|kv| logic::audit(kv, *since, *after, scope, *max));
                }
                Query::Waiting { id, after, max } => {
                    return backend.read(|kv| logic::waiting(kv, *id, after.as_ref(), *max));
                }
                Query::Power { after, max } => {
                    return backend.read(|kv| logic::power(kv, *after, *max));
                }
                Query::Health => {
                    backend.read(|kv| rows::check_format(kv))?;
                    return Ok(Rows::Healthy);
                }
            };
            for row in &mut found {
                let agent_key = row.agent.key();
                let live = self.claims.shard(&agent_key).live_count(&agent_key);
                row.pending = row.pending.saturating_add(u32::try_from(live).unwrap_or(u32::MAX));
            }
            Ok(Rows::Agents(found))
        }))
    }
}
