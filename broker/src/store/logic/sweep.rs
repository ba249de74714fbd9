//! Ending what has expired, and forgetting.

use wakemq_protocol::{CommandId, Timestamp};

use super::lifecycle::settle;
use crate::store::batch::Batch;
use crate::store::kv::{ReadKv, Table, after};
use crate::store::rows::{self, Row};
use crate::store::{Change, Recorded, StoreError, Verdict};

/// How many lines of an index are read at once.
const CHUNK: usize = 256;

/// Ends at most `max` commands, and forgets at most `max`.
pub(super) fn sweep(batch: &mut Batch<'_>, max: usize, now: Timestamp) -> Result<Recorded, StoreError> {
    let mut changes = Vec::new();
    let until = rows::time_key(Timestamp::from_unix_ms(now.unix_ms() + 1), None);
    let mut more = settle_table(batch, Table::Expiry, &until, max, now, &mut changes)?;
    let room = max.saturating_sub(changes.len());
    more |= settle_table(batch, Table::Loose, &[0xff; 17], room, now, &mut changes)?;
    more |= forget(batch, &until, max)?;
    Ok(Recorded { verdict: if more { Verdict::More } else { Verdict::Applied }, changes })
}

/// Settles everything that the connections of a former process carried.
pub(in crate::store) fn settle_loose(
    batch: &mut Batch<'_>,
    now: Timestamp,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    settle_table(batch, Table::Loose, &[0xff; 17], usize::MAX, now, &mut changes)?;
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
            let id = rows::id_in_key(&key)?;
            let row = pending_row(batch, id)?;
            let agent_key = row.agent.key();
            let claims = batch.claims;
            let mut shard = claims.shard(&agent_key);
            // What is carried ends with its connection, however long ago it expired.
            if shard.carried_since(&agent_key, id).is_some() {
                continue;
            }
            if changes.len() >= limit {
                return Ok(true);
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

fn forget(batch: &mut Batch<'_>, until: &[u8], max: usize) -> Result<bool, StoreError> {
    let mut from = Vec::new();
    let mut forgotten = 0;
    loop {
        let lines = batch.range(Table::Forget, &from, until, CHUNK)?;
        let Some((last, _)) = lines.last() else { return Ok(false) };
        from = after(last);
        for (key, _) in lines {
            let id = rows::id_in_key(&key)?;
            let Some(row) = rows::command(batch, id)?.filter(|row| !row.is_pending()) else { continue };
            if forgotten >= max {
                return Ok(true);
            }
            rows::replace_command(batch, id, Some(&row), None)?;
            forgotten += 1;
        }
    }
}
