//! `power` commands: what the engine, which carries them out, says of them.
//!
//! The agent has no say: it never gets such a command, and whether it is up is judged by others.

use parking_lot::MutexGuard;
use wakemq_protocol::{AgentId, CommandId, CommandState, PowerStep, PowerWhat, Timestamp};

use super::lifecycle::{Arrived, change, nothing, overtake_own, step_change};
use super::transitions::own;
use crate::store::batch::Batch;
use crate::store::claims::{Effect, Shard};
use crate::store::kv::ReadKv;
use crate::store::rows::{self, Row};
use crate::store::{Epoch, Lane, Recorded, Rows, StoreError, Verdict};

/// Notes that the packets of a command are in somebody's hands.
pub(super) fn sent(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    id: CommandId,
    epoch: Epoch,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let (mut shard, row) = match carried(batch, agent, id, epoch)? {
        Ok(found) => found,
        Err((verdict, _)) => return Ok(nothing(verdict)),
    };
    let agent_key = agent.key();
    if shard.sent_since(&agent_key, id).is_some() {
        return Ok(nothing(Verdict::Applied));
    }
    shard.set_sent(&agent_key, id, Some(now));
    batch.effect(Effect::Sent { agent_key, id });
    Ok(Recorded { verdict: Verdict::Applied, changes: vec![change(id, &row, Some(now))] })
}

/// Keeps a step with its command.
pub(super) fn evidence(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    id: CommandId,
    epoch: Epoch,
    step: &PowerStep,
) -> Result<Recorded, StoreError> {
    let (mut shard, row) = match carried(batch, agent, id, epoch)? {
        Ok(found) => found,
        Err((verdict, _)) => return Ok(nothing(verdict)),
    };
    // A verdict comes with the end; or it is said again because the answer to the first time was lost.
    if matches!(step.what, PowerWhat::Verdict { .. }) || row.evidence.contains(step) {
        return Ok(nothing(Verdict::Applied));
    }
    let mut after = row.clone();
    rows::add_step(&mut after.evidence, step.clone());
    batch.change_command(&mut shard, id, &row, &after)?;
    let told = step_change(id, &after, shard.sent_since(&agent.key(), id), step);
    Ok(Recorded { verdict: Verdict::Applied, changes: vec![told] })
}

/// Ends a command by the engine's verdict.
pub(super) fn ended(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    id: CommandId,
    epoch: Epoch,
    (is_up, detail): (bool, &str),
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let state = if is_up { CommandState::Done } else { CommandState::Failed };
    let (mut shard, row) = match carried(batch, agent, id, epoch)? {
        Ok(found) => found,
        Err((_, Some(present))) if present == state => return Ok(nothing(Verdict::Applied)),
        Err((verdict, _)) => return Ok(nothing(verdict)),
    };
    let after = Row { detail: Some(detail.to_owned()), ..row.clone() }.ended(state, now);
    batch.change_command(&mut shard, id, &row, &after)?;
    let mut changes = vec![change(id, &after, None)];
    overtake_own(batch, &mut shard, &agent.key(), &Arrived::own(id, &after), now, &mut changes)?;
    Ok(Recorded { verdict: Verdict::Applied, changes })
}

type Carried<'a> = (MutexGuard<'a, Shard>, Row);

/// Finds a command that the engine carries under an epoch; or else why not, and the state of one that has ended.
fn carried<'a>(
    batch: &Batch<'a>,
    agent: &AgentId,
    id: CommandId,
    epoch: Epoch,
) -> Result<Result<Carried<'a>, (Verdict, Option<CommandState>)>, StoreError> {
    let agent_key = agent.key();
    let shard = batch.claims.shard(&agent_key);
    let Some((row, _)) = own(batch, agent, id)?.filter(|(row, _)| row.lane() == Lane::Power) else {
        return Ok(Err((Verdict::Unknown, None)));
    };
    if !row.is_pending() {
        return Ok(Err((Verdict::Late, Some(row.state))));
    }
    let is_present = shard.epoch(&agent_key, Lane::Power) == Some(epoch);
    if !is_present || !shard.is_carried(&agent_key, id) {
        return Ok(Err((Verdict::Stale, None)));
    }
    Ok(Ok((shard, row)))
}

/// Reads a page of the pending commands of all agents, in order of acceptance.
pub(in crate::store) fn page(kv: &dyn ReadKv, last: Option<u64>, max: usize) -> Result<Rows, StoreError> {
    let pending = rows::pending_power(kv, last, max)?;
    let next = pending.last().map(|last| last.sequence).filter(|_| pending.len() == max);
    let commands = pending.into_iter().map(|pending| (pending.agent, pending.id)).collect();
    Ok(Rows::Power { commands, next })
}
