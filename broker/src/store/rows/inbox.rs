//! The lines of an inbox: an agent's own, or those that a group's live commands add to its agents' inboxes.

use wakemq_protocol::{CommandId, Priority, Slot, Timestamp};

use super::time_key;
use crate::store::kv::{ReadKv, Table};
use crate::store::{Lane, StoreError};

/// A line of an inbox: enough to decide what goes out without reading the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Entry {
    pub(in crate::store) priority: Priority,
    pub(in crate::store) sequence: u64,
    pub(in crate::store) id: CommandId,
    pub(in crate::store) expires: Timestamp,
    pub(in crate::store) cancel_requested: bool,
    pub(in crate::store) slot: Option<Slot>,
    pub(in crate::store) lane: Lane,
}

/// A flag: it ends when nobody carries it any more.
const CANCEL_REQUESTED: u8 = 1;
/// A flag: the engine carries it out.
const POWER: u8 = 2;

/// Longer than any rest of an inbox key.
const INBOX_END: [u8; 1] = [0xff];

impl Entry {
    /// The key of the agent or group, 0 (which neither contains), priority from high to low, sequence number.
    pub(super) fn key(&self, of: &[u8]) -> Vec<u8> {
        let rank = match self.priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        [of, &[0, rank], &self.sequence.to_be_bytes()].concat()
    }

    /// One byte of flags, the expiry, the id, the slot.
    pub(super) fn value(&self) -> Vec<u8> {
        let slot = self.slot.as_ref().map_or("", Slot::as_str);
        let cancel_requested = if self.cancel_requested { CANCEL_REQUESTED } else { 0 };
        let lane = match self.lane {
            Lane::Agent => 0,
            Lane::Power => POWER,
        };
        [&[cancel_requested | lane], &*time_key(self.expires, None), self.id.as_bytes(), slot.as_bytes()]
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
            cancel_requested: flags & CANCEL_REQUESTED != 0,
            slot: if slot.is_empty() { None } else { Some(slot.parse().ok()?) },
            lane: if flags & POWER != 0 { Lane::Power } else { Lane::Agent },
        })
    }
}

/// Reads an agent's inbox, in order.
pub(in crate::store) fn inbox(kv: &dyn ReadKv, agent_key: &str) -> Result<Vec<Entry>, StoreError> {
    lines(kv, Table::Inbox, agent_key.as_bytes())
}

/// Reads the lines of an agent or a group, in order.
pub(super) fn lines(kv: &dyn ReadKv, table: Table, of: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let prefix = [of, &[0]].concat();
    let end = [&*prefix, &INBOX_END].concat();
    kv.range(table, &prefix, &end, usize::MAX)?
        .into_iter()
        .map(|(key, value)| {
            Entry::parse(&key, &value)
                .ok_or_else(|| StoreError::Damaged("a line of an inbox cannot be read".into()))
        })
        .collect()
}
