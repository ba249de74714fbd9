//! Agents that a command for a group still waits for.

use wakemq_protocol::{AgentId, CommandId, GroupPath};

use super::agents::{member, members};
use crate::store::kv::ReadKv;
use crate::store::{Rows, StoreError, rows};

/// How many agents one call looks at, so that a page stays cheap when almost all have answered.
const SCAN_MAX: usize = 4096;

/// Reads a page of the agents for which a live command waits and of which nothing else is known, by group and id.
pub(in crate::store) fn page(
    kv: &dyn ReadKv,
    id: CommandId,
    last: Option<&(GroupPath, AgentId)>,
    max: usize,
) -> Result<Rows, StoreError> {
    let mut agents = Vec::new();
    let record = rows::record(kv, id)?.filter(rows::Record::is_live);
    let Some(record) = record else { return Ok(Rows::Waiting { agents, next: None }) };
    let lines = members(kv, last, &record.target, SCAN_MAX)?;
    let mut place = None;
    for (_, spelling) in &lines {
        if agents.len() >= max {
            return Ok(Rows::Waiting { agents, next: place });
        }
        let agent = member(kv, spelling)?;
        let is_open = record.is_meant_for(&agent) && !rows::has_outcome(kv, id, &agent.agent.key())?;
        place = Some((agent.group, agent.agent));
        if is_open {
            agents.extend(place.clone());
        }
    }
    let next = place.filter(|_| lines.len() == SCAN_MAX);
    Ok(Rows::Waiting { agents, next })
}
