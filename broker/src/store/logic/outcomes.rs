//! What becomes of a command for a group at one agent.
//!
//! As long as nothing is known of an agent other than by the record, there is no row for it.

use std::rc::Rc;

use wakemq_protocol::limits::ID_MEMORY_SECS;
use wakemq_protocol::{AgentId, CommandId, CommandState, GroupPath, News, Outcome, Timestamp, Update};

use super::judge::{Judgement, Said, Standing, judge};
use super::lifecycle::{Arrived, nothing, overtake};
use crate::store::batch::Batch;
use crate::store::claims::{Claims, Shard};
use crate::store::kv::ReadKv;
use crate::store::rows::{self, Agent, Record};
use crate::store::{Change, Lane, Recorded, StoreError, Verdict};

/// A command for a group, seen from one of its agents.
struct Seen {
    record: Rc<Record>,
    agent: Agent,
    /// What is known of the agent.
    row: Option<Outcome>,
    is_carried: bool,
}

impl Seen {
    /// Finds a command that is, or lately was, meant for the agent.
    fn find(
        batch: &mut Batch<'_>,
        shard: &Shard,
        agent_key: &str,
        id: CommandId,
        now: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        let Some(record) = batch.record(id)? else { return Ok(None) };
        let Some(agent) = rows::agent(batch, agent_key)? else { return Ok(None) };
        let row = rows::outcome(batch, id, agent_key)?;
        let is_carried = shard.is_carried(agent_key, id);
        let ended_ms = if record.is_live() { 0 } else { now.unix_ms() - record.at.unix_ms() };
        let was_meant = record.is_meant_for(&agent) && ended_ms < i64::from(ID_MEMORY_SECS) * 1000;
        let seen = Self { record, agent, row, is_carried };
        // What is known may be of another agent that had the id before.
        let existed = seen.agent.existed_at(seen.record.sequence);
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

    /// Makes what is known of the agent from now on.
    fn becomes(&self, state: CommandState, said: &Said<'_>, now: Timestamp) -> Outcome {
        Outcome {
            agent: self.agent.agent.clone(),
            state,
            at: now,
            detail: said.detail(),
            superseded_by: None,
            cancel_requested: false,
            late: None,
        }
    }
}

fn change(id: CommandId, record: &Record, group: &GroupPath, outcome: Outcome) -> Change {
    Change {
        by: record.by.clone(),
        kind: record.submission.kind.clone(),
        group: group.clone(),
        news: News::Agent(Update::new(id, outcome)),
    }
}

/// Records what is said of a command for a group at one of its agents.
pub(super) fn heard(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    id: CommandId,
    said: Said<'_>,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let agent_key = agent.key();
    let claims = batch.claims;
    let mut shard = claims.shard(&agent_key);
    let found = Seen::find(batch, &shard, &agent_key, id, now)?;
    let Some(seen) = found else { return Ok(nothing(Verdict::Unknown)) };
    let before = seen.outcome();
    let standing = Standing::new(&shard, &agent_key, id, &before, seen.is_pending());
    let (verdict, after, arrived) = match judge(&said, &standing) {
        Judgement::Nothing(verdict) => return Ok(nothing(verdict)),
        Judgement::Late(receipt) => (Verdict::Late, Outcome { late: Some(receipt.clone()), ..before }, false),
        Judgement::Becomes { state, arrived } => (Verdict::Applied, seen.becomes(state, &said, now), arrived),
    };
    batch.change_outcome(&mut shard, id, seen.row.as_ref(), &after)?;
    let Seen { record, agent, .. } = seen;
    let mut changes = vec![change(id, &record, &agent.group, after)];
    if arrived {
        let arrived = Arrived { id, sequence: record.sequence, slot: record.slot(), lane: Lane::Agent };
        overtake(batch, &mut shard, &agent, &arrived, now, &mut changes)?;
    }
    Ok(Recorded { verdict, changes })
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
    let since = shard.sent_since(&agent.agent.key(), id);
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
    if let Some(since) = claims.shard(&agent_key).sent_since(&agent_key, id) {
        outcome.state = CommandState::Sent;
        outcome.at = since;
    }
}
