//! The life of a command.

use serde::{Deserialize, Serialize};

use crate::{AgentId, CommandId, Timestamp};

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
}
