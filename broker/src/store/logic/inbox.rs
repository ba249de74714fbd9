//! Handing out commands.

use std::collections::HashMap;

use wakemq_protocol::{Command, CommandId, Slot, Timestamp};

use super::lifecycle::due;
use crate::store::claims::{Carried, Shard};
use crate::store::kv::ReadKv;
use crate::store::rows::{self, Entry, Row};
use crate::store::{Epoch, InboxPage, StoreError};

/// Takes the next commands of an inbox; `kv` is a snapshot that is younger than the lock on `shard`.
pub(in crate::store) fn take(
    shard: &mut Shard,
    kv: &dyn ReadKv,
    agent_key: &str,
    epoch: Epoch,
    max: usize,
    now: Timestamp,
) -> Result<InboxPage, StoreError> {
    if shard.epoch(agent_key) != Some(epoch) {
        return Ok(InboxPage { commands: Vec::new(), stale: true });
    }
    let entries = rows::inbox(kv, agent_key)?;
    let slots = slots(shard, agent_key, &entries);
    let mut taken = Vec::new();
    for entry in &entries {
        if taken.len() >= max {
            break;
        }
        let free = entry.slot.as_ref().is_none_or(|slot| slots.get(slot) == Some(&Some(entry.sequence)));
        if !free
            || shard.is_busy(entry.id)
            || shard.carried_since(agent_key, entry.id).is_some()
            || due(entry.cancel_requested, false, entry.expires, now).is_some()
        {
            continue;
        }
        let row = rows::command(kv, entry.id)?
            .ok_or_else(|| StoreError::Damaged(format!("command {} of an inbox is missing", entry.id)))?;
        taken.push((entry.id, row));
    }
    // Only now, so that a page that could not be read is carried by nobody.
    let commands = taken
        .into_iter()
        .map(|(id, row)| {
            shard.carry(agent_key, Carried { id, since: now, live: false });
            to_agent(id, row, now)
        })
        .collect();
    Ok(InboxPage { commands, stale: false })
}

/// Finds the sequence number that may go out of each slot: the newest, or none if one is on its way.
fn slots<'a>(shard: &Shard, agent_key: &str, entries: &'a [Entry]) -> HashMap<&'a Slot, Option<u64>> {
    let mut slots = HashMap::new();
    for entry in entries {
        let Some(slot) = &entry.slot else { continue };
        let newest = slots.entry(slot).or_insert(Some(0));
        if shard.carried_since(agent_key, entry.id).is_some() || shard.is_busy(entry.id) {
            *newest = None;
        } else {
            *newest = newest.map(|sequence| sequence.max(entry.sequence));
        }
    }
    slots
}

fn to_agent(id: CommandId, row: Row, now: Timestamp) -> Command {
    // Rounded up: 0 would mean "only if connected now".
    let left_ms = row.expires.unix_ms().saturating_sub(now.unix_ms()).max(0);
    Command {
        id,
        slot: row.slot(),
        ttl: u32::try_from((left_ms + 999) / 1000).unwrap_or(u32::MAX),
        priority: row.priority,
        kind: row.submission.kind,
        reason: row.submission.reason,
        issued: row.issued.whole_secs(),
        by: row.by,
    }
}
