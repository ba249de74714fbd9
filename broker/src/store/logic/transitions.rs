//! Recording what becomes of commands.

use wakemq_protocol::{AgentId, CommandId, CommandState, GroupPath, Receipt, Timestamp};

use super::lifecycle::{change, end, nothing, overtake, take_back};
use super::{outcomes, records, release, sweep};
use crate::store::batch::Batch;
use crate::store::claims::Shard;
use crate::store::rows::{self, Row};
use crate::store::{Actor, Epoch, Recorded, StoreError, Transition, Verdict};

/// Records one transition.
pub(in crate::store) fn record(
    batch: &mut Batch<'_>,
    transition: &Transition,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    match transition {
        Transition::Acknowledged { agent, id, epoch } => acknowledged(batch, agent, *id, *epoch, now),
        Transition::Failed { agent, id, epoch, detail } => failed(batch, agent, *id, *epoch, detail, now),
        Transition::Receipt { agent, receipt } => by_receipt(batch, agent, receipt, now),
        Transition::Cancel { id, scope, actor } => cancel(batch, *id, scope, actor, now),
        Transition::Release { agent, epoch } => {
            let agent_key = agent.key();
            let Some(carried) = batch.claims.give_up(&agent_key, *epoch) else {
                return Ok(nothing(Verdict::Stale));
            };
            let ids: Vec<_> = carried.iter().map(|carried| carried.id).collect();
            let changes = release::release(batch, &agent_key, &ids, now)?;
            Ok(Recorded { verdict: Verdict::Applied, changes })
        }
        Transition::Sweep { max } => sweep::sweep(batch, *max, now),
    }
}

/// Reads a command of the agent's; one of another agent is as unknown as none.
fn own(batch: &Batch<'_>, agent: &AgentId, id: CommandId) -> Result<Option<Row>, StoreError> {
    Ok(rows::command(batch, id)?.filter(|row| row.agent == *agent))
}

fn carries(shard: &Shard, agent_key: &str, id: CommandId, epoch: Epoch) -> bool {
    shard.epoch(agent_key) == Some(epoch) && shard.carried_since(agent_key, id).is_some()
}

fn acknowledged(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    id: CommandId,
    epoch: Epoch,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let Some(row) = own(batch, agent, id)? else {
        return outcomes::acknowledged(batch, agent, id, epoch, now);
    };
    let agent_key = agent.key();
    let claims = batch.claims;
    let mut shard = claims.shard(&agent_key);
    if row.state.is_terminal() {
        return Ok(nothing(Verdict::Late));
    }
    if shard.epoch(&agent_key) != Some(epoch) {
        return Ok(nothing(Verdict::Stale));
    }
    if !row.is_pending() {
        // Said again because the answer to the first time was lost.
        return Ok(nothing(Verdict::Applied));
    }
    if !carries(&shard, &agent_key, id, epoch) {
        return Ok(nothing(Verdict::Stale));
    }
    let after = end(batch, &mut shard, id, &row, CommandState::Acknowledged, now)?;
    let mut changes = vec![change(id, &after, None)];
    overtake(batch, &mut shard, &agent_key, (id, after.sequence, after.slot()), now, &mut changes)?;
    Ok(Recorded { verdict: Verdict::Applied, changes })
}

fn failed(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    id: CommandId,
    epoch: Epoch,
    detail: &str,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let Some(row) = own(batch, agent, id)? else {
        return outcomes::failed(batch, agent, id, epoch, detail, now);
    };
    let agent_key = agent.key();
    let claims = batch.claims;
    let mut shard = claims.shard(&agent_key);
    if row.state.is_terminal() {
        return Ok(nothing(Verdict::Late));
    }
    if !row.is_pending() || !carries(&shard, &agent_key, id, epoch) {
        return Ok(nothing(Verdict::Stale));
    }
    let after = Row { state: CommandState::Failed, at: now, detail: Some(detail.to_owned()), ..row.clone() };
    batch.change_command(&mut shard, id, &row, &after)?;
    Ok(Recorded { verdict: Verdict::Applied, changes: vec![change(id, &after, None)] })
}

fn by_receipt(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let Some(row) = own(batch, agent, receipt.id)? else {
        return outcomes::receipt(batch, agent, receipt, now);
    };
    let agent_key = agent.key();
    let claims = batch.claims;
    let mut shard = claims.shard(&agent_key);
    let Some(state) = receipt.state.command_state() else { return Ok(nothing(Verdict::Applied)) };
    if row.state == state {
        return Ok(nothing(Verdict::Applied));
    }
    if row.state.is_terminal() {
        if row.late.as_ref() == Some(receipt) {
            return Ok(nothing(Verdict::Late));
        }
        let after = Row { late: Some(receipt.clone()), ..row.clone() };
        batch.change_command(&mut shard, receipt.id, &row, &after)?;
        return Ok(Recorded { verdict: Verdict::Late, changes: vec![change(receipt.id, &after, None)] });
    }
    let after = Row { state, at: now, detail: receipt.detail.clone(), ..row.clone() };
    batch.change_command(&mut shard, receipt.id, &row, &after)?;
    let mut changes = vec![change(receipt.id, &after, None)];
    if row.is_pending() {
        let arrived = (receipt.id, after.sequence, after.slot());
        overtake(batch, &mut shard, &agent_key, arrived, now, &mut changes)?;
    }
    Ok(Recorded { verdict: Verdict::Applied, changes })
}

fn cancel(
    batch: &mut Batch<'_>,
    id: CommandId,
    scope: &GroupPath,
    actor: &Actor,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let Some(row) = rows::command(batch, id)? else { return records::cancel(batch, id, scope, actor, now) };
    if !scope.contains(&row.group) {
        return Ok(nothing(Verdict::Unknown));
    }
    if !row.is_pending() {
        return Ok(nothing(Verdict::Late));
    }
    let claims = batch.claims;
    let mut shard = claims.shard(&row.agent.key());
    let recorded = take_back(batch, &mut shard, id, &row, now)?;
    if !recorded.changes.is_empty() {
        records::note_cancel(batch, id, &row.group, actor, now)?;
    }
    Ok(recorded)
}
