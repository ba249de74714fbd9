//! Handing out commands.

use std::collections::{HashMap, HashSet};

use wakemq_protocol::{Command, CommandId, Slot, Timestamp};

use super::lifecycle::due;
use crate::store::claims::{Carried, Shard};
use crate::store::kv::ReadKv;
use crate::store::rows::{self, Entry, Record, Row};
use crate::store::{Epoch, InboxPage, Lane, StoreError};

/// Takes the next commands of an inbox, for the agent its own and its groups'; `kv` is a snapshot that is younger than the
/// locks on `shard` and `ending`.
pub(in crate::store) fn take(
    shard: &mut Shard,
    ending: &HashSet<CommandId>,
    kv: &dyn ReadKv,
    agent_key: &str,
    epoch: Epoch,
    max: usize,
    now: Timestamp,
) -> Result<InboxPage, StoreError> {
    let Some(lane) = shard.lane_of(agent_key, epoch) else {
        return Ok(InboxPage { stale: true, ..InboxPage::default() });
    };
    let lines = lines(kv, agent_key, lane)?;
    let held = |id| shard.is_busy(agent_key, id) || ending.contains(&id);
    let slots = slots(shard, (agent_key, lane), &lines, held, now);
    let (mut taken, mut more) = (Vec::new(), false);
    for Line { entry, .. } in &lines {
        if shard.is_carried(agent_key, entry.id)
            || due(entry.cancel_requested, false, entry.expires, now).is_some()
        {
            continue;
        }
        let free = entry.slot.as_ref().is_none_or(|slot| slots.get(slot) == Some(&Some(entry.sequence)));
        if !free || held(entry.id) || taken.len() >= max {
            more = true;
            continue;
        }
        taken.push((read(kv, entry, now)?, entry.slot.clone()));
    }
    // Only now, so that a page that could not be read is carried by nobody.
    let commands = taken
        .into_iter()
        .map(|(command, slot)| {
            let sent = (lane == Lane::Agent).then_some(now);
            shard.carry(agent_key, lane, Carried::new(command.id, sent), slot.as_ref());
            command
        })
        .collect();
    Ok(InboxPage { commands, more, stale: false })
}

/// A line of the agent's own inbox, or of one of its groups.
struct Line {
    entry: Entry,
    is_record: bool,
}

/// Reads all lines of a lane for an agent, in order of priority, then acceptance.
fn lines(kv: &dyn ReadKv, agent_key: &str, lane: Lane) -> Result<Vec<Line>, StoreError> {
    let own = rows::inbox(kv, agent_key)?.into_iter().filter(|entry| entry.lane == lane);
    let mut lines: Vec<_> = own.map(|entry| Line { entry, is_record: false }).collect();
    if lane == Lane::Agent
        && let Some(agent) = rows::agent(kv, agent_key)?
    {
        let records = rows::open_records(kv, &agent, |_| true)?.into_iter();
        lines.extend(records.map(|(_, entry)| Line { entry, is_record: true }));
    }
    lines.sort_by_key(|Line { entry, .. }| (std::cmp::Reverse(entry.priority), entry.sequence));
    Ok(lines)
}

/// Finds the sequence number that may go out of each slot: the newest, or none if one is on its way. Where a command
/// for a group takes part, one that has expired stands in nobody's way.
fn slots(
    shard: &Shard,
    (agent_key, lane): (&str, Lane),
    lines: &[Line],
    held: impl Fn(CommandId) -> bool,
    now: Timestamp,
) -> HashMap<Slot, Option<u64>> {
    let with_records: HashSet<&Slot> =
        lines.iter().filter(|line| line.is_record).filter_map(|line| line.entry.slot.as_ref()).collect();
    let mut slots: HashMap<Slot, Option<u64>> = HashMap::new();
    for Line { entry, .. } in lines {
        let Some(slot) = &entry.slot else { continue };
        let is_over = due(entry.cancel_requested, false, entry.expires, now).is_some();
        let newest = slots.entry(slot.clone()).or_insert(Some(0));
        if shard.is_carried(agent_key, entry.id) || held(entry.id) {
            *newest = None;
        } else if !(is_over && with_records.contains(slot)) {
            *newest = newest.map(|sequence| sequence.max(entry.sequence));
        }
    }
    // What has ended as a whole, and is on its way nevertheless, is on no line any more.
    for (slot, newest) in &mut slots {
        if shard.is_slot_carried(agent_key, lane, slot) {
            *newest = None;
        }
    }
    slots
}

/// Reads the command of a line.
fn read(kv: &dyn ReadKv, entry: &Entry, now: Timestamp) -> Result<Command, StoreError> {
    let (by, submission, issued) = match rows::command(kv, entry.id)? {
        Some(Row { by, submission, issued, .. }) => (by, submission, issued),
        None => match rows::record(kv, entry.id)? {
            Some(Record { by, submission, issued, .. }) => (by, submission, issued),
            None => return Err(StoreError::Damaged(format!("command {} of an inbox is missing", entry.id))),
        },
    };
    // Rounded up: 0 would mean "only if connected now".
    let left_ms = entry.expires.unix_ms().saturating_sub(now.unix_ms()).max(0);
    Ok(Command {
        id: entry.id,
        slot: entry.slot.clone(),
        ttl: u32::try_from((left_ms + 999) / 1000).unwrap_or(u32::MAX),
        priority: entry.priority,
        kind: submission.kind,
        reason: submission.reason,
        issued: issued.whole_secs(),
        by,
        relay: None,
    })
}
