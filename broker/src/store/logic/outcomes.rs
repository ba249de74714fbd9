//! What becomes of a command for a group at one agent.
//!
//! As long as nothing is known of an agent other than by the record, there is no row for it.

use wakemq_protocol::limits::ID_MEMORY_SECS;
use wakemq_protocol::{
    AgentId, CommandId, CommandState, GroupPath, News, Outcome, Receipt, Timestamp, Update,
};

use super::lifecycle::{nothing, overtake};
use crate::store::batch::Batch;
use crate::store::claims::{Claims, Shard};
use crate::store::kv::ReadKv;
use crate::store::rows::{self, Agent, Record};
use crate::store::{Change, Epoch, Recorded, StoreError, Verdict};

/// A command for a group, seen from one of its agents.
struct Seen {
    id: CommandId,
    record: Record,
    agent: Agent,
    agent_key: String,
    /// What is known of the agent.
    row: Option<Outcome>,
    is_carried: bool,
}

impl Seen {
    /// Finds a command that is, or lately was, meant for the agent.
    fn find(
        batch: &Batch<'_>,
        shard: &Shard,
        agent: &AgentId,
        id: CommandId,
        now: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        let agent_key = agent.key();
        let Some(record) = rows::record(batch, id)? else { return Ok(None) };
        let Some(agent) = rows::agent(batch, &agent_key)? else { return Ok(None) };
        let row = rows::outcome(batch, id, &agent_key)?;
        let is_carried = shard.carried_since(&agent_key, id).is_some();
        let ended_ms = if record.is_live() { 0 } else { now.unix_ms() - record.at.unix_ms() };
        let was_meant = record.is_meant_for(&agent) && ended_ms < i64::from(ID_MEMORY_SECS) * 1000;
        let seen = Self { id, record, agent, agent_key, row, is_carried };
        // What is known may be of another agent that had the id before. No move changes since when one is in the root.
        let existed = seen.agent.inside_since.first().is_some_and(|&since| seen.record.sequence > since);
        let is_known = was_meant || seen.is_carried || (existed && seen.row.is_some());
        Ok(is_known.then_some(seen))
    }

    /// Tells where it stands, carried or not.
    fn outcome(&self) -> Outcome {
        self.row.clone().unwrap_or_else(|| self.record.outcome(&self.agent.agent))
    }

    /// Tells whether it may still be acknowledged. What is carried is decided by nobody else.
    fn is_pending(&self) -> bool {
        match &self.row {
            Some(row) => row.state == CommandState::Queued,
            None => self.is_carried || self.record.is_live(),
        }
    }

    /// Writes what became of it.
    fn decide(
        &self,
        batch: &mut Batch<'_>,
        shard: &mut Shard,
        state: CommandState,
        detail: Option<String>,
        now: Timestamp,
    ) -> Result<Change, StoreError> {
        let agent = self.agent.agent.clone();
        let after = Outcome {
            agent,
            state,
            at: now,
            detail,
            superseded_by: None,
            cancel_requested: false,
            late: None,
        };
        batch.change_outcome(shard, self.id, self.row.as_ref(), &after)?;
        Ok(change(self.id, &self.record, &self.agent.group, after))
    }

    /// Ends what is left of its slot, now that it has arrived.
    fn overtake(
        &self,
        batch: &mut Batch<'_>,
        shard: &mut Shard,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Result<(), StoreError> {
        let arrived = (self.id, self.record.sequence, self.record.slot());
        overtake(batch, shard, &self.agent_key, arrived, now, changes)
    }
}

fn change(id: CommandId, record: &Record, group: &GroupPath, outcome: Outcome) -> Change {
    Change {
        by: record.by.clone(),
        kind: record.submission.kind.clone(),
        group: group.clone(),
        news: News::Agent(Update { id, outcome }),
    }
}

/// The agent has it in its journal.
pub(super) fn acknowledged(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    id: CommandId,
    epoch: Epoch,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let claims = batch.claims;
    let mut shard = claims.shard(&agent.key());
    let Some(seen) = Seen::find(batch, &shard, agent, id, now)? else { return Ok(nothing(Verdict::Unknown)) };
    if !seen.is_pending() && seen.outcome().state.is_terminal() {
        return Ok(nothing(Verdict::Late));
    }
    if shard.epoch(&seen.agent_key) != Some(epoch) {
        return Ok(nothing(Verdict::Stale));
    }
    if !seen.is_pending() {
        // Said again because the answer to the first time was lost.
        return Ok(nothing(Verdict::Applied));
    }
    if !seen.is_carried {
        return Ok(nothing(Verdict::Stale));
    }
    let mut changes = vec![seen.decide(batch, &mut shard, CommandState::Acknowledged, None, now)?];
    seen.overtake(batch, &mut shard, now, &mut changes)?;
    Ok(Recorded { verdict: Verdict::Applied, changes })
}

/// The broker could not send it.
pub(super) fn failed(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    id: CommandId,
    epoch: Epoch,
    detail: &str,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let claims = batch.claims;
    let mut shard = claims.shard(&agent.key());
    let Some(seen) = Seen::find(batch, &shard, agent, id, now)? else { return Ok(nothing(Verdict::Unknown)) };
    if !seen.is_pending() && seen.outcome().state.is_terminal() {
        return Ok(nothing(Verdict::Late));
    }
    if !seen.is_pending() || !seen.is_carried || shard.epoch(&seen.agent_key) != Some(epoch) {
        return Ok(nothing(Verdict::Stale));
    }
    let failed = seen.decide(batch, &mut shard, CommandState::Failed, Some(detail.to_owned()), now)?;
    Ok(Recorded { verdict: Verdict::Applied, changes: vec![failed] })
}

/// The agent says what became of it.
pub(super) fn receipt(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let claims = batch.claims;
    let mut shard = claims.shard(&agent.key());
    let found = Seen::find(batch, &shard, agent, receipt.id, now)?;
    let Some(seen) = found else { return Ok(nothing(Verdict::Unknown)) };
    let Some(state) = receipt.state.command_state() else { return Ok(nothing(Verdict::Applied)) };
    let outcome = seen.outcome();
    let was_pending = seen.is_pending();
    if !was_pending && outcome.state == state {
        return Ok(nothing(Verdict::Applied));
    }
    if !was_pending && outcome.state.is_terminal() {
        if outcome.late.as_ref() == Some(receipt) {
            return Ok(nothing(Verdict::Late));
        }
        let after = Outcome { late: Some(receipt.clone()), ..outcome };
        batch.change_outcome(&mut shard, receipt.id, seen.row.as_ref(), &after)?;
        let late = change(receipt.id, &seen.record, &seen.agent.group, after);
        return Ok(Recorded { verdict: Verdict::Late, changes: vec![late] });
    }
    let mut changes = vec![seen.decide(batch, &mut shard, state, receipt.detail.clone(), now)?];
    if was_pending {
        seen.overtake(batch, &mut shard, now, &mut changes)?;
    }
    Ok(Recorded { verdict: Verdict::Applied, changes })
}

/// Ends a live command at an agent that it is not for any more.
pub(super) fn cancel(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    agent: &Agent,
    id: CommandId,
    now: Timestamp,
) -> Result<Option<Change>, StoreError> {
    end(batch, shard, agent, id, (CommandState::Cancelled, None), now)
}

/// Ends a live command at an agent of which nothing else is known.
fn end(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    agent: &Agent,
    id: CommandId,
    (state, superseded_by): (CommandState, Option<CommandId>),
    now: Timestamp,
) -> Result<Option<Change>, StoreError> {
    let Some(record) = rows::record(batch, id)? else { return Ok(None) };
    let after = Outcome { state, at: now, superseded_by, ..record.outcome(&agent.agent) };
    batch.change_outcome(shard, id, None, &after)?;
    Ok(Some(change(id, &record, &agent.group, after)))
}

/// Has a live command end at an agent when its connection does, which carries it.
pub(super) fn request_cancel(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    agent: &Agent,
    id: CommandId,
) -> Result<Option<Change>, StoreError> {
    let Some(record) = rows::record(batch, id)? else { return Ok(None) };
    let after = Outcome { cancel_requested: true, ..record.outcome(&agent.agent) };
    batch.change_outcome(shard, id, None, &after)?;
    let since = shard.carried_since(&agent.agent.key(), id);
    let told = Outcome { state: CommandState::Sent, at: since.unwrap_or(after.at), ..after };
    Ok(Some(change(id, &record, &agent.group, told)))
}

/// Ends what was to end when no connection carries it any more; `None` if there is no such thing.
pub(super) fn settle(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    agent_key: &str,
    id: CommandId,
    now: Timestamp,
) -> Result<Option<Change>, StoreError> {
    let row = rows::outcome(batch, id, agent_key)?.filter(|row| row.state == CommandState::Queued);
    let (Some(row), Some(record)) = (row, rows::record(batch, id)?) else { return Ok(None) };
    let after = Outcome { state: CommandState::Cancelled, at: now, cancel_requested: false, ..row.clone() };
    batch.change_outcome(shard, id, Some(&row), &after)?;
    let group = rows::agent(batch, agent_key)?.map_or(record.group.clone(), |agent| agent.group);
    Ok(Some(change(id, &record, &group, after)))
}

/// Tells what a command has become that a connection has let go, if no row says it.
pub(super) fn let_go(
    kv: &dyn ReadKv,
    agent_key: &str,
    id: CommandId,
    now: Timestamp,
) -> Result<Option<Change>, StoreError> {
    if rows::has_outcome(kv, id, agent_key)? {
        return Ok(None);
    }
    let (Some(record), Some(agent)) = (rows::record(kv, id)?, rows::agent(kv, agent_key)?) else {
        return Ok(None);
    };
    let outcome = Outcome { at: now, ..record.outcome(&agent.agent) };
    Ok(Some(change(id, &record, &agent.group, outcome)))
}

/// Ends a live command at an agent because a newer one of its slot has arrived there.
pub(super) fn supersede(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    agent: &Agent,
    id: CommandId,
    newer: CommandId,
    now: Timestamp,
) -> Result<Option<Change>, StoreError> {
    end(batch, shard, agent, id, (CommandState::Superseded, Some(newer)), now)
}

/// Tells of an outcome whether it is on its way.
pub(super) fn now(claims: &Claims, id: CommandId, outcome: &mut Outcome) {
    if outcome.state != CommandState::Queued {
        return;
    }
    let agent_key = outcome.agent.key();
    if let Some(since) = claims.shard(&agent_key).carried_since(&agent_key, id) {
        outcome.state = CommandState::Sent;
        outcome.at = since;
    }
}
