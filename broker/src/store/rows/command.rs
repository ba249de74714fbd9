//! A command, and the lines by which the indexes find it.

use serde::{Deserialize, Serialize};
use wakemq_protocol::{
    AgentId, CommandId, CommandState, GroupPath, Outcome, PowerStep, PowerWhat, Priority, Receipt, Slot,
    Submission, Timestamp,
};

use super::evidence::add_step;
use super::inbox::Entry;
use super::{Line, forgotten_at, get, power, put, replace_lines, time_key};
use crate::store::kv::{ReadKv, Table, WriteKv};
use crate::store::{CommandRow, Lane, Status, StoreError, Target};

/// A command as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Row {
    pub(in crate::store) by: String,
    pub(in crate::store) agent: AgentId,
    /// The agent's, at acceptance or since it was moved.
    pub(in crate::store) group: GroupPath,
    /// What its publisher may command.
    pub(in crate::store) scope: GroupPath,
    /// As it was given, so that a repetition is known as such.
    pub(in crate::store) submission: Submission,
    /// The submission's, or a higher one that was inherited.
    pub(in crate::store) priority: Priority,
    pub(in crate::store) issued: Timestamp,
    pub(in crate::store) expires: Timestamp,
    pub(in crate::store) sequence: u64,
    /// Never `sent`: whether a connection carries it is known in memory alone.
    pub(in crate::store) state: CommandState,
    pub(in crate::store) at: Timestamp,
    /// `ttl` 0: in no inbox, bound to the connection that carries it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::store) live: bool,
    /// A newer command of its slot was queued while it was carried.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::store) outdated: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::store) cancel_requested: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::store) detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::store) superseded_by: Option<CommandId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::store) late: Option<Receipt>,
    /// How the engine carries it out, if that is what it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::store) evidence: Vec<PowerStep>,
}

impl Row {
    pub(in crate::store) fn is_pending(&self) -> bool {
        self.state == CommandState::Queued
    }

    /// Returns the slot that it takes.
    pub(in crate::store) fn slot(&self) -> Option<Slot> {
        if self.live { None } else { self.submission.effective_slot() }
    }

    /// Returns whose it is to carry out.
    pub(in crate::store) fn lane(&self) -> Lane {
        // Without a time to live it goes to whoever is connected.
        if self.live { Lane::Agent } else { Lane::of(&self.submission.kind) }
    }

    /// Makes of a pending command one that has ended; where the engine carries it out, that is the verdict.
    pub(in crate::store) fn ended(&self, state: CommandState, at: Timestamp) -> Self {
        let mut after = Self { state, at, ..self.clone() };
        if after.lane() == Lane::Power {
            let what = PowerWhat::Verdict { state, detail: after.detail.clone() };
            add_step(&mut after.evidence, PowerStep { at, what });
        }
        after
    }

    /// Returns the verdict of one that has ended, if there is one.
    pub(in crate::store) fn verdict(&self) -> Option<&PowerStep> {
        self.evidence.last().filter(|step| matches!(step.what, PowerWhat::Verdict { .. }))
    }

    /// Tells what has become of it, as far as the disk knows.
    pub(in crate::store) fn outcome(&self) -> Outcome {
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

    /// Tells what has become of it; `sent_at` is since when it is on its way.
    pub(in crate::store) fn outcome_now(&self, sent_at: Option<Timestamp>) -> Outcome {
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

    pub(in crate::store) fn into_command_row(self, id: CommandId, sent_at: Option<Timestamp>) -> CommandRow {
        let outcome = self.outcome_now(sent_at);
        CommandRow {
            id,
            by: self.by,
            target: Target::Agent(self.agent),
            group: self.group,
            submission: Submission { priority: self.priority, ..self.submission },
            issued: self.issued,
            expires: self.expires,
            status: Status::Agent(outcome),
            evidence: self.evidence,
        }
    }

    /// Returns the keys, and values, under which the indexes find it.
    fn entries(&self, id: CommandId) -> Vec<Line> {
        let mut entries = vec![(Table::Forget, time_key(forgotten_at(self.expires), Some(id)), Vec::new())];
        if self.is_pending() && !self.live {
            let entry = Entry {
                priority: self.priority,
                sequence: self.sequence,
                id,
                expires: self.expires,
                cancel_requested: self.cancel_requested,
                slot: self.slot(),
                lane: self.lane(),
            };
            entries.push((Table::Inbox, entry.key(self.agent.key().as_bytes()), entry.value()));
            entries.push((Table::Expiry, time_key(self.expires, Some(id)), Vec::new()));
        }
        if self.is_pending() && self.lane() == Lane::Power {
            entries.push(power::line(self.sequence, id, &self.agent));
        }
        if self.is_loose() {
            entries.push((Table::Loose, id.as_bytes().to_vec(), Vec::new()));
        }
        entries
    }
}

/// Reads a command.
pub(in crate::store) fn command(kv: &dyn ReadKv, id: CommandId) -> Result<Option<Row>, StoreError> {
    get(kv, Table::Commands, id.as_bytes())
}

/// Replaces a command, or removes it, and keeps the indexes in step.
pub(in crate::store) fn replace_command(
    kv: &mut dyn WriteKv,
    id: CommandId,
    before: Option<&Row>,
    after: Option<&Row>,
) -> Result<(), StoreError> {
    let old = before.map(|row| row.entries(id)).unwrap_or_default();
    let new = after.map(|row| row.entries(id)).unwrap_or_default();
    replace_lines(kv, &old, &new)?;
    match after {
        Some(row) => put(kv, Table::Commands, id.as_bytes(), row),
        None => kv.remove(Table::Commands, id.as_bytes()),
    }
}
