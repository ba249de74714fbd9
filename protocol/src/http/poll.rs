//! Long poll: what an agent asks, and what it is answered.

use serde::{Deserialize, Serialize};

use crate::{Command, CommandId};

/// `POST /v1/poll`, by an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollRequest {
    /// After how many seconds an idle answer is wanted.
    pub heartbeat: u32,
    /// Commands that are in the agent's journal; they count before anything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acknowledged: Vec<CommandId>,
    /// Random for each process of the agent: two that alternate are a cloned identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Only tries whether the network bears the heartbeat: such a poll takes nothing over, is given no command, and is
    /// answered `idle`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trial: bool,
}

/// The answer to [`PollRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum PollAnswer {
    /// Commands; each is to be acknowledged by the next poll.
    Commands {
        /// In order of priority, then acceptance.
        commands: Vec<Command>,
    },
    /// Nothing came within the heartbeat.
    Idle,
    /// Another connection or poll of the same agent took over.
    Superseded,
    /// The broker stops: poll again at a random moment within so many seconds.
    Retry {
        /// Seconds.
        after: u32,
    },
    /// HTTP 422: the heartbeat is not between the broker's bounds.
    HeartbeatOutOfRange {
        /// The nearest bound, in seconds.
        heartbeat: u32,
    },
}
