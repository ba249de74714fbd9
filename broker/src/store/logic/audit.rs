//! The audit trail: written in the same batch as what it tells of.

use serde_json::Value;
use wakemq_protocol::http::AuditEntry;
use wakemq_protocol::{GroupPath, Timestamp};

use crate::store::batch::Batch;
use crate::store::kv::{ReadKv, Table, WriteKv, after};
use crate::store::{Actor, Rows, StoreError, rows};

/// How long a line is kept, in milliseconds: 400 days.
const KEPT_MS: i64 = 400 * 86_400 * 1000;
/// How many lines one call looks at, so that a page for a small group stays cheap.
const SCAN_MAX: usize = 4096;
/// How many lines are read at once.
const CHUNK: usize = 256;

/// What was done, and to what.
pub(super) struct Deed<'a> {
    pub(super) action: &'a str,
    pub(super) target: &'a str,
    pub(super) group: &'a GroupPath,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// Writes a line, if it is known who did it.
pub(super) fn note(
    batch: &mut Batch<'_>,
    actor: Option<&Actor>,
    deed: Deed<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(actor) = actor else { return Ok(()) };
    let seq = rows::next_audit(batch)?;
    let entry = AuditEntry {
        seq,
        at: now,
        by: actor.by.clone(),
        address: actor.address.map(|address| address.to_string()),
        action: deed.action.to_owned(),
        target: deed.target.to_owned(),
        group: deed.group.clone(),
        before: deed.before,
        after: deed.after,
    };
    rows::put(batch, Table::Audit, &seq.to_be_bytes(), &entry)
}

/// Reads a page of the lines within a subtree, oldest first.
pub(in crate::store) fn page(
    kv: &dyn ReadKv,
    since: Option<Timestamp>,
    last: Option<u64>,
    scope: &GroupPath,
    max: usize,
) -> Result<Rows, StoreError> {
    let first = match since {
        Some(since) => first_since(kv, since)?,
        None => 0,
    };
    let mut from = first.max(last.map_or(0, |last| last.saturating_add(1)));
    let mut entries = Vec::new();
    for _ in 0..SCAN_MAX / CHUNK {
        let lines = read(kv, from, CHUNK)?;
        let at_end = lines.len() < CHUNK;
        for entry in lines {
            if entries.len() >= max {
                return Ok(Rows::Audit { entries, next: Some(from.saturating_sub(1)) });
            }
            from = entry.seq.saturating_add(1);
            if scope.contains(&entry.group) {
                entries.push(entry);
            }
        }
        if at_end {
            return Ok(Rows::Audit { entries, next: None });
        }
    }
    Ok(Rows::Audit { entries, next: Some(from.saturating_sub(1)) })
}

fn read(kv: &dyn ReadKv, from: u64, max: usize) -> Result<Vec<AuditEntry>, StoreError> {
    let lines = kv.range(Table::Audit, &from.to_be_bytes(), &[0xff; 9], max)?;
    lines
        .iter()
        .map(|(key, value)| {
            let entry: AuditEntry = rows::parse(Table::Audit, value)?;
            // Pages and searches go on by the number in the line, and would never end if the key had another.
            if key[..] == entry.seq.to_be_bytes() {
                Ok(entry)
            } else {
                Err(StoreError::Damaged("a line of the audit trail is not where its number says".into()))
            }
        })
        .collect()
}

/// Finds the first line of a moment or later: numbers and times rise together, so that half of the rest can be left
/// out at each step.
fn first_since(kv: &dyn ReadKv, since: Timestamp) -> Result<u64, StoreError> {
    let (mut low, mut high) = (0, u64::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        match read(kv, middle, 1)?.first() {
            Some(entry) if entry.at < since => low = entry.seq.saturating_add(1),
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// Forgets lines that are old enough, at most `max`; tells whether there is more to do.
pub(super) fn forget(batch: &mut Batch<'_>, max: usize, now: Timestamp) -> Result<bool, StoreError> {
    let mut from = Vec::new();
    for _ in 0..max {
        let Some((key, value)) = batch.range(Table::Audit, &from, &[0xff; 9], 1)?.pop() else {
            return Ok(false);
        };
        let entry: AuditEntry = rows::parse(Table::Audit, &value)?;
        if entry.at.unix_ms() + KEPT_MS > now.unix_ms() {
            return Ok(false);
        }
        batch.remove(Table::Audit, &key)?;
        from = after(&key);
    }
    Ok(true)
}
