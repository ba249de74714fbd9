//! The record format: what the keys and values of the tables look like.
//!
//! Values are JSON except where a list is read often. A change that an older program could not read raises
//! [`FORMAT`], which [`check_format`] compares when a store is opened.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wakemq_protocol::limits::ID_MEMORY_SECS;
use wakemq_protocol::{
    AgentId, CommandId, CommandState, Facts, GroupPath, OperatorName, Outcome, Priority, Receipt, SecretHash,
    Slot, Submission, Timestamp,
};

use super::kv::{ReadKv, Table, WriteKv};
use super::{CommandRow, Principal, Role, StoreError};

/// The version of the record format.
pub(super) const FORMAT: u32 = 1;

const FORMAT_KEY: &[u8] = b"format";
const SEQUENCE_KEY: &[u8] = b"sequence";

/// Returns the line of [`Table::Meta`] that makes an empty database a store.
pub(super) fn format_line() -> (&'static [u8], [u8; 4]) {
    (FORMAT_KEY, FORMAT.to_be_bytes())
}

/// Checks that the store was written in this format.
pub(super) fn check_format(kv: &dyn ReadKv) -> Result<(), StoreError> {
    let value = kv.get(Table::Meta, FORMAT_KEY)?;
    let bytes = value.as_deref().and_then(|value| <[u8; 4]>::try_from(value).ok());
    match bytes.map(u32::from_be_bytes) {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(StoreError::Format { found, expected: FORMAT }),
        None => Err(StoreError::Damaged("it does not say its record format".into())),
    }
}

/// Returns the last sequence number that was given; 0 before the first.
pub(super) fn sequence(kv: &dyn ReadKv) -> Result<u64, StoreError> {
    match kv.get(Table::Meta, SEQUENCE_KEY)? {
        None => Ok(0),
        Some(value) => <[u8; 8]>::try_from(&*value)
            .map(u64::from_be_bytes)
            .map_err(|_| StoreError::Damaged("the sequence number is not a number".into())),
    }
}

/// Gives the next sequence number.
pub(super) fn next_sequence(kv: &mut dyn WriteKv) -> Result<u64, StoreError> {
    let next = sequence(kv)? + 1;
    kv.put(Table::Meta, SEQUENCE_KEY, &next.to_be_bytes())?;
    Ok(next)
}

/// A command as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) by: String,
    pub(super) agent: AgentId,
    pub(super) group: GroupPath,
    /// As it was given, so that a repetition is known as such.
    pub(super) submission: Submission,
    /// The submission's, or a higher one that was inherited.
    pub(super) priority: Priority,
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) sequence: u64,
    /// Never `sent`: whether a connection carries it is known in memory alone.
    pub(super) state: CommandState,
    pub(super) at: Timestamp,
    /// `ttl` 0: in no inbox, bound to the connection that carries it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) live: bool,
    /// A newer command of its slot was queued while it was carried.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) outdated: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) cancel_requested: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) superseded_by: Option<CommandId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) late: Option<Receipt>,
}

impl Row {
    pub(super) fn is_pending(&self) -> bool {
        self.state == CommandState::Queued
    }

    /// Returns the slot that it takes.
    pub(super) fn slot(&self) -> Option<Slot> {
        if self.live { None } else { self.submission.effective_slot() }
    }

    /// Tells what has become of it, as far as the disk knows.
    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            agent: self.agent.clone(),
            state: self.state,
            at: self.at,
            detail: self.detail.clone(),
            superseded_by: self.superseded_by,
            cancel_requested: self.cancel_requested && self.is_pending(),
            late: self.late.clone(),
        }
    }

    /// Tells what has become of it; `sent_at` is since when a connection carries it.
    pub(super) fn outcome_now(&self, sent_at: Option<Timestamp>) -> Outcome {
        let outcome = self.outcome();
        match sent_at.filter(|_| self.is_pending()) {
            Some(at) => Outcome { state: CommandState::Sent, at, ..outcome },
            None => outcome,
        }
    }

    /// Tells whether it ends as soon as no connection carries it, or has to be looked at then.
    fn is_loose(&self) -> bool {
        self.is_pending() && (self.live || self.cancel_requested || self.outdated)
    }

    pub(super) fn into_command_row(self, id: CommandId, sent_at: Option<Timestamp>) -> CommandRow {
        let outcome = self.outcome_now(sent_at);
        CommandRow {
            id,
            by: self.by,
            agent: self.agent,
            group: self.group,
            submission: Submission { priority: self.priority, ..self.submission },
            issued: self.issued,
            expires: self.expires,
            outcome,
        }
    }

    /// Returns the keys, and values, under which the indexes find it.
    fn entries(&self, id: CommandId) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
        let mut entries = vec![(Table::Forget, time_key(self.forgotten_at(), Some(id)), Vec::new())];
        if self.is_pending() && !self.live {
            let entry = Entry {
                priority: self.priority,
                sequence: self.sequence,
                id,
                expires: self.expires,
                cancel_requested: self.cancel_requested,
                slot: self.slot(),
            };
            entries.push((Table::Inbox, entry.key(&self.agent.key()), entry.value()));
            entries.push((Table::Expiry, time_key(self.expires, Some(id)), Vec::new()));
        }
        if self.is_loose() {
            entries.push((Table::Loose, id.as_bytes().to_vec(), Vec::new()));
        }
        entries
    }

    fn forgotten_at(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.expires.unix_ms() + i64::from(ID_MEMORY_SECS) * 1000)
    }
}

/// Reads a command.
pub(super) fn command(kv: &dyn ReadKv, id: CommandId) -> Result<Option<Row>, StoreError> {
    get(kv, Table::Commands, id.as_bytes())
}

/// Replaces a command, or removes it, and keeps the indexes in step.
pub(super) fn replace_command(
    kv: &mut dyn WriteKv,
    id: CommandId,
    before: Option<&Row>,
    after: Option<&Row>,
) -> Result<(), StoreError> {
    let old = before.map(|row| row.entries(id)).unwrap_or_default();
    let new = after.map(|row| row.entries(id)).unwrap_or_default();
    for (table, key, _) in
        old.iter().filter(|(table, key, _)| !new.iter().any(|(t, k, _)| t == table && k == key))
    {
        kv.remove(*table, key)?;
    }
    for (table, key, value) in new.iter().filter(|entry| !old.contains(entry)) {
        kv.put(*table, key, value)?;
    }
    match after {
        Some(row) => put(kv, Table::Commands, id.as_bytes(), row),
        None => kv.remove(Table::Commands, id.as_bytes()),
    }
}

/// An agent as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Agent {
    pub(super) agent: AgentId,
    pub(super) group: GroupPath,
    pub(super) inside_since: Vec<u64>,
    pub(super) secret: SecretHash,
    pub(super) created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_seen: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) facts: Option<Facts>,
}

/// An operator as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Operator {
    pub(super) secret: SecretHash,
    pub(super) role: Role,
    pub(super) scope: GroupPath,
}

/// An enrolment token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) group: GroupPath,
    pub(super) uses_left: u32,
    pub(super) expires: Timestamp,
    pub(super) by: String,
}

/// Whom a secret belongs to, complete, so that authenticating is one look-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Owner {
    Agent(AgentId),
    Operator { name: OperatorName, role: Role, scope: GroupPath },
}

impl From<Owner> for Principal {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Agent(agent) => Self::Agent(agent),
            Owner::Operator { name, role, scope } => Self::Operator { name, role, scope },
        }
    }
}

/// A line of an inbox: enough to decide what goes out without reading the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) priority: Priority,
    pub(super) sequence: u64,
    pub(super) id: CommandId,
    pub(super) expires: Timestamp,
    pub(super) cancel_requested: bool,
    pub(super) slot: Option<Slot>,
}

/// Longer than any rest of an inbox key.
const INBOX_END: [u8; 1] = [0xff];

impl Entry {
    /// Agent's key, 0 (which no id contains), priority from high to low, sequence number.
    fn key(&self, agent_key: &str) -> Vec<u8> {
        let rank = match self.priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        [agent_key.as_bytes(), &[0, rank], &self.sequence.to_be_bytes()].concat()
    }

    /// One byte of flags, the expiry, the id, the slot.
    fn value(&self) -> Vec<u8> {
        let slot = self.slot.as_ref().map_or("", Slot::as_str);
        [
            &[u8::from(self.cancel_requested)],
            &*time_key(self.expires, None),
            self.id.as_bytes(),
            slot.as_bytes(),
        ]
        .concat()
    }

    fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let (front, sequence) = key.split_last_chunk::<8>()?;
        let priority = match front.last()? {
            0 => Priority::High,
            1 => Priority::Normal,
            _ => Priority::Low,
        };
        let (&flags, rest) = value.split_first()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (id, slot) = rest.split_first_chunk::<16>()?;
        let slot = std::str::from_utf8(slot).ok()?;
        Some(Self {
            priority,
            sequence: u64::from_be_bytes(*sequence),
            id: CommandId::from_bytes(*id).ok()?,
            expires: Timestamp::from_unix_ms(i64::try_from(u64::from_be_bytes(*expires)).ok()?),
            cancel_requested: flags & 1 != 0,
            slot: if slot.is_empty() { None } else { Some(slot.parse().ok()?) },
        })
    }
}

/// Reads an agent's inbox, in order.
pub(super) fn inbox(kv: &dyn ReadKv, agent_key: &str) -> Result<Vec<Entry>, StoreError> {
    let prefix = [agent_key.as_bytes(), &[0]].concat();
    let end = [&*prefix, &INBOX_END].concat();
    kv.range(Table::Inbox, &prefix, &end, usize::MAX)?
        .into_iter()
        .map(|(key, value)| {
            Entry::parse(&key, &value)
                .ok_or_else(|| StoreError::Damaged("a line of an inbox cannot be read".into()))
        })
        .collect()
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
    let json = serde_json::to_vec(value).map_err(|error| {
        StoreError::Damaged(format!("a row of {} cannot be written: {error}", table.name()))
    })?;
    kv.put(table, key, &json)
}
