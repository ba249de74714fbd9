//! The ends of a command, and what they do to others of its slot.

use wakemq_protocol::{CommandId, CommandState, News, PowerStep, Slot, Timestamp, Update};

use super::outcomes;
use crate::store::batch::Batch;
use crate::store::claims::{Claims, Shard};
use crate::store::kv::ReadKv;
use crate::store::rows::{self, Agent, Entry, Row};
use crate::store::{Change, CommandRow, Lane, Recorded, StoreError, Verdict};

/// Says that nothing was changed, and why.
pub(super) fn nothing(verdict: Verdict) -> Recorded {
    Recorded { verdict, changes: Vec::new() }
}

/// Makes the change that tells what has become of a command, with the verdict if there is one.
pub(super) fn change(id: CommandId, row: &Row, sent_at: Option<Timestamp>) -> Change {
    update(row, Update { evidence: row.verdict().cloned().map(Box::new), ..news(id, row, sent_at) })
}

/// Makes the change that tells of a step on the way of a command.
pub(super) fn step_change(id: CommandId, row: &Row, sent_at: Option<Timestamp>, step: &PowerStep) -> Change {
    update(row, Update { evidence: Some(Box::new(step.clone())), ..news(id, row, sent_at) })
}

fn news(id: CommandId, row: &Row, sent_at: Option<Timestamp>) -> Update {
    Update::new(id, row.outcome_now(sent_at))
}

fn update(row: &Row, update: Update) -> Change {
    let (by, kind, group) = (row.by.clone(), row.submission.kind.clone(), row.group.clone());
    Change { by, kind, group, news: News::Agent(update) }
}

/// Reads a command and tells whether it is carried; `read` gives a new snapshot at each call.
pub(in crate::store) fn look_up(
    claims: &Claims,
    id: CommandId,
    read: impl Fn(CommandId) -> Result<Option<Row>, StoreError>,
) -> Result<Option<CommandRow>, StoreError> {
    let Some(row) = read(id)? else { return Ok(None) };
    if !row.is_pending() {
        return Ok(Some(row.into_command_row(id, None)));
    }
    // Lock first, snapshot second: or one that was acknowledged in between would look `queued` again.
    let agent_key = row.agent.key();
    let shard = claims.shard(&agent_key);
    let row = read(id)?;
    Ok(row.map(|row| row.into_command_row(id, shard.sent_since(&agent_key, id))))
}

/// Moves a command to a state that is not pending.
pub(super) fn end(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    id: CommandId,
    before: &Row,
    state: CommandState,
    now: Timestamp,
) -> Result<Row, StoreError> {
    let after = before.ended(state, now);
    batch.change_command(shard, id, before, &after)?;
    Ok(after)
}

/// Ends a command because a newer one took its slot; returns the newer one with what it inherits.
pub(super) fn supersede(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    (id, older): (CommandId, &Row),
    (newer_id, newer): (CommandId, &Row),
    now: Timestamp,
) -> Result<(Change, Row), StoreError> {
    let ended = Row { superseded_by: Some(newer_id), ..older.clone() }.ended(CommandState::Superseded, now);
    batch.change_command(shard, id, older, &ended)?;
    let heir = Row {
        expires: newer.expires.max(older.expires),
        priority: newer.priority.max(older.priority),
        ..newer.clone()
    };
    Ok((change(id, &ended, None), heir))
}

/// Gives a pending command that no connection carries the end that is due; `None` if it waits on.
pub(super) fn settle(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    id: CommandId,
    row: &Row,
    now: Timestamp,
) -> Result<Option<Change>, StoreError> {
    if let Some(state) = due(row.cancel_requested, row.live, row.expires, now) {
        let ended = end(batch, shard, id, row, state, now)?;
        return Ok(Some(change(id, &ended, None)));
    }
    let mates = match row.slot() {
        Some(slot) => mates(batch, &row.agent.key(), &slot, row.lane())?,
        None => Vec::new(),
    };
    let newest = mates.iter().filter(|mate| mate.sequence > row.sequence).max_by_key(|mate| mate.sequence);
    let newer = match newest {
        Some(entry) => rows::command(batch, entry.id)?.map(|row| (entry.id, row)),
        None => None,
    };
    if let Some((newer_id, newer)) = newer {
        let (change, heir) = supersede(batch, shard, (id, row), (newer_id, &newer), now)?;
        if heir != newer {
            batch.change_command(shard, newer_id, &newer, &heir)?;
        }
        return Ok(Some(change));
    }
    if row.outdated {
        // The newer one ended before this one was let go.
        batch.change_command(shard, id, row, &Row { outdated: false, ..row.clone() })?;
    }
    Ok(None)
}

/// Tells which end is due for a pending command that no connection carries, its slot aside.
pub(super) fn due(
    cancel_requested: bool,
    live: bool,
    expires: Timestamp,
    now: Timestamp,
) -> Option<CommandState> {
    if cancel_requested {
        Some(CommandState::Cancelled)
    } else if live || now >= expires {
        Some(CommandState::Expired)
    } else {
        None
    }
}

/// Takes a pending command back; one that is carried is marked, and ends when its connection does.
pub(super) fn take_back(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    id: CommandId,
    row: &Row,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let agent_key = row.agent.key();
    if !shard.is_carried(&agent_key, id) {
        let after = end(batch, shard, id, row, CommandState::Cancelled, now)?;
        return Ok(Recorded { verdict: Verdict::Applied, changes: vec![change(id, &after, None)] });
    }
    if row.cancel_requested {
        return Ok(nothing(Verdict::Requested));
    }
    let after = Row { cancel_requested: true, ..row.clone() };
    batch.change_command(shard, id, row, &after)?;
    Ok(Recorded {
        verdict: Verdict::Requested,
        changes: vec![change(id, &after, shard.sent_since(&agent_key, id))],
    })
}

/// A command that has arrived, the agent's own or its group's.
pub(super) struct Arrived {
    pub(super) id: CommandId,
    pub(super) sequence: u64,
    pub(super) slot: Option<Slot>,
    pub(super) lane: Lane,
}

impl Arrived {
    pub(super) fn own(id: CommandId, row: &Row) -> Self {
        Self { id, sequence: row.sequence, slot: row.slot(), lane: row.lane() }
    }
}

/// Ends what is left of a slot when one of its commands has arrived at an agent: an older one must not arrive after it.
pub(super) fn overtake(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    agent: &Agent,
    arrived: &Arrived,
    now: Timestamp,
    changes: &mut Vec<Change>,
) -> Result<(), StoreError> {
    let agent_key = agent.agent.key();
    overtake_own(batch, shard, &agent_key, arrived, now, changes)?;
    let Some(slot) = &arrived.slot else { return Ok(()) };
    let is_older = |mate: &Entry| mate.sequence < arrived.sequence && mate.slot.as_ref() == Some(slot);
    for (_, mate) in rows::open_records(batch, agent, is_older)? {
        if !shard.is_carried(&agent_key, mate.id) {
            changes.extend(outcomes::supersede(batch, shard, agent, mate.id, arrived.id, now)?);
        }
    }
    Ok(())
}

/// The same for the agent's own commands. One is left only if a release could not be written, or if the one that
/// arrived was for a group.
pub(super) fn overtake_own(
    batch: &mut Batch<'_>,
    shard: &mut Shard,
    agent_key: &str,
    &Arrived { id, sequence, ref slot, lane }: &Arrived,
    now: Timestamp,
    changes: &mut Vec<Change>,
) -> Result<(), StoreError> {
    let Some(slot) = slot else { return Ok(()) };
    for mate in mates(batch, agent_key, slot, lane)? {
        if mate.sequence < sequence
            && !shard.is_carried(agent_key, mate.id)
            && let Some(row) = rows::command(batch, mate.id)?
        {
            let ended = Row { superseded_by: Some(id), ..row.clone() }.ended(CommandState::Superseded, now);
            batch.change_command(shard, mate.id, &row, &ended)?;
            changes.push(change(mate.id, &ended, None));
        }
    }
    Ok(())
}

/// Reads the agent's own commands of a slot that are pending.
fn mates(kv: &dyn ReadKv, agent_key: &str, slot: &Slot, lane: Lane) -> Result<Vec<Entry>, StoreError> {
    let mut entries = rows::inbox(kv, agent_key)?;
    entries.retain(|entry| entry.slot.as_ref() == Some(slot) && entry.lane == lane);
    Ok(entries)
}
