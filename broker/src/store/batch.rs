//! A batch: calls that are run in one write transaction and share its flush.

use tokio::sync::oneshot;
use wakemq_protocol::{CommandId, CommandState, Outcome};

use super::StoreError;
use super::claims::{Claims, Effect, Shard};
use super::kv::{Pair, ReadKv, Table, WriteKv};
use super::rows::{self, Record, Row};

/// The running batch, as the semantics see it.
pub(super) struct Batch<'a> {
    kv: &'a mut dyn WriteKv,
    /// Who carries what.
    pub(super) claims: &'a Claims,
    effects: &'a mut Vec<Effect>,
    dirty: bool,
}

impl<'a> Batch<'a> {
    /// Begins a batch; `effects` gets what is to be resolved in the claims after it.
    pub(super) fn new(kv: &'a mut dyn WriteKv, claims: &'a Claims, effects: &'a mut Vec<Effect>) -> Self {
        Self { kv, claims, effects, dirty: false }
    }

    /// Tells whether there is anything to commit.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Accepts a command.
    pub(super) fn insert_command(&mut self, id: CommandId, row: &Row) -> Result<(), StoreError> {
        rows::replace_command(self, id, None, Some(row))
    }

    /// Changes a command; `shard` is its agent's.
    pub(super) fn change_command(
        &mut self,
        shard: &mut Shard,
        id: CommandId,
        before: &Row,
        after: &Row,
    ) -> Result<(), StoreError> {
        let agent_key = after.agent.key();
        shard.mark_busy(&agent_key, id);
        self.effects.push(Effect::Changed { agent_key, id, over: !after.is_pending() });
        rows::replace_command(self, id, Some(before), Some(after))
    }

    /// Accepts a command for a group.
    pub(super) fn insert_record(&mut self, id: CommandId, record: &Record) -> Result<(), StoreError> {
        rows::replace_record(self, id, None, Some(record))
    }

    /// Changes a command for a group as a whole.
    pub(super) fn change_record(
        &mut self,
        id: CommandId,
        before: &Record,
        after: &Record,
    ) -> Result<(), StoreError> {
        self.claims.mark_ending(id);
        self.effects.push(Effect::Ending { id });
        rows::replace_record(self, id, Some(before), Some(after))
    }

    /// Changes what became of a command for a group at one agent; `shard` is the agent's.
    pub(super) fn change_outcome(
        &mut self,
        shard: &mut Shard,
        id: CommandId,
        before: Option<&Outcome>,
        after: &Outcome,
    ) -> Result<(), StoreError> {
        let agent_key = after.agent.key();
        shard.mark_busy(&agent_key, id);
        rows::replace_outcome(self, id, &agent_key, before, after)?;
        let over = after.state != CommandState::Queued;
        self.effects.push(Effect::Changed { agent_key, id, over });
        Ok(())
    }

    /// Notes what is to be done in the claims when the batch is resolved.
    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}

impl ReadKv for Batch<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.kv.get(table, key)
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        self.kv.range(table, from, to, max)
    }
}

impl WriteKv for Batch<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.dirty = true;
        self.kv.put(table, key, value)
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.dirty = true;
        self.kv.remove(table, key)
    }
}

/// A call that waits for its batch.
pub(super) trait Job: Send {
    /// Runs it in a batch. An error fails the whole batch, so that no call is written by half.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError>;

    /// Answers it, now that it is known whether the batch was committed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A job whose caller waits for the result.
struct Call<T, F> {
    work: Option<F>,
    result: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(batch)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { result, answer, .. } = *self;
        // A caller that went away does not want to know.
        drop(answer.send(committed.and_then(|()| result.ok_or(StoreError::Closed))));
    }
}

/// Makes a job of `work`, and the place where its result arrives.
pub(super) fn job<T, F>(work: F) -> (Box<dyn Job>, oneshot::Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
{
    let (answer, result) = oneshot::channel();
    (Box::new(Call { work: Some(work), result: None, answer }), result)
}
