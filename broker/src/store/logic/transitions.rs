//! Recording what becomes of commands.

use wakemq_protocol::{AgentId, CommandId, GroupPath, Timestamp};

use super::judge::{Judgement, Said, Standing, judge};
use super::lifecycle::{Arrived, change, nothing, overtake, take_back};
use super::{outcomes, power, records, release, sweep};
use crate::store::batch::Batch;
use crate::store::rows::{self, Agent, Row};
use crate::store::{Actor, Lane, Recorded, StoreError, Transition, Verdict};

/// Records one transition.
pub(in crate::store) fn record(
    batch: &mut Batch<'_>,
    transition: &Transition,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    match transition {
        Transition::Acknowledged { agent, id, epoch } => {
            heard(batch, agent, *id, Said::Acknowledged { epoch: *epoch }, now)
        }
        Transition::Failed { agent, id, epoch, detail } => {
            heard(batch, agent, *id, Said::Failed { epoch: *epoch, detail }, now)
        }
        Transition::Receipt { agent, receipt } => {
            heard(batch, agent, receipt.id, Said::Receipt(receipt), now)
        }
        Transition::Cancel { id, scope, actor } => cancel(batch, *id, scope, actor, now),
        Transition::Release { agent, epoch } => {
            let agent_key = agent.key();
            let Some(carried) = batch.claims.give_up(&agent_key, *epoch) else {
                return Ok(nothing(Verdict::Stale));
            };
            let changes = release::release(batch, &agent_key, &carried, now)?;
            Ok(Recorded { verdict: Verdict::Applied, changes })
        }
        Transition::LetGo { agent, id, epoch } => {
            let agent_key = agent.key();
            let Some(carried) = batch.claims.let_go(&agent_key, *epoch, *id) else {
                return Ok(nothing(Verdict::Stale));
            };
            let changes = release::release(batch, &agent_key, &[carried], now)?;
            Ok(Recorded { verdict: Verdict::Applied, changes })
        }
        Transition::PowerSent { agent, id, epoch } => power::sent(batch, agent, *id, *epoch, now),
        Transition::Evidence { agent, id, epoch, step } => power::evidence(batch, agent, *id, *epoch, step),
        Transition::Ended { agent, id, epoch, is_up, detail } => {
            power::ended(batch, agent, *id, *epoch, (*is_up, detail), now)
        }
        Transition::Sweep { max } => sweep::sweep(batch, *max, now),
    }
}

/// Reads a command of the agent's, and the agent; one of another agent is as unknown as none, of one that had the id before too.
pub(super) fn own(
    batch: &Batch<'_>,
    agent: &AgentId,
    id: CommandId,
) -> Result<Option<(Row, Agent)>, StoreError> {
    if batch.is_latest_record(id) {
        return Ok(None);
    }
    let Some(row) = rows::command(batch, id)?.filter(|row| row.agent == *agent) else { return Ok(None) };
    let agent = rows::agent(batch, &agent.key())?;
    Ok(agent.filter(|agent| agent.existed_at(row.sequence)).map(|agent| (row, agent)))
}

/// Records what is said of a command at an agent, its own or its group's.
fn heard(
    batch: &mut Batch<'_>,
    agent: &AgentId,
    id: CommandId,
    said: Said<'_>,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let Some((row, agent_row)) = own(batch, agent, id)? else {
        return outcomes::heard(batch, agent, id, said, now);
    };
    if row.lane() == Lane::Power {
        // The agent never got it.
        return Ok(nothing(match said {
            Said::Receipt(_) => Verdict::Unknown,
            Said::Acknowledged { .. } | Said::Failed { .. } => Verdict::Stale,
        }));
    }
    let agent_key = agent.key();
    let claims = batch.claims;
    let mut shard = claims.shard(&agent_key);
    let outcome = row.outcome();
    let standing = Standing::new(&shard, &agent_key, id, &outcome, row.is_pending());
    let (verdict, after, arrived) = match judge(&said, &standing) {
        Judgement::Nothing(verdict) => return Ok(nothing(verdict)),
        Judgement::Late(receipt) => {
            (Verdict::Late, Row { late: Some(receipt.clone()), ..row.clone() }, false)
        }
        Judgement::Becomes { state, arrived } => {
            (Verdict::Applied, Row { state, at: now, detail: said.detail(), ..row.clone() }, arrived)
        }
    };
    batch.change_command(&mut shard, id, &row, &after)?;
    let mut changes = vec![change(id, &after, None)];
    if arrived {
        overtake(batch, &mut shard, &agent_row, &Arrived::own(id, &after), now, &mut changes)?;
    }
    Ok(Recorded { verdict, changes })
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
