//! A batch: calls that are run in one write transaction and share its flush.

use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::oneshot;
use wakemq_protocol::{CommandId, CommandState, Counts, Outcome};

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
    /// Counts of commands for groups that were changed, by their keys: written once, when all has run.
    counts: BTreeMap<Vec<u8>, Counts>,
    /// The command for a group that was read last: in a batch of acknowledgements almost always the same.
    latest_record: Option<(CommandId, Rc<Record>)>,
}

impl<'a> Batch<'a> {
    /// Runs a batch; tells whether there is anything to commit. `effects` gets what is to be resolved in the claims
    /// after it.
    pub(super) fn run(
        kv: &'a mut dyn WriteKv,
        claims: &'a Claims,
        effects: &'a mut Vec<Effect>,
        work: impl FnOnce(&mut Self) -> Result<(), StoreError>,
    ) -> Result<bool, StoreError> {
        let counts = BTreeMap::new();
        let mut batch = Self { kv, claims, effects, dirty: false, counts, latest_record: None };
        work(&mut batch)?;
        for (key, counts) in &batch.counts {
            rows::put(batch.kv, Table::Counts, key, counts)?;
        }
        Ok(batch.dirty)
    }

    /// Tells whether anything was changed so far.
    #[cfg(test)]
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Reads a command for a group.
    pub(super) fn record(&mut self, id: CommandId) -> Result<Option<Rc<Record>>, StoreError> {
        if !self.is_latest_record(id) {
            let Some(record) = rows::record(self, id)? else { return Ok(None) };
            self.latest_record = Some((id, Rc::new(record)));
        }
        Ok(self.latest_record.as_ref().map(|(_, record)| record.clone()))
    }

    /// Tells whether a command is for a group, as far as that needs no look-up.
    pub(super) fn is_latest_record(&self, id: CommandId) -> bool {
        self.latest_record.as_ref().is_some_and(|(latest, _)| *latest == id)
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
        self.count(id, before.map(|before| before.state), after.state)?;
        let over = after.state != CommandState::Queued;
        self.effects.push(Effect::Changed { agent_key, id, over });
        Ok(())
    }

    /// Keeps the counts in step with what became of a command at an agent. `queued` is not counted: it is what all are
    /// of which nothing is known.
    fn count(
        &mut self,
        id: CommandId,
        was: Option<CommandState>,
        is: CommandState,
    ) -> Result<(), StoreError> {
        let was = was.filter(|was| *was != CommandState::Queued);
        let is = Some(is).filter(|is| *is != CommandState::Queued);
        if was == is {
            return Ok(());
        }
        let key = id.as_bytes();
        let mut counts = match self.counts.get(&key[..]) {
            Some(counts) => *counts,
            None => rows::get(self.kv, Table::Counts, key)?.unwrap_or_default(),
        };
        if let Some(was) = was {
            let count = counts.of(was);
            *count = count.saturating_sub(1);
        }
        if let Some(is) = is {
            *counts.of(is) += 1;
        }
        self.counts.insert(key.to_vec(), counts);
        Ok(())
    }

    /// Forgets what is known of a row that is about to change.
    fn touch(&mut self, table: Table, key: &[u8]) {
        self.dirty = true;
        if table == Table::Counts {
            self.counts.remove(key);
        } else if table == Table::Records {
            self.latest_record = None;
        }
    }

    /// Notes what is to be done in the claims when the batch is resolved.
    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}

impl ReadKv for Batch<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.counts.get(key) {
            Some(counts) if table == Table::Counts => rows::to_json(table, counts).map(Some),
            Some(_) | None => self.kv.get(table, key),
        }
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        self.kv.range(table, from, to, max)
    }
}

impl WriteKv for Batch<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.touch(table, key);
        self.kv.put(table, key, value)
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.touch(table, key);
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
