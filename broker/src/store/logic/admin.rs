//! Agents, operators and enrolment tokens.

use wakemq_protocol::{AgentId, CommandState, Facts, GroupPath, SecretHash, Timestamp};

use super::lifecycle::{change, end};
use crate::store::batch::Batch;
use crate::store::claims::Effect;
use crate::store::kv::{ReadKv, Table, WriteKv, after};
use crate::store::rows::{self, Agent, Operator, Owner, Token};
use crate::store::{Admin, AdminOp, AdminOutcome, AgentRow, Change, StoreError};

/// How many agents are read at once.
const CHUNK: usize = 256;

/// Does one thing of administration.
pub(in crate::store) fn write(
    batch: &mut Batch<'_>,
    admin: &Admin,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    match &admin.op {
        AdminOp::CreateAgent { agent, group, secret } => {
            let created = create_agent(batch, agent, group, secret, None, now)?;
            Ok(if created { AdminOutcome::Done } else { AdminOutcome::Exists })
        }
        AdminOp::Enrol { token, agent, secret, facts } => enrol(batch, token, agent, secret, facts, now),
        AdminOp::RevokeAgent { agent, scope } => revoke(batch, agent, scope, now),
        AdminOp::Seen { agent, facts } => seen(batch, agent, facts.as_ref(), now),
        AdminOp::CreateToken { token, group, uses, expires, by } => {
            if batch.get(Table::Tokens, &token.0)?.is_some() {
                return Ok(AdminOutcome::Exists);
            }
            let row = Token {
                group: group.clone(),
                uses: *uses,
                uses_left: *uses,
                expires: *expires,
                by: by.clone(),
            };
            rows::put(batch, Table::Tokens, &token.0, &row)?;
            Ok(AdminOutcome::Done)
        }
        AdminOp::CreateOperator { name, secret, role, group } => {
            let key = name.as_str().as_bytes();
            if batch.get(Table::Operators, key)?.is_some() || batch.get(Table::Secrets, &secret.0)?.is_some()
            {
                return Ok(AdminOutcome::Exists);
            }
            rows::put(
                batch,
                Table::Operators,
                key,
                &Operator { secret: *secret, role: *role, group: group.clone(), created: now },
            )?;
            let owner = Owner::Operator { name: name.clone(), role: *role, scope: group.clone() };
            rows::put(batch, Table::Secrets, &secret.0, &owner)?;
            Ok(AdminOutcome::Done)
        }
        AdminOp::MoveAgent { .. }
        | AdminOp::CreateGroup { .. }
        | AdminOp::RemoveGroup { .. }
        | AdminOp::RenameGroup { .. }
        | AdminOp::RevokeToken { .. }
        | AdminOp::ChangeOperator { .. }
        | AdminOp::RevokeOperator { .. }
        | AdminOp::Note { .. } => Ok(AdminOutcome::Unknown),
    }
}

/// Creates an agent, unless its id or its secret is taken.
fn create_agent(
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
        last_seen: None,
        facts: facts.cloned(),
    };
    rows::put(batch, Table::Agents, key.as_bytes(), &row)?;
    rows::put(
        batch,
        Table::Secrets,
        &secret.0,
        &Owner::Agent { agent: agent.clone(), group: group.clone() },
    )?;
    Ok(true)
}

fn enrol(
    batch: &mut Batch<'_>,
    token_hash: &SecretHash,
    agent: &AgentId,
    secret: &SecretHash,
    facts: &Facts,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let Some(token) = rows::get::<Token>(batch, Table::Tokens, &token_hash.0)? else {
        return Ok(AdminOutcome::Unknown);
    };
    let use_key = [token_hash.0, secret.0].concat();
    if let Some(key) = batch.get(Table::Uses, &use_key)? {
        let enrolled = rows::get::<Agent>(batch, Table::Agents, &key)?.filter(|row| row.secret == *secret);
        // An agent that was revoked since does not come back by asking again.
        return Ok(enrolled.map_or(AdminOutcome::Unknown, |row| AdminOutcome::Enrolled {
            agent: row.agent,
            group: row.group,
        }));
    }
    if now >= token.expires {
        return Ok(AdminOutcome::Expired);
    }
    if token.uses_left == 0 {
        return Ok(AdminOutcome::UsedUp);
    }
    if !create_agent(batch, agent, &token.group, secret, Some(facts), now)? {
        return Ok(AdminOutcome::Exists);
    }
    let outcome = AdminOutcome::Enrolled { agent: agent.clone(), group: token.group.clone() };
    rows::put(batch, Table::Tokens, &token_hash.0, &Token { uses_left: token.uses_left - 1, ..token })?;
    batch.put(Table::Uses, &use_key, agent.key().as_bytes())?;
    Ok(outcome)
}

fn revoke(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    scope: &GroupPath,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let agent_key = agent.key();
    let claims = batch.claims;
    let mut shard = claims.shard(&agent_key);
    let row = rows::get::<Agent>(batch, Table::Agents, agent_key.as_bytes())?;
    let Some(row) = row.filter(|row| scope.contains(&row.group)) else { return Ok(AdminOutcome::Unknown) };
    let mut ids: Vec<_> = rows::inbox(batch, &agent_key)?.into_iter().map(|entry| entry.id).collect();
    ids.extend(shard.carried(&agent_key).iter().filter(|carried| carried.live).map(|carried| carried.id));
    let mut changes: Vec<Change> = Vec::new();
    for id in ids {
        if let Some(command) = rows::command(batch, id)?.filter(rows::Row::is_pending) {
            let ended = end(batch, &mut shard, id, &command, CommandState::Cancelled, now)?;
            changes.push(change(id, &ended, None));
        }
    }
    batch.remove(Table::Agents, agent_key.as_bytes())?;
    batch.remove(Table::Secrets, &row.secret.0)?;
    batch.effect(Effect::Revoked { agent_key });
    Ok(AdminOutcome::Revoked { changes })
}

fn seen(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    facts: Option<&Facts>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let key = agent.key();
    let Some(mut row) = rows::get::<Agent>(batch, Table::Agents, key.as_bytes())? else {
        return Ok(AdminOutcome::Unknown);
    };
    row.last_seen = row.last_seen.max(Some(now));
    if let Some(facts) = facts {
        row.facts = Some(facts.clone());
    }
    rows::put(batch, Table::Agents, key.as_bytes(), &row)?;
    Ok(AdminOutcome::Done)
}

/// Tells for each operation whether it names an agent that does not exist, without doing it.
pub(in crate::store) fn unknown_agents(kv: &dyn ReadKv, ops: &[Admin]) -> Result<Vec<bool>, StoreError> {
    ops.iter()
        .map(|admin| match &admin.op {
            AdminOp::Seen { agent, .. } => Ok(kv.get(Table::Agents, agent.key().as_bytes())?.is_none()),
            AdminOp::CreateAgent { .. }
            | AdminOp::Enrol { .. }
            | AdminOp::RevokeAgent { .. }
            | AdminOp::CreateToken { .. }
            | AdminOp::CreateOperator { .. }
            | AdminOp::MoveAgent { .. }
            | AdminOp::CreateGroup { .. }
            | AdminOp::RemoveGroup { .. }
            | AdminOp::RenameGroup { .. }
            | AdminOp::RevokeToken { .. }
            | AdminOp::ChangeOperator { .. }
            | AdminOp::RevokeOperator { .. }
            | AdminOp::Note { .. } => Ok(false),
        })
        .collect()
}

/// Reads one agent; its live commands are not counted.
pub(in crate::store) fn find_agent(kv: &dyn ReadKv, agent: &AgentId) -> Result<Vec<AgentRow>, StoreError> {
    let row = rows::get::<Agent>(kv, Table::Agents, agent.key().as_bytes())?;
    row.map(|row| agent_row(kv, row)).into_iter().collect()
}

/// Reads the agents of a subtree in order, those after `last`, at most `max`; live commands are not counted.
pub(in crate::store) fn agents(
    kv: &dyn ReadKv,
    last: Option<&(GroupPath, AgentId)>,
    scope: &GroupPath,
    max: usize,
) -> Result<Vec<AgentRow>, StoreError> {
    let last = last.map(|(group, agent)| (group.clone(), agent.key()));
    let mut from = Vec::new();
    let mut found = Vec::new();
    loop {
        let lines = kv.range(Table::Agents, &from, &[0xff], CHUNK)?;
        let Some((key, _)) = lines.last() else { break };
        from = after(key);
        for (_, value) in &lines {
            let row: Agent = rows::parse(Table::Agents, value)?;
            let place = (row.group.clone(), row.agent.key());
            if scope.contains(&row.group) && last.as_ref().is_none_or(|last| place > *last) {
                found.push((place, row));
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.into_iter().take(max).map(|(_, row)| agent_row(kv, row)).collect()
}

fn agent_row(kv: &dyn ReadKv, row: Agent) -> Result<AgentRow, StoreError> {
    let pending = rows::inbox(kv, &row.agent.key())?.len();
    Ok(AgentRow {
        agent: row.agent,
        group: row.group,
        inside_since: row.inside_since,
        created: row.created,
        last_seen: row.last_seen,
        facts: row.facts,
        pending: u32::try_from(pending).unwrap_or(u32::MAX),
    })
}
