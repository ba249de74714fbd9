//! The life of a command.

use serde::{Deserialize, Serialize};

use crate::{AgentId, CommandId, GroupPath, PowerStep, Timestamp};

/// What has become of a command for one agent.
///
/// ```text
/// queued <-> sent -> acknowledged -> done | failed | refused
///    |        |
///    +--------+----> superseded | expired | cancelled      (before it is acknowledged)
/// ```
/// The broker itself may end one as `failed` (too large for the agent) or `refused` (a bad submission).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandState {
    /// Durable, and waits for the agent.
    Queued,
    /// On its way on a live connection.
    Sent,
    /// In the agent's journal.
    Acknowledged,
    /// Handled.
    Done,
    /// The handler, or the broker, could not do it.
    Failed,
    /// The agent, or the broker, would not do it.
    Refused,
    /// A newer command took its slot.
    Superseded,
    /// Its time to live ended first.
    Expired,
    /// An operator, or the revocation of the agent, took it back.
    Cancelled,
}

impl CommandState {
    /// All states.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Sent,
        Self::Acknowledged,
        Self::Done,
        Self::Failed,
        Self::Refused,
        Self::Superseded,
        Self::Expired,
        Self::Cancelled,
    ];

    /// Tells whether the state never changes again.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent | Self::Acknowledged)
    }

    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Acknowledged => "acknowledged",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for CommandState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What has become of a command for one agent, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The agent.
    pub agent: AgentId,
    /// The state.
    pub state: CommandState,
    /// Since when.
    pub at: Timestamp,
    /// What the agent or the broker said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The newer command of the same slot, if it is `superseded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<CommandId>,
    /// The command is on its way and ends `cancelled` if the connection ends before the acknowledgement.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel_requested: bool,
    /// A receipt that came after a terminal state: told, and changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<crate::Receipt>,
}

/// A change of state, as the publisher's Response Topic gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The command.
    pub id: CommandId,
    /// What has become of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// A step on the way of a `power` command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Box<PowerStep>>,
}

impl Update {
    /// Makes a change of state, without evidence.
    pub fn new(id: CommandId, outcome: Outcome) -> Self {
        Self { id, outcome, evidence: None }
    }

    /// Returns the step if this is a step on the way, and no change of state.
    pub fn step_on_the_way(&self) -> Option<&PowerStep> {
        self.evidence.as_deref().filter(|step| !matches!(step.what, crate::PowerWhat::Verdict { .. }))
    }
}

/// How many agents a command for a group is in each state for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Wait for it.
    pub queued: u64,
    /// Have it on its way.
    pub sent: u64,
    /// Have it in their journal.
    pub acknowledged: u64,
    /// Have handled it.
    pub done: u64,
    /// Could not handle it.
    pub failed: u64,
    /// Would not handle it.
    pub refused: u64,
    /// Got a newer command of its slot.
    pub superseded: u64,
    /// Did not get it in time.
    pub expired: u64,
    /// Had it taken back.
    pub cancelled: u64,
}

impl Counts {
    /// Returns the count of a state, to be read or changed.
    pub fn of(&mut self, state: CommandState) -> &mut u64 {
        match state {
            CommandState::Queued => &mut self.queued,
            CommandState::Sent => &mut self.sent,
            CommandState::Acknowledged => &mut self.acknowledged,
            CommandState::Done => &mut self.done,
            CommandState::Failed => &mut self.failed,
            CommandState::Refused => &mut self.refused,
            CommandState::Superseded => &mut self.superseded,
            CommandState::Expired => &mut self.expired,
            CommandState::Cancelled => &mut self.cancelled,
        }
    }

    /// Iterates over the states with their counts, in the order of a command's life.
    pub fn iter(mut self) -> impl Iterator<Item = (CommandState, u64)> {
        CommandState::ALL.into_iter().map(move |state| (state, *self.of(state)))
    }

    /// Returns for how many agents the command is meant.
    pub fn total(&self) -> u64 {
        self.open() + self.done + self.failed + self.refused + self.superseded + self.expired + self.cancelled
    }

    /// Returns for how many agents something may still change.
    pub fn open(&self) -> u64 {
        self.queued + self.sent + self.acknowledged
    }
}

/// Where a command for a group stands, as the publisher's Response Topic gets it, at most once a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupUpdate {
    /// The command.
    pub id: CommandId,
    /// The group.
    pub group: GroupPath,
    /// What it is for an agent of which nothing else is known, `queued` while it is live.
    pub state: CommandState,
    /// When these were counted, which may be long after the last change.
    pub at: Timestamp,
    /// How many agents are in each state.
    pub counts: Counts,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a publisher's Response Topic gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum News {
    /// Of a command for an agent.
    Agent(Update),
    /// Of a command for a group.
    Group(GroupUpdate),
}

impl News {
    /// Returns the command.
    pub fn id(&self) -> CommandId {
        match self {
            Self::Agent(update) => update.id,
            Self::Group(update) => update.id,
        }
    }

    /// Returns the state: for a group, what it is for an agent of which nothing else is known.
    pub fn state(&self) -> CommandState {
        match self {
            Self::Agent(update) => update.outcome.state,
            Self::Group(update) => update.state,
        }
    }

    /// Tells whether nothing will change any more but for receipts that come late.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Agent(update) => update.outcome.state.is_terminal(),
            Self::Group(update) => update.counts.open() == 0,
        }
    }
}
