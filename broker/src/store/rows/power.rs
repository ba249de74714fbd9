//! The index of pending `power` commands, by which the engine finds them after a restart.

use wakemq_protocol::{AgentId, CommandId};

use super::Line;
use crate::store::StoreError;
use crate::store::kv::{ReadKv, Table, after};

/// Greater than the key of any line.
const END: [u8; 9] = [0xff; 9];

/// Makes the line of a command: by its sequence number its id, then its agent in its own spelling.
pub(super) fn line(sequence: u64, id: CommandId, agent: &AgentId) -> Line {
    let value = [&id.as_bytes()[..], agent.as_str().as_bytes()].concat();
    (Table::Power, sequence.to_be_bytes().to_vec(), value)
}

/// A command, and the agent that it is to switch on.
pub(in crate::store) struct Pending {
    pub(in crate::store) sequence: u64,
    pub(in crate::store) id: CommandId,
    pub(in crate::store) agent: AgentId,
}

impl Pending {
    fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let sequence = u64::from_be_bytes(key.try_into().ok()?);
        let (id, agent) = value.split_first_chunk::<16>()?;
        let id = CommandId::from_bytes(*id).ok()?;
        Some(Self { sequence, id, agent: std::str::from_utf8(agent).ok()?.parse().ok()? })
    }
}

/// Reads those accepted after a sequence number, at most `max`, in order of acceptance.
pub(in crate::store) fn pending_power(
    kv: &dyn ReadKv,
    last: Option<u64>,
    max: usize,
) -> Result<Vec<Pending>, StoreError> {
    let from = last.map(|last| after(&last.to_be_bytes())).unwrap_or_default();
    kv.range(Table::Power, &from, &END, max)?
        .into_iter()
        .map(|(key, value)| {
            Pending::parse(&key, &value)
                .ok_or_else(|| StoreError::Damaged("a line of the power commands cannot be read".into()))
        })
        .collect()
}
