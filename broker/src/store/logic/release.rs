//! Letting go of what a connection carried.
//!
//! That a connection ended is a fact, which no full disk can prevent: the claim ends in memory at once. Only the
//! ends that are due then have to be written; where that fails they stay due, nothing of them is handed out, and
//! the next sweep finds them in the table of loose commands.

use wakemq_protocol::{CommandId, CommandState, Timestamp};

use super::lifecycle::{change, due, settle};
use super::outcomes;
use crate::store::batch::Batch;
use crate::store::claims::{Carried, Shard};
use crate::store::kv::ReadKv;
use crate::store::rows::{self, Row};
use crate::store::{Change, StoreError};

/// What letting go of commands amounts to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Releasing {
    /// Nothing has to be written.
    Done(Vec<Change>),
    /// Something may end: [`release`] has to run in a batch. These are the changes of the others.
    Due(Vec<Change>),
}

/// Tells what becomes of commands that were just let go, without writing; `kv` is younger than the lock on `shard`.
pub(in crate::store) fn releasing(
    shard: &Shard,
    agent_key: &str,
    carried: &[Carried],
    now: Timestamp,
    kv: &dyn ReadKv,
) -> Result<Releasing, StoreError> {
    let mut changes = Vec::new();
    let mut any_due = false;
    for carried in carried {
        let (id, sent) = (carried.id, carried.sent());
        // What the running batch makes of a busy one is known only after it.
        any_due |= shard.is_busy(agent_key, id);
        let Some(row) = rows::command(kv, id)? else {
            let pending =
                rows::outcome(kv, id, agent_key)?.is_some_and(|row| row.state == CommandState::Queued);
            any_due |= pending;
            if !pending && !shard.is_carried(agent_key, id) {
                changes.extend(outcomes::let_go(kv, agent_key, id, now)?);
            }
            continue;
        };
        if !row.is_pending() {
            continue;
        }
        if due(row.cancel_requested, row.live, row.expires, now).is_some() || row.outdated {
            any_due = true;
        } else if !shard.is_carried(agent_key, id) {
            changes.extend(sent.map(|_| queued_again(id, &row, now)));
        }
    }
    Ok(if any_due { Releasing::Due(changes) } else { Releasing::Done(changes) })
}

/// Settles commands that were just let go.
pub(in crate::store) fn release(
    batch: &mut Batch<'_>,
    agent_key: &str,
    carried: &[Carried],
    now: Timestamp,
) -> Result<Vec<Change>, StoreError> {
    let claims = batch.claims;
    let mut shard = claims.shard(agent_key);
    let mut changes = Vec::new();
    for carried in carried {
        let (id, sent) = (carried.id, carried.sent());
        // A newer connection may have got it already.
        if shard.is_carried(agent_key, id) {
            continue;
        }
        let Some(row) = rows::command(batch, id)? else {
            let settled = outcomes::settle(batch, &mut shard, agent_key, id, now)?;
            changes.extend(match settled {
                Some(settled) => Some(settled),
                None => outcomes::let_go(batch, agent_key, id, now)?,
            });
            continue;
        };
        if !row.is_pending() {
            continue;
        }
        let change = settle(batch, &mut shard, id, &row, now)?;
        // What was not on its way has been queued all the time.
        changes.extend(change.or_else(|| sent.map(|_| queued_again(id, &row, now))));
    }
    Ok(changes)
}

fn queued_again(id: CommandId, row: &Row, now: Timestamp) -> Change {
    change(id, &Row { state: CommandState::Queued, at: now, ..row.clone() }, None)
}
