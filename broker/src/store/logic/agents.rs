//! Agents: how they come, move and go, and what is read of them.

use std::net::IpAddr;

use parking_lot::MutexGuard;
use serde_json::json;
use wakemq_protocol::{AgentId, CommandState, Facts, GroupPath, SecretHash, Timestamp};

use super::audit::{self, Deed};
use super::lifecycle::{change, end, take_back};
use super::{groups, outcomes};
use crate::store::batch::Batch;
use crate::store::claims::{Effect, Shard};
use crate::store::kv::{Pair, ReadKv, Table, WriteKv, after};
use crate::store::rows::{self, Agent, Owner, Row, Seen};
use crate::store::{Actor, AdminOutcome, AgentRow, Change, Lane, StoreError};

/// Creates an agent, unless its id or its secret is taken.
pub(super) fn create(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    group: &GroupPath,
    secret: &SecretHash,
    facts: Option<&Facts>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let key = agent.key();
    if batch.get(Table::Agents, key.as_bytes())?.is_some() || batch.get(Table::Secrets, &secret.0)?.is_some()
    {
        return Ok(false);
    }
    let sequence = rows::sequence(batch)?;
    let row = Agent {
        agent: agent.clone(),
        group: group.clone(),
        inside_since: group.levels().map(|_| sequence).collect(),
        secret: *secret,
        created: now,
    };
    groups::enter(batch, group, 0, now)?;
    put(batch, &key, &row)?;
    if let Some(facts) = facts {
        let seen = Seen { facts: Some(facts.clone()), ..Seen::default() };
        rows::put(batch, Table::Seen, key.as_bytes(), &seen)?;
    }
    Ok(true)
}

/// Writes an agent's row, and what finds it.
fn put(batch: &mut Batch<'_>, key: &str, row: &Agent) -> Result<(), StoreError> {
    rows::put(batch, Table::Agents, key.as_bytes(), row)?;
    let owner = Owner::Agent { agent: row.agent.clone(), group: row.group.clone() };
    rows::put(batch, Table::Secrets, &row.secret.0, &owner)?;
    batch.put(Table::Members, &rows::member_key(&row.group, key), row.agent.as_str().as_bytes())
}

/// Reads the agent's own commands that are pending, those that are in no inbox too.
fn own_pending(
    batch: &Batch<'_>,
    shard: &Shard,
    agent_key: &str,
) -> Result<Vec<(wakemq_protocol::CommandId, Row)>, StoreError> {
    let mut ids: Vec<_> = rows::inbox(batch, agent_key)?.into_iter().map(|entry| entry.id).collect();
    ids.extend(
        shard.carried(agent_key, Lane::Agent).iter().filter(|carried| carried.live).map(|carried| carried.id),
    );
    let mut pending = Vec::with_capacity(ids.len());
    for id in ids {
        pending.extend(rows::command(batch, id)?.filter(Row::is_pending).map(|row| (id, row)));
    }
    Ok(pending)
}

/// Locks the claims of an agent and reads it; `None` if there is no such agent in the subtree.
fn locked<'a>(
    batch: &Batch<'a>,
    agent: &AgentId,
    scope: &GroupPath,
) -> Result<Option<(MutexGuard<'a, Shard>, Agent)>, StoreError> {
    let agent_key = agent.key();
    let shard = batch.claims.shard(&agent_key);
    let row = rows::agent(batch, &agent_key)?.filter(|row| scope.contains(&row.group));
    Ok(row.map(|row| (shard, row)))
}

pub(super) fn revoke(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    scope: &GroupPath,
    actor: Option<&Actor>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let Some((mut shard, row)) = locked(batch, agent, scope)? else { return Ok(AdminOutcome::Unknown) };
    let agent_key = row.agent.key();
    let mut changes = Vec::new();
    for (id, command) in own_pending(batch, &shard, &agent_key)? {
        let ended = end(batch, &mut shard, id, &command, CommandState::Cancelled, now)?;
        changes.push(change(id, &ended, None));
    }
    for (_, entry) in rows::open_records(batch, &row, |_| true)? {
        changes.extend(outcomes::cancel(batch, &mut shard, &row, entry.id, now)?);
    }
    let carried: Vec<_> = shard.carried(&agent_key, Lane::Agent).iter().map(|carried| carried.id).collect();
    for id in carried {
        changes.extend(outcomes::settle(batch, &mut shard, &agent_key, id, now)?);
    }
    groups::leave(batch, &row.group, 0)?;
    batch.remove(Table::Members, &rows::member_key(&row.group, &agent_key))?;
    batch.remove(Table::Agents, agent_key.as_bytes())?;
    batch.remove(Table::Seen, agent_key.as_bytes())?;
    batch.remove(Table::Secrets, &row.secret.0)?;
    batch.effect(Effect::Revoked { agent_key });
    let before = Some(json!({ "group": row.group }));
    let deed =
        Deed { action: "agent.revoke", target: row.agent.as_str(), group: &row.group, before, after: None };
    audit::note(batch, actor, deed, now)?;
    Ok(AdminOutcome::Revoked { changes })
}

pub(super) fn move_to(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    to: &GroupPath,
    scope: &GroupPath,
    actor: Option<&Actor>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let Some((mut shard, row)) = locked(batch, agent, scope)? else { return Ok(AdminOutcome::Unknown) };
    let agent_key = row.agent.key();
    let from = row.group.clone();
    if from == *to {
        return Ok(AdminOutcome::Moved { from, changes: Vec::new() });
    }
    // The levels that both paths share, the root among them.
    let shared = from.levels().zip(to.levels()).take_while(|(one, other)| one == other).count();
    let sequence = rows::sequence(batch)?;
    let kept = row.inside_since.iter().copied().take(shared);
    let inside_since = kept.chain(std::iter::repeat(sequence)).take(to.levels().count()).collect();
    let mut changes = leave_commands(batch, &mut shard, &row, to, now)?;
    for (level, entry) in rows::open_records(batch, &row, |_| true)? {
        if level >= shared {
            changes.extend(take_record_back(batch, &mut shard, &row, entry.id, now)?);
        }
    }
    groups::leave(batch, &from, shared)?;
    groups::enter(batch, to, shared, now)?;
    batch.remove(Table::Members, &rows::member_key(&from, &agent_key))?;
    put(batch, &agent_key, &Agent { group: to.clone(), inside_since, ..row })?;
    let (before, after) = (Some(json!({ "group": from })), Some(json!({ "group": to })));
    let deed = Deed { action: "agent.move", target: agent.as_str(), group: &from, before, after };
    audit::note(batch, actor, deed, now)?;
    Ok(AdminOutcome::Moved { from, changes })
}

/// Takes back those of the agent's own commands whose publisher may not command the new group; the others go along.
fn leave_commands(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    agent: &Agent,
    to: &GroupPath,
    now: Timestamp,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    for (id, command) in own_pending(batch, shard, &agent.agent.key())? {
        if command.scope.contains(to) {
            let moved = Row { group: to.clone(), ..command.clone() };
            batch.change_command(shard, id, &command, &moved)?;
        } else {
            changes.extend(take_back(batch, shard, id, &command, now)?.changes);
        }
    }
    Ok(changes)
}

/// Ends a live command for a group at an agent that leaves it; one that is carried when its connection ends.
fn take_record_back(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    agent: &Agent,
    id: wakemq_protocol::CommandId,
    now: Timestamp,
) -> Result<Option<Change>, StoreError> {
    match shard.is_carried(&agent.agent.key(), id) {
        true => outcomes::request_cancel(batch, shard, agent, id),
        false => outcomes::cancel(batch, shard, agent, id, now),
    }
}

pub(in crate::store) fn seen(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    (facts, source): (Option<&Facts>, Option<IpAddr>),
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let key = agent.key();
    if batch.get(Table::Agents, key.as_bytes())?.is_none() {
        return Ok(AdminOutcome::Unknown);
    }
    let mut seen: Seen = rows::get(batch, Table::Seen, key.as_bytes())?.unwrap_or_default();
    seen.last_seen = seen.last_seen.max(Some(now));
    if let Some(facts) = facts {
        seen.facts = Some(facts.clone());
    }
    seen.source = source.or(seen.source);
    rows::put(batch, Table::Seen, key.as_bytes(), &seen)?;
    Ok(AdminOutcome::Done)
}

/// Reads agents by their ids; commands that are in no inbox are not counted.
pub(in crate::store) fn find_agents(
    kv: &dyn ReadKv,
    agents: &[AgentId],
) -> Result<Vec<AgentRow>, StoreError> {
    let mut found = Vec::new();
    for agent in agents {
        if let Some(row) = rows::agent(kv, &agent.key())? {
            found.push(agent_row(kv, row)?);
        }
    }
    Ok(found)
}

/// Reads the agents of a subtree by group and id, those after `last`, at most `max`; commands that are in no inbox are
/// not counted.
pub(in crate::store) fn agents(
    kv: &dyn ReadKv,
    last: Option<&(GroupPath, AgentId)>,
    scope: &GroupPath,
    max: usize,
) -> Result<Vec<AgentRow>, StoreError> {
    let mut found = Vec::new();
    for (_, spelling) in members(kv, last, scope, max)? {
        found.push(agent_row(kv, member(kv, &spelling)?)?);
    }
    Ok(found)
}

/// Reads where the agents of a subtree are, those after `last`, at most `max`.
pub(in crate::store) fn places(
    kv: &dyn ReadKv,
    last: Option<&(GroupPath, AgentId)>,
    scope: &GroupPath,
    max: usize,
) -> Result<Vec<(GroupPath, AgentId)>, StoreError> {
    let lines = members(kv, last, scope, max)?;
    lines.iter().map(|(key, spelling)| Ok((rows::node_of_key(key)?, spelled(spelling)?))).collect()
}

/// Reads the lines of the agents of a subtree, those after `last`, at most `max`.
pub(super) fn members(
    kv: &dyn ReadKv,
    last: Option<&(GroupPath, AgentId)>,
    scope: &GroupPath,
    max: usize,
) -> Result<Vec<Pair>, StoreError> {
    let (first, to) = rows::subtree(scope);
    let from = last.map(|(group, agent)| after(&rows::member_key(group, &agent.key()))).unwrap_or_default();
    kv.range(Table::Members, &from.max(first), &to, max)
}

/// Reads an agent that a line of a group names.
pub(super) fn member(kv: &dyn ReadKv, spelling: &[u8]) -> Result<Agent, StoreError> {
    let row = rows::agent(kv, &spelled(spelling)?.key())?;
    row.ok_or_else(|| StoreError::Damaged("a group names an agent that does not exist".into()))
}

/// Reads the id in a line of a group.
fn spelled(spelling: &[u8]) -> Result<AgentId, StoreError> {
    let agent = std::str::from_utf8(spelling).ok().and_then(|agent| agent.parse().ok());
    agent.ok_or_else(|| StoreError::Damaged("a line of a group names no agent".into()))
}

fn agent_row(kv: &dyn ReadKv, row: Agent) -> Result<AgentRow, StoreError> {
    let agent_key = row.agent.key();
    let pending = rows::inbox(kv, &agent_key)?.len() + rows::open_records(kv, &row, |_| true)?.len();
    let seen: Seen = rows::get(kv, Table::Seen, agent_key.as_bytes())?.unwrap_or_default();
    Ok(AgentRow {
        agent: row.agent,
        group: row.group,
        inside_since: row.inside_since,
        created: row.created,
        last_seen: seen.last_seen,
        facts: seen.facts,
        source: seen.source,
        pending: u32::try_from(pending).unwrap_or(u32::MAX),
    })
}
