//! Commands for groups, as wholes: how they are accepted, end, and are counted.

use serde_json::json;
use wakemq_protocol::limits::{LIVE_RECORDS_MAX, PENDING_MAX};
use wakemq_protocol::{AgentId, CommandId, CommandState, Counts, GroupPath, GroupUpdate, News, Timestamp};

use super::audit::{self, Deed};
use super::lifecycle::nothing;
use super::outcomes;
use crate::store::batch::Batch;
use crate::store::claims::{Carried, Claims, Effect};
use crate::store::kv::{ReadKv, Table};
use crate::store::rows::{self, Record};
use crate::store::{
    Actor, Change, CommandRow, Delivery, Epoch, Lane, NewCommand, Outcomes, Recorded, Status, StoreError,
    Submitted, Target, Verdict,
};

/// Accepts a command for a group, or says why not.
pub(super) fn submit(
    batch: &mut Batch<'_>,
    new: &NewCommand,
    target: &GroupPath,
    now: Timestamp,
) -> Result<Submitted, StoreError> {
    if let Some(record) = rows::record(batch, new.id)? {
        let same =
            record.by == new.actor.by && record.target == *target && record.submission == new.submission;
        return Ok(match same {
            true => Submitted::Duplicate(News::Group(update(batch, new.id, &record, now)?)),
            false => Submitted::Conflict,
        });
    }
    if rows::command(batch, new.id)?.is_some() {
        return Ok(Submitted::Conflict);
    }
    let is_inside = new.scope.contains(target);
    if let Delivery::Refused(why) = &new.delivery {
        // Where its publisher can see it.
        let group = if is_inside { target } else { &new.scope };
        let record = Record {
            state: CommandState::Refused,
            detail: Some(why.clone()),
            group: group.clone(),
            ..new_record(batch, new, target, 0, now)?
        };
        return accept(batch, new.id, &record, Vec::new(), now);
    }
    if !is_inside {
        return Ok(Submitted::Forbidden);
    }
    let Some(node) = rows::node(batch, target)? else { return Ok(Submitted::Unknown) };
    let submitted = match &new.delivery {
        Delivery::Live(epochs) => submit_live(batch, new, target, node.agents, epochs, now)?,
        Delivery::Inbox | Delivery::Refused(_) => submit_to_inboxes(batch, new, target, node.agents, now)?,
    };
    if let Submitted::Accepted { .. } = &submitted {
        let after = json!({ "id": new.id, "kind": new.submission.kind, "total": node.agents });
        let deed = Deed {
            action: "command.group",
            target: target.as_str(),
            group: target,
            before: None,
            after: Some(after),
        };
        audit::note(batch, Some(&new.actor), deed, now)?;
    }
    Ok(submitted)
}

fn accept(
    batch: &mut Batch<'_>,
    id: CommandId,
    record: &Record,
    changes: Vec<Change>,
    now: Timestamp,
) -> Result<Submitted, StoreError> {
    batch.insert_record(id, record)?;
    let news = News::Group(update(batch, id, record, now)?);
    Ok(Submitted::Accepted { news, group: record.group.clone(), changes })
}

fn submit_live(
    batch: &mut Batch<'_>,
    new: &NewCommand,
    target: &GroupPath,
    meant: u64,
    epochs: &[(AgentId, Epoch)],
    now: Timestamp,
) -> Result<Submitted, StoreError> {
    let record =
        Record { state: CommandState::Expired, live: true, ..new_record(batch, new, target, meant, now)? };
    let claims = batch.claims;
    for (agent, epoch) in epochs {
        let agent_key = agent.key();
        let mut shard = claims.shard(&agent_key);
        let row = rows::agent(batch, &agent_key)?;
        let may_carry = shard.epoch(&agent_key, Lane::Agent) == Some(*epoch)
            && !shard.is_carried(&agent_key, new.id)
            && shard.carried(&agent_key, Lane::Agent).len() < PENDING_MAX;
        if may_carry && row.is_some_and(|row| target.contains(&row.group)) {
            shard.carry(&agent_key, Lane::Agent, Carried::new(new.id, Some(now)), None);
            batch.effect(Effect::Carried { agent_key, id: new.id });
        }
    }
    accept(batch, new.id, &record, Vec::new(), now)
}

fn submit_to_inboxes(
    batch: &mut Batch<'_>,
    new: &NewCommand,
    target: &GroupPath,
    meant: u64,
    now: Timestamp,
) -> Result<Submitted, StoreError> {
    let slot = new.submission.effective_slot();
    // First what it would do to each of the group, then whether there is room, then the deed.
    let (mut live, mut over) = (0, Vec::new());
    for entry in rows::live(batch, target)? {
        if now >= entry.expires {
            over.push((entry.id, CommandState::Expired));
        } else if slot.is_some() && entry.slot == slot && entry.expires <= new.expires {
            over.push((entry.id, CommandState::Superseded));
        } else {
            live += 1;
        }
    }
    if live >= LIVE_RECORDS_MAX {
        return Ok(Submitted::Full);
    }
    let record = new_record(batch, new, target, meant, now)?;
    let mut changes = Vec::new();
    for (id, state) in over {
        let Some(older) = rows::record(batch, id)? else { continue };
        let newer = (state == CommandState::Superseded).then_some(new.id);
        changes.push(end(batch, id, &older, state, newer, now)?);
    }
    accept(batch, new.id, &record, changes, now)
}

fn new_record(
    batch: &mut Batch<'_>,
    new: &NewCommand,
    target: &GroupPath,
    meant: u64,
    now: Timestamp,
) -> Result<Record, StoreError> {
    Ok(Record {
        by: new.actor.by.clone(),
        target: target.clone(),
        group: target.clone(),
        submission: new.submission.clone(),
        issued: now,
        expires: new.expires,
        sequence: rows::next_sequence(batch)?,
        state: CommandState::Queued,
        at: now,
        meant,
        live: false,
        detail: None,
        superseded_by: None,
    })
}

/// Ends a live command for a group. Agents whose connections carry it may still acknowledge it.
pub(super) fn end(
    batch: &mut Batch<'_>,
    id: CommandId,
    record: &Record,
    state: CommandState,
    superseded_by: Option<CommandId>,
    now: Timestamp,
) -> Result<Change, StoreError> {
    let ended = Record { state, at: now, superseded_by, ..record.clone() };
    batch.change_record(id, record, &ended)?;
    change(batch, id, &ended, now)
}

fn change(batch: &Batch<'_>, id: CommandId, record: &Record, now: Timestamp) -> Result<Change, StoreError> {
    Ok(Change {
        by: record.by.clone(),
        kind: record.submission.kind.clone(),
        group: record.group.clone(),
        news: News::Group(update(batch, id, record, now)?),
    })
}

/// Takes a command for a group back.
pub(super) fn cancel(
    batch: &mut Batch<'_>,
    id: CommandId,
    scope: &GroupPath,
    actor: &Actor,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let record = rows::record(batch, id)?.filter(|record| scope.contains(&record.group));
    let Some(record) = record else {
        return Ok(nothing(Verdict::Unknown));
    };
    if !record.is_live() {
        return Ok(nothing(Verdict::Late));
    }
    let changes = vec![end(batch, id, &record, CommandState::Cancelled, None, now)?];
    note_cancel(batch, id, &record.group, actor, now)?;
    Ok(Recorded { verdict: Verdict::Applied, changes })
}

/// Leaves a line in the audit trail.
pub(super) fn note_cancel(
    batch: &mut Batch<'_>,
    id: CommandId,
    group: &GroupPath,
    actor: &Actor,
    now: Timestamp,
) -> Result<(), StoreError> {
    let target = id.to_string();
    let deed = Deed { action: "command.cancel", target: &target, group, before: None, after: None };
    audit::note(batch, Some(actor), deed, now)
}

/// Counts where a command for a group stands; the running batch counts as committed. No shard may be locked.
fn update(
    batch: &Batch<'_>,
    id: CommandId,
    record: &Record,
    now: Timestamp,
) -> Result<GroupUpdate, StoreError> {
    count(batch, batch.claims.carriers(id), id, record, now)
}

/// Counts: what is known of agents, what is on its way, and all others in the state of the record.
fn count(
    kv: &dyn ReadKv,
    carriers: u64,
    id: CommandId,
    record: &Record,
    now: Timestamp,
) -> Result<GroupUpdate, StoreError> {
    let mut counts: Counts = rows::get(kv, Table::Counts, id.as_bytes())?.unwrap_or_default();
    let rest = record.meant.saturating_sub(counts.total());
    // Between counting the carriers and reading the rest, some may have acknowledged.
    counts.sent = carriers.min(rest);
    *counts.of(record.state) += rest - counts.sent;
    Ok(GroupUpdate {
        id,
        group: record.target.clone(),
        state: record.state,
        at: now,
        counts,
        detail: record.detail.clone(),
    })
}

/// Reads a command for a group with a page of its outcomes. Reading has no time: the counts are dated by the last
/// change of the command as a whole.
pub(in crate::store) fn look_up(
    claims: &Claims,
    id: CommandId,
    wanted: &Outcomes,
    read: impl Fn(
        &dyn Fn(&dyn ReadKv) -> Result<Option<CommandRow>, StoreError>,
    ) -> Result<Option<CommandRow>, StoreError>,
) -> Result<Option<CommandRow>, StoreError> {
    // Before the snapshot: nobody may wait for claims while holding one.
    let carriers = claims.carriers(id);
    let row = read(&|kv| {
        let Some(record) = rows::record(kv, id)? else { return Ok(None) };
        let update = count(kv, carriers, id, &record, record.at)?;
        // One more than is shown tells whether there is a next page.
        let more = if wanted.max == 0 { 0 } else { wanted.max.saturating_add(1) };
        let mut outcomes = rows::outcomes(kv, id, wanted.after.as_ref(), more)?;
        let next = outcomes.len() > wanted.max;
        outcomes.truncate(wanted.max);
        let next = outcomes.last().filter(|_| next).map(|last| last.agent.clone());
        Ok(Some(CommandRow {
            id,
            by: record.by,
            target: Target::Group(record.target),
            group: record.group,
            submission: record.submission,
            issued: record.issued,
            expires: record.expires,
            status: Status::Group { update, outcomes, next },
            evidence: Vec::new(),
        }))
    })?;
    Ok(row.map(|mut row| {
        if let Status::Group { outcomes, .. } = &mut row.status {
            outcomes.iter_mut().for_each(|outcome| outcomes::now(claims, id, outcome));
        }
        row
    }))
}
