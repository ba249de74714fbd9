//! Commands for groups: one record each, and what became of it at single agents as it happens.
//!
//! An agent of which there is no row is in the record's own state.

use serde::{Deserialize, Serialize};
use wakemq_protocol::{AgentId, CommandId, CommandState, GroupPath, Outcome, Slot, Submission, Timestamp};

use super::inbox::{Entry, lines};
use super::{Agent, Line, forgotten_at, get, node_key, parse, put, replace_lines, time_key};
use crate::store::kv::{ReadKv, Table, WriteKv};
use crate::store::{Lane, StoreError};

/// A command for a group as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Record {
    pub(in crate::store) by: String,
    pub(in crate::store) target: GroupPath,
    /// Where it is to be seen: the target, or its publisher's scope where it was refused.
    pub(in crate::store) group: GroupPath,
    pub(in crate::store) submission: Submission,
    pub(in crate::store) issued: Timestamp,
    pub(in crate::store) expires: Timestamp,
    pub(in crate::store) sequence: u64,
    /// `queued` while it is live.
    pub(in crate::store) state: CommandState,
    pub(in crate::store) at: Timestamp,
    /// How many agents were in the subtree when it was accepted.
    pub(in crate::store) meant: u64,
    /// `ttl` 0: only for the connections that carried it from its acceptance on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::store) live: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::store) detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::store) superseded_by: Option<CommandId>,
}

impl Record {
    /// Tells whether it still goes out to agents.
    pub(in crate::store) fn is_live(&self) -> bool {
        self.state == CommandState::Queued
    }

    /// Returns the slot that it takes.
    pub(in crate::store) fn slot(&self) -> Option<Slot> {
        if self.live { None } else { self.submission.effective_slot() }
    }

    /// Tells whether the agent was in the subtree when it was accepted, and has not left since.
    pub(in crate::store) fn is_meant_for(&self, agent: &Agent) -> bool {
        let level = self.target.segments().count();
        self.state != CommandState::Refused
            && self.target.contains(&agent.group)
            && agent.inside_since.get(level).is_some_and(|&since| self.sequence > since)
    }

    /// Tells what has become of it at an agent of which nothing else is known.
    pub(in crate::store) fn outcome(&self, agent: &AgentId) -> Outcome {
        Outcome {
            agent: agent.clone(),
            state: self.state,
            at: self.at,
            detail: None,
            superseded_by: self.superseded_by,
            cancel_requested: false,
            late: None,
        }
    }

    fn entries(&self, id: CommandId) -> Vec<Line> {
        let mut entries = vec![(Table::Forget, time_key(forgotten_at(self.expires), Some(id)), Vec::new())];
        if self.is_live() {
            let entry = Entry {
                priority: self.submission.priority,
                sequence: self.sequence,
                id,
                expires: self.expires,
                cancel_requested: false,
                slot: self.slot(),
                lane: Lane::Agent,
            };
            entries.push((Table::Live, entry.key(&node_key(&self.target)), entry.value()));
            entries.push((Table::Expiry, time_key(self.expires, Some(id)), Vec::new()));
        }
        entries
    }
}

/// Reads a command for a group.
pub(in crate::store) fn record(kv: &dyn ReadKv, id: CommandId) -> Result<Option<Record>, StoreError> {
    get(kv, Table::Records, id.as_bytes())
}

/// Replaces a command for a group, or removes it, and keeps the indexes in step.
pub(in crate::store) fn replace_record(
    kv: &mut dyn WriteKv,
    id: CommandId,
    before: Option<&Record>,
    after: Option<&Record>,
) -> Result<(), StoreError> {
    let old = before.map(|record| record.entries(id)).unwrap_or_default();
    let new = after.map(|record| record.entries(id)).unwrap_or_default();
    replace_lines(kv, &old, &new)?;
    match after {
        Some(record) => put(kv, Table::Records, id.as_bytes(), record),
        None => {
            kv.remove(Table::Counts, id.as_bytes())?;
            kv.remove(Table::Records, id.as_bytes())
        }
    }
}

/// Reads the live commands for a group, not those for its ancestors.
pub(in crate::store) fn live(kv: &dyn ReadKv, group: &GroupPath) -> Result<Vec<Entry>, StoreError> {
    lines(kv, Table::Live, &node_key(group))
}

/// Reads those of the live commands for an agent's groups that are `wanted`, are meant for it and have no outcome, each
/// with the number of the group's level.
pub(in crate::store) fn open_records(
    kv: &dyn ReadKv,
    agent: &Agent,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<Vec<(usize, Entry)>, StoreError> {
    let agent_key = agent.agent.key();
    let mut found = Vec::new();
    for (level, (group, &since)) in agent.group.levels().zip(&agent.inside_since).enumerate() {
        for entry in live(kv, &group)? {
            if entry.sequence > since && wanted(&entry) && !has_outcome(kv, entry.id, &agent_key)? {
                found.push((level, entry));
            }
        }
    }
    Ok(found)
}

/// Makes the key of what became of a command at an agent.
pub(in crate::store) fn outcome_key(id: CommandId, agent_key: &str) -> Vec<u8> {
    [&id.as_bytes()[..], agent_key.as_bytes()].concat()
}

/// Tells whether something is known of an agent, other than by the record itself.
pub(in crate::store) fn has_outcome(
    kv: &dyn ReadKv,
    id: CommandId,
    agent_key: &str,
) -> Result<bool, StoreError> {
    Ok(kv.get(Table::Outcomes, &outcome_key(id, agent_key))?.is_some())
}

/// Reads what became of a command at an agent.
pub(in crate::store) fn outcome(
    kv: &dyn ReadKv,
    id: CommandId,
    agent_key: &str,
) -> Result<Option<Outcome>, StoreError> {
    get(kv, Table::Outcomes, &outcome_key(id, agent_key))
}

/// Reads what became of a command at agents, those after one of them, at most `max`.
pub(in crate::store) fn outcomes(
    kv: &dyn ReadKv,
    id: CommandId,
    last: Option<&AgentId>,
    max: usize,
) -> Result<Vec<Outcome>, StoreError> {
    let last = last.map(|last| crate::store::kv::after(&outcome_key(id, &last.key())));
    let from = last.unwrap_or_else(|| id.as_bytes().to_vec());
    let to = [&id.as_bytes()[..], &[0xff]].concat();
    let lines = kv.range(Table::Outcomes, &from, &to, max)?;
    lines.iter().map(|(_, value)| parse(Table::Outcomes, value)).collect()
}

/// Replaces what became of a command at an agent, and keeps the index in step.
///
/// `queued` is kept only for what ends when the connection does that carries it.
pub(in crate::store) fn replace_outcome(
    kv: &mut dyn WriteKv,
    id: CommandId,
    agent_key: &str,
    before: Option<&Outcome>,
    after: &Outcome,
) -> Result<(), StoreError> {
    let is_pending = |outcome: &Outcome| outcome.state == CommandState::Queued;
    let key = outcome_key(id, agent_key);
    if is_pending(after) {
        kv.put(Table::Loose, &key, &[])?;
    } else if before.is_some_and(is_pending) {
        kv.remove(Table::Loose, &key)?;
    }
    put(kv, Table::Outcomes, &key, after)
}
