//! Accepting commands.

use wakemq_protocol::limits::PENDING_MAX;
use wakemq_protocol::{AgentId, CommandState, GroupPath, News, Outcome, Timestamp, Update};

use super::lifecycle::{change, due, end, supersede};
use super::records;
use crate::store::batch::Batch;
use crate::store::claims::{Carried, Effect, Shard};
use crate::store::rows::{self, Agent, Row};
use crate::store::{Change, Delivery, Epoch, Lane, NewCommand, StoreError, Submitted, Target};

/// Accepts a command, or says why not.
pub(in crate::store) fn submit(
    batch: &mut Batch<'_>,
    new: &NewCommand,
    now: Timestamp,
) -> Result<Submitted, StoreError> {
    match &new.target {
        Target::Agent(agent) => submit_to_agent(batch, new, agent, now),
        Target::Group(group) => records::submit(batch, new, group, now),
    }
}

fn submit_to_agent(
    batch: &mut Batch<'_>,
    new: &NewCommand,
    target: &AgentId,
    now: Timestamp,
) -> Result<Submitted, StoreError> {
    let agent_key = target.key();
    let claims = batch.claims;
    let mut shard = claims.shard(&agent_key);
    if let Some(row) = rows::command(batch, new.id)? {
        let same = row.by == new.actor.by && row.agent == *target && row.submission == new.submission;
        return Ok(match same {
            true => Submitted::Duplicate(news(new, row.outcome_now(shard.sent_since(&agent_key, new.id)))),
            false => Submitted::Conflict,
        });
    }
    if rows::record(batch, new.id)?.is_some() {
        return Ok(Submitted::Conflict);
    }
    let agent = rows::agent(batch, &agent_key)?;
    if let Delivery::Refused(why) = &new.delivery {
        // The publisher has to see it, and must not learn by it where a foreign agent is.
        let group = agent.map(|agent| agent.group).filter(|group| new.scope.contains(group));
        let row = Row {
            state: CommandState::Refused,
            detail: Some(why.clone()),
            ..new_row(batch, new, target, group.unwrap_or_else(|| new.scope.clone()), now)?
        };
        batch.insert_command(new.id, &row)?;
        return Ok(accepted(new, row, None, Vec::new()));
    }
    let Some(agent) = agent else { return Ok(Submitted::Unknown) };
    if !new.scope.contains(&agent.group) {
        return Ok(Submitted::Forbidden);
    }
    match &new.delivery {
        Delivery::Live(epochs) => {
            let epoch = epochs.iter().find(|(agent, _)| agent == target).map(|&(_, epoch)| epoch);
            submit_live(batch, &mut shard, new, agent, epoch, now)
        }
        Delivery::Inbox | Delivery::Refused(_) => submit_to_inbox(batch, &mut shard, new, agent, now),
    }
}

fn submit_live(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    new: &NewCommand,
    agent: Agent,
    epoch: Option<Epoch>,
    now: Timestamp,
) -> Result<Submitted, StoreError> {
    let agent_key = agent.agent.key();
    let row = Row { live: true, ..new_row(batch, new, &agent.agent, agent.group, now)? };
    if epoch.is_none() || shard.epoch(&agent_key, Lane::Agent) != epoch {
        let row = Row { state: CommandState::Expired, ..row };
        batch.insert_command(new.id, &row)?;
        return Ok(accepted(new, row, None, Vec::new()));
    }
    let in_inbox = rows::inbox(batch, &agent_key)?.iter().filter(|entry| now < entry.expires).count();
    if in_inbox + shard.live_count(&agent_key) >= PENDING_MAX {
        return Ok(Submitted::Full);
    }
    batch.insert_command(new.id, &row)?;
    shard.carry(&agent_key, Lane::Agent, Carried::new(new.id, Some(now)).in_no_inbox(), None);
    batch.effect(Effect::Carried { agent_key, id: new.id });
    Ok(accepted(new, row, Some(now), Vec::new()))
}

fn submit_to_inbox(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    new: &NewCommand,
    agent: Agent,
    now: Timestamp,
) -> Result<Submitted, StoreError> {
    let agent_key = agent.agent.key();
    let slot = new.submission.effective_slot();
    let lane = Lane::of(&new.submission.kind);
    // First what it would do to each line of the inbox, then whether there is room, then the deed.
    let mut pending = shard.live_count(&agent_key);
    let mut touched = Vec::new();
    for entry in rows::inbox(batch, &agent_key)? {
        let carried = shard.is_carried(&agent_key, entry.id);
        let same_slot = slot.is_some() && entry.slot == slot && entry.lane == lane;
        let ends =
            !carried && (same_slot || due(entry.cancel_requested, false, entry.expires, now).is_some());
        pending += usize::from(!ends);
        if same_slot || ends {
            touched.push((entry.id, carried));
        }
    }
    if pending >= PENDING_MAX {
        return Ok(Submitted::Full);
    }
    let mut row = new_row(batch, new, &agent.agent, agent.group, now)?;
    let mut changes = Vec::new();
    for (id, carried) in touched {
        let Some(older) = rows::command(batch, id)? else { continue };
        if carried {
            if !older.outdated {
                batch.change_command(shard, id, &older, &Row { outdated: true, ..older.clone() })?;
            }
        } else if let Some(state) = due(older.cancel_requested, false, older.expires, now) {
            let ended = end(batch, shard, id, &older, state, now)?;
            changes.push(change(id, &ended, None));
        } else {
            let (superseded, heir) = supersede(batch, shard, (id, &older), (new.id, &row), now)?;
            changes.push(superseded);
            row = heir;
        }
    }
    batch.insert_command(new.id, &row)?;
    Ok(accepted(new, row, None, changes))
}

fn accepted(new: &NewCommand, row: Row, since: Option<Timestamp>, changes: Vec<Change>) -> Submitted {
    Submitted::Accepted { news: news(new, row.outcome_now(since)), group: row.group, changes }
}

fn news(new: &NewCommand, outcome: Outcome) -> News {
    News::Agent(Update::new(new.id, outcome))
}

fn new_row(
    batch: &mut Batch<'_>,
    new: &NewCommand,
    agent: &AgentId,
    group: GroupPath,
    now: Timestamp,
) -> Result<Row, StoreError> {
    Ok(Row {
        by: new.actor.by.clone(),
        agent: agent.clone(),
        group,
        scope: new.scope.clone(),
        submission: new.submission.clone(),
        priority: new.submission.priority,
        issued: now,
        expires: new.expires,
        sequence: rows::next_sequence(batch)?,
        state: CommandState::Queued,
        at: now,
        live: false,
        outdated: false,
        cancel_requested: false,
        detail: None,
        superseded_by: None,
        late: None,
        evidence: Vec::new(),
    })
}
