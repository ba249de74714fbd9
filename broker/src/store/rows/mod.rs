//! The record format: what the keys and values of the tables look like.
//!
//! Values are JSON except where a list is read often. A change that an older program could not read raises
//! [`FORMAT`], which is compared when a store is opened.

mod admin;
mod command;
mod evidence;
mod group;
mod inbox;
mod power;
mod record;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wakemq_protocol::limits::ID_MEMORY_SECS;
use wakemq_protocol::{CommandId, GroupPath, Timestamp};

use super::StoreError;
use super::kv::{ReadKv, Table, WriteKv};

pub(super) use admin::{Agent, Operator, Owner, Seen, Token, agent};
pub(super) use command::{Row, command, replace_command};
pub(super) use evidence::add_step;
pub(super) use group::{Node, member_key, node, node_key, node_of_key, put_node, subtree};
pub(super) use inbox::{Entry, inbox};
pub(super) use power::pending_power;
pub(super) use record::{
    Record, has_outcome, live, open_records, outcome, outcome_key, outcomes, record, replace_outcome,
    replace_record,
};

/// The version of the record format.
///
/// 3: `power` commands have lines in an inbox and an index of their own, and keep evidence.
pub(super) const FORMAT: u32 = 3;
/// The version that is brought to the present one when a store is opened. It lacks a table, which is made by opening
/// all tables for writing, and has nothing that could be in it.
const FORMAT_BEFORE: u32 = 2;

const FORMAT_KEY: &[u8] = b"format";
const SEQUENCE_KEY: &[u8] = b"sequence";
const AUDIT_KEY: &[u8] = b"audit";

/// A key of a table, and its value.
pub(super) type Line = (Table, Vec<u8>, Vec<u8>);

/// Writes what makes an empty database a store: its format, and the root of the groups.
pub(super) fn write_first(kv: &mut dyn WriteKv) -> Result<(), StoreError> {
    kv.put(Table::Meta, FORMAT_KEY, &FORMAT.to_be_bytes())?;
    put_node(kv, &GroupPath::root(), &Node { created: Timestamp::from_unix_ms(0), agents: 0 })
}

/// Returns when a command is forgotten: a day after it expired.
pub(super) fn forgotten_at(expires: Timestamp) -> Timestamp {
    Timestamp::from_unix_ms(expires.unix_ms() + i64::from(ID_MEMORY_SECS) * 1000)
}

/// Replaces lines of indexes by others; those that stay the same are not touched.
fn replace_lines(kv: &mut dyn WriteKv, old: &[Line], new: &[Line]) -> Result<(), StoreError> {
    for (table, key, _) in
        old.iter().filter(|(table, key, _)| !new.iter().any(|(t, k, _)| t == table && k == key))
    {
        kv.remove(*table, key)?;
    }
    for (table, key, value) in new.iter().filter(|line| !old.contains(line)) {
        kv.put(*table, key, value)?;
    }
    Ok(())
}

/// Checks that the store was written in this format.
pub(super) fn check_format(kv: &dyn ReadKv) -> Result<(), StoreError> {
    match format(kv)? {
        FORMAT => Ok(()),
        found => Err(StoreError::Format { found, expected: FORMAT }),
    }
}

/// Tells whether the store was written in the format before, and has to be brought to this one.
pub(super) fn is_of_format_before(kv: &dyn ReadKv) -> Result<bool, StoreError> {
    match format(kv)? {
        FORMAT => Ok(false),
        FORMAT_BEFORE => Ok(true),
        found => Err(StoreError::Format { found, expected: FORMAT }),
    }
}

/// Brings a store of the format before to this one.
pub(super) fn upgrade(kv: &mut dyn WriteKv) -> Result<(), StoreError> {
    kv.put(Table::Meta, FORMAT_KEY, &FORMAT.to_be_bytes())
}

fn format(kv: &dyn ReadKv) -> Result<u32, StoreError> {
    let value = kv.get(Table::Meta, FORMAT_KEY)?;
    let bytes = value.as_deref().and_then(|value| <[u8; 4]>::try_from(value).ok());
    let damaged = || StoreError::Damaged("it does not say its record format".into());
    bytes.map(u32::from_be_bytes).ok_or_else(damaged)
}

/// Returns the last sequence number that was given; 0 before the first.
pub(super) fn sequence(kv: &dyn ReadKv) -> Result<u64, StoreError> {
    counter(kv, SEQUENCE_KEY)
}

fn counter(kv: &dyn ReadKv, key: &[u8]) -> Result<u64, StoreError> {
    match kv.get(Table::Meta, key)? {
        None => Ok(0),
        Some(value) => <[u8; 8]>::try_from(&*value)
            .map(u64::from_be_bytes)
            .map_err(|_| StoreError::Damaged("a counter is not a number".into())),
    }
}

/// Gives the next sequence number.
pub(super) fn next_sequence(kv: &mut dyn WriteKv) -> Result<u64, StoreError> {
    next(kv, SEQUENCE_KEY)
}

/// Gives the next number of the audit trail.
pub(super) fn next_audit(kv: &mut dyn WriteKv) -> Result<u64, StoreError> {
    next(kv, AUDIT_KEY)
}

fn next(kv: &mut dyn WriteKv, key: &[u8]) -> Result<u64, StoreError> {
    let next = counter(kv, key)? + 1;
    kv.put(Table::Meta, key, &next.to_be_bytes())?;
    Ok(next)
}

/// Makes a key that sorts by time; with an id it names one command at that time.
pub(super) fn time_key(time: Timestamp, id: Option<CommandId>) -> Vec<u8> {
    let ms = u64::try_from(time.unix_ms()).unwrap_or(0);
    let id = id.as_ref().map_or(&[][..], |id| id.as_bytes());
    [&ms.to_be_bytes(), id].concat()
}

/// Returns the id at the end of a key.
pub(super) fn id_in_key(key: &[u8]) -> Result<CommandId, StoreError> {
    key.last_chunk::<16>()
        .and_then(|bytes| CommandId::from_bytes(*bytes).ok())
        .ok_or_else(|| StoreError::Damaged("a key of an index names no command".into()))
}

/// Reads a value in JSON.
pub(super) fn get<T: DeserializeOwned>(
    kv: &dyn ReadKv,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    kv.get(table, key)?.map(|value| parse(table, &value)).transpose()
}

/// Parses a value in JSON.
pub(super) fn parse<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value)
        .map_err(|error| StoreError::Damaged(format!("a row of {} cannot be read: {error}", table.name())))
}

/// Writes a value as JSON.
pub(super) fn put<T: Serialize>(
    kv: &mut dyn WriteKv,
    table: Table,
    key: &[u8],
    value: &T,
) -> Result<(), StoreError> {
    kv.put(table, key, &to_json(table, value)?)
}

/// Makes a value in JSON.
pub(super) fn to_json<T: Serialize>(table: Table, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value)
        .map_err(|error| StoreError::Damaged(format!("a row of {} cannot be written: {error}", table.name())))
}
