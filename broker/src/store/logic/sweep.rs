//! Ending what has expired, and forgetting.

use wakemq_protocol::{CommandId, CommandState, Timestamp};

use super::lifecycle::settle;
use super::{audit, outcomes, records, tokens};
use crate::store::batch::Batch;
use crate::store::kv::{ReadKv, Table, WriteKv, after};
use crate::store::rows::{self, Row};
use crate::store::{Change, Recorded, StoreError, Verdict};

/// How many lines of an index are read at once.
const CHUNK: usize = 256;
/// Greater than any key of the table of loose commands: no id begins like this.
const LOOSE_END: [u8; 1] = [0xff];

/// Ends at most `max` commands, and forgets at most `max`.
pub(super) fn sweep(batch: &mut Batch<'_>, max: usize, now: Timestamp) -> Result<Recorded, StoreError> {
    let mut changes = Vec::new();
    let until = rows::time_key(Timestamp::from_unix_ms(now.unix_ms() + 1), None);
    let mut more = settle_table(batch, Table::Expiry, &until, max, now, &mut changes)?;
    let room = max.saturating_sub(changes.len());
    more |= settle_table(batch, Table::Loose, &LOOSE_END, room, now, &mut changes)?;
    more |= forget(batch, &until, max)?;
    more |= tokens::forget(batch, &until, max)?;
    more |= audit::forget(batch, max, now)?;
    Ok(Recorded { verdict: if more { Verdict::More } else { Verdict::Applied }, changes })
}

/// Settles everything that the connections of a former process carried.
pub(in crate::store) fn settle_loose(
    batch: &mut Batch<'_>,
    now: Timestamp,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    settle_table(batch, Table::Loose, &LOOSE_END, usize::MAX, now, &mut changes)?;
    Ok(changes)
}

/// Settles what an index names and no connection carries, at most `max`; tells whether there is more to do.
fn settle_table(
    batch: &mut Batch<'_>,
    table: Table,
    until: &[u8],
    max: usize,
    now: Timestamp,
    changes: &mut Vec<Change>,
) -> Result<bool, StoreError> {
    let limit = changes.len().saturating_add(max);
    let mut from = Vec::new();
    loop {
        let lines = batch.range(table, &from, until, CHUNK)?;
        let Some((last, _)) = lines.last() else { return Ok(false) };
        from = after(last);
        for (key, _) in lines {
            if changes.len() >= limit {
                return Ok(true);
            }
            // In the table of loose commands an agent's key follows where the command is for a group.
            let (id, agent_key) =
                if table == Table::Loose { loose(&key)? } else { (rows::id_in_key(&key)?, None) };
            if let Some(agent_key) = agent_key {
                let claims = batch.claims;
                let mut shard = claims.shard(&agent_key);
                if !shard.is_carried(&agent_key, id) {
                    changes.extend(outcomes::settle(batch, &mut shard, &agent_key, id, now)?);
                }
                continue;
            }
            if let Some(record) = rows::record(batch, id)? {
                changes.push(records::end(batch, id, &record, CommandState::Expired, None, now)?);
                continue;
            }
            let row = pending_row(batch, id)?;
            let agent_key = row.agent.key();
            let claims = batch.claims;
            let mut shard = claims.shard(&agent_key);
            // What is carried ends with its connection, however long ago it expired.
            if shard.is_carried(&agent_key, id) {
                continue;
            }
            changes.extend(settle(batch, &mut shard, id, &row, now)?);
        }
    }
}

fn pending_row(batch: &Batch<'_>, id: CommandId) -> Result<Row, StoreError> {
    rows::command(batch, id)?
        .filter(Row::is_pending)
        .ok_or_else(|| StoreError::Damaged(format!("an index names command {id}, which is not pending")))
}

/// Reads a key of the table of loose commands.
fn loose(key: &[u8]) -> Result<(CommandId, Option<String>), StoreError> {
    let damaged = || StoreError::Damaged("a key of an index names no command".into());
    let (id, agent_key) = key.split_first_chunk::<16>().ok_or_else(damaged)?;
    let id = CommandId::from_bytes(*id).map_err(|_| damaged())?;
    let agent_key = std::str::from_utf8(agent_key).map_err(|_| damaged())?;
    Ok((id, (!agent_key.is_empty()).then(|| agent_key.to_owned())))
}

/// Forgets commands, and what became of those for groups, at most `max` rows; tells whether there is more to do.
fn forget(batch: &mut Batch<'_>, until: &[u8], max: usize) -> Result<bool, StoreError> {
    let mut from = Vec::new();
    let mut room = max;
    loop {
        let lines = batch.range(Table::Forget, &from, until, CHUNK)?;
        let Some((last, _)) = lines.last() else { return Ok(false) };
        from = after(last);
        for (key, _) in lines {
            let id = rows::id_in_key(&key)?;
            if let Some(row) = rows::command(batch, id)? {
                if row.is_pending() {
                    continue;
                }
                if room == 0 {
                    return Ok(true);
                }
                rows::replace_command(batch, id, Some(&row), None)?;
            } else if let Some(record) = rows::record(batch, id)?.filter(|record| !record.is_live()) {
                room -= forget_outcomes(batch, id, room)?;
                if room == 0 {
                    return Ok(true);
                }
                rows::replace_record(batch, id, Some(&record), None)?;
            } else {
                continue;
            }
            room -= 1;
        }
    }
}

/// Forgets what became of a command at agents, at most `max` rows; returns how many.
fn forget_outcomes(batch: &mut Batch<'_>, id: CommandId, max: usize) -> Result<usize, StoreError> {
    let outcomes = rows::outcomes(batch, id, None, max)?;
    for outcome in &outcomes {
        let key = rows::outcome_key(id, &outcome.agent.key());
        batch.remove(Table::Outcomes, &key)?;
        batch.remove(Table::Loose, &key)?;
    }
    Ok(outcomes.len())
}
